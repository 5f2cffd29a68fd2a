/*
 * libivykis: wake a loop from any thread, signal handler or process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_EVENT_RAW_H
#define __IV_EVENT_RAW_H

#include <iv.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A post makes handler(cookie) run in the loop of the thread that registered
 * the object, its owner.  Posts are coalesced with a pending one: a post is a
 * hint to check, not a counter.
 */
struct iv_event_raw {
	void		*cookie;
	void		(*handler)(void *);

	struct iv_fd	event_rfd;	/* private */
	int		event_wfd;
};

/*
 * Does nothing, even to an object that is registered.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_EVENT_RAW_INIT(struct iv_event_raw *event)
{
	(void)event;
}

/*
 * Makes the calling thread the owner; a registered object keeps iv_main()
 * running.  Returns 0, or -1 with errno set (EMFILE, ENFILE, ENOMEM, ENOSPC)
 * and nothing registered.  May be called from any thread that has a loop.  The
 * private members need not be initialised, so a second registration cannot
 * always be detected.
 */
int iv_event_raw_register(struct iv_event_raw *event);

/*
 * Creates the object's descriptor, but gives it no owner.  It may be posted to
 * from then on, and posts are delivered to the loop that adopts it.  Returns 0,
 * or -1 with errno set (EMFILE, ENFILE, ENOMEM) and nothing prepared.  May be
 * called from any thread, with or without a loop.  Since 0.45.
 */
int iv_event_raw_prepare(struct iv_event_raw *event);

/*
 * Makes the calling thread the owner of a prepared object, in the process that
 * prepared it or in one that was forked since; the object is then registered.
 * Returns 0, or -1 with errno set (ENOMEM, ENOSPC) and the object still
 * prepared.  May be called from any thread that has a loop.  Since 0.45.
 */
int iv_event_raw_adopt(struct iv_event_raw *event);

/*
 * Withdraws the object: pending posts are dropped, and later posts have no
 * effect while the memory is valid.  The memory may be freed at once.  Also
 * releases a prepared object that has no owner.  May be called from the owner,
 * including any of its handlers.
 */
void iv_event_raw_unregister(struct iv_event_raw *event);

/*
 * Makes the handler run.  Is thread-safe and async-signal-safe: may be called
 * from any thread, with or without a loop, from any process that was forked
 * after the registration, and from signal handlers.  Never blocks, takes no
 * lock, allocates nothing, raises no signal and preserves errno.  What the
 * poster stored before is visible to the handler call that serves the post.
 * Makes no system call while a post is pending or the loop is awake.
 */
void iv_event_raw_post(const struct iv_event_raw *event);

/*
 * Returns a duplicate of the posting end, which can be inherited through exec
 * or sent over a Unix socket; it is close-on-exec, and the caller closes it.
 * Returns -1 with errno set on failure: EMFILE, or EBADF if the object is not
 * registered.  May be called from any thread, from forked processes and from
 * signal handlers.
 */
int iv_event_raw_export(const struct iv_event_raw *event);

/*
 * Posts through such a descriptor, in any process, with or without a loop.
 * Returns 0, or -1 with errno set: EBADF, EIO if the descriptor is not that of
 * an iv_event_raw, or EPIPE if the owner is gone, which is detected only with a
 * pipe.  Never blocks and raises no SIGPIPE.  May be called from any thread and
 * from signal handlers.
 */
int iv_event_raw_post_fd(int fd);

#ifdef __cplusplus
}
#endif

#endif

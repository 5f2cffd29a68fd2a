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
 * Posts make handler(cookie) run in the thread that registered the object.
 * They are coalesced with a pending one: a post is a hint to check, not a
 * counter.
 */
struct iv_event_raw {
	void		*cookie;
	void		(*handler)(void *);

	struct iv_fd	event_rfd;	/* private */
	int		event_wfd;
};

/* Does nothing, even to an object that is registered.  Any thread. */
static inline void IV_EVENT_RAW_INIT(struct iv_event_raw *event)
{
	(void)event;
}

/*
 * Makes the calling thread's loop the owner; counts as one registered iv_fd.
 * Returns 0, or -1 with errno set (EMFILE, ENFILE, ENOMEM, ENOSPC): nothing is
 * registered then, and it may be tried again.  Loop thread.  The private
 * members need not be initialised.
 */
int iv_event_raw_register(struct iv_event_raw *event);

/*
 * Gives the object its descriptor, but no owner: it may be posted to from then
 * on, and what is posted is delivered to the loop that adopts it.  Returns 0,
 * or -1 with errno set (EMFILE, ENFILE, ENOMEM).  May be called from any
 * thread, with or without a loop.  Since 0.45.
 */
int iv_event_raw_prepare(struct iv_event_raw *event);

/*
 * Makes the calling thread's loop the owner of a prepared object, in the
 * process that prepared it or in one that was forked since; it then counts as
 * one registered iv_fd.  Returns 0, or -1 with errno set (ENOMEM, ENOSPC): the
 * object is prepared as before, and it may be tried again.  Loop thread.  Since
 * 0.45.
 */
int iv_event_raw_adopt(struct iv_event_raw *event);

/*
 * Withdraws the object: pending posts are dropped, and later posts have no
 * effect while the memory is valid.  Owner, including any handler, that of the
 * object too; the memory may be freed at once.
 */
void iv_event_raw_unregister(struct iv_event_raw *event);

/*
 * Makes the handler run.  Thread-safe and async-signal-safe: any thread, with
 * or without a loop; any process forked after the registration; any signal
 * handler.  Never blocks, takes no lock, allocates nothing, raises no signal,
 * leaves errno alone.  What the poster wrote before is visible to the handler
 * run that serves the post.  Makes no system call while a post is pending or
 * the loop is awake.
 */
void iv_event_raw_post(const struct iv_event_raw *event);

/*
 * Returns a duplicate of the posting end, to be inherited through exec or sent
 * over a Unix socket; it is close-on-exec, and the caller closes it.  Returns
 * -1 with errno set on failure (EMFILE; EBADF: not registered).  Any thread,
 * forked processes, signal handlers.
 */
int iv_event_raw_export(const struct iv_event_raw *event);

/*
 * Posts through such a descriptor, in any process, with or without a loop.
 * Returns 0, or -1 with errno set (EBADF; EIO: it is none of an iv_event_raw;
 * EPIPE: the owner is gone, which only a pipe can tell).  Never blocks, raises
 * no SIGPIPE.  Any thread, signal handlers.
 */
int iv_event_raw_post_fd(int fd);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: a call made in the loop that registered it, on behalf of any
 * thread, any signal handler and any process.
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
 * One burst of posts, one call: it says "look", never "how often".
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
 * Make the calling thread's loop the owner; counts as one registered iv_fd.
 * 0, or -1 with errno (EMFILE, ENFILE, ENOMEM, ENOSPC): nothing is registered
 * then, and it may be tried again.  Loop thread.  The private members may
 * hold anything.
 */
int iv_event_raw_register(struct iv_event_raw *event);

/*
 * Gives the object its descriptor, but no owner: it may be posted to from then
 * on, and what is posted is delivered to the loop that adopts it.  Returns 0,
 * or -1 with errno set (EMFILE, ENFILE, ENOMEM).  May be called from any thread,
 * with or without a loop.  Since 0.45.
 */
int iv_event_raw_prepare(struct iv_event_raw *event);

/*
 * Makes the calling thread's loop the owner of a prepared object, in the process
 * that prepared it or in one that was forked since; it then counts as one
 * registered iv_fd.  Returns 0, or -1 with errno set (ENOMEM, ENOSPC): the object
 * is prepared as before, and it may be tried again.  Loop thread.  Since 0.45.
 */
int iv_event_raw_adopt(struct iv_event_raw *event);

/*
 * Withdraw: pending posts are dropped, posts made afterwards do nothing for
 * as long as the memory is there.  Owner, any handler, the object's own
 * included; the memory may be freed at once.
 */
void iv_event_raw_unregister(struct iv_event_raw *event);

/*
 * Make the handler run.  Any thread, with or without a loop; any process
 * forked after the registration; any signal handler.  Never blocks, takes no
 * lock, allocates nothing, raises no signal, leaves errno alone.  What the
 * poster wrote before is visible to the handler run that the post causes or
 * joins.  While a post is already on its way it makes no system call.
 */
void iv_event_raw_post(const struct iv_event_raw *event);

/*
 * A duplicate of the posting end, to be inherited through exec or sent over a
 * Unix socket; it is the caller's, close-on-exec.  -1 with errno (EMFILE;
 * EBADF: not registered).  Any thread, forked processes, signal handlers.
 */
int iv_event_raw_export(const struct iv_event_raw *event);

/*
 * Post through such a descriptor, in any process, with or without a loop.  0,
 * or -1 with errno (EBADF; EPIPE: the owner is gone, which only a pipe can
 * tell).  Never blocks, raises no SIGPIPE.  Any thread, signal handlers.
 */
int iv_event_raw_post_fd(int fd);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: wake another thread's loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_EVENT_H
#define __IV_EVENT_H

#include <iv.h>
#include <iv_list.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Posts make handler(cookie) run in the thread that registered the event, in
 * the order of the first posts.  Posts made before the handler starts are
 * coalesced into one call.  A post to a loop that is awake makes no system
 * call.
 */
struct iv_event {
	void			*cookie;
	void			(*handler)(void *);

	void			*owner;		/* private */
	struct iv_list_head	list;
};

/* Does nothing, also to an event that is registered.  Any thread. */
static inline void IV_EVENT_INIT(struct iv_event *event)
{
	(void)event;
}

/*
 * Makes the calling thread's loop the owner.  Returns 0, or -1 with errno set:
 * ENOMEM, or EMFILE, ENFILE or ENOSPC if the descriptor that a loop's first
 * event needs is not available; nothing is registered then.  Loop thread.  The
 * private members need not be initialised, so a second registration cannot
 * always be detected.
 */
int iv_event_register(struct iv_event *event);

/*
 * Cancels a pending call and withdraws the event.  No other thread may post
 * concurrently or later.  Owner.
 */
void iv_event_unregister(struct iv_event *event);

/*
 * Queues the call, unless one is pending.  Thread-safe and async-signal-safe,
 * within the process; never blocks, allocates nothing, leaves errno alone.
 * What the poster wrote before is visible to the handler run that serves the
 * post.  If it is left in the middle, by asynchronous cancellation or
 * siglongjmp(), the event may stay unposted until it is registered anew.
 */
void iv_event_post(struct iv_event *event);

#ifdef __cplusplus
}
#endif

#endif

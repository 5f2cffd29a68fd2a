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
 * A post makes handler(cookie) run in the loop of the thread that registered
 * the event, its owner.  Posts made before the handler starts are coalesced
 * into one call; a loop's events are served in the order of their first posts.
 * A post to a loop that is awake makes no system call.
 */
struct iv_event {
	void			*cookie;
	void			(*handler)(void *);

	void			*owner;		/* private */
	struct iv_list_head	list;
};

/*
 * Does nothing, even to an event that is registered.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_EVENT_INIT(struct iv_event *event)
{
	(void)event;
}

/*
 * Makes the calling thread the owner.  Returns 0, or -1 with errno set and
 * nothing registered: ENOMEM, or, for the first event of a loop, which needs a
 * descriptor, EMFILE, ENFILE or ENOSPC.  May be called from any thread that has
 * a loop.  The private members need not be initialised, so a second
 * registration cannot always be detected.
 */
int iv_event_register(struct iv_event *event);

/*
 * Cancels a pending call and withdraws the event; the memory may be freed at
 * once.  The caller ensures that no other thread posts at the same time.  May
 * be called from the owner, including any of its handlers.
 */
void iv_event_unregister(struct iv_event *event);

/*
 * Queues the call, unless one is pending, and wakes the owner if it sleeps.
 * May be called from any thread of the process, with or without a loop, and
 * from signal handlers.  Never blocks, allocates nothing and preserves errno.
 * What the poster stored before is visible to the handler call that serves the
 * post.  If a poster is stopped in the middle, by asynchronous cancellation or
 * siglongjmp(), later posts may have no effect until the event is registered
 * again.
 */
void iv_event_post(struct iv_event *event);

#ifdef __cplusplus
}
#endif

#endif

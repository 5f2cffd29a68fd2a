/*
 * libivykis: a call made in another thread of the same process.
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
 * the order of the first posts; all posts before the handler starts give one
 * call.  A post to a loop that is awake makes no system call.
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
 * Make the calling thread's loop the owner.  0, or -1 with errno: ENOMEM, or
 * EMFILE, ENFILE or ENOSPC if a loop's first event cannot have its wakeup
 * descriptor; nothing is registered then.  Loop thread.  The private members
 * need not be initialised, so a second registration cannot always be detected.
 */
int iv_event_register(struct iv_event *event);

/*
 * Cancel a queued call and withdraw; the caller keeps posters away from the
 * moment of the call.  Owner.
 */
void iv_event_unregister(struct iv_event *event);

/*
 * Queue the call.  Any thread of the process, signal handlers; never blocks,
 * allocates nothing, leaves errno alone.  Not to be left half done, by
 * asynchronous cancellation or siglongjmp().  What the poster wrote before is
 * visible to the handler run that serves the post.
 */
void iv_event_post(struct iv_event *event);

#ifdef __cplusplus
}
#endif

#endif

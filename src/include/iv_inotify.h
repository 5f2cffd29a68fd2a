/*
 * libivykis: file and directory change notification (inotify).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An instance is one inotify(7) descriptor in the loop of the thread that
 * registers it, its owner; a watch is one file or directory that it observes.
 * The private members of both need not be initialised before they are
 * registered.
 *
 * Where the system has no inotify(7), registering fails with ENOSYS.
 */

#ifndef __IV_INOTIFY_H
#define __IV_INOTIFY_H

#include <inttypes.h>
#include <iv.h>
#include <iv_avl.h>
#ifndef __has_include
#include <sys/inotify.h>
#elif __has_include(<sys/inotify.h>)
#include <sys/inotify.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct inotify_event;

struct iv_inotify {
	struct iv_fd		fd;		/* private */
	struct iv_avl_tree	watches;
	void			*owner;
};

/*
 * Does nothing, even to an instance that is registered.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_INOTIFY_INIT(struct iv_inotify *in)
{
	(void)in;
}

/*
 * Makes the calling thread the owner; a registered instance keeps iv_main()
 * running.  Returns 0, or -1 with errno set (EMFILE, ENFILE, ENOMEM, ENOSPC)
 * and nothing registered.  May be called from any thread that has a loop.
 */
int iv_inotify_register(struct iv_inotify *in);

/*
 * Withdraws the instance and all its watches, without accessing their memory:
 * none of their handlers runs afterwards, and the memory of all of them may be
 * freed at once.  May be called from the owner, including the handlers of its
 * watches.
 */
void iv_inotify_unregister(struct iv_inotify *in);

/*
 * An event of pathname, of one of the kinds in mask (IN_CREATE, ...), makes
 * handler(cookie, event) run in the instance's owner; the event is valid during
 * the call.  An event with IN_IGNORED is the last one of its watch, which is
 * unregistered before the call; so is the only event of an IN_ONESHOT watch.
 * Every watch receives IN_Q_OVERFLOW when events have been lost.
 */
struct iv_inotify_watch {
	struct iv_inotify	*inotify;
	const char		*pathname;
	uint32_t		mask;
	void			*cookie;
	void			(*handler)(void *, struct inotify_event *);

	int			wd;		/* private */
	struct iv_avl_node	an;
};

/*
 * Does nothing, even to a watch that is registered.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_INOTIFY_WATCH_INIT(struct iv_inotify_watch *watch)
{
	(void)watch;
}

/*
 * Adds the watch to a registered instance.  Returns 0, or -1 with errno set as
 * by inotify_add_watch(2).  It is EEXIST if the instance has a watch for this
 * file, which is unchanged, with or without IN_MASK_ADD.  May be called from
 * the owner of the instance.
 */
int iv_inotify_watch_register(struct iv_inotify_watch *watch);

/*
 * Removes the watch: its handler does not run afterwards, not even for pending
 * events.  Does nothing if the watch has been unregistered by its last event or
 * with its instance, whose memory must still be valid.  The memory of the watch
 * may be freed at once.  May be called from the owner of the instance,
 * including any of its handlers.
 */
void iv_inotify_watch_unregister(struct iv_inotify_watch *watch);

#ifdef __cplusplus
}
#endif

#endif

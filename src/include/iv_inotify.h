/*
 * libivykis: functions called when something happens to files.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An instance is one inotify(7) descriptor in the loop of the thread that
 * registers it; a watch is one file or directory that it looks at.  The
 * private members of both may hold anything before they are registered.
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

/* Does nothing, also to an instance that is registered.  Any thread. */
static inline void IV_INOTIFY_INIT(struct iv_inotify *in)
{
	(void)in;
}

/*
 * Make the calling thread's loop the owner; counts as one registered iv_fd.
 * 0, or -1 with errno (EMFILE, ENFILE, ENOMEM, ENOSPC; ENOSYS where there is no
 * inotify): nothing is registered then, and it may be tried again.  Loop thread.
 */
int iv_inotify_register(struct iv_inotify *in);

/*
 * Withdraw the instance and all its watches: no handler of theirs runs
 * afterwards.  Owner, any handler, those of its watches included; the memory
 * of all of them may be freed at once.  Touches no watch.
 */
void iv_inotify_unregister(struct iv_inotify *in);


/*
 * What happens to pathname, of the kinds in mask (IN_CREATE, ...), makes
 * handler(cookie, event) run in the instance's owner; the event is valid
 * during the call.  An event with IN_IGNORED is a watch's last: it has been
 * unregistered before the call.  So is that of an IN_ONESHOT watch.
 * IN_Q_OVERFLOW comes to every watch: some events were lost.
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

/* Does nothing, also to a watch that is registered.  Any thread. */
static inline void IV_INOTIFY_WATCH_INIT(struct iv_inotify_watch *watch)
{
	(void)watch;
}

/*
 * Add the watch to the registered instance.  0, or -1 with errno: that of
 * inotify_add_watch(2), and EEXIST if the instance has a watch for this file,
 * which goes on as it was, with or without IN_MASK_ADD.  Owner of the instance.
 */
int iv_inotify_watch_register(struct iv_inotify_watch *watch);

/*
 * Remove the watch: its handler does not run afterwards, also not for what had
 * happened before.  Does nothing if the watch was unregistered by its last
 * event, or with its instance, of which the memory is still there.  Owner, any
 * handler; the memory may be freed at once.
 */
void iv_inotify_watch_unregister(struct iv_inotify_watch *watch);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: iv_inotify where the system has no inotify(7).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Programs link; registering an instance fails, so they have to check their
 * files in another way.
 */

#include <iv_inotify.h>
#include "iv_private.h"

int iv_inotify_register(struct iv_inotify *in)
{
	(void)iv_state_for("iv_inotify_register");
	in->owner = NULL;
	errno = ENOSYS;

	return -1;
}

void iv_inotify_unregister(struct iv_inotify *in)
{
	(void)iv_state_for("iv_inotify_unregister");
	iv_fatal("iv_inotify_unregister: instance %p is not registered: this "
		 "system has no inotify", (void *)in);
}

int iv_inotify_watch_register(struct iv_inotify_watch *w)
{
	(void)iv_state_for("iv_inotify_watch_register");
	iv_fatal("iv_inotify_watch_register: instance %p is not registered: "
		 "this system has no inotify", (void *)w->inotify);
}

/* Like a watch that was unregistered by its last event. */
void iv_inotify_watch_unregister(struct iv_inotify_watch *w)
{
	(void)w;
}

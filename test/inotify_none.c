/*
 * libivykis: iv_inotify in a library that was built without inotify(7).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_inotify.h>
#include "check.h"

static void registering_fails(void)
{
	struct iv_inotify in;
	int i;

	iv_init();
	for (i = 0; i < 2; i++) {
		IV_INOTIFY_INIT(&in);
		check_errno(iv_inotify_register(&in), ENOSYS);
	}
	/* With nothing registered, this returns. */
	iv_main();
	iv_deinit();
}

static struct iv_inotify in;
static struct iv_inotify_watch watch = { .inotify = &in, .pathname = "/" };

static void unregister(void)
{
	iv_init();
	check_errno(iv_inotify_register(&in), ENOSYS);
	iv_inotify_unregister(&in);
}

static void register_watch(void)
{
	iv_init();
	check_errno(iv_inotify_register(&in), ENOSYS);
	iv_inotify_watch_register(&watch);
}

static void no_instance_is_registered(void)
{
	check_fatal(unregister, "is not registered");
	check_fatal(register_watch, "is not registered");
}

static const struct check_case cases[] = {
	{ "registering an instance fails with ENOSYS", registering_fails,
	  ONCE, 0 },
	{ "unregistering an instance or registering a watch is fatal",
	  no_instance_is_registered, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

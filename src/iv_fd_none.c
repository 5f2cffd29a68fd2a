/*
 * libivykis: the poll methods that this system does not have.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * They fail as those do which the kernel lacks, so that nothing else has to
 * know what the library was built with.
 */

#include "iv_fd_private.h"

static int none_init(struct iv_state *st)
{
	(void)st;
	errno = ENOSYS;

	return -1;
}

#define NONE(method_name)	{ .name = (method_name), .init = none_init }

#ifndef HAVE_KQUEUE
const struct iv_fd_poll_method iv_fd_poll_method_kqueue = NONE("kqueue");
#endif

#ifndef HAVE_EPOLL
const struct iv_fd_poll_method iv_fd_poll_method_epoll_timerfd =
	NONE("epoll-timerfd");
const struct iv_fd_poll_method iv_fd_poll_method_epoll = NONE("epoll");
#endif

#ifndef HAVE_PPOLL
const struct iv_fd_poll_method iv_fd_poll_method_ppoll = NONE("ppoll");
#endif

#ifndef HAVE_URING
const struct iv_fd_poll_method iv_fd_poll_method_uring = NONE("uring");
#endif

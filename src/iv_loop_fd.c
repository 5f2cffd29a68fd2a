/*
 * libivykis: a loop inside of another one.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The descriptor that iv_loop_fd() returns is an epoll(7) set of two: the
 * descriptor of the poll method, which is readable when it has something to
 * report, and a timer descriptor.  The poll method may have to change its own;
 * the other loop does not see that.
 *
 * Between two of its turns such a loop sleeps, as it would in the wait of
 * iv_main(), and the other loop's wait is its wait.  So before a turn ends, it
 * tells the kernel what was registered, sets its boards to ASLEEP, and then
 * checks everything once more, as iv_event_raw.c explains.  If there is work to
 * do, the timer descriptor is made readable at once; otherwise it is set to the
 * first timer.  Afterwards the loop is `idle': if a handler of the other loop
 * registers something, all this is done again, as no wait of this loop follows
 * that would notice it.
 *
 * A forked child has copies of these descriptors, which belong to its parent.
 * It is not idle in this sense until it calls iv_loop_fd() itself.
 */

#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include "iv_cancel.h"
#include "iv_fd_private.h"
#include "iv_time.h"

static int is_own(const struct iv_loop_fd_state *l)
{
	return l->generation == iv_process_generation();
}

static int add(int set, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	/* A child that was forked in here may have done it for both. */
	return epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) < 0 && errno != EEXIST ?
	       -1 : 0;
}

/* 0 with errno if the poll method has no descriptor, or it cannot be added. */
static int watch(struct iv_state *st)
{
	struct iv_loop_fd_state *l = &st->loop_fd;

	if (l->watched >= 0)
		return 1;
	l->watched = iv_fd_descriptor(st);
	if (l->watched >= 0 && add(l->fd, l->watched) < 0)
		l->watched = -1;

	return l->watched >= 0;
}

/* 0, or -1 with errno and nothing opened. */
static int open_both(struct iv_state *st)
{
	struct iv_loop_fd_state *l = &st->loop_fd;

	l->watched = -1;
	l->timerfd = iv_process_move_fd(timerfd_create(CLOCK_MONOTONIC,
						       TFD_NONBLOCK |
						       TFD_CLOEXEC));
	if (l->timerfd < 0)
		return -1;
	l->fd = iv_process_move_fd(epoll_create1(EPOLL_CLOEXEC));
	if (l->fd < 0) {
		iv_close(l->timerfd);
		return -1;
	}
	if (add(l->fd, l->timerfd) < 0 || !watch(st)) {
		iv_close(l->fd);
		iv_close(l->timerfd);
		return -1;
	}

	return 0;
}

static int begin(struct iv_state *st)
{
	struct iv_loop_fd_state *l = &st->loop_fd;

	if (iv_fd_descriptor(st) < 0)
		return -1;
	if (open_both(st) < 0) {
		if (iv_fd_not_here_with_flags(errno))
			errno = ENOSYS;
		return -1;
	}

	l->label = iv_process_label_fd(l->fd);
	(void)iv_process_label_fd(l->timerfd);
	l->armed = (struct timespec){ 0 };
	l->generation = iv_process_generation();

	return 0;
}

void iv_loop_fd_deinit(struct iv_state *st)
{
	struct iv_loop_fd_state *l = &st->loop_fd;

	if (l->generation == 0)
		return;
	iv_process_close(l->fd, l->label);
	iv_process_close(l->timerfd, l->label);
	l->generation = 0;
	st->idle = 0;
}

/* NULL: never, {0, 0}: at once. */
static void arm(struct iv_loop_fd_state *l, const struct timespec *until)
{
	struct itimerspec it = { 0 };

	if (until != NULL) {
		it.it_value = *until;
		/* {0, 0} would be never. */
		it.it_value.tv_nsec += iv_time_is_zero(until);
	}
	if (iv_time_compare(&it.it_value, &l->armed) == 0)
		return;
	if (timerfd_settime(l->timerfd, TFD_TIMER_ABSTIME, &it, NULL) < 0)
		iv_fatal("iv_loop_fd: cannot set descriptor %d: %s (errno %d)",
			 l->timerfd, strerror(errno), errno);
	l->armed = it.it_value;
}

static const struct timespec at_once;

/*
 * A child may have a copy of what is to be closed, and so keep it in the set.
 * The poll method's next descriptor is watched from the end of a turn on, which
 * may have to be brought about.
 */
void iv_loop_fd_forget(struct iv_state *st)
{
	struct iv_loop_fd_state *l = &st->loop_fd;

	if (!is_own(l) || l->watched < 0)
		return;
	(void)epoll_ctl(l->fd, EPOLL_CTL_DEL, l->watched, NULL);
	l->watched = -1;
	arm(l, &at_once);
}

/*
 * A handler may throw, and so leave the turn: then the descriptor is readable,
 * and the next turn, which follows, ends as it should.
 */
void iv_loop_fd_begin_turn(struct iv_state *st)
{
	if (is_own(&st->loop_fd))
		arm(&st->loop_fd, &at_once);
}

void iv_loop_fd_settle(struct iv_state *st)
{
	struct iv_loop_fd_state *l = &st->loop_fd;
	const struct timespec *until;
	struct timespec next;
	int saved_errno = errno;

	st->idle = is_own(l);
	if (!st->idle)
		return;

	iv_clock_invalidate(st);
	iv_fd_flush(st);
	until = iv_main_sleep(st, &next);
	/* Without a descriptor in the set it has to be asked all the time. */
	if (!watch(st))
		until = &at_once;
	arm(l, until);
	errno = saved_errno;
}

int iv_loop_fd(void)
{
	struct iv_state *st = iv_state_for("iv_loop_fd");

	if (!is_own(&st->loop_fd)) {
		int saved_errno = errno;

		iv_loop_fd_deinit(st);
		if (begin(st) < 0)
			return -1;
		errno = saved_errno;
	}
	iv_loop_fd_settle(st);

	return st->loop_fd.fd;
}

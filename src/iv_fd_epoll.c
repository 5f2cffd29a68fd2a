/*
 * libivykis: poll methods that use epoll(7).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * `epoll' passes a timeout to each wait.  `epoll-timerfd' sets a timer
 * descriptor instead once several successive waits had the same limit, so that
 * a busy loop with a distant timer does not set up a kernel timer in every
 * iteration.  The descriptor stays armed when the limit changes: at worst it
 * wakes the loop once for nothing.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include "iv_cancel.h"
#include "iv_fd_private.h"
#include "iv_time.h"

/* Descriptors that one wait can report; the kernel reports the rest next. */
#define BATCH			256

/* Waits with the same limit before the timer descriptor takes it over. */
#define SAME_LIMIT_WAITS	5

static int create_epoll(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	/* Linux before 2.6.27 has no epoll_create1(2). */
	if (fd < 0 && iv_fd_not_here_with_flags(errno)) {
		fd = epoll_create(BATCH);
		if (fd >= 0)
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	}

	return fd;
}

static int epoll_init(struct iv_state *st)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;
	int fd = iv_process_move_fd(create_epoll());

	if (fd < 0)
		return -1;

	memset(e, 0, sizeof(*e));
	e->epfd = fd;
	e->timerfd = -1;
	e->label = iv_process_label_fd(fd);

	return 0;
}

static void epoll_deinit(struct iv_state *st)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;

	free(e->numbers);
	iv_process_close(e->epfd, e->label);
	if (e->timerfd >= 0)
		iv_process_close(e->timerfd, e->label);
}

/*
 * Numbers that the kernel was told.  Its set is keyed by the open file as
 * well: if a registered descriptor is closed and another one that gets its
 * number is registered, the set may have both, and calls with the number
 * affect the latter.
 */
#define LONG_BITS	(sizeof(long) * CHAR_BIT)
#define FEWEST_NUMBERS	1024

static int epoll_reserve(struct iv_state *st, unsigned int num, int number)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;
	unsigned int room = e->room ? e->room : FEWEST_NUMBERS;
	unsigned long *mem;

	(void)num;
	while (room <= (unsigned int)number)
		room *= 2;
	if (room == e->room)
		return 0;

	mem = realloc(e->numbers, room / CHAR_BIT);
	if (mem == NULL)
		return -1;
	memset((char *)mem + e->room / CHAR_BIT, 0,
	       (room - e->room) / CHAR_BIT);
	e->numbers = mem;
	e->room = room;

	return 0;
}

static int note_number(struct iv_fd_epoll_state *e, int number)
{
	unsigned long *word = &e->numbers[number / LONG_BITS];
	unsigned long bit = 1UL << number % LONG_BITS;
	int known = (*word & bit) != 0;

	*word |= bit;

	return known;
}

static void forget_number(struct iv_fd_epoll_state *e, int number)
{
	e->numbers[number / LONG_BITS] &= ~(1UL << number % LONG_BITS);
}

static uint32_t events_of(int bands)
{
	uint32_t events = 0;

	/* The kernel always adds EPOLLERR and EPOLLHUP. */
	if (bands & BAND_IN)
		events |= EPOLLIN;
	if (bands & BAND_OUT)
		events |= EPOLLOUT;

	return events;
}

static int control(struct iv_state *st, int op, struct iv_fd_ *fd)
{
	struct epoll_event ev = {
		.events = events_of(fd->wanted),
		.data = { .ptr = fd },
	};

	return epoll_ctl(st->fd.u.epoll.epfd, op, fd->fd, &ev);
}

static int epoll_tell(struct iv_state *st, struct iv_fd_ *fd)
{
	int op = fd->wanted == 0 ? EPOLL_CTL_DEL :
		 fd->told == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (control(st, op, fd) < 0)
		return -1;
	fd->told = fd->wanted;

	if (op == EPOLL_CTL_ADD)
		return note_number(&st->fd.u.epoll, fd->fd);
	if (op == EPOLL_CTL_DEL)
		forget_number(&st->fd.u.epoll, fd->fd);

	return 0;
}

static int epoll_probe(struct iv_state *st, struct iv_fd_ *fd)
{
	if (control(st, EPOLL_CTL_ADD, fd) < 0)
		return -1;
	(void)control(st, EPOLL_CTL_DEL, fd);

	return 0;
}

static int wait_until(int epfd, struct epoll_event *events,
		      const struct timespec *until)
{
#ifdef HAVE_EPOLL_PWAIT2
	/* Linux 5.11; EPERM in containers.  Relaxed: a hint for later calls. */
	static atomic_int no_pwait2;

	if (until != NULL && !iv_time_is_zero(until) &&
	    !atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
		struct timespec left;
		int ret;

		iv_time_left(&left, until);
		ret = epoll_pwait2(epfd, events, BATCH, &left, NULL);
		if (ret >= 0 || !iv_fd_not_here(errno))
			return ret;
		atomic_store_explicit(&no_pwait2, 1, memory_order_relaxed);
	}
#endif
	return epoll_wait(epfd, events, BATCH, iv_time_left_ms(until));
}

static void report(struct iv_state *st, const struct epoll_event *ev)
{
	int bands = 0;

	if (ev->events & EPOLLIN)
		bands |= BAND_IN;
	if (ev->events & EPOLLOUT)
		bands |= BAND_OUT;
	if (ev->events & (EPOLLERR | EPOLLHUP))
		bands |= BAND_IN | BAND_OUT | BAND_ERR;

	iv_fd_report(st, ev->data.ptr, bands);
}

/* The only entry without an iv_fd behind it. */
static void timerfd_fired(struct iv_fd_epoll_state *e)
{
	uint64_t times;
	int state = iv_cancel_disable();

	/* Nothing can be read if it was armed again since it was reported. */
	(void)!read(e->timerfd, &times, sizeof(times));
	iv_cancel_restore(state);
	e->armed = (struct timespec){ 0 };
}

static void epoll_wait_and_report(struct iv_state *st,
				  const struct timespec *until)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;
	struct epoll_event events[BATCH];
	int num;
	int i;

	num = wait_until(e->epfd, events, until);
	if (num < 0 && errno != EINTR && !iv_fd_is_inherited(st))
		iv_fatal("iv_main: cannot wait for descriptors: %s (errno %d)",
			 strerror(errno), errno);

	for (i = 0; i < num; i++) {
		if (events[i].data.ptr == NULL)
			timerfd_fired(e);
		else
			report(st, &events[i]);
	}
}

/* A wait for a closed set fails; the child does not need the parent's. */
static void epoll_forked(struct iv_state *st)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;

	iv_close(e->epfd);
	e->epfd = -1;
}

static int epoll_descriptor(const struct iv_state *st)
{
	return st->fd.u.epoll.epfd;
}

const struct iv_fd_poll_method iv_fd_poll_method_epoll = {
	.name	 = "epoll",
	.init	 = epoll_init,
	.deinit	 = epoll_deinit,
	.reserve = epoll_reserve,
	.tell	 = epoll_tell,
	.tell_now = epoll_tell,
	.probe	 = epoll_probe,
	.wait	 = epoll_wait_and_report,
	.forked	 = epoll_forked,
	.descriptor = epoll_descriptor,
};

static int is_same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int create_timerfd(int epfd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = iv_process_move_fd(timerfd_create(CLOCK_MONOTONIC,
						   TFD_NONBLOCK | TFD_CLOEXEC));

	if (fd < 0)
		return -1;
	(void)iv_process_label_fd(fd);
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		iv_close(fd);
		errno = ENOSPC;
		return -1;
	}

	return fd;
}

/* Let the timer descriptor end the wait; 0 if it cannot this time. */
static int arm(struct iv_state *st, const struct timespec *until)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;
	struct itimerspec it = { .it_value = *until };

	if (e->timerfd < 0) {
		e->timerfd = create_timerfd(e->epfd);
		if (e->timerfd < 0 && iv_fd_not_here_with_flags(errno))
			iv_fd_replace_method(st, &iv_fd_poll_method_epoll);
		if (e->timerfd < 0)
			return 0;
	}

	if (timerfd_settime(e->timerfd, TFD_TIMER_ABSTIME, &it, NULL) < 0)
		return 0;
	e->armed = *until;

	return 1;
}

static int is_armed(struct iv_state *st, const struct timespec *until)
{
	struct iv_fd_epoll_state *e = &st->fd.u.epoll;

	if (is_same(until, &e->armed))
		return 1;

	if (!is_same(until, &e->seen)) {
		e->seen = *until;
		e->seen_times = 0;
	}
	if (++e->seen_times < SAME_LIMIT_WAITS)
		return 0;

	e->seen_times = 0;
	return arm(st, until);
}

static void timerfd_wait_and_report(struct iv_state *st,
				    const struct timespec *until)
{
	if (until != NULL && !iv_time_is_zero(until) && is_armed(st, until))
		until = NULL;

	epoll_wait_and_report(st, until);
}

const struct iv_fd_poll_method iv_fd_poll_method_epoll_timerfd = {
	.name	 = "epoll-timerfd",
	.init	 = epoll_init,
	.deinit	 = epoll_deinit,
	.reserve = epoll_reserve,
	.tell	 = epoll_tell,
	.tell_now = epoll_tell,
	.probe	 = epoll_probe,
	.wait	 = timerfd_wait_and_report,
	.forked	 = epoll_forked,
	.descriptor = epoll_descriptor,
};

/*
 * libivykis: poll methods that use ppoll(2) and poll(2).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The descriptors of interest are in an array without gaps, and each knows its
 * index.  The array has room for all registered descriptors, so that a change
 * of interest needs no memory.
 */

/*
 * With 64-bit time_t on 32-bit machines, glibc's fortified ppoll() may still
 * be the one for 32 bits, which would misread the timeout.
 */
#if __SIZEOF_LONG__ == 4 && defined(_TIME_BITS)
#undef _FORTIFY_SOURCE
#endif

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "iv_fd_private.h"
#include "iv_time.h"

#define MOST_SLOTS	(1U << 30)

static int poll_init(struct iv_state *st)
{
	memset(&st->fd.u.poll, 0, sizeof(st->fd.u.poll));

	return 0;
}

static void poll_deinit(struct iv_state *st)
{
	free(st->fd.u.poll.pfds);
	free(st->fd.u.poll.fds);
}

static int poll_reserve(struct iv_state *st, unsigned int num, int number)
{
	struct iv_fd_poll_state *p = &st->fd.u.poll;
	unsigned int room = p->room ? p->room : 16;
	void *mem;

	(void)number;
	/* Indices are int, but memory normally runs out first. */
	if (num > MOST_SLOTS) {
		errno = ENOMEM;
		return -1;
	}
	while (room < num)
		room *= 2;
	if (room == p->room)
		return 0;

	mem = iv_sys_reallocarray(p->pfds, room, sizeof(*p->pfds));
	if (mem == NULL)
		return -1;
	p->pfds = mem;

	mem = iv_sys_reallocarray(p->fds, room, sizeof(*p->fds));
	if (mem == NULL)
		return -1;
	p->fds = mem;
	p->room = room;

	return 0;
}

/*
 * poll(2) reports POLLNVAL, but not before the wait, for a descriptor that is
 * not open and for one that only stands for a place in the file system.
 */
static int poll_probe(struct iv_state *st, struct iv_fd_ *fd)
{
	int flags = fcntl(fd->fd, F_GETFL);

	(void)st;
	if (flags >= 0 && (flags & IV_SYS_O_PATH)) {
		errno = EBADF;
		return -1;
	}

	return flags < 0 ? -1 : 0;
}

static void remove_slot(struct iv_fd_poll_state *p, int slot)
{
	int last = --p->num;

	p->pfds[slot] = p->pfds[last];
	p->fds[slot] = p->fds[last];
	p->fds[slot]->index = slot;
}

static int poll_tell(struct iv_state *st, struct iv_fd_ *fd)
{
	struct iv_fd_poll_state *p = &st->fd.u.poll;

	if (fd->wanted == 0) {
		remove_slot(p, fd->index);
		fd->told = 0;
		return 0;
	}

	if (fd->told == 0) {
		if (poll_probe(st, fd) < 0)
			return -1;
		fd->index = p->num++;
		p->fds[fd->index] = fd;
	}

	p->pfds[fd->index].fd = fd->fd;
	p->pfds[fd->index].events = (fd->wanted & BAND_IN ? POLLIN : 0) |
				    (fd->wanted & BAND_OUT ? POLLOUT : 0);
	fd->told = fd->wanted;

	return 0;
}

static void report(struct iv_state *st, struct pollfd *pfd, struct iv_fd_ *fd)
{
	int revents = pfd->revents;
	int bands = 0;

	/* Closed while registered: nothing is reported, as with epoll(7). */
	if (revents & POLLNVAL) {
		pfd->fd = -1;
		return;
	}

	if (revents & POLLIN)
		bands |= BAND_IN;
	if (revents & POLLOUT)
		bands |= BAND_OUT;
	if (revents & (POLLERR | POLLHUP))
		bands |= BAND_IN | BAND_OUT | BAND_ERR;

	iv_fd_report(st, fd, bands);
}

static void report_all(struct iv_state *st, int num)
{
	struct iv_fd_poll_state *p = &st->fd.u.poll;
	unsigned int i;

	if (num < 0 && errno == EINVAL)
		iv_fatal("iv_main: cannot wait for %u descriptors: %s (errno "
			 "%d): RLIMIT_NOFILE must not be lower", p->num,
			 strerror(errno), errno);
	if (num < 0 && errno != EINTR)
		iv_fatal("iv_main: cannot wait for descriptors: %s (errno %d)",
			 strerror(errno), errno);

	for (i = 0; num > 0; i++) {
		if (p->pfds[i].revents) {
			report(st, &p->pfds[i], p->fds[i]);
			num--;
		}
	}
}

/* A number that no open descriptor has makes poll(2) return POLLNVAL. */
static void poll_forked(struct iv_state *st)
{
	struct iv_fd_poll_state *p = &st->fd.u.poll;

	if (p->num > 0)
		p->pfds[0].fd = INT_MAX;
}

static void poll_wait(struct iv_state *st, const struct timespec *until)
{
	struct iv_fd_poll_state *p = &st->fd.u.poll;

	report_all(st, poll(p->pfds, p->num, iv_time_left_ms(until)));
}

const struct iv_fd_poll_method iv_fd_poll_method_poll = {
	.name	 = "poll",
	.init	 = poll_init,
	.deinit	 = poll_deinit,
	.reserve = poll_reserve,
	.tell	 = poll_tell,
	.tell_now = poll_tell,
	.probe	 = poll_probe,
	.wait	 = poll_wait,
	.forked	 = poll_forked,
};

#ifdef HAVE_PPOLL

static void ppoll_wait(struct iv_state *st, const struct timespec *until)
{
	struct iv_fd_poll_state *p = &st->fd.u.poll;
	struct timespec left;
	int num;

	if (until != NULL)
		iv_time_left(&left, until);

	num = ppoll(p->pfds, p->num, until != NULL ? &left : NULL, NULL);
	if (num < 0 && iv_fd_not_here(errno)) {
		iv_fd_replace_method(st, &iv_fd_poll_method_poll);
		poll_wait(st, until);
		return;
	}

	report_all(st, num);
}

const struct iv_fd_poll_method iv_fd_poll_method_ppoll = {
	.name	 = "ppoll",
	.init	 = poll_init,
	.deinit	 = poll_deinit,
	.reserve = poll_reserve,
	.tell	 = poll_tell,
	.tell_now = poll_tell,
	.probe	 = poll_probe,
	.wait	 = ppoll_wait,
	.forked	 = poll_forked,
};

#endif

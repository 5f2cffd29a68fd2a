/*
 * libivykis: the poll method that uses kqueue(2).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A kqueue knows a descriptor by its number and by a filter, one for reading
 * and one for writing.  Changes are collected and made together with the wait,
 * by one call of kevent(2), which returns those that failed as events.  A
 * change whose result is needed at once has a call of its own without room for
 * events: that call fails if the change does, and so EV_RECEIPT, which some
 * systems lack, is not needed.
 *
 * The object of an event is found by the number (told[]) and not by udata, so
 * nothing in the kernel points to an object.  The same table shows when two
 * objects have the same number, where the kernel would let the second one
 * replace the first.
 *
 * EV_EOF means different things for files of different kinds, for reading and
 * for writing, and on different systems.  So poll(2) is asked whether there is
 * an error or a hang-up, which makes the answer that of the other methods.
 *
 * No filter is for errors alone.  An object that has no handler but handler_err
 * has an edge-triggered filter (EV_CLEAR); of its events only errors and
 * hang-ups are reported.
 *
 * A child does not inherit the kqueue: there its number may be another file's.
 */

#include <sys/types.h>
#include <sys/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "iv_cancel.h"
#include "iv_fd_private.h"
#include "iv_time.h"

/* So many changes are collected, and one call can return so many events. */
#define BATCH		128

#define FEWEST_NUMBERS	256

/*
 * A day.  macOS rejects waits of more than 100,000,000 seconds; to wake up once
 * a day does no harm.
 */
#define LONGEST_WAIT	86400

/* In `told': tell the kernel again, although nothing has changed. */
#define TELL_AGAIN	8

/* In `told': a new object's changes have been collected, but not made. */
#define PENDING		16

#define BANDS		(BAND_IN | BAND_OUT | BAND_ERR)

/* Another thread may execute a program before the descriptor has its flag. */
static int create_kqueue(void)
{
#ifdef HAVE_KQUEUE1
	return kqueue1(O_CLOEXEC);
#else
	int fd = kqueue();

	if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		iv_close(fd);
		return -1;
	}

	return fd;
#endif
}

static int kqueue_init(struct iv_state *st)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;

	memset(k, 0, sizeof(*k));
	k->kq = iv_process_move_fd(create_kqueue());
	k->generation = iv_process_generation();

	return k->kq < 0 ? -1 : 0;
}

/*
 * A signal handler may fork anywhere.  In the child no change can be made, and
 * none is needed, as the loop starts anew before it waits.
 */
static int is_inherited(const struct iv_fd_kqueue_state *k)
{
	return k->generation != iv_process_generation();
}

static void kqueue_deinit(struct iv_state *st)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;

	free(k->changes);
	free(k->told);
	if (!is_inherited(k))
		iv_close(k->kq);
}

static int kqueue_reserve(struct iv_state *st, unsigned int num, int number)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;
	unsigned int room = k->room ? k->room : FEWEST_NUMBERS;
	struct iv_fd_ **mem;

	(void)num;
	if (k->changes == NULL) {
		k->changes = calloc(BATCH, sizeof(*k->changes));
		if (k->changes == NULL)
			return -1;
	}

	while (room <= (unsigned int)number)
		room *= 2;
	if (room == k->room)
		return 0;

	mem = realloc(k->told, room * sizeof(*mem));
	if (mem == NULL)
		return -1;
	memset(mem + k->room, 0, (room - k->room) * sizeof(*mem));
	k->told = mem;
	k->room = room;

	return 0;
}

/* The object that an event or a failed change is for, or NULL. */
static struct iv_fd_ *object_of(struct iv_fd_kqueue_state *k, uintptr_t number)
{
	return number < k->room ? k->told[number] : NULL;
}

static int is_quiet(int bands)
{
	return (bands & BANDS) == BAND_ERR;
}

/* The flags to add the filter for these bands, or 0 if they do not need it. */
static int flags_for(const struct iv_fd_ *fd, int bands, int filter)
{
	if (is_quiet(bands))
		return filter == fd->index ? EV_ADD | EV_CLEAR : 0;

	return bands & (filter == EVFILT_READ ? BAND_IN : BAND_OUT) ? EV_ADD : 0;
}

/* The filter for handler_err alone: a pipe's writing end cannot be read. */
static int quiet_filter(const struct iv_fd_ *fd)
{
	return (fcntl(fd->fd, F_GETFL) & O_ACCMODE) == O_WRONLY ?
	       EVFILT_WRITE : EVFILT_READ;
}

/*
 * The object to report an error to because the kernel has rejected a change, or
 * NULL.  ENOENT and EBADF mean that the descriptor was closed meanwhile, so
 * there is nothing to report.  Everything else is an error of the descriptor,
 * such as that of a pipe without a reader.  Like other errors it is reported
 * again and again, until the kernel accepts the change or the object is
 * unregistered.
 */
static struct iv_fd_ *refused(struct iv_state *st, uintptr_t number, int err)
{
	if (err == ENOENT || err == EBADF)
		return NULL;

	return object_of(&st->fd.u.kqueue, number);
}

/* For the next wait, as the current one could not end otherwise. */
static void note_trouble(struct iv_state *st, struct iv_fd_ *fd)
{
	fd->told |= TELL_AGAIN;
	st->fd.u.kqueue.again = 1;
}

/* During a wait. */
static void report_trouble(struct iv_state *st, struct iv_fd_ *fd)
{
	iv_fd_report(st, fd, BAND_IN | BAND_OUT | BAND_ERR);
	fd->told |= TELL_AGAIN;
	if (iv_list_empty(&fd->changed))
		iv_list_add_tail(&fd->changed, &st->fd.changed);
}

static void report_noted_trouble(struct iv_state *st)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;
	unsigned int i;

	k->again = 0;
	for (i = 0; i < k->room; i++) {
		if (k->told[i] != NULL && (k->told[i]->told & TELL_AGAIN))
			report_trouble(st, k->told[i]);
	}
}

static int is_in_trouble(const struct iv_fd_ *fd)
{
	struct pollfd pfd = { .fd = fd->fd };

	return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLERR | POLLHUP));
}

static void report(struct iv_state *st, const struct kevent *kev)
{
	struct iv_fd_ *fd = object_of(&st->fd.u.kqueue, kev->ident);
	int quiet;

	if (fd == NULL)
		return;

	quiet = is_quiet(fd->told);
	if (!quiet)
		iv_fd_report(st, fd, kev->filter == EVFILT_READ ?
				     BAND_IN : BAND_OUT);
	if (!quiet && !(kev->flags & EV_EOF))
		return;
	if (!is_in_trouble(fd))
		return;
	/* Level-triggered filters report it again by themselves. */
	if (quiet)
		report_trouble(st, fd);
	else
		iv_fd_report(st, fd, BAND_IN | BAND_OUT | BAND_ERR);
}

/* 0 or -1: without room for events, the call fails if the change does. */
static int change_now(struct iv_state *st, const struct kevent *kev)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;

	return kevent(k->kq, kev, 1, NULL, 0, NULL) < 0 && !is_inherited(k) ?
	       -1 : 0;
}

static int set_now(struct iv_state *st, const struct iv_fd_ *fd, int filter,
		   int flags)
{
	struct kevent kev;

	EV_SET(&kev, fd->fd, filter, flags, 0, 0, 0);

	return change_now(st, &kev);
}

static void forget_changes(struct iv_fd_kqueue_state *k)
{
	int i;

	for (i = 0; i < k->num; i++) {
		struct iv_fd_ *fd = object_of(k, k->changes[i].ident);

		if (fd != NULL)
			fd->told &= ~PENDING;
	}
	k->num = 0;
}

/* Make the collected changes now, and not with the next wait. */
static void apply(struct iv_state *st)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;
	int i;

	for (i = 0; i < k->num; i++) {
		struct iv_fd_ *fd;

		if (change_now(st, &k->changes[i]) == 0)
			continue;
		fd = refused(st, k->changes[i].ident, errno);
		if (fd != NULL)
			note_trouble(st, fd);
	}
	forget_changes(k);
}

static void
change(struct iv_state *st, const struct iv_fd_ *fd, int filter, int flags)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;

	if (k->num == BATCH)
		apply(st);
	EV_SET(&k->changes[k->num++], fd->fd, filter, flags, 0, 0, 0);
}

static const int filters[] = { EVFILT_READ, EVFILT_WRITE };

/*
 * A filter that is there is added again, because the descriptor may have been
 * closed and its number opened anew.  An edge-triggered one is deleted before:
 * only a new filter is sure to report a condition that holds already.
 */
static void change_filters(struct iv_state *st, struct iv_fd_ *fd)
{
	int i;

	for (i = 0; i < 2; i++) {
		int was = flags_for(fd, fd->told, filters[i]);
		int flags = flags_for(fd, fd->wanted, filters[i]);

		if (was != 0 && (was != flags || (was & EV_CLEAR)))
			change(st, fd, filters[i], EV_DELETE);
	}
	for (i = 0; i < 2; i++) {
		int flags = flags_for(fd, fd->wanted, filters[i]);

		if (flags != 0)
			change(st, fd, filters[i], flags);
	}
}

/*
 * Does the kqueue have the object's descriptor?  EV_ENABLE changes nothing, and
 * fails if there is no such filter.  Changes that have been collected may be
 * for another file, which got the number, so they must not have been made; but
 * those of a new object are for the file that has the number now.  A descriptor
 * in trouble need not have a filter.
 */
static int is_there(struct iv_state *st, const struct iv_fd_ *fd)
{
	return (fd->told & PENDING) ||
	       set_now(st, fd, EVFILT_READ, EV_ENABLE) == 0 ||
	       set_now(st, fd, EVFILT_WRITE, EV_ENABLE) == 0 ||
	       is_in_trouble(fd);
}

/*
 * May an object be added to the kqueue?  As with epoll(7), it is -1 with EBADF
 * if the descriptor is not open, EINVAL if it is the kqueue itself, EPERM for
 * files that are always ready, and EEXIST if another object has the number; but
 * 1 if that object's descriptor was closed.
 */
static int admit(struct iv_state *st, struct iv_fd_ *fd, struct stat *sb)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;
	struct iv_fd_ *other = k->told[fd->fd];

	/* The descriptor was closed before the loop got the number. */
	if (fd->fd == k->kq) {
		errno = EINVAL;
		return -1;
	}
	if (fstat(fd->fd, sb) < 0)
		return -1;
	if (S_ISREG(sb->st_mode) || S_ISDIR(sb->st_mode) ||
	    S_ISBLK(sb->st_mode)) {
		errno = EPERM;
		return -1;
	}
	if (other == NULL)
		return 0;
	if (!is_there(st, other))
		return 1;
	errno = EEXIST;

	return -1;
}

/* Systems have different errors for files that cannot be watched. */
static int refusal(int err)
{
	if (err == EINVAL || err == ENODEV || err == ENOTSUP ||
	    err == EOPNOTSUPP)
		return EPERM;

	return err;
}

static void note_told(struct iv_state *st, struct iv_fd_ *fd)
{
	fd->told = fd->wanted;
	st->fd.u.kqueue.told[fd->fd] = fd->wanted != 0 ? fd : NULL;
}

/* 0, or -1 with errno.  That a pipe has no reader is reported, not returned. */
static int add_now(struct iv_state *st, struct iv_fd_ *fd)
{
	int broken = 0;
	int i;

	apply(st);
	for (i = 0; i < 2; i++) {
		int flags = flags_for(fd, fd->wanted, filters[i]);

		if (flags == 0 || set_now(st, fd, filters[i], flags) == 0)
			continue;
		if (errno != EPIPE) {
			int err = refusal(errno);

			if (i > 0)
				(void)set_now(st, fd, filters[0], EV_DELETE);
			errno = err;
			return -1;
		}
		broken = 1;
	}

	note_told(st, fd);
	if (broken)
		note_trouble(st, fd);

	return 0;
}

static void choose_quiet_filter(struct iv_fd_ *fd)
{
	if (is_quiet(fd->wanted) && !is_quiet(fd->told))
		fd->index = quiet_filter(fd);
}

static int kqueue_tell_now(struct iv_state *st, struct iv_fd_ *fd)
{
	int saved_errno = errno;
	struct stat sb;
	int ret = admit(st, fd, &sb);

	if (ret < 0)
		return -1;
	choose_quiet_filter(fd);
	if (add_now(st, fd) < 0)
		return -1;
	errno = saved_errno;

	return ret;
}

/* Only its driver knows whether a device can be watched. */
static int kqueue_tell(struct iv_state *st, struct iv_fd_ *fd)
{
	int is_new = fd->told == 0;
	struct stat sb;
	int ret = 0;

	if (is_new) {
		ret = admit(st, fd, &sb);
		if (ret < 0)
			return -1;
		if (S_ISCHR(sb.st_mode))
			return kqueue_tell_now(st, fd);
	}
	choose_quiet_filter(fd);
	change_filters(st, fd);
	note_told(st, fd);
	if (is_new)
		fd->told |= PENDING;

	return ret;
}

static int kqueue_probe(struct iv_state *st, struct iv_fd_ *fd)
{
	int saved_errno = errno;
	struct stat sb;

	if (admit(st, fd, &sb) < 0)
		return -1;
	if (S_ISCHR(sb.st_mode)) {
		if (set_now(st, fd, EVFILT_READ, EV_ADD) < 0) {
			errno = refusal(errno);
			return -1;
		}
		(void)set_now(st, fd, EVFILT_READ, EV_DELETE);
	}
	errno = saved_errno;

	return 0;
}

static const struct timespec *
time_left(struct timespec *left, const struct timespec *until)
{
	if (until == NULL)
		return NULL;

	iv_time_left(left, until);
	if (left->tv_sec >= LONGEST_WAIT)
		*left = (struct timespec){ .tv_sec = LONGEST_WAIT };

	return left;
}

/*
 * 1 if changes failed: these are returned at once and without the events, which
 * the next call returns.  A signal ends the wait after all changes were made.
 */
static int wait_once(struct iv_state *st, const struct timespec *until)
{
	struct iv_fd_kqueue_state *k = &st->fd.u.kqueue;
	struct kevent events[BATCH];
	struct timespec left;
	int failed = 0;
	int num;
	int i;

	num = kevent(k->kq, k->changes, k->num, events, BATCH,
		     time_left(&left, until));
	if (num < 0 && errno != EINTR && !is_inherited(k))
		iv_fatal("iv_main: cannot wait for descriptors: %s (errno %d)",
			 strerror(errno), errno);

	forget_changes(k);
	for (i = 0; i < num; i++) {
		struct iv_fd_ *fd;

		if (!(events[i].flags & EV_ERROR)) {
			report(st, &events[i]);
			continue;
		}
		failed = 1;
		fd = refused(st, events[i].ident, events[i].data);
		if (fd != NULL)
			report_trouble(st, fd);
	}

	return failed;
}

static void kqueue_wait(struct iv_state *st, const struct timespec *until)
{
	static const struct timespec at_once;

	if (st->fd.u.kqueue.again)
		report_noted_trouble(st);
	do {
		if (iv_fd_ready(st))
			until = &at_once;
	} while (wait_once(st, until));
}

const struct iv_fd_poll_method iv_fd_poll_method_kqueue = {
	.name	 = "kqueue",
	.init	 = kqueue_init,
	.deinit	 = kqueue_deinit,
	.reserve = kqueue_reserve,
	.tell	 = kqueue_tell,
	.tell_now = kqueue_tell_now,
	.probe	 = kqueue_probe,
	.wait	 = kqueue_wait,
};

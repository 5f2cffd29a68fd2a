/*
 * libivykis: the poll method that uses io_uring(7), as kernels have it.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each case runs with the rings of Linux 6.5, 6.1 and 5.19: the linker's --wrap
 * has the library ask this file for one, which refuses what older kernels do.
 * What is common to all poll methods is in the other programs.
 */

#include <iv.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define SETUP_NO_MMAP		(1U << 14)
#define FEAT_MIN_TIMEOUT	(1U << 15)

/* What the kernel of the running case does not know. */
static unsigned int unknown;
static int num_rings;

int __real_io_uring_setup(unsigned int num, struct io_uring_params *p);
int __wrap_io_uring_setup(unsigned int num, struct io_uring_params *p);
int __wrap_io_uring_setup(unsigned int num, struct io_uring_params *p)
{
	int fd;

	if (p->flags & unknown)
		return -EINVAL;
	fd = __real_io_uring_setup(num, p);
	if (unknown != 0)
		p->features &= ~FEAT_MIN_TIMEOUT;
	num_rings += fd >= 0;

	return fd;
}

static void with_each_kind(void (*fn)(void))
{
	static const unsigned int kinds[] = {
		0, SETUP_NO_MMAP,
		SETUP_NO_MMAP | IORING_SETUP_SINGLE_ISSUER |
		IORING_SETUP_DEFER_TASKRUN,
	};
	struct io_uring_params p = { .flags = IORING_SETUP_COOP_TASKRUN };
	int fd = syscall(SYS_io_uring_setup, 1, &p);
	int i;

	if (fd < 0)
		skip("the kernel refuses io_uring_setup(2)");
	close(fd);
	check_int(setenv("IV_SELECT_POLL_METHOD", "uring", 1), 0);
	for (i = 0; i < 3; i++) {
		pid_t pid = fork();

		check(pid >= 0);
		if (pid == 0) {
			alarm(60);
			unknown = kinds[i];
			iv_init();
			check(variant_is_uring());
			fn();
			_exit(0);
		}
		check_child(pid);
	}
}

struct watched {
	struct iv_fd	fd;
	int		far;
	int		calls;
};

static void count(void *_w)
{
	struct watched *w = _w;

	w->calls++;
}

static void watch(struct watched *w)
{
	int fd[2];

	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	w->far = fd[1];
	w->calls = 0;
	IV_FD_INIT(&w->fd);
	w->fd.fd = fd[0];
	w->fd.cookie = w;
	w->fd.handler_in = count;
	iv_fd_register(&w->fd);
}

static void leave(struct watched *w)
{
	if (iv_fd_registered(&w->fd))
		iv_fd_unregister(&w->fd);
	close(w->fd.fd);
	close(w->far);
}

static void say(struct watched *w)
{
	check_int(write(w->far, "x", 1), 1);
}

/* 1: nobody has the other end open. */
static int is_at_end(struct watched *w)
{
	char c;

	return recv(w->far, &c, 1, MSG_DONTWAIT) == 0;
}

/* Its poll request would keep the file open. */
static void close_after_unregister(void)
{
	struct watched w;

	watch(&w);
	run_passes(2);
	iv_fd_unregister(&w.fd);
	close(w.fd.fd);
	check(is_at_end(&w));
	close(w.far);
	iv_deinit();
}

static void close_after_deinit(void)
{
	struct watched w[40];
	int i;

	for (i = 0; i < 40; i++)
		watch(&w[i]);
	run_passes(2);
	iv_deinit();
	for (i = 0; i < 40; i++) {
		close(w[i].fd.fd);
		check(is_at_end(&w[i]));
	}
}

/* Its request has completed when it is changed, or unregistered. */
static void completions_that_are_late(void)
{
	struct watched w, other;
	char c;

	watch(&w);
	watch(&other);
	run_passes(2);
	say(&w);
	iv_fd_set_handler_out(&w.fd, count);
	check_int(read(w.fd.fd, &c, 1), 1);
	run_passes(1);
	check_int(w.calls, 1);

	iv_fd_set_handler_out(&w.fd, NULL);
	run_passes(1);
	say(&w);
	iv_fd_unregister(&w.fd);
	iv_fd_unregister(&other.fd);
	iv_fd_register(&other.fd);
	iv_fd_register(&w.fd);
	w.calls = 0;
	run_passes(1);
	check_int(w.calls, 1);
	check_int(other.calls, 0);
	leave(&other);

	/* The next one to be asked for takes its place. */
	check_int(read(w.fd.fd, &c, 1), 1);
	run_passes(1);
	w.calls = 0;
	say(&w);
	iv_fd_set_handler_in(&w.fd, NULL);
	watch(&other);
	run_passes(2);
	check_int(w.calls, 0);
	check_int(other.calls, 0);
	leave(&w);
	leave(&other);
	iv_deinit();
}

/* What has been read since it completed is not reported. */
static void read_in_between(void)
{
	struct watched w[100];
	int i, pass;
	char c;

	for (i = 0; i < 100; i++)
		watch(&w[i]);
	run_passes(2);
	for (i = 0; i < 100; i++) {
		say(&w[i]);
		if (i % 2)
			check_int(read(w[i].fd.fd, &c, 1), 1);
	}
	for (pass = 1; pass < 4; pass++) {
		run_passes(1);
		for (i = 0; i < 100; i++)
			check_int(w[i].calls, i % 2 ? 0 : pass);
	}
	for (i = 0; i < 100; i++)
		leave(&w[i]);
	iv_deinit();
}

/* More than a ring had room for at first, and than one submission takes. */
#define MANY	700

static void rings_that_grow(void)
{
	static struct watched w[MANY];
	int rings = num_rings;
	int i;

	(void)limit_descriptors(2 * MANY + 50);
	for (i = 0; i < MANY; i++) {
		watch(&w[i]);
		if (i == 100)
			run_passes(2);
		if (i % 2)
			say(&w[i]);
	}
	check(num_rings > rings);
	for (i = 0; i < MANY; i++)
		w[i].calls = 0;
	/* The loop had begun to wait for it with the first ring. */
	say(&w[0]);
	run_passes(1);
	for (i = 0; i < MANY; i++)
		check_int(w[i].calls > 0, i == 0 || i % 2);
	for (i = 0; i < MANY; i++)
		leave(&w[i]);
	iv_deinit();
}

/* It cannot: the kernel keeps what there is no room for. */
static void rings_that_cannot_grow(void)
{
	static struct watched w[MANY];
	int i;

	(void)limit_descriptors(2 * MANY + 50);
	unknown = ~0U;
	for (i = 0; i < MANY; i++)
		watch(&w[i]);
	run_passes(2);
	for (i = 0; i < MANY; i++)
		say(&w[i]);
	check_int(num_rings, 1);
	run_passes(1);
	for (i = 0; i < MANY; i++) {
		check_int(w[i].calls, 1);
		leave(&w[i]);
	}
	iv_deinit();
}

/* The parent has all its completions, whatever the child does with its loop. */
static void use_in_child(struct watched *w)
{
	struct watched own;
	int rings = num_rings;

	iv_fd_unregister(&w[0].fd);
	watch(&own);
	say(&own);
	run_passes(3);
	check_int(num_rings, rings + 1);
	check(own.calls > 0);
	check(w[1].calls > 0);
	check_int(w[2].calls, 0);
	leave(&own);
	iv_fd_unregister(&w[1].fd);
	iv_fd_unregister(&w[2].fd);
	iv_deinit();
	_exit(0);
}

static void forked_children(void)
{
	struct watched w[3];
	pid_t pid;
	int i;

	for (i = 0; i < 3; i++)
		watch(&w[i]);
	run_passes(2);
	say(&w[0]);
	say(&w[1]);
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		use_in_child(w);
	check_child(pid);
	run_passes(2);
	for (i = 0; i < 3; i++) {
		check_int(w[i].calls, i < 2 ? 2 : 0);
		leave(&w[i]);
	}
	iv_deinit();
}

static void *end_with_objects(void *_w)
{
	iv_init();
	watch(_w);
	run_passes(2);

	return NULL;
}

/* Neither descriptors nor memory are left behind. */
static void nothing_is_left(void)
{
	int before = num_descriptors();
	int mappings = 0;
	struct watched w;
	pthread_t thread;
	int i;

	for (i = 0; i < 20; i++) {
		check_int(pthread_create(&thread, NULL, end_with_objects, &w),
			  0);
		check_int(pthread_join(thread, NULL), 0);
		close(w.fd.fd);
		check(is_at_end(&w));
		close(w.far);
		check_int(num_descriptors(), before);
		if (i == 5)
			mappings = num_mappings();
		if (i > 5)
			check_int(num_mappings(), mappings);
	}
	iv_deinit();
}

#define CASE(name)							\
	static void each_##name(void)					\
	{								\
		with_each_kind(name);					\
	}

CASE(close_after_unregister)
CASE(close_after_deinit)
CASE(completions_that_are_late)
CASE(read_in_between)
CASE(rings_that_grow)
CASE(rings_that_cannot_grow)
CASE(forked_children)
CASE(nothing_is_left)

static const struct check_case cases[] = {
	{ "what is closed after it was unregistered is closed",
	  each_close_after_unregister, ONCE, 0 },
	{ "... also after the loop has ended", each_close_after_deinit, ONCE,
	  0 },
	{ "a completion that is late is nobody else's",
	  each_completions_that_are_late, ONCE, 0 },
	{ "what was read before the wait is not reported",
	  each_read_in_between, ONCE, 0 },
	{ "a ring that grows loses nothing", each_rings_that_grow, ONCE, 0 },
	{ "a ring that cannot grow loses nothing",
	  each_rings_that_cannot_grow, ONCE, 0 },
	{ "a child has a ring of its own, and takes nothing from the parent",
	  each_forked_children, ONCE, 0 },
	{ "loops that end leave nothing behind", each_nothing_is_left, ONCE,
	  0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: the poll method that uses io_uring(7), on several kernels.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each case runs with the rings of Linux 6.5, 6.1 and 5.19: by the linker's
 * --wrap the library calls this file, which rejects what older kernels do not
 * know.  Other failures are the kernel's own, by seccomp(2) and setrlimit(2).
 * What all poll methods have in common is tested by other programs.
 */

#include <fcntl.h>
#include <iv.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

/* Returns whether the other end is closed. */
static int is_at_end(struct watched *w)
{
	char c;

	return recv(w->far, &c, 1, MSG_DONTWAIT) == 0;
}

/* A poll request would keep the file open. */
static void close_after_unregister(void)
{
	struct watched w;

	watch(&w);
	run_iterations(2);
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
	run_iterations(2);
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
	run_iterations(2);
	say(&w);
	iv_fd_set_handler_out(&w.fd, count);
	check_int(read(w.fd.fd, &c, 1), 1);
	run_iterations(1);
	check_int(w.calls, 1);

	iv_fd_set_handler_out(&w.fd, NULL);
	run_iterations(1);
	say(&w);
	iv_fd_unregister(&w.fd);
	iv_fd_unregister(&other.fd);
	iv_fd_register(&other.fd);
	iv_fd_register(&w.fd);
	w.calls = 0;
	run_iterations(1);
	check_int(w.calls, 1);
	check_int(other.calls, 0);
	leave(&other);

	/* The next request takes its slot. */
	check_int(read(w.fd.fd, &c, 1), 1);
	run_iterations(1);
	w.calls = 0;
	say(&w);
	iv_fd_set_handler_in(&w.fd, NULL);
	watch(&other);
	run_iterations(2);
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
	run_iterations(2);
	for (i = 0; i < 100; i++) {
		say(&w[i]);
		if (i % 2)
			check_int(read(w[i].fd.fd, &c, 1), 1);
	}
	for (pass = 1; pass < 4; pass++) {
		run_iterations(1);
		for (i = 0; i < 100; i++)
			check_int(w[i].calls, i % 2 ? 0 : pass);
	}
	for (i = 0; i < 100; i++)
		leave(&w[i]);
	iv_deinit();
}

static void check_that_loop_works(void)
{
	struct watched w;

	watch(&w);
	say(&w);
	run_iterations(1);
	check(w.calls > 0);
	leave(&w);
}

/* Rings that this process has open; works without memory. */
static int num_open_rings(void)
{
	char link[32], text[32];
	int num = 0;
	int fd;

	for (fd = 0; fd < 256; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		memset(text, 0, sizeof(text));
		if (readlink(link, text, sizeof(text) - 1) > 0)
			num += strstr(text, "io_uring") != NULL;
	}

	return num;
}

static const int refusals[] = {
	ENOSYS, EPERM, EACCES, ENOMEM, EINVAL, EMFILE,
};

#define NUM_REFUSALS	((int)(sizeof(refusals) / sizeof(refusals[0])))

/* Address space; mappings without a file may be counted as one. */
static long num_pages(void)
{
	int fd = open("/proc/self/statm", O_RDONLY);
	char text[64] = "";

	check(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);

	return atol(text);
}

/* Loops work without, and no attempt leaves anything behind. */
static void live_without(const char *call, int err)
{
	int before = num_descriptors();
	int mappings = 0;
	long pages = 0;
	int i;

	refuse(call, err);
	for (i = 0; i < 4; i++) {
		iv_init();
		check_int(num_open_rings(), 0);
		check_that_loop_works();
		iv_deinit();
		check_int(num_descriptors(), before);
		if (i == 0) {
			mappings = num_mappings();
			pages = num_pages();
		}
		check_int(num_mappings(), mappings);
		/* Sanitizers map memory of their own. */
		if (BUILT_FOR == 0)
			check_int(num_pages(), pages);
	}
}

static void rings_that_are_refused(void)
{
	static const char *const calls[] = { "io_uring_setup", "io_uring_enter" };
	int i;

	iv_deinit();
	for (i = 0; i < 2 * NUM_REFUSALS; i++) {
		pid_t pid = fork();

		check(pid >= 0);
		if (pid == 0) {
			alarm(60);
			live_without(calls[i % 2], refusals[i / 2]);
			_exit(0);
		}
		check_child(pid);
	}
}

static void need_limit(void)
{
	skip_under(ASAN | TSAN | MEMCHECK, "maps memory of its own");
	need_memory_limit(RLIMIT_AS);
}

/* So much may be mapped in addition; -1: no limit. */
static void limit_memory(long room)
{
	struct rlimit lim = { RLIM_INFINITY, RLIM_INFINITY };

	if (room >= 0)
		lim.rlim_cur = num_pages() * sysconf(_SC_PAGESIZE) + room;
	check_int(setrlimit(RLIMIT_AS, &lim), 0);
}

/* So that malloc(3) needs no new mapping, unlike a ring. */
static void fill_heap(void)
{
	char *mem = malloc(100000);

	check(mem != NULL);
	memset(mem, 1, 100000);
	free(mem);
}

/* Returns whether a loop with so much room has a ring; it works in any case. */
static int has_ring_within(long room)
{
	int before = num_descriptors();
	int mappings = num_mappings();
	int has_ring;

	limit_memory(room);
	iv_init();
	has_ring = num_open_rings();
	check_that_loop_works();
	iv_deinit();
	limit_memory(-1);
	check_int(num_descriptors(), before);
	check_int(num_mappings(), mappings);

	return has_ring;
}

/* There is room for none of the mappings, for one, and so on. */
static void memory_that_is_refused(void)
{
	long page = sysconf(_SC_PAGESIZE);
	int pages = 0;

	need_limit();
	iv_deinit();
	fill_heap();
	while (!has_ring_within(pages * page))
		check(++pages < 100);
	check(pages > 1);
	check_int(has_ring_within(-1), 1);
}

/* More than a ring has room for at first, and than one submission takes. */
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
			run_iterations(2);
		if (i % 2)
			say(&w[i]);
	}
	check(num_rings > rings);
	for (i = 0; i < MANY; i++)
		w[i].calls = 0;
	/* The loop had begun to wait for it with the first ring. */
	say(&w[0]);
	run_iterations(1);
	for (i = 0; i < MANY; i++)
		check_int(w[i].calls > 0, i == 0 || i % 2);
	for (i = 0; i < MANY; i++)
		leave(&w[i]);
	iv_deinit();
}

/* The kernel keeps the completions that there is no room for. */
static void work_with_small_ring(void (*begin)(void))
{
	static struct watched w[MANY];
	int i;

	(void)limit_descriptors(2 * MANY + 50);
	fill_heap();
	begin();
	for (i = 0; i < MANY; i++)
		watch(&w[i]);
	run_iterations(2);
	for (i = 0; i < MANY; i++)
		say(&w[i]);
	run_iterations(1);
	check_int(num_open_rings(), 1);
	for (i = 0; i < MANY; i++) {
		check_int(w[i].calls, 1);
		leave(&w[i]);
	}
	iv_deinit();
}

static void refuse_setup(void)
{
	refuse("io_uring_setup", EPERM);
}

static void rings_that_cannot_grow(void)
{
	work_with_small_ring(refuse_setup);
}

static void allow_no_memory(void)
{
	limit_memory(0);
}

static void rings_without_memory_to_grow(void)
{
	need_limit();
	work_with_small_ring(allow_no_memory);
}

/* A size that failed is followed by a larger one when that is needed. */
static void rings_that_grow_later(void)
{
	static struct watched w[MANY];
	unsigned int known = unknown;
	int i;

	(void)limit_descriptors(2 * MANY + 50);
	unknown = ~0U;
	for (i = 0; i < MANY; i++) {
		if (i == MANY / 3)
			unknown = known;
		watch(&w[i]);
	}
	check_int(num_rings, 3);
	for (i = 0; i < MANY; i++)
		say(&w[i]);
	run_iterations(1);
	for (i = 0; i < MANY; i++) {
		check_int(w[i].calls, 1);
		leave(&w[i]);
	}
	iv_deinit();
}

/* The parent gets all its completions, whatever the child does. */
static void use_in_child(struct watched *w, int rings)
{
	struct watched own;
	int before = num_descriptors();

	iv_fd_unregister(&w[0].fd);
	watch(&own);
	say(&own);
	run_iterations(3);
	check_int(num_open_rings(), rings);
	/* Two for the pair, and one in place of the copy of the parent's. */
	check_int(num_descriptors(), before + 2);
	check(own.calls > 0);
	check(w[1].calls > 0);
	check_int(w[2].calls, 0);
	leave(&own);
	iv_fd_unregister(&w[1].fd);
	iv_fd_unregister(&w[2].fd);
	iv_deinit();
	_exit(0);
}

static void fork_with_ring(void (*begin)(void))
{
	struct watched w[3];
	pid_t pid;
	int i;

	for (i = 0; i < 3; i++)
		watch(&w[i]);
	run_iterations(2);
	say(&w[0]);
	say(&w[1]);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		if (begin != NULL)
			begin();
		use_in_child(w, begin == NULL);
	}
	check_child(pid);
	run_iterations(2);
	for (i = 0; i < 3; i++) {
		check_int(w[i].calls, i < 2 ? 2 : 0);
		leave(&w[i]);
	}
	iv_deinit();
}

static void forked_children(void)
{
	fork_with_ring(NULL);
}

static void children_that_are_refused(void)
{
	fork_with_ring(refuse_setup);
}

static int late_refusal;

/* A filter that comes when a loop has a ring: in its waits, and before one. */
static void work_without_ring(void)
{
	int before = num_descriptors();
	struct watched w[3], late;
	int i;

	for (i = 0; i < 3; i++)
		watch(&w[i]);
	run_iterations(2);
	refuse("io_uring_enter", late_refusal);
	iv_fd_unregister(&w[0].fd);
	iv_fd_set_handler_out(&w[1].fd, count);
	say(&w[2]);
	run_iterations(3);
	check_int(num_open_rings(), 0);
	check(w[1].calls > 0);
	check(w[2].calls > 0);
	check_int(w[0].calls, 0);
	check_that_loop_works();
	watch(&late);
	say(&late);
	run_iterations(1);
	check_int(late.calls, 1);
	for (i = 0; i < 3; i++)
		leave(&w[i]);
	leave(&late);
	/* What an epoll set has in the place of the ring. */
	check_int(num_descriptors(), before);
	iv_deinit();
}

static void end_without_ring(void)
{
	int before = num_descriptors();
	struct watched w;

	watch(&w);
	run_iterations(2);
	refuse("io_uring_enter", late_refusal);
	iv_deinit();
	close(w.fd.fd);
	close(w.far);
	check_int(num_descriptors(), before - 1);
}

static void rings_that_are_refused_later(void)
{
	int i;

	for (i = 0; i < 4; i++) {
		pid_t pid = fork();

		check(pid >= 0);
		if (pid == 0) {
			alarm(60);
			iv_deinit();
			iv_init();
			late_refusal = refusals[i % 3];
			if (i < 3)
				work_without_ring();
			else
				end_without_ring();
			_exit(0);
		}
		check_child(pid);
	}
}

static void *end_with_objects(void *_w)
{
	iv_init();
	watch(_w);
	run_iterations(2);

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
CASE(rings_that_are_refused)
CASE(memory_that_is_refused)
CASE(rings_that_are_refused_later)
CASE(rings_that_grow)
CASE(rings_that_cannot_grow)
CASE(rings_without_memory_to_grow)
CASE(rings_that_grow_later)
CASE(forked_children)
CASE(children_that_are_refused)
CASE(nothing_is_left)

static const struct check_case cases[] = {
	{ "what is closed after it was unregistered is closed",
	  each_close_after_unregister, ONCE, 0 },
	{ "... even after the loop has ended", each_close_after_deinit, ONCE,
	  0 },
	{ "a late completion is not taken for another request's",
	  each_completions_that_are_late, ONCE, 0 },
	{ "what was read before the wait is not reported",
	  each_read_in_between, ONCE, 0 },
	{ "a loop that is refused a ring works without one",
	  each_rings_that_are_refused, ONCE, 60 },
	{ "... even if only its memory is refused",
	  each_memory_that_is_refused, ONCE, 60 },
	{ "... even if it is refused the ring that it has",
	  each_rings_that_are_refused_later, ONCE, 0 },
	{ "a ring that grows loses nothing", each_rings_that_grow, ONCE, 0 },
	{ "a ring that cannot grow loses nothing",
	  each_rings_that_cannot_grow, ONCE, 0 },
	{ "... even for lack of memory",
	  each_rings_without_memory_to_grow, ONCE, 0 },
	{ "a ring that could not grow does so later",
	  each_rings_that_grow_later, ONCE, 0 },
	{ "a child has a ring of its own, and takes nothing from the parent",
	  each_forked_children, ONCE, 0 },
	{ "a child that is refused a ring works without one",
	  each_children_that_are_refused, ONCE, 0 },
	{ "loops that end leave nothing behind", each_nothing_is_left, ONCE,
	  0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

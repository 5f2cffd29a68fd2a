/*
 * libivykis: the poll method that uses io_uring(7), on several kernels.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each case runs with the rings of Linux 6.5, 6.1 and 5.19: the linker's --wrap
 * makes the library call this file, which rejects flags that older kernels do
 * not know.  Other failures are made by seccomp(2) and setrlimit(2).  What all
 * poll methods have in common is tested by other programs.
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

/* Flags of io_uring_setup(2) that are rejected. */
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
		skip("io_uring_setup(2) fails here");
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

static void unwatch(struct watched *w)
{
	if (iv_fd_registered(&w->fd))
		iv_fd_unregister(&w->fd);
	close(w->fd.fd);
	close(w->far);
}

static void write_byte(struct watched *w)
{
	check_int(write(w->far, "x", 1), 1);
}

/* Is the end that the loop watched closed? */
static int is_closed(struct watched *w)
{
	char c;

	return recv(w->far, &c, 1, MSG_DONTWAIT) == 0;
}

/* A poll request that is still pending would keep the file open. */
static void close_after_unregister(void)
{
	struct watched w;

	watch(&w);
	run_iterations(2);
	iv_fd_unregister(&w.fd);
	close(w.fd.fd);
	check(is_closed(&w));
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
		check(is_closed(&w[i]));
	}
}

/* The request has completed when the descriptor is changed or unregistered. */
static void late_completions(void)
{
	struct watched w, other;
	char c;

	watch(&w);
	watch(&other);
	run_iterations(2);
	write_byte(&w);
	iv_fd_set_handler_out(&w.fd, count);
	check_int(read(w.fd.fd, &c, 1), 1);
	run_iterations(1);
	check_int(w.calls, 1);

	iv_fd_set_handler_out(&w.fd, NULL);
	run_iterations(1);
	write_byte(&w);
	iv_fd_unregister(&w.fd);
	iv_fd_unregister(&other.fd);
	iv_fd_register(&other.fd);
	iv_fd_register(&w.fd);
	w.calls = 0;
	run_iterations(1);
	check_int(w.calls, 1);
	check_int(other.calls, 0);
	unwatch(&other);

	/* The next request reuses the slot. */
	check_int(read(w.fd.fd, &c, 1), 1);
	run_iterations(1);
	w.calls = 0;
	write_byte(&w);
	iv_fd_set_handler_in(&w.fd, NULL);
	watch(&other);
	run_iterations(2);
	check_int(w.calls, 0);
	check_int(other.calls, 0);
	unwatch(&w);
	unwatch(&other);
	iv_deinit();
}

/* Descriptors are read after their requests have completed. */
static void read_before_the_wait(void)
{
	struct watched w[100];
	int i, pass;
	char c;

	for (i = 0; i < 100; i++)
		watch(&w[i]);
	run_iterations(2);
	for (i = 0; i < 100; i++) {
		write_byte(&w[i]);
		if (i % 2)
			check_int(read(w[i].fd.fd, &c, 1), 1);
	}
	for (pass = 1; pass < 4; pass++) {
		run_iterations(1);
		for (i = 0; i < 100; i++)
			check_int(w[i].calls, i % 2 ? 0 : pass);
	}
	for (i = 0; i < 100; i++)
		unwatch(&w[i]);
	iv_deinit();
}

static void check_loop(void)
{
	struct watched w;

	watch(&w);
	write_byte(&w);
	run_iterations(1);
	check(w.calls > 0);
	unwatch(&w);
}

/* How many rings this process has; does not allocate memory. */
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

static const int errors[] = {
	ENOSYS, EPERM, EACCES, ENOMEM, EINVAL, EMFILE,
};

#define NUM_ERRORS	((int)(sizeof(errors) / sizeof(errors[0])))

/* Size of the address space.  Two adjacent mappings may be counted as one. */
static long num_pages(void)
{
	int fd = open("/proc/self/statm", O_RDONLY);
	char text[64] = "";

	check(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);

	return atol(text);
}

/* Loops work without this call, and nothing is left after an attempt. */
static void work_without(const char *call, int err)
{
	int before = num_descriptors();
	int mappings = 0;
	long pages = 0;
	int i;

	refuse(call, err);
	for (i = 0; i < 4; i++) {
		iv_init();
		check_int(num_open_rings(), 0);
		check_loop();
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

static void calls_that_fail(void)
{
	static const char *const calls[] = {
		"io_uring_setup", "io_uring_enter",
	};
	int i;

	iv_deinit();
	for (i = 0; i < 2 * NUM_ERRORS; i++) {
		pid_t pid = fork();

		check(pid >= 0);
		if (pid == 0) {
			alarm(60);
			work_without(calls[i % 2], errors[i / 2]);
			_exit(0);
		}
		check_child(pid);
	}
}

static void need_limit(void)
{
	skip_under(ASAN | TSAN | MEMCHECK, "maps memory itself");
	need_memory_limit(RLIMIT_AS);
}

/* Limit the address space to its size plus room bytes; -1: no limit. */
static void limit_memory(long room)
{
	struct rlimit lim = { RLIM_INFINITY, RLIM_INFINITY };

	if (room >= 0)
		lim.rlim_cur = num_pages() * sysconf(_SC_PAGESIZE) + room;
	check_int(setrlimit(RLIMIT_AS, &lim), 0);
}

/* Let malloc(3) have free memory, so that only a ring needs a new mapping. */
static void fill_heap(void)
{
	char *mem = malloc(100000);

	check(mem != NULL);
	memset(mem, 1, 100000);
	free(mem);
}

/* Has a loop with so much room a ring?  It works in any case. */
static int has_ring_within(long room)
{
	int before = num_descriptors();
	int mappings = num_mappings();
	int has_ring;

	limit_memory(room);
	iv_init();
	has_ring = num_open_rings();
	check_loop();
	iv_deinit();
	limit_memory(-1);
	check_int(num_descriptors(), before);
	check_int(num_mappings(), mappings);

	return has_ring;
}

/* There is room for none of a ring's mappings, then for one, and so on. */
static void no_memory_for_a_ring(void)
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

/* More than the first ring has room for, or one submission. */
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
			write_byte(&w[i]);
	}
	check(num_rings > rings);
	for (i = 0; i < MANY; i++)
		w[i].calls = 0;
	/* Its request was made in the first ring. */
	write_byte(&w[0]);
	run_iterations(1);
	for (i = 0; i < MANY; i++)
		check_int(w[i].calls > 0, i == 0 || i % 2);
	for (i = 0; i < MANY; i++)
		unwatch(&w[i]);
	iv_deinit();
}

/* The kernel keeps completions that the ring has no room for. */
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
		write_byte(&w[i]);
	run_iterations(1);
	check_int(num_open_rings(), 1);
	for (i = 0; i < MANY; i++) {
		check_int(w[i].calls, 1);
		unwatch(&w[i]);
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

static void no_memory_to_grow(void)
{
	need_limit();
	work_with_small_ring(allow_no_memory);
}

/* The ring cannot grow at first, and is later replaced by a larger one. */
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
		write_byte(&w[i]);
	run_iterations(1);
	for (i = 0; i < MANY; i++) {
		check_int(w[i].calls, 1);
		unwatch(&w[i]);
	}
	iv_deinit();
}

/* The child uses its copies; the parent must still get all its completions. */
static void use_in_child(struct watched *w, int rings)
{
	struct watched own;
	int before = num_descriptors();

	iv_fd_unregister(&w[0].fd);
	watch(&own);
	write_byte(&own);
	run_iterations(3);
	check_int(num_open_rings(), rings);
	/* Two for the pair; the child's ring or set replaces the parent's. */
	check_int(num_descriptors(), before + 2);
	check(own.calls > 0);
	check(w[1].calls > 0);
	check_int(w[2].calls, 0);
	unwatch(&own);
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
	write_byte(&w[0]);
	write_byte(&w[1]);
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
		unwatch(&w[i]);
	}
	iv_deinit();
}

static void forked_children(void)
{
	fork_with_ring(NULL);
}

static void children_without_a_ring(void)
{
	fork_with_ring(refuse_setup);
}

static int enter_error;

/* io_uring_enter(2) begins to fail when the loop has a ring. */
static void lose_ring(void)
{
	int before = num_descriptors();
	struct watched w[3], late;
	int i;

	for (i = 0; i < 3; i++)
		watch(&w[i]);
	run_iterations(2);
	refuse("io_uring_enter", enter_error);
	iv_fd_unregister(&w[0].fd);
	iv_fd_set_handler_out(&w[1].fd, count);
	write_byte(&w[2]);
	run_iterations(3);
	check_int(num_open_rings(), 0);
	check(w[1].calls > 0);
	check(w[2].calls > 0);
	check_int(w[0].calls, 0);
	check_loop();
	watch(&late);
	write_byte(&late);
	run_iterations(1);
	check_int(late.calls, 1);
	for (i = 0; i < 3; i++)
		unwatch(&w[i]);
	unwatch(&late);
	/* An epoll set has replaced the ring. */
	check_int(num_descriptors(), before);
	iv_deinit();
}

static void lose_ring_and_end(void)
{
	int before = num_descriptors();
	struct watched w;

	watch(&w);
	run_iterations(2);
	refuse("io_uring_enter", enter_error);
	iv_deinit();
	close(w.fd.fd);
	close(w.far);
	check_int(num_descriptors(), before - 1);
}

static void rings_that_begin_to_fail(void)
{
	int i;

	for (i = 0; i < 4; i++) {
		pid_t pid = fork();

		check(pid >= 0);
		if (pid == 0) {
			alarm(60);
			iv_deinit();
			iv_init();
			enter_error = errors[i % 3];
			if (i < 3)
				lose_ring();
			else
				lose_ring_and_end();
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

/* Threads exit with objects registered, and leave nothing behind. */
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
		check(is_closed(&w));
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
CASE(late_completions)
CASE(read_before_the_wait)
CASE(calls_that_fail)
CASE(no_memory_for_a_ring)
CASE(rings_that_begin_to_fail)
CASE(rings_that_grow)
CASE(rings_that_cannot_grow)
CASE(no_memory_to_grow)
CASE(rings_that_grow_later)
CASE(forked_children)
CASE(children_without_a_ring)
CASE(nothing_is_left)

static const struct check_case cases[] = {
	{ "close closes a file after the descriptor was unregistered",
	  each_close_after_unregister, ONCE, 0 },
	{ "close closes a file after the loop has ended",
	  each_close_after_deinit, ONCE, 0 },
	{ "a late completion is not taken for another request's",
	  each_late_completions, ONCE, 0 },
	{ "a descriptor that was read before the wait is not reported",
	  each_read_before_the_wait, ONCE, 0 },
	{ "a loop works if a ring's system calls fail",
	  each_calls_that_fail, ONCE, 60 },
	{ "a loop works if there is no memory for a ring",
	  each_no_memory_for_a_ring, ONCE, 60 },
	{ "a loop works if its ring begins to fail",
	  each_rings_that_begin_to_fail, ONCE, 0 },
	{ "a ring that grows loses nothing", each_rings_that_grow, ONCE, 0 },
	{ "a ring that cannot grow loses nothing",
	  each_rings_that_cannot_grow, ONCE, 0 },
	{ "a ring without memory to grow loses nothing",
	  each_no_memory_to_grow, ONCE, 0 },
	{ "a ring that could not grow may grow later",
	  each_rings_that_grow_later, ONCE, 0 },
	{ "a child has its own ring, and takes nothing from the parent's",
	  each_forked_children, ONCE, 0 },
	{ "a child's loop works without a ring",
	  each_children_without_a_ring, ONCE, 0 },
	{ "loops that end leave nothing behind",
	  each_nothing_is_left, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

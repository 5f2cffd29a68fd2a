/*
 * libivykis: iv_fd_pump.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a pump does must not depend on how it moves bytes.  So most cases run in
 * each mode: with all system calls, with splice(2) refused, and with pipe2(2)
 * refused.
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_fd_pump.h>
#include <iv_tls.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#ifdef HAVE_LINUX
#include <sys/syscall.h>
#endif
#include "check.h"

/* Functions that are called instead of the libc's. */
static _Thread_local int is_first_to_splice;
static atomic_int splice_is_gone;
static sem_t at_first_splice, first_splice_fails;
static size_t splice_at_most = SIZE_MAX;
static atomic_int splices, shutdowns;

#ifdef HAVE_LINUX
ssize_t splice(int fd_in, off64_t *off_in, int fd_out, off64_t *off_out,
	       size_t len, unsigned int flags)
{
	splices++;
	if (is_first_to_splice) {
		sem_post(&at_first_splice);
		sem_wait(&first_splice_fails);
		atomic_store(&splice_is_gone, 1);
	}
	if (atomic_load(&splice_is_gone)) {
		errno = ENOSYS;
		return -1;
	}

	if (len > splice_at_most)
		len = splice_at_most;

	return syscall(SYS_splice, fd_in, off_in, fd_out, off_out, len, flags);
}

int shutdown(int fd, int how)
{
	shutdowns++;

	return syscall(SYS_shutdown, fd, how);
}
#endif


static void in_each_mode(void (*fn)(void))
{
	static const char *const refused[] = { NULL, "splice", "pipe2" };
	int before = num_descriptors();
	size_t i;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		pid_t pid = fork();

		check(pid >= 0);
		if (pid == 0) {
			if (refused[i] != NULL)
				refuse(refused[i], ENOSYS);
			fn();
			check_int(num_descriptors(), before);
			_exit(0);
		}
		check_child(pid);
	}
}

#define IN_EACH_MODE(fn)						\
	static void fn##_in_each_mode(void)				\
	{								\
		in_each_mode(fn);					\
	}

/* A pump, how often it called set_bands, and what it asked for last. */
struct pump {
	struct iv_fd_pump	p;
	int			calls;
	int			in;
	int			out;
};

static void save_bands(void *_p, int pollin, int pollout)
{
	struct pump *p = _p;

	p->calls++;
	p->in = pollin;
	p->out = pollout;
}

static void prepare(struct pump *p, int from, int to, unsigned int flags)
{
	memset(p, 0xa5, sizeof(*p));
	p->p.from_fd = from;
	p->p.to_fd = to;
	p->p.cookie = p;
	p->p.set_bands = save_bands;
	p->p.flags = flags;
	p->calls = 0;
}

static void start(struct pump *p, int from, int to, unsigned int flags)
{
	prepare(p, from, to, flags);
	iv_fd_pump_init(&p->p);
}

/* Pump once: expect this result, and one call of set_bands with these. */
static void pump(struct pump *p, int ret, int in, int out)
{
	int calls = p->calls;

	check_int(iv_fd_pump_pump(&p->p), ret);
	check_int(p->calls, calls + 1);
	check_int(p->in, in);
	check_int(p->out, out);
	check_int(iv_fd_pump_is_done(&p->p), ret == 0);
}

static void pump_fails(struct pump *p, int err)
{
	int calls = p->calls;

	check_errno(iv_fd_pump_pump(&p->p), err);
	check_int(p->calls, calls);
	check_int(iv_fd_pump_is_done(&p->p), 0);
}

static void destroy(struct pump *p)
{
	int calls = p->calls + !iv_fd_pump_is_done(&p->p);

	iv_fd_pump_destroy(&p->p);
	check_int(p->calls, calls);
	check_int(p->in, 0);
	check_int(p->out, 0);
}


/*
 * Two pairs of non-blocking sockets.  The case writes to feed, the pump moves
 * bytes from `from' to `to', which has a small buffer, and the case reads from
 * drain.
 */
static int feed, from, to, drain;

static void open_pair(int type, int fd[2])
{
	int i;

	check_int(socketpair(AF_UNIX, type, 0, fd), 0);
	for (i = 0; i < 2; i++)
		check_int(fcntl(fd[i], F_SETFL, O_NONBLOCK), 0);
}

static void open_ends(void)
{
	int size = 4096;
	int fd[2];

	open_pair(SOCK_STREAM, fd);
	feed = fd[0];
	from = fd[1];
	open_pair(SOCK_STREAM, fd);
	to = fd[0];
	drain = fd[1];
	check(setsockopt(to, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
}

static void close_all(void)
{
	close(feed);
	close(from);
	close(to);
	close(drain);
}

static void set_up(struct pump *p, unsigned int flags)
{
	iv_init();
	open_ends();
	start(p, from, to, flags);
}

static void tear_down(struct pump *p)
{
	destroy(p);
	close_all();
	iv_deinit();
}

static char pattern(size_t pos)
{
	return pos % 251 + pos / 251 % 7;
}

/* How many bytes of the pattern were written to feed, and read from drain. */
static size_t fed, drained;

/* Write so many bytes, or as many as there is room for. */
static void feed_all(size_t len)
{
	while (len > 0) {
		char buf[4096];
		size_t num = len < sizeof(buf) ? len : sizeof(buf);
		ssize_t ret;
		size_t i;

		for (i = 0; i < num; i++)
			buf[i] = pattern(fed + i);
		ret = write(feed, buf, num);
		if (ret < 0) {
			check_int(errno, EAGAIN);
			return;
		}
		fed += ret;
		len -= ret;
	}
}

/* Read and check up to so many bytes; returns 0 at the end of file, else 1. */
static int drain_some(size_t len)
{
	char buf[4096];

	while (len > 0) {
		size_t num = len < sizeof(buf) ? len : sizeof(buf);
		ssize_t ret = read(drain, buf, num);
		ssize_t i;

		if (ret < 0) {
			check_int(errno, EAGAIN);
			return 1;
		}
		if (ret == 0)
			return 0;
		for (i = 0; i < ret; i++)
			check_int(buf[i], pattern(drained + i));
		drained += ret;
		len -= ret;
	}

	return 1;
}

#define EVERYTHING	((size_t)-1)

static void expect_drained(void)
{
	drain_some(EVERYTHING);
	check_int(drained, fed);
}

static int bytes_waiting(int fd)
{
	int num;

	check_int(ioctl(fd, FIONREAD, &num), 0);

	return num;
}

static void block_output(void)
{
	char buf[256] = "";

	while (write(to, buf, sizeof(buf)) > 0)
		;
	check_int(errno, EAGAIN);
	while (write(to, buf, 1) > 0)
		;
	check_int(errno, EAGAIN);
}

/* Read what block_output() has written. */
static void unblock_output(void)
{
	char buf[256];

	while (read(drain, buf, sizeof(buf)) > 0)
		;
	check_int(errno, EAGAIN);
}


static void init_asks_for_input(void)
{
	struct pump p;

	set_up(&p, 0);
	check_int(p.calls, 1);
	check_int(p.in, 1);
	check_int(p.out, 0);
	check_int(iv_fd_pump_is_done(&p.p), 0);
	tear_down(&p);
}

static void table_of_states(void)
{
	struct pump p;

	set_up(&p, 0);
	pump(&p, 1, 1, 0);
	feed_all(5);
	pump(&p, 1, 1, 0);
	expect_drained();

	block_output();
	feed_all(5);
	pump(&p, 1, 1, 1);
	pump(&p, 1, 1, 1);
	check(shutdown(feed, SHUT_WR) == 0);
	pump(&p, 1, 0, 1);
	pump(&p, 1, 0, 1);
	unblock_output();
	pump(&p, 0, 0, 0);
	expect_drained();

	/* It stays done, and does not close the output. */
	pump(&p, 0, 0, 0);
	check_int(fcntl(to, F_GETFD), 0);
	tear_down(&p);
}

IN_EACH_MODE(table_of_states)

static void full_asks_for_output_alone(void)
{
	struct pump p;
	int i;

	set_up(&p, 0);
	block_output();
	for (i = 0; i < 1000 && (i == 0 || p.in); i++) {
		feed_all(1 << 20);
		check_int(iv_fd_pump_pump(&p.p), 1);
	}
	/* It stays full while nobody reads. */
	for (i = 0; i < 10; i++)
		pump(&p, 1, 0, 1);

	unblock_output();
	while (drained < fed) {
		check_int(iv_fd_pump_pump(&p.p), 1);
		drain_some(EVERYTHING);
	}
	pump(&p, 1, 1, 0);
	tear_down(&p);
}

IN_EACH_MODE(full_asks_for_output_alone)

static void end_with_bytes_left(void)
{
	struct pump p;

	set_up(&p, 0);
	block_output();
	feed_all(5);
	check(shutdown(feed, SHUT_WR) == 0);
	pump(&p, 1, 1, 1);
	pump(&p, 1, 0, 1);
	check_int(iv_fd_pump_is_done(&p.p), 0);
	tear_down(&p);
}

IN_EACH_MODE(end_with_bytes_left)

static void end_of_empty_input(void)
{
	struct pump p;

	set_up(&p, 0);
	check(shutdown(feed, SHUT_WR) == 0);
	pump(&p, 0, 0, 0);
	tear_down(&p);
}

IN_EACH_MODE(end_of_empty_input)

/* The buffer is full.  Input may be asked for once more, not in each call. */
static void end_behind_a_full_buffer(void)
{
	struct pump p;
	int wanted = 0;
	int i;

	set_up(&p, 0);
	block_output();
	for (i = 0; i < 16; i++) {
		feed_all(1);
		check_int(iv_fd_pump_pump(&p.p), 1);
	}
	check(shutdown(feed, SHUT_WR) == 0);
	for (i = 0; i < 1000; i++) {
		check_int(iv_fd_pump_pump(&p.p), 1);
		wanted += p.in;
	}
	check(wanted <= 1);

	unblock_output();
	while (iv_fd_pump_pump(&p.p) != 0)
		drain_some(EVERYTHING);
	expect_drained();
	tear_down(&p);
}

IN_EACH_MODE(end_behind_a_full_buffer)

static void need_splice(void)
{
#ifndef HAVE_SPLICE
	skip("the library was built without splice(2)");
#endif
}

/* A pipe has 16 buffers.  It is full when none is free, here with 48 bytes. */
static void part_of_a_piece(void)
{
	struct pump p;
	int i;

	need_splice();
	set_up(&p, 0);
	block_output();
	for (i = 0; p.in; i++) {
		feed_all(3);
		check_int(iv_fd_pump_pump(&p.p), 1);
	}
	check(i < 1000);

	unblock_output();
	splice_at_most = 1;
	pump(&p, 1, 0, 1);
	pump(&p, 1, 0, 1);
	pump(&p, 1, 1, 1);
	splice_at_most = SIZE_MAX;
	while (drained < fed) {
		check_int(iv_fd_pump_pump(&p.p), 1);
		drain_some(EVERYTHING);
	}
	tear_down(&p);
}

static void various_sizes(void)
{
	struct pump p;
	size_t room = 1;

	set_up(&p, 0);
	while (iv_fd_pump_pump(&p.p) != 0) {
		if (fed < 1000000)
			feed_all(room * 31 % 70001);
		else
			check(shutdown(feed, SHUT_WR) == 0);
		drain_some(room * 17 % 9973);
		room++;
	}
	expect_drained();
	tear_down(&p);
}

IN_EACH_MODE(various_sizes)

static void never_asks_for_output_to_dev_null(void)
{
	struct pump p;
	int fd = open("/dev/null", O_WRONLY);
	int i;

	iv_init();
	open_ends();
	start(&p, from, fd, 0);
	for (i = 0; i < 50; i++) {
		feed_all(i * 1000);
		pump(&p, 1, 1, 0);
	}
	check(shutdown(feed, SHUT_WR) == 0);
	while (iv_fd_pump_pump(&p.p) != 0)
		check_int(p.out, 0);
	close(fd);
	tear_down(&p);
}

IN_EACH_MODE(never_asks_for_output_to_dev_null)

/* A file without a name, opened with these flags. */
static int open_file(int flags)
{
	char name[] = "/tmp/check-fd_pump.XXXXXX";
	int fd = mkstemp(name);
	int again;

	check(fd >= 0);
	again = open(name, flags);
	check(again >= 0);
	close(fd);
	check(unlink(name) == 0);

	return again;
}

/* Check the whole file. */
static void expect_in_file(int fd)
{
	int end = drain;

	drain = fd;
	check_int(lseek(fd, 0, SEEK_SET), 0);
	check_int(drain_some(EVERYTHING), 0);
	check_int(drained, fed);
	drain = end;
}

static void from_file_to_file(void)
{
	int a = open_file(O_RDWR);
	int b = open_file(O_RDWR);
	struct pump p;

	iv_init();
	feed = a;
	feed_all(123456);
	check_int(lseek(a, 0, SEEK_SET), 0);
	start(&p, a, b, IV_FD_PUMP_FLAG_RELAY_EOF);
	while (iv_fd_pump_pump(&p.p) != 0)
		check_int(p.in, 1);
	expect_in_file(b);
	destroy(&p);
	close(a);
	close(b);
	iv_deinit();
}

IN_EACH_MODE(from_file_to_file)

/* The output is a file that splice(2) rejects. */
static void to_appended_file(void)
{
	int fd = open_file(O_RDWR | O_APPEND);
	struct pump p;

	iv_init();
	open_ends();
	start(&p, from, fd, 0);
	feed_all(5);
	pump(&p, 1, 1, 0);
	check_int(lseek(fd, 0, SEEK_END), 5);
	/* It does not try splice(2) again. */
	splices = 0;
	feed_all(60000);
	check(shutdown(feed, SHUT_WR) == 0);
	while (iv_fd_pump_pump(&p.p) != 0)
		check_int(p.out, 0);
	check_int(splices, 0);
	expect_in_file(fd);
	close(fd);
	tear_down(&p);
}

IN_EACH_MODE(to_appended_file)

/* The pipe holds more than the buffer in memory that replaces it. */
static void much_to_appended_file(void)
{
	int fd = open_file(O_RDWR | O_APPEND);
	struct pump p;

	iv_init();
	open_ends();
	start(&p, from, fd, 0);
	feed_all(60000);
	pump(&p, 1, 1, 0);
	check(shutdown(feed, SHUT_WR) == 0);
	while (iv_fd_pump_pump(&p.p) != 0)
		check_int(p.out, 0);
	expect_in_file(fd);
	close(fd);
	tear_down(&p);
}

/* The input is a file that splice(2) rejects. */
static void from_eventfd(void)
{
	int fd = open_eventfd(7);
	uint64_t num;
	struct pump p;

	if (fd < 0)
		skip("no eventfd");
	iv_init();
	open_ends();
	start(&p, fd, to, 0);
	pump(&p, 1, 1, 0);
	check_int(read(drain, &num, sizeof(num)), sizeof(num));
	check_int(num, 7);
	pump(&p, 1, 1, 0);
	num = 9;
	check_int(write(fd, &num, sizeof(num)), sizeof(num));
	pump(&p, 1, 1, 0);
	check_int(read(drain, &num, sizeof(num)), sizeof(num));
	check_int(num, 9);
	close(fd);
	tear_down(&p);
}

IN_EACH_MODE(from_eventfd)

/* splice(2) fails when the pipe holds bytes, so the pump goes on by copying. */
static void lose_splice(size_t len, int is_full)
{
	struct pump p;

	set_up(&p, 0);
	block_output();
	do {
		feed_all(len);
		check_int(iv_fd_pump_pump(&p.p), 1);
	} while (is_full && p.in);
	atomic_store(&splice_is_gone, 1);
	/* More bytes than a buffer in memory has room for stay in the pipe. */
	check_int(iv_fd_pump_pump(&p.p), 1);
	check_int(p.out, 1);

	unblock_output();
	feed_all(10000);
	check(shutdown(feed, SHUT_WR) == 0);
	while (iv_fd_pump_pump(&p.p) != 0)
		drain_some(EVERYTHING);
	expect_drained();
	tear_down(&p);
}

static void splice_fails_with_a_pipe_in_use(void)
{
	lose_splice(10, 0);
}

static void splice_fails_with_a_pipe_that_holds_much(void)
{
	lose_splice(20000, 0);
}

static void splice_fails_with_a_full_pipe(void)
{
	lose_splice(100000, 1);
}

/* How much one call of a pump moves to an output that accepts everything. */
static size_t moved_at_once(int dev_null)
{
	struct pump p;
	int left;

	start(&p, from, dev_null, 0);
	feed_all(60000);
	pump(&p, 1, 1, 0);
	check_int(ioctl(from, FIONREAD, &left), 0);
	destroy(&p);

	return fed - left;
}

static void splice_moves_more_than_memory(void)
{
	int fd = open("/dev/null", O_WRONLY);

	need_splice();
	iv_init();
	open_ends();
	check(moved_at_once(fd) > 4096);
	close(fd);
	close_all();
	iv_deinit();
}

static void full_descriptor_table(void)
{
	struct pump p, others[5];
	int former;
	int i;

	/* It does not try again, and uses the pipes that the thread has. */
	set_up(&p, 0);
	block_output();
	for (i = 0; i < 5; i++) {
		start(&others[i], from, to, 0);
		feed_all(1);
		pump(&others[i], 1, 1, 1);
	}
	unblock_output();
	drained = 5;
	former = limit_descriptors(lowest_descriptor());

	feed_all(5);
	pump(&p, 1, 1, 0);
	expect_drained();
	block_output();
	feed_all(5);
	pump(&p, 1, 1, 1);
	limit_descriptors(former);
	feed_all(5);
	pump(&p, 1, 1, 1);
	unblock_output();
	pump(&p, 1, 1, 0);
	expect_drained();
	for (i = 0; i < 5; i++)
		destroy(&others[i]);
	tear_down(&p);
}

static void later_pumps_get_descriptors(void)
{
	int fd = open("/dev/null", O_WRONLY);
	struct pump p;
	int former;

	need_splice();
	iv_init();
	open_ends();
	former = limit_descriptors(lowest_descriptor());
	start(&p, from, fd, 0);
	pump(&p, 1, 1, 0);
	destroy(&p);
	limit_descriptors(former);

	check(moved_at_once(fd) > 4096);
	close(fd);
	close_all();
	iv_deinit();
}

static void pump_gets_descriptors_later(void)
{
	int fd = open("/dev/null", O_WRONLY);
	struct pump p;
	int former;
	int left;

	need_splice();
	iv_init();
	open_ends();
	former = limit_descriptors(lowest_descriptor());
	start(&p, from, fd, 0);
	feed_all(1);
	pump(&p, 1, 1, 0);
	limit_descriptors(former);
	feed_all(60000);
	pump(&p, 1, 1, 0);
	check_int(ioctl(from, FIONREAD, &left), 0);
	check(left < 60000 - 4096);
	close(fd);
	tear_down(&p);
}

static void no_descriptors_and_no_memory(void)
{
	struct pump p;

	skip_under(ASAN | TSAN | MEMCHECK, "replaces malloc(3)");
	refuse("pipe2", EMFILE);
	set_up(&p, 0);
	feed_all(5);
	/* The pump would accept any piece that is larger. */
	eat_memory(1024);
	pump_fails(&p, ENOMEM);
	give_back_memory();

	pump_fails(&p, ENOMEM);
	destroy(&p);
	start(&p, from, to, 0);
	pump(&p, 1, 1, 0);
	expect_drained();
	tear_down(&p);
}


/* IV_FD_PUMP_FLAG_RELAY_EOF. */
static void end_is_passed_on(void)
{
	struct pump p;
	char c;

	need_own_functions();
	set_up(&p, IV_FD_PUMP_FLAG_RELAY_EOF);
	block_output();
	feed_all(5);
	check(shutdown(feed, SHUT_WR) == 0);
	shutdowns = 0;
	pump(&p, 1, 1, 1);
	pump(&p, 1, 0, 1);
	check_int(shutdowns, 0);
	unblock_output();
	pump(&p, 0, 0, 0);
	check_int(shutdowns, 1);
	check_int(drain_some(EVERYTHING), 0);
	check_int(drained, fed);
	pump(&p, 0, 0, 0);
	check_int(shutdowns, 1);
	/* The other direction is still open. */
	check_int(write(drain, "x", 1), 1);
	check_int(read(to, &c, 1), 1);
	tear_down(&p);
	check_int(shutdowns, 1);
}

IN_EACH_MODE(end_is_passed_on)

static void end_is_not_passed_on(void)
{
	struct pump p;

	need_own_functions();
	set_up(&p, 0);
	feed_all(5);
	check(shutdown(feed, SHUT_WR) == 0);
	shutdowns = 0;
	pump(&p, 1, 1, 0);
	pump(&p, 0, 0, 0);
	check_int(shutdowns, 0);
	check_int(drain_some(EVERYTHING), 1);
	check_int(drained, fed);
	tear_down(&p);
	check_int(shutdowns, 0);
}

IN_EACH_MODE(end_is_not_passed_on)

static void flags_are_read_at_the_end(void)
{
	struct pump p;

	need_own_functions();
	set_up(&p, 0);
	feed_all(5);
	pump(&p, 1, 1, 0);
	p.p.flags = IV_FD_PUMP_FLAG_RELAY_EOF;
	check(shutdown(feed, SHUT_WR) == 0);
	shutdowns = 0;
	pump(&p, 0, 0, 0);
	check_int(shutdowns, 1);
	tear_down(&p);
}


/* Errors. */
static void output_has_no_reader(void)
{
	struct pump p;
	int fd[2];
	int left;

	set_up(&p, IV_FD_PUMP_FLAG_RELAY_EOF);
	feed_all(10);
	close(drain);
	pump_fails(&p, EPIPE);

	/* It moves nothing, although the output works again. */
	open_pair(SOCK_STREAM, fd);
	check_int(dup2(fd[0], to), to);
	close(fd[0]);
	drain = fd[1];
	feed_all(7);
	pump_fails(&p, EPIPE);
	check_int(ioctl(from, FIONREAD, &left), 0);
	check_int(left, 7);
	check(shutdown(feed, SHUT_WR) == 0);
	pump_fails(&p, EPIPE);
	check_int(drain_some(EVERYTHING), 1);
	check_int(drained, 0);

	/* Once destroyed, it can be used again. */
	destroy(&p);
	start(&p, from, to, 0);
	drained = 10;
	pump(&p, 1, 1, 0);
	pump(&p, 0, 0, 0);
	expect_drained();
	tear_down(&p);
}

IN_EACH_MODE(output_has_no_reader)

static void input_is_a_directory(void)
{
	int fd = open("/", O_RDONLY);
	struct pump p;

	iv_init();
	open_ends();
	start(&p, fd, to, 0);
	pump_fails(&p, EISDIR);
	pump_fails(&p, EISDIR);
	close(fd);
	tear_down(&p);
}

IN_EACH_MODE(input_is_a_directory)

static void input_is_closed(void)
{
	struct pump p;

	iv_init();
	open_ends();
	start(&p, -1, to, 0);
	pump_fails(&p, EBADF);
	destroy(&p);
	start(&p, from, -1, 0);
	feed_all(5);
	pump_fails(&p, EBADF);
	tear_down(&p);
}

IN_EACH_MODE(input_is_closed)

/* Ways in which input fails while the pump holds bytes, with their errno. */
static void fail_by_closing(void)
{
	close(from);
}

static void open_terminal_as_input(void)
{
	struct termios raw;

	close(feed);
	close(from);
	from = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (from < 0 || grantpt(from) < 0 || unlockpt(from) < 0)
		skip("no pseudo-terminal");
	feed = open(ptsname(from), O_RDWR | O_NOCTTY);
	check(feed >= 0);
	check_int(tcgetattr(feed, &raw), 0);
	cfmakeraw(&raw);
	check_int(tcsetattr(feed, TCSANOW, &raw), 0);
}

static void fail_by_hanging_up(void)
{
	close(feed);
	feed = -1;
}

static void open_tcp(int fd[2]);

static void open_tcp_as_input(void)
{
	int fd[2];

	close(feed);
	close(from);
	open_tcp(fd);
	feed = fd[0];
	from = fd[1];
	check(fcntl(from, F_SETFL, O_NONBLOCK) == 0);
}

static void fail_by_reset(void)
{
	static const struct linger linger = { .l_onoff = 1 };

	check_int(setsockopt(feed, SOL_SOCKET, SO_LINGER, &linger,
			     sizeof(linger)), 0);
	close(feed);
	feed = -1;
}

static void open_nothing_else(void)
{
}

static const struct {
	void	(*open)(void);
	void	(*fail)(void);
	int	err;
} faults[] = {
	{ open_nothing_else,		fail_by_closing,	EBADF },
	{ open_terminal_as_input,	fail_by_hanging_up,	EIO },
	{ open_tcp_as_input,		fail_by_reset,		ECONNRESET },
};

#define NUM_FAULTS	((int)(sizeof(faults) / sizeof(faults[0])))

/* The pump holds all bytes that were fed when its input fails. */
static void fault_with_bytes_held(int i, unsigned int flags)
{
	struct pump p;

	need_own_functions();
	fed = drained = 0;
	shutdowns = 0;
	iv_init();
	open_ends();
	faults[i].open();
	start(&p, from, to, flags);
	block_output();
	feed_all(1000);
	/* A thread of the kernel moves what was written to a terminal. */
	while (bytes_waiting(from) < 1000)
		sched_yield();
	while (bytes_waiting(from) > 0)
		pump(&p, 1, 1, 1);

	faults[i].fail();
	pump(&p, 1, 0, 1);
	pump(&p, 1, 0, 1);
	unblock_output();
	pump_fails(&p, faults[i].err);
	expect_drained();
	check_int(drained, 1000);
	pump_fails(&p, faults[i].err);
	check_int(shutdowns, 0);
	tear_down(&p);
}

static void input_fails_with_bytes_held(void)
{
	int i;

	for (i = 0; i < NUM_FAULTS; i++) {
		fault_with_bytes_held(i, 0);
		fault_with_bytes_held(i, IV_FD_PUMP_FLAG_RELAY_EOF);
	}
}

IN_EACH_MODE(input_fails_with_bytes_held)

/* The bytes cannot be written any more: the pump reports the output's error. */
static void output_fails_after_the_input(void)
{
	struct pump p;

	set_up(&p, 0);
	block_output();
	feed_all(1000);
	pump(&p, 1, 1, 1);
	close(from);
	pump(&p, 1, 0, 1);
	close(drain);
	pump_fails(&p, EPIPE);
	pump_fails(&p, EPIPE);
	tear_down(&p);
}

IN_EACH_MODE(output_fails_after_the_input)

/* A program writes to a terminal and exits, and the reader is slow. */
#define TERMINAL_BYTES	60000

static pid_t start_program(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		feed_all(TERMINAL_BYTES);
		check_int(fed, TERMINAL_BYTES);
		_exit(0);
	}
	close(feed);
	feed = -1;
	fed = TERMINAL_BYTES;

	return pid;
}

static void program_ends(unsigned int flags)
{
	struct pump p;
	pid_t pid;
	int ret;

	fed = drained = 0;
	iv_init();
	open_ends();
	open_terminal_as_input();
	start(&p, from, to, flags);
	pid = start_program();
	do {
		errno = 0;
		ret = iv_fd_pump_pump(&p.p);
		if (p.out)
			drain_some(100);
	} while (ret == 1);
	check_int(ret, -1);
	check_int(errno, EIO);
	expect_drained();
	check_child(pid);
	tear_down(&p);
}

static void program_on_a_terminal(void)
{
	program_ends(0);
	program_ends(IV_FD_PUMP_FLAG_RELAY_EOF);
}

IN_EACH_MODE(program_on_a_terminal)

/* Pumps are for streams, so an empty datagram is the end of file. */
static void datagrams(void)
{
	struct pump p;
	int fd[2];

	iv_init();
	open_ends();
	open_pair(SOCK_DGRAM, fd);
	start(&p, fd[0], to, 0);
	check_int(send(fd[1], "\0\1\2", 3, 0), 3);
	check_int(send(fd[1], "\3", 1, 0), 1);
	check_int(send(fd[1], "", 0, 0), 0);
	fed = 4;
	pump(&p, 1, 1, 0);
	pump(&p, 1, 1, 0);
	expect_drained();
	pump(&p, 0, 0, 0);
	close(fd[0]);
	close(fd[1]);
	tear_down(&p);
}

IN_EACH_MODE(datagrams)

/*
 * All calls return in a thread with a pending cancellation.  The pump is not on
 * the thread's stack, as the address sanitizer does not notice that the frames
 * are gone after a cancellation.
 */
static struct pump unharmed;
static int calls_returned;

static void *pump_while_cancelled(void *unused)
{
	set_up(&unharmed, 0);
	block_output();
	check_int(pthread_cancel(pthread_self()), 0);
	pump(&unharmed, 1, 1, 0);
	calls_returned = 1;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	feed_all(10);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pump(&unharmed, 1, 1, 1);
	calls_returned++;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	unblock_output();
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pump(&unharmed, 1, 1, 0);
	calls_returned++;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	expect_drained();
	feed_all(10);
	block_output();
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pump(&unharmed, 1, 1, 1);
	destroy(&unharmed);
	calls_returned++;
	pthread_testcancel();
	check(0);

	return unused;
}

static void cancelled_thread(void)
{
	pthread_t thread;
	void *end;

	iv_init();
	check_int(pthread_create(&thread, NULL, pump_while_cancelled, NULL), 0);
	check_int(pthread_join(thread, &end), 0);
	check(end == PTHREAD_CANCELED);
	check_int(calls_returned, 4);
	close_all();
	iv_deinit();
}

IN_EACH_MODE(cancelled_thread)


/* Objects. */
static void private_members_hold_anything(void)
{
	struct pump p, old;

	iv_init();
	open_ends();
	prepare(&p, from, to, IV_FD_PUMP_FLAG_RELAY_EOF);
	old = p;
	IV_FD_PUMP_INIT(&p.p);
	iv_fd_pump_init(&p.p);
	feed_all(5);
	pump(&p, 1, 1, 0);
	destroy(&p);
	check(!memcmp(&p.p, &old.p, offsetof(struct iv_fd_pump, buf)));
	close_all();
	iv_deinit();
}

static void destroyed_at_any_time(void)
{
	struct pump p;

	/* Before it was used. */
	set_up(&p, 0);
	destroy(&p);

	/* With bytes in its buffer, which no other pump must get. */
	start(&p, from, to, 0);
	block_output();
	feed_all(5);
	pump(&p, 1, 1, 1);
	destroy(&p);
	unblock_output();
	drained = fed;
	start(&p, from, to, 0);
	feed_all(5);
	pump(&p, 1, 1, 0);
	expect_drained();

	/* When it is done. */
	check(shutdown(feed, SHUT_WR) == 0);
	pump(&p, 0, 0, 0);
	tear_down(&p);
}

IN_EACH_MODE(destroyed_at_any_time)

static void *pump_it(void *p)
{
	iv_init();
	pump(p, 1, 1, 0);
	pump(p, 1, 1, 0);

	/* The loop ends with the thread. */
	return NULL;
}

static void handed_to_a_thread(void)
{
	struct pump p;
	pthread_t t;
	int before;

	set_up(&p, 0);
	block_output();
	feed_all(5);
	pump(&p, 1, 1, 1);
	unblock_output();
	before = num_descriptors();
	check_int(pthread_create(&t, NULL, pump_it, &p), 0);
	check_int(pthread_join(t, NULL), 0);
	/* The thread's cache was freed, with the pipe that the pump had. */
	check(num_descriptors() <= before);
	expect_drained();
	tear_down(&p);
}

#define MANY	100

static void empty_pumps_hold_no_pipe(void)
{
	static struct pump many[MANY];
	int before, i;

	iv_init();
	open_ends();
	before = num_descriptors();
	for (i = 0; i < MANY; i++) {
		start(&many[i], from, to, 0);
		feed_all(100);
		pump(&many[i], 1, 1, 0);
		expect_drained();
	}
	check(num_descriptors() <= before + 2);
	for (i = 0; i < MANY; i++)
		destroy(&many[i]);
	close_all();
	iv_deinit();
}

/* All pumps hold a byte, so each has a pipe, and then none does. */
static void cache_is_bounded(void)
{
	static struct pump many[MANY];
	int before, i;

	iv_init();
	open_ends();
	before = num_descriptors();
	block_output();
	for (i = 0; i < MANY; i++) {
		start(&many[i], from, to, 0);
		feed_all(1);
		pump(&many[i], 1, 1, 1);
	}
	unblock_output();
	for (i = 0; i < MANY; i++) {
		pump(&many[i], 1, 1, 0);
		drain_some(EVERYTHING);
	}
	expect_drained();
	check(num_descriptors() <= before + 40);
	for (i = 0; i < MANY; i++)
		destroy(&many[i]);
	close_all();
	/* The case fails if this leaves descriptors open. */
	iv_deinit();
}

static struct pump late;

/* The pipe is empty; only the end of the loop keeps it from being cached. */
static void destroy_late(void *unused)
{
	(void)unused;
	unblock_output();
	pump(&late, 1, 1, 0);
	destroy(&late);
}

static struct iv_tls_user late_user = {
	.sizeof_state	= 1,
	.deinit_thread	= destroy_late,
};

static void destroyed_while_the_loop_ends(void)
{
	iv_tls_user_register(&late_user);
	set_up(&late, 0);
	block_output();
	feed_all(1);
	pump(&late, 1, 1, 1);
	iv_deinit();
	close_all();
}

static void descriptors_are_closed_on_exec(void)
{
	struct pump p;
	int lowest, fd;

	need_splice();
	set_up(&p, 0);
	block_output();
	lowest = lowest_descriptor();
	feed_all(1);
	pump(&p, 1, 1, 1);
	for (fd = lowest; fd < lowest + 2; fd++) {
		check_int(fcntl(fd, F_GETFD), FD_CLOEXEC);
		check(fcntl(fd, F_GETFL) & O_NONBLOCK);
	}
	tear_down(&p);
}

/* The process's first splice(2): it fails after another thread has used it. */
static void *splice_first(void *p)
{
	iv_init();
	is_first_to_splice = 1;
	start(p, -1, -1, 0);
	(void)iv_fd_pump_pump(&((struct pump *)p)->p);
	iv_fd_pump_destroy(&((struct pump *)p)->p);
	iv_deinit();

	return NULL;
}

static void fill_output_and_pump(struct pump *p)
{
	block_output();
	feed_all(100);
	pump(p, 1, 1, 1);
}

static void splice_fails_in_one_thread(void)
{
	struct pump first, p;
	pthread_t t;

	need_splice();
	check_int(sem_init(&at_first_splice, 0, 0), 0);
	check_int(sem_init(&first_splice_fails, 0, 0), 0);
	check_int(pthread_create(&t, NULL, splice_first, &first), 0);
	check_int(sem_wait(&at_first_splice), 0);
	set_up(&p, 0);
	fill_output_and_pump(&p);
	check_int(sem_post(&first_splice_fails), 0);
	check_int(pthread_join(t, NULL), 0);

	feed_all(1000);
	check_int(iv_fd_pump_pump(&p.p), 1);
	unblock_output();
	feed_all(1000);
	pump(&p, 1, 1, 0);
	pump(&p, 1, 1, 0);
	expect_drained();
	tear_down(&p);
}

/* The child uses another pump, and leaves some of its bytes in it. */
static void in_child(int pumps_twice)
{
	struct pump p;

	close_all();
	open_ends();
	start(&p, from, to, 0);
	block_output();
	fed = drained = 100;
	feed_all(1000);
	pump(&p, 1, 1, 1);
	if (pumps_twice) {
		unblock_output();
		pump(&p, 1, 1, 0);
		expect_drained();
		block_output();
		feed_all(1000);
		pump(&p, 1, 1, 1);
	}
	_exit(0);
}

/* Parent and child inherit the same pipe in their caches. */
static void parent_and_child(void)
{
	struct pump p;
	pid_t pid;
	int i;

	set_up(&p, 0);
	for (i = 0; i < 2; i++) {
		feed_all(1);
		pump(&p, 1, 1, 0);
		expect_drained();

		pid = fork();
		check(pid >= 0);
		if (pid == 0)
			in_child(i);
		check_child(pid);
		block_output();
		feed_all(10);
		pump(&p, 1, 1, 1);
		unblock_output();
		pump(&p, 1, 1, 0);
		expect_drained();
	}
	tear_down(&p);
}

/* A child empties the pump's pipe, and must not put other bytes into it. */
static void child_empties_the_pump(void)
{
	struct pump p;
	pid_t pid;

	set_up(&p, 0);
	block_output();
	feed_all(10);
	pump(&p, 1, 1, 1);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		unblock_output();
		pump(&p, 1, 1, 0);
		in_child(0);
	}
	check_child(pid);
	/* The child moved the ten bytes, and no others arrive. */
	drain_some(EVERYTHING);
	check_int(drained, 10);
	tear_down(&p);
}

/* The child uses the pump that it inherited; the parent keeps the pipe. */
static void child_uses_the_pump(void)
{
	struct pump p;
	pid_t pid;

	set_up(&p, 0);
	block_output();
	feed_all(1000);
	pump(&p, 1, 1, 1);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		unblock_output();
		feed_all(1000);
		check(shutdown(feed, SHUT_WR) == 0);
		while (iv_fd_pump_pump(&p.p) != 0)
			drain_some(EVERYTHING);
		expect_drained();
		tear_down(&p);
		_exit(0);
	}
	check_child(pid);
	tear_down(&p);
}

IN_EACH_MODE(child_uses_the_pump)


/* Pumps in a loop, as programs use them.  An end may belong to two of them. */
struct end {
	struct iv_fd	fd;
	struct relay	*in;		/* reads from this end */
	struct relay	*out;		/* writes to it */
};

struct relay {
	struct iv_fd_pump	p;
	struct end		*from;
	struct end		*to;
	int			calls;
};

static int relays_left;

static void relay_ended(struct relay *r)
{
	/* Without the flag, passing the end on is left to the program. */
	if (!(r->p.flags & IV_FD_PUMP_FLAG_RELAY_EOF))
		check(shutdown(r->p.to_fd, SHUT_WR) == 0);
	relays_left--;
}

static void relay_pump(struct relay *r)
{
	int ret;

	if (iv_fd_pump_is_done(&r->p))
		return;
	r->calls++;
	ret = iv_fd_pump_pump(&r->p);
	check(ret >= 0);
	if (ret == 0)
		relay_ended(r);
	if (relays_left == 0)
		iv_quit();
}

static void end_readable(void *_e)
{
	struct end *e = _e;

	relay_pump(e->in);
}

static void end_writable(void *_e)
{
	struct end *e = _e;

	relay_pump(e->out);
}

static void relay_set_bands(void *_r, int pollin, int pollout)
{
	struct relay *r = _r;

	iv_fd_set_handler_in(&r->from->fd, pollin ? end_readable : NULL);
	iv_fd_set_handler_out(&r->to->fd, pollout ? end_writable : NULL);
}

static void end_start(struct end *e, int fd)
{
	IV_FD_INIT(&e->fd);
	e->fd.fd = fd;
	e->fd.cookie = e;
	iv_fd_register(&e->fd);
}

static void end_stop(struct end *e)
{
	iv_fd_unregister(&e->fd);
	close(e->fd.fd);
}

static void relay_start(struct relay *r, struct end *a, struct end *b,
			unsigned int flags)
{
	IV_FD_PUMP_INIT(&r->p);
	r->p.from_fd = a->fd.fd;
	r->p.to_fd = b->fd.fd;
	r->p.cookie = r;
	r->p.set_bands = relay_set_bands;
	r->p.flags = flags;
	r->from = a;
	r->to = b;
	r->calls = 0;
	a->in = r;
	b->out = r;
	iv_fd_pump_init(&r->p);
	relays_left++;
}

/* Threads without a loop write a stream to the relays, and read it. */
#define STREAM	500000

static void *write_stream(void *_fd)
{
	const int *fd = _fd;
	char buf[5000];
	size_t pos, i;

	for (pos = 0; pos < STREAM; pos += sizeof(buf)) {
		for (i = 0; i < sizeof(buf); i++)
			buf[i] = pattern(pos + i);
		for (i = 0; i < sizeof(buf); ) {
			ssize_t ret = write(*fd, buf + i, sizeof(buf) - i);

			check(ret > 0);
			i += ret;
		}
	}
	check(shutdown(*fd, SHUT_WR) == 0);

	return NULL;
}

static void *read_stream(void *_fd)
{
	const int *fd = _fd;
	char buf[7000];
	ssize_t ret, i;
	size_t pos = 0;

	while ((ret = read(*fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < ret; i++)
			check_int(buf[i], pattern(pos + i));
		pos += ret;
	}
	check_int(ret, 0);
	check_int(pos, STREAM);

	return NULL;
}

static void start_threads(pthread_t t[2], int *fd)
{
	check_int(pthread_create(&t[0], NULL, write_stream, fd), 0);
	check_int(pthread_create(&t[1], NULL, read_stream, fd), 0);
}

static void join_threads(pthread_t t[2])
{
	check_int(pthread_join(t[0], NULL), 0);
	check_int(pthread_join(t[1], NULL), 0);
}

/* Open a TCP connection. */
static void open_tcp(int fd[2])
{
	struct sockaddr_in addr = {
		.sin_family		= AF_INET,
		.sin_addr.s_addr	= htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	check(bind(l, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	check(listen(l, 1) == 0);
	check(getsockname(l, (struct sockaddr *)&addr, &len) == 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	check(connect(fd[0], (struct sockaddr *)&addr, sizeof(addr)) == 0);
	fd[1] = accept(l, NULL, NULL);
	check(fd[1] >= 0);
	close(l);
}

static void echo(void)
{
	struct relay r;
	struct end e;
	pthread_t t[2];
	int fd[2];

	iv_init();
	open_tcp(fd);
	end_start(&e, fd[1]);
	relay_start(&r, &e, &e, IV_FD_PUMP_FLAG_RELAY_EOF);
	start_threads(t, &fd[0]);
	iv_main();
	join_threads(t);
	check_int(iv_fd_pump_is_done(&r.p), 1);
	iv_fd_pump_destroy(&r.p);
	end_stop(&e);
	close(fd[0]);
	iv_deinit();
}

static void relay_both_ways(void (*open_two)(int fd[2]), unsigned int flags)
{
	pthread_t t[4];
	struct relay r[2];
	struct end e[2];
	int a[2], b[2];

	iv_init();
	open_two(a);
	open_two(b);
	end_start(&e[0], a[1]);
	end_start(&e[1], b[1]);
	relay_start(&r[0], &e[0], &e[1], flags);
	relay_start(&r[1], &e[1], &e[0], flags);
	start_threads(t, &a[0]);
	start_threads(t + 2, &b[0]);
	iv_main();
	join_threads(t);
	join_threads(t + 2);
	iv_fd_pump_destroy(&r[0].p);
	iv_fd_pump_destroy(&r[1].p);
	end_stop(&e[0]);
	end_stop(&e[1]);
	close(a[0]);
	close(b[0]);
	iv_deinit();
}

static void open_unix(int fd[2])
{
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
}

static void relay_tcp(void)
{
	relay_both_ways(open_tcp, IV_FD_PUMP_FLAG_RELAY_EOF);
}

static void relay_unix(void)
{
	relay_both_ways(open_unix, 0);
}

static void timer_fired(void *unused)
{
	(void)unused;
	iv_quit();
}

static void run_for(long ms)
{
	struct iv_timer t;

	IV_TIMER_INIT(&t);
	iv_invalidate_now();
	t.expires = iv_now;
	t.expires.tv_nsec += ms * 1000000;
	t.handler = timer_fired;
	iv_timer_register(&t);
	iv_main();
}

/* The buffer is full, nobody reads, and the input has reached its end. */
static void loop_sleeps(void)
{
	struct relay r;
	struct end e[2];
	int i;

	iv_init();
	open_ends();
	block_output();
	end_start(&e[0], from);
	end_start(&e[1], to);
	relay_start(&r, &e[0], &e[1], 0);
	for (i = 0; i < 16; i++) {
		feed_all(1);
		run_for(1);
	}
	check(shutdown(feed, SHUT_WR) == 0);
	run_for(1);
	r.calls = 0;
	run_for(100);
	check(r.calls <= 1);

	unblock_output();
	iv_main();
	expect_drained();
	iv_fd_pump_destroy(&r.p);
	end_stop(&e[0]);
	end_stop(&e[1]);
	close(feed);
	close(drain);
	iv_deinit();
}

IN_EACH_MODE(loop_sleeps)


/* Misuse. */
static void without_loop(void)
{
	struct pump p;

	start(&p, 0, 0, 0);
}

static void without_set_bands(void)
{
	struct pump p;

	iv_init();
	prepare(&p, 0, 0, 0);
	p.p.set_bands = NULL;
	iv_fd_pump_init(&p.p);
}

static void pump_uninitialised(void)
{
	struct pump p;

	iv_init();
	prepare(&p, 0, 0, 0);
	IV_FD_PUMP_INIT(&p.p);
	iv_fd_pump_pump(&p.p);
}

static void destroy_twice(void)
{
	struct pump p;

	iv_init();
	start(&p, 0, 0, 0);
	iv_fd_pump_destroy(&p.p);
	iv_fd_pump_destroy(&p.p);
}

static void *pump_in_thread(void *p)
{
	iv_fd_pump_pump(p);

	return NULL;
}

static void pump_without_loop(void)
{
	struct pump p;
	pthread_t t;

	iv_init();
	start(&p, 0, 0, 0);
	check_int(pthread_create(&t, NULL, pump_in_thread, &p.p), 0);
	pthread_join(t, NULL);
}

static void misuse_is_fatal(void)
{
	check_fatal(without_loop, "iv_fd_pump_init: this thread has no loop");
	check_fatal(without_set_bands, "has no set_bands");
	check_fatal(pump_uninitialised, "iv_fd_pump_pump: ");
	check_fatal(destroy_twice, "iv_fd_pump_destroy: ");
	check_fatal(pump_without_loop, "iv_fd_pump_pump: this thread has no");
}

static const struct check_case cases[] = {
	{ "iv_fd_pump_init asks for input, once",
	  init_asks_for_input, ONCE, 0 },
	{ "each call returns the state and asks once for what it needs",
	  table_of_states_in_each_mode, ONCE, 0 },
	{ "a pump whose buffer is full only asks for output",
	  full_asks_for_output_alone_in_each_mode, ONCE, 0 },
	{ "at the end of input a pump with bytes left only asks for output",
	  end_with_bytes_left_in_each_mode, ONCE, 0 },
	{ "a pump is done at once if its input ends without a byte",
	  end_of_empty_input_in_each_mode, ONCE, 0 },
	{ "input is not asked for, nor its end, while the buffer is full",
	  end_behind_a_full_buffer_in_each_mode, ONCE, 0 },
	{ "a full pipe stays full until a whole buffer of it was written",
	  part_of_a_piece, ONCE, 0 },
	{ "all bytes arrive once and in order, read and written in any sizes",
	  various_sizes_in_each_mode, ONCE, 0 },
	{ "a pump to /dev/null never asks for output",
	  never_asks_for_output_to_dev_null_in_each_mode, ONCE, 0 },
	{ "a pump copies a file to a file",
	  from_file_to_file_in_each_mode, ONCE, 0 },
	{ "bytes are copied to output that splice(2) rejects",
	  to_appended_file_in_each_mode, ONCE, 0 },
	{ "60000 bytes in a pipe are copied to output that rejects splice(2)",
	  much_to_appended_file, ONCE, 0 },
	{ "bytes are copied from input that splice(2) rejects",
	  from_eventfd_in_each_mode, ONCE, 0 },
	{ "splice(2) may begin to fail while a pipe holds bytes",
	  splice_fails_with_a_pipe_in_use, ONCE, 0 },
	{ "splice(2) may begin to fail while a pipe holds 20000 bytes",
	  splice_fails_with_a_pipe_that_holds_much, ONCE, 0 },
	{ "splice(2) may begin to fail while a pipe is full",
	  splice_fails_with_a_full_pipe, ONCE, 0 },
	{ "splice(2) moves more than 4096 bytes at once",
	  splice_moves_more_than_memory, ONCE, 0 },
	{ "a pump works without free descriptors",
	  full_descriptor_table, ONCE, 0 },
	{ "a lack of descriptors for the first pump does not slow later ones",
	  later_pumps_get_descriptors, ONCE, 0 },
	{ "a lack of descriptors slows a pump only for as long as it lasts",
	  pump_gets_descriptors_later, ONCE, 0 },
	{ "a pump without descriptors and memory returns -1 with ENOMEM",
	  no_descriptors_and_no_memory, ONCE, 0 },
	{ "the end of input is passed on once, after the last byte",
	  end_is_passed_on_in_each_mode, ONCE, 0 },
	{ "the end of input is not passed on without the flag",
	  end_is_not_passed_on_in_each_mode, ONCE, 0 },
	{ "flags may be changed until the end of input",
	  flags_are_read_at_the_end, ONCE, 0 },
	{ "after an error a pump moves nothing and repeats the errno",
	  output_has_no_reader_in_each_mode, ONCE, 0 },
	{ "an input error is returned with the errno of read(2)",
	  input_is_a_directory_in_each_mode, ONCE, 0 },
	{ "a descriptor that is not open results in EBADF",
	  input_is_closed_in_each_mode, ONCE, 0 },
	{ "buffered bytes are written before an input error is returned",
	  input_fails_with_bytes_held_in_each_mode, ONCE, 0 },
	{ "an output error is returned at once, even after an input error",
	  output_fails_after_the_input_in_each_mode, ONCE, 0 },
	{ "all that a program wrote to a terminal before its exit arrives",
	  program_on_a_terminal_in_each_mode, ONCE, 0 },
	{ "an empty datagram is the end of input",
	  datagrams_in_each_mode, ONCE, 0 },
	{ "no call acts on a pending cancellation",
	  cancelled_thread_in_each_mode, ONCE, 0 },
	{ "private members need not be initialised, public ones are kept",
	  private_members_hold_anything, ONCE, 0 },
	{ "a pump may be destroyed at any time, and initialised again",
	  destroyed_at_any_time_in_each_mode, ONCE, 0 },
	{ "a pump may be handed to another thread with a loop",
	  handed_to_a_thread, ONCE, 0 },
	{ "100 empty pumps hold two descriptors at most",
	  empty_pumps_hold_no_pipe, ONCE, 0 },
	{ "a thread caches 20 pipes at most, and closes them with its loop",
	  cache_is_bounded, ONCE, 0 },
	{ "a pump destroyed while the loop ends leaves nothing open",
	  destroyed_while_the_loop_ends, ONCE, 0 },
	{ "a pump's pipe is close-on-exec and non-blocking",
	  descriptors_are_closed_on_exec, ONCE, 0 },
	{ "splice(2) may fail in one thread while another uses it",
	  splice_fails_in_one_thread, ONCE, 10 },
	{ "the pumps of parent and child do not mix their bytes",
	  parent_and_child, ONCE, 0 },
	{ "a child's bytes do not get into the pipe of its parent's pump",
	  child_empties_the_pump, ONCE, 0 },
	{ "a child gets the bytes of a pump that it inherited",
	  child_uses_the_pump_in_each_mode, ONCE, 0 },
	{ "one pump with one descriptor echoes a TCP connection",
	  echo, EACH_METHOD, 0 },
	{ "two pumps relay between two TCP connections",
	  relay_tcp, EACH_METHOD, 0 },
	{ "two pumps relay while the program passes the ends on",
	  relay_unix, EACH_METHOD, 0 },
	{ "the loop sleeps while a full buffer hides the end of input",
	  loop_sleeps_in_each_mode, EACH_METHOD, 0 },
	{ "misuse is fatal, with the call's name",
	  misuse_is_fatal, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

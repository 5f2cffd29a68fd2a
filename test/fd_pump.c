/*
 * libivykis: iv_fd_pump.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a pump promises does not depend on how it moves bytes.  A case about a
 * promise runs in each mode: as the kernel has it, with splice(2) refused, and
 * with pipe2(2) refused.
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
static _Thread_local int i_am_first;
static atomic_int splice_is_gone;
static sem_t at_first_splice, first_splice_fails;
static size_t splice_at_most = SIZE_MAX;
static atomic_int splices, shutdowns;

#ifdef HAVE_LINUX
ssize_t splice(int fd_in, off64_t *off_in, int fd_out, off64_t *off_out,
	       size_t len, unsigned int flags)
{
	splices++;
	if (i_am_first) {
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

/* A pump that remembers what it asked for. */
struct pump {
	struct iv_fd_pump	p;
	int			calls;
	int			in;
	int			out;
};

static void note_bands(void *_p, int pollin, int pollout)
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
	p->p.set_bands = note_bands;
	p->p.flags = flags;
	p->calls = 0;
}

static void start(struct pump *p, int from, int to, unsigned int flags)
{
	prepare(p, from, to, flags);
	iv_fd_pump_init(&p->p);
}

/* One pump call, what it returns, and what it asks for, once. */
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
 * What is pumped: feed -> from, to -> drain.  Non-blocking sockets, the latter
 * with little room.
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

/* The stream of this case: written so far, and seen so far. */
static size_t fed, drained;

/* As much as there is room for. */
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

/* At most so much; 1 once there is no more for now, 0 at the end. */
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

/* Take away what block_output() has put there. */
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

	/* Done is done. */
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
	/* It stays full while nothing is read. */
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

static void end_of_nothing(void)
{
	struct pump p;

	set_up(&p, 0);
	check(shutdown(feed, SHUT_WR) == 0);
	pump(&p, 0, 0, 0);
	tear_down(&p);
}

IN_EACH_MODE(end_of_nothing)

/* Input is wanted at most once after there was no room for it. */
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

/* A pipe has room for 16 pieces, whose bytes are taken one by one. */
static void need_splice(void)
{
#ifndef HAVE_SPLICE
	skip("the library was built without splice(2)");
#endif
}

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

static void much_by_little(void)
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

IN_EACH_MODE(much_by_little)

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

/* A file of this case, to be closed. */
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

/* Let drain_some() check a file from the start. */
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

/* To a file that splice(2) does not support. */
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
	/* It does not try that again. */
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

/* The pipe holds more than the memory otherwise would. */
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

/* From a file that splice(2) does not support. */
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

/* Filled by splice(2), which is then refused: it continues by copying. */
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
	/* Longer ones than memory takes keep it full. */
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

static void splice_goes_with_little_in_the_pipe(void)
{
	lose_splice(10, 0);
}

static void splice_goes_with_much_in_the_pipe(void)
{
	lose_splice(20000, 0);
}

static void splice_goes_with_a_full_pipe(void)
{
	lose_splice(100000, 1);
}

/* What came in at one call, for an output that takes all. */
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

	/* It does not try again, and uses what it has. */
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

static void descriptors_come_back(void)
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

static void descriptors_come_back_to_a_pump(void)
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

static void no_buffer_at_all(void)
{
	struct pump p;

	skip_under(ASAN | TSAN | MEMCHECK, "has a malloc of its own");
	refuse("pipe2", EMFILE);
	set_up(&p, 0);
	feed_all(5);
	/* The pump could use any piece that is larger. */
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


/* The end is passed on, or not. */
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
	/* One way alone. */
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

static void flags_count_at_the_end(void)
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
static void reader_is_gone(void)
{
	struct pump p;
	int fd[2];
	int left;

	set_up(&p, IV_FD_PUMP_FLAG_RELAY_EOF);
	feed_all(10);
	close(drain);
	pump_fails(&p, EPIPE);

	/* Now it could go on, which it does not. */
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

IN_EACH_MODE(reader_is_gone)

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

/*
 * Input that fails while the pump holds bytes: how it is made to fail, and with
 * which errno.
 */
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

/* The pump has taken all that was fed when it fails. */
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
	/* A terminal passes them on in a thread of the kernel. */
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

static void no_byte_is_lost(void)
{
	int i;

	for (i = 0; i < NUM_FAULTS; i++) {
		fault_with_bytes_held(i, 0);
		fault_with_bytes_held(i, IV_FD_PUMP_FLAG_RELAY_EOF);
	}
}

IN_EACH_MODE(no_byte_is_lost)

/* If the bytes cannot be written either, that error is the one to report. */
static void reader_goes_after_the_input(void)
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

IN_EACH_MODE(reader_goes_after_the_input)

/* A program writes to a terminal and ends; the reader is slow. */
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

/* Pumps are for streams: an empty datagram is taken for the end. */
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
 * A thread with a pending cancellation returns from all calls.  The address
 * sanitizer does not notice that its frames are gone: they hold no object.
 */
static struct pump unharmed;
static int came_through;

static void *pump_while_cancelled(void *unused)
{
	set_up(&unharmed, 0);
	block_output();
	check_int(pthread_cancel(pthread_self()), 0);
	pump(&unharmed, 1, 1, 0);
	came_through = 1;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	feed_all(10);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pump(&unharmed, 1, 1, 1);
	came_through++;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	unblock_output();
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pump(&unharmed, 1, 1, 0);
	came_through++;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	expect_drained();
	feed_all(10);
	block_output();
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pump(&unharmed, 1, 1, 1);
	destroy(&unharmed);
	came_through++;
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
	check_int(came_through, 4);
	close_all();
	iv_deinit();
}

IN_EACH_MODE(cancelled_thread)


/* Objects. */
static void garbage_is_taken(void)
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

	/* At once. */
	set_up(&p, 0);
	destroy(&p);

	/* With bytes in the buffer, which the next pump does not get. */
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

	/* After the end. */
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

	/* The thread ends, and its loop with it. */
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
	/* The thread's cache is gone, with the pipe that the pump had. */
	check(num_descriptors() <= before);
	expect_drained();
	tear_down(&p);
}

#define MANY	100

static void at_rest_it_is_cheap(void)
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

/* Each holds a byte, then none does. */
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
	/* The case fails if this leaves some open. */
	iv_deinit();
}

static struct pump late;

/* Its pipe is empty by then, and would be kept at any other time. */
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

/* The first use of splice(2) in the process takes its time and fails. */
static void *first_of_all(void *p)
{
	iv_init();
	i_am_first = 1;
	start(p, -1, -1, 0);
	(void)iv_fd_pump_pump(&((struct pump *)p)->p);
	iv_fd_pump_destroy(&((struct pump *)p)->p);
	iv_deinit();

	return NULL;
}

static void second_of_all(struct pump *p)
{
	block_output();
	feed_all(100);
	pump(p, 1, 1, 1);
}

static void modes_do_not_mix(void)
{
	struct pump first, p;
	pthread_t t;

	need_splice();
	check_int(sem_init(&at_first_splice, 0, 0), 0);
	check_int(sem_init(&first_splice_fails, 0, 0), 0);
	check_int(pthread_create(&t, NULL, first_of_all, &first), 0);
	check_int(sem_wait(&at_first_splice), 0);
	set_up(&p, 0);
	second_of_all(&p);
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

/* Bytes of the child's own, in its own pump; some stay there. */
static void in_child(int goes_on)
{
	struct pump p;

	close_all();
	open_ends();
	start(&p, from, to, 0);
	block_output();
	fed = drained = 100;
	feed_all(1000);
	pump(&p, 1, 1, 1);
	if (goes_on) {
		unblock_output();
		pump(&p, 1, 1, 0);
		expect_drained();
		block_output();
		feed_all(1000);
		pump(&p, 1, 1, 1);
	}
	_exit(0);
}

/* Both would find the same pipe in their caches. */
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

/* A pump that is done in a child is not done in its parent. */
static void child_of_a_pump_with_bytes(void)
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
	/* The child took them, and its own do not come here. */
	drain_some(EVERYTHING);
	check_int(drained, 10);
	tear_down(&p);
}

/* The pump continues in the child; its pipe remains the parent's as well. */
static void child_goes_on(void)
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

IN_EACH_MODE(child_goes_on)


/* In a loop, as programs use it: what an end of a pump waits for. */
struct end {
	struct iv_fd	fd;
	struct relay	*in;		/* takes what comes from here */
	struct relay	*out;
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
	/* Without the flag the program passes the end on. */
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

static void relay_bands(void *_r, int pollin, int pollout)
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
	r->p.set_bands = relay_bands;
	r->p.flags = flags;
	r->from = a;
	r->to = b;
	r->calls = 0;
	a->in = r;
	b->out = r;
	iv_fd_pump_init(&r->p);
	relays_left++;
}

/* The programs at both sides, which have no loop. */
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

/* Two connected sockets of TCP. */
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

static void crosswise(void (*open_two)(int fd[2]), unsigned int flags)
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

static void crosswise_tcp(void)
{
	crosswise(open_tcp, IV_FD_PUMP_FLAG_RELAY_EOF);
}

static void crosswise_unix(void)
{
	crosswise(open_unix, 0);
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

/* The buffer is full, the end of input is behind it, nobody reads. */
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


/* Mistakes. */
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

static void *pump_elsewhere(void *p)
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
	check_int(pthread_create(&t, NULL, pump_elsewhere, &p.p), 0);
	pthread_join(t, NULL);
}

static void mistakes_are_fatal(void)
{
	check_fatal(without_loop, "iv_fd_pump_init: this thread has no loop");
	check_fatal(without_set_bands, "has no set_bands");
	check_fatal(pump_uninitialised, "iv_fd_pump_pump: ");
	check_fatal(destroy_twice, "iv_fd_pump_destroy: ");
	check_fatal(pump_without_loop, "iv_fd_pump_pump: this thread has no");
}

static const struct check_case cases[] = {
	{ "starting asks for input, once", init_asks_for_input, ONCE, 0 },
	{ "each state has its result and asks for what it needs, once",
	  table_of_states_in_each_mode, ONCE, 0 },
	{ "a full buffer asks for output alone",
	  full_asks_for_output_alone_in_each_mode, ONCE, 0 },
	{ "the end of input with bytes left asks for output alone",
	  end_with_bytes_left_in_each_mode, ONCE, 0 },
	{ "the end of input with nothing before it is the end",
	  end_of_nothing_in_each_mode, ONCE, 0 },
	{ "input that cannot be taken is not asked for, the end neither",
	  end_behind_a_full_buffer_in_each_mode, ONCE, 0 },
	{ "output of part of a piece does not make a full pipe ask for input",
	  part_of_a_piece, ONCE, 0 },
	{ "bytes come out in order and each once, in whatever pieces",
	  much_by_little_in_each_mode, ONCE, 0 },
	{ "output to /dev/null is never asked for",
	  never_asks_for_output_to_dev_null_in_each_mode, ONCE, 0 },
	{ "a file is copied to a file",
	  from_file_to_file_in_each_mode, ONCE, 0 },
	{ "output that splice(2) refuses is copied to, and nothing is lost",
	  to_appended_file_in_each_mode, ONCE, 0 },
	{ "so with more in the pipe than memory would have taken",
	  much_to_appended_file, ONCE, 0 },
	{ "input that splice(2) refuses is copied from",
	  from_eventfd_in_each_mode, ONCE, 0 },
	{ "splice(2) may go while a pipe holds bytes",
	  splice_goes_with_little_in_the_pipe, ONCE, 0 },
	{ "splice(2) may go while a pipe holds more than memory would take",
	  splice_goes_with_much_in_the_pipe, ONCE, 0 },
	{ "splice(2) may go while a pipe is full",
	  splice_goes_with_a_full_pipe, ONCE, 0 },
	{ "splice(2) moves more at once than memory would take",
	  splice_moves_more_than_memory, ONCE, 0 },
	{ "with a full descriptor table it works all the same",
	  full_descriptor_table, ONCE, 0 },
	{ "a full table at the first pump does not slow later ones",
	  descriptors_come_back, ONCE, 0 },
	{ "a full table does not slow a pump for longer than it lasts",
	  descriptors_come_back_to_a_pump, ONCE, 0 },
	{ "without descriptors and memory it is -1 with ENOMEM",
	  no_buffer_at_all, ONCE, 0 },
	{ "the end is passed on once, after the last byte",
	  end_is_passed_on_in_each_mode, ONCE, 0 },
	{ "the end is not passed on without the flag",
	  end_is_not_passed_on_in_each_mode, ONCE, 0 },
	{ "flags take effect when the end is reached",
	  flags_count_at_the_end, ONCE, 0 },
	{ "after -1 it stays -1, with the errno, and moves nothing",
	  reader_is_gone_in_each_mode, ONCE, 0 },
	{ "input that cannot be read is -1 with read(2)'s errno",
	  input_is_a_directory_in_each_mode, ONCE, 0 },
	{ "a descriptor that is not open is -1 with EBADF",
	  input_is_closed_in_each_mode, ONCE, 0 },
	{ "what it holds is written before input's error is reported",
	  no_byte_is_lost_in_each_mode, ONCE, 0 },
	{ "... except for an error of output, which is reported at once",
	  reader_goes_after_the_input_in_each_mode, ONCE, 0 },
	{ "all that a program wrote to a terminal before it ended arrives",
	  program_on_a_terminal_in_each_mode, ONCE, 0 },
	{ "an empty datagram is taken for the end of input",
	  datagrams_in_each_mode, ONCE, 0 },
	{ "no call acts on a cancellation that is pending",
	  cancelled_thread_in_each_mode, ONCE, 0 },
	{ "private members may hold anything, public ones are not written to",
	  garbage_is_taken, ONCE, 0 },
	{ "it may be destroyed at any time, and started again",
	  destroyed_at_any_time_in_each_mode, ONCE, 0 },
	{ "it may be handed to another thread with a loop",
	  handed_to_a_thread, ONCE, 0 },
	{ "pumps at rest hold no descriptors of their own",
	  at_rest_it_is_cheap, ONCE, 0 },
	{ "a thread keeps at most 20 pipes, until its loop ends",
	  cache_is_bounded, ONCE, 0 },
	{ "one that is destroyed while the loop ends leaves nothing open",
	  destroyed_while_the_loop_ends, ONCE, 0 },
	{ "its descriptors are close-on-exec and non-blocking",
	  descriptors_are_closed_on_exec, ONCE, 0 },
	{ "splice(2) failing in one thread does not confuse another's buffers",
	  modes_do_not_mix, ONCE, 10 },
	{ "a parent's and its child's bytes do not mix",
	  parent_and_child, ONCE, 0 },
	{ "a child does not use its parent's pipe for bytes of its own",
	  child_of_a_pump_with_bytes, ONCE, 0 },
	{ "a child goes on with what was buffered",
	  child_goes_on_in_each_mode, ONCE, 0 },
	{ "a TCP echo by one descriptor", echo, EACH_METHOD, 0 },
	{ "two pumps crosswise between TCP connections",
	  crosswise_tcp, EACH_METHOD, 0 },
	{ "two pumps crosswise, the program passing the ends on",
	  crosswise_unix, EACH_METHOD, 0 },
	{ "the loop sleeps while the end of input is behind a full buffer",
	  loop_sleeps_in_each_mode, EACH_METHOD, 0 },
	{ "mistakes are fatal, with the call's name",
	  mistakes_are_fatal, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

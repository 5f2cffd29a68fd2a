/*
 * libivykis: descriptors.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <iv.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "check.h"

/* One letter for each handler that ran, in order. */
static char trace[64];

static void mark(char c)
{
	size_t len = strlen(trace);

	check(len + 1 < sizeof(trace));
	trace[len] = c;
}

static void expect(const char *want)
{
	if (strcmp(trace, want))
		fprintf(stderr, "# \"%s\" happened, not \"%s\"\n", trace, want);
	check(!strcmp(trace, want));
	memset(trace, 0, sizeof(trace));
}

static void got_in(void *cookie)
{
	(void)cookie;
	mark('i');
}

static void got_out(void *cookie)
{
	(void)cookie;
	mark('o');
}

static void got_err(void *cookie)
{
	(void)cookie;
	mark('e');
}

/* A timer that is always due: one `.' for each iteration of the loop. */
static struct iv_timer tick;
static int ticks_left;

static void ticked(void *cookie)
{
	(void)cookie;
	if (ticks_left-- == 0) {
		iv_quit();
		return;
	}
	mark('.');
	iv_timer_register(&tick);
}

/* Run the loop for num iterations, none of which sleeps. */
static void run_ticks(int num)
{
	IV_TIMER_INIT(&tick);
	tick.expires = (struct timespec){ 0 };
	tick.handler = ticked;
	ticks_left = num;
	iv_timer_register(&tick);
	iv_main();
}

static void stop(void *cookie)
{
	(void)cookie;
	iv_quit();
}

/* Run the loop for ms milliseconds, in which it has to sleep. */
static void idle(long ms)
{
	struct iv_timer end;
	long cpu = cpu_ms();

	IV_TIMER_INIT(&end);
	iv_invalidate_now();
	end.expires = iv_now;
	end.expires.tv_nsec += ms * 1000000;
	end.handler = stop;
	iv_timer_register(&end);
	iv_main();
	check(cpu_ms() - cpu < ms / 4);
}

/* The ends of a socket pair, or of a pipe: near reads, far writes. */
static int near, far;

static void open_pair(void)
{
	int fd[2];

	check(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	near = fd[0];
	far = fd[1];
}

static void open_pipe(void)
{
	int fd[2];

	check(pipe(fd) == 0);
	near = fd[0];
	far = fd[1];
}

static void write_byte(int fd)
{
	check_int(write(fd, "x", 1), 1);
}

static void read_byte(int fd)
{
	char c;

	check_int(read(fd, &c, 1), 1);
}

/* Does the poll method let two objects watch one descriptor? */
static int allows_two_objects(void)
{
	return variant_is_poll() || variant_is_uring();
}

static struct iv_fd ifd;

static void set_up(int fd)
{
	iv_init();
	IV_FD_INIT(&ifd);
	ifd.fd = fd;
	ifd.cookie = &ifd;
}

static void tear_down(void)
{
	if (iv_fd_registered(&ifd))
		iv_fd_unregister(&ifd);
	close(near);
	close(far);
	iv_deinit();
}

static void input_runs_while_readable(void)
{
	open_pipe();
	set_up(near);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	run_ticks(2);
	expect("..");

	write_byte(far);
	run_ticks(3);
	expect(".i.i.i");

	read_byte(near);
	run_ticks(2);
	expect("..");
	tear_down();
}

static void fill(int fd)
{
	static const char block[4096];

	while (write(fd, block, sizeof(block)) > 0)
		;
	check_int(errno, EAGAIN);
}

static void drain(int fd)
{
	static char block[4096];

	while (recv(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	check_int(errno, EAGAIN);
}

static void output_runs_while_writable(void)
{
	open_pair();
	set_up(near);
	ifd.handler_out = got_out;
	iv_fd_register(&ifd);
	run_ticks(2);
	expect(".o.o");

	fill(near);
	run_ticks(2);
	expect("..");

	drain(far);
	run_ticks(1);
	expect(".o");
	tear_down();
}

static void handlers_run_for_their_condition(void)
{
	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	ifd.handler_err = got_err;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".");

	write_byte(far);
	run_ticks(1);
	expect(".i");

	iv_fd_set_handler_in(&ifd, NULL);
	run_ticks(1);
	expect(".");

	iv_fd_set_handler_out(&ifd, got_out);
	run_ticks(1);
	expect(".o");
	tear_down();
}

static void handlers_set_later_run(void)
{
	open_pair();
	set_up(near);
	iv_fd_register(&ifd);
	write_byte(far);
	run_ticks(1);
	expect(".");

	iv_fd_set_handler_in(&ifd, got_in);
	iv_fd_set_handler_out(&ifd, got_out);
	run_ticks(1);
	expect(".io");
	tear_down();
}

static void last_change_before_a_wait_takes_effect(void)
{
	open_pair();
	set_up(near);
	write_byte(far);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	iv_fd_set_handler_in(&ifd, NULL);
	iv_fd_set_handler_out(&ifd, got_out);
	iv_fd_set_handler_in(&ifd, got_in);
	iv_fd_set_handler_out(&ifd, NULL);
	run_ticks(1);
	expect(".i");

	iv_fd_set_handler_in(&ifd, NULL);
	iv_fd_set_handler_in(&ifd, got_in);
	run_ticks(1);
	expect(".i");
	tear_down();
}

static void half_close_is_input(void)
{
	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	ifd.handler_err = got_err;
	iv_fd_register(&ifd);
	check(shutdown(far, SHUT_WR) == 0);
	run_ticks(1);
	expect(".i");
	tear_down();
}

/* A kqueue reports EV_EOF for this, too. */
static void shutdown_is_output(void)
{
	open_pair();
	set_up(near);
	ifd.handler_out = got_out;
	ifd.handler_err = got_err;
	iv_fd_register(&ifd);
	check(shutdown(near, SHUT_WR) == 0);
	run_ticks(2);
	expect(".o.o");
	tear_down();
}

static void data_comes_before_end_of_file(void)
{
	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	ifd.handler_err = got_err;
	iv_fd_register(&ifd);
	write_byte(far);
	check(shutdown(far, SHUT_WR) == 0);
	run_ticks(1);
	expect(".i");
	read_byte(near);
	run_ticks(1);
	expect(".i");
	check_int(read(near, trace, 1), 0);
	tear_down();
}

/* Descriptors with an error or a hang-up. */
static int hung_up_pipe(void)
{
	open_pipe();
	close(far);
	far = -1;
	return near;
}

static int broken_pipe(void)
{
	open_pipe();
	close(near);
	near = -1;
	return far;
}

static int hung_up_socket(void)
{
	open_pair();
	close(far);
	far = -1;
	return near;
}

static void expect_trouble_order(int (*make)(void))
{
	int fd = make();
	int set;

	set_up(fd);
	for (set = 1; set < 8; set++) {
		char want[5] = ".";

		ifd.handler_err = set & 1 ? got_err : NULL;
		ifd.handler_in = set & 2 ? got_in : NULL;
		ifd.handler_out = set & 4 ? got_out : NULL;
		strcat(want, set & 1 ? "e" : "");
		strcat(want, set & 2 ? "i" : "");
		strcat(want, set & 4 ? "o" : "");

		iv_fd_register(&ifd);
		run_ticks(1);
		expect(want);
		iv_fd_unregister(&ifd);
	}
	tear_down();
}

static void trouble_calls_err_in_out(void)
{
	expect_trouble_order(hung_up_pipe);
	expect_trouble_order(broken_pipe);
	expect_trouble_order(hung_up_socket);
}

static void err_alone_runs_for_trouble_only(void)
{
	open_pair();
	set_up(near);
	ifd.handler_err = got_err;
	iv_fd_register(&ifd);
	write_byte(far);
	idle(200);
	write_byte(far);
	run_ticks(2);
	expect("..");
	check(shutdown(far, SHUT_WR) == 0);
	idle(200);
	expect("");
	close(far);
	far = -1;
	run_ticks(3);
	expect(".e.e.e");

	/* A handler for another condition may be added, and removed again. */
	iv_fd_set_handler_in(&ifd, got_in);
	run_ticks(1);
	expect(".ei");
	iv_fd_set_handler_in(&ifd, NULL);
	run_ticks(1);
	expect(".e");
	tear_down();
}

struct member {
	struct iv_fd	fd;
	int		peer;
	int		readable;
	int		in_runs;
	int		out_runs;
};

static void member_in(void *_m)
{
	struct member *m = _m;

	m->in_runs++;
}

static void member_out(void *_m)
{
	struct member *m = _m;

	m->out_runs++;
}

/* More descriptors are ready in each iteration than one wait can report. */
static void many_are_broken(void)
{
	const int num = 300;
	struct member *m = calloc(num, sizeof(*m));
	int pass;
	int i;

	check(m != NULL);
	iv_init();
	for (i = 0; i < num; i++) {
		IV_FD_INIT(&m[i].fd);
		m[i].fd.fd = broken_pipe();
		m[i].fd.cookie = &m[i];
		m[i].fd.handler_out = member_out;
		if (i % 2)
			iv_fd_register(&m[i].fd);
		else
			check_int(iv_fd_register_try(&m[i].fd), 0);
	}
	/* An iteration may report only some of them. */
	for (pass = 0; pass < 5; pass++)
		run_ticks(5);
	memset(trace, 0, sizeof(trace));
	for (i = 0; i < num; i++) {
		check(m[i].out_runs >= 3);
		iv_fd_unregister(&m[i].fd);
		close(m[i].fd.fd);
	}
	run_iterations(2);
	free(m);
	iv_deinit();
}

/* Handlers that change their own descriptor. */
static void other_in(void *cookie)
{
	(void)cookie;
	mark('I');
}

static void err_sets_in(void *_fd)
{
	mark('e');
	iv_fd_set_handler_in(_fd, other_in);
}

static void err_clears_in(void *_fd)
{
	mark('e');
	iv_fd_set_handler_in(_fd, NULL);
}

static void err_unregisters(void *_fd)
{
	mark('e');
	iv_fd_unregister(_fd);
}

static void err_registers_again(void *_fd)
{
	struct iv_fd *fd = _fd;

	mark('e');
	iv_fd_unregister(fd);
	fd->handler_err = got_err;
	iv_fd_register(fd);
}

static void in_clears_out(void *_fd)
{
	mark('i');
	iv_fd_set_handler_out(_fd, NULL);
}

static void in_registers_again(void *_fd)
{
	struct iv_fd *fd = _fd;

	mark('i');
	iv_fd_unregister(fd);
	fd->handler_in = NULL;
	iv_fd_register(fd);
}

static void run_trouble(void (*err)(void *), void (*in)(void *),
			const char *want)
{
	set_up(hung_up_pipe());
	ifd.handler_err = err;
	ifd.handler_in = in;
	ifd.handler_out = got_out;
	iv_fd_register(&ifd);
	run_ticks(2);
	expect(want);
	tear_down();
}

static void handlers_change_between_calls(void)
{
	run_trouble(err_sets_in, NULL, ".eIo.eIo");
	run_trouble(err_sets_in, got_in, ".eIo.eIo");
	run_trouble(err_clears_in, got_in, ".eo.eo");
	run_trouble(got_err, in_clears_out, ".ei.ei");
}

static void unregistering_cancels_the_rest(void)
{
	run_trouble(err_unregisters, got_in, ".e.");
	run_trouble(err_registers_again, got_in, ".e.eio");
	run_trouble(got_err, in_registers_again, ".ei.eo");
}

static void clear_out(void *_fd)
{
	mark('o');
	iv_fd_set_handler_out(_fd, NULL);
}

static void read_and_set_out(void *_fd)
{
	struct iv_fd *fd = _fd;

	mark('i');
	read_byte(fd->fd);
	iv_fd_set_handler_out(fd, clear_out);
}

static void out_set_by_in_runs_later(void)
{
	open_pair();
	set_up(near);
	ifd.handler_in = read_and_set_out;
	iv_fd_register(&ifd);
	write_byte(far);
	run_ticks(3);
	expect(".i.o.");
	tear_down();
}

static void check_and_unregister(void *_fd)
{
	struct iv_fd *fd = _fd;

	mark('i');
	check_int(iv_fd_registered(fd), 1);
	iv_fd_unregister(fd);
	check_int(iv_fd_registered(fd), 0);
}

static void registered_until_unregistered(void)
{
	open_pair();
	set_up(near);
	write_byte(far);
	check_int(iv_fd_registered(&ifd), 0);
	ifd.handler_in = check_and_unregister;
	iv_fd_register(&ifd);
	check_int(iv_fd_registered(&ifd), 1);
	iv_main();
	expect("i");
	tear_down();
}

static void mark_cookie(void *cookie)
{
	mark(*(char *)cookie);
}

static void cookie_may_change(void)
{
	static char first = '1', second = '2';

	open_pair();
	set_up(near);
	write_byte(far);
	ifd.handler_in = mark_cookie;
	ifd.cookie = &first;
	iv_fd_register(&ifd);
	run_ticks(1);
	ifd.cookie = &second;
	run_ticks(1);
	expect(".1.2");
	tear_down();
}

static void public_members_are_kept(void)
{
	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	ifd.handler_out = got_out;
	ifd.handler_err = got_err;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".o");
	iv_fd_unregister(&ifd);
	check_int(ifd.fd, near);
	check(ifd.cookie == &ifd);
	check(ifd.handler_in == got_in);
	check(ifd.handler_out == got_out);
	check(ifd.handler_err == got_err);

	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".o");
	tear_down();
}

/* Several descriptors, all of which are ready in the first wait. */
#define SEVERAL		10

static struct iv_fd several[SEVERAL];
static int several_far[SEVERAL];

static void watch_several(void (*handler)(void *))
{
	int i;

	iv_init();
	for (i = 0; i < SEVERAL; i++) {
		open_pipe();
		write_byte(far);
		several_far[i] = far;
		IV_FD_INIT(&several[i]);
		several[i].fd = near;
		several[i].cookie = &several[i];
		several[i].handler_in = handler;
		iv_fd_register(&several[i]);
	}
}

static void close_several(void)
{
	int i;

	for (i = 0; i < SEVERAL; i++) {
		if (iv_fd_registered(&several[i]))
			iv_fd_unregister(&several[i]);
		close(several[i].fd);
		close(several_far[i]);
	}
	iv_deinit();
}

static void unregister_all(void *cookie)
{
	int i;

	(void)cookie;
	mark('i');
	for (i = 0; i < SEVERAL; i++)
		iv_fd_unregister(&several[i]);
}

static void unregistered_others_are_cancelled(void)
{
	watch_several(unregister_all);
	iv_main();
	expect("i");
	close_several();
}

static void register_others_again(void *_me)
{
	int i;

	mark('i');
	for (i = 0; i < SEVERAL; i++) {
		iv_fd_unregister(&several[i]);
		several[i].handler_in = got_in;
		if (&several[i] != _me)
			iv_fd_register(&several[i]);
	}
}

static void registered_again_is_new(void)
{
	watch_several(register_others_again);
	run_ticks(2);
	expect(".i.iiiiiiiii");
	close_several();
}

/* Watch another descriptor with the same structure and number. */
static void replace(struct iv_fd *fd, int *peer)
{
	int number = fd->fd;

	iv_fd_unregister(fd);
	close(number);
	close(*peer);

	open_pipe();
	*peer = far;
	if (near != number) {
		check_int(dup2(near, number), number);
		close(near);
	}

	IV_FD_INIT(fd);
	fd->fd = number;
	fd->handler_in = got_in;
	iv_fd_register(fd);
}

static void replace_all(void *cookie)
{
	int i;

	(void)cookie;
	mark('R');
	for (i = 0; i < SEVERAL; i++)
		replace(&several[i], &several_far[i]);
}

static void reused_number_gets_no_stale_report(void)
{
	int i;

	watch_several(replace_all);
	run_ticks(3);
	expect(".R..");

	for (i = 0; i < SEVERAL; i++)
		write_byte(several_far[i]);
	run_ticks(1);
	expect(".iiiiiiiiii");
	close_several();
}

static void unregister_and_free(void *_fd)
{
	struct iv_fd *fd = _fd;

	mark('e');
	iv_fd_unregister(fd);
	close(fd->fd);
	memset(fd, 0x5a, sizeof(*fd));
	free(fd);
}

static void handler_frees_its_descriptor(void)
{
	struct iv_fd *fd = malloc(sizeof(*fd));

	iv_init();
	check(fd != NULL);
	IV_FD_INIT(fd);
	fd->fd = hung_up_socket();
	fd->cookie = fd;
	fd->handler_err = unregister_and_free;
	fd->handler_in = got_in;
	fd->handler_out = got_out;
	iv_fd_register(fd);
	iv_main();
	expect("e");
	iv_deinit();
}

struct partners {
	struct iv_fd	*fd[2];
};

static void free_partners(void *_p)
{
	struct partners *p = _p;
	int i;

	mark('i');
	for (i = 0; i < 2; i++) {
		iv_fd_unregister(p->fd[i]);
		close(p->fd[i]->fd);
		memset(p->fd[i], 0x5a, sizeof(*p->fd[i]));
		free(p->fd[i]);
	}
}

static void handler_frees_another_ready_one(void)
{
	struct partners p;
	int i;

	iv_init();
	for (i = 0; i < 2; i++) {
		p.fd[i] = malloc(sizeof(*p.fd[i]));
		check(p.fd[i] != NULL);
		IV_FD_INIT(p.fd[i]);
		p.fd[i]->fd = hung_up_pipe();
		p.fd[i]->cookie = &p;
		p.fd[i]->handler_in = free_partners;
		iv_fd_register(p.fd[i]);
	}
	iv_main();
	expect("i");
	iv_deinit();
}

static void loop_sleeps_without_handlers(void)
{
	set_up(hung_up_pipe());
	iv_fd_register(&ifd);
	idle(300);

	iv_fd_set_handler_in(&ifd, got_in);
	run_ticks(1);
	expect(".i");
	iv_fd_set_handler_in(&ifd, NULL);
	idle(300);
	expect("");
	tear_down();
}

static void standard_input_without_handlers(void)
{
	open_pipe();
	write_byte(far);
	check_int(dup2(near, 0), 0);
	set_up(0);
	iv_fd_register(&ifd);
	idle(300);
	tear_down();
}

static void closed_before_the_first_wait(void)
{
	open_pair();
	set_up(dup(near));
	ifd.handler_in = got_in;
	ifd.handler_out = got_out;
	iv_fd_register(&ifd);
	close(ifd.fd);
	iv_fd_unregister(&ifd);
	run_ticks(1);
	expect(".");
	tear_down();
}

static void not_open_without_handlers(void)
{
	open_pair();
	set_up(far + 100);
	iv_fd_register(&ifd);
	run_ticks(2);
	expect("..");
	iv_fd_unregister(&ifd);

	ifd.fd = dup(near);
	iv_fd_register(&ifd);
	run_ticks(1);
	close(ifd.fd);
	run_ticks(1);
	tear_down();
}

/* iv_fd_register_try(). */
static void try_not_open(void)
{
	open_pair();
	set_up(far + 100);
	check_errno(iv_fd_register_try(&ifd), EBADF);
	check_int(iv_fd_registered(&ifd), 0);
	ifd.handler_in = got_in;
	check_errno(iv_fd_register_try(&ifd), EBADF);
	check_int(iv_fd_registered(&ifd), 0);
	iv_main();
	expect("");

	ifd.fd = near;
	check_int(iv_fd_register_try(&ifd), 0);
	write_byte(far);
	run_ticks(1);
	expect(".i");
	tear_down();
}

static void try_regular_file_with(void (*handler)(void *))
{
	int fd = memfd_create("regular", 0);
	int flags = fcntl(fd, F_GETFL);

	set_up(fd);
	ifd.handler_in = handler;
	if (!variant_is_poll()) {
		check_errno(iv_fd_register_try(&ifd), EPERM);
		check_int(iv_fd_registered(&ifd), 0);
		check_int(fcntl(fd, F_GETFL), flags);
		check_int(fcntl(fd, F_GETFD), 0);
		iv_main();
		expect("");
	} else {
		check_int(iv_fd_register_try(&ifd), 0);
		run_ticks(2);
		expect(handler != NULL ? ".i.i" : "..");
		iv_fd_unregister(&ifd);
	}
	close(fd);
	iv_deinit();
}

static void try_regular_files(void)
{
	try_regular_file_with(got_in);
	try_regular_file_with(NULL);
}

static void try_second_object(void)
{
	struct iv_fd second;

	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".");

	second = ifd;
	IV_FD_INIT(&second);
	second.fd = near;
	second.handler_out = got_out;
	if (!allows_two_objects()) {
		check_errno(iv_fd_register_try(&second), EEXIST);
		check_int(iv_fd_registered(&second), 0);
		second.fd = dup(near);
	}
	check_int(iv_fd_register_try(&second), 0);
	run_ticks(1);
	expect(".o");
	write_byte(far);
	iv_fd_unregister(&second);
	if (second.fd != near)
		close(second.fd);
	run_ticks(1);
	expect(".i");
	tear_down();
}

static void try_without_handlers_then_with(void)
{
	set_up(hung_up_pipe());
	check_int(iv_fd_register_try(&ifd), 0);
	idle(200);
	iv_fd_set_handler_err(&ifd, got_err);
	run_ticks(1);
	expect(".e");
	tear_down();
}

static void errno_is_kept(void)
{
	open_pipe();
	set_up(near);
	ifd.handler_in = got_in;

	errno = 4711;
	iv_fd_register(&ifd);
	check_int(errno, 4711);
	iv_fd_set_handler_out(&ifd, got_out);
	check_int(errno, 4711);
	iv_fd_unregister(&ifd);
	check_int(errno, 4711);

	check_int(iv_fd_register_try(&ifd), 0);
	check_int(errno, 4711);
	iv_fd_unregister(&ifd);
	ifd.handler_in = NULL;
	check_int(iv_fd_register_try(&ifd), 0);
	check_int(errno, 4711);
	tear_down();
}

static int oob_inline(int fd)
{
	socklen_t len = sizeof(int);
	int on;

	check(getsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, &len) == 0);

	return on;
}

static void expect_flags(int fd, int on)
{
	check_int(!!(fcntl(fd, F_GETFL) & O_NONBLOCK), on);
	check_int(fcntl(fd, F_GETFD), on ? FD_CLOEXEC : 0);
	check_int(!!oob_inline(fd), on);
}

static void flags_stay_set(void)
{
	open_pair();
	set_up(near);
	expect_flags(near, 0);
	iv_fd_register(&ifd);
	expect_flags(near, 1);
	iv_fd_unregister(&ifd);
	expect_flags(near, 1);

	expect_flags(far, 0);
	ifd.fd = far;
	ifd.handler_in = got_in;
	check_int(iv_fd_register_try(&ifd), 0);
	expect_flags(far, 1);
	iv_fd_unregister(&ifd);
	expect_flags(far, 1);
	tear_down();
}

/* TCP on the loopback interface. */
static struct sockaddr_in address;

static int bound_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(address);

	address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	check(fd >= 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		skip("no loopback interface");
	check(getsockname(fd, (struct sockaddr *)&address, &len) == 0);

	return fd;
}

static int listener(void)
{
	int fd = bound_socket();

	check(listen(fd, 100) == 0);

	return fd;
}

static int connect_it(int fd)
{
	return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static void open_connection(void)
{
	int fd = listener();

	near = socket(AF_INET, SOCK_STREAM, 0);
	check(near >= 0);
	check(connect_it(near) == 0);
	far = accept(fd, NULL, NULL);
	check(far >= 0);
	close(fd);
}

static void reset(int fd)
{
	struct linger linger = { .l_onoff = 1 };

	check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger,
			 sizeof(linger)) == 0);
	close(fd);
}

static void read_urgent(void *_fd)
{
	struct iv_fd *fd = _fd;
	char c = 0;

	check_int(read(fd->fd, &c, 1), 1);
	mark(c);
	iv_fd_unregister(fd);
}

static void urgent_data_comes_in_band(void)
{
	open_connection();
	set_up(near);
	ifd.handler_in = read_urgent;
	iv_fd_register(&ifd);
	check_int(send(far, "u", 1, MSG_OOB), 1);
	iv_main();
	expect("u");
	tear_down();
}

static void got_refused_connection(void *_fd)
{
	struct iv_fd *fd = _fd;
	socklen_t len = sizeof(int);
	int err;

	mark('o');
	check(getsockopt(fd->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0);
	check_int(err, ECONNREFUSED);
	iv_fd_set_handler_out(fd, NULL);
	iv_quit();
}

static void refused_connection_is_output(void)
{
	far = bound_socket();
	near = socket(AF_INET, SOCK_STREAM, 0);
	set_up(near);
	ifd.handler_out = got_refused_connection;
	iv_fd_register(&ifd);
	check_errno(connect_it(near), EINPROGRESS);
	iv_main();
	expect("o");

	check_int(iv_fd_registered(&ifd), 1);
	idle(300);
	expect("");
	tear_down();
}

/* A connection and its timer are allocated together. */
struct conn {
	struct iv_fd	fd;
	struct iv_timer	timer;
};

static void conn_end(void *_conn)
{
	mark('t');
	memset(_conn, 0x5a, sizeof(struct conn));
	free(_conn);
}

static void conn_err(void *_conn)
{
	struct conn *conn = _conn;

	mark('e');
	iv_fd_unregister(&conn->fd);
	close(conn->fd.fd);
	conn->timer.expires = iv_now;
	iv_timer_register(&conn->timer);
}

static void reset_connection_is_an_error(void)
{
	struct conn *conn = malloc(sizeof(*conn));

	check(conn != NULL);
	iv_init();
	open_connection();
	IV_FD_INIT(&conn->fd);
	conn->fd.fd = near;
	conn->fd.cookie = conn;
	iv_fd_register(&conn->fd);
	IV_TIMER_INIT(&conn->timer);
	conn->timer.cookie = conn;
	conn->timer.handler = conn_end;
	run_ticks(1);

	iv_fd_set_handler_err(&conn->fd, conn_err);
	reset(far);
	iv_main();
	expect(".et");
	iv_deinit();
}

/* Connections that use the same structure, one after another. */
static struct iv_fd listening;
static int connections_left;

static void accept_one(void *cookie)
{
	int fd = accept(listening.fd, NULL, NULL);

	(void)cookie;
	if (fd >= 0)
		close(fd);
	else
		check(errno == EAGAIN || errno == ECONNABORTED);
}

static void connected(void *cookie);

static void connect_next(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(fd >= 0);
	set_up(fd);
	ifd.handler_out = connected;
	iv_fd_register(&ifd);
	if (connect_it(fd) < 0)
		check_int(errno, EINPROGRESS);
}

static void connected(void *cookie)
{
	socklen_t len = sizeof(int);
	int err;

	(void)cookie;
	check(getsockopt(ifd.fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0);
	check_int(err, 0);
	iv_fd_unregister(&ifd);
	reset(ifd.fd);
	if (--connections_left) {
		connect_next();
		return;
	}
	iv_fd_unregister(&listening);
	close(listening.fd);
}

static void thousand_connections(void)
{
	iv_init();
	IV_FD_INIT(&listening);
	listening.fd = listener();
	listening.handler_in = accept_one;
	iv_fd_register(&listening);

	connections_left = 1000;
	connect_next();
	iv_main();
	check_int(connections_left, 0);
	iv_deinit();
}

/* Random operations, after each few of which a wait is checked. */
#define CROWD		40

static struct member crowd[CROWD];

static unsigned int rnd(unsigned int n)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;

	return (x >> 20) % n;
}

static void open_crowd(void)
{
	int i;

	for (i = 0; i < CROWD; i++) {
		open_pair();
		IV_FD_INIT(&crowd[i].fd);
		crowd[i].fd.fd = near;
		crowd[i].fd.cookie = &crowd[i];
		crowd[i].peer = far;
	}
}

static void close_crowd(void)
{
	int i;

	for (i = 0; i < CROWD; i++) {
		if (iv_fd_registered(&crowd[i].fd))
			iv_fd_unregister(&crowd[i].fd);
		close(crowd[i].fd.fd);
		close(crowd[i].peer);
	}
}

static void toggle_registered(struct member *m)
{
	if (iv_fd_registered(&m->fd))
		iv_fd_unregister(&m->fd);
	else if (rnd(2))
		iv_fd_register(&m->fd);
	else
		check_int(iv_fd_register_try(&m->fd), 0);
}

static void operate(struct member *m)
{
	int registered = iv_fd_registered(&m->fd);

	switch (rnd(4)) {
	case 0:
		toggle_registered(m);
		break;
	case 1:
		if (registered)
			iv_fd_set_handler_in(&m->fd, rnd(2) ? member_in : NULL);
		break;
	case 2:
		if (registered)
			iv_fd_set_handler_out(&m->fd,
					      rnd(2) ? member_out : NULL);
		break;
	default:
		if (m->readable)
			read_byte(m->fd.fd);
		else
			write_byte(m->peer);
		m->readable = !m->readable;
	}
}

static void check_member(struct member *m)
{
	int registered = iv_fd_registered(&m->fd);

	check_int(m->in_runs, registered && m->readable &&
			      m->fd.handler_in != NULL);
	check_int(m->out_runs, registered && m->fd.handler_out != NULL);
	m->in_runs = 0;
	m->out_runs = 0;
}

static void random_operations(void)
{
	int i, j;

	iv_init();
	open_crowd();
	for (i = 0; i < 1000; i++) {
		for (j = 0; j < 10; j++)
			operate(&crowd[rnd(CROWD)]);
		run_ticks(1);
		expect(".");
		for (j = 0; j < CROWD; j++)
			check_member(&crowd[j]);
	}
	close_crowd();
	iv_deinit();
}

/* Large numbers of descriptors. */
#define MANY		15000

static struct iv_fd many[MANY];
static int runs[MANY];
static int served;

static void watch_many(int num, void (*handler)(void *))
{
	int i;

	open_pipe();
	write_byte(far);
	for (i = 0; i < num; i++) {
		IV_FD_INIT(&many[i]);
		many[i].fd = fcntl(near, F_DUPFD_CLOEXEC, 0);
		if (many[i].fd < 0)
			skip("the limit of descriptors is too low");
		many[i].cookie = &many[i];
		many[i].handler_in = handler;
		iv_fd_register(&many[i]);
	}
}

static void close_many(int num)
{
	int i;

	for (i = 0; i < num; i++) {
		if (iv_fd_registered(&many[i]))
			iv_fd_unregister(&many[i]);
		close(many[i].fd);
	}
	close(near);
	close(far);
}

static void serve_and_leave(void *_fd)
{
	served++;
	iv_fd_unregister(_fd);
}

static void *serve_many(void *arg)
{
	iv_init();
	watch_many(MANY, serve_and_leave);
	iv_main();
	check_int(served, MANY);
	close_many(MANY);
	iv_deinit();

	return arg;
}

static void small_stack(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	/* The process's first loop raises the limit of descriptors. */
	iv_init();
	check_int(pthread_attr_init(&attr), 0);
	if (pthread_attr_setstacksize(&attr, 65536) == EINVAL)
		skip("stacks may not be that small here");
	check_int(pthread_create(&thread, &attr, serve_many, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attr);
	iv_deinit();
}

static void count(void *_fd)
{
	struct iv_fd *fd = _fd;

	if (runs[fd - many]++ == 0)
		served++;
}

static void none_of_many_starves(void)
{
	const int num = 700;
	int i;

	iv_init();
	watch_many(num, count);
	for (i = 0; i < 10; i++) {
		run_ticks(5);
		expect(".....");
	}
	check_int(served, num);
	for (i = 0; i < num; i++)
		check(runs[i] <= 50);
	close_many(num);
	iv_deinit();
}

static int num_called;

static void count_call(void *cookie)
{
	(void)cookie;
	num_called++;
}

/* 70000 may be more than the kernel can wait for, so only 1000 are left. */
static void many_objects_watch_one_descriptor(void)
{
	const int num = 70000;
	const int few = 1000;
	struct iv_fd *objects = calloc(num, sizeof(*objects));
	int i;

	check(objects != NULL);
	open_pair();
	set_up(-1);
	for (i = 0; i < num && allows_two_objects(); i++) {
		IV_FD_INIT(&objects[i]);
		objects[i].fd = near;
		objects[i].handler_out = count_call;
		iv_fd_register(&objects[i]);
	}
	while (i > few)
		iv_fd_unregister(&objects[--i]);
	run_iterations(1);
	check_int(num_called, i);
	while (i > 0)
		iv_fd_unregister(&objects[--i]);
	free(objects);
	tear_down();
}

static void large_numbers(void)
{
	int fd;

	open_pair();
	set_up(-1);
	fd = fcntl(near, F_DUPFD_CLOEXEC, 70000);
	if (fd < 0)
		skip("the limit of descriptors is below 70000");

	ifd.fd = fd;
	ifd.handler_out = got_out;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".o");
	iv_fd_unregister(&ifd);
	check_int(iv_fd_register_try(&ifd), 0);
	run_ticks(1);
	expect(".o");
	iv_fd_unregister(&ifd);
	close(fd);
	tear_down();
}

/* Another loop watches near, too. */
static void *watch_near(void *arg)
{
	struct iv_fd fd;

	iv_init();
	IV_FD_INIT(&fd);
	fd.fd = near;
	fd.cookie = &fd;
	fd.handler_in = check_and_unregister;
	iv_fd_register(&fd);
	iv_main();
	iv_deinit();

	return arg;
}

static void two_loops_watch_one_descriptor(void)
{
	pthread_t thread;

	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".");

	write_byte(far);
	check_int(pthread_create(&thread, NULL, watch_near, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	expect("i");
	run_ticks(1);
	expect(".i");
	tear_down();
}

/* Descriptors that the kernel rejects. */
static void watch_not_open(void)
{
	set_up(987);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	iv_main();
}

static void watch_regular_file(void)
{
	set_up(memfd_create("regular", 0));
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	iv_main();
}

static void watch_twice(void)
{
	struct iv_fd second;

	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	IV_FD_INIT(&second);
	second.fd = near;
	second.handler_in = got_in;
	iv_fd_register(&second);
	run_ticks(1);
}

static void rejected_descriptors_are_fatal(void)
{
	int rejects;

	iv_init();
	rejects = !allows_two_objects();
	iv_deinit();

	check_fatal(watch_not_open, "descriptor 987");
	check_fatal(watch_not_open, strerror(EBADF));
	if (rejects) {
		check_fatal(watch_regular_file, strerror(EPERM));
		check_fatal(watch_twice, strerror(EEXIST));
	}
}

/* Descriptors that are closed while registered, by mistake. */
static struct iv_fd other;
static int other_far;

static void mark_other(void *cookie)
{
	(void)cookie;
	mark('2');
}

/* `ifd' will be closed, and `other' shows that the loop goes on. */
static void watch_two(void)
{
	open_pair();
	set_up(near);
	other_far = far;
	IV_FD_INIT(&other);
	other.fd = near;
	other.handler_in = mark_other;
	iv_fd_register(&other);

	open_pair();
	ifd.fd = near;
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".");
}

static void expect_other(void)
{
	write_byte(other_far);
	run_ticks(2);
	expect(".2.2");
	read_byte(other.fd);
	idle(100);
}

static void close_two(void)
{
	iv_fd_unregister(&other);
	close(other.fd);
	close(other_far);
	tear_down();
}

static void closed_then_unregistered(void)
{
	int i;

	watch_two();
	for (i = 0; i < 3; i++) {
		close(ifd.fd);
		if (i > 0)
			expect_other();
		iv_fd_unregister(&ifd);
		expect_other();
		close(far);

		open_pair();
		ifd.fd = near;
		iv_fd_register(&ifd);
		write_byte(far);
		run_ticks(1);
		expect(".i");
	}
	close_two();
}

/* Close the descriptor of `ifd', and open another one with its number. */
static void reuse_number(void)
{
	close(near);
	close(far);
	open_pair();
	check_int(near, ifd.fd);
}

/* The number is used again before a wait has removed the old descriptor. */
static void number_is_used_again_at_once(void)
{
	int i;

	watch_two();
	ifd.handler_err = got_err;
	for (i = 0; i < 4; i++) {
		iv_fd_unregister(&ifd);
		reuse_number();
		if (i & 1)
			iv_fd_register(&ifd);
		else
			check_int(iv_fd_register_try(&ifd), 0);
		if (i & 2) {
			run_ticks(1);
			expect(".");
		}
		write_byte(far);
		run_ticks(1);
		expect(".i");
	}
	close_two();
}

/* The duplicate makes the kernel report an object that has been freed. */
static void closed_but_for_a_duplicate(void)
{
	struct iv_fd *fd = malloc(sizeof(*fd));
	int duplicate;

	check(fd != NULL);
	watch_two();
	iv_fd_unregister(&ifd);
	*fd = ifd;
	iv_fd_register(fd);
	run_ticks(1);
	expect(".");

	duplicate = dup(near);
	close(near);
	iv_fd_unregister(fd);
	memset(fd, 0xff, sizeof(*fd));
	free(fd);
	write_byte(far);
	expect_other();
	close(duplicate);
	close_two();
}

/* A new descriptor with its number is watched for the handlers set. */
static void closed_and_opened_again(void)
{
	watch_two();
	close(near);
	close(far);
	iv_fd_set_handler_out(&ifd, got_out);
	expect_other();
	iv_fd_set_handler_out(&ifd, NULL);
	expect_other();

	check_int(dup2(other.fd, ifd.fd), ifd.fd);
	iv_fd_set_handler_out(&ifd, got_out);
	run_ticks(1);
	expect(".o");
	iv_fd_unregister(&other);
	write_byte(other_far);
	run_ticks(1);
	expect(".io");
	read_byte(other.fd);
	iv_fd_register(&other);
	iv_fd_set_handler_in(&ifd, NULL);
	run_ticks(1);
	expect(".o");
	near = ifd.fd;
	far = -1;
	close_two();
}

/* poll(2) reports one number for both objects; the order is unspecified. */
static void expect_second(int first_is_registered)
{
	run_ticks(1);
	check(strchr(trace, 'I') != NULL);
	check_int(strchr(trace, 'i') != NULL,
		  first_is_registered && allows_two_objects());
	memset(trace, 0, sizeof(trace));
}

/* Register a second object with the number, and see that it is served. */
static void serve_second(struct iv_fd *second, int may_fail)
{
	IV_FD_INIT(second);
	second->fd = near;
	second->handler_in = other_in;
	if (may_fail)
		check_int(iv_fd_register_try(second), 0);
	else
		iv_fd_register(second);
	write_byte(far);
	expect_second(1);
}

/* An object whose descriptor was closed, and one that has its number. */
static void two_objects_for_one_number(void)
{
	struct iv_fd second;
	int i;

	for (i = 0; i < 4; i++) {
		watch_two();
		reuse_number();
		serve_second(&second, !(i & 1));

		iv_fd_unregister(i & 2 ? &second : &ifd);
		if (!(i & 2))
			expect_second(0);
		iv_fd_unregister(i & 2 ? &ifd : &second);
		expect_other();

		iv_fd_register(&second);
		run_ticks(1);
		expect(".I");
		iv_fd_unregister(&second);
		close_two();
	}
}

/* A kqueue rejects a pipe without a reader, so it has no filter for `ifd'. */
static void try_second_object_of_broken_pipe(void)
{
	struct iv_fd second;

	open_pipe();
	set_up(far);
	ifd.handler_out = got_out;
	close(near);
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".o");
	IV_FD_INIT(&second);
	second.fd = far;
	second.handler_out = got_out;
	if (allows_two_objects()) {
		check_int(iv_fd_register_try(&second), 0);
		iv_fd_unregister(&second);
	} else {
		check_errno(iv_fd_register_try(&second), EEXIST);
	}
	run_ticks(1);
	expect(".o");
	near = -1;
	tear_down();
}

/* The handlers are not in the kernel yet when all are given to it again. */
static void two_objects_and_new_handlers(void)
{
	struct iv_fd second;
	int i;

	for (i = 0; i < 4; i++) {
		watch_two();
		if (i & 2)
			iv_fd_set_handler_out(&ifd, got_out);
		reuse_number();
		if (!(i & 2))
			iv_fd_set_handler_out(&ifd, got_out);
		serve_second(&second, !(i & 1));
		iv_fd_unregister(&second);
		iv_fd_unregister(&ifd);
		expect_other();
		iv_fd_register(&ifd);
		close_two();
	}
}

/* The kernel watches both, and reports the one that has been freed, too. */
static void two_objects_and_a_duplicate(void)
{
	struct iv_fd *fd = malloc(sizeof(*fd));
	int duplicate, duplicate_far;

	check(fd != NULL);
	watch_two();
	iv_fd_unregister(&ifd);
	*fd = ifd;
	iv_fd_register(fd);
	run_ticks(1);
	expect(".");

	duplicate = dup(near);
	duplicate_far = far;
	close(near);
	open_pair();
	check_int(near, fd->fd);
	ifd.handler_in = other_in;
	iv_fd_register(&ifd);
	run_ticks(1);
	expect(".");
	iv_fd_unregister(fd);
	memset(fd, 0xff, sizeof(*fd));
	free(fd);

	write_byte(duplicate_far);
	expect_other();
	write_byte(far);
	run_ticks(1);
	expect(".I");
	close(duplicate);
	close(duplicate_far);
	close_two();
}

/*
 * Unregistering a third one that was closed makes the loop give all of them to
 * the kernel again, of which the one that was registered last is reported.
 */
static void two_objects_and_a_third(void)
{
	struct iv_fd second;

	watch_two();
	close(near);
	close(far);
	open_pair();
	check_int(near, ifd.fd);
	IV_FD_INIT(&second);
	second.fd = near;
	second.handler_in = other_in;
	iv_fd_register(&second);
	run_ticks(1);
	expect(".");

	close(other.fd);
	close(other_far);
	iv_fd_unregister(&other);
	write_byte(far);
	expect_second(1);
	iv_fd_unregister(&ifd);
	expect_second(0);
	iv_fd_unregister(&second);
	tear_down();
}

/* What iv_fd_register_try() returns for each kind of descriptor. */
static void ignore(void *cookie)
{
	(void)cookie;
}

static int not_open(void)
{
	return 987;
}

static int regular_file(void)
{
	return memfd_create("regular", 0);
}

static int directory(void)
{
	return open("/", O_RDONLY | O_DIRECTORY);
}

/* -1 with ENOSYS on systems that have no such descriptors. */
static int open_path(const char *path)
{
#ifdef O_PATH
	return open(path, O_PATH);
#else
	(void)path;
	errno = ENOSYS;

	return -1;
#endif
}

static int path_of_directory(void)
{
	return open_path("/");
}

static int path_of_device(void)
{
	return open_path("/dev/null");
}

static int null_device(void)
{
	return open("/dev/null", O_RDWR);
}

static int reading_end(void)
{
	open_pipe();
	return near;
}

static int writing_end(void)
{
	open_pipe();
	return far;
}

static int one_of_pair(void)
{
	open_pair();
	return near;
}

static int fifo(void)
{
	char dir[] = "/tmp/fd.XXXXXX";
	char path[64];
	int fd;

	check(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	check_int(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR);
	check_int(unlink(path), 0);
	check_int(rmdir(dir), 0);

	return fd;
}

static int terminal(void)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY);

	if (fd < 0)
		skip("no pseudo-terminal");

	return fd;
}

static int counter(void)
{
	return open_eventfd(0);
}

static int other_epoll(void)
{
	return open_epoll(-1);
}

static const struct {
	const char	*name;
	int		(*open)(void);
	int		by_epoll;	/* 0, or errno */
	int		by_kqueue;
	int		by_poll;
} results[] = {
	{ "not open",		not_open,		EBADF,	EBADF,	EBADF },
	{ "path of directory",	path_of_directory,	EBADF,	EPERM,	EBADF },
	{ "path of device",	path_of_device,		EBADF,	EBADF,	EBADF },
	{ "regular file",	regular_file,		EPERM,	EPERM,	0 },
	{ "directory",		directory,		EPERM,	EPERM,	0 },
	{ "null device",	null_device,		EPERM,	EPERM,	0 },
	{ "pipe, reading",	reading_end,		0,	0,	0 },
	{ "pipe, writing",	writing_end,		0,	0,	0 },
	{ "socket",		one_of_pair,		0,	0,	0 },
	{ "listening socket",	listener,		0,	0,	0 },
	{ "FIFO",		fifo,			0,	0,	0 },
	{ "terminal",		terminal,		0,	0,	0 },
	{ "eventfd",		counter,		0,	0,	0 },
	{ "epoll",		other_epoll,		0,	0,	0 },
};

static void check_result(int i, int fd, void (*handler)(void *))
{
	int want = variant_is_poll() ? results[i].by_poll :
		   variant_is_kqueue() ? results[i].by_kqueue :
					 results[i].by_epoll;
	int flags = fcntl(fd, F_GETFD);
	int got;

	IV_FD_INIT(&ifd);
	ifd.fd = fd;
	ifd.handler_in = handler;
	ifd.handler_out = handler;
	errno = 4711;
	got = iv_fd_register_try(&ifd) < 0 ? errno : 0;
	if (got != want)
		fprintf(stderr, "# %s:\n", results[i].name);
	check_int(got, want);
	check_int(errno, want != 0 ? want : 4711);
	check_int(iv_fd_registered(&ifd), got == 0);
	if (got != 0)
		check_int(fcntl(fd, F_GETFD), flags);

	run_iterations(2);
	if (got == 0)
		iv_fd_unregister(&ifd);
}

static void try_each_kind(void)
{
	int i;

	iv_init();
	for (i = 0; i < (int)(sizeof(results) / sizeof(results[0])); i++) {
		int fd;

		near = far = -1;
		fd = results[i].open();
		if (fd < 0 && errno == ENOSYS)
			continue;
		check(fd >= 0);
		check_result(i, fd, ignore);
		check_result(i, fd, NULL);
		close(fd);
		close(near);
		close(far);
	}
	iv_deinit();
}

static void watch_path(void)
{
	check_int(dup2(path_of_directory(), 987), 987);
	watch_not_open();
}

static void paths_are_fatal(void)
{
	int fd = path_of_directory();

	if (fd < 0 && errno == ENOSYS)
		skip("this system has no O_PATH");
	close(fd);
	check_fatal(watch_path, "add descriptor 987 of ");
}

/* poll(2) rejects more descriptors than RLIMIT_NOFILE. */
static void watch_above_the_limit(void)
{
	open_pair();
	set_up(near);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	run_ticks(1);
	(void)limit_descriptors(0);
	write_byte(far);
	run_ticks(1);
	_exit(!strcmp(trace, "..i") ? 0 : 1);
}

static void limit_may_be_lowered(void)
{
	int is_poll;
	pid_t pid;

	iv_init();
	is_poll = variant_is_poll();
	iv_deinit();

	if (is_poll) {
		check_fatal(watch_above_the_limit, "iv_main: cannot wait for 1 "
			    "descriptors: Invalid argument (errno 22): "
			    "RLIMIT_NOFILE");
		return;
	}
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		watch_above_the_limit();
	check_child(pid);
}

/* All calls return in a thread with a pending cancellation. */
static int all_returned;

static void *use_while_cancelled(void *unused)
{
	check_int(pthread_cancel(pthread_self()), 0);
	set_up(near);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	iv_fd_set_handler_out(&ifd, got_out);
	iv_fd_unregister(&ifd);
	check_int(iv_fd_register_try(&ifd), 0);
	iv_fd_set_handler_out(&ifd, NULL);
	iv_fd_unregister(&ifd);
	iv_deinit();
	all_returned = 1;
	pthread_testcancel();
	check(0);

	return unused;
}

static void cancelled_thread(void)
{
	pthread_t thread;
	void *end;

	iv_init();
	open_pair();
	check_int(pthread_create(&thread, NULL, use_while_cancelled, NULL), 0);
	check_int(pthread_join(thread, &end), 0);
	check(end == PTHREAD_CANCELED);
	check_int(all_returned, 1);
	close(near);
	close(far);
	iv_deinit();
}

/* The loop does not use the number of a closed standard input. */
static void standard_input_may_be_closed(void)
{
	int null = open("/dev/null", O_RDONLY);
	int i;

	open_pair();
	close(0);
	set_up(0);
	check_errno(fcntl(0, F_GETFD), EBADF);
	check_errno(iv_fd_register_try(&ifd), EBADF);
	ifd.handler_in = got_in;
	check_errno(iv_fd_register_try(&ifd), EBADF);

	/* After several waits for the same timer the loop may use a timerfd. */
	IV_TIMER_INIT(&tick);
	tick.handler = stop;
	tick.expires = iv_now;
	tick.expires.tv_sec += 10000;
	iv_timer_register(&tick);
	ifd.fd = near;
	ifd.handler_in = stop;
	iv_fd_register(&ifd);
	write_byte(far);
	for (i = 0; i < 20; i++)
		iv_main();
	check_errno(fcntl(0, F_GETFD), EBADF);

	iv_timer_unregister(&tick);
	check_int(dup2(null, 0), 0);
	close(null);
	tear_down();
}

/* What only POLLPRI reports makes an epoll descriptor readable. */
static void priority_data_by_epoll(void)
{
	int off = 0;
	int epfd;

	open_connection();
	epfd = open_epoll(near);
	if (epfd < 0 && errno == ENOSYS)
		skip("no epoll(7)");
	check(epfd >= 0);
	check_int(setsockopt(near, SOL_SOCKET, SO_OOBINLINE, &off, sizeof(off)),
		  0);
	set_up(epfd);
	ifd.handler_in = got_in;
	iv_fd_register(&ifd);
	write_byte(far);
	idle(100);
	expect("");
	check_int(send(far, "u", 1, MSG_OOB), 1);
	run_ticks(2);
	expect(".i.i");
	read_byte(near);
	check_int(recv(near, &off, 1, MSG_OOB), 1);
	idle(100);
	close(epfd);
	tear_down();
}

/* A file in /sys reports POLLERR when it was not read since it changed. */
static void read_attribute(void *_fd)
{
	struct iv_fd *fd = _fd;
	char buf[256];

	mark('e');
	check(pread(fd->fd, buf, sizeof(buf), 0) >= 0);
}

static void attribute_is_read_on_error(void)
{
	int fd = open("/sys/kernel/uevent_seqnum", O_RDONLY);

	if (fd < 0)
		skip("there is no /sys");
	set_up(fd);
	ifd.handler_err = read_attribute;
	if (variant_is_kqueue()) {
		/* A kqueue reports no errors of files. */
		check_errno(iv_fd_register_try(&ifd), EPERM);
	} else {
		iv_fd_register(&ifd);
		run_ticks(3);
		expect(".e..");
		iv_fd_unregister(&ifd);
	}
	close(fd);
	iv_deinit();
}

/* One wait reports both; the handler that runs first waits once more. */
static int nested_calls[2];

static void run_nested(void *calls)
{
	(*(int *)calls)++;
	if (nested_calls[0] + nested_calls[1] == 1)
		iv_main();
	iv_quit();
}

static void nested_loop(void)
{
	struct iv_fd fd[2];
	int p[2][2];
	int i;

	iv_init();
	for (i = 0; i < 2; i++) {
		check_int(pipe(p[i]), 0);
		check_int(write(p[i][1], "", 1), 1);
		IV_FD_INIT(&fd[i]);
		fd[i].fd = p[i][0];
		fd[i].cookie = &nested_calls[i];
		fd[i].handler_in = run_nested;
		iv_fd_register(&fd[i]);
	}
	iv_main();
	check(nested_calls[0] >= 1);
	check(nested_calls[1] >= 1);
	for (i = 0; i < 2; i++)
		iv_fd_unregister(&fd[i]);
	/* The library must not refer to them any longer. */
	memset(fd, 0xff, sizeof(fd));
	run_iterations(2);
	for (i = 0; i < 2; i++) {
		close(p[i][0]);
		close(p[i][1]);
	}
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "a nested iv_main in a handler loses no report",
	  nested_loop, EACH_METHOD, 0 },
	{ "an input handler runs in each iteration while there is input",
	  input_runs_while_readable, EACH_METHOD, 0 },
	{ "an output handler runs in each iteration while there is room",
	  output_runs_while_writable, EACH_METHOD, 0 },
	{ "a handler runs for its own condition only",
	  handlers_run_for_their_condition, EACH_METHOD, 0 },
	{ "a handler set later runs for a condition that holds already",
	  handlers_set_later_run, EACH_METHOD, 0 },
	{ "the last change of handlers before a wait takes effect",
	  last_change_before_a_wait_takes_effect, EACH_METHOD, 0 },
	{ "a half-close by the peer is reported as input alone",
	  half_close_is_input, EACH_METHOD, 0 },
	{ "a shutdown for writing is reported as output alone",
	  shutdown_is_output, EACH_METHOD, 0 },
	{ "data sent before a half-close is read before its end of file",
	  data_comes_before_end_of_file, EACH_METHOD, 0 },
	{ "an error or a hang-up calls the err, in and out handlers, in turn",
	  trouble_calls_err_in_out, EACH_METHOD, 0 },
	{ "a sole error handler runs for errors and hang-ups, not for input",
	  err_alone_runs_for_trouble_only, EACH_METHOD, 0 },
	{ "if 300 descriptors have an error, all are reported again and again",
	  many_are_broken, EACH_METHOD, 0 },
	{ "a handler may set or clear those that run after it",
	  handlers_change_between_calls, EACH_METHOD, 0 },
	{ "unregistering in a handler cancels those that run after it",
	  unregistering_cancels_the_rest, EACH_METHOD, 0 },
	{ "an out handler set by an in handler runs after the next wait",
	  out_set_by_in_runs_later, EACH_METHOD, 0 },
	{ "a descriptor is registered in its handler until unregistered",
	  registered_until_unregistered, EACH_METHOD, 0 },
	{ "the cookie may change while registered",
	  cookie_may_change, EACH_METHOD, 0 },
	{ "the library never changes public members",
	  public_members_are_kept, EACH_METHOD, 0 },
	{ "unregistering other ready descriptors cancels their handlers",
	  unregistered_others_are_cancelled, EACH_METHOD, 0 },
	{ "a ready descriptor registered again is reported by the next wait",
	  registered_again_is_new, EACH_METHOD, 0 },
	{ "a new descriptor that reuses a number gets no stale report",
	  reused_number_gets_no_stale_report, EACH_METHOD, 0 },
	{ "a handler may free its own descriptor's memory",
	  handler_frees_its_descriptor, EACH_METHOD, 0 },
	{ "a handler may free another ready descriptor's memory",
	  handler_frees_another_ready_one, EACH_METHOD, 0 },
	{ "a descriptor without handlers keeps the loop running, asleep",
	  loop_sleeps_without_handlers, EACH_METHOD, 0 },
	{ "descriptor 0 without handlers keeps the loop running, asleep",
	  standard_input_without_handlers, EACH_METHOD, 0 },
	{ "a descriptor may be registered, closed and unregistered at once",
	  closed_before_the_first_wait, EACH_METHOD, 0 },
	{ "a number that is not open may be registered without handlers",
	  not_open_without_handlers, EACH_METHOD, 0 },
	{ "register_try returns EBADF for a number that is not open",
	  try_not_open, EACH_METHOD, 0 },
	{ "register_try of a regular file returns EPERM, or succeeds with poll",
	  try_regular_files, EACH_METHOD, 0 },
	{ "register_try of a watched one returns EEXIST, or succeeds with poll",
	  try_second_object, EACH_METHOD, 0 },
	{ "register_try of a watched pipe without a reader returns EEXIST, too",
	  try_second_object_of_broken_pipe, EACH_METHOD, 0 },
	{ "handlers may be set after register_try",
	  try_without_handlers_then_with, EACH_METHOD, 0 },
	{ "calls that succeed keep errno",
	  errno_is_kept, EACH_METHOD, 0 },
	{ "registering sets O_NONBLOCK, FD_CLOEXEC and SO_OOBINLINE for good",
	  flags_stay_set, EACH_METHOD, 0 },
	{ "out-of-band data arrives in-band",
	  urgent_data_comes_in_band, EACH_METHOD, 0 },
	{ "a refused connection is output, and quiet without a handler",
	  refused_connection_is_output, EACH_METHOD, 0 },
	{ "a reset calls an error handler that was set after registering",
	  reset_connection_is_an_error, EACH_METHOD, 0 },
	{ "one structure serves a thousand connections, one after another",
	  thousand_connections, EACH_METHOD, 0 },
	{ "a wait after random operations reports exactly what it should",
	  random_operations, EACH_METHOD, 0 },
	{ "a stack of 64 KiB is enough for 15000 ready descriptors",
	  small_stack, EACH_METHOD, 0 },
	{ "of 700 descriptors that are always ready, none starves",
	  none_of_many_starves, EACH_METHOD, 0 },
	{ "70000 objects may watch one descriptor, with poll",
	  many_objects_watch_one_descriptor, EACH_METHOD, 0 },
	{ "descriptors above 65535 work like others",
	  large_numbers, EACH_METHOD, 0 },
	{ "two loops may watch one descriptor",
	  two_loops_watch_one_descriptor, EACH_METHOD, 0 },
	{ "a descriptor that the kernel rejects is fatal, with the reason",
	  rejected_descriptors_are_fatal, EACH_METHOD, 0 },
	{ "lowering RLIMIT_NOFILE is harmless, or fatal with a message",
	  limit_may_be_lowered, EACH_METHOD, 0 },
	{ "no call acts on a pending cancellation",
	  cancelled_thread, EACH_METHOD, 0 },
	{ "the loop never takes the number of a closed standard input",
	  standard_input_may_be_closed, EACH_METHOD, 0 },
	{ "an epoll descriptor is readable when it has priority data to report",
	  priority_data_by_epoll, EACH_METHOD, 0 },
	{ "a file in /sys is reported as an error until it is read",
	  attribute_is_read_on_error, EACH_METHOD, 0 },
	{ "register_try returns the same errno with and without handlers",
	  try_each_kind, EACH_METHOD, 0 },
	{ "an O_PATH descriptor is fatal, with its number",
	  paths_are_fatal, EACH_METHOD, 0 },
	{ "a closed descriptor may be unregistered, and the loop goes on",
	  closed_then_unregistered, EACH_METHOD, 0 },
	{ "the number of a closed descriptor may be used again at once",
	  number_is_used_again_at_once, EACH_METHOD, 0 },
	{ "a closed descriptor is not reported, though a duplicate is open",
	  closed_but_for_a_duplicate, EACH_METHOD, 0 },
	{ "handlers of a closed descriptor may be set",
	  closed_and_opened_again, EACH_METHOD, 0 },
	{ "a closed descriptor does not disturb another with its number",
	  two_objects_for_one_number, EACH_METHOD, 0 },
	{ "a closed descriptor's new handler does not disturb its successor",
	  two_objects_and_new_handlers, EACH_METHOD, 0 },
	{ "a duplicate of a closed descriptor does not disturb its successor",
	  two_objects_and_a_duplicate, EACH_METHOD, 0 },
	{ "a reused number is watched after all are given to the kernel again",
	  two_objects_and_a_third, EACH_METHOD, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

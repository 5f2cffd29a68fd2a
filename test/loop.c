/*
 * libivykis: a thread's loop, from iv_init() to iv_deinit().
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_tls.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "check.h"
#include "trace.h"

static void mark_and_quit(void *letter)
{
	mark(letter);
	iv_quit();
}

static void quit(void *cookie)
{
	(void)cookie;
	iv_quit();
}

static void nothing(void *cookie)
{
	(void)cookie;
}

/* Objects that are always due.  Most handlers record the object's letter. */
static struct iv_timer timers[3];
static struct iv_task tasks[3];
static struct iv_fd fds[3];
static int writers[3];

static void
add_timer_at(struct timespec ts, int i, char *letter, void (*handler)(void *))
{
	IV_TIMER_INIT(&timers[i]);
	timers[i].expires = ts;
	timers[i].cookie = letter;
	timers[i].handler = handler;
	iv_timer_register(&timers[i]);
}

static void add_timer(int i, char *letter, void (*handler)(void *))
{
	add_timer_at((struct timespec){ 0 }, i, letter, handler);
}

static void
add_task(int i, char *letter, void (*handler)(void *))
{
	IV_TASK_INIT(&tasks[i]);
	tasks[i].cookie = letter;
	tasks[i].handler = handler;
	iv_task_register(&tasks[i]);
}

static void add_fd(int i, char *letter, void (*handler)(void *))
{
	int fd[2];

	check(pipe(fd) == 0);
	writers[i] = fd[1];
	IV_FD_INIT(&fds[i]);
	fds[i].fd = fd[0];
	fds[i].cookie = letter;
	fds[i].handler_in = handler;
	iv_fd_register(&fds[i]);
	check_int(write(writers[i], "x", 1), 1);
}

static void remove_fd(int i)
{
	iv_fd_unregister(&fds[i]);
	close(fds[i].fd);
	close(writers[i]);
}

/* iv_init(), iv_inited(), iv_deinit(). */
static void *check_no_loop(void *arg)
{
	check_int(iv_inited(), 0);

	return arg;
}

static void *check_own_loop(void *arg)
{
	iv_init();
	check_int(iv_inited(), 1);
	iv_deinit();
	check_int(iv_inited(), 0);

	return arg;
}

static void run_thread(void *(*fn)(void *))
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, fn, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
}

static void inited_returns_whether_there_is_a_loop(void)
{
	check_int(iv_inited(), 0);
	iv_init();
	check_int(iv_inited(), 1);
	run_thread(check_no_loop);
	run_thread(check_own_loop);
	check_int(iv_inited(), 1);
	iv_deinit();
	check_int(iv_inited(), 0);
	run_thread(check_own_loop);
}

static void several_loops(void)
{
	int i;

	for (i = 0; i < 3; i++) {
		iv_init();
		add_fd(0, "f", mark_and_quit);
		add_task(0, "t", mark);
		iv_main();
		expect("tf");
		remove_fd(0);
		iv_deinit();
	}
}

static void second_init_keeps_the_loop(void)
{
	int before;

	iv_init();
	add_fd(0, "f", mark_and_quit);
	add_task(0, "t", mark);
	before = num_descriptors();
	iv_init();
	check_int(num_descriptors(), before);
	iv_main();
	expect("tf");
	remove_fd(0);
	iv_deinit();
	check_int(iv_inited(), 0);
}

static void deinit_with_objects_registered(void)
{
	struct iv_event event = { .handler = nothing };

	iv_init();
	check_int(iv_event_register(&event), 0);
	add_timer(0, "T", mark);
	add_task(0, "t", mark);
	add_fd(0, "f", mark);
	iv_deinit();

	iv_init();
	iv_main();
	expect("");
	check(fcntl(fds[0].fd, F_GETFD) >= 0);
	close(fds[0].fd);
	close(writers[0]);
	add_timer(0, "T", mark);
	add_task(0, "t", mark);
	add_fd(0, "f", mark_and_quit);
	iv_main();
	expect("Ttf");
	remove_fd(0);
	iv_deinit();
}

/* All ways in which a thread can exit while it has a loop. */
static int states_freed;

static void free_state(void *state)
{
	check(iv_inited());
	check(*(int *)state == 1);
	states_freed++;
}

static void init_state(void *state)
{
	*(int *)state = 1;
}

static struct iv_tls_user user = {
	.sizeof_state	= sizeof(int),
	.init_thread	= init_state,
	.deinit_thread	= free_state,
};

static struct iv_event kept_event;

static void init_and_register(void)
{
	iv_init();
	kept_event.handler = nothing;
	check_int(iv_event_register(&kept_event), 0);
	add_timer(0, "T", nothing);
}

static void *exit_by_return(void *arg)
{
	init_and_register();
	iv_event_unregister(&kept_event);
	iv_main();

	return arg;
}

static void exit_thread(void *cookie)
{
	pthread_exit(cookie);
}

static void *exit_in_handler(void *arg)
{
	init_and_register();
	add_task(0, "t", exit_thread);
	iv_main();

	return arg;
}

static void *exit_without_running(void *arg)
{
	init_and_register();
	pthread_exit(arg);
}

static void cancel_self(void *cookie)
{
	(void)cookie;
	pthread_cancel(pthread_self());
}

static void *cancelled_in_wait(void *arg)
{
	init_and_register();
	add_task(0, "t", cancel_self);
	iv_main();
	check_failed(__FILE__, __LINE__, "cancelled");

	return arg;
}

static void *exit_after_deinit(void *arg)
{
	init_and_register();
	iv_deinit();

	return arg;
}

static void *exit_without_loop(void *arg)
{
	pthread_exit(arg);
}

static void loop_ends_with_its_thread(void)
{
	void *(*const fns[])(void *) = {
		exit_by_return, exit_in_handler, exit_without_running,
		cancelled_in_wait, exit_after_deinit,
	};
	int before = num_descriptors();
	int i;

	iv_tls_user_register(&user);
	run_thread(exit_without_loop);
	check_int(states_freed, 0);
	for (i = 0; i < 5; i++) {
		run_thread(fns[i]);
		check_int(states_freed, i + 1);
		check_int(num_descriptors(), before);
	}
}

/* iv_main(), iv_quit(). */
static void main_returns_at_once(void)
{
	iv_init();
	iv_main();
	iv_main();
	iv_deinit();
}

static void quit_before_main(void)
{
	iv_init();
	add_task(0, "t", mark);
	add_fd(0, "f", mark_and_quit);
	iv_quit();
	iv_main();
	expect("tf");
	remove_fd(0);
	iv_deinit();
}

static void order_of_an_iteration(void)
{
	iv_init();
	add_fd(0, "f", mark_and_quit);
	add_task(0, "t", mark);
	add_timer(0, "T", mark);
	iv_main();
	expect("Ttf");
	remove_fd(0);
	iv_deinit();
}

static void add_task_by_timer(void *cookie)
{
	mark(cookie);
	add_task(0, "t", mark);
}

static void task_of_a_timer_runs_in_its_iteration(void)
{
	iv_init();
	add_fd(0, "f", mark_and_quit);
	add_timer(0, "T", add_task_by_timer);
	iv_main();
	expect("Ttf");
	remove_fd(0);
	iv_deinit();
}

static void add_task_once(void *cookie)
{
	static int again;

	mark(cookie);
	if (again++)
		iv_quit();
	else
		add_task(0, "t", mark);
}

static void task_of_a_descriptor_runs_before_a_wait(void)
{
	iv_init();
	add_fd(0, "f", add_task_once);
	iv_main();
	expect("ftf");
	remove_fd(0);
	iv_deinit();
}

static void quit_in_a_timer(void)
{
	iv_init();
	add_timer(0, "1", mark_and_quit);
	add_timer(1, "2", mark);
	add_timer(2, "3", mark);
	add_task(0, "t", mark);
	add_fd(0, "f", mark_and_quit);
	iv_main();
	expect("123t");
	iv_main();
	expect("f");
	remove_fd(0);
	iv_deinit();
}

static void mark_and_register_again(void *cookie)
{
	mark(cookie);
	iv_task_register(&tasks[2]);
}

static void quit_in_a_task(void)
{
	iv_init();
	add_task(0, "1", mark_and_quit);
	add_task(1, "2", mark);
	add_task(2, "3", mark_and_register_again);
	add_fd(0, "f", mark);
	iv_main();
	expect("123");
	check_int(iv_task_registered(&tasks[2]), 1);
	iv_task_unregister(&tasks[2]);
	remove_fd(0);
	iv_deinit();
}

static int fds_served;

static void serve_and_quit(void *cookie)
{
	mark(cookie);
	if (fds_served++ == 0) {
		iv_quit();
		add_task(0, "t", mark);
	}
}

static void quit_in_a_descriptor(void)
{
	int i;

	iv_init();
	for (i = 0; i < 3; i++)
		add_fd(i, "f", serve_and_quit);
	iv_main();
	expect("ffft");

	/* They are still ready. */
	fds_served = 0;
	iv_main();
	expect("ffft");
	for (i = 0; i < 3; i++)
		remove_fd(i);
	iv_deinit();
}

static void main_after_quit(void)
{
	iv_init();
	add_task(0, "t", quit);
	add_fd(0, "f", mark_and_quit);
	add_fd(1, "f", mark_and_quit);
	iv_main();
	expect("");
	iv_main();
	expect("ff");
	remove_fd(1);
	iv_main();
	expect("f");
	remove_fd(0);
	iv_deinit();
}

/* An object of each kind that is always due. */
static int timer_runs, task_runs, fd_runs;

static void busy_timer(void *cookie)
{
	(void)cookie;
	timer_runs++;
	iv_timer_register(&timers[0]);
}

static void busy_task(void *cookie)
{
	(void)cookie;
	task_runs++;
	iv_task_register(&tasks[0]);
}

static void busy_fd(void *cookie)
{
	(void)cookie;
	if (++fd_runs == 100)
		iv_quit();
}

/* Each iteration waits, after at most 64 rounds of timers and tasks. */
static void each_kind_runs(void)
{
	iv_init();
	add_timer(0, NULL, busy_timer);
	add_task(0, NULL, busy_task);
	add_fd(0, NULL, busy_fd);
	iv_main();
	check_int(fd_runs, 100);
	check_int(timer_runs, task_runs);
	check(timer_runs > 100);
	check(timer_runs <= 101 * 64);
	remove_fd(0);
	iv_deinit();
}

/* What keeps iv_main() from returning. */
static void still_running(int sig)
{
	(void)sig;
	_exit(0);
}

static void add_idle_fd(void)
{
	add_fd(0, NULL, NULL);
}

static void add_handled_fd(void)
{
	char c;

	add_fd(0, NULL, nothing);
	check_int(read(fds[0].fd, &c, 1), 1);
}

static void add_far_timer(void)
{
	struct timespec far = iv_now;

	far.tv_sec += 1000;
	add_timer_at(far, 0, NULL, nothing);
}

static void add_event(void)
{
	kept_event.handler = nothing;
	check_int(iv_event_register(&kept_event), 0);
}

static void add_raw_event(void)
{
	static struct iv_event_raw raw = { .handler = nothing };

	check_int(iv_event_raw_register(&raw), 0);
}

static void expect_to_keep_running(void (*add)(void))
{
	struct itimerval it = { .it_value = { .tv_usec = 30000 } };
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		signal(SIGALRM, still_running);
		iv_init();
		add();
		check(setitimer(ITIMER_REAL, &it, NULL) == 0);
		iv_main();
		_exit(1);
	}
	check_child(pid);
}

static void each_object_keeps_main_running(void)
{
	expect_to_keep_running(add_idle_fd);
	expect_to_keep_running(add_handled_fd);
	expect_to_keep_running(add_far_timer);
	expect_to_keep_running(add_event);
	expect_to_keep_running(add_raw_event);
}

static void unregister_event(void *event)
{
	iv_event_unregister(event);
}

static void unregister_raw_event(void *raw)
{
	iv_event_raw_unregister(raw);
}

static void wakeups_do_not_keep_main_running(void)
{
	struct iv_event_raw raw = {
		.cookie = &raw, .handler = unregister_raw_event,
	};

	iv_init();
	kept_event.cookie = &kept_event;
	kept_event.handler = unregister_event;
	check_int(iv_event_register(&kept_event), 0);
	iv_event_post(&kept_event);
	iv_main();

	check_int(iv_event_raw_register(&raw), 0);
	iv_event_raw_post(&raw);
	iv_main();
	iv_deinit();
}

static int iterations;

static void unregister_in_tenth_call(void *cookie)
{
	(void)cookie;
	if (++iterations < 10)
		return;
	iv_timer_unregister(&timers[0]);
	remove_fd(0);
}

static void timerfd_does_not_keep_main_running(void)
{
	iv_init();
	add_far_timer();
	add_fd(0, NULL, unregister_in_tenth_call);
	iv_main();
	check_int(iterations, 10);
	iv_deinit();
}

/* Nested calls of iv_main(). */
static void inner_main(void *cookie)
{
	mark(cookie);
	iv_main();
	mark(cookie);
}

static void main_in_a_task(void)
{
	iv_init();
	add_fd(0, "f", mark_and_quit);
	add_task(0, "<", inner_main);
	iv_main();
	expect("<f<");

	/* One iv_quit() ended both. */
	iv_main();
	expect("f");
	remove_fd(0);
	iv_deinit();
}

static void main_in_a_timer(void)
{
	iv_init();
	add_timer(0, "<", inner_main);
	add_timer(1, "2", mark);
	add_timer(2, "3", mark);
	add_task(0, "t", mark_and_quit);
	iv_main();
	check_int(trace[0], '<');
	check(strchr(trace, '2') != NULL && strchr(trace, '3') != NULL);
	check(strchr(trace, '2') == strrchr(trace, '2'));
	check(strchr(trace, '3') == strrchr(trace, '3'));
	iv_deinit();
}

/* Signals. */
static volatile sig_atomic_t signals;

static void interrupted(int sig)
{
	(void)sig;
	signals++;
}

/* Another process sends signals to this one all the time. */
static pid_t start_interrupting(void)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	check(pid >= 0);
	while (pid == 0 && getppid() == parent) {
		kill(parent, SIGUSR1);
		usleep(2000);
	}
	if (pid == 0)
		_exit(0);

	return pid;
}

static void add_timer_in_100_ms(void *cookie)
{
	struct timespec soon = iv_now;

	/* Go on until five signals have arrived. */
	if (cookie != NULL && signals >= 5) {
		iv_quit();
		return;
	}
	soon.tv_nsec += 100000000;
	add_timer_at(soon, 0, "T", add_timer_in_100_ms);
}

static void wait_with_signals(int flags)
{
	struct sigaction sa = { .sa_handler = interrupted, .sa_flags = flags };
	long begin = now_ms();
	pid_t pid;

	check(sigaction(SIGUSR1, &sa, NULL) == 0);
	signals = 0;
	pid = start_interrupting();
	iv_invalidate_now();
	add_timer_in_100_ms(NULL);
	iv_main();
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
	check(now_ms() - begin >= 99);
	check(signals >= 5);
}

static void signals_do_not_end_the_loop(void)
{
	iv_init();
	add_idle_fd();
	wait_with_signals(0);
	wait_with_signals(SA_RESTART);
	remove_fd(0);
	iv_deinit();
}

/* Threads. */
#define LOOPS		10
#define CROWD	50

struct crowd {
	struct iv_fd	fd[CROWD];
	int		writer[CROWD];
	int		served;
};

static void serve_crowd(void *_fd)
{
	struct iv_fd *fd = _fd;
	char c;

	check_int(read(fd->fd, &c, 1), 1);
	iv_fd_unregister(fd);
	close(fd->fd);
}

static void *run_crowd(void *_c)
{
	struct crowd *c = _c;
	int fd[2];
	int i;

	iv_init();
	for (i = 0; i < CROWD; i++) {
		check(pipe(fd) == 0);
		c->writer[i] = fd[1];
		IV_FD_INIT(&c->fd[i]);
		c->fd[i].fd = fd[0];
		c->fd[i].cookie = &c->fd[i];
		c->fd[i].handler_in = serve_crowd;
		iv_fd_register(&c->fd[i]);
		check_int(write(fd[1], "x", 1), 1);
	}
	iv_main();
	for (i = 0; i < CROWD; i++)
		close(c->writer[i]);
	c->served = 1;

	return NULL;
}

static void ten_loops(void)
{
	static struct crowd crowds[LOOPS];
	pthread_t threads[LOOPS];
	int i;

	iv_init();
	for (i = 0; i < LOOPS; i++)
		check_int(pthread_create(&threads[i], NULL, run_crowd,
					 &crowds[i]), 0);
	for (i = 0; i < LOOPS; i++) {
		check_int(pthread_join(threads[i], NULL), 0);
		check_int(crowds[i].served, 1);
	}
	iv_deinit();
}

static void *check_another_id(void *_id)
{
#ifdef HAVE_GETTID
	check(iv_get_thread_id() == (unsigned long)gettid());
#endif
	check(iv_get_thread_id() != *(unsigned long *)_id);

	return NULL;
}

static void thread_id_is_the_kernels(void)
{
	unsigned long id = iv_get_thread_id();
	pthread_t thread;
	pid_t pid;

#ifndef HAVE_GETTID
	skip("the library was built without gettid(2)");
#endif
	check(id == (unsigned long)getpid());
	check_int(pthread_create(&thread, NULL, check_another_id, &id), 0);
	check_int(pthread_join(thread, NULL), 0);

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_another_id(&id);
		check(iv_get_thread_id() == (unsigned long)getpid());
		_exit(0);
	}
	check_child(pid);
}

static void *check_name(void *name)
{
	check(iv_poll_method_name() == name);

	return NULL;
}

static void method_has_a_name(void)
{
	const char *name;
	pthread_t thread;

	check(iv_poll_method_name() == NULL);
	iv_init();
	name = iv_poll_method_name();
	check(name != NULL);
	check_int(pthread_create(&thread, NULL, check_name, (void *)name),
		  0);
	check_int(pthread_join(thread, NULL), 0);
	iv_deinit();
	check(iv_poll_method_name() == name);
}

static const struct check_case cases[] = {
	{ "iv_inited returns whether the calling thread has a loop",
	  inited_returns_whether_there_is_a_loop, EACH_METHOD, 0 },
	{ "a thread may have several loops, one after another",
	  several_loops, EACH_METHOD, 0 },
	{ "a second iv_init keeps the loop and its objects",
	  second_init_keeps_the_loop, EACH_METHOD, 0 },
	{ "iv_deinit forgets registered objects, and closes its descriptors",
	  deinit_with_objects_registered, EACH, 0 },
	{ "the loop ends with its thread, however that exits",
	  loop_ends_with_its_thread, EACH, 0 },
	{ "iv_main returns at once if nothing is registered",
	  main_returns_at_once, EACH_METHOD, 0 },
	{ "iv_quit before iv_main has no effect",
	  quit_before_main, EACH_METHOD, 0 },
	{ "an iteration runs timers, then tasks, then descriptors",
	  order_of_an_iteration, EACH_METHOD, 0 },
	{ "a task registered by a timer runs in the same iteration",
	  task_of_a_timer_runs_in_its_iteration, EACH_METHOD, 0 },
	{ "a task registered by a descriptor runs before the next wait",
	  task_of_a_descriptor_runs_before_a_wait, EACH_METHOD, 0 },
	{ "after iv_quit in a timer, timers and tasks run, and no descriptors",
	  quit_in_a_timer, EACH_METHOD, 0 },
	{ "after iv_quit in a task, tasks of the round run, and no others",
	  quit_in_a_task, EACH_METHOD, 0 },
	{ "after iv_quit in a descriptor, other ready ones and tasks run",
	  quit_in_a_descriptor, EACH_METHOD, 0 },
	{ "after iv_quit, iv_main may be called again",
	  main_after_quit, EACH_METHOD, 0 },
	{ "timers, tasks and descriptors that are always due share the loop",
	  each_kind_runs, EACH_METHOD, 0 },
	{ "each kind of object keeps iv_main from returning",
	  each_object_keeps_main_running, EACH, 0 },
	{ "the library's own descriptors do not keep iv_main from returning",
	  wakeups_do_not_keep_main_running, EACH, 0 },
	{ "a timer descriptor in use does not keep iv_main from returning",
	  timerfd_does_not_keep_main_running, EACH_METHOD, 0 },
	{ "iv_quit ends an iv_main in a task, and the one that ran it",
	  main_in_a_task, EACH_METHOD, 0 },
	{ "iv_main in a timer neither loses nor repeats other timers",
	  main_in_a_timer, EACH_METHOD, 0 },
	{ "signals end no loop, and no timer is early",
	  signals_do_not_end_the_loop, EACH_METHOD, 0 },
	{ "ten threads run loops at the same time",
	  ten_loops, EACH_METHOD, 0 },
	{ "the thread ID is the kernel's, even after fork",
	  thread_id_is_the_kernels, ONCE, 0 },
	{ "the name of the poll method is NULL before iv_init, then constant",
	  method_has_a_name, EACH_METHOD, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: a loop that runs one iteration at a time, by iv_main_once().
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"
#include "trace.h"

#define TIME_MAX	((time_t)(sizeof(time_t) == 8 ? INT64_MAX : INT32_MAX))

static const struct timespec at_once;
static const struct timespec an_hour = { .tv_sec = 3600 };

static struct iv_timer timer;
static struct iv_task task, other_task;
static struct iv_fd readable;
static int write_end;
static struct iv_event event;
static struct iv_event_raw raw;

static void add_timer(struct iv_timer *t, unsigned long ms, char *letter,
		      void (*handler)(void *))
{
	IV_TIMER_INIT(t);
	t->cookie = letter;
	t->handler = handler;
	iv_timer_register_in_ms(t, ms);
}

static void add_task(struct iv_task *t, char *letter, void (*handler)(void *))
{
	IV_TASK_INIT(t);
	t->cookie = letter;
	t->handler = handler;
	iv_task_register(t);
}

/* The descriptor is not ready before make_readable(). */
static void add_fd(char *letter, void (*handler)(void *))
{
	int fd[2];

	check_int(pipe(fd), 0);
	write_end = fd[1];
	IV_FD_INIT(&readable);
	readable.fd = fd[0];
	readable.cookie = letter;
	readable.handler_in = handler;
	iv_fd_register(&readable);
}

static void make_readable(void)
{
	check_int(write(write_end, "x", 1), 1);
}

static void remove_fd(void)
{
	iv_fd_unregister(&readable);
	close(readable.fd);
	close(write_end);
}

static void add_events(char *event_letter, char *raw_letter,
		       void (*handler)(void *))
{
	IV_EVENT_INIT(&event);
	event.cookie = event_letter;
	event.handler = handler;
	check_int(iv_event_register(&event), 0);
	IV_EVENT_RAW_INIT(&raw);
	raw.cookie = raw_letter;
	raw.handler = handler;
	check_int(iv_event_raw_register(&raw), 0);
}

static void remove_events(void)
{
	iv_event_unregister(&event);
	iv_event_raw_unregister(&raw);
}

static void run_thread(void *(*fn)(void *))
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, fn, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
}

static void *post_both(void *unused)
{
	iv_event_post(&event);
	iv_event_raw_post(&raw);

	return unused;
}


static void returns_zero_without_objects(void)
{
	iv_init();
	check_int(iv_main_once(&at_once), 0);
	check_int(iv_main_once(NULL), 0);

	/* Nothing is registered once the task has run. */
	add_task(&task, "t", mark);
	check_int(iv_main_once(NULL), 0);
	expect("t");
	iv_deinit();
}

static void serves_each_kind_in_order(void)
{
	iv_init();
	add_events("e", "r", mark);
	add_fd("f", mark);
	add_task(&task, "t", mark);
	add_timer(&timer, 0, "i", mark);
	make_readable();
	run_thread(post_both);

	check_int(iv_main_once(NULL), 1);
	expect("itefr");
	remove_fd();
	check_int(iv_main_once(&at_once), 1);
	expect("");
	remove_events();
	check_int(iv_main_once(NULL), 0);
	iv_deinit();
}

/* If they waited, the first would never end. */
static void no_timeout_no_wait(void)
{
	static const struct timespec not_positive[] = {
		{ 0, 0 }, { -1, 0 }, { -1, 999999999 }, { 0, -1 },
		{ 1, -1000000000 }, { 1, -1000000001 }, { -1, 1000000000 },
	};
	size_t i;

	iv_init();
	add_events("e", "r", mark);
	for (i = 0; i < sizeof(not_positive) / sizeof(at_once); i++)
		check_int(iv_main_once(&not_positive[i]), 1);
	expect("");
	remove_events();
	iv_deinit();
}

static void timeout_is_waited_for(void)
{
	static const struct timespec ms_30[] = {
		{ 0, 30000000 }, { -1, 1030000000 }, { 1, -970000000 },
	};
	size_t i;

	iv_init();
	add_events("e", "r", mark);
	for (i = 0; i < 3; i++) {
		long begin = now_ms();

		check_int(iv_main_once(&ms_30[i]), 1);
		check(now_ms() - begin >= 29);
	}
	expect("");
	remove_events();
	iv_deinit();
}

static void *post_later(void *unused)
{
	usleep(20000);

	return post_both(unused);
}

/* Added to the current time, all but one of these overflow. */
static void posts_end_the_longest_wait(void)
{
	static const struct timespec longest[] = {
		{ TIME_MAX, 999999999 }, { TIME_MAX, LONG_MAX },
		{ TIME_MAX / 2, 0 }, { TIME_MAX - 1, 0 },
	};
	pthread_t thread;
	size_t i;

	iv_init();
	add_events("e", "r", mark);
	for (i = 0; i < 5; i++) {
		check_int(pthread_create(&thread, NULL, post_later, NULL), 0);
		while (strlen(trace) < 2)
			check_int(iv_main_once(i < 4 ? &longest[i] : NULL), 1);
		check_int(pthread_join(thread, NULL), 0);
		memset(trace, 0, sizeof(trace));
	}
	remove_events();
	iv_deinit();
}

static void timer_ends_the_wait(void)
{
	iv_init();
	add_fd("f", mark);
	add_timer(&timer, 20, "i", mark);
	check_int(iv_main_once(&an_hour), 1);
	expect("");
	check_int(iv_main_once(&at_once), 1);
	expect("i");

	/* The timeout ends the wait before a later timer. */
	add_timer(&timer, 3600000, "i", mark);
	check_int(iv_main_once(&(struct timespec){ 0, 20000000 }), 1);
	expect("");
	iv_timer_unregister(&timer);
	remove_fd();
	iv_deinit();
}

static void register_timer(void *letter)
{
	mark(letter);
	add_timer(&timer, 20, "i", mark);
}

static void timer_of_a_handler_ends_the_wait(void)
{
	iv_init();
	add_fd("f", register_timer);
	make_readable();
	check_int(iv_main_once(NULL), 1);
	expect("f");
	iv_fd_set_handler_in(&readable, NULL);
	check_int(iv_main_once(NULL), 1);
	expect("");
	check_int(iv_main_once(NULL), 1);
	expect("i");
	remove_fd();
	iv_deinit();
}

/* The handler may have done what the caller waits for. */
static void no_wait_after_a_handler(void)
{
	iv_init();
	add_fd("f", mark);
	add_events("e", "r", mark);
	add_task(&task, "t", mark);
	check_int(iv_main_once(NULL), 1);
	expect("t");
	add_timer(&timer, 0, "i", mark);
	check_int(iv_main_once(&an_hour), 1);
	expect("i");
	iv_event_post(&event);
	check_int(iv_main_once(NULL), 1);
	expect("e");
	iv_event_raw_post(&raw);
	check_int(iv_main_once(NULL), 1);
	expect("r");
	remove_events();
	remove_fd();
	iv_deinit();
}

/* iv_now is read between the iterations, long before the second one. */
static void time_between_iterations(void)
{
	struct timespec before;

	iv_init();
	add_fd("f", mark);
	add_timer(&timer, 20, "i", mark);
	check_int(iv_main_once(&at_once), 1);
	before = iv_now;
	usleep(30000);
	check_int(iv_main_once(&at_once), 1);
	expect("i");
	check(iv_now.tv_sec > before.tv_sec ||
	      iv_now.tv_nsec > before.tv_nsec);
	remove_fd();
	iv_deinit();
}

static atomic_int signals;

static void count_signal(int unused)
{
	(void)unused;
	signals++;
}

static void signals_do_not_end_the_wait(void)
{
	static const struct timespec ms_50 = { .tv_nsec = 50000000 };
	const struct itimerval each_ms = { { 0, 1000 }, { 0, 1000 } };
	const struct itimerval none = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = count_signal };
	long begin;

	iv_init();
	add_fd("f", mark);
	check_int(sigaction(SIGALRM, &sa, NULL), 0);
	check_int(setitimer(ITIMER_REAL, &each_ms, NULL), 0);

	begin = now_ms();
	check_int(iv_main_once(&ms_50), 1);
	check(now_ms() - begin >= 49);
	add_timer(&timer, 50, "i", mark);
	check_int(iv_main_once(NULL), 1);
	check_int(iv_main_once(&at_once), 1);
	expect("i");

	check_int(setitimer(ITIMER_REAL, &none, NULL), 0);
	check(signals > 0);
	remove_fd();
	iv_deinit();
}

static void mark_and_quit(void *letter)
{
	mark(letter);
	iv_quit();
}

static void quit_in_an_iteration(void)
{
	iv_init();
	add_fd("f", mark_and_quit);

	/* Called before the wait, which would not end. */
	add_task(&task, "q", mark_and_quit);
	add_task(&other_task, "t", mark);
	check_int(iv_main_once(NULL), 0);
	expect("qt");

	/* Between two iterations it has no effect. */
	iv_quit();
	check_int(iv_main_once(&at_once), 1);

	make_readable();
	add_events("e", "r", mark);
	iv_event_raw_post(&raw);
	check_int(iv_main_once(NULL), 0);
	expect("fr");
	remove_events();
	remove_fd();
	iv_deinit();
}

static void quit_and_iterate(void *letter)
{
	mark(letter);
	iv_quit();
	add_task(&other_task, "t", mark);
	check_int(iv_main_once(&at_once), 1);
}

static void iterate_and_quit(void *letter)
{
	mark(letter);
	add_task(&other_task, "q", mark_and_quit);
	check_int(iv_main_once(NULL), 0);
}

/* If either iv_quit() were lost, iv_main() would not return. */
static void iteration_in_a_handler(void)
{
	iv_init();
	add_fd("f", mark);
	add_task(&task, "o", quit_and_iterate);
	iv_main();
	expect("ot");
	add_task(&task, "o", iterate_and_quit);
	iv_main();
	expect("oq");
	remove_fd();
	iv_deinit();
}

static jmp_buf in_handler;

static void jump(void *letter)
{
	mark(letter);
	longjmp(in_handler, 1);
}

static void quit_and_leave_iteration(void *letter)
{
	mark(letter);
	iv_quit();
	add_task(&other_task, "j", jump);
	if (setjmp(in_handler) == 0)
		(void)iv_main_once(&at_once);
}

/* If the iv_quit() were lost, iv_main() would not return. */
static void iteration_may_be_left(void)
{
	iv_init();
	add_fd("f", mark);
	add_task(&task, "o", quit_and_leave_iteration);
	iv_main();
	expect("oj");
	remove_fd();
	iv_deinit();
}

static void read_and_quit(void *letter)
{
	char c;

	check_int(read(readable.fd, &c, 1), 1);
	mark_and_quit(letter);
}

static void alternates_with_main(void)
{
	int i;

	iv_init();
	add_fd("f", read_and_quit);
	add_events("e", "r", mark_and_quit);
	for (i = 0; i < 3; i++) {
		make_readable();
		check_int(iv_main_once(NULL), 0);
		make_readable();
		iv_main();
		expect("ff");
		run_thread(post_both);
		check_int(iv_main_once(NULL), 0);
		run_thread(post_both);
		iv_main();
		expect("erer");
	}
	remove_events();
	remove_fd();
	iv_deinit();
}

static int task_runs, fd_runs;

static void register_again(void *unused)
{
	(void)unused;
	task_runs++;
	iv_task_register(&task);
}

static void count_fd(void *unused)
{
	(void)unused;
	fd_runs++;
}

/* A task that is always queued does not let the loop skip waits. */
static void each_iteration_asks_the_kernel(void)
{
	int i;

	iv_init();
	add_fd(NULL, count_fd);
	make_readable();
	add_task(&task, NULL, register_again);
	for (i = 0; i < 100; i++)
		check_int(iv_main_once(NULL), 1);
	check_int(task_runs, 100);
	check_int(fd_runs, 100);
	iv_task_unregister(&task);
	remove_fd();
	iv_deinit();
}

static void polls_until_the_timeout(void)
{
	static const struct timespec ms_20 = { .tv_nsec = 20000000 };
	pthread_t thread;
	long begin;
	int i;

	iv_init();
	add_events("e", "r", mark);
	iv_set_busy_poll(1000000);
	for (i = 0; i < 10; i++) {
		begin = now_ms();
		check_int(iv_main_once(&ms_20), 1);
		check(now_ms() - begin >= 19);
		check_int(iv_main_once(&at_once), 1);
	}
	expect("");
	check_int(pthread_create(&thread, NULL, post_later, NULL), 0);
	while (strlen(trace) < 2)
		check_int(iv_main_once(NULL), 1);
	check_int(pthread_join(thread, NULL), 0);
	remove_events();
	iv_deinit();
}

static void nothing(void *unused)
{
	(void)unused;
}

static atomic_int is_over;

static void *keep_posting(void *unused)
{
	volatile int i;

	while (!is_over) {
		iv_event_raw_post(&raw);
		for (i = 0; i < 300; i++)
			;
	}

	return unused;
}

/* A post may end the polling before the kernel was asked. */
static void each_busy_polling_iteration_asks_the_kernel(void)
{
	pthread_t thread;
	int i;

	iv_init();
	add_fd(NULL, count_fd);
	make_readable();
	add_events(NULL, NULL, nothing);
	iv_set_busy_poll(1000);
	check_int(pthread_create(&thread, NULL, keep_posting, NULL), 0);
	for (i = 1; i <= 10000; i++) {
		check_int(iv_main_once(&an_hour), 1);
		check_int(fd_runs, i);
	}
	is_over = 1;
	check_int(pthread_join(thread, NULL), 0);
	remove_events();
	remove_fd();
	iv_deinit();
}

static void *post_event(void *unused)
{
	iv_event_post(&event);

	return unused;
}

/* Run iterations until an event posted here and the timer were called. */
static void iterate_until_called(void)
{
	memset(trace, 0, sizeof(trace));
	run_thread(post_event);
	while (strlen(trace) < 2)
		check_int(iv_main_once(NULL), 1);
	check(strchr(trace, 'e') != NULL);
	check(strchr(trace, 'i') != NULL);
}

static void fork_and_iterate(void)
{
	pid_t pid;

	add_timer(&timer, 10, "i", mark);
	pid = fork();
	check(pid >= 0);
	iterate_until_called();
	remove_events();
	if (pid == 0) {
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
}

static void child_goes_on_between_iterations(void)
{
	need_threads_of_child();
	iv_init();
	add_events("e", "r", mark);
	check_int(iv_main_once(&at_once), 1);
	fork_and_iterate();
	iv_deinit();
}

static pid_t child;

static void fork_here(void *unused)
{
	(void)unused;
	child = fork();
	check(child >= 0);
}

static void child_goes_on_in_an_iteration(void)
{
	need_threads_of_child();
	iv_init();
	add_events("e", "r", mark);
	add_task(&task, NULL, fork_here);
	add_timer(&timer, 10, "i", mark);
	check_int(iv_main_once(&at_once), 1);
	iterate_until_called();
	remove_events();
	iv_deinit();
	if (child == 0)
		_exit(0);
	check_child(child);
}

static void deinit(void *unused)
{
	(void)unused;
	iv_deinit();
}

static void deinit_and_return(void)
{
	iv_init();
	add_task(&task, NULL, deinit);
	(void)iv_main_once(&at_once);
}

static void without_a_loop(void)
{
	(void)iv_main_once(&at_once);
}

static void misuse_is_fatal(void)
{
	check_fatal(without_a_loop, "iv_main_once: this thread has no loop");
	check_fatal(deinit_and_return, "iv_deinit: called inside iv_main");
}

static const struct check_case cases[] = {
	{ "an iteration returns 0 if nothing is registered at its end",
	  returns_zero_without_objects, EACH_METHOD, 0 },
	{ "an iteration runs timers, tasks, events, descriptors, raw events",
	  serves_each_kind_in_order, EACH, 0 },
	{ "an iteration does not wait if the timeout is 0 or less",
	  no_timeout_no_wait, EACH, 0 },
	{ "an iteration waits for its timeout, even if it is not normalised",
	  timeout_is_waited_for, EACH_METHOD, 0 },
	{ "posts end the longest possible wait",
	  posts_end_the_longest_wait, EACH, 0 },
	{ "a timer ends the wait, and runs in the next iteration",
	  timer_ends_the_wait, EACH_METHOD, 0 },
	{ "a timer that a handler registers ends the wait",
	  timer_of_a_handler_ends_the_wait, EACH_METHOD, 0 },
	{ "an iteration does not wait if a handler ran before the wait",
	  no_wait_after_a_handler, EACH, 0 },
	{ "timers and iv_now notice the time between two iterations",
	  time_between_iterations, EACH_METHOD, 0 },
	{ "signals do not end the wait",
	  signals_do_not_end_the_wait, EACH_METHOD, 0 },
	{ "after iv_quit an iteration returns 0 when all that was due has run",
	  quit_in_an_iteration, EACH, 0 },
	{ "an iteration in a handler keeps an earlier iv_quit, or adds one",
	  iteration_in_a_handler, EACH_METHOD, 0 },
	{ "an earlier iv_quit is kept if a handler jumps out of an iteration",
	  iteration_may_be_left, EACH_METHOD, 0 },
	{ "iv_main_once and iv_main may alternate",
	  alternates_with_main, EACH, 0 },
	{ "each iteration asks the kernel",
	  each_iteration_asks_the_kernel, EACH_METHOD, 0 },
	{ "busy polling ends with the timeout, and with a post",
	  polls_until_the_timeout, EACH_METHOD, 0 },
	{ "each iteration asks the kernel, even if a post ends busy polling",
	  each_busy_polling_iteration_asks_the_kernel, EACH, 60 },
	{ "a child that was forked between two iterations goes on",
	  child_goes_on_between_iterations, EACH, 0 },
	{ "a child that was forked in an iteration goes on",
	  child_goes_on_in_an_iteration, EACH, 0 },
	{ "misuse is fatal",
	  misuse_is_fatal, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: a loop that is embedded in another one, which is poll(2) here.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"
#include "trace.h"

static const struct timespec at_once;

static int loop_fd;

/* Returns 0 if the poll method has no descriptor, after checking for ENOSYS. */
static int begin(void)
{
	iv_init();
	if (!variant_is_epoll()) {
		check_errno(iv_loop_fd(), ENOSYS);
		iv_deinit();
		return 0;
	}
	errno = 4711;
	loop_fd = iv_loop_fd();
	check(loop_fd >= 0);
	check_int(errno, 4711);

	return 1;
}

static int is_readable_in(int ms)
{
	struct pollfd pfd = { .fd = loop_fd, .events = POLLIN };
	int ret = poll(&pfd, 1, ms);

	check(ret == 0 || (ret == 1 && pfd.revents == POLLIN));

	return ret;
}

static void iterate(void)
{
	check_int(is_readable_in(-1), 1);
	(void)iv_main_once(&at_once);
}

/* Run an iteration, after which nothing is due any more. */
static void iterate_and_expect(const char *want)
{
	iterate();
	expect(want);
	check_int(is_readable_in(0), 0);
}

static struct iv_timer timer, early_timer;
static struct iv_task task;
static struct iv_event event;
static struct iv_event_raw raw;
static struct iv_fd readable;
static int write_end;

static void add_timer(struct iv_timer *t, unsigned long ms, char *letter)
{
	IV_TIMER_INIT(t);
	t->cookie = letter;
	t->handler = mark;
	iv_timer_register_in_ms(t, ms);
}

static void add_task(char *letter, void (*handler)(void *))
{
	IV_TASK_INIT(&task);
	task.cookie = letter;
	task.handler = handler;
	iv_task_register(&task);
}

static void add_event(void)
{
	IV_EVENT_INIT(&event);
	event.cookie = "e";
	event.handler = mark;
	check_int(iv_event_register(&event), 0);
}

static void add_raw(void)
{
	IV_EVENT_RAW_INIT(&raw);
	raw.cookie = "r";
	raw.handler = mark;
	check_int(iv_event_raw_register(&raw), 0);
}

static void mark_and_read(void *letter)
{
	char c;

	check_int(read(readable.fd, &c, 1), 1);
	mark(letter);
}

static void add_fd(void)
{
	int fd[2];

	check_int(pipe(fd), 0);
	write_end = fd[1];
	IV_FD_INIT(&readable);
	readable.fd = fd[0];
	readable.cookie = "f";
	readable.handler_in = mark_and_read;
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

static void run_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, fn, arg), 0);
	check_int(pthread_join(thread, NULL), 0);
}

static void *post_event(void *unused)
{
	iv_event_post(&event);

	return unused;
}

static void *post_raw(void *unused)
{
	iv_event_raw_post(&raw);

	return unused;
}


static void one_descriptor(void)
{
	if (!begin())
		return;
	check_int(fcntl(loop_fd, F_GETFD), FD_CLOEXEC);
	check(loop_fd > STDERR_FILENO);
	check_int(is_readable_in(0), 0);
	check_int(iv_loop_fd(), loop_fd);
	check_int(iv_main_once(&at_once), 0);
	check_int(iv_loop_fd(), loop_fd);
	iv_deinit();
	check_errno(fcntl(loop_fd, F_GETFD), EBADF);

	/* The thread's next loop is not embedded. */
	iv_init();
	add_task("t", mark);
	iv_main();
	expect("t");
	iv_deinit();
}

/* Each step is taken by the other loop, or by a handler of this one. */
static void (*current_step)(void);

static void take_step(void *unused)
{
	(void)unused;
	current_step();
}

static void by_other_loop(void (*fn)(void))
{
	fn();
}

static void by_handler(void (*fn)(void))
{
	static struct iv_task doer;

	current_step = fn;
	IV_TASK_INIT(&doer);
	doer.handler = take_step;
	iv_task_register(&doer);
	iterate();
}

static void register_task(void)
{
	add_task("t", mark);
}

static void add_late_timer(void)
{
	add_timer(&timer, 3600000, "i");
}

static void add_early_timer(void)
{
	add_timer(&early_timer, 20, "j");
}

static void add_due_timer(void)
{
	IV_TIMER_INIT(&timer);
	timer.cookie = "i";
	timer.handler = mark;
	timer.expires = (struct timespec){ 0 };
	iv_timer_register(&timer);
}

static void set_no_handler(void)
{
	iv_fd_set_handler_in(&readable, NULL);
}

static void set_handler(void)
{
	iv_fd_set_handler_in(&readable, mark_and_read);
}

static void post_own_event(void)
{
	iv_event_post(&event);
}

static void post_own_raw(void)
{
	iv_event_raw_post(&raw);
}

static void adopt_posted(void)
{
	check_int(iv_event_raw_prepare(&raw), 0);
	raw.cookie = "r";
	raw.handler = mark;
	iv_event_raw_post(&raw);
	check_int(iv_event_raw_adopt(&raw), 0);
}

static void adopt_unposted(void)
{
	check_int(iv_event_raw_prepare(&raw), 0);
	raw.cookie = "r";
	raw.handler = mark;
	check_int(iv_event_raw_adopt(&raw), 0);
}

static void tasks_and_timers_are_noticed(void (*where)(void (*)(void)))
{
	where(register_task);
	iterate_and_expect("t");

	where(add_late_timer);
	check_int(is_readable_in(0), 0);
	where(add_early_timer);
	iterate_and_expect("j");
	iv_timer_unregister(&timer);
	where(add_due_timer);
	iterate_and_expect("i");
}

/* What a step of a handler makes ready is served in the same iteration. */
static void expect_in_step(void (*where)(void (*)(void)), const char *want)
{
	if (where == by_other_loop)
		iterate_and_expect(want);
	else
		expect(want);
}

static void descriptors_are_noticed(void (*where)(void (*)(void)))
{
	where(add_fd);
	check_int(is_readable_in(0), 0);
	make_readable();
	iterate_and_expect("f");
	where(set_no_handler);
	make_readable();
	check_int(is_readable_in(0), 0);
	where(set_handler);
	expect_in_step(where, "f");
	remove_fd();
}

static void posts_are_noticed(void (*where)(void (*)(void)))
{
	where(add_event);
	check_int(is_readable_in(0), 0);
	run_thread(post_event, NULL);
	iterate_and_expect("e");
	where(post_own_event);
	expect_in_step(where, "e");
	iv_event_unregister(&event);

	where(add_raw);
	check_int(is_readable_in(0), 0);
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	where(post_own_raw);
	expect_in_step(where, "r");
	iv_event_raw_unregister(&raw);

	where(adopt_posted);
	expect_in_step(where, "r");
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	iv_event_raw_unregister(&raw);
	where(adopt_unposted);
	check_int(is_readable_in(0), 0);
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	iv_event_raw_unregister(&raw);
}

static void all_are_noticed(void (*where)(void (*)(void)))
{
	if (!begin())
		return;
	tasks_and_timers_are_noticed(where);
	descriptors_are_noticed(where);
	posts_are_noticed(where);
	check_int(is_readable_in(0), 0);
	iv_deinit();
}

static void steps_between_iterations(void)
{
	all_are_noticed(by_other_loop);
}

static void steps_in_an_iteration(void)
{
	all_are_noticed(by_handler);
}

static int rounds;

static void post_again(void *unused)
{
	(void)unused;
	if (++rounds < 100)
		iv_event_raw_post(&raw);
}

static void task_again(void *unused)
{
	(void)unused;
	if (++rounds < 100)
		iv_task_register(&task);
}

static void remove_event(void)
{
	iv_event_unregister(&event);
}

static struct iv_event_raw first_raw;

static void add_first_raw(void)
{
	IV_EVENT_RAW_INIT(&first_raw);
	first_raw.handler = mark;
	check_int(iv_event_raw_register(&first_raw), 0);
}

static void *post_first_raw(void *unused)
{
	iv_event_raw_post(&first_raw);

	return unused;
}

static void remove_first_raw(void)
{
	iv_event_raw_unregister(&first_raw);
}

static void second_post_is_kept(void (*add_first)(void),
				void *(*post_first)(void *),
				void (*remove_first)(void))
{
	add_first();
	run_thread(post_first, NULL);
	run_thread(post_raw, NULL);
	remove_first();
	iterate_and_expect("r");
}

/* The second post has not rung, and the doorbell of the first is closed. */
static void keeps_posts_of_others(void)
{
	if (!begin())
		return;
	add_raw();
	second_post_is_kept(add_first_raw, post_first_raw, remove_first_raw);
	second_post_is_kept(add_event, post_event, remove_event);
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

/* Each post, and each task, needs an iteration. */
static void handlers_that_go_on(void)
{
	if (!begin())
		return;
	add_raw();
	raw.handler = post_again;
	iv_event_raw_post(&raw);
	while (rounds < 100)
		iterate();
	check_int(is_readable_in(0), 0);
	iv_event_raw_unregister(&raw);

	rounds = 0;
	add_task(NULL, task_again);
	while (rounds < 100)
		iterate();
	check_int(is_readable_in(0), 0);
	iv_deinit();
}

static void quit(void *letter)
{
	mark(letter);
	iv_quit();
}

static void iterate_inside(void *letter)
{
	mark(letter);
	iv_event_raw_post(&raw);
	check_int(iv_main_once(&at_once), 1);
}

static void other_ways_to_run(void)
{
	if (!begin())
		return;
	add_raw();
	add_event();
	add_task("q", quit);
	iv_main();
	expect("q");
	check_int(is_readable_in(0), 0);
	run_thread(post_event, NULL);
	iterate_and_expect("e");

	/* An iteration inside an iteration. */
	add_task("t", iterate_inside);
	iterate_and_expect("tr");
	run_thread(post_raw, NULL);
	iterate_and_expect("r");

	/* An iteration that waits for a timer, though the other loop could. */
	add_timer(&timer, 30, "i");
	check_int(iv_main_once(NULL), 1);
	check_int(iv_main_once(&at_once), 1);
	expect("i");
	check_int(is_readable_in(0), 0);
	iv_event_unregister(&event);
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

static void clock_between_iterations(void)
{
	struct timespec before;

	if (!begin())
		return;
	add_late_timer();
	before = iv_now;
	usleep(2000);
	check(before.tv_sec != iv_now.tv_sec ||
	      before.tv_nsec != iv_now.tv_nsec);
	iv_timer_unregister(&timer);
	iv_deinit();
}

static void iterate_in_a_handler(void *unused)
{
	(void)unused;
	check_int(iv_main_once(&at_once), 1);
	make_readable();
}

static void ask_again_in_a_handler(void *unused)
{
	(void)unused;
	check_int(iv_loop_fd(), loop_fd);
	make_readable();
}

static void expect_constant_time(void *letter)
{
	struct timespec before = iv_now;

	usleep(2000);
	check_int(iv_now.tv_sec, before.tv_sec);
	check_int(iv_now.tv_nsec, before.tv_nsec);
	mark_and_read(letter);
	iv_quit();
}

/* The loop is not in the other one's wait until iv_main() has returned. */
static void main_goes_on(void)
{
	if (!begin())
		return;
	add_fd();
	iv_fd_set_handler_in(&readable, expect_constant_time);
	add_task(NULL, iterate_in_a_handler);
	iv_main();
	expect("f");
	add_task(NULL, ask_again_in_a_handler);
	iv_main();
	expect("f");
	check_int(is_readable_in(0), 0);
	make_readable();
	iterate_and_expect("f");
	remove_fd();
	iv_deinit();
}

/* A handler jumps out of an iteration while another task is queued. */
static jmp_buf outside;

static void jump_out(void *letter)
{
	mark(letter);
	longjmp(outside, 1);
}

static void handler_may_jump_out(void)
{
	static struct iv_task second;

	if (!begin())
		return;
	add_raw();
	add_task("t", jump_out);
	IV_TASK_INIT(&second);
	second.cookie = "u";
	second.handler = mark;
	iv_task_register(&second);
	if (setjmp(outside) == 0)
		iterate();
	expect("t");
	check_int(is_readable_in(0), 1);
	iterate_and_expect("u");
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

static void after_cancellation(void *unused)
{
	(void)unused;
	check_int(is_readable_in(0), 1);
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	check_int(is_readable_in(0), 0);
	register_task();
	iterate_and_expect("t");
	add_early_timer();
	iterate_and_expect("j");
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

static void *wait_in_an_iteration(void *unused)
{
	if (!begin())
		return unused;
	add_raw();
	pthread_cleanup_push(after_cancellation, NULL);
	for (;;)
		iv_main_once(NULL);
	pthread_cleanup_pop(0);

	return unused;
}

static void iteration_may_be_cancelled(void)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, wait_in_an_iteration, NULL), 0);
	check_int(pthread_cancel(thread), 0);
	check_int(pthread_join(thread, NULL), 0);
}

/* The kernel still reports the copy, so the loop needs another epoll set. */
static void close_registered(void)
{
	int copy = dup(readable.fd);

	check(copy >= 0);
	close(readable.fd);
	iv_fd_unregister(&readable);
	make_readable();
	close(write_end);
	(void)iv_main_once(&at_once);
	check_int(close(copy), 0);
}

static void another_set(void)
{
	int child_pipe[2];
	pid_t pid;

	if (!begin())
		return;
	add_raw();
	add_fd();
	/* The child keeps open what this process closes. */
	check_int(pipe(child_pipe), 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		char c;

		close(child_pipe[1]);
		(void)!read(child_pipe[0], &c, 1);
		_exit(0);
	}
	close_registered();
	check_int(iv_loop_fd(), loop_fd);
	check_int(is_readable_in(0), 0);
	run_thread(post_raw, NULL);
	iterate_and_expect("r");
	iv_event_raw_unregister(&raw);
	iv_deinit();
	close(child_pipe[0]);
	close(child_pipe[1]);
	check_child(pid);
}

/* Another descriptor gets the number of one that was closed too early. */
static void reuse_number(void)
{
	static struct iv_fd other;
	int fd[2];

	check_int(pipe(fd), 0);
	check_int(dup2(fd[0], readable.fd), readable.fd);
	IV_FD_INIT(&other);
	other.fd = readable.fd;
	other.cookie = "o";
	other.handler_in = mark;
	check_int(iv_fd_register_try(&other), 0);
	iv_fd_unregister(&other);
	iv_fd_unregister(&readable);
	close(readable.fd);
	close(fd[0]);
	close(fd[1]);
}

static void close_too_early(void)
{
	close(readable.fd);
	iv_fd_unregister(&readable);
}

static void replace_set(void (*change)(void))
{
	add_fd();
	check_int(is_readable_in(0), 0);
	change();
	run_thread(post_raw, NULL);
	while (trace[0] == '\0')
		iterate();
	expect("r");
	add_early_timer();
	iterate_and_expect("j");
	close(write_end);
}

static void another_set_between_iterations(void)
{
	if (!begin())
		return;
	add_raw();
	replace_set(close_too_early);
	replace_set(reuse_number);
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

/* Without a set the descriptor is always readable, so that no post is lost. */
static void no_set(void)
{
	iv_init();
	if (!variant_is_epoll())
		skip("there is no epoll(7)");
	loop_fd = iv_loop_fd();
	check(loop_fd >= 0);
	add_raw();
	add_fd();
	refuse("epoll_create1", EMFILE);
	close_registered();
	check_int(iv_loop_fd(), loop_fd);
	run_thread(post_raw, NULL);
	iterate();
	expect("r");
	check_int(is_readable_in(0), 1);
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

static void check_failure(const char *call, int err, int want)
{
	int num;
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		iv_init();
		num = num_descriptors();
		refuse(call, err);
		check_errno(iv_loop_fd(), want);
		check_int(num_descriptors(), num);
		add_task("t", quit);
		iv_main();
		expect("t");
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
}

static void failures_are_reported(void)
{
	int num, old;

	if (!begin())
		return;
	iv_deinit();
	check_failure("timerfd_create", ENOSYS, ENOSYS);
	check_failure("timerfd_create", EPERM, ENOSYS);
	check_failure("timerfd_create", EMFILE, EMFILE);
	check_failure("timerfd_create", ENOMEM, ENOMEM);
	check_failure("epoll_create1", ENOSYS, ENOSYS);
	check_failure("epoll_create1", ENFILE, ENFILE);
	check_failure("epoll_ctl", ENOSPC, ENOSPC);

	iv_init();
	num = lowest_descriptor();
	old = limit_descriptors(num);
	check_errno(iv_loop_fd(), EMFILE);
	limit_descriptors(num + 1);
	check_errno(iv_loop_fd(), EMFILE);
	check_int(lowest_descriptor(), num);
	limit_descriptors(old);
	check(iv_loop_fd() >= 0);
	iv_deinit();
}

/* The kernel does not add a set to another one if the nesting is too deep. */
static void deep_nesting_is_reported(void)
{
	int sets[4];
	int num, i;

	if (!begin())
		return;
	iv_deinit();
	for (i = 0; i < 4; i++)
		sets[i] = open_epoll(i > 0 ? sets[i - 1] : -1);

	iv_init();
	IV_FD_INIT(&readable);
	readable.fd = sets[3];
	readable.handler_in = mark;
	check_int(iv_fd_register_try(&readable), 0);
	num = num_descriptors();
	check_errno(iv_loop_fd(), ELOOP);
	check_int(num_descriptors(), num);
	iv_fd_unregister(&readable);
	check(iv_loop_fd() >= 0);
	iv_deinit();
	for (i = 0; i < 4; i++)
		close(sets[i]);
}

/* A child does not affect its parent, and has its own descriptor. */
static void child_has_another_descriptor(void)
{
	pid_t pid;

	if (!begin())
		return;
	need_threads_of_child();
	add_event();
	add_fd();
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		int inherited = loop_fd;

		register_task();
		add_due_timer();
		iv_event_post(&event);
		check_int(is_readable_in(0), 0);
		(void)iv_main_once(&at_once);
		expect("ite");
		check_int(is_readable_in(0), 0);

		loop_fd = iv_loop_fd();
		check(loop_fd >= 0);
		run_thread(post_event, NULL);
		iterate_and_expect("e");
		add_early_timer();
		iterate_and_expect("j");
		if (loop_fd != inherited)
			check_errno(fcntl(inherited, F_GETFD), EBADF);
		remove_fd();
		iv_event_unregister(&event);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	check_int(is_readable_in(0), 0);
	run_thread(post_event, NULL);
	iterate_and_expect("e");
	make_readable();
	iterate_and_expect("f");
	remove_fd();
	iv_event_unregister(&event);
	iv_deinit();
}


#define NUM_OBJECTS	3
#define OPERATIONS	30000

static struct iv_task tasks[NUM_OBJECTS];
static struct iv_event events[NUM_OBJECTS];
static struct iv_event_raw raws[NUM_OBJECTS];
static int events_in_use[NUM_OBJECTS], raws_in_use[NUM_OBJECTS];
static uint32_t seed = 1;
static int calls;

static unsigned int random_below(unsigned int num)
{
	seed = seed * 1103515245 + 12345;

	return (seed >> 16) % num;
}

static void count_call(void *unused)
{
	(void)unused;
	calls++;
}

static void toggle_task(int i)
{
	if (iv_task_registered(&tasks[i]))
		iv_task_unregister(&tasks[i]);
	else
		iv_task_register(&tasks[i]);
}

static void toggle_event(int i)
{
	if (events_in_use[i])
		iv_event_unregister(&events[i]);
	else
		check_int(iv_event_register(&events[i]), 0);
	events_in_use[i] ^= 1;
}

static void toggle_raw(int i)
{
	if (raws_in_use[i])
		iv_event_raw_unregister(&raws[i]);
	else
		check_int(iv_event_raw_register(&raws[i]), 0);
	raws_in_use[i] ^= 1;
}

static void *post_to_random_object(void *unused)
{
	int i = random_below(NUM_OBJECTS);

	if (random_below(2) && events_in_use[i])
		iv_event_post(&events[i]);
	else if (raws_in_use[i])
		iv_event_raw_post(&raws[i]);

	return unused;
}

static void random_operation(void)
{
	int i = random_below(NUM_OBJECTS);

	switch (random_below(7)) {
	case 0:
		toggle_task(i);
		break;
	case 1:
		toggle_event(i);
		break;
	case 2:
		toggle_raw(i);
		break;
	case 3:
		(void)post_to_random_object(NULL);
		break;
	default:
		run_thread(post_to_random_object, NULL);
	}
}

static void begin_random_operations(void)
{
	int i;

	for (i = 0; i < NUM_OBJECTS; i++) {
		IV_TASK_INIT(&tasks[i]);
		tasks[i].handler = count_call;
		IV_EVENT_INIT(&events[i]);
		events[i].handler = count_call;
		IV_EVENT_RAW_INIT(&raws[i]);
		raws[i].handler = count_call;
	}
}

static void end_random_operations(void)
{
	int i;

	for (i = 0; i < NUM_OBJECTS; i++) {
		if (events_in_use[i])
			toggle_event(i);
		if (raws_in_use[i])
			toggle_raw(i);
	}
}

/* If the descriptor is not readable, an iteration has nothing to do. */
static void random_operations(void)
{
	int i;

	if (!begin())
		return;
	begin_random_operations();
	for (i = 0; i < OPERATIONS; i++) {
		int was_readable;

		random_operation();
		if (random_below(3) > 0)
			continue;
		was_readable = is_readable_in(0);
		calls = 0;
		(void)iv_main_once(&at_once);
		if (calls > 0)
			check(was_readable);
	}
	end_random_operations();
	iv_deinit();
}

/* Posters that count their posts, and often wait until the handler has run. */
#define POSTERS		2
#define POSTS		200000
#define WAIT_EACH	16

static struct poster {
	struct iv_event		event;
	struct iv_event_raw	raw;
	atomic_ulong		posts;
	atomic_ulong		seen;
} posters[POSTERS];

static void save_seen(void *_p)
{
	struct poster *p = _p;

	p->seen = p->posts;
}

static void *post_and_wait(void *_p)
{
	struct poster *p = _p;
	unsigned long i;

	for (i = 1; i <= POSTS; i++) {
		p->posts = i;
		if (i & 1)
			iv_event_post(&p->event);
		else
			iv_event_raw_post(&p->raw);
		/* Wait after two of each 16 posts, one of each kind. */
		if (i % WAIT_EACH > 1)
			continue;
		while (p->seen < i)
			sched_yield();
	}

	return NULL;
}

static int all_are_seen(void)
{
	int i;

	for (i = 0; i < POSTERS; i++) {
		if (posters[i].seen < POSTS)
			return 0;
	}

	return 1;
}

static void loses_no_post(void)
{
	pthread_t threads[POSTERS];
	int i;

	if (!begin())
		return;
	for (i = 0; i < POSTERS; i++) {
		struct poster *p = &posters[i];

		IV_EVENT_INIT(&p->event);
		p->event.cookie = p;
		p->event.handler = save_seen;
		check_int(iv_event_register(&p->event), 0);
		IV_EVENT_RAW_INIT(&p->raw);
		p->raw.cookie = p;
		p->raw.handler = save_seen;
		check_int(iv_event_raw_register(&p->raw), 0);
		check_int(pthread_create(&threads[i], NULL, post_and_wait, p),
			  0);
	}
	while (!all_are_seen())
		iterate();
	for (i = 0; i < POSTERS; i++) {
		check_int(pthread_join(threads[i], NULL), 0);
		iv_event_unregister(&posters[i].event);
		iv_event_raw_unregister(&posters[i].raw);
	}
	iv_deinit();
}

static void without_a_loop(void)
{
	(void)iv_loop_fd();
}

static void misuse_is_fatal(void)
{
	check_fatal(without_a_loop, "iv_loop_fd: this thread has no loop");
}

static const struct check_case cases[] = {
	{ "a loop has one descriptor until its end, if its poll method has one",
	  one_descriptor, EACH_METHOD, 0 },
	{ "what is registered and posted between iterations is noticed",
	  steps_between_iterations, EACH, 0 },
	{ "what is registered and posted in an iteration is noticed",
	  steps_in_an_iteration, EACH, 0 },
	{ "unregistering between iterations loses no post to another object",
	  keeps_posts_of_others, EACH, 0 },
	{ "random operations leave nothing due that the descriptor does not show",
	  random_operations, EACH, 60 },
	{ "handlers that post or register again run once per iteration",
	  handlers_that_go_on, EACH, 0 },
	{ "iv_main and iterations that wait may be used, too",
	  other_ways_to_run, EACH, 0 },
	{ "iv_now is read anew in the other loop's handlers",
	  clock_between_iterations, EACH_METHOD, 0 },
	{ "iv_main goes on as usual after an iteration in a handler",
	  main_goes_on, EACH, 0 },
	{ "a handler may jump out of an iteration",
	  handler_may_jump_out, EACH, 0 },
	{ "what is due after a cancelled iteration is noticed",
	  iteration_may_be_cancelled, EACH, 0 },
	{ "the loop's descriptor stays when the poll method needs another one",
	  another_set, EACH, 0 },
	{ "the poll method may need another one between iterations",
	  another_set_between_iterations, EACH, 0 },
	{ "the loop's descriptor stays readable when the poll method has none",
	  no_set, ONCE, 0 },
	{ "iv_loop_fd reports each failure, and leaves nothing open",
	  failures_are_reported, EACH_METHOD, 0 },
	{ "iv_loop_fd returns ELOOP if epoll descriptors are nested too deeply",
	  deep_nesting_is_reported, EACH_METHOD, 0 },
	{ "a forked child has another descriptor, and leaves its parent alone",
	  child_has_another_descriptor, EACH, 0 },
	{ "posts of two threads wake the embedded loop",
	  loses_no_post, EACH, 120 },
	{ "a call without a loop is fatal",
	  misuse_is_fatal, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: polling before a loop sleeps, as IV_STATS reports it.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define LONG_WINDOW	1000000		/* longer than any wait in the tests */
#define ROUNDS	300

static char stats[4096];

static void make_stats_pipe(int err[2])
{
	check(pipe(err) == 0);
	check(setenv("IV_STATS", "1", 1) == 0);
}

/* Run fn() in a process, and keep the statistics that its loop prints. */
static void run_with_stats(void (*fn)(void))
{
	ssize_t len = 0;
	ssize_t ret;
	int err[2];
	pid_t pid;

	make_stats_pipe(err);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check(dup2(err[1], STDERR_FILENO) == STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(err[1]);
	while ((ret = read(err[0], stats + len, sizeof(stats) - 1 - len)) > 0)
		len += ret;
	stats[len] = '\0';
	close(err[0]);
	if (strstr(stats, "ivykis: pid=") == NULL)
		fprintf(stderr, "%s", stats);
	check_child(pid);
}

static long counter(const char *name)
{
	char key[64];
	const char *s;

	snprintf(key, sizeof(key), " %s=", name);
	s = strstr(stats, key);
	check(s != NULL);

	return atol(s + strlen(key));
}

static void need_processors(void)
{
	if (num_processors() == 1)
		skip("there is one processor");
}


static struct iv_event_raw raw;
static struct iv_event event;
static atomic_int calls;

static void count_call(void *unused)
{
	(void)unused;
	if (++calls == ROUNDS)
		iv_quit();
}

static void begin(void)
{
	iv_init();
	IV_EVENT_RAW_INIT(&raw);
	raw.handler = count_call;
	check_int(iv_event_raw_register(&raw), 0);
	IV_EVENT_INIT(&event);
	event.handler = count_call;
	check_int(iv_event_register(&event), 0);
	calls = 0;
}

static void end(void)
{
	iv_event_unregister(&event);
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

/* A loop that does not poll is asleep when the next post comes. */
static void *post_and_await(void *with_event)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		usleep(200);
		if (with_event != NULL)
			iv_event_post(&event);
		else
			iv_event_raw_post(&raw);
		while (calls <= i)
			sched_yield();
	}

	return NULL;
}

static void receive_posts(void *with_event)
{
	pthread_t t;

	begin();
	iv_set_busy_poll(LONG_WINDOW);
	check_int(pthread_create(&t, NULL, post_and_await, with_event), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(calls, ROUNDS);
	end();
}

static void receive_raws(void)
{
	receive_posts(NULL);
}

static void receive_events(void)
{
	receive_posts(&event);
}

/* A poster may have to wait for a processor for longer than the window. */
static void posts_without_doorbells(void)
{
	need_processors();
	run_with_stats(receive_raws);
	check_int(counter("raws"), ROUNDS);
	check(counter("quiet") > ROUNDS / 2);
	check(counter("doorbells") < ROUNDS / 2);
	check(counter("poll_hits") > ROUNDS / 2);
	check(counter("polls") >= counter("poll_hits"));

	run_with_stats(receive_events);
	check_int(counter("events"), ROUNDS);
	check(counter("doorbells") < ROUNDS / 2);
	check(counter("poll_hits") > ROUNDS / 2);
}


static int pipe_fds[2];

static void read_one(void *unused)
{
	char byte;

	check_int(read(pipe_fds[0], &byte, 1), 1);
	count_call(unused);
}

static void *write_and_await(void *unused)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		usleep(200);
		check_int(write(pipe_fds[1], "", 1), 1);
		while (calls <= i)
			sched_yield();
	}

	return unused;
}

static void read_while_polling(void)
{
	struct iv_fd fd;
	pthread_t t;

	check_int(pipe(pipe_fds), 0);
	begin();
	iv_set_busy_poll(LONG_WINDOW);
	IV_FD_INIT(&fd);
	fd.fd = pipe_fds[0];
	fd.handler_in = read_one;
	iv_fd_register(&fd);
	check_int(pthread_create(&t, NULL, write_and_await, NULL), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	iv_fd_unregister(&fd);
	end();
}

static void serve_descriptors_while_polling(void)
{
	need_processors();
	run_with_stats(read_while_polling);
	check_int(counter("fds"), ROUNDS);
	check(counter("sleeps") < ROUNDS / 2);
	check(counter("poll_hits") > ROUNDS / 2);
}

/* A loop that never sleeps does not poll, either. */
static int self_posts;

static void post_again(void *_post)
{
	void (**post)(void) = _post;

	check(++self_posts < 1000000);
	(*post)();
}

static void post_raw(void)
{
	iv_event_raw_post(&raw);
}

static void post_event(void)
{
	iv_event_post(&event);
}

static void read_and_quit(void *unused)
{
	read_one(unused);
	iv_quit();
}

static void read_during_work(void (*post)(void))
{
	struct iv_fd fd;

	begin();
	iv_set_busy_poll(LONG_WINDOW);
	raw.handler = event.handler = post_again;
	raw.cookie = event.cookie = &post;
	self_posts = 0;
	IV_FD_INIT(&fd);
	fd.fd = pipe_fds[0];
	fd.handler_in = read_and_quit;
	iv_fd_register(&fd);
	check_int(write(pipe_fds[1], "", 1), 1);
	post();
	iv_main();
	check_int(calls, 1);
	iv_fd_unregister(&fd);
	end();
}

static void serve_descriptors_during_work(void)
{
	need_processors();
	check_int(pipe(pipe_fds), 0);
	read_during_work(post_raw);
	read_during_work(post_event);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static struct iv_timer timer;
static long interval;

static unsigned int window;

static void tick(void *unused)
{
	count_call(unused);
	/* Start again with the full window, instead of an adapted one. */
	if (window != 0)
		iv_set_busy_poll(window);
	timer.expires = iv_now;
	timer.expires.tv_nsec += interval;
	iv_timer_register(&timer);
}

static void run_ticks_with(void (*handler)(void *))
{
	IV_TIMER_INIT(&timer);
	timer.handler = handler;
	iv_validate_now();
	timer.expires = iv_now;
	iv_timer_register(&timer);
	iv_main();
	iv_timer_unregister(&timer);
}

static void run_ticks(void)
{
	run_ticks_with(tick);
}

static void tick_while_polling(void)
{
	begin();
	window = LONG_WINDOW;
	interval = 1000000;
	run_ticks();
	check_int(calls, ROUNDS);
	end();
}

/* If timers did not end the window, each would last for a second. */
static void serve_timers_while_polling(void)
{
	need_processors();
	run_with_stats(tick_while_polling);
	check_int(counter("timers"), ROUNDS);
	check(counter("polls") > 0);
}


static void tick_in_vain(void)
{
	begin();
	iv_set_busy_poll(1000);
	interval = 3000000;
	run_ticks();
	end();
}

/* The waits are longer than the window. */
static void poll_in_vain(void)
{
	need_processors();
	run_with_stats(tick_in_vain);
	check(counter("polls") >= 4);
	check(counter("polls") < ROUNDS / 4);
	check_int(counter("poll_hits"), 0);
	check(counter("sleeps") > ROUNDS / 2);
}


static void nothing(void *unused)
{
	(void)unused;
}

/* The loop posts to itself, so it is awake, and then sleeps. */
static void post_and_tick(void *unused)
{
	iv_event_raw_post(&raw);
	tick(unused);
}

static void post_in_vain(void)
{
	begin();
	raw.handler = nothing;
	interval = 1000;
	run_ticks_with(post_and_tick);
	check_int(calls, ROUNDS);
	end();
}

static void only_tick(void)
{
	begin();
	interval = 1000;
	run_ticks();
	check_int(calls, ROUNDS);
	end();
}

/* The number of spins that are left out doubles each time, up to 63. */
static void spin_in_vain(void)
{
	need_processors();
	run_with_stats(post_in_vain);
	check(counter("quiet") >= ROUNDS - 1);
	check(counter("spins") > 0);
	check(counter("spins") < 12);
	check_int(counter("spin_hits"), 0);
	check_int(counter("polls"), 0);
	run_with_stats(only_tick);
	check_int(counter("spins"), 0);
}

static atomic_int *served;

static void serve(void *unused)
{
	count_call(unused);
	atomic_store(served, calls);
}

/* Post when the latest post was served and the loop is asleep in its wait. */
static void post_while_asleep(pid_t pid)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		while (atomic_load(served) < i || process_state(pid) != 'S')
			sched_yield();
		iv_event_raw_post(&raw);
	}
}

static void run_woken_loop(void)
{
	pid_t loop = getpid();
	pid_t pid;

	begin();
	raw.handler = serve;
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		post_while_asleep(loop);
		_exit(0);
	}
	iv_main();
	check_child(pid);
	end();
}

/* A post that wakes the loop does not suggest that another one is close. */
static void dont_spin_when_woken(void)
{
	need_processors();
	served = mmap(NULL, sizeof(*served), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(served != MAP_FAILED);
	run_with_stats(run_woken_loop);
	check_int(counter("raws"), ROUNDS);
	check_int(counter("spins"), 0);
	check(munmap(served, sizeof(*served)) == 0);
}

static int use_event;

static void *post_until_done(void *unused)
{
	while (atomic_load(&calls) < 100 * ROUNDS) {
		if (use_event)
			iv_event_post(&event);
		else
			iv_event_raw_post(&raw);
	}

	return unused;
}

static void count_flood(void *unused)
{
	(void)unused;
	if (++calls == 100 * ROUNDS)
		iv_quit();
}

static void run_flooded_loop(void)
{
	pthread_t t;

	begin();
	raw.handler = count_flood;
	event.handler = count_flood;
	check_int(pthread_create(&t, NULL, post_until_done, NULL), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	end();
}

/*
 * On a busy machine few posts come while the loop is awake, so this is repeated
 * until one has.
 */
static void spin_in_flood(void)
{
	need_processors();
	for (use_event = 0; use_event < 2;
	     use_event++) {
		do {
			run_with_stats(run_flooded_loop);
		} while (counter("spin_hits") == 0);
		check(counter("spins") >= counter("spin_hits"));
		check_int(counter("polls"), 0);
	}
}

static const char *loop_limit;

static void run_some_ticks(void)
{
	begin();
	if (loop_limit != NULL)
		iv_set_busy_poll(atoi(loop_limit));
	calls = ROUNDS - 10;
	interval = 1000000;
	run_ticks();
	end();
}

static long polls_with(const char *value, const char *limit)
{
	check(setenv("IV_BUSY_POLL", value, 1) == 0);
	loop_limit = limit;
	run_with_stats(run_some_ticks);

	return counter("polls");
}

static void set_by_environment(void)
{
	static const char *const nonsense[] = {
		"", "0", "x", "50x", "-1", "+50", " 50", "50 ", "0x32",
		"99999999999999999999", "5e1",
	};
	unsigned int i;

	need_processors();
	check(polls_with("50", NULL) > 0);
	check(polls_with("1000", NULL) > 0);
	check(polls_with("", "50") > 0);
	check(polls_with("nonsense", "50") > 0);
	check_int(polls_with("50", "0"), 0);
	for (i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++)
		check_int(polls_with(nonsense[i], NULL), 0);
	check(unsetenv("IV_BUSY_POLL") == 0);
}

/* Execute this program as "poller", with one processor from the start. */
static void execute_on_one(void)
{
	use_one_processor();
	execl("/proc/self/exe", "test", "poller", (char *)NULL);
	_exit(99);
}

static void execute_on_all(void)
{
	execl("/proc/self/exe", "test", "poller", (char *)NULL);
	_exit(99);
}

static void one_processor(void)
{
#ifndef HAVE_SCHED_GETAFFINITY
	skip("the library cannot ask which processors it may use");
#endif
	need_processors();
	need_self_exec();
	check(setenv("IV_BUSY_POLL", "50", 1) == 0);
	run_with_stats(execute_on_all);
	check(counter("polls") > 0);
	run_with_stats(execute_on_one);
	check_int(counter("polls"), 0);
	check(unsetenv("IV_BUSY_POLL") == 0);
}

static void without_loop(void)
{
	iv_set_busy_poll(50);
}

static void mistakes(void)
{
	check_fatal(without_loop, "iv_set_busy_poll: ");
}

static const struct check_case cases[] = {
	{ "posts to a loop that polls are served without a doorbell",
	  posts_without_doorbells, EACH, 0 },
	{ "descriptors are served while the loop polls",
	  serve_descriptors_while_polling, EACH, 0 },
	{ "descriptors are served while the loop always has work",
	  serve_descriptors_during_work, EACH, 0 },
	{ "timers are served while the loop polls",
	  serve_timers_while_polling, EACH_METHOD, 0 },
	{ "a loop that polls in vain stops polling", poll_in_vain, EACH_METHOD,
	  0 },
	{ "a loop without a limit spins after a post that came while it ran",
	  spin_in_flood, EACH, 0 },
	{ "a loop that is woken by each post does not spin",
	  dont_spin_when_woken, EACH, 0 },
	{ "a loop that spins in vain spins less and less often", spin_in_vain,
	  EACH, 0 },
	{ "IV_BUSY_POLL applies to all loops, and bad values are ignored",
	  set_by_environment, ONCE, 0 },
	{ "a program that was started with one processor does not poll",
	  one_processor, ONCE, 0 },
	{ "mistakes are fatal, and the message names the call", mistakes,
	  ONCE, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "poller")) {
		run_some_ticks();
		return 0;
	}

	return check_main(cases, argc, argv);
}

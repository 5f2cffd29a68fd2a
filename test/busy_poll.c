/*
 * libivykis: polling before a loop sleeps, by what IV_STATS counts.
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

#define LONG	1000000		/* a window in which all comes in time */
#define TURNS	300

static char said[4096];

static void listen_to_stderr(int err[2])
{
	check(pipe(err) == 0);
	check(setenv("IV_STATS", "1", 1) == 0);
}

/* What the process of fn() prints about its loop. */
static void told_by(void (*fn)(void))
{
	ssize_t len = 0;
	ssize_t ret;
	int err[2];
	pid_t pid;

	listen_to_stderr(err);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check(dup2(err[1], STDERR_FILENO) == STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(err[1]);
	while ((ret = read(err[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += ret;
	said[len] = '\0';
	close(err[0]);
	if (strstr(said, "ivykis: pid=") == NULL)
		fprintf(stderr, "%s", said);
	check_child(pid);
}

static long count(const char *name)
{
	char key[64];
	const char *s;

	snprintf(key, sizeof(key), " %s=", name);
	s = strstr(said, key);
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

static void called(void *unused)
{
	(void)unused;
	if (++calls == TURNS)
		iv_quit();
}

static void begin(void)
{
	iv_init();
	IV_EVENT_RAW_INIT(&raw);
	raw.handler = called;
	check_int(iv_event_raw_register(&raw), 0);
	IV_EVENT_INIT(&event);
	event.handler = called;
	check_int(iv_event_register(&event), 0);
	calls = 0;
}

static void end(void)
{
	iv_event_unregister(&event);
	iv_event_raw_unregister(&raw);
	iv_deinit();
}

/* A loop that does not poll sleeps when the next one comes. */
static void *post_in_turn(void *with_event)
{
	int i;

	for (i = 0; i < TURNS; i++) {
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

static void hear_posts(void *with_event)
{
	pthread_t t;

	begin();
	iv_set_busy_poll(LONG);
	check_int(pthread_create(&t, NULL, post_in_turn, with_event), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(calls, TURNS);
	end();
}

static void hear_raws(void)
{
	hear_posts(NULL);
}

static void hear_events(void)
{
	hear_posts(&event);
}

/* A poster may have to wait for a processor for longer than the window. */
static void posts_without_doorbells(void)
{
	need_processors();
	told_by(hear_raws);
	check_int(count("raws"), TURNS);
	check(count("quiet") > TURNS / 2);
	check(count("doorbells") < TURNS / 2);
	check(count("poll_hits") > TURNS / 2);
	check(count("polls") >= count("poll_hits"));

	told_by(hear_events);
	check_int(count("events"), TURNS);
	check(count("doorbells") < TURNS / 2);
	check(count("poll_hits") > TURNS / 2);
}


static int pipe_fds[2];

static void read_one(void *unused)
{
	char byte;

	check_int(read(pipe_fds[0], &byte, 1), 1);
	called(unused);
}

static void *write_in_turn(void *unused)
{
	int i;

	for (i = 0; i < TURNS; i++) {
		usleep(200);
		check_int(write(pipe_fds[1], "", 1), 1);
		while (calls <= i)
			sched_yield();
	}

	return unused;
}

static void read_meanwhile(void)
{
	struct iv_fd fd;
	pthread_t t;

	check_int(pipe(pipe_fds), 0);
	begin();
	iv_set_busy_poll(LONG);
	IV_FD_INIT(&fd);
	fd.fd = pipe_fds[0];
	fd.handler_in = read_one;
	iv_fd_register(&fd);
	check_int(pthread_create(&t, NULL, write_in_turn, NULL), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	iv_fd_unregister(&fd);
	end();
}

static void descriptors_meanwhile(void)
{
	need_processors();
	told_by(read_meanwhile);
	check_int(count("fds"), TURNS);
	check(count("sleeps") < TURNS / 2);
	check(count("poll_hits") > TURNS / 2);
}

/* A loop that never comes to sleep has nothing to poll for. */
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

static void read_beside(void (*post)(void))
{
	struct iv_fd fd;

	begin();
	iv_set_busy_poll(LONG);
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

static void descriptors_beside_work(void)
{
	need_processors();
	check_int(pipe(pipe_fds), 0);
	read_beside(post_raw);
	read_beside(post_event);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static struct iv_timer timer;
static long interval;

static unsigned int window;

static void tick(void *unused)
{
	called(unused);
	/* Begun anew: it does not adapt. */
	if (window != 0)
		iv_set_busy_poll(window);
	timer.expires = iv_now;
	timer.expires.tv_nsec += interval;
	iv_timer_register(&timer);
}

static void tick_until_done_by(void (*handler)(void *))
{
	IV_TIMER_INIT(&timer);
	timer.handler = handler;
	iv_validate_now();
	timer.expires = iv_now;
	iv_timer_register(&timer);
	iv_main();
	iv_timer_unregister(&timer);
}

static void tick_until_done(void)
{
	tick_until_done_by(tick);
}

static void tick_meanwhile(void)
{
	begin();
	window = LONG;
	interval = 1000000;
	tick_until_done();
	check_int(calls, TURNS);
	end();
}

/* A window that is not ended by a timer would be a second, each. */
static void timers_meanwhile(void)
{
	need_processors();
	told_by(tick_meanwhile);
	check_int(count("timers"), TURNS);
	check(count("polls") > 0);
}


static void tick_in_vain(void)
{
	begin();
	iv_set_busy_poll(1000);
	interval = 3000000;
	tick_until_done();
	end();
}

/* Sleeps are longer than what polling would have spared. */
static void in_vain(void)
{
	need_processors();
	told_by(tick_in_vain);
	check(count("polls") >= 4);
	check(count("polls") < TURNS / 4);
	check_int(count("poll_hits"), 0);
	check(count("sleeps") > TURNS / 2);
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
	tick_until_done_by(post_and_tick);
	check_int(calls, TURNS);
	end();
}

static void only_tick(void)
{
	begin();
	interval = 1000;
	tick_until_done();
	check_int(calls, TURNS);
	end();
}

/* The number that are left out doubles up to 63, each time. */
static void spin_in_vain(void)
{
	need_processors();
	told_by(post_in_vain);
	check(count("quiet") >= TURNS - 1);
	check(count("spins") > 0);
	check(count("spins") < 12);
	check_int(count("spin_hits"), 0);
	check_int(count("polls"), 0);
	told_by(only_tick);
	check_int(count("spins"), 0);
}

static atomic_int *served;

static void serve(void *unused)
{
	called(unused);
	atomic_store(served, calls);
}

/* As seen after the latest post was served, so in the wait. */
static void post_to_sleeper(pid_t pid)
{
	int i;

	for (i = 0; i < TURNS; i++) {
		while (atomic_load(served) < i || process_state(pid) != 'S')
			sched_yield();
		iv_event_raw_post(&raw);
	}
}

static void be_woken(void)
{
	pid_t loop = getpid();
	pid_t pid;

	begin();
	raw.handler = serve;
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		post_to_sleeper(loop);
		_exit(0);
	}
	iv_main();
	check_child(pid);
	end();
}

/* A post that wakes a loop is no sign of another one. */
static void no_spin_when_woken(void)
{
	need_processors();
	served = mmap(NULL, sizeof(*served), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(served != MAP_FAILED);
	told_by(be_woken);
	check_int(count("raws"), TURNS);
	check_int(count("spins"), 0);
	check(munmap(served, sizeof(*served)) == 0);
}

static int is_flooded_by_event;

static void *post_until_done(void *unused)
{
	while (atomic_load(&calls) < 100 * TURNS) {
		if (is_flooded_by_event)
			iv_event_post(&event);
		else
			iv_event_raw_post(&raw);
	}

	return unused;
}

static void count_flood(void *unused)
{
	(void)unused;
	if (++calls == 100 * TURNS)
		iv_quit();
}

static void be_flooded(void)
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

/* Where others use the processors, few posts come while the loop is awake. */
static void spin_in_flood(void)
{
	need_processors();
	for (is_flooded_by_event = 0; is_flooded_by_event < 2;
	     is_flooded_by_event++) {
		do {
			told_by(be_flooded);
		} while (count("spin_hits") == 0);
		check(count("spins") >= count("spin_hits"));
		check_int(count("polls"), 0);
	}
}

static const char *limit_of_loop;

static void tick_some(void)
{
	begin();
	if (limit_of_loop != NULL)
		iv_set_busy_poll(atoi(limit_of_loop));
	calls = TURNS - 10;
	interval = 1000000;
	tick_until_done();
	end();
}

static long polls_with(const char *word, const char *limit)
{
	check(setenv("IV_BUSY_POLL", word, 1) == 0);
	limit_of_loop = limit;
	told_by(tick_some);

	return count("polls");
}

static void of_all_loops(void)
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

/* As "poller": a program that began with one processor. */
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
	told_by(execute_on_all);
	check(count("polls") > 0);
	told_by(execute_on_one);
	check_int(count("polls"), 0);
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
	{ "descriptors are served while it polls", descriptors_meanwhile,
	  EACH, 0 },
	{ "descriptors are served beside endless work",
	  descriptors_beside_work, EACH, 0 },
	{ "timers are served while it polls", timers_meanwhile, EACH_METHOD,
	  0 },
	{ "a loop that polls in vain stops polling", in_vain, EACH_METHOD, 0 },
	{ "without a limit, a loop spins if posted to while it was awake",
	  spin_in_flood, EACH, 0 },
	{ "a loop that is woken by each post does not spin",
	  no_spin_when_woken, EACH, 0 },
	{ "a loop that spins in vain does so less and less", spin_in_vain,
	  EACH, 0 },
	{ "IV_BUSY_POLL applies to all loops, and nonsense is ignored",
	  of_all_loops, ONCE, 0 },
	{ "a program that began with one processor does not poll",
	  one_processor, ONCE, 0 },
	{ "mistakes are fatal and named", mistakes, ONCE, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "poller")) {
		tick_some();
		return 0;
	}

	return check_main(cases, argc, argv);
}

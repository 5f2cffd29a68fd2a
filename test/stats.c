/*
 * libivykis: what a loop tells of itself at its end, IV_STATS.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

static char said[4096];

/* Standard error goes into a pipe, which is big enough to wait there. */
static int saved_stderr;
static int err[2];

static void listen_to_stderr(void)
{
	check(pipe(err) == 0);
	saved_stderr = dup(STDERR_FILENO);
	check(saved_stderr >= 0);
	check(dup2(err[1], STDERR_FILENO) == STDERR_FILENO);
	close(err[1]);
}

/* What was said since, in `said'. */
static void read_stderr(void)
{
	ssize_t len;

	check(dup2(saved_stderr, STDERR_FILENO) == STDERR_FILENO);
	close(saved_stderr);
	len = read(err[0], said, sizeof(said) - 1);
	check(len >= 0);
	said[len] = '\0';
	close(err[0]);
}

static void ask(const char *word)
{
	check(setenv("IV_STATS", word, 1) == 0);
}

static long count(const char *name)
{
	char key[64];
	const char *s;

	snprintf(key, sizeof(key), " %s=", name);
	s = strstr(said, key);
	if (s == NULL)
		fprintf(stderr, "# no %s in \"%s\"\n", name, said);
	check(s != NULL);

	return atol(s + strlen(key));
}

static int num_lines(void)
{
	const char *s = said;
	int num = 0;

	while ((s = strchr(s, '\n')) != NULL) {
		num++;
		s++;
	}

	return num;
}


static void nothing(void *cookie)
{
	(void)cookie;
}

static void unregister_raw(void *raw)
{
	iv_event_raw_unregister(raw);
}

static void unregister_event(void *event)
{
	iv_event_unregister(event);
}

static void init_raw(struct iv_event_raw *raw)
{
	IV_EVENT_RAW_INIT(raw);
	raw->cookie = raw;
	raw->handler = unregister_raw;
	check_int(iv_event_raw_register(raw), 0);
}

static void init_event(struct iv_event *event)
{
	IV_EVENT_INIT(event);
	event->cookie = event;
	event->handler = unregister_event;
	check_int(iv_event_register(event), 0);
}


static void an_empty_loop(void)
{
	ask("1");
	listen_to_stderr();
	iv_init();
	iv_main();
	iv_deinit();
	read_stderr();

	check(!strncmp(said, "ivykis: pid=", 12));
	check_int(num_lines(), 1);
	check_int(count("tid"), (long)iv_get_thread_id());
	check_int(count("passes"), 1);
	check_int(count("waits"), 0);
	check_int(count("sleeps"), 0);
	check_int(count("fds"), 0);
	check_int(count("raws"), 0);
	check_int(count("spurious"), 0);
	check_int(count("wakes"), 0);
	check_int(count("events"), 0);
	check_int(count("tasks"), 0);
	check_int(count("timers"), 0);
}

static void tasks_timers_own_events(void)
{
	struct iv_task tasks[5];
	struct iv_timer timers[3];
	struct iv_event events[2];
	int i;

	ask("1");
	listen_to_stderr();
	iv_init();
	for (i = 0; i < 5; i++) {
		IV_TASK_INIT(&tasks[i]);
		tasks[i].handler = nothing;
		iv_task_register(&tasks[i]);
	}
	for (i = 0; i < 3; i++) {
		IV_TIMER_INIT(&timers[i]);
		timers[i].expires = iv_now;
		timers[i].handler = nothing;
		iv_timer_register(&timers[i]);
	}
	for (i = 0; i < 2; i++) {
		init_event(&events[i]);
		iv_event_post(&events[i]);
		iv_event_post(&events[i]);
	}
	iv_main();
	iv_deinit();
	read_stderr();

	check_int(count("tasks"), 5);
	check_int(count("timers"), 3);
	check_int(count("events"), 2);
	check_int(count("wakes"), 0);
	check_int(count("raws"), 0);
	check_int(count("sleeps"), 0);
}

/* More often than rounds follow each other without a wait. */
static void many_times(void *_task)
{
	static int times;

	if (++times < 500)
		iv_task_register(_task);
}

/* The loop looks at descriptors between two rounds, and does not wait. */
static void a_task_again_and_again(void)
{
	struct iv_task task;

	ask("1");
	listen_to_stderr();
	iv_init();
	IV_TASK_INIT(&task);
	task.cookie = &task;
	task.handler = many_times;
	iv_task_register(&task);
	iv_main();
	iv_deinit();
	read_stderr();

	check_int(count("tasks"), 500);
	check(count("waits") > 0);
	check_int(count("sleeps"), 0);
}

/* Posted before the wait, three times: one call. */
static void raw_posts(void)
{
	struct iv_event_raw raw[2];
	int i;

	ask("1");
	listen_to_stderr();
	iv_init();
	for (i = 0; i < 2; i++) {
		init_raw(&raw[i]);
		iv_event_raw_post(&raw[i]);
		iv_event_raw_post(&raw[i]);
		iv_event_raw_post(&raw[i]);
	}
	iv_main();
	iv_deinit();
	read_stderr();

	check_int(count("raws"), 2);
	check_int(count("quiet"), 2);
	check_int(count("doorbells"), 0);
	check_int(count("fds"), 0);
	check_int(count("passes"), 2);
	check_int(count("waits"), 0);
	check_int(count("sleeps"), 0);
	check_int(count("spurious"), 0);
	check_int(count("wakes"), 0);
}

static void *post_late(void *event)
{
	const struct timespec late = { .tv_nsec = 200 * 1000 * 1000 };

	nanosleep(&late, NULL);
	iv_event_post(event);

	return NULL;
}

static void quit(void *cookie)
{
	(void)cookie;
	iv_quit();
}

static void another_threads_post(void)
{
	struct iv_event event;
	pthread_t thread;

	ask("1");
	listen_to_stderr();
	iv_init();
	init_event(&event);
	event.handler = quit;
	check_int(pthread_create(&thread, NULL, post_late, &event), 0);
	iv_main();
	iv_event_unregister(&event);
	pthread_join(thread, NULL);
	iv_deinit();
	read_stderr();

	check_int(count("events"), 1);
	/* None, on a machine that stood still before the wait. */
	check(count("wakes") <= 1);
	check(count("wakes") == 1 || count("sleeps") == 0);
	check_int(count("raws"), count("wakes"));
}

/* Its descriptor is reported, and somebody else is faster. */
static struct iv_event_raw robbed;

static void rob(void *_fd)
{
	struct iv_fd *fd = _fd;
	char buf[64];

	check(read(robbed.event_rfd.fd, buf, sizeof(buf)) > 0);
	iv_fd_unregister(fd);
	iv_quit();
}

static void a_robbed_post(void)
{
	struct iv_fd fd;
	int pair[2];

	check(pipe(pair) == 0);
	ask("1");
	listen_to_stderr();
	iv_init();
	IV_FD_INIT(&fd);
	fd.fd = pair[0];
	fd.cookie = &fd;
	fd.handler_in = rob;
	/* At once, so that it is served first. */
	check_int(iv_fd_register_try(&fd), 0);
	init_raw(&robbed);
	check(write(pair[1], "x", 1) == 1);
	check_int(iv_event_raw_post_fd(robbed.event_wfd), 0);
	iv_main();
	iv_event_raw_unregister(&robbed);
	iv_deinit();
	read_stderr();
	close(pair[0]);
	close(pair[1]);

	check_int(count("spurious"), 1);
	check_int(count("raws"), 0);
	check_int(count("fds"), 2);
}

static void *loop_left_behind(void *arg)
{
	iv_init();
	iv_main();
	*(unsigned long *)arg = iv_get_thread_id();

	return NULL;
}

static void each_thread(void)
{
	pthread_t thread;
	unsigned long tid;

	ask("1");
	listen_to_stderr();
	iv_init();
	check_int(pthread_create(&thread, NULL, loop_left_behind, &tid), 0);
	pthread_join(thread, NULL);
	read_stderr();
	check_int(num_lines(), 1);
	check_int(count("tid"), (long)tid);

	listen_to_stderr();
	iv_deinit();
	read_stderr();
	check_int(num_lines(), 1);
	check_int(count("tid"), (long)iv_get_thread_id());
	check_int(count("passes"), 0);
}

static void expect_silence(void)
{
	listen_to_stderr();
	/* A reader of nothing would wait. */
	check(write(STDERR_FILENO, "-", 1) == 1);
	iv_init();
	iv_main();
	iv_deinit();
	read_stderr();
	check(!strcmp(said, "-"));
}

static void unasked(void)
{
	check(unsetenv("IV_STATS") == 0);
	expect_silence();
}

static void asked_by_another_word(void)
{
	ask("0");
	expect_silence();
}

static void asked_later(void)
{
	check(unsetenv("IV_STATS") == 0);
	iv_init();
	iv_deinit();
	ask("1");
	expect_silence();
}

static void a_privileged_program(void)
{
	if (geteuid() != 0)
		skip("not root");
	ask("1");
	check(setegid(65534) == 0);
	expect_silence();
}

static void a_closed_stderr(void)
{
	int saved = dup(STDERR_FILENO);

	ask("1");
	close(STDERR_FILENO);
	iv_init();
	iv_main();
	iv_deinit();
	check(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
	close(saved);
}

static const struct check_case cases[] = {
	{ "an empty loop tells that it did nothing", an_empty_loop,
	  EACH_METHOD, 0 },
	{ "tasks, timers and the loop's own events are counted",
	  tasks_timers_own_events, EACH, 0 },
	{ "a loop that has more to do does not sleep", a_task_again_and_again,
	  EACH_METHOD, 0 },
	{ "handlers of raw events are counted, coalesced posts are not",
	  raw_posts, EACH, 0 },
	{ "another thread's post is an event, and a wake at the most",
	  another_threads_post, EACH, 0 },
	{ "a post that somebody else has drained is spurious", a_robbed_post,
	  EACH, 0 },
	{ "each thread's loop tells by itself, also one left behind",
	  each_thread, ONCE, 0 },
	{ "nothing is told unasked", unasked, ONCE, 0 },
	{ "no other word asks", asked_by_another_word, ONCE, 0 },
	{ "only the first iv_init listens", asked_later, ONCE, 0 },
	{ "a program with privileges is not asked", a_privileged_program, ONCE,
	  0 },
	{ "without a standard error a loop ends all the same", a_closed_stderr,
	  ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

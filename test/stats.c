/*
 * libivykis: the line of statistics that a loop prints at its end, IV_STATS.
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

static char output[4096];

/* Standard error is a pipe, which has room for all that the loops print. */
static int saved_stderr;
static int err[2];

static void capture_stderr(void)
{
	check(pipe(err) == 0);
	saved_stderr = dup(STDERR_FILENO);
	check(saved_stderr >= 0);
	check(dup2(err[1], STDERR_FILENO) == STDERR_FILENO);
	close(err[1]);
}

/* Read what was printed since into output, and restore standard error. */
static void read_stderr(void)
{
	ssize_t len;

	check(dup2(saved_stderr, STDERR_FILENO) == STDERR_FILENO);
	close(saved_stderr);
	len = read(err[0], output, sizeof(output) - 1);
	check(len >= 0);
	output[len] = '\0';
	close(err[0]);
}

static void set_iv_stats(const char *word)
{
	check(setenv("IV_STATS", word, 1) == 0);
}

static long count(const char *name)
{
	char key[64];
	const char *s;

	snprintf(key, sizeof(key), " %s=", name);
	s = strstr(output, key);
	if (s == NULL)
		fprintf(stderr, "# no %s in \"%s\"\n", name, output);
	check(s != NULL);

	return atol(s + strlen(key));
}

static int num_lines(void)
{
	const char *s = output;
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
	set_iv_stats("1");
	capture_stderr();
	iv_init();
	iv_main();
	iv_deinit();
	read_stderr();

	check(!strncmp(output, "ivykis: pid=", 12));
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

	set_iv_stats("1");
	capture_stderr();
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

/* Register again, more often than rounds may follow without a wait. */
static void many_times(void *_task)
{
	static int times;

	if (++times < 500)
		iv_task_register(_task);
}

/* The loop polls descriptors between some rounds, but does not sleep. */
static void task_that_registers_itself(void)
{
	struct iv_task task;

	set_iv_stats("1");
	capture_stderr();
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

/* Three posts to each object before the wait result in one call. */
static void raw_posts(void)
{
	struct iv_event_raw raw[2];
	int i;

	set_iv_stats("1");
	capture_stderr();
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

	set_iv_stats("1");
	capture_stderr();
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
	/* There is no wakeup if the post was made before the loop slept. */
	check(count("wakes") <= 1);
	check(count("wakes") == 1 || count("sleeps") == 0);
	check_int(count("raws"), count("wakes"));
}

/* The object's descriptor is reported, but another handler drains it first. */
static struct iv_event_raw drained;

static void drain(void *_fd)
{
	struct iv_fd *fd = _fd;
	char buf[64];

	check(read(drained.event_rfd.fd, buf, sizeof(buf)) > 0);
	iv_fd_unregister(fd);
	iv_quit();
}

static void drained_by_another(void)
{
	struct iv_fd fd;
	int pair[2];

	check(pipe(pair) == 0);
	set_iv_stats("1");
	capture_stderr();
	iv_init();
	IV_FD_INIT(&fd);
	fd.fd = pair[0];
	fd.cookie = &fd;
	fd.handler_in = drain;
	/* Registered at once, so that it is served first. */
	check_int(iv_fd_register_try(&fd), 0);
	init_raw(&drained);
	check(write(pair[1], "x", 1) == 1);
	check_int(iv_event_raw_post_fd(drained.event_wfd), 0);
	iv_main();
	iv_event_raw_unregister(&drained);
	iv_deinit();
	read_stderr();
	close(pair[0]);
	close(pair[1]);

	check_int(count("spurious"), 1);
	check_int(count("raws"), 0);
	check_int(count("fds"), 2);
}

static void *exit_with_loop(void *arg)
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

	set_iv_stats("1");
	capture_stderr();
	iv_init();
	check_int(pthread_create(&thread, NULL, exit_with_loop, &tid), 0);
	pthread_join(thread, NULL);
	read_stderr();
	check_int(num_lines(), 1);
	check_int(count("tid"), (long)tid);

	capture_stderr();
	iv_deinit();
	read_stderr();
	check_int(num_lines(), 1);
	check_int(count("tid"), (long)iv_get_thread_id());
	check_int(count("passes"), 0);
}

static void expect_no_output(void)
{
	capture_stderr();
	/* Without a byte in the pipe, reading would block. */
	check(write(STDERR_FILENO, "-", 1) == 1);
	iv_init();
	iv_main();
	iv_deinit();
	read_stderr();
	check(!strcmp(output, "-"));
}

static void variable_unset(void)
{
	check(unsetenv("IV_STATS") == 0);
	expect_no_output();
}

static void variable_is_0(void)
{
	set_iv_stats("0");
	expect_no_output();
}

static void variable_set_later(void)
{
	check(unsetenv("IV_STATS") == 0);
	iv_init();
	iv_deinit();
	set_iv_stats("1");
	expect_no_output();
}

static void a_privileged_program(void)
{
	if (geteuid() != 0)
		skip("not root");
	set_iv_stats("1");
	check(setegid(65534) == 0);
	expect_no_output();
}

static void a_closed_stderr(void)
{
	int saved = dup(STDERR_FILENO);

	set_iv_stats("1");
	close(STDERR_FILENO);
	iv_init();
	iv_main();
	iv_deinit();
	check(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
	close(saved);
}

static const struct check_case cases[] = {
	{ "an empty loop prints that it did nothing", an_empty_loop,
	  EACH_METHOD, 0 },
	{ "tasks, timers and the loop's own events are counted",
	  tasks_timers_own_events, EACH, 0 },
	{ "a loop that always has a task does not sleep",
	  task_that_registers_itself, EACH_METHOD, 0 },
	{ "handlers of raw events are counted, coalesced posts are not",
	  raw_posts, EACH, 0 },
	{ "another thread's post is counted as an event, and at most one wake",
	  another_threads_post, EACH, 0 },
	{ "a doorbell that was drained by somebody else is spurious",
	  drained_by_another, EACH, 0 },
	{ "each loop prints its own line, even if it ends with its thread",
	  each_thread, ONCE, 0 },
	{ "nothing is printed without IV_STATS", variable_unset, ONCE, 0 },
	{ "nothing is printed if IV_STATS is not 1", variable_is_0, ONCE, 0 },
	{ "only the first iv_init reads IV_STATS",
	  variable_set_later, ONCE, 0 },
	{ "a program with privileges ignores IV_STATS",
	  a_privileged_program, ONCE, 0 },
	{ "a loop ends if standard error is closed", a_closed_stderr,
	  ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: benchmarks of a post to a loop that sleeps.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Measures the time from just before the post until the handler runs.  A loop
 * is known to wait once its handler has run and the kernel reports its thread
 * as sleeping.  The CPU time is that of the loop's thread.
 */

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "peer.h"

struct sleeper {
	struct loop		loop;
	OWN_LINES struct wake	wake;
	struct wake		end;
	struct meter		*meter;
	double			posted;		/* time of the post */
	sem_t			woken;
	pthread_barrier_t	ready;
	int			cpu;
	int			stat;		/* the thread's file in /proc */
};

WAKE_HANDLER(sleeper_woken)
{
	struct sleeper *s = cookie;

	s->meter->wall += clock_now(CLOCK_MONOTONIC) - s->posted;
	must(sem_post(&s->woken) == 0);
}

WAKE_HANDLER(sleeper_ended)
{
	struct sleeper *s = cookie;

	loop_quit(&s->loop);
}

static void *sleeper_thread(void *_sleeper)
{
	struct sleeper *s = _sleeper;

	pin(s->cpu);
	s->stat = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
	must(s->stat >= 0);
	loop_new(&s->loop);
	wake_new(&s->loop, &s->wake, sleeper_woken, s);
	wake_new(&s->loop, &s->end, sleeper_ended, s);
	meet(&s->ready);

	s->meter->cpu = -clock_now(CLOCK_THREAD_CPUTIME_ID);
	loop_run(&s->loop);
	s->meter->cpu += clock_now(CLOCK_THREAD_CPUTIME_ID);

	/* The other thread may still be inside its last post. */
	meet(&s->ready);
	wake_free(&s->wake);
	wake_free(&s->end);
	loop_free(&s->loop);
	must(close(s->stat) == 0);

	return NULL;
}

/* The text is "PID (NAME) STATE ...", where NAME may contain anything. */
static int is_asleep(const struct sleeper *s)
{
	char text[512];
	ssize_t ret = pread(s->stat, text, sizeof(text) - 1, 0);
	const char *name_end;

	must(ret > 0);
	text[ret] = '\0';
	name_end = strrchr(text, ')');
	must(name_end != NULL);

	return !strncmp(name_end, ") S", 3);
}

static void wake_up(struct sleeper *s)
{
	while (!is_asleep(s))
		sched_yield();
	s->posted = clock_now(CLOCK_MONOTONIC);
	post(&s->wake);
	while (sem_wait(&s->woken) < 0)
		;
}

static void sleeper_wake(struct meter *m, long n, int cpus)
{
	struct sleeper *s;
	pthread_t thread;

	if (lacks_cpus(m, cpus))
		return;
	s = zeroed(1, sizeof(*s));
	s->meter = m;
	s->cpu = cpus - 1;
	must(sem_init(&s->woken, 0, 0) == 0);
	meeting_of(&s->ready, 2);
	pin(0);
	thread = thread_start(sleeper_thread, s);
	meet(&s->ready);

	for (; m->ops < n; m->ops++)
		wake_up(s);

	post(&s->end);
	meet(&s->ready);
	thread_join(thread);
	free(s);
}


const struct row rows_wake[] = {
	{ "wake", "wake", "ns",
	  "from a post to the handler of a loop asleep on another core",
	  sleeper_wake, 2, 200 },
	{ "wake_one", "wake", "ns",
	  "from a post to the handler of a loop asleep on the same core",
	  sleeper_wake, 1, 200 },
	{ 0 }
};

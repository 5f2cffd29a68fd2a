/*
 * libivykis: what objects cost in memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The growth of the process's memory per object: the caller's structs, the
 * library's and the stack, but neither code nor the kernel's memory.  It is
 * most exact in a process that has done nothing else before.
 */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "peer.h"

/*
 * Returns the size of the anonymous memory, including what is shared with
 * children, or -1.  For this file the kernel counts each page; its other counts
 * are not exact.
 */
static long memory_used(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "re");
	long anonymous = -1, shared = -1;
	char line[100];

	must(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL) {
		(void)sscanf(line, "Pss_Anon: %ld", &anonymous);
		(void)sscanf(line, "Pss_Shmem: %ld", &shared);
	}
	must(fclose(f) == 0);

	return shared < 0 ? -1 : (anonymous + shared) * 1024;
}

struct growth {
	struct meter	*meter;
	long		before;
};

static void growth_begin(struct growth *g, struct meter *m)
{
	(void)malloc_trim(0);
	g->meter = m;
	/* The first reading itself allocates memory. */
	(void)memory_used();
	g->before = memory_used();
	if (g->before < 0)
		m->none = "Linux before 5.9 does not count memory well enough";
	meter_start(m);
}

static void growth_end(struct growth *g, long num)
{
	meter_stop(g->meter);
	g->meter->count = (double)(memory_used() - g->before) / num;
	g->meter->ops = num;
}

WAKE_HANDLER(wake_seen)
{
	loop_quit(cookie);
}

/* Make a loop that has run once, with its first object. */
static void warm_loop_new(struct loop *l, struct wake *w)
{
	loop_new(l);
	wake_new(l, w, wake_seen, l);
	post(w);
	loop_run(l);
}

static void warm_loop_free(struct loop *l, struct wake *w)
{
	wake_free(w);
	loop_free(l);
}

static void wakes(struct meter *m, long n, int num)
{
	struct growth g;
	struct wake first;
	struct wake *all;
	struct loop loop;

	(void)n;
	if (lacks_descriptors(m, num))
		return;
	warm_loop_new(&loop, &first);

	growth_begin(&g, m);
	all = zeroed(num, sizeof(*all));
	wakes_new(&loop, all, num, wake_seen, &loop);
	post(&first);
	loop_run(&loop);
	growth_end(&g, num);

	wakes_free(all, num);
	warm_loop_free(&loop, &first);
	free(all);
}

#ifndef BY_EVENT

WATCH_HANDLER(watch_readable)
{
	(void)cookie;
	must(!"nothing to read");
}

static void watches(struct meter *m, long n, int num)
{
	struct growth g;
	struct wake first;
	struct watch *all;
	struct loop loop;
	int *fds;
	int i;

	(void)n;
	if (lacks_descriptors(m, num))
		return;
	warm_loop_new(&loop, &first);
	fds = zeroed(num, sizeof(*fds));
	for (i = 0; i < num; i++)
		must((fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0);

	growth_begin(&g, m);
	all = zeroed(num, sizeof(*all));
	for (i = 0; i < num; i++)
		watch_new(&loop, &all[i], fds[i], watch_readable, NULL);
	post(&first);
	loop_run(&loop);
	growth_end(&g, num);

	for (i = 0; i < num; i++) {
		watch_free(&all[i]);
		must(close(fds[i]) == 0);
	}
	warm_loop_free(&loop, &first);
	free(all);
	free(fds);
}

#ifndef NO_TIMERS

TIMER_HANDLER(timer_due)
{
	(void)cookie;
	must(!"not for an hour");
}

static void timers(struct meter *m, long n, int num)
{
	struct growth g;
	struct wake first;
	struct timer *all;
	struct loop loop;
	int i;

	(void)n;
	warm_loop_new(&loop, &first);

	growth_begin(&g, m);
	all = zeroed(num, sizeof(*all));
	for (i = 0; i < num; i++) {
		timer_new(&loop, &all[i], timer_due, NULL);
		timer_arm(&all[i], 3600 * 1000000U + i);
	}
	growth_end(&g, num);

	for (i = 0; i < num; i++)
		timer_free(&all[i]);
	warm_loop_free(&loop, &first);
	free(all);
}

#endif

WATCH_HANDLER(life_readable)
{
	loop_quit(cookie);
}

/* Each loop has its own thread, whose stack is counted as well. */
struct lives {
	pthread_barrier_t	step;
	int			fd;		/* always readable */
};

/* Wait until all threads have started, and until they may make their loops. */
static void lives_begin(struct lives *lives)
{
	meet(&lives->step);
	meet(&lives->step);
}

/* Wait until all loops have run, and until they may end. */
static void lives_end(struct lives *lives)
{
	meet(&lives->step);
	meet(&lives->step);
}

static void *posted_thread(void *_lives)
{
	struct lives *lives = _lives;
	struct wake wake;
	struct loop loop;

	lives_begin(lives);
	warm_loop_new(&loop, &wake);
	lives_end(lives);
	warm_loop_free(&loop, &wake);

	return NULL;
}

static void *served_thread(void *_lives)
{
	struct lives *lives = _lives;
	struct watch watch;
	struct loop loop;

	lives_begin(lives);
	loop_new(&loop);
	watch_new(&loop, &watch, lives->fd, life_readable, &loop);
	loop_run(&loop);
	lives_end(lives);
	watch_free(&watch);
	loop_free(&loop);

	return NULL;
}

static void loops(struct meter *m, void *(*fn)(void *), int num)
{
	pthread_t threads[num];
	struct lives lives;
	struct growth g;
	struct loop first;
	struct wake wake;
	int i;

	/* A heap for each thread would be counted. */
	must(mallopt(M_ARENA_MAX, 1) == 1);
	/* The first loop of some peers sets up shared state without a lock. */
	warm_loop_new(&first, &wake);
	warm_loop_free(&first, &wake);
	lives.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	must(lives.fd >= 0);
	meeting_of(&lives.step, num + 1);
	for (i = 0; i < num; i++)
		threads[i] = thread_start(fn, &lives);

	meet(&lives.step);
	growth_begin(&g, m);
	meet(&lives.step);
	meet(&lives.step);
	growth_end(&g, num);
	meet(&lives.step);

	for (i = 0; i < num; i++)
		thread_join(threads[i]);
	must(close(lives.fd) == 0);
}

static void loops_posted(struct meter *m, long n, int num)
{
	(void)n;
	loops(m, posted_thread, num);
}

static void loops_served(struct meter *m, long n, int num)
{
	(void)n;
	loops(m, served_thread, num);
}

#endif


const struct row rows_memory[] = {
	{ "mem_event", "memory", "B",
	  "bytes per object that is posted to", wakes, 4000, 1 },
#ifndef BY_EVENT
	{ "mem_fd", "memory", "B",
	  "bytes per descriptor that is watched", watches, 4000, 1 },
#ifndef NO_TIMERS
	{ "mem_timer", "memory", "B",
	  "bytes per timer that is armed", timers, 100000, 1 },
#endif
	{ "mem_loop", "memory", "B",
	  "bytes per loop that a post has woken, with the stack it uses",
	  loops_posted, 100, 1 },
	{ "mem_loop_fd", "memory", "B",
	  "bytes per loop that has served a descriptor and nothing else",
	  loops_served, 100, 1 },
#endif
	{ 0 }
};

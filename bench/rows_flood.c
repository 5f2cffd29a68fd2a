/*
 * libivykis: benchmarks of threads that post without pause.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All threads post to one object, and its handler's runs are counted (the row
 * async_pummel of libuv's own benchmarks).
 */

#include <stdatomic.h>
#include <stdlib.h>
#include "peer.h"

struct flood {
	struct loop		loop;
	OWN_LINES struct wake	wake;
	OWN_LINES atomic_int	stop;
	OWN_LINES long		left;
	pthread_barrier_t	start;
};

WAKE_HANDLER(flood_seen)
{
	struct flood *f = cookie;

	if (--f->left > 0)
		return;
	atomic_store_explicit(&f->stop, 1, memory_order_relaxed);
	loop_quit(&f->loop);
}

static void *flood_thread(void *_flood)
{
	struct flood *f = _flood;

	meet(&f->start);
	while (!atomic_load_explicit(&f->stop, memory_order_relaxed))
		post(&f->wake);

	return NULL;
}

static void flood(struct meter *m, long n, int num)
{
	struct flood *f = zeroed(1, sizeof(*f));
	pthread_t threads[num];
	int i;

	f->left = n;
	meeting_of(&f->start, num + 1);
	loop_new(&f->loop);
	wake_new(&f->loop, &f->wake, flood_seen, f);
	for (i = 0; i < num; i++)
		threads[i] = thread_start(flood_thread, f);

	meter_start(m);
	meet(&f->start);
	loop_run(&f->loop);
	meter_stop(m);
	m->ops = n;

	for (i = 0; i < num; i++)
		thread_join(threads[i]);
	wake_free(&f->wake);
	loop_free(&f->loop);
	free(f);
}


const struct row rows_flood[] = {
	{ "flood_1", "flood", "runs/s",
	  "handler runs under 1 flooding thread", flood, 1, 20 },
	{ "flood_2", "flood", "runs/s",
	  "handler runs under 2 flooding threads", flood, 2, 20 },
	{ "flood_4", "flood", "runs/s",
	  "handler runs under 4 flooding threads", flood, 4, 20 },
	{ "flood_8", "flood", "runs/s",
	  "handler runs under 8 flooding threads", flood, 8, 20 },
	{ 0 }
};

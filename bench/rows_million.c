/*
 * libivykis: a benchmark of many objects that are posted to at once.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each is posted once from another thread, in scattered order; the next round
 * begins when all were delivered (million_async of libuv's own benchmarks).
 */

#include <semaphore.h>
#include <stdlib.h>
#include "peer.h"

#define SCATTER		7919		/* a prime: visits every index */

struct million {
	struct loop	loop;
	struct wake	*wakes;
	struct wake	end;
	int		num;
	int		seen;
	long		rounds;
	sem_t		all_seen;
};

WAKE_HANDLER(million_seen)
{
	struct million *a = cookie;

	if (++a->seen < a->num)
		return;
	a->seen = 0;
	must(sem_post(&a->all_seen) == 0);
}

WAKE_HANDLER(million_ended)
{
	struct million *a = cookie;

	loop_quit(&a->loop);
}

static void *million_thread(void *_million)
{
	struct million *a = _million;
	long round;
	long i;

	for (round = 0; round < a->rounds; round++) {
		for (i = 0; i < a->num; i++)
			post(&a->wakes[i * SCATTER % a->num]);
		must(sem_wait(&a->all_seen) == 0);
	}
	post(&a->end);

	return NULL;
}

static void million(struct meter *m, long n, int num)
{
	struct million a = { .num = num, .rounds = (n + num - 1) / num };
	pthread_t thread;

	if (lacks_descriptors(m, num))
		return;
	a.wakes = zeroed(num, sizeof(*a.wakes));
	must(sem_init(&a.all_seen, 0, 0) == 0);
	loop_new(&a.loop);
	wakes_new(&a.loop, a.wakes, num, million_seen, &a);
	wake_new(&a.loop, &a.end, million_ended, &a);

	meter_start(m);
	thread = thread_start(million_thread, &a);
	loop_run(&a.loop);
	meter_stop(m);
	m->ops = a.rounds * num;

	thread_join(thread);
	wake_free(&a.end);
	wakes_free(a.wakes, num);
	loop_free(&a.loop);
	free(a.wakes);
}


const struct row rows_million[] = {
	{ "million_async", "million", "ns",
	  "a post to each of 10,000 objects, delivered", million, 10000, 10000 },
	{ 0 }
};

/*
 * libivykis: a benchmark of wakeups that get lost.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One thread publishes values by a relaxed store and a post, in random bursts,
 * so that posts overlap with the loop's clearing of the one before; the
 * handler reads the value.  Once no post is pending, it must have read the last
 * value.
 *
 * That is not a matter of time: the publisher posts to a second object, waits
 * until the post was delivered, and does both again.  Between the two
 * deliveries the loop has served all that was pending.  These posts are never
 * coalesced, so no peer loses them.
 */

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "peer.h"

#define PATIENCE	2000		/* reads before a probe */

struct lost {
	struct loop		loop;
	OWN_LINES struct wake	wake;
	OWN_LINES struct wake	probe;
	OWN_LINES struct wake	end;
	OWN_LINES atomic_long	value;
	OWN_LINES atomic_long	seen;
	OWN_LINES atomic_long	probes;
	pthread_barrier_t	start;
};

WAKE_HANDLER(lost_seen)
{
	struct lost *l = cookie;
	long value = atomic_load_explicit(&l->value, memory_order_relaxed);

	atomic_store_explicit(&l->seen, value, memory_order_release);
}

WAKE_HANDLER(lost_probed)
{
	struct lost *l = cookie;

	atomic_fetch_add(&l->probes, 1);
}

WAKE_HANDLER(lost_ended)
{
	struct lost *l = cookie;

	loop_quit(&l->loop);
}

static void *lost_thread(void *_lost)
{
	struct lost *l = _lost;

	pin(1);
	loop_new(&l->loop);
	wake_new(&l->loop, &l->wake, lost_seen, l);
	wake_new(&l->loop, &l->probe, lost_probed, l);
	wake_new(&l->loop, &l->end, lost_ended, l);
	meet(&l->start);
	loop_run(&l->loop);
	meet(&l->start);
	wake_free(&l->wake);
	wake_free(&l->probe);
	wake_free(&l->end);
	loop_free(&l->loop);

	return NULL;
}

static void probe(struct lost *l)
{
	long probes = atomic_load(&l->probes);

	post(&l->probe);
	while (atomic_load(&l->probes) == probes)
		sched_yield();
}

static int was_seen(struct lost *l, long value)
{
	int i;

	for (i = 0; i < PATIENCE; i++) {
		if (atomic_load_explicit(&l->seen, memory_order_acquire) ==
		    value)
			return 1;
	}
	probe(l);
	probe(l);

	return atomic_load(&l->seen) == value;
}

static void idle(unsigned int steps)
{
	while (steps-- > 0)
		atomic_signal_fence(memory_order_seq_cst);
}

static void publish(struct lost *l, struct meter *m, long n)
{
	uint64_t random = 1;
	long value = 0;

	for (; m->ops < n; m->ops++) {
		unsigned int posts = 1 + random_below(&random, 512);
		unsigned int pause = 1 + random_below(&random, 16);

		while (posts-- > 0) {
			atomic_store_explicit(&l->value, ++value,
					      memory_order_relaxed);
			post(&l->wake);
			idle(random_below(&random, pause));
		}
		if (!was_seen(l, value))
			m->count++;
	}
}

static void lost(struct meter *m, long n, int arg)
{
	struct lost *l;
	pthread_t thread;

	(void)arg;
	if (lacks_cpus(m, 2))
		return;
	l = zeroed(1, sizeof(*l));
	pin(0);
	meeting_of(&l->start, 2);
	thread = thread_start(lost_thread, l);
	meet(&l->start);

	meter_start(m);
	publish(l, m, n);
	meter_stop(m);

	post(&l->end);
	meet(&l->start);
	thread_join(thread);
	free(l);
}


const struct row rows_lost[] = {
	{ "lost", "lost", "lost",
	  "wakeups lost in bursts of posts", lost, 0, 500 },
	{ 0 }
};

/*
 * libivykis: benchmarks of a stream of items from another process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A forked child puts items into a ring in shared memory and posts after each
 * of them; the handler takes out what is there.
 */

#include <sched.h>
#include <stdatomic.h>
#include "peer.h"

#define SLOTS		4096UL
#define READS		1000		/* of a full ring, before it yields */

struct ring {
	OWN_LINES atomic_ulong	put;	/* items so far, by the producer */
	OWN_LINES atomic_ulong	taken;	/* items so far, by the consumer */
	OWN_LINES unsigned long	slots[SLOTS];
};

struct stream {
	struct loop	loop;
	struct wake	wake;
	struct ring	*ring;
	struct meter	*meter;
	unsigned long	n;
	long		runs;
};

WAKE_HANDLER(stream_posted)
{
	struct stream *s = cookie;
	struct ring *r = s->ring;
	unsigned long i = atomic_load_explicit(&r->taken, memory_order_relaxed);
	/* Pairs with the store in put_item(): the items are there. */
	unsigned long end = atomic_load_explicit(&r->put, memory_order_acquire);

	s->runs++;
	for (; i != end; i++)
		must(r->slots[i % SLOTS] == i);
	/* Pairs with the load in wait_for_slot(): the items have been read. */
	atomic_store_explicit(&r->taken, i, memory_order_release);
	if (i == s->n)
		loop_quit(&s->loop);
}

static void wait_for_slot(struct ring *r, unsigned long i)
{
	unsigned int reads = 0;

	/* Pairs with the store in stream_posted(). */
	while (i - atomic_load_explicit(&r->taken, memory_order_acquire) ==
	       SLOTS) {
		if (++reads % READS == 0)
			sched_yield();
	}
}

static void put_item(struct ring *r, unsigned long i)
{
	wait_for_slot(r, i);
	r->slots[i % SLOTS] = i;
	/* Pairs with the load in stream_posted(). */
	atomic_store_explicit(&r->put, i + 1, memory_order_release);
}

static void produce(void *_stream)
{
	struct stream *s = _stream;
	struct meter *m = meter_of_child(s->meter);
	unsigned long i;

	pin(1);
	meter_start(m);
	for (i = 0; i < s->n; i++) {
		put_item(s->ring, i);
		post(&s->wake);
	}
	meter_stop(m);
}

static void stream(struct meter *m, long n, int arg)
{
	struct stream s = { .meter = m, .n = n };
	pid_t pid;

	(void)arg;
	if (lacks_cpus(m, 2))
		return;
	pin(0);
	s.ring = shared_new(sizeof(*s.ring));
	loop_new(&s.loop);
	wake_new(&s.loop, &s.wake, stream_posted, &s);
	pid = child_start(produce, &s);

	meter_start(m);
	loop_run(&s.loop);
	meter_stop(m);
	/* The time begins when the child puts its first item. */
	m->wall -= meter_of_child(m)->began - m->began;
	m->ops = n;
	m->count = (double)n / s.runs;

	child_wait(pid);
	meter_add_child(m);
	wake_free(&s.wake);
	loop_free(&s.loop);
	shared_free(s.ring, sizeof(*s.ring));
}


const struct row rows_stream[] = {
	{ "stream", "stream", "ns",
	  "an item from another process, with a post for each",
	  stream, 0, 20000 },
	{ "stream_items", "items", "items",
	  "items from another process per handler run", stream, 0, 20000 },
	{ 0 }
};

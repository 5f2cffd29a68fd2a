/*
 * libivykis: benchmarks of posts while one is pending.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "peer.h"

struct burst {
	struct loop	loop;
	struct wake	wake;
	long		calls;
};

WAKE_HANDLER(burst_seen)
{
	struct burst *b = cookie;

	b->calls++;
	loop_quit(&b->loop);
}

static void burst_post(struct burst *b, struct meter *m, long n)
{
	long i;

	meter_start(m);
	for (i = 0; i < n; i++)
		post(&b->wake);
	meter_stop(m);
	m->ops = n;
}

static void burst_end(struct burst *b)
{
	loop_run(&b->loop);
	must(b->calls == 1);
	wake_free(&b->wake);
	loop_free(&b->loop);
}

static void burst(struct meter *m, long n, int arg)
{
	struct burst b = { .calls = 0 };

	(void)arg;
	loop_new(&b.loop);
	wake_new(&b.loop, &b.wake, burst_seen, &b);
	post(&b.wake);
	burst_post(&b, m, n);
	burst_end(&b);
}

#ifdef ACROSS_FORK
struct burst_child {
	struct burst	*burst;
	struct meter	*meter;
	long		n;
};

static void burst_in_child(void *_child)
{
	struct burst_child *child = _child;

	burst_post(child->burst, child->meter, child->n);
}

static void burst_fork(struct meter *m, long n, int arg)
{
	struct burst b = { .calls = 0 };
	struct burst_child child = { .burst = &b, .meter = m, .n = n };

	(void)arg;
	loop_new(&b.loop);
	wake_new(&b.loop, &b.wake, burst_seen, &b);
	post(&b.wake);

	child_wait(child_start(burst_in_child, &child));
	burst_end(&b);
}
#endif


const struct row rows_burst[] = {
	{ "burst", "burst", "ns",
	  "a post while one is pending", burst, 0, 10000 },
#ifdef ACROSS_FORK
	{ "burst_fork", "burst", "ns",
	  "a post from another process while one is pending", burst_fork, 0, 10000 },
#endif
	{ 0 }
};

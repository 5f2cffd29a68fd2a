/*
 * libivykis: benchmarks of posts and registrations of one thread.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include <unistd.h>
#include "peer.h"


/* Post while one is pending. */
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
static void burst_fork(struct meter *m, long n, int arg)
{
	struct burst b = { .calls = 0 };
	pid_t pid;

	(void)arg;
	loop_new(&b.loop);
	wake_new(&b.loop, &b.wake, burst_seen, &b);
	post(&b.wake);

	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		burst_post(&b, m, n);
		_exit(0);
	}
	child_wait(pid);
	burst_end(&b);
}
#endif


/*
 * Post, handler, post, in one thread: one object, in the middle of others that
 * are registered and idle.
 */
struct self {
	struct loop	loop;
	struct wake	*wakes;
	struct wake	*busy;
	long		left;
};

WAKE_HANDLER(self_seen)
{
	struct self *s = cookie;

	if (--s->left == 0)
		loop_quit(&s->loop);
	else
		post(s->busy);
}

static void self(struct meter *m, long n, int num)
{
	struct self s = { .left = n };

	if (!have_descriptors(num)) {
		m->none = "RLIMIT_NOFILE is too low";
		return;
	}
	s.wakes = zeroed(num, sizeof(*s.wakes));
	s.busy = &s.wakes[num / 2];
	loop_new(&s.loop);
	wakes_new(&s.loop, s.wakes, num, self_seen, &s);

	meter_start(m);
	post(s.busy);
	loop_run(&s.loop);
	meter_stop(m);
	m->ops = n;

	wakes_free(s.wakes, num);
	loop_free(&s.loop);
	free(s.wakes);
}


/*
 * Register and unregister, in batches, after each of which the loop goes
 * through a pass: some peers do part of the work only then.
 */
#define REGISTER_BATCH	1000

WAKE_HANDLER(register_passed)
{
	loop_quit(cookie);
}

static void pass(struct loop *l, struct wake *standing)
{
	post(standing);
	loop_run(l);
}

static void register_batches(struct meter *m, long n, struct loop *l,
			     struct wake *batch)
{
	struct wake standing;

	/* What a loop needs for its first object is not what is measured. */
	wake_new(l, &standing, register_passed, l);

	meter_start(m);
	for (; m->ops < n; m->ops += REGISTER_BATCH) {
		wakes_new(l, batch, REGISTER_BATCH, register_passed, l);
		pass(l, &standing);
		wakes_free(batch, REGISTER_BATCH);
		pass(l, &standing);
	}
	meter_stop(m);

	wake_free(&standing);
	loop_free(l);
}

static void registering(struct meter *m, long n, int arg)
{
	struct wake *batch;
	struct loop loop;

	(void)arg;
	if (!have_descriptors(REGISTER_BATCH)) {
		m->none = "RLIMIT_NOFILE is too low";
		return;
	}
	batch = zeroed(REGISTER_BATCH, sizeof(*batch));
	loop_new(&loop);
	register_batches(m, n, &loop, batch);
	free(batch);
}


/* A loop from its beginning to its end, woken once. */
WAKE_HANDLER(life_seen)
{
	loop_quit(cookie);
}

static void life(struct meter *m, long n, int arg)
{
	struct wake wake;
	struct loop loop;

	(void)arg;
	meter_start(m);
	for (; m->ops < n; m->ops++) {
		loop_new(&loop);
		wake_new(&loop, &wake, life_seen, &loop);
		pass(&loop, &wake);
		wake_free(&wake);
		loop_free(&loop);
	}
	meter_stop(m);
}


const struct row rows_post[] = {
	{ "burst", "burst", "ns",
	  "post while one is pending", burst, 0, 10000 },
#ifdef ACROSS_FORK
	{ "burst_fork", "burst", "ns",
	  "the same from another process", burst_fork, 0, 10000 },
#endif
	{ "self_1", "self", "ns",
	  "post, handler, post in one thread", self, 1, 2000 },
	{ "self_1000", "self", "ns",
	  "the same over 1,000 registered", self, 1000, 2000 },
	{ "self_10000", "self", "ns",
	  "the same over 10,000 registered", self, 10000, 2000 },
	{ "register", "register", "ns",
	  "register and unregister", registering, 0, REGISTER_BATCH },
	{ "loop", "loop", "ns",
	  "a loop's life: begin, be woken once, end", life, 0, 100 },
	{ 0 }
};

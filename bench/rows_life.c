/*
 * libivykis: benchmarks of objects and loops that come and go.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include "peer.h"

/*
 * Register and unregister, in batches; the loop runs once after each of them,
 * as some peers do part of the work only then.
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

	/* What a loop needs for its first object is not measured. */
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
	if (lacks_descriptors(m, REGISTER_BATCH))
		return;
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


const struct row rows_life[] = {
	{ "register", "life", "ns",
	  "an object registered and unregistered", registering, 0, REGISTER_BATCH },
	{ "loop", "life", "ns",
	  "a loop that begins, is woken once, and ends", life, 0, 100 },
	{ 0 }
};

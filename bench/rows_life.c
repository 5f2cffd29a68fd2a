/*
 * libivykis: benchmarks of objects and loops that come and go.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include "peer.h"

/*
 * Register and unregister, in batches; the loop runs once after each of these,
 * as some peers do part of the work only then.
 */
#define REGISTER_BATCH	1000

WAKE_HANDLER(register_posted)
{
	loop_quit(cookie);
}

static void run_once(struct loop *l, struct wake *w)
{
	post(w);
	loop_run(l);
}

static void register_batches(struct meter *m, long n, struct loop *l,
			     struct wake *batch)
{
	struct wake first;

	/* What a loop needs for its first object is not measured. */
	wake_new(l, &first, register_posted, l);

	meter_start(m);
	for (; m->ops < n; m->ops += REGISTER_BATCH) {
		wakes_new(l, batch, REGISTER_BATCH, register_posted, l);
		run_once(l, &first);
		wakes_free(batch, REGISTER_BATCH);
		run_once(l, &first);
	}
	meter_stop(m);

	wake_free(&first);
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
		run_once(&loop, &wake);
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

/*
 * libivykis: benchmarks of a loop that posts to itself.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The handler of an object posts to it again, in the loop's own thread.  Other
 * objects are registered and idle.
 */

#include <stdlib.h>
#include "peer.h"

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

	if (lacks_descriptors(m, num))
		return;
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


const struct row rows_self[] = {
	{ "self_1", "self", "ns",
	  "a post by the handler that it calls, in one thread", self, 1, 2000 },
	{ "self_1000", "self", "ns",
	  "the same post with 1,000 objects registered", self, 1000, 2000 },
	{ "self_10000", "self", "ns",
	  "the same post with 10,000 objects registered", self, 10000, 2000 },
	{ 0 }
};

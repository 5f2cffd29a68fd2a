/*
 * libivykis: benchmarks of descriptors that are ready.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "peer.h"


/*
 * Socket pairs in a ring, some of them active: the handler of a pair reads a
 * byte, and writes one to the next pair.
 */
#define PAIRS	1000

struct ring;

struct pair {
	struct watch	watch;
	struct ring	*ring;
	int		in;
	int		out;
	int		next;		/* out of the next pair */
};

struct ring {
	struct loop	loop;
	struct pair	pairs[PAIRS];
	long		reads;		/* left to make */
	long		writes;		/* left to make */
};

WATCH_HANDLER(pair_readable)
{
	struct pair *p = cookie;
	struct ring *r = p->ring;
	char byte;

	must(read(p->in, &byte, 1) == 1);
	if (r->writes > 0) {
		r->writes--;
		must(write(p->next, &byte, 1) == 1);
	}
	if (--r->reads == 0)
		loop_quit(&r->loop);
}

static void ring_new(struct ring *r)
{
	int fd[2];
	int i;

	loop_new(&r->loop);
	for (i = 0; i < PAIRS; i++) {
		struct pair *p = &r->pairs[i];

		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				fd) == 0);
		p->ring = r;
		p->in = fd[0];
		p->out = fd[1];
		r->pairs[(i + PAIRS - 1) % PAIRS].next = fd[1];
		watch_new(&r->loop, &p->watch, p->in, pair_readable, p);
	}
}

static void ring_free(struct ring *r)
{
	int i;

	for (i = 0; i < PAIRS; i++) {
		watch_free(&r->pairs[i].watch);
		must(close(r->pairs[i].in) == 0);
		must(close(r->pairs[i].out) == 0);
	}
	loop_free(&r->loop);
}

static void ring_turn(struct ring *r, long reads, int active)
{
	int i;

	r->reads = reads;
	r->writes = reads - active;
	for (i = 0; i < active; i++)
		must(write(r->pairs[i * (PAIRS / active)].out, "", 1) == 1);
	loop_run(&r->loop);
}

static void ring(struct meter *m, long n, int active)
{
	struct ring *r;

	if (lacks_descriptors(m, 2 * PAIRS))
		return;
	r = zeroed(1, sizeof(*r));
	ring_new(r);
	/* Some peers pass descriptors to the kernel when the loop runs. */
	ring_turn(r, PAIRS, active);

	m->ops = n > active ? n : active;
	meter_start(m);
	ring_turn(r, m->ops, active);
	meter_stop(m);

	ring_free(r);
	free(r);
}


const struct row rows_pairs[] = {
	{ "pairs_1", "pairs", "ns",
	  "a byte passed on, 1,000 socket pairs, 1 active", ring, 1, 2000 },
	{ "pairs_100", "pairs", "ns",
	  "a byte passed on, 1,000 socket pairs, 100 active", ring, 100, 2000 },
	{ 0 }
};

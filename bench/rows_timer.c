/*
 * libivykis: benchmarks of timers.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include <unistd.h>
#include "peer.h"

#define MSEC		1000U		/* microseconds */
#define SEC		1000000U

struct timers {
	struct loop	loop;
	struct wake	next;
	struct timer	*all;
	struct meter	*meter;
	uint64_t	random;
	long		rounds;		/* left to run */
	int		num;
	int		left;		/* still armed */
	int		arming_counts;
};

static void timers_free(struct timers *t)
{
	int i;

	for (i = 0; i < t->num; i++)
		timer_free(&t->all[i]);
	wake_free(&t->next);
	loop_free(&t->loop);
	free(t->all);
}


/*
 * Idle timeouts: when something happens on one of many connections, its timer
 * is moved to a minute from now.  Several timers are moved in each iteration.
 */
#define IDLE		(60 * SEC)
#define MOVES		1000

TIMER_HANDLER(move_idle)
{
	(void)cookie;
	must(!"idle for a minute");
}

WAKE_HANDLER(move_some)
{
	struct timers *t = cookie;
	int i;

	for (i = 0; i < MOVES; i++)
		timer_move(&t->all[random_below(&t->random, t->num)], IDLE);
	if (--t->rounds == 0)
		loop_quit(&t->loop);
	else
		post(&t->next);
}

static void move(struct meter *m, long n, int num)
{
	struct timers t = { .num = num, .rounds = (n + MOVES - 1) / MOVES };
	int i;

	t.all = zeroed(num, sizeof(*t.all));
	loop_new(&t.loop);
	wake_new(&t.loop, &t.next, move_some, &t);
	for (i = 0; i < num; i++) {
		timer_new(&t.loop, &t.all[i], move_idle, &t);
		timer_arm(&t.all[i],
			  IDLE / 2 + random_below(&t.random, IDLE / 2));
	}

	m->ops = t.rounds * MOVES;
	meter_start(m);
	post(&t.next);
	loop_run(&t.loop);
	meter_stop(m);

	timers_free(&t);
}


/*
 * Timers armed for the next milliseconds, in random order, and all due by the
 * time the loop may check them.
 */
#define SPREAD		(8 * MSEC)

static void fire_round(struct timers *t)
{
	int i;

	if (t->arming_counts)
		meter_start(t->meter);
	for (i = 0; i < t->num; i++)
		timer_arm(&t->all[i], random_below(&t->random, SPREAD));
	if (t->arming_counts)
		meter_stop(t->meter);
	t->left = t->num;

	(void)usleep(SPREAD + 2 * MSEC);
	meter_start(t->meter);
}

WAKE_HANDLER(fire_again)
{
	fire_round(cookie);
}

TIMER_HANDLER(fire_due)
{
	struct timers *t = cookie;

	if (--t->left > 0)
		return;
	meter_stop(t->meter);
	if (--t->rounds == 0)
		loop_quit(&t->loop);
	else
		post(&t->next);
}

static void fires(struct meter *m, long n, int num, int arming_counts)
{
	struct timers t = {
		.num		= num,
		.rounds		= (n + num - 1) / num,
		.meter		= m,
		.arming_counts	= arming_counts,
	};
	int i;

	t.all = zeroed(num, sizeof(*t.all));
	loop_new(&t.loop);
	wake_new(&t.loop, &t.next, fire_again, &t);
	for (i = 0; i < num; i++)
		timer_new(&t.loop, &t.all[i], fire_due, &t);

	m->ops = t.rounds * num;
	post(&t.next);
	loop_run(&t.loop);

	timers_free(&t);
}

static void fire(struct meter *m, long n, int num)
{
	fires(m, n, num, 0);
}

static void arm_and_fire(struct meter *m, long n, int num)
{
	fires(m, n, num, 1);
}


const struct row rows_timer[] = {
	{ "move_1000", "move", "ns",
	  "a timer moved among 1,000 (idle timeouts)", move, 1000, MOVES },
	{ "move_10000", "move", "ns",
	  "a timer moved among 10,000", move, 10000, MOVES },
	{ "move_1000000", "move", "ns",
	  "a timer moved among 1,000,000", move, 1000000, 200 * MOVES },
	{ "fire_1000", "fire", "ns",
	  "each of 1,000 timers fired", fire, 1000, 1000 },
	{ "fire_100000", "fire", "ns",
	  "each of 100,000 timers fired", fire, 100000, 100000 },
	{ "fire_1000000", "fire", "ns",
	  "each of 1,000,000 timers fired", fire, 1000000, 1000000 },
	{ "arm_fire_1000", "fire", "ns",
	  "each of 1,000 timers armed and fired", arm_and_fire, 1000, 1000 },
	{ "arm_fire_100000", "fire", "ns",
	  "each of 100,000 timers armed and fired",
	  arm_and_fire, 100000, 100000 },
	{ 0 }
};

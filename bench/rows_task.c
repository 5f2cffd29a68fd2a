/*
 * libivykis: benchmarks of work that a loop's own handlers queue.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * In a chain, each handler call queues the next one.  A peer that meanwhile
 * does not serve a descriptor that is always readable starves it.
 */

#include <unistd.h>
#include "peer.h"

struct chain {
	struct loop	loop;
	struct wake	wake;
	struct task	task;
	struct watch	watch;
	long		left;
	long		served;
};

WAKE_HANDLER(chain_posted)
{
	struct chain *c = cookie;

	if (--c->left == 0)
		loop_quit(&c->loop);
	else
		post(&c->wake);
}

TASK_HANDLER(chain_ran)
{
	struct chain *c = cookie;

	if (--c->left == 0)
		loop_quit(&c->loop);
	else
		task_again(&c->task);
}

WATCH_HANDLER(chain_served)
{
	struct chain *c = cookie;

	c->served++;
}

static void chain_begin(struct chain *c, int by_task)
{
	if (by_task)
		task_again(&c->task);
	else
		post(&c->wake);
}

#define BY_TASK		1
#define WATCHED		2

static void chain(struct meter *m, long n, int how)
{
	struct chain c = { .left = n };
	int fd[2];

	loop_new(&c.loop);
	wake_new(&c.loop, &c.wake, chain_posted, &c);
	task_new(&c.loop, &c.task, chain_ran, &c);
	must(pipe(fd) == 0);
	must(write(fd[1], "", 1) == 1);
	if (how & WATCHED)
		watch_new(&c.loop, &c.watch, fd[0], chain_served, &c);

	meter_start(m);
	chain_begin(&c, how & BY_TASK);
	loop_run(&c.loop);
	meter_stop(m);
	m->ops = n;
	m->count = (double)c.served / n;

	if (how & WATCHED)
		watch_free(&c.watch);
	must(close(fd[0]) == 0 && close(fd[1]) == 0);
	task_free(&c.task);
	wake_free(&c.wake);
	loop_free(&c.loop);
}


const struct row rows_task[] = {
	{ "self_served", "served", "served",
	  "runs of a readable descriptor's handler per post of self_1",
	  chain, WATCHED, 2000 },
#ifndef BY_EVENT
	{ "task", "task", "ns",
	  "a task that asks to run again", chain, BY_TASK, 2000 },
	{ "task_served", "served", "served",
	  "runs of a readable descriptor's handler per run of task",
	  chain, BY_TASK | WATCHED, 2000 },
#endif
	{ 0 }
};

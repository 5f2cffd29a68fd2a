/*
 * libivykis: benchmarks of two loops that answer each other.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdlib.h>
#include "peer.h"

/* Two loops, each of which answers a post of the other by a post to it. */
struct side {
	OWN_LINES struct wake	wake;
	struct loop		*loop;
	struct side		*peer;
	int			*playing;	/* sides that loop waits for */
	long			hits;		/* left to receive */
	long			posts;		/* left to make in answer */
};

WAKE_HANDLER(side_hit)
{
	struct side *s = cookie;

	if (s->posts > 0) {
		s->posts--;
		post(&s->peer->wake);
	}
	if (--s->hits == 0 && --*s->playing == 0)
		loop_quit(s->loop);
}

/* near makes the first post, outside of its handler. */
static void sides_face(struct side *near, struct side *far, long n)
{
	near->peer = far;
	near->hits = n;
	near->posts = n - 1;
	far->peer = near;
	far->hits = n;
	far->posts = n;
}

static void side_join(struct side *s, struct loop *l, int *playing)
{
	s->loop = l;
	s->playing = playing;
	++*playing;
	wake_new(l, &s->wake, side_hit, s);
}

struct match {
	struct side		near;
	struct side		far;
	pthread_barrier_t	*ready;
	pthread_barrier_t	*over;
	int			cpu;
	pthread_t		thread;
};

static void *match_thread(void *_match)
{
	struct match *match = _match;
	struct loop loop;
	int playing = 0;

	pin(match->cpu);
	loop_new(&loop);
	side_join(&match->far, &loop, &playing);
	meet(match->ready);
	loop_run(&loop);
	/* The other side may still be inside its last post. */
	meet(match->over);
	wake_free(&match->far.wake);
	loop_free(&loop);

	return NULL;
}

/* libuv's async1 to async8: one loop against num, each in its own thread. */
static void matches(struct meter *m, long n, int num, int cpu0, int cpu1)
{
	struct match *all = zeroed(num, sizeof(*all));
	long each = n / num > 0 ? n / num : 1;
	pthread_barrier_t ready, over;
	struct loop loop;
	int playing = 0;
	int i;

	meeting_of(&ready, num + 1);
	meeting_of(&over, num + 1);
	pin(cpu0);
	loop_new(&loop);
	for (i = 0; i < num; i++) {
		sides_face(&all[i].near, &all[i].far, each);
		side_join(&all[i].near, &loop, &playing);
		all[i].ready = &ready;
		all[i].over = &over;
		all[i].cpu = cpu1;
		all[i].thread = thread_start(match_thread, &all[i]);
	}
	meet(&ready);

	meter_start(m);
	for (i = 0; i < num; i++)
		post(&all[i].far.wake);
	loop_run(&loop);
	meter_stop(m);
	m->ops = each * num;

	meet(&over);
	for (i = 0; i < num; i++) {
		thread_join(all[i].thread);
		must(all[i].near.hits == 0 && all[i].far.hits == 0);
		wake_free(&all[i].near.wake);
	}
	loop_free(&loop);
	free(all);
}

static void async(struct meter *m, long n, int num)
{
	matches(m, n, num, -1, -1);
}

static void pingpong(struct meter *m, long n, int cores)
{
	if (!lacks_cpus(m, cores))
		matches(m, n, 1, 0, cores - 1);
}

#ifdef ACROSS_FORK
/*
 * Two processes.  A process can only post to what was registered before the
 * fork.  So a second thread registers the far side in its own loop, and forks a
 * child that runs this loop instead; the near side runs in the first thread.
 */
struct duel {
	struct side		near;
	struct side		far;
	pthread_barrier_t	forked;
	struct loop		*loop;		/* the far side's */
	struct meter		*meter;
};

static void duel_in_child(void *_duel)
{
	struct duel *duel = _duel;
	struct meter *m = meter_of_child(duel->meter);

	meter_start(m);
	loop_run(duel->loop);
	meter_stop(m);
	must(duel->far.hits == 0);
}

static void *duel_thread(void *_duel)
{
	struct duel *duel = _duel;
	struct loop loop;
	int playing = 0;
	pid_t pid;

	pin(1);
	loop_new(&loop);
	side_join(&duel->far, &loop, &playing);
	duel->loop = &loop;
	pid = child_start(duel_in_child, duel);
	meet(&duel->forked);
	child_wait(pid);
	wake_free(&duel->far.wake);
	loop_free(&loop);

	return NULL;
}

static void pingpong_fork(struct meter *m, long n, int arg)
{
	struct duel *duel;
	struct loop loop;
	pthread_t thread;
	int playing = 0;

	(void)arg;
	if (lacks_cpus(m, 2))
		return;
	duel = zeroed(1, sizeof(*duel));
	meeting_of(&duel->forked, 2);
	duel->meter = m;
	pin(0);
	loop_new(&loop);
	sides_face(&duel->near, &duel->far, n);
	side_join(&duel->near, &loop, &playing);
	thread = thread_start(duel_thread, duel);
	meet(&duel->forked);

	meter_start(m);
	post(&duel->far.wake);
	loop_run(&loop);
	meter_stop(m);

	thread_join(thread);
	must(duel->near.hits == 0);
	meter_add_child(m);
	m->ops = n;
	wake_free(&duel->near.wake);
	loop_free(&loop);
	free(duel);
}

/*
 * The same, but each process has its own loop, which adopts an object that was
 * prepared before the fork.  The child makes the first post, and so receives
 * the last one.
 */
struct bell {
	struct side	side;
	struct loop	loop;
	int		playing;
};

struct bells {
	struct bell	childs;
	struct bell	parents;
	struct meter	*meter;
};

static void bell_play(struct bell *b, struct meter *m, int cpu)
{
	struct side *s = &b->side;

	pin(cpu);
	loop_new(&b->loop);
	b->playing = 1;
	s->loop = &b->loop;
	s->playing = &b->playing;
	wake_adopt(&b->loop, &s->wake, side_hit, s);

	meter_start(m);
	if (s->posts < s->hits)
		post(&s->peer->wake);
	loop_run(&b->loop);
	meter_stop(m);

	must(s->hits == 0);
	wake_free(&s->wake);
	loop_free(&b->loop);
}

static void bells_in_child(void *_bells)
{
	struct bells *b = _bells;

	bell_play(&b->childs, meter_of_child(b->meter), 1);
}

static void pingpong_bells(struct meter *m, long n, int arg)
{
	struct bells *b;
	pid_t pid;

	(void)arg;
	if (lacks_cpus(m, 2))
		return;
	if (!can_prepare()) {
		m->none = PEER " has no objects that a child can adopt";
		return;
	}
	b = zeroed(1, sizeof(*b));
	b->meter = m;
	sides_face(&b->childs.side, &b->parents.side, n);
	wake_prepare(&b->childs.side.wake);
	wake_prepare(&b->parents.side.wake);
	pid = child_start(bells_in_child, b);
	bell_play(&b->parents, m, 0);
	child_wait(pid);
	wake_free(&b->childs.side.wake);

	m->wall = meter_of_child(m)->wall;
	meter_add_child(m);
	m->ops = n;
	free(b);
}
#endif


const struct row rows_pingpong[] = {
	{ "pingpong", "pingpong", "ns",
	  "round trip of two threads on two cores", pingpong, 2, 500 },
	{ "pingpong_one", "pingpong", "ns",
	  "round trip of two threads on one core", pingpong, 1, 500 },
#ifdef ACROSS_FORK
	{ "pingpong_fork", "pingpong", "ns",
	  "round trip of two processes on two cores", pingpong_fork, 0, 500 },
	{ "pingpong_bells", "pingpong", "ns",
	  "round trip of two processes with adopted objects",
	  pingpong_bells, 0, 500 },
#endif
	{ "async1", "async", "ns",
	  "round trip, 1 loop thread against main", async, 1, 500 },
	{ "async2", "async", "ns",
	  "round trip, 2 loop threads against main", async, 2, 500 },
	{ "async4", "async", "ns",
	  "round trip, 4 loop threads against main", async, 4, 500 },
	{ "async8", "async", "ns",
	  "round trip, 8 loop threads against main", async, 8, 500 },
	{ 0 }
};

/*
 * libivykis: benchmarks of posts between threads and processes.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "peer.h"


/* Two loops, each of which answers the other's post by one of its own. */
struct side {
	OWN_LINES struct wake	wake;
	struct loop		*loop;
	struct side		*peer;
	int			*playing;	/* sides that loop waits for */
	long			hits;		/* to come */
	long			posts;		/* to make in answer */
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
	if (have_cpus(cores))
		matches(m, n, 1, 0, cores - 1);
	else
		m->none = "needs two processors";
}

#ifdef ACROSS_FORK
/*
 * Two processes.  Posts go to what was registered before the fork, so a thread
 * registers the far side in a loop of its own and forks a child that runs this
 * loop in its stead; the near side runs in the thread that stays.
 */
struct duel {
	struct side		near;
	struct side		far;
	pthread_barrier_t	forked;
	struct meter		*child;		/* in shared memory */
};

static void *duel_thread(void *_duel)
{
	struct duel *duel = _duel;
	struct loop loop;
	int playing = 0;
	pid_t pid;

	pin(1);
	loop_new(&loop);
	side_join(&duel->far, &loop, &playing);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		meter_start(duel->child);
		loop_run(&loop);
		meter_stop(duel->child);
		_exit(duel->far.hits != 0);
	}
	meet(&duel->forked);
	child_wait(pid);
	wake_free(&duel->far.wake);
	loop_free(&loop);

	return NULL;
}

static void pingpong_fork(struct meter *m, long n, int arg)
{
	struct duel *duel = zeroed(1, sizeof(*duel));
	struct loop loop;
	pthread_t thread;
	int playing = 0;

	(void)arg;
	if (!have_cpus(2)) {
		m->none = "needs two processors";
		free(duel);
		return;
	}
	meeting_of(&duel->forked, 2);
	duel->child = m + 1;
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
	m->cpu += duel->child->cpu;
	m->ops = n;
	wake_free(&duel->near.wake);
	loop_free(&loop);
	free(duel);
}
#endif


/*
 * Threads that post without pause to one object: how many posts a second they
 * make in all, until the loop has heard the last.  The end is told by an
 * object that is posted once, as a peer may lose the others' last post.
 */
struct flood {
	struct loop		loop;
	OWN_LINES struct wake	wake;
	struct wake		end;
	OWN_LINES atomic_int	running;
	OWN_LINES long		calls;
	pthread_barrier_t	start;
	long			posts;		/* of each thread */
};

WAKE_HANDLER(flood_seen)
{
	struct flood *f = cookie;

	f->calls++;
}

WAKE_HANDLER(flood_ended)
{
	struct flood *f = cookie;

	loop_quit(&f->loop);
}

static void *flood_thread(void *_flood)
{
	struct flood *f = _flood;
	long i;

	meet(&f->start);
	for (i = 0; i < f->posts; i++)
		post(&f->wake);
	if (atomic_fetch_sub(&f->running, 1) == 1)
		post(&f->end);

	return NULL;
}

static void flood(struct meter *m, long n, int num)
{
	struct flood *f = zeroed(1, sizeof(*f));
	pthread_t threads[num];
	int i;

	f->posts = n / num > 0 ? n / num : 1;
	f->running = num;
	meeting_of(&f->start, num + 1);
	loop_new(&f->loop);
	wake_new(&f->loop, &f->wake, flood_seen, f);
	wake_new(&f->loop, &f->end, flood_ended, f);
	for (i = 0; i < num; i++)
		threads[i] = thread_start(flood_thread, f);

	meter_start(m);
	meet(&f->start);
	loop_run(&f->loop);
	meter_stop(m);
	m->ops = f->posts * num;

	for (i = 0; i < num; i++)
		thread_join(threads[i]);
	must(f->calls > 0);
	wake_free(&f->wake);
	wake_free(&f->end);
	loop_free(&f->loop);
	free(f);
}


/* libuv's async_pummel: the same threads, until the handler has run n times. */
struct pummel {
	struct loop		loop;
	OWN_LINES struct wake	wake;
	OWN_LINES atomic_int	stop;
	OWN_LINES long		left;
	pthread_barrier_t	start;
};

WAKE_HANDLER(pummel_seen)
{
	struct pummel *p = cookie;

	if (--p->left > 0)
		return;
	atomic_store_explicit(&p->stop, 1, memory_order_relaxed);
	loop_quit(&p->loop);
}

static void *pummel_thread(void *_pummel)
{
	struct pummel *p = _pummel;

	meet(&p->start);
	while (!atomic_load_explicit(&p->stop, memory_order_relaxed))
		post(&p->wake);

	return NULL;
}

static void pummel(struct meter *m, long n, int num)
{
	struct pummel *p = zeroed(1, sizeof(*p));
	pthread_t threads[num];
	int i;

	p->left = n;
	meeting_of(&p->start, num + 1);
	loop_new(&p->loop);
	wake_new(&p->loop, &p->wake, pummel_seen, p);
	for (i = 0; i < num; i++)
		threads[i] = thread_start(pummel_thread, p);

	meter_start(m);
	meet(&p->start);
	loop_run(&p->loop);
	meter_stop(m);
	m->ops = n;

	for (i = 0; i < num; i++)
		thread_join(threads[i]);
	wake_free(&p->wake);
	loop_free(&p->loop);
	free(p);
}


/*
 * libuv's million_async: many objects, each posted once from another thread in
 * scattered order; the next pass begins when all were delivered.
 */
#define SCATTER		7919		/* a prime: visits every index */

struct million {
	struct loop	loop;
	struct wake	*wakes;
	struct wake	end;
	int		num;
	int		seen;
	long		passes;
	sem_t		all_seen;
};

WAKE_HANDLER(million_seen)
{
	struct million *a = cookie;

	if (++a->seen < a->num)
		return;
	a->seen = 0;
	must(sem_post(&a->all_seen) == 0);
}

WAKE_HANDLER(million_ended)
{
	struct million *a = cookie;

	loop_quit(&a->loop);
}

static void *million_thread(void *_million)
{
	struct million *a = _million;
	long pass;
	long i;

	for (pass = 0; pass < a->passes; pass++) {
		for (i = 0; i < a->num; i++)
			post(&a->wakes[i * SCATTER % a->num]);
		must(sem_wait(&a->all_seen) == 0);
	}
	post(&a->end);

	return NULL;
}

static void million(struct meter *m, long n, int num)
{
	struct million a = { .num = num, .passes = (n + num - 1) / num };
	pthread_t thread;

	if (!have_descriptors(num)) {
		m->none = "RLIMIT_NOFILE is too low";
		return;
	}
	a.wakes = zeroed(num, sizeof(*a.wakes));
	must(sem_init(&a.all_seen, 0, 0) == 0);
	loop_new(&a.loop);
	wakes_new(&a.loop, a.wakes, num, million_seen, &a);
	wake_new(&a.loop, &a.end, million_ended, &a);

	meter_start(m);
	thread = thread_start(million_thread, &a);
	loop_run(&a.loop);
	meter_stop(m);
	m->ops = a.passes * num;

	thread_join(thread);
	wake_free(&a.end);
	wakes_free(a.wakes, num);
	loop_free(&a.loop);
	free(a.wakes);
}


const struct row rows_thread[] = {
	{ "pingpong", "pingpong", "ns",
	  "round trip of two threads on two cores", pingpong, 2, 500 },
	{ "pingpong_one", "pingpong", "ns",
	  "round trip of two threads on one core", pingpong, 1, 500 },
#ifdef ACROSS_FORK
	{ "pingpong_fork", "pingpong", "ns",
	  "round trip of two processes on two cores", pingpong_fork, 0, 500 },
#endif
	{ "flood_1", "flood", "M/s",
	  "posts of 1 thread flooding one loop", flood, 1, 20000 },
	{ "flood_2", "flood", "M/s",
	  "posts of 2 threads flooding one loop", flood, 2, 20000 },
	{ "flood_4", "flood", "M/s",
	  "posts of 4 threads flooding one loop", flood, 4, 20000 },
	{ "flood_8", "flood", "M/s",
	  "posts of 8 threads flooding one loop", flood, 8, 20000 },
	{ "async1", "async", "ns",
	  "round trip, 1 loop thread against main", async, 1, 500 },
	{ "async2", "async", "ns",
	  "round trip, 2 loop threads against main", async, 2, 500 },
	{ "async4", "async", "ns",
	  "round trip, 4 loop threads against main", async, 4, 500 },
	{ "async8", "async", "ns",
	  "round trip, 8 loop threads against main", async, 8, 500 },
	{ "pummel_1", "pummel", "ns",
	  "handler runs under 1 posting thread", pummel, 1, 20 },
	{ "pummel_2", "pummel", "ns",
	  "handler runs under 2 posting threads", pummel, 2, 20 },
	{ "pummel_4", "pummel", "ns",
	  "handler runs under 4 posting threads", pummel, 4, 20 },
	{ "pummel_8", "pummel", "ns",
	  "handler runs under 8 posting threads", pummel, 8, 20 },
	{ "million_async", "million", "ns",
	  "each of 10,000 posted once and delivered", million, 10000, 10000 },
	{ 0 }
};

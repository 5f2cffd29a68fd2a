/*
 * libivykis: the work that the benchmarks do, the same for every peer.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Included once, at the end of an adapter, so that the calls of the adapter
 * below are inlined and no peer pays for the comparison:
 *
 *	PEER, PEER_VERSION	strings
 *	ACROSS_FORK		defined if forked children may post
 *	struct loop		one event loop, of the thread that made it
 *	struct wake		one object of it, that other threads post to
 *	WAKE_HANDLER(name)	begins the definition of a handler; in the
 *				body, cookie is what wake_new() was given
 *	loop_new loop_run loop_quit loop_free
 *	wake_new wake_free post
 *
 * loop_quit() is called in handlers.  Objects are freed only once nobody is
 * inside a post to them any more, and their memory after loop_free().
 */

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Two cores that write to their own of these do not disturb each other. */
#define OWN_LINES	_Alignas(128)

static void *zeroed(size_t num, size_t size)
{
	char *p = aligned_alloc(128, (num * size + 127) & -(size_t)128);
	size_t i;

	must(p != NULL);
	for (i = 0; i < num * size; i++)
		p[i] = 0;

	return p;
}

static pthread_t thread_start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, fn, arg) == 0);

	return thread;
}

static void thread_join(pthread_t thread)
{
	must(pthread_join(thread, NULL) == 0);
}

static void meet(pthread_barrier_t *barrier)
{
	(void)pthread_barrier_wait(barrier);
}

static void meeting_of(pthread_barrier_t *barrier, int num)
{
	must(pthread_barrier_init(barrier, NULL, num) == 0);
}


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
static void child_wait(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

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

static void wakes_new(struct loop *l, struct wake *wakes, int num,
		      wake_handler handler, void *cookie)
{
	int i;

	for (i = 0; i < num; i++)
		wake_new(l, &wakes[i], handler, cookie);
}

static void wakes_free(struct wake *wakes, int num)
{
	int i;

	for (i = 0; i < num; i++)
		wake_free(&wakes[i]);
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


/*
 * Lost wake-ups.  One thread publishes values by a relaxed store and a post,
 * in random bursts so that posts overlap with the loop's clearing of the one
 * before; the handler looks at the value.  Once all is quiet it must have seen
 * the last one.
 *
 * Quiet is not a matter of time: the publisher posts to a second object, waits
 * until this was delivered, and does both again.  Between the two deliveries
 * the loop went through all that was pending.  These posts never meet one of
 * their own that is pending, so they arrive whatever the peer.
 */
#define PATIENCE	2000		/* looks before asking for quiet */

struct lost {
	struct loop		loop;
	OWN_LINES struct wake	wake;
	OWN_LINES struct wake	probe;
	OWN_LINES struct wake	end;
	OWN_LINES atomic_long	value;
	OWN_LINES atomic_long	seen;
	OWN_LINES atomic_long	probes;
	pthread_barrier_t	start;
};

WAKE_HANDLER(lost_look)
{
	struct lost *l = cookie;
	long value = atomic_load_explicit(&l->value, memory_order_relaxed);

	atomic_store_explicit(&l->seen, value, memory_order_release);
}

WAKE_HANDLER(lost_probed)
{
	struct lost *l = cookie;

	atomic_fetch_add(&l->probes, 1);
}

WAKE_HANDLER(lost_ended)
{
	struct lost *l = cookie;

	loop_quit(&l->loop);
}

static void *lost_thread(void *_lost)
{
	struct lost *l = _lost;

	pin(1);
	loop_new(&l->loop);
	wake_new(&l->loop, &l->wake, lost_look, l);
	wake_new(&l->loop, &l->probe, lost_probed, l);
	wake_new(&l->loop, &l->end, lost_ended, l);
	meet(&l->start);
	loop_run(&l->loop);
	meet(&l->start);
	wake_free(&l->wake);
	wake_free(&l->probe);
	wake_free(&l->end);
	loop_free(&l->loop);

	return NULL;
}

static void probe(struct lost *l)
{
	long probes = atomic_load(&l->probes);

	post(&l->probe);
	while (atomic_load(&l->probes) == probes)
		sched_yield();
}

static int was_seen(struct lost *l, long value)
{
	int i;

	for (i = 0; i < PATIENCE; i++) {
		if (atomic_load_explicit(&l->seen, memory_order_acquire) ==
		    value)
			return 1;
	}
	probe(l);
	probe(l);

	return atomic_load(&l->seen) == value;
}

static unsigned int random_below(uint64_t *state, unsigned int limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

	return (*state >> 33) % limit;
}

static void idle(unsigned int steps)
{
	while (steps-- > 0)
		atomic_signal_fence(memory_order_seq_cst);
}

static void publish(struct lost *l, struct meter *m, long n)
{
	uint64_t random = 1;
	long value = 0;

	for (; m->ops < n; m->ops++) {
		unsigned int posts = 1 + random_below(&random, 512);
		unsigned int pause = 1 + random_below(&random, 16);

		while (posts-- > 0) {
			atomic_store_explicit(&l->value, ++value,
					      memory_order_relaxed);
			post(&l->wake);
			idle(random_below(&random, pause));
		}
		if (!was_seen(l, value))
			m->lost++;
	}
}

static void lost(struct meter *m, long n, int arg)
{
	struct lost *l = zeroed(1, sizeof(*l));
	pthread_t thread;

	(void)arg;
	if (!have_cpus(2)) {
		m->none = "needs two processors";
		free(l);
		return;
	}
	pin(0);
	meeting_of(&l->start, 2);
	thread = thread_start(lost_thread, l);
	meet(&l->start);

	meter_start(m);
	publish(l, m, n);
	meter_stop(m);

	post(&l->end);
	meet(&l->start);
	thread_join(thread);
	free(l);
}


static const struct row rows[] = {
	{ "burst", "burst", "ns",
	  "post while one is pending", burst, 0, 20000 },
#ifdef ACROSS_FORK
	{ "burst_fork", "burst", "ns",
	  "the same from another process", burst_fork, 0, 20000 },
#endif
	{ "self_1", "self", "ns",
	  "post, handler, post in one thread", self, 1, 5000 },
	{ "self_1000", "self", "ns",
	  "the same over 1,000 registered", self, 1000, 3000 },
	{ "self_10000", "self", "ns",
	  "the same over 10,000 registered", self, 10000, 20000 },
	{ "pingpong", "pingpong", "ns",
	  "round trip of two threads on two cores", pingpong, 2, 2000 },
	{ "pingpong_one", "pingpong", "ns",
	  "round trip of two threads on one core", pingpong, 1, 2000 },
#ifdef ACROSS_FORK
	{ "pingpong_fork", "pingpong", "ns",
	  "round trip of two processes on two cores", pingpong_fork, 0, 2000 },
#endif
	{ "flood_1", "flood", "M/s",
	  "posts of 1 thread flooding one loop", flood, 1, 100000 },
	{ "flood_2", "flood", "M/s",
	  "posts of 2 threads flooding one loop", flood, 2, 100000 },
	{ "flood_4", "flood", "M/s",
	  "posts of 4 threads flooding one loop", flood, 4, 100000 },
	{ "flood_8", "flood", "M/s",
	  "posts of 8 threads flooding one loop", flood, 8, 100000 },
	{ "lost", "lost", "lost",
	  "wake-ups lost, an op being a burst of posts", lost, 0, 20000 },
	{ "register", "register", "ns",
	  "register and unregister", registering, 0, 5000 },
	{ "async1", "async", "ns",
	  "round trip, 1 loop thread against main", async, 1, 2000 },
	{ "async2", "async", "ns",
	  "round trip, 2 loop threads against main", async, 2, 2000 },
	{ "async4", "async", "ns",
	  "round trip, 4 loop threads against main", async, 4, 2000 },
	{ "async8", "async", "ns",
	  "round trip, 8 loop threads against main", async, 8, 2000 },
	{ "pummel_1", "pummel", "ns",
	  "handler runs under 1 posting thread", pummel, 1, 2000 },
	{ "pummel_2", "pummel", "ns",
	  "handler runs under 2 posting threads", pummel, 2, 2000 },
	{ "pummel_4", "pummel", "ns",
	  "handler runs under 4 posting threads", pummel, 4, 2000 },
	{ "pummel_8", "pummel", "ns",
	  "handler runs under 8 posting threads", pummel, 8, 2000 },
	{ "million_async", "million", "ns",
	  "each of 10,000 posted once and delivered", million, 10000, 20000 },
};

int main(int argc, char **argv)
{
	const struct peer peer = {
		.name		= PEER,
		.version	= PEER_VERSION,
		.rows		= rows,
		.num		= sizeof(rows) / sizeof(rows[0]),
	};

	return bench_main(&peer, argc, argv);
}

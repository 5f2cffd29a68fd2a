/*
 * libivykis: in a process that runs for long, nothing grows.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For SOAK_SECONDS, processes of several threads register objects, post, fork,
 * run timers, and begin and end loops: one process with the defaults, one with
 * poll(2) and pipes, and one with io_uring(7) if the library was built with it.
 * Each samples the numbers of its descriptors, mappings and resident pages.  It
 * fails only if these grow: the lowest sample in the last quarter may exceed
 * the highest in the second quarter by no more than a little.
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#ifdef HAVE_URING
#define PROCESSES	3
#else
#define PROCESSES	2
#endif
#define THREADS		3
#define TIMERS		50
#define SAMPLES		40

/* In rounds. */
#define FORK_EVERY	16
#define THREAD_EVERY	4

/* What is registered in one round and unregistered in the next. */
struct bundle {
	struct iv_event_raw	raw;
	struct iv_event		event;
	struct iv_timer		timer[TIMERS];
	struct iv_fd		fd;
	int			pipe[2];
};

struct peer {
	struct iv_event_raw	raw;
	struct iv_event		event;
	struct iv_timer		next_round;
	struct bundle		*bundle;
	atomic_ulong		rounds;
	unsigned int		seed;
	unsigned long		raw_calls;
	unsigned long		event_calls;
};

static struct peer peers[THREADS];
static pthread_barrier_t barrier;
static atomic_int stop;

static void nothing(void *unused)
{
	(void)unused;
}

static void print_fatal(const char *msg)
{
	fprintf(stderr, "# %s\n", msg);
}

static void count(void *counter)
{
	++*(unsigned long *)counter;
}

static void take_byte(void *_b)
{
	struct bundle *b = _b;
	char byte;

	check_int(read(b->pipe[0], &byte, 1), 1);
}

static void set_timer(struct iv_timer *t, void (*handler)(void *),
		      void *cookie, long nsec)
{
	IV_TIMER_INIT(t);
	t->expires = iv_now;
	t->expires.tv_nsec += nsec;
	t->cookie = cookie;
	t->handler = handler;
	iv_timer_register(t);
}

static void start_raw(struct iv_event_raw *raw, void (*handler)(void *),
		      void *cookie)
{
	IV_EVENT_RAW_INIT(raw);
	raw->cookie = cookie;
	raw->handler = handler;
	check_int(iv_event_raw_register(raw), 0);
}

static void start_event(struct iv_event *event, void (*handler)(void *),
			void *cookie)
{
	IV_EVENT_INIT(event);
	event->cookie = cookie;
	event->handler = handler;
	check_int(iv_event_register(event), 0);
}

static struct bundle *bundle_begin(unsigned int *seed)
{
	struct bundle *b = malloc(sizeof(*b));
	int i;

	check(b != NULL);
	start_raw(&b->raw, nothing, NULL);
	start_event(&b->event, nothing, NULL);
	for (i = 0; i < TIMERS; i++)
		set_timer(&b->timer[i], nothing, NULL, rand_r(seed) % 4000000);

	check_int(pipe(b->pipe), 0);
	IV_FD_INIT(&b->fd);
	b->fd.fd = b->pipe[0];
	b->fd.cookie = b;
	b->fd.handler_in = take_byte;
	iv_fd_register(&b->fd);

	iv_event_raw_post(&b->raw);
	iv_event_post(&b->event);
	check_int(write(b->pipe[1], "", 1), 1);

	return b;
}

static void bundle_end(struct bundle *b)
{
	int i;

	iv_event_raw_unregister(&b->raw);
	iv_event_unregister(&b->event);
	for (i = 0; i < TIMERS; i++) {
		if (iv_timer_registered(&b->timer[i]))
			iv_timer_unregister(&b->timer[i]);
	}
	iv_fd_unregister(&b->fd);
	close(b->pipe[0]);
	close(b->pipe[1]);
	free(b);
}

static void post_to_all(void)
{
	int i;

	for (i = 0; i < THREADS; i++) {
		iv_event_raw_post(&peers[i].raw);
		iv_event_post(&peers[i].event);
	}
}

static void quit(void *unused)
{
	(void)unused;
	iv_quit();
}

static void run_for_a_while(unsigned int *seed)
{
	struct bundle *b = bundle_begin(seed);
	struct iv_timer t;

	set_timer(&t, quit, NULL, 500000);
	iv_main();
	bundle_end(b);
}

/* The child goes on with the parent's loop for a while. */
static void fork_once(struct peer *p)
{
	pid_t pid = fork();
	int i;

	check(pid >= 0);
	if (pid > 0) {
		check_child(pid);
		return;
	}

	for (i = 0; i < THREADS; i++)
		iv_event_raw_post(&peers[i].raw);
	bundle_end(p->bundle);
	run_for_a_while(&p->seed);
	_exit(0);
}

static void *begin_and_end_loop(void *_seed)
{
	unsigned int seed = (uintptr_t)_seed;

	iv_init();
	run_for_a_while(&seed);
	post_to_all();
	/* Every other thread leaves that to its exit. */
	if (seed % 2)
		iv_deinit();

	return NULL;
}

static void thread_once(struct peer *p)
{
	uintptr_t seed = rand_r(&p->seed);
	pthread_t t;

	check_int(pthread_create(&t, NULL, begin_and_end_loop, (void *)seed),
		  0);
	check_int(pthread_join(t, NULL), 0);
}

static void do_round(void *_p)
{
	struct peer *p = _p;
	unsigned long round = atomic_fetch_add(&p->rounds, 1);

	bundle_end(p->bundle);
	if (atomic_load(&stop)) {
		iv_quit();
		return;
	}

	p->bundle = bundle_begin(&p->seed);
	post_to_all();
	if (round % FORK_EVERY == 0)
		fork_once(p);
	if (round % THREAD_EVERY == 0)
		thread_once(p);
	iv_invalidate_now();
	set_timer(&p->next_round, do_round, p, 1000000);
}

static void *run_peer(void *_p)
{
	struct peer *p = _p;

	iv_init();
	start_raw(&p->raw, count, &p->raw_calls);
	start_event(&p->event, count, &p->event_calls);
	p->bundle = bundle_begin(&p->seed);
	set_timer(&p->next_round, do_round, p, 0);
	pthread_barrier_wait(&barrier);
	iv_main();

	/* Until all threads are here, one may still post to another. */
	pthread_barrier_wait(&barrier);
	check(p->raw_calls > 0);
	check(p->event_calls > 0);
	iv_event_raw_unregister(&p->raw);
	iv_event_unregister(&p->event);
	iv_deinit();

	return NULL;
}

enum {
	DESCRIPTORS,
	MAPPINGS,
	KBYTES,
	KINDS,
};

static const char *const kind_name[] = {
	"descriptors", "mappings", "resident kbytes",
};

/* Growth that is allowed: random variation, but no leak in each round. */
static const long slack[] = { 0, 4, 256 };

static long samples[SAMPLES][KINDS];

/* Counted page by page here; elsewhere the kernel only estimates it. */
static long resident_kbytes(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long num = -1;

	check(f != NULL);
	while (num < 0 && fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "Rss: %ld kB", &num);
	fclose(f);
	check(num >= 0);

	return num;
}

static unsigned long num_rounds(void)
{
	unsigned long num = 0;
	int i;

	for (i = 0; i < THREADS; i++)
		num += atomic_load(&peers[i].rounds);

	return num;
}

static void take_sample(long *s, int process)
{
	s[DESCRIPTORS] = num_descriptors();
	s[MAPPINGS] = num_mappings();
	s[KBYTES] = resident_kbytes();
	fprintf(stderr, "# process %d: %lu rounds, %ld descriptors, "
		"%ld mappings, %ld kbytes\n", process, num_rounds(),
		s[DESCRIPTORS], s[MAPPINGS], s[KBYTES]);
}

static void expect_no_growth(int kind)
{
	long high = 0;
	long low = samples[SAMPLES - 1][kind];
	int i;

	for (i = SAMPLES / 4; i < SAMPLES / 2; i++) {
		if (samples[i][kind] > high)
			high = samples[i][kind];
	}
	for (i = SAMPLES * 3 / 4; i < SAMPLES; i++) {
		if (samples[i][kind] < low)
			low = samples[i][kind];
	}
	if (low <= high + slack[kind])
		return;
	fprintf(stderr, "# %s grew: up to %ld early, at least %ld late\n",
		kind_name[kind], high, low);
	_exit(1);
}

static int soak_seconds(void)
{
	const char *s = getenv("SOAK_SECONDS");

	return s != NULL && atoi(s) > 0 ? atoi(s) : 30;
}

static void soak(int process)
{
	pthread_t t[THREADS];
	int i;

#ifdef M_ARENA_MAX
	/* How many arenas malloc() uses would vary. */
	(void)mallopt(M_ARENA_MAX, 1);
#endif
	iv_set_fatal_msg_handler(print_fatal);
	check_int(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (i = 0; i < THREADS; i++) {
		peers[i].seed = process * THREADS + i;
		check_int(pthread_create(&t[i], NULL, run_peer, &peers[i]), 0);
	}
	for (i = 0; i < SAMPLES; i++) {
		usleep(soak_seconds() * 1000000LL / SAMPLES);
		take_sample(samples[i], process);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < THREADS; i++)
		check_int(pthread_join(t[i], NULL), 0);
	for (i = 0; i < KINDS; i++)
		expect_no_growth(i);
}

static void use_poll_and_pipes(void)
{
	check_int(setenv("IV_EXCLUDE_POLL_METHOD",
			 "kqueue epoll-timerfd epoll ppoll", 1), 0);
	refuse("eventfd2", EPERM);
	refuse("eventfd", EPERM);
}

static void use_uring(void)
{
	check_int(setenv("IV_SELECT_POLL_METHOD", "uring", 1), 0);
	iv_init();
	if (!variant_is_uring())
		skip("the kernel refuses io_uring_setup(2)");
	iv_deinit();
}

static void (*const preparations[])(void) = {
	NULL, use_poll_and_pipes, use_uring,
};

static void nothing_grows(void)
{
	pid_t pid[PROCESSES];
	int before;
	int i;

	for (i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		check(pid[i] >= 0);
		if (pid[i] == 0) {
			before = num_descriptors();
			if (preparations[i] != NULL)
				preparations[i]();
			soak(i);
			check_int(num_descriptors(), before);
			_exit(0);
		}
	}
	for (i = 0; i < PROCESSES; i++)
		check_child(pid[i]);
}

int main(int argc, char **argv)
{
	const struct check_case cases[] = {
		{ "descriptors, mappings and memory do not grow",
		  nothing_grows, ONCE, soak_seconds() + 30 },
	};

	return check_main(cases, argc, argv);
}

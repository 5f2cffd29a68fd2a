/*
 * libivykis: as many objects of each kind as a machine allows.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * With so many objects, tables have grown many times, lists are long, and the
 * limits of the kernel are near.  If the kernel allows fewer objects, the case
 * runs with those and is then reported as skipped.  LIMITS=few in the
 * environment requests fewer, for emulators and tools that are a hundred times
 * slower.
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "check.h"

#define LAPS		20

/* Descriptors for the program itself and its loop. */
#define SPARE		64

static int wanted(int all)
{
	const char *s = getenv("LIMITS");

	return s != NULL && !strcmp(s, "few") ? all / 40 : all;
}

static void report(int num, int want, const char *what)
{
	static char why[80];

	fprintf(stderr, "# %d %s\n", num, what);
	check(num > 0);
	if (num == want)
		return;
	snprintf(why, sizeof(why), "only %d of %d %s are allowed", num, want,
		 what);
	only_partly(why);
}

/* Returns how many of num objects may be open, if each has some descriptors. */
static int allowed(int num, int each)
{
	rlim_t want = (rlim_t)num * each + SPARE;
	struct rlimit lim;

	check_int(getrlimit(RLIMIT_NOFILE, &lim), 0);
	if (lim.rlim_max < want) {
		lim.rlim_cur = want;
		lim.rlim_max = want;
		if (setrlimit(RLIMIT_NOFILE, &lim) == 0)
			return num;
		check_int(getrlimit(RLIMIT_NOFILE, &lim), 0);
		want = lim.rlim_max;
	}
	lim.rlim_cur = want;
	check_int(setrlimit(RLIMIT_NOFILE, &lim), 0);

	return (want - SPARE) / each;
}

static void *allocate(int num, size_t size)
{
	void *p = calloc(num, size);

	check(p != NULL);

	return p;
}

/* Objects that the loop has not served yet. */
static int left;

static void served(int *times)
{
	++*times;
	if (*times == 1 && --left == 0)
		iv_quit();
}

struct descriptor {
	struct iv_fd	fd;
	int		times;
};

static void read_descriptor(void *_d)
{
	struct descriptor *d = _d;
	uint64_t value;

	check_int(read(d->fd.fd, &value, sizeof(value)), sizeof(value));
	check_int(value, 1);
	served(&d->times);
}

static int is_limit(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM;
}

static int open_descriptor(struct descriptor *d)
{
	int fd = open_eventfd(0);

	if (fd < 0) {
		if (!is_limit(errno))
			skip("eventfd(2) is refused");
		return 0;
	}
	IV_FD_INIT(&d->fd);
	d->fd.fd = fd;
	d->fd.cookie = d;
	d->fd.handler_in = read_descriptor;
	iv_fd_register(&d->fd);

	return 1;
}

static void close_descriptor(struct descriptor *d)
{
	iv_fd_unregister(&d->fd);
	close(d->fd.fd);
}

static const uint64_t one = 1;

/* Check that each is served once, in any order. */
static void serve_descriptors(struct descriptor *d, int num, int step)
{
	int i;

	left = 0;
	for (i = 0; i < num; i += step) {
		d[i].times = 0;
		check_int(write(d[i].fd.fd, &one, sizeof(one)), sizeof(one));
		left++;
	}
	iv_main();
	for (i = 0; i < num; i += step)
		check_int(d[i].times, 1);
}

static void descriptors(void)
{
	int want = wanted(100000);
	int most = allowed(want, 1);
	struct descriptor *d = allocate(want, sizeof(*d));
	int num = 0;
	int i;

	iv_init();
	while (num < most && open_descriptor(&d[num]))
		num++;
	report(num, want, "descriptors");

	serve_descriptors(d, num, 1);
	/* The rest are spread over the tables of the poll method. */
	for (i = 0; i < num; i++) {
		if (i % 3)
			close_descriptor(&d[i]);
	}
	serve_descriptors(d, num, 3);
	for (i = 0; i < num; i += 3)
		close_descriptor(&d[i]);
	iv_deinit();
	free(d);
}

struct raw {
	struct iv_event_raw	raw;
	int			times;
};

static void raw_handler(void *_r)
{
	struct raw *r = _r;

	served(&r->times);
}

static int register_raw(struct raw *r)
{
	IV_EVENT_RAW_INIT(&r->raw);
	r->raw.cookie = r;
	r->raw.handler = raw_handler;
	if (iv_event_raw_register(&r->raw) == 0)
		return 1;
	check(is_limit(errno));

	return 0;
}

/* What a thread posts to. */
struct many {
	void	*objects;
	int	num;
};

static void *post_raws(void *_m)
{
	struct many *m = _m;
	struct raw *r = m->objects;
	int i;

	for (i = m->num - 1; i >= 0; i--) {
		iv_event_raw_post(&r[i].raw);
		iv_event_raw_post(&r[i].raw);
	}

	return NULL;
}

static void serve_posts(void *(*post)(void *), struct many *m)
{
	pthread_t t;

	left = m->num;
	check_int(pthread_create(&t, NULL, post, m), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(left, 0);
}

/* An eventfd is one descriptor, a pipe two. */
static void raw_events(void)
{
	int want = wanted(100000);
	int most = allowed(want, 1 + variant_is_pipe());
	struct raw *r = allocate(want, sizeof(*r));
	struct many m = { .objects = r };
	int i;

	iv_init();
	while (m.num < most && register_raw(&r[m.num]))
		m.num++;
	report(m.num, want, "raw events");

	serve_posts(post_raws, &m);
	for (i = 0; i < m.num; i++)
		iv_event_raw_unregister(&r[i].raw);
	iv_deinit();
	free(r);
}

struct event {
	struct iv_event	event;
	int		times;
};

static void event_handler(void *_e)
{
	struct event *e = _e;

	served(&e->times);
}

static void *post_events(void *_m)
{
	struct many *m = _m;
	struct event *e = m->objects;
	int i;

	for (i = m->num - 1; i >= 0; i--) {
		iv_event_post(&e[i].event);
		iv_event_post(&e[i].event);
	}

	return NULL;
}

static void events(void)
{
	int num = wanted(100000);
	struct event *e = allocate(num, sizeof(*e));
	struct many m = { .objects = e, .num = num };
	int i;

	iv_init();
	for (i = 0; i < num; i++) {
		IV_EVENT_INIT(&e[i].event);
		e[i].event.cookie = &e[i];
		e[i].event.handler = event_handler;
		check_int(iv_event_register(&e[i].event), 0);
	}
	report(num, num, "events");

	serve_posts(post_events, &m);
	for (i = 0; i < num; i++)
		iv_event_unregister(&e[i].event);
	iv_deinit();
	free(e);
}

static struct timespec last_expiry;

static int is_before(const struct timespec *a, const struct timespec *b)
{
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec;

	return a->tv_nsec < b->tv_nsec;
}

/* Timers expire in order, not early, and with their cookie. */
static void timer_expired(void *_t)
{
	struct iv_timer *t = _t;

	check(!is_before(&t->expires, &last_expiry));
	check(!is_before(&iv_now, &t->expires));
	check(!iv_timer_registered(t));
	last_expiry = t->expires;
	left--;
}

/* Some are overdue, the others expire within two seconds, many together. */
static void set_timer(struct iv_timer *t, unsigned int *seed)
{
	long msec = rand_r(seed) % 3000;

	IV_TIMER_INIT(t);
	t->cookie = t;
	t->handler = timer_expired;
	t->expires = iv_now;
	t->expires.tv_sec += msec / 1000 - 1;
	t->expires.tv_nsec += msec % 1000 * 1000000;
	if (t->expires.tv_nsec >= 1000000000) {
		t->expires.tv_sec++;
		t->expires.tv_nsec -= 1000000000;
	}
	iv_timer_register(t);
}

static void timers(void)
{
	int num = wanted(1000000);
	struct iv_timer *t = allocate(num, sizeof(*t));
	unsigned int seed = 1;
	int i;

	iv_init();
	for (i = 0; i < num; i++)
		set_timer(&t[i], &seed);
	left = num;
	for (i = 0; i < num; i += 3) {
		iv_timer_unregister(&t[i]);
		left--;
	}
	for (i = 0; i < num; i += 6) {
		set_timer(&t[i], &seed);
		left++;
	}
	report(num, num, "timers");

	/* This returns when no timer is registered. */
	iv_main();
	check_int(left, 0);
	iv_deinit();
	free(t);
}

/* Loops in a ring, each of which posts to the next. */
struct link {
	struct iv_event_raw	raw;
	struct link		*next;
	pthread_t		thread;
	int			laps;
};

static pthread_barrier_t ring_closed;
/* This is not atomic, as only the loop that was posted to changes it. */
static unsigned long hops;

static void pass_on(void *_l)
{
	struct link *l = _l;

	hops++;
	if (++l->laps == LAPS)
		iv_event_raw_unregister(&l->raw);
	iv_event_raw_post(&l->next->raw);
}

static void *run_link(void *_l)
{
	struct link *l = _l;

	iv_init();
	IV_EVENT_RAW_INIT(&l->raw);
	l->raw.cookie = l;
	l->raw.handler = pass_on;
	check_int(iv_event_raw_register(&l->raw), 0);
	pthread_barrier_wait(&ring_closed);
	iv_main();
	iv_deinit();

	return NULL;
}

static void loops(void)
{
	int num = wanted(200);
	struct link *l = allocate(num, sizeof(*l));
	int i;

	check_int(pthread_barrier_init(&ring_closed, NULL, num + 1), 0);
	for (i = 0; i < num; i++) {
		l[i].next = &l[(i + 1) % num];
		check_int(pthread_create(&l[i].thread, NULL, run_link, &l[i]),
			  0);
	}
	pthread_barrier_wait(&ring_closed);
	report(num, num, "loops in a ring");

	iv_event_raw_post(&l[0].raw);
	for (i = 0; i < num; i++)
		check_int(pthread_join(l[i].thread, NULL), 0);
	check_int(hops, (long)num * LAPS);
	free(l);
}

/* A thread whose loop waits until it is posted to. */
struct waiter {
	struct iv_event_raw	end;
	pthread_t		thread;
};

static struct iv_event ready;
static atomic_int num_ready;

static void end_loop(void *_w)
{
	struct waiter *w = _w;

	iv_event_raw_unregister(&w->end);
}

static void *wait_for_end(void *_w)
{
	struct waiter *w = _w;

	iv_init();
	IV_EVENT_RAW_INIT(&w->end);
	w->end.cookie = w;
	w->end.handler = end_loop;
	check_int(iv_event_raw_register(&w->end), 0);
	atomic_fetch_add(&num_ready, 1);
	iv_event_post(&ready);
	iv_main();
	iv_deinit();

	return NULL;
}

static void quit_if_all_ready(void *_num)
{
	if (atomic_load(&num_ready) == *(int *)_num)
		iv_quit();
}

/* Returns how many were started: fewer than most at the kernel's limit. */
static int start_waiters(struct waiter *w, int most)
{
	pthread_attr_t attr;
	int ret = 0;
	int num;

	check_int(pthread_attr_init(&attr), 0);
	check_int(pthread_attr_setstacksize(&attr, 4 * PTHREAD_STACK_MIN), 0);
	for (num = 0; num < most; num++) {
		ret = pthread_create(&w[num].thread, &attr, wait_for_end,
				     &w[num]);
		if (ret != 0)
			break;
	}
	check(ret == 0 || ret == EAGAIN || ret == ENOMEM);
	check(num > 0);
	check_int(pthread_attr_destroy(&attr), 0);

	return num;
}

static int start_and_end(struct waiter *w, int most)
{
	int num = -1;
	int i;

	atomic_store(&num_ready, 0);
	IV_EVENT_INIT(&ready);
	ready.cookie = &num;
	ready.handler = quit_if_all_ready;
	check_int(iv_event_register(&ready), 0);
	num = start_waiters(w, most);

	/* They may all have been ready before num was set. */
	iv_event_post(&ready);
	iv_main();
	fprintf(stderr, "# %d at once\n", num);
	for (i = 0; i < num; i++)
		iv_event_raw_post(&w[i].end);
	for (i = 0; i < num; i++)
		check_int(pthread_join(w[i].thread, NULL), 0);
	iv_event_unregister(&ready);

	return num;
}

/* As many at once as are allowed, and then the rest. */
static void threads(void)
{
	int want = wanted(10000);
	struct waiter *w = allocate(want, sizeof(*w));
	int num = 0;
	int most;

	iv_init();
	/* Each has a raw event, and an epoll set or a kqueue. */
	most = allowed(want, 1 + variant_is_pipe() + !variant_is_poll());
	while (num < want)
		num += start_and_end(w, want - num < most ? want - num : most);
	report(num, want, "threads with a loop");
	iv_deinit();
	free(w);
}

static const struct check_case cases[] = {
	{ "many descriptors", descriptors, EACH_METHOD, 120 },
	{ "many raw events", raw_events, EACH, 120 },
	{ "many events", events, EACH_BACKEND, 120 },
	{ "many timers", timers, EACH_METHOD, 120 },
	{ "many loops in a ring", loops, EACH_BACKEND, 120 },
	{ "many threads that have a loop", threads, EACH_METHOD, 240 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

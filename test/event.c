/*
 * libivykis: iv_event.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_LINUX
#include <sys/syscall.h>
#endif
#include "check.h"

#define SOME_ERRNO	12345

/* The handlers that ran, in order, one letter each. */
static char trace[4096];

static void note(char letter)
{
	size_t len = strlen(trace);

	check(len < sizeof(trace) - 1);
	trace[len] = letter;
}

static void expect_trace(const char *want)
{
	if (strcmp(trace, want))
		fprintf(stderr, "# \"%s\" instead of \"%s\"\n", trace, want);
	check(!strcmp(trace, want));
	memset(trace, 0, sizeof(trace));
}

static void note_cookie(void *letter)
{
	note(*(char *)letter);
}

static void
register_event(struct iv_event *ev, void (*handler)(void *), void *cookie)
{
	IV_EVENT_INIT(ev);
	ev->handler = handler;
	ev->cookie = cookie;
	check_int(iv_event_register(ev), 0);
}

static void register_noted(struct iv_event *ev, const char *letter)
{
	register_event(ev, note_cookie, (void *)letter);
}

static void start_task(struct iv_task *t, void (*handler)(void *), void *cookie)
{
	IV_TASK_INIT(t);
	t->handler = handler;
	t->cookie = cookie;
	iv_task_register(t);
}

static void quit(void *unused)
{
	(void)unused;
	iv_quit();
}

static void run_for(int ms)
{
	struct iv_timer t;

	IV_TIMER_INIT(&t);
	iv_invalidate_now();
	t.expires = iv_now;
	t.expires.tv_nsec += ms * 1000000;
	t.handler = quit;
	iv_timer_register(&t);
	iv_main();
	if (iv_timer_registered(&t))
		iv_timer_unregister(&t);
}

/* Enough to serve all that was posted before. */
#define ITERATIONS	80

static void serve_all(void)
{
	run_iterations(ITERATIONS);
}

static void in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, fn, arg), 0);
	check_int(pthread_join(t, NULL), 0);
}

static void *post(void *ev)
{
	errno = SOME_ERRNO;
	iv_event_post(ev);
	check_int(errno, SOME_ERRNO);

	return NULL;
}

static void order(void)
{
	struct iv_event a, b, c;

	iv_init();
	register_noted(&a, "a");
	register_noted(&b, "b");
	register_noted(&c, "c");

	iv_event_post(&c);
	iv_event_post(&a);
	iv_event_post(&c);
	iv_event_post(&b);
	iv_event_post(&a);
	serve_all();
	expect_trace("cab");

	in_thread(post, &b);
	in_thread(post, &a);
	in_thread(post, &b);
	iv_event_post(&c);
	serve_all();
	expect_trace("bac");

	iv_event_unregister(&a);
	iv_event_unregister(&b);
	iv_event_unregister(&c);
	iv_deinit();
}

static void coalescing(void)
{
	struct iv_event a;
	int i;

	iv_init();
	register_noted(&a, "a");
	for (i = 0; i < 100000; i++)
		iv_event_post(&a);
	serve_all();
	expect_trace("a");
	for (i = 0; i < 10; i++)
		in_thread(post, &a);
	serve_all();
	expect_trace("a");
	iv_event_unregister(&a);
	iv_deinit();
}

static struct iv_task rounds_task;
static int rounds;

struct poster {
	struct iv_event	ev;
	int		calls;
	int		round;		/* of the latest call */
};

static void post_self(void *_p)
{
	struct poster *p = _p;

	check(p->calls == 0 || p->round != rounds);
	p->round = rounds;
	iv_event_post(&p->ev);
	if (++p->calls == 100)
		iv_quit();
}

static void start_next_round(void *unused)
{
	(void)unused;
	rounds++;
	iv_task_register(&rounds_task);
}

static void post_in_own_handler(void)
{
	struct poster p = { .calls = 0 };

	iv_init();
	register_event(&p.ev, post_self, &p);
	start_task(&rounds_task, start_next_round, NULL);
	iv_event_post(&p.ev);
	iv_main();
	check_int(p.calls, 100);
	iv_task_unregister(&rounds_task);
	iv_event_unregister(&p.ev);
	iv_deinit();
}

static void post_again_in_handler(void *ev)
{
	iv_event_post(ev);
}

static int fd_calls;

static void readable(void *_fd)
{
	struct iv_fd *fd = _fd;
	char byte;

	check_int(read(fd->fd, &byte, 1), 1);
	if (++fd_calls == 10)
		iv_quit();
}

static void write_byte(void *_fd)
{
	int *fd = _fd;

	check_int(write(fd[1], "", 1), 1);
}

struct ticker {
	struct iv_timer	timer;
	int		*pipe;
};

static void tick(void *_t)
{
	struct ticker *t = _t;

	write_byte(t->pipe);
	t->timer.expires = iv_now;
	t->timer.expires.tv_nsec += 1000000;
	iv_timer_register(&t->timer);
}

/*
 * Two events post themselves.  A timer fires, and makes a descriptor readable.
 */
static void self_posters_starve_nothing(void)
{
	struct iv_event a, b;
	struct ticker t;
	struct iv_fd fd;
	int p[2];

	iv_init();
	check_int(pipe(p), 0);
	IV_FD_INIT(&fd);
	fd.fd = p[0];
	fd.cookie = &fd;
	fd.handler_in = readable;
	iv_fd_register(&fd);
	IV_TIMER_INIT(&t.timer);
	t.pipe = p;
	t.timer.expires = iv_now;
	t.timer.handler = tick;
	t.timer.cookie = &t;
	iv_timer_register(&t.timer);
	register_event(&a, post_again_in_handler, &a);
	register_event(&b, post_again_in_handler, &b);
	iv_event_post(&a);
	iv_event_post(&b);
	iv_main();

	iv_event_unregister(&a);
	iv_event_unregister(&b);
	iv_timer_unregister(&t.timer);
	iv_fd_unregister(&fd);
	close(p[0]);
	close(p[1]);
	iv_deinit();
}


#define BATCH	5

enum removal {
	REMOVE_ONE,
	REMOVE_ALL,
	REGISTER_AGAIN,
	POST_AND_REMOVE,
};

struct member {
	struct iv_event	ev;
	int		index;
};

/* The handler that is called as number `at' does this to the victim. */
static struct {
	struct member	*member[BATCH];
	int		called;
	int		at;
	int		victim;
	enum removal	removal;
} batch;

static void remove_member(int i)
{
	struct member *m = batch.member[i];

	iv_event_unregister(&m->ev);
	memset(m, 0xdb, sizeof(*m));
	free(m);
	batch.member[i] = NULL;
}

static void remove_victim(void)
{
	struct iv_event *ev = &batch.member[batch.victim]->ev;
	int i;

	if (batch.removal == REGISTER_AGAIN) {
		iv_event_unregister(ev);
		check_int(iv_event_register(ev), 0);
	}
	if (batch.removal == POST_AND_REMOVE)
		iv_event_post(ev);
	if (batch.removal == POST_AND_REMOVE || batch.removal == REMOVE_ONE)
		remove_member(batch.victim);
	for (i = 0; batch.removal == REMOVE_ALL && i < BATCH; i++)
		remove_member(i);
}

static void note_member(void *_m)
{
	struct member *m = _m;

	note('0' + m->index);
	if (batch.called++ == batch.at)
		remove_victim();
}

/* The victim is not called if its call was still to come. */
static void expect_batch(void)
{
	char want[BATCH + 1] = "";
	int num = 0;
	int i;

	for (i = 0; i < BATCH; i++) {
		if (i > batch.at &&
		    (batch.removal == REMOVE_ALL || i == batch.victim))
			continue;
		want[num++] = '0' + i;
	}
	expect_trace(want);
}

static void run_batch(enum removal removal, int at, int victim, int from_thread)
{
	int i;

	memset(&batch, 0, sizeof(batch));
	batch.removal = removal;
	batch.at = at;
	batch.victim = victim;

	for (i = 0; i < BATCH; i++) {
		batch.member[i] = malloc(sizeof(*batch.member[i]));
		batch.member[i]->index = i;
		register_event(&batch.member[i]->ev, note_member,
			       batch.member[i]);
	}
	for (i = 0; i < BATCH; i++) {
		if (from_thread)
			in_thread(post, &batch.member[i]->ev);
		else
			iv_event_post(&batch.member[i]->ev);
	}
	serve_all();
	expect_batch();

	for (i = 0; i < BATCH; i++) {
		if (batch.member[i] != NULL)
			remove_member(i);
	}
}

static void run_batches(enum removal removal)
{
	int at, victim;

	iv_init();
	for (at = 0; at < BATCH; at++) {
		for (victim = 0; victim < BATCH; victim++) {
			run_batch(removal, at, victim, 0);
			run_batch(removal, at, victim, 1);
		}
	}
	iv_deinit();
}

static void remove_in_batch(void)
{
	run_batches(REMOVE_ONE);
}

static void remove_batch(void)
{
	run_batches(REMOVE_ALL);
}

static void register_again_in_batch(void)
{
	run_batches(REGISTER_AGAIN);
}

static void remove_from_next_batch(void)
{
	run_batches(POST_AND_REMOVE);
}

static void cancel_before_main(void)
{
	struct iv_event a, b;

	iv_init();
	register_noted(&a, "a");
	register_noted(&b, "b");
	iv_event_post(&a);
	iv_event_post(&b);
	iv_event_unregister(&a);
	serve_all();
	expect_trace("b");

	register_noted(&a, "a");
	serve_all();
	expect_trace("");
	in_thread(post, &a);
	in_thread(post, &b);
	iv_event_unregister(&a);
	iv_event_unregister(&b);
	iv_main();
	expect_trace("");
	iv_deinit();
}


struct round_test {
	struct iv_event	e, f;
	struct iv_task	t1, t2, t3;
};

static void post_among_tasks(void *_r)
{
	struct round_test *r = _r;

	start_task(&r->t1, note_cookie, "1");
	iv_event_post(&r->e);
	start_task(&r->t2, note_cookie, "2");
	iv_event_post(&r->f);
	start_task(&r->t3, note_cookie, "3");
}

static void start_round_test(struct round_test *r)
{
	iv_init();
	register_noted(&r->e, "e");
	register_noted(&r->f, "f");
}

static void end_round_test(struct round_test *r)
{
	iv_event_unregister(&r->e);
	iv_event_unregister(&r->f);
	iv_deinit();
}

static void position_before_main(void)
{
	struct round_test r;

	start_round_test(&r);
	post_among_tasks(&r);
	serve_all();
	expect_trace("1ef23");
	end_round_test(&r);
}

static void position_in_round(void)
{
	struct round_test r;
	struct iv_task t;

	start_round_test(&r);
	/* Tasks that have not run in this round are added to its end. */
	IV_TASK_INIT(&r.t1);
	IV_TASK_INIT(&r.t2);
	IV_TASK_INIT(&r.t3);
	start_task(&t, post_among_tasks, &r);
	serve_all();
	check(strlen(trace) == 5 && strstr(trace, "ef") != NULL);
	memset(trace, 0, sizeof(trace));
	end_round_test(&r);
}

static void position_by_timer(void)
{
	struct round_test r;
	struct iv_timer t;

	start_round_test(&r);
	IV_TIMER_INIT(&t);
	t.expires = iv_now;
	t.handler = post_among_tasks;
	t.cookie = &r;
	iv_timer_register(&t);
	serve_all();
	expect_trace("1ef23");
	end_round_test(&r);
}


struct counted {
	struct iv_event	ev;
	int		calls;
};

static void count(void *_c)
{
	((struct counted *)_c)->calls++;
}

static void call_and_quit(void *_c)
{
	count(_c);
	iv_quit();
}

static void *post_late(void *ev)
{
	usleep(20000);

	return post(ev);
}

static void wake_sleeping_loop(void)
{
	struct counted c = { .calls = 0 };
	pthread_t t;
	int i;

	iv_init();
	register_event(&c.ev, call_and_quit, &c);
	for (i = 0; i < 5; i++) {
		check_int(pthread_create(&t, NULL, post_late, &c.ev), 0);
		iv_main();
		check_int(pthread_join(t, NULL), 0);
	}
	check_int(c.calls, 5);
	iv_event_unregister(&c.ev);
	iv_deinit();
}

/* A loop that spins uses CPU time when it should sleep. */
static void sleep_after_delivery(void)
{
	struct counted c = { .calls = 0 };
	pthread_t t;
	long before;

	iv_init();
	register_event(&c.ev, count, &c);
	check_int(pthread_create(&t, NULL, post_late, &c.ev), 0);
	before = cpu_ms();
	run_for(300);
	check(cpu_ms() - before < 100);
	check_int(pthread_join(t, NULL), 0);
	serve_all();
	check_int(c.calls, 1);
	iv_event_unregister(&c.ev);
	iv_deinit();
}

static void count_and_unregister(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	iv_event_unregister(&c->ev);
}

static void keeps_loop_running(void)
{
	struct counted a = { .calls = 0 }, b = { .calls = 0 };

	iv_init();
	register_event(&a.ev, count_and_unregister, &a);
	register_event(&b.ev, count_and_unregister, &b);
	iv_event_post(&a.ev);
	run_for(1);
	check_int(a.calls, 1);
	check_int(b.calls, 0);
	iv_event_post(&b.ev);
	/* There is no iv_quit(): it returns as nothing is registered. */
	iv_main();
	check_int(b.calls, 1);
	iv_deinit();
}

static void private_memory(void)
{
	static const int patterns[] = { 0x00, 0x5a, 0xa5, 0xff };
	struct counted c;
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		memset(&c, patterns[i], sizeof(c));
		c.calls = 0;
		c.ev.handler = count_and_unregister;
		c.ev.cookie = &c;
		check_int(iv_event_register(&c.ev), 0);
		iv_event_post(&c.ev);
		iv_main();
		check_int(c.calls, 1);
	}
	iv_deinit();
}

static void post_never_registered(void)
{
	struct iv_event ev;

	memset(&ev, 0, sizeof(ev));
	iv_event_post(&ev);
	in_thread(post, &ev);
	iv_init();
	in_thread(post, &ev);
	iv_deinit();
}

static void register_at_limit(struct counted *c, int limit)
{
	int former = limit_descriptors(limit);

	check_errno(iv_event_register(&c->ev), EMFILE);
	limit_descriptors(former);
}

static void descriptor_limit(void)
{
	struct counted c = { .calls = 0 };
	int before;

	iv_init();
	IV_EVENT_INIT(&c.ev);
	before = num_descriptors();
	register_at_limit(&c, lowest_descriptor());
	if (variant_is_pipe())
		register_at_limit(&c, lowest_descriptor() + 1);
	check_int(num_descriptors(), before);
	/* Nothing is registered, so this returns. */
	iv_main();

	register_event(&c.ev, count_and_unregister, &c);
	in_thread(post, &c.ev);
	iv_main();
	check_int(c.calls, 1);
	check_int(num_descriptors(), before);
	iv_deinit();
}

static void *register_with_refusal(void *err)
{
	struct counted c = { .calls = 0 };

	iv_init();
	/* It fails in this thread only. */
	refuse("epoll_ctl", (intptr_t)err);
	IV_EVENT_INIT(&c.ev);
	c.ev.handler = count_and_unregister;
	c.ev.cookie = &c;
	if (iv_event_register(&c.ev) == 0)
		iv_event_unregister(&c.ev);
	iv_deinit();

	return NULL;
}

static void refusal_in_another_thread(void)
{
	struct counted c = { .calls = 0 };

	iv_init();
	register_event(&c.ev, count_and_unregister, &c);
	in_thread(register_with_refusal, (void *)(intptr_t)ENOSPC);
	in_thread(post, &c.ev);
	iv_main();
	check_int(c.calls, 1);
	iv_deinit();
}

static void pipes_are_close_on_exec(void)
{
	struct counted c = { .calls = 0 };
	int others[100];
	int fd;

	for (fd = 3; fd < 100; fd++)
		others[fd] = fcntl(fd, F_GETFD) >= 0;
	refuse("eventfd2", ENOSYS);
	refuse("eventfd", ENOSYS);
	iv_init();
	register_event(&c.ev, count_and_unregister, &c);
	for (fd = 3; fd < 100; fd++) {
		int flags = fcntl(fd, F_GETFD);

		check(others[fd] || flags < 0 || (flags & FD_CLOEXEC));
	}
	in_thread(post, &c.ev);
	iv_main();
	iv_deinit();
}

static void deinit_registered(void)
{
	static struct iv_event ev[3];
	int before = num_descriptors();
	int i;

	for (i = 0; i < 10; i++) {
		iv_init();
		register_noted(&ev[0], "a");
		register_noted(&ev[1], "b");
		register_noted(&ev[2], "c");
		iv_event_post(&ev[1]);
		iv_event_unregister(&ev[i % 3]);
		iv_deinit();
		check_int(num_descriptors(), before);
	}
}

static void *end_registered(void *unused)
{
	struct iv_event ev;

	(void)unused;
	iv_init();
	register_noted(&ev, "a");
	iv_event_post(&ev);

	return NULL;
}

static void thread_ends_registered(void)
{
	int before = num_descriptors();
	int i;

	for (i = 0; i < 10; i++)
		in_thread(end_registered, NULL);
	check_int(num_descriptors(), before);
	expect_trace("");
}


static struct iv_event quiet[100];

static void post_all_quiet(void *unused)
{
	int i, j;

	(void)unused;
	for (j = 0; j < 10; j++) {
		for (i = 0; i < 100; i++)
			iv_event_post(&quiet[i]);
	}
}

/* The loop stays awake: it waits here for the thread. */
static void watch_quiet_thread(void *unused)
{
	(void)unused;
	without_system_calls(post_all_quiet, NULL);
}

static void no_system_call(void)
{
	struct iv_task t;
	pid_t pid;
	int i;

	iv_init();
	for (i = 0; i < 100; i++)
		register_noted(&quiet[i], "a");
	start_task(&t, watch_quiet_thread, NULL);
	serve_all();
	check_int(strlen(trace), 100);
	memset(trace, 0, sizeof(trace));

	/* The owner posts, in a child: a system call would kill it. */
	pid = fork();
	if (pid == 0) {
		forbid_system_calls();
		for (i = 0; i < 100; i++)
			iv_event_post(&quiet[i]);
		exit_tied();
	}
	check_child(pid);
	for (i = 0; i < 100; i++)
		iv_event_unregister(&quiet[i]);
	iv_deinit();
}


/*
 * A thread that waits for its post to be served checks the loop's thread
 * meanwhile.  If that sleeps all the time although the post has returned, a
 * wakeup was lost.
 */
static pid_t loop_tid;

static int read_loop_state(unsigned long *switches)
{
	char name[64], line[256];
	int asleep = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/status", (int)loop_tid);
	f = fopen(name, "r");
	check(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (!strncmp(line, "State:\tS", 8))
			asleep = 1;
		sscanf(line, "voluntary_ctxt_switches: %lu", switches);
	}
	fclose(f);

	return asleep;
}

static void check_loop_is_active(int *sleeping_checks)
{
	static _Thread_local unsigned long before;
	unsigned long switches = 0;

	usleep(1000);
	if (read_loop_state(&switches) && switches == before)
		check(++*sleeping_checks < 300);
	else
		*sleeping_checks = 0;
	before = switches;
}

static void await_value(const atomic_ulong *received, unsigned long value)
{
	int sleeping_checks = 0;
	int spins = 0;

	while (atomic_load_explicit(received, memory_order_relaxed) < value) {
		if (++spins > 5000)
			check_loop_is_active(&sleeping_checks);
		else
			sched_yield();
	}
}

struct cache_line {
	_Alignas(64) atomic_ulong	value;
};

/*
 * Data that is ordered by nothing but the post.  Odd and even values have a
 * cache line each, so that a store goes to a line that the loop's processor has
 * read last.
 */
struct channel {
	struct cache_line		data[2];
	_Alignas(64) atomic_ulong	received;
	struct iv_event			ev;
	int				rounds;
	int				delay;
};

static unsigned long latest_value(struct channel *c)
{
	unsigned long even = atomic_load_explicit(&c->data[0].value,
						  memory_order_relaxed);
	unsigned long odd = atomic_load_explicit(&c->data[1].value,
						 memory_order_relaxed);

	return odd > even ? odd : even;
}

static void receive_latest(void *_c)
{
	struct channel *c = _c;

	atomic_store_explicit(&c->received, latest_value(c),
			      memory_order_relaxed);
}

static void send_value(struct channel *c, unsigned long value)
{
	atomic_store_explicit(&c->data[value % 2].value, value,
			      memory_order_relaxed);
	iv_event_post(&c->ev);
}

static void pause_for(int times)
{
	while (times-- > 0)
		atomic_signal_fence(memory_order_seq_cst);
}

static int was_received(struct channel *c, unsigned long value)
{
	return atomic_load_explicit(&c->received,
				    memory_order_relaxed) >= value;
}

/*
 * Post, and post again at the moment when the loop serves the first post.  The
 * delay between the two grows if the second was too early, and else shrinks.
 */
static unsigned long send_at_reply(struct channel *c, unsigned long value,
				   unsigned int *seed)
{
	int step = 1 + c->delay / 64;

	send_value(c, ++value);
	pause_for(c->delay + rand_r(seed) % step);
	if (!was_received(c, value))
		c->delay += step;
	else if (c->delay > step)
		c->delay -= step;
	send_value(c, ++value);

	return value;
}

/* Post, and post again when the loop is about to sleep. */
static unsigned long send_before_sleep(struct channel *c, unsigned long value,
				       unsigned int *seed)
{
	send_value(c, ++value);
	await_value(&c->received, value);
	pause_for(rand_r(seed) % 8192);
	send_value(c, ++value);

	return value;
}

/* In one of eight rounds there is a burst of posts while the loop wakes up. */
static void *send_values(void *_c)
{
	struct channel *c = _c;
	unsigned long value = 0;
	unsigned int seed = 1;
	int i, j;

	for (i = 0; i < c->rounds; i++) {
		value = i % 2 ? send_at_reply(c, value, &seed) :
				send_before_sleep(c, value, &seed);
		for (j = rand_r(&seed) % 64; j > 56; j--)
			send_value(c, ++value);
		await_value(&c->received, value);
	}

	return NULL;
}

static struct iv_event all_sent;

static void *join_all(void *_t)
{
	pthread_t *t = _t;
	int i;

	for (i = 0; i < 4; i++)
		check_int(pthread_join(t[i], NULL), 0);
	iv_event_post(&all_sent);

	return NULL;
}

static void start_channel(struct channel *c, int num)
{
	memset(c, 0, sizeof(*c));
	c->rounds = num;
	c->delay = 1000;
	register_event(&c->ev, receive_latest, c);
}

static void sent_by_threads(int num, int num_rounds)
{
	struct channel c[4];
	pthread_t t[4], joiner;
	int i;

	iv_init();
	loop_tid = iv_get_thread_id();
	register_event(&all_sent, quit, NULL);
	for (i = 0; i < 4; i++)
		start_channel(&c[i], i < num ? num_rounds : 0);
	for (i = 0; i < 4; i++)
		check_int(pthread_create(&t[i], NULL, send_values, &c[i]), 0);
	check_int(pthread_create(&joiner, NULL, join_all, t), 0);
	iv_main();
	check_int(pthread_join(joiner, NULL), 0);

	for (i = 0; i < num; i++)
		check_int(c[i].received, latest_value(&c[i]));
	for (i = 0; i < 4; i++)
		iv_event_unregister(&c[i].ev);
	iv_event_unregister(&all_sent);
	iv_deinit();
}

static void one_sender(void)
{
	sent_by_threads(1, 300000);
}

static void many_senders(void)
{
	sent_by_threads(4, 20000);
}


static struct channel *signal_channel;
static atomic_ulong signals_received;

static void send_from_signal(int sig)
{
	int saved_errno = errno;

	(void)sig;
	errno = SOME_ERRNO;
	send_value(signal_channel, 1 + atomic_fetch_add(&signals_received, 1));
	if (errno != SOME_ERRNO)
		abort();
	errno = saved_errno;
}

struct storm {
	pthread_t	target;
	unsigned long	signals;
	int		one_by_one;
};

/* Once the value of the last signal was received, all posts were served. */
static void *signal_storm(void *_s)
{
	struct storm *s = _s;
	unsigned long i;

	for (i = 1; i <= s->signals; i++) {
		check_int(pthread_kill(s->target, SIGUSR1), 0);
		if (s->one_by_one)
			await_value(&signal_channel->received, i);
	}
	await_value(&signal_channel->received, atomic_load(&signals_received));
	iv_event_post(&all_sent);

	return NULL;
}

static void *post_until_done(void *_done)
{
	atomic_int *done = _done;

	while (!*done)
		iv_event_post(&signal_channel->ev);

	return NULL;
}

static void run_storm(struct storm *s)
{
	struct channel c;
	pthread_t t;

	register_event(&all_sent, quit, NULL);
	start_channel(&c, 0);
	signal_channel = &c;
	signals_received = 0;
	check_int(pthread_create(&t, NULL, signal_storm, s), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	iv_event_unregister(&c.ev);
	iv_event_unregister(&all_sent);
}

static void signals_to_own_thread(void)
{
	struct storm one = { pthread_self(), 20000, 1 };
	struct storm many = { pthread_self(), 100000, 0 };

	iv_init();
	loop_tid = iv_get_thread_id();
	signal(SIGUSR1, send_from_signal);
	run_storm(&one);
	run_storm(&many);
	iv_deinit();
}

/* The signals interrupt posts of the same event. */
static void signals_to_poster(void)
{
	struct channel c;
	struct storm s = { .signals = 100000 };
	atomic_int done = 0;
	pthread_t t;

	iv_init();
	loop_tid = iv_get_thread_id();
	signal(SIGUSR1, send_from_signal);
	register_event(&all_sent, quit, NULL);
	start_channel(&c, 0);
	signal_channel = &c;
	check_int(pthread_create(&s.target, NULL, post_until_done, &done), 0);
	check_int(pthread_create(&t, NULL, signal_storm, &s), 0);
	iv_main();
	done = 1;
	check_int(pthread_join(s.target, NULL), 0);
	check_int(pthread_join(t, NULL), 0);
	iv_event_unregister(&c.ev);
	iv_event_unregister(&all_sent);
	iv_deinit();
}


/* The handler ends the receiver's loop while the poster is in the post. */
struct receiver {
	struct iv_event	ev;
	atomic_int	ready;
	atomic_int	calls;
};

static void leave_at_once(void *_r)
{
	struct receiver *r = _r;

	iv_event_unregister(&r->ev);
	memset(&r->ev, 0xdb, sizeof(r->ev));
	atomic_fetch_add(&r->calls, 1);
}

static void *receive_and_leave(void *_r)
{
	struct receiver *r = _r;

	iv_init();
	register_event(&r->ev, leave_at_once, r);
	atomic_store(&r->ready, 1);
	iv_main();
	iv_deinit();

	return NULL;
}

static void receiver_leaves(void)
{
	unsigned int seed = 1;
	int i;

	for (i = 0; i < 2000; i++) {
		struct receiver *r = calloc(1, sizeof(*r));
		int pause = rand_r(&seed) % 2000;
		pthread_t t;

		check_int(pthread_create(&t, NULL, receive_and_leave, r), 0);
		while (!atomic_load(&r->ready))
			sched_yield();
		while (pause-- > 0)
			atomic_signal_fence(memory_order_seq_cst);
		iv_event_post(&r->ev);
		check_int(pthread_join(t, NULL), 0);
		check_int(r->calls, 1);
		free(r);
	}
}


/* Two loops post to each other.  Each ends after its last post. */
struct player {
	struct iv_event	ev;
	struct player	*other;
	pthread_barrier_t *barrier;
	int		left;
	int		is_server;
};

/* The server posts in its last call, too; the other player does not. */
static void return_ball(void *_p)
{
	struct player *p = _p;

	if (--p->left > 0 || p->is_server)
		iv_event_post(&p->other->ev);
	if (p->left == 0)
		iv_event_unregister(&p->ev);
}

static void *player_loop(void *_p)
{
	struct player *p = _p;

	iv_init();
	register_event(&p->ev, return_ball, p);
	pthread_barrier_wait(p->barrier);
	if (p->is_server)
		iv_event_post(&p->other->ev);
	iv_main();
	iv_deinit();

	return NULL;
}

static void ping_pong(void)
{
	pthread_barrier_t barrier;
	struct player a = { .left = 20000 };
	struct player b = { .left = 19999, .is_server = 1 };
	pthread_t ta, tb;

	pthread_barrier_init(&barrier, NULL, 2);
	a.other = &b;
	b.other = &a;
	a.barrier = b.barrier = &barrier;
	check_int(pthread_create(&ta, NULL, player_loop, &a), 0);
	check_int(pthread_create(&tb, NULL, player_loop, &b), 0);
	check_int(pthread_join(tb, NULL), 0);
	check_int(pthread_join(ta, NULL), 0);
	pthread_barrier_destroy(&barrier);
}


/*
 * The owner posts and unregisters.  At each of its instructions in turn it is
 * interrupted by a signal handler that posts the same events and another one,
 * and forks.  Both processes go on.
 */
static struct counted first, second, unregistered, extra;
static int *done;

static void post_and_fork(int sig)
{
	pid_t pid;

	(void)sig;
	iv_event_post(&extra.ev);
	iv_event_post(&second.ev);
	iv_event_post(&first.ev);
	pid = fork();
	check(pid >= 0);
	if (pid > 0)
		check_child(pid);
}

static void post_and_unregister(void)
{
	iv_event_post(&first.ev);
	iv_event_post(&unregistered.ev);
	iv_event_post(&second.ev);
	iv_event_unregister(&unregistered.ev);
	iv_event_post(&first.ev);
}

static void count_before_others(void *third)
{
	check_int(first.calls, 1);
	check_int(second.calls, 1);
	count(third);
}

static void *post_third(void *third)
{
	iv_event_post(third);

	return NULL;
}

/* This event is on the stack, so later posts are pushed there, too. */
static void post_from_elsewhere(struct counted *third)
{
	pthread_t t;

	register_event(&third->ev, count_before_others, third);
	check_int(pthread_create(&t, NULL, post_third, &third->ev), 0);
	check_int(pthread_join(t, NULL), 0);
}

static void be_interrupted(int behind_others)
{
	struct counted third = { .calls = 0 };

	iv_init();
	register_event(&first.ev, count, &first);
	register_event(&second.ev, count, &second);
	register_event(&extra.ev, count, &extra);
	/* The dynamic linker resolves symbols in the first calls. */
	register_event(&unregistered.ev, count, &unregistered);
	post_and_unregister();
	run_iterations(1);
	register_event(&unregistered.ev, count, &unregistered);
	signal(SIGUSR1, post_and_fork);
	if (behind_others)
		post_from_elsewhere(&third);

	tracee_begins();
	post_and_unregister();
	*done = 1;

	run_iterations(3);
	check_int(first.calls, 2);
	check_int(second.calls, 2);
	check_int(extra.calls, 1);
	check_int(third.calls, behind_others);
	check_int(unregistered.calls, 0);
	_exit(0);
}

static void interrupt_anywhere(int behind_others)
{
	int ended = 0;
	int num;

	skip_under(TSAN | MEMCHECK, "lets signals wait");
	done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(done != MAP_FAILED);
	for (num = 0; !ended; num++) {
		pid_t pid;

		*done = 0;
		pid = fork();
		check(pid >= 0);
		if (pid == 0)
			be_interrupted(behind_others);
		tracee_trace(pid);
		tracee_steps(pid, num);
		ended = *done;
		tracee_leave(pid, SIGUSR1);
		check_child(pid);
	}
	check(num > 100);
}

static void interrupted_anywhere(void)
{
	interrupt_anywhere(0);
}

static void interrupted_behind_others(void)
{
	interrupt_anywhere(1);
}


/* A thread posts while a request to cancel it is pending. */
struct cancelled {
	struct counted	c;
	atomic_int	is_cancelled;
	atomic_int	posted;
};

static void *post_when_cancelled(void *_d)
{
	struct cancelled *d = _d;

	while (!atomic_load(&d->is_cancelled))
		;
	iv_event_post(&d->c.ev);
	atomic_store(&d->posted, 1);
	pthread_testcancel();

	return NULL;
}

static void *cancel_poster(void *_d)
{
	struct cancelled *d = _d;
	void *ret;
	pthread_t t;

	check_int(pthread_create(&t, NULL, post_when_cancelled, d), 0);
	/* Let the loop fall asleep, so that the post has to wake it. */
	usleep(2000);
	check_int(pthread_cancel(t), 0);
	atomic_store(&d->is_cancelled, 1);
	check_int(pthread_join(t, &ret), 0);
	check(ret == PTHREAD_CANCELED);
	check(d->posted);

	return NULL;
}

static void cancelled_poster(void)
{
	struct cancelled d = { .posted = 0 };
	pthread_t t;
	int i;

	iv_init();
	register_event(&d.c.ev, call_and_quit, &d.c);
	for (i = 0; i < 100; i++) {
		d.is_cancelled = d.posted = 0;
		check_int(pthread_create(&t, NULL, cancel_poster, &d), 0);
		iv_main();
		check_int(pthread_join(t, NULL), 0);
		check_int(d.c.calls, i + 1);
	}
	iv_event_unregister(&d.c.ev);
	iv_deinit();
}


static void register_without_loop(void)
{
	struct iv_event ev;

	IV_EVENT_INIT(&ev);
	iv_event_register(&ev);
}

static void unregister_twice(void)
{
	struct iv_event a, b;

	iv_init();
	register_noted(&a, "a");
	register_noted(&b, "b");
	iv_event_unregister(&a);
	iv_event_unregister(&a);
}

static void *unregister_here(void *ev)
{
	iv_init();
	iv_event_unregister(ev);

	return NULL;
}

static void unregister_elsewhere(void)
{
	struct iv_event ev;

	iv_init();
	register_noted(&ev, "a");
	in_thread(unregister_here, &ev);
}

static void post_without_handler(void)
{
	struct iv_event ev;

	iv_init();
	register_event(&ev, NULL, NULL);
	iv_event_post(&ev);
	iv_main();
}

static void mistakes(void)
{
	check_fatal(register_without_loop, "this thread has no loop");
	check_fatal(unregister_twice, "iv_event_unregister");
	check_fatal(unregister_elsewhere, "iv_event_unregister");
	check_fatal(post_without_handler, "has no handler");
}


/* `queue' has the events in the order in which they have to be called. */
#define MANY	64

static struct iv_event many[MANY];
static int is_pending[MANY];
static int queue[1000000];
static int queue_head, queue_tail;
static unsigned int seed = 1;

static void post_one_of_many(int i)
{
	iv_event_post(&many[i]);
	if (is_pending[i])
		return;
	check(queue_tail < 1000000);
	queue[queue_tail++] = i;
	is_pending[i] = 1;
}

static void renew_one_of_many(int i)
{
	int k;

	iv_event_unregister(&many[i]);
	check_int(iv_event_register(&many[i]), 0);
	for (k = queue_head; is_pending[i] && k < queue_tail; k++) {
		if (queue[k] == i)
			queue[k] = -1;
	}
	is_pending[i] = 0;
}

static void do_something_to_many(void)
{
	int i = rand_r(&seed) % MANY;

	if (queue_tail > 900000)
		return;
	if (rand_r(&seed) % 4 == 0)
		renew_one_of_many(i);
	else
		post_one_of_many(i);
}

static void one_of_many(void *ev)
{
	int i = (struct iv_event *)ev - many;

	while (queue_head < queue_tail && queue[queue_head] < 0)
		queue_head++;
	check(queue_head < queue_tail);
	check_int(queue[queue_head++], i);
	is_pending[i] = 0;

	do_something_to_many();
	do_something_to_many();
	do_something_to_many();
	if (queue_head == queue_tail)
		iv_quit();
}

static void order_of_many(void)
{
	int i;

	iv_init();
	for (i = 0; i < MANY; i++)
		register_event(&many[i], one_of_many, &many[i]);
	while (queue_tail < 900000) {
		post_one_of_many(0);
		iv_main();
	}
	for (i = 0; i < MANY; i++)
		iv_event_unregister(&many[i]);
	iv_deinit();
}

/* In the middle of a batch, posts fill the queue so that it is compacted. */
static struct iv_event filler[2];

static void fill_queue(void *letter)
{
	int i;

	note_cookie(letter);
	iv_event_post(&filler[0]);
	for (i = 0; i < 1000; i++) {
		iv_event_post(&filler[1]);
		iv_event_unregister(&filler[1]);
		check_int(iv_event_register(&filler[1]), 0);
	}
}

static void post_in_batch(void)
{
	struct iv_event ev;
	struct iv_task task;

	iv_init();
	register_event(&ev, fill_queue, "e");
	register_noted(&filler[0], "c");
	register_noted(&filler[1], "x");
	iv_event_post(&ev);
	start_task(&task, note_cookie, "t");
	serve_all();
	expect_trace("etc");
	iv_event_unregister(&ev);
	iv_event_unregister(&filler[0]);
	iv_event_unregister(&filler[1]);
	iv_deinit();
}

/* A process forks while another thread is in the middle of a post. */
static struct iv_event being_posted, whole;
static int being_posted_calls, whole_calls;

static void count_call(void *calls)
{
	++*(int *)calls;
}

static void register_both(void)
{
	register_event(&being_posted, count_call, &being_posted_calls);
	register_event(&whole, count_call, &whole_calls);
}

static void post_in_steps(void)
{
	static struct iv_event other;

	iv_init();
	/* The dynamic linker resolves symbols in the first post. */
	register_event(&other, quit, NULL);
	iv_event_post(&other);
	iv_event_unregister(&other);

	forks_begin(register_both);
	iv_event_post(&being_posted);
	forks_end();
}

static void unregister_being_posted(void)
{
	iv_event_post(&whole);
	iv_event_unregister(&being_posted);
	run_iterations(80);
	check_int(whole_calls, 1);
	check_int(being_posted_calls, 0);
	iv_event_unregister(&whole);
}

static void post_both(void)
{
	iv_event_post(&being_posted);
	iv_event_post(&whole);
	run_iterations(80);
	check_int(being_posted_calls, 1);
	check_int(whole_calls, 1);
}

static void fork_during_post(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		unregister_being_posted();
		_exit(0);
	}
	check_child(pid);
	post_both();
}

static void fork_at_each_instruction(void)
{
	check_forks(post_in_steps, fork_during_post);
}

/*
 * A loop of real-time priority runs on the same processor as the poster, which
 * gets to run when the loop sleeps.  The loop wakes up, and unregisters, while
 * the poster is still in its write(2).
 */
static atomic_int num_yields;

#ifdef HAVE_LINUX
int sched_yield(void)
{
	atomic_fetch_add(&num_yields, 1);

	return syscall(SYS_sched_yield);
}
#endif

static struct iv_event realtime_event;
static atomic_int realtime_calls;

static void unregister_last(void *unused)
{
	(void)unused;
	iv_event_unregister(&realtime_event);
	atomic_fetch_add(&realtime_calls, 1);
}

static int bind_to_first(int policy)
{
	struct sched_param param = { .sched_priority = policy == SCHED_FIFO };

	use_one_processor();

	return pthread_setschedparam(pthread_self(), policy, &param);
}

#define REALTIME_ROUNDS	200

/* *ready counts the loops.  It is -1 if the priority cannot be set. */
static void *realtime_loop(void *ready)
{
	int i;

	if (bind_to_first(SCHED_FIFO) != 0) {
		atomic_store((atomic_int *)ready, -1);
		return NULL;
	}
	for (i = 0; i < REALTIME_ROUNDS; i++) {
		iv_init();
		register_event(&realtime_event, unregister_last, NULL);
		atomic_store((atomic_int *)ready, i + 1);
		iv_main();
		iv_deinit();
	}

	return NULL;
}

static void loop_of_high_priority(void)
{
	atomic_int ready = 0;
	pthread_t t;
	int i, num;

	skip_under(TSAN | MEMCHECK, "schedules threads itself");
	need_own_functions();
	check_int(bind_to_first(SCHED_OTHER), 0);
	check_int(pthread_create(&t, NULL, realtime_loop, &ready), 0);
	/* The thread runs until it sleeps. */
	for (i = 0; i < REALTIME_ROUNDS; i++) {
		while ((num = atomic_load(&ready)) >= 0 && num <= i)
			usleep(100);
		if (num < 0)
			skip("real-time priority is not permitted");
		iv_event_post(&realtime_event);
	}
	check_int(pthread_join(t, NULL), 0);
	check_int(realtime_calls, REALTIME_ROUNDS);
	/* It yields a few times, and then sleeps. */
	check(num_yields <= 200 * REALTIME_ROUNDS);
}

static const struct check_case cases[] = {
	{ "handlers run in the order of the first posts", order, EACH, 0 },
	{ "the order holds while events are unregistered and registered again",
	  order_of_many, ONCE, 0 },
	{ "an event posted in a batch runs in the next one",
	  post_in_batch, EACH_METHOD, 0 },
	{ "posts are coalesced into one call", coalescing, EACH, 0 },
	{ "a post in the event's own handler results in another call later",
	  post_in_own_handler, EACH, 0 },
	{ "events that post themselves do not starve timers and descriptors",
	  self_posters_starve_nothing, EACH, 0 },
	{ "an event unregistered by a handler of its batch is not called",
	  remove_in_batch, EACH_BACKEND, 0 },
	{ "any handler of a batch may unregister and free all events",
	  remove_batch, EACH_BACKEND, 0 },
	{ "an event registered again in a batch is not called for old posts",
	  register_again_in_batch, EACH_BACKEND, 0 },
	{ "an event unregistered after a post in a handler is not called",
	  remove_from_next_batch, EACH_BACKEND, 0 },
	{ "unregistering cancels the call, and registering again starts afresh",
	  cancel_before_main, EACH, 0 },
	{ "the owner's post takes a task's position, before iv_main",
	  position_before_main, EACH, 0 },
	{ "the owner's post in a task is served in a round",
	  position_in_round, EACH, 0 },
	{ "the owner's post takes a task's position, in a timer's handler",
	  position_by_timer, EACH, 0 },
	{ "a post wakes a sleeping loop", wake_sleeping_loop, EACH, 0 },
	{ "the loop sleeps after the call", sleep_after_delivery, EACH, 0 },
	{ "a registered event keeps iv_main running", keeps_loop_running,
	  EACH, 0 },
	{ "private members need not be initialised before registering",
	  private_memory, EACH_BACKEND, 0 },
	{ "a post to an event that is all zeroes does nothing",
	  post_never_registered, ONCE, 0 },
	{ "registering fails at the descriptor limit, and works afterwards",
	  descriptor_limit, EACH, 0 },
	{ "a loop that cannot get a wakeup does not affect other loops",
	  refusal_in_another_thread, EACH_METHOD, 0 },
	{ "pipes that are used instead of an eventfd are close-on-exec",
	  pipes_are_close_on_exec, EACH_METHOD, 0 },
	{ "iv_deinit with events registered leaks no descriptor",
	  deinit_registered, EACH, 0 },
	{ "a thread that ends with events registered leaks no descriptor",
	  thread_ends_registered, EACH, 0 },
	{ "posts to a loop that is awake make no system call",
	  no_system_call, EACH_BACKEND, 0 },
	{ "no wakeup is lost, and handlers see what the poster has stored",
	  one_sender, EACH_BACKEND, 0 },
	{ "no wakeup by many threads is lost", many_senders, EACH_BACKEND, 0 },
	{ "signal handlers post in the loop's own thread while it sleeps",
	  signals_to_own_thread, EACH, 0 },
	{ "a signal handler that interrupts a post posts the same event",
	  signals_to_poster, EACH_BACKEND, 0 },
	{ "signal handlers post and fork at each instruction of the owner",
	  interrupted_anywhere, ONCE, 120 },
	{ "signal handlers do so while another thread's event is queued",
	  interrupted_behind_others, ONCE, 120 },
	{ "a fork during another thread's post loses no post",
	  fork_at_each_instruction, ONCE, 120 },
	{ "a loop of real-time priority lets a poster finish its post",
	  loop_of_high_priority, EACH_BACKEND, 0 },
	{ "the receiver may end its loop before the post has returned",
	  receiver_leaves, EACH, 0 },
	{ "two loops that post to each other may end at any time",
	  ping_pong, EACH, 0 },
	{ "a thread whose cancellation is pending can post",
	  cancelled_poster, EACH, 0 },
	{ "mistakes are fatal, and the message names the call", mistakes,
	  ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

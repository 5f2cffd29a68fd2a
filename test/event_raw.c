/*
 * libivykis: iv_event_raw: posts and calls.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define SOME_ERRNO	12345

/* An object that counts its calls. */
struct counted {
	struct iv_event_raw	ev;
	int			calls;
};

static void count(void *_c)
{
	struct counted *c = _c;

	c->calls++;
}

static void init_raw(struct iv_event_raw *ev, void (*handler)(void *),
		     void *cookie)
{
	IV_EVENT_RAW_INIT(ev);
	ev->handler = handler;
	ev->cookie = cookie;
}

static void register_raw(struct iv_event_raw *ev, void (*handler)(void *),
			 void *cookie)
{
	init_raw(ev, handler, cookie);
	check_int(iv_event_raw_register(ev), 0);
}

static void register_counted(struct counted *c)
{
	c->calls = 0;
	register_raw(&c->ev, count, c);
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
	t.expires.tv_sec += ms / 1000;
	t.expires.tv_nsec += ms % 1000 * 1000000;
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

static void expect_calls(struct counted *c, int calls)
{
	serve_all();
	check_int(c->calls, calls);
}

static void *post(void *ev)
{
	iv_event_raw_post(ev);

	return NULL;
}

static void in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, fn, arg), 0);
	check_int(pthread_join(t, NULL), 0);
}

static void post_before_main(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	iv_event_raw_post(&c.ev);
	expect_calls(&c, 1);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void burst(struct counted *c, int num)
{
	int i;

	c->calls = 0;
	for (i = 0; i < num; i++)
		iv_event_raw_post(&c->ev);
	expect_calls(c, 1);
}

static void bursts(void)
{
	static const int sizes[] = { 1, 2, 1000, 8193, 100000 };
	struct counted c;
	size_t i;

	iv_init();
	register_counted(&c);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		burst(&c, sizes[i]);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static struct iv_task rounds_task;
static int rounds;

struct self_poster {
	struct iv_event_raw	ev;
	int			calls;
	int			round;	/* of the latest call */
};

static void post_self(void *_s)
{
	struct self_poster *s = _s;

	check(s->calls == 0 || rounds != s->round);
	s->round = rounds;
	s->calls++;
	iv_event_raw_post(&s->ev);
	if (s->calls == 100)
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
	struct self_poster s = { .calls = 0 };

	iv_init();
	register_raw(&s.ev, post_self, &s);
	IV_TASK_INIT(&rounds_task);
	rounds_task.handler = start_next_round;
	iv_task_register(&rounds_task);

	iv_event_raw_post(&s.ev);
	iv_main();
	check_int(s.calls, 100);

	iv_task_unregister(&rounds_task);
	iv_event_raw_unregister(&s.ev);
	iv_deinit();
}

static struct iv_task task;
static int total_calls, task_runs;

static void count_task(void *unused)
{
	(void)unused;
	task_runs++;
}

/* The task that a call registers has to run before the next call. */
static void post_next(void *ev)
{
	check_int(task_runs, total_calls);
	if (++total_calls == 10) {
		iv_quit();
		return;
	}
	iv_task_register(&task);
	iv_event_raw_post(ev);
}

static void *post_to_sleeper(void *ev)
{
	usleep(50000);
	iv_event_raw_post(ev);

	return NULL;
}

/*
 * Post while the loop sleeps, which needs a doorbell, or else before it runs.
 * If the loop falls asleep late, there is no doorbell, either.
 */
static void post_first(struct iv_event_raw *ev, int sleeps)
{
	pthread_t t;

	total_calls = task_runs = 0;
	if (!sleeps) {
		iv_event_raw_post(ev);
		iv_main();
		return;
	}
	check_int(pthread_create(&t, NULL, post_to_sleeper, ev), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
}

/* A single object posts to itself, two of them post to each other. */
static void tasks_before_next_post(void)
{
	struct iv_event_raw ev[2];
	int num, sleeps, i;

	iv_init();
	IV_TASK_INIT(&task);
	task.handler = count_task;
	for (num = 1; num <= 2; num++) {
		for (i = 0; i < num; i++)
			register_raw(&ev[i], post_next, &ev[num - 1 - i]);
		for (sleeps = 0; sleeps < 2; sleeps++) {
			for (i = 0; i < num; i++) {
				post_first(&ev[i], sleeps);
				check_int(total_calls, 10);
			}
		}
		for (i = 0; i < num; i++)
			iv_event_raw_unregister(&ev[i]);
	}
	iv_deinit();
}

static void count_and_post(void *_c)
{
	struct counted *c = _c;

	count(c);
	iv_event_raw_post(&c->ev);
}

static void self_poster_and_timer(void)
{
	struct counted c = { .calls = 0 };

	iv_init();
	register_raw(&c.ev, count_and_post, &c);
	iv_event_raw_post(&c.ev);
	/* Only the timer can end it. */
	run_for(20);
	check(c.calls > 0);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

/* Write until the descriptor is full.  The writes count as posts. */
static void fill_descriptor(const struct iv_event_raw *ev)
{
	uint64_t most = UINT64_MAX - 1;

	while (write(ev->event_wfd, &most, sizeof(most)) > 0)
		;
	check_int(errno, EAGAIN);
	if (!variant_is_pipe())
		return;
	while (write(ev->event_wfd, &most, 1) > 0)
		;
	check_int(errno, EAGAIN);
}

static void post_checking_errno(const struct iv_event_raw *ev)
{
	errno = SOME_ERRNO;
	iv_event_raw_post(ev);
	check_int(errno, SOME_ERRNO);
}

static void post_and_check_errno(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	post_checking_errno(&c.ev);
	post_checking_errno(&c.ev);
	expect_calls(&c, 1);

	fill_descriptor(&c.ev);
	post_checking_errno(&c.ev);
	expect_calls(&c, 3);

	iv_event_raw_unregister(&c.ev);
	post_checking_errno(&c.ev);
	iv_deinit();
}

static void full_descriptor(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	fill_descriptor(&c.ev);
	iv_event_raw_post(&c.ev);
	iv_event_raw_post(&c.ev);
	expect_calls(&c, 2);
	iv_event_raw_post(&c.ev);
	expect_calls(&c, 3);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void register_and_check_errno(void)
{
	struct counted c;

	iv_init();
	init_raw(&c.ev, count, &c);
	errno = SOME_ERRNO;
	check_int(iv_event_raw_register(&c.ev), 0);
	check_int(errno, SOME_ERRNO);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void register_at_limit(struct counted *c, int limit)
{
	int former = limit_descriptors(limit);

	check_errno(iv_event_raw_register(&c->ev), EMFILE);
	limit_descriptors(former);
}

static void descriptor_limit(void)
{
	struct counted c = { .calls = 0 };
	int before;

	iv_init();
	before = num_descriptors();
	init_raw(&c.ev, count, &c);

	register_at_limit(&c, lowest_descriptor());
	if (variant_is_pipe())
		register_at_limit(&c, lowest_descriptor() + 1);
	check_int(num_descriptors(), before);
	/* Nothing is registered: a post does nothing, and iv_main returns. */
	iv_event_raw_post(&c.ev);
	iv_main();
	check_int(c.calls, 0);

	register_counted(&c);
	iv_event_raw_post(&c.ev);
	expect_calls(&c, 1);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}


#define BATCH	5

enum removal {
	REMOVE_ONE,
	REMOVE_ALL,
	REGISTER_AGAIN,
};

/* The handler that is called as number `at' does this to the victim. */
static struct {
	struct member	*member[BATCH];
	int		calls[BATCH];
	int		called;
	int		at;
	int		victim;
	enum removal	removal;
	int		victim_calls;	/* at that time */
} batch;

struct member {
	struct iv_event_raw	ev;
	int			index;
};

static void remove_member(int i)
{
	struct member *m = batch.member[i];

	iv_event_raw_unregister(&m->ev);
	memset(m, 0xdb, sizeof(*m));
	free(m);
	batch.member[i] = NULL;
}

static void remove_victim(void)
{
	int i;

	batch.victim_calls = batch.calls[batch.victim];
	if (batch.removal == REGISTER_AGAIN) {
		struct iv_event_raw *ev = &batch.member[batch.victim]->ev;

		iv_event_raw_unregister(ev);
		check_int(iv_event_raw_register(ev), 0);
	}
	if (batch.removal == REMOVE_ONE)
		remove_member(batch.victim);
	for (i = 0; batch.removal == REMOVE_ALL && i < BATCH; i++)
		remove_member(i);
}

static void count_member(void *_m)
{
	struct member *m = _m;

	batch.calls[m->index]++;
	if (batch.called++ == batch.at)
		remove_victim();
}

static struct member *new_member(int i)
{
	struct member *m = malloc(sizeof(*m));

	check(m != NULL);
	m->index = i;
	register_raw(&m->ev, count_member, m);

	return m;
}

static void check_batch(void)
{
	int i;

	check_int(batch.calls[batch.victim], batch.victim_calls);
	for (i = 0; i < BATCH; i++) {
		if (batch.removal == REMOVE_ALL)
			check(batch.calls[i] <= 1);
		else if (i != batch.victim)
			check_int(batch.calls[i], 1);
	}
	if (batch.removal == REMOVE_ALL)
		check_int(batch.called, batch.at + 1);
}

static void run_batch(enum removal removal, int at, int victim)
{
	int i;

	memset(&batch, 0, sizeof(batch));
	batch.removal = removal;
	batch.at = at;
	batch.victim = victim;

	for (i = 0; i < BATCH; i++)
		batch.member[i] = new_member(i);
	for (i = 0; i < BATCH; i++)
		iv_event_raw_post(&batch.member[i]->ev);
	serve_all();
	check_batch();

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
		for (victim = 0; victim < BATCH; victim++)
			run_batch(removal, at, victim);
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


/* The writing end of a pipe, at two given numbers.  It must stay empty. */
struct probe {
	int	fd[2];
	int	at[2];
};

static void put_probe(struct probe *c, int at0, int at1)
{
	check_int(pipe(c->fd), 0);
	check_int(fcntl(c->fd[0], F_SETFL, O_NONBLOCK), 0);
	c->at[0] = at0;
	c->at[1] = at1;
	check(c->fd[0] != at0 && c->fd[0] != at1);
	if (c->fd[1] != at0)
		check_int(dup2(c->fd[1], at0), at0);
	if (c->fd[1] != at1)
		check_int(dup2(c->fd[1], at1), at1);
}

static void check_and_close_probe(struct probe *c)
{
	int len = -1;

	check_int(ioctl(c->fd[0], FIONREAD, &len), 0);
	check_int(len, 0);
	close(c->fd[0]);
	close(c->fd[1]);
	close(c->at[0]);
	close(c->at[1]);
}

static void post_after_unregister(int pending)
{
	struct counted c;
	struct probe probe;
	int low[2], fd0, fd1;

	/* These numbers are for the pipe of the probe. */
	check_int(pipe(low), 0);
	register_counted(&c);
	fd0 = c.ev.event_rfd.fd;
	fd1 = c.ev.event_wfd;
	if (pending)
		iv_event_raw_post(&c.ev);
	close(low[0]);
	close(low[1]);
	iv_event_raw_unregister(&c.ev);

	put_probe(&probe, fd0, fd1);
	iv_event_raw_post(&c.ev);
	in_thread(post, &c.ev);
	expect_calls(&c, 0);
	check_and_close_probe(&probe);
}

static void posts_after_unregister(void)
{
	iv_init();
	post_after_unregister(0);
	post_after_unregister(1);
	iv_deinit();
}

static void post_never_registered(void)
{
	struct iv_event_raw ev;
	struct probe probe;
	int fd = dup(0);

	memset(&ev, 0, sizeof(ev));
	ev.event_rfd.fd = fd;
	ev.event_wfd = fd;
	put_probe(&probe, fd, fd);
	iv_event_raw_post(&ev);
	in_thread(post, &ev);
	check_and_close_probe(&probe);
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
		c.ev.handler = count;
		c.ev.cookie = &c;
		check_int(iv_event_raw_register(&c.ev), 0);
		check(c.ev.handler == count && c.ev.cookie == &c);
		iv_event_raw_post(&c.ev);
		expect_calls(&c, 1);
		iv_event_raw_unregister(&c.ev);
	}
	iv_deinit();
}

static void handler_set_after_post(void)
{
	struct counted a = { .calls = 0 }, b = { .calls = 0 };

	iv_init();
	register_raw(&a.ev, quit, NULL);
	iv_event_raw_post(&a.ev);
	a.ev.handler = count;
	a.ev.cookie = &b;
	expect_calls(&b, 1);
	iv_event_raw_unregister(&a.ev);
	iv_deinit();
}


#define MANY	10000

static void expect_each(struct counted *c, int num, int step)
{
	int i;

	serve_all();
	for (i = 0; i < num; i++) {
		check_int(c[i].calls, i % step == 0);
		c[i].calls = 0;
	}
}

static void post_to_each(struct counted *c, int num, int step)
{
	int i;

	for (i = 0; i < num; i += step)
		iv_event_raw_post(&c[i].ev);
}

static int room_for_objects(void)
{
	struct rlimit lim;
	rlim_t room;

	check_int(getrlimit(RLIMIT_NOFILE, &lim), 0);
	room = lim.rlim_cur / (variant_is_pipe() ? 2 : 1);
	if (room < MANY / 10)
		skip("too few descriptors are allowed");

	return room - 100 < MANY ? room - 100 : MANY;
}

static void many_objects(void)
{
	struct counted *c = calloc(MANY, sizeof(*c));
	int num, i;

	iv_init();
	num = room_for_objects();
	for (i = 0; i < num; i++)
		register_counted(&c[i]);
	post_to_each(c, num, 1);
	expect_each(c, num, 1);
	post_to_each(c, num, 97);
	expect_each(c, num, 97);

	/* Unregistering pending objects does not affect the others. */
	post_to_each(c, num, 1);
	for (i = 0; i < num; i++) {
		if (i % 2)
			iv_event_raw_unregister(&c[i].ev);
	}
	expect_each(c, num, 2);
	for (i = 0; i < num; i += 2)
		iv_event_raw_unregister(&c[i].ev);

	iv_deinit();
	free(c);
}

static void use_memory(struct counted *c)
{
	register_counted(c);
	iv_event_raw_post(&c->ev);
	expect_calls(c, 1);
	in_thread(post, &c->ev);
	expect_calls(c, 2);
	iv_event_raw_unregister(&c->ev);
}

static void *shared_memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	check(mem != MAP_FAILED);

	return mem;
}

static void memory(void)
{
	static struct counted fixed;
	struct counted *heap = malloc(sizeof(*heap));
	struct counted *shared = shared_memory(sizeof(*shared));
	struct counted stack;

	iv_init();
	use_memory(&fixed);
	use_memory(heap);
	use_memory(shared);
	use_memory(&stack);
	iv_deinit();

	check_int(munmap(shared, sizeof(*shared)), 0);
	free(heap);
}


static void *post_without_loop(void *ev)
{
	check_int(iv_inited(), 0);
	post_checking_errno(ev);
	check_int(iv_inited(), 0);

	return NULL;
}

static void threads_without_loop(void)
{
	struct counted c;
	int i;

	iv_init();
	register_counted(&c);
	for (i = 0; i < 10; i++) {
		in_thread(post_without_loop, &c.ev);
		expect_calls(&c, i + 1);
	}
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void call_and_quit(void *c)
{
	count(c);
	iv_quit();
}

static void *post_late(void *ev)
{
	/* By then the loop most likely sleeps; the test passes either way. */
	usleep(20000);
	iv_event_raw_post(ev);

	return NULL;
}

static void wake_sleeping_loop(void)
{
	struct counted c = { .calls = 0 };
	pthread_t t;
	int i;

	iv_init();
	register_raw(&c.ev, call_and_quit, &c);
	for (i = 0; i < 5; i++) {
		check_int(pthread_create(&t, NULL, post_late, &c.ev), 0);
		iv_main();
		check_int(pthread_join(t, NULL), 0);
	}
	check_int(c.calls, 5);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void descriptor_flags(void)
{
	struct counted c;
	int fd[2], i;

	iv_init();
	register_counted(&c);
	fd[0] = c.ev.event_rfd.fd;
	fd[1] = c.ev.event_wfd;
	check_int(fd[0] != fd[1], variant_is_pipe());
	for (i = 0; i < 2; i++) {
		check_int(fcntl(fd[i], F_GETFD), FD_CLOEXEC);
		check(fcntl(fd[i], F_GETFL) & O_NONBLOCK);
	}
	iv_event_raw_unregister(&c.ev);
	for (i = 0; i < 2; i++)
		check_errno(fcntl(fd[i], F_GETFD), EBADF);
	iv_deinit();
}


static struct counted *signalled;

static void post_from_signal(int sig)
{
	(void)sig;
	iv_event_raw_post(&signalled->ev);
}

static void raise_in_handler(void *unused)
{
	(void)unused;
	raise(SIGUSR1);
}

static void *signal_late(void *_loop)
{
	pthread_t *loop = _loop;

	usleep(20000);
	pthread_kill(*loop, SIGUSR1);

	return NULL;
}

static void signal_while_asleep(struct counted *c)
{
	pthread_t loop = pthread_self();
	pthread_t t;

	c->calls = 0;
	c->ev.handler = call_and_quit;
	check_int(pthread_create(&t, NULL, signal_late, &loop), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(c->calls, 1);
}

static void signal_handlers(void)
{
	struct counted c;
	struct iv_task t;

	iv_init();
	register_counted(&c);
	signalled = &c;
	signal(SIGUSR1, post_from_signal);
	raise(SIGUSR1);
	expect_calls(&c, 1);

	IV_TASK_INIT(&t);
	t.handler = raise_in_handler;
	iv_task_register(&t);
	expect_calls(&c, 2);

	signal_while_asleep(&c);
	iv_event_raw_unregister(&c.ev);
	raise(SIGUSR1);
	iv_deinit();
}


static void count_and_unregister(void *_c)
{
	struct counted *c = _c;

	count(c);
	iv_event_raw_unregister(&c->ev);
}

static void keeps_loop_running(void)
{
	struct counted a = { .calls = 0 }, b = { .calls = 0 };

	iv_init();
	iv_main();
	register_raw(&a.ev, count_and_unregister, &a);
	register_raw(&b.ev, count_and_unregister, &b);
	iv_event_raw_post(&a.ev);
	run_for(1);
	check_int(a.calls, 1);
	check_int(b.calls, 0);
	/* There is no iv_quit(): it returns as nothing is registered. */
	iv_event_raw_post(&b.ev);
	iv_main();
	check_int(b.calls, 1);
	iv_deinit();
}

/* A loop that spins uses CPU time when it should sleep. */
static void sleep_after_delivery(void)
{
	struct counted c;
	long before;

	iv_init();
	register_counted(&c);
	iv_event_raw_post(&c.ev);
	in_thread(post, &c.ev);
	before = cpu_ms();
	run_for(200);
	check_int(c.calls, 1);

	fill_descriptor(&c.ev);
	run_for(200);
	check_int(c.calls, 2);
	check(cpu_ms() - before < 100);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void post_quietly(void *ev)
{
	int i;

	errno = SOME_ERRNO;
	for (i = 0; i < 1000; i++)
		iv_event_raw_post(ev);
	if (errno != SOME_ERRNO)
		abort();
}

static void pending_in_thread(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	iv_event_raw_post(&c.ev);
	without_system_calls(post_quietly, &c.ev);
	expect_calls(&c, 1);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

/* The child waits for a byte, and then posts without system calls. */
static pid_t fork_poster(struct counted *c, const int go[2])
{
	pid_t pid = fork_checked();
	char byte;

	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		forbid_system_calls();
		post_quietly(&c->ev);
		exit_tied();
	}

	return pid;
}

static void pending_in_child(void)
{
	struct counted c;
	int go[2];
	pid_t pid;

	iv_init();
	register_counted(&c);
	check_int(pipe(go), 0);

	/* The post comes after the fork, so only shared memory shows it. */
	pid = fork_poster(&c, go);
	iv_event_raw_post(&c.ev);
	check_int(write(go[1], "", 1), 1);
	check_child(pid);
	expect_calls(&c, 1);

	/* The pending post is that of another child. */
	pid = fork_poster(&c, go);
	check_int(c.calls, 1);
	if (fork_checked() == 0) {
		iv_event_raw_post(&c.ev);
		_exit(0);
	}
	check(wait(NULL) > 0);
	check_int(write(go[1], "", 1), 1);
	check_child(pid);
	expect_calls(&c, 2);

	close(go[0]);
	close(go[1]);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void post_in_child(struct counted *c, int num)
{
	pid_t pid = fork_checked();

	while (pid == 0) {
		post_checking_errno(&c->ev);
		if (--num == 0)
			_exit(0);
	}
	check_child(pid);
}

static void children_post(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	post_in_child(&c, 1);
	expect_calls(&c, 1);
	post_in_child(&c, 100000);
	expect_calls(&c, 2);
	iv_event_raw_post(&c.ev);
	post_in_child(&c, 1);
	expect_calls(&c, 3);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

/* A child posts to its copies of objects that the parent has unregistered. */
static pid_t
fork_stale_poster(const struct counted *c, int num, const int go[2])
{
	pid_t pid = fork_checked();
	char byte;
	int i;

	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		for (i = 0; i < num; i++)
			iv_event_raw_post(&c[i].ev);
		_exit(0);
	}

	return pid;
}

/* Enough objects for memory to be used again. */
#define STALE	200

static void expect_no_stale_posts(struct counted *fresh)
{
	int i;

	/* They have received nothing, and are not taken for posted. */
	serve_all();
	for (i = 0; i < STALE; i++)
		check_int(fresh[i].calls, 0);
	for (i = 0; i < STALE; i++)
		iv_event_raw_post(&fresh[i].ev);
	serve_all();
	for (i = 0; i < STALE; i++)
		check_int(fresh[i].calls, 1);
}

static void stale_copies(void)
{
	static struct counted c[STALE], fresh[STALE];
	int go[2], i;
	pid_t pid;

	iv_init();
	check_int(pipe(go), 0);
	for (i = 0; i < STALE; i++)
		register_counted(&c[i]);
	pid = fork_stale_poster(c, STALE, go);
	for (i = 0; i < STALE; i++)
		iv_event_raw_unregister(&c[i].ev);
	for (i = 0; i < STALE; i++)
		register_counted(&fresh[i]);
	check_int(write(go[1], "", 1), 1);
	check_child(pid);
	expect_no_stale_posts(fresh);

	for (i = 0; i < STALE; i++)
		iv_event_raw_unregister(&fresh[i].ev);
	close(go[0]);
	close(go[1]);
	iv_deinit();
}


static void register_and_unregister(int num)
{
	struct counted c[3];
	int i, j;

	for (i = 0; i < num; i++) {
		for (j = 0; j < 3; j++)
			register_counted(&c[j]);
		iv_event_raw_post(&c[i % 3].ev);
		for (j = 0; j < 3; j++)
			iv_event_raw_unregister(&c[j].ev);
	}
}

static void mappings_of_objects(void)
{
	int before;

	skip_under(ASAN | MEMCHECK, "keeps freed memory for a while");
	iv_init();
	register_and_unregister(200);
	before = num_mappings();
	register_and_unregister(5000);
	check(num_mappings() <= before + 2);
	iv_deinit();
}

static void *loop_thread(void *unused)
{
	struct counted c;

	(void)unused;
	iv_init();
	register_and_unregister(10);
	register_counted(&c);
	iv_event_raw_post(&c.ev);
	run_for(1);
	check_int(c.calls, 1);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();

	return NULL;
}

static void mappings_of_threads(void)
{
	int before, i;

	in_thread(loop_thread, NULL);
	in_thread(loop_thread, NULL);
	before = num_mappings();
	for (i = 0; i < 300; i++)
		in_thread(loop_thread, NULL);
	/* The libc keeps some mappings, however many threads there were. */
	check(num_mappings() < before + 100);
}

static void register_after_deinit(void)
{
	struct counted c;
	int i;

	for (i = 0; i < 5; i++) {
		iv_init();
		register_counted(&c);
		iv_event_raw_post(&c.ev);
		expect_calls(&c, 1);
		iv_event_raw_unregister(&c.ev);
		iv_deinit();
	}
}


static void register_without_loop(void)
{
	struct iv_event_raw ev;

	init_raw(&ev, quit, NULL);
	iv_event_raw_register(&ev);
}

static void unregister_twice(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	iv_event_raw_unregister(&c.ev);
	iv_event_raw_unregister(&c.ev);
}

static void *unregister_here(void *ev)
{
	iv_init();
	iv_event_raw_unregister(ev);

	return NULL;
}

static void unregister_elsewhere(void)
{
	struct counted c;

	iv_init();
	register_counted(&c);
	in_thread(unregister_here, &c.ev);
}

static void post_without_handler(void)
{
	struct iv_event_raw ev;

	iv_init();
	register_raw(&ev, NULL, NULL);
	iv_event_raw_post(&ev);
	iv_main();
}

static void mistakes(void)
{
	check_fatal(register_without_loop, "this thread has no loop");
	check_fatal(unregister_twice, "iv_event_raw_unregister");
	check_fatal(unregister_elsewhere, "not registered in this thread");
	check_fatal(post_without_handler, "has no handler");
}

static const struct check_case cases[] = {
	{ "a post before iv_main is served", post_before_main, EACH, 0 },
	{ "a burst of any size results in one call", bursts, EACH, 0 },
	{ "a post in the object's own handler results in another call later",
	  post_in_own_handler, EACH, 0 },
	{ "tasks run before the next call if a handler posts to any object",
	  tasks_before_next_post, EACH, 0 },
	{ "an object that posts to itself for ever does not starve timers",
	  self_poster_and_timer, EACH, 0 },
	{ "a post keeps errno, even if the descriptor is full",
	  post_and_check_errno, EACH, 0 },
	{ "a full descriptor delays no post", full_descriptor, EACH, 0 },
	{ "registering keeps errno if it succeeds",
	  register_and_check_errno, EACH_BACKEND, 0 },
	{ "registering fails at the descriptor limit, and works afterwards",
	  descriptor_limit, EACH, 0 },
	{ "any handler of a batch may unregister and free any object",
	  remove_in_batch, EACH, 0 },
	{ "any handler of a batch may unregister and free all objects",
	  remove_batch, EACH, 0 },
	{ "an object registered again in a batch is not called for old posts",
	  register_again_in_batch, EACH, 0 },
	{ "a post after unregistering does nothing, even if numbers are reused",
	  posts_after_unregister, EACH, 0 },
	{ "a post to an object that is all zeroes does nothing",
	  post_never_registered, ONCE, 0 },
	{ "private members need not be initialised before registering",
	  private_memory, EACH, 0 },
	{ "handler and cookie are read at the time of the call",
	  handler_set_after_post, EACH_BACKEND, 0 },
	{ "of thousands of objects, those that were posted are called",
	  many_objects, EACH, 0 },
	{ "an object may be in any kind of memory", memory, EACH, 0 },
	{ "threads without a loop can post", threads_without_loop, EACH, 0 },
	{ "a post wakes a sleeping loop", wake_sleeping_loop, EACH, 0 },
	{ "descriptors are close-on-exec, non-blocking, and closed again",
	  descriptor_flags, EACH, 0 },
	{ "signal handlers post", signal_handlers, EACH, 0 },
	{ "a registered object keeps iv_main running", keeps_loop_running,
	  EACH, 0 },
	{ "the loop sleeps after the call", sleep_after_delivery, EACH, 0 },
	{ "threads post without a system call while a post is pending",
	  pending_in_thread, EACH_BACKEND, 0 },
	{ "children post without a system call while a post is pending",
	  pending_in_child, EACH_BACKEND, 0 },
	{ "children post", children_post, EACH, 0 },
	{ "posts to a child's stale copy reach no other object",
	  stale_copies, EACH_BACKEND, 0 },
	{ "registering and unregistering objects leaves nothing mapped",
	  mappings_of_objects, EACH_BACKEND, 0 },
	{ "threads with loops that end leave nothing mapped",
	  mappings_of_threads, EACH_BACKEND, 0 },
	{ "objects can be registered after iv_deinit and iv_init",
	  register_after_deinit, EACH, 0 },
	{ "mistakes are fatal, and the message names the call", mistakes,
	  ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

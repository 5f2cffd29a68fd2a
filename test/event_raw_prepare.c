/*
 * libivykis: iv_event_raw: objects that are prepared, and adopted by a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define SOME_ERRNO	12345
#define ROUNDS		2000

/* Shared by the processes.  Only posts order it, except for `ready'. */
struct shared {
	atomic_ulong	sent;
	atomic_ulong	received;
	atomic_ulong	runs;
	atomic_int	ready;
	atomic_int	release;
};

static struct shared *shared;
static struct iv_event_raw bell;

static void map_shared(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED);
}

static void unmap_shared(void)
{
	check_int(munmap(shared, sizeof(*shared)), 0);
}

static void quit(void *runs)
{
	++*(int *)runs;
	iv_quit();
}

static void prepare(struct iv_event_raw *ev, void (*handler)(void *),
		    void *cookie)
{
	memset(ev, 0xa5, sizeof(*ev));
	ev->handler = handler;
	ev->cookie = cookie;
	errno = SOME_ERRNO;
	check_int(iv_event_raw_prepare(ev), 0);
	check_int(errno, SOME_ERRNO);
}

static void adopt(struct iv_event_raw *ev)
{
	errno = SOME_ERRNO;
	check_int(iv_event_raw_adopt(ev), 0);
	check_int(errno, SOME_ERRNO);
}

static void post(struct iv_event_raw *ev)
{
	errno = SOME_ERRNO;
	iv_event_raw_post(ev);
	check_int(errno, SOME_ERRNO);
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

static void kill_child(pid_t pid)
{
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, NULL, 0), pid);
}

/* No call is pending, and the next post results in one. */
static void expect_no_pending(struct iv_event_raw *ev, int *runs)
{
	int before = *runs;

	post(ev);
	iv_main();
	check_int(*runs, before + 1);
	run_iterations(2);
	check_int(*runs, before + 1);
}

static void posts_before_adoption(void)
{
	int runs = 0;
	pid_t pid;

	prepare(&bell, quit, &runs);
	post(&bell);
	pid = fork_checked();
	if (pid == 0) {
		post(&bell);
		_exit(0);
	}
	check_child(pid);
	post(&bell);

	iv_init();
	adopt(&bell);
	iv_main();
	check_int(runs, 1);
	expect_no_pending(&bell, &runs);
	iv_event_raw_unregister(&bell);
	iv_deinit();
}

/* A loop adopts objects while it has another one, and after it has had some. */
static void adopt_among_others(void)
{
	struct iv_event_raw ev[3], own;
	int runs[3] = { 0, 0, 0 };
	int own_runs = 0;
	int i;

	iv_init();
	IV_EVENT_RAW_INIT(&own);
	own.handler = quit;
	own.cookie = &own_runs;
	check_int(iv_event_raw_register(&own), 0);
	for (i = 0; i < 3; i++) {
		prepare(&ev[i], quit, &runs[i]);
		post(&ev[i]);
		iv_event_raw_unregister(&ev[i]);
		prepare(&ev[i], quit, &runs[i]);
		adopt(&ev[i]);
	}
	for (i = 0; i < 3; i++) {
		expect_no_pending(&ev[i], &runs[i]);
		expect_no_pending(&own, &own_runs);
	}
	check_int(runs[0] + runs[1] + runs[2], 3);
	for (i = 0; i < 3; i++) {
		iv_event_raw_unregister(&ev[i]);
		expect_no_pending(&own, &own_runs);
	}
	iv_event_raw_unregister(&own);
	iv_deinit();
}


/* Each player has an object.  When it is called, it posts to its peer's. */
struct player {
	struct iv_event_raw	*own;
	struct iv_event_raw	*peer;
	int			posts;		/* to be made */
	int			calls;
};

static void return_ball(void *_p)
{
	struct player *p = _p;

	atomic_fetch_add(&shared->runs, 1);
	if (++p->calls == ROUNDS)
		iv_quit();
	if (p->posts-- > 0)
		iv_event_raw_post(p->peer);
}

static void run_player(struct player *p)
{
	p->own->cookie = p;
	adopt(p->own);
	iv_main();
	check_int(p->calls, ROUNDS);
	iv_event_raw_unregister(p->own);
	iv_deinit();
}

static void run_player_in_child(struct iv_event_raw *ev, int i)
{
	struct player p = { &ev[i], &ev[!i], ROUNDS - i, 0 };

	iv_init();
	run_player(&p);
	_exit(0);
}

static void prepare_two(struct iv_event_raw ev[2])
{
	map_shared();
	prepare(&ev[0], return_ball, NULL);
	prepare(&ev[1], return_ball, NULL);
	post(&ev[0]);
}

static void two_way(void)
{
	struct iv_event_raw ev[2];
	struct player p = { &ev[1], &ev[0], ROUNDS - 1, 0 };
	pid_t pid;

	prepare_two(ev);
	pid = fork_checked();
	if (pid == 0)
		run_player_in_child(ev, 0);
	iv_init();
	run_player(&p);
	check_child(pid);
	check_int(shared->runs, 2 * ROUNDS);
	iv_event_raw_unregister(&ev[0]);
	unmap_shared();
}

static void siblings(void)
{
	struct iv_event_raw ev[2];
	pid_t pid[2];
	int i;

	prepare_two(ev);
	for (i = 0; i < 2; i++) {
		pid[i] = fork_checked();
		if (pid[i] == 0)
			run_player_in_child(ev, i);
	}
	for (i = 0; i < 2; i++)
		check_child(pid[i]);
	check_int(shared->runs, 2 * ROUNDS);
	for (i = 0; i < 2; i++)
		iv_event_raw_unregister(&ev[i]);
	unmap_shared();
}

static void *run_player_in_thread(void *_ev)
{
	struct iv_event_raw *ev = _ev;
	struct player p = { &ev[0], &ev[1], ROUNDS, 0 };

	iv_init();
	run_player(&p);

	return NULL;
}

static void other_thread(void)
{
	struct iv_event_raw ev[2];
	struct player p = { &ev[1], &ev[0], ROUNDS - 1, 0 };
	pthread_t t;

	iv_init();
	prepare_two(ev);
	check_int(pthread_create(&t, NULL, run_player_in_thread, ev), 0);
	run_player(&p);
	check_int(pthread_join(t, NULL), 0);
	check_int(shared->runs, 2 * ROUNDS);
	unmap_shared();
}


/* The handler of `bell' notes that the latest value was received. */
static void receive(void *unused)
{
	unsigned long value = atomic_load_explicit(&shared->sent,
						   memory_order_relaxed);
	unsigned long received = atomic_load(&shared->received);

	(void)unused;
	atomic_fetch_add(&shared->runs, 1);
	while (received < value &&
	       !atomic_compare_exchange_weak(&shared->received, &received,
					     value))
		;
}

static void send_value(unsigned long value)
{
	atomic_store_explicit(&shared->sent, value, memory_order_relaxed);
	iv_event_raw_post(&bell);
}

/* If a post is lost, this waits until the case's time is up. */
static void await_all_received(void)
{
	while (atomic_load(&shared->received) < atomic_load(&shared->sent))
		sched_yield();
}

static void send_and_wait(void)
{
	send_value(shared->sent + 1);
	await_all_received();
}

static pid_t fork_owner(void)
{
	int ready = atomic_load(&shared->ready);
	pid_t pid = fork_checked();

	if (pid == 0) {
		iv_init();
		adopt(&bell);
		atomic_fetch_add(&shared->ready, 1);
		iv_main();
		_exit(0);
	}
	while (atomic_load(&shared->ready) == ready)
		sched_yield();

	return pid;
}

static void begin(void)
{
	map_shared();
	prepare(&bell, receive, NULL);
}

static void end(void)
{
	iv_event_raw_unregister(&bell);
	unmap_shared();
}

static void never_more_runs_than_posts(void)
{
	pid_t pid;
	int i;

	begin();
	pid = fork_owner();
	for (i = 0; i < ROUNDS; i++)
		send_and_wait();
	check(shared->runs <= ROUNDS);
	kill_child(pid);
	end();
}

static void two_owners(void)
{
	pid_t pid[2];
	int i;

	begin();
	send_value(1);
	pid[0] = fork_owner();
	send_and_wait();
	pid[1] = fork_owner();
	for (i = 0; i < ROUNDS; i++)
		send_and_wait();
	kill_child(pid[0]);
	for (i = 0; i < ROUNDS; i++)
		send_and_wait();
	kill_child(pid[1]);
	end();
}

/* The owner stays in its handler, so its loop is awake. */
static void receive_and_spin(void *unused)
{
	receive(unused);
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->release))
		;
}

static pid_t fork_owner_in_handler(void)
{
	int ready;
	pid_t pid;

	bell.handler = receive_and_spin;
	pid = fork_owner();
	bell.handler = receive;
	ready = atomic_load(&shared->ready);
	send_value(shared->sent + 1);
	while (atomic_load(&shared->ready) == ready)
		sched_yield();

	return pid;
}

/*
 * The first owner is awake, so a post only sets the bit, which that owner never
 * checks again.  The second owner receives that post and all that follow.
 */
static void second_owner_after_busy_first(void)
{
	pid_t pid[2];
	int i;

	begin();
	pid[0] = fork_owner_in_handler();
	send_value(shared->sent + 1);
	pid[1] = fork_owner();
	await_all_received();
	for (i = 0; i < 100; i++)
		send_and_wait();
	kill_child(pid[0]);
	for (i = 0; i < 100; i++)
		send_and_wait();
	kill_child(pid[1]);
	end();
}

/*
 * After a second owner has adopted it, each post writes.  There are more of
 * them than a pipe holds.
 */
static void posts_fill_descriptor(void)
{
	pid_t pid;
	int i;

	begin();
	kill_child(fork_owner());
	kill_child(fork_owner());
	for (i = 0; i < 10000; i++)
		post(&bell);
	send_value(1);
	pid = fork_owner();
	await_all_received();
	kill_child(pid);
	end();
}

/* The owner has slept, and then its loop is awake for ever. */
static void be_busy(void *unused)
{
	(void)unused;
	atomic_fetch_add(&shared->ready, 1);
	for (;;)
		;
}

static pid_t fork_busy_owner(void)
{
	int ready = atomic_load(&shared->ready);
	pid_t pid = fork_checked();
	struct iv_timer timer;

	if (pid == 0) {
		iv_init();
		adopt(&bell);
		IV_TIMER_INIT(&timer);
		timer.handler = be_busy;
		timer.expires = iv_now;
		timer.expires.tv_sec += 1;
		iv_timer_register(&timer);
		iv_main();
	}
	while (atomic_load(&shared->ready) == ready)
		sched_yield();

	return pid;
}

static void busy_second_owner(void)
{
	pid_t pid[2];
	int i;

	begin();
	pid[0] = fork_owner();
	pid[1] = fork_busy_owner();
	for (i = 0; i < 100; i++)
		send_and_wait();
	kill_child(pid[0]);
	kill_child(pid[1]);
	end();
}

/* A burst keeps the owner busy when it is killed. */
static void killed_owners(void)
{
	int i, j;

	begin();
	for (i = 0; i < 200; i++) {
		pid_t pid = fork_owner();

		send_and_wait();
		for (j = 0; j < i; j++)
			send_value(shared->sent + 1);
		kill_child(pid);
		if (i % 2)
			send_value(shared->sent + 1);
	}
	end();
}

/* Each owner unregisters the object before it ends. */
static void receive_and_unregister(void *cookie)
{
	receive(cookie);
	iv_event_raw_unregister(&bell);
}

static void owners_unregister(void)
{
	int i;

	begin();
	bell.handler = receive_and_unregister;
	for (i = 0; i < 50; i++) {
		pid_t pid;

		if (i % 2)
			send_value(shared->sent + 1);
		pid = fork_owner();
		if (i % 2 == 0)
			send_and_wait();
		check_child(pid);
		check_int(shared->received, shared->sent);
	}
	end();
}


static void post_many(void *unused)
{
	int i;

	(void)unused;
	for (i = 0; i < ROUNDS; i++)
		iv_event_raw_post(&bell);
}

static void posts_to_awake_owner(void)
{
	unsigned long runs = shared->runs;
	pid_t pid = fork_owner_in_handler();

	without_system_calls(post_many, NULL);
	shared->release = 1;
	send_and_wait();
	check(shared->runs <= runs + 3);
	kill_child(pid);
}

static void awake_owner(void)
{
	begin();
	posts_to_awake_owner();
	end();
}

static void awake_owner_after_unregistering(void)
{
	begin();
	bell.handler = receive_and_unregister;
	send_value(1);
	check_child(fork_owner());
	posts_to_awake_owner();
	end();
}

static void refused_shared_memory(void)
{
	pid_t pid;
	int i;

	map_shared();
	refuse_with("mmap", ENOMEM, 3, MAP_SHARED | MAP_ANONYMOUS);
	prepare(&bell, receive, NULL);
	send_value(1);
	pid = fork_owner();
	for (i = 0; i < 100; i++)
		send_and_wait();
	check(shared->runs <= 101);
	kill_child(pid);
	end();
}


static void prepare_and_unregister(void)
{
	struct iv_event_raw ev;
	int fds = num_descriptors();
	int runs = 0;
	int before = 0;
	int i;

	skip_under(ASAN | MEMCHECK, "keeps freed memory for a while");
	for (i = 0; i < 10000; i++) {
		prepare(&ev, quit, &runs);
		if (i % 2)
			iv_event_raw_post(&ev);
		iv_event_raw_unregister(&ev);
		iv_event_raw_post(&ev);
		if (i == 100)
			before = num_mappings();
	}
	check_int(num_descriptors(), fds);
	check(num_mappings() <= before + 4);

	iv_init();
	for (i = 0; i < 10000; i++) {
		prepare(&ev, quit, &runs);
		adopt(&ev);
		iv_event_raw_post(&ev);
		iv_event_raw_unregister(&ev);
	}
	check(num_mappings() <= before + 4);
	iv_deinit();
	check_int(runs, 0);
}

static void descriptor_limit(void)
{
	struct iv_event_raw ev;
	int runs = 0;
	int former;

	memset(&ev, 0xa5, sizeof(ev));
	/* iv_init() raises the limit. */
	iv_init();
	former = limit_descriptors(lowest_descriptor());
	check_errno(iv_event_raw_prepare(&ev), EMFILE);
	iv_event_raw_post(&ev);
	limit_descriptors(former);

	prepare(&ev, quit, &runs);
	adopt(&ev);
	expect_no_pending(&ev, &runs);
	iv_event_raw_unregister(&ev);
	iv_deinit();
}

/* If adopting fails, the object stays prepared. */
static void refused_adoption(void)
{
	struct iv_event_raw ev;
	int runs = 0;
	pid_t pid;

	prepare(&ev, quit, &runs);
	post(&ev);
	pid = fork_checked();
	if (pid == 0) {
		iv_init();
		if (variant_is_epoll()) {
			refuse("epoll_ctl", ENOSPC);
			check_errno(iv_event_raw_adopt(&ev), ENOSPC);
		}
		post(&ev);
		iv_event_raw_unregister(&ev);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	iv_init();
	adopt(&ev);
	iv_main();
	check_int(runs, 1);
	expect_no_pending(&ev, &runs);
	iv_event_raw_unregister(&ev);
	iv_deinit();
}

static void adopt_twice(void)
{
	iv_init();
	prepare(&bell, receive, NULL);
	adopt(&bell);
	iv_event_raw_adopt(&bell);
}

static void adopt_registered(void)
{
	iv_init();
	IV_EVENT_RAW_INIT(&bell);
	bell.handler = receive;
	check_int(iv_event_raw_register(&bell), 0);
	iv_event_raw_adopt(&bell);
}

static void adopt_unprepared(void)
{
	iv_init();
	IV_EVENT_RAW_INIT(&bell);
	iv_event_raw_adopt(&bell);
}

static void adopt_unregistered(void)
{
	iv_init();
	prepare(&bell, receive, NULL);
	iv_event_raw_unregister(&bell);
	iv_event_raw_adopt(&bell);
}

static void adopt_without_loop(void)
{
	prepare(&bell, receive, NULL);
	iv_event_raw_adopt(&bell);
}

static void unregister_twice(void)
{
	prepare(&bell, receive, NULL);
	iv_event_raw_unregister(&bell);
	iv_event_raw_unregister(&bell);
}

static void mistakes(void)
{
	check_fatal(adopt_twice, "iv_event_raw_adopt: ");
	check_fatal(adopt_registered, "iv_event_raw_adopt: ");
	check_fatal(adopt_unprepared, "is not prepared");
	check_fatal(adopt_unregistered, "is not prepared");
	check_fatal(adopt_without_loop, "iv_event_raw_adopt: ");
	check_fatal(unregister_twice, "iv_event_raw_unregister: ");
}

static const struct check_case cases[] = {
	{ "posts before the adoption are coalesced into one call after it",
	  posts_before_adoption, EACH, 0 },
	{ "a loop adopts objects while it has others, and after others",
	  adopt_among_others, EACH, 0 },
	{ "a child and its parent adopt an object each, and post to each other",
	  two_way, EACH, 0 },
	{ "two children adopt an object each, and post to each other",
	  siblings, EACH, 0 },
	{ "another thread adopts an object", other_thread, EACH, 0 },
	{ "the handler runs no more often than there are posts",
	  never_more_runs_than_posts, EACH_BACKEND, 0 },
	{ "no post is lost if two processes adopt the same object",
	  two_owners, EACH, 0 },
	{ "no post is lost if one of the two owners is busy",
	  busy_second_owner, EACH_BACKEND, 0 },
	{ "no post is lost if the first owner is busy when the second adopts",
	  second_owner_after_busy_first, EACH, 0 },
	{ "no post is lost, and errno is kept, if posts fill the descriptor",
	  posts_fill_descriptor, EACH_BACKEND, 0 },
	{ "no post is lost if an owner is killed and another one adopts",
	  killed_owners, EACH_BACKEND, 0 },
	{ "no post is lost if an owner unregisters and another one adopts",
	  owners_unregister, EACH, 0 },
	{ "posts to an owner that is awake make no system call",
	  awake_owner, EACH_BACKEND, 0 },
	{ "posts make no system call after another owner has unregistered",
	  awake_owner_after_unregistering, EACH_BACKEND, 0 },
	{ "without shared memory, each post writes and nothing is lost",
	  refused_shared_memory, EACH, 0 },
	{ "unregistering prepared objects leaves nothing open or mapped",
	  prepare_and_unregister, EACH_BACKEND, 0 },
	{ "preparing fails at the descriptor limit, and works afterwards",
	  descriptor_limit, EACH_BACKEND, 0 },
	{ "an object stays prepared if adopting it fails", refused_adoption,
	  EACH, 0 },
	{ "mistakes are fatal, and the message names the call", mistakes,
	  ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

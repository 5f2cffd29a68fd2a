/*
 * libivykis: iv_event_raw, objects that are prepared before they have a loop.
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
#define TURNS		2000

/* What processes share; ordered by posts alone, but for ready. */
struct shared {
	atomic_ulong	said;
	atomic_ulong	seen;
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

/* One call that was not posted would come before the one that is. */
static void expect_no_call(struct iv_event_raw *ev, int *runs)
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
	expect_no_call(&bell, &runs);
	iv_event_raw_unregister(&bell);
	iv_deinit();
}

/* A loop that has other boards, and one that had objects, adopts as well. */
static void adopted_among_others(void)
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
		expect_no_call(&ev[i], &runs[i]);
		expect_no_call(&own, &own_runs);
	}
	check_int(runs[0] + runs[1] + runs[2], 3);
	for (i = 0; i < 3; i++) {
		iv_event_raw_unregister(&ev[i]);
		expect_no_call(&own, &own_runs);
	}
	iv_event_raw_unregister(&own);
	iv_deinit();
}


/* Each has a bell, and answers the other's; the first one begins. */
struct player {
	struct iv_event_raw	*own;
	struct iv_event_raw	*peer;
	int			posts;		/* to be made */
	int			turns;
};

static void answer(void *_p)
{
	struct player *p = _p;

	atomic_fetch_add(&shared->runs, 1);
	if (++p->turns == TURNS)
		iv_quit();
	if (p->posts-- > 0)
		iv_event_raw_post(p->peer);
}

static void play(struct player *p)
{
	p->own->cookie = p;
	adopt(p->own);
	iv_main();
	check_int(p->turns, TURNS);
	iv_event_raw_unregister(p->own);
	iv_deinit();
}

static void play_in_child(struct iv_event_raw *ev, int i)
{
	struct player p = { &ev[i], &ev[!i], TURNS - i, 0 };

	iv_init();
	play(&p);
	_exit(0);
}

static void prepare_two(struct iv_event_raw ev[2])
{
	map_shared();
	prepare(&ev[0], answer, NULL);
	prepare(&ev[1], answer, NULL);
	post(&ev[0]);
}

static void two_way(void)
{
	struct iv_event_raw ev[2];
	struct player p = { &ev[1], &ev[0], TURNS - 1, 0 };
	pid_t pid;

	prepare_two(ev);
	pid = fork_checked();
	if (pid == 0)
		play_in_child(ev, 0);
	iv_init();
	play(&p);
	check_child(pid);
	check_int(shared->runs, 2 * TURNS);
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
			play_in_child(ev, i);
	}
	for (i = 0; i < 2; i++)
		check_child(pid[i]);
	check_int(shared->runs, 2 * TURNS);
	for (i = 0; i < 2; i++)
		iv_event_raw_unregister(&ev[i]);
	unmap_shared();
}

static void *play_in_thread(void *_ev)
{
	struct iv_event_raw *ev = _ev;
	struct player p = { &ev[0], &ev[1], TURNS, 0 };

	iv_init();
	play(&p);

	return NULL;
}

static void other_thread(void)
{
	struct iv_event_raw ev[2];
	struct player p = { &ev[1], &ev[0], TURNS - 1, 0 };
	pthread_t t;

	iv_init();
	prepare_two(ev);
	check_int(pthread_create(&t, NULL, play_in_thread, ev), 0);
	play(&p);
	check_int(pthread_join(t, NULL), 0);
	check_int(shared->runs, 2 * TURNS);
	unmap_shared();
}


/* Its owner notes the latest value that was said. */
static void note(void *unused)
{
	unsigned long value = atomic_load_explicit(&shared->said,
						   memory_order_relaxed);
	unsigned long seen = atomic_load(&shared->seen);

	(void)unused;
	atomic_fetch_add(&shared->runs, 1);
	while (seen < value &&
	       !atomic_compare_exchange_weak(&shared->seen, &seen, value))
		;
}

static void say(unsigned long value)
{
	atomic_store_explicit(&shared->said, value, memory_order_relaxed);
	iv_event_raw_post(&bell);
}

/* One that is lost is waited for until the case's time is over. */
static void await_all_said(void)
{
	while (atomic_load(&shared->seen) < atomic_load(&shared->said))
		sched_yield();
}

static void say_and_wait(void)
{
	say(shared->said + 1);
	await_all_said();
}

static pid_t owner(void)
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

static void bell_begin(void)
{
	map_shared();
	prepare(&bell, note, NULL);
}

static void bell_end(void)
{
	iv_event_raw_unregister(&bell);
	unmap_shared();
}

static void never_more_runs_than_posts(void)
{
	pid_t pid;
	int i;

	bell_begin();
	pid = owner();
	for (i = 0; i < TURNS; i++)
		say_and_wait();
	check(shared->runs <= TURNS);
	kill_child(pid);
	bell_end();
}

static void two_owners(void)
{
	pid_t pid[2];
	int i;

	bell_begin();
	say(1);
	pid[0] = owner();
	say_and_wait();
	pid[1] = owner();
	for (i = 0; i < TURNS; i++)
		say_and_wait();
	kill_child(pid[0]);
	for (i = 0; i < TURNS; i++)
		say_and_wait();
	kill_child(pid[1]);
	bell_end();
}

/* It is in its handler all the time. */
static void stay(void *unused)
{
	note(unused);
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->release))
		;
}

static pid_t owner_in_its_handler(void)
{
	int ready;
	pid_t pid;

	bell.handler = stay;
	pid = owner();
	bell.handler = note;
	ready = atomic_load(&shared->ready);
	say(shared->said + 1);
	while (atomic_load(&shared->ready) == ready)
		sched_yield();

	return pid;
}

/*
 * The first owner is awake, so a post only sets the bit.  It never looks, and
 * the second owner is told of that post and of all that follow.
 */
static void owner_after_busy_one(void)
{
	pid_t pid[2];
	int i;

	bell_begin();
	pid[0] = owner_in_its_handler();
	say(shared->said + 1);
	pid[1] = owner();
	await_all_said();
	for (i = 0; i < 100; i++)
		say_and_wait();
	kill_child(pid[0]);
	for (i = 0; i < 100; i++)
		say_and_wait();
	kill_child(pid[1]);
	bell_end();
}

/*
 * Once there have been two owners, each post writes, whether or not there is
 * room left: more of them than a pipe holds.
 */
static void posts_that_nobody_reads(void)
{
	pid_t pid;
	int i;

	bell_begin();
	kill_child(owner());
	kill_child(owner());
	for (i = 0; i < 10000; i++)
		post(&bell);
	say(1);
	pid = owner();
	await_all_said();
	kill_child(pid);
	bell_end();
}

/* It has slept, and is awake for ever. */
static void be_busy(void *unused)
{
	(void)unused;
	atomic_fetch_add(&shared->ready, 1);
	for (;;)
		;
}

static pid_t busy_owner(void)
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

static void owner_beside_busy_one(void)
{
	pid_t pid[2];
	int i;

	bell_begin();
	pid[0] = owner();
	pid[1] = busy_owner();
	for (i = 0; i < 100; i++)
		say_and_wait();
	kill_child(pid[0]);
	kill_child(pid[1]);
	bell_end();
}

/* A burst keeps it busy, so it is killed wherever it happens to be. */
static void killed_owners(void)
{
	int i, j;

	bell_begin();
	for (i = 0; i < 200; i++) {
		pid_t pid = owner();

		say_and_wait();
		for (j = 0; j < i; j++)
			say(shared->said + 1);
		kill_child(pid);
		if (i % 2)
			say(shared->said + 1);
	}
	bell_end();
}

/* Each owner gives it back, as one that ends in an orderly manner does. */
static void give_back(void *cookie)
{
	note(cookie);
	iv_event_raw_unregister(&bell);
}

static void owners_that_leave(void)
{
	int i;

	bell_begin();
	bell.handler = give_back;
	for (i = 0; i < 50; i++) {
		pid_t pid;

		if (i % 2)
			say(shared->said + 1);
		pid = owner();
		if (i % 2 == 0)
			say_and_wait();
		check_child(pid);
		check_int(shared->seen, shared->said);
	}
	bell_end();
}


static void post_much(void *unused)
{
	int i;

	(void)unused;
	for (i = 0; i < TURNS; i++)
		iv_event_raw_post(&bell);
}

static void posts_to_awake_owner(void)
{
	unsigned long runs = shared->runs;
	pid_t pid = owner_in_its_handler();

	without_system_calls(post_much, NULL);
	shared->release = 1;
	say_and_wait();
	check(shared->runs <= runs + 3);
	kill_child(pid);
}

static void awake_owner(void)
{
	bell_begin();
	posts_to_awake_owner();
	bell_end();
}

static void awake_owner_after_another(void)
{
	bell_begin();
	bell.handler = give_back;
	say(1);
	check_child(owner());
	posts_to_awake_owner();
	bell_end();
}

static void without_shared_memory(void)
{
	pid_t pid;
	int i;

	map_shared();
	refuse_with("mmap", ENOMEM, 3, MAP_SHARED | MAP_ANONYMOUS);
	prepare(&bell, note, NULL);
	say(1);
	pid = owner();
	for (i = 0; i < 100; i++)
		say_and_wait();
	check(shared->runs <= 101);
	kill_child(pid);
	bell_end();
}


static void given_back(void)
{
	struct iv_event_raw ev;
	int fds = num_descriptors();
	int runs = 0;
	int before = 0;
	int i;

	skip_under(ASAN | MEMCHECK, "keeps for a while what was freed");
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
	/* It raises the limit. */
	iv_init();
	former = limit_descriptors(lowest_descriptor());
	check_errno(iv_event_raw_prepare(&ev), EMFILE);
	iv_event_raw_post(&ev);
	limit_descriptors(former);

	prepare(&ev, quit, &runs);
	adopt(&ev);
	expect_no_call(&ev, &runs);
	iv_event_raw_unregister(&ev);
	iv_deinit();
}

/* What cannot be adopted stays prepared. */
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
	expect_no_call(&ev, &runs);
	iv_event_raw_unregister(&ev);
	iv_deinit();
}

static void adopt_twice(void)
{
	iv_init();
	prepare(&bell, note, NULL);
	adopt(&bell);
	iv_event_raw_adopt(&bell);
}

static void adopt_registered(void)
{
	iv_init();
	IV_EVENT_RAW_INIT(&bell);
	bell.handler = note;
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
	prepare(&bell, note, NULL);
	iv_event_raw_unregister(&bell);
	iv_event_raw_adopt(&bell);
}

static void adopt_without_loop(void)
{
	prepare(&bell, note, NULL);
	iv_event_raw_adopt(&bell);
}

static void unregister_twice(void)
{
	prepare(&bell, note, NULL);
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
	{ "posts before the adoption result in one call after it",
	  posts_before_adoption, EACH, 0 },
	{ "a loop adopts beside its own, and after others",
	  adopted_among_others, EACH, 0 },
	{ "a child adopts one, its parent another: both are served",
	  two_way, EACH, 0 },
	{ "children adopt one each, and post to each other", siblings, EACH,
	  0 },
	{ "another thread adopts it", other_thread, EACH, 0 },
	{ "the handler runs no more often than there are posts",
	  never_more_runs_than_posts, EACH_BACKEND, 0 },
	{ "two processes adopt the same one: no post is lost",
	  two_owners, EACH, 0 },
	{ "... even if one of them is busy", owner_beside_busy_one,
	  EACH_BACKEND, 0 },
	{ "... even if the first is busy before the second adopts it",
	  owner_after_busy_one, EACH, 0 },
	{ "... and errno is kept where the posts fill the descriptor",
	  posts_that_nobody_reads, EACH_BACKEND, 0 },
	{ "an owner is killed, and another one adopts it: no post is lost",
	  killed_owners, EACH_BACKEND, 0 },
	{ "an owner unregisters it, and another one adopts it",
	  owners_that_leave, EACH, 0 },
	{ "posts to an owner that is awake make no system call",
	  awake_owner, EACH_BACKEND, 0 },
	{ "... even if another owner has unregistered it before",
	  awake_owner_after_another, EACH_BACKEND, 0 },
	{ "without shared memory, each post writes and nothing is lost",
	  without_shared_memory, EACH, 0 },
	{ "what nobody owns is given back, and leaves nothing mapped",
	  given_back, EACH_BACKEND, 0 },
	{ "at the descriptor limit it fails, and works afterwards",
	  descriptor_limit, EACH_BACKEND, 0 },
	{ "what cannot be adopted stays prepared", refused_adoption, EACH,
	  0 },
	{ "mistakes are fatal and named", mistakes, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

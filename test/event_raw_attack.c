/*
 * libivykis: iv_event_raw under attack.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop runs in the process's first thread; the attack runs in another one,
 * and in children.  Posters send values through shared memory, in which nothing
 * but the post orders the stores.  The handler notes the latest value.
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

struct cache_line {
	_Alignas(64) atomic_ulong	value;
};

/*
 * Odd and even values have a cache line each, so that the store that a post
 * must not overtake goes to a line that the loop's processor has read last.
 */
struct channel {
	struct cache_line		data[2];
	_Alignas(64) atomic_ulong	received;
	atomic_int			loops[2]; /* threads of receivers */
	atomic_int			ready;
	int				target_fd;
};

static struct channel *channel;
static struct iv_event_raw target;
static struct iv_event_raw finished;

static unsigned long latest_value(void)
{
	unsigned long even = atomic_load_explicit(&channel->data[0].value,
						  memory_order_relaxed);
	unsigned long odd = atomic_load_explicit(&channel->data[1].value,
						 memory_order_relaxed);

	return odd > even ? odd : even;
}

static void receive_latest(void *unused)
{
	unsigned long value = latest_value();
	unsigned long received = atomic_load_explicit(&channel->received,
						  memory_order_relaxed);

	(void)unused;
	/* Another process's loop may have received more. */
	while (received < value &&
	       !atomic_compare_exchange_weak_explicit(&channel->received,
						      &received, value,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

static void send_value(unsigned long value)
{
	atomic_store_explicit(&channel->data[value % 2].value, value,
			      memory_order_relaxed);
	iv_event_raw_post(&target);
}

/* Is that thread blocked?  Adds up how often it was. */
static int is_blocked(int tid, unsigned long *switches)
{
	char name[64], cache_line[256];
	unsigned long num = 0;
	int blocked = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/status", tid);
	f = fopen(name, "r");
	check(f != NULL);
	while (fgets(cache_line, sizeof(cache_line), f) != NULL) {
		if (!strncmp(cache_line, "State:\tS", 8))
			blocked = 1;
		sscanf(cache_line, "voluntary_ctxt_switches: %lu", &num);
	}
	fclose(f);
	*switches += num;

	return blocked;
}

/* Have all loops that might receive the value been blocked since last time? */
static int loops_are_blocked(unsigned long *before)
{
	unsigned long switches = 0;
	int blocked = 1;
	int still;
	int i;

	for (i = 0; i < 2; i++) {
		if (channel->loops[i] != 0)
			blocked &= is_blocked(channel->loops[i], &switches);
	}
	still = blocked && switches == *before;
	*before = switches;

	return still;
}

static int was_received(unsigned long value)
{
	return atomic_load_explicit(&channel->received,
				    memory_order_relaxed) >= value;
}

static void await_value(unsigned long value)
{
	unsigned long before = 0;
	int still_checks = 0;
	int spins = 0;

	while (!was_received(value)) {
		if (++spins < 5000) {
			sched_yield();
			continue;
		}
		usleep(1000);
		still_checks = loops_are_blocked(&before) ?
			       still_checks + 1 : 0;
		/* The post is lost. */
		check(still_checks < 300);
	}
}

/* A post that nothing interrupts must be served. */
static void post_and_await(void)
{
	unsigned long value = latest_value() + 1;

	send_value(value);
	await_value(value);
}

static void quit(void *unused)
{
	(void)unused;
	iv_quit();
}

static void register_raw(struct iv_event_raw *ev, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(ev);
	ev->handler = handler;
	check_int(iv_event_raw_register(ev), 0);
}

static void map_channel(void)
{
	channel = mmap(NULL, sizeof(*channel), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(channel != MAP_FAILED);
}

static void reset_channel(void)
{
	memset(channel, 0, sizeof(*channel));
	channel->loops[0] = iv_get_thread_id();
}

static void begin(void)
{
	map_channel();
	iv_init();
	reset_channel();
	register_raw(&target, receive_latest);
	channel->target_fd = target.event_rfd.fd;
}

static void end(void)
{
	iv_event_raw_unregister(&target);
	iv_deinit();
	check_int(munmap(channel, sizeof(*channel)), 0);
}

struct attack {
	void	(*fn)(void);
};

static void *attack_thread(void *_a)
{
	struct attack *a = _a;

	a->fn();
	post_and_await();
	iv_event_raw_post(&finished);

	return NULL;
}

/* Run the loop until the attack, in another thread, is over. */
static void run_during(void (*fn)(void))
{
	struct attack a = { fn };
	pthread_t t;

	register_raw(&finished, quit);
	check_int(pthread_create(&t, NULL, attack_thread, &a), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	iv_event_raw_unregister(&finished);
}

static void run_attack(void (*fn)(void))
{
	begin();
	run_during(fn);
	end();
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

static void pause_for(int times)
{
	while (times-- > 0)
		atomic_signal_fence(memory_order_seq_cst);
}


#define ROUNDS	130000

/* A burst while the loop wakes up. */
static unsigned long send_burst(unsigned long value, unsigned int *seed)
{
	int burst = 1 + rand_r(seed) % 8;

	while (burst-- > 0)
		send_value(++value);

	return value;
}

/*
 * Post, and post again at the moment when the loop serves the first post.  The
 * delay between the two grows if the second was too early, and else shrinks.
 */
static unsigned long send_at_reply(unsigned long value, unsigned int *seed)
{
	static _Thread_local int delay = 1000;
	int step = 1 + delay / 64;

	send_value(++value);
	pause_for(delay + rand_r(seed) % step);
	delay += was_received(value) && delay > step ? -step : step;
	send_value(++value);

	return value;
}

static void send_values(int rounds)
{
	unsigned long value = latest_value();
	unsigned int seed = getpid();

	while (rounds-- > 0) {
		value = rounds % 8 ? send_at_reply(value, &seed) :
				     send_burst(value, &seed);
		await_value(value);
	}
}

static void thread_sends(void)
{
	send_values(ROUNDS);
}

static void thread_posts(void)
{
	run_attack(thread_sends);
}

static void child_sends(void)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		send_values(ROUNDS);
		_exit(0);
	}
	check_child(pid);
}

static void child_posts(void)
{
	run_attack(child_sends);
}


static void post_for_ever(void)
{
	for (;;)
		send_value(latest_value());
}

/* `ready' counts the children that have begun. */
static pid_t fork_poster(void)
{
	pid_t pid;
	int ready = atomic_load(&channel->ready);

	pid = fork_checked();
	if (pid == 0) {
		atomic_fetch_add(&channel->ready, 1);
		post_for_ever();
	}
	while (atomic_load(&channel->ready) == ready)
		sched_yield();

	return pid;
}

static void kill_child(pid_t pid)
{
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, NULL, 0), pid);
}

static void kill_posters(void)
{
	unsigned int seed = 1;
	int i;

	for (i = 0; i < 1000; i++) {
		pid_t pid = fork_poster();

		pause_for(rand_r(&seed) % 20000);
		kill_child(pid);
		post_and_await();
	}
}

static void killed_posters(void)
{
	run_attack(kill_posters);
}


/* Memcheck runs the program on a machine that it simulates. */
static void need_single_steps(void)
{
	skip_under(MEMCHECK, "is the process that would be stepped");
}

/*
 * The child is single-stepped, and stays stopped after `num' steps.  So each
 * instruction of a post is reached in turn.
 */
static pid_t fork_poster_at_step(int num)
{
	pid_t pid;

	channel->ready = 0;
	pid = fork_checked();
	if (pid == 0) {
		tracee_begins();
		iv_event_raw_post(&target);
		channel->ready = 1;
		_exit(0);
	}
	tracee_trace(pid);
	tracee_steps(pid, num);

	return pid;
}

/* Steps are also counted before the post, from tracee_begins() on. */
static void kill_stepping_poster(void)
{
	int num;

	channel->ready = 0;
	for (num = 0; !channel->ready; num++) {
		pid_t pid = fork_poster_at_step(num);

		kill_child(pid);
		post_and_await();
	}
	check(num > 20);
}

static void killed_stepping_poster(void)
{
	need_single_steps();
	run_attack(kill_stepping_poster);
}

/* Other posts are made and served while the poster is stopped. */
static void stop_stepping_poster(void)
{
	int done = 0;
	int num;

	for (num = 0; !done; num++) {
		pid_t pid = fork_poster_at_step(num);

		done = channel->ready;
		post_and_await();
		check(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
		check_child(pid);
		post_and_await();
	}
	check(num > 20);
}

static void stopped_stepping_poster(void)
{
	need_single_steps();
	run_attack(stop_stepping_poster);
}


/*
 * Returns whether the child is at the entry or at the exit of a read(2) from
 * the target, or else PTRACE_SYSCALL_INFO_NONE.
 */
static int stage_of_drain(pid_t pid)
{
	static int draining;
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
		skip("system calls cannot be traced");
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		draining = info.entry.nr == SYS_read && channel->ready &&
			   (int)info.entry.args[0] == channel->target_fd;

	return draining ? info.op : PTRACE_SYSCALL_INFO_NONE;
}

static void run_to_stage(pid_t pid, int stage)
{
	do {
		check(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		check(tracee_stopped(pid));
	} while (stage_of_drain(pid) != stage);
}

/*
 * A child runs the inherited loop, while the parent does not.  Posts are made
 * right before the child drains, right after, and before it is killed.
 */
static void kill_drainer_at_step(int num)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		tracee_begins();
		iv_main();
		_exit(1);
	}
	tracee_trace(pid);
	channel->ready = 1;
	send_value(latest_value() + 1);
	run_to_stage(pid, PTRACE_SYSCALL_INFO_ENTRY);
	iv_event_raw_post(&target);
	run_to_stage(pid, PTRACE_SYSCALL_INFO_EXIT);
	if (num % 2)
		iv_event_raw_post(&target);
	tracee_steps(pid, num);
	if (num % 4 > 1)
		iv_event_raw_post(&target);
	kill_child(pid);
}

#define DELIVERY_STEPS	100

static void killed_drainer(void)
{
	int num;

	need_single_steps();
	begin();
	for (num = 0; num < DELIVERY_STEPS; num++) {
		kill_drainer_at_step(num);
		run_during(post_and_await);
	}
	end();
}

/*
 * Here the parent is killed after it has drained, and the child goes on with
 * the loop.  The child posts when the parent sleeps.
 */
static void go_on_after_parent(pid_t parent)
{
	unsigned long switches;

	while (!channel->ready || !is_blocked(parent, &switches))
		usleep(100);
	iv_event_raw_post(&target);
	while (channel->ready != 2)
		usleep(100);
	reset_channel();
	run_during(post_and_await);
	_exit(0);
}

static void run_stepped_loop(void)
{
	pid_t self = getpid();

	tracee_begins();
	iv_init();
	register_raw(&target, receive_latest);
	if (fork_checked() == 0)
		go_on_after_parent(self);
	channel->target_fd = target.event_rfd.fd;
	channel->ready = 1;
	iv_main();
	_exit(1);
}

static void kill_parent_at_step(int num)
{
	int status;
	pid_t pid;

	channel->ready = 0;
	pid = fork_checked();
	if (pid == 0)
		run_stepped_loop();
	tracee_trace(pid);
	run_to_stage(pid, PTRACE_SYSCALL_INFO_EXIT);
	tracee_steps(pid, num);
	kill_child(pid);

	channel->ready = 2;
	check(wait(&status) > 0);
	check_int(status, 0);
}

static void killed_draining_parent(void)
{
	int num;

	need_single_steps();
	map_channel();
	need_orphans();
	for (num = 0; num < DELIVERY_STEPS; num++)
		kill_parent_at_step(num);
	check_int(munmap(channel, sizeof(*channel)), 0);
}


static int is_asynchronous, cancel_type;

/* A post is no cancellation point, and may be cancelled asynchronously. */
static void *post_until_cancelled(void *unused)
{
	int old;

	(void)unused;
	pthread_setcanceltype(cancel_type, &old);
	atomic_fetch_add(&channel->ready, 1);
	for (;;) {
		send_value(latest_value());
		pthread_testcancel();
	}

	return NULL;
}

static void cancel_one(int times)
{
	pthread_t t;
	void *ret;

	channel->ready = 0;
	check_int(pthread_create(&t, NULL, post_until_cancelled, NULL), 0);
	while (channel->ready == 0)
		sched_yield();
	pause_for(times);
	check_int(pthread_cancel(t), 0);
	check_int(pthread_join(t, &ret), 0);
	check(ret == PTHREAD_CANCELED);
	post_and_await();
}

static void cancel_posters(void)
{
	unsigned int seed = 1;
	int i;

	for (i = 0; i < 1000; i++) {
		cancel_type = is_asynchronous && i % 2 == 0 ?
			      PTHREAD_CANCEL_ASYNCHRONOUS :
			      PTHREAD_CANCEL_DEFERRED;
		cancel_one(rand_r(&seed) % 20000);
	}
}

static void cancelled_posters(void)
{
	skip_under(TSAN, "stops when a thread is cancelled in its own code");
#ifdef HAVE_RAW_WRITE
	is_asynchronous = 1;
#else
	/* With glibc even if cancellation is disabled. */
	only_partly("the libc's write() may be cancelled asynchronously");
#endif
	run_attack(cancel_posters);
}


/* The value that signal handlers send is how many of them have run. */
static void post_from_signal(int sig)
{
	int saved_errno = errno;

	errno = sig;
	atomic_fetch_add_explicit(&channel->data[0].value, 1,
				  memory_order_relaxed);
	iv_event_raw_post(&target);
	check_int(errno, sig);
	errno = saved_errno;
}

static atomic_int stop;

static void *post_until_stopped(void *unused)
{
	(void)unused;
	channel->ready = 1;
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		iv_event_raw_post(&target);

	return NULL;
}

static void send_signals(pthread_t t, int signals)
{
	int i;

	for (i = 1; i <= signals; i++) {
		check_int(pthread_kill(t, i % 2 ? SIGUSR1 : SIGUSR2), 0);
		if (i % 16 == 0)
			await_value(latest_value());
	}
}

static void signal_storm(void)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, post_until_stopped, NULL), 0);
	while (channel->ready == 0)
		sched_yield();
	send_signals(t, 50000);
	stop = 1;
	check_int(pthread_join(t, NULL), 0);
}

/* Each of the two signals interrupts the handler of the other, too. */
static void interrupted_posts(void)
{
	signal(SIGUSR1, post_from_signal);
	signal(SIGUSR2, post_from_signal);
	run_attack(signal_storm);
}

static pthread_t loop_thread;

static void send_signals_to_loop(void)
{
	send_signals(loop_thread, 50000);
}

static void interrupted_loop(void)
{
	signal(SIGUSR1, post_from_signal);
	signal(SIGUSR2, post_from_signal);
	loop_thread = pthread_self();
	run_attack(send_signals_to_loop);
}

/* A timer's signal interrupts the owner while it registers and unregisters. */
static void storm_while_registering(void)
{
	struct iv_event_raw *ev = &target;
	struct timespec often = { 0, 20000 };
	struct itimerspec it = { often, often };
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL,
				.sigev_signo = SIGUSR1 };
	timer_t timer;
	int i;

	map_channel();
	iv_init();
	IV_EVENT_RAW_INIT(ev);
	ev->handler = quit;
	signal(SIGUSR1, post_from_signal);
	check_int(timer_create(CLOCK_MONOTONIC, &sev, &timer), 0);
	check_int(timer_settime(timer, 0, &it, NULL), 0);
	for (i = 0; i < 8000; i++) {
		check_int(iv_event_raw_register(ev), 0);
		if (i % 64 == 0) {
			iv_event_raw_post(ev);
			iv_main();
		}
		iv_event_raw_unregister(ev);
	}
	check_int(timer_delete(timer), 0);
	iv_deinit();
	check_int(munmap(channel, sizeof(*channel)), 0);
}


/* Write until the descriptor is full, without setting the bit. */
static void fill_target(void)
{
	uint64_t most = UINT64_MAX - 1;

	while (write(target.event_wfd, &most, sizeof(most)) > 0)
		;
	check_int(errno, EAGAIN);
}

static void full_descriptor(void)
{
	int i;

	begin();
	signal(SIGUSR1, post_from_signal);
	for (i = 0; i < 20; i++) {
		fill_target();
		raise(SIGUSR1);
		raise(SIGUSR1);
		run_during(post_and_await);
		check(was_received(2 * i + 2));
	}
	end();
}


/* While three posters flood the target, timers and descriptors are served. */
struct bystander {
	struct iv_timer	timer;
	struct iv_fd	fd;
	int		pipe[2];
	int		ticks;
	int		reads;
};

static void bystander_reads(void *_b)
{
	struct bystander *b = _b;
	char byte;

	check_int(read(b->pipe[0], &byte, 1), 1);
	if (++b->reads == 200)
		iv_quit();
}

/* Each tick makes the descriptor readable. */
static void bystander_ticks(void *_b)
{
	struct bystander *b = _b;

	b->ticks++;
	check_int(write(b->pipe[1], "", 1), 1);
	b->timer.expires = iv_now;
	b->timer.expires.tv_nsec += 100000;
	iv_timer_register(&b->timer);
}

static void bystander_begin(struct bystander *b)
{
	memset(b, 0, sizeof(*b));
	check_int(pipe(b->pipe), 0);
	IV_FD_INIT(&b->fd);
	b->fd.fd = b->pipe[0];
	b->fd.cookie = b;
	b->fd.handler_in = bystander_reads;
	iv_fd_register(&b->fd);
	IV_TIMER_INIT(&b->timer);
	b->timer.cookie = b;
	b->timer.handler = bystander_ticks;
	b->timer.expires = iv_now;
	iv_timer_register(&b->timer);
}

static void bystander_end(struct bystander *b)
{
	iv_fd_unregister(&b->fd);
	iv_timer_unregister(&b->timer);
	close(b->pipe[0]);
	close(b->pipe[1]);
}

static void flood(void)
{
	struct bystander b;
	pthread_t t[2];
	pid_t pid;
	int i;

	begin();
	pid = fork_poster();
	for (i = 0; i < 2; i++)
		check_int(pthread_create(&t[i], NULL, post_until_stopped,
					 NULL), 0);
	bystander_begin(&b);
	iv_main();
	check(b.ticks >= 200 && b.reads >= 200);
	bystander_end(&b);

	stop = 1;
	for (i = 0; i < 2; i++)
		check_int(pthread_join(t[i], NULL), 0);
	kill_child(pid);
	end();
}


/* The process forks before the loop runs, and both processes post. */
static void pending_at_fork(void)
{
	pid_t pid;
	int i;

	begin();
	for (i = 0; i < 300; i++) {
		send_value(3 * i + 1);
		pid = fork_checked();
		if (pid == 0) {
			send_value(3 * i + 2);
			while (!was_received(3 * i + 2))
				sched_yield();
			send_value(3 * i + 3);
			await_value(3 * i + 3);
			_exit(0);
		}
		iv_event_raw_post(&target);
		while (!was_received(3 * i + 3)) {
			register_raw(&finished, quit);
			iv_event_raw_post(&finished);
			iv_main();
			iv_event_raw_unregister(&finished);
		}
		check_child(pid);
	}
	end();
}

/* Each generation posts, and forks the next one. */
static void post_in_generations(int left)
{
	pid_t pid;

	post_and_await();
	if (left == 0)
		return;
	pid = fork_checked();
	if (pid == 0) {
		post_in_generations(left - 1);
		_exit(0);
	}
	check_child(pid);
}

static void descendants_post(void)
{
	int i;

	for (i = 0; i < 30; i++)
		post_in_generations(8);
}

static void grandchildren(void)
{
	run_attack(descendants_post);
}

/* The loop of a daemon is attacked by the daemon's children and threads. */
static void attack_daemon(void)
{
	reset_channel();
	run_during(child_sends);
	run_during(kill_posters);
	end();
	_exit(0);
}

static void daemon_loop(void)
{
	int status;
	pid_t pid;

	need_orphans();
	pid = fork_checked();
	if (pid == 0) {
		begin();
		send_value(0);
		if (fork_checked() != 0)
			_exit(0);
		attack_daemon();
	}
	check_child(pid);
	check(wait(&status) > 0);
	check_int(status, 0);
}


/* A child runs the inherited loop, and so does the parent. */
static pid_t fork_second_loop(void)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		iv_main();
		_exit(1);
	}
	channel->loops[1] = pid;

	return pid;
}

static void send_to_both(void)
{
	pid_t second = fork_second_loop();

	child_sends();
	send_values(ROUNDS / 5);
	channel->loops[1] = 0;
	kill_child(second);
}

static void two_loops(void)
{
	run_attack(send_to_both);
}

/* The second loop is killed while both drain, as a child posts all the time. */
static void kill_second_loops(void)
{
	unsigned int seed = 1;
	pid_t poster;
	int i;

	for (i = 0; i < 300; i++) {
		pid_t second = fork_second_loop();

		poster = fork_poster();
		usleep(rand_r(&seed) % 1000);
		channel->loops[1] = 0;
		kill_child(second);
		kill_child(poster);
		post_and_await();
	}
}

static void killed_second_loops(void)
{
	run_attack(kill_second_loops);
}

static const struct check_case cases[] = {
	{ "a thread's stores before its post are seen, and no post is lost",
	  thread_posts, EACH_BACKEND, 0 },
	{ "a child's stores before its post are seen, and no post is lost",
	  child_posts, EACH_BACKEND, 0 },
	{ "later posts are served after posters are killed at random",
	  killed_posters, EACH_BACKEND, 0 },
	{ "later posts are served after a poster is killed at any instruction",
	  killed_stepping_poster, EACH_BACKEND, 0 },
	{ "posts are served while a poster is stopped at any instruction",
	  stopped_stepping_poster, EACH_BACKEND, 0 },
	{ "posts are served after a child's loop is killed in a delivery",
	  killed_drainer, EACH_BACKEND, 0 },
	{ "posts are served after the parent's loop is killed in a delivery",
	  killed_draining_parent, EACH_BACKEND, 0 },
	{ "later posts are served after threads are cancelled as they post",
	  cancelled_posters, EACH_BACKEND, 0 },
	{ "no post of a signal handler that interrupts a post is lost",
	  interrupted_posts, EACH_BACKEND, 0 },
	{ "no post of a signal handler that interrupts the loop is lost",
	  interrupted_loop, EACH_BACKEND, 0 },
	{ "signal handlers post while the owner registers and unregisters",
	  storm_while_registering, EACH_BACKEND, 0 },
	{ "a signal handler's post to a full descriptor does not block",
	  full_descriptor, EACH, 0 },
	{ "a flood of posts starves neither descriptors nor timers",
	  flood, EACH, 0 },
	{ "parent and child post, with a post pending at the time of the fork",
	  pending_at_fork, EACH, 0 },
	{ "posts by all descendants are served", grandchildren, EACH, 0 },
	{ "no post to a daemon that registered before it forked is lost",
	  daemon_loop, EACH_BACKEND, 0 },
	{ "one of two processes that run the loop serves each post",
	  two_loops, EACH_BACKEND, 0 },
	{ "one of two processes that run the loop may be killed",
	  killed_second_loops, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

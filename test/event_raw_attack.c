/*
 * libivykis: iv_event_raw under attack.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop runs in the process's first thread; the attack runs in another one,
 * and in children.  What a poster has to say stands in shared memory and is
 * ordered by nothing but the post.  The handler notes what it sees of it.
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

struct line {
	_Alignas(64) atomic_ulong	value;
};

/*
 * Odd and even values stand apart, so that the store that a post must not
 * overtake goes to a line of memory that the loop's processor had last.
 */
struct channel {
	struct line			said[2];
	_Alignas(64) atomic_ulong	seen;
	atomic_int			loops[2]; /* who is to see it */
	atomic_int			ready;
	int				target_fd;
};

static struct channel *channel;
static struct iv_event_raw target;
static struct iv_event_raw finished;

static unsigned long said(void)
{
	unsigned long even = atomic_load_explicit(&channel->said[0].value,
						  memory_order_relaxed);
	unsigned long odd = atomic_load_explicit(&channel->said[1].value,
						 memory_order_relaxed);

	return odd > even ? odd : even;
}

static void look(void *unused)
{
	unsigned long value = said();
	unsigned long seen = atomic_load_explicit(&channel->seen,
						  memory_order_relaxed);

	(void)unused;
	/* Another process's loop may have seen more. */
	while (seen < value &&
	       !atomic_compare_exchange_weak_explicit(&channel->seen, &seen,
						      value,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

static void say(unsigned long value)
{
	atomic_store_explicit(&channel->said[value % 2].value, value,
			      memory_order_relaxed);
	iv_event_raw_post(&target);
}

/* Is that thread blocked?  Counts how often it was. */
static int is_blocked(int tid, unsigned long *switches)
{
	char name[64], line[256];
	unsigned long num = 0;
	int blocked = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/status", tid);
	f = fopen(name, "r");
	check(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (!strncmp(line, "State:\tS", 8))
			blocked = 1;
		sscanf(line, "voluntary_ctxt_switches: %lu", &num);
	}
	fclose(f);
	*switches += num;

	return blocked;
}

/*
 * All loops that might answer are blocked, and were all the time since the
 * last look: they do not know of the post.
 */
static int nobody_moves(unsigned long *before)
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

static int is_seen(unsigned long value)
{
	return atomic_load_explicit(&channel->seen,
				    memory_order_relaxed) >= value;
}

static void await(unsigned long value)
{
	unsigned long before = 0;
	int looks = 0;
	int spins = 0;

	while (!is_seen(value)) {
		if (++spins < 5000) {
			sched_yield();
			continue;
		}
		usleep(1000);
		looks = nobody_moves(&before) ? looks + 1 : 0;
		/* The post is lost. */
		check(looks < 300);
	}
}

/* A post that nobody disturbs must be heard. */
static void still_works(void)
{
	unsigned long value = said() + 1;

	say(value);
	await(value);
}

static void quit(void *unused)
{
	(void)unused;
	iv_quit();
}

static void start(struct iv_event_raw *ev, void (*handler)(void *))
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

static void target_begin(void)
{
	map_channel();
	iv_init();
	reset_channel();
	start(&target, look);
	channel->target_fd = target.event_rfd.fd;
}

static void target_end(void)
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
	still_works();
	iv_event_raw_post(&finished);

	return NULL;
}

/* Run the loop until the attack, in a thread of its own, is over. */
static void withstand(void (*fn)(void))
{
	struct attack a = { fn };
	pthread_t t;

	start(&finished, quit);
	check_int(pthread_create(&t, NULL, attack_thread, &a), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	iv_event_raw_unregister(&finished);
}

static void withstand_alone(void (*fn)(void))
{
	target_begin();
	withstand(fn);
	target_end();
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

static void pause_for(int turns)
{
	while (turns-- > 0)
		atomic_signal_fence(memory_order_seq_cst);
}


#define ROUNDS	130000

/* A burst while the loop wakes up. */
static unsigned long say_burst(unsigned long value, unsigned int *seed)
{
	int burst = 1 + rand_r(seed) % 8;

	while (burst-- > 0)
		say(++value);

	return value;
}

/*
 * A post, and another one right when the loop answers the first: the delay
 * between them grows while that comes too early, and shrinks while too late.
 */
static unsigned long say_twice(unsigned long value, unsigned int *seed)
{
	static _Thread_local int delay = 1000;
	int step = 1 + delay / 64;

	say(++value);
	pause_for(delay + rand_r(seed) % step);
	delay += is_seen(value) && delay > step ? -step : step;
	say(++value);

	return value;
}

static void say_much(int rounds)
{
	unsigned long value = said();
	unsigned int seed = getpid();

	while (rounds-- > 0) {
		value = rounds % 8 ? say_twice(value, &seed) :
				     say_burst(value, &seed);
		await(value);
	}
}

static void thread_says(void)
{
	say_much(ROUNDS);
}

static void relaxed_thread(void)
{
	withstand_alone(thread_says);
}

static void child_says(void)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		say_much(ROUNDS);
		_exit(0);
	}
	check_child(pid);
}

static void relaxed_child(void)
{
	withstand_alone(child_says);
}


static void say_for_ever(void)
{
	for (;;)
		say(said());
}

/* Ready counts the children that have begun. */
static pid_t poster_child(void)
{
	pid_t pid;
	int ready = atomic_load(&channel->ready);

	pid = fork_checked();
	if (pid == 0) {
		atomic_fetch_add(&channel->ready, 1);
		say_for_ever();
	}
	while (atomic_load(&channel->ready) == ready)
		sched_yield();

	return pid;
}

static void end_child(pid_t pid)
{
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, NULL, 0), pid);
}

static void kill_posters(void)
{
	unsigned int seed = 1;
	int i;

	for (i = 0; i < 1000; i++) {
		pid_t pid = poster_child();

		pause_for(rand_r(&seed) % 20000);
		end_child(pid);
		still_works();
	}
}

static void killed_posters(void)
{
	withstand_alone(kill_posters);
}


/* The program's own, not those of a machine that runs it. */
static void need_steps(void)
{
	skip_under(MEMCHECK, "is what would be led by steps");
}

/*
 * A process that stops is led on by single steps and killed after so many: all
 * the instants of a post or a delivery, one after the other.
 */
static pid_t poster_after(int num)
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

/* The way to the post is counted, too: what signals and stops cost. */
static void kill_stepping_poster(void)
{
	int num;

	channel->ready = 0;
	for (num = 0; !channel->ready; num++) {
		pid_t pid = poster_after(num);

		end_child(pid);
		still_works();
	}
	check(num > 20);
}

static void poster_killed_anywhere(void)
{
	need_steps();
	withstand_alone(kill_stepping_poster);
}

/* Other posts are made and delivered while it is stopped. */
static void stop_stepping_poster(void)
{
	int done = 0;
	int num;

	for (num = 0; !done; num++) {
		pid_t pid = poster_after(num);

		done = channel->ready;
		still_works();
		check(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
		check_child(pid);
		still_works();
	}
	check(num > 20);
}

static void poster_stopped_anywhere(void)
{
	need_steps();
	withstand_alone(stop_stepping_poster);
}


/* Where it is in a read(2) from the target, or PTRACE_SYSCALL_INFO_NONE. */
static int part_of_drain(pid_t pid)
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

static void lead_to(pid_t pid, int part)
{
	do {
		check(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		check(tracee_stopped(pid));
	} while (part_of_drain(pid) != part);
}

/*
 * A child runs the inherited loop, while the parent does not.  Posts are made
 * right before it drains, right after, and when it is to be killed.
 */
static void kill_drainer_after(int num)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		tracee_begins();
		iv_main();
		_exit(1);
	}
	tracee_trace(pid);
	channel->ready = 1;
	say(said() + 1);
	lead_to(pid, PTRACE_SYSCALL_INFO_ENTRY);
	iv_event_raw_post(&target);
	lead_to(pid, PTRACE_SYSCALL_INFO_EXIT);
	if (num % 2)
		iv_event_raw_post(&target);
	tracee_steps(pid, num);
	if (num % 4 > 1)
		iv_event_raw_post(&target);
	end_child(pid);
}

#define DELIVERY_STEPS	100

static void drainer_killed_anywhere(void)
{
	int num;

	need_steps();
	target_begin();
	for (num = 0; num < DELIVERY_STEPS; num++) {
		kill_drainer_after(num);
		withstand(still_works);
	}
	target_end();
}

/*
 * The other way round: the parent is killed, and the child goes on.  It posts
 * once the parent sleeps.
 */
static void take_parents_place(pid_t parent)
{
	unsigned long switches;

	while (!channel->ready || !is_blocked(parent, &switches))
		usleep(100);
	iv_event_raw_post(&target);
	while (channel->ready != 2)
		usleep(100);
	reset_channel();
	withstand(still_works);
	_exit(0);
}

static void deliver_and_be_killed(void)
{
	pid_t self = getpid();

	tracee_begins();
	iv_init();
	start(&target, look);
	if (fork_checked() == 0)
		take_parents_place(self);
	channel->target_fd = target.event_rfd.fd;
	channel->ready = 1;
	iv_main();
	_exit(1);
}

static void kill_parent_after(int num)
{
	int status;
	pid_t pid;

	channel->ready = 0;
	pid = fork_checked();
	if (pid == 0)
		deliver_and_be_killed();
	tracee_trace(pid);
	lead_to(pid, PTRACE_SYSCALL_INFO_EXIT);
	tracee_steps(pid, num);
	end_child(pid);

	channel->ready = 2;
	check(wait(&status) > 0);
	check_int(status, 0);
}

static void draining_parent_killed(void)
{
	int num;

	need_steps();
	map_channel();
	need_orphans();
	for (num = 0; num < DELIVERY_STEPS; num++)
		kill_parent_after(num);
	check_int(munmap(channel, sizeof(*channel)), 0);
}


static int cancel_type;

/* A post is no cancellation point, and may be cancelled asynchronously. */
static void *say_until_cancelled(void *unused)
{
	int old;

	(void)unused;
	pthread_setcanceltype(cancel_type, &old);
	atomic_fetch_add(&channel->ready, 1);
	for (;;) {
		say(said());
		pthread_testcancel();
	}

	return NULL;
}

static void cancel_one(int turns)
{
	pthread_t t;
	void *ret;

	channel->ready = 0;
	check_int(pthread_create(&t, NULL, say_until_cancelled, NULL), 0);
	while (channel->ready == 0)
		sched_yield();
	pause_for(turns);
	check_int(pthread_cancel(t), 0);
	check_int(pthread_join(t, &ret), 0);
	check(ret == PTHREAD_CANCELED);
	still_works();
}

static void cancel_posters(void)
{
	unsigned int seed = 1;
	int i;

	for (i = 0; i < 1000; i++) {
		cancel_type = i % 2 ? PTHREAD_CANCEL_DEFERRED :
				      PTHREAD_CANCEL_ASYNCHRONOUS;
		cancel_one(rand_r(&seed) % 20000);
	}
}

static void cancelled_posters(void)
{
	skip_under(TSAN, "stops when a thread is cancelled in its own code");
	withstand_alone(cancel_posters);
}


/* What signal handlers say is what they have counted. */
static void say_from_signal(int sig)
{
	int saved_errno = errno;

	errno = sig;
	atomic_fetch_add_explicit(&channel->said[0].value, 1,
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

static void storm_at(pthread_t t, int signals)
{
	int i;

	for (i = 1; i <= signals; i++) {
		check_int(pthread_kill(t, i % 2 ? SIGUSR1 : SIGUSR2), 0);
		if (i % 16 == 0)
			await(said());
	}
}

static void signal_storm(void)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, post_until_stopped, NULL), 0);
	while (channel->ready == 0)
		sched_yield();
	storm_at(t, 50000);
	stop = 1;
	check_int(pthread_join(t, NULL), 0);
}

/* One signal interrupts the other's handler, too. */
static void interrupted_posts(void)
{
	signal(SIGUSR1, say_from_signal);
	signal(SIGUSR2, say_from_signal);
	withstand_alone(signal_storm);
}

static pthread_t loop_thread;

static void storm_at_loop(void)
{
	storm_at(loop_thread, 50000);
}

static void interrupted_loop(void)
{
	signal(SIGUSR1, say_from_signal);
	signal(SIGUSR2, say_from_signal);
	loop_thread = pthread_self();
	withstand_alone(storm_at_loop);
}

/* The owner's thread may be interrupted while it registers and unregisters. */
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
	signal(SIGUSR1, say_from_signal);
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


/* Write until the kernel refuses; the word knows nothing of it. */
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

	target_begin();
	signal(SIGUSR1, say_from_signal);
	for (i = 0; i < 20; i++) {
		fill_target();
		raise(SIGUSR1);
		raise(SIGUSR1);
		withstand(still_works);
		check(is_seen(2 * i + 2));
	}
	target_end();
}


/* While three flood the target, others have their turns. */
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

/* Each tick feeds the descriptor. */
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

	target_begin();
	pid = poster_child();
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
	end_child(pid);
	target_end();
}


/* The loop does not run when it forks; both sides post; then it runs. */
static void pending_at_fork(void)
{
	pid_t pid;
	int i;

	target_begin();
	for (i = 0; i < 300; i++) {
		say(3 * i + 1);
		pid = fork_checked();
		if (pid == 0) {
			say(3 * i + 2);
			while (!is_seen(3 * i + 2))
				sched_yield();
			say(3 * i + 3);
			await(3 * i + 3);
			_exit(0);
		}
		iv_event_raw_post(&target);
		while (!is_seen(3 * i + 3)) {
			start(&finished, quit);
			iv_event_raw_post(&finished);
			iv_main();
			iv_event_raw_unregister(&finished);
		}
		check_child(pid);
	}
	target_end();
}

/* Each generation says its number and begets the next one. */
static void generations(int left)
{
	pid_t pid;

	still_works();
	if (left == 0)
		return;
	pid = fork_checked();
	if (pid == 0) {
		generations(left - 1);
		_exit(0);
	}
	check_child(pid);
}

static void descendants_say(void)
{
	int i;

	for (i = 0; i < 30; i++)
		generations(8);
}

static void grandchildren(void)
{
	withstand_alone(descendants_say);
}

/* The daemon's loop is the target; its children and threads attack it. */
static void daemon_withstands(void)
{
	reset_channel();
	withstand(child_says);
	withstand(kill_posters);
	target_end();
	_exit(0);
}

static void daemon_loop(void)
{
	int status;
	pid_t pid;

	need_orphans();
	pid = fork_checked();
	if (pid == 0) {
		target_begin();
		say(0);
		if (fork_checked() != 0)
			_exit(0);
		daemon_withstands();
	}
	check_child(pid);
	check(wait(&status) > 0);
	check_int(status, 0);
}


/* A child runs the inherited loop as the parent does. */
static pid_t second_loop(void)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		iv_main();
		_exit(1);
	}
	channel->loops[1] = pid;

	return pid;
}

static void say_to_both(void)
{
	pid_t second = second_loop();

	child_says();
	say_much(ROUNDS / 5);
	channel->loops[1] = 0;
	end_child(second);
}

static void two_loops(void)
{
	withstand_alone(say_to_both);
}

/* The second loop is killed while both drain what is posted all the time. */
static void kill_second_loops(void)
{
	unsigned int seed = 1;
	pid_t poster;
	int i;

	for (i = 0; i < 300; i++) {
		pid_t second = second_loop();

		poster = poster_child();
		usleep(rand_r(&seed) % 1000);
		channel->loops[1] = 0;
		end_child(second);
		end_child(poster);
		still_works();
	}
}

static void killed_second_loops(void)
{
	withstand_alone(kill_second_loops);
}

static const struct check_case cases[] = {
	{ "what a thread wrote before its post is seen, and no post is lost",
	  relaxed_thread, EACH_BACKEND, 0 },
	{ "what a child wrote before its post is seen, and no post is lost",
	  relaxed_child, EACH_BACKEND, 0 },
	{ "posters killed at random leave later posts unharmed",
	  killed_posters, EACH_BACKEND, 0 },
	{ "a poster killed at any instant leaves later posts unharmed",
	  poster_killed_anywhere, EACH_BACKEND, 0 },
	{ "a poster stopped at any instant, and continued, does no harm",
	  poster_stopped_anywhere, EACH_BACKEND, 0 },
	{ "a child's loop killed at any instant of a delivery does no harm",
	  drainer_killed_anywhere, EACH_BACKEND, 0 },
	{ "the parent's loop killed at any instant of a delivery does no harm",
	  draining_parent_killed, EACH_BACKEND, 0 },
	{ "threads cancelled as they post leave later posts unharmed",
	  cancelled_posters, EACH_BACKEND, 0 },
	{ "no post of a signal handler that interrupts a post is lost",
	  interrupted_posts, EACH_BACKEND, 0 },
	{ "no post of a signal handler that interrupts the loop is lost",
	  interrupted_loop, EACH_BACKEND, 0 },
	{ "signal handlers post while the owner registers and unregisters",
	  storm_while_registering, EACH_BACKEND, 0 },
	{ "a signal handler posts to a full descriptor and goes on",
	  full_descriptor, EACH, 0 },
	{ "a flood of posts starves neither descriptors nor timers",
	  flood, EACH, 0 },
	{ "parent and child post, with a post pending at the time of the fork",
	  pending_at_fork, EACH, 0 },
	{ "posts by all descendants are served", grandchildren, EACH, 0 },
	{ "a daemon that registered before it forked withstands the same",
	  daemon_loop, EACH_BACKEND, 0 },
	{ "of two processes that run the loop, one serves each post",
	  two_loops, EACH_BACKEND, 0 },
	{ "of two processes that run the loop, one may be killed",
	  killed_second_loops, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

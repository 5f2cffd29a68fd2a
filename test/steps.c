/*
 * libivykis: interruptions between any two steps of the library.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The library is compiled with IV_STEPS here, so iv_step_hook() is called at
 * each point (a step) where an action of another thread, signal handler or
 * process may make a difference.  In one kind of case each thread pauses at
 * random steps, chosen by a seed that is printed (STEPS_SEED in the environment
 * sets it).  The other kind runs a scenario once for each step that one of its
 * threads makes.  At that step an action is taken: the process forks or is
 * killed, the thread is cancelled, or it gets a signal.
 *
 * Mistakes that these tests notice are in test/mutants.sh, as "steps: ...".
 */

#include <dirent.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_signal.h>
#include <iv_thread.h>
#include <iv_wait.h>
#include <iv_work.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_LINUX
#include <malloc.h>
#include <sys/syscall.h>
#endif
#include "check.h"
#include "iv_step.h"

/* A scenario that takes longer has hung. */
#define SECONDS	50

/* Shared by all processes of a scenario. */
static struct shared {
	atomic_int	reached;	/* the target step was made */
	const char	*file;
	int		line;
	atomic_int	posts;		/* to raw */
	atomic_int	runs;		/* of its handler */
	atomic_int	num_sent;	/* notifications */
	int		is_past_end;	/* the post has no step hold_at */
} *shared;

static _Thread_local int is_counted;	/* are this thread's steps counted? */
static unsigned int steps_made;		/* by that thread */
static unsigned int target_step;
static void (*action)(void);		/* taken at that step */
static int is_child;			/* forked by the action */
static pid_t forked;

static void (*later_action)(void);	/* taken this many steps later */
static unsigned int steps_until_later;
static atomic_int is_about_to_wait;	/* the thread that is counted */

static void pause_for(int times)
{
	static const struct timespec a_while = { .tv_nsec = 200000 };

	while (times-- > 0)
		(void)nanosleep(&a_while, NULL);
}

static void pause_briefly(void)
{
	pause_for(1);
}

/* A thread that is held at its step number hold_at, while others go on. */
static _Thread_local int may_be_held;
static _Thread_local int steps_of_held;
static int hold_at;
static atomic_int is_held, is_released;

static void hold(void)
{
	is_held = 1;
	while (!is_released)
		pause_briefly();
}

static void at_step(const char *file, int line)
{
	int saved_errno = errno;

	if (may_be_held && ++steps_of_held == hold_at)
		hold();
	if (!is_counted)
		return;
	if (++steps_made == target_step) {
		shared->file = file;
		shared->line = line;
		atomic_store(&shared->reached, 1);
		action();
	} else if (later_action != NULL &&
		   steps_made == target_step + steps_until_later) {
		later_action();
	}
	if (strstr(file, "iv_fd.c") != NULL)
		is_about_to_wait = 1;
	errno = saved_errno;
}


/*
 * The loop of a scenario has two pairs of objects: `raw' and `ev' are for the
 * scenario, the extra ones for the action.  The loop ends when the scenario is
 * done and the extra objects were served, if they were posted.
 */
static struct iv_event_raw raw, extra_raw;
static struct iv_event ev, extra_ev;
static struct iv_fd notifications;
static int notify_fd;
static atomic_int extra_raw_posts, extra_ev_posts;
static atomic_int extra_raw_runs, extra_ev_runs;
static atomic_int ev_runs, ev_posts;
static atomic_int done;
static int ending;
static int registered;			/* how many of the five */
static void (*on_served)(void);		/* called after each handler */

static void unregister_all(void)
{
	ending = 1;
	switch (registered) {
	case 5:
		iv_event_unregister(&extra_ev);
		registered--;
		/* fall through */
	case 4:
		iv_event_raw_unregister(&extra_raw);
		registered--;
		/* fall through */
	case 3:
		iv_event_unregister(&ev);
		registered--;
		/* fall through */
	case 2:
		iv_event_raw_unregister(&raw);
		registered--;
		/* fall through */
	case 1:
		iv_fd_unregister(&notifications);
		registered--;
	}
}

static void end_if_done(void)
{
	if (ending)
		return;
	if (on_served != NULL && !done)
		on_served();
	if (!done || (extra_ev_posts && !extra_ev_runs) ||
	    (extra_raw_posts && !extra_raw_runs))
		return;
	unregister_all();
	/* In a child, objects that depend on its parent's threads remain. */
	if (is_child)
		iv_quit();
}

/*
 * Make the loop call end_if_done(), and that of the other process, too, if
 * there is one: there is a byte for each.
 */
static void notify(void)
{
	const char bytes[2] = { 0, 0 };

	atomic_fetch_add(&shared->num_sent, 1);
	check_int(write(notify_fd, bytes, 2), 2);
}

static int num_received;

static void got_notification(void *cookie)
{
	char bytes[2];

	(void)cookie;
	if (num_received < shared->num_sent &&
	    read(notifications.fd, bytes, forked > 0 || is_child ? 1 : 2) > 0)
		num_received++;
	else
		pause_briefly();	/* The rest is the other process's. */
	end_if_done();
}

static void got_raw(void *cookie)
{
	(void)cookie;
	atomic_fetch_add(&shared->runs, 1);
	/* If the loop forks after it took the bit, both processes get here. */
	check(shared->runs <= shared->posts + (forked > 0 || is_child));
	if (forked > 0 || is_child)
		notify();
	end_if_done();
}

static void got_ev(void *cookie)
{
	(void)cookie;
	ev_runs++;
	check(ev_runs <= ev_posts);
	end_if_done();
}

static void got_extra_raw(void *cookie)
{
	(void)cookie;
	extra_raw_runs++;
	end_if_done();
}

static void got_extra_ev(void *cookie)
{
	(void)cookie;
	extra_ev_runs++;
	end_if_done();
}

static void post_raw(void)
{
	atomic_fetch_add(&shared->posts, 1);
	iv_event_raw_post(&raw);
}

static void post_ev(void)
{
	ev_posts++;
	iv_event_post(&ev);
}

/* A post by a child, for which the handler has to run again. */
static int has_posted_ev, ev_before;

static void post_own_ev(void)
{
	has_posted_ev = 1;
	ev_before = ev_runs;
	post_ev();
}

static void register_raw(struct iv_event_raw *r, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(r);
	r->handler = handler;
	check_int(iv_event_raw_register(r), 0);
	registered++;
}

static void register_ev(struct iv_event *e, void (*handler)(void *))
{
	IV_EVENT_INIT(e);
	e->handler = handler;
	check_int(iv_event_register(e), 0);
	registered++;
}

static void register_all(void)
{
	int fd[2];

	check_int(pipe(fd), 0);
	notify_fd = fd[1];
	IV_FD_INIT(&notifications);
	notifications.fd = fd[0];
	notifications.handler_in = got_notification;
	iv_fd_register(&notifications);
	registered++;
	register_raw(&raw, got_raw);
	register_ev(&ev, got_ev);
	register_raw(&extra_raw, got_extra_raw);
	register_ev(&extra_ev, got_extra_ev);
}


/*
 * Scenarios.  begin() is called by the loop's thread, before the loop runs;
 * other() is run by another thread.  The steps of the loop's thread are
 * counted, unless one of these is set.
 */
static int count_other, count_none;
static void (*begin)(void);
static void (*other)(void);

/* Posts by the loop's own thread, each after the previous one was served. */
static int rounds, runs_before;

static void post_again(void)
{
	if (rounds > 0 && (shared->runs <= runs_before || ev_runs < ev_posts))
		return;
	if (rounds++ == 3) {
		done = 1;
		return;
	}
	runs_before = shared->runs;
	post_raw();
	post_ev();
}

static void begin_own_posts(void)
{
	on_served = post_again;
	post_again();
}

/* Posts by another thread, which waits until each was served. */
static void await_both_runs(int old_runs, int old_ev_runs)
{
	while (shared->runs <= old_runs || ev_runs <= old_ev_runs)
		pause_briefly();
}

static void post_and_wait(void)
{
	int i;

	for (i = 0; i < 3; i++) {
		int old_runs = shared->runs;
		int old_ev_runs = ev_runs;

		pause_briefly();
		post_ev();
		post_raw();
		if (is_child)
			_exit(0);
		await_both_runs(old_runs, old_ev_runs);
	}
}

/*
 * There are steps in the library's calls of realloc(), too: before it begins,
 * and after it has made the copy, which its caller does not have yet.
 */
#ifdef HAVE_LINUX
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
	size_t len = old != NULL ? malloc_usable_size(old) : 0;
	void *copy;

	if (!is_counted)
		return __real_realloc(old, size);
	iv_step();
	copy = malloc(size);
	check(copy != NULL);
	memset(copy, 0, size);
	if (old != NULL)
		memcpy(copy, old, len < size ? len : size);
	iv_step();
	free(old);

	return copy;
}
#endif

/*
 * The libc cancels a thread asynchronously by this signal.  It is sent at one
 * step, and arrives at a later one.
 */
#define SIGCANCEL	32

static void mask_cancellation(int how)
{
#ifdef HAVE_LINUX
	const uint64_t mask = UINT64_C(1) << (SIGCANCEL - 1);

	check_int(syscall(SYS_rt_sigprocmask, how, &mask, NULL, sizeof(mask)),
		  0);
#else
	(void)how;
#endif
}

/* The loop's thread is the main one. */
static int is_loop_asleep(void)
{
	return process_state(getpid()) == 'S';
}

/* The same with raw posts only, as these may be cancelled asynchronously. */
static void post_asynchronously(void)
{
	int i, type;

	for (i = 0; i < 3; i++) {
		int old_runs = shared->runs;

		while (!is_loop_asleep())
			pause_briefly();
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
		post_raw();
		/* In case the post had no later step. */
		mask_cancellation(SIG_UNBLOCK);
		pthread_setcanceltype(type, &type);
		while (shared->runs <= old_runs)
			pause_briefly();
	}
}

/* A post that a signal handler leaves by siglongjmp(3). */
static sigjmp_buf jump;

static void post_and_jump_out(void)
{
	while (!is_loop_asleep())
		pause_briefly();
	if (sigsetjmp(jump, 1) == 0)
		post_raw();
}

static struct iv_event_raw short_raw;
static struct iv_event short_ev, short_evs[4];

static void not_called(void *cookie)
{
	(void)cookie;
}

/* Enough of them for the queue to grow. */
static void register_many(void)
{
	int i;

	for (i = 0; i < 4; i++) {
		IV_EVENT_INIT(&short_evs[i]);
		short_evs[i].handler = not_called;
		check_int(iv_event_register(&short_evs[i]), 0);
	}
	for (i = 0; i < 4; i++)
		iv_event_unregister(&short_evs[i]);
}

/* Objects that are registered and then unregistered with a post pending. */
static void begin_registering(void)
{
	int i;

	register_many();
	for (i = 0; i < 2; i++) {
		IV_EVENT_RAW_INIT(&short_raw);
		short_raw.handler = not_called;
		check_int(iv_event_raw_register(&short_raw), 0);
		IV_EVENT_INIT(&short_ev);
		short_ev.handler = not_called;
		check_int(iv_event_register(&short_ev), 0);
		iv_event_raw_post(&short_raw);
		iv_event_post(&short_ev);
		iv_event_unregister(&short_ev);
		iv_event_raw_unregister(&short_raw);
	}
	if (notify_fd < 0)
		return;
	done = 1;
	notify();
}

static struct iv_signal sig;
static int sig_registered;

static void got_signal(void *cookie)
{
	(void)cookie;
	sig_registered = 0;
	iv_signal_unregister(&sig);
	done = 1;
	end_if_done();
}

static void begin_signal(void)
{
	IV_SIGNAL_INIT(&sig);
	sig.signum = SIGUSR2;
	sig.handler = got_signal;
	check_int(iv_signal_register(&sig), 0);
	sig_registered = 1;
	check_int(raise(SIGUSR2), 0);
}

static struct iv_work_pool pool;
static struct iv_work_item items[4];
static int completions;

static void count_worker(void *cookie)
{
	(void)cookie;
	is_counted = count_other;
}

static void work(void *cookie)
{
	(void)cookie;
}

static void completed(void *cookie)
{
	(void)cookie;
	if (++completions < 4 || is_child)
		return;
	iv_work_pool_put(&pool);
	done = 1;
	end_if_done();
}

static void begin_work(void)
{
	int i;

	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = count_other ? 1 : 2;
	pool.thread_start = count_worker;
	check_int(iv_work_pool_create(&pool), 0);
	for (i = 0; i < 4 && !is_child; i++) {
		IV_WORK_ITEM_INIT(&items[i]);
		items[i].work = work;
		items[i].completion = completed;
		iv_work_pool_submit_work(&pool, &items[i]);
	}
}

/* A thread that the loop joins; then the loop ends. */
static void thread(void *cookie)
{
	(void)cookie;
	is_counted = count_other;
	done = 1;
	if (!is_child)
		notify();
}

static void begin_thread(void)
{
	check_int(iv_thread_create("thread", thread, NULL), 0);
}

static struct iv_wait_interest interest;

static void child_ended(void *cookie, int status, const struct rusage *rusage)
{
	(void)cookie;
	(void)rusage;
	check(WIFEXITED(status));
	iv_wait_interest_unregister(&interest);
	done = 1;
	end_if_done();
}

static void exit_child(void *cookie)
{
	(void)cookie;
	_exit(0);
}

static void begin_wait(void)
{
	IV_WAIT_INTEREST_INIT(&interest);
	interest.handler = child_ended;
	check_int(iv_wait_interest_register_spawn(&interest, exit_child, NULL),
		  0);
}


/*
 * If the loop has forked before it waits, the first thing that wakes it is this
 * thread's end, which comes after that of the child.
 */
static void other_awaits_child(void)
{
	siginfo_t info;

	while (!is_about_to_wait)
		pause_briefly();
	if (forked > 0)
		check_int(waitid(P_PID, forked, &info, WEXITED | WNOWAIT), 0);
}

/*
 * Another thread is held in the middle of a post to an event.  Meanwhile the
 * loop's thread makes calls that change the queue of events, and its own post
 * is served.  Then the other thread goes on.
 */
static pthread_t held_poster;

static void *post_held(void *arg)
{
	may_be_held = 1;
	post_ev();
	may_be_held = 0;
	/* The post had fewer than hold_at steps. */
	if (!is_held) {
		shared->is_past_end = 1;
		is_held = 1;
	}

	return arg;
}

static void end_held_post(void)
{
	if (!extra_ev_runs)
		return;
	if (!is_released) {
		is_counted = 0;
		is_released = 1;
		if (is_child)
			post_own_ev();
		else
			check_int(pthread_join(held_poster, NULL), 0);
	}
	done = ev_runs > ev_before;
}

static void begin_held_post(void)
{
	int i;

	on_served = end_held_post;
	check_int(pthread_create(&held_poster, NULL, post_held, NULL), 0);
	while (!is_held)
		pause_briefly();

	is_counted = 1;
	for (i = 0; i < 2; i++) {
		IV_EVENT_INIT(&short_ev);
		short_ev.handler = not_called;
		check_int(iv_event_register(&short_ev), 0);
		iv_event_post(&short_ev);
		iv_event_unregister(&short_ev);
	}
	extra_ev_posts = 1;
	iv_event_post(&extra_ev);
}


/* Actions. */
static void post_extra(int signum)
{
	(void)signum;
	if (ending)
		return;
	extra_ev_posts = 1;
	extra_raw_posts = 1;
	iv_event_post(&extra_ev);
	iv_event_raw_post(&extra_raw);
}

static void raise_signal(void)
{
	(void)raise(SIGUSR1);
}

static void end_now(int signum)
{
	(void)signum;
	_exit(0);
}

/* The pool's thread would stay idle in the child for ten seconds. */
static void end_soon(void)
{
	static const struct itimerval soon = { .it_value.tv_usec = 3000 };

	(void)signal(SIGALRM, end_now);
	(void)setitimer(ITIMER_REAL, &soon, NULL);
}

/*
 * As in a signal handler that forks, the child goes on with what the thread was
 * doing.  A post by the child at this step is served in the child.
 */
static void fork_here(void)
{
	forked = fork();
	check(forked >= 0);
	if (forked > 0)
		return;
	is_child = 1;
	(void)alarm(SECONDS - 2);
	/* Half of the time, the parent goes on first. */
	if (target_step % 2)
		pause_for(20);
	if (begin == begin_work && count_other)
		end_soon();
	if (!iv_inited())
		return;
	if (ending) {
		iv_quit();
		return;
	}
	extra_ev_posts = 1;
	iv_event_post(&extra_ev);
	/* The event may be queued or not, in any state of the queue. */
	if (begin == begin_held_post && (target_step + hold_at) % 2)
		post_ev();
}

static pthread_t loop_thread;
static atomic_int has_forked;

static void fork_in_handler(int signum)
{
	(void)signum;
	fork_here();
	/* The event that the other thread may be in the middle of posting. */
	if (is_child && target_step % 2)
		post_own_ev();
	has_forked = 1;
}

/* The loop's thread forks, while the calling thread waits at its step. */
static void fork_loop_thread(void)
{
	check_int(pthread_kill(loop_thread, SIGVTALRM), 0);
	while (!has_forked)
		pause_briefly();
}

static void cancel_self(void)
{
	check_int(pthread_cancel(pthread_self()), 0);
}

static atomic_int is_cancelled;

static void *cancel_thread(void *thread)
{
	check_int(pthread_detach(pthread_self()), 0);
	check_int(pthread_cancel(*(pthread_t *)thread), 0);
	is_cancelled = 1;

	return NULL;
}

static void cancel_self_later(void)
{
	static pthread_t self;
	pthread_t t;

	self = pthread_self();
	mask_cancellation(SIG_BLOCK);
	check_int(pthread_create(&t, NULL, cancel_thread, &self), 0);
	/* sched_yield() is no cancellation point. */
	while (!is_cancelled)
		sched_yield();
}

static void let_cancellation_arrive(void)
{
	mask_cancellation(SIG_UNBLOCK);
}

static void jump_out(void)
{
	siglongjmp(jump, 1);
}

static void kill_self(void)
{
	(void)kill(getpid(), SIGKILL);
}


static void end_other(void *arg)
{
	int state;

	(void)arg;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	is_counted = 0;
	done = 1;
	notify();
	(void)pthread_setcancelstate(state, NULL);
}

static void *other_thread(void *arg)
{
	pthread_cleanup_push(end_other, NULL);
	is_counted = count_other;
	other();
	pthread_cleanup_pop(1);

	return arg;
}

/*
 * A scenario may have other threads or children.  A process that an action
 * forks has none of them, so it is done when its own posts were served.
 */
static int has_others;

static void end_child(void)
{
	if (is_child && extra_ev_runs &&
	    (!has_posted_ev || ev_runs > ev_before))
		done = 1;
}

static void end_loop(void *arg)
{
	(void)arg;
	check(registered == 0 || registered == 5);
	if (sig_registered)
		iv_signal_unregister(&sig);
	unregister_all();
	iv_deinit();
}

static void *run_loop(void *arg)
{
	pthread_t t;

	(void)arg;
	loop_thread = pthread_self();
	iv_init();
	register_all();
	if (has_others)
		on_served = end_child;
	pthread_cleanup_push(end_loop, NULL);
	is_counted = !count_other && !count_none;
	if (begin != NULL)
		begin();
	if (other != NULL)
		check_int(pthread_create(&t, NULL, other_thread, NULL), 0);
	iv_main();
	pthread_cleanup_pop(1);
	is_counted = 0;
	if (other != NULL && !is_child)
		check_int(pthread_join(t, NULL), 0);

	return NULL;
}

struct scenario {
	const char	*name;
	void	(*begin)(void);
	void	(*other)(void);		/* run by another thread */
	int	count_other;		/* count its steps, not the loop's */
	int	has_others;		/* threads or children: end_child() */
	int	count_none;		/* begin() sets is_counted */
};

static int num_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int num = -2;			/* "." and ".." */

	check(dir != NULL);
	while (readdir(dir) != NULL)
		num++;
	closedir(dir);

	return num;
}

/* Threads that a loop has left behind end without it. */
static void await_other_threads(void)
{
	while (num_threads() > 1)
		pause_briefly();
}

static void run_scenario(const struct scenario *p)
{
	struct sigaction sa = { .sa_handler = post_extra };
	int before = num_descriptors();

	begin = p->begin;
	other = p->other;
	count_other = p->count_other;
	has_others = p->has_others;
	count_none = p->count_none;
	(void)alarm(SECONDS);
	check_int(sigaction(SIGUSR1, &sa, NULL), 0);
	sa.sa_handler = fork_in_handler;
	check_int(sigaction(SIGVTALRM, &sa, NULL), 0);
	if (action == cancel_self) {
		pthread_t t;

		check_int(pthread_create(&t, NULL, run_loop, NULL), 0);
		check_int(pthread_join(t, NULL), 0);
	} else {
		(void)run_loop(NULL);
	}
	/* The pipe stays open, for threads of a loop that was cancelled. */
	before += 2;
	if (!is_child) {
		await_other_threads();
		/* Descriptors stay open for the poster that jumped out. */
		if (action != jump_out)
			check_int(num_descriptors(), before);
	}
	if (forked > 0)
		check_child(forked);
}

/* Returns 1 if the scenario got to the target step. */
static int reaches_step(const struct scenario *p)
{
	pid_t pid;
	int status;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_at_step = at_step;
		run_scenario(p);
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0) {
		fprintf(stderr, "# %s, step %u, %s:%d: %#x\n", p->name,
			target_step, shared->reached ? shared->file : "none",
			shared->line, status);
		check_failed(__FILE__, __LINE__, "the scenario failed");
	}

	return shared->reached;
}

static void map_shared(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED);
}

/* Take the action at the first step, at the second, and so on. */
static void at_each_step(void (*what)(void), const struct scenario *p)
{
	action = what;
	map_shared();
	for (target_step = 1; reaches_step(p); target_step++)
		;
	check(target_step > 1);
}


/* The action is taken by the loop's thread, in its own calls. */
static const struct scenario own_posts = {
	.name = "own posts", .begin = begin_own_posts,
};
static const struct scenario registering = {
	.name = "registering", .begin = begin_registering,
};
static const struct scenario signals = {
	.name = "signal", .begin = begin_signal, .has_others = 1,
};
static const struct scenario works = {
	.name = "work", .begin = begin_work, .has_others = 1,
};
static const struct scenario threads = {
	.name = "thread", .begin = begin_thread, .has_others = 1,
};
static const struct scenario waits = {
	.name = "wait", .begin = begin_wait, .has_others = 1,
};
/* It is taken by the loop's thread while it serves another thread's posts. */
static const struct scenario served = {
	.name = "served", .other = post_and_wait, .has_others = 1,
};
/* It is taken by the loop's thread before it waits, with nothing to do. */
static const struct scenario idle = {
	.name = "idle", .other = other_awaits_child, .has_others = 1,
};
/* It is taken by the loop's thread while another one is in mid-post. */
static const struct scenario held_post = {
	.name = "held post", .begin = begin_held_post, .count_none = 1,
};
/* It is taken by the other thread. */
static const struct scenario posting = { .name = "posting",
	.other = post_and_wait, .count_other = 1, .has_others = 1,
};
static const struct scenario working = { .name = "working",
	.begin = begin_work, .count_other = 1, .has_others = 1,
};
static const struct scenario thread_ends = { .name = "the end of a thread",
	.begin = begin_thread, .count_other = 1, .has_others = 1,
};

static const struct scenario *const scenarios[] = {
	&own_posts, &registering, &signals, &works, &threads, &waits, &served,
	&posting, &working, &thread_ends,
};

#define NUM_SCENARIOS	((int)(sizeof(scenarios) / sizeof(scenarios[0])))

static void in_each_scenario(void (*what)(void))
{
	int i;

	for (i = 0; i < NUM_SCENARIOS; i++)
		at_each_step(what, scenarios[i]);
}

static void signal_at_each_step(void)
{
	in_each_scenario(raise_signal);
}

static void fork_at_each_step(void)
{
	in_each_scenario(fork_here);
}

/* Each poll method has its own way to keep a child from waiting. */
static void fork_with_each_method(void)
{
	at_each_step(fork_here, &served);
	at_each_step(fork_here, &idle);
}

/* Take the action at each step, with the other thread held at each of its. */
static void during_held_post(void (*what)(void))
{
	action = what;
	map_shared();
	for (hold_at = 1; !shared->is_past_end; hold_at++) {
		for (target_step = 1; reaches_step(&held_post); target_step++)
			;
		check(target_step > 1);
	}
	check(hold_at > 4);
}

static void fork_during_held_post(void)
{
	during_held_post(fork_here);
}

static void signal_during_held_post(void)
{
	during_held_post(raise_signal);
}

static void fork_at_each_step_of_poster(void)
{
	at_each_step(fork_loop_thread, &posting);
}

/* With `served', the other thread would wait for the loop for ever. */
static void cancellation_at_each_step(void)
{
	int i;

	for (i = 0; i < NUM_SCENARIOS; i++) {
		if (scenarios[i] != &served)
			at_each_step(cancel_self, scenarios[i]);
	}
}

static void late_cancellation_at_each_step(void)
{
	static const struct scenario p = {
		.name = "posting asynchronously",
		.other = post_asynchronously, .count_other = 1,
	};

#if !defined(HAVE_LINUX)
	skip("the signal that cancels a thread is not known on this system");
#elif !defined(HAVE_RAW_WRITE)
	skip("the libc's write() waits for the signal that is blocked here");
#endif
	later_action = let_cancellation_arrive;
	for (steps_until_later = 1; steps_until_later <= 6; steps_until_later++)
		at_each_step(cancel_self_later, &p);
}

static void jump_at_each_step(void)
{
	static const struct scenario p = {
		.name = "jumping out of a post",
		.other = post_and_jump_out, .count_other = 1,
	};

	at_each_step(jump_out, &p);
}

static atomic_int victim;

static void begin_killed_poster(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		is_counted = 1;
		pause_briefly();
		post_raw();
		pause_briefly();
		post_raw();
		_exit(0);
	}
	victim = pid;
}

/* Posts after the death of a poster are served. */
static void post_after_kill(void)
{
	int status;

	check_int(waitpid(victim, &status, 0), victim);
	post_and_wait();
}

/* Posts after the death of a child that went on with the loop are served. */
static void begin_killed_loop(void)
{
	int status;
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		is_counted = 1;
		begin_own_posts();
		iv_main();
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	begin_own_posts();
}

static void poster_killed_at_each_step(void)
{
	static const struct scenario p = {
		.name = "killed poster",
		.begin = begin_killed_poster, .other = post_after_kill,
		.count_none = 1,
	};

	at_each_step(kill_self, &p);
}

static void loop_killed_at_each_step(void)
{
	static const struct scenario p = {
		.name = "killed loop",
		.begin = begin_killed_loop, .count_none = 1,
	};

	at_each_step(kill_self, &p);
}


/*
 * Threads and processes post to a loop that registers and unregisters objects
 * meanwhile.  All of them pause at steps.  A handler sees what the posters that
 * it runs for have stored before, and runs no more often than there were posts.
 */
#define POSTERS		3
#define POSTS		200

struct target {
	struct iv_event_raw	raw;
	struct iv_event		ev;
	atomic_int		raw_posts;
	atomic_int		raw_seen;
	atomic_int		ev_posts;
	atomic_int		ev_seen;
	int			raw_runs;
	int			ev_runs;
};

static struct target *targets;		/* one for each poster, shared */
static int posters_left;
static struct iv_event poster_ended;

static void crowd_got_raw(void *_t)
{
	struct target *t = _t;

	atomic_store(&t->raw_seen, atomic_load(&t->raw_posts));
	check(++t->raw_runs <= t->raw_seen);
	begin_registering();
}

static void crowd_got_ev(void *_t)
{
	struct target *t = _t;

	atomic_store(&t->ev_seen, atomic_load(&t->ev_posts));
	check(++t->ev_runs <= t->ev_seen);
}

static void post_raws(struct target *t)
{
	int i;

	for (i = 0; i < POSTS; i++) {
		atomic_fetch_add(&t->raw_posts, 1);
		iv_event_raw_post(&t->raw);
		if (i % 8 == 7)
			pause_briefly();
	}
	/* The last post must be served, too. */
	while (t->raw_seen != t->raw_posts)
		pause_briefly();
}

static void post_evs(struct target *t)
{
	int i;

	for (i = 0; i < POSTS; i++) {
		atomic_fetch_add(&t->ev_posts, 1);
		iv_event_post(&t->ev);
		if (i % 8 == 7)
			pause_briefly();
	}
	while (t->ev_seen != t->ev_posts)
		pause_briefly();
}

static void *crowd_thread(void *t)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		post_raws(t);
		_exit(0);
	}
	check_child(pid);
	post_raws(t);
	post_evs(t);
	iv_event_post(&poster_ended);

	return NULL;
}

static void end_when_all_posted(void *cookie)
{
	struct target *t;

	(void)cookie;
	/* Posts of several posters may be coalesced: check what each did. */
	posters_left = 0;
	for (t = targets; t < targets + POSTERS; t++)
		posters_left += t->raw_posts < 2 * POSTS ||
				t->ev_posts < POSTS ||
				t->ev_seen < t->ev_posts;
	if (posters_left > 0)
		return;
	for (t = targets; t < targets + POSTERS; t++) {
		iv_event_unregister(&t->ev);
		iv_event_raw_unregister(&t->raw);
	}
	iv_event_unregister(&poster_ended);
}

static void crowd(void)
{
	int before = num_descriptors();
	pthread_t tids[POSTERS];
	int i;

	(void)alarm(SECONDS);
	notify_fd = -1;
	targets = mmap(NULL, POSTERS * sizeof(*targets), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(targets != MAP_FAILED);
	iv_init();
	register_ev(&poster_ended, end_when_all_posted);
	for (i = 0; i < POSTERS; i++) {
		register_raw(&targets[i].raw, crowd_got_raw);
		targets[i].raw.cookie = &targets[i];
		register_ev(&targets[i].ev, crowd_got_ev);
		targets[i].ev.cookie = &targets[i];
		check_int(pthread_create(&tids[i], NULL, crowd_thread,
					 &targets[i]), 0);
	}
	iv_main();
	for (i = 0; i < POSTERS; i++)
		check_int(pthread_join(tids[i], NULL), 0);
	iv_deinit();
	check_int(num_descriptors(), before);
}

static void with_seed(unsigned int seed, void (*run)(const struct scenario *),
		      const struct scenario *p)
{
	pid_t pid = fork();
	int status;

	check(pid >= 0);
	if (pid == 0) {
		check_seed_steps(seed);
		run(p);
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0) {
		fprintf(stderr, "# %s, seed %u: %#x\n",
			p != NULL ? p->name : "crowd", seed, status);
		check_failed(__FILE__, __LINE__, "failed with this seed");
	}
}

static void run_crowd(const struct scenario *p)
{
	(void)p;
	crowd();
}

/* STEPS_SEEDS in the environment is the number of seeds, for a long run. */
static void pauses_by_seed(void)
{
	const char *num = getenv("STEPS_SEEDS");
	const char *first = getenv("STEPS_SEED");
	unsigned int seed = first != NULL ? atoi(first) : 1;
	unsigned int end = seed + (num != NULL ? atoi(num) : 20);
	int i;

	map_shared();
	for (; seed < end; seed++) {
		for (i = 0; i < NUM_SCENARIOS; i++) {
			memset(shared, 0, sizeof(*shared));
			with_seed(seed, run_scenario, scenarios[i]);
		}
		with_seed(seed, run_crowd, NULL);
	}
}

static const struct check_case cases[] = {
	{ "pauses at steps that a seed chooses", pauses_by_seed, EACH_BACKEND,
	  120 },
	{ "a signal whose handler posts, at each step", signal_at_each_step,
	  EACH_BACKEND, 60 },
	{ "such a signal at each step, while another thread is in mid-post",
	  signal_during_held_post, EACH_BACKEND, 60 },
	{ "a fork at each step", fork_at_each_step, EACH_BACKEND, 60 },
	{ "a loop forks at each step, with each poll method",
	  fork_with_each_method, EACH_METHOD, 60 },
	{ "a loop forks at each step, with another thread in mid-post",
	  fork_during_held_post, EACH_BACKEND, 60 },
	{ "the loop's thread forks at each step of a poster",
	  fork_at_each_step_of_poster, EACH_BACKEND, 60 },
	{ "a cancellation at each step", cancellation_at_each_step,
	  EACH_BACKEND, 60 },
	{ "an asynchronous cancellation that arrives at a later step",
	  late_cancellation_at_each_step, EACH_BACKEND, 60 },
	{ "siglongjmp out of a post at each step", jump_at_each_step,
	  EACH_BACKEND, 60 },
	{ "a poster is killed at each step", poster_killed_at_each_step,
	  EACH_BACKEND, 60 },
	{ "a child that goes on with the loop is killed at each step",
	  loop_killed_at_each_step, EACH_BACKEND, 60 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

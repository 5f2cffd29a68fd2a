/*
 * libivykis: what comes in between any two steps.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The library is compiled with IV_STEPS here, so iv_step_hook() is called
 * wherever another thread, a signal handler or a process could come in between.
 * In one kind of case each thread pauses at random steps, chosen by a seed that
 * is printed (STEPS_SEED in the environment sets it).  The other kind plays a
 * scenario once for each step that a thread of it makes: at the first step, at
 * the second, and so on, the process forks, is killed, is cancelled or gets a
 * signal.
 *
 * The mistakes that this notices are in test/mutants.sh, as "steps: ...".
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

/* What all processes of a scenario know. */
static struct shared {
	atomic_int	reached;	/* the step that something happens at */
	const char	*file;
	int		line;
	atomic_int	posts;		/* to raw */
	atomic_int	runs;		/* of its handler */
	atomic_int	tells;		/* two bytes each in the pipe */
	int		is_over;	/* the post that was to be held */
} *shared;

static _Thread_local int counts;	/* the steps of this thread count */
static unsigned int step;		/* so many were made */
static unsigned int target;
static void (*happen)(void);
static int is_child;			/* of what happened */
static pid_t forked;

static void (*happen_later)(void);	/* so many steps after that */
static unsigned int later;
static atomic_int is_about_to_wait;	/* the thread whose steps count */

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

/* A thread that is held at a step of its own, while others go on. */
static _Thread_local int is_to_be_held;
static _Thread_local int steps_to_hold;
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

	if (is_to_be_held && ++steps_to_hold == hold_at)
		hold();
	if (!counts)
		return;
	if (++step == target) {
		shared->file = file;
		shared->line = line;
		atomic_store(&shared->reached, 1);
		happen();
	} else if (happen_later != NULL && step == target + later) {
		happen_later();
	}
	if (strstr(file, "iv_fd.c") != NULL)
		is_about_to_wait = 1;
	errno = saved_errno;
}


/*
 * The loop of a scenario has two pairs of objects: `raw' and `ev' are what the
 * scenario may use, the extra ones are for what happens at the step.  It ends
 * when the scenario is done and the extra ones were served, if need be.
 */
static struct iv_event_raw raw, extra_raw;
static struct iv_event ev, extra_ev;
static struct iv_fd told;
static int tell_fd;
static atomic_int extra_raw_posts, extra_ev_posts;
static atomic_int extra_raw_runs, extra_ev_runs;
static atomic_int ev_runs, ev_posts;
static atomic_int done;
static int ending;
static int registered;			/* so many of the five, in this order */
static void (*go_on)(void);		/* when something was served */

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
		iv_fd_unregister(&told);
		registered--;
	}
}

static void look(void)
{
	if (ending)
		return;
	if (go_on != NULL && !done)
		go_on();
	if (!done || (extra_ev_posts && !extra_ev_runs) ||
	    (extra_raw_posts && !extra_raw_runs))
		return;
	unregister_all();
	/* What else there is ends by itself, but for its parent's things. */
	if (is_child)
		iv_quit();
}

/* The other process, if there is one, sees it, too: a byte for each. */
static void tell(void)
{
	const char bytes[2] = { 0, 0 };

	atomic_fetch_add(&shared->tells, 1);
	check_int(write(tell_fd, bytes, 2), 2);
}

static int times_told;

static void got_told(void *cookie)
{
	char bytes[2];

	(void)cookie;
	if (times_told < shared->tells &&
	    read(told.fd, bytes, forked > 0 || is_child ? 1 : 2) > 0)
		times_told++;
	else
		pause_briefly();	/* The rest is for the other one. */
	look();
}

static void got_raw(void *cookie)
{
	(void)cookie;
	atomic_fetch_add(&shared->runs, 1);
	/* A process that forks between the taking of the bit and here is two. */
	check(shared->runs <= shared->posts + (forked > 0 || is_child));
	if (forked > 0 || is_child)
		tell();
	look();
}

static void got_ev(void *cookie)
{
	(void)cookie;
	ev_runs++;
	check(ev_runs <= ev_posts);
	look();
}

static void got_extra_raw(void *cookie)
{
	(void)cookie;
	extra_raw_runs++;
	look();
}

static void got_extra_ev(void *cookie)
{
	(void)cookie;
	extra_ev_runs++;
	look();
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

/* What a child posts itself, and has to be served after that. */
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
	tell_fd = fd[1];
	IV_FD_INIT(&told);
	told.fd = fd[0];
	told.handler_in = got_told;
	iv_fd_register(&told);
	registered++;
	register_raw(&raw, got_raw);
	register_ev(&ev, got_ev);
	register_raw(&extra_raw, got_extra_raw);
	register_ev(&extra_ev, got_extra_ev);
}


/* Scenarios.  The thread that counts its steps is the loop's, or `other'. */
static int other_counts, nobody_counts;
static void (*begin)(void);
static void (*other)(void);

/* Posts of the loop's own thread, each after the one before was served. */
static int rounds, seen;

static void post_again(void)
{
	if (rounds > 0 && (shared->runs <= seen || ev_runs < ev_posts))
		return;
	if (rounds++ == 3) {
		done = 1;
		return;
	}
	seen = shared->runs;
	post_raw();
	post_ev();
}

static void begin_own_posts(void)
{
	go_on = post_again;
	post_again();
}

/* Posts of another thread, each of which is waited for. */
static void await_runs(int than, int ev_than)
{
	while (shared->runs <= than || ev_runs <= ev_than)
		pause_briefly();
}

static void other_posts(void)
{
	int i;

	for (i = 0; i < 3; i++) {
		int than = shared->runs;
		int ev_than = ev_runs;

		pause_briefly();
		post_ev();
		post_raw();
		if (is_child)
			_exit(0);
		await_runs(than, ev_than);
	}
}

/*
 * There are steps in the library's realloc(), too: before it begins, and when
 * it has made a copy that the caller does not know of yet.
 */
#ifdef HAVE_LINUX
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
	size_t len = old != NULL ? malloc_usable_size(old) : 0;
	void *copy;

	if (!counts)
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
 * The libc cancels a thread asynchronously by a signal of its own.  This one is
 * sent at a step, and arrives at a later one.
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

/* The same with raw posts alone, which may be cancelled asynchronously. */
static void other_posts_asynchronously(void)
{
	int i, type;

	for (i = 0; i < 3; i++) {
		int than = shared->runs;

		while (!is_loop_asleep())
			pause_briefly();
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
		post_raw();
		/* If there was no later step in the post. */
		mask_cancellation(SIG_UNBLOCK);
		pthread_setcanceltype(type, &type);
		while (shared->runs <= than)
			pause_briefly();
	}
}

static sigjmp_buf jump;

static void other_is_left(void)
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

/* So many that the queue has to grow. */
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

/* Objects that come and go, with a post pending. */
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
	if (tell_fd < 0)
		return;
	done = 1;
	tell();
}

static struct iv_signal sig;
static int sig_registered;

static void got_signal(void *cookie)
{
	(void)cookie;
	sig_registered = 0;
	iv_signal_unregister(&sig);
	done = 1;
	look();
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
	counts = other_counts;
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
	look();
}

static void begin_work(void)
{
	int i;

	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = other_counts ? 1 : 2;
	pool.thread_start = count_worker;
	check_int(iv_work_pool_create(&pool), 0);
	for (i = 0; i < 4 && !is_child; i++) {
		IV_WORK_ITEM_INIT(&items[i]);
		items[i].work = work;
		items[i].completion = completed;
		iv_work_pool_submit_work(&pool, &items[i]);
	}
}

/* A thread that the loop joins: its end is the loop's end. */
static void thread(void *cookie)
{
	(void)cookie;
	counts = other_counts;
	done = 1;
	if (!is_child)
		tell();
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
	look();
}

static void ends(void *cookie)
{
	(void)cookie;
	_exit(0);
}

static void begin_wait(void)
{
	IV_WAIT_INTEREST_INIT(&interest);
	interest.handler = child_ended;
	check_int(iv_wait_interest_register_spawn(&interest, ends, NULL), 0);
}


/*
 * Nothing wakes the loop before the child has ended that it has forked by the
 * time when it waits.
 */
static void other_lets_it_wait(void)
{
	siginfo_t info;

	while (!is_about_to_wait)
		pause_briefly();
	if (forked > 0)
		check_int(waitid(P_PID, forked, &info, WEXITED | WNOWAIT), 0);
}

/*
 * Another thread is held in the middle of a post to an event.  Meanwhile the
 * loop's thread does what changes the queue of events, and what it posts itself
 * is served; then the other one goes on.
 */
static pthread_t half_poster;

static void *post_half(void *arg)
{
	is_to_be_held = 1;
	post_ev();
	is_to_be_held = 0;
	/* The post had fewer steps. */
	if (!is_held) {
		shared->is_over = 1;
		is_held = 1;
	}

	return arg;
}

static void end_half_posted(void)
{
	if (!extra_ev_runs)
		return;
	if (!is_released) {
		counts = 0;
		is_released = 1;
		if (is_child)
			post_own_ev();
		else
			check_int(pthread_join(half_poster, NULL), 0);
	}
	done = ev_runs > ev_before;
}

static void begin_half_posted(void)
{
	int i;

	go_on = end_half_posted;
	check_int(pthread_create(&half_poster, NULL, post_half, NULL), 0);
	while (!is_held)
		pause_briefly();

	counts = 1;
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


/* What happens at a step. */
static void extra_posts(int signum)
{
	(void)signum;
	if (ending)
		return;
	extra_ev_posts = 1;
	extra_raw_posts = 1;
	iv_event_post(&extra_ev);
	iv_event_raw_post(&extra_raw);
}

static void a_signal(void)
{
	(void)raise(SIGUSR1);
}

static void end_now(int signum)
{
	(void)signum;
	_exit(0);
}

/* A pool's thread would be idle in the child for ten seconds. */
static void end_soon(void)
{
	static const struct itimerval soon = { .it_value.tv_usec = 3000 };

	(void)signal(SIGALRM, end_now);
	(void)setitimer(ITIMER_REAL, &soon, NULL);
}

/*
 * As a signal handler that forks: the child has what the thread was doing, and
 * goes on with it.  A post in the child right then is heard there.
 */
static void a_fork(void)
{
	forked = fork();
	check(forked >= 0);
	if (forked > 0)
		return;
	is_child = 1;
	(void)alarm(SECONDS - 2);
	/* Either may be the first to go on. */
	if (target % 2)
		pause_for(20);
	if (begin == begin_work && other_counts)
		end_soon();
	if (!iv_inited())
		return;
	if (ending) {
		iv_quit();
		return;
	}
	extra_ev_posts = 1;
	iv_event_post(&extra_ev);
	/* It may be queued or not, and the change under way may be any. */
	if (begin == begin_half_posted && (target + hold_at) % 2)
		post_ev();
}

static pthread_t loop_thread;
static atomic_int has_forked;

static void fork_here(int signum)
{
	(void)signum;
	a_fork();
	/* That which the other thread may be in the middle of posting. */
	if (is_child && target % 2)
		post_own_ev();
	has_forked = 1;
}

/* While the other thread is held at its step, the loop's thread forks. */
static void a_fork_of_the_loop(void)
{
	check_int(pthread_kill(loop_thread, SIGVTALRM), 0);
	while (!has_forked)
		pause_briefly();
}

static void a_cancellation(void)
{
	check_int(pthread_cancel(pthread_self()), 0);
}

static atomic_int is_cancelled;

static void *cancel(void *thread)
{
	check_int(pthread_detach(pthread_self()), 0);
	check_int(pthread_cancel(*(pthread_t *)thread), 0);
	is_cancelled = 1;

	return NULL;
}

static void a_late_cancellation(void)
{
	static pthread_t self;
	pthread_t t;

	self = pthread_self();
	mask_cancellation(SIG_BLOCK);
	check_int(pthread_create(&t, NULL, cancel, &self), 0);
	/* This is no cancellation point. */
	while (!is_cancelled)
		sched_yield();
}

static void cancellation_arrives(void)
{
	mask_cancellation(SIG_UNBLOCK);
}

static void a_jump(void)
{
	siglongjmp(jump, 1);
}

static void a_kill(void)
{
	(void)kill(getpid(), SIGKILL);
}


static void end_other(void *arg)
{
	int state;

	(void)arg;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	counts = 0;
	done = 1;
	tell();
	(void)pthread_setcancelstate(state, NULL);
}

static void *other_thread(void *arg)
{
	pthread_cleanup_push(end_other, NULL);
	counts = other_counts;
	other();
	pthread_cleanup_pop(1);

	return arg;
}

/*
 * A child of a scenario with other threads, or children, has none of these: it
 * is through when its own post was served.
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
		go_on = end_child;
	pthread_cleanup_push(end_loop, NULL);
	counts = !other_counts && !nobody_counts;
	if (begin != NULL)
		begin();
	if (other != NULL)
		check_int(pthread_create(&t, NULL, other_thread, NULL), 0);
	iv_main();
	pthread_cleanup_pop(1);
	counts = 0;
	if (other != NULL && !is_child)
		check_int(pthread_join(t, NULL), 0);

	return NULL;
}

struct play {
	const char	*name;
	void	(*begin)(void);
	void	(*other)(void);		/* another thread */
	int	other_counts;		/* its steps count, not the loop's */
	int	has_others;
	int	nobody_counts;		/* begin() decides whose steps count */
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

/* Those that a loop has left behind end by themselves. */
static void await_other_threads(void)
{
	while (num_threads() > 1)
		pause_briefly();
}

static void play(const struct play *p)
{
	struct sigaction sa = { .sa_handler = extra_posts };
	int before = num_descriptors();

	begin = p->begin;
	other = p->other;
	other_counts = p->other_counts;
	has_others = p->has_others;
	nobody_counts = p->nobody_counts;
	(void)alarm(SECONDS);
	check_int(sigaction(SIGUSR1, &sa, NULL), 0);
	sa.sa_handler = fork_here;
	check_int(sigaction(SIGVTALRM, &sa, NULL), 0);
	if (happen == a_cancellation) {
		pthread_t t;

		check_int(pthread_create(&t, NULL, run_loop, NULL), 0);
		check_int(pthread_join(t, NULL), 0);
	} else {
		(void)run_loop(NULL);
	}
	/* The pipe stays, for threads of a loop that was cancelled. */
	before += 2;
	if (!is_child) {
		await_other_threads();
		/* Descriptors stay open for a poster that was left. */
		if (happen != a_jump)
			check_int(num_descriptors(), before);
	}
	if (forked > 0)
		check_child(forked);
}

static int step_of(const struct play *p)
{
	pid_t pid;
	int status;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_at_step = at_step;
		play(p);
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0) {
		fprintf(stderr, "# %s, step %u, %s:%d: %#x\n", p->name, target,
			shared->reached ? shared->file : "none",
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

/* At each step in turn, until there is none of that number. */
static void at_each_step(void (*what)(void), const struct play *p)
{
	happen = what;
	map_shared();
	for (target = 1; step_of(p); target++)
		;
	check(target > 1);
}


/* How the loop's own thread meets with it, in what it does itself ... */
static const struct play own_posts = { .name = "own posts", .begin = begin_own_posts };
static const struct play registering = { .name = "registering", .begin = begin_registering };
static const struct play signals = { .name = "signal", .begin = begin_signal, .has_others = 1 };
static const struct play works = { .name = "work", .begin = begin_work, .has_others = 1 };
static const struct play threads = { .name = "thread", .begin = begin_thread, .has_others = 1 };
static const struct play waits = { .name = "wait", .begin = begin_wait, .has_others = 1 };
/* ... and while it serves another one's posts; and how the other one does. */
static const struct play served = { .name = "served", .other = other_posts, .has_others = 1 };
static const struct play posting = { .name = "posting",
	.other = other_posts, .other_counts = 1, .has_others = 1,
};
static const struct play working = { .name = "working",
	.begin = begin_work, .other_counts = 1, .has_others = 1,
};
static const struct play thread_ends = { .name = "the end of a thread",
	.begin = begin_thread, .other_counts = 1, .has_others = 1,
};

/* ... and what it does before it waits, with nothing to wait for. */
static const struct play idle = { .name = "idle", .other = other_lets_it_wait, .has_others = 1 };
/* What it does while another one is in the middle of a post. */
static const struct play half_posted = { .name = "half posted",
	.begin = begin_half_posted, .nobody_counts = 1,
};

static const struct play *const plays[] = {
	&own_posts, &registering, &signals, &works, &threads, &waits, &served,
	&posting, &working, &thread_ends,
};

#define NUM_PLAYS	((int)(sizeof(plays) / sizeof(plays[0])))

static void at_each_step_of_all(void (*what)(void))
{
	int i;

	for (i = 0; i < NUM_PLAYS; i++)
		at_each_step(what, plays[i]);
}

static void a_signal_at_each_step(void)
{
	at_each_step_of_all(a_signal);
}

static void a_fork_at_each_step(void)
{
	at_each_step_of_all(a_fork);
}

/* How a child is kept from waiting is up to the poll method. */
static void a_fork_with_each_method(void)
{
	at_each_step(a_fork, &served);
	at_each_step(a_fork, &idle);
}

/* ... with the other thread at each of its own. */
static void amid_a_post(void (*what)(void))
{
	happen = what;
	map_shared();
	for (hold_at = 1; !shared->is_over; hold_at++) {
		for (target = 1; step_of(&half_posted); target++)
			;
		check(target > 1);
	}
	check(hold_at > 4);
}

static void a_fork_amid_a_post(void)
{
	amid_a_post(a_fork);
}

static void a_signal_amid_a_post(void)
{
	amid_a_post(a_signal);
}

static void a_fork_at_each_step_of_a_poster(void)
{
	at_each_step(a_fork_of_the_loop, &posting);
}

/* The others of a loop that is cancelled would wait for it. */
static void a_cancellation_at_each_step(void)
{
	int i;

	for (i = 0; i < NUM_PLAYS; i++) {
		if (plays[i] != &served)
			at_each_step(a_cancellation, plays[i]);
	}
}

static void a_late_cancellation_at_each_step(void)
{
	static const struct play p = {
		.name = "posting asynchronously",
		.other = other_posts_asynchronously, .other_counts = 1,
	};

#if !defined(HAVE_LINUX)
	skip("the signal that cancels a thread is not known on this system");
#elif !defined(HAVE_RAW_WRITE)
	skip("the libc's write() waits for the signal that is held back here");
#endif
	happen_later = cancellation_arrives;
	for (later = 1; later <= 6; later++)
		at_each_step(a_late_cancellation, &p);
}

static void a_jump_at_each_step(void)
{
	static const struct play p = {
		.name = "a poster that is left",
		.other = other_is_left, .other_counts = 1,
	};

	at_each_step(a_jump, &p);
}

static atomic_int victim;

static void begin_killed_poster(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		counts = 1;
		pause_briefly();
		post_raw();
		pause_briefly();
		post_raw();
		_exit(0);
	}
	victim = pid;
}

/* Posts after a poster's death are heard. */
static void posts_later(void)
{
	int status;

	check_int(waitpid(victim, &status, 0), victim);
	other_posts();
}

/* The same after the death of a process that went on with the loop. */
static void begin_killed_loop(void)
{
	int status;
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		counts = 1;
		begin_own_posts();
		iv_main();
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	begin_own_posts();
}

static void a_poster_killed_at_each_step(void)
{
	static const struct play p = {
		.name = "killed",
		.begin = begin_killed_poster, .other = posts_later,
		.nobody_counts = 1,
	};

	at_each_step(a_kill, &p);
}

static void a_loop_killed_at_each_step(void)
{
	static const struct play p = {
		.name = "killed",
		.begin = begin_killed_loop, .nobody_counts = 1,
	};

	at_each_step(a_kill, &p);
}


/*
 * Threads and processes that post to a loop whose objects come and go, all of
 * them with pauses.  A handler sees what the poster of its call stored before,
 * and runs no more often than there were posts.
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

static void target_raw(void *_t)
{
	struct target *t = _t;

	atomic_store(&t->raw_seen, atomic_load(&t->raw_posts));
	check(++t->raw_runs <= t->raw_seen);
	begin_registering();
}

static void target_ev(void *_t)
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
	/* The last one, too. */
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

static void one_poster_less(void *cookie)
{
	struct target *t;

	(void)cookie;
	/* Posts coalesce, so the posters' counts are checked. */
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
	tell_fd = -1;
	targets = mmap(NULL, POSTERS * sizeof(*targets), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(targets != MAP_FAILED);
	iv_init();
	register_ev(&poster_ended, one_poster_less);
	for (i = 0; i < POSTERS; i++) {
		register_raw(&targets[i].raw, target_raw);
		targets[i].raw.cookie = &targets[i];
		register_ev(&targets[i].ev, target_ev);
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

static void with_seed(unsigned int seed, void (*run)(const struct play *),
		      const struct play *p)
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

static void run_crowd(const struct play *p)
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
		for (i = 0; i < NUM_PLAYS; i++) {
			memset(shared, 0, sizeof(*shared));
			with_seed(seed, play, plays[i]);
		}
		with_seed(seed, run_crowd, NULL);
	}
}

static const struct check_case cases[] = {
	{ "pauses by a seed", pauses_by_seed, EACH_BACKEND, 120 },
	{ "a signal whose handler posts, at each step", a_signal_at_each_step,
	  EACH_BACKEND, 60 },
	{ "... while another thread is in mid-post", a_signal_amid_a_post,
	  EACH_BACKEND, 60 },
	{ "a fork at each step", a_fork_at_each_step, EACH_BACKEND, 60 },
	{ "a loop forks at each step, with each poll method",
	  a_fork_with_each_method, EACH_METHOD, 60 },
	{ "a loop forks at each step, with another thread in mid-post",
	  a_fork_amid_a_post, EACH_BACKEND, 60 },
	{ "the loop's thread forks at each step of a poster",
	  a_fork_at_each_step_of_a_poster, EACH_BACKEND, 60 },
	{ "a cancellation at each step", a_cancellation_at_each_step,
	  EACH_BACKEND, 60 },
	{ "an asynchronous cancellation that arrives at a later step",
	  a_late_cancellation_at_each_step, EACH_BACKEND, 60 },
	{ "a poster left by siglongjmp at each step", a_jump_at_each_step,
	  EACH_BACKEND, 60 },
	{ "a poster killed at each step", a_poster_killed_at_each_step,
	  EACH_BACKEND, 60 },
	{ "a loop killed at each step", a_loop_killed_at_each_step,
	  EACH_BACKEND, 60 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

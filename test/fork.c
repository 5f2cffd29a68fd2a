/*
 * libivykis: a loop on both sides of a fork.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_fd_pump.h>
#include <iv_inotify.h>
#include <iv_signal.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

/* One object of each kind, and what of them was heard. */
enum {
	FD	= 1,
	TIMER	= 2,
	EVENT	= 4,
	RAW	= 8,
	ALL	= 15,
	SIGNAL	= 16,
};

struct world {
	int			pipe[2];
	struct iv_fd		fd;
	struct iv_timer		timer;
	struct iv_event		event;
	struct iv_event_raw	raw;
	struct iv_signal	sig;
	int			heard;
	int			awaited;
};

static void hear(struct world *w, int what)
{
	w->heard |= what;
	if ((w->heard & w->awaited) == w->awaited)
		iv_quit();
}

static void fd_heard(void *_w)
{
	struct world *w = _w;
	char byte;

	/* The other process may have been faster. */
	if (read(w->pipe[0], &byte, 1) == 1)
		hear(w, FD);
}

static void timer_heard(void *w)
{
	hear(w, TIMER);
}

static void event_heard(void *w)
{
	hear(w, EVENT);
}

static void raw_heard(void *w)
{
	hear(w, RAW);
}

static void signal_heard(void *w)
{
	hear(w, SIGNAL);
}

static void world_begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	check_int(pipe2(w->pipe, O_CLOEXEC), 0);

	IV_FD_INIT(&w->fd);
	w->fd.fd = w->pipe[0];
	w->fd.cookie = w;
	w->fd.handler_in = fd_heard;
	iv_fd_register(&w->fd);

	IV_TIMER_INIT(&w->timer);
	w->timer.cookie = w;
	w->timer.handler = timer_heard;

	IV_EVENT_INIT(&w->event);
	w->event.cookie = w;
	w->event.handler = event_heard;
	check_int(iv_event_register(&w->event), 0);

	IV_EVENT_RAW_INIT(&w->raw);
	w->raw.cookie = w;
	w->raw.handler = raw_heard;
	check_int(iv_event_raw_register(&w->raw), 0);
}

static void world_unregister(struct world *w)
{
	iv_fd_unregister(&w->fd);
	if (iv_timer_registered(&w->timer))
		iv_timer_unregister(&w->timer);
	iv_event_unregister(&w->event);
	iv_event_raw_unregister(&w->raw);
}

static void world_close(const struct world *w)
{
	close(w->pipe[0]);
	close(w->pipe[1]);
}

static void world_end(struct world *w)
{
	world_unregister(w);
	world_close(w);
}

static void set_timer(struct world *w, int ms)
{
	if (iv_timer_registered(&w->timer))
		iv_timer_unregister(&w->timer);
	iv_invalidate_now();
	w->timer.expires = iv_now;
	w->timer.expires.tv_nsec += ms * 1000000;
	iv_timer_register(&w->timer);
}

static void cause(struct world *w, int what)
{
	if (what & FD)
		check_int(write(w->pipe[1], "", 1), 1);
	if (what & EVENT)
		iv_event_post(&w->event);
	if (what & RAW)
		iv_event_raw_post(&w->raw);
}

static void await(struct world *w, int what)
{
	w->awaited = what;
	while ((w->heard & what) != what)
		iv_main();
	w->awaited = 0;
}

struct late {
	struct world	*w;
	int		what;
};

static void *cause_late(void *_l)
{
	struct late *l = _l;

	usleep(1000);
	cause(l->w, l->what);

	return NULL;
}

/* Most likely the loop sleeps when it happens. */
static void expect(struct world *w, int what)
{
	struct late l = { w, what };
	pthread_t t;

	w->heard = 0;
	if (what & TIMER)
		set_timer(w, 1);
	/* A handler may fork, and the child could not join the thread. */
	if (what == TIMER) {
		await(w, what);
		return;
	}
	check_int(pthread_create(&t, NULL, cause_late, &l), 0);
	await(w, what);
	check_int(pthread_join(t, NULL), 0);
}

static void expect_each(struct world *w)
{
	expect(w, FD);
	expect(w, TIMER);
	expect(w, EVENT);
	expect(w, RAW);
	expect(w, ALL);
}


/* The two processes take turns by a byte on a pair of pipes. */
struct turns {
	int	to_child[2];
	int	to_parent[2];
};

static void turns_begin(struct turns *t)
{
	check_int(pipe2(t->to_child, O_CLOEXEC), 0);
	check_int(pipe2(t->to_parent, O_CLOEXEC), 0);
}

static void turns_end(struct turns *t)
{
	close(t->to_child[0]);
	close(t->to_child[1]);
	close(t->to_parent[0]);
	close(t->to_parent[1]);
}

static void give(const int ends[2])
{
	check_int(write(ends[1], "", 1), 1);
}

static void take(const int ends[2])
{
	char byte;

	check_int(read(ends[0], &byte, 1), 1);
}

static pid_t (*fork_by)(void) = fork;

static pid_t fork_checked(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork_by();
	check(pid >= 0);

	return pid;
}


/* In what state the objects are that the child does something to. */
enum state {
	NEW,			/* inherited, of a loop that never ran */
	USED,			/* inherited, of one that has run */
	PENDING,		/* inherited, and about to be called */
	OWN,			/* registered by the child, beside USED ones */
	STATES,
};

static void bring_to(struct world *w, enum state state)
{
	if (state == NEW)
		return;
	expect_each(w);
	w->heard = 0;
	if (state == PENDING) {
		set_timer(w, 0);
		cause(w, FD | EVENT | RAW);
	}
}

/*
 * What the child does, and the wait status of a child that ends by that.  If it
 * leaves what is pending, the parent receives it.
 */
struct deed {
	void	(*fn)(struct world *w);
	int	takes;		/* what of the pending ones it takes */
	int	ends;		/* the child ends by it ... */
	int	status;		/* ... so */
};

/* Descriptors of this process when it began. */
static int begun_with;

static void child_part(struct world *w, const struct deed *deed,
		       const struct turns *t, enum state state)
{
	struct world own;

	if (state == OWN) {
		world_begin(&own);
		w = &own;
	}
	deed->fn(w);
	check(!deed->ends);
	give(t->to_parent);
	take(t->to_child);
	_exit(0);
}

static void parent_part(struct world *w, const struct deed *deed,
			const struct turns *t, enum state state, pid_t pid)
{
	siginfo_t info;

	if (deed->ends)
		check_int(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	else
		take(t->to_parent);
	if (state == PENDING)
		await(w, ALL & ~deed->takes);
	expect_each(w);
	give(t->to_child);
}

static void one_state(const struct deed *deed, enum state state)
{
	struct world w;
	struct turns t;
	pid_t pid;
	int status;

	begun_with = num_descriptors();
	iv_init();
	turns_begin(&t);
	world_begin(&w);
	bring_to(&w, state);
	pid = fork_checked();
	if (pid == 0)
		child_part(&w, deed, &t, state);
	parent_part(&w, deed, &t, state, pid);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, deed->status);
	expect_each(&w);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}

static void all_states(const struct deed *deed)
{
	int state;

	for (state = NEW; state < STATES; state++)
		one_state(deed, state);
}

static void do_nothing(struct world *w)
{
	(void)w;
}

static void idle_child(void)
{
	all_states(&(struct deed){ .fn = do_nothing });
}

static void do_unregister(struct world *w)
{
	world_unregister(w);
	run_iterations(1);
}

static void child_without_the_descriptor(void)
{
	struct world w;
	pid_t pid;

	memset(&w, 0, sizeof(w));
	check_int(pipe2(w.pipe, O_CLOEXEC), 0);
	iv_init();
	IV_FD_INIT(&w.fd);
	w.fd.fd = w.pipe[0];
	w.fd.cookie = &w;
	w.fd.handler_in = fd_heard;
	iv_fd_register(&w.fd);
	cause(&w, FD);
	await(&w, FD);

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		iv_fd_unregister(&w.fd);
		_exit(0);
	}
	check_child(pid);

	w.heard = 0;
	cause(&w, FD);
	await(&w, FD);
	iv_fd_unregister(&w.fd);
	world_close(&w);
	iv_deinit();
}

static void unregistering_child(void)
{
	all_states(&(struct deed){ .fn = do_unregister });
}

/* Linux before 4.14. */
static void unregistering_without_madvise(void)
{
	refuse("madvise", EINVAL);
	unregistering_child();
}

/* An emulator. */
static void unregistering_with_madvise_in_vain(void)
{
	refuse("madvise", 0);
	unregistering_child();
}

static void need_wiping(void)
{
	int *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int status;

	check(page != MAP_FAILED);
	*page = 1;
	/* Where the library asks for it. */
#ifdef HAVE_MADV_WIPEONFORK
	(void)madvise(page, sysconf(_SC_PAGESIZE), MADV_WIPEONFORK);
#endif
	pid = fork_checked();
	if (pid == 0)
		_exit(*page);
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0)
		skip("no memory is wiped on fork here");
	check_int(munmap(page, sizeof(*page)), 0);
}

/* No handler of pthread_atfork() is called. */
static void unregistering_child_of__Fork(void)
{
	need_wiping();
	fork_by = _Fork;
	unregistering_child();
}

/*
 * A handler of pthread_atfork() that is older than the library's first loop.
 * An object of iv_signal, once inherited, would be heard of no more.
 */
static struct world *atfork_world;

static void begin_anew(void)
{
	world_unregister(atfork_world);
	iv_deinit();
	iv_init();
	world_begin(atfork_world);
	atfork_world->sig.signum = SIGUSR1;
	atfork_world->sig.cookie = atfork_world;
	atfork_world->sig.handler = signal_heard;
	check_int(iv_signal_register(&atfork_world->sig), 0);
}

static void early_atfork(void)
{
	struct world w;
	pid_t pid;

	need_wiping();
	check_int(pthread_atfork(NULL, NULL, begin_anew), 0);
	iv_init();
	world_begin(&w);
	expect_each(&w);
	atfork_world = &w;
	pid = fork_checked();
	expect_each(&w);
	if (pid == 0) {
		check_int(raise(SIGUSR1), 0);
		await(&w, SIGNAL);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	world_end(&w);
	iv_deinit();
}

static void do_deinit(struct world *w)
{
	(void)w;
	iv_deinit();
}

static void deinit_child(void)
{
	all_states(&(struct deed){ .fn = do_deinit });
}

static void do_run(struct world *w)
{
	expect_each(w);
}

static void running_child(void)
{
	all_states(&(struct deed){ .fn = do_run, .takes = FD | RAW });
}

static void do_all(struct world *w)
{
	expect_each(w);
	world_unregister(w);
	world_begin(w);
	expect_each(w);
	iv_deinit();
	iv_init();
	world_begin(w);
	expect_each(w);
	world_end(w);
	iv_main();
	iv_deinit();
}

static void versatile_child(void)
{
	all_states(&(struct deed){ .fn = do_all, .takes = FD | RAW });
}

static void do_change_handlers(struct world *w)
{
	iv_fd_set_handler_in(&w->fd, NULL);
	iv_fd_set_handler_err(&w->fd, fd_heard);
	iv_event_raw_unregister(&w->raw);
	expect(w, TIMER);
	expect(w, EVENT);
	iv_fd_set_handler_out(&w->fd, fd_heard);
	expect(w, TIMER);
}

static void changing_child(void)
{
	all_states(&(struct deed){ .fn = do_change_handlers });
}

static void do_register(struct world *w)
{
	struct world own;

	(void)w;
	world_begin(&own);
	/* The inherited raw event may be served, too. */
	expect_each(&own);
	world_end(&own);
}

static void registering_child(void)
{
	all_states(&(struct deed){ .fn = do_register, .takes = FD | RAW });
}

static void do_post(struct world *w)
{
	int i;

	for (i = 0; i < 1000; i++)
		iv_event_raw_post(&w->raw);
	/* This one is nobody's business but the child's. */
	for (i = 0; i < 1000; i++)
		iv_event_post(&w->event);
}

static void posting_child(void)
{
	struct world w;
	pid_t pid;

	iv_init();
	world_begin(&w);
	pid = fork_checked();
	if (pid == 0) {
		do_post(&w);
		_exit(0);
	}
	check_child(pid);
	await(&w, RAW);
	expect(&w, TIMER);
	check_int(w.heard & EVENT, 0);
	world_end(&w);
	iv_deinit();

	all_states(&(struct deed){ .fn = do_post });
}

static void do_post_and_die(struct world *w)
{
	do_post(w);
	raise(SIGKILL);
}

static void do_run_and_die(struct world *w)
{
	expect_each(w);
	do_post_and_die(w);
}

static void killed_child(void)
{
	all_states(&(struct deed){ .fn = do_post_and_die, .ends = 1,
				   .status = SIGKILL });
	all_states(&(struct deed){ .fn = do_run_and_die, .takes = FD | RAW,
				   .ends = 1, .status = SIGKILL });
}

static void run_until_killed(struct world *w, int i)
{
	struct world own;

	if (i % 3 == 0) {
		world_begin(&own);
		for (;;)
			expect(&own, ALL);
	}
	for (;;)
		expect(w, i % 3 == 1 ? TIMER : EVENT);
}

/* Wherever its loop is. */
static void killed_at_random(void)
{
	struct world w;
	pid_t pid;
	int i;

	iv_init();
	world_begin(&w);
	for (i = 0; i < 30; i++) {
		pid = fork_checked();
		if (pid == 0)
			run_until_killed(&w, i);
		usleep(i * 100);
		check_int(kill(pid, SIGKILL), 0);
		check_int(waitpid(pid, NULL, 0), pid);
		expect_each(&w);
	}
	world_end(&w);
	iv_deinit();
}


/* It has as many descriptors as the case began with. */
static void execute(void)
{
	static char self[] = "/proc/self/exe";
	static char num[16];
	char *argv[] = { self, "executed", num, NULL };

	snprintf(num, sizeof(num), "%d", begun_with);
	execv(self, argv);
	_exit(1);
}

static int executed(const char *descriptors)
{
	return num_descriptors() == atoi(descriptors) ? 0 : 1;
}

static void do_execute(struct world *w)
{
	(void)w;
	execute();
}

static void do_run_and_execute(struct world *w)
{
	expect_each(w);
	execute();
}

static void exec_child(void)
{
	need_self_exec();
	all_states(&(struct deed){ .fn = do_execute, .ends = 1 });
	all_states(&(struct deed){ .fn = do_run_and_execute,
				   .takes = FD | RAW, .ends = 1 });
}

/* The child has the parent's very memory. */
static void exec_after_vfork(void)
{
	struct world w;
	pid_t pid;
	int state;

	need_self_exec();
	begun_with = num_descriptors();
	for (state = NEW; state < OWN; state++) {
		iv_init();
		world_begin(&w);
		bring_to(&w, state);
		pid = vfork();
		if (pid == 0)
			execute();
		check(pid > 0);
		if (state == PENDING)
			await(&w, ALL);
		expect_each(&w);
		check_child(pid);
		expect_each(&w);
		world_end(&w);
		iv_deinit();
	}
}


/* In the first child: register, fork, leave. */
static void daemonise(enum state state, const struct turns *t)
{
	int before = num_descriptors();
	struct world w;

	iv_init();
	world_begin(&w);
	bring_to(&w, state);
	if (fork_checked() != 0)
		_exit(0);

	take(t->to_child);
	if (state == PENDING)
		await(&w, ALL);
	expect_each(&w);
	world_end(&w);
	iv_deinit();
	check_int(num_descriptors(), before);
	_exit(0);
}

static void daemon_in_state(enum state state)
{
	struct turns t;
	pid_t pid;
	int status;

	turns_begin(&t);
	pid = fork_checked();
	if (pid == 0)
		daemonise(state, &t);
	check_child(pid);
	give(t.to_child);
	/* Now that its parent is gone, the daemon is our child. */
	check(wait(&status) > 0);
	check_int(status, 0);
	turns_end(&t);
}

static void daemon_child(void)
{
	int state;

	need_orphans();
	for (state = NEW; state < OWN; state++)
		daemon_in_state(state);
}


static void do_nothing_then_fork(struct world *w)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		expect_each(w);
		world_end(w);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
}

static void run_then_fork(struct world *w)
{
	expect_each(w);
	do_nothing_then_fork(w);
	expect_each(w);
}

static void grandchildren(void)
{
	all_states(&(struct deed){ .fn = do_nothing_then_fork, .takes = FD | RAW });
	all_states(&(struct deed){ .fn = run_then_fork, .takes = FD | RAW });
}


/* Both run the loop at the same time, with what is not shared by nature. */
static void run_many(struct world *w)
{
	int i;

	for (i = 0; i < 200; i++) {
		expect(w, EVENT);
		if (i % 8 == 0)
			expect(w, EVENT | TIMER);
	}
}

/* ... and with all there is, once the child has left what it inherited. */
static void run_separately(struct world *w, pid_t pid)
{
	int i;

	if (pid == 0) {
		world_unregister(w);
		world_begin(w);
	}
	for (i = 0; i < 100; i++)
		expect_each(w);
	if (pid == 0)
		world_unregister(w);
}

static void both_run_separately(void)
{
	struct world w;
	pid_t pid;

	iv_init();
	world_begin(&w);
	expect_each(&w);
	pid = fork_checked();
	run_separately(&w, pid);
	if (pid == 0)
		_exit(0);
	check_child(pid);
	expect_each(&w);
	world_end(&w);
	iv_deinit();
}

static void both_run(void)
{
	struct world w;
	struct turns t;
	pid_t pid;

	iv_init();
	turns_begin(&t);
	world_begin(&w);
	expect_each(&w);
	pid = fork_checked();
	if (pid == 0) {
		give(t.to_parent);
		run_many(&w);
		_exit(0);
	}
	take(t.to_parent);
	run_many(&w);
	check_child(pid);
	expect_each(&w);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}


#define MOST_DESCRIPTORS	64

/* Does the number here stand for what some number stands for in the child? */
static int is_shared(pid_t child, int fd)
{
	int other;

	for (other = 0; other < MOST_DESCRIPTORS; other++) {
		if (is_same_file(child, fd, other))
			return 1;
	}

	return 0;
}

/* The caller's: those of the world, and of the turns. */
static int is_ours(int fd, const struct world *w, const struct turns *t)
{
	return fd <= STDERR_FILENO ||
	       fd == w->pipe[0] || fd == w->pipe[1] ||
	       fd == w->raw.event_rfd.fd || fd == w->raw.event_wfd ||
	       fd == t->to_child[0] || fd == t->to_child[1] ||
	       fd == t->to_parent[0] || fd == t->to_parent[1];
}

/*
 * What the library waits by and wakes its loops by is not shared: a wakeup of
 * the one could be drained by the other.
 */
static void own_descriptors(void)
{
	struct world w;
	struct turns t;
	pid_t pid;
	int found = 0;
	int fd;

	iv_init();
	turns_begin(&t);
	world_begin(&w);
	expect_each(&w);
	pid = fork_checked();
	if (pid == 0) {
		expect(&w, TIMER);
		give(t.to_parent);
		take(t.to_child);
		_exit(0);
	}
	take(t.to_parent);
	for (fd = 0; fd < MOST_DESCRIPTORS; fd++) {
		if (fcntl(fd, F_GETFD) < 0 || is_ours(fd, &w, &t))
			continue;
		found++;
		check_int(is_shared(pid, fd) ? fd : -1, -1);
	}
	check(found > 0);
	check(is_shared(pid, w.raw.event_wfd));
	give(t.to_child);
	check_child(pid);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}


static struct iv_task busy_task;

static void be_busy(void *unused)
{
	(void)unused;
	iv_task_register(&busy_task);
}

/* A child that never sleeps has no reason to wake up by the parent's posts. */
static void busy_child(void)
{
	struct world w;
	struct turns t;
	pid_t pid;
	int i;

	iv_init();
	turns_begin(&t);
	world_begin(&w);
	expect_each(&w);
	pid = fork_checked();
	if (pid == 0) {
		IV_TASK_INIT(&busy_task);
		busy_task.handler = be_busy;
		iv_task_register(&busy_task);
		give(t.to_parent);
		iv_main();
		_exit(1);
	}
	take(t.to_parent);
	for (i = 0; i < 100; i++)
		expect(&w, EVENT);
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
	expect_each(&w);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}


/* A timer descriptor that is armed belongs to the parent alone. */
static void wait_often(struct world *w)
{
	int i;

	for (i = 0; i < 20; i++)
		expect(w, RAW);
}

static void arm(struct world *w)
{
	int ms;

	/* On a slow machine it is over before it has been waited for often. */
	for (ms = 100; !iv_timer_registered(&w->timer); ms *= 2) {
		set_timer(w, ms);
		wait_often(w);
	}
	w->heard = 0;
}

static void armed_timer(void)
{
	struct world w;
	pid_t pid;

	iv_init();
	world_begin(&w);
	arm(&w);
	pid = fork_checked();
	if (pid == 0) {
		w.awaited = TIMER;
		iv_main();
		iv_deinit();
		_exit(0);
	}
	await(&w, TIMER);
	check_child(pid);

	arm(&w);
	pid = fork_checked();
	if (pid == 0) {
		world_unregister(&w);
		iv_main();
		_exit(0);
	}
	check_child(pid);
	await(&w, TIMER);
	world_end(&w);
	iv_deinit();
}


/* Objects registered after the fork have nothing to do with each other. */
#define GROUP	40

struct group {
	struct iv_event_raw	a[GROUP];
	int			calls;
};

static void count(void *_p)
{
	struct group *p = _p;

	if (++p->calls == GROUP)
		iv_quit();
}

static void register_group(struct group *p)
{
	int i;

	p->calls = 0;
	for (i = 0; i < GROUP; i++) {
		IV_EVENT_RAW_INIT(&p->a[i]);
		p->a[i].cookie = p;
		p->a[i].handler = count;
		check_int(iv_event_raw_register(&p->a[i]), 0);
	}
}

static void post_group(struct group *p)
{
	int i;

	for (i = 0; i < GROUP; i++)
		iv_event_raw_post(&p->a[i]);
}

static void hear_group(struct group *p)
{
	while (p->calls < GROUP)
		iv_main();
	check_int(p->calls, GROUP);
}

static void unregister_group(struct group *p)
{
	int i;

	for (i = 0; i < GROUP; i++)
		iv_event_raw_unregister(&p->a[i]);
}

static void groups_after_fork(void)
{
	struct group p;
	struct turns t;
	pid_t pid;

	turns_begin(&t);
	pid = fork_checked();
	register_group(&p);
	if (pid == 0) {
		post_group(&p);
		give(t.to_parent);
		take(t.to_child);
		hear_group(&p);
		unregister_group(&p);
		_exit(0);
	}
	take(t.to_parent);
	/* The child's posts are pending, and are not ours. */
	post_group(&p);
	hear_group(&p);
	give(t.to_child);
	check_child(pid);
	unregister_group(&p);
	turns_end(&t);
}

static void both_register(void)
{
	struct world w;

	iv_init();
	groups_after_fork();
	iv_deinit();

	/* With words in use that were handed out before the fork. */
	iv_init();
	world_begin(&w);
	iv_event_unregister(&w.event);
	iv_event_register(&w.event);
	expect_each(&w);
	groups_after_fork();
	expect_each(&w);
	world_end(&w);
	iv_deinit();
}

/* As the first process of a namespace, whose child is so in its own. */
static void first_of_namespace(void)
{
	struct world w;

	check_int(getpid(), 1);
	iv_init();
	world_begin(&w);
	begin_process_namespace();
	groups_after_fork();
	world_end(&w);
	iv_deinit();
}

static void equal_process_ids(void)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		begin_process_namespace();
		pid = fork_checked();
		if (pid == 0) {
			first_of_namespace();
			_exit(0);
		}
		check_child(pid);
		_exit(0);
	}
	check_child(pid);
}


/* Fork in each kind of handler; both sides return into their loops. */
static pid_t forked;

static void fork_here(void *unused)
{
	(void)unused;
	if (forked < 0)
		forked = fork_checked();
	iv_quit();
}

static void fork_in(int what)
{
	struct world w, f;

	forked = -1;
	iv_init();
	world_begin(&w);
	world_begin(&f);
	iv_fd_set_handler_in(&f.fd, fork_here);
	f.timer.handler = f.event.handler = f.raw.handler = fork_here;
	cause(&w, EVENT);
	cause(&f, what);
	if (what == TIMER)
		set_timer(&f, 0);
	while (forked < 0)
		iv_main();
	iv_fd_unregister(&f.fd);
	iv_fd_register(&f.fd);
	iv_fd_set_handler_in(&f.fd, NULL);

	if (forked > 0)
		check_child(forked);
	await(&w, EVENT);
	expect_each(&w);
	world_end(&w);
	world_end(&f);
	iv_deinit();
	if (forked == 0)
		_exit(0);
}

static void fork_in_handlers(void)
{
	fork_in(FD);
	fork_in(TIMER);
	fork_in(EVENT);
	fork_in(RAW);
}


/*
 * The parent stays in a handler, awake, and posts from there.  A child that
 * goes on with the loop receives the post that was pending when it was forked,
 * and those that are made once its loop runs.
 */
#define BUSY_POSTS	3

struct busy_parent {
	struct world	w;
	struct turns	t;
};

static void post_fork_and_post(void *_b)
{
	struct busy_parent *b = _b;
	int i;

	iv_event_raw_post(&b->w.raw);
	forked = fork_checked();
	if (forked == 0)
		return;
	for (i = 0; i < BUSY_POSTS; i++) {
		take(b->t.to_parent);
		iv_event_raw_post(&b->w.raw);
	}
	check_child(forked);
	iv_event_raw_post(&b->w.raw);
}

static void child_of_busy_parent(void)
{
	struct busy_parent b;
	struct iv_task task;
	int i;

	iv_init();
	turns_begin(&b.t);
	world_begin(&b.w);
	IV_TASK_INIT(&task);
	task.cookie = &b;
	task.handler = post_fork_and_post;
	iv_task_register(&task);
	await(&b.w, RAW);
	for (i = 0; forked == 0 && i < BUSY_POSTS; i++) {
		b.w.heard = 0;
		give(b.t.to_parent);
		await(&b.w, RAW);
	}
	if (forked == 0)
		_exit(0);
	expect_each(&b.w);
	world_end(&b.w);
	turns_end(&b.t);
	iv_deinit();
}


static void *thread_that_forks(void *unused)
{
	struct world w;
	pid_t pid = fork_checked();

	if (pid == 0) {
		iv_init();
		world_begin(&w);
		expect_each(&w);
		_exit(0);
	}
	check_child(pid);

	return unused;
}

static void fork_without_loop(void)
{
	struct world w;
	pthread_t t;

	iv_init();
	world_begin(&w);
	expect_each(&w);
	check_int(pthread_create(&t, NULL, thread_that_forks, NULL), 0);
	check_int(pthread_join(t, NULL), 0);
	expect_each(&w);
	world_end(&w);
	iv_deinit();
}

/* A handler forks, and the child posts and unregisters what comes next. */
static struct iv_event queued;
static int queued_calls;

static void count_queued(void *unused)
{
	(void)unused;
	queued_calls++;
}

static void fork_and_unregister(void *unused)
{
	(void)unused;
	forked = fork_checked();
	if (forked > 0)
		return;
	iv_event_post(&queued);
	iv_event_unregister(&queued);
}

static void queued_during_fork(void)
{
	struct iv_event first;

	iv_init();
	IV_EVENT_INIT(&first);
	first.handler = fork_and_unregister;
	check_int(iv_event_register(&first), 0);
	IV_EVENT_INIT(&queued);
	queued.handler = count_queued;
	check_int(iv_event_register(&queued), 0);
	iv_event_post(&first);
	iv_event_post(&queued);
	run_iterations(3);
	iv_event_unregister(&first);
	check_int(queued_calls, forked > 0);
	if (forked == 0)
		_exit(0);
	iv_event_unregister(&queued);
	check_child(forked);
	iv_deinit();
}

/* It leaves a hole in the queue, before the fork. */
static void unregistered_as_posted(void)
{
	struct world w, f;
	pid_t pid;

	iv_init();
	world_begin(&w);
	world_begin(&f);
	expect_each(&w);
	w.heard = 0;
	cause(&f, EVENT);
	cause(&w, EVENT);
	iv_event_unregister(&f.event);

	pid = fork_checked();
	await(&w, EVENT);
	expect(&w, EVENT);
	check_int(f.heard, 0);
	if (pid == 0)
		_exit(0);
	check_child(pid);
	check_int(iv_event_register(&f.event), 0);
	expect_each(&f);
	world_end(&f);
	world_end(&w);
	iv_deinit();
}

static void run_without_wake(void)
{
	refuse("eventfd2", EMFILE);
	refuse("eventfd", EMFILE);
	refuse("pipe2", EMFILE);
	refuse("pipe", EMFILE);
	iv_main();
}

static void no_wake_in_child(void)
{
	struct world w;

	iv_init();
	world_begin(&w);
	check_fatal(run_without_wake, "iv_main: no descriptor to wake the loop "
		    "after fork: ");
	world_end(&w);
	iv_deinit();
}

static void register_at_limit(struct world *w)
{
	int needs_one = variant_is_epoll() || variant_is_uring();
	int former = limit_descriptors(0);

	if (needs_one)
		check_errno(iv_fd_register_try(&w->fd), EMFILE);
	iv_fd_register(&w->fd);
	limit_descriptors(former);
	cause(w, FD);
	await(w, FD);
	_exit(0);
}

static void limit_in_child(void)
{
	struct world w;
	pid_t pid;

	iv_init();
	world_begin(&w);
	iv_fd_unregister(&w.fd);
	pid = fork_checked();
	if (pid == 0)
		register_at_limit(&w);
	check_child(pid);
	iv_fd_register(&w.fd);
	expect_each(&w);
	world_end(&w);
	iv_deinit();
}


/*
 * A child closes all that it inherited and opens other descriptors, of which it
 * has one under each number that the library has noted.
 */
#define STRANGERS	60

struct household {
	int			pipe[2];
	int			pair[2];
	struct iv_fd		fd;
	struct iv_timer		timer;
	struct iv_inotify	in;
	struct iv_inotify_watch	watch;
	struct iv_fd_pump	pump;
	struct iv_event		event;
	struct iv_event_raw	raw;
	struct iv_signal	sig;
	int			heard;
};

static void household_heard(void *_h)
{
	struct household *h = _h;
	char c;

	if (read(h->pipe[0], &c, 1) == 1)
		h->heard++;
	iv_quit();
}

static void household_posted(void *_h)
{
	struct household *h = _h;

	h->heard++;
	iv_quit();
}

static void never(void *unused)
{
	(void)unused;
	check(0);
}

static void no_bands(void *unused, int pollin, int pollout)
{
	(void)unused;
	(void)pollin;
	(void)pollout;
}

static void household_watch(struct household *h)
{
	check_int(pipe(h->pipe), 0);
	IV_FD_INIT(&h->fd);
	h->fd.fd = h->pipe[0];
	h->fd.cookie = h;
	h->fd.handler_in = household_heard;
	iv_fd_register(&h->fd);
}

static void household_hear(struct household *h)
{
	h->heard = 0;
	check_int(write(h->pipe[1], "", 1), 1);
	iv_main();
	check_int(h->heard, 1);
}

/* A pump that holds a byte in a pipe. */
static void household_pump(struct household *h)
{
	int full[2];

	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, h->pair), 0);
	check_int(fcntl(h->pair[0], F_SETFL, O_NONBLOCK), 0);
	check_int(pipe2(full, O_NONBLOCK), 0);
	while (write(full[1], "full", 4) > 0)
		;
	check_int(write(h->pair[1], "", 1), 1);
	IV_FD_PUMP_INIT(&h->pump);
	h->pump.from_fd = h->pair[0];
	h->pump.to_fd = full[1];
	h->pump.set_bands = no_bands;
	iv_fd_pump_init(&h->pump);
	check_int(iv_fd_pump_pump(&h->pump), 1);
	close(full[0]);
	close(full[1]);
}

#if HAS_INOTIFY
static void never_event(void *unused, struct inotify_event *event)
{
	(void)unused;
	(void)event;
	check(0);
}

static void household_watch_files(struct household *h)
{
	IV_INOTIFY_INIT(&h->in);
	check_int(iv_inotify_register(&h->in), 0);
	IV_INOTIFY_WATCH_INIT(&h->watch);
	h->watch.inotify = &h->in;
	h->watch.pathname = "/";
	h->watch.mask = IN_ATTRIB;
	h->watch.handler = never_event;
	check_int(iv_inotify_watch_register(&h->watch), 0);
}
#else
static void household_watch_files(struct household *h)
{
	(void)h;
}
#endif

static void household_begin(struct household *h)
{
	int i;

	iv_init();
	memset(h, 0, sizeof(*h));
	household_watch(h);
	household_pump(h);
	household_watch_files(h);

	IV_EVENT_INIT(&h->event);
	h->event.handler = never;
	check_int(iv_event_register(&h->event), 0);
	IV_EVENT_RAW_INIT(&h->raw);
	h->raw.handler = never;
	check_int(iv_event_raw_register(&h->raw), 0);
	IV_SIGNAL_INIT(&h->sig);
	h->sig.signum = SIGUSR1;
	h->sig.handler = never;
	check_int(iv_signal_register(&h->sig), 0);

	/* A limit that many waits have in common, which a timerfd sets. */
	IV_TIMER_INIT(&h->timer);
	h->timer.expires = iv_now;
	h->timer.expires.tv_sec += 10000;
	h->timer.handler = never;
	iv_timer_register(&h->timer);
	for (i = 0; i < 20; i++)
		household_hear(h);
}

static void household_unregister_events(struct household *h)
{
	iv_event_unregister(&h->event);
	iv_event_raw_unregister(&h->raw);
	iv_signal_unregister(&h->sig);
}

static void household_unregister(struct household *h)
{
	household_unregister_events(h);
	iv_fd_unregister(&h->fd);
	iv_fd_pump_destroy(&h->pump);
	if (HAS_INOTIFY) {
		iv_inotify_watch_unregister(&h->watch);
		iv_inotify_unregister(&h->in);
	}
	iv_timer_unregister(&h->timer);
}

static void household_end(struct household *h)
{
	household_unregister(h);
	iv_deinit();
	close(h->pipe[0]);
	close(h->pipe[1]);
	close(h->pair[0]);
	close(h->pair[1]);
}

static int stranger_epoll(void)
{
	return open_epoll(-1);
}

static int stranger_eventfd(void)
{
	return open_eventfd(1);
}

static int stranger_inotify(void)
{
#if HAS_INOTIFY
	int fd = inotify_init1(IN_NONBLOCK);

	check(inotify_add_watch(fd, "/", IN_ATTRIB) >= 0);

	return fd;
#else
	errno = ENOSYS;

	return -1;
#endif
}

static int stranger_pipe(void)
{
	int fd[2];
	int ret;

	check_int(pipe2(fd, O_NONBLOCK), 0);
	check_int(write(fd[1], "x", 1), 1);
	ret = fcntl(fd[0], F_DUPFD, 100);
	close(fd[0]);
	close(fd[1]);

	return ret;
}

static int stranger_none(void)
{
	return -1;
}

static int (*const strangers[])(void) = {
	stranger_none, stranger_epoll, stranger_eventfd, open_timerfd,
	stranger_inotify, stranger_pipe,
};

#define NUM_STRANGERS	((int)(sizeof(strangers) / sizeof(strangers[0])))

/*
 * An open file of its own for each number; ours have no close-on-exec.  0 if
 * the system has no such files.
 */
static int strangers_come(int (*stranger)(void))
{
	int fd;

	for (fd = STDERR_FILENO + 1; fd < MOST_DESCRIPTORS; fd++)
		close(fd);
	if (stranger == stranger_none)
		return 1;

	for (fd = STDERR_FILENO + 1; fd < STRANGERS; fd++) {
		int new = stranger();

		if (new < 0 && errno == ENOSYS)
			return 0;
		check(new >= 0);
		if (new == fd)
			continue;
		check_int(dup2(new, fd), fd);
		close(new);
	}

	return 1;
}

/* What could be read from them is left: 1 from an eventfd, and so on. */
static void strangers_are_left_alone(int (*stranger)(void))
{
	uint64_t buf;
	int fd;

	if (stranger == stranger_none)
		return;

	for (fd = STDERR_FILENO + 1; fd < STRANGERS; fd++) {
		check_int(fcntl(fd, F_GETFD), 0);
		if (stranger == stranger_eventfd) {
			check_int(read(fd, &buf, sizeof(buf)), sizeof(buf));
			check(buf == 1);
		} else if (stranger == open_timerfd) {
			check_int(read(fd, &buf, sizeof(buf)), sizeof(buf));
		} else if (stranger == stranger_pipe) {
			check_int(read(fd, &buf, sizeof(buf)), 1);
		}
#if HAS_INOTIFY
		if (stranger == stranger_inotify)
			check_int(inotify_rm_watch(fd, 1), 0);
#endif
	}
}

static void lost_and_unregistered(struct household *h)
{
	household_unregister(h);
	iv_deinit();
}

static void lost_and_deinit(struct household *h)
{
	iv_event_raw_unregister(&h->raw);
	iv_signal_unregister(&h->sig);
	iv_timer_unregister(&h->timer);
	iv_deinit();
}

/* What the user closed is the user's to unregister. */
static void lost_and_run(struct household *h)
{
	struct household second = { .heard = 0 };
	int i;

	iv_fd_unregister(&h->fd);
	household_watch(&second);
	for (i = 0; i < 20; i++)
		household_hear(&second);
	h->raw.handler = household_posted;
	h->raw.cookie = h;
	h->heard = 0;
	iv_event_raw_post(&h->raw);
	iv_main();
	check_int(h->heard, 1);
	if (HAS_INOTIFY)
		check_errno(iv_inotify_watch_register(&h->watch), EBADF);
	iv_fd_unregister(&second.fd);
	close(second.pipe[0]);
	close(second.pipe[1]);
	household_unregister_events(h);
	iv_fd_pump_destroy(&h->pump);
	if (HAS_INOTIFY)
		iv_inotify_unregister(&h->in);
	iv_timer_unregister(&h->timer);
	iv_deinit();
}

/* Closed, and not unregistered. */
static void lost_and_forgotten(struct household *h)
{
	if (fcntl(h->fd.fd, F_GETFD) < 0)
		run_iterations(5);
	household_unregister(h);
	iv_deinit();
}

static void after_loss(void (*deed)(struct household *h))
{
	struct household h;
	int i;

	for (i = 0; i < NUM_STRANGERS; i++) {
		pid_t pid;

		if (strangers[i] == stranger_eventfd && variant_is_pipe())
			continue;
		household_begin(&h);
		pid = fork_checked();
		if (pid == 0) {
			int before;

			if (!strangers_come(strangers[i]))
				_exit(0);
			before = num_descriptors();
			deed(&h);
			check_int(num_descriptors(), before);
			strangers_are_left_alone(strangers[i]);
			_exit(0);
		}
		check_child(pid);
		household_hear(&h);
		household_end(&h);
	}
}

static void need_labels(void)
{
#ifndef HAVE_F_SETSIG
	skip("the library was built without labels of descriptors (F_SETSIG)");
#endif
}

static void child_that_closed_all(void)
{
	need_labels();
	after_loss(lost_and_unregistered);
	after_loss(lost_and_deinit);
	after_loss(lost_and_run);
	after_loss(lost_and_forgotten);
}

/* One child's loop has an object that was prepared; the other gives it up. */
static struct iv_event_raw prepared;
static int num_heard;

static void prepared_heard(void *unused)
{
	(void)unused;
	num_heard++;
	iv_quit();
}

static void adopt_prepared(void)
{
	iv_init();
	check_int(iv_event_raw_adopt(&prepared), 0);
	iv_event_raw_post(&prepared);
	iv_main();
	check_int(num_heard, 1);
	_exit(0);
}

static void sibling_gives_up(void)
{
	const int ends = variant_is_pipe() ? 2 : 1;
	struct turns t;
	int before;
	pid_t pid[2];

	IV_EVENT_RAW_INIT(&prepared);
	prepared.handler = prepared_heard;
	check_int(iv_event_raw_prepare(&prepared), 0);
	turns_begin(&t);
	pid[0] = fork_checked();
	if (pid[0] == 0) {
		take(t.to_child);
		before = num_descriptors();
		iv_event_raw_unregister(&prepared);
		check_int(num_descriptors(), before - ends);
		_exit(0);
	}
	pid[1] = fork_checked();
	if (pid[1] == 0)
		adopt_prepared();
	check_child(pid[1]);
	give(t.to_child);
	check_child(pid[0]);
	iv_event_raw_unregister(&prepared);
	turns_end(&t);
}

/* What the loop opens in the child has the number of what was closed. */
static void closed_number_is_the_loops(void)
{
	struct household h;
	pid_t pid;

	check_int(pipe(h.pipe), 0);
	iv_init();
	IV_FD_INIT(&h.fd);
	h.fd.fd = h.pipe[0];
	h.fd.handler_in = never;
	iv_fd_register(&h.fd);
	run_iterations(1);

	pid = fork_checked();
	if (pid == 0) {
		strangers_come(stranger_none);
		run_iterations(5);
		iv_fd_unregister(&h.fd);
		run_iterations(5);
		iv_deinit();
		check_int(lowest_descriptor(), STDERR_FILENO + 1);
		_exit(0);
	}
	check_child(pid);
	iv_fd_unregister(&h.fd);
	close(h.pipe[0]);
	close(h.pipe[1]);
	iv_deinit();
}

static void child_of__Fork_that_closed_all(void)
{
	need_labels();
	need_wiping();
	fork_by = _Fork;
	child_that_closed_all();
}


/*
 * Threads of the child post while its loop finds out about the fork.  With
 * pauses between the library's steps a post takes ten times as long.
 */
#ifdef IV_STEPS
#define EVENTS	2000
#else
#define EVENTS	50000
#endif

static struct iv_event events[EVENTS];
static int num_events;
static atomic_int stop;
static int event_calls;
static int fork_at_call;

/* The posters are busiest while their events are being served. */
static void count_event(void *unused)
{
	(void)unused;
	if (++event_calls == fork_at_call)
		forked = fork_checked();
}

static void register_events(int num)
{
	int i;

	num_events = num;
	for (i = 0; i < num_events; i++) {
		IV_EVENT_INIT(&events[i]);
		events[i].handler = count_event;
		check_int(iv_event_register(&events[i]), 0);
	}
}

static void unregister_events(void)
{
	int i;

	for (i = 0; i < num_events; i++)
		iv_event_unregister(&events[i]);
}

static void *post_events(void *_turns)
{
	struct turns *t = _turns;
	unsigned int i = 0;

	if (t != NULL)
		give(t->to_parent);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		iv_event_post(&events[i++ % num_events]);

	return NULL;
}

static void child_with_thread(struct world *w)
{
	struct turns t;
	pthread_t thread;

	turns_begin(&t);
	check_int(pthread_create(&thread, NULL, post_events, &t), 0);
	take(t.to_parent);
	expect(w, TIMER);
	stop = 1;
	check_int(pthread_join(thread, NULL), 0);
	expect(w, EVENT);
	unregister_events();
	world_unregister(w);
	_exit(0);
}

static void threads_of_child(void)
{
	struct world w;
	pid_t pid;
	int i;

	iv_init();
	world_begin(&w);
	register_events(256);
	expect_each(&w);
	for (i = 0; i < 200; i++) {
		pid = fork_checked();
		if (pid == 0)
			child_with_thread(&w);
		check_child(pid);
	}
	unregister_events();
	world_end(&w);
	iv_deinit();
}

/* Every event receives a post that the child makes. */
static void child_of_threads(struct world *w)
{
	int i;

	expect(w, TIMER);
	event_calls = 0;
	for (i = 0; i < EVENTS; i++)
		iv_event_post(&events[i]);
	while (event_calls < EVENTS)
		expect(w, TIMER);
	unregister_events();
	world_unregister(w);
	_exit(0);
}

static void threads_of_parent(void)
{
	struct world w;
	pthread_t t;
	int i;

	iv_init();
	world_begin(&w);
	register_events(EVENTS);
	expect_each(&w);
	check_int(pthread_create(&t, NULL, post_events, NULL), 0);
	for (i = 0; i < 80; i++) {
		event_calls = 0;
		forked = -1;
		fork_at_call = EVENTS / 2 + i;
		while (forked < 0)
			expect(&w, TIMER);
		fork_at_call = 0;
		if (forked == 0)
			child_of_threads(&w);
		check_child(forked);
	}
	stop = 1;
	check_int(pthread_join(t, NULL), 0);
	expect(&w, TIMER);
	unregister_events();
	world_end(&w);
	iv_deinit();
}

/* Whatever the threads are doing when it forks, the child waits for none. */
static void *come_and_go(void *unused)
{
	struct group p;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		iv_init();
		register_group(&p);
		unregister_group(&p);
		iv_deinit();
	}

	return unused;
}

static void use_new_group(void)
{
	struct group p;

	register_group(&p);
	post_group(&p);
	hear_group(&p);
	unregister_group(&p);
}

static void fork_amid_registrations(void)
{
	pthread_t t[2];
	pid_t pid;
	int i;

	skip_under(MEMCHECK, "calls lost what such threads leave in a child");
	skip_under(ASAN | TSAN, "leaves its malloc locked in some children");
	iv_init();
	for (i = 0; i < 2; i++)
		check_int(pthread_create(&t[i], NULL, come_and_go, NULL), 0);
	for (i = 0; i < 300; i++) {
		pid = fork_checked();
		if (pid == 0) {
			use_new_group();
			iv_deinit();
			iv_init();
			use_new_group();
			_exit(0);
		}
		check_child(pid);
		use_new_group();
	}
	stop = 1;
	for (i = 0; i < 2; i++)
		check_int(pthread_join(t[i], NULL), 0);
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "a child that does nothing leaves the parent all its events",
	  idle_child, EACH, 0 },
	{ "a child that unregisters a descriptor leaves the parent its own",
	  child_without_the_descriptor, EACH_METHOD, 0 },
	{ "a child that unregisters leaves the parent all its events",
	  unregistering_child, EACH, 0 },
	{ "... even if madvise fails",
	  unregistering_without_madvise, EACH, 0 },
	{ "... even if madvise succeeds and does nothing",
	  unregistering_with_madvise_in_vain, EACH, 0 },
	{ "... and so does a child of _Fork()",
	  unregistering_child_of__Fork, EACH, 0 },
	{ "a child may begin anew in a handler of pthread_atfork()",
	  early_atfork, EACH, 0 },
	{ "a child that ends its loop leaves the parent all its events",
	  deinit_child, EACH, 0 },
	{ "a child receives all its events, and leaves the parent later ones",
	  running_child, EACH, 0 },
	{ "a child that registers new objects leaves the parent all its events",
	  registering_child, EACH, 0 },
	{ "a child that changes handlers leaves the parent all its events",
	  changing_child, EACH, 0 },
	{ "a child may do all of that one after the other",
	  versatile_child, EACH, 0 },
	{ "a child's posts reach the parent's raw events, and no others",
	  posting_child, EACH, 0 },
	{ "a child that is killed leaves the parent all its events",
	  killed_child, EACH, 0 },
	{ "... whatever it is doing at the time", killed_at_random, EACH, 0 },
	{ "a program that a child executes inherits no descriptor",
	  exec_child, EACH, 0 },
	{ "... even after vfork", exec_after_vfork, EACH, 0 },
	{ "a daemon that registered before it forked goes on",
	  daemon_child, EACH, 0 },
	{ "grandchildren receive all their events", grandchildren, EACH, 0 },
	{ "parent and child run the loop at the same time", both_run, EACH, 0 },
	{ "... and have all events, where the child registered its own",
	  both_run_separately, EACH, 0 },
	{ "a child's loop shares no descriptor of the library's own",
	  own_descriptors, EACH, 0 },
	{ "a busy child takes no wakeup from the parent",
	  busy_child, EACH, 20 },
	{ "a timer of the parent fires whatever the child does with its own",
	  armed_timer, EACH, 0 },
	{ "what parent and child register later is separate",
	  both_register, EACH, 20 },
	{ "what they register later is separate, even if their IDs are equal",
	  equal_process_ids, EACH_BACKEND, 20 },
	{ "any handler may fork", fork_in_handlers, EACH, 0 },
	{ "a busy parent's posts reach a child that goes on with the loop",
	  child_of_busy_parent, EACH, 0 },
	{ "a child's threads post while its loop begins anew",
	  threads_of_child, EACH, 30 },
	{ "a thread without a loop may fork, and its child have one",
	  fork_without_loop, EACH_BACKEND, 0 },
	{ "an event unregistered during a post stays unregistered after a fork",
	  unregistered_as_posted, EACH_BACKEND, 0 },
	{ "an event that is in the queue during a fork is there once",
	  queued_during_fork, EACH, 0 },
	{ "a child that cannot get a descriptor for its wakeup reports it",
	  no_wake_in_child, EACH_BACKEND, 0 },
	{ "a child at the descriptor limit registers, and is served later",
	  limit_in_child, EACH_METHOD, 0 },
	{ "a child that closed all that it inherited loses no other descriptor",
	  child_that_closed_all, EACH, 0 },
	{ "... even if the loop opens a number that was closed",
	  closed_number_is_the_loops, EACH_METHOD, 0 },
	{ "... nor does a child of _Fork() that did so",
	  child_of__Fork_that_closed_all, EACH, 0 },
	{ "what a sibling's loop has adopted can be closed",
	  sibling_gives_up, EACH_BACKEND, 0 },
	{ "events that the parent's threads post to during a fork still work",
	  threads_of_parent, EACH_BACKEND, 30 },
	{ "a child forked while other threads register waits for no lock",
	  fork_amid_registrations, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "executed"))
		return executed(argv[2]);

	return check_main(cases, argc, argv);
}

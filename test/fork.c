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

/* One object of each kind, and which of them have been called. */
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
	int			called;
	int			awaited;
};

static void receive(struct world *w, int what)
{
	w->called |= what;
	if ((w->called & w->awaited) == w->awaited)
		iv_quit();
}

static void got_fd(void *_w)
{
	struct world *w = _w;
	char byte;

	/* The other process may have read it before. */
	if (read(w->pipe[0], &byte, 1) == 1)
		receive(w, FD);
}

static void got_timer(void *w)
{
	receive(w, TIMER);
}

static void got_event(void *w)
{
	receive(w, EVENT);
}

static void got_raw(void *w)
{
	receive(w, RAW);
}

static void got_signal(void *w)
{
	receive(w, SIGNAL);
}

static void world_begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	check_int(pipe2(w->pipe, O_CLOEXEC), 0);

	IV_FD_INIT(&w->fd);
	w->fd.fd = w->pipe[0];
	w->fd.cookie = w;
	w->fd.handler_in = got_fd;
	iv_fd_register(&w->fd);

	IV_TIMER_INIT(&w->timer);
	w->timer.cookie = w;
	w->timer.handler = got_timer;

	IV_EVENT_INIT(&w->event);
	w->event.cookie = w;
	w->event.handler = got_event;
	check_int(iv_event_register(&w->event), 0);

	IV_EVENT_RAW_INIT(&w->raw);
	w->raw.cookie = w;
	w->raw.handler = got_raw;
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

static void trigger(struct world *w, int what)
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
	while ((w->called & what) != what)
		iv_main();
	w->awaited = 0;
}

struct delayed_trigger {
	struct world	*w;
	int		what;
};

static void *trigger_later(void *_l)
{
	struct delayed_trigger *l = _l;

	usleep(1000);
	trigger(l->w, l->what);

	return NULL;
}

/* Trigger these objects, most likely while the loop sleeps. */
static void expect(struct world *w, int what)
{
	struct delayed_trigger l = { w, what };
	pthread_t t;

	w->called = 0;
	if (what & TIMER)
		set_timer(w, 1);
	/* A handler may fork, and its child could not join a thread. */
	if (what == TIMER) {
		await(w, what);
		return;
	}
	check_int(pthread_create(&t, NULL, trigger_later, &l), 0);
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


/* Two processes take turns: a byte in a pipe lets the other one go on. */
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

static void give_turn(const int ends[2])
{
	check_int(write(ends[1], "", 1), 1);
}

static void take_turn(const int ends[2])
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


/* The state of the objects that the child uses. */
enum state {
	NEW,			/* inherited, of a loop that never ran */
	USED,			/* inherited, of one that has run */
	PENDING,		/* inherited, and triggered before the fork */
	OWN,			/* registered by the child, beside USED ones */
	STATES,
};

static void bring_to(struct world *w, enum state state)
{
	if (state == NEW)
		return;
	expect_each(w);
	w->called = 0;
	if (state == PENDING) {
		set_timer(w, 0);
		trigger(w, FD | EVENT | RAW);
	}
}

/*
 * What a child does.  The parent receives those PENDING objects that the child
 * does not take.
 */
struct action {
	void	(*fn)(struct world *w);
	int	takes;		/* the PENDING objects that it takes */
	int	ends;		/* fn() ends the child */
	int	status;		/* that waitpid(2) returns of it */
};

/* How many descriptors this process had before the case opened any. */
static int descriptors_at_start;

static void child_part(struct world *w, const struct action *action,
		       const struct turns *t, enum state state)
{
	struct world own;

	if (state == OWN) {
		world_begin(&own);
		w = &own;
	}
	action->fn(w);
	check(!action->ends);
	give_turn(t->to_parent);
	take_turn(t->to_child);
	_exit(0);
}

static void parent_part(struct world *w, const struct action *action,
			const struct turns *t, enum state state, pid_t pid)
{
	siginfo_t info;

	if (action->ends)
		check_int(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	else
		take_turn(t->to_parent);
	if (state == PENDING)
		await(w, ALL & ~action->takes);
	expect_each(w);
	give_turn(t->to_child);
}

static void run_state(const struct action *action, enum state state)
{
	struct world w;
	struct turns t;
	pid_t pid;
	int status;

	descriptors_at_start = num_descriptors();
	iv_init();
	turns_begin(&t);
	world_begin(&w);
	bring_to(&w, state);
	pid = fork_checked();
	if (pid == 0)
		child_part(&w, action, &t, state);
	parent_part(&w, action, &t, state, pid);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, action->status);
	expect_each(&w);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}

static void run_all_states(const struct action *action)
{
	int state;

	for (state = NEW; state < STATES; state++)
		run_state(action, state);
}

static void do_nothing(struct world *w)
{
	(void)w;
}

static void idle_child(void)
{
	run_all_states(&(struct action){ .fn = do_nothing });
}

static void do_unregister(struct world *w)
{
	world_unregister(w);
	run_iterations(1);
}

static void child_unregisters_descriptor(void)
{
	struct world w;
	pid_t pid;

	memset(&w, 0, sizeof(w));
	check_int(pipe2(w.pipe, O_CLOEXEC), 0);
	iv_init();
	IV_FD_INIT(&w.fd);
	w.fd.fd = w.pipe[0];
	w.fd.cookie = &w;
	w.fd.handler_in = got_fd;
	iv_fd_register(&w.fd);
	trigger(&w, FD);
	await(&w, FD);

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		iv_fd_unregister(&w.fd);
		_exit(0);
	}
	check_child(pid);

	w.called = 0;
	trigger(&w, FD);
	await(&w, FD);
	iv_fd_unregister(&w.fd);
	world_close(&w);
	iv_deinit();
}

static void unregistering_child(void)
{
	run_all_states(&(struct action){ .fn = do_unregister });
}

/* As in Linux before 4.14. */
static void unregistering_without_madvise(void)
{
	refuse("madvise", EINVAL);
	unregistering_child();
}

/* As in some emulators. */
static void unregistering_with_idle_madvise(void)
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
	/* If the library uses it. */
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

/* _Fork() calls no handler of pthread_atfork(). */
static void unregistering_child_of__Fork(void)
{
	need_wiping();
	fork_by = _Fork;
	unregistering_child();
}

/*
 * A handler of pthread_atfork() that runs before the library's, as it was
 * registered before.  Signals of an inherited object would no longer arrive.
 */
static struct world *atfork_world;

static void begin_another_loop(void)
{
	world_unregister(atfork_world);
	iv_deinit();
	iv_init();
	world_begin(atfork_world);
	atfork_world->sig.signum = SIGUSR1;
	atfork_world->sig.cookie = atfork_world;
	atfork_world->sig.handler = got_signal;
	check_int(iv_signal_register(&atfork_world->sig), 0);
}

static void early_atfork(void)
{
	struct world w;
	pid_t pid;

	need_wiping();
	check_int(pthread_atfork(NULL, NULL, begin_another_loop), 0);
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
	run_all_states(&(struct action){ .fn = do_deinit });
}

static void do_run(struct world *w)
{
	expect_each(w);
}

static void running_child(void)
{
	run_all_states(&(struct action){ .fn = do_run, .takes = FD | RAW });
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

static void child_that_does_all(void)
{
	run_all_states(&(struct action){ .fn = do_all, .takes = FD | RAW });
}

static void do_change_handlers(struct world *w)
{
	iv_fd_set_handler_in(&w->fd, NULL);
	iv_fd_set_handler_err(&w->fd, got_fd);
	iv_event_raw_unregister(&w->raw);
	expect(w, TIMER);
	expect(w, EVENT);
	iv_fd_set_handler_out(&w->fd, got_fd);
	expect(w, TIMER);
}

static void changing_child(void)
{
	run_all_states(&(struct action){ .fn = do_change_handlers });
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
	run_all_states(&(struct action){ .fn = do_register,
					 .takes = FD | RAW });
}

static void do_post(struct world *w)
{
	int i;

	for (i = 0; i < 1000; i++)
		iv_event_raw_post(&w->raw);
	/* Posts to an iv_event stay in the child. */
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
	check_int(w.called & EVENT, 0);
	world_end(&w);
	iv_deinit();

	run_all_states(&(struct action){ .fn = do_post });
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
	run_all_states(&(struct action){ .fn = do_post_and_die,
					 .ends = 1, .status = SIGKILL });
	run_all_states(&(struct action){ .fn = do_run_and_die,
					 .takes = FD | RAW,
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

/* Kill children at any point of their loops. */
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


/* Run this program again, which checks that it inherited no descriptor. */
static void execute(void)
{
	static char self[] = "/proc/self/exe";
	static char num[16];
	char *argv[] = { self, "executed", num, NULL };

	snprintf(num, sizeof(num), "%d", descriptors_at_start);
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
	run_all_states(&(struct action){ .fn = do_execute, .ends = 1 });
	run_all_states(&(struct action){ .fn = do_run_and_execute,
					 .takes = FD | RAW, .ends = 1 });
}

/* The child runs in the parent's memory. */
static void exec_after_vfork(void)
{
	struct world w;
	pid_t pid;
	int state;

	need_self_exec();
	descriptors_at_start = num_descriptors();
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


/* The first child registers objects, forks and exits; its child goes on. */
static void daemonise(enum state state, const struct turns *t)
{
	int before = num_descriptors();
	struct world w;

	iv_init();
	world_begin(&w);
	bring_to(&w, state);
	if (fork_checked() != 0)
		_exit(0);

	take_turn(t->to_child);
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
	give_turn(t.to_child);
	/* Its parent has exited, so the daemon is our child. */
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
	run_all_states(&(struct action){ .fn = do_nothing_then_fork,
					 .takes = FD | RAW });
	run_all_states(&(struct action){ .fn = run_then_fork,
					 .takes = FD | RAW });
}


/* Both run the loop at the same time, using objects that they do not share. */
static void run_many(struct world *w)
{
	int i;

	for (i = 0; i < 200; i++) {
		expect(w, EVENT);
		if (i % 8 == 0)
			expect(w, EVENT | TIMER);
	}
}

/* All kinds may be used at the same time if the child registers its own. */
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
		give_turn(t.to_parent);
		run_many(&w);
		_exit(0);
	}
	take_turn(t.to_parent);
	run_many(&w);
	check_child(pid);
	expect_each(&w);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}


#define MOST_DESCRIPTORS	64

/* Has the child any descriptor for the open file that fd stands for here? */
static int is_shared(pid_t child, int fd)
{
	int other;

	for (other = 0; other < MOST_DESCRIPTORS; other++) {
		if (is_same_file(child, fd, other))
			return 1;
	}

	return 0;
}

/* Is it one of the test's descriptors, or a raw event's? */
static int is_known(int fd, const struct world *w, const struct turns *t)
{
	return fd <= STDERR_FILENO ||
	       fd == w->pipe[0] || fd == w->pipe[1] ||
	       fd == w->raw.event_rfd.fd || fd == w->raw.event_wfd ||
	       fd == t->to_child[0] || fd == t->to_child[1] ||
	       fd == t->to_parent[0] || fd == t->to_parent[1];
}

/*
 * The descriptors by which loops wait and are woken must not be shared, or one
 * process could drain the other's wakeup.
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
		give_turn(t.to_parent);
		take_turn(t.to_child);
		_exit(0);
	}
	take_turn(t.to_parent);
	for (fd = 0; fd < MOST_DESCRIPTORS; fd++) {
		if (fcntl(fd, F_GETFD) < 0 || is_known(fd, &w, &t))
			continue;
		found++;
		check_int(is_shared(pid, fd) ? fd : -1, -1);
	}
	check(found > 0);
	check(is_shared(pid, w.raw.event_wfd));
	give_turn(t.to_child);
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

/* A child's loop that never sleeps must not take wakeups of the parent's. */
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
		give_turn(t.to_parent);
		iv_main();
		_exit(1);
	}
	take_turn(t.to_parent);
	for (i = 0; i < 100; i++)
		expect(&w, EVENT);
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
	expect_each(&w);
	world_end(&w);
	turns_end(&t);
	iv_deinit();
}


/* A timerfd that is armed at the fork belongs to the parent. */
static void wait_often(struct world *w)
{
	int i;

	for (i = 0; i < 20; i++)
		expect(w, RAW);
}

static void arm(struct world *w)
{
	int ms;

	/* On a slow machine it may expire before all of the waits. */
	for (ms = 100; !iv_timer_registered(&w->timer); ms *= 2) {
		set_timer(w, ms);
		wait_often(w);
	}
	w->called = 0;
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


/* Objects that each process registers after the fork. */
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

static void await_group(struct group *p)
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
		give_turn(t.to_parent);
		take_turn(t.to_child);
		await_group(&p);
		unregister_group(&p);
		_exit(0);
	}
	take_turn(t.to_parent);
	/* The child's posts are pending, and must not reach this process. */
	post_group(&p);
	await_group(&p);
	give_turn(t.to_child);
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

	/* With boards that were in use before the fork. */
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

/* The first process of a namespace, whose child is the first of another. */
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


/* Fork in each kind of handler, which returns to the loop in both processes. */
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
	trigger(&w, EVENT);
	trigger(&f, what);
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
		take_turn(b->t.to_parent);
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
		b.w.called = 0;
		give_turn(b.t.to_parent);
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

/* A handler forks; its child posts and unregisters the next event queued. */
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

/* The unregistered event leaves a hole in the queue that the child inherits. */
static void unregistered_while_pending(void)
{
	struct world w, f;
	pid_t pid;

	iv_init();
	world_begin(&w);
	world_begin(&f);
	expect_each(&w);
	w.called = 0;
	trigger(&f, EVENT);
	trigger(&w, EVENT);
	iv_event_unregister(&f.event);

	pid = fork_checked();
	await(&w, EVENT);
	expect(&w, EVENT);
	check_int(f.called, 0);
	if (pid == 0)
		_exit(0);
	check_child(pid);
	check_int(iv_event_register(&f.event), 0);
	expect_each(&f);
	world_end(&f);
	world_end(&w);
	iv_deinit();
}

static void run_without_wakeup(void)
{
	refuse("eventfd2", EMFILE);
	refuse("eventfd", EMFILE);
	refuse("pipe2", EMFILE);
	refuse("pipe", EMFILE);
	iv_main();
}

static void no_wakeup_in_child(void)
{
	struct world w;

	iv_init();
	world_begin(&w);
	check_fatal(run_without_wakeup, "iv_main: no descriptor to wake the "
		    "loop after fork: ");
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
	trigger(w, FD);
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
 * Objects of each kind that holds descriptors.  A child closes all descriptors,
 * and opens foreign ones in their place: so each number that the library
 * remembers stands for a foreign one.
 */
#define FOREIGN_END	60

struct holders {
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
	int			called;
};

static void holders_got_fd(void *_h)
{
	struct holders *h = _h;
	char c;

	if (read(h->pipe[0], &c, 1) == 1)
		h->called++;
	iv_quit();
}

static void holders_got_raw(void *_h)
{
	struct holders *h = _h;

	h->called++;
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

static void holders_watch_pipe(struct holders *h)
{
	check_int(pipe(h->pipe), 0);
	IV_FD_INIT(&h->fd);
	h->fd.fd = h->pipe[0];
	h->fd.cookie = h;
	h->fd.handler_in = holders_got_fd;
	iv_fd_register(&h->fd);
}

static void holders_run(struct holders *h)
{
	h->called = 0;
	check_int(write(h->pipe[1], "", 1), 1);
	iv_main();
	check_int(h->called, 1);
}

/* A pump that holds a byte in a pipe. */
static void holders_pump(struct holders *h)
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

static void holders_watch_files(struct holders *h)
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
static void holders_watch_files(struct holders *h)
{
	(void)h;
}
#endif

static void holders_begin(struct holders *h)
{
	int i;

	iv_init();
	memset(h, 0, sizeof(*h));
	holders_watch_pipe(h);
	holders_pump(h);
	holders_watch_files(h);

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

	/* After many waits for the same timer the loop uses a timerfd. */
	IV_TIMER_INIT(&h->timer);
	h->timer.expires = iv_now;
	h->timer.expires.tv_sec += 10000;
	h->timer.handler = never;
	iv_timer_register(&h->timer);
	for (i = 0; i < 20; i++)
		holders_run(h);
}

static void holders_unregister_events(struct holders *h)
{
	iv_event_unregister(&h->event);
	iv_event_raw_unregister(&h->raw);
	iv_signal_unregister(&h->sig);
}

static void holders_unregister(struct holders *h)
{
	holders_unregister_events(h);
	iv_fd_unregister(&h->fd);
	iv_fd_pump_destroy(&h->pump);
	if (HAS_INOTIFY) {
		iv_inotify_watch_unregister(&h->watch);
		iv_inotify_unregister(&h->in);
	}
	iv_timer_unregister(&h->timer);
}

static void holders_end(struct holders *h)
{
	holders_unregister(h);
	iv_deinit();
	close(h->pipe[0]);
	close(h->pipe[1]);
	close(h->pair[0]);
	close(h->pair[1]);
}

static int foreign_epoll(void)
{
	return open_epoll(-1);
}

static int foreign_eventfd(void)
{
	return open_eventfd(1);
}

static int foreign_inotify(void)
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

static int foreign_pipe(void)
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

static int foreign_none(void)
{
	return -1;
}

static int (*const foreign_kinds[])(void) = {
	foreign_none, foreign_epoll, foreign_eventfd, open_timerfd,
	foreign_inotify, foreign_pipe,
};

#define NUM_FOREIGN							\
	((int)(sizeof(foreign_kinds) / sizeof(foreign_kinds[0])))

/*
 * Close all descriptors, and open a foreign one for each number, without
 * close-on-exec.  Returns 0 if the system has no such files.
 */
static int replace_all(int (*open_one)(void))
{
	int fd;

	for (fd = STDERR_FILENO + 1; fd < MOST_DESCRIPTORS; fd++)
		close(fd);
	if (open_one == foreign_none)
		return 1;

	for (fd = STDERR_FILENO + 1; fd < FOREIGN_END; fd++) {
		int new = open_one();

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

/* Check that nobody has changed or read them. */
static void check_foreign(int (*open_one)(void))
{
	uint64_t buf;
	int fd;

	if (open_one == foreign_none)
		return;

	for (fd = STDERR_FILENO + 1; fd < FOREIGN_END; fd++) {
		check_int(fcntl(fd, F_GETFD), 0);
		if (open_one == foreign_eventfd) {
			check_int(read(fd, &buf, sizeof(buf)), sizeof(buf));
			check(buf == 1);
		} else if (open_one == open_timerfd) {
			check_int(read(fd, &buf, sizeof(buf)), sizeof(buf));
		} else if (open_one == foreign_pipe) {
			check_int(read(fd, &buf, sizeof(buf)), 1);
		}
#if HAS_INOTIFY
		if (open_one == foreign_inotify)
			check_int(inotify_rm_watch(fd, 1), 0);
#endif
	}
}

static void closed_and_unregistered(struct holders *h)
{
	holders_unregister(h);
	iv_deinit();
}

static void closed_and_deinit(struct holders *h)
{
	iv_event_raw_unregister(&h->raw);
	iv_signal_unregister(&h->sig);
	iv_timer_unregister(&h->timer);
	iv_deinit();
}

/* The child unregisters the descriptor that it closed itself, and goes on. */
static void closed_and_run(struct holders *h)
{
	struct holders second = { .called = 0 };
	int i;

	iv_fd_unregister(&h->fd);
	holders_watch_pipe(&second);
	for (i = 0; i < 20; i++)
		holders_run(&second);
	h->raw.handler = holders_got_raw;
	h->raw.cookie = h;
	h->called = 0;
	iv_event_raw_post(&h->raw);
	iv_main();
	check_int(h->called, 1);
	if (HAS_INOTIFY)
		check_errno(iv_inotify_watch_register(&h->watch), EBADF);
	iv_fd_unregister(&second.fd);
	close(second.pipe[0]);
	close(second.pipe[1]);
	holders_unregister_events(h);
	iv_fd_pump_destroy(&h->pump);
	if (HAS_INOTIFY)
		iv_inotify_unregister(&h->in);
	iv_timer_unregister(&h->timer);
	iv_deinit();
}

/* The child does not unregister the descriptor that it closed. */
static void closed_and_registered(struct holders *h)
{
	if (fcntl(h->fd.fd, F_GETFD) < 0)
		run_iterations(5);
	holders_unregister(h);
	iv_deinit();
}

static void after_closing_all(void (*action)(struct holders *h))
{
	struct holders h;
	int i;

	for (i = 0; i < NUM_FOREIGN; i++) {
		pid_t pid;

		if (foreign_kinds[i] == foreign_eventfd && variant_is_pipe())
			continue;
		holders_begin(&h);
		pid = fork_checked();
		if (pid == 0) {
			int before;

			if (!replace_all(foreign_kinds[i]))
				_exit(0);
			before = num_descriptors();
			action(&h);
			check_int(num_descriptors(), before);
			check_foreign(foreign_kinds[i]);
			_exit(0);
		}
		check_child(pid);
		holders_run(&h);
		holders_end(&h);
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
	after_closing_all(closed_and_unregistered);
	after_closing_all(closed_and_deinit);
	after_closing_all(closed_and_run);
	after_closing_all(closed_and_registered);
}

/* One child adopts a prepared object, and the other gives it up. */
static struct iv_event_raw prepared;
static int num_called;

static void got_prepared(void *unused)
{
	(void)unused;
	num_called++;
	iv_quit();
}

static void adopt_prepared(void)
{
	iv_init();
	check_int(iv_event_raw_adopt(&prepared), 0);
	iv_event_raw_post(&prepared);
	iv_main();
	check_int(num_called, 1);
	_exit(0);
}

static void sibling_unregisters(void)
{
	const int ends = variant_is_pipe() ? 2 : 1;
	struct turns t;
	int before;
	pid_t pid[2];

	IV_EVENT_RAW_INIT(&prepared);
	prepared.handler = got_prepared;
	check_int(iv_event_raw_prepare(&prepared), 0);
	turns_begin(&t);
	pid[0] = fork_checked();
	if (pid[0] == 0) {
		take_turn(t.to_child);
		before = num_descriptors();
		iv_event_raw_unregister(&prepared);
		check_int(num_descriptors(), before - ends);
		_exit(0);
	}
	pid[1] = fork_checked();
	if (pid[1] == 0)
		adopt_prepared();
	check_child(pid[1]);
	give_turn(t.to_child);
	check_child(pid[0]);
	iv_event_raw_unregister(&prepared);
	turns_end(&t);
}

/* The child's loop opens a descriptor with the number that was closed. */
static void loop_opens_closed_number(void)
{
	struct holders h;
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
		replace_all(foreign_none);
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
 * Threads of the child post while its loop detects the fork.  With pauses
 * between the library's steps a post takes ten times as long.
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
		give_turn(t->to_parent);
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
	take_turn(t.to_parent);
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

/* The child posts to each event, and each has to be called. */
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

/* Threads take the library's locks while another one forks. */
static void *keep_registering(void *unused)
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
	await_group(&p);
	unregister_group(&p);
}

static void fork_amid_registrations(void)
{
	pthread_t t[2];
	pid_t pid;
	int i;

	skip_under(MEMCHECK, "reports a leak of such threads in a child");
	skip_under(ASAN | TSAN, "leaves its malloc locked in some children");
	iv_init();
	for (i = 0; i < 2; i++)
		check_int(pthread_create(&t[i], NULL, keep_registering, NULL),
			  0);
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
	{ "a child that unregisters a descriptor leaves the parent's watched",
	  child_unregisters_descriptor, EACH_METHOD, 0 },
	{ "a child that unregisters leaves the parent all its events",
	  unregistering_child, EACH, 0 },
	{ "a child that unregisters is harmless if madvise fails",
	  unregistering_without_madvise, EACH, 0 },
	{ "a child that unregisters is harmless if madvise does nothing",
	  unregistering_with_idle_madvise, EACH, 0 },
	{ "a child of _Fork() that unregisters is harmless",
	  unregistering_child_of__Fork, EACH, 0 },
	{ "a child may begin another loop in a handler of pthread_atfork()",
	  early_atfork, EACH, 0 },
	{ "a child that ends its loop leaves the parent all its events",
	  deinit_child, EACH, 0 },
	{ "a child receives all its events, and leaves the parent later ones",
	  running_child, EACH, 0 },
	{ "a child that registers new objects leaves the parent all its events",
	  registering_child, EACH, 0 },
	{ "a child that changes handlers leaves the parent all its events",
	  changing_child, EACH, 0 },
	{ "a child may register anew, end its loop and begin another",
	  child_that_does_all, EACH, 0 },
	{ "a child's posts reach the parent's raw events, but no iv_events",
	  posting_child, EACH, 0 },
	{ "a child that is killed leaves the parent all its events",
	  killed_child, EACH, 0 },
	{ "a child may be killed at any time", killed_at_random, EACH, 0 },
	{ "a program that a child executes inherits no descriptor",
	  exec_child, EACH, 0 },
	{ "a program executed after vfork inherits no descriptor",
	  exec_after_vfork, EACH, 0 },
	{ "a daemon may register objects before it forks",
	  daemon_child, EACH, 0 },
	{ "grandchildren receive all their events", grandchildren, EACH, 0 },
	{ "parent and child may run the loop at the same time",
	  both_run, EACH, 0 },
	{ "parent and child receive all events of objects registered apart",
	  both_run_separately, EACH, 0 },
	{ "parent and child share none of the library's own descriptors",
	  own_descriptors, EACH, 0 },
	{ "a busy child takes no wakeup from the parent",
	  busy_child, EACH, 20 },
	{ "a timer of the parent fires whatever the child does with its copy",
	  armed_timer, EACH, 0 },
	{ "objects that parent and child register after the fork are separate",
	  both_register, EACH, 20 },
	{ "objects registered after the fork are separate despite equal PIDs",
	  equal_process_ids, EACH_BACKEND, 20 },
	{ "any handler may fork", fork_in_handlers, EACH, 0 },
	{ "a busy parent's posts reach a child that goes on with the loop",
	  child_of_busy_parent, EACH, 0 },
	{ "a child's threads may post while its loop detects the fork",
	  threads_of_child, EACH, 30 },
	{ "the child of a thread without a loop may have a loop",
	  fork_without_loop, EACH_BACKEND, 0 },
	{ "an event unregistered while pending stays so in a child",
	  unregistered_while_pending, EACH_BACKEND, 0 },
	{ "a child may post and unregister an event that is already queued",
	  queued_during_fork, EACH, 0 },
	{ "it is fatal if a child cannot open the descriptor of its wakeup",
	  no_wakeup_in_child, EACH_BACKEND, 0 },
	{ "a descriptor that a child registers at its limit is watched later",
	  limit_in_child, EACH_METHOD, 0 },
	{ "a child that closed all that it inherited loses nothing else",
	  child_that_closed_all, EACH, 0 },
	{ "a child's loop may open a number that was closed",
	  loop_opens_closed_number, EACH_METHOD, 0 },
	{ "a child of _Fork() that closed all descriptors loses nothing else",
	  child_of__Fork_that_closed_all, EACH, 0 },
	{ "a child may give up an object that its sibling adopted",
	  sibling_unregisters, EACH_BACKEND, 0 },
	{ "events that the parent's threads post to during a fork still work",
	  threads_of_parent, EACH_BACKEND, 30 },
	{ "a child forked while other threads register finds no lock held",
	  fork_amid_registrations, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "executed"))
		return executed(argv[2]);

	return check_main(cases, argc, argv);
}

/*
 * libivykis: iv_signal.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_signal.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_LINUX
#include <sys/syscall.h>
#endif
#include "check.h"

/* An object that counts its calls. */
struct counted {
	struct iv_signal	s;
	int			calls;
	pthread_t		thread;
};

static void count(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	c->thread = pthread_self();
}

/* The private members stay uninitialised, as in old programs. */
static void prepare(struct counted *c, int signum, unsigned int flags)
{
	memset(c, 0xa5, sizeof(*c));
	c->s.signum = signum;
	c->s.flags = flags;
	c->s.cookie = c;
	c->s.handler = count;
	c->calls = 0;
}

static void watch(struct counted *c, int signum, unsigned int flags)
{
	prepare(c, signum, flags);
	check_int(iv_signal_register(&c->s), 0);
}

static void unwatch(struct counted *c)
{
	iv_signal_unregister(&c->s);
}

/* A timer that stops the loop after some iterations. */
struct countdown {
	struct iv_timer		timer;
	int			left;
};

static void set_timer(struct countdown *d)
{
	iv_invalidate_now();
	d->timer.expires = iv_now;
	d->timer.expires.tv_nsec += 1000000;
	iv_timer_register(&d->timer);
}

static void count_down(void *_d)
{
	struct countdown *d = _d;

	if (--d->left > 0)
		set_timer(d);
	else
		iv_quit();
}

/* Afterwards every pending signal has been handled. */
static void run_loop(void)
{
	struct countdown d = { .left = 3 };

	IV_TIMER_INIT(&d.timer);
	d.timer.cookie = &d;
	d.timer.handler = count_down;
	set_timer(&d);
	iv_main();
}

static int count_to;

static void count_and_quit(void *_c)
{
	struct counted *c = _c;

	count(c);
	if (c->calls == count_to)
		iv_quit();
}

static void (*disposition(int signum))(int)
{
	struct sigaction sa;

	check_int(sigaction(signum, NULL, &sa), 0);

	return sa.sa_handler;
}

static pid_t fork_checked(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	check(pid >= 0);

	return pid;
}


static void handler_runs_once(void)
{
	struct counted c;
	int i;

	iv_init();
	watch(&c, SIGUSR1, 0);
	for (i = 0; i < 10; i++)
		raise(SIGUSR1);
	check_int(c.calls, 0);
	run_loop();
	check_int(c.calls, 1);
	raise(SIGUSR1);
	run_loop();
	check_int(c.calls, 2);
	unwatch(&c);
	iv_deinit();
}

static void *kill_later(void *_pid)
{
	usleep(20000);
	kill(*(pid_t *)_pid, SIGUSR1);

	return NULL;
}

static void sleeping_loop_wakes_up(void)
{
	pid_t pid = getpid();
	struct counted c;
	pthread_t t;
	sigset_t set;

	iv_init();
	watch(&c, SIGUSR1, 0);
	c.s.handler = count_and_quit;
	count_to = 1;

	check_int(pthread_create(&t, NULL, kill_later, &pid), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(c.calls, 1);

	/* Blocked here, the signal is delivered to the other thread. */
	count_to = 2;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	check_int(pthread_create(&t, NULL, kill_later, &pid), 0);
	check_int(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(c.calls, 2);
	check(pthread_equal(c.thread, pthread_self()));

	unwatch(&c);
	iv_deinit();
}

static void raise_again(void *_c)
{
	struct counted *c = _c;

	if (++c->calls < 1000)
		raise(SIGUSR1);
	else
		unwatch(c);
}

static void raised_in_handler(void)
{
	struct counted c;

	iv_init();
	watch(&c, SIGUSR1, 0);
	c.s.handler = raise_again;
	raise(SIGUSR1);
	iv_main();
	check_int(c.calls, 1000);
	iv_deinit();
}

static int ended;

static void unwatch_and_free(void *_c)
{
	struct counted *c = _c;

	unwatch(c);
	memset(c, 0x5a, sizeof(*c));
	free(c);
	ended++;
}

static void freed_in_handler(void)
{
	struct counted *c = malloc(sizeof(*c));

	iv_init();
	watch(c, SIGUSR1, 0);
	c->s.handler = unwatch_and_free;
	raise(SIGUSR1);
	iv_main();
	check_int(ended, 1);
	iv_deinit();
}

static void pending_is_discarded(void)
{
	struct counted c;

	iv_init();
	watch(&c, SIGUSR1, 0);
	raise(SIGUSR1);
	unwatch(&c);
	run_loop();
	check_int(c.calls, 0);

	watch(&c, SIGUSR1, 0);
	run_loop();
	check_int(c.calls, 0);
	unwatch(&c);
	iv_deinit();
}

static void each_signal_to_its_objects(void)
{
	struct counted usr1[3];
	struct counted usr2[3];
	int i;

	iv_init();
	for (i = 0; i < 3; i++) {
		watch(&usr1[i], SIGUSR1, 0);
		watch(&usr2[i], SIGUSR2, 0);
	}
	raise(SIGUSR2);
	run_loop();
	for (i = 0; i < 3; i++) {
		check_int(usr1[i].calls, 0);
		check_int(usr2[i].calls, 1);
	}
	raise(SIGUSR1);
	run_loop();
	for (i = 0; i < 3; i++) {
		check_int(usr1[i].calls, 1);
		check_int(usr2[i].calls, 1);
		unwatch(&usr1[i]);
		unwatch(&usr2[i]);
	}
	iv_deinit();
}

static volatile sig_atomic_t delivered;

static void record_delivery(int sig)
{
	delivered = sig;
}

/* Emulators reserve some signals for themselves. */
static int can_be_raised(int sig)
{
	struct sigaction sa = { .sa_handler = record_delivery }, old;

	if (sigaction(sig, &sa, &old) < 0)
		return 0;
	delivered = 0;
	raise(sig);
	check_int(sigaction(sig, &old, NULL), 0);

	return delivered == sig;
}

/* All signals that can be caught at once, so that each has its neighbours. */
static void all_signals(void)
{
	static struct counted c[_NSIG];
	int sig, other;

	iv_init();
	for (sig = 1; sig < _NSIG; sig++) {
		prepare(&c[sig], sig, 0);
		/* SIGALRM is used for the time limit. */
		if (sig == SIGALRM || !can_be_raised(sig) ||
		    iv_signal_register(&c[sig].s) < 0)
			c[sig].calls = -1;
	}
	for (sig = 1; sig < _NSIG; sig++) {
		if (c[sig].calls < 0)
			continue;
		raise(sig);
		run_loop();
		for (other = 1; other < _NSIG; other++) {
			if (c[other].calls >= 0)
				check_int(c[other].calls, other <= sig);
		}
	}
	for (sig = 1; sig < _NSIG; sig++) {
		if (c[sig].calls >= 0)
			unwatch(&c[sig]);
	}
	iv_deinit();
}

static void unusable_numbers(void)
{
	static const int unusable[] = {
		0, SIGKILL, SIGSTOP, 32, 33,
		-1, _NSIG, 1000000, -1000000,
	};
	struct counted c;
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
		prepare(&c, unusable[i], 0);
		check_errno(iv_signal_register(&c.s), EINVAL);
	}
	iv_main();
	iv_deinit();
}

static void no_descriptor_left(void)
{
	struct counted c;
	int former;

	iv_init();
	prepare(&c, SIGUSR1, 0);
	former = limit_descriptors(3);
	check_errno(iv_signal_register(&c.s), EMFILE);
	check(disposition(SIGUSR1) == SIG_DFL);
	limit_descriptors(former);

	/* Nothing keeps the loop running. */
	iv_main();
	check_int(iv_signal_register(&c.s), 0);
	raise(SIGUSR1);
	run_loop();
	check_int(c.calls, 1);
	unwatch(&c);
	iv_deinit();
}


/* Objects for a signal are in the order of their addresses, as in the array. */
static void check_calls(const struct counted *c, int a, int b, int d)
{
	check_int(c[0].calls, a);
	check_int(c[1].calls, b);
	check_int(c[2].calls, d);
}

static void exclusive_called_alone(void)
{
	struct counted c[3];

	iv_init();
	c[1].calls = 0;
	watch(&c[0], SIGUSR1, 0);
	watch(&c[2], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	raise(SIGUSR1);
	run_loop();
	check_calls(c, 0, 0, 1);

	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	raise(SIGUSR1);
	run_loop();
	check_calls(c, 0, 1, 1);

	unwatch(&c[1]);
	unwatch(&c[2]);
	raise(SIGUSR1);
	run_loop();
	check_calls(c, 1, 1, 1);
	unwatch(&c[0]);
	iv_deinit();
}

static void own_before_process_wide(void)
{
	struct counted c[3];

	iv_init();
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	watch(&c[2], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	raise(SIGUSR1);
	run_loop();
	check_calls(c, 0, 1, 1);
	unwatch(&c[1]);
	unwatch(&c[2]);
	raise(SIGUSR1);
	run_loop();
	check_calls(c, 1, 1, 1);
	unwatch(&c[0]);
	iv_deinit();
}

static void *raise_with_loop(void *signum)
{
	iv_init();
	raise(*(int *)signum);
	iv_deinit();

	return NULL;
}

static void *raise_without_loop(void *signum)
{
	raise(*(int *)signum);

	return NULL;
}

static void in_thread(void *(*fn)(void *), int signum)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, fn, &signum), 0);
	check_int(pthread_join(t, NULL), 0);
}

static void other_threads_own_objects(void)
{
	struct counted c[3];

	iv_init();
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	in_thread(raise_with_loop, SIGUSR1);
	in_thread(raise_without_loop, SIGUSR1);
	run_loop();
	check_int(c[0].calls, 0);

	watch(&c[1], SIGUSR1, 0);
	in_thread(raise_with_loop, SIGUSR1);
	run_loop();
	check_int(c[0].calls, 0);
	check_int(c[1].calls, 1);
	in_thread(raise_without_loop, SIGUSR1);
	run_loop();
	check_int(c[0].calls, 0);
	check_int(c[1].calls, 2);
	check(pthread_equal(c[1].thread, pthread_self()));
	unwatch(&c[0]);
	unwatch(&c[1]);
	iv_deinit();
}

struct member {
	pthread_t		t;
	struct counted		c;
	pthread_barrier_t	*barrier;
};

static void *run_member(void *_m)
{
	struct member *m = _m;

	iv_init();
	watch(&m->c, SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	pthread_barrier_wait(m->barrier);
	/* The signals have been sent, and with that delivered. */
	pthread_barrier_wait(m->barrier);
	run_loop();
	unwatch(&m->c);
	iv_deinit();

	return NULL;
}

static void signal_to_one_thread(void)
{
	struct member m[4];
	pthread_barrier_t barrier;
	int i;

	iv_init();
	check_int(pthread_barrier_init(&barrier, NULL, 5), 0);
	for (i = 0; i < 4; i++) {
		m[i].barrier = &barrier;
		check_int(pthread_create(&m[i].t, NULL, run_member, &m[i]), 0);
	}
	pthread_barrier_wait(&barrier);
	pthread_kill(m[1].t, SIGUSR1);
	pthread_kill(m[3].t, SIGUSR1);
	pthread_barrier_wait(&barrier);
	for (i = 0; i < 4; i++) {
		check_int(pthread_join(m[i].t, NULL), 0);
		check_int(m[i].c.calls, i % 2);
	}
	check(disposition(SIGUSR1) == SIG_DFL);
	iv_deinit();
}


static void exclusive_passes_on(void)
{
	struct counted c[3];

	iv_init();
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	watch(&c[2], SIGUSR1, 0);
	raise(SIGUSR1);
	unwatch(&c[0]);
	run_loop();
	check_calls(c, 0, 1, 0);

	/* It is passed on even to an object that is not exclusive. */
	raise(SIGUSR1);
	unwatch(&c[1]);
	run_loop();
	check_calls(c, 0, 1, 1);

	/* An object that was not notified passes nothing on. */
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	unwatch(&c[0]);
	run_loop();
	check_calls(c, 0, 1, 1);
	unwatch(&c[2]);
	iv_deinit();
}

static void count_and_unwatch(void *_c)
{
	struct counted *c = _c;

	count(c);
	unwatch(c);
}

static void called_passes_nothing_on(void)
{
	struct counted c[2];

	iv_init();
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	c[0].s.handler = count_and_unwatch;
	watch(&c[1], SIGUSR1, 0);
	raise(SIGUSR1);
	run_loop();
	check_int(c[0].calls, 1);
	check_int(c[1].calls, 0);
	unwatch(&c[1]);
	iv_deinit();
}

static void passes_on_within_group(void)
{
	struct counted c[3];

	iv_init();
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE |
			      IV_SIGNAL_FLAG_THIS_THREAD);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	watch(&c[2], SIGUSR1, 0);
	raise(SIGUSR1);
	unwatch(&c[0]);
	run_loop();
	check_calls(c, 0, 1, 0);

	unwatch(&c[1]);
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE |
			      IV_SIGNAL_FLAG_THIS_THREAD);
	raise(SIGUSR1);
	unwatch(&c[0]);
	run_loop();
	check_calls(c, 0, 1, 0);
	unwatch(&c[2]);

	/* An object that is not exclusive passes nothing on. */
	watch(&c[0], SIGUSR1, 0);
	watch(&c[1], SIGUSR1, 0);
	raise(SIGUSR1);
	unwatch(&c[0]);
	run_loop();
	check_calls(c, 0, 1, 0);
	unwatch(&c[1]);
	iv_deinit();
}

/*
 * Threads register exclusive objects, whose handlers never run.  If
 * iv_signal_unregister() did not pass a pending signal on, or did so without
 * the lock, the main thread's loop would sooner or later miss one and hang.
 */
static atomic_int stop;

static void *register_often(void *arg)
{
	struct counted c;

	iv_init();
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		watch(&c, SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
		unwatch(&c);
	}
	iv_deinit();

	return arg;
}

static void send_next(void *_c)
{
	struct counted *c = _c;

	if (++c->calls == 5000)
		unwatch(c);
	else
		kill(getpid(), SIGUSR1);
}

static void none_is_lost(void)
{
	struct counted c;
	pthread_t t[2];
	int i;

	iv_init();
	watch(&c, SIGUSR1, 0);
	c.s.handler = send_next;
	for (i = 0; i < 2; i++)
		check_int(pthread_create(&t[i], NULL, register_often, NULL), 0);
	kill(getpid(), SIGUSR1);
	iv_main();
	check_int(c.calls, 5000);
	/* Should a signal come late, SIG_DFL would end the process. */
	signal(SIGUSR1, SIG_IGN);
	atomic_store_explicit(&stop, 1, memory_order_relaxed);
	for (i = 0; i < 2; i++)
		check_int(pthread_join(t[i], NULL), 0);
	iv_deinit();
}


static void disposition_is_restored(void)
{
	struct counted c[2];

	iv_init();
	check(disposition(SIGPIPE) == SIG_IGN);
	watch(&c[0], SIGPIPE, 0);
	watch(&c[1], SIGPIPE, 0);
	unwatch(&c[0]);
	raise(SIGPIPE);
	run_loop();
	check_int(c[1].calls, 1);
	unwatch(&c[1]);
	check(disposition(SIGPIPE) == SIG_IGN);

	watch(&c[0], SIGUSR1, 0);
	unwatch(&c[0]);
	check(disposition(SIGUSR1) == SIG_DFL);
	iv_deinit();
}

static volatile sig_atomic_t caught;

static void catch(int sig)
{
	caught = sig;
}

static void catch_info(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	caught = sig;
}

static void handlers_are_restored(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigaction now;
	struct counted c;

	iv_init();
	sa.sa_sigaction = catch_info;
	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGHUP);
	check_int(sigaction(SIGUSR1, &sa, NULL), 0);
	watch(&c, SIGUSR1, 0);
	raise(SIGUSR1);
	check_int(caught, 0);
	unwatch(&c);
	check_int(sigaction(SIGUSR1, NULL, &now), 0);
	check(now.sa_sigaction == catch_info);
	check_int(now.sa_flags & (SA_SIGINFO | SA_NODEFER),
		  SA_SIGINFO | SA_NODEFER);
	check_int(sigismember(&now.sa_mask, SIGHUP), 1);

	/* A disposition that the program has installed since is kept. */
	watch(&c, SIGUSR2, 0);
	check(signal(SIGUSR2, catch) != SIG_ERR);
	unwatch(&c);
	check(disposition(SIGUSR2) == catch);
	iv_deinit();
}

static void installed_handler(void)
{
	struct sigaction sa;
	struct counted c;
	int sig;

	iv_init();
	watch(&c, SIGUSR1, 0);
	check_int(sigaction(SIGUSR1, NULL, &sa), 0);
	check_int(sa.sa_flags & (SA_RESTART | SA_SIGINFO | SA_ONSTACK |
				 SA_NODEFER | SA_RESETHAND | SA_NOCLDSTOP),
		  SA_RESTART | SA_SIGINFO | SA_ONSTACK);
	for (sig = 1; sig < 32; sig++) {
		if (sig != SIGKILL && sig != SIGSTOP)
			check_int(sigismember(&sa.sa_mask, sig), 1);
	}
	unwatch(&c);
	iv_deinit();
}

static void check_mask(const sigset_t *want)
{
	sigset_t mask;
	int sig;

	check_int(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	for (sig = 1; sig < _NSIG; sig++)
		check_int(sigismember(&mask, sig), sigismember(want, sig));
}

static void mask_is_kept(void)
{
	struct counted c;
	sigset_t mask;

	iv_init();
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGTERM);
	check_int(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
	watch(&c, SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	check_mask(&mask);
	raise(SIGUSR1);
	run_loop();
	check_int(c.calls, 0);
	check_mask(&mask);

	sigdelset(&mask, SIGUSR1);
	check_int(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
	run_loop();
	check_int(c.calls, 1);
	unwatch(&c);
	check_mask(&mask);

	prepare(&c, SIGKILL, 0);
	check_int(iv_signal_register(&c.s), -1);
	check_mask(&mask);
	iv_deinit();
}

/* Without write(2) a child can only report errors by its exit status. */
static void keep_errno_if_write_fails(void)
{
	struct counted c;
	int err;

	iv_init();
	watch(&c, SIGUSR1, 0);
	refuse("write", EIO);
	errno = ENOTTY;
	raise(SIGUSR1);
	err = errno;
	unwatch(&c);
	iv_deinit();
	_exit(err == ENOTTY ? 0 : err);
}

static void errno_is_kept(void)
{
	struct counted c[2];
	pid_t pid = fork();

	if (pid == 0)
		keep_errno_if_write_fails();
	check_child(pid);

	iv_init();
	watch(&c[0], SIGUSR1, 0);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	errno = ENOTTY;
	raise(SIGUSR1);
	check_int(errno, ENOTTY);
	unwatch(&c[1]);
	unwatch(&c[0]);
	iv_deinit();
}

/*
 * Faults that a thread causes itself, each in a separate process.  Although
 * objects are registered for them, the process has to die, or the handler that
 * the program had installed before has to be called.
 */
static char *page_without_access(void)
{
	char *page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(page != MAP_FAILED);

	return page;
}

static char *page_beyond_end_of_file(void)
{
	FILE *empty = tmpfile();
	char *page;

	check(empty != NULL);
	page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		    MAP_SHARED, fileno(empty), 0);
	check(page != MAP_FAILED);
	fclose(empty);

	return page;
}

static void touch(char *page)
{
	*(volatile char *)page = 1;
}

static void exit_at_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	check(info->si_code > 0);
	_exit(sig);
}

static void watch_faults(struct counted *c)
{
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	iv_init();
	watch(&c[0], SIGSEGV, 0);
	watch(&c[1], SIGBUS, 0);
}

static void die_of_access(void)
{
	struct counted c[2];

	watch_faults(c);
	touch(page_without_access());
}

static void die_of_end_of_file(void)
{
	struct counted c[2];

	watch_faults(c);
	touch(page_beyond_end_of_file());
}

/* A child inherits the library's signal handler, but no objects. */
static void die_in_child(void)
{
	struct counted c[2];
	int status;
	pid_t pid;

	watch_faults(c);
	pid = fork_checked();
	if (pid == 0)
		touch(page_without_access());
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status & ~0x80, SIGSEGV);
	/* The parent's objects still work. */
	raise(SIGSEGV);
	run_loop();
	check_int(c[0].calls, 1);
	unwatch(&c[0]);
	unwatch(&c[1]);
	touch(page_without_access());
}

static void call_earlier_handler(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO };
	struct counted c;

	sa.sa_sigaction = exit_at_fault;
	iv_init();
	check_int(sigaction(SIGSEGV, &sa, NULL), 0);
	watch(&c, SIGSEGV, 0);
	touch(page_without_access());
}

/* The program saves the library's handler and installs it again later. */
static void die_with_reinstalled_handler(void)
{
	struct sigaction saved;
	struct counted c;

	signal(SIGSEGV, SIG_DFL);
	iv_init();
	watch(&c, SIGSEGV, 0);
	check_int(sigaction(SIGSEGV, NULL, &saved), 0);
	unwatch(&c);
	check_int(sigaction(SIGSEGV, &saved, NULL), 0);
	watch(&c, SIGSEGV, 0);
	touch(page_without_access());
}

static void check_ends(void (*fn)(void), int want)
{
	static const struct rlimit no_core;
	int status;
	pid_t pid;

	pid = fork_checked();
	if (pid == 0) {
		check_int(setrlimit(RLIMIT_CORE, &no_core), 0);
		alarm(60);
		fn();
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status & ~0x80, want);
}

static void own_faults(void)
{
	check_ends(die_of_access, SIGSEGV);
	check_ends(die_of_end_of_file, SIGBUS);
	check_ends(die_in_child, SIGSEGV);
	check_ends(die_with_reinstalled_handler, SIGSEGV);
	check_ends(call_earlier_handler, SIGSEGV << 8);
}

static void faults_sent_by_others(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct counted c;
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		watch(&c, signals[i], 0);
		raise(signals[i]);
		check_int(kill(getpid(), signals[i]), 0);
		run_loop();
		check_int(c.calls, 1);
		raise(signals[i]);
		run_loop();
		check_int(c.calls, 2);
		unwatch(&c);
	}
	iv_deinit();
}

/*
 * As in a runtime whose threads have small stacks, and an alternate stack for
 * signals.  The room left on the thread's stack is enough for a system call and
 * no more.
 */
#define SMALL_STACK	65536
#define ROOM_LEFT	400

static char *stack_end;

#ifdef SYS_tgkill
__attribute__((noinline))
static void raise_at_end_of_stack(void)
{
	/* Called while there is room: the first call may run the linker. */
	long tid = syscall(SYS_gettid);
	long pid = syscall(SYS_getpid);
	char *here = __builtin_frame_address(0);
	char room[here - stack_end - ROOM_LEFT];
	volatile char *used = room;

	used[0] = 0;
	syscall(SYS_tgkill, pid, tid, SIGUSR1);
	used[0] = 1;
}
#else
static void raise_at_end_of_stack(void)
{
	skip("no signal can be raised with so little stack on this system");
}
#endif

static void *signal_on_small_stack(void *arg)
{
	stack_t other = { .ss_size = SMALL_STACK };

	other.ss_sp = malloc(other.ss_size);
	check_int(sigaltstack(&other, NULL), 0);
	raise_at_end_of_stack();
	other.ss_flags = SS_DISABLE;
	check_int(sigaltstack(&other, NULL), 0);
	free(other.ss_sp);

	return arg;
}

static void small_stack(void)
{
	size_t page = sysconf(_SC_PAGESIZE);
	pthread_attr_t attr;
	struct counted c;
	pthread_t t;
	char *stack;

	skip_under(TSAN, "has its own signal handler");
	skip_under(ASAN, "needs more stack");
	if (sysconf(_SC_THREAD_STACK_MIN) > SMALL_STACK)
		skip("threads cannot have such a small stack here");
	iv_init();
	watch(&c, SIGUSR1, 0);
	stack = mmap(NULL, page + SMALL_STACK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(stack != MAP_FAILED);
	check_int(mprotect(stack, page, PROT_NONE), 0);
	stack_end = stack + page;

	check_int(pthread_attr_init(&attr), 0);
	check_int(pthread_attr_setstack(&attr, stack_end, SMALL_STACK), 0);
	check_int(pthread_create(&t, &attr, signal_on_small_stack, NULL), 0);
	check_int(pthread_join(t, NULL), 0);
	check_int(pthread_attr_destroy(&attr), 0);
	check_int(munmap(stack, page + SMALL_STACK), 0);
	run_loop();
	check_int(c.calls, 1);
	unwatch(&c);
	iv_deinit();
}

/* The signal handler runs while a cancellation is pending. */
static void *raise_when_cancelled(void *_c)
{
	int state;

	(void)_c;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_cancel(pthread_self());
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	raise(SIGUSR1);

	return &stop;
}

static void pending_cancellation(void)
{
	struct counted c;
	pthread_t t;
	void *ret;

	iv_init();
	watch(&c, SIGUSR1, 0);
	check_int(pthread_create(&t, NULL, raise_when_cancelled, NULL), 0);
	check_int(pthread_join(t, &ret), 0);
	check(ret == &stop);
	run_loop();
	check_int(c.calls, 1);
	raise(SIGUSR1);
	run_loop();
	check_int(c.calls, 2);
	unwatch(&c);
	iv_deinit();
}


/* The calls are not cancellation points, and leave nothing half done. */
static void *call_cancelled(void *calls)
{
	struct counted c;
	int former;

	iv_init();
	prepare(&c, SIGUSR2, 0);
	pthread_cancel(pthread_self());
	former = limit_descriptors(3);
	check_int(iv_signal_register(&c.s), -1);
	limit_descriptors(former);
	check_int(iv_signal_register(&c.s), 0);
	unwatch(&c);
	prepare(&c, SIGKILL, 0);
	check_int(iv_signal_register(&c.s), -1);
	*(int *)calls = 4;
	pthread_testcancel();

	return NULL;
}

static void calls_with_pending_cancellation(void)
{
	int calls = 0;
	pthread_t t;
	void *ret;

	check_int(pthread_create(&t, NULL, call_cancelled, &calls), 0);
	check_int(pthread_join(t, &ret), 0);
	check_int(calls, 4);
	check(ret == PTHREAD_CANCELED);
	check(disposition(SIGUSR2) == SIG_DFL);
}


static void inert_in_child(void)
{
	struct counted c[2];
	pid_t pid;

	iv_init();
	watch(&c[0], SIGTERM, 0);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	pid = fork_checked();
	if (pid == 0) {
		raise(SIGTERM);
		raise(SIGUSR1);
		run_loop();
		_exit(c[0].calls + c[1].calls);
	}
	check_child(pid);
	run_loop();
	check_int(c[0].calls, 0);
	check_int(c[1].calls, 0);

	/* The parent's objects still work. */
	raise(SIGTERM);
	raise(SIGUSR1);
	run_loop();
	check_int(c[0].calls, 1);
	check_int(c[1].calls, 1);
	unwatch(&c[0]);
	unwatch(&c[1]);
	iv_deinit();
}

/* The child of vfork(2) shares the parent's memory. */
static void inert_after_vfork(void)
{
	struct counted c;
	int status;
	pid_t pid;

	iv_init();
	watch(&c, SIGUSR1, 0);
	pid = vfork();
	if (pid == 0) {
		kill(getpid(), SIGUSR1);
		_exit(0);
	}
	check(pid > 0);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	run_loop();
	check_int(c.calls, 0);
	unwatch(&c);
	iv_deinit();
}

static void child_begins_anew(void)
{
	struct counted c[3];
	struct counted own;
	pid_t pid;

	iv_init();
	watch(&c[0], SIGTERM, 0);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);
	watch(&c[2], SIGPIPE, 0);
	pid = fork_checked();
	if (pid == 0) {
		watch(&own, SIGUSR1, 0);
		check(disposition(SIGTERM) == SIG_DFL);
		check(disposition(SIGPIPE) == SIG_IGN);
		raise(SIGUSR1);
		run_loop();
		check_int(own.calls, 1);
		check_int(c[1].calls, 0);
		unwatch(&own);
		check(disposition(SIGUSR1) == SIG_DFL);
		_exit(0);
	}
	check_child(pid);
	run_loop();
	check_int(c[1].calls, 0);
	raise(SIGTERM);
	run_loop();
	check_int(c[0].calls, 1);
	unwatch(&c[0]);
	unwatch(&c[1]);
	unwatch(&c[2]);
	iv_deinit();
}

static void child_unregisters_inherited(void)
{
	struct counted c[2];
	struct counted own;
	pid_t pid;

	iv_init();
	watch(&c[0], SIGUSR1, 0);
	watch(&c[1], SIGUSR1, 0);
	pid = fork_checked();
	if (pid == 0) {
		unwatch(&c[0]);
		watch(&own, SIGUSR1, 0);
		unwatch(&own);
		unwatch(&c[1]);
		watch(&own, SIGUSR1, 0);
		raise(SIGUSR1);
		run_loop();
		check_int(own.calls, 1);
		unwatch(&own);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	raise(SIGUSR1);
	run_loop();
	check_int(c[0].calls, 1);
	check_int(c[1].calls, 1);
	unwatch(&c[0]);
	unwatch(&c[1]);
	iv_deinit();
}

static void child_with_new_loop(void)
{
	struct counted c[2];
	pid_t pid;

	iv_init();
	watch(&c[0], SIGUSR1, 0);
	watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	pid = fork_checked();
	if (pid == 0) {
		iv_deinit();
		iv_init();
		watch(&c[1], SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
		watch(&c[0], SIGUSR1, 0);
		raise(SIGUSR1);
		run_loop();
		check_int(c[0].calls, 0);
		check_int(c[1].calls, 1);
		_exit(0);
	}
	check_child(pid);
	unwatch(&c[0]);
	unwatch(&c[1]);
	iv_deinit();
}

static void child_takes_no_pending_signal(void)
{
	struct counted c;
	pid_t pid;

	iv_init();
	watch(&c, SIGUSR1, 0);
	raise(SIGUSR1);
	pid = fork_checked();
	if (pid == 0) {
		run_loop();
		_exit(c.calls);
	}
	check_child(pid);
	run_loop();
	check_int(c.calls, 1);
	unwatch(&c);
	iv_deinit();
}

/* The forks are at random points of the other threads' calls. */
static void fork_while_others_register(void)
{
	struct counted own;
	sigset_t none;
	pthread_t t[2];
	pid_t pid;
	int i;

	skip_under(ASAN | TSAN, "leaves its malloc locked in some children");
	iv_init();
	sigemptyset(&none);
	for (i = 0; i < 2; i++)
		check_int(pthread_create(&t[i], NULL, register_often, NULL), 0);
	for (i = 0; i < 300; i++) {
		pid = fork_checked();
		if (pid == 0) {
			alarm(30);
			check_mask(&none);
			watch(&own, SIGUSR1, 0);
			raise(SIGUSR1);
			run_loop();
			check_int(own.calls, 1);
			unwatch(&own);
			check(disposition(SIGUSR1) == SIG_DFL);
			check_mask(&none);
			_exit(0);
		}
		check_child(pid);
	}
	check_mask(&none);
	atomic_store_explicit(&stop, 1, memory_order_relaxed);
	for (i = 0; i < 2; i++)
		check_int(pthread_join(t[i], NULL), 0);
	iv_deinit();
}

/* Another thread forks at each instruction of these calls. */
static void register_and_unregister(void)
{
	static struct counted c[2];

	iv_init();
	signal(SIGUSR2, SIG_IGN);
	/* The first calls run the dynamic linker, for many instructions. */
	watch(&c[0], SIGUSR1, 0);
	unwatch(&c[0]);
	watch(&c[0], SIGUSR1, IV_SIGNAL_FLAG_EXCLUSIVE);

	forks_begin(NULL);
	watch(&c[1], SIGUSR2, 0);
	unwatch(&c[0]);
	unwatch(&c[1]);
	forks_end();
	check(disposition(SIGUSR1) == SIG_DFL);
	check(disposition(SIGUSR2) == SIG_IGN);
}

static void use_in_child(void)
{
	struct counted own;

	watch(&own, SIGHUP, 0);
	check(disposition(SIGUSR1) == SIG_DFL);
	check(disposition(SIGUSR2) == SIG_IGN);
	own.s.handler = count_and_quit;
	count_to = 1;
	raise(SIGHUP);
	iv_main();
	unwatch(&own);
	check(disposition(SIGHUP) == SIG_DFL);
}

static void fork_anywhere_in_calls(void)
{
	check_forks(register_and_unregister, use_in_child);
}

/*
 * A signal handler forks after some instructions of the calls, which then go on
 * in both processes.  The child has inherited the objects.
 */
static struct {
	int	forked;
	int	ended;
} *shared;

static void fork_in_handler(int sig)
{
	int status;
	pid_t pid;

	(void)sig;
	pid = fork();
	if (pid == 0) {
		alarm(60);
		return;
	}
	shared->forked = 1;
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
}

static void run_interrupted(void)
{
	struct counted c[2], own;
	pid_t parent = getpid();

	iv_init();
	watch(&c[0], SIGHUP, 0);
	unwatch(&c[0]);
	watch(&c[0], SIGHUP, IV_SIGNAL_FLAG_EXCLUSIVE);
	signal(SIGUSR1, fork_in_handler);

	tracee_begins();
	watch(&c[1], SIGUSR2, 0);
	unwatch(&c[0]);
	shared->ended = 1;

	watch(&own, SIGTERM, 0);
	if (getpid() == parent)
		raise(SIGUSR2);
	raise(SIGTERM);
	run_loop();
	check_int(c[1].calls, getpid() == parent);
	check_int(own.calls, 1);
	unwatch(&own);
	unwatch(&c[1]);
	check(disposition(SIGUSR2) == SIG_DFL);
	iv_deinit();
	_exit(0);
}

static void fork_in_signal_handler(void)
{
	int last = 0;
	int num;

	skip_under(TSAN | MEMCHECK, "delays signals");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED);
	for (num = 0; !last; num += 17) {
		pid_t pid;

		memset(shared, 0, sizeof(*shared));
		pid = fork_checked();
		if (pid == 0)
			run_interrupted();
		tracee_trace(pid);
		tracee_steps(pid, num);
		last = shared->ended;
		tracee_leave(pid, SIGUSR1);
		check_child(pid);
		check_int(shared->forked, 1);
	}
	check(num > 100);
}


static struct counted misused;

static void no_loop(void)
{
	prepare(&misused, SIGUSR1, 0);
	iv_signal_register(&misused.s);
}

static void twice(void)
{
	iv_init();
	watch(&misused, SIGUSR1, 0);
	iv_signal_register(&misused.s);
}

static void not_registered(void)
{
	iv_init();
	prepare(&misused, SIGUSR1, 0);
	IV_SIGNAL_INIT(&misused.s);
	iv_signal_unregister(&misused.s);
}

static void not_a_signal(void)
{
	iv_init();
	prepare(&misused, -1, 0);
	iv_signal_unregister(&misused.s);
}

static void *unwatch_misused(void *arg)
{
	iv_init();
	unwatch(&misused);

	return arg;
}

static void wrong_thread(void)
{
	iv_init();
	watch(&misused, SIGUSR1, IV_SIGNAL_FLAG_THIS_THREAD);
	in_thread(unwatch_misused, 0);
}

static void no_handler(void)
{
	iv_init();
	watch(&misused, SIGUSR1, 0);
	misused.s.handler = NULL;
	raise(SIGUSR1);
	iv_main();
}

static void mistakes(void)
{
	check_fatal(no_loop, "iv_signal_register");
	check_fatal(twice, "iv_signal_register");
	check_fatal(not_registered, "is not registered");
	check_fatal(not_a_signal, "iv_signal_unregister");
	check_fatal(wrong_thread, "iv_signal_unregister");
	check_fatal(no_handler, "has no handler");
}

static void initialiser(void)
{
	struct iv_signal s;

	s.signum = 12;
	s.flags = 3;
	s.cookie = &s;
	s.handler = count;
	IV_SIGNAL_INIT(&s);
	check_int(s.signum, 12);
	check_int(s.flags, 3);
	check(s.cookie == &s);
	check(s.handler == count);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "signals before the loop runs are coalesced into one call",
		  handler_runs_once, EACH, 0 },
		{ "a signal to any thread wakes the owner's sleeping loop",
		  sleeping_loop_wakes_up, EACH, 0 },
		{ "a signal raised in the handler makes it run again",
		  raised_in_handler, EACH, 0 },
		{ "an object may be unregistered and freed in its handler",
		  freed_in_handler, EACH, 0 },
		{ "unregistering discards a pending signal",
		  pending_is_discarded, EACH, 0 },
		{ "a signal calls all objects for it and no others",
		  each_signal_to_its_objects, EACH, 0 },
		{ "every signal that can be caught calls its object",
		  all_signals, ONCE, 0 },
		{ "an unusable signal number is refused with EINVAL",
		  unusable_numbers, ONCE, 0 },
		{ "at the descriptor limit registering fails with EMFILE",
		  no_descriptor_left, EACH, 0 },
		{ "the first exclusive object is called alone",
		  exclusive_called_alone, ONCE, 0 },
		{ "a thread's own objects come before the process-wide ones",
		  own_before_process_wide, ONCE, 0 },
		{ "a thread's signal does not call other threads' own objects",
		  other_threads_own_objects, ONCE, 0 },
		{ "a signal to a thread calls that thread's own object",
		  signal_to_one_thread, EACH_METHOD, 0 },
		{ "unregistering an exclusive object passes its signal on",
		  exclusive_passes_on, ONCE, 0 },
		{ "an exclusive object that was called passes nothing on",
		  called_passes_nothing_on, ONCE, 0 },
		{ "only exclusive objects pass a signal on, in their group",
		  passes_on_within_group, ONCE, 0 },
		{ "no signal is lost while exclusive objects come and go",
		  none_is_lost, EACH_BACKEND, 0 },
		{ "unregistering the last object restores SIG_IGN",
		  disposition_is_restored, ONCE, 0 },
		{ "unregistering the last object restores an earlier handler",
		  handlers_are_restored, ONCE, 0 },
		{ "the signal handler restarts calls and blocks all signals",
		  installed_handler, ONCE, 0 },
		{ "the signal handler runs on a thread's alternate stack",
		  small_stack, ONCE, 0 },
		{ "a thread's own fault has the same effect as without objects",
		  own_faults, ONCE, 0 },
		{ "a fault's signal that was sent is like any other signal",
		  faults_sent_by_others, ONCE, 0 },
		{ "the signal mask is respected and not changed",
		  mask_is_kept, ONCE, 0 },
		{ "the signal handler keeps errno",
		  errno_is_kept, EACH_BACKEND, 0 },
		{ "the signal handler is not a cancellation point",
		  pending_cancellation, EACH_BACKEND, 0 },
		{ "the calls are not cancellation points",
		  calls_with_pending_cancellation, EACH, 0 },
		{ "a signal in a forked child calls no handler",
		  inert_in_child, EACH, 0 },
		{ "a signal in a vforked child calls no handler",
		  inert_after_vfork, ONCE, 0 },
		{ "a child's first object replaces all inherited ones",
		  child_begins_anew, EACH, 0 },
		{ "a child may unregister inherited objects",
		  child_unregisters_inherited, EACH, 0 },
		{ "a child may begin a new loop",
		  child_with_new_loop, EACH, 0 },
		{ "a child's loop does not take the parent's pending signal",
		  child_takes_no_pending_signal, EACH, 0 },
		{ "a child forked while others register may use iv_signal",
		  fork_while_others_register, ONCE, 0 },
		{ "a child forked at any point of a call may use iv_signal",
		  fork_anywhere_in_calls, ONCE, 120 },
		{ "a signal handler may fork during a call",
		  fork_in_signal_handler, ONCE, 120 },
		{ "mistakes are fatal", mistakes, ONCE, 0 },
		{ "the initialiser leaves public members alone",
		  initialiser, ONCE, 0 },
	};

	return check_main(cases, argc, argv);
}

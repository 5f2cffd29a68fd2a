/*
 * libivykis: iv_wait.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_signal.h>
#include <iv_wait.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_PIDFD_OPEN
#include <sys/pidfd.h>
#endif
#include "check.h"

#define STOPPED		(SIGSTOP << 8 | 0x7f)
#define CONTINUED	0xffff

/* Older versions of the library do not define it. */
#ifndef IV_WAIT_STATUS_UNKNOWN
#define IV_WAIT_STATUS_UNKNOWN	0x1ff00
#endif

/* An interest that records its reports. */
struct watched {
	struct iv_wait_interest	w;
	int			num;
	int			status[16];
	int			quit_at;	/* this many reports */
};

static void record(void *_c, int status, const struct rusage *rusage)
{
	struct watched *c = _c;

	check(rusage != NULL);
	check(c->num < 16);
	c->status[c->num++] = status;
	if (c->num == c->quit_at)
		iv_quit();
}

/* The private members stay uninitialised, as in old programs. */
static void prepare(struct watched *c, pid_t pid)
{
	memset(c, 0xa5, sizeof(*c));
	c->w.pid = pid;
	c->w.cookie = c;
	c->w.handler = record;
	c->num = 0;
	c->quit_at = 1;
}

static void watch(struct watched *c, pid_t pid)
{
	prepare(c, pid);
	iv_wait_interest_register(&c->w);
}

static void unwatch(struct watched *c)
{
	iv_wait_interest_unregister(&c->w);
}

/* Run the loop until there are num reports in all. */
static void await(struct watched *c, int num)
{
	c->quit_at = num;
	while (c->num < num)
		iv_main();
	check_int(c->num, num);
}

/* A timer that stops the loop after some iterations. */
struct countdown {
	struct iv_timer		timer;
	int			left;
	int			ms;		/* between two, at least */
};

static void set_timer(struct countdown *d)
{
	iv_invalidate_now();
	d->timer.expires = iv_now;
	d->timer.expires.tv_nsec += d->ms * 1000000L;
	if (d->timer.expires.tv_nsec >= 1000000000) {
		d->timer.expires.tv_sec++;
		d->timer.expires.tv_nsec -= 1000000000;
	}
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

static void run_for(int num, int ms)
{
	struct countdown d = { .left = num, .ms = ms };

	IV_TIMER_INIT(&d.timer);
	d.timer.cookie = &d;
	d.timer.handler = count_down;
	set_timer(&d);
	iv_main();
}

/* Afterwards every pending report has been handled. */
static void run_loop(void)
{
	run_for(5, 2);
}

/* Check that the loop sleeps. */
static void check_idle(void)
{
	long cpu = cpu_ms();

	run_for(1, 500);
	check(cpu_ms() - cpu < 150);
}


/*
 * Children.
 */
static void exit_with(void *status)
{
	_exit(*(int *)status);
}

static void pause_for_ever(void *cookie)
{
	(void)cookie;
	for (;;)
		pause();
}

static void spawn(struct watched *c, void (*fn)(void *), void *cookie)
{
	prepare(c, -1);
	check_int(iv_wait_interest_register_spawn(&c->w, fn, cookie), 0);
	check(c->w.pid > 0);
}

static pid_t fork_checked(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	check(pid >= 0);

	return pid;
}

static pid_t fork_pausing(void)
{
	pid_t pid = fork_checked();

	if (pid == 0)
		pause_for_ever(NULL);

	return pid;
}

static pid_t fork_exiting(int status)
{
	pid_t pid = fork_checked();

	if (pid == 0)
		_exit(status);

	return pid;
}

/* Wait until the child is dead, but do not reap it. */
static void await_death(pid_t pid)
{
	siginfo_t info;

	/* If the child is watched, the library may have reaped it. */
	check(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0 ||
	      errno == ECHILD);
}

static void in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, fn, arg), 0);
	check_int(pthread_join(t, NULL), 0);
}


static void death_of_spawned(void)
{
	struct watched c;
	int status = 42;

	iv_init();
	spawn(&c, exit_with, &status);
	await(&c, 1);
	check_int(c.status[0], 42 << 8);
	check_errno(waitpid(c.w.pid, NULL, 0), ECHILD);
	unwatch(&c);

	spawn(&c, pause_for_ever, NULL);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 1);
	check_int(c.status[0], SIGKILL);
	unwatch(&c);
	iv_main();
	iv_deinit();
}

static void each_state_change(void)
{
	static const int want[] = { STOPPED, CONTINUED, SIGTERM };
	static const int sig[] = { SIGSTOP, SIGCONT, SIGTERM };
	struct watched c;
	int i;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	for (i = 0; i < 3; i++) {
		check_int(kill(c.w.pid, sig[i]), 0);
		await(&c, i + 1);
		check_int(c.status[i], want[i]);
	}
	unwatch(&c);
	iv_deinit();
}

static void *fork_in_thread(void *pid)
{
	*(pid_t *)pid = fork_pausing();

	return NULL;
}

static void forked_by_another_thread(void)
{
	struct watched c;
	pid_t pid;

	iv_init();
	in_thread(fork_in_thread, &pid);
	watch(&c, pid);
	run_loop();
	check_int(c.num, 0);
	check_int(iv_wait_interest_kill(&c.w, SIGINT), 0);
	await(&c, 1);
	check_int(c.status[0], SIGINT);
	unwatch(&c);
	iv_deinit();
}

static void dead_before_registered(void)
{
	struct watched c;
	pid_t pid;

	iv_init();
	pid = fork_exiting(3);
	await_death(pid);
	watch(&c, pid);
	await(&c, 1);
	check_int(c.status[0], 3 << 8);
	unwatch(&c);

	/* Registering does not call the handler: the loop does. */
	pid = fork_exiting(4);
	await_death(pid);
	watch(&c, pid);
	check_int(c.num, 0);
	unwatch(&c);
	run_loop();
	check_int(c.num, 0);
	iv_deinit();
}

static void stopped_before_registered(void)
{
	struct watched c;
	siginfo_t info;
	pid_t pid;

	iv_init();
	pid = fork_pausing();
	check_int(kill(pid, SIGSTOP), 0);
	check_int(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
	watch(&c, pid);
	await(&c, 1);
	check_int(c.status[0], STOPPED);
	check_int(kill(pid, SIGKILL), 0);
	await(&c, 2);
	check_int(c.status[1], SIGKILL);
	unwatch(&c);
	iv_deinit();
}

static void check_usage(void *_c, int status, const struct rusage *rusage)
{
	record(_c, status, rusage);
	check(rusage->ru_maxrss > 0);
	check(rusage->ru_utime.tv_sec * 1000000L + rusage->ru_utime.tv_usec +
	      rusage->ru_stime.tv_sec * 1000000L + rusage->ru_stime.tv_usec > 0);
}

static void use_cpu_time(void *cookie)
{
	(void)cookie;
	while (cpu_ms() < 50)
		;
	_exit(0);
}

static void resource_usage(void)
{
	struct watched c;

	iv_init();
	spawn(&c, use_cpu_time, NULL);
	c.w.handler = check_usage;
	await(&c, 1);
	unwatch(&c);
	iv_deinit();
}

static int ended;

static void unwatch_and_free(void *_c, int status, const struct rusage *rusage)
{
	struct watched *c = _c;

	(void)status;
	(void)rusage;
	unwatch(c);
	memset(c, 0x5a, sizeof(*c));
	free(c);
	ended++;
}

static void freed_in_handler(void)
{
	struct watched *c = malloc(sizeof(*c));
	int status = 0;

	iv_init();
	spawn(c, exit_with, &status);
	c->w.handler = unwatch_and_free;
	iv_main();
	check_int(ended, 1);
	iv_deinit();
}

static void write_byte(void *fd, int status, const struct rusage *rusage)
{
	(void)status;
	(void)rusage;
	check_int(write(*(int *)fd, "", 1), 1);
}

/* The child writes a byte when its interest has received the last report. */
static void loop_for_ever(int fd)
{
	struct watched c;
	int status = 0;

	iv_init();
	spawn(&c, exit_with, &status);
	c.w.cookie = &fd;
	c.w.handler = write_byte;
	iv_main();
	_exit(1);
}

static void check_child_goes_on(void)
{
	pid_t pid;
	int status;
	int fd[2];
	char c;

	check_int(pipe2(fd, O_CLOEXEC), 0);
	pid = fork_checked();
	if (pid == 0)
		loop_for_ever(fd[1]);
	check_int(read(fd[0], &c, 1), 1);
	/* Time to exit, in case that iv_main() returns. */
	usleep(100000);
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, SIGKILL);
	close(fd[0]);
	close(fd[1]);
}

static void keeps_loop_running(void)
{
	struct watched c;
	int status = 0;

	check_child_goes_on();
	iv_init();
	spawn(&c, exit_with, &status);
	await(&c, 1);
	run_loop();
	check_int(c.num, 1);
	/* When it is unregistered, the loop returns. */
	unwatch(&c);
	iv_main();
	iv_deinit();
}

/* The first handler to run unregisters both: the other report is discarded. */
struct pair {
	struct watched	c[2];
	int		calls;
};

static void unwatch_both(void *_p, int status, const struct rusage *rusage)
{
	struct pair *p = _p;

	(void)status;
	(void)rusage;
	p->calls++;
	unwatch(&p->c[0]);
	unwatch(&p->c[1]);
}

static void unregistering_discards_report(void)
{
	struct pair p = { .calls = 0 };
	int status = 0;
	int i;

	iv_init();
	for (i = 0; i < 2; i++) {
		spawn(&p.c[i], exit_with, &status);
		p.c[i].w.handler = unwatch_both;
		p.c[i].w.cookie = &p;
	}
	for (i = 0; i < 2; i++)
		await_death(p.c[i].w.pid);
	iv_main();
	check_int(p.calls, 1);
	iv_deinit();
}

static void many(void)
{
	static struct watched c[100];
	int status[100];
	int i;

	iv_init();
	for (i = 0; i < 100; i++) {
		status[i] = i;
		spawn(&c[i], exit_with, &status[i]);
	}
	for (i = 0; i < 100; i++) {
		await(&c[i], 1);
		check_int(c[i].status[0], i << 8);
	}
	for (i = 0; i < 100; i++)
		unwatch(&c[i]);
	iv_deinit();
}


static void kill_after_death(void)
{
	struct watched c;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	check_int(iv_wait_interest_kill(&c.w, 0), 0);
	check_errno(iv_wait_interest_kill(&c.w, 1000), EINVAL);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 1);
	errno = ENOTTY;
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), -ESRCH);
	check_int(iv_wait_interest_kill(&c.w, 1000), -ESRCH);
	check_int(errno, ENOTTY);
	unwatch(&c);
	iv_deinit();
}

static void *kill_it(void *c)
{
	check_int(iv_wait_interest_kill(&((struct watched *)c)->w, SIGKILL), 0);

	return NULL;
}

static void kill_from_another_thread(void)
{
	struct watched c;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	in_thread(kill_it, &c);
	await(&c, 1);
	check_int(c.status[0], SIGKILL);
	unwatch(&c);
	iv_deinit();
}

/* Make the kernel give the next process this ID. */
static int set_next_pid(pid_t pid)
{
	FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "w");
	int ok = f != NULL && fprintf(f, "%d", (int)pid - 1) > 0;

	if (f != NULL && fclose(f) != 0)
		ok = 0;

	return ok;
}

static void pid_reused(void)
{
	struct watched old, new;
	int status = 0;
	int i;

	iv_init();
	spawn(&old, exit_with, &status);
	await(&old, 1);
	for (i = 0; i < 50; i++) {
		if (!set_next_pid(old.w.pid))
			skip("the next process ID cannot be set");
		spawn(&new, pause_for_ever, NULL);
		if (new.w.pid == old.w.pid)
			break;
		check_int(iv_wait_interest_kill(&new.w, SIGKILL), 0);
		await(&new, 1);
		unwatch(&new);
	}
	if (new.w.pid != old.w.pid)
		skip("other processes took the process ID first");

	check_int(iv_wait_interest_kill(&old.w, SIGKILL), -ESRCH);
	run_loop();
	check_int(new.num, 0);
	check_int(iv_wait_interest_kill(&new.w, SIGTERM), 0);
	await(&new, 1);
	check_int(new.status[0], SIGTERM);
	check_int(old.num, 1);
	unwatch(&old);
	unwatch(&new);
	iv_deinit();
}


static void stop_of_another_child(void)
{
	struct watched c;
	siginfo_t info;
	int status;
	pid_t pid;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	pid = fork_pausing();
	check_int(kill(pid, SIGSTOP), 0);
	/* Wait until it has stopped, but leave its state for waitpid(). */
	check_int(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
	run_loop();
	check_int(c.num, 0);
	check_int(waitpid(pid, &status, WUNTRACED | WNOHANG), pid);
	check_int(status, STOPPED);

	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 1);
	unwatch(&c);
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, &status, 0), pid);
	iv_deinit();
}

static void other_children_are_left_alone(void)
{
	struct watched c;
	int status;
	pid_t pid[3];

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	pid[0] = fork_exiting(5);
	pid[1] = fork_pausing();
	pid[2] = fork_pausing();
	check_int(kill(pid[1], SIGSTOP), 0);
	check_int(kill(pid[2], SIGKILL), 0);
	await_death(pid[0]);
	await_death(pid[2]);
	run_loop();
	check_int(c.num, 0);
	check_int(iv_wait_interest_kill(&c.w, SIGSTOP), 0);
	await(&c, 1);
	check_int(c.status[0], STOPPED);

	check_int(waitpid(pid[0], &status, 0), pid[0]);
	check_int(status, 5 << 8);
	check_int(waitpid(pid[1], &status, WUNTRACED), pid[1]);
	check_int(status, STOPPED);
	check_int(waitpid(pid[2], &status, 0), pid[2]);
	check_int(status, SIGKILL);

	check_int(kill(pid[1], SIGKILL), 0);
	check_int(waitpid(pid[1], &status, 0), pid[1]);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 2);
	unwatch(&c);
	iv_deinit();
}

static void unregistered_child_dies(void)
{
	struct watched c[2];
	int status;

	iv_init();
	spawn(&c[0], pause_for_ever, NULL);
	spawn(&c[1], pause_for_ever, NULL);
	unwatch(&c[1]);
	check_int(kill(c[1].w.pid, SIGKILL), 0);
	await_death(c[1].w.pid);
	run_loop();
	check_int(c[0].num, 0);
	check_int(c[1].num, 0);
	check_int(waitpid(c[1].w.pid, &status, 0), c[1].w.pid);
	check_int(status, SIGKILL);
	check_int(iv_wait_interest_kill(&c[0].w, SIGKILL), 0);
	await(&c[0], 1);
	unwatch(&c[0]);
	iv_deinit();
}

static void *run_commands(void *ok)
{
	int i;

	*(int *)ok = 1;
	for (i = 0; i < 100; i++) {
		if (system("exit 7") != 7 << 8)
			*(int *)ok = 0;
	}

	return NULL;
}

static void next_child(void *_c, int status, const struct rusage *rusage);

static void spawn_next(struct watched *c)
{
	static int status = 1;

	spawn(c, exit_with, &status);
	c->w.handler = next_child;
}

static void next_child(void *_c, int status, const struct rusage *rusage)
{
	static int num;
	struct watched *c = _c;

	(void)rusage;
	check_int(status, 1 << 8);
	unwatch(c);
	if (++num < 100)
		spawn_next(c);
}

static void system_in_another_thread(void)
{
	struct watched c;
	pthread_t t;
	int ok;

	iv_init();
	check_int(pthread_create(&t, NULL, run_commands, &ok), 0);
	spawn_next(&c);
	iv_main();
	check_int(pthread_join(t, NULL), 0);
	check_int(ok, 1);
	iv_deinit();
}


static void two_interests(void)
{
	static const int want[] = { STOPPED, CONTINUED, SIGTERM };
	static const int sig[] = { SIGSTOP, SIGCONT, SIGTERM };
	struct watched c[2];
	int i;

	iv_init();
	spawn(&c[0], pause_for_ever, NULL);
	watch(&c[1], c[0].w.pid);
	for (i = 0; i < 3; i++) {
		check_int(kill(c[0].w.pid, sig[i]), 0);
		await(&c[0], i + 1);
		await(&c[1], i + 1);
		check_int(c[0].status[i], want[i]);
		check_int(c[1].status[i], want[i]);
	}
	unwatch(&c[1]);
	check_int(iv_wait_interest_kill(&c[0].w, 0), -ESRCH);
	unwatch(&c[0]);

	/* Either of them is unregistered before the child dies. */
	for (i = 0; i < 2; i++) {
		spawn(&c[0], pause_for_ever, NULL);
		watch(&c[1], c[0].w.pid);
		unwatch(&c[i]);
		check_int(kill(c[0].w.pid, SIGTERM), 0);
		await(&c[!i], 1);
		check_int(c[i].num, 0);
		unwatch(&c[!i]);
	}
	iv_deinit();
}

struct follower {
	pthread_barrier_t	*barrier;
	pid_t			pid;
	struct watched		c;
};

static void *follow(void *_f)
{
	struct follower *f = _f;

	iv_init();
	watch(&f->c, f->pid);
	pthread_barrier_wait(f->barrier);
	await(&f->c, 1);
	check_int(f->c.status[0], SIGTERM);
	unwatch(&f->c);
	iv_deinit();

	return NULL;
}

static void interests_in_two_threads(void)
{
	pthread_barrier_t barrier;
	struct follower f;
	struct watched c;
	pthread_t t;
	int i;

	iv_init();
	check_int(pthread_barrier_init(&barrier, NULL, 2), 0);
	for (i = 0; i < 20; i++) {
		spawn(&c, pause_for_ever, NULL);
		f.barrier = &barrier;
		f.pid = c.w.pid;
		check_int(pthread_create(&t, NULL, follow, &f), 0);
		pthread_barrier_wait(&barrier);
		check_int(iv_wait_interest_kill(&c.w, SIGTERM), 0);
		await(&c, 1);
		check_int(pthread_join(t, NULL), 0);
		check_int(c.status[0], SIGTERM);
		unwatch(&c);
	}
	iv_deinit();
}

/* A thread receives its reports while the main thread runs no loop. */
static void *wait_in_thread(void *arg)
{
	static const int sig[] = { SIGSTOP, SIGCONT, SIGTERM };
	struct watched c;
	int i;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	for (i = 0; i < 3; i++) {
		check_int(kill(c.w.pid, sig[i]), 0);
		await(&c, i + 1);
	}
	unwatch(&c);
	iv_deinit();

	return arg;
}

static void thread_that_is_busy(void)
{
	struct watched c;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	/* This loop does not run until that thread has ended. */
	in_thread(wait_in_thread, NULL);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 1);
	unwatch(&c);
	iv_deinit();
}


static void no_descriptors(void)
{
	struct iv_event event;
	struct watched c;
	int status = 6;
	int former;

	iv_init();
	/* With the wakeup open, it is the descriptor for SIGCHLD that fails. */
	IV_EVENT_INIT(&event);
	check_int(iv_event_register(&event), 0);
	former = limit_descriptors(3);
	prepare(&c, -1);
	check_errno(iv_wait_interest_register_spawn(&c.w, exit_with, &status),
		    EMFILE);
	check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
	limit_descriptors(former);

	iv_event_unregister(&event);
	iv_main();
	spawn(&c, exit_with, &status);
	await(&c, 1);
	unwatch(&c);
	iv_deinit();
}

static void register_without_descriptors(void)
{
	struct watched c;

	iv_init();
	limit_descriptors(3);
	watch(&c, getpid());
}

static void no_descriptors_for_register(void)
{
	check_fatal(register_without_descriptors,
		    "iv_wait_interest_register: Too many open files");
}

static void no_descriptors_for_try(void)
{
	struct watched c;
	siginfo_t info;
	int former;

	iv_init();
	prepare(&c, fork_exiting(3));
	former = limit_descriptors(3);
	check_errno(iv_wait_interest_register_try(&c.w), EMFILE);
	check_errno(iv_wait_interest_register_try(&c.w), EMFILE);
	limit_descriptors(former);
	iv_main();
	/* The child has not been waited for. */
	check_int(waitid(P_PID, c.w.pid, &info, WEXITED | WNOWAIT), 0);

	errno = 77;
	check_int(iv_wait_interest_register_try(&c.w), 0);
	check_int(errno, 77);
	await(&c, 1);
	check_int(c.status[0], 3 << 8);
	unwatch(&c);
	iv_main();
	iv_deinit();
}

/* At the descriptor limit the child is watched without a pidfd. */
static void no_descriptor_for_pidfd(void)
{
	struct watched c[2];
	int former;

	iv_init();
	spawn(&c[0], pause_for_ever, NULL);
	former = limit_descriptors(lowest_descriptor());
	spawn(&c[1], pause_for_ever, NULL);
	limit_descriptors(former);

	check_int(iv_wait_interest_kill(&c[1].w, SIGKILL), 0);
	await(&c[1], 1);
	unwatch(&c[1]);
	check_int(iv_wait_interest_kill(&c[0].w, SIGKILL), 0);
	await(&c[0], 1);
	unwatch(&c[0]);
	iv_deinit();
}

static void fork_fails(void)
{
	struct watched c;
	int status = 0;

	iv_init();
	refuse("clone", EAGAIN);
	refuse("fork", EAGAIN);
	prepare(&c, -1);
	check_errno(iv_wait_interest_register_spawn(&c.w, exit_with, &status),
		    EAGAIN);
	iv_main();
	iv_deinit();
}

static void without_pidfd(int err)
{
	refuse("pidfd_open", err);
	each_state_change();
	death_of_spawned();
	dead_before_registered();
	two_interests();
	thread_that_is_busy();
}

static void pidfd_absent(void)
{
	without_pidfd(ENOSYS);
}

static void pidfd_forbidden(void)
{
	without_pidfd(EPERM);
}


static int pidfd_is_refused(void)
{
#ifdef HAVE_PIDFD_OPEN
	int fd = pidfd_open(getpid(), 0);

	if (fd >= 0)
		close(fd);

	return fd < 0;
#else
	return 1;
#endif
}

static volatile sig_atomic_t caught;

static void catch(int sig)
{
	caught = sig;
}

static void program_handles_sigchld(void)
{
	struct watched c;
	int status = 9;

	if (pidfd_is_refused())
		skip("no pidfd");
	iv_init();
	spawn(&c, pause_for_ever, NULL);
	check(signal(SIGCHLD, catch) != SIG_ERR);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 1);
	unwatch(&c);
	check_int(caught, SIGCHLD);

	/* The program's handler is restored. */
	spawn(&c, exit_with, &status);
	await(&c, 1);
	unwatch(&c);
	caught = 0;
	raise(SIGCHLD);
	check_int(caught, SIGCHLD);
	iv_deinit();
}

static void count(void *num)
{
	++*(int *)num;
}

static void iv_signal_for_sigchld(void)
{
	static const unsigned int flags[] = {
		0, IV_SIGNAL_FLAG_EXCLUSIVE, IV_SIGNAL_FLAG_THIS_THREAD,
	};
	struct iv_signal s;
	struct watched c;
	int num;
	int i;

	iv_init();
	for (i = 0; i < 3; i++) {
		num = 0;
		IV_SIGNAL_INIT(&s);
		s.signum = SIGCHLD;
		s.flags = flags[i];
		s.cookie = &num;
		s.handler = count;
		check_int(iv_signal_register(&s), 0);

		spawn(&c, pause_for_ever, NULL);
		check_int(iv_wait_interest_kill(&c.w, SIGSTOP), 0);
		await(&c, 1);
		check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
		await(&c, 2);
		run_loop();
		check(num >= 1 && num <= 2);
		unwatch(&c);
		iv_signal_unregister(&s);
	}
	iv_deinit();
}

static void sigchld_is_restored(void)
{
	struct sigaction sa;
	struct watched c;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	check_int(sigaction(SIGCHLD, NULL, &sa), 0);
	check_int(sa.sa_flags & (SA_RESTART | SA_ONSTACK),
		  SA_RESTART | SA_ONSTACK);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await(&c, 1);
	unwatch(&c);
	check_int(sigaction(SIGCHLD, NULL, &sa), 0);
	check(sa.sa_handler == SIG_DFL);
	iv_deinit();
}

/*
 * Children that other code waits for, or that the kernel reaps.  The library
 * reports that they have terminated, with an unknown status.
 */
static void check_unknown(void *_c, int status, const struct rusage *rusage)
{
	static const struct rusage none;

	record(_c, status, rusage);
	check_int(status, IV_WAIT_STATUS_UNKNOWN);
	check(WIFEXITED(status));
	check_int(WEXITSTATUS(status), 255);
	check(!WIFSIGNALED(status));
	check(!WIFSTOPPED(status));
	check(!WIFCONTINUED(status));
	check(!memcmp(rusage, &none, sizeof(none)));
}

static void await_unknown(struct watched *c)
{
	c->w.handler = check_unknown;
	await(c, 1);
	errno = ENOTTY;
	check_int(iv_wait_interest_kill(&c->w, SIGKILL), -ESRCH);
	check_int(errno, ENOTTY);
}

static void reaped_by_program(void)
{
	struct watched c[2];

	iv_init();
	spawn(&c[0], pause_for_ever, NULL);
	watch(&c[1], c[0].w.pid);
	check_int(kill(c[0].w.pid, SIGKILL), 0);
	check_int(waitpid(c[0].w.pid, NULL, 0), c[0].w.pid);
	check_errno(iv_wait_interest_kill(&c[0].w, SIGKILL), ESRCH);
	await_unknown(&c[0]);
	await_unknown(&c[1]);
	check_idle();
	check_int(c[0].num, 1);
	check_int(c[1].num, 1);
	unwatch(&c[0]);
	unwatch(&c[1]);
	iv_main();
	iv_deinit();
}

static void reaped_before_registered(void)
{
	struct watched c;
	pid_t pid;

	iv_init();
	pid = fork_exiting(3);
	check_int(waitpid(pid, NULL, 0), pid);
	watch(&c, pid);
	check_int(c.num, 0);
	await_unknown(&c);
	unwatch(&c);
	iv_main();
	iv_deinit();
}

static void sigchld_is_ignored(void)
{
	struct watched c;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	check(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
	await_unknown(&c);
	unwatch(&c);
	iv_main();
	iv_deinit();
}

/* With SIGCHLD blocked, the library's signal handler is not called. */
static void sigchld_is_blocked(void)
{
	struct watched c;
	sigset_t sigchld;
	int status = 5;

	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	check_int(pthread_sigmask(SIG_BLOCK, &sigchld, NULL), 0);
	iv_init();
	spawn(&c, exit_with, &status);
	await(&c, 1);
	check_int(c.status[0], 5 << 8);
	unwatch(&c);
	spawn(&c, pause_for_ever, NULL);
	check_int(kill(c.w.pid, SIGKILL), 0);
	check_int(waitpid(c.w.pid, NULL, 0), c.w.pid);
	await_unknown(&c);
	unwatch(&c);
	iv_main();
	iv_deinit();
}

/* Set to end the other thread. */
static atomic_int stop;

/* As a program does that is PID 1. */
static void *wait_for_any(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (waitpid(-1, NULL, 0) < 0)
			usleep(100);
	}

	return arg;
}

static void reaped_by_another_thread(void)
{
	struct watched c;
	pthread_t t;
	int status;
	int i;

	iv_init();
	check_int(pthread_create(&t, NULL, wait_for_any, NULL), 0);
	for (i = 0; i < 200; i++) {
		status = i & 127;
		spawn(&c, exit_with, &status);
		await(&c, 1);
		if (c.status[0] != IV_WAIT_STATUS_UNKNOWN)
			check_int(c.status[0], status << 8);
		unwatch(&c);
	}
	atomic_store_explicit(&stop, 1, memory_order_relaxed);
	check_int(pthread_join(t, NULL), 0);
	iv_deinit();
}

/* A process that is not this one's child, and that its parent waits for. */
static void child_of_another_process(void)
{
	struct watched c;
	int fd[2], go[2];
	pid_t parent, pid;
	int i;

	iv_init();
	check_int(pipe2(fd, O_CLOEXEC), 0);
	check_int(pipe2(go, O_CLOEXEC), 0);
	for (i = 0; i < 2; i++) {
		parent = fork_checked();
		if (parent == 0) {
			pid = fork_pausing();
			check_int(write(fd[1], &pid, sizeof(pid)), sizeof(pid));
			check_int(read(go[0], &c, 1), 1);
			check_int(kill(pid, SIGKILL), 0);
			check_int(waitpid(pid, NULL, 0), pid);
			_exit(0);
		}
		check_int(read(fd[0], &pid, sizeof(pid)), sizeof(pid));
		watch(&c, pid);
		run_loop();
		check_int(c.num, 0);
		check_int(iv_wait_interest_kill(&c.w, 0), 0);
		check_int(write(go[1], "", 1), 1);
		/* Let its parent reap it before the loop runs, or meanwhile. */
		if (i)
			check_child(parent);
		await_unknown(&c);
		if (!i)
			check_child(parent);
		unwatch(&c);
	}
	close(fd[0]);
	close(fd[1]);
	close(go[0]);
	close(go[1]);
	iv_main();
	iv_deinit();
}

static void unknown_ends(void)
{
	reaped_by_program();
	reaped_before_registered();
	child_of_another_process();
	reaped_by_another_thread();
	sigchld_is_blocked();
	sigchld_is_ignored();
}

static void unknown_ends_without_pidfd(void)
{
	refuse("pidfd_open", ENOSYS);
	unknown_ends();
}

/* The process ID of a child that was reaped is reused at once. */
static void pid_of_reaped_reused(void)
{
	struct watched c;
	int status;
	pid_t pid;
	int i;

	if (pidfd_is_refused())
		skip("no pidfd");
	iv_init();
	for (i = 0; i < 50; i++) {
		spawn(&c, pause_for_ever, NULL);
		check_int(kill(c.w.pid, SIGKILL), 0);
		check_int(waitpid(c.w.pid, NULL, 0), c.w.pid);
		if (!set_next_pid(c.w.pid))
			skip("the next process ID cannot be set");
		pid = fork_exiting(4);
		if (pid == c.w.pid)
			break;
		check_int(waitpid(pid, NULL, 0), pid);
		unwatch(&c);
	}
	if (i == 50)
		skip("other processes took the process ID first");

	await_death(pid);
	check_errno(iv_wait_interest_kill(&c.w, 0), ESRCH);
	await_unknown(&c);
	/* The new process has been left for the program to wait for. */
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 4 << 8);
	unwatch(&c);
	iv_deinit();
}

/* Reap all children that have terminated, as the manual recommends. */
static void wait_for_all(void *num)
{
	struct iv_wait_interest w;
	siginfo_t info;

	while (info.si_pid = 0,
	       waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid != 0) {
		w.pid = info.si_pid;
		iv_wait_interest_register(&w);
		iv_wait_interest_unregister(&w);
		++*(int *)num;
	}
}

static void leave_orphan(void *_fd)
{
	const int *fd = _fd;
	char byte;

	close(fd[1]);
	if (fork() == 0) {
		/* This waits until the other end is closed. */
		check_int(read(fd[0], &byte, 1), 0);
		_exit(0);
	}
	_exit(6);
}

static void orphans(void)
{
	struct iv_signal s;
	struct watched c;
	int num = 0;
	int fd[2];
	int i;

	need_orphans();
	iv_init();
	IV_SIGNAL_INIT(&s);
	s.signum = SIGCHLD;
	s.flags = 0;
	s.cookie = &num;
	s.handler = wait_for_all;
	check_int(iv_signal_register(&s), 0);
	for (i = 0; i < 20; i++) {
		check_int(pipe2(fd, O_CLOEXEC), 0);
		spawn(&c, leave_orphan, fd);
		close(fd[0]);
		await(&c, 1);
		check_int(c.status[0], 6 << 8);
		unwatch(&c);
		num = 0;
		close(fd[1]);
		while (num == 0)
			run_loop();
		check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
	}
	iv_signal_unregister(&s);
	iv_deinit();
}

/* While its tracer lives, a dead child cannot be reaped by the parent. */
static pid_t fork_tracer(pid_t pid)
{
	int ready[2];
	pid_t tracer;
	char c;

	check_int(pipe2(ready, O_CLOEXEC), 0);
	tracer = fork_checked();
	if (tracer == 0) {
		/* SIGCHLD of the traced child must not cut the sleep short. */
		signal(SIGCHLD, SIG_DFL);
		if (trace_running(pid) < 0)
			_exit(1);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		usleep(1000000);
		_exit(0);
	}
	close(ready[1]);
	c = read(ready[0], &c, 1) == 1;
	close(ready[0]);
	if (!c)
		skip("no tracing");

	return tracer;
}

static void traced_child_dies(void)
{
	struct watched c;
	pid_t tracer;
	long cpu;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	allow_tracers();
	tracer = fork_tracer(c.w.pid);
	cpu = cpu_ms();
	check_int(kill(c.w.pid, SIGKILL), 0);
	await(&c, 1);
	check_int(c.status[0], SIGKILL);
	/* The loop slept for the second that the tracer lived. */
	check(cpu_ms() - cpu < 250);
	unwatch(&c);
	check_child(tracer);
	iv_deinit();
}


/*
 * What a spawned child inherits.
 */

/* The interest in a spawned child, of which the child has a copy. */
static struct watched spawned;

static void (*dispositions[_NSIG])(int);

static void note_dispositions(void)
{
	struct sigaction sa;
	int sig;

	for (sig = 1; sig < _NSIG; sig++) {
		if (sigaction(sig, NULL, &sa) == 0)
			dispositions[sig] = sa.sa_handler;
	}
}

static void check_signals(void *_want)
{
	const sigset_t *want = _want;
	struct sigaction sa;
	sigset_t mask;
	int sig;

	check_int(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	for (sig = 1; sig < _NSIG; sig++) {
		check_int(sigismember(&mask, sig), sigismember(want, sig));
		if (sigaction(sig, NULL, &sa) == 0)
			check(sa.sa_handler == dispositions[sig]);
	}
	_exit(0);
}

static void signals_of_spawned(void)
{
	struct iv_signal s[2];
	sigset_t mask;
	struct watched c;
	int i;

	iv_init();
	signal(SIGWINCH, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	check_int(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
	note_dispositions();
	check(dispositions[SIGPIPE] == SIG_IGN);
	check(dispositions[SIGHUP] == SIG_DFL);
	for (i = 0; i < 2; i++) {
		IV_SIGNAL_INIT(&s[i]);
		s[i].signum = i ? SIGTERM : SIGHUP;
		s[i].flags = 0;
		s[i].handler = count;
		check_int(iv_signal_register(&s[i]), 0);
	}
	spawn(&c, check_signals, &mask);
	await(&c, 1);
	check_int(c.status[0], 0);
	unwatch(&c);
	iv_signal_unregister(&s[0]);
	iv_signal_unregister(&s[1]);
	iv_deinit();
}

/*
 * SIGTERM is sent right after the fork, so often that some arrive before the
 * child has reset its signal handlers.
 */
static void signal_right_after_spawn(void)
{
	struct iv_signal s;
	struct watched c;
	int calls = 0;
	int i;

	iv_init();
	IV_SIGNAL_INIT(&s);
	s.signum = SIGTERM;
	s.flags = 0;
	s.cookie = &calls;
	s.handler = count;
	check_int(iv_signal_register(&s), 0);
	for (i = 0; i < 500; i++) {
		spawn(&c, pause_for_ever, NULL);
		check_int(iv_wait_interest_kill(&c.w, SIGTERM), 0);
		await(&c, 1);
		check_int(c.status[0], SIGTERM);
		unwatch(&c);
	}
	check_int(calls, 0);
	iv_signal_unregister(&s);
	iv_deinit();
}

static void return_with_text(void *cookie)
{
	(void)cookie;
	printf("flushed");
}

static void spawned_returns(void)
{
	struct watched c;
	char text[16];
	int fd[2];
	int out;

	iv_init();
	check_int(pipe2(fd, O_CLOEXEC), 0);
	fflush(NULL);
	out = dup(1);
	check_int(dup2(fd[1], 1), 1);
	spawn(&c, return_with_text, NULL);
	await(&c, 1);
	check_int(dup2(out, 1), 1);
	close(out);
	close(fd[1]);
	check_int(c.status[0], 1 << 8);
	check_int(read(fd[0], text, sizeof(text)), 7);
	check(!memcmp(text, "flushed", 7));
	close(fd[0]);
	unwatch(&c);
	iv_deinit();
}

static void use_inherited(void *other)
{
	struct watched *c = other;

	alarm(30);
	check(iv_wait_interest_kill(&c->w, SIGKILL) < 0);
	check(iv_wait_interest_kill(&spawned.w, SIGKILL) < 0);
	_exit(0);
}

static void spawned_uses_module(void *cookie)
{
	struct watched c;
	int status = 8;

	(void)cookie;
	alarm(30);
	iv_deinit();
	iv_init();
	spawn(&c, exit_with, &status);
	await(&c, 1);
	check_int(c.status[0], 8 << 8);
	unwatch(&c);
	iv_main();
	iv_deinit();
	_exit(0);
}

static void spawned_unregisters(void *other)
{
	struct watched c;
	int status = 8;

	alarm(30);
	unwatch(other);
	spawn(&c, exit_with, &status);
	await(&c, 1);
	check_int(c.status[0], 8 << 8);
	unwatch(&c);
	unwatch(&spawned);
	_exit(0);
}

static void in_spawned(void (*fn)(void *))
{
	struct watched c;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	spawn(&spawned, fn, &c);
	await(&spawned, 1);
	check_int(spawned.status[0], 0);
	unwatch(&spawned);
	/* The child's calls have not affected the parent's other child. */
	check_int(c.num, 0);
	check_int(iv_wait_interest_kill(&c.w, SIGTERM), 0);
	await(&c, 1);
	check_int(c.status[0], SIGTERM);
	unwatch(&c);
	iv_deinit();
}

static void kill_in_spawned(void)
{
	in_spawned(use_inherited);
}

static void module_in_spawned(void)
{
	in_spawned(spawned_uses_module);
}

static void unregister_in_spawned(void)
{
	in_spawned(spawned_unregisters);
}

static void new_interests_after_fork(void)
{
	struct watched c, own;
	int status = 8;
	pid_t pid;

	iv_init();
	spawn(&c, pause_for_ever, NULL);
	pid = fork_checked();
	if (pid == 0) {
		spawn(&own, exit_with, &status);
		await(&own, 1);
		check_int(own.status[0], 8 << 8);
		unwatch(&own);
		spawn(&own, pause_for_ever, NULL);
		check_int(kill(own.w.pid, SIGSTOP), 0);
		await(&own, 1);
		check_int(own.status[0], STOPPED);
		check_int(kill(own.w.pid, SIGKILL), 0);
		await(&own, 2);
		unwatch(&own);
		_exit(0);
	}
	check_child(pid);
	check_int(iv_wait_interest_kill(&c.w, SIGTERM), 0);
	await(&c, 1);
	unwatch(&c);
	iv_deinit();
}

/*
 * Like a daemon, the child closes all descriptors that it does not know and
 * opens others.  One of these gets the number of the pidfd, and must stay open.
 */
static void closes_and_opens(struct watched *c)
{
	int null = open("/dev/null", O_RDWR);
	int num, fd;

	for (fd = 3; fd < 64; fd++) {
		if (fd != null)
			close(fd);
	}
	for (num = 0; num < 40; num++)
		check(dup(null) >= 0);
	num = num_descriptors();
	unwatch(&c[0]);
	check_int(num_descriptors(), num);
	_exit(0);
}

static void pidfd_closed_in_child(void)
{
	struct watched c[2];
	pid_t pid;

	iv_init();
	spawn(&c[0], pause_for_ever, NULL);
	spawn(&c[1], pause_for_ever, NULL);
	pid = fork_checked();
	if (pid == 0)
		closes_and_opens(c);
	check_child(pid);
	for (pid = 0; pid < 2; pid++) {
		check_int(iv_wait_interest_kill(&c[pid].w, SIGTERM), 0);
		await(&c[pid], 1);
		unwatch(&c[pid]);
	}
	iv_deinit();
}

/* At the fork the report has been collected, and is pending. */
static void inherited_not_called(void)
{
	struct watched c[2];
	pid_t pid;
	int i;

	iv_init();
	spawn(&c[0], pause_for_ever, NULL);
	check_int(kill(c[0].w.pid, SIGKILL), 0);
	await_death(c[0].w.pid);
	watch(&c[1], c[0].w.pid);
	pid = fork_checked();
	if (pid == 0) {
		run_loop();
		check_int(c[0].num, 0);
		check_int(c[1].num, 0);
		_exit(0);
	}
	check_child(pid);
	for (i = 0; i < 2; i++) {
		await(&c[i], 1);
		check_int(c[i].status[0], SIGKILL);
		unwatch(&c[i]);
	}
	iv_deinit();
}

/* Forked by the main thread at random points. */
static void *spawn_and_kill(void *arg)
{
	struct watched c;

	iv_init();
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		spawn(&c, pause_for_ever, NULL);
		check_int(iv_wait_interest_kill(&c.w, SIGKILL), 0);
		await(&c, 1);
		unwatch(&c);
	}
	iv_deinit();

	return arg;
}

static void fork_while_others_wait(void)
{
	struct watched c;
	sigset_t sigchld, mask;
	pthread_t t;
	int status = 8;
	pid_t pid;
	int i;

	skip_under(ASAN | TSAN, "leaves its malloc locked in some children");
	iv_init();
	check_int(pthread_create(&t, NULL, spawn_and_kill, NULL), 0);
	/*
	 * Only that thread takes SIGCHLD: unlike a kernel, qemu may deliver it
	 * here while that thread removes the handler, and jump to SIG_DFL.
	 */
	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	check_int(pthread_sigmask(SIG_BLOCK, &sigchld, &mask), 0);
	for (i = 0; i < 100; i++) {
		pid = fork_checked();
		if (pid == 0) {
			alarm(30);
			check_int(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
			spawn(&c, exit_with, &status);
			await(&c, 1);
			check_int(c.status[0], 8 << 8);
			unwatch(&c);
			_exit(0);
		}
		check_child(pid);
	}
	atomic_store_explicit(&stop, 1, memory_order_relaxed);
	check_int(pthread_join(t, NULL), 0);
	iv_deinit();
}

/* Another thread forks at each instruction of these calls. */
static void register_and_unregister(void)
{
	static struct watched c[3];
	pid_t pid = fork_pausing();

	iv_init();
	/* The first calls run the dynamic linker, for many instructions. */
	watch(&c[0], pid);
	unwatch(&c[0]);
	watch(&c[0], pid);

	forks_begin(NULL);
	watch(&c[1], pid);
	check_int(iv_wait_interest_kill(&c[1].w, SIGKILL), 0);
	unwatch(&c[1]);
	forks_end();
	await(&c[0], 1);
	check_int(c[0].status[0], SIGKILL);
	unwatch(&c[0]);
}

static void spawn_in_child(void)
{
	struct watched c;
	int status = 8;

	spawn(&c, exit_with, &status);
	await(&c, 1);
	check_int(c.status[0], 8 << 8);
	unwatch(&c);
}

static void fork_anywhere_in_calls(void)
{
	check_forks(register_and_unregister, spawn_in_child);
}

static void *spawn_many(void *arg)
{
	struct watched c;
	int status, i;

	iv_init();
	for (i = 0; i < 200; i++) {
		status = i;
		spawn(&c, exit_with, &status);
		await(&c, 1);
		check_int(c.status[0], (i & 255) << 8);
		unwatch(&c);
	}
	iv_deinit();

	return arg;
}

static void several_threads(void)
{
	pthread_t t[4];
	int i;

	for (i = 0; i < 4; i++)
		check_int(pthread_create(&t[i], NULL, spawn_many, NULL), 0);
	for (i = 0; i < 4; i++)
		check_int(pthread_join(t[i], NULL), 0);
	check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
}

/* An interest that is still registered at iv_deinit() may be freed. */
static void loop_ends_first(void)
{
	struct watched *c = malloc(sizeof(*c));
	struct watched other;
	pid_t pid;

	iv_init();
	spawn(c, pause_for_ever, NULL);
	pid = c->w.pid;
	iv_deinit();
	memset(c, 0xa5, sizeof(*c));
	free(c);

	iv_init();
	watch(&other, pid);
	check_int(kill(pid, SIGTERM), 0);
	await(&other, 1);
	check_int(other.status[0], SIGTERM);
	unwatch(&other);
	iv_deinit();
}


/* The calls are not cancellation points, and the child is not cancelled. */
static void exit_after_testcancel(void *status)
{
	pthread_testcancel();
	_exit(*(int *)status);
}

static void *call_cancelled(void *calls)
{
	struct watched c[2];
	int status = 3;

	iv_init();
	pthread_cancel(pthread_self());
	spawn(&c[0], exit_after_testcancel, &status);
	unwatch(&c[0]);
	spawn(&c[0], pause_for_ever, NULL);
	watch(&c[1], c[0].w.pid);
	check_int(iv_wait_interest_kill(&c[0].w, SIGKILL), 0);
	unwatch(&c[1]);
	unwatch(&c[0]);
	*(int *)calls = 1;
	pthread_testcancel();

	return NULL;
}

static void pending_cancellation(void)
{
	int calls = 0;
	pthread_t t;
	void *ret;
	int status;

	check_int(pthread_create(&t, NULL, call_cancelled, &calls), 0);
	check_int(pthread_join(t, &ret), 0);
	check(ret == PTHREAD_CANCELED);
	check_int(calls, 1);
	/* The library may have reaped one of them. */
	while (waitpid(-1, &status, 0) > 0)
		check(status == SIGKILL || status == 3 << 8);
}


static struct watched misused;

static void no_loop(void)
{
	watch(&misused, getpid());
}

static void spawn_without_loop(void)
{
	spawn(&misused, pause_for_ever, NULL);
}

static void no_pid(void)
{
	iv_init();
	watch(&misused, -1);
}

static void twice(void)
{
	iv_init();
	watch(&misused, getpid());
	iv_wait_interest_register(&misused.w);
}

static void twice_for_others(void)
{
	iv_init();
	watch(&misused, getpid());
	misused.w.pid = getppid();
	iv_wait_interest_register(&misused.w);
}

static void try_twice(void)
{
	iv_init();
	watch(&misused, getpid());
	(void)iv_wait_interest_register_try(&misused.w);
}

static void spawn_twice(void)
{
	iv_init();
	watch(&misused, getpid());
	(void)iv_wait_interest_register_spawn(&misused.w, pause_for_ever, NULL);
}

static void unregister_twice(void)
{
	iv_init();
	watch(&misused, getpid());
	unwatch(&misused);
	unwatch(&misused);
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
	watch(&misused, getpid());
	in_thread(unwatch_misused, NULL);
}

static void kill_not_registered(void)
{
	iv_init();
	IV_WAIT_INTEREST_INIT(&misused.w);
	iv_wait_interest_kill(&misused.w, 0);
}

static void no_handler(void)
{
	int status = 0;

	iv_init();
	spawn(&misused, exit_with, &status);
	misused.w.handler = NULL;
	iv_main();
}

static void mistakes(void)
{
	check_fatal(no_loop, "iv_wait_interest_register");
	check_fatal(spawn_without_loop, "iv_wait_interest_register_spawn");
	check_fatal(no_pid, "process id -1");
	check_fatal(twice, "already registered");
	check_fatal(twice_for_others, "already registered");
	check_fatal(try_twice, "iv_wait_interest_register_try: ");
	check_fatal(spawn_twice, "iv_wait_interest_register_spawn: ");
	check_fatal(unregister_twice, "iv_wait_interest_unregister");
	check_fatal(wrong_thread, "not registered in this thread");
	check_fatal(kill_not_registered, "iv_wait_interest_kill");
	check_fatal(no_handler, "has a report and no handler");
}

static void initialiser(void)
{
	struct iv_wait_interest w;

	w.pid = 12;
	w.cookie = &w;
	w.handler = record;
	IV_WAIT_INTEREST_INIT(&w);
	check_int(w.pid, 12);
	check(w.cookie == &w);
	check(w.handler == record);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "the death of a spawned child is reported",
		  death_of_spawned, EACH, 0 },
		{ "stopping, continuing and termination are each reported",
		  each_state_change, EACH, 0 },
		{ "a child forked by another thread can be watched",
		  forked_by_another_thread, EACH_METHOD, 0 },
		{ "the death of a child before registration is reported",
		  dead_before_registered, EACH, 0 },
		{ "the stop of a child before registration is reported",
		  stopped_before_registered, EACH_METHOD, 0 },
		{ "a report contains the child's resource usage",
		  resource_usage, ONCE, 0 },
		{ "an interest may be unregistered and freed in its handler",
		  freed_in_handler, EACH, 0 },
		{ "an interest keeps the loop running until unregistered",
		  keeps_loop_running, EACH_METHOD, 0 },
		{ "unregistering discards a pending report",
		  unregistering_discards_report, EACH_METHOD, 0 },
		{ "each of a hundred children is reported to its interest",
		  many, EACH_METHOD, 0 },
		{ "no signal is sent after the child has been reaped",
		  kill_after_death, ONCE, 0 },
		{ "any thread may send the child a signal",
		  kill_from_another_thread, ONCE, 0 },
		{ "a later process with the same ID is not taken for the child",
		  pid_reused, ONCE, 0 },
		{ "children without an interest are not waited for",
		  other_children_are_left_alone, EACH_METHOD, 0 },
		{ "the stop of a child without an interest is left to waitpid",
		  stop_of_another_child, EACH_METHOD, 0 },
		{ "a child may die after its interest was unregistered",
		  unregistered_child_dies, EACH_METHOD, 0 },
		{ "system(3) in another thread gets its child's status",
		  system_in_another_thread, ONCE, 0 },
		{ "two interests in one child get every report",
		  two_interests, EACH_METHOD, 0 },
		{ "interests of two threads in one child get every report",
		  interests_in_two_threads, EACH_METHOD, 0 },
		{ "reports do not depend on another thread's loop",
		  thread_that_is_busy, EACH_METHOD, 0 },
		{ "at the descriptor limit spawn fails and makes no child",
		  no_descriptors, EACH, 0 },
		{ "at the descriptor limit register is fatal",
		  no_descriptors_for_register, ONCE, 0 },
		{ "at the descriptor limit register_try fails, and works later",
		  no_descriptors_for_try, EACH, 0 },
		{ "a child is watched if no descriptor is left for a pidfd",
		  no_descriptor_for_pidfd, EACH, 0 },
		{ "spawn fails if fork fails, and leaves nothing behind",
		  fork_fails, ONCE, 0 },
		{ "children are watched without pidfd_open(2): ENOSYS",
		  pidfd_absent, EACH_METHOD, 0 },
		{ "children are watched without pidfd_open(2): EPERM",
		  pidfd_forbidden, ONCE, 0 },
		{ "deaths are reported if the program handles SIGCHLD itself",
		  program_handles_sigchld, EACH_METHOD, 0 },
		{ "an iv_signal object for SIGCHLD takes no report away",
		  iv_signal_for_sigchld, EACH, 0 },
		{ "the disposition of SIGCHLD is restored afterwards",
		  sigchld_is_restored, ONCE, 0 },
		{ "the end of a child that other code reaped is reported",
		  unknown_ends, EACH_METHOD, 0 },
		{ "without pidfd_open(2), reaping by other code is reported",
		  unknown_ends_without_pidfd, EACH_METHOD, 0 },
		{ "a process that reuses a reaped child's ID is left alone",
		  pid_of_reaped_reused, ONCE, 0 },
		{ "orphans can be waited for without losing reports",
		  orphans, EACH_METHOD, 0 },
		{ "a dead child that is traced does not make the loop spin",
		  traced_child_dies, ONCE, 0 },
		{ "a spawned child gets the signal mask and dispositions",
		  signals_of_spawned, ONCE, 0 },
		{ "a spawned child never swallows a signal",
		  signal_right_after_spawn, ONCE, 0 },
		{ "a spawned child that returns exits with 1",
		  spawned_returns, ONCE, 0 },
		{ "iv_wait_interest_kill returns in a spawned child",
		  kill_in_spawned, ONCE, 0 },
		{ "a spawned child may use iv_wait",
		  module_in_spawned, EACH, 0 },
		{ "a spawned child may unregister inherited interests",
		  unregister_in_spawned, EACH, 0 },
		{ "new interests of a forked child get reports",
		  new_interests_after_fork, EACH, 0 },
		{ "a file that reuses a pidfd's number in a child stays open",
		  pidfd_closed_in_child, EACH, 0 },
		{ "a forked child does not call inherited interests",
		  inherited_not_called, EACH, 0 },
		{ "a child forked while another thread waits may use iv_wait",
		  fork_while_others_wait, ONCE, 0 },
		{ "a child forked at any point of a call may use iv_wait",
		  fork_anywhere_in_calls, ONCE, 240 },
		{ "several threads watch children at the same time",
		  several_threads, ONCE, 0 },
		{ "iv_deinit gives up interests that are still registered",
		  loop_ends_first, ONCE, 0 },
		{ "the calls are not cancellation points",
		  pending_cancellation, EACH_METHOD, 0 },
		{ "mistakes are fatal", mistakes, ONCE, 0 },
		{ "the initialiser leaves public members alone",
		  initialiser, ONCE, 0 },
	};

	return check_main(cases, argc, argv);
}

/*
 * libivykis: handlers that a loop calls when a child process changes its state.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The library has a watch for each interest.  The watches of living children
 * are in one tree, guarded by a lock.  Only with that lock held is a child
 * waited for, by its number, or sent a signal, so the number cannot become
 * another process's meanwhile.  The thread that collects a state change puts a
 * report into each watch of that child and posts to the watches' owners, which
 * call the handlers.
 *
 * Three things make a thread collect state changes.  A pidfd becomes readable
 * when the child dies; each watch has one in its owner's loop, so neither a
 * busy thread nor the program's own handler of SIGCHLD can delay the report.
 * SIGCHLD announces stopping and continuing, and death where there is no pidfd;
 * each thread that has watches has an object for it.  Because the program can
 * suppress SIGCHLD, a timer checks the children without a pidfd once per
 * second.
 *
 * The rest of the program may wait for any child, or have the kernel reap it.
 * Then its end is reported with an unknown status.
 *
 * A forked child does not use what it inherits: a watch records the process
 * that it is for, and the tree and a thread's list begin anew.
 */

#include <iv_tls.h>
#include <iv_wait.h>
#include <stdlib.h>
#include <string.h>
#include "iv_cancel.h"
#include "iv_private.h"
#include "iv_signal_private.h"

struct report {
	int			status;
	struct rusage		rusage;
};

/* Beyond that number, the latest state change replaces the last report. */
#define MAX_REPORTS	4

struct watch {
	struct iv_wait_interest	*interest;
	struct thread		*thread;
	unsigned int		generation;
	struct iv_list_head	list;		/* in thread->watches */
	struct iv_event		event;		/* there are reports */
	struct iv_fd		pidfd;

	/* Guarded by the lock, as are changes of pidfd.fd; -1: it has none. */
	struct iv_avl_node	an;		/* while living */
	pid_t			pid;
	int			living;
	int			is_child;	/* as the kernel said */
	int			num;
	struct report		reports[MAX_REPORTS];
};

struct thread {
	unsigned int		generation;
	unsigned int		num;
	struct iv_list_head	watches;
	struct iv_signal	sigchld;
	struct iv_timer		check;		/* of those without a pidfd */
};

static struct watch *watch_of(const struct iv_avl_node *an)
{
	return iv_container_of(an, struct watch, an);
}

static int compare(const struct iv_avl_node *_a, const struct iv_avl_node *_b)
{
	const struct watch *a = watch_of(_a);
	const struct watch *b = watch_of(_b);

	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a != b)
		return (uintptr_t)a < (uintptr_t)b ? -1 : 1;

	return 0;
}

static struct iv_lock lock;
static struct iv_avl_tree living = IV_AVL_TREE_INIT(compare);
static unsigned int living_generation;	/* whose children they are */

static int take_lock(void)
{
	int state = iv_lock_take(&lock);

	if (living_generation != iv_process_generation()) {
		INIT_IV_AVL_TREE(&living, compare);
		living_generation = iv_process_generation();
	}

	return state;
}

static void release_lock(int state)
{
	iv_lock_release(&lock, state);
}


/*
 * Collecting state changes, with the lock held.
 */
static struct iv_avl_node *first_of(pid_t pid)
{
	struct iv_avl_node *an = living.root;
	struct iv_avl_node *first = NULL;

	while (an != NULL) {
		int before = watch_of(an)->pid < pid;

		if (watch_of(an)->pid == pid)
			first = an;
		an = before ? an->right : an->left;
	}

	return first;
}

#define for_each_watch_of(pid_, an, an2)				\
	for (an = first_of(pid_), an2 = iv_avl_tree_next_safe(an);	\
	     an != NULL && watch_of(an)->pid == (pid_);			\
	     an = an2, an2 = iv_avl_tree_next_safe(an))

static void end_life_locked(struct watch *watch)
{
	if (watch->living)
		iv_avl_tree_delete(&living, &watch->an);
	watch->living = 0;
}

/* It is dead and was waited for: the number may be another process's. */
static void child_is_gone_locked(pid_t pid)
{
	struct iv_avl_node *an, *an2;

	for_each_watch_of (pid, an, an2)
		end_life_locked(watch_of(an));
}

static void report_locked(pid_t pid, int status, const struct rusage *rusage)
{
	struct iv_avl_node *an, *an2;

	for_each_watch_of (pid, an, an2) {
		struct watch *watch = watch_of(an);
		struct report *r;

		if (watch->num < MAX_REPORTS)
			watch->num++;
		r = &watch->reports[watch->num - 1];
		r->status = status;
		r->rusage = *rusage;
		iv_event_post(&watch->event);
		iv_step();
	}
}

static void is_child_locked(pid_t pid)
{
	struct iv_avl_node *an, *an2;

	for_each_watch_of (pid, an, an2)
		watch_of(an)->is_child = 1;
}

/* 0, or -1 if the process has no such child. */
static int collect_locked(pid_t pid)
{
	struct rusage rusage;
	int status;
	pid_t ret;

	for (;;) {
		ret = wait4(pid, &status, WNOHANG | WUNTRACED | WCONTINUED,
			    &rusage);
		if (ret < 0)
			return -1;
		is_child_locked(pid);
		if (ret == 0)
			return 0;

		iv_step();
		report_locked(pid, status, &rusage);
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			child_is_gone_locked(pid);
			return 0;
		}
	}
}


/* Unlike a number, a pidfd stands for the same process while it is open. */
static int send_by_pidfd(const struct watch *watch, int sig)
{
	if (watch->pidfd.fd >= 0)
		return iv_sys_pidfd_kill(watch->pidfd.fd, sig);
	errno = ENOSYS;

	return -1;
}

static int send_locked(const struct watch *watch, int sig)
{
	int ret = send_by_pidfd(watch, sig);

	/* In a container EPERM may mean that the call itself is forbidden. */
	if (ret < 0 && (errno == ENOSYS || errno == EPERM))
		ret = kill(watch->pid, sig);

	return ret;
}

static void lost_locked(pid_t pid)
{
	static const struct rusage none;

	report_locked(pid, IV_WAIT_STATUS_UNKNOWN, &none);
	child_is_gone_locked(pid);
}

/*
 * If other code has waited for the child, its number may be another process's.
 * A process that is not our child cannot be waited for, but may live.
 */
static void look_locked(const struct watch *watch, int has_ended)
{
	if ((send_locked(watch, 0) < 0 && errno == ESRCH) ||
	    (collect_locked(watch->pid) < 0 && (has_ended || watch->is_child)))
		lost_locked(watch->pid);
}


/*
 * Pidfds.
 */
static void drop_pidfd(struct watch *watch)
{
	int state = take_lock();

	if (watch->pidfd.fd >= 0)
		iv_fd_close_own(&watch->pidfd);
	watch->pidfd.fd = -1;
	release_lock(state);
}

static int is_inherited(const struct watch *watch)
{
	return watch->generation != iv_process_generation();
}

static void check_later(struct thread *thread)
{
	if (iv_timer_registered(&thread->check))
		return;
	iv_validate_now();
	thread->check.expires = iv_now;
	thread->check.expires.tv_sec++;
	iv_timer_register(&thread->check);
}

static void check_those_without(void *_thread)
{
	struct thread *thread = _thread;
	struct iv_list_head *ilh;
	int state;
	int left = 0;

	if (thread->generation != iv_process_generation())
		return;

	state = take_lock();
	iv_list_for_each (ilh, &thread->watches) {
		struct watch *watch =
			iv_container_of(ilh, struct watch, list);

		if (watch->living && watch->pidfd.fd < 0) {
			look_locked(watch, 0);
			left |= watch->living;
		}
	}
	release_lock(state);
	if (left)
		check_later(thread);
}

/* A traced child that is dead can be waited for after its tracer has. */
static void pidfd_is_readable(void *_watch)
{
	struct watch *watch = _watch;
	int left = 0;
	int state;

	if (!is_inherited(watch)) {
		state = take_lock();
		if (watch->living)
			look_locked(watch, 1);
		left = watch->living;
		release_lock(state);
	}
	drop_pidfd(watch);
	if (left)
		check_later(watch->thread);
}

/* Without one, SIGCHLD and the timer do. */
static void use_pidfd_locked(struct watch *watch)
{
	watch->pidfd.fd = iv_process_move_fd(iv_sys_pidfd_open(watch->pid));
	if (watch->pidfd.fd >= 0 && iv_fd_register_own(&watch->pidfd) < 0) {
		iv_close(watch->pidfd.fd);
		watch->pidfd.fd = -1;
	}
}


/*
 * SIGCHLD.
 */
/* Most often a child has died, which its pidfd reports without a search. */
static void sigchld_came(void *_thread)
{
	struct thread *thread = _thread;
	int state = take_lock();
	int all = iv_sys_child_stopped_or_continued();
	struct iv_list_head *ilh;

	iv_list_for_each (ilh, &thread->watches) {
		struct watch *watch =
			iv_container_of(ilh, struct watch, list);

		if (!watch->living || (!all && watch->pidfd.fd >= 0))
			continue;
		look_locked(watch, 0);
	}
	release_lock(state);
}


/*
 * Threads.
 */
static void stop_listening(struct thread *thread)
{
	iv_signal_unregister(&thread->sigchld);
	if (iv_timer_registered(&thread->check))
		iv_timer_unregister(&thread->check);
}

static void forget_inherited(struct thread *thread)
{
	struct iv_list_head *ilh, *ilh2;

	if (thread->num == 0)
		return;
	iv_list_for_each_safe (ilh, ilh2, &thread->watches)
		iv_list_del_init(ilh);
	stop_listening(thread);
	thread->num = 0;
}

static int hear_sigchld(struct thread *thread)
{
	struct iv_signal *s = &thread->sigchld;

	IV_SIGNAL_INIT(s);
	s->signum = SIGCHLD;
	s->flags = 0;
	s->cookie = thread;
	s->handler = sigchld_came;

	return iv_signal_register_always(s);
}

/* For one more watch: 0, or -1 with errno. */
static int use_thread(struct thread *thread)
{
	unsigned int generation = iv_process_generation();

	if (thread->generation != generation) {
		forget_inherited(thread);
		thread->generation = generation;
		INIT_IV_LIST_HEAD(&thread->watches);
		IV_TIMER_INIT(&thread->check);
		thread->check.cookie = thread;
		thread->check.handler = check_those_without;
	}

	if (thread->num == 0 && hear_sigchld(thread) < 0)
		return -1;
	thread->num++;

	return 0;
}

static void leave_thread(struct thread *thread)
{
	if (--thread->num == 0)
		stop_listening(thread);
}


/*
 * Watches.
 */
static void deliver(void *_watch)
{
	struct watch *watch = _watch;
	struct iv_wait_interest *w = watch->interest;
	struct report r;
	int state;

	if (is_inherited(watch))
		return;

	state = take_lock();
	r = watch->reports[0];
	watch->num--;
	memmove(watch->reports, watch->reports + 1,
		watch->num * sizeof(watch->reports[0]));
	if (watch->num > 0)
		iv_event_post(&watch->event);
	release_lock(state);

	if (w->handler == NULL)
		iv_fatal("iv_wait: %p of process %d has a report and no "
			 "handler: set handler before it is registered",
			 (void *)w, (int)w->pid);
	/* The last access to *w and the watch, which the handler may free. */
	w->handler(w->cookie, r.status, &r.rusage);
}

static struct watch *create(struct iv_wait_interest *w, struct thread *thread)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return NULL;

	watch->interest = w;
	watch->thread = thread;
	watch->generation = iv_process_generation();
	IV_FD_INIT(&watch->pidfd);
	watch->pidfd.cookie = watch;
	watch->pidfd.handler_in = pidfd_is_readable;
	IV_EVENT_INIT(&watch->event);
	watch->event.cookie = watch;
	watch->event.handler = deliver;

	return watch;
}

static void destroy(struct watch *watch)
{
	int state = take_lock();

	if (!is_inherited(watch))
		end_life_locked(watch);
	release_lock(state);
	iv_step();

	/* From here on no other thread posts. */
	iv_event_unregister(&watch->event);
	drop_pidfd(watch);
	iv_list_del(&watch->list);
	free(watch);
}

static struct iv_tls_user thread_user;

/* All steps that can fail: returns a watch without a child, or NULL. */
static struct watch *prepare(struct iv_wait_interest *w)
{
	struct thread *thread = iv_tls_user_ptr(&thread_user);
	struct watch *watch;
	int saved_errno;

	if (use_thread(thread) < 0)
		return NULL;

	watch = create(w, thread);
	if (watch == NULL)
		goto leave_thread;
	if (iv_event_register(&watch->event) < 0)
		goto free_watch;
	iv_list_add_tail(&watch->list, &thread->watches);
	w->watch = watch;

	return watch;

free_watch:
	saved_errno = errno;
	free(watch);
	errno = saved_errno;
leave_thread:
	saved_errno = errno;
	leave_thread(thread);
	errno = saved_errno;

	return NULL;
}

static int is_watched_locked(pid_t pid, const struct iv_wait_interest *w)
{
	struct iv_avl_node *an, *an2;

	for_each_watch_of (pid, an, an2) {
		if (watch_of(an)->interest == w)
			return 1;
	}

	return 0;
}

static int is_watched(const struct iv_wait_interest *w)
{
	int state = take_lock();
	int watched = is_watched_locked(w->pid, w);

	release_lock(state);

	return watched;
}

/* Is it watched by the calling thread, for any child? */
static int is_watched_here(const struct iv_wait_interest *w)
{
	const struct thread *thread = iv_tls_user_ptr(&thread_user);
	const struct iv_list_head *ilh;
	int watched = 0;
	int state;

	if (thread->generation != iv_process_generation())
		return 0;

	state = take_lock();
	iv_list_for_each (ilh, &thread->watches) {
		const struct watch *watch =
			iv_container_of(ilh, struct watch, list);

		watched |= watch->interest == w && watch->living;
	}
	release_lock(state);

	return watched;
}

/* Watch the child from now on, and collect what has happened to it before. */
static void begin(struct watch *watch, pid_t pid)
{
	int state = take_lock();
	int left;

	watch->pid = pid;
	watch->living = 1;
	(void)iv_avl_tree_insert(&living, &watch->an);
	look_locked(watch, 0);
	/* While the lock is held the number is that child's. */
	if (watch->living)
		use_pidfd_locked(watch);
	left = watch->living && watch->pidfd.fd < 0;
	release_lock(state);

	if (left)
		check_later(watch->thread);
}

static void end_thread(void *_thread)
{
	struct thread *thread = _thread;
	struct iv_list_head *ilh, *ilh2;

	if (thread->num == 0)
		return;

	iv_list_for_each_safe (ilh, ilh2, &thread->watches)
		destroy(iv_container_of(ilh, struct watch, list));
	stop_listening(thread);
	thread->num = 0;
}

static struct iv_tls_user thread_user = {
	.sizeof_state	= sizeof(struct thread),
	.deinit_thread	= end_thread,
};

/* Early, but after that of iv_popen.c: see there. */
__attribute__((constructor(102)))
static void thread_user_constructor(void)
{
	iv_tls_user_register(&thread_user);
}


static int register_for(struct iv_wait_interest *w, const char *call)
{
	struct watch *watch = NULL;
	int saved_errno = errno;
	struct iv_blocked b;
	int watched;

	(void)iv_state_for(call);
	if (w->pid <= 0)
		iv_fatal("%s: called with process id %d", call, (int)w->pid);

	iv_signal_block(&b);
	watched = is_watched(w) || is_watched_here(w);
	if (!watched)
		watch = prepare(w);
	if (watch != NULL)
		begin(watch, w->pid);
	else
		saved_errno = errno;
	iv_signal_unblock(&b);

	if (watched)
		iv_fatal("%s: %p is already registered", call, (void *)w);
	errno = saved_errno;

	return watch != NULL ? 0 : -1;
}

void iv_wait_interest_register(struct iv_wait_interest *w)
{
	if (register_for(w, "iv_wait_interest_register") < 0)
		iv_fatal("iv_wait_interest_register: %s (errno %d): "
			 "iv_wait_interest_register_try() reports it instead",
			 strerror(errno), errno);
}

int iv_wait_interest_register_try(struct iv_wait_interest *w)
{
	return register_for(w, "iv_wait_interest_register_try");
}

/*
 * Signals that the child gets before it has reset the library's signal handlers
 * stay pending.  Cancellation remains disabled there, as a pending one was
 * meant for the parent's thread.
 */
static pid_t fork_blocked(void (*fn)(void *cookie), void *cookie,
			  const sigset_t *mask)
{
	pid_t pid = fork();

	if (pid == 0) {
		iv_signal_reset_child();
		(void)pthread_sigmask(SIG_SETMASK, mask, NULL);
		fn(cookie);
		exit(1);
	}

	return pid;
}

int iv_wait_interest_register_spawn(struct iv_wait_interest *w,
				    void (*fn)(void *cookie), void *cookie)
{
	struct watch *watch;
	int saved_errno = errno;
	struct iv_blocked b;
	pid_t pid = -1;

	(void)iv_state_for("iv_wait_interest_register_spawn");
	if (is_watched_here(w))
		iv_fatal("iv_wait_interest_register_spawn: %p is already "
			 "registered", (void *)w);

	iv_signal_block(&b);
	watch = prepare(w);
	if (watch != NULL)
		pid = fork_blocked(fn, cookie, &b.mask);
	iv_step();
	if (pid > 0) {
		w->pid = pid;
		begin(watch, pid);
	} else {
		saved_errno = errno;
		if (watch != NULL)
			iv_wait_interest_unregister(w);
	}
	iv_signal_unblock(&b);
	errno = saved_errno;

	return pid > 0 ? 0 : -1;
}

static struct watch *checked(const struct iv_wait_interest *w, const char *call)
{
	struct watch *watch = w->watch;

	if (watch == NULL || watch->interest != w)
		iv_fatal("%s: %p is not registered, or was unregistered "
			 "already", call, (const void *)w);

	return watch;
}

void iv_wait_interest_unregister(struct iv_wait_interest *w)
{
	struct watch *watch;
	struct thread *thread;
	struct iv_blocked b;
	int counted;

	(void)iv_state_for("iv_wait_interest_unregister");
	watch = checked(w, "iv_wait_interest_unregister");
	thread = watch->thread;
	if (thread != iv_tls_user_ptr(&thread_user))
		iv_fatal("iv_wait_interest_unregister: %p is not registered in "
			 "this thread, which alone may unregister it",
			 (void *)w);

	/* Unless it was inherited, and the thread has begun anew since. */
	counted = thread->generation == watch->generation;
	iv_signal_block(&b);
	destroy(watch);
	w->watch = NULL;
	if (counted)
		leave_thread(thread);
	iv_signal_unblock(&b);
}

int iv_wait_interest_kill(const struct iv_wait_interest *w, int sig)
{
	struct watch *watch = checked(w, "iv_wait_interest_kill");
	int saved_errno = errno;
	struct iv_blocked b;
	int ret = -ESRCH;
	int state;

	iv_signal_block(&b);
	/* A forked child does not know what the parent has collected. */
	if (!is_inherited(watch)) {
		state = take_lock();
		if (watch->living)
			ret = send_locked(watch, sig);
		release_lock(state);
	}
	iv_signal_unblock(&b);
	if (ret != -1)
		errno = saved_errno;

	return ret;
}

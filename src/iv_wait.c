/*
 * libivykis: a call made in a loop when a child process changed its state.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the library knows of an interest is a watch of ours.  The watches of
 * children that live stand in one tree, guarded by a lock, and only under that
 * lock is a child waited for, by its number, or sent a signal: so its number
 * stays its own.  Whichever thread collects a report puts it into each watch
 * of that child and posts to the watches' owners, who call the handlers.
 *
 * Two things make a thread collect.  A pidfd becomes readable when the child
 * dies; each watch has one, in its owner's loop, so no busy thread and no
 * foreign handler of SIGCHLD keeps that from being heard.  SIGCHLD tells of
 * stopping and continuing, and of death where there is no pidfd; each thread
 * that has watches listens to it.
 *
 * A child of ours has no use for what it inherits: a watch has the number of
 * the process that it is for, the tree and a thread's list begin anew.
 */

#include <iv_tls.h>
#include <iv_wait.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<sys/pidfd.h>)
#include <sys/pidfd.h>
#endif
#include "iv_signal_private.h"

struct report {
	int			status;
	struct rusage		rusage;
};

/* The latest state change of all that the owner has not seen is the last. */
#define MAX_REPORTS	4

struct watch {
	struct iv_wait_interest	*interest;
	struct thread		*thread;
	unsigned int		generation;
	struct iv_list_head	list;		/* of the thread's */
	struct iv_event		event;		/* there are reports */
	struct iv_fd		pidfd;		/* -1: none */

	/* Under the lock. */
	struct iv_avl_node	an;		/* while living */
	pid_t			pid;
	int			living;
	int			is_child;	/* so the kernel has said */
	int			num;
	struct report		reports[MAX_REPORTS];
};

struct thread {
	unsigned int		generation;
	unsigned int		num;
	struct iv_list_head	watches;
	struct iv_signal	sigchld;
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
 * Collecting, with the lock held.
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

/* Dead, and not to be waited for any more: the number may be another's. */
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
	}
}

static void is_child_locked(pid_t pid)
{
	struct iv_avl_node *an, *an2;

	for_each_watch_of (pid, an, an2)
		watch_of(an)->is_child = 1;
}

/* 0, or -1 if the kernel knows of no such child. */
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

		report_locked(pid, status, &rusage);
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			child_is_gone_locked(pid);
			return 0;
		}
	}
}


/*
 * Pidfds.
 */
static int open_pidfd(pid_t pid)
{
#if __has_include(<sys/pidfd.h>)
	/* Relaxed: the answer is the same whoever asks. */
	static atomic_int here;		/* 1, -1: not, 0: not known yet */
	int fd;

	if (atomic_load_explicit(&here, memory_order_relaxed) < 0)
		return -1;

	fd = pidfd_open(pid, 0);
	if (fd >= 0)
		atomic_store_explicit(&here, 1, memory_order_relaxed);
	else if ((errno == ENOSYS || errno == EPERM || errno == EINVAL) &&
		 atomic_load_explicit(&here, memory_order_relaxed) == 0)
		atomic_store_explicit(&here, -1, memory_order_relaxed);

	return fd;
#else
	(void)pid;

	return -1;
#endif
}

static void drop_pidfd(struct watch *watch)
{
	if (watch->pidfd.fd < 0)
		return;
	iv_fd_unregister(&watch->pidfd);
	(void)close(watch->pidfd.fd);
	watch->pidfd.fd = -1;
}

static int is_inherited(const struct watch *watch)
{
	return watch->generation != iv_process_generation();
}

/*
 * The child is dead.  If it cannot be waited for all the same, that is either
 * because somebody else did, or because it is traced and its tracer has not
 * yet: SIGCHLD comes once more then.
 */
static void pidfd_is_readable(void *_watch)
{
	struct watch *watch = _watch;
	int state;

	if (!is_inherited(watch)) {
		state = take_lock();
		if (watch->living && collect_locked(watch->pid) < 0)
			child_is_gone_locked(watch->pid);
		release_lock(state);
	}
	drop_pidfd(watch);
}

/* Do without if it cannot be had. */
static void use_pidfd(struct watch *watch, int fd)
{
	watch->pidfd.fd = fd;
	if (fd < 0 || iv_fd_register_try(&watch->pidfd) == 0)
		return;
	(void)close(fd);
	watch->pidfd.fd = -1;
}


/*
 * SIGCHLD.
 */
static int some_child_stopped_or_continued(void)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_ALL, 0, &info,
		   WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) < 0)
		return errno != ECHILD;

	return info.si_pid != 0;
}

/* Most often it is a death, which a pidfd tells of better than a search. */
static void sigchld_came(void *_thread)
{
	struct thread *thread = _thread;
	int all = some_child_stopped_or_continued();
	struct iv_list_head *ilh;
	int state = take_lock();

	iv_list_for_each (ilh, &thread->watches) {
		struct watch *watch =
			iv_container_of(ilh, struct watch, list);

		if (!watch->living || (!all && watch->pidfd.fd >= 0))
			continue;
		/* What never was our child may be there all the same. */
		if (collect_locked(watch->pid) < 0 && watch->is_child)
			child_is_gone_locked(watch->pid);
	}
	release_lock(state);
}


/*
 * Threads.
 */
static void forget_inherited(struct thread *thread)
{
	struct iv_list_head *ilh, *ilh2;

	if (thread->num == 0)
		return;
	iv_list_for_each_safe (ilh, ilh2, &thread->watches)
		iv_list_del_init(ilh);
	iv_signal_unregister(&thread->sigchld);
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

/* One watch more; 0, or -1 with errno. */
static int use_thread(struct thread *thread)
{
	unsigned int generation = iv_process_generation();

	if (thread->generation != generation) {
		forget_inherited(thread);
		thread->generation = generation;
		INIT_IV_LIST_HEAD(&thread->watches);
	}

	if (thread->num == 0 && hear_sigchld(thread) < 0)
		return -1;
	thread->num++;

	return 0;
}

static void leave_thread(struct thread *thread)
{
	if (--thread->num == 0)
		iv_signal_unregister(&thread->sigchld);
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
	/* The last touch of *w and the watch, which the handler may end. */
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

	/* From here no other thread posts. */
	iv_event_unregister(&watch->event);
	drop_pidfd(watch);
	iv_list_del(&watch->list);
	free(watch);
}

static struct iv_tls_user thread_user;

/* All that can fail: a watch of no child yet, or NULL with errno. */
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

static void check_new(const struct iv_wait_interest *w)
{
	int state = take_lock();
	int watched = is_watched_locked(w->pid, w);

	release_lock(state);
	if (watched)
		iv_fatal("iv_wait_interest_register: %p is already registered "
			 "for process %d: unregister it first",
			 (const void *)w, (int)w->pid);
}

/* Watch the child from now on; whatever has happened to it is collected. */
static void begin(struct watch *watch, pid_t pid)
{
	int fd = -1;
	int state = take_lock();

	watch->pid = pid;
	watch->living = 1;
	(void)iv_avl_tree_insert(&living, &watch->an);
	(void)collect_locked(pid);
	/* While we have the lock the number is that child's. */
	if (watch->living)
		fd = open_pidfd(pid);
	release_lock(state);

	use_pidfd(watch, fd);
}

static void end_thread(void *_thread)
{
	struct thread *thread = _thread;
	struct iv_list_head *ilh, *ilh2;

	if (thread->num == 0)
		return;

	iv_list_for_each_safe (ilh, ilh2, &thread->watches)
		destroy(iv_container_of(ilh, struct watch, list));
	iv_signal_unregister(&thread->sigchld);
	thread->num = 0;
}

static struct iv_tls_user thread_user = {
	.sizeof_state	= sizeof(struct thread),
	.deinit_thread	= end_thread,
};

/* Early: a program's own constructors may call iv_init(). */
__attribute__((constructor(101)))
static void thread_user_constructor(void)
{
	iv_tls_user_register(&thread_user);
}


void iv_wait_interest_register(struct iv_wait_interest *w)
{
	struct watch *watch;
	int saved_errno = errno;

	(void)iv_state_for("iv_wait_interest_register");
	if (w->pid <= 0)
		iv_fatal("iv_wait_interest_register: called with process id %d "
			 "in %p: set pid to that of a child", (int)w->pid,
			 (void *)w);
	check_new(w);

	watch = prepare(w);
	if (watch == NULL)
		iv_fatal("iv_wait_interest_register: cannot watch process %d: "
			 "%s (errno %d)", (int)w->pid, strerror(errno), errno);
	begin(watch, w->pid);
	errno = saved_errno;
}

/*
 * What is sent to the child before it has reset the signal handlers that it
 * has from us stays pending.
 */
static pid_t fork_blocked(void (*fn)(void *cookie), void *cookie)
{
	sigset_t all, mask;
	int saved_errno;
	pid_t pid;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &mask);
	pid = fork();
	saved_errno = errno;
	if (pid == 0)
		iv_signal_reset_child();
	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	errno = saved_errno;

	if (pid == 0) {
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
	pid_t pid;

	(void)iv_state_for("iv_wait_interest_register_spawn");
	watch = prepare(w);
	if (watch == NULL)
		return -1;

	pid = fork_blocked(fn, cookie);
	if (pid < 0) {
		saved_errno = errno;
		iv_wait_interest_unregister(w);
		errno = saved_errno;
		return -1;
	}

	w->pid = pid;
	begin(watch, pid);
	errno = saved_errno;

	return 0;
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
	int counted;

	(void)iv_state_for("iv_wait_interest_unregister");
	watch = checked(w, "iv_wait_interest_unregister");
	thread = watch->thread;
	if (thread != iv_tls_user_ptr(&thread_user))
		iv_fatal("iv_wait_interest_unregister: %p is not registered in "
			 "this thread, which alone may unregister it",
			 (void *)w);

	/* Not if it was inherited and forgotten since. */
	counted = thread->generation == watch->generation;
	destroy(watch);
	w->watch = NULL;
	if (counted)
		leave_thread(thread);
}

int iv_wait_interest_kill(const struct iv_wait_interest *w, int sig)
{
	struct watch *watch = checked(w, "iv_wait_interest_kill");
	int ret = -ESRCH;
	int state;

	/* A child cannot know what the parent has collected. */
	if (is_inherited(watch))
		return -ESRCH;

	state = take_lock();
	if (watch->living)
		ret = kill(watch->pid, sig);
	release_lock(state);

	return ret;
}

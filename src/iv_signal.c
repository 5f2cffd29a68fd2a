/*
 * libivykis: handlers that a loop calls when the process gets a signal.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The library's signal handler looks up the objects for the signal and posts to
 * the iv_event_raw of each.  A post is never lost and the signal handler runs
 * nothing else, so after a signal that comes after the registration the
 * object's handler is called at least once.
 *
 * The objects are in trees: one for the process, one for each thread, one for
 * the library's own.  A single lock guards them all, and code outside the
 * signal handler blocks all signals before it takes the lock.  So the signal
 * handler never interrupts the lock's holder in the same thread, and may wait
 * for it.  The public calls block signals from beginning to end, and
 * cancellation, too: neither a signal handler that forks nor a cancellation
 * finds half of a call.
 *
 * A child inherits the trees as another thread may have left them, half
 * changed.  It never reads them: `generation' and `pid' show which process they
 * belong to.  Until the child registers an object of its own, the signal
 * handler does nothing there; then the child begins with empty trees.
 */

#include <string.h>
#include <iv_tls.h>
#include "iv_cancel.h"
#include "iv_private.h"
#include "iv_signal_private.h"

struct iv_signal_ {
	int			signum;
	unsigned int		flags;
	void			*cookie;
	void			(*handler)(void *);

	struct iv_avl_node	an;
	atomic_uint		state;
	struct iv_event_raw	ev;
};

_Static_assert(sizeof(struct iv_signal_) == sizeof(struct iv_signal) &&
	       offsetof(struct iv_signal_, ev) == offsetof(struct iv_signal, ev),
	       "struct iv_signal_ has to fit into struct iv_signal");
_Static_assert(IV_SYS_NSIG <= 256, "a signal's number has to fit into a byte");

/*
 * The state of an object is one word, as not every machine exchanges a byte
 * without a library's help.  Apart from ACTIVE it is set at the registration;
 * the signal and SHARED are the key in the tree, even if the user changes the
 * public members later.  In a tree, the exclusive objects of a signal come
 * first.
 */
#define ACTIVE			1U	/* notified, not yet called */
#define SHARED			2U	/* not exclusive */
#define SIGNAL_SHIFT		8
#define KEY			(0xff00U | SHARED)
#define GENERATION_SHIFT	16	/* of the process, low bits */

static struct iv_signal_ *signal_of(const struct iv_avl_node *an)
{
	return iv_container_of(an, struct iv_signal_, an);
}

/* Relaxed: the key does not change while the object is in a tree. */
static unsigned int key_of(const struct iv_signal_ *s)
{
	return atomic_load_explicit(&s->state, memory_order_relaxed) & KEY;
}

static int sig_of(const struct iv_signal_ *s)
{
	return key_of(s) >> SIGNAL_SHIFT;
}

static int is_exclusive(const struct iv_signal_ *s)
{
	return !(key_of(s) & SHARED);
}

static int compare(const struct iv_avl_node *_a, const struct iv_avl_node *_b)
{
	const struct iv_signal_ *a = signal_of(_a);
	const struct iv_signal_ *b = signal_of(_b);

	if (key_of(a) != key_of(b))
		return key_of(a) < key_of(b) ? -1 : 1;
	if (a != b)
		return (uintptr_t)a < (uintptr_t)b ? -1 : 1;

	return 0;
}

static struct {
	struct iv_lock		lock;
	/* The process that all this belongs to; on_signal() takes no lock. */
	atomic_uint		generation;
	_Atomic(pid_t)		pid;

	struct iv_avl_tree	process;
	struct iv_avl_tree	always;
	unsigned int		num[IV_SYS_NSIG];	/* in all trees */
	struct sigaction	found[IV_SYS_NSIG];	/* before the first */
} module;

struct thread {
	unsigned int		generation;
	struct iv_avl_tree	tree;
};

static struct iv_tls_user thread_user = {
	.sizeof_state	= sizeof(struct thread),
};

/* Early: a program's own constructors may call iv_init(). */
__attribute__((constructor(101)))
static void thread_user_constructor(void)
{
	iv_tls_user_register(&thread_user);
}


/*
 * Notifying objects, with the lock held.
 */
static struct iv_avl_node *first_for(const struct iv_avl_tree *tree, int sig)
{
	struct iv_avl_node *an = tree->root;
	struct iv_avl_node *first = NULL;

	while (an != NULL) {
		int before = sig_of(signal_of(an)) < sig;

		if (sig_of(signal_of(an)) == sig)
			first = an;
		an = before ? an->right : an->left;
	}

	return first;
}

/* 0 if there is no object to notify. */
static int notify_locked(const struct iv_avl_tree *tree, int sig)
{
	struct iv_avl_node *first = first_for(tree, sig);
	struct iv_avl_node *an;

	for (an = first; an != NULL; an = iv_avl_tree_next(an)) {
		struct iv_signal_ *s = signal_of(an);

		if (sig_of(s) != sig)
			break;
		/* Release: pairs with the acquire in got_event(). */
		atomic_fetch_or_explicit(&s->state, ACTIVE,
					 memory_order_release);
		iv_step();
		iv_event_raw_post(&s->ev);
		if (is_exclusive(s))
			break;
	}

	return first != NULL;
}

/* NULL if the thread has registered nothing for itself. */
static const struct iv_avl_tree *own_tree(void)
{
	const struct thread *thread = iv_tls_user_ptr(&thread_user);

	if (thread == NULL || thread->generation != iv_process_generation())
		return NULL;

	return &thread->tree;
}

/* A child of vfork(2) has the parent's memory, but not its process number. */
static int is_ours(void)
{
	/* Relaxed here and below: the numbers change in new children only. */
	return atomic_load_explicit(&module.generation, memory_order_relaxed) ==
	       iv_process_generation() &&
	       atomic_load_explicit(&module.pid, memory_order_relaxed) ==
	       getpid();
}

/*
 * The interrupted thread has executed an instruction that fails, and that fails
 * again as soon as the signal handler returns.
 */
static int is_own_fault(int sig, const siginfo_t *info)
{
	switch (sig) {
	case SIGBUS:
		/* Some memory has failed, but nobody has accessed it. */
		if (iv_sys_is_memory_failure(info))
			return 0;
		/* fall through */
	case SIGFPE:
	case SIGILL:
	case SIGSEGV:
		return info->si_code > 0;
	default:
		return 0;
	}
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	const struct iv_avl_tree *own;
	int state;

	(void)context;
	if (is_own_fault(sig, info)) {
		/* The earlier disposition deals with it, in a child, too. */
		(void)sigaction(sig, &module.found[sig], NULL);
		errno = saved_errno;
		return;
	}
	if (!is_ours())
		return;

	state = iv_lock_take(&module.lock);
	own = own_tree();
	(void)notify_locked(&module.always, sig);
	if (own == NULL || !notify_locked(own, sig))
		(void)notify_locked(&module.process, sig);
	iv_lock_release(&module.lock, state);

	errno = saved_errno;
}


/*
 * Dispositions.  One that the program has changed meanwhile is left alone.
 */
static int is_our_handler(const struct sigaction *sa)
{
	return sa->sa_flags & SA_SIGINFO && sa->sa_sigaction == on_signal;
}

static int install(int sig)
{
	struct sigaction *found = &module.found[sig];
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_signal;
	/* The interrupted thread's stack may be too small for a signal frame. */
	sa.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
	(void)sigfillset(&sa.sa_mask);

	/* The first result is for a child that is forked amid the second call. */
	if (sigaction(sig, NULL, found) < 0 || sigaction(sig, &sa, found) < 0)
		return -1;

	/* The program saved and restored it while there were other objects. */
	if (is_our_handler(found)) {
		memset(found, 0, sizeof(*found));
		found->sa_handler = SIG_DFL;
	}

	return 0;
}

static int is_installed(int sig)
{
	struct sigaction sa;

	return sigaction(sig, NULL, &sa) == 0 && is_our_handler(&sa);
}

static void restore(int sig)
{
	if (is_installed(sig))
		(void)sigaction(sig, &module.found[sig], NULL);
}

static int was_ignored(int sig)
{
	return !(module.found[sig].sa_flags & SA_SIGINFO) &&
	       module.found[sig].sa_handler == SIG_IGN;
}

/*
 * Forget the parent's objects.  The kernel knows which signals they were for;
 * module.num may be out of date, if the fork came while another thread, which
 * the child lacks, was about to change it.
 */
static void start_anew(unsigned int generation, int keep_ignored)
{
	unsigned int old = atomic_load_explicit(&module.generation,
						memory_order_relaxed);
	int sig;

	for (sig = 1; old != 0 && sig < IV_SYS_NSIG; sig++) {
		if (!is_installed(sig))
			continue;
		(void)signal(sig, keep_ignored && was_ignored(sig) ? SIG_IGN :
								     SIG_DFL);
	}

	INIT_IV_AVL_TREE(&module.process, compare);
	INIT_IV_AVL_TREE(&module.always, compare);
	memset(module.num, 0, sizeof(module.num));
	atomic_store_explicit(&module.pid, getpid(), memory_order_relaxed);
	atomic_store_explicit(&module.generation, generation,
			      memory_order_relaxed);
}

void iv_signal_block(struct iv_blocked *b)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &b->mask);
	b->cancel = iv_cancel_disable();
}

void iv_signal_unblock(const struct iv_blocked *b)
{
	iv_cancel_restore(b->cancel);
	(void)pthread_sigmask(SIG_SETMASK, &b->mask, NULL);
}

/* With all signals blocked. */
static int take_lock(int keep_ignored)
{
	unsigned int generation = iv_process_generation();
	int state = iv_lock_take(&module.lock);

	if (atomic_load_explicit(&module.generation, memory_order_relaxed) !=
	    generation)
		start_anew(generation, keep_ignored);

	return state;
}

static void release_lock(int state)
{
	iv_lock_release(&module.lock, state);
}

void iv_signal_reset_child(void)
{
	if (atomic_load_explicit(&module.generation,
				 memory_order_relaxed) != 0)
		release_lock(take_lock(0));
}


/*
 * Objects.
 */
static int is_inherited(const struct iv_signal_ *s)
{
	unsigned int state = atomic_load_explicit(&s->state,
						  memory_order_relaxed);

	return state >> GENERATION_SHIFT !=
	       (uint16_t)iv_process_generation();
}

/*
 * A child's loop has drained a post that may have been for the parent: post it
 * again, and stop watching.
 */
static void leave_to_parent(struct iv_signal_ *s)
{
	iv_fd_set_handler_in(&s->ev.event_rfd, NULL);
	iv_event_raw_post(&s->ev);
}

static void got_event(void *_s)
{
	struct iv_signal_ *s = _s;

	if (is_inherited(s)) {
		leave_to_parent(s);
		return;
	}

	iv_step();
	/*
	 * Acquire: pairs with the release in notify_locked().  A signal that
	 * has set it again since the post is coalesced into this call.
	 */
	if (!(atomic_fetch_and_explicit(&s->state, ~ACTIVE,
					memory_order_acquire) & ACTIVE))
		return;

	if (s->handler == NULL)
		iv_fatal("iv_signal: %p for signal %d was notified and has no "
			 "handler: set handler before it is registered",
			 (void *)s, s->signum);
	/* The last access to *s, which the handler may free. */
	s->handler(s->cookie);
}

/* The calling thread's tree; signals are blocked. */
static struct iv_avl_tree *own_tree_to_change(void)
{
	struct thread *thread = iv_tls_user_ptr(&thread_user);
	unsigned int generation = iv_process_generation();

	if (thread->generation != generation) {
		INIT_IV_AVL_TREE(&thread->tree, compare);
		thread->generation = generation;
	}

	return &thread->tree;
}

static struct iv_avl_tree *tree_locked(const struct iv_signal_ *s)
{
	if (s->flags & IV_SIGNAL_FLAG_THIS_THREAD)
		return own_tree_to_change();

	return &module.process;
}

static int contains_locked(const struct iv_avl_tree *tree,
			   const struct iv_signal_ *s)
{
	struct iv_avl_node *an = tree->root;
	int ret;

	while (an != NULL && (ret = compare(&s->an, an)) != 0)
		an = ret < 0 ? an->left : an->right;

	return an != NULL;
}

static int add_locked(struct iv_signal_ *s, struct iv_avl_tree *tree)
{
	if (module.num[sig_of(s)] == 0 && install(sig_of(s)) < 0)
		return -1;
	iv_step();
	module.num[sig_of(s)]++;
	(void)iv_avl_tree_insert(tree, &s->an);

	return 0;
}

static int add(struct iv_signal_ *s, int always)
{
	int state = take_lock(1);
	int ret = add_locked(s, always ? &module.always : tree_locked(s));

	release_lock(state);

	return ret;
}

static int is_registered(const struct iv_signal_ *s)
{
	int state = take_lock(1);
	int found = contains_locked(tree_locked(s), s);

	release_lock(state);

	return found;
}

static void begin_state(struct iv_signal_ *s)
{
	unsigned int shared = s->flags & IV_SIGNAL_FLAG_EXCLUSIVE ? 0 : SHARED;

	atomic_store_explicit(&s->state,
			      iv_process_generation() << GENERATION_SHIFT |
			      s->signum << SIGNAL_SHIFT | shared,
			      memory_order_relaxed);
}

static int register_blocked(struct iv_signal_ *s, int always)
{
	int saved_errno = errno;

	s->ev.cookie = s;
	s->ev.handler = got_event;
	if (iv_event_raw_register(&s->ev) < 0)
		return -1;

	if (add(s, always) < 0) {
		saved_errno = errno;
		iv_event_raw_unregister(&s->ev);
		errno = saved_errno;
		return -1;
	}
	errno = saved_errno;

	return 0;
}

static int is_signal(int signum)
{
	return signum >= 0 && signum < IV_SYS_NSIG;
}

int iv_signal_register(struct iv_signal *_s)
{
	struct iv_signal_ *s = (struct iv_signal_ *)_s;
	struct iv_blocked b;
	int is_new;
	int ret = 0;

	(void)iv_state_for("iv_signal_register");
	if (!is_signal(s->signum)) {
		errno = EINVAL;
		return -1;
	}

	iv_signal_block(&b);
	begin_state(s);
	is_new = !is_registered(s);
	if (is_new)
		ret = register_blocked(s, 0);
	iv_signal_unblock(&b);
	if (!is_new)
		iv_fatal("iv_signal_register: %p is already registered",
			 (void *)s);

	return ret;
}

int iv_signal_register_always(struct iv_signal *_s)
{
	struct iv_signal_ *s = (struct iv_signal_ *)_s;

	begin_state(s);

	return register_blocked(s, 1);
}

/* The tree that holds it, or NULL. */
static struct iv_avl_tree *find_locked(const struct iv_signal_ *s)
{
	struct iv_avl_tree *own = own_tree_to_change();

	if (contains_locked(&module.process, s))
		return &module.process;
	if (contains_locked(own, s))
		return own;
	if (contains_locked(&module.always, s))
		return &module.always;

	return NULL;
}

static int remove_locked(struct iv_signal_ *s)
{
	struct iv_avl_tree *tree = find_locked(s);

	if (tree == NULL)
		return -1;

	iv_avl_tree_delete(tree, &s->an);
	iv_step();
	if (--module.num[sig_of(s)] == 0)
		restore(sig_of(s));

	/* Relaxed: it is only set with the lock held. */
	if (is_exclusive(s) &&
	    atomic_load_explicit(&s->state, memory_order_relaxed) & ACTIVE)
		(void)notify_locked(tree, sig_of(s));

	return 0;
}

static int unregister_blocked(struct iv_signal_ *s)
{
	int state;
	int ret = 0;

	/* An inherited object is in none of the child's trees. */
	if (!is_inherited(s)) {
		state = take_lock(1);
		ret = remove_locked(s);
		release_lock(state);
	}
	if (ret == 0)
		iv_event_raw_unregister(&s->ev);

	return ret;
}

void iv_signal_unregister(struct iv_signal *_s)
{
	struct iv_signal_ *s = (struct iv_signal_ *)_s;
	struct iv_blocked b;
	int ret;

	(void)iv_state_for("iv_signal_unregister");
	if (!is_signal(s->signum))
		iv_fatal("iv_signal_unregister: %p is for signal %d, which "
			 "does not exist", (void *)s, s->signum);

	iv_signal_block(&b);
	ret = unregister_blocked(s);
	iv_signal_unblock(&b);
	if (ret < 0)
		iv_fatal("iv_signal_unregister: %p for signal %d is not "
			 "registered in this thread, which alone may "
			 "unregister it", (void *)s, s->signum);
}

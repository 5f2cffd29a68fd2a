/*
 * libivykis: handlers that a loop calls when files change.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The events of the kernel's queue are delivered in the kernel's order, each to
 * the watch with its number, or to none if that watch was unregistered
 * meanwhile.  A watch that the kernel has dropped is unregistered before its
 * handler is called for that, and an overflow of the queue is reported to all
 * watches.  Handlers may unregister and free any watch and the instance itself.
 *
 * The watches of an instance are in a tree by the kernel's number, which is a
 * new one for each watch.  So the watch of an event is found, or found to be
 * gone, without access to the memory of a watch that may have been freed.
 *
 * A handler may unregister the instance, run the loop, or never return.  So the
 * events that were read and not delivered yet are kept in a queue of the
 * instance, and a task is registered that delivers them in case the function
 * that called the handler cannot.  After the call, that function goes on only
 * if `delivering' in the thread's memory still points to its queue: it is
 * changed if the instance is unregistered, and if events are delivered in
 * between.
 *
 * This file uses the public calls of iv_fd, iv_avl, iv_task and iv_tls.
 */

#include <iv_inotify.h>
#include <iv_tls.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "iv_cancel.h"
#include "iv_private.h"

_Static_assert(sizeof(struct iv_inotify) ==
	       (sizeof(void *) == 8 ? 152 : 76),
	       "struct iv_inotify is part of programs");
_Static_assert(sizeof(struct iv_inotify_watch) ==
	       (sizeof(void *) == 8 ? 80 : 40),
	       "struct iv_inotify_watch is part of programs");
_Static_assert(offsetof(struct iv_inotify_watch, wd) ==
	       (sizeof(void *) == 8 ? 40 : 20),
	       "the members that programs set come before it");

/* The headers of Linux before 4.18 lack it. */
#ifndef IN_MASK_CREATE
#define IN_MASK_CREATE	0x10000000
#endif

/* It has room for some hundred events, or for one with the longest name. */
#define BUFFER_SIZE	4096

_Static_assert(BUFFER_SIZE >= sizeof(struct inotify_event) + NAME_MAX + 1,
	       "read(2) refuses a buffer that is too small for the next event");

struct queue {
	struct iv_inotify	*in;
	struct iv_task		rest;
	ssize_t			len;
	ssize_t			pos;
	int			wd;
	int			last;
	_Alignas(struct inotify_event)
	char			buf[BUFFER_SIZE];
	struct inotify_event	overflow;	/* for watches > wd, <= last */
};

/* Kept in the last private word of iv_fd. */
static struct queue *queue_of(const struct iv_inotify *in)
{
	return in->fd.pad[10];
}

struct thread {
	const struct queue	*delivering;
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


/* Watches by number. */
static struct iv_inotify_watch *watch_of(struct iv_avl_node *an)
{
	return iv_container_of(an, struct iv_inotify_watch, an);
}

static int compare(const struct iv_avl_node *_a, const struct iv_avl_node *_b)
{
	const struct iv_inotify_watch *a =
		iv_container_of(_a, struct iv_inotify_watch, an);
	const struct iv_inotify_watch *b =
		iv_container_of(_b, struct iv_inotify_watch, an);

	return (a->wd > b->wd) - (a->wd < b->wd);
}

/* The watch with the lowest number that is not below wd, or NULL. */
static struct iv_inotify_watch *
first_from(const struct iv_inotify *in, int wd)
{
	struct iv_avl_node *an = in->watches.root;
	struct iv_inotify_watch *first = NULL;

	while (an != NULL) {
		struct iv_inotify_watch *w = watch_of(an);

		if (w->wd >= wd) {
			first = w;
			an = an->left;
		} else {
			an = an->right;
		}
	}

	return first;
}

static struct iv_inotify_watch *find(const struct iv_inotify *in, int wd)
{
	struct iv_inotify_watch *w = first_from(in, wd);

	return w != NULL && w->wd == wd ? w : NULL;
}

static int has_watch(const struct iv_inotify *in,
		     const struct iv_inotify_watch *w)
{
	struct iv_avl_node *an;

	iv_avl_tree_for_each (an, &in->watches) {
		if (watch_of(an) == w)
			return 1;
	}

	return 0;
}

/* With the number -1, a later call to unregister it has no effect. */
static void forget(struct iv_inotify *in, struct iv_inotify_watch *w)
{
	iv_avl_tree_delete(&in->watches, &w->an);
	w->wd = -1;
}

/* The call fails if the kernel has dropped the watch, which is harmless. */
static void drop(struct iv_inotify *in, struct iv_inotify_watch *w)
{
	int saved_errno = errno;

	if (!iv_fd_is_lost(&in->fd))
		(void)inotify_rm_watch(in->fd.fd, w->wd);
	errno = saved_errno;
	forget(in, w);
}


/* Events.  After the handler's call the watch may be freed memory. */
static void call(struct iv_inotify_watch *w, struct inotify_event *event)
{
	if (w->handler == NULL)
		iv_fatal("iv_inotify: watch %p has an event and no handler: set "
			 "handler before it is registered", (void *)w);
	w->handler(w->cookie, event);
}

/* The event is copied, as a handler that runs the loop refills the queue. */
static void deliver(struct iv_inotify *in, const struct inotify_event *event)
{
	struct iv_inotify_watch *w = find(in, event->wd);
	_Alignas(struct inotify_event) char copy[BUFFER_SIZE];

	if (w == NULL)
		return;

	/* The kernel has dropped both kinds of watch itself. */
	if ((event->mask & IN_IGNORED) || (w->mask & IN_ONESHOT))
		forget(in, w);
	memcpy(copy, event, sizeof(*event) + event->len);
	call(w, (struct inotify_event *)copy);
}

/*
 * Reported to every watch that exists now.  Watches that handlers register
 * meanwhile get higher numbers, and have missed nothing.
 */
static void overflowed(struct queue *q, const struct inotify_event *event)
{
	struct iv_avl_node *max = iv_avl_tree_max(&q->in->watches);

	q->overflow = *event;
	q->wd = -1;
	q->last = max != NULL ? watch_of(max)->wd : -1;
}

/*
 * The only event of a one-shot watch may be among the lost ones, so the
 * overflow is its last event.
 */
static void deliver_overflow(struct queue *q)
{
	struct iv_inotify_watch *w = first_from(q->in, q->wd + 1);
	struct inotify_event copy = q->overflow;

	if (w == NULL || w->wd > q->last) {
		q->wd = q->last;
		return;
	}
	q->wd = w->wd;
	if (w->mask & IN_ONESHOT)
		drop(q->in, w);
	call(w, &copy);
}

/* The event is removed from the queue before its handler is called. */
static void deliver_one(struct queue *q)
{
	const struct inotify_event *event;

	if (q->wd < q->last) {
		deliver_overflow(q);
		return;
	}

	event = (const struct inotify_event *)(q->buf + q->pos);
	q->pos += sizeof(*event) + event->len;
	if (event->mask & IN_Q_OVERFLOW)
		overflowed(q, event);
	else
		deliver(q->in, event);
}

static int is_empty(const struct queue *q)
{
	return q->wd >= q->last && q->pos >= q->len;
}

static void deliver_all(struct queue *q)
{
	struct thread *thread = iv_tls_user_ptr(&thread_user);
	unsigned long life = iv_loop_life();

	thread->delivering = q;
	if (!iv_task_registered(&q->rest))
		iv_task_register(&q->rest);

	while (!is_empty(q)) {
		deliver_one(q);
		if (iv_loop_life() != life || thread->delivering != q)
			return;
	}

	thread->delivering = NULL;
	iv_task_unregister(&q->rest);
}

static void deliver_rest(void *_q)
{
	deliver_all(_q);
}

static ssize_t read_events(int fd, void *buf, size_t size)
{
	int state = iv_cancel_disable();
	ssize_t len;

	do {
		len = read(fd, buf, size);
	} while (len < 0 && errno == EINTR);
	iv_cancel_restore(state);

	/* A forked child that shares the queue may have been faster. */
	if (len < 0 && errno == EAGAIN)
		return 0;
	if (len < 0)
		iv_fatal("iv_inotify: cannot read descriptor %d: %s "
			 "(errno %d): was it closed by the program?", fd,
			 strerror(errno), errno);
	if (len == 0)
		iv_fatal("iv_inotify: end of file on descriptor %d: was it "
			 "closed by the program?", fd);

	return len;
}

static void got_events(void *_in)
{
	struct iv_inotify *in = _in;
	struct queue *q = queue_of(in);

	if (is_empty(q)) {
		q->pos = 0;
		q->len = 0;
		q->len = read_events(in->fd.fd, q->buf, sizeof(q->buf));
	}
	deliver_all(q);
}


static struct queue *queue_new(struct iv_inotify *in)
{
	struct queue *q = malloc(sizeof(*q));

	if (q == NULL)
		return NULL;

	q->in = in;
	IV_TASK_INIT(&q->rest);
	q->rest.cookie = q;
	q->rest.handler = deliver_rest;
	q->len = q->pos = 0;
	q->wd = q->last = 0;

	return q;
}

static void queue_free(struct queue *q)
{
	struct thread *thread = iv_tls_user_ptr(&thread_user);

	if (thread->delivering == q)
		thread->delivering = NULL;
	if (iv_task_registered(&q->rest))
		iv_task_unregister(&q->rest);
	free(q);
}

int iv_inotify_register(struct iv_inotify *in)
{
	struct iv_state *st = iv_state_for("iv_inotify_register");
	struct queue *q;
	int err;
	int fd;

	if (iv_fd_contains(st, &in->fd))
		iv_fatal("iv_inotify_register: instance %p is already "
			 "registered", (void *)in);

	/* The private members need not be initialised. */
	in->owner = NULL;
	IV_FD_INIT(&in->fd);
	INIT_IV_AVL_TREE(&in->watches, compare);

	q = queue_new(in);
	if (q == NULL)
		return -1;
	fd = iv_process_move_fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
	if (fd < 0)
		goto free_queue;

	in->fd.fd = fd;
	in->fd.cookie = in;
	in->fd.handler_in = got_events;
	if (iv_fd_register_own(&in->fd) < 0)
		goto close;
	in->fd.pad[10] = q;
	in->owner = st;

	return 0;

close:
	iv_close(fd);
free_queue:
	err = errno;
	free(q);
	errno = err;

	return -1;
}

static void check_owner(const struct iv_inotify *in, const char *call)
{
	const struct iv_state *st = iv_state_for(call);

	if (in->owner != st)
		iv_fatal("%s: instance %p is not registered%s", call,
			 (const void *)in,
			 in->owner != NULL ? " in this thread" :
			 ": call iv_inotify_register() first");
}

void iv_inotify_unregister(struct iv_inotify *in)
{
	check_owner(in, "iv_inotify_unregister");

	queue_free(queue_of(in));
	iv_fd_close_own(&in->fd);
	in->owner = NULL;
}

/*
 * The mask is passed to the kernel as it is, apart from the two bits for the
 * case that the file has a watch already: that has to fail with EEXIST and to
 * leave the watch alone.
 */
static int add(const struct iv_inotify *in, const struct iv_inotify_watch *w)
{
	int fd = in->fd.fd;
	int wd;

	/* The kernel rejects an empty mask, but not one with our bit. */
	if (w->mask == 0 || (w->mask & IN_MASK_CREATE))
		return inotify_add_watch(fd, w->pathname, w->mask);

	wd = inotify_add_watch(fd, w->pathname,
			       (w->mask & ~IN_MASK_ADD) | IN_MASK_CREATE);
	/* Another error, or Linux before 4.18, which does not know the bit. */
	if (wd < 0 && errno == EINVAL)
		wd = inotify_add_watch(fd, w->pathname, w->mask | IN_MASK_ADD);

	return wd;
}

/* w is for the same file as first, perhaps by another name. */
static void give_mask_back(const struct iv_inotify *in,
			   const struct iv_inotify_watch *first,
			   const struct iv_inotify_watch *w)
{
	const uint32_t of_name = IN_DONT_FOLLOW | IN_ONLYDIR;
	uint32_t mask = first->mask & ~(of_name | IN_MASK_ADD | IN_MASK_CREATE);

	(void)inotify_add_watch(in->fd.fd, w->pathname,
				mask | (w->mask & of_name));
}

/* Like inotify_add_watch(2) of Linux 4.18 with IN_MASK_CREATE. */
static int add_new(const struct iv_inotify *in,
		   const struct iv_inotify_watch *w)
{
	const struct iv_inotify_watch *first;
	int wd;

	wd = add(in, w);
	if (wd < 0)
		return -1;

	first = find(in, wd);
	if (first != NULL) {
		give_mask_back(in, first, w);
		errno = EEXIST;
		return -1;
	}

	return wd;
}

int iv_inotify_watch_register(struct iv_inotify_watch *w)
{
	struct iv_inotify *in = w->inotify;
	int wd;

	check_owner(in, "iv_inotify_watch_register");

	if (iv_fd_is_lost(&in->fd)) {
		w->wd = -1;
		errno = EBADF;
		return -1;
	}

	wd = add_new(in, w);
	if (wd < 0 && errno == EEXIST && has_watch(in, w))
		iv_fatal("iv_inotify_watch_register: %p is already registered: "
			 "unregister it first", (void *)w);

	w->wd = wd;
	if (wd < 0)
		return -1;
	(void)iv_avl_tree_insert(&in->watches, &w->an);

	return 0;
}

void iv_inotify_watch_unregister(struct iv_inotify_watch *w)
{
	/* Its last event was delivered, or the instance was unregistered. */
	if (w->wd == -1 || w->inotify->owner == NULL)
		return;

	check_owner(w->inotify, "iv_inotify_watch_unregister");
	if (find(w->inotify, w->wd) != w)
		iv_fatal("iv_inotify_watch_unregister: %p is not registered",
			 (void *)w);
	drop(w->inotify, w);
}

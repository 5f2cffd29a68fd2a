/*
 * libivykis: threads that the loop of their creator joins.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A thread and its creator share a record with an iv_event of the creator's
 * loop.  The thread posts it in the destructor of a thread-specific value,
 * which runs however the thread ends.  The handler joins the thread, after
 * which the thread no longer uses the record, and frees it.
 *
 * If the creator's loop ends first, the thread must not post to it.  An atomic
 * word decides which of the two came first:
 *
 *	thread_ends()
 *	{
 *		old = set(ENDED);
 *		if (old & RELEASED)
 *			free the record;
 *		else if (old == 0)
 *			post;
 *	}
 *
 *	orphan(), when the creator's loop ends
 *	{
 *		if (set(ORPHANED) & ENDED) {
 *			join, which waits for the post;
 *			unregister the event, free the record;
 *		} else {
 *			unregister the event, detach;
 *			if (set(RELEASED) & ENDED)
 *				free the record;
 *		}
 *	}
 */

#include <iv_event.h>
#include <iv_thread.h>
#include <iv_tls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "iv_cancel.h"
#include "iv_private.h"

#define ENDED		1U
#define ORPHANED	2U
#define RELEASED	4U

struct child {
	struct iv_list_head	list;
	struct iv_event		ended;
	pthread_t		thread;
	unsigned int		generation;
	atomic_uint		state;
	atomic_ulong		tid;		/* 0: does not run yet */
	int			destructed;
	void			(*start_routine)(void *);
	void			*arg;
	char			name[];
};

/* The threads that a loop has created, in order. */
struct family {
	struct iv_list_head	children;
	int			ended;
};

static atomic_int debug_state;

static pthread_key_t end_of_thread;
static int key_error;

unsigned long iv_get_thread_id(void)
{
	return iv_sys_thread_id();
}

unsigned long iv_thread_get_id(void)
{
	return iv_get_thread_id();
}

void iv_thread_set_debug_state(int state)
{
	/* Relaxed, like the load: no other data depends on it. */
	atomic_store_explicit(&debug_state, state, memory_order_relaxed);
}

static int debugging(void)
{
	/* Relaxed: see iv_thread_set_debug_state(). */
	return atomic_load_explicit(&debug_state, memory_order_relaxed);
}

static void say(const char *name, const char *what)
{
	int state;

	if (!debugging())
		return;

	/* fprintf() is a cancellation point. */
	state = iv_cancel_disable();
	fprintf(stderr, "iv_thread: [%s] %s\n", name, what);
	iv_cancel_restore(state);
}

static void tell_failure(const char *name, int err)
{
	int state;

	if (!debugging())
		return;

	state = iv_cancel_disable();
	fprintf(stderr, "iv_thread: pthr_create for [%s] failed with error "
		"%d[%s]\n", name, err, strerror(err));
	iv_cancel_restore(state);
}


/* The thread's side. */
static void thread_ends(void *_c)
{
	struct child *c = _c;
	unsigned int old;

	/*
	 * If the thread has left a loop, another destructor ends that.  Let it
	 * go first, by asking for another round of destructors.
	 */
	if (iv_inited() && !c->destructed++ &&
	    pthread_setspecific(end_of_thread, c) == 0)
		return;

	say(c->name, "terminating");

	/* In a child that this thread has forked, its creator does not exist. */
	if (c->generation != iv_process_generation())
		return;

	/*
	 * Release: pairs with the acquire in orphan(), for what the thread did
	 * to its record.  Acquire: pairs with the release there.
	 */
	iv_step();
	old = atomic_fetch_or_explicit(&c->state, ENDED, memory_order_acq_rel);
	iv_step();
	if (old & RELEASED)
		free(c);
	else if (!old)
		iv_event_post(&c->ended);
}

static void create_key(void)
{
	key_error = pthread_key_create(&end_of_thread, thread_ends);
}

static void *run(void *_c)
{
	struct child *c = _c;

	/* Relaxed: list_child() reads nothing but the number. */
	atomic_store_explicit(&c->tid, iv_get_thread_id(),
			      memory_order_relaxed);
	iv_step();
	if (pthread_setspecific(end_of_thread, c) != 0)
		iv_fatal("iv_thread_create: out of memory in the new thread");
	if (c->name[0] != '\0')
		iv_sys_name_thread(c->name);
	c->start_routine(c->arg);

	return NULL;
}


/* The creator's side. */
static void forget(struct child *c)
{
	iv_list_del(&c->list);
	iv_event_unregister(&c->ended);
	free(c);
}

/* The thread has left its routine, so this does not wait for long. */
static void join(struct child *c)
{
	/* If this thread were cancelled here, it would join twice. */
	int state = iv_cancel_disable();

	(void)pthread_join(c->thread, NULL);
	say(c->name, "joined");
	forget(c);
	iv_cancel_restore(state);
}

static void thread_ended(void *_c)
{
	struct child *c = _c;

	/* A child has the records of its parent's threads, but not the threads. */
	if (c->generation != iv_process_generation())
		forget(c);
	else
		join(c);
}

static void orphan(struct child *c)
{
	unsigned int old;

	/* Acquire: pairs with the release in thread_ends(). */
	old = atomic_fetch_or_explicit(&c->state, ORPHANED,
				       memory_order_acquire);
	iv_step();
	if (old & ENDED) {
		join(c);
		return;
	}

	iv_list_del(&c->list);
	iv_event_unregister(&c->ended);
	(void)pthread_detach(c->thread);
	iv_step();

	/*
	 * Release: pairs with the acquire in thread_ends(), for what was done
	 * here.  Acquire: pairs with the release there.
	 */
	old = atomic_fetch_or_explicit(&c->state, RELEASED,
				       memory_order_acq_rel);
	if (old & ENDED)
		free(c);
}

static void family_begins(void *_family)
{
	struct family *family = _family;

	INIT_IV_LIST_HEAD(&family->children);
}

static void family_ends(void *_family)
{
	struct family *family = _family;
	struct iv_list_head *ilh, *next;

	family->ended = 1;
	iv_list_for_each_safe (ilh, next, &family->children) {
		struct child *c = iv_container_of(ilh, struct child, list);

		/* See thread_ended(). */
		if (c->generation == iv_process_generation())
			orphan(c);
		else
			forget(c);
	}
}

static struct iv_tls_user family_user = {
	.sizeof_state	= sizeof(struct family),
	.init_thread	= family_begins,
	.deinit_thread	= family_ends,
};

/* Early, as the program's constructors may call iv_init(). */
__attribute__((constructor(101)))
static void family_constructor(void)
{
	iv_tls_user_register(&family_user);
}

static struct child *new_child(const char *name)
{
	size_t size = strlen(name) + 1;
	struct child *c = calloc(1, sizeof(*c) + size);

	if (c == NULL)
		return NULL;

	memcpy(c->name, name, size);
	c->generation = iv_process_generation();
	IV_EVENT_INIT(&c->ended);
	c->ended.cookie = c;
	c->ended.handler = thread_ended;

	return c;
}

/* Returns 0 or an error number. */
static int start_thread(struct child *c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int err;

	(void)pthread_once(&once, create_key);
	err = key_error;
	if (!err)
		err = pthread_create(&c->thread, NULL, run, c);
	iv_step();
	if (err)
		tell_failure(c->name, err);

	return err;
}

int iv_thread_create(const char *name, void (*start_routine)(void *), void *arg)
{
	struct family *family;
	struct child *c;
	int err;

	(void)iv_state_for("iv_thread_create");
	if (start_routine == NULL)
		iv_fatal("iv_thread_create: called without a routine for the "
			 "thread \"%s\"", name != NULL ? name : "");

	c = new_child(name != NULL ? name : "");
	if (c == NULL)
		return -1;
	c->start_routine = start_routine;
	c->arg = arg;

	if (iv_event_register(&c->ended) < 0) {
		err = errno;
		goto free;
	}
	err = start_thread(c);
	if (err)
		goto unregister;

	family = iv_tls_user_ptr(&family_user);
	iv_list_add_tail(&c->list, &family->children);
	say(c->name, "started");
	/* Called in a deinit_thread() after ours: no loop will join it. */
	if (family->ended)
		orphan(c);

	return 0;

unregister:
	iv_event_unregister(&c->ended);
free:
	free(c);
	errno = err;

	return -1;
}

static void list_child(const struct child *c)
{
	/* Relaxed: see run(). */
	unsigned long tid = atomic_load_explicit(&c->tid,
						 memory_order_relaxed);

	if (c->generation == iv_process_generation())
		fprintf(stderr, "%lu\t%s\n", tid, c->name);
}

void iv_thread_list_children(void)
{
	struct family *family;
	struct iv_list_head *ilh;
	int state;

	(void)iv_state_for("iv_thread_list_children");
	family = iv_tls_user_ptr(&family_user);

	state = iv_cancel_disable();
	fprintf(stderr, "tid\tname\n");
	fprintf(stderr, "%lu\tself\n", iv_get_thread_id());
	iv_list_for_each (ilh, &family->children)
		list_child(iv_container_of(ilh, struct child, list));
	iv_cancel_restore(state);
}

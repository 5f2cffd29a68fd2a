/*
 * libivykis: work done by a pool of threads, completed in the owner's loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A submitted item claims the idle thread that was busy last, or else has a new
 * thread started if there are fewer than max_threads.  So a burst of items is
 * run by as many threads as possible.  The first thread that is free takes the
 * oldest item.  Threads run items for a short time before their loops get a
 * turn.  Finished items are queued for the owner's loop.
 *
 * Threads are only started in the owner's loop.  A thread that could not be
 * started is still wanted, and is tried again whenever the owner serves the
 * pool.  If there is no thread at all, a task of the owner's loop runs the
 * items.
 *
 * Behind struct iv_work_pool is a struct pool with a reference count.  The user
 * has a reference until the pool is put, the owner's loop until the last item
 * is completed and the last thread has left, and each thread has one; the last
 * one that is dropped frees it.  The lock is never held while a user function
 * runs.
 *
 * A user function may run the loop, end it, fork, or never return.  So after
 * the call the owner checks whether the loop and the pool still exist.  During
 * the call a task is registered that continues with the rest in case the
 * function does not return.
 *
 * This file uses the public calls of iv_event, iv_task, iv_thread, iv_timer and
 * iv_tls.
 */

#include <iv_event.h>
#include <iv_thread.h>
#include <iv_tls.h>
#include <iv_work.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "iv_private.h"

#define IDLE_SECONDS	10
#define BATCH_NS	100000		/* before the loop gets a turn */

struct pool {
	struct iv_state		*owner;		/* NULL: its loop has ended */
	unsigned int		generation;
	int			max_threads;	/* for continuations */
	void			*cookie;
	void			(*thread_start)(void *);
	void			(*thread_stop)(void *);

	/* Of the owner's loop. */
	struct iv_list_head	list;
	const void		*user;		/* NULL: it has been put */
	struct iv_event		event;
	struct iv_task		rest;		/* completes the batch */
	struct iv_list_head	batch;		/* items being completed */
	struct iv_task		own_work;

	/* Guarded by the lock, which is also held to post the event. */
	pthread_mutex_t		lock;
	int			put;
	int			orphaned;	/* the owner's loop has ended */
	int			refs;
	int			threads;	/* that take items */
	int			wanted;		/* that are to be started */
	struct iv_list_head	queue;		/* items to run */
	struct iv_list_head	done;		/* items to complete */
	struct iv_list_head	idle;		/* latest first */
};

struct worker {
	struct pool		*pool;		/* NULL: it has left */
	struct iv_event		wake;
	struct iv_timer		too_long_idle;
	struct iv_work_item	*item;		/* that it runs */
	int			leaving;	/* takes no more items */
	struct iv_list_head	idle;		/* guarded by the pool's lock */
};

/* Each loop has one. */
struct work_state {
	struct iv_list_head	pools;		/* that it owns */
	struct iv_list_head	items;		/* for its own thread */
	struct iv_list_head	batch;		/* of these, for this round */
	struct iv_task		task;		/* runs them */
	struct iv_task		rest;		/* continues with the batch */
	struct worker		*worker;	/* whose loop it is, or NULL */
	int			ended;
};

struct iv_work_pool_ {
	int			max_threads;
	void			*cookie;
	void			(*thread_start)(void *);
	void			(*thread_stop)(void *);

	_Atomic(struct pool *)	priv;
};

_Static_assert(sizeof(struct iv_work_pool_) == sizeof(struct iv_work_pool),
	       "struct iv_work_pool_ has to match struct iv_work_pool");

static void begin_loop(void *_ws);
static void end_loop(void *_ws);

static struct iv_tls_user work_user = {
	.sizeof_state	= sizeof(struct work_state),
	.init_thread	= begin_loop,
	.deinit_thread	= end_loop,
};

/* Early: a program's own constructors may call iv_init(). */
__attribute__((constructor(101)))
static void work_constructor(void)
{
	iv_tls_user_register(&work_user);
}

static struct work_state *own_state(void)
{
	return iv_tls_user_ptr(&work_user);
}


/* Items. */
static struct iv_work_item *take_first(struct iv_list_head *items)
{
	struct iv_work_item *item;

	if (iv_list_empty(items))
		return NULL;
	item = iv_container_of(items->next, struct iv_work_item, list);
	iv_list_del(&item->list);

	return item;
}

static void work(struct iv_work_item *item)
{
	if (item->work == NULL)
		iv_fatal("iv_work: item %p has no work function: set work "
			 "before it is submitted", (void *)item);
	item->work(item->cookie);
	/* It may have taken long, or may have ended the loop. */
	if (iv_inited())
		iv_invalidate_now();
}

static void complete(struct iv_work_item *item)
{
	if (item->completion == NULL)
		iv_fatal("iv_work: item %p has no completion function: set "
			 "completion before it is submitted", (void *)item);
	/* The last access to the item, which the function may free. */
	item->completion(item->cookie);
}


/* Pools.  A function named _locked is called with the pool's lock held. */
static void lock(struct pool *p)
{
	(void)pthread_mutex_lock(&p->lock);
	iv_step();
}

static void unlock(struct pool *p)
{
	(void)pthread_mutex_unlock(&p->lock);
	iv_step();
}

/* A child must not use its parent's pools, whose lock may be held forever. */
static int is_ours(const struct pool *p)
{
	return p->generation == iv_process_generation();
}

/* Unlocks, too. */
static void drop_locked(struct pool *p)
{
	int refs = --p->refs;

	unlock(p);
	if (refs == 0) {
		(void)pthread_mutex_destroy(&p->lock);
		free(p);
	}
}

static void tell_owner_locked(struct pool *p)
{
	if (!p->orphaned)
		iv_event_post(&p->event);
}

static int claim_idle_locked(struct pool *p)
{
	struct worker *w;

	if (iv_list_empty(&p->idle))
		return 0;
	w = iv_container_of(p->idle.next, struct worker, idle);
	iv_list_del_init(&w->idle);
	iv_event_post(&w->wake);

	return 1;
}

/* 1 if the owner has to serve the queue. */
static int submit_locked(struct pool *p, struct iv_work_item *item, int max)
{
	iv_list_add_tail(&item->list, &p->queue);
	if (!claim_idle_locked(p) && p->threads + p->wanted < max)
		p->wanted++;

	return p->wanted > 0 || p->threads == 0;
}

/* An item whose owner's loop has ended is never completed. */
static void finish_locked(struct pool *p, struct iv_work_item *item)
{
	if (p->orphaned)
		return;
	/* Otherwise a post is pending. */
	if (iv_list_empty(&p->done))
		tell_owner_locked(p);
	iv_list_add_tail(&item->list, &p->done);
}


/* Workers. */
static void leave(struct worker *w)
{
	struct pool *p = w->pool;
	unsigned long life = iv_loop_life();
	int stop = !w->leaving && p->thread_stop != NULL;

	w->leaving = 1;
	if (stop)
		p->thread_stop(p->cookie);
	/* It has ended the loop, and with it this worker. */
	if (iv_loop_life() != life)
		return;

	iv_event_unregister(&w->wake);
	w->pool = NULL;
	iv_step();
	if (!is_ours(p))
		return;

	lock(p);
	tell_owner_locked(p);
	drop_locked(p);
}

static void wait_idle(struct worker *w)
{
	w->too_long_idle.expires = iv_now;
	w->too_long_idle.expires.tv_sec += IDLE_SECONDS;
	iv_timer_register(&w->too_long_idle);
}

/* The queue is empty.  Unlocks. */
static void rest_locked(struct worker *w)
{
	struct pool *p = w->pool;
	int over = p->put || p->orphaned;

	if (over)
		p->threads--;
	else
		iv_list_add(&w->idle, &p->idle);
	unlock(p);

	if (over)
		leave(w);
	else
		wait_idle(w);
}

/* This is the only thread of a forked child, which must not use the pool. */
static void leave_to_parent(struct worker *w)
{
	w->leaving = 1;
	iv_event_unregister(&w->wake);
	w->pool = NULL;
}

static void got_too_long_idle(void *_w)
{
	struct worker *w = _w;
	struct pool *p = w->pool;

	if (!is_ours(p)) {
		leave_to_parent(w);
		return;
	}
	lock(p);
	if (iv_list_empty(&w->idle)) {
		/* It was claimed just now: the event is pending. */
		unlock(p);
		return;
	}
	iv_list_del_init(&w->idle);
	p->threads--;
	unlock(p);

	leave(w);
}

/* Have the loop's other objects waited long enough? */
static int is_long_ago(const struct timespec *begin)
{
	long ns = iv_now.tv_nsec - begin->tv_nsec;

	return iv_now.tv_sec - begin->tv_sec > 1 ||
	       (iv_now.tv_sec - begin->tv_sec) * 1000000000 + ns > BATCH_NS;
}

enum outcome {
	GONE,			/* the loop has ended, or is a forked child's */
	LOCKED_IDLE,		/* the queue is empty; the lock is held */
	BUSY,
};

static enum outcome work_batch(struct worker *w)
{
	const struct timespec begin = iv_now;
	unsigned long life = iv_loop_life();
	struct pool *p = w->pool;
	int last = 0;

	lock(p);
	while (!last && (w->item = take_first(&p->queue)) != NULL) {
		unlock(p);
		work(w->item);
		if (iv_loop_life() != life || !is_ours(p))
			return GONE;
		last = is_long_ago(&begin);
		lock(p);
		finish_locked(p, w->item);
		w->item = NULL;
	}
	if (iv_list_empty(&p->queue))
		return LOCKED_IDLE;
	unlock(p);

	return BUSY;
}

static void got_wake(void *_w)
{
	struct worker *w = _w;
	unsigned long life = iv_loop_life();

	/* A function of the pool runs this loop, and has to return first. */
	if (w->item != NULL || w->leaving)
		return;
	if (!is_ours(w->pool)) {
		leave_to_parent(w);
		return;
	}
	if (iv_timer_registered(&w->too_long_idle))
		iv_timer_unregister(&w->too_long_idle);

	switch (work_batch(w)) {
	case GONE:
		if (iv_loop_life() == life)
			leave_to_parent(w);
		break;
	case LOCKED_IDLE:
		/*
		 * The lock is held since the item was finished, so that an item
		 * that its completion submits finds this thread idle.
		 */
		rest_locked(w);
		break;
	case BUSY:
		/* Continue after the loop's other objects. */
		iv_event_post(&w->wake);
		break;
	}
}

static int start_loop(struct worker *w)
{
	if (iv_init_try() < 0)
		return -1;
	if (iv_event_register(&w->wake) < 0) {
		iv_deinit();
		return -1;
	}
	own_state()->worker = w;

	return 0;
}

/* This thread cannot have a loop: the owner has to serve the queue. */
static void give_up(struct worker *w)
{
	struct pool *p = w->pool;

	lock(p);
	p->threads--;
	tell_owner_locked(p);
	drop_locked(p);
	free(w);
}

static void run_worker(void *_w)
{
	struct worker *w = _w;
	struct pool *p = w->pool;

	/* The name of its iv_thread is too long for the kernel. */
	iv_sys_name_thread("iv_work");
	if (start_loop(w) < 0) {
		give_up(w);
		return;
	}

	if (p->thread_start != NULL)
		p->thread_start(p->cookie);
	/* If the function has ended the loop, the worker is gone, too. */
	if (!iv_inited() || own_state()->worker != w)
		return;
	iv_event_post(&w->wake);
	while (w->pool != NULL)
		iv_main();
	/* Frees *w. */
	iv_deinit();
}

/* A function has ended the thread: the item that it ran counts as finished. */
static void abandon(struct worker *w)
{
	struct pool *p = w->pool;

	if (iv_timer_registered(&w->too_long_idle))
		iv_timer_unregister(&w->too_long_idle);

	lock(p);
	if (w->item != NULL)
		finish_locked(p, w->item);
	iv_list_del_init(&w->idle);
	/* Otherwise thread_stop() has ended it. */
	if (!w->leaving)
		p->threads--;
	if (!iv_list_empty(&p->queue))
		p->wanted++;
	unlock(p);

	leave(w);
}

/* The worker's loop ends. */
static void end_worker(struct worker *w)
{
	if (w->pool != NULL && !is_ours(w->pool))
		return;
	if (w->pool != NULL)
		abandon(w);
	free(w);
}

static int start_worker(struct pool *p)
{
	struct worker *w = calloc(1, sizeof(*w));
	char name[80];

	if (w == NULL)
		return -1;

	w->pool = p;
	INIT_IV_LIST_HEAD(&w->idle);
	IV_EVENT_INIT(&w->wake);
	w->wake.cookie = w;
	w->wake.handler = got_wake;
	IV_TIMER_INIT(&w->too_long_idle);
	w->too_long_idle.cookie = w;
	w->too_long_idle.handler = got_too_long_idle;

	snprintf(name, sizeof(name), "iv_work pool %p thread %p", (void *)p,
		 (void *)w);
	if (iv_thread_create(name, run_worker, w) < 0) {
		free(w);
		return -1;
	}

	return 0;
}


/* The owner. */
static int start_wanted_locked(struct pool *p)
{
	int ret;

	p->wanted--;
	p->threads++;
	p->refs++;
	unlock(p);
	ret = start_worker(p);
	lock(p);
	if (ret < 0) {
		p->wanted++;
		p->threads--;
		p->refs--;
	}

	return ret;
}

/* Sees to it that there is a thread, or a task, that runs what is queued. */
static void serve_queue(struct pool *p)
{
	int own_work;

	lock(p);
	while (p->wanted > 0 && !iv_list_empty(&p->queue)) {
		if (start_wanted_locked(p) < 0)
			break;
	}
	if (iv_list_empty(&p->queue))
		p->wanted = 0;
	own_work = p->threads == 0 && !iv_list_empty(&p->queue);
	unlock(p);

	if (own_work && !iv_task_registered(&p->own_work))
		iv_task_register(&p->own_work);
}

/* Does the loop still have this pool?  A user function may have ended it. */
static int exists(const struct pool *p)
{
	const struct iv_list_head *ilh;

	iv_list_for_each (ilh, &own_state()->pools) {
		if (iv_container_of(ilh, struct pool, list) == p)
			return 1;
	}

	return 0;
}

/* After a user function was called: is the pool still to be served here? */
static int goes_on(const struct pool *p, unsigned long life)
{
	return iv_loop_life() == life && exists(p) && is_ours(p);
}

/* One item per round, as the loop has other objects to serve. */
static void do_own_work(void *_p)
{
	struct pool *p = _p;
	struct iv_work_item *item = NULL;
	unsigned long life = iv_loop_life();

	if (!is_ours(p))
		return;

	lock(p);
	if (p->threads == 0)
		item = take_first(&p->queue);
	unlock(p);
	if (item == NULL)
		return;

	/* It runs the others if this one does not return. */
	iv_task_register(&p->own_work);
	work(item);
	if (iv_loop_life() == life && !exists(p)) {
		/* The pool ended in an iv_main() that the item ran. */
		complete(item);
		return;
	}
	if (!goes_on(p, life))
		return;
	if (iv_task_registered(&p->own_work))
		iv_task_unregister(&p->own_work);

	lock(p);
	finish_locked(p, item);
	unlock(p);
	serve_queue(p);
}

static void leave_loop(struct pool *p)
{
	iv_list_del(&p->list);
	if (iv_task_registered(&p->own_work))
		iv_task_unregister(&p->own_work);
	if (iv_task_registered(&p->rest))
		iv_task_unregister(&p->rest);
	iv_event_unregister(&p->event);

	lock(p);
	drop_locked(p);
}

static int is_over(struct pool *p)
{
	int ret;

	lock(p);
	ret = p->put && p->refs == 1 && iv_list_empty(&p->queue) &&
	      iv_list_empty(&p->done) && iv_list_empty(&p->batch);
	unlock(p);

	return ret;
}

static void complete_batch(void *_p)
{
	struct pool *p = _p;
	struct iv_work_item *item;
	unsigned long life = iv_loop_life();

	if (!is_ours(p))
		return;

	/* It completes the others if a completion does not return. */
	if (!iv_task_registered(&p->rest))
		iv_task_register(&p->rest);
	while ((item = take_first(&p->batch)) != NULL) {
		complete(item);
		if (!goes_on(p, life))
			return;
	}
	if (iv_task_registered(&p->rest))
		iv_task_unregister(&p->rest);

	if (is_over(p))
		leave_loop(p);
}

static void got_event(void *_p)
{
	struct pool *p = _p;

	if (!is_ours(p))
		return;
	serve_queue(p);

	lock(p);
	iv_list_splice_tail_init(&p->done, &p->batch);
	unlock(p);
	complete_batch(p);
}

/* The loop ends, even if its pools are still at work. */
static void orphan(struct pool *p)
{
	lock(p);
	p->orphaned = 1;
	p->owner = NULL;
	INIT_IV_LIST_HEAD(&p->queue);
	INIT_IV_LIST_HEAD(&p->done);
	while (claim_idle_locked(p))
		;
	unlock(p);

	leave_loop(p);
}

static void work_own_batch(void *_ws)
{
	struct work_state *ws = _ws;
	struct iv_work_item *item;
	unsigned long life = iv_loop_life();

	if (!iv_task_registered(&ws->rest))
		iv_task_register(&ws->rest);
	while ((item = take_first(&ws->batch)) != NULL) {
		work(item);
		if (iv_loop_life() != life)
			return;
		complete(item);
		if (iv_loop_life() != life)
			return;
	}
	if (iv_task_registered(&ws->rest))
		iv_task_unregister(&ws->rest);
}

static void work_own_items(void *_ws)
{
	struct work_state *ws = _ws;

	iv_list_splice_tail_init(&ws->items, &ws->batch);
	work_own_batch(ws);
}

static void begin_loop(void *_ws)
{
	struct work_state *ws = _ws;

	INIT_IV_LIST_HEAD(&ws->pools);
	INIT_IV_LIST_HEAD(&ws->items);
	INIT_IV_LIST_HEAD(&ws->batch);
	IV_TASK_INIT(&ws->task);
	ws->task.cookie = ws;
	ws->task.handler = work_own_items;
	IV_TASK_INIT(&ws->rest);
	ws->rest.cookie = ws;
	ws->rest.handler = work_own_batch;
}

static void end_loop(void *_ws)
{
	struct work_state *ws = _ws;
	struct iv_list_head *ilh, *next;

	if (ws->worker != NULL)
		end_worker(ws->worker);

	ws->ended = 1;
	iv_list_for_each_safe (ilh, next, &ws->pools) {
		struct pool *p = iv_container_of(ilh, struct pool, list);

		if (is_ours(p))
			orphan(p);
	}
}

static struct pool *new_pool(const struct iv_work_pool *pool)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;

	p->owner = iv_self;
	p->user = pool;
	p->generation = iv_process_generation();
	p->max_threads = pool->max_threads;
	p->cookie = pool->cookie;
	p->thread_start = pool->thread_start;
	p->thread_stop = pool->thread_stop;

	IV_EVENT_INIT(&p->event);
	p->event.cookie = p;
	p->event.handler = got_event;
	IV_TASK_INIT(&p->rest);
	p->rest.cookie = p;
	p->rest.handler = complete_batch;
	INIT_IV_LIST_HEAD(&p->batch);
	IV_TASK_INIT(&p->own_work);
	p->own_work.cookie = p;
	p->own_work.handler = do_own_work;

	/* The user's and the loop's. */
	p->refs = 2;
	INIT_IV_LIST_HEAD(&p->queue);
	INIT_IV_LIST_HEAD(&p->done);
	INIT_IV_LIST_HEAD(&p->idle);

	return p;
}

static void check_new(const struct work_state *ws, const void *pool)
{
	const struct iv_list_head *ilh;

	iv_list_for_each (ilh, &ws->pools) {
		const struct pool *p = iv_container_of(ilh, struct pool, list);

		if (p->user == pool && is_ours(p))
			iv_fatal("iv_work_pool_create: %p is a pool already: "
				 "call iv_work_pool_put() first", pool);
	}
}

static int create(struct iv_work_pool_ *pool)
{
	struct work_state *ws = own_state();
	struct pool *p;
	int err;

	if (ws->ended) {
		errno = ESHUTDOWN;
		return -1;
	}

	p = new_pool((struct iv_work_pool *)pool);
	if (p == NULL)
		return -1;

	err = pthread_mutex_init(&p->lock, NULL);
	if (err)
		goto free;
	if (iv_event_register(&p->event) < 0) {
		err = errno;
		goto destroy;
	}

	iv_list_add_tail(&p->list, &ws->pools);
	/* Release: pairs with pool_of(), of threads that continue the work. */
	atomic_store_explicit(&pool->priv, p, memory_order_release);

	return 0;

destroy:
	(void)pthread_mutex_destroy(&p->lock);
free:
	free(p);
	errno = err;

	return -1;
}

int iv_work_pool_create(struct iv_work_pool *_pool)
{
	struct iv_work_pool_ *pool = (struct iv_work_pool_ *)_pool;

	(void)iv_state_for("iv_work_pool_create");
	check_new(own_state(), pool);

	/* Until there is one.  Relaxed: there is nothing to publish. */
	atomic_store_explicit(&pool->priv, NULL, memory_order_relaxed);

	return create(pool);
}

static struct pool *pool_of(struct iv_work_pool *_pool, const char *call)
{
	struct iv_work_pool_ *pool = (struct iv_work_pool_ *)_pool;
	/* Acquire: pairs with the release in create(). */
	struct pool *p = atomic_load_explicit(&pool->priv,
					      memory_order_acquire);

	if (p == NULL)
		iv_fatal("%s: %p is not a pool, or has been put: call "
			 "iv_work_pool_create() first", call, (void *)pool);
	if (!is_ours(p))
		iv_fatal("%s: %p was created before the fork, and its threads "
			 "are the parent's: create a pool of this process",
			 call, (void *)pool);

	return p;
}

void iv_work_pool_put(struct iv_work_pool *pool)
{
	struct pool *p = pool_of(pool, "iv_work_pool_put");

	/* Relaxed: it only serves to detect later uses of the pool. */
	atomic_store_explicit(&((struct iv_work_pool_ *)pool)->priv, NULL,
			      memory_order_relaxed);

	p->user = NULL;
	lock(p);
	p->put = 1;
	while (claim_idle_locked(p))
		;
	/*
	 * A pool with threads ends after them, and each of them posts when it
	 * leaves.  The owner's own posts keep their place among its tasks.
	 */
	if (p->refs == 2)
		tell_owner_locked(p);
	drop_locked(p);
}

static void submit_to_self(struct iv_work_item *item)
{
	struct work_state *ws = own_state();

	iv_list_add_tail(&item->list, &ws->items);
	if (!iv_task_registered(&ws->task))
		iv_task_register(&ws->task);
}

static void submit_to_own(struct iv_work_pool *pool, struct iv_work_item *item)
{
	struct pool *p = pool_of(pool, "iv_work_pool_submit_work");
	int to_serve;

	if (p->owner != iv_self)
		iv_fatal("iv_work_pool_submit_work: %p belongs to another "
			 "thread: call iv_work_pool_submit_continuation()",
			 (void *)pool);

	lock(p);
	to_serve = submit_locked(p, item, pool->max_threads);
	unlock(p);
	if (to_serve)
		serve_queue(p);
}

void iv_work_pool_submit_work(struct iv_work_pool *pool,
			      struct iv_work_item *item)
{
	(void)iv_state_for("iv_work_pool_submit_work");
	if (pool == NULL)
		submit_to_self(item);
	else
		submit_to_own(pool, item);
}

static void continue_in(struct iv_work_pool *pool, struct iv_work_item *item)
{
	struct pool *p = pool_of(pool, "iv_work_pool_submit_continuation");

	lock(p);
	if (!p->orphaned) {
		if (submit_locked(p, item, p->max_threads))
			tell_owner_locked(p);
	}
	unlock(p);
}

void iv_work_pool_submit_continuation(struct iv_work_pool *pool,
				      struct iv_work_item *item)
{
	if (pool != NULL) {
		continue_in(pool, item);
		return;
	}
	(void)iv_state_for("iv_work_pool_submit_continuation");
	submit_to_self(item);
}

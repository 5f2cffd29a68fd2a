/*
 * libivykis: thread pools, whose items are completed in the owner's loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_WORK_H
#define __IV_WORK_H

#include <iv.h>
#include <iv_list.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Set the public members before creating the pool; all but max_threads are
 * copied.  thread_start(cookie) and thread_stop(cookie) are called in each of
 * its threads, before the first item and before the thread exits, unless they
 * are NULL.  The owner may change max_threads until the pool is put; the new
 * value applies to subsequent calls of iv_work_pool_submit_work().
 */
struct iv_work_pool {
	int		max_threads;	/* 0 or less: none, see below */
	void		*cookie;
	void		(*thread_start)(void *cookie);
	void		(*thread_stop)(void *cookie);

	void		*priv;		/* private */
};

/*
 * work(cookie) is called in a thread of the pool, then completion(cookie) in
 * the owner's loop.  Both must be set.  The item belongs to the library until
 * its completion is called, which may free it or submit it again.
 */
struct iv_work_item {
	void		*cookie;
	void		(*work)(void *cookie);
	void		(*completion)(void *cookie);

	struct iv_list_head	list;	/* private */
};

/*
 * Sets thread_start and thread_stop to NULL, and nothing else.  May be called
 * from any thread and from signal handlers.
 */
static inline void IV_WORK_POOL_INIT(struct iv_work_pool *pool)
{
	pool->thread_start = NULL;
	pool->thread_stop = NULL;
}

/*
 * Does nothing, even to an item that has been submitted.  May be called from
 * any thread and from signal handlers.
 */
static inline void IV_WORK_ITEM_INIT(struct iv_work_item *item)
{
	(void)item;
}

/*
 * Makes the calling thread the owner of a pool, which has no threads yet and
 * keeps the thread's iv_main() running until it has been put and its threads
 * have exited.  Returns 0, or -1 with errno set (EMFILE, ENFILE, ENOMEM,
 * ENOSPC, ESHUTDOWN) and no pool created.  May be called from any thread that
 * has a loop.  The private member need not be initialised.
 */
int iv_work_pool_create(struct iv_work_pool *pool);

/*
 * Releases the pool: nothing more can be submitted to it, and *pool may be
 * freed or used for another pool at once.  Items already submitted are run and
 * completed; then the threads exit.  May be called from the owner, including
 * any of its handlers and completions.
 */
void iv_work_pool_put(struct iv_work_pool *pool);

/*
 * Submits an item, which goes to an idle thread, otherwise to a new thread if
 * there are fewer than max_threads, otherwise to the first thread that becomes
 * free; to the owner's loop if there is no thread and none can be created.
 * Items start in the order of submission and complete in the order in which
 * they finish.  Cannot fail.  May be called from the owner.
 *
 * If pool is NULL, the item runs and completes in the calling thread's loop, by
 * a task; then the function may be called from any thread that has a loop.
 */
void iv_work_pool_submit_work(struct iv_work_pool *pool,
			      struct iv_work_item *item);

/*
 * Does the same from any thread, typically in a work function of the pool; the
 * completion is still called in the owner's loop.  New threads are started from
 * that loop, so it must be running, and max_threads has the value that it had
 * when the pool was created.  The pool must not be put at the same time.  A
 * NULL pool: as above.
 */
void iv_work_pool_submit_continuation(struct iv_work_pool *pool,
				      struct iv_work_item *item);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: work done by a pool of threads, completed in the owner's loop.
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
 * Set the public members before creating the pool.  thread_start(cookie) and
 * thread_stop(cookie) are called in each of its threads, before the first item
 * and before the end; NULL: not called.  The three are copied.  max_threads
 * may be changed until the pool is put and holds for what is submitted by
 * iv_work_pool_submit_work() from then on.
 */
struct iv_work_pool {
	int		max_threads;	/* 0 or less: none, see below */
	void		*cookie;
	void		(*thread_start)(void *cookie);
	void		(*thread_stop)(void *cookie);

	void		*priv;		/* private */
};

/*
 * work(cookie) is called in a thread of the pool, completion(cookie) in the
 * owner's loop.  Both have to be set.  The item is the library's until its
 * completion is called, which may free it or submit it again.
 */
struct iv_work_item {
	void		*cookie;
	void		(*work)(void *cookie);
	void		(*completion)(void *cookie);

	struct iv_list_head	list;	/* private */
};

/* thread_start = thread_stop = NULL, and nothing else.  Any thread. */
static inline void IV_WORK_POOL_INIT(struct iv_work_pool *pool)
{
	pool->thread_start = NULL;
	pool->thread_stop = NULL;
}

/* Does nothing, also to an item that was submitted.  Any thread. */
static inline void IV_WORK_ITEM_INIT(struct iv_work_item *item)
{
	(void)item;
}

/*
 * Make the calling thread the owner of a pool without threads, which keeps its
 * iv_main() from returning until it has been put and has come to an end.  0,
 * or -1 with errno (EMFILE, ENFILE, ENOMEM, ENOSPC): there is no pool then.
 * Loop thread.  The private member may hold anything.
 */
int iv_work_pool_create(struct iv_work_pool *pool);

/*
 * Let go of the pool: nothing more can be submitted, *pool may be freed or
 * used for another one at once.  What was submitted is worked and completed,
 * then the threads end.  Owner, completions and work functions that it runs
 * included.
 */
void iv_work_pool_put(struct iv_work_pool *pool);

/*
 * Have the item worked by a thread that is idle, or else, if there are fewer
 * than max_threads, by a new one, or else by the first that gets to it; by the
 * owner's loop if there is no thread and none can be made.  Items are begun in
 * the order of submission and completed in the order in which they are done.
 * pool NULL: worked and completed in the calling thread's loop, by a task.
 * Cannot fail.  Owner; for NULL, loop thread.
 */
void iv_work_pool_submit_work(struct iv_work_pool *pool,
			      struct iv_work_item *item);

/*
 * The same for any thread, typically out of a work function of the pool; the
 * completion is called in the owner's loop all the same.  A new thread has to
 * wait for that loop, and max_threads is what it was when the pool was
 * created.  pool NULL: as above, loop thread.
 */
void iv_work_pool_submit_continuation(struct iv_work_pool *pool,
				      struct iv_work_item *item);

#ifdef __cplusplus
}
#endif

#endif

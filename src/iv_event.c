/*
 * libivykis: a call made in another thread of the same process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop has a stack of posted events, to which any thread and any signal
 * handler pushes by compare-and-exchange; the loop takes all of it at once and
 * turns it over, which restores the order of the posts.
 *
 * The owner word of an event is its loop's address, with the bit PENDING from
 * the post that pushes it until right before its handler is called.
 *
 *	post:	set PENDING; it was set: return
 *		push
 *		fence A
 *		asleep?  post the loop's iv_event_raw
 *
 *	loop:	asleep = 1
 *		fence B
 *		something pushed?  do not wait
 *
 * Of the two fences one comes first, so either the poster sees that the loop
 * sleeps or the loop sees the event.  A loop that is awake looks at the stack
 * once a pass and needs no system call to be told.
 */

#include <pthread.h>
#include <sched.h>
#include "iv_private.h"

struct iv_event_ {
	void				*cookie;
	void				(*handler)(void *);

	atomic_uintptr_t		owner;
	union {
		struct iv_event_	*below;		/* on the stack */
		struct iv_list_head	list;		/* off it */
	};
};

_Static_assert(sizeof(struct iv_event_) <= sizeof(struct iv_event),
	       "struct iv_event_ has to fit into struct iv_event");

#define PENDING		((uintptr_t)1)

void iv_event_init(struct iv_state *st)
{
	INIT_IV_LIST_HEAD(&st->event.queue);
	INIT_IV_LIST_HEAD(&st->event.batch);
}

static int stack_is_empty(const struct iv_state *st)
{
	/* Relaxed: what is on it is read by take_stack() only. */
	return atomic_load_explicit(&st->event.posted,
				    memory_order_relaxed) == NULL;
}

int iv_event_queued(const struct iv_state *st)
{
	return !stack_is_empty(st) || !iv_list_empty(&st->event.queue);
}

/* Move the stack to the end of the queue, in the order of the posts. */
static void take_stack(struct iv_state *st)
{
	struct iv_list_head *end = st->event.queue.prev;
	struct iv_event_ *ev;

	if (stack_is_empty(st))
		return;

	/* Acquire: pairs with the release in push(), for `below'. */
	ev = atomic_exchange_explicit(&st->event.posted, NULL,
				      memory_order_acquire);
	while (ev != NULL) {
		struct iv_event_ *below = ev->below;

		iv_list_add(&ev->list, end);
		ev = below;
	}
}

static void deliver(struct iv_event_ *ev)
{
	iv_list_del(&ev->list);

	/*
	 * Acquire: pairs with the release of each iv_event_post() that set the
	 * bit or found it set; what those wrote before is visible from here.
	 */
	atomic_fetch_and_explicit(&ev->owner, ~PENDING, memory_order_acq_rel);

	if (ev->handler == NULL)
		iv_fatal("iv_event: %p was posted and has no handler",
			 (void *)ev);
	ev->handler(ev->cookie);
}

static void run_batch(struct iv_state *st)
{
	st->event.own = 0;
	take_stack(st);
	iv_list_splice_tail_init(&st->event.queue, &st->event.batch);
	while (!iv_list_empty(&st->event.batch))
		deliver(iv_container_of(st->event.batch.next,
					struct iv_event_, list));
}

void iv_event_run(struct iv_state *st)
{
	if (iv_event_queued(st) && !st->event.own)
		run_batch(st);
}

int iv_event_run_in_round(struct iv_state *st)
{
	if (!st->event.own || st->event.round == iv_task_round(st) ||
	    !iv_task_reached(st, st->event.position))
		return 0;

	st->event.round = iv_task_round(st);
	run_batch(st);

	return 1;
}

static void woken(void *_st)
{
	/* To have the descriptor drained is all that there was to do. */
	(void)_st;
}

static int register_wake(struct iv_state *st)
{
	struct iv_event_raw *wake = &st->event.wake;

	IV_EVENT_RAW_INIT(wake);
	wake->cookie = st;
	wake->handler = woken;
	if (iv_event_raw_register(wake) < 0)
		return -1;

	/* It must not keep iv_main() from returning. */
	st->numobjs--;

	return 0;
}

static void unregister_wake(struct iv_state *st)
{
	/*
	 * The last poster may still be on its way out of iv_event_post().
	 * Acquire: pairs with the release that ends its visit.
	 */
	while (atomic_load_explicit(&st->event.posters, memory_order_acquire))
		sched_yield();

	st->numobjs++;
	iv_event_raw_unregister(&st->event.wake);
}

/* A child needs a wake-up of its own: posts to the old one wake the parent. */
static void notice_fork(struct iv_state *st)
{
	unsigned int generation = iv_process_generation();

	if (st->event.generation == generation)
		return;
	st->event.generation = generation;

	/* The threads that were on a visit exist in the parent only. */
	atomic_store_explicit(&st->event.posters, 0, memory_order_relaxed);
	if (st->event.num == 0)
		return;
	unregister_wake(st);
	if (register_wake(st) < 0)
		iv_fatal("iv_main: no descriptor to wake the loop after fork "
			 "(errno %d)", errno);
}

int iv_event_fall_asleep(struct iv_state *st)
{
	if (st->event.num == 0)
		return 1;
	notice_fork(st);

	atomic_store_explicit(&st->event.asleep, 1, memory_order_relaxed);
	/*
	 * Fence B: asleep is set before we look.  Partner: A in
	 * post_from_other().
	 */
	atomic_thread_fence(memory_order_seq_cst);

	return !iv_event_queued(st);
}

void iv_event_wake_up(struct iv_state *st)
{
	/* Relaxed: a poster that still sees 1 writes once too often. */
	if (st->event.num != 0)
		atomic_store_explicit(&st->event.asleep, 0,
				      memory_order_relaxed);
}

void iv_event_deinit(struct iv_state *st)
{
	if (st->event.num == 0)
		return;
	st->event.num = 0;
	notice_fork(st);
	unregister_wake(st);
}

int iv_event_register(struct iv_event *_ev)
{
	struct iv_state *st = iv_state_for("iv_event_register");
	struct iv_event_ *ev = (struct iv_event_ *)_ev;

	if (st->event.num == 0) {
		st->event.generation = iv_process_generation();
		if (register_wake(st) < 0)
			return -1;
	}

	st->event.num++;
	st->numobjs++;
	/* Release: pairs with a post, wherever it got the event's address. */
	atomic_store_explicit(&ev->owner, (uintptr_t)st, memory_order_release);

	return 0;
}

void iv_event_unregister(struct iv_event *_ev)
{
	struct iv_state *st = iv_state_for("iv_event_unregister");
	struct iv_event_ *ev = (struct iv_event_ *)_ev;
	/* Acquire: pairs with push(), of a post that is still queued. */
	uintptr_t owner = atomic_exchange_explicit(&ev->owner, 0,
						   memory_order_acquire);

	if ((owner & ~PENDING) != (uintptr_t)st)
		iv_fatal("iv_event_unregister: %p is not registered in this "
			 "thread", (void *)ev);

	if (owner & PENDING) {
		take_stack(st);
		iv_list_del(&ev->list);
	}

	st->numobjs--;
	if (--st->event.num == 0) {
		notice_fork(st);
		unregister_wake(st);
	}
}

/* 1 if nothing was on the stack. */
static int push(struct iv_state *st, struct iv_event_ *ev)
{
	struct iv_event_ *top;

	/* Relaxed: we do not look at what is below. */
	top = atomic_load_explicit(&st->event.posted, memory_order_relaxed);
	do {
		ev->below = top;
		/* Release: pairs with the acquire in take_stack(). */
	} while (!atomic_compare_exchange_weak_explicit(&st->event.posted,
							&top, ev,
							memory_order_release,
							memory_order_relaxed));

	return top == NULL;
}

static int is_asleep(struct iv_state *st)
{
	return atomic_load_explicit(&st->event.asleep, memory_order_relaxed);
}

/* What the loop's own thread posts to an empty stack has a place in a round. */
static void post_from_own(struct iv_state *st, struct iv_event_ *ev)
{
	if (push(st, ev) && !st->event.own) {
		st->event.position = iv_task_position(st);
		st->event.own = 1;
	}

	/* Only to a signal handler that came right before the wait. */
	if (is_asleep(st))
		iv_event_raw_post(&st->event.wake);
}

static void post_from_other(struct iv_state *st, struct iv_event_ *ev)
{
	int state;

	/* Once it is pushed, the event may be served and the loop may end. */
	atomic_fetch_add_explicit(&st->event.posters, 1, memory_order_relaxed);
	(void)push(st, ev);

	/* Fence A: the push comes before the look.  Partner: fence B. */
	atomic_thread_fence(memory_order_seq_cst);
	if (is_asleep(st)) {
		/* It calls write(2), at which a thread may be cancelled. */
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		iv_event_raw_post(&st->event.wake);
		pthread_setcancelstate(state, NULL);
	}

	/* Release: pairs with the acquire in unregister_wake(). */
	atomic_fetch_sub_explicit(&st->event.posters, 1, memory_order_release);
}

void iv_event_post(struct iv_event *_ev)
{
	struct iv_event_ *ev = (struct iv_event_ *)_ev;
	struct iv_state *st;
	uintptr_t owner;

	/*
	 * Acquire: pairs with iv_event_register().  Release: pairs with the
	 * acquire in deliver(), also when the bit was set already.
	 */
	owner = atomic_fetch_or_explicit(&ev->owner, PENDING,
					 memory_order_acq_rel);
	if (owner == 0 || (owner & PENDING))
		return;

	st = (struct iv_state *)owner;
	if (st == iv_self)
		post_from_own(st, ev);
	else
		post_from_other(st, ev);
}

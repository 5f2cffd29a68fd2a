/*
 * libivykis: wake a loop from another thread of the same process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop has a stack of posted events, to which any thread and any signal
 * handler pushes by compare-and-exchange.  The loop detaches the whole stack at
 * once and appends it to its queue in reverse, which is the order of the posts.
 * While the stack is empty, the loop's own thread appends to the queue
 * directly.  The queue is an array with room for all registered events, so an
 * event that is unregistered is found and taken out at once.
 *
 * An event has a mark from its post until its handler is called.  The mark is
 * the generation of the process that set it.
 *
 *	iv_event_post()
 *	{
 *		if (mark(ev) was set)			is_queued()
 *			return;
 *		append(ev) or push(ev);			queue_and_wake()
 *		if (state != AWAKE)			iv_event_raw_wake()
 *			iv_event_raw_post(wake);
 *	}
 *
 * The state is that of iv_event_raw.c, and the handshake is the same one: a
 * loop sets ASLEEP, and after a fence it checks its boards and the stack.  So
 * either the poster sees ASLEEP or the loop sees the event, and a post to an
 * awake loop needs no system call.
 *
 * Once an event is queued, it may be served and the loop may end.  From then on
 * a poster touches neither of them, but only the loop's board, which stays
 * mapped.
 */

#include <iv_event.h>
#include <stdlib.h>
#include <string.h>
#include "iv_board.h"

struct iv_event_ {
	void			*cookie;
	void			(*handler)(void *);

	_Atomic(struct iv_state *)	owner;	/* NULL: not registered */
	union {
		struct iv_event_	*next;	/* on the stack: below it */
		uintptr_t		slot;	/* in the queue */
	};
	atomic_uintptr_t	mark;
};

_Static_assert(sizeof(struct iv_event_) <= sizeof(struct iv_event),
	       "struct iv_event_ has to fit into struct iv_event");

static void set_mark(struct iv_event_ *ev, unsigned int generation)
{
	atomic_store_explicit(&ev->mark, generation, memory_order_relaxed);
}

static unsigned int marks_of(struct iv_state *st)
{
	/* Acquire: pairs with the release in fork_marks(). */
	return atomic_load_explicit(&st->event.marks, memory_order_acquire);
}

/*
 * When the process forks, a thread of the parent may have marked an event and
 * not have pushed it yet.  So in the child all events that are queued get the
 * child's mark, and an event that still has the parent's is not queued.  If the
 * queue is being changed at that moment, this is done after the change; until
 * then any mark counts.
 */
static void fork_marks(struct iv_state *st)
{
	unsigned int generation = iv_process_generation();
	struct iv_event_ *ev;
	unsigned int i;

	st->event.has_missed_fork = st->event.is_changing;
	if (st->event.is_changing)
		return;

	ev = atomic_load_explicit(&st->event.posted, memory_order_acquire);
	for (; ev != NULL; ev = ev->next)
		set_mark(ev, generation);
	iv_step();
	for (i = st->event.head; i != st->event.tail; i++) {
		if (st->event.queue[i] != NULL)
			set_mark(st->event.queue[i], generation);
	}
	/* Release: pairs with the acquire in marks_of(). */
	atomic_store_explicit(&st->event.marks, generation,
			      memory_order_release);
}

/* Between these two, signal handlers leave the queue alone. */
static void begin_change(struct iv_state *st)
{
	st->event.is_changing = 1;
	atomic_signal_fence(memory_order_seq_cst);
	iv_step();
}

static void end_change(struct iv_state *st)
{
	iv_step();
	atomic_signal_fence(memory_order_seq_cst);
	st->event.is_changing = 0;
	atomic_signal_fence(memory_order_seq_cst);
	iv_step();
	if (st->event.has_missed_fork)
		fork_marks(st);
}

static void
enqueue(struct iv_state *st, unsigned int slot, struct iv_event_ *ev)
{
	st->event.queue[slot] = ev;
	ev->slot = slot;
}

/* Move the queue to the front of its room, without the gaps. */
static void compact(struct iv_state *st)
{
	unsigned int batch = 0;
	unsigned int tail = 0;
	unsigned int i;

	for (i = st->event.head; i < st->event.tail; i++) {
		if (st->event.queue[i] != NULL)
			enqueue(st, tail++, st->event.queue[i]);
		if (i < st->event.batch)
			batch = tail;
	}
	st->event.head = 0;
	st->event.batch = batch;
	st->event.tail = tail;
}

/* Move the stack to the end of the queue, in the order of the posts. */
static void take_stack(struct iv_state *st)
{
	struct iv_event_ *ev;
	struct iv_event_ *below;
	unsigned int num = 0;
	unsigned int slot;

	/* Relaxed: the events themselves are read below. */
	if (atomic_load_explicit(&st->event.posted,
				 memory_order_relaxed) == NULL)
		return;

	/* Acquire: pairs with the release in push(), for `next'. */
	ev = atomic_exchange_explicit(&st->event.posted, NULL,
				      memory_order_acquire);
	iv_step();
	for (below = ev; below != NULL; below = below->next)
		num++;

	/* An event is on the stack, or in the queue, or neither: it fits. */
	if (st->event.tail + num > st->event.room)
		compact(st);
	slot = st->event.tail + num;
	for (; ev != NULL; ev = below) {
		below = ev->next;
		enqueue(st, --slot, ev);
		iv_step();
	}
	st->event.tail += num;
}

/* Twice as much as can be in use, so that compacting is rarely needed. */
static int make_room(struct iv_state *st)
{
	struct iv_event_ **queue;
	unsigned int room = 2 * st->event.room + 8;

	if (2 * (st->event.num + 1) <= st->event.room)
		return 0;

	begin_change(st);
	queue = realloc(st->event.queue, room * sizeof(*queue));
	if (queue != NULL) {
		st->event.queue = queue;
		st->event.room = room;
	}
	end_change(st);

	return queue != NULL ? 0 : -1;
}

static void deliver(struct iv_event_ *ev)
{
	/*
	 * Acquire: pairs with the release of each iv_event_post() that set the
	 * mark or found it set.  What they stored before is visible from here.
	 */
	iv_step();
	(void)atomic_exchange_explicit(&ev->mark, 0, memory_order_acq_rel);
	iv_step();

	if (ev->handler == NULL)
		iv_fatal("iv_event: %p was posted and has no handler: set "
			 "handler before a post", (void *)ev);
	ev->handler(ev->cookie);
}

/* NULL at the end of the batch. */
static struct iv_event_ *take_next(struct iv_state *st)
{
	struct iv_event_ *ev = NULL;

	while (ev == NULL && st->event.head != st->event.batch)
		ev = st->event.queue[st->event.head++];

	return ev;
}

/* A new batch: all that is queued now. */
static struct iv_event_ *first_of_batch(struct iv_state *st)
{
	struct iv_event_ *ev;

	begin_change(st);
	take_stack(st);
	st->event.batch = st->event.tail;
	ev = take_next(st);
	end_change(st);

	return ev;
}

/*
 * Handlers may unregister events that come after them, or run the loop, so the
 * indices are read again each time.
 */
static struct iv_event_ *next_of_batch(struct iv_state *st)
{
	struct iv_event_ *ev;

	if (st->event.head == st->event.batch)
		return NULL;

	begin_change(st);
	ev = take_next(st);
	end_change(st);

	return ev;
}

void iv_event_run(struct iv_state *st)
{
	struct iv_event_ *ev;

	st->event.own = 0;
	for (ev = first_of_batch(st); ev != NULL; ev = next_of_batch(st)) {
		st->stats.events++;
		deliver(ev);
	}
}

int iv_event_run_in_round(struct iv_state *st)
{
	if (!iv_task_reached(st, st->event.position))
		return 0;

	st->event.round = iv_task_round(st);
	iv_event_run(st);

	return 1;
}

static void woken(void *_st)
{
	struct iv_state *st = _st;

	/*
	 * A handler or a signal handler has forked in this iteration, and the
	 * child has drained the doorbell of its parent: ring it again.
	 */
	if (st->event.generation != iv_process_generation())
		iv_event_raw_post(&st->event.wake);
	/* Otherwise the loop is awake, which was the purpose. */
	else
		st->stats.wakes++;
}

static int register_wake(struct iv_state *st)
{
	struct iv_event_raw *wake = &st->event.wake;

	wake->cookie = st;
	wake->handler = woken;
	if (iv_event_raw_register_wake(st, wake) < 0)
		return -1;

	/* It must not keep iv_main() from returning. */
	st->numobjs--;

	return 0;
}

static void unregister_wake(struct iv_state *st)
{
	st->numobjs++;
	iv_event_raw_unregister_wake(&st->event.wake);
}

/*
 * A child needs a wakeup of its own: posts to the parent's would wake the
 * parent, and the child's loop would drain the parent's doorbell.
 */
void iv_event_go_on(struct iv_state *st)
{
	st->event.generation = iv_process_generation();

	unregister_wake(st);
	iv_step();
	if (register_wake(st) < 0)
		iv_fatal("iv_main: no descriptor to wake the loop after fork: "
			 "%s (errno %d)", strerror(errno), errno);
}

void iv_event_deinit(struct iv_state *st)
{
	if (st->event.num != 0)
		unregister_wake(st);
	/* For signal handlers that post or fork from here on. */
	begin_change(st);
	free(st->event.queue);
}

void iv_event_forked(struct iv_state *st)
{
	fork_marks(st);
}

/*
 * The mark is not enough: after a fork it may be that of a thread of the parent
 * that had not pushed the event yet, and the slot may hold its `next'.
 */
static int is_in_queue(const struct iv_state *st, const struct iv_event_ *ev)
{
	return ev->slot >= st->event.head && ev->slot < st->event.tail &&
	       st->event.queue[ev->slot] == ev;
}

int iv_event_register(struct iv_event *_ev)
{
	struct iv_state *st = iv_state_for("iv_event_register");
	struct iv_event_ *ev = (struct iv_event_ *)_ev;

	/* The private members may be uninitialised. */
	atomic_store_explicit(&ev->owner, NULL, memory_order_relaxed);
	if (make_room(st) < 0)
		return -1;
	if (st->event.num == 0) {
		st->event.generation = iv_process_generation();
		if (register_wake(st) < 0)
			return -1;
	}

	st->event.num++;
	st->numobjs++;
	ev->slot = 0;
	atomic_store_explicit(&ev->mark, 0, memory_order_relaxed);
	iv_step();
	/* Release: pairs with a post, wherever it got the event's address. */
	atomic_store_explicit(&ev->owner, st, memory_order_release);
	iv_loop_fd_registered(st);

	return 0;
}

void iv_event_unregister(struct iv_event *_ev)
{
	struct iv_state *st = iv_state_for("iv_event_unregister");
	struct iv_event_ *ev = (struct iv_event_ *)_ev;

	/* Relaxed: only we change it, and acquire pairs in take_stack(). */
	if (atomic_load_explicit(&ev->owner, memory_order_relaxed) != st)
		iv_fatal("iv_event_unregister: %p is not registered in this "
			 "thread, which alone may unregister it", (void *)ev);
	atomic_store_explicit(&ev->owner, NULL, memory_order_relaxed);
	iv_step();

	begin_change(st);
	take_stack(st);
	if (is_in_queue(st, ev))
		st->event.queue[ev->slot] = NULL;
	end_change(st);

	st->numobjs--;
	if (--st->event.num == 0)
		unregister_wake(st);
}

/* Returns 1 if the stack was empty. */
static int push(struct iv_state *st, struct iv_event_ *ev)
{
	struct iv_event_ *top;

	/* Relaxed: the event below is not read. */
	top = atomic_load_explicit(&st->event.posted, memory_order_relaxed);
	do {
		ev->next = top;
		iv_step();
		/*
		 * Release: pairs with the acquire in take_stack().
		 * Sequentially consistent: it comes before the load of the
		 * state.  Partner: fence B in iv_board.c.
		 */
	} while (!atomic_compare_exchange_weak(&st->event.posted, &top, ev));

	return top == NULL;
}

/*
 * In a child that has not set the marks right yet: the parent's mark stays, for
 * fork_marks() to tell whether the event is queued.
 */
static __attribute__((noinline)) void
keep_mark(struct iv_event_ *ev, uintptr_t generation, uintptr_t mark)
{
	(void)atomic_compare_exchange_strong(&ev->mark, &generation, mark);
}

/*
 * Mark the event.  Was it queued already?  A mark of another process means so
 * only in a child that has not yet corrected the marks.
 */
static inline int is_queued(struct iv_state *st, struct iv_event_ *ev)
{
	unsigned int generation = iv_process_generation();
	/*
	 * Release: pairs with the acquire in deliver(), also when the event was
	 * marked already.
	 */
	uintptr_t mark = atomic_exchange_explicit(&ev->mark, generation,
						  memory_order_acq_rel);

	iv_step();

	if (mark == 0 || mark == generation)
		return mark != 0;
	if (marks_of(st) == generation)
		return 0;
	keep_mark(ev, generation, mark);

	return 1;
}

/*
 * The loop's own thread appends to the queue.  Returns 0 if it must not:
 * because it is in a signal handler that has interrupted a change of the queue,
 * or because events on the stack come first.
 */
static int append(struct iv_state *st, struct iv_event_ *ev)
{
	int can;

	if (st->event.is_changing)
		return 0;

	begin_change(st);
	if (st->event.head == st->event.tail)
		st->event.head = st->event.batch = st->event.tail = 0;
	/* Relaxed: posts that happened before this one are seen. */
	can = st->event.tail < st->event.room &&
	      atomic_load_explicit(&st->event.posted,
				   memory_order_relaxed) == NULL;
	if (can)
		enqueue(st, st->event.tail++, ev);
	end_change(st);

	return can;
}

/*
 * Queue the event, and wake the loop if it sleeps.  The bell is looked up
 * first; it may be the parent's in a child that has not run the loop yet.
 */
static int queue_and_wake(struct iv_state *st, struct iv_event_ *ev, int own)
{
	int is_own;
	struct iv_board *bell = iv_board_bell(st, &is_own);
	int first = (own && append(st, ev)) || push(st, ev);

	iv_step();
	if (!is_own)
		bell = iv_board_moved(bell);
	if (bell != NULL)
		iv_event_raw_wake(bell);

	return first;
}

/*
 * A post by the loop's own thread takes a position among the tasks, if no such
 * post has one yet.  The loop is asleep only if this is a signal handler that
 * interrupts it right before its wait.
 */
static void queue_own(struct iv_state *st, struct iv_event_ *ev)
{
	if (queue_and_wake(st, ev, 1) && !st->event.own) {
		st->event.position = iv_task_position(st);
		st->event.own = 1;
	}
}

static void post_from_own(struct iv_state *st, struct iv_event_ *ev)
{
	unsigned int marks = marks_of(st);

	if (!is_queued(st, ev))
		queue_own(st, ev);
	iv_step();

	/* A signal handler may have forked in between. */
	if (marks_of(st) != marks)
		set_mark(ev, marks_of(st));
}

void iv_event_post(struct iv_event *_ev)
{
	struct iv_event_ *ev = (struct iv_event_ *)_ev;
	/* Acquire: pairs with iv_event_register(). */
	struct iv_state *st = atomic_load_explicit(&ev->owner,
						   memory_order_acquire);

	if (st == NULL)
		return;
	iv_step();

	if (st == iv_self)
		post_from_own(st, ev);
	else if (!is_queued(st, ev))
		(void)queue_and_wake(st, ev, 0);
}

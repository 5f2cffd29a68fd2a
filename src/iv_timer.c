/*
 * libivykis: timers.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop's timers are in a radix heap.  A timer's key is its expiry in
 * nanoseconds, and `base' is a time that no key in the heap precedes.  The two
 * determine the list that the timer is put in: the level is the highest octal
 * digit in which they differ, the slot is the value of that digit in the key.
 * Hence each list precedes the next one.  A list's `min' is a time that no
 * timer in it precedes.  The loop sleeps until the min of the first list that
 * is not empty.  Base then moves there, and the timers of that list, and no
 * others, are put into lists anew.  Timers in a list of level 0 are equal: they
 * run.
 *
 * An idle timeout is unregistered and registered again for a later time, over
 * and over, and among very many timers the links of its neighbours are not in
 * the cache.  So a timer that is unregistered leaves a `gap', which is closed
 * at the next call.  If that call registers the same timer for a time that does
 * not precede its list's min, it is back in its place, and its neighbours were
 * not touched.  Its key may then belong to a later list, into which it is put
 * when its own is the first.
 *
 * A timer registered for a time that is not after `now', the time of the latest
 * step, is `late': it waits for the next step, which first puts these in order.
 * Registrations are numbered, and of timers that are equal the one with the
 * lower number comes first.
 *
 * Registering and unregistering take constant time.  A timer moves at most once
 * per level, and once more for each list in which it was back in its place, and
 * only when its list is the first.  If the timer from which a list has its min
 * is unregistered, the min remains: the loop may wake up for it once, without a
 * timer that is due.
 *
 * The heap is allocated with the first timer of a loop.  If there is no memory,
 * all timers that are not late are in one list, `unsorted', of which a step
 * makes late what is due.  That is as correct, but takes a walk along the list.
 * The allocation is tried again when the first timer is registered after there
 * was none.
 *
 * Compiled with IV_DEBUG, each step and each wait checks that all this holds.
 */

#include <errno.h>
#include <stdlib.h>
#include "iv_private.h"
#include "iv_time.h"

#define LEVELS		14
#define DIGIT_BITS	3
#define DIGITS		(1 << DIGIT_BITS)

/*
 * The list of all keys that differ from base in a higher digit than that of the
 * last level.  Base moves into it once in 2^42 ns, 73 minutes, at most.  Only
 * level 0 has a list for digit 0: in the others the key's digit is greater.
 */
#define FAR		(LEVELS * (DIGITS - 1) + 1)
#define LISTS		(FAR + 1)
#define WORDS		((LISTS + 63) / 64)

struct iv_timer_heap {
	uint64_t		base;
	uint64_t		used[WORDS];	/* a bit per list */
	unsigned int		disordered;	/* of level 0: equal, not by number */
	struct iv_timer_list	lists[LISTS];
};

struct iv_timer_ {
	struct timespec		expires;
	void			*cookie;
	void			(*handler)(void *);

	struct iv_list_head	link;		/* next: NULL if unregistered */
	struct iv_timer_list	*list;		/* may be back in it, or NULL */
	unsigned long		number;		/* of its registration */
};

_Static_assert(sizeof(struct iv_timer_) <= sizeof(struct iv_timer),
	       "struct iv_timer_ has to fit into struct iv_timer");

/*
 * An earlier time never has a greater key.  The kernel counts nanoseconds in 63
 * bits: a time without a key of its own will never come, or precedes the clock.
 */
static uint64_t key_of(const struct timespec *expires)
{
	struct timespec ts = iv_time_normalised(expires);

	if ((uint64_t)ts.tv_sec >= UINT64_MAX / IV_NSEC_PER_SEC)
		return ts.tv_sec < 0 ? 0 : UINT64_MAX;

	return (uint64_t)ts.tv_sec * IV_NSEC_PER_SEC + ts.tv_nsec;
}

static struct timespec time_of(uint64_t key)
{
	return (struct timespec){
		.tv_sec		= key / IV_NSEC_PER_SEC,
		.tv_nsec	= key % IV_NSEC_PER_SEC,
	};
}

static unsigned int list_of(uint64_t base, uint64_t key)
{
	unsigned int bit = 63 - __builtin_clzll((base ^ key) | 1);
	unsigned int level = bit / DIGIT_BITS;

	if (level >= LEVELS)
		return FAR;

	return level * (DIGITS - 1) +
	       (unsigned int)(key >> level * DIGIT_BITS) % DIGITS;
}

static struct iv_timer_ *timer_of(const struct iv_list_head *link)
{
	return iv_container_of((struct iv_list_head *)link, struct iv_timer_,
			       link);
}

/* Numbers begin anew when they are used up. */
static int is_older(const struct iv_timer_ *a, const struct iv_timer_ *b)
{
	return (long)(a->number - b->number) < 0;
}

static void put_in(struct iv_timer_state *ts, struct iv_timer_ *t, uint64_t key)
{
	struct iv_timer_list *list = &ts->unsorted;
	struct iv_timer_heap *heap = ts->heap;

	t->list = list;
	if (heap != NULL) {
		unsigned int num = list_of(heap->base, key);

		list = &heap->lists[num];
		heap->used[num / 64] |= UINT64_C(1) << num % 64;
		t->list = num < DIGITS ? NULL : list;
	}
	if (key < list->min || iv_list_empty(&list->timers))
		list->min = key;
	else if (t->list == NULL && is_older(t, timer_of(list->timers.prev)))
		heap->disordered |= 1U << (list - heap->lists);
	iv_list_add_tail(&t->link, &list->timers);
}

static void close_gap(struct iv_timer_state *ts)
{
	struct iv_timer_gap *gap = &ts->gap;

	if (gap->timer == NULL)
		return;

	/* The timer may have been freed; those beside it have not. */
	gap->link.prev->next = gap->link.next;
	gap->link.next->prev = gap->link.prev;
	gap->timer = NULL;
}

static void leave_gap(struct iv_timer_state *ts, const struct iv_timer_ *t)
{
	ts->gap = (struct iv_timer_gap){ t, t->link, t->list };
}

/* Put the timer back in its place if it may be there. */
static int
fill_gap(struct iv_timer_state *ts, struct iv_timer_ *t, uint64_t key)
{
	struct iv_timer_gap *gap = &ts->gap;

	if (gap->timer != t || key < gap->list->min)
		return 0;

	t->link = gap->link;
	t->list = gap->list;
	gap->timer = NULL;

	return 1;
}

static struct iv_timer_list *first_in_use(struct iv_timer_heap *heap)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++) {
		while (heap->used[i] != 0) {
			unsigned int bit = __builtin_ctzll(heap->used[i]);
			struct iv_timer_list *list = &heap->lists[i * 64 + bit];

			if (!iv_list_empty(&list->timers))
				return list;
			/* Unregistering leaves the bit alone. */
			heap->used[i] &= heap->used[i] - 1;
		}
	}

	return NULL;
}

/* The first list that is not empty, or NULL. */
static struct iv_timer_list *first_list(struct iv_timer_state *ts)
{
	if (ts->heap != NULL)
		return first_in_use(ts->heap);

	return iv_list_empty(&ts->unsorted.timers) ? NULL : &ts->unsorted;
}

/*
 * Move base to the min of the first list.  A long list is not in the cache, and
 * the address of a timer is read from the one before: to fetch them from the
 * end of the list as well brings two at a time.
 */
static void advance(struct iv_timer_state *ts, struct iv_timer_list *first)
{
	struct iv_list_head timers = IV_LIST_HEAD_INIT(timers);
	struct iv_list_head *link, *next, *back;

	ts->heap->base = first->min;
	iv_list_splice_init(&first->timers, &timers);
	back = timers.prev;
	iv_list_for_each_safe(link, next, &timers) {
		struct iv_timer_ *t = timer_of(link);

		/* As far as the middle. */
		if (back == link || back == next)
			back = &timers;
		if (back != &timers) {
			back = back->prev;
			__builtin_prefetch(back);
		}
		put_in(ts, t, key_of(&t->expires));
	}
}

static int is_before(const struct iv_list_head *a, const struct iv_list_head *b)
{
	int diff = iv_time_compare(&timer_of(a)->expires,
				   &timer_of(b)->expires);

	return diff != 0 ? diff < 0 : is_older(timer_of(a), timer_of(b));
}

/* Chains in order, linked by `next' alone up to NULL. */
static struct iv_list_head *
merge(struct iv_list_head *a, struct iv_list_head *b)
{
	struct iv_list_head *chain;
	struct iv_list_head **end = &chain;

	while (a != NULL && b != NULL) {
		struct iv_list_head **first = is_before(b, a) ? &b : &a;

		*end = *first;
		end = &(*first)->next;
		*first = *end;
	}
	*end = a != NULL ? a : b;

	return chain;
}

/* Enough for any number: a part in slot i is made of 2^i of them. */
#define NUM_PARTS	64

static struct iv_list_head *sort(struct iv_list_head *chain)
{
	struct iv_list_head *parts[NUM_PARTS] = { NULL };
	struct iv_list_head *part;
	int i;

	while (chain != NULL) {
		struct iv_list_head *last = chain;

		/* A part is what is in order already. */
		while (last->next != NULL && !is_before(last->next, last))
			last = last->next;
		part = chain;
		chain = last->next;
		last->next = NULL;

		for (i = 0; parts[i] != NULL; i++) {
			part = merge(parts[i], part);
			parts[i] = NULL;
		}
		parts[i] = part;
	}
	for (i = 0; i < NUM_PARTS; i++)
		chain = merge(parts[i], chain);

	return chain;
}

static struct iv_list_head *chain_of(struct iv_list_head *list)
{
	struct iv_list_head *chain;

	if (iv_list_empty(list))
		return NULL;

	chain = list->next;
	list->prev->next = NULL;
	INIT_IV_LIST_HEAD(list);

	return chain;
}

static void append(struct iv_list_head *chain, struct iv_list_head *list)
{
	while (chain != NULL) {
		struct iv_list_head *next = chain->next;

		iv_list_add_tail(chain, list);
		chain = next;
	}
}

/* The first timer in a list of level 0. */
static struct iv_timer_ *
first_of(struct iv_timer_heap *heap, struct iv_timer_list *list)
{
	unsigned int bit = 1U << (list - heap->lists);

	if (heap->disordered & bit) {
		append(sort(chain_of(&list->timers)), &list->timers);
		heap->disordered &= ~bit;
	}

	return timer_of(list->timers.next);
}

/* The first timer in the heap if it is due, or NULL. */
static struct iv_timer_ *first_in_heap(struct iv_timer_state *ts, uint64_t now)
{
	struct iv_timer_heap *heap = ts->heap;
	struct iv_timer_list *first;

	if (heap == NULL)
		return NULL;
	while ((first = first_in_use(heap)) != NULL && first->min <= now) {
		if (first < &heap->lists[DIGITS])
			return first_of(heap, first);
		advance(ts, first);
	}

	return NULL;
}

/* Without a heap: make late what is due. */
static void make_late(struct iv_timer_state *ts, uint64_t now)
{
	struct iv_timer_list *list = &ts->unsorted;
	struct iv_list_head *link, *next;
	uint64_t min = UINT64_MAX;

	if (iv_list_empty(&list->timers) || list->min > now)
		return;

	iv_list_for_each_safe(link, next, &list->timers) {
		struct iv_timer_ *t = timer_of(link);
		uint64_t key = key_of(&t->expires);

		if (key <= now) {
			iv_list_move_tail(link, &ts->late);
			t->list = NULL;
		} else if (key < min) {
			min = key;
		}
	}
	list->min = min;
}

/*
 * Add what is late to the batch, in order.  The batch is empty unless a handler
 * has called iv_main(), or has left its step by an exception or by longjmp().
 */
static void make_batch(struct iv_timer_state *ts)
{
	if (iv_list_empty(&ts->late))
		return;

	append(merge(chain_of(&ts->batch), sort(chain_of(&ts->late))),
	       &ts->batch);
}

/* The first timer that is due, or NULL. */
static struct iv_timer_ *first_due(struct iv_timer_state *ts, uint64_t now)
{
	struct iv_timer_ *t;

	close_gap(ts);
	t = first_in_heap(ts, now);
	if (iv_list_empty(&ts->batch) ||
	    (t != NULL && is_before(&t->link, ts->batch.next)))
		return t;

	return timer_of(ts->batch.next);
}

#ifdef IV_DEBUG

#define must_be(cond)							\
	do {								\
		if (!(cond))						\
			iv_fatal("iv_timer.c:%d: must be: %s",		\
				 __LINE__, #cond);			\
	} while (0)

static unsigned int
check_list(const struct iv_timer_list *list, uint64_t earliest)
{
	const struct iv_list_head *link;
	unsigned int count = 0;

	iv_list_for_each(link, &list->timers) {
		uint64_t key = key_of(&timer_of(link)->expires);

		must_be(key >= earliest);
		must_be(key >= list->min);
		must_be(link->next->prev == link);
		count++;
	}

	return count;
}

static unsigned int check_heap(const struct iv_timer_heap *heap)
{
	const struct iv_list_head *link;
	unsigned int count = 0;
	unsigned int num;

	for (num = 0; num < LISTS; num++) {
		const struct iv_timer_list *list = &heap->lists[num];
		unsigned int in_list = check_list(list, heap->base);

		iv_list_for_each(link, &list->timers) {
			const struct iv_timer_ *t = timer_of(link);
			unsigned int own = list_of(heap->base,
						   key_of(&t->expires));

			must_be(num == own || (num >= DIGITS && num < own));
			must_be(t->list == (num < DIGITS ? NULL : list));
		}
		must_be(in_list == 0 || heap->used[num / 64] >> num % 64 & 1);
		count += in_list;
	}

	return count;
}

static unsigned int
check_due(const struct iv_timer_state *ts, const struct iv_list_head *list)
{
	const struct iv_list_head *link;
	unsigned int count = 0;

	iv_list_for_each(link, list) {
		must_be(key_of(&timer_of(link)->expires) <= ts->now);
		must_be(timer_of(link)->list == NULL);
		must_be(link->next->prev == link);
		if (list == &ts->batch && link->next != list)
			must_be(!is_before(link->next, link));
		count++;
	}

	return count;
}

static void check_invariant(const struct iv_timer_state *ts)
{
	unsigned int count = check_due(ts, &ts->late) +
			     check_due(ts, &ts->batch) +
			     check_list(&ts->unsorted, ts->now + 1);

	if (ts->heap != NULL) {
		must_be(iv_list_empty(&ts->unsorted.timers));
		must_be(ts->heap->base <= ts->now);
		count += check_heap(ts->heap);
	}
	must_be(count == ts->num);
}

#else

#define check_invariant(ts)	((void)(ts))

#endif

void iv_timer_run(struct iv_state *st)
{
	struct iv_timer_state *ts = &st->timer;
	uint64_t now = key_of(iv_clock_now(st));
	struct iv_timer_ *t;

	close_gap(ts);
	check_invariant(ts);
	if (ts->heap == NULL)
		make_late(ts, now);
	make_batch(ts);
	if (now > ts->now)
		ts->now = now;
	while ((t = first_due(ts, now)) != NULL) {
		iv_list_del(&t->link);
		ts->num--;
		st->numobjs--;
		st->stats.timers++;

		if (t->handler == NULL)
			iv_fatal("iv_timer: %p is due and has no handler: set "
				 "handler before it is registered", (void *)t);
		t->handler(t->cookie);
	}
}

struct timespec iv_timer_next(struct iv_state *st)
{
	struct iv_timer_state *ts = &st->timer;
	const struct iv_timer_list *first;

	close_gap(ts);
	check_invariant(ts);
	/* There is a batch if a handler has left the step of an inner loop. */
	if (!iv_list_empty(&ts->late) || !iv_list_empty(&ts->batch))
		return (struct timespec){ 0 };

	first = first_list(ts);

	return first != NULL ? time_of(first->min) : (struct timespec){ 0 };
}

/* NULL: no memory, so the loop does without. */
static struct iv_timer_heap *new_heap(void)
{
	int saved_errno = errno;
	struct iv_timer_heap *heap = calloc(1, sizeof(*heap));
	unsigned int i;

	errno = saved_errno;
	if (heap == NULL)
		return NULL;
	for (i = 0; i < LISTS; i++)
		INIT_IV_LIST_HEAD(&heap->lists[i].timers);

	return heap;
}

void iv_timer_init(struct iv_state *st)
{
	struct iv_timer_state *ts = &st->timer;

	INIT_IV_LIST_HEAD(&ts->unsorted.timers);
	INIT_IV_LIST_HEAD(&ts->late);
	INIT_IV_LIST_HEAD(&ts->batch);
}

void iv_timer_deinit(struct iv_state *st)
{
	free(st->timer.heap);
	st->timer.heap = NULL;
	st->timer.gap.timer = NULL;
}

static inline void insert(struct iv_timer_state *ts, struct iv_timer_ *t)
{
	uint64_t key = key_of(&t->expires);

	if (key > ts->now && fill_gap(ts, t, key))
		return;

	close_gap(ts);
	if (key > ts->now) {
		put_in(ts, t, key);
	} else {
		t->list = NULL;
		iv_list_add_tail(&t->link, &ts->late);
	}
}

/*
 * The first of all: both times can be chosen, and the later they are, the less
 * far timers have to move.  Or one whose key takes calls to compute.
 */
__attribute__((noinline))
static void insert_rarely(struct iv_state *st, struct iv_timer_ *t)
{
	struct iv_timer_state *ts = &st->timer;

	if (ts->num == 1) {
		close_gap(ts);
		ts->now = key_of(iv_clock_latest(st));
		if (ts->heap == NULL)
			ts->heap = new_heap();
		if (ts->heap != NULL)
			ts->heap->base = ts->now;
	}
	insert(ts, t);
}

void IV_TIMER_INIT(struct iv_timer *_t)
{
	((struct iv_timer_ *)_t)->link.next = NULL;
}

static inline void check_unregistered(struct iv_timer_ *t, const char *call)
{
	if (t->link.next != NULL)
		iv_fatal("%s: %p is already registered: unregister it first, "
			 "or call IV_TIMER_INIT() on a new one", call,
			 (void *)t);
}

void iv_timer_register(struct iv_timer *_t)
{
	struct iv_state *st = iv_state_for("iv_timer_register");
	struct iv_timer_ *t = (struct iv_timer_ *)_t;
	struct iv_timer_state *ts = &st->timer;

	check_unregistered(t, "iv_timer_register");
	st->numobjs++;
	t->number = ts->registrations++;
	if (ts->num++ != 0 && iv_time_is_normal(&t->expires))
		insert(ts, t);
	else
		insert_rarely(st, t);
	iv_loop_fd_registered(st);
}

void iv_timer_register_in_ms(struct iv_timer *t, unsigned long msec)
{
	struct timespec span = {
		.tv_sec = msec / 1000,
		.tv_nsec = msec % 1000 * 1000000,
	};

	(void)iv_state_for("iv_timer_register_in_ms");
	check_unregistered((struct iv_timer_ *)t, "iv_timer_register_in_ms");
	t->expires = iv_time_in(&span);
	iv_timer_register(t);
}

void iv_timer_unregister(struct iv_timer *_t)
{
	struct iv_state *st = iv_state_for("iv_timer_unregister");
	struct iv_timer_ *t = (struct iv_timer_ *)_t;
	struct iv_timer_state *ts = &st->timer;

	if (t->link.next == NULL)
		iv_fatal("iv_timer_unregister: %p is not registered: ask "
			 "iv_timer_registered(), it is not once it is called",
			 (void *)t);

	close_gap(ts);
	ts->num--;
	st->numobjs--;
	if (t->list == NULL) {
		iv_list_del(&t->link);
	} else {
		leave_gap(ts, t);
		t->link.next = NULL;
	}
}

int iv_timer_registered(const struct iv_timer *t)
{
	return ((const struct iv_timer_ *)t)->link.next != NULL;
}

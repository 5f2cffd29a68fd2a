/*
 * libivykis: calls to be made when their time has come.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Time is counted in ticks of about a quarter of a millisecond.  What is to
 * come is in a wheel of LEVELS rings of SLOTS lists: a list of level 0 stands
 * for one tick, a list of each further level for SLOTS times as much.  A timer
 * goes into the lowest ring that reaches from the tick `base', which follows
 * the clock, to its own.  Lists that base enters are put in anew, further down,
 * and what is not after base is `near'.
 *
 * Lists are in no order, and most timeouts are unregistered before anybody asks
 * for one: a timer is moved in constant time.  One that is unregistered leaves a
 * `gap': its neighbours are told at the next call.  If that registers it again,
 * for no earlier than its list begins, it is back in its place and neither they
 * nor the list were touched; when base enters the list it moves on.
 *
 * Near timers are sorted, as late as possible: `fresh' ones become a chain in
 * order, which is melded with `heap', a skew heap: no timer is before the one
 * whose `next' or `side' it is.  A chain is a heap without a `side'; to take out
 * of it takes as little.
 *
 * Timers of equal expiry are in the order of the numbers they registered with.
 * These also tell what was registered since a timer step began: if it is due,
 * it is put off, out of wheel and heap, until the step ends.
 *
 * The wheel takes 3.5 KiB a loop, on ILP32 half of that, and nothing allocates.
 */

#include "iv_private.h"

#define LEVELS		IV_TIMER_LEVELS
#define SLOT_BITS	6
#define SLOTS		IV_TIMER_SLOTS

#define NSEC_BITS	30		/* what a number of nanoseconds has */
#define TICK_BITS	12		/* of them count */
#define LAST_TICK	((UINT64_C(1) << SLOT_BITS * LEVELS) - 1)

_Static_assert(SLOTS == 1 << SLOT_BITS && SLOTS == 64,
	       "a ring has a bit of its word for each slot");

struct iv_timer_ {
	struct timespec		expires;
	void			*cookie;
	void			(*handler)(void *);

	struct iv_timer_	*next;
	union {
		struct iv_timer_	*side;	/* near */
		struct iv_timer_	**list;	/* in the wheel */
	};
	struct iv_timer_	**pprev;	/* NULL: not registered */
	unsigned long		number;		/* of the registration */
};

_Static_assert(sizeof(struct iv_timer_) <= sizeof(struct iv_timer),
	       "struct iv_timer_ has to fit into struct iv_timer");

static int is_before(const struct iv_timer_ *a, const struct iv_timer_ *b)
{
	int diff = iv_time_compare(&a->expires, &b->expires);

	/* The numbers begin anew when they are used up, on ILP32. */
	return diff != 0 ? diff < 0 : (long)(a->number - b->number) < 0;
}

/* An earlier time never has a later tick. */
static uint64_t tick_of(const struct timespec *expires)
{
	struct timespec ts = iv_time_normalised(expires);

	/* Or negative. */
	if ((uint64_t)ts.tv_sec > LAST_TICK >> TICK_BITS)
		return ts.tv_sec < 0 ? 0 : LAST_TICK;

	return (uint64_t)ts.tv_sec << TICK_BITS |
		ts.tv_nsec >> (NSEC_BITS - TICK_BITS);
}

/* The earliest time of a tick that has times. */
static struct timespec time_of(uint64_t tick)
{
	return (struct timespec){
		.tv_sec		= tick >> TICK_BITS,
		.tv_nsec	= (tick << (NSEC_BITS - TICK_BITS)) &
				  ((1 << NSEC_BITS) - 1),
	};
}

static void link_to(struct iv_timer_ **place, struct iv_timer_ *t)
{
	/* What is in a list has a place.  NOLINTNEXTLINE(*core.NullDereference) */
	*place = t;
	if (t != NULL)
		t->pprev = place;
}

static void push(struct iv_timer_ **list, struct iv_timer_ *t)
{
	t->side = NULL;
	link_to(&t->next, *list);
	link_to(list, t);
}

static void swap(struct iv_timer_ **a, struct iv_timer_ **b)
{
	struct iv_timer_ *t = *a;

	*a = *b;
	*b = t;
}

/* Make one heap of two, of which b is not empty, at the given place. */
static void
meld(struct iv_timer_ **place, struct iv_timer_ *a, struct iv_timer_ *b)
{
	while (a != NULL) {
		struct iv_timer_ *side;

		if (is_before(b, a))
			swap(&a, &b);
		link_to(place, a);

		/* That sides change is what keeps the heap from growing deep. */
		place = &a->next;
		side = a->side;
		link_to(&a->side, a->next);
		a = side;
	}
	link_to(place, b);
}

/* Or fresh, and straight from there. */
static int is_in_wheel(const struct iv_timer_state *ts,
		       const struct iv_timer_ *t)
{
	return (uintptr_t)t->list - (uintptr_t)ts->ring < sizeof(ts->ring);
}

static void close_gap(struct iv_timer_state *ts)
{
	if (ts->gap.timer == NULL)
		return;

	/* The timer may be freed by now; those beside it are not. */
	link_to(ts->gap.pprev, ts->gap.next);
	ts->gap.timer = NULL;
}

static void leave_gap(struct iv_timer_state *ts, struct iv_timer_ *t)
{
	ts->gap.timer = t;
	ts->gap.next = t->next;
	ts->gap.pprev = t->pprev;
	ts->gap.list = t->list;
	t->pprev = NULL;
}

/* Not for what is in the wheel. */
static void take_out(struct iv_timer_ *t)
{
	struct iv_timer_ **place = t->pprev;

	t->pprev = NULL;
	if (t->side != NULL)
		meld(place, t->next, t->side);
	else
		link_to(place, t->next);
}

/* One chain of two, by `next' alone. */
static struct iv_timer_ *merge(struct iv_timer_ *a, struct iv_timer_ *b)
{
	struct iv_timer_ *ret;
	struct iv_timer_ **end = &ret;

	while (a != NULL && b != NULL) {
		if (is_before(b, a))
			swap(&a, &b);
		*end = a;
		end = &a->next;
		a = a->next;
	}
	*end = a != NULL ? a : b;

	return ret;
}

/* A chain of a list, made of the parts that are in order backwards. */
static struct iv_timer_ *sort(struct iv_timer_ *list)
{
	struct iv_timer_ *parts[sizeof(size_t) * 8] = { NULL };
	struct iv_timer_ *chain;
	int num = 0;
	int i;

	while (list != NULL) {
		chain = NULL;
		do {
			struct iv_timer_ *t = list;

			list = t->next;
			t->side = NULL;
			link_to(&t->next, chain);
			chain = t;
		} while (list != NULL && is_before(list, chain));

		for (i = 0; parts[i] != NULL; i++) {
			chain = merge(parts[i], chain);
			parts[i] = NULL;
		}
		parts[i] = chain;
		if (i >= num)
			num = i + 1;
	}
	if (num == 1)
		return parts[0];

	chain = NULL;
	for (i = 0; i < num; i++)
		chain = merge(parts[i], chain);
	for (list = chain; list->next != NULL; list = list->next)
		list->next->pprev = &list->next;

	return chain;
}

/* The first of those that are near, or NULL. */
static struct iv_timer_ *first_near(struct iv_timer_state *ts)
{
	close_gap(ts);
	if (ts->fresh != NULL) {
		meld(&ts->heap, ts->heap, sort(ts->fresh));
		ts->fresh = NULL;
	}

	return ts->heap;
}

/* The lowest ring that reaches from base to the tick. */
static int level_of(uint64_t base, uint64_t tick)
{
	int level = (63 - __builtin_clzll(tick - base)) / SLOT_BITS;

	/* A ring is a list short if base is not the first tick of its own. */
	return level + ((tick >> SLOT_BITS * level) -
			(base >> SLOT_BITS * level) == SLOTS);
}

static void put_in(struct iv_timer_state *ts, struct iv_timer_ *t)
{
	uint64_t tick = tick_of(&t->expires);
	int level;
	int slot;

	close_gap(ts);
	if (tick <= ts->base) {
		push(&ts->fresh, t);
		return;
	}

	level = level_of(ts->base, tick);
	slot = (tick >> SLOT_BITS * level) % SLOTS;
	push(&ts->ring[level][slot], t);
	t->list = &ts->ring[level][slot];
	ts->used[level] |= UINT64_C(1) << slot;
}

/* The first tick that a list stands for. */
static uint64_t start_of(struct iv_timer_state *ts, struct iv_timer_ **list)
{
	unsigned int slot = list - ts->ring[0];		/* in ring after ring */
	int bits = slot / SLOTS * SLOT_BITS;
	uint64_t pos = ts->base >> bits;

	return (pos + (slot - pos) % SLOTS) << bits;
}

/*
 * Put it where it was, if that is a list which begins in time and whose timers
 * will be put in anew: not one of level 0.
 */
static int fill_gap(struct iv_timer_state *ts, struct iv_timer_ *t)
{
	if (ts->gap.timer != t || ts->gap.list < ts->ring[1] ||
	    !iv_time_is_normal(&t->expires) ||
	    tick_of(&t->expires) < start_of(ts, ts->gap.list))
		return 0;

	ts->gap.timer = NULL;
	t->next = ts->gap.next;
	t->pprev = ts->gap.pprev;
	t->list = ts->gap.list;

	return 1;
}

static void put_in_all(struct iv_timer_state *ts, struct iv_timer_ **list)
{
	struct iv_timer_ *t = *list;

	*list = NULL;
	while (t != NULL) {
		struct iv_timer_ *next = t->next;

		put_in(ts, t);
		t = next;
	}
}

/*
 * The first list of a ring that is not empty, or NULL; *start is the first
 * tick that it stands for.  Unregistering leaves the bits of lists alone.
 */
static struct iv_timer_ *
first_list(struct iv_timer_state *ts, int level, uint64_t *start)
{
	unsigned int turn = (ts->base >> SLOT_BITS * level) % SLOTS;
	uint64_t *used = &ts->used[level];

	while (*used != 0) {
		uint64_t turned = *used >> turn |
				  *used << (SLOTS - turn) % SLOTS;
		int slot = (turn + __builtin_ctzll(turned)) % SLOTS;
		struct iv_timer_ **list = &ts->ring[level][slot];

		if (*list != NULL) {
			*start = start_of(ts, list);
			return *list;
		}
		*used &= ~(UINT64_C(1) << slot);
	}

	return NULL;
}

/* The first tick that a list stands for, if it is before the given one. */
static uint64_t first_start(struct iv_timer_state *ts, uint64_t tick)
{
	uint64_t start;
	int level;

	for (level = 0; level < LEVELS; level++) {
		if (first_list(ts, level, &start) != NULL && start < tick)
			tick = start;
	}

	return tick;
}

/* Nothing is near, and the lists that begin before the new base are empty. */
static void advance(struct iv_timer_state *ts, uint64_t base)
{
	struct iv_timer_ **list = &ts->ring[0][base % SLOTS];
	int level;

	ts->base = base;
	link_to(&ts->fresh, *list);
	*list = NULL;

	/* The lists that are entered begin here; what is in them goes down. */
	for (level = 1; level < LEVELS; level++) {
		int slot = (base >> SLOT_BITS * level) % SLOTS;

		put_in_all(ts, &ts->ring[level][slot]);
	}
}

/* The first of those that are due, or NULL. */
static struct iv_timer_ *
first_due(struct iv_timer_state *ts, const struct timespec *now)
{
	struct iv_timer_ *t;

	while ((t = first_near(ts)) == NULL) {
		uint64_t tick = tick_of(now);

		if (tick <= ts->base)
			return NULL;
		advance(ts, first_start(ts, tick));
	}

	return iv_time_compare(&t->expires, now) <= 0 ? t : NULL;
}

static void return_put_off(struct iv_timer_state *ts)
{
	put_in_all(ts, &ts->put_off);
}

void iv_timer_run(struct iv_state *st)
{
	struct iv_timer_state *ts = &st->timer;
	unsigned long number = ts->number;
	struct timespec now;
	struct iv_timer_ *t;

	/* A handler that calls iv_main() has made this step a new one. */
	return_put_off(ts);
	now = *iv_time_now(st);
	while ((t = first_due(ts, &now)) != NULL) {
		take_out(t);
		/* Is its number one of those given away since? */
		if (t->number - number < ts->number - number) {
			push(&ts->put_off, t);
			continue;
		}
		ts->num--;
		st->numobjs--;
		st->stats.timers++;

		if (t->handler == NULL)
			iv_fatal("iv_timer: %p is due and has no handler: set "
				 "handler before it is registered", (void *)t);
		t->handler(t->cookie);
	}
	return_put_off(ts);
}

/* In a list of more timers than this the first is not looked for. */
#define FEW		16

/*
 * When a list is to be looked at again: when its first timer is due or, if it
 * has many, when base may enter it.
 */
static struct timespec
list_next(const struct iv_timer_ *list, uint64_t start)
{
	const struct iv_timer_ *first = list;
	int num;

	for (num = 0; list != NULL && num < FEW; num++) {
		if (is_before(list, first))
			first = list;
		list = list->next;
	}

	return list == NULL ? first->expires : time_of(start);
}

static struct timespec lists_next(struct iv_timer_state *ts)
{
	/* LAST_TICK itself has no time: it lies behind its second's end. */
	struct timespec ret = { .tv_sec = LAST_TICK >> TICK_BITS };
	int level;

	for (level = 0; level < LEVELS; level++) {
		uint64_t start;
		struct iv_timer_ *list = first_list(ts, level, &start);
		struct timespec next;

		if (list == NULL || start > tick_of(&ret))
			continue;
		next = list_next(list, start);
		if (iv_time_compare(&next, &ret) < 0)
			ret = iv_time_normalised(&next);
	}

	return ret;
}

struct timespec iv_timer_next(struct iv_state *st)
{
	const struct iv_timer_ *t = first_near(&st->timer);
	struct timespec ret = t != NULL ? iv_time_normalised(&t->expires) :
					  lists_next(&st->timer);

	return ret.tv_sec >= 0 ? ret : (struct timespec){ 0 };
}

/* The wheel stood still while it was empty.  Rare, and calls more. */
__attribute__((noinline))
static void put_in_first(struct iv_state *st, struct iv_timer_ *t)
{
	st->timer.base = tick_of(iv_time_latest(st));
	put_in(&st->timer, t);
}

void IV_TIMER_INIT(struct iv_timer *_t)
{
	((struct iv_timer_ *)_t)->pprev = NULL;
}

void iv_timer_register(struct iv_timer *_t)
{
	struct iv_state *st = iv_state_for("iv_timer_register");
	struct iv_timer_ *t = (struct iv_timer_ *)_t;

	if (t->pprev != NULL)
		iv_fatal("iv_timer_register: %p is already registered: "
			 "unregister it first, or call IV_TIMER_INIT() on a "
			 "new one", (void *)t);

	t->number = st->timer.number++;
	st->numobjs++;
	if (st->timer.num++ == 0)
		put_in_first(st, t);
	else if (!fill_gap(&st->timer, t))
		put_in(&st->timer, t);
}

void iv_timer_unregister(struct iv_timer *_t)
{
	struct iv_state *st = iv_state_for("iv_timer_unregister");
	struct iv_timer_ *t = (struct iv_timer_ *)_t;

	if (t->pprev == NULL)
		iv_fatal("iv_timer_unregister: %p is not registered: ask "
			 "iv_timer_registered(), it is not once it is called",
			 (void *)t);

	close_gap(&st->timer);
	st->timer.num--;
	st->numobjs--;
	if (is_in_wheel(&st->timer, t))
		leave_gap(&st->timer, t);
	else
		take_out(t);
}

int iv_timer_registered(const struct iv_timer *t)
{
	return ((const struct iv_timer_ *)t)->pprev != NULL;
}

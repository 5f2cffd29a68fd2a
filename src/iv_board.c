/*
 * libivykis: the boards of a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop's first board is its bell, which has the state for all of them.  An
 * object that was prepared before it had a loop has a board to itself, which
 * becomes another bell of the loop that adopts it.
 *
 * The records are private to the loop.  Those of another generation were
 * inherited over a fork, and their boards are left alone until
 * iv_board_abandon().
 */

#include <stdlib.h>
#include <string.h>
#include "iv_board.h"
#include "iv_cpu.h"

struct iv_board_record {
	struct iv_board		*board;
	unsigned int		generation;
	unsigned int		slot;		/* among the records */
	int			is_bell;
	int			is_adopted;
	unsigned int		used;		/* bits handed out */
	unsigned int		live;		/* objects that have one */
	unsigned int		room;
	struct iv_event_raw	**events;	/* by their bits */
	unsigned long		mine[IV_BOARD_WORDS];	/* bits of these */
	unsigned long		due[IV_BOARD_WORDS];	/* in this iteration */
};

static int is_own(const struct iv_board_record *r)
{
	return r->generation == iv_process_generation();
}

static unsigned int words_of(const struct iv_board_record *r)
{
	return (r->used + IV_BOARD_WORD_BITS - 1) / IV_BOARD_WORD_BITS;
}

static unsigned int index_of(struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);

	return (at.word - b->posted) * IV_BOARD_WORD_BITS + at.bit;
}

static struct iv_place
place_of(struct iv_board *bell, struct iv_board *b, unsigned int index)
{
	return (struct iv_place){
		.bell = bell,
		.word = &b->posted[index / IV_BOARD_WORD_BITS],
		.bit = index % IV_BOARD_WORD_BITS,
	};
}

static const struct iv_place nowhere;

/* An unused slot among the records, or -1 if there is no memory. */
static int free_slot(struct iv_board_state *s)
{
	unsigned int room = 2 * s->room + 4;
	struct iv_board_record **records;
	unsigned int i;

	for (i = 0; s->num < s->room; i++) {
		if (s->records[i] == NULL)
			return i;
	}
	records = realloc(s->records, room * sizeof(*records));
	if (records == NULL)
		return -1;
	memset(records + s->room, 0, (room - s->room) * sizeof(*records));
	i = s->room;
	s->records = records;
	s->room = room;

	return i;
}

static struct iv_board_record *
add_record(struct iv_state *st, struct iv_board *b, int is_bell)
{
	int slot = free_slot(&st->board);
	struct iv_board_record *r;

	if (slot < 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;

	r->board = b;
	r->generation = iv_process_generation();
	r->slot = slot;
	r->is_bell = is_bell;
	r->used = IV_BOARD_FIRST_BIT;
	st->board.records[slot] = r;
	st->board.num++;

	return r;
}

static struct iv_board_record *new_record(struct iv_state *st, int is_bell)
{
	struct iv_board *b = iv_board_get();
	struct iv_board_record *r;

	if (b == NULL)
		return NULL;
	r = add_record(st, b, is_bell);
	if (r == NULL) {
		iv_board_put(b);
		return NULL;
	}
	/* The parent's, if a signal handler has forked meanwhile. */
	r->generation = iv_board_generation(b);
	iv_board_own(b)->hint = 1UL << r->slot % IV_BOARD_WORD_BITS;

	return r;
}

static void free_record(struct iv_state *st, struct iv_board_record *r)
{
	st->board.records[r->slot] = NULL;
	st->board.num--;
	st->board.adopted -= r->is_adopted;
	if (st->board.open == r)
		st->board.open = NULL;
	if (st->board.first == r)
		st->board.first = NULL;
	free(r->events);
	free(r);
}

/*
 * A child's loop has a bell of its own.  A poster that has found the parent's
 * one is led to it by `moved'.
 */
static int has_bell(struct iv_state *st)
{
	unsigned int generation = iv_process_generation();
	struct iv_board *old;
	struct iv_board_record *r;

	/* Relaxed here and below: only the owner changes it. */
	if (atomic_load_explicit(&st->board.generation,
				 memory_order_relaxed) == generation)
		return 1;

	r = new_record(st, 1);
	if (r == NULL)
		return 0;
	st->board.first = r;
	st->board.open = r;
	iv_step();

	/*
	 * Release, three times: pairs with iv_board_moved() and, the other two,
	 * with iv_board_bell().
	 */
	old = atomic_load_explicit(&st->board.bell, memory_order_relaxed);
	if (old != NULL)
		atomic_store_explicit(&iv_board_own(old)->moved, r->board,
				      memory_order_release);
	atomic_store_explicit(&st->board.bell, r->board, memory_order_release);
	iv_step();
	atomic_store_explicit(&st->board.generation, generation,
			      memory_order_release);

	return 1;
}

static struct iv_board *bell_of(struct iv_state *st)
{
	return atomic_load_explicit(&st->board.bell, memory_order_relaxed);
}

/*
 * A board is kept as long as one of its objects is registered, and each of its
 * bits is used once.  Where many objects come and go between few that stay, a
 * few objects could thus keep many boards.  Beyond this limit, new objects get
 * no bit.
 */
static int has_enough_boards(const struct iv_state *st)
{
	return st->board.num - st->board.adopted >= 8 + st->board.live / 32;
}

static struct iv_board_record *open_record(struct iv_state *st)
{
	struct iv_board_record *r;

	if (!has_bell(st))
		return NULL;
	r = st->board.open;
	if (r != NULL && r->used < IV_BOARD_BITS)
		return r;
	if (has_enough_boards(st))
		return NULL;
	st->board.open = new_record(st, 0);

	return st->board.open;
}

static int make_room(struct iv_board_record *r, unsigned int index)
{
	unsigned int room = 2 * r->room + 8;
	struct iv_event_raw **events;

	if (index < r->room)
		return 0;
	events = realloc(r->events, room * sizeof(*events));
	if (events == NULL)
		return -1;
	memset(events + r->room, 0, (room - r->room) * sizeof(*events));
	r->events = events;
	r->room = room;

	return 0;
}

static int enter(struct iv_state *st, struct iv_board_record *r,
		 unsigned int index, struct iv_event_raw *event)
{
	if (make_room(r, index) < 0)
		return -1;
	r->events[index] = event;
	r->mine[index / IV_BOARD_WORD_BITS] |=
		1UL << index % IV_BOARD_WORD_BITS;
	r->live++;
	st->board.live++;

	return 0;
}

/*
 * A bit that was never used is clear, unless a hostile child has set it.  A
 * child that a signal handler forks in here clears nothing of its parent's.
 */
static void begin_use(struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);

	if (iv_place_is_set(at) && !iv_board_is_inherited(b))
		(void)iv_board_take_bit(at);
	if (iv_place_is_gone(at) && !iv_board_is_inherited(b))
		atomic_fetch_and(&b->gone[at.word - b->posted],
				 ~iv_place_mask(at));
}

struct iv_place iv_board_place(struct iv_state *st, struct iv_event_raw *event)
{
	struct iv_board_record *r = open_record(st);
	struct iv_place at;

	if (r == NULL || enter(st, r, r->used, event) < 0)
		return nowhere;
	at = place_of(bell_of(st), r->board, r->used++);
	begin_use(at);

	return at;
}

struct iv_place
iv_board_place_wake(struct iv_state *st, struct iv_event_raw *event)
{
	struct iv_board_record *r;
	struct iv_place at;

	if (!has_bell(st))
		return nowhere;
	r = st->board.first;
	if (enter(st, r, IV_BOARD_WAKE_BIT, event) < 0)
		return nowhere;
	at = place_of(r->board, r->board, IV_BOARD_WAKE_BIT);
	/* It may have been posted to as the last event was unregistered. */
	(void)iv_board_take_bit(at);

	return at;
}

struct iv_place iv_board_place_alone(void)
{
	struct iv_board *b = iv_board_get();
	struct iv_place at;

	if (b == NULL)
		return nowhere;
	at = place_of(b, b, IV_BOARD_FIRST_BIT);
	begin_use(at);

	return at;
}

int iv_board_adopt(struct iv_state *st, struct iv_place at,
		   struct iv_event_raw *event)
{
	struct iv_board_record *r = add_record(st, iv_place_board(at), 1);

	if (r == NULL)
		return -1;
	r->is_adopted = 1;
	st->board.adopted++;
	if (enter(st, r, index_of(at), event) < 0) {
		free_record(st, r);
		return -1;
	}
	r->used = IV_BOARD_BITS;

	return 0;
}

static void drop(struct iv_state *st, struct iv_board_record *r)
{
	struct iv_board *b = r->board;

	free_record(st, r);
	iv_board_put(b);
}

static struct iv_board_record *
record_of(const struct iv_state *st, const struct iv_board *b)
{
	unsigned int i;

	for (i = 0; i < st->board.room; i++) {
		struct iv_board_record *r = st->board.records[i];

		if (r != NULL && r->board == b)
			return r;
	}

	return NULL;
}

void iv_board_leave(struct iv_state *st, struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);
	unsigned int index = index_of(at);
	struct iv_board_record *r = record_of(st, b);

	/* Abandoned after a fork, or foreign since it was adopted. */
	if (r == NULL) {
		iv_board_put(b);
		return;
	}

	r->events[index] = NULL;
	r->mine[at.word - b->posted] &= ~iv_place_mask(at);
	r->live--;
	st->board.live--;
	iv_step();
	/* A wakeup's bit is used again, and a child does not post to it. */
	if (!is_own(r) || index == IV_BOARD_WAKE_BIT)
		return;

	if (r->is_adopted)
		/* A copy of it may be adopted by another process. */
		atomic_fetch_and(&b->flags, ~IV_BOARD_OWNED);
	else
		/* Pairs with write_if_needed() in iv_event_raw.c. */
		atomic_fetch_or(&b->gone[at.word - b->posted],
				iv_place_mask(at));
	if (r->live == 0 && r->used == IV_BOARD_BITS && b != bell_of(st))
		drop(st, r);
}

void iv_board_deinit(struct iv_state *st)
{
	unsigned int i;

	for (i = 0; i < st->board.room; i++) {
		struct iv_board_record *r = st->board.records[i];

		if (r == NULL)
			continue;
		/*
		 * A board whose objects are still registered is not reused, nor
		 * is the bell that posts to these read.
		 */
		if (is_own(r) && r->live == 0 &&
		    (!r->is_bell || st->board.live == 0))
			iv_board_put(r->board);
		free_record(st, r);
	}
	free(st->board.records);
}

/*
 * The bits that are set, without those that a forked child has set through a
 * stale copy of an object that was unregistered.
 */
static unsigned long posted_in(const struct iv_board_record *r, unsigned int w)
{
	/* Relaxed: iv_board_take_bit() orders it. */
	return atomic_load_explicit(&r->board->posted[w],
				    memory_order_relaxed) & r->mine[w];
}

static int is_posted(const struct iv_board_record *r)
{
	unsigned int words = words_of(r);
	unsigned int w;

	for (w = 0; w < words; w++) {
		if (posted_in(r, w))
			return 1;
	}

	return 0;
}

/* The record in that slot, or NULL if there is none of this process. */
static struct iv_board_record *
own_record(const struct iv_state *st, unsigned int i)
{
	struct iv_board_record *r;

	if (i >= st->board.room)
		return NULL;
	r = st->board.records[i];

	return r != NULL && is_own(r) ? r : NULL;
}

/*
 * Does the bell tell which boards to check?  Posts to adopted objects leave no
 * hint there: a few such objects are checked each time, many before a wait.
 */
#define FEW_ADOPTED	8

static int has_hints(const struct iv_state *st)
{
	const struct iv_board_record *r = st->board.first;

	return r != NULL && is_own(r) && (st->board.adopted == 0 ||
					  st->board.adopted > FEW_ADOPTED);
}

static int is_hinted(const struct iv_board_record *r)
{
	/* Relaxed: the exchange in note_hinted() orders it. */
	return !!atomic_load_explicit(&r->board->hints, memory_order_relaxed);
}

int iv_board_posted(const struct iv_state *st)
{
	unsigned int i;

	for (i = 0; i < st->board.room; i++) {
		const struct iv_board_record *r = own_record(st, i);

		if (r != NULL && is_posted(r))
			return 1;
	}

	return 0;
}

/* Note what is posted by now, which is served in this iteration. */
static void note_posted(struct iv_state *st, struct iv_board_record *r)
{
	unsigned int words = words_of(r);
	unsigned long any = 0;
	unsigned int w;

	for (w = 0; w < words; w++) {
		r->due[w] = posted_in(r, w);
		any |= r->due[w];
	}
	if (any)
		st->board.due |= 1UL << r->slot % IV_BOARD_WORD_BITS;
}

static void note_own(struct iv_state *st, unsigned int i)
{
	struct iv_board_record *r = own_record(st, i);

	if (r != NULL)
		note_posted(st, r);
}

static void note_hinted(struct iv_state *st)
{
	unsigned long hints;
	unsigned int i;

	note_posted(st, st->board.first);
	if (!is_hinted(st->board.first))
		return;

	/* Sequentially consistent: bits that were set before are seen. */
	hints = atomic_exchange(&st->board.first->board->hints, 0);
	iv_step();
	for (; hints; hints &= hints - 1) {
		for (i = __builtin_ctzl(hints); i < st->board.room;
		     i += IV_BOARD_WORD_BITS)
			note_own(st, i);
	}
}

void iv_board_look(struct iv_state *st, int all)
{
	unsigned int i;

	st->board.due = 0;
	if (!all && has_hints(st)) {
		note_hinted(st);
		return;
	}
	for (i = 0; i < st->board.room; i++)
		note_own(st, i);
}

void iv_board_served(struct iv_state *st, struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);
	struct iv_board_record *r;

	if (!st->board.due)
		return;
	r = record_of(st, b);
	if (r != NULL)
		r->due[at.word - b->posted] &= ~iv_place_mask(at);
}

int iv_board_take_bit(struct iv_place at)
{
	unsigned long mask = iv_place_mask(at);
	int was_set = !!(atomic_fetch_and(at.word, ~mask) & mask);

	/*
	 * The handler's loads come after this, also for posters that found the
	 * bit set.  Partner: fence A in iv_event_raw.c.
	 */
	iv_fence_after_atomic();
	iv_step();

	return was_set;
}

/*
 * A handler may unregister anything, run the loop, fork, or never return.  So
 * each bit is taken right before its handler is called, and a record is not
 * touched once it has left its slot.
 */
static void serve_word(struct iv_state *st, unsigned int i, unsigned int w,
		       struct iv_board_record *r,
		       void (*serve)(struct iv_event_raw *))
{
	unsigned long bits = r->due[w] & posted_in(r, w);

	r->due[w] = 0;
	for (; bits && own_record(st, i) == r; bits &= bits - 1) {
		struct iv_place at = {
			.word = &r->board->posted[w],
			.bit = __builtin_ctzl(bits),
		};

		/* The object is registered, even if the record is a new one. */
		if ((r->mine[w] & iv_place_mask(at)) && iv_board_take_bit(at))
			serve(r->events[w * IV_BOARD_WORD_BITS + at.bit]);
	}
}

static void serve_record(struct iv_state *st, unsigned int i,
			 void (*serve)(struct iv_event_raw *))
{
	struct iv_board_record *r = own_record(st, i);
	unsigned int w;

	for (w = 0; r != NULL && w < words_of(r); w++) {
		if (r->due[w] == 0)
			continue;
		serve_word(st, i, w, r, serve);
		r = own_record(st, i);
	}
}

void iv_board_take(struct iv_state *st, void (*serve)(struct iv_event_raw *))
{
	unsigned long due = st->board.due;
	unsigned int i;

	iv_step();
	for (; due; due &= due - 1) {
		for (i = __builtin_ctzl(due); i < st->board.room;
		     i += IV_BOARD_WORD_BITS)
			serve_record(st, i, serve);
	}
}

/*
 * Meanwhile a poster may set RUNG, once, and a forked loop FOREIGN.  A hostile
 * child that goes on changing the state must not keep the loop here.
 */
#define TRIES	16

/*
 * FOREIGN stays as it is.  A signal handler may fork in here, and the child
 * must not overwrite what the parent sets later.
 */
static void set_mode_if_own(const struct iv_board_record *r, unsigned long mode)
{
	struct iv_board *bell = r->board;
	unsigned long old = atomic_load_explicit(&bell->state,
						 memory_order_relaxed);
	unsigned long new;
	int i;

	/* Only the owner changes AWAKE. */
	if ((old & IV_BOARD_MODE) == IV_BOARD_AWAKE && mode == IV_BOARD_AWAKE)
		return;

	for (i = 0; i < TRIES && is_own(r); i++) {
		new = (old & ~IV_BOARD_MODE) | mode;
		if (mode == IV_BOARD_ASLEEP)
			new += IV_BOARD_EPOCH;
		iv_step();
		if (atomic_compare_exchange_strong(&bell->state, &old, new))
			return;
	}
}

static void set_mode_of_all(const struct iv_state *st, unsigned long mode)
{
	unsigned int i;

	for (i = 0; i < st->board.room; i++) {
		const struct iv_board_record *r = st->board.records[i];

		if (r != NULL && r->is_bell)
			set_mode_if_own(r, mode);
	}
}

void iv_board_sleep(const struct iv_state *st)
{
	/*
	 * This is also a release: a poster that sees ASLEEP sees which objects
	 * are gone.  Pairs with write_if_needed() in iv_event_raw.c.
	 */
	set_mode_of_all(st, IV_BOARD_ASLEEP);
	/*
	 * Fence B: ASLEEP is set before the loop checks boards and events once
	 * more.  Partners: the setting of a bit in iv_event_raw.c, and push()
	 * in iv_event.c.
	 */
	iv_fence_after_atomic();
}

void iv_board_wake_up(const struct iv_state *st)
{
	set_mode_of_all(st, IV_BOARD_AWAKE);
}

/* Call ring() for each object whose bit is set. */
static void ring_for(const struct iv_board_record *r,
		     void (*ring)(const struct iv_event_raw *))
{
	unsigned int i;

	for (i = 0; i < r->used && i < r->room; i++) {
		atomic_ulong *word = &r->board->posted[i / IV_BOARD_WORD_BITS];
		unsigned long bit = 1UL << i % IV_BOARD_WORD_BITS;

		if (r->events[i] != NULL &&
		    (atomic_load_explicit(word, memory_order_relaxed) & bit))
			ring(r->events[i]);
	}
}

void iv_board_make_foreign(struct iv_board *b)
{
	atomic_fetch_or(&b->state, IV_BOARD_FOREIGN);
	/*
	 * FOREIGN is set before the bits are read.  Partner: the setting of the
	 * bit in iv_event_raw_post().
	 */
	iv_fence_after_atomic();
}

void iv_board_abandon(struct iv_state *st, unsigned int generation,
		      void (*ring)(const struct iv_event_raw *))
{
	unsigned int i;

	for (i = 0; i < st->board.room; i++) {
		struct iv_board_record *r = st->board.records[i];

		if (r != NULL && r->generation != generation)
			iv_board_make_foreign(r->board);
	}
	iv_step();
	for (i = 0; i < st->board.room; i++) {
		struct iv_board_record *r = st->board.records[i];

		if (r == NULL || r->generation == generation)
			continue;
		ring_for(r, ring);
		st->board.live -= r->live;
		free_record(st, r);
	}
}

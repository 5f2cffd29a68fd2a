/*
 * libivykis: boards, the memory that posters and a loop share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_BOARD_PAGE_H
#define IV_BOARD_PAGE_H

#include <stdatomic.h>
#include <stdint.h>
#include "iv_process.h"

#pragma GCC visibility push(hidden)

_Static_assert(ATOMIC_LONG_LOCK_FREE == 2,
	       "boards are used in signal handlers and between processes");

#define IV_BOARD_WORD_BITS	(8 * sizeof(long))
#define IV_BOARD_WORDS		(64 / sizeof(long) - 2)
#define IV_BOARD_BITS		(IV_BOARD_WORDS * IV_BOARD_WORD_BITS)

/* The first bit of a bell is for the wakeup of the iv_events. */
#define IV_BOARD_WAKE_BIT	0
#define IV_BOARD_FIRST_BIT	1

/*
 * Shared between processes.  Of this, a post to a loop that is awake touches
 * only the first cache line.
 */
struct iv_board {
	_Alignas(64) atomic_ulong	state;
	atomic_ulong	flags;
	atomic_ulong	posted[IV_BOARD_WORDS];	/* a bit per object */

	/* A bit per object that was unregistered. */
	_Alignas(64) atomic_ulong	gone[IV_BOARD_WORDS];
	atomic_ulong	hints;		/* on a bell: boards to check */
};

/*
 * state: a mode, whether a forked copy of the loop may be running, and above
 * these an epoch, which changes with each sleep.  With 32 bits the epoch
 * repeats after 2^29 sleeps: a poster that is delayed for exactly that many of
 * them between its write and the exchange that follows would set RUNG wrongly.
 */
#define IV_BOARD_AWAKE		0UL
#define IV_BOARD_ASLEEP		1UL
#define IV_BOARD_RUNG		2UL	/* asleep, and a doorbell was written */
#define IV_BOARD_MODE		3UL
#define IV_BOARD_FOREIGN	4UL	/* for good */
#define IV_BOARD_EPOCH		8UL

/* flags */
#define IV_BOARD_OWNED		1UL	/* a prepared object was adopted */

/*
 * What a process keeps about a board in private memory, never unmapped: all
 * that other processes must not be able to change.
 */
struct iv_board_own {
	_Alignas(sizeof(struct iv_board))
	atomic_ulong		posters;	/* that write, of a process */
	unsigned long		lost;		/* those that never finish */
	atomic_int		fd;		/* wakes the loop */
	_Atomic(struct iv_board *)	moved;	/* the bell since a fork */
	atomic_ulong		closed[IV_BOARD_WORDS];	/* unregistered here */
	atomic_ulong		life;	/* differs when the board is reused */
	unsigned long		hint;	/* its bit in the hints of its bell */
};

_Static_assert(sizeof(struct iv_board_own) == sizeof(struct iv_board),
	       "a board and its private part have the same place on two pages");

static inline struct iv_board_own *iv_board_own(const struct iv_board *b)
{
	return (struct iv_board_own *)((char *)b - iv_process_page_size);
}

/* All zeroes, but for what a hostile child wrote; NULL without memory. */
struct iv_board *iv_board_get(void);
void iv_board_put(struct iv_board *b);
/* The generation of the process that allocated it. */
unsigned int iv_board_generation(const struct iv_board *b);
int iv_board_is_inherited(const struct iv_board *b);

/*
 * The bell that a loop has in this process, where b is its bell or was so
 * before a fork; NULL if it has none yet, and will check for events before it
 * sleeps.
 */
struct iv_board *iv_board_moved(struct iv_board *b);

/*
 * Where a bit is.  The bell is the board with the loop's state, and the bit may
 * be on another board.
 */
struct iv_place {
	struct iv_board	*bell;
	atomic_ulong	*word;		/* NULL: there is no bit */
	unsigned int	bit;		/* its number in the word */
};

static inline struct iv_board *iv_place_board(struct iv_place at)
{
	return (struct iv_board *)((uintptr_t)at.word &
				   -sizeof(struct iv_board));
}

static inline unsigned long iv_place_mask(struct iv_place at)
{
	return 1UL << at.bit;
}

/* Both are sequentially consistent. */
static inline int iv_place_is_set(struct iv_place at)
{
	return (atomic_load(at.word) >> at.bit) & 1;
}

static inline int iv_place_is_gone(struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);

	return (atomic_load(&b->gone[at.word - b->posted]) >> at.bit) & 1;
}

static inline unsigned long iv_board_life(const struct iv_board *b)
{
	/* Relaxed: iv_board_is_open() orders it. */
	return atomic_load_explicit(&iv_board_own(b)->life,
				    memory_order_relaxed);
}

/* In this process the object was unregistered: its posts write nothing. */
void iv_board_close(struct iv_place at);
/* Is the object registered that was so in this life of its board? */
int iv_board_is_open(struct iv_place at, unsigned long life);

/*
 * Once its bit is set, an object may be served at any moment, and its handler
 * may unregister it.  So a poster that is going to write is counted between
 * these two.
 */
struct iv_board_own *iv_board_begin_write(struct iv_board *bell);
void iv_board_end_write(struct iv_board_own *own);

/*
 * Wait for these posters, so that a descriptor can be closed; 0 if one of them
 * does not finish, and the descriptor has to stay open.
 */
int iv_board_is_unused(struct iv_board *bell);

#pragma GCC visibility pop

#endif

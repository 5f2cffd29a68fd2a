/*
 * libivykis: a board, and where it comes from.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_BOARD_PAGE_H
#define IV_BOARD_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

_Static_assert(ATOMIC_LONG_LOCK_FREE == 2,
	       "boards are used in signal handlers and between processes");

#define IV_BOARD_WORD_BITS	(8 * sizeof(long))
#define IV_BOARD_WORDS		(64 / sizeof(long) - 2)
#define IV_BOARD_BITS		(IV_BOARD_WORDS * IV_BOARD_WORD_BITS)

/* The first bit of a board is, on a bell, for the wakeup of the iv_events. */
#define IV_BOARD_WAKE_BIT	0
#define IV_BOARD_FIRST_BIT	1

/*
 * Shared.  A post to a loop that is awake touches the first line of the cache
 * alone.
 */
struct iv_board {
	_Alignas(64) atomic_ulong	state;
	atomic_ulong	flags;
	atomic_ulong	posted[IV_BOARD_WORDS];	/* a bit per object */

	/* A bit per object that was unregistered. */
	_Alignas(64) atomic_ulong	gone[IV_BOARD_WORDS];
	atomic_ulong	hints;		/* on a bell: boards to look at */
	unsigned long	hint;		/* this one's */
};

/*
 * state: a mode, whether a forked copy of the loop runs, too, and above these
 * an epoch, one per sleep.  On 32 bits that is the same again after 2^29 sleeps; a
 * poster that is held for exactly so many between its write and what follows
 * would say RUNG where nobody rang.
 */
#define IV_BOARD_AWAKE		0UL
#define IV_BOARD_ASLEEP		1UL
#define IV_BOARD_RUNG		2UL	/* asleep, and a doorbell was written */
#define IV_BOARD_MODE		3UL
#define IV_BOARD_FOREIGN	4UL	/* for good */
#define IV_BOARD_EPOCH		8UL

/* flags: above this a number that differs each time the memory is used. */
#define IV_BOARD_OWNED		1UL	/* a prepared object was adopted */
#define IV_BOARD_LIFE		2UL

/* A process's own side of a board, mapped for as long as the board is. */
struct iv_board_own {
	atomic_ulong		posters;	/* that write, of one process */
	unsigned long		lost;		/* of them, who do not end */
	atomic_int		fd;		/* wakes the loop */
	_Atomic(struct iv_board *)	moved;	/* the loop's, since a fork */
	atomic_ulong		closed[IV_BOARD_WORDS];	/* given up here */
};

/* All zeroes but for its life; NULL if there is no memory. */
struct iv_board *iv_board_get(void);
void iv_board_put(struct iv_board *b);
struct iv_board_own *iv_board_own(const struct iv_board *b);
/* Of the process in which it was handed out. */
unsigned int iv_board_generation(const struct iv_board *b);

/*
 * The bell that a loop has in this process, of which one that it had before
 * the fork is known; NULL: it has none yet, and will look before it sleeps.
 */
struct iv_board *iv_board_moved(struct iv_board *b);

/*
 * Where a bit is.  The bell is the board that has the state of the loop, which
 * need not be the one that has the bit.
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

/* This process has given up its copy, and writes no more for it. */
void iv_board_close(struct iv_place at);
int iv_board_is_closed(struct iv_place at);

/*
 * Once its bit is set, an object may be served at any moment, and be
 * unregistered by its handler.  So a poster that goes on to write is counted
 * between these two.
 */
struct iv_board_own *iv_board_begin_write(struct iv_board *bell);
void iv_board_end_write(struct iv_board_own *own);

/*
 * Wait for those who write, so that a descriptor can be closed; 0: somebody
 * does not come to an end, and it has to stay open.
 */
int iv_board_is_unused(struct iv_board *bell);

#pragma GCC visibility pop

#endif

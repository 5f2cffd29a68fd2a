/*
 * libivykis: the boards of a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * iv_event_raw.c explains the protocol that they are used by.
 */

#ifndef IV_BOARD_H
#define IV_BOARD_H

#include <iv_event_raw.h>
#include <stdatomic.h>
#include "iv_board_page.h"
#include "iv_private.h"
#include "iv_process.h"

#pragma GCC visibility push(hidden)

/* A place for an object of the loop. */
struct iv_place iv_board_place(struct iv_state *st, struct iv_event_raw *event);
struct iv_place
iv_board_place_wake(struct iv_state *st, struct iv_event_raw *event);
/* A place on a board without a loop, and how a loop takes that over. */
struct iv_place iv_board_place_alone(void);
int iv_board_adopt(struct iv_state *st, struct iv_place at,
		   struct iv_event_raw *event);
void iv_board_leave(struct iv_state *st, struct iv_place at);

/* Clear a bit; was it set? */
int iv_board_take_bit(struct iv_place at);

/* Take the bits that are due, one after the other, and serve the objects. */
void iv_board_take(struct iv_state *st, void (*serve)(struct iv_event_raw *));
/* The object is served by other means: do not serve it in this iteration. */
void iv_board_served(struct iv_state *st, struct iv_place at);

void iv_board_make_foreign(struct iv_board *b);
/*
 * In the process of that generation: give up the boards that were inherited
 * over a fork, and ring for the objects whose bit is set.
 */
void iv_board_abandon(struct iv_state *st, unsigned int generation,
		      void (*ring)(const struct iv_event_raw *));

/*
 * The loop's bell, for any thread; *is_own: it is surely this process's.
 *
 * Acquire, here and below: pairs with the releases in has_bell().
 */
static inline struct iv_board *
iv_board_bell(const struct iv_state *st, int *is_own)
{
	unsigned int generation = atomic_load_explicit(&st->board.generation,
						       memory_order_acquire);

	*is_own = generation == iv_process_generation();

	return atomic_load_explicit(&st->board.bell, memory_order_acquire);
}

#pragma GCC visibility pop

#endif

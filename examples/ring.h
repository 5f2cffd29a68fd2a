/*
 * Messages, and a ring through which one process passes them to another.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The ring is in memory that both processes share; an empty one is all zeroes.
 * One process puts and the other one takes.  Nothing here waits, so a process
 * that has put or taken something has to notify the other one.
 */

#ifndef RING_H
#define RING_H

#include <stdatomic.h>

#define RING_SLOTS	1024UL	/* a power of two, as counters wrap around */
#define MESSAGE_WORDS	6

struct message {
	unsigned long	number;
	unsigned long	data[MESSAGE_WORDS];
	unsigned long	checksum;
};

/*
 * Each counter is written by one process, with a release that pairs with the
 * acquire of the other: a slot that was put can be read, and one that was taken
 * can be overwritten.
 */
struct ring {
	_Alignas(64) atomic_ulong	put;
	_Alignas(64) atomic_ulong	taken;
	_Alignas(64) struct message	slots[RING_SLOTS];
};

_Static_assert(ATOMIC_LONG_LOCK_FREE == 2, "processes cannot share a lock");

/* Called by the process that puts. */
static inline int ring_is_full(struct ring *r)
{
	unsigned long put = atomic_load_explicit(&r->put, memory_order_relaxed);

	return put - atomic_load_explicit(&r->taken, memory_order_acquire) ==
	       RING_SLOTS;
}

/* The ring must not be full. */
static inline void ring_put(struct ring *r, const struct message *m)
{
	unsigned long put = atomic_load_explicit(&r->put, memory_order_relaxed);

	r->slots[put % RING_SLOTS] = *m;
	atomic_store_explicit(&r->put, put + 1, memory_order_release);
}

/* Returns 0 if the ring is empty. */
static inline int ring_take(struct ring *r, struct message *m)
{
	unsigned long taken = atomic_load_explicit(&r->taken,
						   memory_order_relaxed);

	if (taken == atomic_load_explicit(&r->put, memory_order_acquire))
		return 0;
	*m = r->slots[taken % RING_SLOTS];
	atomic_store_explicit(&r->taken, taken + 1, memory_order_release);

	return 1;
}

static inline unsigned long message_checksum(const struct message *m)
{
	unsigned long sum = m->number;
	int i;

	for (i = 0; i < MESSAGE_WORDS; i++)
		sum = (sum ^ m->data[i]) * 16777619UL;

	return sum;
}

static inline void message_make(struct message *m, unsigned long number)
{
	int i;

	m->number = number;
	for (i = 0; i < MESSAGE_WORDS; i++)
		m->data[i] = (number + i) * 2654435761UL;
	m->checksum = message_checksum(m);
}

/* The answer is the message with all bits of its data inverted. */
static inline void message_answer(struct message *m)
{
	int i;

	for (i = 0; i < MESSAGE_WORDS; i++)
		m->data[i] = ~m->data[i];
	m->checksum = message_checksum(m);
}

#endif

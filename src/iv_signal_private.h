/*
 * libivykis: what iv_signal.c offers to other modules.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_SIGNAL_PRIVATE_H
#define IV_SIGNAL_PRIVATE_H

#include <iv_signal.h>
#include <pthread.h>
#include "iv_private.h"

#pragma GCC visibility push(hidden)

/*
 * A lock whose holder is a process: what was held by another thread when a
 * process forked is free in the child, whoever forked and however.  Not for
 * waiting long under it.  While it is held the thread cannot be cancelled; a
 * signal handler may take it if all who do block signals.
 */
struct iv_lock {
	atomic_uint	holder;		/* 0, or a process's generation */
};

/* Back off, the longer the more often it was in vain. */
void iv_lock_pause(unsigned int times);

/* Returns the cancellation state that iv_lock_release() is to restore. */
static inline int iv_lock_take(struct iv_lock *lock)
{
	unsigned int self = iv_process_generation();
	unsigned int times = 0;
	unsigned int seen;
	int state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	for (;;) {
		seen = atomic_load_explicit(&lock->holder,
					    memory_order_relaxed);
		/* Acquire: pairs with the release in iv_lock_release(). */
		if (seen != self &&
		    atomic_compare_exchange_weak_explicit(&lock->holder, &seen,
							  self,
							  memory_order_acquire,
							  memory_order_relaxed))
			return state;
		iv_lock_pause(times++);
	}
}

static inline void iv_lock_release(struct iv_lock *lock, int state)
{
	/* Release: pairs with the acquire in iv_lock_take(). */
	atomic_store_explicit(&lock->holder, 0, memory_order_release);
	(void)pthread_setcancelstate(state, &state);
}

/*
 * iv_signal_register() for the library's own use: the object is notified
 * whenever the signal comes, in whatever thread and whoever else is, and
 * keeps it from nobody.
 */
int iv_signal_register_always(struct iv_signal *s);

/*
 * In a child that was just forked, with all signals blocked: forget the
 * parent's objects and give their signals the default disposition.
 */
void iv_signal_reset_child(void);

#pragma GCC visibility pop

#endif

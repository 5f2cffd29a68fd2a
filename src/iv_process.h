/*
 * libivykis: what concerns the process as a whole.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * iv_process.c detects forks, by memory that is zeroed in a child.  On this
 * rest generations, which tell a process from its children, labels, which tell
 * the library's descriptors from others, and a lock that no child inherits.
 */

#ifndef IV_PROCESS_H
#define IV_PROCESS_H

#include <stdatomic.h>
#include <stddef.h>
#include "iv_cancel.h"
#include "iv_step.h"

#pragma GCC visibility push(hidden)

/* iv_board_page.c */
struct iv_board_pages {
	struct page	*open;
	struct page	*waiting;
	unsigned long	lives;
};

/* All zeroes in a process that has just been forked. */
struct iv_process_state {
	atomic_uint		generation;
	struct iv_board_pages	boards;
};

extern struct iv_process_state *iv_process;

/* Set by iv_process_init(), constant afterwards. */
extern size_t iv_process_page_size;

/* Once per process.  0, or -1 with errno: then it can be called again. */
int iv_process_init(void);

/* getenv(3), "" for an unset variable and for all of a privileged program. */
const char *iv_process_getenv(const char *name);

unsigned int iv_process_new_generation(void);

/* pthread_atfork(3): 0, or -1 with errno.  Nothing is called in the parent. */
int iv_process_at_fork(void (*before)(void), void (*in_child)(void));

/* A number that differs between a process and its children, never 0. */
static inline unsigned int iv_process_generation(void)
{
	/* Relaxed: the numbers are all that is exchanged. */
	unsigned int now = atomic_load_explicit(&iv_process->generation,
						memory_order_relaxed);

	return now != 0 ? now : iv_process_new_generation();
}

/*
 * The library labels the descriptors that it opens, so that a child that closed
 * all that it inherited can tell them from those that it opened afterwards.
 * iv_fd_register_own() and iv_fd_close_own() do all this for the descriptor of
 * an iv_fd.  A label of 0 stands for a descriptor that cannot have one.
 */
unsigned int iv_process_label_fd(int fd);	/* returns its label */
int iv_process_has_label(int fd, unsigned int label);
void iv_process_close(int fd, unsigned int label);	/* if it has it */

/* The label that descriptors get in this process. */
unsigned int iv_process_label(void);

/*
 * Moves a close-on-exec descriptor that was just opened, or -1, away from the
 * numbers of the standard ones, as other code writes to these.
 */
int iv_process_move_fd(int fd);

/*
 * A lock whose holder is a process: if another thread held it when the process
 * forked, it is free in the child, however that was forked.  To be held for
 * short only.  The thread that holds it cannot be cancelled.  A signal handler
 * may take it if all others block signals meanwhile.
 */
struct iv_lock {
	atomic_uint	holder;		/* 0, or a process's generation */
};

/* Wait a little, and longer when it was called many times before. */
void iv_lock_pause(unsigned int times);

/* Returns the cancellation state that iv_lock_release() is to restore. */
static inline int iv_lock_take_as(struct iv_lock *lock, unsigned int self)
{
	int state = iv_cancel_disable();
	unsigned int times = 0;
	unsigned int seen;

	for (;;) {
		seen = atomic_load_explicit(&lock->holder,
					    memory_order_relaxed);
		/* Acquire: pairs with the release in iv_lock_release(). */
		if (seen != self &&
		    atomic_compare_exchange_weak_explicit(&lock->holder, &seen,
							  self,
							  memory_order_acquire,
							  memory_order_relaxed))
			break;
		iv_lock_pause(times++);
	}
	iv_step();

	return state;
}

static inline int iv_lock_take(struct iv_lock *lock)
{
	return iv_lock_take_as(lock, iv_process_generation());
}

static inline void iv_lock_release(struct iv_lock *lock, int state)
{
	iv_step();
	/* Release: pairs with the acquire in iv_lock_take(). */
	atomic_store_explicit(&lock->holder, 0, memory_order_release);
	iv_cancel_restore(state);
}

#pragma GCC visibility pop

#endif

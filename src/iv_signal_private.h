/*
 * libivykis: what iv_signal.c offers to other modules.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_SIGNAL_PRIVATE_H
#define IV_SIGNAL_PRIVATE_H

#include <iv_signal.h>
#include <signal.h>

#pragma GCC visibility push(hidden)

/*
 * Between these two the thread is neither interrupted by a signal handler,
 * which may fork, nor cancelled.
 */
struct iv_blocked {
	sigset_t	mask;
	int		cancel;
};

void iv_signal_block(struct iv_blocked *b);
void iv_signal_unblock(const struct iv_blocked *b);

/*
 * iv_signal_register() for the library's own use: the object is notified of
 * every signal in every thread, in addition to the objects of the program.  All
 * signals have to be blocked.
 */
int iv_signal_register_always(struct iv_signal *s);

/*
 * For a child that was just forked, with all signals blocked: forgets the
 * parent's objects and gives their signals the default disposition.
 */
void iv_signal_reset_child(void);

#pragma GCC visibility pop

#endif

/*
 * libivykis: a loop inside of another one, where the system cannot make the
 * descriptor that this takes.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "iv_private.h"

void iv_loop_fd_deinit(struct iv_state *st)
{
	(void)st;
}

void iv_loop_fd_forget(struct iv_state *st)
{
	(void)st;
}

void iv_loop_fd_begin_turn(struct iv_state *st)
{
	(void)st;
}

void iv_loop_fd_settle(struct iv_state *st)
{
	(void)st;
}

int iv_loop_fd(void)
{
	(void)iv_state_for("iv_loop_fd");
	errno = ENOSYS;

	return -1;
}

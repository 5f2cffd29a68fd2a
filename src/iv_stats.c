/*
 * libivykis: what a loop has done, printed at its end.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counting is unconditional: an addition in memory that is in the cache anyway
 * costs less than to check whether to count.
 */

#include <stdio.h>
#include <string.h>
#include "iv_cancel.h"
#include "iv_private.h"

/* Constant since iv_init(). */
static int asked;

void iv_stats_ask(const char *word)
{
	asked = !strcmp(word, "1");
}

void iv_stats_tell(const struct iv_state *st)
{
	const struct iv_stats *s = &st->stats;
	char line[512];
	int state;
	int len;

	if (!asked)
		return;

	len = snprintf(line, sizeof(line),
		       "ivykis: pid=%ld tid=%lu passes=%lu waits=%lu "
		       "sleeps=%lu fds=%lu raws=%lu quiet=%lu doorbells=%lu "
		       "spurious=%lu wakes=%lu events=%lu tasks=%lu "
		       "timers=%lu polls=%lu poll_hits=%lu poll_us=%llu "
		       "spins=%lu spin_hits=%lu\n",
		       (long)getpid(), iv_sys_thread_id(), s->passes, s->waits,
		       s->sleeps, s->fds, s->raws, s->quiet, s->doorbells,
		       s->spurious, s->wakes, s->events, s->tasks, s->timers,
		       s->polls, s->poll_hits,
		       (unsigned long long)s->poll_ns / 1000, s->spins,
		       s->spin_hits);

	/*
	 * In one piece, as loops of other threads may end at the same time.  A
	 * thread that was cancelled here would leave its loop half ended.
	 */
	state = iv_cancel_disable();
	(void)!write(STDERR_FILENO, line, len);
	iv_cancel_restore(state);
}

/*
 * libivykis: the loop's clock.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop reads the clock when it is first asked for the time after a wait, and
 * keeps the value, at one address, until the next wait.
 */

#include "iv_private.h"
#include "iv_time.h"

/* Out of line, for it runs once per iteration, and iv_now in each handler. */
__attribute__((noinline))
const struct timespec *iv_clock_read(struct iv_state *st)
{
	iv_time_read(&st->clock.now);
	/* An idle loop does not learn when another loop's wait is over. */
	st->clock.valid = !st->idle;

	return &st->clock.now;
}

const struct timespec *__iv_now_location_valid(void)
{
	return iv_clock_now(iv_state_for("iv_now"));
}

void iv_invalidate_now(void)
{
	iv_clock_invalidate(iv_state_for("iv_invalidate_now"));
}

/* Older binaries call these two, which no header declares. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
const struct timespec *__iv_now_location(void);
void (iv_validate_now)(void);

/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
const struct timespec *__iv_now_location(void)
{
	return &iv_state_for("iv_now")->clock.now;
}

void (iv_validate_now)(void)
{
	(void)iv_clock_now(iv_state_for("iv_validate_now"));
}

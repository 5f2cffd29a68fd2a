/*
 * libivykis: points in time and spans of it.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A user may set tv_nsec to anything: a time is the sum of both members.
 */

#ifndef IV_TIME_H
#define IV_TIME_H

#include <time.h>

#pragma GCC visibility push(hidden)

#define IV_NSEC_PER_SEC	1000000000L

struct timespec iv_time_normalised_odd(const struct timespec *ts);
int iv_time_compare_odd(const struct timespec *a, const struct timespec *b);

static inline int iv_time_is_normal(const struct timespec *ts)
{
	return ts->tv_nsec >= 0 && ts->tv_nsec < IV_NSEC_PER_SEC;
}

static inline struct timespec iv_time_normalised(const struct timespec *ts)
{
	return iv_time_is_normal(ts) ? *ts : iv_time_normalised_odd(ts);
}

/* Negative, 0 or positive: a is earlier than b, equal, or later. */
static inline int
iv_time_compare(const struct timespec *a, const struct timespec *b)
{
	if (!iv_time_is_normal(a) || !iv_time_is_normal(b))
		return iv_time_compare_odd(a, b);
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec ? -1 : 1;

	return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

/* {0, 0}: in the past on every clock. */
static inline int iv_time_is_zero(const struct timespec *ts)
{
	return ts->tv_sec == 0 && ts->tv_nsec == 0;
}

/* What the clock of all loops, CLOCK_MONOTONIC, reads. */
void iv_time_read(struct timespec *now);

/*
 * The time that comes after the given span, which is normalised and not
 * negative; the last time that a time_t can hold if that is beyond it.
 */
struct timespec iv_time_in(const struct timespec *span);

/* *left = the span until the given time, or {0, 0}. */
void iv_time_left(struct timespec *left, const struct timespec *until);

/* The same in milliseconds, rounded up, at most a day; -1 if until is NULL. */
int iv_time_left_ms(const struct timespec *until);

#pragma GCC visibility pop

#endif

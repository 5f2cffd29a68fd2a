/*
 * libivykis: points in time and spans of it.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How long to wait is computed from a fresh reading of the clock, as handlers
 * may have run for long since the loop read it.
 */

#include <errno.h>
#include <iv.h>
#include <stdint.h>
#include <string.h>
#include "iv_time.h"

#define MSEC_PER_DAY	86400000

void iv_time_read(struct timespec *now)
{
	if (clock_gettime(CLOCK_MONOTONIC, now) < 0 &&
	    clock_gettime(CLOCK_REALTIME, now) < 0)
		iv_fatal("iv_now: no clock can be read: %s (errno %d)",
			 strerror(errno), errno);
}

struct timespec iv_time_normalised_odd(const struct timespec *ts)
{
	time_t carry = ts->tv_nsec / IV_NSEC_PER_SEC;
	struct timespec ret = {
		.tv_nsec = ts->tv_nsec % IV_NSEC_PER_SEC,
	};

	if (ret.tv_nsec < 0) {
		ret.tv_nsec += IV_NSEC_PER_SEC;
		carry--;
	}
	if (__builtin_add_overflow(ts->tv_sec, carry, &ret.tv_sec)) {
		/* As near to the sum as a time_t goes. */
		ret.tv_sec = ts->tv_sec;
		ret.tv_nsec = carry > 0 ? IV_NSEC_PER_SEC - 1 : 0;
	}

	return ret;
}

int iv_time_compare_odd(const struct timespec *a, const struct timespec *b)
{
	struct timespec na = iv_time_normalised(a);
	struct timespec nb = iv_time_normalised(b);

	return iv_time_compare(&na, &nb);
}

struct timespec iv_time_in(const struct timespec *span)
{
	struct timespec end;

	iv_time_read(&end);
	end.tv_nsec += span->tv_nsec;
	if (__builtin_add_overflow(end.tv_sec, span->tv_sec, &end.tv_sec))
		end.tv_sec = (UINT64_C(1) << (8 * sizeof(time_t) - 1)) - 1;

	return iv_time_normalised(&end);
}

void iv_time_left(struct timespec *left, const struct timespec *until)
{
	struct timespec now;

	*left = (struct timespec){ 0 };
	if (iv_time_is_zero(until))
		return;

	iv_time_read(&now);
	if (iv_time_compare(until, &now) <= 0)
		return;

	left->tv_sec = until->tv_sec - now.tv_sec;
	left->tv_nsec = until->tv_nsec - now.tv_nsec;
	if (left->tv_nsec < 0) {
		left->tv_sec--;
		left->tv_nsec += IV_NSEC_PER_SEC;
	}
}

int iv_time_left_ms(const struct timespec *until)
{
	struct timespec left;

	if (until == NULL)
		return -1;

	iv_time_left(&left, until);
	if (left.tv_sec >= MSEC_PER_DAY / 1000)
		return MSEC_PER_DAY;

	return left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000;
}

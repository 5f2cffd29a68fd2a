/*
 * libivykis: what is not a cancellation point.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_CANCEL_H
#define IV_CANCEL_H

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

/*
 * A thread that is cancelled ends at the next cancellation point, close(2),
 * read(2) and write(2) among them.  Code that must not be left half done runs
 * between these two, so that the thread ends at the caller's next cancellation
 * point instead.  Do not call user functions there.
 */
static inline int iv_cancel_disable(void)
{
	int state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);

	return state;
}

static inline void iv_cancel_restore(int state)
{
	(void)pthread_setcancelstate(state, NULL);
}

/* close(2) that is not a cancellation point, and keeps errno. */
static inline void iv_close(int fd)
{
	int saved_errno = errno;
	int state = iv_cancel_disable();

	(void)close(fd);
	iv_cancel_restore(state);
	errno = saved_errno;
}

#endif

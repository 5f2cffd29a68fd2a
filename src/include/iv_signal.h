/*
 * libivykis: signals, handled in a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_SIGNAL_H
#define __IV_SIGNAL_H

#include <iv.h>
#include <iv_avl.h>
#include <iv_event_raw.h>
#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Only one object with this flag is notified of a signal, instead of all. */
#define IV_SIGNAL_FLAG_EXCLUSIVE	1

/*
 * The object is for signals that are delivered to the thread that registers it.
 */
#define IV_SIGNAL_FLAG_THIS_THREAD	2

/*
 * The signal makes handler(cookie) run in the loop of the thread that
 * registered the object, its owner, and not in signal context.  Signals that
 * arrive before the handler starts are coalesced into one call.
 *
 * The candidates for a signal are the objects with IV_SIGNAL_FLAG_THIS_THREAD
 * of the thread to which it was delivered, or, if there are none, all objects
 * without that flag.  All candidates are notified, unless some have
 * IV_SIGNAL_FLAG_EXCLUSIVE: then only one of these is.  A SIGSEGV, SIGBUS,
 * SIGFPE or SIGILL that was caused by an instruction notifies no object: the
 * disposition that the first object found is restored.
 */
struct iv_signal {
	int			signum;
	unsigned int		flags;
	void			*cookie;
	void			(*handler)(void *);

	struct iv_avl_node	an;		/* private */
	uint8_t			active;
	struct iv_event_raw	ev;
};

/*
 * Does nothing, even to an object that is registered.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_SIGNAL_INIT(struct iv_signal *s)
{
	(void)s;
}

/*
 * Makes the calling thread the owner; the first object of the process for a
 * signal installs a signal handler (SA_RESTART, SA_ONSTACK).  Returns 0, or -1
 * with errno set and nothing registered: EINVAL if signum is not a signal that
 * can be caught, EMFILE, ENFILE, ENOMEM or ENOSPC if no descriptor is
 * available.  May be called from any thread that has a loop.  The private
 * members need not be initialised.
 */
int iv_signal_register(struct iv_signal *s);

/*
 * Withdraws the object: the handler does not run afterwards, and the memory may
 * be freed at once.  A signal of which an EXCLUSIVE object was notified, and
 * whose handler has not started, is passed on to the remaining candidates.  The
 * last object of the process for a signal restores the disposition that the
 * first one found.  May be called from the owner, including the object's own
 * handler.
 */
void iv_signal_unregister(struct iv_signal *s);

#ifdef __cplusplus
}
#endif

#endif

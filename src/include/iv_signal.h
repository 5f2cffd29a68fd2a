/*
 * libivykis: a call made in a loop when a signal came.
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

/* The object keeps a signal from the others of its kind. */
#define IV_SIGNAL_FLAG_EXCLUSIVE	1

/* The object is for signals that are delivered to the registering thread. */
#define IV_SIGNAL_FLAG_THIS_THREAD	2

/*
 * The signal makes handler(cookie) run in the thread that registered the
 * object, outside signal context.  Signals that come before the handler
 * starts are one call.  A signal is for the objects with FLAG_THIS_THREAD of
 * the thread that it was delivered to, or, if there are none, for all objects
 * without it; of those an EXCLUSIVE one gets it alone.  A SIGSEGV, SIGBUS,
 * SIGFPE or SIGILL that an instruction caused notifies no object: it gets the
 * disposition back that it had before the first of them.
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

/* Does nothing, also to an object that is registered.  Any thread. */
static inline void IV_SIGNAL_INIT(struct iv_signal *s)
{
	(void)s;
}

/*
 * Watch for the signal; the process's first object for it installs a signal
 * handler (SA_RESTART, SA_ONSTACK).  Returns 0, or -1 with errno set and
 * nothing registered: signum is no signal or cannot be caught (EINVAL), or no
 * descriptor is available (EMFILE, ENFILE, ENOMEM, ENOSPC).  Loop thread.  The
 * private members need not be initialised.
 */
int iv_signal_register(struct iv_signal *s);

/*
 * Withdraw: the handler does not run afterwards.  A signal that an EXCLUSIVE
 * object was notified of and has not handled passes on to the next object.
 * The process's last object for a signal restores the disposition that the
 * first one found.  Owner, any handler, the object's own included; the memory
 * may be freed at once.
 */
void iv_signal_unregister(struct iv_signal *s);

#ifdef __cplusplus
}
#endif

#endif

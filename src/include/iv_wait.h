/*
 * libivykis: a call made in a loop when a child process changed its state.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_WAIT_H
#define __IV_WAIT_H

#include <iv_avl.h>
#include <iv_event.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The status of a child that has ended, but that somebody else has waited for,
 * or nobody because SIGCHLD was ignored.  No child gives it to wait4(2), and to
 * WIFEXITED() and WEXITSTATUS() it is one that exited with 255.
 */
#define IV_WAIT_STATUS_UNKNOWN	0x1ff00

/*
 * handler(cookie, status, rusage) runs in the registering thread each time
 * the child pid stops, continues or ends, with what wait4(2) returned, or with
 * IV_WAIT_STATUS_UNKNOWN and zeroes; *rusage is valid only during the call.
 * The end is always reported and is the last report.  Children without an
 * interest are never waited for.
 */
struct iv_wait_interest {
	pid_t		pid;
	void		*cookie;
	void		(*handler)(void *cookie, int status,
				   const struct rusage *rusage);

	void		*watch;			/* private */
	void		*pad[12];
};

/* Does nothing, also to an interest that is registered.  Any thread. */
static inline void IV_WAIT_INTEREST_INIT(struct iv_wait_interest *w)
{
	(void)w;
}

/*
 * Watch the child pid of this process, whichever thread forked it, also if it
 * is dead already and not waited for.  Whatever the call needs and cannot
 * have is fatal.  Loop thread.  The private members may hold anything.
 */
void iv_wait_interest_register(struct iv_wait_interest *w);

/*
 * The same, but for what it cannot have: 0, or -1 with errno (EMFILE, ENFILE,
 * ENOMEM, ENOSPC) and nothing registered.  Loop thread.  Since 0.45.
 */
int iv_wait_interest_register_try(struct iv_wait_interest *w);

/*
 * Fork a child that calls fn(cookie) and then exit(1), set pid, and watch it.
 * Signals that iv_signal objects catch have their default disposition in the
 * child.  0, or -1 with errno and nothing registered, whereby all but fork
 * (EAGAIN, ENOMEM) fails before there is a child (EMFILE, ENFILE, ENOMEM,
 * ENOSPC).  Loop thread.
 */
int iv_wait_interest_register_spawn(struct iv_wait_interest *w,
				    void (*fn)(void *cookie), void *cookie);

/*
 * Withdraw: the handler does not run afterwards.  The child is left alone.
 * Owner, any handler, the object's own included; the memory may be freed at
 * once.
 */
void iv_wait_interest_unregister(struct iv_wait_interest *w);

/*
 * Send the child a signal, or none if sig is 0.  0, or -1 with errno, as
 * kill(2) says; -ESRCH without errno once its death was collected, so that no
 * other process with the same number is ever meant.  Any thread, while w is
 * registered.
 */
int iv_wait_interest_kill(const struct iv_wait_interest *w, int sig);

#ifdef __cplusplus
}
#endif

#endif

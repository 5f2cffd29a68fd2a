/*
 * libivykis: child process state changes.
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
 * The status of a child that has terminated and that other code has waited for,
 * or that the kernel has discarded because SIGCHLD was ignored.  wait4(2) never
 * returns it; WIFEXITED() and WEXITSTATUS() interpret it as an exit with 255.
 */
#define IV_WAIT_STATUS_UNKNOWN	0x1ff00

/*
 * handler(cookie, status, rusage) runs in the loop of the thread that
 * registered the interest, its owner, whenever the child pid stops, continues
 * or terminates.  status and *rusage are as returned by wait4(2), or
 * IV_WAIT_STATUS_UNKNOWN and zeroes; *rusage is valid only during the call.
 * Termination is always reported and is the last report.  Children in which
 * there is no interest are never waited for.
 */
struct iv_wait_interest {
	pid_t		pid;
	void		*cookie;
	void		(*handler)(void *cookie, int status,
				   const struct rusage *rusage);

	void		*watch;			/* private */
	void		*pad[12];
};

/*
 * Does nothing, even to an interest that is registered.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_WAIT_INTEREST_INIT(struct iv_wait_interest *w)
{
	(void)w;
}

/*
 * Watches the child pid of this process, whichever thread forked it, even if it
 * has terminated and has not been waited for.  Failure is fatal.  May be called
 * from any thread that has a loop.  The private members need not be
 * initialised.
 */
void iv_wait_interest_register(struct iv_wait_interest *w);

/*
 * Does the same, but returns 0, or -1 with errno set (EMFILE, ENFILE, ENOMEM,
 * ENOSPC) and nothing registered.  May be called from any thread that has a
 * loop.  Since 0.45.
 */
int iv_wait_interest_register_try(struct iv_wait_interest *w);

/*
 * Forks a child that calls fn(cookie) and then exit(1), sets pid and watches
 * the child, in which signals that iv_signal objects catch have their default
 * disposition.  Returns 0, or -1 with errno set (EAGAIN, EMFILE, ENFILE,
 * ENOMEM, ENOSPC), nothing registered and no child forked.  May be called from
 * any thread that has a loop.
 */
int iv_wait_interest_register_spawn(struct iv_wait_interest *w,
				    void (*fn)(void *cookie), void *cookie);

/*
 * Withdraws the interest: its handler does not run afterwards, and the memory
 * may be freed at once.  The child keeps running, and the program must wait for
 * it.  May be called from the owner, including any of its handlers.
 */
void iv_wait_interest_unregister(struct iv_wait_interest *w);

/*
 * Sends the child a signal, or none if sig is 0.  Returns 0, or -1 with errno
 * set, like kill(2).  When the child's termination has been collected, it only
 * returns -ESRCH and leaves errno unchanged, so that no later process with the
 * same ID gets a signal.  May be called from any thread while w is registered.
 */
int iv_wait_interest_kill(const struct iv_wait_interest *w, int sig);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: threads that the loop of their creator joins.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The creator of a thread gets no handle and no result.  The thread keeps the
 * creator's iv_main() running until it has exited and has been joined.
 */

#ifndef __IV_THREAD_H
#define __IV_THREAD_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Calls start_routine(arg) in a new thread, which inherits the signal mask and
 * has no loop until it calls iv_init().  It may exit by returning, by
 * pthread_exit(3) or by being cancelled, and is joined by the caller's loop; if
 * that is destroyed first, the thread is detached and continues.  The name,
 * which is copied, appears in the output of the functions below and is the
 * kernel's name of the thread; NULL is an empty name.  Returns 0, or -1 with
 * errno set (EAGAIN, EMFILE, ENFILE, ENOMEM, ENOSPC) and no thread started.
 * May be called from any thread that has a loop.
 */
int iv_thread_create(const char *name, void (*start_routine)(void *),
		     void *arg);

/*
 * If state is not 0, the start, exit and joining of each thread of the process
 * are logged to standard error from now on.  May be called from any thread,
 * even before the first iv_init().
 */
void iv_thread_set_debug_state(int state);

/*
 * Returns the kernel's ID of the calling thread, like iv_get_thread_id().  May
 * be called from any thread and from signal handlers.
 */
unsigned long iv_thread_get_id(void);

/*
 * Writes the IDs and names of the calling thread and of the threads that it has
 * created and not joined yet to standard error.  The ID of a thread that has
 * not run yet is 0.  May be called from any thread that has a loop.
 */
void iv_thread_list_children(void);

#ifdef __cplusplus
}
#endif

#endif

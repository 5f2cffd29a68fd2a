/*
 * libivykis: threads that are joined by the loop of the thread that made them.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The maker of a thread gets no handle and no result: its iv_main() does not
 * return by itself before the thread has ended and has been joined.
 */

#ifndef __IV_THREAD_H
#define __IV_THREAD_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Run start_routine(arg) in a new thread, which inherits the signal mask and
 * has no loop until it calls iv_init().  It may end by returning, by
 * pthread_exit(3) or by being cancelled, and is joined in the caller's loop; if
 * that ends first, the thread goes on, detached.  The name, which is copied,
 * shows in the output of the two functions below; NULL: an empty one.  0, or
 * -1 with errno (EAGAIN, EMFILE, ENFILE, ENOMEM, ENOSPC): nothing was started
 * and nothing is left behind.  Loop thread.
 */
int iv_thread_create(const char *name, void (*start_routine)(void *),
		     void *arg);

/*
 * Other than 0: tell on stderr of each thread that is started, ends and is
 * joined from now on, in the whole process.  Any thread, also before the first
 * iv_init().
 */
void iv_thread_set_debug_state(int state);

/* Kernel thread id of the caller, as iv_get_thread_id().  Any thread. */
unsigned long iv_thread_get_id(void);

/*
 * List the calling thread and the threads that it made and has not joined yet,
 * by id and name, on stderr.  The id of one that has yet to run is 0.  Loop
 * thread.
 */
void iv_thread_list_children(void);

#ifdef __cplusplus
}
#endif

#endif

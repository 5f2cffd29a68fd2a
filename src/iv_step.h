/*
 * libivykis: where others may come in between.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * iv_step() stands between two steps of what is atomic one by one only: another
 * thread, a signal handler, a fork, a cancellation or the end of the process may
 * come there.  It is nothing, unless the library is compiled for a test program
 * that defines iv_step_hook() to bring that about.  The program runs it in
 * signal handlers and with locks held.
 */

#ifndef IV_STEP_H
#define IV_STEP_H

#ifdef IV_STEPS
void iv_step_hook(const char *file, int line);
#define iv_step()	iv_step_hook(__FILE__, __LINE__)
#else
#define iv_step()	((void)0)
#endif

#endif

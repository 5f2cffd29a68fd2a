/*
 * libivykis: what the two halves of the differential test share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef DIFFERENTIAL_H
#define DIFFERENTIAL_H

#include <stdint.h>
#include <sys/types.h>

#define MSEC	INT64_C(1000000)

/*
 * A trace has several streams.  The lines of each stream are in order; there is
 * no order among lines of different streams.
 */
enum { IN_LOOP = 0, IN_THREAD = 10, IN_WAIT = 60, IN_POPEN = 70 };

/* Append a line to a stream. */
void put(int stream, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* differential_world.c */

/* From now on the calling thread is the main one, and has a virtual clock. */
void world_begin(void);

/* In nanoseconds; the main thread's clock only moves in its waits. */
int64_t world_now(void);
void world_advance(int64_t nsec);

/* Not 0 in a call other than iv_main(), in which poll() is no wait. */
extern int world_in_call;

/* The number of waits that the main thread has begun. */
extern unsigned int world_waits;

/* 0 in the main thread; other threads are numbered as they are created. */
int world_thread(void);

/* Run a function in a thread, which has ended when this returns. */
void world_run_thread(void *(*start)(void *), void *arg);

/* Return once the main thread is waiting. */
void world_gate(void);

/* What the next child to be forked, or this child, will do without a signal. */
enum world_expected { NOTHING, ENDS, STOPS, CONTINUES };
extern enum world_expected world_next_child;
extern pid_t world_last_child;
void world_expect(pid_t pid, enum world_expected what);

/*
 * Called in a child that neither ends nor executes a program: lets fork()
 * return in the parent.
 */
void world_started(void);

/* Called when the loop has ended, and its descriptors are closed. */
void world_loop_ended(void);

/* differential_player.c */

/*
 * The rank of a ready descriptor in the order in which they are reported; 0 for
 * the library's own.  Those of raw events and signals begin with RANK_OF_RAWS.
 */
#define RANK_OF_RAWS	30
int rank_of(int fd);

/*
 * The largest number of descriptors that one wait may report.  If 0, it reports
 * the library's own, or else one.
 */
int most_reports(void);

/* Called in a wait of the main thread before descriptors are checked. */
void before_check(void);

/* Called if nothing is ready; returns 1 if it has made something ready. */
int before_sleep(void);

/* Called if nothing can end the wait. */
void stuck(void) __attribute__((noreturn));

#endif

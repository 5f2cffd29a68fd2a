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
 * A trace has several streams.  Lines of one stream are compared in order;
 * there is no order among those of different streams.
 */
enum { IN_LOOP = 0, IN_THREAD = 10, IN_WAIT = 60, IN_POPEN = 70 };

void say(int stream, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* differential_world.c */

/* From now on the calling thread is the main one and has a virtual clock. */
void world_begin(void);

/* Nanoseconds; the main thread's clock stands still except in its waits. */
int64_t world_now(void);
void world_advance(int64_t nsec);

/* Not 0: poll() is part of a call that is not iv_main(). */
extern int world_in_call;

/* Waits that the main thread has begun. */
extern unsigned int world_waits;

/* 0 for the main thread; others are numbered as they are created. */
int world_thread(void);

/* A thread that is over when this returns. */
void world_run_thread(void *(*start)(void *), void *arg);

/* Returns when the main thread is waiting. */
void world_gate(void);

/* What the next child that is forked, or this one, will do by itself. */
enum world_expected { NOTHING, ENDS, STOPS, CONTINUES };
extern enum world_expected world_next_child;
extern pid_t world_last_child;
void world_expect(pid_t pid, enum world_expected what);

/* In a child that neither ends nor executes a program: fork() may return. */
void world_started(void);

/* There is no loop left: its descriptors are gone. */
void world_loop_ended(void);

/* differential_player.c */

/* Ready descriptors are reported in this order; 0: it is the library's own. */
#define RANK_OF_RAWS	30	/* ... and signals, from here */
int rank_of(int fd);

/* So many at a time; 0: the library's own, or if there are none, one. */
int most_reports(void);

/* What happens while the main thread waits. */
void before_look(void);

/* There is nothing to do: 1 if there is now. */
int before_sleep(void);

void stuck(void) __attribute__((noreturn));

#endif

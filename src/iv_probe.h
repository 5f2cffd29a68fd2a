/*
 * libivykis: static probes, to trace a program that runs.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A probe is a nop, and a note in the ELF file that tells a tracer where it is
 * and in which registers its arguments are.  Tracing puts a trap in its place;
 * nothing looks whether somebody traces.  Names and arguments are told to users
 * in the section Tracing of ivykis(3).
 */

#ifndef IV_PROBE_H
#define IV_PROBE_H

#ifdef ENABLE_PROBES
/* Where a register has it already: clang would store it for the probe. */
#define STAP_SDT_ARG_CONSTRAINT	nr
#include <sys/sdt.h>
#else
#define DTRACE_PROBE1(provider, name, a)	do { } while (0)
#define DTRACE_PROBE2(provider, name, a, b)	do { } while (0)
#endif

/* A post made a system call; the object may be gone, its address counts. */
#define IV_PROBE_RAW_WRITTEN(event)	\
	DTRACE_PROBE1(ivykis, raw_written, event)

/* A post made no system call. */
#define IV_PROBE_RAW_SKIPPED(event)	\
	DTRACE_PROBE1(ivykis, raw_skipped, event)

/* The loop was rung for. */
#define IV_PROBE_RAW_DOORBELL(event)	\
	DTRACE_PROBE1(ivykis, raw_doorbell, event)

/* The handler is about to be called. */
#define IV_PROBE_RAW_DELIVERED(event)	\
	DTRACE_PROBE1(ivykis, raw_delivered, event)

/* The loop asks the kernel, until a time; NULL: no limit, {0, 0}: no sleep. */
#define IV_PROBE_LOOP_SLEEP(loop, until)	\
	DTRACE_PROBE2(ivykis, loop_sleep, loop, until)

/* The kernel has answered. */
#define IV_PROBE_LOOP_WAKE(loop)	\
	DTRACE_PROBE1(ivykis, loop_wake, loop)

/* The loop has polled before it would sleep. */
#define IV_PROBE_LOOP_POLLED(loop, hit)	\
	DTRACE_PROBE2(ivykis, loop_polled, loop, hit)

#endif

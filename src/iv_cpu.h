/*
 * libivykis: what differs between processors.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_CPU_H
#define IV_CPU_H

#include <stdatomic.h>

/*
 * A full fence.  Compilers emit an mfence, or a locked operation on what the
 * stack pointer points to.  That is the return address, so a function that
 * returns right afterwards waits for it; nothing waits for what is below it.
 */
static inline void iv_full_fence(void)
{
#ifdef __x86_64__
	__asm__ __volatile__("lock; addl $0, -4(%%rsp)" ::: "memory", "cc");
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* The same, right after a sequentially consistent read-modify-write. */
static inline void iv_fence_after_atomic(void)
{
#ifdef __x86_64__
	atomic_signal_fence(memory_order_seq_cst);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* To be called in a loop that waits for another processor. */
static inline void iv_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

#endif

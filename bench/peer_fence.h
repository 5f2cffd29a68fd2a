/*
 * libivykis: the least that a coalesced post can cost.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A post that finds one pending has to order the caller's stores before a load
 * of the shared word that confirms it: two loads and a full fence, which is
 * one locked instruction on x86.  The loop delivers one post and ends.
 *
 * Compiled twice: written in place, and called as the functions of a library
 * are.  A call stores its return address, and the fence waits for that store.
 */

#include <stdatomic.h>

#ifdef CALLED
#define PEER		"fence-called"
#else
#define PEER		"fence"
#endif
#define ACROSS_FORK	1
#define NO_TIMERS	1

static inline void peer_describe(void)
{
	printf("version two loads around a fence\n");
}

struct wake;

struct loop {
	struct wake	*wake;
};

typedef void (*wake_handler)(void *cookie);

#define WAKE_HANDLER(name)	static void name(void *cookie)

struct wake {
	atomic_int	*pending;	/* shared with forked children */
	wake_handler	handler;
	void		*cookie;
};

static inline void loop_new(struct loop *l)
{
	l->wake = NULL;
}

static inline void loop_run(struct loop *l)
{
	if (atomic_exchange(l->wake->pending, 0))
		l->wake->handler(l->wake->cookie);
}

static inline void loop_quit(struct loop *l)
{
	(void)l;
}

static inline void loop_free(struct loop *l)
{
	(void)l;
}

static inline void wake_new(struct loop *l, struct wake *w,
			    wake_handler handler, void *cookie)
{
	w->pending = shared_new(sizeof(*w->pending));
	w->handler = handler;
	w->cookie = cookie;
	l->wake = w;
}

static inline void wake_free(struct wake *w)
{
	shared_free(w->pending, sizeof(*w->pending));
}

/* The compiler's fence would write to the word of the return address. */
static inline void full_fence(void)
{
#if defined(CALLED) && defined(__x86_64__)
	__asm__ __volatile__("lock; addl $0, -4(%%rsp)" ::: "memory", "cc");
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline void post_in_place(struct wake *w)
{
	if (atomic_load_explicit(w->pending, memory_order_relaxed)) {
		full_fence();
		if (atomic_load_explicit(w->pending, memory_order_relaxed))
			return;
	}
	atomic_store(w->pending, 1);
}

#ifdef CALLED
static __attribute__((noinline)) void post_by_call(struct wake *w)
{
	post_in_place(w);
}

/* A library's function is called by an address in memory, too. */
static void (*volatile linked)(struct wake *w) = post_by_call;
#endif

static inline void post(struct wake *w)
{
#ifdef CALLED
	linked(w);
#else
	post_in_place(w);
#endif
}

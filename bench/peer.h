/*
 * libivykis: the interface between the rows of the benchmarks and a peer.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * PEER_H names the header of the peer.  It defines
 *
 *	PEER			its name, a string
 *	peer_describe()		prints "KEY VALUE" lines for peers.py: the
 *				version that runs, which must be that of the
 *				headers, and the library's file
 *	ACROSS_FORK		defined if forked children may post; then
 *				can_prepare() returns whether wake_prepare() can
 *				make a wake without a loop, which wake_adopt()
 *				gives to a loop after a fork
 *	NO_TIMERS		defined if the peer has no timers
 *	struct loop		one event loop, of the thread that made it
 *	struct wake		called in its loop after post() in any thread
 *	struct task		called once, soon after task_again()
 *	struct watch		called while a descriptor is readable
 *	struct timer		called once, some microseconds after timer_arm()
 *				or, while it is armed, timer_move()
 *	X_HANDLER(name)		begins the definition of a handler of an X; in
 *				the body, cookie is what x_new() was given
 *	loop_new loop_run loop_quit loop_free
 *	wake_new wake_free post (and wake_handler, its type)
 *	task_new task_free task_again
 *	watch_new watch_free
 *	timer_new timer_free timer_arm timer_move
 *
 * loop_quit() is called in handlers.  Objects are freed once no thread is
 * posting to them, and their memory after loop_free().  Where a peer offers
 * several ways, the one that its manual recommends is used; each header names
 * it.
 */

#ifndef PEER_COMMON_H
#define PEER_COMMON_H

#include <stdio.h>
#include "bench.h"

#define UNUSED		__attribute__((unused))

/* For peers whose handlers are called with an object that has the cookie. */
#define OBJECT_HANDLER(name, cookie_of, ...)				\
	static inline void name##_body(void *cookie);			\
	static void name(__VA_ARGS__)					\
	{								\
		name##_body(cookie_of);					\
	}								\
	static inline void name##_body(void *cookie)

#include PEER_H

static inline void wakes_new(struct loop *l, struct wake *wakes, int num,
			     wake_handler handler, void *cookie)
{
	int i;

	for (i = 0; i < num; i++)
		wake_new(l, &wakes[i], handler, cookie);
}

static inline void wakes_free(struct wake *wakes, int num)
{
	int i;

	for (i = 0; i < num; i++)
		wake_free(&wakes[i]);
}

#endif

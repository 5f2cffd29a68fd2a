/*
 * libivykis: what the rows of the benchmarks ask of a peer.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * PEER_H names the header of the peer.  It defines
 *
 *	PEER			its name, a string
 *	peer_say()		prints "KEY VALUE" lines for peers.py: the version
 *				that runs, which is to be that of the headers,
 *				and the file that it comes from
 *	ACROSS_FORK		defined if forked children may post; then also
 *				can_prepare(): wake_prepare() makes a wake without
 *				a loop, wake_adopt() gives it one after a fork
 *	NO_TIMERS		defined if it has none
 *	struct loop		one event loop, of the thread that made it
 *	struct wake		called in its loop after post() in any thread
 *	struct task		called once more after task_again(), soon
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
 * loop_quit() is called in handlers.  Objects are freed only once nobody is
 * inside a post to them any more, and their memory after loop_free().  What
 * the peer offers several means for is done by the one that its manual has for
 * it; each header says which.
 */

#ifndef PEER_COMMON_H
#define PEER_COMMON_H

#include <stdio.h>
#include "bench.h"

#define UNUSED		__attribute__((unused))

/* A handler that is called with its object, which holds the cookie. */
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

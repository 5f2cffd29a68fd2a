/*
 * libivykis: the benchmarks on libevent.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * By user-triggered events, its own means for a call in another thread's loop.
 */

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>
#include "bench.h"

#define PEER		"libevent"
#define PEER_VERSION	event_get_version()

struct loop {
	struct event_base	*base;
};

struct wake {
	struct event	event;
};

typedef event_callback_fn wake_handler;

#define WAKE_HANDLER(name)						\
	static inline void name##_body(void *cookie);			\
	static void name(evutil_socket_t fd, short what, void *cookie)	\
	{								\
		(void)fd;						\
		(void)what;						\
		name##_body(cookie);					\
	}								\
	static inline void name##_body(void *cookie)

/* Before the first base is made; every base then has a lock. */
__attribute__((constructor))
static void use_threads(void)
{
	must(evthread_use_pthreads() == 0);
}

static inline void loop_new(struct loop *l)
{
	l->base = event_base_new();
	must(l->base != NULL);
}

static inline void loop_run(struct loop *l)
{
	(void)event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static inline void loop_quit(struct loop *l)
{
	(void)event_base_loopbreak(l->base);
}

static inline void loop_free(struct loop *l)
{
	event_base_free(l->base);
}

static inline void wake_new(struct loop *l, struct wake *w,
			    wake_handler handler, void *cookie)
{
	must(event_assign(&w->event, l->base, -1, EV_PERSIST, handler,
			  cookie) == 0);
	must(event_add(&w->event, NULL) == 0);
}

static inline void wake_free(struct wake *w)
{
	must(event_del(&w->event) == 0);
}

static inline void post(struct wake *w)
{
	evuser_trigger(&w->event);
}

#include "workloads.h"

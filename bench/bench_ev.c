/*
 * libivykis: the benchmarks on libev.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <ev.h>
#include "bench.h"

#define STRING(x)	#x
#define DOTTED(a, b)	STRING(a) "." STRING(b)

#define PEER		"libev"
#define PEER_VERSION	DOTTED(EV_VERSION_MAJOR, EV_VERSION_MINOR)

struct loop {
	struct ev_loop	*ev;
};

struct wake {
	ev_async	async;
	struct ev_loop	*ev;
};

typedef void (*wake_handler)(struct ev_loop *ev, ev_async *async, int revents);

#define WAKE_HANDLER(name)						\
	static inline void name##_body(void *cookie);			\
	static void name(struct ev_loop *ev, ev_async *async, int revents) \
	{								\
		(void)ev;						\
		(void)revents;						\
		name##_body(async->data);				\
	}								\
	static inline void name##_body(void *cookie)

static inline void loop_new(struct loop *l)
{
	l->ev = ev_loop_new(EVFLAG_AUTO);
	must(l->ev != NULL);
}

static inline void loop_run(struct loop *l)
{
	(void)ev_run(l->ev, 0);
}

static inline void loop_quit(struct loop *l)
{
	ev_break(l->ev, EVBREAK_ONE);
}

static inline void loop_free(struct loop *l)
{
	ev_loop_destroy(l->ev);
}

static inline void wake_new(struct loop *l, struct wake *w,
			    wake_handler handler, void *cookie)
{
	ev_async_init(&w->async, handler);
	w->async.data = cookie;
	w->ev = l->ev;
	ev_async_start(w->ev, &w->async);
}

static inline void wake_free(struct wake *w)
{
	ev_async_stop(w->ev, &w->async);
}

static inline void post(struct wake *w)
{
	ev_async_send(w->ev, &w->async);
}

#include "workloads.h"

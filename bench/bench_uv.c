/*
 * libivykis: the benchmarks on libuv.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <uv.h>
#include "bench.h"

#define PEER		"libuv"
#define PEER_VERSION	uv_version_string()

struct loop {
	uv_loop_t	uv;
};

struct wake {
	uv_async_t	async;
};

typedef uv_async_cb wake_handler;

#define WAKE_HANDLER(name)						\
	static inline void name##_body(void *cookie);			\
	static void name(uv_async_t *async)				\
	{								\
		name##_body(async->data);				\
	}								\
	static inline void name##_body(void *cookie)

static inline void loop_new(struct loop *l)
{
	must(uv_loop_init(&l->uv) == 0);
}

static inline void loop_run(struct loop *l)
{
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

static inline void loop_quit(struct loop *l)
{
	uv_stop(&l->uv);
}

/* Closed handles belong to the loop until it has seen them. */
static inline void loop_free(struct loop *l)
{
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
	must(uv_loop_close(&l->uv) == 0);
}

static inline void wake_new(struct loop *l, struct wake *w,
			    wake_handler handler, void *cookie)
{
	must(uv_async_init(&l->uv, &w->async, handler) == 0);
	w->async.data = cookie;
}

static inline void wake_free(struct wake *w)
{
	uv_close((uv_handle_t *)&w->async, NULL);
}

static inline void post(struct wake *w)
{
	(void)uv_async_send(&w->async);
}

#include "workloads.h"

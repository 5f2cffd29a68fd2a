/*
 * libivykis: the benchmarks on libuv.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Wakes are uv_async_t, tasks uv_idle_t (called once per iteration until it is
 * stopped), descriptors uv_poll_t.
 */

#include <uv.h>

#define PEER		"libuv"

#define WAKE_HANDLER(name)						\
	OBJECT_HANDLER(name, async->data, uv_async_t *async)
#define TASK_HANDLER(name)						\
	OBJECT_HANDLER(name, idle->data, uv_idle_t *idle)
#define WATCH_HANDLER(name)						\
	OBJECT_HANDLER(name, poll->data, uv_poll_t *poll,		\
		       int status UNUSED, int events UNUSED)
#define TIMER_HANDLER(name)						\
	OBJECT_HANDLER(name, timer->data, uv_timer_t *timer)

static inline void peer_describe(void)
{
	must(uv_version() == UV_VERSION_HEX);
	printf("version %s\n", uv_version_string());
	printf("file %s\n", file_of("uv_version"));
}

struct loop {
	uv_loop_t	uv;
};

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

/* Closed handles belong to the loop until it has run once more. */
static inline void loop_free(struct loop *l)
{
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
	must(uv_loop_close(&l->uv) == 0);
}

struct wake {
	uv_async_t	async;
};

typedef uv_async_cb wake_handler;

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

struct task {
	uv_idle_t	idle;
	uv_idle_cb	handler;
};

static inline void task_new(struct loop *l, struct task *t,
			    uv_idle_cb handler, void *cookie)
{
	must(uv_idle_init(&l->uv, &t->idle) == 0);
	t->idle.data = cookie;
	t->handler = handler;
}

static inline void task_free(struct task *t)
{
	uv_close((uv_handle_t *)&t->idle, NULL);
}

static inline void task_again(struct task *t)
{
	(void)uv_idle_start(&t->idle, t->handler);
}

struct watch {
	uv_poll_t	poll;
};

static inline void watch_new(struct loop *l, struct watch *w, int fd,
			     uv_poll_cb handler, void *cookie)
{
	must(uv_poll_init(&l->uv, &w->poll, fd) == 0);
	w->poll.data = cookie;
	must(uv_poll_start(&w->poll, UV_READABLE, handler) == 0);
}

static inline void watch_free(struct watch *w)
{
	uv_close((uv_handle_t *)&w->poll, NULL);
}

struct timer {
	uv_timer_t	timer;
	uv_timer_cb	handler;
};

static inline void timer_new(struct loop *l, struct timer *t,
			     uv_timer_cb handler, void *cookie)
{
	must(uv_timer_init(&l->uv, &t->timer) == 0);
	t->timer.data = cookie;
	t->handler = handler;
}

static inline void timer_arm(struct timer *t, unsigned int usec)
{
	must(uv_timer_start(&t->timer, t->handler, usec / 1000, 0) == 0);
}

static inline void timer_move(struct timer *t, unsigned int usec)
{
	timer_arm(t, usec);
}

static inline void timer_free(struct timer *t)
{
	uv_close((uv_handle_t *)&t->timer, NULL);
}

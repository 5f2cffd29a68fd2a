/*
 * libivykis: the benchmarks on libev.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Wakes are ev_async, descriptors ev_io, tasks ev_idle (called once per
 * iteration until it is stopped) of the highest priority, as others are not
 * called while there is anything else to do; timers are moved by
 * ev_timer_again().
 */

#include <ev.h>

#define PEER		"libev"

#define EV_HANDLER(name, type)						\
	OBJECT_HANDLER(name, watcher->data, struct ev_loop *ev UNUSED,	\
		       type *watcher, int revents UNUSED)
#define WAKE_HANDLER(name)	EV_HANDLER(name, ev_async)
#define TASK_HANDLER(name)	EV_HANDLER(name, ev_idle)
#define WATCH_HANDLER(name)	EV_HANDLER(name, ev_io)
#define TIMER_HANDLER(name)	EV_HANDLER(name, ev_timer)

static inline void peer_describe(void)
{
	must(ev_version_major() == EV_VERSION_MAJOR);
	must(ev_version_minor() == EV_VERSION_MINOR);
	printf("version %d.%d\n", ev_version_major(), ev_version_minor());
	printf("file %s\n", file_of("ev_version_major"));
}

struct loop {
	struct ev_loop	*ev;
};

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

struct wake {
	ev_async	async;
	struct ev_loop	*ev;
};

typedef void (*wake_handler)(struct ev_loop *, ev_async *, int);

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

struct task {
	ev_idle		idle;
	struct ev_loop	*ev;
};

static inline void
task_new(struct loop *l, struct task *t,
	 void (*handler)(struct ev_loop *, ev_idle *, int), void *cookie)
{
	ev_idle_init(&t->idle, handler);
	ev_set_priority(&t->idle, EV_MAXPRI);
	t->idle.data = cookie;
	t->ev = l->ev;
}

static inline void task_free(struct task *t)
{
	ev_idle_stop(t->ev, &t->idle);
}

static inline void task_again(struct task *t)
{
	ev_idle_start(t->ev, &t->idle);
}

struct watch {
	ev_io		io;
	struct ev_loop	*ev;
};

static inline void
watch_new(struct loop *l, struct watch *w, int fd,
	  void (*handler)(struct ev_loop *, ev_io *, int), void *cookie)
{
	ev_io_init(&w->io, handler, fd, EV_READ);
	w->io.data = cookie;
	w->ev = l->ev;
	ev_io_start(w->ev, &w->io);
}

static inline void watch_free(struct watch *w)
{
	ev_io_stop(w->ev, &w->io);
}

struct timer {
	ev_timer	timer;
	struct ev_loop	*ev;
};

static inline void
timer_new(struct loop *l, struct timer *t,
	  void (*handler)(struct ev_loop *, ev_timer *, int), void *cookie)
{
	ev_timer_init(&t->timer, handler, 0., 0.);
	t->timer.data = cookie;
	t->ev = l->ev;
}

static inline void timer_arm(struct timer *t, unsigned int usec)
{
	ev_timer_set(&t->timer, usec / 1e6, 0.);
	ev_timer_start(t->ev, &t->timer);
}

static inline void timer_move(struct timer *t, unsigned int usec)
{
	t->timer.repeat = usec / 1e6;
	ev_timer_again(t->ev, &t->timer);
}

static inline void timer_free(struct timer *t)
{
	ev_timer_stop(t->ev, &t->timer);
}

/*
 * libivykis: the benchmarks on libevent.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Wakes and tasks are user-triggered events, by which libevent calls a handler
 * in another thread's loop, or soon in its own.
 */

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

#define PEER		"libevent"

#define EVENT_HANDLER(name)						\
	OBJECT_HANDLER(name, arg, evutil_socket_t fd UNUSED,		\
		       short what UNUSED, void *arg)
#define WAKE_HANDLER(name)	EVENT_HANDLER(name)
#define TASK_HANDLER(name)	EVENT_HANDLER(name)
#define WATCH_HANDLER(name)	EVENT_HANDLER(name)
#define TIMER_HANDLER(name)	EVENT_HANDLER(name)

static inline void peer_describe(void)
{
	must(event_get_version_number() == LIBEVENT_VERSION_NUMBER);
	printf("version %s\n", event_get_version());
	printf("file %s\n", file_of("event_get_version"));
}

struct loop {
	struct event_base	*base;
};

static inline void loop_new(struct loop *l)
{
	/* This precedes the first base, so that every base has a lock. */
	must(evthread_use_pthreads() == 0);
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

struct wake {
	struct event	event;
};

typedef event_callback_fn wake_handler;

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

struct task {
	struct wake	wake;
};

static inline void task_new(struct loop *l, struct task *t,
			    event_callback_fn handler, void *cookie)
{
	wake_new(l, &t->wake, handler, cookie);
}

static inline void task_free(struct task *t)
{
	wake_free(&t->wake);
}

static inline void task_again(struct task *t)
{
	post(&t->wake);
}

struct watch {
	struct event	event;
};

static inline void watch_new(struct loop *l, struct watch *w, int fd,
			     event_callback_fn handler, void *cookie)
{
	must(event_assign(&w->event, l->base, fd, EV_READ | EV_PERSIST,
			  handler, cookie) == 0);
	must(event_add(&w->event, NULL) == 0);
}

static inline void watch_free(struct watch *w)
{
	must(event_del(&w->event) == 0);
}

struct timer {
	struct event	event;
};

static inline void timer_new(struct loop *l, struct timer *t,
			     event_callback_fn handler, void *cookie)
{
	must(evtimer_assign(&t->event, l->base, handler, cookie) == 0);
}

static inline void timer_arm(struct timer *t, unsigned int usec)
{
	struct timeval tv = { usec / 1000000, usec % 1000000 };

	must(event_add(&t->event, &tv) == 0);
}

static inline void timer_move(struct timer *t, unsigned int usec)
{
	timer_arm(t, usec);
}

static inline void timer_free(struct timer *t)
{
	must(event_del(&t->event) == 0);
}

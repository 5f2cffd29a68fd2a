/*
 * libivykis: the benchmarks on libivykis.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compiled four times: against the library of this tree and the one that the
 * system has installed (NAME and IVYKIS_VERSION), each with wakeups by
 * iv_event_raw and, if BY_EVENT is defined, by iv_event.
 */

#include <dlfcn.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>

#ifndef BY_EVENT
/* NULL if the library that runs is older. */
int iv_event_raw_prepare(struct iv_event_raw *) __attribute__((weak));
int iv_event_raw_adopt(struct iv_event_raw *) __attribute__((weak));
#endif

#ifdef BY_EVENT
#define PEER		NAME "-event"
#else
#define PEER		NAME
#define ACROSS_FORK	1
#endif

typedef void (*handler_fn)(void *cookie);
typedef handler_fn wake_handler;

#define WAKE_HANDLER(name)	static void name(void *cookie)
#define TASK_HANDLER(name)	static void name(void *cookie)
#define WATCH_HANDLER(name)	static void name(void *cookie)
#define TIMER_HANDLER(name)	static void name(void *cookie)

static inline void peer_describe(void)
{
	iv_init();
	printf("version %s\n", IVYKIS_VERSION);
	printf("file %s\n", file_of("iv_event_raw_post"));
	printf("method %s\n", iv_poll_method_name());
	printf("busy-poll %s\n",
	       dlsym(RTLD_DEFAULT, "iv_set_busy_poll") != NULL ? "yes" : "no");
	iv_deinit();
}

/* The library keeps the thread's loop itself. */
struct loop {
	char	none;
};

static inline void loop_new(struct loop *l)
{
	(void)l;
	iv_init();
}

static inline void loop_run(struct loop *l)
{
	(void)l;
	iv_main();
}

static inline void loop_quit(struct loop *l)
{
	(void)l;
	iv_quit();
}

static inline void loop_free(struct loop *l)
{
	(void)l;
	iv_deinit();
}

#ifdef BY_EVENT

struct wake {
	struct iv_event	event;
};

static inline void wake_new(struct loop *l, struct wake *w, handler_fn handler,
			    void *cookie)
{
	(void)l;
	IV_EVENT_INIT(&w->event);
	w->event.cookie = cookie;
	w->event.handler = handler;
	must(iv_event_register(&w->event) == 0);
}

static inline void wake_free(struct wake *w)
{
	iv_event_unregister(&w->event);
}

static inline void post(struct wake *w)
{
	iv_event_post(&w->event);
}

#else

struct wake {
	struct iv_event_raw	raw;
};

static inline void wake_new(struct loop *l, struct wake *w, handler_fn handler,
			    void *cookie)
{
	(void)l;
	IV_EVENT_RAW_INIT(&w->raw);
	w->raw.cookie = cookie;
	w->raw.handler = handler;
	must(iv_event_raw_register(&w->raw) == 0);
}

static inline void wake_free(struct wake *w)
{
	iv_event_raw_unregister(&w->raw);
}

static inline void post(struct wake *w)
{
	iv_event_raw_post(&w->raw);
}

static inline int can_prepare(void)
{
	return iv_event_raw_prepare != NULL && iv_event_raw_adopt != NULL;
}

static inline void wake_prepare(struct wake *w)
{
	must(iv_event_raw_prepare(&w->raw) == 0);
}

static inline void wake_adopt(struct loop *l, struct wake *w,
			      handler_fn handler, void *cookie)
{
	(void)l;
	w->raw.cookie = cookie;
	w->raw.handler = handler;
	must(iv_event_raw_adopt(&w->raw) == 0);
}

#endif

struct task {
	struct iv_task	task;
};

static inline void task_new(struct loop *l, struct task *t, handler_fn handler,
			    void *cookie)
{
	(void)l;
	IV_TASK_INIT(&t->task);
	t->task.cookie = cookie;
	t->task.handler = handler;
}

static inline void task_free(struct task *t)
{
	(void)t;
}

static inline void task_again(struct task *t)
{
	iv_task_register(&t->task);
}

struct watch {
	struct iv_fd	fd;
};

static inline void watch_new(struct loop *l, struct watch *w, int fd,
			     handler_fn handler, void *cookie)
{
	(void)l;
	IV_FD_INIT(&w->fd);
	w->fd.fd = fd;
	w->fd.cookie = cookie;
	w->fd.handler_in = handler;
	iv_fd_register(&w->fd);
}

static inline void watch_free(struct watch *w)
{
	iv_fd_unregister(&w->fd);
}

struct timer {
	struct iv_timer	timer;
};

static inline void timer_new(struct loop *l, struct timer *t,
			     handler_fn handler, void *cookie)
{
	(void)l;
	IV_TIMER_INIT(&t->timer);
	t->timer.cookie = cookie;
	t->timer.handler = handler;
}

static inline void timer_arm(struct timer *t, unsigned int usec)
{
	t->timer.expires = iv_now;
	t->timer.expires.tv_sec += usec / 1000000;
	t->timer.expires.tv_nsec += usec % 1000000 * 1000;
	if (t->timer.expires.tv_nsec >= 1000000000) {
		t->timer.expires.tv_sec++;
		t->timer.expires.tv_nsec -= 1000000000;
	}
	iv_timer_register(&t->timer);
}

static inline void timer_move(struct timer *t, unsigned int usec)
{
	iv_timer_unregister(&t->timer);
	timer_arm(t, usec);
}

static inline void timer_free(struct timer *t)
{
	if (iv_timer_registered(&t->timer))
		iv_timer_unregister(&t->timer);
}

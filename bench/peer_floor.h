/*
 * libivykis: the benchmarks on system calls alone.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The same work, done by hand.  A wake is an eventfd: a post writes to it,
 * epoll_wait() reports it, a read empties it.  A task is called between two
 * calls of epoll_wait() that do not wait.  There are no timers.
 */

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PEER		"floor"
#define ACROSS_FORK	1
#define NO_TIMERS	1
#define BATCH		256

static inline void peer_describe(void)
{
	printf("version epoll and eventfd by hand\n");
}

typedef void (*handler_fn)(void *cookie);
typedef handler_fn wake_handler;

#define WAKE_HANDLER(name)	static void name(void *cookie)
#define TASK_HANDLER(name)	static void name(void *cookie)
#define WATCH_HANDLER(name)	static void name(void *cookie)

struct task {
	struct loop	*loop;
	handler_fn	handler;
	void		*cookie;
};

struct loop {
	int		epfd;
	int		quit;
	struct task	*task;		/* to be called, or NULL */
};

struct wake {
	int		fd;
	handler_fn	handler;
	void		*cookie;
};

struct watch {
	struct loop	*loop;
	int		fd;
	handler_fn	handler;
	void		*cookie;
};

/* This bit marks a report of epoll_wait() as that of a watch. */
#define WATCH		1

static inline void loop_new(struct loop *l)
{
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	must(l->epfd >= 0);
	l->task = NULL;
}

static inline void reported(uint64_t data)
{
	struct watch *watch = (struct watch *)(uintptr_t)(data - WATCH);
	struct wake *wake = (struct wake *)(uintptr_t)data;
	uint64_t count;

	if (data & WATCH)
		watch->handler(watch->cookie);
	else if (read(wake->fd, &count, sizeof(count)) == sizeof(count))
		wake->handler(wake->cookie);
}

static inline void run_task(struct loop *l)
{
	struct task *t = l->task;

	if (t != NULL) {
		l->task = NULL;
		t->handler(t->cookie);
	}
}

static inline void loop_run(struct loop *l)
{
	struct epoll_event events[BATCH];
	int num;
	int i;

	l->quit = 0;
	while (!l->quit) {
		num = epoll_wait(l->epfd, events, BATCH,
				 l->task != NULL ? 0 : -1);
		for (i = 0; i < num; i++)
			reported(events[i].data.u64);
		run_task(l);
	}
}

static inline void loop_quit(struct loop *l)
{
	l->quit = 1;
}

static inline void loop_free(struct loop *l)
{
	must(close(l->epfd) == 0);
}

static inline void epoll_add(struct loop *l, int fd, uint64_t data)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .u64 = data } };

	must(epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) == 0);
}

static inline int can_prepare(void)
{
	return 1;
}

static inline void wake_prepare(struct wake *w)
{
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(w->fd >= 0);
}

static inline void wake_adopt(struct loop *l, struct wake *w,
			      handler_fn handler, void *cookie)
{
	w->handler = handler;
	w->cookie = cookie;
	epoll_add(l, w->fd, (uintptr_t)w);
}

static inline void wake_new(struct loop *l, struct wake *w, handler_fn handler,
			    void *cookie)
{
	wake_prepare(w);
	wake_adopt(l, w, handler, cookie);
}

/* The last descriptor of an eventfd leaves the epoll set when closed. */
static inline void wake_free(struct wake *w)
{
	must(close(w->fd) == 0);
}

static inline void post(struct wake *w)
{
	static const uint64_t one = 1;

	/* This fails if the eventfd is full, and then it is readable. */
	(void)!write(w->fd, &one, sizeof(one));
}

static inline void task_new(struct loop *l, struct task *t, handler_fn handler,
			    void *cookie)
{
	t->loop = l;
	t->handler = handler;
	t->cookie = cookie;
}

static inline void task_free(struct task *t)
{
	(void)t;
}

static inline void task_again(struct task *t)
{
	t->loop->task = t;
}

static inline void watch_new(struct loop *l, struct watch *w, int fd,
			     handler_fn handler, void *cookie)
{
	w->loop = l;
	w->fd = fd;
	w->handler = handler;
	w->cookie = cookie;
	epoll_add(l, fd, (uintptr_t)w + WATCH);
}

static inline void watch_free(struct watch *w)
{
	must(epoll_ctl(w->loop->epfd, EPOLL_CTL_DEL, w->fd, NULL) == 0);
}

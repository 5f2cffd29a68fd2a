/*
 * libivykis: the benchmarks on system calls alone.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What remains when a wake-up is done by hand: an eventfd an object; a post
 * writes it, epoll_wait() reports it, a read empties it.
 */

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "bench.h"

#define PEER		"floor"
#define PEER_VERSION	"epoll and eventfd by hand"
#define ACROSS_FORK	1
#define BATCH		256

struct loop {
	int	epfd;
	int	quit;
};

typedef void (*wake_handler)(void *cookie);

struct wake {
	int		fd;
	wake_handler	handler;
	void		*cookie;
};

#define WAKE_HANDLER(name)	static void name(void *cookie)

static inline void loop_new(struct loop *l)
{
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	must(l->epfd >= 0);
}

static inline void wake_got(struct wake *w)
{
	uint64_t count;

	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		w->handler(w->cookie);
}

static inline void loop_run(struct loop *l)
{
	struct epoll_event events[BATCH];
	int num;
	int i;

	l->quit = 0;
	while (!l->quit) {
		num = epoll_wait(l->epfd, events, BATCH, -1);
		for (i = 0; i < num; i++)
			wake_got(events[i].data.ptr);
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

static inline void wake_new(struct loop *l, struct wake *w,
			    wake_handler handler, void *cookie)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .ptr = w } };

	w->handler = handler;
	w->cookie = cookie;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(w->fd >= 0);
	must(epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &ev) == 0);
}

/* The last descriptor of an eventfd leaves the epoll set when closed. */
static inline void wake_free(struct wake *w)
{
	must(close(w->fd) == 0);
}

static inline void post(struct wake *w)
{
	static const uint64_t one = 1;

	/* Refused if full, which is readable. */
	(void)!write(w->fd, &one, sizeof(one));
}

#include "workloads.h"

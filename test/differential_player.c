/*
 * libivykis: random programs that two libraries have to run alike.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	differential_player FIRST NUMBER
 *
 * Each seed from FIRST on is a program, which runs in its own process.  It
 * makes random calls before iv_main(), in each handler, and in the handler of a
 * timer that ticks, and writes a trace: every handler call with the loop's
 * time, and every result.  differential.sh compares the traces of two
 * libraries.  The clock, the waits and all else that could be random are
 * controlled by differential_world.c.
 *
 *	DIFFERENTIAL_VERBOSE=1	in the environment: trace waits and messages
 *
 * Programs only do what has a specified outcome.  There are four kinds, because
 * the outcome for some objects is specified only if there are no others:
 *
 *	SPIN		tasks, timers, events, raw events and signals, which
 *			queue themselves again; no descriptors, as the library
 *			may run any number of rounds before it checks these,
 *			while it checks raw events in each round
 *	CORE		everything else that needs one thread; nothing is
 *			queued again in the round in which it ran
 *	THREADS		the same with pools and threads
 *	CHILDREN	iv_wait and iv_popen; for these the library may use its
 *			own descriptors and events, so the program has no
 *			events, and descriptors are reported one at a time
 *
 * Not specified, and therefore left out:
 *
 *	- the order of timers with equal expiries
 *	- the order of descriptors, raw events, signals, and events of other
 *	  threads.  With epoll(7) it is made the same for both libraries.  With
 *	  poll(2) and ppoll(2) that is impossible, so there is only one raw
 *	  event or signal, and no other thread posts events
 *	- whether a timer that is due when a handler of a descriptor or an event
 *	  registers it runs before the tasks; nor whether a timer that becomes
 *	  due while a handler runs does, as 0.43 may not check the timers after
 *	  a wait without a timeout
 *	- the place of the loop's own posts among the tasks while there are
 *	  posts from other threads, after iv_work_pool_put(), and after a
 *	  pending event was unregistered
 *	- timers that are due when a handler registers them, except in CORE:
 *	  the library may skip waits, or checks of the timers
 *
 * Left out because of bugs in the installed library:
 *
 *	- a handler that reads iv_now, runs for some time and does not call
 *	  iv_invalidate_now(): timers are late
 *	- a child without an interest that ends while there are interests:
 *	  crash
 *	- an interest in a child that ended before it was registered: the
 *	  handler is not called
 *	- two iv_popen requests of type "w" at a time, or a child that is
 *	  forked while there is one: the second child inherits the pipe, so the
 *	  first one does not see the end of its input
 *	- a thread_stop handler that waits for the owner: it is called with the
 *	  pool locked
 *	- two inotify watches of one inode, and unregistering a watch that is
 *	  gone: other watches are lost
 *	- iv_fd_register_try() with poll(2) of a descriptor that is not open
 *	- iv_init() twice, and iv_deinit() with events or pools: leaks and
 *	  aborts
 *
 * Continuations of pools are missing because 0.42 does not have them.
 */

#include <errno.h>
#include <fcntl.h>
#include <iv.h>
#include <iv_avl.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_fd_pump.h>
#include <iv_inotify.h>
#include <iv_popen.h>
#include <iv_signal.h>
#include <iv_thread.h>
#include <iv_tls.h>
#include <iv_wait.h>
#include <iv_work.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "differential.h"

#define NUM(a)		((int)(sizeof(a) / sizeof((a)[0])))
#define TRACE_SIZE	(1 << 20)
#define BUDGET		600		/* calls made by handlers */

enum kind { SPIN, CORE, THREADS, CHILDREN, NUM_KINDS };

/* The kind of handler that runs. */
enum where { OUTSIDE, IN_TICK, IN_TIMER, IN_TASK, IN_EVENT, IN_READY };

struct task {
	struct iv_task	*iv;
	int		registered;
	unsigned int	ran;		/* world_waits when it last ran */
};

struct timer {
	struct iv_timer	*iv;
	int		registered;
	int64_t		msec;
};

struct event {
	struct iv_event	*iv;
};

struct raw {
	struct iv_event_raw	*iv;
	int			order;		/* of registration */
};

struct signal {
	struct iv_signal	iv;	/* in order of address */
	int			registered;
	int			order;
};

enum shape { PIPE_READ, PIPE_WRITE, SOCKET };

struct fd {
	struct iv_fd	*iv;
	enum shape	shape;
	int		fd;		/* -1: closed */
	int		peer;
	int		registered;
	int		useless;	/* handler calls */
};

struct watch {
	struct iv_inotify_watch	iv;
	char			path[64];
	int			registered;
};

struct item {
	struct iv_work_item	iv;
	int			num;
	int			in_pool;
};

struct wait {
	struct iv_wait_interest	iv;
	int			registered;
	int			dead;
	int			keep;		/* registered after death */
	int			release;	/* -1, or lets the child end */
};

struct popen {
	struct iv_popen_request	iv;
	struct iv_fd		fd;
	int			reads;
	int			open;
	int			ends;		/* the tick that closed it */
	pid_t			pid;
};

struct node {
	struct iv_avl_node	an;
	int			key;
	int			in_tree;
};

static struct {
	enum kind	kind;
	enum where	where;
	int		budget;
	int		ticks;
	int		quits;		/* the last tick calls iv_quit() */
	struct task	task[6];
	struct timer	timer[8];
	struct timer	tick;
	struct event	event[5];
	struct raw	raw[3];
	struct signal	signal[4];
	int		orders;
	struct iv_fd	quiet[2];	/* with raw events: never ready */
	int		quiet_fd;
	struct fd	fd[6];
	unsigned int	events_ran;	/* world_waits when one last ran */
	unsigned int	posted_by_other;	/* a bit per event */
	unsigned int	to_post;	/* in the next wait */
	struct iv_inotify	*inotify;
	struct watch	watch[4];
	struct iv_work_pool	pool;
	int		pool_exists;
	int		pools;
	int		items;
	unsigned int	items_ran;
	struct wait	wait[3];
	struct popen	popen[2];
	int		open[20];	/* pipes of programs that were closed */
	int		num_open;
	int		num_threads;
	struct iv_fd_pump	pump;
	int		pump_exists;
	int		pump_from, pump_to;
	int		pump_blocked;
	struct node	node[24];
} p;

static uint64_t random_state;
static int verbose;

static unsigned int rnd(unsigned int below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;

	return (random_state >> 33) % below;
}

static int one_in(unsigned int num)
{
	return rnd(num) == 0;
}

/* The trace, which the parent reads even if this process dies. */

struct trace {
	size_t	len;
	char	text[TRACE_SIZE];
};

static struct trace *trace;
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;

void put(int stream, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int len;

	len = snprintf(line, sizeof(line), "%02d ", stream);
	va_start(ap, fmt);
	len += vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';

	pthread_mutex_lock(&trace_lock);
	if (trace->len + len <= sizeof(trace->text)) {
		memcpy(trace->text + trace->len, line, len);
		trace->len += len;
	}
	pthread_mutex_unlock(&trace_lock);
}

static int64_t msec_now(void)
{
	return iv_now.tv_sec * INT64_C(1000) + iv_now.tv_nsec / MSEC;
}

#define note(fmt, ...)	put(IN_LOOP, fmt, __VA_ARGS__)
#define called(what, i)	\
	put(IN_LOOP, "%lld: %s %d", (long long)msec_now(), what, i)

void stuck(void)
{
	put(IN_LOOP, "stuck");
	_exit(0);
}

static void fatal(const char *msg)
{
	put(IN_LOOP, "fatal");
	if (verbose)
		put(IN_LOOP, "%s", msg);
	_exit(0);
}

static void *fresh(size_t size)
{
	void *ptr = malloc(size);

	if (ptr == NULL)
		abort();
	memset(ptr, 0x5a, size);

	return ptr;
}

static void release(void *_ptr, size_t size)
{
	void **ptr = _ptr;

	memset(*ptr, 0xa5, size);
	free(*ptr);
	*ptr = NULL;
}

#define RELEASE(object)	release(&(object)->iv, sizeof(*(object)->iv))

/* Make some calls in a handler of this kind. */
static void act(enum where where);

/* Tasks */

static void task_a(void *_t)
{
	struct task *t = _t;

	t->registered = 0;
	t->ran = world_waits;
	called("task", (int)(t - p.task));
	note("registered %d", iv_task_registered(t->iv));
	if (one_in(4))
		RELEASE(t);
	act(IN_TASK);
}

static void task_b(void *t)
{
	note("handler %s", "b");
	task_a(t);
}

static int may_be_in_round(void)
{
	return p.where == IN_TASK || p.where == IN_EVENT;
}

static void op_task(void)
{
	struct task *t = &p.task[rnd(NUM(p.task))];
	int i = t - p.task;

	if (t->registered) {
		if (one_in(3)) {
			t->iv->handler = one_in(2) ? task_a : task_b;
			return;
		}
		note("unregister task %d", i);
		iv_task_unregister(t->iv);
		t->registered = 0;
		if (one_in(2))
			RELEASE(t);
		return;
	}

	if (p.kind != SPIN && t->ran == world_waits)
		return;
	if (t->iv == NULL) {
		if (p.kind != SPIN && may_be_in_round())
			return;
		t->iv = fresh(sizeof(*t->iv));
		IV_TASK_INIT(t->iv);
		t->iv->cookie = t;
		t->iv->handler = one_in(2) ? task_a : task_b;
	}
	note("register task %d", i);
	iv_task_register(t->iv);
	t->registered = 1;
}

/* Timers */

static int is_taken(int64_t msec)
{
	int i;

	for (i = 0; i < NUM(p.timer); i++) {
		if (p.timer[i].registered && p.timer[i].msec == msec)
			return 1;
	}

	return p.tick.registered && p.tick.msec == msec;
}

static void set_timer(struct timer *t, int64_t msec)
{
	while (is_taken(msec))
		msec++;
	t->msec = msec;
	t->iv->expires.tv_sec = msec / 1000;
	t->iv->expires.tv_nsec = msec % 1000 * MSEC;
	iv_timer_register(t->iv);
	t->registered = 1;
}

static int64_t some_time(void)
{
	int64_t now = msec_now();

	switch (rnd(8)) {
	case 0:
	case 1:
		if (p.where == OUTSIDE ||
		    (p.kind == CORE && p.where <= IN_TASK))
			return now - rnd(50);
		return now + 1 + rnd(20);
	case 2:
	case 3:
	case 4:
		return now + 1 + rnd(100);
	case 5:
		return now + 1 + rnd(1000);
	case 6:
		return now + 1 + rnd(20000);
	default:
		return now + 1 + rnd(10000000);
	}
}

static void timer_a(void *_t)
{
	struct timer *t = _t;

	t->registered = 0;
	called("timer", (int)(t - p.timer));
	note("registered %d", iv_timer_registered(t->iv));
	if (one_in(4))
		RELEASE(t);
	else if (one_in(3)) {
		p.where = IN_TIMER;
		set_timer(t, some_time());
	}
	act(IN_TIMER);
}

static void timer_b(void *t)
{
	note("handler %s", "b");
	timer_a(t);
}

static void op_timer(void)
{
	struct timer *t = &p.timer[rnd(NUM(p.timer))];
	int i = t - p.timer;

	if (t->registered) {
		if (one_in(4)) {
			t->iv->handler = one_in(2) ? timer_a : timer_b;
			return;
		}
		note("unregister timer %d", i);
		iv_timer_unregister(t->iv);
		t->registered = 0;
		if (one_in(4)) {
			RELEASE(t);
			return;
		}
	}

	if (t->iv == NULL) {
		t->iv = fresh(sizeof(*t->iv));
		IV_TIMER_INIT(t->iv);
		t->iv->cookie = t;
		t->iv->handler = one_in(2) ? timer_a : timer_b;
	}
	set_timer(t, some_time());
	note("register timer %d for %lld", i, (long long)t->msec);
}

static void op_time(void)
{
	if (p.where != OUTSIDE)
		return;
	world_advance(rnd(50) * MSEC);
	note("time was %lld", (long long)msec_now());
	iv_invalidate_now();
	note("time is %lld", (long long)msec_now());
}

static int is_epoll(void)
{
	return strncmp(iv_poll_method_name(), "epoll", 5) == 0;
}

/* May there be another raw event or signal? */
static int may_have_raw(void)
{
	int num = 0;
	int i;

	for (i = 0; i < NUM(p.raw); i++)
		num += p.raw[i].iv != NULL;
	for (i = 0; i < NUM(p.signal); i++)
		num += p.signal[i].registered;

	return is_epoll() || num == 0;
}

/* Posts from a thread that has no loop, and ends before this one continues. */

static pthread_t main_thread;

/* The bits are: each event, each raw event, and a signal. */
static void *post_all(void *_objects)
{
	unsigned int objects = (uintptr_t)_objects;
	int i;

	for (i = 0; i < NUM(p.event); i++) {
		if ((objects >> i & 1) && p.event[i].iv != NULL)
			iv_event_post(p.event[i].iv);
	}
	for (i = 0; i < NUM(p.raw); i++) {
		if ((objects >> (8 + i) & 1) && p.raw[i].iv != NULL)
			iv_event_raw_post(p.raw[i].iv);
	}
	if (objects >> 16)
		pthread_kill(main_thread, SIGUSR1);

	return NULL;
}

static int has_signal(int signum)
{
	int i;

	for (i = 0; i < NUM(p.signal); i++) {
		if (p.signal[i].registered && p.signal[i].iv.signum == signum)
			return 1;
	}

	return 0;
}

static int post_in_wait(void)
{
	void *objects = (void *)(uintptr_t)p.to_post;

	if (p.to_post == 0)
		return 0;
	p.to_post = 0;
	world_run_thread(post_all, objects);

	return 1;
}

void before_check(void)
{
	if (verbose)
		note("wait %u", world_waits);
	if (p.kind != SPIN)
		(void)post_in_wait();
}

int before_sleep(void)
{
	return post_in_wait();
}

static unsigned int registered_of(unsigned int events)
{
	int i;

	for (i = 0; i < NUM(p.event); i++) {
		if (p.event[i].iv == NULL)
			events &= ~(1U << i);
	}

	return events;
}

static void op_other_thread(void)
{
	unsigned int events = rnd(1 << NUM(p.event));
	unsigned int raws = rnd(1 << NUM(p.raw)) << 8;

	if (p.kind == CHILDREN)
		return;
	if (p.kind != SPIN) {
		note("other thread posts %x", events);
		p.to_post |= events;
		return;
	}

	if (!is_epoll())
		events = 0;
	else if (one_in(2))
		raws = 0;
	note("other thread posts %x", events | raws);
	if (one_in(4) && has_signal(SIGUSR1))
		raws |= 1 << 16;
	if (one_in(2)) {
		p.to_post |= events | raws;
		return;
	}
	p.posted_by_other |= registered_of(events);
	world_run_thread(post_all, (void *)(uintptr_t)(events | raws));
}

/* Events */

static void event_a(void *_e)
{
	struct event *e = _e;

	called("event", (int)(e - p.event));
	p.events_ran = world_waits;
	p.posted_by_other &= ~(1U << (e - p.event));
	if (one_in(6)) {
		iv_event_unregister(e->iv);
		RELEASE(e);
	}
	act(IN_EVENT);
}

static void event_b(void *e)
{
	note("handler %s", "b");
	event_a(e);
}

static void op_event(void)
{
	struct event *e = &p.event[rnd(NUM(p.event))];
	int i = e - p.event;

	if (p.kind == CHILDREN)
		return;
	if (e->iv == NULL) {
		e->iv = fresh(sizeof(*e->iv));
		IV_EVENT_INIT(e->iv);
		e->iv->cookie = e;
		e->iv->handler = event_a;
		note("register event %d: %d", i, iv_event_register(e->iv));
		return;
	}

	if (one_in(5)) {
		note("unregister event %d", i);
		iv_event_unregister(e->iv);
		RELEASE(e);
		p.posted_by_other &= ~(1U << i);
		/* The queue may keep its place, even if it is empty now. */
		if (p.kind != SPIN)
			p.events_ran = world_waits;
		return;
	}
	if (one_in(5)) {
		e->iv->handler = one_in(2) ? event_a : event_b;
		return;
	}

	if (p.kind == SPIN ? p.posted_by_other :
			     p.where == IN_EVENT || p.events_ran == world_waits)
		return;
	note("post event %d", i);
	iv_event_post(e->iv);
}

/* Raw events */

static void raw_ready(void *_r)
{
	struct raw *r = _r;

	called("raw", (int)(r - p.raw));
	if (one_in(5)) {
		iv_event_raw_unregister(r->iv);
		RELEASE(r);
	}
	act(IN_READY);
}

static void op_raw(void)
{
	struct raw *r = &p.raw[rnd(NUM(p.raw))];
	int i = r - p.raw;

	if (p.kind != SPIN || (r->iv == NULL && !may_have_raw()))
		return;
	if (r->iv == NULL) {
		r->order = p.orders++;
		r->iv = fresh(sizeof(*r->iv));
		IV_EVENT_RAW_INIT(r->iv);
		r->iv->cookie = r;
		r->iv->handler = raw_ready;
		note("register raw %d: %d", i, iv_event_raw_register(r->iv));
		return;
	}

	if (one_in(6)) {
		note("unregister raw %d", i);
		iv_event_raw_unregister(r->iv);
		RELEASE(r);
		return;
	}
	note("post raw %d", i);
	iv_event_raw_post(r->iv);
}

/* Signals */

static void got_signal(void *_s)
{
	struct signal *s = _s;

	called("signal", (int)(s - p.signal));
	if (one_in(5)) {
		iv_signal_unregister(&s->iv);
		s->registered = 0;
	}
	act(IN_READY);
}

static void op_signal(void)
{
	struct signal *s = &p.signal[rnd(NUM(p.signal))];
	int i = s - p.signal;

	if (p.kind != SPIN || (!s->registered && !may_have_raw()))
		return;
	if (!s->registered) {
		s->order = p.orders++;
		IV_SIGNAL_INIT(&s->iv);
		s->iv.signum = one_in(3) ? SIGUSR2 : SIGUSR1;
		s->iv.flags = rnd(4);
		s->iv.cookie = s;
		s->iv.handler = got_signal;
		note("register signal %d, flags %u: %d", i, s->iv.flags,
		     iv_signal_register(&s->iv));
		s->registered = 1;
		return;
	}

	if (one_in(4)) {
		note("unregister signal %d", i);
		iv_signal_unregister(&s->iv);
		s->registered = 0;
		return;
	}
	note("raise %d", s->iv.signum);
	raise(s->iv.signum);
}

/* Descriptors */

#define FD_NUMBER	200

static void fd_close(struct fd *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->peer >= 0)
		close(f->peer);
	f->fd = -1;
	f->peer = -1;
}

static int moved(int fd, int number)
{
	int ret = fcntl(fd, F_DUPFD_CLOEXEC, number);

	close(fd);
	fcntl(ret, F_SETFL, fcntl(ret, F_GETFL) | O_NONBLOCK);

	return ret;
}

static void fd_open(struct fd *f)
{
	int number = FD_NUMBER + 2 * (int)(f - p.fd);
	int fds[2];

	f->shape = rnd(3);
	if (f->shape == SOCKET ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 :
				 pipe(fds) < 0)
		abort();
	f->fd = moved(fds[f->shape == PIPE_WRITE], number);
	f->peer = moved(fds[f->shape != PIPE_WRITE], number + 1);
}

static void fd_unregister(struct fd *f)
{
	note("unregister fd %d", (int)(f - p.fd));
	iv_fd_unregister(f->iv);
	f->registered = 0;
	if (one_in(2))
		fd_close(f);
	if (one_in(2))
		RELEASE(f);
}

static void fd_in(void *f);
static void fd_out(void *f);
static void fd_err(void *f);

static void fd_register(struct fd *f)
{
	int ret = 0;

	if (f->fd < 0)
		fd_open(f);
	if (f->iv == NULL)
		f->iv = fresh(sizeof(*f->iv));
	IV_FD_INIT(f->iv);
	f->iv->fd = f->fd;
	f->iv->cookie = f;
	if (!one_in(4))
		f->iv->handler_in = fd_in;
	if (one_in(4))
		f->iv->handler_out = fd_out;
	if (one_in(3))
		f->iv->handler_err = fd_err;
	world_in_call++;
	if (one_in(2))
		ret = iv_fd_register_try(f->iv);
	else
		iv_fd_register(f->iv);
	world_in_call--;
	f->registered = 1;
	f->useless = 0;
	note("register fd %d, shape %d, %d%d%d: %d, %d", (int)(f - p.fd),
	     f->shape, f->iv->handler_in != NULL, f->iv->handler_out != NULL,
	     f->iv->handler_err != NULL, ret, iv_fd_registered(f->iv));
}

/* Close it, open another one, most often of the same number, register that. */
static void fd_replace(struct fd *f)
{
	note("replace fd %d", (int)(f - p.fd));
	iv_fd_unregister(f->iv);
	f->registered = 0;
	fd_close(f);
	fd_register(f);
}

/* A descriptor that stays ready must not keep the clock from moving. */
static int fd_stays_ready(struct fd *f)
{
	if (++f->useless < 4)
		return 0;
	if (one_in(3))
		fd_replace(f);
	else
		fd_unregister(f);

	return 1;
}

static void fd_in(void *_f)
{
	static const int sizes[] = { 1, 8, 64 };
	struct fd *f = _f;
	char buf[64];
	int ret = 0;

	called("in", (int)(f - p.fd));
	if (f->shape != PIPE_WRITE && !one_in(6)) {
		ret = read(f->fd, buf, sizes[rnd(NUM(sizes))]);
		note("read %d", ret);
	}
	if (ret > 0)
		f->useless = 0;
	else if (fd_stays_ready(f))
		return;
	else if (one_in(2))
		iv_fd_set_handler_in(f->iv, NULL);
	act(IN_READY);
}

static void fd_out(void *_f)
{
	struct fd *f = _f;
	int ret;

	called("out", (int)(f - p.fd));
	if (one_in(2)) {
		ret = write(f->fd, "0123456789", 1 + rnd(10));
		note("write %d", ret);
	}
	if (fd_stays_ready(f))
		return;
	if (one_in(2))
		iv_fd_set_handler_out(f->iv, NULL);
	act(IN_READY);
}

static void fd_err(void *_f)
{
	struct fd *f = _f;

	called("err", (int)(f - p.fd));
	if (fd_stays_ready(f))
		return;
	if (one_in(3))
		iv_fd_set_handler_err(f->iv, NULL);
	act(IN_READY);
}

static void fd_change(struct fd *f)
{
	int on = one_in(2);

	note("set fd %d %s", (int)(f - p.fd), on ? "on" : "off");
	switch (rnd(3)) {
	case 0:
		iv_fd_set_handler_in(f->iv, on ? fd_in : NULL);
		break;
	case 1:
		iv_fd_set_handler_out(f->iv, on ? fd_out : NULL);
		break;
	default:
		iv_fd_set_handler_err(f->iv, on ? fd_err : NULL);
	}
}

static void fd_peer(struct fd *f)
{
	char buf[64];
	int ret = 0;

	switch (rnd(8)) {
	case 0:
		close(f->peer);
		f->peer = -1;
		break;
	case 1:
		ret = shutdown(f->peer, SHUT_WR);
		break;
	case 2:
	case 3:
		ret = read(f->peer, buf, sizeof(buf));
		break;
	default:
		ret = write(f->peer, "0123456789", 1 + rnd(10));
	}
	note("peer of fd %d: %d", (int)(f - p.fd), ret);
}

/* A descriptor that is closed, or that epoll(7) rejects; poll(2) accepts it. */
static void fd_try_odd(void)
{
	struct iv_fd odd;
	int fd = open(".", O_RDONLY | O_CLOEXEC);

	if (is_epoll()) {
		IV_FD_INIT(&odd);
		odd.fd = one_in(2) ? fd : 199;
		if (one_in(2))
			odd.handler_in = fd_in;
		errno = 0;
		note("try odd: %d", iv_fd_register_try(&odd));
		note("errno %d, registered %d", errno, iv_fd_registered(&odd));
	}
	close(fd);
}

static void op_fd(void)
{
	struct fd *f = &p.fd[rnd(NUM(p.fd))];

	if (p.kind == SPIN)
		return;
	if (one_in(30))
		fd_try_odd();
	else if (!f->registered)
		fd_register(f);
	else if (one_in(10))
		fd_unregister(f);
	else if (one_in(15))
		fd_replace(f);
	else if (one_in(2) || f->peer < 0)
		fd_change(f);
	else
		fd_peer(f);
}

/* Files */

static void watched(void *_w, struct inotify_event *ev)
{
	struct watch *w = _w;

	called("watch", (int)(w - p.watch));
	note("mask %x, name %s", ev->mask, ev->len ? ev->name : "-");
	if (w->iv.mask & IN_ONESHOT || ev->mask & IN_IGNORED)
		w->registered = 0;
	if (w->registered && one_in(6)) {
		iv_inotify_watch_unregister(&w->iv);
		w->registered = 0;
	}
	act(IN_READY);
}

static void inotify_end(void)
{
	int i;

	note("unregister %s", "inotify");
	iv_inotify_unregister(p.inotify);
	release(&p.inotify, sizeof(*p.inotify));
	for (i = 0; i < NUM(p.watch); i++)
		p.watch[i].registered = 0;
}

static void watch_register(struct watch *w)
{
	static const uint32_t masks[] = {
		IN_ALL_EVENTS, IN_ALL_EVENTS | IN_ONESHOT, IN_CREATE,
		IN_MODIFY | IN_DELETE_SELF, IN_DELETE,
	};
	int i = w - p.watch;
	int ret;

	if (i == 0)
		strcpy(w->path, ".");
	else
		snprintf(w->path, sizeof(w->path), "file%d", i);
	IV_INOTIFY_WATCH_INIT(&w->iv);
	w->iv.inotify = p.inotify;
	w->iv.pathname = w->path;
	w->iv.mask = masks[rnd(NUM(masks))];
	w->iv.cookie = w;
	w->iv.handler = watched;
	errno = 0;
	ret = iv_inotify_watch_register(&w->iv);
	note("register watch %d: %d, errno %d", i, ret, ret < 0 ? errno : 0);
	w->registered = ret == 0;
}

static void op_inotify(void)
{
	struct watch *w = &p.watch[rnd(NUM(p.watch))];
	char path[20];
	int fd;

	if (p.kind == SPIN)
		return;
	if (p.inotify == NULL) {
		p.inotify = fresh(sizeof(*p.inotify));
		/* 0.42 reads a member that it does not initialise. */
		memset(p.inotify, 0, sizeof(*p.inotify));
		IV_INOTIFY_INIT(p.inotify);
		note("register inotify: %d", iv_inotify_register(p.inotify));
		return;
	}
	if (one_in(20)) {
		inotify_end();
		return;
	}
	if (!w->registered) {
		watch_register(w);
		return;
	}
	if (one_in(8)) {
		note("unregister watch %d", (int)(w - p.watch));
		iv_inotify_watch_unregister(&w->iv);
		w->registered = 0;
		return;
	}

	snprintf(path, sizeof(path), "file%u", 1 + rnd(NUM(p.watch)));
	if (one_in(3)) {
		note("unlink %s: %d", path, unlink(path));
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	note("write %s: %zd", path, write(fd, "x", 1));
	close(fd);
}

/* Pumps */

static void set_bands(void *cookie, int in, int out)
{
	(void)cookie;
	note("bands %d %d", in, out);
}

static void pump_end(void)
{
	note("%s", "destroy pump");
	iv_fd_pump_destroy(&p.pump);
	close(p.pump.from_fd);
	close(p.pump.to_fd);
	if (p.pump_from >= 0)
		close(p.pump_from);
	close(p.pump_to);
	p.pump_exists = 0;
}

static void pump_begin(void)
{
	int from[2];
	int to[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, from) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, to) < 0)
		abort();
	p.pump_from = from[0];
	p.pump_to = to[1];
	IV_FD_PUMP_INIT(&p.pump);
	p.pump.from_fd = from[1];
	p.pump.to_fd = to[0];
	p.pump.cookie = NULL;
	p.pump.set_bands = set_bands;
	p.pump.flags = rnd(2) ? IV_FD_PUMP_FLAG_RELAY_EOF : 0;
	note("%s", "init pump");
	iv_fd_pump_init(&p.pump);
	p.pump_exists = 1;
	p.pump_blocked = 0;
}

static void pump_call(void)
{
	int ret = iv_fd_pump_pump(&p.pump);

	note("pump: %d, done %d", ret, iv_fd_pump_is_done(&p.pump));
	if (ret <= 0 && one_in(2))
		pump_end();
	else if (ret < 0)
		pump_end();
}

static void op_pump(void)
{
	char buf[4096] = { 0 };
	int total = 0;
	int ret;

	if (p.kind != CORE)
		return;
	if (!p.pump_exists) {
		pump_begin();
		return;
	}

	switch (rnd(8)) {
	case 0:
		if (p.pump_from >= 0 && one_in(3)) {
			note("%s", "end of input");
			close(p.pump_from);
			p.pump_from = -1;
		}
		break;
	case 1:
		if (one_in(3)) {
			note("%s", "output is blocked");
			p.pump_blocked = 1;
			while (write(p.pump.to_fd, buf, sizeof(buf)) > 0)
				;
		}
		break;
	case 2:
		while ((ret = read(p.pump_to, buf, sizeof(buf))) > 0)
			total += ret;
		note("output: %d, %d", p.pump_blocked ? -1 : total, ret);
		break;
	case 3:
	case 4:
		if (p.pump_from >= 0)
			note("input: %zd",
			     write(p.pump_from, buf, 1 + rnd(100)));
		break;
	default:
		pump_call();
	}
}

/* Work */

static void work(void *_item)
{
	struct item *item = _item;

	if (!item->in_pool) {
		p.items_ran = world_waits;
		called("work here", item->num);
		act(IN_TASK);
		return;
	}

	world_gate();
	put(IN_THREAD + world_thread(), "work %d", item->num);
}

static void submit(struct item *item)
{
	item->in_pool = p.pool_exists;
	IV_WORK_ITEM_INIT(&item->iv);
	item->iv.cookie = item;
	item->iv.work = work;
	note("submit %d, pool %d", item->num, item->in_pool);
	if (item->in_pool)
		p.items++;
	iv_work_pool_submit_work(item->in_pool ? &p.pool : NULL, &item->iv);
}

static int may_work_here(void)
{
	return p.kind == SPIN ||
	       (p.kind == THREADS && p.items_ran != world_waits);
}

static void put_pool(void)
{
	note("%s", "put pool");
	iv_work_pool_put(&p.pool);
	memset(&p.pool, 0xa5, sizeof(p.pool));
	p.pool_exists = 0;
	/* 0.42 has posted its own event, before those that are posted later. */
	p.events_ran = world_waits;
}

static void completed(void *_item)
{
	struct item *item = _item;

	called("completed", item->num);
	if (item->in_pool) {
		p.items--;
		if (p.pool_exists && one_in(10))
			put_pool();
		p.events_ran = world_waits;
	} else {
		p.items_ran = world_waits;
	}
	if (p.budget > 0 && one_in(4) && (p.pool_exists || may_work_here()))
		submit(item);
	else
		free(item);
	act(item->in_pool ? IN_EVENT : IN_TASK);
}

static void pool_starts(void *pool)
{
	world_gate();
	put(IN_THREAD + world_thread(), "pool %d starts", (int)(intptr_t)pool);
}

/* Does not wait at the gate, as 0.42 holds the pool's lock during the call. */
static void pool_stops(void *pool)
{
	put(IN_THREAD + world_thread(), "pool %d stops", (int)(intptr_t)pool);
}

static void op_work(void)
{
	static int num;
	struct item *item;

	if (p.kind == THREADS && !p.pool_exists && p.items == 0 && one_in(2)) {
		if (p.pools == 12)
			return;
		IV_WORK_POOL_INIT(&p.pool);
		p.pool.max_threads = 1;
		p.pool.cookie = (void *)(intptr_t)p.pools++;
		p.pool.thread_start = pool_starts;
		p.pool.thread_stop = pool_stops;
		note("create pool: %d", iv_work_pool_create(&p.pool));
		p.pool_exists = 1;
		return;
	}
	if (p.pool_exists && p.where <= IN_TIMER && one_in(4)) {
		put_pool();
		return;
	}
	if (!p.pool_exists && (!may_work_here() || p.items != 0))
		return;

	item = fresh(sizeof(*item));
	item->num = num++;
	item->iv.completion = completed;
	submit(item);
}

/* Threads */

static void thread_ready(void *_raw)
{
	put(IN_THREAD + world_thread(), "raw");
	iv_event_raw_unregister(_raw);
}

static void thread_task(void *raw)
{
	put(IN_THREAD + world_thread(), "task");
	iv_event_raw_post(raw);
}

static void thread_loop(void)
{
	struct iv_event_raw raw;
	struct iv_task task;

	iv_init();
	IV_EVENT_RAW_INIT(&raw);
	raw.cookie = &raw;
	raw.handler = thread_ready;
	iv_event_raw_register(&raw);
	IV_TASK_INIT(&task);
	task.cookie = &raw;
	task.handler = thread_task;
	iv_task_register(&task);
	iv_main();
	iv_deinit();
}

static void thread(void *arg)
{
	world_gate();
	put(IN_THREAD + world_thread(), "thread, loop %d", iv_inited());
	switch ((intptr_t)arg) {
	case 0:
		thread_loop();
		break;
	case 1:
		iv_init();
		break;
	case 2:
		pthread_exit(NULL);
	default:
		break;
	}
	put(IN_THREAD + world_thread(), "thread ends");
}

static void op_thread(void)
{
	intptr_t arg = rnd(4);

	if (p.kind != THREADS || p.num_threads == 20)
		return;
	p.num_threads++;
	note("create thread: %d",
	     iv_thread_create("thread", thread, (void *)arg));
}

/* Children */

static int num_children(void)
{
	int num = 0;
	int i;

	for (i = 0; i < NUM(p.wait); i++)
		num += p.wait[i].registered;
	for (i = 0; i < NUM(p.popen); i++)
		num += p.popen[i].open;

	return num;
}

static void waited(void *_w, int status, const struct rusage *rusage)
{
	struct wait *w = _w;
	int stream = IN_WAIT + (int)(w - p.wait);

	put(stream, "%lld: status %x, usage %d", (long long)msec_now(), status,
	    rusage != NULL);
	if (WIFSTOPPED(status)) {
		put(stream, "continue: %d",
		    iv_wait_interest_kill(&w->iv, SIGCONT));
	} else if (WIFCONTINUED(status)) {
		put(stream, "terminate: %d",
		    iv_wait_interest_kill(&w->iv, SIGTERM));
	} else {
		put(stream, "kill: %d", iv_wait_interest_kill(&w->iv, 0));
		w->dead = 1;
		if (!w->keep || p.ticks == 0) {
			iv_wait_interest_unregister(&w->iv);
			w->registered = 0;
		}
	}
}

/* The lower two bits are how it ends; the others are its exit status. */
static void child(void *_how)
{
	intptr_t how = (intptr_t)_how;

	switch (how & 3) {
	case 0:
		kill(getpid(), SIGKILL);
		break;
	case 1:
		world_started();
		raise(SIGSTOP);
		for (;;)
			pause();
	default:
		break;
	}
	_exit(how >> 2);
}

static void wait_for_forked(struct wait *w, int how)
{
	int fds[2];
	pid_t pid;
	char c;

	if (pipe(fds) < 0)
		abort();
	world_next_child = NOTHING;
	pid = fork();
	if (pid == 0) {
		close(fds[1]);
		world_started();
		if (read(fds[0], &c, 1) < 0)
			_exit(1);
		_exit(how >> 2);
	}
	close(fds[0]);
	w->release = fds[1];
	w->iv.pid = pid;
	iv_wait_interest_register(&w->iv);
}

static void wait_release(struct wait *w)
{
	if (w->release < 0)
		return;
	note("release %d", (int)(w - p.wait));
	world_expect(w->iv.pid, ENDS);
	close(w->release);
	w->release = -1;
}

static int pipe_is_open(void)
{
	int i;

	for (i = 0; i < NUM(p.popen); i++) {
		if (p.popen[i].open && !p.popen[i].reads)
			return 1;
	}
	for (i = 0; i < NUM(p.wait); i++) {
		if (p.wait[i].registered && p.wait[i].release >= 0)
			return 1;
	}

	return 0;
}

static void op_wait(void)
{
	struct wait *w = &p.wait[rnd(NUM(p.wait))];
	int i = w - p.wait;
	int how = rnd(64);

	/* In other handlers it is unknown what the child has done so far. */
	if (p.kind != CHILDREN || p.where != IN_TICK)
		return;
	if (w->registered) {
		wait_release(w);
		if (w->dead) {
			note("kill %d: %d", i,
			     iv_wait_interest_kill(&w->iv, SIGTERM));
			iv_wait_interest_unregister(&w->iv);
			w->registered = 0;
		}
		return;
	}
	if (pipe_is_open())
		return;

	IV_WAIT_INTEREST_INIT(&w->iv);
	w->iv.cookie = w;
	w->iv.handler = waited;
	w->dead = 0;
	w->keep = one_in(2);
	w->release = -1;
	w->registered = 1;
	if (one_in(3) && num_children() == 1) {
		note("fork %d", i);
		wait_for_forked(w, how);
		return;
	}
	world_next_child = (how & 3) == 1 ? STOPS : ENDS;
	note("spawn %d, %d: %d", i, how,
	     iv_wait_interest_register_spawn(&w->iv, child,
					     (void *)(intptr_t)how));
}

static void popen_ready(void *_r)
{
	struct popen *r = _r;
	int stream = IN_POPEN + (int)(r - p.popen);
	char buf[64];
	int ret = read(r->fd.fd, buf, sizeof(buf));

	put(stream, "%lld: read %d", (long long)msec_now(), ret);
	if (ret > 0)
		return;
	iv_popen_request_close(&r->iv);
	iv_fd_unregister(&r->fd);
	close(r->fd.fd);
	r->open = 0;
}

/* Its child ends by SIGTERM, or because there is no more input. */
static void popen_end(struct popen *r)
{
	note("close popen %d", (int)(r - p.popen));
	if (one_in(2) && p.num_open < NUM(p.open)) {
		iv_popen_request_close(&r->iv);
		p.open[p.num_open++] = r->fd.fd;
	} else {
		close(r->fd.fd);
		world_expect(r->pid, ENDS);
		r->ends = p.ticks + 1;
	}
	r->open = 0;
}

static void op_popen(void)
{
	static char *argv_r[] = { "echo", "several", "words", NULL };
	static char *argv_w[] = { "cat", NULL };
	struct popen *r = &p.popen[rnd(NUM(p.popen))];
	int i = r - p.popen;

	if (p.kind != CHILDREN || p.where != IN_TICK)
		return;
	if (r->open) {
		if (r->reads)
			return;
		popen_end(r);
		return;
	}

	/* The request is in use until the library has seen its child end. */
	if (pipe_is_open() || r->ends == p.ticks + 1)
		return;
	r->reads = one_in(2) || num_children() > 0;
	IV_POPEN_REQUEST_INIT(&r->iv);
	r->iv.file = r->reads ? "echo" : "cat";
	r->iv.argv = r->reads ? argv_r : argv_w;
	r->iv.type = r->reads ? "r" : "w";
	world_next_child = r->reads ? ENDS : NOTHING;
	IV_FD_INIT(&r->fd);
	r->fd.fd = iv_popen_request_submit(&r->iv);
	note("popen %d %s: %d", i, r->iv.type, r->fd.fd >= 0);
	r->pid = world_last_child;
	r->open = 1;
	if (r->reads) {
		r->fd.cookie = r;
		r->fd.handler_in = popen_ready;
		iv_fd_register(&r->fd);
	}
}

/* Trees */

static int compare(const struct iv_avl_node *_a, const struct iv_avl_node *_b)
{
	const struct node *a = iv_container_of(_a, struct node, an);
	const struct node *b = iv_container_of(_b, struct node, an);

	return a->key < b->key ? -1 : a->key > b->key;
}

static struct iv_avl_tree tree = IV_AVL_TREE_INIT(compare);

static void op_tree(void)
{
	struct node *n = &p.node[rnd(NUM(p.node))];
	struct iv_avl_node *an;
	unsigned int sum = 0;

	if (n->in_tree) {
		iv_avl_tree_delete(&tree, &n->an);
		n->in_tree = 0;
	} else {
		n->key = rnd(40);
		n->in_tree = iv_avl_tree_insert(&tree, &n->an) == 0;
		note("insert %d: %d", n->key, n->in_tree);
	}
	for (an = iv_avl_tree_min(&tree); an; an = iv_avl_tree_next(an))
		sum = 31 * sum + iv_container_of(an, struct node, an)->key;
	for (an = iv_avl_tree_max(&tree); an; an = iv_avl_tree_prev(an))
		sum = 31 * sum + iv_container_of(an, struct node, an)->key;
	note("tree %x", sum);
}

/* Thread-local memory */

static int stream_here(void)
{
	return world_thread() ? IN_THREAD + world_thread() : IN_LOOP;
}

static void tls_init(void *area)
{
	int *number = area;

	put(stream_here(), "init %d, loop %d", *number, iv_inited());
	*number = 7;
}

static void tls_deinit(void *area)
{
	int *number = area;

	if (world_thread() != 0)
		world_gate();
	put(stream_here(), "deinit %d, loop %d", *number, iv_inited());
}

static struct iv_tls_user tls[] = {
	{ sizeof(int), tls_init, tls_deinit, { NULL, NULL }, 0 },
	{ 0, NULL, NULL, { NULL, NULL }, 0 },
	{ 100, NULL, tls_deinit, { NULL, NULL }, 0 },
};

static void op_tls(void)
{
	int *number = iv_tls_user_ptr(&tls[0]);

	note("tls %d, %d", ++*number, iv_tls_user_ptr(&tls[1]) != NULL);
}

/* Raw events and signals come last, in the order in which they registered. */
int rank_of(int fd)
{
	int i;

	for (i = 0; i < NUM(p.fd); i++) {
		if (p.fd[i].registered && p.fd[i].fd == fd)
			return 10 + i;
	}
	for (i = 0; i < NUM(p.raw); i++) {
		if (p.raw[i].iv != NULL && p.raw[i].iv->event_rfd.fd == fd)
			return RANK_OF_RAWS + p.raw[i].order;
	}
	for (i = 0; i < NUM(p.signal); i++) {
		if (p.signal[i].registered &&
		    p.signal[i].iv.ev.event_rfd.fd == fd)
			return RANK_OF_RAWS + p.signal[i].order;
	}

	return p.inotify != NULL && p.inotify->fd.fd == fd ? 20 : 0;
}

/*
 * A wait of 0.42 reports no more descriptors than are registered, so its own
 * wakeup may displace one.  How many descriptors a library itself has for
 * children is not specified.
 */
int most_reports(void)
{
	int num = 0;
	int i;

	if (p.kind == CHILDREN)
		return 0;
	for (i = 0; i < NUM(p.fd); i++)
		num += p.fd[i].registered;
	for (i = 0; i < NUM(p.raw); i++)
		num += p.raw[i].iv != NULL;
	for (i = 0; i < NUM(p.signal); i++)
		num += p.signal[i].registered;
	for (i = 0; i < NUM(p.quiet); i++)
		num += iv_fd_registered(&p.quiet[i]);
	num += p.inotify != NULL;

	return num > 0 ? num : 1;
}

/* Programs */

static void op(void)
{
	static void (*const ops[])(void) = {
		op_task, op_task, op_task, op_timer, op_timer, op_timer,
		op_event, op_event, op_event, op_raw, op_raw, op_other_thread,
		op_fd, op_fd, op_fd, op_fd, op_signal, op_signal, op_inotify,
		op_pump, op_work, op_work, op_thread, op_wait, op_popen,
		op_tree, op_tls, op_time,
	};

	world_in_call++;
	ops[rnd(NUM(ops))]();
	world_in_call--;
}

static void act(enum where where)
{
	p.where = where;
	while (p.budget > 0 && one_in(2)) {
		p.budget--;
		op();
	}
	p.where = OUTSIDE;
}

static void note_registered(void)
{
	int bits = 0;
	int i;

	for (i = 0; i < NUM(p.task); i++)
		bits |= (p.task[i].iv && iv_task_registered(p.task[i].iv)) << i;
	note("tasks %x", bits);
	for (bits = i = 0; i < NUM(p.timer); i++)
		bits |= (p.timer[i].iv &&
			 iv_timer_registered(p.timer[i].iv)) << i;
	note("timers %x", bits);
	for (bits = i = 0; i < NUM(p.fd); i++)
		bits |= (p.fd[i].iv && iv_fd_registered(p.fd[i].iv)) << i;
	note("descriptors %x", bits);
}

static void quiet_in(void *arg)
{
	(void)arg;
	note("%s", "ready for no reason");
}

/*
 * With these two descriptors, which are never ready, one wait has room to
 * report all raw events and the library's own descriptors.
 */
static void add_quiet(void)
{
	int fds[2];
	int i;

	if (p.kind != SPIN || iv_fd_registered(&p.quiet[0]))
		return;
	if (pipe(fds) < 0)
		abort();
	p.quiet_fd = fds[1];
	for (i = 0; i < NUM(p.quiet); i++) {
		IV_FD_INIT(&p.quiet[i]);
		p.quiet[i].fd = i == 0 ? fds[0] : dup(fds[0]);
		p.quiet[i].handler_in = quiet_in;
		iv_fd_register(&p.quiet[i]);
	}
}

static void drop_quiet(void)
{
	int i;

	if (!iv_fd_registered(&p.quiet[0]))
		return;
	for (i = 0; i < NUM(p.quiet); i++) {
		iv_fd_unregister(&p.quiet[i]);
		close(p.quiet[i].fd);
	}
	close(p.quiet_fd);
}

/* Unregister the objects that iv_deinit() may find registered. */
static void drop_simple(void)
{
	int i;

	for (i = 0; i < NUM(p.task); i++) {
		if (p.task[i].registered)
			iv_task_unregister(p.task[i].iv);
		p.task[i].registered = 0;
	}
	for (i = 0; i < NUM(p.timer); i++) {
		if (p.timer[i].registered)
			iv_timer_unregister(p.timer[i].iv);
		p.timer[i].registered = 0;
	}
	for (i = 0; i < NUM(p.fd); i++) {
		if (p.fd[i].registered)
			iv_fd_unregister(p.fd[i].iv);
		p.fd[i].registered = 0;
	}
	drop_quiet();
}

static void drop_children(void)
{
	int i;

	for (i = 0; i < NUM(p.wait); i++) {
		wait_release(&p.wait[i]);
		if (p.wait[i].registered && p.wait[i].dead) {
			iv_wait_interest_unregister(&p.wait[i].iv);
			p.wait[i].registered = 0;
		}
	}
	for (i = 0; i < NUM(p.popen); i++) {
		if (p.popen[i].open && !p.popen[i].reads)
			popen_end(&p.popen[i]);
	}
}

static void drop_others(void)
{
	int i;

	for (i = 0; i < NUM(p.event); i++) {
		if (p.event[i].iv != NULL) {
			iv_event_unregister(p.event[i].iv);
			RELEASE(&p.event[i]);
		}
	}
	for (i = 0; i < NUM(p.raw); i++) {
		if (p.raw[i].iv != NULL) {
			iv_event_raw_unregister(p.raw[i].iv);
			RELEASE(&p.raw[i]);
		}
	}
	for (i = 0; i < NUM(p.signal); i++) {
		if (p.signal[i].registered)
			iv_signal_unregister(&p.signal[i].iv);
		p.signal[i].registered = 0;
	}
	if (p.inotify != NULL)
		inotify_end();
	if (p.pool_exists)
		put_pool();
	drop_children();
}

static void tick(void *arg)
{
	unsigned int calls = rnd(8);

	(void)arg;
	p.tick.registered = 0;
	called("tick", p.ticks);
	p.ticks--;
	p.where = IN_TICK;
	while (calls-- > 0)
		op();
	p.where = OUTSIDE;
	note_registered();

	if (p.ticks > 0) {
		set_timer(&p.tick, msec_now() + 1 +
			  rnd(one_in(4) ? 5000 : one_in(2) ? 300 : 10));
	} else if (p.quits) {
		note("%s", "quit");
		iv_quit();
	} else {
		note("%s", "end");
		p.budget = 0;
		drop_simple();
		drop_others();
	}
}

static void run(void)
{
	unsigned int calls = rnd(8);

	add_quiet();
	p.budget = BUDGET;
	p.ticks = 1 + rnd(30);
	/* Otherwise threads and children might outlive iv_main(). */
	p.quits = (p.kind == SPIN || p.kind == CORE) && one_in(2);
	while (calls-- > 0)
		op();
	if (one_in(10))
		iv_quit();
	set_timer(&p.tick, msec_now() + 1 + rnd(20));
	iv_main();
	note("iv_main() returned at %lld", (long long)msec_now());
	note_registered();
}

static void forget(void)
{
	int i;

	for (i = 0; i < NUM(p.task); i++) {
		if (p.task[i].iv != NULL)
			RELEASE(&p.task[i]);
		p.task[i].registered = 0;
	}
	for (i = 0; i < NUM(p.timer); i++) {
		if (p.timer[i].iv != NULL)
			RELEASE(&p.timer[i]);
		p.timer[i].registered = 0;
	}
	for (i = 0; i < NUM(p.fd); i++) {
		if (p.fd[i].iv != NULL)
			RELEASE(&p.fd[i]);
		p.fd[i].registered = 0;
		fd_close(&p.fd[i]);
	}
	while (p.num_open > 0)
		close(p.open[--p.num_open]);
}

/* From iv_init() to iv_deinit() */
static void live(void)
{
	struct iv_timer tick_timer;
	unsigned int runs = 1 + rnd(3);

	note("inited %d", iv_inited());
	iv_init();
	note("inited %d, method %s", iv_inited(), iv_poll_method_name());
	IV_TIMER_INIT(&tick_timer);
	tick_timer.cookie = NULL;
	tick_timer.handler = tick;
	p.tick.iv = &tick_timer;

	while (runs-- > 0)
		run();

	drop_others();
	if (one_in(2)) {
		drop_simple();
		p.budget = 0;
		iv_main();
		note("%s", "iv_main() returned with nothing registered");
	}
	if (p.pump_exists)
		pump_end();
	p.to_post = 0;
	drop_quiet();
	iv_deinit();
	world_loop_ended();
	forget();
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Mistakes that are fatal with both libraries. */
static void make_mistake(void)
{
	int which = rnd(9);
	struct iv_task task;
	struct iv_timer timer;
	struct iv_fd fd;

	note("mistake %d", which);
	iv_init();
	IV_TASK_INIT(&task);
	task.handler = nothing;
	IV_TIMER_INIT(&timer);
	timer.expires = iv_now;
	timer.handler = nothing;
	IV_FD_INIT(&fd);
	fd.fd = 0;

	switch (which) {
	case 0:
		iv_task_register(&task);
		iv_task_register(&task);
		break;
	case 1:
		iv_task_unregister(&task);
		break;
	case 2:
		iv_timer_register(&timer);
		iv_timer_register(&timer);
		break;
	case 3:
		iv_timer_unregister(&timer);
		break;
	case 4:
		iv_fd_register(&fd);
		iv_fd_register(&fd);
		break;
	case 5:
		iv_fd_unregister(&fd);
		break;
	case 6:
		iv_fd_set_handler_in(&fd, nothing);
		break;
	case 7:
		fd.fd = -1;
		iv_fd_register(&fd);
		break;
	default:
		iv_tls_user_register(&tls[0]);
	}
	note("%s", "not noticed");
}

static void play(unsigned int seed)
{
	static const char *const excluded[] = {
		"", "", "epoll-timerfd", "epoll-timerfd epoll",
		"epoll-timerfd epoll ppoll",
	};
	unsigned int lives;
	int i;

	random_state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	for (i = 0; i < 8; i++)
		rnd(1);
	main_thread = pthread_self();
	p.kind = rnd(NUM_KINDS);
	for (i = 0; i < NUM(p.fd); i++)
		p.fd[i].fd = p.fd[i].peer = -1;
	for (i = 0; i < NUM(p.wait); i++)
		p.wait[i].release = -1;
	setenv("IV_EXCLUDE_POLL_METHOD", excluded[rnd(NUM(excluded))], 1);
	alarm(60);
	world_begin();
	iv_set_fatal_msg_handler(fatal);
	for (i = 0; i < NUM(tls); i++)
		iv_tls_user_register(&tls[i]);

	for (lives = 1 + rnd(3); lives > 0; lives--)
		live();
	if (one_in(6))
		make_mistake();
	put(IN_LOOP, "end of the program");
}

/* Print the lines sorted by stream, each stream in its order. */
static void print_streams(void)
{
	int stream;

	for (stream = 0; stream < 100; stream++) {
		const char *line = trace->text;
		const char *end = line + trace->len;

		while (line < end) {
			const char *next = memchr(line, '\n', end - line);

			if (atoi(line) == stream)
				fwrite(line, 1, next + 1 - line, stdout);
			line = next + 1;
		}
	}
}

/* Returns 0 if the program did not end. */
static int play_in_child(unsigned int seed)
{
	char directory[32];
	int status;
	pid_t pid;

	trace->len = 0;
	snprintf(directory, sizeof(directory), "%u.%d", seed, (int)getpid());
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (mkdir(directory, 0700) < 0 || chdir(directory) < 0)
			abort();
		play(seed);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		abort();

	print_streams();
	printf("%02d seed %u ends with status %x\n", IN_LOOP, seed, status);

	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM;
}

int main(int argc, char **argv)
{
	unsigned int first;
	unsigned int num;

	if (argc != 3)
		return 2;
	trace = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trace == MAP_FAILED)
		abort();
	verbose = getenv("DIFFERENTIAL_VERBOSE") != NULL;
	first = strtoul(argv[1], NULL, 10);
	num = strtoul(argv[2], NULL, 10);
	while (num-- > 0 && play_in_child(first++))
		;

	return 0;
}

/*
 * libivykis: sequences of calls, made from bytes, against a model of the loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first byte chooses the poll method, eventfd or pipe, and whether the
 * clock moves.  The next two choose which kinds of calls are made: if these are
 * few, calls interact more often.  The other bytes are calls, made between runs
 * of iv_main() and inside each handler that runs.  A model records what is
 * registered, posted, ready and due, and checks what the manual promises:
 *
 *	- a handler runs once for something that has happened since the object
 *	  was registered, and never after the object was unregistered
 *	- timers that are due run before the round of tasks, in order of time; a
 *	  timer that they register runs in the next iteration at the earliest
 *	- tasks run in order of registration, at most once per round
 *	- events that the loop posts to itself run in order of first posts, in
 *	  one place among the tasks
 *	- a wait follows each round, or the 64th if each queues another one
 *	- what a wait reports is served before the next wait: err, in, out
 *	- raw events that the loop posts to itself come after that, even if the
 *	  wait is skipped; each once, unless it was registered again
 *	- a loop with something to do does not sleep, one without does not spin
 *	- iv_main() returns after iv_quit(), or when nothing is registered
 *
 * By the linker's --wrap this file replaces each wait, which ends at once;
 * eventfd(2), which it may refuse; the clock, which limits how many rounds the
 * loop makes without a wait; the beginning of these rounds, as some call no
 * handler; and the point where raw events are served.  For io_uring(7) it uses
 * a copy of the poll method with another wait.  It asks the kernel what can be
 * read and written.
 *
 *	FUZZ_TRACE=1		in the environment: print each call
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "iv_fd_private.h"
#include "iv_time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NUM		4		/* objects of each kind */
#define MAX_WAITS	50		/* in an input */
#define MAX_ROUNDS	64		/* between two waits */
#define FAR		3600		/* seconds: later than any run ends */

#define IN	1
#define OUT	2
#define ERR	4

/* The phases of an iteration. */
enum phase { START, TIMERS, ROUND, READY, RAWS };

enum where { OUTSIDE, IN_TIMER, IN_TASK, IN_EVENT, IN_RAW, IN_FD };

static const char *const where_names[] = {
	"outside", "timer", "task", "event", "raw event", "descriptor",
};

struct task {
	struct iv_task	iv;
	int		registered;
	unsigned int	round;		/* in which it ran or was initialised */
	int		again;		/* its handler registers it again */
};

struct timer {
	struct iv_timer	iv;
	int		registered;
	int		due;
	int		in_batch;
};

struct event {
	struct iv_event	iv;
	int		registered;
	int		pending;
	int		again;		/* its handler posts to it again */
};

/* MAYBE: a child, which shares the object, may have posted or drained. */
enum pending { NO, MAYBE, YES };

struct raw {
	struct iv_event_raw	iv;
	int		registered;
	enum pending	pending;
	int		inherited;	/* served like any other descriptor */
	int		may, must;	/* be served now */
	int		again;		/* its handler posts to it again */
};

struct fd {
	struct iv_fd	iv;
	int		peer;		/* -1: closed */
	int		registered;
	int		may, must;	/* bands to be served now */
	int		started;
	int		version[3];	/* of the handlers; 0: none */
};

/* In a queue of tasks, this is the place of the events. */
#define EVENTS		NUM

struct queue {
	int		num;
	int		of[NUM + 1];
};

static struct {
	enum phase	phase;
	enum where	where;
	int		all_boards;	/* have been checked */
	int		running;
	int		quit;
	int		waits_left;	/* after which the run quits */
	int		waits;
	int		forked;
	unsigned int	calls;		/* a bit per kind that may be made */
	int		timerfd;
	unsigned int	round;
	int		rounds;		/* since the last wait */
	struct task	task[NUM];
	struct queue	current, next;
	struct timer	timer[NUM];
	struct event	event[NUM];
	struct queue	posted;		/* events */
	int		batch;		/* the number of them being served */
	int		queued;		/* they have a place in a round */
	unsigned int	served;		/* the round of their last place */
	struct raw	raw[NUM];
	struct fd	fd[NUM];
} m;

static struct {
	const uint8_t	*begin;
	const uint8_t	*data;
	size_t		left;
} input;

static int refuse_eventfd;

/* While an input runs: the clock's time, and how much it advances. */
static struct {
	int		set;
	struct timespec	now;
	long		step;
} fake;

static int tracing;

#define trace(...)							\
	do {								\
		if (tracing)						\
			fprintf(stderr, "# " __VA_ARGS__);		\
	} while (0)

static void wrong(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

static void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "model: ");
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n# after these bytes, in octal:\n");
	for (; input.begin < input.data; input.begin++)
		fprintf(stderr, "\\%03o", *input.begin);
	fprintf(stderr, "\n");
	abort();
}

static unsigned int byte(void)
{
	if (input.left == 0)
		return 0;
	input.left--;

	return *input.data++;
}

static void append(struct queue *q, int i)
{
	q->of[q->num++] = i;
}

static int drop(struct queue *q, int i)
{
	int pos;

	for (pos = 0; pos < q->num; pos++) {
		if (q->of[pos] == i) {
			q->num--;
			memmove(&q->of[pos], &q->of[pos + 1],
				(q->num - pos) * sizeof(q->of[0]));
			return 1;
		}
	}

	return 0;
}

static int num_registered(void)
{
	int num = 0;
	int i;

	for (i = 0; i < NUM; i++)
		num += m.task[i].registered + m.timer[i].registered +
		       m.event[i].registered + m.raw[i].registered +
		       m.fd[i].registered;

	return num;
}


/*
 * Iterations.
 */
static void end_raw(int i)
{
	struct raw *r = &m.raw[i];

	if (r->must)
		wrong("raw event %d was posted and not served", i);
	/* The object was checked, and no other process posts any more. */
	if (r->may && r->pending == MAYBE)
		r->pending = NO;
	r->may = 0;
}

static void end_ready(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (m.raw[i].inherited)
			end_raw(i);
		if (m.fd[i].must)
			wrong("descriptor %d was ready (%d) and not served", i,
			      m.fd[i].must);
		m.fd[i].may = 0;
	}
}

static void end_batch(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (m.timer[i].in_batch)
			wrong("timer %d was due and not served", i);
	}
}

static void no_timer_is_due(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (m.timer[i].registered && m.timer[i].due)
			wrong("timer %d is late", i);
	}
}

/* If all posts were cancelled, no handler shows that the place is reached. */
static void skip_empty_turn(void)
{
	if (m.current.num == 0 || m.current.of[0] != EVENTS ||
	    m.posted.num > 0 || m.batch > 0)
		return;
	(void)drop(&m.current, EVENTS);
	m.queued = 0;
	m.served = m.round;
}

static void end_round(void)
{
	skip_empty_turn();
	if (m.batch > 0)
		wrong("event %d was not run with its batch", m.posted.of[0]);
	if (m.current.num > 0)
		wrong("task %d was not run in its round", m.current.of[0]);
	if (m.quit)
		wrong("the loop goes on after iv_quit()");
}

static int may_be_on_board(const struct raw *r)
{
	return r->registered && !r->inherited && r->pending != NO;
}

static void end_phase(void)
{
	if (m.phase == READY)
		end_ready();
	if (m.phase == ROUND)
		end_round();
}

static void end_iteration(void)
{
	int i;

	for (i = 0; i < NUM && m.phase != START; i++) {
		if (!m.raw[i].inherited && (m.all_boards || m.raw[i].must))
			end_raw(i);
	}
	end_phase();
}

static void begin_round(void)
{
	int i;

	if (m.phase == TIMERS) {
		end_batch();
	} else {
		end_iteration();
		no_timer_is_due();
	}
	if (++m.rounds > MAX_ROUNDS)
		wrong("more than %d rounds without a wait", MAX_ROUNDS);
	trace("round\n");
	m.phase = ROUND;
	m.round++;
	for (i = 0; i < m.next.num; i++)
		append(&m.current, m.next.of[i]);
	m.next.num = 0;
}

static int in_round(void)
{
	return m.where == IN_TASK || m.where == IN_EVENT;
}

/* Queue it at the end of this round, or of the next if it ran in this one. */
static void join_round(int i, unsigned int last)
{
	append(in_round() && last != m.round ? &m.current : &m.next, i);
}

static int must_not_sleep(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (may_be_on_board(&m.raw[i]) && m.raw[i].pending == YES)
			return 1;
		if (m.task[i].registered || m.event[i].pending ||
		    (m.timer[i].registered && m.timer[i].due))
			return 1;
	}

	return 0;
}

static int bands_set(const struct fd *fd)
{
	return (fd->version[0] ? IN : 0) | (fd->version[1] ? OUT : 0) |
	       (fd->version[2] ? ERR : 0);
}

int __real_poll(struct pollfd *fds, nfds_t num, int ms);

static void check_fd(struct fd *fd)
{
	int set = bands_set(fd);
	struct pollfd pfd = {
		.fd	= fd->iv.fd,
		.events	= (set & IN ? POLLIN : 0) | (set & OUT ? POLLOUT : 0),
	};

	fd->may = 0;
	fd->started = 0;
	if (!fd->registered || !set)
		return;
	(void)__real_poll(&pfd, 1, 0);
	if (pfd.revents & (POLLERR | POLLHUP))
		fd->may = IN | OUT | ERR;
	if (pfd.revents & POLLIN)
		fd->may |= IN;
	if (pfd.revents & POLLOUT)
		fd->may |= OUT;
	fd->must = fd->may & set;
}

/* A timer descriptor that was armed with a time in the past ends any wait. */
static int timerfd_ends_wait(void)
{
	struct pollfd pfd = { .fd = m.timerfd, .events = POLLIN };

	return m.timerfd > 0 && __real_poll(&pfd, 1, 0) > 0;
}

static int uses_kqueue(void)
{
	return iv_self != NULL && iv_self->fd.method != NULL &&
	       !strcmp(iv_self->fd.method->name, "kqueue");
}

/* A kqueue rejects such a descriptor, so the loop does not sleep. */
static int is_broken(const struct fd *fd)
{
	struct pollfd pfd = { .fd = fd->iv.fd };

	return uses_kqueue() && fd->registered && bands_set(fd) &&
	       __real_poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLERR);
}

static int may_stay_awake(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (may_be_on_board(&m.raw[i]) || is_broken(&m.fd[i]))
			return 1;
	}

	return m.queued || must_not_sleep();
}

static void check_raw(struct raw *raw)
{
	raw->may = raw->registered && raw->pending != NO;
	raw->must = raw->registered && raw->pending == YES;
}

/* Called when the loop waits; `at_once' if it would not sleep. */
static void begin_wait(int at_once)
{
	int i;

	if (m.phase != ROUND)
		wrong("a wait without a round before it");
	end_round();
	if (num_registered() == 0)
		wrong("a wait for nothing");
	if (!at_once && must_not_sleep() && !timerfd_ends_wait())
		wrong("the loop sleeps with something to do");
	if (at_once && !may_stay_awake())
		wrong("the loop does not sleep with nothing to do");

	trace("wait\n");
	m.phase = READY;
	m.rounds = 0;
	for (i = 0; i < NUM; i++) {
		if (m.raw[i].inherited)
			check_raw(&m.raw[i]);
		check_fd(&m.fd[i]);
	}

	if (++m.waits >= MAX_WAITS || --m.waits_left <= 0) {
		m.quit = 1;
		iv_quit();
	}
}

/* The headers replace these names if time_t has 64 bits. */
#if defined(__GLIBC__) && defined(_TIME_BITS) && __SIZEOF_LONG__ == 4
#if _TIME_BITS == 64
#define __real_clock_gettime	__real___clock_gettime64
#define __real_timerfd_settime	__real___timerfd_settime64
#define __wrap_clock_gettime	__wrap___clock_gettime64
#define __wrap_epoll_pwait2	__wrap___epoll_pwait2_time64
#define __wrap_ppoll		__wrap___ppoll64
#define __wrap_timerfd_settime	__wrap___timerfd_settime64
#endif
#endif

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __real_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms);
int __real_eventfd(unsigned int start, int flags);
void __real_iv_board_look(struct iv_state *st, int all);
void __real_iv_event_raw_run(struct iv_state *st);
void __real_iv_task_begin_round(struct iv_state *st);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *it,
			   struct itimerspec *old);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_epoll_pwait2(int epfd, struct epoll_event *ev, int max,
			const struct timespec *ts, const sigset_t *mask);
int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms);
int __wrap_eventfd(unsigned int start, int flags);
void __wrap_iv_board_look(struct iv_state *st, int all);
void __wrap_iv_event_raw_run(struct iv_state *st);
void __wrap_iv_task_begin_round(struct iv_state *st);
int __wrap_poll(struct pollfd *fds, nfds_t num, int ms);
int __wrap_ppoll(struct pollfd *fds, nfds_t num, const struct timespec *ts,
		 const sigset_t *mask);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *it,
			   struct itimerspec *old);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_MONOTONIC || !fake.set)
		return __real_clock_gettime(id, ts);

	fake.now.tv_nsec += fake.step;
	if (fake.now.tv_nsec >= 1000000000) {
		fake.now.tv_nsec -= 1000000000;
		fake.now.tv_sec++;
	}
	*ts = fake.now;

	return 0;
}

int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	begin_wait(ms == 0);

	return __real_epoll_wait(epfd, ev, max, 0);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *it,
			   struct itimerspec *old)
{
	m.timerfd = fd;

	return __real_timerfd_settime(fd, flags, it, old);
}

int __wrap_epoll_pwait2(int epfd, struct epoll_event *ev, int max,
			const struct timespec *ts, const sigset_t *mask)
{
	(void)mask;
	begin_wait(ts != NULL && iv_time_is_zero(ts));

	return __real_epoll_wait(epfd, ev, max, 0);
}

/* After a wait all boards are checked, which finds a child's posts, too. */
void __wrap_iv_board_look(struct iv_state *st, int all)
{
	int i;

	if (all != (m.phase == READY))
		wrong("%s boards are checked", all ? "all" : "only some");
	m.all_boards = all;
	for (i = 0; i < NUM; i++) {
		if (!m.raw[i].inherited)
			check_raw(&m.raw[i]);
	}
	__real_iv_board_look(st, all);
}

void __wrap_iv_event_raw_run(struct iv_state *st)
{
	end_phase();
	trace("raw events\n");
	m.phase = RAWS;
	__real_iv_event_raw_run(st);
}

void __wrap_iv_task_begin_round(struct iv_state *st)
{
	begin_round();
	__real_iv_task_begin_round(st);
}

/* Other methods call it for single descriptors. */
int __wrap_poll(struct pollfd *fds, nfds_t num, int ms)
{
	if (iv_self != NULL && iv_self->fd.method == &iv_fd_poll_method_poll)
		begin_wait(ms == 0);

	return __real_poll(fds, num, 0);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t num, const struct timespec *ts,
		 const sigset_t *mask)
{
	(void)mask;
	begin_wait(ts != NULL && iv_time_is_zero(ts));

	return __real_poll(fds, num, 0);
}

int __wrap_eventfd(unsigned int start, int flags)
{
	if (refuse_eventfd) {
		errno = ENOSYS;
		return -1;
	}

	return __real_eventfd(start, flags);
}


/*
 * Handlers.
 */
static void operate(int num);
static void queue_again(enum where where, int i);

/* The input decides what a handler does. */
static void inside(enum where where, int i)
{
	enum where before = m.where;

	if (!m.running)
		wrong("a handler is called outside iv_main()");
	if (before != OUTSIDE)
		wrong("a handler is called inside another");
	m.where = where;
	trace("%s %d\n", where_names[where], i);
	operate(byte() % 5);
	queue_again(where, i);
	trace("end\n");
	m.where = before;
}

static void run_task(void *_t)
{
	struct task *t = _t;
	int i = t - m.task;

	skip_empty_turn();
	if (m.batch > 0)
		wrong("task %d runs among events", i);
	if (m.current.num == 0 || m.current.of[0] != i)
		wrong("task %d runs out of turn", i);
	(void)drop(&m.current, i);
	t->registered = 0;
	t->round = m.round;
	if (iv_task_registered(&t->iv))
		wrong("task %d runs and is registered", i);
	inside(IN_TASK, i);
}

static int is_before(const struct timer *a, const struct timer *b)
{
	return a->iv.expires.tv_nsec < b->iv.expires.tv_nsec;
}

static void run_timer(void *_t)
{
	struct timer *t = _t;
	int i;

	if (m.phase != TIMERS) {
		end_iteration();
		m.phase = TIMERS;
		for (i = 0; i < NUM; i++)
			m.timer[i].in_batch = m.timer[i].registered &&
					      m.timer[i].due;
	}
	if (!t->registered || !t->in_batch)
		wrong("timer %d runs and is not due", (int)(t - m.timer));
	for (i = 0; i < NUM; i++) {
		if (m.timer[i].in_batch && is_before(&m.timer[i], t))
			wrong("timer %d runs before timer %d",
			      (int)(t - m.timer), i);
	}
	t->registered = t->in_batch = 0;
	if (iv_timer_registered(&t->iv))
		wrong("timer %d runs and is registered", (int)(t - m.timer));
	inside(IN_TIMER, t - m.timer);
}

static void begin_events(void)
{
	if (m.current.num == 0 || m.current.of[0] != EVENTS)
		wrong("events run out of turn");
	(void)drop(&m.current, EVENTS);
	m.queued = 0;
	m.served = m.round;
	m.batch = m.posted.num;
}

static void run_event(void *_e)
{
	struct event *e = _e;
	int i = e - m.event;

	if (m.batch == 0)
		begin_events();
	if (!e->registered || !e->pending)
		wrong("event %d runs and was not posted", i);
	if (m.posted.of[0] != i)
		wrong("event %d runs before event %d", i, m.posted.of[0]);
	(void)drop(&m.posted, i);
	m.batch--;
	e->pending = 0;
	inside(IN_EVENT, i);
}

/* Called when `next' is served: all handlers of the one before have run. */
static void end_turns_before(const struct fd *next)
{
	struct fd *fd;

	if (m.phase != READY)
		wrong("a descriptor is served before the wait");
	for (fd = m.fd; fd < m.fd + NUM; fd++) {
		if (fd == next || !fd->started)
			continue;
		if (fd->must)
			wrong("descriptor %d was served in part",
			      (int)(fd - m.fd));
		fd->may = 0;
		fd->started = 0;
	}
}

/*
 * What was posted before the boards are checked runs after that, each once.
 * What a child has posted may run before that, as a child writes to the
 * descriptor.
 */
static int may_run(const struct raw *r)
{
	if (m.phase == RAWS || r->inherited)
		return r->registered && r->may;

	return may_be_on_board(r);
}

static void run_raw(void *_r)
{
	struct raw *r = _r;

	if (m.phase != RAWS)
		end_turns_before(NULL);
	else if (r->inherited)
		wrong("raw event %d runs and has no board", (int)(r - m.raw));
	if (!may_run(r))
		wrong("raw event %d runs and was not posted",
		      (int)(r - m.raw));
	r->may = r->must = 0;
	r->pending = NO;
	inside(IN_RAW, r - m.raw);
}

/* The order in which the bands are served. */
static const int turns[3] = { ERR, IN, OUT };

static int band_index(int band)
{
	return band == IN ? 0 : band == OUT ? 1 : 2;
}

static void run_fd(struct fd *fd, int band, int version)
{
	int i = fd - m.fd;
	int t;

	end_turns_before(fd);
	if (!fd->registered || !(fd->may & band))
		wrong("descriptor %d is served (%d) and not ready (%d)", i,
		      band, fd->may);
	if (fd->version[band_index(band)] != version)
		wrong("descriptor %d: a wrong handler runs (%d)", i, band);
	fd->started = 1;
	for (t = 0; turns[t] != band; t++) {
		if (fd->must & turns[t])
			wrong("descriptor %d is served (%d) out of turn", i,
			      band);
		fd->may &= ~turns[t];
	}
	fd->may &= ~band;
	fd->must &= ~band;
	inside(IN_FD, i);
}

#define FD_HANDLER(name, band, version)					\
	static void name(void *fd)					\
	{								\
		run_fd(fd, band, version);				\
	}

FD_HANDLER(in_1, IN, 1)
FD_HANDLER(in_2, IN, 2)
FD_HANDLER(out_1, OUT, 1)
FD_HANDLER(out_2, OUT, 2)
FD_HANDLER(err_1, ERR, 1)
FD_HANDLER(err_2, ERR, 2)

static void (*const fd_handlers[3][3])(void *) = {
	{ NULL, in_1, in_2 }, { NULL, out_1, out_2 }, { NULL, err_1, err_2 },
};


/*
 * Calls.
 */
static void toggle_task(int i)
{
	struct task *t = &m.task[i];

	if (t->registered) {
		iv_task_unregister(&t->iv);
		t->registered = 0;
		if (!drop(&m.current, i))
			(void)drop(&m.next, i);
		return;
	}
	iv_task_register(&t->iv);
	t->registered = 1;
	join_round(i, t->round);
}

static void init_task(int i)
{
	struct task *t = &m.task[i];

	if (t->registered)
		return;
	IV_TASK_INIT(&t->iv);
	t->round = m.round;
}

static void toggle_timer(int i, int when)
{
	struct timer *t = &m.timer[i];

	if (t->registered) {
		iv_timer_unregister(&t->iv);
		t->registered = t->in_batch = 0;
		return;
	}
	t->due = when % 8 != 7;
	t->iv.expires = (struct timespec){ .tv_nsec = when % 8 };
	if (!t->due)
		t->iv.expires.tv_sec = iv_now.tv_sec + FAR;
	iv_timer_register(&t->iv);
	t->registered = 1;
}

static int is_in_batch(int i)
{
	int pos;

	for (pos = 0; pos < m.batch; pos++) {
		if (m.posted.of[pos] == i)
			return 1;
	}

	return 0;
}

static void toggle_event(int i)
{
	struct event *e = &m.event[i];

	if (e->registered) {
		iv_event_unregister(&e->iv);
		e->registered = e->pending = 0;
		if (is_in_batch(i))
			m.batch--;
		(void)drop(&m.posted, i);
		return;
	}
	if (iv_event_register(&e->iv) < 0)
		wrong("event %d cannot be registered", i);
	e->registered = 1;
}

static void post_event(int i)
{
	struct event *e = &m.event[i];

	iv_event_post(&e->iv);
	if (!e->registered || e->pending)
		return;
	e->pending = 1;
	append(&m.posted, i);
	if (m.queued)
		return;
	m.queued = 1;
	join_round(EVENTS, m.served);
}

/* Unregister the event, register it and post to it, a number of times. */
static void renew_event(int i, int times)
{
	while (times-- > 0 && m.event[i].registered) {
		toggle_event(i);
		toggle_event(i);
		post_event(i);
	}
}

static void toggle_raw(int i)
{
	struct raw *r = &m.raw[i];

	if (r->registered)
		iv_event_raw_unregister(&r->iv);
	else if (iv_event_raw_register(&r->iv) < 0)
		wrong("raw event %d cannot be registered", i);
	r->registered = !r->registered;
	r->may = r->must = r->inherited = 0;
	r->pending = NO;
}

static void post_raw(int i)
{
	struct raw *r = &m.raw[i];

	iv_event_raw_post(&r->iv);
	r->pending = r->registered ? YES : NO;
}

static void open_pair(struct fd *fd)
{
	int sv[2];

	if (fd->iv.fd >= 0)
		return;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) < 0)
		wrong("no descriptors");
	fd->iv.fd = sv[0];
	fd->peer = sv[1];
}

static void close_pair(struct fd *fd)
{
	if (fd->iv.fd < 0)
		return;
	(void)close(fd->iv.fd);
	if (fd->peer >= 0)
		(void)close(fd->peer);
	fd->iv.fd = -1;
}

static void unregister_fd(struct fd *fd)
{
	iv_fd_unregister(&fd->iv);
	fd->registered = fd->may = fd->must = fd->started = 0;
}

static void register_fd(struct fd *fd, int try)
{
	fd->iv.handler_in = fd_handlers[0][fd->version[0]];
	fd->iv.handler_out = fd_handlers[1][fd->version[1]];
	fd->iv.handler_err = fd_handlers[2][fd->version[2]];
	if (!try)
		iv_fd_register(&fd->iv);
	else if (iv_fd_register_try(&fd->iv) < 0)
		wrong("a descriptor cannot be registered");
	fd->registered = 1;
}

static void toggle_fd(int i, int how)
{
	struct fd *fd = &m.fd[i];

	if (fd->registered) {
		unregister_fd(fd);
		if (how & 1) {
			/* Another socket with the same number. */
			close_pair(fd);
			open_pair(fd);
		}
		return;
	}

	open_pair(fd);
	register_fd(fd, how & 1);
	if (how == 14) {
		/* Closed before the loop waits for it, which is allowed. */
		close_pair(fd);
		unregister_fd(fd);
		open_pair(fd);
	}
}

static void set_handler(int i, int how)
{
	static void (*const set[3])(struct iv_fd *, void (*)(void *)) = {
		iv_fd_set_handler_in, iv_fd_set_handler_out,
		iv_fd_set_handler_err,
	};
	static const int bands[3] = { IN, OUT, ERR };
	struct fd *fd = &m.fd[i];
	int b = how % 3;

	fd->version[b] = how / 3 % 3;
	if (!fd->registered)
		return;
	set[b](&fd->iv, fd_handlers[b][fd->version[b]]);
	/* Its turn may have passed by the time it is set again. */
	if (!fd->version[b])
		fd->must &= ~bands[b];
}

static void use_peer(int i, int how)
{
	struct fd *fd = &m.fd[i];
	char buf[64];

	open_pair(fd);
	switch (how % 4) {
	case 0:
	case 1:
		if (fd->peer >= 0)
			(void)!write(fd->peer, "x", 1);
		break;
	case 2:
		(void)!read(fd->iv.fd, buf, sizeof(buf));
		break;
	case 3:
		if (fd->peer >= 0)
			(void)close(fd->peer);
		fd->peer = -1;
		break;
	}
}

static void run_loop(int num_waits)
{
	if (m.where != OUTSIDE || m.waits >= MAX_WAITS)
		return;
	m.phase = START;
	m.rounds = 0;
	m.quit = 0;
	m.waits_left = num_waits;
	m.running = 1;
	iv_main();
	m.running = 0;
	if (!m.quit && num_registered() > 0)
		wrong("iv_main() returned by itself");
	if (m.phase != ROUND)
		wrong("iv_main() returned without a last round");
	m.quit = 0;
	end_round();
	m.phase = START;
}

static void inherit(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		struct raw *r = &m.raw[i];

		/* Pending posts are written, and reported by a wait. */
		r->inherited = r->registered;
		r->may = r->must = 0;
	}
}

/* The child runs the rest of the input, and then the parent does. */
static void fork_here(void)
{
	int status = -1;
	pid_t pid;
	int i;

	if (m.forked)
		return;
	m.forked = 1;
	pid = fork();
	if (pid == 0) {
		inherit();
		return;
	}
	if (pid < 0)
		wrong("no child");
	/* The fuzzer's interval timer interrupts the call. */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status)
		wrong("a child's wait status is %#x", status);
	/* The next check of the boards finds what the child has posted. */
	m.all_boards = 0;
	for (i = 0; i < NUM; i++) {
		m.raw[i].must = 0;
		m.raw[i].pending = m.raw[i].registered ? MAYBE : NO;
	}
}

static void quit(void)
{
	if (m.where == OUTSIDE)
		return;
	iv_quit();
	m.quit = 1;
}

static void unregister_all(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (m.task[i].registered)
			toggle_task(i);
		if (m.timer[i].registered)
			toggle_timer(i, 0);
		if (m.event[i].registered)
			toggle_event(i);
		if (m.raw[i].registered)
			toggle_raw(i);
		if (m.fd[i].registered)
			unregister_fd(&m.fd[i]);
	}
}

#define RUN	13

static void one_call(void)
{
	unsigned int op = byte() % 16;
	unsigned int arg = byte();
	unsigned int i = arg % NUM;

	arg /= NUM;
	while (!(m.calls & (1U << op)))
		op = (op + 1) % 16;
	trace("call %u: object %u, %u\n", op, i, arg);
	switch (op) {
	case 0:
	case 1:
		toggle_task(i);
		m.task[i].again = arg % 4 == 3;
		break;
	case 2:
		init_task(i);
		break;
	case 3:
	case 4:
		toggle_timer(i, arg);
		break;
	case 5:
		if (arg % 2)
			renew_event(i, arg / 2 % 8);
		else
			toggle_event(i);
		break;
	case 6:
		post_event(i);
		m.event[i].again = arg % 4 == 3;
		break;
	case 7:
		toggle_raw(i);
		break;
	case 8:
		post_raw(i);
		m.raw[i].again = arg % 4 == 3;
		break;
	case 9:
		toggle_fd(i, arg);
		break;
	case 10:
	case 11:
		set_handler(i, arg);
		break;
	case 12:
		use_peer(i, arg);
		break;
	case RUN:
		run_loop(1 + arg % 8);
		break;
	case 14:
		if (arg % 32 == 0)
			unregister_all();
		else if (arg % 32 == 1)
			fork_here();
		else if (arg % 8 == 2)
			quit();
		break;
	case 15:
		run_loop(2);
		break;
	}
}

/* Some objects queue themselves again each time. */
static void queue_again(enum where where, int i)
{
	if (where == IN_TASK && m.task[i].again && !m.task[i].registered)
		toggle_task(i);
	if (where == IN_EVENT && m.event[i].again)
		post_event(i);
	if (where == IN_RAW && m.raw[i].again)
		post_raw(i);
}

static void operate(int num)
{
	while (num-- > 0 && input.left > 0)
		one_call();
}


/*
 * An input.
 */
/* The methods that the system has, and a copy of uring with another wait. */
static const struct iv_fd_poll_method *usual[NUM_METHODS];
static unsigned int num_usual;
static struct iv_fd_poll_method ring;

static void ring_wait(struct iv_state *st, const struct timespec *until)
{
	static const struct timespec at_once;
	struct timespec left = { 0 };

	if (until != NULL)
		iv_time_left(&left, until);
	begin_wait(until != NULL && iv_time_is_zero(&left));
	iv_fd_poll_method_uring.wait(st, &at_once);
}

static void note_method(const struct iv_fd_poll_method *method)
{
	if (method != &iv_fd_poll_method_uring) {
		usual[num_usual++] = method;
		return;
	}
	ring = *method;
	ring.wait = ring_wait;
}

static void find_methods(struct iv_state *st)
{
	int i;

	for (i = 0; i < NUM_METHODS; i++) {
		const struct iv_fd_poll_method *method = iv_fd_poll_methods[i];

		if (method->init(st) < 0)
			continue;
		method->deinit(st);
		note_method(method);
	}
}

static void use_method(unsigned int how)
{
	struct iv_state *st = iv_self;

	st->fd.method->deinit(st);
	if (num_usual == 0)
		find_methods(st);
	st->fd.method = how & 16 && ring.init != NULL ? &ring :
			usual[how % num_usual];
	if (st->fd.method->init(st) < 0)
		wrong("poll method %s", st->fd.method->name);
}

static void set_up(void)
{
	int i;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < NUM; i++) {
		struct task *t = &m.task[i];
		struct timer *ti = &m.timer[i];
		struct event *e = &m.event[i];
		struct raw *r = &m.raw[i];
		struct fd *fd = &m.fd[i];

		IV_TASK_INIT(&t->iv);
		t->iv.cookie = t;
		t->iv.handler = run_task;
		IV_TIMER_INIT(&ti->iv);
		ti->iv.cookie = ti;
		ti->iv.handler = run_timer;
		IV_EVENT_INIT(&e->iv);
		e->iv.cookie = e;
		e->iv.handler = run_event;
		IV_EVENT_RAW_INIT(&r->iv);
		r->iv.cookie = r;
		r->iv.handler = run_raw;
		IV_FD_INIT(&fd->iv);
		fd->iv.cookie = fd;
		fd->version[0] = 1;
	}
}

static int lowest_free(void)
{
	int fd = dup(2);

	(void)close(fd);

	return fd;
}

static void begin(unsigned int how)
{
	refuse_eventfd = how & 4;
	fake.step = how & 8 ? 20000 : 0;
	(void)__real_clock_gettime(CLOCK_MONOTONIC, &fake.now);
	fake.now.tv_nsec = 0;
	fake.set = 1;

	iv_init();
	use_method(how);
	set_up();
	m.calls = byte();
	m.calls |= byte() << 8 | 1 << RUN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pid_t pid = getpid();
	int lowest = lowest_free();
	int i;

	input.begin = input.data = data;
	input.left = size;
	tracing = getenv("FUZZ_TRACE") != NULL;
	begin(byte());
	while (input.left > 0)
		one_call();
	run_loop(3);
	unregister_all();
	run_loop(1);
	for (i = 0; i < NUM; i++)
		close_pair(&m.fd[i]);
	iv_deinit();
	fake.set = 0;

	if (lowest_free() != lowest)
		wrong("a descriptor is left open");
	if (getpid() != pid)
		_exit(0);

	return 0;
}

/*
 * libivykis: timers in virtual time, against a model.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The test provides the clock and the waits: a wait takes no time and advances
 * the clock to when it would have ended, so that years pass in a second.
 * Random calls are made in handlers of timers, tasks, events and descriptors.
 * According to the model, a step of the loop calls the timers that are
 * registered and due when it begins, in the order of expiry and then of
 * registration, and no others; and no wait lasts beyond the first expiry.  So
 * no timer is called early, or later than necessary.
 *
 * With the linker's --wrap this file intercepts each step, and may refuse the
 * memory that a loop allocates with its first timer.  If iv_timer.c is compiled
 * with IV_DEBUG, each step also checks the invariant of its structure.
 *
 *	TEST_SEED=...	in the environment: run only the sequence of this seed
 */

#include <errno.h>
#include <iv.h>
#include <iv_event.h>
#include <limits.h>
#ifdef HAVE_URING
#include <linux/io_uring.h>
#endif
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

struct iv_state;

/* Some libcs do not declare it. */
int epoll_pwait2(int epfd, struct epoll_event *ev, int max,
		 const struct timespec *ts, const sigset_t *mask);

void __real_iv_timer_run(struct iv_state *st);
void __wrap_iv_timer_run(struct iv_state *st);
void *__real_calloc(size_t num, size_t size);
void *__wrap_calloc(size_t num, size_t size);

#define NSEC_PER_SEC	INT64_C(1000000000)
#define TIME_MAX	((time_t)(sizeof(time_t) == 8 ? INT64_MAX : INT32_MAX))

/* The model's times are nanoseconds in 63 bits. */
#define NEVER		INT64_MAX
#define CLOCK_MAX	(sizeof(time_t) == 8 ? NEVER / 4 * 3 : \
			 INT32_MAX / 4 * 3 * NSEC_PER_SEC)

#define ENTER_ABS_TIMER	(1U << 5)	/* as in iv_fd_uring.c */

#define MOST		400		/* timers */
#define SEEDS		40
#define OPERATIONS	30000		/* for each seed */

struct member {
	struct iv_timer	timer;
	int		slot;
	unsigned long	number;		/* of the registration, or 0 */
};

/* A call that is due in a step, unless the number has changed meanwhile. */
struct due {
	int		slot;
	unsigned long	number;
	struct timespec	expires;
};

struct step {
	struct step	*outer;
	struct due	*due;
	int		num;
	int		next;
};

static struct {
	uint64_t	seed;
	uint64_t	random;
	int64_t		now;
	int64_t		next_ready;	/* the descriptor, or NEVER */
	int64_t		armed;		/* the timerfd's expiry, or NEVER */
	int		timerfd;
	int64_t		precision;	/* of waits */
	struct step	*step;
	struct member	*members[MOST];
	int		num;
	int		idle;		/* most are idle timeouts of a minute */
	unsigned long	registrations;
	unsigned long	unregistrations;
	unsigned long	calls;
	unsigned long	in_vain;	/* waits that ended with nothing due */
	int		refusing;	/* memory, most of the time */
	unsigned long	refusals;
	long		left;		/* operations */
	int		nested;
	int		waits_left;	/* of a nested loop */
	struct iv_task	task;
	struct iv_event	event;
	struct iv_fd	fd;
	int		fd_end;		/* writing makes fd ready */
} m;

static void wrong(const char *what)
{
	fprintf(stderr, "# TEST_SEED=%llu: %s, at %lld.%09lld, %ld left\n",
		(unsigned long long)m.seed, what,
		(long long)(m.now / NSEC_PER_SEC),
		(long long)(m.now % NSEC_PER_SEC), m.left);
	check_failed(__FILE__, __LINE__, what);
}

static uint64_t rnd64(void)
{
	m.random ^= m.random << 13;
	m.random ^= m.random >> 7;
	m.random ^= m.random << 17;

	return m.random;
}

static unsigned int rnd(unsigned int n)
{
	return (rnd64() >> 20) % n;
}

/* Each order of magnitude, in nanoseconds, is equally likely. */
static int64_t any_distance(int bits)
{
	int shift = 63 - rnd(bits);

	return rnd64() >> shift >> 1;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t plus(int64_t a, int64_t distance)
{
	return distance > NEVER - a ? NEVER : a + distance;
}

static struct timespec timespec_of(int64_t nsec)
{
	struct timespec ts = {
		.tv_sec		= nsec / NSEC_PER_SEC,
		.tv_nsec	= nsec % NSEC_PER_SEC,
	};

	/* A 32-bit time_t. */
	if (nsec / NSEC_PER_SEC > TIME_MAX)
		ts.tv_sec = TIME_MAX;

	return ts;
}

/* The sum of both members in nanoseconds, or the nearest number. */
static int64_t nsec_of(const struct timespec *ts)
{
	int64_t nsec;

	if (__builtin_mul_overflow((int64_t)ts->tv_sec, NSEC_PER_SEC, &nsec) ||
	    __builtin_add_overflow(nsec, (int64_t)ts->tv_nsec, &nsec))
		return ts->tv_sec < 0 ? INT64_MIN : NEVER;

	return nsec;
}

/* After iv_init() no other single object is as large. */
void *__wrap_calloc(size_t num, size_t size)
{
	if (num == 1 && size >= 1024 && m.refusing &&
	    (m.refusals == 0 || rnd(8) != 0)) {
		m.refusals++;
		errno = ENOMEM;
		return NULL;
	}

	return __real_calloc(num, size);
}


/*
 * The clock and the waits.
 */
static int virtual_time;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	long number = SYS_clock_gettime;

#ifdef SYS_clock_gettime64
	if (sizeof(time_t) > sizeof(long))
		number = SYS_clock_gettime64;
#endif
	if (!virtual_time || id != CLOCK_MONOTONIC)
		return syscall(number, id, ts);

	*ts = timespec_of(m.now);

	return 0;
}

static int real_poll(struct pollfd *fds, nfds_t num, int wait)
{
	int64_t zero[2] = { 0 };	/* the kernel writes to it */
	long number = 0;

#ifdef SYS_ppoll
	number = SYS_ppoll;
#endif
#ifdef SYS_ppoll_time64
	if (sizeof(time_t) > sizeof(long))
		number = SYS_ppoll_time64;
#endif

	return syscall(number, fds, num, wait ? NULL : zero, NULL, 0L);
}

static int real_settime(int fd, int flags, const struct itimerspec *it)
{
	long number = SYS_timerfd_settime;

#ifdef SYS_timerfd_settime64
	if (sizeof(time_t) > sizeof(long))
		number = SYS_timerfd_settime64;
#endif

	return syscall(number, fd, flags, it, NULL);
}

/* Make a descriptor readable; when points to m.armed or m.next_ready. */
static void make_readable(int64_t *when, int fd)
{
	static const struct itimerspec past = { .it_value = { 0, 1 } };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	*when = NEVER;
	if (when == &m.armed) {
		check_int(real_settime(fd, TFD_TIMER_ABSTIME, &past), 0);
		check_int(real_poll(&pfd, 1, 1), 1);
	} else {
		check_int(write(m.fd_end, "x", 1), 1);
	}
}

static int64_t first_expiry(void)
{
	int64_t first = NEVER;
	int i;

	for (i = 0; i < m.num; i++) {
		if (m.members[i]->number != 0)
			first = sooner(first,
				       nsec_of(&m.members[i]->timer.expires));
	}

	return first;
}

static void sleep_until(int64_t until)
{
	int64_t first = later(first_expiry(), m.now);

	until = sooner(until, m.armed);
	if (m.step != NULL && !m.nested)
		wrong("the loop waits in a step");
	if (until > m.now && iv_task_registered(&m.task))
		wrong("the loop sleeps although a task is registered");
	if (until > first && until - first >= m.precision)
		wrong("the loop sleeps although a timer is due");

	if (until <= m.next_ready && until < first)
		m.in_vain++;
	until = sooner(sooner(until, m.next_ready), CLOCK_MAX);
	m.now = later(until, m.now);
	if (m.now >= m.armed)
		make_readable(&m.armed, m.timerfd);
	if (m.now >= m.next_ready)
		make_readable(&m.next_ready, m.fd.fd);
	if (m.now >= CLOCK_MAX)
		m.left = 0;
	if (m.nested && --m.waits_left <= 0)
		iv_quit();
}

static int64_t after_ms(int ms)
{
	return ms < 0 ? NEVER : plus(m.now, ms * (NSEC_PER_SEC / 1000));
}

static int64_t after_ts(const struct timespec *ts)
{
	return ts == NULL ? NEVER : plus(m.now, nsec_of(ts));
}

int epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	sleep_until(after_ms(ms));

	return epoll_pwait(epfd, ev, max, 0, NULL);
}

int epoll_pwait2(int epfd, struct epoll_event *ev, int max,
		 const struct timespec *ts, const sigset_t *mask)
{
	sleep_until(after_ts(ts));

	return epoll_pwait(epfd, ev, max, 0, mask);
}

int poll(struct pollfd *fds, nfds_t num, int ms)
{
	if (virtual_time)
		sleep_until(after_ms(ms));

	return real_poll(fds, num, 0);
}

int ppoll(struct pollfd *fds, nfds_t num, const struct timespec *ts,
	  const sigset_t *mask)
{
	(void)mask;
	sleep_until(after_ts(ts));

	return real_poll(fds, num, 0);
}

#ifdef HAVE_URING
/* The timeout is absolute or relative. */
int io_uring_enter2(unsigned int fd, unsigned int num, unsigned int min,
		    unsigned int flags, sigset_t *arg, size_t size);
int io_uring_enter2(unsigned int fd, unsigned int num, unsigned int min,
		    unsigned int flags, sigset_t *arg, size_t size)
{
	struct io_uring_getevents_arg a;
	struct timespec ts;

	if (min > 0) {
		check_int(size, sizeof(a));
		memcpy(&a, arg, sizeof(a));
		if (a.ts != 0)
			memcpy(&ts, (void *)(uintptr_t)a.ts, sizeof(ts));
		sleep_until(a.ts == 0 ? NEVER :
				flags & ENTER_ABS_TIMER ?
				later(nsec_of(&ts), m.now) : after_ts(&ts));
	}

	return syscall(SYS_io_uring_enter, fd, num, 0,
		       flags & IORING_ENTER_GETEVENTS, NULL, 0) < 0 ? -errno :
	       (int)num;
}
#endif

int timerfd_settime(int fd, int flags, const struct itimerspec *it,
		    struct itimerspec *old)
{
	check_int(flags, TFD_TIMER_ABSTIME);
	check(old == NULL);
	m.timerfd = fd;
	m.armed = later(nsec_of(&it->it_value), m.now);

	return 0;
}


/*
 * Operations.
 */
static void timer_runs(void *_m);

static struct timespec any_expiry(struct member *t)
{
	int64_t nsec = plus(m.now, any_distance(63));
	struct timespec ts;
	int bits;

	if (m.idle && rnd(100))
		return timespec_of(m.now + 60 * NSEC_PER_SEC - rnd(1000));

	switch (rnd(20)) {
	case 0:
		return timespec_of(m.now - any_distance(63));
	case 1:
		return timespec_of(m.now);
	case 2:
	case 3:
	case 4:
		return m.members[rnd(m.num)]->timer.expires;
	case 5:
		return t->timer.expires;
	case 6:
	case 7:
		bits = rnd(50);
		return timespec_of(nsec >> bits << bits);
	case 8:
		ts.tv_sec = TIME_MAX - rnd(2);
		ts.tv_nsec = rnd(NSEC_PER_SEC);
		return ts;
	case 9:
		return (struct timespec){ TIME_MAX, LONG_MAX };
	case 10:
		return (struct timespec){ 0 };
	case 11:
		ts = timespec_of(nsec);
		ts.tv_sec -= 1;
		ts.tv_nsec += NSEC_PER_SEC;
		return ts;
	case 12:
		ts = timespec_of(nsec);
		ts.tv_sec += 2 * (ts.tv_sec < TIME_MAX - 1);
		ts.tv_nsec -= 2 * (ts.tv_sec < TIME_MAX - 1) * NSEC_PER_SEC;
		return ts;
	case 13:
	case 14:
	case 15:
		return timespec_of(plus(m.now, any_distance(34)));
	default:
		return timespec_of(nsec);
	}
}

static void make_member(int slot)
{
	struct member *t = malloc(sizeof(*t));

	check(t != NULL);
	memset(t, rnd(256), sizeof(*t));
	IV_TIMER_INIT(&t->timer);
	t->timer.expires = timespec_of(m.now);
	t->timer.cookie = t;
	t->timer.handler = timer_runs;
	t->slot = slot;
	t->number = 0;
	m.members[slot] = t;
}

static void free_member(struct member *t)
{
	memset(t, rnd(256), sizeof(*t));
	free(t);
}

static void unregister(struct member *t)
{
	iv_timer_unregister(&t->timer);
	t->number = 0;
	m.unregistrations++;
}

static void operate(void)
{
	int slot = rnd(m.num);
	struct member *t = m.members[slot];

	m.left--;
	if (iv_timer_registered(&t->timer) != (t->number != 0))
		wrong("iv_timer_registered() is wrong");
	if (t->number != 0) {
		unregister(t);
		if (!m.idle && rnd(2)) {
			free_member(t);
			make_member(slot);
			t = m.members[slot];
		}
	}
	if (m.idle || rnd(3)) {
		t->timer.expires = any_expiry(t);
		t->number = ++m.registrations;
		iv_timer_register(&t->timer);
	}
}

/* A handler takes some time. */
static void take_time(void)
{
	if (rnd(8) == 0)
		m.now = sooner(plus(m.now, any_distance(24)), CLOCK_MAX);
	if (rnd(8) == 0)
		iv_invalidate_now();
}

static void nest(void)
{
	if (m.nested || m.idle || rnd(100))
		return;
	m.nested = 1;
	m.waits_left = 1 + rnd(4);
	iv_main();
	m.nested = 0;
}

static void do_something(void)
{
	int i;

	for (i = rnd(rnd(10) ? 4 : 50); i > 0; i--)
		operate();
	take_time();
	if (rnd(20) == 0 && !iv_task_registered(&m.task))
		iv_task_register(&m.task);
	if (rnd(20) == 0)
		iv_event_post(&m.event);
	nest();
	if (m.left <= 0)
		iv_quit();
}

static void task_or_event_runs(void *cookie)
{
	(void)cookie;
	do_something();
}

static void fd_runs(void *cookie)
{
	char c;

	(void)cookie;
	check_int(read(m.fd.fd, &c, 1), 1);
	if (m.idle)
		m.next_ready = plus(m.now, any_distance(28));
	else
		m.next_ready = plus(m.now, any_distance(rnd(1000) ? 38 : 59));
	do_something();
}


/*
 * Steps.
 */
static int compare_due(const void *_a, const void *_b)
{
	const struct due *a = _a, *b = _b;
	int64_t na = nsec_of(&a->expires), nb = nsec_of(&b->expires);

	if (na != nb)
		return na < nb ? -1 : 1;

	return a->number < b->number ? -1 : 1;
}

static void begin_step(struct step *step)
{
	int64_t now = nsec_of(&iv_now);
	int i;

	step->outer = m.step;
	step->due = malloc(MOST * sizeof(*step->due));
	check(step->due != NULL);
	step->num = 0;
	step->next = 0;
	for (i = 0; i < m.num; i++) {
		struct member *t = m.members[i];

		if (t->number != 0 && nsec_of(&t->timer.expires) <= now)
			step->due[step->num++] = (struct due){
				t->slot, t->number, t->timer.expires,
			};
	}
	qsort(step->due, step->num, sizeof(*step->due), compare_due);
	m.step = step;
}

static void skip_changed(struct step *step)
{
	while (step->next < step->num &&
	       m.members[step->due[step->next].slot]->number !=
	       step->due[step->next].number)
		step->next++;
}

static void end_step(struct step *step)
{
	skip_changed(step);
	if (step->next < step->num)
		wrong("a timer was due and not called");
	free(step->due);
	m.step = step->outer;
}

void __wrap_iv_timer_run(struct iv_state *st)
{
	struct step step;

	begin_step(&step);
	__real_iv_timer_run(st);
	end_step(&step);
}

static void timer_runs(void *_t)
{
	struct member *t = _t;
	struct step *step = m.step;

	m.calls++;
	if (nsec_of(&t->timer.expires) > m.now)
		wrong("a timer is early");
	skip_changed(step);
	if (step->next == step->num)
		wrong("a timer was called that was not due in this step");
	if (t != m.members[step->due[step->next].slot])
		wrong("a timer was called before its turn");
	if (iv_timer_registered(&t->timer))
		wrong("a timer is registered when it is called");
	step->next++;
	t->number = 0;
	if (m.idle && rnd(2)) {
		t->timer.expires = timespec_of(m.now + NSEC_PER_SEC);
		t->number = ++m.registrations;
		iv_timer_register(&t->timer);
	}
	do_something();
}


static void begin(uint64_t seed, int refusing)
{
	int fd[2];
	int i;

	memset(&m, 0, sizeof(m));
	m.seed = seed;
	m.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	m.now = 1 + any_distance(sizeof(time_t) == 8 ? 55 : 50);
	m.next_ready = m.now + any_distance(30);
	m.armed = NEVER;
	m.num = rnd(3) ? MOST / 8 + rnd(MOST * 7 / 8) : 1 + rnd(4);
	m.idle = rnd(4) == 0;
	m.left = OPERATIONS;

	virtual_time = 1;
	iv_init();
	m.refusing = refusing;
	m.precision = strcmp(iv_poll_method_name(), "poll") ? 1 : 1000000;
	for (i = 0; i < m.num; i++)
		make_member(i);

	check_int(pipe(fd), 0);
	m.fd_end = fd[1];
	IV_FD_INIT(&m.fd);
	m.fd.fd = fd[0];
	m.fd.handler_in = fd_runs;
	iv_fd_register(&m.fd);
	IV_TASK_INIT(&m.task);
	m.task.handler = task_or_event_runs;
	IV_EVENT_INIT(&m.event);
	m.event.handler = task_or_event_runs;
	check_int(iv_event_register(&m.event), 0);
}

static void end(void)
{
	int i;

	for (i = 0; i < m.num; i++) {
		if (m.members[i]->number != 0)
			iv_timer_unregister(&m.members[i]->timer);
		free_member(m.members[i]);
	}
	if (iv_task_registered(&m.task))
		iv_task_unregister(&m.task);
	iv_event_unregister(&m.event);
	iv_fd_unregister(&m.fd);
	close(m.fd.fd);
	close(m.fd_end);
	iv_deinit();
	virtual_time = 0;
}

static void run(uint64_t seed, int refusing)
{
	begin(seed, refusing);
	while (m.left > 0)
		iv_main();
	end();

	/* Only unregistering may leave a time to wake up at in vain. */
	if (m.in_vain * 20 > m.unregistrations)
		wrong("the loop wakes up in vain too often");
	if (refusing && m.refusals == 0)
		wrong("no memory was requested");
}

static void run_seeds(int refusing)
{
	const char *given = getenv("TEST_SEED");
	unsigned long calls = 0;
	uint64_t seed;

	if (given != NULL) {
		run(strtoull(given, NULL, 0), refusing);
		return;
	}
	for (seed = 1; seed <= SEEDS; seed++) {
		run(seed, refusing);
		calls += m.calls;
	}
	printf("# seeds 1 to %d, %lu calls of timers\n", SEEDS, calls);
}

static void with_memory(void)
{
	run_seeds(0);
}

static void with_memory_refused(void)
{
	run_seeds(1);
}

static const struct check_case cases[] = {
	{ "timers are called in order, neither early nor late",
	  with_memory, EACH_METHOD, 60 },
	{ "timers are called in order if memory for them is refused",
	  with_memory_refused, EACH_METHOD, 60 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

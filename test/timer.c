/*
 * libivykis: timers.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compiled with REFUSED, all cases run without the memory that a loop allocates
 * with its first timer.
 */

#include <errno.h>
#include <iv.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#ifdef HAVE_LINUX
#include <sys/syscall.h>
#endif
#include "check.h"
#include "trace.h"

#define NSEC_PER_SEC	1000000000L
#define TIME_MAX	((time_t)(sizeof(time_t) == 8 ? INT64_MAX : INT32_MAX))
#define TIME_MIN	(-TIME_MAX - 1)

static const struct timespec past;

/*
 * Replaced functions of the libc record how often the library reads the clock,
 * and the timeout that it passes to poll(2).
 */
static unsigned long clock_reads;
static int poll_ms;

#ifdef HAVE_LINUX
int clock_gettime(clockid_t id, struct timespec *ts)
{
	long number = SYS_clock_gettime;

#ifdef SYS_clock_gettime64
	if (sizeof(time_t) > sizeof(long))
		number = SYS_clock_gettime64;
#endif
	clock_reads++;

	return syscall(number, id, ts);
}

int poll(struct pollfd *fds, nfds_t num, int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	poll_ms = ms;

	return ppoll(fds, num, ms < 0 ? NULL : &ts, NULL);
}
#endif

/*
 * Functions that --wrap replaces may refuse the memory that a loop allocates
 * for its timers.  No other single object here is as large.
 */
#define LARGE		1400

#ifdef REFUSED
static int refusing = 1;
#else
static int refusing;
#endif
static int refusals;
static void *memory;		/* the latest for timers, or NULL if freed */

#ifdef HAVE_LINUX
void *__real_calloc(size_t num, size_t size);
void *__wrap_calloc(size_t num, size_t size);
void __real_free(void *mem);
void __wrap_free(void *mem);

void *__wrap_calloc(size_t num, size_t size)
{
	if (num != 1 || size < LARGE)
		return __real_calloc(num, size);
	if (refusing) {
		refusals++;
		errno = ENOMEM;
		return NULL;
	}
	memory = __real_calloc(num, size);

	return memory;
}

void __wrap_free(void *mem)
{
	if (mem == memory)
		memory = NULL;
	__real_free(mem);
}
#endif

static struct timespec at(time_t sec, long nsec)
{
	return (struct timespec){ .tv_sec = sec, .tv_nsec = nsec };
}

static struct timespec in_ms(long ms)
{
	struct timespec ts;

	iv_invalidate_now();
	ts = iv_now;
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += ms % 1000 * 1000000;
	if (ts.tv_nsec >= NSEC_PER_SEC) {
		ts.tv_sec++;
		ts.tv_nsec -= NSEC_PER_SEC;
	}

	return ts;
}

/* The whole seconds in tv_nsec, rounded down, and the rest. */
static long whole(const struct timespec *ts)
{
	return ts->tv_nsec / NSEC_PER_SEC - (ts->tv_nsec % NSEC_PER_SEC < 0);
}

static long rest(const struct timespec *ts)
{
	return (ts->tv_nsec % NSEC_PER_SEC + NSEC_PER_SEC) % NSEC_PER_SEC;
}

/* Compare the sums of both members; -1 if a is earlier. */
static int compare(const struct timespec *a, const struct timespec *b)
{
	long diff = whole(b) - whole(a);
	time_t sec;

	/* There may be no type that holds the sum in nanoseconds. */
	if (__builtin_add_overflow(b->tv_sec, diff, &sec))
		return diff > 0 ? -1 : 1;
	if (a->tv_sec != sec)
		return a->tv_sec < sec ? -1 : 1;

	return (rest(a) > rest(b)) - (rest(a) < rest(b));
}

static void check_not_early(const struct timespec *expires)
{
	struct timespec now;

	check(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	check(compare(&now, expires) >= 0);
}

static void set(struct iv_timer *t, struct timespec expires,
		void (*handler)(void *), void *cookie)
{
	IV_TIMER_INIT(t);
	t->expires = expires;
	t->handler = handler;
	t->cookie = cookie;
}

static void add(struct iv_timer *t, struct timespec expires,
		void (*handler)(void *), void *cookie)
{
	set(t, expires, handler, cookie);
	iv_timer_register(t);
}

static void quit(void *cookie)
{
	(void)cookie;
	iv_quit();
}

static void must_not_run(void *cookie)
{
	(void)cookie;
	check_failed(__FILE__, __LINE__, "a timer ran that must not run");
}

/* A descriptor that is always ready, so that no wait sleeps. */
static struct iv_fd busy;
static int busy_end;

static void add_busy(void (*handler)(void *), void *cookie)
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	busy_end = fd[1];
	IV_FD_INIT(&busy);
	busy.fd = fd[0];
	busy.handler_in = handler;
	busy.cookie = cookie;
	iv_fd_register(&busy);
}

static void remove_busy(void)
{
	iv_fd_unregister(&busy);
	close(busy.fd);
	close(busy_end);
}

static void nothing(void *cookie)
{
	(void)cookie;
}

/*
 * Order.
 */
static void runs_in_order_of_expiry(void)
{
	struct iv_timer t[5];

	iv_init();
	add(&t[0], in_ms(30), mark, "4");
	add(&t[1], in_ms(10), mark, "3");
	add(&t[2], past, mark, "1");
	add(&t[3], in_ms(50), mark, "5");
	add(&t[4], in_ms(-1000), mark, "2");
	iv_main();
	expect("12345");
	iv_deinit();
}

static void equal_timers_keep_order(void)
{
	struct iv_timer t[6];
	int i;

	iv_init();
	for (i = 0; i < 6; i++)
		add(&t[i], past, mark, (void *)&"012345"[i]);
	iv_timer_unregister(&t[0]);
	iv_timer_unregister(&t[3]);
	iv_timer_register(&t[3]);
	iv_timer_register(&t[0]);
	iv_main();
	expect("124530");
	iv_deinit();
}

/* A moved timer is the last even if the library has left it in its place. */
static void moved_timer_is_last(void)
{
	struct timespec first, then;
	struct iv_timer t[4];

	iv_init();
	first = in_ms(20);
	then = in_ms(40);
	add(&t[0], first, mark, "2");
	add(&t[1], first, mark, "3");
	add(&t[2], then, mark, "1");
	iv_timer_unregister(&t[0]);
	t[0].expires = then;
	iv_timer_register(&t[0]);
	iv_timer_unregister(&t[1]);
	t[1].expires = then;
	iv_timer_register(&t[1]);
	add(&t[3], then, mark, "4");
	iv_main();
	expect("1234");
	iv_deinit();
}

/* TEST_SEED in the environment selects another sequence. */
#define SEED		88172645463325252

static uint64_t seed;

static uint64_t rnd64(void)
{
	static uint64_t x;

	if (seed == 0) {
		const char *env = getenv("TEST_SEED");

		seed = env != NULL ? strtoull(env, NULL, 0) : SEED;
		x = seed;
	}
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;

	return x;
}

static unsigned int rnd(unsigned int n)
{
	return (rnd64() >> 20) % n;
}

/*
 * Random operations, in each iteration of a loop and in the timers' handlers.
 * A sorted array predicts which timers run, and in which order.  To let years
 * pass, the test overwrites the loop's copy of the clock, iv_now.
 */
#define CROWD		500
#define ROUNDS		24
#define ITERATIONS		4000

static struct member {
	struct iv_timer	timer;
	unsigned long	number;		/* of the registration, or 0 */
} crowd[CROWD];

/* A call that is due in this step, unless the number has changed meanwhile. */
static struct due {
	struct member	*member;
	unsigned long	number;
} due[CROWD];
static int due_num, due_next;
static unsigned long registrations, operations;
static int round_now, iteration_now;
static int crowd_now;

#define agree(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "# TEST_SEED=%llu: round %d, "	\
				"iteration %d\n",			\
				(unsigned long long)seed,		\
				round_now, iteration_now);		\
			check_failed(__FILE__, __LINE__, #cond);	\
		}							\
	} while (0)

/* Each order of magnitude, in nanoseconds, is equally likely. */
static int64_t any_distance(int bits)
{
	return rnd64() >> (63 - rnd(bits)) >> 1;
}

static struct timespec after(struct timespec ts, int64_t nsec)
{
	int64_t sum = ts.tv_nsec + nsec % NSEC_PER_SEC;
	int64_t sec = nsec / NSEC_PER_SEC;

	if (sum >= NSEC_PER_SEC || sum < 0) {
		sec += sum < 0 ? -1 : 1;
		sum += sum < 0 ? NSEC_PER_SEC : -NSEC_PER_SEC;
	}
	if (ts.tv_sec > 0 && sec > TIME_MAX - ts.tv_sec)
		return at(TIME_MAX, sum);

	return at(ts.tv_sec + sec, sum);
}

static struct timespec any_expiry(void)
{
	struct timespec ts = after(iv_now, any_distance(63));

	switch (rnd(16)) {
	case 0:
	case 1:
		return after(iv_now, -any_distance(63));
	case 2:
	case 3:
		return crowd[rnd(CROWD)].timer.expires;
	case 4:
	case 5:
		ts.tv_nsec &= -1UL << 18;
		return ts;
	case 6:
		ts.tv_sec -= ts.tv_sec % (1 << rnd(20));
		ts.tv_nsec = 0;
		return ts;
	case 7:
		return at(TIME_MAX - rnd(2), rnd(NSEC_PER_SEC));
	case 8:
		return at(ts.tv_sec - 2, ts.tv_nsec + 2 * NSEC_PER_SEC);
	default:
		return ts;
	}
}

static void member_runs(void *_m);

/* Overwrite the timer, as if it had been freed and allocated again. */
static void replace(struct member *m)
{
	memset(&m->timer, rnd(256), sizeof(m->timer));
	set(&m->timer, past, member_runs, m);
}

static void operate(void)
{
	struct member *m = &crowd[rnd(crowd_now)];

	operations++;
	agree(iv_timer_registered(&m->timer) == (m->number != 0));
	if (m->number) {
		iv_timer_unregister(&m->timer);
		m->number = 0;
		if (rnd(2))
			replace(m);
	}
	if (rnd(3)) {
		m->timer.expires = any_expiry();
		m->number = ++registrations;
		iv_timer_register(&m->timer);
	}
}

static void skip_changed(void)
{
	while (due_next < due_num &&
	       due[due_next].member->number != due[due_next].number)
		due_next++;
}

static void member_runs(void *_m)
{
	struct member *m = _m;
	int i;

	skip_changed();
	agree(due_next < due_num);
	agree(due[due_next].member == m);
	due_next++;
	agree(!iv_timer_registered(&m->timer));
	m->number = 0;
	for (i = rnd(4); i > 0; i--)
		operate();
}

static int compare_due(const void *_a, const void *_b)
{
	const struct due *a = _a, *b = _b;
	int diff = compare(&a->member->timer.expires,
			   &b->member->timer.expires);

	if (diff == 0)
		diff = a->number < b->number ? -1 : 1;

	return diff;
}

static void expect_what_is_due(void)
{
	struct timespec now = iv_now;
	int i;

	due_num = 0;
	due_next = 0;
	for (i = 0; i < CROWD; i++) {
		struct member *m = &crowd[i];

		if (m->number && compare(&m->timer.expires, &now) <= 0)
			due[due_num++] = (struct due){ m, m->number };
	}
	qsort(due, due_num, sizeof(due[0]), compare_due);
}

static void end_round(void)
{
	int i;

	for (i = 0; i < CROWD; i++) {
		if (crowd[i].number)
			iv_timer_unregister(&crowd[i].timer);
		crowd[i].number = 0;
	}
	remove_busy();
}

static void operate_in_iteration(void *cookie)
{
	static struct timespec clock;
	int i;

	(void)cookie;
	skip_changed();
	agree(due_next == due_num);
	if (iteration_now++ == 0)
		clock = iv_now;

	clock = after(clock, any_distance(rnd(1000) ? 38 : 59));
	*(struct timespec *)&iv_now = clock;
	if (iteration_now > ITERATIONS) {
		end_round();
		return;
	}

	for (i = rnd(rnd(4) ? 20 : 200); i > 0; i--)
		operate();
	expect_what_is_due();
}

static void random_operations_keep_the_order(void)
{
	int i;

	for (i = 0; i < CROWD; i++)
		set(&crowd[i].timer, past, member_runs, &crowd[i]);

	for (round_now = 0; round_now < ROUNDS; round_now++) {
		crowd_now = round_now < 3 ? 1 + round_now : CROWD;
		iteration_now = 0;
		due_num = 0;
		due_next = 0;
		iv_init();
		add_busy(operate_in_iteration, NULL);
		iv_main();
		iv_deinit();
	}
	check(operations > 3000000);
}

#define MILLION		1048570

static struct iv_timer *million;
static int million_next;

static void one_of_a_million(void *_t)
{
	check(_t == &million[million_next]);
	million_next++;
}

static void a_million_in_order(void)
{
	struct timespec ts;
	int i;

	million = calloc(MILLION, sizeof(*million));
	if (million == NULL)
		skip("no memory");

	iv_init();
	ts = in_ms(0);
	for (i = 0; i < MILLION; i++) {
		if (++ts.tv_nsec == NSEC_PER_SEC)
			ts = at(ts.tv_sec + 1, 0);
		add(&million[i], ts, one_of_a_million, &million[i]);
	}
	iv_main();
	check_int(million_next, MILLION);
	iv_deinit();
	free(million);
}

/*
 * Values of expires.
 */
static int again_left;

static void again(void *_t)
{
	struct iv_timer *t = _t;

	check_int(iv_timer_registered(t), 0);
	if (--again_left)
		iv_timer_register(t);
	else
		iv_quit();
}

static void run_again(struct timespec expires)
{
	struct iv_timer t;

	again_left = 100;
	add(&t, expires, again, &t);
	iv_main();
	check_int(again_left, 0);
	check(t.expires.tv_sec == expires.tv_sec);
	check(t.expires.tv_nsec == expires.tv_nsec);
	check(t.cookie == &t);
	check(t.handler == again);
}

static void past_timer_runs_each_time(void)
{
	struct iv_timer distant;

	iv_init();
	add(&distant, in_ms(1000000), quit, NULL);
	run_again(past);
	run_again(in_ms(0));
	run_again(in_ms(-1000));
	run_again(at(0, 1));
	iv_timer_unregister(&distant);
	iv_deinit();
}

static void negative_times_are_past(void)
{
	iv_init();
	run_again(at(-1, 0));
	run_again(at(-1, 999999999));
	run_again(at(-1000, 5));
	run_again(at(TIME_MIN, 0));
	iv_deinit();
}

static void odd_nanoseconds_are_added(void)
{
	/* So many seconds fit into tv_nsec. */
	const long many = LONG_MAX > INT32_MAX ? 9 : 1;
	struct iv_timer t[4];
	struct timespec soon;

	iv_init();
	run_again(at(0, -1));
	run_again(at(0, LONG_MIN));
	run_again(at(TIME_MIN, LONG_MIN));
	run_again(at(in_ms(0).tv_sec + many, -(many + 1) * NSEC_PER_SEC));

	soon = in_ms(20);
	add(&t[0], at(soon.tv_sec - many, soon.tv_nsec + many * NSEC_PER_SEC),
	    mark, "2");
	add(&t[1], soon, mark, "3");
	add(&t[2], at(soon.tv_sec + 2, soon.tv_nsec - 2 * NSEC_PER_SEC - 1),
	    mark, "1");
	add(&t[3], at(soon.tv_sec + 1, soon.tv_nsec - NSEC_PER_SEC + 1),
	    mark, "4");
	iv_main();
	expect("1234");
	check_not_early(&soon);
	iv_deinit();
}

static void mark_unless_early(void *_t)
{
	struct iv_timer *t = _t;

	check_not_early(&t->expires);
	mark("t");
	iv_quit();
}

static void odd_nanoseconds_through_many_waits(void)
{
	struct timespec soon;
	struct iv_timer t;
	const char *name;

	iv_init();
	name = iv_poll_method_name();
	add_busy(nothing, NULL);
	soon = in_ms(50);
	add(&t, at(soon.tv_sec + 1, soon.tv_nsec - NSEC_PER_SEC),
	    mark_unless_early, &t);
	iv_main();
	expect("t");

	/* After some waits with the same limit, a timerfd may be used. */
	soon = in_ms(50);
	add(&t, at(soon.tv_sec - 1, soon.tv_nsec + NSEC_PER_SEC),
	    mark_unless_early, &t);
	iv_main();
	expect("t");

	/* The kernel has not rejected the time: no other method is used. */
	check(iv_poll_method_name() == name);
	remove_busy();
	iv_deinit();
}

static int iterations;		/* to go */

static void count_iteration(void *cookie)
{
	(void)cookie;
	if (--iterations == 0)
		iv_quit();
}

static pid_t write_after_ms(int ms)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		usleep(ms * 1000);
		check_int(write(busy_end, "x", 1), 1);
		_exit(0);
	}

	return pid;
}

/* From there, the distance to the largest times is as large as can be. */
static void sleep_until_a_second_begins(void)
{
	struct timespec ts;

	check_int(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	ts.tv_sec = 0;
	ts.tv_nsec = NSEC_PER_SEC - 1 - ts.tv_nsec;
	check_int(nanosleep(&ts, NULL), 0);
}

static void largest_times_never_come(void)
{
	struct iv_timer t[3];
	long cpu;
	pid_t pid;
	char c;

	iv_init();
	add(&t[0], at(TIME_MAX, 0), must_not_run, NULL);
	add(&t[1], at(TIME_MAX, 999999999), must_not_run, NULL);
	add(&t[2], at(TIME_MAX, LONG_MAX), must_not_run, NULL);
	add_busy(count_iteration, NULL);
	iterations = 20;
	sleep_until_a_second_begins();
	iv_main();

	check_int(read(busy.fd, &c, 1), 1);
	iterations = 1;
	pid = write_after_ms(300);
	cpu = cpu_ms();
	iv_main();
	check(cpu_ms() - cpu < 150);
	check_child(pid);
	remove_busy();
	iv_deinit();
}

/*
 * Waits.
 */
static void register_soon(void *_t)
{
	struct iv_timer *t = _t;

	check_not_early(&t->expires);
	if (again_left == 0)
		return;
	again_left--;
	t->expires = in_ms(0);
	t->expires.tv_nsec += rnd(3000000);
	iv_timer_register(t);
}

static void never_early(void)
{
	struct iv_timer t[5];
	int i;

	iv_init();
	again_left = 300;
	for (i = 0; i < 5; i++)
		add(&t[i], in_ms(i), register_soon, &t[i]);
	iv_main();
	check_int(again_left, 0);
	iv_deinit();
}

static void never_early_in_a_busy_loop(void)
{
	struct iv_timer t;

	iv_init();
	add_busy(nothing, NULL);
	add(&t, in_ms(100), mark_unless_early, &t);
	iv_main();
	expect("t");
	remove_busy();
	iv_deinit();
}

static struct iv_timer near, distant;

/* An iteration reads the clock once for the timers and once for its wait. */
static void waits_once_for_a_timer(void)
{
	unsigned long before;
	struct timespec soon;

	need_own_functions();
	iv_init();
	add(&distant, in_ms(100000000), must_not_run, NULL);
	soon = in_ms(1300);
	add(&near, soon, mark_unless_early, &near);
	before = clock_reads;
	iv_main();
	expect("t");
	check(clock_reads - before <= 4);
	iv_deinit();
}

static long ms_until(const struct timespec *ts)
{
	struct timespec now;

	check(clock_gettime(CLOCK_MONOTONIC, &now) == 0);

	return ((int64_t)(ts->tv_sec - now.tv_sec) * NSEC_PER_SEC +
		ts->tv_nsec - now.tv_nsec + 999999) / 1000000;
}

/* The second of two iterations finds iv_now at this time. */
static struct timespec clock_ahead;

static void set_clock_ahead(void *cookie)
{
	(void)cookie;
	if (iterations == 2)
		*(struct timespec *)&iv_now = clock_ahead;
	if (--iterations == 0)
		iv_quit();
}

/* Half of the timers are registered when the first of them is nearly due. */
static void check_sleep(int num, int ms)
{
	struct iv_timer t[64];
	struct timespec soon = in_ms(ms);
	long most = ms_until(&soon);
	int i;

	for (i = 0; i < num; i++) {
		int nth = (i + num / 2) % num;

		if (i == num / 2) {
			clock_ahead = after(soon, -(int64_t)(1 + rnd(ms)) *
						  500000);
			iterations = 2;
			iv_main();
		}
		add(&t[i], after(soon, (int64_t)(num - nth - 1) * ms * 1000),
		    must_not_run, NULL);
	}
	iterations = 1;
	iv_main();
	check(poll_ms <= most);
	check(poll_ms >= ms_until(&soon));

	while (num > 0)
		iv_timer_unregister(&t[--num]);
}

static void sleeps_until_the_first(void)
{
	int num, ms;

	need_own_functions();
	setenv("IV_EXCLUDE_POLL_METHOD", "kqueue epoll-timerfd epoll ppoll", 1);
	iv_init();
	add_busy(set_clock_ahead, NULL);
	for (num = 1; num <= 64; num *= 2) {
		for (ms = 10000; ms < 50000000; ms += 100 + ms / 8)
			check_sleep(num, ms);
	}
	remove_busy();
	iv_deinit();
}

static struct timespec after_ms(struct timespec ts, long ms)
{
	return after(ts, (int64_t)ms * 1000000);
}

/*
 * An idle timeout is moved from one time to a later one, and two other timers
 * are due in between.  The times are in milliseconds.
 */
static void check_move(long from, long to, long first, long second)
{
	struct timespec begin;
	struct iv_timer t[3];

	begin = in_ms(0);
	add(&t[0], after_ms(begin, first), must_not_run, NULL);
	add(&t[1], after_ms(begin, second), must_not_run, NULL);
	add(&t[2], after_ms(begin, from), must_not_run, NULL);
	iv_timer_unregister(&t[2]);
	t[2].expires = after_ms(begin, to);
	iv_timer_register(&t[2]);

	iterations = 1;
	iv_main();
	check(poll_ms > 0 && poll_ms <= first);
	iv_timer_unregister(&t[0]);
	iterations = 1;
	iv_main();
	check(poll_ms > 0 && poll_ms <= second);
	iv_timer_unregister(&t[1]);
	iv_timer_unregister(&t[2]);
}

static void moving_delays_no_other(void)
{
	long ms;

	need_own_functions();
	setenv("IV_EXCLUDE_POLL_METHOD", "kqueue epoll-timerfd epoll ppoll", 1);
	iv_init();
	add_busy(count_iteration, NULL);
	for (ms = 1000; ms < 10000000; ms += 100 + ms / 64) {
		check_move(ms, 4 * ms, 2 * ms, 3 * ms);
		check_move(2 * ms, 60 * ms, ms, 30 * ms);
		check_move(ms, 2 * ms + 1, 2 * ms, 2 * ms);
	}
	remove_busy();
	iv_deinit();
}

static void unregister_in_task(void *cookie)
{
	(void)cookie;
	iv_timer_unregister(&near);
}

/*
 * For ten seconds in 73 minutes the heap has both timers in one list, and the
 * loop may wake up for the near one: then the test waits until that is over.
 */
static void unregistered_timer_wakes_nobody(void)
{
	struct iv_task last;
	int times = 0;

	refusing = 0;
	IV_TASK_INIT(&last);
	last.handler = unregister_in_task;
	setenv("IV_EXCLUDE_POLL_METHOD", "kqueue epoll-timerfd epoll ppoll", 1);
	iv_init();
	add_busy(count_iteration, NULL);
	do {
		add(&distant, in_ms(100000000), must_not_run, NULL);
		add(&near, in_ms(10000), must_not_run, NULL);
		iv_task_register(&last);
		iterations = 1;
		iv_main();
		iv_timer_unregister(&distant);
	} while (poll_ms <= 10000 && usleep(500000) == 0 && ++times < 30);
	check(poll_ms > 10000);
	remove_busy();
	iv_deinit();
}

static void register_near(void *cookie)
{
	(void)cookie;
	if (--iterations)
		return;
	remove_busy();
	add(&near, in_ms(20), mark_unless_early, &near);
}

static void nearer_timer_is_not_late(void)
{
	iv_init();
	add(&distant, in_ms(1000000), must_not_run, NULL);
	add_busy(register_near, NULL);
	iterations = 20;
	iv_main();
	expect("t");
	iv_deinit();
}

static void unregister_near(void *cookie)
{
	(void)cookie;
	if (--iterations)
		return;
	remove_busy();
	if (iv_timer_registered(&near))
		iv_timer_unregister(&near);
}

static void unregistering_hurries_no_other(void)
{
	iv_init();
	/* Repeated if the machine is too slow to unregister it before. */
	do {
		add(&near, in_ms(100), nothing, NULL);
		add(&distant, in_ms(150), mark_unless_early, &distant);
		add_busy(unregister_near, NULL);
		iterations = 20;
		iv_main();
		expect("t");
		if (iterations > 0)
			remove_busy();
	} while (iterations > 0);
	iv_deinit();
}

/*
 * Steps: a step runs the timers that are due when it begins.
 */
static struct iv_timer a, b, c;
static struct iv_task task;

static void register_b_and_task(void *letter)
{
	mark(letter);
	add(&b, past, mark, "b");
	iv_task_register(&task);
}

static void mark_and_remove_busy(void *letter)
{
	mark(letter);
	remove_busy();
}

static void new_timer_waits_for_next_step(void)
{
	iv_init();
	add_busy(mark_and_remove_busy, "f");
	IV_TASK_INIT(&task);
	task.handler = mark;
	task.cookie = "t";
	add(&a, past, register_b_and_task, "a");
	add(&c, in_ms(-1), mark, "c");
	iv_main();
	expect("actfb");
	iv_deinit();
}

static void mark_and_register_a(void *letter)
{
	mark(letter);
	if (--iterations)
		iv_timer_register(&a);
	else
		remove_busy();
}

static void register_b(void *letter)
{
	mark(letter);
	add(&b, past, mark, "b");
}

static void run_nested(void *letter)
{
	mark(letter);
	iv_main();
	mark("n");
}

static void nested_loop_has_its_own_step(void)
{
	struct iv_timer t[4];

	iv_init();
	add(&t[0], in_ms(-4), register_b, "1");
	add(&t[1], in_ms(-3), run_nested, "2");
	add(&t[2], in_ms(-2), mark, "3");
	add(&t[3], in_ms(20), mark, "4");
	iv_main();
	expect("12b34n");
	iv_deinit();
}

static void unregister_other(void *_other)
{
	struct iv_timer *other = _other;

	mark("x");
	if (iv_timer_registered(other))
		iv_timer_unregister(other);
}

static jmp_buf in_task;

static void leave_step(void *letter)
{
	mark(letter);
	longjmp(in_task, 1);
}

static void leave_nested_loop(void *letter)
{
	mark(letter);
	add(&a, past, leave_step, "a");
	add(&b, past, unregister_other, &c);
	add(&c, in_ms(1000000), must_not_run, NULL);
	if (setjmp(in_task) == 0)
		iv_main();
	mark("l");
}

static void rest_of_step_stays_due(void)
{
	iv_init();
	IV_TASK_INIT(&task);
	task.handler = leave_nested_loop;
	task.cookie = "t";
	iv_task_register(&task);
	iv_main();
	expect("talx");
	iv_deinit();
}

static void one_run_for_one_registration(void)
{
	iv_init();
	add_busy(mark, "f");
	iterations = 3;
	add(&a, past, mark_and_register_a, "a");
	iv_main();
	expect("afafa");
	iv_deinit();
}

static void unregister_c(void *letter)
{
	mark(letter);
	check_int(iv_timer_registered(&a), 0);
	check_int(iv_timer_registered(&b), 1);
	check_int(iv_timer_registered(&c), 1);
	iv_timer_unregister(&c);
	check_int(iv_timer_registered(&c), 0);
}

static void due_timer_may_be_unregistered(void)
{
	iv_init();
	add(&a, past, unregister_c, "a");
	add(&b, past, mark, "b");
	add(&c, past, must_not_run, NULL);
	iv_main();
	expect("ab");
	iv_deinit();
}

static void register_b_anew(void *letter)
{
	mark(letter);
	iv_timer_unregister(&b);
	iv_timer_register(&b);
}

static void due_timer_registered_anew(void)
{
	iv_init();
	add_busy(mark_and_remove_busy, "f");
	add(&a, past, register_b_anew, "a");
	add(&b, past, mark, "b");
	add(&c, past, mark, "c");
	iv_main();
	expect("acfb");
	iv_deinit();
}

static void one_of_two_runs(void)
{
	iv_init();
	add(&a, in_ms(10), unregister_other, &b);
	add(&b, a.expires, unregister_other, &a);
	iv_main();
	expect("x");
	iv_deinit();
}

struct two_timers {
	struct iv_timer	*timer[2];
};

static void free_both(void *_h)
{
	struct two_timers *h = _h;

	mark("x");
	iv_timer_unregister(h->timer[1]);
	memset(h->timer[0], 0x5a, sizeof(struct iv_timer));
	memset(h->timer[1], 0x5a, sizeof(struct iv_timer));
	free(h->timer[0]);
	free(h->timer[1]);
}

static void handler_frees_timers(void)
{
	struct two_timers h;
	int i;

	iv_init();
	for (i = 0; i < 2; i++) {
		h.timer[i] = malloc(sizeof(struct iv_timer));
		check(h.timer[i] != NULL);
		add(h.timer[i], past, free_both, &h);
	}
	iv_main();
	expect("x");
	iv_deinit();
}

static void always_overdue(void *cookie)
{
	(void)cookie;
	iv_timer_register(&a);
}

static void task_then_descriptor(void *letter)
{
	mark(letter);
	add_busy(quit, NULL);
}

static void overdue_timer_starves_nothing(void)
{
	iv_init();
	IV_TASK_INIT(&task);
	task.handler = task_then_descriptor;
	task.cookie = "t";
	add(&a, past, always_overdue, NULL);
	iv_task_register(&task);
	iv_main();
	expect("t");
	remove_busy();
	iv_timer_unregister(&a);
	iv_deinit();
}

static void expires_may_be_advanced(void)
{
	struct iv_timer t;

	iv_init();
	add(&t, in_ms(5), mark_unless_early, &t);
	iv_main();
	t.expires = at(t.expires.tv_sec, t.expires.tv_nsec + 5000000);
	iv_timer_register(&t);
	iv_main();
	expect("tt");
	iv_deinit();
}

/* An old iv_now is neither used nor updated. */
static void relative_time_is_from_now(void)
{
	struct timespec seen, before, after;
	struct iv_timer t;

	iv_init();
	seen = iv_now;
	usleep(20000);
	check_int(clock_gettime(CLOCK_MONOTONIC, &before), 0);
	add(&t, past, mark_unless_early, &t);
	iv_timer_unregister(&t);
	iv_timer_register_in_ms(&t, 1030);
	check_int(clock_gettime(CLOCK_MONOTONIC, &after), 0);
	before.tv_sec++;
	before.tv_nsec += 30000000;
	after.tv_sec++;
	after.tv_nsec += 30000000;
	check(compare(&before, &t.expires) <= 0);
	check(compare(&t.expires, &after) <= 0);
	check(t.expires.tv_nsec >= 0 && t.expires.tv_nsec < NSEC_PER_SEC);
	check_int(compare(&seen, &iv_now), 0);
	iv_timer_unregister(&t);

	iv_timer_register_in_ms(&t, 0);
	check(compare(&seen, &t.expires) < 0);
	iv_main();
	iv_timer_register_in_ms(&t, 5);
	iv_main();
	expect("tt");
	iv_deinit();
}

/* A time beyond the clock's range never comes. */
static void any_relative_time_is_legal(void)
{
	static const unsigned long numbers[] = {
		INT_MAX - 1, INT_MAX, LONG_MAX, ULONG_MAX - 1, ULONG_MAX,
	};
	struct timespec latest = past;
	struct iv_timer t[5];
	int i;

	iv_init();
	for (i = 0; i < 5; i++) {
		IV_TIMER_INIT(&t[i]);
		t[i].handler = mark;
		iv_timer_register_in_ms(&t[i], numbers[i]);
		check(compare(&latest, &t[i].expires) <= 0);
		latest = t[i].expires;
	}
	add(&a, in_ms(20), quit, NULL);
	iv_main();
	expect("");
	for (i = 0; i < 5; i++)
		iv_timer_unregister(&t[i]);
	iv_deinit();
}

static void register_relative_twice(void)
{
	iv_init();
	add(&a, past, quit, NULL);
	iv_timer_register_in_ms(&a, 1);
}

static void register_relative_without_a_loop(void)
{
	IV_TIMER_INIT(&a);
	iv_timer_register_in_ms(&a, 1);
}

static void relative_mistakes_are_fatal(void)
{
	check_fatal(register_relative_twice,
		    "iv_timer_register_in_ms: ");
	check_fatal(register_relative_without_a_loop,
		    "iv_timer_register_in_ms: this thread has no loop");
}

/*
 * Memory.
 */
static void memory_is_allocated_once(void)
{
	struct iv_timer t[2];
	void *first;

	need_own_functions();
	refusing = 0;
	iv_init();
	check(memory == NULL);
	add(&t[0], in_ms(1000), must_not_run, NULL);
	first = memory;
	check(first != NULL);
	add(&t[1], in_ms(1000), must_not_run, NULL);
	iv_timer_unregister(&t[0]);
	iv_timer_unregister(&t[1]);
	iv_timer_register(&t[0]);
	check(memory == first);
	iv_timer_unregister(&t[0]);
	iv_deinit();
	check(memory == NULL);
}

static void *end_with_a_loop(void *t)
{
	iv_init();
	add(t, in_ms(1000), must_not_run, NULL);
	check(memory != NULL);

	return NULL;
}

static void deinit(void *letter)
{
	mark(letter);
	iv_deinit();
	iv_init();
	check(memory == NULL);
	mark("i");
	pthread_exit(NULL);
}

static void *deinit_in_a_handler(void *t)
{
	iv_init();
	add(t, past, deinit, "d");
	iv_main();

	return NULL;
}

static void check_freed_by(void *(*fn)(void *))
{
	struct iv_timer t;
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, fn, &t), 0);
	check_int(pthread_join(thread, NULL), 0);
	check(memory == NULL);
}

static void memory_is_freed_with_loop(void)
{
	struct iv_timer t;
	pid_t pid;

	need_own_functions();
	refusing = 0;
	check_freed_by(end_with_a_loop);
	check_freed_by(deinit_in_a_handler);
	expect("di");

	iv_init();
	add(&t, in_ms(1000), must_not_run, NULL);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		iv_timer_unregister(&t);
		iv_deinit();
		check(memory == NULL);
		_exit(0);
	}
	check_child(pid);
	check(memory != NULL);
	iv_timer_unregister(&t);
	iv_deinit();
}

static void refused_memory_is_requested_again(void)
{
	struct iv_timer t[2];

	need_own_functions();
	refusing = 1;
	refusals = 0;
	iv_init();
	errno = EXDEV;
	add(&t[0], in_ms(1000), must_not_run, NULL);
	check_int(errno, EXDEV);
	add(&t[1], in_ms(10), mark, "1");
	check_int(refusals, 1);
	iv_timer_unregister(&t[0]);
	iv_main();
	check_int(refusals, 1);

	add(&t[0], in_ms(10), mark, "2");
	check_int(refusals, 2);
	iv_main();

	refusing = 0;
	add(&t[0], in_ms(20), mark, "4");
	check(memory != NULL);
	add(&t[1], in_ms(10), mark, "3");
	iv_main();
	expect("1234");
	iv_deinit();
	check(memory == NULL);
}

static void works_without_memory(void)
{
	struct iv_timer t[4];

	need_own_functions();
	skip_under(ASAN | TSAN | MEMCHECK, "has its own malloc");
	need_memory_limit(RLIMIT_DATA);
	refusing = 0;
	iv_init();
	eat_memory(LARGE / 2);
	add(&t[0], in_ms(20), mark, "3");
	add(&t[1], in_ms(10), mark, "2");
	add(&t[2], t[0].expires, mark, "4");
	add(&t[3], past, mark, "1");
	check(memory == NULL);
	iv_main();
	give_back_memory();
	expect("1234");
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "timers run in the order of expiry",
	  runs_in_order_of_expiry, EACH_METHOD, 0 },
	{ "timers of equal expiry run in the order of registration",
	  equal_timers_keep_order, EACH_METHOD, 0 },
	{ "a timer that is moved runs after others of equal expiry",
	  moved_timer_is_last, EACH_METHOD, 0 },
	{ "after random operations timers run in the order of a sorted array",
	  random_operations_keep_the_order, ONCE, 60 },
	{ "1048570 timers, 1 ns apart, run in order",
	  a_million_in_order, EACH_METHOD, 0 },
	{ "a timer in the past may be registered in its handler each time",
	  past_timer_runs_each_time, EACH_METHOD, 0 },
	{ "any negative time is in the past",
	  negative_times_are_past, EACH_METHOD, 0 },
	{ "tv_nsec may have any value, and is added to tv_sec",
	  odd_nanoseconds_are_added, EACH_METHOD, 0 },
	{ "a sum with an odd tv_nsec is waited for in several waits",
	  odd_nanoseconds_through_many_waits, EACH_METHOD, 0 },
	{ "a loop sleeps while it waits for the largest times",
	  largest_times_never_come, EACH_METHOD, 0 },
	{ "timers are never early", never_early, EACH_METHOD, 0 },
	{ "timers are never early in a loop that never sleeps",
	  never_early_in_a_busy_loop, EACH_METHOD, 0 },
	{ "a loop waits once for a timer",
	  waits_once_for_a_timer, EACH_METHOD, 0 },
	{ "a loop sleeps until the first of its timers, however distant",
	  sleeps_until_the_first, ONCE, 0 },
	{ "a timer that is moved to later delays no other",
	  moving_delays_no_other, ONCE, 0 },
	{ "a loop does not wake up for a timer that was unregistered last",
	  unregistered_timer_wakes_nobody, ONCE, 0 },
	{ "a nearer timer shortens the wait for a distant one",
	  nearer_timer_is_not_late, EACH_METHOD, 0 },
	{ "unregistering a timer does not make the next one early",
	  unregistering_hurries_no_other, EACH_METHOD, 0 },
	{ "a timer registered in a step runs after the tasks and a wait",
	  new_timer_waits_for_next_step, EACH_METHOD, 0 },
	{ "a nested loop runs what is due in its own step",
	  nested_loop_has_its_own_step, EACH_METHOD, 0 },
	{ "timers still due when a handler leaves a nested loop run later",
	  rest_of_step_stays_due, EACH_METHOD, 0 },
	{ "a timer runs once for each registration",
	  one_run_for_one_registration, EACH_METHOD, 0 },
	{ "a timer that is due is registered, and may be unregistered",
	  due_timer_may_be_unregistered, EACH_METHOD, 0 },
	{ "a timer that is due and registered anew runs in the next step",
	  due_timer_registered_anew, EACH_METHOD, 0 },
	{ "of two timers that unregister each other only one runs",
	  one_of_two_runs, EACH_METHOD, 0 },
	{ "a handler may free its own timer and another that is due",
	  handler_frees_timers, EACH_METHOD, 0 },
	{ "a timer that is always overdue starves nothing",
	  overdue_timer_starves_nothing, EACH_METHOD, 0 },
	{ "a relative time counts from a fresh reading of the clock",
	  relative_time_is_from_now, EACH_METHOD, 0 },
	{ "any relative time is legal",
	  any_relative_time_is_legal, EACH_METHOD, 0 },
	{ "mistakes with relative times are fatal",
	  relative_mistakes_are_fatal, ONCE, 0 },
	{ "a timer may be registered again with a later expiry",
	  expires_may_be_advanced, EACH_METHOD, 0 },
	{ "a loop allocates memory once, with its first timer",
	  memory_is_allocated_once, ONCE, 0 },
	{ "the memory for timers is freed however the loop ends",
	  memory_is_freed_with_loop, ONCE, 0 },
	{ "after a refusal memory is requested by the next first timer",
	  refused_memory_is_requested_again, EACH_METHOD, 0 },
	{ "timers run in order if malloc() has no memory left",
	  works_without_memory, EACH_METHOD, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: timers.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compiled with REFUSED, the same without the memory that a loop allocates with
 * its first timer.
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
 * In place of the libc's functions: how often does the library look at the clock,
 * and how long is the loop ready to sleep?
 */
static unsigned long looks;
static int poll_ms;

#ifdef HAVE_LINUX
int clock_gettime(clockid_t id, struct timespec *ts)
{
	long number = SYS_clock_gettime;

#ifdef SYS_clock_gettime64
	if (sizeof(time_t) > sizeof(long))
		number = SYS_clock_gettime64;
#endif
	looks++;

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
 * In place of the libc's, by --wrap: no other single object that the library or
 * this file allocates is as large as what a loop has for its timers.
 */
#define LARGE		1400

#ifdef REFUSED
static int refusing = 1;
#else
static int refusing;
#endif
static int refusals;
static void *heap;		/* the latest that is not freed */

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
	heap = __real_calloc(num, size);

	return heap;
}

void __wrap_free(void *mem)
{
	if (mem == heap)
		heap = NULL;
	__real_free(mem);
}
#endif

static struct timespec at(time_t sec, long nsec)
{
	return (struct timespec){ .tv_sec = sec, .tv_nsec = nsec };
}

/* So many milliseconds from now. */
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

/* tv_nsec in whole seconds, rounded down, and what is left. */
static long whole(const struct timespec *ts)
{
	return ts->tv_nsec / NSEC_PER_SEC - (ts->tv_nsec % NSEC_PER_SEC < 0);
}

static long rest(const struct timespec *ts)
{
	return (ts->tv_nsec % NSEC_PER_SEC + NSEC_PER_SEC) % NSEC_PER_SEC;
}

/* -1, 0 or 1: does a come before b, by the sum of both members? */
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

static void no_handler_of_this_runs(void *cookie)
{
	(void)cookie;
	check_failed(__FILE__, __LINE__, "this timer was not to run");
}

/* A descriptor that is always ready: each pass waits, and for nothing. */
static struct iv_fd busy;
static int busy_kick;

static void add_busy(void (*handler)(void *), void *cookie)
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	busy_kick = fd[1];
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
	close(busy_kick);
}

static void nothing(void *cookie)
{
	(void)cookie;
}

/* Order. */
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

static void equal_ones_keep_their_order(void)
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

/* One that is moved may be left where it was, and is the last nevertheless. */
static void moved_ones_are_last(void)
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

/* A sequence of its own for each TEST_SEED in the environment. */
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
 * Random operations, in each pass of a loop and in the timers' handlers, and
 * what a sorted array says about them.  Years have to pass, so the test sets
 * the clock's value that the loop has kept since the wait.
 */
#define CROWD		500
#define ROUNDS		24
#define PASSES		4000

static struct member {
	struct iv_timer	timer;
	unsigned long	number;		/* of its registration, or 0 */
} crowd[CROWD];

/* What is due in a step; void if the member has another number by then. */
static struct due {
	struct member	*member;
	unsigned long	number;
} due[CROWD];
static int due_num, due_next;
static unsigned long registrations, operations;
static int round_now, pass_now;
static int crowd_now;

#define agree(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "# TEST_SEED=%llu: round %d, "	\
				"pass %d\n", (unsigned long long)seed,	\
				round_now, pass_now);			\
			check_failed(__FILE__, __LINE__, #cond);	\
		}							\
	} while (0)

/* Small numbers of nanoseconds as often as large ones. */
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

/* As if it were freed and its memory were used, then again for a timer. */
static void anew(struct member *m)
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
			anew(m);
	}
	if (rnd(3)) {
		m->timer.expires = any_expiry();
		m->number = ++registrations;
		iv_timer_register(&m->timer);
	}
}

static void skip_void(void)
{
	while (due_next < due_num &&
	       due[due_next].member->number != due[due_next].number)
		due_next++;
}

static void member_runs(void *_m)
{
	struct member *m = _m;
	int i;

	skip_void();
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

static void operate_in_pass(void *cookie)
{
	static struct timespec clock;
	int i;

	(void)cookie;
	skip_void();
	agree(due_next == due_num);
	if (pass_now++ == 0)
		clock = iv_now;

	clock = after(clock, any_distance(rnd(1000) ? 38 : 59));
	*(struct timespec *)&iv_now = clock;
	if (pass_now > PASSES) {
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
		pass_now = 0;
		due_num = 0;
		due_next = 0;
		iv_init();
		add_busy(operate_in_pass, NULL);
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

/* Values. */
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

static void what_is_past_runs_each_time(void)
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
	/* As many as a tv_nsec has room for. */
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

	/* The same limit again and again, by a descriptor if there is one. */
	soon = in_ms(50);
	add(&t, at(soon.tv_sec - 1, soon.tv_nsec + NSEC_PER_SEC),
	    mark_unless_early, &t);
	iv_main();
	expect("t");

	/* The kernel had nothing to object to. */
	check(iv_poll_method_name() == name);
	remove_busy();
	iv_deinit();
}

static int passes_left;

static void count_pass(void *cookie)
{
	(void)cookie;
	if (--passes_left == 0)
		iv_quit();
}

static pid_t write_after_ms(int ms)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		usleep(ms * 1000);
		check_int(write(busy_kick, "x", 1), 1);
		_exit(0);
	}

	return pid;
}

/* What is left until some time is counted from there. */
static void sleep_until_a_second_begins(void)
{
	struct timespec ts;

	check_int(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	ts.tv_sec = 0;
	ts.tv_nsec = NSEC_PER_SEC - 1 - ts.tv_nsec;
	check_int(nanosleep(&ts, NULL), 0);
}

static void the_last_times_never_come(void)
{
	struct iv_timer t[3];
	long cpu;
	pid_t pid;
	char c;

	iv_init();
	add(&t[0], at(TIME_MAX, 0), no_handler_of_this_runs, NULL);
	add(&t[1], at(TIME_MAX, 999999999), no_handler_of_this_runs, NULL);
	add(&t[2], at(TIME_MAX, LONG_MAX), no_handler_of_this_runs, NULL);
	add_busy(count_pass, NULL);
	passes_left = 20;
	sleep_until_a_second_begins();
	iv_main();

	check_int(read(busy.fd, &c, 1), 1);
	passes_left = 1;
	pid = write_after_ms(300);
	cpu = cpu_ms();
	iv_main();
	check(cpu_ms() - cpu < 150);
	check_child(pid);
	remove_busy();
	iv_deinit();
}

/* Time. */
static void in_order_and_not_early(void *_t)
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
		add(&t[i], in_ms(i), in_order_and_not_early, &t[i]);
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

/* A pass looks at the clock once for the timers, once for its wait. */
static void waits_once_for_a_timer(void)
{
	unsigned long before;
	struct timespec soon;

	need_own_functions();
	iv_init();
	add(&distant, in_ms(100000000), no_handler_of_this_runs, NULL);
	soon = in_ms(1300);
	add(&near, soon, mark_unless_early, &near);
	before = looks;
	iv_main();
	expect("t");
	check(looks - before <= 4);
	iv_deinit();
}

static long ms_until(const struct timespec *ts)
{
	struct timespec now;

	check(clock_gettime(CLOCK_MONOTONIC, &now) == 0);

	return ((int64_t)(ts->tv_sec - now.tv_sec) * NSEC_PER_SEC +
		ts->tv_nsec - now.tv_nsec + 999999) / 1000000;
}

/* The second pass of the loop sees that clock. */
static struct timespec clock_ahead;

static void set_clock_ahead(void *cookie)
{
	(void)cookie;
	if (passes_left == 2)
		*(struct timespec *)&iv_now = clock_ahead;
	if (--passes_left == 0)
		iv_quit();
}

/* Of num timers, half of them registered near the time of the first. */
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
			passes_left = 2;
			iv_main();
		}
		add(&t[i], after(soon, (int64_t)(num - nth - 1) * ms * 1000),
		    no_handler_of_this_runs, NULL);
	}
	passes_left = 1;
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
 * An idle timeout that is moved to later, while others are due in between; from
 * when it was due to where it is moved, and the others, in milliseconds.
 */
static void check_move(long from, long to, long first, long second)
{
	struct timespec begin;
	struct iv_timer t[3];

	begin = in_ms(0);
	add(&t[0], after_ms(begin, first), no_handler_of_this_runs, NULL);
	add(&t[1], after_ms(begin, second), no_handler_of_this_runs, NULL);
	add(&t[2], after_ms(begin, from), no_handler_of_this_runs, NULL);
	iv_timer_unregister(&t[2]);
	t[2].expires = after_ms(begin, to);
	iv_timer_register(&t[2]);

	passes_left = 1;
	iv_main();
	check(poll_ms > 0 && poll_ms <= first);
	iv_timer_unregister(&t[0]);
	passes_left = 1;
	iv_main();
	check(poll_ms > 0 && poll_ms <= second);
	iv_timer_unregister(&t[1]);
	iv_timer_unregister(&t[2]);
}

static void one_moved_delays_no_other(void)
{
	long ms;

	need_own_functions();
	setenv("IV_EXCLUDE_POLL_METHOD", "kqueue epoll-timerfd epoll ppoll", 1);
	iv_init();
	add_busy(count_pass, NULL);
	for (ms = 1000; ms < 10000000; ms += 100 + ms / 64) {
		check_move(ms, 4 * ms, 2 * ms, 3 * ms);
		check_move(2 * ms, 60 * ms, ms, 30 * ms);
		check_move(ms, 2 * ms + 1, 2 * ms, 2 * ms);
	}
	remove_busy();
	iv_deinit();
}

static void take_back_near(void *cookie)
{
	(void)cookie;
	iv_timer_unregister(&near);
}

/* Unless both share a list, as they do once in hours: then again. */
static void one_taken_back_wakes_nobody(void)
{
	struct iv_task last;
	int times = 0;

	refusing = 0;
	IV_TASK_INIT(&last);
	last.handler = take_back_near;
	setenv("IV_EXCLUDE_POLL_METHOD", "kqueue epoll-timerfd epoll ppoll", 1);
	iv_init();
	add_busy(count_pass, NULL);
	do {
		add(&distant, in_ms(100000000), no_handler_of_this_runs, NULL);
		add(&near, in_ms(10000), no_handler_of_this_runs, NULL);
		iv_task_register(&last);
		passes_left = 1;
		iv_main();
		iv_timer_unregister(&distant);
	} while (poll_ms <= 10000 && ++times < 3);
	check(poll_ms > 10000);
	remove_busy();
	iv_deinit();
}

static void register_near(void *cookie)
{
	(void)cookie;
	if (--passes_left)
		return;
	remove_busy();
	add(&near, in_ms(20), mark_unless_early, &near);
}

static void a_nearer_one_is_not_late(void)
{
	iv_init();
	add(&distant, in_ms(1000000), no_handler_of_this_runs, NULL);
	add_busy(register_near, NULL);
	passes_left = 20;
	iv_main();
	expect("t");
	iv_deinit();
}

static void unregister_near(void *cookie)
{
	(void)cookie;
	if (--passes_left)
		return;
	remove_busy();
	if (iv_timer_registered(&near))
		iv_timer_unregister(&near);
}

static void one_taken_back_hurries_no_other(void)
{
	iv_init();
	/* Again where that takes longer than the distant one's time. */
	do {
		add(&near, in_ms(100), nothing, NULL);
		add(&distant, in_ms(150), mark_unless_early, &distant);
		add_busy(unregister_near, NULL);
		passes_left = 20;
		iv_main();
		expect("t");
		if (passes_left > 0)
			remove_busy();
	} while (passes_left > 0);
	iv_deinit();
}

/* Snapshots. */
static struct iv_timer a, b, c;
static struct iv_task task;

static void register_b_and_task(void *letter)
{
	mark(letter);
	add(&b, past, mark, "b");
	iv_task_register(&task);
}

static void mark_and_leave(void *letter)
{
	mark(letter);
	remove_busy();
}

static void new_ones_wait_for_the_next_step(void)
{
	iv_init();
	add_busy(mark_and_leave, "f");
	IV_TASK_INIT(&task);
	task.handler = mark;
	task.cookie = "t";
	add(&a, past, register_b_and_task, "a");
	add(&c, in_ms(-1), mark, "c");
	iv_main();
	expect("actfb");
	iv_deinit();
}

static void again_twice(void *letter)
{
	mark(letter);
	if (--passes_left)
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

static void a_step_in_a_handler_is_a_new_one(void)
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

static void run_a_loop_that_is_left(void *letter)
{
	mark(letter);
	add(&a, past, leave_step, "a");
	add(&b, past, unregister_other, &c);
	add(&c, in_ms(1000000), no_handler_of_this_runs, NULL);
	if (setjmp(in_task) == 0)
		iv_main();
	mark("l");
}

static void what_a_step_has_left_is_due(void)
{
	iv_init();
	IV_TASK_INIT(&task);
	task.handler = run_a_loop_that_is_left;
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
	passes_left = 3;
	add(&a, past, again_twice, "a");
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

static void one_of_the_batch_may_be_cancelled(void)
{
	iv_init();
	add(&a, past, unregister_c, "a");
	add(&b, past, mark, "b");
	add(&c, past, no_handler_of_this_runs, NULL);
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

static void one_registered_anew_leaves_the_batch(void)
{
	iv_init();
	add_busy(mark_and_leave, "f");
	add(&a, past, register_b_anew, "a");
	add(&b, past, mark, "b");
	add(&c, past, mark, "c");
	iv_main();
	expect("acfb");
	iv_deinit();
}

static void of_two_that_cancel_each_other_one_runs(void)
{
	iv_init();
	add(&a, in_ms(10), unregister_other, &b);
	add(&b, a.expires, unregister_other, &a);
	iv_main();
	expect("x");
	iv_deinit();
}

struct heirs {
	struct iv_timer	*timer[2];
};

static void free_both(void *_h)
{
	struct heirs *h = _h;

	mark("x");
	iv_timer_unregister(h->timer[1]);
	memset(h->timer[0], 0x5a, sizeof(struct iv_timer));
	memset(h->timer[1], 0x5a, sizeof(struct iv_timer));
	free(h->timer[0]);
	free(h->timer[1]);
}

static void memory_is_the_callers_again(void)
{
	struct heirs h;
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

static void overdue_ones_starve_nothing(void)
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

/* However long ago iv_now was looked at; it stays as it is. */
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

/* A number that the clock cannot reach is one that never comes. */
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

/* Memory. */
static void memory_comes_with_the_first(void)
{
	struct iv_timer t[2];
	void *first;

	need_own_functions();
	refusing = 0;
	iv_init();
	check(heap == NULL);
	add(&t[0], in_ms(1000), no_handler_of_this_runs, NULL);
	first = heap;
	check(first != NULL);
	add(&t[1], in_ms(1000), no_handler_of_this_runs, NULL);
	iv_timer_unregister(&t[0]);
	iv_timer_unregister(&t[1]);
	iv_timer_register(&t[0]);
	check(heap == first);
	iv_timer_unregister(&t[0]);
	iv_deinit();
	check(heap == NULL);
}

static void *end_with_a_loop(void *t)
{
	iv_init();
	add(t, in_ms(1000), no_handler_of_this_runs, NULL);
	check(heap != NULL);

	return NULL;
}

static void deinit(void *letter)
{
	mark(letter);
	iv_deinit();
	iv_init();
	check(heap == NULL);
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
	check(heap == NULL);
}

static void memory_goes_with_the_loop(void)
{
	struct iv_timer t;
	pid_t pid;

	need_own_functions();
	refusing = 0;
	check_freed_by(end_with_a_loop);
	check_freed_by(deinit_in_a_handler);
	expect("di");

	iv_init();
	add(&t, in_ms(1000), no_handler_of_this_runs, NULL);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		iv_timer_unregister(&t);
		iv_deinit();
		check(heap == NULL);
		_exit(0);
	}
	check_child(pid);
	check(heap != NULL);
	iv_timer_unregister(&t);
	iv_deinit();
}

static void memory_is_asked_for_again(void)
{
	struct iv_timer t[2];

	need_own_functions();
	refusing = 1;
	refusals = 0;
	iv_init();
	errno = EXDEV;
	add(&t[0], in_ms(1000), no_handler_of_this_runs, NULL);
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
	check(heap != NULL);
	add(&t[1], in_ms(10), mark, "3");
	iv_main();
	expect("1234");
	iv_deinit();
	check(heap == NULL);
}

static void works_without_memory(void)
{
	struct iv_timer t[4];

	need_own_functions();
	skip_under(ASAN | TSAN | MEMCHECK, "has a malloc of its own");
	need_memory_limit(RLIMIT_DATA);
	refusing = 0;
	iv_init();
	eat_memory(LARGE / 2);
	add(&t[0], in_ms(20), mark, "3");
	add(&t[1], in_ms(10), mark, "2");
	add(&t[2], t[0].expires, mark, "4");
	add(&t[3], past, mark, "1");
	check(heap == NULL);
	iv_main();
	give_back_memory();
	expect("1234");
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "timers run in the order of their expiry",
	  runs_in_order_of_expiry, EACH_METHOD, 0 },
	{ "timers of equal expiry run in the order of their registration",
	  equal_ones_keep_their_order, EACH_METHOD, 0 },
	{ "a timer that is moved is the last of those of equal expiry",
	  moved_ones_are_last, EACH_METHOD, 0 },
	{ "three million random operations leave the order of a sorted array",
	  random_operations_keep_the_order, ONCE, 60 },
	{ "1048570 timers, 1 ns apart, run in order",
	  a_million_in_order, EACH_METHOD, 0 },
	{ "a timer in the past may be registered in its handler each time",
	  what_is_past_runs_each_time, EACH_METHOD, 0 },
	{ "any negative time is in the past",
	  negative_times_are_past, EACH_METHOD, 0 },
	{ "tv_nsec may be anything: the sum counts, the member stays",
	  odd_nanoseconds_are_added, EACH_METHOD, 0 },
	{ "a sum of odd members is waited for however often the loop wakes",
	  odd_nanoseconds_through_many_waits, EACH_METHOD, 0 },
	{ "the largest times are waited for, asleep",
	  the_last_times_never_come, EACH_METHOD, 0 },
	{ "timers are never early",
	  never_early, EACH_METHOD, 0 },
	{ "timers are never early in a loop that wakes all the time",
	  never_early_in_a_busy_loop, EACH_METHOD, 0 },
	{ "a loop waits once for a timer",
	  waits_once_for_a_timer, EACH_METHOD, 0 },
	{ "a loop sleeps until the first of its timers, however far",
	  sleeps_until_the_first, ONCE, 0 },
	{ "a timer that is moved to later delays no other",
	  one_moved_delays_no_other, ONCE, 0 },
	{ "a loop does not wake up for a timer that was unregistered last",
	  one_taken_back_wakes_nobody, ONCE, 0 },
	{ "a wait for a distant timer is cut by a nearer one",
	  a_nearer_one_is_not_late, EACH_METHOD, 0 },
	{ "a timer that is unregistered leaves the next one its time",
	  one_taken_back_hurries_no_other, EACH_METHOD, 0 },
	{ "what a batch registers runs after the tasks and a wait",
	  new_ones_wait_for_the_next_step, EACH_METHOD, 0 },
	{ "a loop inside a handler runs what is due in a step of its own",
	  a_step_in_a_handler_is_a_new_one, EACH_METHOD, 0 },
	{ "what is due when a handler leaves an inner loop runs in the outer one",
	  what_a_step_has_left_is_due, EACH_METHOD, 0 },
	{ "a timer runs once for each registration",
	  one_run_for_one_registration, EACH_METHOD, 0 },
	{ "a timer of the batch is registered until it runs, and cancellable",
	  one_of_the_batch_may_be_cancelled, EACH_METHOD, 0 },
	{ "a timer of the batch that is registered anew leaves the batch",
	  one_registered_anew_leaves_the_batch, EACH_METHOD, 0 },
	{ "of two timers that unregister each other one runs",
	  of_two_that_cancel_each_other_one_runs, EACH_METHOD, 0 },
	{ "a handler may free its own timer and another of the batch",
	  memory_is_the_callers_again, EACH_METHOD, 0 },
	{ "a timer that is always overdue starves nothing",
	  overdue_ones_starve_nothing, EACH_METHOD, 0 },
	{ "a relative time is from now, by a fresh look at the clock",
	  relative_time_is_from_now, EACH_METHOD, 0 },
	{ "any relative time is legal",
	  any_relative_time_is_legal, EACH_METHOD, 0 },
	{ "mistakes with relative times are fatal",
	  relative_mistakes_are_fatal, ONCE, 0 },
	{ "a timer may be registered again with a later expiry",
	  expires_may_be_advanced, EACH_METHOD, 0 },
	{ "a loop allocates memory with its first timer, once",
	  memory_comes_with_the_first, ONCE, 0 },
	{ "the memory for timers is freed with the loop, however that ends",
	  memory_goes_with_the_loop, ONCE, 0 },
	{ "memory that was refused is asked for with the next first timer",
	  memory_is_asked_for_again, EACH_METHOD, 0 },
	{ "timers run in order where malloc() has nothing left",
	  works_without_memory, EACH_METHOD, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: the loop's time.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "check.h"

/* Functions for old programs, which no header declares. */
void (iv_validate_now)(void);
const struct timespec *__iv_now_location(void);

static struct timespec clock_now(void)
{
	struct timespec ts;

	check(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);

	return ts;
}

/* Returns -1, 0 or 1 if a is before b, equal to it, or after it. */
static int compare(struct timespec a, struct timespec b)
{
	if (a.tv_sec != b.tv_sec)
		return a.tv_sec < b.tv_sec ? -1 : 1;

	return (a.tv_nsec > b.tv_nsec) - (a.tv_nsec < b.tv_nsec);
}

/* Wait until the clock shows another time. */
static void let_time_pass(void)
{
	struct timespec begin = clock_now();

	do {
		usleep(1000);
	} while (compare(clock_now(), begin) == 0);
}

static void now_is_the_monotonic_clock(void)
{
	struct timespec before, now, after;

	iv_init();
	before = clock_now();
	now = iv_now;
	after = clock_now();
	check(compare(before, now) <= 0);
	check(compare(now, after) <= 0);
	iv_deinit();
}

static void now_is_read_when_used(void)
{
	struct timespec before;
	int i;

	for (i = 0; i < 2; i++) {
		iv_init();
		let_time_pass();
		before = clock_now();
		check(compare(before, iv_now) <= 0);
		iv_deinit();
	}
}

static void now_stays_until_invalidated(void)
{
	struct timespec first, before;

	iv_init();
	first = iv_now;
	let_time_pass();
	check(compare(iv_now, first) == 0);
	iv_validate_now();
	check(compare(iv_now, first) == 0);
	(iv_validate_now)();
	check(compare(iv_now, first) == 0);

	before = clock_now();
	iv_invalidate_now();
	check(compare(before, iv_now) <= 0);
	check(compare(first, iv_now) < 0);
	iv_deinit();
}

static void one_address_for_both_functions(void)
{
	const struct timespec *address;
	struct timespec first;

	iv_init();
	address = &iv_now;
	check(address == __iv_now_location_valid());
	check(address == __iv_now_location());

	/* The old function never reads the clock. */
	first = iv_now;
	iv_invalidate_now();
	let_time_pass();
	check(compare(*__iv_now_location(), first) == 0);

	(iv_validate_now)();
	check(compare(first, *__iv_now_location()) < 0);
	check(address == &iv_now);
	iv_deinit();
}

static void *has_its_own_address(void *address)
{
	iv_init();
	check(&iv_now != address);
	check(__iv_now_location() != address);
	iv_deinit();

	return NULL;
}

static void each_loop_has_its_address(void)
{
	pthread_t thread;

	iv_init();
	check_int(pthread_create(&thread, NULL, has_its_own_address,
				 (void *)&iv_now), 0);
	check_int(pthread_join(thread, NULL), 0);
	iv_deinit();
}

/* Handlers. */
static const struct timespec *address;
static struct timespec last_now;
static int calls;

static void expect_same_now(void *cookie)
{
	(void)cookie;
	check(&iv_now == address);
	if (calls++)
		check(compare(iv_now, last_now) == 0);
	last_now = iv_now;
	let_time_pass();
	check(compare(iv_now, last_now) == 0);
}

static struct iv_fd fds[3];
static int writers[3];

static void add_fd(int i, void (*handler)(void *))
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	writers[i] = fd[1];
	IV_FD_INIT(&fds[i]);
	fds[i].fd = fd[0];
	fds[i].cookie = &fds[i];
	fds[i].handler_in = handler;
	iv_fd_register(&fds[i]);
}

static void remove_fd(int i)
{
	iv_fd_unregister(&fds[i]);
	close(fds[i].fd);
	close(writers[i]);
}

static void add_task(struct iv_task *task, void (*handler)(void *))
{
	IV_TASK_INIT(task);
	task->handler = handler;
	iv_task_register(task);
}

static void
add_timer(struct iv_timer *timer, struct timespec at, void (*handler)(void *))
{
	IV_TIMER_INIT(timer);
	timer->expires = at;
	timer->handler = handler;
	iv_timer_register(timer);
}

static void main_does_not_invalidate(void)
{
	struct iv_timer timer;
	struct iv_task task;

	iv_init();
	address = &iv_now;
	last_now = iv_now;
	calls = 1;
	add_timer(&timer, (struct timespec){ 0 }, expect_same_now);
	add_task(&task, expect_same_now);
	let_time_pass();
	iv_main();
	check_int(calls, 3);
	iv_deinit();
}

static void expect_same_now_and_remove(void *_fd)
{
	struct iv_fd *fd = _fd;

	expect_same_now(NULL);
	remove_fd(fd - fds);
}

static void now_is_the_same_between_two_waits(void)
{
	struct iv_task task;
	int i;

	iv_init();
	address = &iv_now;
	for (i = 0; i < 3; i++)
		add_fd(i, expect_same_now_and_remove);
	iv_main();
	check_int(calls, 3);

	/* Returning from iv_main() does not change that. */
	add_task(&task, expect_same_now);
	iv_main();
	check_int(calls, 4);
	iv_deinit();
}

static struct timespec last_time;

static void expect_later_now(void *cookie)
{
	(void)cookie;
	check(&iv_now == address);
	check(compare(last_time, iv_now) <= 0);
	let_time_pass();
	last_time = clock_now();
	if (++calls == 20)
		iv_quit();
}

static void each_wait_invalidates(void)
{
	iv_init();
	address = &iv_now;
	let_time_pass();
	last_time = clock_now();
	add_fd(0, expect_later_now);
	iv_main();
	check_int(calls, 20);
	remove_fd(0);
	iv_deinit();
}

/*
 * Make iv_now 1000 seconds old, as if a handler had taken so long.  A wait that
 * is computed from that would outlast this test.
 */
static void make_now_old(void)
{
	((struct timespec *)&iv_now)->tv_sec -= 1000;
}

static void work_for_long(void *cookie)
{
	(void)cookie;
	make_now_old();
}

static struct iv_timer due;

static void expect_due(void *cookie)
{
	(void)cookie;
	check(compare(due.expires, clock_now()) <= 0);
	calls++;
}

static void add_due_timer(void)
{
	struct timespec at = clock_now();

	at.tv_nsec += 100000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	add_timer(&due, at, expect_due);
}

static void old_value_delays_no_timer(void)
{
	struct iv_task task;

	iv_init();
	add_due_timer();
	make_now_old();
	iv_main();
	check_int(calls, 1);

	add_due_timer();
	add_task(&task, work_for_long);
	iv_main();
	check_int(calls, 2);
	iv_deinit();
}

/* Most of these rounds follow the previous one without a wait. */
static struct iv_task round_task;
static int rounds;

static void expect_later_in_each_round(void *cookie)
{
	(void)cookie;
	check(compare(last_time, iv_now) < 0);
	last_time = iv_now;
	let_time_pass();
	if (++rounds < 100)
		iv_task_register(&round_task);
}

static void now_is_read_in_each_round(void)
{
	iv_init();
	add_task(&round_task, expect_later_in_each_round);
	iv_main();
	check_int(rounds, 100);
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "iv_now is CLOCK_MONOTONIC",
	  now_is_the_monotonic_clock, EACH_METHOD, 0 },
	{ "the clock is not read before iv_now is first used",
	  now_is_read_when_used, EACH_METHOD, 0 },
	{ "iv_now stays the same until iv_invalidate_now",
	  now_stays_until_invalidated, EACH_METHOD, 0 },
	{ "both location functions return one address; one reads the clock",
	  one_address_for_both_functions, EACH_METHOD, 0 },
	{ "each loop has its own iv_now",
	  each_loop_has_its_address, EACH_METHOD, 0 },
	{ "iv_main does not invalidate iv_now",
	  main_does_not_invalidate, EACH_METHOD, 0 },
	{ "iv_now does not change between two waits",
	  now_is_the_same_between_two_waits, EACH_METHOD, 0 },
	{ "each wait invalidates iv_now, whose address stays the same",
	  each_wait_invalidates, EACH_METHOD, 0 },
	{ "iv_now is read anew in each round",
	  now_is_read_in_each_round, EACH_METHOD, 0 },
	{ "an old iv_now delays no timer",
	  old_value_delays_no_timer, EACH_METHOD, 30 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

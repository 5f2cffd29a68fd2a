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

/* Older programs call these two, which no header declares. */
void (iv_validate_now)(void);
const struct timespec *__iv_now_location(void);

static struct timespec clock_now(void)
{
	struct timespec ts;

	check(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);

	return ts;
}

/* -1, 0 or 1, as a comes before b, is b, or comes after it. */
static int compare(struct timespec a, struct timespec b)
{
	if (a.tv_sec != b.tv_sec)
		return a.tv_sec < b.tv_sec ? -1 : 1;

	return (a.tv_nsec > b.tv_nsec) - (a.tv_nsec < b.tv_nsec);
}

/* Let the clock move on. */
static void let_pass(void)
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

static void now_begins_invalid(void)
{
	struct timespec before;
	int i;

	for (i = 0; i < 2; i++) {
		iv_init();
		let_pass();
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
	let_pass();
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

static void one_place_for_both_functions(void)
{
	const struct timespec *place;
	struct timespec first;

	iv_init();
	place = &iv_now;
	check(place == __iv_now_location_valid());
	check(place == __iv_now_location());

	/* The old one never reads the clock. */
	first = iv_now;
	iv_invalidate_now();
	let_pass();
	check(compare(*__iv_now_location(), first) == 0);

	(iv_validate_now)();
	check(compare(first, *__iv_now_location()) < 0);
	check(place == &iv_now);
	iv_deinit();
}

static void *has_its_own_place(void *place)
{
	iv_init();
	check(&iv_now != place);
	check(__iv_now_location() != place);
	iv_deinit();

	return NULL;
}

static void each_loop_has_its_place(void)
{
	pthread_t thread;

	iv_init();
	check_int(pthread_create(&thread, NULL, has_its_own_place,
				 (void *)&iv_now), 0);
	check_int(pthread_join(thread, NULL), 0);
	iv_deinit();
}

/* Handlers. */
static const struct timespec *place;
static struct timespec seen;
static int times_seen;

static void same_as_seen(void *cookie)
{
	(void)cookie;
	check(&iv_now == place);
	if (times_seen++)
		check(compare(iv_now, seen) == 0);
	seen = iv_now;
	let_pass();
	check(compare(iv_now, seen) == 0);
}

static struct iv_fd fds[3];
static int kicks[3];

static void add_fd(int i, void (*handler)(void *))
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	kicks[i] = fd[1];
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
	close(kicks[i]);
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
	place = &iv_now;
	seen = iv_now;
	times_seen = 1;
	add_timer(&timer, (struct timespec){ 0 }, same_as_seen);
	add_task(&task, same_as_seen);
	let_pass();
	iv_main();
	check_int(times_seen, 3);
	iv_deinit();
}

static void same_and_remove(void *_fd)
{
	struct iv_fd *fd = _fd;

	same_as_seen(NULL);
	remove_fd(fd - fds);
}

static void now_is_one_between_two_waits(void)
{
	struct iv_task task;
	int i;

	iv_init();
	place = &iv_now;
	for (i = 0; i < 3; i++)
		add_fd(i, same_and_remove);
	iv_main();
	check_int(times_seen, 3);

	/* A quit between the two makes no difference. */
	add_task(&task, same_as_seen);
	iv_main();
	check_int(times_seen, 4);
	iv_deinit();
}

static struct timespec last_look;

static void later_than_the_last_look(void *cookie)
{
	(void)cookie;
	check(&iv_now == place);
	check(compare(last_look, iv_now) <= 0);
	let_pass();
	last_look = clock_now();
	if (++times_seen == 20)
		iv_quit();
}

static void each_wait_invalidates(void)
{
	iv_init();
	place = &iv_now;
	let_pass();
	last_look = clock_now();
	add_fd(0, later_than_the_last_look);
	iv_main();
	check_int(times_seen, 20);
	remove_fd(0);
	iv_deinit();
}

/*
 * A value that is 1000 seconds old stands for handlers that take as long: a
 * wait computed from it would outlast this test.
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

static void not_early(void *cookie)
{
	(void)cookie;
	check(compare(due.expires, clock_now()) <= 0);
	times_seen++;
}

static void add_due_timer(void)
{
	struct timespec at = clock_now();

	at.tv_nsec += 100000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	add_timer(&due, at, not_early);
}

static void old_value_delays_no_timer(void)
{
	struct iv_task task;

	iv_init();
	add_due_timer();
	make_now_old();
	iv_main();
	check_int(times_seen, 1);

	add_due_timer();
	add_task(&task, work_for_long);
	iv_main();
	check_int(times_seen, 2);
	iv_deinit();
}

/* Most of the rounds have no wait between them. */
static struct iv_task round_task;
static int rounds;

static void later_than_in_the_last_round(void *cookie)
{
	(void)cookie;
	check(compare(last_look, iv_now) < 0);
	last_look = iv_now;
	let_pass();
	if (++rounds < 100)
		iv_task_register(&round_task);
}

static void now_is_fresh_in_each_round(void)
{
	iv_init();
	add_task(&round_task, later_than_in_the_last_round);
	iv_main();
	check_int(rounds, 100);
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "iv_now is CLOCK_MONOTONIC",
	  now_is_the_monotonic_clock, EACH_METHOD, 0 },
	{ "iv_now begins invalid in each loop",
	  now_begins_invalid, EACH_METHOD, 0 },
	{ "iv_now stays what it is until iv_invalidate_now",
	  now_stays_until_invalidated, EACH_METHOD, 0 },
	{ "both location functions give one place, the old one as it is",
	  one_place_for_both_functions, EACH_METHOD, 0 },
	{ "each loop has a place of its own",
	  each_loop_has_its_place, EACH_METHOD, 0 },
	{ "iv_main does not invalidate",
	  main_does_not_invalidate, EACH_METHOD, 0 },
	{ "between two waits iv_now is one value",
	  now_is_one_between_two_waits, EACH_METHOD, 0 },
	{ "each wait invalidates, the place stays",
	  each_wait_invalidates, EACH_METHOD, 0 },
	{ "iv_now is fresh in each round",
	  now_is_fresh_in_each_round, EACH_METHOD, 0 },
	{ "an old value of iv_now delays no timer",
	  old_value_delays_no_timer, EACH_METHOD, 30 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

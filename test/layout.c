/*
 * libivykis: the structures that programs contain, and their initialisers.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_avl.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_fd_pump.h>
#ifdef __linux__
#include <iv_inotify.h>
#endif
#include <iv_list.h>
#include <iv_popen.h>
#include <iv_signal.h>
#include <iv_tls.h>
#include <iv_wait.h>
#include <iv_work.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "check.h"

/*
 * Compiled programs contain these sizes and offsets, so they must never change.
 * The values are for pointers of 8 bytes and of 4.
 */
#define OF(lp64, ilp32)	(sizeof(void *) == 8 ? (lp64) : (ilp32))

#define SIZE(type, lp64, ilp32)						\
	_Static_assert(sizeof(struct type) == OF(lp64, ilp32),		\
		       "size of struct " #type);			\
	_Static_assert(_Alignof(struct type) == OF(8, 4),		\
		       "alignment of struct " #type)

#define MEMBER(type, member, lp64, ilp32)				\
	_Static_assert(offsetof(struct type, member) == OF(lp64, ilp32),\
		       "place of struct " #type "'s " #member)

SIZE(iv_list_head, 16, 8);
MEMBER(iv_list_head, next, 0, 0);
MEMBER(iv_list_head, prev, 8, 4);

SIZE(iv_avl_node, 32, 16);
MEMBER(iv_avl_node, left, 0, 0);
MEMBER(iv_avl_node, right, 8, 4);
MEMBER(iv_avl_node, parent, 16, 8);
MEMBER(iv_avl_node, height, 24, 12);
_Static_assert(sizeof(((struct iv_avl_node *)0)->height) == 1,
	       "size of struct iv_avl_node's height");

SIZE(iv_avl_tree, 16, 8);
MEMBER(iv_avl_tree, compare, 0, 0);
MEMBER(iv_avl_tree, root, 8, 4);

SIZE(iv_fd, 128, 64);
MEMBER(iv_fd, fd, 0, 0);
MEMBER(iv_fd, cookie, 8, 4);
MEMBER(iv_fd, handler_in, 16, 8);
MEMBER(iv_fd, handler_out, 24, 12);
MEMBER(iv_fd, handler_err, 32, 16);
MEMBER(iv_fd, pad, 40, 20);

SIZE(iv_task, 64, 32);
MEMBER(iv_task, cookie, 0, 0);
MEMBER(iv_task, handler, 8, 4);
MEMBER(iv_task, pad, 16, 8);

SIZE(iv_tls_user, 48, 24);
MEMBER(iv_tls_user, sizeof_state, 0, 0);
MEMBER(iv_tls_user, init_thread, 8, 4);
MEMBER(iv_tls_user, deinit_thread, 16, 8);
MEMBER(iv_tls_user, list, 24, 12);
MEMBER(iv_tls_user, state_offset, 40, 20);

SIZE(iv_event, 40, 20);
MEMBER(iv_event, cookie, 0, 0);
MEMBER(iv_event, handler, 8, 4);
MEMBER(iv_event, owner, 16, 8);
MEMBER(iv_event, list, 24, 12);

SIZE(iv_event_raw, 152, 76);
MEMBER(iv_event_raw, cookie, 0, 0);
MEMBER(iv_event_raw, handler, 8, 4);
MEMBER(iv_event_raw, event_rfd, 16, 8);
MEMBER(iv_event_raw, event_wfd, 144, 72);

SIZE(iv_signal, 216, 112);
MEMBER(iv_signal, signum, 0, 0);
MEMBER(iv_signal, flags, 4, 4);
MEMBER(iv_signal, cookie, 8, 8);
MEMBER(iv_signal, handler, 16, 12);

SIZE(iv_wait_interest, 128, 64);
MEMBER(iv_wait_interest, pid, 0, 0);
MEMBER(iv_wait_interest, cookie, 8, 4);
MEMBER(iv_wait_interest, handler, 16, 8);

SIZE(iv_popen_request, 32, 16);
MEMBER(iv_popen_request, file, 0, 0);
MEMBER(iv_popen_request, argv, 8, 4);
MEMBER(iv_popen_request, type, 16, 8);

SIZE(iv_work_pool, 40, 20);
MEMBER(iv_work_pool, max_threads, 0, 0);
MEMBER(iv_work_pool, cookie, 8, 4);
MEMBER(iv_work_pool, thread_start, 16, 8);
MEMBER(iv_work_pool, thread_stop, 24, 12);

SIZE(iv_work_item, 40, 20);
MEMBER(iv_work_item, cookie, 0, 0);
MEMBER(iv_work_item, work, 8, 4);
MEMBER(iv_work_item, completion, 16, 8);

#ifdef __linux__
SIZE(iv_inotify, 152, 76);

SIZE(iv_inotify_watch, 80, 40);
MEMBER(iv_inotify_watch, inotify, 0, 0);
MEMBER(iv_inotify_watch, pathname, 8, 4);
MEMBER(iv_inotify_watch, mask, 16, 8);
MEMBER(iv_inotify_watch, cookie, 24, 12);
MEMBER(iv_inotify_watch, handler, 32, 16);
#endif

SIZE(iv_fd_pump, 56, 36);
MEMBER(iv_fd_pump, from_fd, 0, 0);
MEMBER(iv_fd_pump, to_fd, 4, 4);
MEMBER(iv_fd_pump, cookie, 8, 8);
MEMBER(iv_fd_pump, set_bands, 16, 12);
MEMBER(iv_fd_pump, flags, 24, 16);

/* With pointers of 4 bytes, a time_t of 8 makes the timer larger. */
#define OF_TIME(lp64, ilp32, time64)					\
	OF(lp64, sizeof(time_t) == 8 ? (time64) : (ilp32))

_Static_assert(sizeof(struct iv_timer) == OF_TIME(64, 32, 40),
	       "size of struct iv_timer");
_Static_assert(_Alignof(struct iv_timer) ==
	       OF_TIME(8, 4, _Alignof(struct { long long x; })),
	       "alignment of struct iv_timer");
_Static_assert(offsetof(struct iv_timer, expires) == 0,
	       "place of struct iv_timer's expires");
_Static_assert(offsetof(struct iv_timer, cookie) == OF_TIME(16, 8, 16),
	       "place of struct iv_timer's cookie");
_Static_assert(offsetof(struct iv_timer, handler) == OF_TIME(24, 12, 20),
	       "place of struct iv_timer's handler");
_Static_assert(offsetof(struct iv_timer, pad) == OF_TIME(32, 16, 24),
	       "place of struct iv_timer's pad");

static void structures_have_their_layout(void)
{
	/* The compiler has checked that. */
}

/* One letter for each handler that ran, in order. */
static char trace[16];

static void mark(void *letter)
{
	size_t len = strlen(trace);

	check(len + 1 < sizeof(trace));
	trace[len] = *(char *)letter;
}

static void mark_and_quit(void *letter)
{
	mark(letter);
	iv_quit();
}

static void expect(const char *want)
{
	if (strcmp(trace, want))
		fprintf(stderr, "# \"%s\" happened, not \"%s\"\n", trace, want);
	check(!strcmp(trace, want));
	memset(trace, 0, sizeof(trace));
}

/* Initialisers are tried on memory that holds each of these. */
static const int patterns[] = { 0x00, 0x01, 0x5a, 0x80, 0xff };

#define NUM_PATTERNS	((int)(sizeof(patterns) / sizeof(patterns[0])))

static void init_fd(int pattern)
{
	struct iv_fd fd;
	void *cookie;

	memset(&fd, pattern, sizeof(fd));
	cookie = fd.cookie;
	IV_FD_INIT(&fd);
	check_int(fd.fd, -1);
	check(fd.handler_in == NULL);
	check(fd.handler_out == NULL);
	check(fd.handler_err == NULL);
	check(fd.cookie == cookie);
	check_int(iv_fd_registered(&fd), 0);
}

static void init_task(int pattern)
{
	struct iv_task task, before;

	memset(&task, pattern, sizeof(task));
	before = task;
	IV_TASK_INIT(&task);
	check(!memcmp(&task, &before, offsetof(struct iv_task, pad)));
	check_int(iv_task_registered(&task), 0);
}

static void init_timer(int pattern)
{
	struct iv_timer timer, before;

	memset(&timer, pattern, sizeof(timer));
	before = timer;
	IV_TIMER_INIT(&timer);
	check(!memcmp(&timer, &before, offsetof(struct iv_timer, pad)));
	check_int(iv_timer_registered(&timer), 0);
}

/* These do nothing, as programs may call them for an object in use. */
#define INIT_IS_EMPTY(type, init)					\
	static void init_##type(int pattern)				\
	{								\
		struct type object, before;				\
									\
		memset(&object, pattern, sizeof(object));		\
		memset(&before, pattern, sizeof(before));		\
		init(&object);						\
		check(!memcmp(&object, &before, sizeof(object)));	\
	}

INIT_IS_EMPTY(iv_event, IV_EVENT_INIT)
INIT_IS_EMPTY(iv_event_raw, IV_EVENT_RAW_INIT)
INIT_IS_EMPTY(iv_signal, IV_SIGNAL_INIT)
INIT_IS_EMPTY(iv_wait_interest, IV_WAIT_INTEREST_INIT)
INIT_IS_EMPTY(iv_popen_request, IV_POPEN_REQUEST_INIT)
INIT_IS_EMPTY(iv_work_item, IV_WORK_ITEM_INIT)
INIT_IS_EMPTY(iv_fd_pump, IV_FD_PUMP_INIT)
#ifdef __linux__
INIT_IS_EMPTY(iv_inotify, IV_INOTIFY_INIT)
INIT_IS_EMPTY(iv_inotify_watch, IV_INOTIFY_WATCH_INIT)
#endif

static void empty_initialisers(void)
{
	int i;

	for (i = 0; i < NUM_PATTERNS; i++) {
		init_iv_event(patterns[i]);
		init_iv_event_raw(patterns[i]);
		init_iv_signal(patterns[i]);
		init_iv_wait_interest(patterns[i]);
		init_iv_popen_request(patterns[i]);
		init_iv_work_item(patterns[i]);
		init_iv_fd_pump(patterns[i]);
#ifdef __linux__
		init_iv_inotify(patterns[i]);
		init_iv_inotify_watch(patterns[i]);
#endif
	}
}

static void init_pool(int pattern)
{
	struct iv_work_pool pool, before;

	memset(&pool, pattern, sizeof(pool));
	before = pool;
	IV_WORK_POOL_INIT(&pool);
	check(pool.thread_start == NULL);
	check(pool.thread_stop == NULL);
	pool.thread_start = before.thread_start;
	pool.thread_stop = before.thread_stop;
	check(!memcmp(&pool, &before, sizeof(pool)));
}

static void *init_each(void *arg)
{
	int i;

	for (i = 0; i < NUM_PATTERNS; i++) {
		init_fd(patterns[i]);
		init_task(patterns[i]);
		init_timer(patterns[i]);
		init_pool(patterns[i]);
	}

	return arg;
}

static void init_in_thread(void)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, init_each, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
}

static void initialisers_work_anywhere(void)
{
	init_each(NULL);
	init_in_thread();
	iv_init();
	init_each(NULL);
	init_in_thread();
	iv_deinit();
	init_each(NULL);
}

/* A descriptor that is ready at once. */
static int near, far;

static void open_pipe(void)
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	near = fd[0];
	far = fd[1];
}

static void close_pipe_and_end(void)
{
	iv_deinit();
	close(near);
	close(far);
}

static void run_fd(struct iv_fd *fd)
{
	check_int(iv_fd_registered(fd), 0);
	iv_fd_register(fd);
	check_int(iv_fd_registered(fd), 1);
	iv_main();
	expect("f");
	iv_fd_unregister(fd);
	check_int(iv_fd_registered(fd), 0);
}

static void zeroed_memory_is_not_registered(void)
{
	struct iv_fd fd;
	struct iv_timer timer;

	open_pipe();
	iv_init();
	memset(&fd, 0, sizeof(fd));
	fd.fd = near;
	fd.handler_in = mark_and_quit;
	fd.cookie = "f";
	run_fd(&fd);

	memset(&timer, 0, sizeof(timer));
	timer.handler = mark;
	timer.cookie = "T";
	check_int(iv_timer_registered(&timer), 0);
	iv_timer_register(&timer);
	iv_main();
	expect("T");
	close_pipe_and_end();
}

static void copies_of_descriptors(void)
{
	struct iv_fd fd, copy;

	IV_FD_INIT(&fd);
	fd.fd = near;
	fd.handler_in = mark_and_quit;
	fd.cookie = "f";
	copy = fd;
	memset(&fd, 0x5a, sizeof(fd));
	run_fd(&copy);
	fd = copy;
	memset(&copy, 0x5a, sizeof(copy));
	run_fd(&fd);
}

static void copies_of_timers(void)
{
	struct iv_timer timer, copy;

	IV_TIMER_INIT(&timer);
	timer.expires = (struct timespec){ 0 };
	timer.handler = mark;
	timer.cookie = "T";
	copy = timer;
	memset(&timer, 0x5a, sizeof(timer));
	iv_timer_register(&copy);
	iv_main();
	expect("T");

	timer = copy;
	memset(&copy, 0x5a, sizeof(copy));
	iv_timer_register(&timer);
	iv_timer_unregister(&timer);
	copy = timer;
	memset(&timer, 0x5a, sizeof(timer));
	iv_timer_register(&copy);
	iv_main();
	expect("T");
}

static void copies_of_tasks(void)
{
	struct iv_task task, copy;

	IV_TASK_INIT(&task);
	task.handler = mark;
	task.cookie = "t";
	copy = task;
	memset(&task, 0x5a, sizeof(task));
	iv_task_register(&copy);
	iv_task_unregister(&copy);
	task = copy;
	memset(&copy, 0x5a, sizeof(copy));
	iv_task_register(&task);
	iv_main();
	expect("t");
}

static void unregistered_objects_may_be_copied(void)
{
	open_pipe();
	iv_init();
	copies_of_descriptors();
	copies_of_timers();
	copies_of_tasks();
	close_pipe_and_end();
}

static void run_event(struct iv_event *event)
{
	event->handler = mark_and_quit;
	event->cookie = "e";
	check_int(iv_event_register(event), 0);
	iv_event_post(event);
	iv_main();
	expect("e");
	iv_event_unregister(event);
	check(event->handler == mark_and_quit);
}

static void run_raw(struct iv_event_raw *raw)
{
	raw->handler = mark_and_quit;
	raw->cookie = "r";
	check_int(iv_event_raw_register(raw), 0);
	iv_event_raw_post(raw);
	iv_main();
	expect("r");
	iv_event_raw_unregister(raw);
	check(raw->handler == mark_and_quit);
}

static void events_need_no_initialiser(void)
{
	struct iv_event event;
	struct iv_event_raw raw;
	int i;

	iv_init();
	for (i = 0; i < NUM_PATTERNS; i++) {
		memset(&event, patterns[i], sizeof(event));
		run_event(&event);
		run_event(&event);
		memset(&raw, patterns[i], sizeof(raw));
		run_raw(&raw);
		run_raw(&raw);
	}
	iv_main();
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "structures have the layout that programs were compiled with",
	  structures_have_their_layout, ONCE, 0 },
	{ "initialisers work in any thread, and keep public members",
	  initialisers_work_anywhere, EACH_METHOD, 0 },
	{ "initialisers of objects that may be registered do nothing",
	  empty_initialisers, ONCE, 0 },
	{ "a zeroed descriptor or timer is not registered, and may be",
	  zeroed_memory_is_not_registered, EACH_METHOD, 0 },
	{ "an unregistered object may be copied, and the copy registered",
	  unregistered_objects_may_be_copied, EACH_METHOD, 0 },
	{ "private members of events need not be initialised",
	  events_need_no_initialiser, EACH, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

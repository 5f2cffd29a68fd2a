/*
 * libivykis: per-loop memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_tls.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "check.h"

/* One letter for each call, in order. */
static char trace[64];

static void mark(char letter)
{
	size_t len = strlen(trace);

	check(len + 1 < sizeof(trace));
	trace[len] = letter;
}

static void expect(const char *want)
{
	if (strcmp(trace, want))
		fprintf(stderr, "# \"%s\" happened, not \"%s\"\n", trace, want);
	check(!strcmp(trace, want));
	memset(trace, 0, sizeof(trace));
}

static void run_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, fn, arg), 0);
	check_int(pthread_join(thread, NULL), 0);
}

/* Users of several sizes. */
#define NUM_SIZES	6

static const size_t sizes[NUM_SIZES] = { 0, 1, 17, 1000, 100000, 16 };
static struct iv_tls_user sized[NUM_SIZES];

static void register_sizes(void)
{
	int i;

	for (i = 0; i < NUM_SIZES; i++) {
		sized[i].sizeof_state = sizes[i];
		iv_tls_user_register(&sized[i]);
	}
}

static int is_all(const char *area, size_t size, char byte)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (area[i] != byte)
			return 0;
	}

	return 1;
}

static void *check_fresh_areas(void *arg)
{
	char *area[NUM_SIZES];
	int i;

	iv_init();
	for (i = 0; i < NUM_SIZES; i++) {
		area[i] = iv_tls_user_ptr(&sized[i]);
		check(area[i] != NULL);
		check_int((uintptr_t)area[i] % 16, 0);
		check(is_all(area[i], sizes[i], 0));
	}

	for (i = 0; i < NUM_SIZES; i++)
		memset(area[i], 'a' + i, sizes[i]);
	for (i = 0; i < NUM_SIZES; i++) {
		check(iv_tls_user_ptr(&sized[i]) == area[i]);
		check(is_all(area[i], sizes[i], 'a' + i));
	}
	if (arg != NULL)
		run_thread(check_fresh_areas, NULL);
	for (i = 0; i < NUM_SIZES; i++)
		check(is_all(area[i], sizes[i], 'a' + i));
	iv_deinit();

	return NULL;
}

static void each_loop_has_fresh_areas(void)
{
	register_sizes();
	check_fresh_areas(trace);
	check_fresh_areas(trace);
	run_thread(check_fresh_areas, trace);
}

static void *check_no_areas(void *arg)
{
	int i;

	for (i = 0; i < NUM_SIZES; i++)
		check(iv_tls_user_ptr(&sized[i]) == NULL);

	return arg;
}

static void no_areas_without_a_loop(void)
{
	register_sizes();
	check_no_areas(NULL);
	iv_init();
	run_thread(check_no_areas, NULL);
	iv_deinit();
	check_no_areas(NULL);
}

/* Three users.  The first and the third record their callbacks. */
struct area {
	int	value;
};

static void first_init(void *_area);
static void first_deinit(void *_area);
static void third_init(void *_area);
static void third_deinit(void *_area);

static struct iv_tls_user first = {
	.sizeof_state	= sizeof(struct area),
	.init_thread	= first_init,
	.deinit_thread	= first_deinit,
};

static struct iv_tls_user second = {
	.sizeof_state	= sizeof(struct area),
};

static struct iv_tls_user third = {
	.sizeof_state	= sizeof(struct area),
	.init_thread	= third_init,
	.deinit_thread	= third_deinit,
};

static int value_of(const struct iv_tls_user *user)
{
	struct area *area = iv_tls_user_ptr(user);

	check(area != NULL);

	return area->value;
}

static void first_init(void *_area)
{
	struct area *area = _area;

	check_int(iv_inited(), 1);
	check(iv_tls_user_ptr(&first) == area);
	check_int(value_of(&first), 0);
	check_int(value_of(&second), 0);
	check_int(value_of(&third), 0);
	area->value = 1;
	mark('1');
	iv_quit();
}

static void third_init(void *_area)
{
	struct area *area = _area;

	check(iv_tls_user_ptr(&third) == area);
	check_int(value_of(&first), 1);
	area->value = 1;
	mark('3');
}

static void first_deinit(void *_area)
{
	struct area *area = _area;

	check_int(iv_inited(), 1);
	check(iv_tls_user_ptr(&first) == area);
	check_int(area->value, 1);
	check_int(value_of(&third), 1);
	area->value = 2;
	mark('a');
}

static void third_deinit(void *_area)
{
	struct area *area = _area;

	check_int(iv_inited(), 1);
	check_int(value_of(&first), 2);
	check_int(area->value, 1);
	mark('c');
}

static void register_three(void)
{
	iv_tls_user_register(&first);
	iv_tls_user_register(&second);
	iv_tls_user_register(&third);
}

static void *init_and_deinit(void *arg)
{
	iv_init();
	expect("13");
	iv_deinit();

	return arg;
}

static void *init_and_return(void *arg)
{
	iv_init();
	expect("13");

	return arg;
}

static void *init_and_exit(void *arg)
{
	iv_init();
	expect("13");
	pthread_exit(arg);
}

static void callbacks_run_in_order(void)
{
	register_three();
	init_and_deinit(NULL);
	expect("ac");
	init_and_deinit(NULL);
	expect("ac");
	run_thread(init_and_deinit, NULL);
	expect("ac");
	run_thread(init_and_return, NULL);
	expect("ac");
	run_thread(init_and_exit, NULL);
	expect("ac");
}

static void mark_task(void *cookie)
{
	(void)cookie;
	mark('t');
}

static void quit_in_a_callback(void)
{
	struct iv_task task;

	register_three();
	iv_init();
	IV_TASK_INIT(&task);
	task.handler = mark_task;
	iv_task_register(&task);
	iv_main();
	expect("13t");
	iv_deinit();
}

/* A user that registers objects in each loop, as modules do. */
struct module {
	struct iv_fd	fd;
	struct iv_timer	timer;
	struct iv_task	task;
	struct iv_event	event;
	int		writer;
};

static void module_task(void *cookie)
{
	(void)cookie;
	mark('t');
}

static void module_timer(void *cookie)
{
	(void)cookie;
	mark('T');
}

static void module_event(void *cookie)
{
	(void)cookie;
	mark('e');
}

static void module_fd(void *cookie)
{
	(void)cookie;
	mark('f');
	iv_quit();
}

static void module_add_fd(struct module *m)
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	m->writer = fd[1];
	IV_FD_INIT(&m->fd);
	m->fd.fd = fd[0];
	m->fd.handler_in = module_fd;
	iv_fd_register(&m->fd);
}

static void module_init(void *_m)
{
	struct module *m = _m;

	module_add_fd(m);
	IV_TIMER_INIT(&m->timer);
	m->timer.expires = iv_now;
	m->timer.handler = module_timer;
	iv_timer_register(&m->timer);
	IV_TASK_INIT(&m->task);
	m->task.handler = module_task;
	iv_task_register(&m->task);
	IV_EVENT_INIT(&m->event);
	m->event.handler = module_event;
	check_int(iv_event_register(&m->event), 0);
	iv_event_post(&m->event);
}

static void module_deinit(void *_m)
{
	struct module *m = _m;

	if (iv_timer_registered(&m->timer))
		iv_timer_unregister(&m->timer);
	if (iv_task_registered(&m->task))
		iv_task_unregister(&m->task);
	iv_event_unregister(&m->event);
	iv_fd_set_handler_in(&m->fd, NULL);
	iv_fd_unregister(&m->fd);
	close(m->fd.fd);
	close(m->writer);
	IV_TASK_INIT(&m->task);
	iv_task_register(&m->task);
	iv_task_unregister(&m->task);
}

static struct iv_tls_user module = {
	.sizeof_state	= sizeof(struct module),
	.init_thread	= module_init,
	.deinit_thread	= module_deinit,
};

static void *run_module(void *arg)
{
	iv_init();
	if (arg == NULL)
		iv_main();
	iv_deinit();

	return NULL;
}

static void *run_module_and_exit(void *arg)
{
	iv_init();
	if (arg == NULL)
		iv_main();

	return NULL;
}

static void callbacks_have_the_whole_loop(void)
{
	int before = num_descriptors();

	iv_tls_user_register(&module);
	run_module(NULL);
	expect("Ttef");
	run_thread(run_module_and_exit, NULL);
	expect("Ttef");
	run_module(trace);
	run_thread(run_module_and_exit, trace);
	expect("");
	check_int(num_descriptors(), before);
}

/* A user that registers an event while the loop ends. */
static void register_in_deinit(void *_event)
{
	struct iv_event *event = _event;

	event->handler = module_event;
	check_int(iv_event_register(event), 0);
	iv_event_post(event);
}

static struct iv_tls_user careless = {
	.sizeof_state	= sizeof(struct iv_event),
	.deinit_thread	= register_in_deinit,
};

static void event_of_deinit_is_cleaned_up(void)
{
	int before = num_descriptors();

	iv_tls_user_register(&careless);
	run_module(NULL);
	check_int(num_descriptors(), before);
	run_thread(run_module_and_exit, NULL);
	check_int(num_descriptors(), before);
	expect("");
}

/* Signal handlers. */
static void *area_in_handler;

static void get_area(int sig)
{
	(void)sig;
	area_in_handler = iv_tls_user_ptr(&first);
}

static void signal_handlers_get_the_area(void)
{
	register_three();
	signal(SIGUSR1, get_area);
	raise(SIGUSR1);
	check(area_in_handler == NULL);
	iv_init();
	raise(SIGUSR1);
	check(area_in_handler == iv_tls_user_ptr(&first));
	iv_deinit();
	raise(SIGUSR1);
	check(area_in_handler == NULL);
}

/* Many loops at the same time. */
static void count_up(void *_area)
{
	struct area *area = _area;

	area->value++;
}

static void count_check(void *_area)
{
	struct area *area = _area;

	check_int(area->value, 1001);
}

static struct iv_tls_user counter = {
	.sizeof_state	= sizeof(struct area),
	.init_thread	= count_up,
	.deinit_thread	= count_check,
};

static void *count_in_loop(void *arg)
{
	int i;

	iv_init();
	for (i = 0; i < 1000; i++)
		count_up(iv_tls_user_ptr(&counter));

	return arg;
}

static void loops_do_not_share_areas(void)
{
	pthread_t threads[9];
	int i;

	iv_tls_user_register(&counter);
	count_in_loop(NULL);
	for (i = 0; i < 9; i++)
		check_int(pthread_create(&threads[i], NULL, count_in_loop,
					 NULL), 0);
	for (i = 0; i < 9; i++)
		check_int(pthread_join(threads[i], NULL), 0);
	iv_deinit();
}

/* Registered before main(). */
static struct iv_tls_user early = { .sizeof_state = 8 };

static void __attribute__((constructor)) register_early(void)
{
	iv_tls_user_register(&early);
}

static void constructors_may_register(void)
{
	check(iv_tls_user_ptr(&early) == NULL);
	iv_init();
	check(iv_tls_user_ptr(&early) != NULL);
	iv_deinit();
}

/* Sizes that are too large, or add up to too much. */
static void register_size_max(void)
{
	static struct iv_tls_user user = { .sizeof_state = SIZE_MAX };

	iv_tls_user_register(&user);
}

static void register_too_much_in_all(void)
{
	static struct iv_tls_user users[5];
	int i;

	for (i = 0; i < 5; i++) {
		users[i].sizeof_state = INT32_MAX / 3;
		iv_tls_user_register(&users[i]);
	}
}

/* The process's first key, whatever its number is, belongs to the test. */
static void keys_of_others_are_ignored(void)
{
	static struct iv_tls_user user = { .sizeof_state = 8 };
	pthread_key_t key;

	iv_tls_user_register(&user);
	check_int(pthread_key_create(&key, NULL), 0);
	check_int(pthread_setspecific(key, &key), 0);
	check_int(iv_inited(), 0);
	check(iv_tls_user_ptr(&user) == NULL);
	iv_init();
	check(iv_tls_user_ptr(&user) != NULL);
	check(iv_tls_user_ptr(&user) != pthread_getspecific(key));
	iv_deinit();
	check(pthread_getspecific(key) == &key);
}

static void init_without_memory(void)
{
	static struct iv_tls_user user = { .sizeof_state = 256 << 20 };
	struct rlimit lim = { 64 << 20, 64 << 20 };

	iv_tls_user_register(&user);
	check_int(setrlimit(RLIMIT_AS, &lim), 0);
	iv_init();
}

static void no_memory_is_fatal(void)
{
	need_memory_limit(RLIMIT_AS);
	check_fatal(init_without_memory, "iv_init");
}

static void impossible_sizes_are_fatal(void)
{
	check_fatal(register_size_max, "iv_tls_user_register");
	check_fatal(register_too_much_in_all, "iv_tls_user_register");
}

static const struct check_case cases[] = {
	{ "each loop has its own areas, zeroed and aligned to 16 bytes",
	  each_loop_has_fresh_areas, EACH_METHOD, 0 },
	{ "a thread without a loop has no areas",
	  no_areas_without_a_loop, EACH_METHOD, 0 },
	{ "callbacks run once per loop, in the order of registration",
	  callbacks_run_in_order, EACH_METHOD, 0 },
	{ "iv_quit in a callback has no effect",
	  quit_in_a_callback, EACH_METHOD, 0 },
	{ "callbacks may use the whole loop, even when the thread exits",
	  callbacks_have_the_whole_loop, EACH, 0 },
	{ "an event registered by deinit_thread leaves no descriptor open",
	  event_of_deinit_is_cleaned_up, EACH, 0 },
	{ "signal handlers get the area, or NULL without a loop",
	  signal_handlers_get_the_area, EACH_METHOD, 0 },
	{ "loops in several threads do not share areas",
	  loops_do_not_share_areas, EACH_METHOD, 0 },
	{ "users may be registered before main",
	  constructors_may_register, ONCE, 0 },
	{ "before the first loop, another library's key is not taken for ours",
	  keys_of_others_are_ignored, ONCE, 0 },
	{ "iv_init without memory for a loop is fatal",
	  no_memory_is_fatal, ONCE, 0 },
	{ "sizes that overflow are fatal",
	  impossible_sizes_are_fatal, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

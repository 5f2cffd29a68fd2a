/*
 * libivykis: handlers that do not return, or that call iv_main().
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_inotify.h>
#include <iv_signal.h>
#include <iv_tls.h>
#include <iv_wait.h>
#include <iv_work.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#ifdef BY_TURNS
#include <poll.h>

/* Instead of iv_main(): embedded in another loop, where that is possible. */
static void run_embedded(void)
{
	static const struct timespec at_once;
	struct pollfd pfd = { .fd = iv_loop_fd(), .events = POLLIN };

	while (iv_main_once(pfd.fd < 0 ? NULL : &at_once)) {
		if (pfd.fd >= 0)
			(void)poll(&pfd, 1, -1);
	}
}

#define iv_main()	run_embedded()
#endif

/*
 * Two objects of each kind are due at the same time.  The handler that is
 * called first calls act(), the other one quits.
 */
#define NUM	2

static int calls;
static void (*act)(void);

static int is_removing;

static void act_or_quit(void *cookie)
{
	(void)cookie;
	if (calls++ == 0)
		act();
	else if (!is_removing)
		iv_quit();
}

static void nothing(void *cookie)
{
	(void)cookie;
}

static struct iv_timer timers[NUM];

static void add_timers(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_TIMER_INIT(&timers[i]);
		timers[i].expires = (struct timespec){ 0 };
		timers[i].handler = act_or_quit;
		iv_timer_register(&timers[i]);
	}
}

static void remove_timers(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (iv_timer_registered(&timers[i]))
			iv_timer_unregister(&timers[i]);
	}
}

static struct iv_task tasks[NUM];

static void add_tasks(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_TASK_INIT(&tasks[i]);
		tasks[i].handler = act_or_quit;
		iv_task_register(&tasks[i]);
	}
}

static void remove_tasks(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		if (iv_task_registered(&tasks[i]))
			iv_task_unregister(&tasks[i]);
	}
}

static struct iv_fd fds[NUM];

static void read_and_handle(void *_fd)
{
	struct iv_fd *fd = _fd;
	char c;

	check_int(read(fd->fd, &c, 1), 1);
	act_or_quit(NULL);
}

static void add_fds(void)
{
	int fd[2];
	int i;

	for (i = 0; i < NUM; i++) {
		check_int(pipe(fd), 0);
		check_int(write(fd[1], "x", 1), 1);
		IV_FD_INIT(&fds[i]);
		fds[i].fd = fd[0];
		fds[i].cookie = &fds[i];
		fds[i].handler_in = read_and_handle;
		iv_fd_register(&fds[i]);
		/* The other end stays open, where remove_fds() closes it. */
		check_int(dup2(fd[1], 100 + i), 100 + i);
		close(fd[1]);
	}
}

static void remove_fds(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		iv_fd_unregister(&fds[i]);
		close(fds[i].fd);
		close(100 + i);
	}
}

static struct iv_event events[NUM];

static void add_events(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_EVENT_INIT(&events[i]);
		events[i].handler = act_or_quit;
		check_int(iv_event_register(&events[i]), 0);
		iv_event_post(&events[i]);
	}
}

static void *post_events(void *arg)
{
	int i;

	for (i = 0; i < NUM; i++)
		iv_event_post(&events[i]);

	return arg;
}

static void add_events_of_others(void)
{
	pthread_t thread;
	int i;

	for (i = 0; i < NUM; i++) {
		IV_EVENT_INIT(&events[i]);
		events[i].handler = act_or_quit;
		check_int(iv_event_register(&events[i]), 0);
	}
	check_int(pthread_create(&thread, NULL, post_events, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
}

static void remove_events(void)
{
	int i;

	for (i = 0; i < NUM; i++)
		iv_event_unregister(&events[i]);
}

static struct iv_event_raw raws[NUM];

static void add_raws(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_EVENT_RAW_INIT(&raws[i]);
		raws[i].handler = act_or_quit;
		check_int(iv_event_raw_register(&raws[i]), 0);
		iv_event_raw_post(&raws[i]);
	}
}

static void remove_raws(void)
{
	int i;

	for (i = 0; i < NUM; i++)
		iv_event_raw_unregister(&raws[i]);
}

static struct iv_signal signals[NUM];

static void add_signals(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_SIGNAL_INIT(&signals[i]);
		signals[i].signum = SIGUSR1;
		signals[i].flags = 0;
		signals[i].handler = act_or_quit;
		check_int(iv_signal_register(&signals[i]), 0);
	}
	check_int(raise(SIGUSR1), 0);
}

static void remove_signals(void)
{
	int i;

	for (i = 0; i < NUM; i++)
		iv_signal_unregister(&signals[i]);
}

static struct iv_wait_interest waits[NUM];

static void exit_child(void *cookie)
{
	(void)cookie;
	_exit(0);
}

static void child_ended(void *cookie, int status, const struct rusage *rusage)
{
	(void)rusage;
	check_int(status, 0);
	act_or_quit(cookie);
}

static void add_waits(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_WAIT_INTEREST_INIT(&waits[i]);
		waits[i].handler = child_ended;
		check_int(iv_wait_interest_register_spawn(&waits[i],
							  exit_child, NULL),
			  0);
	}
}

static void remove_waits(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		iv_wait_interest_unregister(&waits[i]);
		/* In case the loop has not waited for it yet. */
		(void)waitpid(waits[i].pid, NULL, 0);
	}
}

static char dir[32];

#if HAS_INOTIFY
static struct iv_inotify inotify;
static struct iv_inotify_watch watch;

static void file_created(void *cookie, struct inotify_event *event)
{
	check_int(event->mask, IN_CREATE);
	act_or_quit(cookie);
}

static void make_or_unlink(const char *name, int make)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!make) {
		check_int(unlink(path), 0);
		return;
	}
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	check(fd >= 0);
	close(fd);
}

static void add_watch(void)
{
	strcpy(dir, "/tmp/ivykis.XXXXXX");
	check(mkdtemp(dir) != NULL);
	IV_INOTIFY_INIT(&inotify);
	check_int(iv_inotify_register(&inotify), 0);
	IV_INOTIFY_WATCH_INIT(&watch);
	watch.inotify = &inotify;
	watch.pathname = dir;
	watch.mask = IN_CREATE;
	watch.handler = file_created;
	check_int(iv_inotify_watch_register(&watch), 0);
	make_or_unlink("one", 1);
	make_or_unlink("two", 1);
}

static void remove_dir(void)
{
	make_or_unlink("one", 0);
	make_or_unlink("two", 0);
	check_int(rmdir(dir), 0);
}

static void remove_watch(void)
{
	iv_inotify_unregister(&inotify);
	remove_dir();
}

/* An overflow is reported to all watches of an instance. */
static struct iv_inotify_watch watches[NUM];

static void queue_overflowed(void *cookie, struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		act_or_quit(cookie);
}

static int queue_length(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
	int length;

	if (f == NULL || fscanf(f, "%d", &length) != 1 || length > 100000)
		skip("the length of the queue is not known, or too large");
	fclose(f);

	return length;
}

static void add_overflow(void)
{
	int length = queue_length();
	char path[80];
	int i;

	strcpy(dir, "/tmp/ivykis.XXXXXX");
	check(mkdtemp(dir) != NULL);
	make_or_unlink("one", 1);
	make_or_unlink("two", 1);
	IV_INOTIFY_INIT(&inotify);
	check_int(iv_inotify_register(&inotify), 0);
	for (i = 0; i < NUM; i++) {
		IV_INOTIFY_WATCH_INIT(&watches[i]);
		watches[i].inotify = &inotify;
		snprintf(path, sizeof(path), "%s/%s", dir, i ? "two" : "one");
		watches[i].pathname = path;
		watches[i].mask = IN_OPEN | IN_CLOSE;
		watches[i].handler = queue_overflowed;
		check_int(iv_inotify_watch_register(&watches[i]), 0);
	}
	for (i = 0; i < length; i++)
		make_or_unlink(i & 1 ? "two" : "one", 1);
}
#else
/* This kind is left out. */
#define add_watch	remove_nothing
#define add_overflow	remove_nothing
#define remove_watch	remove_nothing
#define remove_dir	remove_nothing
#endif

static struct iv_work_pool pool;
static struct iv_work_item items[NUM];

static void submit(struct iv_work_pool *to, void (*work)(void *),
		   void (*completion)(void *))
{
	int i;

	for (i = 0; i < NUM; i++) {
		IV_WORK_ITEM_INIT(&items[i]);
		items[i].work = work;
		items[i].completion = completion;
		iv_work_pool_submit_work(to, &items[i]);
	}
}

static void add_pool(int max_threads)
{
	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = max_threads;
	check_int(iv_work_pool_create(&pool), 0);
}

static atomic_int begun;

static void begin(void *cookie)
{
	(void)cookie;
	begun = 1;
}

/* When the only thread begins the last item, all the others are done. */
static void add_completions(void)
{
	static struct iv_work_item last;

	add_pool(1);
	submit(&pool, nothing, act_or_quit);
	IV_WORK_ITEM_INIT(&last);
	last.work = begin;
	last.completion = nothing;
	begun = 0;
	iv_work_pool_submit_work(&pool, &last);
	while (!begun)
		usleep(1000);
}

static void add_completions_of_own_work(void)
{
	add_pool(0);
	submit(&pool, nothing, act_or_quit);
}

static void add_own_work(void)
{
	add_pool(0);
	submit(&pool, act_or_quit, nothing);
}

/* The loop returns when the pool has ended. */
static void remove_pool(void)
{
	is_removing = 1;
	iv_work_pool_put(&pool);
	iv_main();
	is_removing = 0;
}

static void add_completions_without_pool(void)
{
	submit(NULL, nothing, act_or_quit);
}

static void add_work_without_pool(void)
{
	submit(NULL, act_or_quit, nothing);
}

static void remove_nothing(void)
{
}

static const struct kind {
	const char	*name;
	void		(*add)(void);
	void		(*remove)(void);
	void		(*after_deinit)(void);
} kinds[] = {
	{ "timer", add_timers, remove_timers, remove_nothing },
	{ "task", add_tasks, remove_tasks, remove_nothing },
	{ "fd", add_fds, remove_fds, remove_nothing },
	{ "event", add_events, remove_events, remove_nothing },
	{ "event of another thread", add_events_of_others, remove_events,
	  remove_nothing },
	{ "raw event", add_raws, remove_raws, remove_nothing },
	{ "signal", add_signals, remove_signals, remove_nothing },
	{ "wait", add_waits, remove_waits, remove_nothing },
	{ "inotify", add_watch, remove_watch, remove_dir },
	{ "inotify, overflow", add_overflow, remove_watch, remove_dir },
	{ "completion", add_completions, remove_pool, remove_nothing },
	{ "completion of own work", add_completions_of_own_work, remove_pool,
	  remove_nothing },
	{ "own work", add_own_work, remove_pool, remove_nothing },
	{ "completion without a pool", add_completions_without_pool,
	  remove_nothing, remove_nothing },
	{ "work without a pool", add_work_without_pool, remove_nothing,
	  remove_nothing },
};

#define NUM_KINDS	((int)(sizeof(kinds) / sizeof(kinds[0])))

static const struct kind *kind;

static int is_pool(void)
{
	return kind->remove == remove_pool;
}

/* Each kind runs in a child, so that the output shows which one fails. */
static void for_each_kind(void (*fn)(void))
{
	int i;

	for (i = 0; i < NUM_KINDS; i++) {
		pid_t pid;

		if (is_left_out(kinds[i].name))
			continue;
		pid = fork();
		check(pid >= 0);
		if (pid == 0) {
			int before;

			kind = &kinds[i];
			fprintf(stderr, "# %s\n", kind->name);
			before = num_descriptors();
			fn();
			check_int(num_descriptors(), before);
			exit(0);
		}
		check_child(pid);
	}
}

/* The thread ends in a handler, and its cleanup handler ends the loop. */
static int cleanups;

static void clean_up(void *cookie)
{
	(void)cookie;
	kind->remove();
	iv_deinit();
	check_int(iv_inited(), 0);
	cleanups++;
}

static void *thread_with_cleanup(void *arg)
{
	iv_init();
	kind->add();
	pthread_cleanup_push(clean_up, NULL);
	iv_main();
	check(0);
	pthread_cleanup_pop(0);

	return arg;
}

static void exit_thread(void)
{
	pthread_exit(NULL);
}

static void cancel_thread(void)
{
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

static void run_thread_with_cleanup(void)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, thread_with_cleanup, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	check_int(cleanups, 1);
	/* A pool ends only after all completions were called. */
	check_int(calls, is_pool() ? calls : 1);
}

static void exit_in_handler(void)
{
	act = exit_thread;
	run_thread_with_cleanup();
}

static void cancel_in_handler(void)
{
	act = cancel_thread;
	run_thread_with_cleanup();
}

static void thread_may_end_in_handler(void)
{
	skip_under(ASAN, "takes stack frames for live after pthread_exit");
	for_each_kind(exit_in_handler);
	for_each_kind(cancel_in_handler);
}

/* The thread is cancelled in the wait. */
static void *wait_thread(void *_timer)
{
	iv_init();
	add_events_of_others();
	calls = 1;
	if (_timer != NULL) {
		add_timers();
		timers[0].handler = nothing;
		iv_timer_unregister(&timers[1]);
		timers[1].expires = iv_now;
		timers[1].expires.tv_sec += 1000;
		iv_timer_register(&timers[1]);
	}
	/* The handler quits.  Then there is nothing to do but wait. */
	iv_main();
	pthread_cleanup_push(clean_up, NULL);
	pthread_cancel(pthread_self());
	iv_main();
	check(0);
	pthread_cleanup_pop(0);

	return NULL;
}

static void remove_timers_and_events(void)
{
	if (timers[1].handler != NULL)
		remove_timers();
	remove_events();
}

static void wait_is_cancellation_point(void)
{
	static const struct kind events_and_timers = {
		.remove = remove_timers_and_events,
	};
	pthread_t thread;
	int i;

	kind = &events_and_timers;
	for (i = 0; i < 2; i++) {
		check_int(pthread_create(&thread, NULL, wait_thread,
					 i ? &timers : NULL), 0);
		check_int(pthread_join(thread, NULL), 0);
		check_int(cleanups, i + 1);
	}
}

/* longjmp(3) out of a handler. */
static jmp_buf back;

static void jump_out(void)
{
	longjmp(back, 1);
}

static void use_stack(void)
{
	volatile char room[16384];

	memset((char *)room, 0x5a, sizeof(room));
}

/* The stack frames of iv_main() are overwritten before the calls. */
static __attribute__((noinline)) void remove_and_deinit(void)
{
	volatile char room[1024];

	room[0] = 1;
	use_stack();
	kind->remove();
	iv_deinit();
	check_int(room[0], 1);
}

static void run_until_jump(void)
{
	act = jump_out;
	iv_init();
	kind->add();
	if (setjmp(back) == 0) {
		iv_main();
		check(0);
	}
	use_stack();
	check_int(calls, 1);
}

static void jump_and_deinit(void)
{
	run_until_jump();
	remove_and_deinit();
	check_int(iv_inited(), 0);
}

static void jump_and_go_on(void)
{
	int i;

	run_until_jump();
	/* The other object is still due, and nothing else wakes the loop. */
	is_removing = is_pool();
	if (is_pool())
		run_iterations(10);
	else
		iv_main();
	is_removing = 0;
	check_int(calls, 2);
	remove_and_deinit();

	/* New loops can be made and run. */
	for (i = 0; i < 3; i++) {
		calls = 1;
		iv_init();
		kind->add();
		iv_main();
		check(calls > 1);
		kind->remove();
		iv_deinit();
	}
}

static void handler_may_be_left_by_longjmp(void)
{
	for_each_kind(jump_and_deinit);
}

static void rest_is_served_after_jump(void)
{
	for_each_kind(jump_and_go_on);
}

#ifdef CXX
/* The script `throw' builds this part: a handler throws, a caller catches. */
void throw_something(void);
int catches(void (*fn)(void));

static void run_until_throw(void)
{
	act = throw_something;
	iv_init();
	kind->add();
	check(catches(iv_main));
	use_stack();
	check_int(calls, 1);
}

static void throw_and_deinit(void)
{
	run_until_throw();
	remove_and_deinit();
	check_int(iv_inited(), 0);
}

static void throw_and_go_on(void)
{
	run_until_throw();
	iv_main();
	check_int(calls, 2);
	remove_and_deinit();
}

/* The handler that has called the inner iv_main() catches the exception. */
static void call_and_catch(void)
{
	calls = 0;
	act = throw_something;
	check(catches(iv_main));
	iv_quit();
}

static void throw_in_inner(void)
{
	act = call_and_catch;
	iv_init();
	kind->add();
	iv_main();
	check(calls >= 1);
	is_removing = 1;
	kind->remove();
	iv_deinit();
}

static void handler_may_throw(void)
{
	for_each_kind(throw_and_deinit);
	for_each_kind(throw_and_go_on);
	for_each_kind(throw_in_inner);
}

#endif

/* A handler ends the loop, and jumps out. */
static void deinit_and_jump(void)
{
	kind->remove();
	iv_deinit();
	longjmp(back, 1);
}

static void deinit_jump_and_init(void)
{
	act = deinit_and_jump;
	iv_init();
	kind->add();
	if (setjmp(back) == 0) {
		iv_main();
		check(0);
	}
	check_int(iv_inited(), 0);

	iv_init();
	calls = 1;
	kind->add();
	iv_main();
	kind->remove();
	iv_deinit();
}

static void handler_may_end_loop_and_jump(void)
{
	for_each_kind(deinit_jump_and_init);
}

static void deinit_only(void)
{
	iv_deinit();
}

static void deinit_and_return(void)
{
	act = deinit_only;
	iv_init();
	kind->add();
	iv_main();
}

static void deinit_init_and_run(void)
{
	kind->remove();
	iv_deinit();
	iv_init();
	kind->add();
	if (!is_pool())
		iv_main();
}

static void replace_and_return(void)
{
	act = deinit_init_and_run;
	iv_init();
	kind->add();
	iv_main();
}

static void init_main_and_deinit(void)
{
	iv_deinit();
	iv_init();
	iv_main();
	iv_deinit();
}

static void use_and_return(void)
{
	act = init_main_and_deinit;
	iv_init();
	kind->add();
	iv_main();
}

static void check_fatal_returns(void)
{
	check_fatal(deinit_and_return, "iv_deinit: called inside iv_main");
	check_fatal(replace_and_return, "iv_deinit: called inside iv_main");
	check_fatal(use_and_return, "iv_deinit: called inside iv_main");
	if (dir[0] != '\0')
		kind->after_deinit();
}

static void return_after_deinit_is_fatal(void)
{
	for_each_kind(check_fatal_returns);
}

/* A handler calls exit(3), and an atexit(3) function ends the loop. */
static void deinit_at_exit(void)
{
	if (!iv_inited())
		return;
	kind->remove();
	iv_deinit();
	_exit(7);
}

static void exit_process(void)
{
	exit(1);
}

static void exit_and_deinit(void)
{
	pid_t pid = fork();
	int status;

	check(pid >= 0);
	if (pid == 0) {
		act = exit_process;
		atexit(deinit_at_exit);
		iv_init();
		kind->add();
		iv_main();
		_exit(1);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 7 << 8);
}

static void process_may_exit_in_handler(void)
{
	for_each_kind(exit_and_deinit);
}

/* iv_main() in a handler. */
static int inner_calls;

static void quit_inner(void *cookie)
{
	(void)cookie;
	inner_calls++;
	iv_quit();
}

static void run_inner(void)
{
	static struct iv_task task;

	IV_TASK_INIT(&task);
	task.handler = quit_inner;
	iv_task_register(&task);
	iv_main();
	check_int(inner_calls, 1);
}

/* One iv_quit() ends both. */
static void quit_both(void)
{
	act = run_inner;
	iv_init();
	kind->add();
	iv_main();
	check_int(inner_calls, 1);
	check(calls >= 1);
	kind->remove();
	iv_deinit();
}

static void main_without_objects(void)
{
	/* The other object of the kind is served, and quits. */
	iv_main();
	check_int(calls, 2);
}

static void serve_in_inner(void)
{
	act = main_without_objects;
	iv_init();
	kind->add();
	iv_main();
	check_int(calls, 2);
	kind->remove();
	iv_deinit();
}

static void remove_in_inner(void)
{
	kind->remove();
	iv_main();
}

/* When the handler returns, its object is no longer registered. */
static void remove_in_handler_and_run(void)
{
	act = remove_in_inner;
	iv_init();
	kind->add();
	iv_main();
	check(calls >= 1);
	iv_deinit();
}

static void handler_may_call_iv_main(void)
{
	for_each_kind(quit_both);
	for_each_kind(serve_in_inner);
	for_each_kind(remove_in_handler_and_run);
}

/* A callback of iv_tls calls iv_deinit(), which has called it. */
static void deinit_area(void *area)
{
	(void)area;
	iv_deinit();
}

static void deinit_in_deinit(void)
{
	static struct iv_tls_user user = { .deinit_thread = deinit_area };

	iv_tls_user_register(&user);
	iv_init();
	iv_deinit();
}

static void deinit_in_callback_is_fatal(void)
{
	check_fatal(deinit_in_deinit, "iv_deinit: called in a deinit_thread");
}

static const struct check_case cases[] = {
	{ "a thread may end in any handler, and its cleanup ends the loop",
	  thread_may_end_in_handler, EACH, 0 },
	{ "a thread may be cancelled in the wait, and then end the loop",
	  wait_is_cancellation_point, EACH, 0 },
	{ "the loop may be ended after longjmp out of any handler",
	  handler_may_be_left_by_longjmp, EACH, 0 },
	{ "other objects that were due are served after longjmp out of a handler",
	  rest_is_served_after_jump, EACH, 0 },
	{ "a handler that does not return may end the loop",
	  handler_may_end_loop_and_jump, EACH, 0 },
	{ "returning from a handler that ended the loop is fatal",
	  return_after_deinit_is_fatal, EACH_METHOD, 0 },
	{ "any handler may call exit, and an atexit function end the loop",
	  process_may_exit_in_handler, EACH_METHOD, 0 },
	{ "any handler may call iv_main",
	  handler_may_call_iv_main, EACH, 0 },
	{ "iv_deinit in a callback of iv_deinit is fatal",
	  deinit_in_callback_is_fatal, ONCE, 0 },
#ifdef CXX
	{ "any handler may throw, and other objects that were due are served",
	  handler_may_throw, EACH, 0 },
#endif
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

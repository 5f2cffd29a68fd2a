/*
 * libivykis: calls in a thread that is being cancelled.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each call of the library is made repeatedly, each time in a new thread.  The
 * thread is sent a cancellation request right before the n-th call of a libc
 * function that is a cancellation point: for n = 1, 2, ... until a run makes no
 * n-th one.  In one more run the request is pending before the call.  The
 * linker's --wrap redirects the library's calls of these functions to those
 * below.
 *
 * The call has to complete, and the request has to be pending afterwards.  Only
 * iv_main() may be cancelled, where it waits.  In the end, no descriptor and no
 * memory may have leaked.
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_fd_pump.h>
#include <iv_inotify.h>
#include <iv_popen.h>
#include <iv_signal.h>
#include <iv_thread.h>
#include <iv_wait.h>
#include <iv_work.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

/* Cancellation points of the thread, counted while its call is made. */
static _Thread_local int counting;
static int num_points;
static int cancel_at;			/* 0: before the call; -1: never */
static const char *point_name;

static void at_point(const char *name)
{
	if (!counting)
		return;
	point_name = name;
	if (++num_points == cancel_at)
		pthread_cancel(pthread_self());
}

#define WRAP(type, name, params, args)					\
	type __real_##name params;					\
	type __wrap_##name params;					\
	type __wrap_##name params					\
	{								\
		at_point(#name);					\
		return __real_##name args;				\
	}

/* Our signal handler may interrupt a wait, and make calls that are counted. */
static _Thread_local int waiting;

#define WRAP_WAIT(name, params, args)					\
	int __real_##name params;					\
	int __wrap_##name params;					\
	int __wrap_##name params					\
	{								\
		int ret;						\
									\
		at_point(#name);					\
		waiting = 1;						\
		ret = __real_##name args;				\
		waiting = 0;						\
									\
		return ret;						\
	}

WRAP(int, close, (int fd), (fd))
WRAP(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len))
WRAP(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len))
WRAP(ssize_t, splice, (int in, off64_t *pos_in, int out, off64_t *pos_out,
		       size_t len, unsigned int flags),
     (in, pos_in, out, pos_out, len, flags))
WRAP_WAIT(poll, (struct pollfd *fds, nfds_t num, int ms), (fds, num, ms))
WRAP_WAIT(ppoll, (struct pollfd *fds, nfds_t num, const struct timespec *ts,
		 const sigset_t *mask), (fds, num, ts, mask))
WRAP_WAIT(epoll_wait, (int fd, struct epoll_event *events, int num, int ms),
     (fd, events, num, ms))
WRAP_WAIT(epoll_pwait2, (int fd, struct epoll_event *events, int num,
			 const struct timespec *ts, const sigset_t *mask),
     (fd, events, num, ts, mask))
#ifdef HAVE_URING
/* A wait for io_uring(7) is a cancellation point between two of these calls. */
int __real_pthread_setcanceltype(int type, int *old);
int __wrap_pthread_setcanceltype(int type, int *old);
int __wrap_pthread_setcanceltype(int type, int *old)
{
	int ret;

	if (type == PTHREAD_CANCEL_ASYNCHRONOUS) {
		at_point("pthread_setcanceltype");
		waiting = 1;
	}
	ret = __real_pthread_setcanceltype(type, old);
	if (type != PTHREAD_CANCEL_ASYNCHRONOUS)
		waiting = 0;

	return ret;
}

/* The library calls this instead of a wait that it can do without. */
void __real_pthread_testcancel(void);
void __wrap_pthread_testcancel(void);
void __wrap_pthread_testcancel(void)
{
	at_point("pthread_testcancel");
	waiting = 1;
	__real_pthread_testcancel();
	waiting = 0;
}
#endif
WRAP(int, nanosleep, (const struct timespec *ts, struct timespec *left),
     (ts, left))
WRAP(int, sigtimedwait, (const sigset_t *set, siginfo_t *info,
			 const struct timespec *ts), (set, info, ts))
WRAP(pid_t, wait4, (pid_t pid, int *status, int options,
		    struct rusage *rusage), (pid, status, options, rusage))
WRAP(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
     (type, id, info, options))
WRAP(int, pthread_join, (pthread_t thread, void **ret), (thread, ret))

/* Memory that the library has allocated. */
static atomic_int num_blocks;

static void *count_block(void *mem)
{
	if (mem != NULL)
		num_blocks++;

	return mem;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t num, size_t size);
void *__wrap_calloc(size_t num, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__real_realloc(void *mem, size_t size);
void *__wrap_realloc(void *mem, size_t size);
void *__real_reallocarray(void *mem, size_t num, size_t size);
void *__wrap_reallocarray(void *mem, size_t num, size_t size);
void __real_free(void *mem);
void __wrap_free(void *mem);

void *__wrap_malloc(size_t size)
{
	return count_block(__real_malloc(size));
}

void *__wrap_calloc(size_t num, size_t size)
{
	return count_block(__real_calloc(num, size));
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return count_block(__real_aligned_alloc(align, size));
}

void *__wrap_realloc(void *mem, size_t size)
{
	void *ret = __real_realloc(mem, size);

	return mem == NULL ? count_block(ret) : ret;
}

void *__wrap_reallocarray(void *mem, size_t num, size_t size)
{
	void *ret = __real_reallocarray(mem, num, size);

	return mem == NULL ? count_block(ret) : ret;
}

void __wrap_free(void *mem)
{
	if (mem != NULL)
		num_blocks--;
	__real_free(mem);
}


/*
 * The calls, with what is done before and after each.
 */
static void nothing(void *cookie)
{
	(void)cookie;
}

static void do_nothing(void)
{
}

static struct iv_fd fd;
static int ends[2];

static void open_fd(void)
{
	check_int(pipe(ends), 0);
	check_int(write(ends[1], "x", 1), 1);
	IV_FD_INIT(&fd);
	fd.fd = ends[0];
	fd.handler_in = nothing;
}

static void close_fd(void)
{
	close(ends[0]);
	close(ends[1]);
}

static void register_fd(void)
{
	iv_fd_register(&fd);
}

static void register_try_fd(void)
{
	check_int(iv_fd_register_try(&fd), 0);
}

static void unregister_fd(void)
{
	check(iv_fd_registered(&fd));
	iv_fd_unregister(&fd);
}

static void open_registered_fd(void)
{
	open_fd();
	register_try_fd();
}

static void unregister_and_close_fd(void)
{
	unregister_fd();
	close_fd();
}

static struct iv_event event;

static void init_event(void)
{
	IV_EVENT_INIT(&event);
	event.handler = nothing;
}

static void register_event(void)
{
	check_int(iv_event_register(&event), 0);
}

static void unregister_event(void)
{
	iv_event_unregister(&event);
}

static void new_event(void)
{
	init_event();
	register_event();
}

static void post_event(void)
{
	iv_event_post(&event);
}

static struct iv_event_raw raw;
static int exported = -1;

static void init_raw(void)
{
	IV_EVENT_RAW_INIT(&raw);
	raw.handler = nothing;
}

static void register_raw(void)
{
	check_int(iv_event_raw_register(&raw), 0);
}

static void unregister_raw(void)
{
	iv_event_raw_unregister(&raw);
}

static void new_raw(void)
{
	init_raw();
	register_raw();
}

static void post_raw(void)
{
	iv_event_raw_post(&raw);
}

static void export_raw(void)
{
	exported = iv_event_raw_export(&raw);
	check(exported >= 0);
}

static void drop_exported(void)
{
	close(exported);
	unregister_raw();
}

static void new_exported(void)
{
	new_raw();
	export_raw();
}

static void post_exported(void)
{
	check_int(iv_event_raw_post_fd(exported), 0);
}

static void unregister_before_post(void)
{
	new_exported();
	unregister_raw();
}

/* A post to a pipe without a reader, whose SIGPIPE is taken back. */
static void post_in_vain(void)
{
	int ret = iv_event_raw_post_fd(exported);

	check(variant_is_pipe() ? ret < 0 && errno == EPIPE : ret == 0);
}

static void close_exported(void)
{
	close(exported);
}

static struct iv_signal sig;

static void init_signal(void)
{
	IV_SIGNAL_INIT(&sig);
	sig.signum = SIGUSR1;
	sig.flags = 0;
	sig.handler = nothing;
}

static void register_signal(void)
{
	check_int(iv_signal_register(&sig), 0);
}

static void unregister_signal(void)
{
	iv_signal_unregister(&sig);
}

static void new_signal(void)
{
	init_signal();
	register_signal();
}

static struct iv_wait_interest interest;

static void child_ended(void *cookie, int status, const struct rusage *rusage)
{
	(void)cookie;
	(void)status;
	(void)rusage;
}

static void sleep_for_ever(void *cookie)
{
	(void)cookie;
	for (;;)
		pause();
}

static void init_interest(void)
{
	IV_WAIT_INTEREST_INIT(&interest);
	interest.handler = child_ended;
}

static void fork_interest(void)
{
	init_interest();
	interest.pid = fork();
	check(interest.pid >= 0);
	if (interest.pid == 0)
		sleep_for_ever(NULL);
}

static void register_interest(void)
{
	iv_wait_interest_register(&interest);
}

static void register_try_interest(void)
{
	check_int(iv_wait_interest_register_try(&interest), 0);
}

static void spawn_interest(void)
{
	check_int(iv_wait_interest_register_spawn(&interest, sleep_for_ever,
						  NULL), 0);
}

static void kill_interest(void)
{
	check_int(iv_wait_interest_kill(&interest, SIGKILL), 0);
}

static void unregister_interest(void)
{
	iv_wait_interest_unregister(&interest);
}

static void reap(void)
{
	(void)kill(interest.pid, SIGKILL);
	(void)waitpid(interest.pid, NULL, 0);
}

static void new_interest(void)
{
	init_interest();
	spawn_interest();
}

static void drop_interest(void)
{
	unregister_interest();
	reap();
}

static struct iv_popen_request request;
static int output;

static void init_request(void)
{
	static char *argv[] = { "echo", "x", NULL };

	IV_POPEN_REQUEST_INIT(&request);
	request.file = "echo";
	request.argv = argv;
	request.type = "r";
}

static void submit_request(void)
{
	output = iv_popen_request_submit(&request);
	check(output >= 0);
}

/* The program must have run normally. */
static void finish_request(void)
{
	char got[3];

	check_int(read(output, got, 3), 2);
	check(!memcmp(got, "x\n", 2));
	check_int(read(output, got, 3), 0);
	close(output);
	/* This waits for the child. */
	iv_main();
}

static void new_request(void)
{
	init_request();
	submit_request();
}

static void close_request(void)
{
	iv_popen_request_close(&request);
}

static struct iv_inotify inotify;
static struct iv_inotify_watch watch;

static void ignore_event(void *cookie, struct inotify_event *ev)
{
	(void)cookie;
	(void)ev;
}

static void register_inotify(void)
{
	check_int(iv_inotify_register(&inotify), 0);
}

static void unregister_inotify(void)
{
	iv_inotify_unregister(&inotify);
}

static void register_watch(void)
{
	IV_INOTIFY_WATCH_INIT(&watch);
	watch.inotify = &inotify;
	watch.pathname = "/";
	watch.mask = IN_CREATE;
	watch.handler = ignore_event;
	check_int(iv_inotify_watch_register(&watch), 0);
}

static void new_watch(void)
{
	register_inotify();
	register_watch();
}

static void unregister_watch(void)
{
	iv_inotify_watch_unregister(&watch);
}

static struct iv_fd_pump pump;

static void ignore_bands(void *cookie, int pollin, int pollout)
{
	(void)cookie;
	(void)pollin;
	(void)pollout;
}

static int sink[2];

static void open_pump(void)
{
	open_fd();
	check_int(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	check_int(pipe2(sink, O_NONBLOCK), 0);
	IV_FD_PUMP_INIT(&pump);
	pump.from_fd = ends[0];
	pump.to_fd = sink[1];
	pump.flags = 0;
	pump.set_bands = ignore_bands;
	iv_fd_pump_init(&pump);
}

/* The output is a file that splice(2) rejects, so the pump copies. */
static void open_copying_pump(void)
{
	open_pump();
	close(sink[1]);
	sink[1] = open("/dev/null", O_WRONLY | O_APPEND);
	check(sink[1] >= 0);
	pump.to_fd = sink[1];
}

static void do_pump(void)
{
	check_int(iv_fd_pump_pump(&pump), 1);
}

static void open_full_pump(void)
{
	open_pump();
	while (write(sink[1], "xxxxxxxxxxxxxxxx", 16) > 0)
		;
	do_pump();
}

static void close_pump(void)
{
	iv_fd_pump_destroy(&pump);
	close_fd();
	close(sink[0]);
	close(sink[1]);
}

static void fill_cache(void)
{
	open_pump();
	do_pump();
	close_pump();
}

static void destroy_pump(void)
{
	iv_fd_pump_destroy(&pump);
}

static void close_pumped(void)
{
	close_fd();
	close(sink[0]);
	close(sink[1]);
}

static void debug_thread(void)
{
	iv_thread_set_debug_state(1);
}

static void create_thread(void)
{
	check_int(iv_thread_create("one", nothing, NULL), 0);
}

static void join_thread(void)
{
	iv_main();
	iv_thread_set_debug_state(0);
}

static void create_debugged_thread(void)
{
	debug_thread();
	create_thread();
}

static struct iv_work_pool pool;
static struct iv_work_item item;

static void init_pool(void)
{
	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = 1;
}

static void create_pool(void)
{
	check_int(iv_work_pool_create(&pool), 0);
}

static void put_pool(void)
{
	iv_work_pool_put(&pool);
}

static void new_pool(void)
{
	init_pool();
	create_pool();
}

static void submit(void)
{
	IV_WORK_ITEM_INIT(&item);
	item.work = nothing;
	item.completion = nothing;
	iv_work_pool_submit_work(&pool, &item);
}

static void submit_continuation(void)
{
	IV_WORK_ITEM_INIT(&item);
	item.work = nothing;
	item.completion = nothing;
	iv_work_pool_submit_continuation(&pool, &item);
}

static void new_busy_pool(void)
{
	new_pool();
	submit();
}

static void finish_pool(void)
{
	put_pool();
	iv_main();
}

static void run_loop(void)
{
	iv_main();
}

/* The loop uses its timer descriptor after some waits for the same timer. */
static struct iv_timer timer;
static int posts_left;

static void post_again(void *cookie)
{
	(void)cookie;
	if (--posts_left > 0)
		post_raw();
	else
		iv_quit();
}

static void use_timer_descriptor(void)
{
	IV_TIMER_INIT(&timer);
	timer.handler = nothing;
	timer.expires = iv_now;
	timer.expires.tv_nsec += 30000000;
	iv_timer_register(&timer);
	new_raw();
	raw.handler = post_again;
	post_raw();
	posts_left = 10;
	iv_main();
	unregister_raw();
}

static void drop_timer(void)
{
	if (iv_timer_registered(&timer))
		iv_timer_unregister(&timer);
}

/* A run of iv_main() that serves objects of all kinds, and returns. */
static int served;

static void serve_fd(void *cookie)
{
	char c;
	int state;

	(void)cookie;
	/* This is no cancellation point of the library. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	check_int(read(ends[0], &c, 1), 1);
	pthread_setcancelstate(state, NULL);
	served++;
}

static void serve(void *cookie)
{
	(void)cookie;
	served++;
}

static void serve_child(void *cookie, int status, const struct rusage *rusage)
{
	(void)cookie;
	(void)rusage;
	check(WIFSIGNALED(status));
	served++;
}

static void serve_watch(void *cookie, struct inotify_event *ev)
{
	(void)cookie;
	(void)ev;
	served++;
}

#define NUM_SERVED	(6 + HAS_INOTIFY)

static void quit_when_all_served(void *_timer)
{
	struct iv_timer *t = _timer;

	if (served >= NUM_SERVED) {
		iv_quit();
		return;
	}
	iv_validate_now();
	t->expires = iv_now;
	t->expires.tv_nsec += 1000000;
	iv_timer_register(t);
}

static void change_watched_file(void)
{
	char path[] = "/tmp/ivykis.XXXXXX";
	int file = mkstemp(path);

	check(file >= 0);
	register_inotify();
	IV_INOTIFY_WATCH_INIT(&watch);
	watch.inotify = &inotify;
	watch.pathname = path;
	watch.mask = IN_CLOSE_WRITE | IN_ONESHOT;
	watch.handler = serve_watch;
	check_int(iv_inotify_watch_register(&watch), 0);
	close(file);
	check_int(unlink(path), 0);
}

static void prepare_main(void)
{
	served = 0;
	open_registered_fd();
	fd.handler_in = serve_fd;
	new_event();
	event.handler = serve;
	post_event();
	new_raw();
	raw.handler = serve;
	post_raw();
	new_signal();
	sig.handler = serve;
	check_int(raise(SIGUSR1), 0);
	new_interest();
	interest.handler = serve_child;
	kill_interest();
	if (HAS_INOTIFY)
		change_watched_file();
	new_pool();
	submit();
	item.completion = serve;
	IV_TIMER_INIT(&timer);
	timer.cookie = &timer;
	timer.handler = quit_when_all_served;
	timer.expires = (struct timespec){ 0 };
	iv_timer_register(&timer);
}

static void serve_all(void)
{
	iv_main();
	check_int(served, NUM_SERVED);
}

static void finish_main(void)
{
	drop_timer();
	unregister_and_close_fd();
	unregister_event();
	unregister_raw();
	unregister_signal();
	drop_interest();
	if (HAS_INOTIFY)
		unregister_inotify();
	finish_pool();
}

static const struct call {
	const char	*name;
	void		(*before)(void);
	void		(*call)(void);
	void		(*after)(void);
	int		may_be_cancelled;	/* while it waits */
} calls[] = {
	{ "iv_init", iv_deinit, iv_init, do_nothing, 0 },
	{ "iv_deinit", use_timer_descriptor, iv_deinit, iv_init, 0 },
	{ "iv_deinit with pipes in a cache", fill_cache, iv_deinit, do_nothing, 0 },
	{ "iv_fd_register", open_fd, register_fd, unregister_and_close_fd, 0 },
	{ "iv_fd_register_try", open_fd, register_try_fd, unregister_and_close_fd, 0 },
	{ "iv_fd_unregister", open_registered_fd, unregister_fd, close_fd, 0 },
	{ "iv_event_register", init_event, register_event, unregister_event,
	  0 },
	{ "iv_event_unregister", new_event, unregister_event, do_nothing, 0 },
	{ "iv_event_post", new_event, post_event, unregister_event, 0 },
	{ "iv_event_raw_register", init_raw, register_raw, unregister_raw, 0 },
	{ "iv_event_raw_unregister", new_raw, unregister_raw, do_nothing, 0 },
	{ "iv_event_raw_post", new_raw, post_raw, unregister_raw, 0 },
	{ "iv_event_raw_export", new_raw, export_raw, drop_exported, 0 },
	{ "iv_event_raw_post_fd", new_exported, post_exported, drop_exported,
	  0 },
	{ "iv_event_raw_post_fd in vain", unregister_before_post, post_in_vain,
	  close_exported, 0 },
	{ "iv_signal_register", init_signal, register_signal,
	  unregister_signal, 0 },
	{ "iv_signal_unregister", new_signal, unregister_signal, do_nothing, 0 },
	{ "iv_wait_interest_register", fork_interest, register_interest,
	  drop_interest, 0 },
	{ "iv_wait_interest_register_try", fork_interest, register_try_interest,
	  drop_interest, 0 },
	{ "iv_wait_interest_register_spawn", init_interest, spawn_interest,
	  drop_interest, 0 },
	{ "iv_wait_interest_unregister", new_interest, unregister_interest,
	  reap, 0 },
	{ "iv_wait_interest_kill", new_interest, kill_interest, drop_interest,
	  0 },
	{ "iv_popen_request_submit", init_request, submit_request,
	  finish_request, 0 },
	{ "iv_popen_request_close", new_request, close_request,
	  finish_request, 0 },
	{ "iv_inotify_register", do_nothing, register_inotify,
	  unregister_inotify, 0 },
	{ "iv_inotify_unregister", new_watch, unregister_inotify, do_nothing,
	  0 },
	{ "iv_inotify_watch_register", register_inotify, register_watch,
	  unregister_inotify, 0 },
	{ "iv_inotify_watch_unregister", new_watch, unregister_watch,
	  unregister_inotify, 0 },
	{ "iv_fd_pump_pump", open_pump, do_pump, close_pump, 0 },
	{ "iv_fd_pump_pump to a file", open_copying_pump, do_pump, close_pump,
	  0 },
	{ "iv_fd_pump_pump to a full pipe", open_full_pump, do_pump,
	  close_pump, 0 },
	{ "iv_fd_pump_destroy", open_full_pump, destroy_pump, close_pumped, 0 },
	{ "iv_thread_create", debug_thread, create_thread, join_thread, 0 },
	{ "iv_thread_list_children", create_thread, iv_thread_list_children,
	  join_thread, 0 },
	{ "iv_work_pool_create", init_pool, create_pool, finish_pool, 0 },
	{ "iv_work_pool_put", new_busy_pool, put_pool, run_loop, 0 },
	{ "iv_work_pool_submit_work", new_pool, submit, finish_pool, 0 },
	{ "iv_work_pool_submit_continuation", new_pool, submit_continuation,
	  finish_pool, 0 },
	{ "iv_main that joins", create_debugged_thread, run_loop,
	  join_thread, 1 },
	{ "iv_main with a timer", use_timer_descriptor, run_loop, drop_timer,
	  1 },
	{ "iv_main", prepare_main, serve_all, finish_main, 1 },
};

#define NUM_CALLS	((int)(sizeof(calls) / sizeof(calls[0])))

static const struct call *call;
static int returned;

static void finish(void *cookie)
{
	(void)cookie;
	counting = 0;
	if (!returned && !(call->may_be_cancelled && waiting)) {
		fprintf(stderr, "# %s: cancelled at its point %d, %s\n",
			call->name, num_points, point_name);
		_exit(1);
	}
	call->after();
	if (iv_inited())
		iv_deinit();
}

static void *make_call(void *arg)
{
	int state;

	iv_init();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	call->before();
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	returned = 0;
	num_points = 0;
	point_name = "none";

	pthread_cleanup_push(finish, NULL);
	counting = 1;
	if (cancel_at == 0)
		pthread_cancel(pthread_self());
	call->call();
	returned = 1;
	counting = 0;

	/* The state is as before, and the request is still pending. */
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	check_int(state, PTHREAD_CANCEL_ENABLE);
	if (cancel_at >= 0 && cancel_at <= num_points) {
		pthread_testcancel();
		check(0);
	}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cleanup_pop(1);

	return arg;
}

static void run(void)
{
	pthread_t thread;
	int blocks = num_blocks;
	int descriptors = num_descriptors();

	check_int(pthread_create(&thread, NULL, make_call, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	if (num_blocks != blocks || num_descriptors() != descriptors)
		fprintf(stderr, "# %s, %d: something has leaked\n",
			call->name, cancel_at);
	check_int(num_blocks, blocks);
	check_int(num_descriptors(), descriptors);
}

static void make_calls(const struct call *c)
{
	call = c;
	/* The first loop allocates memory that stays, and ignores SIGPIPE. */
	iv_init();
	iv_deinit();
	cancel_at = -1;
	run();

	cancel_at = 0;
	do {
		run();
		cancel_at++;
	} while (!returned || cancel_at <= num_points);
}

/* The same is true of test/leave. */
static const char asan_reason[] =
	"takes stack frames for live after a cancellation";

static void calls_complete(void)
{
	int i;

	skip_under(ASAN, asan_reason);
	for (i = 0; i < NUM_CALLS; i++) {
		pid_t pid;

		if (is_left_out(calls[i].name))
			continue;
		pid = fork();
		check(pid >= 0);
		if (pid == 0) {
			make_calls(&calls[i]);
			exit(0);
		}
		check_child(pid);
	}
}

/* A thread of a pool is cancelled while it runs a function of the pool. */
static pthread_t worker;
static atomic_int working, may_return, stops;

static void remember_worker(void *cookie)
{
	(void)cookie;
	worker = pthread_self();
}

static void count_stop(void *cookie)
{
	(void)cookie;
	stops++;
}

static void cancel_self(void *cookie)
{
	(void)cookie;
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

static void wait_to_return(void *cookie)
{
	(void)cookie;
	working = 1;
	/* sched_yield() is no cancellation point. */
	while (!may_return)
		sched_yield();
}

static int completions;

static void count_completion(void *cookie)
{
	(void)cookie;
	completions++;
}

static void new_counted_pool(void)
{
	iv_init();
	init_pool();
	pool.thread_start = remember_worker;
	pool.thread_stop = count_stop;
	create_pool();
	IV_WORK_ITEM_INIT(&item);
	item.completion = count_completion;
}

static void check_counted_pool(void)
{
	check_int(completions, 1);
	check_int(stops, 1);
	iv_deinit();
}

static void worker_cancelled_from_outside(void)
{
	new_counted_pool();
	item.work = wait_to_return;
	iv_work_pool_submit_work(&pool, &item);
	while (!working)
		usleep(1000);
	check_int(pthread_cancel(worker), 0);
	put_pool();
	may_return = 1;
	iv_main();
	check_counted_pool();
}

static void worker_cancels_itself(void)
{
	skip_under(ASAN, asan_reason);
	new_counted_pool();
	item.work = cancel_self;
	iv_work_pool_submit_work(&pool, &item);
	put_pool();
	iv_main();
	check_counted_pool();
}

static void stop_and_cancel(void *cookie)
{
	count_stop(cookie);
	cancel_self(cookie);
}

static void worker_cancelled_in_thread_stop(void)
{
	skip_under(ASAN, asan_reason);
	iv_init();
	init_pool();
	pool.thread_stop = stop_and_cancel;
	create_pool();
	IV_WORK_ITEM_INIT(&item);
	item.work = nothing;
	item.completion = count_completion;
	iv_work_pool_submit_work(&pool, &item);
	put_pool();
	iv_main();
	check_counted_pool();
}

static const struct check_case cases[] = {
	{ "no call is a cancellation point, except iv_main where it waits",
	  calls_complete, EACH, 60 },
	{ "a pool's thread with a pending cancellation completes its item",
	  worker_cancelled_from_outside, EACH_BACKEND, 0 },
	{ "an item whose function is cancelled is completed",
	  worker_cancels_itself, EACH_BACKEND, 0 },
	{ "a pool's thread may be cancelled in thread_stop",
	  worker_cancelled_in_thread_stop, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

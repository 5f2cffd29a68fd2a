/*
 * libivykis: each call that can fail is made to fail in turn.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A scenario uses one object from its registration to its end.  It is run
 * repeatedly, each time in a new process in which the n-th system call, or the
 * n-th allocation, fails: for n = 1, 2, ... until a run makes no n-th one.
 * Calls of the scenario's own thread and of all others, including children, are
 * counted separately, so that n means the same call each time.
 *
 * The kernel makes system calls fail: a seccomp(2) filter asks this program
 * about each call, which answers with an errno that the call can return.
 * Allocations fail by the linker's --wrap, which redirects the library's calls
 * of malloc(3) and related functions to this file.
 *
 * A run passes if everything works anyway; if a call returns -1 with that errno
 * and succeeds when it is repeated; or if it ends in a call of iv_fatal() that
 * is listed here.  In the first two cases there must be as many descriptors and
 * allocations at its end as at its start, and a second run in the same process
 * must work.
 *
 *	torture NAME		the scenarios whose name contains NAME
 *	TORTURE=all		each errno of each call, and lasting failures
 *	TORTURE=SPEC		one run, as it is printed when one fails
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
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif
#include "../src/iv_board_page.h"
#include "check.h"

/* A run that takes longer has hung. */
#define MAX_MS		60000

/* After this many failed runs of a scenario, the rest is left out. */
#define MAX_WRONG	5

enum kind { CALLS, ALLOCATIONS };
enum threads { MAIN, OTHERS };

static const char *const kind_names[] = { "calls", "allocations" };
static const char *const thread_names[] = { "main", "others" };

/* What fails in a run: the n-th call or allocation of these threads. */
struct plan {
	enum kind	kind;
	enum threads	threads;
	int		n;
	int		err;		/* 0: the call's first one */
	int		lasts;		/* until the library reports it */
};

/* Shared by this program with the processes of the run. */
struct shared {
	struct plan	plan;
	atomic_int	listener;	/* 0: not yet; -1: impossible */
	atomic_int	is_taken;
	atomic_int	is_armed;	/* calls are counted */
	atomic_int	is_over;	/* nothing fails any more */
	atomic_int	count[2];
	atomic_int	num_failed;
	int		nr;		/* the call that failed */
	int		err;
	atomic_int	reported;	/* by the library */
	char		fatal[1024];
};

static struct shared *shared;
static pid_t main_tid;


/*
 * Calls that may fail, and how.  This leaves out calls that always succeed if
 * their arguments are right, such as close(2) or the removal of a descriptor
 * from an epoll set; and errors that would not be true, such as ECHILD for an
 * existing child.
 */
struct call {
	const char	*name;
	int		errs[8];
	int		lasts;		/* failures can last */
	int		arg;		/* number of an argument, */
	unsigned int	value;		/* that must have this value, or 0 */
};

static const struct call calls[] = {
	{ "clone", { EAGAIN, ENOMEM }, 1, 0, 0 },
	{ "clone3", { EAGAIN, ENOMEM }, 1, 0, 0 },
	{ "dup2", { EBUSY, EINTR }, 0, 0, 0 },
	{ "epoll_create1", { EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, EINVAL },
	  1, 0, 0 },
	{ "epoll_ctl", { ENOMEM, ENOSPC }, 1, 1, EPOLL_CTL_ADD },
	{ "epoll_pwait2", { EINTR, EPERM, ENOSYS }, 0, 0, 0 },
	{ "epoll_wait", { EINTR, EINVAL }, 0, 0, 0 },
	{ "eventfd2", { EMFILE, ENFILE, ENOMEM, ENODEV, EPERM, ENOSYS,
			EINVAL }, 1, 0, 0 },
	{ "execve", { ENOMEM, EACCES, ENOENT }, 0, 0, 0 },
	{ "inotify_add_watch", { ENOSPC, ENOMEM, EACCES, EINVAL }, 1, 0, 0 },
	{ "inotify_init1", { EMFILE, ENFILE, ENOMEM }, 1, 0, 0 },
#ifdef HAVE_URING
	{ "io_uring_enter", { EINTR, EAGAIN, EBUSY, ENOMEM, EPERM, ENOSYS },
	  0, 0, 0 },
	{ "io_uring_setup", { EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, EACCES,
			      EINVAL }, 1, 0, 0 },
#endif
#ifdef HAVE_PIDFD_OPEN
	/* Without a pidfd it means that the child is owned by another user. */
	{ "kill", { EPERM }, 0, 0, 0 },
#endif
	{ "madvise", { EINVAL }, 0, 0, 0 },
	/* The sanitizers map memory, and abort if that fails. */
	{ "mmap", { ENOMEM }, 1, 3,
	  BUILT_FOR ? MAP_SHARED | MAP_ANONYMOUS : 0 },
	{ "mprotect", { ENOMEM }, 1, 0, 0 },
	{ "openat", { EMFILE, ENFILE, ENOMEM, ENOENT }, 0, 0, 0 },
	{ "pidfd_open", { EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, EINVAL },
	  1, 0, 0 },
	{ "pipe2", { EMFILE, ENFILE }, 1, 0, 0 },
	{ "poll", { EINTR, ENOMEM }, 0, 0, 0 },
	{ "ppoll", { EINTR, ENOMEM, EPERM, ENOSYS }, 0, 0, 0 },
	{ "prlimit64", { EPERM, EINVAL }, 1, 0, 0 },
	{ "read", { EAGAIN, EINTR, EIO }, 0, 0, 0 },
	{ "splice", { EAGAIN, EINTR, ENOMEM, EINVAL, EPERM, ENOSYS },
	  0, 0, 0 },
	{ "timerfd_create", { ENOSYS, EPERM, EINVAL, EMFILE, ENFILE, ENOMEM,
			      ENODEV }, 1, 0, 0 },
	{ "timerfd_settime", { EPERM, ENOSYS }, 1, 0, 0 },
	{ "write", { EINTR }, 0, 0, 0 },
};

#define NUM(array)	((int)(sizeof(array) / sizeof((array)[0])))

/* Fatal messages, and the failed calls that may lead to them. */
static const struct {
	const char	*message;
	const char	*calls;
} fatals[] = {
	{ "iv_init: out of memory", " mmap malloc" },
	/* The variants exclude the methods to fall back on. */
	{ "iv_init: cannot make a loop: ",
	  " epoll_create1 io_uring_setup malloc mmap" },
	{ "iv_init: no suitable event dispatcher",
	  " epoll_create1 io_uring_enter io_uring_setup" },
	{ "iv_main: cannot start anew after fork: ",
	  " epoll_create1 io_uring_enter io_uring_setup malloc mmap" },
	{ "iv_main: cannot wait for descriptors: ",
	  " epoll_wait poll ppoll" },
	{ "iv_main: cannot add descriptor ", " epoll_ctl" },
	{ "iv_fd_register: out of memory", " malloc" },
	{ "iv_event_raw: cannot read descriptor ", " read" },
	{ "iv_inotify: cannot read descriptor ", " read" },
	{ "iv_main: no descriptor to wake the loop after fork: ",
	  " eventfd2 pipe2 epoll_ctl malloc" },
};


/*
 * Allocations, which are counted in all threads.
 */
static atomic_int allocations;

void *__real_aligned_alloc(size_t align, size_t size);
void *__real_calloc(size_t num, size_t size);
void __real_free(void *mem);
void *__real_malloc(size_t size);
void *__real_realloc(void *mem, size_t size);
void *__real_reallocarray(void *mem, size_t num, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_calloc(size_t num, size_t size);
void __wrap_free(void *mem);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *mem, size_t size);
void *__wrap_reallocarray(void *mem, size_t num, size_t size);

static enum threads self(void)
{
	return gettid() == main_tid ? MAIN : OTHERS;
}

static int has_to_fail(enum kind kind, enum threads threads, int nr)
{
	const struct plan *plan = &shared->plan;

	if (atomic_load(&shared->is_over) || plan->kind != kind)
		return 0;
	if (plan->threads == threads &&
	    atomic_load(&shared->count[threads]) == plan->n)
		return 1;

	return plan->lasts && atomic_load(&shared->num_failed) > 0 &&
	       shared->nr == nr;
}

static int allocation_fails(void)
{
	enum threads threads = self();

	if (shared == NULL || shared->plan.kind != ALLOCATIONS ||
	    !atomic_load(&shared->is_armed))
		return 0;
	atomic_fetch_add(&shared->count[threads], 1);
	if (!has_to_fail(ALLOCATIONS, threads, -1))
		return 0;

	shared->nr = -1;
	shared->err = ENOMEM;
	atomic_fetch_add(&shared->num_failed, 1);
	errno = ENOMEM;

	return 1;
}

static void *count_allocation(void *mem)
{
	if (mem != NULL)
		atomic_fetch_add(&allocations, 1);

	return mem;
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return allocation_fails() ? NULL :
	       count_allocation(__real_aligned_alloc(align, size));
}

void *__wrap_calloc(size_t num, size_t size)
{
	return allocation_fails() ? NULL :
	       count_allocation(__real_calloc(num, size));
}

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL :
	       count_allocation(__real_malloc(size));
}

static void *count_reallocation(void *old, void *mem)
{
	return old == NULL ? count_allocation(mem) : mem;
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL :
	       count_reallocation(old, __real_realloc(old, size));
}

void *__wrap_reallocarray(void *old, size_t num, size_t size)
{
	return allocation_fails() ? NULL :
	       count_reallocation(old, __real_reallocarray(old, num, size));
}

void __wrap_free(void *mem)
{
	if (mem != NULL)
		atomic_fetch_sub(&allocations, 1);
	__real_free(mem);
}


/*
 * Functions for scenarios.
 */
static void arm(void)
{
	atomic_store(&shared->is_armed, 1);
}

static void disarm(void)
{
	atomic_store(&shared->is_armed, 0);
}

/* For the scenario's own calls, which must not fail. */
#define disarmed(statement)						\
	do {								\
		int was_armed = atomic_exchange(&shared->is_armed, 0);	\
									\
		statement;						\
		atomic_store(&shared->is_armed, was_armed);		\
	} while (0)

/* Other processes may be killed as they write, which damages the file. */
static pid_t coverage_writer;

static void write_coverage(void (*write)(void))
{
	if (getpid() == coverage_writer)
		disarmed(write());
}

/* A call has returned -1.  Check its errno, and let nothing fail any more. */
static void check_report(const char *call)
{
	int err = errno;

	atomic_store(&shared->is_over, 1);
	atomic_fetch_add(&shared->reported, 1);
	if (!atomic_load(&shared->num_failed))
		check_failed(__FILE__, __LINE__, call);
	/*
	 * pthread_create(3) reports a lack of memory as EAGAIN, and
	 * iv_init_try(3) reports ENOSYS if the only poll method fails.
	 */
	if (err != shared->err && err != EAGAIN && err != ENOSYS)
		check_equal(__FILE__, __LINE__, call, err, shared->err);
}

/* If the call reports that it failed, it succeeds the second time. */
#define try(call)							\
	do {								\
		if ((call) < 0) {					\
			disarmed(check_report(#call));			\
			check((call) >= 0);				\
		}							\
	} while (0)

static int calls_made;

static void count(void *unused)
{
	(void)unused;
	calls_made++;
}

static void begin(void)
{
	iv_init();
	calls_made = 0;
	arm();
}

static void end(int want)
{
	iv_deinit();
	disarm();
	check_int(calls_made, want);
}


/*
 * Scenarios.
 */
static void add_ms(struct timespec *ts, int ms)
{
	ts->tv_nsec += ms * 1000000L;
}

static void loop(void)
{
	struct iv_task task = { .handler = count };
	struct iv_timer timer = { .handler = count };

	calls_made = 0;
	arm();
	try(iv_init_try());
	/* Are the library's allocations redirected to this file? */
	disarmed(check(atomic_load(&allocations) > 0));
	IV_TASK_INIT(&task);
	iv_task_register(&task);
	IV_TIMER_INIT(&timer);
	timer.expires = iv_now;
	add_ms(&timer.expires, 1);
	iv_timer_register(&timer);
	iv_main();
	end(2);
}

static void unregister_raw(void *_ev)
{
	count(NULL);
	iv_event_raw_unregister(_ev);
}

static void prepare_raw(struct iv_event_raw *ev)
{
	IV_EVENT_RAW_INIT(ev);
	ev->cookie = ev;
	ev->handler = unregister_raw;
}

static void raw_event(void)
{
	struct iv_event_raw ev;

	prepare_raw(&ev);
	begin();
	try(iv_event_raw_register(&ev));
	iv_event_raw_post(&ev);
	iv_main();
	end(1);
}

static void exported_raw_event(void)
{
	struct iv_event_raw ev;
	int fd = -1;

	prepare_raw(&ev);
	begin();
	try(iv_event_raw_register(&ev));
	try(fd = iv_event_raw_export(&ev));
	try(iv_event_raw_post_fd(fd));
	iv_main();
	close(fd);
	end(1);
}

/* With so many objects, a board has bits for two more. */
#define MANY	((int)IV_BOARD_BITS - 3)

static void many_raw_events(void)
{
	static struct iv_event_raw ev[MANY + 4];
	int i;

	begin();
	disarm();
	for (i = 0; i < MANY + 4; i++) {
		prepare_raw(&ev[i]);
		if (i == MANY)
			arm();
		try(iv_event_raw_register(&ev[i]));
	}
	disarm();
	for (i = 0; i < MANY + 4; i++)
		iv_event_raw_post(&ev[i]);
	iv_main();
	end(MANY + 4);
}

static void unregister_event(void *_ev)
{
	count(NULL);
	iv_event_unregister(_ev);
}

static void *post_event(void *ev)
{
	iv_event_post(ev);

	return NULL;
}

/* More than fit in the loop's first array. */
#define EVENTS	6

static void event(void)
{
	struct iv_event ev[EVENTS];
	pthread_t t;
	int i;

	begin();
	for (i = 0; i < EVENTS; i++) {
		IV_EVENT_INIT(&ev[i]);
		ev[i].cookie = &ev[i];
		ev[i].handler = unregister_event;
		try(iv_event_register(&ev[i]));
	}
	disarmed(check_int(pthread_create(&t, NULL, post_event, &ev[0]), 0));
	for (i = 1; i < EVENTS; i++)
		iv_event_post(&ev[i]);
	iv_main();
	disarmed(check_int(pthread_join(t, NULL), 0));
	end(EVENTS);
}

static void got_byte(void *_fd)
{
	struct iv_fd *fd = _fd;
	char c;

	disarmed(check_int(read(fd->fd, &c, 1), 1));
	count(NULL);
	iv_fd_set_handler_in(fd, NULL);
}

static void got_room(void *_fd)
{
	count(NULL);
	iv_fd_unregister(_fd);
}

static void prepare_fd(struct iv_fd *fd, int num)
{
	IV_FD_INIT(fd);
	fd->fd = num;
	fd->cookie = fd;
	fd->handler_in = got_byte;
	fd->handler_out = got_room;
}

static void descriptor(void)
{
	struct iv_fd fd;
	int sv[2];

	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	check_int(write(sv[1], "ab", 2), 2);
	begin();

	prepare_fd(&fd, sv[0]);
	try(iv_fd_register_try(&fd));
	iv_main();

	prepare_fd(&fd, sv[0]);
	fd.handler_in = NULL;
	fd.handler_out = NULL;
	try(iv_fd_register_try(&fd));
	iv_fd_set_handler_in(&fd, got_byte);
	iv_fd_set_handler_out(&fd, got_room);
	iv_main();

	prepare_fd(&fd, sv[1]);
	fd.handler_in = NULL;
	iv_fd_register(&fd);
	iv_main();

	end(5);
	close(sv[0]);
	close(sv[1]);
}

/* Waits for the same timer, until the timer descriptor is used. */
#define WAITS	7

static int waits;

static void post_again(void *_ev)
{
	struct iv_event_raw *ev = _ev;

	if (++waits < WAITS)
		iv_event_raw_post(ev);
	else
		iv_event_raw_unregister(ev);
}

static void timer(void)
{
	struct iv_timer first = { .handler = count };
	struct iv_event_raw ev;

	begin();
	disarm();
	prepare_raw(&ev);
	ev.handler = post_again;
	check_int(iv_event_raw_register(&ev), 0);
	iv_event_raw_post(&ev);
	waits = 0;
	arm();

	IV_TIMER_INIT(&first);
	first.expires = iv_now;
	add_ms(&first.expires, 50);
	iv_timer_register(&first);
	iv_main();
	end(1);
	check_int(waits, WAITS);
}

static void got_signal(void *s)
{
	count(NULL);
	iv_signal_unregister(s);
}

static void signals(void)
{
	struct iv_signal s = { .signum = SIGUSR1, .handler = got_signal };
	struct iv_signal mine = { .signum = SIGUSR2, .handler = got_signal,
				  .flags = IV_SIGNAL_FLAG_THIS_THREAD };

	s.cookie = &s;
	mine.cookie = &mine;
	begin();
	try(iv_signal_register(&s));
	try(iv_signal_register(&mine));
	raise(SIGUSR1);
	raise(SIGUSR2);
	iv_main();
	end(2);
}

static void exit_with_3(void *unused)
{
	(void)unused;
	_exit(3);
}

static void child_changed(void *_w, int status, const struct rusage *rusage)
{
	(void)rusage;
	check_int(WIFEXITED(status) && WEXITSTATUS(status) == 3, 1);
	count(NULL);
	iv_wait_interest_unregister(_w);
}

static void wait_spawn(void)
{
	struct iv_wait_interest w = { .handler = child_changed };

	w.cookie = &w;
	begin();
	try(iv_wait_interest_register_spawn(&w, exit_with_3, NULL));
	iv_main();
	end(1);
}

static void wait_register(void)
{
	struct iv_wait_interest w = { .handler = child_changed };

	w.cookie = &w;
	begin();
	disarmed(w.pid = fork());
	check(w.pid >= 0);
	if (w.pid == 0)
		_exit(3);
	try(iv_wait_interest_register_try(&w));
	iv_main();
	end(1);
}

static void popen_read(void)
{
	char *argv[] = { "echo", "hello", NULL };
	struct iv_popen_request r = {
		.file = "echo", .argv = argv, .type = "r",
	};
	char buf[16];
	ssize_t len;
	int fd = -1;

	begin();
	try(fd = iv_popen_request_submit(&r));
	iv_main();
	disarm();
	len = read(fd, buf, sizeof(buf));
	close(fd);
	/* If a call fails in its process, the program is not executed. */
	if (!atomic_load(&shared->num_failed) ||
	    (shared->plan.threads == MAIN && !shared->plan.lasts))
		check_int(len, 6);
	iv_popen_request_close(&r);
	end(0);
}

static void popen_close(void)
{
	char *argv[] = { "sleep", "1000", NULL };
	struct iv_popen_request r = {
		.file = "sleep", .argv = argv, .type = "w",
	};
	int fd = -1;

	begin();
	try(fd = iv_popen_request_submit(&r));
	iv_popen_request_close(&r);
	iv_main();
	close(fd);
	end(0);
}

#define ITEMS	4

static atomic_int worked;
static struct iv_work_pool *pool;

static void work(void *unused)
{
	(void)unused;
	atomic_fetch_add(&worked, 1);
}

static void completed(void *unused)
{
	(void)unused;
	if (++calls_made == ITEMS)
		iv_work_pool_put(pool);
}

static void work_and_continue(void *_item)
{
	work(NULL);
	iv_work_pool_submit_continuation(pool, _item);
}

static void work_pool(void)
{
	struct iv_work_pool p = { .max_threads = 2 };
	struct iv_work_item items[ITEMS];
	int i;

	atomic_store(&worked, 0);
	begin();
	pool = &p;
	try(iv_work_pool_create(&p));
	for (i = 0; i < ITEMS; i++) {
		items[i].cookie = &items[i];
		items[i].work = work;
		items[i].completion = completed;
	}
	items[0].work = work_and_continue;
	items[0].cookie = &items[ITEMS - 1];
	for (i = 0; i < ITEMS - 1; i++)
		iv_work_pool_submit_work(&p, &items[i]);
	iv_main();
	end(ITEMS);
	check_int(atomic_load(&worked), ITEMS);
}

static atomic_int thread_calls;

static void unregister_in_thread(void *_ev)
{
	atomic_fetch_add(&thread_calls, 1);
	iv_event_raw_unregister(_ev);
}

static void thread_with_loop(void *unused)
{
	struct iv_event_raw ev;

	(void)unused;
	prepare_raw(&ev);
	ev.handler = unregister_in_thread;
	iv_init();
	try(iv_event_raw_register(&ev));
	iv_event_raw_post(&ev);
	iv_main();
	iv_deinit();
}

static void thread(void)
{
	atomic_store(&thread_calls, 0);
	begin();
	try(iv_thread_create("tortured", thread_with_loop, NULL));
	iv_main();
	end(0);
	check_int(atomic_load(&thread_calls), 1);
}

static void file_created(void *_w, struct inotify_event *ev)
{
	struct iv_inotify_watch *w = _w;

	check(ev->mask & IN_CREATE);
	count(NULL);
	iv_inotify_watch_unregister(w);
	iv_inotify_unregister(w->inotify);
}

static void inotify(void)
{
	char dir[] = "/tmp/torture-XXXXXX";
	char file[sizeof(dir) + 2];
	struct iv_inotify in;
	struct iv_inotify_watch w = {
		.inotify = &in, .pathname = dir, .mask = IN_CREATE,
		.handler = file_created,
	};
	int fd;

	if (is_left_out("inotify"))
		return;
	check(mkdtemp(dir) != NULL);
	snprintf(file, sizeof(file), "%s/f", dir);
	w.cookie = &w;
	begin();
	IV_INOTIFY_INIT(&in);
	try(iv_inotify_register(&in));
	try(iv_inotify_watch_register(&w));
	disarmed(fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check(fd >= 0);
	close(fd);
	iv_main();
	end(1);
	check_int(unlink(file), 0);
	check_int(rmdir(dir), 0);
}

static void ignore_bands(void *unused, int in, int out)
{
	(void)unused;
	(void)in;
	(void)out;
}

/* 0, or -1 if the pump failed. */
static int pump_through(void)
{
	struct iv_fd_pump p = {
		.set_bands = ignore_bands,
		.flags = IV_FD_PUMP_FLAG_RELAY_EOF,
	};
	char buf[16];
	int from[2], to[2];
	int ret;

	disarmed(check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				 from), 0));
	disarmed(check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				 to), 0));
	disarmed(check_int(write(from[1], "hello", 5), 5));
	close(from[1]);

	p.from_fd = from[0];
	p.to_fd = to[0];
	iv_fd_pump_init(&p);
	do {
		ret = iv_fd_pump_pump(&p);
	} while (ret > 0);
	if (ret < 0)
		disarmed(check_report("iv_fd_pump_pump(&p)"));
	else
		disarmed(check_int(read(to[1], buf, sizeof(buf)), 5));
	iv_fd_pump_destroy(&p);
	close(from[0]);
	close(to[0]);
	close(to[1]);

	return ret;
}

static void pump(void)
{
	int i;

	begin();
	/* The pump uses a new pipe, and then one from the cache. */
	for (i = 0; i < 2; i++) {
		if (pump_through() < 0)
			check_int(pump_through(), 0);
	}
	end(0);
}

/* These are used in a child that inherits the loop, and then in the parent. */
struct inherited {
	struct iv_event		ev;
	struct iv_event_raw	raw;
	struct iv_fd		fd;
	int			sv[2];
};

static void register_inherited(struct inherited *i)
{
	IV_EVENT_INIT(&i->ev);
	i->ev.cookie = &i->ev;
	i->ev.handler = unregister_event;
	check_int(iv_event_register(&i->ev), 0);
	prepare_raw(&i->raw);
	check_int(iv_event_raw_register(&i->raw), 0);
	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, i->sv), 0);
	prepare_fd(&i->fd, i->sv[0]);
	i->fd.handler_in = NULL;
	check_int(iv_fd_register_try(&i->fd), 0);
}

static void use_inherited(struct inherited *i)
{
	iv_event_post(&i->ev);
	iv_event_raw_post(&i->raw);
	iv_main();
}

static void new_after_fork(struct inherited *i)
{
	struct iv_event_raw ev;

	prepare_raw(&ev);
	try(iv_event_raw_register(&ev));
	iv_event_raw_post(&ev);
	use_inherited(i);
	check_int(calls_made, 4);
}

static void unregister_after_fork(struct inherited *i)
{
	iv_fd_unregister(&i->fd);
	iv_event_unregister(&i->ev);
	iv_event_raw_unregister(&i->raw);
	iv_main();
	check_int(calls_made, 0);
}

static void run_after_fork(struct inherited *i)
{
	use_inherited(i);
	check_int(calls_made, 3);
}

/* Wait for the child, and end as it did if it has failed. */
static void end_like(pid_t pid)
{
	int status;

	check_int(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	if (status)
		_exit(WEXITSTATUS(status));
}

static void after_fork(void (*fn)(struct inherited *i))
{
	struct inherited i;
	pid_t pid;

	begin();
	disarm();
	register_inherited(&i);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		coverage_writer = getpid();
		arm();
		fn(&i);
		iv_deinit();
		disarm();
		_exit(0);
	}
	end_like(pid);
	disarm();

	use_inherited(&i);
	close(i.sv[0]);
	close(i.sv[1]);
	end(3);
}

static void fork_and_register(void)
{
	after_fork(new_after_fork);
}

static void fork_and_unregister(void)
{
	after_fork(unregister_after_fork);
}

static void fork_and_run(void)
{
	after_fork(run_after_fork);
}


/*
 * One run.
 */
static void save_message(const char *msg)
{
	disarm();
	snprintf(shared->fatal, sizeof(shared->fatal), "%s", msg);
}

static void run_twice(void (*scenario)(void))
{
	const struct rlimit no_core = { 0, 0 };
	int descriptors = num_descriptors();
	int before = atomic_load(&allocations);
	int i;

	iv_set_fatal_msg_handler(save_message);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	for (i = 0; i < 2; i++) {
		scenario();
		disarm();
		atomic_store(&shared->is_over, 1);
		check_int(num_descriptors(), descriptors);
		check_int(atomic_load(&allocations), before);
	}
}

#ifdef HAVE_SECCOMP

static int number_of(const struct call *c)
{
	return seccomp_syscall_resolve_name(c->name);
}

/* Returns -1 if the kernel has no such filters. */
static int install_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int i;

	check(ctx != NULL);
	for (i = 0; i < NUM(calls); i++) {
		int nr = number_of(&calls[i]);

		if (nr >= 0)
			check_int(seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, nr, 0),
				  0);
	}
	if (seccomp_load(ctx) < 0)
		return -1;

	return seccomp_notify_fd(ctx);
}

static void run_child(void (*scenario)(void))
{
	int fd;

	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	main_tid = gettid();
	coverage_writer = getpid();
	if (shared->plan.kind == CALLS) {
		fd = install_filter();
		atomic_store(&shared->listener, fd);
		if (fd < 0)
			_exit(0);
		while (!atomic_load(&shared->is_taken))
			usleep(100);
		close(fd);
	}
	run_twice(scenario);
	_exit(0);
}

static const struct call *find_call(const struct seccomp_data *d)
{
	int i;

	for (i = 0; i < NUM(calls); i++) {
		const struct call *c = &calls[i];

		if (number_of(c) == d->nr)
			return c->value == 0 || d->args[c->arg] == c->value ?
			       c : NULL;
	}

	return NULL;
}

/* The n-th call is a different one if threads run in another order. */
static int may_fail(const struct call *c, const struct plan *plan)
{
	int i;

	for (i = 0; c->errs[i] != 0; i++) {
		if (plan->err == 0 || c->errs[i] == plan->err)
			return c->lasts || !plan->lasts;
	}

	return 0;
}

/* Returns the errno for this call, or 0. */
static int error_for(const struct seccomp_notif *req, pid_t pid)
{
	enum threads threads = (pid_t)req->pid == pid ? MAIN : OTHERS;
	const struct call *c = find_call(&req->data);

	if (c == NULL || !atomic_load(&shared->is_armed))
		return 0;
	atomic_fetch_add(&shared->count[threads], 1);
	if (!has_to_fail(CALLS, threads, req->data.nr) ||
	    !may_fail(c, &shared->plan))
		return 0;

	if (!atomic_load(&shared->num_failed)) {
		shared->nr = req->data.nr;
		shared->err = shared->plan.err ? shared->plan.err : c->errs[0];
	}
	atomic_fetch_add(&shared->num_failed, 1);

	return shared->err;
}

static void answer_call(int listener, pid_t pid)
{
	struct seccomp_notif req;
	struct seccomp_notif_resp resp = { 0 };

	memset(&req, 0, sizeof(req));
	/* The caller may have been killed or interrupted. */
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
		return;
	resp.id = req.id;
	resp.error = -error_for(&req, pid);
	if (resp.error == 0)
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

/* Returns a copy of the child's descriptor for its filter, or -1. */
static int take_listener(pid_t pid, int pidfd)
{
	int fd;

	while ((fd = atomic_load(&shared->listener)) == 0) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			check_failed(__FILE__, __LINE__,
				     "the child has ended before its filter");
		usleep(100);
	}
	if (fd > 0)
		fd = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	atomic_store(&shared->is_taken, 1);

	return fd;
}

/* Returns 0 if the run has hung. */
static int supervise(pid_t pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	long end_ms = now_ms() + MAX_MS;
	struct pollfd pfd[2];

	check(pidfd >= 0);
	pfd[0] = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	pfd[1] = (struct pollfd){ .fd = -1, .events = POLLIN };
	if (shared->plan.kind == CALLS) {
		pfd[1].fd = take_listener(pid, pidfd);
		if (pfd[1].fd < 0)
			skip("seccomp filters cannot ask this program");
	}

	do {
		(void)poll(pfd, 2, 1000);
		if (pfd[1].revents & POLLIN)
			answer_call(pfd[1].fd, pid);
	} while (!(pfd[0].revents & POLLIN) && now_ms() < end_ms);

	close(pidfd);
	if (pfd[1].fd >= 0)
		close(pfd[1].fd);

	return (pfd[0].revents & POLLIN) != 0;
}

/* Returns the wait status of the run's process, or -1 if it has hung. */
static int run(void (*scenario)(void), const struct plan *plan)
{
	int ended, status;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	shared->plan = *plan;
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		run_child(scenario);
	ended = supervise(pid);
	(void)kill(-pid, SIGKILL);
	check_int(waitpid(pid, &status, 0), pid);

	return ended ? status : -1;
}

static const struct call *failed_call(void)
{
	int i;

	for (i = 0; i < NUM(calls); i++) {
		if (number_of(&calls[i]) == shared->nr)
			return &calls[i];
	}

	return NULL;
}

static const char *failed_name(void)
{
	const struct call *c = failed_call();

	return c != NULL ? c->name : "malloc";
}

static int is_word_of(const char *word, const char *list)
{
	const char *s = strstr(list, word);
	size_t len = strlen(word);

	while (s != NULL && (s[-1] != ' ' || (s[len] != ' ' && s[len] != '\0')))
		s = strstr(s + 1, word);

	return s != NULL;
}

static int fatal_is_right(void)
{
	int i;

	for (i = 0; i < NUM(fatals); i++) {
		if (!strncmp(shared->fatal, fatals[i].message,
			     strlen(fatals[i].message)) &&
		    is_word_of(failed_name(), fatals[i].calls))
			return 1;
	}

	return 0;
}


/*
 * All runs of a scenario.
 */
static struct {
	int	runs, worked, reported, fatal, wrong;
} sum;

static void print_failure(int status)
{
	const struct plan *plan = &shared->plan;

	fprintf(stderr, "# %s: %s", failed_name(), strerror(shared->err));
	if (status == -1)
		fprintf(stderr, ": hung\n");
	else
		fprintf(stderr, ": wait status %#x%s%s\n", status,
			shared->fatal[0] ? ", " : "", shared->fatal);
	fprintf(stderr, "# again: TORTURE=%s,%s,%d,%d,%d\n",
		kind_names[plan->kind], thread_names[plan->threads], plan->n,
		shared->err, plan->lasts);
}

/* Returns 0 if the scenario ended and nothing has failed. */
static int run_and_judge(void (*scenario)(void), const struct plan *plan)
{
	int status = run(scenario, plan);

	if (status == 0 && !atomic_load(&shared->num_failed))
		return 0;

	sum.runs++;
	if (status == 0 && atomic_load(&shared->reported))
		sum.reported++;
	else if (status == 0)
		sum.worked++;
	else if (shared->fatal[0] && WIFSIGNALED(status) &&
		 WTERMSIG(status) == SIGABRT && fatal_is_right())
		sum.fatal++;
	else
		sum.wrong++, print_failure(status);

	return 1;
}

/* Let the same call fail with its other errnos, and for longer. */
static void vary_failure(void (*scenario)(void), struct plan plan)
{
	const struct call *c = failed_call();
	int i;

	if (c == NULL) {
		plan.lasts = 1;
		(void)run_and_judge(scenario, &plan);
		return;
	}
	for (plan.lasts = 0; plan.lasts <= c->lasts; plan.lasts++) {
		for (i = !plan.lasts; c->errs[i] != 0; i++) {
			plan.err = c->errs[i];
			(void)run_and_judge(scenario, &plan);
		}
	}
}

static void torture_all(void (*scenario)(void), int all)
{
	struct plan plan = { 0 };

	for (plan.kind = CALLS; plan.kind <= ALLOCATIONS; plan.kind++) {
		for (plan.threads = MAIN; plan.threads <= OTHERS;
		     plan.threads++) {
			for (plan.n = 1; sum.wrong < MAX_WRONG; plan.n++) {
				if (!run_and_judge(scenario, &plan))
					break;
				if (all)
					vary_failure(scenario, plan);
			}
		}
	}
}

static void torture_once(void (*scenario)(void), const char *spec)
{
	struct plan plan = { 0 };
	char kind[16], threads[16];

	check_int(sscanf(spec, "%15[a-z],%15[a-z],%d,%d,%d", kind, threads,
			 &plan.n, &plan.err, &plan.lasts), 5);
	plan.kind = strcmp(kind, kind_names[CALLS]) ? ALLOCATIONS : CALLS;
	plan.threads = strcmp(threads, thread_names[MAIN]) ? OTHERS : MAIN;
	if (!run_and_judge(scenario, &plan))
		fprintf(stderr, "# not reached\n");
}

static void torture(void (*scenario)(void))
{
	const char *how = getenv("TORTURE");
	struct plan none = { 0 };

	skip_under(MEMCHECK, "does not know seccomp(2)");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED);
	write_coverage_by = write_coverage;

	/* The scenario must work if nothing fails. */
	check_int(run(scenario, &none), 0);
	check_int(atomic_load(&shared->reported), 0);

	if (how != NULL && strchr(how, ',') != NULL)
		torture_once(scenario, how);
	else
		torture_all(scenario, how != NULL && !strcmp(how, "all"));

	printf("# failed %d times: %d worked, %d reported, %d fatal\n",
	       sum.runs, sum.worked, sum.reported, sum.fatal);
	check_int(sum.wrong, 0);
	write_coverage_by = NULL;
	munmap(shared, sizeof(*shared));
	shared = NULL;
}

#else

static void torture(void (*scenario)(void))
{
	(void)scenario;
	(void)run_twice;
	(void)write_coverage;
	(void)calls;
	(void)fatals;
	(void)kind_names;
	(void)thread_names;
	skip("built without libseccomp");
}

#endif

#define SCENARIO(name)							\
	static void torture_##name(void)				\
	{								\
		torture(name);						\
	}

SCENARIO(loop)
SCENARIO(raw_event)
SCENARIO(exported_raw_event)
SCENARIO(many_raw_events)
SCENARIO(event)
SCENARIO(descriptor)
SCENARIO(timer)
SCENARIO(signals)
SCENARIO(wait_spawn)
SCENARIO(wait_register)
SCENARIO(popen_read)
SCENARIO(popen_close)
SCENARIO(work_pool)
SCENARIO(thread)
SCENARIO(inotify)
SCENARIO(pump)
SCENARIO(fork_and_register)
SCENARIO(fork_and_unregister)
SCENARIO(fork_and_run)

#define SECONDS	120

static const struct check_case cases[] = {
	{ "a loop from iv_init to iv_deinit", torture_loop, EACH_METHOD,
	  SECONDS },
	{ "a loop that can fall back on other methods", torture_loop, ONCE,
	  SECONDS },
	{ "a raw event", torture_raw_event, EACH, SECONDS },
	{ "a raw event with an exported descriptor",
	  torture_exported_raw_event, EACH_BACKEND, SECONDS },
	{ "a raw event that needs another board",
	  torture_many_raw_events, EACH, SECONDS },
	{ "an event, posted by another thread", torture_event, EACH,
	  SECONDS },
	{ "a descriptor", torture_descriptor, EACH_METHOD, SECONDS },
	{ "a timer that is waited for in several iterations", torture_timer,
	  EACH_METHOD, SECONDS },
	{ "signals", torture_signals, EACH, SECONDS },
	{ "a child process that the library forks", torture_wait_spawn, EACH,
	  SECONDS },
	{ "a child process that the program forks", torture_wait_register,
	  EACH, SECONDS },
	{ "a popen request that is read from", torture_popen_read,
	  EACH_BACKEND, SECONDS },
	{ "a popen request that is closed early", torture_popen_close,
	  EACH_BACKEND, SECONDS },
	{ "a work pool", torture_work_pool, EACH, SECONDS },
	{ "a thread with its own loop", torture_thread, EACH, SECONDS },
	{ "an inotify watch", torture_inotify, EACH_METHOD, SECONDS },
	{ "a pump", torture_pump, EACH_METHOD, SECONDS },
	{ "a child that registers a new object in an inherited loop",
	  torture_fork_and_register, EACH, SECONDS },
	{ "a child that unregisters the objects of an inherited loop",
	  torture_fork_and_unregister, EACH, SECONDS },
	{ "a child that runs an inherited loop", torture_fork_and_run,
	  EACH, SECONDS },
	{ "a child whose inherited loop falls back on another method",
	  torture_fork_and_register, ONCE, SECONDS },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

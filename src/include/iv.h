/*
 * libivykis: one event loop a thread, its objects in the caller's memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A thread calls iv_init(), registers objects, calls iv_main(), and its
 * handlers run inside that call, one at a time, until iv_quit() is called or
 * nothing is registered any more.  Every object belongs to the thread that
 * registered it; only iv_event and iv_event_raw may be posted to from
 * elsewhere.  An object may be unregistered, and its memory freed, in any
 * handler of its thread, its own included.
 *
 * "Loop thread" below means a thread between its iv_init() and iv_deinit().
 * Mistakes that can be seen (no loop, registered twice, not registered, wrong
 * thread) end in iv_fatal().
 */

#ifndef __IV_H
#define __IV_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

/* Without POSIX, as with -std=c99, struct timespec is in none of these. */
#if defined(__GLIBC__) && \
	(!defined(_POSIX_C_SOURCE) || _POSIX_C_SOURCE < 200112L)
#include <sched.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * On 32-bit systems pkg-config tells the size of time_t that the library was
 * built with; a program that is compiled with another one (_TIME_BITS) would
 * have other timers.
 */
#ifdef IV_SIZEOF_TIME_T
typedef char iv_time_t_of_the_library_is_another
	[sizeof(time_t) == IV_SIZEOF_TIME_T ? 1 : -1];
#endif

/*
 * Make a loop for the calling thread; does nothing if it has one.  The first
 * call in a process ignores SIGPIPE and SIGURG, raises RLIMIT_NOFILE and
 * chooses the poll method.  A loop that cannot be had is fatal.
 */
void iv_init(void);

/*
 * The same, but for a loop that cannot be had: 0, or -1 with errno (EAGAIN,
 * EMFILE, ENFILE, ENOMEM, ENOSYS) and no loop.  Since 0.45.
 */
int iv_init_try(void);

/* 1 if the calling thread has a loop, else 0.  Any thread, signal handlers. */
int iv_inited(void);

/*
 * Run handlers until iv_quit() or until nothing is registered.  Loop thread,
 * handlers included.  A handler need not return: what else was due is called by
 * the next iv_main().  The wait is a cancellation point.
 */
void iv_main(void);

/*
 * One iteration of iv_main(): timers that are due, tasks, a wait of timeout at
 * the most, then the handlers of what the wait brought.  NULL: wait until there
 * is something, {0, 0} or less: do not wait, and neither if a handler has been
 * called by then.  A signal does not end the wait; a timer that ends it is
 * called in the next iteration.  1: objects are left; 0: nothing is registered,
 * or iv_quit() was called meanwhile.  Loop thread, handlers included.  The wait
 * is a cancellation point.  Since 0.45.
 */
int iv_main_once(const struct timespec *timeout);

/*
 * A descriptor that is readable when iv_main_once() with {0, 0} has something to
 * do, for programs that live in another loop.  It is the library's: only poll
 * it, for input, until iv_deinit().  Each call returns the same one.  A forked
 * child has to call it again for one of its own.  -1 with errno: ENOSYS (the
 * poll method has none), EMFILE, ENFILE, ENOMEM.  Loop thread, handlers
 * included.  Since 0.45.
 */
int iv_loop_fd(void);

/*
 * Let the calling thread's iv_main() return once the handlers that are
 * already due have run.  Loop thread, from a handler; not signal handlers.
 */
void iv_quit(void);

/*
 * Before it sleeps, the calling thread's loop polls for posts for at most so many
 * microseconds (a second at most; 0, the default: not at all), as long as that
 * pays.  A post that comes meanwhile is served at once, at the price of a busy
 * processor.  Nothing is polled where the process may use one processor only.
 * Loop thread.  Since 0.45.
 */
void iv_set_busy_poll(unsigned int usec);

/*
 * End the calling thread's loop: deinit_thread callbacks, then everything the
 * library holds for it.  Objects still registered are abandoned, so events are
 * to be unregistered before, lest somebody posts to them.  Loop thread; in a
 * handler only if control does not return to iv_main() afterwards.  A loop
 * thread that ends without this call has it made for it.
 */
void iv_deinit(void);

/*
 * Name of the poll method that the process uses, a static string; NULL before
 * the first iv_init().  Any thread.
 */
const char *iv_poll_method_name(void);

/*
 * Format a message of at most 1023 bytes, hand it to the installed handler or
 * else to standard error and syslog(LOG_CRIT), and abort().  Any thread.
 */
void iv_fatal(const char *fmt, ...)
	__attribute__((noreturn))
	__attribute__((format(printf, 1, 2)));

/* Install the process's fatal message handler; NULL: none.  Any thread. */
void iv_set_fatal_msg_handler(void (*handler)(const char *msg));

/* Kernel thread id of the caller.  Any thread, signal handlers. */
unsigned long iv_get_thread_id(void);


/*
 * The loop's time: CLOCK_MONOTONIC, read at the first look after each wait
 * and constant until the next wait or iv_invalidate_now().  Loop thread.
 */
const struct timespec *__iv_now_location_valid(void);
#define iv_now			(*__iv_now_location_valid())

/* iv_now is always valid when looked at; kept for programs that say it. */
#define iv_validate_now()

/* Let the next look at iv_now read the clock.  Loop thread. */
void iv_invalidate_now(void);


/*
 * A descriptor.  Set fd, cookie and handlers (NULL: not interested) after
 * IV_FD_INIT() and before registering; while registered, fd stays as it is
 * and handlers change only through the iv_fd_set_handler functions.
 */
struct iv_fd {
	int	fd;
	void	*cookie;
	void	(*handler_in)(void *);
	void	(*handler_out)(void *);
	void	(*handler_err)(void *);

	void	*pad[11];		/* private */
};

/* fd = -1, handlers NULL, not registered.  Any thread. */
void IV_FD_INIT(struct iv_fd *fd);

/*
 * Watch the descriptor, level-triggered; it becomes close-on-exec and
 * non-blocking, out-of-band data arrives in-band.  Loop thread.  A descriptor
 * that the kernel refuses is fatal, at the latest when the loop next waits.
 */
void iv_fd_register(struct iv_fd *fd);

/*
 * The same, asking the kernel at once: 0, or -1 with errno (EBADF, EPERM,
 * EEXIST, ENOSPC, ENOMEM), nothing registered and the descriptor untouched.
 */
int iv_fd_register_try(struct iv_fd *fd);

/* Stop watching: no handler runs afterwards.  Owner; before close(2). */
void iv_fd_unregister(struct iv_fd *fd);

/* 1 if registered, else 0.  Owner. */
int iv_fd_registered(const struct iv_fd *fd);

/* Change a handler of a registered descriptor; NULL: not interested.  Owner. */
void iv_fd_set_handler_in(struct iv_fd *fd, void (*handler_in)(void *));
void iv_fd_set_handler_out(struct iv_fd *fd, void (*handler_out)(void *));
void iv_fd_set_handler_err(struct iv_fd *fd, void (*handler_err)(void *));


/* A call to be made once, before the loop next waits. */
struct iv_task {
	void	*cookie;
	void	(*handler)(void *);

	void	*pad[6];		/* private */
};

/* Not registered; cookie and handler untouched.  Any thread. */
void IV_TASK_INIT(struct iv_task *task);

/* Queue the call; cannot fail.  Loop thread. */
void iv_task_register(struct iv_task *task);

/* Take a queued call back.  Owner. */
void iv_task_unregister(struct iv_task *task);

/* 1 while queued, 0 from just before the handler runs.  Owner. */
int iv_task_registered(const struct iv_task *task);


/*
 * A call to be made once, when CLOCK_MONOTONIC has reached expires (absolute,
 * any value; it stays as it is while registered).
 */
struct iv_timer {
	struct timespec	expires;
	void		*cookie;
	void		(*handler)(void *);

	void		*pad[4];	/* private */
};

/* Not registered; public members untouched.  Any thread. */
void IV_TIMER_INIT(struct iv_timer *timer);

/* Arm the timer; allocates nothing and cannot fail.  Loop thread. */
void iv_timer_register(struct iv_timer *timer);

/*
 * The same, so many milliseconds from now by a fresh look at the clock, iv_now
 * aside: sets expires.  Any number is legal; what the clock does not reach
 * within centuries never comes.  Since 0.45.
 */
void iv_timer_register_in_ms(struct iv_timer *timer, unsigned long msec);

/* Disarm it.  Owner. */
void iv_timer_unregister(struct iv_timer *timer);

/* 1 while armed, 0 from just before the handler runs.  Owner. */
int iv_timer_registered(const struct iv_timer *timer);

#ifdef __cplusplus
}
#endif

#endif

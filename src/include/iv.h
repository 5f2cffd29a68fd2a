/*
 * libivykis: an event loop per thread, with descriptors, tasks and timers.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A thread calls iv_init(), registers objects and calls iv_main(), which runs
 * their handlers, one at a time, until one calls iv_quit() or nothing is
 * registered any more.  An object belongs to the thread that registered it, its
 * owner; other threads may only post to iv_event and iv_event_raw objects.  Any
 * handler of the owner may unregister an object and free its memory, even the
 * object whose handler it is.
 *
 * A function that "may be called from any thread that has a loop" may also be
 * called from its handlers.  Programming errors that are detected (no loop,
 * registered twice, not registered, wrong thread) are fatal: see iv_fatal().
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
 * On 32-bit systems pkg-config defines the size of time_t that the library was
 * built with.  A program that is compiled with another one (_TIME_BITS) would
 * have timers of another layout.
 */
#ifdef IV_SIZEOF_TIME_T
typedef char iv_time_t_of_the_library_is_another
	[sizeof(time_t) == IV_SIZEOF_TIME_T ? 1 : -1];
#endif

/*
 * Creates a loop for the calling thread; does nothing if it has one.  The first
 * call in a process ignores SIGPIPE and SIGURG, raises RLIMIT_NOFILE and
 * chooses the poll method.  Failure is fatal.  May be called from any thread.
 */
void iv_init(void);

/*
 * Does the same, but returns 0, or -1 with errno set (EAGAIN, EMFILE, ENFILE,
 * ENOMEM, ENOSYS) and no loop created.  May be called from any thread.  Since
 * 0.45.
 */
int iv_init_try(void);

/*
 * Returns 1 if the calling thread has a loop, else 0.  May be called from any
 * thread and from signal handlers.
 */
int iv_inited(void);

/*
 * Calls handlers until one calls iv_quit() or nothing is registered.  May be
 * called from any thread that has a loop.  A handler need not return: other
 * handlers that were due are called by the next iv_main().  The wait is a
 * cancellation point.
 */
void iv_main(void);

/*
 * Runs one iteration of iv_main(): timers that are due, tasks, a wait of at
 * most timeout, and the handlers of what is ready then.  If timeout is NULL,
 * the wait has no limit; if it is {0, 0} or negative, or if a handler has
 * already been called, there is no wait.  A signal does not end the wait; a
 * timer that ends it runs in the next iteration.  Returns 1 if objects are
 * registered, or 0 if none is or iv_quit() was called.  May be called from any
 * thread that has a loop.  The wait is a cancellation point.  Since 0.45.
 */
int iv_main_once(const struct timespec *timeout);

/*
 * Returns a descriptor that is readable when iv_main_once() with a timeout of
 * {0, 0} has something to do, for programs that run another loop.  It belongs
 * to the library: only poll it for input, until iv_deinit().  Each call returns
 * the same descriptor; a forked child must call this again for its own.
 * Returns -1 with errno set on failure: ENOSYS if the poll method has no such
 * descriptor, EMFILE, ENFILE, ENOMEM, ENOSPC or ELOOP.  May be called from any
 * thread that has a loop.  Since 0.45.
 */
int iv_loop_fd(void);

/*
 * Makes the calling thread's iv_main() return when the handlers that are
 * already due have run.  May be called from any thread that has a loop, in a
 * handler.
 */
void iv_quit(void);

/*
 * Makes the calling thread's loop poll for posts for at most usec microseconds
 * (and at most a second) before it sleeps, as long as that is worthwhile; 0,
 * the default, disables this.  A post that arrives meanwhile is served at once,
 * at the cost of a busy processor.  There is no polling if the process has only
 * one processor to run on.  May be called from any thread that has a loop.
 * Since 0.45.
 */
void iv_set_busy_poll(unsigned int usec);

/*
 * Destroys the calling thread's loop: calls deinit_thread callbacks, and then
 * releases everything that the library holds for the loop.  Objects that are
 * still registered are dropped; unregister events first, since a later post
 * would touch freed memory.  May be called from any thread that has a loop; in
 * a handler only if control does not return to iv_main() afterwards.  Is called
 * automatically when a thread that has a loop exits.
 */
void iv_deinit(void);

/*
 * Returns the name of the poll method that the process uses, a static string,
 * or NULL before the first iv_init().  May be called from any thread.
 */
const char *iv_poll_method_name(void);

/*
 * Formats a message of at most 1023 bytes, passes it to the installed handler,
 * or else to standard error and syslog(LOG_CRIT), and calls abort().  May be
 * called from any thread.
 */
void iv_fatal(const char *fmt, ...)
	__attribute__((noreturn))
	__attribute__((format(printf, 1, 2)));

/*
 * Installs the fatal message handler of the process; NULL restores the default.
 * May be called from any thread.
 */
void iv_set_fatal_msg_handler(void (*handler)(const char *msg));

/*
 * Returns the kernel's ID of the calling thread.  May be called from any thread
 * and from signal handlers.
 */
unsigned long iv_get_thread_id(void);


/*
 * The loop's time on CLOCK_MONOTONIC, which is read on first use after each
 * wait and then constant until the next wait or iv_invalidate_now().  May be
 * used in any thread that has a loop.
 */
const struct timespec *__iv_now_location_valid(void);
#define iv_now			(*__iv_now_location_valid())

/* Does nothing: iv_now is always valid.  Kept for source compatibility. */
#define iv_validate_now()

/*
 * Makes the next use of iv_now read the clock.  May be called from any thread
 * that has a loop.
 */
void iv_invalidate_now(void);


/*
 * A file descriptor.  Set fd, cookie and handlers (NULL if a condition is not
 * of interest) after IV_FD_INIT() and before registering.  While it is
 * registered, fd must not be changed, and handlers only by the
 * iv_fd_set_handler functions.
 */
struct iv_fd {
	int	fd;
	void	*cookie;
	void	(*handler_in)(void *);
	void	(*handler_out)(void *);
	void	(*handler_err)(void *);

	void	*pad[11];		/* private */
};

/*
 * Initialises the object as unregistered, with fd -1 and all handlers NULL.
 * May be called from any thread.
 */
void IV_FD_INIT(struct iv_fd *fd);

/*
 * Watches the descriptor, level-triggered.  It becomes close-on-exec and
 * non-blocking, and out-of-band data arrives in-band.  If the kernel rejects
 * it, this is fatal, at the latest when the loop next waits.  May be called
 * from any thread that has a loop, which becomes the owner.
 */
void iv_fd_register(struct iv_fd *fd);

/*
 * Does the same, but adds the descriptor to the kernel's set at once.  Returns
 * 0, or -1 with errno set (EBADF, EPERM, EEXIST, ENOSPC, ENOMEM, ELOOP),
 * nothing registered and the descriptor unchanged.  May be called from any
 * thread that has a loop.
 */
int iv_fd_register_try(struct iv_fd *fd);

/*
 * Withdraws the object: none of its handlers runs afterwards, and the memory
 * may be freed at once.  Call it before close(2).  May be called from the
 * owner.
 */
void iv_fd_unregister(struct iv_fd *fd);

/*
 * Returns 1 if the object is registered, else 0.  May be called from the owner.
 */
int iv_fd_registered(const struct iv_fd *fd);

/*
 * Change a handler of a registered object; NULL means that the condition is not
 * of interest.  May be called from the owner.
 */
void iv_fd_set_handler_in(struct iv_fd *fd, void (*handler_in)(void *));
void iv_fd_set_handler_out(struct iv_fd *fd, void (*handler_out)(void *));
void iv_fd_set_handler_err(struct iv_fd *fd, void (*handler_err)(void *));


/* A call that is made once, before the loop next waits. */
struct iv_task {
	void	*cookie;
	void	(*handler)(void *);

	void	*pad[6];		/* private */
};

/*
 * Initialises the task as unregistered; cookie and handler are left unchanged.
 * May be called from any thread.
 */
void IV_TASK_INIT(struct iv_task *task);

/*
 * Queues the call; cannot fail.  May be called from any thread that has a loop,
 * which becomes the owner.
 */
void iv_task_register(struct iv_task *task);

/* Cancels a queued call.  May be called from the owner. */
void iv_task_unregister(struct iv_task *task);

/*
 * Returns 1 while the call is queued, else 0, including in the handler.  May be
 * called from the owner.
 */
int iv_task_registered(const struct iv_task *task);


/*
 * A call that is made once, when CLOCK_MONOTONIC reaches the absolute time
 * expires.  It may have any value, and must not be changed while the timer is
 * armed.
 */
struct iv_timer {
	struct timespec	expires;
	void		*cookie;
	void		(*handler)(void *);

	void		*pad[4];	/* private */
};

/*
 * Initialises the timer as unregistered; the public members are left unchanged.
 * May be called from any thread.
 */
void IV_TIMER_INIT(struct iv_timer *timer);

/*
 * Arms the timer; cannot fail, even without memory.  May be called from any
 * thread that has a loop, which becomes the owner.
 */
void iv_timer_register(struct iv_timer *timer);

/*
 * Sets expires to msec milliseconds from now, which it reads from the clock
 * itself and not from iv_now, and arms the timer.  Any number is legal; a time
 * that the clock does not reach within centuries never comes.  May be called
 * from any thread that has a loop.  Since 0.45.
 */
void iv_timer_register_in_ms(struct iv_timer *timer, unsigned long msec);

/* Disarms the timer.  May be called from the owner. */
void iv_timer_unregister(struct iv_timer *timer);

/*
 * Returns 1 while the timer is armed, else 0, including in its handler.  May be
 * called from the owner.
 */
int iv_timer_registered(const struct iv_timer *timer);

#ifdef __cplusplus
}
#endif

#endif

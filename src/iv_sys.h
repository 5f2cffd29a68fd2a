/*
 * libivykis: what differs between systems.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One function for each need.  What a system has is found out by configure,
 * feature by feature; only this file and iv_sys.c ask for it, besides the poll
 * methods, of which each is a file.  So this is the file to read when ivykis is
 * to run somewhere else.
 *
 * What is optional fails with ENOSYS where it is not there, as the system call
 * does where the kernel lacks it: callers have one way to do without.
 */

#ifndef IV_SYS_H
#define IV_SYS_H

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

struct iv_state;

/*
 * The calling thread's loop, or NULL.  Signal handlers ask for it, also in
 * threads that never did, so it must not be memory that is allocated at its first
 * use, as _Thread_local is on some systems: glibc has room for variables with
 * this model, even in a library that is loaded late.  Elsewhere it is a
 * thread-specific value, which is read without allocating anything.
 */
#ifdef HAVE_INITIAL_EXEC
#define IV_THREAD_LOCAL	_Thread_local __attribute__((tls_model("initial-exec")))

extern IV_THREAD_LOCAL struct iv_state *iv_self;

/* For the process, before the next: 0, or -1 with errno, to be called again. */
static inline int iv_sys_init(void)
{
	return 0;
}

/* 0, or -1 with errno; NULL cannot fail in a thread that has a loop. */
static inline int iv_sys_set_self(struct iv_state *st)
{
	iv_self = st;

	return 0;
}
#else
#define IV_THREAD_LOCAL	_Thread_local

struct iv_state *iv_sys_self(void);
int iv_sys_init(void);
int iv_sys_set_self(struct iv_state *st);

#define iv_self		iv_sys_self()
#endif

/* One more than the highest number of a signal. */
#if defined(_SIG_MAXSIG)
#define IV_SYS_NSIG	(_SIG_MAXSIG + 1)
#elif defined(_NSIG)
#define IV_SYS_NSIG	_NSIG
#else
#define IV_SYS_NSIG	NSIG
#endif

/* A descriptor with this flag stands for a place in the file system alone. */
#ifdef O_PATH
#define IV_SYS_O_PATH	O_PATH
#else
#define IV_SYS_O_PATH	0
#endif

/*
 * Both ends of a new pipe, close-on-exec and with O_NONBLOCK if flags has that.
 * Where there is no pipe2(2), a program that another thread executes at that
 * moment may inherit them.
 */
int iv_sys_pipe(int fd[2], int flags);

/* A descriptor of eventfd(2), close-on-exec and non-blocking. */
int iv_sys_eventfd(void);

/* A descriptor that stands for a process, and a signal to that process. */
int iv_sys_pidfd_open(pid_t pid);
int iv_sys_pidfd_kill(int fd, int sig);

/* Bytes from a pipe or into one, without waiting and without a copy. */
ssize_t iv_sys_splice(int from, int to, size_t len);

/* Could that work?  Otherwise nobody should open a pipe for it. */
static inline int iv_sys_can_splice(void)
{
#ifdef HAVE_SPLICE
	return 1;
#else
	return 0;
#endif
}

/*
 * write(2) in a thread that has disabled cancellation.  Where glibc was asked to
 * cancel a thread asynchronously right before that was disabled, it acts on that
 * in write(3).
 */
ssize_t iv_sys_write(int fd, const void *buf, size_t len);

/*
 * read(2) that is no cancellation point: what it has read must be served.  In a
 * program with threads, read(3) and disabling cancellation around it are two
 * locked instructions each.
 */
ssize_t iv_sys_read(int fd, void *buf, size_t len);

/* Let writes to a pipe that nobody reads raise no SIGPIPE, where that is possible. */
void iv_sys_no_sigpipe(int fd);

/*
 * Take back the SIGPIPE that a write of the calling thread has raised, which has
 * it blocked.  If one was pending before, ours was none besides.
 */
void iv_sys_take_sigpipe(const sigset_t *sigpipe, int was_pending);

/*
 * A number that the open file behind a descriptor bears for whoever has it, 0
 * until it is set.  -1 where files bear none.
 */
int iv_sys_set_label(int fd, int label);
int iv_sys_label(int fd);

/*
 * Zeroed memory that forked children find zeroed again, whoever forked and
 * however, if the system can do that.  NULL with errno.
 */
void *iv_sys_map_wiped_by_fork(size_t size);

/* getenv(3), NULL for all of a program that runs with privileges. */
const char *iv_sys_getenv(const char *name);

/*
 * What contains the address stays loaded, whoever calls dlclose(3).  The
 * process keeps pointers into the library for as long as it runs: thread keys,
 * handlers of fork(3) and of signals, threads.  The shared library is linked
 * never to be unloaded; this is for plugins that contain the archive.
 */
void iv_sys_keep_loaded(const void *address);

void *iv_sys_reallocarray(void *mem, size_t num, size_t size);

/* Of the calling thread: a number that no other thread of the system has. */
unsigned long iv_sys_thread_id(void);

/*
 * The kernel's name of the calling thread: the first 15 bytes, which is all that
 * Linux has room for, and no part of a character of UTF-8.
 */
void iv_sys_name_thread(const char *name);

/* That the calling thread may run on. */
int iv_sys_num_processors(void);

/* Is one of the children stopped, or has it been continued?  1 if unsure. */
int iv_sys_child_stopped_or_continued(void);

/* Does SIGBUS tell of memory that has failed and that nobody has accessed? */
int iv_sys_is_memory_failure(const siginfo_t *info);

#pragma GCC visibility pop

#endif

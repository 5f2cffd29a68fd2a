/*
 * libivykis: what differs between systems.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one function for each need.  configure finds out what a system has,
 * feature by feature and never by the system's name.  Only this file, iv_sys.c
 * and the poll methods, each of which is a file of its own, check the result.
 * So this is the file to read before ivykis is taken to another system.
 *
 * An optional feature fails with ENOSYS where the system lacks it, as a system
 * call does where the kernel lacks it.  So callers need one fallback for both.
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
 * The calling thread's loop, or NULL.  Signal handlers read it, even in threads
 * that have never read it before.  So it must not be allocated at its first
 * use, as a _Thread_local variable is on some systems, macOS among them.  glibc
 * reserves room for variables of the initial-exec model, even in a library that
 * is loaded late.  Elsewhere it is a thread-specific value.  POSIX does not
 * list pthread_getspecific() as async-signal-safe, but a libc need neither
 * allocate nor lock anything to find that a thread has not set a key.
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

/* One more than the highest signal number. */
#if defined(_SIG_MAXSIG)
#define IV_SYS_NSIG	(_SIG_MAXSIG + 1)
#elif defined(_NSIG)
#define IV_SYS_NSIG	_NSIG
#else
#define IV_SYS_NSIG	NSIG
#endif

/* The flag of descriptors that only stand for a place in the file system. */
#ifdef O_PATH
#define IV_SYS_O_PATH	O_PATH
#else
#define IV_SYS_O_PATH	0
#endif

/*
 * Opens a pipe; both ends are close-on-exec, and non-blocking if flags contains
 * O_NONBLOCK.  Where there is no pipe2(2), a program that another thread
 * executes at that moment may inherit them.
 */
int iv_sys_pipe(int fd[2], int flags);

/* Returns a new eventfd(2), close-on-exec and non-blocking. */
int iv_sys_eventfd(void);

/* Returns a descriptor that stands for a process; sends a signal by it. */
int iv_sys_pidfd_open(pid_t pid);
int iv_sys_pidfd_kill(int fd, int sig);

/* Moves bytes from or to a pipe, without waiting and without copying them. */
ssize_t iv_sys_splice(int from, int to, size_t len);

/* Without splice(2) it is no use to open a pipe for it. */
static inline int iv_sys_can_splice(void)
{
#ifdef HAVE_SPLICE
	return 1;
#else
	return 0;
#endif
}

/*
 * write(2) for a thread that has disabled cancellation.  If an asynchronous
 * cancellation was requested right before it was disabled, glibc's write() acts
 * on the request nevertheless, which the system call itself does not.
 */
ssize_t iv_sys_write(int fd, const void *buf, size_t len);

/*
 * read(2), but not a cancellation point: what it has read must be served.  The
 * alternative is to disable cancellation around the libc's read(), and in a
 * program with threads each of the two costs two locked instructions.
 */
ssize_t iv_sys_read(int fd, void *buf, size_t len);

/*
 * Where the system can do that, writes to this open file raise no SIGPIPE, in
 * whatever process and by whatever descriptor.  It is needed where SIGPIPE is
 * sent to the process, as macOS and NetBSD do: another thread could take it.
 */
void iv_sys_no_sigpipe(int fd);

/*
 * Removes the pending SIGPIPE that a write of the calling thread has raised;
 * the thread blocks SIGPIPE.  Where iv_sys_no_sigpipe() works there is none.
 * Elsewhere the system sends it to the thread that writes, so no other thread
 * can take it.  One that was pending before remains pending.
 */
void iv_sys_take_sigpipe(const sigset_t *sigpipe, int was_pending);

/*
 * A number that is stored with the open file and visible through all of its
 * descriptors; initially it is 0.  -1 where the system has no such thing.
 */
int iv_sys_set_label(int fd, int label);
int iv_sys_label(int fd);

/*
 * Returns zeroed memory, or NULL with errno.  If the system can do that, it is
 * zero again in each forked child, even if the libc's fork() was bypassed.
 */
void *iv_sys_map_wiped_by_fork(size_t size);

/* getenv(3), but a program with privileges gets NULL for every name. */
const char *iv_sys_getenv(const char *name);

/*
 * Keeps the object that contains the address loaded, despite dlclose(3).  The
 * process has pointers into the library for as long as it runs: thread keys,
 * handlers of fork(3) and of signals, threads.  The shared library is linked so
 * that it is never unloaded; this is for plugins that contain the archive.
 */
void iv_sys_keep_loaded(const void *address);

void *iv_sys_reallocarray(void *mem, size_t num, size_t size);

/* Returns the calling thread's number, which is unique in the system. */
unsigned long iv_sys_thread_id(void);

/*
 * Gives the calling thread a name in the kernel: at most the first 15 bytes,
 * which is what Linux has room for, without splitting a UTF-8 character.
 */
void iv_sys_name_thread(const char *name);

/* Returns how many processors the calling thread may run on. */
int iv_sys_num_processors(void);

/* Has a child been stopped or continued?  1 if that is unknown. */
int iv_sys_child_stopped_or_continued(void);

/* Does SIGBUS report failed memory that the thread has not accessed? */
int iv_sys_is_memory_failure(const siginfo_t *info);

#pragma GCC visibility pop

#endif

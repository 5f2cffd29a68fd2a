/*
 * libivykis: what differs between systems.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_EVENTFD
#include <sys/eventfd.h>
#endif
#ifdef HAVE_GETAUXVAL
#include <sys/auxv.h>
#endif
#ifdef HAVE_PIDFD_OPEN
#include <sys/pidfd.h>
#endif
#ifdef HAVE_RAW_WRITE
#include <sys/syscall.h>
#endif
#if defined(HAVE_PTHREAD_GETTHREADID_NP) || defined(HAVE_PTHREAD_SET_NAME_NP)
#include <pthread_np.h>
#endif
#ifdef HAVE__LWP_SELF
#include <lwp.h>
#endif
#include "iv_cancel.h"
#include "iv_sys.h"

#ifdef HAVE_INITIAL_EXEC

IV_THREAD_LOCAL struct iv_state *iv_self;

#else

static pthread_key_t self;
static atomic_int has_self;

/*
 * At a thread's end each key loses its value, in an order that POSIX leaves
 * open.  The loop is still to be ended by the destructor of another key, which
 * sets this one to NULL.
 */
static void keep_self(void *st)
{
	(void)pthread_setspecific(self, st);
}

int iv_sys_init(void)
{
	int err;

	/* Relaxed: the callers come one after the other. */
	if (atomic_load_explicit(&has_self, memory_order_relaxed))
		return 0;

	err = pthread_key_create(&self, keep_self);
	if (err) {
		errno = err;
		return -1;
	}
	/* Release: pairs with the acquire in iv_sys_self(). */
	atomic_store_explicit(&has_self, 1, memory_order_release);

	return 0;
}

/* While there is no key, no thread has a loop. */
struct iv_state *iv_sys_self(void)
{
	if (!atomic_load_explicit(&has_self, memory_order_acquire))
		return NULL;

	return pthread_getspecific(self);
}

int iv_sys_set_self(struct iv_state *st)
{
	int err = pthread_setspecific(self, st);

	if (err)
		errno = err;

	return err ? -1 : 0;
}

#endif

#ifndef HAVE_PIPE2
static int set_flags(int fd, int flags)
{
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;

	return (flags & O_NONBLOCK) ? fcntl(fd, F_SETFL, O_NONBLOCK) : 0;
}
#endif

int iv_sys_pipe(int fd[2], int flags)
{
#ifdef HAVE_PIPE2
	return pipe2(fd, O_CLOEXEC | flags);
#else
	if (pipe(fd) < 0)
		return -1;
	if (set_flags(fd[0], flags) == 0 && set_flags(fd[1], flags) == 0)
		return 0;
	iv_close(fd[0]);
	iv_close(fd[1]);

	return -1;
#endif
}

int iv_sys_eventfd(void)
{
#ifdef HAVE_EVENTFD
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
#else
	errno = ENOSYS;

	return -1;
#endif
}

int iv_sys_pidfd_open(pid_t pid)
{
#ifdef HAVE_PIDFD_OPEN
	return pidfd_open(pid, 0);
#else
	(void)pid;
	errno = ENOSYS;

	return -1;
#endif
}

int iv_sys_pidfd_kill(int fd, int sig)
{
#ifdef HAVE_PIDFD_OPEN
	return pidfd_send_signal(fd, sig, NULL, 0);
#else
	(void)fd;
	(void)sig;
	errno = ENOSYS;

	return -1;
#endif
}

ssize_t iv_sys_splice(int from, int to, size_t len)
{
#ifdef HAVE_SPLICE
	return splice(from, NULL, to, NULL, len,
		      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
#else
	(void)from;
	(void)to;
	(void)len;
	errno = ENOSYS;

	return -1;
#endif
}

ssize_t iv_sys_write(int fd, const void *buf, size_t len)
{
#ifdef HAVE_RAW_WRITE
	return syscall(SYS_write, fd, buf, len);
#else
	return write(fd, buf, len);
#endif
}

ssize_t iv_sys_read(int fd, void *buf, size_t len)
{
/* The thread sanitizer must see how a post is ordered before its handler. */
#if defined(HAVE_RAW_WRITE) && !defined(__SANITIZE_THREAD__)
	return syscall(SYS_read, fd, buf, len);
#else
	int state = iv_cancel_disable();
	ssize_t ret = read(fd, buf, len);

	iv_cancel_restore(state);

	return ret;
#endif
}

void iv_sys_no_sigpipe(int fd)
{
#ifdef HAVE_F_SETNOSIGPIPE
	(void)fcntl(fd, F_SETNOSIGPIPE, 1);
#else
	(void)fd;
#endif
}

void iv_sys_take_sigpipe(const sigset_t *sigpipe, int was_pending)
{
#if defined(HAVE_F_SETNOSIGPIPE)
	(void)sigpipe;
	(void)was_pending;
#else
	sigset_t pending;
#ifdef HAVE_SIGTIMEDWAIT
	static const struct timespec at_once;

	/* Not on Linux, which interrupts no wait that takes no time. */
	while (sigtimedwait(sigpipe, NULL, &at_once) < 0 && errno == EINTR)
		;
#else
	int sig;

	/* If it is ignored, none was raised. */
	(void)sigpending(&pending);
	if (!sigismember(&pending, SIGPIPE))
		return;
	(void)sigwait(sigpipe, &sig);
#endif
	/*
	 * One that was pending for the process still is; one that was pending
	 * for the thread may have been removed with ours.
	 */
	(void)sigpending(&pending);
	if (was_pending && !sigismember(&pending, SIGPIPE))
		(void)raise(SIGPIPE);
#endif
}

int iv_sys_set_label(int fd, int label)
{
#ifdef HAVE_F_SETSIG
	return fcntl(fd, F_SETSIG, label);
#else
	(void)fd;
	(void)label;
	errno = ENOSYS;

	return -1;
#endif
}

int iv_sys_label(int fd)
{
#ifdef HAVE_F_SETSIG
	return fcntl(fd, F_GETSIG);
#else
	(void)fd;
	errno = ENOSYS;

	return -1;
#endif
}

void *iv_sys_map_wiped_by_fork(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
#if defined(HAVE_MADV_WIPEONFORK)
	(void)madvise(mem, size, MADV_WIPEONFORK);
#elif defined(HAVE_MINHERIT) && defined(HAVE_INHERIT_ZERO)
	(void)minherit(mem, size, INHERIT_ZERO);
#elif defined(HAVE_MINHERIT) && defined(HAVE_MAP_INHERIT_ZERO)
	(void)minherit(mem, size, MAP_INHERIT_ZERO);
#endif

	return mem;
}

const char *iv_sys_getenv(const char *name)
{
	if (getuid() != geteuid() || getgid() != getegid())
		return NULL;
#if defined(HAVE_SECURE_GETENV)
	return secure_getenv(name);
#elif defined(HAVE_ISSETUGID)
	return issetugid() ? NULL : getenv(name);
#else
	return getenv(name);
#endif
}

/* A statically linked program lacks them. */
#pragma weak dladdr
#pragma weak dlopen

/* The program itself is never unloaded, and its name may not lead to it. */
static int is_program(const Dl_info *file)
{
#ifdef HAVE_GETAUXVAL
	Dl_info program;

	return dladdr((void *)getauxval(AT_PHDR), &program) &&
	       program.dli_fbase == file->dli_fbase;
#else
	(void)file;

	return 0;
#endif
}

/*
 * The object is loaded already, so this only changes how it is kept.  Without
 * the last flag it is kept because it is closed once less than it is opened.
 */
#ifdef HAVE_RTLD_NODELETE
#define KEEP	(RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE)
#else
#define KEEP	RTLD_LAZY
#endif

void iv_sys_keep_loaded(const void *address)
{
	Dl_info file;

	if (dladdr == NULL || dlopen == NULL || !dladdr(address, &file) ||
	    is_program(&file))
		return;
	(void)dlopen(file.dli_fname, KEEP);
}

void *iv_sys_reallocarray(void *mem, size_t num, size_t size)
{
#ifdef HAVE_REALLOCARRAY
	return reallocarray(mem, num, size);
#else
	if (size != 0 && num > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}

	return realloc(mem, num * size);
#endif
}

unsigned long iv_sys_thread_id(void)
{
#if defined(HAVE_GETTID)
	return gettid();
#elif defined(HAVE_PTHREAD_THREADID_NP)
	uint64_t id = 0;

	(void)pthread_threadid_np(NULL, &id);

	return id;
#elif defined(HAVE_PTHREAD_GETTHREADID_NP)
	return pthread_getthreadid_np();
#elif defined(HAVE_GETTHRID)
	return getthrid();
#elif defined(HAVE__LWP_SELF)
	return _lwp_self();
#else
	/* This one is unique in the process, at least. */
	return (unsigned long)pthread_self();
#endif
}

void iv_sys_name_thread(const char *name)
{
	char buf[16] = "";
	size_t len = strnlen(name, sizeof(buf) - 1);

	/* A character has at most three bytes after its first one. */
	while (len > sizeof(buf) - 4 && (name[len] & 0xc0) == 0x80)
		len--;
	memcpy(buf, name, len);

#if defined(HAVE_PTHREAD_SET_NAME_NP)
	pthread_set_name_np(pthread_self(), buf);
#elif defined(HAVE_SETNAME_OF_THREAD)
	(void)pthread_setname_np(pthread_self(), buf);
#elif defined(HAVE_SETNAME_OF_SELF)
	(void)pthread_setname_np(buf);
#elif defined(HAVE_SETNAME_BY_FORMAT)
	(void)pthread_setname_np(pthread_self(), "%s", buf);
#endif
}

int iv_sys_num_processors(void)
{
#ifdef HAVE_SCHED_GETAFFINITY
	cpu_set_t set;

	/* It fails if the machine has more processors than fit the set. */
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) :
							      CPU_SETSIZE;
#else
	return sysconf(_SC_NPROCESSORS_ONLN);
#endif
}

int iv_sys_child_stopped_or_continued(void)
{
#ifdef HAVE_WAITID
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_ALL, 0, &info,
		   WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) < 0)
		return errno != ECHILD;

	return info.si_pid != 0;
#else
	return 1;
#endif
}

int iv_sys_is_memory_failure(const siginfo_t *info)
{
#ifdef BUS_MCEERR_AO
	return info->si_code == BUS_MCEERR_AO;
#else
	(void)info;

	return 0;
#endif
}

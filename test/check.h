/*
 * libivykis: what the test programs share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A test program is a table of cases and a main() that passes it to
 * check_main().  Each case runs in its own process, so it may be the first to
 * call iv_init(), may crash, and has a time limit.  It fails if a check fails,
 * if it crashes, or if the number of open descriptors has changed when it ends.
 * Cases that concern the loop run once for each poll method, with eventfd(2)
 * and with eventfd(2) refused.  The output is TAP.
 *
 *	program			run all cases
 *	program TEXT		run the cases whose name contains TEXT
 *	TEST_VARIANT=poll/pipe	in the environment: run only this variant, or
 *				these, separated by blanks
 */

#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
/* The header by which configure decides whether to set LINUX_TESTS. */
#if !__has_include(<linux/seccomp.h>)
#include "missing.h"
#endif

enum check_variants {
	ONCE,			/* with the default poll method */
	EACH_METHOD,		/* once for each poll method */
	EACH_BACKEND,		/* with eventfd and with a pipe */
	EACH,			/* with each poll method, eventfd and pipe */
};

struct check_case {
	const char		*name;
	void			(*run)(void);
	enum check_variants	variants;
	int			seconds;	/* for a slow run; 0 means 30 */
};

#define check_main(cases, argc, argv)	\
	check_run(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv)

int check_run(const struct check_case *cases, int num, int argc, char **argv);

/* Fail, which ends the process, unless the condition holds. */
#define check(cond)							\
	do {								\
		if (!(cond))						\
			check_failed(__FILE__, __LINE__, #cond);	\
	} while (0)

/* Fail unless the two integers are equal. */
#define check_int(got, want)						\
	check_equal(__FILE__, __LINE__, #got, (got), (want))

/* Fail unless the call returns -1 and sets the expected errno. */
#define check_errno(call, want)						\
	do {								\
		errno = 0;						\
		check_int((call), -1);					\
		check_int(errno, (want));				\
	} while (0)

/* Fail unless fn(), run in a child, calls iv_fatal() with this text. */
#define check_fatal(fn, text)						\
	check_fatal_text(__FILE__, __LINE__, #fn, (fn), (text))

void check_failed(const char *file, int line, const char *what)
	__attribute__((noreturn));
void check_equal(const char *file, int line, const char *what, long got,
		 long want);
void check_fatal_text(const char *file, int line, const char *what,
		      void (*fn)(void), const char *text);

/* Wait for a child, and fail unless it exits with 0. */
void check_child(int pid);

/* End this case as skipped, which the verdict reports with the reason. */
void skip(const char *why) __attribute__((noreturn));

/* Report the case as skipped if it passes: some of it could not be tested. */
void only_partly(const char *why);

/* The tools under which `make sanitize' runs the tests. */
enum check_tools {
	ASAN = 1,
	TSAN = 2,
	MEMCHECK = 4,
};

/* Skip the case under these tools.  The reason begins with the tool's name. */
void skip_under(int tools, const char *why);

#ifdef __has_feature
#define HAS_FEATURE(x)	__has_feature(x)
#else
#define HAS_FEATURE(x)	0
#endif

/* The tool that this program is built for, or 0: valgrind runs any program. */
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define BUILT_FOR	TSAN
#elif defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define BUILT_FOR	ASAN
#else
#define BUILT_FOR	0
#endif

/*
 * Make the system call fail with this errno from now on, in this process and
 * its children.  Skips the case where the kernel cannot do that.
 */
void refuse(const char *syscall_name, int err);

/* The same, if argument arg, which is counted from 0, has all of these bits. */
void refuse_with(const char *syscall_name, int err, int arg, unsigned int bits);

/* Set in a thread that must not make system calls. */
extern _Thread_local int check_is_tied;

/* From now on every system call but exit(2) and exit_group(2) is fatal. */
void forbid_system_calls(void);

/*
 * End a process to which system calls are forbidden.  Not declared as a function
 * that does not return, as sanitizers make system calls before calling such.
 */
void exit_tied(void);

/*
 * Run fn(arg) in a thread that must not make system calls, and wait until it
 * returns.
 */
void without_system_calls(void (*fn)(void *), void *arg);

/*
 * Each of these tries something that emulators of other processors cannot do,
 * and skips the case if it fails.  In order: this program executes itself;
 * orphans become children of this process; abort() prints nothing; the child of
 * a program with threads creates a thread; RLIMIT_AS or RLIMIT_DATA limits
 * memory.
 */
void need_self_exec(void);
void need_orphans(void);
void need_silent_abort(void);
void need_threads_of_child(void);
void need_memory_limit(int resource);

/* What the library was built with. */
#ifdef HAVE_EVENTFD
#define HAS_EVENTFD	1
#else
#define HAS_EVENTFD	0
#endif
#ifdef HAVE_INOTIFY_INIT1
#define HAS_INOTIFY	1
#else
#define HAS_INOTIFY	0
#endif

/*
 * The name of the n-th usual poll method, in order of preference from 0, or
 * NULL if there are fewer.
 */
const char *poll_method(int n);

/* Skip the case unless the library was built with this poll method. */
void need_poll_method(const char *name);

/*
 * Returns 1 if a test has to leave out a function or file of this name, because
 * the library was built without it.  The case is then reported as skipped if it
 * passes.
 */
int is_left_out(const char *what);

/* Does the running variant use pipes instead of eventfd(2)? */
int variant_is_pipe(void);

/* Which mechanism does the running variant's poll method use? */
int variant_is_epoll(void);
int variant_is_kqueue(void);
int variant_is_uring(void);
int variant_is_poll(void);	/* poll(2) or ppoll(2) */

/*
 * Under `make coverage' a process that ends without exit() writes its own
 * coverage data.  If this is set, it is called with the function that does so.
 */
extern void (*write_coverage_by)(void (*write)(void));

/*
 * A child that its parent runs in single steps.  The child calls
 * tracee_begins().  The parent calls tracee_trace(), which waits for that call
 * and skips the case if processes cannot be traced, and then tracee_steps().
 * tracee_stopped() waits for the next stop, and returns 0 if the child has
 * ended instead.
 */
void tracee_begins(void);
void tracee_trace(int pid);
int tracee_stopped(int pid);
void tracee_steps(int pid, int num);

/*
 * tracee_runs_to_call() runs the child until it enters or leaves a system call,
 * and returns 0 if it has exited with status 0 instead.  tracee_leave() stops
 * tracing it, and sends it a signal unless that is 0.
 */
int tracee_runs_to_call(int pid);
void tracee_leave(int pid, int sig);

/*
 * trace_running() becomes the tracer of a running process, or returns -1 where
 * that is impossible.  allow_tracers() lets any process trace the calling one.
 */
int trace_running(int pid);
void allow_tracers(void);

/*
 * Run fn() in a process of its own.  fn() calls forks_begin() and forks_end().
 * Between the two, another thread with a loop forks after each instruction, and
 * each child calls in_child() and has to exit with 0.  That thread first calls
 * in_thread(), unless it is NULL.
 */
void check_forks(void (*fn)(void), void (*in_child)(void));
void forks_begin(void (*in_thread)(void));
void forks_end(void);

/*
 * If the library and check.c are compiled with IV_STEPS, each step calls
 * check_at_step.  While that is NULL, threads pause at random steps instead.
 * The seed is STEPS_SEED in the environment, or the time, until
 * check_seed_steps() sets another one.
 */
#ifdef IV_STEPS
extern void (*check_at_step)(const char *file, int line);
void check_seed_steps(uint64_t seed);
#endif

/* The number of descriptors, and of memory mappings, of this process. */
int num_descriptors(void);
int num_mappings(void);

/*
 * Called by a case that counts or changes the library's calls, by defining
 * functions with the names of the libc's.  Skips the case on systems other than
 * Linux, where such functions are not compiled, as they may not replace the
 * libc's.
 */
void need_own_functions(void);

/*
 * num_processors() returns on how many processors the calling thread may run;
 * use_one_processor() restricts it to the first of them.
 */
int num_processors(void);
void use_one_processor(void);

/* The kernel's name of the calling thread. */
#define THREAD_NAME_SIZE	16
void get_thread_name(char name[THREAD_NAME_SIZE]);
void set_thread_name(const char *name);

/*
 * Open a non-blocking descriptor of a kind that only Linux has: an eventfd(2)
 * with this value, an epoll(7) set that waits for urgent data on a descriptor
 * unless that is -1, or an expired timer.  Elsewhere return -1, with ENOSYS.
 */
int open_eventfd(unsigned int value);
int open_epoll(int fd);
int open_timerfd(void);

/* Are this process's `fd' and the process pid's `other' the same open file? */
int is_same_file(int pid, int fd, int other);

/* Children of this process get a new PID namespace. */
void begin_process_namespace(void);

/* From now on /dev is empty for this process. */
void hide_devices(void);

/* The state of a process's main thread, as in proc(5): 'S' means asleep. */
char process_state(int pid);

/*
 * Use up memory until malloc(3) fails for blocks of this size or more.
 * give_back_memory() undoes that.  Skips the case where memory cannot be
 * limited.
 */
void eat_memory(size_t least);
void give_back_memory(void);

/* The number that the next descriptor gets. */
int lowest_descriptor(void);

/* Set RLIMIT_NOFILE, and return the former limit. */
int limit_descriptors(int num);

/*
 * Run the calling thread's loop for this many iterations.  A timer is due in
 * each of them, so none of them sleeps, though each polls the kernel.
 */
void run_iterations(int num);

/* Milliseconds on CLOCK_MONOTONIC, and of CPU time used by the process. */
long now_ms(void);
long cpu_ms(void);

#endif

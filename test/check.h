/*
 * libivykis: what the test programs share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A test program is a table of cases and a main() that hands it to
 * check_main().  Each case runs in a process of its own, so that it may be the
 * first to call iv_init(), may die, and has a time limit; it fails if a check
 * fails, if it dies, or if it leaves more descriptors open than it found.
 * Cases that concern the loop run once for each poll method, with eventfd(2)
 * and with eventfd(2) refused.  The verdicts are written as TAP.
 *
 *	program			all cases
 *	program NAME		the cases whose name contains NAME
 *	TEST_VARIANT=poll/pipe	in the environment: this variant alone, or
 *				several with blanks between
 */

#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

enum check_variants {
	ONCE,			/* as the environment has it */
	EACH_METHOD,		/* once for each poll method */
	EACH_BACKEND,		/* by eventfd and by pipe */
	EACH,			/* each poll method, by eventfd and by pipe */
};

struct check_case {
	const char		*name;
	void			(*run)(void);
	enum check_variants	variants;
	int			seconds;	/* a slow run takes; 0: 30 */
};

#define check_main(cases, argc, argv)	\
	check_run(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv)

int check_run(const struct check_case *cases, int num, int argc, char **argv);

/* The process ends as failed unless the condition holds. */
#define check(cond)							\
	do {								\
		if (!(cond))						\
			check_failed(__FILE__, __LINE__, #cond);	\
	} while (0)

/* ... unless the two integers are equal. */
#define check_int(got, want)						\
	check_equal(__FILE__, __LINE__, #got, (got), (want))

/* ... unless the call gave -1 and the errno wanted. */
#define check_errno(call, want)						\
	do {								\
		errno = 0;						\
		check_int((call), -1);					\
		check_int(errno, (want));				\
	} while (0)

/* ... unless fn(), in a process of its own, ends in iv_fatal with this text. */
#define check_fatal(fn, text)						\
	check_fatal_text(__FILE__, __LINE__, #fn, (fn), (text))

void check_failed(const char *file, int line, const char *what)
	__attribute__((noreturn));
void check_equal(const char *file, int line, const char *what, long got,
		 long want);
void check_fatal_text(const char *file, int line, const char *what,
		      void (*fn)(void), const char *text);

/* Wait for a child that is to exit with 0: a failed check there is one here. */
void check_child(int pid);

/* End this case as skipped. */
void skip(const char *why) __attribute__((noreturn));

/* ... once it has passed, for it could not do all that it is for. */
void only_partly(const char *why);

/* The tools that `make sanitize' runs the tests under. */
enum check_tools {
	ASAN = 1,
	TSAN = 2,
	MEMCHECK = 4,
};

/* The same, under one of these only: the tool ... */
void skip_under(int tools, const char *why);

#ifdef __has_feature
#define HAS_FEATURE(x)	__has_feature(x)
#else
#define HAS_FEATURE(x)	0
#endif

/* The one that this program is built for, or 0: valgrind takes any program. */
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define BUILT_FOR	TSAN
#elif defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define BUILT_FOR	ASAN
#else
#define BUILT_FOR	0
#endif

/*
 * Let the system call fail with the given errno from now on, in this process
 * and its children; skips the case where the kernel cannot.
 */
void refuse(const char *syscall_name, int err);

/* ... if the argument of that number, from 0, has all of these bits. */
void refuse_with(const char *syscall_name, int err, int arg, unsigned int bits);

/* Set in a thread that must not make any. */
extern _Thread_local int check_is_tied;

/* Whatever but exit(2) and exit_group(2) kills the process from now on. */
void forbid_system_calls(void);

/* Run fn(arg) in a thread that is forbidden them, and wait for its return. */
void without_system_calls(void (*fn)(void *), void *arg);

/*
 * What an emulator of another processor cannot do, each tried: the case is
 * skipped where this program cannot execute itself, where orphans do not
 * become children of this process, where abort() says something, where the
 * child of a program with threads cannot have any, or where the limit named,
 * RLIMIT_AS or RLIMIT_DATA, does nothing.
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
 * The name of the n-th poll method, from 0 and in order of preference, or NULL;
 * the case is skipped unless the library has the one that is named.
 */
const char *poll_method(int n);
void need_poll_method(const char *name);

/* 1: what has such a name is to be left out, which makes the case skipped. */
int is_left_out(const char *what);

/* Is the running variant one that has no eventfd(2), or has it refused? */
int variant_is_pipe(void);

/* Is the running variant's poll method one that uses epoll(7)? */
int variant_is_epoll(void);

/* ... or kqueue(2), io_uring(7), or one that asks by number: poll(2), ppoll(2)? */
int variant_is_kqueue(void);
int variant_is_uring(void);
int variant_is_poll(void);

/*
 * Where coverage is measured (make coverage), a process that ends without
 * exit() writes down itself where it has been: through this, if it is set.
 */
extern void (*write_coverage_by)(void (*write)(void));

/*
 * A child that another process leads on by single steps.  The child calls
 * tracee_begins(); for the parent, which skips the case where that is
 * impossible, tracee_trace() waits for it and tracee_steps() leads it on.
 * tracee_stopped() waits for the next stop; 0: the child has ended instead.
 */
void tracee_begins(void);
void tracee_trace(int pid);
int tracee_stopped(int pid);
void tracee_steps(int pid, int num);

/*
 * Run fn() in a process of its own.  Between forks_begin() and forks_end(),
 * which fn() calls, another thread with a loop forks after each instruction;
 * each child calls in_child(), and is to exit with 0.  That thread has called
 * in_thread() before, unless it is NULL.
 */
void check_forks(void (*fn)(void), void (*in_child)(void));
void forks_begin(void (*in_thread)(void));
void forks_end(void);

/*
 * Where the library and check.c are compiled with IV_STEPS: what is called at
 * each step.  Unless a program sets it, threads pause there now and then, as
 * this seed says; at first it is STEPS_SEED in the environment, or the time.
 */
#ifdef IV_STEPS
extern void (*check_at_step)(const char *file, int line);
void check_seed_steps(uint64_t seed);
#endif

/*
 * Descriptors that this process has open; the number that the next one gets;
 * how many it may have from now on, the former limit is returned.
 */
int num_descriptors(void);

/* Mappings of memory that the process has. */
int num_mappings(void);
int lowest_descriptor(void);
int limit_descriptors(int num);

/*
 * Run the calling thread's loop for so many passes, a timer that is always due
 * in each: none sleeps, and each asks the kernel.
 */
void run_passes(int num);

/* Milliseconds on CLOCK_MONOTONIC, and milliseconds of CPU time used. */
long now_ms(void);
long cpu_ms(void);

#endif

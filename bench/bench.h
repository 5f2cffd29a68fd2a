/*
 * libivykis: what the benchmark programs share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one program per peer: the driver (bench.c: arguments, clocks, one
 * line per figure) and the rows (rows_FAMILY.c: the work), compiled with the
 * peer's calls (peer_NAME.h), which are inlined so that the comparison costs
 * nothing.  `run' runs all programs and reports.
 *
 * A new row is a function and a line in the table at the end of its family.  A
 * new family is a file, its table's name below and in bench.c, its name in
 * Makefile.am and its title in report.py.  A new peer is a header that defines
 * what peer.h lists, its program in Makefile.am and its name in peers.py.
 */

#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* It is in memory that forked children share. */
struct meter {
	double		began;
	double		cpu_began;
	double		wall;		/* seconds */
	double		cpu;		/* seconds, all threads */
	long		ops;
	double		count;		/* for units that are no time */
	const char	*none;		/* there is no figure, and why */
};

struct row {
	const char	*name;
	const char	*group;		/* one chart each */
	/*
	 * From the time: ns (per op), runs/s and conn/s (ops per second).
	 * From the count: lost (wakeups), served (descriptors per op), items
	 * (per handler run), B (bytes).
	 */
	const char	*unit;
	const char	*text;
	/* Do about n ops between meter_start() and meter_stop(); set ops. */
	void		(*run)(struct meter *m, long n, int arg);
	int		arg;
	long		quick;		/* the smallest n that says anything */
};

/*
 * Each ends with a row that has no name.  They are weak because a program is
 * linked with the families that say something about its peer.
 */
#define FAMILY(name)							\
	extern const struct row rows_##name[] __attribute__((weak))

FAMILY(burst);
FAMILY(churn);
FAMILY(connect);
FAMILY(echo);
FAMILY(flood);
FAMILY(life);
FAMILY(lost);
FAMILY(memory);
FAMILY(million);
FAMILY(pairs);
FAMILY(pingpong);
FAMILY(self);
FAMILY(stream);
FAMILY(task);
FAMILY(timer);
FAMILY(wake);

/* In pairs; the time between the two calls is added up. */
void meter_start(struct meter *m);
void meter_stop(struct meter *m);

/* The meter of a row's child process, whose CPU time is added in the end. */
struct meter *meter_of_child(struct meter *m);
void meter_add_child(struct meter *m);

/* Seconds. */
double clock_now(clockid_t clock);

/* What must not fail in a benchmark ends it. */
#define must(cond)						\
	do {							\
		if (!(cond))					\
			must_failed(__FILE__, __LINE__, #cond);	\
	} while (0)

void must_failed(const char *file, int line, const char *what)
	__attribute__((noreturn));

/* Two cores that write to their own of these do not disturb each other. */
#define OWN_LINES	_Alignas(128)

/* An array of zeroes, all of it touched; free() it. */
void *zeroed(size_t num, size_t size);

/* Zeroed memory that forked children share, and its end. */
void *shared_new(size_t size);
void shared_free(void *p, size_t size);

pthread_t thread_start(void *(*fn)(void *), void *arg);
void thread_join(pthread_t thread);
void meeting_of(pthread_barrier_t *barrier, int num);
void meet(pthread_barrier_t *barrier);

/* A child process that calls fn(arg), and the wait for its success. */
pid_t child_start(void (*fn)(void *arg), void *arg);
void child_wait(pid_t pid);

/*
 * pin() keeps the calling thread on one of the process's processors, 0 being
 * the first; -1 leaves it alone.  have_cpus() returns whether the process may
 * run on num of them at once.
 */
void pin(int cpu);
int have_cpus(int num);

/*
 * Whether a row has to do without what it needs; the meter then says so.
 * Descriptors: num more.
 */
int lacks_cpus(struct meter *m, int num);
int lacks_descriptors(struct meter *m, int num);

/* The file that the named function comes from. */
const char *file_of(const char *symbol);

/* A listening TCP socket on the loopback interface, and its port. */
int listening(int *port);

/* The next connection, or -1 if there is none. */
int accepted(int fd);

/* The same numbers in each run.  A division would show in rows of timers. */
static inline unsigned int random_below(uint64_t *state, unsigned int limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

	return (*state >> 32) * limit >> 32;
}

#endif

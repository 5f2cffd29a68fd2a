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

/* The measurement of one run.  Its memory is shared with forked children. */
struct meter {
	double		began;
	double		cpu_began;
	double		wall;		/* seconds */
	double		cpu;		/* seconds, all threads */
	long		ops;
	double		count;		/* for units other than time */
	const char	*none;		/* why there is no figure, or NULL */
};

struct row {
	const char	*name;
	const char	*group;		/* rows that share a chart */
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
	long		quick;		/* the smallest meaningful n */
};

/*
 * Each family ends with a row that has no name.  The tables are weak because a
 * program is only linked with the families that are meaningful for its peer.
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

/* Called in pairs; the times from start to stop are added up. */
void meter_start(struct meter *m);
void meter_stop(struct meter *m);

/* The meter of a row's child process, whose CPU time is added in the end. */
struct meter *meter_of_child(struct meter *m);
void meter_add_child(struct meter *m);

/* Seconds. */
double clock_now(clockid_t clock);

/* End the benchmark unless the condition holds. */
#define must(cond)						\
	do {							\
		if (!(cond))					\
			must_failed(__FILE__, __LINE__, #cond);	\
	} while (0)

void must_failed(const char *file, int line, const char *what)
	__attribute__((noreturn));

/* For members that different cores write: they are in different cache lines. */
#define OWN_LINES	_Alignas(128)

/* An array of zeroes for free(), whose pages are all in memory. */
void *zeroed(size_t num, size_t size);

/* Allocate and free zeroed memory that is shared with forked children. */
void *shared_new(size_t size);
void shared_free(void *p, size_t size);

pthread_t thread_start(void *(*fn)(void *), void *arg);
void thread_join(pthread_t thread);
void meeting_of(pthread_barrier_t *barrier, int num);
void meet(pthread_barrier_t *barrier);

/* Start a child process that calls fn(arg); wait until it exits with 0. */
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
 * Return 1, and store the reason in the meter, if there are fewer than num
 * processors, or if fewer than num descriptors can be opened.
 */
int lacks_cpus(struct meter *m, int num);
int lacks_descriptors(struct meter *m, int num);

/* The file of the library that defines a function. */
const char *file_of(const char *symbol);

/* A listening TCP socket on the loopback interface, and its port. */
int listening(int *port);

/* The next connection, or -1 if there is none. */
int accepted(int fd);

/*
 * Returns the same numbers in each run.  Multiplies, as the time of a division
 * would show in the rows of timers.
 */
static inline unsigned int random_below(uint64_t *state, unsigned int limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

	return (*state >> 32) * limit >> 32;
}

#endif

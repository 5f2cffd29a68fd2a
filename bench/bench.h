/*
 * libivykis: what the benchmark programs share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one program a peer: the driver (bench.c: arguments, clocks, one line
 * a figure), and the rows (rows_FAMILY.c: the work), compiled on top of the
 * peer's calls (peer_NAME.h), which are inlined, so that no peer pays for the
 * comparison.  `run' runs them all and reports.
 *
 * A new row is a function and a line in the table at the end of its family; a
 * new family is a file, its table's name below and in bench.c, and its name in
 * Makefile.am; a new peer is a header that defines what peer.h lists.
 */

#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Stands in memory that forked children share. */
struct meter {
	struct timespec	began;
	double		cpu_began;
	double		wall;		/* seconds */
	double		cpu;		/* seconds, all threads */
	long		ops;
	double		count;		/* what units that are no time count */
	const char	*none;		/* there is no figure, and why */
};

struct row {
	const char	*name;
	const char	*group;		/* one chart each */
	/*
	 * Of time: ns (an op), M/s.  Counted: lost (wake-ups), served
	 * (descriptors, an op), B (bytes).
	 */
	const char	*unit;
	const char	*text;
	/* Do about n ops between meter_start() and meter_stop(); set ops. */
	void		(*run)(struct meter *m, long n, int arg);
	int		arg;
	long		quick;		/* the smallest n that says anything */
};

/* Each ends with a row that has no name. */
extern const struct row rows_echo[];
extern const struct row rows_fd[];
extern const struct row rows_lost[];
extern const struct row rows_memory[];
extern const struct row rows_post[];
extern const struct row rows_task[];
extern const struct row rows_thread[];
extern const struct row rows_timer[];

/* Pairs; the time between is what counts. */
void meter_start(struct meter *m);
void meter_stop(struct meter *m);

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

/* A page that forked children share. */
void *shared_page(void);

pthread_t thread_start(void *(*fn)(void *), void *arg);
void thread_join(pthread_t thread);
void meeting_of(pthread_barrier_t *barrier, int num);
void meet(pthread_barrier_t *barrier);

/* Wait for a child, which must say that all is well. */
void child_wait(pid_t pid);

/*
 * Keep the calling thread on one of the process's processors, 0 for the first;
 * -1: leave it.  have_cpus: may it run on num of them at once?
 */
void pin(int cpu);
int have_cpus(int num);

/* May num more descriptors be opened? */
int have_descriptors(int num);

/* The file that the named symbol comes from. */
const char *file_of(const char *symbol);

/* The same numbers in each run.  A division would show in rows of timers. */
static inline unsigned int random_below(uint64_t *state, unsigned int limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

	return (*state >> 32) * limit >> 32;
}

#endif

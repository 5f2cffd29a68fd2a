/*
 * libivykis: what the benchmark programs share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one program a peer.  Each is an adapter (bench_PEER.c: a dozen
 * short inline functions), the same work compiled on top of it (workloads.h),
 * and the driver (bench.c), which parses the arguments, runs the rounds, reads
 * the clocks and writes one line a figure:
 *
 *	row peer value unit cpu value ns ops count wall seconds s
 */

#ifndef BENCH_H
#define BENCH_H

#include <time.h>

/* Stands in memory that forked children share. */
struct meter {
	struct timespec	began;
	double		cpu_began;
	double		wall;		/* seconds */
	double		cpu;		/* seconds, all threads */
	long		ops;
	long		lost;
	const char	*none;		/* there is no figure, and why */
};

struct row {
	const char	*name;
	const char	*group;		/* one chart each */
	const char	*unit;		/* an op: ns, M/s; or lost: a count */
	const char	*text;
	/* Do about n ops between meter_start() and meter_stop(); set ops. */
	void		(*run)(struct meter *m, long n, int arg);
	int		arg;
	long		quick;		/* n for a first impression */
};

struct peer {
	const char	*name;
	const char	*version;	/* or a file whose path tells */
	const struct row *rows;
	int		num;
};

int bench_main(const struct peer *peer, int argc, char **argv);

/* One pair; the time between is what counts. */
void meter_start(struct meter *m);
void meter_stop(struct meter *m);

/* A page that forked children share, or the end. */
void *shared_page(void);

/* What must not fail in a benchmark ends it. */
#define must(cond)						\
	do {							\
		if (!(cond))					\
			must_failed(__FILE__, __LINE__, #cond);	\
	} while (0)

void must_failed(const char *file, int line, const char *what)
	__attribute__((noreturn));

/* 1 if the process may run on num processors at once. */
int have_cpus(int num);

/* Keep the calling thread on one of them, 0 for the first; -1: leave it. */
void pin(int cpu);

/* 1 if num more descriptors may be opened. */
int have_descriptors(int num);

/* The file that the named symbol comes from. */
const char *file_of(const char *symbol);

#endif

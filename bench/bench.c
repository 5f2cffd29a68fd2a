/*
 * libivykis: the driver of the benchmark programs.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	bench_PEER -l			list the rows: name group unit n text
 *	bench_PEER -v			say which library this is
 *	bench_PEER [-r rounds] [-n ops] [row ...]
 */

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bench.h"

/* A run that takes longer hangs; this is no measure of anything. */
#define LIMIT_SECONDS	120

void must_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	_exit(1);
}

static double seconds(struct timeval tv)
{
	return tv.tv_sec + tv.tv_usec / 1e6;
}

static double cpu_now(void)
{
	struct rusage ru;

	must(getrusage(RUSAGE_SELF, &ru) == 0);

	return seconds(ru.ru_utime) + seconds(ru.ru_stime);
}

void meter_start(struct meter *m)
{
	m->cpu_began = cpu_now();
	must(clock_gettime(CLOCK_MONOTONIC, &m->began) == 0);
}

void meter_stop(struct meter *m)
{
	struct timespec now;

	must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	m->wall += now.tv_sec - m->began.tv_sec +
		   (now.tv_nsec - m->began.tv_nsec) / 1e9;
	m->cpu += cpu_now() - m->cpu_began;
}

void *shared_page(void)
{
	void *p = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);

	return p;
}

/* As at the start: a thread that pin() narrowed starts others. */
static cpu_set_t allowed;

int have_cpus(int num)
{
	return CPU_COUNT(&allowed) >= num;
}

void pin(int cpu)
{
	cpu_set_t one;
	int i = 0;

	if (cpu < 0)
		return;

	while (!CPU_ISSET(i, &allowed) || cpu-- > 0)
		i++;
	CPU_ZERO(&one);
	CPU_SET(i, &one);
	must(sched_setaffinity(0, sizeof(one), &one) == 0);
}

/* ivykis does this in iv_init(); for a fair comparison all have it. */
static void raise_limit(void)
{
	struct rlimit rl;

	must(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	rl.rlim_cur = rl.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &rl) == 0);
}

int have_descriptors(int num)
{
	struct rlimit rl;

	must(getrlimit(RLIMIT_NOFILE, &rl) == 0);

	return rl.rlim_cur >= (rlim_t)num + 64;
}

const char *file_of(const char *symbol)
{
	void *p = dlsym(RTLD_DEFAULT, symbol);
	Dl_info info;

	return p != NULL && dladdr(p, &info) ? info.dli_fname : "?";
}

static double value_of(const struct row *row, const struct meter *m)
{
	if (!strcmp(row->unit, "lost"))
		return m->lost;
	if (!strcmp(row->unit, "M/s"))
		return m->ops / m->wall / 1e6;

	return m->wall / m->ops * 1e9;
}

static void run_row(const struct peer *peer, const struct row *row, long n)
{
	struct meter *m = shared_page();

	memset(m, 0, sizeof(*m));
	/* Whatever the row before has pinned. */
	must(sched_setaffinity(0, sizeof(allowed), &allowed) == 0);
	alarm(LIMIT_SECONDS);
	row->run(m, n, row->arg);
	alarm(0);

	if (m->none != NULL)
		printf("%s %s none %s\n", row->name, peer->name, m->none);
	else
		printf("%s %s %.6g %s cpu %.6g ns ops %ld wall %.6f s\n",
		       row->name, peer->name, value_of(row, m), row->unit,
		       m->cpu / m->ops * 1e9, m->ops, m->wall);
	fflush(stdout);
	must(munmap(m, sysconf(_SC_PAGESIZE)) == 0);
}

static int is_wanted(const struct row *row, char **names)
{
	if (*names == NULL)
		return 1;
	while (*names != NULL && strcmp(*names, row->name))
		names++;

	return *names != NULL;
}

static void run_rows(const struct peer *peer, char **names, long n)
{
	int i;

	for (i = 0; i < peer->num; i++) {
		const struct row *row = &peer->rows[i];

		if (is_wanted(row, names))
			run_row(peer, row, n > 0 ? n : row->quick);
	}
}

static void list(const struct peer *peer)
{
	int i;

	for (i = 0; i < peer->num; i++) {
		const struct row *row = &peer->rows[i];

		printf("%s %s %s %ld %s\n", row->name, row->group, row->unit,
		       row->quick, row->text);
	}
}

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s [-l | -v] [-r rounds] [-n ops] [row ...]\n",
		program);
	return 2;
}

int bench_main(const struct peer *peer, int argc, char **argv)
{
	long rounds = 1;
	long n = 0;
	int opt;

	while ((opt = getopt(argc, argv, "ln:r:v")) >= 0) {
		if (opt == 'n') {
			n = atol(optarg);
		} else if (opt == 'r') {
			rounds = atol(optarg);
		} else if (opt == 'l') {
			list(peer);
			return 0;
		} else if (opt == 'v') {
			printf("%s %s\n", peer->name, peer->version);
			return 0;
		} else {
			return usage(argv[0]);
		}
	}

	must(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	raise_limit();
	while (rounds-- > 0)
		run_rows(peer, argv + optind, n);

	return 0;
}

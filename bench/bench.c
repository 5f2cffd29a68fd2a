/*
 * libivykis: the driver of the benchmark programs.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	bench_PEER -l			list the rows: name group unit n text
 *	bench_PEER -v			print which library this is
 *	bench_PEER [-r rounds] [-n ops] [row ...]
 */

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "peer.h"

static const struct row *const families[] = {
	rows_burst,
	rows_self,
	rows_life,
	rows_wake,
	rows_pingpong,
	rows_flood,
	rows_million,
	rows_stream,
	rows_lost,
	rows_task,
	rows_memory,
	rows_pairs,
	rows_churn,
	rows_connect,
	rows_echo,
	rows_timer,
};

#define FAMILIES	(sizeof(families) / sizeof(families[0]))

/* A run that takes longer is killed. */
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

double clock_now(clockid_t clock)
{
	struct timespec now;

	must(clock_gettime(clock, &now) == 0);

	return now.tv_sec + now.tv_nsec / 1e9;
}

void meter_start(struct meter *m)
{
	m->cpu_began = cpu_now();
	m->began = clock_now(CLOCK_MONOTONIC);
}

void meter_stop(struct meter *m)
{
	m->wall += clock_now(CLOCK_MONOTONIC) - m->began;
	m->cpu += cpu_now() - m->cpu_began;
}

struct meter *meter_of_child(struct meter *m)
{
	return m + 1;
}

void meter_add_child(struct meter *m)
{
	m->cpu += meter_of_child(m)->cpu;
}

void *zeroed(size_t num, size_t size)
{
	void *p = aligned_alloc(128, (num * size + 127) & -(size_t)128);

	must(p != NULL);

	return memset(p, 0, num * size);
}

void *shared_new(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);

	return p;
}

void shared_free(void *p, size_t size)
{
	must(munmap(p, size) == 0);
}

pthread_t thread_start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, fn, arg) == 0);

	return thread;
}

void thread_join(pthread_t thread)
{
	must(pthread_join(thread, NULL) == 0);
}

void meeting_of(pthread_barrier_t *barrier, int num)
{
	must(pthread_barrier_init(barrier, NULL, num) == 0);
}

void meet(pthread_barrier_t *barrier)
{
	(void)pthread_barrier_wait(barrier);
}

pid_t child_start(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}

	return pid;
}

void child_wait(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The processors at the start: new threads inherit what pin() has set. */
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

/* ivykis does this in iv_init(); to be fair, it is done for all peers. */
static void raise_limit(void)
{
	struct rlimit rl;

	must(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	rl.rlim_cur = rl.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &rl) == 0);
}

int lacks_cpus(struct meter *m, int num)
{
	if (have_cpus(num))
		return 0;
	m->none = "too few processors";

	return 1;
}

int lacks_descriptors(struct meter *m, int num)
{
	struct rlimit rl;

	must(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	if (rl.rlim_cur >= (rlim_t)num + 64)
		return 0;
	m->none = "RLIMIT_NOFILE is too low";

	return 1;
}

int listening(int *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int fd;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	must(fd >= 0);
	must(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	must(listen(fd, SOMAXCONN) == 0);
	must(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
	*port = ntohs(addr.sin_port);

	return fd;
}

int accepted(int fd)
{
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	must(conn >= 0 || errno == EAGAIN);

	return conn;
}

static double value_of(const struct row *row, const struct meter *m)
{
	if (!strcmp(row->unit, "ns"))
		return m->wall / m->ops * 1e9;
	if (strstr(row->unit, "/s") != NULL)
		return m->ops / m->wall;

	return m->count;
}

const char *file_of(const char *symbol)
{
	void *p = dlsym(RTLD_DEFAULT, symbol);
	Dl_info info;

	must(p != NULL && dladdr(p, &info) != 0);

	return info.dli_fname;
}

static void run_row(const struct row *row, long n)
{
	const size_t size = 2 * sizeof(struct meter);
	struct meter *m = shared_new(size);

	/* The row before may have pinned this thread. */
	must(sched_setaffinity(0, sizeof(allowed), &allowed) == 0);
	alarm(LIMIT_SECONDS);
	row->run(m, n > 0 ? n : row->quick, row->arg);
	alarm(0);

	if (m->none != NULL)
		printf("%s %s none %s\n", row->name, PEER, m->none);
	else
		printf("%s %s %.6g %s cpu %.6g ns ops %ld wall %.6f s\n",
		       row->name, PEER, value_of(row, m), row->unit,
		       m->cpu / m->ops * 1e9, m->ops, m->wall);
	(void)fflush(stdout);
	shared_free(m, size);
}

static void list_row(const struct row *row, long n)
{
	(void)n;
	printf("%s %s %s %ld %s\n", row->name, row->group, row->unit,
	       row->quick, row->text);
}

static int is_wanted(const struct row *row, char **names)
{
	if (*names == NULL)
		return 1;
	while (*names != NULL && strcmp(*names, row->name))
		names++;

	return *names != NULL;
}

static void each_row(void (*fn)(const struct row *row, long n), char **names,
		     long n)
{
	const struct row *row;
	size_t i;

	for (i = 0; i < FAMILIES; i++) {
		for (row = families[i]; row != NULL && row->name != NULL;
		     row++) {
			if (is_wanted(row, names))
				fn(row, n);
		}
	}
}

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s [-l | -v] [-r rounds] [-n ops] [row ...]\n",
		program);
	return 2;
}

int main(int argc, char **argv)
{
	void (*fn)(const struct row *row, long n) = run_row;
	long rounds = 1;
	long n = 0;
	int opt;

	while ((opt = getopt(argc, argv, "ln:r:v")) >= 0) {
		if (opt == 'n') {
			n = atol(optarg);
		} else if (opt == 'r') {
			rounds = atol(optarg);
		} else if (opt == 'l') {
			fn = list_row;
		} else if (opt == 'v') {
			peer_describe();
			return 0;
		} else {
			return usage(argv[0]);
		}
	}

	must(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	raise_limit();
	while (rounds-- > 0)
		each_row(fn, argv + optind, n);

	return 0;
}

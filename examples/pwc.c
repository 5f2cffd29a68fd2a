/*
 * pwc: count the lines, words and bytes of files, with a process per file.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: pwc FILE...
 *
 * Whatever happens reaches the loop of the parent by a raw event: worker
 * processes post after each block that they have counted, a thread posts ticks,
 * and the signal handlers post that a child has ended or that the user wants to
 * stop.  The counts are in memory that the workers share with the parent.  They
 * need no lock, as a post makes them visible to the handler.
 *
 *	cc -pthread pwc.c count.c $(pkg-config --cflags --libs ivykis) -o pwc
 *	./pwc *.c
 */

#include <errno.h>
#include <fcntl.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <locale.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "count.h"
#include "posts.h"
#if __has_include(<sys/prctl.h>)
#include <sys/prctl.h>
#endif

#define BLOCK		4096	/* small, as a post costs little */
#define TICK_MS		100

/* The worker stores are relaxed, as the post that follows publishes them. */
struct shared {
	atomic_ulong	lines;
	atomic_ulong	words;
	atomic_ulong	bytes;
	atomic_int	error;		/* errno of read(2) */
	atomic_long	posts;
	atomic_long	writes;		/* -1 if unknown */
};

struct file {
	const char		*name;
	pid_t			pid;		/* 0 if it never had a worker */
	int			running;
	struct iv_event_raw	progress;
	struct counts		seen;
};

static struct file *files;
static struct shared *shared;
static int num_files;
static int next_file;
static int running;
static int failed;

static unsigned long bytes_known;	/* sum of the files' sizes */
static unsigned long bytes_seen;
static unsigned long handler_runs;
static int is_terminal;

static struct iv_event_raw tick;
static struct iv_event_raw child_ended;
static struct iv_event_raw stop;
static volatile sig_atomic_t stop_signal;


/* The worker.  Posts are all that it calls write(2) for. */
static void note_writes(atomic_long *to, long before, long after)
{
	atomic_store_explicit(to, before < 0 || after < 0 ? -1 : after - before,
			      memory_order_relaxed);
}

static void publish(const struct counter *c, struct shared *to,
		    const struct iv_event_raw *progress)
{
	atomic_store_explicit(&to->lines, c->counts.lines,
			      memory_order_relaxed);
	atomic_store_explicit(&to->words, c->counts.words + c->in_word,
			      memory_order_relaxed);
	atomic_store_explicit(&to->bytes, c->counts.bytes,
			      memory_order_relaxed);
	atomic_fetch_add_explicit(&to->posts, 1, memory_order_relaxed);
	iv_event_raw_post(progress);
}

/*
 * SIGTERM replaces the file by /dev/null, so the next read(2) returns 0.  A
 * flag would not do, as the signal may arrive between its check and a read(2)
 * that blocks.
 */
static int input;
static int dev_null;

static void end_input(int sig)
{
	int saved_errno = errno;

	(void)sig;
	(void)dup2(dev_null, input);
	errno = saved_errno;
}

static void work(struct shared *to, const struct iv_event_raw *progress)
{
	static char block[COUNT_MAX_KEPT + BLOCK];
	struct counter c = { .in_word = 0 };
	long before = write_calls("/proc/self/io");
	size_t kept = 0;

	for (;;) {
		ssize_t len = read(input, block + kept, BLOCK);
		size_t used;

		if (len == 0)
			break;
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0) {
			atomic_store_explicit(&to->error, errno,
					      memory_order_relaxed);
			break;
		}
		c.counts.bytes += len;
		used = count_block(&c, block, kept + len);
		kept += len - used;
		memmove(block, block + used, kept);
		publish(&c, to, progress);
	}

	note_writes(&to->writes, before, write_calls("/proc/self/io"));
}

static void worker(struct file *f, int fd, pid_t parent)
{
	struct sigaction sa = { .sa_handler = end_input };
	sigset_t none;

	input = fd;
	dev_null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	/* The main thread of the parent blocks some. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* The work is of no use once the parent is killed. */
#ifdef PR_SET_PDEATHSIG
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
	if (getppid() == parent)
		work(&shared[f - files], &f->progress);
	_exit(0);
}


/*
 * The second thread of the parent posts the ticks.  It handles the signals,
 * too, so that posts are all that it calls write(2) for.
 */
static atomic_long other_posts;
static atomic_long other_writes;
static sem_t ending;

static void post_counted(const struct iv_event_raw *event)
{
	atomic_fetch_add_explicit(&other_posts, 1, memory_order_relaxed);
	iv_event_raw_post(event);
}

static void got_signal(int sig)
{
	if (sig != SIGCHLD)
		stop_signal = sig;
	post_counted(sig == SIGCHLD ? &child_ended : &stop);
}

static void our_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

/* Returns 1 if the parent is about to end, 0 after the time of a tick. */
static int wait_for_end(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TICK_MS * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}

	return sem_timedwait(&ending, &until) == 0;
}

static void *ticker(void *arg)
{
	long before = write_calls("/proc/thread-self/io");
	sigset_t set;

	our_signals(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!wait_for_end())
		post_counted(&tick);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	note_writes(&other_writes, before, write_calls("/proc/thread-self/io"));

	return arg;
}


/* The parent: its output. */
static void show_progress(void)
{
	int percent = bytes_known ? 100 * bytes_seen / bytes_known : 100;
	char bar[41];

	if (percent > 100)
		percent = 100;
	memset(bar, '.', 40);
	memset(bar, '#', percent * 40 / 100);
	bar[40] = '\0';

	if (is_terminal)
		fprintf(stderr, "\r[%s] ", bar);
	fprintf(stderr, "%3d%%  %lu of %lu bytes, %d of %d files%s", percent,
		bytes_seen, bytes_known, next_file - running, num_files,
		is_terminal ? "" : "\n");
}

static void complain(const struct file *f, int err)
{
	fprintf(stderr, "%spwc: %s: %s\n", is_terminal ? "\r\033[K" : "",
		f->name, strerror(err));
	failed = 1;
}

static void print_counts(const struct counts *c, const char *name)
{
	printf("%9lu %9lu %9lu %s\n", c->lines, c->words, c->bytes, name);
}

static void print_totals(void)
{
	struct counts total = { 0 };
	int i;

	for (i = 0; i < num_files; i++) {
		const struct counts *c = &files[i].seen;

		if (files[i].pid == 0)
			continue;
		total.lines += c->lines;
		total.words += c->words;
		total.bytes += c->bytes;
		print_counts(c, files[i].name);
	}
	if (num_files != 1)
		print_counts(&total, "total");
	fflush(stdout);
}

static void print_posts(void)
{
	struct posts sum = {
		.made = atomic_load(&other_posts),
		.writes = atomic_load(&other_writes),
	};
	int i;

	for (i = 0; i < num_files; i++) {
		posts_add(&sum, &(struct posts){
			.made = atomic_load(&shared[i].posts),
			.writes = atomic_load(&shared[i].writes),
		});
	}
	posts_print(stderr, &sum, handler_runs);
}


/* The parent: its handlers. */
static void update_counts(struct file *f)
{
	struct shared *from = &shared[f - files];

	f->seen.lines = atomic_load_explicit(&from->lines,
					     memory_order_relaxed);
	f->seen.words = atomic_load_explicit(&from->words,
					     memory_order_relaxed);
	bytes_seen -= f->seen.bytes;
	f->seen.bytes = atomic_load_explicit(&from->bytes,
					     memory_order_relaxed);
	bytes_seen += f->seen.bytes;
}

static void got_progress(void *_f)
{
	handler_runs++;
	update_counts(_f);
}

static int start_worker(struct file *f, int fd)
{
	pid_t parent = getpid();
	pid_t pid;

	f->progress.cookie = f;
	f->progress.handler = got_progress;
	if (iv_event_raw_register(&f->progress) < 0)
		return -1;

	pid = fork();
	if (pid == 0)
		worker(f, fd, parent);
	if (pid < 0) {
		int err = errno;

		iv_event_raw_unregister(&f->progress);
		errno = err;
		return -1;
	}
	f->pid = pid;
	f->running = 1;
	running++;

	return 0;
}

/* The parent opens the file, so that an error is reported at once. */
static void start_file(struct file *f)
{
	int fd = open(f->name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || start_worker(f, fd) < 0)
		complain(f, errno);
	if (fd >= 0)
		close(fd);
}

static void start_files(void)
{
	static int max_running;

	if (max_running == 0)
		max_running = 2 * sysconf(_SC_NPROCESSORS_ONLN);
	while (!stop_signal && next_file < num_files && running < max_running)
		start_file(&files[next_file++]);
}

static void file_ended(struct file *f, int status)
{
	int err = atomic_load(&shared[f - files].error);

	update_counts(f);
	iv_event_raw_unregister(&f->progress);
	f->running = 0;
	running--;

	if (err)
		complain(f, err);
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "pwc: %s: the worker was killed: %s\n",
			f->name, strsignal(WTERMSIG(status)));
		failed = 1;
	}
}

static void got_child_ended(void *cookie)
{
	int i;

	(void)cookie;
	handler_runs++;
	for (i = 0; i < next_file; i++) {
		struct file *f = &files[i];
		int status;

		if (f->running &&
		    waitpid(f->pid, &status, WNOHANG) == f->pid)
			file_ended(f, status);
	}

	start_files();
	if (running == 0)
		iv_quit();
}

static void got_tick(void *cookie)
{
	static int ticks;

	(void)cookie;
	handler_runs++;
	/* One line per second is enough in a file. */
	if (is_terminal || ++ticks % (1000 / TICK_MS) == 0)
		show_progress();
}

static void got_stop(void *cookie)
{
	int i;

	(void)cookie;
	handler_runs++;
	for (i = 0; i < next_file; i++) {
		if (files[i].running)
			kill(files[i].pid, SIGTERM);
	}
}

static void must_register(struct iv_event_raw *event, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(event);
	event->handler = handler;
	if (iv_event_raw_register(event) < 0) {
		perror("pwc: iv_event_raw_register");
		exit(1);
	}
}

static void prepare_files(char **names)
{
	int i;

	files = calloc(num_files, sizeof(*files));
	shared = mmap(NULL, num_files * sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (files == NULL || shared == MAP_FAILED) {
		perror("pwc");
		exit(1);
	}

	for (i = 0; i < num_files; i++) {
		struct stat st;

		files[i].name = names[i];
		if (stat(names[i], &st) == 0 && S_ISREG(st.st_mode))
			bytes_known += st.st_size;
	}
}

/* Only the second thread will unblock them. */
static void prepare_signals(void)
{
	struct sigaction sa = { .sa_handler = got_signal };

	our_signals(&sa.sa_mask);
	pthread_sigmask(SIG_BLOCK, &sa.sa_mask, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void count_files(void)
{
	pthread_t thread;
	int err;

	must_register(&tick, got_tick);
	must_register(&child_ended, got_child_ended);
	must_register(&stop, got_stop);

	prepare_signals();
	sem_init(&ending, 0, 0);
	err = pthread_create(&thread, NULL, ticker, NULL);
	if (err) {
		fprintf(stderr, "pwc: pthread_create: %s\n", strerror(err));
		exit(1);
	}

	start_files();
	if (running > 0)
		iv_main();

	sem_post(&ending);
	pthread_join(thread, NULL);
	iv_event_raw_unregister(&stop);
	iv_event_raw_unregister(&child_ended);
	iv_event_raw_unregister(&tick);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: pwc FILE...\n");
		return 1;
	}

	setlocale(LC_CTYPE, "");
	is_terminal = isatty(STDERR_FILENO);
	num_files = argc - 1;
	prepare_files(argv + 1);

	iv_init();
	count_files();
	iv_deinit();

	show_progress();
	if (is_terminal)
		fprintf(stderr, "\n");
	print_totals();
	print_posts();

	return stop_signal ? 128 + stop_signal : failed;
}

/*
 * libivykis: iv_popen.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_popen.h>
#include <iv_signal.h>
#include <iv_wait.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static int submit_argv(struct iv_popen_request *r, char *type, char **argv)
{
	/* The private members stay uninitialised, as in old programs. */
	memset(r, 0xa5, sizeof(*r));
	r->file = argv[0];
	r->argv = argv;
	r->type = type;

	return iv_popen_request_submit(r);
}

static int submit(struct iv_popen_request *r, char *type, char *command)
{
	char *argv[] = { "sh", "-c", command, NULL };
	int fd = submit_argv(r, type, argv);

	check(fd >= 0);

	return fd;
}

/* Read to the end of the file, and block if necessary. */
static void check_reads(int fd, const char *want)
{
	char text[1024];
	size_t len = 0;
	ssize_t ret;

	while ((ret = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += ret;
	check_int(ret, 0);
	text[len] = '\0';
	if (strcmp(text, want) != 0)
		fprintf(stderr, "# read \"%s\", not \"%s\"\n", text, want);
	check(strcmp(text, want) == 0);
}

static void write_text(int fd, const char *text)
{
	check_int(write(fd, text, strlen(text)), (long)strlen(text));
}

static void check_no_child(void)
{
	check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
}


static void read_output(void)
{
	struct iv_popen_request r;
	int fd;

	iv_init();
	fd = submit(&r, "r", "echo out; echo err >&2; cat; echo $0");
	check_int(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	check_int(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	/* Standard input is empty, and standard error is discarded. */
	check_reads(fd, "out\nsh\n");
	close(fd);
	iv_main();
	check_no_child();
	iv_popen_request_close(&r);
	iv_main();
	iv_deinit();
}

static void write_input(void)
{
	struct iv_popen_request r;
	char path[] = "/tmp/ivykis.XXXXXX";
	char command[64];
	int file = mkstemp(path);
	int fd;

	check(file >= 0);
	snprintf(command, sizeof(command), "cat >%s; echo lost", path);

	iv_init();
	fd = submit(&r, "w", command);
	check_int(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	write_text(fd, "to the child\n");
	close(fd);
	iv_main();
	check_no_child();
	check_reads(file, "to the child\n");
	close(file);
	unlink(path);
	iv_deinit();
}

struct reader {
	struct iv_popen_request	r;
	struct iv_fd		fd;
	char			text[64];
	size_t			len;
	const char		*want;
};

static void readable(void *_rd)
{
	struct reader *rd = _rd;
	ssize_t ret;

	ret = read(rd->fd.fd, rd->text + rd->len, sizeof(rd->text) - rd->len);
	if (ret < 0)
		check_int(errno, EAGAIN);
	if (ret > 0)
		rd->len += ret;
	if (ret != 0)
		return;

	check_int(rd->len, (long)strlen(rd->want));
	check(!memcmp(rd->text, rd->want, rd->len));
	iv_popen_request_close(&rd->r);
	iv_fd_unregister(&rd->fd);
	close(rd->fd.fd);
	memset(rd, 0xa5, sizeof(*rd));
	free(rd);
}

static void start_reader(char *command, const char *want)
{
	struct reader *rd = malloc(sizeof(*rd));

	IV_FD_INIT(&rd->fd);
	rd->fd.fd = submit(&rd->r, "r", command);
	rd->fd.cookie = rd;
	rd->fd.handler_in = readable;
	iv_fd_register(&rd->fd);
	rd->len = 0;
	rd->want = want;
}

static void several(void)
{
	iv_init();
	start_reader("echo one", "one\n");
	start_reader("sleep 0.05; echo two", "two\n");
	start_reader("echo three; exec >&-; exec sleep 1000", "three\n");
	start_reader("exit 3", "");
	start_reader("(sleep 0.05; kill -CONT $$) & kill -STOP $$; echo four",
		     "four\n");
	iv_main();
	check_no_child();
	iv_deinit();
}

static void closed_at_once(void)
{
	struct iv_popen_request *r = malloc(sizeof(*r));
	int fd;

	iv_init();
	fd = submit(r, "r", "exec sleep 1000");
	iv_popen_request_close(r);
	memset(r, 0xa5, sizeof(*r));
	free(r);
	close(fd);
	iv_main();
	check_no_child();
	iv_deinit();
}

static void close_it(void *_r)
{
	struct iv_popen_request *r = _r;

	iv_popen_request_close(r);
}

static void closed_on_timer(void)
{
	struct iv_popen_request r;
	struct iv_timer timer;
	int fd;

	iv_init();
	fd = submit(&r, "w", "exec sleep 1000");
	IV_TIMER_INIT(&timer);
	timer.expires = iv_now;
	timer.cookie = &r;
	timer.handler = close_it;
	iv_timer_register(&timer);
	iv_main();
	check_no_child();
	close(fd);
	iv_deinit();
}

static void closed_after_death(void)
{
	struct iv_popen_request r;
	siginfo_t info;
	int fd;

	iv_init();
	/* The child is dead, but has not been reaped. */
	fd = submit(&r, "r", "exit 0");
	check_reads(fd, "");
	(void)waitid(P_ALL, 0, &info, WEXITED | WNOWAIT);
	iv_popen_request_close(&r);
	iv_main();
	check_no_child();
	close(fd);

	/* The child has been reaped. */
	fd = submit(&r, "r", "exit 0");
	iv_main();
	check_no_child();
	iv_popen_request_close(&r);
	iv_main();
	close(fd);
	iv_deinit();
}

static void closed_twice(void)
{
	struct iv_popen_request r;
	int fd;

	iv_init();
	fd = submit(&r, "r", "exec sleep 1000");
	iv_popen_request_close(&r);
	iv_popen_request_close(&r);
	iv_main();
	iv_popen_request_close(&r);
	check_no_child();
	close(fd);
	iv_deinit();
}

static void wrong_types(void)
{
	static char *const types[] = { "", "R", "rw", "r+", "re", "wx" };
	char *argv[] = { "true", NULL };
	struct iv_popen_request r;
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		check_errno(submit_argv(&r, types[i], argv), EINVAL);
		iv_popen_request_close(&r);
	}
	iv_main();
	check_no_child();
	iv_deinit();
}

/* With no descriptor left, with one, and so on. */
static void no_descriptors(void)
{
	char *argv[] = { "true", NULL };
	struct iv_popen_request r;
	int former;
	int num;
	int fd;

	iv_init();
	for (num = 0;; num++) {
		int open = num_descriptors();

		former = limit_descriptors(3 + num);
		errno = 0;
		fd = submit_argv(&r, "r", argv);
		if (fd >= 0)
			break;
		check_int(errno, EMFILE);
		iv_popen_request_close(&r);
		limit_descriptors(former);
		check_int(num_descriptors(), open);
		iv_main();
		check_no_child();
	}
	check(num > 0);
	iv_main();
	close(fd);
	check_no_child();
	limit_descriptors(former);
	iv_deinit();
}

static void fork_fails(void)
{
	char *argv[] = { "true", NULL };
	struct iv_popen_request r;

	iv_init();
	refuse("clone", EAGAIN);
	refuse("fork", EAGAIN);
	check_errno(submit_argv(&r, "w", argv), EAGAIN);
	iv_popen_request_close(&r);
	iv_main();
	iv_deinit();
}

/* Discard standard output; returns a descriptor to restore it from. */
static int silence(void)
{
	int null = open("/dev/null", O_WRONLY);
	int out = dup(1);

	fflush(stdout);
	check(out >= 0);
	check_int(dup2(null, 1), 1);
	close(null);

	return out;
}

static void exec_fails(void)
{
	char *argv[] = { "/nonexistent/program", NULL };
	struct iv_popen_request r;
	int out, fd;

	skip_under(TSAN, "flushes streams at an _exit()");
	out = silence();
	/* The buffered text must be written by this process alone. */
	setvbuf(stdout, NULL, _IOFBF, 1024);
	printf("pending text");

	iv_init();
	fd = submit_argv(&r, "r", argv);
	check(fd >= 0);
	check_reads(fd, "");
	close(fd);
	iv_main();
	check_no_child();
	iv_deinit();

	fflush(stdout);
	check_int(dup2(out, 1), 1);
	close(out);
}


/*
 * The child's standard descriptors, with any of the caller's closed.
 */
static void close_standard(int bits)
{
	int fd;

	for (fd = 0; fd < 3; fd++) {
		if (bits & 1 << fd)
			close(fd);
	}
}

/* This runs in a child, as it closes the descriptor for the test's output. */
static void with_closed(int bits, int since_init)
{
	struct iv_popen_request r;
	char text[16] = "";
	char path[] = "/tmp/ivykis.XXXXXX";
	char command[64];
	int file = mkstemp(path);
	int fd, up;

	up = fcntl(file, F_DUPFD_CLOEXEC, 10);
	close(file);
	snprintf(command, sizeof(command), "read a; echo $a >%s; echo lost",
		 path);

	if (since_init)
		iv_init();
	close_standard(bits);
	if (!since_init)
		iv_init();
	fd = submit(&r, "r", "cat; echo out; echo err >&2; test ! -e "
			     "/proc/self/fd/3 || echo 3 is open");
	check_reads(fd, "out\n");
	close(fd);
	iv_main();

	fd = submit(&r, "w", command);
	check_int(write(fd, "in\n", 3), 3);
	close(fd);
	iv_main();
	check_int(read(up, text, sizeof(text)), 3);
	check(!strcmp(text, "in\n"));
	unlink(path);
	iv_deinit();
	_exit(0);
}

static void closed_standard_descriptors(void)
{
	pid_t pid;
	int bits;

	for (bits = 0; bits < 16; bits++) {
		fflush(NULL);
		pid = fork();
		check(pid >= 0);
		if (pid == 0)
			with_closed(bits & 7, bits & 8);
		check_child(pid);
	}
}

/* This runs in a child, too. */
static void check_callers_end(int bits)
{
	struct iv_popen_request r;
	int fd;

	close_standard(bits);
	iv_init();
	fd = submit(&r, "w", "read a");
	check(fd > 2);
	write_text(fd, "in\n");
	close(fd);
	fd = submit(&r, "r", "echo out");
	check(fd > 2);
	check_reads(fd, "out\n");
	close(fd);
	iv_main();
	iv_deinit();
	_exit(0);
}

static void callers_end(void)
{
	pid_t pid;
	int bits;

	for (bits = 1; bits < 8; bits++) {
		fflush(NULL);
		pid = fork();
		check(pid >= 0);
		if (pid == 0)
			check_callers_end(bits);
		check_child(pid);
	}
}

static void standard_descriptors(void)
{
	struct iv_popen_request r;
	int other = open("/dev/zero", O_RDONLY);
	char want[64];
	int fd;

	check(other >= 0);
	iv_init();
	/* The child has the file that the caller left open, and no others. */
	fd = submit(&r, "r", "for i in 0 2; do readlink /proc/$$/fd/$i; done; "
			     "for i in 3 4 5 6 7 8 9; do "
			     "test ! -e /proc/$$/fd/$i || "
			     "readlink /proc/$$/fd/$i; done; "
			     "true >&0 && echo written");
	snprintf(want, sizeof(want),
		 "/dev/null\n/dev/null\n/dev/zero\nwritten\n");
	check_reads(fd, want);
	close(fd);
	close(other);
	iv_main();
	iv_deinit();
}

/*
 * Without /dev/null, as in a chroot, the child reads an end of file, and its
 * writes fail.
 */
static void without_null(int closed)
{
	struct iv_popen_request r;
	int fd;

	hide_devices();
	iv_init();
	close_standard(closed);
	fd = submit(&r, "r", "cat; echo err >&2 || echo refused; echo out");
	check_reads(fd, "refused\nout\n");
	close(fd);
	iv_main();
	check_no_child();
	iv_deinit();
	_exit(0);
}

static void no_null(void)
{
	pid_t pid;
	int bits;

	for (bits = 0; bits < 8; bits++) {
		fflush(NULL);
		pid = fork();
		check(pid >= 0);
		if (pid == 0)
			without_null(bits);
		check_child(pid);
	}
}

static void pipe_is_not_inherited(void)
{
	struct iv_popen_request r[2];
	siginfo_t info;
	int fd[2];

	iv_init();
	fd[0] = submit(&r[0], "w", "exec cat");
	fd[1] = submit(&r[1], "w", "exec cat");
	/* The first child reads the end of its input while the second lives. */
	close(fd[0]);
	check_int(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	close(fd[1]);
	iv_main();
	check_no_child();
	iv_deinit();
}


static void count(void *num)
{
	++*(int *)num;
}

static void quit(void *cookie)
{
	(void)cookie;
	iv_quit();
}

/* A signal to a child is due as soon as its request is closed. */
static void send_first_signal(void)
{
	struct iv_timer timer;

	IV_TIMER_INIT(&timer);
	timer.expires = iv_now;
	timer.handler = quit;
	iv_timer_register(&timer);
	iv_main();
}

/* Long enough to handle the termination of a child that is dead. */
static void run_for_a_moment(void)
{
	struct iv_timer timer;

	IV_TIMER_INIT(&timer);
	timer.handler = quit;
	iv_invalidate_now();
	timer.expires = iv_now;
	timer.expires.tv_nsec += 10 * 1000 * 1000;
	iv_timer_register(&timer);
	iv_main();
}

/* The first program ends while the second one runs. */
static void submitted_again(void)
{
	struct iv_popen_request *r = malloc(sizeof(*r));
	int first, second;

	check(r != NULL);
	iv_init();
	first = submit(r, "w", "exec cat");
	second = submit(r, "w", "exec sleep 1000");
	close(first);
	while (waitid(P_ALL, 0, NULL, WEXITED | WNOWAIT) != 0)
		check_int(errno, EINTR);
	run_for_a_moment();

	/* The first program's end does not affect the second one. */
	iv_popen_request_close(r);
	iv_main();
	check_no_child();
	close(second);

	/* The first program ends after the request was freed. */
	first = submit(r, "w", "exec cat");
	second = submit(r, "w", "exec sleep 1000");
	iv_popen_request_close(r);
	memset(r, 0xa5, sizeof(*r));
	free(r);
	close(first);
	iv_main();
	check_no_child();
	close(second);
	iv_deinit();
}

/*
 * The program handles SIGTERM, as it does to exit in an orderly way.  The child
 * must not inherit the handler, even if the signal is sent immediately.
 */
static void early_close(void)
{
	struct iv_popen_request r;
	struct iv_signal s;
	siginfo_t info;
	int calls = 0;
	int fd;
	int i;

	iv_init();
	memset(&s, 0, sizeof(s));
	s.signum = SIGTERM;
	s.cookie = &calls;
	s.handler = count;
	for (i = 0; i < 100; i++) {
		check_int(iv_signal_register(&s), 0);
		fd = submit(&r, "r", "exec sleep 1000");
		iv_popen_request_close(&r);
		send_first_signal();
		/* It is the only signal, as the loop does not run. */
		check_int(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
		iv_signal_unregister(&s);
		iv_main();
		close(fd);
	}
	check_no_child();
	check_int(calls, 0);
	iv_deinit();
}

static unsigned long long ignored_signals(void)
{
	FILE *fp = fopen("/proc/self/status", "r");
	unsigned long long set = 0;
	char line[256];

	check(fp != NULL);
	while (fgets(line, sizeof(line), fp) != NULL)
		sscanf(line, "SigIgn: %llx", &set);
	fclose(fp);

	return set;
}

static void dispositions(void)
{
	struct iv_popen_request r;
	unsigned long long ignored;
	struct iv_signal s;
	char want[128];
	int calls = 0;
	int fd;

	iv_init();
	signal(SIGWINCH, SIG_IGN);
	signal(SIGALRM, SIG_DFL);
	memset(&s, 0, sizeof(s));
	s.signum = SIGHUP;
	s.cookie = &calls;
	s.handler = count;
	check_int(iv_signal_register(&s), 0);
	/* iv_init() ignores SIGPIPE (13) and SIGURG (23); SIGWINCH is 28. */
	ignored = ignored_signals();
	check_int(ignored & 0x7fffffff, 0x08401000);
	snprintf(want, sizeof(want), "SigBlk:\t%016llx\nSigIgn:\t%016llx\n",
		 0ULL, ignored);
	fd = submit(&r, "r",
		    "grep -e SigBlk -e SigIgn /proc/self/status");
	check_reads(fd, want);
	close(fd);
	iv_signal_unregister(&s);
	iv_main();
	iv_deinit();
}

/* SIGTERM is sent at 0, 5, 10, 15 and 20 s, and SIGKILL at 25 s. */
static void stubborn_child(void)
{
	struct iv_popen_request r;
	char text[64];
	size_t len = 0;
	ssize_t ret;
	long begin;
	int fd;

	iv_init();
	fd = submit(&r, "r", "trap 'echo term' TERM; echo ready; "
			     "while :; do sleep 0.2; done");
	check_int(read(fd, text, 6), 6);
	begin = now_ms();
	iv_popen_request_close(&r);
	iv_main();
	check(now_ms() - begin >= 25000);
	check_no_child();
	while ((ret = read(fd, text + len, sizeof(text) - len)) > 0)
		len += ret;
	close(fd);
	check_int(len, 5 * 5);
	check(!memcmp(text, "term\nterm\nterm\nterm\nterm\n", 25));
	iv_deinit();
}

/*
 * Signals to a child are refused, as if it ran as another user.  The child ends
 * when its input does.
 */
static void close_descriptor(void *fd)
{
	close(*(int *)fd);
}

static void refused_signals(void)
{
	struct iv_popen_request r[2];
	struct iv_timer timer;
	int fd[2];

	iv_init();
	fd[0] = submit(&r[0], "w", "exec cat");
	fd[1] = submit(&r[1], "w", "exec cat");
	refuse("kill", EPERM);
	refuse("pidfd_send_signal", EPERM);
	iv_popen_request_close(&r[0]);
	send_first_signal();
	check_int(waitpid(-1, NULL, WNOHANG), 0);
	close(fd[1]);
	IV_TIMER_INIT(&timer);
	timer.expires = iv_now;
	timer.expires.tv_sec++;
	timer.cookie = &fd[0];
	timer.handler = close_descriptor;
	iv_timer_register(&timer);
	iv_main();
	check_no_child();

	/* Other requests are not delayed by that. */
	fd[0] = submit(&r[0], "w", "exec cat");
	iv_popen_request_close(&r[0]);
	start_reader("echo one", "one\n");
	start_reader("sleep 0.05; echo two", "two\n");
	close(fd[0]);
	iv_main();
	check_no_child();
	iv_deinit();
}

/* Other code in this program waits for all children. */
static atomic_int stop;

static void *wait_for_any(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (waitpid(-1, NULL, 0) < 0)
			usleep(100);
	}

	return arg;
}

static void reaped_by_others(void)
{
	struct iv_popen_request r;
	pthread_t t;
	int fd;
	int i;

	check_int(pthread_create(&t, NULL, wait_for_any, NULL), 0);
	for (i = 0; i < 50; i++) {
		fd = submit(&r, "r", "exec echo");
		check_reads(fd, "\n");
		close(fd);
		if (i % 2)
			iv_popen_request_close(&r);
		iv_main();
		if (!(i % 2))
			iv_popen_request_close(&r);
	}
	atomic_store_explicit(&stop, 1, memory_order_relaxed);
	check_int(pthread_join(t, NULL), 0);
}

static void reaped_by_kernel(void)
{
	struct iv_popen_request r;
	int fd = submit(&r, "w", "exec cat");

	check(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	close(fd);
	iv_main();
	signal(SIGCHLD, SIG_DFL);
}

static void reaped(void)
{
	iv_init();
	reaped_by_others();
	reaped_by_kernel();
	iv_deinit();
}

static void reaped_without_pidfd(void)
{
	refuse("pidfd_open", ENOSYS);
	reaped();
}

static void in_forked_child(void)
{
	struct iv_popen_request r, own;
	int fd, fd2;
	pid_t pid;

	iv_init();
	fd = submit(&r, "w", "exec cat");
	fflush(NULL);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		fd2 = submit(&own, "r", "echo own");
		check_reads(fd2, "own\n");
		iv_popen_request_close(&own);
		iv_popen_request_close(&r);
		iv_main();
		check_no_child();
		_exit(0);
	}
	check_child(pid);
	check_int(waitpid(-1, NULL, WNOHANG), 0);
	check(r.child != NULL);
	close(fd);
	iv_main();
	check_no_child();
	iv_deinit();
}


/* The programs go on, and closing their requests has no effect. */
static void loop_ends_first(void)
{
	struct iv_popen_request r, closed;
	int i, fd, closed_fd;

	iv_init();
	fd = submit(&r, "w", "exec cat");
	closed_fd = submit(&closed, "w", "exec cat");
	iv_popen_request_close(&closed);
	iv_deinit();

	/* The new loop may be in the memory of the old one. */
	iv_init();
	iv_popen_request_close(&r);
	iv_popen_request_close(&r);
	iv_main();
	iv_deinit();
	close(fd);
	close(closed_fd);
	for (i = 0; i < 2; i++) {
		int status;

		check(waitpid(-1, &status, 0) > 0);
		check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	check_no_child();
}

/* The calls are not cancellation points, and the child is not cancelled. */
static void *call_cancelled(void *calls)
{
	struct iv_popen_request r;
	char *argv[] = { "true", NULL };
	int lowest;
	int former;
	int fd;

	iv_init();
	lowest = lowest_descriptor();
	pthread_cancel(pthread_self());
	former = limit_descriptors(lowest + 2);
	check_int(submit_argv(&r, "r", argv), -1);
	limit_descriptors(former);
	fd = submit(&r, "r", "echo out");
	iv_popen_request_close(&r);
	fd = submit(&r, "r", "echo out");
	*(int *)calls = fd;
	pthread_testcancel();

	return NULL;
}

static void pending_cancellation(void)
{
	int fd = -1;
	pthread_t t;
	void *ret;

	check_int(pthread_create(&t, NULL, call_cancelled, &fd), 0);
	check_int(pthread_join(t, &ret), 0);
	check(ret == PTHREAD_CANCELED);
	check(fd >= 0);
	check_reads(fd, "out\n");
	_exit(0);
}


static struct iv_popen_request misused;

static void no_loop(void)
{
	submit(&misused, "r", "true");
}

static void *close_misused(void *arg)
{
	iv_init();
	iv_popen_request_close(&misused);

	return arg;
}

static void wrong_thread(void)
{
	pthread_t t;

	iv_init();
	submit(&misused, "r", "true");
	check_int(pthread_create(&t, NULL, close_misused, NULL), 0);
	check_int(pthread_join(t, NULL), 0);
}

static void mistakes(void)
{
	check_fatal(no_loop, "iv_popen_request_submit");
	check_fatal(wrong_thread, "iv_popen_request_close");
}

static void initialiser(void)
{
	struct iv_popen_request r;
	char *argv[] = { NULL };

	r.file = "file";
	r.argv = argv;
	r.type = "r";
	IV_POPEN_REQUEST_INIT(&r);
	check(!strcmp(r.file, "file") && r.argv == argv && r.type[0] == 'r');
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "the caller reads the child's output", read_output, EACH, 0 },
		{ "the caller writes the child's input", write_input, EACH, 0 },
		{ "several requests are served at the same time",
		  several, EACH_METHOD, 0 },
		{ "closing a request immediately ends the child",
		  closed_at_once, EACH, 0 },
		{ "closing a request in a timer ends the child",
		  closed_on_timer, EACH_METHOD, 0 },
		{ "a request may be closed after the child has died",
		  closed_after_death, EACH_METHOD, 0 },
		{ "closing a request again does nothing",
		  closed_twice, EACH_METHOD, 0 },
		{ "a request may be submitted again while its program runs",
		  submitted_again, EACH_METHOD, 0 },
		{ "a type that is neither r nor w is refused",
		  wrong_types, ONCE, 0 },
		{ "at the descriptor limit submit fails and leaks nothing",
		  no_descriptors, EACH, 0 },
		{ "submit fails if fork fails, and leaks nothing",
		  fork_fails, ONCE, 0 },
		{ "the child of a failed exec prints nothing",
		  exec_fails, ONCE, 0 },
		{ "the child's other standard descriptors are /dev/null",
		  standard_descriptors, ONCE, 0 },
		{ "the caller's standard descriptors may be closed",
		  closed_standard_descriptors, ONCE, 0 },
		{ "without /dev/null a child reads nothing and fails to write",
		  no_null, ONCE, 0 },
		{ "the caller's end is never a standard descriptor",
		  callers_end, ONCE, 0 },
		{ "a child does not inherit another request's pipe",
		  pipe_is_not_inherited, ONCE, 0 },
		{ "a child never swallows the signal of an early close",
		  early_close, ONCE, 0 },
		{ "the child inherits ignored signals, and no handlers",
		  dispositions, ONCE, 0 },
		{ "closing a request sends SIGTERM five times, then SIGKILL",
		  stubborn_child, ONCE, 120 },
		{ "a child that cannot be sent a signal is waited for",
		  refused_signals, EACH_METHOD, 0 },
		{ "the end of a child that other code reaped is noticed",
		  reaped, EACH_METHOD, 0 },
		{ "without pidfd_open(2), reaping by other code is noticed",
		  reaped_without_pidfd, EACH_METHOD, 0 },
		{ "a forked child does not affect the parent's requests",
		  in_forked_child, EACH_METHOD, 0 },
		{ "a loop may end before the programs that it runs",
		  loop_ends_first, EACH_METHOD, 0 },
		{ "the calls are not cancellation points",
		  pending_cancellation, EACH_METHOD, 0 },
		{ "mistakes are fatal", mistakes, ONCE, 0 },
		{ "the initialiser leaves public members alone",
		  initialiser, ONCE, 0 },
	};

	return check_main(cases, argc, argv);
}

/*
 * libivykis: iv_event_raw: posts through an exported descriptor.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define SOME_ERRNO	12345

struct counted {
	struct iv_event_raw	ev;
	int			calls;
};

static void call_and_quit(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	iv_quit();
}

static void count(void *_c)
{
	struct counted *c = _c;

	c->calls++;
}

static void register_counted(struct counted *c)
{
	IV_EVENT_RAW_INIT(&c->ev);
	c->ev.handler = call_and_quit;
	c->ev.cookie = c;
	c->calls = 0;
	check_int(iv_event_raw_register(&c->ev), 0);
}

static void expect_call(struct counted *c)
{
	int calls = c->calls;

	iv_main();
	check_int(c->calls, calls + 1);
}

/* No call is pending, and the next post results in one. */
static void expect_no_pending(struct counted *c)
{
	int calls = c->calls;

	run_iterations(3);
	check_int(c->calls, calls);
	iv_event_raw_post(&c->ev);
	iv_main();
	check_int(c->calls, calls + 1);
}

/* A post through the descriptor and one by the board may be a call each. */
static void expect_one_or_two_calls(struct counted *c)
{
	int calls = c->calls;

	expect_call(c);
	c->ev.handler = count;
	run_iterations(3);
	c->ev.handler = call_and_quit;
	check(c->calls <= calls + 2);
	expect_no_pending(c);
}

static int export(struct counted *c)
{
	int fd;

	errno = SOME_ERRNO;
	fd = iv_event_raw_export(&c->ev);
	check(fd >= 0);
	check_int(errno, SOME_ERRNO);
	check(fd != c->ev.event_wfd && fd != c->ev.event_rfd.fd);

	return fd;
}

static void post_by(int fd)
{
	errno = SOME_ERRNO;
	check_int(iv_event_raw_post_fd(fd), 0);
	check_int(errno, SOME_ERRNO);
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

/* Execute this program, in the role that its arguments name. */
static pid_t execute(const char *role, const char *arg)
{
	pid_t pid;

	need_self_exec();
	pid = fork_checked();
	if (pid == 0) {
		execl("/proc/self/exe", "test", "as", role, arg, (char *)NULL);
		_exit(99);
	}

	return pid;
}

static pid_t execute_fd(const char *role, int fd)
{
	char arg[16];

	snprintf(arg, sizeof(arg), "%d", fd);

	return execute(role, arg);
}


static void posts_by_export(void)
{
	struct counted c;
	int fd, i;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	post_by(fd);
	expect_call(&c);

	for (i = 0; i < 3; i++) {
		post_by(fd);
		iv_event_raw_post(&c.ev);
		post_by(fd);
		expect_one_or_two_calls(&c);
		post_by(fd);
		post_by(fd);
		expect_call(&c);
		expect_no_pending(&c);
		iv_event_raw_post(&c.ev);
		post_by(fd);
		expect_one_or_two_calls(&c);
	}
	close(fd);
	expect_no_pending(&c);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void full_descriptor(void)
{
	struct counted c;
	uint64_t most = UINT64_MAX - 1;
	int fd, i;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	while (write(fd, &most, sizeof(most)) > 0)
		;
	check_int(errno, EAGAIN);
	post_by(fd);
	expect_call(&c);
	expect_no_pending(&c);

	for (i = 0; i < 100000; i++)
		post_by(fd);
	expect_call(&c);
	expect_no_pending(&c);
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void flags(void)
{
	struct counted c;
	int fd;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	check_int(fcntl(fd, F_GETFD), FD_CLOEXEC);
	check(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void export_fails(void)
{
	struct counted c;
	int former;

	iv_init();
	memset(&c, 0, sizeof(c));
	check_errno(iv_event_raw_export(&c.ev), EBADF);
	register_counted(&c);

	former = limit_descriptors(lowest_descriptor());
	check_errno(iv_event_raw_export(&c.ev), EMFILE);
	limit_descriptors(former);

	iv_event_raw_unregister(&c.ev);
	check_errno(iv_event_raw_export(&c.ev), EBADF);
	iv_deinit();
}

static void bad_descriptors(void)
{
	int p[2];

	check_errno(iv_event_raw_post_fd(-1), EBADF);
	check_int(pipe(p), 0);
	check_errno(iv_event_raw_post_fd(p[0]), EBADF);
	close(p[0]);
	close(p[1]);
	check_errno(iv_event_raw_post_fd(p[0]), EBADF);
	check_errno(iv_event_raw_post_fd(p[1]), EBADF);
}

static void outlives_registration(void)
{
	struct counted c;
	int fd;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	iv_event_raw_unregister(&c.ev);
	if (variant_is_pipe())
		check_errno(iv_event_raw_post_fd(fd), EPIPE);
	else
		post_by(fd);

	/* An object that gets the same numbers receives nothing. */
	register_counted(&c);
	if (variant_is_pipe())
		check_errno(iv_event_raw_post_fd(fd), EPIPE);
	else
		post_by(fd);
	expect_no_pending(&c);
	iv_event_raw_unregister(&c.ev);
	close(fd);
	iv_deinit();
}


static int signal_fd;

static void post_from_signal(int sig)
{
	(void)sig;
	post_by(signal_fd);
}

static void *post_in_thread(void *fd)
{
	check_int(iv_inited(), 0);
	post_by(*(int *)fd);

	return NULL;
}

static void signals_threads_children(void)
{
	struct counted c;
	pthread_t t;
	pid_t pid;
	int fd;

	iv_init();
	register_counted(&c);
	fd = signal_fd = export(&c);
	signal(SIGUSR1, post_from_signal);
	raise(SIGUSR1);
	expect_call(&c);

	check_int(pthread_create(&t, NULL, post_in_thread, &fd), 0);
	expect_call(&c);
	check_int(pthread_join(t, NULL), 0);

	pid = fork_checked();
	if (pid == 0) {
		iv_deinit();
		post_by(fd);
		_exit(0);
	}
	expect_call(&c);
	check_child(pid);
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}


/* The role "poster": post through the descriptor with the given number. */
static int as_poster(const char *arg)
{
	int fd = atoi(arg);
	int i;

	for (i = 0; i < 1000; i++) {
		if (iv_event_raw_post_fd(fd) < 0)
			return errno;
	}

	return iv_inited();
}

static void kept_by_exec(void)
{
	struct counted c;
	pid_t pid;
	int fd;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	check_int(fcntl(fd, F_SETFD, 0), 0);
	pid = execute_fd("poster", fd);
	expect_call(&c);
	check_child(pid);
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void closed_by_exec(void)
{
	struct counted c;
	int fd, status;
	pid_t pid;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	pid = execute_fd("poster", fd);
	check_int(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status));
	check_int(WEXITSTATUS(status), EBADF);
	expect_no_pending(&c);
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}


union control {
	struct cmsghdr	header;
	char		room[CMSG_SPACE(sizeof(int))];
};

static void prepare_message(struct msghdr *msg, struct iovec *iov,
			    union control *control)
{
	static char byte;

	iov->iov_base = &byte;
	iov->iov_len = 1;
	memset(msg, 0, sizeof(*msg));
	memset(control, 0, sizeof(*control));
	msg->msg_iov = iov;
	msg->msg_iovlen = 1;
	msg->msg_control = control;
	msg->msg_controllen = sizeof(*control);
}

static void send_fd(int sock, int fd)
{
	union control control;
	struct msghdr msg;
	struct iovec iov;

	prepare_message(&msg, &iov, &control);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	check_int(sendmsg(sock, &msg, 0), 1);
}

static int receive_fd(int sock)
{
	union control control;
	struct msghdr msg;
	struct iovec iov;
	int fd;

	prepare_message(&msg, &iov, &control);
	check_int(recvmsg(sock, &msg, 0), 1);
	check(CMSG_FIRSTHDR(&msg) != NULL);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	check_int(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);

	return fd;
}

/* The role "receiver": get the descriptor from a socket, post for each byte. */
static int as_receiver(const char *arg)
{
	int sock = atoi(arg);
	int fd = receive_fd(sock);
	char byte;

	while (read(sock, &byte, 1) == 1) {
		if (iv_event_raw_post_fd(fd) < 0)
			return errno;
	}

	return iv_inited();
}

static void sent_to_unrelated(void)
{
	struct counted c;
	int sock[2], fd, i;
	pid_t pid;

	iv_init();
	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	check_int(fcntl(sock[0], F_SETFD, FD_CLOEXEC), 0);
	pid = execute_fd("receiver", sock[1]);
	close(sock[1]);

	register_counted(&c);
	fd = export(&c);
	send_fd(sock[0], fd);
	close(fd);
	for (i = 0; i < 100; i++) {
		check_int(write(sock[0], "", 1), 1);
		expect_call(&c);
	}
	close(sock[0]);
	check_child(pid);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}


/* The owner sends its exported descriptor and is killed. */
static int export_of_dead_owner(void)
{
	int sock[2], fd;
	pid_t pid;

	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork_checked();
	if (pid == 0) {
		struct counted c;

		iv_init();
		register_counted(&c);
		send_fd(sock[0], export(&c));
		iv_main();
		_exit(1);
	}
	fd = receive_fd(sock[1]);
	post_by(fd);
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, NULL, 0), pid);
	close(sock[0]);
	close(sock[1]);

	return fd;
}

static void post_to_dead(int fd)
{
	if (variant_is_pipe())
		check_errno(iv_event_raw_post_fd(fd), EPIPE);
	else
		post_by(fd);
}

static int sigpipe_is_pending(void)
{
	sigset_t set;

	check_int(sigpending(&set), 0);

	return sigismember(&set, SIGPIPE);
}

static int sigpipe_is_blocked(void)
{
	sigset_t set;

	check_int(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);

	return sigismember(&set, SIGPIPE);
}

static void block_sigpipe(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	check_int(pthread_sigmask(how, &set, NULL), 0);
}

static int sigpipes;

static void count_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static void owner_dies(void)
{
	int fd = export_of_dead_owner();
	int i;

	/* The default disposition would end this process. */
	signal(SIGPIPE, SIG_DFL);
	for (i = 0; i < 20000; i++)
		post_to_dead(fd);
	check_int(sigpipe_is_blocked(), 0);

	signal(SIGPIPE, count_sigpipe);
	post_to_dead(fd);
	check_int(sigpipes, 0);

	signal(SIGPIPE, SIG_IGN);
	post_to_dead(fd);

	block_sigpipe(SIG_BLOCK);
	post_to_dead(fd);
	check_int(sigpipe_is_pending(), 0);
	check_int(sigpipe_is_blocked(), 1);
	close(fd);
}

/* A SIGPIPE that is pending already stays so, and is delivered once. */
static void with_pending_sigpipe(int fd)
{
	check_int(sigpipe_is_pending(), 1);
	post_to_dead(fd);
	post_to_dead(fd);
	check_int(sigpipe_is_pending(), 1);
	check_int(sigpipes, 0);

	block_sigpipe(SIG_UNBLOCK);
	check_int(sigpipes, 1);
	block_sigpipe(SIG_BLOCK);
	check_int(sigpipe_is_pending(), 0);
	sigpipes = 0;
}

static void sigpipe_pending_for_thread(void)
{
	int fd = export_of_dead_owner();

	signal(SIGPIPE, count_sigpipe);
	block_sigpipe(SIG_BLOCK);
	check_int(pthread_kill(pthread_self(), SIGPIPE), 0);
	with_pending_sigpipe(fd);
	close(fd);
}

static void sigpipe_pending_for_process(void)
{
	int fd = export_of_dead_owner();

	signal(SIGPIPE, count_sigpipe);
	block_sigpipe(SIG_BLOCK);
	check_int(kill(getpid(), SIGPIPE), 0);
	with_pending_sigpipe(fd);
	close(fd);
}

static void killed_posters(void)
{
	struct counted c;
	int fd, i;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	for (i = 0; i < 200; i++) {
		pid_t pid = fork_checked();

		while (pid == 0)
			iv_event_raw_post_fd(fd);
		expect_call(&c);
		usleep(i);
		check_int(kill(pid, SIGKILL), 0);
		check_int(waitpid(pid, NULL, 0), pid);
		iv_event_raw_post(&c.ev);
		expect_call(&c);
	}
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

/*
 * A child writes to the memory that it shares with the owner.  That may post,
 * or suppress posts while it goes on; but posts through an exported descriptor
 * are always served, and afterwards all others are, too.
 */
static atomic_ulong *word_of(struct counted *c)
{
	check(c->ev.event_rfd.pad[10] != NULL);

	return c->ev.event_rfd.pad[10];
}

static void write_in_child(struct counted *c, unsigned long value)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		atomic_store(word_of(c), value);
		_exit(0);
	}
	check_child(pid);
}

static void expect_recovery(struct counted *c, int fd)
{
	post_by(fd);
	expect_call(c);
	expect_no_pending(c);
	iv_event_raw_post(&c->ev);
	expect_call(c);
	expect_no_pending(c);
}

static void write_and_post(struct counted *c, int fd, unsigned long value)
{
	write_in_child(c, value);
	iv_event_raw_post(&c->ev);
	expect_call(c);
	expect_no_pending(c);
	expect_recovery(c, fd);
}

static void any_word(void)
{
	struct counted c;
	unsigned int i;
	int fd;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	for (i = 0; i < 8 * sizeof(long); i++) {
		write_and_post(&c, fd, 1UL << i);
		write_and_post(&c, fd, ~(1UL << i));
		write_and_post(&c, fd, ~0UL << i);
		write_and_post(&c, fd, ~(~0UL << i));
	}
	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

/* A different value each time, as fast as possible. */
static void write_for_ever(atomic_ulong *word)
{
	unsigned long value = 1;

	for (;;) {
		value = value * 1103515245 + 12345;
		atomic_store(word, value >> 8);
	}
}

static void word_that_keeps_changing(void)
{
	struct counted c;
	pid_t pid;
	int i, fd;

	iv_init();
	register_counted(&c);
	fd = export(&c);
	pid = fork_checked();
	if (pid == 0)
		write_for_ever(word_of(&c));

	for (i = 0; i < 1000; i++) {
		iv_event_raw_post(&c.ev);
		post_by(fd);
		iv_main();
	}
	check(c.calls >= 1000);
	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, NULL, 0), pid);
	/* The child may have posted last. */
	iv_event_raw_post(&c.ev);
	expect_call(&c);
	expect_recovery(&c, fd);

	close(fd);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "posts through an exported descriptor are coalesced with others",
	  posts_by_export, EACH, 0 },
	{ "a post to a full descriptor succeeds and keeps errno",
	  full_descriptor, EACH, 0 },
	{ "an exported descriptor is close-on-exec and non-blocking",
	  flags, EACH_BACKEND, 0 },
	{ "export gives EBADF if not registered, EMFILE at the limit",
	  export_fails, EACH_BACKEND, 0 },
	{ "a post to a descriptor that is not open for writing gives EBADF",
	  bad_descriptors, ONCE, 0 },
	{ "a post through a descriptor does nothing after unregistering",
	  outlives_registration, EACH, 0 },
	{ "signal handlers, threads and children post through a descriptor",
	  signals_threads_children, EACH, 0 },
	{ "an exported descriptor without close-on-exec works after exec",
	  kept_by_exec, EACH, 0 },
	{ "an exported descriptor is closed by exec otherwise",
	  closed_by_exec, EACH, 0 },
	{ "an unrelated process gets a descriptor through a socket and posts",
	  sent_to_unrelated, EACH, 0 },
	{ "a post to an owner that died raises no SIGPIPE and does not block",
	  owner_dies, EACH_BACKEND, 0 },
	{ "a SIGPIPE that is pending for the thread stays pending",
	  sigpipe_pending_for_thread, EACH_BACKEND, 0 },
	{ "a SIGPIPE that is pending for the process stays pending",
	  sigpipe_pending_for_process, EACH_BACKEND, 0 },
	{ "later posts are served after posters are killed at random",
	  killed_posters, EACH, 0 },
	{ "later posts are served whatever a child has written to a board",
	  any_word, EACH_BACKEND, 0 },
	{ "posts through a descriptor are served while a child overwrites a board",
	  word_that_keeps_changing, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "as"))
		return !strcmp(argv[2], "poster") ? as_poster(argv[3]) :
						    as_receiver(argv[3]);

	return check_main(cases, argc, argv);
}

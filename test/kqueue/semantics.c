/*
 * libivykis: kqueue(2), compared with its manual page.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each case tests a statement that the library relies on.  It is made by
 * FreeBSD's kqueue(2), or by a public report that a comment names.  What is
 * tested is test/kqueue, or the kqueue of the system that the tests run on.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "../check.h"

#define MOST	16

static const struct timespec at_once;

static int kq;
static struct kevent got[MOST];

/* The result of one change: 0, or an errno. */
static int change(int ident, int filter, int flags)
{
	struct kevent kev;

	EV_SET(&kev, ident, filter, flags, 0, 0, 0);

	return kevent(kq, &kev, 1, NULL, 0, NULL) < 0 ? errno : 0;
}

static int num_events(void)
{
	return kevent(kq, NULL, 0, got, MOST, &at_once);
}

/* There is one event, and it is of this descriptor and filter. */
static struct kevent *only(int ident, int filter)
{
	check_int(num_events(), 1);
	check_int(got[0].ident, ident);
	check_int(got[0].filter, filter);
	check_int(got[0].flags & EV_ERROR, 0);

	return &got[0];
}

static int a, b;

static void open_pipe(void)
{
	int fd[2];

	check_int(pipe(fd), 0);
	a = fd[0];
	b = fd[1];
	kq = kqueue();
	check(kq >= 0);
}

static void open_pair(void)
{
	int fd[2];

	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	a = fd[0];
	b = fd[1];
	kq = kqueue();
	check(kq >= 0);
}

static void end(void)
{
	close(a);
	close(b);
	close(kq);
}

static void put(int fd, const char *text)
{
	check_int(write(fd, text, strlen(text)), strlen(text));
}

static void take(int fd, int num)
{
	char buf[64];

	check_int(read(fd, buf, num), num);
}

static void is_level(void)
{
	open_pipe();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	check_int(num_events(), 0);
	put(b, "12");
	put(b, "345");
	check_int(only(a, EVFILT_READ)->data, 5);
	check_int(only(a, EVFILT_READ)->data, 5);
	take(a, 4);
	check_int(only(a, EVFILT_READ)->data, 1);
	take(a, 1);
	check_int(num_events(), 0);
	end();
}

static void finds_what_was_there(void)
{
	struct kevent kev;

	open_pipe();
	put(b, "1");
	EV_SET(&kev, a, EVFILT_READ, EV_ADD, 0, 0, 0);
	check_int(kevent(kq, &kev, 1, got, MOST, NULL), 1);
	check_int(got[0].ident, a);
	check_int(got[0].flags & EV_ERROR, 0);
	end();
}

static void same_array(void)
{
	struct kevent kev[2];

	open_pair();
	put(b, "1");
	EV_SET(&kev[0], a, EVFILT_READ, EV_ADD, 0, 0, 0);
	EV_SET(&kev[1], a, EVFILT_WRITE, EV_ADD, 0, 0, 0);
	check_int(kevent(kq, kev, 2, kev, 2, &at_once), 2);
	check_int(kev[0].ident, a);
	check_int(kev[1].ident, a);
	check_int(kev[0].filter + kev[1].filter, EVFILT_READ + EVFILT_WRITE);
	end();
}

static void one_for_each_pair(void)
{
	static int first, second;
	struct kevent kev;

	open_pair();
	put(b, "1");
	EV_SET(&kev, a, EVFILT_READ, EV_ADD, 0, 0, &first);
	check_int(kevent(kq, &kev, 1, NULL, 0, NULL), 0);
	check((intptr_t)only(a, EVFILT_READ)->udata == (intptr_t)&first);
	EV_SET(&kev, a, EVFILT_READ, EV_ADD, 0, 0, &second);
	check_int(kevent(kq, &kev, 1, NULL, 0, NULL), 0);
	check((intptr_t)only(a, EVFILT_READ)->udata == (intptr_t)&second);
	check_int(change(a, EVFILT_WRITE, EV_ADD), 0);
	check_int(num_events(), 2);
	check_int(change(a, EVFILT_READ, EV_DELETE), 0);
	check(only(a, EVFILT_WRITE)->data > 0);
	end();
}

static void no_room_to_write(void)
{
	static const char block[4096];

	open_pair();
	check_int(fcntl(a, F_SETFL, O_NONBLOCK), 0);
	check_int(change(a, EVFILT_WRITE, EV_ADD), 0);
	(void)only(a, EVFILT_WRITE);
	while (write(a, block, sizeof(block)) > 0)
		;
	check_int(num_events(), 0);
	end();
}

static void can_be_disabled(void)
{
	open_pipe();
	put(b, "1");
	check_int(change(a, EVFILT_READ, EV_ADD | EV_DISABLE), 0);
	check_int(num_events(), 0);
	check_int(change(a, EVFILT_READ, EV_ENABLE), 0);
	(void)only(a, EVFILT_READ);
	check_int(change(a, EVFILT_READ, EV_DISABLE), 0);
	check_int(num_events(), 0);
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	(void)only(a, EVFILT_READ);
	check_int(change(a, EVFILT_READ, EV_DELETE), 0);
	check_int(num_events(), 0);
	end();
}

static void once_or_edge(void)
{
	open_pipe();
	put(b, "1");
	check_int(change(a, EVFILT_READ, EV_ADD | EV_ONESHOT), 0);
	(void)only(a, EVFILT_READ);
	check_int(num_events(), 0);
	check_int(change(a, EVFILT_READ, EV_DELETE), ENOENT);

	check_int(change(a, EVFILT_READ, EV_ADD | EV_DISPATCH), 0);
	(void)only(a, EVFILT_READ);
	check_int(num_events(), 0);
	check_int(change(a, EVFILT_READ, EV_ENABLE), 0);
	(void)only(a, EVFILT_READ);
	check_int(change(a, EVFILT_READ, EV_DELETE), 0);

	check_int(change(a, EVFILT_READ, EV_ADD | EV_CLEAR), 0);
	(void)only(a, EVFILT_READ);
	check_int(num_events(), 0);
	put(b, "2");
	check_int(only(a, EVFILT_READ)->data, 2);
	check_int(num_events(), 0);
	end();
}

static void end_of_a_pipe(void)
{
	open_pipe();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	put(b, "12");
	check_int(only(a, EVFILT_READ)->flags & EV_EOF, 0);
	close(b);
	check_int(only(a, EVFILT_READ)->flags & EV_EOF, EV_EOF);
	check_int(got[0].data, 2);
	take(a, 2);
	check_int(only(a, EVFILT_READ)->flags & EV_EOF, EV_EOF);
	check_int(got[0].data, 0);
	b = -1;
	end();

	open_pipe();
	check_int(change(b, EVFILT_WRITE, EV_ADD), 0);
	check_int(only(b, EVFILT_WRITE)->flags & EV_EOF, 0);
	close(a);
	check_int(only(b, EVFILT_WRITE)->flags & EV_EOF, EV_EOF);
	a = -1;
	end();
}

/* github.com/buytenh/ivykis, issue 26: this ended programs on FreeBSD. */
static void pipe_without_reader(void)
{
	open_pipe();
	close(a);
	check_int(change(b, EVFILT_WRITE, EV_ADD), EPIPE);
	a = -1;
	end();
}

static void end_of_a_fifo(void)
{
	char dir[] = "/tmp/kqueue.XXXXXX";
	char path[64];

	check(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	check_int(mkfifo(path, 0600), 0);
	kq = kqueue();
	a = open(path, O_RDONLY | O_NONBLOCK);
	b = open(path, O_WRONLY);
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	check_int(num_events(), 0);
	close(b);
	check_int(only(a, EVFILT_READ)->flags & EV_EOF, EV_EOF);
	b = open(path, O_WRONLY);
	check_int(num_events(), 0);
	put(b, "1");
	check_int(only(a, EVFILT_READ)->flags & EV_EOF, 0);
	check_int(unlink(path), 0);
	check_int(rmdir(dir), 0);
	end();
}

static void end_of_a_socket(void)
{
	open_pair();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	put(b, "12");
	check_int(shutdown(b, SHUT_WR), 0);
	check_int(only(a, EVFILT_READ)->flags & EV_EOF, EV_EOF);
	check_int(got[0].data, 2);
	end();
}

/* libuv's issue 3277: EV_EOF for writing, without POLLHUP. */
static void own_shutdown(void)
{
	struct pollfd pfd;

	open_pair();
	check_int(change(a, EVFILT_WRITE, EV_ADD), 0);
	check_int(only(a, EVFILT_WRITE)->flags & EV_EOF, 0);
	check_int(shutdown(a, SHUT_WR), 0);
	check_int(only(a, EVFILT_WRITE)->flags & EV_EOF, EV_EOF);
	pfd = (struct pollfd){ .fd = a };
	check_int(poll(&pfd, 1, 0), 0);
	end();
}

static void connection_to_accept(void)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	socklen_t len = sizeof(sin);

	kq = kqueue();
	a = socket(AF_INET, SOCK_STREAM, 0);
	b = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(a, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		skip("no loopback interface");
	check_int(listen(a, 5), 0);
	check_int(getsockname(a, (struct sockaddr *)&sin, &len), 0);
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	check_int(num_events(), 0);
	check_int(connect(b, (struct sockaddr *)&sin, sizeof(sin)), 0);
	check(only(a, EVFILT_READ)->data >= 1);
	end();
}

static void mistakes(void)
{
	open_pair();
	check_int(change(a, EVFILT_READ, EV_DELETE), ENOENT);
	check_int(change(a, EVFILT_READ, EV_ENABLE), ENOENT);
	check_int(change(a, EVFILT_READ, EV_DISABLE), ENOENT);
	check_int(change(987, EVFILT_READ, EV_ADD), EBADF);
	check_int(change(987, EVFILT_READ, EV_DELETE), EBADF);
	check_int(change(a, 4711, EV_ADD), EINVAL);
	check_errno(kevent(987, NULL, 0, got, MOST, &at_once), EBADF);
	check_errno(kevent(a, NULL, 0, got, MOST, &at_once), EBADF);
	end();
}

static void failed_changes_are_events(void)
{
	struct kevent kev[3];

	open_pair();
	EV_SET(&kev[0], 987, EVFILT_READ, EV_ADD, 0, 0, 0);
	EV_SET(&kev[1], a, EVFILT_WRITE, EV_ADD, 0, 0, 0);
	EV_SET(&kev[2], a, EVFILT_READ, EV_DELETE, 0, 0, 0);
	check_int(kevent(kq, kev, 3, got, MOST, NULL), 2);
	check(got[0].flags & EV_ERROR);
	check_int(got[0].ident, 987);
	check_int(got[0].filter, EVFILT_READ);
	check_int(got[0].data, EBADF);
	check(got[1].flags & EV_ERROR);
	check_int(got[1].ident, a);
	check_int(got[1].data, ENOENT);
	/* The change between them was made. */
	(void)only(a, EVFILT_WRITE);

	check_errno(kevent(kq, kev, 3, NULL, 0, NULL), EBADF);
	check_errno(kevent(kq, kev, 3, got, 0, NULL), EBADF);
	check_errno(kevent(kq, &kev[2], 1, NULL, 0, NULL), ENOENT);
	end();
}

static long wait_us(const struct timespec *timeout)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	check_int(kevent(kq, NULL, 0, got, MOST, timeout), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);

	return (now.tv_sec - begin.tv_sec) * 1000000 +
	       (now.tv_nsec - begin.tv_nsec) / 1000;
}

static void waits_as_long(void)
{
	static const struct timespec ts[] = {
		{ 0, 0 }, { 0, 1 }, { 0, 1500000 }, { 0, 20000000 },
	};
	static const struct timespec hour = { .tv_sec = 3600 };
	size_t i;

	open_pipe();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	for (i = 0; i < sizeof(ts) / sizeof(ts[0]); i++)
		check(wait_us(&ts[i]) >= ts[i].tv_nsec / 1000);
	/* Without room for events there is no wait. */
	check_int(kevent(kq, NULL, 0, got, 0, &hour), 0);
	check_int(kevent(kq, NULL, 0, NULL, 0, NULL), 0);
	end();
}

/* macOS rejects more than 100,000,000 seconds: swift-nio's issue 1642. */
static void odd_times(void)
{
	static const struct timespec odd[] = {
		{ 0, -1 }, { 0, 1000000000 }, { -1, 0 }, { 100000001, 0 },
	};
	size_t i;

	open_pipe();
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		check_errno(kevent(kq, NULL, 0, got, MOST, &odd[i]), EINVAL);
	end();
}

static void *put_later(void *unused)
{
	usleep(20000);
	put(b, "1");

	return unused;
}

static void waits_for_ever(void)
{
	pthread_t thread;

	open_pipe();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	check_int(pthread_create(&thread, NULL, put_later, NULL), 0);
	check_int(kevent(kq, NULL, 0, got, MOST, NULL), 1);
	check_int(got[0].ident, a);
	check_int(pthread_join(thread, NULL), 0);
	end();
}

static void alarmed(int sig)
{
	(void)sig;
}

static void interrupted(void)
{
	const struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
	const struct sigaction act = { .sa_handler = alarmed };
	struct kevent kev;

	open_pipe();
	check_int(sigaction(SIGALRM, &act, NULL), 0);
	check_int(setitimer(ITIMER_REAL, &soon, NULL), 0);
	EV_SET(&kev, a, EVFILT_READ, EV_ADD, 0, 0, 0);
	check_errno(kevent(kq, &kev, 1, got, MOST, NULL), EINTR);
	put(b, "1");
	(void)only(a, EVFILT_READ);
	end();
}

static void closing_deletes(void)
{
	int number, duplicate;

	open_pipe();
	number = a;
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	put(b, "1");
	duplicate = dup(a);
	close(a);
	check_int(num_events(), 0);
	check_int(change(number, EVFILT_READ, EV_DELETE), EBADF);

	check_int(dup2(duplicate, number), number);
	check_int(num_events(), 0);
	check_int(change(number, EVFILT_READ, EV_DELETE), ENOENT);
	check_int(change(number, EVFILT_READ, EV_ADD), 0);
	(void)only(number, EVFILT_READ);

	/* A descriptor that gets the number replaces it. */
	check_int(dup2(duplicate, number), number);
	check_int(num_events(), 0);
	check_int(change(number, EVFILT_READ, EV_ENABLE), ENOENT);
	check_int(dup2(number, number), number);
	close(duplicate);
	end();
}

static void child_has_none(void)
{
	check_errno(kevent(kq, NULL, 0, got, MOST, &at_once), EBADF);
	check_errno(fcntl(kq, F_GETFD), EBADF);
	/* What the child does has no effect on the parent's queue. */
	close(a);
	kq = kqueue();
	check(kq >= 0);
	check_int(change(b, EVFILT_WRITE, EV_ADD), 0);
	(void)only(b, EVFILT_WRITE);
	_exit(0);
}

static void not_inherited(void)
{
	pid_t pid;

	open_pipe();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	put(b, "1");
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		child_has_none();
	check_child(pid);
	(void)only(a, EVFILT_READ);
	end();
}

static void kinds_of_files(void)
{
	int null = open("/dev/null", O_RDWR);
	char path[] = "/tmp/kqueue.XXXXXX";
	int file = mkstemp(path);

	open_pipe();
	check_int(unlink(path), 0);
	check_int(change(file, EVFILT_READ, EV_ADD), 0);
	check_int(change(file, EVFILT_WRITE, EV_ADD), EINVAL);
	/* As on macOS: libuv's issue 622. */
	check_int(change(null, EVFILT_READ, EV_ADD), EINVAL);
	close(file);
	close(null);
	end();
}

static void is_a_descriptor(void)
{
	struct pollfd pfd;
	int duplicate;

	open_pipe();
	check_int(change(a, EVFILT_READ, EV_ADD), 0);
	pfd = (struct pollfd){ .fd = kq, .events = POLLIN };
	check_int(poll(&pfd, 1, 0), 0);
	put(b, "1");
	check_int(poll(&pfd, 1, 0), 1);

	duplicate = fcntl(kq, F_DUPFD, 50);
	check(duplicate >= 50);
	close(kq);
	kq = duplicate;
	(void)only(a, EVFILT_READ);
	end();
}

static const struct check_case cases[] = {
	{ "events are level-triggered, and report the number of bytes",
	  is_level, ONCE, 0 },
	{ "adding a filter finds a condition that is true already",
	  finds_what_was_there, ONCE, 0 },
	{ "changes and events may be in the same array",
	  same_array, ONCE, 0 },
	{ "each filter of a descriptor is one event, with the last udata",
	  one_for_each_pair, ONCE, 0 },
	{ "without room to write there is no event",
	  no_room_to_write, ONCE, 0 },
	{ "EV_DISABLE, EV_ENABLE, EV_ADD and EV_DELETE",
	  can_be_disabled, ONCE, 0 },
	{ "EV_ONESHOT, EV_DISPATCH and EV_CLEAR",
	  once_or_edge, ONCE, 0 },
	{ "EV_EOF of a pipe, with data left and without a reader",
	  end_of_a_pipe, ONCE, 0 },
	{ "a pipe without a reader cannot be watched for room",
	  pipe_without_reader, ONCE, 0 },
	{ "EV_EOF of a FIFO disappears when there is a writer again",
	  end_of_a_fifo, ONCE, 0 },
	{ "EV_EOF of a socket, with data left",
	  end_of_a_socket, ONCE, 0 },
	{ "shutdown(2) of a socket's sending side is EV_EOF for writing",
	  own_shutdown, ONCE, 0 },
	{ "a connection to a listening socket is an event for reading",
	  connection_to_accept, ONCE, 0 },
	{ "each mistake fails with its errno",
	  mistakes, ONCE, 0 },
	{ "a failed change is an event, or fails the call if there is no room",
	  failed_changes_are_events, ONCE, 0 },
	{ "a wait is not too short, and there is none without room for events",
	  waits_as_long, ONCE, 0 },
	{ "invalid timeouts are rejected",
	  odd_times, ONCE, 0 },
	{ "without a timeout kevent(2) waits until there is an event",
	  waits_for_ever, ONCE, 0 },
	{ "a signal interrupts the wait after the changes were made",
	  interrupted, ONCE, 0 },
	{ "closing or replacing a descriptor deletes its filters",
	  closing_deletes, ONCE, 0 },
	{ "a child does not inherit the queue",
	  not_inherited, ONCE, 0 },
	{ "files can be watched for reading only, /dev/null not at all",
	  kinds_of_files, ONCE, 0 },
	{ "a queue can be polled, and duplicated",
	  is_a_descriptor, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

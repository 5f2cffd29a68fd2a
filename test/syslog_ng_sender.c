/*
 * libivykis: sends numbered messages to syslog-ng, until SIGTERM.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	syslog_ng_sender NAME NUM tcp PORT
 *	syslog_ng_sender NAME NUM stream|dgram PATH
 *
 * Sends NUM messages per connection, one connection after the other; 0: all in
 * one.  Messages that were acknowledged are written to standard output as they
 * should appear in the log.  A connection is acknowledged as a whole: the
 * receiver closes it after it has read the end of file.  If it had left
 * something unread, that would be a reset.  A datagram is acknowledged by
 * send(2), since no receiver may drop it then.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;
static const char *name;
static long num_sent;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s, after %ld messages\n", name, what,
		strerror(errno), num_sent);
	exit(1);
}

static int connect_unix(int type, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	strncpy(sun.sun_path, path, sizeof(sun.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		fail("connect");

	return fd;
}

static int connect_tcp(const char *port)
{
	struct sockaddr_in sin = {
		.sin_family		= AF_INET,
		.sin_port		= htons(atoi(port)),
		.sin_addr.s_addr	= htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		fail("connect");

	return fd;
}

static int connect_by(const char *kind, const char *address)
{
	if (!strcmp(kind, "tcp"))
		return connect_tcp(address);

	return connect_unix(kind[0] == 'd' ? SOCK_DGRAM : SOCK_STREAM, address);
}

static void send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t ret = send(fd, text, len, MSG_NOSIGNAL);

		if (ret < 0 && errno != EINTR)
			fail("send");
		if (ret > 0) {
			text += ret;
			len -= ret;
		}
	}
}

static void wait_for_close(int fd)
{
	char c;

	if (shutdown(fd, SHUT_WR) < 0)
		fail("shutdown");
	while (read(fd, &c, 1) != 0) {
		if (errno != EINTR)
			fail("not acknowledged");
	}
}

/* Messages have various lengths. */
static int message(char *text, size_t size, const char *format)
{
	long i = num_sent++;

	return snprintf(text, size, format, name, i, (int)(i % 300), 0);
}

static void send_connection(int fd, FILE *log, long num)
{
	char text[1024];
	char line[1024];
	long i;

	for (i = 0; (num == 0 || i < num) && !stopped; i++) {
		int len = message(text, sizeof(text),
				  "<13>sender: %s %ld %0*d\n");

		/* The log shows the priority without the brackets. */
		snprintf(line, sizeof(line), "13 %s", text + strlen("<13>"));
		fputs(line, log);
		send_all(fd, text, len);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = stop };
	int is_dgram;

	if (argc != 5)
		return 2;
	name = argv[1];
	is_dgram = argv[3][0] == 'd';
	sigaction(SIGTERM, &sa, NULL);

	while (!stopped) {
		int fd = connect_by(argv[3], argv[4]);
		char *lines = NULL;
		size_t len;
		FILE *log = open_memstream(&lines, &len);

		send_connection(fd, log, atol(argv[2]));
		if (!is_dgram)
			wait_for_close(fd);
		close(fd);
		fclose(log);
		fwrite(lines, 1, len, stdout);
		free(lines);
	}

	return fflush(stdout) == 0 ? 0 : 1;
}

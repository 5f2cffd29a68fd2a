/*
 * libivykis: benchmarks of short TCP connections.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A child process makes them by blocking calls, several at a time.  Each
 * carries a request and an answer; then the server closes it.  Whenever
 * connections are pending, the server accepts all of them.  The CPU time is the
 * server's.
 */

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "peer.h"

#define AT_A_TIME	64
/* Some peers use an unregistered object until the next iteration. */
#define CONNECTIONS	(16 * AT_A_TIME)
#define REQUEST		"what is the time?"
#define ANSWER		"late"

struct server;

struct conn {
	struct watch	watch;
	struct server	*server;
	int		fd;
};

struct server {
	struct loop	loop;
	struct watch	watch;
	struct meter	*meter;
	int		fd;
	int		port;
	int		client_cpu;
	long		accepted;
	long		served;
	long		n;
	struct conn	conns[CONNECTIONS];
};

static void conn_end(struct conn *c)
{
	struct server *s = c->server;

	watch_free(&c->watch);
	must(close(c->fd) == 0);
	if (++s->served == s->n) {
		meter_stop(s->meter);
		loop_quit(&s->loop);
	}
}

WATCH_HANDLER(conn_readable)
{
	struct conn *c = cookie;
	char request[sizeof(REQUEST)];
	ssize_t ret = read(c->fd, request, sizeof(request));

	if (ret < 0 && errno == EAGAIN)
		return;
	must(ret == sizeof(REQUEST));
	must(write(c->fd, ANSWER, sizeof(ANSWER)) == sizeof(ANSWER));
	conn_end(c);
}

static void conn_begin(struct server *s, int fd)
{
	struct conn *c = &s->conns[s->accepted % CONNECTIONS];

	if (s->accepted++ == 0)
		meter_start(s->meter);
	c->server = s;
	c->fd = fd;
	watch_new(&s->loop, &c->watch, fd, conn_readable, c);
}

WATCH_HANDLER(server_readable)
{
	struct server *s = cookie;
	int fd;

	while ((fd = accepted(s->fd)) >= 0)
		conn_begin(s, fd);
}

static int client_connect(int port)
{
	struct sockaddr_in addr = {
		.sin_family	= AF_INET,
		.sin_port	= htons(port),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(fd >= 0);
	must(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	must(write(fd, REQUEST, sizeof(REQUEST)) == sizeof(REQUEST));

	return fd;
}

static void client_finish(int fd)
{
	/* Close it by a reset, as lingering connections would use up ports. */
	const struct linger reset = { .l_onoff = 1 };
	char answer[sizeof(ANSWER)];

	must(recv(fd, answer, sizeof(answer), MSG_WAITALL) == sizeof(answer));
	must(!memcmp(answer, ANSWER, sizeof(answer)));
	must(read(fd, answer, sizeof(answer)) == 0);
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
	must(close(fd) == 0);
}

static void client(void *_server)
{
	struct server *s = _server;
	int fd[AT_A_TIME];
	long left;
	int i;

	pin(s->client_cpu);
	for (left = s->n; left > 0; left -= AT_A_TIME) {
		for (i = 0; i < AT_A_TIME; i++)
			fd[i] = client_connect(s->port);
		for (i = 0; i < AT_A_TIME; i++)
			client_finish(fd[i]);
	}
}

static void connections(struct meter *m, long n, int cpus)
{
	struct server *s;
	pid_t pid;

	if (lacks_cpus(m, cpus))
		return;
	pin(0);
	s = zeroed(1, sizeof(*s));
	s->meter = m;
	s->client_cpu = cpus - 1;
	s->n = (n + AT_A_TIME - 1) / AT_A_TIME * AT_A_TIME;
	s->fd = listening(&s->port);
	pid = child_start(client, s);
	loop_new(&s->loop);
	watch_new(&s->loop, &s->watch, s->fd, server_readable, s);

	loop_run(&s->loop);
	m->ops = s->n;

	child_wait(pid);
	watch_free(&s->watch);
	must(close(s->fd) == 0);
	loop_free(&s->loop);
	free(s);
}


const struct row rows_connect[] = {
	{ "connect", "connect", "conn/s",
	  "TCP connections served, with the client on another core",
	  connections, 2, 5 * AT_A_TIME },
	{ "connect_one", "connect", "conn/s",
	  "TCP connections served, with the client on the same core",
	  connections, 1, 5 * AT_A_TIME },
	{ 0 }
};

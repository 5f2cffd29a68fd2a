/*
 * libivykis: benchmarks of a server under a real load.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The load is made by redis-benchmark(1).  Of Redis's protocol the server
 * implements ECHO, which the load consists of; all other commands fail.
 */

#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "peer.h"

#define CLIENTS		50
#define CONNECTIONS	(CLIENTS + 14)	/* with those before the load */
#define BUFFER		16384

struct server;

struct conn {
	struct watch	watch;
	struct server	*server;
	int		fd;		/* 0: free */
	size_t		have;
	char		in[BUFFER];
};

struct server {
	struct loop	loop;
	struct watch	watch;
	struct meter	*meter;
	int		fd;
	int		used;		/* connections so far */
	int		open;
	long		echoed;
	long		n;
	struct conn	conns[CONNECTIONS];
};

/* One line: a letter and a number.  Returns what follows it, or NULL. */
static char *parse_number(char *p, const char *end, char letter, long *number)
{
	char *eol = memchr(p, '\n', end - p);

	if (eol == NULL)
		return NULL;
	must(*p == letter);
	*number = strtol(p + 1, NULL, 10);

	return eol + 1;
}

/* One request.  Returns what follows it, or NULL if it is incomplete. */
static char *parse(char *p, const char *end, char **arg, long *len)
{
	long args;

	p = parse_number(p, end, '*', &args);
	while (p != NULL && args-- > 0) {
		p = parse_number(p, end, '$', len);
		if (p == NULL || end - p < *len + 2)
			return NULL;
		*arg = p;
		p += *len + 2;
	}

	return p;
}

static void count(struct server *s)
{
	if (s->echoed++ == 0)
		meter_start(s->meter);
	if (s->echoed == s->n)
		meter_stop(s->meter);
}

/* Returns how much of the input is to be kept. */
static size_t answer(struct conn *c, const char *end)
{
	char out[2 * BUFFER];
	size_t have = 0;
	char *p = c->in;
	char *next;
	char *arg = NULL;
	long len = 0;

	while (p < end && (next = parse(p, end, &arg, &len)) != NULL) {
		if (!strncmp(p, "*2\r\n$4\r\nECHO\r\n", 14)) {
			count(c->server);
			have += sprintf(out + have, "$%ld\r\n", len);
			memcpy(out + have, arg, len + 2);
			have += len + 2;
		} else {
			have += sprintf(out + have, "-ERR\r\n");
		}
		p = next;
	}
	must(write(c->fd, out, have) == (ssize_t)have);
	memmove(c->in, p, end - p);

	return end - p;
}

static void hang_up(struct conn *c)
{
	struct server *s = c->server;

	watch_free(&c->watch);
	must(close(c->fd) == 0);
	c->fd = 0;
	if (--s->open == 0 && s->echoed >= s->n)
		loop_quit(&s->loop);
}

WATCH_HANDLER(conn_readable)
{
	struct conn *c = cookie;
	ssize_t ret = read(c->fd, c->in + c->have, BUFFER - c->have);

	if (ret <= 0)
		hang_up(c);
	else
		c->have = answer(c, c->in + c->have + ret);
}

WATCH_HANDLER(server_readable)
{
	struct server *s = cookie;
	struct conn *c = &s->conns[s->used++];

	must(s->used <= CONNECTIONS);
	c->fd = accepted(s->fd);
	must(c->fd >= 0);
	c->server = s;
	s->open++;
	watch_new(&s->loop, &c->watch, c->fd, conn_readable, c);
}

/* Returns the port. */
static int server_new(struct server *s)
{
	int port;

	s->fd = listening(&port);
	loop_new(&s->loop);
	watch_new(&s->loop, &s->watch, s->fd, server_readable, s);

	return port;
}

static void server_free(struct server *s)
{
	watch_free(&s->watch);
	must(close(s->fd) == 0);
	loop_free(&s->loop);
}

struct load {
	int	port;
	long	n;
	int	pipeline;
};

static void load(void *_load)
{
	struct load *l = _load;
	char command[200];

	(void)snprintf(command, sizeof(command),
		       "exec redis-benchmark -p %d -c %d -n %ld -P %d "
		       "ECHO 0123456789abcdef >/dev/null 2>&1",
		       l->port, CLIENTS, l->n, l->pipeline);
	if (have_cpus(2))
		pin(1);
	(void)execl("/bin/sh", "sh", "-c", command, NULL);
	must(!"a shell to run");
}

static void echo(struct meter *m, long n, int pipeline)
{
	struct load l = { .n = n, .pipeline = pipeline };
	struct server *s;
	pid_t pid;

	if (system("command -v redis-benchmark >/dev/null") != 0) {
		m->none = "redis-benchmark is missing (redis-tools)";
		return;
	}
	if (have_cpus(2))
		pin(0);
	s = zeroed(1, sizeof(*s));
	s->meter = m;
	s->n = n;
	m->ops = n;
	l.port = server_new(s);
	pid = child_start(load, &l);
	loop_run(&s->loop);
	child_wait(pid);
	server_free(s);
	free(s);
}


const struct row rows_echo[] = {
	{ "echo", "echo", "ns",
	  "a request of redis-benchmark with 50 clients", echo, 1, 500 },
	{ "echo_16", "echo", "ns",
	  "a request of redis-benchmark, 16 at a time", echo, 16, 1600 },
	{ 0 }
};

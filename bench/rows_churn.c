/*
 * libivykis: a benchmark of descriptors that come and go.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Readable sockets are registered, several at a time, and unregistered by
 * their handlers; nothing is read.  Two sets are used in turn, so that the loop
 * waits without a socket before that socket is registered again.
 */

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "peer.h"

#define AT_A_TIME	64

struct churn;

struct visitor {
	struct watch	watch;
	struct churn	*churn;
	int		fd[2];
};

struct churn {
	struct loop	loop;
	struct visitor	sets[2][AT_A_TIME];
	int		left;		/* still registered */
};

WATCH_HANDLER(visitor_readable)
{
	struct visitor *v = cookie;

	watch_free(&v->watch);
	if (--v->churn->left == 0)
		loop_quit(&v->churn->loop);
}

static void visitors_come_and_go(struct churn *c, struct visitor *set)
{
	int i;

	for (i = 0; i < AT_A_TIME; i++) {
		watch_new(&c->loop, &set[i].watch, set[i].fd[0],
			  visitor_readable, &set[i]);
	}
	c->left = AT_A_TIME;
	loop_run(&c->loop);
}

static void set_new(struct churn *c, struct visitor *set)
{
	int i;

	for (i = 0; i < AT_A_TIME; i++) {
		set[i].churn = c;
		must(socketpair(AF_UNIX,
				SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
				set[i].fd) == 0);
		must(write(set[i].fd[1], "", 1) == 1);
	}
}

static void set_free(struct visitor *set)
{
	int i;

	for (i = 0; i < AT_A_TIME; i++)
		must(close(set[i].fd[0]) == 0 && close(set[i].fd[1]) == 0);
}

static void churn(struct meter *m, long n, int arg)
{
	struct churn *c = zeroed(1, sizeof(*c));

	(void)arg;
	set_new(c, c->sets[0]);
	set_new(c, c->sets[1]);
	loop_new(&c->loop);

	meter_start(m);
	for (; m->ops < n; m->ops += 2 * AT_A_TIME) {
		visitors_come_and_go(c, c->sets[0]);
		visitors_come_and_go(c, c->sets[1]);
	}
	meter_stop(m);

	loop_free(&c->loop);
	set_free(c->sets[0]);
	set_free(c->sets[1]);
	free(c);
}


const struct row rows_churn[] = {
	{ "churn", "churn", "ns",
	  "a descriptor registered, served once and unregistered, 64 at a time",
	  churn, 0, 20 * AT_A_TIME },
	{ 0 }
};

/*
 * redis: a client of Redis, by the adapter for ivykis that hiredis comes with.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: redis SOCKET WORD...
 *
 * The words are sent as a command to the server at the Unix socket SOCKET, and
 * the reply is printed; after SUBSCRIBE, each message is, until the server ends
 * the connection.  To try it (libhiredis-dev, redis-server):
 *
 *	cc redis.c $(pkg-config --cflags --libs ivykis hiredis) -o redis
 *	redis-server --port 0 --unixsocket /tmp/redis.socket --save '' &
 *	./redis /tmp/redis.socket PING
 */

#include <hiredis/adapters/ivykis.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <iv.h>
#include <stdio.h>

static int failed;

static void print(const redisReply *r)
{
	size_t i;

	switch (r->type) {
	case REDIS_REPLY_ARRAY:
		for (i = 0; i < r->elements; i++)
			print(r->element[i]);
		break;
	case REDIS_REPLY_INTEGER:
		printf("%lld\n", r->integer);
		break;
	case REDIS_REPLY_NIL:
		puts("(nil)");
		break;
	case REDIS_REPLY_ERROR:
		failed = 1;
		/* fall through */
	default:
		puts(r->str);
	}
	fflush(stdout);
}

static void got_reply(redisAsyncContext *ac, void *reply, void *cookie)
{
	(void)cookie;
	/* The connection has failed; disconnected() is called next. */
	if (reply == NULL)
		return;

	print(reply);
	if (!(ac->c.flags & REDIS_SUBSCRIBED))
		redisAsyncDisconnect(ac);
}

static void connected(const redisAsyncContext *ac, int status)
{
	if (status != REDIS_OK) {
		fprintf(stderr, "redis: %s\n", ac->errstr);
		failed = 1;
	}
}

static void disconnected(const redisAsyncContext *ac, int status)
{
	if (status != REDIS_OK) {
		fprintf(stderr, "redis: %s\n", ac->errstr);
		failed = 1;
	}
}

int main(int argc, char **argv)
{
	redisAsyncContext *ac;

	if (argc < 3) {
		fprintf(stderr, "usage: redis SOCKET WORD...\n");
		return 1;
	}

	iv_init();
	ac = redisAsyncConnectUnix(argv[1]);
	if (ac == NULL || ac->err) {
		fprintf(stderr, "redis: %s\n",
			ac != NULL ? ac->errstr : "no memory");
		return 1;
	}
	redisIvykisAttach(ac);
	redisAsyncSetConnectCallback(ac, connected);
	redisAsyncSetDisconnectCallback(ac, disconnected);
	redisAsyncCommandArgv(ac, got_reply, NULL, argc - 2,
			      (const char **)&argv[2], NULL);

	/* Returns when the connection has ended, and the adapter with it. */
	iv_main();
	iv_deinit();

	return failed;
}

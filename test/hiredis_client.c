/*
 * libivykis: a client of redis that uses the adapter in hiredis.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	hiredis_client SOCKET NUM	run NUM commands, and disconnect
 *	hiredis_client SOCKET		end the server, which disconnects
 *
 * Half of the commands are sent at once, and one more after each reply.
 */

#include <hiredis/adapters/ivykis.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static intptr_t num;
static intptr_t num_sent;
static intptr_t num_replies;
static int num_connects;
static int num_disconnects;
static int disconnect_status;

static void fail(const char *what)
{
	printf("%s, after %ld of %ld replies\n", what, (long)num_replies,
	       (long)num);
	exit(1);
}

/* The texts have various lengths, so that reads cut replies anywhere. */
static const char *text_of(intptr_t i)
{
	static char text[2048];
	int len = i % 1000;

	snprintf(text, sizeof(text), "%ld:%0*d", (long)i, len + 1, 0);

	return text;
}

static int is_right(const redisReply *r, intptr_t i)
{
	if (i % 2 == 0)
		return r->type == REDIS_REPLY_INTEGER && r->integer == i / 2 + 1;

	return r->type == REDIS_REPLY_STRING && !strcmp(r->str, text_of(i));
}

static void replied(redisAsyncContext *ac, void *reply, void *cookie);

static void send_one(redisAsyncContext *ac)
{
	intptr_t i = num_sent++;
	int ret;

	if (i % 2 == 0)
		ret = redisAsyncCommand(ac, replied, (void *)i, "INCR counter");
	else
		ret = redisAsyncCommand(ac, replied, (void *)i, "ECHO %s",
					text_of(i));
	if (ret != REDIS_OK)
		fail("a command was refused");
}

static void replied(redisAsyncContext *ac, void *reply, void *cookie)
{
	if (reply == NULL)
		fail("the connection broke");
	if ((intptr_t)cookie != num_replies)
		fail("a reply came out of order");
	if (!is_right(reply, num_replies))
		fail("a reply belongs to another command");

	num_replies++;
	if (num_sent < num)
		send_one(ac);
	if (num_replies == num)
		redisAsyncDisconnect(ac);
}

static void no_reply(redisAsyncContext *ac, void *reply, void *cookie)
{
	(void)ac;
	(void)cookie;
	if (reply != NULL)
		fail("the server replied after its end");
	num_replies++;
}

static void connected(const redisAsyncContext *ac, int status)
{
	(void)ac;
	if (status != REDIS_OK)
		fail("connecting failed");
	num_connects++;
}

static void disconnected(const redisAsyncContext *ac, int status)
{
	(void)ac;
	disconnect_status = status;
	num_disconnects++;
}

int main(int argc, char **argv)
{
	redisAsyncContext *ac;
	int breaks = argc < 3;

	if (argc < 2)
		return 2;
	num = breaks ? 2 : atol(argv[2]);
	/* A hundred times what the commands take. */
	alarm(300);

	iv_init();
	ac = redisAsyncConnectUnix(argv[1]);
	if (ac == NULL || ac->err)
		fail("no connection");
	if (redisIvykisAttach(ac) != REDIS_OK)
		fail("the adapter refused");
	redisAsyncSetConnectCallback(ac, connected);
	redisAsyncSetDisconnectCallback(ac, disconnected);
	if (breaks) {
		redisAsyncCommand(ac, no_reply, NULL, "SHUTDOWN NOSAVE");
		redisAsyncCommand(ac, no_reply, NULL, "PING");
	}
	while (!breaks && num_sent < num / 2)
		send_one(ac);

	/* This returns when the adapter has unregistered everything. */
	iv_main();
	iv_deinit();

	if (num_replies != num)
		fail("the loop ended too early");
	if (num_connects != 1 || num_disconnects != 1)
		fail("not connected and disconnected exactly once");
	if (disconnect_status != (breaks ? REDIS_ERR : REDIS_OK))
		fail("disconnected with the wrong status");
	printf("%ld replies\n", (long)num);

	return 0;
}

/*
 * hello: a thread posts, and the handler runs in the loop of another thread.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	cc -pthread hello.c $(pkg-config --cflags --libs ivykis) -o hello
 *	./hello
 */

#include <iv_event_raw.h>
#include <pthread.h>
#include <stdio.h>

static struct iv_event_raw hello;

static void handler(void *cookie)
{
	printf("%s\n", (const char *)cookie);
	iv_event_raw_unregister(&hello);
}

static void *thread(void *arg)
{
	iv_event_raw_post(&hello);

	return arg;
}

int main(void)
{
	pthread_t tid;

	iv_init();

	IV_EVENT_RAW_INIT(&hello);
	hello.cookie = "hello, loop";
	hello.handler = handler;
	if (iv_event_raw_register(&hello) < 0) {
		perror("iv_event_raw_register");
		return 1;
	}

	if (pthread_create(&tid, NULL, thread, NULL) != 0)
		return 1;
	iv_main();
	pthread_join(tid, NULL);

	iv_deinit();

	return 0;
}

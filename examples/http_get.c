/*
 * http_get: ask a web server for a page without blocking the loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A thread of a pool looks the name up, and the loop does the rest: connect,
 * send the request, receive the first line, or give up.  See chat.c.
 */

#include <stdio.h>
#include <string.h>
#include "http_get.h"

#define TIMEOUT_MS	10000

static void finish(struct http_get *get, const char *result)
{
	if (iv_timer_registered(&get->timeout))
		iv_timer_unregister(&get->timeout);
	if (iv_fd_registered(&get->fd))
		iv_fd_unregister(&get->fd);
	if (get->fd.fd >= 0)
		close(get->fd.fd);
	if (get->addr != NULL)
		freeaddrinfo(get->addr);
	get->handler(get->cookie, result);
}

static void timed_out(void *get)
{
	finish(get, "timed out");
}

static void got_answer(void *_get)
{
	struct http_get *get = _get;
	size_t room = sizeof(get->answer) - 1 - get->len;
	ssize_t ret = read(get->fd.fd, get->answer + get->len, room);

	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret < 0) {
		finish(get, strerror(errno));
		return;
	}
	get->len += ret;
	/* At its end, or when there is no room left, read() returns 0. */
	if (ret == 0 || memchr(get->answer, '\n', get->len) != NULL) {
		get->answer[strcspn(get->answer, "\r\n")] = '\0';
		finish(get, get->answer);
	}
}

static void connected(void *_get)
{
	struct http_get *get = _get;
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(get->fd.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	/* A new connection has room for so little. */
	if (error == 0 && dprintf(get->fd.fd,
				  "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n",
				  get->path, get->host) < 0)
		error = errno;
	if (error != 0) {
		finish(get, strerror(error));
		return;
	}
	iv_fd_set_handler_out(&get->fd, NULL);
	iv_fd_set_handler_in(&get->fd, got_answer);
}

/* In a thread of the pool. */
static void look_up(void *_get)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct http_get *get = _get;

	get->error = getaddrinfo(get->host, get->port, &hints, &get->addr);
}

static void looked_up(void *_get)
{
	struct http_get *get = _get;

	if (get->error != 0) {
		finish(get, gai_strerror(get->error));
		return;
	}
	get->fd.fd = socket(get->addr->ai_family, SOCK_STREAM, 0);
	if (get->fd.fd < 0) {
		finish(get, strerror(errno));
		return;
	}
	get->fd.handler_out = connected;
	/* This makes the descriptor non-blocking. */
	iv_fd_register(&get->fd);
	iv_timer_register_in_ms(&get->timeout, TIMEOUT_MS);
	if (connect(get->fd.fd, get->addr->ai_addr,
		    get->addr->ai_addrlen) < 0 && errno != EINPROGRESS)
		finish(get, strerror(errno));
}

void http_get(struct http_get *get, struct iv_work_pool *pool)
{
	IV_WORK_ITEM_INIT(&get->lookup);
	get->lookup.cookie = get;
	get->lookup.work = look_up;
	get->lookup.completion = looked_up;
	IV_FD_INIT(&get->fd);
	get->fd.fd = -1;
	get->fd.cookie = get;
	IV_TIMER_INIT(&get->timeout);
	get->timeout.cookie = get;
	get->timeout.handler = timed_out;
	get->addr = NULL;
	get->len = 0;
	memset(get->answer, 0, sizeof(get->answer));
	iv_work_pool_submit_work(pool, &get->lookup);
}

/*
 * chat: a chat server with timeouts, a thread pool and an HTTP client.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: chat PORT [SECONDS]
 *
 * The server listens on port PORT of 127.0.0.1, or on a free one if PORT is 0,
 * and prints which.  It sends each line of a client to all others.  The line
 * "/get HOST PORT PATH" makes it ask a web server, and send the first line of
 * the answer to everybody.  A client is disconnected if it sends nothing for
 * SECONDS (300), or if it does not read what it is sent.  After SIGTERM nobody
 * can connect, and the server ends after the last answer that it waits for.  To
 * try it:
 *
 *	cc chat.c http_get.c $(pkg-config --cflags --libs ivykis) -o chat
 *	./chat 7000 &
 *	nc 127.0.0.1 7000
 */

#include <arpa/inet.h>
#include <iv.h>
#include <iv_list.h>
#include <iv_signal.h>
#include <iv_work.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "http_get.h"

struct client {
	struct iv_list_head	list;
	struct iv_fd		fd;
	struct iv_timer		idle;
	int			number;
	size_t			len;
	char			buf[512];	/* an unfinished line */
};

static IV_LIST_HEAD(clients);
static struct iv_fd listener;
static struct iv_timer pause_over;		/* for the listener */
static struct iv_signal on_term;
static struct iv_work_pool pool;
static int seconds = 300;
static int fetches;				/* that are not answered yet */
static int stopping;

static void cancel(struct iv_timer *timer)
{
	if (iv_timer_registered(timer))
		iv_timer_unregister(timer);
}

static void restart(struct iv_timer *timer, int sec)
{
	cancel(timer);
	iv_timer_register_in_ms(timer, sec * 1000UL);
}

static void close_fd(struct iv_fd *fd)
{
	iv_fd_unregister(fd);
	close(fd->fd);
}

/* The next read(2) returns 0, and the client still gets what was sent to it. */
static void disconnect(struct client *c)
{
	shutdown(c->fd.fd, SHUT_RDWR);
}

__attribute__((format(printf, 2, 3)))
static void send_all(const struct client *except, const char *format, ...)
{
	struct client *c;
	char text[1024];
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);

	/* A client that reads has room for it in its socket. */
	iv_list_for_each_entry (c, &clients, list) {
		if (c != except &&
		    send(c->fd.fd, text, len, MSG_NOSIGNAL) != len)
			disconnect(c);
	}
}

/* iv_main() returns once the last client and the pool are gone. */
static void end_if_done(void)
{
	struct client *c;

	if (!stopping || fetches > 0)
		return;
	iv_work_pool_put(&pool);
	iv_list_for_each_entry (c, &clients, list)
		disconnect(c);
}

static void got_page(void *_get, const char *result)
{
	struct http_get *get = _get;

	send_all(NULL, "* %s %s %s: %s\n", get->host, get->port, get->path,
		 result);
	free(get);
	fetches--;
	end_if_done();
}

/* Returns 1 if the line was a request. */
static int begin_get(const char *line)
{
	struct http_get *get = calloc(1, sizeof(*get));

	if (get == NULL || stopping ||
	    sscanf(line, "/get %63s %7s %127s", get->host, get->port,
		   get->path) != 3) {
		free(get);
		return 0;
	}
	get->cookie = get;
	get->handler = got_page;
	http_get(get, &pool);
	fetches++;

	return 1;
}

static void end_client(void *_c)
{
	struct client *c = _c;

	send_all(c, "* %d is gone\n", c->number);
	cancel(&c->idle);
	iv_list_del(&c->list);
	close_fd(&c->fd);
	free(c);
}

static void got_input(void *_c)
{
	struct client *c = _c;
	ssize_t ret = read(c->fd.fd, c->buf + c->len, sizeof(c->buf) - c->len);
	char *end;

	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret <= 0) {
		end_client(c);
		return;
	}
	restart(&c->idle, seconds);
	c->len += ret;
	while ((end = memchr(c->buf, '\n', c->len)) != NULL) {
		*end++ = '\0';
		if (!begin_get(c->buf))
			send_all(c, "%d: %s\n", c->number, c->buf);
		c->len -= end - c->buf;
		memmove(c->buf, end, c->len);
	}
	/* What is longer than a line may be is dropped. */
	if (c->len == sizeof(c->buf))
		c->len = 0;
}

static void got_client(void *cookie)
{
	int sock = accept(listener.fd, NULL, NULL);
	struct client *c;
	static int num;

	(void)cookie;
	if (sock < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* The listener stays readable, so it pauses: no spinning. */
		iv_fd_set_handler_in(&listener, NULL);
		restart(&pause_over, 1);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		close(sock);
		return;
	}
	c->number = ++num;
	iv_list_add_tail(&c->list, &clients);
	IV_TIMER_INIT(&c->idle);
	c->idle.cookie = c;
	c->idle.handler = end_client;
	restart(&c->idle, seconds);
	IV_FD_INIT(&c->fd);
	c->fd.fd = sock;
	c->fd.cookie = c;
	c->fd.handler_in = got_input;
	iv_fd_register(&c->fd);
	send_all(NULL, "* %d is here\n", c->number);
}

static void accept_again(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_client);
}

static void stop(void *cookie)
{
	(void)cookie;
	stopping = 1;
	cancel(&pause_over);
	close_fd(&listener);
	iv_signal_unregister(&on_term);
	send_all(NULL, "* the end is near\n");
	end_if_done();
}

static void open_listener(int port)
{
	struct sockaddr_in addr = {
		.sin_family		= AF_INET,
		.sin_port		= htons(port),
		.sin_addr.s_addr	= htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int yes = 1;

	IV_FD_INIT(&listener);
	listener.handler_in = got_client;
	listener.fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener.fd, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener.fd, 128) < 0 ||
	    getsockname(listener.fd, (struct sockaddr *)&addr, &len) < 0) {
		perror("chat");
		exit(1);
	}
	iv_fd_register(&listener);
	printf("chat: port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: chat PORT [SECONDS]\n");
		return 1;
	}
	if (argc > 2)
		seconds = atoi(argv[2]);

	iv_init();
	IV_TIMER_INIT(&pause_over);
	pause_over.handler = accept_again;
	IV_SIGNAL_INIT(&on_term);
	on_term.signum = SIGTERM;
	on_term.flags = 0;
	on_term.handler = stop;
	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = 4;
	if (iv_signal_register(&on_term) < 0 || iv_work_pool_create(&pool) < 0) {
		perror("chat");
		return 1;
	}
	open_listener(atoi(argv[1]));

	iv_main();
	iv_deinit();

	return 0;
}

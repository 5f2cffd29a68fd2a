/*
 * echo: a TCP server that sends back what it receives.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: echo PORT
 *
 * The server listens on port PORT of 127.0.0.1, or on a free one if PORT is 0,
 * and prints which.  It does not read from a client that does not read what it
 * is sent.  SIGINT and SIGTERM end it.  To try it:
 *
 *	cc echo.c $(pkg-config --cflags --libs ivykis) -o echo
 *	./echo 7000 &
 *	nc 127.0.0.1 7000
 */

#include <arpa/inet.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <iv_list.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct connection {
	struct iv_fd		fd;
	struct iv_list_head	list;
	size_t			start;		/* of the unsent bytes */
	size_t			len;
	char			buf[4096];
};

static struct iv_list_head connections = IV_LIST_HEAD_INIT(connections);
static struct iv_fd listener;
static struct iv_timer pause_over;		/* for the listener */
static struct iv_event_raw stop;

static void end_connection(struct connection *c)
{
	iv_list_del(&c->list);
	iv_fd_unregister(&c->fd);
	close(c->fd.fd);
	free(c);
}

static int is_transient(int err)
{
	return err == EAGAIN || err == EINTR;
}

static void readable(void *_c);
static void writable(void *_c);

/* There is either something to send or room to receive. */
static void wait_for(struct connection *c)
{
	iv_fd_set_handler_in(&c->fd, c->len == 0 ? readable : NULL);
	iv_fd_set_handler_out(&c->fd, c->len > 0 ? writable : NULL);
}

static void writable(void *_c)
{
	struct connection *c = _c;
	ssize_t ret = write(c->fd.fd, c->buf + c->start, c->len);

	if (ret < 0 && !is_transient(errno)) {
		end_connection(c);
		return;
	}
	if (ret > 0) {
		c->start += ret;
		c->len -= ret;
	}
	wait_for(c);
}

static void readable(void *_c)
{
	struct connection *c = _c;
	ssize_t ret = read(c->fd.fd, c->buf, sizeof(c->buf));

	if (ret < 0 && is_transient(errno))
		return;
	if (ret <= 0) {
		end_connection(c);
		return;
	}
	c->start = 0;
	c->len = ret;
	/* Mostly the socket has room, so waiting for it would be a waste. */
	writable(c);
}

/*
 * Without a free descriptor accept(2) fails, the listener stays readable, and
 * the loop would call its handler again and again.  So the listener pauses, and
 * then tries once more.
 */
static void pause_listener(void)
{
	iv_fd_set_handler_in(&listener, NULL);
	iv_timer_register_in_ms(&pause_over, 100);
}

static void got_connection(void *cookie)
{
	int sock = accept(listener.fd, NULL, NULL);
	struct connection *c;

	(void)cookie;
	if (sock < 0) {
		if (!is_transient(errno) && errno != ECONNABORTED)
			pause_listener();
		return;
	}

	c = malloc(sizeof(*c));
	if (c == NULL) {
		close(sock);
		return;
	}
	c->len = 0;
	iv_list_add_tail(&c->list, &connections);

	IV_FD_INIT(&c->fd);
	c->fd.fd = sock;
	c->fd.cookie = c;
	c->fd.handler_in = readable;
	iv_fd_register(&c->fd);
}

static void accept_again(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_connection);
}

static void got_stop(void *cookie)
{
	(void)cookie;
	iv_quit();
}

static void got_signal(int sig)
{
	(void)sig;
	iv_event_raw_post(&stop);
}

/* Returns -1 with errno set if it fails. */
static int open_listener(int port)
{
	struct sockaddr_in addr = {
		.sin_family		= AF_INET,
		.sin_port		= htons(port),
		.sin_addr.s_addr	= htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int yes = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 ||
	    listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -1;

	printf("echo: port %d\n", ntohs(addr.sin_port));
	fflush(stdout);

	return fd;
}

static void end_connections(void)
{
	struct iv_list_head *ilh, *ilh2;

	iv_list_for_each_safe (ilh, ilh2, &connections)
		end_connection(iv_list_entry(ilh, struct connection, list));
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = got_signal };

	if (argc != 2) {
		fprintf(stderr, "usage: echo PORT\n");
		return 1;
	}

	iv_init();

	IV_EVENT_RAW_INIT(&stop);
	stop.handler = got_stop;
	if (iv_event_raw_register(&stop) < 0) {
		perror("echo: iv_event_raw_register");
		return 1;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);

	IV_FD_INIT(&listener);
	listener.fd = open_listener(atoi(argv[1]));
	if (listener.fd < 0) {
		perror("echo");
		return 1;
	}
	listener.handler_in = got_connection;
	iv_fd_register(&listener);

	IV_TIMER_INIT(&pause_over);
	pause_over.handler = accept_again;

	iv_main();

	end_connections();
	if (iv_timer_registered(&pause_over))
		iv_timer_unregister(&pause_over);
	iv_fd_unregister(&listener);
	close(listener.fd);
	iv_event_raw_unregister(&stop);
	iv_deinit();

	return 0;
}

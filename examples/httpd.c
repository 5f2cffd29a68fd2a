/*
 * httpd: what a server has to do besides serving.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: httpd PORT [SECONDS]
 *
 * The server listens on port PORT of 127.0.0.1, or on a free one if PORT is 0,
 * and prints which.  "GET /NUMBER" is answered with that many bytes.  A
 * connection is closed when nothing has moved on it for SECONDS (30).  While no
 * descriptors are left for new connections, these wait in the kernel.  After
 * SIGINT or SIGTERM it accepts no more, and ends with the last connection.  To
 * try it:
 *
 *	cc httpd.c $(pkg-config --cflags --libs ivykis) -o httpd
 *	./httpd 8000 &
 *	curl http://127.0.0.1:8000/5000000 | wc -c
 */

#include <arpa/inet.h>
#include <iv.h>
#include <iv_signal.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct connection {
	struct iv_fd		fd;
	struct iv_timer		idle;
	size_t			len;		/* bytes in buf */
	size_t			sent;		/* bytes of buf */
	long			left;		/* bytes of the body */
	char			buf[4096];	/* request, then header */
};

static struct iv_fd listener;
static struct iv_timer pause_over;		/* for the listener */
static struct iv_signal on_int, on_term;
static const char body[4096];
static int seconds = 30;

static void end_connection(void *_c)
{
	struct connection *c = _c;

	if (iv_timer_registered(&c->idle))
		iv_timer_unregister(&c->idle);
	iv_fd_unregister(&c->fd);
	close(c->fd.fd);
	free(c);
}

/* Moving a timer is cheap, however many there are. */
static void not_idle(struct connection *c)
{
	if (iv_timer_registered(&c->idle))
		iv_timer_unregister(&c->idle);
	iv_timer_register_in_ms(&c->idle, seconds * 1000UL);
}

/*
 * Takes the result of a read() or write(), and returns how many bytes it moved.
 * If that is 0, the connection may have been freed.
 */
static size_t moved(struct connection *c, ssize_t ret)
{
	if (ret > 0) {
		not_idle(c);
		return ret;
	}
	if (ret == 0 || (errno != EAGAIN && errno != EINTR))
		end_connection(c);

	return 0;
}

/*
 * A socket that is closed with input unread resets the connection, and the
 * client may lose what it was sent.  So the client closes first.
 */
static void wait_for_end(void *_c)
{
	struct connection *c = _c;

	moved(c, read(c->fd.fd, c->buf, sizeof(c->buf)));
}

static void send_body(void *_c)
{
	struct connection *c = _c;
	size_t len = sizeof(body);

	if (c->left == 0) {
		iv_fd_set_handler_out(&c->fd, NULL);
		iv_fd_set_handler_in(&c->fd, wait_for_end);
		shutdown(c->fd.fd, SHUT_WR);
		return;
	}
	if (c->left < (long)len)
		len = c->left;
	len = moved(c, write(c->fd.fd, body, len));
	if (len > 0)
		c->left -= len;
}

static void send_header(void *_c)
{
	struct connection *c = _c;
	size_t len;

	len = moved(c, write(c->fd.fd, c->buf + c->sent, c->len - c->sent));
	if (len == 0)
		return;
	c->sent += len;
	if (c->sent == c->len)
		iv_fd_set_handler_out(&c->fd, send_body);
}

static void got_request(void *_c)
{
	struct connection *c = _c;
	size_t room = sizeof(c->buf) - 1 - c->len;
	size_t len;

	/* A request for which there is no room ends the connection, too. */
	len = moved(c, read(c->fd.fd, c->buf + c->len, room));
	if (len == 0)
		return;
	c->len += len;
	c->buf[c->len] = '\0';
	if (strstr(c->buf, "\r\n\r\n") == NULL)
		return;

	if (sscanf(c->buf, "GET /%9ld", &c->left) != 1 || c->left < 0)
		c->left = 0;
	c->len = sprintf(c->buf, "HTTP/1.1 200 OK\r\nConnection: close\r\n"
			 "Content-Length: %ld\r\n\r\n", c->left);
	iv_fd_set_handler_in(&c->fd, NULL);
	iv_fd_set_handler_out(&c->fd, send_header);
}

static void got_connection(void *cookie)
{
	int sock = accept(listener.fd, NULL, NULL);
	struct connection *c;

	(void)cookie;
	if (sock < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* The listener stays readable, so it pauses: no spinning. */
		iv_fd_set_handler_in(&listener, NULL);
		iv_timer_register_in_ms(&pause_over, 100);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		close(sock);
		return;
	}
	IV_TIMER_INIT(&c->idle);
	c->idle.cookie = c;
	c->idle.handler = end_connection;
	IV_FD_INIT(&c->fd);
	c->fd.fd = sock;
	c->fd.cookie = c;
	c->fd.handler_in = got_request;
	iv_fd_register(&c->fd);
	not_idle(c);
}

static void accept_again(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_connection);
}

/* Only connections remain, and iv_main() returns when the last one ends. */
static void stop(void *cookie)
{
	(void)cookie;
	if (iv_timer_registered(&pause_over))
		iv_timer_unregister(&pause_over);
	iv_fd_unregister(&listener);
	close(listener.fd);
	iv_signal_unregister(&on_int);
	iv_signal_unregister(&on_term);
}

static void stop_on(struct iv_signal *s, int signum)
{
	IV_SIGNAL_INIT(s);
	s->signum = signum;
	s->flags = 0;
	s->handler = stop;
	if (iv_signal_register(s) < 0) {
		perror("httpd: iv_signal_register");
		exit(1);
	}
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
	listener.fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener.fd, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener.fd, 128) < 0 ||
	    getsockname(listener.fd, (struct sockaddr *)&addr, &len) < 0) {
		perror("httpd");
		exit(1);
	}
	printf("httpd: port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	listener.handler_in = got_connection;
	iv_fd_register(&listener);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: httpd PORT [SECONDS]\n");
		return 1;
	}
	if (argc > 2)
		seconds = atoi(argv[2]);

	iv_init();
	stop_on(&on_int, SIGINT);
	stop_on(&on_term, SIGTERM);
	IV_TIMER_INIT(&pause_over);
	pause_over.handler = accept_again;
	open_listener(atoi(argv[1]));

	iv_main();
	iv_deinit();

	return 0;
}

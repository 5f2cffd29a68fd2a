/*
 * chat: timeouts, a work pool and an HTTP client in one server.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: chat PORT [SECONDS]
 *
 * Listens on port PORT of 127.0.0.1 (with 0 the kernel chooses one; it is said
 * on standard output).  What a client says, line by line, all the others hear.
 * At /get HOST PORT PATH all hear the first line that a web server answers.
 * Who says nothing for SECONDS (300) is put out.  On SIGTERM nobody
 * else comes in; all hear the answers that are due, and then it ends.
 */

#include <arpa/inet.h>
#include <iv.h>
#include <iv_list.h>
#include <iv_signal.h>
#include <iv_work.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
	struct iv_list_head	list;
	struct iv_fd		fd;
	struct iv_timer		idle;
	int			number;
	size_t			in_len, out_len;
	char			in[512], out[8192];
};

struct fetch {
	struct iv_work_item	lookup;		/* blocks: done by the pool */
	struct iv_fd		fd;
	struct iv_timer		patience;
	char			host[64], port[8], path[128];
	struct addrinfo		*addr;
	int			error;
	size_t			len;
	char			buf[512];	/* request, then answer */
};

static IV_LIST_HEAD(clients);
static struct iv_fd listener;
static struct iv_timer rest_over;		/* for the listener */
static struct iv_signal on_term;
static struct iv_work_pool pool;
static int seconds = 300;
static int in_flight;				/* fetches */
static int stopping;

static void restart(struct iv_timer *timer, int sec)
{
	if (iv_timer_registered(timer))
		iv_timer_unregister(timer);
	iv_timer_register_in_ms(timer, sec * 1000UL);
}

static void leave(void *_c)
{
	struct client *c = _c;

	if (iv_timer_registered(&c->idle))
		iv_timer_unregister(&c->idle);
	iv_list_del(&c->list);
	iv_fd_unregister(&c->fd);
	close(c->fd.fd);
	free(c);
}

static void flush(void *_c)
{
	struct client *c = _c;
	ssize_t ret = write(c->fd.fd, c->out, c->out_len);

	if (ret < 0 && errno != EAGAIN && errno != EINTR) {
		leave(c);
		return;
	}
	if (ret > 0) {
		c->out_len -= ret;
		memmove(c->out, c->out + ret, c->out_len);
	}
	if (c->out_len == 0)
		iv_fd_set_handler_out(&c->fd, NULL);
	if (c->out_len == 0 && stopping && in_flight == 0)
		leave(c);
}

/* To all but one.  A client that does not read misses what does not fit. */
__attribute__((format(printf, 2, 3)))
static void announce(const struct client *from, const char *format, ...)
{
	struct client *c;
	char text[1024];
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);

	iv_list_for_each_entry (c, &clients, list) {
		if (c == from || c->out_len + len > sizeof(c->out))
			continue;
		memcpy(c->out + c->out_len, text, len);
		c->out_len += len;
		iv_fd_set_handler_out(&c->fd, flush);
	}
}

/* With the last client and the pool iv_main() returns. */
static void end_if_done(void)
{
	struct client *c;

	if (!stopping || in_flight > 0)
		return;
	iv_work_pool_put(&pool);
	iv_list_for_each_entry (c, &clients, list)
		iv_fd_set_handler_out(&c->fd, flush);
}

static void end_fetch(struct fetch *f, const char *result)
{
	announce(NULL, "* %s %s %s: %.*s\n", f->host, f->port, f->path,
		 (int)strcspn(result, "\r\n"), result);
	if (iv_timer_registered(&f->patience))
		iv_timer_unregister(&f->patience);
	if (iv_fd_registered(&f->fd)) {
		iv_fd_unregister(&f->fd);
		close(f->fd.fd);
	}
	if (f->addr != NULL)
		freeaddrinfo(f->addr);
	free(f);
	in_flight--;
	end_if_done();
}

static void lost_patience(void *f)
{
	end_fetch(f, "timed out");
}

static void got_answer(void *_f)
{
	struct fetch *f = _f;
	ssize_t ret = read(f->fd.fd, f->buf + f->len,
			   sizeof(f->buf) - 1 - f->len);

	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret > 0)
		f->len += ret;
	f->buf[f->len] = '\0';
	if (ret <= 0 || strchr(f->buf, '\n') || f->len == sizeof(f->buf) - 1)
		end_fetch(f, ret < 0 ? strerror(errno) : f->buf);
}

/* The connection has come about, or has failed. */
static void connected(void *_f)
{
	struct fetch *f = _f;
	socklen_t len = sizeof(f->error);
	int size;

	getsockopt(f->fd.fd, SOL_SOCKET, SO_ERROR, &f->error, &len);
	size = snprintf(f->buf, sizeof(f->buf),
			"GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", f->path, f->host);
	/* There is room for so little in a new connection. */
	if (f->error == 0 && write(f->fd.fd, f->buf, size) != size)
		f->error = errno;
	if (f->error != 0) {
		end_fetch(f, strerror(f->error));
		return;
	}
	iv_fd_set_handler_out(&f->fd, NULL);
	iv_fd_set_handler_in(&f->fd, got_answer);
}

static void look_up(void *_f)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct fetch *f = _f;

	f->error = getaddrinfo(f->host, f->port, &hints, &f->addr);
}

static void looked_up(void *_f)
{
	struct fetch *f = _f;

	if (f->error != 0) {
		end_fetch(f, gai_strerror(f->error));
		return;
	}
	f->fd.fd = socket(f->addr->ai_family, SOCK_STREAM, 0);
	if (f->fd.fd < 0) {
		end_fetch(f, strerror(errno));
		return;
	}
	/* From here the descriptor is non-blocking. */
	f->fd.handler_out = connected;
	iv_fd_register(&f->fd);
	restart(&f->patience, 10);
	if (connect(f->fd.fd, f->addr->ai_addr, f->addr->ai_addrlen) < 0 &&
	    errno != EINPROGRESS)
		end_fetch(f, strerror(errno));
}

/* 1 if the line asks for it, and it can be had. */
static int begin_fetch(const char *line)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (f == NULL || stopping ||
	    sscanf(line, "/get %63s %7s %127s", f->host, f->port,
		   f->path) != 3) {
		free(f);
		return 0;
	}
	IV_FD_INIT(&f->fd);
	f->fd.cookie = f;
	IV_TIMER_INIT(&f->patience);
	f->patience.cookie = f;
	f->patience.handler = lost_patience;
	IV_WORK_ITEM_INIT(&f->lookup);
	f->lookup.cookie = f;
	f->lookup.work = look_up;
	f->lookup.completion = looked_up;
	iv_work_pool_submit_work(&pool, &f->lookup);
	in_flight++;

	return 1;
}

static void got_input(void *_c)
{
	struct client *c = _c;
	ssize_t ret = read(c->fd.fd, c->in + c->in_len,
			   sizeof(c->in) - c->in_len);
	char *end;

	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret <= 0) {
		announce(c, "* %d is gone\n", c->number);
		leave(c);
		return;
	}
	restart(&c->idle, seconds);
	c->in_len += ret;
	/* A line for which there is no room is gone. */
	if (c->in_len == sizeof(c->in) &&
	    memchr(c->in, '\n', c->in_len) == NULL)
		c->in_len = 0;
	while ((end = memchr(c->in, '\n', c->in_len)) != NULL) {
		*end++ = '\0';
		if (!begin_fetch(c->in))
			announce(c, "%d: %s\n", c->number, c->in);
		c->in_len -= end - c->in;
		memmove(c->in, end, c->in_len);
	}
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
		/* The listener stays readable: not to spin, it has a rest. */
		iv_fd_set_handler_in(&listener, NULL);
		restart(&rest_over, 1);
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
	c->idle.handler = leave;
	restart(&c->idle, seconds);
	IV_FD_INIT(&c->fd);
	c->fd.fd = sock;
	c->fd.cookie = c;
	c->fd.handler_in = got_input;
	iv_fd_register(&c->fd);
	announce(NULL, "* %d is here\n", c->number);
}

static void rested(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_client);
}

static void stop(void *cookie)
{
	(void)cookie;
	stopping = 1;
	if (iv_timer_registered(&rest_over))
		iv_timer_unregister(&rest_over);
	iv_fd_unregister(&listener);
	close(listener.fd);
	iv_signal_unregister(&on_term);
	announce(NULL, "* the end is near\n");
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
	listener.fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener.fd, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener.fd, 128) < 0 ||
	    getsockname(listener.fd, (struct sockaddr *)&addr, &len) < 0) {
		perror("chat");
		exit(1);
	}
	printf("chat: port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	listener.handler_in = got_client;
	iv_fd_register(&listener);
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
	IV_SIGNAL_INIT(&on_term);
	on_term.signum = SIGTERM;
	on_term.flags = 0;
	on_term.handler = stop;
	IV_TIMER_INIT(&rest_over);
	rest_over.handler = rested;
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

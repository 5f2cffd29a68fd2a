/*
 * proxy: relay TCP connections.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: proxy LISTEN-PORT HOST PORT
 *
 * The proxy listens on port LISTEN-PORT of 127.0.0.1, or on a free one if that
 * is 0, and prints which.  It connects to PORT of HOST for each client, and a
 * pump for each direction moves the bytes.  The end of one direction is passed
 * on while the other may go on.  SIGINT and SIGTERM end it.  To try it, with a
 * server on port 7000:
 *
 *	cc proxy.c $(pkg-config --cflags --libs ivykis) -o proxy
 *	./proxy 7001 127.0.0.1 7000 &
 *	nc 127.0.0.1 7001
 */

#include <arpa/inet.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <iv_fd_pump.h>
#include <iv_list.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct side {
	struct iv_fd		fd;
	struct iv_fd_pump	pump;		/* from here to the other */
	struct side		*other;
	struct relay		*relay;
};

struct relay {
	struct iv_list_head	list;
	struct side		client;
	struct side		server;
	int			connected;
};

static struct iv_list_head relays = IV_LIST_HEAD_INIT(relays);
static struct iv_fd listener;
static struct iv_timer pause_over;		/* for the listener */
static struct iv_event_raw stop;
static struct addrinfo *target;

static void end_side(struct side *s)
{
	iv_fd_unregister(&s->fd);
	close(s->fd.fd);
}

static void end_relay(struct relay *r)
{
	/* First, as this resets the handlers that the pumps have set. */
	if (r->connected) {
		iv_fd_pump_destroy(&r->client.pump);
		iv_fd_pump_destroy(&r->server.pump);
	}
	end_side(&r->client);
	end_side(&r->server);
	iv_list_del(&r->list);
	free(r);
}

static void pump(struct side *from)
{
	struct relay *r = from->relay;

	if (iv_fd_pump_pump(&from->pump) < 0 ||
	    (iv_fd_pump_is_done(&r->client.pump) &&
	     iv_fd_pump_is_done(&r->server.pump)))
		end_relay(r);
}

static void readable(void *s)
{
	pump(s);
}

static void writable(void *_s)
{
	struct side *s = _s;

	pump(s->other);
}

static void set_bands(void *_from, int pollin, int pollout)
{
	struct side *from = _from;

	iv_fd_set_handler_in(&from->fd, pollin ? readable : NULL);
	iv_fd_set_handler_out(&from->other->fd, pollout ? writable : NULL);
}

static void start_pump(struct side *from)
{
	IV_FD_PUMP_INIT(&from->pump);
	from->pump.from_fd = from->fd.fd;
	from->pump.to_fd = from->other->fd.fd;
	from->pump.cookie = from;
	from->pump.set_bands = set_bands;
	from->pump.flags = IV_FD_PUMP_FLAG_RELAY_EOF;
	iv_fd_pump_init(&from->pump);
}

/* The connection to the server is established, or has failed. */
static void got_server(void *_server)
{
	struct side *server = _server;
	struct relay *r = server->relay;
	socklen_t len = sizeof(int);
	int err;

	if (getsockopt(server->fd.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ||
	    err != 0) {
		end_relay(r);
		return;
	}

	iv_fd_set_handler_out(&server->fd, NULL);
	r->connected = 1;
	start_pump(&r->client);
	start_pump(&r->server);
}

static void start_side(struct relay *r, struct side *s, struct side *other,
		       int fd)
{
	s->relay = r;
	s->other = other;
	IV_FD_INIT(&s->fd);
	s->fd.fd = fd;
	s->fd.cookie = s;
	/* This makes the descriptor non-blocking. */
	iv_fd_register(&s->fd);
}

static void start_relay(struct relay *r, int client, int server)
{
	r->connected = 0;
	iv_list_add_tail(&r->list, &relays);
	start_side(r, &r->client, &r->server, client);
	start_side(r, &r->server, &r->client, server);
	iv_fd_set_handler_out(&r->server.fd, got_server);
	if (connect(server, target->ai_addr, target->ai_addrlen) < 0 &&
	    errno != EINPROGRESS)
		end_relay(r);
}

/*
 * Without two free descriptors nothing is accepted, the listener stays
 * readable, and the loop would call its handler again and again.  So the
 * listener pauses, and then tries once more.
 */
static void pause_listener(void)
{
	iv_fd_set_handler_in(&listener, NULL);
	iv_timer_register_in_ms(&pause_over, 100);
}

static void got_client(void *cookie)
{
	int server = socket(target->ai_family, SOCK_STREAM, 0);
	int client = -1;
	struct relay *r;

	(void)cookie;
	if (server >= 0)
		client = accept(listener.fd, NULL, NULL);
	if (client < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			pause_listener();
		if (server >= 0)
			close(server);
		return;
	}

	r = malloc(sizeof(*r));
	if (r == NULL) {
		close(server);
		close(client);
		return;
	}
	start_relay(r, client, server);
}

static void accept_again(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_client);
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

	printf("proxy: port %d\n", ntohs(addr.sin_port));
	fflush(stdout);

	return fd;
}

static void end_relays(void)
{
	struct iv_list_head *ilh, *ilh2;

	iv_list_for_each_safe (ilh, ilh2, &relays)
		end_relay(iv_list_entry(ilh, struct relay, list));
}

/* Called before the loop runs, as it may block. */
static int look_up(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int ret = getaddrinfo(host, port, &hints, &target);

	if (ret != 0)
		fprintf(stderr, "proxy: %s: %s\n", host, gai_strerror(ret));

	return ret != 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = got_signal };

	if (argc != 4) {
		fprintf(stderr, "usage: proxy LISTEN-PORT HOST PORT\n");
		return 1;
	}
	if (look_up(argv[2], argv[3]) < 0)
		return 1;

	iv_init();

	IV_EVENT_RAW_INIT(&stop);
	stop.handler = got_stop;
	if (iv_event_raw_register(&stop) < 0) {
		perror("proxy: iv_event_raw_register");
		return 1;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);

	IV_FD_INIT(&listener);
	listener.fd = open_listener(atoi(argv[1]));
	if (listener.fd < 0) {
		perror("proxy");
		return 1;
	}
	listener.handler_in = got_client;
	iv_fd_register(&listener);

	IV_TIMER_INIT(&pause_over);
	pause_over.handler = accept_again;

	iv_main();

	end_relays();
	if (iv_timer_registered(&pause_over))
		iv_timer_unregister(&pause_over);
	iv_fd_unregister(&listener);
	close(listener.fd);
	iv_event_raw_unregister(&stop);
	iv_deinit();
	freeaddrinfo(target);

	return 0;
}

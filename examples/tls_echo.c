/*
 * tls_echo: a TLS server by OpenSSL, without blocking.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: tls_echo PORT CERTIFICATE KEY
 *
 * The server listens on port PORT of 127.0.0.1, or on a free one if PORT is 0,
 * prints which, and sends back what it receives.  Both files are in PEM format.
 *
 * Reading may require OpenSSL to write, writing may require it to read, and it
 * may have read more than it has returned.  So there is a single handler, which
 * goes on until OpenSSL says which of the two it waits for.
 *
 * To try it (libssl-dev, openssl):
 *
 *	cc tls_echo.c $(pkg-config --cflags --libs ivykis openssl) -o tls_echo
 *	openssl req -x509 -nodes -subj /CN=localhost -keyout key -out cert
 *	./tls_echo 7000 cert key &
 *	openssl s_client -connect 127.0.0.1:7000 -CAfile cert -quiet
 */

#include <arpa/inet.h>
#include <iv.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

/* Calls before other clients have a turn. */
#define ROUNDS	16

struct connection {
	struct iv_fd		fd;
	SSL			*ssl;
	int			start;		/* of the unsent bytes */
	int			len;
	char			buf[4096];
};

static SSL_CTX *ctx;
static struct iv_fd listener;
static struct iv_timer pause_over;		/* for the listener */

static void end_connection(struct connection *c)
{
	iv_fd_unregister(&c->fd);
	SSL_free(c->ssl);
	close(c->fd.fd);
	free(c);
}

/* Sends, or else receives; returns SSL_ERROR_*. */
static int echo(struct connection *c)
{
	int ret;

	ERR_clear_error();
	if (c->len > 0) {
		ret = SSL_write(c->ssl, c->buf + c->start, c->len);
		if (ret > 0) {
			c->start += ret;
			c->len -= ret;
		}
	} else {
		/* The first call does the handshake, too. */
		ret = SSL_read(c->ssl, c->buf, sizeof(c->buf));
		if (ret > 0) {
			c->start = 0;
			c->len = ret;
		}
	}

	return SSL_get_error(c->ssl, ret);
}

static void go_on(void *_c)
{
	struct connection *c = _c;
	int error = SSL_ERROR_NONE;
	int i;

	for (i = 0; i < ROUNDS && error == SSL_ERROR_NONE; i++)
		error = echo(c);

	switch (error) {
	case SSL_ERROR_WANT_READ:
		iv_fd_set_handler_in(&c->fd, go_on);
		iv_fd_set_handler_out(&c->fd, NULL);
		break;
	case SSL_ERROR_NONE:
		/* Mostly there is room, so send in the next iteration. */
	case SSL_ERROR_WANT_WRITE:
		iv_fd_set_handler_in(&c->fd, NULL);
		iv_fd_set_handler_out(&c->fd, go_on);
		break;
	case SSL_ERROR_ZERO_RETURN:
		SSL_shutdown(c->ssl);
		/* fall through */
	default:
		end_connection(c);
	}
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
	if (c != NULL)
		c->ssl = SSL_new(ctx);
	if (c == NULL || c->ssl == NULL) {
		free(c);
		close(sock);
		return;
	}
	IV_FD_INIT(&c->fd);
	c->fd.fd = sock;
	c->fd.cookie = c;
	c->fd.handler_in = go_on;
	/* This makes the descriptor non-blocking. */
	iv_fd_register(&c->fd);
	SSL_set_fd(c->ssl, sock);
	SSL_set_accept_state(c->ssl);
}

static void accept_again(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_connection);
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
		perror("tls_echo");
		exit(1);
	}
	printf("tls_echo: port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	listener.handler_in = got_connection;
	iv_fd_register(&listener);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: tls_echo PORT CERTIFICATE KEY\n");
		return 1;
	}

	ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL ||
	    SSL_CTX_use_certificate_chain_file(ctx, argv[2]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, argv[3], SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		return 1;
	}

	iv_init();
	IV_TIMER_INIT(&pause_over);
	pause_over.handler = accept_again;
	open_listener(atoi(argv[1]));
	iv_main();

	return 0;
}

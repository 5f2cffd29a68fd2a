/*
 * tls_echo: OpenSSL in the loop, without blocking.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: tls_echo PORT CERTIFICATE KEY
 *
 * Listens on port PORT of 127.0.0.1 (with 0 the kernel chooses one; it is said
 * on standard output), and sends back by TLS what comes in.  The two files are
 * in PEM format.  Needs OpenSSL.
 *
 * To read may take a write and the other way round, and OpenSSL may have read
 * more than it has returned.  So there is one handler, which tries until
 * OpenSSL says which of the two it waits for.
 */

#include <arpa/inet.h>
#include <iv.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

/* So that a client that never pauses does not keep the others waiting. */
#define ROUNDS	16

struct connection {
	struct iv_fd		fd;
	SSL			*ssl;
	int			start;		/* of what is not sent yet */
	int			len;
	char			buf[4096];
};

static SSL_CTX *ctx;
static struct iv_fd listener;
static struct iv_timer rest_over;		/* for the listener */

static void end_connection(struct connection *c)
{
	iv_fd_unregister(&c->fd);
	SSL_free(c->ssl);
	close(c->fd.fd);
	free(c);
}

/* Whatever SSL_read() and SSL_write() return, and SSL_ERROR_* about it. */
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
		/* The first call makes the handshake as well. */
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
		/* Once the others had their turn: most often there is room. */
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
		/* The listener stays readable: not to spin, it has a rest. */
		iv_fd_set_handler_in(&listener, NULL);
		iv_timer_register_in_ms(&rest_over, 100);
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
	/* From here the descriptor is non-blocking. */
	iv_fd_register(&c->fd);
	SSL_set_fd(c->ssl, sock);
	SSL_set_accept_state(c->ssl);
}

static void rested(void *cookie)
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
	IV_TIMER_INIT(&rest_over);
	rest_over.handler = rested;
	open_listener(atoi(argv[1]));
	iv_main();

	return 0;
}

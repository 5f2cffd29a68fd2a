/*
 * notify: post to an unrelated program.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: notify PATH [TIMES]
 *
 * The program connects to the Unix socket PATH, on which listen.c sends it a
 * descriptor, and posts through that TIMES (1) times, once a second.  It has no
 * loop and never calls iv_init().  To try it, start listen first:
 *
 *	cc notify.c $(pkg-config --cflags --libs ivykis) -o notify
 *	./notify /tmp/listen 3
 */

#include <errno.h>
#include <iv_event_raw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(addr.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -1;

	return fd;
}

/* Returns -1 with errno set: EPROTO if the peer sent no descriptor. */
static int receive_descriptor(int sock)
{
	union {
		char		buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr	align;
	} control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov	= &iov,
		.msg_iovlen	= 1,
		.msg_control	= control.buf,
		.msg_controllen	= sizeof(control.buf),
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, 0) < 0)
		return -1;

	c = CMSG_FIRSTHDR(&msg);
	if (c == NULL || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int))) {
		errno = EPROTO;
		return -1;
	}
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));

	return fd;
}

int main(int argc, char **argv)
{
	int times = argc == 3 ? atoi(argv[2]) : 1;
	int sock;
	int fd;

	if (argc < 2 || argc > 3 || times < 1) {
		fprintf(stderr, "usage: notify PATH [TIMES]\n");
		return 1;
	}

	sock = open_socket(argv[1]);
	fd = sock >= 0 ? receive_descriptor(sock) : -1;
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	close(sock);

	while (times-- > 0) {
		if (iv_event_raw_post_fd(fd) < 0) {
			perror("notify: iv_event_raw_post_fd");
			return 1;
		}
		if (times > 0)
			sleep(1);
	}

	return 0;
}

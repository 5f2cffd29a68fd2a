/*
 * tcp_client: copies standard input to a TCP port of this machine, and the
 * reply to standard output.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: tcp_client PORT
 *
 * It passes on the end of its input, and exits after the end of the reply.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int copy(int from, int to)
{
	char buf[10000];
	ssize_t len;
	ssize_t done;
	ssize_t ret;

	while ((len = read(from, buf, sizeof(buf))) > 0) {
		for (done = 0; done < len; done += ret) {
			ret = write(to, buf + done, len - done);
			if (ret < 0)
				return -1;
		}
	}

	return len;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {
		.sin_family		= AF_INET,
		.sin_port		= htons(argc > 1 ? atoi(argv[1]) : 0),
		.sin_addr.s_addr	= htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int status;

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror("tcp_client: connect");
		return 1;
	}

	/* Both directions at once: the peer may not read until it can write. */
	if (fork() == 0) {
		status = copy(0, fd);
		shutdown(fd, SHUT_WR);
		_exit(status < 0);
	}
	if (copy(fd, 1) < 0) {
		perror("tcp_client");
		return 1;
	}
	wait(&status);

	return status != 0;
}

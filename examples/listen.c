/*
 * listen: be notified by unrelated programs.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: listen PATH
 *
 * The program sends a descriptor to each client of the Unix socket PATH, and
 * prints a line whenever somebody posts through one (see notify.c).  The
 * connections are closed at once; posts need none.  SIGINT and SIGTERM end it.
 * To try it:
 *
 *	cc listen.c $(pkg-config --cflags --libs ivykis) -o listen
 *	./listen /tmp/listen &
 */

#include <iv.h>
#include <iv_event_raw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct iv_event_raw notified;
static struct iv_event_raw stop;
static struct iv_fd listener;
static struct iv_timer pause_over;		/* for the listener */

static void got_notified(void *cookie)
{
	(void)cookie;
	puts("notified");
	fflush(stdout);
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

/* A descriptor is sent along with a message of at least one byte. */
static int send_descriptor(int sock, int fd)
{
	union {
		char		buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr	align;
	} control = { .buf = "" };
	struct iovec iov = { .iov_base = "", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov	= &iov,
		.msg_iovlen	= 1,
		.msg_control	= control.buf,
		.msg_controllen	= sizeof(control.buf),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));

	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -1;
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

static void got_connection(void *cookie)
{
	int fd = iv_event_raw_export(&notified);
	int sock = -1;

	(void)cookie;
	if (fd >= 0)
		sock = accept(listener.fd, NULL, NULL);
	if (sock < 0 && errno != EAGAIN && errno != EINTR &&
	    errno != ECONNABORTED)
		pause_listener();
	if (sock >= 0 && send_descriptor(sock, fd) < 0)
		perror("listen: sending a descriptor");
	if (fd >= 0)
		close(fd);
	if (sock >= 0)
		close(sock);
}

static void accept_again(void *cookie)
{
	(void)cookie;
	iv_fd_set_handler_in(&listener, got_connection);
}

static int open_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(addr.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 16) < 0)
		return -1;

	return fd;
}

static void must_register(struct iv_event_raw *event, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(event);
	event->handler = handler;
	if (iv_event_raw_register(event) < 0) {
		perror("listen: iv_event_raw_register");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = got_signal };

	if (argc != 2) {
		fprintf(stderr, "usage: listen PATH\n");
		return 1;
	}

	iv_init();
	must_register(&stop, got_stop);
	must_register(&notified, got_notified);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);

	IV_FD_INIT(&listener);
	listener.fd = open_socket(argv[1]);
	if (listener.fd < 0) {
		perror(argv[1]);
		return 1;
	}
	listener.handler_in = got_connection;
	iv_fd_register(&listener);

	IV_TIMER_INIT(&pause_over);
	pause_over.handler = accept_again;

	iv_main();

	unlink(argv[1]);
	if (iv_timer_registered(&pause_over))
		iv_timer_unregister(&pause_over);
	iv_fd_unregister(&listener);
	close(listener.fd);
	iv_event_raw_unregister(&notified);
	iv_event_raw_unregister(&stop);
	iv_deinit();

	return 0;
}

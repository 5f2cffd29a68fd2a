/*
 * embed_uv: the loop inside that of libuv.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: embed_uv
 *
 * A child process that ivykis started writes lines, which ivykis reads, while
 * libuv runs both loops and a timer of its own.  To try it (libuv1-dev):
 *
 *	cc embed_uv.c $(pkg-config --cflags --libs ivykis libuv) -o embed_uv
 *	./embed_uv
 */

#include <iv.h>
#include <iv_popen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/*
 * Embedding takes the next two functions.  libuv watches the descriptor
 * level-triggered, so one iteration per call is enough, and lets the other
 * handles of libuv have their turns.  Once nothing is registered with ivykis,
 * it no longer keeps uv_run() running.
 */
static void run_ivykis(uv_poll_t *poll, int status, int events)
{
	static const struct timespec do_not_wait;

	(void)status;
	(void)events;
	if (!iv_main_once(&do_not_wait))
		uv_poll_stop(poll);
}

static void embed_ivykis(uv_loop_t *loop, uv_poll_t *poll)
{
	int fd;

	iv_init();
	fd = iv_loop_fd();
	if (fd < 0) {
		perror("embed_uv: iv_loop_fd");
		exit(1);
	}
	if (uv_poll_init(loop, poll, fd) != 0 ||
	    uv_poll_start(poll, UV_READABLE, run_ivykis) != 0) {
		fprintf(stderr, "embed_uv: libuv cannot watch the loop\n");
		exit(1);
	}
}


static struct iv_popen_request popen_request;
static struct iv_fd out;
static uv_timer_t timer;
static int ticks;

static void tick(uv_timer_t *handle)
{
	ticks++;
	(void)handle;
}

static void readable(void *cookie)
{
	char buf[256];
	ssize_t len = read(out.fd, buf, sizeof(buf));

	(void)cookie;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len > 0) {
		fwrite(buf, 1, len, stdout);
		return;
	}

	/* These were the last objects registered with ivykis. */
	iv_fd_unregister(&out);
	close(out.fd);
	iv_popen_request_close(&popen_request);
	uv_timer_stop(&timer);
}

static void start_program(void)
{
	static char *argv[] = {
		"sh", "-c", "for i in 1 2 3; do sleep 0.02; echo line $i; done",
		NULL,
	};

	IV_POPEN_REQUEST_INIT(&popen_request);
	popen_request.file = "/bin/sh";
	popen_request.argv = argv;
	popen_request.type = "r";

	IV_FD_INIT(&out);
	out.fd = iv_popen_request_submit(&popen_request);
	if (out.fd < 0) {
		perror("embed_uv: iv_popen_request_submit");
		exit(1);
	}
	out.handler_in = readable;
	iv_fd_register(&out);
}

int main(void)
{
	uv_loop_t *loop = uv_default_loop();
	uv_poll_t poll;

	embed_ivykis(loop, &poll);
	uv_timer_init(loop, &timer);
	uv_timer_start(&timer, tick, 1, 1);
	start_program();

	uv_run(loop, UV_RUN_DEFAULT);
	printf("libuv: %s\n", ticks > 0 ? "timers ran, too" : "no timer ran");

	uv_close((uv_handle_t *)&poll, NULL);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	iv_deinit();

	return 0;
}

/*
 * dbus_service: a D-Bus service by sd-bus.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: dbus_service
 *
 * The program offers a method, Reverse, on the user's bus, until the bus goes
 * away or SIGTERM comes.  To sd-bus a connection is a descriptor and a timeout,
 * both of which may change with each call; so update() follows every call that
 * deals with messages.  To try it (libsystemd-dev):
 *
 *	cc dbus_service.c -o dbus_service \
 *		$(pkg-config --cflags --libs ivykis libsystemd)
 *	./dbus_service &
 *	busctl --user call org.example.Ivykis / org.example.Ivykis Reverse s abc
 */

#include <iv.h>
#include <iv_signal.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

static sd_bus *bus;
static struct iv_fd fd;
static struct iv_timer timeout;
static struct iv_signal on_term;
static int failed;

static void end(void *cookie)
{
	(void)cookie;
	if (iv_timer_registered(&timeout))
		iv_timer_unregister(&timeout);
	iv_fd_unregister(&fd);
	iv_signal_unregister(&on_term);
	/* Sends what is queued, and closes the descriptor. */
	sd_bus_flush_close_unref(bus);
}

static void fail(int error)
{
	fprintf(stderr, "dbus_service: %s\n", strerror(-error));
	failed = 1;
	end(NULL);
}

static void process(void *cookie);

/* From here on, wait for what sd-bus waits for. */
static void update(void)
{
	int events = sd_bus_get_events(bus);
	uint64_t usec;

	/* The connection is gone. */
	if (events < 0) {
		fail(events);
		return;
	}
	iv_fd_set_handler_in(&fd, events & POLLIN ? process : NULL);
	iv_fd_set_handler_out(&fd, events & POLLOUT ? process : NULL);

	if (iv_timer_registered(&timeout))
		iv_timer_unregister(&timeout);
	if (sd_bus_get_timeout(bus, &usec) >= 0 && usec != UINT64_MAX) {
		/* Both are times of CLOCK_MONOTONIC. */
		timeout.expires.tv_sec = usec / 1000000;
		timeout.expires.tv_nsec = usec % 1000000 * 1000;
		iv_timer_register(&timeout);
	}
}

/* One message at a time: sd-bus asks for a timeout of 0 if there are more. */
static void process(void *cookie)
{
	int ret = sd_bus_process(bus, NULL);

	(void)cookie;
	if (ret < 0)
		fail(ret);
	else
		update();
}

static int reverse(sd_bus_message *m, void *cookie, sd_bus_error *error)
{
	const char *text;
	char *reversed;
	size_t len;
	size_t i;
	int ret;

	(void)cookie;
	(void)error;
	ret = sd_bus_message_read(m, "s", &text);
	if (ret < 0)
		return ret;

	len = strlen(text);
	reversed = calloc(1, len + 1);
	if (reversed == NULL)
		return -ENOMEM;
	for (i = 0; i < len; i++)
		reversed[i] = text[len - 1 - i];
	ret = sd_bus_reply_method_return(m, "s", reversed);
	free(reversed);

	return ret;
}

static const sd_bus_vtable methods[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Reverse", "s", "s", reverse, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END
};

static void attach(void)
{
	IV_TIMER_INIT(&timeout);
	timeout.handler = process;
	IV_FD_INIT(&fd);
	fd.fd = sd_bus_get_fd(bus);
	iv_fd_register(&fd);
	update();
}

int main(void)
{
	int ret;

	iv_init();
	IV_SIGNAL_INIT(&on_term);
	on_term.signum = SIGTERM;
	on_term.flags = 0;
	on_term.handler = end;
	if (iv_signal_register(&on_term) < 0) {
		perror("dbus_service: iv_signal_register");
		return 1;
	}

	ret = sd_bus_open_user(&bus);
	if (ret >= 0)
		ret = sd_bus_add_object_vtable(bus, NULL, "/",
					       "org.example.Ivykis", methods,
					       NULL);
	if (ret >= 0)
		ret = sd_bus_request_name(bus, "org.example.Ivykis", 0);
	if (ret < 0) {
		fprintf(stderr, "dbus_service: %s\n", strerror(-ret));
		return 1;
	}
	attach();
	puts("dbus_service: serving");
	fflush(stdout);

	iv_main();
	iv_deinit();

	return failed;
}

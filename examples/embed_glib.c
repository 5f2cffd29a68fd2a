/*
 * embed_glib: the loop inside that of GLib.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: embed_glib
 *
 * A thread posts to an event of ivykis, whose handler GLib's main loop runs
 * along with the sources of GLib itself.  To try it (libglib2.0-dev):
 *
 *	cc -pthread embed_glib.c -o embed_glib \
 *		$(pkg-config --cflags --libs ivykis glib-2.0)
 *	./embed_glib
 */

#include <glib-unix.h>
#include <iv.h>
#include <iv_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Embedding takes the next two functions.  GLib watches the descriptor
 * level-triggered, so one iteration per call is enough, and lets the other
 * sources of GLib have their turns.
 */
static gboolean run_ivykis(gint fd, GIOCondition condition, gpointer cookie)
{
	static const struct timespec do_not_wait;

	(void)fd;
	(void)condition;
	(void)cookie;
	iv_main_once(&do_not_wait);

	return G_SOURCE_CONTINUE;
}

static guint embed_ivykis(void)
{
	int fd;

	iv_init();
	fd = iv_loop_fd();
	if (fd < 0) {
		perror("embed_glib: iv_loop_fd");
		exit(1);
	}

	return g_unix_fd_add(fd, G_IO_IN, run_ivykis, NULL);
}


#define POSTS	5

static GMainLoop *loop;
static struct iv_event event;
static struct iv_timer timer;
static int posts;

static void *post(void *arg)
{
	int i;

	/* Each post wakes GLib; those that it has not handled are coalesced. */
	for (i = 0; i < POSTS; i++) {
		__atomic_fetch_add(&posts, 1, __ATOMIC_RELAXED);
		iv_event_post(&event);
		g_usleep(1000);
	}

	return arg;
}

static void timed_out(void *cookie)
{
	(void)cookie;
	puts("ivykis: the time is over");
	g_main_loop_quit(loop);
}

/* A handler of GLib may register objects of ivykis. */
static gboolean all_seen(gpointer cookie)
{
	(void)cookie;
	puts("glib: idle");
	IV_TIMER_INIT(&timer);
	timer.handler = timed_out;
	iv_timer_register_in_ms(&timer, 10);

	return G_SOURCE_REMOVE;
}

/* A handler of ivykis may add sources to GLib. */
static void posted(void *cookie)
{
	(void)cookie;
	if (__atomic_load_n(&posts, __ATOMIC_RELAXED) < POSTS)
		return;
	puts("ivykis: all posts are seen");
	iv_event_unregister(&event);
	g_idle_add(all_seen, NULL);
}

int main(void)
{
	pthread_t thread;
	guint source = embed_ivykis();

	loop = g_main_loop_new(NULL, FALSE);

	IV_EVENT_INIT(&event);
	event.handler = posted;
	if (iv_event_register(&event) < 0) {
		perror("embed_glib: iv_event_register");
		return 1;
	}
	if (pthread_create(&thread, NULL, post, NULL) != 0)
		return 1;

	g_main_loop_run(loop);

	pthread_join(thread, NULL);
	g_source_remove(source);
	g_main_loop_unref(loop);
	iv_deinit();

	return 0;
}

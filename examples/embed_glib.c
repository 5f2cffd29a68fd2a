/*
 * An event loop of ivykis inside of that of GLib: a thread posts to an object
 * of ivykis, whose handler runs in GLib's main loop, by turns with a source of
 * GLib's own.
 *
 *	embed_glib
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <glib-unix.h>
#include <iv.h>
#include <iv_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * To embed it takes these lines.  GLib watches the descriptor level-triggered,
 * so one iteration for each readiness lets GLib's other sources have their turns.
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

	/* Each one wakes GLib, unless it sees several at once. */
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

/* A handler of GLib's registers an object of ivykis. */
static gboolean all_seen(gpointer cookie)
{
	(void)cookie;
	puts("glib: idle");
	IV_TIMER_INIT(&timer);
	timer.handler = timed_out;
	iv_timer_register_in_ms(&timer, 10);

	return G_SOURCE_REMOVE;
}

/* And the other way around. */
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

/*
 * watch: print what happens in directories.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: watch DIRECTORY...
 *
 * A line is printed for each change.  The program ends when all directories are
 * gone, or on SIGINT or SIGTERM.  To try it:
 *
 *	cc watch.c $(pkg-config --cflags --libs ivykis) -o watch
 *	./watch /tmp &
 *	touch /tmp/here
 */

#include <iv.h>
#include <iv_event_raw.h>
#include <iv_inotify.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define WANTED	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |	\
		 IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |		\
		 IN_MOVE_SELF | IN_ONLYDIR)

static const struct {
	uint32_t	bit;
	const char	*what;
} things[] = {
	{ IN_CREATE,		"created" },
	{ IN_DELETE,		"deleted" },
	{ IN_MOVED_FROM,	"moved away" },
	{ IN_MOVED_TO,		"moved here" },
	{ IN_CLOSE_WRITE,	"written" },
	{ IN_ATTRIB,		"changed" },
	{ IN_DELETE_SELF,	"deleted" },
	{ IN_MOVE_SELF,		"moved" },
	{ IN_UNMOUNT,		"unmounted" },
	{ IN_Q_OVERFLOW,	"changes were lost" },
};

static struct iv_inotify in;
static struct iv_inotify_watch *watches;
static int num_watches;
static int left;
static struct iv_event_raw stop;

static void say(const char *dir, const struct inotify_event *event,
		const char *what)
{
	if (event->len)
		printf("%s/%s", dir, event->name);
	else
		printf("%s", dir);
	printf("%s: %s\n", event->mask & IN_ISDIR ? "/" : "", what);
	fflush(stdout);
}

static void happened(void *_w, struct inotify_event *event)
{
	struct iv_inotify_watch *w = _w;
	size_t i;

	for (i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
		if (event->mask & things[i].bit)
			say(w->pathname, event, things[i].what);
	}

	/* The watch is gone, and has been unregistered. */
	if ((event->mask & IN_IGNORED) && --left == 0)
		iv_quit();
}

static int watch(struct iv_inotify_watch *w, const char *dir)
{
	IV_INOTIFY_WATCH_INIT(w);
	w->inotify = &in;
	w->pathname = dir;
	w->mask = WANTED;
	w->cookie = w;
	w->handler = happened;

	return iv_inotify_watch_register(w);
}

static int watch_all(char **dirs)
{
	int i;

	watches = calloc(num_watches, sizeof(*watches));
	if (watches == NULL) {
		perror("watch");
		return -1;
	}

	for (i = 0; i < num_watches; i++) {
		if (watch(&watches[i], dirs[i]) < 0) {
			perror(dirs[i]);
			return -1;
		}
		left++;
	}

	return 0;
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

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = got_signal };

	if (argc < 2) {
		fprintf(stderr, "usage: watch DIRECTORY...\n");
		return 1;
	}
	num_watches = argc - 1;

	iv_init();

	IV_EVENT_RAW_INIT(&stop);
	stop.handler = got_stop;
	IV_INOTIFY_INIT(&in);
	if (iv_event_raw_register(&stop) < 0 ||
	    iv_inotify_register(&in) < 0) {
		perror("watch");
		return 1;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);

	if (watch_all(argv + 1) < 0)
		return 1;
	printf("watching\n");
	fflush(stdout);

	iv_main();

	/* This unregisters the remaining watches, too. */
	iv_inotify_unregister(&in);
	iv_event_raw_unregister(&stop);
	iv_deinit();
	free(watches);

	return 0;
}

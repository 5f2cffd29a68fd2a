/*
 * reload: a program that reads its configuration again on SIGHUP.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: reload FILE
 *
 * The program prints how many settings FILE has (lines that are neither empty
 * nor begin with #), and does so again after each SIGHUP.  If the file cannot
 * be read then, the old settings stay in force.  SIGTERM and SIGINT end it.  To
 * try it:
 *
 *	cc reload.c $(pkg-config --cflags --libs ivykis) -o reload
 *	./reload /etc/services &
 *	kill -HUP $!
 */

#include <iv.h>
#include <iv_signal.h>
#include <stdio.h>
#include <string.h>

struct daemon {
	const char		*path;
	int			num_settings;
	struct iv_signal	on_hup;
	struct iv_signal	on_int;
	struct iv_signal	on_term;
};

/* Returns the number of settings, or -1 with errno set. */
static int read_settings(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[1024];
	int num = 0;
	int err;

	if (f == NULL)
		return -1;
	while (fgets(line, sizeof(line), f) != NULL)
		num += line[0] != '\n' && line[0] != '#';
	err = ferror(f) ? errno : 0;
	fclose(f);
	errno = err;

	return err ? -1 : num;
}

static int load(struct daemon *d)
{
	int num = read_settings(d->path);

	if (num < 0) {
		fprintf(stderr, "reload: %s: %s\n", d->path, strerror(errno));
		return -1;
	}
	d->num_settings = num;
	printf("%s: %d settings\n", d->path, num);

	return 0;
}

static void hup_came(void *_d)
{
	struct daemon *d = _d;

	if (load(d) < 0)
		printf("%s: still %d settings\n", d->path, d->num_settings);
}

/* Nothing stays registered, so iv_main() returns. */
static void end(void *_d)
{
	struct daemon *d = _d;

	printf("ending\n");
	iv_signal_unregister(&d->on_hup);
	iv_signal_unregister(&d->on_int);
	iv_signal_unregister(&d->on_term);
}

static int catch(struct daemon *d, struct iv_signal *s, int signum,
		 void (*handler)(void *))
{
	IV_SIGNAL_INIT(s);
	s->signum = signum;
	s->flags = 0;
	s->cookie = d;
	s->handler = handler;

	return iv_signal_register(s);
}

int main(int argc, char **argv)
{
	struct daemon d;

	if (argc != 2) {
		fprintf(stderr, "usage: reload FILE\n");
		return 1;
	}
	d.path = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);

	iv_init();
	/* First, so that a SIGHUP while the file is read is not missed. */
	if (catch(&d, &d.on_hup, SIGHUP, hup_came) < 0 ||
	    catch(&d, &d.on_int, SIGINT, end) < 0 ||
	    catch(&d, &d.on_term, SIGTERM, end) < 0) {
		perror("reload: iv_signal_register");
		return 1;
	}
	if (load(&d) < 0)
		return 1;

	iv_main();
	iv_deinit();

	return 0;
}

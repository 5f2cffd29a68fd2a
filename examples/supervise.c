/*
 * supervise: keep commands running.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: supervise [-d SECONDS] COMMAND...
 *
 * Each COMMAND is run by sh -c, and started again SECONDS (1) after it ended,
 * whatever the reason.  On SIGTERM or SIGINT, commands that still run are sent
 * SIGTERM and, five seconds later, SIGKILL; supervise ends when none is left.
 * To try it:
 *
 *	cc supervise.c $(pkg-config --cflags --libs ivykis) -o supervise
 *	./supervise 'sleep 2' 'sleep 5; exit 1'
 */

#include <iv.h>
#include <iv_list.h>
#include <iv_signal.h>
#include <iv_wait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE	5	/* seconds between SIGTERM and SIGKILL */

struct command {
	char			*text;
	int			running;
	struct iv_wait_interest	wait;		/* while running */
	struct iv_timer		restart;	/* else */
};

static struct command *commands;
static int num_commands;
static int delay = 1;

static struct iv_signal on_int;
static struct iv_signal on_term;
static struct iv_timer patience;
static int stopping;

static void arm(struct iv_timer *timer, int seconds)
{
	timer->expires = iv_now;
	timer->expires.tv_sec += seconds;
	iv_timer_register(timer);
}

/* Without the timer, iv_main() has nothing left to wait for, and returns. */
static void end_if_none_runs(void)
{
	int i;

	for (i = 0; i < num_commands; i++) {
		if (commands[i].running)
			return;
	}
	iv_timer_unregister(&patience);
}

static void say_end(const struct command *c, int status)
{
	if (WIFEXITED(status))
		printf("%d: exited with %d: %s\n", (int)c->wait.pid,
		       WEXITSTATUS(status), c->text);
	else
		printf("%d: killed by signal %d: %s\n", (int)c->wait.pid,
		       WTERMSIG(status), c->text);
}

static void state_changed(void *_c, int status, const struct rusage *rusage)
{
	struct command *c = _c;

	(void)rusage;
	if (!WIFEXITED(status) && !WIFSIGNALED(status))
		return;

	say_end(c, status);
	iv_wait_interest_unregister(&c->wait);
	c->running = 0;
	if (stopping)
		end_if_none_runs();
	else
		arm(&c->restart, delay);
}

static void run(void *text)
{
	execl("/bin/sh", "sh", "-c", (char *)text, (char *)NULL);
	_exit(127);
}

static void start(void *_c)
{
	struct command *c = _c;

	if (iv_wait_interest_register_spawn(&c->wait, run, c->text) < 0) {
		fprintf(stderr, "supervise: cannot start: %s\n",
			strerror(errno));
		arm(&c->restart, delay);
		return;
	}
	c->running = 1;
	printf("%d: started: %s\n", (int)c->wait.pid, c->text);
}

static void signal_all(int sig)
{
	int i;

	for (i = 0; i < num_commands; i++) {
		struct command *c = &commands[i];

		if (c->running)
			iv_wait_interest_kill(&c->wait, sig);
		else if (iv_timer_registered(&c->restart))
			iv_timer_unregister(&c->restart);
	}
}

static void patience_is_over(void *cookie)
{
	(void)cookie;
	signal_all(SIGKILL);
	/* A registered timer keeps iv_main() running until all have ended. */
	arm(&patience, PATIENCE);
}

static void stop(void *cookie)
{
	(void)cookie;
	stopping = 1;
	iv_signal_unregister(&on_int);
	iv_signal_unregister(&on_term);
	signal_all(SIGTERM);
	arm(&patience, PATIENCE);
	end_if_none_runs();
}

static int stop_on(struct iv_signal *s, int signum)
{
	IV_SIGNAL_INIT(s);
	s->signum = signum;
	s->flags = 0;
	s->handler = stop;

	return iv_signal_register(s);
}

static void begin(struct command *c, char *text)
{
	c->text = text;
	IV_WAIT_INTEREST_INIT(&c->wait);
	c->wait.cookie = c;
	c->wait.handler = state_changed;
	IV_TIMER_INIT(&c->restart);
	c->restart.cookie = c;
	c->restart.handler = start;
	start(c);
}

int main(int argc, char **argv)
{
	int first = 1;
	int i;

	if (argc > 2 && !strcmp(argv[1], "-d")) {
		delay = atoi(argv[2]);
		first = 3;
	}
	if (argc <= first || delay < 0) {
		fprintf(stderr, "usage: supervise [-d SECONDS] COMMAND...\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);

	iv_init();
	IV_TIMER_INIT(&patience);
	patience.handler = patience_is_over;
	if (stop_on(&on_int, SIGINT) < 0 || stop_on(&on_term, SIGTERM) < 0) {
		perror("supervise: iv_signal_register");
		return 1;
	}

	num_commands = argc - first;
	commands = calloc(num_commands, sizeof(*commands));
	if (commands == NULL) {
		perror("supervise");
		return 1;
	}
	for (i = 0; i < num_commands; i++)
		begin(&commands[i], argv[first + i]);

	iv_main();
	iv_deinit();
	free(commands);

	return 0;
}

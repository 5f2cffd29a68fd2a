/*
 * libivykis: programs that are run with a pipe from or to them.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is a struct child for each program until the program was waited for.
 * The request points to it until the request is closed or the program is dead.
 * This file uses the public calls of iv_wait and iv_timer.
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_popen.h>
#include <iv_tls.h>
#include <iv_wait.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "iv_cancel.h"
#include "iv_private.h"

/* One SIGTERM after another, then one SIGKILL after another. */
#define SECONDS_BETWEEN_SIGNALS	5
#define NUM_SIGTERMS		5

struct child {
	struct iv_list_head		list;	/* of its loop's */
	struct iv_wait_interest		wait;
	struct iv_timer			timer;	/* the next signal */
	int				signals;
	struct iv_popen_request		*request;	/* NULL: closed */
	struct iv_state			*owner;	/* NULL: the loop has ended */
};

/* What the new process needs to know. */
struct program {
	const struct iv_popen_request	*request;
	int				target;	/* the pipe's number there */
	int				end;
	int				callers_end;
};

static int above_standard(int fd)
{
	return fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD, STDERR_FILENO + 1);
}

/*
 * Opens /dev/null, or a substitute for a chroot without it: an empty pipe to
 * read from, or a pipe without a reader, to which writing fails with EPIPE.
 */
static int open_null(int fd)
{
	int null = open("/dev/null", O_RDWR);
	int pipes[2];

	if (null >= 0 || errno == EMFILE || errno == ENFILE)
		return null;
	if (pipe(pipes) < 0)
		return -1;
	(void)close(pipes[fd == STDIN_FILENO]);

	return pipes[fd != STDIN_FILENO];
}

static int set_up_null(int fd)
{
	int null = open_null(fd);

	if (null < 0 || null == fd)
		return null;
	if (dup2(null, fd) < 0)
		return -1;

	return close(null);
}

/*
 * The standard descriptors may be closed here, and then others may have their
 * numbers.  The ones that remain above them are closed by exec.
 */
static int set_up_descriptors(const struct program *p)
{
	int end, fd;

	/* If the table of descriptors is full, this makes room in it. */
	(void)close(p->callers_end);

	end = above_standard(p->end);
	if (end < 0)
		return -1;
	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fd != p->target && set_up_null(fd) < 0)
			return -1;
	}
	if (dup2(end, p->target) < 0)
		return -1;

	return close(end);
}

/* Not exit(3): only the parent may write what stdio has buffered. */
static void run_program(void *_p)
{
	const struct program *p = _p;

	if (set_up_descriptors(p) == 0)
		(void)execvp(p->request->file, p->request->argv);
	_exit(1);
}

/* From here on the program is not waited for. */
static void forget(struct child *child)
{
	iv_list_del(&child->list);
	iv_wait_interest_unregister(&child->wait);
	if (iv_timer_registered(&child->timer))
		iv_timer_unregister(&child->timer);
}

static void drop(struct child *child)
{
	forget(child);
	if (child->request != NULL)
		child->request->child = NULL;
	free(child);
}

/* A loop has a list of its children. */
static void begin_loop(void *children)
{
	INIT_IV_LIST_HEAD((struct iv_list_head *)children);
}

/*
 * The programs run on.  A request that is not closed yet points to its child,
 * and may have been freed itself.
 */
static void end_loop(void *children)
{
	struct iv_list_head *ilh, *next;

	iv_list_for_each_safe (ilh, next, (struct iv_list_head *)children) {
		struct child *child = iv_container_of(ilh, struct child, list);

		forget(child);
		child->owner = NULL;
		if (child->request == NULL)
			free(child);
	}
}

static struct iv_tls_user loop_user = {
	.sizeof_state	= sizeof(struct iv_list_head),
	.init_thread	= begin_loop,
	.deinit_thread	= end_loop,
};

/*
 * Early: a program's own constructors may call iv_init().  And before that of
 * iv_wait.c, so that the interests of a loop are there when end_loop() runs.
 */
__attribute__((constructor(101)))
static void loop_user_constructor(void)
{
	iv_tls_user_register(&loop_user);
}

/*
 * A request may be submitted again while the program of an earlier submission
 * runs, and no longer stands for that one then.  The request's private members
 * need not be initialised, so they are not read.
 */
static void forget_earlier(const struct iv_popen_request *r)
{
	struct iv_list_head *children = iv_tls_user_ptr(&loop_user);
	struct iv_list_head *ilh;

	iv_list_for_each (ilh, children) {
		struct child *child = iv_container_of(ilh, struct child, list);

		if (child->request == r)
			child->request = NULL;
	}
}

static void state_changed(void *_child, int status, const struct rusage *rusage)
{
	(void)rusage;
	if (WIFEXITED(status) || WIFSIGNALED(status))
		drop(_child);
}

static void send_signal(void *_child)
{
	struct child *child = _child;
	int sig = child->signals++ < NUM_SIGTERMS ? SIGTERM : SIGKILL;
	int ret = iv_wait_interest_kill(&child->wait, sig);

	/* Its death was collected already, or it is a child of our parent. */
	if (ret == -ESRCH)
		drop(child);
	/* It may run as another user by now: go on waiting for its end. */
	if (ret < 0)
		return;

	child->timer.expires = iv_now;
	child->timer.expires.tv_sec += SECONDS_BETWEEN_SIGNALS;
	iv_timer_register(&child->timer);
}

static struct child *create(struct iv_popen_request *r)
{
	struct child *child = calloc(1, sizeof(*child));

	if (child == NULL)
		return NULL;

	child->request = r;
	child->owner = iv_self;
	IV_WAIT_INTEREST_INIT(&child->wait);
	child->wait.cookie = child;
	child->wait.handler = state_changed;
	IV_TIMER_INIT(&child->timer);
	child->timer.cookie = child;
	child->timer.handler = send_signal;

	return child;
}

/* The caller's end, or -1 with errno. */
static int start(struct child *child, int caller_reads)
{
	struct program p = {
		.request	= child->request,
		.target		= caller_reads ? STDOUT_FILENO : STDIN_FILENO,
	};
	int pipes[2];
	int ret;

	if (iv_sys_pipe(pipes, 0) < 0)
		return -1;
	p.end = pipes[caller_reads ? 1 : 0];
	/* Never a standard descriptor, to which other code may write. */
	p.callers_end = iv_process_move_fd(pipes[caller_reads ? 0 : 1]);

	ret = iv_wait_interest_register_spawn(&child->wait, run_program, &p);
	iv_close(p.end);
	if (ret < 0)
		iv_close(p.callers_end);

	return ret < 0 ? -1 : p.callers_end;
}

int iv_popen_request_submit(struct iv_popen_request *r)
{
	int saved_errno;
	struct child *child;
	int caller_reads;
	int fd;

	(void)iv_state_for("iv_popen_request_submit");

	/* It can be closed even if it fails below. */
	forget_earlier(r);
	r->child = NULL;

	caller_reads = !strcmp(r->type, "r");
	if (!caller_reads && strcmp(r->type, "w") != 0) {
		errno = EINVAL;
		return -1;
	}

	child = create(r);
	if (child == NULL)
		return -1;

	fd = start(child, caller_reads);
	if (fd < 0) {
		saved_errno = errno;
		free(child);
		errno = saved_errno;
		return -1;
	}
	r->child = child;
	iv_list_add_tail(&child->list, iv_tls_user_ptr(&loop_user));

	return fd;
}

void iv_popen_request_close(struct iv_popen_request *r)
{
	struct iv_state *st = iv_state_for("iv_popen_request_close");
	struct child *child = r->child;

	if (child == NULL)
		return;
	if (child->owner == NULL) {
		r->child = NULL;
		free(child);
		return;
	}
	if (child->owner != st)
		iv_fatal("iv_popen_request_close: %p was submitted in another "
			 "thread, which alone may close it", (void *)r);

	r->child = NULL;
	child->request = NULL;
	/* The loop sends the first signal as soon as it runs. */
	child->timer.expires = iv_now;
	iv_timer_register(&child->timer);
}

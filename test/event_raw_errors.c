/*
 * libivykis: iv_event_raw: rare errors.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * System calls are interrupted by strace(1), which makes the first read and the
 * first write of the descriptor fail with EINTR.
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static struct iv_event_raw event;
static int calls;

static void count_and_unregister(void *cookie)
{
	(void)cookie;
	calls++;
	iv_event_raw_unregister(&event);
}

static void begin(void)
{
	iv_init();
	IV_EVENT_RAW_INIT(&event);
	event.handler = count_and_unregister;
	check_int(iv_event_raw_register(&event), 0);
}

static void end(void)
{
	iv_main();
	check_int(calls, 1);
	iv_deinit();
}

static void run_at_end_of_file(void)
{
	refuse("eventfd2", EPERM);
	refuse("eventfd", EPERM);
	begin();
	close(event.event_wfd);
	iv_main();
}

static void end_of_file(void)
{
	check_fatal(run_at_end_of_file, "end of file on descriptor");
}

static void run_with_directory(void)
{
	int dir = open("/", O_RDONLY | O_DIRECTORY);

	begin();
	check(dup2(dir, event.event_rfd.fd) >= 0);
	iv_main();
}

static void read_error(void)
{
	/* Only poll(2) and ppoll(2) report a directory as readable. */
	check(setenv("IV_EXCLUDE_POLL_METHOD", "kqueue epoll-timerfd epoll",
		     1) == 0);
	check_fatal(run_with_directory, "cannot read descriptor");
}

static int can_strace(void)
{
	return system("strace -qq -o /dev/null true 2>/dev/null") == 0;
}

static void interrupted(void)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status;
	pid_t pid;

	need_self_exec();
	if (!can_strace())
		skip("strace is missing, or not allowed to trace");
	skip_under(ASAN, "traces the process, too, to find leaks");
	check(len > 0);
	self[len] = '\0';

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		execlp("strace", "strace", "-f", "-qq", "-o", "/dev/null",
		       "-P", "anon_inode:[eventfd]",
		       "-e", "inject=read,write:error=EINTR:when=1",
		       self, "interrupted", (char *)NULL);
		_exit(1);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
}

/* This program, as strace runs it: both system calls are tried again. */
static int be_interrupted(void)
{
	begin();
	errno = 0;
	check_int(iv_event_raw_post_fd(event.event_wfd), 0);
	check_int(errno, 0);
	end();

	return 0;
}

static const struct check_case cases[] = {
	{ "end of file on a pipe is fatal", end_of_file, ONCE, 0 },
	{ "a descriptor that cannot be read is fatal", read_error, ONCE, 0 },
	{ "interrupted system calls are repeated", interrupted, ONCE, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "interrupted"))
		return be_interrupted();

	return check_main(cases, argc, argv);
}

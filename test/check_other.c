/*
 * libivykis: check_linux.c for other systems: cases that need what only Linux
 * can do are skipped.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include "check.h"

static void cannot_refuse(void) __attribute__((noreturn));
static void cannot_refuse(void)
{
	skip("system calls cannot be refused on this system");
}

static void cannot_trace(void) __attribute__((noreturn));
static void cannot_trace(void)
{
	skip("processes cannot be traced on this system");
}

void refuse(const char *syscall_name, int err)
{
	(void)syscall_name;
	(void)err;
	cannot_refuse();
}

void refuse_with(const char *syscall_name, int err, int arg, unsigned int bits)
{
	(void)arg;
	(void)bits;
	refuse(syscall_name, err);
}

void forbid_system_calls(void)
{
	cannot_refuse();
}

void without_system_calls(void (*fn)(void *), void *arg)
{
	(void)fn;
	(void)arg;
	cannot_refuse();
}

void need_orphans(void)
{
	skip("no process can become the parent of orphans on this system");
}

/* check_run() has closed all others. */
int num_descriptors(void)
{
	int num = 0;
	int fd;

	for (fd = 0; fd < 4096; fd++)
		num += fcntl(fd, F_GETFD) >= 0;

	return num;
}

int num_mappings(void)
{
	skip("mappings cannot be counted on this system");
}

void tracee_begins(void)
{
	cannot_trace();
}

void tracee_trace(int pid)
{
	(void)pid;
	cannot_trace();
}

int tracee_stopped(int pid)
{
	(void)pid;
	cannot_trace();
}

void tracee_steps(int pid, int num)
{
	(void)pid;
	(void)num;
	cannot_trace();
}

void check_forks(void (*fn)(void), void (*in_child)(void))
{
	(void)fn;
	(void)in_child;
	cannot_trace();
}

void forks_begin(void (*in_thread)(void))
{
	(void)in_thread;
	cannot_trace();
}

void forks_end(void)
{
	cannot_trace();
}

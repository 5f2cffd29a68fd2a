/*
 * libivykis: check_linux.c for other systems, where cases that need Linux are
 * skipped.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <unistd.h>
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

void exit_tied(void)
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

/* check_run() has closed what was inherited, so all numbers are low. */
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

void need_own_functions(void)
{
	skip("the libc's functions cannot be replaced on this system");
}

int num_processors(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

void use_one_processor(void)
{
	skip("threads cannot be bound to a processor on this system");
}

void get_thread_name(char name[THREAD_NAME_SIZE])
{
	(void)name;
	skip("the kernel's name of a thread is unknown on this system");
}

void set_thread_name(const char *name)
{
	(void)name;
	skip("the kernel's name of a thread is unknown on this system");
}

static int is_missing(void)
{
	errno = ENOSYS;

	return -1;
}

int open_eventfd(unsigned int value)
{
	(void)value;

	return is_missing();
}

int open_epoll(int fd)
{
	(void)fd;

	return is_missing();
}

int open_timerfd(void)
{
	return is_missing();
}

int is_same_file(int pid, int fd, int other)
{
	(void)pid;
	(void)fd;
	(void)other;
	skip("open files cannot be compared on this system");
}

void begin_process_namespace(void)
{
	skip("there are no process namespaces on this system");
}

void hide_devices(void)
{
	skip("no file system can be mounted for one process on this system");
}

char process_state(int pid)
{
	(void)pid;
	skip("the state of a process is not known on this system");
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

int tracee_runs_to_call(int pid)
{
	(void)pid;
	cannot_trace();
}

void tracee_leave(int pid, int sig)
{
	(void)pid;
	(void)sig;
	cannot_trace();
}

int trace_running(int pid)
{
	(void)pid;

	return -1;
}

void allow_tracers(void)
{
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

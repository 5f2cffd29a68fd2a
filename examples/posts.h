/*
 * How many posts a process makes, and how many of them make a system call.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Such a post calls write(2), and the kernel counts those calls per process and
 * thread.  A program that subtracts its own calls gets those of posts.
 */

#ifndef POSTS_H
#define POSTS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct posts {
	unsigned long	made;
	long		writes;		/* by these posts, or -1 if unknown */
};

/*
 * Reads /proc/self/io or /proc/thread-self/io; returns -1 if it cannot.  A child
 * that is forked by a process with several threads must not call malloc(), so
 * this does without fopen().
 */
static inline long write_calls(const char *proc_file)
{
	char text[256];
	int fd = open(proc_file, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	const char *calls;

	if (fd >= 0)
		close(fd);
	text[len > 0 ? len : 0] = '\0';
	calls = strstr(text, "syscw: ");

	return calls != NULL ? atol(calls + strlen("syscw: ")) : -1;
}

static inline void posts_begin(struct posts *p)
{
	p->made = 0;
	p->writes = write_calls("/proc/self/io");
}

/* other_writes: those that the process itself made since posts_begin(). */
static inline void posts_end(struct posts *p, long other_writes)
{
	long calls = write_calls("/proc/self/io");

	p->writes = p->writes < 0 || calls < 0 ? -1 :
		    calls - p->writes - other_writes;
}

static inline void posts_add(struct posts *sum, const struct posts *p)
{
	sum->made += p->made;
	sum->writes = sum->writes < 0 || p->writes < 0 ? -1 :
		      sum->writes + p->writes;
}

static inline void posts_print(FILE *to, const struct posts *p,
			       unsigned long handler_runs)
{
	fprintf(to, "%lu posts, ", p->made);
	if (p->writes < 0)
		fprintf(to, "an unknown number of them by a system call");
	else
		fprintf(to, "%ld of them by a system call", p->writes);
	fprintf(to, ", %lu handler runs\n", handler_runs);
}

#endif

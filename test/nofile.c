/*
 * libivykis: set the descriptor limit of another process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: nofile PID NUM
 *
 * Sets RLIMIT_NOFILE of a running process and prints the former limit.
 * Descriptors above the new limit stay open.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit lim;
	rlim_t former;
	int pid;

	if (argc != 3)
		return 2;
	pid = atoi(argv[1]);
	if (prlimit(pid, RLIMIT_NOFILE, NULL, &lim) < 0) {
		perror("nofile: prlimit");
		return 1;
	}
	former = lim.rlim_cur;
	lim.rlim_cur = atoi(argv[2]);
	if (prlimit(pid, RLIMIT_NOFILE, &lim, NULL) < 0) {
		perror("nofile: prlimit");
		return 1;
	}
	printf("%lu\n", (unsigned long)former);

	return 0;
}

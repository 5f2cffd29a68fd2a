/*
 * nofile: how many descriptors another process may have from now on.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: nofile PID NUM
 *
 * Those that it has stay open; with 0 it gets no other.  Says how many it was
 * before.
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

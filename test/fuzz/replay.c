/*
 * libivykis: sequences of calls that the fuzzer has found, and random ones.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs inputs of fuzz.c without a fuzzer.  Most inputs of the corpus are named
 * for a bug that they reveal, the others reach much of the library.
 *
 *	replay			test/fuzz/corpus and NUM_RANDOM other inputs
 *	FUZZ_INPUT=FILE		in the environment: this input alone
 */

#include <dirent.h>
#include <fcntl.h>
#include <iv.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../check.h"

#define NUM_RANDOM	5000
#define MAX_SIZE	512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A bit of the first byte, which selects the poll method uring. */
#define BY_URING	16

static uint8_t choice;

static void replay(int dir, const char *name)
{
	uint8_t buf[4 * MAX_SIZE];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t size;

	check(fd >= 0);
	size = read(fd, buf, sizeof(buf));
	check(size >= 0);
	close(fd);
	buf[0] = (buf[0] & ~BY_URING) | choice;
	(void)LLVMFuzzerTestOneInput(buf, size);
}

/* Runs in its own process, which may abort. */
static int is_right(int dir, const char *name)
{
	int status;
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		replay(dir, name);
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fprintf(stderr, "# %s: wait status %#x\n", name, status);

	return status == 0;
}

static void corpus(void)
{
	const char *top = getenv("TOP_SRCDIR");
	const char *input = getenv("FUZZ_INPUT");
	char path[1024];
	struct dirent *d;
	int num = 0;
	int wrong = 0;
	DIR *dir;

	if (input != NULL) {
		check(is_right(AT_FDCWD, input));
		return;
	}

	snprintf(path, sizeof(path), "%s/test/fuzz/corpus", top ? top : ".");
	dir = opendir(path);
	check(dir != NULL);
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		num++;
		wrong += !is_right(dirfd(dir), d->d_name);
	}
	closedir(dir);
	printf("# %d inputs\n", num);
	check(num > 0);
	check_int(wrong, 0);
}

/* They are the same in each run. */
static void random_inputs(void)
{
	uint32_t state = 1;
	uint8_t buf[MAX_SIZE];
	int i, size;

	for (i = 0; i < NUM_RANDOM; i++) {
		for (size = 0; size < MAX_SIZE; size++) {
			state = state * 1664525 + 1013904223;
			buf[size] = state >> 24;
		}
		buf[0] = (buf[0] & ~BY_URING) | choice;
		(void)LLVMFuzzerTestOneInput(buf, size);
	}
}

#ifdef HAVE_URING
/* Runs in its own process, as a process keeps its first poll method. */
static void need_uring(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		check_int(setenv("IV_SELECT_POLL_METHOD", "uring", 1), 0);
		iv_init();
		if (!variant_is_uring())
			skip("the kernel refuses io_uring_setup(2)");
		_exit(0);
	}
	check_child(pid);
	choice = BY_URING;
}

static void corpus_by_uring(void)
{
	need_uring();
	corpus();
}

static void random_inputs_by_uring(void)
{
	need_uring();
	random_inputs();
}
#endif

static const struct check_case cases[] = {
	{ "the corpus", corpus, ONCE, 60 },
	{ "random inputs", random_inputs, ONCE, 120 },
#ifdef HAVE_URING
	{ "the corpus, with io_uring", corpus_by_uring, ONCE, 60 },
	{ "random inputs, with io_uring", random_inputs_by_uring, ONCE, 120 },
#endif
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

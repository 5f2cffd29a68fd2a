/*
 * libivykis: what concerns the process as a whole.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "iv_cancel.h"
#include "iv_process.h"
#include "iv_sys.h"

/*
 * Right when it is loaded: later, a thread that does this might wait for one
 * that loads a plugin and waits for the thread.
 */
__attribute__((constructor))
static void keep_library_loaded(void)
{
	iv_sys_keep_loaded(&iv_process);
}

#define WANTED_DESCRIPTORS	131072

static int raise_hard_limit(const struct rlimit *old)
{
	struct rlimit lim;

	/* The kernel's own ceiling, fs.nr_open, may be lower than we like. */
	for (lim.rlim_max = WANTED_DESCRIPTORS; lim.rlim_max > old->rlim_max;
	     lim.rlim_max /= 2) {
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim) == 0)
			return 0;
	}

	return -1;
}

/* Neither limit is ever lowered. */
static void raise_descriptor_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	if (lim.rlim_cur >= WANTED_DESCRIPTORS)
		return;
	if (geteuid() == 0 && raise_hard_limit(&lim) == 0)
		return;

	if (lim.rlim_max > WANTED_DESCRIPTORS)
		lim.rlim_cur = WANTED_DESCRIPTORS;
	else
		lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
}

const char *iv_process_getenv(const char *name)
{
	const char *value = iv_sys_getenv(name);

	return value != NULL ? value : "";
}

/*
 * The kernel wipes the page on fork, whichever way a process forks.  Linux
 * before 4.14 cannot do that, and an emulator of another processor may report
 * success and do nothing.  So fork(3) wipes it, too, unless that was done and
 * an earlier handler of fork(3) has begun to use it.
 */
struct iv_process_state *iv_process;

static atomic_uint forking_generation;

/* Relaxed here and below: one thread forks, and is what the child has. */
static void note_generation(void)
{
	atomic_store_explicit(&forking_generation, iv_process_generation(),
			      memory_order_relaxed);
}

static void wipe_state(void)
{
	if (iv_process_generation() ==
	    atomic_load_explicit(&forking_generation, memory_order_relaxed))
		memset(iv_process, 0, sizeof(*iv_process));
}

size_t iv_process_page_size;

static int map_state(void)
{
	iv_process_page_size = sysconf(_SC_PAGESIZE);
	iv_process = iv_sys_map_wiped_by_fork(iv_process_page_size);

	return iv_process != NULL ? 0 : -1;
}

unsigned int iv_process_new_generation(void)
{
	/* Survives the fork, and so tells what the parent's number was. */
	static atomic_uint latest;
	unsigned int now;
	unsigned int seen = 0;

	now = atomic_fetch_add_explicit(&latest, 1, memory_order_relaxed) + 1;
	iv_step();
	if (!atomic_compare_exchange_strong_explicit(&iv_process->generation,
						     &seen, now,
						     memory_order_relaxed,
						     memory_order_relaxed))
		now = seen;

	return now;
}

int iv_process_move_fd(int fd)
{
	int saved_errno = errno;
	int moved;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;

	moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (moved >= 0)
		iv_close(fd);
	errno = saved_errno;

	return moved >= 0 ? moved : fd;
}

/*
 * Labels.  A child may close all descriptors that it does not know, as daemons
 * do, and open others: then the numbers that the library has noted stand for
 * something else.  Neither type nor inode says which eventfd a number stands
 * for, so each descriptor that the library opens carries a label, in a part of
 * the open file that is otherwise unused: the signal of O_ASYNC, a flag that we
 * never set.  It is 0 unless somebody sets it.  What a child opens has another
 * label than what it inherited.
 *
 * Labels recur after 24 nested forks, in each of which the library was used:
 * such a descendant could take a descriptor of its own for the inherited one
 * that had the same number, if that was closed behind the library's back.
 */
#define FIRST_LABEL	36		/* a valid signal on all machines */
#define NUM_LABELS	24

unsigned int iv_process_label(void)
{
	return FIRST_LABEL + iv_process_generation() % NUM_LABELS;
}

unsigned int iv_process_label_fd(int fd)
{
	unsigned int label = iv_process_label();
	int saved_errno = errno;

	if (iv_sys_set_label(fd, label) < 0)
		label = 0;
	errno = saved_errno;

	return label;
}

int iv_process_has_label(int fd, unsigned int label)
{
	int saved_errno = errno;
	int has = label == 0 || iv_sys_label(fd) == (int)label;

	errno = saved_errno;

	return has;
}

void iv_process_close(int fd, unsigned int label)
{
	/* Only a child may have lost it. */
	if (label == iv_process_label() || iv_process_has_label(fd, label))
		iv_close(fd);
}

void iv_lock_pause(unsigned int times)
{
	static const struct timespec a_while = { .tv_nsec = 100000 };
	int saved_errno = errno;

	/* The holder may have a lower priority: do not only yield. */
	if (times < 100)
		(void)sched_yield();
	else
		(void)nanosleep(&a_while, NULL);
	errno = saved_errno;
}

int iv_process_at_fork(void (*before)(void), void (*in_child)(void))
{
	int err = pthread_atfork(before, NULL, in_child);

	if (err)
		errno = err;

	return err ? -1 : 0;
}

int iv_process_init(void)
{
	static int wiped;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGURG, SIG_IGN);
	raise_descriptor_limit();
	if (iv_sys_init() < 0)
		return -1;
	if (iv_process == NULL && map_state() < 0)
		return -1;
	if (!wiped && iv_process_at_fork(note_generation, wipe_state) < 0)
		return -1;
	wiped = 1;

	return 0;
}

/*
 * libivykis: iv_thread.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_thread.h>
#include <iv_tls.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

/* The kernel's ids of the threads that a case has created. */
static atomic_int num_ids;
static atomic_int ids[1024];

static void record_id(void)
{
	int i = num_ids++;

	check(i < 1024);
	ids[i] = gettid();
}

static int is_here(int id)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d", id);

	return access(path, F_OK) == 0;
}

/* Threads that no loop joins can only be waited for in this way. */
static void wait_until_gone(int num)
{
	int i;

	while (num_ids != num)
		usleep(1000);
	for (i = 0; i < num; i++) {
		while (ids[i] == 0 || is_here(ids[i]))
			usleep(1000);
	}
}

/* Standard error is redirected to a file from capture() to captured_text(). */
static int real_stderr;
static int captured;

static void capture(void)
{
	captured = memfd_create("stderr", MFD_CLOEXEC);
	real_stderr = dup(2);
	check(captured >= 0 && real_stderr >= 0);
	check_int(dup2(captured, 2), 2);
}

static const char *captured_text(void)
{
	static char text[4096];
	ssize_t len;

	check_int(dup2(real_stderr, 2), 2);
	len = pread(captured, text, sizeof(text) - 1, 0);
	check(len >= 0);
	text[len] = '\0';
	close(real_stderr);
	close(captured);

	return text;
}

static void expect_text(const char *got, const char *want)
{
	if (strcmp(got, want))
		fprintf(stderr, "# \"%s\" instead of \"%s\"\n", got, want);
	check(!strcmp(got, want));
}

static void expect_part(const char *got, const char *part)
{
	if (strstr(got, part) == NULL)
		fprintf(stderr, "# \"%s\" without \"%s\"\n", got, part);
	check(strstr(got, part) != NULL);
}

static atomic_int calls;

static void count(void *arg)
{
	(void)arg;
	record_id();
	calls++;
}

static void must_create(const char *name, void (*fn)(void *), void *arg)
{
	check_int(iv_thread_create(name, fn, arg), 0);
}


static void returns(void *arg)
{
	check(arg == &calls);
	check(!iv_inited());
	record_id();
	calls++;
}

static void exits(void *arg)
{
	record_id();
	calls++;
	pthread_exit(arg);
}

static void cancels_itself(void *arg)
{
	(void)arg;
	record_id();
	calls++;
	pthread_cancel(pthread_self());
	for (;;)
		pause();
}

static void ways_to_end(void)
{
	skip_under(TSAN, "loses track of a thread that is cancelled");
	iv_init();
	must_create("returns", returns, &calls);
	must_create("exits", exits, NULL);
	must_create("cancels itself", cancels_itself, NULL);
	iv_main();
	check_int(calls, 3);
	/* They are joined, but may exist a little longer in the kernel. */
	wait_until_gone(3);

	must_create("returns", returns, &calls);
	iv_main();
	check_int(calls, 4);
	iv_deinit();
}

static sem_t go_on;
static int fired;

static void release(void *unused)
{
	(void)unused;
	fired = 1;
	sem_post(&go_on);
}

static void wait_for_release(void *unused)
{
	(void)unused;
	while (sem_wait(&go_on) < 0)
		;
}

static void main_waits(void)
{
	struct iv_timer t;

	iv_init();
	sem_init(&go_on, 0, 0);
	must_create("waits", wait_for_release, NULL);
	IV_TIMER_INIT(&t);
	t.expires = iv_now;
	t.expires.tv_nsec += 20000000;
	t.handler = release;
	iv_timer_register(&t);
	iv_main();
	check(fired);
	iv_deinit();
}

static void many(void)
{
	int i, j;

	iv_init();
	for (i = 0; i < 20; i++) {
		for (j = 0; j < 20; j++)
			must_create("one of many", count, NULL);
		iv_main();
		check_int(calls, (i + 1) * 20);
	}
	iv_deinit();
}

static int handler_ran;

static void create_another(void *unused)
{
	(void)unused;
	must_create("created in a handler", count, NULL);
	handler_ran = 1;
}

static void created_in_handler(void)
{
	struct iv_task t;

	iv_init();
	IV_TASK_INIT(&t);
	t.handler = create_another;
	iv_task_register(&t);
	iv_main();
	check(handler_ran);
	check_int(calls, 1);
	iv_deinit();
}

static void generations(void *arg)
{
	int left = *(int *)arg - 1;

	calls++;
	if (left == 0)
		return;
	iv_init();
	must_create("child", generations, &left);
	iv_main();
	iv_deinit();
}

static void children_of_children(void)
{
	int left = 5;

	iv_init();
	must_create("child", generations, &left);
	iv_main();
	check_int(calls, 5);
	iv_deinit();
}

static void record_mask(void *set)
{
	check_int(pthread_sigmask(SIG_BLOCK, NULL, set), 0);
}

static void signal_mask(void)
{
	sigset_t set, got;

	iv_init();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	check_int(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	must_create("mask", record_mask, &got);
	iv_main();
	check_int(sigismember(&got, SIGUSR1), 1);
	check_int(sigismember(&got, SIGUSR2), 0);
	iv_deinit();
}


/*
 * Threads that end without iv_deinit().  A hook counts the loops that end.
 */
static struct iv_tls_user deinit_user;
static atomic_int deinits;

static void count_deinit(void *unused)
{
	(void)unused;
	check(iv_inited());
	usleep(20000);
	deinits++;
}

static void forget_deinit(void *unused)
{
	(void)unused;
	iv_init();
	calls++;
}

static void exit_in_handler(void *unused)
{
	struct iv_task t;

	(void)unused;
	iv_init();
	IV_TASK_INIT(&t);
	t.handler = exits;
	iv_task_register(&t);
	iv_main();
	check(0);
}

static void expect_one_deinit(void (*fn)(void *))
{
	deinits = 0;
	calls = 0;
	must_create("with a loop", fn, NULL);
	iv_main();
	check_int(calls, 1);
	check_int(deinits, 1);
}

static void forgotten_deinit(void)
{
	deinit_user.sizeof_state = 1;
	deinit_user.deinit_thread = count_deinit;
	iv_tls_user_register(&deinit_user);

	iv_init();
	expect_one_deinit(forget_deinit);
	expect_one_deinit(exit_in_handler);
	iv_deinit();
}


/* The end of the thread is noticed before the end of its loop. */
static void forgotten_deinit_last(void)
{
	pthread_key_t low;

	deinit_user.sizeof_state = 1;
	deinit_user.deinit_thread = count_deinit;
	iv_tls_user_register(&deinit_user);

	/* Let iv_thread get a lower key than iv_init(): it is served first. */
	check_int(pthread_key_create(&low, NULL), 0);
	iv_init();
	check_int(pthread_key_delete(low), 0);
	expect_one_deinit(forget_deinit);
	expect_one_deinit(exit_in_handler);
	iv_deinit();
}

static void debug_lines(void)
{
	char name[8] = "abc";
	const char *text;

	iv_thread_set_debug_state(1);
	iv_init();
	capture();
	must_create(name, count, NULL);
	/* The name is copied. */
	strcpy(name, "xyz");
	iv_main();
	text = captured_text();
	expect_part(text, "iv_thread: [abc] started\n");
	expect_part(text, "iv_thread: [abc] terminating\n");
	expect_part(text, "iv_thread: [abc] joined\n");
	check_int(strlen(text), strlen("iv_thread: [abc] started\n"
				       "iv_thread: [abc] terminating\n"
				       "iv_thread: [abc] joined\n"));

	iv_thread_set_debug_state(0);
	capture();
	must_create("silent", count, NULL);
	iv_main();
	expect_text(captured_text(), "");
	iv_deinit();
}

static void no_name(void)
{
	iv_init();
	iv_thread_set_debug_state(1);
	capture();
	must_create(NULL, count, NULL);
	iv_main();
	expect_part(captured_text(), "iv_thread: [] joined\n");
	check_int(calls, 1);
	iv_deinit();
}

static unsigned long thread_id;

static void record_thread_id(void *unused)
{
	(void)unused;
	thread_id = iv_thread_get_id();
	check_int(thread_id, iv_get_thread_id());
	check_int(thread_id, gettid());
}

static void thread_ids(void)
{
	check_int(iv_thread_get_id(), getpid());
	iv_init();
	must_create("id", record_thread_id, NULL);
	iv_main();
	check(thread_id != 0 && (pid_t)thread_id != getpid());
	check_int(iv_thread_get_id(), getpid());
	iv_deinit();
}

static sem_t running;

static void report_and_wait(void *id)
{
	*(unsigned long *)id = iv_thread_get_id();
	sem_post(&running);
	wait_for_release(NULL);
}

static void list_of_children(void)
{
	unsigned long a, b;
	char want[256];

	iv_init();
	sem_init(&running, 0, 0);
	sem_init(&go_on, 0, 0);
	must_create("the first", report_and_wait, &a);
	must_create("the second", report_and_wait, &b);
	sem_wait(&running);
	sem_wait(&running);

	capture();
	iv_thread_list_children();
	snprintf(want, sizeof(want), "tid\tname\n%d\tself\n%lu\tthe first\n"
		 "%lu\tthe second\n", getpid(), a, b);
	expect_text(captured_text(), want);

	sem_post(&go_on);
	sem_post(&go_on);
	iv_main();
	capture();
	iv_thread_list_children();
	snprintf(want, sizeof(want), "tid\tname\n%d\tself\n", getpid());
	expect_text(captured_text(), want);
	iv_deinit();
}

/* Threads store their ids while the list is printed. */
static void list_while_starting(void)
{
	int i;

	iv_init();
	capture();
	for (i = 0; i < 20; i++) {
		must_create("quick", count, NULL);
		iv_thread_list_children();
		if (i % 5 == 4)
			iv_main();
	}
	(void)captured_text();
	check_int(calls, 20);
	iv_deinit();
}

static void *others_children(void *unused)
{
	const char *text;

	(void)unused;
	iv_init();
	capture();
	iv_thread_list_children();
	text = captured_text();
	expect_part(text, "self");
	check(strstr(text, "the first") == NULL);
	iv_deinit();

	return NULL;
}

static void list_of_own_children_alone(void)
{
	pthread_t thread;
	unsigned long a;

	iv_init();
	sem_init(&running, 0, 0);
	sem_init(&go_on, 0, 0);
	must_create("the first", report_and_wait, &a);
	sem_wait(&running);
	check_int(pthread_create(&thread, NULL, others_children, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	sem_post(&go_on);
	iv_main();
	iv_deinit();
}


static void check_create_fails(int err, const char *text)
{
	int before = num_descriptors();

	iv_thread_set_debug_state(1);
	capture();
	errno = 0;
	check_int(iv_thread_create("one", count, NULL), -1);
	check_int(errno, err);
	expect_text(captured_text(), text);
	check_int(num_descriptors(), before);

	/* With nothing registered, this returns. */
	iv_main();
	check_int(calls, 0);
	capture();
	iv_thread_list_children();
	check(strstr(captured_text(), "one") == NULL);
}

static void thread_refused(void)
{
	char want[256];

	snprintf(want, sizeof(want), "iv_thread: pthr_create for [one] failed "
		 "with error %d[%s]\n", EAGAIN, strerror(EAGAIN));
	iv_init();
	refuse("clone3", EAGAIN);
	refuse("clone", EAGAIN);
	check_create_fails(EAGAIN, want);
	check_create_fails(EAGAIN, want);
	iv_deinit();
}

/* Not as root, to whom the limit does not apply. */
static void at_process_limit(void)
{
	const struct rlimit lim = { 1, 1 };

	if (geteuid() == 0)
		check_int(setuid(54321), 0);
	check_int(setrlimit(RLIMIT_NPROC, &lim), 0);
	iv_init();
	check_errno(iv_thread_create("one", count, NULL), EAGAIN);
	iv_main();
	iv_deinit();
	_exit(0);
}

static void process_limit(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0)
		at_process_limit();
	check_child(pid);
}

static void no_descriptor_left(void)
{
	int former;
	int before;

	iv_init();
	before = num_descriptors();
	former = limit_descriptors(lowest_descriptor());
	check_errno(iv_thread_create("one", count, NULL), EMFILE);
	iv_main();
	check_int(calls, 0);
	limit_descriptors(former);
	check_int(num_descriptors(), before);

	must_create("one", count, NULL);
	iv_main();
	check_int(calls, 1);
	iv_deinit();
}

static void no_memory(void)
{
	const size_t size = 256 << 20;
	struct rlimit lim = { 64 << 20, 64 << 20 };
	char *name;

	skip_under(ASAN | TSAN | MEMCHECK, "needs its memory");
	need_memory_limit(RLIMIT_AS);
	iv_init();
	name = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(name != MAP_FAILED);
	memset(name, 'x', size - 1);
	check_int(setrlimit(RLIMIT_AS, &lim), 0);
	check_errno(iv_thread_create(name, count, NULL), ENOMEM);
	iv_main();
	iv_deinit();
}


/*
 * The creator's loop ends before its threads do.
 */
static void end_threads(void)
{
	sem_post(&go_on);
	sem_post(&go_on);
	wait_until_gone(2);
	check_int(calls, 2);
}

static void wait_and_count(void *unused)
{
	record_id();
	wait_for_release(unused);
	calls++;
}

static void create_two(void)
{
	sem_init(&go_on, 0, 0);
	must_create("orphan", wait_and_count, NULL);
	must_create("orphan", wait_and_count, NULL);
}

static void creator_deinits(void)
{
	iv_init();
	create_two();
	iv_deinit();
	end_threads();
}

static void creator_deinits_and_inits(void)
{
	iv_init();
	create_two();
	iv_deinit();
	iv_init();
	end_threads();
	must_create("own", count, NULL);
	iv_main();
	check_int(calls, 3);
	iv_deinit();
}

static void *create_two_and_end(void *unused)
{
	iv_init();
	create_two();

	return unused;
}

static void creator_ends(void)
{
	pthread_t thread;

	iv_init();
	check_int(pthread_create(&thread, NULL, create_two_and_end, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	end_threads();
	iv_deinit();
}

static void *create_two_and_wait(void *unused)
{
	iv_init();
	create_two();
	sem_post(&running);
	iv_main();

	return unused;
}

static void creator_is_cancelled(void)
{
	pthread_t thread;

	iv_init();
	sem_init(&running, 0, 0);
	check_int(pthread_create(&thread, NULL, create_two_and_wait, NULL), 0);
	sem_wait(&running);
	check_int(pthread_cancel(thread), 0);
	check_int(pthread_join(thread, NULL), 0);
	end_threads();
	iv_deinit();
}

/* The threads have ended, but the loop has not joined them. */
static void creator_deinits_after_the_end(void)
{
	iv_init();
	must_create("ended", count, NULL);
	must_create("ended", count, NULL);
	wait_until_gone(2);
	iv_deinit();
	check_int(calls, 2);
}

static void creator_deinits_meanwhile(void)
{
	int i, j;

	for (i = 0; i < 200; i++) {
		iv_init();
		for (j = 0; j < 4; j++)
			must_create("one of four", count, NULL);
		iv_deinit();
	}
	wait_until_gone(800);
	check_int(calls, 800);
}

/* A hook that runs after iv_thread has given up the loop's threads. */
static void create_late(void *unused)
{
	(void)unused;
	must_create("late", count, NULL);
}

static void created_in_deinit(void)
{
	deinit_user.deinit_thread = create_late;
	iv_tls_user_register(&deinit_user);
	iv_init();
	iv_deinit();
	wait_until_gone(1);
	check_int(calls, 1);
}


static void go_on_in_child(void)
{
	const char *text;

	/* The parent's thread does not exist here. */
	capture();
	iv_thread_list_children();
	text = captured_text();
	expect_part(text, "self");
	check(strstr(text, "the first") == NULL);

	calls = 0;
	must_create("the child's", count, NULL);
	while (calls == 0)
		usleep(1000);
	iv_deinit();

	iv_init();
	must_create("the child's", count, NULL);
	iv_main();
	check_int(calls, 2);
	iv_deinit();
	_exit(0);
}

static void child(void)
{
	unsigned long a;
	pid_t pid;

	skip_under(TSAN, "knows no threads in a child");
	need_threads_of_child();
	iv_init();
	sem_init(&running, 0, 0);
	sem_init(&go_on, 0, 0);
	must_create("the first", report_and_wait, &a);
	sem_wait(&running);

	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		go_on_in_child();
	check_child(pid);

	sem_post(&go_on);
	iv_main();
	iv_deinit();
}

static void fork_and_wait(void *unused)
{
	pid_t pid;

	(void)unused;
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		pthread_exit(NULL);
	check_child(pid);
	calls++;
}

static void fork_in_thread(void)
{
	skip_under(ASAN, "reports what the parent's threads own as leaks");
	iv_init();
	must_create("forks", fork_and_wait, NULL);
	iv_main();
	check_int(calls, 1);
	iv_deinit();
}


/*
 * The thread's name that the kernel has.
 */
static char seen[THREAD_NAME_SIZE];

static void read_name(void *unused)
{
	(void)unused;
	get_thread_name(seen);
}

static void set_own_name(void *unused)
{
	(void)unused;
	set_thread_name("mine");
	read_name(NULL);
}

static void check_name(const char *name, void (*routine)(void *),
		       const char *want)
{
	check_int(iv_thread_create(name, routine, NULL), 0);
	iv_main();
	if (strcmp(seen, want))
		fprintf(stderr, "# \"%s\" is not \"%s\"\n", seen, want);
	check(!strcmp(seen, want));
}

/* Three bytes each, so the fifth ends at the 15 bytes of room or beyond. */
#define EURO		"\342\202\254"
#define EUROS		EURO EURO EURO EURO EURO EURO
#define NONSENSE	"\200\200\200\200\200\200\200\200\200\200\200\200"

static void name_in_kernel(void)
{
#ifndef HAVE_SETNAME_OF_THREAD
	skip("the library cannot name threads");
#endif
	iv_init();
	set_thread_name("creator");
	check_name("short", read_name, "short");
	check_name("0123456789abcde", read_name, "0123456789abcde");
	check_name("0123456789abcdef", read_name, "0123456789abcde");
	check_name(EUROS, read_name, EURO EURO EURO EURO EURO);
	check_name("a" EUROS, read_name, "a" EURO EURO EURO EURO);
	check_name("ab" EUROS, read_name, "ab" EURO EURO EURO EURO);
	/* These bytes are no characters. */
	check_name(NONSENSE NONSENSE, read_name, NONSENSE);
	check_name("", read_name, "creator");
	check_name(NULL, read_name, "creator");
	check_name("given", set_own_name, "mine");
	read_name(NULL);
	check(!strcmp(seen, "creator"));
	iv_deinit();
}


static void create_without_loop(void)
{
	iv_thread_create("one", count, NULL);
}

static void list_without_loop(void)
{
	iv_thread_list_children();
}

static void create_without_routine(void)
{
	iv_init();
	iv_thread_create("one", NULL, NULL);
}

static void mistakes(void)
{
	check_fatal(create_without_loop,
		    "iv_thread_create: this thread has no loop");
	check_fatal(list_without_loop,
		    "iv_thread_list_children: this thread has no loop");
	check_fatal(create_without_routine,
		    "iv_thread_create: called without a routine");
}

static const struct check_case cases[] = {
	{ "a thread that returns, exits or is cancelled is joined",
	  ways_to_end, EACH_METHOD, 0 },
	{ "iv_main waits for a thread", main_waits, EACH_METHOD, 0 },
	{ "four hundred threads, twenty at a time", many, EACH_METHOD, 0 },
	{ "a thread may be created in a handler", created_in_handler, ONCE, 0 },
	{ "a thread may create threads", children_of_children, ONCE, 0 },
	{ "a thread inherits the signal mask", signal_mask, ONCE, 0 },
	{ "a thread's loop ends before the thread is joined",
	  forgotten_deinit, ONCE, 0 },
	{ "a thread's loop ends first if its key is the higher one",
	  forgotten_deinit_last, ONCE, 0 },
	{ "debug output has the documented lines, with a copy of the name",
	  debug_lines, ONCE, 0 },
	{ "a NULL name is an empty name", no_name, ONCE, 0 },
	{ "a thread's id is the kernel's", thread_ids, ONCE, 0 },
	{ "the kernel gets as much of the name as it has room for",
	  name_in_kernel, ONCE, 0 },
	{ "the list shows the caller and its threads in order",
	  list_of_children, ONCE, 0 },
	{ "the list may be printed while a thread starts",
	  list_while_starting, ONCE, 0 },
	{ "the list does not show other threads' children",
	  list_of_own_children_alone, ONCE, 0 },
	{ "creating fails if the kernel refuses a thread: debug line, errno",
	  thread_refused, ONCE, 0 },
	{ "creating fails with EAGAIN at the user's limit of processes",
	  process_limit, ONCE, 0 },
	{ "creating fails with EMFILE at the descriptor limit",
	  no_descriptor_left, EACH_METHOD, 0 },
	{ "creating fails with ENOMEM without memory for the name",
	  no_memory, ONCE, 0 },
	{ "threads may outlive their creator's loop",
	  creator_deinits, EACH_METHOD, 0 },
	{ "threads may outlive a loop, and their creator begin another",
	  creator_deinits_and_inits, EACH_METHOD, 0 },
	{ "threads may outlive their creator", creator_ends, EACH_METHOD, 0 },
	{ "threads may outlive a creator that is cancelled",
	  creator_is_cancelled, EACH_METHOD, 0 },
	{ "iv_deinit gives up threads that have ended",
	  creator_deinits_after_the_end, ONCE, 0 },
	{ "iv_deinit gives up threads that end at the same time",
	  creator_deinits_meanwhile, EACH_METHOD, 0 },
	{ "a thread may be created during iv_deinit", created_in_deinit,
	  ONCE, 0 },
	{ "a forked child may create threads, and has none of the parent's",
	  child, EACH_METHOD, 0 },
	{ "a thread may fork, and exit in the child", fork_in_thread, ONCE, 0 },
	{ "mistakes are fatal", mistakes, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

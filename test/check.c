/*
 * libivykis: what the test programs share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#ifdef HAVE_URING
#include <linux/io_uring.h>
#include <sys/syscall.h>
#endif
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_EVENTFD
#include <sys/eventfd.h>
#endif
#ifdef CHECK_LEAKS
#include <sanitizer/lsan_interface.h>
#endif
#include "check.h"

#define EXIT_SKIPPED	77

/* A machine this many times slower than expected counts as hung. */
#define SLOWEST		4
#define SLOWER_BY_TOOL	5

/* Pauses between steps slow a program down as a tool does. */
#ifdef IV_STEPS
#define SLOWER		SLOWER_BY_TOOL
#else
#define SLOWER		(tool() ? SLOWER_BY_TOOL : 1)
#endif

/* All methods of the library: each variant excludes all of them but one. */
static const char *const methods[] = {
#ifdef HAVE_KQUEUE
	"kqueue",
#endif
#ifdef HAVE_EPOLL
	"epoll-timerfd",
	"epoll",
#endif
#ifdef HAVE_PPOLL
	"ppoll",
#endif
	"poll",
#ifdef HAVE_URING
	"uring",
#endif
};

#define NUM_METHODS	((int)(sizeof(methods) / sizeof(methods[0])))

/* Methods that are used even if IV_SELECT_POLL_METHOD does not name them. */
#ifdef HAVE_URING
#define NUM_USUAL	(NUM_METHODS - 1)
#else
#define NUM_USUAL	NUM_METHODS
#endif

/* A method of -1 is the default one. */
struct variant {
	int	method;
	int	pipe;
};

static struct variant running = { -1, !HAS_EVENTFD };

void (*write_coverage_by)(void (*write)(void));

#ifdef CHECK_COVERAGE
void __gcov_dump(void);
void __gcov_reset(void);
int __wrap___gcov_execvp(const char *file, char **argv);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));
void __real_abort(void) __attribute__((noreturn));
void __wrap_abort(void) __attribute__((noreturn));

static void write_coverage(void)
{
	if (write_coverage_by != NULL)
		write_coverage_by(__gcov_dump);
	else
		__gcov_dump();
}

void __wrap__exit(int status)
{
	write_coverage();
	__real__exit(status);
}

void __wrap_abort(void)
{
	write_coverage();
	__real_abort();
}

/* With coverage, gcc calls this function in place of execvp(3). */
int __wrap___gcov_execvp(const char *file, char **argv)
{
	write_coverage();
	__gcov_reset();

	return execvpe(file, argv, environ);
}
#endif

void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "# %s:%d: not so: %s\n", file, line, what);
	_exit(1);
}

void check_equal(const char *file, int line, const char *what, long got,
		 long want)
{
	if (got == want)
		return;
	fprintf(stderr, "# %s:%d: %s is %ld, not %ld (errno %d)\n", file, line,
		what, got, want, errno);
	_exit(1);
}

/* Why the case was skipped, in memory that the parent shares. */
static char *reason;

#define REASON_SIZE	128

static int exit_passed;

static void give_reason(const char *why)
{
	fprintf(stderr, "# skipped: %s\n", why);
	if (reason != NULL)
		snprintf(reason, REASON_SIZE, "%s", why);
}

void skip(const char *why)
{
	give_reason(why);
	_exit(EXIT_SKIPPED);
}

void only_partly(const char *why)
{
	give_reason(why);
	exit_passed = EXIT_SKIPPED;
}

static int tool(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	if (BUILT_FOR != 0)
		return BUILT_FOR;

	/* valgrind(1) preloads its own library. */
	if (preloaded != NULL && strstr(preloaded, "vgpreload") != NULL)
		return MEMCHECK;

	return 0;
}

void skip_under(int tools, const char *why)
{
	static const char *const names[] = {
		[ASAN] = "asan", [TSAN] = "tsan", [MEMCHECK] = "memcheck",
	};
	char text[REASON_SIZE];

	if (!(tools & tool()))
		return;
	snprintf(text, sizeof(text), "%s %s", names[tool()], why);
	skip(text);
}

void check_child(int pid)
{
	int status;

	check_int(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED)
		_exit(EXIT_SKIPPED);
	check_int(status, 0);
}

static int fatal_pipe[2];

static void write_message(const char *msg)
{
	if (write(fatal_pipe[1], msg, strlen(msg)) < 0)
		_exit(1);
}

void check_fatal_text(const char *file, int line, const char *what,
		      void (*fn)(void), const char *text)
{
	char msg[1025];
	ssize_t len;
	int status;
	pid_t pid;

	check(pipe(fatal_pipe) == 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		iv_set_fatal_msg_handler(write_message);
		fn();
		_exit(0);
	}
	close(fatal_pipe[1]);
	len = read(fatal_pipe[0], msg, sizeof(msg) - 1);
	close(fatal_pipe[0]);
	check_int(waitpid(pid, &status, 0), pid);

	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED)
		_exit(EXIT_SKIPPED);
	msg[len > 0 ? len : 0] = '\0';
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
	    strstr(msg, text) != NULL)
		return;
	fprintf(stderr, "# %s:%d: %s: wait status %#x, message \"%s\", which "
		"should contain \"%s\"\n", file, line, what, status, msg, text);
	_exit(1);
}

void need_self_exec(void)
{
	pid_t pid;
	int status;

	skip_under(MEMCHECK, "would be executed instead of this program");
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		/* No case has this name, so the program does nothing. */
		if (freopen("/dev/null", "w", stdout) != NULL)
			execl("/proc/self/exe", "test", "\n", (char *)NULL);
		_exit(errno);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == ENOEXEC)
		skip("this program cannot execute itself");
	check_int(status, 0);
}

void need_silent_abort(void)
{
	int fd[2];
	pid_t pid;
	char c;
	int printed;

	check_int(pipe(fd), 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_int(dup2(fd[1], 2), 2);
		abort();
	}
	close(fd[1]);
	printed = read(fd[0], &c, 1) == 1;
	close(fd[0]);
	check_int(waitpid(pid, NULL, 0), pid);
	if (printed)
		skip("abort() prints a message here");
}

static void *lock_and_unlock(void *lock)
{
	pthread_mutex_lock(lock);
	pthread_mutex_unlock(lock);

	return NULL;
}

/* An emulator that crashes here prints messages, which are not TAP. */
static void begin_thread_in_child(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int null = open("/dev/null", O_WRONLY);
	pthread_t t;

	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	check_int(pthread_create(&t, NULL, lock_and_unlock, &lock), 0);
	check_int(pthread_join(t, NULL), 0);
	_exit(0);
}

void need_threads_of_child(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_t t;
	pid_t pid;
	int status;

	pthread_mutex_lock(&lock);
	check_int(pthread_create(&t, NULL, lock_and_unlock, &lock), 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		begin_thread_in_child();
	check_int(waitpid(pid, &status, 0), pid);
	pthread_mutex_unlock(&lock);
	check_int(pthread_join(t, NULL), 0);
	if (status != 0)
		skip("the child of a program with threads cannot create one");
}

void need_memory_limit(int resource)
{
	struct rlimit lim = { 64 << 20, 64 << 20 };
	pid_t pid = fork();
	int status;

	check(pid >= 0);
	if (pid == 0) {
		check_int(setrlimit(resource, &lim), 0);
		_exit(mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0)
		skip("memory cannot be limited");
}

#define MOST_EATEN	(64 << 20)

/* A linked list of all blocks, and the limit to restore. */
static void **eaten;
static struct rlimit data_limit;

void eat_memory(size_t least)
{
	struct rlimit none;
	size_t total = 0;
	size_t size;
	void **block;

	check_int(getrlimit(RLIMIT_DATA, &data_limit), 0);
	none = data_limit;
	/* Some kernels take 0 for no limit. */
	none.rlim_cur = 4096;
	check_int(setrlimit(RLIMIT_DATA, &none), 0);

	for (size = 1 << 16; size >= least; size /= 2) {
		while ((block = malloc(size)) != NULL) {
			*block = eaten;
			eaten = block;
			total += size;
			if (total > MOST_EATEN)
				skip("memory cannot be limited");
		}
	}
}

void give_back_memory(void)
{
	while (eaten != NULL) {
		void **next = *eaten;

		free(eaten);
		eaten = next;
	}
	check_int(setrlimit(RLIMIT_DATA, &data_limit), 0);
}

const char *poll_method(int n)
{
	return n < NUM_USUAL ? methods[n] : NULL;
}

void need_poll_method(const char *name)
{
	int i;

	for (i = 0; i < NUM_METHODS; i++) {
		if (!strcmp(methods[i], name))
			return;
	}
	skip("the library was built without this poll method");
}

int is_left_out(const char *what)
{
	if (HAS_INOTIFY || strstr(what, "inotify") == NULL)
		return 0;
	only_partly("the library was built without inotify(7)");

	return 1;
}

int variant_is_pipe(void)
{
	return running.pipe;
}

int variant_is_uring(void)
{
	const char *name = iv_poll_method_name();

	return name != NULL && !strcmp(name, "uring");
}

int variant_is_epoll(void)
{
	const char *name = iv_poll_method_name();

	return name != NULL && !strncmp(name, "epoll", 5);
}

int variant_is_kqueue(void)
{
	const char *name = iv_poll_method_name();

	return name != NULL && !strcmp(name, "kqueue");
}

int variant_is_poll(void)
{
	const char *name = iv_poll_method_name();

	return name != NULL && strstr(name, "poll") != NULL &&
	       !variant_is_epoll();
}

int lowest_descriptor(void)
{
	int fd = dup(0);

	check(fd >= 0);
	close(fd);

	return fd;
}

int limit_descriptors(int num)
{
	struct rlimit lim;
	int former;

	check_int(getrlimit(RLIMIT_NOFILE, &lim), 0);
	former = lim.rlim_cur;
	lim.rlim_cur = num;
	check_int(setrlimit(RLIMIT_NOFILE, &lim), 0);

	return former;
}

struct iterations {
	struct iv_timer	timer;
	int		left;
};

static void begin_iteration(void *_its)
{
	struct iterations *its = _its;

	if (its->left-- == 0)
		iv_quit();
	else
		iv_timer_register(&its->timer);
}

void run_iterations(int num)
{
	struct iterations its = { .left = num };

	IV_TIMER_INIT(&its.timer);
	its.timer.expires = (struct timespec){ 0 };
	its.timer.cookie = &its;
	its.timer.handler = begin_iteration;
	iv_timer_register(&its.timer);
	iv_main();
}

static long ms_of(clockid_t id)
{
	struct timespec ts;

	check(clock_gettime(id, &ts) == 0);

	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

long now_ms(void)
{
	return ms_of(CLOCK_MONOTONIC);
}

long cpu_ms(void)
{
	return ms_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* Exclude all other methods, in addition to those that are excluded already. */
static void use_method(int method)
{
	char list[4096];
	const char *excluded = getenv("IV_EXCLUDE_POLL_METHOD");
	int i;

	snprintf(list, sizeof(list), "%s", excluded != NULL ? excluded : "");
	for (i = 0; i < NUM_METHODS; i++) {
		if (i != method)
			strcat(strcat(list, " "), methods[i]);
	}
	check(setenv("IV_EXCLUDE_POLL_METHOD", list, 1) == 0);
	/* Some methods are used only if they are selected by name. */
	check(setenv("IV_SELECT_POLL_METHOD", methods[method], 1) == 0);
}

/* make(1), shells and nohup(1) may have ignored or blocked some. */
static void default_signals(void)
{
	sigset_t none;
	int sig;

	for (sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int eventfd_is_refused(void)
{
#ifdef HAVE_EVENTFD
	int fd = eventfd(0, 0);

	if (fd >= 0)
		close(fd);

	return fd < 0;
#else
	return 1;
#endif
}

/*
 * LeakSanitizer does nothing at _exit().  The child shows that a process can
 * still be created, which the leak check needs.
 */
static void check_leaks(void)
{
#ifdef CHECK_LEAKS
	pid_t pid;

	(void)signal(SIGCHLD, SIG_DFL);
	pid = fork();
	if (pid < 0)
		return;
	if (pid == 0)
		_exit(0);
	check_int(waitpid(pid, NULL, 0), pid);
	__lsan_do_leak_check();
#endif
}

static void run_case(const struct check_case *c, struct variant v)
{
	int before;

	/* When the case has ended, what it left running is killed by group. */
	(void)setpgid(0, 0);
	default_signals();
	alarm(SLOWEST * SLOWER * (c->seconds ? c->seconds : 30));

	running = v;
	if (v.method >= 0)
		use_method(v.method);
	if (v.pipe && !eventfd_is_refused()) {
		refuse("eventfd2", EPERM);
		refuse("eventfd", EPERM);
	}

	before = num_descriptors();
	c->run();
	check_int(num_descriptors(), before);
	fflush(stdout);
	check_leaks();
	_exit(exit_passed);
}

static const char *outcome(int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		return "did not end";
	if (WIFSIGNALED(status))
		return strsignal(WTERMSIG(status));

	return "a check failed";
}

/* The process group of the running case. */
static volatile pid_t running_group;

static void kill_case_and_self(int sig)
{
	if (running_group > 0)
		(void)kill(-running_group, SIGKILL);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Returns 1 if the case has passed, 0 if it has failed, -1 if it is skipped. */
static int run_in_child(const struct check_case *c, struct variant v)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		run_case(c, v);
	running_group = pid;
	check_int(waitpid(pid, &status, 0), pid);
	(void)kill(-pid, SIGKILL);
	running_group = 0;

	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED)
		return -1;
	if (status != 0)
		printf("# %s\n", outcome(status));

	return status == 0;
}

static int is_word_of(const char *word, const char *list)
{
	size_t len = strlen(word);
	const char *s;

	for (s = list; (s = strstr(s, word)) != NULL; s += len) {
		if ((s == list || s[-1] == ' ') &&
		    (s[len] == '\0' || s[len] == ' '))
			return 1;
	}

	return 0;
}

static int each_backend(const struct check_case *c)
{
	return c->variants == EACH || c->variants == EACH_BACKEND;
}

/* Why io_uring(7) is not available, or NULL if it is. */
static const char *no_uring(void)
{
#ifdef HAVE_URING
	static char why[64];
	static int asked;
	struct io_uring_params p = { .flags = IORING_SETUP_COOP_TASKRUN };
	int fd;

	if (asked++)
		return why[0] != '\0' ? why : NULL;
	fd = syscall(SYS_io_uring_setup, 1, &p);
	if (fd < 0)
		snprintf(why, sizeof(why), "no io_uring: %s", strerror(errno));
	else
		close(fd);

	return why[0] != '\0' ? why : NULL;
#else
	return NULL;
#endif
}

/*
 * Under valgrind(1) one thread runs at a time, and one that waits for
 * io_uring(7) lets no other one run.  Such variants run only if TEST_VARIANT
 * names them.
 */
static int stops_all_threads(const char *method)
{
	const char *only = getenv("TEST_VARIANT");

	return !strcmp(method, "uring") && tool() == MEMCHECK &&
	       (only == NULL || strstr(only, method) == NULL);
}

static const char *why_impossible(const struct check_case *c, struct variant v)
{
	const char *list = getenv("IV_EXCLUDE_POLL_METHOD");
	const char *method = v.method >= 0 ? methods[v.method] : "";

	if (v.method >= 0 && list != NULL && is_word_of(method, list))
		return "excluded by the environment";
	if (stops_all_threads(method))
		return "memcheck stops all threads while one waits for a ring";
	if (!strcmp(method, "uring") && no_uring() != NULL)
		return no_uring();
	if (each_backend(c) && !v.pipe && eventfd_is_refused())
		return "eventfd(2) is refused to this program";

	return NULL;
}

static void name_variant(char *name, size_t size, struct variant v)
{
	snprintf(name, size, "%s%s%s", v.method >= 0 ? methods[v.method] : "",
		 v.method >= 0 ? "/" : "", v.pipe ? "pipe" : "eventfd");
}

static int num_verdicts;
static int num_failed;

static void run_variant(const struct check_case *c, struct variant v)
{
	const char *only = getenv("TEST_VARIANT");
	const char *why = why_impossible(c, v);
	char name[64];
	int ret;

	name_variant(name, sizeof(name), v);
	if (only != NULL && c->variants != ONCE && !is_word_of(name, only))
		return;

	strcpy(reason, "see above");
	ret = why != NULL ? -1 : run_in_child(c, v);
	num_failed += ret == 0;
	printf("%sok %d - %s", ret != 0 ? "" : "not ", ++num_verdicts, c->name);
	if (c->variants != ONCE)
		printf(" (%s)", name);
	if (ret < 0)
		printf(" # SKIP %s", why != NULL ? why : reason);
	printf("\n");
}

static void run_variants(const struct check_case *c)
{
	int each_method = c->variants == EACH || c->variants == EACH_METHOD;
	int first = !HAS_EVENTFD;
	int last = each_backend(c) ? 1 : first;
	struct variant v;

	for (v.method = each_method ? 0 : -1;
	     v.method < (each_method ? NUM_METHODS : 0); v.method++) {
		for (v.pipe = first; v.pipe <= last; v.pipe++)
			run_variant(c, v);
	}
}

_Thread_local int check_is_tied;

#ifdef IV_STEPS
void (*check_at_step)(const char *file, int line);

static uint64_t step_seed;
static atomic_uint num_seeded;
static _Thread_local uint64_t step_random;

void check_seed_steps(uint64_t seed)
{
	step_seed = seed;
	step_random = 0;
	atomic_store(&num_seeded, 0);
}

/* xorshift64*, with a different seed for each thread. */
static unsigned int next_random(void)
{
	if (step_random == 0)
		step_random = (step_seed + atomic_fetch_add(&num_seeded, 1) +
			       1) * UINT64_C(0x9e3779b97f4a7c15);
	step_random ^= step_random >> 12;
	step_random ^= step_random << 25;
	step_random ^= step_random >> 27;

	return step_random * UINT64_C(2685821657736338717) >> 40;
}

/*
 * A step of the library must not become a cancellation point.  With glibc a
 * thread that enables asynchronous cancellation by pthread_setcancelstate(3) may
 * end without PTHREAD_CANCELED, so pthread_setcanceltype(3) does that.
 */
static void pause_now_and_then(void)
{
	const unsigned int random = next_random();
	const struct timespec ts = { .tv_nsec = random / 1024 % 64 * 2048 };
	int saved_errno = errno;
	int state, type;

	if (check_is_tied || random % 16 != 0)
		return;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	(void)pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	if (random % 128 == 0)
		(void)nanosleep(&ts, NULL);
	else
		(void)sched_yield();
	(void)pthread_setcancelstate(state, NULL);
	(void)pthread_setcanceltype(type, NULL);
	errno = saved_errno;
}

void iv_step_hook(const char *file, int line);
void iv_step_hook(const char *file, int line)
{
	if (check_at_step != NULL)
		check_at_step(file, line);
	else
		pause_now_and_then();
}

static void begin_steps(void)
{
	const char *seed = getenv("STEPS_SEED");

	check_seed_steps(seed != NULL ? strtoull(seed, NULL, 0) :
					(uint64_t)now_ms());
	printf("# STEPS_SEED=%llu\n", (unsigned long long)step_seed);
}
#else
static void begin_steps(void)
{
}
#endif

int check_run(const struct check_case *cases, int num, int argc, char **argv)
{
	int i;

	/* Descriptors may have been inherited, from make(1) for example. */
	for (i = 3; i < 1024; i++)
		(void)close(i);
	reason = mmap(NULL, REASON_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(reason != MAP_FAILED);
	signal(SIGINT, kill_case_and_self);
	signal(SIGTERM, kill_case_and_self);
	begin_steps();
	for (i = 0; i < num; i++) {
		if (argc < 2 || strstr(cases[i].name, argv[1]) != NULL)
			run_variants(&cases[i]);
	}
	printf("1..%d\n", num_verdicts);

	return num_failed ? 1 : 0;
}

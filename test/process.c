/*
 * libivykis: what the first loop changes in its process, and how loops work if
 * system calls fail.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <grp.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_fd_pump.h>
#include <iv_inotify.h>
#include <iv_popen.h>
#include <iv_signal.h>
#include <iv_thread.h>
#include <iv_wait.h>
#include <iv_work.h>
#include <linux/capability.h>
#ifdef HAVE_URING
#include <linux/io_uring.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include "check.h"

#define WANTED		131072
#define NOBODY		65534
#define OWNER		54321

static void in_child(void (*fn)(void))
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		alarm(60);
		fn();
		_exit(0);
	}
	check_child(pid);
}

static void exclude(const char *names)
{
	if (names != NULL)
		check(setenv("IV_EXCLUDE_POLL_METHOD", names, 1) == 0);
	else
		check(unsetenv("IV_EXCLUDE_POLL_METHOD") == 0);
}

static void prefer(const char *name)
{
	check_int(setenv("IV_SELECT_POLL_METHOD", name, 1), 0);
}

static void expect_method(const char *want)
{
	const char *name = iv_poll_method_name();

	check(name != NULL);
	if (strcmp(name, want))
		fprintf(stderr, "# the method is %s, not %s\n", name, want);
	check(!strcmp(name, want));
}

/* If this is root, go on as a user without privileges. */
static void become_nobody(void)
{
	if (geteuid() != 0)
		return;
	check(setgroups(0, NULL) == 0);
	check(setresgid(NOBODY, NOBODY, NOBODY) == 0);
	check(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	/* /proc/self stays readable. */
	check(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip("not root");
}

/*
 * Check that the loop works: it serves a descriptor that is ready in many waits
 * for the same timer, and then sleeps.  No timer is early.
 */
struct loop_check {
	struct iv_fd	fd;
	struct iv_timer	timer;
	int		served;
	int		step;
};

static int near, far;

static void open_pipe(void)
{
	int fd[2];

	check(pipe2(fd, O_CLOEXEC) == 0);
	near = fd[0];
	far = fd[1];
	check_int(write(far, "x", 1), 1);
}

static void close_pipe(void)
{
	close(near);
	close(far);
}

static void got_fd(void *_p)
{
	struct loop_check *p = _p;

	p->served++;
}

static void set_timer(struct loop_check *p, long ms)
{
	iv_invalidate_now();
	p->timer.expires = iv_now;
	p->timer.expires.tv_nsec += ms * 1000000;
	if (p->timer.expires.tv_nsec >= 1000000000) {
		p->timer.expires.tv_sec++;
		p->timer.expires.tv_nsec -= 1000000000;
	}
	iv_timer_register(&p->timer);
}

static int is_early(const struct timespec *ts)
{
	struct timespec now;

	check(clock_gettime(CLOCK_MONOTONIC, &now) == 0);

	return now.tv_sec < ts->tv_sec ||
	       (now.tv_sec == ts->tv_sec && now.tv_nsec < ts->tv_nsec);
}

static void timer_expired(void *_p)
{
	struct loop_check *p = _p;

	check(!is_early(&p->timer.expires));
	/* Go on until it was served 20 times, however slow the machine. */
	if (p->step == 0 && p->served < 20) {
		set_timer(p, 20);
		return;
	}
	if (p->step++ == 0) {
		iv_fd_set_handler_in(&p->fd, NULL);
		set_timer(p, 20);
		return;
	}
	iv_fd_unregister(&p->fd);
}

static void loop_works(void)
{
	struct loop_check p = { .served = 0 };

	IV_FD_INIT(&p.fd);
	p.fd.fd = near;
	p.fd.cookie = &p;
	p.fd.handler_in = got_fd;
	iv_fd_register(&p.fd);
	IV_TIMER_INIT(&p.timer);
	p.timer.cookie = &p;
	p.timer.handler = timer_expired;
	set_timer(&p, 20);
	iv_main();
	check_int(p.step, 2);
}

static void *loop_works_in_thread(void *arg)
{
	iv_init();
	loop_works();
	iv_deinit();

	return arg;
}

static void thread_works(void)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, loop_works_in_thread, NULL),
		  0);
	check_int(pthread_join(thread, NULL), 0);
}

/* SIGPIPE and SIGURG. */
static int is_ignored(int sig)
{
	struct sigaction sa;

	check(sigaction(sig, NULL, &sa) == 0);

	return sa.sa_handler == SIG_IGN;
}

static void some_handler(int sig)
{
	(void)sig;
}

static void two_signals_are_ignored(void)
{
	signal(SIGPIPE, SIG_DFL);
	signal(SIGURG, some_handler);
	iv_init();
	check(is_ignored(SIGPIPE));
	check(is_ignored(SIGURG));
	check(!is_ignored(SIGTERM));
	iv_deinit();
	check(is_ignored(SIGPIPE));
	check(is_ignored(SIGURG));
}

static void signals_are_set_once(void)
{
	iv_init();
	signal(SIGPIPE, some_handler);
	signal(SIGURG, SIG_DFL);
	iv_deinit();
	iv_init();
	check(!is_ignored(SIGPIPE));
	check(!is_ignored(SIGURG));
	iv_deinit();
}

/* The limit of descriptors. */
static struct rlimit get_limit(void)
{
	struct rlimit lim;

	check(getrlimit(RLIMIT_NOFILE, &lim) == 0);

	return lim;
}

static void set_limit(rlim_t soft, rlim_t hard)
{
	struct rlimit lim = { .rlim_cur = soft, .rlim_max = hard };

	skip_under(MEMCHECK, "reserves the highest descriptors");
	check(setrlimit(RLIMIT_NOFILE, &lim) == 0);
}

static rlim_t smaller(rlim_t x, rlim_t y)
{
	return x < y ? x : y;
}

static void expect_raised(rlim_t soft, rlim_t hard)
{
	struct rlimit lim;

	set_limit(soft, hard);
	iv_init();
	lim = get_limit();
	check(lim.rlim_max >= hard);
	check(lim.rlim_cur >= soft);
	check(lim.rlim_cur >= smaller(hard, WANTED));
	check(lim.rlim_cur <= (soft > WANTED ? soft : WANTED));
	iv_deinit();
}

static void raise_to_the_hard_limit(void)
{
	expect_raised(100, get_limit().rlim_max);
}

static void raise_to_an_odd_hard_limit(void)
{
	expect_raised(100, smaller(get_limit().rlim_max, 12345));
}

static void raise_what_is_at_its_hard_limit(void)
{
	rlim_t limit = smaller(get_limit().rlim_max, 1000);

	expect_raised(limit, limit);
}

static void as_nobody_at_the_hard_limit(void)
{
	struct rlimit lim;

	become_nobody();
	set_limit(1000, 1000);
	iv_init();
	lim = get_limit();
	check(lim.rlim_cur == 1000 && lim.rlim_max == 1000);
}

static void as_nobody_below_the_hard_limit(void)
{
	struct rlimit lim;

	become_nobody();
	set_limit(100, smaller(get_limit().rlim_max, 12345));
	lim = get_limit();
	iv_init();
	check(get_limit().rlim_cur == lim.rlim_max);
	check(get_limit().rlim_max == lim.rlim_max);
}

static void limit_is_raised(void)
{
	in_child(raise_to_the_hard_limit);
	in_child(raise_to_an_odd_hard_limit);
	in_child(raise_what_is_at_its_hard_limit);
	in_child(as_nobody_below_the_hard_limit);
	in_child(as_nobody_at_the_hard_limit);
}

static void keep_soft_limit(void)
{
	rlim_t hard = get_limit().rlim_max;

	expect_raised(200000, hard);
	check(get_limit().rlim_cur == 200000);
	check(get_limit().rlim_max == hard);
}

static void keep_soft_limit_as_nobody(void)
{
	become_nobody();
	keep_soft_limit();
}

static void high_limit_is_kept(void)
{
	if (get_limit().rlim_max < 200000)
		skip("the hard limit of descriptors is below 200000");
	in_child(keep_soft_limit);
	in_child(keep_soft_limit_as_nobody);
}

static void limit_is_raised_once(void)
{
	iv_init();
	set_limit(100, get_limit().rlim_max);
	iv_deinit();
	iv_init();
	check(get_limit().rlim_cur == 100);
	iv_deinit();
}

static void limit_calls_fail(void)
{
	open_pipe();
	refuse("prlimit64", EPERM);
	refuse("getrlimit", EPERM);
	refuse("setrlimit", EPERM);
	iv_init();
	loop_works();
	iv_deinit();
	close_pipe();
}

/* The environment. */
static const char *exclusion, *expected_method;

static void check_choice(void)
{
	exclude(exclusion);
	open_pipe();
	iv_init();
	expect_method(expected_method);
	loop_works();
	expect_method(expected_method);
	iv_deinit();
}

static void expect_choice(const char *names, const char *want)
{
	exclusion = names;
	expected_method = want;
	in_child(check_choice);
}

/* All methods except for the first, in reverse order. */
static const char *all_others(void)
{
	static char names[256];
	int i;

	names[0] = '\0';
	for (i = 1; poll_method(i) != NULL; i++)
		;
	while (--i > 0)
		strcat(strcat(names, poll_method(i)), " ");

	return names;
}

static void first_method_is_used(void)
{
	char names[256] = "";
	int i;

	expect_choice(NULL, poll_method(0));
	expect_choice(all_others(), poll_method(0));
	for (i = 0; poll_method(i) != NULL; i++) {
		expect_choice(names, poll_method(i));
		strcat(strcat(names, " "), poll_method(i));
	}
}

/* This contains the first method's name, but does not exclude it. */
static void expect_no_match(const char *format)
{
	char names[256];

	snprintf(names, sizeof(names), format, poll_method(0));
	expect_choice(names, poll_method(0));
}

/* This excludes the first method alone. */
static void expect_match(const char *format)
{
	char names[256];

	if (poll_method(1) == NULL) {
		only_partly("the library was built with one poll method");
		return;
	}
	snprintf(names, sizeof(names), format, poll_method(0));
	expect_choice(names, poll_method(1));
}

static void names_are_whole_words(void)
{
	expect_no_match("%.0s");
	expect_no_match(" \t\n");
	expect_no_match("%.3s");
	expect_no_match("%s2");
	expect_no_match("x%s");
	expect_no_match("%s,poll");
	expect_no_match("%s;");
	expect_no_match("port %s:unheard-of");
	expect_match("port unheard-of %s");
	expect_match("\n\t%s\t\n  unheard-of  ");
	expect_match("port\tport\n%1$s %1$s");
}

static void long_words_match_nothing(void)
{
	static char names[100000];

	memset(names, 'x', 63);
	strcpy(names + 63, poll_method(0));
	expect_choice(names, poll_method(0));

	if (poll_method(1) == NULL) {
		only_partly("the library was built with one poll method");
		return;
	}
	memset(names, 'x', sizeof(names));
	sprintf(names + sizeof(names) - 32, "\t%s", poll_method(0));
	expect_choice(names, poll_method(1));
}

/* The preferred method is tried first, then the others in their order. */
static void expect_preference(const char *name, const char *names,
			      const char *want)
{
	prefer(name);
	expect_choice(names, want);
}

static void method_may_be_preferred(void)
{
	const char *first = poll_method(0);
	const char *second = poll_method(1);

	expect_preference("poll", NULL, "poll");
	expect_preference("", NULL, first);
	expect_preference("unheard-of", NULL, first);
	expect_preference("Poll", NULL, first);
	expect_preference("poll ppoll", NULL, first);
#ifndef HAVE_URING
	expect_preference("uring", NULL, first);
#endif
	if (second == NULL) {
		only_partly("the library was built with one poll method");
		return;
	}
	expect_preference(second, first, second);
	expect_preference(second, second, first);
	expect_preference("poll", all_others(), first);
	expect_preference(first, first, second);
}

static void *start_later_loop(void *arg)
{
	iv_init();
	loop_works();
	expect_method("poll");
	iv_deinit();

	return arg;
}

/* The first loop's preference is valid for later loops. */
static void preference_is_for_all_loops(void)
{
	pthread_t thread;

	prefer("poll");
	open_pipe();
	iv_init();
	loop_works();
	check_int(pthread_create(&thread, NULL, start_later_loop, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	iv_deinit();
	prefer(poll_method(0));
	iv_init();
	expect_method("poll");
	iv_deinit();
	close_pipe();
}

/* The second iv_init() would fail if it read the environment. */
static void environment_is_read_once(void)
{
	exclude(all_others());
	iv_init();
	iv_deinit();
	exclude(poll_method(0));
	iv_init();
	expect_method(poll_method(0));
	iv_deinit();
}

static void init_without_methods(void)
{
	char names[256];

	snprintf(names, sizeof(names), "%s%s", all_others(), poll_method(0));
	exclude(names);
	iv_init();
}

static void all_methods_excluded(void)
{
	check_fatal(init_without_methods, "iv_init");
}

static void expect_exclusion_ignored(void)
{
	exclude(poll_method(0));
	iv_init();
	expect_method(poll_method(0));
}

static void other_real_uid(void)
{
	check(setresuid(NOBODY, -1, -1) == 0);
	expect_exclusion_ignored();
}

static void other_effective_uid(void)
{
	check(setresuid(-1, NOBODY, -1) == 0);
	expect_exclusion_ignored();
}

static void other_real_gid(void)
{
	check(setresgid(NOBODY, -1, -1) == 0);
	expect_exclusion_ignored();
}

static void other_effective_gid(void)
{
	check(setresgid(-1, NOBODY, -1) == 0);
	expect_exclusion_ignored();
}

static void privileged_programs_ignore_the_environment(void)
{
	need_root();
	in_child(other_real_uid);
	in_child(other_effective_uid);
	in_child(other_real_gid);
	in_child(other_effective_gid);
}

/*
 * A copy of this program gets privileges from its file.  A user who runs it
 * must not choose the poll method by the environment.
 */
static void copy_of_this_program(char *path, mode_t mode)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = mkostemp(path, O_CLOEXEC);
	struct stat st;

	check(from >= 0);
	check(to >= 0);
	check_int(fstat(from, &st), 0);
	while (st.st_size > 0) {
		ssize_t len = sendfile(to, from, NULL, st.st_size);

		check(len > 0);
		st.st_size -= len;
	}
	check_int(fchown(to, OWNER, OWNER), 0);
	check_int(fchmod(to, mode), 0);
	check_int(close(from), 0);
	check_int(close(to), 0);
}

static void quit(void *unused)
{
	(void)unused;
	iv_quit();
}

/* Does the loop sleep until a timer is due?  It does not if it busy-polls. */
static int loop_sleeps(void)
{
	struct iv_timer timer = { .handler = quit };
	struct rusage before, after;
	struct iv_event_raw raw;

	IV_EVENT_RAW_INIT(&raw);
	check_int(iv_event_raw_register(&raw), 0);
	IV_TIMER_INIT(&timer);
	timer.expires = iv_now;
	timer.expires.tv_sec++;
	iv_timer_register(&timer);
	check_int(getrusage(RUSAGE_THREAD, &before), 0);
	iv_main();
	check_int(getrusage(RUSAGE_THREAD, &after), 0);
	iv_event_raw_unregister(&raw);

	return after.ru_nvcsw != before.ru_nvcsw;
}

static int has_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 &&
	       CPU_COUNT(&set) > 1;
}

/* The copy's main(): does the environment have an effect? */
static int privileged(const char *want)
{
	static struct iv_event_raw none;

	/* The system's library would abort here, as it lacks this call. */
	IV_EVENT_RAW_INIT(&none);
	check_errno(iv_event_raw_export(&none), EBADF);

	if (geteuid() == NOBODY && getegid() == NOBODY &&
	    !getauxval(AT_SECURE) && !strcmp(want, poll_method(0)))
		skip("the file system gives no privileges");
	iv_init();
	expect_method(want);
	if (has_processors())
		check_int(loop_sleeps(), !strcmp(want, poll_method(0)));

	return 0;
}

static void run_as_nobody(const char *path, const char *want)
{
	int status;
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		check_int(chdir("/"), 0);
		become_nobody();
		exclude(poll_method(0));
		prefer("poll");
		check_int(setenv("IV_BUSY_POLL", "1000000", 1), 0);
		execl(path, path, "privileged", want, (char *)NULL);
		_exit(errno == EACCES ? 126 : errno);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(unlink(path), 0);
	/* An emulator may be unable to run any program, not just the copy. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == ENOEXEC)
		need_self_exec();
	if (WIFEXITED(status) && WEXITSTATUS(status) >= 126)
		skip("the user nobody cannot read the program or the library");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		_exit(77);
	check_int(status, 0);
}

static void set_user_id_program(void)
{
	char path[] = "/tmp/ivykis.XXXXXX";

	need_root();
	skip_under(ASAN, "searches for leaks by ptrace(2)");
	copy_of_this_program(path, 04755);
	run_as_nobody(path, poll_method(0));
}

static void set_group_id_program(void)
{
	char path[] = "/tmp/ivykis.XXXXXX";

	need_root();
	skip_under(ASAN, "searches for leaks by ptrace(2)");
	copy_of_this_program(path, 02755);
	run_as_nobody(path, poll_method(0));
}

/* Only Linux gives privileges in this way. */
static void need_secure_getenv(void)
{
#ifndef HAVE_SECURE_GETENV
	skip("the library was built without secure_getenv(3)");
#endif
}

static void program_with_capabilities(void)
{
	char path[] = "/tmp/ivykis.XXXXXX";
	struct vfs_cap_data caps = {
		.magic_etc = htole32(VFS_CAP_REVISION_2 |
				     VFS_CAP_FLAGS_EFFECTIVE),
		.data[0].permitted = htole32(1U << CAP_NET_BIND_SERVICE),
	};

	need_secure_getenv();
	need_root();
	copy_of_this_program(path, 0755);
	if (setxattr(path, "security.capability", &caps, XATTR_CAPS_SZ_2, 0)) {
		check_int(unlink(path), 0);
		skip("the file system holds no capabilities");
	}
	run_as_nobody(path, poll_method(0));
}

static void program_without_privileges(void)
{
	char path[] = "/tmp/ivykis.XXXXXX";

	need_root();
	if (poll_method(1) == NULL)
		skip("the library was built with one poll method");
	copy_of_this_program(path, 0755);
	run_as_nobody(path, "poll");
}

/* System calls that the kernel rejects. */
static void work_without(const char *call, int err, const char *names,
			 const char *want)
{
	exclude(names);
	open_pipe();
	refuse(call, err);
	iv_init();
	loop_works();
	expect_method(want);
	thread_works();
	expect_method(want);
	iv_deinit();
	close_pipe();
}

#ifdef HAVE_URING
/* Skip the case where this process may not use io_uring. */
static void need_uring(void)
{
	struct io_uring_params p = { .flags = IORING_SETUP_COOP_TASKRUN };
	int fd = syscall(SYS_io_uring_setup, 1, &p);

	if (fd < 0)
		skip(strerror(errno));
	close(fd);
}

static void uring_is_used_if_named(void)
{
	need_uring();
	expect_preference("uring", NULL, "uring");
	expect_preference("uring", "epoll-timerfd epoll ppoll poll", "uring");
	expect_preference("uring", "uring", "epoll-timerfd");
	expect_preference("", "epoll-timerfd epoll ppoll", "poll");
}

static void uring_is_not_used_unless_named(void)
{
	need_uring();
	prefer("");
	check_fatal(init_without_methods, "no suitable event dispatcher");
}

static const int errors[] = { ENOSYS, EPERM, EACCES, ENOMEM, EINVAL };
static int setup_error;

static void without_setup(void)
{
	work_without("io_uring_setup", setup_error, NULL, "epoll-timerfd");
}

static void without_enter(void)
{
	work_without("io_uring_enter", setup_error, NULL, "epoll-timerfd");
}

static void uring_fails(void)
{
	int i;

	prefer("uring");
	for (i = 0; i < (int)(sizeof(errors) / sizeof(errors[0])); i++) {
		setup_error = errors[i];
		in_child(without_setup);
		in_child(without_enter);
	}
}

/* The first loop has no descriptor for a ring and uses ppoll(2) instead. */
static void no_descriptor_for_uring(void)
{
	int fds[1024];
	int num = 0;

	need_uring();
	prefer("uring");
	open_pipe();
	(void)limit_descriptors(64);
	while (num < 1024 && (fds[num] = dup(near)) >= 0)
		num++;
	check_int(errno, EMFILE);
	exclude("epoll-timerfd epoll");
	iv_init();
	expect_method("uring");
	loop_works();
	iv_deinit();
	while (num > 0)
		close(fds[--num]);
	num = num_descriptors();
	iv_init();
	check_int(num_descriptors(), num + 1);
	loop_works();
	iv_deinit();
	close_pipe();
}
#endif

static void no_epoll(int err)
{
	need_poll_method("epoll");
	refuse("epoll_create", err);
	work_without("epoll_create1", err, NULL, "ppoll");
}

static void epoll_is_not_implemented(void)
{
	no_epoll(ENOSYS);
}

static void epoll_is_not_permitted(void)
{
	no_epoll(EPERM);
}

/* Some machines lack epoll_create(2), and some libcs do not call it. */
static void no_epoll_create1(int err)
{
	pid_t pid;
	int status;

	need_poll_method("epoll-timerfd");
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		refuse("epoll_create1", err);
		_exit(epoll_create(1) < 0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	if (status != 0)
		skip("epoll_create() needs epoll_create1(2) here");
	work_without("epoll_create1", err, NULL, "epoll-timerfd");
}

static void epoll_create1_is_not_implemented(void)
{
	no_epoll_create1(ENOSYS);
}

static void epoll_create1_is_not_permitted(void)
{
	no_epoll_create1(EPERM);
}

static void epoll_pwait2_is_not_implemented(void)
{
	need_poll_method("epoll-timerfd");
	work_without("epoll_pwait2", ENOSYS, NULL, "epoll-timerfd");
}

static void epoll_pwait2_is_not_permitted(void)
{
	need_poll_method("epoll-timerfd");
	work_without("epoll_pwait2", EPERM, "epoll-timerfd", "epoll");
}

static void timerfd_is_not_implemented(void)
{
	need_poll_method("epoll-timerfd");
	work_without("timerfd_create", ENOSYS, NULL, "epoll");
}

static void timerfd_is_not_permitted(void)
{
	need_poll_method("epoll-timerfd");
	work_without("timerfd_create", EPERM, NULL, "epoll");
}

static void no_descriptor_for_timerfd(void)
{
	need_poll_method("epoll-timerfd");
	work_without("timerfd_create", EMFILE, NULL, "epoll-timerfd");
}

static void timerfd_cannot_be_set(void)
{
	need_poll_method("epoll-timerfd");
	work_without("timerfd_settime", EINVAL, NULL, "epoll-timerfd");
}

static void ppoll_is_not_implemented(void)
{
	need_poll_method("ppoll");
	work_without("ppoll", ENOSYS, "kqueue epoll-timerfd epoll",
		     "poll");
}

static void ppoll_is_not_permitted(void)
{
	need_poll_method("ppoll");
	work_without("ppoll", EPERM, "kqueue epoll-timerfd epoll",
		     "poll");
}

static void madvise_is_refused(void)
{
	open_pipe();
	refuse("madvise", EINVAL);
	iv_init();
	loop_works();
	in_child(loop_works);
	iv_deinit();
	close_pipe();
}

static void no_descriptor_for_epoll(void)
{
	need_poll_method("epoll-timerfd");
	refuse("epoll_create", EMFILE);
	work_without("epoll_create1", EMFILE, NULL, "epoll-timerfd");
}

static void calls_begin_to_fail(void)
{
	need_poll_method("epoll-timerfd");
	exclude(NULL);
	open_pipe();
	iv_init();
	loop_works();
	refuse("epoll_create", EPERM);
	refuse("epoll_create1", EPERM);
	refuse("epoll_pwait2", EPERM);
	refuse("timerfd_create", EPERM);
	thread_works();
	loop_works();
	iv_deinit();
	close_pipe();
}

static void init_epoll_or_nothing(void)
{
	exclude("ppoll poll");
	refuse("epoll_create", EMFILE);
	refuse("epoll_create1", EMFILE);
	iv_init();
}

static void no_descriptor_and_no_poll(void)
{
	need_poll_method("epoll");
	check_fatal(init_epoll_or_nothing, "iv_init");
	check_fatal(init_epoll_or_nothing, strerror(EMFILE));
}

/* At the limit of descriptors. */
static void use_up_descriptors(void)
{
	int fd;

	set_limit(100, 100);
	do {
		fd = dup(near);
	} while (fd >= 0);
	check_int(errno, EMFILE);
}

static void free_descriptors(void)
{
	int fd;

	for (fd = 50; fd < 100; fd++) {
		if (fd != near && fd != far)
			close(fd);
	}
}

static void *check_epoll_is_used(void *arg)
{
	int before = num_descriptors();

	iv_init();
	check_int(num_descriptors(), before + 1);
	loop_works();
	iv_deinit();

	return arg;
}

static void first_loop_at_the_limit(void)
{
	pthread_t thread;

	need_poll_method("epoll-timerfd");
	exclude(NULL);
	become_nobody();
	open_pipe();
	use_up_descriptors();
	iv_init();
	expect_method("epoll-timerfd");
	loop_works();
	thread_works();
	expect_method("epoll-timerfd");

	free_descriptors();
	loop_works();
	check_int(pthread_create(&thread, NULL, check_epoll_is_used, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	expect_method("epoll-timerfd");
}

static void later_loop_at_the_limit(void)
{
	need_poll_method("epoll-timerfd");
	exclude(NULL);
	become_nobody();
	open_pipe();
	set_limit(100, 100);
	iv_init();
	use_up_descriptors();
	thread_works();
	expect_method("epoll-timerfd");
	loop_works();
	expect_method("epoll-timerfd");

	free_descriptors();
	loop_works();
	thread_works();
	expect_method("epoll-timerfd");
}

static void loops_at_the_limit(void)
{
	in_child(first_loop_at_the_limit);
	in_child(later_loop_at_the_limit);
}

/* The library's own descriptors. */
static void number_of_descriptors(void)
{
	int before, own;

	open_pipe();
	before = num_descriptors();
	iv_init();
	own = !variant_is_poll();
	check_int(num_descriptors(), before + own);
	loop_works();
	if (!strcmp(iv_poll_method_name(), "epoll-timerfd"))
		own++;
	check_int(num_descriptors(), before + own);
	iv_deinit();
	check_int(num_descriptors(), before);
	close_pipe();
}

static void check_close_on_exec(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *ent;

	check(dir != NULL);
	while ((ent = readdir(dir)) != NULL) {
		int fd = atoi(ent->d_name);

		if (fd > 2)
			check_int(fcntl(fd, F_GETFD), FD_CLOEXEC);
	}
	closedir(dir);
}

static void close_inherited(void)
{
	int fd;

	for (fd = 3; fd < 1000; fd++)
		close(fd);
}

static void nothing(void *cookie)
{
	(void)cookie;
}

static void ignore_status(void *cookie, int status, const struct rusage *rusage)
{
	(void)cookie;
	(void)status;
	(void)rusage;
}

static void ignore_event(void *cookie, struct inotify_event *event)
{
	(void)cookie;
	(void)event;
}

static void ignore_bands(void *cookie, int in, int out)
{
	(void)cookie;
	(void)in;
	(void)out;
}

static struct iv_event event = { .handler = nothing };
static struct iv_event_raw raw = { .handler = nothing };

static void register_events(void)
{
	check_int(iv_event_register(&event), 0);
	check_int(iv_event_raw_register(&raw), 0);
	check_close_on_exec();
}

static void unregister_events(void)
{
	iv_event_raw_unregister(&raw);
	iv_event_unregister(&event);
}

static void register_signal_and_child(void)
{
	static struct iv_signal s = { .signum = SIGUSR1, .handler = nothing };
	static struct iv_wait_interest w = {
		.pid = 1, .handler = ignore_status,
	};

	IV_SIGNAL_INIT(&s);
	check_int(iv_signal_register(&s), 0);
	check_close_on_exec();
	IV_WAIT_INTEREST_INIT(&w);
	iv_wait_interest_register(&w);
	check_close_on_exec();
}

static void submit_popen(void)
{
	static char *argv[] = { "sleep", "1000", NULL };
	static struct iv_popen_request r = {
		.file = "sleep", .argv = argv, .type = "r",
	};

	IV_POPEN_REQUEST_INIT(&r);
	check(iv_popen_request_submit(&r) >= 0);
	check_close_on_exec();
}

static void register_inotify(void)
{
	static struct iv_inotify in;
	static struct iv_inotify_watch w = {
		.inotify = &in, .pathname = "/", .mask = IN_CREATE,
		.handler = ignore_event,
	};

	IV_INOTIFY_INIT(&in);
	check_int(iv_inotify_register(&in), 0);
	IV_INOTIFY_WATCH_INIT(&w);
	check_int(iv_inotify_watch_register(&w), 0);
	check_close_on_exec();
}

/* A pump that holds bytes. */
static void begin_pump(void)
{
	static struct iv_fd_pump p = { .set_bands = ignore_bands };
	int from[2], to[2];
	char full[4096];

	check_int(pipe2(from, O_CLOEXEC | O_NONBLOCK), 0);
	check_int(pipe2(to, O_CLOEXEC | O_NONBLOCK), 0);
	memset(full, 0, sizeof(full));
	while (write(to[1], full, sizeof(full)) > 0)
		;
	check_int(write(from[1], full, sizeof(full)), sizeof(full));
	IV_FD_PUMP_INIT(&p);
	p.from_fd = from[0];
	p.to_fd = to[1];
	iv_fd_pump_init(&p);
	check_int(iv_fd_pump_pump(&p), 1);
	check_close_on_exec();
}

static sem_t running;

static void hold_a_thread(void *cookie)
{
	(void)cookie;
	sem_post(&running);
	for (;;)
		pause();
}

static void begin_threads(void)
{
	static struct iv_work_pool pool = { .max_threads = 1 };
	static struct iv_work_item item = {
		.work = hold_a_thread, .completion = nothing,
	};

	check_int(sem_init(&running, 0, 0), 0);
	check_int(iv_thread_create("test", hold_a_thread, NULL), 0);
	IV_WORK_POOL_INIT(&pool);
	check_int(iv_work_pool_create(&pool), 0);
	IV_WORK_ITEM_INIT(&item);
	iv_work_pool_submit_work(&pool, &item);
	check_int(sem_wait(&running), 0);
	check_int(sem_wait(&running), 0);
	check_close_on_exec();
}

/* main() of the program that is executed: no descriptors may be open. */
static int executed(void)
{
	int fd;

	for (fd = 3; fd < 1000; fd++) {
		if (fcntl(fd, F_GETFD) >= 0) {
			fprintf(stderr, "# %d is open after exec\n", fd);
			return 1;
		}
	}

	return 0;
}

static void execute_self(void)
{
	execl("/proc/self/exe", "test", "executed", (char *)NULL);
	check_failed(__FILE__, __LINE__, "execl");
}

static void open_everything(void)
{
	close_inherited();
	open_pipe();
	iv_init();
	register_events();
	unregister_events();
	loop_works();
	check_close_on_exec();
	register_events();
	register_signal_and_child();
	submit_popen();
	if (!is_left_out("inotify"))
		register_inotify();
	begin_pump();
	begin_threads();
	in_child(execute_self);
}

static void nothing_survives_exec(void)
{
	need_self_exec();
	in_child(open_everything);
}

static void old_epoll_is_closed_on_exec(void)
{
	need_poll_method("epoll");
	close_inherited();
	refuse("epoll_create1", ENOSYS);
	iv_init();
	check_close_on_exec();
}

static void nothing_survives_exec_in_fallbacks(void)
{
	in_child(old_epoll_is_closed_on_exec);
}

static void library_is_silent(void)
{
	char c;
	int fd[2];

	check(pipe2(fd, O_NONBLOCK | O_CLOEXEC) == 0);
	open_pipe();
	check_int(dup2(fd[1], 1), 1);
	check_int(dup2(fd[1], 2), 2);
	refuse("epoll_create1", EMFILE);
	refuse("prlimit64", EPERM);
	iv_init();
	loop_works();
	iv_deinit();
	check_errno(read(fd[0], &c, 1), EAGAIN);
}

static void the_library_prints_nothing(void)
{
	exclude(NULL);
	in_child(library_is_silent);
}

static const struct check_case cases[] = {
	{ "the first iv_init ignores SIGPIPE and SIGURG, and only them",
	  two_signals_are_ignored, ONCE, 0 },
	{ "later calls of iv_init leave both signals as they are",
	  signals_are_set_once, ONCE, 0 },
	{ "the first iv_init raises RLIMIT_NOFILE, and lowers no part of it",
	  limit_is_raised, ONCE, 0 },
	{ "a soft limit above 131072 stays as it is",
	  high_limit_is_kept, ONCE, 0 },
	{ "later calls of iv_init leave the limit as it is",
	  limit_is_raised_once, ONCE, 0 },
	{ "a loop works if the limit can be neither read nor set",
	  limit_calls_fail, ONCE, 0 },
	{ "the first method that is not excluded is used",
	  first_method_is_used, ONCE, 0 },
	{ "exclusions are whole words between spaces, tabs and newlines",
	  names_are_whole_words, ONCE, 0 },
	{ "words that are too long exclude nothing, and no other word is lost",
	  long_words_match_nothing, ONCE, 0 },
	{ "only the first iv_init reads the exclusions",
	  environment_is_read_once, ONCE, 0 },
	{ "excluding every method is fatal",
	  all_methods_excluded, ONCE, 0 },
	{ "the environment is ignored if real and effective IDs differ",
	  privileged_programs_ignore_the_environment, ONCE, 0 },
	{ "the environment is ignored in a set-user-ID program",
	  set_user_id_program, ONCE, 0 },
	{ "the environment is ignored in a set-group-ID program",
	  set_group_id_program, ONCE, 0 },
	{ "the environment is ignored in a program with file capabilities",
	  program_with_capabilities, ONCE, 0 },
	{ "the environment has an effect in a program without privileges",
	  program_without_privileges, ONCE, 0 },
	{ "IV_SELECT_POLL_METHOD comes first, unless excluded or unknown",
	  method_may_be_preferred, ONCE, 0 },
	{ "IV_SELECT_POLL_METHOD is read by the first loop, for all loops",
	  preference_is_for_all_loops, ONCE, 0 },
#ifdef HAVE_URING
	{ "uring is used only if IV_SELECT_POLL_METHOD names it",
	  uring_is_used_if_named, ONCE, 0 },
	{ "excluding every method but uring is fatal if uring is not named",
	  uring_is_not_used_unless_named, ONCE, 0 },
	{ "if io_uring fails, with any errno, the usual order is used",
	  uring_fails, ONCE, 0 },
	{ "a loop without a descriptor for a ring works, and later ones use it",
	  no_descriptor_for_uring, ONCE, 0 },
#endif
	{ "without epoll (ENOSYS) the method is ppoll",
	  epoll_is_not_implemented, ONCE, 0 },
	{ "without epoll (EPERM) the method is ppoll",
	  epoll_is_not_permitted, ONCE, 0 },
	{ "without epoll_create1 (ENOSYS) epoll_create is used",
	  epoll_create1_is_not_implemented, ONCE, 0 },
	{ "without epoll_create1 (EPERM) epoll_create is used",
	  epoll_create1_is_not_permitted, ONCE, 0 },
	{ "without epoll_pwait2 (ENOSYS) timers are still not early",
	  epoll_pwait2_is_not_implemented, ONCE, 0 },
	{ "without epoll_pwait2 (EPERM) timers are still not early",
	  epoll_pwait2_is_not_permitted, ONCE, 0 },
	{ "without timerfd (ENOSYS) the method becomes epoll",
	  timerfd_is_not_implemented, ONCE, 0 },
	{ "without timerfd (EPERM) the method becomes epoll",
	  timerfd_is_not_permitted, ONCE, 0 },
	{ "without a descriptor for the timerfd the loop works",
	  no_descriptor_for_timerfd, ONCE, 0 },
	{ "a loop works whose timerfd cannot be set",
	  timerfd_cannot_be_set, ONCE, 0 },
	{ "without ppoll (ENOSYS) the method becomes poll",
	  ppoll_is_not_implemented, ONCE, 0 },
	{ "without ppoll (EPERM) the method becomes poll",
	  ppoll_is_not_permitted, ONCE, 0 },
	{ "without madvise a loop works on both sides of a fork",
	  madvise_is_refused, EACH_METHOD, 0 },
	{ "without a descriptor for epoll the method stays the same",
	  no_descriptor_for_epoll, ONCE, 0 },
	{ "without a descriptor for epoll and without poll, iv_init is fatal",
	  no_descriptor_and_no_poll, ONCE, 0 },
	{ "loops work when system calls begin to fail",
	  calls_begin_to_fail, ONCE, 0 },
	{ "loops work that begin at the limit of descriptors",
	  loops_at_the_limit, ONCE, 0 },
	{ "a loop opens one descriptor, unless with poll, and one for timers",
	  number_of_descriptors, EACH_METHOD, 0 },
	{ "no descriptor of the library survives exec",
	  nothing_survives_exec, EACH, 0 },
	{ "a descriptor of epoll_create does not survive exec",
	  nothing_survives_exec_in_fallbacks, ONCE, 0 },
	{ "the library prints nothing",
	  the_library_prints_nothing, ONCE, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "executed"))
		return executed();
	if (argc == 3 && !strcmp(argv[1], "privileged"))
		return privileged(argv[2]);

	return check_main(cases, argc, argv);
}

/*
 * libivykis: helpers of the test programs that need Linux: they refuse system
 * calls, and run processes in single steps.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static const struct {
	const char	*name;
	unsigned int	number;
} calls[] = {
#include "syscalls.h"
};

#define NUM_CALLS	((int)(sizeof(calls) / sizeof(calls[0])))

/* With a 64-bit time_t, 32-bit machines have a second form of some calls. */
static int is_form_of(const char *call, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(call, name, len) &&
	       (call[len] == '\0' || !strcmp(call + len, "_time64"));
}

static void install_filter(const struct sock_fprog *prog)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog) < 0)
		skip("no seccomp filter can be installed");
}

/* The lower half of argument n. */
#define ARG(n)								\
	(offsetof(struct seccomp_data, args) + 8 * (n) +		\
	 4 * (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__))

/* The number is that of the machine that this program was built for. */
static void refuse_call(unsigned int number, int err, int arg,
			unsigned int bits)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(arg)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bits, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
	};
	const struct sock_fprog prog = {
		.len	= sizeof(rules) / sizeof(rules[0]),
		.filter	= rules,
	};

	install_filter(&prog);
}

void refuse_with(const char *syscall_name, int err, int arg, unsigned int bits)
{
	int num = 0;
	int i;

	for (i = 0; i < NUM_CALLS; i++) {
		if (is_form_of(calls[i].name, syscall_name)) {
			refuse_call(calls[i].number, err, arg, bits);
			num++;
		}
	}

	/* Other machines lack some calls, which then need not be refused. */
#ifdef __x86_64__
	if (num == 0)
		check_failed(__FILE__, __LINE__, syscall_name);
#endif
}

void refuse(const char *syscall_name, int err)
{
	refuse_with(syscall_name, err, 0, 0);
}

void forbid_system_calls(void)
{
	static struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	static const struct sock_fprog prog = {
		.len	= sizeof(rules) / sizeof(rules[0]),
		.filter	= rules,
	};

	skip_under(TSAN | MEMCHECK, "makes its own system calls");
	check_is_tied = 1;
	install_filter(&prog);
}

void exit_tied(void)
{
	syscall(SYS_exit_group, 0);
	abort();
}

struct tied {
	void		(*fn)(void *);
	void		*arg;
	atomic_int	returned;
};

static void *tied_thread(void *_t)
{
	struct tied *t = _t;

	forbid_system_calls();
	t->fn(t->arg);
	atomic_store(&t->returned, 1);
	syscall(SYS_exit, 0);
	abort();
}

void without_system_calls(void (*fn)(void *), void *arg)
{
	struct tied t = { .fn = fn, .arg = arg };
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, tied_thread, &t), 0);
	while (!atomic_load(&t.returned))
		sched_yield();
	/* Not joined: not every libc notices that a thread ended like this. */
	check_int(pthread_detach(thread), 0);
}

void need_orphans(void)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) == 0)
		return;
	check_int(errno, EINVAL);
	skip("no process can become the parent of orphans");
}

/* Does not use opendir(): some cases call this when no memory is left. */
int num_descriptors(void)
{
	/* The member d_reclen, which is at offset 16 of each entry. */
	unsigned short len;
	_Alignas(8) char buf[4096];
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	int num = 0;
	long ret;
	long i;

	check(dir >= 0);
	while ((ret = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (i = 0; i < ret; i += len) {
			memcpy(&len, buf + i + 16, sizeof(len));
			num++;
		}
	}
	check_int(ret, 0);
	close(dir);

	return num;
}

int num_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	int num = 0;
	int c;

	check(f != NULL);
	while ((c = getc(f)) != EOF)
		num += c == '\n';
	fclose(f);

	return num;
}

void need_own_functions(void)
{
}

/* The call fails if the machine has more processors than fit the set. */
int num_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) :
							      CPU_SETSIZE;
}

void use_one_processor(void)
{
	cpu_set_t all, one;
	int i = 0;

	check_int(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(i, &all))
		i++;
	CPU_ZERO(&one);
	CPU_SET(i, &one);
	check_int(sched_setaffinity(0, sizeof(one), &one), 0);
}

void get_thread_name(char name[THREAD_NAME_SIZE])
{
	check_int(prctl(PR_GET_NAME, name), 0);
}

void set_thread_name(const char *name)
{
	check_int(prctl(PR_SET_NAME, name), 0);
}

int open_eventfd(unsigned int value)
{
	return eventfd(value, EFD_NONBLOCK);
}

int open_epoll(int fd)
{
	struct epoll_event ev = { .events = EPOLLPRI };
	int epfd = epoll_create1(0);

	if (epfd >= 0 && fd >= 0)
		check_int(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev), 0);

	return epfd;
}

int open_timerfd(void)
{
	static const struct itimerspec it = { .it_value = { .tv_nsec = 1 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	check_int(timerfd_settime(fd, 0, &it, NULL), 0);

	return fd;
}

int is_same_file(int pid, int fd, int other)
{
	long ret = syscall(SYS_kcmp, getpid(), pid, KCMP_FILE, fd, other);

	if (ret < 0 && errno != EBADF)
		skip("no kcmp(2)");

	return ret == 0;
}

void begin_process_namespace(void)
{
	if (unshare(CLONE_NEWPID) < 0)
		skip("no process namespaces");
}

void hide_devices(void)
{
	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		skip("no file system can be mounted");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/dev", "tmpfs", 0, NULL) < 0)
		skip("no file system can be mounted");
}

char process_state(int pid)
{
	char name[64], line[512];
	FILE *f;
	char *s;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	f = fopen(name, "r");
	check(f != NULL && fgets(line, sizeof(line), f) != NULL);
	fclose(f);
	s = strrchr(line, ')');
	check(s != NULL);

	return s[2];
}

void tracee_begins(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(77);
	raise(SIGSTOP);
}

int tracee_stopped(int pid)
{
	int status;

	check_int(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip("no process can be traced");

	return WIFSTOPPED(status);
}

void tracee_trace(int pid)
{
	check(tracee_stopped(pid));
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
		   PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
		skip("system calls cannot be traced");
}

void tracee_steps(int pid, int num)
{
	while (num-- > 0) {
		check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		check(tracee_stopped(pid));
	}
}

int tracee_runs_to_call(int pid)
{
	int status;

	check(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
	check_int(waitpid(pid, &status, 0), pid);
	if (WIFSTOPPED(status))
		return 1;
	check_int(status, 0);

	return 0;
}

void tracee_leave(int pid, int sig)
{
	check(ptrace(PTRACE_DETACH, pid, NULL, sig) == 0);
}

int trace_running(int pid)
{
	return ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ? -1 : 0;
}

void allow_tracers(void)
{
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
}

static struct {
	void	(*in_thread)(void);
	void	(*in_child)(void);
	atomic_int ready;
	int	wanted[2];
	int	done[2];
} forks;

static int fork_once(void)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		alarm(60);
		forks.in_child();
		_exit(0);
	}

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void mask_sigchld(int how)
{
	sigset_t sigchld;

	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	check_int(pthread_sigmask(how, &sigchld, NULL), 0);
}

static void *fork_when_wanted(void *arg)
{
	char byte;

	mask_sigchld(SIG_UNBLOCK);
	iv_init();
	if (forks.in_thread != NULL)
		forks.in_thread();
	atomic_store(&forks.ready, 1);
	while (read(forks.wanted[0], &byte, 1) == 1) {
		byte = fork_once();
		if (write(forks.done[1], &byte, 1) != 1)
			break;
	}

	return arg;
}

void forks_begin(void (*in_thread)(void))
{
	pthread_t t;

	forks.in_thread = in_thread;

	/* Here, each SIGCHLD would be one more stop for the tracer. */
	mask_sigchld(SIG_BLOCK);
	check_int(pthread_create(&t, NULL, fork_when_wanted, NULL), 0);
	while (!atomic_load(&forks.ready))
		sched_yield();
	tracee_begins();
}

void forks_end(void)
{
	raise(SIGSTOP);
}

/* Run one instruction.  Returns 0 if that was the last one. */
static int forks_step(pid_t pid)
{
	int status;

	check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
	check_int(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status));

	return WSTOPSIG(status) != SIGSTOP;
}

/*
 * fork(3) may need a lock that the stopped thread holds, which therefore makes
 * further steps while the other thread forks.  Returns 0 after the last step.
 */
static int forks_fork(pid_t pid)
{
	struct pollfd pfd = { .fd = forks.done[0], .events = POLLIN };
	int goes_on = 1;
	char byte;

	check_int(write(forks.wanted[1], "", 1), 1);
	while (goes_on && poll(&pfd, 1, 100) == 0)
		goes_on = forks_step(pid);
	check_int(read(forks.done[0], &byte, 1), 1);
	check_int(byte, 1);

	return goes_on;
}

void check_forks(void (*fn)(void), void (*in_child)(void))
{
	int num = 0;
	pid_t pid;

	skip_under(TSAN | MEMCHECK, "would itself be run in single steps");
	check_int(pipe2(forks.wanted, O_CLOEXEC), 0);
	check_int(pipe2(forks.done, O_CLOEXEC), 0);
	forks.in_child = in_child;
	fflush(NULL);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		fn();
		_exit(0);
	}

	tracee_trace(pid);
	while (forks_step(pid) && forks_fork(pid))
		num++;
	check(num > 100);
	tracee_leave(pid, 0);
	check_child(pid);
	close(forks.wanted[0]);
	close(forks.wanted[1]);
	close(forks.done[0]);
	close(forks.done[1]);
}

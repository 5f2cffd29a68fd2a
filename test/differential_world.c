/*
 * libivykis: a world in which two libraries run alike, however fast they are.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The functions defined here replace those of the libc for the library, which
 * is linked dynamically.  The main thread's clock only moves in its waits.  A
 * wait first lets everything else come to rest: each other thread has ended or
 * waits for something that has not happened, and each child has done what it is
 * expected to do.  Then the wait reports what is ready.  If nothing is ready,
 * it moves the clock to when the wait would have ended.  Threads call
 * world_gate() before they do what the main thread can notice, so that it only
 * happens during a wait.
 *
 * Which of several ready descriptors comes first is unspecified.  To make it
 * the same for both libraries, epoll_wait() sorts its reports by rank_of(),
 * and poll() and ppoll() report only the first one.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "differential.h"

#define NEVER		INT64_MAX
#define SEC		INT64_C(1000000000)
#define BEGIN		(1000 * SEC)

#define MAX_THREADS	50
#define MAX_CHILDREN	200
#define MAX_FDS		64
#define MAX_ENTRIES	4096

/* What a wait waits for: an epoll instance, or descriptors. */
struct waited {
	int			epfd;	/* -1: none */
	struct epoll_event	*events;
	int			max;
	struct pollfd		*fds;
	nfds_t			num;
};

enum state { STARTING, RUNNING, WAITING };

struct thread {
	pid_t		tid;
	atomic_int	state;
	int		epfd;
	struct pollfd	fds[MAX_FDS];
	nfds_t		num;
	void		*(*start)(void *);
	void		*arg;
};

struct child {
	pid_t			pid;
	enum world_expected	expected;
	long			pauses;		/* when SIGCONT was sent */
};

struct entry {
	int		epfd;
	int		fd;
	uint64_t	data;
	int		once;
};

unsigned int world_waits;
int world_in_call;
enum world_expected world_next_child = ENDS;
pid_t world_last_child;

static int playing;
static int64_t clock_nsec = BEGIN;
static __thread int self;		/* index; 0 also if not in threads[] */

static int timer_fd = -1;
static int64_t timer_due = NEVER;

static struct thread threads[MAX_THREADS];
static int num_threads = 1;
static atomic_uint activity;

static struct child children[MAX_CHILDREN];
static int num_children;
static int started_fd = -1;

static pthread_mutex_t entries_lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry entries[MAX_ENTRIES];
static int num_entries;

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_opens = PTHREAD_COND_INITIALIZER;
static int gate_open;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_epoll_ctl)(int, int, int, struct epoll_event *);
static int (*real_epoll_wait)(int, struct epoll_event *, int, int);
static pid_t (*real_fork)(void);
static int (*real_kill)(pid_t, int);
static int (*real_poll)(struct pollfd *, nfds_t, int);
static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *,
				  void *(*)(void *), void *);
static int (*real_timerfd_settime)(int, int, const struct itimerspec *,
				   struct itimerspec *);

#define FIND(name)	(*(void **)&real_##name = dlsym(RTLD_NEXT, #name))

__attribute__((constructor))
static void find_real(void)
{
	FIND(clock_gettime);
	FIND(epoll_ctl);
	FIND(epoll_wait);
	FIND(fork);
	FIND(kill);
	FIND(poll);
	FIND(pthread_create);
	FIND(timerfd_settime);
}

void world_begin(void)
{
	playing = 1;
}

int64_t world_now(void)
{
	return clock_nsec;
}

void world_advance(int64_t nsec)
{
	clock_nsec += nsec;
}

int world_thread(void)
{
	return self;
}

/* The clock */

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t nsec = self == 0 ? clock_nsec : BEGIN;

	if (!playing || id != CLOCK_MONOTONIC)
		return real_clock_gettime(id, ts);

	ts->tv_sec = nsec / SEC;
	ts->tv_nsec = nsec % SEC;

	return 0;
}

static int64_t nsec_of(const struct timespec *ts)
{
	if (ts->tv_sec < 0)
		return 0;
	if (ts->tv_sec >= NEVER / SEC / 2)
		return NEVER / 2;

	return ts->tv_sec * SEC + ts->tv_nsec;
}

/* Let the kernel's timer fire, by setting it to the next nanosecond. */
static int fire(int fd)
{
	struct itimerspec at_once = { .it_value.tv_nsec = 1 };

	timer_due = NEVER;

	return real_timerfd_settime(fd, 0, &at_once, NULL);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *it,
		    struct itimerspec *old)
{
	struct itimerspec never = { 0 };
	int64_t due = nsec_of(&it->it_value);

	if (!playing)
		return real_timerfd_settime(fd, flags, it, old);
	if (self != 0)
		return real_timerfd_settime(fd, 0, &never, NULL);

	if (!(flags & TFD_TIMER_ABSTIME) && due != 0)
		due += clock_nsec;
	timer_fd = fd;
	if (due != 0 && due <= clock_nsec)
		return fire(fd);
	timer_due = due == 0 ? NEVER : due;

	return real_timerfd_settime(fd, 0, &never, NULL);
}

void world_loop_ended(void)
{
	timer_fd = -1;
	timer_due = NEVER;
	num_entries = 0;
}

/* The order of reports */

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	int ret;
	int i;

	pthread_mutex_lock(&entries_lock);
	ret = real_epoll_ctl(epfd, op, fd, ev);
	if (playing && ret == 0) {
		for (i = 0; i < num_entries; i++) {
			if (entries[i].epfd == epfd && entries[i].fd == fd)
				break;
		}
		if (op == EPOLL_CTL_DEL) {
			if (i < num_entries)
				entries[i] = entries[--num_entries];
		} else if (i < MAX_ENTRIES) {
			if (i == num_entries)
				num_entries++;
			entries[i] = (struct entry){
				epfd, fd, ev->data.u64,
				!!(ev->events & EPOLLONESHOT),
			};
		}
	}
	pthread_mutex_unlock(&entries_lock);

	return ret;
}

static int rank(int epfd, const struct epoll_event *ev)
{
	int ret = 0;
	int i;

	pthread_mutex_lock(&entries_lock);
	for (i = 0; i < num_entries; i++) {
		if (entries[i].epfd == epfd &&
		    entries[i].data == ev->data.u64)
			ret = entries[i].once ? -1 : rank_of(entries[i].fd);
	}
	pthread_mutex_unlock(&entries_lock);

	return ret;
}

static void sort(int epfd, struct epoll_event *events, int num)
{
	int i;

	for (i = 1; i < num; i++) {
		struct epoll_event ev = events[i];
		int j = i;

		for (; j > 0 && rank(epfd, &events[j - 1]) > rank(epfd, &ev);
		     j--)
			events[j] = events[j - 1];
		events[j] = ev;
	}
}

/* Keep the first report in order; a later wait will repeat the others. */
static int keep_first(struct pollfd *fds, nfds_t num)
{
	nfds_t first = num;
	nfds_t i;

	for (i = 0; i < num; i++) {
		if (fds[i].revents != 0 &&
		    (first == num ||
		     rank_of(fds[i].fd) < rank_of(fds[first].fd)))
			first = i;
	}
	for (i = 0; i < num; i++) {
		if (i != first)
			fds[i].revents = 0;
	}

	return first < num;
}

/*
 * Returns how many reports to keep.  The others are level-triggered, so that a
 * later wait will repeat them.
 */
static int num_kept(int epfd, const struct epoll_event *events, int num)
{
	int most = most_reports();
	int own = 0;

	while (own < num && rank(epfd, &events[own]) <= 0)
		own++;
	if (most == 0)
		return own > 0 ? own : 1;

	return num < most ? num : most;
}

/*
 * A doorbell of this library only wakes the loop, which then serves all pending
 * raw events.  Without the doorbell's report, the order is that of
 * registration, in which the other library gets its reports.
 */
static int is_doorbell(int epfd, const struct epoll_event *ev)
{
	uint64_t count = 0;
	int fd = -1;
	int i;

	if (rank(epfd, ev) < RANK_OF_RAWS)
		return 0;
	pthread_mutex_lock(&entries_lock);
	for (i = 0; i < num_entries; i++) {
		if (entries[i].epfd == epfd && entries[i].data == ev->data.u64)
			fd = entries[i].fd;
	}
	pthread_mutex_unlock(&entries_lock);
	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	if (count == UINT64_C(1) << 63)
		return 1;
	if (write(fd, &count, sizeof(count)) < 0)
		abort();

	return 0;
}

static int drop_doorbells(int epfd, struct epoll_event *events, int num)
{
	int left = 0;
	int i;

	for (i = 0; i < num; i++) {
		if (!is_doorbell(epfd, &events[i]))
			events[left++] = events[i];
	}

	return left;
}

static int check_by_epoll(const struct waited *w, int timeout, int *ends)
{
	struct epoll_event events[MAX_FDS];
	int num;

	if (self != 0)
		return real_epoll_wait(w->epfd, w->events, w->max, timeout);

	num = real_epoll_wait(w->epfd, events, MAX_FDS, timeout);
	if (num <= 0)
		return num;
	*ends = 1;
	num = drop_doorbells(w->epfd, events, num);
	sort(w->epfd, events, num);
	num = num_kept(w->epfd, events, num);
	if (num > w->max)
		num = w->max;
	memcpy(w->events, events, num * sizeof(*events));

	return num;
}

static int check_by_poll(const struct waited *w, int timeout)
{
	int num = real_poll(w->fds, w->num, timeout);

	return num > 0 && self == 0 ? keep_first(w->fds, w->num) : num;
}

/* Sets *ends if the wait is over, even if it has nothing to report. */
static int check(const struct waited *w, int timeout, int *ends)
{
	int num;

	do {
		num = w->epfd >= 0 ? check_by_epoll(w, timeout, ends) :
				     check_by_poll(w, timeout);
	} while (num < 0 && errno == EINTR);

	return num;
}

/* Other threads */

void world_gate(void)
{
	pthread_mutex_lock(&gate_lock);
	while (!gate_open)
		pthread_cond_wait(&gate_opens, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

static void set_gate(int open)
{
	pthread_mutex_lock(&gate_lock);
	gate_open = open;
	pthread_cond_broadcast(&gate_opens);
	pthread_mutex_unlock(&gate_lock);
}

static void *trampoline(void *_t)
{
	struct thread *t = _t;

	self = t - threads;
	t->tid = gettid();
	atomic_store(&t->state, RUNNING);

	return t->start(t->arg);
}

int pthread_create(pthread_t *id, const pthread_attr_t *attr,
		   void *(*start)(void *), void *arg)
{
	struct thread *t = &threads[num_threads];
	int ret;

	if (!playing || self != 0)
		return real_pthread_create(id, attr, start, arg);
	if (num_threads == MAX_THREADS)
		return EAGAIN;

	t->start = start;
	t->arg = arg;
	ret = real_pthread_create(id, attr, trampoline, t);
	if (ret == 0)
		num_threads++;

	return ret;
}

void world_run_thread(void *(*start)(void *), void *arg)
{
	pthread_t id;

	if (real_pthread_create(&id, NULL, start, arg) != 0)
		abort();
	pthread_join(id, NULL);
	/* A signal that it sent here is delivered by a system call. */
	(void)syscall(SYS_getppid);
}

/* The clock of threads stands still, so their waits have no timeout. */
static int wait_in_thread(const struct waited *w, int64_t nsec)
{
	struct thread *t = &threads[self];
	int ends;
	int ret;

	t->epfd = w->epfd;
	t->num = 0;
	if (w->epfd < 0 && w->num <= MAX_FDS) {
		t->num = w->num;
		memcpy(t->fds, w->fds, w->num * sizeof(*w->fds));
	}
	atomic_store(&t->state, WAITING);
	ret = check(w, nsec == 0 ? 0 : -1, &ends);
	atomic_fetch_add(&activity, 1);
	atomic_store(&t->state, RUNNING);

	return ret;
}

/* Does it neither run nor wait for a processor, but in a system call? */
static int is_blocked(pid_t id)
{
	char path[40];
	char text[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)id);
	file = fopen(path, "r");
	if (file == NULL)
		return 1;
	if (fgets(text, sizeof(text), file) == NULL)
		text[0] = '\0';
	fclose(file);

	return strncmp(text, "running", 7) != 0;
}

static int is_gone(const struct thread *t)
{
	return atomic_load(&t->state) != STARTING &&
	       syscall(SYS_tgkill, getpid(), t->tid, 0) < 0 && errno == ESRCH;
}

static int is_at_rest(struct thread *t)
{
	struct pollfd fd = { .fd = t->epfd, .events = POLLIN };

	if (is_gone(t))
		return 1;
	/* It may have been woken by something that is gone already. */
	if (atomic_load(&t->state) != WAITING || !is_blocked(t->tid))
		return 0;

	return t->epfd >= 0 ? real_poll(&fd, 1, 0) == 0 :
			      real_poll(t->fds, t->num, 0) == 0;
}

static int all_at_rest(void)
{
	int i;

	for (i = 1; i < num_threads; i++) {
		if (!is_at_rest(&threads[i]))
			return 0;
	}

	return 1;
}

static void pause_briefly(unsigned int tries)
{
	struct timespec ts = { .tv_nsec = 20000 };

	if (tries < 20)
		sched_yield();
	else
		nanosleep(&ts, NULL);
}

static void let_threads_rest(void)
{
	unsigned int tries = 0;
	unsigned int before;

	if (num_threads == 1)
		return;

	set_gate(1);
	/* Check them twice, as one thread may have woken another meanwhile. */
	for (;;) {
		before = atomic_load(&activity);
		if (all_at_rest() && all_at_rest() &&
		    before == atomic_load(&activity))
			break;
		pause_briefly(tries++);
	}
	set_gate(0);
}

/* Children */

pid_t fork(void)
{
	int fds[2];
	pid_t pid;
	char c;

	if (!playing || self != 0 || num_children == MAX_CHILDREN)
		return real_fork();

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid = real_fork();
	if (pid == 0) {
		/* The child ends even if the program is killed. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		started_fd = fds[1];
		return 0;
	}

	/* Wait until the child has executed a program or ended. */
	close(fds[1]);
	while (pid > 0 && read(fds[0], &c, 1) < 0 && errno == EINTR)
		;
	close(fds[0]);
	if (pid > 0)
		children[num_children++] =
			(struct child){ pid, world_next_child, 0 };
	world_next_child = ENDS;
	world_last_child = pid;

	return pid;
}

void world_started(void)
{
	close(started_fd);
}

void world_expect(pid_t pid, enum world_expected what)
{
	int i;

	for (i = 0; i < num_children; i++) {
		if (children[i].pid == pid)
			children[i].expected = what;
	}
}

/* The number that follows the name in a file of /proc, or -1. */
static long number_in(const char *directory, int id, const char *rest,
		      const char *name)
{
	char path[60];
	char line[160];
	long ret = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s%d%s", directory, id, rest);
	file = fopen(path, "r");
	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0)
			ret = strtol(line + strlen(name), NULL, 10);
	}
	fclose(file);

	return ret;
}

static long pauses_of(pid_t pid)
{
	return number_in("", pid, "/status", "voluntary_ctxt_switches:");
}

/* Called before a signal is sent, while the child may be stopped. */
static void before_kill(pid_t pid, int sig)
{
	int i;

	for (i = 0; sig == SIGCONT && i < num_children; i++) {
		if (children[i].pid == pid)
			children[i].pauses = pauses_of(pid);
	}
}

static void after_kill(pid_t pid, int sig)
{
	if (sig != 0)
		world_expect(pid, sig == SIGCONT ? CONTINUES : ENDS);
}

int kill(pid_t pid, int sig)
{
	int ret;

	before_kill(pid, sig);
	ret = real_kill(pid, sig);
	if (ret == 0)
		after_kill(pid, sig);

	return ret;
}

/* The libc's header declares it if the libc has it. */
int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags);

int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags)
{
	pid_t pid = number_in("self/fdinfo/", pidfd, "", "Pid:");
	int ret;

	before_kill(pid, sig);
	ret = syscall(SYS_pidfd_send_signal, pidfd, sig, info, flags);
	if (ret == 0)
		after_kill(pid, sig);

	return ret;
}

/*
 * waitid(2) reports a change a moment before SIGCHLD is sent.  A child that has
 * stopped or continued sends it itself, before it is blocked: stopped, or in
 * pause(2) again.
 */
static int has_sent_sigchld(const struct child *c)
{
	switch (c->expected) {
	case STOPS:
		return is_blocked(c->pid);
	case CONTINUES:
		return pauses_of(c->pid) != c->pauses;
	default:
		return 1;
	}
}

static int has_changed(const struct child *c)
{
	static const int flags[] = {
		[ENDS] = WEXITED,
		[STOPS] = WEXITED | WSTOPPED,
		[CONTINUES] = WEXITED | WCONTINUED,
	};
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, c->pid, &info,
		   flags[c->expected] | WNOHANG | WNOWAIT) < 0)
		return 1;

	return info.si_pid != 0 && has_sent_sigchld(c);
}

static void let_children_change(void)
{
	unsigned int tries = 0;
	int i;

	for (i = 0; i < num_children; i++) {
		while (children[i].expected != NOTHING &&
		       !has_changed(&children[i]))
			pause_briefly(tries++);
		children[i].expected = NOTHING;
	}
}

/* The waits */

static int wait_for(const struct waited *w, int64_t nsec)
{
	int64_t end = nsec < 0 || nsec > NEVER - clock_nsec ?
		      NEVER : clock_nsec + nsec;
	int ends = 0;
	int num;

	if (self != 0)
		return wait_in_thread(w, nsec);

	world_waits++;
	let_children_change();
	let_threads_rest();
	before_check();
	num = check(w, 0, &ends);
	if (num != 0 || nsec == 0 || ends)
		return num;
	if (before_sleep())
		return check(w, 0, &ends);

	if (timer_due < end) {
		if (timer_due > clock_nsec)
			clock_nsec = timer_due;
		fire(timer_fd);
		return check(w, -1, &ends);
	}
	if (end == NEVER)
		stuck();
	clock_nsec = end;

	return 0;
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int msec)
{
	struct waited w = { .epfd = epfd, .events = events, .max = max };

	if (!playing)
		return real_epoll_wait(epfd, events, max, msec);

	return wait_for(&w, msec < 0 ? -1 : msec * MSEC);
}

int epoll_pwait2(int epfd, struct epoll_event *events, int max,
		 const struct timespec *ts, const sigset_t *mask)
{
	struct waited w = { .epfd = epfd, .events = events, .max = max };

	(void)mask;

	return wait_for(&w, ts == NULL ? -1 : nsec_of(ts));
}

int poll(struct pollfd *fds, nfds_t num, int msec)
{
	struct waited w = { .epfd = -1, .fds = fds, .num = num };

	if (!playing || (self == 0 && world_in_call))
		return real_poll(fds, num, msec);

	return wait_for(&w, msec < 0 ? -1 : msec * MSEC);
}

int ppoll(struct pollfd *fds, nfds_t num, const struct timespec *ts,
	  const sigset_t *mask)
{
	struct waited w = { .epfd = -1, .fds = fds, .num = num };

	(void)mask;

	return wait_for(&w, ts == NULL ? -1 : nsec_of(ts));
}

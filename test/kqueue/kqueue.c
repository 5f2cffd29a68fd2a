/*
 * libivykis: kqueue(2) for tests, over epoll(7).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See the README for what this is for, and for what it cannot show.
 *
 * A queue is an epoll set and a table of the two filters of each descriptor.
 * Unlike a kqueue, epoll(7) keeps a file until its last descriptor is closed.
 * So functions of this file replace those of the libc by which descriptors are
 * closed or replaced, and delete their filters before that.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* macOS rejects a longer wait. */
#define LONGEST_SECONDS	100000000

/* The largest number of events that one call returns. */
#define MAX_BATCH	256

#define MAX_QUEUES	16384
#define MAX_FILES	(1 << 18)
#define NUM_LISTS	(1 << 16)

/* EVFILT_READ and EVFILT_WRITE are -1 and -2. */
#define NUM_FILTERS	2
#define INDEX(filter)	(-1 - (filter))

struct knote {
	unsigned short	flags;		/* 0: none */
	unsigned short	disabled;
	kqueue_udata	udata;
};

struct queue {
	int		refs;		/* number of its descriptors */
};

/* The filters of a descriptor in a queue. */
struct file {
	struct file	*next;
	struct queue	*queue;		/* NULL: unused */
	int		number;
	int		is_in_epoll;
	struct knote	knotes[NUM_FILTERS];
};

/*
 * No memory is allocated, as tests count the library's allocations and let them
 * fail.
 */
static struct queue queues[MAX_QUEUES];
static struct file files[MAX_FILES];
static int num_files;			/* that have ever been used */
static struct file *unused_files;
static struct file *lists[NUM_LISTS];	/* by number */

/* Descriptors of queues. */
static struct handle {
	int		number;		/* 0: none */
	struct queue	*queue;
} handles[MAX_QUEUES];

static int num_handles;			/* all after these are unused */

/* A bit for each descriptor: its sending side was shut down. */
#define MAX_SHUT	(1 << 20)
static unsigned char shut[MAX_SHUT / 8];

/*
 * A lock that may be taken by signal handlers, and by a child that was forked
 * while it was held.  The compare-exchange pairs with the store that releases
 * it.
 */
static atomic_int holder;

static sigset_t take_lock(void)
{
	sigset_t all, mask;
	int self = getpid();
	int seen;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &mask);
	for (;;) {
		seen = atomic_load(&holder);
		if (seen != self &&
		    atomic_compare_exchange_weak(&holder, &seen, self))
			return mask;
		sched_yield();
	}
}

static void release_lock(sigset_t mask)
{
	atomic_store(&holder, 0);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static int real_close(int fd)
{
	return syscall(SYS_close, fd);
}

/* The process that has the queues, 0 before there are any. */
static pid_t owner;

/*
 * Called with the lock held.  A child inherits no queue, however it was forked.
 */
static void forget_parents(void)
{
	pid_t self = getpid();
	int i;

	if (owner == self)
		return;
	for (i = 0; i < num_handles; i++) {
		if (handles[i].number != 0) {
			real_close(handles[i].number);
			handles[i].queue->refs = 0;
		}
	}
	for (i = 0; i < num_files; i++)
		lists[files[i].number % NUM_LISTS] = NULL;
	memset(handles, 0, num_handles * sizeof(*handles));
	num_handles = 0;
	num_files = 0;
	unused_files = NULL;
	owner = self;
}

static void begin_in_child(void)
{
	sigset_t mask = take_lock();

	forget_parents();
	release_lock(mask);
}

__attribute__((constructor))
static void install_fork_handler(void)
{
	(void)pthread_atfork(NULL, NULL, begin_in_child);
}

static struct queue *queue_of(int number)
{
	int i;

	for (i = 0; i < num_handles; i++) {
		if (number > 0 && handles[i].number == number)
			return handles[i].queue;
	}

	return NULL;
}

static struct queue *unused_queue(void)
{
	int i;

	for (i = 0; i < MAX_QUEUES; i++) {
		if (queues[i].refs == 0)
			return &queues[i];
	}

	return NULL;
}

static int add_handle(int number, struct queue *q)
{
	int i;

	for (i = 0; q != NULL && i < MAX_QUEUES; i++) {
		if (handles[i].number == 0) {
			handles[i] = (struct handle){ number, q };
			q->refs++;
			if (i >= num_handles)
				num_handles = i + 1;
			return 0;
		}
	}
	errno = ENOMEM;

	return -1;
}

/*
 * Filters.
 */
/* Returns the link to the file, or the NULL at the end of its list. */
static struct file **find(struct queue *q, int number)
{
	struct file **f = &lists[number % NUM_LISTS];

	while (*f != NULL && ((*f)->queue != q || (*f)->number != number))
		f = &(*f)->next;

	return f;
}

/* Returns NULL if there is no room for another one. */
static struct file *file_of(struct queue *q, int number)
{
	struct file **where = find(q, number);
	struct file *f = unused_files;

	if (*where != NULL)
		return *where;
	if (f != NULL)
		unused_files = f->next;
	else if (num_files < MAX_FILES)
		f = &files[num_files++];
	else
		return NULL;

	*f = (struct file){ .queue = q, .number = number };
	*where = f;

	return f;
}

static void end_file(struct file *f)
{
	*find(f->queue, f->number) = f->next;
	*f = (struct file){ .next = unused_files };
	unused_files = f;
}

static void end_handle(struct handle *h)
{
	struct queue *q = h->queue;
	int i;

	*h = (struct handle){ 0 };
	if (--q->refs > 0)
		return;
	for (i = 0; i < num_files; i++) {
		if (files[i].queue == q)
			end_file(&files[i]);
	}
}

int kqueue(void)
{
	int fd = epoll_create1(0);
	sigset_t mask;
	int ret;

	if (fd < 0)
		return -1;
	/* In the table, the number 0 means that there is no descriptor. */
	if (fd == 0) {
		fd = dup(0);
		real_close(0);
		if (fd < 0)
			return -1;
	}

	mask = take_lock();
	forget_parents();
	ret = add_handle(fd, unused_queue());
	release_lock(mask);
	if (ret < 0)
		real_close(fd);

	return ret < 0 ? -1 : fd;
}


static int is_active(const struct knote *kn)
{
	return kn->flags != 0 && !kn->disabled;
}

/* What epoll(7) has to report, or 0 if it has to report nothing. */
static uint32_t events_of(const struct file *f)
{
	const struct knote *rd = &f->knotes[INDEX(EVFILT_READ)];
	const struct knote *wr = &f->knotes[INDEX(EVFILT_WRITE)];
	unsigned int flags = 0;
	uint32_t events = 0;

	if (is_active(rd)) {
		events |= EPOLLIN | EPOLLRDHUP;
		flags |= rd->flags;
	}
	if (is_active(wr)) {
		events |= EPOLLOUT;
		flags |= wr->flags;
	}

	return events | (flags & EV_CLEAR ? EPOLLET : 0);
}

/* Returns 0, or an errno. */
static int update_epoll(int kq, int number, struct file *f)
{
	struct epoll_event ev = {
		.events = events_of(f),
		.data = { .fd = number },
	};
	struct stat sb;

	if (ev.events == 0) {
		if (f->is_in_epoll)
			(void)epoll_ctl(kq, EPOLL_CTL_DEL, number, &ev);
		f->is_in_epoll = 0;
		return 0;
	}
	if (f->is_in_epoll && epoll_ctl(kq, EPOLL_CTL_MOD, number, &ev) == 0)
		return 0;

	f->is_in_epoll = epoll_ctl(kq, EPOLL_CTL_ADD, number, &ev) == 0;
	if (f->is_in_epoll)
		return 0;
	if (errno != EPERM)
		return errno;

	/* A kqueue accepts files for reading; these are never reported. */
	return fstat(number, &sb) == 0 && S_ISREG(sb.st_mode) &&
	       !(ev.events & EPOLLOUT) ? 0 : EINVAL;
}

static int is_pipe(int number)
{
	struct stat sb;

	return fstat(number, &sb) == 0 && S_ISFIFO(sb.st_mode);
}

/* FreeBSD does not watch for room in a pipe without a reader. */
static int is_broken_pipe(int number)
{
	struct pollfd pfd = { .fd = number };

	return is_pipe(number) && poll(&pfd, 1, 0) > 0 &&
	       (pfd.revents & POLLERR);
}

/* Both filters are one entry of epoll(7), so they must agree on EV_CLEAR. */
static int mixes_clear(const struct file *f)
{
	const struct knote *rd = &f->knotes[INDEX(EVFILT_READ)];
	const struct knote *wr = &f->knotes[INDEX(EVFILT_WRITE)];

	return rd->flags != 0 && wr->flags != 0 &&
	       (rd->flags ^ wr->flags) & EV_CLEAR;
}

static int add(int kq, int number, struct file *f, struct knote *kn,
	       const struct kevent *change)
{
	struct knote former = *kn;
	int err;

	if (change->filter == EVFILT_WRITE && is_broken_pipe(number))
		return EPIPE;

	/* An existing filter keeps its flags. */
	if (kn->flags == 0)
		kn->flags = change->flags & (EV_ADD | EV_ONESHOT | EV_CLEAR |
					     EV_DISPATCH);
	kn->udata = change->udata;
	kn->disabled = (change->flags & EV_DISABLE) != 0;

	err = mixes_clear(f) ? EINVAL : update_epoll(kq, number, f);
	if (err != 0)
		*kn = former;

	return err;
}

/* Returns 0, or an errno. */
static int apply(int kq, struct queue *q, const struct kevent *change)
{
	int number = change->ident;
	struct file *f;
	struct knote *kn;

	if (change->filter != EVFILT_READ && change->filter != EVFILT_WRITE)
		return EINVAL;
	if (change->ident > INT32_MAX || fcntl(number, F_GETFD) < 0)
		return EBADF;
	f = file_of(q, number);
	if (f == NULL)
		return ENOMEM;
	kn = &f->knotes[INDEX(change->filter)];

	if ((change->flags & EV_ADD) && !(change->flags & EV_DELETE))
		return add(kq, number, f, kn, change);
	if (kn->flags == 0)
		return ENOENT;
	if (change->flags & EV_DELETE)
		*kn = (struct knote){ 0 };
	else if (change->flags & (EV_ENABLE | EV_DISABLE))
		kn->disabled = !(change->flags & EV_ENABLE);

	return update_epoll(kq, number, f);
}

static int is_shut(int number)
{
	return number < MAX_SHUT && (shut[number / 8] & (1 << number % 8));
}

static void drop_handle(int number)
{
	int i;

	for (i = 0; i < num_handles; i++) {
		if (number > 0 && handles[i].number == number)
			end_handle(&handles[i]);
	}
}

/* A descriptor of the queue. */
static int number_of(const struct queue *q)
{
	int i = 0;

	while (handles[i].number == 0 || handles[i].queue != q)
		i++;

	return handles[i].number;
}

/* Called before a descriptor is closed or replaced. */
static void drop(int number)
{
	struct file *f, *next;
	sigset_t mask;

	if (number < 0 || (num_handles == 0 && !is_shut(number)))
		return;
	mask = take_lock();
	forget_parents();
	drop_handle(number);
	for (f = lists[number % NUM_LISTS]; f != NULL; f = next) {
		next = f->next;
		if (f->number != number)
			continue;
		memset(f->knotes, 0, sizeof(f->knotes));
		(void)update_epoll(number_of(f->queue), number, f);
		end_file(f);
	}
	if (number < MAX_SHUT)
		shut[number / 8] &= ~(1 << number % 8);
	release_lock(mask);
}


/*
 * Events.
 */
static int64_t bytes_to_read(int number)
{
	int num;

	/* How many connections are pending is unknown. */
	return ioctl(number, FIONREAD, &num) == 0 ? num : 1;
}

static int64_t room_to_write(int number)
{
	socklen_t len = sizeof(int);
	int room, used;

	if (getsockopt(number, SOL_SOCKET, SO_SNDBUF, &room, &len) == 0)
		return ioctl(number, TIOCOUTQ, &used) == 0 && used < room ?
		       room - used : 1;
	room = fcntl(number, F_GETPIPE_SZ);
	if (room > 0 && ioctl(number, FIONREAD, &used) == 0 && used < room)
		return room - used;

	return 1;
}

static int is_triggered(int filter, uint32_t events)
{
	if (filter == EVFILT_READ)
		return events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);

	return events & (EPOLLOUT | EPOLLHUP | EPOLLERR);
}

static int is_at_end(int number, int filter, uint32_t events)
{
	if (filter == EVFILT_READ)
		return (events & (EPOLLRDHUP | EPOLLHUP)) ||
		       ((events & EPOLLERR) && is_pipe(number));

	return (events & (EPOLLHUP | EPOLLERR)) || is_shut(number);
}

static void take(int kq, struct file *f, struct knote *kn, int filter,
		 const struct epoll_event *ev, struct kevent *event)
{
	int number = ev->data.fd;

	EV_SET(event, number, filter, kn->flags & ~EV_ADD, 0, 0, kn->udata);
	if (is_at_end(number, filter, ev->events))
		event->flags |= EV_EOF;
	event->data = filter == EVFILT_READ ? bytes_to_read(number) :
					      room_to_write(number);
	if (kn->flags & EV_ONESHOT)
		*kn = (struct knote){ 0 };
	else if (kn->flags & EV_DISPATCH)
		kn->disabled = 1;
	else
		return;
	(void)update_epoll(kq, number, f);
}

/* Returns the number of events in which the report results. */
static int take_both(int kq, struct queue *q, const struct epoll_event *ev,
		     struct kevent *events, int room)
{
	struct file *f = *find(q, ev->data.fd);
	int num = 0;
	int filter;

	/* The descriptor was closed meanwhile. */
	if (f == NULL)
		return 0;

	for (filter = EVFILT_READ; filter >= EVFILT_WRITE; filter--) {
		struct knote *kn = &f->knotes[INDEX(filter)];

		if (num < room && is_active(kn) &&
		    is_triggered(filter, ev->events))
			take(kq, f, kn, filter, ev, &events[num++]);
	}

	return num;
}

static int wait_for_epoll(int kq, struct epoll_event *evs, int max,
			  const struct timespec *timeout)
{
	int num = epoll_pwait2(kq, evs, max, timeout, NULL);
	struct pollfd pfd = { .fd = kq, .events = POLLIN };

	if (num >= 0 || (errno != ENOSYS && errno != EPERM))
		return num;
	num = ppoll(&pfd, 1, timeout, NULL);

	return num > 0 ? epoll_wait(kq, evs, max, 0) : num;
}

static int collect(int kq, struct kevent *events, int room,
		   const struct timespec *timeout)
{
	struct epoll_event evs[MAX_BATCH / NUM_FILTERS];
	int max = room > MAX_BATCH ? MAX_BATCH : room;
	struct queue *q;
	sigset_t mask;
	int num = 0;
	int got;
	int i;

	/* Each report may result in an event for each filter. */
	max = max == 1 ? 1 : max / NUM_FILTERS;
	do {
		got = wait_for_epoll(kq, evs, max, timeout);
		if (got <= 0)
			return got;
		mask = take_lock();
		q = queue_of(kq);
		for (i = 0; i < got && q != NULL; i++)
			num += take_both(kq, q, &evs[i], events + num,
					 room - num);
		release_lock(mask);
		/* Descriptors that were closed meanwhile end no wait. */
	} while (num == 0 && q != NULL && timeout == NULL);

	return num;
}

static int is_valid(const struct timespec *ts)
{
	return ts == NULL || (ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000 &&
			      ts->tv_sec >= 0 && ts->tv_sec <= LONGEST_SECONDS);
}

/* Returns the number of failed changes, or -1. */
static int apply_all(int kq, const struct kevent *changes, int num_changes,
		     struct kevent *events, int room)
{
	sigset_t mask = take_lock();
	struct queue *q;
	int failed = 0;
	int err = 0;
	int i;

	forget_parents();
	q = queue_of(kq);
	if (q == NULL)
		err = EBADF;
	for (i = 0; i < num_changes && err == 0; i++) {
		/* Changes and events may be in the same array. */
		struct kevent change = changes[i];

		err = apply(kq, q, &change);
		if (err != 0 && failed < room) {
			events[failed] = change;
			events[failed].flags = EV_ERROR;
			events[failed++].data = err;
			err = 0;
		}
	}
	release_lock(mask);
	errno = err != 0 ? err : errno;

	return err != 0 ? -1 : failed;
}

int kevent(int kq, const struct kevent *changes, int num_changes,
	   struct kevent *events, int num_events,
	   const struct timespec *timeout)
{
	int num;

	if (!is_valid(timeout)) {
		errno = EINVAL;
		return -1;
	}
	/* Tests count system calls, so this makes none that are not needed. */
	num = num_changes == 0 && owner == getpid() && queue_of(kq) != NULL ?
	      0 : apply_all(kq, changes, num_changes, events, num_events);
	if (num != 0 || num_events == 0)
		return num;

	return collect(kq, events, num_events, timeout);
}


/*
 * These replace the libc's functions, unless a test replaces them itself.
 */
#pragma weak close
#pragma weak dup2
#pragma weak dup3
#pragma weak fcntl
#pragma weak fcntl64
#pragma weak shutdown

int close(int fd)
{
	drop(fd);

	return real_close(fd);
}

int dup3(int from, int to, int flags)
{
	if (from != to && fcntl(from, F_GETFD) >= 0)
		drop(to);

	return syscall(SYS_dup3, from, to, flags);
}

int dup2(int from, int to)
{
	if (from == to)
		return fcntl(from, F_GETFD) < 0 ? -1 : to;

	return dup3(from, to, 0);
}

int shutdown(int fd, int how)
{
	int ret = syscall(SYS_shutdown, fd, how);
	sigset_t mask;

	if (ret < 0 || how == SHUT_RD || fd >= MAX_SHUT)
		return ret;
	mask = take_lock();
	shut[fd / 8] |= 1 << fd % 8;
	release_lock(mask);

	return ret;
}

static int duplicate(int fd, int cmd, int lowest)
{
	int ret = syscall(SYS_fcntl, fd, cmd, lowest);
	sigset_t mask;

	if (ret < 0 || num_handles == 0)
		return ret;
	mask = take_lock();
	if (queue_of(fd) != NULL)
		(void)add_handle(ret, queue_of(fd));
	release_lock(mask);

	return ret;
}

/* Pass on the argument, which may be a number, a pointer or missing. */
#define FCNTL(fd, cmd)							\
	do {								\
		va_list ap;						\
		long arg;						\
									\
		va_start(ap, cmd);					\
		arg = va_arg(ap, long);					\
		va_end(ap);						\
		if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)		\
			return duplicate(fd, cmd, arg);			\
		return syscall(SYS_fcntl, fd, cmd, arg);		\
	} while (0)

int fcntl(int fd, int cmd, ...)
{
	FCNTL(fd, cmd);
}

int fcntl64(int fd, int cmd, ...);
int fcntl64(int fd, int cmd, ...)
{
	FCNTL(fd, cmd);
}

/*
 * libivykis: a poll method that uses io_uring(7).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor is watched by a poll request, which completes once, when the
 * descriptor is ready, and is made again before the next wait for as long as
 * something is wanted.  As the kernel checks the descriptor when a request is
 * made, this is level-triggered.  Requests are submitted by the system call
 * that waits, so a descriptor that is registered, served once and unregistered
 * costs no system call here.
 *
 * Each poll request has one last completion, and normally no other.  It names
 * a slot and the slot's generation.  `told' is nonzero while a descriptor has
 * a slot: it gets one with the request, and gives it back with the completion
 * or when the request is cancelled.  The slot's next request has another
 * generation, which distinguishes it from a cancelled request that completes
 * late.
 *
 * A request holds a reference to the open file: a descriptor that is closed
 * while it is watched would stay open for its peers.  Therefore unregistering
 * a descriptor waits until its request is cancelled and completed, so that a
 * close(2) after that takes effect.  Other requests that complete meanwhile
 * are not reported, as what they say may no longer be true at the next wait:
 * they are made again, and complete again if it is.
 *
 * A forked child must not touch what its parent shares with the kernel.
 * Where the kernel accepts a ring in the program's memory (Linux 6.5), that is
 * private memory, and a child has a copy of it: even if a signal handler forks
 * in the middle of a change, the child goes on with the copy.  Only the
 * thread that made the ring may submit to its descriptor.  On older kernels
 * the memory is the kernel's: it is not mapped in a child, and is only touched
 * with all signals blocked; requests are written elsewhere and then copied.
 * In both cases a child checks its generation after the system call, before it
 * touches the ring.
 *
 * To io_uring(7), descriptors that cannot be polled are always ready; epoll(7)
 * knows whether one can be.  epoll_ctl(2) checks last whether the descriptor
 * of the set is one: given the ring for it, EINVAL means that the other
 * descriptor can be polled.
 */

#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>
#include "iv_cancel.h"
#include "iv_fd_private.h"
#include "iv_time.h"

/* The kernel's numbers, for liburing's headers that are too old for them. */
#define SETUP_NO_MMAP		(1U << 14)	/* Linux 6.5 */
#define FEAT_MIN_TIMEOUT	(1U << 15)	/* Linux 6.12 ... */
#define ENTER_ABS_TIMER		(1U << 5)	/* ... which also has this */

/* Linux 5.19 has all of these, as it has IORING_SETUP_COOP_TASKRUN. */
#define NEEDED_FEATURES							\
	(IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |			\
	 IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)

/* Completions that a ring has room for; the kernel keeps the excess. */
#define FEWEST_COMPLETIONS	128
#define MOST_COMPLETIONS	65536
#define MOST_REQUESTS		1024

/* The kernel's own words in a ring, with room to spare. */
#define WORDS_SIZE		1024

/* In place of a slot and its generation: the completion is ignored. */
#define NO_SLOT			UINT64_MAX

#define NO_INDEX		UINT_MAX
#define FEWEST_SLOTS		64

/* Completions that are verified by one poll(2). */
#define DOUBTS			64

/* In `told': to be told again, though nothing has changed. */
#define TELL_AGAIN		8

/* What to do with completions. */
enum treatment {
	WAIT,			/* report them; the thread may be cancelled */
	REPORT,			/* report them */
	REPEAT,			/* make the request again at the next wait */
	DISCARD,
};

struct slot {
	struct iv_fd_		*fd;
	unsigned int		generation;
	unsigned int		next_free;
	unsigned int		request;	/* its number */
	int			again;		/* the kernel accepted it once */
	int			is_done;	/* nothing to cancel */
};

struct ring {
	int			fd;
	unsigned int		label;
	unsigned int		features;
	int			is_private;
	void			*rings;
	size_t			rings_size;
	struct io_uring_sqe	*sqes;
	size_t			sqes_size;

	/* Shared with the kernel. */
	unsigned int		*sq_head;
	unsigned int		*sq_tail;
	unsigned int		*sq_flags;
	unsigned int		*cq_head;
	unsigned int		*cq_tail;
	struct io_uring_cqe	*cqes;

	struct io_uring_sqe	*written;	/* sqes, or what is copied there */
	unsigned int		requests;	/* it has room for */
	unsigned int		completions;
	unsigned int		taken;		/* by the kernel */
	unsigned int		published;	/* to it */
	unsigned int		end;		/* ... up to here */
};

struct iv_fd_uring {
	struct ring		ring;
	unsigned int		generation;	/* of the process */
	struct slot		*slots;
	unsigned int		room;
	unsigned int		first_free;
	unsigned int		outstanding;	/* polls not yet completed */
	unsigned int		cancelled;	/* of these */
	unsigned int		asked_for;	/* most completions so far */
	int			more;		/* completions in the kernel */
	int			is_refused;	/* since the loop began */
	struct iv_list_head	completed;	/* to be requested again */
	struct io_uring_sqe	nowhere;	/* for a child to write to */

	/* See is_doubtful(). */
	int			had_some;	/* before the system call */
	unsigned int		new_requests;	/* began with this one */
	int			num_doubted;
	struct pollfd		doubted[DOUBTS];
	struct iv_fd_		*doubted_fds[DOUBTS];
};

static int is_inherited(const struct iv_fd_uring *u)
{
	return u->generation != iv_process_generation();
}

/* The loop gets other kernel objects before its next wait. */
static int is_given_up(const struct iv_fd_uring *u)
{
	return u->is_refused || is_inherited(u);
}

static int setup(unsigned int completions, unsigned int flags,
		 struct io_uring_params *p)
{
	unsigned int requests = completions / 2;

	if (requests > MOST_REQUESTS)
		requests = MOST_REQUESTS;
	p->flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
		   IORING_SETUP_TASKRUN_FLAG;
	p->cq_entries = completions;

	return io_uring_setup(requests, p);
}

static size_t whole_pages(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) & ~(page - 1);
}

/* The address of the memory is the last member of either structure. */
static void set_address(void *offsets, size_t size, const void *mem)
{
	uint64_t address = (uintptr_t)mem;

	memcpy((char *)offsets + size - sizeof(address), &address,
	       sizeof(address));
}

/* A ring in memory that the library maps; returns a negative errno. */
static int setup_private(struct ring *r, unsigned int completions,
			 struct io_uring_params *p)
{
	size_t num_requests = completions < 2 * MOST_REQUESTS ?
			      completions / 2 : MOST_REQUESTS;
	char *mem;
	int fd;

	r->sqes_size = whole_pages(num_requests * sizeof(*r->sqes));
	r->rings_size = whole_pages(WORDS_SIZE +
				    completions * sizeof(*r->cqes) +
				    num_requests * sizeof(unsigned int));
	mem = mmap(NULL, r->sqes_size + r->rings_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -ENOMEM;

	set_address(&p->sq_off, sizeof(p->sq_off), mem);
	set_address(&p->cq_off, sizeof(p->cq_off), mem + r->sqes_size);
	fd = setup(completions, SETUP_NO_MMAP | IORING_SETUP_SINGLE_ISSUER |
		   IORING_SETUP_DEFER_TASKRUN, p);
	if (fd < 0) {
		(void)munmap(mem, r->sqes_size + r->rings_size);
		return fd;
	}
	r->is_private = 1;
	r->sqes = (void *)mem;
	r->rings = mem + r->sqes_size;
	r->written = r->sqes;

	return fd;
}

static void unmap(struct ring *r)
{
	(void)munmap(r->sqes, r->sqes_size);
	(void)munmap(r->rings, r->rings_size);
}

static void *map(int fd, size_t size, off_t offset)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, fd, offset);

	if (mem != MAP_FAILED)
		(void)madvise(mem, size, MADV_DONTFORK);

	return mem;
}

/* A ring in the kernel's memory; 0, or -1 with nothing mapped. */
static int map_shared(struct ring *r, int fd, const struct io_uring_params *p)
{
	size_t sq_end = p->sq_off.array + p->sq_entries * sizeof(unsigned int);
	size_t cq_end = p->cq_off.cqes + p->cq_entries * sizeof(*r->cqes);

	r->is_private = 0;
	r->rings_size = sq_end > cq_end ? sq_end : cq_end;
	r->sqes_size = p->sq_entries * sizeof(*r->sqes);
	r->written = malloc(r->sqes_size);
	if (r->written == NULL)
		return -1;
	r->rings = map(fd, r->rings_size, IORING_OFF_SQ_RING);
	r->sqes = map(fd, r->sqes_size, IORING_OFF_SQES);
	if (r->rings != MAP_FAILED && r->sqes != MAP_FAILED)
		return 0;

	if (r->rings != MAP_FAILED)
		(void)munmap(r->rings, r->rings_size);
	if (r->sqes != MAP_FAILED)
		(void)munmap(r->sqes, r->sqes_size);
	free(r->written);

	return -1;
}

static void find_words(struct ring *r, const struct io_uring_params *p)
{
	char *mem = r->rings;
	unsigned int *array = (void *)(mem + p->sq_off.array);
	unsigned int i;

	r->sq_head = (void *)(mem + p->sq_off.head);
	r->sq_tail = (void *)(mem + p->sq_off.tail);
	r->sq_flags = (void *)(mem + p->sq_off.flags);
	r->cq_head = (void *)(mem + p->cq_off.head);
	r->cq_tail = (void *)(mem + p->cq_off.tail);
	r->cqes = (void *)(mem + p->cq_off.cqes);
	r->requests = p->sq_entries;
	r->completions = p->cq_entries;
	r->features = p->features;
	r->taken = r->published = r->end = 0;
	for (i = 0; i < r->requests; i++)
		array[i] = i;
}

/*
 * A refusal makes the method unavailable, including EACCES from a security
 * module and ENOMEM from a limit on locked memory.
 */
static int errno_of(int err)
{
	return err == EMFILE || err == ENFILE ? err : EPERM;
}

static int create(struct ring *r, unsigned int completions,
		  struct io_uring_params *p)
{
	int fd;

	memset(p, 0, sizeof(*p));
	fd = setup_private(r, completions, p);
	if (fd >= 0)
		return fd;

	memset(p, 0, sizeof(*p));
	fd = setup(completions, IORING_SETUP_SINGLE_ISSUER |
		   IORING_SETUP_DEFER_TASKRUN, p);
	if (fd == -EINVAL) {
		memset(p, 0, sizeof(*p));
		fd = setup(completions, IORING_SETUP_COOP_TASKRUN, p);
	}
	if (fd < 0) {
		errno = errno_of(-fd);
		return -1;
	}
	if (map_shared(r, fd, p) < 0) {
		iv_close(fd);
		errno = ENOMEM;
		return -1;
	}

	return fd;
}

static void ring_free(struct ring *r)
{
	unmap(r);
	if (!r->is_private)
		free(r->written);
	iv_process_close(r->fd, r->label);
}

/* A filter may allow a ring to be made, but not to be used. */
static int is_usable(const struct ring *r)
{
	int ret;

	do {
		ret = io_uring_enter2(r->fd, 0, 0, 0, NULL, 0);
	} while (ret == -EINTR);

	return ret >= 0;
}

static int ring_init(struct ring *r, unsigned int completions)
{
	struct io_uring_params p;

	r->fd = create(r, completions, &p);
	if (r->fd < 0)
		return -1;
	r->fd = iv_process_move_fd(r->fd);
	find_words(r, &p);
	r->label = iv_process_label_fd(r->fd);

	if (!is_usable(r) ||
	    (p.features & NEEDED_FEATURES) != NEEDED_FEATURES) {
		ring_free(r);
		errno = EPERM;
		return -1;
	}

	return 0;
}

static int uring_init(struct iv_state *st)
{
	struct iv_fd_uring *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return -1;
	if (ring_init(&u->ring, FEWEST_COMPLETIONS) < 0) {
		int err = errno;

		free(u);
		errno = err;
		return -1;
	}
	u->generation = iv_process_generation();
	u->first_free = NO_INDEX;
	INIT_IV_LIST_HEAD(&u->completed);
	st->fd.u.uring = u;

	return 0;
}

/* The descriptor of the slot is without a request from now on. */
static void leave_slot(struct iv_fd_uring *u, unsigned int index)
{
	struct slot *slot = &u->slots[index];

	slot->generation++;
	slot->next_free = u->first_free;
	u->first_free = index;
	slot->fd->told = 0;
	slot->fd = NULL;
}

/* Request again after this wait, or in it if it will submit changes anyway. */
static void again(struct iv_fd_uring *u, struct iv_fd_ *fd)
{
	fd->again = 1;
	if (fd->wanted == 0)
		iv_list_del_init(&fd->changed);
	else if (iv_list_empty(&fd->changed))
		iv_list_add_tail(&fd->changed, &u->completed);
}

static int poll_events_of(int bands)
{
	return (bands & BAND_IN ? POLLIN : 0) |
	       (bands & BAND_OUT ? POLLOUT : 0);
}

static int bands_of(int events)
{
	int bands = 0;

	if (events & POLLIN)
		bands |= BAND_IN;
	if (events & POLLOUT)
		bands |= BAND_OUT;
	if (events & (POLLERR | POLLHUP))
		bands |= BAND_IN | BAND_OUT | BAND_ERR;

	return bands;
}

static void report(struct iv_state *st, struct iv_fd_ *fd, int events)
{
	int bands = bands_of(events);

	if (bands != 0)
		iv_fd_report(st, fd, bands);
}

/*
 * Report those in doubt as poll(2) finds them now; if poll(2) is refused, as
 * they completed.
 */
static void report_doubted(struct iv_state *st)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	int saved_errno = errno;
	int state;
	int i;

	if (u->num_doubted == 0)
		return;
	state = iv_cancel_disable();
	(void)poll(u->doubted, u->num_doubted, 0);
	iv_cancel_restore(state);
	errno = saved_errno;

	for (i = 0; i < u->num_doubted; i++)
		report(st, u->doubted_fds[i], u->doubted[i].revents);
	u->num_doubted = 0;
}

static void doubt(struct iv_state *st, struct iv_fd_ *fd, int events)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	int i;

	if (u->num_doubted == DOUBTS)
		report_doubted(st);
	i = u->num_doubted++;
	u->doubted[i] = (struct pollfd){ fd->fd, poll_events_of(fd->wanted),
					 events };
	u->doubted_fds[i] = fd;
}

/*
 * Completions that the kernel may have made before the wait began are
 * doubtful: since then the program may have read what there was, or closed the
 * descriptor, whose number may now stand for nothing or for another file.
 */
static int is_doubtful(const struct iv_fd_uring *u, const struct slot *slot)
{
	return u->had_some && (int)(slot->request - u->new_requests) < 0;
}

/* Closed while registered: nothing is reported, as with other methods. */
static void refused(struct iv_fd_ *fd, int was_taken, int err)
{
	if (err == EBADF && was_taken)
		fd->again = 1;
	else
		iv_fd_refused(fd, "iv_main", err);
}

/*
 * A request also completes when the peer has shut down its end for writing,
 * for which no handler is called, and the next one would do so at once.  So
 * that one stays after it has completed, and completes again with each new
 * event ("multishot").
 */
static void heard_nothing(struct iv_fd_uring *u, struct slot *slot)
{
	slot->is_done = 1;
	slot->fd->told |= TELL_AGAIN;
	again(u, slot->fd);
}

static void complete(struct iv_state *st, const struct io_uring_cqe *cqe,
		     enum treatment how)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	unsigned int index = cqe->user_data & UINT32_MAX;
	int is_last = !(cqe->flags & IORING_CQE_F_MORE);
	int events = cqe->res;
	struct slot *slot;
	struct iv_fd_ *fd;
	int doubtful;

	if (cqe->user_data == NO_SLOT)
		return;
	u->outstanding -= is_last;
	if (how == DISCARD)
		return;
	slot = &u->slots[index];
	if (slot->generation != cqe->user_data >> 32) {
		u->cancelled -= is_last;
		return;
	}

	fd = slot->fd;
	if (events < 0 && events != -ECANCELED) {
		leave_slot(u, index);
		refused(fd, slot->again, -events);
		return;
	}
	if (events >= 0 && bands_of(events) == 0) {
		if (is_last)
			heard_nothing(u, slot);
		return;
	}

	doubtful = is_doubtful(u, slot);
	if (is_last)
		leave_slot(u, index);
	else
		fd->told |= TELL_AGAIN;
	again(u, fd);
	if (how == REPEAT || events < 0)
		return;
	if (doubtful)
		doubt(st, fd, events);
	else
		report(st, fd, events);
}

static unsigned int cq_end(const struct ring *r)
{
	/* Acquire: pairs with the kernel's release after the completions. */
	return io_uring_smp_load_acquire(r->cq_tail);
}

/* Returns the number of completions. */
static unsigned int complete_all(struct iv_state *st, enum treatment how)
{
	struct ring *r = &st->fd.u.uring->ring;
	unsigned int begin = *r->cq_head;
	unsigned int end = cq_end(r);
	unsigned int at;

	for (at = begin; at != end; at++)
		complete(st, &r->cqes[at & (r->completions - 1)], how);
	/* Release: pairs with the kernel's acquire before it writes others. */
	io_uring_smp_store_release(r->cq_head, end);
	report_doubted(st);

	return end - begin;
}

static void publish(struct ring *r)
{
	unsigned int mask = r->requests - 1;

	for (; r->published != r->end; r->published++) {
		if (!r->is_private)
			r->sqes[r->published & mask] =
				r->written[r->published & mask];
	}
	/* Release: pairs with the kernel's acquire before the requests. */
	io_uring_smp_store_release(r->sq_tail, r->published);
}

/* A cancellation point if wanted, which leaves everything consistent. */
static int enter(struct ring *r, unsigned int min, const struct timespec *until,
		 const sigset_t *mask, int may_cancel)
{
	struct io_uring_getevents_arg arg = { 0 };
	struct __kernel_timespec ts;
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	int type, ret;

	if (mask != NULL) {
		arg.sigmask = (uintptr_t)mask;
		arg.sigmask_sz = _NSIG / 8;
	}
	if (until != NULL && min > 0) {
		struct timespec when = *until;

		if (r->features & FEAT_MIN_TIMEOUT)
			flags |= ENTER_ABS_TIMER;
		else
			iv_time_left(&when, until);
		ts = (struct __kernel_timespec){ .tv_sec = when.tv_sec,
						 .tv_nsec = when.tv_nsec };
		arg.ts = (uintptr_t)&ts;
	}

	/* Only the system call is cancelled, as in the libc's own functions. */
	if (may_cancel) /* NOLINTNEXTLINE(*-pos47-c,*-canceltype-asynchronous) */
		(void)pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	ret = io_uring_enter2(r->fd, r->published - r->taken, min, flags,
			      (void *)&arg, sizeof(arg));
	if (may_cancel)
		(void)pthread_setcanceltype(type, &type);

	return ret;
}

/* A process may confine itself when its loop has begun. */
static void give_up(struct iv_state *st)
{
	st->fd.u.uring->is_refused = 1;
	iv_fd_give_up_method(st);
}

/* -1 in a child, and if something was lacking; 0 if a signal came. */
static int outcome(struct iv_state *st, int ret, enum treatment how)
{
	if (is_inherited(st->fd.u.uring) || (ret < 0 && how == DISCARD))
		return -1;
	if (ret >= 0 || ret == -EINTR || ret == -ETIME || ret == -EBUSY)
		return 0;
	if (iv_fd_not_here(-ret) || ret == -EACCES) {
		give_up(st);
		return -1;
	}
	if (ret == -EAGAIN || ret == -ENOMEM) {
		iv_lock_pause(0);
		return -1;
	}
	iv_fatal("iv_main: cannot wait for descriptors: %s (errno %d)",
		 strerror(-ret), -ret);
}

/*
 * Does the kernel have completions that it has not written?  This may be out
 * of date, but only if it has written them since.
 */
static unsigned int seems_to_have_more(const struct ring *r)
{
	/* Relaxed: a hint; a system call exchanges what it is about. */
	return IO_URING_READ_ONCE(*r->sq_flags) &
	       (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/* Linux 6.18 writes twenty at a time; if there were fewer, that was all. */
static int has_more(const struct ring *r, unsigned int num)
{
	unsigned int hints = seems_to_have_more(r);

	return (hints & IORING_SQ_CQ_OVERFLOW) ||
	       ((hints & IORING_SQ_TASKRUN) && num >= 16);
}

/*
 * Submit the requests, wait for min completions, and treat all that there are.
 * No other function touches what is shared with the kernel.
 */
static int exchange(struct iv_state *st, unsigned int min,
		    const struct timespec *until, enum treatment how)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	struct ring *r = &u->ring;
	sigset_t all, mask;
	sigset_t *blocked = NULL;
	int ret = -1;

	if (!r->is_private) {
		sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &mask);
		blocked = &mask;
	}
	if (!is_inherited(u)) {
		u->had_some = cq_end(r) != *r->cq_head ||
			      seems_to_have_more(r);
		u->new_requests = r->published;
		publish(r);
		iv_step();
		ret = enter(r, min, until, blocked, how == WAIT);
		ret = outcome(st, ret, how);
		iv_step();
	}
	if (!is_inherited(u)) {
		/* Acquire: pairs with the kernel's release once it has them. */
		r->taken = io_uring_smp_load_acquire(r->sq_head);
		u->more = has_more(r, complete_all(st, how));
	}
	/* A thread that is cancelled above ends with its signals blocked. */
	if (blocked != NULL)
		(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);

	return ret;
}

static void await_all(struct iv_state *st, const unsigned int *num,
		      enum treatment how)
{
	unsigned int min = 0;

	while (*num > 0 && !is_given_up(st->fd.u.uring)) {
		if (exchange(st, min, NULL, how) < 0 && how == DISCARD)
			return;
		min = 1;
	}
}

static struct io_uring_sqe *request(struct iv_state *st)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	struct ring *r = &u->ring;
	struct io_uring_sqe *sqe;

	while (r->end - r->taken == r->requests) {
		if (is_given_up(u))
			return &u->nowhere;
		(void)exchange(st, 0, NULL, REPORT);
	}
	sqe = &r->written[r->end++ & (r->requests - 1)];
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = NO_SLOT;

	return sqe;
}

static void watch(struct iv_state *st, struct iv_fd_ *fd, int was_taken,
		  int stays)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	struct io_uring_sqe *sqe = request(st);
	unsigned int index = u->first_free;
	struct slot *slot = &u->slots[index];

	u->first_free = slot->next_free;
	iv_list_del_init(&fd->changed);
	slot->fd = fd;
	slot->request = u->ring.end - 1;
	slot->again = was_taken;
	slot->is_done = 0;
	fd->index = index;
	fd->told = fd->wanted;
	u->outstanding++;
	io_uring_prep_poll_add(sqe, fd->fd, poll_events_of(fd->wanted));
	if (stays)
		sqe->len = IORING_POLL_ADD_MULTI;
	sqe->user_data = (uint64_t)slot->generation << 32 | index;
}

/* The completion of the cancellation itself is ignored. */
static void cancel(struct iv_state *st, struct iv_fd_ *fd)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	struct io_uring_sqe *sqe = request(st);
	struct slot *slot = &u->slots[fd->index];

	/* Making room for the request may have brought the completion. */
	if (fd->told == 0 || slot->is_done)
		return;
	io_uring_prep_cancel64(sqe, (uint64_t)slot->generation << 32 |
				    fd->index, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = NO_SLOT;
	u->cancelled++;
}

static int uring_tell(struct iv_state *st, struct iv_fd_ *fd)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	int was_taken = fd->again || fd->told != 0;
	int stays = 0;

	if (fd->told != 0) {
		if (!u->slots[fd->index].is_done)
			cancel(st, fd);
		stays = fd->told == (fd->wanted | TELL_AGAIN) &&
			u->slots[fd->index].is_done;
	}
	if (fd->told != 0)
		leave_slot(u, fd->index);
	if (fd->wanted != 0)
		watch(st, fd, was_taken, stays);

	return 0;
}

static void change_completed(struct iv_state *st)
{
	iv_list_splice_tail_init(&st->fd.u.uring->completed, &st->fd.changed);
}

static void uring_settle(struct iv_state *st)
{
	await_all(st, &st->fd.u.uring->cancelled, REPEAT);
	change_completed(st);
}

/* 0 if epoll(7) accepts it, or an errno. */
static int refusal_by_epoll(int ring, int fd)
{
	struct epoll_event ev = { 0 };

	(void)epoll_ctl(ring, EPOLL_CTL_DEL, fd, &ev);

	return errno == EINVAL ? 0 : errno;
}

static int uring_probe(struct iv_state *st, struct iv_fd_ *fd)
{
	int ring = st->fd.u.uring->ring.fd;
	int saved_errno = errno;
	int err = refusal_by_epoll(ring, fd->fd);

	/* If epoll_ctl(2) itself is refused, it refuses the ring, too. */
	if (err != 0 && refusal_by_epoll(ring, ring) != 0)
		err = fcntl(fd->fd, F_GETFL) < 0 ? errno : 0;
	errno = err != 0 ? err : saved_errno;

	return err != 0 ? -1 : 0;
}

static void uring_wait(struct iv_state *st, const struct timespec *until)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	struct ring *r = &u->ring;
	int sleeps = until == NULL || !iv_time_is_zero(until);

	if (!sleeps && r->is_private && r->end == r->taken &&
	    !seems_to_have_more(r)) {
		/* The kernel would have set a flag if one had become ready. */
		pthread_testcancel();
	} else {
		(void)exchange(st, sleeps, until, WAIT);
		while (u->more && !is_given_up(u))
			(void)exchange(st, 0, NULL, WAIT);
	}
	change_completed(st);
}

/* So that the ring keeps no file open that was watched. */
static void cancel_all(struct iv_state *st)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	struct io_uring_sqe *sqe;

	if (u->outstanding == 0 || is_given_up(u))
		return;
	sqe = request(st);
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ALL |
				       IORING_ASYNC_CANCEL_ANY);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = NO_SLOT;
	await_all(st, &u->outstanding, DISCARD);
}

static void uring_deinit(struct iv_state *st)
{
	struct iv_fd_uring *u = st->fd.u.uring;

	change_completed(st);
	cancel_all(st);
	if (u->ring.is_private || !is_inherited(u))
		unmap(&u->ring);
	if (!u->ring.is_private)
		free(u->ring.written);
	iv_process_close(u->ring.fd, u->ring.label);
	free(u->slots);
	free(u);
}

/* Replace the ring by a larger one, if possible, and repeat all requests. */
static void grow(struct iv_state *st, unsigned int completions)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	int saved_errno = errno;
	struct ring larger;
	unsigned int i;

	u->asked_for = completions;
	if (ring_init(&larger, completions) < 0) {
		errno = saved_errno;
		return;
	}

	cancel_all(st);
	for (i = 0; i < u->room; i++) {
		struct iv_fd_ *fd = u->slots[i].fd;

		if (fd != NULL) {
			leave_slot(u, i);
			again(u, fd);
		}
	}
	change_completed(st);
	u->outstanding = u->cancelled = 0;
	ring_free(&u->ring);
	u->ring = larger;
}

static int reserve_slots(struct iv_fd_uring *u, unsigned int num)
{
	unsigned int room = u->room != 0 ? u->room : FEWEST_SLOTS;
	struct slot *slots;
	unsigned int i;

	while (room < num)
		room *= 2;
	if (room == u->room)
		return 0;

	slots = reallocarray(u->slots, room, sizeof(*slots));
	if (slots == NULL)
		return -1;
	u->slots = slots;
	for (i = room; i-- > u->room; ) {
		slots[i] = (struct slot){ .next_free = u->first_free };
		u->first_free = i;
	}
	u->room = room;

	return 0;
}

static int uring_reserve(struct iv_state *st, unsigned int num, int number)
{
	struct iv_fd_uring *u = st->fd.u.uring;
	unsigned int completions = u->ring.completions;

	(void)number;
	if (reserve_slots(u, num) < 0)
		return -1;
	while (completions < num && completions < MOST_COMPLETIONS)
		completions *= 2;
	if (completions > u->ring.completions && completions > u->asked_for &&
	    !is_given_up(u))
		grow(st, completions);

	return 0;
}

const struct iv_fd_poll_method iv_fd_poll_method_uring = {
	.name	 = "uring",
	.init	 = uring_init,
	.deinit	 = uring_deinit,
	.reserve = uring_reserve,
	.tell	 = uring_tell,
	.tell_now = uring_probe,
	.settle	 = uring_settle,
	.probe	 = uring_probe,
	.wait	 = uring_wait,
};

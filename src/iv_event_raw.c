/*
 * libivykis: a doorbell that any thread, signal handler or process can ring.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An object has a descriptor, which its loop watches like any other, and a bit
 * on a board in memory that forked processes share.  A loop that is awake
 * checks its boards before it sleeps, so a post to it sets the bit and is done.
 * Only a loop that is asleep needs a doorbell, which is a write to the
 * descriptor.  The functions that do this are named on the right:
 *
 *	iv_event_raw_post()
 *	{
 *		if (is_set(bit)) {			is_pending()
 *			fence A;
 *			if (is_set(bit) && !needs_doorbell())
 *				return;
 *		}
 *		set(bit);
 *		if (!needs_doorbell())
 *			return;
 *		if (state & FOREIGN) {			write_if_needed()
 *			write(fd, RING);
 *		} else if (state & ASLEEP && !is_stale(bit)) {
 *			write(fd, RING);		ring()
 *			in the same epoch: state = RUNG;
 *		}
 *	}
 *
 *	needs_doorbell()
 *	{
 *		return state & (ASLEEP | FOREIGN);
 *	}
 *
 *	an iteration of iv_main()
 *	{
 *		state = ASLEEP, in the next epoch;	iv_board_sleep()
 *		fence B;
 *		if (no bit is set)			iv_board_posted()
 *			wait for descriptors;
 *		state = AWAKE;				iv_board_wake_up()
 *		due = bits that are set;		iv_board_look()
 *		for (each readable descriptor)		got_event()
 *			if (drain(fd) has PLAIN || take(bit))
 *				handler(cookie);
 *		for (each bit in due)			iv_board_take()
 *			if (take(bit))
 *				handler(cookie);
 *	}
 *
 * No wakeup is lost.  Either the poster sets the bit before fence B, and the
 * loop sees it, or fence B comes first, and the poster sees ASLEEP.  A post
 * that is coalesced with a pending one has seen the bit after fence A, and
 * take() is a fence, too: the handler that follows sees what the poster stored
 * before.
 *
 * No object gets stuck.  A post returns without a write only on evidence that
 * outlives any poster: the loop is awake, or it is RUNG, which is set after a
 * write, in this very sleep, to a descriptor that the loop watches.  A poster
 * that is killed after it set the bit leaves a bit for which the next post
 * rings the doorbell.  A forked child may keep a stale copy of an object that
 * was unregistered; its bit is `gone', and the copy does not ring.
 *
 * The handler runs no more often than there are posts: each post sets a bit at
 * most once, and each bit is taken once.  This is why a doorbell, RING, differs
 * from PLAIN, which iv_event_raw_post_fd() writes.
 *
 * A forked child that goes on with the loop sets FOREIGN on its boards, rings
 * for the bits that are set, and then takes a bit only after it has drained the
 * descriptor.  From then on each post writes, and the process that drains the
 * descriptor and takes the bit runs the handler.  A child that only posts,
 * unregisters or exits changes nothing.
 *
 * A bit is never given to a second object.  An object that gets none, for lack
 * of memory, works without: each of its posts writes.  What is read from a
 * board decides only whether a post writes and which registered handler runs.
 *
 * iv_board.c keeps the boards of a loop, and iv_board_page.c allocates them.
 * Otherwise this file uses little more than the public calls of iv_fd.
 */

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "iv_board.h"
#include "iv_cancel.h"
#include "iv_cpu.h"
#include "iv_probe.h"

/*
 * The last two private words of an object's iv_fd say where its bit is: one has
 * the address of the word, the other one that of the bell, with the number of
 * the bit in the low bits, which are zero in the address.
 */
#define PLACE_BIT	(IV_BOARD_WORD_BITS - 1)

/*
 * An object without a bit has this for its word, and no bell.  One that is not
 * registered has no word either, as in memory that is all zeroes.
 */
static atomic_ulong no_board;

static struct iv_place place_of(const struct iv_event_raw *this)
{
	uintptr_t bell = (uintptr_t)this->event_rfd.pad[9];

	return (struct iv_place){
		.bell = (struct iv_board *)(bell & ~PLACE_BIT),
		.word = this->event_rfd.pad[10],
		.bit = bell & PLACE_BIT,
	};
}

static int is_open(const struct iv_event_raw *this)
{
	return this->event_rfd.pad[10] != NULL;
}

/* From here on, posts by a signal handler that interrupts us take effect. */
static void
open_to_posts(struct iv_event_raw *this, int wfd, struct iv_place at)
{
	this->event_wfd = wfd;
	this->event_rfd.pad[9] = (char *)at.bell + at.bit;
	atomic_signal_fence(memory_order_seq_cst);
	iv_step();
	this->event_rfd.pad[10] = at.bell != NULL ? at.word : &no_board;
}

/* From here on, they are ignored. */
static void close_to_posts(struct iv_event_raw *this)
{
	this->event_rfd.pad[10] = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	iv_step();
	this->event_wfd = -1;
}


/*
 * Descriptors.  An eventfd is both ends; where there is none, a pipe is used.
 * With an eventfd, event_wfd and event_rfd.fd are the same.
 */
static int pair_open(int fd[2])
{
	fd[0] = iv_process_move_fd(iv_sys_eventfd());
	fd[1] = fd[0];
	if (fd[0] >= 0)
		return 0;
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return -1;
	if (iv_sys_pipe(fd, O_NONBLOCK) < 0)
		return -1;
	iv_sys_no_sigpipe(fd[1]);
	fd[0] = iv_process_move_fd(fd[0]);
	fd[1] = iv_process_move_fd(fd[1]);

	return 0;
}

/* iv_fd.c labels the reading end. */
static void label_end(const int fd[2])
{
	if (fd[1] != fd[0])
		(void)iv_process_label_fd(fd[1]);
}

/* A number that a child has closed, and used again, stays open. */
static void pair_close(const int fd[2], unsigned int label)
{
	iv_process_close(fd[0], label);
	if (fd[1] != fd[0])
		iv_process_close(fd[1], label);
}

/*
 * What is written.  An eventfd adds the values up: a second RING does not fit,
 * and every other sum contains a PLAIN.  A pipe holds each of them, until it is
 * full.
 */
#define PLAIN	UINT64_C(1)
#define RING	(UINT64_C(1) << 63)

/* Returns 1 if the descriptor is readable now, even if it is full. */
static int make_readable(int fd, uint64_t what)
{
	ssize_t ret;

	do {
		ret = write(fd, &what, sizeof(what));
	} while (ret < 0 && errno == EINTR);
	/* Neither an eventfd nor one of our pipes. */
	if (ret >= 0 && ret != sizeof(what))
		errno = EIO;

	return ret == sizeof(what) || errno == EAGAIN;
}

/*
 * The same with RING, and no cancellation point: iv_board_is_unused() waits for
 * the poster.
 */
static int write_ring(int fd)
{
	static const uint64_t what = RING;
	ssize_t ret;

	do {
		ret = iv_sys_write(fd, &what, sizeof(what));
	} while (ret < 0 && errno == EINTR);

	return ret == sizeof(what) || (ret < 0 && errno == EAGAIN);
}

/* What was read, as a set of these. */
#define SOMETHING	1
#define A_PLAIN		2

static int kinds_of(const uint64_t *buf, size_t len, size_t size)
{
	size_t i;

	/* A pipe that was full may have rejected a PLAIN. */
	if (len == size || len % sizeof(*buf))
		return SOMETHING | A_PLAIN;
	for (i = 0; i < len / sizeof(*buf); i++) {
		if (buf[i] != RING)
			return SOMETHING | A_PLAIN;
	}

	return SOMETHING;
}

/*
 * Read until there is nothing left; returns 0 if there was nothing to read.
 * One read empties an eventfd, but not always a pipe.  The number of reads is
 * bounded, because others may go on writing.
 */
static int drain(int fd)
{
	uint64_t buf[128];
	ssize_t ret;
	int drained = 0;
	int i;

	for (i = 0; i < 64; i++) {
		do {
			ret = iv_sys_read(fd, buf, sizeof(buf));
		} while (ret < 0 && errno == EINTR);

		if (ret < 0 && errno == EAGAIN)
			break;
		if (ret < 0)
			iv_fatal("iv_event_raw: cannot read descriptor %d: %s "
				 "(errno %d): was it closed by the program?",
				 fd, strerror(errno), errno);
		if (ret == 0)
			iv_fatal("iv_event_raw: end of file on descriptor %d: "
				 "was it closed by the program?", fd);

		drained |= kinds_of(buf, ret, sizeof(buf));
		if (ret < (ssize_t)sizeof(buf))
			break;
	}

	return drained;
}


static void call_handler(struct iv_event_raw *this)
{
	iv_self->stats.raws++;
	if (this->handler == NULL)
		iv_fatal("iv_event_raw: %p was posted and has no handler: set "
			 "handler before a post", (void *)this);
	IV_PROBE_RAW_DELIVERED(this);
	iv_step();
	/* The handler may free *this. */
	this->handler(this->cookie);
}

static void ring_here(const struct iv_event_raw *this)
{
	if (!iv_fd_is_lost(&this->event_rfd))
		(void)make_readable(this->event_wfd, RING);
}

void iv_event_raw_go_on(struct iv_state *st)
{
	/* A fork by a signal handler from here on is noticed the next time. */
	unsigned int generation = iv_process_generation();
	int state = iv_cancel_disable();

	iv_board_abandon(st, generation, ring_here);
	iv_cancel_restore(state);
	st->board.noticed = generation;
}

static void call_quietly(struct iv_event_raw *this)
{
	iv_self->stats.quiet++;
	call_handler(this);
}

void iv_event_raw_run(struct iv_state *st)
{
	iv_board_take(st, call_quietly);
}

static void got_event(void *_this)
{
	struct iv_event_raw *this = _this;
	struct iv_place at = place_of(this);
	int drained;

	iv_event_raw_notice_fork(iv_self);

	drained = drain(this->event_rfd.fd);
	iv_step();
	if (drained == SOMETHING) {
		iv_self->stats.doorbells++;
		IV_PROBE_RAW_DOORBELL(this);
	}
	if (at.word != NULL)
		iv_board_served(iv_self, at);
	/* After the drain: a bit that is set later has its own doorbell. */
	if ((at.bell != NULL && iv_board_take_bit(at)) || (drained & A_PLAIN))
		call_handler(this);
	else
		iv_self->stats.spurious++;
}

/* In a child that has closed the descriptor: open another one. */
static void got_error(void *_this)
{
	struct iv_event_raw *this = _this;
	int fd[2];

	if (!iv_fd_is_lost(&this->event_rfd))
		return;
	if (pair_open(fd) < 0 || iv_fd_renew(&this->event_rfd, fd[0]) < 0)
		iv_fatal("iv_event_raw: %p cannot have another descriptor "
			 "after fork: %s (errno %d)", _this, strerror(errno),
			 errno);
	label_end(fd);
	this->event_wfd = fd[1];
}

/* The calling thread's loop watches the descriptor. */
static int watch(struct iv_event_raw *this)
{
	this->event_rfd.cookie = this;
	this->event_rfd.handler_in = got_event;
	this->event_rfd.handler_err = got_error;

	return iv_fd_register_own(&this->event_rfd);
}

static int open_ends(struct iv_event_raw *this, int fd[2])
{
	/* The private members may be uninitialised. */
	close_to_posts(this);
	IV_FD_INIT(&this->event_rfd);
	if (pair_open(fd) < 0)
		return -1;
	this->event_rfd.fd = fd[0];

	return 0;
}

static int open_and_watch(struct iv_event_raw *this, int fd[2])
{
	int err;

	if (open_ends(this, fd) < 0)
		return -1;
	if (watch(this) == 0) {
		label_end(fd);
		return 0;
	}

	err = errno;
	pair_close(fd, 0);
	errno = err;

	return -1;
}

int iv_event_raw_register(struct iv_event_raw *this)
{
	struct iv_state *st = iv_state_for("iv_event_raw_register");
	int saved_errno = errno;
	int fd[2];

	if (open_and_watch(this, fd) < 0)
		return -1;
	iv_step();
	open_to_posts(this, fd[1], iv_board_place(st, this));
	iv_step();
	iv_loop_fd_registered(st);
	errno = saved_errno;

	return 0;
}

/* A prepared object that was not adopted here has a board to itself. */
static void give_back(struct iv_place at, int is_owned)
{
	iv_board_close(at);
	if (is_owned)
		iv_board_leave(iv_self, at);
	else
		iv_board_put(at.bell);
}

void iv_event_raw_unregister(struct iv_event_raw *this)
{
	const int fd[2] = { this->event_rfd.fd, this->event_wfd };
	unsigned int label = iv_fd_label(&this->event_rfd);
	struct iv_place at = place_of(this);
	int is_owned;

	if (!is_open(this))
		iv_fatal("iv_event_raw_unregister: %p is not registered, or "
			 "was unregistered already", (void *)this);
	is_owned = iv_fd_registered(&this->event_rfd);
	if (is_owned)
		iv_fd_unregister(&this->event_rfd);
	iv_step();

	close_to_posts(this);
	iv_step();
	if (at.bell != NULL)
		give_back(at, is_owned);
	iv_step();
	if (at.bell == NULL || iv_board_is_unused(at.bell))
		pair_close(fd, label);
	/* Its doorbell may have been rung for the posts to others as well. */
	if (is_owned)
		iv_loop_fd_registered(iv_self);
}


/* Not if the loop will check its boards, or if a doorbell has been rung. */
static int needs_doorbell(const struct iv_board *bell)
{
	iv_step();
	return (atomic_load(&bell->state) &
		(IV_BOARD_ASLEEP | IV_BOARD_FOREIGN)) != 0;
}

/* Wake the loop, and then let others know that this was done. */
static void ring(struct iv_board *bell, int fd, unsigned long state)
{
	unsigned long rung;

	if (!write_ring(fd))
		return;
	iv_step();
	/* Release: a poster that sees RUNG relies on the write. */
	rung = (state & ~IV_BOARD_MODE) | IV_BOARD_RUNG;
	(void)atomic_compare_exchange_strong_explicit(&bell->state, &state,
						      rung,
						      memory_order_release,
						      memory_order_relaxed);
}

/*
 * Is this a copy of an object that another process has unregistered?  No loop
 * watches its descriptor.  The bit counts only if that process may have
 * unregistered it: any other may have set it.
 */
static int is_stale(struct iv_place at)
{
	return iv_board_is_inherited(iv_place_board(at)) &&
	       iv_place_is_gone(at);
}

/*
 * The bit is set, and a doorbell was needed.  The state is read again now that
 * the descriptor is kept open for this poster.
 */
static void write_if_needed(struct iv_place at, unsigned long life, int fd)
{
	struct iv_board *bell = at.bell;
	unsigned long state = atomic_load(&bell->state);

	iv_step();
	/* In this process: was the object unregistered? */
	if (!iv_board_is_open(at, life))
		return;

	if (state & IV_BOARD_FOREIGN)
		(void)write_ring(fd);
	else if ((state & IV_BOARD_ASLEEP) && !is_stale(at))
		ring(bell, fd, state);
}

/* fd < 0: write to the descriptor that wakes the loop for its iv_events. */
static __attribute__((noinline)) void
post_by_write(struct iv_place at, unsigned long life, int fd)
{
	struct iv_board_own *own;
	int saved_errno = errno;
	int state, type;

	/*
	 * This comes first: an asynchronous cancellation that is already
	 * pending when cancellation is disabled may still take effect, with
	 * glibc, at any time later.
	 */
	(void)pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	state = iv_cancel_disable();
	own = iv_board_begin_write(at.bell);
	iv_step();
	if (fd < 0)
		fd = atomic_load(&own->fd);
	write_if_needed(at, life, fd);
	iv_board_end_write(own);
	iv_cancel_restore(state);
	(void)pthread_setcanceltype(type, &type);
	errno = saved_errno;
}

/* There is no bit, only the descriptor. */
static __attribute__((noinline)) void
post_plainly(const struct iv_event_raw *this)
{
	int saved_errno = errno;
	int state;

	if (!is_open(this))
		return;
	state = iv_cancel_disable();
	(void)make_readable(this->event_wfd, PLAIN);
	iv_cancel_restore(state);
	errno = saved_errno;
	IV_PROBE_RAW_WRITTEN(this);
}

/* Is there a pending post that this one can be coalesced with? */
static int is_pending(struct iv_place at)
{
	/* Relaxed: what counts is the load after the fence. */
	if (!((atomic_load_explicit(at.word, memory_order_relaxed) >>
	       at.bit) & 1))
		return 0;
	/*
	 * Fence A: the caller's stores come before the load of the bit.
	 * Partner: iv_board_take_bit().
	 */
	iv_full_fence();

	/* In this order: a loop that sets ASLEEP later sees the bit. */
	return iv_place_is_set(at) && !needs_doorbell(at.bell);
}

/* Aligned, so that a post to an awake loop runs code in few cache lines. */
__attribute__((aligned(64)))
void iv_event_raw_post(const struct iv_event_raw *this)
{
	struct iv_place at = place_of(this);
	int fd = this->event_wfd;
	unsigned long life;
	struct iv_board *b;

	if (at.bell == NULL || at.word == NULL) {
		post_plainly(this);
		return;
	}
	if (is_pending(at)) {
		IV_PROBE_RAW_SKIPPED(this);
		return;
	}

	b = iv_place_board(at);
	life = iv_board_life(b);
	iv_step();
	/*
	 * From here on, *this may have been freed.  Partners: fence B in
	 * iv_board.c, and iv_board_make_foreign().
	 */
	atomic_fetch_or(at.word, iv_place_mask(at));
	iv_step();
	if (b != at.bell)
		atomic_fetch_or(&at.bell->hints, iv_board_own(b)->hint);
	if (!needs_doorbell(at.bell)) {
		IV_PROBE_RAW_SKIPPED(this);
		return;
	}
	iv_step();
	post_by_write(at, life, fd);
	IV_PROBE_RAW_WRITTEN(this);
}


/*
 * The wakeup of a loop's iv_events.  It has a bit of its own on the bell, which
 * is all that its posters know: *this and the loop may be gone.
 */
int iv_event_raw_register_wake(struct iv_state *st, struct iv_event_raw *this)
{
	struct iv_place at;
	int saved_errno = errno;
	int fd[2];

	if (open_and_watch(this, fd) < 0)
		return -1;
	at = iv_board_place_wake(st, this);
	if (at.bell == NULL) {
		iv_fd_unregister(&this->event_rfd);
		pair_close(fd, 0);
		errno = ENOMEM;
		return -1;
	}
	open_to_posts(this, fd[1], at);
	iv_step();
	/* Sequentially consistent, as below: pairs with post_by_write(). */
	atomic_store(&iv_board_own(at.bell)->fd, fd[1]);
	errno = saved_errno;

	return 0;
}

void iv_event_raw_unregister_wake(struct iv_event_raw *this)
{
	atomic_store(&iv_board_own(place_of(this).bell)->fd, -1);
	iv_step();
	iv_event_raw_unregister(this);
}

void iv_event_raw_wake(struct iv_board *bell)
{
	struct iv_place at = {
		.bell = bell,
		.word = &bell->posted[0],
		.bit = IV_BOARD_WAKE_BIT,
	};
	unsigned long life;

	/* An awake loop checks its stack of events, forked copies or not. */
	if (!(atomic_load(&bell->state) & IV_BOARD_MODE))
		return;
	iv_step();
	life = iv_board_life(bell);

	/*
	 * RUNG is not enough: a forked loop may drain the doorbell, and rings
	 * again only for the bits that are set.
	 */
	atomic_fetch_or(at.word, iv_place_mask(at));
	if (needs_doorbell(bell))
		post_by_write(at, life, -1);
}


/*
 * An object that a process and its children know before it has a loop.  It has
 * a board to itself, whose state is AWAKE: the loop that adopts it checks the
 * bit.
 */
int iv_event_raw_prepare(struct iv_event_raw *this)
{
	int saved_errno = errno;
	int fd[2];

	if (iv_main_init_process() < 0 || open_ends(this, fd) < 0)
		return -1;
	iv_fd_set_label(&this->event_rfd);
	label_end(fd);
	open_to_posts(this, fd[1], iv_board_place_alone());
	errno = saved_errno;

	return 0;
}

static void adopt_board(struct iv_state *st, struct iv_event_raw *this,
			struct iv_place at)
{
	if (!(atomic_fetch_or(&at.bell->flags, IV_BOARD_OWNED) &
	      IV_BOARD_OWNED) && iv_board_adopt(st, at, this) == 0)
		return;

	/* There is another owner, or was: the rules of a forked loop apply. */
	iv_board_make_foreign(at.bell);
	if (iv_place_is_set(at))
		ring_here(this);
}

int iv_event_raw_adopt(struct iv_event_raw *this)
{
	struct iv_state *st = iv_state_for("iv_event_raw_adopt");
	struct iv_place at = place_of(this);
	int saved_errno = errno;

	if (!is_open(this) || iv_fd_registered(&this->event_rfd))
		iv_fatal("iv_event_raw_adopt: %p is not prepared, or has been "
			 "adopted", (void *)this);
	if (watch(this) < 0)
		return -1;
	if (at.bell != NULL)
		adopt_board(st, this, at);
	iv_loop_fd_registered(st);
	errno = saved_errno;

	return 0;
}


/*
 * Posts from unrelated processes.  All that the poster has is a descriptor: it
 * has no bit, and no reading end of the pipe that would prevent SIGPIPE.
 */
int iv_event_raw_export(const struct iv_event_raw *this)
{
	if (!is_open(this)) {
		errno = EBADF;
		return -1;
	}

	return fcntl(this->event_wfd, F_DUPFD_CLOEXEC, 0);
}

int iv_event_raw_post_fd(int fd)
{
	sigset_t sigpipe, pending, mask;
	int saved_errno = errno;
	int state = iv_cancel_disable();
	int ret;

	(void)sigemptyset(&sigpipe);
	(void)sigaddset(&sigpipe, SIGPIPE);
	(void)sigpending(&pending);
	(void)pthread_sigmask(SIG_BLOCK, &sigpipe, &mask);

	ret = make_readable(fd, PLAIN) ? 0 : -1;
	if (ret < 0 && errno == EPIPE) {
		iv_sys_take_sigpipe(&sigpipe,
				    sigismember(&pending, SIGPIPE));
		errno = EPIPE;
	}

	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	iv_cancel_restore(state);
	if (ret == 0)
		errno = saved_errno;

	return ret;
}

/*
 * libivykis: a call made in the loop that registered it, on behalf of any
 * thread, any signal handler and any process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An object has a descriptor, which the loop watches as any other, and a bit on
 * a board in memory that forked processes share.  A loop that is awake looks at
 * its boards before it sleeps, so a post to it sets the bit and is done; only
 * a loop that sleeps has to be rung for, by a write to the descriptor.
 *
 *	post:	bit is set: fence A
 *			bit is set, state is not ASLEEP, not foreign: return
 *		set bit
 *		state is not ASLEEP, not foreign: return
 *		gone: return
 *		write RING; state = RUNG, if it still is what it was
 *
 *	loop:	before it sleeps: state = ASLEEP in the next epoch
 *			fence B
 *			a bit is set: do not sleep
 *		after it has slept: state = AWAKE
 *		a descriptor is readable: drain it, take the bit
 *			the bit was set, or PLAIN was read: handler(cookie)
 *		once per iteration: take the bits that were set when it
 *			began to call handlers, call these
 *
 * No wakeup is lost.  Of fence B and a poster's setting of the bit one comes
 * first, so the poster sees ASLEEP or the loop sees the bit.  A post that found
 * the bit set has done so after fence A, and taking a bit is a fence, too: the
 * handler that follows sees what the poster stored before.
 *
 * No object gets stuck.  A post returns without a write on evidence that
 * outlives any poster: the loop is awake, or RUNG, which is set after a write
 * to a descriptor that the loop watches, in this very sleep.  A poster that is
 * killed after it set the bit leaves a bit for which the next post rings.  A
 * forked child may hold a stale copy of an object that was unregistered, which
 * then is `gone', and must not ring with that.
 *
 * The handler runs no more often than there are posts: a bit is set by one post
 * and taken once.  That is why a doorbell, RING, differs from PLAIN, which is
 * what iv_event_raw_post_fd() writes.
 *
 * A forked child that goes on with the loop says `foreign' on its boards, rings
 * for the bits that are set, and from then on looks at a bit only when it has
 * drained the descriptor.  Each post writes then, and whoever drains and takes
 * the bit runs the handler.  A child that only posts, unregisters or ends
 * changes nothing.
 *
 * A bit is given to one object, ever.  An object that gets none, for lack of
 * memory, works without: each of its posts writes.  Nothing read from a board
 * steers more than whether a post writes and whose registered handler runs.
 *
 * iv_board.c keeps the boards of a loop, and iv_board_page.c hands them out.
 * For the rest, this file uses little more than the public calls of iv_fd.
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
 * Where an object's bit is, in the last two private words of its iv_fd: one is
 * the address of the word; the other one is that of the bell, with the bit's
 * number in the low bits that its alignment leaves.
 */
#define PLACE_BIT	(IV_BOARD_WORD_BITS - 1)

/*
 * What has no bit has this for its word, and no bell.  What is not registered
 * has no word either: memory that is all zeroes is such an object.
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

/* From here a signal handler that interrupts us posts. */
static void
open_to_posts(struct iv_event_raw *this, int wfd, struct iv_place at)
{
	this->event_wfd = wfd;
	this->event_rfd.pad[9] = (char *)at.bell + at.bit;
	atomic_signal_fence(memory_order_seq_cst);
	iv_step();
	this->event_rfd.pad[10] = at.bell != NULL ? at.word : &no_board;
}

/* From here it posts nothing. */
static void close_to_posts(struct iv_event_raw *this)
{
	this->event_rfd.pad[10] = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	iv_step();
	this->event_wfd = -1;
}

static int is_gone(struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);

	/* Sequentially consistent: pairs with iv_board_leave(). */
	return (atomic_load(&b->gone[at.word - b->posted]) >> at.bit) & 1;
}

static int is_set(struct iv_place at)
{
	return (atomic_load(at.word) >> at.bit) & 1;
}


/*
 * Descriptors.  One eventfd is both ends; a pipe stands in where there is
 * none.  Which of the two is a property of the object: with an eventfd,
 * event_wfd and event_rfd.fd are the same.
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

/* That of the other end is the object's. */
static void label_end(const int fd[2])
{
	if (fd[1] != fd[0])
		(void)iv_process_label_fd(fd[1]);
}

/* What a child has lost of it, it does not close. */
static void pair_close(const int fd[2], unsigned int label)
{
	iv_process_close(fd[0], label);
	if (fd[1] != fd[0])
		iv_process_close(fd[1], label);
}

/*
 * What is written.  An eventfd adds them up: a second RING does not fit, and
 * what is not RING alone has PLAIN in it.  In a pipe each is eight bytes, or
 * nothing if it is full.
 */
#define PLAIN	UINT64_C(1)
#define RING	(UINT64_C(1) << 63)

/* 1 if the descriptor is readable now: also if it is full. */
static int make_readable(int fd, uint64_t what)
{
	ssize_t ret;

	do {
		ret = write(fd, &what, sizeof(what));
	} while (ret < 0 && errno == EINTR);
	/* Not a descriptor of ours. */
	if (ret >= 0 && ret != sizeof(what))
		errno = EIO;

	return ret == sizeof(what) || errno == EAGAIN;
}

/* The same with RING, by a poster that has to come to an end. */
static int make_ring(int fd)
{
	static const uint64_t what = RING;
	ssize_t ret;

	do {
		ret = iv_sys_write(fd, &what, sizeof(what));
	} while (ret < 0 && errno == EINTR);

	return ret == sizeof(what) || (ret < 0 && errno == EAGAIN);
}

/* What has been read: */
#define SOMETHING	1
#define A_PLAIN		2

static int kinds_of(const uint64_t *buf, size_t len, size_t size)
{
	size_t i;

	/* What did not fit may have been PLAIN. */
	if (len == size || len % sizeof(*buf))
		return SOMETHING | A_PLAIN;
	for (i = 0; i < len / sizeof(*buf); i++) {
		if (buf[i] != RING)
			return SOMETHING | A_PLAIN;
	}

	return SOMETHING;
}

/*
 * Read until there is nothing; 0 if there was nothing from the start.  A read
 * empties an eventfd.  One that fills the buffer may have left some of what a
 * pipe holds, but not for ever, whoever goes on to write.
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
	/* The last touch of *this, which the handler may free. */
	this->handler(this->cookie);
}

static void ring_here(const struct iv_event_raw *this)
{
	if (!iv_fd_is_lost(&this->event_rfd))
		(void)make_readable(this->event_wfd, RING);
}

void iv_event_raw_go_on(struct iv_state *st)
{
	/* Now: a signal handler that forks in here has yet to be noticed. */
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
	/* In this order: a bit that is set later has a wakeup of its own. */
	if ((at.bell != NULL && iv_board_take_bit(at)) || (drained & A_PLAIN))
		call_handler(this);
	else
		iv_self->stats.spurious++;
}

/* A child that has closed what it inherited gets another one, of its own. */
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

/* Let the calling thread's loop watch the descriptor. */
static int watch(struct iv_event_raw *this)
{
	this->event_rfd.cookie = this;
	this->event_rfd.handler_in = got_event;
	this->event_rfd.handler_err = got_error;

	return iv_fd_register_own(&this->event_rfd);
}

static int open_and_watch(struct iv_event_raw *this, int fd[2])
{
	int err;

	/* What the private members hold so far means nothing. */
	close_to_posts(this);
	IV_FD_INIT(&this->event_rfd);

	if (pair_open(fd) < 0)
		return -1;
	this->event_rfd.fd = fd[0];
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

/* One that was prepared, and not adopted here, has the board alone. */
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
}


/* Will the loop look, or has it been rung for? */
static int will_look(const struct iv_board *bell)
{
	iv_step();
	return !(atomic_load(&bell->state) &
		 (IV_BOARD_ASLEEP | IV_BOARD_FOREIGN));
}

static unsigned long life_of(const struct iv_board *bell)
{
	/* Relaxed: it is another one only if the loop has long ended. */
	return atomic_load_explicit(&bell->flags, memory_order_relaxed) /
	       IV_BOARD_LIFE;
}

/* A write that makes the loop look, and then the word that it was made. */
static void ring(struct iv_board *bell, int fd, unsigned long state)
{
	unsigned long rung;

	if (!make_ring(fd))
		return;
	iv_step();
	/* Release: who sees RUNG may rely on the write. */
	rung = (state & ~IV_BOARD_MODE) | IV_BOARD_RUNG;
	(void)atomic_compare_exchange_strong_explicit(&bell->state, &state,
						      rung,
						      memory_order_release,
						      memory_order_relaxed);
}

/*
 * The bit is set, and the loop does not look, or did not when we looked.  All
 * is read anew now that the descriptor stays open.
 */
static void write_if_need_be(struct iv_place at, unsigned long life, int fd)
{
	struct iv_board *bell = at.bell;
	unsigned long state = atomic_load(&bell->state);

	iv_step();
	/* The board has another owner, who has nothing to do with us. */
	if (life_of(bell) != life || iv_board_is_closed(at))
		return;

	if (state & IV_BOARD_FOREIGN) {
		/* Whoever drains it takes the bit; if that is done, all is. */
		if (is_set(at))
			(void)make_ring(fd);
	} else if (state & IV_BOARD_ASLEEP) {
		/* Of a stale copy, which would ring where nobody listens. */
		if (!is_gone(at))
			ring(bell, fd, state);
	}
}

/* fd < 0: the one that wakes the loop. */
static __attribute__((noinline)) void
post_by_write(struct iv_place at, unsigned long life, int fd)
{
	struct iv_board_own *own;
	int saved_errno = errno;
	int state, type;

	/*
	 * Deferred first: glibc may act, at any time, on an asynchronous
	 * cancellation that was on its way when it was disabled.
	 */
	(void)pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	state = iv_cancel_disable();
	own = iv_board_begin_write(at.bell);
	iv_step();
	if (fd < 0)
		fd = atomic_load(&own->fd);
	write_if_need_be(at, life, fd);
	iv_board_end_write(own);
	iv_cancel_restore(state);
	(void)pthread_setcanceltype(type, &type);
	errno = saved_errno;
}

/* Nobody looks but at the descriptor. */
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

static int joins(struct iv_place at)
{
	/* Relaxed: the look that counts comes after the fence. */
	if (!((atomic_load_explicit(at.word, memory_order_relaxed) >>
	       at.bit) & 1))
		return 0;
	/*
	 * Fence A.  The caller's stores come before our look at the bit.
	 * Partner: iv_board_take_bit().
	 */
	iv_full_fence();

	/* In this order: who says ASLEEP later sees a bit that is set now. */
	return is_set(at) && will_look(at.bell);
}

/* All that a post to a loop that is awake runs is in few lines of the cache. */
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
	if (joins(at)) {
		IV_PROBE_RAW_SKIPPED(this);
		return;
	}

	life = life_of(at.bell);
	iv_step();
	/*
	 * From here on, *this may be gone.  Partners: fence B in iv_board.c,
	 * and iv_board_make_foreign().
	 */
	atomic_fetch_or(at.word, iv_place_mask(at));
	iv_step();
	b = iv_place_board(at);
	if (b != at.bell)
		atomic_fetch_or(&at.bell->hints, b->hint);
	if (will_look(at.bell)) {
		IV_PROBE_RAW_SKIPPED(this);
		return;
	}
	iv_step();
	post_by_write(at, life, fd);
	IV_PROBE_RAW_WRITTEN(this);
}


/*
 * The wakeup of a loop's iv_events has a bit of its own on the bell, and
 * posters that know the bell alone: *this and the loop may be gone.
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
	unsigned long life = life_of(bell);

	/* It looks at the stack of events, which no forked loop shares. */
	if (!(atomic_load(&bell->state) & IV_BOARD_MODE))
		return;
	iv_step();

	/*
	 * RUNG alone does not do: a forked loop may drain what was written, and
	 * goes by the bits.
	 */
	atomic_fetch_or(at.word, iv_place_mask(at));
	if (!will_look(bell))
		post_by_write(at, life, -1);
}


/*
 * An object that is known to a process and its children before there is a loop
 * for it.  Its board, which it has alone, says AWAKE: who adopts it looks.
 */
int iv_event_raw_prepare(struct iv_event_raw *this)
{
	int saved_errno = errno;
	int fd[2];

	if (iv_main_init_process() < 0)
		return -1;
	close_to_posts(this);
	IV_FD_INIT(&this->event_rfd);
	if (pair_open(fd) < 0)
		return -1;
	this->event_rfd.fd = fd[0];
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

	/* Another loop has it, or had: as if that had been forked. */
	iv_board_make_foreign(at.bell);
	if (is_set(at))
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
 * Beyond fork.  The poster has a descriptor and nothing else: no word, and no
 * reading end of the pipe that would keep SIGPIPE away.
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

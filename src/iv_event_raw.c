/*
 * libivykis: a call made in the loop that registered it, on behalf of any
 * thread, any signal handler and any process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A post makes a descriptor readable; the loop drains the descriptor and calls
 * the handler.  While a post is on its way, more of them would say nothing
 * new, and a word that all posters share, forked ones too, lets them see that
 * without a system call.  It holds a bit `posted', the number of loops that
 * are draining the descriptor, and above them an epoch.
 *
 *	post:	w = word; posted: fence A, w = word; still posted: return
 *		make the descriptor readable
 *		if that was us, and no loop drains: posted, if word is still w
 *
 *	loop:	next epoch, not posted, one loop more drains
 *		fence B
 *		drain the descriptor
 *		one loop less drains
 *		handler(cookie), if there was something
 *
 * Nothing is lost: a post that returns early has seen `posted' of an epoch
 * that the loop had yet to end; of the two fences A then comes first, and the
 * handler that follows B sees what the poster had stored before A.
 *
 * Nothing gets stuck: `posted' is set only after the descriptor was made
 * readable, in the same epoch and with no loop about to take that away.  So
 * wherever a poster is killed or stopped, the loop has something to drain or
 * the next post writes.  A loop that is killed while it drains, of a parent or
 * of a child that runs its copy, leaves a word of which nobody says `posted'
 * any more: each post writes, and who is left hears it.
 *
 * Where words come from is told in iv_word.c.  An object that gets none works
 * without: each of its posts writes.  Nothing read from a word steers more than
 * whether a post writes.
 *
 * For the rest, this file stands on the public calls of iv_fd alone.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#if __has_include(<sys/eventfd.h>)
#include <sys/eventfd.h>
#endif
#include "iv_private.h"
#include "iv_probe.h"

_Static_assert(ATOMIC_LONG_LOCK_FREE == 2,
	       "the word is used in signal handlers and between processes");


/*
 * The word, kept in the last private word of iv_fd.
 */
#define POSTED		1UL
#define DRAINER		2UL
#define DRAINERS	(127 * DRAINER)
#define EPOCH		(128 * DRAINER)

/* How often a post looks whether a drain has ended. */
#define LOOKS		32

static atomic_ulong *word_of(const struct iv_event_raw *this)
{
	return this->event_rfd.pad[10];
}

/*
 * Gives what word_drained() is to take back.  Loops that were killed here do
 * not: who fills the number leaves it full, and so it stays.
 */
static unsigned long word_draining(atomic_ulong *word)
{
	unsigned long add;
	unsigned long w;

	if (word == NULL)
		return 0;

	w = atomic_load_explicit(word, memory_order_relaxed);
	do {
		add = (w & DRAINERS) < DRAINERS ? DRAINER : 0;
	} while (!atomic_compare_exchange_weak_explicit(word, &w,
					(w & ~POSTED) + EPOCH + add,
					memory_order_relaxed,
					memory_order_relaxed));
	/*
	 * Fence B.  The end of the epoch comes before the handler's loads.
	 * Partner: fence A in is_posted().
	 */
	iv_full_fence();

	return (w & DRAINERS) < DRAINERS - DRAINER ? DRAINER : 0;
}

static void word_drained(atomic_ulong *word, unsigned long drainer)
{
	/* Release: a poster that sees us gone finds the descriptor drained. */
	if (word != NULL)
		atomic_fetch_sub_explicit(word, drainer, memory_order_release);
}


/*
 * Descriptors.  One eventfd is both ends; a pipe stands in where there is
 * none.  Which of the two is a property of the object: with an eventfd,
 * event_wfd and event_rfd.fd are the same.
 */
static int pair_open(int fd[2])
{
#ifdef EFD_NONBLOCK
	fd[0] = fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd[0] >= 0)
		return 0;
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return -1;
#endif
	return pipe2(fd, O_CLOEXEC | O_NONBLOCK);
}

static void pair_close(const int fd[2])
{
	(void)close(fd[0]);
	if (fd[1] != fd[0])
		(void)close(fd[1]);
}

/*
 * Read until there is nothing; 0 if there was nothing from the start.  A read
 * empties an eventfd; a read that fills the buffer may have left some of what
 * a pipe holds, but not for ever: posters skip once they see `posted', and the
 * bound holds off those of an object that has no word.
 */
static int drain(int fd)
{
	uint64_t buf[128];
	ssize_t ret;
	int drained = 0;
	int i;

	for (i = 0; i < 64; i++) {
		do {
			ret = read(fd, buf, sizeof(buf));
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

		drained = 1;
		if (ret < (ssize_t)sizeof(buf))
			break;
	}

	return drained;
}

/* 1 if we made the descriptor readable.  Full: it is readable already. */
static int make_readable(int fd)
{
	/* An eventfd counts it; in a pipe it is eight bytes or none. */
	static const uint64_t one = 1;
	ssize_t ret;

	do {
		ret = write(fd, &one, sizeof(one));
	} while (ret < 0 && errno == EINTR);

	return ret == sizeof(one);
}


static void got_event(void *_this)
{
	struct iv_event_raw *this = _this;
	atomic_ulong *word = word_of(this);
	unsigned long drainer = word_draining(word);
	int drained = drain(this->event_rfd.fd);

	word_drained(word, drainer);
	iv_stats_raw(drained);
	if (!drained)
		return;

	if (this->handler == NULL)
		iv_fatal("iv_event_raw: %p was posted and has no handler: set "
			 "handler before a post", (void *)this);
	IV_PROBE_RAW_DELIVERED(this);
	/* The last touch of *this, which the handler may free. */
	this->handler(this->cookie);
}

int iv_event_raw_register(struct iv_event_raw *this)
{
	int saved_errno = errno;
	int fd[2];

	(void)iv_state_for("iv_event_raw_register");

	/* What the private members hold so far means nothing. */
	IV_EVENT_RAW_INIT(this);
	IV_FD_INIT(&this->event_rfd);

	if (pair_open(fd) < 0)
		return -1;

	this->event_rfd.fd = fd[0];
	this->event_rfd.cookie = this;
	this->event_rfd.handler_in = got_event;
	if (iv_fd_register_try(&this->event_rfd) < 0) {
		saved_errno = errno;
		pair_close(fd);
		errno = saved_errno;
		return -1;
	}

	this->event_rfd.pad[10] = iv_word_get();
	/* From here a signal handler that interrupts us posts. */
	atomic_signal_fence(memory_order_seq_cst);
	this->event_wfd = fd[1];
	errno = saved_errno;

	return 0;
}

void iv_event_raw_unregister(struct iv_event_raw *this)
{
	const int fd[2] = { this->event_rfd.fd, this->event_wfd };
	atomic_ulong *word = word_of(this);

	if (this->event_wfd < 0)
		iv_fatal("iv_event_raw_unregister: %p is not registered, or "
			 "was unregistered already", (void *)this);
	iv_fd_unregister(&this->event_rfd);

	/* From here a signal handler that interrupts us posts nothing. */
	IV_EVENT_RAW_INIT(this);
	atomic_signal_fence(memory_order_seq_cst);

	if (word != NULL)
		iv_word_put(word);
	pair_close(fd);
}

static void post_by_write(const struct iv_event_raw *this, atomic_ulong *word,
			  unsigned long w)
{
	int saved_errno = errno;

	/*
	 * From the write on, *this may be gone.  The kernel's lock on the
	 * descriptor orders the write before whatever drains it, and that is
	 * after the loop said so in the word, which then is not w any more.
	 */
	if (make_readable(this->event_wfd) && word != NULL && !(w & DRAINERS))
		(void)atomic_compare_exchange_strong_explicit(word, &w,
							w | POSTED,
							memory_order_relaxed,
							memory_order_relaxed);
	IV_PROBE_RAW_WRITTEN(this);
	errno = saved_errno;
}

/*
 * A drain takes as long as a system call, and who writes meanwhile gets in its
 * way and is not even able to say `posted': look again a few times.  Not until
 * it ends: the loop may be what we have interrupted, or killed.
 */
static unsigned long look_again(atomic_ulong *word)
{
	unsigned long w = atomic_load_explicit(word, memory_order_relaxed);
	int i;

	for (i = 0; (w & DRAINERS) && i < LOOKS; i++) {
		iv_pause();
		w = atomic_load_explicit(word, memory_order_relaxed);
	}

	return w;
}

static int is_posted(atomic_ulong *word)
{
	if (!(atomic_load_explicit(word, memory_order_relaxed) & POSTED))
		return 0;
	/*
	 * Fence A.  The caller's stores come before our look at the word, the
	 * one that counts.  Partner: fence B in word_draining().
	 */
	iv_full_fence();

	return atomic_load_explicit(word, memory_order_relaxed) & POSTED;
}

/* Apart, so that a post that returns early needs no frame. */
__attribute__((noinline))
static void post_slowly(const struct iv_event_raw *this, atomic_ulong *word)
{
	unsigned long w = 0;

	if (word != NULL) {
		w = look_again(word);
		if (is_posted(word)) {
			IV_PROBE_RAW_SKIPPED(this);
			return;
		}
	}

	if (this->event_wfd >= 0)
		post_by_write(this, word, w);
}

/* All that a skipped post runs is in one line of the cache, or it takes longer. */
__attribute__((aligned(64)))
void iv_event_raw_post(const struct iv_event_raw *this)
{
	atomic_ulong *word = word_of(this);

	if (word != NULL && is_posted(word)) {
		IV_PROBE_RAW_SKIPPED(this);
		return;
	}
	post_slowly(this, word);
}


/*
 * Beyond fork.  The poster has a descriptor and nothing else: no word, and no
 * reading end of the pipe that would keep SIGPIPE away.
 */
int iv_event_raw_export(const struct iv_event_raw *this)
{
	return fcntl(this->event_wfd, F_DUPFD_CLOEXEC, 0);
}

/*
 * Take our SIGPIPE back.  If one waited for the thread before, ours was none
 * besides: put it back; one that waits for the process still does.
 */
static void take_sigpipe(const sigset_t *sigpipe, int waited)
{
	static const struct timespec at_once;
	sigset_t pending;

	/* Linux interrupts no wait that takes no time: GCOVR_EXCL_BR_START */
	while (sigtimedwait(sigpipe, NULL, &at_once) < 0 && errno == EINTR)
		;
	/* GCOVR_EXCL_BR_STOP */
	(void)sigpending(&pending);
	if (waited && !sigismember(&pending, SIGPIPE))
		(void)raise(SIGPIPE);
}

int iv_event_raw_post_fd(int fd)
{
	sigset_t sigpipe, pending, mask;
	int saved_errno = errno;
	int ret;

	(void)sigemptyset(&sigpipe);
	(void)sigaddset(&sigpipe, SIGPIPE);
	(void)sigpending(&pending);
	(void)pthread_sigmask(SIG_BLOCK, &sigpipe, &mask);

	ret = make_readable(fd) || errno == EAGAIN ? 0 : -1;
	if (ret < 0 && errno == EPIPE) {
		take_sigpipe(&sigpipe, sigismember(&pending, SIGPIPE));
		errno = EPIPE;
	}

	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (ret == 0)
		errno = saved_errno;

	return ret;
}

/*
 * libivykis: a call made in the loop that registered it, on behalf of any
 * thread, any signal handler and any process.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A post makes a descriptor readable; the loop drains the descriptor and calls
 * the handler.  While a post is on its way, more of them would say nothing
 * new, and a word that all posters share, forked ones too, lets them see that
 * without a system call:
 *
 *	word = epoch * 2 + posted
 *
 *	post:	fence A
 *		w = word; posted: return
 *		make the descriptor readable
 *		if that was us: word = w + 1, unless it is w no longer
 *
 *	loop:	drain the descriptor; nothing there: return
 *		word = next epoch, not posted
 *		fence B
 *		handler(cookie)
 *
 * Nothing is lost: a post that returns early has seen `posted' of an epoch
 * that the loop had yet to end; of the two fences A then comes first, and the
 * handler that follows B sees what the poster had stored before A.
 *
 * Nothing gets stuck: `posted' is set after the descriptor was made readable
 * and within the same epoch, so wherever a poster is killed or stopped, either
 * the loop has something to drain or the next post writes.
 *
 * The words stand in pages of shared memory that children inherit.  A word is
 * handed out once and never again, so that a stale copy of an object, in
 * whatever process, cannot meet another owner's word.  An object that gets no
 * word works without: each of its posts writes.  Nothing read from a word
 * steers more than whether a post writes.
 *
 * This file stands on the public calls of iv_fd and iv_tls alone.
 */

#include <fcntl.h>
#include <iv_event_raw.h>
#include <iv_tls.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if __has_include(<sys/eventfd.h>)
#include <sys/eventfd.h>
#endif

_Static_assert(ATOMIC_LONG_LOCK_FREE == 2,
	       "the word is used in signal handlers and between processes");


/*
 * Words.  A page of them is a private one, which holds the accounts, followed
 * by a shared one, one cache line a word.  It serves the thread that mapped it
 * and goes when that has another, or ends, and the last word is returned.  The
 * kernel wipes the accounts in a forked child: there `ours' is 0.
 */
struct line {
	_Alignas(64) atomic_ulong	word;
};

struct page {
	int		ours;
	unsigned int	used;		/* words handed out, ever */
	unsigned int	refs;		/* the words' and the thread's */
};

struct words {
	struct page	*page;
	int		ended;		/* the thread shuts down */
};

/* Not posted, and never to be: each post writes. */
#define WORD_GIVEN_UP	(~1UL)

static size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static struct line *page_lines(struct page *p)
{
	return (struct line *)((char *)p + page_size());
}

static struct page *page_of(atomic_ulong *word)
{
	return (struct page *)(((uintptr_t)word & -page_size()) - page_size());
}

static struct page *page_map(void)
{
	const size_t size = page_size();
	const int prot = PROT_READ | PROT_WRITE;
	struct page *p;

	p = mmap(NULL, 2 * size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;

	if (madvise(p, size, MADV_WIPEONFORK) < 0 ||
	    mmap(page_lines(p), size, prot,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		(void)munmap(p, 2 * size);
		return NULL;
	}
	p->ours = 1;
	p->refs = 1;

	return p;
}

static void page_put(struct page *p)
{
	if (p != NULL && p->ours && --p->refs == 0)
		(void)munmap(p, 2 * page_size());
}

static void words_end(void *_words)
{
	struct words *words = _words;

	page_put(words->page);
	words->page = NULL;
	words->ended = 1;
}

static struct iv_tls_user words_user = {
	.sizeof_state	= sizeof(struct words),
	.deinit_thread	= words_end,
};

/* Early: a program's own constructors may call iv_init(). */
__attribute__((constructor(101)))
static void words_constructor(void)
{
	iv_tls_user_register(&words_user);
}

static atomic_ulong *word_grab(void)
{
	struct words *words = iv_tls_user_ptr(&words_user);
	struct page *p = words->page;

	if (words->ended)
		return NULL;

	if (p == NULL || !p->ours ||
	    p->used == page_size() / sizeof(struct line)) {
		struct page *fresh = page_map();

		if (fresh == NULL)
			return NULL;
		page_put(p);
		p = words->page = fresh;
	}
	p->refs++;

	return &page_lines(p)[p->used++].word;
}

static void word_return(atomic_ulong *word)
{
	if (word != NULL)
		page_put(page_of(word));
}

/* The word's address is kept in the last private word of iv_fd. */
static void word_set(struct iv_event_raw *this, atomic_ulong *word)
{
	this->event_rfd.pad[10] = word;
}

static atomic_ulong *word_of(const struct iv_event_raw *this)
{
	return this->event_rfd.pad[10];
}

/*
 * The loop is about to drain the descriptor.  If that is a child's copy of the
 * loop, the word is given up: a child that is killed when it has drained and
 * not yet ended the epoch would silence the parent's posts for ever.
 */
static void word_draining(atomic_ulong *word)
{
	if (word != NULL && !page_of(word)->ours)
		atomic_store_explicit(word, WORD_GIVEN_UP,
				      memory_order_seq_cst);
}

/* The loop has drained the descriptor. */
static void word_drained(atomic_ulong *word)
{
	unsigned long w;

	if (word == NULL)
		return;

	/* One step to the next epoch, as a child may give the word up. */
	w = atomic_load_explicit(word, memory_order_relaxed);
	while (w != WORD_GIVEN_UP &&
	       !atomic_compare_exchange_weak_explicit(word, &w, (w | 1) + 1,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;

	/*
	 * Fence B.  The end of the epoch comes before the handler's loads.
	 * Partner: fence A in iv_event_raw_post(), whose caller's stores come
	 * before its look at the word.
	 */
	atomic_thread_fence(memory_order_seq_cst);
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
	uint64_t buf[512];
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
				 "(errno %d)", fd, strerror(errno), errno);
		if (ret == 0)
			iv_fatal("iv_event_raw: end of file on descriptor %d",
				 fd);

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

	word_draining(word_of(this));
	if (!drain(this->event_rfd.fd))
		return;
	word_drained(word_of(this));

	if (this->handler == NULL)
		iv_fatal("iv_event_raw: %p was posted and has no handler",
			 (void *)this);
	/* The last touch of *this, which the handler may free. */
	this->handler(this->cookie);
}

int iv_event_raw_register(struct iv_event_raw *this)
{
	int saved_errno = errno;
	int fd[2];

	if (!iv_inited())
		iv_fatal("iv_event_raw_register: this thread has no loop");

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

	word_set(this, word_grab());
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
		iv_fatal("iv_event_raw_unregister: %p is not registered",
			 (void *)this);
	iv_fd_unregister(&this->event_rfd);

	/* From here a signal handler that interrupts us posts nothing. */
	IV_EVENT_RAW_INIT(this);
	atomic_signal_fence(memory_order_seq_cst);

	word_return(word);
	pair_close(fd);
}

/* Apart, so that a post that returns early saves no registers. */
__attribute__((noinline))
static void post_by_write(const struct iv_event_raw *this, atomic_ulong *word,
			  unsigned long w)
{
	int saved_errno = errno;

	/*
	 * The kernel's lock on the descriptor orders the write, what we do
	 * after it, the read that drains it, and what the loop does after that.
	 * Should the loop come first, the word is not w any more.
	 */
	if (make_readable(this->event_wfd) && word != NULL &&
	    w != WORD_GIVEN_UP)
		(void)atomic_compare_exchange_strong_explicit(word, &w, w + 1,
							memory_order_relaxed,
							memory_order_relaxed);
	errno = saved_errno;
}

void iv_event_raw_post(const struct iv_event_raw *this)
{
	atomic_ulong *word = word_of(this);
	unsigned long w = 0;

	if (word != NULL) {
		/*
		 * Fence A.  The caller's stores come before our look at the
		 * word.  Partner: fence B in word_drained().
		 */
		atomic_thread_fence(memory_order_seq_cst);
		w = atomic_load_explicit(word, memory_order_relaxed);
		if (w & 1)
			return;
	}

	if (this->event_wfd >= 0)
		post_by_write(this, word, w);
}


/*
 * Beyond fork.  The poster has a descriptor and nothing else: no word, and no
 * reading end of the pipe that would keep SIGPIPE away.
 */
int iv_event_raw_export(const struct iv_event_raw *this)
{
	return fcntl(this->event_wfd, F_DUPFD_CLOEXEC, 0);
}

int iv_event_raw_post_fd(int fd)
{
	static const struct timespec at_once;
	sigset_t sigpipe, pending, mask;
	int saved_errno = errno;
	int ret;

	(void)sigemptyset(&sigpipe);
	(void)sigaddset(&sigpipe, SIGPIPE);
	(void)sigpending(&pending);
	(void)pthread_sigmask(SIG_BLOCK, &sigpipe, &mask);

	ret = make_readable(fd) || errno == EAGAIN ? 0 : -1;
	/* Our own SIGPIPE is taken back; one that waited before is not ours. */
	if (ret < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE)) {
		while (sigtimedwait(&sigpipe, NULL, &at_once) < 0 &&
		       errno == EINTR)
			;
		errno = EPIPE;
	}

	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (ret == 0)
		errno = saved_errno;

	return ret;
}

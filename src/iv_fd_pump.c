/*
 * libivykis: moving bytes from one descriptor to another.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes come out in order, each once, whatever kinds of descriptor are at the
 * two ends.  The pump asks for input only if it has room for it, and for
 * output only if it holds bytes; while it holds none it has no buffer.
 *
 * A buffer is a pipe, which splice(2) fills and empties without copying, or
 * memory for read(2) and write(2).  Which of the two is a property of the
 * buffer: if a pipe cannot be opened this buffer is memory, and the next one
 * is tried as a pipe again.  When splice(2) does not support one of the
 * descriptors the pump moves what its pipe holds into memory, and copies from
 * then on.  Each thread keeps empty pipes in a cache for the next pump.
 *
 * After fork a child shares its parent's pipes.  Two processes that took the
 * same one from their caches would mix their bytes, so a process takes only
 * pipes that it opened itself.
 */

#include <fcntl.h>
#include <iv_fd_pump.h>
#include <iv_tls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "iv_cancel.h"
#include "iv_private.h"

_Static_assert(sizeof(struct iv_fd_pump) == (sizeof(void *) == 8 ? 56 : 36),
	       "programs contain struct iv_fd_pump");
_Static_assert(offsetof(struct iv_fd_pump, buf) ==
	       (sizeof(void *) == 8 ? 32 : 20),
	       "the members that programs set are before it");

/* Bytes in memory; there may be more if they come from a pipe. */
#define MEMORY_SIZE	4096

/* More than a pipe holds, unless a program has enlarged ours. */
#define SPLICE_MAX	(1 << 20)

#define CACHE_SIZE	20

enum state {
	UNUSED,				/* zero */
	OPEN,
	SAW_EOF,
	SAW_ERROR,			/* what is held is written out first */
	DONE,
	FAILED,
};


/*
 * Buffers.  One that is a pipe has no memory.  A pipe may be full with few
 * bytes in it, as it has room for a number of pieces.
 */
struct buffer {
	int		fd[2];		/* -1: memory */
	unsigned int	generation;	/* of the process that made it */
	unsigned int	label;		/* of both ends */
	int		bytes;
	int		full;
	int		start;		/* of the bytes in memory */
	char		memory[];
};

struct cache {
	struct buffer	*pipes[CACHE_SIZE];
	int		num;
	int		ended;		/* the loop is being torn down */
};

static int is_pipe(const struct buffer *b)
{
	return b->fd[0] >= 0;
}

static void buffer_free(struct buffer *b)
{
	if (is_pipe(b)) {
		iv_process_close(b->fd[0], b->label);
		iv_process_close(b->fd[1], b->label);
	}
	free(b);
}

static void cache_end(void *_cache)
{
	struct cache *cache = _cache;

	while (cache->num > 0)
		buffer_free(cache->pipes[--cache->num]);
	cache->ended = 1;
}

static struct iv_tls_user cache_user = {
	.sizeof_state	= sizeof(struct cache),
	.deinit_thread	= cache_end,
};

/* Early: a program's own constructors may call iv_init(). */
__attribute__((constructor(101)))
static void cache_constructor(void)
{
	iv_tls_user_register(&cache_user);
}

static struct buffer *pipe_from_cache(void)
{
	struct cache *cache = iv_tls_user_ptr(&cache_user);

	while (cache->num > 0) {
		struct buffer *b = cache->pipes[--cache->num];

		if (b->generation == iv_process_generation())
			return b;
		buffer_free(b);
	}

	return NULL;
}

static struct buffer *buffer_new(size_t room)
{
	struct buffer *b = malloc(sizeof(*b) + room);

	if (b == NULL)
		return NULL;
	*b = (struct buffer){
		.fd		= { -1, -1 },
		.generation	= iv_process_generation(),
	};

	return b;
}

static struct buffer *pipe_new(void)
{
	struct buffer *b = buffer_new(0);

	if (b == NULL)
		return NULL;
	if (iv_sys_pipe(b->fd, O_NONBLOCK) < 0) {
		free(b);
		return NULL;
	}
	b->fd[0] = iv_process_move_fd(b->fd[0]);
	b->fd[1] = iv_process_move_fd(b->fd[1]);
	(void)iv_process_label_fd(b->fd[0]);
	b->label = iv_process_label_fd(b->fd[1]);

	return b;
}

static struct buffer *pipe_get(void)
{
	struct buffer *b = pipe_from_cache();

	return b != NULL ? b : pipe_new();
}

static void buffer_put(struct buffer *b)
{
	struct cache *cache = iv_tls_user_ptr(&cache_user);

	if (is_pipe(b) && b->bytes == 0 && !cache->ended &&
	    cache->num < CACHE_SIZE)
		cache->pipes[cache->num++] = b;
	else
		buffer_free(b);
}


/* One operation each; like read(2) and write(2), but repeated after EINTR. */
static ssize_t do_splice(int from, int to, size_t len)
{
	ssize_t ret;

	do {
		ret = iv_sys_splice(from, to, len);
	} while (ret < 0 && errno == EINTR);

	return ret;
}

static ssize_t do_read(int fd, void *buf, size_t len)
{
	ssize_t ret;

	do {
		ret = read(fd, buf, len);
	} while (ret < 0 && errno == EINTR);

	return ret;
}

static ssize_t do_write(int fd, const void *buf, size_t len)
{
	ssize_t ret;

	do {
		ret = write(fd, buf, len);
	} while (ret < 0 && errno == EINTR);

	return ret;
}

/*
 * The kind of file does not have it, the file was opened with O_APPEND, or the
 * kernel or a container does not allow it.  If the error means something else,
 * read(2) or write(2) will fail, too.
 */
static int splice_is_unsupported(int err)
{
	return err == EINVAL || err == ENOSYS || err == EPERM;
}

/* EAGAIN means "no room in the pipe" or "no input"; the pipe knows which. */
static int pipe_is_full(const struct buffer *b)
{
	struct pollfd pfd = { .fd = b->fd[1], .events = POLLOUT };

	return poll(&pfd, 1, 0) == 0;
}

static ssize_t buffer_input(struct buffer *b, int fd)
{
	ssize_t ret;

	if (is_pipe(b)) {
		ret = do_splice(fd, b->fd[1], SPLICE_MAX);
		if (ret < 0 && errno == EAGAIN && b->bytes > 0) {
			b->full = pipe_is_full(b);
			errno = EAGAIN;
		}
	} else {
		memmove(b->memory, b->memory + b->start, b->bytes);
		b->start = 0;
		ret = do_read(fd, b->memory + b->bytes,
			      MEMORY_SIZE - b->bytes);
	}

	if (ret > 0)
		b->bytes += ret;
	if (!is_pipe(b))
		b->full = b->bytes >= MEMORY_SIZE;

	return ret;
}

static ssize_t buffer_output(struct buffer *b, int fd)
{
	ssize_t ret;

	if (is_pipe(b))
		ret = do_splice(b->fd[0], fd, b->bytes);
	else
		ret = do_write(fd, b->memory + b->start, b->bytes);
	if (ret <= 0)
		return ret;

	b->bytes -= ret;
	if (is_pipe(b)) {
		/* If only part of a piece was taken there is no new room. */
		b->full = b->full && b->bytes > 0 && pipe_is_full(b);
	} else {
		b->start += ret;
		b->full = b->bytes >= MEMORY_SIZE;
	}

	return ret;
}

/* Move a pipe's bytes to memory; NULL with errno, and some may be lost. */
static struct buffer *memory_from_pipe(struct buffer *pipe)
{
	const int bytes = pipe->bytes;
	struct buffer *b;

	b = buffer_new(bytes > MEMORY_SIZE ? bytes : MEMORY_SIZE);
	if (b == NULL)
		return NULL;

	while (b->bytes < bytes) {
		ssize_t ret = do_read(pipe->fd[0], b->memory + b->bytes,
				      bytes - b->bytes);

		if (ret <= 0) {
			int saved_errno = errno;

			buffer_free(b);
			errno = saved_errno;
			return NULL;
		}
		b->bytes += ret;
	}
	b->full = b->bytes >= MEMORY_SIZE;
	pipe->bytes = 0;

	return b;
}


/* The pump. */
static int bytes_left(const struct iv_fd_pump *p)
{
	const struct buffer *b = p->buf;

	return b != NULL ? b->bytes : 0;
}

static int is_full(const struct iv_fd_pump *p)
{
	const struct buffer *b = p->buf;

	return b != NULL && b->full;
}

/* From here on, functions return -1 with errno for what ends the pump. */
static int get_buffer(struct iv_fd_pump *p)
{
	if (p->buf == NULL && !p->copies && iv_sys_can_splice())
		p->buf = pipe_get();
	/* There may be no descriptor left; memory will do. */
	if (p->buf == NULL)
		p->buf = buffer_new(MEMORY_SIZE);

	return p->buf != NULL ? 0 : -1;
}

static void put_buffer(struct iv_fd_pump *p)
{
	if (p->buf != NULL)
		buffer_put(p->buf);
	p->buf = NULL;
}

static int copy_from_now_on(struct iv_fd_pump *p)
{
	struct buffer *b = memory_from_pipe(p->buf);

	if (b == NULL)
		return -1;
	put_buffer(p);
	p->buf = b;
	p->copies = 1;

	return 0;
}

/* 1: try again with another kind of buffer.  0: nothing can be moved now. */
static int transfer_failed(struct iv_fd_pump *p)
{
	if (errno == EAGAIN)
		return 0;
	if (!is_pipe(p->buf) || !splice_is_unsupported(errno))
		return -1;

	return copy_from_now_on(p) < 0 ? -1 : 1;
}

static int try_input(struct iv_fd_pump *p)
{
	ssize_t ret;
	int again = 0;

	if (get_buffer(p) < 0)
		return -1;

	do {
		/* The bytes that were moved to memory may have filled it. */
		if (is_full(p))
			return 0;
		ret = buffer_input(p->buf, p->from_fd);
		if (ret < 0)
			again = transfer_failed(p);
	} while (ret < 0 && again > 0);

	/* cppcheck-suppress uninitvar; the loop runs once */
	if (ret == 0)
		p->state = SAW_EOF;

	return ret < 0 ? again : 0;
}

/* The program learns of an input error once the output has all bytes. */
static int input(struct iv_fd_pump *p)
{
	if (try_input(p) == 0)
		return 0;
	if (!bytes_left(p))
		return -1;

	p->error = errno;
	p->state = SAW_ERROR;

	return 0;
}

static int output(struct iv_fd_pump *p)
{
	ssize_t ret;
	int again = 0;

	do {
		ret = buffer_output(p->buf, p->to_fd);
		if (ret < 0)
			again = transfer_failed(p);
	} while (ret < 0 && again > 0);

	return ret < 0 ? again : 0;
}

static int transfer(struct iv_fd_pump *p)
{
	if (p->state == OPEN && !is_full(p) && input(p) < 0)
		return -1;
	if (bytes_left(p) && output(p) < 0)
		return -1;
	if (p->state == SAW_ERROR && !bytes_left(p)) {
		errno = p->error;
		return -1;
	}

	return 0;
}

/* A thread that was cancelled in here would lose count of the bytes. */
static int transfer_uncancelled(struct iv_fd_pump *p)
{
	int state = iv_cancel_disable();
	int ret = transfer(p);

	iv_cancel_restore(state);

	return ret;
}

static int failed(struct iv_fd_pump *p)
{
	p->error = errno;
	p->state = FAILED;
	put_buffer(p);
	errno = p->error;

	return -1;
}

static void done(struct iv_fd_pump *p)
{
	p->state = DONE;
	/* This fails for everything but sockets. */
	if (p->flags & IV_FD_PUMP_FLAG_RELAY_EOF)
		(void)shutdown(p->to_fd, SHUT_WR);
}

void iv_fd_pump_init(struct iv_fd_pump *p)
{
	(void)iv_state_for("iv_fd_pump_init");
	if (p->set_bands == NULL)
		iv_fatal("iv_fd_pump_init: %p has no set_bands: set it before",
			 (void *)p);

	p->buf = NULL;
	p->state = OPEN;
	p->copies = 0;
	p->error = 0;
	p->set_bands(p->cookie, 1, 0);
}

static void check_state(const struct iv_fd_pump *p, const char *call)
{
	(void)iv_state_for(call);
	if (p->state <= UNUSED || p->state > FAILED)
		iv_fatal("%s: %p is not initialised: call iv_fd_pump_init() "
			 "first", call, (const void *)p);
}

void iv_fd_pump_destroy(struct iv_fd_pump *p)
{
	int was_done = iv_fd_pump_is_done(p);

	check_state(p, "iv_fd_pump_destroy");

	put_buffer(p);
	p->state = UNUSED;
	if (!was_done)
		p->set_bands(p->cookie, 0, 0);
}

int iv_fd_pump_pump(struct iv_fd_pump *p)
{
	int more;

	check_state(p, "iv_fd_pump_pump");
	if (p->state == FAILED) {
		errno = p->error;
		return -1;
	}

	if (p->state != DONE && transfer_uncancelled(p) < 0)
		return failed(p);

	if (!bytes_left(p))
		put_buffer(p);
	if (p->state == SAW_EOF && !bytes_left(p))
		done(p);

	more = p->state != DONE;
	p->set_bands(p->cookie, p->state == OPEN && !is_full(p),
		     bytes_left(p) > 0);

	return more;
}

int iv_fd_pump_is_done(const struct iv_fd_pump *p)
{
	return p->state == DONE;
}

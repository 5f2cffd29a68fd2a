/*
 * libivykis: what iv_fd.c and the poll methods share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef IV_FD_PRIVATE_H
#define IV_FD_PRIVATE_H

#include "iv_private.h"

#pragma GCC visibility push(hidden)

/*
 * What a descriptor is watched for.  BAND_ERR alone is a descriptor whose
 * only handler is handler_err; with any other band it is implied.
 */
#define BAND_IN		1
#define BAND_OUT	2
#define BAND_ERR	4

struct iv_fd_ {
	int			fd;
	void			*cookie;
	void			(*handler_in)(void *);
	void			(*handler_out)(void *);
	void			(*handler_err)(void *);

	struct iv_list_head	all;
	struct iv_list_head	changed;
	struct iv_list_head	ready;
	struct iv_state		*owner;		/* NULL: not registered */
	int			index;		/* the poll method's own */
	uint8_t			wanted;		/* bands, by the handlers */
	uint8_t			told;		/* bands the kernel knows */
	uint8_t			reported;	/* bands to be served */
	uint8_t			again : 1;	/* the kernel accepted it once */
	uint8_t			label : 7;	/* 0: the user opened it */
};

/*
 * A poll method: one way to ask the kernel.  All calls are made in the loop's
 * thread.  Those that return int return 0, or -1 with errno and nothing
 * changed.
 *
 * init:    set up for a loop; ENOSYS, EPERM and EINVAL mean that the method is
 *          not available.
 * deinit:  release everything, without touching what a parent process uses.
 * reserve: make room for num descriptors, one of which has this number, so that
 *          no other call can fail for lack of memory.
 * tell:    tell the kernel what is wanted of a descriptor, and set `told'.
 *          Returns 1 if that is done but another object with the same number
 *          was told before, so that one's descriptor has been closed.  The
 *          kernel may answer only in the next wait, which then reports an error
 *          or ends the process.
 * tell_now: the same at once, for an object that has not been told; may do
 *          nothing if the next wait is certain to succeed in telling it.
 * settle:  make the kernel forget what is not wanted; NULL if tell() has.
 * probe:   fail for a descriptor that cannot be polled, although nothing is
 *          wanted of it; changes nothing.
 * wait:    wait until the given time (NULL: for ever, {0, 0}: not at all), and
 *          call iv_fd_report() for each descriptor that is ready.  May return
 *          early; rounds up if it cannot wait exactly.
 * forked:  in a child that was forked right before wait's system call, make
 *          that return at once with any result.  Called in signal handlers.
 *          NULL if it returns without this.
 * descriptor: the descriptor that is readable while a wait would report
 *          something, until deinit; NULL if there is none.  What was told takes
 *          effect at once, not only in the next wait.
 */
struct iv_fd_poll_method {
	const char	*name;
	int		(*init)(struct iv_state *st);
	void		(*deinit)(struct iv_state *st);
	int		(*reserve)(struct iv_state *st, unsigned int num,
				   int number);
	int		(*tell)(struct iv_state *st, struct iv_fd_ *fd);
	int		(*tell_now)(struct iv_state *st, struct iv_fd_ *fd);
	void		(*settle)(struct iv_state *st);
	int		(*probe)(struct iv_state *st, struct iv_fd_ *fd);
	void		(*wait)(struct iv_state *st,
				const struct timespec *until);
	void		(*forked)(struct iv_state *st);
	int		(*descriptor)(const struct iv_state *st);
};

extern const struct iv_fd_poll_method iv_fd_poll_method_kqueue;
extern const struct iv_fd_poll_method iv_fd_poll_method_epoll_timerfd;
extern const struct iv_fd_poll_method iv_fd_poll_method_epoll;
extern const struct iv_fd_poll_method iv_fd_poll_method_ppoll;
extern const struct iv_fd_poll_method iv_fd_poll_method_poll;
extern const struct iv_fd_poll_method iv_fd_poll_method_uring;

/* All of them, in order of preference; init fails if the system lacks one. */
#define NUM_METHODS	6

extern const struct iv_fd_poll_method *const iv_fd_poll_methods[NUM_METHODS];

/* Are the kernel objects the parent's, or given up? */
static inline int iv_fd_is_inherited(const struct iv_state *st)
{
	return st->fd.generation != iv_process_generation();
}

/* Note that a descriptor is ready in the given bands. */
static inline void
iv_fd_report(struct iv_state *st, struct iv_fd_ *fd, int bands)
{
	fd->reported |= bands;
	if (iv_list_empty(&fd->ready))
		iv_list_add_tail(&fd->ready, &st->fd.ready);
}

/* Fatal: the kernel has rejected what the named call told it. */
void iv_fd_refused(const struct iv_fd_ *fd, const char *call, int err)
	__attribute__((noreturn));

/*
 * The kernel lacks a system call of the loop's method: replace the method by
 * one that shares its state, in this loop and in later ones of the process.
 */
void iv_fd_replace_method(struct iv_state *st,
			  const struct iv_fd_poll_method *method);

/*
 * The kernel refuses the loop's method from now on: before the next wait, or when
 * the kernel is to be told of something, the loop starts anew.
 */
void iv_fd_give_up_method(struct iv_state *st);

/* Does this errno of an optional system call mean that it is unavailable? */
static inline int iv_fd_not_here(int err)
{
	return err == ENOSYS || err == EPERM;
}

/* The same of a call with flags, which may be unknown. */
static inline int iv_fd_not_here_with_flags(int err)
{
	return iv_fd_not_here(err) || err == EINVAL;
}

#pragma GCC visibility pop

#endif

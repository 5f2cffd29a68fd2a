/*
 * libivykis: copying a stream from one file descriptor to another.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A pump does not wait: the program watches both descriptors and calls
 * iv_fd_pump_pump() when one of them is ready for what the pump has requested
 * through set_bands.  All functions may be called from any thread that has a
 * loop, by one thread at a time for each pump.
 */

#ifndef __IV_FD_PUMP_H
#define __IV_FD_PUMP_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * set_bands(cookie, pollin, pollout) requests that iv_fd_pump_pump() is called
 * when from_fd is readable, if pollin is 1, or to_fd is writable, if pollout is
 * 1.  Both descriptors must be non-blocking, and may be the same; the pump does
 * not close them.
 */
struct iv_fd_pump {
	int		from_fd;
	int		to_fd;
	void		*cookie;
	void		(*set_bands)(void *cookie, int pollin, int pollout);
	unsigned int	flags;

	void		*buf;		/* private */
	int		state;
	int		copies;
	int		error;
};

/* After end of file, shuts down to_fd for writing. */
#define IV_FD_PUMP_FLAG_RELAY_EOF	1

/*
 * Does nothing, even to a pump that has been started.  May be called from any
 * thread and from signal handlers.
 */
static inline void IV_FD_PUMP_INIT(struct iv_fd_pump *pump)
{
	(void)pump;
}

/*
 * Starts the pump and calls set_bands(cookie, 1, 0).  Cannot fail.  The private
 * members need not be initialised.
 */
void iv_fd_pump_init(struct iv_fd_pump *pump);

/*
 * Stops the pump, at any time after the start but not in set_bands: data that
 * has been read and not written is lost.  Calls set_bands(cookie, 0, 0) unless
 * the pump is done.  The memory may be freed, or the pump started again.
 */
void iv_fd_pump_destroy(struct iv_fd_pump *pump);

/*
 * Reads at most once and writes at most once, and then calls set_bands once.
 * Returns 1 if there may be more to do, or 0 after end of file, when all data
 * has been written and set_bands(cookie, 0, 0) has been called.  Returns -1
 * with errno set (as by read(2), write(2) or splice(2), or ENOMEM), without
 * calling set_bands; then the pump can only be destroyed.  If reading fails,
 * the data read before is written first; if writing fails, it is lost.
 */
int iv_fd_pump_pump(struct iv_fd_pump *pump);

/* Returns 1 once iv_fd_pump_pump() has returned 0, else 0. */
int iv_fd_pump_is_done(const struct iv_fd_pump *pump);

#ifdef __cplusplus
}
#endif

#endif

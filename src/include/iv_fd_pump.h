/*
 * libivykis: moving bytes from one descriptor to another.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A pump does not wait: the program watches both descriptors and calls
 * iv_fd_pump_pump() when one of them is ready for what the pump has asked for
 * through set_bands.  All calls are for threads between their iv_init() and
 * iv_deinit(), one call on a pump at a time.
 */

#ifndef __IV_FD_PUMP_H
#define __IV_FD_PUMP_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * set_bands(cookie, pollin, pollout) tells whether from_fd is to be readable
 * and to_fd to be writable before the next pump.  Both descriptors, which may
 * be the same, are non-blocking; the pump never closes them.
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

/* At the end of input, shutdown(2) to_fd for writing. */
#define IV_FD_PUMP_FLAG_RELAY_EOF	1

/* Does nothing, also to a pump that is in use.  Any thread. */
static inline void IV_FD_PUMP_INIT(struct iv_fd_pump *pump)
{
	(void)pump;
}

/*
 * Start: calls set_bands(cookie, 1, 0).  Cannot fail.  The private members may
 * hold anything.
 */
void iv_fd_pump_init(struct iv_fd_pump *pump);

/*
 * End, at any time after the start but not in set_bands: what is buffered is
 * lost.  Calls set_bands(cookie, 0, 0) unless the pump is done.  The memory may
 * be freed, or be started again.
 */
void iv_fd_pump_destroy(struct iv_fd_pump *pump);

/*
 * Read once and write once at the most, and call set_bands once, last.  1, or
 * 0 when all is written and no more will come: set_bands(cookie, 0, 0).  -1
 * with errno (of read(2), write(2) or splice(2), ENOMEM) without set_bands: the
 * pump can only be destroyed.  When reading fails, what is buffered is written
 * before that is returned; when writing fails, it is lost.
 */
int iv_fd_pump_pump(struct iv_fd_pump *pump);

/* 1 once iv_fd_pump_pump() has returned 0, else 0. */
int iv_fd_pump_is_done(const struct iv_fd_pump *pump);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: per-loop memory for other modules.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_TLS_H
#define __IV_TLS_H

#include <iv_list.h>
#define __need_size_t
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Each loop gets a zeroed area of sizeof_state bytes, aligned to 16.
 * init_thread(area) runs at the end of iv_init(), deinit_thread(area) at the
 * start of iv_deinit() or when the thread ends, both in order of registration
 * and with the loop usable; either may be NULL.  The private members must be
 * zero before registering, as static storage has them.
 */
struct iv_tls_user {
	size_t			sizeof_state;
	void			(*init_thread)(void *st);
	void			(*deinit_thread)(void *st);

	struct iv_list_head	list;		/* private */
	int			state_offset;
};

/*
 * Announce a user, for the life of the process: a plugin that contains it is
 * never unloaded.  One call at a time, before the first iv_init() of the
 * process: typically from a constructor.
 */
void iv_tls_user_register(struct iv_tls_user *user);

/*
 * The calling thread's area, or NULL in a thread without a loop.  Any thread,
 * signal handlers (the area exists from before init_thread() until after
 * deinit_thread()).
 */
void *iv_tls_user_ptr(const struct iv_tls_user *user);

#ifdef __cplusplus
}
#endif

#endif

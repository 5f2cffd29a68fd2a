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
 * Each loop gets an area of sizeof_state bytes for the user, zeroed and aligned
 * to 16 bytes.  init_thread(area) is called at the end of iv_init(),
 * deinit_thread(area) at the start of iv_deinit() or when the thread exits.
 * Both are called in order of registration, in the thread concerned, and may
 * use the loop; either may be NULL.  The private members must be zero before
 * the registration, as they are in static storage.
 */
struct iv_tls_user {
	size_t			sizeof_state;
	void			(*init_thread)(void *st);
	void			(*deinit_thread)(void *st);

	struct iv_list_head	list;		/* private */
	int			state_offset;
};

/*
 * Registers a user for the lifetime of the process; a plugin that contains it
 * is never unloaded.  May be called from any thread, but from one at a time and
 * only before the first iv_init() of the process, typically from a constructor;
 * a later call is fatal.
 */
void iv_tls_user_register(struct iv_tls_user *user);

/*
 * Returns the user's area in the calling thread, or NULL in a thread without a
 * loop.  The area exists from before init_thread() until after deinit_thread().
 * May be called from any thread and from signal handlers.  A user that is not
 * registered is fatal.
 */
void *iv_tls_user_ptr(const struct iv_tls_user *user);

#ifdef __cplusplus
}
#endif

#endif

/*
 * libivykis: per-loop memory for other modules.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The areas of all users follow struct iv_state in the same allocation.  The
 * state_offset of a user is counted from its start.
 */

#include <iv_tls.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "iv_private.h"

#define ALIGNMENT	16
#define AREAS_START	ROUND_UP(sizeof(struct iv_state))
#define ROUND_UP(size)	(((size) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1))

static struct iv_list_head users = IV_LIST_HEAD_INIT(users);
static size_t areas_end = AREAS_START;

/* Set by the first loop of the process: from then on the layout is fixed. */
static atomic_int fixed;

void iv_tls_user_register(struct iv_tls_user *u)
{
	if (atomic_load_explicit(&fixed, memory_order_relaxed))
		iv_fatal("iv_tls_user_register: called after the process's "
			 "first iv_init, for %p: register it in a constructor "
			 "or at the start of main()", (void *)u);
	if (u->state_offset != 0)
		iv_fatal("iv_tls_user_register: %p is already registered",
			 (void *)u);
	if (u->sizeof_state > INT_MAX / 2 ||
	    areas_end > INT_MAX / 2 - u->sizeof_state)
		iv_fatal("iv_tls_user_register: no room for %zu bytes of %p",
			 u->sizeof_state, (void *)u);

	/* Later loops call it, so a plugin that it is in must not be unloaded. */
	iv_sys_keep_loaded(u);

	u->state_offset = areas_end;
	areas_end = ROUND_UP(areas_end + u->sizeof_state);
	iv_list_add_tail(&u->list, &users);
}

static void *area_of(struct iv_state *st, const struct iv_tls_user *u)
{
	return (char *)st + u->state_offset;
}

void *iv_tls_user_ptr(const struct iv_tls_user *u)
{
	if (u->state_offset == 0)
		iv_fatal("iv_tls_user_ptr: %p is not registered: call "
			 "iv_tls_user_register() before the first iv_init",
			 (const void *)u);

	return iv_self != NULL ? area_of(iv_self, u) : NULL;
}

struct iv_state *iv_tls_alloc(void)
{
	/* Relaxed: users register before any other thread has a loop. */
	atomic_store_explicit(&fixed, 1, memory_order_relaxed);

	return aligned_alloc(ALIGNMENT, ROUND_UP(areas_end));
}

void iv_tls_init_thread(struct iv_state *st)
{
	struct iv_list_head *ilh;

	memset((char *)st + AREAS_START, 0, areas_end - AREAS_START);
	iv_list_for_each (ilh, &users) {
		struct iv_tls_user *u =
			iv_container_of(ilh, struct iv_tls_user, list);

		if (u->init_thread != NULL)
			u->init_thread(area_of(st, u));
	}
}

void iv_tls_deinit_thread(struct iv_state *st)
{
	struct iv_list_head *ilh;

	iv_list_for_each (ilh, &users) {
		struct iv_tls_user *u =
			iv_container_of(ilh, struct iv_tls_user, list);

		if (u->deinit_thread != NULL)
			u->deinit_thread(area_of(st, u));
	}
}

/*
 * http_get: ask a web server for a page without blocking the loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An object in the style of the library's own: it lives in the caller's memory,
 * and its handler is called once, in the loop of the thread that called
 * http_get().  The handler may free the object.
 */

#ifndef HTTP_GET_H
#define HTTP_GET_H

#include <iv.h>
#include <iv_work.h>
#include <netdb.h>

struct http_get {
	char			host[64], port[8], path[128];
	void			*cookie;
	/* The first line of the answer, or why there is none. */
	void			(*handler)(void *cookie, const char *result);

	/* Private members. */
	struct iv_work_item	lookup;
	struct iv_fd		fd;
	struct iv_timer		timeout;
	struct addrinfo		*addr;
	int			error;		/* of the lookup: EAI_*, or 0 */
	size_t			len;
	char			answer[512];
};

/* Names are looked up by the pool, as that blocks. */
void http_get(struct http_get *get, struct iv_work_pool *pool);

#endif

/*
 * libivykis: the end.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include "iv_private.h"

static _Atomic(void (*)(const char *)) msg_handler;

void iv_set_fatal_msg_handler(void (*handler)(const char *msg))
{
	/* Release: what the handler uses is set up before it can be called. */
	atomic_store_explicit(&msg_handler, handler, memory_order_release);
}

void iv_fatal(const char *fmt, ...)
{
	static IV_THREAD_LOCAL int dying;
	void (*handler)(const char *);
	char msg[1024];
	va_list ap;

	/* A message handler that fails has had its chance. */
	if (dying)
		abort();
	dying = 1;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);

	/* Pairs with the release in iv_set_fatal_msg_handler(). */
	handler = atomic_load_explicit(&msg_handler, memory_order_acquire);
	if (handler != NULL)
		handler(msg);
	else
		syslog(LOG_CRIT, "%s", msg);

	abort();
}

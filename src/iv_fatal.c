/*
 * libivykis: fatal errors.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "iv_cancel.h"
#include "iv_sys.h"

/* Errors of message handlers that a message handler is called for. */
#define MAX_NESTED	8

static _Atomic(void (*)(const char *)) msg_handler;

void iv_set_fatal_msg_handler(void (*handler)(const char *msg))
{
	/* Release: what the handler uses is set up before it can be called. */
	atomic_store_explicit(&msg_handler, handler, memory_order_release);
}

/*
 * Has the handler failed so often that it only ever leads back here?  A handler
 * may be left by longjmp(3), so a call that has not returned does not mean that
 * it still runs.  One that does is found deeper in the stack; a call that is
 * not deeper than the one before is a new error for sure.
 */
static int handler_only_fails(void)
{
	static IV_THREAD_LOCAL uintptr_t before;
	static IV_THREAD_LOCAL int nested;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	nested = before != 0 && here < before ? nested + 1 : 0;
	before = here;

	return nested > MAX_NESTED;
}

/* To standard error too, as there may be no system log. */
static void say(const char *msg)
{
	char line[1025];
	sigset_t sigpipe;
	int len;

	/* The process is about to end, but not by this signal. */
	(void)sigemptyset(&sigpipe);
	(void)sigaddset(&sigpipe, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &sigpipe, NULL);

	/* One write, so that it stays one line among those of others. */
	len = snprintf(line, sizeof(line), "%s\n", msg);
	(void)!write(STDERR_FILENO, line, len);
	syslog(LOG_CRIT, "%s", msg);
}

void iv_fatal(const char *fmt, ...)
{
	void (*handler)(const char *);
	char msg[1024];
	va_list ap;

	if (handler_only_fails())
		abort();

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);

	/* Pairs with the release in iv_set_fatal_msg_handler(). */
	handler = atomic_load_explicit(&msg_handler, memory_order_acquire);
	if (handler != NULL) {
		handler(msg);
	} else {
		/* Otherwise only the thread would end. */
		(void)iv_cancel_disable();
		say(msg);
	}

	abort();
}

/*
 * libivykis: a record of what happened in a test, one letter per call.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef TRACE_H
#define TRACE_H

#include <stdio.h>
#include <string.h>
#include "check.h"

static char trace[64];

/* A handler that records the letter to which its cookie points. */
static void mark(void *letter)
{
	size_t len = strlen(trace);

	check(len + 1 < sizeof(trace));
	trace[len] = *(char *)letter;
}

/* Check that exactly these letters were recorded since the last call. */
static void expect(const char *want)
{
	if (strcmp(trace, want))
		fprintf(stderr, "# \"%s\" happened, not \"%s\"\n", trace, want);
	check(!strcmp(trace, want));
	memset(trace, 0, sizeof(trace));
}

#endif

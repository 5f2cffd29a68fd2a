/*
 * libivykis: threads.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <unistd.h>

unsigned long iv_get_thread_id(void)
{
	return gettid();
}

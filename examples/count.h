/*
 * Count lines, words and bytes, block by block, as wc(1) does.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef COUNT_H
#define COUNT_H

#include <limits.h>
#include <stddef.h>
#include <wchar.h>

struct counts {
	unsigned long	lines;
	unsigned long	words;
	unsigned long	bytes;
};

/* Initially all zeroes.  The caller counts the bytes. */
struct counter {
	struct counts	counts;
	int		in_word;
	mbstate_t	shift;
};

/* How many bytes count_block() may leave for the next block. */
#define COUNT_MAX_KEPT	MB_LEN_MAX

/*
 * Counts lines and words.  Returns the number of bytes used: all, except those
 * of a character that continues in the next block.
 */
size_t count_block(struct counter *c, const char *block, size_t len);

#endif

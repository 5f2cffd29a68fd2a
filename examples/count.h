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

/* Begins as all zeroes.  The user of it counts the bytes. */
struct counter {
	struct counts	counts;
	int		in_word;
	mbstate_t	shift;
};

/* Bytes that count_block() may leave to the next block. */
#define COUNT_MAX_KEPT	MB_LEN_MAX

/*
 * Count lines and words; returns the bytes used, which are all but those of a
 * character that the block's end has cut.
 */
size_t count_block(struct counter *c, const char *block, size_t len);

#endif

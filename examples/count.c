/*
 * Count lines, words and bytes, block by block, as wc(1) does.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A word is a run of characters between white space, with a printable one among
 * them, as the locale defines both.
 */

#include <ctype.h>
#include <stdlib.h>
#include <wctype.h>
#include "count.h"

static void see_char(struct counter *c, int is_space, int is_printable)
{
	if (is_space) {
		c->counts.words += c->in_word;
		c->in_word = 0;
	} else if (is_printable) {
		c->in_word = 1;
	}
}

/* As in wc(1), no-break spaces are spaces, and separators are not. */
static void see_wide_char(struct counter *c, wchar_t wc)
{
	int is_space = iswspace(wc) || wc == 0xa0 || wc == 0x2007 ||
		       wc == 0x202f || wc == 0x2060;

	if (iswprint(wc))
		see_char(c, is_space, 1);
}

/* Returns the bytes used: a character's, 1 if invalid, 0 if incomplete. */
static size_t see_multibyte(struct counter *c, const char *p, size_t len)
{
	mbstate_t before = c->shift;
	wchar_t wc;
	size_t used = mbrtowc(&wc, p, len, &c->shift);

	if (used == (size_t)-2) {
		c->shift = before;
		return 0;
	}
	if (used == (size_t)-1) {
		c->shift = before;
		return 1;
	}
	see_wide_char(c, wc);

	return used ? used : 1;
}

size_t count_block(struct counter *c, const char *block, size_t len)
{
	int multibyte = MB_CUR_MAX > 1;
	size_t pos = 0;

	while (pos < len) {
		unsigned char byte = block[pos];
		size_t used = 1;

		c->counts.lines += byte == '\n';
		if (multibyte && (byte >= 0x80 || !mbsinit(&c->shift)))
			used = see_multibyte(c, block + pos, len - pos);
		else
			see_char(c, isspace(byte), isprint(byte));

		if (used == 0)
			break;
		pos += used;
	}

	return pos;
}

/*
 * libivykis: words of memory that a process shares with its children.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An object that is known to forked children by copies gets a word that all of
 * the copies share, and that no copy of another object ever meets: neither one
 * that is left in a child, nor one that a thread of this process is still
 * about to use while its owner gives the word back.
 *
 * The words are cache lines of pages.  A word is handed out once.  When all
 * words of a page were handed out and returned, the page is used again, at its
 * old address, which therefore is always mapped; but with fresh memory, which
 * the children of old do not see, and with other numbers to begin with, which
 * no compare-exchange of old expects.
 *
 * In front of each page of words, which is shared, stands a private one with
 * the accounts: what another process can write must not steer this one.
 */

#include <stdint.h>
#include <sys/mman.h>
#include "iv_private.h"

struct line {
	_Alignas(64) atomic_ulong	word;
};

struct page {
	struct page	*next;		/* of those that wait to be used again */
	unsigned int	generation;	/* of the process that it serves */
	unsigned int	used;		/* words handed out */
	unsigned int	refs;		/* words not returned; +1: it is open */
	unsigned long	start;		/* what its words begin with */
};

/* The rest of the bits count before a word's numbers look like another's. */
#define START_SHIFT	(sizeof(long) * 16 / 3)

static size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static struct line *lines_of(struct page *p)
{
	return (struct line *)((char *)p + page_size());
}

static struct page *page_of(atomic_ulong *word)
{
	return (struct page *)(((uintptr_t)word & -page_size()) - page_size());
}

static struct iv_lock lock;

static void wait_for_use(struct iv_word_state *s, struct page *p)
{
	p->next = s->waiting;
	s->waiting = p;
}

static void page_put(struct iv_word_state *s, struct page *p)
{
	if (--p->refs == 0)
		wait_for_use(s, p);
}

static struct page *page_map(void)
{
	struct page *p = mmap(NULL, 2 * page_size(), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	p->generation = iv_process_generation();

	return p;
}

static struct page *page_get(struct iv_word_state *s)
{
	struct page *p = s->waiting;
	unsigned char resident;

	if (p != NULL)
		s->waiting = p->next;
	else
		p = page_map();
	if (p == NULL)
		return NULL;

	if (mmap(lines_of(p), page_size(), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		/* Linux before 6.12 may have unmapped what was there. */
		if (mincore(lines_of(p), page_size(), &resident) == 0)
			wait_for_use(s, p);
		return NULL;
	}
	p->used = 0;
	p->refs = 1;
	p->start = s->starts++ << START_SHIFT;

	return p;
}

/* The page that words are handed out from, or NULL if there is no memory. */
static struct page *open_page(struct iv_word_state *s)
{
	struct page *p = s->open;

	if (p == NULL || p->used == page_size() / sizeof(struct line)) {
		s->open = page_get(s);
		if (p != NULL)
			page_put(s, p);
	}

	return s->open;
}

atomic_ulong *iv_word_get(void)
{
	int state = iv_lock_take(&lock);
	struct iv_word_state *s = &iv_process->word;
	struct page *p = open_page(s);
	atomic_ulong *word = NULL;

	if (p != NULL) {
		word = &lines_of(p)[p->used++].word;
		atomic_init(word, p->start);
		p->refs++;
	}
	iv_lock_release(&lock, state);

	return word;
}

void iv_word_put(atomic_ulong *word)
{
	struct page *p = page_of(word);
	int state;

	/* The parent's.  This process has it mapped for good. */
	if (p->generation != iv_process_generation())
		return;

	state = iv_lock_take(&lock);
	page_put(&iv_process->word, p);
	iv_lock_release(&lock, state);
}

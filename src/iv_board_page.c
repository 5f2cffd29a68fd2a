/*
 * libivykis: the allocation of boards, in memory shared with forked children.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A board must never be shared by its owner and a copy of an object that was on
 * it before: a child may keep a stale copy for ever, and a thread of this
 * process may still be about to return from a post whose handler has long been
 * run.
 *
 * So each board is allocated once.  When all boards of a page were allocated
 * and returned, the page is reused, at the same address, as that stays mapped.
 * It gets new memory, which earlier children do not see, and another number,
 * `life', from which a late thread of this process sees that the board was
 * reused.
 *
 * In front of each page of boards, which is shared, there is a private page
 * with the bookkeeping, because other processes must not be able to change
 * that.  In the place of the first board it has what concerns the whole page.
 */

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include "iv_board_page.h"
#include "iv_cancel.h"
#include "iv_cpu.h"
#include "iv_process.h"
#include "iv_step.h"

struct page {
	struct page		*next;	/* that waits to be reused */
	unsigned int		generation;	/* of the process it serves */
	unsigned int		used;	/* places: its own, and boards */
	unsigned int		refs;	/* not returned; +1: it is open */
};

_Static_assert(sizeof(struct page) <= sizeof(struct iv_board),
	       "the first place on a page is not that of a board");

static size_t page_size(void)
{
	return iv_process_page_size;
}

static struct iv_board *boards_of(struct page *p)
{
	return (struct iv_board *)((char *)p + page_size());
}

static struct page *page_of(const struct iv_board *b)
{
	return (struct page *)(((uintptr_t)b & -page_size()) - page_size());
}

int iv_board_is_inherited(const struct iv_board *b)
{
	return page_of(b)->generation != iv_process_generation();
}

struct iv_board *iv_board_moved(struct iv_board *b)
{
	/* Sequentially consistent: the poster's push comes before this. */
	struct iv_board *to = atomic_load(&iv_board_own(b)->moved);

	if (to != NULL)
		return to;

	return iv_board_is_inherited(b) ? NULL : b;
}

static struct iv_lock lock;

static void wait_for_use(struct iv_board_pages *s, struct page *p)
{
	p->next = s->waiting;
	s->waiting = p;
}

static void page_put(struct iv_board_pages *s, struct page *p)
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

/* Tried at an address where a failure does no harm. */
static int can_share(void)
{
	void *p = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 0;
	(void)munmap(p, page_size());

	return 1;
}

static struct page *page_get(struct iv_board_pages *s)
{
	struct page *p = s->waiting;

	if (p != NULL)
		s->waiting = p->next;
	else
		p = page_map();
	if (p == NULL)
		return NULL;
	if (!can_share()) {
		wait_for_use(s, p);
		return NULL;
	}

	/*
	 * Linux before 6.12 may fail after it has unmapped what was there, and
	 * another mapping may get the hole: such a page is given up.
	 */
	if (mmap(boards_of(p), page_size(), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return NULL;
	p->used = 1;
	p->refs = 1;
	s->lives++;

	return p;
}

/* The page that boards are allocated from, or NULL if there is no memory. */
static struct page *open_page(struct iv_board_pages *s)
{
	struct page *p = s->open;

	if (p == NULL || p->used == page_size() / sizeof(struct iv_board)) {
		s->open = page_get(s);
		if (p != NULL)
			page_put(s, p);
	}

	return s->open;
}

/* The count is kept: posters of an earlier owner may still be in it. */
static void open_own(struct iv_board_own *own, unsigned long life)
{
	unsigned int i;

	atomic_init(&own->fd, -1);
	atomic_store_explicit(&own->life, life, memory_order_relaxed);
	/* Release: pairs with iv_board_is_open(). */
	for (i = 0; i < IV_BOARD_WORDS; i++)
		atomic_store_explicit(&own->closed[i], 0, memory_order_release);
}

unsigned int iv_board_generation(const struct iv_board *b)
{
	return page_of(b)->generation;
}

static struct iv_board *next_board(struct page *p, unsigned long life)
{
	struct iv_board *b = &boards_of(p)[p->used++];

	open_own(iv_board_own(b), life);
	p->refs++;

	return b;
}

struct iv_board *iv_board_get(void)
{
	int state = iv_lock_take(&lock);
	struct iv_board_pages *s = &iv_process->boards;
	struct iv_board *b = NULL;
	struct page *p;

	while ((p = open_page(s)) != NULL) {
		b = next_board(p, s->lives);
		/* The parent's, if a signal handler has forked. */
		if (!iv_board_is_inherited(b))
			break;
		s->open = NULL;
		b = NULL;
	}
	iv_lock_release(&lock, state);

	return b;
}

void iv_board_put(struct iv_board *b)
{
	int state;

	/* It belongs to the parent, and stays mapped in this process. */
	if (iv_board_is_inherited(b))
		return;

	state = iv_lock_take(&lock);
	page_put(&iv_process->boards, page_of(b));
	iv_lock_release(&lock, state);
}

/*
 * Posters are counted per process: threads that were writing when the process
 * forked do not exist in the child.
 */
#define POSTERS		0xffffUL

static unsigned long no_posters(void)
{
	return iv_process_generation() * (POSTERS + 1);
}

struct iv_board_own *iv_board_begin_write(struct iv_board *bell)
{
	struct iv_board_own *own = iv_board_own(bell);
	unsigned long none = no_posters();
	unsigned long now;
	unsigned long next;

	now = atomic_load_explicit(&own->posters, memory_order_relaxed);
	do {
		next = (now & ~POSTERS) == none ? now + 1 : none + 1;
		iv_step();
		/* Sequentially consistent: pairs with wait_for_posters(). */
	} while (!atomic_compare_exchange_weak(&own->posters, &now, next));

	return own;
}

void iv_board_end_write(struct iv_board_own *own)
{
	iv_step();
	/* Release: pairs with the acquire in wait_for_posters(). */
	atomic_fetch_sub_explicit(&own->posters, 1, memory_order_release);
}

/* Less than a second, for a poster that was left by siglongjmp(3). */
#define WAITS	3000

/* 0 if some do not finish, for which nobody waits again. */
static int wait_for_posters(struct iv_board_own *own)
{
	unsigned long none = no_posters();
	unsigned long now;
	unsigned int i;

	for (i = 0; i < WAITS; i++) {
		/* Pairs with iv_board_begin_write() and _end_write(). */
		now = atomic_load(&own->posters);
		if ((now & ~POSTERS) != none)
			return 1;
		if (now - none <= own->lost)
			return own->lost == 0;
		iv_lock_pause(i);
	}
	own->lost = now - none;

	return 0;
}

int iv_board_is_unused(struct iv_board *bell)
{
	int state = iv_cancel_disable();
	int unused;

	/*
	 * The object is unregistered before the posters are counted.  Partner:
	 * iv_board_begin_write().
	 */
	iv_full_fence();
	unused = wait_for_posters(iv_board_own(bell));
	iv_cancel_restore(state);

	return unused;
}

static atomic_ulong *closed_of(struct iv_place at)
{
	struct iv_board *b = iv_place_board(at);

	return &iv_board_own(b)->closed[at.word - b->posted];
}

void iv_board_close(struct iv_place at)
{
	/* A wakeup's bit is used again. */
	if (at.word == at.bell->posted && at.bit == IV_BOARD_WAKE_BIT)
		return;
	/* Sequentially consistent, as below: before posters are counted. */
	atomic_fetch_or(closed_of(at), iv_place_mask(at));
}

int iv_board_is_open(struct iv_place at, unsigned long life)
{
	/* In this order: pairs with the release in open_own(). */
	if ((atomic_load(closed_of(at)) >> at.bit) & 1)
		return 0;
	iv_step();

	return iv_board_life(iv_place_board(at)) == life;
}

/*
 * libivykis: circular doubly linked lists.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A list is a head and elements of the same type, embedded in the caller's
 * structures.  No call allocates, checks or locks.
 */

#ifndef __IV_LIST_H
#define __IV_LIST_H

#include <inttypes.h>
#define __need_NULL		/* and nothing else: names are the program's */
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iv_list_head {
	struct iv_list_head	*next;
	struct iv_list_head	*prev;
};

#define IV_LIST_HEAD_INIT(name)		{ &(name), &(name) }

/* Make *ilh an empty list, or an element that is in none. */
#define INIT_IV_LIST_HEAD(ilh)			\
	do {					\
		(ilh)->next = (ilh);		\
		(ilh)->prev = (ilh);		\
	} while (0)

/* Insert ilh right after head: as the list's first element. */
static inline void
iv_list_add(struct iv_list_head *ilh, struct iv_list_head *head)
{
	ilh->next = head->next;
	ilh->prev = head;
	head->next->prev = ilh;
	head->next = ilh;
}

/* Insert ilh right before head: as the list's last element. */
static inline void
iv_list_add_tail(struct iv_list_head *ilh, struct iv_list_head *head)
{
	struct iv_list_head *last = head->prev;

	ilh->next = head;
	ilh->prev = last;
	last->next = ilh;
	head->prev = ilh;
}

/* Unlink ilh; both its pointers become NULL. */
static inline void iv_list_del(struct iv_list_head *ilh)
{
	ilh->prev->next = ilh->next;
	ilh->next->prev = ilh->prev;
	ilh->next = NULL;
	ilh->prev = NULL;
}

/* Unlink ilh and make it an element that is in no list. */
static inline void iv_list_del_init(struct iv_list_head *ilh)
{
	ilh->prev->next = ilh->next;
	ilh->next->prev = ilh->prev;
	INIT_IV_LIST_HEAD(ilh);
}

/* 1 if the list has no element, else 0. */
static inline int iv_list_empty(const struct iv_list_head *head)
{
	return head->next == head;
}

/* Put the elements of ilh, at least one, between two neighbours. */
static inline void
__iv_list_splice(struct iv_list_head *ilh, struct iv_list_head *prev,
		 struct iv_list_head *next)
{
	struct iv_list_head *first = ilh->next;
	struct iv_list_head *last = ilh->prev;

	first->prev = prev;
	prev->next = first;
	last->next = next;
	next->prev = last;
}

/* Move all elements of ilh to the front of head; ilh itself is left stale. */
static inline void
iv_list_splice(struct iv_list_head *ilh, struct iv_list_head *head)
{
	if (!iv_list_empty(ilh))
		__iv_list_splice(ilh, head, head->next);
}

/* The same, and ilh is an empty list afterwards. */
static inline void
iv_list_splice_init(struct iv_list_head *ilh, struct iv_list_head *head)
{
	iv_list_splice(ilh, head);
	INIT_IV_LIST_HEAD(ilh);
}

/* Move all elements of ilh to the end of head; ilh itself is left stale. */
static inline void
iv_list_splice_tail(struct iv_list_head *ilh, struct iv_list_head *head)
{
	if (!iv_list_empty(ilh))
		__iv_list_splice(ilh, head->prev, head);
}

/* The same, and ilh is an empty list afterwards. */
static inline void
iv_list_splice_tail_init(struct iv_list_head *ilh, struct iv_list_head *head)
{
	iv_list_splice_tail(ilh, head);
	INIT_IV_LIST_HEAD(ilh);
}

/*
 * offsetof(), for C++ classes of any layout without a warning.  A sanitizer of
 * clang's takes the null pointer for a mistake, and g++ before 12 does not
 * always accept a pragma in an expression.
 */
#if !defined(__cplusplus)
#define __iv_offsetof(type, member)	__builtin_offsetof(type, member)
#elif !defined(__clang__)
#define __iv_offsetof(type, member)	((uintptr_t)&((type *)0)->member)
#else
#define __iv_offsetof(type, member)					\
	__extension__ ({						\
		_Pragma("clang diagnostic push")			\
		_Pragma("clang diagnostic ignored \"-Winvalid-offsetof\"")\
		uintptr_t __iv_offset = __builtin_offsetof(type, member);\
		_Pragma("clang diagnostic pop")				\
		__iv_offset;						\
	})
#endif

/*
 * The structure of the given type whose member ptr points to.  A GNU
 * statement expression: ptr is evaluated once, and a pointer to anything but
 * the member's type is warned about.
 */
#define iv_container_of(ptr, type, member)				\
	__extension__ ({						\
		const __typeof__(((type *)0)->member) *__iv_ptr = (ptr);\
		(type *)((uintptr_t)__iv_ptr -				\
			 __iv_offsetof(type, member));			\
	})

#define iv_list_entry(ilh, type, member)	\
	iv_container_of(ilh, type, member)

/* Loop over a list; the current element must not be removed in the body. */
#define iv_list_for_each(ilh, head)				\
	for (ilh = (head)->next; ilh != (head); ilh = ilh->next)

/* The same; the current element may be removed, the next one may not. */
#define iv_list_for_each_safe(ilh, ilh2, head)			\
	for (ilh = (head)->next, ilh2 = ilh->next;		\
	     ilh != (head); ilh = ilh2, ilh2 = ilh->next)

#ifdef __cplusplus
}
#endif

#endif

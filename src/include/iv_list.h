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

/*
 * What says "since 0.45" yields to a program that has a macro or a function of
 * the same name: to a macro that is defined before this header, and in C to a
 * function of the same type that is defined after it, as gnu_inline lets a
 * second definition take the place of the first.  It may call no static one.
 */
#ifdef __cplusplus
#define __iv_list_since_0_45	static inline
#else
#define __iv_list_since_0_45						\
	extern __inline__ __attribute__((__gnu_inline__, __always_inline__))
#endif

/* Define a list, which is empty.  Since 0.45. */
#ifndef IV_LIST_HEAD
#define IV_LIST_HEAD(name)				\
	struct iv_list_head name = IV_LIST_HEAD_INIT(name)
#endif

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

/* 1 if the list has exactly one element, else 0.  Since 0.45. */
#ifndef iv_list_is_singular
__iv_list_since_0_45 int iv_list_is_singular(const struct iv_list_head *head)
{
	return head->next != head && head->next == head->prev;
}
#endif

/* Take ilh out of its list, and add it to another or the same.  Since 0.45. */
#ifndef iv_list_move
__iv_list_since_0_45 void
iv_list_move(struct iv_list_head *ilh, struct iv_list_head *head)
{
	ilh->prev->next = ilh->next;
	ilh->next->prev = ilh->prev;
	ilh->next = head->next;
	ilh->prev = head;
	ilh->next->prev = ilh;
	ilh->prev->next = ilh;
}
#endif

#ifndef iv_list_move_tail
__iv_list_since_0_45 void
iv_list_move_tail(struct iv_list_head *ilh, struct iv_list_head *head)
{
	ilh->prev->next = ilh->next;
	ilh->next->prev = ilh->prev;
	ilh->next = head;
	ilh->prev = head->prev;
	ilh->next->prev = ilh;
	ilh->prev->next = ilh;
}
#endif

/*
 * Put ilh2, which is in no list, in the place of ilh, which is left stale: an
 * element, or the head of a list that is not empty.  Since 0.45.
 */
#ifndef iv_list_replace
__iv_list_since_0_45 void
iv_list_replace(struct iv_list_head *ilh, struct iv_list_head *ilh2)
{
	ilh2->next = ilh->next;
	ilh2->prev = ilh->prev;
	ilh2->next->prev = ilh2;
	ilh2->prev->next = ilh2;
}
#endif

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

/* From the last element to the first.  Since 0.45. */
#ifndef iv_list_for_each_prev
#define iv_list_for_each_prev(ilh, head)			\
	for (ilh = (head)->prev; ilh != (head); ilh = ilh->prev)
#endif

/* The structure of the first or the last element; there has to be one. */
#ifndef iv_list_first_entry			/* since 0.45 */
#define iv_list_first_entry(head, type, member)	\
	iv_list_entry((head)->next, type, member)
#endif

#ifndef iv_list_last_entry			/* since 0.45 */
#define iv_list_last_entry(head, type, member)	\
	iv_list_entry((head)->prev, type, member)
#endif

/*
 * The structure after or before the one that pos points to.  Next to the head
 * that is none, and of no use except to be compared, as the loops below do.
 */
#ifndef iv_list_next_entry			/* since 0.45 */
#define iv_list_next_entry(pos, member)		\
	iv_list_entry((pos)->member.next, __typeof__(*(pos)), member)
#endif

#ifndef iv_list_prev_entry			/* since 0.45 */
#define iv_list_prev_entry(pos, member)		\
	iv_list_entry((pos)->member.prev, __typeof__(*(pos)), member)
#endif

/*
 * Loop over the structures of a list; pos points to one after the other.  In
 * the body of the safe one the current structure may be removed and freed.
 */
#ifndef iv_list_for_each_entry			/* since 0.45 */
#define iv_list_for_each_entry(pos, head, member)			\
	for (pos = iv_list_entry((head)->next, __typeof__(*pos), member);\
	     &pos->member != (head);					\
	     pos = iv_list_entry(pos->member.next, __typeof__(*pos), member))
#endif

#ifndef iv_list_for_each_entry_safe		/* since 0.45 */
#define iv_list_for_each_entry_safe(pos, pos2, head, member)		\
	for (pos = iv_list_entry((head)->next, __typeof__(*pos), member),\
	     pos2 = iv_list_entry(pos->member.next, __typeof__(*pos), member);\
	     &pos->member != (head);					\
	     pos = pos2,						\
	     pos2 = iv_list_entry(pos->member.next, __typeof__(*pos), member))
#endif

#ifdef __cplusplus
}
#endif

#endif

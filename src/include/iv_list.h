/*
 * libivykis: circular doubly linked lists.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A list consists of a head and elements, all of type struct iv_list_head; the
 * elements are embedded in the caller's structures.  No function allocates
 * memory, takes a lock or checks its arguments.  They need no loop and may be
 * called from any thread.  The caller ensures that nobody else uses a list
 * while one thread changes it.
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
 * Everything marked "since 0.45" yields to a program's own macro or function of
 * the same name: to a macro that is defined before this header, and, in C, to a
 * function of the same type that is defined after it, because gnu_inline lets a
 * second definition replace the first.  Such an inline function must not call a
 * static one.
 */
#ifdef __cplusplus
#define __iv_list_since_0_45	static inline
#else
#define __iv_list_since_0_45						\
	extern __inline__ __attribute__((__gnu_inline__, __always_inline__))
#endif

/* Defines an empty list.  Since 0.45. */
#ifndef IV_LIST_HEAD
#define IV_LIST_HEAD(name)				\
	struct iv_list_head name = IV_LIST_HEAD_INIT(name)
#endif

/* Makes *ilh an empty list, or an element that is in no list. */
#define INIT_IV_LIST_HEAD(ilh)			\
	do {					\
		(ilh)->next = (ilh);		\
		(ilh)->prev = (ilh);		\
	} while (0)

/* Inserts ilh after head, as the first element of the list. */
static inline void
iv_list_add(struct iv_list_head *ilh, struct iv_list_head *head)
{
	ilh->next = head->next;
	ilh->prev = head;
	head->next->prev = ilh;
	head->next = ilh;
}

/* Inserts ilh before head, as the last element of the list. */
static inline void
iv_list_add_tail(struct iv_list_head *ilh, struct iv_list_head *head)
{
	struct iv_list_head *last = head->prev;

	ilh->next = head;
	ilh->prev = last;
	last->next = ilh;
	head->prev = ilh;
}

/* Removes ilh from its list and sets its pointers to NULL. */
static inline void iv_list_del(struct iv_list_head *ilh)
{
	ilh->prev->next = ilh->next;
	ilh->next->prev = ilh->prev;
	ilh->next = NULL;
	ilh->prev = NULL;
}

/* Removes ilh from its list and makes it an element that is in no list. */
static inline void iv_list_del_init(struct iv_list_head *ilh)
{
	ilh->prev->next = ilh->next;
	ilh->next->prev = ilh->prev;
	INIT_IV_LIST_HEAD(ilh);
}

/* Returns 1 if the list has no element, else 0. */
static inline int iv_list_empty(const struct iv_list_head *head)
{
	return head->next == head;
}

/* Returns 1 if the list has exactly one element, else 0.  Since 0.45. */
#ifndef iv_list_is_singular
__iv_list_since_0_45 int iv_list_is_singular(const struct iv_list_head *head)
{
	return head->next != head && head->next == head->prev;
}
#endif

/*
 * Removes ilh from its list and makes it the first element of head, which may
 * be the same list.  Since 0.45.
 */
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

/* Does the same, but makes ilh the last element of head.  Since 0.45. */
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
 * Replaces ilh, an element or the head of a list that is not empty, with ilh2,
 * which is in no list.  ilh itself must not be used afterwards unless it is
 * initialised or added to a list.  Since 0.45.
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

/* Inserts the elements of ilh, which is not empty, between two neighbours. */
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

/*
 * Moves all elements of ilh to the front of head.  ilh itself must be
 * initialised before it is used again.
 */
static inline void
iv_list_splice(struct iv_list_head *ilh, struct iv_list_head *head)
{
	if (!iv_list_empty(ilh))
		__iv_list_splice(ilh, head, head->next);
}

/* Does the same, and makes ilh an empty list. */
static inline void
iv_list_splice_init(struct iv_list_head *ilh, struct iv_list_head *head)
{
	iv_list_splice(ilh, head);
	INIT_IV_LIST_HEAD(ilh);
}

/*
 * Moves all elements of ilh to the end of head.  ilh itself must be initialised
 * before it is used again.
 */
static inline void
iv_list_splice_tail(struct iv_list_head *ilh, struct iv_list_head *head)
{
	if (!iv_list_empty(ilh))
		__iv_list_splice(ilh, head->prev, head);
}

/* Does the same, and makes ilh an empty list. */
static inline void
iv_list_splice_tail_init(struct iv_list_head *ilh, struct iv_list_head *head)
{
	iv_list_splice_tail(ilh, head);
	INIT_IV_LIST_HEAD(ilh);
}

/*
 * offsetof() without a warning for C++ classes of any layout.  A sanitizer of
 * clang reports the null pointer of the second form, and g++ before 12 does not
 * always accept the pragmas of the third one in an expression.
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
 * Returns the structure of the given type whose member ptr points to.  It is a
 * GNU statement expression, so ptr is evaluated once, and the compiler warns if
 * its type is not that of the member.
 */
#define iv_container_of(ptr, type, member)				\
	__extension__ ({						\
		const __typeof__(((type *)0)->member) *__iv_ptr = (ptr);\
		(type *)((uintptr_t)__iv_ptr -				\
			 __iv_offsetof(type, member));			\
	})

#define iv_list_entry(ilh, type, member)	\
	iv_container_of(ilh, type, member)

/* Loops over a list; the body must not remove the current element. */
#define iv_list_for_each(ilh, head)				\
	for (ilh = (head)->next; ilh != (head); ilh = ilh->next)

/* The same, but the body may remove the current element, not the next one. */
#define iv_list_for_each_safe(ilh, ilh2, head)			\
	for (ilh = (head)->next, ilh2 = ilh->next;		\
	     ilh != (head); ilh = ilh2, ilh2 = ilh->next)

/* Loops from the last element to the first.  Since 0.45. */
#ifndef iv_list_for_each_prev
#define iv_list_for_each_prev(ilh, head)			\
	for (ilh = (head)->prev; ilh != (head); ilh = ilh->prev)
#endif

/* Return the structure of the first or the last element, which must exist. */
#ifndef iv_list_first_entry			/* since 0.45 */
#define iv_list_first_entry(head, type, member)	\
	iv_list_entry((head)->next, type, member)
#endif

#ifndef iv_list_last_entry			/* since 0.45 */
#define iv_list_last_entry(head, type, member)	\
	iv_list_entry((head)->prev, type, member)
#endif

/*
 * Return the structure after or before the one that pos points to.  Next to the
 * head there is none: the result may then only be compared, as in the loops
 * below.
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
 * Loop over the structures of a list, to which pos points in turn.  The body of
 * the safe loop may remove and free the current structure, not the next one.
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

/*
 * libivykis: calls to be made when their time has come.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The timers of a loop are a balanced tree in their own memory, so that
 * registering allocates nothing.  Timers that expire together run in the
 * order of their registration.  A timer step moves everything that is due to
 * a list and runs that list: what its handlers register waits for the next.
 */

#include "iv_private.h"

struct iv_timer_ {
	struct timespec	expires;
	void		*cookie;
	void		(*handler)(void *);

	union {
		struct iv_avl_node	an;
		struct iv_list_head	list;
	};
};

_Static_assert(sizeof(struct iv_timer_) <= sizeof(struct iv_timer),
	       "struct iv_timer_ has to fit into struct iv_timer");
_Static_assert(offsetof(struct iv_avl_node, height) >=
	       sizeof(struct iv_list_head),
	       "the list must leave the node's height alone");

/* an.height says where a timer is; a height of the tree means: in the tree. */
#define NOT_REGISTERED	0
#define EXPIRED		255

static struct iv_timer_ *timer_of(const struct iv_avl_node *an)
{
	return iv_container_of(an, struct iv_timer_, an);
}

static int
compare(const struct iv_avl_node *_a, const struct iv_avl_node *_b)
{
	const struct timespec *a = &timer_of(_a)->expires;
	const struct timespec *b = &timer_of(_b)->expires;

	/* Never equal: a timer comes after those that expire when it does. */
	return iv_time_compare(a, b) < 0 ? -1 : 1;
}

void iv_timer_init(struct iv_state *st)
{
	INIT_IV_AVL_TREE(&st->timer.tree, compare);
	INIT_IV_LIST_HEAD(&st->timer.expired);
}

static void take_out(struct iv_state *st, struct iv_timer_ *t)
{
	if (st->timer.first == &t->an)
		st->timer.first = iv_avl_tree_next(&t->an);
	iv_avl_tree_delete(&st->timer.tree, &t->an);
}

static void expire(struct iv_state *st, const struct timespec *now)
{
	while (st->timer.first != NULL) {
		struct iv_timer_ *t = timer_of(st->timer.first);

		if (iv_time_compare(&t->expires, now) > 0)
			return;

		take_out(st, t);
		t->an.height = EXPIRED;
		iv_list_add_tail(&t->list, &st->timer.expired);
	}
}

void iv_timer_run(struct iv_state *st)
{
	if (st->timer.first == NULL)
		return;

	expire(st, iv_time_now(st));

	while (!iv_list_empty(&st->timer.expired)) {
		struct iv_timer_ *t = iv_container_of(st->timer.expired.next,
						      struct iv_timer_, list);

		iv_list_del(&t->list);
		t->an.height = NOT_REGISTERED;
		st->numobjs--;
		st->stats.timers++;

		if (t->handler == NULL)
			iv_fatal("iv_timer: %p is due and has no handler",
				 (void *)t);
		t->handler(t->cookie);
	}
}

int iv_timer_next(const struct iv_state *st, struct timespec *when)
{
	if (st->timer.first == NULL)
		return 0;

	*when = iv_time_normalised(&timer_of(st->timer.first)->expires);
	if (when->tv_sec < 0)
		*when = (struct timespec){ 0 };

	return 1;
}

void IV_TIMER_INIT(struct iv_timer *_t)
{
	((struct iv_timer_ *)_t)->an.height = NOT_REGISTERED;
}

void iv_timer_register(struct iv_timer *_t)
{
	struct iv_state *st = iv_state_for("iv_timer_register");
	struct iv_timer_ *t = (struct iv_timer_ *)_t;

	if (t->an.height != NOT_REGISTERED)
		iv_fatal("iv_timer_register: %p is already registered",
			 (void *)t);

	(void)iv_avl_tree_insert(&st->timer.tree, &t->an);
	if (st->timer.first == NULL || st->timer.first->left == &t->an)
		st->timer.first = &t->an;
	st->numobjs++;
}

void iv_timer_unregister(struct iv_timer *_t)
{
	struct iv_state *st = iv_state_for("iv_timer_unregister");
	struct iv_timer_ *t = (struct iv_timer_ *)_t;

	if (t->an.height == NOT_REGISTERED)
		iv_fatal("iv_timer_unregister: %p is not registered",
			 (void *)t);

	if (t->an.height == EXPIRED)
		iv_list_del(&t->list);
	else
		take_out(st, t);
	t->an.height = NOT_REGISTERED;
	st->numobjs--;
}

int iv_timer_registered(const struct iv_timer *t)
{
	return ((const struct iv_timer_ *)t)->an.height != NOT_REGISTERED;
}

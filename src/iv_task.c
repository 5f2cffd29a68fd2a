/*
 * libivykis: tasks, which the loop calls before it next waits.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tasks run in rounds, and each task runs at most once per round.  A task keeps
 * the number of the last round in which it ran or was initialised.  If it is
 * registered again in that round, it waits for the next one.  Any other task is
 * appended to the round that is running.
 */

#include "iv_private.h"

struct iv_task_ {
	void			*cookie;
	void			(*handler)(void *);

	struct iv_list_head	list;
	struct iv_state		*owner;		/* NULL: not registered */
	unsigned long		position;
	unsigned int		round;
};

_Static_assert(sizeof(struct iv_task_) <= sizeof(struct iv_task),
	       "struct iv_task_ has to fit into struct iv_task");

void iv_task_init(struct iv_state *st)
{
	INIT_IV_LIST_HEAD(&st->task.current);
	INIT_IV_LIST_HEAD(&st->task.next);
}

static struct iv_task_ *first(const struct iv_list_head *list)
{
	return iv_container_of(list->next, struct iv_task_, list);
}

void iv_task_begin_round(struct iv_state *st)
{
	iv_list_splice_tail_init(&st->task.next, &st->task.current);
	st->task.round++;
	st->task.in_round = 1;
}

int iv_task_reached(const struct iv_state *st, unsigned long pos)
{
	if (iv_list_empty(&st->task.current))
		return 1;

	/* The difference is right even if positions have wrapped. */
	return (long)(first(&st->task.current)->position - pos) >= 0;
}

int iv_task_run_one(struct iv_state *st)
{
	struct iv_task_ *t;

	if (iv_list_empty(&st->task.current))
		return 0;

	t = first(&st->task.current);
	iv_list_del(&t->list);
	t->owner = NULL;
	t->round = st->task.round;
	st->numobjs--;
	st->stats.tasks++;

	if (t->handler == NULL)
		iv_fatal("iv_task: %p is due and has no handler: set handler "
			 "before iv_main()", (void *)t);
	t->handler(t->cookie);

	return 1;
}

void iv_task_end_round(struct iv_state *st)
{
	st->task.in_round = 0;
}

void IV_TASK_INIT(struct iv_task *_t)
{
	struct iv_task_ *t = (struct iv_task_ *)_t;

	t->owner = NULL;
	t->round = iv_self != NULL ? iv_self->task.round : 0;
}

void iv_task_register(struct iv_task *_t)
{
	struct iv_state *st = iv_state_for("iv_task_register");
	struct iv_task_ *t = (struct iv_task_ *)_t;

	if (t->owner != NULL)
		iv_fatal("iv_task_register: %p is already registered: ask "
			 "iv_task_registered(), or call IV_TASK_INIT() on a "
			 "new one", (void *)t);

	t->owner = st;
	t->position = st->task.position++;
	if (st->task.in_round && t->round != st->task.round)
		iv_list_add_tail(&t->list, &st->task.current);
	else
		iv_list_add_tail(&t->list, &st->task.next);
	st->numobjs++;
	iv_loop_fd_registered(st);
}

void iv_task_unregister(struct iv_task *_t)
{
	struct iv_state *st = iv_state_for("iv_task_unregister");
	struct iv_task_ *t = (struct iv_task_ *)_t;

	if (t->owner != st)
		iv_fatal("iv_task_unregister: %p is not registered%s", (void *)t,
			 t->owner != NULL ? " in this thread" :
			 ": ask iv_task_registered(), it is not once it is "
			 "called");

	iv_list_del(&t->list);
	t->owner = NULL;
	st->numobjs--;
}

int iv_task_registered(const struct iv_task *_t)
{
	return ((const struct iv_task_ *)_t)->owner != NULL;
}

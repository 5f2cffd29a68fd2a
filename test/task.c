/*
 * libivykis: tasks and their rounds.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

/* What happened, one letter each. */
static char trace[64];

static void mark(void *letter)
{
	size_t len = strlen(trace);

	check(len + 1 < sizeof(trace));
	trace[len] = *(char *)letter;
}

static void expect(const char *want)
{
	if (strcmp(trace, want))
		fprintf(stderr, "# \"%s\" happened, not \"%s\"\n", trace, want);
	check(!strcmp(trace, want));
	memset(trace, 0, sizeof(trace));
}

static struct iv_task a, b, c, d;

static void set(struct iv_task *t, char *letter, void (*handler)(void *))
{
	IV_TASK_INIT(t);
	t->cookie = letter;
	t->handler = handler;
}

static void add(struct iv_task *t, char *letter, void (*handler)(void *))
{
	set(t, letter, handler);
	iv_task_register(t);
}

/* A descriptor that is always ready says `.' after each wait. */
static struct iv_fd dot;
static int dot_kick;
static int dots_left;

static void dotted(void *cookie)
{
	mark(cookie);
	if (--dots_left == 0)
		iv_quit();
}

static void begin(void)
{
	int fd[2];

	check(pipe(fd) == 0);
	check_int(write(fd[1], "x", 1), 1);
	dot_kick = fd[1];

	iv_init();
	IV_FD_INIT(&dot);
	dot.fd = fd[0];
	dot.cookie = ".";
	dot.handler_in = dotted;
	iv_fd_register(&dot);
}

static void run_waits(int num)
{
	dots_left = num;
	iv_main();
}

static void end(void)
{
	iv_fd_unregister(&dot);
	close(dot.fd);
	close(dot_kick);
	iv_deinit();
}

static void tasks_run_in_order_and_once(void)
{
	begin();
	add(&a, "a", mark);
	add(&b, "b", mark);
	add(&c, "c", mark);
	run_waits(2);
	expect("abc..");
	end();
}

static void main_returns_after_the_last(void)
{
	iv_init();
	add(&a, "a", mark);
	check_int(iv_task_registered(&a), 1);
	iv_main();
	check_int(iv_task_registered(&a), 0);
	expect("a");
	iv_deinit();
}

/* Registered outside a round. */
static void register_b(void *letter)
{
	mark(letter);
	iv_task_register(&b);
}

static void registered_by_a_timer(void)
{
	struct iv_timer timer;

	begin();
	IV_TIMER_INIT(&timer);
	timer.expires = (struct timespec){ 0 };
	timer.cookie = "T";
	timer.handler = register_b;
	iv_timer_register(&timer);
	add(&a, "a", mark);
	set(&b, "b", mark);
	run_waits(1);
	expect("Tab.");
	end();
}

static void dot_registers(void *letter)
{
	dotted(letter);
	if (dots_left == 1) {
		iv_task_register(&a);
		iv_task_register(&b);
	}
}

static void registered_by_a_descriptor(void)
{
	begin();
	add(&a, "a", mark);
	set(&b, "b", mark);
	iv_fd_set_handler_in(&dot, dot_registers);
	run_waits(2);
	/* In order, though only one of them has run before. */
	expect("a.ab.");
	end();
}

/* Registered inside a round. */
static void one_that_has_not_run_joins_the_round(void)
{
	begin();
	add(&a, "a", register_b);
	set(&b, "b", mark);
	add(&c, "c", mark);
	run_waits(1);
	expect("acb.");
	end();
}

#define CHAIN		1000

static struct iv_task chain[CHAIN];
static int links;

static void next_link(void *cookie)
{
	(void)cookie;
	if (++links < CHAIN)
		iv_task_register(&chain[links]);
}

static void chains_complete_before_the_wait(void)
{
	int i;

	begin();
	for (i = 0; i < CHAIN; i++)
		set(&chain[i], NULL, next_link);
	iv_task_register(&chain[0]);
	run_waits(1);
	check_int(links, CHAIN);
	expect(".");
	end();
}

static void register_itself(void *letter)
{
	mark(letter);
	check_int(iv_task_registered(&a), 0);
	iv_task_register(&a);
	check_int(iv_task_registered(&a), 1);
}

static void one_that_registers_itself_waits(void)
{
	begin();
	add(&a, "a", register_itself);
	add(&b, "b", mark);
	run_waits(3);
	expect("ab.a.a.a");
	check_int(iv_task_registered(&a), 1);
	iv_task_unregister(&a);
	end();
}

static void register_a(void *letter)
{
	mark(letter);
	iv_task_register(&a);
}

static void one_that_has_run_waits(void)
{
	begin();
	add(&a, "a", mark);
	add(&b, "b", register_a);
	add(&c, "c", mark);
	run_waits(2);
	expect("abc.a.");
	end();
}

static void two_that_register_each_other_wait(void)
{
	begin();
	add(&a, "a", register_b);
	set(&b, "b", register_a);
	run_waits(3);
	expect("ab.ab.ab.ab");
	iv_task_unregister(&a);
	end();
}

static void init_and_register_b(void *letter)
{
	mark(letter);
	add(&b, "b", mark);
}

static void one_initialised_in_the_round_waits(void)
{
	begin();
	add(&a, "a", init_and_register_b);
	add(&c, "c", mark);
	run_waits(2);
	expect("ac.b.");
	end();
}

static void init_b(void *letter)
{
	mark(letter);
	set(&b, "b", mark);
}

static void one_initialised_in_an_earlier_round_joins(void)
{
	begin();
	add(&a, "a", init_b);
	run_waits(1);
	expect("a.");
	add(&c, "c", register_b);
	add(&d, "d", mark);
	run_waits(1);
	expect("cdb.");
	end();
}

static void one_that_ran_in_an_earlier_round_joins(void)
{
	begin();
	add(&b, "b", mark);
	run_waits(1);
	expect("b.");
	add(&c, "c", register_b);
	add(&d, "d", mark);
	run_waits(1);
	expect("cdb.");
	end();
}

static void unregister_c(void *letter)
{
	mark(letter);
	check_int(iv_task_registered(&c), 1);
	iv_task_unregister(&c);
	check_int(iv_task_registered(&c), 0);
}

static void one_not_reached_may_be_cancelled(void)
{
	begin();
	add(&a, "a", unregister_c);
	add(&b, "b", mark);
	add(&c, "c", mark);
	run_waits(1);
	expect("ab.");
	end();
}

static void move_b_to_the_end(void *letter)
{
	mark(letter);
	iv_task_unregister(&b);
	iv_task_register(&b);
}

static void one_registered_anew_goes_to_the_end(void)
{
	begin();
	add(&a, "a", move_b_to_the_end);
	add(&b, "b", mark);
	add(&c, "c", mark);
	run_waits(1);
	expect("acb.");
	end();
}

static void one_taken_back_leaves_the_next_round(void)
{
	begin();
	add(&a, "a", register_itself);
	run_waits(1);
	iv_task_unregister(&a);
	run_waits(1);
	expect("a.a.");
	end();
}

/* Public members. */
static void change_b(void *letter)
{
	mark(letter);
	b.cookie = "B";
	b.handler = register_a;
}

static void members_may_change_while_registered(void)
{
	begin();
	add(&c, "c", change_b);
	set(&a, "a", mark);
	add(&b, "b", mark);
	run_waits(1);
	expect("cBa.");
	check(b.handler == register_a);
	end();
}

static void members_may_be_set_before_the_initialiser(void)
{
	begin();
	a.cookie = "a";
	a.handler = mark;
	IV_TASK_INIT(&a);
	iv_task_register(&a);
	run_waits(1);
	expect("a.");
	end();
}

/* Memory. */
static void overwrite_and_free(void *_t)
{
	mark("x");
	memset(_t, 0x5a, sizeof(struct iv_task));
	free(_t);
}

static void a_handler_may_free_its_task(void)
{
	struct iv_task *t = malloc(sizeof(*t));

	check(t != NULL);
	begin();
	IV_TASK_INIT(t);
	t->cookie = t;
	t->handler = overwrite_and_free;
	iv_task_register(t);
	add(&a, "a", mark);
	run_waits(1);
	expect("xa.");
	end();
}

static void a_copy_is_a_task(void)
{
	struct iv_task copy;

	begin();
	set(&a, "a", mark);
	copy = a;
	memset(&a, 0x5a, sizeof(a));
	check_int(iv_task_registered(&copy), 0);
	iv_task_register(&copy);
	run_waits(1);
	expect("a.");

	b = copy;
	memset(&copy, 0x5a, sizeof(copy));
	iv_task_register(&b);
	run_waits(1);
	expect("a.");
	end();
}

/* A copy takes over what its original has been through. */
static void register_copy_of_a(void *letter)
{
	mark(letter);
	c = a;
	d = b;
	iv_task_register(&c);
	iv_task_register(&d);
}

static void a_copy_remembers_its_round(void)
{
	begin();
	set(&b, "b", mark);
	add(&a, "a", mark);
	add(&chain[0], "x", register_copy_of_a);
	run_waits(2);
	expect("axb.a.");
	end();
}

static void zeroed_memory_is_a_task(void)
{
	struct iv_task t;

	memset(&t, 0, sizeof(t));
	begin();
	check_int(iv_task_registered(&t), 0);
	t.cookie = "t";
	t.handler = mark;
	iv_task_register(&t);
	run_waits(1);
	expect("t.");
	end();
}

static void initialised_before_the_loop(void)
{
	set(&a, "a", register_b);
	set(&b, "b", mark);
	begin();
	iv_task_register(&a);
	run_waits(1);
	expect("ab.");
	end();
}

static const struct check_case cases[] = {
	{ "tasks run once, in order, before the wait",
	  tasks_run_in_order_and_once, EACH_METHOD, 0 },
	{ "a task counts as registered until right before its handler",
	  main_returns_after_the_last, EACH_METHOD, 0 },
	{ "registered by a timer: in the round that follows, at the end",
	  registered_by_a_timer, EACH_METHOD, 0 },
	{ "registered by a descriptor: before the next wait",
	  registered_by_a_descriptor, EACH_METHOD, 0 },
	{ "registered in a round, not having run: at its end",
	  one_that_has_not_run_joins_the_round, EACH_METHOD, 0 },
	{ "a chain of tasks completes before the wait",
	  chains_complete_before_the_wait, EACH_METHOD, 0 },
	{ "registered in its own handler: after a wait",
	  one_that_registers_itself_waits, EACH_METHOD, 0 },
	{ "registered in a round, having run in it: after a wait",
	  one_that_has_run_waits, EACH_METHOD, 0 },
	{ "two tasks that register each other wait between their rounds",
	  two_that_register_each_other_wait, EACH_METHOD, 0 },
	{ "registered in a round, initialised in it: after a wait",
	  one_initialised_in_the_round_waits, EACH_METHOD, 0 },
	{ "registered in a round, initialised in an earlier one: at its end",
	  one_initialised_in_an_earlier_round_joins, EACH_METHOD, 0 },
	{ "registered in a round, having run in an earlier one: at its end",
	  one_that_ran_in_an_earlier_round_joins, EACH_METHOD, 0 },
	{ "a task that its round has not reached may be cancelled",
	  one_not_reached_may_be_cancelled, EACH_METHOD, 0 },
	{ "cancelled and registered anew: at the end of the same round",
	  one_registered_anew_goes_to_the_end, EACH_METHOD, 0 },
	{ "a task of the next round may be cancelled",
	  one_taken_back_leaves_the_next_round, EACH_METHOD, 0 },
	{ "handler and cookie may change while registered",
	  members_may_change_while_registered, EACH_METHOD, 0 },
	{ "handler and cookie survive the initialiser",
	  members_may_be_set_before_the_initialiser, EACH_METHOD, 0 },
	{ "a handler may free its own task",
	  a_handler_may_free_its_task, EACH_METHOD, 0 },
	{ "a copy of an unregistered task may be registered",
	  a_copy_is_a_task, EACH_METHOD, 0 },
	{ "a copy waits if its original would have to",
	  a_copy_remembers_its_round, EACH_METHOD, 0 },
	{ "zeroed memory is an unregistered task",
	  zeroed_memory_is_a_task, EACH_METHOD, 0 },
	{ "tasks may be initialised before there is a loop",
	  initialised_before_the_loop, EACH_METHOD, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

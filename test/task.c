/*
 * libivykis: tasks and their rounds.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check.h"
#include "trace.h"

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

/* A timer that is always due records a `.' between two rounds. */
static struct iv_timer separator;
static int first_round;
static int rounds_left;

static void mark_separator(void *cookie)
{
	iv_timer_register(&separator);
	if (!first_round)
		mark(cookie);
	if (!first_round && --rounds_left == 0)
		iv_quit();
	first_round = 0;
}

static void begin(void)
{
	iv_init();
	IV_TIMER_INIT(&separator);
	separator.expires = (struct timespec){ 0 };
	separator.cookie = ".";
	separator.handler = mark_separator;
	iv_timer_register(&separator);
}

/* Run num rounds, and what is queued after the last of them. */
static void run_rounds(int num)
{
	first_round = 1;
	rounds_left = num;
	iv_main();
}

static void end(void)
{
	iv_timer_unregister(&separator);
	iv_deinit();
}

static void tasks_run_in_order_and_once(void)
{
	begin();
	add(&a, "a", mark);
	add(&b, "b", mark);
	add(&c, "c", mark);
	run_rounds(2);
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
	run_rounds(1);
	expect("Tab.");
	end();
}

static struct iv_fd ready;

/* A descriptor that is always ready. */
static void add_ready(void (*handler)(void *))
{
	int fd[2];

	check(pipe(fd) == 0);
	close(fd[1]);
	IV_FD_INIT(&ready);
	ready.fd = fd[0];
	ready.cookie = "F";
	ready.handler_in = handler;
	iv_fd_register(&ready);
}

static void remove_ready(void)
{
	iv_fd_unregister(&ready);
	close(ready.fd);
}

static void register_a_and_b(void *letter)
{
	mark(letter);
	iv_task_register(&a);
	iv_task_register(&b);
	remove_ready();
}

static void registered_by_a_descriptor(void)
{
	begin();
	add(&a, "a", mark);
	set(&b, "b", mark);
	add_ready(register_a_and_b);
	run_rounds(1);
	/* In order, though only task a has run before. */
	expect("aF.ab");
	end();
}

/* Registered inside a round. */
static void registered_in_a_round(void)
{
	begin();
	add(&a, "a", register_b);
	set(&b, "b", mark);
	add(&c, "c", mark);
	run_rounds(1);
	expect("acb.");
	end();
}

#define CHAIN		1000

static struct iv_task chain[CHAIN];
static int links_run;

static void run_link(void *cookie)
{
	(void)cookie;
	if (++links_run < CHAIN)
		iv_task_register(&chain[links_run]);
}

static void a_chain_is_one_round(void)
{
	int i;

	begin();
	for (i = 0; i < CHAIN; i++)
		set(&chain[i], NULL, run_link);
	iv_task_register(&chain[0]);
	run_rounds(1);
	check_int(links_run, CHAIN);
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

static void registers_itself(void)
{
	begin();
	add(&a, "a", register_itself);
	add(&b, "b", mark);
	run_rounds(3);
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

static void registered_after_it_ran(void)
{
	begin();
	add(&a, "a", mark);
	add(&b, "b", register_a);
	add(&c, "c", mark);
	run_rounds(2);
	expect("abc.a.");
	end();
}

static void two_that_register_each_other(void)
{
	begin();
	add(&a, "a", register_b);
	set(&b, "b", register_a);
	run_rounds(3);
	expect("ab.ab.ab.ab");
	iv_task_unregister(&a);
	end();
}

static void init_and_register_b(void *letter)
{
	mark(letter);
	add(&b, "b", mark);
}

static void initialised_in_the_round(void)
{
	begin();
	add(&a, "a", init_and_register_b);
	add(&c, "c", mark);
	run_rounds(2);
	expect("ac.b.");
	end();
}

static void init_b(void *letter)
{
	mark(letter);
	set(&b, "b", mark);
}

static void initialised_in_an_earlier_round(void)
{
	begin();
	add(&a, "a", init_b);
	run_rounds(1);
	expect("a.");
	add(&c, "c", register_b);
	add(&d, "d", mark);
	run_rounds(1);
	expect("cdb.");
	end();
}

static void ran_in_an_earlier_round(void)
{
	begin();
	add(&b, "b", mark);
	run_rounds(1);
	expect("b.");
	add(&c, "c", register_b);
	add(&d, "d", mark);
	run_rounds(1);
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

static void unregistered_before_it_is_reached(void)
{
	begin();
	add(&a, "a", unregister_c);
	add(&b, "b", mark);
	add(&c, "c", mark);
	run_rounds(1);
	expect("ab.");
	end();
}

static void move_b_to_the_end(void *letter)
{
	mark(letter);
	iv_task_unregister(&b);
	iv_task_register(&b);
}

static void registered_again(void)
{
	begin();
	add(&a, "a", move_b_to_the_end);
	add(&b, "b", mark);
	add(&c, "c", mark);
	run_rounds(1);
	expect("acb.");
	end();
}

static void unregistered_in_the_next_round(void)
{
	begin();
	add(&a, "a", register_itself);
	run_rounds(1);
	iv_task_unregister(&a);
	run_rounds(1);
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
	run_rounds(1);
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
	run_rounds(1);
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
	run_rounds(1);
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
	run_rounds(1);
	expect("a.");

	b = copy;
	memset(&copy, 0x5a, sizeof(copy));
	iv_task_register(&b);
	run_rounds(1);
	expect("a.");
	end();
}

/* A copy includes the number of the round in which the original ran. */
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
	run_rounds(2);
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
	run_rounds(1);
	expect("t.");
	end();
}

static void initialised_before_the_loop(void)
{
	pthread_key_t key;

	/* Another library's key, whose value is no pointer. */
	check_int(pthread_key_create(&key, NULL), 0);
	check_int(pthread_setspecific(key, (void *)64), 0);

	set(&a, "a", register_b);
	set(&b, "b", mark);
	begin();
	iv_task_register(&a);
	run_rounds(1);
	expect("ab.");
	end();
}


/* Descriptors are served while a task registers itself in each round. */
static int rounds;
static int most_rounds;
static int round_usec;

static void endless(void *unused)
{
	(void)unused;
	rounds++;
	if (round_usec)
		usleep(round_usec);
	iv_task_register(&a);
}

static void count_rounds(void *unused)
{
	static int times;

	(void)unused;
	if (rounds > most_rounds)
		most_rounds = rounds;
	rounds = 0;
	if (++times == 100)
		iv_quit();
}

static void run_endless_task(void)
{
	iv_init();
	add(&a, NULL, endless);
	add_ready(count_rounds);
	iv_main();
	remove_ready();
	iv_task_unregister(&a);
	iv_deinit();
}

static void endless_task(void)
{
	run_endless_task();
	check(most_rounds > 0);
	check(most_rounds <= 64);
}

/* Each round takes longer than rounds may take in all without a wait. */
static void endless_slow_task(void)
{
	round_usec = 100;
	run_endless_task();
	check(most_rounds > 0);
	check(most_rounds <= 2);
}

static const struct check_case cases[] = {
	{ "tasks run once, in order",
	  tasks_run_in_order_and_once, EACH_METHOD, 0 },
	{ "a task is registered until right before its handler",
	  main_returns_after_the_last, EACH_METHOD, 0 },
	{ "a task registered by a timer runs at the end of the next round",
	  registered_by_a_timer, EACH_METHOD, 0 },
	{ "tasks registered by a descriptor run in the next round, in order",
	  registered_by_a_descriptor, EACH_METHOD, 0 },
	{ "a task registered in a round runs at its end",
	  registered_in_a_round, EACH_METHOD, 0 },
	{ "a chain of tasks is one round",
	  a_chain_is_one_round, EACH_METHOD, 0 },
	{ "a task that registers itself runs again in the next round",
	  registers_itself, EACH_METHOD, 0 },
	{ "a task that ran in a round and is registered again runs in the next",
	  registered_after_it_ran, EACH_METHOD, 0 },
	{ "two tasks that register each other run once per round",
	  two_that_register_each_other, EACH_METHOD, 0 },
	{ "a task initialised and registered in a round runs in the next one",
	  initialised_in_the_round, EACH_METHOD, 0 },
	{ "a task initialised in an earlier round runs at the end of this one",
	  initialised_in_an_earlier_round, EACH_METHOD, 0 },
	{ "a task that ran in an earlier round runs at the end of this one",
	  ran_in_an_earlier_round, EACH_METHOD, 0 },
	{ "a task may be unregistered before its round reaches it",
	  unregistered_before_it_is_reached, EACH_METHOD, 0 },
	{ "a task that is registered again moves to the end of its round",
	  registered_again, EACH_METHOD, 0 },
	{ "a task of the next round may be unregistered",
	  unregistered_in_the_next_round, EACH_METHOD, 0 },
	{ "handler and cookie may change while registered",
	  members_may_change_while_registered, EACH_METHOD, 0 },
	{ "handler and cookie may be set before the initialiser",
	  members_may_be_set_before_the_initialiser, EACH_METHOD, 0 },
	{ "a handler may free its own task",
	  a_handler_may_free_its_task, EACH_METHOD, 0 },
	{ "a copy of an unregistered task may be registered",
	  a_copy_is_a_task, EACH_METHOD, 0 },
	{ "a copy runs in the next round if its original ran in this one",
	  a_copy_remembers_its_round, EACH_METHOD, 0 },
	{ "zeroed memory is an unregistered task",
	  zeroed_memory_is_a_task, EACH_METHOD, 0 },
	{ "tasks may be initialised before there is a loop",
	  initialised_before_the_loop, EACH_METHOD, 0 },
	{ "ready descriptors are served after at most 64 rounds",
	  endless_task, EACH_METHOD, 0 },
	{ "ready descriptors are served after at most two slow rounds",
	  endless_slow_task, EACH_METHOD, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

/*
 * libivykis: lists.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Included first, as it must not need another header. */
#include <iv_list.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

struct item {
	char			letter;
	struct iv_list_head	list;
	int			after;
};

static struct item items[5] = {
	{ .letter = 'a' }, { .letter = 'b' }, { .letter = 'c' },
	{ .letter = 'd' }, { .letter = 'e' },
};

static struct iv_list_head *item(char letter)
{
	return &items[letter - 'a'].list;
}

static char letter_of(const struct iv_list_head *ilh)
{
	return iv_container_of(ilh, struct item, list)->letter;
}

/* The list has these elements, in both directions. */
static void expect(const struct iv_list_head *head, const char *want)
{
	int len = strlen(want);
	struct iv_list_head *ilh;
	int i = 0;

	check_int(iv_list_empty(head), len == 0);
	iv_list_for_each (ilh, head)
		check_int(letter_of(ilh), want[i++]);
	check_int(i, len);
	for (ilh = head->prev; ilh != head; ilh = ilh->prev)
		check_int(letter_of(ilh), want[--i]);
	check_int(i, 0);
}

static void fill(struct iv_list_head *head, const char *letters)
{
	INIT_IV_LIST_HEAD(head);
	while (*letters)
		iv_list_add_tail(item(*letters++), head);
}

static void all_initialisers_make_empty_lists(void)
{
	struct iv_list_head by_brace = IV_LIST_HEAD_INIT(by_brace);
	static struct iv_list_head in_static =
		IV_LIST_HEAD_INIT(in_static);
	static IV_LIST_HEAD(in_static_by_name);
	IV_LIST_HEAD(by_name);
	struct iv_list_head by_statement;

	memset(&by_statement, 0x5a, sizeof(by_statement));
	INIT_IV_LIST_HEAD(&by_statement);
	expect(&by_brace, "");
	expect(&in_static, "");
	expect(&by_name, "");
	expect(&in_static_by_name, "");
	expect(&by_statement, "");
	check(by_statement.next == &by_statement);
	check(by_statement.prev == &by_statement);
}

static void add_inserts_first(void)
{
	struct iv_list_head head = IV_LIST_HEAD_INIT(head);

	iv_list_add(item('a'), &head);
	expect(&head, "a");
	iv_list_add(item('b'), &head);
	iv_list_add(item('c'), &head);
	expect(&head, "cba");
	iv_list_add(item('d'), item('b'));
	expect(&head, "cbda");
}

static void add_tail_inserts_last(void)
{
	struct iv_list_head head = IV_LIST_HEAD_INIT(head);

	iv_list_add_tail(item('a'), &head);
	iv_list_add_tail(item('b'), &head);
	iv_list_add_tail(item('c'), &head);
	expect(&head, "abc");
	iv_list_add_tail(item('d'), item('b'));
	expect(&head, "adbc");
}

static void del_leaves_null(void)
{
	struct iv_list_head head;

	fill(&head, "abc");
	iv_list_del(item('b'));
	expect(&head, "ac");
	check(item('b')->next == NULL);
	check(item('b')->prev == NULL);
	iv_list_del(item('a'));
	expect(&head, "c");
	iv_list_del(item('c'));
	expect(&head, "");
}

static void del_init_may_be_repeated(void)
{
	struct iv_list_head head;

	fill(&head, "abc");
	check_int(iv_list_empty(item('c')), 0);
	iv_list_del_init(item('c'));
	expect(&head, "ab");
	check_int(iv_list_empty(item('c')), 1);
	iv_list_del_init(item('c'));
	check_int(iv_list_empty(item('c')), 1);
	expect(&head, "ab");
}

typedef void splice_fn(struct iv_list_head *, struct iv_list_head *);

static void expect_splice(splice_fn *fn, const char *from, const char *to,
			  const char *want)
{
	struct iv_list_head source, target;

	fill(&source, from);
	fill(&target, to);
	fn(&source, &target);
	expect(&target, want);
	if (fn == iv_list_splice_init || fn == iv_list_splice_tail_init)
		expect(&source, "");
}

static void expect_splices(splice_fn *fn, const char *both)
{
	expect_splice(fn, "ab", "cd", both);
	expect_splice(fn, "ab", "", "ab");
	expect_splice(fn, "", "cd", "cd");
	expect_splice(fn, "", "", "");
	expect_splice(fn, "e", "", "e");
}

static void splice_puts_all_at_the_front(void)
{
	expect_splices(iv_list_splice, "abcd");
	expect_splices(iv_list_splice_init, "abcd");
}

static void splice_tail_puts_all_at_the_end(void)
{
	expect_splices(iv_list_splice_tail, "cdab");
	expect_splices(iv_list_splice_tail_init, "cdab");
}

static void splice_between_neighbours(void)
{
	struct iv_list_head source, target;

	fill(&source, "ab");
	fill(&target, "cd");
	__iv_list_splice(&source, item('c'), item('d'));
	expect(&target, "cabd");
}

static void move_between_lists(void)
{
	struct iv_list_head from, to;

	fill(&from, "abc");
	fill(&to, "de");
	iv_list_move(item('b'), &to);
	expect(&from, "ac");
	expect(&to, "bde");
	iv_list_move_tail(item('a'), &to);
	expect(&from, "c");
	expect(&to, "bdea");
	iv_list_move(item('c'), item('d'));
	expect(&from, "");
	expect(&to, "bdcea");
}

static void move_within_a_list(void)
{
	struct iv_list_head head;

	fill(&head, "abc");
	iv_list_move(item('a'), &head);
	expect(&head, "abc");
	iv_list_move(item('c'), &head);
	expect(&head, "cab");
	iv_list_move_tail(item('b'), &head);
	expect(&head, "cab");
	iv_list_move_tail(item('c'), &head);
	expect(&head, "abc");

	fill(&head, "a");
	iv_list_move(item('a'), &head);
	iv_list_move_tail(item('a'), &head);
	expect(&head, "a");
}

static void replace_element_or_head(void)
{
	struct iv_list_head head, head2;

	fill(&head, "abc");
	iv_list_replace(item('b'), item('d'));
	expect(&head, "adc");
	iv_list_replace(item('a'), item('b'));
	iv_list_replace(item('c'), item('e'));
	expect(&head, "bde");
	iv_list_replace(&head, &head2);
	expect(&head2, "bde");

	fill(&head, "a");
	iv_list_replace(item('a'), item('b'));
	expect(&head, "b");
}

static void singular_is_one_element(void)
{
	struct iv_list_head head;

	fill(&head, "");
	check_int(iv_list_is_singular(&head), 0);
	fill(&head, "a");
	check_int(iv_list_is_singular(&head), 1);
	fill(&head, "ab");
	check_int(iv_list_is_singular(&head), 0);
	fill(&head, "abc");
	check_int(iv_list_is_singular(&head), 0);
}

static void neighbours_are_found(void)
{
	struct iv_list_head head;
	struct item *it;

	fill(&head, "abc");
	it = iv_list_first_entry(&head, struct item, list);
	check_int(it->letter, 'a');
	it = iv_list_next_entry(it, list);
	check_int(it->letter, 'b');
	it = iv_list_last_entry(&head, struct item, list);
	check_int(it->letter, 'c');
	it = iv_list_prev_entry(it, list);
	check_int(it->letter, 'b');
}

static void entry_loops_visit_all_in_order(void)
{
	struct iv_list_head *ilh;
	struct iv_list_head head;
	struct item *it, *it2;
	char seen[9] = "";
	int num = 0;

	fill(&head, "abcd");
	iv_list_for_each_prev (ilh, &head)
		seen[num++] = letter_of(ilh);
	iv_list_for_each_entry (it, &head, list)
		seen[num++] = it->letter;
	check(!strcmp(seen, "dcbaabcd"));

	iv_list_for_each_entry (it, &head, list)
		if (it->letter == 'b')
			break;
	check(it == &items[1]);

	fill(&head, "");
	iv_list_for_each_prev (ilh, &head)
		check(0);
	iv_list_for_each_entry (it, &head, list)
		check(0);
	iv_list_for_each_entry_safe (it, it2, &head, list)
		check(0);
}

static void safe_entry_loops_allow_removal(void)
{
	struct iv_list_head head;
	struct item *it, *it2;
	char seen[6] = "";
	int num = 0;

	fill(&head, "abcde");
	iv_list_for_each_entry_safe (it, it2, &head, list) {
		seen[num++] = it->letter;
		if (it->letter != 'c')
			iv_list_del(&it->list);
	}
	check(!strcmp(seen, "abcde"));
	expect(&head, "c");
}

static void safe_loops_allow_removal(void)
{
	struct iv_list_head *ilh, *ilh2;
	struct iv_list_head head;
	char seen[6] = "";

	fill(&head, "abcde");
	iv_list_for_each_safe (ilh, ilh2, &head) {
		strncat(seen, &(char){ letter_of(ilh) }, 1);
		if (letter_of(ilh) != 'c')
			iv_list_del(ilh);
	}
	check(!strcmp(seen, "abcde"));
	expect(&head, "c");

	fill(&head, "");
	iv_list_for_each_safe (ilh, ilh2, &head)
		check(0);
}

static void add_ten(struct iv_list_head *head)
{
	int i;

	for (i = 0; i < 10; i++) {
		struct item *it = calloc(1, sizeof(*it));

		check(it != NULL);
		iv_list_add(&it->list, head);
	}
}

static void safe_loops_allow_freeing(void)
{
	IV_LIST_HEAD(head);
	struct iv_list_head *ilh, *ilh2;
	int num = 0;

	add_ten(&head);
	iv_list_for_each_safe (ilh, ilh2, &head) {
		struct item *it = iv_list_entry(ilh, struct item, list);

		iv_list_del(&it->list);
		memset(it, 0x5a, sizeof(*it));
		free(it);
		num++;
	}
	check_int(num, 10);
	expect(&head, "");
}

static void safe_entry_loops_allow_freeing(void)
{
	IV_LIST_HEAD(head);
	struct item *it, *it2;
	int num = 0;

	add_ten(&head);
	iv_list_for_each_entry_safe (it, it2, &head, list) {
		iv_list_del(&it->list);
		memset(it, 0x5a, sizeof(*it));
		free(it);
		num++;
	}
	check_int(num, 10);
	expect(&head, "");
}

static void cursor_is_valid_after_break(void)
{
	struct iv_list_head *ilh;
	struct iv_list_head head;

	fill(&head, "abc");
	iv_list_for_each (ilh, &head)
		if (letter_of(ilh) == 'b')
			break;
	check(ilh == item('b'));
}

static void container_is_found_from_any_member(void)
{
	const struct iv_list_head *constant = &items[2].list;
	struct iv_list_head *ptr = &items[1].list;
	struct item *it;

	check(iv_container_of(&items[3].after, struct item, after) ==
	      &items[3]);
	check(iv_list_entry(&items[3].list, struct item, list) == &items[3]);

	/* The pointer may be to const; the result never is. */
	it = iv_container_of(constant, struct item, list);
	check(it == &items[2]);

	/* The argument is evaluated once. */
	it = iv_container_of(ptr++, struct item, list);
	check(it == &items[1]);
	check(ptr == &items[1].list + 1);
}

static const struct check_case cases[] = {
	{ "all initialisers make an empty list",
	  all_initialisers_make_empty_lists, ONCE, 0 },
	{ "iv_list_add inserts after the head or any element",
	  add_inserts_first, ONCE, 0 },
	{ "iv_list_add_tail inserts before the head or any element",
	  add_tail_inserts_last, ONCE, 0 },
	{ "iv_list_del unlinks and leaves null pointers",
	  del_leaves_null, ONCE, 0 },
	{ "iv_list_del_init unlinks, and may be repeated",
	  del_init_may_be_repeated, ONCE, 0 },
	{ "iv_list_splice moves all to the front, in order",
	  splice_puts_all_at_the_front, ONCE, 0 },
	{ "iv_list_splice_tail moves all to the end, in order",
	  splice_tail_puts_all_at_the_end, ONCE, 0 },
	{ "__iv_list_splice moves all between two neighbours",
	  splice_between_neighbours, ONCE, 0 },
	{ "iv_list_move and iv_list_move_tail move between lists",
	  move_between_lists, ONCE, 0 },
	{ "iv_list_move and iv_list_move_tail move within a list",
	  move_within_a_list, ONCE, 0 },
	{ "iv_list_replace replaces an element or a head",
	  replace_element_or_head, ONCE, 0 },
	{ "iv_list_is_singular is true for exactly one element",
	  singular_is_one_element, ONCE, 0 },
	{ "first, last, next and previous entries are found",
	  neighbours_are_found, ONCE, 0 },
	{ "loops over entries, and backward loops, visit all in order",
	  entry_loops_visit_all_in_order, ONCE, 0 },
	{ "a safe loop over entries allows the current one to be removed",
	  safe_entry_loops_allow_removal, ONCE, 0 },
	{ "a safe loop allows the current element to be removed",
	  safe_loops_allow_removal, ONCE, 0 },
	{ "a safe loop allows the current element to be freed",
	  safe_loops_allow_freeing, ONCE, 0 },
	{ "a safe loop over entries allows the current one to be freed",
	  safe_entry_loops_allow_freeing, ONCE, 0 },
	{ "a loop is one statement, and its cursor is valid after a break",
	  cursor_is_valid_after_break, ONCE, 0 },
	{ "iv_container_of finds the container, and evaluates once",
	  container_is_found_from_any_member, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

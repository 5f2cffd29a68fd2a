/*
 * libivykis: balanced trees.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Included first, as it must not need another header. */
#include <iv_avl.h>

#include <iv_list.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

#define NUM		1024

struct item {
	unsigned int		key;
	int			in_tree;
	struct iv_avl_node	an;
};

static struct item items[NUM];

static struct item *item_of(const struct iv_avl_node *an)
{
	return iv_container_of(an, struct item, an);
}

static int comparisons;

static int compare(const struct iv_avl_node *_a, const struct iv_avl_node *_b)
{
	unsigned int a = item_of(_a)->key;
	unsigned int b = item_of(_b)->key;

	comparisons++;

	return (a > b) - (a < b);
}

static struct iv_avl_tree tree = IV_AVL_TREE_INIT(compare);
static int num_in_tree;

static unsigned int rnd(unsigned int n)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;

	return (x >> 20) % n;
}

/* Check what inline functions in programs rely on; returns the height. */
static int check_subtree(const struct iv_avl_node *an,
			 const struct iv_avl_node *parent, int *num)
{
	int l, r;

	if (an == NULL)
		return 0;

	check(an->parent == parent);
	l = check_subtree(an->left, an, num);
	r = check_subtree(an->right, an, num);
	check(l - r >= -1 && l - r <= 1);
	check_int(an->height, 1 + (l > r ? l : r));
	(*num)++;

	return an->height;
}

static void check_order(void)
{
	struct iv_avl_node *an, *last = NULL;
	int num = 0;

	check(iv_avl_tree_min(&tree) == NULL ||
	      iv_avl_tree_prev(iv_avl_tree_min(&tree)) == NULL);
	iv_avl_tree_for_each (an, &tree) {
		check_int(item_of(an)->in_tree, 1);
		check(iv_avl_tree_prev(an) == last);
		if (last != NULL)
			check(item_of(last)->key < item_of(an)->key);
		last = an;
		num++;
	}
	check(last == iv_avl_tree_max(&tree));
	check_int(num, num_in_tree);
}

static void check_tree(void)
{
	int num = 0;

	comparisons = 0;
	check_subtree(tree.root, NULL, &num);
	check_int(num, num_in_tree);
	check_int(iv_avl_tree_empty(&tree), num == 0);
	check_order();
	check_int(comparisons, 0);
}

static void insert(struct item *it)
{
	check_int(iv_avl_tree_insert(&tree, &it->an), 0);
	it->in_tree = 1;
	num_in_tree++;
}

static void delete(struct item *it)
{
	iv_avl_tree_delete(&tree, &it->an);
	it->in_tree = 0;
	num_in_tree--;
}

static void insert_with_any_key(struct item *it)
{
	for (;;) {
		struct iv_avl_node before;

		memset(&it->an, 0x5a, sizeof(it->an));
		it->key = rnd(4 * NUM);
		before = it->an;
		if (iv_avl_tree_insert(&tree, &it->an) == 0)
			break;

		check(!memcmp(&it->an, &before, sizeof(before)));
		check_tree();
	}
	it->in_tree = 1;
	num_in_tree++;
}

static void insert_all_and_delete_in_order(void)
{
	int i;

	for (i = 0; i < NUM; i++) {
		insert_with_any_key(&items[i]);
		check_tree();
	}
	for (i = 0; i < NUM; i++) {
		delete(&items[i]);
		check_tree();
	}
}

static void random_operations(void)
{
	int i;

	for (i = 0; i < 20000; i++) {
		struct item *it = &items[rnd(i % 7 ? 100 : NUM)];

		if (it->in_tree)
			delete(it);
		else
			insert_with_any_key(it);
		check_tree();
	}
}

static void insert_keys(int from, int to, int step)
{
	int i;

	for (i = from; i != to; i += step) {
		items[i].key = i;
		insert(&items[i]);
		check_tree();
	}
}

static void sorted_input(void)
{
	int i;

	insert_keys(0, NUM, 1);
	for (i = NUM - 1; i >= 0; i--) {
		delete(&items[i]);
		check_tree();
	}
	insert_keys(NUM - 1, -1, -1);
	while (tree.root != NULL) {
		delete(item_of(tree.root));
		check_tree();
	}
}

/* All orders of insertion, and many of deletion for each. */
#define FEW		6

static void delete_in_order(int order)
{
	int left = FEW;

	while (left) {
		int nth = order % left;
		int i = 0;

		order /= left--;
		while (!items[i].in_tree || nth--)
			i++;
		delete(&items[i]);
		check_tree();
	}
}

static void insert_in_order(int order)
{
	int left = FEW;

	while (left) {
		int nth = order % left;
		int i = 0;

		order /= left--;
		while (items[i].in_tree || nth--)
			i++;
		items[i].key = i;
		insert(&items[i]);
	}
	check_tree();
}

static void all_orders(void)
{
	int factorial = 720;
	int i, j;

	for (i = 0; i < factorial; i++) {
		for (j = 0; j < factorial; j += 7) {
			insert_in_order(i);
			delete_in_order((i + j) % factorial);
		}
	}
}

static void duplicate_is_rejected(void)
{
	struct iv_avl_node root_before, node_before;
	struct item twin = { .key = 500 };

	insert_keys(0, NUM, 1);
	memset(&twin.an, 0x5a, sizeof(twin.an));
	node_before = twin.an;
	root_before = *tree.root;
	check_errno(iv_avl_tree_insert(&tree, &twin.an), EEXIST);
	check(!memcmp(&node_before, &twin.an, sizeof(node_before)));
	check(!memcmp(&root_before, tree.root, sizeof(root_before)));
	check_tree();

	twin.key = NUM;
	insert(&twin);
	check_tree();
	check(iv_avl_tree_max(&tree) == &twin.an);
}

static struct iv_avl_node *new_node;

static int compare_new_node_first(const struct iv_avl_node *a,
				  const struct iv_avl_node *b)
{
	check(a == new_node);
	check(b != new_node);

	return compare(a, b);
}

static void new_node_is_compared_to_old_ones(void)
{
	int i;

	INIT_IV_AVL_TREE(&tree, compare_new_node_first);
	check(tree.root == NULL);
	for (i = 0; i < 100; i++) {
		new_node = &items[i].an;
		items[i].key = i * 37 % 100;
		insert(&items[i]);
	}

	/* A deletion compares nothing, or this check would fail. */
	new_node = NULL;
	for (i = 0; i < 100; i++)
		delete(&items[i]);
	check_tree();
}

static void few_comparisons_are_made(void)
{
	insert_keys(0, NUM, 1);
	items[0].key = NUM;
	delete(&items[0]);
	comparisons = 0;
	insert(&items[0]);
	/* A tree of 1024 nodes is at most 14 high. */
	check(comparisons <= 14);
}

static void empty_tree_has_no_nodes(void)
{
	struct iv_avl_node *an, *an2;

	check_int(iv_avl_tree_empty(&tree), 1);
	check(iv_avl_tree_min(&tree) == NULL);
	check(iv_avl_tree_max(&tree) == NULL);
	check(iv_avl_tree_next_safe(NULL) == NULL);
	iv_avl_tree_for_each (an, &tree)
		check(0);
	iv_avl_tree_for_each_safe (an, an2, &tree)
		check(0);
}

static void one_node_is_leaf_and_root(void)
{
	insert(&items[0]);
	check(tree.root == &items[0].an);
	check(items[0].an.left == NULL && items[0].an.right == NULL);
	check(items[0].an.parent == NULL);
	check_int(items[0].an.height, 1);
	check(iv_avl_tree_min(&tree) == &items[0].an);
	check(iv_avl_tree_max(&tree) == &items[0].an);
	check(iv_avl_tree_next(&items[0].an) == NULL);
	check(iv_avl_tree_prev(&items[0].an) == NULL);
	check(iv_avl_tree_next_safe(&items[0].an) == NULL);
	delete(&items[0]);
	check_tree();
}

static void safe_loops_allow_deletion(void)
{
	struct iv_avl_node *an, *an2;
	unsigned int next = 0;

	insert_keys(0, NUM, 1);
	iv_avl_tree_for_each_safe (an, an2, &tree) {
		struct item *it = item_of(an);

		check(it->key == next++);
		if (it->key % 3 == 0)
			continue;
		delete(it);
		memset(&it->an, 0x5a, sizeof(it->an));
	}
	check(next == NUM);
	check_int(num_in_tree, (NUM + 2) / 3);
	check_tree();
}

static void others_are_not_moved(void)
{
	int i;

	insert_keys(0, NUM, 1);
	for (i = 0; i < NUM; i += 2)
		delete(&items[i]);
	for (i = 1; i < NUM; i += 2) {
		check(item_of(&items[i].an)->key == (unsigned int)i);
		check(iv_avl_tree_next(&items[i].an) ==
		      (i + 2 < NUM ? &items[i + 2].an : NULL));
	}
	check_tree();
}

static const struct check_case cases[] = {
	{ "an empty tree has no nodes",
	  empty_tree_has_no_nodes, ONCE, 0 },
	{ "a single node is leaf and root",
	  one_node_is_leaf_and_root, ONCE, 0 },
	{ "1024 random inserts, and deletes in order, keep the tree balanced",
	  insert_all_and_delete_in_order, ONCE, 0 },
	{ "20000 random operations keep the tree balanced and sorted",
	  random_operations, ONCE, 0 },
	{ "sorted inserts, and deletes of the root, keep the tree balanced",
	  sorted_input, ONCE, 0 },
	{ "six nodes keep the tree balanced in all orders of insertion",
	  all_orders, ONCE, 0 },
	{ "inserting a duplicate returns EEXIST, and changes nothing",
	  duplicate_is_rejected, ONCE, 0 },
	{ "a new node is the first argument of each comparison",
	  new_node_is_compared_to_old_ones, ONCE, 0 },
	{ "an insertion compares once per level",
	  few_comparisons_are_made, ONCE, 0 },
	{ "a safe loop allows the current node to be deleted",
	  safe_loops_allow_deletion, ONCE, 0 },
	{ "a deletion moves no other node in memory",
	  others_are_not_moved, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}

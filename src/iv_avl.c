/*
 * libivykis: balanced binary search trees.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The heights of a node's two subtrees differ by at most one.  rebalance()
 * carries a change at the bottom upwards, until it comes to a subtree whose
 * height has not changed.
 */

#include <errno.h>
#include <iv_avl.h>

static int height(const struct iv_avl_node *an)
{
	return an != NULL ? an->height : 0;
}

static int balance(const struct iv_avl_node *an)
{
	return height(an->right) - height(an->left);
}

static void set_height(struct iv_avl_node *an)
{
	int l = height(an->left);
	int r = height(an->right);

	an->height = 1 + (l > r ? l : r);
}

/* Put `by', which may be NULL, in the place of `an' below its parent. */
static void replace(struct iv_avl_tree *tree, struct iv_avl_node *an,
		    struct iv_avl_node *by)
{
	struct iv_avl_node *p = an->parent;

	if (p == NULL)
		tree->root = by;
	else if (p->left == an)
		p->left = by;
	else
		p->right = by;

	if (by != NULL)
		by->parent = p;
}

static void set_left(struct iv_avl_node *an, struct iv_avl_node *child)
{
	an->left = child;
	if (child != NULL)
		child->parent = an;
}

static void set_right(struct iv_avl_node *an, struct iv_avl_node *child)
{
	an->right = child;
	if (child != NULL)
		child->parent = an;
}

/* Both rotations return the node that is then on top. */
static struct iv_avl_node *
rotate_left(struct iv_avl_tree *tree, struct iv_avl_node *an)
{
	struct iv_avl_node *top = an->right;

	replace(tree, an, top);
	set_right(an, top->left);
	set_left(top, an);
	set_height(an);
	set_height(top);

	return top;
}

static struct iv_avl_node *
rotate_right(struct iv_avl_tree *tree, struct iv_avl_node *an)
{
	struct iv_avl_node *top = an->left;

	replace(tree, an, top);
	set_left(an, top->right);
	set_right(top, an);
	set_height(an);
	set_height(top);

	return top;
}

static void rebalance(struct iv_avl_tree *tree, struct iv_avl_node *an)
{
	while (an != NULL) {
		int old = an->height;

		if (balance(an) < -1) {
			if (balance(an->left) > 0)
				rotate_left(tree, an->left);
			an = rotate_right(tree, an);
		} else if (balance(an) > 1) {
			if (balance(an->right) < 0)
				rotate_right(tree, an->right);
			an = rotate_left(tree, an);
		} else {
			set_height(an);
		}

		if (an->height == old)
			return;
		an = an->parent;
	}
}

int iv_avl_tree_insert(struct iv_avl_tree *tree, struct iv_avl_node *an)
{
	struct iv_avl_node **link = &tree->root;
	struct iv_avl_node *p = NULL;

	while (*link != NULL) {
		int diff;

		p = *link;
		diff = tree->compare(an, p);
		if (diff == 0) {
			errno = EEXIST;
			return -1;
		}
		link = diff < 0 ? &p->left : &p->right;
	}

	an->left = NULL;
	an->right = NULL;
	an->parent = p;
	an->height = 1;
	*link = an;
	rebalance(tree, p);

	return 0;
}

/* Remove a node that has at most one child. */
static void unlink_node(struct iv_avl_tree *tree, struct iv_avl_node *an)
{
	replace(tree, an, an->left != NULL ? an->left : an->right);
}

void iv_avl_tree_delete(struct iv_avl_tree *tree, struct iv_avl_node *an)
{
	struct iv_avl_node *by;
	struct iv_avl_node *from;

	if (an->left == NULL || an->right == NULL) {
		unlink_node(tree, an);
		rebalance(tree, an->parent);
		return;
	}

	/* The next node on the higher side takes its place. */
	if (balance(an) > 0)
		by = iv_avl_tree_next(an);
	else
		by = iv_avl_tree_prev(an);

	from = by->parent != an ? by->parent : by;
	unlink_node(tree, by);
	set_left(by, an->left);
	set_right(by, an->right);
	by->height = an->height;
	replace(tree, an, by);
	rebalance(tree, from);
}

struct iv_avl_node *iv_avl_tree_next(struct iv_avl_node *an)
{
	struct iv_avl_node *p;

	if (an->right != NULL) {
		for (an = an->right; an->left != NULL; an = an->left)
			;
		return an;
	}

	for (p = an->parent; p != NULL && p->right == an; p = p->parent)
		an = p;

	return p;
}

struct iv_avl_node *iv_avl_tree_prev(struct iv_avl_node *an)
{
	struct iv_avl_node *p;

	if (an->left != NULL) {
		for (an = an->left; an->right != NULL; an = an->right)
			;
		return an;
	}

	for (p = an->parent; p != NULL && p->left == an; p = p->parent)
		an = p;

	return p;
}

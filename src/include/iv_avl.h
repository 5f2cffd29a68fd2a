/*
 * libivykis: balanced binary search trees.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Nodes are embedded in the caller's structures.  No call allocates or locks;
 * each takes O(log n).  Needs no loop and no iv_init().
 */

#ifndef __IV_AVL_H
#define __IV_AVL_H

#include <inttypes.h>
#define __need_NULL		/* and nothing else: names are the program's */
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iv_avl_node {
	struct iv_avl_node	*left;
	struct iv_avl_node	*right;
	struct iv_avl_node	*parent;
	uint8_t			height;		/* 1 for a leaf */
};

/* compare() gives < 0, 0 or > 0 as a comes before, equals or follows b. */
struct iv_avl_tree {
	int	(*compare)(const struct iv_avl_node *a,
			   const struct iv_avl_node *b);
	struct iv_avl_node	*root;
};

#define IV_AVL_TREE_INIT(comp)		{ (comp), NULL }

#define INIT_IV_AVL_TREE(tree, comp)		\
	do {					\
		(tree)->compare = (comp);	\
		(tree)->root = NULL;		\
	} while (0)

/*
 * Insert an; compare() gets it as its first argument.  Returns 0, or -1 with
 * errno EEXIST if the tree holds an equal node: tree and node are unchanged.
 */
int iv_avl_tree_insert(struct iv_avl_tree *tree, struct iv_avl_node *an);

/* Remove an, which must be in the tree.  Does not call compare(). */
void iv_avl_tree_delete(struct iv_avl_tree *tree, struct iv_avl_node *an);

/* The node after or before an in order, or NULL. */
struct iv_avl_node *iv_avl_tree_next(struct iv_avl_node *an);
struct iv_avl_node *iv_avl_tree_prev(struct iv_avl_node *an);

/* 1 if the tree has no node, else 0. */
static inline int iv_avl_tree_empty(const struct iv_avl_tree *tree)
{
	return tree->root == NULL;
}

/* The first node in order, or NULL. */
static inline struct iv_avl_node *
iv_avl_tree_min(const struct iv_avl_tree *tree)
{
	struct iv_avl_node *an = tree->root;

	while (an != NULL && an->left != NULL)
		an = an->left;

	return an;
}

/* The last node in order, or NULL. */
static inline struct iv_avl_node *
iv_avl_tree_max(const struct iv_avl_tree *tree)
{
	struct iv_avl_node *an = tree->root;

	while (an != NULL && an->right != NULL)
		an = an->right;

	return an;
}

/* iv_avl_tree_next(), and NULL for NULL. */
static inline struct iv_avl_node *
iv_avl_tree_next_safe(struct iv_avl_node *an)
{
	return an != NULL ? iv_avl_tree_next(an) : NULL;
}

/* Loop in order; the tree must not change in the body. */
#define iv_avl_tree_for_each(an, tree)				\
	for (an = iv_avl_tree_min(tree); an != NULL;		\
	     an = iv_avl_tree_next(an))

/* The same; the current node may be deleted, the next one may not. */
#define iv_avl_tree_for_each_safe(an, an2, tree)		\
	for (an = iv_avl_tree_min(tree),			\
	     an2 = iv_avl_tree_next_safe(an); an != NULL;	\
	     an = an2, an2 = iv_avl_tree_next_safe(an))

#ifdef __cplusplus
}
#endif

#endif

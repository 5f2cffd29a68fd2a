/*
 * libivykis: balanced binary search trees.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Nodes are embedded in the caller's structures.  No function allocates memory
 * or takes a lock; each takes O(log n).  They need no loop and may be called
 * from any thread.  The caller ensures that nobody else uses a tree while one
 * thread changes it.
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

/* compare() returns < 0, 0 or > 0 if a comes before, equals or follows b. */
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
 * Inserts an, which is the first argument of each call of compare().  Returns
 * 0, or -1 with errno set to EEXIST if the tree contains an equal node: then
 * tree and node are unchanged.
 */
int iv_avl_tree_insert(struct iv_avl_tree *tree, struct iv_avl_node *an);

/* Removes an, which must be in the tree.  Does not call compare(). */
void iv_avl_tree_delete(struct iv_avl_tree *tree, struct iv_avl_node *an);

/* Return the node after and the node before an, or NULL. */
struct iv_avl_node *iv_avl_tree_next(struct iv_avl_node *an);
struct iv_avl_node *iv_avl_tree_prev(struct iv_avl_node *an);

/* Returns 1 if the tree has no node, else 0. */
static inline int iv_avl_tree_empty(const struct iv_avl_tree *tree)
{
	return tree->root == NULL;
}

/* Returns the first node in order, or NULL. */
static inline struct iv_avl_node *
iv_avl_tree_min(const struct iv_avl_tree *tree)
{
	struct iv_avl_node *an = tree->root;

	while (an != NULL && an->left != NULL)
		an = an->left;

	return an;
}

/* Returns the last node in order, or NULL. */
static inline struct iv_avl_node *
iv_avl_tree_max(const struct iv_avl_tree *tree)
{
	struct iv_avl_node *an = tree->root;

	while (an != NULL && an->right != NULL)
		an = an->right;

	return an;
}

/* Returns iv_avl_tree_next(), or NULL for NULL. */
static inline struct iv_avl_node *
iv_avl_tree_next_safe(struct iv_avl_node *an)
{
	return an != NULL ? iv_avl_tree_next(an) : NULL;
}

/* Loops over the nodes in order; the body must not change the tree. */
#define iv_avl_tree_for_each(an, tree)				\
	for (an = iv_avl_tree_min(tree); an != NULL;		\
	     an = iv_avl_tree_next(an))

/* The same, but the body may delete the current node, not the next one. */
#define iv_avl_tree_for_each_safe(an, an2, tree)		\
	for (an = iv_avl_tree_min(tree),			\
	     an2 = iv_avl_tree_next_safe(an); an != NULL;	\
	     an = an2, an2 = iv_avl_tree_next_safe(an))

#ifdef __cplusplus
}
#endif

#endif

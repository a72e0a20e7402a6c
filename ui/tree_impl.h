/* What the parts of the tree share; not for views. */
#ifndef QS_UI_TREE_IMPL_H
#define QS_UI_TREE_IMPL_H

#include "ui/tree.h"

/* The node after n in display order below root, QS_NO_INDEX at the end; does not look at folds. */
uint32_t qs_tree_after(const qs_tree *t, uint32_t n, uint32_t root);
/* Link the nodes in the order of t->sort, and list the keys in display order. */
bool qs_tree_arrange(qs_tree *t);
/* Set the flags of every key from the filter, the search and the marks. */
void qs_tree_reflag(qs_tree *t);
/* The folds as they were chosen; under a filter that leaves few keys, everything they are in. */
void qs_tree_lay_open(qs_tree *t);
/* List the visible lines anew, with the cursor on the node selected before if it is still there. */
bool qs_tree_relist(qs_tree *t);
/* Write down by name what the flags say is marked; false when memory is out. */
bool qs_tree_keep_marks(qs_tree *t);
/* Record a fold; false when memory is out. */
bool qs_tree_note_fold(qs_tree *t, uint32_t node, bool open);

#endif

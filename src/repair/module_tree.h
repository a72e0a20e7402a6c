/* The tree of modules over a list of dotted keys: nodes in one array, parents before their children. */
#ifndef QS_REPAIR_MODULE_TREE_H
#define QS_REPAIR_MODULE_TREE_H

#include "base/map.h"
#include "base/vec.h"
#include "repair/compare.h"

/* Last children while the tree grows, so that appending costs nothing. */
typedef struct qs_tree_ends {
    uint32_t first_leaf, last_leaf, first_module, last_module;
} qs_tree_ends;

typedef struct qs_module_tree {
    QS_VEC(qs_tree_node) nodes;
    QS_VEC(qs_tree_ends) ends; /* by node; freed by finish */
    qs_map by_path;            /* modules only */
    qs_str last_path;          /* of the key added last, and its node: neighbours share their module */
    uint32_t last_module;
} qs_module_tree; /* zero-initialise */

/* Makes the root. */
bool qs_module_tree_begin(qs_module_tree *t, size_t rows, qs_err *e);
/* A leaf for key, and the modules above it. Names deeper than a few hundred components hang at that depth.
 * Returns the leaf, QS_NO_INDEX with *e set when memory is out. key is borrowed. */
uint32_t qs_module_tree_add(qs_module_tree *t, qs_str key, uint32_t row, qs_err *e);
/* Link own keys before submodules. */
void qs_module_tree_finish(qs_module_tree *t);
/* Add the counts of the leaves up, once they are set; those of modules must be 0. */
void qs_module_tree_count(qs_module_tree *t);
/* Another finished tree over the very same keys, counts 0. */
bool qs_module_tree_copy(qs_module_tree *t, const qs_module_tree *from, qs_err *e);
uint32_t qs_module_tree_find(const qs_module_tree *t, qs_str path);
void qs_module_tree_free(qs_module_tree *t);

#endif

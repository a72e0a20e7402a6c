/* The dicts and lists that a distributed checkpoint was made flat from. */
#ifndef QS_MODEL_DCP_TREE_H
#define QS_MODEL_DCP_TREE_H

#include "format/dcp.h"
#include "format/pickle_emit.h"

typedef struct qs_dcp_branch {
    qs_str key;    /* in its parent, if that is a dict */
    uint32_t item; /* of a leaf, else UINT32_MAX */
    bool list;
    uint32_t first, last, next, count; /* children; 0 is none, because the top is nobody's child */
} qs_dcp_branch;

typedef struct qs_dcp_tree {
    QS_VEC(qs_dcp_branch) v; /* [0] is the top, a dict */
} qs_dcp_tree;

/* Flat, one dict of all keys, where the paths are missing or make no tree of dicts and full lists. */
bool qs_dcp_tree_build(const qs_dcp *d, qs_dcp_tree *out, qs_err *e);
void qs_dcp_tree_free(qs_dcp_tree *t);

/* Emits the value of item i. */
typedef bool (*qs_dcp_leaf)(void *ctx, uint32_t item, qs_err *e);
/* The content of the top dict, which the caller has pushed; SETITEMs included. */
bool qs_dcp_tree_emit(const qs_dcp_tree *t, qs_emit *m, qs_dcp_leaf leaf, void *ctx, qs_err *e);

#endif

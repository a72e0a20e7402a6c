/* The aligned tree: every key of the result, of B and of the target, once, with its status, under its
 * modules. */
#ifndef QS_REPAIR_COMPARE_H
#define QS_REPAIR_COMPARE_H

#include "quant/family.h"
#include "repair/resolve.h"
#include "repair/strict.h"

typedef enum qs_status {
#define QS_STATUS(NAME, ...) QS_STATUS_##NAME,
#include "repair/status.def"
#undef QS_STATUS
    QS_STATUS_COUNT
} qs_status;

typedef struct qs_status_info {
    const char *name, *glyph, *ascii, *help;
    bool problem;
} qs_status_info;
const qs_status_info *qs_status_get(qs_status s);
typedef struct qs_mark_info {
    const char *name, *glyph, *ascii, *help;
} qs_mark_info;
const qs_mark_info *qs_mark_get(qs_mark m);

/* One aligned row per key. */
typedef struct qs_row {
    qs_str key;
    uint32_t r;    /* resolution entry, QS_NO_INDEX = gap in column A */
    uint32_t b;    /* entry of B, QS_NO_INDEX = gap */
    uint32_t m;    /* entry of the target, QS_NO_INDEX = gap */
    uint32_t tree; /* its leaf node in the tree */
    qs_status status;
    qs_mark mark;
    qs_family family;
    qs_role role;
    uint16_t block_len; /* length of the quantizer prefix in key, 0 if none */
    bool role_is_weight;
} qs_row;

/* Node of the module tree; node 0 is the root (name ""). A module and a key of the same name are two nodes.
 */
typedef struct qs_tree_node {
    qs_str name;                                /* last path component */
    qs_str path;                                /* full dotted path */
    uint32_t parent, first_child, next_sibling; /* QS_NO_INDEX at the end */
    uint32_t row;                               /* leaf: its row; QS_NO_INDEX for modules */
    uint32_t module;                            /* module of the target, QS_NO_INDEX if it has none */
    uint32_t depth;                             /* root 0 */
    uint32_t count_a, count_b, count_m;         /* leaves below with something in that column */
    uint32_t count_status[QS_STATUS_COUNT];     /* leaves below by status */
} qs_tree_node;

typedef struct qs_compare qs_compare;

/* The resolution (with its A, B and target) and a verdict over it; all borrowed. verdict may be NULL without
 * target. */
bool qs_compare_make(const qs_resolution *r, const qs_verdict *verdict, qs_compare **out, qs_err *e);
/* The same after a change of the plan: what an earlier comparison (of the same B and target; NULL: none)
 * knows about keys is taken from it where all keys are still the same, instead of found anew. */
bool qs_compare_again(const qs_compare *before, const qs_resolution *r, const qs_verdict *verdict,
                      qs_compare **out, qs_err *e);
void qs_compare_free(qs_compare *c);
const qs_resolution *qs_compare_resolution(const qs_compare *c);
uint32_t qs_compare_rows(const qs_compare *c); /* in the target's order, then B's, then A's */
const qs_row *qs_compare_row(const qs_compare *c, uint32_t i);
uint32_t qs_compare_find(const qs_compare *c, qs_str key);
uint32_t qs_compare_nodes(const qs_compare *c);
const qs_tree_node *qs_compare_node(const qs_compare *c, uint32_t i);
/* Node of a module path ("model.0"), QS_NO_INDEX if none. */
uint32_t qs_compare_find_module(const qs_compare *c, qs_str path);
/* Children: a module's own keys first, then its submodules, each in the order rows were first seen. */

#endif

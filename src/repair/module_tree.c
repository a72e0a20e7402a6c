#include "repair/module_tree.h"

#include <stdlib.h>

/* A key of a million dots would be a million nodes. */
enum { DEPTH_MAX = 250 };

static uint32_t push_node(qs_module_tree *t, qs_tree_node node, qs_err *e) {
    static const qs_tree_ends none = {QS_NO_INDEX, QS_NO_INDEX, QS_NO_INDEX, QS_NO_INDEX};
    if (t->nodes.n >= QS_NO_INDEX - 1 || !qs_push(&t->nodes, node)) {
        qs_nomem(e);
        return QS_NO_INDEX;
    }
    if (!qs_push(&t->ends, none)) {
        t->nodes.n--;
        qs_nomem(e);
        return QS_NO_INDEX;
    }
    return (uint32_t)t->nodes.n - 1;
}

bool qs_module_tree_begin(qs_module_tree *t, size_t rows, qs_err *e) {
    qs_tree_node root = {.name = {"", 0},
                         .path = {"", 0},
                         .parent = QS_NO_INDEX,
                         .first_child = QS_NO_INDEX,
                         .next_sibling = QS_NO_INDEX,
                         .row = QS_NO_INDEX,
                         .module = QS_NO_INDEX};
    if (!qs_reserve(&t->nodes, rows + rows / 4 + 1) || !qs_reserve(&t->ends, rows + rows / 4 + 1))
        return qs_nomem(e);
    t->last_path = root.path;
    t->last_module = 0;
    return push_node(t, root, e) != QS_NO_INDEX && (qs_map_put(&t->by_path, root.path, 0) || qs_nomem(e));
}

static uint32_t add_child(qs_module_tree *t, uint32_t parent, qs_str path, uint32_t row, qs_err *e) {
    qs_str above = t->nodes.v[parent].path;
    qs_tree_node node = {.name = qs_str_sub(path, above.n ? above.n + 1 : 0, path.n),
                         .path = path,
                         .parent = parent,
                         .first_child = QS_NO_INDEX,
                         .next_sibling = QS_NO_INDEX,
                         .row = row,
                         .module = QS_NO_INDEX,
                         .depth = t->nodes.v[parent].depth + 1};
    uint32_t at = push_node(t, node, e);
    if (at == QS_NO_INDEX) return at;
    qs_tree_ends *x = &t->ends.v[parent];
    uint32_t *first = row == QS_NO_INDEX ? &x->first_module : &x->first_leaf;
    uint32_t *last = row == QS_NO_INDEX ? &x->last_module : &x->last_leaf;
    if (*last == QS_NO_INDEX)
        *first = at;
    else
        t->nodes.v[*last].next_sibling = at;
    *last = at;
    return at;
}

/* The path of the module a key hangs at. */
static qs_str module_of(qs_str key) {
    qs_str path = qs_str_parent(key);
    size_t dots = 0;
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] == '.' && ++dots == DEPTH_MAX) return qs_str_sub(path, 0, i);
    return path;
}

/* The nearest ancestor that is there, then down again making what lacks. A component may be empty
 * (".weight"): the name then starts at the dot, and the node hangs at the root. */
static uint32_t ensure_module(qs_module_tree *t, qs_str path, qs_err *e) {
    uint32_t at;
    qs_str have = path;
    while ((at = qs_map_get(&t->by_path, have)) == QS_MAP_NONE) have = qs_str_parent(have);
    while (have.n < path.n) {
        size_t to = have.n + 1;
        while (to < path.n && path.p[to] != '.') to++;
        have = qs_str_sub(path, 0, to);
        at = add_child(t, at, have, QS_NO_INDEX, e);
        if (at == QS_NO_INDEX) return at;
        if (!qs_map_put(&t->by_path, have, at)) {
            qs_nomem(e);
            return QS_NO_INDEX;
        }
    }
    return at;
}

uint32_t qs_module_tree_add(qs_module_tree *t, qs_str key, uint32_t row, qs_err *e) {
    qs_str path = module_of(key);
    if (!qs_str_eq(path, t->last_path)) {
        uint32_t module = ensure_module(t, path, e);
        if (module == QS_NO_INDEX) return QS_NO_INDEX;
        t->last_path = path;
        t->last_module = module;
    }
    return add_child(t, t->last_module, key, row, e);
}

static void add_counts(qs_tree_node *to, const qs_tree_node *from) {
    to->count_a += from->count_a;
    to->count_b += from->count_b;
    to->count_m += from->count_m;
    for (int s = 0; s < QS_STATUS_COUNT; s++) to->count_status[s] += from->count_status[s];
}

void qs_module_tree_finish(qs_module_tree *t) {
    for (size_t i = 0; i < t->nodes.n; i++) {
        const qs_tree_ends *x = &t->ends.v[i];
        t->nodes.v[i].first_child = x->first_leaf != QS_NO_INDEX ? x->first_leaf : x->first_module;
        if (x->last_leaf != QS_NO_INDEX) t->nodes.v[x->last_leaf].next_sibling = x->first_module;
    }
    qs_vec_free(&t->ends);
}

void qs_module_tree_count(qs_module_tree *t) {
    for (size_t i = t->nodes.n; i > 1; i--)
        add_counts(&t->nodes.v[t->nodes.v[i - 1].parent], &t->nodes.v[i - 1]);
}

static void clear_counts(qs_tree_node *n) {
    n->count_a = n->count_b = n->count_m = 0;
    memset(n->count_status, 0, sizeof n->count_status);
}

bool qs_module_tree_copy(qs_module_tree *t, const qs_module_tree *from, qs_err *e) {
    if (!qs_reserve(&t->nodes, from->nodes.n) || !qs_map_copy(&t->by_path, &from->by_path))
        return qs_nomem(e);
    t->nodes.n = from->nodes.n;
    for (size_t i = 0; i < t->nodes.n; i++) {
        t->nodes.v[i] = from->nodes.v[i];
        clear_counts(&t->nodes.v[i]);
    }
    return true;
}

uint32_t qs_module_tree_find(const qs_module_tree *t, qs_str path) {
    uint32_t i = qs_map_get(&t->by_path, path);
    return i == QS_MAP_NONE ? QS_NO_INDEX : i;
}

void qs_module_tree_free(qs_module_tree *t) {
    qs_vec_free(&t->nodes);
    qs_vec_free(&t->ends);
    qs_map_free(&t->by_path);
}

/* Whether two object graphs are the same up to node ids: same values, same sharing, same cycles. Header only,
 * for tests and fuzzers. */
#ifndef TESTS_GRAPH_EQ_H
#define TESTS_GRAPH_EQ_H

#include "base/vec.h"
#include "format/object.h"

#include <stdlib.h>

static inline bool graph_atom(const qs_graph *g, qs_node n) {
    switch (qs_node_kind_of(g, n)) {
    case QS_NODE_TUPLE: return qs_node_len(g, n) == 0;
    case QS_NODE_LIST:
    case QS_NODE_SET:
    case QS_NODE_FROZENSET:
    case QS_NODE_DICT:
    case QS_NODE_REDUCE:
    case QS_NODE_NEWOBJ:
    case QS_NODE_PERSID: return false;
    default: return true;
    }
}

static inline bool graph_same_value(const qs_graph *a, qs_node x, const qs_graph *b, qs_node y) {
    double u = qs_node_float(a, x), v = qs_node_float(b, y);
    qs_call c, d;
    qs_node_call(a, x, &c);
    qs_node_call(b, y, &d);
    return qs_node_kind_of(a, x) == qs_node_kind_of(b, y) && qs_node_int(a, x) == qs_node_int(b, y) &&
           memcmp(&u, &v, sizeof u) == 0 && qs_str_eq(qs_node_str(a, x), qs_node_str(b, y)) &&
           qs_str_eq(qs_node_module(a, x), qs_node_module(b, y)) &&
           qs_str_eq(qs_node_name(a, x), qs_node_name(b, y)) && qs_node_len(a, x) == qs_node_len(b, y) &&
           qs_node_pairs(a, x) == qs_node_pairs(b, y) && c.builds == d.builds &&
           qs_node_children(a, x) == qs_node_children(b, y);
}

/* False if they differ; *where (may be NULL) is then the node of a. */
static inline bool graph_equal(const qs_graph *a, const qs_graph *b, qs_node *where) {
    QS_VEC(qs_node) todo = {0};
    qs_node *to = calloc((size_t)qs_graph_count(a) + 1, sizeof *to);
    qs_node *back = calloc((size_t)qs_graph_count(b) + 1, sizeof *back);
    bool same = to && back && qs_push(&todo, qs_graph_root(a)) && qs_push(&todo, qs_graph_root(b));
    while (same && todo.n) {
        qs_node y = todo.v[--todo.n], x = todo.v[--todo.n];
        if (where) *where = x;
        if (x == QS_NODE_NONE || y == QS_NODE_NONE) {
            same = x == y;
            continue;
        }
        if (to[x] == y && back[y] == x) continue;
        same = graph_same_value(a, x, b, y);
        if (!same || graph_atom(a, x)) continue;
        same = !to[x] && !back[y];
        to[x] = y;
        back[y] = x;
        for (size_t i = 0; same && i < qs_node_children(a, x); i++)
            same = qs_push(&todo, qs_node_child(a, x, i)) && qs_push(&todo, qs_node_child(b, y, i));
    }
    free(todo.v);
    free(to);
    free(back);
    return same;
}

#endif

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

/* A comparison of several pairs of nodes that belong together: what one pair shares with another must be
 * shared in both graphs. */
typedef struct graph_pairs {
    const qs_graph *a, *b;
    QS_VEC(qs_node) todo; /* x, y, x, y ... */
    qs_node *to, *back;   /* what a node of a is in b, and the other way round */
    bool failed;          /* memory is out */
} graph_pairs;

static inline void graph_pairs_begin(graph_pairs *p, const qs_graph *a, const qs_graph *b) {
    *p = (graph_pairs){.a = a, .b = b};
    p->to = calloc((size_t)qs_graph_count(a) + 1, sizeof *p->to);
    p->back = calloc((size_t)qs_graph_count(b) + 1, sizeof *p->back);
    p->failed = !p->to || !p->back;
}

static inline void graph_pairs_add(graph_pairs *p, qs_node x, qs_node y) {
    p->failed = p->failed || !qs_push(&p->todo, x) || !qs_push(&p->todo, y);
}

/* Take x and y for the same, whatever they hold. */
static inline void graph_pairs_take(graph_pairs *p, qs_node x, qs_node y) {
    if (p->failed || x == QS_NODE_NONE || y == QS_NODE_NONE) return;
    p->to[x] = y;
    p->back[y] = x;
}

/* False if they differ; *where (may be NULL) is then the node of a. */
static inline bool graph_pairs_equal(graph_pairs *p, qs_node *where) {
    bool same = !p->failed;
    while (same && p->todo.n) {
        qs_node y = p->todo.v[--p->todo.n], x = p->todo.v[--p->todo.n];
        if (where) *where = x;
        if (x == QS_NODE_NONE || y == QS_NODE_NONE) {
            same = x == y;
            continue;
        }
        if (p->to[x] == y && p->back[y] == x) continue;
        same = graph_same_value(p->a, x, p->b, y);
        if (!same || graph_atom(p->a, x)) continue;
        same = !p->to[x] && !p->back[y];
        p->to[x] = y;
        p->back[y] = x;
        for (size_t i = 0; same && i < qs_node_children(p->a, x); i++)
            graph_pairs_add(p, qs_node_child(p->a, x, i), qs_node_child(p->b, y, i));
        same = same && !p->failed;
    }
    return same;
}

static inline void graph_pairs_end(graph_pairs *p) {
    free(p->todo.v);
    free(p->to);
    free(p->back);
}

/* False if they differ; *where (may be NULL) is then the node of a. */
static inline bool graph_equal(const qs_graph *a, const qs_graph *b, qs_node *where) {
    graph_pairs p;
    graph_pairs_begin(&p, a, b);
    graph_pairs_add(&p, qs_graph_root(a), qs_graph_root(b));
    bool same = graph_pairs_equal(&p, where);
    graph_pairs_end(&p);
    return same;
}

/* May what was emitted be read as another graph? A name with a dot comes back as getattr(...), which is the
 * same to Python and another graph to us; a call that is read as bytes or a set is left a call when too much
 * was copied for those already. */
static inline bool graph_reads_otherwise(const qs_graph *g) {
    for (qs_node n = 1; n <= qs_graph_count(g); n++) {
        qs_str s = qs_node_name(g, n);
        qs_call c;
        if (s.n && memchr(s.p, '.', s.n)) return true;
        if (!qs_node_call(g, n, &c) || qs_node_len(g, c.args) == 0) continue;
        if (qs_node_is_global(g, c.callable, "_codecs", "encode") ||
            qs_node_is_global(g, c.callable, "collections", "OrderedDict") ||
            qs_str_starts(qs_node_module(g, c.callable), QS_STR("__builtin__")) ||
            qs_str_is(qs_node_module(g, c.callable), "builtins"))
            return true;
    }
    return false;
}

#endif

#include "model/dcp_tree.h"

#include "base/map.h"

#include <stdlib.h>

enum { MAX_PATH = 64, NONE = UINT32_MAX };

typedef struct maker {
    const qs_dcp *d;
    qs_dcp_tree *t;
    qs_arena arena;
    qs_map child_of; /* parent's index in 4 bytes, then the key */
    qs_err *err;
} maker;

static void append(qs_dcp_tree *t, uint32_t parent, uint32_t child) {
    qs_dcp_branch *p = &t->v.v[parent];
    if (p->count)
        t->v.v[p->last].next = child;
    else
        p->first = child;
    p->last = child;
    p->count++;
}

static bool new_branch(maker *k, uint32_t parent, qs_str key, bool list, uint32_t *out) {
    if (k->t->v.n >= NONE - 1) return qs_fail(k->err, QS_E_LIMIT, "too many entries");
    *out = (uint32_t)k->t->v.n;
    if (!qs_push(&k->t->v, (qs_dcp_branch){.key = key, .item = NONE, .list = list})) return qs_nomem(k->err);
    append(k->t, parent, *out);
    return true;
}

/* The child of that key, made if it is not there. */
static bool child(maker *k, uint32_t parent, qs_str key, bool list, uint32_t *out) {
    char *name = qs_arena_alloc(&k->arena, sizeof parent + key.n);
    if (!name) return qs_nomem(k->err);
    memcpy(name, &parent, sizeof parent);
    if (key.n) memcpy(name + sizeof parent, key.p, key.n);
    uint32_t fresh = (uint32_t)k->t->v.n;
    *out = qs_map_add(&k->child_of, (qs_str){name, sizeof parent + key.n}, fresh);
    if (*out == QS_MAP_NONE) return qs_nomem(k->err);
    return *out < fresh || new_branch(k, parent, key, list, out);
}

/* One step of a path. *fits is false where the paths contradict each other. */
static bool step(maker *k, uint32_t *at, qs_node part, bool list_next, bool *fits) {
    const qs_graph *g = k->d->graph;
    char number[24];
    bool index = qs_node_kind_of(g, part) == QS_NODE_INT;
    qs_str key = qs_node_str(g, part);
    uint32_t parent = *at, before = (uint32_t)k->t->v.n;
    *fits = k->t->v.v[parent].list == index && k->t->v.v[parent].item == NONE &&
            (index || qs_node_kind_of(g, part) == QS_NODE_STR);
    if (!*fits) return true;
    if (index) {
        snprintf(number, sizeof number, "%lld", (long long)qs_node_int(g, part));
        key = qs_str_of(number);
    }
    if (!child(k, parent, key, list_next, at)) return false;
    bool made = *at == before;
    if (made && index) /* full lists only, in order */
        *fits = qs_node_int(g, part) == (int64_t)k->t->v.v[parent].count - 1;
    else if (!made)
        *fits = k->t->v.v[*at].list == list_next && k->t->v.v[*at].item == NONE;
    return true;
}

static bool add_item(maker *k, uint32_t i, bool *fits) {
    const qs_graph *g = k->d->graph;
    qs_node path = k->d->items.v[i].path;
    size_t n = qs_node_len(g, path);
    uint32_t at = 0, before = (uint32_t)k->t->v.n;
    *fits = qs_node_kind_of(g, path) == QS_NODE_TUPLE && n > 0 && n <= MAX_PATH;
    for (size_t s = 0; *fits && s < n; s++) {
        bool list_next = s + 1 < n && qs_node_kind_of(g, qs_node_item(g, path, s + 1)) == QS_NODE_INT;
        if (!step(k, &at, qs_node_item(g, path, s), list_next, fits)) return false;
    }
    *fits = *fits && at >= before; /* a leaf of its own */
    if (*fits) k->t->v.v[at].item = i;
    return true;
}

static bool start(maker *k) {
    k->t->v.n = 0;
    return qs_push(&k->t->v, (qs_dcp_branch){.item = NONE}) || qs_nomem(k->err);
}

static bool build_flat(maker *k) {
    uint32_t at;
    if (!start(k)) return false;
    for (uint32_t i = 0; i < k->d->items.n; i++) {
        if (!new_branch(k, 0, k->d->items.v[i].key, false, &at)) return false;
        k->t->v.v[at].item = i;
    }
    return true;
}

bool qs_dcp_tree_build(const qs_dcp *d, qs_dcp_tree *out, qs_err *e) {
    maker k = {.d = d, .t = out, .err = e};
    bool fits = true, ok = start(&k);
    for (uint32_t i = 0; ok && fits && i < d->items.n; i++) ok = add_item(&k, i, &fits);
    if (ok && !fits) ok = build_flat(&k);
    qs_map_free(&k.child_of);
    qs_arena_free(&k.arena);
    return ok;
}

void qs_dcp_tree_free(qs_dcp_tree *t) {
    qs_vec_free(&t->v);
}

/* ---- as a pickle ---- */

static bool open_branch(const qs_dcp_branch *b, qs_emit *m, qs_err *e) {
    if (b->list) return qs_emit_code(m, QS_OP_EMPTY_LIST, e) && qs_emit_code(m, QS_OP_MARK, e);
    return qs_emit_code(m, QS_OP_EMPTY_DICT, e);
}

/* What puts a value that was just made into its parent. */
static bool put_in(const qs_dcp_branch *parent, qs_emit *m, qs_err *e) {
    return parent->list || qs_emit_code(m, QS_OP_SETITEM, e);
}

bool qs_dcp_tree_emit(const qs_dcp_tree *t, qs_emit *m, qs_dcp_leaf leaf, void *ctx, qs_err *e) {
    uint32_t stack[MAX_PATH + 1] = {0}, next[MAX_PATH + 1] = {t->v.v[0].first}, depth = 0;
    for (;;) {
        uint32_t at = next[depth];
        const qs_dcp_branch *parent = &t->v.v[stack[depth]], *b = &t->v.v[at];
        if (at == 0) { /* all children are there */
            if (parent->list && !qs_emit_code(m, QS_OP_APPENDS, e)) return false;
            if (depth-- == 0) return true;
            if (!put_in(&t->v.v[stack[depth]], m, e)) return false;
            continue;
        }
        next[depth] = b->next;
        if (!parent->list && !qs_emit_str(m, b->key, e)) return false;
        if (b->item != NONE) {
            if (!leaf(ctx, b->item, e) || !put_in(parent, m, e)) return false;
            continue;
        }
        if (!open_branch(b, m, e)) return false;
        stack[++depth] = at;
        next[depth] = b->first;
    }
}

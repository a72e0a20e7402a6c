/* What is left after the rules: suggestions a person must look at. Never safe. */
#include "repair/match_impl.h"

#include <stdlib.h>

enum { MANY = UINT32_MAX - 1, LEFT_MAX = 200000 };

typedef struct left {
    QS_VEC(uint32_t) froms; /* indices into m->froms */
    QS_VEC(uint32_t) tos;   /* rows */
} left;

/* Quantizer keys are told apart by their blocks alone; endings and order would mix them up. */
static bool collect_left(const qs_matcher *m, const char *taken, left *l, qs_err *e) {
    for (uint32_t i = 0; i < m->froms.n; i++) {
        uint32_t row = m->froms.v[i].row;
        if (taken[row] || qs_match_is_quant(qs_compare_row(m->c, row))) continue;
        if (!qs_push(&l->froms, i)) return qs_nomem(e);
    }
    for (size_t i = 0; i < m->tos.n; i++) {
        uint32_t row = m->tos.v[i];
        if (taken[row] || qs_match_is_quant(qs_compare_row(m->c, row))) continue;
        if (!qs_push(&l->tos, row)) return qs_nomem(e);
    }
    return true;
}

/* Every ending of key at a dot -> value, MANY if several keys share it. */
static bool enter_endings(qs_map *map, qs_str key, uint32_t value, qs_err *e) {
    for (size_t i = key.n + 1; i > 0; i--) {
        if (i - 1 > 0 && key.p[i - 2] != '.') continue;
        qs_str end = qs_str_sub(key, i - 1, key.n);
        uint32_t stored = end.n ? qs_map_add(map, end, value) : value;
        if (stored == QS_MAP_NONE) return qs_nomem(e);
        if (stored != value && stored != MANY && !qs_map_put(map, end, MANY)) return qs_nomem(e);
    }
    return true;
}

/* The longest ending of key that some key in the map has; MANY if several have it. */
static uint32_t longest_ending(const qs_map *map, qs_str key, size_t *length) {
    for (size_t i = 0; i < key.n; i++) {
        if (i > 0 && key.p[i - 1] != '.') continue;
        uint32_t hit = qs_map_get(map, qs_str_sub(key, i, key.n));
        *length = key.n - i;
        if (hit != QS_MAP_NONE) return hit;
    }
    return QS_MAP_NONE;
}

static bool by_ending(qs_matcher *m, const left *l, char *used, qs_err *e) {
    qs_map of_to = {0}, of_from = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < l->tos.n; i++)
        ok = enter_endings(&of_to, qs_compare_row(m->c, l->tos.v[i])->key, l->tos.v[i], e);
    for (size_t i = 0; ok && i < l->froms.n; i++)
        ok = enter_endings(&of_from, m->froms.v[l->froms.v[i]].key, l->froms.v[i], e);
    for (size_t i = 0; ok && i < l->froms.n; i++) {
        uint32_t from = l->froms.v[i], row = m->froms.v[from].row;
        size_t n = 0, back = 0;
        uint32_t to = longest_ending(&of_to, m->froms.v[from].key, &n);
        if (to >= MANY) continue;
        qs_str name = qs_compare_row(m->c, to)->key;
        if (longest_ending(&of_from, name, &back) != from || back != n) continue;
        if (qs_match_fit(m->c, row, to) < QS_FIT_UNKNOWN) continue;
        qs_relation rel = qs_name_relate(m->froms.v[from].key, name);
        double confidence = rel.confidence < 0.85 ? rel.confidence : 0.85;
        ok = qs_match_add(m, from, to, confidence, "same end of the name and shape, and no other has both",
                          false, e);
        used[row] = used[to] = 1;
    }
    qs_map_free(&of_to);
    qs_map_free(&of_from);
    return ok;
}

/* "weight 16x3x3x3" */
static qs_str group_name(qs_matcher *m, qs_str key, qs_shape shape, qs_buf *buf) {
    char dims[256];
    qs_shape_text(shape, "x", dims, sizeof dims);
    buf->n = 0;
    qs_buf_add(buf, qs_str_leaf(key));
    qs_buf_addc(buf, ' ');
    qs_buf_addz(buf, dims);
    return buf->failed ? (qs_str){NULL, 0} : qs_arena_str(&m->arena, qs_buf_str(buf));
}

typedef struct group {
    QS_VEC(uint32_t) froms;
    QS_VEC(uint32_t) tos;
} group;
typedef struct groups {
    QS_VEC(group) v;
    qs_map map;
    qs_buf buf;
} groups;

static group *group_of(groups *g, qs_matcher *m, qs_str key, qs_shape shape) {
    qs_str name = group_name(m, key, shape, &g->buf);
    if (!name.p) return NULL;
    uint32_t at = qs_map_add(&g->map, name, (uint32_t)g->v.n);
    if (at == QS_MAP_NONE) return NULL;
    if (at == g->v.n && !qs_push(&g->v, (group){0})) return NULL;
    return &g->v.v[at];
}

static bool fill_groups(qs_matcher *m, const left *l, const char *used, groups *g) {
    for (size_t i = 0; i < l->froms.n; i++) {
        const qs_match_from *x = &m->froms.v[l->froms.v[i]];
        const qs_resolved *r =
            qs_resolution_entry(qs_compare_resolution(m->c), qs_compare_row(m->c, x->row)->r);
        if (used[x->row] || !r->shape_known) continue;
        group *to = group_of(g, m, x->key, r->shape);
        if (!to || !qs_push(&to->froms, l->froms.v[i])) return false;
    }
    for (size_t i = 0; i < l->tos.n; i++) {
        qs_shape shape;
        if (used[l->tos.v[i]] || !qs_match_wanted(m->c, l->tos.v[i], &shape)) continue;
        group *to = group_of(g, m, qs_compare_row(m->c, l->tos.v[i])->key, shape);
        if (!to || !qs_push(&to->tos, l->tos.v[i])) return false;
    }
    return true;
}

/* As many left over on both sides with the same last part and shape: very likely the same layers, numbered
 * anew. */
static bool by_order(qs_matcher *m, const left *l, const char *used, qs_err *e) {
    groups g = {0};
    bool ok = fill_groups(m, l, used, &g) || qs_nomem(e);
    for (size_t i = 0; ok && i < g.v.n; i++) {
        const group *x = &g.v.v[i];
        bool alone = x->froms.n == 1;
        if (x->froms.n != x->tos.n) continue;
        for (size_t k = 0; ok && k < x->froms.n; k++)
            ok = qs_match_add(m, x->froms.v[k], x->tos.v[k], alone ? 0.7 : 0.5,
                              alone ? "the only ones left with this shape"
                                    : "same shape, same place in the order",
                              false, e);
    }
    for (size_t i = 0; i < g.v.n; i++) {
        qs_vec_free(&g.v.v[i].froms);
        qs_vec_free(&g.v.v[i].tos);
    }
    qs_vec_free(&g.v);
    qs_map_free(&g.map);
    qs_buf_free(&g.buf);
    return ok;
}

bool qs_match_collect_weak(qs_matcher *m, const char *taken, qs_err *e) {
    left l = {0};
    char *used = calloc(qs_compare_rows(m->c) + 1u, 1);
    bool ok = (used || qs_nomem(e)) && collect_left(m, taken, &l, e);
    /* Endings cost memory for every component of every name; beyond this nobody would look at them one by
     * one. */
    bool few = l.froms.n <= LEFT_MAX && l.tos.n <= LEFT_MAX;
    ok = ok && (!few || by_ending(m, &l, used, e)) && by_order(m, &l, used, e);
    qs_vec_free(&l.froms);
    qs_vec_free(&l.tos);
    free(used);
    return ok;
}

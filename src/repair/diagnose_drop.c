/* What a repair leaves out: what is no part of any model, and what the model has no use for once it has all
 * it wants. */
#include "repair/cause_impl.h"
#include "repair/diagnose_impl.h"
#include "repair/match_impl.h"

#include <stdio.h>

const qs_row *qs_diag_mean_of_counter(const qs_compare *c, qs_str key) {
    char name[1024];
    if (!qs_str_is(qs_str_leaf(key), "num_batches_tracked")) return NULL;
    int n = snprintf(name, sizeof name, "%.*s.running_mean", QS_FMT(qs_str_parent(key)));
    if (n < 0 || (size_t)n >= sizeof name) return NULL;
    uint32_t row = qs_compare_find(c, (qs_str){name, (size_t)n});
    return row == QS_NO_INDEX ? NULL : qs_compare_row(c, row);
}

/* A counter whose BatchNorm has found no place may find one with it. */
static bool is_needless_counter(const qs_doctor *x, qs_str key) {
    const qs_row *mean = qs_diag_mean_of_counter(x->t.c, key);
    return !mean || !qs_match_is_spare(mean);
}

/* What is no part of the model whatever the model is, by its name. */
static bool is_baggage(const qs_doctor *x, qs_str key) {
    switch (qs_cause_of_key(key, true)) {
    case QS_CAUSE_LOSS:
    case QS_CAUSE_EXTRA_STATE:
    case QS_CAUSE_FX_CONSTANT: return true;
    case QS_CAUSE_BN_COUNTER: return is_needless_counter(x, key);
    default: return false;
    }
}

/* Copies of what is there already, or quantizers nobody asks for, by their names. */
static bool is_surplus(qs_str key) {
    qs_cause_id id = qs_cause_of_key(key, true);
    return id == QS_CAUSE_EMA_PREFIX || id == QS_CAUSE_UNDERSCORES || id == QS_CAUSE_CUSTOM_QUANT;
}

static qs_diag_gaps find_gaps(const qs_compare *c) {
    qs_diag_gaps g = {0};
    for (uint32_t i = 0; i < qs_compare_rows(c); i++) {
        const qs_row *row = qs_compare_row(c, i);
        g.wanted += row->m != QS_NO_INDEX;
        if (!qs_match_is_gap(row)) continue;
        g.quant |= qs_match_is_quant(row);
        g.missing++;
    }
    return g;
}

/* A key that may yet belong somewhere stays: where the model lacks something, names alone decide. */
static bool is_droppable(const qs_doctor *x, const qs_row *row) {
    const qs_diag_gaps *g = &x->gaps;
    if (!qs_match_is_spare(row)) return false;
    if (is_baggage(x, row->key) || (!g->missing && is_surplus(row->key))) return true;
    /* A packed payload is the weight itself. */
    return (x->to_float || !g->quant) && qs_match_is_quant(row) && row->role != QS_ROLE_PACKED;
}

bool qs_diag_repair_drop(qs_doctor *x) {
    bool done;
    x->gaps = find_gaps(x->t.c);
    if (x->gaps.missing == x->gaps.wanted) return true; /* another model: dropping helps nobody */
    return qs_diag_repair_rows(x, (qs_action){.kind = QS_ACT_DROP}, is_droppable, false, &done);
}

static qs_str first_part(qs_str key) {
    size_t n = 0;
    while (n < key.n && key.p[n] != '.') n++;
    return qs_str_sub(key, 0, n);
}

/* The prefixes under which the file has the whole model once more, as far as "name" is one of its keys. */
static bool find_copies(qs_doctor *x) {
    qs_map hits = {0};
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (!qs_match_is_spare(row)) continue;
        for (size_t at = 1; ok && at < row->key.n; at++) {
            if (row->key.p[at - 1] != '.') continue;
            uint32_t twin = qs_compare_find(x->t.c, qs_str_sub(row->key, at, row->key.n));
            if (twin == QS_NO_INDEX || qs_compare_row(x->t.c, twin)->m == QS_NO_INDEX) continue;
            qs_str prefix = qs_str_sub(row->key, 0, at);
            uint32_t n = qs_map_get(&hits, prefix);
            n = n == QS_MAP_NONE ? 1 : n + 1;
            ok = qs_map_put(&hits, prefix, n);
            if (ok && n * 10 >= x->gaps.wanted * 9) ok = qs_map_put(&x->copied, prefix, n);
        }
    }
    qs_map_free(&hits);
    return ok || qs_nomem(x->e);
}

static bool is_of_copy(const qs_doctor *x, qs_str key) {
    for (size_t at = 1; at < key.n; at++)
        if (key.p[at - 1] == '.' && qs_map_get(&x->copied, qs_str_sub(key, 0, at)) != QS_MAP_NONE)
            return true;
    return false;
}

/* The model has all it wants, and nothing by the name of the outermost module: a second network, a metric, an
 * auxiliary head. Below a module the model has, a key that is left says that the model is another one. */
static bool is_left_over(const qs_doctor *x, const qs_row *row) {
    /* what torch passes over is in nobody's way */
    if (!qs_match_is_spare(row) || !qs_status_get(row->status)->problem) return false;
    return is_droppable(x, row) || is_of_copy(x, row->key) ||
           qs_map_get(&x->tops, first_part(row->key)) == QS_MAP_NONE;
}

bool qs_diag_repair_left_over(qs_doctor *x) {
    bool done, ok = true;
    x->gaps = find_gaps(x->t.c);
    if (x->gaps.missing) return true;
    for (uint32_t i = 0; ok && i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        ok = row->m == QS_NO_INDEX || qs_map_put(&x->tops, first_part(row->key), i) || qs_nomem(x->e);
    }
    ok = ok && find_copies(x) &&
         qs_diag_repair_rows(x, (qs_action){.kind = QS_ACT_DROP}, is_left_over, false, &done);
    qs_map_free(&x->tops);
    qs_map_free(&x->copied);
    return ok;
}

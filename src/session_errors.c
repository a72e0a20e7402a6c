#include "session_errors.h"

#include "base/vec.h"
#include "session_preview.h"

#include <math.h>
#include <stdlib.h>

typedef struct search {
    const qs_session *s;
    const qs_compare *c;
    QS_VEC(qs_weight_error) found;
    const qs_progress *progress;
    qs_err *e;
} search;

/* ---- by the quantizers of the model ---- */

static bool by_block(search *x, qs_str block) {
    qs_arena arena = {0};
    qs_init_preview v;
    qs_err quiet = QS_ERR_INIT;
    bool ok = true;
    if (qs_session_preview_init(x->s, block, QS_INIT_OBSERVED, &arena, &v, &quiet) && v.has_quality) {
        uint32_t row = qs_compare_find(x->c, v.weight);
        qs_weight_error found = {row, v.quality, v.per_channel_db, v.batchnorm};
        if (row != QS_NO_INDEX) ok = qs_push(&x->found, found) || qs_nomem(x->e);
    }
    qs_arena_free(&arena);
    return ok;
}

/* The keys of a block follow each other, or nearly: a scale stands for its block once. */
static bool all_blocks(search *x) {
    uint32_t rows = qs_compare_rows(x->c);
    for (uint32_t i = 0; i < rows; i++) {
        const qs_row *row = qs_compare_row(x->c, i);
        bool scale = row->role == QS_ROLE_WEIGHT_SCALE && row->block_len && row->m != QS_NO_INDEX;
        if (scale && !by_block(x, qs_str_sub(row->key, 0, row->block_len))) return false;
        if (!qs_progress_step(x->progress, i + 1, rows, x->e)) return false;
    }
    return true;
}

/* ---- as int8 would ---- */

static bool as_int8(search *x, uint32_t i, const qs_checkpoint *from, const qs_tensor *t) {
    qs_weight_source src = {from, t};
    qs_weight w = qs_weight_of_tensor(qs_compare_row(x->c, i)->key, &src);
    qs_qconfig cfg = QS_QCONFIG_DEFAULT;
    qs_err quiet = QS_ERR_INIT;
    qs_weight_error found = {.row = i, .per_channel_db = NAN};
    qs_qparam qp;
    float lo, hi;
    if (!qs_weight_range(&w, &cfg, &lo, &hi, 1, x->progress, &quiet) ||
        !qs_qparams(&cfg, &lo, &hi, 1, &qp, &quiet) ||
        !qs_quality_measure(&w, &cfg, &qp, 1, &found.quality, NULL, &quiet))
        return quiet.code != QS_E_CANCELLED || qs_fail(x->e, QS_E_CANCELLED, "cancelled");
    return qs_push(&x->found, found) || qs_nomem(x->e);
}

static bool all_weights(search *x) {
    const qs_resolution *r = qs_session_resolution(x->s);
    uint32_t rows = qs_compare_rows(x->c);
    for (uint32_t i = 0; i < rows; i++) {
        const qs_row *row = qs_compare_row(x->c, i);
        const qs_checkpoint *from = NULL;
        const qs_tensor *t =
            row->r == QS_NO_INDEX ? NULL : qs_resolved_tensor(r, qs_resolution_entry(r, row->r), &from);
        bool weight = t && !t->bad && t->kind == QS_TENSOR_DENSE && t->shape.ndim >= 2 &&
                      qs_dtype_is_float(t->dtype) && qs_shape_numel(t->shape) > 1;
        if (weight && !as_int8(x, i, from, t)) return false;
    }
    return true;
}

static int worst_first(const void *a, const void *b) {
    const qs_weight_error *x = a, *y = b;
    double dx = x->quality.sqnr_db, dy = y->quality.sqnr_db;
    if (isnan(dx) != isnan(dy)) return isnan(dx) ? 1 : -1;
    return dx < dy ? -1 : dx > dy ? 1 : x->row < y->row ? -1 : x->row > y->row;
}

bool qs_session_weight_errors(const qs_session *s, qs_arena *arena, qs_weight_error **out, size_t *n,
                              bool *own, const qs_progress *progress, qs_err *e) {
    search x = {.s = s, .c = qs_session_compare(s), .progress = progress, .e = e};
    if (!x.c) return qs_fail(e, QS_E_USAGE, "no checkpoint is open");
    bool ok = !qs_session_target(s) || all_blocks(&x);
    *own = x.found.n > 0;
    if (ok && !*own) ok = all_weights(&x);
    if (ok && x.found.n) qsort(x.found.v, x.found.n, sizeof *x.found.v, worst_first);
    *n = x.found.n;
    *out = ok ? QS_ARENA_ARRAY(arena, x.found.n + 1, qs_weight_error) : NULL;
    if (ok && !*out) ok = qs_nomem(e);
    if (ok && x.found.n) memcpy(*out, x.found.v, x.found.n * sizeof *x.found.v);
    qs_vec_free(&x.found);
    return ok;
}

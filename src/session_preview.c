#include "session_preview.h"

#include <math.h>
#include <stdlib.h>

enum { WEIGHT_MAX = 1 << 23, VALUES_MAX = 1 << 20, BLOCK = 4096 };

/* ---- values ---- */

static void read_fill(const qs_fill *f, qs_preview_value *v) {
    double x[256];
    size_t size = qs_dtype_get(f->dtype)->size, n = size ? f->bytes / size : 0;
    v->n = n;
    v->dtype = f->dtype;
    v->origin = f->origin;
    v->min = INFINITY;
    v->max = -INFINITY;
    for (size_t i = 0; i < n;) {
        size_t now = n - i < 256 ? n - i : 256;
        qs_to_doubles(f->dtype, (const char *)f->data + i * size, now, x);
        for (size_t j = 0; j < now; j++, i++) {
            if (i < QS_PREVIEW_FIRST) v->first[v->first_n++] = x[j];
            v->min = fmin(v->min, x[j]);
            v->max = fmax(v->max, x[j]);
        }
    }
}

typedef struct preview {
    const qs_session *s;
    qs_init_context ctx;
    qs_init_cache *cache;
    qs_init_source source;
    qs_arena *arena;
    qs_fill scale, zero_point; /* as made, for the quality */
} preview;

/* What A holds under the key already, as if it had been made. Values that cannot be read are just not shown.
 */
static bool there(preview *p, uint32_t entry, qs_fill *out) {
    const qs_resolution *r = qs_session_resolution(p->s);
    const qs_resolved *x = qs_resolution_entry(r, entry);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = qs_resolved_tensor(r, x, &from);
    qs_err e = QS_ERR_INIT;
    if (qs_resolved_is_made(x)) return qs_resolved_fill(r, x, p->cache, p->arena, out, &e);
    if (!t || t->bad || t->kind != QS_TENSOR_DENSE) return false;
    size_t n = (size_t)qs_shape_numel(t->shape), size = qs_dtype_get(t->dtype)->size;
    if (n > VALUES_MAX) return false;
    void *data = qs_arena_array(p->arena, n, size);
    *out = (qs_fill){.dtype = t->dtype, .shape = t->shape, .data = data, .bytes = n * size};
    return data && qs_tensor_read(from, t, 0, n, data, &e);
}

static bool one_value(preview *p, const qs_expected *x, qs_str leaf, qs_init_preview *out, qs_err *e) {
    qs_preview_value *v = &out->value[out->values];
    uint32_t entry = qs_resolution_find(qs_session_resolution(p->s), x->key);
    qs_fill fill = {0};
    *v = (qs_preview_value){.leaf = leaf, .dtype = x->dtype, .there = entry != QS_NO_INDEX};
    out->values++;
    if (v->there) {
        if (!there(p, entry, &fill)) return true;
    } else {
        out->missing++;
        if (!qs_init_value(&p->ctx, x, p->source, p->cache, p->arena, &fill, e)) return false;
    }
    read_fill(&fill, v);
    if (qs_str_is(leaf, "scale")) p->scale = fill;
    if (qs_str_is(leaf, "zero_point")) p->zero_point = fill;
    return true;
}

static bool values(preview *p, qs_str block, qs_init_preview *out, qs_err *e) {
    const qs_manifest *m = p->ctx.target;
    for (uint32_t i = 0; i < qs_manifest_count(m) && out->values < QS_PREVIEW_VALUES; i++) {
        const qs_expected *x = qs_manifest_entry(m, i);
        if (x->key.n <= block.n + 1 || !qs_str_starts(x->key, block) || x->key.p[block.n] != '.') continue;
        if (!one_value(p, x, qs_str_sub(x->key, block.n + 1, x->key.n), out, e)) return false;
    }
    return true;
}

/* ---- the weight ---- */

static uint64_t count_of(const qs_weight *w) {
    return qs_shape_numel((qs_shape){w->ndim, w->dim});
}

/* Elements between two of the same channel along the factor's axis. */
static uint64_t inner_of(const qs_weight *w) {
    uint64_t inner = 1;
    for (uint32_t d = (uint32_t)w->factor_axis + 1; d < w->ndim; d++) inner *= (uint64_t)w->dim[d];
    return inner ? inner : 1;
}

/* The weight as the quantizer sees it. */
static bool read_weight(const qs_weight *w, float *out, uint64_t n, qs_err *e) {
    uint64_t inner = inner_of(w), channels = w->ndim ? (uint64_t)w->dim[w->factor_axis] : 1;
    for (uint64_t i = 0; i < n; i += BLOCK)
        if (!w->read(w->ctx, i, n - i < BLOCK ? (size_t)(n - i) : BLOCK, out + i, e)) return false;
    for (uint64_t i = 0; w->channel_factor && channels && i < n; i++)
        out[i] *= w->channel_factor[i / inner % channels];
    return true;
}

static void histogram(const float *v, uint64_t n, qs_init_preview *out) {
    float lo = INFINITY, hi = -INFINITY;
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    out->lo = lo;
    out->hi = hi;
    double scale = hi > lo ? QS_HIST_BINS / ((double)hi - lo) : 0;
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        int bin = (int)(((double)v[i] - lo) * scale);
        out->hist[bin < QS_HIST_BINS ? bin : QS_HIST_BINS - 1]++;
    }
}

/* SQNR with a scale for every channel of axis 0 in place of the one for all. */
static double per_channel(const qs_weight *w, const qs_qconfig *cfg, qs_arena *arena) {
    qs_err e = QS_ERR_INIT;
    qs_qconfig each = *cfg;
    if (qs_qscheme_per_channel(cfg->scheme) || w->ndim < 2) return NAN;
    each.scheme = qs_qscheme_symmetric(cfg->scheme) ? QS_PER_CHANNEL_SYMMETRIC : QS_PER_CHANNEL_AFFINE;
    each.ch_axis = w->factor_axis;
    size_t n;
    if (!qs_weight_channels(w, &each, &n, &e)) return NAN;
    float *lo = QS_ARENA_ARRAY(arena, n, float), *hi = QS_ARENA_ARRAY(arena, n, float);
    qs_qparam *qp = QS_ARENA_ARRAY(arena, n, qs_qparam);
    qs_quality q;
    bool ok = lo && hi && qp && qs_weight_range(w, &each, lo, hi, n, NULL, &e) &&
              qs_qparams(&each, lo, hi, n, qp, &e) && qs_quality_measure(w, &each, qp, n, &q, NULL, &e);
    return ok ? q.sqnr_db : NAN;
}

/* What the scale and zero point cost. Without both of the right length there is nothing to say. */
static void quality(preview *p, const qs_weight *w, qs_init_preview *out) {
    qs_err e = QS_ERR_INIT;
    const qs_qconfig *cfg = &out->config.cfg;
    size_t n, size = qs_dtype_get(p->scale.dtype)->size;
    if (!out->has_config || !size || !p->zero_point.data || !qs_weight_channels(w, cfg, &n, &e)) return;
    size_t zsize = qs_dtype_get(p->zero_point.dtype)->size;
    if (p->scale.bytes / size != n || !zsize || p->zero_point.bytes / zsize != n) return;
    qs_qparam *qp = QS_ARENA_ARRAY(p->arena, n, qs_qparam);
    for (size_t i = 0; qp && i < n; i++) {
        double s, z;
        qs_to_doubles(p->scale.dtype, (const char *)p->scale.data + i * size, 1, &s);
        qs_to_doubles(p->zero_point.dtype, (const char *)p->zero_point.data + i * zsize, 1, &z);
        qp[i] = (qs_qparam){(float)s, (int32_t)z, (float)z};
    }
    out->has_quality = qp && qs_quality_measure(w, cfg, qp, n, &out->quality, NULL, &e);
    if (n == 1 && qp) {
        out->grid_lo = ((double)cfg->quant_min - qp->zero_point) * qp->scale;
        out->grid_hi = ((double)cfg->quant_max - qp->zero_point) * qp->scale;
    }
    if (out->has_quality) out->per_channel_db = per_channel(w, cfg, p->arena);
}

/* Only for the eye: no weight, or one too large, is no error. */
static void weight(preview *p, qs_str block, qs_init_preview *out) {
    qs_err e = QS_ERR_INIT;
    qs_weight w;
    if (!qs_init_block_weight(&p->ctx, block, p->arena, &w, &e)) return;
    uint64_t n = count_of(&w);
    if (n == 0 || n > WEIGHT_MAX || w.factor_axis < 0 || (uint64_t)w.factor_axis >= w.ndim) return;
    float *v = malloc((size_t)n * sizeof *v);
    if (v && read_weight(&w, v, n, &e)) {
        out->weight = w.key;
        out->batchnorm = w.channel_factor != NULL;
        histogram(v, n, out);
        quality(p, &w, out);
    }
    free(v);
}

bool qs_session_preview_init(const qs_session *s, qs_str block, qs_init_source source, qs_arena *arena,
                             qs_init_preview *out, qs_err *e) {
    *out = (qs_init_preview){.per_channel_db = NAN, .grid_lo = NAN, .grid_hi = NAN};
    const qs_resolution *r = qs_session_resolution(s);
    if (!r || !qs_session_target(s)) return qs_fail(e, QS_E_USAGE, "there is no model to initialise for");
    preview p = {.s = s, .source = source, .arena = arena, .cache = qs_init_cache_new()};
    if (!p.cache) return qs_nomem(e);
    qs_resolution_init_context(r, NAN, &p.ctx);
    qs_err quiet = QS_ERR_INIT;
    out->has_config = qs_init_block_config(&p.ctx, block, &out->config, &quiet);
    bool ok = source == QS_INIT_COPY || values(&p, block, out, e);
    if (ok) weight(&p, block, out);
    out->is_weight = out->weight.n > 0;
    qs_init_cache_free(p.cache);
    return ok;
}

bool qs_session_preview_key(const qs_session *s, qs_str key, qs_init_source source, qs_arena *arena,
                            qs_preview_value *out, qs_err *e) {
    const qs_resolution *r = qs_session_resolution(s);
    const qs_manifest *m = qs_session_target(s);
    uint32_t i = r && m ? qs_manifest_find(m, key) : UINT32_MAX;
    if (i == UINT32_MAX) return qs_fail(e, QS_E_USAGE, "the model has no key of this name");
    qs_init_context ctx;
    qs_fill fill;
    qs_resolution_init_context(r, NAN, &ctx);
    *out = (qs_preview_value){.leaf = key};
    if (!qs_init_value(&ctx, qs_manifest_entry(m, i), source, NULL, arena, &fill, e)) return false;
    read_fill(&fill, out);
    return true;
}

/* ---- the same for all like it ---- */

static bool lands_well(const qs_session *s, const qs_rename_pair *pair) {
    const qs_compare *c = qs_session_compare(s);
    const qs_resolution *r = qs_session_resolution(s);
    uint32_t to = qs_compare_find(c, pair->to), from = qs_resolution_find(r, pair->from);
    if (to == QS_NO_INDEX || from == QS_NO_INDEX) return false;
    const qs_row *row = qs_compare_row(c, to);
    if (row->status != QS_STATUS_MISSING || row->m == QS_NO_INDEX) return false;
    const qs_expected *x = qs_manifest_entry(qs_session_target(s), row->m);
    const qs_resolved *y = qs_resolution_entry(r, from);
    return !x->shape_known || !y->shape_known || qs_shape_eq(x->shape, y->shape);
}

bool qs_session_rule_pairs(const qs_session *s, const qs_action *rule, qs_arena *arena, qs_rename_pair **out,
                           size_t *n, size_t *total, size_t *collisions, qs_err *e) {
    uint32_t live = qs_session_resolution(s) ? qs_resolution_live(qs_session_resolution(s)) : 0;
    qs_rename_pair *pairs = QS_ARENA_ARRAY(arena, (size_t)live + 1, qs_rename_pair);
    bool *clash = QS_ARENA_ARRAY(arena, (size_t)live + 1, bool);
    if (!pairs || !clash) return qs_nomem(e);
    if (!qs_session_preview_rule(s, rule, arena, pairs, clash, live, total, collisions, e)) return false;
    size_t keep = 0;
    for (size_t i = 0; i < *total && i < live; i++)
        if (!clash[i] && lands_well(s, &pairs[i])) pairs[keep++] = pairs[i];
    *out = pairs;
    *n = keep;
    return true;
}

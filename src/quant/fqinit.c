#include "quant/fqinit.h"

#include "quant/fqinit_impl.h"

#include <math.h>
#include <stdlib.h>

static const char *const sources[] = {"fresh", "observed", "datafree", "copy"};
enum { SOURCES = sizeof sources / sizeof *sources };

const char *qs_init_source_name(qs_init_source s) {
    return (unsigned)s < SOURCES ? sources[s] : "?";
}

bool qs_init_source_parse(qs_str s, qs_init_source *out) {
    for (int i = 0; i < SOURCES; i++)
        if (qs_str_is(s, sources[i])) {
            *out = (qs_init_source)i;
            return true;
        }
    return false;
}

qs_init_cache *qs_init_cache_new(void) {
    return calloc(1, sizeof(qs_init_cache));
}

void qs_init_cache_free(qs_init_cache *c) {
    if (!c) return;
    qs_map_free(&c->blocks);
    qs_vec_free(&c->observed);
    qs_vec_free(&c->evidence[0]);
    qs_vec_free(&c->evidence[1]);
    qs_arena_free(&c->arena);
    free(c);
}

/* ---- what a key is ---- */

typedef enum init_kind {
    INIT_NOT,       /* not from nothing: `why` */
    INIT_FAKEQUANT, /* a leaf of a fake quantizer */
    INIT_CONSTANT,  /* BatchNorm and its like, and other families: the same number in every element */
    INIT_AMAX,      /* NVIDIA's weight _amax: observed or nothing */
    INIT_GROUPS,    /* GPTQ's g_idx: i / group */
} init_kind;

typedef struct init_key {
    init_kind kind;
    const char *why;
    qs_quant_key q;
    qs_str leaf; /* the last component */
    qs_block block;
    double value;  /* fresh; FAKEQUANT and CONSTANT */
    int64_t group; /* GROUPS */
} init_key;

bool qs_target_find(const void *ctx, qs_str key, qs_key_info *info) {
    const qs_manifest *m = ctx;
    uint32_t i = qs_manifest_find(m, key);
    if (i == UINT32_MAX) return false;
    const qs_expected *x = qs_manifest_entry(m, i);
    *info = (qs_key_info){.shape_known = x->shape_known, .shape = x->shape, .dtype = x->dtype};
    return true;
}

/* Fresh values of the leaves that have the same one everywhere (observer.py, fake_quantize.py). */
static const struct {
    const char *leaf;
    double value;
} leaves[] = {
    {"fake_quant_enabled", 1},
    {"observer_enabled", 1},
    {"static_enabled", 1},
    {"learning_enabled", 0},
    {"scale", 1},
    {"zero_point", 0},
    {"min_val", INFINITY},
    {"min_vals", INFINITY},
    {"max_val", -INFINITY},
    {"max_vals", -INFINITY},
    {"histogram", 0},
};

/* sigmoid.py and friends have fixed ranges: quantization_mappings.py, default_fixed_qparams_* */
static const struct {
    const char *class_name;
    double scale, zero_point;
} fixed_ranges[] = {
    {"Sigmoid", 1.0 / 256, 0},    {"Hardsigmoid", 1.0 / 256, 0}, {"Softmax", 1.0 / 256, 0},
    {"LogSoftmax", 1.0 / 256, 0}, {"Tanh", 2.0 / 256, 128},
};

static qs_str class_leaf(const qs_manifest *m, qs_str module) {
    uint32_t i = qs_manifest_find_module(m, module);
    return i == QS_MODULE_NONE ? (qs_str){NULL, 0} : qs_str_leaf(qs_manifest_module(m, i)->class_name);
}

static bool fixed_value(const qs_init_context *x, qs_str key, init_key *k) {
    bool is_scale = qs_str_is(k->leaf, "scale");
    if (qs_sibling_constant(x, key, &k->value)) return true;
    qs_str owner = class_leaf(x->target, k->q.owner);
    for (size_t i = 0; i < sizeof fixed_ranges / sizeof *fixed_ranges; i++)
        if (qs_str_is(owner, fixed_ranges[i].class_name)) {
            k->value = is_scale ? fixed_ranges[i].scale : fixed_ranges[i].zero_point;
            return true;
        }
    k->kind = INIT_NOT;
    k->why = "a fixed scale: 1/256 or 2/256 depends on the operation it follows; copy it from B";
    return false;
}

static void fakequant_key(const qs_init_context *x, qs_str key, init_key *k) {
    k->kind = INIT_FAKEQUANT;
    qs_block_describe(x, k->q.block, &k->block);
    if (qs_str_is(k->leaf, "eps")) {
        k->value = qs_block_eps(x, &k->block);
        return;
    }
    if (k->block.fixed && (qs_str_is(k->leaf, "scale") || qs_str_is(k->leaf, "zero_point"))) {
        fixed_value(x, key, k);
        return;
    }
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++)
        if (qs_str_is(k->leaf, leaves[i].leaf)) k->value = leaves[i].value;
}

/* Numbers of normalisation layers that reset_parameters sets, not draws. */
static const struct {
    const char *leaf;
    double value;
    bool running; /* only of layers that keep statistics */
} norm_leaves[] = {
    {"weight", 1, false},
    {"bias", 0, false},
    {"running_mean", 0, true},
    {"running_var", 1, true},
    {"num_batches_tracked", 0, true},
};

static bool is_norm(const qs_init_context *x, qs_str module, bool *running) {
    qs_str name = class_leaf(x->target, module);
    *running = qs_block_entry(x, module, "running_mean") && qs_block_entry(x, module, "running_var");
    if (name.n == 0) return *running;
    static const char *const norms[] = {"BatchNorm", "InstanceNorm", "LayerNorm", "GroupNorm", "RMSNorm"};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        if (qs_str_find(name, qs_str_of(norms[i])) != SIZE_MAX) return true;
    return *running;
}

static void module_key(const qs_init_context *x, qs_str key, init_key *k) {
    bool running;
    k->why = "an ordinary parameter: only training (or another checkpoint) gives its values";
    if (!is_norm(x, qs_str_parent(key), &running)) return;
    for (size_t i = 0; i < sizeof norm_leaves / sizeof *norm_leaves; i++) {
        if (!qs_str_is(k->leaf, norm_leaves[i].leaf)) continue;
        k->kind = INIT_CONSTANT;
        k->value = norm_leaves[i].value;
    }
}

/* A key of another family than torch's. */
static void other_key(const qs_init_context *x, const qs_expected *want, init_key *k) {
    if (k->q.family == QS_FAMILY_NVIDIA && k->q.is_weight && qs_str_is(k->leaf, "_amax"))
        k->kind = INIT_AMAX;
    else if (k->q.family == QS_FAMILY_GPTQ && qs_str_is(k->leaf, "g_idx"))
        k->kind = (k->group = qs_gptq_group_size(x, k->q.owner, want)) > 0 ? INIT_GROUPS : INIT_NOT;
    else if (qs_fresh_of_family(k->q.family, k->leaf, &k->value, &k->why))
        k->kind = INIT_CONSTANT;
    else if (k->q.role == QS_ROLE_PACKED)
        k->why =
            "a quantized payload: it cannot be recomputed without the float weight and its exact packing";
}

static void understand(const qs_init_context *x, const qs_expected *want, init_key *k) {
    qs_key_set set = {qs_target_find, x->target};
    *k = (init_key){.kind = INIT_NOT, .leaf = qs_str_leaf(want->key), .why = "cannot be made from nothing"};
    if (want->kind == QS_KIND_EXTRA) {
        k->why = "not a tensor: extra state or packed parameters that only the module itself writes";
        return;
    }
    if (!qs_quant_classify(want->key, &set, &k->q)) {
        module_key(x, want->key, k);
        return;
    }
    if (k->q.role == QS_ROLE_WEIGHT)
        k->why = "a weight: only training (or another checkpoint) gives its values";
    else if (k->q.family == QS_FAMILY_TORCH || k->q.family == QS_FAMILY_SPARSEML)
        fakequant_key(x, want->key, k);
    else
        other_key(x, want, k);
}

bool qs_init_possible(const qs_init_context *x, const qs_expected *key, const char **why_not) {
    init_key k;
    understand(x, key, &k);
    if (k.kind == INIT_NOT && why_not) *why_not = k.why;
    return k.kind != INIT_NOT;
}

/* ---- shapes and dtypes ---- */

/* What the target says; else what B's twin has; else what torch gives such a leaf. */
static qs_dtype dtype_of(const qs_init_context *x, const qs_expected *want, const init_key *k) {
    if (want->dtype != QS_DTYPE_UNKNOWN) return want->dtype;
    uint32_t i = x->sibling ? qs_checkpoint_find(x->sibling, want->key) : UINT32_MAX;
    const qs_tensor *t =
        i == UINT32_MAX ? NULL : qs_entry_tensor(x->sibling, qs_checkpoint_entry(x->sibling, i));
    if (t && t->dtype != QS_DTYPE_UNKNOWN) return t->dtype;
    if (qs_str_is(k->leaf, "num_batches_tracked")) return QS_INT64;
    if (k->kind != INIT_FAKEQUANT) return QS_FLOAT32;
    if (k->q.role == QS_ROLE_FLAG) return k->block.fused ? QS_INT64 : QS_UINT8;
    if (!qs_str_is(k->leaf, "zero_point") || k->block.learnable || k->block.float_zero_point)
        return QS_FLOAT32;
    int torch = qs_target_torch(x, &k->block);
    return torch > 0 && torch < 110 ? QS_INT64 : QS_INT32;
}

static bool set_shape1(qs_arena *arena, int64_t n, qs_shape *out, qs_err *e) {
    int64_t *dim = QS_ARENA_ARRAY(arena, 1, int64_t);
    if (!dim) return qs_nomem(e);
    *dim = n;
    *out = (qs_shape){1, dim};
    return true;
}

static bool is_range(qs_str leaf) {
    return qs_str_starts(leaf, QS_STR("min_val")) || qs_str_starts(leaf, QS_STR("max_val"));
}

static bool is_qparam(qs_str leaf) {
    return qs_str_is(leaf, "scale") || qs_str_is(leaf, "zero_point");
}

/* A fresh per-channel quantizer holds scale [1] and ranges [0] until it sees a tensor, whatever shape the
 * target's entry was saved with: an observer that finds [C] of infinities would average them into NaNs. */
static bool fresh_shape(const qs_expected *want, const init_key *k, qs_arena *arena, qs_shape *out,
                        qs_err *e) {
    bool resizes = k->kind == INIT_FAKEQUANT && k->block.per_channel && !k->block.learnable;
    if (resizes && is_range(k->leaf)) return set_shape1(arena, 0, out, e);
    if (resizes && is_qparam(k->leaf)) return set_shape1(arena, 1, out, e);
    *out = want->shape;
    if (want->shape_known) return true;
    *out = (qs_shape){0, NULL};
    if (is_range(k->leaf) || qs_str_is(k->leaf, "num_batches_tracked")) return true;
    if (k->kind == INIT_FAKEQUANT)
        return set_shape1(arena, qs_str_is(k->leaf, "histogram") ? 2048 : 1, out, e);
    return qs_fail(e, QS_E_REFUSED, "%.*s: the target does not say its shape", QS_FMT(want->key));
}

/* Is this value computed from a weight? */
static bool is_observed(const init_key *k, qs_init_source source) {
    return source != QS_INIT_FRESH && k->kind == INIT_FAKEQUANT && k->q.is_weight && !k->block.fixed &&
           (is_range(k->leaf) || is_qparam(k->leaf) || qs_str_is(k->leaf, "histogram"));
}

static bool observed_shape(const qs_init_context *x, const qs_expected *want, const init_key *k,
                           qs_arena *arena, qs_shape *out, qs_err *e) {
    size_t n;
    if (!qs_block_count(x, &k->block, &n, e)) return false;
    if (k->block.per_channel) return set_shape1(arena, (int64_t)n, out, e);
    if (want->shape_known && qs_shape_numel(want->shape) == 1) {
        *out = want->shape;
        return true;
    }
    if (is_qparam(k->leaf)) return set_shape1(arena, 1, out, e);
    *out = (qs_shape){0, NULL};
    return true;
}

static bool check_source(qs_init_source source, const init_key *k, const qs_expected *want, qs_err *e) {
    if (source == QS_INIT_COPY)
        return qs_fail(e, QS_E_USAGE, "%.*s: a copy has its value in B", QS_FMT(want->key));
    const char *why = k->kind == INIT_NOT ? k->why : NULL;
    if (k->kind == INIT_AMAX && source == QS_INIT_FRESH)
        why = "a new quantizer has none, and absent is legal; it can be observed";
    return !why || qs_fail(e, QS_E_REFUSED, "%.*s: %s", QS_FMT(want->key), why);
}

static bool shape_of(const qs_init_context *x, const qs_expected *want, const init_key *k,
                     qs_init_source source, qs_arena *arena, qs_shape *shape, qs_err *e) {
    return is_observed(k, source) ? observed_shape(x, want, k, arena, shape, e)
                                  : fresh_shape(want, k, arena, shape, e);
}

bool qs_init_shape(const qs_init_context *x, const qs_expected *key, qs_init_source source, qs_arena *arena,
                   qs_shape *shape, qs_dtype *dtype, qs_err *e) {
    init_key k;
    understand(x, key, &k);
    if (!check_source(source, &k, key, e) || !shape_of(x, key, &k, source, arena, shape, e)) return false;
    *dtype = dtype_of(x, key, &k);
    return true;
}

/* ---- values ---- */

/* n numbers as elements of the fill's dtype. */
static bool pack(const double *v, uint64_t n, const qs_expected *want, qs_arena *arena, qs_fill *out,
                 qs_err *e) {
    size_t size = qs_dtype_get(out->dtype)->size;
    void *data = qs_arena_array(arena, (size_t)n, size);
    if (!data) return qs_nomem(e);
    if (!qs_from_doubles(out->dtype, v, (size_t)n, data))
        return qs_fail(e, QS_E_UNSUPPORTED, "%.*s: cannot make values of dtype %s", QS_FMT(want->key),
                       qs_dtype_get(out->dtype)->name);
    out->data = data;
    out->bytes = (size_t)n * size;
    return true;
}

static double observed_value(const qs_observed *o, const init_key *k, size_t i) {
    if (qs_str_is(k->leaf, "scale")) return (double)o->qp[i].scale;
    if (qs_str_starts(k->leaf, QS_STR("min_val"))) return (double)o->min_val[i];
    if (qs_str_starts(k->leaf, QS_STR("max_val"))) return (double)o->max_val[i];
    bool is_float = o->config.cfg.scheme == QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS;
    return is_float ? (double)o->qp[i].zero_point_f : (double)o->qp[i].zero_point;
}

static bool observe_amax(const qs_init_context *x, const qs_expected *want, const init_key *k,
                         qs_arena *arena, double *v, size_t n, qs_fill *out, qs_err *e) {
    qs_weight w;
    qs_buf b = {0};
    float *scratch = malloc((2 * n + 1) * sizeof *scratch);
    bool ok = scratch ? qs_owner_weight(x, k->q.owner, arena, &w, e) &&
                            qs_amax_observe(&w, want->shape, v, n, scratch, e)
                      : qs_nomem(e);
    free(scratch);
    if (!ok) return false;
    qs_buf_addf(&b, "observed from %.*s", QS_FMT(w.key));
    out->origin = b.failed ? NULL : qs_arena_str(arena, qs_buf_str(&b)).p;
    qs_buf_free(&b);
    return out->origin || qs_nomem(e);
}

static bool fill_values(const qs_init_context *x, const qs_expected *want, const init_key *k,
                        const qs_observed *o, qs_arena *arena, qs_fill *out, qs_err *e) {
    uint64_t n = qs_shape_numel(out->shape);
    if (n > (1u << 28)) return qs_fail(e, QS_E_LIMIT, "%.*s: too many values to make", QS_FMT(want->key));
    double *v = malloc((n ? (size_t)n : 1) * sizeof *v);
    if (!v) return qs_nomem(e);
    for (size_t i = 0; i < n; i++)
        v[i] = o ? observed_value(o, k, i) : k->group ? (double)((int64_t)i / k->group) : k->value;
    bool ok = k->kind != INIT_AMAX || observe_amax(x, want, k, arena, v, (size_t)n, out, e);
    ok = ok && pack(v, n, want, arena, out, e);
    free(v);
    return ok;
}

/* Is this value estimated for an activation, if anything can be? */
static bool is_estimated(const init_key *k, qs_init_source source) {
    return source == QS_INIT_DATAFREE && k->kind == INIT_FAKEQUANT && !k->q.is_weight &&
           (is_range(k->leaf) || is_qparam(k->leaf));
}

/* Range and parameters behind the value, *out NULL if it is a fresh one. */
static bool compute_block(const qs_init_context *x, const init_key *k, qs_init_source source,
                          qs_init_cache *cache, qs_arena *arena, const qs_observed **out, qs_err *e) {
    *out = NULL;
    if (is_observed(k, source)) return qs_block_observe(x, k->q.block, cache, arena, out, e);
    return !is_estimated(k, source) || qs_block_datafree(x, k->q.block, cache, arena, out, e);
}

bool qs_init_value(const qs_init_context *x, const qs_expected *key, qs_init_source source,
                   qs_init_cache *cache, qs_arena *arena, qs_fill *out, qs_err *e) {
    init_key k;
    understand(x, key, &k);
    qs_fill fill = {.origin = "fresh"};
    const qs_observed *o;
    if (!check_source(source, &k, key, e) || !shape_of(x, key, &k, source, arena, &fill.shape, e))
        return false;
    fill.dtype = dtype_of(x, key, &k);
    if (!compute_block(x, &k, source, cache, arena, &o, e)) return false;
    if (o && qs_shape_numel(fill.shape) != o->n)
        return qs_fail(e, QS_E_INPUT, "%.*s: the target's shape holds %llu values, %zu are to be filled in",
                       QS_FMT(key->key), (unsigned long long)qs_shape_numel(fill.shape), o->n);
    if (o)
        fill.origin = qs_arena_str(arena, qs_str_of(o->origin)).p;
    else if (is_estimated(&k, source))
        fill.origin = "fresh: nothing tells what this quantizer sees";
    if (!fill.origin) return qs_nomem(e);
    if (!fill_values(x, key, &k, o, arena, &fill, e)) return false;
    *out = fill;
    return true;
}

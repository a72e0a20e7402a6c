/* The configuration of one quantizer: from the manifest, else from populated quantizers, else from its keys.
 */
#include "quant/fqinit_impl.h"

#include <math.h>
#include <stdlib.h>

qs_str qs_key_join(qs_arena *a, qs_str parent, const char *leaf) {
    size_t n = strlen(leaf), dot = parent.n ? 1 : 0;
    char *p = qs_arena_alloc(a, parent.n + dot + n + 1);
    if (!p) return (qs_str){NULL, 0};
    if (parent.n) memcpy(p, parent.p, parent.n);
    if (dot) p[parent.n] = '.';
    memcpy(p + parent.n + dot, leaf, n + 1);
    return (qs_str){p, parent.n + dot + n};
}

/* ---- what the target says ---- */

enum { NAME_MAX_BYTES = 1024 };

/* "block.leaf" in buf; empty if it is too long. By hand: this is asked some thirty times for every missing
 * key, and snprintf would be a third of the time a diagnosis takes. */
static qs_str join(char buf[NAME_MAX_BYTES], qs_str block, const char *leaf) {
    size_t n = strlen(leaf), dot = block.n > 0;
    if (block.n + dot + n > NAME_MAX_BYTES) return (qs_str){NULL, 0};
    if (block.n) memcpy(buf, block.p, block.n);
    if (dot) buf[block.n] = '.';
    memcpy(buf + block.n + dot, leaf, n);
    return (qs_str){buf, block.n + dot + n};
}

const qs_expected *qs_block_entry(const qs_init_context *x, qs_str block, const char *leaf) {
    char buf[NAME_MAX_BYTES];
    uint32_t i = qs_manifest_find(x->target, join(buf, block, leaf));
    return i == UINT32_MAX ? NULL : qs_manifest_entry(x->target, i);
}

static const qs_module *find_module(const qs_init_context *x, qs_str name) {
    uint32_t i = qs_manifest_find_module(x->target, name);
    return i == QS_MODULE_NONE ? NULL : qs_manifest_module(x->target, i);
}

static const qs_module *find_observer(const qs_init_context *x, qs_str block) {
    char buf[NAME_MAX_BYTES];
    return find_module(x, join(buf, block, "activation_post_process"));
}

static const qs_expected *range_entry(const qs_init_context *x, qs_str block) {
    static const char *const names[] = {"activation_post_process.min_val", "activation_post_process.min_vals",
                                        "min_val", "min_vals"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const qs_expected *en = qs_block_entry(x, block, names[i]);
        if (en) return en;
    }
    return NULL;
}

/* The class of the observer, from whoever names it. */
static qs_str observer_class(const qs_block *b) {
    if (b->observer && b->observer->class_name.n) return b->observer->class_name;
    if (b->module && b->module->attrs.observer.n) return b->module->attrs.observer;
    return b->class_name;
}

static bool holds_many(const qs_expected *en) {
    return en && en->shape_known && en->shape.ndim == 1 && en->shape.dim[0] != 1;
}

static bool is_per_channel(const qs_init_context *x, const qs_block *b) {
    qs_qscheme s = b->module ? qs_qscheme_parse(b->module->attrs.qscheme) : QS_QSCHEME_UNKNOWN;
    if (s != QS_QSCHEME_UNKNOWN) return qs_qscheme_per_channel(s);
    if (qs_str_find(observer_class(b), QS_STR("PerChannel")) != SIZE_MAX) return true;
    if (b->histogram) return false;
    return holds_many(range_entry(x, b->name)) || holds_many(qs_block_entry(x, b->name, "scale"));
}

static bool ends_with_any(qs_str s, const char *a, const char *b) {
    return qs_str_ends(s, qs_str_of(a)) || (b && qs_str_ends(s, qs_str_of(b)));
}

/* How many scales a populated quantizer has: in the target, or in B. 0 unknown. */
static int64_t known_channels(const qs_init_context *x, qs_str block) {
    const qs_expected *scale = qs_block_entry(x, block, "scale");
    if (!scale) return 0;
    if (holds_many(scale)) return scale->shape.dim[0];
    uint32_t i = x->sibling ? qs_checkpoint_find(x->sibling, scale->key) : UINT32_MAX;
    const qs_tensor *t =
        i == UINT32_MAX ? NULL : qs_entry_tensor(x->sibling, qs_checkpoint_entry(x->sibling, i));
    return t && t->shape.ndim == 1 && t->shape.dim[0] > 1 ? t->shape.dim[0] : 0;
}

/* Axis 0, every observer's default, unless only others have as many channels as there are scales. */
static int64_t axis_by_shape(const qs_init_context *x, const qs_block *b, bool *unsure) {
    const qs_expected *w = qs_block_entry(x, b->owner, "weight");
    int64_t n = known_channels(x, b->name), found = 0, matches = 0;
    if (!n || !w || !w->shape_known || w->shape.ndim == 0 || w->shape.dim[0] == n) return 0;
    for (uint32_t d = 1; d < w->shape.ndim; d++)
        if (w->shape.dim[d] == n && matches++ == 0) found = d;
    *unsure = matches > 1;
    return found;
}

void qs_block_describe(const qs_init_context *x, qs_str block, qs_block *out) {
    *out = (qs_block){.name = block, .owner = qs_str_parent(block), .ch_axis = -1};
    out->weight = qs_str_is(qs_str_leaf(block), "weight_fake_quant");
    out->module = find_module(x, block);
    out->observer = find_observer(x, block);
    if (out->module) out->class_name = out->module->class_name;
    const qs_expected *flag = qs_block_entry(x, block, "fake_quant_enabled");
    const qs_expected *zp = qs_block_entry(x, block, "zero_point");
    out->fused = ends_with_any(out->class_name, "FusedMovingAvgObsFakeQuantize", NULL) ||
                 (flag && flag->dtype == QS_INT64);
    out->learnable = qs_block_entry(x, block, "static_enabled") != NULL;
    out->fixed = ends_with_any(out->class_name, "FixedQParamsFakeQuantize", "FixedQParamsObserver") ||
                 qs_block_entry(x, block, "activation_post_process.scale") != NULL;
    out->histogram = qs_str_find(observer_class(out), QS_STR("HistogramObserver")) != SIZE_MAX ||
                     qs_block_entry(x, block, "activation_post_process.histogram") != NULL;
    out->float_zero_point = zp && qs_dtype_is_float(zp->dtype) && !out->learnable;
    out->per_channel = is_per_channel(x, out);
    if (!out->per_channel) return;
    int64_t axis = out->module ? out->module->attrs.ch_axis : QS_ATTR_ABSENT;
    if (axis == QS_ATTR_ABSENT && out->observer) axis = out->observer->attrs.ch_axis;
    out->ch_axis = axis == QS_ATTR_ABSENT ? axis_by_shape(x, out, &out->axis_unsure) : axis;
}

int qs_target_torch(const qs_init_context *x, const qs_block *b) {
    qs_str v = qs_manifest_torch(x->target);
    char text[32];
    int major, minor;
    snprintf(text, sizeof text, "%.*s", QS_FMT(v));
    if (sscanf(text, "%d.%d", &major, &minor) == 2 && major >= 0 && major < 100 && minor >= 0 && minor < 100)
        return 100 * major + minor;
    const qs_expected *zp = qs_block_entry(x, b->name, "zero_point");
    return zp && zp->dtype == QS_INT64 ? 107 : 0; /* int64 up to torch 1.9 */
}

/* ---- from the manifest ---- */

static bool has_transposed_weight(const qs_init_context *x, const qs_block *b) {
    const qs_module *owner = find_module(x, b->owner);
    return owner && qs_str_find(owner->class_name, QS_STR("ConvTranspose")) != SIZE_MAX;
}

bool qs_sibling_constant(const qs_init_context *x, qs_str key, double *out) {
    if (!x->sibling) return false;
    uint32_t i = qs_checkpoint_find(x->sibling, key);
    const qs_tensor *t =
        i == UINT32_MAX ? NULL : qs_entry_tensor(x->sibling, qs_checkpoint_entry(x->sibling, i));
    qs_err unused = QS_ERR_INIT;
    return t && t->kind == QS_TENSOR_DENSE && qs_shape_numel(t->shape) == 1 &&
           qs_tensor_read_doubles(x->sibling, t, 0, 1, out, &unused);
}

double qs_block_eps(const qs_init_context *x, const qs_block *b) {
    double eps = b->observer ? b->observer->attrs.eps : NAN;
    if (!(eps > 0) && b->module) eps = b->module->attrs.eps;
    const qs_expected *own = qs_block_entry(x, b->name, "activation_post_process.eps");
    if (!(eps > 0) && own && !qs_sibling_constant(x, own->key, &eps)) eps = NAN;
    return eps > 0 ? eps : 0x1p-23; /* torch.finfo(torch.float32).eps */
}

/* What every source has in common: everything the keys and classes say, and the default of the rest. */
static qs_qconfig base_config(const qs_init_context *x, const qs_block *b) {
    qs_qconfig c = QS_QCONFIG_DEFAULT;
    const qs_expected *scale = qs_block_entry(x, b->name, "scale");
    c.scheme = b->float_zero_point ? QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS
               : b->per_channel    ? QS_PER_CHANNEL_SYMMETRIC
                                   : QS_PER_TENSOR_SYMMETRIC;
    c.fused = b->fused;
    c.learnable = b->learnable;
    c.ch_axis = b->ch_axis;
    c.eps = (float)qs_block_eps(x, b);
    c.torch_minor = qs_target_torch(x, b);
    c.custom_range = c.torch_minor == 0 || c.torch_minor >= 110;
    if (scale && (scale->dtype == QS_FLOAT16 || scale->dtype == QS_BFLOAT16)) c.float_dtype = scale->dtype;
    if (!b->weight && !b->per_channel) c.scheme = QS_PER_TENSOR_AFFINE;
    if (!b->weight || b->float_zero_point) c.dtype = QS_QUINT8, c.quant_min = 0, c.quant_max = 255;
    return c;
}

static const qs_module_attrs *attrs_of(const qs_block *b) {
    const qs_module *candidates[] = {b->module, b->observer};
    for (int i = 0; i < 2; i++)
        if (candidates[i] && candidates[i]->attrs.qscheme.n && candidates[i]->attrs.dtype.n)
            return &candidates[i]->attrs;
    return NULL;
}

static void ask(qs_block_config *out, const char *question) {
    if (!out->ambiguous) snprintf(out->question, sizeof out->question, "%s", question);
    out->ambiguous = true;
}

static bool from_manifest(const qs_init_context *x, const qs_block *b, qs_block_config *out) {
    const qs_module_attrs *a = attrs_of(b);
    if (!a) return false;
    qs_qconfig *c = &out->cfg;
    qs_qscheme scheme = qs_qscheme_parse(a->qscheme);
    qs_dtype dtype = qs_dtype_parse(a->dtype);
    if (scheme == QS_QSCHEME_UNKNOWN || dtype == QS_DTYPE_UNKNOWN) return false;
    c->scheme = scheme;
    c->dtype = dtype;
    c->reduce_range = a->reduce_range == 1;
    if (!isnan(a->averaging_constant)) c->averaging_constant = a->averaging_constant;
    if (a->quant_min != QS_ATTR_ABSENT && a->quant_max != QS_ATTR_ABSENT) {
        c->quant_min = a->quant_min;
        c->quant_max = a->quant_max;
    } else {
        c->custom_range = false;
        qs_quant_range(dtype, false, c->reduce_range, c->torch_minor, &c->quant_min, &c->quant_max);
    }
    out->from = "the manifest";
    if (b->per_channel && a->ch_axis == QS_ATTR_ABSENT && has_transposed_weight(x, b))
        ask(out, "the manifest gives no ch_axis for a transposed convolution: axis 0 assumed, is it 1?");
    if (!b->fused && c->dtype == QS_QUINT8 && qs_qscheme_symmetric(scheme) && c->custom_range &&
        !b->learnable)
        ask(out,
            "a symmetric quint8 zero point is 127 or, if the observer was given no range, 128: 127 assumed");
    return true;
}

/* ---- from populated quantizers ---- */

static const struct {
    qs_dtype dtype;
    int64_t lo, hi;
} grids[] = {
    {QS_QINT8, -128, 127}, {QS_QINT8, -127, 127}, {QS_QUINT8, 0, 255}, {QS_QUINT8, 0, 127},
    {QS_QINT8, -64, 63},   {QS_QINT8, -8, 7},     {QS_QINT8, -7, 7},   {QS_QUINT8, 0, 15},
    {QS_QINT8, -4, 3},     {QS_QINT8, -32, 31},
};
enum { GRIDS = sizeof grids / sizeof *grids, HYPOTHESES = GRIDS * 3 };

/* Hypothesis h: a grid, symmetric or affine, and for quint8 symmetric with or without a custom range. */
static bool hypothesis(const qs_qconfig *base, int h, qs_qconfig *out) {
    int variant = h % 3, grid = h / 3; /* 0 symmetric, 1 affine, 2 symmetric with zero point 128 */
    *out = *base;
    out->dtype = grids[grid].dtype;
    out->quant_min = grids[grid].lo;
    out->quant_max = grids[grid].hi;
    out->torch_minor = 0;
    out->custom_range = variant != 2;
    if (variant == 2 && (out->dtype != QS_QUINT8 || base->fused || grids[grid].hi != 255)) return false;
    if (base->scheme == QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS) return variant == 1;
    bool affine = variant == 1;
    /* a learnable symmetric zero point is 0 for either dtype, so the two cannot and need not be told apart */
    if (base->learnable && !affine && out->dtype == QS_QUINT8) return false;
    if (qs_qscheme_per_channel(base->scheme))
        out->scheme = affine ? QS_PER_CHANNEL_AFFINE : QS_PER_CHANNEL_SYMMETRIC;
    else
        out->scheme = affine ? QS_PER_TENSOR_AFFINE : QS_PER_TENSOR_SYMMETRIC;
    return true;
}

/* One ulp apart is the same: a GPU multiplies by the reciprocal where a CPU divides. */
static bool same_scale(float a, float b, bool half) {
    int32_t x, y;
    if (half) return fabsf(a - b) <= 2e-3f * fabsf(b);
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x - y >= -1 && x - y <= 1;
}

static bool explains(const qs_qconfig *cfg, const qs_evidence *ev) {
    for (size_t i = 0; i < ev->n; i++) {
        qs_qparam q;
        qs_err unused = QS_ERR_INIT;
        if (!qs_qparams(cfg, &ev->min_val[i], &ev->max_val[i], 1, &q, &unused)) return false;
        bool is_float = cfg->scheme == QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS;
        double zp = is_float ? (double)q.zero_point_f : (double)q.zero_point,
               off = fabs(zp - ev->zero_point[i]);
        if (!same_scale(ev->scale[i], q.scale, ev->half)) return false;
        if (off > (is_float ? 1e-3 * fabs(zp) : ev->half ? 1 : 0)) return false;
    }
    return true;
}

/* Which hypotheses explain these quantizers, all of them together? Returns how many, the first in *first. */
static int surviving(const qs_qconfig *base, const qs_evidence *ev, size_t n, qs_qconfig *first) {
    int count = 0;
    for (int h = 0; h < HYPOTHESES; h++) {
        qs_qconfig c;
        if (!hypothesis(base, h, &c)) continue;
        bool all = true;
        for (size_t i = 0; i < n && all; i++) all = explains(&c, &ev[i]);
        if (all && count++ == 0) *first = c;
    }
    return count;
}

/* The evidence of all blocks of this kind: kept in the cache if there is one, else in `local`. */
static const qs_evidence_list *all_evidence(const qs_init_context *x, bool weights, qs_init_cache *cache,
                                            qs_evidence_list *local, qs_arena *arena, qs_err *e) {
    enum { MOST = 16 };
    qs_str any = {NULL, 0};
    if (!cache) return qs_evidence_collect(x, any, weights, MOST, arena, local, e) ? local : NULL;
    qs_evidence_list *kept = &cache->evidence[weights];
    if (!cache->collected[weights] && !qs_evidence_collect(x, any, weights, MOST, &cache->arena, kept, e))
        return NULL;
    cache->collected[weights] = true;
    return kept;
}

/* The block's own numbers rule; where they leave a choice, the others' narrow it down, if they can. */
static int narrow_down(const qs_qconfig *base, qs_evidence_list *own, const qs_evidence_list *all,
                       qs_block_config *config, qs_qconfig *out, bool *ok) {
    int count = own->n ? surviving(base, own->v, own->n, out) : 0;
    config->own_numbers = count > 0;
    if (count == 1) return 1;
    if (count == 0) return all->n ? surviving(base, all->v, all->n, out) : 0;
    qs_qconfig both;
    for (size_t i = 0; i < all->n && *ok; i++) *ok = qs_push(own, all->v[i]);
    int together = *ok ? surviving(base, own->v, own->n, &both) : 0;
    if (together) *out = both;
    return together ? together : count;
}

static bool from_evidence(const qs_init_context *x, const qs_block *b, qs_init_cache *cache,
                          qs_block_config *out, qs_err *e) {
    qs_arena arena = {0};
    qs_evidence_list own = {0}, local = {0};
    qs_qconfig base = out->cfg, found;
    base.torch_minor =
        0; /* a saved scale tells the range it was computed with, whatever that was made from */
    bool ok = qs_evidence_collect(x, b->name, b->weight, 1, &arena, &own, e);
    const qs_evidence_list *all = ok ? all_evidence(x, b->weight, cache, &local, &arena, e) : NULL;
    int count = all ? narrow_down(&base, &own, all, out, &found, &ok) : 0;
    if (count) {
        out->cfg = found;
        out->from = own.n ? own.v[0].where : all->v[0].where;
        if (count > 1)
            ask(out, "several ranges and schemes explain the populated quantizers: the first one was taken");
    }
    qs_vec_free(&own);
    qs_vec_free(&local);
    qs_arena_free(&arena);
    return all && (ok || qs_nomem(e));
}

/* ---- together ---- */

static void ask_about_bn(const qs_init_context *x, const qs_block *b, qs_block_config *out) {
    qs_bn_choice bn;
    qs_block_bn(x, b, &bn);
    if (bn.present && !bn.eps_from)
        ask(out, "BatchNorm's eps is not in a checkpoint: 1e-05 assumed; --bn-eps");
}

/* The default that was taken, for a person to confirm. */
static const char *default_question(const qs_init_context *x, const qs_block *b) {
    if (!b->weight) return "quint8, affine, 0..255 assumed: nothing here says so; a manifest would";
    if (b->float_zero_point) return "quint8 in 0..255 assumed: nothing here says so; a manifest would";
    const qs_expected *scale = qs_block_entry(x, b->name, "scale");
    qs_key_set set = {qs_target_find, x->target};
    qs_quant_key q;
    if (scale && qs_quant_classify(scale->key, &set, &q) && q.family == QS_FAMILY_SPARSEML)
        return "qint8, symmetric, -128..127 assumed, SparseML's default; a manifest would say so";
    return "qint8, symmetric, -128..127 assumed: nothing here says so; a manifest would";
}

bool qs_block_config_cached(const qs_init_context *x, qs_str block, qs_init_cache *cache,
                            qs_block_config *out, qs_err *e) {
    qs_block b;
    qs_block_describe(x, block, &b);
    if (!b.module && !qs_block_entry(x, block, "scale") && !range_entry(x, block))
        return qs_fail(e, QS_E_REFUSED, "%.*s: the target has no such quantizer", QS_FMT(block));
    *out = (qs_block_config){.cfg = base_config(x, &b)};
    if (!from_manifest(x, &b, out) && !from_evidence(x, &b, cache, out, e)) return false;
    if (!out->from) {
        out->from = "the keys (dtype and shape)";
        ask(out, default_question(x, &b));
    }
    if (b.axis_unsure)
        ask(out, "several axes have as many channels as there are scales: the first was taken");
    ask_about_bn(x, &b, out);
    return true;
}

bool qs_init_block_config(const qs_init_context *x, qs_str block, qs_block_config *out, qs_err *e) {
    return qs_block_config_cached(x, block, NULL, out, e);
}

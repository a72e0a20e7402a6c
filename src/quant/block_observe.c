/* What a weight quantizer holds after torch's first forward pass: the weight it sees, its range, its
 * parameters. */
#include "quant/fqinit_impl.h"

#include <math.h>
#include <stdlib.h>

/* ---- the weight ---- */

static const qs_tensor *resolved(const qs_init_context *x, qs_str key, const qs_checkpoint **from) {
    const qs_tensor *t = x->resolved ? x->resolved(x->ctx, key, from) : NULL;
    return t && t->kind == QS_TENSOR_DENSE ? t : NULL;
}

static const qs_tensor *resolved_child(const qs_init_context *x, qs_str parent, const char *leaf,
                                       const qs_checkpoint **from) {
    char buf[1024];
    int n = snprintf(buf, sizeof buf, "%.*s%s%s", QS_FMT(parent), parent.n ? "." : "", leaf);
    return n < 0 || (size_t)n >= sizeof buf ? NULL : resolved(x, (qs_str){buf, (size_t)n}, from);
}

static bool find_weight(const qs_init_context *x, qs_str owner, const qs_tensor **t,
                        const qs_checkpoint **from, qs_err *e) {
    *t = resolved_child(x, owner, "weight", from);
    if (*t) return true;
    return qs_fail(
        e, QS_E_REFUSED,
        "its weight %.*s%sweight is not in the result; rename the weight to it first, or fill with "
        "fresh values",
        QS_FMT(owner), owner.n ? "." : "");
}

/* ---- BatchNorm ---- */

/* ConvBn2d, ConvBnReLU2d, LinearBn1d, _ConvBnNd: their forward scales the weight before it is quantized. */
static bool class_has_bn(qs_str class_name) {
    qs_str leaf = qs_str_leaf(class_name);
    return qs_str_find(leaf, QS_STR("ConvBn")) != SIZE_MAX ||
           qs_str_find(leaf, QS_STR("LinearBn")) != SIZE_MAX;
}

static double bn_eps_of(const qs_init_context *x, qs_str module) {
    uint32_t i = qs_manifest_find_module(x->target, module);
    return i == QS_MODULE_NONE ? NAN : qs_manifest_module(x->target, i)->attrs.bn_eps;
}

void qs_block_bn(const qs_init_context *x, const qs_block *b, qs_bn_choice *out) {
    char buf[1024];
    *out = (qs_bn_choice){.eps = 1e-5};
    uint32_t owner = qs_manifest_find_module(x->target, b->owner);
    qs_str name =
        owner == QS_MODULE_NONE ? (qs_str){NULL, 0} : qs_manifest_module(x->target, owner)->class_name;
    bool siblings = qs_block_entry(x, b->owner, "bn.weight") && qs_block_entry(x, b->owner, "bn.running_var");
    out->present = siblings && (name.n == 0 || class_has_bn(name));
    if (!out->present) return;
    int n = snprintf(buf, sizeof buf, "%.*s%sbn", QS_FMT(b->owner), b->owner.n ? "." : "");
    double eps = bn_eps_of(x, b->owner);
    if (!(eps > 0) && n > 0 && (size_t)n < sizeof buf) eps = bn_eps_of(x, (qs_str){buf, (size_t)n});
    if (eps > 0) {
        out->eps = eps;
        out->eps_from = "the manifest";
    } else if (x->bn_eps > 0) {
        out->eps = x->bn_eps;
        out->eps_from = x->bn_eps_from ? x->bn_eps_from : "given by hand";
    }
}

/* C numbers of BatchNorm; what the plan makes fresh, or nobody has, counts as its fresh value. */
bool qs_bn_read(const qs_init_context *x, qs_str bn, const char *leaf, double fresh, size_t c, float *out,
                qs_err *e) {
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = resolved_child(x, bn, leaf, &from);
    for (size_t i = 0; !t && i < c; i++) out[i] = (float)fresh;
    if (!t) return true;
    if (qs_shape_numel(t->shape) != c)
        return qs_fail(e, QS_E_INPUT, "%.*s.%s holds %llu values, %zu channels are expected", QS_FMT(bn),
                       leaf, (unsigned long long)qs_shape_numel(t->shape), c);
    return qs_tensor_read_floats(from, t, 0, c, out, e);
}

static bool make_factor(const qs_init_context *x, const qs_block *b, double eps, size_t c, qs_arena *arena,
                        const float **out, qs_err *e) {
    float *factor = QS_ARENA_ARRAY(arena, c, float), *gamma = malloc((c ? c : 1) * sizeof *gamma),
          *var = malloc((c ? c : 1) * sizeof *var);
    qs_str bn = qs_key_join(arena, b->owner, "bn");
    bool ok = factor && gamma && var && bn.p ? qs_bn_read(x, bn, "weight", 1, c, gamma, e) &&
                                                   qs_bn_read(x, bn, "running_var", 1, c, var, e)
                                             : qs_nomem(e);
    if (ok) {
        qs_bn_factor(gamma, var, eps, c, factor);
        *out = factor;
    }
    free(gamma);
    free(var);
    return ok;
}

bool qs_owner_weight(const qs_init_context *x, qs_str owner, qs_arena *arena, qs_weight *out, qs_err *e) {
    qs_weight_source *r = QS_ARENA_NEW(arena, qs_weight_source);
    if (!r) return qs_nomem(e);
    if (!find_weight(x, owner, &r->t, &r->from, e)) return false;
    qs_str key = qs_key_join(arena, owner, "weight");
    if (!key.p) return qs_nomem(e);
    *out = qs_weight_of_tensor(key, r);
    return true;
}

static bool open_weight(const qs_init_context *x, const qs_block *b, const qs_bn_choice *bn, qs_arena *arena,
                        qs_weight *out, qs_err *e) {
    if (!qs_owner_weight(x, b->owner, arena, out, e)) return false;
    if (!bn->present) return true;
    if (out->ndim == 0) return qs_fail(e, QS_E_INPUT, "%.*s: a scalar has no channels", QS_FMT(out->key));
    return make_factor(x, b, bn->eps, (size_t)out->dim[0], arena, &out->channel_factor, e);
}

bool qs_init_block_weight(const qs_init_context *x, qs_str block, qs_arena *arena, qs_weight *out,
                          qs_err *e) {
    qs_block b;
    qs_bn_choice bn;
    qs_block_describe(x, block, &b);
    qs_block_bn(x, &b, &bn);
    return open_weight(x, &b, &bn, arena, out, e);
}

bool qs_block_count(const qs_init_context *x, const qs_block *b, size_t *n, qs_err *e) {
    const qs_checkpoint *from;
    const qs_tensor *t;
    if (b->histogram)
        return qs_fail(e, QS_E_UNSUPPORTED,
                       "%.*s: a HistogramObserver searches its range; fill with fresh values",
                       QS_FMT(b->name));
    if (!qs_str_is(qs_str_leaf(b->name), "weight_fake_quant"))
        return qs_fail(e, QS_E_REFUSED, "%.*s: not the quantizer of a weight", QS_FMT(b->name));
    if (!find_weight(x, b->owner, &t, &from, e)) return false;
    qs_weight w = {.key = b->name, .ndim = t->shape.ndim, .dim = t->shape.dim};
    qs_qconfig cfg = {.scheme = b->per_channel ? QS_PER_CHANNEL_SYMMETRIC : QS_PER_TENSOR_SYMMETRIC,
                      .ch_axis = b->ch_axis};
    return qs_weight_channels(&w, &cfg, n, e);
}

/* ---- range and parameters ---- */

static float hold(const qs_qconfig *cfg, float v) {
    if (cfg->float_dtype == QS_FLOAT16) return qs_half_to_float(qs_float_to_half(v));
    if (cfg->float_dtype == QS_BFLOAT16) return qs_bfloat16_to_float(qs_float_to_bfloat16(v));
    return v;
}

static bool describe_origin(qs_observed *o, const qs_weight *w, const qs_bn_choice *bn, qs_arena *arena,
                            qs_err *e) {
    qs_buf b = {0};
    qs_buf_addf(&b, "observed from %.*s", QS_FMT(w->key));
    if (bn->present)
        qs_buf_addf(&b, " x BatchNorm (eps %g, %s)", bn->eps,
                    bn->eps_from ? bn->eps_from : "torch's default, assumed");
    if (o->config.ambiguous) qs_buf_addf(&b, "; %s", o->config.question);
    o->origin = b.failed ? NULL : qs_arena_str(arena, qs_buf_str(&b)).p;
    qs_buf_free(&b);
    return o->origin || qs_nomem(e);
}

static bool compute(qs_observed *o, const qs_weight *w, qs_arena *arena, qs_err *e) {
    const qs_qconfig *cfg = &o->config.cfg;
    if (!qs_weight_channels(w, cfg, &o->n, e)) return false;
    o->min_val = QS_ARENA_ARRAY(arena, o->n, float);
    o->max_val = QS_ARENA_ARRAY(arena, o->n, float);
    o->qp = QS_ARENA_ARRAY(arena, o->n, qs_qparam);
    if (!o->min_val || !o->max_val || !o->qp) return qs_nomem(e);
    if (!qs_weight_range(w, cfg, o->min_val, o->max_val, o->n, NULL, e)) return false;
    for (size_t i = 0; i < o->n; i++)
        o->min_val[i] = hold(cfg, o->min_val[i]), o->max_val[i] = hold(cfg, o->max_val[i]);
    qs_err why = QS_ERR_INIT;
    return qs_qparams(cfg, o->min_val, o->max_val, o->n, o->qp, &why) ||
           qs_fail(e, why.code, "the quantizer of %.*s: %s", QS_FMT(w->key), why.msg);
}

const qs_observed *qs_observed_cached(const qs_init_context *x, qs_str block, const qs_init_cache *cache) {
    uint32_t i = cache ? qs_map_get(&cache->blocks, block) : QS_MAP_NONE;
    const qs_observed *o = i == QS_MAP_NONE ? NULL : cache->observed.v[i];
    return o && memcmp(&o->bn_eps, &x->bn_eps, sizeof o->bn_eps) == 0 ? o : NULL;
}

bool qs_observed_remember(qs_init_cache *cache, const qs_observed *o, qs_err *e) {
    if (!cache) return true;
    if (qs_push(&cache->observed, o) && qs_map_put(&cache->blocks, o->block, (uint32_t)cache->observed.n - 1))
        return true;
    return qs_nomem(e);
}

bool qs_block_observe(const qs_init_context *x, qs_str block, qs_init_cache *cache, qs_arena *arena,
                      const qs_observed **out, qs_err *e) {
    *out = qs_observed_cached(x, block, cache);
    if (*out) return true;
    if (cache) arena = &cache->arena;
    qs_block b;
    qs_bn_choice bn;
    qs_weight w;
    size_t n;
    qs_observed *o = QS_ARENA_NEW(arena, qs_observed);
    if (!o) return qs_nomem(e);
    qs_block_describe(x, block, &b);
    qs_block_bn(x, &b, &bn);
    if (!qs_block_count(x, &b, &n, e) || !qs_block_config_cached(x, block, cache, &o->config, e) ||
        !open_weight(x, &b, &bn, arena, &w, e) || !compute(o, &w, arena, e) ||
        !describe_origin(o, &w, &bn, arena, e))
        return false;
    o->block = qs_arena_str(arena, block);
    if (!o->block.p) return qs_nomem(e);
    o->bn_eps = x->bn_eps;
    o->per_channel = b.per_channel;
    *out = o;
    return qs_observed_remember(cache, o, e);
}

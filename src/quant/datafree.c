/* Activation ranges without data: after BatchNorm channel c is about N(beta, gamma^2), so it stays within
 * beta +- 6 |gamma|; the activation that follows maps that interval (qat-keys.md, section 6; Nagel et al.
 * 2019, arXiv:1906.04721). Only where the BatchNorm is certain: a state dict does not say who feeds whom. */
#include "quant/fqinit_impl.h"

#include <math.h>
#include <stdlib.h>

static double identity(double x) {
    return x;
}
static double relu(double x) {
    return x > 0 ? x : 0;
}
static double relu6(double x) {
    return x < 0 ? 0 : x > 6 ? 6 : x;
}
static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double silu(double x) {
    return x * sigmoid(x);
}
static double hardswish(double x) {
    return x * relu6(x + 3) / 6;
}
static double hardsigmoid(double x) {
    return relu6(x + 3) / 6;
}

/* Activations, monotonic but for one minimum at most. */
typedef struct activation {
    const char *class_name;
    double (*f)(double);
    double at, minimum; /* of the dip; NaN if monotonic */
} activation;

static const activation activations[] = {
    {"Identity", identity, NAN, NAN},
    {"ReLU", relu, NAN, NAN},
    {"ReLU6", relu6, NAN, NAN},
    {"SiLU", silu, -1.27846454, -0.27846454},
    {"Hardswish", hardswish, -1.5, -0.375},
    {"Sigmoid", sigmoid, NAN, NAN},
    {"Hardsigmoid", hardsigmoid, NAN, NAN},
    {"Tanh", tanh, NAN, NAN},
};

static const activation *find_activation(qs_str class_name) {
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (qs_str_is(class_name, activations[i].class_name)) return &activations[i];
    return NULL;
}

/* The interval [lo, hi] behind the activation. */
static void map_interval(const activation *a, double *lo, double *hi) {
    double l = a->f(*lo), h = a->f(*hi);
    bool dips = *lo <= a->at && a->at <= *hi; /* false for NaN */
    *lo = dips ? a->minimum : fmin(l, h);
    *hi = fmax(l, h);
}

/* Where an activation quantizer gets its numbers from. */
typedef struct producer {
    qs_str bn;
    const activation *act;
} producer;

static qs_str class_of(const qs_init_context *x, qs_str module) {
    uint32_t i = qs_manifest_find_module(x->target, module);
    return i == QS_MODULE_NONE ? (qs_str){NULL, 0}
                               : qs_str_leaf(qs_manifest_module(x->target, i)->class_name);
}

static bool has_bn(const qs_init_context *x, qs_str bn) {
    return qs_block_entry(x, bn, "weight") && qs_block_entry(x, bn, "bias") &&
           qs_block_entry(x, bn, "running_var");
}

static bool is_conv_bn(qs_str class_name) {
    return qs_str_find(class_name, QS_STR("ConvBn")) != SIZE_MAX ||
           qs_str_find(class_name, QS_STR("LinearBn")) != SIZE_MAX;
}

/* X of a ConvBn2d or ConvBnReLU2d: its own output quantizer. */
static bool after_conv_bn(const qs_init_context *x, qs_str owner, qs_arena *arena, producer *out) {
    qs_str name = class_of(x, owner);
    if (!is_conv_bn(name)) return false;
    *out =
        (producer){.bn = qs_key_join(arena, owner, "bn"),
                   .act = find_activation(
                       qs_str_find(name, QS_STR("ReLU")) != SIZE_MAX ? QS_STR("ReLU") : QS_STR("Identity"))};
    return out->bn.p && has_bn(x, out->bn);
}

/* P.act.quant (what the activation takes) and P.act.module (what it gives) beside a P.conv with BatchNorm:
 * SparseML's wrapping of the blocks of Ultralytics. */
static bool around_wrapped_activation(const qs_init_context *x, qs_str owner, qs_arena *arena,
                                      producer *out) {
    qs_str wrapper = qs_str_parent(owner), last = qs_str_leaf(owner), parent = qs_str_parent(wrapper);
    bool input = qs_str_is(last, "quant"), output = qs_str_is(last, "module");
    if (!qs_str_is(qs_str_leaf(wrapper), "act") || (!input && !output)) return false;
    out->act = find_activation(input ? QS_STR("Identity") : class_of(x, owner));
    static const char *const convs[] = {"conv.module", "conv"};
    for (size_t i = 0; i < sizeof convs / sizeof *convs && out->act; i++) {
        producer conv;
        qs_str name = qs_key_join(arena, parent, convs[i]);
        if (!name.p || !after_conv_bn(x, name, arena, &conv) ||
            !qs_str_is(qs_str_of(conv.act->class_name), "Identity"))
            continue;
        out->bn = conv.bn;
        return true;
    }
    return false;
}

static bool estimate(const qs_init_context *x, const producer *p, double *lo, double *hi, qs_err *e) {
    const qs_expected *weight = qs_block_entry(x, p->bn, "weight");
    if (!weight->shape_known || weight->shape.ndim != 1)
        return qs_fail(e, QS_E_INPUT, "%.*s: no channels", QS_FMT(p->bn));
    size_t c = (size_t)weight->shape.dim[0];
    float *gamma = malloc((c ? c : 1) * sizeof *gamma), *beta = malloc((c ? c : 1) * sizeof *beta);
    bool ok = gamma && beta ? qs_bn_read(x, p->bn, "weight", 1, c, gamma, e) &&
                                  qs_bn_read(x, p->bn, "bias", 0, c, beta, e)
                            : qs_nomem(e);
    *lo = INFINITY;
    *hi = -INFINITY;
    for (size_t i = 0; ok && i < c; i++) {
        double l = (double)beta[i] - 6 * fabs((double)gamma[i]),
               h = (double)beta[i] + 6 * fabs((double)gamma[i]);
        map_interval(p->act, &l, &h);
        if (!isfinite(l) || !isfinite(h))
            ok = qs_fail(e, QS_E_INPUT, "%.*s: channel %zu is not finite", QS_FMT(p->bn), i);
        *lo = fmin(*lo, l);
        *hi = fmax(*hi, h);
    }
    free(gamma);
    free(beta);
    return ok;
}

static bool finish(qs_observed *o, const producer *p, double lo, double hi, qs_arena *arena, qs_err *e) {
    qs_buf b = {0};
    o->n = 1;
    o->min_val = QS_ARENA_ARRAY(arena, 1, float);
    o->max_val = QS_ARENA_ARRAY(arena, 1, float);
    o->qp = QS_ARENA_ARRAY(arena, 1, qs_qparam);
    if (!o->min_val || !o->max_val || !o->qp) return qs_nomem(e);
    *o->min_val = (float)lo;
    *o->max_val = (float)hi;
    qs_buf_addf(&b, "estimated from %.*s", QS_FMT(p->bn));
    if (p->act->f != identity) qs_buf_addf(&b, " and %s", p->act->class_name);
    qs_buf_addz(&b, ", without data");
    if (o->config.ambiguous) qs_buf_addf(&b, "; %s", o->config.question);
    o->origin = b.failed ? NULL : qs_arena_str(arena, qs_buf_str(&b)).p;
    qs_buf_free(&b);
    return o->origin ? qs_qparams(&o->config.cfg, o->min_val, o->max_val, 1, o->qp, e) : qs_nomem(e);
}

bool qs_block_datafree(const qs_init_context *x, qs_str block, qs_init_cache *cache, qs_arena *arena,
                       const qs_observed **out, qs_err *e) {
    *out = qs_observed_cached(x, block, cache);
    if (*out) return true;
    if (cache) arena = &cache->arena;
    qs_block b;
    producer p;
    double lo, hi;
    qs_block_describe(x, block, &b);
    bool own = qs_str_is(qs_str_leaf(block), "activation_post_process") && !b.per_channel && !b.fixed &&
               !b.histogram;
    if (!own || (!after_conv_bn(x, b.owner, arena, &p) && !around_wrapped_activation(x, b.owner, arena, &p)))
        return true;
    qs_observed *o = QS_ARENA_NEW(arena, qs_observed);
    if (!o) return qs_nomem(e);
    if (!estimate(x, &p, &lo, &hi, e) || !qs_block_config_cached(x, block, cache, &o->config, e) ||
        !finish(o, &p, lo, hi, arena, e))
        return false;
    o->block = qs_arena_str(arena, block);
    if (!o->block.p) return qs_nomem(e);
    o->bn_eps = x->bn_eps;
    *out = o;
    return qs_observed_remember(cache, o, e);
}

/* What loads, because quantizers take any shape, and fails later, in forward. Only what shapes and dtypes
 * show: whether the observer is on is a value. tests/oracle/test_strict_forward.py runs torch on all of it.
 */
#include "repair/strict_run.h"

typedef enum fails { FAILS_NOT, FAILS_ALWAYS, FAILS_OFF, FAILS_ON } fails;

static const char *when(fails f) {
    return f == FAILS_ALWAYS ? ""
           : f == FAILS_OFF  ? " once the observer is off"
                             : " while the observer is on";
}

/* Channels of the weight that `quantizer` is the weight_fake_quant of, or -1. */
static int64_t channels_of(const qs_manifest *m, const qs_module *quantizer) {
    if (!qs_str_is(qs_str_leaf(quantizer->name), "weight_fake_quant") || quantizer->parent == QS_MODULE_NONE)
        return -1;
    const qs_module *owner = qs_manifest_module(m, quantizer->parent);
    uint32_t weight = qs_strict_entry(m, owner, "weight");
    if (weight == UINT32_MAX || !qs_manifest_entry(m, weight)->shape_known) return -1;
    qs_shape s = qs_manifest_entry(m, weight)->shape;
    int64_t axis = quantizer->attrs.ch_axis == QS_ATTR_ABSENT ? 0 : quantizer->attrs.ch_axis;
    if (axis < 0) axis += s.ndim;
    return axis >= 0 && axis < s.ndim ? s.dim[axis] : -1;
}

/* The fused kernel has int64 flags. */
static bool is_fused(const qs_manifest *m, const qs_module *quantizer) {
    uint32_t flag = qs_strict_entry(m, quantizer, "fake_quant_enabled");
    return flag != UINT32_MAX && qs_manifest_entry(m, flag)->dtype == QS_INT64;
}

static bool is_vector(const strict_value *v, int64_t n) {
    return v->shape.ndim == 1 && v->shape.dim[0] == n;
}
static bool has_shape(const strict_value *v) {
    return v->there && v->shape_known && !v->python_type;
}

/* A range that was never observed: the first batch fills it, and scale and zero_point with it. The fused
 * kernel looks at the minimum only. */
static bool is_fresh(strict_run *r, bool fused, bool *fresh) {
    static const char *const names[] = {"min_val", "min_vals", "max_val", "max_vals"};
    *fresh = false;
    for (int i = 0; i < (fused ? 2 : 4); i++) {
        char leaf[64];
        snprintf(leaf, sizeof leaf, "activation_post_process.%s", names[i]);
        qs_str key = qs_strict_key(r, leaf);
        if (!key.p) return qs_nomem(r->err);
        strict_value v = qs_strict_get(r, key);
        if (has_shape(&v) && qs_shape_numel(v.shape) == 0) *fresh = true;
    }
    return true;
}

static fails per_tensor(const strict_run *r, const strict_value *s, const strict_value *z, bool fused) {
    bool one = qs_shape_numel(s->shape) == 1 && qs_shape_numel(z->shape) == 1;
    if (fused) return one && s->shape.ndim && z->shape.ndim ? FAILS_NOT : FAILS_ALWAYS;
    /* An observer that is on makes both fit, but looks at the shape of scale only. */
    bool on = r->torch >= TORCH_FQ_RESIZES && is_vector(s, 1) && !(one && z->shape.ndim);
    if (on) return one ? FAILS_ON : FAILS_ALWAYS;
    return one ? FAILS_NOT : FAILS_OFF;
}

static fails per_channel(const strict_run *r, const strict_value *s, const strict_value *z, int64_t n,
                         bool fused, bool fresh) {
    if (is_vector(s, n) && is_vector(z, n)) return FAILS_NOT;
    if (fused) return fresh ? FAILS_NOT : FAILS_ALWAYS;
    if (r->torch >= TORCH_FQ_RESIZES && is_vector(s, n)) return FAILS_ALWAYS;
    return fresh ? FAILS_NOT : FAILS_OFF;
}

static bool check_dtypes(strict_run *r, qs_str scale, const strict_value *s, qs_str zero,
                         const strict_value *z) {
    if (!r->assign) return true;
    if (z->dtype == QS_INT64 && !qs_strict_advise(r, QS_FIND_FORWARD, zero,
                                                  "assign=True keeps int64: forward raises, it wants int32"))
        return false;
    if (s->dtype == QS_FLOAT16 || s->dtype == QS_FLOAT64)
        return qs_strict_advise(r, QS_FIND_FORWARD, scale,
                                "assign=True keeps %s: forward raises, it wants float32",
                                qs_dtype_get(s->dtype)->name);
    return true;
}

bool qs_strict_check_quantizer(strict_run *r) {
    qs_str scale = qs_strict_key(r, "scale"), zero = qs_strict_key(r, "zero_point");
    if (!scale.p || !zero.p) return qs_nomem(r->err);
    strict_value s = qs_strict_get(r, scale), z = qs_strict_get(r, zero);
    if (!has_shape(&s) || !has_shape(&z)) return true;
    qs_str scheme = r->mod->attrs.qscheme;
    bool channelwise = qs_str_find(scheme, QS_STR("per_channel")) != SIZE_MAX, fresh;
    bool tensorwise = qs_str_find(scheme, QS_STR("per_tensor")) != SIZE_MAX;
    int64_t n = channels_of(r->m, r->mod);
    fails f = FAILS_NOT;
    bool fused = is_fused(r->m, r->mod);
    if (!is_fresh(r, fused, &fresh)) return false;
    if (channelwise && !check_dtypes(r, scale, &s, zero, &z)) return false;
    if (tensorwise) f = per_tensor(r, &s, &z, fused);
    if (channelwise && n >= 0) f = per_channel(r, &s, &z, n, fused, fresh);
    if (f == FAILS_NOT) return true;
    char has[64], and[64], wants[48] = "one element each, a vector";
    qs_shape_text(s.shape, "x", has, sizeof has);
    qs_shape_text(z.shape, "x", and, sizeof and);
    if (channelwise) snprintf(wants, sizeof wants, "%lld channels", (long long)n);
    return qs_strict_advise(r, QS_FIND_FORWARD, scale,
                            "scale is %s and zero_point %s, the model wants %s: forward raises%s", has, and,
                            wants, when(f));
}

bool qs_strict_check_ranges(strict_run *r) {
    bool old = r->torch < TORCH_OBSERVER_V3;
    if (r->mod->parent == QS_MODULE_NONE) return true;
    const qs_module *quantizer = qs_manifest_module(r->m, r->mod->parent);
    int64_t n = channels_of(r->m, quantizer);
    qs_str low = qs_strict_key(r, old ? "min_vals" : "min_val"),
           high = qs_strict_key(r, old ? "max_vals" : "max_val");
    if (!low.p || !high.p) return qs_nomem(r->err);
    strict_value a = qs_strict_get(r, low), b = qs_strict_get(r, high);
    if (n < 0 || !has_shape(&a) || !has_shape(&b)) return true;
    uint64_t channels = (uint64_t)n, na = qs_shape_numel(a.shape), nb = qs_shape_numel(b.shape);
    bool fused = is_fused(r->m, quantizer);
    if (na == 0 || (nb == 0 && !fused)) return true;
    if (fused && (na < channels || nb < channels))
        return qs_strict_advise(r, QS_FIND_FORWARD, na < channels ? low : high,
                                "the weight has %lld channels: the fused kernel reads past the end of this",
                                (long long)n);
    bool fits = (na == 1 || na == channels) && (nb == 1 || nb == channels);
    if (fits || fused) return true;
    return qs_strict_advise(r, QS_FIND_FORWARD, na == 1 || na == channels ? high : low,
                            "the weight has %lld channels: forward raises%s", (long long)n, when(FAILS_ON));
}

/* What loads and then depends on values: a quantizer whose observer is off works with the range and the scale
 * it was given. tests/oracle/test_strict_forward.py runs torch on all of it. */
#include "repair/strict_run.h"

#include <math.h>

enum { CHUNK = 256 };

typedef struct entry_at {
    qs_str key;
    uint32_t i;
    uint64_t numel;
} entry_at;

/* A tensor of the source below the quantizer; false if it has none, or is no tensor. */
static bool find_leaf(strict_run *r, const char *leaf, entry_at *out, bool *failed) {
    out->key = qs_strict_key(r, leaf);
    if (!out->key.p) *failed = true;
    if (!out->key.p) return false;
    strict_value v = qs_strict_get(r, out->key);
    out->i = r->src->find(r->src->ctx, out->key);
    out->numel = qs_shape_numel(v.shape);
    return v.there && !v.injected && !v.python_type && v.shape_known && out->i != UINT32_MAX;
}

static bool read(const strict_run *r, const entry_at *x, uint64_t first, size_t n, float *out) {
    return first + n <= x->numel && r->src->values(r->src->ctx, x->i, first, n, out);
}

/* The flag is there and says no: one that is missing keeps the model's, which is 1 in a new module. */
static bool is_off(strict_run *r, const char *flag, bool *failed) {
    entry_at x;
    float on = 1;
    return find_leaf(r, flag, &x, failed) && x.numel == 1 && read(r, &x, 0, 1, &on) && on == 0;
}

typedef struct range {
    entry_at low, high;
    bool known, fresh, sound; /* never observed; min <= max everywhere */
    float bad[2];             /* the first pair that is not sound */
} range;

static void look_at(const strict_run *r, range *x) {
    float low[CHUNK], high[CHUNK];
    uint64_t n = x->low.numel < x->high.numel ? x->low.numel : x->high.numel;
    bool all_fresh = true;
    x->known = x->sound = true;
    for (uint64_t i = 0; i < n && x->known; i += CHUNK) {
        size_t k = n - i < CHUNK ? (size_t)(n - i) : CHUNK;
        x->known = read(r, &x->low, i, k, low) && read(r, &x->high, i, k, high);
        for (size_t j = 0; j < k && x->known; j++) {
            bool sound = low[j] <= high[j];
            if (!sound && x->sound) x->bad[0] = low[j], x->bad[1] = high[j];
            x->sound &= sound;
            all_fresh &= isinf(low[j]) && isinf(high[j]) && low[j] > high[j];
        }
    }
    x->fresh = x->known && (n == 0 || all_fresh);
    x->sound &= n > 0;
}

static bool find_range(strict_run *r, range *x, bool *failed) {
    bool there = (find_leaf(r, "activation_post_process.min_val", &x->low, failed) &&
                  find_leaf(r, "activation_post_process.max_val", &x->high, failed)) ||
                 (find_leaf(r, "activation_post_process.min_vals", &x->low, failed) &&
                  find_leaf(r, "activation_post_process.max_vals", &x->high, failed));
    if (there) look_at(r, x);
    return there && x->known;
}

static bool is_fused(const strict_run *r) {
    uint32_t flag = qs_strict_entry(r->m, r->mod, "fake_quant_enabled");
    return flag != UINT32_MAX && qs_manifest_entry(r->m, flag)->dtype == QS_INT64;
}

/* The fused kernel makes scale and zero_point anew from the range, observer or not. */
static bool check_fused(strict_run *r, const range *x) {
    if (x->sound) return true;
    if (x->low.numel == 0 || x->high.numel == 0)
        return qs_strict_advise(r, QS_FIND_FORWARD, x->low.key,
                                "observer_enabled is 0 and the range is empty: the fused forward raises");
    return qs_strict_advise(r, QS_FIND_FORWARD, x->low.key,
                            "observer_enabled is 0 and the range is %g to %g: the fused forward raises",
                            (double)x->bad[0], (double)x->bad[1]);
}

static bool check_plain(strict_run *r, bool has_range, const range *x, bool *failed) {
    entry_at scale, zero;
    float s[CHUNK], z = 1;
    if (!find_leaf(r, "scale", &scale, failed) || !find_leaf(r, "zero_point", &zero, failed)) return !*failed;
    for (uint64_t i = 0; i < scale.numel; i += CHUNK) {
        size_t k = scale.numel - i < CHUNK ? (size_t)(scale.numel - i) : CHUNK;
        if (!read(r, &scale, i, k, s)) return true;
        for (size_t j = 0; j < k; j++)
            if (!isfinite(s[j]) || s[j] == 0)
                return qs_strict_advise(r, QS_FIND_FORWARD, scale.key,
                                        "observer_enabled is 0 and the scale is %g: forward gives %s",
                                        (double)s[j], s[j] == 0 ? "zeros" : "NaN");
    }
    bool unset = scale.numel == 1 && s[0] == 1 && zero.numel == 1 && read(r, &zero, 0, 1, &z) && z == 0;
    if (!unset || !has_range || !x->fresh) return true;
    return qs_strict_advise(
        r, QS_FIND_FORWARD, scale.key,
        "observer_enabled is 0 and nothing was ever observed: with a scale of 1 forward rounds "
        "every value to a whole number");
}

bool qs_strict_check_values(strict_run *r) {
    bool failed = false;
    range x = {0};
    if (!r->src->values) return true;
    if (!is_off(r, "observer_enabled", &failed) || is_off(r, "fake_quant_enabled", &failed))
        return !failed || qs_nomem(r->err);
    bool has_range = find_range(r, &x, &failed);
    if (failed) return qs_nomem(r->err);
    if (is_fused(r)) return !has_range || check_fused(r, &x);
    return check_plain(r, has_range, &x, &failed) && (!failed || qs_nomem(r->err));
}

#include "quant/qparams.h"

#include <math.h>

static const struct {
    qs_qscheme scheme;
    const char *name;
} schemes[] = {
    {QS_PER_TENSOR_AFFINE, "per_tensor_affine"},
    {QS_PER_TENSOR_SYMMETRIC, "per_tensor_symmetric"},
    {QS_PER_CHANNEL_AFFINE, "per_channel_affine"},
    {QS_PER_CHANNEL_SYMMETRIC, "per_channel_symmetric"},
    {QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS, "per_channel_affine_float_qparams"},
};
enum { SCHEMES = sizeof schemes / sizeof *schemes };

qs_qscheme qs_qscheme_parse(qs_str name) {
    if (qs_str_starts(name, QS_STR("torch."))) name = qs_str_sub(name, strlen("torch."), name.n);
    for (int i = 0; i < SCHEMES; i++)
        if (qs_str_is(name, schemes[i].name)) return schemes[i].scheme;
    return QS_QSCHEME_UNKNOWN;
}

const char *qs_qscheme_name(qs_qscheme s) {
    for (int i = 0; i < SCHEMES; i++)
        if (schemes[i].scheme == s) return schemes[i].name;
    return "unknown";
}

/* Observers took their range from the dtype alone, and mapped a custom one onto it, before this torch. */
enum { OBSERVER_HOLDS_RANGE = 110 };

static bool is_old(int torch_minor) {
    return torch_minor > 0 && torch_minor < OBSERVER_HOLDS_RANGE;
}

static int64_t floor_half(int64_t v) {
    return (v - (v < 0 && v % 2)) / 2;
}

static void dtype_range(qs_dtype dtype, bool reduce_range, int64_t *lo, int64_t *hi) {
    switch (dtype) {
    case QS_QINT8:
    case QS_INT8: *lo = reduce_range ? -64 : -128, *hi = reduce_range ? 63 : 127; break;
    case QS_QINT32:
    case QS_INT32: *lo = INT32_MIN, *hi = INT32_MAX; break;
    case QS_INT16: *lo = INT16_MIN, *hi = INT16_MAX; break;
    case QS_UINT16: *lo = 0, *hi = UINT16_MAX; break;
    case QS_QUINT4X2: *lo = 0, *hi = 15; break;
    default: *lo = 0, *hi = reduce_range ? 127 : 255; break;
    }
}

void qs_quant_range(qs_dtype dtype, bool custom, bool reduce_range, int torch_minor, int64_t *lo,
                    int64_t *hi) {
    if (!custom) {
        dtype_range(dtype, reduce_range, lo, hi);
        return;
    }
    if (is_old(torch_minor)) { /* only the length of a custom range counted */
        int64_t length = *hi - *lo + 1;
        bool is_signed = dtype == QS_QINT8;
        *lo = is_signed ? floor_half(-length) : 0;
        *hi = is_signed ? floor_half(length) - 1 : length - 1;
    }
    if (reduce_range) *lo = floor_half(*lo), *hi = floor_half(*hi);
}

static void observer_range(const qs_qconfig *cfg, int64_t *lo, int64_t *hi) {
    *lo = cfg->quant_min;
    *hi = cfg->quant_max;
    if (is_old(cfg->torch_minor))
        qs_quant_range(cfg->dtype, cfg->custom_range, cfg->reduce_range, cfg->torch_minor, lo, hi);
}

/* ---- plain: observer.py, _calculate_qparams ---- */

/* A result as a tensor of the buffers' dtype would hold it. */
static float hold(const qs_qconfig *cfg, float v) {
    if (cfg->float_dtype == QS_FLOAT16) return qs_half_to_float(qs_float_to_half(v));
    if (cfg->float_dtype == QS_BFLOAT16) return qs_bfloat16_to_float(qs_float_to_bfloat16(v));
    return v;
}

static int32_t symmetric_zero_point(const qs_qconfig *cfg, int64_t qmin, int64_t qmax) {
    if (cfg->learnable) return 0;
    switch (cfg->dtype) {
    case QS_QUINT8:
    case QS_UINT8: return cfg->custom_range ? (int32_t)floor_half(qmin + qmax) : 128;
    case QS_UINT16: return 1 << 15;
    default: return 0;
    }
}

/* qmin - round(lo / scale), clamped; in double because a range of 2^32 steps overflows an int on the way. */
static int32_t affine_zero_point(float steps_below_zero, int64_t qmin, int64_t qmax) {
    double zp = (double)qmin - (double)rintf(steps_below_zero);
    if (!(zp > (double)qmin)) return (int32_t)qmin;
    return (int32_t)(zp > (double)qmax ? qmax : (int64_t)zp);
}

static qs_qparam plain_qparam(const qs_qconfig *cfg, int64_t qmin, int64_t qmax, float mn, float mx) {
    float lo = mn < 0 ? mn : 0, hi = mx > 0 ? mx : 0, eps = hold(cfg, cfg->eps);
    qs_qparam q = {0};
    if (qs_qscheme_symmetric(cfg->scheme)) {
        float amax = -lo > hi ? -lo : hi;
        q.scale = hold(cfg, amax / (float)((double)(qmax - qmin) / 2));
        if (!(q.scale > eps)) q.scale = eps;
        q.zero_point = symmetric_zero_point(cfg, qmin, qmax);
    } else if (cfg->scheme == QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS) {
        q.scale = hold(cfg, hold(cfg, mx - mn) / (float)(qmax - qmin));
        if (!(q.scale > eps)) q.scale = 1;
        q.zero_point_f = hold(cfg, -mn / q.scale);
    } else {
        q.scale = hold(cfg, hold(cfg, hi - lo) / (float)(qmax - qmin));
        if (!(q.scale > eps)) q.scale = eps;
        q.zero_point = affine_zero_point(hold(cfg, lo / q.scale), qmin, qmax);
    }
    return q;
}

/* ---- fused: QuantUtils.h, ChooseQuantizationParams; its preserve_sparsity is our `symmetric` ---- */

static const float SMALL_SCALE = 6.1e-5f;

/* Widen a two-sided range to the grid's own proportions, so that zero stays in the middle. */
static void widen_symmetric(int64_t qmin, int64_t qmax, float *mn, float *mx) {
    int qlow = -((int)(qmax - qmin) / 2 + 1), qhigh = (int)(qmax - qmin) / 2;
    double low = fabsf(*mn / (float)qlow), high = fabsf(*mx / (float)qhigh);
    double largest = low < high ? high : low;
    *mn = (float)(largest * qlow);
    *mx = (float)(largest * qhigh);
}

/* A scale too small for fbgemm is replaced, and the range with it. */
static void cut_off_small_scale(int64_t qmin, int64_t qmax, double *scale, float *mn, float *mx) {
    float old = (float)*scale;
    *scale = SMALL_SCALE;
    if (*mn == 0) {
        *mx = SMALL_SCALE * (float)(qmax - qmin);
    } else if (*mx == 0) {
        *mn = -SMALL_SCALE * (float)(qmax - qmin);
    } else {
        float amplifier = SMALL_SCALE / old;
        *mn *= amplifier;
        *mx *= amplifier;
    }
}

/* From the end of the range where rounding does less harm. */
static double initial_zero_point(int64_t qmin, int64_t qmax, double scale, float mn, float mx) {
    double from_min = (double)qmin - (double)mn / scale, from_max = (double)qmax - (double)mx / scale;
    double min_error = fabs((double)qmin) - fabs((double)mn / scale);
    double max_error = fabs((double)qmax) - fabs((double)mx / scale);
    return min_error < max_error ? from_min : from_max;
}

static qs_qparam fused_qparam(const qs_qconfig *cfg, int64_t qmin, int64_t qmax, float mn, float mx) {
    bool symmetric = qs_qscheme_symmetric(cfg->scheme);
    if (symmetric && mn < 0 && mx > 0) widen_symmetric(qmin, qmax, &mn, &mx);
    if (mn > 0) mn = 0;
    if (mx < 0) mx = 0;
    double scale = ((double)mx - (double)mn) / (double)(qmax - qmin);
    if ((float)scale == 0 || isinf(1.0f / (float)scale)) scale = 0.1;
    if (scale < (double)SMALL_SCALE) cut_off_small_scale(qmin, qmax, &scale, &mn, &mx);
    double zp = symmetric && mn < 0 && mx > 0 ? (double)(qmin + qmax) / 2
                                              : initial_zero_point(qmin, qmax, scale, mn, mx);
    if (!(zp > (double)qmin)) zp = (double)qmin;
    if (zp > (double)qmax) zp = (double)qmax;
    return (qs_qparam){.scale = (float)scale, .zero_point = (int32_t)nearbyint(zp)};
}

bool qs_qparams(const qs_qconfig *cfg, const float *min_val, const float *max_val, size_t n, qs_qparam *out,
                qs_err *e) {
    int64_t qmin, qmax;
    observer_range(cfg, &qmin, &qmax);
    if (qmin >= qmax || qmin < INT32_MIN || qmax > UINT32_MAX)
        return qs_fail(e, QS_E_INPUT, "quantization range %lld..%lld is empty or too large", (long long)qmin,
                       (long long)qmax);
    for (size_t i = 0; i < n; i++) {
        float mn = min_val[i], mx = max_val[i];
        if (isinf(mn) && isinf(mx) && mn > mx) {
            out[i] = (qs_qparam){.scale = 1};
            continue;
        }
        if (!(mn <= mx))
            return qs_fail(e, QS_E_INPUT, "range %zu is [%g, %g]: its minimum is not below its maximum", i,
                           (double)mn, (double)mx);
        out[i] = cfg->fused ? fused_qparam(cfg, qmin, qmax, mn, mx) : plain_qparam(cfg, qmin, qmax, mn, mx);
    }
    return true;
}

void qs_bn_factor(const float *gamma, const float *running_var, double eps, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = gamma[i] / sqrtf(running_var[i] + (float)eps);
}

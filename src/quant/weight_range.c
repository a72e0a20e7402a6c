/* The first observation of a weight: its minimum and maximum, per tensor or per channel, in one pass of
 * blocks that stay in the cache. A BatchNorm factor is applied to the two results of a run of equal channel,
 * not to every element: rounding is monotonic, so min(fl(x * f)) = fl(min(x) * f) for f >= 0, and the other
 * way round below. */
#include "quant/qparams.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 16384, LANES = 32 };

/* Geometry of one axis in row-major order: the element i is in channel (i / inner) % count. */
typedef struct axis {
    uint64_t inner, count;
} axis;

static bool weight_numel(const qs_weight *w, uint64_t *numel, qs_err *e) {
    uint64_t n = 1;
    for (uint32_t d = 0; d < w->ndim; d++) {
        if (w->dim[d] < 0 || __builtin_mul_overflow(n, (uint64_t)w->dim[d], &n))
            return qs_fail(e, QS_E_INPUT, "%.*s: shape is too large", QS_FMT(w->key));
    }
    *numel = n;
    return true;
}

static bool find_axis(const qs_weight *w, int64_t at, axis *out, qs_err *e) {
    int64_t ndim = (int64_t)w->ndim, d = at < 0 ? at + ndim : at;
    if (d < 0 || d >= ndim)
        return qs_fail(e, QS_E_INPUT, "%.*s: channel axis %lld, but the weight has %u dimensions",
                       QS_FMT(w->key), (long long)at, w->ndim);
    *out = (axis){.inner = 1, .count = (uint64_t)w->dim[d]};
    for (int64_t i = d + 1; i < ndim; i++) out->inner *= (uint64_t)w->dim[i];
    return true;
}

bool qs_weight_channels(const qs_weight *w, const qs_qconfig *cfg, size_t *n, qs_err *e) {
    axis a;
    *n = 1;
    if (!qs_qscheme_per_channel(cfg->scheme)) return true;
    if (!find_axis(w, cfg->ch_axis, &a, e)) return false;
    *n = (size_t)a.count;
    return true;
}

/* Widen [*lo, *hi] by x[0..n); *bad gets non-zero when an element is a NaN. The lanes are independent, so
 * that the compiler may use one vector instruction for many (gcc does at -O3, and only with a loop for each
 * result); x < lo ? x : lo is exactly minps, and skips NaNs. */
static inline __attribute__((always_inline)) void widen_body(const float *x, size_t n, float *lo, float *hi,
                                                             uint32_t *bad) {
    float l[LANES], h[LANES];
    uint32_t nan[LANES];
    for (int j = 0; j < LANES; j++) l[j] = *lo, h[j] = *hi, nan[j] = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) l[j] = x[i + j] < l[j] ? x[i + j] : l[j];
        for (int j = 0; j < LANES; j++) h[j] = x[i + j] > h[j] ? x[i + j] : h[j];
        for (int j = 0; j < LANES; j++) nan[j] |= (uint32_t)(x[i + j] != x[i + j]);
    }
    for (; i < n; i++) {
        l[0] = x[i] < l[0] ? x[i] : l[0];
        h[0] = x[i] > h[0] ? x[i] : h[0];
        nan[0] |= (uint32_t)(x[i] != x[i]);
    }
    for (int j = 0; j < LANES; j++) {
        *lo = l[j] < *lo ? l[j] : *lo;
        *hi = h[j] > *hi ? h[j] : *hi;
        *bad |= nan[j];
    }
}

static void widen_any(const float *x, size_t n, float *lo, float *hi, uint32_t *bad) {
    widen_body(x, n, lo, hi, bad);
}

#ifdef __x86_64__
/* The same loops in vectors twice as wide. */
__attribute__((target("avx2"))) static void widen_avx2(const float *x, size_t n, float *lo, float *hi,
                                                       uint32_t *bad) {
    widen_body(x, n, lo, hi, bad);
}
#endif

typedef void (*widen_fn)(const float *x, size_t n, float *lo, float *hi, uint32_t *bad);

static widen_fn best_widen(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) return widen_avx2;
#endif
    return widen_any;
}

/* The same with a channel per element: x[i] belongs to lo[i]. */
static inline __attribute__((always_inline)) void
widen_each_body(const float *restrict x, size_t n, float *restrict lo, float *restrict hi, uint32_t *bad) {
    uint32_t nan = 0;
    for (size_t i = 0; i < n; i++) {
        lo[i] = x[i] < lo[i] ? x[i] : lo[i];
        hi[i] = x[i] > hi[i] ? x[i] : hi[i];
        nan |= (uint32_t)(x[i] != x[i]);
    }
    *bad |= nan;
}

static void widen_each_any(const float *x, size_t n, float *lo, float *hi, uint32_t *bad) {
    widen_each_body(x, n, lo, hi, bad);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void widen_each_avx2(const float *x, size_t n, float *lo, float *hi,
                                                            uint32_t *bad) {
    widen_each_body(x, n, lo, hi, bad);
}
#endif

static widen_fn best_widen_each(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) return widen_each_avx2;
#endif
    return widen_each_any;
}

typedef struct scan {
    const qs_weight *w;
    uint64_t numel;
    axis channel, factor; /* count 1 and inner = numel where there is none */
    float *lo, *hi;
    uint32_t nan;
    widen_fn widen, widen_each;
} scan;

static bool scan_prepare(scan *s, const qs_weight *w, const qs_qconfig *cfg, size_t n, qs_err *e) {
    if (!weight_numel(w, &s->numel, e)) return false;
    axis none = {.inner = s->numel ? s->numel : 1, .count = 1};
    s->w = w;
    s->channel = s->factor = none;
    if (qs_qscheme_per_channel(cfg->scheme) && !find_axis(w, cfg->ch_axis, &s->channel, e)) return false;
    if (w->channel_factor && !find_axis(w, w->factor_axis, &s->factor, e)) return false;
    if (n != s->channel.count)
        return qs_fail(e, QS_E_INPUT, "%.*s: %zu ranges asked for, the weight has %llu channels",
                       QS_FMT(w->key), n, (unsigned long long)s->channel.count);
    return true;
}

/* One run of elements that share their channel and their factor. */
static void scan_run(scan *s, const float *x, uint64_t first, size_t n) {
    size_t c = (size_t)(first / s->channel.inner % s->channel.count);
    if (!s->w->channel_factor) {
        s->widen(x, n, &s->lo[c], &s->hi[c], &s->nan);
        return;
    }
    float lo = INFINITY, hi = -INFINITY, f = s->w->channel_factor[first / s->factor.inner % s->factor.count];
    s->widen(x, n, &lo, &hi, &s->nan);
    lo *= f;
    hi *= f;
    s->nan |= (uint32_t)(lo != lo || hi != hi);
    float low = lo < hi ? lo : hi, high = lo < hi ? hi : lo;
    if (low < s->lo[c]) s->lo[c] = low;
    if (high > s->hi[c]) s->hi[c] = high;
}

static void scan_block(scan *s, const float *x, uint64_t first, size_t n) {
    uint64_t inner = s->channel.inner < s->factor.inner ? s->channel.inner : s->factor.inner;
    bool each = inner == 1 && !s->w->channel_factor; /* the channel is the last axis */
    uint64_t run = each ? s->channel.count : inner;
    for (size_t i = 0; i < n;) {
        uint64_t left = run - (first + i) % run;
        size_t k = n - i < left ? n - i : (size_t)left;
        size_t c = (size_t)((first + i) % run);
        if (each)
            s->widen_each(x + i, k, s->lo + c, s->hi + c, &s->nan);
        else
            scan_run(s, x + i, first + i, k);
        i += k;
    }
}

static bool finite_so_far(const scan *s) {
    if (s->nan) return false;
    for (uint64_t c = 0; c < s->channel.count; c++)
        if (s->lo[c] == -INFINITY || s->hi[c] == INFINITY) return false;
    return true;
}

/* A second look for the element that spoiled the range. */
static bool explain_not_finite(const scan *s, float *block, qs_err *e) {
    for (uint64_t at = 0; at < s->numel; at += BLOCK) {
        size_t n = s->numel - at < BLOCK ? (size_t)(s->numel - at) : BLOCK;
        if (!s->w->read(s->w->ctx, at, n, block, e)) return false;
        for (size_t i = 0; i < n; i++)
            if (!isfinite(block[i]))
                return qs_fail(
                    e, QS_E_INPUT, "%.*s: element %llu is %s; torch's observer cannot take a range from it",
                    QS_FMT(s->w->key), (unsigned long long)(at + i), isnan(block[i]) ? "NaN" : "infinite");
    }
    return qs_fail(e, QS_E_INPUT,
                   "%.*s: times its BatchNorm factor the weight is not finite; is running_var sound?",
                   QS_FMT(s->w->key));
}

static bool scan_all(scan *s, float *block, const qs_progress *progress, qs_err *e) {
    for (uint64_t at = 0; at < s->numel;) {
        size_t n = s->numel - at < BLOCK ? (size_t)(s->numel - at) : BLOCK;
        if (!s->w->read(s->w->ctx, at, n, block, e)) return false;
        scan_block(s, block, at, n);
        at += n;
        if (!qs_progress_step(progress, at, s->numel, e)) return false;
    }
    return finite_so_far(s) || explain_not_finite(s, block, e);
}

bool qs_weight_range(const qs_weight *w, const qs_qconfig *cfg, float *min_val, float *max_val, size_t n,
                     const qs_progress *progress, qs_err *e) {
    scan s = {.lo = min_val, .hi = max_val, .widen = best_widen(), .widen_each = best_widen_each()};
    if (!scan_prepare(&s, w, cfg, n, e)) return false;
    for (size_t c = 0; c < n; c++) min_val[c] = INFINITY, max_val[c] = -INFINITY;
    float *block = malloc(BLOCK * sizeof *block);
    if (!block) return qs_nomem(e);
    bool ok = scan_all(&s, block, progress, e);
    free(block);
    return ok;
}

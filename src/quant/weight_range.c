/* The first observation of a weight: its minimum and maximum, per tensor or per channel, in one pass of
 * blocks that stay in the cache, floats as they are stored. A BatchNorm factor is applied to the two results
 * of elements of equal channel, not to every element: rounding is monotonic, so min(fl(x * f)) =
 * fl(min(x) * f) for f >= 0, and the other way round below. */
#include "quant/qparams.h"

#include "quant/range_kernel.h"

#include <math.h>
#include <stdlib.h>

enum {
    BLOCK = 256 << 10,           /* bytes read at once: few calls, and still in the cache when looked at */
    LONG_ROWS_BLOCK = 768 << 10, /* where it would hold only a few rows: the ranges of the columns are to be
                                    fetched less often */
    LONG_RUN = 128,              /* elements of one channel in a row that are worth a look of their own */
    FEW_COLUMNS = 256,           /* of a row; several rows are taken as one then */
    MOST_COLUMNS = 1 << 18       /* that are kept when there are more of them than channels */
};

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

typedef struct scan {
    const qs_weight *w;
    const qs_range_kernel *kernel;
    bool raw; /* the kernel takes the elements as they are stored, not as floats */
    uint64_t numel;
    axis channel, factor; /* count 1 and inner = numel where there is none */
    float *lo, *hi;
    bool bad;         /* met what is not finite */
    uint64_t columns; /* that have a range of their own in low and high; 0: there are none */
    char *low, *high; /* keys */
} scan;

static bool scan_prepare(scan *s, const qs_qconfig *cfg, size_t n, qs_err *e) {
    const qs_weight *w = s->w;
    if (!weight_numel(w, &s->numel, e)) return false;
    s->channel = s->factor = (axis){.inner = s->numel ? s->numel : 1, .count = 1};
    if (qs_qscheme_per_channel(cfg->scheme) && !find_axis(w, cfg->ch_axis, &s->channel, e)) return false;
    if (w->channel_factor && !find_axis(w, w->factor_axis, &s->factor, e)) return false;
    if (n != s->channel.count)
        return qs_fail(e, QS_E_INPUT, "%.*s: %zu ranges asked for, the weight has %llu channels",
                       QS_FMT(w->key), n, (unsigned long long)s->channel.count);
    s->kernel = w->read_raw ? qs_range_kernel_of(w->dtype) : NULL;
    s->raw = s->kernel != NULL;
    if (!s->raw) s->kernel = qs_range_kernel_of(QS_FLOAT32);
    return true;
}

/* Elements as the kernel takes them. */
static bool scan_read(const scan *s, uint64_t first, size_t n, void *out, qs_err *e) {
    return s->raw ? s->w->read_raw(s->w->ctx, first, n, out, e) : s->w->read(s->w->ctx, first, n, out, e);
}

/* Keys of elements that share the channel and the factor of the element `first`. */
static void widen_channel(scan *s, uint64_t first, int32_t lo_key, int32_t hi_key) {
    float lo = qs_range_value(s->kernel, lo_key), hi = qs_range_value(s->kernel, hi_key);
    size_t c = (size_t)(first / s->channel.inner % s->channel.count);
    if (!qs_range_finite(s->kernel, lo_key, hi_key)) s->bad = true;
    if (s->w->channel_factor) {
        float f = s->w->channel_factor[first / s->factor.inner % s->factor.count], a = lo * f, b = hi * f;
        if (!isfinite(a) || !isfinite(b)) s->bad = true;
        lo = a < b ? a : b;
        hi = a < b ? b : a;
    }
    if (lo < s->lo[c]) s->lo[c] = lo;
    if (hi > s->hi[c]) s->hi[c] = hi;
}

/* Elements in a row that share their channel and their factor. */
static uint64_t run_of(const scan *s) {
    return s->channel.inner < s->factor.inner ? s->channel.inner : s->factor.inner;
}

/* ---- where channels are long runs ---- */

static void take_runs(scan *s, uint64_t first, size_t n, const char *block) {
    uint64_t run = run_of(s);
    for (size_t i = 0; i < n;) {
        uint64_t left = run - (first + i) % run;
        size_t k = n - i < left ? n - i : (size_t)left;
        int32_t lo = QS_RANGE_KEY_MAX, hi = QS_RANGE_KEY_MIN;
        s->kernel->run(block + i * s->kernel->size, k, &lo, &hi);
        widen_channel(s, first + i, lo, hi);
        i += k;
    }
}

/* ---- where they are short, or single elements: every column of a row has a range of its own ---- */

/* Elements after which channels and factors repeat. */
static uint64_t period_of(const scan *s) {
    uint64_t c = s->channel.inner * s->channel.count, f = s->factor.inner * s->factor.count;
    if (s->channel.count == 1 && s->channel.inner == s->numel) c = 0;
    if (!s->w->channel_factor) f = 0;
    return c > f ? c : f;
}

/* How many columns to look at, 0 if runs are better. */
static uint64_t choose_columns(const scan *s) {
    uint64_t period = period_of(s);
    if (period == 0 || run_of(s) >= LONG_RUN) return 0;
    bool channels = run_of(s) == 1 && period == s->channel.count && !s->w->channel_factor;
    if (!channels && (period > s->numel / 2 || period > MOST_COLUMNS)) return 0;
    uint64_t rows = s->numel / period, together = FEW_COLUMNS / period + 1;
    return period * (together < rows ? together : rows);
}

/* Whole rows together, and parts of one. */
static void take_columns(scan *s, uint64_t first, size_t n, const char *block) {
    size_t size = s->kernel->size;
    for (size_t i = 0; i < n;) {
        size_t c = (size_t)((first + i) % s->columns), width = (size_t)s->columns - c;
        size_t rows = c == 0 && n - i >= width ? (n - i) / width : 1;
        if (width > n - i) width = n - i;
        s->kernel->columns(block + i * size, rows, width, s->low + c * size, s->high + c * size);
        i += rows * width;
    }
}

static bool columns_begin(scan *s, qs_err *e) {
    size_t n = (size_t)s->columns;
    s->low = calloc(n, s->kernel->size);
    s->high = calloc(n, s->kernel->size);
    if (!s->low || !s->high) return qs_nomem(e);
    s->kernel->clear(s->low, s->high, n);
    return true;
}

static void columns_end(scan *s) {
    for (size_t c = 0; c < s->columns; c++)
        widen_channel(s, c, qs_range_key(s->kernel, s->low, c), qs_range_key(s->kernel, s->high, c));
}

/* ---- all of it ---- */

/* A second look for the element that spoiled the range. */
static bool explain_not_finite(const scan *s, qs_err *e) {
    float block[4096];
    const size_t fits = sizeof block / sizeof *block;
    for (uint64_t at = 0; at < s->numel; at += fits) {
        size_t n = s->numel - at < fits ? (size_t)(s->numel - at) : fits;
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

static size_t block_bytes(const scan *s) {
    bool long_rows = s->columns > BLOCK / 4 / s->kernel->size;
    return long_rows ? LONG_ROWS_BLOCK : BLOCK;
}

static bool scan_all(scan *s, const qs_progress *progress, qs_err *e) {
    size_t size = s->kernel->size, fits = block_bytes(s) / size;
    if (s->columns && s->columns < fits) fits = fits / s->columns * s->columns; /* whole rows */
    if (s->numel < fits) fits = (size_t)s->numel;
    char *block = malloc(fits * size);
    bool ok = block || qs_nomem(e);
    for (uint64_t at = 0; ok && at < s->numel;) {
        size_t n = s->numel - at < fits ? (size_t)(s->numel - at) : fits;
        ok = scan_read(s, at, n, block, e);
        if (ok) (s->columns ? take_columns : take_runs)(s, at, n, block);
        at += n;
        ok = ok && qs_progress_step(progress, at, s->numel, e);
    }
    free(block);
    return ok;
}

bool qs_weight_range(const qs_weight *w, const qs_qconfig *cfg, float *min_val, float *max_val, size_t n,
                     const qs_progress *progress, qs_err *e) {
    scan s = {.w = w, .lo = min_val, .hi = max_val};
    if (!scan_prepare(&s, cfg, n, e)) return false;
    for (size_t c = 0; c < n; c++) min_val[c] = INFINITY, max_val[c] = -INFINITY;
    if (s.numel == 0) return true;
    s.columns = choose_columns(&s);
    bool ok = (s.columns == 0 || columns_begin(&s, e)) && scan_all(&s, progress, e);
    if (ok) columns_end(&s);
    free(s.low);
    free(s.high);
    return ok && (!s.bad || explain_not_finite(&s, e));
}

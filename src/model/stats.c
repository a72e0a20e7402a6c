#include "model/stats.h"

#include <math.h>
#include <stdlib.h>
#include <zlib.h>

enum { BLOCK = 32 << 10 }; /* elements read at once */

typedef struct scan {
    qs_stats *s;
    double sum, squares; /* of the values; of the deviations from the mean */
    double scale;        /* bins per half a unit: halves, because max - min may overflow */
} scan;

static void first_pass(scan *x, const double *v, size_t n) {
    qs_stats *s = x->s;
    for (size_t i = 0; i < n; i++) {
        if (isnan(v[i]))
            s->nan++;
        else if (isinf(v[i]))
            s->inf++;
        else {
            s->finite++;
            s->zero += v[i] == 0;
            x->sum += v[i];
            if (s->finite == 1 || v[i] < s->min) s->min = v[i];
            if (s->finite == 1 || v[i] > s->max) s->max = v[i];
        }
    }
}

static void second_pass(scan *x, const double *v, size_t n) {
    qs_stats *s = x->s;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        double d = v[i] - s->mean;
        x->squares += d * d;
        double bin = (v[i] / 2 - s->min / 2) * x->scale;
        /* `!(bin < ...)` also catches the NaN of a range so small that its scale is infinite. */
        s->hist[!(bin < QS_HIST_BINS) ? QS_HIST_BINS - 1 : (int)bin]++;
    }
}

static bool each_block(const qs_checkpoint *c, const qs_tensor *t, scan *x, bool second, double *block,
                       const qs_progress *progress, qs_err *e) {
    uint64_t n = x->s->n;
    for (uint64_t at = 0; at < n;) {
        size_t k = n - at < BLOCK ? (size_t)(n - at) : BLOCK;
        if (!qs_tensor_read_doubles(c, t, at, k, block, e)) return false;
        if (second)
            second_pass(x, block, k);
        else
            first_pass(x, block, k);
        at += k;
        if (!qs_progress_step(progress, second ? n + at : at, 2 * n, e)) return false;
    }
    return true;
}

bool qs_stats_compute(const qs_checkpoint *c, const qs_tensor *t, qs_stats *out, const qs_progress *progress,
                      qs_err *e) {
    qs_stats s = {.n = qs_shape_numel(t->shape), .min = NAN, .max = NAN, .mean = NAN, .std = NAN};
    scan x = {.s = &s};
    double *block = malloc(BLOCK * sizeof *block);
    if (!block) return qs_nomem(e);
    bool ok = each_block(c, t, &x, false, block, progress, e);
    if (ok && s.finite) {
        s.mean = x.sum / (double)s.finite;
        x.scale = s.max > s.min ? QS_HIST_BINS / (s.max / 2 - s.min / 2) : 0;
        ok = each_block(c, t, &x, true, block, progress, e);
        s.std = s.finite > 1 ? sqrt(x.squares / (double)(s.finite - 1)) : 0;
    }
    free(block);
    if (ok) *out = s;
    return ok;
}

bool qs_stats_channels(const qs_checkpoint *c, const qs_tensor *t, uint32_t axis, double *min, double *max,
                       const qs_progress *progress, qs_err *e) {
    uint64_t n = qs_shape_numel(t->shape), channels = (uint64_t)t->shape.dim[axis], inner = 1;
    for (uint32_t i = axis + 1; i < t->shape.ndim; i++) inner *= (uint64_t)t->shape.dim[i];
    double *block = malloc(BLOCK * sizeof *block);
    if (!block) return qs_nomem(e);
    for (uint64_t i = 0; i < channels; i++) min[i] = max[i] = NAN;
    bool ok = true;
    for (uint64_t at = 0; ok && at < n;) {
        size_t k = n - at < BLOCK ? (size_t)(n - at) : BLOCK;
        ok = qs_tensor_read_doubles(c, t, at, k, block, e);
        for (size_t i = 0; ok && i < k; i++) {
            uint64_t ch = (at + i) / inner % channels;
            if (!isfinite(block[i])) continue;
            if (!(min[ch] <= block[i])) min[ch] = block[i];
            if (!(max[ch] >= block[i])) max[ch] = block[i];
        }
        at += k;
        ok = ok && qs_progress_step(progress, at, n, e);
    }
    free(block);
    return ok;
}

bool qs_tensor_crc32(const qs_checkpoint *c, const qs_tensor *t, uint32_t *out, const qs_progress *progress,
                     qs_err *e) {
    uint64_t n = qs_shape_numel(t->shape);
    size_t size = qs_dtype_get(t->dtype)->size;
    uLong crc = crc32(0, NULL, 0);
    char *block = malloc(BLOCK * 16);
    if (!block) return qs_nomem(e);
    bool ok = qs_tensor_read(c, t, 0, 0, block, e); /* an empty tensor can be broken too */
    for (uint64_t at = 0; ok && at < n;) {
        size_t k = n - at < BLOCK ? (size_t)(n - at) : BLOCK;
        ok = qs_tensor_read(c, t, at, k, block, e);
        if (ok) crc = crc32(crc, (const Bytef *)block, (uInt)(k * size));
        at += k;
        ok = ok && qs_progress_step(progress, at, n, e);
    }
    free(block);
    if (ok) *out = (uint32_t)crc;
    return ok;
}

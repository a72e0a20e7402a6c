/* What quantizing a weight costs: torch's fake quantization of every element against the element itself
 * (fake_quantize_core.cpp, fake_quant_affine_kernel.cpp). */
#include "quant/qparams.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 8192, EXACT_ADD = 1 << 22 };

/* The clamp range of a kernel. */
typedef struct grid {
    float inv_scale, scale;
    float zero_point; /* a float one; an integer one is in low and high */
    double low, high; /* of round(x / scale): quant_min - zp, quant_max - zp */
    bool add_first;   /* a float zero point is added before rounding, in one fused multiply and add */
    bool small;       /* integers below 2^22, where adding and subtracting 1.5 * 2^23 rounds half to even */
} grid;

static grid grid_of(const qs_qconfig *cfg, const qs_qparam *qp) {
    bool float_zp = cfg->scheme == QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS;
    int64_t shift = float_zp ? 0 : qp->zero_point;
    double low = (double)(cfg->quant_min - shift), high = (double)(cfg->quant_max - shift);
    return (grid){.inv_scale = 1.0f / qp->scale,
                  .scale = qp->scale,
                  .zero_point = qp->zero_point_f,
                  .low = low,
                  .high = high,
                  .add_first = float_zp,
                  .small = low > -EXACT_ADD && high < EXACT_ADD};
}

/* *inside: the rounded value was on the grid before the clamp. */
static inline float quantize(const grid *g, float x, bool *inside) {
    double q = (double)rintf(g->add_first ? fmaf(x, g->inv_scale, g->zero_point) : x * g->inv_scale);
    *inside = q >= g->low && q <= g->high;
    q = q < g->low ? g->low : q > g->high ? g->high : q;
    double steps = q - (g->add_first ? (double)g->zero_point : 0);
    return (float)(steps * (double)g->scale);
}

float qs_fake_quantize(const qs_qconfig *cfg, const qs_qparam *qp, float x) {
    grid g = grid_of(cfg, qp);
    bool inside;
    return quantize(&g, x, &inside);
}

/* Sums over some elements. */
typedef struct sums {
    double signal, noise;
    float worst;
    uint64_t clipped, n;
} sums;

/* The common case, written so that it vectorises: integers small enough to be rounded by addition. */
static void measure_small(const grid *g, const float *x, size_t n, sums *s) {
    enum { LANES = 8 };
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    const float low = (float)g->low, high = (float)g->high, below = low - 1, above = high + 1;
    double signal[LANES] = {0}, noise[LANES] = {0};
    float worst[LANES] = {0};
    uint32_t clipped[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float v = x[i + j], q = v * g->inv_scale;
            q = q < below ? below : q;
            q = q > above ? above : q;
            q = (q + magic) - magic;
            clipped[j] += (uint32_t)((q < low) | (q > high));
            q = q < low ? low : q;
            q = q > high ? high : q;
            float d = v - q * g->scale, a = d < 0 ? -d : d;
            worst[j] = a > worst[j] ? a : worst[j];
            signal[j] += (double)v * (double)v;
            noise[j] += (double)d * (double)d;
        }
    for (int j = 0; j < LANES; j++) {
        s->signal += signal[j], s->noise += noise[j], s->clipped += clipped[j];
        s->worst = worst[j] > s->worst ? worst[j] : s->worst;
    }
    s->n += i;
}

static void measure(const grid *g, const float *x, size_t n, sums *s) {
    size_t i = 0;
    if (g->small && !g->add_first) {
        i = n / 8 * 8;
        measure_small(g, x, i, s);
    }
    for (; i < n; i++) {
        bool inside;
        float d = x[i] - quantize(g, x[i], &inside);
        s->signal += (double)x[i] * (double)x[i];
        s->noise += (double)d * (double)d;
        s->clipped += !inside;
        s->n++;
        if (fabsf(d) > s->worst) s->worst = fabsf(d);
    }
}

static qs_quality finish(const sums *s) {
    double n = s->n ? (double)s->n : 1;
    return (qs_quality){.sqnr_db = s->noise > 0 ? 10 * log10(s->signal / s->noise) : INFINITY,
                        .clipped = (double)s->clipped / n,
                        .mse = s->noise / n,
                        .max_abs_error = s->worst};
}

typedef struct job {
    const qs_weight *w;
    const qs_qconfig *cfg;
    const qs_qparam *qp;
    uint64_t numel, inner, factor_inner, factor_count;
    size_t n;
    sums *channel;
} job;

static bool job_prepare(job *j, qs_err *e) {
    const qs_weight *w = j->w;
    size_t channels;
    if (!qs_weight_channels(w, j->cfg, &channels, e)) return false;
    if (channels != j->n)
        return qs_fail(e, QS_E_INPUT, "%.*s: %zu scales for %zu channels", QS_FMT(w->key), j->n, channels);
    int64_t axis = j->cfg->ch_axis < 0 ? j->cfg->ch_axis + (int64_t)w->ndim : j->cfg->ch_axis;
    j->numel = j->inner = j->factor_inner = 1;
    for (uint32_t d = 0; d < w->ndim; d++) {
        j->numel *= (uint64_t)w->dim[d];
        if (j->n == 1 || d > axis) j->inner *= (uint64_t)w->dim[d];
        if (d > w->factor_axis) j->factor_inner *= (uint64_t)w->dim[d];
        if (d == w->factor_axis) j->factor_count = (uint64_t)w->dim[d];
    }
    return true;
}

static void job_block(job *j, float *x, uint64_t first, size_t n) {
    uint64_t run = j->inner;
    const float *f = j->w->channel_factor;
    if (f && j->factor_inner < run) run = j->factor_inner;
    for (size_t i = 0; i < n;) {
        uint64_t at = first + i, left = run - at % run;
        size_t k = n - i < left ? n - i : (size_t)left, c = (size_t)(at / j->inner % j->n);
        if (f) {
            float m = f[at / j->factor_inner % j->factor_count];
            for (size_t r = i; r < i + k; r++) x[r] *= m;
        }
        grid g = grid_of(j->cfg, &j->qp[c]);
        measure(&g, x + i, k, &j->channel[c]);
        i += k;
    }
}

static bool job_run(job *j, float *block, qs_err *e) {
    for (uint64_t at = 0; at < j->numel;) {
        size_t n = j->numel - at < BLOCK ? (size_t)(j->numel - at) : BLOCK;
        if (!j->w->read(j->w->ctx, at, n, block, e)) return false;
        job_block(j, block, at, n);
        at += n;
    }
    return true;
}

bool qs_quality_measure(const qs_weight *w, const qs_qconfig *cfg, const qs_qparam *qp, size_t n,
                        qs_quality *out, qs_quality *per_channel, qs_err *e) {
    job j = {.w = w, .cfg = cfg, .qp = qp, .n = n};
    if (!job_prepare(&j, e)) return false;
    float *block = malloc(BLOCK * sizeof *block);
    j.channel = calloc(n ? n : 1, sizeof *j.channel);
    bool ok = block && j.channel ? job_run(&j, block, e) : qs_nomem(e);
    sums all = {0};
    for (size_t c = 0; ok && c < n; c++) {
        const sums *s = &j.channel[c];
        if (per_channel) per_channel[c] = finish(s);
        all.signal += s->signal, all.noise += s->noise, all.clipped += s->clipped, all.n += s->n;
        if (s->worst > all.worst) all.worst = s->worst;
    }
    if (ok) *out = finish(&all);
    free(block);
    free(j.channel);
    return ok;
}

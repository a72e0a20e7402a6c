#include "teach/see.h"

#include <math.h>
#include <stdlib.h>

struct qs_see {
    uint64_t total;
    uint32_t channels;
    size_t each; /* values of each channel */
    int64_t dim[2];
    float lo, hi;
    float *value;      /* [channels][each] */
    float *min, *max;  /* [channels] scratch of compute */
    qs_qparam *qparam; /* [channels] */
    qs_quality *quality;
};

/* How many channels and values of each are looked at. */
static void choose_size(qs_shape shape, uint32_t *channels, size_t *each, uint64_t *per) {
    uint64_t total = qs_shape_numel(shape), c = shape.ndim > 1 ? (uint64_t)shape.dim[0] : 1;
    *per = total / c;
    if (c > QS_SEE_VALUES / 16) c = QS_SEE_VALUES / 16;
    *channels = (uint32_t)c;
    *each = *per < QS_SEE_VALUES / c ? (size_t)*per : QS_SEE_VALUES / (size_t)c;
}

static bool read_values(qs_see *s, const qs_checkpoint *from, const qs_tensor *t, uint64_t per, qs_err *e) {
    if (s->channels * s->each == s->total)
        return qs_tensor_read_floats(from, t, 0, (size_t)s->total, s->value, e);
    uint64_t stored = s->total / per;
    for (uint32_t c = 0; c < s->channels; c++) {
        uint64_t channel = (uint64_t)c * stored / s->channels;
        /* runs of different channels begin at different places */
        uint64_t at = (per - s->each) * c / s->channels;
        if (!qs_tensor_read_floats(from, t, channel * per + at, s->each, s->value + c * s->each, e))
            return false;
    }
    return true;
}

static void find_range(qs_see *s) {
    s->lo = INFINITY;
    s->hi = -INFINITY;
    for (size_t i = 0; i < s->channels * s->each; i++) {
        if (s->value[i] < s->lo) s->lo = s->value[i];
        if (s->value[i] > s->hi) s->hi = s->value[i];
    }
}

bool qs_see_open(const qs_checkpoint *from, const qs_tensor *t, qs_see **out, qs_err *e) {
    uint64_t per;
    if (t->bad) return qs_fail(e, QS_E_INPUT, "its values cannot be read: it %s", t->bad);
    if (t->kind != QS_TENSOR_DENSE || !qs_dtype_is_float(t->dtype) || qs_shape_numel(t->shape) < 2 ||
        qs_shape_numel(t->shape) == UINT64_MAX)
        return qs_fail(e, QS_E_INPUT, "a weight is wanted: float numbers, more than one");
    qs_see *s = calloc(1, sizeof *s);
    if (!s) return qs_nomem(e);
    s->total = qs_shape_numel(t->shape);
    choose_size(t->shape, &s->channels, &s->each, &per);
    s->dim[0] = s->channels;
    s->dim[1] = (int64_t)s->each;
    s->value = malloc(s->channels * s->each * sizeof *s->value);
    s->min = malloc(s->channels * sizeof *s->min);
    s->max = malloc(s->channels * sizeof *s->max);
    s->qparam = malloc(s->channels * sizeof *s->qparam);
    s->quality = malloc(s->channels * sizeof *s->quality);
    bool ok = (s->value && s->min && s->max && s->qparam && s->quality) || qs_nomem(e);
    if (ok && read_values(s, from, t, per, e)) {
        find_range(s);
        *out = s;
        return true;
    }
    qs_see_free(s);
    return false;
}

void qs_see_free(qs_see *s) {
    if (!s) return;
    free(s->value);
    free(s->min);
    free(s->max);
    free(s->qparam);
    free(s->quality);
    free(s);
}

uint64_t qs_see_total(const qs_see *s) {
    return s->total;
}
size_t qs_see_count(const qs_see *s) {
    return s->channels * s->each;
}
uint32_t qs_see_channels(const qs_see *s) {
    return s->channels;
}
void qs_see_range(const qs_see *s, float *lo, float *hi) {
    *lo = s->lo;
    *hi = s->hi;
}

static bool read_sample(void *ctx, uint64_t first, size_t n, float *out, qs_err *e) {
    const qs_see *s = ctx;
    (void)e;
    memcpy(out, s->value + first, n * sizeof *out);
    return true;
}

static qs_weight weight_of(const qs_see *s) {
    return (qs_weight){.key = QS_STR("the weight"),
                       .ndim = 2,
                       .dim = s->dim,
                       .dtype = QS_FLOAT32,
                       .read = read_sample,
                       .ctx = (void *)(uintptr_t)s};
}

static qs_qconfig config_of(const qs_see_settings *set) {
    static const qs_qscheme schemes[2][2] = {{QS_PER_TENSOR_SYMMETRIC, QS_PER_CHANNEL_SYMMETRIC},
                                             {QS_PER_TENSOR_AFFINE, QS_PER_CHANNEL_AFFINE}};
    qs_qconfig cfg = QS_QCONFIG_DEFAULT;
    cfg.scheme = schemes[set->affine][set->per_channel];
    cfg.quant_min = -(1 << (set->bits - 1));
    cfg.quant_max = (1 << (set->bits - 1)) - 1;
    cfg.ch_axis = set->per_channel ? 0 : -1;
    return cfg;
}

/* The grid for these settings: scales and zero points in s->qparam, ranges in s->min and s->max. */
static bool make_grid(const qs_see *s, const qs_see_settings *set, const qs_qconfig *cfg, size_t *n,
                      qs_err *e) {
    qs_weight w = weight_of(s);
    *n = set->per_channel ? s->channels : 1;
    if (!qs_weight_range(&w, cfg, s->min, s->max, *n, NULL, e)) return false;
    for (size_t i = 0; i < *n; i++) {
        s->min[i] *= (float)set->keep;
        s->max[i] *= (float)set->keep;
    }
    return qs_qparams(cfg, s->min, s->max, *n, s->qparam, e);
}

bool qs_see_compute(const qs_see *s, const qs_see_settings *set, qs_see_result *out, qs_err *e) {
    qs_qconfig cfg = config_of(set);
    qs_weight w = weight_of(s);
    size_t n, largest = 0;
    if (!make_grid(s, set, &cfg, &n, e)) return false;
    *out = (qs_see_result){.quant_min = cfg.quant_min, .quant_max = cfg.quant_max};
    if (!qs_quality_measure(&w, &cfg, s->qparam, n, &out->quality, s->quality, e)) return false;
    out->worst = s->quality[0];
    out->min = s->min[0];
    out->max = s->max[0];
    out->scale_least = s->qparam[0].scale;
    for (size_t i = 0; i < n; i++) {
        if (s->qparam[i].scale > s->qparam[largest].scale) largest = i;
        if (s->qparam[i].scale < out->scale_least) out->scale_least = s->qparam[i].scale;
        if (s->min[i] < out->min) out->min = s->min[i];
        if (s->max[i] > out->max) out->max = s->max[i];
        if (s->quality[i].sqnr_db >= out->worst.sqnr_db) continue;
        out->worst = s->quality[i];
        out->worst_channel = (uint32_t)i;
    }
    out->scale = s->qparam[largest].scale;
    out->zero_point = s->qparam[largest].zero_point;
    return true;
}

bool qs_see_histogram(const qs_see *s, const qs_see_settings *set, float lo, float hi, uint64_t *bins,
                      size_t n, qs_err *e) {
    qs_qconfig cfg = {0};
    size_t grids = 1;
    if (set) {
        cfg = config_of(set);
        if (!make_grid(s, set, &cfg, &grids, e)) return false;
    }
    memset(bins, 0, n * sizeof *bins);
    double width = (double)hi - lo;
    for (size_t i = 0; i < s->channels * s->each; i++) {
        float v = s->value[i];
        if (set) v = qs_fake_quantize(&cfg, &s->qparam[grids > 1 ? i / s->each : 0], v);
        if (!(v >= lo && v <= hi)) continue;
        size_t at = width > 0 ? (size_t)(((double)v - lo) / width * (double)n) : 0;
        bins[at < n ? at : n - 1]++;
    }
    return true;
}

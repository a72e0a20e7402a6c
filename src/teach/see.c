#include "teach/see.h"

#include <math.h>
#include <stdlib.h>

struct qs_see {
    uint64_t total;
    uint32_t channels, stored; /* looked at, and of the tensor */
    size_t each;               /* values of each channel looked at */
    int64_t dim[2];
    float *value;        /* [channels][each] */
    float *low, *high;   /* [channels] ranges of all their elements */
    float lo, hi;        /* of the tensor */
    float *min, *max;    /* [channels] scratch of compute */
    qs_qparam *qparam;   /* [channels] */
    qs_quality *quality; /* [channels] */
};

/* How many channels and values of each are looked at. */
static void choose_size(qs_shape shape, qs_see *s, uint64_t *per) {
    uint64_t c = shape.ndim > 1 ? (uint64_t)shape.dim[0] : 1;
    s->total = qs_shape_numel(shape);
    *per = s->total / c;
    s->stored = c > UINT32_MAX ? UINT32_MAX : (uint32_t)c;
    s->channels = c > QS_SEE_CHANNELS ? QS_SEE_CHANNELS : (uint32_t)c;
    s->each = *per < QS_SEE_VALUES / s->channels ? (size_t)*per : QS_SEE_VALUES / (size_t)s->channels;
    s->dim[0] = s->channels;
    s->dim[1] = (int64_t)s->each;
}

uint32_t qs_see_channel(const qs_see *s, uint32_t i) {
    return (uint32_t)((uint64_t)i * s->stored / s->channels);
}

static bool read_values(qs_see *s, const qs_checkpoint *from, const qs_tensor *t, uint64_t per, qs_err *e) {
    if (s->channels * s->each == s->total)
        return qs_tensor_read_floats(from, t, 0, (size_t)s->total, s->value, e);
    for (uint32_t c = 0; c < s->channels; c++) {
        /* runs of different channels begin at different places */
        uint64_t at = (per - s->each) * c / s->channels;
        if (!qs_tensor_read_floats(from, t, qs_see_channel(s, c) * per + at, s->each, s->value + c * s->each,
                                   e))
            return false;
    }
    return true;
}

/* One outlier decides a scale, so no element is left out here. */
static bool find_ranges(qs_see *s, qs_weight_source x, uint64_t per, const qs_progress *progress, qs_err *e) {
    const int64_t dim[2] = {s->stored, (int64_t)per};
    qs_weight w = qs_weight_of_tensor(QS_STR("the weight"), &x);
    w.ndim = 2;
    w.dim = dim;
    qs_qconfig cfg = QS_QCONFIG_DEFAULT;
    cfg.scheme = QS_PER_CHANNEL_SYMMETRIC;
    cfg.ch_axis = 0;
    float *low = malloc(s->stored * sizeof *low), *high = malloc(s->stored * sizeof *high);
    bool ok = (low && high) || qs_nomem(e);
    ok = ok && qs_weight_range(&w, &cfg, low, high, s->stored, progress, e);
    s->lo = INFINITY;
    s->hi = -INFINITY;
    for (uint32_t c = 0; ok && c < s->stored; c++) {
        if (low[c] < s->lo) s->lo = low[c];
        if (high[c] > s->hi) s->hi = high[c];
    }
    for (uint32_t c = 0; ok && c < s->channels; c++) {
        s->low[c] = low[qs_see_channel(s, c)];
        s->high[c] = high[qs_see_channel(s, c)];
    }
    free(low);
    free(high);
    return ok;
}

bool qs_see_open(const qs_checkpoint *from, const qs_tensor *t, const qs_progress *progress, qs_see **out,
                 qs_err *e) {
    uint64_t per;
    if (t->bad) return qs_fail(e, QS_E_INPUT, "its values cannot be read: it %s", t->bad);
    if (t->kind != QS_TENSOR_DENSE || !qs_dtype_is_float(t->dtype) || qs_shape_numel(t->shape) < 2 ||
        qs_shape_numel(t->shape) == UINT64_MAX)
        return qs_fail(e, QS_E_INPUT, "a weight is wanted: float numbers, more than one");
    qs_see *s = calloc(1, sizeof *s);
    if (!s) return qs_nomem(e);
    choose_size(t->shape, s, &per);
    s->value = malloc(s->channels * s->each * sizeof *s->value);
    float **const ranges[] = {&s->low, &s->high, &s->min, &s->max};
    bool ok = s->value != NULL;
    for (int i = 0; i < 4; i++) ok = (*ranges[i] = malloc(s->channels * sizeof(float))) && ok;
    s->qparam = malloc(s->channels * sizeof *s->qparam);
    s->quality = malloc(s->channels * sizeof *s->quality);
    ok = (ok && s->qparam && s->quality) || qs_nomem(e);
    if (ok && read_values(s, from, t, per, e) && find_ranges(s, (qs_weight_source){from, t}, per, progress, e)) {
        *out = s;
        return true;
    }
    qs_see_free(s);
    return false;
}

void qs_see_free(qs_see *s) {
    if (!s) return;
    free(s->value);
    free(s->low);
    free(s->high);
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

/* The grids for these settings, one for each channel that is looked at (all the same with one scale for all):
 * in s->qparam; their ranges in s->min and s->max. */
static bool make_grids(const qs_see *s, const qs_see_settings *set, const qs_qconfig *cfg, qs_err *e) {
    uint32_t n = set->per_channel ? s->channels : 1;
    for (uint32_t c = 0; c < n; c++) {
        s->min[c] = (set->per_channel ? s->low[c] : s->lo) * (float)set->keep;
        s->max[c] = (set->per_channel ? s->high[c] : s->hi) * (float)set->keep;
    }
    if (!qs_qparams(cfg, s->min, s->max, n, s->qparam, e)) return false;
    for (uint32_t c = n; c < s->channels; c++)
        s->qparam[c] = s->qparam[0], s->min[c] = *s->min, s->max[c] = *s->max;
    return true;
}

static void take_example(const qs_see *s, const qs_qconfig *cfg, qs_see_result *out) {
    const qs_qparam *q = &s->qparam[0];
    out->first = s->value[0];
    out->first_rounded = qs_fake_quantize(cfg, q, out->first);
    out->first_scale = q->scale;
    out->first_zero_point = q->zero_point;
    out->first_integer = llrintf(out->first_rounded / q->scale) + q->zero_point;
}

bool qs_see_compute(const qs_see *s, const qs_see_settings *set, qs_see_result *out, qs_quality *by_channel,
                    qs_err *e) {
    qs_qconfig cfg = config_of(set), each = cfg;
    qs_weight w = weight_of(s);
    uint32_t largest = 0;
    if (!make_grids(s, set, &cfg, e)) return false;
    /* rounding is the same with a list of equal scales, and then it tells of each channel */
    each.scheme = set->affine ? QS_PER_CHANNEL_AFFINE : QS_PER_CHANNEL_SYMMETRIC;
    each.ch_axis = 0;
    *out = (qs_see_result){.quant_min = cfg.quant_min, .quant_max = cfg.quant_max};
    if (!qs_quality_measure(&w, &each, s->qparam, s->channels, &out->quality, s->quality, e)) return false;
    out->min = s->min[0];
    out->max = s->max[0];
    out->scale_least = s->qparam[0].scale;
    for (uint32_t c = 0; c < s->channels; c++) {
        if (s->qparam[c].scale > s->qparam[largest].scale) largest = c;
        if (s->qparam[c].scale < out->scale_least) out->scale_least = s->qparam[c].scale;
        if (s->min[c] < out->min) out->min = s->min[c];
        if (s->max[c] > out->max) out->max = s->max[c];
        if (s->quality[c].sqnr_db < s->quality[out->worst].sqnr_db) out->worst = c;
        if (by_channel) by_channel[c] = s->quality[c];
    }
    out->scale = s->qparam[largest].scale;
    out->zero_point = s->qparam[largest].zero_point;
    out->worst_db = s->quality[out->worst].sqnr_db;
    take_example(s, &cfg, out);
    return true;
}

bool qs_see_histogram(const qs_see *s, const qs_see_settings *set, float lo, float hi, uint64_t *bins,
                      size_t n, qs_err *e) {
    qs_qconfig cfg = {0};
    if (set) {
        cfg = config_of(set);
        if (!make_grids(s, set, &cfg, e)) return false;
    }
    memset(bins, 0, n * sizeof *bins);
    double scale = hi > lo ? (double)n / ((double)hi - lo) : 0;
    for (size_t c = 0, i = 0; c < s->channels; c++)
        for (size_t end = i + s->each; i < end; i++) {
            float v = set ? qs_fake_quantize(&cfg, &s->qparam[c], s->value[i]) : s->value[i];
            if (!(v >= lo && v <= hi)) continue;
            size_t at = (size_t)(((double)v - lo) * scale);
            bins[at < n ? at : n - 1]++;
        }
    return true;
}

#include "quant/qparams.h"

static bool read_floats(void *ctx, uint64_t first, size_t n, float *out, qs_err *e) {
    const qs_weight_source *s = ctx;
    return qs_tensor_read_floats(s->from, s->t, first, n, out, e);
}

static bool read_raw(void *ctx, uint64_t first, size_t n, void *out, qs_err *e) {
    const qs_weight_source *s = ctx;
    return qs_tensor_read(s->from, s->t, first, n, out, e);
}

qs_weight qs_weight_of_tensor(qs_str key, qs_weight_source *source) {
    const qs_tensor *t = source->t;
    return (qs_weight){.key = key,
                       .ndim = t->shape.ndim,
                       .dim = t->shape.dim,
                       .dtype = t->dtype,
                       .read = read_floats,
                       .read_raw = read_raw,
                       .ctx = source};
}

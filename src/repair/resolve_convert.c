/* Entries as another dtype or in another shape. Values go through double, which holds every element type that
 * is converted exactly but integers beyond 2^53, which are refused. */
#include "repair/resolve_impl.h"

#include <math.h>
#include <stdlib.h>

static bool is_number(qs_dtype t) {
    double zero = 0, out[2];
    char kind = qs_dtype_get(t)->kind;
    return (kind == 'F' || kind == 'I' || kind == 'U' || kind == 'B') && qs_from_doubles(t, &zero, 1, out);
}

static bool is_integer(qs_dtype t) {
    return qs_dtype_get(t)->kind == 'I' || qs_dtype_get(t)->kind == 'U';
}

static const char *no_source(const qs_work *w, const qs_tensor *t) {
    if (w->x.mark == QS_MARK_INIT) return "is made by the plan, in the form the model wants already";
    if (!t) return "is no tensor";
    if (t->bad) return t->bad;
    return t->kind == QS_TENSOR_DENSE || t->kind == QS_TENSOR_QUANTIZED ? NULL : "is no dense tensor";
}

/* As the element type of x is now: a quantized tensor casts to floats by dequantizing. */
static bool is_castable(const qs_resolved *x, qs_dtype to) {
    if (qs_dtype_get(x->dtype)->kind == 'Q') return qs_dtype_is_float(to) && is_number(to);
    return is_number(x->dtype) && is_number(to);
}

static const char *cast_to(const qs_action *a, const qs_work *w, const qs_expected *want, qs_dtype *to) {
    *to = a->dtype ? a->dtype : want ? want->dtype : QS_DTYPE_UNKNOWN;
    if (!a->dtype && !want) return "the model has no such key to take the dtype from";
    if (!*to) return "the model does not say which dtype it wants";
    if (*to == w->x.dtype || is_castable(&w->x, *to)) return NULL;
    return "only real numbers can be cast, to types that can be written, and quantized ones to floats";
}

static const char *reshape_to(const qs_action *a, const qs_work *w, const qs_expected *want, qs_shape *to) {
    if (!a->has_shape && !want) return "the model has no such key to take the shape from";
    if (!a->has_shape && !want->shape_known) return "the model does not say which shape it wants";
    *to = a->has_shape ? a->shape : want->shape;
    if (qs_dtype_get(w->x.dtype)->kind == 'Q') return "is quantized: cast it to floats first";
    uint64_t have = qs_shape_numel(w->x.shape), wanted = qs_shape_numel(*to);
    if (wanted > INT64_MAX / 16) return "that shape is too large";
    return have == wanted || (have == 1 && wanted > 0) ? NULL : "has another number of elements";
}

void qs_resolve_convert(qs_resolution *r, const qs_action *a, qs_work *w, const qs_expected *want,
                        const char **why, bool *same) {
    const qs_tensor *t = qs_resolved_source(r, &w->x, NULL);
    qs_dtype dtype = w->x.dtype;
    qs_shape shape = w->x.shape;
    *same = false;
    *why = no_source(w, t);
    if (!*why) *why = a->kind == QS_ACT_CAST ? cast_to(a, w, want, &dtype) : reshape_to(a, w, want, &shape);
    if (*why) return;
    *same = dtype == w->x.dtype && qs_shape_eq(shape, w->x.shape);
    if (*same) return;
    w->x.dtype = dtype;
    w->x.shape = shape;
    w->x.mark = QS_MARK_CONVERTED;
}

/* ---- values ---- */

static bool check_values(const qs_resolved *x, qs_dtype from, const double *v, size_t n, qs_err *e) {
    const qs_dtype_info *to = qs_dtype_get(x->dtype);
    int bits = to->size * 8 - (to->kind == 'I');
    double high = ldexp(1, bits), low = to->kind == 'I' ? -high : 0;
    for (size_t i = 0; i < n; i++) {
        if (is_integer(from) && qs_dtype_get(from)->size == 8 && fabs(v[i]) > 0x1p53)
            return qs_fail(e, QS_E_REFUSED, "%.*s: holds %.17g, and integers beyond 2^53 are not cast",
                           QS_FMT(x->key), v[i]);
        if (is_integer(x->dtype) && !(v[i] == rint(v[i]) && v[i] >= low && v[i] < high))
            return qs_fail(e, QS_E_REFUSED, "%.*s: holds %.17g, which %s cannot", QS_FMT(x->key), v[i],
                           to->name);
    }
    return true;
}

enum { STEP = 1 << 12 };

static bool read_cast(const qs_checkpoint *from, const qs_tensor *t, const qs_resolved *x, uint64_t first,
                      size_t n, char *out, qs_err *e) {
    double v[STEP];
    size_t size = qs_dtype_get(x->dtype)->size;
    for (size_t done = 0; done < n;) {
        size_t k = n - done < STEP ? n - done : STEP;
        if (!qs_tensor_read_doubles(from, t, first + done, k, v, e) || !check_values(x, t->dtype, v, k, e))
            return false;
        qs_from_doubles(x->dtype, v, k, out + done * size);
        done += k;
    }
    return true;
}

bool qs_resolved_read(const qs_resolution *r, const qs_resolved *x, uint64_t first, size_t n, void *out,
                      qs_err *e) {
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = qs_resolved_source(r, x, &from);
    uint64_t total = qs_shape_numel(x->shape);
    size_t size = qs_dtype_get(x->dtype)->size;
    if (first > total || n > total - first)
        return qs_fail(e, QS_E_USAGE, "%.*s: has %llu elements", QS_FMT(x->key), (unsigned long long)total);
    bool repeated = total > 1 && qs_shape_numel(t->shape) == 1;
    if (repeated) first = 0;
    size_t read = repeated && n ? 1 : n;
    if (t->dtype == x->dtype ? !qs_tensor_read(from, t, first, read, out, e)
                             : !read_cast(from, t, x, first, read, out, e))
        return false;
    for (size_t i = read; i < n; i++) memcpy((char *)out + i * size, out, size);
    return true;
}

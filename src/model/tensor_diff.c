/* Two kernels read float32 and float64 pairs in vectors; what they cannot do exactly (64-bit integers, NaNs
 * and infinities, magnitudes whose squares leave the range of double) is done number by number in long
 * double, piece by piece, so that one NaN costs one piece. */
#include "model/tensor_diff.h"

#include <math.h>
#include <stdlib.h>

enum {
    BLOCK = 32 << 10, /* elements read at once: both sides stay in the second-level cache */
    PIECE = 2048,     /* numbers a kernel sums up at once */
    LANES = 8
};

/* What holds every number of a dtype exactly. */
typedef enum precision { AS_FLOAT, AS_DOUBLE, AS_LONG } precision;

/* Sums over one piece or all of them. */
typedef struct sums {
    long double max_d, max_a, max_b, aa, bb, ab;
    uint64_t differ;
} sums;

typedef struct side {
    const qs_checkpoint *c;
    const qs_tensor *t;
    qs_dtype number; /* of one number: of a part, if the dtype is complex */
    void *raw, *values;
} side;

typedef struct comparison {
    side a, b;
    precision precision;
    unsigned parts; /* numbers in an element */
    double epsilon;
    sums total;
    qs_tensor_diff *out;
} comparison;

/* ---- kernels ----
 * The lanes are independent, so that the compiler may use one vector instruction for several (gcc does at
 * -O3, and only with a loop for each result). */
#define LANE for (int j = 0; j < LANES; j++)
#define KERNEL_BODY                                                                                          \
    double da[LANES], ma[LANES] = {0}, mb[LANES] = {0}, md[LANES] = {0}, aa[LANES] = {0}, bb[LANES] = {0},   \
                      ab[LANES] = {0};                                                                       \
    uint64_t differ[LANES] = {0};                                                                            \
    for (size_t i = 0; i < n; i += LANES) {                                                                  \
        double x[LANES], y[LANES];                                                                           \
        LANE x[j] = a[i + (size_t)j];                                                                        \
        LANE y[j] = b[i + (size_t)j];                                                                        \
        LANE da[j] = fabs(x[j] - y[j]);                                                                      \
        LANE md[j] = da[j] > md[j] ? da[j] : md[j];                                                          \
        LANE differ[j] += da[j] > epsilon;                                                                   \
        LANE aa[j] += x[j] * x[j];                                                                           \
        LANE bb[j] += y[j] * y[j];                                                                           \
        LANE ab[j] += x[j] * y[j];                                                                           \
        LANE ma[j] = fabs(x[j]) > ma[j] ? fabs(x[j]) : ma[j];                                                \
        LANE mb[j] = fabs(y[j]) > mb[j] ? fabs(y[j]) : mb[j];                                                \
    }                                                                                                        \
    *s = (sums){0};                                                                                          \
    LANE {                                                                                                   \
        s->max_d = fmaxl(s->max_d, md[j]);                                                                   \
        s->max_a = fmaxl(s->max_a, ma[j]);                                                                   \
        s->max_b = fmaxl(s->max_b, mb[j]);                                                                   \
        s->aa += aa[j], s->bb += bb[j], s->ab += ab[j];                                                      \
        s->differ += differ[j];                                                                              \
    }

/* n is a multiple of LANES. */
#define KERNEL(name, T, attributes)                                                                          \
    attributes static void name(const void *va, const void *vb, size_t n, double epsilon, sums *s) {         \
        const T *a = va, *b = vb;                                                                            \
        KERNEL_BODY                                                                                          \
    }

KERNEL(sum_floats, float, )
KERNEL(sum_doubles, double, )
#ifdef __x86_64__
KERNEL(sum_floats_avx2, float, __attribute__((target("avx2"))))
KERNEL(sum_doubles_avx2, double, __attribute__((target("avx2"))))
#endif

typedef void (*kernel)(const void *a, const void *b, size_t n, double epsilon, sums *s);

static kernel best_kernel(precision p) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) return p == AS_FLOAT ? sum_floats_avx2 : sum_doubles_avx2;
#endif
    return p == AS_FLOAT ? sum_floats : sum_doubles;
}

/* Squares neither overflowed nor vanished. A NaN or an infinity has made its own side's sum one. */
static bool in_range(long double max, long double squares) {
    return isfinite(squares) && max < 1e150L && (max == 0 || max > 1e-150L);
}

/* ---- number by number ---- */

static long double number_at(const comparison *x, const side *s, size_t i) {
    switch (x->precision) {
    case AS_FLOAT: return ((const float *)s->values)[i];
    case AS_DOUBLE: return ((const double *)s->values)[i];
    case AS_LONG: return ((const long double *)s->values)[i];
    }
    return 0;
}

static void add_nonfinite(comparison *x, long double a, long double b) {
    bool equal = a == b || (isnan(a) && isnan(b));
    x->out->nan_a += isnan(a) != 0;
    x->out->nan_b += isnan(b) != 0;
    x->out->nonfinite_differ += !equal;
    x->total.differ += !equal;
}

static void sum_slowly(comparison *x, size_t from, size_t n, sums *s) {
    *s = (sums){0};
    for (size_t i = from; i < from + n; i++) {
        long double a = number_at(x, &x->a, i), b = number_at(x, &x->b, i);
        if (!isfinite(a) || !isfinite(b)) {
            add_nonfinite(x, a, b);
            continue;
        }
        long double d = fabsl(a - b);
        s->max_d = fmaxl(s->max_d, d);
        s->max_a = fmaxl(s->max_a, fabsl(a));
        s->max_b = fmaxl(s->max_b, fabsl(b));
        s->aa += a * a, s->bb += b * b, s->ab += a * b;
        s->differ += d > x->epsilon;
    }
}

/* ---- reading ---- */

static qs_dtype number_type(const qs_tensor *t) {
    switch (t->dtype) {
    case QS_COMPLEX128: return QS_FLOAT64;
    case QS_COMPLEX64: return QS_FLOAT32;
    case QS_COMPLEX32: return QS_FLOAT16;
    default: return t->dtype;
    }
}

static precision precision_of(const qs_tensor *t) {
    const qs_dtype_info *d = qs_dtype_get(number_type(t));
    if (t->kind == QS_TENSOR_QUANTIZED || d->size < 4) return AS_FLOAT;
    if (d->kind == 'F') return d->size == 4 ? AS_FLOAT : AS_DOUBLE;
    return d->size == 4 ? AS_DOUBLE : AS_LONG;
}

static void widen(const side *s, size_t n, long double *out) {
    double *v = s->raw;
    if (s->number == QS_INT64)
        for (size_t i = 0; i < n; i++) out[i] = (long double)((const int64_t *)s->raw)[i];
    else if (s->number == QS_UINT64)
        for (size_t i = 0; i < n; i++) out[i] = (long double)((const uint64_t *)s->raw)[i];
    else
        for (size_t i = 0; i < n; i++) out[i] = v[i];
}

/* n elements from `at` on into s->values. */
static bool load(const comparison *x, side *s, uint64_t at, size_t n, qs_err *e) {
    bool complex = s->number != s->t->dtype;
    switch (x->precision) {
    case AS_FLOAT:
        if (!complex) return qs_tensor_read_floats(s->c, s->t, at, n, s->values, e);
        if (!qs_tensor_read(s->c, s->t, at, n, s->raw, e)) return false;
        qs_to_floats(s->number, s->raw, n * x->parts, s->values);
        return true;
    case AS_DOUBLE:
        if (!complex) return qs_tensor_read_doubles(s->c, s->t, at, n, s->values, e);
        if (!qs_tensor_read(s->c, s->t, at, n, s->raw, e)) return false;
        qs_to_doubles(s->number, s->raw, n * x->parts, s->values);
        return true;
    case AS_LONG:
        if (s->number == QS_INT64 || s->number == QS_UINT64) {
            if (!qs_tensor_read(s->c, s->t, at, n, s->raw, e)) return false;
        } else if (!qs_tensor_read_doubles(s->c, s->t, at, n, s->raw, e)) {
            return false;
        }
        widen(s, n, s->values);
        return true;
    }
    return false;
}

/* ---- all of it ---- */

/* The i-th pair's difference, rounded as the sum that found the largest has rounded it. */
static long double apart(const comparison *x, size_t i, bool fast) {
    long double a = number_at(x, &x->a, i), b = number_at(x, &x->b, i);
    return fast ? fabs((double)a - (double)b) : fabsl(a - b);
}

static void note_largest(comparison *x, uint64_t first, size_t from, size_t n, bool fast, long double max) {
    if (!(max > x->total.max_d)) return;
    size_t i = from;
    while (i < from + n && !(apart(x, i, fast) >= max)) i++;
    x->total.max_d = max;
    x->out->max_at = first + i;
}

/* Numbers [from, from + n) of the block whose first number is `first`. */
static void add_piece(comparison *x, uint64_t first, size_t from, size_t n, kernel sum) {
    size_t size = x->precision == AS_FLOAT ? sizeof(float) : sizeof(double);
    sums s, *t = &x->total;
    bool fast = sum != NULL;
    if (fast) {
        size_t padded = (n + LANES - 1) / LANES * LANES; /* by zeros */
        sum((char *)x->a.values + from * size, (char *)x->b.values + from * size, padded, x->epsilon, &s);
        fast = in_range(s.max_a, s.aa) && in_range(s.max_b, s.bb);
    }
    if (!fast) sum_slowly(x, from, n, &s);
    note_largest(x, first, from, n, fast, s.max_d);
    t->max_a = fmaxl(t->max_a, s.max_a);
    t->max_b = fmaxl(t->max_b, s.max_b);
    t->aa += s.aa, t->bb += s.bb, t->ab += s.ab;
    t->differ += s.differ;
}

static void pad(const comparison *x, const side *s, size_t n) {
    size_t size = x->precision == AS_FLOAT ? sizeof(float) : sizeof(double);
    if (x->precision != AS_LONG) memset((char *)s->values + n * size, 0, LANES * size);
}

static bool add_block(comparison *x, uint64_t at, size_t elements, kernel sum, qs_err *e) {
    if (!load(x, &x->a, at, elements, e) || !load(x, &x->b, at, elements, e)) return false;
    size_t n = elements * x->parts;
    pad(x, &x->a, n);
    pad(x, &x->b, n);
    for (size_t from = 0; from < n; from += PIECE)
        add_piece(x, at * x->parts, from, n - from < PIECE ? n - from : PIECE, sum);
    return true;
}

static bool add_all(comparison *x, const qs_progress *progress, qs_err *e) {
    kernel sum = x->precision == AS_LONG ? NULL : best_kernel(x->precision);
    uint64_t n = qs_shape_numel(x->a.t->shape);
    if (n == 0) return load(x, &x->a, 0, 0, e) && load(x, &x->b, 0, 0, e); /* may be broken all the same */
    for (uint64_t at = 0; at < n;) {
        size_t k = n - at < BLOCK ? (size_t)(n - at) : BLOCK;
        if (!add_block(x, at, k, sum, e)) return false;
        at += k;
        if (!qs_progress_step(progress, at, n, e)) return false;
    }
    return true;
}

static void measure(const comparison *x) {
    const sums *t = &x->total;
    long double max = fmaxl(t->max_a, t->max_b), cosine = 1;
    if (t->max_d > 0) cosine = t->aa > 0 && t->bb > 0 ? t->ab / sqrtl(t->aa) / sqrtl(t->bb) : 0;
    x->out->n = qs_shape_numel(x->a.t->shape) * x->parts;
    x->out->differ = t->differ;
    x->out->max_abs = (double)t->max_d;
    x->out->max_rel = max > 0 ? (double)(t->max_d / max) : 0;
    x->out->cosine_distance = (double)fminl(2, fmaxl(0, 1 - cosine));
}

static bool comparable(const comparison *x, double epsilon, qs_err *e) {
    const qs_tensor *a = x->a.t, *b = x->b.t;
    if (!qs_shape_eq(a->shape, b->shape)) return qs_fail(e, QS_E_USAGE, "the shapes differ");
    if (!(epsilon >= 0)) return qs_fail(e, QS_E_USAGE, "epsilon wants a number that is not negative");
    bool complex_a = qs_dtype_get(a->dtype)->kind == 'C', complex_b = qs_dtype_get(b->dtype)->kind == 'C';
    return complex_a == complex_b ||
           qs_fail(e, QS_E_UNSUPPORTED, "complex numbers are not compared with real ones");
}

static bool room(side *s, unsigned parts) {
    size_t n = (size_t)BLOCK * parts + LANES;
    s->raw = malloc(n * sizeof(double));
    s->values = malloc(n * sizeof(long double));
    return s->raw && s->values;
}

bool qs_tensor_diff_compute(const qs_checkpoint *ca, const qs_tensor *a, const qs_checkpoint *cb,
                            const qs_tensor *b, double epsilon, const qs_progress *progress,
                            qs_tensor_diff *out, qs_err *e) {
    qs_tensor_diff found = {0};
    comparison x = {.a = {.c = ca, .t = a, .number = number_type(a)},
                    .b = {.c = cb, .t = b, .number = number_type(b)},
                    .precision = precision_of(a) > precision_of(b) ? precision_of(a) : precision_of(b),
                    .parts = qs_dtype_get(a->dtype)->kind == 'C' ? 2 : 1,
                    .epsilon = epsilon,
                    .out = &found};
    if (!comparable(&x, epsilon, e)) return false;
    bool ok = (room(&x.a, x.parts) && room(&x.b, x.parts)) || qs_nomem(e);
    ok = ok && add_all(&x, progress, e);
    if (ok) {
        measure(&x);
        *out = found;
    }
    free(x.a.raw), free(x.a.values);
    free(x.b.raw), free(x.b.values);
    return ok;
}

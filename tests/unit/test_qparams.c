/* Unit tests of the observers' arithmetic; with --batch IN OUT, a calculator for
 * tests/oracle/test_qparams.py, which compares it with torch. */
#include "quant/qparams.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* A weight in memory. */
struct memory {
    const float *v;
    uint64_t n;
    bool fail;
};

static bool memory_read(void *ctx, uint64_t first, size_t n, float *out, qs_err *e) {
    struct memory *m = ctx;
    if (m->fail) return qs_fail(e, QS_E_IO, "broken on purpose");
    assert_true(first + n <= m->n);
    memcpy(out, m->v + first, n * sizeof *out);
    return true;
}

/* As elements of a 16-bit type, or as floats. */
static bool memory_read_as(qs_dtype t, void *ctx, uint64_t first, size_t n, void *out, qs_err *e) {
    struct memory *m = ctx;
    if (t == QS_FLOAT32) return memory_read(ctx, first, n, out, e);
    assert_true(first + n <= m->n);
    uint16_t *to = out;
    for (size_t i = 0; i < n; i++)
        to[i] = t == QS_FLOAT16 ? qs_float_to_half(m->v[first + i]) : qs_float_to_bfloat16(m->v[first + i]);
    return true;
}
static bool memory_read_float(void *ctx, uint64_t first, size_t n, void *out, qs_err *e) {
    return memory_read_as(QS_FLOAT32, ctx, first, n, out, e);
}
static bool memory_read_half(void *ctx, uint64_t first, size_t n, void *out, qs_err *e) {
    return memory_read_as(QS_FLOAT16, ctx, first, n, out, e);
}
static bool memory_read_bfloat16(void *ctx, uint64_t first, size_t n, void *out, qs_err *e) {
    return memory_read_as(QS_BFLOAT16, ctx, first, n, out, e);
}
/* Let the weight be read as it would be stored; its values must be exact in that type. */
static void store_as(qs_weight *w, qs_dtype t) {
    w->dtype = t;
    w->read_raw = t == QS_FLOAT32   ? memory_read_float
                  : t == QS_FLOAT16 ? memory_read_half
                                    : memory_read_bfloat16;
}

#define WEIGHT(values, ...)                                                                                  \
    struct memory mem = {(values), sizeof(values) / sizeof *(values), false};                                \
    int64_t dim[] = {__VA_ARGS__};                                                                           \
    qs_weight w = {.key = QS_STR("net.weight"),                                                              \
                   .ndim = sizeof dim / sizeof *dim,                                                         \
                   .dim = dim,                                                                               \
                   .read = memory_read,                                                                      \
                   .ctx = &mem}

static qs_qconfig config(qs_qscheme scheme, int64_t axis) {
    qs_qconfig c = QS_QCONFIG_DEFAULT;
    c.scheme = scheme;
    c.ch_axis = axis;
    return c;
}

static void test_scheme_names(void **state) {
    (void)state;
    for (int s = QS_PER_TENSOR_AFFINE; s <= QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS; s++)
        assert_int_equal(qs_qscheme_parse(qs_str_of(qs_qscheme_name((qs_qscheme)s))), s);
    assert_int_equal(qs_qscheme_parse(QS_STR("torch.per_tensor_symmetric")), QS_PER_TENSOR_SYMMETRIC);
    assert_int_equal(qs_qscheme_parse(QS_STR("per_tensor")), QS_QSCHEME_UNKNOWN);
    assert_int_equal(qs_qscheme_parse(QS_STR("")), QS_QSCHEME_UNKNOWN);
}

static void test_ranges_of_old_and_new_torch(void **state) {
    (void)state;
    static const struct {
        qs_dtype dtype;
        bool custom, reduce;
        int torch;
        int64_t in_lo, in_hi, lo, hi;
    } t[] = {
        {QS_QINT8, false, false, 113, 0, 0, -128, 127},
        {QS_QINT8, false, true, 107, 0, 0, -64, 63},
        {QS_QUINT8, false, true, 0, 0, 0, 0, 127},
        {QS_QUINT8, true, true, 113, 0, 255, 0, 127},
        {QS_QINT8, true, true, 113, -127, 127, -64, 63},
        {QS_QINT8, true, false, 113, -127, 127, -127, 127},
        {QS_QINT8, true, false, 107, -127, 127, -128, 126},
        {QS_QINT8, true, false, 107, 0, 15, -8, 7},
        {QS_QUINT8, true, false, 107, 3, 18, 0, 15},
        {QS_QINT32, false, false, 113, 0, 0, INT32_MIN, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        int64_t lo = t[i].in_lo, hi = t[i].in_hi;
        qs_quant_range(t[i].dtype, t[i].custom, t[i].reduce, t[i].torch, &lo, &hi);
        assert_int_equal(lo, t[i].lo);
        assert_int_equal(hi, t[i].hi);
    }
}

static void test_untouched_and_impossible_ranges(void **state) {
    (void)state;
    float mn[] = {INFINITY}, mx[] = {-INFINITY};
    qs_qconfig c = config(QS_PER_TENSOR_SYMMETRIC, -1);
    qs_qparam q;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_qparams(&c, mn, mx, 1, &q, &e));
    assert_true(q.scale == 1.0f && q.zero_point == 0);
    mn[0] = 1, mx[0] = -1;
    assert_false(qs_qparams(&c, mn, mx, 1, &q, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    e = (qs_err)QS_ERR_INIT;
    mn[0] = NAN;
    assert_false(qs_qparams(&c, mn, mx, 1, &q, &e));
    e = (qs_err)QS_ERR_INIT;
    mn[0] = -1, mx[0] = 1, c.quant_min = c.quant_max;
    assert_false(qs_qparams(&c, mn, mx, 1, &q, &e));
}

static void test_plain_and_fused_differ(void **state) {
    (void)state;
    float mn = -1, mx = 0.5f;
    qs_qconfig c = config(QS_PER_TENSOR_SYMMETRIC, -1);
    qs_qparam q;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_qparams(&c, &mn, &mx, 1, &q, &e));
    assert_true(q.scale == 1.0f / 127.5f && q.zero_point == 0);
    c.fused = true;
    assert_true(qs_qparams(&c, &mn, &mx, 1, &q, &e));
    assert_true(q.scale == 1.0f / 128.0f && q.zero_point == 0);
    mn = 0.25f; /* one-sided: the fused kernel moves the zero point of a "symmetric" scheme */
    assert_true(qs_qparams(&c, &mn, &mx, 1, &q, &e));
    assert_int_equal(q.zero_point, -128);
}

static void test_range_per_tensor_and_per_channel(void **state) {
    (void)state;
    static const float v[] = {1, -2, 3, 4, 5, -6, 7, 8, 0, 0, -1, 2};
    WEIGHT(v, 2, 3, 2);
    float lo[3], hi[3];
    qs_err e = QS_ERR_INIT;
    qs_qconfig c = config(QS_PER_TENSOR_AFFINE, -1);
    assert_true(qs_weight_range(&w, &c, lo, hi, 1, NULL, &e));
    assert_true(lo[0] == -6 && hi[0] == 8);
    c = config(QS_PER_CHANNEL_AFFINE, 1);
    size_t n;
    assert_true(qs_weight_channels(&w, &c, &n, &e));
    assert_int_equal(n, 3);
    assert_true(qs_weight_range(&w, &c, lo, hi, 3, NULL, &e));
    assert_true(lo[0] == -2 && hi[0] == 8 && lo[1] == 0 && hi[1] == 4 && lo[2] == -6 && hi[2] == 5);
    c.ch_axis = -1; /* the last */
    assert_true(qs_weight_range(&w, &c, lo, hi, 2, NULL, &e));
    assert_true(lo[0] == -1 && hi[0] == 7 && lo[1] == -6 && hi[1] == 8);
    c.ch_axis = 3;
    assert_false(qs_weight_channels(&w, &c, &n, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    assert_non_null(strstr(e.msg, "net.weight"));
}

static void test_factor_of_either_sign(void **state) {
    (void)state;
    static const float v[] = {1, -2, 3, 4, 5, -6, 7, 8};
    static const float factor[] = {-2, 0.5f};
    WEIGHT(v, 2, 4);
    w.channel_factor = factor;
    float lo[4], hi[4];
    qs_err e = QS_ERR_INIT;
    qs_qconfig c = config(QS_PER_CHANNEL_SYMMETRIC, 0);
    assert_true(qs_weight_range(&w, &c, lo, hi, 2, NULL, &e));
    assert_true(lo[0] == -8 && hi[0] == 4 && lo[1] == -3 && hi[1] == 4);
    c = config(QS_PER_TENSOR_SYMMETRIC, -1);
    assert_true(qs_weight_range(&w, &c, lo, hi, 1, NULL, &e));
    assert_true(lo[0] == -8 && hi[0] == 4);
    c = config(QS_PER_CHANNEL_SYMMETRIC, 1); /* the factor's axis is another one */
    assert_true(qs_weight_range(&w, &c, lo, hi, 4, NULL, &e));
    assert_true(lo[0] == -2 && hi[0] == 2.5f && lo[1] == -3 && hi[1] == 4);
}

static void test_bad_elements_are_named(void **state) {
    (void)state;
    enum { N = 20000 };
    float *v = calloc(N, sizeof *v);
    struct memory mem = {v, N, false};
    int64_t dim[] = {N};
    qs_weight w = {.key = QS_STR("net.weight"), .ndim = 1, .dim = dim, .read = memory_read, .ctx = &mem};
    qs_qconfig c = config(QS_PER_TENSOR_SYMMETRIC, -1);
    float lo, hi;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        qs_err e = QS_ERR_INIT;
        v[12345] = bad[i];
        assert_false(qs_weight_range(&w, &c, &lo, &hi, 1, NULL, &e));
        assert_int_equal(e.code, QS_E_INPUT);
        assert_non_null(strstr(e.msg, "net.weight"));
        assert_non_null(strstr(e.msg, "12345"));
    }
    v[12345] = 3e38f;
    static const float factor = 1e30f;
    w.channel_factor = &factor;
    dim[0] = N;
    int64_t dims[] = {1, N};
    w.ndim = 2, w.dim = dims;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_weight_range(&w, &c, &lo, &hi, 1, NULL, &e));
    assert_non_null(strstr(e.msg, "BatchNorm"));
    mem.fail = true;
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_weight_range(&w, &c, &lo, &hi, 1, NULL, &e));
    assert_int_equal(e.code, QS_E_IO);
    free(v);
}

/* The definition: every element times its factor, into the range of its channel. */
static void naive_range(const qs_weight *w, const float *v, const qs_qconfig *cfg, float *lo, float *hi,
                        size_t n) {
    uint64_t numel = 1, inner_c = 1, inner_f = 1;
    for (uint32_t d = 0; d < w->ndim; d++) {
        numel *= (uint64_t)w->dim[d];
        if ((int64_t)d > cfg->ch_axis) inner_c *= (uint64_t)w->dim[d];
        if ((int64_t)d > w->factor_axis) inner_f *= (uint64_t)w->dim[d];
    }
    for (size_t c = 0; c < n; c++) lo[c] = INFINITY, hi[c] = -INFINITY;
    for (uint64_t i = 0; i < numel; i++) {
        float x = v[i];
        if (w->channel_factor) x *= w->channel_factor[i / inner_f % (uint64_t)w->dim[w->factor_axis]];
        size_t c = qs_qscheme_per_channel(cfg->scheme) ? (size_t)(i / inner_c % n) : 0;
        if (x < lo[c]) lo[c] = x;
        if (x > hi[c]) hi[c] = x;
    }
}

/* One of n numbers, the same in every run. */
static uint32_t draw(uint32_t *seed, uint32_t n) {
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % n;
}

static void test_range_equals_its_definition(void **state) {
    (void)state;
    uint32_t seed = 12345;
    for (int round = 0; round < 600; round++) {
        int64_t dim[4];
        uint32_t ndim = 1 + draw(&seed, 4);
        uint64_t numel = 1;
        for (uint32_t d = 0; d < ndim; d++) {
            dim[d] = 1 + draw(&seed, ndim == 1 ? 70000 : ndim == 2 ? 300 : 24);
            numel *= (uint64_t)dim[d];
        }
        float *v = malloc(numel * sizeof *v), *factor = malloc(70000 * sizeof *factor);
        static const qs_dtype stored[] = {QS_DTYPE_UNKNOWN, QS_FLOAT32, QS_FLOAT16, QS_BFLOAT16};
        qs_dtype as = stored[draw(&seed, 4)];
        float middle = draw(&seed, 4) ? 1000.5f : draw(&seed, 2) ? 0 : 2000; /* of both signs, or of one */
        for (uint64_t i = 0; i < numel; i++) {
            v[i] = (float)(draw(&seed, 2000)) - middle;
            if (as == QS_BFLOAT16) v[i] = qs_bfloat16_to_float(qs_float_to_bfloat16(v[i]));
        }
        for (int i = 0; i < 70000; i++) factor[i] = (float)(draw(&seed, 200)) / 64 - 1.5f;
        struct memory mem = {v, numel, false};
        qs_weight w = {.key = QS_STR("w"), .ndim = ndim, .dim = dim, .read = memory_read, .ctx = &mem};
        if (as) store_as(&w, as);
        if (draw(&seed, 2)) w.channel_factor = factor, w.factor_axis = draw(&seed, ndim);
        qs_qconfig cfg =
            config(draw(&seed, 3) ? QS_PER_CHANNEL_AFFINE : QS_PER_TENSOR_AFFINE, draw(&seed, ndim));
        size_t n;
        qs_err e = QS_ERR_INIT;
        assert_true(qs_weight_channels(&w, &cfg, &n, &e));
        float *got = malloc(4 * n * sizeof *got), *want = got + 2 * n;
        assert_true(qs_weight_range(&w, &cfg, got, got + n, n, NULL, &e));
        naive_range(&w, v, &cfg, want, want + n, n);
        for (size_t i = 0; i < 2 * n; i++)
            if (got[i] != want[i])
                fail_msg("round %d, %s: %zu: %g is not %g", round, qs_dtype_get(as)->name, i, (double)got[i],
                         (double)want[i]);
        free(v), free(factor), free(got);
    }
}

/* A NaN of either sign and an infinity are found wherever they are, in every way of looking. */
static void test_bad_elements_of_every_type(void **state) {
    (void)state;
    enum { N = 6 * 50 * 9 };
    static float v[N];
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const qs_dtype stored[] = {QS_FLOAT32, QS_FLOAT16, QS_BFLOAT16};
    uint32_t seed = 99;
    for (int round = 0; round < 400; round++) {
        WEIGHT(v, 6, 50, 9);
        store_as(&w, stored[draw(&seed, 3)]);
        uint32_t at = draw(&seed, N);
        for (int i = 0; i < N; i++) v[i] = (float)draw(&seed, 16) - 8;
        qs_qconfig cfg =
            config(draw(&seed, 4) ? QS_PER_CHANNEL_AFFINE : QS_PER_TENSOR_AFFINE, draw(&seed, 3));
        float lo[50], hi[50];
        size_t n;
        char place[32];
        qs_err e = QS_ERR_INIT;
        assert_true(qs_weight_channels(&w, &cfg, &n, &e));
        assert_true(qs_weight_range(&w, &cfg, lo, hi, n, NULL, &e));
        v[at] = bad[draw(&seed, 4)];
        assert_false(qs_weight_range(&w, &cfg, lo, hi, n, NULL, &e));
        assert_int_equal(e.code, QS_E_INPUT);
        snprintf(place, sizeof place, "element %u is", at);
        if (!strstr(e.msg, place)) fail_msg("%s, not %s", e.msg, place);
    }
}

static bool stop_half_way(void *ctx, uint64_t done, uint64_t total) {
    (void)ctx;
    return done < total / 2;
}

static void test_range_can_be_cancelled(void **state) {
    (void)state;
    enum { N = 100000 };
    float *v = calloc(N, sizeof *v);
    struct memory mem = {v, N, false};
    int64_t dim[] = {N};
    qs_weight w = {.key = QS_STR("w"), .ndim = 1, .dim = dim, .read = memory_read, .ctx = &mem};
    qs_qconfig c = config(QS_PER_TENSOR_SYMMETRIC, -1);
    qs_progress p = {stop_half_way, NULL};
    float lo, hi;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_weight_range(&w, &c, &lo, &hi, 1, &p, &e));
    assert_int_equal(e.code, QS_E_CANCELLED);
    free(v);
}

static void test_empty_weight_leaves_the_range_untouched(void **state) {
    (void)state;
    struct memory mem = {NULL, 0, false};
    int64_t dim[] = {0, 4};
    qs_weight w = {.key = QS_STR("w"), .ndim = 2, .dim = dim, .read = memory_read, .ctx = &mem};
    qs_qconfig c = config(QS_PER_TENSOR_SYMMETRIC, -1);
    float lo, hi;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_weight_range(&w, &c, &lo, &hi, 1, NULL, &e));
    assert_true(lo == INFINITY && hi == -INFINITY);
    c = config(QS_PER_CHANNEL_SYMMETRIC, 0);
    assert_true(qs_weight_range(&w, &c, &lo, &hi, 0, NULL, &e));
}

/* ---- --batch: records of header, dims, weight, factor -> ranges, qparams, fake-quantized weight ---- */

struct header {
    int32_t scheme, dtype, fused, custom, reduce, torch, float_dtype, ndim, has_factor, factor_axis;
    int64_t qmin, qmax, axis;
    float eps;
    int32_t learnable;
};

static const qs_dtype batch_dtypes[] = {QS_QINT8, QS_QUINT8, QS_QINT32, QS_FLOAT32, QS_FLOAT16, QS_BFLOAT16};

static void *read_all(FILE *f, size_t size, size_t n) {
    void *p = calloc(n ? n : 1, size);
    if (!p || fread(p, size, n, f) != n) exit(4);
    return p;
}

static void write_all(FILE *f, const void *p, size_t size, size_t n) {
    if (fwrite(p, size, n, f) != n) exit(4);
}

static qs_qconfig batch_config(const struct header *h) {
    return (qs_qconfig){.scheme = (qs_qscheme)h->scheme,
                        .dtype = batch_dtypes[h->dtype],
                        .fused = h->fused,
                        .learnable = h->learnable,
                        .custom_range = h->custom,
                        .reduce_range = h->reduce,
                        .torch_minor = h->torch,
                        .float_dtype = batch_dtypes[h->float_dtype],
                        .quant_min = h->qmin,
                        .quant_max = h->qmax,
                        .ch_axis = h->axis,
                        .eps = h->eps,
                        .averaging_constant = 0.01};
}

/* Ranges and parameters of one record; int32 status, n, then min, max, scale, zero point (int and float). */
static void batch_one(const struct header *h, qs_weight *w, const float *v, uint64_t numel, FILE *out) {
    qs_qconfig cfg = batch_config(h);
    qs_err e = QS_ERR_INIT;
    size_t n = 0;
    int32_t status[2] = {0, 0};
    bool ok = qs_weight_channels(w, &cfg, &n, &e);
    float *lo = calloc(n + 1, sizeof *lo), *hi = calloc(n + 1, sizeof *hi),
          *fq = calloc(numel + 1, sizeof *fq);
    qs_qparam *qp = calloc(n + 1, sizeof *qp);
    if (!lo || !hi || !fq || !qp) exit(4);
    ok = ok && qs_weight_range(w, &cfg, lo, hi, n, NULL, &e) && qs_qparams(&cfg, lo, hi, n, qp, &e);
    status[0] = e.code;
    status[1] = ok ? (int32_t)n : 0;
    write_all(out, status, sizeof status, 1);
    if (ok) {
        uint64_t inner = numel;
        if (n > 1 || qs_qscheme_per_channel(cfg.scheme)) {
            inner = 1;
            for (int64_t d = (cfg.ch_axis + w->ndim) % w->ndim + 1; d < (int64_t)w->ndim; d++)
                inner *= (uint64_t)w->dim[d];
        }
        write_all(out, lo, sizeof *lo, n);
        write_all(out, hi, sizeof *hi, n);
        write_all(out, qp, sizeof *qp, n);
        for (uint64_t i = 0; i < numel; i++) fq[i] = qs_fake_quantize(&cfg, &qp[i / inner % n], v[i]);
        write_all(out, fq, sizeof *fq, numel);
    }
    free(lo), free(hi), free(fq), free(qp);
}

static int batch(const char *in_path, const char *out_path) {
    FILE *in = fopen(in_path, "rb"), *out = fopen(out_path, "wb");
    if (!in || !out) return 4;
    struct header h;
    while (fread(&h, sizeof h, 1, in) == 1) {
        int64_t *dim = read_all(in, sizeof *dim, (size_t)h.ndim);
        uint64_t numel = 1;
        for (int32_t d = 0; d < h.ndim; d++) numel *= (uint64_t)dim[d];
        float *v = read_all(in, sizeof *v, numel), *factor = NULL;
        if (h.has_factor) factor = read_all(in, sizeof *factor, (size_t)dim[h.factor_axis]);
        struct memory mem = {v, numel, false};
        qs_weight w = {.key = QS_STR("weight"),
                       .ndim = (uint32_t)h.ndim,
                       .dim = dim,
                       .read = memory_read,
                       .ctx = &mem,
                       .channel_factor = factor,
                       .factor_axis = h.factor_axis};
        store_as(&w, batch_dtypes[h.float_dtype]);
        batch_one(&h, &w, v, numel, out);
        free(dim), free(v), free(factor);
    }
    fclose(in);
    return fclose(out) ? 4 : 0;
}

/* ---- --bench: range and parameters of a large weight against reading the same bytes ---- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* the machine is shared */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct stored {
    int fd;
    size_t size; /* of an element */
};

/* As a checkpoint's records are read. */
static bool file_read(void *ctx, uint64_t first, size_t n, void *out, qs_err *e) {
    const struct stored *s = ctx;
    ssize_t got = pread(s->fd, out, n * s->size, (off_t)(first * s->size));
    return got == (ssize_t)(n * s->size) || qs_fail(e, QS_E_IO, "short read");
}

static bool file_read_floats(void *ctx, uint64_t first, size_t n, float *out, qs_err *e) {
    return file_read(ctx, first, n, out, e);
}

enum { BENCH_C = 512, BENCH_INNER = 512 * 9 * 16, BENCH_N = BENCH_C * BENCH_INNER, BENCH_BLOCK = 256 << 10 };

/* One pass, in seconds; cfg NULL only reads, in blocks of `step` bytes. Negative on failure. */
static double bench_once(const qs_weight *w, const qs_qconfig *cfg, size_t step) {
    static char block[BENCH_BLOCK];
    static float lo[BENCH_INNER], hi[BENCH_INNER];
    static qs_qparam qp[BENCH_INNER];
    size_t n = 1, each = step / qs_dtype_get(w->dtype)->size;
    qs_err e = QS_ERR_INIT;
    if (cfg && !qs_weight_channels(w, cfg, &n, &e)) return -1;
    bool ok = n <= BENCH_INNER;
    double t = seconds();
    if (cfg) ok = ok && qs_weight_range(w, cfg, lo, hi, n, NULL, &e) && qs_qparams(cfg, lo, hi, n, qp, &e);
    for (uint64_t i = 0; !cfg && ok && i < BENCH_N; i += each) ok = w->read_raw(w->ctx, i, each, block, &e);
    return ok ? seconds() - t : -1;
}

/* Best of some rounds, in which every way has its turn: a slow moment of the machine meets all of them. */
static bool bench_type(qs_dtype t, int fd, const float *factor) {
    static const int64_t matrix[] = {BENCH_C, BENCH_INNER},
                         kernel[] = {BENCH_N / (BENCH_C * 9), BENCH_C, 3, 3};
    struct stored stored = {fd, qs_dtype_get(t)->size};
    qs_weight w = {.key = QS_STR("w"),
                   .ndim = 2,
                   .dim = matrix,
                   .dtype = t,
                   .read = file_read_floats,
                   .read_raw = file_read,
                   .ctx = &stored};
    qs_weight linear = w, scaled = w, transposed = w;
    const int64_t layer[] = {BENCH_N / 4096, 4096};
    linear.dim = layer;
    scaled.channel_factor = factor;
    transposed.ndim = 4, transposed.dim = kernel, transposed.channel_factor = factor,
    transposed.factor_axis = 1;
    qs_qconfig tensor = config(QS_PER_TENSOR_SYMMETRIC, -1), first = config(QS_PER_CHANNEL_SYMMETRIC, 0),
               second = config(QS_PER_CHANNEL_SYMMETRIC, 1);
    const struct {
        const char *name;
        const qs_weight *w;
        const qs_qconfig *cfg;
        size_t step;
    } way[] = {{"read, 64 KiB blocks", &w, NULL, BENCH_BLOCK / 4},
               {"read, 256 KiB blocks", &w, NULL, BENCH_BLOCK},
               {"per tensor", &w, &tensor},
               {"per tensor x BatchNorm", &scaled, &tensor},
               {"axis 0", &w, &first},
               {"last axis, 4096 channels", &linear, &second},
               {"last axis, 73728 channels", &w, &second},
               {"axis 1 x BatchNorm, 3x3", &transposed, &second}};
    enum { WAYS = sizeof way / sizeof *way, ROUNDS = 15 };
    double best[WAYS];
    for (int k = 0; k < WAYS; k++) best[k] = 1e9;
    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < WAYS; k++) {
            double s = bench_once(way[k].w, way[k].cfg, way[k].step);
            if (s < 0) return false;
            if (s < best[k]) best[k] = s;
        }
    double peer = best[0] < best[1] ? best[0] : best[1];
    for (int k = 0; k < WAYS; k++)
        printf("%-9s %-26s %6.2f GB/s  %4.0f %% of reading\n", qs_dtype_get(t)->name, way[k].name,
               (double)BENCH_N * (double)stored.size * 1e-9 / best[k], 100 * peer / best[k]);
    return true;
}

static int bench(void) {
    static const qs_dtype types[] = {QS_FLOAT32, QS_FLOAT16, QS_BFLOAT16};
    float *v = malloc((size_t)BENCH_N * sizeof *v), factor[BENCH_C];
    uint16_t *half = (uint16_t *)(void *)v;
    if (!v) return 4;
    for (int i = 0; i < BENCH_C; i++) factor[i] = 1.0f + (float)i;
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        FILE *f = tmpfile();
        if (!f) return 4;
        for (size_t i = 0; i < BENCH_N; i++) {
            float x = (float)((i * 2654435761u) >> 8 & 0xffff) - 32768.0f;
            if (k == 0)
                v[i] = x;
            else /* finite in both */
                half[i] = qs_float_to_bfloat16(x) & 0xbfff;
        }
        size_t size = qs_dtype_get(types[k])->size;
        if (fwrite(v, size, BENCH_N, f) != BENCH_N || fflush(f)) return 4;
        if (!bench_type(types[k], fileno(f), factor)) return 5;
        fclose(f);
    }
    free(v);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--bench") == 0) return bench();
    if (argc == 4 && strcmp(argv[1], "--batch") == 0) return batch(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheme_names),
        cmocka_unit_test(test_ranges_of_old_and_new_torch),
        cmocka_unit_test(test_untouched_and_impossible_ranges),
        cmocka_unit_test(test_plain_and_fused_differ),
        cmocka_unit_test(test_range_per_tensor_and_per_channel),
        cmocka_unit_test(test_factor_of_either_sign),
        cmocka_unit_test(test_range_equals_its_definition),
        cmocka_unit_test(test_bad_elements_are_named),
        cmocka_unit_test(test_bad_elements_of_every_type),
        cmocka_unit_test(test_range_can_be_cancelled),
        cmocka_unit_test(test_empty_weight_leaves_the_range_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

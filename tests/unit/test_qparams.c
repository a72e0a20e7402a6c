/* Unit tests of the observers' arithmetic; with --batch IN OUT, a calculator for
 * tests/oracle/test_qparams.py, which compares it with torch. */
#include "quant/qparams.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

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
        batch_one(&h, &w, v, numel, out);
        free(dim), free(v), free(factor);
    }
    fclose(in);
    return fclose(out) ? 4 : 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--batch") == 0) return batch(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheme_names),
        cmocka_unit_test(test_ranges_of_old_and_new_torch),
        cmocka_unit_test(test_untouched_and_impossible_ranges),
        cmocka_unit_test(test_plain_and_fused_differ),
        cmocka_unit_test(test_range_per_tensor_and_per_channel),
        cmocka_unit_test(test_factor_of_either_sign),
        cmocka_unit_test(test_bad_elements_are_named),
        cmocka_unit_test(test_range_can_be_cancelled),
        cmocka_unit_test(test_empty_weight_leaves_the_range_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

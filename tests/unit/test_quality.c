#include "quant/qparams.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { C = 7, INNER = 1501, N = C * INNER };

static bool memory_read(void *ctx, uint64_t first, size_t n, float *out, qs_err *e) {
    (void)e;
    memcpy(out, (const float *)ctx + first, n * sizeof *out);
    return true;
}

/* xorshift: the same numbers in every run */
static float next(uint64_t *s) {
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return (float)((double)(*s >> 11) / 9007199254740992.0 * 2 - 1);
}

static qs_weight weight(float *v, const int64_t *dim, const float *factor) {
    uint64_t seed = 88172645463325252ull;
    for (int i = 0; i < N; i++) v[i] = next(&seed) * next(&seed) * (float)(1 + i / INNER);
    return (qs_weight){
        .key = QS_STR("w"), .ndim = 2, .dim = dim, .read = memory_read, .ctx = v, .channel_factor = factor};
}

/* The definition, element by element. */
static qs_quality define(const qs_qconfig *cfg, const qs_qparam *qp, const float *v, const float *factor,
                         int from, int to, bool per_channel) {
    double signal = 0, noise = 0, clipped = 0;
    float worst = 0;
    for (int i = from; i < to; i++) {
        const qs_qparam *q = per_channel ? &qp[i / INNER] : qp;
        float x = v[i] * (factor ? factor[i / INNER] : 1), d = x - qs_fake_quantize(cfg, q, x);
        double level = (double)rintf(x * (1.0f / q->scale)) + q->zero_point;
        clipped += level < (double)cfg->quant_min || level > (double)cfg->quant_max;
        signal += (double)x * x, noise += (double)d * d;
        if (fabsf(d) > worst) worst = fabsf(d);
    }
    return (qs_quality){.sqnr_db = noise > 0 ? 10 * log10(signal / noise) : INFINITY,
                        .clipped = clipped / (to - from),
                        .mse = noise / (to - from),
                        .max_abs_error = worst};
}

static void assert_close(double a, double b) {
    if (a == b || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b))) return;
    fail_msg("%.17g is not %.17g", a, b);
}

static void assert_quality(qs_quality a, qs_quality b) {
    assert_close(a.sqnr_db, b.sqnr_db);
    assert_close(a.clipped, b.clipped);
    assert_close(a.mse, b.mse);
    assert_true(a.max_abs_error == b.max_abs_error);
}

static void compare(qs_qscheme scheme, int64_t qmin, int64_t qmax, const float *factor, float stretch) {
    float *v = malloc(N * sizeof *v), lo[C], hi[C];
    static const int64_t dim[] = {C, INNER};
    qs_weight w = weight(v, dim, factor);
    qs_qconfig cfg = QS_QCONFIG_DEFAULT;
    cfg.scheme = scheme, cfg.quant_min = qmin, cfg.quant_max = qmax;
    cfg.ch_axis = qs_qscheme_per_channel(scheme) ? 0 : -1;
    size_t n;
    qs_qparam qp[C];
    qs_quality all, each[C];
    qs_err e = QS_ERR_INIT;
    assert_true(qs_weight_channels(&w, &cfg, &n, &e));
    assert_true(qs_weight_range(&w, &cfg, lo, hi, n, NULL, &e));
    for (size_t c = 0; c < n; c++) lo[c] *= stretch, hi[c] *= stretch; /* below 1 something is clipped */
    assert_true(qs_qparams(&cfg, lo, hi, n, qp, &e));
    assert_true(qs_quality_measure(&w, &cfg, qp, n, &all, each, &e));
    assert_quality(all, define(&cfg, qp, v, factor, 0, N, n > 1));
    if (stretch < 1) assert_true(all.clipped > 0);
    for (int c = 0; n > 1 && c < C; c++)
        assert_quality(each[c], define(&cfg, qp, v, factor, c * INNER, (c + 1) * INNER, true));
    free(v);
}

static void test_measure_is_its_definition(void **state) {
    (void)state;
    static const float factor[C] = {1, -2, 0.5f, 3, 1e-3f, 7, 0.1f};
    for (int scheme = QS_PER_TENSOR_AFFINE; scheme <= QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS; scheme++) {
        if (scheme == QS_PER_CHANNEL_AFFINE_FLOAT_QPARAMS)
            continue; /* its `level` needs the float zero point */
        compare((qs_qscheme)scheme, -128, 127, NULL, 1);
        compare((qs_qscheme)scheme, -8, 7, factor, 1);
        compare((qs_qscheme)scheme, -128, 127, factor, 0.5f);
        compare((qs_qscheme)scheme, -2147483647, 2147483647, NULL,
                1); /* the grid that cannot round by addition */
    }
}

static void test_per_channel_is_better_than_per_tensor(void **state) {
    (void)state;
    float *v = malloc(N * sizeof *v), lo[C], hi[C];
    static const int64_t dim[] = {C, INNER};
    qs_weight w = weight(v, dim, NULL);
    double db[2];
    for (int k = 0; k < 2; k++) {
        qs_qconfig cfg = QS_QCONFIG_DEFAULT;
        cfg.scheme = k ? QS_PER_CHANNEL_SYMMETRIC : QS_PER_TENSOR_SYMMETRIC;
        cfg.ch_axis = 0;
        size_t n = k ? C : 1;
        qs_qparam qp[C];
        qs_quality q;
        qs_err e = QS_ERR_INIT;
        assert_true(qs_weight_range(&w, &cfg, lo, hi, n, NULL, &e) && qs_qparams(&cfg, lo, hi, n, qp, &e) &&
                    qs_quality_measure(&w, &cfg, qp, n, &q, NULL, &e));
        db[k] = q.sqnr_db;
    }
    assert_true(db[1] > db[0] && db[0] > 30 && db[1] < 60);
    free(v);
}

static void test_exact_weights_and_wrong_counts(void **state) {
    (void)state;
    float v[] = {-128, 0, 1, 127};
    static const int64_t dim[] = {2, 2};
    qs_weight w = {.key = QS_STR("net.weight"), .ndim = 2, .dim = dim, .read = memory_read, .ctx = v};
    qs_qconfig cfg = QS_QCONFIG_DEFAULT;
    qs_qparam qp[2] = {{.scale = 1}, {.scale = 1}};
    qs_quality q;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_quality_measure(&w, &cfg, qp, 1, &q, NULL, &e));
    assert_true(q.sqnr_db == INFINITY && q.mse == 0 && q.clipped == 0 && q.max_abs_error == 0);
    assert_false(qs_quality_measure(&w, &cfg, qp, 2, &q, NULL, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    assert_non_null(strstr(e.msg, "net.weight"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure_is_its_definition),
        cmocka_unit_test(test_per_channel_is_better_than_per_tensor),
        cmocka_unit_test(test_exact_weights_and_wrong_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "ascii_ckpt.h"
#include "model/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <zlib.h>

#include <cmocka.h>

static qs_checkpoint *open_floats(const float *v, size_t n) {
    qs_buf b = {0};
    qs_err e = QS_ERR_INIT;
    qs_checkpoint *c;
    ascii_record more = {"data/v", v, n * sizeof *v};
    qs_buf_addf(&b,
                "}Vt\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nVv\nVcpu\nI%"
                "zu\ntQI0\n(I%zu\nt"
                "(I1\ntI00\n" ODICT "tRs.",
                n, n);
    if (!ascii_open_with(b.p, b.n, &more, 1, NULL, &c, &e)) fail_msg("%s", e.msg);
    qs_buf_free(&b);
    return c;
}

static qs_stats stats_of(const float *v, size_t n) {
    qs_checkpoint *c = open_floats(v, n);
    qs_stats s;
    qs_err e = QS_ERR_INIT;
    if (!qs_stats_compute(c, qs_checkpoint_tensor(c, 0), &s, NULL, &e)) fail_msg("%s", e.msg);
    uint64_t sum = 0;
    for (int i = 0; i < QS_HIST_BINS; i++) sum += s.hist[i];
    assert_int_equal(sum, s.finite);
    assert_int_equal(s.n, s.finite + s.nan + s.inf);
    qs_checkpoint_close(c);
    return s;
}

static void test_small(void **state) {
    (void)state;
    qs_stats s = stats_of((float[]){1, 2, 3, 4, NAN, INFINITY, -INFINITY, 0}, 8);
    assert_int_equal(s.finite, 5);
    assert_int_equal(s.nan, 1);
    assert_int_equal(s.inf, 2);
    assert_int_equal(s.zero, 1);
    assert_true(s.min == 0 && s.max == 4 && s.mean == 2);
    assert_true(fabs(s.std - sqrt(2.5)) < 1e-15);
    assert_int_equal(s.hist[0], 1);
    assert_int_equal(s.hist[63], 1);
    assert_int_equal(s.hist[32], 1);
}

static void test_degenerate(void **state) {
    (void)state;
    qs_stats s = stats_of((float[]){7}, 1);
    assert_true(s.min == 7 && s.max == 7 && s.mean == 7 && s.std == 0 && s.hist[0] == 1);
    s = stats_of((float[]){NAN, INFINITY}, 2);
    assert_true(isnan(s.min) && isnan(s.max) && isnan(s.mean) && isnan(s.std));
    s = stats_of(NULL, 0);
    assert_true(s.n == 0 && isnan(s.mean));
    s = stats_of((float[]){-3.4e38f, 3.4e38f, 0}, 3);
    assert_int_equal(s.hist[0], 1);
    assert_int_equal(s.hist[31] + s.hist[32], 1); /* a range wider than a float */
    assert_int_equal(s.hist[63], 1);
}

static void test_longer_than_a_block(void **state) {
    (void)state;
    enum { N = 100003 };
    float *v = malloc(N * sizeof *v);
    for (int i = 0; i < N; i++) v[i] = (float)(i % 64);
    v[N - 1] = 63;
    qs_stats s = stats_of(v, N);
    assert_true(s.min == 0 && s.max == 63);
    for (int i = 0; i < 63; i++) assert_true(s.hist[i] >= N / 64 && s.hist[i] <= N / 64 + 1);
    qs_checkpoint *c = open_floats(v, N);
    uint32_t crc;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_tensor_crc32(c, qs_checkpoint_tensor(c, 0), &crc, NULL, &e));
    assert_int_equal(crc, crc32(0, (const Bytef *)v, N * sizeof *v));
    qs_checkpoint_close(c);
    free(v);
}

static bool stop_at(void *ctx, uint64_t done, uint64_t total) {
    assert_true(done <= total);
    return done < *(uint64_t *)ctx;
}

static void test_cancelling(void **state) {
    (void)state;
    float *v = calloc(100000, sizeof *v);
    qs_checkpoint *c = open_floats(v, 100000);
    uint64_t limits[] = {1, 60000, 120000, 200000};
    for (int i = 0; i < 4; i++) {
        qs_progress p = {stop_at, &limits[i]};
        qs_err e = QS_ERR_INIT;
        qs_stats s = {.n = 42};
        assert_false(qs_stats_compute(c, qs_checkpoint_tensor(c, 0), &s, &p, &e));
        assert_int_equal(e.code, QS_E_CANCELLED);
        assert_int_equal(s.n, 42); /* untouched */
    }
    qs_checkpoint_close(c);
    free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_degenerate),
        cmocka_unit_test(test_longer_than_a_block),
        cmocka_unit_test(test_cancelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

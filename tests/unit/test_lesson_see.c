/* The numbers behind the sliders: against the plain arithmetic, and how they must move. */
#include "demo.h"
#include "teach/see.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static qs_demo_paths demo;
static qs_checkpoint *file;

static int set_up(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    snprintf(dir, sizeof dir, "/tmp/qatscope-see-XXXXXX");
    return mkdtemp(dir) && qs_demo_write(dir, &demo, &e) && qs_checkpoint_open(demo.a, NULL, &file, &e) ? 0
                                                                                                        : -1;
}

static int tear_down(void **state) {
    (void)state;
    qs_checkpoint_close(file);
    unlink(demo.a);
    unlink(demo.b);
    unlink(demo.manifest);
    return rmdir(dir);
}

static const qs_tensor *tensor(const char *key) {
    uint32_t i = qs_checkpoint_find(file, qs_str_of(key));
    assert_true(i != UINT32_MAX);
    return qs_entry_tensor(file, qs_checkpoint_entry(file, i));
}

static qs_see *see(const char *key) {
    qs_see *s = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_see_open(file, tensor(key), NULL, &s, &e)) fail_msg("%s", e.msg);
    return s;
}

static qs_see_result compute(const qs_see *s, qs_see_settings set) {
    qs_see_result r;
    qs_err e = QS_ERR_INIT;
    if (!qs_see_compute(s, &set, &r, NULL, &e)) fail_msg("%s", e.msg);
    return r;
}

/* The same sums by hand, on every value of a small weight. */
static void by_hand(void **state) {
    (void)state;
    qs_see *s = see("model.0.conv.weight");
    float v[432], amax = 0;
    qs_err e = QS_ERR_INIT;
    assert_int_equal(qs_see_count(s), 432);
    assert_int_equal(qs_see_channels(s), 16);
    assert_true(qs_tensor_read_floats(file, tensor("model.0.conv.weight"), 0, 432, v, &e));
    for (int i = 0; i < 432; i++) amax = fmaxf(amax, fabsf(v[i]));
    for (int bits = 2; bits <= 8; bits++) {
        qs_see_result r = compute(s, (qs_see_settings){.bits = bits, .keep = 1});
        float scale = amax / ((float)((1 << bits) - 1) / 2.0f);
        assert_true(r.scale == scale && r.zero_point == 0);
        double signal = 0, noise = 0;
        for (int i = 0; i < 432; i++) {
            double q = nearbyint((double)(v[i] / scale));
            q = fmin(fmax(q, (double)r.quant_min), (double)r.quant_max) * scale;
            signal += (double)v[i] * v[i];
            noise += (v[i] - q) * (v[i] - q);
        }
        assert_true(fabs(r.quality.sqnr_db - 10 * log10(signal / noise)) < 0.01);
    }
    qs_see_free(s);
}

static void sliders_move_the_right_way(void **state) {
    (void)state;
    qs_see *s = see("model.9.cv2.conv.weight");
    qs_see_settings set = QS_SEE_DEFAULT;
    double before = INFINITY;
    for (set.bits = 8; set.bits >= 2; set.bits--) {
        qs_see_result one = compute(s, set), many;
        set.per_channel = true;
        many = compute(s, set);
        set.per_channel = false;
        assert_true(one.quality.sqnr_db < before);
        assert_true(many.quality.sqnr_db > one.quality.sqnr_db && many.scale_least < many.scale);
        assert_true(many.worst < qs_see_channels(s));
        before = one.quality.sqnr_db;
    }
    set.bits = 8;
    set.keep = 0.5;
    qs_see_result half = compute(s, set), all = compute(s, QS_SEE_DEFAULT);
    assert_true(half.quality.clipped > all.quality.clipped && fabsf(half.scale * 2 - all.scale) < 1e-7f);
    qs_see_free(s);
}

static void histograms_add_up(void **state) {
    (void)state;
    qs_see *s = see("model.0.conv.weight");
    uint64_t bins[50], sum = 0, used = 0;
    float lo, hi;
    qs_err e = QS_ERR_INIT;
    qs_see_range(s, &lo, &hi);
    assert_true(qs_see_histogram(s, NULL, lo, hi, bins, 50, &e));
    for (int i = 0; i < 50; i++) sum += bins[i];
    assert_int_equal(sum, 432);
    qs_see_settings set = {.bits = 2, .keep = 1};
    assert_true(qs_see_histogram(s, &set, lo * 2, hi * 2, bins, 50, &e));
    sum = 0;
    for (int i = 0; i < 50; i++) {
        sum += bins[i];
        used += bins[i] > 0;
    }
    assert_int_equal(sum, 432);
    assert_in_range(used, 2, 4); /* two bits have four values */
    qs_see_free(s);
}

static void only_weights(void **state) {
    (void)state;
    qs_see *s = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_see_open(file, tensor("model.0.bn.num_batches_tracked"), NULL, &s, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    assert_null(s);
    s = see("model.0.bn.weight"); /* a vector is one channel */
    assert_int_equal(qs_see_channels(s), 1);
    qs_see_free(s);
}

/* A weight larger than the sample: a stand-in with strides of 0, so that it needs no memory. */
static void large_weights_are_sampled_and_quick(void **state) {
    (void)state;
    static const int64_t dim[] = {4096, 4096}, stride[] = {0, 0};
    qs_tensor big = *tensor("model.0.conv.weight");
    big.shape = (qs_shape){2, dim};
    big.stride = stride;
    qs_see *s = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_see_open(file, &big, NULL, &s, &e)) fail_msg("%s", e.msg);
    assert_int_equal(qs_see_total(s), 1 << 24);
    assert_int_equal(qs_see_count(s), QS_SEE_VALUES);
    assert_int_equal(qs_see_channels(s), 4096);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    compute(s, QS_SEE_DEFAULT);
    compute(s, (qs_see_settings){.bits = 4, .per_channel = true, .keep = 0.9});
    clock_gettime(CLOCK_MONOTONIC, &b);
    print_message("two settings on %zu of %llu values: %.1f ms\n", qs_see_count(s),
                  (unsigned long long)qs_see_total(s),
                  (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
    qs_see_free(s);
}

/* ---- for tests/oracle/test_see.py: every setting on every tensor of a file ---- */

static void print_numbers(const qs_see *s, qs_str key, qs_see_settings set) {
    enum { BINS = 24 };
    uint64_t bins[BINS];
    qs_err e = QS_ERR_INIT;
    float lo, hi;
    qs_quality *channel = calloc(qs_see_channels(s), sizeof *channel);
    qs_see_result r;
    qs_see_range(s, &lo, &hi);
    if (!channel || !qs_see_compute(s, &set, &r, channel, &e) ||
        !qs_see_histogram(s, &set, lo, hi, bins, BINS, &e))
        fail_msg("%s", e.msg);
    printf("%.*s %d %d %d %g %.9g %.9g %d %.12g %.9g %.12g %.9g %u", QS_FMT(key), set.bits, set.affine,
           set.per_channel, set.keep, (double)r.scale, (double)r.scale_least, r.zero_point, r.quality.mse,
           (double)r.quality.max_abs_error, r.quality.clipped, (double)r.first_rounded, qs_see_channels(s));
    for (uint32_t c = 0; c < qs_see_channels(s); c++) printf(" %.12g", channel[c].mse);
    for (int i = 0; i < BINS; i++) printf(" %llu", (unsigned long long)bins[i]);
    putchar('\n');
    free(channel);
}

static int numbers(const char *path) {
    qs_err e = QS_ERR_INIT;
    if (!qs_checkpoint_open(path, NULL, &file, &e)) return fprintf(stderr, "%s\n", e.msg), 1;
    static const double keep[] = {1, 0.85, 0.3};
    for (uint32_t i = 0; i < qs_checkpoint_count(file); i++) {
        const qs_entry *entry = qs_checkpoint_entry(file, i);
        qs_see *s = NULL;
        if (!qs_see_open(file, qs_entry_tensor(file, entry), NULL, &s, &e))
            return fprintf(stderr, "%s\n", e.msg), 1;
        for (int k = 0; k < 7 * 2 * 2 * 3; k++)
            print_numbers(
                s, entry->key,
                (qs_see_settings){
                    .bits = 2 + k % 7, .affine = k / 7 % 2, .per_channel = k / 14 % 2, .keep = keep[k / 28]});
        qs_see_free(s);
    }
    qs_checkpoint_close(file);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--numbers") == 0) return numbers(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(sliders_move_the_right_way),
        cmocka_unit_test(histograms_add_up),
        cmocka_unit_test(only_weights),
        cmocka_unit_test(large_weights_are_sampled_and_quick),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

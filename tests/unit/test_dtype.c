#include "model/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Bits against the oracle are in tests/oracle/test_read_dtype.py; here is what must hold without it. */

static void test_names(void **state) {
    (void)state;
    for (int t = 1; t < QS_DTYPE_COUNT; t++) {
        const qs_dtype_info *d = qs_dtype_get((qs_dtype)t);
        assert_int_equal(qs_dtype_parse(qs_str_of(d->name)), t);
        assert_int_equal(qs_dtype_parse(qs_str_of(d->short_name)), t);
        if (*d->storage) assert_int_equal(qs_dtype_of_storage(qs_str_of(d->storage)), t);
        if (*d->safetensors) assert_int_equal(qs_dtype_parse(qs_str_of(d->safetensors)), t);
        assert_true(d->size > 0);
    }
    assert_int_equal(qs_dtype_parse(QS_STR("torch.float32")), QS_FLOAT32);
    assert_int_equal(qs_dtype_parse(QS_STR("half")), QS_FLOAT16);
    assert_int_equal(qs_dtype_parse(QS_STR("long")), QS_INT64);
    assert_int_equal(qs_dtype_parse(QS_STR("HalfStorage")), QS_FLOAT16);
    assert_int_equal(qs_dtype_parse(QS_STR("")), QS_DTYPE_UNKNOWN);
    assert_int_equal(qs_dtype_parse(QS_STR("torch.")), QS_DTYPE_UNKNOWN);
    assert_int_equal(qs_dtype_parse(QS_STR("float33")), QS_DTYPE_UNKNOWN);
    assert_int_equal(qs_dtype_of_storage(QS_STR("")), QS_DTYPE_UNKNOWN);
    assert_string_equal(qs_dtype_get((qs_dtype)999)->name, "?");
}

static void test_every_half_survives_a_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = qs_half_to_float((uint16_t)h);
        int exp = (int)(h >> 10 & 31), man = (int)(h & 0x3ff);
        if (exp == 31 && man) {
            assert_true(isnan(f) && isnan(qs_half_to_float(qs_float_to_half(f))));
            continue;
        }
        float want = exp == 31  ? INFINITY
                     : exp == 0 ? ldexpf((float)man, -24)
                                : ldexpf((float)(man + 1024), exp - 25);
        assert_true(f == (h & 0x8000 ? -want : want) && !signbit(f) == !(h & 0x8000));
        assert_int_equal(qs_float_to_half(f), h);
    }
}

/* The nearest half of any float between two neighbours: ties to the even pattern. */
static void test_half_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h + 1 < 0x7c00; h++) {
        float lo = qs_half_to_float((uint16_t)h), hi = qs_half_to_float((uint16_t)(h + 1));
        float mid = (float)(((double)lo + hi) / 2);
        assert_int_equal(qs_float_to_half(mid), h & 1 ? h + 1 : h);
        assert_int_equal(qs_float_to_half(nextafterf(mid, 0)), h);
        assert_int_equal(qs_float_to_half(nextafterf(mid, 1e9f)), h + 1);
    }
    assert_int_equal(qs_float_to_half(65519.996f), 0x7bff);
    assert_int_equal(qs_float_to_half(65520.0f), 0x7c00);
    assert_int_equal(qs_float_to_half(-1e30f), 0xfc00);
    assert_int_equal(qs_float_to_half(-0.0f), 0x8000);
}

static void test_bfloat16(void **state) {
    (void)state;
    for (uint32_t b = 0; b < 0x10000; b++) {
        float f = qs_bfloat16_to_float((uint16_t)b);
        if (isnan(f))
            assert_true(isnan(qs_bfloat16_to_float(qs_float_to_bfloat16(f))));
        else
            assert_int_equal(qs_float_to_bfloat16(f), b);
    }
    assert_int_equal(qs_float_to_bfloat16(1.00390625f), 0x3f80); /* halfway to the odd 0x3f81 */
    assert_int_equal(qs_float_to_bfloat16(1.01171875f), 0x3f82);
    assert_int_equal(qs_float_to_bfloat16(3.4e38f), 0x7f80);
}

static void test_small_floats_survive_a_round_trip(void **state) {
    (void)state;
    for (qs_dtype t = QS_FLOAT8_E4M3FN; t <= QS_FLOAT8_E8M0FNU; t++) {
        for (unsigned i = 0; i < 256; i++) {
            uint8_t bits = (uint8_t)i, back = 0;
            double v;
            float f;
            qs_to_doubles(t, &bits, 1, &v);
            qs_to_floats(t, &bits, 1, &f);
            assert_true(isnan(v) ? isnan(f) : v == (double)f);
            assert_true(qs_from_doubles(t, &v, 1, &back));
            double again;
            qs_to_doubles(t, &back, 1, &again);
            assert_true(isnan(v) ? isnan(again) : back == bits);
        }
    }
}

/* All 65536 numbers of 16 bits, many at a time and in the buffer they come from, as one by one. */
static void test_sixteen_bits_widen_in_place(void **state) {
    (void)state;
    enum { N = 65536, ODD = 3 };
    static float out[N];
    for (int k = 0; k < 2; k++) {
        size_t n = N - (k ? ODD : 0);
        for (int type = 0; type < 2; type++) {
            uint16_t *bits = (uint16_t *)(void *)((char *)(out + n) - n * sizeof *bits);
            for (size_t i = 0; i < n; i++) bits[i] = (uint16_t)i;
            qs_to_floats(type ? QS_BFLOAT16 : QS_FLOAT16, bits, n, out);
            for (size_t i = 0; i < n; i++) {
                float want = type ? qs_bfloat16_to_float((uint16_t)i) : qs_half_to_float((uint16_t)i);
                if (memcmp(&out[i], &want, sizeof want) != 0)
                    fail_msg("bits %zx: %a, not %a", i, out[i], want);
            }
        }
    }
}

static void test_integers_wrap_like_a_cast(void **state) {
    (void)state;
    double in[] = {-1.9, 300.7, -129, 2147483648.0, NAN, 1e300};
    int8_t i8[6];
    uint8_t u8[6], truth[6];
    int32_t i32[6];
    assert_true(qs_from_doubles(QS_INT8, in, 6, i8) && qs_from_doubles(QS_UINT8, in, 6, u8));
    assert_true(qs_from_doubles(QS_INT32, in, 6, i32) && qs_from_doubles(QS_BOOL, in, 6, truth));
    assert_int_equal(i8[0], -1);
    assert_int_equal(i8[1], 44);
    assert_int_equal(i8[2], 127);
    assert_int_equal(u8[0], 255);
    assert_int_equal(i32[3], INT32_MIN);
    assert_int_equal(i32[4], 0);
    for (int i = 0; i < 6; i++) assert_int_equal(truth[i], 1);
}

static void test_every_type_converts_both_ways(void **state) {
    (void)state;
    for (int t = 1; t < QS_DTYPE_COUNT; t++) {
        const qs_dtype_info *d = qs_dtype_get((qs_dtype)t);
        double in[3] = {0.5, 1, 2}, out[3];
        float outf[3];
        unsigned char raw[3 * 16] = {0};
        bool packed = d->kind == 'Q' || d->kind == 'X' || t == QS_FLOAT4_E2M1FN_X2;
        assert_int_equal(qs_from_doubles((qs_dtype)t, in, 3, raw), !packed);
        qs_to_doubles((qs_dtype)t, raw, 3, out);
        qs_to_floats((qs_dtype)t, raw, 3, outf);
        for (int i = 0; i < 3; i++) assert_true((double)outf[i] == out[i]);
        if (!packed && t != QS_BOOL) assert_true(out[2] == 2);
        if (d->kind == 'F' && !packed) assert_true(out[0] == 0.5);
    }
    double dummy = 0;
    assert_false(qs_from_doubles(QS_DTYPE_UNKNOWN, &dummy, 1, &dummy));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_every_half_survives_a_round_trip),
        cmocka_unit_test(test_half_rounds_to_nearest_even),
        cmocka_unit_test(test_bfloat16),
        cmocka_unit_test(test_small_floats_survive_a_round_trip),
        cmocka_unit_test(test_sixteen_bits_widen_in_place),
        cmocka_unit_test(test_integers_wrap_like_a_cast),
        cmocka_unit_test(test_every_type_converts_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

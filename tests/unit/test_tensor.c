#include "ascii_ckpt.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static void test_shapes(void **state) {
    (void)state;
    const int64_t d[] = {16, 3, 3, 3}, huge[] = {INT64_MAX, INT64_MAX}, zero[] = {INT64_MAX, INT64_MAX, 0};
    char text[32];
    qs_buf b = {0};
    assert_int_equal(qs_shape_text((qs_shape){4, d}, "x", text, sizeof text), 8);
    assert_string_equal(text, "16x3x3x3");
    qs_shape_text((qs_shape){4, d}, "\xc3\x97", text, sizeof text);
    assert_string_equal(text, "16\xc3\x97"
                              "3\xc3\x97"
                              "3\xc3\x97"
                              "3");
    qs_shape_text((qs_shape){0, NULL}, "x", text, sizeof text);
    assert_string_equal(text, "[]");
    assert_int_equal(qs_shape_text((qs_shape){2, huge}, "x", text, 25), 19); /* never half a number */
    qs_shape_torch((qs_shape){4, d}, &b);
    qs_shape_torch((qs_shape){0, NULL}, &b);
    assert_string_equal(b.p, "torch.Size([16, 3, 3, 3])torch.Size([])");
    qs_buf_free(&b);
    assert_int_equal(qs_shape_numel((qs_shape){4, d}), 432);
    assert_int_equal(qs_shape_numel((qs_shape){0, NULL}), 1);
    assert_true(qs_shape_numel((qs_shape){2, huge}) == UINT64_MAX);
    assert_int_equal(qs_shape_numel((qs_shape){3, zero}), 0);
    assert_true(qs_shape_eq((qs_shape){4, d}, (qs_shape){4, d}));
    assert_false(qs_shape_eq((qs_shape){4, d}, (qs_shape){3, d}));
    assert_true(qs_shape_eq((qs_shape){0, NULL}, (qs_shape){0, d}));
}

/* The one tensor "t" of a state dict made of `tensor`. */
static const qs_tensor *open_tensor(const char *tensor, const ascii_record *more, size_t n,
                                    qs_checkpoint **c) {
    qs_buf b = {0};
    qs_err e = QS_ERR_INIT;
    qs_buf_addf(&b, "}Vt\n%ss.", tensor);
    if (!ascii_open_with(b.p, b.n, more, n, NULL, c, &e)) fail_msg("%s", e.msg);
    qs_buf_free(&b);
    const qs_tensor *t = qs_entry_tensor(*c, qs_checkpoint_entry(*c, 0));
    assert_non_null(t);
    return t;
}

static void assert_bad(const char *tensor, const char *says) {
    ascii_record more[] = {{"data/short", "1234567", 7}, {"data/long", "123456789", 9}};
    qs_checkpoint *c;
    const qs_tensor *t = open_tensor(tensor, more, 2, &c);
    if (!t->bad || !strstr(t->bad, says))
        fail_msg("\"%s\" does not say \"%s\"", t->bad ? t->bad : "fine", says);
    char out[16];
    qs_err e = QS_ERR_INIT;
    assert_false(qs_tensor_read(c, t, 0, 1, out, &e));
    assert_true(e.code == QS_E_INPUT || e.code == QS_E_UNSUPPORTED);
    assert_non_null(qs_dtype_get(t->dtype));
    qs_tensor_is_contiguous(t); /* what looks at a broken tensor must not trip over it */
    qs_checkpoint_close(c);
}

#define F0 STORAGE("FloatStorage", "0", "16")

static void test_broken_tensors_are_flagged(void **state) {
    (void)state;
    assert_bad(TENSOR(F0, "0", "(I17\nt", "(I1\nt"), "needs 68 bytes, storage 0 has 64");
    assert_bad(TENSOR(F0, "15", "(I2\nt", "(I1\nt"), "needs 68 bytes");
    assert_bad(TENSOR(F0, "0", "(I2\nI2\nt", "(I15\nI1\nt"), "needs 68 bytes");
    assert_bad(TENSOR(F0, "0", "(I-1\nt", "(I1\nt"), "no size");
    assert_bad(TENSOR(F0, "0", "(I2\nt", "(I-1\nt"), "no size");
    assert_bad(TENSOR(F0, "-1", "(I2\nt", "(I1\nt"), "no position");
    assert_bad(TENSOR(F0, "0", "(I2\nI2\nt", "(I1\nt"), "2 sizes and 1 strides");
    assert_bad(TENSOR(F0, "0", "(I9223372036854775807\nI3\nt", "(I0\nI0\nt"), "overflows");
    assert_bad(TENSOR(F0, "0", "(I2\nI2\nt", "(I9223372036854775807\nI9223372036854775807\nt"), "needs");
    assert_bad(TENSOR(F0, "9223372036854775807", "(I2\nt", "(I9223372036854775807\nt"), "needs");
    assert_bad(TENSOR(F0, "0", "(L99999999999999999999L\nt", "(I1\nt"), "no size");
    assert_bad(TENSOR(F0, "0", "N", "(I1\nt"), "size is no tuple");
    assert_bad(TENSOR(F0, "0", "(Va\nt", "(I1\nt"), "no size");
    assert_bad(TENSOR(STORAGE("FloatStorage", "absent", "1"), "0", "(I1\nt", "(I1\nt"),
               "no record data/absent");
    assert_bad(TENSOR(STORAGE("ByteStorage", "short", "8"), "0", "(I1\nt", "(I1\nt"), "has 7");
    assert_bad(TENSOR(STORAGE("ByteStorage", "long", "8"), "0", "(I1\nt", "(I1\nt"),
               "9 bytes, 8 were declared");
    assert_bad(TENSOR(STORAGE("StrangeStorage", "0", "64"), "0", "(I1\nt", "(I1\nt"), "type is not known");
    assert_bad(TENSOR(STORAGE("FloatStorage", "0", "9223372036854775807"), "0", "(I1\nt", "(I1\nt"),
               "record data/0");
    assert_bad(TENSOR("N", "0", "(I1\nt", "(I1\nt"), "not one of the file's");
    assert_bad("ctorch._utils\n_rebuild_tensor_v2\n)R", "not one of the file's");
    qs_buf b = {0};
    for (int i = 0; i < 65; i++) qs_buf_addz(&b, "I1\n");
    qs_buf t = {0};
    qs_buf_addf(&t, TENSOR(F0, "0", "(%st", "(%st"), b.p, b.p);
    assert_bad(t.p, "65 dimensions");
    qs_buf_free(&b);
    qs_buf_free(&t);
}

/* A storage may be repeated, but not without end: every reader of whole tensors would be lost in 2^40
 * elements. */
static void test_a_tensor_of_2_to_the_40(void **state) {
    (void)state;
    assert_bad(TENSOR(F0, "3", "(I1048576\nI1048576\nt", "(I0\nI0\nt"), "1099511627776 elements");
    qs_checkpoint *c;
    const qs_tensor *t = open_tensor(TENSOR(F0, "3", "(I65536\nI65536\nt", "(I0\nI0\nt"), NULL, 0, &c);
    assert_null(t->bad);
    assert_true(qs_shape_numel(t->shape) == 1ull << 32);
    float v[1000];
    qs_err e = QS_ERR_INIT;
    assert_true(qs_tensor_read_floats(c, t, (1ull << 32) - 1000, 1000, v, &e));
    for (int i = 0; i < 1000; i++) assert_true(v[i] == 3.0f);
    assert_false(qs_tensor_read_floats(c, t, (1ull << 32) - 999, 1000, v, &e));
    assert_int_equal(e.code, QS_E_USAGE);
    qs_checkpoint_close(c);
}

static void test_other_rebuilds(void **state) {
    (void)state;
    static const struct {
        const char *pickle;
        qs_tensor_kind kind;
        qs_dtype dtype;
        const char *shape;
        bool readable;
    } cases[] = {
        {"ctorch._utils\n_rebuild_tensor\n(" F0 "I1\n(I2\nt(I1\nttR", QS_TENSOR_DENSE, QS_FLOAT32, "2", true},
        {"ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE(
             "UntypedStorage", "0", "64") "I1\n(I2\nt(I1\ntI00\n" ODICT "ctorch\nuint16\ntR",
         QS_TENSOR_DENSE, QS_UINT16, "2", true},
        {"ctorch._utils\n_rebuild_parameter\n(" T1 "I01\n" ODICT "tR", QS_TENSOR_DENSE, QS_FLOAT32, "1",
         true},
        {"ctorch._utils\n_rebuild_parameter_with_state\n(" T1 "I01\n" ODICT "}tR", QS_TENSOR_DENSE,
         QS_FLOAT32, "1", true},
        {"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\ncmy\nTensor\n(" F0
         "I0\n(I3\nt(I1\ntI00\n" ODICT "t}tR",
         QS_TENSOR_DENSE, QS_FLOAT32, "3", true},
        {"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n(" T1 "ctorch\nfloat32\nVxla:0\nI00\ntR",
         QS_TENSOR_DENSE, QS_FLOAT32, "1", true},
        {"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat16\n(I2\nI3\nt(I3\nI1\ntI00\ntR",
         QS_TENSOR_META, QS_FLOAT16, "2x3", false},
        {"ctorch._utils\n_rebuild_wrapper_subclass\n(cmy\nT\nctorch\nbfloat16\n(I4\nt(I1\ntI0\nNNI00\ntR",
         QS_TENSOR_OPAQUE, QS_BFLOAT16, "4", false},
        {"ctorch._utils\n_rebuild_sparse_tensor\n(Vlayout\n(" T1 T1 "ctorch\nSize\n((I5\nI6\nttRttR",
         QS_TENSOR_SPARSE, QS_FLOAT32, "5x6", false},
        {"ctorch._utils\n_rebuild_device_tensor_from_numpy\n(cnumpy.core.multiarray\n_reconstruct\n)R(I1\n("
         "I7\nI8\ntNI00\n"
         "NtbNctorch\nfloat32\nI00\ntR",
         QS_TENSOR_OPAQUE, QS_DTYPE_UNKNOWN, "7x8", false},
        {"ctorch._utils\n_rebuild_nested_tensor\n(" T1 "NNNtR", QS_TENSOR_OPAQUE, QS_DTYPE_UNKNOWN, "[]",
         false},
        {"ctorch.nn.parameter\nUninitializedParameter\n(I01\nVcpu\nctorch\nfloat32\ntR", QS_TENSOR_OPAQUE,
         QS_DTYPE_UNKNOWN, "[]", false},
        /* a legacy persistent id has a sixth item */
        {TENSOR("(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI16\nNtQ", "0", "(I1\nt", "(I1\nt"),
         QS_TENSOR_DENSE, QS_FLOAT32, "1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_checkpoint *c;
        const qs_tensor *t = open_tensor(cases[i].pickle, NULL, 0, &c);
        char shape[32], v[64];
        qs_err e = QS_ERR_INIT;
        qs_shape_text(t->shape, "x", shape, sizeof shape);
        if (t->kind != cases[i].kind || t->dtype != cases[i].dtype || strcmp(shape, cases[i].shape) != 0)
            fail_msg("case %zu: kind %d dtype %s shape %s", i, t->kind, qs_dtype_get(t->dtype)->name, shape);
        assert_int_equal(qs_tensor_read(c, t, 0, 1, v, &e), cases[i].readable);
        if (!cases[i].readable) assert_int_equal(e.code, QS_E_UNSUPPORTED);
        if (strstr(cases[i].pickle, "_rebuild_parameter"))
            assert_int_equal(t->flags, QS_TENSOR_IS_PARAMETER | QS_TENSOR_REQUIRES_GRAD);
        qs_checkpoint_close(c);
    }
}

static void test_a_parameter_of_a_parameter_without_end(void **state) {
    (void)state;
    qs_buf b = {0};
    for (int i = 0; i < 5000; i++) qs_buf_addz(&b, "ctorch._utils\n_rebuild_parameter\n(");
    qs_buf_addz(&b, T1);
    for (int i = 0; i < 5000; i++) qs_buf_addz(&b, "I00\n" ODICT "tR");
    qs_checkpoint *c;
    const qs_tensor *t = open_tensor(b.p, NULL, 0, &c);
    assert_int_equal(t->kind, QS_TENSOR_OPAQUE);
    qs_checkpoint_close(c);
    qs_buf_free(&b);
}

/* ---- values ---- */

static uint64_t seed;
static uint64_t next(uint64_t below) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (seed >> 33) % below;
}

enum { STORED = 200000 };

/* Random shape and strides within a storage of int32 i -> i: every element's value is its place. */
static void random_layout(qs_tensor *t, int64_t *dim, int64_t *stride) {
    uint32_t n = (uint32_t)next(5);
    uint64_t left = STORED - 1, numel = 1;
    t->offset = next(3) ? 0 : next(STORED / 2);
    left -= t->offset;
    for (uint32_t i = 0; i < n; i++) {
        dim[i] = (int64_t)(next(10) ? 1 + next(next(4) ? 12 : 700) : 0);
        if (numel * (uint64_t)dim[i] > 400000) dim[i] = 1;
        numel *= dim[i] ? (uint64_t)dim[i] : 1;
        uint64_t most = dim[i] > 1 ? left / (uint64_t)(dim[i] - 1) : 50;
        stride[i] = (int64_t)(next(4) == 0 ? next(4) : next(most + 1));
        if ((uint64_t)stride[i] > most) stride[i] = 0;
        if (dim[i] > 1) left -= (uint64_t)(dim[i] - 1) * (uint64_t)stride[i];
    }
    t->shape = (qs_shape){n, dim};
    t->stride = stride;
}

static int32_t value_at(const qs_tensor *t, uint64_t index) {
    uint64_t at = t->offset;
    for (uint32_t i = t->shape.ndim; i-- > 0;) {
        at += index % (uint64_t)t->shape.dim[i] * (uint64_t)t->stride[i];
        index /= (uint64_t)t->shape.dim[i];
    }
    return (int32_t)at;
}

static void test_random_strides(void **state) {
    (void)state;
    seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    int32_t *stored = malloc(STORED * sizeof *stored);
    int32_t *out = malloc(400000 * sizeof *out);
    for (int i = 0; i < STORED; i++) stored[i] = i;
    ascii_record more = {"data/big", stored, STORED * sizeof *stored};
    qs_checkpoint *c;
    qs_tensor t =
        *open_tensor(TENSOR(STORAGE("IntStorage", "big", "200000"), "0", "(I1\nt", "(I1\nt"), &more, 1, &c);
    for (int round = 0; round < 3000; round++) {
        int64_t dim[8], stride[8];
        qs_err e = QS_ERR_INIT;
        random_layout(&t, dim, stride);
        uint64_t numel = qs_shape_numel(t.shape), first = numel ? next(numel) : 0, n = numel - first;
        if (n && next(2)) n = 1 + next(n);
        if (!qs_tensor_read(c, &t, first, n, out, &e)) fail_msg("round %d: %s", round, e.msg);
        for (uint64_t i = 0; i < n; i += 1 + (n > 5000 ? next(50) : 0))
            if (out[i] != value_at(&t, first + i))
                fail_msg("round %d: element %llu", round, (unsigned long long)(first + i));
    }
    qs_checkpoint_close(c);
    free(stored);
    free(out);
}

/* Numbers are converted in place, in the caller's array: nothing may be overwritten before it is read. */
static void test_every_type_as_numbers(void **state) {
    (void)state;
    enum { N = 5000 };
    static unsigned char bytes[N * 16];
    static float got[N], want[N];
    static double wide[N], wide_want[N];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(next(256));
    for (int d = 1; d < QS_DTYPE_COUNT; d++) {
        const qs_dtype_info *info = qs_dtype_get((qs_dtype)d);
        if (!*info->storage || info->kind == 'Q') continue;
        char tensor[400];
        snprintf(tensor, sizeof tensor,
                 "ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\n%s\nVx\nVcpu\nI%d\ntQI0\n(I%d\nt("
                 "I1\ntI00\n" ODICT "tR",
                 info->storage, N, N);
        ascii_record more = {"data/x", bytes, (size_t)N * info->size};
        qs_checkpoint *c;
        qs_err e = QS_ERR_INIT;
        const qs_tensor *t = open_tensor(tensor, &more, 1, &c);
        if (!qs_tensor_read_floats(c, t, 0, N, got, &e) || !qs_tensor_read_doubles(c, t, 0, N, wide, &e))
            fail_msg("%s: %s", info->name, e.msg);
        qs_to_floats((qs_dtype)d, bytes, N, want);
        qs_to_doubles((qs_dtype)d, bytes, N, wide_want);
        assert_memory_equal(got, want, sizeof want);
        assert_memory_equal(wide, wide_want, sizeof wide_want);
        qs_checkpoint_close(c);
    }
}

#define QUANTIZED(storage, size, stride, params)                                                             \
    "ctorch._utils\n_rebuild_qtensor\n(" storage "I0\n" size stride params "I00\n" ODICT "tR"
#define Q8 STORAGE("QInt8Storage", "q", "6")

static void check_floats(const char *pickle, const ascii_record *more, size_t n, const float *want) {
    qs_checkpoint *c;
    const qs_tensor *t = open_tensor(pickle, more, n, &c);
    if (t->bad) fail_msg("%s", t->bad);
    assert_int_equal(t->kind, QS_TENSOR_QUANTIZED);
    float got[6];
    double wide[6];
    int8_t raw[6];
    qs_err e = QS_ERR_INIT;
    if (!qs_tensor_read_floats(c, t, 0, 6, got, &e) || !qs_tensor_read_doubles(c, t, 0, 6, wide, &e))
        fail_msg("%s", e.msg);
    assert_true(qs_tensor_read(c, t, 0, 6, raw, &e));
    assert_memory_equal(raw, more[0].data, 6);
    for (int i = 0; i < 6; i++) assert_true(got[i] == want[i] && wide[i] == (double)want[i]);
    assert_true(qs_tensor_read_floats(c, t, 4, 2, got, &e));
    assert_true(got[0] == want[4] && got[1] == want[5]);
    qs_checkpoint_close(c);
}

static void test_quantized_values(void **state) {
    (void)state;
    static const int8_t q[6] = {-128, -1, 0, 1, 2, 127};
    static const double scales[3] = {0.5, 0.25, 0.1};
    static const int64_t zeros[3] = {0, 1, -2};
    static const float float_scales[2] = {0.5f, 0.1f}, float_zeros[2] = {0.5f, -1.25f};
    ascii_record more[] = {{"data/q", q, 6},
                           {"data/s", scales, sizeof scales},
                           {"data/z", zeros, sizeof zeros},
                           {"data/fs", float_scales, 8},
                           {"data/fz", float_zeros, 8}};
    float want[6];
    for (int i = 0; i < 6; i++) want[i] = ((float)q[i] - 3.0f) * 0.1f;
    check_floats(QUANTIZED(Q8, "(I6\nt", "(I1\nt", "(ctorch\nper_tensor_affine\nF0.1\nI3\nt"), more, 1, want);
    for (int i = 0; i < 6; i++) want[i] = (float)(((float)q[i] - (float)zeros[i % 3]) * scales[i % 3]);
    check_floats(QUANTIZED(Q8, "(I2\nI3\nt", "(I3\nI1\nt",
                           "(ctorch\nper_channel_affine\n" TENSOR(STORAGE("DoubleStorage", "s", "3"), "0",
                                                                  "(I3\nt", "(I1\nt")
                               TENSOR(STORAGE("LongStorage", "z", "3"), "0", "(I3\nt", "(I1\nt") "I1\nt"),
                 more, 3, want);
    for (int i = 0; i < 6; i++) want[i] = ((float)q[i] - float_zeros[i / 3]) * float_scales[i / 3];
    check_floats(QUANTIZED(Q8, "(I2\nI3\nt", "(I3\nI1\nt",
                           "(ctorch\nper_channel_affine_float_qparams\n" TENSOR(
                               STORAGE("FloatStorage", "fs", "2"), "0", "(I2\nt", "(I1\nt")
                               TENSOR(STORAGE("FloatStorage", "fz", "2"), "0", "(I2\nt", "(I1\nt") "I0\nt"),
                 more, 5, want);
}

static void test_quantized_oddities(void **state) {
    (void)state;
    static const int8_t q[6] = {0};
    ascii_record more = {"data/q", q, 6};
    qs_checkpoint *c;
    float v[6];
    qs_err e = QS_ERR_INIT;
    const qs_tensor *t =
        open_tensor(QUANTIZED(Q8, "(I6\nt", "(I1\nt", "(ctorch\nper_channel_affine\nNNI7\nt"), &more, 1, &c);
    assert_non_null(strstr(t->bad, "axis"));
    qs_checkpoint_close(c);
    t = open_tensor(QUANTIZED(Q8, "(I6\nt", "(I1\nt", "(ctorch\nper_channel_affine\n](F0.1\ne](I0\neI0\nt"),
                    &more, 1, &c);
    assert_null(t->bad);
    assert_false(qs_tensor_read_floats(c, t, 0, 6, v, &e));
    assert_int_equal(e.code, QS_E_UNSUPPORTED);
    qs_checkpoint_close(c);
    /* Two to a byte: 12 elements fit into 6 bytes, 13 do not; none are read. */
    t = open_tensor(QUANTIZED(STORAGE("QUInt4x2Storage", "q", "6"), "(I12\nt", "(I1\nt",
                              "(ctorch\nper_tensor_affine\nF1\nI0\nt"),
                    &more, 1, &c);
    assert_null(t->bad);
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_tensor_read(c, t, 0, 1, v, &e));
    assert_int_equal(e.code, QS_E_UNSUPPORTED);
    qs_checkpoint_close(c);
    t = open_tensor(QUANTIZED(STORAGE("QUInt4x2Storage", "q", "6"), "(I13\nt", "(I1\nt",
                              "(ctorch\nper_tensor_affine\nF1\nI0\nt"),
                    &more, 1, &c);
    assert_non_null(t->bad);
    qs_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_broken_tensors_are_flagged),
        cmocka_unit_test(test_a_tensor_of_2_to_the_40),
        cmocka_unit_test(test_other_rebuilds),
        cmocka_unit_test(test_a_parameter_of_a_parameter_without_end),
        cmocka_unit_test(test_random_strides),
        cmocka_unit_test(test_every_type_as_numbers),
        cmocka_unit_test(test_quantized_values),
        cmocka_unit_test(test_quantized_oddities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

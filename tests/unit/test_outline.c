/* What is in a file besides tensors, elements as text, channels. */
#include "ascii_ckpt.h"
#include "model/element.h"
#include "model/outline.h"
#include "model/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static qs_checkpoint *fixture(const char *root) {
    const char *tests = getenv("QATSCOPE_TESTS");
    char path[1024];
    qs_open_options opt = {.root = root, .limits = QS_LIMITS_DEFAULT};
    qs_checkpoint *c = NULL;
    qs_err e = QS_ERR_INIT;
    snprintf(path, sizeof path, "%s/fixtures/ui/train.pt", tests ? tests : "tests");
    if (!qs_checkpoint_open(path, &opt, &c, &e)) fail_msg("%s", e.msg);
    return c;
}

static qs_node part_named(const qs_checkpoint *c, qs_node n, const char *name) {
    char label[100];
    for (size_t i = 0; i < qs_outline_count(c, n); i++) {
        qs_node part = qs_outline_part(c, n, i, label, sizeof label);
        if (strcmp(label, name) == 0) return part;
    }
    fail_msg("no part %s", name);
    return QS_NODE_NONE;
}

static void expect(const qs_checkpoint *c, qs_node n, const char *want) {
    char value[200];
    size_t len = qs_outline_value(c, n, value, sizeof value);
    assert_string_equal(value, want);
    assert_int_equal(len, strlen(want));
}

static void test_parts_and_values(void **state) {
    (void)state;
    qs_checkpoint *c = fixture(NULL);
    qs_node top = qs_graph_root(qs_checkpoint_graph(c));
    expect(c, top, "dict of 11");
    expect(c, part_named(c, top, "epoch"), "41");
    expect(c, part_named(c, top, "updates"), "None");
    expect(c, part_named(c, top, "model"), "OrderedDict of 16"); /* 15 keys and its attribute _metadata */
    qs_node args = part_named(c, top, "train_args"), history = part_named(c, top, "history");
    expect(c, part_named(c, args, "names"), "list of 3");
    expect(c, part_named(c, part_named(c, history, "[2]"), "[0]"), "0.2");
    expect(c, part_named(c, part_named(c, top, "ema"), "half.weight"), "tensor 2x3 float16");
    assert_int_equal(qs_outline_count(c, part_named(c, part_named(c, top, "ema"), "half.weight")), 0);
    expect(c, part_named(c, part_named(c, top, "model"), "._metadata"), "OrderedDict of 4");
    qs_checkpoint_close(c);
}

static void test_text(void **state) {
    (void)state;
    qs_checkpoint *c = fixture(NULL);
    qs_node top = qs_graph_root(qs_checkpoint_graph(c));
    qs_buf b = {0};
    assert_true(qs_outline_text(c, part_named(c, top, "recipe"), 5, &b));
    assert_true(
        qs_str_starts(qs_buf_str(&b), QS_STR("modifier_0:\n  start_epoch: 0\n"))); /* a text is not cut */
    b.n = 0;
    assert_true(qs_outline_text(c, part_named(c, top, "history"), 4, &b));
    assert_string_equal(b.p, "list of 4\n[0]  list of 2\n  [0]  0\n  [1]  1\n[1]  list of 2\n...\n");
    b.n = 0;
    assert_true(qs_outline_text(c, part_named(c, top, "raw"), 4, &b));
    assert_string_equal(b.p, "00000000   00 01 fe 71 61 74 0a                              ...qat.\n");
    qs_buf_free(&b);
    qs_checkpoint_close(c);
}

/* A list that holds itself, and an object with slots, arguments and nothing else. */
static void test_odd_graphs(void **state) {
    (void)state;
    static const char pickle[] =
        "}p0\nVw\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\ncTorch\nFloatStorage\nVv\nVcpu\n"
        "I0\ntQI0\n(I0\nt(I1\ntI00\n" ODICT "tRsVl\n]p5\ng5\nasVd\ncdatetime\ndate\n(I2026\nI11\ntRs.";
    qs_err e = QS_ERR_INIT;
    qs_checkpoint *c;
    if (!ascii_open_with(pickle, sizeof pickle - 1, NULL, 0, NULL, &c, &e)) fail_msg("%s", e.msg);
    qs_node top = qs_graph_root(qs_checkpoint_graph(c)), loop = part_named(c, top, "l");
    assert_int_equal(part_named(c, loop, "[0]"), loop);
    qs_buf b = {0};
    assert_true(qs_outline_text(c, loop, 1000, &b)); /* ends */
    qs_buf_free(&b);
    expect(c, part_named(c, top, "d"), "datetime.date of 2");
    expect(c, part_named(c, part_named(c, top, "d"), "(0)"), "2026");
    qs_checkpoint_close(c);
}

static void expect_element(qs_dtype t, const void *raw, const char *want) {
    char text[QS_ELEMENT_MAX];
    qs_element_text(t, raw, text);
    assert_string_equal(text, want);
}

static void test_elements(void **state) {
    (void)state;
    expect_element(QS_INT64, &(int64_t){9007199254740993}, "9007199254740993"); /* 2^53 + 1 is no double */
    expect_element(QS_UINT64, &(uint64_t){UINT64_MAX}, "18446744073709551615");
    expect_element(QS_INT8, &(int8_t){-128}, "-128");
    expect_element(QS_UINT8, &(uint8_t){200}, "200");
    expect_element(QS_QUINT8, &(uint8_t){200}, "200");
    expect_element(QS_QINT8, &(int8_t){-3}, "-3");
    expect_element(QS_BOOL, &(uint8_t){1}, "True");
    expect_element(QS_FLOAT32, &(float){0.1f}, "0.100000001");
    expect_element(QS_FLOAT16, &(uint16_t){0x3e00}, "1.5");
    expect_element(QS_BFLOAT16, &(uint16_t){0x4049}, "3.141");
    expect_element(QS_COMPLEX64, (float[]){1.5f, -2}, "1.5-2j");
    expect_element(QS_BITS16, &(uint16_t){0xbeef}, "beef");
    assert_true(qs_element_eq(QS_FLOAT32, &(float){NAN}, &(float){-NAN}));
    assert_false(qs_element_eq(QS_INT32, &(int32_t){0}, &(int32_t){1}));
    char index[40];
    qs_element_index((qs_shape){3, (int64_t[]){2, 3, 4}}, 23, index, sizeof index);
    assert_string_equal(index, "[1,2,3]");
    qs_element_index((qs_shape){0}, 0, index, sizeof index);
    assert_string_equal(index, "[]");
}

static void test_sharing(void **state) {
    (void)state;
    qs_checkpoint *c = fixture("model");
    uint32_t other[1], w = qs_checkpoint_find(c, QS_STR("2.weight"));
    const qs_tensor *t = qs_entry_tensor(c, qs_checkpoint_entry(c, w));
    assert_int_equal(qs_checkpoint_sharing(c, t, w, other, 1), 2);
    assert_true(qs_str_is(qs_checkpoint_entry(c, other[0])->key, "tied.weight"));
    assert_int_equal(qs_checkpoint_sharing(c, qs_entry_tensor(c, qs_checkpoint_entry(c, 0)), 0, other, 1), 0);
    qs_checkpoint_close(c);
}

static void test_channels(void **state) {
    (void)state;
    qs_checkpoint *c = fixture("model");
    qs_err e = QS_ERR_INIT;
    const qs_tensor *t =
        qs_entry_tensor(c, qs_checkpoint_entry(c, qs_checkpoint_find(c, QS_STR("q.weight"))));
    double min[6], max[6], v[24];
    assert_true(qs_tensor_read_doubles(c, t, 0, 24, v, &e));
    for (uint32_t axis = 0; axis < 2; axis++) {
        assert_true(qs_stats_channels(c, t, axis, min, max, NULL, &e));
        for (int ch = 0; ch < (axis ? 6 : 4); ch++) {
            double lo = INFINITY, hi = -INFINITY;
            for (int i = 0; i < 24; i++) {
                if ((axis ? i % 6 : i / 6) != ch) continue;
                lo = fmin(lo, v[i]);
                hi = fmax(hi, v[i]);
            }
            assert_true(min[ch] == lo && max[ch] == hi);
        }
    }
    t = qs_entry_tensor(c, qs_checkpoint_entry(c, qs_checkpoint_find(c, QS_STR("half.weight"))));
    assert_true(qs_stats_channels(c, t, 0, min, max, NULL, &e));
    assert_true(max[0] == 65504 && max[1] < 0.1 && min[1] == max[1]); /* inf and NaN do not count */
    qs_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_and_values), cmocka_unit_test(test_text),
        cmocka_unit_test(test_odd_graphs),       cmocka_unit_test(test_elements),
        cmocka_unit_test(test_sharing),          cmocka_unit_test(test_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

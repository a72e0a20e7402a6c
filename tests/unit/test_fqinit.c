/* Unit tests of the values for missing keys; with --fill A MANIFEST SOURCE OUT, a dump of them for
 * tests/oracle/test_fqinit.py, which compares it with torch. */
#include "base/arena.h"
#include "quant/fqinit.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- --fill: every key of the manifest that A lacks ---- */

static const qs_tensor *entry_of_a(const void *ctx, qs_str key, const qs_checkpoint **from) {
    *from = ctx;
    uint32_t i = qs_checkpoint_find(*from, key);
    return i == UINT32_MAX ? NULL : qs_entry_tensor(*from, qs_checkpoint_entry(*from, i));
}

static void put(FILE *out, const void *p, size_t n) {
    if (n && fwrite(p, 1, n, out) != n) exit(4);
}

static void put_text(FILE *out, qs_str s) {
    uint32_t n = (uint32_t)s.n;
    put(out, &n, sizeof n);
    put(out, s.p, s.n);
}

/* key, 0 and a reason, or 1 with origin, dtype, dims and bytes; shapes promised and given must agree */
static void dump_one(const qs_init_context *x, const qs_expected *want, qs_init_source source,
                     qs_init_cache *cache, FILE *out) {
    qs_arena arena = {0};
    qs_err e = QS_ERR_INIT, e2 = QS_ERR_INIT;
    qs_fill fill;
    qs_shape shape;
    qs_dtype dtype;
    const char *why = "";
    put_text(out, want->key);
    bool ok = qs_init_possible(x, want, &why) && qs_init_value(x, want, source, cache, &arena, &fill, &e);
    uint32_t given = ok;
    put(out, &given, sizeof given);
    if (!ok) {
        put_text(out, qs_str_of(e.code ? e.msg : why));
    } else {
        if (!qs_init_shape(x, want, source, &arena, &shape, &dtype, &e2) || !qs_shape_eq(shape, fill.shape) ||
            dtype != fill.dtype) {
            fprintf(stderr, "%.*s: promised another shape: %s\n", QS_FMT(want->key), e2.msg);
            exit(5);
        }
        put_text(out, qs_str_of(fill.origin));
        put_text(out, qs_str_of(qs_dtype_get(fill.dtype)->name));
        put(out, &fill.shape.ndim, sizeof fill.shape.ndim);
        put(out, fill.shape.dim, fill.shape.ndim * sizeof *fill.shape.dim);
        put_text(out, (qs_str){fill.data, fill.bytes});
    }
    qs_arena_free(&arena);
}

/* B may be "-"; bn_eps 0 = not given. */
static int fill(const char *a, const char *b, const char *manifest, const char *source_name,
                const char *bn_eps, const char *out_path) {
    qs_err e = QS_ERR_INIT;
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_checkpoint *ca = NULL, *cb = NULL;
    qs_manifest *m = NULL;
    qs_init_source source;
    if (!qs_init_source_parse(qs_str_of(source_name), &source)) return 2;
    bool ok = qs_checkpoint_open(a, NULL, &ca, &e) &&
              (strcmp(b, "-") == 0 || qs_checkpoint_open(b, NULL, &cb, &e)) &&
              qs_manifest_open(manifest, &limits, &m, &e);
    if (!ok) {
        fprintf(stderr, "%s\n", e.msg);
        return 3;
    }
    qs_init_context x = {
        .target = m, .sibling = cb, .resolved = entry_of_a, .ctx = ca, .bn_eps = atof(bn_eps)};
    qs_init_cache *cache = qs_init_cache_new();
    FILE *out = fopen(out_path, "wb");
    if (!out || !cache) return 4;
    for (uint32_t i = 0; i < qs_manifest_count(m); i++) {
        const qs_expected *want = qs_manifest_entry(m, i);
        if (qs_checkpoint_find(ca, want->key) == UINT32_MAX) dump_one(&x, want, source, cache, out);
    }
    qs_init_cache_free(cache);
    qs_manifest_close(m);
    qs_checkpoint_close(ca);
    if (cb) qs_checkpoint_close(cb);
    return fclose(out) ? 4 : 0;
}

/* ---- unit tests: a target of one wrapped, fused layer and what hangs round it ---- */

#define FQ(name, flags)                                                                                      \
    "{\"key\":\"" name ".fake_quant_enabled\",\"shape\":[1],\"dtype\":\"" flags "\"},"                       \
    "{\"key\":\"" name ".scale\",\"shape\":[1],\"dtype\":\"float32\"},"                                      \
    "{\"key\":\"" name ".zero_point\",\"shape\":[1],\"dtype\":\"int32\"},"                                   \
    "{\"key\":\"" name ".activation_post_process.eps\",\"shape\":[1],\"dtype\":\"float32\"},"                \
    "{\"key\":\"" name ".activation_post_process.min_val\",\"shape\":[],\"dtype\":\"float32\"},"

#define HEAD "{\"format\":\"qatscope-manifest\",\"version\":1,\"model\":\"M\",\"torch\":\"2.6.0\","

static const char target_json[] = HEAD
    "\"modules\":{\"\":{\"class\":\"M\",\"version\":1},"
    "\"c\":{\"class\":\"torch.ao.nn.intrinsic.qat.modules.conv_fused.ConvBn2d\",\"version\":2,\"bn_eps\":0."
    "001},"
    "\"c.bn\":{\"class\":\"torch.nn.modules.batchnorm.BatchNorm2d\",\"version\":2},"
    "\"c.weight_fake_quant\":{\"class\":\"torch.ao.quantization.fake_quantize.FakeQuantize\",\"version\":1,"
    "\"observer\":\"MovingAveragePerChannelMinMaxObserver\",\"dtype\":\"qint8\",\"qscheme\":\"per_channel_"
    "symmetric\","
    "\"quant_min\":-8,\"quant_max\":7,\"ch_axis\":0,\"reduce_range\":false,\"eps\":0.00024414062},"
    "\"c.activation_post_process\":{\"class\":\"torch.ao.quantization.fake_quantize.FakeQuantize\","
    "\"version\":1},"
    "\"t\":{\"class\":\"torch.nn.modules.activation.Tanh\",\"version\":1},"
    "\"t.activation_post_process\":{\"class\":\"torch.ao.quantization.fake_quantize."
    "FixedQParamsFakeQuantize\",\"version\":1},"
    "\"ln\":{\"class\":\"torch.nn.modules.normalization.LayerNorm\",\"version\":1},"
    "\"p\":{\"class\":\"my.Layer\",\"version\":1},"
    "\"p.weight_fake_quant\":{\"class\":\"torch.ao.quantization.fake_quantize.FakeQuantize\",\"version\":1}},"
    "\"state_dict\":["
    "{\"key\":\"c.weight\",\"shape\":[4,3,3,3],\"dtype\":\"float32\"},"
    "{\"key\":\"c.bn.weight\",\"shape\":[4],\"dtype\":\"float32\"},"
    "{\"key\":\"c.bn.running_mean\",\"shape\":[4],\"dtype\":\"float32\"},"
    "{\"key\":\"c.bn.running_var\",\"shape\":[4],\"dtype\":\"float16\"},"
    "{\"key\":\"c.bn.num_batches_tracked\",\"shape\":[],\"dtype\":\"int64\"}," FQ("c.weight_fake_quant",
                                                                                  "uint8")
        FQ("c.activation_post_process",
           "uint8") "{\"key\":\"t.activation_post_process.scale\",\"shape\":[1],\"dtype\":\"float32\"},"
                    "{\"key\":\"t.activation_post_process.zero_point\",\"shape\":[1],\"dtype\":\"int32\"},"
                    "{\"key\":\"ln.weight\",\"shape\":[7],\"dtype\":\"bfloat16\"},"
                    "{\"key\":\"p.weight\",\"shape\":[5,5],\"dtype\":\"float32\"},"
                    "{\"key\":\"p.x\",\"shape\":[5],\"dtype\":\"float32\"}," FQ(
                        "p.weight_fake_quant", "int64") "{\"key\":\"p._extra_state\",\"kind\":\"extra\"}]}";

static const qs_tensor *nothing(const void *ctx, qs_str key, const qs_checkpoint **from) {
    (void)ctx, (void)key, (void)from;
    return NULL;
}

static int open_target(void **state) {
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_err e = QS_ERR_INIT;
    qs_manifest *m = NULL;
    if (!qs_manifest_parse(target_json, strlen(target_json), "target", &limits, &m, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return -1;
    }
    *state = m;
    return 0;
}

static int close_target(void **state) {
    qs_manifest_close(*state);
    return 0;
}

static qs_init_context context(void **state) {
    return (qs_init_context){.target = *state, .resolved = nothing, .bn_eps = NAN};
}

static const qs_expected *expected(const qs_init_context *x, const char *key) {
    uint32_t i = qs_manifest_find(x->target, qs_str_of(key));
    assert_true(i != UINT32_MAX);
    return qs_manifest_entry(x->target, i);
}

static void assert_fresh(const qs_init_context *x, const char *key, qs_dtype dtype, size_t n, double value) {
    qs_arena arena = {0};
    qs_fill f;
    qs_err e = QS_ERR_INIT;
    if (!qs_init_value(x, expected(x, key), QS_INIT_FRESH, NULL, &arena, &f, &e)) fail_msg("%s", e.msg);
    assert_int_equal(f.dtype, dtype);
    assert_int_equal(qs_shape_numel(f.shape), n);
    assert_int_equal(f.bytes, n * qs_dtype_get(dtype)->size);
    assert_string_equal(f.origin, "fresh");
    for (size_t i = 0; i < n; i++) {
        double got;
        qs_to_doubles(dtype, (const char *)f.data + i * qs_dtype_get(dtype)->size, 1, &got);
        if (got != value) fail_msg("%s: %g", key, got);
    }
    qs_arena_free(&arena);
}

static void test_fresh_values(void **state) {
    qs_init_context x = context(state);
    assert_fresh(&x, "c.bn.weight", QS_FLOAT32, 4, 1);
    assert_fresh(&x, "c.bn.running_mean", QS_FLOAT32, 4, 0);
    assert_fresh(&x, "c.bn.running_var", QS_FLOAT16, 4, 1);
    assert_fresh(&x, "c.bn.num_batches_tracked", QS_INT64, 1, 0);
    assert_fresh(&x, "ln.weight", QS_BFLOAT16, 7, 1);
    assert_fresh(&x, "c.weight_fake_quant.fake_quant_enabled", QS_UINT8, 1, 1);
    assert_fresh(&x, "p.weight_fake_quant.fake_quant_enabled", QS_INT64, 1, 1);
    assert_fresh(&x, "c.weight_fake_quant.scale", QS_FLOAT32, 1, 1);
    assert_fresh(&x, "c.weight_fake_quant.zero_point", QS_INT32, 1, 0);
    assert_fresh(&x, "c.weight_fake_quant.activation_post_process.eps", QS_FLOAT32, 1, 0x1p-12);
    assert_fresh(&x, "c.activation_post_process.activation_post_process.eps", QS_FLOAT32, 1, 0x1p-23);
    assert_fresh(&x, "c.activation_post_process.activation_post_process.min_val", QS_FLOAT32, 1, INFINITY);
    /* per channel: nothing until a weight was seen, whatever shape the target was saved with */
    assert_fresh(&x, "c.weight_fake_quant.activation_post_process.min_val", QS_FLOAT32, 0, 0);
    assert_fresh(&x, "t.activation_post_process.scale", QS_FLOAT32, 1, 2.0 / 256);
    assert_fresh(&x, "t.activation_post_process.zero_point", QS_INT32, 1, 128);
}

static void test_what_cannot_be_made_says_why(void **state) {
    qs_init_context x = context(state);
    static const char *const t[][2] = {{"c.weight", "a weight"},
                                       {"p.weight", "a weight"},
                                       {"p.x", "ordinary parameter"},
                                       {"p._extra_state", "extra state"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const char *why = "";
        qs_arena arena = {0};
        qs_fill f;
        qs_err e = QS_ERR_INIT;
        assert_false(qs_init_possible(&x, expected(&x, t[i][0]), &why));
        assert_non_null(strstr(why, t[i][1]));
        assert_false(qs_init_value(&x, expected(&x, t[i][0]), QS_INIT_FRESH, NULL, &arena, &f, &e));
        assert_int_equal(e.code, QS_E_REFUSED);
        qs_arena_free(&arena);
    }
}

static void test_observed_needs_the_weight(void **state) {
    qs_init_context x = context(state);
    const qs_expected *scale = expected(&x, "c.weight_fake_quant.scale");
    qs_arena arena = {0};
    qs_fill f;
    qs_shape shape;
    qs_dtype dtype;
    qs_err e = QS_ERR_INIT, e2 = QS_ERR_INIT, e3 = QS_ERR_INIT;
    assert_false(qs_init_value(&x, scale, QS_INIT_OBSERVED, NULL, &arena, &f, &e));
    assert_int_equal(e.code, QS_E_REFUSED);
    assert_non_null(strstr(e.msg, "c.weight"));
    assert_false(qs_init_shape(&x, scale, QS_INIT_OBSERVED, &arena, &shape, &dtype, &e2));
    /* flags and eps do not */
    assert_true(qs_init_value(&x, expected(&x, "c.weight_fake_quant.fake_quant_enabled"), QS_INIT_OBSERVED,
                              NULL, &arena, &f, &e3));
    assert_false(qs_init_value(&x, scale, QS_INIT_COPY, NULL, &arena, &f, &e3));
    assert_int_equal(e3.code, QS_E_USAGE);
    qs_arena_free(&arena);
}

static void test_configuration_says_where_it_comes_from(void **state) {
    qs_init_context x = context(state);
    qs_block_config c;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_init_block_config(&x, QS_STR("c.weight_fake_quant"), &c, &e));
    assert_string_equal(c.from, "the manifest");
    assert_false(c.ambiguous);
    assert_int_equal(c.cfg.scheme, QS_PER_CHANNEL_SYMMETRIC);
    assert_true(c.cfg.quant_min == -8 && c.cfg.quant_max == 7 && c.cfg.ch_axis == 0 && !c.cfg.fused);
    assert_true(c.cfg.eps == 0x1p-12f && c.cfg.torch_minor == 206);
    assert_true(qs_init_block_config(&x, QS_STR("p.weight_fake_quant"), &c, &e));
    assert_string_equal(c.from, "the keys (dtype and shape)");
    assert_true(c.ambiguous && c.cfg.fused && c.cfg.scheme == QS_PER_TENSOR_SYMMETRIC);
    assert_non_null(strstr(c.question, "assumed"));
    assert_false(qs_init_block_config(&x, QS_STR("nowhere.weight_fake_quant"), &c, &e));
    assert_int_equal(e.code, QS_E_REFUSED);
}

/* ---- other families, from their documented shapes ---- */

#define E(key, shape, dtype) "{\"key\":\"" key "\",\"shape\":" shape ",\"dtype\":\"" dtype "\"},"

static const char others_json[] =
    HEAD "\"modules\":{\"\":{\"class\":\"M\",\"version\":1}},\"state_dict\":[" E(
        "q._weight_quantizer.scale", "[]", "float32") E("q._weight_quantizer.zero_point", "[]", "int32")
        E("v.weight_quantizer.log_threshold", "[1]", "float32") E("v.weight_quantizer.warmup_enabled", "[1]",
                                                                  "uint8") E("v.weight_quantizer.bitwidth",
                                                                             "[1]", "uint8")
            E("c.pre_ops.0.op._num_bits", "[1]", "int32") E("c.pre_ops.0.op.scale", "[8,1]", "float32") E(
                "external_quantizers.N/r[0]|OUTPUT.input_low", "[1]",
                "float32") E("external_quantizers.N/r[0]|OUTPUT.input_range", "[1]",
                             "float32") E("external_quantizers.N/r[0]|OUTPUT.enabled", "[1]",
                                          "int32") E("a.param_quantizers.weight.min", "[1]", "float32")
                E("a.output_quantizers.0.max", "[1]", "float32") E("u.weight._data", "[8,8]", "int8")
                    E("u.weight._scale", "[8,1]", "float32") E("u.input_scale", "[]", "float32")
                        E("g.qweight", "[16,64]", "int32") E("g.qzeros", "[4,8]", "int32")
                            E("g.scales", "[4,64]", "float16") E("g.g_idx", "[128]", "int32") E(
                                "p.weight_packed", "[8,1]", "int32") E("p.weight_scale", "[8,1]", "bfloat16")
                                E("p.weight_zero_point", "[8,1]", "int8") E("p.weight_g_idx", "[8]", "int32")
                                    E("n.weight", "[8,4]",
                                      "float32") E("n._weight_quantizer._amax", "[8,1]", "float32")
                                        E("n._input_quantizer._amax", "[]",
                                          "float32") E("b.weight_quant.tensor_quant.scaling_impl.value", "[]",
                                                       "float32") E("bb.weight", "[8,1]", "uint8")
                                            E("bb.weight.absmax", "[1]", "float32") E("f.weight", "[8,8]",
                                                                                      "float8_e4m3fn")
                                                E("f.weight_scale_inv",
                                                  "[1,1]", "float32") E("i.weight", "[4,4]",
                                                                        "qint8") E("i.scale", "[]", "float32")
                                                    E("i.zero_point", "[]", "int64")
                                                        E("w.qweight", "[128,8]", "int32")
                                                            E("w.scales", "[1,64]", "float16")
                                                                E("t.weight_fake_quantizer.scale", "[8]",
                                                                  "float32") "{\"key\":\"h.W_q\",\"shape\":["
                                                                             "8,8],\"dtype\":\"uint8\"}]}";

static void test_other_families(void **state) {
    (void)state;
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_err e = QS_ERR_INIT;
    qs_manifest *m = NULL;
    if (!qs_manifest_parse(others_json, strlen(others_json), "others", &limits, &m, &e))
        fail_msg("%s", e.msg);
    qs_init_context x = {.target = m, .resolved = nothing, .bn_eps = NAN};
    assert_fresh(&x, "q._weight_quantizer.scale", QS_FLOAT32, 1, 1);
    assert_fresh(&x, "q._weight_quantizer.zero_point", QS_INT32, 1, 0);
    assert_fresh(&x, "v.weight_quantizer.log_threshold", QS_FLOAT32, 1, 0);
    assert_fresh(&x, "v.weight_quantizer.warmup_enabled", QS_UINT8, 1, 1);
    assert_fresh(&x, "c.pre_ops.0.op.scale", QS_FLOAT32, 8, 1);
    assert_fresh(&x, "external_quantizers.N/r[0]|OUTPUT.input_low", QS_FLOAT32, 1, 0);
    assert_fresh(&x, "external_quantizers.N/r[0]|OUTPUT.input_range", QS_FLOAT32, 1, 1);
    assert_fresh(&x, "external_quantizers.N/r[0]|OUTPUT.enabled", QS_INT32, 1, 1);
    assert_fresh(&x, "a.param_quantizers.weight.min", QS_FLOAT32, 1, -1);
    assert_fresh(&x, "a.output_quantizers.0.max", QS_FLOAT32, 1, 1);
    assert_fresh(&x, "u.input_scale", QS_FLOAT32, 1, 1);
    assert_fresh(&x, "p.weight_zero_point", QS_INT8, 8, 0);
    assert_fresh(&x, "p.weight_g_idx", QS_INT32, 8, -1);
    static const char *const refused[] = {"v.weight_quantizer.bitwidth",
                                          "c.pre_ops.0.op._num_bits",
                                          "u.weight._data",
                                          "u.weight._scale",
                                          "g.qweight",
                                          "g.qzeros",
                                          "g.scales",
                                          "p.weight_packed",
                                          "p.weight_scale",
                                          "n.weight",
                                          "n._input_quantizer._amax",
                                          "b.weight_quant.tensor_quant.scaling_impl.value",
                                          "bb.weight",
                                          "bb.weight.absmax",
                                          "f.weight",
                                          "f.weight_scale_inv",
                                          "i.weight",
                                          "i.scale",
                                          "i.zero_point",
                                          "w.qweight",
                                          "w.scales",
                                          "t.weight_fake_quantizer.scale",
                                          "h.W_q"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *why = NULL;
        if (qs_init_possible(&x, expected(&x, refused[i]), &why)) fail_msg("%s is made up", refused[i]);
        assert_true(why && strlen(why) > 10);
    }
    qs_arena arena = {0};
    qs_fill f;
    assert_true(qs_init_value(&x, expected(&x, "g.g_idx"), QS_INIT_FRESH, NULL, &arena, &f, &e));
    for (int i = 0; i < 128; i++) assert_int_equal(((const int32_t *)f.data)[i], i / 32);
    assert_false(
        qs_init_value(&x, expected(&x, "n._weight_quantizer._amax"), QS_INIT_FRESH, NULL, &arena, &f, &e));
    qs_arena_free(&arena);
    qs_manifest_close(m);
}

static void test_source_names(void **state) {
    (void)state;
    qs_init_source s;
    for (int i = QS_INIT_FRESH; i <= QS_INIT_COPY; i++) {
        assert_true(qs_init_source_parse(qs_str_of(qs_init_source_name((qs_init_source)i)), &s));
        assert_int_equal(s, i);
    }
    assert_false(qs_init_source_parse(QS_STR("Fresh"), &s));
    assert_false(qs_init_source_parse(QS_STR(""), &s));
}

int main(int argc, char **argv) {
    if (argc == 8 && strcmp(argv[1], "--fill") == 0)
        return fill(argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_values),
        cmocka_unit_test(test_what_cannot_be_made_says_why),
        cmocka_unit_test(test_observed_needs_the_weight),
        cmocka_unit_test(test_configuration_says_where_it_comes_from),
        cmocka_unit_test(test_other_families),
        cmocka_unit_test(test_source_names),
    };
    return cmocka_run_group_tests(tests, open_target, close_target);
}

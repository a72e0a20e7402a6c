/* The simulator's rules one by one; that they are torch's is what tests/oracle/test_strict.py shows. */
#include "base/map.h"
#include "repair/strict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

typedef struct item {
    const char *key, *type;
    qs_dtype dtype;
    int64_t ndim, dim[4];
} item;

typedef struct fake {
    const item *items;
    const char *const *versions; /* "prefix", "2", ..., NULL */
} fake;

static void entry(const void *ctx, uint32_t i, qs_str *key, qs_shape *shape, qs_dtype *dtype,
                  const char **type) {
    const item *x = &((const fake *)ctx)->items[i];
    *key = qs_str_of(x->key);
    *shape = (qs_shape){(uint32_t)x->ndim, x->dim};
    *dtype = x->type ? QS_DTYPE_UNKNOWN : x->dtype ? x->dtype : QS_FLOAT32;
    *type = x->type;
}

static uint32_t find(const void *ctx, qs_str key) {
    const item *x = ((const fake *)ctx)->items;
    for (uint32_t i = 0; x[i].key; i++)
        if (qs_str_is(key, x[i].key)) return i;
    return UINT32_MAX;
}

static int64_t version(const void *ctx, qs_str prefix) {
    const char *const *v = ((const fake *)ctx)->versions;
    for (; v && *v; v += 2)
        if (qs_str_is(prefix, v[0])) return atoi(v[1]);
    return -1;
}

static qs_manifest *open_manifest; /* a verdict borrows from it */

static int close_manifest(void **state) {
    (void)state;
    qs_manifest_close(open_manifest);
    open_manifest = NULL;
    return 0;
}

static qs_verdict *run(const char *manifest, const fake *f, qs_strict_options opt) {
    static const qs_limits limits = QS_LIMITS_DEFAULT;
    qs_verdict *v = NULL;
    qs_err e = QS_ERR_INIT;
    uint32_t n = 0;
    while (f->items[n].key) n++;
    close_manifest(NULL);
    if (!qs_manifest_parse(manifest, strlen(manifest), "m", &limits, &open_manifest, &e))
        fail_msg("%s", e.msg);
    qs_strict_source src = {n, entry, find, version, f};
    if (!qs_strict_run(open_manifest, &src, &opt, &v, &e)) fail_msg("%s", e.msg);
    return v;
}

static void assert_message(const char *manifest, const fake *f, int torch, const char *want) {
    qs_verdict *v = run(manifest, f, (qs_strict_options){.torch_minor = torch, .strict = true});
    qs_buf b = {0};
    assert_true(qs_verdict_message(v, &b));
    if (strcmp(b.p ? b.p : "", want) != 0)
        fail_msg("torch %d:\n%s\nwanted:\n%s", torch, b.p ? b.p : "", want);
    assert_int_equal(qs_verdict_loads(v), !*want);
    qs_buf_free(&b);
    qs_verdict_free(v);
}

static const qs_finding *finding(const qs_verdict *v, qs_finding_kind kind, const char *key) {
    for (size_t i = 0; i < qs_verdict_count(v); i++)
        if (qs_verdict_finding(v, i)->kind == kind && qs_str_is(qs_verdict_finding(v, i)->key, key))
            return qs_verdict_finding(v, i);
    return NULL;
}

#define HEAD(top)                                                                                            \
    "{\"format\": \"qatscope-manifest\", \"version\": 1, \"modules\": {\"\": {\"class\": \"pkg." top "\"}"
#define MOD(name, cls) ", \"" name "\": {\"class\": \"" cls "\"}"
#define KEYS           "}, \"state_dict\": ["
#define KEY(k, s, d)   "{\"key\": \"" k "\", \"shape\": [" s "], \"dtype\": \"" d "\", \"kind\": \"buffer\"}"
#define FQ             "torch.ao.quantization.fake_quantize.FakeQuantize"

#define SCHEME(name, qscheme)                                                                                \
    ", \"" name "\": {\"class\": \"" FQ "\", \"qscheme\": \"" qscheme "\", \"ch_axis\": 0}"

static const char two_layers[] = HEAD("Net") MOD("a", "torch.nn.modules.linear.Linear") MOD("b", "pkg.B")
    KEYS KEY("a.weight", "2,3", "float32") "," KEY("a.bias", "2", "float32") "," KEY("b.s", "", "int64") "]}";

static void says_it_in_torchs_order(void **state) {
    (void)state;
    const item items[] = {{.key = "zzz"},
                          {.key = "b.s", .ndim = 1, .dim = {1}, .dtype = QS_INT64},
                          {.key = "a.weight", .ndim = 2, .dim = {3, 2}},
                          {.key = "b.t"},
                          {.key = "a.q"},
                          {NULL}};
    assert_message(two_layers, &(fake){items, NULL}, 113,
                   "Error(s) in loading state_dict for Net:\n"
                   "\tMissing key(s) in state_dict: \"a.bias\". \n"
                   "\tUnexpected key(s) in state_dict: \"zzz\", \"a.q\", \"b.t\". \n"
                   "\tsize mismatch for a.weight: copying a param with shape torch.Size([3, 2]) from "
                   "checkpoint, the shape "
                   "in current model is torch.Size([2, 3]).");
    qs_verdict *v = run(two_layers, &(fake){items, NULL}, (qs_strict_options){.strict = false});
    assert_false(qs_verdict_loads(v)); /* a size mismatch counts without strict, too */
    assert_int_equal(qs_verdict_torch(v), 214);
    assert_non_null(finding(v, QS_FIND_SIZE, "a.weight"));
    assert_int_equal(qs_verdict_finding(v, 0)->kind, QS_FIND_MISSING);
    qs_verdict_free(v);
}

static void knows_which_names_pass(void **state) {
    (void)state;
    const item items[] = {{.key = "a.weight", .ndim = 2, .dim = {2, 3}},
                          {.key = "a.bias", .ndim = 1, .dim = {2}},
                          {.key = "b.s", .dtype = QS_INT64},
                          {.key = "a.weight.bar"},
                          {.key = "b"},
                          {.key = "b._extra_state"},
                          {NULL}};
    assert_message(
        two_layers, &(fake){items, NULL}, 113,
        "Error(s) in loading state_dict for Net:\n\tUnexpected key(s) in state_dict: \"b._extra_state\". ");
    assert_message(two_layers, &(fake){items, NULL}, 206,
                   "Error(s) in loading state_dict for Net:\n\tUnexpected key(s) in state_dict: \"b\", "
                   "\"a.weight.bar\", "
                   "\"b._extra_state\". ");
    const char none[] = HEAD("Net") ", \"down\": null" KEYS KEY("w", "", "float32") "]}";
    const item below[] = {{.key = "w"}, {.key = "down.0.weight"}, {.key = "down.x"}, {NULL}};
    assert_message(none, &(fake){below, NULL}, 113, "");
    const char extra[] =
        HEAD("Net") ", \"k\": {\"class\": \"pkg.K\", \"extra_state\": true}" KEYS
                    "{\"key\": \"k._extra_state\", \"kind\": \"extra\"}, " KEY("w", "", "float32") "]}";
    assert_message(
        extra, &(fake){(const item[]){{.key = "w"}, {.key = "k._extra_state", .type = "dict"}, {NULL}}, NULL},
        206, "");
    assert_message(
        extra, &(fake){(const item[]){{.key = "w"}, {NULL}}, NULL}, 206,
        "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"k._extra_state\". ");
}

static void takes_scalars_as_torch_does(void **state) {
    (void)state;
    const char scalar[] = HEAD("Net") KEYS KEY("s", "", "float32") "]}";
    const item four[] = {{.key = "s", .ndim = 1, .dim = {4}}, {NULL}},
               zero[] = {{.key = "s", .ndim = 1}, {NULL}};
    const item list[] = {{.key = "s", .type = "list"}, {NULL}};
    assert_message(scalar, &(fake){(const item[]){{.key = "s", .ndim = 1, .dim = {1}}, {NULL}}, NULL}, 214,
                   "");
    assert_message(scalar, &(fake){four, NULL}, 206, "");
    assert_message(
        scalar, &(fake){four, NULL}, 214,
        "Error(s) in loading state_dict for Net:\n\tsize mismatch for s: copying a param with shape "
        "torch.Size([4]) from checkpoint, the shape in current model is torch.Size([]).");
    assert_message(scalar, &(fake){zero, NULL}, 113,
                   "IndexError: index 0 is out of bounds for dimension 0 with size 0");
    assert_message(scalar, &(fake){list, NULL}, 113,
                   "Error(s) in loading state_dict for Net:\n\tWhile copying the parameter named \"s\", "
                   "expected torch.Tensor "
                   "or Tensor-like object from checkpoint but received <class 'list'>");
    assert_message(scalar, &(fake){list, NULL}, 107,
                   "AttributeError: 'list' object has no attribute 'shape'");
    qs_verdict *v = run(scalar, &(fake){four, NULL}, (qs_strict_options){.torch_minor = 113, .strict = true});
    assert_non_null(finding(v, QS_FIND_TRUNCATED, "s"));
    qs_verdict_free(v);
}

#define BLOCK(p, shape)                                                                                      \
    KEY(p ".fake_quant_enabled", "1", "uint8")                                                               \
    "," KEY(p ".observer_enabled", "1", "uint8") "," KEY(p ".scale", shape,                                  \
                                                         "float32") "," KEY(p ".zero_point", shape, "int32")

static void lists_scale_and_zero_point_twice(void **state) {
    (void)state;
    const char fq[] = HEAD("Net") SCHEME("q", "per_tensor_affine") KEYS BLOCK("q", "1") "]}";
    assert_message(
        fq, &(fake){(const item[]){{.key = "q.observer_enabled", .ndim = 1, .dim = {1}}, {NULL}}, NULL}, 113,
        "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"q.scale\", "
        "\"q.zero_point\", "
        "\"q.fake_quant_enabled\", \"q.scale\", \"q.zero_point\". ");
    const item resized[] = {{.key = "q.fake_quant_enabled", .ndim = 1, .dim = {1}, .dtype = QS_UINT8},
                            {.key = "q.observer_enabled", .ndim = 1, .dim = {1}, .dtype = QS_INT64},
                            {.key = "q.scale", .ndim = 1, .dim = {64}},
                            {.key = "q.zero_point", .ndim = 1, .dim = {32}, .dtype = QS_INT32},
                            {NULL}};
    qs_verdict *v = run(fq, &(fake){resized, NULL}, (qs_strict_options){.torch_minor = 206, .strict = true});
    assert_true(qs_verdict_loads(v));
    assert_non_null(finding(v, QS_FIND_RESIZED, "q.scale"));
    assert_non_null(finding(v, QS_FIND_CAST, "q.observer_enabled"));
    assert_non_null(finding(v, QS_FIND_FORWARD, "q.scale"));
    assert_null(finding(v, QS_FIND_CAST, "q.scale"));
    qs_verdict_free(v);
    v = run(fq, &(fake){(const item[]){{.key = "x"}, {NULL}}, NULL}, (qs_strict_options){.strict = true});
    assert_int_equal(finding(v, QS_FIND_MISSING, "q.scale")->repeats, 2);
    assert_int_equal(finding(v, QS_FIND_MISSING, "q.observer_enabled")->repeats, 1);
    qs_verdict_free(v);
}

static void follows_the_versions(void **state) {
    (void)state;
    const char bn[] = HEAD("Net") MOD("n", "torch.nn.modules.batchnorm.BatchNorm2d")
        KEYS KEY("n.running_mean", "1", "float32") "," KEY("n.num_batches_tracked", "", "int64") "]}";
    const item mean[] = {{.key = "n.running_mean", .ndim = 1, .dim = {1}}, {NULL}};
    const char *const v2[] = {"n", "2", NULL};
    assert_message(bn, &(fake){mean, NULL}, 113, "");
    assert_message(bn, &(fake){mean, v2}, 113,
                   "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "
                   "\"n.num_batches_tracked\". ");
    const char pc[] = HEAD("Net") MOD("o", "torch.ao.quantization.observer.PerChannelMinMaxObserver")
        KEYS KEY("o.eps", "1", "float32") "," KEY("o.min_val", "0", "float32") "," KEY("o.max_val", "0",
                                                                                       "float32") "]}";
    const item range[] = {
        {.key = "o.min_val", .ndim = 1, .dim = {4}}, {.key = "o.max_val", .ndim = 1, .dim = {4}}, {NULL}};
    const char *const v3[] = {"o", "3", NULL};
    assert_message(pc, &(fake){range, v3}, 113, ""); /* a missing eps is silent below these */
    assert_message(pc, &(fake){range, NULL}, 206, "");
    assert_message(
        pc, &(fake){range, NULL}, 113,
        "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"o.min_vals\", "
        "\"o.max_vals\". "
        "\n\tsize mismatch for o.min_val: copying a param with shape torch.Size([4]) from checkpoint, the "
        "shape in "
        "current model is torch.Size([0]).\n\tsize mismatch for o.max_val: copying a param with shape "
        "torch.Size([4]) from checkpoint, the shape in current model is torch.Size([0]).");
    const item old[] = {
        {.key = "o.min_vals", .ndim = 1, .dim = {4}}, {.key = "o.max_vals", .ndim = 1, .dim = {4}}, {NULL}};
    const char *const two[] = {"o", "2", NULL};
    qs_verdict *v = run(pc, &(fake){old, two}, (qs_strict_options){.torch_minor = 206, .strict = true});
    assert_true(qs_verdict_loads(v));
    assert_non_null(finding(v, QS_FIND_FORWARD, "o.min_vals")); /* uninitialised memory */
    qs_verdict_free(v);
}

static void accepts_the_old_convbn(void **state) {
    (void)state;
    const char cb[] = HEAD("Net") MOD("c", "torch.nn.intrinsic.qat.modules.conv_fused.ConvBn2d")
        MOD("c.bn", "torch.nn.modules.batchnorm.BatchNorm2d") KEYS KEY("c.weight", "1", "float32") "," KEY(
            "c.bn.weight", "1", "float32") "," KEY("c.bn.bias", "1", "float32") "]}";
    const item v1[] = {{.key = "c.weight", .ndim = 1, .dim = {1}},
                       {.key = "c.gamma", .ndim = 1, .dim = {1}},
                       {.key = "c.beta", .ndim = 1, .dim = {2}},
                       {.key = "c.running_mean"},
                       {.key = "c.running_var"},
                       {.key = "c.num_batches_tracked"},
                       {NULL}};
    assert_message(
        cb, &(fake){v1, NULL}, 113,
        "Error(s) in loading state_dict for Net:\n\tUnexpected key(s) in state_dict: \"c.bn.running_mean\", "
        "\"c.bn.running_var\", \"c.bn.num_batches_tracked\". \n\tsize mismatch for c.bn.bias: copying a "
        "param "
        "with shape torch.Size([2]) from checkpoint, the shape in current model is torch.Size([1]).");
    assert_message(cb, &(fake){(const item[]){{NULL}}, NULL}, 113,
                   "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "
                   "\"c.bn.weight\", \"c.bn.bias\", "
                   "\"c.bn.running_mean\", \"c.bn.running_var\", \"c.bn.num_batches_tracked\", \"c.weight\", "
                   "\"c.bn.weight\", \"c.bn.bias\". ");
}

static void works_on_a_partial_manifest(void **state) {
    (void)state;
    const item items[] = {{.key = "a.w", .ndim = 1, .dim = {9}}, {.key = "b"}, {NULL}};
    assert_message("{\"a.w\": {\"dtype\": \"float32\"}, \"a.x\": [1]}", &(fake){items, NULL}, 0,
                   "Error(s) in loading state_dict for Model:\n\tMissing key(s) in state_dict: \"a.x\". \n"
                   "\tUnexpected key(s) in state_dict: \"b\". ");
}

static void prints_what_python_returns(void **state) {
    (void)state;
    const item items[] = {{.key = "it's"}, {.key = "a.bias", .ndim = 1, .dim = {2}}, {NULL}};
    qs_verdict *v = run(two_layers, &(fake){items, NULL}, (qs_strict_options){.strict = false});
    qs_buf b = {0};
    assert_true(qs_verdict_loads(v) && qs_verdict_result(v, &b));
    assert_string_equal(b.p,
                        "_IncompatibleKeys(missing_keys=['a.weight', 'b.s'], unexpected_keys=[\"it's\"])");
    qs_buf_free(&b);
    qs_verdict_free(v);
}

/* A large source of its own, with a hash, as a checkpoint has. */
typedef struct big {
    qs_str *keys;
    uint32_t n;
    qs_map by_key;
} big;

static const int64_t eight[] = {8};

static void big_entry(const void *ctx, uint32_t i, qs_str *key, qs_shape *shape, qs_dtype *dtype,
                      const char **type) {
    *key = ((const big *)ctx)->keys[i];
    *shape = (qs_shape){1, eight};
    *dtype = QS_FLOAT32;
    *type = NULL;
}

static uint32_t big_find(const void *ctx, qs_str key) {
    return qs_map_get(&((const big *)ctx)->by_key, key);
}

static int64_t no_version(const void *ctx, qs_str prefix) {
    (void)ctx;
    (void)prefix;
    return -1;
}

static void assert_versions(const char *manifest, const fake *f, bool strict, const char *want) {
    qs_strict_version v[QS_STRICT_VERSIONS];
    qs_strict_options opt = {.torch_minor = 206, .strict = strict};
    qs_buf b = {0};
    qs_err e = QS_ERR_INIT;
    qs_verdict_free(run(manifest, f, opt));
    uint32_t n = 0;
    while (f->items[n].key) n++;
    qs_strict_source src = {n, entry, find, version, f};
    assert_true(qs_strict_versions(open_manifest, &src, &opt, v, &e));
    for (int i = 0; i < QS_STRICT_VERSIONS; i++) {
        qs_verdict *one =
            run(manifest, f, (qs_strict_options){.torch_minor = v[i].torch_minor, .strict = strict});
        assert_int_equal(v[i].loads, qs_verdict_loads(one));
        assert_int_equal(v[i].loads, v[i].refused == 0);
        qs_verdict_free(one);
    }
    assert_true(qs_strict_versions_text(v, &b));
    assert_string_equal(b.n ? b.p : "", want);
    qs_buf_free(&b);
}

static void says_where_versions_differ(void **state) {
    (void)state;
    const char scalar[] = HEAD("Net") KEYS KEY("s", "", "float32") "]}";
    const item four[] = {{.key = "s", .ndim = 1, .dim = {4}}, {NULL}}, fits[] = {{.key = "s"}, {NULL}};
    const item list[] = {{.key = "s", .type = "list"}, {NULL}};
    const item dotted[] = {{.key = "s"}, {.key = "s.bar"}, {NULL}};
    assert_versions(scalar, &(fake){fits, NULL}, true, "");
    assert_versions(
        scalar, &(fake){four, NULL}, true,
        "1.7, 1.13 and 2.6 would load it, 2.14 would not; in 1.7, 1.13 and 2.6 it is cut short or "
        "fails in forward");
    assert_versions(scalar, &(fake){list, NULL}, true, "none would load it; 1.7 words it otherwise");
    assert_versions(scalar, &(fake){dotted, NULL}, true,
                    "1.7 and 1.13 would load it, 2.6 and 2.14 would not");
    assert_versions(scalar, &(fake){dotted, NULL}, false, "");
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 100,000 modules of two keys; half of the checkpoint's keys are under another name. torch is quadratic here.
 */
static void is_linear(void **state) {
    (void)state;
    enum { N = 100000 };
    qs_buf json = {0};
    big b = {calloc(2 * N, sizeof(qs_str)), 2 * N, {0}};
    char *names = malloc((size_t)2 * N * 48), *p = names;
    qs_manifest *m = NULL;
    qs_verdict *v = NULL;
    qs_err e = QS_ERR_INIT;
    assert_non_null(b.keys);
    assert_non_null(names);
    for (int i = 0; i < N; i++) {
        qs_buf_addf(&json, "%s\"layers.%d.conv.weight\": [8], \"layers.%d.conv.bias\": [8]", i ? ", " : "{",
                    i, i);
        for (int k = 0; k < 2; k++) {
            int n = sprintf(p, "%slayers.%d.conv.%s", i % 2 ? "module." : "", i, k ? "bias" : "weight");
            b.keys[2 * i + k] = (qs_str){p, (size_t)n};
            assert_true(qs_map_put(&b.by_key, b.keys[2 * i + k], (uint32_t)(2 * i + k)));
            p += n;
        }
    }
    qs_buf_addz(&json, "}");
    assert_true(qs_manifest_parse(json.p, json.n, "m", NULL, &m, &e));
    qs_strict_source src = {b.n, big_entry, big_find, no_version, &b};
    double t = seconds();
    assert_true(qs_strict_run(m, &src, &(qs_strict_options){.strict = true}, &v, &e));
    t = seconds() - t;
    assert_int_equal(qs_verdict_count(v), 2 * N);
    if (t > 2) fail_msg("%.2f s for %d keys", t, 2 * N);
    qs_verdict_free(v);
    qs_manifest_close(m);
    qs_buf_free(&json);
    qs_map_free(&b.by_key);
    free(b.keys);
    free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(says_it_in_torchs_order, close_manifest),
        cmocka_unit_test_teardown(knows_which_names_pass, close_manifest),
        cmocka_unit_test_teardown(takes_scalars_as_torch_does, close_manifest),
        cmocka_unit_test_teardown(lists_scale_and_zero_point_twice, close_manifest),
        cmocka_unit_test_teardown(follows_the_versions, close_manifest),
        cmocka_unit_test_teardown(accepts_the_old_convbn, close_manifest),
        cmocka_unit_test_teardown(works_on_a_partial_manifest, close_manifest),
        cmocka_unit_test_teardown(prints_what_python_returns, close_manifest),
        cmocka_unit_test_teardown(says_where_versions_differ, close_manifest),
        cmocka_unit_test_teardown(is_linear, close_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "model/manifest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const qs_limits limits = QS_LIMITS_DEFAULT;

static qs_manifest *parse(const char *json) {
    qs_manifest *m = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_manifest_parse(json, strlen(json), "test.json", &limits, &m, &e)) fail_msg("%s", e.msg);
    return m;
}

static void assert_refused(const char *json, qs_code code, const char *words) {
    qs_manifest *m = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_manifest_parse(json, strlen(json), "test.json", &limits, &m, &e));
    assert_null(m);
    if (e.code != code || !strstr(e.msg, words))
        fail_msg("\"%s\" (%d), wanted \"%s\" (%d)", e.msg, e.code, words, code);
}

static void assert_str(qs_str s, const char *z) {
    if (!qs_str_is(s, z)) fail_msg("\"%.*s\", wanted \"%s\"", QS_FMT(s), z);
}

static qs_str print(const qs_manifest *m, qs_buf *b) {
    assert_true(qs_manifest_print(m, b));
    return qs_buf_str(b);
}

static const char full[] =
    "{\"format\": \"qatscope-manifest\", \"version\": 1, \"model\": \"pkg.Net\", \"torch\": \"1.13.1\",\n"
    " \"modules\": {\"\": {\"class\": \"pkg.Net\", \"version\": 1},\n"
    "  \"a\": {\"class\": \"torch.nn.modules.conv.Conv2d\", \"version\": 1, \"unknown\": {\"x\": [1]}},\n"
    "  \"a.q\": {\"class\": \"my.FQ\", \"base\": \"torch.ao.quantization.fake_quantize.FakeQuantize\", "
    "\"version\": 1,\n"
    "    \"observer\": \"MovingAverageMinMaxObserver\", \"dtype\": \"qint8\", \"qscheme\": "
    "\"per_tensor_symmetric\",\n"
    "    \"quant_min\": -128, \"quant_max\": 127, \"ch_axis\": -1, \"averaging_constant\": 0.01,\n"
    "    \"reduce_range\": false, \"eps\": 1.1920928955078125e-07},\n"
    "  \"b\": {\"class\": \"torch.nn.modules.batchnorm.BatchNorm2d\", \"version\": 2, \"bn_eps\": 0.001},\n"
    "  \"gone\": null, \"x\": {\"class\": \"pkg.X\", \"extra_state\": true, \"same_as\": \"a\", \"own_code\": \"pkg.X.load\",\n   \"qconfig\": true}},\n"
    " \"state_dict\": [{\"key\": \"a.weight\", \"shape\": [16, 3, 3, 3], \"dtype\": \"float32\", \"kind\": "
    "\"parameter\"},\n"
    "  {\"key\": \"a.q.scale\", \"shape\": [1], \"dtype\": \"float32\", \"kind\": \"buffer\"},\n"
    "  {\"key\": \"b.num_batches_tracked\", \"shape\": [], \"dtype\": \"int64\", \"kind\": \"buffer\"},\n"
    "  {\"key\": \"x._extra_state\", \"kind\": \"extra\"}]}";

static void reads_everything(void **state) {
    (void)state;
    qs_manifest *m = parse(full);
    assert_str(qs_manifest_model(m), "pkg.Net");
    assert_str(qs_manifest_torch(m), "1.13.1");
    assert_false(qs_manifest_partial(m));
    assert_int_equal(qs_manifest_module_count(m), 6);
    assert_int_equal(qs_manifest_count(m), 4);
    const qs_module *q = qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("a.q")));
    assert_str(q->class_name, "my.FQ");
    assert_str(q->base, "torch.ao.quantization.fake_quantize.FakeQuantize");
    assert_str(q->attrs.observer, "MovingAverageMinMaxObserver");
    assert_int_equal(q->attrs.quant_min, -128);
    assert_int_equal(q->attrs.ch_axis, -1);
    assert_true(q->attrs.averaging_constant == 0.01 && q->attrs.eps == 0x1p-23 && isnan(q->attrs.bn_eps));
    assert_int_equal(q->attrs.reduce_range, 0);
    assert_int_equal(q->parent, qs_manifest_find_module(m, QS_STR("a")));
    assert_int_equal(q->entry_count, 1);
    assert_str(qs_manifest_entry(m, q->first_entry)->key, "a.q.scale");
    const qs_module *b = qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("b")));
    assert_true(b->attrs.bn_eps == 0.001);
    assert_int_equal(b->attrs.reduce_range, -1);
    assert_true(b->attrs.quant_min == QS_ATTR_ABSENT);
    assert_true(qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("gone")))->none);
    assert_true(qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("x")))->extra_state);
    assert_str(qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("x")))->same_as, "a");
    assert_str(qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("x")))->own_code, "pkg.X.load");
    assert_true(qs_manifest_module(m, qs_manifest_find_module(m, QS_STR("x")))->qconfig);
    const qs_expected *w = qs_manifest_entry(m, qs_manifest_find(m, QS_STR("a.weight")));
    assert_true(w->shape_known && w->shape.ndim == 4 && w->shape.dim[0] == 16 && w->dtype == QS_FLOAT32);
    assert_int_equal(w->kind, QS_KIND_PARAMETER);
    const qs_expected *n = qs_manifest_entry(m, qs_manifest_find(m, QS_STR("b.num_batches_tracked")));
    assert_true(n->shape_known && n->shape.ndim == 0 && n->dtype == QS_INT64);
    assert_int_equal(qs_manifest_find(m, QS_STR("a")), UINT32_MAX);
    qs_manifest_close(m);
}

static void prints_what_it_parses(void **state) {
    (void)state;
    static const char *const texts[] = {
        full,
        "{\"a.b.c\": [1, 2], \"a.d\": [], \"a.b.e\": {\"shape\": [0], \"dtype\": \"torch.float16\"}, "
        "\"top\": null}",
        "{\"state_dict\": []}",
        "{\"state_dict\": {\"w\": [1]}, \"modules\": [{\"name\": \"\"}, {\"name\": \"a.b\", \"class\": "
        "\"C\"}]}",
        "{\"sn\\u00f6\\n\\u0001w.\\\"x\": [3], \"..\": [1], \".a\": [1], \"a.\": [2], \"\": [7]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        qs_buf first = {0}, second = {0};
        qs_manifest *m = parse(texts[i]);
        qs_str once = print(m, &first);
        qs_manifest *again = parse(first.p);
        qs_str twice = print(again, &second);
        if (!qs_str_eq(once, twice)) fail_msg("%s\nagain: %s", first.p, second.p);
        assert_int_equal(qs_manifest_module_count(m), qs_manifest_module_count(again));
        assert_int_equal(qs_manifest_partial(m), qs_manifest_partial(again));
        qs_manifest_close(m);
        qs_manifest_close(again);
        qs_buf_free(&first);
        qs_buf_free(&second);
    }
}

static void derives_the_tree_of_plain_keys(void **state) {
    (void)state;
    qs_manifest *m =
        parse("{\"a.b.w\": [2], \"a.c\": [1], \"a.b.x\": [3], \"a.d\": [4], \"e\": {\"dtype\": \"half\"}}");
    assert_true(qs_manifest_partial(m));
    assert_int_equal(qs_manifest_module_count(m), 3);
    const qs_module *top = qs_manifest_module(m, 0), *a = qs_manifest_module(m, 1),
                    *b = qs_manifest_module(m, 2);
    assert_str(a->name, "a");
    assert_str(b->name, "a.b");
    assert_int_equal(top->first_child, 1);
    assert_int_equal(a->first_child, 2);
    assert_int_equal(a->next_sibling, QS_MODULE_NONE);
    assert_int_equal(a->entry_count, 2); /* grouped, though "a.b.x" stood between them */
    assert_str(qs_manifest_entry(m, a->first_entry + 1)->key, "a.d");
    assert_str(qs_manifest_entry(m, b->first_entry + 1)->key, "a.b.x");
    assert_int_equal(qs_manifest_find(m, QS_STR("a.d")), a->first_entry + 1);
    assert_false(qs_manifest_entry(m, qs_manifest_find(m, QS_STR("e")))->shape_known);
    qs_manifest_close(m);
}

/* In any order, what looks behind the last one finds what a look-up finds. */
static void finds_the_next_one_first(void **state) {
    (void)state;
    qs_manifest *m = parse("{\"a.w\": [1], \"a.b\": [1], \"b.w\": [1], \"c\": [1]}");
    static const char *const asked[] = {"a.w", "a.b", "a.x", "b.w", "c", "c", "a.b", "", "a.w", "c"};
    uint32_t next = 0, past = UINT32_MAX;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        uint32_t at = qs_manifest_find(m, qs_str_of(asked[i]));
        assert_int_equal(qs_manifest_find_next(m, qs_str_of(asked[i]), &next), at);
        if (at != UINT32_MAX) assert_int_equal(next, at + 1);
    }
    assert_int_equal(qs_manifest_find_next(m, QS_STR("c"), &past), qs_manifest_find(m, QS_STR("c")));
    qs_manifest_close(m);
}

static void says_what_is_wrong(void **state) {
    (void)state;
    assert_refused("{\"a\": [1],\n \"b\": [1,]}", QS_E_INPUT, "line 2, column 10");
    assert_refused("{\"a\": [1]} x", QS_E_INPUT, "line 1, column 12");
    assert_refused("{\"a\": [1]", QS_E_INPUT, "cut short");
    assert_refused("", QS_E_INPUT, "cut short");
    assert_refused("{\"a\\u0000b\": [1]}", QS_E_INPUT, "line 1, column 4");
    assert_refused("{\"a\": [1],\n\"b\xeb\": [1]}", QS_E_INPUT, "line 2, column 3");
    assert_refused("[1]", QS_E_INPUT, "object at the top");
    assert_refused("{\"a\": [1], \"a\": [1]}", QS_E_INPUT, "\"a\" is there twice");
    assert_refused("{\"state_dict\": [{\"key\": \"a\"}, {\"key\": \"a\"}]}", QS_E_INPUT,
                   "\"a\" is there twice");
    assert_refused("{\"state_dict\": [{\"key\": \"a\", \"shape\": [1], \"shape\": [1]}]}", QS_E_INPUT,
                   "\"shape\" is there");
    assert_refused("{\"state_dict\": [], \"modules\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}", QS_E_INPUT,
                   "modules[1] (\"a\"): expected a module that is not listed before");
    assert_refused("{\"format\": \"qatscope-manifest\", \"version\": 2}", QS_E_UNSUPPORTED, "version 2");
    assert_refused("{\"format\": \"qatscope-manifest\", \"state_dict\": []}", QS_E_INPUT,
                   "version: expected 1");
    assert_refused("{\"format\": \"qatscope-manifest\", \"version\": 1}", QS_E_INPUT,
                   "state_dict: expected a list");
    assert_refused("{\"format\": \"other\", \"version\": 1}", QS_E_INPUT, "format: expected");
    assert_refused("{\"state_dict\": [{\"shape\": [1]}]}", QS_E_INPUT, "state_dict[0].key: expected");
    assert_refused("{\"state_dict\": [{\"key\": \"w\", \"shape\": [1, -1]}]}", QS_E_INPUT,
                   "state_dict[0] (\"w\").shape[1]: expected an integer of 0 or more");
    assert_refused("{\"state_dict\": [{\"key\": \"w\", \"shape\": [1.5]}]}", QS_E_INPUT, "shape[0]");
    assert_refused("{\"state_dict\": [{\"key\": \"w\", \"shape\": [1e300]}]}", QS_E_INPUT, "shape[0]");
    assert_refused("{\"state_dict\": [{\"key\": \"w\", \"dtype\": \"f33\"}]}", QS_E_INPUT, "dtype: expected");
    assert_refused("{\"state_dict\": [{\"key\": \"w\", \"kind\": \"thing\"}]}", QS_E_INPUT, "kind: expected");
    assert_refused("{\"state_dict\": [], \"modules\": {\"a.b\": {\"version\": \"1\"}}}", QS_E_INPUT,
                   "modules[\"a.b\"].version: expected an integer");
    assert_refused("{\"state_dict\": [], \"modules\": {\"a\": {\"eps\": 1e999}}}", QS_E_INPUT,
                   "eps: expected a finite");
    assert_refused("{\"state_dict\": [], \"modules\": {\"a\": 7}}", QS_E_INPUT,
                   "modules[\"a\"]: expected an object");
    assert_refused("{\"state_dict\": [], \"modules\": 7}", QS_E_INPUT, "modules: expected");
    assert_refused("{\"a\": 7}", QS_E_INPUT, "a: expected a shape");
}

static void refuses_what_exceeds_the_limits(void **state) {
    (void)state;
    qs_limits small = limits;
    qs_manifest *m = NULL;
    qs_err e = QS_ERR_INIT;
    small.json_bytes = 10;
    assert_false(qs_manifest_parse("{\"a\": [1, 2]}", 13, "x", &small, &m, &e));
    assert_int_equal(e.code, QS_E_LIMIT);
    char deep[4096], *p = deep;
    p += sprintf(p, "{\"");
    for (int i = 0; i < 1500; i++) p += sprintf(p, "a.");
    sprintf(p, "w\": [1]}");
    assert_refused(deep, QS_E_LIMIT, "--limit nesting=");
    char dims[1024] = "{\"w\": [1";
    for (int i = 0; i < 100; i++) strcat(dims, ",1");
    strcat(dims, "]}");
    assert_refused(dims, QS_E_INPUT, "fewer dimensions");
}

static void names_the_file_that_fails(void **state) {
    (void)state;
    qs_manifest *m = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_manifest_open("no/such/file.json", NULL, &m, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    assert_non_null(strstr(e.msg, "no/such/file.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything),
        cmocka_unit_test(prints_what_it_parses),
        cmocka_unit_test(derives_the_tree_of_plain_keys),
        cmocka_unit_test(finds_the_next_one_first),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(refuses_what_exceeds_the_limits),
        cmocka_unit_test(names_the_file_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

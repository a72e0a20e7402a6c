#include "base/file.h"
#include "demo.h"
#include "demo_net.h"
#include "model/manifest.h"
#include "model/module_class.h"
#include "model/stats.h"

/* Change these only together with the net or its values. */
#define EXPECTED_FLOAT 0x5b529e45bf3caa9ull
#define EXPECTED_QAT   0xe1f835a02e19972aull
#define VALUES_FLOAT   1899462662u
#define VALUES_QAT     32260176u

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* FNV-1a over everything the structure says, so that an unwanted change shows where no truth file is at hand.
 */
static uint64_t fold(uint64_t h, const void *p, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)p)[i]) * 0x100000001b3ull;
    return h;
}

static uint64_t structure_hash(const demo_net *n) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n->modules.n; i++) {
        h = fold(h, n->modules.v[i].name.p, n->modules.v[i].name.n + 1);
        h = fold(h, n->modules.v[i].class_name, strlen(n->modules.v[i].class_name) + 1);
    }
    for (size_t i = 0; i < n->entries.n; i++) {
        const demo_entry *en = &n->entries.v[i];
        h = fold(h, en->key.p, en->key.n + 1);
        h = fold(h, en->dim, en->ndim * sizeof *en->dim);
        h = fold(h, qs_dtype_get(en->dtype)->name, strlen(qs_dtype_get(en->dtype)->name) + 1);
    }
    return h;
}

static void test_structure_is_as_recorded(void **state) {
    (void)state;
    demo_net plain, qat;
    assert_true(demo_net_build(&plain, false) && demo_net_build(&qat, true));
    assert_int_equal(plain.entries.n, 355);
    assert_int_equal(qat.entries.n, 1783);
    assert_int_equal(plain.modules.n, 281); /* 57 names of one activation */
    assert_int_equal(qat.modules.n, 1290);
    assert_int_equal(plain.convs.n, 64);
    assert_int_equal(qat.convs.n, 64);
    assert_int_equal(qat.quantizers.n, 204);
    assert_true(structure_hash(&plain) == EXPECTED_FLOAT);
    assert_true(structure_hash(&qat) == EXPECTED_QAT);
    demo_net_free(&plain);
    demo_net_free(&qat);
}

/* ---- against what was read off the live models ---- */

static cJSON *read_truth(const char *name) {
    const char *tests = getenv("QATSCOPE_TESTS");
    char path[4096], *text;
    size_t n;
    qs_err e = QS_ERR_INIT;
    snprintf(path, sizeof path, "%s/../../shared/real/%s.truth.json", tests ? tests : ".", name);
    if (!qs_file_slurp(path, 16 << 20, &text, &n, &e)) return NULL;
    cJSON *json = cJSON_Parse(text);
    free(text);
    return json;
}

static const char *field(const cJSON *object, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(object, name));
}

static void compare_modules(const demo_net *n, const cJSON *list) {
    const cJSON *want = list->child;
    for (size_t i = 0; i < n->modules.n; i++) {
        const demo_module *m = &n->modules.v[i];
        if (m->repeated) continue;
        assert_non_null(want);
        assert_string_equal(m->name.p, field(want, "name"));
        assert_string_equal(m->class_name, field(want, "class"));
        assert_int_equal(qs_module_class_version(qs_str_of(m->class_name)),
                         cJSON_GetObjectItem(want, "version")->valueint);
        want = want->next;
    }
    assert_null(want);
}

static void compare_entries(const demo_net *n, const cJSON *list) {
    const cJSON *want = list->child;
    for (size_t i = 0; i < n->entries.n; i++, want = want->next) {
        const demo_entry *en = &n->entries.v[i];
        assert_non_null(want);
        assert_string_equal(en->key.p, field(want, "key"));
        assert_string_equal(qs_dtype_get(en->dtype)->name, field(want, "dtype"));
        assert_int_equal(en->parameter, strcmp(field(want, "kind"), "parameter") == 0);
        const cJSON *shape = cJSON_GetObjectItem(want, "shape");
        assert_int_equal(en->ndim, cJSON_GetArraySize(shape));
        for (uint32_t k = 0; k < en->ndim; k++)
            assert_int_equal(en->dim[k], cJSON_GetArrayItem(shape, (int)k)->valueint);
    }
    assert_null(want);
}

static void compare_truth(const char *name, bool qat) {
    cJSON *truth = read_truth(name);
    if (!truth) {
        print_message("SKIP %s.truth.json is not here\n", name);
        skip();
    }
    demo_net n;
    assert_true(demo_net_build(&n, qat));
    compare_modules(&n, cJSON_GetObjectItem(truth, "modules"));
    compare_entries(&n, cJSON_GetObjectItem(truth, "state_dict"));
    demo_net_free(&n);
    cJSON_Delete(truth);
}

static void test_float_net_equals_the_real_one(void **state) {
    (void)state;
    compare_truth("float", false);
}

static void test_qat_net_equals_the_real_one(void **state) {
    (void)state;
    compare_truth("qat", true);
}

/* ---- the files ---- */

static char folder[64];
static qs_demo_paths paths;

static int write_demo(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/qatscope-demo-XXXXXX");
    qs_err e = QS_ERR_INIT;
    if (!mkdtemp(folder)) return -1;
    return qs_demo_write(folder, &paths, &e) ? 0 : -1;
}

static int remove_demo(void **state) {
    (void)state;
    unlink(paths.a);
    unlink(paths.b);
    unlink(paths.manifest);
    return rmdir(folder);
}

static qs_checkpoint *open_one(const char *path) {
    qs_checkpoint *c = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_checkpoint_open(path, NULL, &c, &e)) fail_msg("%s", e.msg);
    return c;
}

static void test_both_checkpoints_open(void **state) {
    (void)state;
    qs_checkpoint *a = open_one(paths.a), *b = open_one(paths.b);
    assert_int_equal(qs_checkpoint_count(a), 355);
    assert_int_equal(qs_checkpoint_count(b), 1783);
    assert_true(qs_str_is(qs_checkpoint_chosen_root(a)->path, "model"));
    assert_int_equal(qs_checkpoint_metadata_count(a), 281);
    assert_int_equal(qs_checkpoint_version(b, QS_STR("model.0.conv.module.bn")), 2);
    for (uint32_t i = 0; i < qs_checkpoint_count(b); i++) {
        const qs_tensor *t = qs_entry_tensor(b, qs_checkpoint_entry(b, i));
        assert_non_null(t);
        assert_null(t->bad);
    }
    qs_checkpoint_close(a);
    qs_checkpoint_close(b);
}

static void test_the_manifest_is_the_qat_nets(void **state) {
    (void)state;
    qs_manifest *m = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_manifest_open(paths.manifest, &QS_LIMITS_DEFAULT, &m, &e)) fail_msg("%s", e.msg);
    qs_checkpoint *b = open_one(paths.b);
    assert_int_equal(qs_manifest_count(m), 1783);
    assert_int_equal(qs_manifest_module_count(m), 1290);
    assert_false(qs_manifest_partial(m));
    for (uint32_t i = 0; i < 1783; i++) {
        const qs_expected *want = qs_manifest_entry(m, i);
        const qs_entry *en = qs_checkpoint_entry(b, i);
        assert_true(qs_str_eq(want->key, en->key));
        assert_true(qs_shape_eq(want->shape, qs_entry_tensor(b, en)->shape));
        assert_int_equal(want->dtype, qs_entry_tensor(b, en)->dtype);
    }
    qs_checkpoint_close(b);
    qs_manifest_close(m);
}

static uint32_t crc_of(const char *path) {
    qs_checkpoint *c = open_one(path);
    qs_err e = QS_ERR_INIT;
    uint32_t all = 0, crc;
    for (uint32_t i = 0; i < qs_checkpoint_count(c); i++) {
        const qs_tensor *t = qs_entry_tensor(c, qs_checkpoint_entry(c, i));
        assert_true(qs_tensor_crc32(c, t, &crc, NULL, &e));
        all = all * 31 + crc;
    }
    qs_checkpoint_close(c);
    return all;
}

/* The same values on every machine and in every build. */
static void test_values_are_as_recorded(void **state) {
    (void)state;
    assert_int_equal(crc_of(paths.a), VALUES_FLOAT);
    assert_int_equal(crc_of(paths.b), VALUES_QAT);
}

static void test_writing_twice_gives_the_same_bytes(void **state) {
    (void)state;
    char *one, *two;
    size_t n, m;
    qs_err e = QS_ERR_INIT;
    qs_demo_paths again;
    assert_true(qs_file_slurp(paths.b, 64 << 20, &one, &n, &e));
    assert_true(qs_demo_write(folder, &again, &e));
    assert_true(qs_file_slurp(again.b, 64 << 20, &two, &m, &e));
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    free(one);
    free(two);
}

static void test_a_folder_that_cannot_be_made(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_demo_paths none;
    assert_false(qs_demo_write("/proc/none/here", &none, &e));
    assert_int_equal(e.code, QS_E_IO);
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_demo_write("", &none, &e));
    assert_int_equal(e.code, QS_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure_is_as_recorded),
        cmocka_unit_test(test_float_net_equals_the_real_one),
        cmocka_unit_test(test_qat_net_equals_the_real_one),
        cmocka_unit_test(test_both_checkpoints_open),
        cmocka_unit_test(test_the_manifest_is_the_qat_nets),
        cmocka_unit_test(test_values_are_as_recorded),
        cmocka_unit_test(test_writing_twice_gives_the_same_bytes),
        cmocka_unit_test(test_a_folder_that_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, write_demo, remove_demo);
}

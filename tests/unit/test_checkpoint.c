#include "ascii_ckpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static qs_checkpoint *must_open(const char *pickle, const char *root) {
    qs_checkpoint *c = NULL;
    qs_err e = QS_ERR_INIT;
    if (!ascii_open(pickle, root, &c, &e)) fail_msg("%s", e.msg);
    return c;
}

static void must_fail(const char *pickle, const char *root, qs_code code, const char *says) {
    qs_checkpoint *c = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(ascii_open(pickle, root, &c, &e));
    assert_null(c);
    if (e.code != code || !strstr(e.msg, says))
        fail_msg("code %d, \"%s\" does not say \"%s\"", e.code, e.msg, says);
}

static void assert_root(const char *pickle, const char *root, const char *path, uint32_t entries) {
    qs_checkpoint *c = must_open(pickle, root);
    qs_str got = qs_checkpoint_chosen_root(c)->path;
    if (!qs_str_is(got, path)) fail_msg("root is \"%.*s\", not \"%s\"", QS_FMT(got), path);
    assert_int_equal(qs_checkpoint_count(c), entries);
    qs_checkpoint_close(c);
}

static void assert_keys(const qs_checkpoint *c, const char *const *keys, uint32_t n) {
    assert_int_equal(qs_checkpoint_count(c), n);
    for (uint32_t i = 0; i < n; i++) {
        qs_str key = qs_checkpoint_entry(c, i)->key;
        if (!qs_str_is(key, keys[i])) fail_msg("key %u is \"%.*s\", not \"%s\"", i, QS_FMT(key), keys[i]);
        assert_int_equal(qs_checkpoint_find(c, key), i);
    }
}

/* ---- which dict is the state dict ---- */

#define SD(key) "}V" key "\n" T1 "s"

static void test_root_is_chosen(void **state) {
    (void)state;
    assert_root(SD("w") ".", NULL, "", 1);
    assert_root("}Vmodel\n" SD("w") "sVepoch\nI3\ns.", NULL, "model", 1);
    assert_root("}Vmodel\n" SD("w") "sVema\n" SD("v") "s.", NULL, "ema", 1);
    assert_root("}Vmodel\n" SD("w") "sVema\nNs.", NULL, "model", 1);
    assert_root("}Vema\n}Vmodule\n" SD("w") "ssVmodel\n" SD("v") "s.", NULL, "ema.module", 1);
    assert_root("}Vweird\n}Vinner\n" SD("w") "ss.", NULL, "weird.inner", 1);
    assert_root("](" SD("w") SD("v") "e.", NULL, "0", 1); /* a list of two */
    /* Nothing by a known name: most tensors win over the loss beside it. */
    assert_root("}Vloss\n" T1 "sVmine\n}(Va\n" T1 "Vb\n" T1 "us.", NULL, "mine", 2);
    /* An optimizer is no model, whatever it holds. */
    assert_root("}Voptimizer\n}(Va\n" T1 "Vb\n" T1 "usVmine\n" SD("w") "s.", NULL, "mine", 1);
}

static void test_root_by_name(void **state) {
    (void)state;
    static const char two[] = "}Vmodel\n" SD("w") "sVema\n}(Va\n" T1 "Vb\n" T1 "us.";
    assert_root(two, "model", "model", 1);
    assert_root(two, "ema", "ema", 2);
    must_fail(two, "net", QS_E_USAGE, "choose from: model, ema");
    must_fail(two, "model.w", QS_E_USAGE, "choose from: model, ema");
    /* Keys with dots, and lists beyond what is searched by itself. */
    assert_root("}Va.b\n}Vc\n" SD("w") "ss.", "a.b.c", "a.b.c", 1);
    assert_root("}Voptimizer\n}Vstate\n" SD("w") "ssVmodel\n" SD("w") "s.", "optimizer.state",
                "optimizer.state", 1);
    assert_root("}Vl\n](" SD("w") SD("v") "es.", "l.1", "l.1", 1);
    must_fail("}Vl\n](" SD("w") "es.", "l.7", QS_E_USAGE, "choose from: l.0");
    must_fail("}Vl\n](" SD("w") "es.", ".", QS_E_USAGE, "choose from");
}

static void test_no_state_dict_says_what_there_is(void **state) {
    (void)state;
    must_fail("}Vepoch\nI3\nsVargs\n}Vlr\nF0.1\nss.", NULL, QS_E_INPUT, "'epoch': 3");
    must_fail("I7\n.", NULL, QS_E_INPUT, "7");
    must_fail("}.", NULL, QS_E_INPUT, "{}");
    must_fail(T1 ".", NULL, QS_E_INPUT, "_rebuild_tensor_v2");
    must_fail("}I0\n" T1 "s.", NULL, QS_E_INPUT, "no state dict"); /* keys must be names */
    must_fail("}V\x1b[2Jx\nI3\ns.", NULL, QS_E_INPUT, "\\x1b[2Jx");
}

static void test_a_dict_that_holds_itself(void **state) {
    (void)state;
    assert_root("}p0\nVself\ng0\nsVw\n" T1 "s.", NULL, "", 2);
    must_fail("}p0\nVself\ng0\ns.", NULL, QS_E_INPUT, "no state dict");
    assert_root("}p0\nVself\ng0\nsVw\n" T1 "s.", "self.self.self.self.self.self.self",
                "self.self.self.self.self.self.self", 2);
}

/* ---- entries ---- */

static void test_entries_keep_their_order_and_the_last_value(void **state) {
    (void)state;
    qs_checkpoint *c = must_open("}(Vb\n" T1 "Va\nI5\nVc\n" T1 "Vb\nI6\nu.", NULL);
    assert_keys(c, (const char *[]){"b", "a", "c"}, 3);
    assert_int_equal(qs_node_int(qs_checkpoint_graph(c), qs_checkpoint_entry(c, 0)->node), 6);
    assert_null(qs_entry_tensor(c, qs_checkpoint_entry(c, 0)));
    assert_non_null(qs_entry_tensor(c, qs_checkpoint_entry(c, 2)));
    assert_int_equal(qs_checkpoint_find(c, QS_STR("d")), UINT32_MAX);
    qs_checkpoint_close(c);
}

static void test_metadata(void **state) {
    (void)state;
    qs_checkpoint *c = must_open(ODICT "Vbn.weight\n" T1 "s}V_metadata\n" ODICT
                                       "(V\n}Vversion\nI1\nsVbn\n}Vversion\nI2\nsVodd\n}usb.",
                                 NULL);
    assert_true(qs_checkpoint_has_metadata(c));
    assert_int_equal(qs_checkpoint_metadata_count(c), 3);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("")), 1);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("bn")), 2);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("odd")), -1);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("absent")), -1);
    assert_true(qs_checkpoint_metadata_node(c) != QS_NODE_NONE);
    qs_checkpoint_close(c);
    c = must_open(SD("w") ".", NULL);
    assert_false(qs_checkpoint_has_metadata(c));
    qs_checkpoint_close(c);
}

static void test_one_storage_under_two_types(void **state) {
    (void)state;
    must_fail("}Va\n" T1 "sVb\n" TENSOR(STORAGE("IntStorage", "0", "16"), "0", "(I1\nt", "(I1\nt") "s.", NULL,
              QS_E_INPUT, "declared as float32 and as int32");
}

/* ---- modules ---- */

#define MODULE(cls, params, buffers, hidden, children)                                                       \
    "c" cls "\n)\x81}(V_parameters\n}" params "V_buffers\n}" buffers                                         \
    "V_non_persistent_buffers_set\nc__builtin__\nset\n(](" hidden "etRV_modules\n}" children "ub"

static void test_module_without_its_classes(void **state) {
    (void)state;
    qs_checkpoint *c =
        must_open("}Vmodel\n" MODULE(
                      "my.package\nNet", "Vw\n" T1 "sVnothing\nNs", "Vkept\n" T1 "sVhidden\n" T1 "sVnone\nNs",
                      "Vhidden\n",
                      "Vbn\n" MODULE("torch.nn.modules.batchnorm\nBatchNorm2d", "Vweight\n" T1 "s", "", "",
                                     "") "p9\n"
                                         "sVgone\nNsVtwin\ng9\nsVopaque\ncother\nThing\n)\x81s") "s.",
                  NULL);
    const qs_root *r = qs_checkpoint_chosen_root(c);
    assert_int_equal(r->kind, QS_ROOT_MODULE);
    assert_true(qs_str_is(r->class_name, "my.package.Net"));
    assert_keys(c, (const char *[]){"w", "kept", "bn.weight", "twin.weight"}, 4);
    assert_true(qs_checkpoint_entry(c, 0)->is_param);
    assert_false(qs_checkpoint_entry(c, 1)->is_param);
    static const char *const prefixes[] = {"", "bn", "twin", "opaque"};
    assert_int_equal(qs_checkpoint_module_count(c), 4);
    for (uint32_t i = 0; i < 4; i++) assert_true(qs_str_is(qs_checkpoint_module_prefix(c, i), prefixes[i]));
    assert_true(qs_str_is(qs_checkpoint_module_class(c, 3), "other.Thing"));
    assert_int_equal(qs_checkpoint_module_state(c, 3), QS_NODE_NONE);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("twin")), 2);
    assert_int_equal(qs_checkpoint_version(c, QS_STR("")), 1);
    qs_checkpoint_close(c);
    c = must_open("}Vmodel\n" MODULE("a\nNet", "", "", "",
                                     "Vsub\n" MODULE("b\nSub", "Vw\n" T1 "s", "", "", "") "s") "s.",
                  "model.sub");
    assert_keys(c, (const char *[]){"w"}, 1);
    qs_checkpoint_close(c);
}

/* What Python makes of a key that is given twice, in each dict on the way. */
static void test_keys_given_twice(void **state) {
    (void)state;
    qs_checkpoint *c =
        must_open("}Vmodel\n" MODULE("a\nNet", "Vw\n" T1 "sVv\n" T1 "sVw\nNs", "Vb\n" T1 "sVb\n" T1 "s", "",
                                     "Vx\n" MODULE("a\nOld", "Vold\n" T1 "s", "", "", "") //
                                     "sVy\n" MODULE("a\nY", "Vw\n" T1 "s", "", "", "")    //
                                     "sVx\n" MODULE("a\nNew", "Vnew\n" T1 "s", "", "", "") "s") "s.",
                  NULL);
    assert_keys(c, (const char *[]){"v", "b", "x.new", "y.w"}, 4);
    assert_int_equal(qs_checkpoint_module_count(c), 3);
    assert_true(qs_str_is(qs_checkpoint_module_class(c, 1), "a.New"));
    qs_checkpoint_close(c);
    c = must_open("}Vmodel\n" SD("old") "sVx\n" SD("w") "sVmodel\n" SD("new") "s.", NULL);
    assert_keys(c, (const char *[]){"new"}, 1);
    assert_int_equal(qs_checkpoint_root_count(c), 2);
    assert_true(qs_str_is(qs_checkpoint_root(c, 0)->path, "model"));
    qs_checkpoint_close(c);
    c = must_open("}Vmodel\n" SD("old") "sVx\n" SD("w") "sVmodel\nNs.", NULL);
    assert_keys(c, (const char *[]){"w"}, 1);
    assert_int_equal(qs_checkpoint_root_count(c), 1);
    qs_checkpoint_close(c);
}

static void test_module_of_protocol_0_and_with_slots(void **state) {
    (void)state;
    qs_checkpoint *c = must_open("ccopy_reg\n_reconstructor\n(ca.b\nNet\nc__builtin__\nobject\nNtR"
                                 "((V_parameters\n}Vw\n" T1 "sV_modules\n}V_buffers\n}dNtb.",
                                 NULL);
    assert_true(qs_str_is(qs_checkpoint_chosen_root(c)->class_name, "a.b.Net"));
    assert_keys(c, (const char *[]){"w"}, 1);
    qs_checkpoint_close(c);
}

static void test_modules_without_end(void **state) {
    (void)state;
    must_fail("cm\nA\n)\x81p0\n}(V_parameters\n}V_buffers\n}V_modules\n}Vself\ng0\nsub.", NULL, QS_E_LIMIT,
              "contain each other");
    /* Every level holds the level below twice: 2^60 modules in some hundred bytes a level. */
    qs_buf b = {0};
    qs_buf_addz(&b, "cm\nA\n)\x81p0\n}(V_parameters\n}Vw\n" T1 "sV_buffers\n}V_modules\n}ub0");
    for (int i = 0; i < 60; i++)
        qs_buf_addf(&b, "cm\nA\n)\x81p%d\n}(V_parameters\n}V_buffers\n}V_modules\n}(Vl\ng%d\nVr\ng%d\nuub%s",
                    i + 1, i, i, i < 59 ? "0" : ".");
    must_fail(b.p, NULL, QS_E_INPUT, "contain each other");
    qs_buf_free(&b);
}

/* ---- files ---- */

static void test_archives_without_a_pickle(void **state) {
    (void)state;
    char path[64];
    int fd = ascii_write(&(ascii_record){"readme", "hello", 5}, 1, path);
    qs_checkpoint *c;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_checkpoint_open(path, NULL, &c, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    assert_non_null(strstr(e.msg, "data.pkl"));
    close(fd);
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_checkpoint_open("/no/such/file.pt", NULL, &c, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    assert_non_null(strstr(e.msg, "/no/such/file.pt"));
}

/* torch swaps by the type of the storage; an untyped one stays as it is. */
static void test_big_endian(void **state) {
    (void)state;
    static const unsigned char complex[8] = {0x3f, 0x80, 0, 0, 0x40, 0, 0, 0};
    static const unsigned char numbers[16] = {0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4};
    const ascii_record more[] = {{"byteorder", "big", 3}, {"data/1", complex, 8}, {"data/2", numbers, 16}};
    static const char pickle[] =
        "}Vc\n" TENSOR(STORAGE("ComplexFloatStorage", "1", "1"), "0", "(I1\nt", "(I1\nt") "sVn\n" TENSOR(
            STORAGE("LongStorage", "2", "2"), "0", "(I2\nt", "(I1\nt") "s.";
    qs_checkpoint *c;
    qs_err e = QS_ERR_INIT;
    assert_true(ascii_open_with(pickle, sizeof pickle - 1, more, 3, NULL, &c, &e));
    float z[2];
    int64_t n[2];
    assert_true(qs_tensor_read(c, qs_checkpoint_tensor(c, 0), 0, 1, z, &e));
    assert_true(z[0] == 1 && z[1] == 2);
    assert_true(qs_tensor_read(c, qs_checkpoint_tensor(c, 1), 0, 2, n, &e));
    assert_true(n[0] == 0x102 && n[1] == 0x304);
    unsigned char whole[16], part[16];
    memcpy(whole, n, sizeof n);
    for (size_t from = 0; from < 16; from++) { /* any piece, from any byte */
        for (size_t len = 0; from + len <= 16; len++) {
            assert_true(qs_storage_read(c, 1, from, part, len, &e));
            assert_memory_equal(part, whole + from, len);
        }
    }
    qs_checkpoint_close(c);
}

/* A million entries is what the explorer must stand; a tenth of it here: linear, and below 1 KiB an entry. */
static void test_many_entries(void **state) {
    (void)state;
    enum { N = 100000 };
    qs_buf b = {0};
    qs_buf_addz(&b, "}(");
    for (int i = 0; i < N; i++) qs_buf_addf(&b, "Vlayers.%d.weight\n%s", i, T1);
    qs_buf_addz(&b, "u.");
    qs_checkpoint *c = must_open(b.p, NULL);
    assert_int_equal(qs_checkpoint_count(c), N);
    assert_int_equal(qs_checkpoint_find(c, QS_STR("layers.99999.weight")), N - 1);
    assert_int_equal(qs_checkpoint_storage_count(c), 1);
    qs_checkpoint_close(c);
    qs_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_is_chosen),
        cmocka_unit_test(test_root_by_name),
        cmocka_unit_test(test_no_state_dict_says_what_there_is),
        cmocka_unit_test(test_a_dict_that_holds_itself),
        cmocka_unit_test(test_entries_keep_their_order_and_the_last_value),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_one_storage_under_two_types),
        cmocka_unit_test(test_module_without_its_classes),
        cmocka_unit_test(test_keys_given_twice),
        cmocka_unit_test(test_module_of_protocol_0_and_with_slots),
        cmocka_unit_test(test_modules_without_end),
        cmocka_unit_test(test_archives_without_a_pickle),
        cmocka_unit_test(test_big_endian),
        cmocka_unit_test(test_many_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

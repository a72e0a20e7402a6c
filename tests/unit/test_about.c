/* What is said of a file. */
#include "ascii_ckpt.h"
#include "model/about.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *fact(const qs_fact *f, size_t n, const char *label) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].label, label) == 0) return f[i].text;
    return "";
}

static void test_a_training_run(void **state) {
    (void)state;
    const char *tests = getenv("QATSCOPE_TESTS");
    char path[1024];
    qs_checkpoint *c = NULL;
    qs_fact f[QS_FACTS_MAX];
    qs_err e = QS_ERR_INIT;
    snprintf(path, sizeof path, "%s/fixtures/ui/train.pt", tests ? tests : "tests");
    if (!qs_checkpoint_open(path, NULL, &c, &e)) fail_msg("%s", e.msg);
    size_t n = qs_about_checkpoint(c, f);
    assert_true(strstr(fact(f, n, "format"), "torch zip, ") != NULL);
    assert_string_equal(fact(f, n, "state dict"), "ema");
    assert_string_equal(fact(f, n, "others"), "model (15 tensors)");
    assert_true(strstr(fact(f, n, "entries"), "13, ") == fact(f, n, "entries"));
    assert_true(strstr(fact(f, n, "entries"), "1 bfloat16") != NULL);
    assert_string_equal(fact(f, n, "devices"), "");
    assert_string_equal(fact(f, n, "prefix"), "");
    qs_checkpoint_close(c);
}

static void test_a_prefix_and_a_device(void **state) {
    (void)state;
    static const char pickle[] = "}Vmodule.w\nctorch._utils\n_rebuild_tensor_v2\n(("
                                 "Vstorage\nctorch\nFloatStorage\nVv\nVcuda:1\nI1\ntQI0\n"
                                 "(I1\nt(I1\ntI00\n" ODICT "tRs.";
    float v = 1;
    ascii_record more = {"data/v", &v, sizeof v};
    qs_checkpoint *c;
    qs_fact f[QS_FACTS_MAX];
    qs_err e = QS_ERR_INIT;
    if (!ascii_open_with(pickle, sizeof pickle - 1, &more, 1, NULL, &c, &e)) fail_msg("%s", e.msg);
    size_t n = qs_about_checkpoint(c, f);
    assert_true(strstr(fact(f, n, "prefix"), "DistributedDataParallel") != NULL);
    assert_true(strstr(fact(f, n, "devices"), "1 of them say cuda:1") != NULL);
    assert_true(strstr(fact(f, n, "_metadata"), "none") != NULL);
    qs_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_training_run),
        cmocka_unit_test(test_a_prefix_and_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

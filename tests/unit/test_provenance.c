#include "ascii_ckpt.h"
#include "model/provenance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ONE                                                                                                  \
    "ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nVv\nVcpu\nI1\ntQI0\n(I1\nt("       \
    "I1\ntI00\n" ODICT "tR"

/* Whether a file of that pickle has a fact of that label that contains `text`. */
static bool tells(const char *pickle, const char *label, const char *text) {
    qs_checkpoint *c;
    qs_provenance *p;
    qs_err e = QS_ERR_INIT;
    float v = 1;
    ascii_record more = {"data/v", &v, sizeof v};
    bool found = false;
    if (!ascii_open_with(pickle, strlen(pickle), &more, 1, NULL, &c, &e)) fail_msg("%s", e.msg);
    assert_true(qs_provenance_new(c, &p, &e));
    for (size_t i = 0; i < p->facts.n; i++)
        found = found || (strcmp(p->facts.v[i].label, label) == 0 && strstr(p->facts.v[i].text, text));
    qs_provenance_free(p);
    qs_checkpoint_close(c);
    return found;
}

static void test_wrappers(void **state) {
    (void)state;
    assert_true(tells("}Vmodule.a\n" ONE "sVmodule.b\n" ONE "s.", "wrapper", "DataParallel"));
    assert_false(tells("}Vmodule.a\n" ONE "sVb\n" ONE "s.", "wrapper", "DataParallel"));
    assert_true(tells("}V_orig_mod.a\n" ONE "s.", "wrapper", "torch.compile"));
    assert_true(tells("}Va._fsdp_wrapped_module.b\n" ONE "s.", "wrapper", "FSDP"));
    assert_true(tells("}Va.b\n" ONE "sVa..c._orig_mod.d.e\n" ONE "s.", "wrapper", "torch.compile"));
    assert_false(tells("}Va._orig_mod\n" ONE "sV._orig_mode.a\n" ONE "s.", "wrapper", "torch.compile"));
    assert_true(tells("}Vema\n}Va\n" ONE "ss.", "wrapper", "average"));
    assert_true(tells("}Va\n" ONE "sVn_averaged\n" ONE "s.", "wrapper", "AveragedModel"));
}

static void test_top(void **state) {
    (void)state;
    assert_true(tells("}Vsource\nVsparseml\nsVmodel\n}Va\n" ONE "ss.", "framework", "sparseml (source)"));
    assert_true(tells("}Vdate\nV2024-05-01\nsVmodel\n}Va\n" ONE "ss.", "date", "2024-05-01"));
    assert_true(tells("}Vpytorch-lightning_version\nV2.1.0\nsVstate_dict\n}Va\n" ONE "ss.", "framework",
                      "PyTorch Lightning 2.1.0"));
    assert_false(tells("}Vdate\n" ONE "sVmodel\n}Va\n" ONE "ss.", "date", "")); /* a tensor is no date */
    assert_true(tells("}Vdate\nVa\\u001b[31mb\nsVmodel\n}Va\n" ONE "ss.", "date", "\\x1b"));
}

static void test_range(void **state) {
    (void)state;
    char text[40];
    const struct {
        int from, to;
        const char *text;
    } cases[] = {{108, 200, "1.8 to 2.0"},
                 {207, 0, "2.7 or newer"},
                 {0, 112, "1.12 or older"},
                 {113, 113, "1.13"},
                 {0, 0, "unknown"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_provenance p = {.torch_from = cases[i].from, .torch_to = cases[i].to};
        qs_provenance_range(&p, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wrappers), cmocka_unit_test(test_top),
                                       cmocka_unit_test(test_range)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

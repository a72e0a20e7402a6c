/* Every key of the demo has an explanation of its own; so has every key of the checkpoints in the folder that
 * QATSCOPE_REAL names, where there is one. The count of keys without is 0. */
#include "demo.h"
#include "session.h"
#include "teach/explain.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void check_file(const char *path, uint32_t at_least) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    if (!s || !qs_session_open_a(s, path, &e) || !qs_session_refresh(s, &e)) fail_msg("%s: %s", path, e.msg);
    const qs_compare *c = qs_session_compare(s);
    uint32_t without = 0;
    for (uint32_t i = 0; i < qs_compare_rows(c); i++) {
        const qs_row *row = qs_compare_row(c, i);
        qs_quant_key k = {.family = row->family, .role = row->role};
        const qs_explanation *x = qs_explain(row->family ? &k : NULL, row->key);
        bool own = !qs_explain_is_fallback(x) && strcmp(x->id, "bare-scale") != 0;
        if (row->family && !strstr(x->families, qs_family_label(row->family))) own = false;
        if (!own) print_message("%.*s is explained as %s\n", QS_FMT(row->key), x->id);
        without += !own;
    }
    print_message("%s: %u keys, %u without an explanation\n", path, qs_compare_rows(c), without);
    assert_int_equal(without, 0);
    assert_true(qs_compare_rows(c) >= at_least);
    qs_session_free(s);
}

static void the_demo(void **state) {
    (void)state;
    char dir[] = "/tmp/qatscope-explain-XXXXXX";
    static qs_demo_paths demo;
    qs_err e = QS_ERR_INIT;
    assert_non_null(mkdtemp(dir));
    if (!qs_demo_write(dir, &demo, &e)) fail_msg("%s", e.msg);
    check_file(demo.a, 355);
    check_file(demo.b, 1783);
    unlink(demo.a);
    unlink(demo.b);
    unlink(demo.manifest);
    rmdir(dir);
}

static void real_files(void **state) {
    (void)state;
    const char *dir = getenv("QATSCOPE_REAL");
    DIR *d = dir ? opendir(dir) : NULL;
    if (!d) skip();
    for (struct dirent *f; (f = readdir(d));) {
        char path[4096];
        size_t n = strlen(f->d_name);
        if (n < 4 || strcmp(f->d_name + n - 3, ".pt") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        check_file(path, 1);
    }
    closedir(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_demo), cmocka_unit_test(real_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

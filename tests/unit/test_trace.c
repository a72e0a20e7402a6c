/* The strict load step by step: nothing of the verdict is lost, and the order is the model's. */
#include "demo.h"
#include "session.h"
#include "teach/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static qs_demo_paths demo;

static int set_up(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    snprintf(dir, sizeof dir, "/tmp/qatscope-trace-XXXXXX");
    return mkdtemp(dir) && qs_demo_write(dir, &demo, &e) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    unlink(demo.a);
    unlink(demo.b);
    unlink(demo.manifest);
    return rmdir(dir);
}

static qs_session *open_session(const char *a, const char *m) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    if (!s || !qs_session_open_a(s, a, &e) || (m && !qs_session_open_manifest(s, m, &e)) ||
        !qs_session_refresh(s, &e))
        fail_msg("%s", e.msg);
    return s;
}

static qs_trace *trace_of(const qs_session *s) {
    qs_trace *t = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_trace_make(qs_session_resolution(s), qs_session_verdict(s), &t, &e)) fail_msg("%s", e.msg);
    return t;
}

/* Every module once and in order, every entry of the model at least once, every finding exactly once. */
static void check(const qs_session *s, const qs_trace *t) {
    const qs_verdict *v = qs_session_verdict(s);
    const qs_manifest *m = qs_session_target(s);
    size_t findings = 0, entered = 0, entries = 0;
    uint32_t last_entry = UINT32_MAX;
    size_t kinds[QS_STEP_COUNT] = {0};
    for (size_t i = 0; i < qs_trace_count(t); i++) {
        const qs_step *x = qs_trace_step(t, i);
        kinds[x->kind]++;
        if (x->kind == QS_STEP_ENTER) {
            entered++;
            assert_true(qs_str_eq(x->key, qs_manifest_module(m, x->module)->name));
            size_t dots = x->key.n > 0;
            for (size_t k = 0; k < x->key.n; k++) dots += x->key.p[k] == '.';
            assert_int_equal(x->depth, dots);
            continue;
        }
        uint32_t entry = qs_manifest_find(m, x->key);
        if (x->kind != QS_STEP_TAKE && x->kind != QS_STEP_KEEP) findings++;
        if (entry == UINT32_MAX || entry == last_entry) continue;
        assert_int_equal(qs_manifest_entry(m, entry)->module, x->module);
        if (last_entry != UINT32_MAX) assert_true(entry > last_entry); /* torch's order */
        last_entry = entry;
        entries++;
    }
    assert_int_equal(findings, qs_verdict_count(v));
    assert_int_equal(entries, qs_manifest_count(m));
    assert_int_equal(entered, qs_manifest_module_count(m));
    assert_int_equal(kinds[QS_STEP_ENTER], entered);
    size_t errors = kinds[QS_STEP_MISS] + kinds[QS_STEP_UNEXPECTED] + kinds[QS_STEP_SIZE] +
                    kinds[QS_STEP_COPY] + kinds[QS_STEP_RAISE];
    assert_int_equal(errors > 0, !qs_verdict_loads(v));
}

static void the_demo_does_not_load(void **state) {
    (void)state;
    qs_session *s = open_session(demo.a, demo.manifest);
    qs_trace *t = trace_of(s);
    check(s, t);
    size_t first = qs_trace_next_error(t, 0, false);
    assert_true(first != SIZE_MAX);
    assert_int_equal(qs_trace_next_error(t, first, true), first);
    assert_true(first == 0 || qs_trace_next_error(t, first - 1, true) == SIZE_MAX);
    size_t last = qs_trace_next_error(t, qs_trace_count(t) - 1, true);
    assert_true(last > first && qs_trace_next_error(t, last + 1, false) == SIZE_MAX);
    assert_null(qs_trace_step(t, qs_trace_count(t)));
    qs_buf all = {0};
    for (size_t i = 0; i < qs_trace_count(t); i++) {
        qs_trace_text(t, i, false, &all);
        qs_buf_addc(&all, '\n');
        qs_trace_text(t, i, true, &all);
        qs_buf_addc(&all, '\n');
    }
    assert_non_null(strstr(all.p, "enter model.0.conv.quant (QuantStub), no version in _metadata"));
    assert_non_null(strstr(all.p, "missing model.0.conv.module.weight_fake_quant.scale (listed 2 times)\n"));
    assert_non_null(strstr(all.p, "unexpected model.0.conv.weight\nunexpected weight\n"));
    assert_non_null(strstr(all.p, "\nenter conv (QuantWrapper), version 1\n"));
    qs_buf_free(&all);
    qs_trace_free(t);
    qs_session_free(s);
}

static void the_repaired_demo_loads(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_session(demo.a, demo.manifest);
    const qs_diagnosis *d = qs_session_diagnosis(s);
    if (!qs_session_do_all(s, d->actions, d->action_count, &e)) fail_msg("%s", e.msg);
    qs_trace *t = trace_of(s);
    check(s, t);
    assert_int_equal(qs_trace_next_error(t, 0, false), SIZE_MAX);
    qs_trace_free(t);
    qs_session_free(s);
}

static void qat_into_itself(void **state) {
    (void)state;
    qs_session *s = open_session(demo.b, demo.manifest);
    qs_trace *t = trace_of(s);
    check(s, t);
    assert_int_equal(qs_trace_next_error(t, 0, false), SIZE_MAX);
    qs_trace_free(t);
    qs_session_free(s);
}

static void without_a_model_there_is_nothing_to_play(void **state) {
    (void)state;
    qs_session *s = open_session(demo.a, NULL);
    qs_trace *t = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_trace_make(qs_session_resolution(s), qs_session_verdict(s), &t, &e));
    assert_int_equal(e.code, QS_E_USAGE);
    qs_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_demo_does_not_load),
        cmocka_unit_test(the_repaired_demo_loads),
        cmocka_unit_test(qat_into_itself),
        cmocka_unit_test(without_a_model_there_is_nothing_to_play),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

#include "session.h"
#include "session_search.h"

#include "repair_fixture.h"

#include "base/file.h"
#include "format/pickle.h"

static char dir[] = "/tmp/qs-session-XXXXXX";
static char path_a[64], path_b[64], path_plan[64], path_out[64];

static int make_files(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    if (!mkdtemp(dir)) return -1;
    snprintf(path_a, sizeof path_a, "%s/a.pt", dir);
    snprintf(path_b, sizeof path_b, "%s/b.pt", dir);
    snprintf(path_plan, sizeof path_plan, "%s/plan.json", dir);
    snprintf(path_out, sizeof path_out, "%s/out.pt", dir);
    bool ok = small_write(path_a, float_net, sizeof float_net / sizeof *float_net, float_versions,
                          sizeof float_versions / sizeof *float_versions, &e) &&
              small_write(path_b, qat_net, sizeof qat_net / sizeof *qat_net, qat_versions,
                          sizeof qat_versions / sizeof *qat_versions, &e);
    return ok ? 0 : -1;
}

static int remove_files(void **state) {
    (void)state;
    unlink(path_a);
    unlink(path_b);
    unlink(path_plan);
    unlink(path_out);
    return rmdir(dir); /* fails if anything was left behind */
}

static qs_session *open_pair(void) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    assert_true(qs_session_open_a(s, path_a, &e) && qs_session_open_b(s, path_b, &e) &&
                qs_session_refresh(s, &e));
    return s;
}

static uint32_t problems(const qs_session *s) {
    const qs_tree_node *root = qs_compare_node(qs_session_compare(s), 0);
    return root->count_status[QS_STATUS_MISSING] + root->count_status[QS_STATUS_UNEXPECTED];
}

static void test_repair_undo_redo(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_pair();
    uint32_t before = problems(s);
    uint64_t revision = qs_session_revision(s);
    assert_true(qs_session_target_is_b(s));
    assert_false(qs_verdict_loads(qs_session_verdict(s)));
    const qs_diagnosis *d = qs_session_diagnosis(s);
    assert_true(qs_session_do_all(s, d->actions, d->action_count, &e));
    assert_true(qs_verdict_loads(qs_session_verdict(s)));
    assert_int_equal(problems(s), 0);
    assert_true(qs_session_revision(s) > revision);
    assert_true(qs_session_undo(s, &e)); /* the whole repair is one step */
    assert_int_equal(problems(s), before);
    assert_false(qs_session_undo(s, &e));
    assert_int_equal(e.code, QS_E_USAGE);
    e = (qs_err)QS_ERR_INIT;
    assert_true(qs_session_redo(s, &e));
    assert_true(qs_verdict_loads(qs_session_verdict(s)));
    assert_int_equal(qs_session_diagnosis(s)->kind, QS_DIAG_LOADS);
    qs_session_free(s);
}

static void test_a_refused_action_changes_nothing(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_pair();
    const qs_compare *c = qs_session_compare(s);
    uint64_t revision = qs_session_revision(s);
    qs_action bad[] = {scoped(QS_ACT_DROP, QS_SCOPE_KEY, "head.bias"),
                       scoped(QS_ACT_DROP, QS_SCOPE_KEY, "head.bias")};
    assert_false(qs_session_do_all(s, bad, 2, &e));
    assert_int_equal(e.code, QS_E_REFUSED);
    assert_int_equal(qs_plan_count(qs_session_plan(s)), 0);
    assert_false(qs_plan_can_redo(qs_session_plan(s)));
    assert_ptr_equal(qs_session_compare(s), c);
    assert_int_equal(qs_session_revision(s), revision);
    /* Removing an action another one needs is refused too. */
    e = (qs_err)QS_ERR_INIT;
    const qs_rename_pair p[] = {{QS_STR("head.bias"), QS_STR("x")}};
    qs_action chain[] = {rename_of(p, 1), scoped(QS_ACT_DROP, QS_SCOPE_KEY, "x")};
    assert_true(qs_session_do(s, &chain[0], &e) && qs_session_do(s, &chain[1], &e));
    assert_false(qs_session_plan_remove(s, 0, &e));
    assert_int_equal(qs_plan_count(qs_session_plan(s)), 2);
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_session_plan_move(s, 1, 0, &e));
    e = (qs_err)QS_ERR_INIT;
    assert_true(qs_session_plan_remove(s, 1, &e));
    assert_true(qs_session_plan_remove(s, 0, &e));
    assert_true(qs_session_undo(s, &e) && qs_session_undo(s, &e));
    assert_int_equal(qs_plan_count(qs_session_plan(s)), 2);
    qs_session_free(s);
}

static void test_try_and_preview(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_pair();
    uint32_t touched = 0;
    qs_action drop = scoped(QS_ACT_DROP, QS_SCOPE_SUBTREE, "m.0.bn"),
              nope = scoped(QS_ACT_DROP, QS_SCOPE_KEY, "nope");
    assert_true(qs_session_try(s, &drop, &touched, &e));
    assert_int_equal(touched, 5);
    assert_false(qs_session_try(s, &nope, &touched, &e));
    assert_int_equal(qs_plan_count(qs_session_plan(s)), 0);
    e = (qs_err)QS_ERR_INIT;
    qs_arena arena = {0};
    qs_rename_pair out[4];
    bool collides[4];
    size_t total, collisions;
    qs_action rule = regex_rule("(.*)\\.bn\\.(.*)", "$1.conv.bn.$2");
    assert_true(qs_session_preview_rule(s, &rule, &arena, out, collides, 4, &total, &collisions, &e));
    assert_int_equal(total, 10);
    assert_int_equal(collisions, 0);
    assert_true(qs_str_is(out[0].to, "m.0.conv.bn.weight"));
    rule = regex_rule("m\\.(\\d)\\.conv\\.weight", "head.weight"); /* two onto one that is there */
    assert_true(qs_session_preview_rule(s, &rule, &arena, out, collides, 4, &total, &collisions, &e));
    assert_int_equal(total, 2);
    assert_int_equal(collisions, 2);
    assert_true(collides[0] && collides[1]);
    rule = regex_rule("head\\.(weight|bias)", "head.$1x"); /* no clash with the one that moves away */
    assert_true(qs_session_preview_rule(s, &rule, &arena, out, collides, 1, &total, &collisions, &e));
    assert_int_equal(total, 2);
    assert_int_equal(collisions, 0);
    rule = regex_rule("(", "");
    assert_false(qs_session_preview_rule(s, &rule, &arena, out, collides, 4, &total, &collisions, &e));
    qs_arena_free(&arena);
    qs_session_free(s);
}

static bool refuse_after(void *ctx, uint64_t done, uint64_t total) {
    (void)done, (void)total;
    return (*(int *)ctx)-- > 0;
}

/* Wherever the diagnosis is given up, nothing of it is left, and the next one is whole. */
static void test_a_diagnosis_gives_way(void **state) {
    (void)state;
    int left = 0, lost = 0;
    qs_progress p = {refuse_after, &left};
    for (int asked = 0; asked < 200; asked++) {
        qs_session *s = open_pair();
        left = asked;
        qs_session_watch(s, &p);
        const qs_diagnosis *d = qs_session_diagnosis(s);
        const qs_strict_version *v = qs_session_versions(s);
        bool whole = d && v;
        lost += !whole;
        assert_int_equal(whole, left >= 0);
        qs_session_watch(s, NULL);
        d = qs_session_diagnosis(s);
        assert_non_null(d);
        assert_int_equal(d->kind, QS_DIAG_FLOAT_INTO_QAT);
        assert_non_null(qs_session_versions(s));
        qs_session_free(s);
        if (whole) break;
    }
    assert_true(lost > 3);
}

static void test_plans_are_saved_and_loaded(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_pair(), *t = open_pair();
    const qs_diagnosis *d = qs_session_diagnosis(s);
    assert_true(qs_session_do_all(s, d->actions, d->action_count, &e));
    assert_true(qs_plan_modified(qs_session_plan(s)));
    assert_true(qs_session_save_plan(s, path_plan, &e));
    assert_false(qs_plan_modified(qs_session_plan(s)));
    assert_true(qs_session_load_plan(t, path_plan, &e));
    assert_true(qs_verdict_loads(qs_session_verdict(t)));
    assert_false(qs_plan_modified(qs_session_plan(t)));
    assert_true(qs_session_undo(t, &e));
    assert_int_equal(qs_plan_count(qs_session_plan(t)), 0);
    assert_false(qs_session_load_plan(t, path_a, &e)); /* not a plan */
    assert_int_equal(e.code, QS_E_INPUT);
    qs_session_free(s);
    qs_session_free(t);
}

static void test_save_and_reopen(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_pair();
    const qs_diagnosis *d = qs_session_diagnosis(s);
    assert_true(qs_session_do_all(s, d->actions, d->action_count, &e));
    qs_write_options opt = {0};
    assert_false(qs_session_save(s, path_a, &opt, &e)); /* never over the input */
    e = (qs_err)QS_ERR_INIT;
    if (!qs_session_save(s, path_out, &opt, &e)) fail_msg("%s", e.msg);
    assert_true(qs_session_open_a(s, path_out, &e));
    assert_null(qs_session_compare(s));      /* derived data of the old file is gone */
    assert_false(qs_session_refresh(s, &e)); /* the plan does not apply a second time */
    qs_session_free(s);
    e = (qs_err)QS_ERR_INIT;
    s = qs_session_new(NULL);
    assert_true(qs_session_open_a(s, path_out, &e) && qs_session_open_b(s, path_b, &e) &&
                qs_session_refresh(s, &e));
    assert_true(qs_verdict_loads(qs_session_verdict(s)));
    assert_int_equal(qs_compare_node(qs_session_compare(s), 0)->count_status[QS_STATUS_OK],
                     sizeof qat_net / sizeof *qat_net);
    qs_session_free(s);
}

static void test_without_documents(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    assert_null(qs_session_diagnosis(s));
    assert_false(qs_session_refresh(s, &e));
    assert_int_equal(e.code, QS_E_USAGE);
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_session_open_a(s, "/nonexistent.pt", &e));
    assert_int_equal(e.code, QS_E_INPUT);
    qs_session_free(s);
}

static void test_bn_eps_goes_into_the_plan(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session_options opt = QS_SESSION_OPTIONS_DEFAULT;
    opt.bn_eps = 0.25;
    qs_session *s = qs_session_new(&opt);
    assert_true(qs_session_open_a(s, path_a, &e) && qs_session_open_b(s, path_b, &e) &&
                qs_session_refresh(s, &e));
    qs_action init = scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, "m.1");
    assert_true(qs_session_do(s, &init, &e));
    assert_true(qs_plan_action(qs_session_plan(s), 0)->bn_eps == 0.25);
    qs_session_free(s);
}

static bool exchange(qs_session *s, qs_document what, const char *path, bool *plan_fails, qs_err *e) {
    qs_exchange x = {.what = what, .path = path};
    return qs_session_exchange(s, &x, NULL, plan_fails, e);
}

static void test_other_documents(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT, none = QS_ERR_INIT;
    bool plan_fails;
    qs_session *s = open_pair();
    const qs_diagnosis *d = qs_session_diagnosis(s);
    assert_true(qs_session_do_all(s, d->actions, d->action_count, &e));
    size_t actions = qs_plan_count(qs_session_plan(s));
    uint64_t revision = qs_session_revision(s);
    const qs_checkpoint *a = qs_session_a(s);
    const qs_compare *tree = qs_session_compare(s);

    assert_false(exchange(s, QS_DOCUMENT_A, "/nonexistent/x.pt", &plan_fails, &none));
    assert_false(plan_fails);
    e = (qs_err)QS_ERR_INIT;
    assert_false(exchange(s, QS_DOCUMENT_A, path_b, &plan_fails, &e)); /* what is renamed is not in it */
    assert_true(plan_fails);
    assert_int_equal(e.code, QS_E_REFUSED);
    assert_ptr_equal(qs_session_a(s), a);
    assert_ptr_equal(qs_session_compare(s), tree);
    assert_int_equal(qs_session_revision(s), revision);
    assert_true(qs_verdict_loads(qs_session_verdict(s)));

    e = (qs_err)QS_ERR_INIT;
    assert_true(exchange(s, QS_DOCUMENT_A, path_a, &plan_fails, &e)); /* the same file again: it applies */
    assert_ptr_not_equal(qs_session_a(s), a);
    assert_int_equal(qs_plan_count(qs_session_plan(s)), actions);
    assert_true(qs_verdict_loads(qs_session_verdict(s)));

    qs_exchange x = {.what = QS_DOCUMENT_A, .path = path_b, .forget_plan = true};
    assert_true(qs_session_exchange(s, &x, NULL, &plan_fails, &e));
    assert_int_equal(qs_plan_count(qs_session_plan(s)), 0);
    assert_true(qs_verdict_loads(qs_session_verdict(s)));
    assert_true(exchange(s, QS_DOCUMENT_B, NULL, &plan_fails, &e));
    assert_null(qs_session_b(s));
    assert_null(qs_session_target(s));
    assert_null(qs_session_verdict(s));
    assert_false(exchange(s, QS_DOCUMENT_A, NULL, &plan_fails, &e));
    qs_session_free(s);
}

static bool never(void *ctx, uint64_t done, uint64_t total) {
    (void)ctx, (void)done, (void)total;
    return false;
}

/* Patience is asked for once in 65536 opcodes: only a large file can be cancelled, and needs to be. */
static void test_opening_is_cancelled(void **state) {
    (void)state;
    enum { N = 1 << 18 };
    char *big = malloc(N + 8);
    qs_err e = QS_ERR_INIT;
    qs_graph *g = NULL;
    qs_progress p = {never, NULL};
    qs_limits limits = QS_LIMITS_DEFAULT;
    assert_non_null(big);
    size_t n = 0;
    big[n++] = '\x80', big[n++] = 2;
    for (size_t i = 0; i < N / 2; i++) big[n++] = 'N', big[n++] = '0'; /* None, and away with it */
    big[n++] = 'N', big[n++] = '.';
    assert_true(qs_pickle_read(big, n, "data.pkl", &limits, &g, &e));
    qs_graph_free(g);
    limits.progress = &p;
    assert_false(qs_pickle_read(big, n, "data.pkl", &limits, &g, &e));
    assert_int_equal(e.code, QS_E_CANCELLED);
    free(big);
}

/* Regular expressions, letters in their order, and plain text where it is neither. */
static void test_search(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool found;
        size_t from, to;
    } cases[] = {{"a.c", "xABCx", true, 1, 4},
                 {"~ac", "xAbCx", true, 1, 4},
                 {"~a.", "a.b.c", true, 0, 2},
                 {"~a.", "abc", false, 0, 0},
                 {"~aB", "aab", false, 0, 0},
                 {"~aB", "aaxB", true, 0, 4},
                 {"~cba", "abc", false, 0, 0},
                 {"~]-^", "x]y-z^", true, 1, 6},
                 {"~\xe5\xb1\x82w", "\xe5\xb1\x82.w", true, 0, 5},
                 {"~", "a~", true, 1, 2},
                 {"a[0", "xa[0]", true, 1, 4},
                 {"~\\d", "a5", false, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t from = 0, to = 0;
        qs_search *s = qs_search_new(qs_str_of(cases[i].pattern));
        assert_non_null(s);
        if (qs_search_match(s, qs_str_of(cases[i].text), &from, &to) != cases[i].found)
            fail_msg("%s in %s", cases[i].pattern, cases[i].text);
        assert_int_equal(from, cases[i].from);
        assert_int_equal(to, cases[i].to);
        qs_search_free(s);
    }
    /* A text that begins the search anew at every letter, and does not have the last one. */
    enum { N = 60000 };
    char *many = malloc(N + 1);
    assert_non_null(many);
    memset(many, 'a', N);
    many[N] = 0;
    qs_search *s = qs_search_new(QS_STR("~ab"));
    assert_false(qs_search_match(s, (qs_str){many, N}, NULL, NULL));
    qs_search_free(s);
    free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_repair_undo_redo),
        cmocka_unit_test(test_a_diagnosis_gives_way),
        cmocka_unit_test(test_a_refused_action_changes_nothing),
        cmocka_unit_test(test_try_and_preview),
        cmocka_unit_test(test_plans_are_saved_and_loaded),
        cmocka_unit_test(test_save_and_reopen),
        cmocka_unit_test(test_without_documents),
        cmocka_unit_test(test_bn_eps_goes_into_the_plan),
        cmocka_unit_test(test_other_documents),
        cmocka_unit_test(test_opening_is_cancelled),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

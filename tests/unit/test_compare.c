#include "repair_fixture.h"

#include <time.h>

static bundle float_into_qat(void) {
    return bundle_of(SMALL_OPEN_VERSIONS(float_net, float_versions),
                     SMALL_OPEN_VERSIONS(qat_net, qat_versions));
}

static void test_glyphs_are_unique(void **state) {
    (void)state;
    for (int i = 0; i < QS_STATUS_COUNT; i++)
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(qs_status_get((qs_status)i)->glyph, qs_status_get((qs_status)k)->glyph);
            assert_string_not_equal(qs_status_get((qs_status)i)->ascii, qs_status_get((qs_status)k)->ascii);
        }
    for (int i = 0; i < QS_MARK_COUNT; i++)
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(qs_mark_get((qs_mark)i)->glyph, qs_mark_get((qs_mark)k)->glyph);
            assert_string_not_equal(qs_mark_get((qs_mark)i)->ascii, qs_mark_get((qs_mark)k)->ascii);
        }
}

/* Own keys first, then submodules; counts add up at every node; every row is one leaf under its own path. */
static void check_tree(const qs_compare *c) {
    uint32_t leaves = 0, n = qs_compare_nodes(c);
    for (uint32_t i = 0; i < n; i++) {
        const qs_tree_node *node = qs_compare_node(c, i);
        if (node->row != QS_NO_INDEX) {
            const qs_row *r = qs_compare_row(c, node->row);
            assert_int_equal(r->tree, i);
            assert_true(qs_str_eq(node->path, r->key));
            assert_int_equal(node->count_status[r->status], 1);
            leaves++;
            continue;
        }
        uint32_t a = 0, b = 0, m = 0, status[QS_STATUS_COUNT] = {0};
        bool modules = false;
        for (uint32_t k = node->first_child; k != QS_NO_INDEX; k = qs_compare_node(c, k)->next_sibling) {
            const qs_tree_node *child = qs_compare_node(c, k);
            assert_int_equal(child->parent, i);
            assert_int_equal(child->depth, node->depth + 1);
            assert_true(child->row == QS_NO_INDEX || !modules);
            modules |= child->row == QS_NO_INDEX;
            a += child->count_a;
            b += child->count_b;
            m += child->count_m;
            for (int s = 0; s < QS_STATUS_COUNT; s++) status[s] += child->count_status[s];
        }
        assert_int_equal(a, node->count_a);
        assert_int_equal(b, node->count_b);
        assert_int_equal(m, node->count_m);
        assert_memory_equal(status, node->count_status, sizeof status);
        assert_int_equal(qs_compare_find_module(c, node->path), i);
    }
    assert_int_equal(leaves, qs_compare_rows(c));
    for (uint32_t i = 0; i < qs_compare_rows(c); i++)
        assert_int_equal(qs_compare_find(c, qs_compare_row(c, i)->key), i);
}

static void test_float_against_qat(void **state) {
    (void)state;
    bundle x = float_into_qat();
    bundle_compare(&x);
    check_tree(x.c);
    assert_int_equal(row(&x, "m.0.conv.weight")->status, QS_STATUS_UNEXPECTED);
    assert_int_equal(row(&x, "m.0.conv.module.weight")->status, QS_STATUS_MISSING);
    assert_int_equal(row(&x, "m.1.conv.weight")->status, QS_STATUS_OK);
    assert_int_equal(row(&x, "m.1.conv.weight")->role, QS_ROLE_WEIGHT);
    const qs_row *scale = row(&x, "m.1.conv.weight_fake_quant.scale");
    assert_int_equal(scale->role, QS_ROLE_WEIGHT_SCALE);
    assert_true(scale->role_is_weight);
    assert_int_equal(scale->block_len, strlen("m.1.conv.weight_fake_quant"));
    assert_int_equal(scale->r, QS_NO_INDEX);
    assert_true(qs_str_eq(qs_checkpoint_entry(x.b, scale->b)->key, scale->key));
    /* No version, so torch makes eps itself. */
    assert_int_equal(row(&x, "m.1.conv.weight_fake_quant.activation_post_process.eps")->status,
                     QS_STATUS_TOLERATED);
    const qs_tree_node *root = qs_compare_node(x.c, 0);
    assert_int_equal(root->count_a, qs_checkpoint_count(x.a));
    assert_int_equal(root->count_b, qs_checkpoint_count(x.b));
    assert_int_equal(root->count_m, qs_manifest_count(x.target));
    /* Rows in the target's order, then what only A has. */
    for (uint32_t i = 0; i < qs_manifest_count(x.target); i++) assert_int_equal(qs_compare_row(x.c, i)->m, i);
    const qs_tree_node *conv = qs_compare_node(x.c, qs_compare_find_module(x.c, QS_STR("m.0.conv")));
    assert_true(qs_str_is(qs_compare_node(x.c, conv->first_child)->name, "weight")); /* own key first */
    assert_int_equal(conv->module, qs_manifest_find_module(x.target, QS_STR("m.0.conv")));
    bundle_free(&x);
}

static void test_a_against_itself_is_ok(void **state) {
    (void)state;
    bundle x =
        bundle_of(SMALL_OPEN_VERSIONS(qat_net, qat_versions), SMALL_OPEN_VERSIONS(qat_net, qat_versions));
    bundle_compare(&x);
    check_tree(x.c);
    assert_int_equal(qs_compare_node(x.c, 0)->count_status[QS_STATUS_OK], qs_compare_rows(x.c));
    assert_true(qs_verdict_loads(x.v));
    bundle_free(&x);
}

static void test_shapes_dtypes_and_no_target(void **state) {
    (void)state;
    static const small_entry a[] = {F32("w", 2, 3), F32("v", 4), SCALAR("n", INT64), F32("only.a", 1)};
    static const small_entry b[] = {
        F32("w", 3, 2), {"v", QS_FLOAT16, 1, {4}}, SCALAR("n", INT64), F32("only.b", 1)};
    bundle x = bundle_of(SMALL_OPEN(a), SMALL_OPEN(b));
    bundle_compare(&x);
    check_tree(x.c);
    assert_int_equal(row(&x, "w")->status, QS_STATUS_SHAPE);
    assert_int_equal(row(&x, "v")->status, QS_STATUS_DTYPE);
    assert_int_equal(row(&x, "n")->status, QS_STATUS_OK);
    assert_int_equal(row(&x, "only.a")->status, QS_STATUS_UNEXPECTED);
    assert_int_equal(row(&x, "only.b")->status, QS_STATUS_MISSING);
    bundle_free(&x);
    x = bundle_of(SMALL_OPEN(a), NULL);
    bundle_compare(&x);
    check_tree(x.c);
    assert_int_equal(qs_compare_node(x.c, 0)->count_status[QS_STATUS_NONE], 4);
    bundle_free(&x);
}

static void test_dropped_rows_stay_visible(void **state) {
    (void)state;
    bundle x = float_into_qat();
    assert_true(push(&x, scoped(QS_ACT_DROP, QS_SCOPE_SUBTREE, "m.0.bn")));
    assert_true(push(&x, scoped(QS_ACT_DROP, QS_SCOPE_KEY, "head.bias")));
    bundle_compare(&x);
    check_tree(x.c);
    assert_int_equal(row(&x, "m.0.bn.weight")->mark, QS_MARK_DROPPED);
    assert_int_equal(row(&x, "m.0.bn.weight")->status, QS_STATUS_NONE);
    assert_int_equal(row(&x, "head.bias")->mark, QS_MARK_DROPPED);
    assert_int_equal(row(&x, "head.bias")->status, QS_STATUS_MISSING);
    assert_true(push(&x, scoped(QS_ACT_COPY, QS_SCOPE_KEY, "head.bias")));
    bundle_compare(&x);
    assert_int_equal(row(&x, "head.bias")->mark, QS_MARK_COPIED);
    assert_int_equal(row(&x, "head.bias")->status, QS_STATUS_OK);
    bundle_free(&x);
}

static void test_odd_names(void **state) {
    (void)state;
    static char deep[3000];
    for (size_t i = 0; i + 1 < sizeof deep; i++) deep[i] = i % 2 ? '.' : 'a';
    const small_entry a[] = {F32("", 1),  F32(".", 1),   F32("..x", 1),  F32("x.", 1),
                             F32("x", 1), F32("x.y", 1), F32("x..y", 1), F32(deep, 1)};
    bundle x = bundle_of(SMALL_OPEN(a), NULL);
    bundle_compare(&x);
    check_tree(x.c);
    assert_int_equal(qs_compare_rows(x.c), 8);
    bundle_free(&x);
}

static void assert_same_rows(const qs_compare *x, const qs_compare *y) {
    assert_int_equal(qs_compare_rows(x), qs_compare_rows(y));
    for (uint32_t i = 0; i < qs_compare_rows(x); i++) {
        const qs_row *p = qs_compare_row(x, i), *q = qs_compare_row(y, i);
        assert_true(qs_str_eq(p->key, q->key) && p->r == q->r && p->b == q->b && p->m == q->m);
        assert_true(p->tree == q->tree && p->status == q->status && p->mark == q->mark);
        assert_true(p->family == q->family && p->role == q->role && p->role_is_weight == q->role_is_weight);
        assert_int_equal(p->block_len, q->block_len);
    }
    assert_int_equal(qs_compare_nodes(x), qs_compare_nodes(y));
    for (uint32_t i = 0; i < qs_compare_nodes(x); i++) {
        const qs_tree_node *p = qs_compare_node(x, i), *q = qs_compare_node(y, i);
        assert_true(qs_str_eq(p->path, q->path) && qs_str_eq(p->name, q->name) && p->parent == q->parent);
        assert_true(p->first_child == q->first_child && p->next_sibling == q->next_sibling);
        assert_true(p->row == q->row && p->module == q->module && p->depth == q->depth);
        assert_true(p->count_a == q->count_a && p->count_b == q->count_b && p->count_m == q->count_m);
        assert_memory_equal(p->count_status, q->count_status, sizeof p->count_status);
    }
}

/* Step by step, what is taken from the comparison before is what would be found anew; the one before may go.
 */
static void test_again_is_the_same(void **state) {
    (void)state;
    const qs_rename_pair pair = {QS_STR("m.0.conv.weight"), QS_STR("m.0.conv.odd.weight")};
    const qs_action steps[] = {scoped(QS_ACT_DROP, QS_SCOPE_KEY, "m.0.conv.weight"),
                               scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, ""), rename_of(&pair, 1),
                               prefix_rule("m.", "net."), scoped(QS_ACT_DROP, QS_SCOPE_SUBTREE, "net.0")};
    bundle x = float_into_qat();
    bundle_compare(&x);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (i == 2) qs_plan_undo(x.plan), qs_plan_undo(x.plan);
        qs_action a = steps[i];
        a.bn_eps = NAN;
        assert_true(qs_plan_push(x.plan, &a, &x.e));
        qs_compare *before = x.c, *again = NULL;
        qs_resolution *old_r = x.r;
        qs_verdict *old_v = x.v;
        x.c = NULL, x.r = NULL, x.v = NULL;
        bundle_compare(&x);
        assert_true(qs_compare_again(before, x.r, x.v, &again, &x.e));
        qs_compare_free(before);
        qs_verdict_free(old_v);
        qs_resolution_free(old_r);
        assert_same_rows(again, x.c);
        check_tree(again);
        qs_compare_free(x.c);
        x.c = again;
    }
    bundle_free(&x);
}

/* A hundred thousand rows: parents in one pass, no search. */
static void test_large(void **state) {
    (void)state;
    enum { N = 50000 };
    small_entry *list = calloc(N, sizeof *list);
    char(*names)[40] = calloc(N, sizeof *names);
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "blocks.%d.attn.%s", i / 4,
                 (const char *[]){"q", "k", "v", "o"}[i % 4]);
        list[i] = (small_entry){names[i], QS_FLOAT32, 1, {1}};
    }
    bundle x = bundle_of(small_open(list, N, NULL, 0), small_open(list, N, NULL, 0));
    clock_t start = clock();
    bundle_compare(&x);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("resolve, judge and compare %d rows: %.0f ms\n", N, seconds * 1e3);
    assert_true(seconds < 2); /* this may be an unoptimised build under a sanitizer */
    assert_int_equal(qs_compare_node(x.c, 0)->count_status[QS_STATUS_OK], N);
    bundle_free(&x);
    free(list);
    free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_glyphs_are_unique),         cmocka_unit_test(test_float_against_qat),
        cmocka_unit_test(test_a_against_itself_is_ok),    cmocka_unit_test(test_shapes_dtypes_and_no_target),
        cmocka_unit_test(test_dropped_rows_stay_visible), cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_again_is_the_same),         cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

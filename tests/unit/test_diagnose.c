#include "repair_fixture.h"

typedef struct diagnosed {
    bundle x;
    qs_matches *m;
    qs_diagnosis *d;
} diagnosed;

static diagnosed diagnose(qs_checkpoint *a, qs_checkpoint *b) {
    diagnosed y = {.x = bundle_of(a, b)};
    qs_diagnose_options opt = {.source = QS_INIT_OBSERVED, .bn_eps = NAN, .strict = {.strict = true}};
    bundle_compare(&y.x);
    assert_true(qs_match_all(y.x.c, &y.m, &y.x.e));
    assert_true(qs_diagnose(y.x.c, y.m, &opt, &y.d, &y.x.e));
    return y;
}
static void diagnosed_free(diagnosed *y) {
    qs_diagnosis_free(y->d);
    qs_matches_free(y->m);
    bundle_free(&y->x);
}

/* The repair does what the diagnosis says. */
static void check_repair(diagnosed *y) {
    uint32_t problems = 0;
    assert_true(qs_plan_push_all(y->x.plan, y->d->actions, y->d->action_count, &y->x.e));
    bundle_compare(&y->x);
    for (uint32_t i = 0; i < qs_compare_rows(y->x.c); i++)
        problems += qs_status_get(qs_compare_row(y->x.c, i)->status)->problem;
    assert_int_equal(problems, y->d->remaining);
    assert_int_equal(qs_verdict_loads(y->x.v), problems == 0);
}

static void test_float_into_qat(void **state) {
    (void)state;
    diagnosed y =
        diagnose(SMALL_OPEN_VERSIONS(float_net, float_versions), SMALL_OPEN_VERSIONS(qat_net, qat_versions));
    assert_int_equal(y.d->kind, QS_DIAG_FLOAT_INTO_QAT);
    assert_string_equal(y.d->sentence,
                        "float checkpoint into a QAT model: 11 renames + 21 quantizer keys to initialise");
    assert_int_equal(y.d->action_count, 2);
    assert_int_equal(y.d->actions[0].kind, QS_ACT_RENAME); /* no one rule does just this */
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
}

static void test_qat_into_float(void **state) {
    (void)state;
    diagnosed y =
        diagnose(SMALL_OPEN_VERSIONS(qat_net, qat_versions), SMALL_OPEN_VERSIONS(float_net, float_versions));
    assert_int_equal(y.d->kind, QS_DIAG_QAT_INTO_FLOAT);
    assert_string_equal(y.d->sentence, "QAT checkpoint into a float model: 11 renames + 21 keys to drop");
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
}

static const small_entry wrapped_float[] = {
    F32("module.m.0.conv.weight", 4, 3, 3, 3), BN("module.m.0.bn", 4),
    F32("module.m.1.conv.weight", 4, 4, 1, 1), BN("module.m.1.bn", 4),
    F32("module.head.weight", 2, 4),           F32("module.head.bias", 2),
};

static void test_prefix_and_float_into_qat(void **state) {
    (void)state;
    diagnosed y = diagnose(SMALL_OPEN(wrapped_float), SMALL_OPEN_VERSIONS(qat_net, qat_versions));
    assert_int_equal(y.d->kind, QS_DIAG_FLOAT_INTO_QAT);
    assert_string_equal(y.d->sentence,
                        "float checkpoint, under the prefix \"module.\", into a QAT model: 14 renames + 21 "
                        "quantizer keys to initialise");
    assert_int_equal(y.d->action_count, 3);
    assert_int_equal(y.d->actions[0].kind, QS_ACT_RULE);
    assert_int_equal(y.d->actions[0].pattern_kind, QS_PATTERN_PREFIX);
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
}

static void test_prefix_alone_is_one_rule(void **state) {
    (void)state;
    diagnosed y = diagnose(SMALL_OPEN(wrapped_float), SMALL_OPEN(float_net));
    assert_int_equal(y.d->kind, QS_DIAG_PREFIX);
    assert_int_equal(y.d->action_count, 1);
    assert_true(qs_str_is(y.d->actions[0].pattern, "module."));
    assert_int_equal(y.d->renames, 14);
    check_repair(&y);
    diagnosed_free(&y);
    y = diagnose(SMALL_OPEN(float_net), SMALL_OPEN(wrapped_float));
    assert_int_equal(y.d->kind, QS_DIAG_PREFIX);
    assert_int_equal(y.d->remaining, 0);
    assert_true(qs_str_is(y.d->actions[0].replacement, "module."));
    check_repair(&y);
    diagnosed_free(&y);
}

/* Folded but not wrapped: a regex says it all. */
static void test_one_regex_where_it_fits(void **state) {
    (void)state;
    static const small_entry a[] = {F32("l1.conv.weight", 4, 3, 1, 1), BN("l1.bn", 4),
                                    F32("l2.conv.weight", 4, 4, 1, 1), BN("l2.bn", 4)};
    static const small_entry b[] = {
        F32("l1.conv.weight", 4, 3, 1, 1), BN("l1.conv.bn", 4), FQ("l1.conv.weight_fake_quant"),
        F32("l2.conv.weight", 4, 4, 1, 1), BN("l2.conv.bn", 4), FQ("l2.conv.weight_fake_quant")};
    diagnosed y = diagnose(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_int_equal(y.d->actions[0].kind, QS_ACT_RULE);
    assert_int_equal(y.d->actions[0].pattern_kind, QS_PATTERN_REGEX);
    assert_int_equal(y.d->renames, 10);
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
    /* A third BatchNorm that stays: the same rule would move it too, so the pairs are listed. */
    static const small_entry a3[] = {F32("l1.conv.weight", 4, 3, 1, 1), BN("l1.bn", 4),
                                     F32("l2.conv.weight", 4, 4, 1, 1), BN("l2.bn", 4), BN("l3.bn", 4)};
    static const small_entry b3[] = {F32("l1.conv.weight", 4, 3, 1, 1), BN("l1.conv.bn", 4),
                                     F32("l2.conv.weight", 4, 4, 1, 1), BN("l2.conv.bn", 4), BN("l3.bn", 4)};
    y = diagnose(SMALL_OPEN(a3), SMALL_OPEN(b3));
    assert_int_equal(y.d->actions[0].kind, QS_ACT_RENAME);
    assert_int_equal(y.d->actions[0].pair_count, 10);
    check_repair(&y);
    diagnosed_free(&y);
}

/* Two kinds of renames: a rule for the family, the one that is left as a pair. */
static void test_a_rule_for_a_family(void **state) {
    (void)state;
    static const small_entry a[] = {F32("l.1.conv.weight", 4, 3, 1, 1), BN("l.1.bn", 4),
                                    F32("l.2.conv.weight", 4, 4, 1, 1), BN("l.2.bn", 4),
                                    F32("head.weight", 2, 4),           F32("head.bias", 2)};
    static const small_entry b[] = {F32("l.1.conv.weight", 4, 3, 1, 1), BN("l.1.conv.bn", 4),
                                    F32("l.2.conv.weight", 4, 4, 1, 1), BN("l.2.conv.bn", 4),
                                    F32("head.module.weight", 2, 4),    F32("head.module.bias", 2)};
    diagnosed y = diagnose(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_int_equal(y.d->action_count, 2);
    assert_int_equal(y.d->actions[0].kind, QS_ACT_RULE);
    assert_int_equal(y.d->actions[1].kind, QS_ACT_RENAME);
    assert_int_equal(y.d->actions[1].pair_count, 2);
    assert_int_equal(y.d->renames, 12);
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
}

static void test_what_loads_and_what_cannot_be_judged(void **state) {
    (void)state;
    diagnosed y = diagnose(SMALL_OPEN(float_net), SMALL_OPEN(float_net));
    assert_int_equal(y.d->kind, QS_DIAG_LOADS);
    assert_int_equal(y.d->action_count, 0);
    diagnosed_free(&y);
    y = diagnose(SMALL_OPEN(float_net), NULL);
    assert_int_equal(y.d->kind, QS_DIAG_NO_TARGET);
    diagnosed_free(&y);
}

static void test_no_repair_where_none_is_sure(void **state) {
    (void)state;
    static const small_entry a[] = {F32("enc.0.weight", 4, 4), F32("enc.1.weight", 4, 4),
                                    F32("enc.1.bias", 4)};
    static const small_entry b[] = {F32("dec.0.weight", 4, 4), F32("dec.1.weight", 4, 4),
                                    F32("dec.1.bias", 4),      F32("aux.0.weight", 4, 4),
                                    F32("aux.1.weight", 4, 4), F32("aux.1.bias", 4)};
    diagnosed y = diagnose(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_int_equal(y.d->kind, QS_DIAG_OTHER);
    assert_int_equal(y.d->action_count, 0);
    diagnosed_free(&y);
    static const small_entry head[] = {F32("w", 4, 4), F32("head.weight", 80, 4)},
                             other[] = {F32("w", 4, 4), F32("head.weight", 3, 4)};
    y = diagnose(SMALL_OPEN(head), SMALL_OPEN(other));
    assert_int_equal(y.d->kind, QS_DIAG_SHAPES);
    assert_non_null(strstr(y.d->sentence, "head.weight: 80x4, model 3x4"));
    diagnosed_free(&y);
    /* A BatchNorm nobody can place must not be replaced by an identity, nor its counter by 0. */
    static const small_entry lost[] = {F32("a.weight", 4, 4, 1, 1), F32("b.weight", 4, 4, 1, 1), BN("x", 4),
                                       BN("y", 4)};
    static const small_entry want[] = {F32("a.weight", 4, 4, 1, 1), BN("a.bn", 4), FQ("a.weight_fake_quant"),
                                       F32("b.weight", 4, 4, 1, 1), BN("b.bn", 4), FQ("b.weight_fake_quant")};
    y = diagnose(SMALL_OPEN(lost), SMALL_OPEN(want));
    assert_int_equal(y.d->renames, 0);
    assert_int_equal(y.d->inits, 14);
    assert_true(y.d->remaining > 0);
    check_repair(&y);
    assert_int_equal(row(&y.x, "a.bn.weight")->r, QS_NO_INDEX);
    assert_int_equal(row(&y.x, "a.bn.num_batches_tracked")->r, QS_NO_INDEX);
    diagnosed_free(&y);
}

static void test_profiler_buffers_are_dropped(void **state) {
    (void)state;
    static const small_entry a[] = {
        F32("w", 4, 4), {"total_ops", QS_FLOAT64, 1, {1}}, {"l.total_params", QS_FLOAT64, 1, {1}}};
    static const small_entry b[] = {F32("w", 4, 4)};
    diagnosed y = diagnose(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_int_equal(y.d->drops, 2);
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
}

static void test_counters_are_made(void **state) {
    (void)state;
    static const small_entry with[] = {F32("w", 4, 4), BN("bn", 4)};
    static const small_entry without[] = {F32("w", 4, 4), F32("bn.weight", 4), F32("bn.bias", 4),
                                          F32("bn.running_mean", 4), F32("bn.running_var", 4)};
    static const small_version v2[] = {{"", 1}, {"bn", 2}};
    diagnosed y = diagnose(SMALL_OPEN_VERSIONS(without, v2), SMALL_OPEN_VERSIONS(with, v2));
    assert_int_equal(y.d->inits, 1);
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
    y = diagnose(SMALL_OPEN(without), SMALL_OPEN(with)); /* with no version torch makes it itself */
    assert_int_equal(y.d->kind, QS_DIAG_LOADS);
    diagnosed_free(&y);
}

static void test_only_quantizers_missing(void **state) {
    (void)state;
    static const small_entry a[] = {F32("a.weight", 4, 4), FQ("a.weight_fake_quant"), F32("b.weight", 4, 4)};
    static const small_entry b[] = {F32("a.weight", 4, 4), FQ("a.weight_fake_quant"), F32("b.weight", 4, 4),
                                    FQ("b.weight_fake_quant")};
    diagnosed y = diagnose(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_int_equal(y.d->kind, QS_DIAG_QUANT_MISSING);
    assert_int_equal(y.d->inits, 7);
    assert_int_equal(y.d->remaining, 0);
    check_repair(&y);
    diagnosed_free(&y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_into_qat),
        cmocka_unit_test(test_qat_into_float),
        cmocka_unit_test(test_prefix_and_float_into_qat),
        cmocka_unit_test(test_prefix_alone_is_one_rule),
        cmocka_unit_test(test_one_regex_where_it_fits),
        cmocka_unit_test(test_a_rule_for_a_family),
        cmocka_unit_test(test_what_loads_and_what_cannot_be_judged),
        cmocka_unit_test(test_no_repair_where_none_is_sure),
        cmocka_unit_test(test_profiler_buffers_are_dropped),
        cmocka_unit_test(test_counters_are_made),
        cmocka_unit_test(test_only_quantizers_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "repair/names.h"
#include "repair_fixture.h"

static void assert_relation(const char *from, const char *to, double least, bool structural) {
    qs_relation r = qs_name_relate(qs_str_of(from), qs_str_of(to));
    if (r.confidence < least || r.structural != structural)
        fail_msg("%s -> %s: %.2f %d (%s)", from, to, r.confidence, r.structural, r.reason);
}

static void test_relations(void **state) {
    (void)state;
    assert_relation("m.conv.weight", "m.conv.module.weight", 0.97, true);
    assert_relation("m.conv.module.weight", "m.conv.weight", 0.97, true);
    assert_relation("m.bn.bias", "m.conv.module.bn.bias", 0.96, true);
    assert_relation("m.bn1.bias", "m.conv1.bn.bias", 0.96, true);
    assert_relation("m.conv1.bn.bias", "m.bn1.bias", 0.96, true);
    assert_relation("m.bn2.bias", "m.conv1.bn.bias", 0.5, false);
    assert_relation("f.1.bias", "f.0.bn.bias", 0.8, false); /* a number is not enough */
    assert_relation("module.a.b", "a.b", 0.95, true);
    assert_relation("module.a.b", "model.a.b", 0.95, true);
    assert_relation("a._orig_mod.b", "a.b", 0.95, true);
    assert_relation("a_b_weight", "a.b.weight", 0.9, true);
    assert_relation("x.gamma", "x.weight", 0.95, true);
    assert_relation("x.min_vals", "x.min_val", 0.95, true);
    assert_relation("x.weight_g", "x.parametrizations.weight.original0", 0.95, true);
    assert_relation("enc.weight", "dec.weight", 0.2, false);
    assert_true(qs_name_relate(QS_STR("a.weight"), QS_STR("b.bias")).confidence < 0.1);
}

static void test_core_names(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"module.model.a.b", "a.b"},
                                           {"a.module.b", "a.b"},
                                           {"a.b", "a.b"},
                                           {"a.model.b", "a.model.b"},
                                           {"module", "module"},
                                           {"model.module", "module"},
                                           {"", ""},
                                           {"_orig_mod.x._orig_mod.y", "x.y"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_buf b = {0};
        qs_name_core(qs_str_of(cases[i][0]), &b);
        assert_string_equal(b.p ? b.p : "", cases[i][1]);
        qs_buf_free(&b);
    }
}

typedef struct found {
    bundle x;
    qs_matches *m;
} found;

static found match(qs_checkpoint *a, qs_checkpoint *b) {
    found f = {.x = bundle_of(a, b)};
    bundle_compare(&f.x);
    assert_true(qs_match_all(f.x.c, &f.m, &f.x.e));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) { /* each row once, by both sides */
        const qs_suggestion *s = qs_matches_get(f.m, i);
        assert_int_equal(qs_matches_of_row(f.m, s->from), i);
        assert_int_equal(qs_matches_of_row(f.m, s->to), i);
        assert_true(s->confidence > 0 && s->confidence <= 1);
        assert_true(s->runner_up_confidence <= 1);
        assert_true(s->reason && *s->reason);
    }
    return f;
}
static void found_free(found *f) {
    qs_matches_free(f->m);
    bundle_free(&f->x);
}

/* The suggestion for key; "" if there is none. */
static const char *to_of(const found *f, const char *key, bool *safe) {
    static char out[128];
    uint32_t at = qs_compare_find(f->x.c, qs_str_of(key)), i = QS_NO_INDEX;
    out[0] = 0;
    *safe = false;
    if (at != QS_NO_INDEX) i = qs_matches_of_row(f->m, at);
    if (i == QS_NO_INDEX) return out;
    const qs_suggestion *s = qs_matches_get(f->m, i);
    *safe = s->safe;
    qs_str_printable(qs_compare_row(f->x.c, s->to)->key, out, sizeof out);
    return out;
}

static void assert_match(const found *f, const char *from, const char *to, bool want_safe) {
    bool safe;
    const char *got = to_of(f, from, &safe);
    assert_string_equal(got, to);
    if (safe != want_safe) fail_msg("%s -> %s: safe %d", from, to, safe);
}

static void test_float_into_qat(void **state) {
    (void)state;
    found f =
        match(SMALL_OPEN_VERSIONS(float_net, float_versions), SMALL_OPEN_VERSIONS(qat_net, qat_versions));
    assert_int_equal(qs_matches_count(f.m), 11);
    assert_match(&f, "m.0.conv.weight", "m.0.conv.module.weight", true);
    assert_match(&f, "m.0.bn.num_batches_tracked", "m.0.conv.module.bn.num_batches_tracked", true);
    assert_match(&f, "m.1.bn.weight", "m.1.conv.bn.weight", true);
    found_free(&f);
    f = match(SMALL_OPEN_VERSIONS(qat_net, qat_versions), SMALL_OPEN_VERSIONS(float_net, float_versions));
    assert_int_equal(qs_matches_count(f.m), 11); /* quantizer keys go nowhere */
    assert_match(&f, "m.0.conv.module.bn.bias", "m.0.bn.bias", true);
    assert_match(&f, "m.1.conv.bn.bias", "m.1.bn.bias", true);
    found_free(&f);
}

/* Two convs, then their BatchNorms under names that say nothing: the module before the first one is the wrong
 * conv. */
static void test_misleading_order_is_not_safe(void **state) {
    (void)state;
    static const small_entry a[] = {F32("a.weight", 4, 4, 1, 1), F32("b.weight", 4, 4, 1, 1), BN("x", 4),
                                    BN("y", 4)};
    static const small_entry b[] = {F32("a.weight", 4, 4, 1, 1), BN("a.bn", 4), F32("b.weight", 4, 4, 1, 1),
                                    BN("b.bn", 4)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) assert_false(qs_matches_get(f.m, i)->safe);
    found_free(&f);
    static const small_entry in_order[] = {F32("a.weight", 4, 4, 1, 1), BN("x", 4),
                                           F32("b.weight", 4, 4, 1, 1), BN("y", 4)};
    f = match(SMALL_OPEN(in_order), SMALL_OPEN(b));
    assert_match(&f, "x.weight", "a.bn.weight", true);
    assert_match(&f, "y.running_var", "b.bn.running_var", true);
    found_free(&f);
}

static void test_shapes_veto(void **state) {
    (void)state;
    static const small_entry a[] = {F32("p.conv.weight", 4, 3, 3, 3), BN("p.bn", 4)};
    static const small_entry b[] = {F32("p.conv.module.weight", 8, 3, 3, 3), BN("p.conv.module.bn", 8)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) /* only the counter, a scalar, fits */
        assert_true(qs_str_is(qs_str_leaf(qs_compare_row(f.x.c, qs_matches_get(f.m, i)->from)->key),
                              "num_batches_tracked"));
    found_free(&f);
}

static void test_prefixes(void **state) {
    (void)state;
    static const small_entry a[] = {F32("module.a.weight", 2, 2), F32("module.a.bias", 2),
                                    F32("module.b.weight", 2, 2)};
    static const small_entry b[] = {F32("a.weight", 2, 2), F32("a.bias", 2), F32("b.weight", 2, 2)};
    qs_str strip, add;
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_match(&f, "module.a.weight", "a.weight", true);
    assert_true(qs_matches_prefix(f.m, &strip, &add));
    assert_true(qs_str_is(strip, "module.") && add.n == 0);
    found_free(&f);
    f = match(SMALL_OPEN(b), SMALL_OPEN(a));
    assert_match(&f, "b.weight", "module.b.weight", true);
    assert_true(qs_matches_prefix(f.m, &strip, &add));
    assert_true(qs_str_is(add, "module.") && strip.n == 0);
    found_free(&f);
}

/* The same tensor twice in the target: nobody knows which is meant. */
static void test_ties_are_not_safe(void **state) {
    (void)state;
    static const small_entry a[] = {F32("blocks.0.weight", 2, 2), F32("blocks.1.weight", 2, 2)};
    static const small_entry b[] = {F32("enc.blocks.0.weight", 2, 2), F32("enc.blocks.1.weight", 2, 2),
                                    F32("dec.blocks.0.weight", 2, 2), F32("dec.blocks.1.weight", 2, 2)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) assert_false(qs_matches_get(f.m, i)->safe);
    found_free(&f);
    static const small_entry ema[] = {F32("ema.w", 2, 2), F32("model.w", 2, 2)},
                             bare[] = {F32("net.w", 2, 2)};
    f = match(SMALL_OPEN(ema), SMALL_OPEN(bare));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) assert_false(qs_matches_get(f.m, i)->safe);
    found_free(&f);
}

static void test_renumbering_is_only_suggested(void **state) {
    (void)state;
    static const small_entry a[] = {F32("f.10.weight", 4, 2), F32("f.12.weight", 6, 4),
                                    F32("f.14.weight", 4, 2)};
    static const small_entry b[] = {F32("f.0.weight", 4, 2), F32("f.1.weight", 6, 4),
                                    F32("f.2.weight", 4, 2)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_match(&f, "f.10.weight", "f.0.weight", false);
    assert_match(&f, "f.12.weight", "f.1.weight", false);
    assert_match(&f, "f.14.weight", "f.2.weight", false);
    found_free(&f);
}

static void test_renamed_modules(void **state) {
    (void)state;
    /* the whole model under another name, one layer inside a wrapper nobody knows */
    static const small_entry a[] = {F32("trunk.0.conv.weight", 4, 3, 3, 3),
                                    BN("trunk.0.bn", 4),
                                    F32("trunk.1.shell.conv.weight", 6, 4, 1, 1),
                                    BN("trunk.1.shell.bn", 6),
                                    F32("top.weight", 8, 6),
                                    F32("top.bias", 8),
                                    F32("here", 3)};
    static const small_entry b[] = {F32("model.0.conv.weight", 4, 3, 3, 3),
                                    BN("model.0.bn", 4),
                                    F32("model.1.conv.weight", 6, 4, 1, 1),
                                    BN("model.1.bn", 6),
                                    F32("head.weight", 8, 6),
                                    F32("head.bias", 8),
                                    F32("here", 3)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_match(&f, "trunk.0.conv.weight", "model.0.conv.weight", true);
    assert_match(&f, "trunk.0.bn.running_var", "model.0.bn.running_var", true);
    assert_match(&f, "trunk.1.shell.conv.weight", "model.1.conv.weight", true);
    assert_match(&f, "trunk.1.shell.bn.bias", "model.1.bn.bias", true);
    assert_match(&f, "top.weight", "head.weight", true);
    found_free(&f);
    /* two modules alike on both sides: which is which, nothing tells */
    static const small_entry twins[] = {F32("x.weight", 8, 6), F32("x.bias", 8), F32("y.weight", 8, 6),
                                        F32("y.bias", 8)};
    static const small_entry others[] = {F32("p.weight", 8, 6), F32("p.bias", 8), F32("q.weight", 8, 6),
                                         F32("q.bias", 8)};
    f = match(SMALL_OPEN(twins), SMALL_OPEN(others));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) assert_false(qs_matches_get(f.m, i)->safe);
    found_free(&f);
}

static void test_one_word_everywhere(void **state) {
    (void)state;
    /* the same shapes in every layer: endings tell nothing, the word that only one side knows does */
    static const small_entry a[] = {F32("m.0.inner.a.weight", 4, 4),
                                    F32("m.0.inner.b.weight", 4, 4),
                                    F32("m.1.inner.a.weight", 4, 4),
                                    F32("m.1.inner.b.weight", 4, 4),
                                    F32("m.2.inner.a.weight", 4, 4),
                                    F32("m.2.inner.b.weight", 4, 4),
                                    F32("here", 3)};
    static const small_entry b[] = {F32("m.0.a.weight", 4, 4),
                                    F32("m.0.b.weight", 4, 4),
                                    F32("m.1.a.weight", 4, 4),
                                    F32("m.1.b.weight", 4, 4),
                                    F32("m.2.a.weight", 4, 4),
                                    F32("m.2.b.weight", 4, 4),
                                    F32("here", 3)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_match(&f, "m.0.inner.b.weight", "m.0.b.weight", true);
    assert_match(&f, "m.2.inner.a.weight", "m.2.a.weight", true);
    found_free(&f);
}

static const char *renumbered(const qs_rename_pair *pairs, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++)
        if (qs_str_is(pairs[i].from, key)) return pairs[i].to.p;
    return "";
}

static void test_renumbering(void **state) {
    (void)state;
    /* activations between the layers: 2 and 4 are names of the model, too, but of other layers */
    static const small_entry a[] = {F32("f.0.weight", 4, 4), F32("f.2.weight", 4, 4), F32("f.4.weight", 4, 4),
                                    F32("f.6.weight", 4, 4), F32("f.8.weight", 4, 4)};
    static const small_entry b[] = {F32("f.0.weight", 4, 4), F32("f.1.weight", 4, 4), F32("f.2.weight", 4, 4),
                                    F32("f.3.weight", 4, 4), F32("f.4.weight", 4, 4)};
    qs_arena arena = {0};
    qs_rename_pair *pairs = NULL;
    size_t n;
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_true(qs_match_renumber(f.x.c, &arena, &pairs, &n, &f.x.e));
    assert_int_equal(n, 4);
    assert_string_equal(renumbered(pairs, n, "f.2.weight"), "f.1.weight");
    assert_string_equal(renumbered(pairs, n, "f.4.weight"), "f.2.weight");
    assert_string_equal(renumbered(pairs, n, "f.8.weight"), "f.4.weight");
    found_free(&f);
    /* another number of layers, or other contents: order tells nothing */
    static const small_entry fewer[] = {F32("f.0.weight", 4, 4), F32("f.2.weight", 4, 4),
                                        F32("f.9.weight", 4, 4)};
    static const small_entry mixed[] = {F32("f.0.weight", 4, 4), F32("f.2.weight", 4, 5),
                                        F32("f.4.weight", 4, 4), F32("f.6.weight", 4, 4),
                                        F32("f.8.weight", 4, 4)};
    f = match(SMALL_OPEN(fewer), SMALL_OPEN(b));
    assert_true(qs_match_renumber(f.x.c, &arena, &pairs, &n, &f.x.e));
    assert_int_equal(n, 0);
    found_free(&f);
    f = match(SMALL_OPEN(mixed), SMALL_OPEN(b));
    assert_true(qs_match_renumber(f.x.c, &arena, &pairs, &n, &f.x.e));
    assert_int_equal(n, 0);
    found_free(&f);
    qs_arena_free(&arena);
}

/* A wrapper's word before all names, and the blocks of a list moved by one: block 1 and 2 have a namesake
 * each, and the wrong one. Block 3, which goes nowhere, and the model's 0, to which nothing comes, give it
 * away. */
static void test_numbers_in_doubt(void **state) {
    (void)state;
    static const small_entry a[] = {F32("net.stem.weight", 5, 4), F32("net.f.1.fc.weight", 4, 4),
                                    F32("net.f.2.fc.weight", 4, 4), F32("net.f.3.fc.weight", 4, 4),
                                    F32("other.f.3.fc.weight", 2, 2)};
    static const small_entry b[] = {F32("stem.weight", 5, 4), F32("f.0.fc.weight", 4, 4),
                                    F32("f.1.fc.weight", 4, 4), F32("f.2.fc.weight", 4, 4),
                                    F32("other.f.3.fc.weight", 2, 2)};
    qs_arena arena = {0};
    qs_rename_pair *pairs = NULL;
    size_t n;
    bool safe;
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    const char *to = to_of(&f, "net.f.1.fc.weight", &safe);
    assert_true(!safe || strcmp(to, "f.0.fc.weight") == 0);
    assert_match(&f, "net.stem.weight", "stem.weight", true);
    found_free(&f);
    /* without the wrapper, order and contents tell */
    static const small_entry moved[] = {F32("f.1.fc.weight", 4, 4), F32("f.2.fc.weight", 4, 4),
                                        F32("f.3.fc.weight", 4, 4), F32("f.1.fc.mystery", 9)};
    static const small_entry model[] = {F32("f.0.fc.weight", 4, 4), F32("f.1.fc.weight", 4, 4),
                                        F32("f.2.fc.weight", 4, 4)};
    f = match(SMALL_OPEN(moved), SMALL_OPEN(model));
    assert_true(qs_match_renumber(f.x.c, &arena, &pairs, &n, &f.x.e));
    assert_string_equal(renumbered(pairs, n, "f.1.fc.weight"), "f.0.fc.weight");
    assert_string_equal(renumbered(pairs, n, "f.3.fc.weight"), "f.2.fc.weight");
    assert_string_equal(renumbered(pairs, n, "f.1.fc.mystery"),
                        "f.0.fc.mystery"); /* whatever it is, it is the block's */
    found_free(&f);
    qs_arena_free(&arena);
}

/* A student and its teacher: which is meant, names do not tell. One of them alone is a prefix. */
static void test_copies(void **state) {
    (void)state;
#define NET(p) F32(p "a.weight", 4, 2), F32(p "a.bias", 4), F32(p "b.weight", 3, 4), F32(p "b.bias", 3)
    static const small_entry two[] = {NET("ema."), NET("model.")};
    static const small_entry one[] = {NET("ema."), F32("queue", 7)};
    static const small_entry model[] = {NET("")};
    qs_str first, second;
    found f = match(SMALL_OPEN(two), SMALL_OPEN(model));
    assert_true(qs_matches_copies(f.m, &first, &second));
    assert_true((qs_str_is(first, "ema.") && qs_str_is(second, "model.")) ||
                (qs_str_is(first, "model.") && qs_str_is(second, "ema.")));
    assert_false(qs_matches_prefix(f.m, &first, &second));
    for (size_t i = 0; i < qs_matches_count(f.m); i++) assert_false(qs_matches_get(f.m, i)->safe);
    found_free(&f);
    f = match(SMALL_OPEN(one), SMALL_OPEN(model));
    assert_false(qs_matches_copies(f.m, &first, &second));
    assert_true(qs_matches_prefix(f.m, &first, &second));
    assert_true(qs_str_is(first, "ema."));
    found_free(&f);
#undef NET
}

static void test_underscores(void **state) {
    (void)state;
    static const small_entry a[] = {F32("backbone_conv1_weight", 4, 2), F32("neck_fc_weight", 4, 2),
                                    F32("a_b_c", 1)};
    static const small_entry b[] = {F32("backbone.conv1.weight", 4, 2), F32("neck.fc.weight", 4, 2),
                                    F32("a.b_c", 1), F32("a_b.c", 1)};
    found f = match(SMALL_OPEN(a), SMALL_OPEN(b));
    assert_match(&f, "backbone_conv1_weight", "backbone.conv1.weight", true);
    assert_match(&f, "neck_fc_weight", "neck.fc.weight", true);
    bool safe;
    to_of(&f, "a_b_c", &safe);
    assert_false(safe); /* two names flatten to it */
    found_free(&f);
}

static void test_candidates(void **state) {
    (void)state;
    found f =
        match(SMALL_OPEN_VERSIONS(float_net, float_versions), SMALL_OPEN_VERSIONS(qat_net, qat_versions));
    qs_suggestion out[5];
    uint32_t at = qs_compare_find(f.x.c, QS_STR("m.0.conv.weight"));
    size_t n = qs_match_candidates(f.x.c, at, out, 5);
    assert_true(n >= 1);
    assert_true(qs_str_is(qs_compare_row(f.x.c, out[0].to)->key, "m.0.conv.module.weight"));
    assert_true(out[0].safe);
    for (size_t i = 1; i < n; i++) {
        assert_true(out[i].confidence <= out[i - 1].confidence);
        assert_false(out[i].safe);
    }
    at = qs_compare_find(f.x.c, QS_STR("m.1.bn.bias"));
    n = qs_match_candidates(f.x.c, at, out, 5); /* four tensors of this shape lack in that place */
    assert_true(n == 5);
    assert_true(qs_str_is(qs_compare_row(f.x.c, out[0].to)->key, "m.1.conv.bn.bias"));
    assert_int_equal(out[0].runner_up, out[1].to);
    assert_int_equal(qs_match_candidates(f.x.c, at, out, 0), 0);
    found_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_core_names),
        cmocka_unit_test(test_float_into_qat),
        cmocka_unit_test(test_misleading_order_is_not_safe),
        cmocka_unit_test(test_shapes_veto),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_ties_are_not_safe),
        cmocka_unit_test(test_renumbering_is_only_suggested),
        cmocka_unit_test(test_renamed_modules),
        cmocka_unit_test(test_one_word_everywhere),
        cmocka_unit_test(test_renumbering),
        cmocka_unit_test(test_numbers_in_doubt),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_underscores),
        cmocka_unit_test(test_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

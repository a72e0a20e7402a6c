#include "repair_fixture.h"

#define PAIR(a, b)                                                                                           \
    {                                                                                                        \
        {a, sizeof(a) - 1}, {                                                                                \
            b, sizeof(b) - 1                                                                                 \
        }                                                                                                    \
    }

static bundle float_into_qat(void) {
    return bundle_of(SMALL_OPEN_VERSIONS(float_net, float_versions),
                     SMALL_OPEN_VERSIONS(qat_net, qat_versions));
}
static bundle alone(void) {
    return bundle_of(SMALL_OPEN_VERSIONS(float_net, float_versions), NULL);
}

static void assert_refused(bundle *x, qs_action a, const char *words) {
    size_t before = qs_plan_count(x->plan);
    assert_false(push(x, a));
    assert_int_equal(x->e.code, QS_E_REFUSED);
    if (!strstr(x->e.msg, words)) fail_msg("\"%s\" does not say \"%s\"", x->e.msg, words);
    qs_plan_retract(x->plan);
    assert_int_equal(qs_plan_count(x->plan), before);
    assert_true(bundle_resolve(x));
}

static void test_empty_plan_is_a(void **state) {
    (void)state;
    bundle x = float_into_qat();
    assert_true(bundle_resolve(&x));
    assert_int_equal(qs_resolution_live(x.r), qs_checkpoint_count(x.a));
    for (uint32_t i = 0; i < qs_resolution_count(x.r); i++) { /* A's own order, though there is a target */
        const qs_resolved *r = qs_resolution_entry(x.r, i);
        assert_true(qs_str_eq(r->key, qs_checkpoint_entry(x.a, i)->key));
        assert_int_equal(r->a, i);
        assert_int_equal(r->mark, QS_MARK_NONE);
        assert_true(r->shape_known);
    }
    assert_true(qs_resolution_has_metadata(x.r));
    assert_int_equal(qs_resolution_metadata_count(x.r), 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_true(qs_str_is(qs_resolution_metadata_prefix(x.r, i), float_versions[i].prefix));
        assert_int_equal(qs_resolution_metadata_version(x.r, i), INT64_MIN);
        assert_int_not_equal(qs_resolution_metadata_node(x.r, i), QS_NODE_NONE);
    }
    assert_int_equal(version(&x, "m.0.bn"), 2);
    assert_int_equal(version(&x, "nowhere"), -1);
    bundle_free(&x);
}

static void test_renames_are_simultaneous(void **state) {
    (void)state;
    bundle x = alone();
    const qs_rename_pair swap[] = {PAIR("head.weight", "head.bias"), PAIR("head.bias", "head.weight")};
    assert_true(push(&x, rename_of(swap, 2)));
    assert_int_equal(entry(&x, "head.weight")->a, qs_checkpoint_find(x.a, QS_STR("head.bias")));
    assert_int_equal(entry(&x, "head.weight")->mark, QS_MARK_RENAMED);
    assert_int_equal(qs_resolution_touched(x.r, 0), 2);
    assert_true(push(&x, rename_of(swap, 2))); /* and back */
    assert_int_equal(entry(&x, "head.weight")->mark, QS_MARK_NONE);
    const qs_rename_pair ring[] = {PAIR("head.weight", "head.bias"), PAIR("head.bias", "new"),
                                   PAIR("m.0.bn.bias", "head.weight")};
    assert_true(push(&x, rename_of(ring, 3)));
    assert_int_equal(entry(&x, "new")->a, qs_checkpoint_find(x.a, QS_STR("head.bias")));
    assert_null(entry(&x, "m.0.bn.bias"));
    assert_int_equal(qs_resolution_live(x.r), qs_checkpoint_count(x.a));
    bundle_free(&x);
}

static void test_collisions_name_both(void **state) {
    (void)state;
    bundle x = alone();
    const qs_rename_pair onto[] = {PAIR("head.weight", "head.bias")};
    assert_refused(&x, rename_of(onto, 1), "head.weight -> head.bias collides with the key head.bias");
    const qs_rename_pair both[] = {PAIR("head.weight", "q"), PAIR("head.bias", "q")};
    assert_refused(&x, rename_of(both, 2), "head.bias -> q collides with head.weight");
    const qs_rename_pair gone[] = {PAIR("nope", "q")};
    assert_refused(&x, rename_of(gone, 1), "action 1: nope");
    const qs_rename_pair twice[] = {PAIR("head.weight", "q"), PAIR("head.weight", "r")};
    assert_refused(&x, rename_of(twice, 2), "head.weight: is renamed twice");
    const qs_rename_pair empty[] = {PAIR("head.weight", "")};
    assert_refused(&x, rename_of(empty, 1), "empty name");
    assert_refused(&x, regex_rule("head\\..*", "same"), "collides");
    const qs_rename_pair fine[] = {PAIR("head.weight", "head.w")};
    assert_true(push(&x, rename_of(fine, 1)));
    assert_refused(&x, rename_of(fine, 1), "action 2: head.weight");
    bundle_free(&x);
}

static bool resolve_leniently(bundle *x) {
    bundle_clear(x);
    qs_resolve_input in = {x->a, x->b, x->target, x->plan, .lenient = true, .check_content = true};
    return qs_resolve(&in, &x->r, &x->e);
}

static void assert_unapplied(const bundle *x, size_t i, uint32_t action, const char *key, const char *words) {
    const qs_unapplied *u = qs_resolution_unapplied(x->r, i);
    assert_int_equal(u->action, action);
    assert_true(qs_str_is(u->key, key));
    if (!strstr(u->why, words)) fail_msg("\"%s\" does not say \"%s\"", u->why, words);
}

static void test_lenient_leaves_out_and_lists(void **state) {
    (void)state;
    bundle x = alone();
    /* head.bias stays, so m.0.bn.bias cannot have its name, nor m.1.bn.bias that one's. */
    const qs_rename_pair chain[] = {PAIR("m.1.bn.bias", "m.0.bn.bias"), PAIR("m.0.bn.bias", "head.bias"),
                                    PAIR("head.bias", "head.weight"), PAIR("nope", "q"),
                                    PAIR("m.0.conv.weight", "w")};
    qs_action rename = rename_of(chain, 5), idle = prefix_rule("module.", "");
    assert_true(qs_plan_push(x.plan, &rename, &x.e) && qs_plan_push(x.plan, &idle, &x.e));
    assert_true(resolve_leniently(&x));
    assert_int_equal(qs_resolution_unapplied_count(x.r), 5);
    assert_unapplied(&x, 0, 0, "nope", "no such key");
    assert_unapplied(&x, 1, 0, "head.bias", "cannot be renamed to head.weight: collides");
    assert_unapplied(&x, 2, 0, "m.0.bn.bias", "the key that has the name now");
    assert_unapplied(&x, 3, 0, "m.1.bn.bias", "the key that has the name now");
    assert_unapplied(&x, 4, 1, "", "no key matches");
    assert_int_equal(qs_resolution_touched(x.r, 0), 1);
    assert_non_null(entry(&x, "w"));
    bundle_free(&x);
}

static void test_preconditions(void **state) {
    (void)state;
    static const int64_t dims[] = {2, 4}, other[] = {2, 5};
    bundle x = alone();
    qs_precondition want = {
        .key = QS_STR("head.weight"), .has_shape = true, .shape = {2, dims}, .dtype = QS_FLOAT32};
    qs_action drop = scoped(QS_ACT_DROP, QS_SCOPE_SUBTREE, "head");
    drop.expects = &want;
    drop.expect_count = 1;
    assert_true(push(&x, drop));
    assert_int_equal(qs_resolution_touched(x.r, 0), 2);
    qs_plan_retract(x.plan);
    want.shape.dim = other;
    assert_refused(&x, drop, "action 1: head.weight: expected shape 2x5, found 2x4");
    want.has_shape = false;
    want.dtype = QS_FLOAT16;
    assert_refused(&x, drop, "expected float16, found float32");
    want.key = QS_STR("nope");
    assert_refused(&x, drop, "expected to be there");
    /* All of the action is left out, and the next one goes on. */
    qs_action next = prefix_rule("m.", "n.");
    assert_true(qs_plan_push(x.plan, &drop, &x.e) && qs_plan_push(x.plan, &next, &x.e));
    assert_true(resolve_leniently(&x));
    assert_int_equal(qs_resolution_unapplied_count(x.r), 1);
    assert_unapplied(&x, 0, 0, "nope", "expected to be there");
    assert_int_equal(qs_resolution_touched(x.r, 0), 0);
    assert_int_equal(qs_resolution_touched(x.r, 1), 12);
    bundle_free(&x);
}

static void test_rule_matches_whole_keys(void **state) {
    (void)state;
    bundle x = alone();
    assert_true(push(&x, regex_rule("(.*)\\.bn\\.(.*)", "$1.conv.bn.$2")));
    assert_int_equal(qs_resolution_touched(x.r, 0), 10);
    assert_non_null(entry(&x, "m.1.conv.bn.running_var"));
    assert_true(push(&x, prefix_rule("", "model.")));
    assert_int_equal(qs_resolution_touched(x.r, 1), 14);
    assert_non_null(entry(&x, "model.m.1.conv.bn.running_var"));
    assert_int_equal(entry(&x, "model.head.weight")->action, 1);
    bundle_free(&x);
}

static void test_drop_lists_entries_at_the_end(void **state) {
    (void)state;
    bundle x = alone();
    assert_true(push(&x, prefix_rule("head.", "fc.")));
    assert_true(push(&x, scoped(QS_ACT_DROP, QS_SCOPE_SUBTREE, "m.0")));
    assert_int_equal(qs_resolution_touched(x.r, 1), 6);
    assert_int_equal(qs_resolution_live(x.r), 8);
    assert_int_equal(qs_resolution_count(x.r), 14);
    for (uint32_t i = 8; i < 14; i++) assert_int_equal(qs_resolution_entry(x.r, i)->mark, QS_MARK_DROPPED);
    assert_null(entry(&x, "m.0.conv.weight"));
    assert_true(push(&x, scoped(QS_ACT_DROP, QS_SCOPE_KEY, "fc.bias"))); /* listed under A's own name */
    assert_true(qs_str_is(qs_resolution_entry(x.r, 13)->key, "head.bias"));
    const qs_rename_pair take[] = {PAIR("fc.weight", "m.0.conv.weight")}; /* the name is free again */
    assert_true(push(&x, rename_of(take, 1)));
    assert_int_equal(entry(&x, "m.0.conv.weight")->shape.ndim, 2);
    assert_refused(&x, scoped(QS_ACT_DROP, QS_SCOPE_KEY, "fc.bias"), "no such key");
    bundle_free(&x);
}

static void test_init_fills_what_the_target_wants(void **state) {
    (void)state;
    bundle x = float_into_qat();
    assert_true(push(&x, scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, "m.1.conv.weight_fake_quant")));
    assert_int_equal(qs_resolution_touched(x.r, 0), 7);
    const qs_resolved *scale = entry(&x, "m.1.conv.weight_fake_quant.scale");
    assert_int_equal(scale->mark, QS_MARK_INIT);
    assert_true(scale->shape_known && scale->shape.ndim == 1 && scale->dtype == QS_FLOAT32);
    qs_arena arena = {0};
    qs_fill fill;
    assert_true(qs_resolved_fill(x.r, scale, NULL, &arena, &fill, &x.e));
    float one;
    memcpy(&one, fill.data, sizeof one);
    assert_true(one == 1.0f);
    qs_arena_free(&arena);
    /* A weight cannot be made: refused by name, left out of a scope. */
    assert_refused(&x, scoped(QS_ACT_INIT, QS_SCOPE_KEY, "m.0.conv.module.weight"), "m.0.conv.module.weight");
    assert_true(push(&x, scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, "m.0.conv")));
    const char *why = NULL;
    assert_int_equal(qs_resolution_skipped(x.r, 1, &why), 1);
    assert_non_null(strstr(why, "m.0.conv.module.weight"));
    assert_refused(&x, scoped(QS_ACT_INIT, QS_SCOPE_KEY, "nope"), "nope");
    assert_refused(&x, scoped(QS_ACT_INIT, QS_SCOPE_KEY, "m.1.conv.weight_fake_quant.scale"), "already");
    /* What is there already is passed over, or replaced where that is said. */
    assert_true(push(&x, scoped(QS_ACT_INIT, QS_SCOPE_REGEX, ".*weight_fake_quant\\.scale")));
    assert_int_equal(qs_resolution_touched(x.r, 2), 0);
    qs_action again = scoped(QS_ACT_INIT, QS_SCOPE_REGEX, ".*weight_fake_quant\\.scale");
    again.replace = true;
    again.source = QS_INIT_OBSERVED;
    assert_true(push(&x, again));
    assert_int_equal(qs_resolution_touched(x.r, 3), 1);
    assert_int_equal(qs_resolution_skipped(x.r, 3, &why), 1); /* m.0.conv has no weight to observe yet */
    assert_int_equal(entry(&x, "m.1.conv.weight_fake_quant.scale")->source, QS_INIT_OBSERVED);
    bundle_free(&x);
    x = alone();
    assert_refused(&x, scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, ""), "wants a model");
    assert_refused(&x, scoped(QS_ACT_COPY, QS_SCOPE_SUBTREE, ""), "no B");
    bundle_free(&x);
}

static void test_copy_from_b(void **state) {
    (void)state;
    bundle x = float_into_qat();
    assert_true(push(&x, scoped(QS_ACT_COPY, QS_SCOPE_SUBTREE, "")));
    assert_int_equal(qs_resolution_touched(x.r, 0), qs_checkpoint_count(x.b) - 3);
    const qs_checkpoint *from = NULL;
    const qs_resolved *w = entry(&x, "m.0.conv.module.weight");
    assert_int_equal(w->mark, QS_MARK_COPIED);
    assert_non_null(qs_resolved_tensor(x.r, w, &from));
    assert_ptr_equal(from, x.b);
    assert_true(w->shape.ndim == 4);
    qs_action init = scoped(QS_ACT_INIT, QS_SCOPE_KEY, "head.weight");
    init.source = QS_INIT_COPY;
    init.replace = true;
    assert_true(push(&x, init)); /* an INIT from B is a copy */
    assert_int_equal(entry(&x, "head.weight")->mark, QS_MARK_COPIED);
    assert_true(
        push(&x, scoped(QS_ACT_DROP, QS_SCOPE_KEY, "head.weight"))); /* A's own comes back as dropped */
    assert_int_equal(qs_resolution_count(x.r) - qs_resolution_live(x.r), 1);
    assert_true(
        push(&x, scoped(QS_ACT_DROP, QS_SCOPE_KEY, "m.0.conv.module.weight"))); /* never was A's: just gone */
    assert_int_equal(qs_resolution_count(x.r) - qs_resolution_live(x.r), 1);
    bundle_free(&x);
}

static void test_order_is_the_targets(void **state) {
    (void)state;
    bundle x = float_into_qat();
    const qs_rename_pair p[] = {PAIR("m.0.conv.weight", "m.0.conv.module.weight")};
    assert_true(push(&x, rename_of(p, 1)));
    assert_true(push(&x, scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, "m.0.conv.quant")));
    uint32_t last = 0, known = 0;
    for (uint32_t i = 0; i < qs_resolution_live(x.r); i++) {
        uint32_t at = qs_manifest_find(x.target, qs_resolution_entry(x.r, i)->key);
        if (at == UINT32_MAX) continue;
        assert_true(known == 0 || at > last);
        assert_int_equal(i, known); /* the target's keys come first */
        last = at;
        known++;
    }
    assert_int_equal(known, 7 + 1 + 1 + 2);
    for (uint32_t i = known; i < qs_resolution_live(x.r); i++) /* then the others as they stand in A */
        assert_true(i == known || qs_resolution_entry(x.r, i)->a > qs_resolution_entry(x.r, i - 1)->a);
    for (uint32_t i = 0; i < qs_resolution_live(x.r); i++)
        assert_int_equal(qs_resolution_find(x.r, qs_resolution_entry(x.r, i)->key), i);
    bundle_free(&x);
}

/* ---- `_metadata` ---- */

static void test_metadata_follows_the_keys(void **state) {
    (void)state;
    bundle x = alone();
    assert_true(push(&x, regex_rule("(.*)\\.bn\\.(.*)", "$1.conv.bn.$2")));
    assert_int_equal(version(&x, "m.0.conv.bn"), 2);
    assert_int_equal(version(&x, "m.0.bn"), -1);
    assert_int_equal(version(&x, "m.0.act"), 1); /* its neighbours went different ways: it stays */
    assert_int_equal(version(&x, "m.0.conv"), 1);
    bundle_free(&x);
}

static void test_metadata_of_a_prefix(void **state) {
    (void)state;
    bundle x = alone();
    assert_true(push(&x, prefix_rule("", "module.")));
    for (size_t i = 0; i < sizeof float_versions / sizeof *float_versions; i++) {
        char name[64];
        snprintf(name, sizeof name, "module%s%s", *float_versions[i].prefix ? "." : "",
                 float_versions[i].prefix);
        assert_int_equal(version(&x, name),
                         float_versions[i].version); /* m.0.act too, which has no entries */
    }
    assert_int_equal(qs_resolution_metadata_count(x.r), 10);
    assert_true(push(&x, prefix_rule("module.m.", "module.layers.")));
    assert_int_equal(version(&x, "module.layers.0.act"), 1);
    assert_int_equal(version(&x, "module.layers"), 1);
    assert_int_equal(version(&x, "module.head"), 1);
    assert_true(push(&x, prefix_rule("module.", "")));
    assert_int_equal(version(&x, "layers.1.bn"), 2);
    assert_int_equal(version(&x, ""), 1);
    bundle_free(&x);
}

static void test_touched_modules_get_the_targets_version(void **state) {
    (void)state;
    bundle x = float_into_qat();
    const qs_rename_pair p[] = {PAIR("m.0.conv.weight", "m.0.conv.module.weight")};
    assert_true(push(&x, rename_of(p, 1)));
    assert_int_equal(version(&x, "m.0.conv.module"), 2); /* A's dict says 1 */
    assert_int_equal(version(&x, "m.0.conv"), 1);        /* the wrapper that is there now */
    assert_int_equal(version(&x, "m.1.conv"), 1);        /* not touched */
    assert_true(push(&x, regex_rule("m\\.1\\.bn\\.(.*)", "m.1.conv.bn.$1")));
    assert_int_equal(version(&x, "m.1.conv"), 2); /* holds a bn now, as version 2 does */
    assert_true(push(&x, scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, "m.1.conv.weight_fake_quant")));
    assert_int_equal(version(&x, "m.1.conv.weight_fake_quant"), 1);
    assert_int_equal(version(&x, "m.1.conv.weight_fake_quant.activation_post_process"), 3);
    bundle_free(&x);
}

static void test_metadata_is_made_only_when_versions_matter(void **state) {
    (void)state;
    bundle x = bundle_of(SMALL_OPEN(float_net), SMALL_OPEN_VERSIONS(qat_net, qat_versions));
    assert_true(bundle_resolve(&x));
    assert_false(qs_resolution_has_metadata(x.r));
    const qs_rename_pair p[] = {PAIR("head.weight", "head.bias"), PAIR("head.bias", "head.weight")};
    assert_true(push(&x, rename_of(p, 2)));
    assert_false(qs_resolution_has_metadata(x.r));
    assert_true(push(&x, scoped(QS_ACT_INIT, QS_SCOPE_SUBTREE, "m.1.conv.weight_fake_quant")));
    assert_true(qs_resolution_has_metadata(x.r));
    assert_int_equal(version(&x, "m.1.conv.weight_fake_quant.activation_post_process"), 3);
    assert_int_equal(version(&x, "m.0.bn"), -1); /* not touched: loads as it did */
    bundle_free(&x);
}

/* ---- where eps comes from ---- */

static void test_bn_eps_by_evidence(void **state) {
    (void)state;
    bundle x = float_into_qat();
    const char *from = NULL;
    qs_init_context ctx;
    assert_true(bundle_resolve(&x));
    assert_true(isnan(qs_resolution_bn_eps(x.r, &from)));
    qs_resolution_init_context(x.r, 0.5, &ctx);
    assert_true(ctx.bn_eps == 0.5);
    bundle_free(&x);
    static const char yolo[] =
        "{\"format\": \"qatscope-manifest\", \"version\": 1, \"model\": "
        "\"ultralytics.nn.tasks.DetectionModel\", \"modules\": {}, \"state_dict\": []}";
    x = alone();
    assert_true(qs_manifest_parse(yolo, sizeof yolo - 1, "m.json", NULL, &x.target, &x.e));
    assert_true(bundle_resolve(&x));
    assert_true(qs_resolution_bn_eps(x.r, &from) == 1e-3);
    assert_non_null(from);
    bundle_free(&x);
}

/* ---- random plans: no entry is ever lost or doubled ---- */

static uint64_t rng;
static uint32_t rnd(uint32_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 33) % n;
}

static qs_action random_action(qs_rename_pair *pair, const bundle *x) {
    static const char *const scopes[] = {"", "m.0", "m.1.conv", "head", "nowhere"};
    static const char *const from[] = {"(.*)\\.bn\\.(.*)", "m\\.(\\d)\\.(.*)", "(.*)weight(.*)", "(.*)()",
                                       "head\\.(.*)()"};
    static const char *const to[] = {"$1.conv.bn.$2", "layers.$1.$2", "$1w$2", "model.$1$2", "$1$2"};
    uint32_t n = qs_resolution_live(x->r), what = rnd(6);
    if (what == 0 && n) {
        pair->from = qs_resolution_entry(x->r, rnd(n))->key;
        pair->to = rnd(2) ? qs_resolution_entry(x->r, rnd(n))->key : QS_STR("somewhere.new");
        return rename_of(pair, 1);
    }
    if (what <= 2) return regex_rule(from[rnd(5)], to[rnd(5)]);
    qs_action a = scoped(what == 3   ? QS_ACT_DROP
                         : what == 4 ? QS_ACT_INIT
                                     : QS_ACT_COPY,
                         QS_SCOPE_SUBTREE, scopes[rnd(5)]);
    if (a.kind == QS_ACT_DROP && a.scope.n == 0) a.scope = QS_STR("m.1");
    a.source = rnd(2) ? QS_INIT_FRESH : QS_INIT_OBSERVED;
    a.replace = a.kind != QS_ACT_DROP && rnd(3) == 0;
    return a;
}

static void check_invariants(const bundle *x) {
    uint32_t n = qs_resolution_count(x->r), live = qs_resolution_live(x->r), touched = 0;
    char *seen = calloc(qs_checkpoint_count(x->a) + 1, 1);
    assert_true(live <= n);
    for (uint32_t i = 0; i < n; i++) {
        const qs_resolved *r = qs_resolution_entry(x->r, i);
        assert_int_equal(r->mark == QS_MARK_DROPPED, i >= live);
        if (r->a != QS_NO_INDEX) {
            assert_false(seen[r->a]); /* an entry of A is used once */
            seen[r->a] = 1;
            bool same = qs_str_eq(r->key, qs_checkpoint_entry(x->a, r->a)->key);
            assert_int_equal(r->mark == QS_MARK_RENAMED, !same);
        }
        assert_int_equal(r->mark == QS_MARK_COPIED, r->b != QS_NO_INDEX);
        assert_true(r->mark != QS_MARK_INIT || (r->expected != QS_NO_INDEX && r->shape_known));
        if (i < live) assert_int_equal(qs_resolution_find(x->r, r->key), i); /* names are unique */
        touched += r->mark != QS_MARK_NONE;
    }
    free(seen);
    for (uint32_t i = 0; i < qs_resolution_metadata_count(x->r); i++) {
        qs_str p = qs_resolution_metadata_prefix(x->r, i);
        for (uint32_t k = 0; k < i; k++) assert_false(qs_str_eq(p, qs_resolution_metadata_prefix(x->r, k)));
    }
    if (qs_plan_count(x->plan) == 0) assert_int_equal(touched, 0);
}

static void test_random_plans(void **state) {
    (void)state;
    bundle x = float_into_qat();
    for (uint64_t seed = 1; seed <= 150; seed++) {
        rng = seed * 0x9e3779b97f4a7c15u;
        assert_true(bundle_resolve(&x));
        for (int i = 0; i < 12; i++) {
            qs_rename_pair pair;
            qs_action a = random_action(&pair, &x);
            if (push(&x, a)) {
                check_invariants(&x);
                continue;
            }
            if (x.e.code != QS_E_REFUSED) fail_msg("seed %llu: %s", (unsigned long long)seed, x.e.msg);
            qs_plan_retract(x.plan);
            assert_true(bundle_resolve(&x));
        }
        while (qs_plan_undo(x.plan)) {
        }
    }
    assert_true(bundle_resolve(&x));
    assert_int_equal(qs_resolution_live(x.r), qs_checkpoint_count(x.a));
    bundle_free(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_plan_is_a),
        cmocka_unit_test(test_renames_are_simultaneous),
        cmocka_unit_test(test_collisions_name_both),
        cmocka_unit_test(test_lenient_leaves_out_and_lists),
        cmocka_unit_test(test_preconditions),
        cmocka_unit_test(test_rule_matches_whole_keys),
        cmocka_unit_test(test_drop_lists_entries_at_the_end),
        cmocka_unit_test(test_init_fills_what_the_target_wants),
        cmocka_unit_test(test_copy_from_b),
        cmocka_unit_test(test_order_is_the_targets),
        cmocka_unit_test(test_metadata_follows_the_keys),
        cmocka_unit_test(test_metadata_of_a_prefix),
        cmocka_unit_test(test_touched_modules_get_the_targets_version),
        cmocka_unit_test(test_metadata_is_made_only_when_versions_matter),
        cmocka_unit_test(test_bn_eps_by_evidence),
        cmocka_unit_test(test_random_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the tests of the repair layer share: a float net, its QAT twin, and a session-like bundle of derived
 * data. */
#ifndef TESTS_REPAIR_FIXTURE_H
#define TESTS_REPAIR_FIXTURE_H

#include "repair/diagnose.h"
#include "small_ckpt.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const small_entry float_net[] = {
    F32("m.0.conv.weight", 4, 3, 3, 3), BN("m.0.bn", 4),
    F32("m.1.conv.weight", 4, 4, 1, 1), BN("m.1.bn", 4),
    F32("head.weight", 2, 4),           F32("head.bias", 2),
};
static const small_version float_versions[] = {{"", 1},       {"m", 1},       {"m.0", 1}, {"m.0.conv", 1},
                                               {"m.0.bn", 2}, {"m.0.act", 1}, {"m.1", 1}, {"m.1.conv", 1},
                                               {"m.1.bn", 2}, {"head", 1}};
/* m.0.conv is wrapped, m.1.conv is not; head stays float. */
static const small_entry qat_net[] = {
    FQ("m.0.conv.quant.activation_post_process"),
    F32("m.0.conv.module.weight", 4, 3, 3, 3),
    BN("m.0.conv.module.bn", 4),
    FQ("m.0.conv.module.weight_fake_quant"),
    F32("m.1.conv.weight", 4, 4, 1, 1),
    BN("m.1.conv.bn", 4),
    FQ("m.1.conv.weight_fake_quant"),
    F32("head.weight", 2, 4),
    F32("head.bias", 2),
};
static const small_version qat_versions[] = {
    {"", 1},
    {"m", 1},
    {"m.0", 1},
    {"m.0.conv", 1},
    {"m.0.conv.quant.activation_post_process", 1},
    {"m.0.conv.quant.activation_post_process.activation_post_process", 3},
    {"m.0.conv.module", 2},
    {"m.0.conv.module.bn", 2},
    {"m.0.conv.module.weight_fake_quant", 1},
    {"m.0.conv.module.weight_fake_quant.activation_post_process", 3},
    {"m.0.bn", 1},
    {"m.1", 1},
    {"m.1.conv", 2},
    {"m.1.conv.bn", 2},
    {"m.1.conv.weight_fake_quant", 1},
    {"m.1.conv.weight_fake_quant.activation_post_process", 3},
    {"head", 1},
};

typedef struct bundle {
    qs_checkpoint *a, *b;
    qs_manifest *target;
    qs_plan *plan;
    qs_resolution *r;
    qs_verdict *v;
    qs_compare *c;
    qs_err e;
} bundle;

static inline void bundle_clear(bundle *x) {
    qs_compare_free(x->c);
    qs_verdict_free(x->v);
    qs_resolution_free(x->r);
    x->c = NULL;
    x->v = NULL;
    x->r = NULL;
}

static inline void bundle_free(bundle *x) {
    bundle_clear(x);
    qs_plan_free(x->plan);
    qs_manifest_close(x->target);
    qs_checkpoint_close(x->b);
    qs_checkpoint_close(x->a);
}

/* Target from b, if there is one. */
static inline bundle bundle_of(qs_checkpoint *a, qs_checkpoint *b) {
    bundle x = {.a = a, .b = b, .plan = qs_plan_new(), .e = QS_ERR_INIT};
    assert_non_null(a);
    if (b) assert_true(qs_manifest_from_checkpoint(b, &x.target, &x.e));
    return x;
}

static inline bool bundle_resolve(bundle *x) {
    bundle_clear(x);
    x->e = (qs_err)QS_ERR_INIT;
    qs_resolve_input in = {x->a, x->b, x->target, x->plan};
    return qs_resolve(&in, &x->r, &x->e);
}

static inline void bundle_compare(bundle *x) {
    if (!bundle_resolve(x)) fail_msg("%s", x->e.msg);
    qs_strict_options opt = {.strict = true};
    if (x->target) {
        qs_strict_source src = qs_strict_source_of_resolution(x->r);
        assert_true(qs_strict_run(x->target, &src, &opt, &x->v, &x->e));
    }
    assert_true(qs_compare_make(x->r, x->v, &x->c, &x->e));
}

static inline bool push(bundle *x, qs_action a) {
    if (a.kind != QS_ACT_INIT) a.bn_eps = NAN;
    assert_true(qs_plan_push(x->plan, &a, &x->e));
    return bundle_resolve(x);
}

static inline qs_action rename_of(const qs_rename_pair *pairs, size_t n) {
    return (qs_action){.kind = QS_ACT_RENAME, .pairs = pairs, .pair_count = n};
}
static inline qs_action regex_rule(const char *pattern, const char *to) {
    return (qs_action){.kind = QS_ACT_RULE,
                       .pattern_kind = QS_PATTERN_REGEX,
                       .pattern = qs_str_of(pattern),
                       .replacement = qs_str_of(to)};
}
static inline qs_action prefix_rule(const char *from, const char *to) {
    return (qs_action){.kind = QS_ACT_RULE,
                       .pattern_kind = QS_PATTERN_PREFIX,
                       .pattern = qs_str_of(from),
                       .replacement = qs_str_of(to)};
}
static inline qs_action scoped(qs_action_kind kind, qs_scope_kind scope, const char *text) {
    return (qs_action){
        .kind = kind, .scope_kind = scope, .scope = qs_str_of(text), .source = QS_INIT_FRESH, .bn_eps = NAN};
}

static inline const qs_resolved *entry(const bundle *x, const char *key) {
    uint32_t i = qs_resolution_find(x->r, qs_str_of(key));
    return i == QS_NO_INDEX ? NULL : qs_resolution_entry(x->r, i);
}
static inline int64_t version(const bundle *x, const char *prefix) {
    return qs_resolution_version(x->r, qs_str_of(prefix));
}
static inline const qs_row *row(const bundle *x, const char *key) {
    uint32_t i = qs_compare_find(x->c, qs_str_of(key));
    return i == QS_NO_INDEX ? NULL : qs_compare_row(x->c, i);
}

#endif

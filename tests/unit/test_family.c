#include "base/map.h"
#include "quant/family.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* A state dict of a few keys. */
struct key {
    const char *name;
    qs_dtype dtype;
    uint32_t ndim;
    int64_t dim[4];
};
struct set {
    const struct key *keys;
    size_t n;
};

static bool set_find(const void *ctx, qs_str key, qs_key_info *info) {
    const struct set *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (qs_str_is(key, s->keys[i].name)) {
            *info = (qs_key_info){.shape_known = s->keys[i].dtype != QS_DTYPE_UNKNOWN,
                                  .shape = {s->keys[i].ndim, s->keys[i].dim},
                                  .dtype = s->keys[i].dtype};
            return true;
        }
    return false;
}

#define NONE "", "", ""
struct expect {
    const char *key;
    qs_family family;
    qs_role role;
    const char *block, *leaf, *owner;
    bool is_weight;
};

static void check(const struct set *s, const struct expect *x) {
    qs_key_set keys = {set_find, s};
    qs_quant_key q;
    bool found = qs_quant_classify(qs_str_of(x->key), s ? &keys : NULL, &q);
    if (found != (x->family != QS_FAMILY_NONE))
        fail_msg("%s: %s", x->key, found ? qs_family_name(q.family) : "not recognised");
    if (!found) return;
    if (q.family != x->family || q.role != x->role || !qs_str_is(q.block, x->block) ||
        !qs_str_is(q.leaf, x->leaf) || !qs_str_is(q.owner, x->owner) || q.is_weight != x->is_weight)
        fail_msg("%s: %s, %s, block '%.*s', leaf '%.*s', owner '%.*s', weight %d", x->key,
                 qs_family_label(q.family), qs_role_name(q.role), QS_FMT(q.block), QS_FMT(q.leaf),
                 QS_FMT(q.owner), q.is_weight);
}
#define CHECK_ALL(set_, table)                                                                               \
    for (size_t i_ = 0; i_ < sizeof(table) / sizeof *(table); i_++) check(set_, &(table)[i_])

#define APP "activation_post_process"

static void test_torch_names_need_no_sibling(void **state) {
    (void)state;
    static const struct expect t[] = {
        {"a.b.weight_fake_quant.scale", QS_FAMILY_TORCH, QS_ROLE_WEIGHT_SCALE, "a.b.weight_fake_quant",
         "scale", "a.b", true},
        {"a.weight_fake_quant.zero_point", QS_FAMILY_TORCH, QS_ROLE_ZERO_POINT, "a.weight_fake_quant",
         "zero_point", "a", true},
        {"a.weight_fake_quant." APP ".min_val", QS_FAMILY_TORCH, QS_ROLE_OBSERVER, "a.weight_fake_quant",
         APP ".min_val", "a", true},
        {"quant." APP ".fake_quant_enabled", QS_FAMILY_TORCH, QS_ROLE_FLAG, "quant." APP,
         "fake_quant_enabled", "quant", false},
        /* the first component wins */
        {"x." APP "." APP ".scale", QS_FAMILY_TORCH, QS_ROLE_ACT_SCALE, "x." APP, APP ".scale", "x", false},
        {"x." APP "." APP ".histogram", QS_FAMILY_TORCH, QS_ROLE_OBSERVER, "x." APP, APP ".histogram", "x",
         false},
        {"x." APP ".eps", QS_FAMILY_TORCH, QS_ROLE_OBSERVER, "x." APP, "eps", "x", false},
        {"x." APP ".max_vals", QS_FAMILY_TORCH, QS_ROLE_OBSERVER, "x." APP, "max_vals", "x", false},
        {APP "_12.scale", QS_FAMILY_TORCH, QS_ROLE_ACT_SCALE, APP "_12", "scale", "", false},
        {APP "_0." APP ".max_val", QS_FAMILY_TORCH, QS_ROLE_OBSERVER, APP "_0", APP ".max_val", "", false},
        {"add_1_" APP "_0.zero_point", QS_FAMILY_TORCH, QS_ROLE_ZERO_POINT, "add_1_" APP "_0", "zero_point",
         "", false},
        {"x.weight_fake_quant.static_enabled", QS_FAMILY_TORCH, QS_ROLE_FLAG, "x.weight_fake_quant",
         "static_enabled", "x", true},
        {"weight_fake_quant.scale", QS_FAMILY_TORCH, QS_ROLE_WEIGHT_SCALE, "weight_fake_quant", "scale", "",
         true},
        {"f.input_quant_stubs.0." APP ".scale", QS_FAMILY_SPARSEML, QS_ROLE_ACT_SCALE,
         "f.input_quant_stubs.0." APP, "scale", "f.input_quant_stubs.0", false},
    };
    CHECK_ALL(NULL, t);
}

static void test_what_only_looks_alike_is_left_alone(void **state) {
    (void)state;
    static const struct key keys[] = {
        {"affine.scale", QS_FLOAT32, 1, {1}},
        {"affine.bias", QS_FLOAT32, 1, {1}},
        {"scales.0.scale", QS_FLOAT32, 1, {1}},
        {"blocks.0.attn.logit_scale", QS_FLOAT32, 3, {4, 1, 1}},
        {"blocks.0.layer_scale", QS_FLOAT32, 1, {8}},
        {"act.scales", QS_FLOAT32, 1, {8}},
        {"bn.num_batches_tracked", QS_INT64, 0, {0}},
        {"bn.eps", QS_FLOAT32, 1, {1}},
        {"pact.alpha", QS_FLOAT32, 1, {1}},
        {"odd.scale", QS_FLOAT32, 1, {8}},
        {"odd.zero_point", QS_INT64, 1, {1}},
        {"float.scale", QS_FLOAT32, 1, {1}},
        {"float.zero_point", QS_FLOAT32, 1, {1}},
        {"fc.weight", QS_FLOAT32, 2, {4, 4}},
        {"x." APP ".foo", QS_FLOAT32, 1, {1}},
        {"x." APP "s.scale", QS_FLOAT32, 1, {1}},
        {"my" APP "_0.scale", QS_FLOAT32, 1, {1}},
        {"_" APP "_0.scale", QS_FLOAT32, 1, {1}},
        {"x.weight_fake_quant", QS_FLOAT32, 1, {1}},
        {"x.weight_fake_quant.other.scale", QS_FLOAT32, 1, {1}},
        {"x.weight_fake_quant." APP ".observer_enabled", QS_UINT8, 1, {1}},
        {"x." APP "_.scale", QS_FLOAT32, 1, {1}},
        {"", QS_FLOAT32, 1, {1}},
        {".", QS_FLOAT32, 1, {1}},
        {"scale", QS_FLOAT32, 1, {1}},
        {"upscale", QS_FLOAT32, 1, {1}},
        {"upzero_point", QS_INT64, 1, {1}},
    };
    struct set s = {keys, sizeof keys / sizeof *keys};
    for (size_t i = 0; i < s.n; i++) {
        struct expect x = {keys[i].name, QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false};
        check(&s, &x);
        check(NULL, &x);
    }
}

static void test_a_weight_is_known_by_its_quantizer(void **state) {
    (void)state;
    static const struct key keys[] = {
        {"c.weight", QS_FLOAT32, 2, {4, 4}},
        {"c.bias", QS_FLOAT32, 1, {4}},
        {"c.weight_fake_quant.scale", QS_FLOAT32, 1, {1}},
        {"d.weight", QS_FLOAT32, 2, {4, 4}},
        {"weight", QS_FLOAT32, 1, {4}},
    };
    struct set s = {keys, sizeof keys / sizeof *keys};
    static const struct expect t[] = {
        {"c.weight", QS_FAMILY_TORCH, QS_ROLE_WEIGHT, "", "c.weight", "c", true},
        {"c.bias", QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false},
        {"d.weight", QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false},
        {"weight", QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false},
    };
    CHECK_ALL(&s, t);
}

static void test_sparseml_wraps_leaves(void **state) {
    (void)state;
    static const struct key keys[] = {
        {"m.0.conv.quant." APP ".scale", QS_FLOAT32, 1, {1}},
        {"m.0.conv.module.weight", QS_FLOAT32, 4, {4, 3, 3, 3}},
        {"m.0.conv.module.weight_fake_quant.scale", QS_FLOAT32, 1, {1}},
        {"m.0.act.quant." APP ".scale", QS_FLOAT32, 1, {1}},
        {"m.1.conv.weight_fake_quant.scale", QS_FLOAT32, 1, {1}},
        /* a stub of torch's own, and torch's QuantWrapper round a whole model */
        {"backbone.quant." APP ".scale", QS_FLOAT32, 1, {1}},
        {"quant." APP ".scale", QS_FLOAT32, 1, {1}},
        {"module.conv.weight_fake_quant.scale", QS_FLOAT32, 1, {1}},
    };
    struct set s = {keys, sizeof keys / sizeof *keys};
    static const struct expect t[] = {
        {"m.0.conv.quant." APP ".scale", QS_FAMILY_SPARSEML, QS_ROLE_ACT_SCALE, "m.0.conv.quant." APP,
         "scale", "m.0.conv.quant", false},
        {"m.0.conv.module.weight", QS_FAMILY_SPARSEML, QS_ROLE_WEIGHT, "", "m.0.conv.module.weight",
         "m.0.conv.module", true},
        {"m.0.conv.module.weight_fake_quant." APP ".min_val", QS_FAMILY_SPARSEML, QS_ROLE_OBSERVER,
         "m.0.conv.module.weight_fake_quant", APP ".min_val", "m.0.conv.module", true},
        {"m.0.act.quant." APP ".zero_point", QS_FAMILY_SPARSEML, QS_ROLE_ZERO_POINT, "m.0.act.quant." APP,
         "zero_point", "m.0.act.quant", false},
        {"m.1.conv.weight_fake_quant.scale", QS_FAMILY_TORCH, QS_ROLE_WEIGHT_SCALE,
         "m.1.conv.weight_fake_quant", "scale", "m.1.conv", true},
        {"backbone.quant." APP ".scale", QS_FAMILY_TORCH, QS_ROLE_ACT_SCALE, "backbone.quant." APP, "scale",
         "backbone.quant", false},
        {"quant." APP ".scale", QS_FAMILY_TORCH, QS_ROLE_ACT_SCALE, "quant." APP, "scale", "quant", false},
        {"module.conv.weight_fake_quant.scale", QS_FAMILY_TORCH, QS_ROLE_WEIGHT_SCALE,
         "module.conv.weight_fake_quant", "scale", "module.conv", true},
    };
    CHECK_ALL(&s, t);
}

static void test_converted_int8(void **state) {
    (void)state;
    static const struct key keys[] = {
        {"quant.scale", QS_FLOAT32, 1, {1}},     {"quant.zero_point", QS_INT64, 1, {1}},
        {"c.scale", QS_FLOAT32, 0, {0}},         {"c.zero_point", QS_INT64, 0, {0}},
        {"c.weight", QS_QINT8, 4, {4, 3, 3, 3}}, {"c.bias", QS_FLOAT32, 1, {4}},
        {"c_input_scale_0", QS_FLOAT32, 0, {0}}, {"c_input_zero_point_0", QS_INT64, 0, {0}},
        {"_scale_0", QS_FLOAT32, 0, {0}},        {"_zero_point_0", QS_INT64, 0, {0}},
        {"_frozen_param0", QS_INT8, 2, {4, 4}},  {"_frozen_param1", QS_FLOAT32, 1, {4}},
        {"_scale_1", QS_FLOAT32, 0, {0}}, /* alone */
    };
    struct set s = {keys, sizeof keys / sizeof *keys};
    static const struct expect t[] = {
        {"quant.scale", QS_FAMILY_TORCH_INT8, QS_ROLE_ACT_SCALE, "quant", "scale", "quant", false},
        {"quant.zero_point", QS_FAMILY_TORCH_INT8, QS_ROLE_ZERO_POINT, "quant", "zero_point", "quant", false},
        {"c.scale", QS_FAMILY_TORCH_INT8, QS_ROLE_ACT_SCALE, "c", "scale", "c", false},
        {"c.weight", QS_FAMILY_TORCH_INT8, QS_ROLE_PACKED, "c", "weight", "c", true},
        {"c.bias", QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false},
        {"c_input_scale_0", QS_FAMILY_TORCH_INT8, QS_ROLE_ACT_SCALE, "", "c_input_scale_0", "", false},
        {"_zero_point_0", QS_FAMILY_TORCH_INT8, QS_ROLE_ZERO_POINT, "", "_zero_point_0", "", false},
        {"_frozen_param0", QS_FAMILY_TORCH_INT8, QS_ROLE_PACKED, "", "_frozen_param0", "", true},
        {"_frozen_param1", QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false},
        {"_scale_1", QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false},
        {"l._packed_params._packed_params", QS_FAMILY_TORCH_INT8, QS_ROLE_PACKED, "l._packed_params",
         "_packed_params", "l", true},
        {"l._packed_params.dtype", QS_FAMILY_TORCH_INT8, QS_ROLE_PACKED, "l._packed_params", "dtype", "l",
         true},
    };
    CHECK_ALL(&s, t);
}

static void test_long_keys_do_not_overflow(void **state) {
    (void)state;
    enum { N = 5000 };
    char *key = malloc(N + 64);
    memset(key, 'a', N);
    static const char *const tails[] = {".scale", ".weight", ".zero_point", "_scale_0",
                                        "_scale_00000000000000000000"};
    struct set s = {NULL, 0};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        strcpy(key + N, tails[i]);
        check(&s, &(struct expect){key, QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false});
    }
    strcpy(key + N, ".weight_fake_quant.scale");
    qs_quant_key q;
    assert_true(qs_quant_classify(qs_str_of(key), NULL, &q));
    assert_int_equal(q.owner.n, N);
    free(key);
}

static void test_every_role_and_family_has_a_name(void **state) {
    (void)state;
    for (int f = 1; f < QS_FAMILY_COUNT; f++) {
        assert_true(strlen(qs_family_name((qs_family)f)) > 0);
        assert_true(strlen(qs_family_label((qs_family)f)) > 0);
        assert_null(strchr(qs_family_label((qs_family)f), ' '));
        for (int g = 1; g < f; g++)
            assert_string_not_equal(qs_family_label((qs_family)f), qs_family_label((qs_family)g));
    }
    for (int r = 1; r < QS_ROLE_COUNT; r++) assert_true(qs_role_letter((qs_role)r) != ' ');
    assert_int_equal(qs_role_letter(QS_ROLE_NONE), ' ');
    assert_int_equal(qs_role_letter((qs_role)99), ' ');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_names_need_no_sibling),
        cmocka_unit_test(test_what_only_looks_alike_is_left_alone),
        cmocka_unit_test(test_a_weight_is_known_by_its_quantizer),
        cmocka_unit_test(test_sparseml_wraps_leaves),
        cmocka_unit_test(test_converted_int8),
        cmocka_unit_test(test_long_keys_do_not_overflow),
        cmocka_unit_test(test_every_role_and_family_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/arena.h"
#include "base/map.h"
#include "quant/family.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

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

/* In one pass, and in two over the whole set: they must agree. */
static bool classify_both_ways(const struct set *s, qs_str key, const qs_key_set *keys, qs_quant_key *out) {
    uint32_t families = 0;
    qs_quant_key q;
    for (size_t i = 0; s && i < s->n; i++)
        if (qs_quant_classify_among(qs_str_of(s->keys[i].name), keys, 0, &q))
            families |= QS_FAMILY_BIT(q.family);
    bool once = qs_quant_classify(key, keys, out);
    assert_int_equal(once, qs_quant_classify_among(key, keys, families, &q));
    if (once) assert_int_equal(out->family, q.family);
    return once;
}

static void check(const struct set *s, const struct expect *x) {
    qs_key_set keys = {set_find, s};
    qs_quant_key q;
    bool found = classify_both_ways(s, qs_str_of(x->key), s ? &keys : NULL, &q);
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

/* Every other family: the keys its own code writes, with what must not be taken for them. */
static void test_other_families(void **state) {
    (void)state;
    static const struct key keys[] = {
        {"n.weight", QS_FLOAT32, 4, {8, 3, 3, 3}},
        {"n._weight_quantizer._amax", QS_FLOAT32, 4, {8, 1, 1, 1}},
        {"n._input_quantizer._amax", QS_FLOAT32, 0, {0}},
        {"m.weight", QS_FLOAT16, 2, {8, 8}},
        {"m.weight_quantizer._amax", QS_FLOAT32, 2, {8, 1}},
        {"m.input_quantizer.0._amax", QS_FLOAT32, 0, {0}},
        {"q.weight", QS_FLOAT32, 2, {8, 8}},
        {"q._weight_quantizer.scale", QS_FLOAT32, 0, {0}},
        {"v.weight", QS_FLOAT32, 2, {8, 8}},
        {"v.weight_quantizer.log_threshold", QS_FLOAT32, 1, {1}},
        {"b.weight", QS_FLOAT32, 2, {8, 8}},
        {"b.weight_quant.tensor_quant.scaling_impl.value", QS_FLOAT32, 0, {0}},
        {"nncf_module.c.weight", QS_FLOAT32, 2, {8, 8}},
        {"nncf_module.c.pre_ops.0.op.scale", QS_FLOAT32, 2, {8, 1}},
        {"nncf_module.c.pre_ops.0.op._num_bits", QS_INT32, 1, {1}},
        {"a.weight", QS_FLOAT32, 2, {8, 8}},
        {"a.param_quantizers.weight.min", QS_FLOAT32, 0, {0}},
        {"t.weight", QS_FLOAT32, 2, {8, 8}},
        {"t.weight_fake_quantizer.scale", QS_FLOAT32, 1, {8}},
        {"i4.weight", QS_INT32, 2, {8, 8}},
        {"i4.scales_and_zeros", QS_BFLOAT16, 3, {1, 8, 2}},
        {"bb.weight", QS_UINT8, 2, {32, 1}},
        {"bb.weight.absmax", QS_FLOAT32, 1, {1}},
        {"b8.weight", QS_INT8, 2, {8, 8}},
        {"b8.SCB", QS_FLOAT32, 1, {8}},
        {"b8.weight_format", QS_UINT8, 0, {0}},
        {"qq.weight._data", QS_INT8, 2, {8, 8}},
        {"qq.weight._scale", QS_FLOAT32, 2, {8, 1}},
        {"qq.input_scale", QS_FLOAT32, 0, {0}},
        {"g.qweight", QS_INT32, 2, {16, 64}},
        {"g.qzeros", QS_INT32, 2, {1, 8}},
        {"g.scales", QS_FLOAT16, 2, {1, 64}},
        {"g.g_idx", QS_INT32, 1, {128}},
        {"w.qweight", QS_INT32, 2, {128, 8}},
        {"w.qzeros", QS_INT32, 2, {1, 8}},
        {"w.scales", QS_FLOAT16, 2, {1, 64}},
        {"h.W_q", QS_UINT8, 2, {8, 8}},
        {"h.scale", QS_FLOAT16, 2, {8, 1}},
        {"h.zero", QS_FLOAT16, 2, {8, 1}},
        {"f.weight", QS_FLOAT8_E4M3FN, 2, {256, 256}},
        {"f.weight_scale_inv", QS_FLOAT32, 2, {2, 2}},
        {"ct.weight", QS_INT8, 2, {8, 8}},
        {"ct.weight_scale", QS_BFLOAT16, 2, {8, 1}},
        {"cp.weight_packed", QS_INT32, 2, {8, 1}},
        {"cp.weight_scale", QS_BFLOAT16, 2, {8, 1}},
        {"cp.weight_shape", QS_INT64, 1, {2}},
        {"attn.k_scale", QS_FLOAT32, 1, {1}},
        {"attn.v_scale", QS_FLOAT32, 1, {1}},
        {"attn.k_proj.weight_scale", QS_FLOAT32, 1, {1}},
        /* no family: */
        {"no1.weight", QS_FLOAT32, 2, {8, 8}},
        {"no1.weight_scale", QS_FLOAT32, 1, {1}},
        {"no2.input_scale", QS_FLOAT32, 1, {1}},
        {"no3.scales", QS_FLOAT32, 1, {8}},
        {"no4.k_scale", QS_FLOAT32, 1, {1}},
        {"no5.SCB", QS_FLOAT32, 1, {1}},
        {"no6.absmax", QS_FLOAT32, 1, {1}},
        {"no7.min", QS_FLOAT32, 1, {1}},
        {"no8.my_quantizer._amax", QS_FLOAT32, 1, {1}},
        {"no9.activation_quantizer.scale", QS_FLOAT32, 1, {1}},
        {"no10.zero", QS_FLOAT32, 1, {1}},
        {"no11.pre_ops.weight", QS_FLOAT32, 1, {1}},
        {"_amax", QS_FLOAT32, 1, {1}},
        {"weight_quantizer", QS_FLOAT32, 1, {1}},
        {"no12.0._amax", QS_FLOAT32, 1, {1}},
        {"0._amax", QS_FLOAT32, 1, {1}},
    };
    struct set s = {keys, sizeof keys / sizeof *keys};
    static const struct expect t[] = {
        {"n.weight", QS_FAMILY_NVIDIA, QS_ROLE_WEIGHT, "", "n.weight", "n", true},
        {"n._weight_quantizer._amax", QS_FAMILY_NVIDIA, QS_ROLE_OBSERVER, "n._weight_quantizer", "_amax", "n",
         true},
        {"n._input_quantizer._amax", QS_FAMILY_NVIDIA, QS_ROLE_OBSERVER, "n._input_quantizer", "_amax", "n",
         false},
        {"m.input_quantizer.0._amax", QS_FAMILY_NVIDIA, QS_ROLE_OBSERVER, "m.input_quantizer.0", "_amax", "m",
         false},
        {"x.q_bmm_quantizer._pre_quant_scale", QS_FAMILY_NVIDIA, QS_ROLE_ACT_SCALE, "x.q_bmm_quantizer",
         "_pre_quant_scale", "x", false},
        {"x.my_weight_quantizer._scale", QS_FAMILY_NVIDIA, QS_ROLE_WEIGHT_SCALE, "x.my_weight_quantizer",
         "_scale", "x", true},
        {"x.weight_quantizer.clip.clip_value_max", QS_FAMILY_NVIDIA, QS_ROLE_OBSERVER, "x.weight_quantizer",
         "clip.clip_value_max", "x", true},
        {"q.weight", QS_FAMILY_QUARK, QS_ROLE_WEIGHT, "", "q.weight", "q", true},
        {"q._weight_quantizer.scale", QS_FAMILY_QUARK, QS_ROLE_WEIGHT_SCALE, "q._weight_quantizer", "scale",
         "q", true},
        {"q._input_quantizer.zero_point", QS_FAMILY_QUARK, QS_ROLE_ZERO_POINT, "q._input_quantizer",
         "zero_point", "q", false},
        {"v.weight", QS_FAMILY_VITIS, QS_ROLE_WEIGHT, "", "v.weight", "v", true},
        {"v.weight_quantizer.log_threshold", QS_FAMILY_VITIS, QS_ROLE_WEIGHT_SCALE, "v.weight_quantizer",
         "log_threshold", "v", true},
        {"v.bias_quantizer.warmup_enabled", QS_FAMILY_VITIS, QS_ROLE_FLAG, "v.bias_quantizer",
         "warmup_enabled", "v", true},
        {"b.weight", QS_FAMILY_BREVITAS, QS_ROLE_WEIGHT, "", "b.weight", "b", true},
        {"b.weight_quant.tensor_quant.scaling_impl.value", QS_FAMILY_BREVITAS, QS_ROLE_WEIGHT_SCALE,
         "b.weight_quant", "tensor_quant.scaling_impl.value", "b", true},
        {"b.act_quant.fused_activation_quant_proxy.tensor_quant.zero_point_impl.value", QS_FAMILY_BREVITAS,
         QS_ROLE_ZERO_POINT, "b.act_quant", "fused_activation_quant_proxy.tensor_quant.zero_point_impl.value",
         "b", false},
        {"nncf_module.c.weight", QS_FAMILY_NNCF, QS_ROLE_WEIGHT, "", "nncf_module.c.weight", "nncf_module.c",
         true},
        {"nncf_module.c.pre_ops.0.op.scale", QS_FAMILY_NNCF, QS_ROLE_WEIGHT_SCALE,
         "nncf_module.c.pre_ops.0.op", "scale", "nncf_module.c", true},
        {"external_quantizers.Net/Conv2d[c]/relu_0|OUTPUT.input_low", QS_FAMILY_NNCF, QS_ROLE_OBSERVER,
         "external_quantizers.Net/Conv2d[c]/relu_0|OUTPUT", "input_low", "", false},
        {"a.weight", QS_FAMILY_AIMET, QS_ROLE_WEIGHT, "", "a.weight", "a", true},
        {"a.param_quantizers.weight.min", QS_FAMILY_AIMET, QS_ROLE_OBSERVER, "a.param_quantizers.weight",
         "min", "a", true},
        {"a.input_quantizers.0.max", QS_FAMILY_AIMET, QS_ROLE_OBSERVER, "a.input_quantizers.0", "max", "a",
         false},
        {"t.weight", QS_FAMILY_TORCHAO, QS_ROLE_WEIGHT, "", "t.weight", "t", true},
        {"t.activation_fake_quantizer.zero_point", QS_FAMILY_TORCHAO, QS_ROLE_ZERO_POINT,
         "t.activation_fake_quantizer", "zero_point", "t", false},
        {"i4.weight", QS_FAMILY_TORCHAO, QS_ROLE_PACKED, "i4", "weight", "i4", true},
        {"i4.scales_and_zeros", QS_FAMILY_TORCHAO, QS_ROLE_WEIGHT_SCALE, "i4", "scales_and_zeros", "i4",
         true},
        {"bb.weight", QS_FAMILY_BITSANDBYTES, QS_ROLE_PACKED, "bb", "weight", "bb", true},
        {"bb.weight.absmax", QS_FAMILY_BITSANDBYTES, QS_ROLE_WEIGHT_SCALE, "bb.weight", "absmax", "bb", true},
        {"bb.weight.quant_state.bitsandbytes__nf4", QS_FAMILY_BITSANDBYTES, QS_ROLE_PACKED, "bb.weight",
         "quant_state.bitsandbytes__nf4", "bb", true},
        {"b8.weight", QS_FAMILY_BITSANDBYTES, QS_ROLE_PACKED, "b8", "weight", "b8", true},
        {"b8.SCB", QS_FAMILY_BITSANDBYTES, QS_ROLE_WEIGHT_SCALE, "b8", "SCB", "b8", true},
        {"b8.weight_format", QS_FAMILY_BITSANDBYTES, QS_ROLE_FLAG, "b8", "weight_format", "b8", true},
        {"qq.weight._data", QS_FAMILY_QUANTO, QS_ROLE_PACKED, "qq.weight", "_data", "qq", true},
        {"qq.input_scale", QS_FAMILY_QUANTO, QS_ROLE_ACT_SCALE, "qq", "input_scale", "qq", false},
        {"g.qweight", QS_FAMILY_GPTQ, QS_ROLE_PACKED, "g", "qweight", "g", true},
        {"g.scales", QS_FAMILY_GPTQ, QS_ROLE_WEIGHT_SCALE, "g", "scales", "g", true},
        {"g.g_idx", QS_FAMILY_GPTQ, QS_ROLE_PACKED, "g", "g_idx", "g", true},
        {"w.qzeros", QS_FAMILY_AWQ, QS_ROLE_ZERO_POINT, "w", "qzeros", "w", true},
        {"h.W_q", QS_FAMILY_HQQ, QS_ROLE_PACKED, "h", "W_q", "h", true},
        {"h.zero", QS_FAMILY_HQQ, QS_ROLE_ZERO_POINT, "h", "zero", "h", true},
        {"f.weight", QS_FAMILY_FP8_BLOCK, QS_ROLE_PACKED, "f", "weight", "f", true},
        {"f.weight_scale_inv", QS_FAMILY_FP8_BLOCK, QS_ROLE_WEIGHT_SCALE, "f", "weight_scale_inv", "f", true},
        {"ct.weight", QS_FAMILY_COMPRESSED, QS_ROLE_PACKED, "ct", "weight", "ct", true},
        {"ct.weight_scale", QS_FAMILY_COMPRESSED, QS_ROLE_WEIGHT_SCALE, "ct", "weight_scale", "ct", true},
        {"cp.weight_shape", QS_FAMILY_COMPRESSED, QS_ROLE_PACKED, "cp", "weight_shape", "cp", true},
        {"attn.k_scale", QS_FAMILY_COMPRESSED, QS_ROLE_ACT_SCALE, "attn", "k_scale", "attn", false},
    };
    CHECK_ALL(&s, t);
    for (size_t i = 0; i < s.n; i++) {
        const char *name = keys[i].name;
        if (name[0] != 'n' || name[1] != 'o' || strchr(name, '.') == NULL) continue;
        check(&s, &(struct expect){name, QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false});
    }
    static const char *const odd[] = {"_amax", "weight_quantizer", "0._amax", "no12.0._amax"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        check(&s, &(struct expect){odd[i], QS_FAMILY_NONE, QS_ROLE_NONE, NONE, false});
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

/* ---- keys made at random from the words all families use ---- */

static bool found_by_chance(const void *ctx, qs_str key, qs_key_info *info) {
    static const int64_t dim[] = {8, 8};
    uint64_t h = qs_hash(key.p, key.n, *(const uint64_t *)ctx);
    *info = (qs_key_info){
        .shape_known = h & 1, .shape = {2, dim}, .dtype = (qs_dtype)(h >> 8 & 31) % QS_DTYPE_COUNT};
    return h >> 4 & 1;
}

static bool within(qs_str part, qs_str key) {
    return part.n == 0 || (part.p >= key.p && part.p + part.n <= key.p + key.n);
}

static void assert_consistent(qs_str key, const qs_quant_key *q) {
    assert_true(q->family > QS_FAMILY_NONE && q->family < QS_FAMILY_COUNT);
    assert_true(q->role > QS_ROLE_NONE && q->role < QS_ROLE_COUNT);
    assert_true(within(q->block, key) && within(q->leaf, key) && within(q->owner, key));
    assert_true(qs_str_starts(key, q->block) && qs_str_starts(key, q->owner) && qs_str_ends(key, q->leaf));
    assert_int_equal(q->block.n + (q->block.n ? 1 : 0) + q->leaf.n, key.n); /* block . leaf is the key */
    assert_true(q->block.n == 0 || q->owner.n <= q->block.n);
    if (q->role == QS_ROLE_WEIGHT) assert_true(q->is_weight && q->block.n == 0);
    if (q->role == QS_ROLE_WEIGHT_SCALE) assert_true(q->is_weight);
    if (q->role == QS_ROLE_ACT_SCALE) assert_false(q->is_weight);
}

static void test_random_keys_split_consistently(void **state) {
    (void)state;
    static const char *const words[] = {"a",
                                        "0",
                                        "12",
                                        "conv",
                                        "module",
                                        "quant",
                                        "weight",
                                        "weight_fake_quant",
                                        APP,
                                        APP "_3",
                                        "x_" APP "_0",
                                        "scale",
                                        "zero_point",
                                        "min_val",
                                        "eps",
                                        "fake_quant_enabled",
                                        "_weight_quantizer",
                                        "input_quantizer",
                                        "_amax",
                                        "clip",
                                        "clip_value_min",
                                        "tensor_quant",
                                        "scaling_impl",
                                        "weight_quant",
                                        "act_quant",
                                        "fused_activation_quant_proxy",
                                        "pre_ops",
                                        "op",
                                        "external_quantizers",
                                        "param_quantizers",
                                        "input_quantizers",
                                        "min",
                                        "max",
                                        "qweight",
                                        "scales",
                                        "qzeros",
                                        "g_idx",
                                        "W_q",
                                        "zero",
                                        "weight_scale",
                                        "k_scale",
                                        "_data",
                                        "_scale",
                                        "absmax",
                                        "SCB",
                                        "quant_state",
                                        "bitsandbytes__nf4",
                                        "_packed_params",
                                        "dtype",
                                        "_scale_0",
                                        "_zero_point_0",
                                        "input_scale",
                                        "",
                                        "scales_and_zeros",
                                        "log_threshold",
                                        "input_quant_stubs",
                                        "weight_scale_inv",
                                        "weight_scale_2",
                                        "_frozen_param0"};
    enum { WORDS = sizeof words / sizeof *words };
    uint64_t seed = 20240607;
    size_t recognised = 0;
    for (int i = 0; i < 200000; i++) {
        char text[256] = "";
        size_t n = 0;
        uint64_t h = qs_hash(&i, sizeof i, seed);
        for (uint64_t k = 1 + h % 5; k > 0; k--, h = qs_hash(&h, sizeof h, seed))
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "." : "", words[h / 7 % WORDS]);
        qs_str key = {text, n};
        qs_key_set keys = {found_by_chance, &h};
        qs_quant_key q, again;
        if (!qs_quant_classify(key, i % 3 ? &keys : NULL, &q)) continue;
        recognised++;
        assert_consistent(key, &q);
        assert_true(qs_quant_classify(key, i % 3 ? &keys : NULL, &again));
        assert_true(q.family == again.family && q.role == again.role && q.block.n == again.block.n);
    }
    assert_true(recognised > 5000);
}

/* ---- --bench: a million keys ---- */

static bool map_find(const void *ctx, qs_str key, qs_key_info *info) {
    *info = (qs_key_info){.dtype = QS_FLOAT32};
    return qs_map_get(ctx, key) != QS_MAP_NONE;
}

static int bench(void) {
    enum { N = 1000000 };
    static const char *const shapes[][4] = {
        {"model.%d.cv1.conv.weight", "model.%d.cv1.conv.bias", "model.%d.cv1.bn.weight",
         "model.%d.cv1.bn.running_mean"},
        {"model.%d.conv.module.weight_fake_quant.scale", "model.%d.conv.module.weight",
         "model.%d.conv.quant." APP "." APP ".min_val", "model.%d.conv.module.bn.running_var"}};
    for (int kind = 0; kind < 2; kind++) {
        qs_arena a = {0};
        qs_map m = {0};
        qs_str *keys = malloc(N * sizeof *keys);
        for (uint32_t i = 0; i < N; i++) {
            char text[128];
            snprintf(text, sizeof text, shapes[kind][i % 4], (int)(i / 4));
            keys[i] = qs_arena_str(&a, qs_str_of(text));
            qs_map_put(&m, keys[i], i);
        }
        qs_key_set set = {map_find, &m};
        qs_quant_key q;
        size_t found = 0;
        clock_t t = clock();
        uint32_t families = 0;
        for (uint32_t i = 0; i < N; i++)
            if (!qs_quant_is_weight_name(keys[i]) && qs_quant_classify_among(keys[i], &set, 0, &q)) {
                found++;
                families |= QS_FAMILY_BIT(q.family);
            }
        for (uint32_t i = 0; i < N; i++)
            if (qs_quant_is_weight_name(keys[i]))
                found += qs_quant_classify_among(keys[i], &set, families, &q);
        printf("%s: %d keys, %zu recognised, %.0f ms\n", kind ? "QAT" : "float", N, found,
               1e3 * (double)(clock() - t) / CLOCKS_PER_SEC);
        free(keys);
        qs_map_free(&m);
        qs_arena_free(&a);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--bench") == 0) return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_names_need_no_sibling),
        cmocka_unit_test(test_what_only_looks_alike_is_left_alone),
        cmocka_unit_test(test_a_weight_is_known_by_its_quantizer),
        cmocka_unit_test(test_sparseml_wraps_leaves),
        cmocka_unit_test(test_converted_int8),
        cmocka_unit_test(test_other_families),
        cmocka_unit_test(test_random_keys_split_consistently),
        cmocka_unit_test(test_long_keys_do_not_overflow),
        cmocka_unit_test(test_every_role_and_family_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Families whose quantizers are modules with a telling name: a component of the key says it all
 * (qat-keys.md, sections 3 and 4). */
#include "quant/family_impl.h"

/* What a leaf under a quantizer component is; SCALE stands for the scale of whatever the component quantizes.
 */
typedef struct leaf_role {
    const char *leaf;
    qs_role role;
} leaf_role;
#define SCALE QS_ROLE_ACT_SCALE

static bool role_of(const leaf_role *t, size_t n, qs_str leaf, bool is_weight, qs_role *out) {
    for (size_t i = 0; i < n; i++) {
        if (!qs_str_is(leaf, t[i].leaf)) continue;
        *out = t[i].role == SCALE && is_weight ? QS_ROLE_WEIGHT_SCALE : t[i].role;
        return true;
    }
    return false;
}
#define ROLE_OF(table, leaf, is_weight, out)                                                                 \
    role_of(table, sizeof(table) / sizeof *(table), leaf, is_weight, out)

/* The component before position `end`: [*from, end). False at the start of the key. */
static bool component_before(qs_str key, size_t end, size_t *from) {
    if (end == 0) return false;
    size_t at = end;
    while (at > 0 && key.p[at - 1] != '.') at--;
    *from = at;
    return at < end;
}

static qs_str before(qs_str key, size_t from) {
    return qs_str_sub(key, 0, from ? from - 1 : 0);
}

/* `name` among the components before the last one; the first from the left. */
static bool find_component(qs_str key, const char *name, size_t *from, size_t *to) {
    size_t n = strlen(name);
    for (size_t at = 0; at + n < key.n;) {
        const char *dot = memchr(key.p + at, '.', key.n - at);
        if (!dot) return false;
        size_t end = (size_t)(dot - key.p);
        if (end - at == n && memcmp(key.p + at, name, n) == 0) {
            *from = at;
            *to = end;
            return true;
        }
        at = end + 1;
    }
    return false;
}

/* ---- NVIDIA: X._weight_quantizer._amax, X.input_quantizer.0._amax ---- */

static bool is_nvidia_component(qs_str c, bool *weight) {
    static const char *const kinds[] = {"weight", "input", "output",  "q_bmm",
                                        "k_bmm",  "v_bmm", "softmax", "bmm2_output"};
    static const qs_str tail = {"_quantizer", 10};
    if (!qs_str_ends(c, tail)) return false;
    qs_str stem = qs_str_sub(c, 0, c.n - tail.n);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        qs_str kind = qs_str_of(kinds[i]);
        if (!qs_str_ends(stem, kind)) continue;
        if (stem.n > kind.n && stem.p[stem.n - kind.n - 1] != '_') continue;
        *weight = i == 0;
        return true;
    }
    return false;
}

/* The quantizer component that ends at `end`, or before an index that does: X.weight_quantizer.0 */
static bool nvidia_block(qs_str key, size_t end, size_t *from, bool *weight) {
    if (!component_before(key, end, from)) return false;
    if (qs_all_digits(qs_str_sub(key, *from, end)) && *from > 0) {
        end = *from - 1;
        if (!component_before(key, end, from)) return false;
    }
    return is_nvidia_component(qs_str_sub(key, *from, end), weight);
}

bool qs_recognise_nvidia(const qs_name *k, qs_quant_key *out) {
    static const leaf_role leaves[] = {{"_amax", QS_ROLE_OBSERVER},
                                       {"_pre_quant_scale", SCALE},
                                       {"_scale", SCALE},
                                       {"_double_scale", SCALE},
                                       {"_bias_value", QS_ROLE_OBSERVER},
                                       {"clip_value_min", QS_ROLE_OBSERVER},
                                       {"clip_value_max", QS_ROLE_OBSERVER}};
    if (qs_str_is(k->last, "weight"))
        return (qs_name_has_child(k, k->parent, "_weight_quantizer._amax", NULL) ||
                qs_name_has_child(k, k->parent, "weight_quantizer._amax", NULL)) &&
               qs_name_weight(k, out);
    if (qs_str_is(k->last, "weight_scale_2")) /* exported NVFP4: two levels of scales */
        return qs_name_has_child(k, k->parent, "weight_scale", NULL) &&
               qs_name_block(k, k->parent, k->parent, QS_ROLE_WEIGHT_SCALE, true, out);
    qs_role role;
    size_t from, end = k->parent.n;
    bool weight, clip = qs_str_starts(k->last, QS_STR("clip_value_"));
    if (!ROLE_OF(leaves, k->last, false, &role)) return false;
    if (clip) {
        if (!qs_str_is(qs_str_leaf(k->parent), "clip")) return false;
        end = qs_str_parent(k->parent).n;
    }
    if (!nvidia_block(k->key, end, &from, &weight)) return false;
    if (weight && role == SCALE) role = QS_ROLE_WEIGHT_SCALE;
    return qs_name_block(k, qs_str_sub(k->key, 0, end), before(k->key, from), role, weight, out);
}

/* ---- a fixed set of quantizer components right before the leaf ---- */

typedef struct component {
    const char *name;
    bool weight;
} component;

static bool under(const qs_name *k, const component *c, size_t n, const leaf_role *t, size_t leaves,
                  qs_quant_key *out) {
    size_t from;
    qs_role role;
    if (!component_before(k->key, k->parent.n, &from)) return false;
    qs_str name = qs_str_sub(k->key, from, k->parent.n);
    for (size_t i = 0; i < n; i++)
        if (qs_str_is(name, c[i].name))
            return role_of(t, leaves, k->last, c[i].weight, &role) &&
                   qs_name_block(k, k->parent, before(k->key, from), role, c[i].weight, out);
    return false;
}
#define UNDER(k, components, leaves, out)                                                                    \
    under(k, components, sizeof(components) / sizeof *(components), leaves,                                  \
          sizeof(leaves) / sizeof *(leaves), out)

static bool weight_beside(const qs_name *k, const char *sibling, qs_quant_key *out) {
    return qs_name_has_child(k, k->parent, sibling, NULL) && qs_name_weight(k, out);
}

bool qs_recognise_quark(const qs_name *k, qs_quant_key *out) {
    static const component c[] = {{"_weight_quantizer", true},
                                  {"_input_quantizer", false},
                                  {"_output_quantizer", false},
                                  {"_bias_quantizer", true}};
    static const leaf_role t[] = {{"scale", SCALE}, {"zero_point", QS_ROLE_ZERO_POINT}};
    if (qs_str_is(k->last, "weight")) return weight_beside(k, "_weight_quantizer.scale", out);
    return UNDER(k, c, t, out);
}

bool qs_recognise_vitis(const qs_name *k, qs_quant_key *out) {
    static const component c[] = {{"weight_quantizer", true},
                                  {"bias_quantizer", true},
                                  {"input_quantizer", false},
                                  {"output_quantizer", false}};
    static const leaf_role t[] = {
        {"log_threshold", SCALE}, {"warmup_enabled", QS_ROLE_FLAG}, {"bitwidth", QS_ROLE_FLAG}};
    if (qs_str_is(k->last, "weight")) return weight_beside(k, "weight_quantizer.log_threshold", out);
    return UNDER(k, c, t, out);
}

/* range_learning only: otherwise torchao's fake quantizers hold nothing. gpt-fast's int4 lies beside its
 * weight. */
bool qs_recognise_torchao(const qs_name *k, qs_quant_key *out) {
    static const component c[] = {{"weight_fake_quantizer", true}, {"activation_fake_quantizer", false}};
    static const leaf_role t[] = {{"scale", SCALE}, {"zero_point", QS_ROLE_ZERO_POINT}};
    if (qs_str_is(k->last, "weight")) {
        if (qs_name_has_child(k, k->parent, "scales_and_zeros", NULL))
            return qs_name_block(k, k->parent, k->parent, QS_ROLE_PACKED, true, out);
        return weight_beside(k, "weight_fake_quantizer.scale", out);
    }
    if (qs_str_is(k->last, "scales_and_zeros"))
        return qs_name_has_child(k, k->parent, "weight", NULL) &&
               qs_name_block(k, k->parent, k->parent, QS_ROLE_WEIGHT_SCALE, true, out);
    return UNDER(k, c, t, out);
}

/* ---- components further up ---- */

bool qs_recognise_brevitas(const qs_name *k, qs_quant_key *out) {
    size_t from, to;
    if (qs_str_is(k->last, "weight"))
        return weight_beside(k, "weight_quant.tensor_quant.scaling_impl.value", out);
    if (!find_component(k->key, "tensor_quant", &from, &to)) return false;
    qs_str rest = qs_str_sub(k->key, to + 1, k->key.n);
    qs_role role;
    if (qs_str_starts(rest, QS_STR("scaling_impl.")))
        role = SCALE;
    else if (qs_str_starts(rest, QS_STR("zero_point_impl.")))
        role = QS_ROLE_ZERO_POINT;
    else if (qs_str_starts(rest, QS_STR("msb_clamp_bit_width_impl.")))
        role = QS_ROLE_OBSERVER;
    else
        return false;
    /* X.weight_quant.tensor_quant, X.act_quant.fused_activation_quant_proxy.tensor_quant */
    qs_str block = before(k->key, from);
    if (qs_str_is(qs_str_leaf(block), "fused_activation_quant_proxy")) block = qs_str_parent(block);
    qs_str name = qs_str_leaf(block);
    bool weight = qs_str_is(name, "weight_quant") || qs_str_is(name, "bias_quant");
    if (!qs_str_ends(name, QS_STR("_quant"))) return false;
    if (weight && role == SCALE) role = QS_ROLE_WEIGHT_SCALE;
    return qs_name_block(k, block, qs_str_parent(block), role, weight, out);
}

/* Names of graph nodes hold '/', '[', ']' and '|', but no dot the components would not have. */
bool qs_recognise_nncf(const qs_name *k, qs_quant_key *out) {
    static const leaf_role t[] = {{"scale", SCALE},
                                  {"_scale_param_storage", SCALE},
                                  {"input_low", QS_ROLE_OBSERVER},
                                  {"input_range", QS_ROLE_OBSERVER},
                                  {"_input_range_param_storage", QS_ROLE_OBSERVER},
                                  {"_num_bits", QS_ROLE_FLAG},
                                  {"signed_tensor", QS_ROLE_FLAG},
                                  {"enabled", QS_ROLE_FLAG}};
    static const struct {
        const char *name;
        bool weight;
    } groups[] = {{"pre_ops", true},
                  {"post_ops", true},
                  {"external_quantizers", false},
                  {"activation_quantizers", false}};
    if (qs_str_is(k->last, "weight")) return weight_beside(k, "pre_ops.0.op._num_bits", out);
    qs_role role;
    if (!ROLE_OF(t, k->last, false, &role)) return false;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        size_t from, to;
        if (!find_component(k->key, groups[i].name, &from, &to)) continue;
        if (groups[i].weight && role == SCALE) role = QS_ROLE_WEIGHT_SCALE;
        return qs_name_block(k, k->parent, before(k->key, from), role, groups[i].weight, out);
    }
    return false;
}

bool qs_recognise_aimet(const qs_name *k, qs_quant_key *out) {
    static const leaf_role t[] = {{"min", QS_ROLE_OBSERVER}, {"max", QS_ROLE_OBSERVER}};
    static const char *const groups[] = {"param_quantizers", "input_quantizers", "output_quantizers"};
    if (qs_str_is(k->last, "weight")) return weight_beside(k, "param_quantizers.weight.min", out);
    qs_role role;
    size_t from;
    qs_str group = qs_str_leaf(qs_str_parent(k->parent));
    if (!ROLE_OF(t, k->last, false, &role)) return false;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (!qs_str_is(group, groups[i]) || !component_before(k->key, qs_str_parent(k->parent).n, &from))
            continue;
        return qs_name_block(k, k->parent, before(k->key, from), role, i == 0, out);
    }
    return false;
}

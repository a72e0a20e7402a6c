/* Families that keep the quantized numbers themselves and name their scales plainly: only siblings tell their
 * keys from those of anything else (qat-keys.md, sections 3 and 4). */
#include "quant/family_impl.h"

static bool is_weight_leaf(const qs_name *k) {
    return qs_str_is(k->last, "weight");
}

static bool here(const qs_name *k, qs_role role, qs_quant_key *out) {
    return qs_name_block(k, k->parent, k->parent, role, role != QS_ROLE_ACT_SCALE, out);
}

static bool has(const qs_name *k, const char *sibling) {
    return qs_name_has_child(k, k->parent, sibling, NULL);
}

static bool is_low_precision(qs_dtype t) {
    char kind = qs_dtype_get(t)->kind;
    return kind == 'I' || kind == 'U' || kind == 'Q' || kind == 'X' ||
           (kind == 'F' && qs_dtype_get(t)->size == 1);
}

static bool is_low_precision_weight(const qs_name *k, qs_str module) {
    qs_key_info info = {0};
    return qs_name_has_child(k, module, "weight", &info) && is_low_precision(info.dtype);
}

/* ---- bitsandbytes: X.weight.absmax ..., X.SCB ---- */

bool qs_recognise_bitsandbytes(const qs_name *k, qs_quant_key *out) {
    if (is_weight_leaf(k))
        return (qs_name_has(k, k->key, ".absmax", NULL) || has(k, "SCB")) && here(k, QS_ROLE_PACKED, out);
    if (qs_str_is(k->last, "SCB")) return has(k, "weight") && here(k, QS_ROLE_WEIGHT_SCALE, out);
    if (qs_str_is(k->last, "weight_format")) return has(k, "SCB") && here(k, QS_ROLE_FLAG, out);
    qs_str rest = k->last, weight = k->parent;
    if (qs_str_is(qs_str_leaf(weight), "quant_state") && qs_str_starts(rest, QS_STR("bitsandbytes__")))
        weight = qs_str_parent(weight);
    else if (!qs_str_is(rest, "absmax") && !qs_str_is(rest, "quant_map") &&
             !qs_str_is(rest, "nested_absmax") && !qs_str_is(rest, "nested_quant_map"))
        return false;
    if (!qs_str_is(qs_str_leaf(weight), "weight")) return false;
    qs_role role = qs_str_ends(rest, QS_STR("absmax")) ? QS_ROLE_WEIGHT_SCALE : QS_ROLE_PACKED;
    return qs_name_block(k, weight, qs_str_parent(weight), role, true, out);
}

/* ---- quanto: X.weight._data, X.weight._scale, X.input_scale ---- */

bool qs_recognise_quanto(const qs_name *k, qs_quant_key *out) {
    if (qs_str_is(k->last, "input_scale") || qs_str_is(k->last, "output_scale"))
        return (has(k, "weight._data") || has(k, "weight._scale")) && here(k, QS_ROLE_ACT_SCALE, out);
    if (!qs_str_is(qs_str_leaf(k->parent), "weight")) return false;
    qs_role role;
    if (qs_str_is(k->last, "_data"))
        role = QS_ROLE_PACKED;
    else if (qs_str_is(k->last, "_scale"))
        role = QS_ROLE_WEIGHT_SCALE;
    else if (qs_str_is(k->last, "_shift"))
        role = QS_ROLE_ZERO_POINT;
    else
        return false;
    if (!has(k, "_data") && !has(k, "_scale")) return false;
    return qs_name_block(k, k->parent, qs_str_parent(k->parent), role, true, out);
}

/* ---- GPTQ and AWQ: qweight, qzeros, scales; GPTQ packs along the inputs and may have g_idx ---- */

static bool last_dim(const qs_name *k, const char *leaf, int64_t *out) {
    qs_key_info info = {0};
    if (!qs_name_has_child(k, k->parent, leaf, &info) || !info.shape_known || info.shape.ndim != 2)
        return false;
    *out = info.shape.dim[1];
    return true;
}

static bool is_gptq_layout(const qs_name *k) {
    int64_t packed, out_features;
    if (has(k, "g_idx")) return true;
    if (!last_dim(k, "qweight", &packed) || !last_dim(k, "scales", &out_features)) return true;
    return packed == out_features;
}

static bool recognise_qweight(const qs_name *k, bool gptq, qs_quant_key *out) {
    qs_role role;
    if (qs_str_is(k->last, "qweight") || qs_str_is(k->last, "g_idx"))
        role = QS_ROLE_PACKED;
    else if (qs_str_is(k->last, "qzeros"))
        role = QS_ROLE_ZERO_POINT;
    else if (qs_str_is(k->last, "scales"))
        role = QS_ROLE_WEIGHT_SCALE;
    else
        return false;
    return has(k, "qweight") && has(k, "scales") && is_gptq_layout(k) == gptq && here(k, role, out);
}

bool qs_recognise_gptq(const qs_name *k, qs_quant_key *out) {
    return recognise_qweight(k, true, out);
}

bool qs_recognise_awq(const qs_name *k, qs_quant_key *out) {
    return recognise_qweight(k, false, out);
}

bool qs_recognise_hqq(const qs_name *k, qs_quant_key *out) {
    if (qs_str_is(k->last, "W_q")) return here(k, QS_ROLE_PACKED, out);
    if (qs_str_is(k->last, "scale")) return has(k, "W_q") && here(k, QS_ROLE_WEIGHT_SCALE, out);
    return qs_str_is(k->last, "zero") && has(k, "W_q") && here(k, QS_ROLE_ZERO_POINT, out);
}

/* ---- FP8 in blocks: the scale multiplies, despite its name ---- */

bool qs_recognise_fp8_block(const qs_name *k, qs_quant_key *out) {
    if (qs_str_is(k->last, "weight_scale_inv")) return has(k, "weight") && here(k, QS_ROLE_WEIGHT_SCALE, out);
    return is_weight_leaf(k) && has(k, "weight_scale_inv") && here(k, QS_ROLE_PACKED, out);
}

/* ---- compressed-tensors ---- */

static const struct {
    const char *leaf;
    qs_role role;
} compressed[] = {
    {"weight_scale", QS_ROLE_WEIGHT_SCALE},
    {"weight_global_scale", QS_ROLE_WEIGHT_SCALE},
    {"weight_zero_point", QS_ROLE_ZERO_POINT},
    {"weight_g_idx", QS_ROLE_PACKED},
    {"weight_packed", QS_ROLE_PACKED},
    {"weight_shape", QS_ROLE_PACKED},
    {"input_scale", QS_ROLE_ACT_SCALE},
    {"input_global_scale", QS_ROLE_ACT_SCALE},
    {"input_zero_point", QS_ROLE_ZERO_POINT},
    {"output_scale", QS_ROLE_ACT_SCALE},
    {"output_zero_point", QS_ROLE_ZERO_POINT},
    {"q_scale", QS_ROLE_ACT_SCALE},
    {"k_scale", QS_ROLE_ACT_SCALE},
    {"v_scale", QS_ROLE_ACT_SCALE},
};

/* A weight_scale beside a float weight alone proves nothing: it needs another of the set, or a row per
 * output. */
static bool is_compressed_module(const qs_name *k) {
    if (has(k, "weight_packed")) return true;
    qs_key_info weight = {0}, scale = {0};
    if (!qs_name_has_child(k, k->parent, "weight", &weight) ||
        !qs_name_has_child(k, k->parent, "weight_scale", &scale))
        return false;
    if (is_low_precision(weight.dtype) || has(k, "weight_zero_point") || has(k, "input_scale") ||
        has(k, "weight_g_idx"))
        return true;
    return weight.shape_known && scale.shape_known && scale.shape.ndim == 2 && weight.shape.ndim == 2 &&
           scale.shape.dim[0] == weight.shape.dim[0];
}

static bool is_compressed_attention(const qs_name *k) {
    return has(k, "k_scale") && has(k, "v_scale") &&
           (has(k, "k_proj.weight_scale") || has(k, "k_proj.weight_packed"));
}

bool qs_recognise_compressed(const qs_name *k, qs_quant_key *out) {
    if (is_weight_leaf(k)) {
        if (!has(k, "weight_scale") || !is_compressed_module(k)) return false;
        if (is_low_precision_weight(k, k->parent)) return here(k, QS_ROLE_PACKED, out);
        return qs_name_weight(k, out);
    }
    for (size_t i = 0; i < sizeof compressed / sizeof *compressed; i++) {
        if (!qs_str_is(k->last, compressed[i].leaf)) continue;
        bool attention = k->last.n == strlen("k_scale") && k->last.p[1] == '_';
        if (!(attention ? is_compressed_attention(k) : is_compressed_module(k))) return false;
        return qs_name_block(k, k->parent, k->parent, compressed[i].role,
                             qs_str_starts(k->last, QS_STR("weight")), out);
    }
    return false;
}

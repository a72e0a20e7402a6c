/* torchvision's classes that bring names of their older selves up to date: torchvision/ops/misc.py,
 * ops/feature_pyramid_network.py, models/vision_transformer.py,
 * models/detection/{rpn,mask_rcnn,retinanet}.py, models/quantization/mobilenetv3.py. The renames are those of
 * releases that have the class at version 2. */
#include "repair/strict_run.h"

enum { NAME_MAX_ = 96, VERSION_2 = 2 };

/* Releases that have the class at version 1 rename nothing. */
static bool is_older(const strict_run *r) {
    return r->version < VERSION_2 && (r->mod->version < 0 || r->mod->version >= VERSION_2);
}

/* state_dict[to] = state_dict.pop(from), for the weight and the bias; the names end in a dot. */
static bool move_both(strict_run *r, const char *from, const char *to) {
    static const char *const ends[] = {"weight", "bias"};
    for (int i = 0; i < 2; i++) {
        char old[NAME_MAX_ + 8], now[NAME_MAX_ + 8];
        snprintf(old, sizeof old, "%s%s", from, ends[i]);
        snprintf(now, sizeof now, "%s%s", to, ends[i]);
        qs_str old_key = qs_strict_key(r, old), now_key = qs_strict_key(r, now);
        if (!old_key.p || !now_key.p) return qs_nomem(r->err);
        strict_value v = qs_strict_get(r, old_key);
        if (v.there && !(qs_strict_put(r, now_key, v) && qs_strict_pop(r, old_key))) return false;
    }
    return true;
}

static uint32_t count_children(const strict_run *r, const qs_module *mod) {
    uint32_t n = 0;
    for (uint32_t i = mod->first_child; i != QS_MODULE_NONE; i = qs_manifest_module(r->m, i)->next_sibling)
        n++;
    return n;
}

/* Frozen statistics count no batches. */
bool qs_strict_frozen_batchnorm(strict_run *r) {
    qs_str key = qs_strict_key(r, "num_batches_tracked");
    if (!key.p) return qs_nomem(r->err);
    if (qs_strict_get(r, key).there) qs_strict_pop(r, key);
    return qs_strict_base(r, true);
}

/* Convolutions that became blocks of a convolution and what follows it. */
bool qs_strict_feature_pyramid(strict_run *r) {
    static const char *const blocks[] = {"inner_blocks", "layer_blocks"};
    const qs_module *inner = qs_strict_child(r, r->mod, blocks[0]);
    uint32_t n = inner ? count_children(r, inner) : 0;
    for (int b = 0; b < 2 && is_older(r); b++)
        for (uint32_t i = 0; i < n; i++) {
            char old[NAME_MAX_], now[NAME_MAX_];
            snprintf(old, sizeof old, "%s.%u.", blocks[b], i);
            snprintf(now, sizeof now, "%s.%u.0.", blocks[b], i);
            if (!move_both(r, old, now)) return false;
        }
    return qs_strict_base(r, true);
}

bool qs_strict_mlp_block(strict_run *r) {
    if (is_older(r) && !(move_both(r, "linear_1.", "0.") && move_both(r, "linear_2.", "3."))) return false;
    return qs_strict_base(r, true);
}

bool qs_strict_rpn_head(strict_run *r) {
    if (is_older(r) && !move_both(r, "conv.", "conv.0.0.")) return false;
    return qs_strict_base(r, true);
}

bool qs_strict_mask_head(strict_run *r) {
    uint32_t n = count_children(r, r->mod);
    for (uint32_t i = 0; i < n && is_older(r); i++) {
        char old[NAME_MAX_], now[NAME_MAX_];
        snprintf(old, sizeof old, "mask_fcn%u.", i + 1);
        snprintf(now, sizeof now, "%u.0.", i);
        if (!move_both(r, old, now)) return false;
    }
    return qs_strict_base(r, true);
}

bool qs_strict_retinanet_head(strict_run *r) {
    for (uint32_t i = 0; i < 4 && is_older(r); i++) {
        char old[NAME_MAX_], now[NAME_MAX_];
        snprintf(old, sizeof old, "conv.%u.", 2 * i);
        snprintf(now, sizeof now, "conv.%u.0.", i);
        if (!move_both(r, old, now)) return false;
    }
    return qs_strict_base(r, true);
}

/* Before version 2 the activation had no quantizer; the module makes one's values, whatever is there now. */
bool qs_strict_squeeze_excitation(strict_run *r) {
    static const int64_t one[] = {1};
    static const struct {
        const char *leaf;
        qs_dtype dtype;
    } made[] = {{"scale", QS_FLOAT32},
                {"activation_post_process.scale", QS_FLOAT32},
                {"zero_point", QS_INT32},
                {"activation_post_process.zero_point", QS_INT32},
                {"fake_quant_enabled", QS_INT64},
                {"observer_enabled", QS_INT64}};
    for (size_t i = 0; i < sizeof made / sizeof *made && r->mod->qconfig && is_older(r); i++) {
        char leaf[NAME_MAX_];
        snprintf(leaf, sizeof leaf, "scale_activation.activation_post_process.%s", made[i].leaf);
        qs_str key = qs_strict_key(r, leaf);
        if (!key.p) return qs_nomem(r->err);
        strict_value v = {.injected = true, .shape_known = true, .shape = {1, one}, .dtype = made[i].dtype};
        if (!qs_strict_get(r, key).there && !qs_strict_put(r, key, v)) return false;
    }
    return qs_strict_base(r, true);
}

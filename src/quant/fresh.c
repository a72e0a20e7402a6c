/* Values of the families that are not torch's own. */
#include "quant/fqinit_impl.h"

#include <math.h>

static const struct {
    qs_family family;
    const char *leaf;
    double value;
} fresh[] = {
#define QS_FRESH(FAMILY, LEAF, VALUE) {QS_FAMILY_##FAMILY, LEAF, VALUE},
#define QS_NOT_FRESH(FAMILY, REASON)
#include "quant/fresh.def"
#undef QS_FRESH
#undef QS_NOT_FRESH
};

static const char *const reasons[QS_FAMILY_COUNT] = {
#define QS_FRESH(FAMILY, LEAF, VALUE)
#define QS_NOT_FRESH(FAMILY, REASON) [QS_FAMILY_##FAMILY] = REASON,
#include "quant/fresh.def"
#undef QS_FRESH
#undef QS_NOT_FRESH
};

bool qs_fresh_of_family(qs_family family, qs_str leaf, double *value, const char **why) {
    for (size_t i = 0; i < sizeof fresh / sizeof *fresh; i++)
        if (fresh[i].family == family && qs_str_is(leaf, fresh[i].leaf)) {
            *value = fresh[i].value;
            return true;
        }
    *why = reasons[family] ? reasons[family] : "cannot be made from nothing";
    return false;
}

/* g_idx of a GPTQ layer without reordering: input feature i is in group i / (inputs / groups), where scales
 * has a row for each group. 0 when the target does not say the shapes. */
int64_t qs_gptq_group_size(const qs_init_context *x, qs_str module, const qs_expected *g_idx) {
    const qs_expected *scales = qs_block_entry(x, module, "scales");
    if (!g_idx->shape_known || g_idx->shape.ndim != 1 || !scales || !scales->shape_known ||
        scales->shape.ndim != 2)
        return 0;
    int64_t inputs = g_idx->shape.dim[0], groups = scales->shape.dim[0];
    return groups > 0 ? (inputs + groups - 1) / groups : 0;
}

/* The axis an _amax of this shape has a value for each index of; -1 one for all; -2 it does not fit the
 * weight. */
static int64_t amax_axis(qs_shape amax, const qs_weight *w) {
    if (qs_shape_numel(amax) == 1) return -1;
    if (amax.ndim != w->ndim) return -2;
    int64_t axis = -2;
    for (uint32_t d = 0; d < amax.ndim; d++) {
        if (amax.dim[d] == 1) continue;
        if (axis != -2 || amax.dim[d] != w->dim[d]) return -2;
        axis = d;
    }
    return axis;
}

bool qs_amax_observe(const qs_weight *w, qs_shape amax, double *out, size_t n, float *scratch, qs_err *e) {
    int64_t axis = amax_axis(amax, w);
    if (axis == -2)
        return qs_fail(e, QS_E_INPUT, "%.*s: its shape does not fit the shape of _amax", QS_FMT(w->key));
    qs_qconfig cfg = {.scheme = axis < 0 ? QS_PER_TENSOR_SYMMETRIC : QS_PER_CHANNEL_SYMMETRIC,
                      .ch_axis = axis};
    if (!qs_weight_range(w, &cfg, scratch, scratch + n, n, NULL, e)) return false;
    for (size_t i = 0; i < n; i++) out[i] = fmax(fabs((double)scratch[i]), fabs((double)scratch[n + i]));
    return true;
}

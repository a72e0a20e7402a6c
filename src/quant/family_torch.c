/* PyTorch's own quantization keys: FakeQuantize blocks of eager mode, FX and PT2E, SparseML's use of them,
 * and the int8 modules they convert to (qat-keys.md, sections 2 and 3). */
#include "quant/family_impl.h"

#define OBSERVER "activation_post_process"
#define WEIGHT   "weight_fake_quant"

/* What may follow a fake-quant component. The role of a scale depends on the component. */
static const struct leaf {
    const char *name;
    qs_role role;
    bool nested; /* may also stand under one more activation_post_process: the observer inside */
} leaves[] = {
    {"scale", QS_ROLE_ACT_SCALE, true},
    {"zero_point", QS_ROLE_ZERO_POINT, true},
    {"fake_quant_enabled", QS_ROLE_FLAG, false},
    {"observer_enabled", QS_ROLE_FLAG, false},
    {"eps", QS_ROLE_OBSERVER, true},
    {"min_val", QS_ROLE_OBSERVER, true},
    {"max_val", QS_ROLE_OBSERVER, true},
    {"min_vals", QS_ROLE_OBSERVER, true},
    {"max_vals", QS_ROLE_OBSERVER, true},
    {"histogram", QS_ROLE_OBSERVER, true},
    {"static_enabled", QS_ROLE_FLAG, false},
    {"learning_enabled", QS_ROLE_FLAG, false},
};

static const struct leaf *find_leaf(qs_str name) {
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++)
        if (qs_str_is(name, leaves[i].name)) return &leaves[i];
    return NULL;
}

/* "activation_post_process", "activation_post_process_3" (FX, PT2E), "add_1_activation_post_process_0"
 * (FX 1.7). */
static bool is_observer_component(qs_str c) {
    enum { N = sizeof OBSERVER - 1 };
    if (c.n < N) return false;
    if (c.n == N) return memcmp(c.p, OBSERVER, N) == 0;
    size_t end = c.n;
    while (end > 0 && c.p[end - 1] >= '0' && c.p[end - 1] <= '9') end--;
    if (end == c.n || end < N + 1 || c.p[end - 1] != '_') return false;
    size_t at = end - 1 - N;
    return memcmp(c.p + at, OBSERVER, N) == 0 && (at == 0 || (at > 1 && c.p[at - 1] == '_'));
}

/* The first fake-quant component from the left as [*from, *to); a greedy match would split
 * X.activation_post_process.activation_post_process.scale in the wrong place. */
static bool find_component(qs_str key, size_t *from, size_t *to) {
    for (size_t at = 0; at < key.n;) {
        const char *dot = memchr(key.p + at, '.', key.n - at);
        if (!dot) return false; /* the last component is a leaf */
        size_t end = (size_t)(dot - key.p);
        qs_str c = qs_str_sub(key, at, end);
        if (qs_str_is(c, WEIGHT) || is_observer_component(c)) {
            *from = at;
            *to = end;
            return true;
        }
        at = end + 1;
    }
    return false;
}

/* Key parts around the fake-quant component, whatever the family. */
static bool parse_fake_quant(const qs_name *k, qs_quant_key *out) {
    const struct leaf *leaf = find_leaf(k->last);
    size_t from, to;
    if (!leaf || !find_component(k->key, &from, &to)) return false;
    qs_str rest = qs_str_sub(k->key, to + 1, k->key.n);
    bool nested = rest.n > k->last.n;
    if (nested &&
        !(leaf->nested && rest.n == k->last.n + sizeof OBSERVER && qs_str_starts(rest, QS_STR(OBSERVER "."))))
        return false;
    bool weight = k->key.p[from] == 'w' && to - from == sizeof WEIGHT - 1;
    qs_role role = leaf->role == QS_ROLE_ACT_SCALE && weight ? QS_ROLE_WEIGHT_SCALE : leaf->role;
    return qs_name_block(k, qs_str_sub(k->key, 0, to), qs_str_sub(k->key, 0, from ? from - 1 : 0), role,
                         weight, out);
}

static bool is_fake_quantized_weight(const qs_name *k, qs_str owner) {
    return qs_name_has_child(k, owner, WEIGHT ".scale", NULL);
}

bool qs_recognise_torch(const qs_name *k, qs_quant_key *out) {
    if (qs_str_is(k->last, "weight")) return is_fake_quantized_weight(k, k->parent) && qs_name_weight(k, out);
    return parse_fake_quant(k, out);
}

/* A QuantWrapper around the leaf module X.module, as SparseML puts around every quantizable leaf. torch's own
 * QuantWrapper goes around a whole model, where X is empty or X.module has no weight of its own. */
static bool is_wrapped_leaf(const qs_name *k, qs_str x) {
    return x.n && qs_name_has_child(k, x, "quant." OBSERVER ".scale", NULL) &&
           (qs_name_has_child(k, x, "module.weight", NULL) ||
            qs_name_has_child(k, x, "module." WEIGHT ".scale", NULL) ||
            qs_name_has_child(k, x, "module." OBSERVER ".scale", NULL));
}

/* X of "X.quant" or "X.module", empty if `path` is neither. */
static qs_str wrapper_of(qs_str path) {
    qs_str last = qs_str_leaf(path);
    bool wrapper = qs_str_is(last, "quant") || qs_str_is(last, "module");
    return wrapper ? qs_str_parent(path) : qs_str_sub(path, 0, 0);
}

/* X.quant of a wrapped activation holds no other key; the convolution wrapped beside it tells. */
static bool is_wrapped_activation(const qs_name *k, qs_str owner) {
    qs_str beside = qs_str_parent(wrapper_of(owner));
    return beside.n && qs_name_has_child(k, beside, "conv.module.weight", NULL) &&
           qs_name_has_child(k, beside, "conv.quant." OBSERVER ".scale", NULL);
}

bool qs_recognise_sparseml(const qs_name *k, qs_quant_key *out) {
    if (qs_str_is(k->last, "weight")) {
        if (!qs_str_is(qs_str_leaf(k->parent), "module")) return false;
        return is_wrapped_leaf(k, wrapper_of(k->parent)) && is_fake_quantized_weight(k, k->parent) &&
               qs_name_weight(k, out);
    }
    qs_quant_key found;
    if (!parse_fake_quant(k, &found)) return false;
    qs_str stubs = qs_str_leaf(qs_str_parent(found.owner)); /* QATWrapper: X.input_quant_stubs.N */
    bool named = qs_str_is(stubs, "input_quant_stubs") || qs_str_is(stubs, "output_quant_stubs");
    if (!named && !is_wrapped_leaf(k, wrapper_of(found.owner)) && !is_wrapped_activation(k, found.owner))
        return false;
    *out = found;
    return true;
}

static bool is_quantized_dtype(qs_dtype t) {
    return qs_dtype_get(t)->kind == 'Q';
}

/* scale and zero point of one quantizer: as many of the one as of the other, and the zero point an integer.
 */
static bool is_pair(const qs_key_info *scale, const qs_key_info *zero_point) {
    if (!scale->shape_known || !zero_point->shape_known) return true;
    char kind = qs_dtype_get(zero_point->dtype)->kind;
    return qs_shape_numel(scale->shape) == qs_shape_numel(zero_point->shape) &&
           (zero_point->dtype == QS_DTYPE_UNKNOWN || kind == 'I' || kind == 'U') &&
           (scale->dtype == QS_DTYPE_UNKNOWN || qs_dtype_is_float(scale->dtype));
}

/* "X.scale" with "X.zero_point"; FX's and PT2E's "c_input_scale_0", "_scale_0" with "..._zero_point_0". */
static bool recognise_pair(const qs_name *k, qs_quant_key *out) {
    size_t end = k->key.n;
    while (end > 0 && k->key.p[end - 1] >= '0' && k->key.p[end - 1] <= '9') end--;
    if (end < k->key.n && end > 0 && k->key.p[end - 1] == '_')
        end--;
    else
        end = k->key.n;
    qs_str stem = qs_str_sub(k->key, 0, end), tail = qs_str_sub(k->key, end, k->key.n);
    bool is_scale = qs_str_ends(stem, QS_STR("scale"));
    if (!is_scale && !qs_str_ends(stem, QS_STR("zero_point"))) return false;
    qs_str base = qs_str_sub(stem, 0, stem.n - (is_scale ? strlen("scale") : strlen("zero_point")));
    if (tail.n ? base.n == 0 || base.p[base.n - 1] != '_' : base.n && base.p[base.n - 1] != '.') return false;
    if (tail.n > 16) return false;
    char own[40], other[40];
    snprintf(own, sizeof own, "%s%.*s", is_scale ? "scale" : "zero_point", QS_FMT(tail));
    snprintf(other, sizeof other, "%s%.*s", is_scale ? "zero_point" : "scale", QS_FMT(tail));
    qs_key_info mine = {0}, twin = {0};
    if (!qs_name_has(k, base, own, &mine) || !qs_name_has(k, base, other, &twin)) return false;
    if (!is_pair(is_scale ? &mine : &twin, is_scale ? &twin : &mine)) return false;
    return qs_name_block(k, k->parent, k->parent, is_scale ? QS_ROLE_ACT_SCALE : QS_ROLE_ZERO_POINT, false,
                         out);
}

bool qs_recognise_torch_int8(const qs_name *k, qs_quant_key *out) {
    qs_str up = qs_str_leaf(k->parent);
    if (qs_str_is(up, "_packed_params") &&
        (qs_str_is(k->last, "dtype") || qs_str_is(k->last, "_packed_params") || qs_str_is(k->last, "weight")))
        return qs_name_block(k, k->parent, qs_str_parent(k->parent), QS_ROLE_PACKED, true, out);
    qs_key_info info = {0};
    bool frozen = qs_str_starts(k->last, QS_STR("_frozen_param")); /* PT2E holds int8 numbers, not qint8 */
    if ((frozen || qs_str_is(k->last, "weight")) && qs_name_has(k, k->key, "", &info) &&
        (is_quantized_dtype(info.dtype) || (frozen && info.dtype == QS_INT8)))
        return qs_name_block(k, k->parent, k->parent, QS_ROLE_PACKED, true, out);
    return recognise_pair(k, out);
}

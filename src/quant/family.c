#include "quant/family.h"

#include "quant/family_impl.h"

static const struct family_row {
    const char *label, *name;
    bool (*recognise)(const qs_name *k, qs_quant_key *out);
} families_table[QS_FAMILY_COUNT] = {
    [QS_FAMILY_NONE] = {"", "no quantization", NULL},
#define QS_FAMILY(NAME, LABEL, TEXT, FN) [QS_FAMILY_##NAME] = {LABEL, TEXT, FN},
#include "quant/family.def"
#undef QS_FAMILY
};

static const struct {
    char letter;
    const char *name;
} roles[QS_ROLE_COUNT] = {
    [QS_ROLE_NONE] = {' ', ""},
    [QS_ROLE_WEIGHT] = {'W', "quantized weight"},
    [QS_ROLE_WEIGHT_SCALE] = {'S', "weight scale"},
    [QS_ROLE_ACT_SCALE] = {'S', "activation scale"},
    [QS_ROLE_ZERO_POINT] = {'Z', "zero point"},
    [QS_ROLE_FLAG] = {'F', "flag"},
    [QS_ROLE_OBSERVER] = {'O', "observer statistic"},
    [QS_ROLE_PACKED] = {'P', "packed payload"},
};

char qs_role_letter(qs_role r) {
    return (unsigned)r < QS_ROLE_COUNT ? roles[r].letter : ' ';
}

const char *qs_role_name(qs_role r) {
    return (unsigned)r < QS_ROLE_COUNT ? roles[r].name : "";
}

const char *qs_family_name(qs_family f) {
    return (unsigned)f < QS_FAMILY_COUNT ? families_table[f].name : "";
}

const char *qs_family_label(qs_family f) {
    return (unsigned)f < QS_FAMILY_COUNT ? families_table[f].label : "";
}

bool qs_name_has(const qs_name *k, qs_str base, const char *rest, qs_key_info *info) {
    char buf[1024];
    size_t n = strlen(rest);
    qs_key_info unused;
    if (!k->keys || base.n + n > sizeof buf) return false; /* torch itself writes no name that long */
    if (base.n) memcpy(buf, base.p, base.n);
    memcpy(buf + base.n, rest, n);
    return k->keys->find(k->keys->ctx, (qs_str){buf, base.n + n}, info ? info : &unused);
}

bool qs_name_has_child(const qs_name *k, qs_str base, const char *rest, qs_key_info *info) {
    if (base.n == 0) return qs_name_has(k, base, rest, info);
    char buf[96] = ".";
    size_t n = strlen(rest);
    if (n + 2 > sizeof buf) return false;
    memcpy(buf + 1, rest, n + 1);
    return qs_name_has(k, base, buf, info);
}

bool qs_name_block(const qs_name *k, qs_str block, qs_str owner, qs_role role, bool is_weight,
                   qs_quant_key *out) {
    size_t skip = block.n ? block.n + 1 : 0;
    *out = (qs_quant_key){.role = role,
                          .block = block,
                          .leaf = qs_str_sub(k->key, skip, k->key.n),
                          .owner = owner,
                          .is_weight = is_weight};
    return true;
}

bool qs_name_weight(const qs_name *k, qs_quant_key *out) {
    return qs_name_block(k, qs_str_sub(k->key, 0, 0), k->parent, QS_ROLE_WEIGHT, true, out);
}

bool qs_all_digits(qs_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    return s.n > 0;
}

_Static_assert(QS_FAMILY_COUNT <= 32, "families are bits of a uint32_t");

bool qs_quant_is_weight_name(qs_str key) {
    return qs_str_ends(key, QS_STR("weight")) && qs_str_is(qs_str_leaf(key), "weight");
}

/* A converted weight shows in its own dtype, quantizer or not. */
static bool may_own_weight(int family, uint32_t families) {
    return (families & QS_FAMILY_BIT(family)) || family == QS_FAMILY_TORCH_INT8;
}

bool qs_quant_classify_among(qs_str key, const qs_key_set *keys, uint32_t families, qs_quant_key *out) {
    qs_name k = {.key = key, .parent = qs_str_parent(key), .last = qs_str_leaf(key), .keys = keys};
    bool weight = qs_quant_is_weight_name(key);
    for (int f = QS_FAMILY_NONE + 1; f < QS_FAMILY_COUNT; f++) {
        if (weight && !may_own_weight(f, families)) continue;
        if (!families_table[f].recognise(&k, out)) continue;
        out->family = (qs_family)f;
        return true;
    }
    return false;
}

bool qs_quant_classify(qs_str key, const qs_key_set *keys, qs_quant_key *out) {
    return qs_quant_classify_among(key, keys, UINT32_MAX, out);
}

/* Recognises quantization keys: which framework writes a key, what role it has, which block it belongs to.
 * The families are rows of family.def (qat-keys.md, sections 2-4). */
#ifndef QS_QUANT_FAMILY_H
#define QS_QUANT_FAMILY_H

#include "model/tensor.h"

typedef enum qs_family {
    QS_FAMILY_NONE = 0,
#define QS_FAMILY(NAME, ...) QS_FAMILY_##NAME,
#include "quant/family.def"
#undef QS_FAMILY
    QS_FAMILY_COUNT
} qs_family;

/* What an entry is to quantization. Letters as on the screen. */
typedef enum qs_role {
    QS_ROLE_NONE = 0,
    QS_ROLE_WEIGHT,       /* W: a weight some quantizer of the model quantizes */
    QS_ROLE_WEIGHT_SCALE, /* S */
    QS_ROLE_ACT_SCALE,    /* S */
    QS_ROLE_ZERO_POINT,   /* Z */
    QS_ROLE_FLAG,         /* F: fake_quant_enabled, observer_enabled, ... */
    QS_ROLE_OBSERVER,     /* O: min_val, max_val, eps, histogram, _amax */
    QS_ROLE_PACKED,       /* P: qweight, _packed_params, weight_packed */
    QS_ROLE_COUNT
} qs_role;
char qs_role_letter(qs_role r);      /* ' ' for NONE */
const char *qs_role_name(qs_role r); /* "weight scale" */
const char *qs_family_name(qs_family f);  /* "torch fake quant" */
const char *qs_family_label(qs_family f); /* short, one word: "torch" */

/* The table's view of the keys around a key: siblings decide what a bare `scale` is. */
typedef struct qs_key_info {
    bool shape_known;
    qs_shape shape;
    qs_dtype dtype;
} qs_key_info;
typedef struct qs_key_set {
    /* True and *info filled if the set has `key`. */
    bool (*find)(const void *ctx, qs_str key, qs_key_info *info);
    const void *ctx;
} qs_key_set;

typedef struct qs_quant_key {
    qs_family family;
    qs_role role;
    qs_str block;    /* prefix of the quantizer ("model.0.conv.module.weight_fake_quant"): a view into the key; empty for
                        a WEIGHT, which lies beside its quantizer, and for quantizers at the root (_scale_0) */
    qs_str leaf;     /* what follows it ("activation_post_process.min_val"), the whole key if block is empty */
    qs_str owner;    /* the module whose tensor it quantizes ("model.0.conv.module"), a view into the key */
    bool is_weight;  /* quantizes a weight, not an activation */
} qs_quant_key;

/* True and *out filled if key is a quantization key. `keys` may be NULL: then only names that need no sibling are
 * recognised. The result depends only on the arguments. */
bool qs_quant_classify(qs_str key, const qs_key_set *keys, qs_quant_key *out);

/* The same for many keys of one set, where looking for every family's siblings of every plain weight adds up: a
 * first pass over all keys with families = 0 classifies all but the weights, its families' QS_FAMILY_BITs go into
 * the second pass, over the weights. The two together give what qs_quant_classify gives. */
#define QS_FAMILY_BIT(f) (1u << (f))
bool qs_quant_is_weight_name(qs_str key); /* left to the second pass */
bool qs_quant_classify_among(qs_str key, const qs_key_set *keys, uint32_t families, qs_quant_key *out);

#endif

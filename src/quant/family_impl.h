/* What the recognisers of family*.c share. Private to quant/. */
#ifndef QS_QUANT_FAMILY_IMPL_H
#define QS_QUANT_FAMILY_IMPL_H

#include "quant/family.h"

/* A key taken apart once for all recognisers. */
typedef struct qs_name {
    qs_str key, parent, last; /* "a.b.scale": parent "a.b", last "scale" */
    const qs_key_set *keys;   /* NULL: no siblings are known */
} qs_name;

/* Each fills every field of *out but the family, or leaves it alone and returns false. */
#define QS_FAMILY(NAME, LABEL, TEXT, FN) bool FN(const qs_name *k, qs_quant_key *out);
#include "quant/family.def"
#undef QS_FAMILY

/* Is `base` + `rest` among the keys? info may be NULL. False when no siblings are known. */
bool qs_name_has(const qs_name *k, qs_str base, const char *rest, qs_key_info *info);
/* `base` + "." + `rest`, or `rest` alone if base is empty. */
bool qs_name_has_child(const qs_name *k, qs_str base, const char *rest, qs_key_info *info);
/* Fill *out for a quantizer whose keys are BLOCK.leaf. */
bool qs_name_block(const qs_name *k, qs_str block, qs_str owner, qs_role role, bool is_weight,
                   qs_quant_key *out);
/* Fill *out for the weight of a quantized module: it lies beside the quantizer, so its block is empty. */
bool qs_name_weight(const qs_name *k, qs_quant_key *out);
/* "12": one digit or more and nothing else. */
bool qs_all_digits(qs_str s);

#endif

#include "model/dtype.h"

#include <strings.h>

static const qs_dtype_info table[QS_DTYPE_COUNT] = {
    [QS_DTYPE_UNKNOWN] = {"?", "?", 0, "", "", '?'},
#define QS_DTYPE(NAME, torch, abbrev, bytes, store, safe, class)                                             \
    [QS_##NAME] = {torch, abbrev, bytes, store, safe, #class[0]},
#include "model/dtype.def"
#undef QS_DTYPE
};

/* Names torch, numpy and people use besides the table's three. */
static const struct {
    const char *name;
    qs_dtype dtype;
} aliases[] = {
    {"double", QS_FLOAT64},       {"float", QS_FLOAT32},      {"fp64", QS_FLOAT64},
    {"fp32", QS_FLOAT32},         {"half", QS_FLOAT16},       {"fp16", QS_FLOAT16},
    {"bfloat", QS_BFLOAT16},      {"long", QS_INT64},         {"int", QS_INT32},
    {"short", QS_INT16},          {"char", QS_INT8},          {"byte", QS_UINT8},
    {"cfloat", QS_COMPLEX64},     {"cdouble", QS_COMPLEX128}, {"chalf", QS_COMPLEX32},
    {"float8", QS_FLOAT8_E4M3FN},
};

const qs_dtype_info *qs_dtype_get(qs_dtype t) {
    return &table[(unsigned)t < QS_DTYPE_COUNT ? t : QS_DTYPE_UNKNOWN];
}

static bool same_word(qs_str s, const char *word) {
    return s.n > 0 && strlen(word) == s.n && strncasecmp(s.p, word, s.n) == 0;
}

qs_dtype qs_dtype_parse(qs_str name) {
    if (qs_str_starts(name, QS_STR("torch."))) name = qs_str_sub(name, 6, name.n);
    for (int t = 1; t < QS_DTYPE_COUNT; t++) {
        const qs_dtype_info *d = &table[t];
        if (same_word(name, d->name) || same_word(name, d->short_name) || same_word(name, d->safetensors))
            return (qs_dtype)t;
    }
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (same_word(name, aliases[i].name)) return aliases[i].dtype;
    return qs_dtype_of_storage(name);
}

qs_dtype qs_dtype_of_storage(qs_str storage_class) {
    for (int t = 1; t < QS_DTYPE_COUNT; t++)
        if (storage_class.n && qs_str_is(storage_class, table[t].storage)) return (qs_dtype)t;
    return QS_DTYPE_UNKNOWN;
}

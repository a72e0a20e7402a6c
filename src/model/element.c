#include "model/element.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Digits that tell any two numbers of the type apart, where that is few; doubles are cut at what a column
 * holds. */
static int digits_of(qs_dtype t) {
    switch (qs_dtype_get(t)->size) {
    case 1: return 3;
    case 2: return t == QS_BFLOAT16 ? 4 : 5;
    case 4: return 9;
    default: return 12;
    }
}

static void integer_text(qs_dtype t, const void *p, char *out) {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64 = 0;
    size_t size = qs_dtype_get(t)->size;
    bool is_signed = qs_dtype_get(t)->kind == 'I' || t == QS_QINT8 || t == QS_QINT32;
    if (size == 1) memcpy(&u8, p, 1), u64 = is_signed ? (uint64_t)(int8_t)u8 : u8;
    if (size == 2) memcpy(&u16, p, 2), u64 = is_signed ? (uint64_t)(int16_t)u16 : u16;
    if (size == 4) memcpy(&u32, p, 4), u64 = is_signed ? (uint64_t)(int32_t)u32 : u32;
    if (size == 8) memcpy(&u64, p, 8);
    if (is_signed)
        snprintf(out, QS_ELEMENT_MAX, "%" PRId64, (int64_t)u64);
    else
        snprintf(out, QS_ELEMENT_MAX, "%" PRIu64, u64);
}

static void bits_text(size_t size, const unsigned char *p, char *out) {
    for (size_t i = 0; i < size && i < 16; i++) snprintf(out + 2 * i, 3, "%02x", p[size - 1 - i]);
}

static void complex_text(qs_dtype t, const void *p, char *out) {
    size_t half = qs_dtype_get(t)->size / 2u;
    qs_dtype part = half == 8 ? QS_FLOAT64 : half == 4 ? QS_FLOAT32 : QS_FLOAT16;
    double re, im;
    qs_to_doubles(part, p, 1, &re);
    qs_to_doubles(part, (const char *)p + half, 1, &im);
    snprintf(out, QS_ELEMENT_MAX, "%.6g%+.6gj", re, im);
}

void qs_element_text(qs_dtype t, const void *p, char out[QS_ELEMENT_MAX]) {
    double v = 0;
    out[0] = 0;
    switch (qs_dtype_get(t)->kind) {
    case 'F':
        qs_to_doubles(t, p, 1, &v);
        snprintf(out, QS_ELEMENT_MAX, "%.*g", digits_of(t), v);
        break;
    case 'B': snprintf(out, QS_ELEMENT_MAX, "%s", *(const unsigned char *)p ? "True" : "False"); break;
    case 'C': complex_text(t, p, out); break;
    case 'X': bits_text(qs_dtype_get(t)->size, p, out); break;
    default: integer_text(t, p, out);
    }
}

bool qs_element_eq(qs_dtype t, const void *a, const void *b) {
    if (memcmp(a, b, qs_dtype_get(t)->size) == 0) return true;
    if (!qs_dtype_is_float(t)) return false;
    double x, y;
    qs_to_doubles(t, a, 1, &x);
    qs_to_doubles(t, b, 1, &y);
    return isnan(x) && isnan(y);
}

void qs_element_index(qs_shape s, uint64_t i, char *out, size_t cap) {
    int64_t at[16];
    size_t n = 0;
    uint32_t shown = s.ndim < 16 ? s.ndim : 16;
    for (uint32_t d = s.ndim; d > 0; d--) {
        uint64_t dim = s.dim[d - 1] > 0 ? (uint64_t)s.dim[d - 1] : 1;
        if (d <= shown) at[d - 1] = (int64_t)(i % dim);
        i /= dim;
    }
    n += (size_t)snprintf(out, cap, "[");
    for (uint32_t d = 0; d < shown && n < cap; d++)
        n += (size_t)snprintf(out + n, cap - n, d ? ",%" PRId64 : "%" PRId64, at[d]);
    if (n < cap) snprintf(out + n, cap - n, s.ndim > shown ? ",...]" : "]");
}

size_t qs_checkpoint_sharing(const qs_checkpoint *c, const qs_tensor *t, uint32_t but, uint32_t *out,
                             size_t max) {
    size_t n = 0;
    if (!t || t->storage == UINT32_MAX) return 0;
    for (uint32_t i = 0; i < qs_checkpoint_count(c); i++) {
        const qs_tensor *other = qs_entry_tensor(c, qs_checkpoint_entry(c, i));
        if (i == but || !other || other->storage != t->storage) continue;
        if (n < max) out[n] = i;
        n++;
    }
    return n;
}

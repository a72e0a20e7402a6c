/* Element types. The table is dtype.def. */
#ifndef QS_MODEL_DTYPE_H
#define QS_MODEL_DTYPE_H

#include "base/str.h"

typedef enum qs_dtype {
    QS_DTYPE_UNKNOWN = 0,
#define QS_DTYPE(NAME, ...) QS_##NAME,
#include "model/dtype.def"
#undef QS_DTYPE
    QS_DTYPE_COUNT
} qs_dtype;

typedef struct qs_dtype_info {
    const char *name;        /* torch's: "float32" */
    const char *short_name;  /* "f32" */
    uint8_t size;            /* bytes */
    const char *storage;     /* torch storage class: "FloatStorage", or "" */
    const char *safetensors; /* "F32", or "" */
    char kind;               /* 'F' 'I' 'U' 'B' 'C' 'Q' 'X' */
} qs_dtype_info;

const qs_dtype_info *qs_dtype_get(qs_dtype t); /* never NULL; "?" for UNKNOWN */
static inline bool qs_dtype_is_float(qs_dtype t) {
    return qs_dtype_get(t)->kind == 'F';
}
/* "float32", "torch.float32", "f32", "F32", "float", "half", "long" ...; UNKNOWN if none. */
qs_dtype qs_dtype_parse(qs_str name);
qs_dtype qs_dtype_of_storage(qs_str storage_class);

/* Element conversions; bit patterns in, values out. */
float qs_half_to_float(uint16_t bits);
uint16_t qs_float_to_half(float v); /* round half to even, as torch's cast */
static inline float qs_bfloat16_to_float(uint16_t bits) {
    uint32_t u = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
uint16_t qs_float_to_bfloat16(float v); /* round half to even */
/* n elements of type t at src (native little-endian) as doubles; complex gives the real part. Exact for every
 * type but int64/uint64 beyond 2^53. */
void qs_to_doubles(qs_dtype t, const void *src, size_t n, double *out);
/* n elements as float32; exact for f32/f16/bf16/f8, rounded for others. */
void qs_to_floats(qs_dtype t, const void *src, size_t n, float *out);
/* n doubles as elements of type t, as torch's copy_ casts them. False for types that cannot be written. */
bool qs_from_doubles(qs_dtype t, const double *src, size_t n, void *out);

#endif

/* Conversions between element types. Every small float is described by five numbers and goes through one
 * decoder and one encoder (IEEE 754 binary16; the 8-bit formats of arXiv:2209.05433, of the OCP MX
 * specification and the "fnuz" variants of arXiv:2206.02915); half and bfloat16 have fast decoders besides,
 * because whole models are stored in them. */
#include "model/dtype.h"

#include <math.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef enum small_special {
    IEEE,   /* the top exponent means infinity and NaN */
    FINITE, /* no infinity; all ones is NaN; what is too large becomes the largest */
    FNUZ    /* no infinity, no negative zero; its pattern is the only NaN */
} small_special;

typedef struct small_float {
    int exp_bits, man_bits, bias;
    small_special special;
} small_float;

static const small_float f16 = {5, 10, 15, IEEE}, e4m3fn = {4, 3, 7, FINITE}, e5m2 = {5, 2, 15, IEEE},
                         e4m3fnuz = {4, 3, 8, FNUZ}, e5m2fnuz = {5, 2, 16, FNUZ};

static uint32_t bits_of(float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t sign_bit(const small_float *s) {
    return 1u << (s->exp_bits + s->man_bits);
}

static uint32_t nan_bits(const small_float *s) {
    if (s->special == FNUZ) return sign_bit(s);
    uint32_t all = sign_bit(s) - 1;
    return s->special == FINITE ? all : all & ~((1u << (s->man_bits - 1)) - 1); /* quiet bit only */
}

/* Largest finite pattern, without sign. */
static uint32_t max_bits(const small_float *s) {
    uint32_t all = sign_bit(s) - 1;
    if (s->special == FNUZ) return all;
    return s->special == FINITE ? all - 1 : all - (1u << s->man_bits);
}

static float decode(const small_float *s, uint32_t bits) {
    uint32_t magnitude = bits & (sign_bit(s) - 1);
    bool negative = bits & sign_bit(s);
    if (s->special == FNUZ && bits == sign_bit(s)) return NAN;
    if (magnitude > max_bits(s)) {
        bool inf = s->special == IEEE && (magnitude & ((1u << s->man_bits) - 1)) == 0;
        return inf ? (negative ? -INFINITY : INFINITY) : NAN;
    }
    int exp = (int)(magnitude >> s->man_bits);
    uint32_t man = magnitude & ((1u << s->man_bits) - 1);
    if (exp) man |= 1u << s->man_bits;
    float v = ldexpf((float)man, (exp ? exp : 1) - s->bias - s->man_bits);
    return negative ? -v : v;
}

/* Round half to even at the last place the format has for this magnitude. */
static uint32_t round_magnitude(const small_float *s, float v) {
    if (v == 0) return 0;
    int exp;
    frexpf(v, &exp); /* v in [0.5, 1) * 2^exp */
    int lowest = 1 - s->bias, e = exp - 1 < lowest ? lowest : exp - 1;
    double scaled = nearbyint(ldexp((double)v, s->man_bits - e)); /* exact before rounding */
    uint64_t biased = (uint64_t)(e - lowest);
    /* A normal number's hidden bit adds one to the exponent field; a carry out of the mantissa another. */
    return (uint32_t)((biased << s->man_bits) + (uint64_t)scaled);
}

static uint32_t encode(const small_float *s, float v) {
    if (isnan(v)) return s->special == FNUZ ? nan_bits(s) : nan_bits(s) | (signbit(v) ? sign_bit(s) : 0);
    uint32_t sign = signbit(v) ? sign_bit(s) : 0;
    uint32_t magnitude = isinf(v) ? max_bits(s) + 1 : round_magnitude(s, fabsf(v));
    if (magnitude > max_bits(s)) {
        if (s->special == FNUZ) return nan_bits(s);
        /* float8_e4m3fn saturates in torch 2.14; up to 2.6 it became NaN, which loses more. */
        magnitude = s->special == FINITE ? max_bits(s) : max_bits(s) + 1;
    }
    return s->special == FNUZ && magnitude == 0 ? 0 : magnitude | sign;
}

float qs_half_to_float(uint16_t h) {
    /* Reinterpreting the shifted bits and multiplying by 2^112 rebiases normals and normalises denormals. */
    float f = float_of((uint32_t)(h & 0x7fff) << 13) * 0x1p112f;
    uint32_t u = bits_of(f);
    if (f >= 65536.0f) u |= 0x7f800000;
    return float_of(u | (uint32_t)(h & 0x8000) << 16);
}

uint16_t qs_float_to_half(float v) {
    return (uint16_t)encode(&f16, v);
}

uint16_t qs_float_to_bfloat16(float v) {
    uint32_t u = bits_of(v);
    if (isnan(v)) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* 2^(bits - 127); 0xff is NaN; no sign, no zero. */
static float e8m0_to_float(uint8_t bits) {
    return bits == 0xff ? NAN : ldexpf(1.0f, bits - 127);
}

/* The sign is dropped and a tie rounds up, except below the smallest normal: as torch's cast. */
static uint8_t float_to_e8m0(float v) {
    uint32_t u = bits_of(v) & 0x7fffffff, exp = u >> 23, man = u & 0x7fffff;
    if (exp == 0xff) return 0xff;
    return (uint8_t)(exp + (exp ? man >= 0x400000 : man > 0x400000));
}

static float small_to_float(qs_dtype t, uint8_t bits) {
    switch (t) {
    case QS_FLOAT8_E4M3FN: return decode(&e4m3fn, bits);
    case QS_FLOAT8_E5M2: return decode(&e5m2, bits);
    case QS_FLOAT8_E4M3FNUZ: return decode(&e4m3fnuz, bits);
    case QS_FLOAT8_E5M2FNUZ: return decode(&e5m2fnuz, bits);
    case QS_FLOAT8_E8M0FNU: return e8m0_to_float(bits);
    default: return bits; /* packed or raw bytes */
    }
}

/* 256 decoded values are cheaper than 256 thousand decodings. */
static void small_to_floats(qs_dtype t, const uint8_t *src, size_t n, float *out) {
    float lut[256];
    for (unsigned i = 0; i < 256; i++) lut[i] = small_to_float(t, (uint8_t)i);
    for (size_t i = 0; i < n; i++) out[i] = lut[src[i]];
}

/* Elements of C type T, one every `step` bytes, cast to the output's type. Unaligned input is fine. */
#define CAST_EACH(T, step)                                                                                   \
    for (size_t i = 0; i < n; i++) {                                                                         \
        T v;                                                                                                 \
        memcpy(&v, p + i * (step), sizeof v);                                                                \
        out[i] = (OUT)v;                                                                                     \
    }                                                                                                        \
    break
#define CAST_EACH_16(convert, step)                                                                          \
    for (size_t i = 0; i < n; i++) {                                                                         \
        uint16_t v;                                                                                          \
        memcpy(&v, p + i * (step), sizeof v);                                                                \
        out[i] = (OUT)convert(v);                                                                            \
    }                                                                                                        \
    break
#define CAST_SWITCH(other)                                                                                   \
    switch (t) {                                                                                             \
    case QS_FLOAT64: CAST_EACH(double, 8);                                                                   \
    case QS_FLOAT32: CAST_EACH(float, 4);                                                                    \
    case QS_FLOAT16: CAST_EACH_16(qs_half_to_float, 2);                                                      \
    case QS_BFLOAT16: CAST_EACH_16(qs_bfloat16_to_float, 2);                                                 \
    case QS_INT64: CAST_EACH(int64_t, 8);                                                                    \
    case QS_INT32:                                                                                           \
    case QS_QINT32: CAST_EACH(int32_t, 4);                                                                   \
    case QS_INT16: CAST_EACH(int16_t, 2);                                                                    \
    case QS_INT8:                                                                                            \
    case QS_QINT8: CAST_EACH(int8_t, 1);                                                                     \
    case QS_UINT16:                                                                                          \
    case QS_BITS16: CAST_EACH(uint16_t, 2);                                                                  \
    case QS_UINT32: CAST_EACH(uint32_t, 4);                                                                  \
    case QS_UINT64: CAST_EACH(uint64_t, 8);                                                                  \
    case QS_COMPLEX128: CAST_EACH(double, 16);                                                               \
    case QS_COMPLEX64: CAST_EACH(float, 8);                                                                  \
    case QS_COMPLEX32: CAST_EACH_16(qs_half_to_float, 4);                                                    \
    case QS_BOOL:                                                                                            \
        for (size_t i = 0; i < n; i++) out[i] = p[i] != 0;                                                   \
        break;                                                                                               \
    default: other;                                                                                          \
    }

/* Whole models are stored in 16 bits. The same arithmetic as in the functions for one number, eight at a
 * time; `out` may begin before `p` in the same buffer, as long as it does not end before it. Returns how many
 * are done. */
#ifdef __x86_64__
#define WIDEN_8(name, EXPR)                                                                                  \
    __attribute__((target("avx2"))) static size_t name(const unsigned char *p, size_t n, float *out) {       \
        size_t i = 0;                                                                                        \
        for (; i + 8 <= n; i += 8) {                                                                         \
            __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + i * 2)));  \
            _mm256_storeu_si256((__m256i *)(void *)(out + i), EXPR);                                         \
        }                                                                                                    \
        return i;                                                                                            \
    }

__attribute__((target("avx2"), always_inline)) static inline __m256i half_8(__m256i u) {
    __m256i magnitude = _mm256_slli_epi32(_mm256_and_si256(u, _mm256_set1_epi32(0x7fff)), 13);
    __m256 f = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p112f));
    __m256 special = _mm256_and_ps(_mm256_cmp_ps(f, _mm256_set1_ps(65536.0f), _CMP_GE_OQ),
                                   _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000)));
    __m256i sign = _mm256_slli_epi32(_mm256_and_si256(u, _mm256_set1_epi32(0x8000)), 16);
    return _mm256_or_si256(_mm256_castps_si256(_mm256_or_ps(f, special)), sign);
}

WIDEN_8(widen_half, half_8(u))
WIDEN_8(widen_bfloat16, _mm256_slli_epi32(u, 16))
#endif

/* The first of n elements, as many as there is a fast way for; 0 for other types. */
static size_t widen_16(qs_dtype t, const unsigned char *p, size_t n, float *out) {
#ifdef __x86_64__
    if ((t == QS_FLOAT16 || t == QS_BFLOAT16) && __builtin_cpu_supports("avx2"))
        return (t == QS_FLOAT16 ? widen_half : widen_bfloat16)(p, n, out);
#endif
    return 0;
}

void qs_to_floats(qs_dtype t, const void *src, size_t n, float *out) {
    typedef float OUT;
    const unsigned char *p = src;
    size_t done = widen_16(t, p, n, out);
    p += done * 2, out += done, n -= done;
    CAST_SWITCH(small_to_floats(t, p, n, out))
}

static void small_to_doubles(qs_dtype t, const uint8_t *src, size_t n, double *out) {
    float f[256];
    for (size_t i = 0; i < n; i += 256) {
        size_t k = n - i < 256 ? n - i : 256;
        small_to_floats(t, src + i, k, f);
        for (size_t j = 0; j < k; j++) out[i + j] = f[j];
    }
}

void qs_to_doubles(qs_dtype t, const void *src, size_t n, double *out) {
    typedef double OUT;
    const unsigned char *p = src;
    CAST_SWITCH(small_to_doubles(t, p, n, out))
}

/* C leaves an out-of-range cast undefined; x86 gives INT64_MIN, and narrower types take its low bits. */
static int64_t to_int64(double v) {
    return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN;
}

static uint64_t to_uint64(double v) {
    return v >= 0x1p63 && v < 0x1p64 ? (uint64_t)v : (uint64_t)to_int64(v);
}

#define STORE_EACH(T, expr)                                                                                  \
    for (size_t i = 0; i < n; i++) {                                                                         \
        T v = (T)(expr);                                                                                     \
        memcpy(p + i * size, &v, sizeof v);                                                                  \
    }                                                                                                        \
    return true

bool qs_from_doubles(qs_dtype t, const double *src, size_t n, void *out) {
    unsigned char *p = out;
    size_t size = qs_dtype_get(t)->size;
    if (qs_dtype_get(t)->kind == 'C') memset(p, 0, n * size); /* imaginary parts */
    switch (t) {
    case QS_FLOAT64:
    case QS_COMPLEX128: STORE_EACH(double, src[i]);
    case QS_FLOAT32:
    case QS_COMPLEX64: STORE_EACH(float, src[i]);
    case QS_FLOAT16:
    case QS_COMPLEX32: STORE_EACH(uint16_t, qs_float_to_half((float)src[i]));
    case QS_BFLOAT16: STORE_EACH(uint16_t, qs_float_to_bfloat16((float)src[i]));
    case QS_INT64: STORE_EACH(int64_t, to_int64(src[i]));
    case QS_INT32: STORE_EACH(int32_t, to_int64(src[i]));
    case QS_INT16: STORE_EACH(int16_t, to_int64(src[i]));
    case QS_INT8: STORE_EACH(int8_t, to_int64(src[i]));
    case QS_UINT8: STORE_EACH(uint8_t, to_int64(src[i]));
    case QS_UINT16: STORE_EACH(uint16_t, to_int64(src[i]));
    case QS_UINT32: STORE_EACH(uint32_t, to_int64(src[i]));
    case QS_UINT64: STORE_EACH(uint64_t, to_uint64(src[i]));
    case QS_BOOL: STORE_EACH(uint8_t, src[i] != 0);
    case QS_FLOAT8_E4M3FN: STORE_EACH(uint8_t, encode(&e4m3fn, (float)src[i]));
    case QS_FLOAT8_E5M2: STORE_EACH(uint8_t, encode(&e5m2, (float)src[i]));
    case QS_FLOAT8_E4M3FNUZ: STORE_EACH(uint8_t, encode(&e4m3fnuz, (float)src[i]));
    case QS_FLOAT8_E5M2FNUZ: STORE_EACH(uint8_t, encode(&e5m2fnuz, (float)src[i]));
    case QS_FLOAT8_E8M0FNU: STORE_EACH(uint8_t, float_to_e8m0((float)src[i]));
    default: return false;
    }
}

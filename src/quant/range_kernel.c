#include "quant/range_kernel.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Elements looked at together: four vectors of AVX2, so that no comparison waits for the one before. */
enum { VECTOR_BYTES = 32, LANE_BYTES = 4 * VECTOR_BYTES };

/* The accumulators are vectors by name: left to itself gcc keeps them in memory, which costs more than the
 * comparisons where rows are few. Lanes that a length does not fill are filled by elements seen already:
 * minimum and maximum do not mind. */
/* What widens lo and hi by the vector x. gcc does not see a minimum in a choice between two vectors, which
 * costs where the processor has one. */
#define WIDEN_any(BITS, x, lo, hi)                                                                           \
    {                                                                                                        \
        vector_##BITS k = (x) ^ (((x) >> (BITS - 1)) & INT##BITS##_MAX), m = k < lo;                         \
        lo = (k & m) | (lo & ~m);                                                                            \
        m = k > hi;                                                                                          \
        hi = (k & m) | (hi & ~m);                                                                            \
    }

#define WIDEN_avx2(BITS, x, lo, hi)                                                                          \
    {                                                                                                        \
        __m256i k = (__m256i)((x) ^ (((x) >> (BITS - 1)) & INT##BITS##_MAX));                                \
        lo = (vector_##BITS)_mm256_min_epi##BITS(k, (__m256i)lo);                                            \
        hi = (vector_##BITS)_mm256_max_epi##BITS(k, (__m256i)hi);                                            \
    }

#define DEFINE_KEYS(BITS)                                                                                    \
    enum { LANES_##BITS = LANE_BYTES * 8 / BITS };                                                           \
    typedef int##BITS##_t vector_##BITS __attribute__((vector_size(VECTOR_BYTES)));                          \
    typedef int##BITS##_t loose_##BITS __attribute__((vector_size(VECTOR_BYTES), aligned(BITS / 8)));        \
                                                                                                             \
    static inline int##BITS##_t key_##BITS(int##BITS##_t x) {                                                \
        return (int##BITS##_t)(x ^ ((x >> (BITS - 1)) & INT##BITS##_MAX));                                   \
    }                                                                                                        \
                                                                                                             \
    static void clear_##BITS(void *lo, void *hi, size_t n) {                                                 \
        int##BITS##_t *l = lo, *h = hi;                                                                      \
        for (size_t i = 0; i < n; i++) l[i] = INT##BITS##_MAX, h[i] = INT##BITS##_MIN;                       \
    }

#define DEFINE_KERNEL(BITS, NAME, ATTRIBUTE)                                                                 \
    /* Lane j is widened by the elements j, j + pitch ... */                                                 \
    ATTRIBUTE static inline void lanes_##BITS##_##NAME(const int##BITS##_t *x, size_t rows, size_t pitch,    \
                                                       int##BITS##_t *lo, int##BITS##_t *hi) {               \
        loose_##BITS *l = (loose_##BITS *)lo, *h = (loose_##BITS *)hi;                                       \
        vector_##BITS l0 = l[0], l1 = l[1], l2 = l[2], l3 = l[3], h0 = h[0], h1 = h[1], h2 = h[2],           \
                      h3 = h[3];                                                                             \
        for (size_t r = 0; r < rows; r++, x += pitch) {                                                      \
            const loose_##BITS *v = (const loose_##BITS *)x;                                                 \
            WIDEN_##NAME(BITS, v[0], l0, h0) WIDEN_##NAME(BITS, v[1], l1, h1)                                \
                WIDEN_##NAME(BITS, v[2], l2, h2) WIDEN_##NAME(BITS, v[3], l3, h3)                            \
        }                                                                                                    \
        l[0] = l0, l[1] = l1, l[2] = l2, l[3] = l3;                                                          \
        h[0] = h0, h[1] = h1, h[2] = h2, h[3] = h3;                                                          \
    }                                                                                                        \
                                                                                                             \
    ATTRIBUTE static void columns_##BITS##_##NAME(const void *p, size_t rows, size_t n, void *lo,            \
                                                  void *hi) {                                                \
        const int##BITS##_t *x = p;                                                                          \
        int##BITS##_t *l = lo, *h = hi;                                                                      \
        for (size_t i = 0; n < LANES_##BITS && i < rows * n; i++) {                                          \
            int##BITS##_t k = key_##BITS(x[i]);                                                              \
            l[i % n] = k < l[i % n] ? k : l[i % n];                                                          \
            h[i % n] = k > h[i % n] ? k : h[i % n];                                                          \
        }                                                                                                    \
        for (size_t c = 0; n >= LANES_##BITS && c < n; c += LANES_##BITS) {                                  \
            if (c > n - LANES_##BITS) c = n - LANES_##BITS;                                                  \
            lanes_##BITS##_##NAME(x + c, rows, n, l + c, h + c);                                             \
        }                                                                                                    \
    }                                                                                                        \
                                                                                                             \
    ATTRIBUTE static void run_##BITS##_##NAME(const void *p, size_t n, int32_t *lo, int32_t *hi) {           \
        const int##BITS##_t *x = p;                                                                          \
        int##BITS##_t l[LANES_##BITS], h[LANES_##BITS];                                                      \
        clear_##BITS(l, h, LANES_##BITS);                                                                    \
        if (n >= LANES_##BITS) {                                                                             \
            lanes_##BITS##_##NAME(x, n / LANES_##BITS, LANES_##BITS, l, h);                                  \
            lanes_##BITS##_##NAME(x + n - LANES_##BITS, 1, LANES_##BITS, l, h);                              \
        }                                                                                                    \
        for (size_t i = 0; n < LANES_##BITS && i < n; i++) {                                                 \
            int##BITS##_t k = key_##BITS(x[i]);                                                              \
            l[0] = k < l[0] ? k : l[0];                                                                      \
            h[0] = k > h[0] ? k : h[0];                                                                      \
        }                                                                                                    \
        for (int half = LANES_##BITS / 2; half > 0; half /= 2)                                               \
            for (int j = 0; j < half; j++) {                                                                 \
                l[j] = l[j + half] < l[j] ? l[j + half] : l[j];                                              \
                h[j] = h[j + half] > h[j] ? h[j + half] : h[j];                                              \
            }                                                                                                \
        *lo = l[0] < *lo ? l[0] : *lo;                                                                       \
        *hi = h[0] > *hi ? h[0] : *hi;                                                                       \
    }

#define KERNEL(DTYPE, INF, BITS, NAME)                                                                       \
    { DTYPE, BITS / 8, INF, run_##BITS##_##NAME, columns_##BITS##_##NAME, clear_##BITS }

#define TABLE(NAME)                                                                                          \
    static const qs_range_kernel NAME[] = {KERNEL(QS_FLOAT32, 0x7f800000, 32, NAME),                         \
                                           KERNEL(QS_FLOAT16, 0x7c00, 16, NAME),                             \
                                           KERNEL(QS_BFLOAT16, 0x7f80, 16, NAME)};

DEFINE_KEYS(16)
DEFINE_KEYS(32)
DEFINE_KERNEL(16, any, )
DEFINE_KERNEL(32, any, )
TABLE(any)
#ifdef __x86_64__
DEFINE_KERNEL(16, avx2, __attribute__((target("avx2"))))
DEFINE_KERNEL(32, avx2, __attribute__((target("avx2"))))
TABLE(avx2)
#endif

static const qs_range_kernel *best_table(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) return avx2;
#endif
    return any;
}

const qs_range_kernel *qs_range_kernel_of(qs_dtype t) {
    const qs_range_kernel *k = best_table();
    for (size_t i = 0; i < sizeof any / sizeof *any; i++)
        if (k[i].dtype == t) return &k[i];
    return NULL;
}

int32_t qs_range_key(const qs_range_kernel *k, const void *keys, size_t i) {
    return k->size == sizeof(int16_t) ? ((const int16_t *)keys)[i] : ((const int32_t *)keys)[i];
}

float qs_range_value(const qs_range_kernel *k, int32_t key) {
    if (k->dtype != QS_FLOAT32) {
        uint16_t bits = (uint16_t)key_16((int16_t)key);
        return k->dtype == QS_FLOAT16 ? qs_half_to_float(bits) : qs_bfloat16_to_float(bits);
    }
    int32_t bits = key_32(key);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

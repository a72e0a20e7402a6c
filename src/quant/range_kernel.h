/* Minimum and maximum of floats by their bit patterns, in vectors as wide as the processor has. */
#ifndef QS_QUANT_RANGE_KERNEL_H
#define QS_QUANT_RANGE_KERNEL_H

#include "model/dtype.h"

/* The key of a float is its pattern as a signed integer, with the bits below the sign flipped in negative
 * ones: keys are in the order of the numbers (-0 before +0), infinities lie outside of every finite number
 * and NaNs outside of them, so that two comparisons an element also tell whether all were finite. */
typedef struct qs_range_kernel {
    qs_dtype dtype; /* of the elements */
    size_t size;    /* of an element */
    int32_t inf;    /* key of +infinity; that of -infinity is ~inf */
    /* Widen the keys [*lo, *hi] by x[0..n). */
    void (*run)(const void *x, size_t n, int32_t *lo, int32_t *hi);
    /* The same for the n columns of `rows` rows: column c widens the c-th keys of lo and hi, arrays of keys
     * of the element's size. */
    void (*columns)(const void *x, size_t rows, size_t n, void *lo, void *hi);
    void (*clear)(void *lo, void *hi, size_t n); /* n keys each that any element widens */
} qs_range_kernel;

/* NULL for a type whose elements are not floats of 16 or 32 bits. The tables are constant. */
const qs_range_kernel *qs_range_kernel_of(qs_dtype t);

/* No element has been seen: lo above every key, hi below. */
enum { QS_RANGE_KEY_MAX = INT32_MAX, QS_RANGE_KEY_MIN = INT32_MIN };

static inline bool qs_range_finite(const qs_range_kernel *k, int32_t lo, int32_t hi) {
    return lo > ~k->inf && hi < k->inf;
}
int32_t qs_range_key(const qs_range_kernel *k, const void *keys, size_t i);
/* The number of a key: exact. */
float qs_range_value(const qs_range_kernel *k, int32_t key);

#endif

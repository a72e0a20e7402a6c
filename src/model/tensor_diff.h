/* How far the values of two tensors are apart, streamed: memory does not grow with the tensors. */
#ifndef QS_MODEL_TENSOR_DIFF_H
#define QS_MODEL_TENSOR_DIFF_H

#include "model/checkpoint.h"

/* Numbers are compared as they are, whatever type holds them: float16 against float32, int8 against int64
 * (64-bit integers exactly, beyond 2^53 too), quantized tensors by their dequantized values. A complex
 * element is two numbers.
 *
 * A NaN equals a NaN, an infinity its like; any other pair with a NaN or an infinity in it differs, whatever
 * epsilon is, and stays out of the three measures, which are over pairs of finite numbers:
 *   max_abs          max |a - b|
 *   max_rel          max |a - b| / max(max |a|, max |b|): 0 equal, 2 opposite; not per element, where every
 *                    value near zero would be far from its like
 *   cosine_distance  1 - a.b / (|a| |b|): 0 same direction, 1 none in common (or one of them is all zero), 2
 *                    opposite. Sums in double; below about 1e-13 it is noise. */
typedef struct qs_tensor_diff {
    uint64_t n;      /* pairs compared */
    uint64_t differ; /* pairs further apart than epsilon, those with a NaN or an infinity among them */
    uint64_t nan_a, nan_b;
    uint64_t nonfinite_differ; /* pairs that differ by a NaN or an infinity */
    double max_abs, max_rel, cosine_distance;
    uint64_t max_at; /* pair with the first max_abs, in row-major order */
} qs_tensor_diff;

/* The measures need equal shapes (QS_E_USAGE else), and numbers that can be told from the file:
 * QS_E_UNSUPPORTED for sparse, meta and packed tensors and for complex against real, QS_E_INPUT for a broken
 * one. With an epsilon of 0, differ == 0 says that all numbers are equal (0 and -0 are). */
bool qs_tensor_diff_compute(const qs_checkpoint *ca, const qs_tensor *a, const qs_checkpoint *cb,
                            const qs_tensor *b, double epsilon, const qs_progress *progress,
                            qs_tensor_diff *out, qs_err *e);

#endif

/* Statistics of a tensor's values, streamed. */
#ifndef QS_MODEL_STATS_H
#define QS_MODEL_STATS_H

#include "model/checkpoint.h"

enum { QS_HIST_BINS = 64 };

typedef struct qs_stats {
    uint64_t n, finite, nan, inf, zero;
    /* Over the finite values; NaN if there are none. std divides by n - 1, as torch.std does, and is 0 for a
     * single value. */
    double min, max, mean, std;
    uint64_t
        hist[QS_HIST_BINS]; /* equal bins over [min, max], finite values; all in the first if min == max */
} qs_stats;

/* Two passes over the tensor (range, then histogram). Cancellable. Complex tensors count by their real part,
 * quantized ones by their dequantized values. */
bool qs_stats_compute(const qs_checkpoint *c, const qs_tensor *t, qs_stats *out, const qs_progress *progress,
                      qs_err *e);

/* The range of each slice along an axis, over finite values; NaN where there are none. `axis` < ndim;
 * min and max have shape.dim[axis] elements. */
bool qs_stats_channels(const qs_checkpoint *c, const qs_tensor *t, uint32_t axis, double *min, double *max,
                       const qs_progress *progress, qs_err *e);

/* CRC-32 (as zlib's) of the values as packed row-major little-endian elements: equal for equal tensors,
 * however they are stored. Quantized tensors count by their integers. */
bool qs_tensor_crc32(const qs_checkpoint *c, const qs_tensor *t, uint32_t *out, const qs_progress *progress,
                     qs_err *e);

#endif

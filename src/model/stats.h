/* Statistics of a tensor's values, streamed. */
#ifndef QS_MODEL_STATS_H
#define QS_MODEL_STATS_H

#include "model/checkpoint.h"

enum { QS_HIST_BINS = 64 };

typedef struct qs_stats {
    uint64_t n, finite, nan, inf, zero;
    double min, max, mean, std;  /* over the finite values; NaN if there are none */
    uint64_t hist[QS_HIST_BINS]; /* equal bins over [min, max], finite values */
} qs_stats;

/* Two passes over the tensor (range, then histogram). Cancellable. */
bool qs_stats_compute(const qs_checkpoint *c, const qs_tensor *t, qs_stats *out, const qs_progress *progress,
                      qs_err *e);

#endif

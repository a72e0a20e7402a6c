/* What rounding to a grid does to a weight, for any bits, scheme and clipping: the numbers behind the
 * explorer's sliders. The arithmetic is that of quant/qparams: torch's MinMaxObserver (its per-channel
 * sibling on axis 0), then torch.fake_quantize_per_tensor_affine or _per_channel_affine
 * (tests/oracle/test_see.py). Ranges, and so scales and zero points, come from every element of the tensor;
 * errors and histograms from at most QS_SEE_VALUES of them. */
#ifndef QS_TEACH_SEE_H
#define QS_TEACH_SEE_H

#include "model/checkpoint.h"
#include "quant/qparams.h"

enum {
    QS_SEE_VALUES = 1 << 18,
    QS_SEE_CHANNELS = QS_SEE_VALUES / 16,
    QS_SEE_BITS_MIN = 2,
    QS_SEE_BITS_MAX = 8
};

/* The values of one tensor as [channels][values each], channels along axis 0 (1 for a vector). */
typedef struct qs_see qs_see;
/* Reads the tensor once for its ranges, and keeps its values, or where they are too many an evenly spread run
 * of each channel (beyond QS_SEE_CHANNELS of them: of some). QS_E_INPUT for a tensor with fewer than two
 * values, whose values are no floats, or not finite. progress may be NULL. */
bool qs_see_open(const qs_checkpoint *from, const qs_tensor *t, const qs_progress *progress, qs_see **out,
                 qs_err *e);
void qs_see_free(qs_see *s);
uint64_t qs_see_total(const qs_see *s);               /* elements of the tensor */
size_t qs_see_count(const qs_see *s);                 /* of these looked at */
uint32_t qs_see_channels(const qs_see *s);            /* those looked at */
uint32_t qs_see_channel(const qs_see *s, uint32_t i); /* which channel of the tensor the i-th of them is */

typedef struct qs_see_settings {
    int bits; /* QS_SEE_BITS_MIN .. MAX */
    bool affine, per_channel;
    double keep; /* share of the observed range the grid covers: 1 all, 0.5 half; the rest is clipped */
} qs_see_settings;
#define QS_SEE_DEFAULT ((qs_see_settings){.bits = 8, .keep = 1})

typedef struct qs_see_result {
    int64_t quant_min, quant_max;
    float min, max;           /* of the range that is kept, over all channels */
    float scale, scale_least; /* largest and smallest of the scales */
    int32_t zero_point;       /* of the channel with the largest scale */
    qs_quality quality;       /* of all values */
    uint32_t worst;           /* channel looked at with the lowest SQNR, and that */
    double worst_db;
    /* the very first value, as an example: what it is, its integer, what it becomes */
    float first, first_rounded;
    int64_t first_integer;
    float first_scale;
    int32_t first_zero_point;
} qs_see_result;
/* by_channel: NULL, or receives the quality of each channel that is looked at, with these settings. */
bool qs_see_compute(const qs_see *s, const qs_see_settings *set, qs_see_result *out, qs_quality *by_channel,
                    qs_err *e);

/* Values per bin over [lo, hi]; with `set` after rounding to its grid. */
bool qs_see_histogram(const qs_see *s, const qs_see_settings *set, float lo, float hi, uint64_t *bins,
                      size_t n, qs_err *e);
void qs_see_range(const qs_see *s, float *lo, float *hi); /* of the whole tensor */

#endif

/* The demo's numbers: each is a function of where it stands, so nothing is stored and nothing is random. */
#ifndef QS_DEMO_VALUES_H
#define QS_DEMO_VALUES_H

#include "base/err.h"
#include "demo_net.h"

#define DEMO_BN_EPS 1e-3 /* of every BatchNorm of the YOLO family */

enum { DEMO_QUANT_MIN = -128, DEMO_QUANT_MAX = 127 };

typedef struct demo_range {
    float min, max, scale;
    int32_t zero_point;
} demo_range;

/* Element i of an entry. ranges: one per quantizer of the net, from demo_ranges. */
double demo_value_at(const demo_net *n, const demo_range *ranges, const demo_entry *en, uint64_t i);

/* What every quantizer has observed: a weight's range is the range of the weight times its BatchNorm's
 * factor, as torch's ConvBn2d shows it to the observer. out: one per quantizer. */
bool demo_ranges(const demo_net *n, demo_range *out, qs_err *e);

#endif

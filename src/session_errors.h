/* What rounding costs each weight: which layer to look at first. */
#ifndef QS_SESSION_ERRORS_H
#define QS_SESSION_ERRORS_H

#include "session.h"

typedef struct qs_weight_error {
    uint32_t row; /* of the comparison: the weight's */
    qs_quality quality;
    double per_channel_db; /* SQNR if every channel had its own scale; NaN if it has, or it is unknown */
    bool batchnorm;        /* the quantizer sees the weight scaled by its BatchNorm */
} qs_weight_error;

/* The weights of the result with what their own quantizers cost them (by the scales there are, else by those
 * that would be observed), the lowest SQNR first. Where the model quantizes none of them, *own is false and
 * it is what int8 with one symmetric scale for each tensor would cost every float weight. Weights that cannot
 * be read are left out. The array is in the arena. Cancellable. */
bool qs_session_weight_errors(const qs_session *s, qs_arena *arena, qs_weight_error **out, size_t *n,
                              bool *own, const qs_progress *progress, qs_err *e);

#endif

/* Plans made from what a plan does to a checkpoint. */
#ifndef QS_REPAIR_PLAN_DERIVE_H
#define QS_REPAIR_PLAN_DERIVE_H

#include "repair/resolve.h"

/* What the inverse plan cannot do by itself. */
typedef struct qs_inverse_gaps {
    size_t copies; /* entries the plan dropped or overwrote: they come from the original, given as B */
    size_t tops;   /* entries beside the state dict that were dropped: no plan brings them back */
} qs_inverse_gaps;

/* The plan that turns the result of `r` back into A's state dict: drop what was made, all renames at once the
 * other way, copy from B (A itself) what was dropped or overwritten. It names every key; apply it with the
 * original as B if gaps->copies. */
bool qs_plan_inverse(const qs_resolution *r, qs_plan **out, qs_inverse_gaps *gaps, qs_err *e);

/* The plan of `in` with preconditions on every entry of A that an action renames, drops or overwrites: that
 * it is there with this shape and dtype, and with `content` these values too (every such tensor is read).
 * Those it had are replaced; comments are kept. */
bool qs_plan_expecting(const qs_resolve_input *in, bool content, qs_plan **out, qs_err *e);

#endif

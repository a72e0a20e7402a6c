/* Inside of the causes, shared by cause*.c. */
#ifndef QS_REPAIR_CAUSE_IMPL_H
#define QS_REPAIR_CAUSE_IMPL_H

#include "repair/cause.h"

#define QS_CAUSE_BIT(id) (1ull << (id))

/* What speaks for each cause so far. */
typedef struct qs_cause_tally {
    const qs_cause_input *in;
    qs_cause v[QS_CAUSE_COUNT];
    bool found[QS_CAUSE_COUNT]; /* those with no keys, too */
} qs_cause_tally;

/* One more key for a cause; the evidence of the first is kept. */
void qs_cause_add(qs_cause_tally *t, qs_cause_id id, bool left, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* One about the file as a whole. */
void qs_cause_say(qs_cause_tally *t, qs_cause_id id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What lies between two names of one tensor, as QS_CAUSE_BITs; never 0. */
uint64_t qs_cause_of_names(qs_str from, qs_str to);

/* The cause a key's name gives away, or QS_CAUSE_COUNT. spare: the model has no place for it. */
qs_cause_id qs_cause_of_key(qs_str key, bool spare);

/* Keys that are missing, too many or of another shape, and those the repair made, dropped or converted. */
void qs_cause_find_rows(qs_cause_tally *t);

#endif

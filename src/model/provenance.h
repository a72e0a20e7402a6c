/* Where a checkpoint comes from: the torch that wrote it, the framework, the day, and what was wrapped around
 * the model. All of it is inferred from what the file holds (provenance.def); nothing is certain. */
#ifndef QS_MODEL_PROVENANCE_H
#define QS_MODEL_PROVENANCE_H

#include "base/vec.h"
#include "model/checkpoint.h"

typedef struct qs_provenance_fact {
    const char *label; /* "container", "torch", "framework", "version", "date", "wrapper" */
    const char *text; /* printable; of torch, with the evidence: "1.8 to 2.0: storages counted from 0, ..." */
} qs_provenance_fact;

typedef struct qs_provenance {
    qs_arena arena;
    /* The versions that could have written it, major * 100 + minor; 0 is open, both 0: nothing is known, or
     * the evidence contradicts itself (a file that was written again). */
    int torch_from, torch_to;
    QS_VEC(qs_provenance_fact) facts; /* in the order of the labels above */
} qs_provenance;

/* Looks at each entry once. Free with qs_provenance_free. */
bool qs_provenance_new(const qs_checkpoint *c, qs_provenance **out, qs_err *e);
void qs_provenance_free(qs_provenance *p);
/* "1.8 to 2.0", "2.7 or newer", "1.12 or older", "unknown". */
void qs_provenance_range(const qs_provenance *p, char *out, size_t cap);

#endif

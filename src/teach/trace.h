/* A strict load played step by step: which module is entered, which entry is taken, made up, resized,
 * complained about. Made from a verdict and what it was about; the order of modules and entries is torch's,
 * and what a class does to an entry stands with the entry. Where torch raises, the steps end
 * (tests/oracle/test_strict.py compares them with the real thing). */
#ifndef QS_TEACH_TRACE_H
#define QS_TEACH_TRACE_H

#include "repair/resolve.h"
#include "repair/strict.h"

typedef enum qs_step_kind {
#define QS_STEP(NAME, ...) QS_STEP_##NAME,
#include "teach/step.def"
#undef QS_STEP
    QS_STEP_COUNT
} qs_step_kind;

typedef struct qs_step_info {
    const char *name, *help;
    bool takes, error;
} qs_step_info;
const qs_step_info *qs_step_get(qs_step_kind k);

typedef struct qs_step {
    qs_step_kind kind;
    uint32_t module;  /* of the target: the one being loaded */
    uint32_t depth;   /* of that module; the top is 0 */
    uint32_t repeats; /* MISS: how often torch lists the key; else 1 */
    qs_str key;       /* the entry, or the module's name for ENTER; borrowed from the documents */
    const char *note; /* "", or the verdict's words; borrowed from the verdict */
} qs_step;

typedef struct qs_trace qs_trace;

/* The verdict must be over this resolution, and the resolution must have a target (else QS_E_USAGE). All
 * borrowed: the trace lives no longer than they do. */
bool qs_trace_make(const qs_resolution *r, const qs_verdict *v, qs_trace **out, qs_err *e);
void qs_trace_free(qs_trace *t);
size_t qs_trace_count(const qs_trace *t);
const qs_step *qs_trace_step(const qs_trace *t, size_t i);
/* The next step from i on (backwards: the one before it or i itself) that is an error; SIZE_MAX if there is
 * none. */
size_t qs_trace_next_error(const qs_trace *t, size_t i, bool backwards);
/* How many steps of each kind there are up to step i, it included. */
void qs_trace_tally(const qs_trace *t, size_t i, size_t tally[QS_STEP_COUNT]);
/* One line for a person, names made printable: "enter model.0.conv (QuantWrapper), version 1 in _metadata";
 * brief: without what the enclosing module's name says already. */
void qs_trace_text(const qs_trace *t, size_t i, bool brief, qs_buf *out);

#endif

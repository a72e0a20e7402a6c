/* Inside of the diagnosis, shared by diagnose*.c. */
#ifndef QS_REPAIR_DIAGNOSE_IMPL_H
#define QS_REPAIR_DIAGNOSE_IMPL_H

#include "base/map.h"
#include "base/vec.h"
#include "repair/cause.h"
#include "repair/diagnose.h"

/* What of the target is missing still. */
typedef struct qs_diag_gaps {
    uint32_t wanted, missing; /* entries of the target */
    bool quant;               /* a quantizer's is among the missing */
} qs_diag_gaps;

/* The public part first, so that a pointer to it is a pointer to all. */
typedef struct qs_diag_owned {
    qs_diagnosis pub;
    qs_arena arena;
} qs_diag_owned;

/* What the rows say, counted once. */
typedef struct qs_diag_facts {
    uint32_t rows, problems, missing, unexpected, shapes, fatal, ok;
    uint32_t here;         /* entries of the result */
    uint32_t wanted;       /* entries of the target */
    uint32_t quant_here;   /* quantizer keys of the result */
    uint32_t quant_wanted; /* of the target */
    uint32_t quant_gaps;
    uint32_t weights_missing; /* of `missing`, those that are no quantizer's */
    uint32_t blocks;          /* quantizers of the target */
    qs_family family;
    uint32_t first_shape; /* row of the first shape problem */
} qs_diag_facts;

/* The repair as it grows: a plan of its own and what comes out of it. */
typedef struct qs_diag_trial {
    const qs_compare *c; /* of the plan so far; borrowed at first, then own_c */
    const qs_matches *m;
    qs_plan *plan;
    qs_resolution *r;
    qs_verdict *v;
    qs_compare *own_c;
    qs_matches *own_m;
} qs_diag_trial;

typedef struct qs_doctor {
    const qs_diagnose_options *opt;
    qs_diag_owned *d;
    QS_VEC(qs_action) actions;
    qs_diag_trial t;
    size_t before; /* actions the plan had already */
    bool to_float; /* the model has no quantizers, the file has */
    qs_converted converted;
    bool by_names;     /* no prefix is stripped from all keys at once */
    qs_str copies[2];  /* prefixes under which the file has the model, and which of them nobody said */
    qs_diag_gaps gaps; /* when dropping begins */
    /* While what is left over is dropped: first components of the target's keys, and prefixes of copies. */
    qs_map tops, copied;
    qs_err *e;
} qs_doctor;

/* Is the entry part of the result? */
static inline bool qs_diag_in_result(const qs_row *row) {
    return row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
}
static inline const char *qs_diag_plural(uint32_t n) {
    return n == 1 ? "" : "s";
}

/* Is what came of the trial's actions worth keeping? `n` is the trial with them, x->t the one without. */
typedef bool (*qs_diag_worth)(const qs_doctor *x, const qs_diag_trial *n, const void *ctx);

/* Add the actions if all of them can be done and the outcome is `worth` keeping (NULL: always); *done says
 * whether. Otherwise the trial is as before. `match`: look for suggestions anew, which those who come after
 * need. False only when memory is out or the user cancelled. */
bool qs_diag_attempt(qs_doctor *x, const qs_action *a, size_t n, bool match, qs_diag_worth worth,
                     const void *ctx, bool *done);
/* A qs_diag_worth: fewer problems are left than before. */
bool qs_diag_is_better(const qs_doctor *x, const qs_diag_trial *n, const void *ctx);

typedef bool (*qs_diag_row_test)(const qs_doctor *x, const qs_row *row);
/* The action on all rows that pass the test, if there are any and it helps. */
bool qs_diag_repair_rows(qs_doctor *x, qs_action a, qs_diag_row_test test, bool match, bool *done);
/* The row of a BatchNorm's running_mean, for its counter's key; NULL for other keys. */
const qs_row *qs_diag_mean_of_counter(const qs_compare *c, qs_str key);
/* Drop what is no part of any model, and quantizers where the model has none. */
bool qs_diag_repair_drop(qs_doctor *x);
/* Make what is missing of quantizers, as far as it is nowhere in the file, and counters of BatchNorms. */
bool qs_diag_repair_init(qs_doctor *x);
/* Once nothing is missing: drop what belongs to no module the model has, copies of it, other quantizers. */
bool qs_diag_repair_left_over(qs_doctor *x);

/* Find the repair, action by action. */
bool qs_diag_treat(qs_doctor *x, const qs_diag_facts *f);
/* Fill `kind`, `sentence` and `evidence` of the diagnosis. */
void qs_diag_say(qs_doctor *x, qs_diagnosis_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void qs_diag_put_in_words(qs_doctor *x, const qs_compare *c, const qs_diag_facts *f);
void qs_diag_give_evidence(qs_doctor *x, const qs_diag_facts *f);

#endif

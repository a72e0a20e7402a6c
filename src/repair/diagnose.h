/* The failure named in one sentence, with its causes and the plan actions that clear it. */
#ifndef QS_REPAIR_DIAGNOSE_H
#define QS_REPAIR_DIAGNOSE_H

#include "repair/cause.h"
#include "repair/match.h"

typedef enum qs_diagnosis_kind {
    QS_DIAG_LOADS, /* nothing to repair */
    QS_DIAG_FLOAT_INTO_QAT,
    QS_DIAG_QAT_INTO_FLOAT,
    QS_DIAG_PREFIX,        /* a wrapper's prefix on every key (DDP, compile, Lightning, EMA) */
    QS_DIAG_QUANT_MISSING, /* only quantizer keys are missing */
    QS_DIAG_RENAMES,       /* renames the matcher found */
    QS_DIAG_SHAPES,        /* size mismatches: nothing to repair by names */
    QS_DIAG_COPIES,        /* the model is in the file several times */
    QS_DIAG_CONVERTED,     /* one side went through torch's convert(), the other did not */
    QS_DIAG_OTHER,         /* another model */
    QS_DIAG_NO_TARGET,
} qs_diagnosis_kind;

typedef struct qs_diagnosis {
    qs_diagnosis_kind kind;
    char sentence[256]; /* "float checkpoint into a QAT model: 348 renames + 1428 quantizer keys to
                           initialise" */
    char evidence[256];
    const qs_cause *causes; /* the weightiest first; owned by the diagnosis. Of a checkpoint that loads, too:
                               what the file is */
    size_t cause_count;
    uint32_t unloaded, ignored; /* what strict=False would do: keys of the model left as they are, and of the
                                   file passed over */
    const qs_action *actions;   /* the repair, in order; owned by the diagnosis */
    size_t action_count;
    uint32_t renames, inits, drops, converts; /* keys the repair touches */
    uint32_t remaining;                       /* problems left after it */
    uint32_t likely;  /* renames that are likely and not safe, which the repair leaves to a person */
    uint32_t guesses; /* such that it applied, asked to guess */
} qs_diagnosis;

typedef struct qs_diagnose_options {
    qs_init_source source;    /* how missing quantizer keys are filled */
    double bn_eps;            /* goes into the INIT actions; NaN if a person gave none */
    bool guess;               /* apply suggestions that are not safe, too, after all that are */
    qs_strict_options strict; /* its progress is asked all along */
} qs_diagnose_options;

/* Owned by the caller; free with qs_diagnosis_free. The repair is tried on a scratch plan before it is
 * offered: `remaining` and the counts are what came out. */
bool qs_diagnose(const qs_compare *c, const qs_matches *m, const qs_diagnose_options *opt, qs_diagnosis **out,
                 qs_err *e);
void qs_diagnosis_free(qs_diagnosis *d);

#endif

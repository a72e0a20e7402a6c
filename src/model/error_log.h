/* A load that failed, read back from a training log: what torch printed, as it survives terminals, chat
 * windows, JSON and quoting. */
#ifndef QS_MODEL_ERROR_LOG_H
#define QS_MODEL_ERROR_LOG_H

#include "base/vec.h"
#include "model/manifest.h"

typedef enum qs_log_form {
    QS_LOG_FORM_STRICT,       /* load_state_dict(strict=True), any torch since 0.2 */
    QS_LOG_FORM_INCOMPATIBLE, /* _IncompatibleKeys(...), the value of load_state_dict(strict=False) */
    QS_LOG_FORM_MMCV,         /* mmcv and mmengine: lists without quotes */
    QS_LOG_FORM_WARNING,      /* transformers, Lightning, timm, detectron2 and scripts, of a load that did not
                                 raise */
    QS_LOG_FORM_MATCHED,      /* <All keys matched successfully>: no failure at all */
} qs_log_form;

typedef struct qs_log_mismatch {
    qs_str key;
    bool shapes_known; /* false: the tensor could not be copied for another reason */
    qs_shape in_checkpoint, in_model;
} qs_log_mismatch;

typedef struct qs_error_log {
    qs_arena arena; /* owns every string and shape */
    qs_log_form form;
    qs_str model;              /* class of the model, "" if the text does not say */
    QS_VEC(qs_str) missing;    /* each once, in the order printed */
    QS_VEC(qs_str) unexpected; /* each once, in the order printed */
    QS_VEC(qs_log_mismatch) mismatches;
    uint32_t missing_printed; /* with repetitions: torch lists the keys of some modules twice */
    bool truncated;           /* a list ends in "..." or in the middle of a name: more is missing */
    bool matched_later;       /* a later load in the same log fitted */
    uint64_t offset, line; /* of the report in the log (of UTF-16 in its text as UTF-8); lines count from 1 */
    qs_str excerpt;        /* its beginning, raw: at most 2000 bytes; print it with qs_str_printable */
} qs_error_log;

/* The last failed load that a log reports, a warning only where nothing failed; of one that pytest or a short
 * summary repeats cut off, the full text. A log is streamed: its length does not matter, but no single report
 * is read beyond limits->json_bytes. path "-" is standard input. QS_E_INPUT if there is no report; the
 * message then names another failure around loading that the log holds (log_other.def). limits may be NULL.
 * Free with qs_error_log_close. */
bool qs_error_log_open(const char *path, const qs_limits *limits, qs_error_log **out, qs_err *e);
bool qs_error_log_parse(const char *text, size_t n, const qs_limits *limits, qs_error_log **out, qs_err *e);
void qs_error_log_close(qs_error_log *log);

/* What the log says that checkpoint A contradicts: it was printed for another file, or before a repair. */
typedef struct qs_log_summary {
    qs_log_form form;
    char model[128]; /* printable */
    uint32_t missing, missing_printed, unexpected, mismatched;
    uint32_t missing_but_there;    /* keys said to be missing that A has */
    uint32_t unexpected_not_there; /* keys said to be in the checkpoint that A has not */
    uint32_t other_shape;          /* keys whose shape in the checkpoint is another in A */
    char example[256];             /* the first contradicting key, printable; "" if none */
    /* Beside another target, of qs_log_evidence: */
    uint32_t not_expected;      /* keys of the model that failed to load, and not of this one */
    uint32_t expected;          /* keys of A it had no place for, and this one has */
    uint32_t other_model_shape; /* keys whose shape in the model is another in this one */
    char model_example[256];    /* the first of them */
    bool truncated, matched_later;
    uint64_t line;
    char excerpt[600]; /* the beginning, printable */
} qs_log_summary;

/* The target a log describes: (A's keys - unexpected) and the missing ones; shapes from the log's size
 * mismatches, and A's for the keys that fitted. Without A (NULL) only what the log names. The manifest is
 * partial: nothing is known of classes or of the missing keys' shapes. `summary` may be NULL. */
bool qs_log_manifest(const char *path, const qs_checkpoint *a, const qs_limits *limits, qs_manifest **out,
                     qs_log_summary *summary, qs_err *e);

/* The same beside a target that is known otherwise: what the log says that A or that target contradicts. */
bool qs_log_evidence(const char *path, const qs_checkpoint *a, const qs_manifest *target,
                     const qs_limits *limits, qs_log_summary *summary, qs_err *e);

#endif

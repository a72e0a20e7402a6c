/* Why a checkpoint does not fit: the causes of a failure, ranked, several at once. They are read off what the
 * repair did (a rename tells a wrapper, a value that had to be made tells a quantizer) and off what is left.
 */
#ifndef QS_REPAIR_CAUSE_H
#define QS_REPAIR_CAUSE_H

#include "repair/compare.h"

typedef enum qs_cause_id {
#define QS_CAUSE(ID, ...) QS_CAUSE_##ID,
#include "repair/cause.def"
#undef QS_CAUSE
    QS_CAUSE_COUNT
} qs_cause_id;

typedef struct qs_cause_info {
    const char *id; /* "ddp-prefix", stable */
    const char *what, *advice;
} qs_cause_info;
const qs_cause_info *qs_cause_get(qs_cause_id id);

typedef struct qs_cause {
    qs_cause_id id;
    uint32_t keys;      /* that it accounts for; 0: it is about the file as a whole */
    uint32_t left;      /* of these, problems that the repair leaves */
    char evidence[240]; /* the first of them: "module.fc.weight -> fc.weight"; printable, may be empty */
} qs_cause;

/* What is known before and after the repair that the diagnosis tried; the same twice if there is none. */
typedef struct qs_cause_input {
    const qs_compare *before, *after;
    size_t actions_before; /* of the plan: those from there on are the repair's */
    qs_str copies[2];      /* prefixes under which the file has the model; empty if it is there once */
} qs_cause_input;

/* The causes, the weightiest first: those that spoil the whole file, then by how many keys they account for,
 * then what qatscope sees through by itself (a module, a state dict beside other things). Each id at most
 * once; out has room for QS_CAUSE_COUNT. False only when memory is out. */
bool qs_causes_find(const qs_cause_input *in, qs_cause out[QS_CAUSE_COUNT], size_t *n, qs_err *e);

/* Does the result hold what torch's convert() leaves: packed parameters, or a quantized weight with the scale
 * of its module's output beside it? Does the model? */
typedef struct qs_converted {
    bool file, model;
} qs_converted;
qs_converted qs_cause_converted(const qs_resolution *r);

#endif

/* qatscope ls: what its two outputs share. */
#ifndef QS_CLI_LS_H
#define QS_CLI_LS_H

#include "model/checkpoint.h"
#include "model/placement.h"
#include "model/provenance.h"
#include "quant/family.h"

typedef struct ls_options {
    bool tree, quant, values, color;
    const char *times; /* between the dimensions of a shape */
} ls_options;

typedef struct ls_context {
    const qs_checkpoint *c;
    ls_options opt;
    qs_placement *places; /* of a distributed checkpoint, else NULL */
    qs_provenance *provenance;
    uint32_t *first_user; /* by storage: the first entry that uses it, UINT32_MAX if none */
} ls_context;

/* The entry that uses en's storage before it does, or NULL. */
const qs_entry *ls_alias(const ls_context *x, uint32_t entry);
/* Its quantization role and family; false if it has none. */
bool ls_classify(const ls_context *x, qs_str key, qs_quant_key *out);
bool ls_shape_known(const qs_tensor *t);
/* The whole document as one JSON object, streamed to stdout. */
bool ls_print_json(const ls_context *x, qs_err *e);

#endif

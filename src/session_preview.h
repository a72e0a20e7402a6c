/* What the screen shows of a quantizer before anything is changed: its configuration, the values a source
 * would give its missing keys, and what they cost on the weight. */
#ifndef QS_SESSION_PREVIEW_H
#define QS_SESSION_PREVIEW_H

#include "session.h"

enum { QS_PREVIEW_VALUES = 16, QS_PREVIEW_FIRST = 4 };

typedef struct qs_preview_value {
    qs_str leaf; /* "activation_post_process.min_val": what follows the block in the key */
    qs_dtype dtype;
    uint64_t n;     /* elements */
    size_t first_n; /* at most QS_PREVIEW_FIRST */
    double first[QS_PREVIEW_FIRST];
    double min, max;    /* over all n */
    bool there;         /* A has it already: these are its values, nothing is made */
    const char *origin; /* "fresh", "observed from ..."; borrowed from the arena */
} qs_preview_value;

typedef struct qs_init_preview {
    bool is_weight;
    bool has_config;
    qs_block_config config;
    qs_preview_value value[QS_PREVIEW_VALUES];
    size_t values, missing;
    /* weight quantizers whose weight is in the result and not too large */
    qs_str weight;  /* its key; n == 0: none of the following */
    bool batchnorm; /* scaled by gamma / sqrt(var + eps) */
    uint64_t hist[QS_HIST_BINS];
    double lo, hi;
    double grid_lo, grid_hi; /* ends of the grid of a per-tensor quantizer, NaN if unknown */
    bool has_quality;
    qs_quality quality;
    double per_channel_db; /* SQNR if every channel had its own scale; NaN if it has, or it is unknown */
} qs_init_preview;

/* The block is a prefix of keys of the target ("model.0.conv.module.weight_fake_quant"). Strings are borrowed
 * from the arena and the session. */
bool qs_session_preview_init(const qs_session *s, qs_str block, qs_init_source source, qs_arena *arena,
                             qs_init_preview *out, qs_err *e);

/* The value one missing key would get. */
bool qs_session_preview_key(const qs_session *s, qs_str key, qs_init_source source, qs_arena *arena,
                            qs_preview_value *out, qs_err *e);

/* Name by name, what `rule` would rename: the pairs that land on keys the target has and the result lacks,
 * with the same shape. For "the same for all like it". out is an array in the arena. */
bool qs_session_rule_pairs(const qs_session *s, const qs_action *rule, qs_arena *arena, qs_rename_pair **out,
                           size_t *n, size_t *total, size_t *collisions, qs_err *e);

/* Lines of Python that do what the plan does with torch alone. To read: tensors of more than a few values are only
 * described. With `whole`: a script of its own, that writes every value out, gives the state dict the order and the
 * `_metadata` qatscope would, and saves to its argument; what it saves equals what qs_session_save does. */
bool qs_session_python(const qs_session *s, bool whole, qs_buf *out, qs_err *e);

#endif

/* Values for missing keys: what torch itself would hold in a fresh module, or what its observer would compute
 * from a weight. Nothing is guessed in silence: every fill says where it comes from. */
#ifndef QS_QUANT_FQINIT_H
#define QS_QUANT_FQINIT_H

#include "model/manifest.h"
#include "quant/family.h"
#include "quant/qparams.h"

typedef enum qs_init_source {
    QS_INIT_FRESH,    /* what a newly constructed module holds */
    QS_INIT_OBSERVED, /* weight quantizers: from the weight; everything else fresh */
    QS_INIT_DATAFREE, /* as OBSERVED, and activations from BatchNorm statistics where it is certain which BatchNorm
                         feeds them; the others stay fresh, and say so */
    QS_INIT_COPY,     /* from B */
} qs_init_source;
const char *qs_init_source_name(qs_init_source s); /* "fresh", ... as in plans and on the command line */
bool qs_init_source_parse(qs_str s, qs_init_source *out);

/* A value to write. Owned by whoever holds the arena it was made in. */
typedef struct qs_fill {
    qs_dtype dtype;
    qs_shape shape;
    const void *data; /* packed, row-major, native byte order */
    size_t bytes;
    const char *origin; /* "fresh", "observed from model.0.conv.module.weight x BatchNorm"; borrowed from the arena */
} qs_fill;

/* Configuration of one quantizer and where it came from. */
typedef struct qs_block_config {
    qs_qconfig cfg;
    const char *from;      /* "the manifest", "populated siblings in B", "the keys (dtype and shape)" */
    bool own_numbers;      /* the quantizer's own scale and range say so, not those of its like */
    bool ambiguous;        /* a person should confirm: `question` says what */
    char question[160];
} qs_block_config;

/* What the initialiser may look at. */
typedef struct qs_init_context {
    const qs_manifest *target;
    const qs_checkpoint *sibling; /* B, to infer configurations from; may be NULL */
    /* The tensor that will be stored under `key` in the result (plan applied), or NULL. */
    const qs_tensor *(*resolved)(const void *ctx, qs_str key, const qs_checkpoint **from);
    const void *ctx;
    double bn_eps;        /* > 0: overrides what is found, for ConvBn blocks without one in the manifest; else NaN */
    const char *bn_eps_from;
} qs_init_context;

/* Can this key be initialised at all? False with a reason for weights, packed payloads and whatever depends on a
 * configuration nothing here tells. Where it depends on the source (NVIDIA's _amax can only be observed), on the
 * weight (observed needs it in the result) or on its numbers (NaN), qs_init_shape and qs_init_value refuse. */
bool qs_init_possible(const qs_init_context *x, const qs_expected *key, const char **why_not);

/* Value of one missing key; its shape may differ from the target's for quantizers that torch resizes (per channel:
 * [C] observed, [1] and [0] fresh). Values for one block are computed together and cached in `cache` (may be NULL). */
typedef struct qs_init_cache qs_init_cache;
qs_init_cache *qs_init_cache_new(void); /* NULL when memory is out */
void qs_init_cache_free(qs_init_cache *c);
bool qs_init_value(const qs_init_context *x, const qs_expected *key, qs_init_source source, qs_init_cache *cache,
                   qs_arena *arena, qs_fill *out, qs_err *e);
/* Shape and dtype that qs_init_value will give, without reading any weight. */
bool qs_init_shape(const qs_init_context *x, const qs_expected *key, qs_init_source source, qs_arena *arena,
                   qs_shape *shape, qs_dtype *dtype, qs_err *e);

/* Configuration of the quantizer `block` (a prefix of the target). */
bool qs_init_block_config(const qs_init_context *x, qs_str block, qs_block_config *out, qs_err *e);
/* The weight a weight quantizer `block` observes, with its BN factor. False if the result has no such weight. The
 * qs_weight borrows from the arena. */
bool qs_init_block_weight(const qs_init_context *x, qs_str block, qs_arena *arena, qs_weight *out, qs_err *e);

#endif

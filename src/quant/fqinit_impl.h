/* Inside of qs_init_*, shared by fqinit.c, block_config.c and block_observe.c. */
#ifndef QS_QUANT_FQINIT_IMPL_H
#define QS_QUANT_FQINIT_IMPL_H

#include "base/map.h"
#include "base/vec.h"
#include "quant/fqinit.h"

/* What the target says about a quantizer before any number is read. */
typedef struct qs_block {
    qs_str name, owner;
    const qs_module *module;   /* of the fake quantizer, NULL if the target does not list it */
    const qs_module *observer; /* of its activation_post_process, or NULL */
    qs_str class_name;         /* of module, "" unknown */
    bool weight; /* quantizes a weight */
    bool per_channel, fused, learnable, fixed, histogram;
    bool float_zero_point; /* per_channel_affine_float_qparams */
    bool axis_unsure;
    int64_t ch_axis; /* 0 unless the target says otherwise; -1 per tensor */
} qs_block;
void qs_block_describe(const qs_init_context *x, qs_str block, qs_block *out);
/* Entry `block` + "." + `leaf` of the target, or NULL. */
const qs_expected *qs_block_entry(const qs_init_context *x, qs_str block, const char *leaf);

/* The target's entries as a qs_key_set; ctx is the manifest. */
bool qs_target_find(const void *ctx, qs_str key, qs_key_info *info);
/* A scalar B holds under this key: the constants of a configuration are the same there. */
bool qs_sibling_constant(const qs_init_context *x, qs_str key, double *out);
/* eps of the block's observer: the target's, else B's, else torch's default. */
double qs_block_eps(const qs_init_context *x, const qs_block *b);
/* 107 for "1.7.0a0"; from the dtype of zero points when the target does not name its torch; 0 = newest. */
int qs_target_torch(const qs_init_context *x, const qs_block *b);

/* BatchNorm of a ConvBn* / LinearBn* owner. */
typedef struct qs_bn_choice {
    bool present;
    double eps;
    const char *eps_from; /* "the manifest"; NULL when assumed */
} qs_bn_choice;
void qs_block_bn(const qs_init_context *x, const qs_block *b, qs_bn_choice *out);

/* Populated quantizers, to infer a configuration from. */
typedef struct qs_evidence {
    qs_str block;
    const char *where; /* "populated siblings in B" */
    size_t n;
    float *scale, *min_val, *max_val; /* [n] */
    double *zero_point;
    bool half; /* saved in 16 bits: the scale is only close to what the range gives */
} qs_evidence;
typedef QS_VEC(qs_evidence) qs_evidence_list;
/* Of the block `first`, or of the first `most` weight or activation quantizers if it is empty. */
bool qs_evidence_collect(const qs_init_context *x, qs_str first, bool weights, size_t most, qs_arena *arena,
                         qs_evidence_list *out, qs_err *e);

/* As qs_init_block_config, with the other blocks' evidence kept in the cache. */
bool qs_block_config_cached(const qs_init_context *x, qs_str block, qs_init_cache *cache,
                            qs_block_config *out, qs_err *e);

/* Range and parameters of a weight quantizer. */
typedef struct qs_observed {
    qs_str block;
    double bn_eps;
    qs_block_config config;
    bool per_channel;
    size_t n;
    float *min_val, *max_val; /* [n] */
    qs_qparam *qp;            /* [n] */
    const char *origin;
} qs_observed;
/* The result lives in `arena` or in the cache. */
bool qs_block_observe(const qs_init_context *x, qs_str block, qs_init_cache *cache, qs_arena *arena,
                      const qs_observed **out, qs_err *e);
/* An activation's range estimated from the BatchNorm before it (qat-keys.md, section 6; arXiv:1906.04721). *out is
 * NULL when nothing tells what the quantizer sees. */
bool qs_block_datafree(const qs_init_context *x, qs_str block, qs_init_cache *cache, qs_arena *arena,
                       const qs_observed **out, qs_err *e);
/* What the two share. */
const qs_observed *qs_observed_cached(const qs_init_context *x, qs_str block, const qs_init_cache *cache);
bool qs_observed_remember(qs_init_cache *cache, const qs_observed *o, qs_err *e);
bool qs_bn_read(const qs_init_context *x, qs_str bn, const char *leaf, double fresh, size_t c, float *out, qs_err *e);
/* How many values scale and zero_point will have, without reading the weight. */
bool qs_block_count(const qs_init_context *x, const qs_block *b, size_t *n, qs_err *e);

/* The fresh value of a leaf of another family than torch's, or why there is none. */
bool qs_fresh_of_family(qs_family family, qs_str leaf, double *value, const char **why);
int64_t qs_gptq_group_size(const qs_init_context *x, qs_str module, const qs_expected *g_idx);
/* max |w| in the shape NVIDIA's quantizers keep it, n values; scratch holds 2 n floats. */
bool qs_amax_observe(const qs_weight *w, qs_shape amax, double *out, size_t n, float *scratch, qs_err *e);
/* The weight of `owner` as the result has it, without any BatchNorm. */
bool qs_owner_weight(const qs_init_context *x, qs_str owner, qs_arena *arena, qs_weight *out, qs_err *e);

struct qs_init_cache {
    qs_arena arena;
    qs_map blocks; /* name -> observed */
    QS_VEC(const qs_observed *) observed;
    bool collected[2]; /* of activations, of weights */
    qs_evidence_list evidence[2];
};

/* "a" + "." + "b" in the arena; p NULL when memory is out. */
qs_str qs_key_join(qs_arena *a, qs_str parent, const char *leaf);

#endif

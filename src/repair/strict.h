/* The strict-load simulator: what load_state_dict would do and print (strict-load.md;
 * torch/nn/modules/module.py and the class overrides of torch.ao.quantization and
 * torch.nn.modules.batchnorm). */
#ifndef QS_REPAIR_STRICT_H
#define QS_REPAIR_STRICT_H

#include "model/manifest.h"
#include "repair/resolve.h"

/* The state dict that would be loaded: any source of (key, shape, dtype) in order, and versions. */
typedef struct qs_strict_source {
    uint32_t count;
    /* Entry i; python_type is NULL for tensors, else what type(value).__name__ prints: "list". A lazy
     * module's parameter that has no shape yet is "UninitializedParameter", its buffer "UninitializedBuffer".
     */
    void (*entry)(const void *ctx, uint32_t i, qs_str *key, qs_shape *shape, qs_dtype *dtype,
                  const char **python_type);
    uint32_t (*find)(const void *ctx, qs_str key);      /* index or UINT32_MAX */
    int64_t (*version)(const void *ctx, qs_str prefix); /* -1: None */
    const void *ctx;
    /* n elements of entry i from `first`; false if they are not known without work (observed from a weight)
     * or cannot be read. May be NULL: then nothing is said that depends on values. */
    bool (*values)(const void *ctx, uint32_t i, uint64_t first, size_t n, float *out);
    /* _metadata[prefix]["spectral_norm"][NAME.version], which the hook of nn.utils.spectral_norm asks for;
     * -1: None. May be NULL: None everywhere. */
    int64_t (*spectral_norm)(const void *ctx, qs_str prefix, qs_str name);
} qs_strict_source;

qs_strict_source qs_strict_source_of_resolution(const qs_resolution *r);
qs_strict_source qs_strict_source_of_checkpoint(const qs_checkpoint *c);

typedef enum qs_finding_kind {
    QS_FIND_MISSING,
    QS_FIND_UNEXPECTED,
    QS_FIND_SIZE,      /* size mismatch: an error even with strict=False */
    QS_FIND_COPY,      /* "While copying the parameter named ..." */
    QS_FIND_RAISES,    /* load_state_dict raises something else ([0] into []) */
    QS_FIND_RESIZED,   /* tolerated: the module takes the checkpoint's shape */
    QS_FIND_INJECTED,  /* tolerated: the module makes the missing key itself */
    QS_FIND_CAST,      /* tolerated: another dtype, copy_ casts */
    QS_FIND_TRUNCATED, /* tolerated, and dangerous: [n] into [] takes the first element */
    QS_FIND_FORWARD,   /* loads, and fails later in forward */
    QS_FIND_OWN_CODE,  /* of a module, by its name: runs code that nobody here knows, so that all else may
                          differ */
} qs_finding_kind;

typedef struct qs_finding {
    qs_finding_kind kind;
    qs_str key;
    uint32_t repeats; /* how many times torch lists it (scale and zero_point of FakeQuantize: 2) */
    const char *note; /* "" or words for a person; printable */
} qs_finding;

typedef struct qs_strict_options {
    int torch_minor; /* 107, 113, 206, 214; 0: the manifest's, else the newest */
    bool strict;     /* load_state_dict(strict=...) */
    bool assign;
    const qs_progress *progress; /* asked now and then; NULL is fine */
} qs_strict_options;

typedef struct qs_verdict qs_verdict;

/* The verdict borrows from target and src: both must outlive it. */
bool qs_strict_run(const qs_manifest *target, const qs_strict_source *src, const qs_strict_options *opt,
                   qs_verdict **out, qs_err *e);
void qs_verdict_free(qs_verdict *v);
bool qs_verdict_loads(const qs_verdict *v);
int qs_verdict_torch(const qs_verdict *v);
size_t qs_verdict_count(const qs_verdict *v); /* findings, one a key and kind, in torch's order */
const qs_finding *qs_verdict_finding(const qs_verdict *v, size_t i);
/* Text of the exception torch raises, without "RuntimeError: ", character for character; "" if it loads. */
bool qs_verdict_message(const qs_verdict *v, qs_buf *out);

/* What load_state_dict returns, as Python prints it: "<All keys matched successfully>" or, with strict=False,
 * the lists of names. Nothing is added if it raises. */
bool qs_verdict_result(const qs_verdict *v, qs_buf *out);

/* What the torch versions this simulator is proven against say of the same pair, oldest first: 1.7, 1.13,
 * 2.6, 2.14. The model is taken as the target describes it, whichever torch that was. */
enum { QS_STRICT_VERSIONS = 4 };
typedef struct qs_strict_version {
    int torch_minor;
    bool loads;
    bool same_words;      /* message and result are those of the version opt asks for */
    uint32_t refused;     /* findings that keep it from loading; 0 if it loads */
    uint32_t fails_later; /* findings of kind QS_FIND_FORWARD and QS_FIND_TRUNCATED */
} qs_strict_version;

bool qs_strict_versions(const qs_manifest *target, const qs_strict_source *src, const qs_strict_options *opt,
                        qs_strict_version out[QS_STRICT_VERSIONS], qs_err *e);
/* One sentence where they differ, else nothing: "1.7 and 1.13 would load it, 2.6 and 2.14 would not". */
bool qs_strict_versions_text(const qs_strict_version v[QS_STRICT_VERSIONS], qs_buf *out);

#endif

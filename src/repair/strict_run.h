/* The simulator's inside: shared by strict.c (traversal, Module's own rules) and strict_quant.c (class
 * overrides). */
#ifndef QS_REPAIR_STRICT_RUN_H
#define QS_REPAIR_STRICT_RUN_H

#include "base/map.h"
#include "base/vec.h"
#include "repair/strict.h"

#include <stdlib.h>

/* torch's versions where the rules changed, as 100 * major + minor. */
enum {
    TORCH_EXTRA_STATE = 110,   /* set_extra_state */
    TORCH_OBSERVER_V3 = 110,   /* per-channel min_vals became min_val */
    TORCH_FQ_RESIZES = 108,    /* FakeQuantize resizes its buffers instead of replacing them */
    TORCH_NON_TENSOR = 112,    /* a non-tensor is an error message, no AttributeError */
    TORCH_ASSIGN = 201,        /* load_state_dict(assign=True) */
    TORCH_WEIGHT_NORM = 201,   /* parametrizations.weight_norm takes weight_g and weight_v */
    TORCH_EXACT_NAMES = 202,   /* an undotted key must be a parameter or buffer, a dotted one below a child */
    TORCH_NONE_IS_NEW = 203,   /* a per-channel observer without a version is read as version 3 */
    TORCH_BUFFER_CLASS = 205,  /* nn.Buffer, which a message names */
    TORCH_ONE_TO_SCALAR = 210, /* only [1] goes into [], no longer the first of many */
    TORCH_NEWEST = 214
};

/* copy_ of a quantized tensor into one that is not. */
#define QS_STRICT_COPY_Q                                                                                     \
    "Copying from quantized Tensor to non-quantized Tensor is not allowed, please use dequantize to get a "  \
    "float Tensor from a quantized Tensor"

/* What state_dict[key] is. */
typedef struct strict_value {
    bool there, injected, shape_known;
    qs_shape shape;
    qs_dtype dtype;
    const char *python_type;   /* NULL: a tensor */
    const char *uninitialized; /* the class of a tensor without a shape, which most of what torch asks of it
                                  refuses */
} strict_value;

/* One of error_msgs. */
typedef struct strict_error {
    qs_finding_kind kind;
    qs_str key;
    qs_shape from, to;
    const char
        *text; /* NULL for a size mismatch; COPY: the exception's text, or the value's type if not_a_tensor */
    bool not_a_tensor;
    bool whole; /* text is the whole message */
} strict_error;

struct qs_verdict {
    qs_arena arena;
    qs_str model; /* class name of the top module */
    int torch;
    bool strict;
    QS_VEC(qs_str) missing, unexpected; /* as torch lists them, duplicates kept */
    QS_VEC(strict_error) errors;
    qs_str raised; /* "IndexError: ..." : what load_state_dict raises before its report; n == 0 if nothing */
    QS_VEC(qs_finding) advice, findings;
};

/* An entry that the classes themselves put into the dict, or put back under another name. */
typedef struct strict_overlay {
    qs_str key;
    strict_value value;
} strict_overlay;

typedef struct strict_run {
    const qs_manifest *m;
    const qs_strict_source *src;
    int torch;
    bool strict, assign;
    qs_verdict *v;
    qs_err *err;
    const qs_progress *progress;
    uint8_t *fate;  /* [src->count] what became of entry i: enum fate */
    uint32_t *here; /* [manifest's entries] the entry of the source under that key, UINT32_MAX if none */
    uint32_t *next; /* [src->count] next stray entry of the same module */
    uint32_t *first, *last; /* [modules] its stray entries in the checkpoint's order */
    uint8_t *overlaid;      /* [manifest's entries] the overlay has, or had, its key */
    QS_VEC(strict_overlay) overlay;
    qs_map by_key;                  /* of the overlay */
    QS_VEC(uint32_t) overlay_stray; /* those that some module's scan lists */
    size_t longest;                 /* bytes of the longest module name */
    uint32_t extras;                /* keys called _extra_state in the source */
    /* Neighbours are judged alike: the entry behind the one found last, and the module above the key before.
     */
    uint32_t next_entry, above_at;
    qs_str above;
    bool above_direct;
    /* The module being loaded. */
    uint32_t at;
    const qs_module *mod;
    int64_t version;         /* of its metadata, -1: None */
    QS_VEC(qs_shape) shapes; /* of buffers the classes have resized so far */
    qs_map by_buffer;        /* key of such a buffer -> index in shapes */
    struct {
        uint32_t entry;
        bool none; /* by None: the buffer is no state any more */
    } replaced[2]; /* buffers that are the checkpoint's own values now, so that copying those works, whatever
                      they are */
    int replaced_count;
} strict_run;

typedef enum strict_class {
    STRICT_PLAIN,
    STRICT_BATCHNORM,
    STRICT_INSTANCENORM,
    STRICT_FAKEQUANT,
    STRICT_LEARNABLE,
    STRICT_OBSERVER,
    STRICT_PERCHANNEL,
    STRICT_HISTOGRAM,
    STRICT_CONVBN,
    STRICT_LENIENT,
    STRICT_QCONV,
    STRICT_QLINEAR,
    STRICT_QPACKED,
    STRICT_QFUNCTIONAL,
    STRICT_QEMBEDDING,
    STRICT_QPARAMETER,
    STRICT_QRNNCELL,
    STRICT_QREFERENCE,
    STRICT_FROZEN_BATCHNORM,
    STRICT_FEATURE_PYRAMID,
    STRICT_MLP_BLOCK,
    STRICT_RPN_HEAD,
    STRICT_MASK_HEAD,
    STRICT_RETINANET_HEAD,
    STRICT_SQUEEZE_EXCITATION,
} strict_class;
strict_class qs_strict_class_of(const qs_module *mod);

/* "PREFIX.leaf" of the module being loaded, in the verdict's arena; an empty p when memory is out. */
qs_str qs_strict_key(strict_run *r, const char *leaf);
strict_value qs_strict_get(const strict_run *r, qs_str key);
/* The same for the key of an entry of the manifest, without a look-up. */
strict_value qs_strict_get_entry(const strict_run *r, uint32_t entry);
/* state_dict[key] = value; state_dict.pop(key). */
bool qs_strict_put(strict_run *r, qs_str key, strict_value value);
bool qs_strict_pop(strict_run *r, qs_str key);
bool qs_strict_missing(strict_run *r, qs_str key);
/* The exception that ends the load; the first one counts. `args` is put after "TYPE: ". */
bool qs_strict_raise(strict_run *r, qs_str key, const char *type, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The one for the shape of a tensor that has none. */
bool qs_strict_no_shape(strict_run *r, qs_str key);
bool qs_strict_advise(strict_run *r, qs_finding_kind kind, qs_str key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Module._load_from_state_dict with strict=True or False. */
bool qs_strict_base(strict_run *r, bool strict);
/* torchvision's classes, each followed by the above. */
bool qs_strict_frozen_batchnorm(strict_run *r);
bool qs_strict_feature_pyramid(strict_run *r);
bool qs_strict_mlp_block(strict_run *r);
bool qs_strict_rpn_head(strict_run *r);
bool qs_strict_mask_head(strict_run *r);
bool qs_strict_retinanet_head(strict_run *r);
bool qs_strict_squeeze_excitation(strict_run *r);
/* What hooks do to the dict before anything is loaded: old names of weight_norm and spectral_norm. */
bool qs_strict_hooks(strict_run *r, bool strict);
/* The child `leaf` of a module, or NULL. */
const qs_module *qs_strict_child(const strict_run *r, const qs_module *mod, const char *leaf);
/* The class's own _load_from_state_dict. */
bool qs_strict_load(strict_run *r, strict_class c);

/* repr(s) as Python prints it. */
void qs_strict_add_repr(qs_buf *b, qs_str s);

/* The shape of the model's tensor now, and after a class has resized it. A module that is in two places has
 * one tensor for both. */
qs_shape qs_strict_shape(const strict_run *r, uint32_t entry);
bool qs_strict_set_shape(strict_run *r, uint32_t entry, qs_shape shape);
/* The parameter or buffer `leaf` of a module, or UINT32_MAX. */
uint32_t qs_strict_entry(const qs_manifest *m, const qs_module *mod, const char *leaf);
/* Advice on what loads into the fake quantizer, or the per-channel observer, being loaded, and fails in
 * forward. */
bool qs_strict_check_quantizer(strict_run *r);
bool qs_strict_check_ranges(strict_run *r);
/* The same where values tell: the observer of the fake quantizer being loaded is off, and its range or scale
 * is nothing it can work with. */
bool qs_strict_check_values(strict_run *r);

#endif

/* What a model expects: modules with classes, versions and quantizer configuration, and the state_dict
 * entries in torch's own order. From the exporter's JSON, a plain JSON object, or a checkpoint. Immutable. */
#ifndef QS_MODEL_MANIFEST_H
#define QS_MODEL_MANIFEST_H

#include "base/limits.h"
#include "model/checkpoint.h"

typedef enum qs_entry_kind {
    QS_KIND_UNKNOWN,
    QS_KIND_PARAMETER,
    QS_KIND_BUFFER,
    QS_KIND_EXTRA
} qs_entry_kind;

#define QS_MODULE_NONE UINT32_MAX
#define QS_ATTR_ABSENT INT64_MIN

/* Attributes of quantizers and BatchNorm; numbers absent in the manifest are QS_ATTR_ABSENT / NaN. */
typedef struct qs_module_attrs {
    qs_str observer; /* class name of the observer: "MovingAverageMinMaxObserver"; n == 0 if absent */
    qs_str dtype;    /* "qint8" */
    qs_str qscheme;  /* "per_tensor_symmetric" */
    int64_t quant_min, quant_max, ch_axis;
    double averaging_constant;
    double eps;          /* of the observer */
    double bn_eps;       /* of a BatchNorm, or of the BatchNorm a ConvBn* holds */
    int8_t reduce_range; /* -1 absent, 0, 1 */
} qs_module_attrs;

typedef struct qs_module {
    qs_str name;       /* dotted path, "" for the top */
    qs_str class_name; /* "torch.nn.modules.conv.Conv2d"; n == 0 if unknown */
    qs_str base; /* torch's class whose _load_from_state_dict applies, as the exporter read it off the MRO;
                    n == 0: decided by class_name */
    int64_t version;                    /* the class's _version: what state_dict() would write; -1 unknown */
    uint32_t parent;                    /* index, QS_MODULE_NONE for the top */
    uint32_t first_child, next_sibling; /* in registration order, QS_MODULE_NONE at the end */
    uint32_t first_entry, entry_count;  /* its own entries (parameters, then buffers) in `entries` order;
                                           entries of one module are adjacent */
    qs_str same_as;   /* path of the first place where this very module object is; n == 0 if this is it */
    bool inferred;    /* class guessed from the keys, not read off a model */
    qs_str own_code;  /* what runs when this module loads and is neither torch's nor torchvision's:
                         "my.Block._load_from_state_dict, my.strip"; n == 0: nothing */
    bool extra_state; /* overrides set_extra_state: takes a key "_extra_state" */
    bool qconfig;     /* it has a qconfig: of classes only whose loading asks for one */
    bool none;        /* registered as None: a key below it is neither loaded nor unexpected */
    qs_module_attrs attrs;
} qs_module;

typedef struct qs_expected {
    qs_str key;
    qs_shape shape;
    qs_dtype dtype; /* UNKNOWN if the source does not say */
    bool shape_known;
    qs_entry_kind kind;
    uint32_t module; /* index of the owning module */
    /* A module's parameters that are None and non-persistent buffers are not entries. */
} qs_expected;

typedef struct qs_manifest qs_manifest;

/* Reads JSON: the format of architecture.md (`modules` as an object, or as a list of {name, class, version}),
 * or a plain object of key -> shape or key -> {shape, dtype} (then partial). Errors name line and column for
 * syntax, and the JSON path for a missing or wrong field. */
bool qs_manifest_open(const char *path, const qs_limits *limits, qs_manifest **out, qs_err *e);
bool qs_manifest_parse(const char *json, size_t n, const char *name, const qs_limits *limits,
                       qs_manifest **out, qs_err *e);
/* What a model that could save this checkpoint expects: classes from a pickled module, else inferred from
 * keys and versions. */
bool qs_manifest_from_checkpoint(const qs_checkpoint *c, qs_manifest **out, qs_err *e);
void qs_manifest_close(qs_manifest *m);

/* The JSON of architecture.md, readable (one module / entry a line). parse(print(m)) equals m. */
bool qs_manifest_print(const qs_manifest *m, qs_buf *out);
/* The Python exporter (`qatscope manifest --exporter`); NUL terminated. */
extern const char qs_manifest_exporter_py[];

const char *qs_manifest_name(const qs_manifest *m); /* file name it came from */
qs_str qs_manifest_model(const qs_manifest *m);     /* class of the top module, "" if unknown */
qs_str qs_manifest_torch(const qs_manifest *m);     /* "1.13.1", "" if unknown */
bool qs_manifest_partial(const qs_manifest *m);     /* no modules or no dtypes: some checks impossible */
bool qs_manifest_cut_off(
    const qs_manifest *m); /* of a log that ends, or begins, in the middle of its lists */
uint32_t qs_manifest_module_count(const qs_manifest *m);
const qs_module *qs_manifest_module(const qs_manifest *m, uint32_t i);
uint32_t qs_manifest_find_module(const qs_manifest *m, qs_str name);
uint32_t qs_manifest_count(const qs_manifest *m);
const qs_expected *qs_manifest_entry(const qs_manifest *m, uint32_t i);
uint32_t qs_manifest_find(const qs_manifest *m, qs_str key);
/* The same for keys asked for in much the entries' order: *next (0 at first) is looked at before anything
 * else, a comparison of two strings in place of a walk through a hash table, and becomes the one behind what
 * was found. */
uint32_t qs_manifest_find_next(const qs_manifest *m, qs_str key, uint32_t *next);

/* The entry "MODULE.leaf", the module "MODULE.leaf"; without the dot for the top. UINT32_MAX if there is
 * none. */
uint32_t qs_manifest_find_in(const qs_manifest *m, qs_str module, qs_str leaf);
uint32_t qs_manifest_find_child(const qs_manifest *m, qs_str module, qs_str leaf);

#endif

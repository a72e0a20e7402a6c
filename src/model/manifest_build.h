/* Building a manifest: what the readers (JSON, checkpoint, error log) share. */
#ifndef QS_MODEL_MANIFEST_BUILD_H
#define QS_MODEL_MANIFEST_BUILD_H

#include "base/map.h"
#include "base/vec.h"
#include "model/manifest.h"

/* Modules and entries each: a key can have as many components as bytes, and every one becomes a module. */
enum { QS_MANIFEST_MAX = 1 << 22 };

struct qs_manifest {
    qs_arena arena;
    qs_str name, model, torch;
    bool partial, modules_known, cut_off;
    QS_VEC(qs_module) modules;
    QS_VEC(qs_expected) entries;
    qs_map by_name, by_key;
};

#define QS_MODULE_ATTRS_NONE                                                                                 \
    ((qs_module_attrs){.quant_min = QS_ATTR_ABSENT,                                                          \
                       .quant_max = QS_ATTR_ABSENT,                                                          \
                       .ch_axis = QS_ATTR_ABSENT,                                                            \
                       .averaging_constant = __builtin_nan(""),                                              \
                       .eps = __builtin_nan(""),                                                             \
                       .bn_eps = __builtin_nan(""),                                                          \
                       .reduce_range = -1})

/* An empty manifest with the top module; NULL when memory is out. `name` is copied. */
qs_manifest *qs_manifest_new(const char *name);
/* The module `name`, made with its parents if it is not there yet. The name and every other string of a
 * module or entry must live in m->arena (or be static). QS_MODULE_NONE on failure. The pointers that
 * qs_manifest_module gives move while modules are added. */
uint32_t qs_manifest_add_module(qs_manifest *m, qs_str name, const qs_limits *limits, qs_err *e);
/* True if the module was only made as a parent, and nothing is known of it. */
bool qs_manifest_is_placeholder(const qs_module *mod);
/* x->module is ignored: the owner is the module the key names. A key that is there already is QS_E_INPUT. */
bool qs_manifest_add_entry(qs_manifest *m, const qs_expected *x, const qs_limits *limits, qs_err *e);
/* Links the tree, groups the entries by module, decides `partial`. */
bool qs_manifest_finish(qs_manifest *m, qs_err *e);

#endif

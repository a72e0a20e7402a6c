/* What the files of the checkpoint module share; nobody else includes this. */
#ifndef QS_MODEL_CHECKPOINT_INTERNAL_H
#define QS_MODEL_CHECKPOINT_INTERNAL_H

#include "base/map.h"
#include "base/vec.h"
#include "format/pickle.h"
#include "model/checkpoint.h"

#define QS_NONE UINT32_MAX

typedef struct qs_module_at {
    qs_str prefix, class_name;
    qs_node state; /* its __dict__, or QS_NODE_NONE for an object we cannot look into */
} qs_module_at;

typedef struct qs_version_at {
    qs_str prefix;
    int64_t version;
} qs_version_at;

struct qs_checkpoint {
    qs_arena arena;
    qs_limits limits;
    const char *path;
    qs_container *container;
    char *pickle; /* data.pkl; the graph borrows from it */
    size_t pickle_bytes;
    qs_graph *graph;
    bool big_endian;
    bool loose; /* as in qs_open_options */
    /* Pairs looked at while searching and walking, and how many may be: a module that many parents share is
     * listed under each, so nested sharing makes an endless tree of a small file. Honest files need some 20 a
     * node. */
    uint64_t work, max_work;
    /* Notes of the graph's nodes are indices + 1: of a PERSID its storage's, of a REDUCE its tensor's.
     * Of a GLOBAL, whether it rebuilds tensors (checkpoint_tensor.c). */
    QS_VEC(qs_storage) storages;
    qs_map storage_by_key;
    QS_VEC(qs_tensor) tensors;
    QS_VEC(qs_root) roots;
    uint32_t chosen;
    QS_VEC(qs_entry) entries;
    qs_map entry_by_key;
    QS_VEC(qs_module_at) modules;
    QS_VEC(qs_version_at) versions;
    qs_map version_by_prefix;
    qs_node metadata;
};

/* Every storage and tensor of the graph. Fails only for what torch would misread: one storage under two
 * types. */
bool qs_ckpt_scan_tensors(qs_checkpoint *c, qs_err *e);

/* The dict that is a module's __dict__ (it has _parameters and _modules), or QS_NODE_NONE. */
qs_node qs_ckpt_module_state(const qs_graph *g, qs_node n);
/* "package.module.Class" of an object, in the arena; p is NULL when memory is out. */
qs_str qs_ckpt_class_name(qs_checkpoint *c, qs_node n);
/* Walks a module as state_dict() does. With `fill`, entries, modules and versions are added to c; without,
 * only *tensors is counted. */
bool qs_ckpt_walk_module(qs_checkpoint *c, qs_node top, bool fill, uint32_t *tensors, qs_err *e);

/* The same for the tensors anywhere in an object, by the paths to them. */
bool qs_ckpt_walk_loose(qs_checkpoint *c, qs_node top, bool fill, uint32_t *tensors, qs_err *e);

/* A string key of a dict: text, or Python 2's str. */
bool qs_ckpt_key(const qs_graph *g, qs_node n, qs_str *out);
/* Where a dict is given a key twice, as no honest pickle does, Python keeps the first's place and the last's
 * value. Is no key there twice? */
bool qs_ckpt_keys_are_unique(const qs_graph *g, qs_node dict);
/* The value at the place of pair i; QS_NODE_NONE if its key has been met before. Where keys are not unique,
 * that takes time, which is counted as work. */
qs_node qs_ckpt_value(qs_checkpoint *c, qs_node dict, size_t i, bool unique);
/* Finds all roots and chooses one. */
bool qs_ckpt_find_roots(qs_checkpoint *c, const char *wanted, qs_err *e);

/* Add an entry; a second one of the same key replaces the value of the first, as in a Python dict. */
bool qs_ckpt_add_entry(qs_checkpoint *c, qs_str key, qs_node node, bool is_param, qs_err *e);
bool qs_ckpt_add_version(qs_checkpoint *c, qs_str prefix, int64_t version, qs_err *e);

#endif

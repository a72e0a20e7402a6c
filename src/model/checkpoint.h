/* An opened checkpoint: container + object graph + the state dict found in it. Immutable. */
#ifndef QS_MODEL_CHECKPOINT_H
#define QS_MODEL_CHECKPOINT_H

#include "base/limits.h"
#include "format/container.h"
#include "model/tensor.h"

typedef struct qs_checkpoint qs_checkpoint;

typedef struct qs_entry {
    qs_str key;      /* as state_dict() would name it */
    qs_node node;    /* its value in the graph */
    uint32_t tensor; /* index for qs_checkpoint_tensor, UINT32_MAX if the value is no tensor */
    bool is_param;   /* from a module's _parameters or a Parameter object; false = buffer or unknown */
} qs_entry;

typedef enum qs_root_kind {
    QS_ROOT_STATE_DICT,
    QS_ROOT_MODULE,
    QS_ROOT_LOOSE, /* no state dict: all tensors in an object, each named by the path to it
                      ("state.0.exp_avg") */
} qs_root_kind;
/* "state dict", "module", "tensors" */
const char *qs_root_kind_name(qs_root_kind kind);

/* A place in the object where a state dict is. */
typedef struct qs_root {
    qs_str path; /* "model", "ema", "" for the top level, "a.b" nested */
    qs_root_kind kind;
    qs_node node;
    uint32_t entries;  /* tensors in it */
    qs_str class_name; /* of a MODULE root: "ultralytics.nn.tasks.DetectionModel" */
} qs_root;

typedef struct qs_open_options {
    const char *root; /* NULL: chosen by itself (ema if not None, model, state_dict, ... the top level) */
    qs_limits limits;
    bool loose; /* where there is no state dict, take the tensors there are (QS_ROOT_LOOSE) */
} qs_open_options;

/* opt may be NULL for defaults. */
bool qs_checkpoint_open(const char *path, const qs_open_options *opt, qs_checkpoint **out, qs_err *e);
void qs_checkpoint_close(qs_checkpoint *c);

const char *qs_checkpoint_path(const qs_checkpoint *c);
const qs_container *qs_checkpoint_container(const qs_checkpoint *c);
const qs_graph *qs_checkpoint_graph(const qs_checkpoint *c);
size_t qs_checkpoint_pickle_bytes(const qs_checkpoint *c);
const qs_limits *qs_checkpoint_limits(const qs_checkpoint *c); /* it was opened with; no progress in them */

/* All roots found, the chosen one among them. */
uint32_t qs_checkpoint_root_count(const qs_checkpoint *c);
const qs_root *qs_checkpoint_root(const qs_checkpoint *c, uint32_t i);
const qs_root *qs_checkpoint_chosen_root(const qs_checkpoint *c);

/* Entries of the chosen root, in torch's own order. Non-tensor values of a state dict (extra_state) are
 * entries too. */
uint32_t qs_checkpoint_count(const qs_checkpoint *c);
const qs_entry *qs_checkpoint_entry(const qs_checkpoint *c, uint32_t i);
uint32_t qs_checkpoint_find(const qs_checkpoint *c, qs_str key);              /* UINT32_MAX if absent */
const qs_tensor *qs_entry_tensor(const qs_checkpoint *c, const qs_entry *en); /* NULL if no tensor */
const qs_tensor *qs_checkpoint_tensor(const qs_checkpoint *c, uint32_t i);
/* The tensor a graph node is (of any part of the file, not only the chosen root), or NULL. */
const qs_tensor *qs_checkpoint_tensor_of_node(const qs_checkpoint *c, qs_node n);
uint32_t qs_checkpoint_storage_count(const qs_checkpoint *c); /* of the whole file */
const qs_storage *qs_checkpoint_storage(const qs_checkpoint *c, uint32_t i);
qs_str qs_storage_key(const qs_checkpoint *c, const qs_storage *s);      /* its record is "data/KEY" */
qs_str qs_storage_location(const qs_checkpoint *c, const qs_storage *s); /* "cpu", "cuda:0" */

/* `_metadata` of the chosen state dict. For a MODULE root versions come from the classes we know (BatchNorm
 * 2, observers 3, ...), as state_dict() on that module would write them. */
bool qs_checkpoint_has_metadata(const qs_checkpoint *c);
/* Version of a module prefix ("" for the top; no trailing dot); -1 if absent (torch's None). */
int64_t qs_checkpoint_version(const qs_checkpoint *c, qs_str prefix);
uint32_t qs_checkpoint_metadata_count(const qs_checkpoint *c);
qs_str qs_checkpoint_metadata_prefix(const qs_checkpoint *c, uint32_t i);
qs_node qs_checkpoint_metadata_node(const qs_checkpoint *c); /* the OrderedDict, QS_NODE_NONE if none */

/* Modules of a MODULE root: prefix -> class, in traversal order (0 for a state dict). */
uint32_t qs_checkpoint_module_count(const qs_checkpoint *c);
qs_str qs_checkpoint_module_prefix(const qs_checkpoint *c, uint32_t i);
qs_str qs_checkpoint_module_class(const qs_checkpoint *c, uint32_t i);  /* "torch.nn.modules.conv.Conv2d" */
qs_node qs_checkpoint_module_state(const qs_checkpoint *c, uint32_t i); /* its __dict__ */

/* n elements from logical (row-major) index `first`, in the tensor's own dtype, native byte order, packed.
 * `out` holds n * itemsize bytes. Strided tensors are gathered. QS_E_INPUT for a bad tensor.
 * Logically const; reads share the container's cache, so calls must not run in parallel. */
bool qs_tensor_read(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, void *out,
                    qs_err *e);
/* The same as float32 / float64. */
bool qs_tensor_read_floats(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, float *out,
                           qs_err *e);
bool qs_tensor_read_doubles(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, double *out,
                            qs_err *e);
/* Bytes of a storage, for copying it to another file: those of a big-endian file swapped. */
bool qs_storage_read(const qs_checkpoint *c, uint32_t storage, uint64_t offset, void *out, size_t n,
                     qs_err *e);

#endif

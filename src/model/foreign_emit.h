/* Pieces of the pickle that is made for files which are shown as if torch.save had written them. */
#ifndef QS_MODEL_FOREIGN_EMIT_H
#define QS_MODEL_FOREIGN_EMIT_H

#include "format/parts.h"
#include "format/pickle_emit.h"
#include "model/dtype.h"

/* A tensor made from nothing. */
typedef struct qs_plain_tensor {
    qs_dtype dtype;
    qs_str dtype_name; /* said if dtype is unknown */
    uint32_t ndim;
    const int64_t *dim, *stride; /* [ndim] */
    uint64_t offset;             /* elements */
    uint64_t storage_bytes;
    const char *key; /* of its storage */
} qs_plain_tensor;

/* Strides of a contiguous tensor. */
void qs_contiguous_strides(uint32_t ndim, const int64_t *dim, int64_t *stride);
/* _rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict()), or _v3 with the dtype after False
 * for types without a storage class of their own. */
bool qs_emit_plain_tensor(qs_emit *m, const qs_plain_tensor *t, qs_err *e);
bool qs_emit_empty_ordered_dict(qs_emit *m, qs_err *e);
/* A tuple of integers. */
bool qs_emit_ints(qs_emit *m, const int64_t *v, uint32_t n, qs_err *e);

/* Several archives become one: each counts its storages from 0, so they get the number of the archive and '_'
 * before their key. `at` is a hook for the emitter, `number` the archive that is being emitted. */
typedef struct qs_storage_number {
    uint32_t number;
    const qs_limits *limits;
} qs_storage_number;
bool qs_emit_numbered_storages(void *at, qs_emit *m, const qs_graph *g, qs_node n, bool *failed, qs_err *e);
/* Adds box's records under data/ by the names they have then. */
bool qs_parts_add_numbered(qs_parts *p, qs_container *box, uint32_t number, qs_err *e);

#endif

/* The `.metadata` of a torch.distributed.checkpoint: a pickle of the class Metadata that says which entries
 * there are, into which boxes each tensor was cut, and where in which `*.distcp` file each box is. The fields
 * are those of torch/distributed/checkpoint/metadata.py and filesystem.py (_StorageInfo). */
#ifndef QS_FORMAT_DCP_H
#define QS_FORMAT_DCP_H

#include "base/file.h"
#include "base/vec.h"
#include "format/pickle.h"

/* Where one chunk is: `length` bytes from `at` of a file beside the metadata, which are what torch.save
 * wrote. */
typedef struct qs_dcp_place {
    uint32_t file; /* index in qs_dcp.files; UINT32_MAX: nobody says where it is */
    uint64_t at, length;
    bool transformed; /* compressed or the like: cannot be read */
} qs_dcp_place;

typedef struct qs_dcp_chunk {
    const int64_t *offset, *size; /* [ndim] of its item; the box it is of the whole tensor */
    qs_dcp_place place;
} qs_dcp_chunk;

typedef struct qs_dcp_item {
    qs_str key;     /* flat: "model.layer.weight" */
    qs_node path;   /* tuple of the keys and list indexes it stood under, or QS_NODE_NONE */
    bool is_tensor; /* else an object, in chunk `first` without a box */
    qs_str dtype;   /* torch's name: "float32"; "" if unknown */
    uint32_t ndim;
    const int64_t *dim;
    uint32_t first, chunks; /* run of qs_dcp.chunks */
} qs_dcp_item;

typedef struct qs_dcp {
    qs_arena arena;
    char *bytes; /* of the pickle; the graph borrows from it */
    qs_graph *graph;
    QS_VEC(qs_dcp_item) items;
    QS_VEC(qs_dcp_chunk) chunks;
    QS_VEC(qs_str) files; /* plain names, NUL terminated */
} qs_dcp;

/* Sizes are within limits->ndim and not negative, boxes within their tensors, names of files plain. Whether
 * the files are there is not looked at. Free with qs_dcp_free. */
bool qs_dcp_read(const qs_file *f, const qs_limits *limits, qs_dcp **out, qs_err *e);
void qs_dcp_free(qs_dcp *d);

#endif

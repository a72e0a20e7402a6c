/* One chunk of a distributed checkpoint: a zip archive of torch.save within a `.distcp` file. */
#ifndef QS_MODEL_DCP_CHUNK_H
#define QS_MODEL_DCP_CHUNK_H

#include "format/container.h"
#include "format/dcp.h"
#include "model/dtype.h"

/* A file of chunks: borrowed, or why it cannot be opened. */
typedef struct qs_dcp_file {
    const qs_file *f;
    char why[300];
} qs_dcp_file;

typedef struct qs_dcp_opened {
    const qs_file *file;
    uint64_t start; /* of the archive in the file */
    qs_container *box;
    char *pickle;
    qs_graph *g; /* of its data.pkl */
} qs_dcp_opened;

/* Opens what torch.save wrote there. `files` is indexed as place->file. */
bool qs_dcp_chunk_open(const qs_dcp_file *files, const qs_dcp_place *place, const qs_limits *limits,
                       qs_dcp_opened *out, qs_err *e);
void qs_dcp_chunk_close(qs_dcp_opened *o);

/* A dense tensor whose bytes are a range of the file. */
typedef struct qs_dcp_plain {
    qs_dtype dtype;
    int64_t *stride;    /* in the arena */
    uint64_t offset;    /* elements */
    uint64_t at, bytes; /* of the storage, in the file */
} qs_dcp_plain;

/* False if the chunk is anything but _rebuild_tensor_v2 or _v3 of that size, without more to it. */
bool qs_dcp_chunk_plain(const qs_dcp_opened *o, qs_arena *arena, uint32_t ndim, const int64_t *size,
                        qs_dcp_plain *out);

#endif

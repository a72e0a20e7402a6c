/* A tensor that lies in pieces, read as if it were one run of bytes in row-major order. */
#ifndef QS_FORMAT_MOSAIC_H
#define QS_FORMAT_MOSAIC_H

#include "base/file.h"

enum { QS_MOSAIC_NDIM = 64 };

/* A box of the tensor, and where its elements are: element (i, j, ...) of the box at byte
 * at + (i * stride[0] + j * stride[1] + ...) * itemsize of the file. */
typedef struct qs_tile {
    const int64_t *offset, *size, *stride; /* [ndim]; none negative; stride in elements */
    const qs_file *file;
    uint64_t at;
} qs_tile;

typedef struct qs_mosaic {
    uint32_t ndim; /* 1 .. QS_MOSAIC_NDIM */
    const int64_t *dim;
    uint32_t itemsize;
    const qs_tile *tiles; /* each within the tensor; quickest in order of their offsets */
    size_t n;
} qs_mosaic;

/* Do the tiles make up the whole tensor, each element once? (Overlaps among more than a thousand tiles are
 * not looked for: what is then missing elsewhere is said by qs_mosaic_read.) */
bool qs_mosaic_is_whole(const qs_mosaic *m);
/* n bytes from byte `offset` of the tensor, which the caller has checked to be there. */
bool qs_mosaic_read(const qs_mosaic *m, uint64_t offset, void *buf, size_t n, qs_err *e);

#endif

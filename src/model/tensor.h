/* What a tensor node of a pickle says: shape, strides, dtype, and where its bytes are. */
#ifndef QS_MODEL_TENSOR_H
#define QS_MODEL_TENSOR_H

#include "format/object.h"
#include "model/dtype.h"

typedef struct qs_shape {
    uint32_t ndim;
    const int64_t *dim; /* [ndim], each >= 0; borrowed from the document's arena; NULL if ndim is 0 */
} qs_shape;

bool qs_shape_eq(qs_shape a, qs_shape b);
/* Equal once dimensions of one are left out. */
bool qs_shape_same_without_ones(qs_shape a, qs_shape b);
/* Product of the dims; UINT64_MAX on overflow. 1 for a scalar. */
uint64_t qs_shape_numel(qs_shape s);
/* "16x3x3x3" with `times` between ("×" or "x"); "[]" for a scalar. Returns bytes written. */
size_t qs_shape_text(qs_shape s, const char *times, char *out, size_t cap);
/* torch's own form: "torch.Size([16, 3, 3, 3])". */
void qs_shape_torch(qs_shape s, qs_buf *out);

typedef enum qs_tensor_kind {
    QS_TENSOR_DENSE,
    QS_TENSOR_QUANTIZED, /* _rebuild_qtensor: dense storage of a quantized dtype plus scheme, scale, zero
                            point */
    QS_TENSOR_SPARSE,    /* shape and dtype known, values not read */
    QS_TENSOR_META,      /* no storage */
    QS_TENSOR_OPAQUE,    /* a subclass or an unknown rebuild; kept as it is, shape perhaps unknown */
} qs_tensor_kind;

typedef struct qs_storage {
    uint64_t bytes;   /* as the persistent id says: numel * itemsize */
    qs_dtype dtype;   /* of the storage class; QS_DTYPE_UNKNOWN for UntypedStorage */
    uint32_t record;  /* index in the container, UINT32_MAX if absent */
    qs_node node;     /* the PERSID node */
    qs_node location; /* qs_storage_location */
} qs_storage;

#define QS_TENSOR_IS_PARAMETER  1u /* wrapped in _rebuild_parameter */
#define QS_TENSOR_REQUIRES_GRAD 2u
#define QS_TENSOR_CONJ          4u
#define QS_TENSOR_NEG           8u

typedef struct qs_quantized {
    bool per_channel;
    double scale;
    int64_t zero_point;
    int64_t axis;                /* of the channels */
    qs_node scales, zero_points; /* tensor nodes if per channel */
} qs_quantized;

/* 64 bytes: there are hundreds of thousands of them. */
typedef struct qs_tensor {
    qs_tensor_kind kind : 8;
    uint32_t flags : 24; /* QS_TENSOR_* */
    qs_dtype dtype;
    qs_shape shape;
    const int64_t *stride; /* [ndim], elements */
    uint64_t offset;       /* elements into the storage */
    uint32_t storage;      /* index in the checkpoint's storages, UINT32_MAX if none */
    qs_node node;          /* the outermost node (the parameter, if it is one) */
    const char *bad; /* NULL, or why its bytes cannot be read ("needs 48 bytes, record data/3 has 40"); such
                        a tensor can be looked at but saving it is refused */
    const qs_quantized *q; /* QUANTIZED only: never NULL */
} qs_tensor;

static inline bool qs_tensor_is_contiguous(const qs_tensor *t) {
    int64_t expect = 1;
    for (uint32_t i = t->shape.ndim; i > 0; i--) {
        if (t->shape.dim[i - 1] != 1 && t->stride[i - 1] != expect) return qs_shape_numel(t->shape) == 0;
        expect *= t->shape.dim[i - 1];
    }
    return true;
}

#endif

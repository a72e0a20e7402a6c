/* The header of a safetensors file: u64 LE header size, JSON, then the tensors' bytes. */
#ifndef QS_FORMAT_SAFETENSORS_H
#define QS_FORMAT_SAFETENSORS_H

#include "base/arena.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/vec.h"

typedef struct qs_st_tensor {
    qs_str name;
    qs_str dtype; /* "F32", as the file says it */
    uint32_t ndim;
    const int64_t *dim;
    uint64_t begin, end; /* in the data section */
} qs_st_tensor;

typedef struct qs_st_pair {
    qs_str key, value;
} qs_st_pair;

typedef struct qs_safetensors {
    qs_arena arena;
    uint64_t data;                /* byte of the file where the data section begins */
    QS_VEC(qs_st_tensor) tensors; /* in the header's order */
    QS_VEC(qs_st_pair) metadata;  /* __metadata__ */
} qs_safetensors;

/* Reads and checks the header by the format's own rules: valid UTF-8 JSON that begins with '{', names unique
 * (the reference reader takes duplicates, which of them counts differs), data sections contiguous from 0 to
 * the end of the file. Free with qs_safetensors_free. */
bool qs_safetensors_read(const qs_file *f, const qs_limits *limits, qs_safetensors **out, qs_err *e);
/* The same from memory: the JSON alone, and the size of the data section. Offsets in errors count in the
 * file. */
bool qs_safetensors_parse(const char *json, size_t n, uint64_t data_size, const qs_limits *limits,
                          qs_safetensors **out, qs_err *e);
void qs_safetensors_free(qs_safetensors *s);

#endif

/* What a file may ask of us before it is refused (torch-files.md, section 5). Every value can be raised by
 * the flag its message names. */
#ifndef QS_BASE_LIMITS_H
#define QS_BASE_LIMITS_H

#include "base/err.h"

typedef struct qs_limits {
    uint64_t zip_entries, zip_directory_bytes, zip_name_bytes;
    uint64_t pickle_bytes; /* data.pkl, inflated */
    uint64_t opcodes, memo, stack, marks;
    uint64_t string_bytes;
    uint64_t depth; /* of walkers over the object graph */
    uint64_t ndim;
    uint64_t json_bytes; /* manifests, plans, indexes */
    const qs_progress
        *progress; /* not a size but somebody's patience: asked while a pickle is read; may be NULL */
} qs_limits;

#define QS_LIMITS_DEFAULT                                                                                    \
    ((qs_limits){.zip_entries = 1u << 20,                                                                    \
                 .zip_directory_bytes = 256ull << 20,                                                        \
                 .zip_name_bytes = 511,                                                                      \
                 .pickle_bytes = 256ull << 20,                                                               \
                 .opcodes = 64ull << 20,                                                                     \
                 .memo = 16ull << 20,                                                                        \
                 .stack = 4ull << 20,                                                                        \
                 .marks = 100000,                                                                            \
                 .string_bytes = 64ull << 20,                                                                \
                 .depth = 1000,                                                                              \
                 .ndim = 64,                                                                                 \
                 .json_bytes = 256ull << 20})

#endif

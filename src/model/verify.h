/* Is a file whole: every record's checksum and size, every tensor within its storage. */
#ifndef QS_MODEL_VERIFY_H
#define QS_MODEL_VERIFY_H

#include "base/vec.h"
#include "model/checkpoint.h"

typedef struct qs_verify_line {
    qs_str where; /* record or key, raw; "" for the file */
    qs_str what;
} qs_verify_line;

typedef struct qs_verify {
    qs_arena arena;
    qs_file_kind kind;
    uint32_t records, tensors, storages;
    uint64_t bytes; /* of all records */
    uint32_t crc_right, crc_wrong,
        crc_off;        /* off: 0 is stored, torch wrote the file without (set_crc32_options) */
    bool has_crc;       /* false: the format has no checksums */
    uint32_t unaligned; /* storages not on a multiple of 64 bytes, as torch since 1.7 writes them */
    uint32_t deflated;  /* storages that mmap=True would read wrong */
    QS_VEC(qs_verify_line) problems; /* what is wrong; empty: the file is whole */
    QS_VEC(qs_verify_line) notes;    /* what is only worth knowing */
} qs_verify;

/* Reads all of the file. Fails for a file that cannot be opened as records at all; what is wrong inside is a
 * problem in *out. Free with qs_verify_free. */
bool qs_verify_file(const char *path, const qs_limits *limits, const qs_progress *progress, qs_verify **out,
                    qs_err *e);
void qs_verify_free(qs_verify *v);

#endif

/* Inside of saving, shared by write*.c. */
#ifndef QS_REPAIR_WRITE_IMPL_H
#define QS_REPAIR_WRITE_IMPL_H

#include "base/map.h"
#include "base/vec.h"
#include "repair/write.h"

/* A data/KEY record of the new file. */
typedef struct qs_out_storage {
    qs_str key;
    uint64_t bytes;
    const qs_checkpoint *from; /* where the bytes are; NULL: `data` */
    uint32_t storage;          /* index in `from` */
    const void *data;
} qs_out_storage;

/* A document that storages come from. */
typedef struct qs_out_source {
    const qs_checkpoint *c;
    qs_map by_key; /* storage key -> its index */
    uint32_t *out; /* [storages] index + 1 in qs_writer.storages, 0: not referred to (yet) */
} qs_out_source;

typedef struct qs_writer {
    const qs_resolution *r;
    bool edited; /* the plan is not empty */
    bool cpu;    /* as qs_write_options says */
    qs_out_source a, b;
    QS_VEC(qs_out_storage) storages;
    uint32_t *fills; /* [live] index + 1 in storages of an INIT entry's value */
    uint64_t next_key;
    qs_init_cache *cache;
    qs_arena arena;
    qs_buf pickle;
} qs_writer;

/* Fills w->pickle, and w->storages with what it refers to. */
bool qs_write_pickle(qs_writer *w, qs_err *e);
/* The file at path holds what w says, byte for byte. Progress counts the bytes compared. */
bool qs_write_verify(const qs_writer *w, const char *path, const qs_progress *progress, qs_err *e);
/* n bytes of a storage. */
bool qs_out_storage_read(const qs_out_storage *s, uint64_t offset, void *buf, size_t n, qs_err *e);

/* Writes the state dict to fd, an empty file, and reads it back from path. Other top-level entries and
 * `_metadata` have no place in that format. QS_E_REFUSED lists the entries that do not fit. */
bool qs_write_safetensors(qs_writer *w, int fd, const char *path, const qs_progress *progress, qs_err *e);

#endif

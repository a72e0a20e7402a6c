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
    uint64_t skip;             /* bytes of the storage before them that nothing refers to any more */
    const qs_checkpoint *from; /* where the bytes are; NULL: `data` or `converted` */
    uint32_t storage;          /* index in `from` */
    bool copied;               /* by the kernel, from a record of another archive, whole and unread */
    const void *data;
    const qs_resolution *r;       /* of `converted` */
    const qs_resolved *converted; /* neither of both: its value, worked out when it is read */
} qs_out_storage;

/* A storage of A that a dropped entry used: what is left to use of it. */
typedef struct qs_out_range {
    bool lost;           /* such a storage */
    bool pinned;         /* something that is no plain tensor uses it: it stays whole */
    uint64_t begin, end; /* bytes the tensors reach; begin > end: none so far */
} qs_out_range;

/* A document that storages come from. */
typedef struct qs_out_source {
    const qs_checkpoint *c;
    qs_map by_key; /* storage key -> its index */
    uint32_t *out; /* [storages] index + 1 in qs_writer.storages, 0: not referred to (yet) */
} qs_out_source;

typedef struct qs_writer {
    const qs_resolution *r;
    bool edited;    /* the plan is not empty, or what is around the state dict goes */
    bool bare, cpu; /* as qs_write_options says */
    qs_out_source a, b;
    QS_VEC(qs_out_storage) storages;
    uint32_t *fills;      /* [live] index + 1 in storages of an INIT entry's value */
    qs_out_range *ranges; /* [storages of A], NULL where nothing that is dropped shared one */
    uint64_t next_key;
    qs_init_cache *cache;
    qs_arena arena;
    qs_buf pickle;
} qs_writer;

/* Fills w->pickle, and w->storages with what it refers to. */
bool qs_write_pickle(qs_writer *w, qs_err *e);
/* The file at path holds what w says, byte for byte (of records copied whole: at both ends). Progress counts
 * the bytes compared. */
bool qs_write_verify(const qs_writer *w, const char *path, const qs_progress *progress, qs_err *e);
/* n bytes of a storage. */
bool qs_out_storage_read(const qs_out_storage *s, uint64_t offset, void *buf, size_t n, qs_err *e);

/* ---- safetensors ---- */

typedef struct qs_st_item {
    const qs_resolved *x;
    const qs_checkpoint *from; /* NULL: `fill`, or a CONVERTED x */
    const qs_tensor *t;
    qs_fill fill;
    qs_dtype dtype;
    qs_shape shape;
    uint64_t begin, bytes; /* in the file's data */
} qs_st_item;

typedef struct qs_st_job {
    qs_writer *w;
    QS_VEC(qs_st_item) items;
    uint64_t total, done; /* bytes of all; written and compared */
    const qs_progress *progress;
    char *block;
    qs_err *e;
} qs_st_job;

/* All the entries, in their order. QS_E_REFUSED lists those that do not fit. Free with qs_st_free in any
 * case. */
bool qs_st_collect(qs_st_job *j, qs_writer *w, const qs_progress *progress, qs_err *e);
/* n items from `first` as one file; puts them into the order of their data. */
bool qs_st_write(qs_st_job *j, size_t first, size_t n, int fd);
/* The file, or the set behind the index, at path holds all the items and nothing else. */
bool qs_st_compare(qs_st_job *j, const char *path);
void qs_st_free(qs_st_job *j);
/* All n bytes. */
bool qs_st_put(const qs_st_job *j, int fd, const char *p, size_t n);

/* Writes the set whose index is at path, and publishes it. */
bool qs_write_shards(qs_writer *w, const char *path, const qs_write_options *opt, qs_err *e);

/* Writes the state dict to fd, an empty file, and reads it back from path. Other top-level entries and
 * `_metadata` have no place in that format. QS_E_REFUSED lists the entries that do not fit. */
bool qs_write_safetensors(qs_writer *w, int fd, const char *path, const qs_progress *progress, qs_err *e);

#endif

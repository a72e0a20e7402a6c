/* A checkpoint file as named records, whatever wraps them. Today: torch zip archives (libzip); legacy,
 * safetensors and shards get their own back-end behind the same ops. */
#ifndef QS_FORMAT_CONTAINER_H
#define QS_FORMAT_CONTAINER_H

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/str.h"

typedef enum qs_file_kind {
    QS_FILE_UNKNOWN,
    QS_FILE_TORCH_ZIP,
    QS_FILE_TORCHSCRIPT, /* a zip with constants.pkl */
    QS_FILE_ZIP_OTHER,   /* a zip without a pickle: numpy .npz, a wheel, Keras ... */
    QS_FILE_LEGACY,      /* torch 0.1.10 - 1.5: pickles in a row */
    QS_FILE_TAR,         /* torch 0.1.1 */
    QS_FILE_SAFETENSORS,
    QS_FILE_PICKLE, /* a bare pickle */
    QS_FILE_DCP,    /* the .metadata of a torch.distributed checkpoint */
    QS_FILE_HDF5,
    QS_FILE_GGUF,
    QS_FILE_GZIP,
    QS_FILE_JSON,
    QS_FILE_LFS_POINTER, /* Git LFS: the message gives the size expected */
    QS_FILE_HTML,
    QS_FILE_TEXT,
    QS_FILE_ZIP_TRUNCATED, /* starts as a zip, has no end record */
} qs_file_kind;

/* Looks at a few bytes at both ends. Never fails: a read error counts as QS_FILE_UNKNOWN. */
qs_file_kind qs_sniff(const qs_file *f);
/* Fill *e with what the file is and what to do about it, for a kind that cannot be opened as a checkpoint. */
bool qs_sniff_refuse(const qs_file *f, qs_file_kind kind, qs_err *e);

/* "torch zip", "safetensors": of a file that was opened. */
const char *qs_file_kind_name(qs_file_kind kind);

typedef struct qs_container qs_container;

/* Opens a torch zip archive (call qs_sniff first for a better message about other files). Refuses (QS_E_INPUT
 * / QS_E_LIMIT) archives torch would read differently: see torch-files.md, section 5. Takes ownership of f,
 * on failure too. */
bool qs_container_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e);
void qs_container_close(qs_container *c);
const qs_file *qs_container_file(const qs_container *c);
/* Is path a file that records are read from: the container's own, or one of its shards? Follows symlinks. */
bool qs_container_uses(const qs_container *c, const char *path);
qs_file_kind qs_container_kind(const qs_container *c);
/* What the `byteorder` record says: multi-byte elements are to be swapped, as torch does since 2.1. */
bool qs_container_big_endian(const qs_container *c);
/* Bytes of the file behind a zip archive: torch passes over them (as over a download's padding), and so do
 * we. */
uint64_t qs_container_trailing(const qs_container *c);
qs_str qs_container_prefix(const qs_container *c); /* "archive", without the slash */

typedef struct qs_record {
    qs_str name;   /* without the prefix and its slash: "data.pkl", "data/0"; borrowed */
    uint64_t size; /* of the content, uncompressed */
    uint64_t stored_size;
    uint32_t crc; /* 0 in files written with CRC switched off */
    bool deflated;
} qs_record;

uint32_t qs_container_count(const qs_container *c); /* in central-directory order */
const qs_record *qs_container_record(const qs_container *c, uint32_t i);
uint32_t qs_container_find(const qs_container *c, qs_str name);     /* index or UINT32_MAX */
uint32_t qs_container_find_data(const qs_container *c, qs_str key); /* the record data/KEY */
/* n bytes from offset within a record's content. Stored records are read with pread at any offset; deflated
 * ones are inflated on first use and kept (QS_E_LIMIT beyond the limits). Logically const, but not
 * thread-safe. */
bool qs_record_read(const qs_container *c, uint32_t record, uint64_t offset, void *buf, size_t n, qs_err *e);
/* Byte of the file at which a record's content begins (of a deflated one, its compressed bytes);
 * QS_ERR_NO_OFFSET if it is not in this file. */
bool qs_record_offset(const qs_container *c, uint32_t record, uint64_t *out, qs_err *e);
/* Byte of the file at which its local header begins; QS_ERR_NO_OFFSET if it has none. */
uint64_t qs_record_header(const qs_container *c, uint32_t record);
/* The whole record, owned by the caller (free). QS_E_LIMIT for more bytes than limits says of `limit`. */
bool qs_record_slurp(const qs_container *c, uint32_t record, const qs_limits *limits, qs_limit_id limit,
                     char **out, size_t *n, qs_err *e);

#endif

/* The directory of a zip archive, read as torch's reader (miniz) reads it, with everything refused that
 * another reader could understand differently. For container.c and sniff.c. */
#ifndef QS_FORMAT_ZIP_DIR_H
#define QS_FORMAT_ZIP_DIR_H

#include "base/file.h"
#include "base/limits.h"
#include "base/str.h"

/* Where the directory is, according to the end record (and the zip64 one). */
typedef struct qs_zip_end {
    bool found; /* an end record is there; set on failure too */
    uint64_t entries, directory, directory_size;
    uint64_t size; /* of the archive: bytes may follow it in the file, which torch passes over as well */
} qs_zip_end;

/* The last end record within 69,584 bytes of the file's end counts, as for torch. Errors: there is none; it
 * disagrees with itself, with its zip64 twin or with the file's size. */
bool qs_zip_find_end(const qs_file *f, qs_zip_end *out, qs_err *e);

typedef struct qs_zip_entry {
    qs_str name; /* borrowed from the directory's bytes */
    uint64_t size, stored_size;
    uint64_t header; /* offset of the local header */
    uint64_t bound;  /* of the next thing in the file: the data must end before it */
    uint64_t data;   /* offset of the content once qs_zip_local was called, else 0 */
    uint32_t crc;
    uint16_t flags, method;
} qs_zip_entry;

/* Reads the directory: *bytes (owned by the caller, free) and *entries (too) in its order. Refused:
 * encryption, methods other than STORED and DEFLATE, names with NUL or beyond the limit, headers that
 * overlap, a first header not at byte 0, bytes between entries that belong to none, a directory that does not
 * fill its place exactly. */
bool qs_zip_read_dir(const qs_file *f, const qs_zip_end *end, const qs_limits *limits, char **bytes,
                     qs_zip_entry **entries, qs_err *e);
/* Reads the local header once and checks that it agrees with the directory; sets x->data. */
bool qs_zip_local(const qs_file *f, qs_zip_entry *x, qs_err *e);
/* A second opinion: libzip with its consistency check must see the same entries in the file's first `size`
 * bytes. */
bool qs_zip_cross_check(const qs_file *f, uint64_t size, const qs_zip_entry *entries, uint64_t n, qs_err *e);

#endif

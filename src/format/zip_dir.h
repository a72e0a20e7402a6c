/* The directory of a zip archive, read as torch's reader (miniz) reads it, with everything refused that
 * another reader could understand differently. For container.c and sniff.c. */
#ifndef QS_FORMAT_ZIP_DIR_H
#define QS_FORMAT_ZIP_DIR_H

#include "format/container.h"

/* Where the directory is, according to the end record (and the zip64 one). */
typedef struct qs_zip_end {
    bool found; /* an end record is there; set on failure too */
    uint64_t entries, directory, directory_size;
    uint64_t size; /* of the archive: bytes may follow it in the file, which torch passes over as well */
} qs_zip_end;

/* The last end record within 69,584 bytes of the file's end counts, as for torch. Errors: there is none; it
 * disagrees with itself, with its zip64 twin or with the file's size. */
bool qs_zip_find_end(const qs_file *f, qs_zip_end *out, qs_err *e);

/* 64 bytes: an archive may have a hundred thousand of them. */
typedef struct qs_zip_entry {
    qs_record record; /* its name, borrowed from the directory's bytes, lacks the first `folder` bytes */
    uint16_t folder;  /* set by who knows the archive's folder; 0 until then */
    uint16_t flags;
    uint32_t skip;   /* from the local header to the content once qs_zip_local was called, else 0 */
    uint64_t header; /* offset of the local header */
    uint64_t bound;  /* of the next thing in the file: the data must end before it */
} qs_zip_entry;

/* Its whole name in the archive. */
static inline qs_str qs_zip_name(const qs_zip_entry *x) {
    return (qs_str){x->record.name.p - x->folder, x->record.name.n + x->folder};
}
/* Offset of its content; qs_zip_local was called. */
static inline uint64_t qs_zip_data(const qs_zip_entry *x) {
    return x->header + x->skip;
}

/* Reads the directory: *bytes (owned by the caller, free) and *entries (too) in its order. Refused:
 * encryption, methods other than STORED and DEFLATE, names with NUL or beyond the limit, headers that
 * overlap, a first header not at byte 0, bytes between entries that belong to none, a directory that does not
 * fill its place exactly. */
bool qs_zip_read_dir(const qs_file *f, const qs_zip_end *end, const qs_limits *limits, char **bytes,
                     qs_zip_entry **entries, qs_err *e);
/* Reads the local header once and checks that it agrees with the directory; sets x->skip. */
bool qs_zip_local(const qs_file *f, qs_zip_entry *x, qs_err *e);
/* A second opinion: libzip with its consistency check must see the same entries in the file's first `size`
 * bytes. */
bool qs_zip_cross_check(const qs_file *f, uint64_t size, const qs_zip_entry *entries, uint64_t n, qs_err *e);

#endif

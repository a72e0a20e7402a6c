/* Writes a torch zip archive: records STORED, storage data 64-byte aligned, sizes exact, fixed times (two
 * saves of the same content are the same bytes), "PREFIX/" before every name. */
#ifndef QS_FORMAT_ZIP_WRITE_H
#define QS_FORMAT_ZIP_WRITE_H

#include "base/err.h"
#include "base/str.h"

typedef struct qs_zip_out qs_zip_out;

/* Supplies a record's content in order: exactly n bytes from offset. Called during qs_zip_out_close. */
typedef bool (*qs_zip_source)(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e);

/* fd is an empty file opened for writing, borrowed. prefix: as torch does, the file's base name without its
 * last extension (no '/'). */
bool qs_zip_out_open(int fd, qs_str prefix, qs_zip_out **out, qs_err *e);
/* Announce a record, in the order it shall have in the file. The name is copied. A name announced twice is
 * QS_E_REFUSED. `size` bytes will be asked from `source` at close. */
bool qs_zip_out_add(qs_zip_out *z, qs_str name, uint64_t size, qs_zip_source source, void *ctx, qs_err *e);
/* Where the content of a record stands already, with the checksum that is told of it. */
typedef struct qs_zip_origin {
    int fd;      /* of a file, borrowed until close; nobody reads from its position */
    uint64_t at; /* byte where the content begins */
    uint32_t crc;
    bool *copied; /* NULL, or told at close: the kernel has copied all of it, and nobody read it */
} qs_zip_origin;
/* The record announced last is copied from there by the kernel where it can, from its source where not.
 * Records that stand at the same places in the origin's file as they shall have here are copied with their
 * headers in one piece from byte 0: a file system that can share blocks then writes only what follows them.
 */
void qs_zip_out_origin(qs_zip_out *z, const qs_zip_origin *origin);
/* Write everything, report progress in bytes, free z (on failure too). Memory does not grow with sizes. */
bool qs_zip_out_close(qs_zip_out *z, const qs_progress *progress, qs_err *e);
void qs_zip_out_abandon(qs_zip_out *z); /* free without writing; NULL is fine */

#endif

/* Writes a torch zip archive: records STORED, their content 64-byte aligned, sizes exact, fixed times (two
 * saves of the same content from the same files are the same bytes), "PREFIX/" before every name. */
#ifndef QS_FORMAT_ZIP_WRITE_H
#define QS_FORMAT_ZIP_WRITE_H

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"

typedef struct qs_zip_out qs_zip_out;

/* Supplies a record's content in order: exactly n bytes from offset. Called during qs_zip_out_close. */
typedef bool (*qs_zip_source)(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e);

/* fd is an empty file opened for writing (and for reading, where records have origins), borrowed. prefix: as
 * torch does, the file's base name without its last extension (no '/'). */
bool qs_zip_out_open(int fd, qs_str prefix, qs_zip_out **out, qs_err *e);
/* Announce a record, in the order it shall have in the file. The name is copied. A name announced twice is
 * QS_E_REFUSED. `size` bytes will be asked from `source` at close. */
bool qs_zip_out_add(qs_zip_out *z, qs_str name, uint64_t size, qs_zip_source source, void *ctx, qs_err *e);
/* Where a record stands already, with the checksum that is told of it. */
typedef struct qs_zip_origin {
    const qs_file *file; /* borrowed until close */
    uint64_t header;     /* byte where its local header begins; QS_ERR_NO_OFFSET: it has none there */
    uint64_t at;         /* byte where its content begins */
    uint32_t crc;
    bool *copied; /* NULL, or told at close: the kernel has copied all of it, and nobody read it */
} qs_zip_origin;
/* The record announced last is copied from there, by the kernel where it can, and not asked from its source.
 * Records that follow each other there as they do here, under the same names and with headers such as torch
 * or this writer makes them, are a span: copied in one piece, the headers between them too. What is long is
 * placed at the byte of a page that it has there, which a kernel copies as fast as the whole file, and a file
 * system that can share blocks does not copy at all. Whether the kernel copies changes no byte. */
void qs_zip_out_origin(qs_zip_out *z, const qs_zip_origin *origin);
/* The file will be synced once it is written: the disk may begin before. */
void qs_zip_out_will_sync(qs_zip_out *z);
/* Write everything, report progress in bytes, free z (on failure too). Memory does not grow with sizes. */
bool qs_zip_out_close(qs_zip_out *z, const qs_progress *progress, qs_err *e);
void qs_zip_out_abandon(qs_zip_out *z); /* free without writing; NULL is fine */

#endif

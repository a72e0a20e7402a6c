/* Records of a file that is no archive: ranges of its bytes, bytes made in memory, records of other
 * containers, tensors in pieces. The back-end of a qs_container for legacy files, safetensors, shards and
 * distributed checkpoints. */
#ifndef QS_FORMAT_PARTS_H
#define QS_FORMAT_PARTS_H

#include "format/container.h"
#include "format/mosaic.h"

typedef struct qs_parts qs_parts;

qs_parts *qs_parts_new(void); /* NULL when memory is out */
void qs_parts_free(qs_parts *p);
/* Each adds a record. Names are copied; one that is there already is QS_E_INPUT. */
bool qs_parts_add_bytes(qs_parts *p, qs_str name, qs_str content, qs_err *e); /* copied */
/* Bytes of the container's own file: [offset, offset + size) must lie within it. */
bool qs_parts_add_range(qs_parts *p, qs_str name, uint64_t offset, uint64_t size, qs_err *e);
bool qs_parts_add_record(qs_parts *p, qs_str name, qs_container *from, uint32_t record, qs_err *e);
/* The same of another file, which must be the parts' own (qs_parts_own_file) and hold them. */
bool qs_parts_add_range_of(qs_parts *p, qs_str name, const qs_file *f, uint64_t offset, uint64_t size,
                           qs_err *e);
/* A tensor in pieces of such files; what m points to is copied. */
bool qs_parts_add_mosaic(qs_parts *p, qs_str name, const qs_mosaic *m, qs_err *e);
/* Close c, f along with the parts (on failure too). */
bool qs_parts_own(qs_parts *p, qs_container *c, qs_err *e);
bool qs_parts_own_file(qs_parts *p, qs_file *f, qs_err *e);

/* A container of these records. Takes ownership of f and p, on failure too. */
bool qs_container_of_parts(qs_file *f, qs_file_kind kind, qs_parts *p, qs_container **out, qs_err *e);

/* For container.c: the records in the order they were added. */
uint32_t qs_parts_count(const qs_parts *p);
const qs_record *qs_parts_record(const qs_parts *p, uint32_t i);
/* n bytes from offset within the record, which the caller has checked. f is the container's file. */
bool qs_parts_read(const qs_parts *p, const qs_file *f, uint32_t i, uint64_t offset, void *buf, size_t n,
                   qs_err *e);
/* Is path one of the files the parts come from? */
bool qs_parts_uses(const qs_parts *p, const char *path);
/* Where a range begins in the file; false for other parts. */
bool qs_parts_offset(const qs_parts *p, uint32_t i, uint64_t *out);

#endif

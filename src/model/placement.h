/* Where the entries of a distributed checkpoint are. */
#ifndef QS_MODEL_PLACEMENT_H
#define QS_MODEL_PLACEMENT_H

#include "model/checkpoint.h"

typedef struct qs_chunk {
    qs_str file;            /* "__0_0.distcp"; "" if the metadata does not say */
    uint64_t at, length;    /* bytes of it: an archive of torch.save */
    qs_node offsets, sizes; /* tuples: the box of the tensor it holds; empty for an object */
} qs_chunk;

typedef struct qs_placement qs_placement;

/* *out is NULL for any other kind of file. False when memory is out. Free with qs_placement_free. */
bool qs_placement_new(const qs_checkpoint *c, qs_placement **out, qs_err *e);
void qs_placement_free(qs_placement *p);
/* How many chunks an entry of the chosen root has, and each. 0 for a NULL placement. */
uint32_t qs_placement_count(const qs_placement *p, qs_str key);
bool qs_placement_chunk(const qs_placement *p, qs_str key, uint32_t i, qs_chunk *out);
/* "in __0_0.distcp at 7566, 1577 bytes"; "in 3 chunks, __0_0.distcp ... __2_0.distcp"; printable. */
void qs_placement_text(const qs_placement *p, qs_str key, char *out, size_t cap);

#endif

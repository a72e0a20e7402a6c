/* What is in a checkpoint besides tensors, as a person would unfold it: dicts, lists, attributes of objects.
 */
#ifndef QS_MODEL_OUTLINE_H
#define QS_MODEL_OUTLINE_H

#include "model/checkpoint.h"

/* How much is inside a node: pairs, then items, then what BUILD set (attributes); of a call with none of
 * these, its arguments. 0 for tensors and plain values. */
size_t qs_outline_count(const qs_checkpoint *c, qs_node n);
/* Part i, and what it is called: "epoch", "[3]", ".weight", "(0)"; printable, cut to fit. */
qs_node qs_outline_part(const qs_checkpoint *c, qs_node n, size_t i, char *label, size_t cap);
/* The value in one line: "41", "dict of 5",
 * "OrderedDict of 13", "4x3x3x3 float32", "datetime.date of 3"; printable. Returns bytes written. */
size_t qs_outline_value(const qs_checkpoint *c, qs_node n, char *out, size_t cap);
/* Bytes of the tensor storages that a node refers to, each once. */
bool qs_outline_bytes(const qs_checkpoint *c, qs_node n, uint64_t *bytes, qs_err *e);
/* The value in full, not printable yet: a text as it is, bytes as a hex dump, a container line by line down
 * to `lines` lines. False when memory is out. */
bool qs_outline_text(const qs_checkpoint *c, qs_node n, size_t lines, qs_buf *out);

/* A hex dump: "00000010  00 01 fe ...  |...|", 16 bytes a line, offsets from `base`. */
void qs_hex_dump(const void *data, size_t n, uint64_t base, qs_buf *out);

#endif

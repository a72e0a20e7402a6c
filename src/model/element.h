/* Elements of tensors as text, and what the tensors of a file share. */
#ifndef QS_MODEL_ELEMENT_H
#define QS_MODEL_ELEMENT_H

#include "model/checkpoint.h"

enum { QS_ELEMENT_MAX = 64 };

/* One element in native byte order: integers exactly, floats with as many digits as their type holds, "True",
 * complex numbers as Python prints them, quantized ones by their integer, raw bits as hex. */
void qs_element_text(qs_dtype dtype, const void *element, char out[QS_ELEMENT_MAX]);
/* The same bits, or both NaN. */
bool qs_element_eq(qs_dtype dtype, const void *a, const void *b);
/* Index of flat (row-major) element i: "[3,0,1]"; "[]" for a scalar. */
void qs_element_index(qs_shape shape, uint64_t i, char *out, size_t cap);

/* Entries of the chosen root, other than `but`, whose tensors lie in the same storage: at most max into out,
 * all counted. */
size_t qs_checkpoint_sharing(const qs_checkpoint *c, const qs_tensor *t, uint32_t but, uint32_t *out,
                             size_t max);

#endif

/* How two keys relate as names: wrappers, folded BatchNorms, tensors renamed between versions. Knows nothing
 * of shapes. */
#ifndef QS_REPAIR_NAMES_H
#define QS_REPAIR_NAMES_H

#include "base/str.h"

typedef struct qs_relation {
    double confidence;  /* 0..1, shapes equal assumed */
    const char *reason; /* static */
    bool structural;    /* follows from what frameworks do to names, and so good enough to apply */
} qs_relation;

/* The best explanation of `from` being called `to` in the model. */
qs_relation qs_name_relate(qs_str from, qs_str to);

/* A component some wrapper puts into names wherever it wraps: "module", "_orig_mod", ... */
bool qs_name_is_wrapper(qs_str component);
/* All components of a dotted prefix are such, or ones that only lead names ("model", "ema"). */
bool qs_name_all_wrappers(qs_str dotted);
/* The key without wrapper components, appended to out. */
void qs_name_core(qs_str key, qs_buf *out);
/* Is the component the number of a block in a list, and which? Up to nine digits. */
bool qs_name_number(qs_str component, uint32_t *out);
/* Is the key or module below the module `scope` ("" has everything below)? */
bool qs_name_below(qs_str key, qs_str scope);
/* Last component cut off *rest; false when nothing is left. */
bool qs_name_pop(qs_str *rest, qs_str *last);

/* One of the five tensors of a BatchNorm. */
bool qs_name_is_norm_field(qs_str leaf);
/* How surely the BatchNorm `norm` belongs to its sibling `conv`, by name alone: 2 "bn1" of "conv1", 1 "3" of
 * "2", 0 not. */
int qs_name_norm_of(qs_str conv, qs_str norm);

/* Tails of keys that mean the same tensor in another version: gamma -> weight, min_vals -> min_val, ... */
typedef struct qs_tail_rename {
    const char *from, *to;
} qs_tail_rename;
extern const qs_tail_rename qs_tail_renames[];
extern const size_t qs_tail_rename_count;
/* key ends in ".TAIL" or is TAIL; *head is what is before it, without the dot. */
bool qs_name_has_tail(qs_str key, const char *tail, qs_str *head);

#endif

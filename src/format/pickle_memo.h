/* The memo of the pickle machine: index -> node. Indices count up in real files (an array), and are anything
 * up to 2^32-1 in hostile ones (a hash table): an index never sizes an allocation. For pickle.c only. */
#ifndef QS_FORMAT_PICKLE_MEMO_H
#define QS_FORMAT_PICKLE_MEMO_H

#include "base/vec.h"
#include "format/object.h"

typedef struct qs_memo_slot {
    uint32_t index;
    qs_node node; /* QS_NODE_NONE: free */
} qs_memo_slot;

typedef struct qs_memo {
    QS_VEC(qs_node) dense;
    qs_memo_slot *sparse;
    size_t sparse_cap, sparse_n;
    uint64_t seed;
    uint32_t count; /* indices in use; MEMOIZE takes this as the next one */
} qs_memo;          /* zero-initialise */

/* Room for n that count up without growing; false when memory is out. */
bool qs_memo_reserve(qs_memo *m, size_t n);
qs_node qs_memo_get(const qs_memo *m, uint32_t index);      /* QS_NODE_NONE if never put */
bool qs_memo_put(qs_memo *m, uint32_t index, qs_node node); /* false when memory is out */
void qs_memo_free(qs_memo *m);

#endif

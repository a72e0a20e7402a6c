/* A bump allocator: one per document, freed whole. Not thread-safe. */
#ifndef QS_BASE_ARENA_H
#define QS_BASE_ARENA_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct qs_arena {
    struct qs_arena_block *head;
    size_t next_size; /* of the next block; doubles up to 1 MiB */
    size_t bytes;     /* handed out in all */
} qs_arena;           /* zero-initialise */

/* `size` bytes aligned for any type, uninitialised / zeroed; NULL when memory is out. */
void *qs_arena_alloc(qs_arena *a, size_t size);
void *qs_arena_zalloc(qs_arena *a, size_t size);
/* n * size with overflow checked. */
void *qs_arena_array(qs_arena *a, size_t n, size_t size);
/* A NUL-terminated copy of s; p is NULL when memory is out. */
qs_str qs_arena_str(qs_arena *a, qs_str s);
void qs_arena_free(qs_arena *a);

#define QS_ARENA_NEW(a, T)      ((T *)qs_arena_zalloc((a), sizeof(T)))
#define QS_ARENA_ARRAY(a, n, T) ((T *)qs_arena_array((a), (n), sizeof(T)))

#endif

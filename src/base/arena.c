#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

struct qs_arena_block {
    struct qs_arena_block *next;
    size_t used, cap; /* of data */
    max_align_t data[];
};

enum { FIRST = 4096, LARGEST = 1 << 20, ALIGN = _Alignof(max_align_t) };

static struct qs_arena_block *add_block(qs_arena *a, size_t need) {
    size_t cap = a->next_size ? a->next_size : FIRST;
    bool own = need > cap / 2; /* a large piece gets a block of its own, and the open one stays open */
    if (own) cap = need;
    struct qs_arena_block *b = malloc(sizeof *b + cap);
    if (!b) return NULL;
    *b = (struct qs_arena_block){.cap = cap};
    if (own && a->head) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    if (!own && cap < LARGEST) a->next_size = cap * 2;
    return b;
}

void *qs_arena_alloc(qs_arena *a, size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (size == 0) size = ALIGN;
    struct qs_arena_block *b = a->head;
    if (!b || b->cap - b->used < size) {
        b = add_block(a, size);
        if (!b) return NULL;
    }
    void *p = (char *)b->data + b->used;
    b->used += size;
    a->bytes += size;
    return p;
}

void *qs_arena_zalloc(qs_arena *a, size_t size) {
    void *p = qs_arena_alloc(a, size);
    return p ? memset(p, 0, size) : NULL;
}

void *qs_arena_array(qs_arena *a, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) return NULL;
    return qs_arena_alloc(a, n * size);
}

qs_str qs_arena_str(qs_arena *a, qs_str s) {
    char *p = qs_arena_alloc(a, s.n + 1);
    if (!p) return (qs_str){NULL, 0};
    if (s.n) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return (qs_str){p, s.n};
}

void qs_arena_free(qs_arena *a) {
    for (struct qs_arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (qs_arena){0};
}

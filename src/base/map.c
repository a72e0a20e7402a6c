#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

static uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t r = (__uint128_t)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static uint64_t load(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    if (n) memcpy(&v, p, n); /* p may be NULL then */
    return v;
}

uint64_t qs_hash(const void *data, size_t n, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = seed ^ mix(n ^ 0x9e3779b97f4a7c15u, 0xa0761d6478bd642fu);
    for (; n >= 16; p += 16, n -= 16) h = mix(load(p, 8) ^ 0xe7037ed1a0b428dbu ^ seed, load(p + 8, 8) ^ h);
    uint64_t lo = load(p, n < 8 ? n : 8), hi = n > 8 ? load(p + 8, n - 8) : 0;
    return mix(lo ^ 0x8ebc6af09c88c6e3u ^ seed, mix(hi ^ 0x589965cc75374cc3u, h));
}

static qs_map_slot *find(const qs_map *m, qs_str key, uint32_t hash) {
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        qs_map_slot *s = &m->slots[i];
        if (s->val == QS_MAP_NONE) return s;
        if (s->hash == hash && s->n == key.n && (key.n == 0 || memcmp(s->p, key.p, key.n) == 0)) return s;
    }
}

static bool rehash(qs_map *m, size_t cap) {
    if (cap > SIZE_MAX / sizeof(qs_map_slot)) return false;
    qs_map_slot *slots = malloc(cap * sizeof *slots);
    if (!slots) return false;
    if (!m->cap && getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) != (ssize_t)sizeof m->seed)
        m->seed = (uint64_t)(uintptr_t)slots; /* weaker, but never a failure */
    memset(slots, 0xff, cap * sizeof *slots);
    qs_map old = *m;
    m->slots = slots;
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        const qs_map_slot *s = &old.slots[i];
        if (s->val != QS_MAP_NONE) *find(m, (qs_str){s->p, s->n}, s->hash) = *s;
    }
    free(old.slots);
    return true;
}

static uint32_t hash_of(const qs_map *m, qs_str key) {
    return (uint32_t)qs_hash(key.p, key.n, m->seed);
}

uint32_t qs_map_get(const qs_map *m, qs_str key) {
    if (m->n == 0) return QS_MAP_NONE;
    return find(m, key, hash_of(m, key))->val;
}

void qs_map_expect(const qs_map *m, qs_str key) {
    if (m->cap) __builtin_prefetch(&m->slots[hash_of(m, key) & (m->cap - 1)]);
}

bool qs_map_reserve(qs_map *m, size_t n) {
    size_t cap = m->cap ? m->cap : 16;
    while (cap / 3 * 2 < n) {
        if (cap > SIZE_MAX / 4) return false;
        cap *= 2;
    }
    return cap == m->cap || rehash(m, cap);
}

/* The slot for key, made if absent; NULL when memory is out. */
static qs_map_slot *slot_for(qs_map *m, qs_str key) {
    if (key.n > UINT32_MAX || !qs_map_reserve(m, m->n + 1)) return NULL;
    uint32_t h = hash_of(m, key);
    qs_map_slot *s = find(m, key, h);
    if (s->val == QS_MAP_NONE) *s = (qs_map_slot){key.p, (uint32_t)key.n, h, QS_MAP_NONE};
    return s;
}

bool qs_map_put(qs_map *m, qs_str key, uint32_t val) {
    qs_map_slot *s = slot_for(m, key);
    if (!s) return false;
    if (s->val == QS_MAP_NONE) m->n++;
    s->val = val;
    return true;
}

uint32_t qs_map_add(qs_map *m, qs_str key, uint32_t val) {
    qs_map_slot *s = slot_for(m, key);
    if (!s) return QS_MAP_NONE;
    if (s->val == QS_MAP_NONE) {
        m->n++;
        s->val = val;
    }
    return s->val;
}

bool qs_map_copy(qs_map *to, const qs_map *from) {
    qs_map_slot *slots = from->cap ? malloc(from->cap * sizeof *slots) : NULL;
    if (from->cap && !slots) return false;
    if (slots) memcpy(slots, from->slots, from->cap * sizeof *slots);
    *to = *from;
    to->slots = slots;
    return true;
}

void qs_map_free(qs_map *m) {
    free(m->slots);
    *m = (qs_map){0};
}

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

/* The slot of the key, or the free one where it belongs. */
static qs_map_slot *find(const qs_map *m, qs_str key, uint32_t hash) {
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        qs_map_slot *s = &m->slots[i];
        if (s->at == 0) return s;
        if (s->hash != hash) continue;
        const qs_map_key *k = &m->keys.v[s->at - 1];
        if (k->n == key.n && (key.n == 0 || memcmp(k->p, key.p, key.n) == 0)) return s;
    }
}

static bool rehash(qs_map *m, size_t cap) {
    if (cap > SIZE_MAX / sizeof(qs_map_slot)) return false;
    qs_map_slot *slots = calloc(cap, sizeof *slots);
    if (!slots) return false;
    if (!m->cap && getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) != (ssize_t)sizeof m->seed)
        m->seed = (uint64_t)(uintptr_t)slots; /* weaker, but never a failure */
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].at == 0) continue;
        size_t to = m->slots[i].hash & (cap - 1);
        while (slots[to].at) to = (to + 1) & (cap - 1);
        slots[to] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

static uint32_t hash_of(const qs_map *m, qs_str key) {
    return (uint32_t)qs_hash(key.p, key.n, m->seed);
}

uint32_t qs_map_get(const qs_map *m, qs_str key) {
    if (m->keys.n == 0) return QS_MAP_NONE;
    uint32_t at = find(m, key, hash_of(m, key))->at;
    return at ? m->keys.v[at - 1].val : QS_MAP_NONE;
}

uint32_t qs_map_expect(const qs_map *m, qs_str key) {
    uint32_t h = hash_of(m, key);
    if (m->cap) __builtin_prefetch(&m->slots[h & (m->cap - 1)]);
    return h;
}

bool qs_map_reserve(qs_map *m, size_t n) {
    size_t cap = m->cap ? m->cap : 16;
    while (cap / 3 * 2 < n) {
        if (cap > SIZE_MAX / 4) return false;
        cap *= 2;
    }
    return qs_reserve(&m->keys, n) && (cap == m->cap || rehash(m, cap));
}

static bool make_room(qs_map *m) {
    return m->keys.n < m->cap / 3 * 2 || qs_map_reserve(m, m->keys.n + 1);
}

/* The key with its value, made with QS_MAP_NONE if absent; NULL when memory is out. */
static qs_map_key *key_for(qs_map *m, qs_str key, uint32_t h) {
    if (key.n > UINT32_MAX || m->keys.n >= UINT32_MAX || !make_room(m)) return NULL;
    qs_map_slot *s = find(m, key, h);
    if (s->at) return &m->keys.v[s->at - 1];
    if (!qs_push(&m->keys, (qs_map_key){key.p, (uint32_t)key.n, QS_MAP_NONE})) return NULL;
    *s = (qs_map_slot){h, (uint32_t)m->keys.n};
    return &m->keys.v[m->keys.n - 1];
}

bool qs_map_put(qs_map *m, qs_str key, uint32_t val) {
    /* Made first: it is what sets the seed. */
    qs_map_key *k = make_room(m) ? key_for(m, key, hash_of(m, key)) : NULL;
    if (!k) return false;
    k->val = val;
    return true;
}

uint32_t qs_map_add(qs_map *m, qs_str key, uint32_t val) {
    return make_room(m) ? qs_map_add_expected(m, key, hash_of(m, key), val) : QS_MAP_NONE;
}

uint32_t qs_map_add_expected(qs_map *m, qs_str key, uint32_t hash, uint32_t val) {
    qs_map_key *k = key_for(m, key, hash);
    if (!k) return QS_MAP_NONE;
    if (k->val == QS_MAP_NONE) k->val = val;
    return k->val;
}

bool qs_map_copy(qs_map *to, const qs_map *from) {
    qs_map copy = {.cap = from->cap, .seed = from->seed};
    if (from->cap) {
        copy.slots = malloc(from->cap * sizeof *copy.slots);
        if (!copy.slots || !qs_reserve(&copy.keys, from->keys.n)) {
            free(copy.slots);
            return false;
        }
        memcpy(copy.slots, from->slots, from->cap * sizeof *copy.slots);
        if (from->keys.n) memcpy(copy.keys.v, from->keys.v, from->keys.n * sizeof *copy.keys.v);
        copy.keys.n = from->keys.n;
    }
    *to = copy;
    return true;
}

void qs_map_free(qs_map *m) {
    free(m->slots);
    qs_vec_free(&m->keys);
    *m = (qs_map){0};
}

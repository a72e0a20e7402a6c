/* Hash map from string to uint32. Keys are borrowed views: they must outlive the map. The hash is seeded per
 * map from the kernel's random source, because the keys come from files made to hurt. */
#ifndef QS_BASE_MAP_H
#define QS_BASE_MAP_H

#include "base/str.h"
#include "base/vec.h"

#include <stdint.h>

#define QS_MAP_NONE UINT32_MAX /* not a value that can be stored */

/* Slots are small, so that a table of a hundred thousand keys stays in the cache while it is filled. */
typedef struct qs_map_slot {
    uint32_t hash, at; /* index into keys + 1; 0: free */
} qs_map_slot;

typedef struct qs_map_key {
    const char *p;
    uint32_t n, val;
} qs_map_key;

typedef struct qs_map {
    qs_map_slot *slots;
    size_t cap; /* a power of two, or 0 */
    QS_VEC(qs_map_key) keys;
    uint64_t seed;
} qs_map; /* zero-initialise */

/* Value stored for key, or QS_MAP_NONE. */
uint32_t qs_map_get(const qs_map *m, qs_str key);
/* Store; an existing key's value is replaced. False when memory is out or the key is 4 GiB long. */
bool qs_map_put(qs_map *m, qs_str key, uint32_t val);
/* Store unless present. Returns the value now stored (the old one if it was there), QS_MAP_NONE on failure.
 */
uint32_t qs_map_add(qs_map *m, qs_str key, uint32_t val);
/* For a key that will be added soon to a map with room: brings its place into the cache meanwhile, and
 * returns what qs_map_add_expected takes as `hash`. */
uint32_t qs_map_expect(const qs_map *m, qs_str key);
uint32_t qs_map_add_expected(qs_map *m, qs_str key, uint32_t hash, uint32_t val);
/* Room for n keys without growing. */
bool qs_map_reserve(qs_map *m, size_t n);
/* Makes `to`, which is empty, an equal map over the same keys. */
bool qs_map_copy(qs_map *to, const qs_map *from);
void qs_map_free(qs_map *m);

uint64_t qs_hash(const void *p, size_t n, uint64_t seed);

#endif

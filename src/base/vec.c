#include "base/vec.h"

#include <stdint.h>
#include <stdlib.h>

bool qs_vec_reserve_(void **v, size_t *cap, size_t size, size_t need) {
    if (need <= *cap) return true;
    size_t grown = *cap ? *cap * 2 : 8;
    if (grown < need) grown = need;
    if (grown > SIZE_MAX / 2 / size) return false;
    void *p = realloc(*v, grown * size);
    if (!p) return false;
    *v = p;
    *cap = grown;
    return true;
}

#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

/* A sanitizer has a heap of its own, of which it would mark those gigabytes, at each start. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__ && !__has_feature(address_sanitizer)
#include <malloc.h>

/* The heap's address space is taken once, told about, and given back to the heap: nothing is touched, so it
 * costs no memory until it is used. */
static void use_large_pages(void) {
#ifdef MADV_HUGEPAGE
    const size_t page = (size_t)2 << 20, most = (size_t)4 << 30, least = (size_t)64 << 20;
    for (size_t n = most; n >= least; n /= 2) {
        char *p = malloc(n);
        if (!p) continue;
        size_t skip = page - (size_t)p % page;
        (void)madvise(p + skip, n - skip, MADV_HUGEPAGE);
        free(p);
        return;
    }
#endif
}

void qs_memory_keep(void) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    use_large_pages();
}
#else
void qs_memory_keep(void) {}
#endif

#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

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
#ifdef __GLIBC__
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    use_large_pages();
#endif
}

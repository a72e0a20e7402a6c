/* Bytes of a fuzzer as a file with a name. */
#ifndef QS_FUZZ_MEMORY_FILE_H
#define QS_FUZZ_MEMORY_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The descriptor (close it); path[40] names it. */
static inline int memory_file(const void *data, size_t size, char path[40]) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, 40, "/proc/self/fd/%d", fd);
    return fd;
}

#endif

/* Checkpoints from pickles in the printable opcodes of protocol 0 (and BINPERSID, EMPTY_DICT ... which are
 * printable too), so that a test reads as what it tests: hostile files are easiest made by hand. */
#ifndef TESTS_ASCII_CKPT_H
#define TESTS_ASCII_CKPT_H

#include "format/zip_write.h"
#include "model/checkpoint.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STORAGE(type, key, numel) "(Vstorage\nctorch\n" type "\nV" key "\nVcpu\nI" numel "\ntQ"
#define ODICT                     "ccollections\nOrderedDict\n)R"
/* sizes are tuples: "(I2\nI3\nt" */
#define TENSOR(storage, offset, size, stride)                                                                \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "I" offset "\n" size stride "I00\n" ODICT "tR"
/* One float32 of record "0". */
#define T1 TENSOR(STORAGE("FloatStorage", "0", "16"), "0", "(I1\nt", "(I1\nt")

typedef struct ascii_record {
    const char *name; /* "data/0" */
    const void *data;
    size_t n;
} ascii_record;

static inline bool ascii_source(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)((ascii_record *)ctx)->data + offset, n);
    return true;
}

/* An archive in memory; the path is good while the descriptor is open. */
static inline int ascii_write(const ascii_record *r, size_t n, char path[64]) {
    int fd = memfd_create("checkpoint", 0);
    qs_err e = QS_ERR_INIT;
    qs_zip_out *z;
    if (fd < 0 || !qs_zip_out_open(fd, QS_STR("archive"), &z, &e)) abort();
    for (size_t i = 0; i < n; i++)
        if (!qs_zip_out_add(z, qs_str_of(r[i].name), r[i].n, ascii_source, (void *)(uintptr_t)&r[i], &e))
            abort();
    if (!qs_zip_out_close(z, NULL, &e)) abort();
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* Opens the pickle with record data/0 (64 bytes, 0 .. 15 as float32) and whatever else is given. */
static inline bool ascii_open_with(const char *pickle, size_t n, const ascii_record *more, size_t more_n,
                                   const char *root, qs_checkpoint **out, qs_err *e) {
    static float values[16];
    for (int i = 0; i < 16; i++) values[i] = (float)i;
    ascii_record r[8] = {{"data.pkl", pickle, n}, {"version", "3\n", 2}, {"data/0", values, sizeof values}};
    for (size_t i = 0; i < more_n; i++) r[3 + i] = more[i];
    char path[64];
    int fd = ascii_write(r, 3 + more_n, path);
    qs_open_options opt = {.root = root, .limits = QS_LIMITS_DEFAULT};
    bool ok = qs_checkpoint_open(path, &opt, out, e);
    close(fd);
    return ok;
}

static inline bool ascii_open(const char *pickle, const char *root, qs_checkpoint **out, qs_err *e) {
    return ascii_open_with(pickle, strlen(pickle), NULL, 0, root, out, e);
}

#endif

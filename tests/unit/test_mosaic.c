/* A tensor cut into random boxes and put together again, against a plain walk over its elements. */
#include "format/mosaic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_TILES = 64, MAX_DIM = 4, MAX_BYTES = 4096 };

typedef struct cut {
    uint32_t ndim;
    int64_t dim[MAX_DIM];
    struct {
        int64_t offset[MAX_DIM], size[MAX_DIM], stride[MAX_DIM];
    } box[MAX_TILES];
    qs_tile tile[MAX_TILES];
    size_t n;
    uint32_t itemsize;
    unsigned char whole[MAX_BYTES], file[2 * MAX_BYTES];
    size_t bytes, file_bytes;
} cut;

static uint32_t seed = 20261127;

static uint32_t below(uint32_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static void split(cut *c) {
    c->n = 1;
    memset(c->box, 0, sizeof c->box);
    memcpy(c->box[0].size, c->dim, sizeof c->dim);
    for (uint32_t tries = below(30); tries && c->n < MAX_TILES; tries--) {
        size_t i = below((uint32_t)c->n);
        uint32_t d = below(c->ndim);
        if (c->box[i].size[d] < 2) continue;
        int64_t at = 1 + (int64_t)below((uint32_t)c->box[i].size[d] - 1);
        c->box[c->n] = c->box[i];
        c->box[c->n].offset[d] += at;
        c->box[c->n].size[d] -= at;
        c->box[i].size[d] = at;
        c->n++;
    }
}

/* Row-major, or column-major. */
static void set_strides(cut *c, size_t i) {
    bool columns = below(3) == 0;
    int64_t step = 1;
    for (uint32_t k = 0; k < c->ndim; k++) {
        uint32_t d = columns ? k : c->ndim - 1 - k;
        c->box[i].stride[d] = step;
        step *= c->box[i].size[d];
    }
}

static void write_box(cut *c, size_t i) {
    size_t volume = 1, base = c->file_bytes;
    for (uint32_t d = 0; d < c->ndim; d++) volume *= (size_t)c->box[i].size[d];
    for (size_t k = 0; k < volume; k++) {
        size_t rest = k, from = 0, to = 0, step = 1;
        for (uint32_t d = c->ndim; d-- > 0;) {
            size_t at = rest % (size_t)c->box[i].size[d];
            rest /= (size_t)c->box[i].size[d];
            from += (at + (size_t)c->box[i].offset[d]) * step;
            to += at * (size_t)c->box[i].stride[d];
            step *= (size_t)c->dim[d];
        }
        memcpy(c->file + base + to * c->itemsize, c->whole + from * c->itemsize, c->itemsize);
    }
    c->file_bytes += volume * c->itemsize + below(5);
}

static void make(cut *c) {
    c->ndim = 1 + below(MAX_DIM);
    c->itemsize = 1u << below(4);
    size_t volume = 1;
    memset(c->dim, 0, sizeof c->dim);
    for (uint32_t d = 0; d < c->ndim; d++) volume *= (size_t)(c->dim[d] = 1 + (int64_t)below(4));
    c->bytes = volume * c->itemsize;
    for (size_t i = 0; i < c->bytes; i++) c->whole[i] = (unsigned char)below(256);
    split(c);
    c->file_bytes = below(9);
    for (size_t i = 0; i < c->n; i++) {
        set_strides(c, i);
        c->tile[i] = (qs_tile){c->box[i].offset, c->box[i].size, c->box[i].stride, NULL, c->file_bytes};
        write_box(c, i);
    }
}

static qs_file *open_bytes(const void *p, size_t n, int *fd) {
    char path[40];
    qs_file *f = NULL;
    qs_err e = QS_ERR_INIT;
    *fd = memfd_create("mosaic", 0);
    assert_int_equal(write(*fd, p, n), n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", *fd);
    assert_true(qs_file_open(path, &f, &e));
    return f;
}

static void check_reads(const cut *c, const qs_mosaic *m) {
    unsigned char got[MAX_BYTES];
    qs_err e = QS_ERR_INIT;
    for (int k = 0; k < 20; k++) {
        size_t from = below((uint32_t)c->bytes + 1), n = below((uint32_t)(c->bytes - from) + 1);
        assert_true(qs_mosaic_read(m, from, got, n, &e));
        assert_memory_equal(got, c->whole + from, n);
    }
}

static void test_random(void **state) {
    (void)state;
    print_message("seed %u\n", seed);
    static cut c;
    for (int round = 0; round < 400; round++) {
        int fd;
        make(&c);
        c.file_bytes += 8;
        qs_file *f = open_bytes(c.file, c.file_bytes, &fd);
        for (size_t i = 0; i < c.n; i++) c.tile[i].file = f;
        qs_mosaic m = {c.ndim, c.dim, c.itemsize, c.tile, c.n};
        assert_true(qs_mosaic_is_whole(&m));
        check_reads(&c, &m);
        m.n--; /* a box is missing */
        assert_false(qs_mosaic_is_whole(&m));
        unsigned char got[MAX_BYTES];
        qs_err e = QS_ERR_INIT;
        assert_false(qs_mosaic_read(&m, 0, got, c.bytes, &e));
        qs_file_close(f);
        close(fd);
    }
}

static void test_overlap(void **state) {
    (void)state;
    int64_t dim[] = {4}, zero[] = {0}, one[] = {1}, two[] = {2};
    qs_tile t[] = {{zero, two, one, NULL, 0}, {one, two, one, NULL, 0}};
    qs_mosaic m = {1, dim, 1, t, 2};
    assert_false(qs_mosaic_is_whole(&m));
    t[1].offset = two;
    assert_true(qs_mosaic_is_whole(&m));
}

static void test_window(void **state) {
    (void)state;
    int fd;
    char got[8];
    qs_err e = QS_ERR_INIT;
    qs_file *f = open_bytes("0123456789", 10, &fd), *w = NULL, *inner = NULL;
    assert_true(qs_file_window(f, 3, 5, &w, &e));
    assert_int_equal(qs_file_size(w), 5);
    assert_true(qs_file_read(w, 1, got, 4, &e));
    assert_memory_equal(got, "4567", 4);
    assert_false(qs_file_read(w, 1, got, 5, &e)); /* what follows is another's */
    e = (qs_err)QS_ERR_INIT;
    assert_true(qs_file_window(w, 2, 2, &inner, &e));
    assert_true(qs_file_read(inner, 0, got, 2, &e));
    assert_memory_equal(got, "56", 2);
    qs_file_close(inner);
    assert_false(qs_file_window(w, 2, 4, &inner, &e));
    e = (qs_err)QS_ERR_INIT;
    assert_false(qs_file_window(f, UINT64_MAX, 2, &inner, &e));
    qs_file_close(w);
    assert_true(qs_file_read(f, 0, got, 1, &e)); /* the descriptor is still open */
    qs_file_close(f);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_overlap),
                                       cmocka_unit_test(test_window)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

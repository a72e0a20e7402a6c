/* What the writer makes is read by our reader and by libzip, is aligned, and is the same every time. */
#include "format/container.h"
#include "format/zip_write.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include <cmocka.h>

static qs_err err;

/* Content as a function of the offset: no memory, however long. */
static unsigned char byte_at(uint64_t seed, uint64_t i) {
    return (unsigned char)((i + seed) * 0x9e3779b1u >> 13);
}

static bool pattern(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    for (size_t i = 0; i < n; i++) ((unsigned char *)buf)[i] = byte_at((uintptr_t)ctx, offset + i);
    return true;
}

static bool text(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)ctx + offset, n);
    return true;
}

static bool zeros(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)ctx, (void)offset, (void)e;
    memset(buf, 0, n);
    return true;
}

static int scratch(char path[64]) {
    int fd = memfd_create("qatscope-test", 0);
    assert_true(fd >= 0);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static qs_zip_out *begin(int fd) {
    qs_zip_out *z = NULL;
    err = (qs_err)QS_ERR_INIT;
    assert_true(qs_zip_out_open(fd, QS_STR("net"), &z, &err));
    assert_true(qs_zip_out_add(z, QS_STR("version"), 2, text, (void *)(uintptr_t) "3\n", &err));
    assert_true(qs_zip_out_add(z, QS_STR("byteorder"), 6, text, (void *)(uintptr_t) "little", &err));
    return z;
}

static void end(qs_zip_out *z) {
    assert_true(qs_zip_out_add(z, QS_STR("data.pkl"), 2, text, (void *)(uintptr_t) "N.", &err));
    if (!qs_zip_out_close(z, NULL, &err)) fail_msg("%s", err.msg);
}

static qs_container *reopen(const char *path) {
    qs_limits lim = QS_LIMITS_DEFAULT;
    qs_file *f = NULL;
    qs_container *c = NULL;
    if (!qs_file_open(path, &f, &err) || !qs_container_open(f, &lim, &c, &err)) fail_msg("%s", err.msg);
    return c;
}

/* Offset of a record's content, from its local header, found by a search for the name. */
static uint64_t data_offset(const char *file, size_t n, const char *name) {
    char *at = memmem(file, n, name, strlen(name));
    assert_non_null(at);
    const unsigned char *h = (const unsigned char *)at - 30;
    assert_memory_equal(h, "PK\3\4", 4);
    return (uint64_t)(at - file) + h[26] + (unsigned)(h[28] | h[29] << 8);
}

static void test_records_come_back(void **state) {
    (void)state;
    char path[64], name[32];
    int fd = scratch(path);
    qs_zip_out *z = begin(fd);
    static const uint64_t sizes[] = {0, 1, 63, 64, 65, 1 << 20, (4 << 20) - 100, (4 << 20) + 1, 9 << 20};
    enum { N = sizeof sizes / sizeof *sizes };
    for (uintptr_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "data/%d", (int)i);
        assert_true(qs_zip_out_add(z, qs_str_of(name), sizes[i], pattern, (void *)i, &err));
    }
    end(z);
    qs_container *c = reopen(path);
    assert_int_equal(qs_container_count(c), N + 3);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    for (uintptr_t i = 0; i < N; i++) {
        char *p;
        size_t n;
        snprintf(name, sizeof name, "data/%d", (int)i);
        assert_true(qs_record_slurp(c, qs_container_find(c, qs_str_of(name)), &QS_LIMITS_MOST,
                                    QS_LIMIT_PICKLE_BYTES, &p, &n, &err));
        assert_int_equal(n, sizes[i]);
        for (size_t k = 0; k < n; k++)
            if ((unsigned char)p[k] != byte_at(i, k)) fail_msg("record %s differs at %zu", name, k);
        free(p);
        snprintf(name, sizeof name, "net/data/%d", (int)i);
        assert_int_equal(data_offset(file, (size_t)st.st_size, name) % 64, 0);
    }
    munmap(file, (size_t)st.st_size);
    qs_container_close(c);
    /* libzip computes every CRC while it reads. */
    zip_t *zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, NULL);
    assert_non_null(zip);
    char *buf = malloc(10 << 20);
    for (int i = 0; i < zip_get_num_entries(zip, 0); i++) {
        zip_stat_t s;
        assert_int_equal(zip_stat_index(zip, (zip_uint64_t)i, 0, &s), 0);
        zip_file_t *f = zip_fopen_index(zip, (zip_uint64_t)i, 0);
        assert_int_equal(zip_fread(f, buf, 10 << 20), s.size);
        assert_int_equal(zip_fread(f, buf, 1), 0);
        assert_int_equal(zip_fclose(f), 0);
    }
    free(buf);
    zip_close(zip);
    close(fd);
}

static void test_two_saves_are_the_same_bytes(void **state) {
    (void)state;
    char *got[2], path[64];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        int fd = scratch(path);
        qs_zip_out *z = begin(fd);
        assert_true(qs_zip_out_add(z, QS_STR("data/0"), 1000, pattern, NULL, &err));
        end(z);
        assert_true(qs_file_slurp(path, 1 << 20, &got[i], &n[i], &err));
        close(fd);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(got[0], got[1], n[0]);
    free(got[0]);
    free(got[1]);
}

/* 70,000 entries need the zip64 end record; every one is found again. */
static void test_many_entries(void **state) {
    (void)state;
    char path[64], name[32];
    int fd = scratch(path);
    qs_zip_out *z = begin(fd);
    for (uintptr_t i = 0; i < 70000; i++) {
        snprintf(name, sizeof name, "data/%d", (int)i);
        assert_true(qs_zip_out_add(z, qs_str_of(name), 3, pattern, (void *)i, &err));
    }
    end(z);
    qs_container *c = reopen(path);
    assert_int_equal(qs_container_count(c), 70003);
    unsigned char b[3];
    assert_true(qs_record_read(c, qs_container_find(c, QS_STR("data/65536")), 0, b, 3, &err));
    assert_int_equal(b[2], byte_at(65536, 2));
    qs_container_close(c);
    zip_t *zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, NULL);
    assert_non_null(zip);
    assert_int_equal(zip_get_num_entries(zip, 0), 70003);
    zip_close(zip);
    close(fd);
}

static bool stop_late(void *ctx, uint64_t done, uint64_t total) {
    (void)total;
    *(int *)ctx += 1;
    return done < (3 << 20);
}

static void test_progress_can_cancel(void **state) {
    (void)state;
    char path[64];
    int fd = scratch(path), calls = 0;
    qs_zip_out *z = begin(fd);
    assert_true(qs_zip_out_add(z, QS_STR("data/0"), 64 << 20, zeros, NULL, &err));
    assert_false(qs_zip_out_close(z, &(qs_progress){stop_late, &calls}, &err));
    assert_int_equal(err.code, QS_E_CANCELLED);
    assert_in_range(calls, 3, 20);
    close(fd);
}

static void test_refusals(void **state) {
    (void)state;
    char path[64];
    int fd = scratch(path);
    qs_zip_out *z = begin(fd);
    assert_false(qs_zip_out_add(z, QS_STR("version"), 1, zeros, NULL, &err));
    assert_int_equal(err.code, QS_E_REFUSED);
    qs_zip_out_abandon(z);
    close(fd);
    z = begin(fd = open("/dev/full", O_WRONLY));
    assert_true(qs_zip_out_add(z, QS_STR("data/0"), 1000, zeros, NULL, &err));
    assert_false(qs_zip_out_close(z, NULL, &err));
    assert_int_equal(err.code, QS_E_IO);
    assert_non_null(strstr(err.msg, "No space left"));
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_back), cmocka_unit_test(test_two_saves_are_the_same_bytes),
        cmocka_unit_test(test_many_entries),      cmocka_unit_test(test_progress_can_cancel),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

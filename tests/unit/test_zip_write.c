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
#include <zlib.h>

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

/* ---- records that stand in another file ---- */

typedef enum tamper { NOTHING, PADDING, DATE, FLAGS, DESCRIPTOR, UNALIGNED, TAMPERS } tamper;
/* An archive as torch 1.13 lays it out (tests/oracle has torch's own): net/data/0 of 70000 bytes, an empty
 * net/data/1, net/data/2 of 3 MiB and net/data/3 of 5 bytes, without a directory. */
typedef struct torch_file {
    char path[64];
    int fd;
    qs_file *file;
    uint64_t at;
    qs_zip_origin origin[4];
} torch_file;

static const uint64_t torch_sizes[] = {70000, 0, (3 << 20) + 4, 5};
enum { TORCH_RECORDS = sizeof torch_sizes / sizeof *torch_sizes };

static void append(torch_file *t, const void *p, size_t n) {
    assert_int_equal(pwrite(t->fd, p, n, (off_t)t->at), n);
    t->at += n;
}

static void append_number(torch_file *t, uint64_t v, size_t width) {
    append(t, &v, width); /* the machine is little-endian, as torch's files are */
}

static void append_header(torch_file *t, const char *name, uint64_t size, tamper how) {
    char pad[128];
    uint64_t data = t->at + 30 + strlen(name) + 4;
    size_t n = (size_t)(-data % 64) + (how == UNALIGNED);
    memset(pad, how == PADDING ? 'X' : 'Z', sizeof pad);
    append_number(t, 0x04034b50, 4);
    append_number(t, 0, 2);
    append_number(t, (size ? 0x0808 : 0x0800) | (how == FLAGS ? 2 : 0), 2);
    append_number(t, 0, 2);
    append_number(t, how == DATE ? 0x21 << 16 : 0, 4);
    append_number(t, 0, 8);
    append_number(t, 0, 4);
    append_number(t, strlen(name), 2);
    append_number(t, n + 4, 2);
    append(t, name, strlen(name));
    append_number(t, 0x4246, 2);
    append_number(t, n, 2);
    append(t, pad, n);
}

static void append_record(torch_file *t, uintptr_t i, tamper how) {
    char name[32];
    uint64_t size = torch_sizes[i], header = t->at;
    unsigned char *p = malloc(size + 1);
    snprintf(name, sizeof name, "net/data/%d", (int)i);
    append_header(t, name, size, how);
    pattern((void *)i, 0, p, size, NULL);
    uint32_t crc = (uint32_t)crc32(0, p, (uInt)size);
    t->origin[i] = (qs_zip_origin){.header = header, .at = t->at, .crc = crc};
    append(t, p, size);
    free(p);
    if (!size) return;
    append_number(t, 0x08074b50, 4);
    append_number(t, crc ^ (how == DESCRIPTOR), 4);
    append_number(t, size, 4);
    append_number(t, size, 4);
}

/* Record 2 is tampered with. */
static void open_torch_file(torch_file *t, tamper how) {
    t->fd = scratch(t->path);
    t->at = 0;
    for (uintptr_t i = 0; i < TORCH_RECORDS; i++) append_record(t, i, i == 2 ? how : NOTHING);
    append(t, "PK", 2); /* what follows the last record is not the end of the file */
    err = (qs_err)QS_ERR_INIT;
    assert_true(qs_file_open(t->path, &t->file, &err));
}

static bool not_asked(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)ctx, (void)offset, (void)buf, (void)n, (void)e;
    fail_msg("a record with an origin was asked from its source");
    return false;
}

static int copy_torch_file(torch_file *t, const char *second, char path[64]) {
    char name[32];
    int fd = scratch(path);
    qs_zip_out *z = begin(fd);
    for (int i = 0; i < TORCH_RECORDS; i++) {
        snprintf(name, sizeof name, "data/%d", i);
        qs_str as = i == 1 ? qs_str_of(second) : qs_str_of(name);
        assert_true(qs_zip_out_add(z, as, torch_sizes[i], not_asked, NULL, &err));
        t->origin[i].file = t->file;
        qs_zip_out_origin(z, &t->origin[i]);
    }
    end(z);
    return fd;
}

/* Every record is what it was, and aligned. */
static void must_hold_the_records(const char *path, const char *second, uint64_t at[TORCH_RECORDS]) {
    qs_container *c = reopen(path); /* asks libzip too */
    char name[32], *p;
    size_t n;
    assert_int_equal(qs_container_count(c), TORCH_RECORDS + 3);
    for (uintptr_t i = 0; i < TORCH_RECORDS; i++) {
        snprintf(name, sizeof name, "data/%d", (int)i);
        uint32_t r = qs_container_find(c, i == 1 ? qs_str_of(second) : qs_str_of(name));
        assert_true(qs_record_offset(c, r, &at[i], &err));
        assert_int_equal(at[i] % 64, 0);
        assert_true(qs_record_slurp(c, r, &QS_LIMITS_MOST, QS_LIMIT_PICKLE_BYTES, &p, &n, &err));
        assert_int_equal(n, torch_sizes[i]);
        for (size_t k = 0; k < n; k++)
            if ((unsigned char)p[k] != byte_at(i, k)) fail_msg("record %s differs at %zu", name, k);
        assert_int_equal(crc32(0, (const Bytef *)p, (uInt)n), qs_container_record(c, r)->crc);
        free(p);
    }
    qs_container_close(c);
}

/* The flags in the header of the record whose content begins at byte `data`. */
static unsigned flags_at(int fd, uint64_t data, const char *name) {
    unsigned char h[5000]; /* padded to a page at most */
    size_t have = data < sizeof h ? (size_t)data : sizeof h, n = strlen(name);
    assert_int_equal(pread(fd, h, have, (off_t)(data - have)), have);
    for (size_t i = 30; i + n <= have; i++)
        if (memcmp(h + i, name, n) == 0 && memcmp(h + i - 30, "PK\3\4", 4) == 0)
            return h[i - 24] | (unsigned)h[i - 23] << 8;
    fail_msg("no header of %s before byte %d", name, (int)data);
    return 0;
}

static void test_a_span_is_copied_with_its_headers(void **state) {
    (void)state;
    torch_file t;
    char path[64];
    uint64_t at[TORCH_RECORDS];
    open_torch_file(&t, NOTHING);
    int fd = copy_torch_file(&t, "data/1", path);
    must_hold_the_records(path, "data/1", at);
    /* All moved by the same number of pages. */
    for (int i = 0; i < TORCH_RECORDS; i++) {
        assert_int_equal((at[i] - t.origin[i].at) % 4096, 0);
        assert_int_equal(at[i] - t.origin[i].at, at[0] - t.origin[0].at);
    }
    assert_int_equal(flags_at(fd, at[2], "net/data/2"), 0x0808);
    close(fd);
    qs_file_close(t.file);
    close(t.fd);
}

/* What is not as torch or we write it is not taken along; nor is a header with another name. */
static void test_odd_headers_are_written_anew(void **state) {
    (void)state;
    for (tamper how = PADDING; how <= TAMPERS; how++) {
        torch_file t;
        char path[64];
        uint64_t at[TORCH_RECORDS];
        const char *second = how == TAMPERS ? "data/other" : "data/1";
        open_torch_file(&t, how == TAMPERS ? NOTHING : how);
        int fd = copy_torch_file(&t, second, path);
        must_hold_the_records(path, second, at);
        assert_int_equal(flags_at(fd, at[2], "net/data/2"), how == TAMPERS ? 0x0808 : 0x0800);
        assert_int_equal(flags_at(fd, at[0], "net/data/0"), 0x0808);
        close(fd);
        qs_file_close(t.file);
        close(t.fd);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_back),
        cmocka_unit_test(test_two_saves_are_the_same_bytes),
        cmocka_unit_test(test_many_entries),
        cmocka_unit_test(test_progress_can_cancel),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_span_is_copied_with_its_headers),
        cmocka_unit_test(test_odd_headers_are_written_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

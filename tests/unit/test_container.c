/* The zip reader on archives put together byte by byte: what torch reads is opened, what two readers could
 * read differently is refused with its reason. */
#include "format/container.h"
#include "format/tar.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

/* One entry; what is 0 or NULL is as it should be. */
typedef struct ent {
    const char *name, *content;
    size_t content_n, name_n; /* if not the strlen */
    const char *local_name;
    uint16_t flags, local_flags, method;
    uint16_t disk;
    uint32_t size_lie, stored_lie, header_lie, attributes; /* of the directory */
    size_t gap;                                            /* bytes after the content that belong to nobody */
    bool deflate;
    uint32_t header; /* filled in */
} ent;

#define E(path, bytes, ...)                                                                                  \
    { .name = (path), .content = (bytes), ##__VA_ARGS__ }
#define NORMAL E("a/data.pkl", "}."), E("a/version", "3\n"), E("a/data/0", "0123456789ab")

static qs_err err;
static char file[1 << 20];
static size_t file_n;

static void put(uint64_t v, int width) {
    for (int i = 0; i < width; i++) file[file_n++] = (char)(v >> (8 * i));
}
static void put_bytes(const char *p, size_t n) {
    memcpy(file + file_n, p, n);
    file_n += n;
}

static size_t pack(const ent *x, char *out, size_t cap) {
    size_t n = x->content_n ? x->content_n : strlen(x->content);
    if (!x->deflate) {
        memcpy(out, x->content, n);
        return n;
    }
    z_stream z = {.next_in = (Bytef *)(uintptr_t)x->content,
                  .avail_in = (uInt)n,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)cap};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void put_head(const ent *x, bool central, size_t packed, const char *name, size_t name_n) {
    uint32_t size = (uint32_t)(x->content_n ? x->content_n : strlen(x->content));
    put(central ? 0x02014b50 : 0x04034b50, 4);
    if (central) put(20, 2);
    put(20, 2);
    put(central ? x->flags : x->local_flags ? x->local_flags : x->flags, 2);
    put(x->method ? x->method : x->deflate ? 8 : 0, 2);
    put(0, 4);
    put(crc32(0, (const Bytef *)x->content, size), 4);
    put(x->stored_lie && central ? x->stored_lie - 1 : packed, 4);
    put(x->size_lie && central ? x->size_lie : size, 4);
    put(name_n, 2);
    put(0, 2);
    if (central) {
        put(0, 2);
        put(x->disk, 2);
        put(0, 2);
        put(x->attributes, 4);
        put(x->header_lie ? x->header_lie : x->header, 4);
    }
    put_bytes(name, name_n);
}

static void put_directory(const ent *v, size_t n, const size_t *sizes, uint32_t base) {
    size_t directory = file_n;
    for (size_t i = 0; i < n; i++)
        put_head(&v[i], true, sizes[i], v[i].name, v[i].name_n ? v[i].name_n : strlen(v[i].name));
    size_t size = file_n - directory;
    put(0x06054b50, 4);
    put(0, 4);
    put(n, 2);
    put(n, 2);
    put(size, 4);
    put(directory - base, 4);
    put(0, 2);
}

/* Writes the last entry and a directory of all, the others being in the file. */
static void append_entry(ent *v, size_t n) {
    size_t sizes[16];
    for (size_t i = 0; i < n; i++) sizes[i] = strlen(v[i].content);
    v[n - 1].header = (uint32_t)file_n;
    put_head(&v[n - 1], false, sizes[n - 1], v[n - 1].name, strlen(v[n - 1].name));
    put_bytes(v[n - 1].content, sizes[n - 1]);
    put_directory(v, n, sizes, 0);
}

/* Appends an archive of n entries, whose directory has them in the order given. */
static void archive(ent *v, size_t n, uint32_t base) {
    static char packed[1 << 20];
    size_t sizes[16];
    for (size_t i = 0; i < n; i++) {
        const char *name = v[i].local_name ? v[i].local_name : v[i].name;
        size_t name_n = v[i].name_n ? v[i].name_n : strlen(name);
        sizes[i] = pack(&v[i], packed, sizeof packed);
        v[i].header = (uint32_t)file_n - base;
        put_head(&v[i], false, sizes[i], name, name_n);
        put_bytes(packed, sizes[i]);
        for (size_t k = 0; k < v[i].gap; k++) put('G', 1);
    }
    put_directory(v, n, sizes, base);
}

static qs_container *open_bytes(qs_limits lim) {
    char path[64];
    qs_file *f = NULL;
    qs_container *c = NULL;
    int fd = memfd_create("container", 0);
    assert_int_equal(write(fd, file, file_n), file_n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    err = (qs_err)QS_ERR_INIT;
    assert_true(qs_file_open(path, &f, &err));
    close(fd);
    return qs_container_open(f, &lim, &c, &err) ? c : NULL;
}

static qs_container *open_entries(ent *v, size_t n) {
    file_n = 0;
    archive(v, n, 0);
    return open_bytes(QS_LIMITS_DEFAULT);
}
#define COUNT(v) (sizeof(v) / sizeof *(v))

static void opens(ent *v, size_t n) {
    qs_container *c = open_entries(v, n);
    if (!c) fail_msg("%s", err.msg);
    for (uint32_t i = 0; i < n; i++) {
        char *p;
        size_t got, want = v[i].content_n ? v[i].content_n : strlen(v[i].content);
        if (!qs_record_slurp(c, i, &QS_LIMITS_MOST, QS_LIMIT_PICKLE_BYTES, &p, &got, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(got, want);
        assert_memory_equal(p, v[i].content, got);
        free(p);
    }
    qs_container_close(c);
}

static void refuses_bytes(qs_code code, const char *why) {
    qs_container *c = open_bytes(QS_LIMITS_DEFAULT);
    if (c) fail_msg("should have been refused: %s", why);
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, why)) fail_msg("'%s' does not say '%s'", err.msg, why);
}

static void refuses(ent *v, size_t n, qs_code code, const char *why) {
    file_n = 0;
    archive(v, n, 0);
    refuses_bytes(code, why);
}
#define OPENS(...)                                                                                           \
    do {                                                                                                     \
        ent v[] = {__VA_ARGS__};                                                                             \
        opens(v, COUNT(v));                                                                                  \
    } while (0)
#define REFUSES(code, why, ...)                                                                              \
    do {                                                                                                     \
        ent v[] = {__VA_ARGS__};                                                                             \
        refuses(v, COUNT(v), code, why);                                                                     \
    } while (0)

static void test_what_torch_reads_is_opened(void **state) {
    (void)state;
    OPENS(NORMAL);
    OPENS(E("x/version", "10"), E("x/y/z", ""), E("x/data.pkl", "N.")); /* any order, any extra record */
    OPENS(E("a/data.pkl", "}.", .deflate = true), E("a/version", "3\n", .deflate = true),
          E("a/e", "", .deflate = true));
    OPENS(E("a/data.pkl", "}."), E("a/.data/version", "1"));
    OPENS(NORMAL, E("a/byteorder", "little"), E("a/data.pkl2", "", .gap = 24));
    OPENS(E("a/", ""), NORMAL); /* zip -r writes folders too */
    OPENS(NORMAL, E("a/README", ""), E("a/data/A", ""));
    ent v[] = {NORMAL, E("a/byteorder", "big")};
    qs_container *c = open_entries(v, COUNT(v));
    assert_true(qs_container_big_endian(c));
    assert_true(qs_str_is(qs_container_prefix(c), "a"));
    assert_int_equal(qs_container_find(c, QS_STR("data/0")), 2);
    assert_int_equal(qs_container_find(c, QS_STR("a/data/0")), UINT32_MAX);
    assert_int_equal(qs_container_find_data(c, QS_STR("0")), 2);
    assert_int_equal(qs_container_find_data(c, QS_STR("00")), UINT32_MAX);
    assert_int_equal(qs_container_find_data(c, QS_STR("")), UINT32_MAX);
    assert_int_equal(qs_container_kind(c), QS_FILE_TORCH_ZIP);
    char b[4];
    assert_true(qs_record_read(c, 2, 9, b, 3, &err));
    assert_memory_equal(b, "9ab", 3);
    assert_false(qs_record_read(c, 2, 10, b, 3, &err));
    assert_false(qs_record_read(c, 2, UINT64_MAX, b, 3, &err));
    qs_container_close(c);
    ent w[] = {NORMAL, E("a/constants.pkl", "N.")};
    c = open_entries(w, COUNT(w));
    assert_int_equal(qs_container_kind(c), QS_FILE_TORCHSCRIPT);
    qs_container_close(c);
}

static void test_names(void **state) {
    (void)state;
    char longest[600] = "a/";
    memset(longest + 2, 'x', 590);
    REFUSES(QS_E_INPUT, "two records named data.pkl", NORMAL, E("a/data.pkl", "]."));
    REFUSES(QS_E_INPUT, "two records named", NORMAL, E("a/DATA.pkl", "]."));
    OPENS(NORMAL, E("a/code/x.py", ""), E("a/code/X.py", ""));
    REFUSES(QS_E_INPUT, "NUL", NORMAL, E("a/x\0y", "", .name_n = 5));
    REFUSES(QS_E_INPUT, "no name", NORMAL, E("", ""));
    REFUSES(QS_E_LIMIT, "511", NORMAL, E(longest, ""));
    REFUSES(QS_E_INPUT, "outside of the folder a/", NORMAL, E("b/x", ""));
    REFUSES(QS_E_INPUT, "outside of the folder a/", NORMAL, E("ab/x", ""));
    REFUSES(QS_E_INPUT, "in no folder", E("data.pkl", "}."), E("version", "3"));
    REFUSES(QS_E_INPUT, "broken or forged", NORMAL, E("a/x", "", .local_name = "a/y"));
    REFUSES(QS_E_INPUT, "without a data.pkl", E("a/x.npy", ""), E("a/version", "3"));
}

static void test_versions_as_torch_takes_them(void **state) {
    (void)state;
    REFUSES(QS_E_INPUT, "DATA.pkl is data.pkl to torch", E("a/DATA.pkl", "}."), E("a/version", "3"));
    REFUSES(QS_E_INPUT, "minds no capitals", E("a/data.pkl", "}."), E("a/Version", "3"));
    REFUSES(QS_E_INPUT, "Data/0 is data/0 to torch", E("a/data.pkl", "}."), E("a/version", "3"),
            E("a/Data/0", "3"));
    REFUSES(QS_E_INPUT, "no record named version", E("a/data.pkl", "}."));
    REFUSES(QS_E_INPUT, "version '0'", E("a/data.pkl", "}."), E("a/version", "0"));
    REFUSES(QS_E_INPUT, "version '11'", E("a/data.pkl", "}."), E("a/version", "11"));
    REFUSES(QS_E_INPUT, "version 'xx'", E("a/data.pkl", "}."), E("a/version", "xx"));
    REFUSES(QS_E_INPUT, "version '-1'", E("a/data.pkl", "}."), E("a/version", "-1"));
    REFUSES(QS_E_INPUT, "byteorder", NORMAL, E("a/byteorder", "middle"));
}

static void test_forgeries(void **state) {
    (void)state;
    REFUSES(QS_E_INPUT, "encrypted", NORMAL, E("a/x", "", .flags = 1));
    REFUSES(QS_E_INPUT, "encrypted", NORMAL, E("a/x", "", .flags = 1 << 6));
    REFUSES(QS_E_INPUT, "as a patch", NORMAL, E("a/x", "", .flags = 1 << 5));
    /* miniz refuses these, and of folders extracts nothing, without a word */
    REFUSES(QS_E_INPUT, "another disk", NORMAL, E("a/x", "", .disk = 1));
    REFUSES(QS_E_INPUT, "another disk", NORMAL, E("a/x", "", .disk = 0xffff));
    REFUSES(QS_E_INPUT, "no bytes", NORMAL, E("a/x", "abc", .deflate = true, .stored_lie = 1));
    REFUSES(QS_E_INPUT, "marked as a folder", NORMAL, E("a/x", "abc", .attributes = 0x10));
    REFUSES(QS_E_INPUT, "marked as a folder", NORMAL, E("a/x/", "abc"));
    OPENS(NORMAL, E("a/x", "", .attributes = 0x10), E("a/y", "abc", .attributes = 0x81a40000 | 0x20));
    REFUSES(QS_E_INPUT, "compressed by a method", NORMAL, E("a/x", "", .method = 12));
    REFUSES(QS_E_INPUT, "two sizes", NORMAL, E("a/x", "abc", .size_lie = 2));
    REFUSES(QS_E_INPUT, "overlaps", NORMAL, E("a/x", "abc", .header_lie = 10));
    REFUSES(QS_E_INPUT, "overlaps", NORMAL, E("a/x", "abc", .header_lie = 1000000));
    REFUSES(QS_E_INPUT, "broken or forged", NORMAL, E("a/x", "", .gap = 3000));
    REFUSES(QS_E_INPUT, "does not agree", NORMAL, E("a/x", "", .local_flags = 1));
    REFUSES(QS_E_INPUT, "belong to no entry", NORMAL, E("a/x", "", .gap = 25));
}

static void test_two_archives_in_one_file(void **state) {
    (void)state;
    ent v[] = {NORMAL}, w[] = {NORMAL};
    w[0].content = "].";
    file_n = 0;
    archive(v, COUNT(v), 0);
    archive(w, COUNT(w), 0); /* its offsets count from the file's beginning */
    refuses_bytes(QS_E_INPUT, "not at the beginning");
    file_n = 0;
    archive(v, COUNT(v), 0);
    archive(w, COUNT(w), (uint32_t)file_n); /* from its own */
    refuses_bytes(QS_E_INPUT, "appended");
    file_n = 0;
    archive(v, COUNT(v), 0);
    put_bytes("xyz", 3); /* as torch does, see tests/oracle/test_tail.py */
    qs_container *c = open_bytes(QS_LIMITS_DEFAULT);
    assert_non_null(c);
    assert_int_equal(qs_container_trailing(c), 3);
    qs_container_close(c);
    put_bytes("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22); /* the end of an archive of nothing */
    refuses_bytes(QS_E_INPUT, "appended");
    file_n = 0;
    archive(v, COUNT(v), 0);
    file[file_n - 2] = 1; /* a comment of one byte, which is not there */
    refuses_bytes(QS_E_INPUT, "cut short");
    file_n = 0;
    put_bytes("#!/bin/sh\n", 10);
    archive(v, COUNT(v), 0);
    refuses_bytes(QS_E_INPUT, "not at the beginning");
    /* An end record inside the comment of another. */
    file_n = 0;
    archive(v, COUNT(v), 0);
    size_t end = file_n - 22;
    file[file_n - 2] = 22;
    put_bytes(file + end, 20);
    put(0, 2);
    refuses_bytes(QS_E_INPUT, "appended");
    /* A new entry, directory and end record behind the old ones, with the old entries in it: between them are
     * bytes of nobody, which another reader would take for the whole truth. */
    file_n = 0;
    archive(v, COUNT(v), 0);
    ent x[] = {NORMAL, E("a/x", "N.")};
    for (size_t i = 0; i < COUNT(v); i++) x[i].header = v[i].header;
    append_entry(x, COUNT(x));
    refuses_bytes(QS_E_INPUT, "belong to no entry");
}

static void test_every_cut_is_an_error(void **state) {
    (void)state;
    ent v[] = {NORMAL};
    file_n = 0;
    archive(v, COUNT(v), 0);
    size_t whole = file_n;
    for (file_n = 1; file_n < whole; file_n++) {
        qs_container *c = open_bytes(QS_LIMITS_DEFAULT);
        if (c) fail_msg("%zu of %zu bytes were opened", file_n, whole);
        assert_int_equal(err.code, QS_E_INPUT);
    }
}

static void test_limits(void **state) {
    (void)state;
    ent v[] = {NORMAL};
    file_n = 0;
    archive(v, COUNT(v), 0);
    qs_limits lim = QS_LIMITS_DEFAULT;
    lim.zip_entries = 2;
    assert_null(open_bytes(lim));
    assert_int_equal(err.code, QS_E_LIMIT);
    lim = QS_LIMITS_DEFAULT;
    lim.zip_directory_bytes = 20;
    assert_null(open_bytes(lim));
    assert_int_equal(err.code, QS_E_LIMIT);
}

/* A megabyte of zeros in a thousand bytes is fine; a size that the bytes cannot make is not; nor is
 * data.pkl beyond its limit, whatever the archive says. */
static void test_inflating_is_bounded(void **state) {
    (void)state;
    static char zeros[1 << 20];
    OPENS(E("a/data.pkl", zeros, .content_n = sizeof zeros, .deflate = true), E("a/version", "3"));
    ent v[] = {E("a/data.pkl", zeros, .content_n = sizeof zeros, .deflate = true), E("a/version", "3")};
    file_n = 0;
    archive(v, COUNT(v), 0);
    qs_limits lim = QS_LIMITS_DEFAULT;
    lim.pickle_bytes = 1000;
    qs_container *c = open_bytes(lim);
    char b[1];
    assert_non_null(c);
    assert_false(qs_record_read(c, 0, 0, b, 1, &err));
    assert_int_equal(err.code, QS_E_LIMIT);
    qs_container_close(c);
    static const uint32_t lies[] = {(1 << 20) - 1, (1 << 20) + 1, 1u << 31};
    for (size_t i = 0; i < COUNT(lies); i++) {
        v[0].size_lie = lies[i];
        c = open_entries(v, COUNT(v));
        err = (qs_err)QS_ERR_INIT;
        assert_true(!c || !qs_record_read(c, 0, 0, b, 1, &err));
        qs_container_close(c);
    }
}

static void sniffs(const char *bytes, size_t n, qs_file_kind kind, const char *says) {
    char path[64];
    qs_file *f = NULL;
    int fd = memfd_create("sniff", 0);
    assert_int_equal(write(fd, bytes, n), n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    err = (qs_err)QS_ERR_INIT;
    assert_true(qs_file_open(path, &f, &err));
    close(fd);
    assert_int_equal(qs_sniff(f), kind);
    assert_false(qs_sniff_refuse(f, kind, &err));
    if (!strstr(err.msg, says)) fail_msg("'%s' does not say '%s'", err.msg, says);
    assert_int_equal(qs_err_exit_code(&err), 3);
    qs_file_close(f);
}
#define SNIFFS(lit, kind, says) sniffs(lit, sizeof(lit) - 1, kind, says)

static void test_other_files_are_told_apart(void **state) {
    (void)state;
    char tar[512] = "f", zeros[64] = {0};
    memcpy(tar + 257, "ustar", 5);
    SNIFFS("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 6549796\n", QS_FILE_LFS_POINTER,
           "6549796");
    SNIFFS("\n<!DOCTYPE html><html>", QS_FILE_HTML, "HTML");
    SNIFFS("<HTML>", QS_FILE_HTML, "HTML");
    SNIFFS("PK\3\4............", QS_FILE_ZIP_TRUNCATED, "16 bytes");
    SNIFFS("\x1f\x8b\x08", QS_FILE_GZIP, "gunzip");
    SNIFFS("\x89HDF\r\n\x1a\n", QS_FILE_HDF5, "HDF5");
    SNIFFS("GGUF\3", QS_FILE_GGUF, "GGUF");
    SNIFFS("\x80\x02\x8a\x0al\xfc\x9c"
           "F\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
           QS_FILE_LEGACY, "open it by itself");
    SNIFFS("\x80\x04}.", QS_FILE_PICKLE, "bare pickle");
    SNIFFS("\x02\0\0\0\0\0\0\0{}", QS_FILE_SAFETENSORS, "cannot be a piece of this one");
    SNIFFS("{\"format\": 1}", QS_FILE_JSON, "-m");
    SNIFFS("[1]", QS_FILE_JSON, "JSON");
    SNIFFS("Traceback (most recent call last):", QS_FILE_TEXT, "--log");
    SNIFFS("\x7f"
           "ELF",
           QS_FILE_UNKNOWN, "a program");
    SNIFFS("\xfd"
           "7zXZ\0",
           QS_FILE_UNKNOWN, "unxz");
    SNIFFS("\x1c\0\0\0TFL3", QS_FILE_UNKNOWN, "TensorFlow Lite");
    SNIFFS("\x08\x07\x12\x07pytorch", QS_FILE_UNKNOWN, "ONNX");
    SNIFFS("\x01\x02\x03\x04", QS_FILE_UNKNOWN, "01 02 03 04");
    SNIFFS("x", QS_FILE_TEXT, "text");
    sniffs(tar, sizeof tar, QS_FILE_TAR, "tar");
    sniffs(zeros, sizeof zeros, QS_FILE_UNKNOWN, "zero bytes");
    ent v[] = {E("a/x.npy", "1")};
    file_n = 0;
    archive(v, 1, 0);
    sniffs(file, file_n, QS_FILE_ZIP_OTHER, "without a data.pkl");
    ent w[] = {NORMAL};
    file_n = 0;
    put_bytes("junk", 4);
    archive(w, COUNT(w), 0);
    sniffs(file, file_n, QS_FILE_UNKNOWN, "does not begin as one");
}

/* A header as the first tars wrote it; `sum` is added to the checksum, `size` written as it is. */
static bool reads_as_tar(const char *name, const char *size, int sum, char type, qs_tar_header *h) {
    static char block[QS_TAR_BLOCK];
    memset(block, 0, sizeof block);
    memcpy(block, name, strlen(name));
    if (size[0] == '\x80')
        memcpy(block + 124, size, 12);
    else
        memcpy(block + 124, size, strlen(size));
    memset(block + 148, ' ', 8);
    block[156] = type;
    for (size_t i = 0; i < sizeof block; i++) sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", (unsigned)sum);
    return qs_tar_read_header(block, h);
}

static void test_tar_headers(void **state) {
    (void)state;
    qs_tar_header h;
    assert_true(reads_as_tar("storages", "00000000017", 0, '0', &h));
    assert_true(qs_str_is(h.name, "storages"));
    assert_int_equal(h.size, 15);
    assert_true(reads_as_tar("\x80\x02", "  17 ", 0, 0, &h));
    assert_true(h.has_content);
    assert_int_equal(h.size, 15);
    assert_true(reads_as_tar("\x80\x02", "\x80\0\0\0\0\0\0\1\0\0\0\1", 0, 0, &h));
    assert_int_equal(h.size, (1ull << 32) + 1);
    assert_true(reads_as_tar("\x80\x02", "17", -256, 0, &h)); /* \x80 taken as -128 */
    assert_true(reads_as_tar("folder/", "17", 0, '5', &h));
    assert_false(h.has_content);
    assert_int_equal(h.size, 0);
    assert_false(reads_as_tar("storages", "17", 1, '0', &h));
    assert_false(reads_as_tar("storages", "19", 0, '0', &h));
    assert_false(reads_as_tar("storages", "\x80\1\0\0\0\0\0\1\0\0\0\1", 0, '0', &h));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tar_headers),
        cmocka_unit_test(test_what_torch_reads_is_opened),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_versions_as_torch_takes_them),
        cmocka_unit_test(test_forgeries),
        cmocka_unit_test(test_two_archives_in_one_file),
        cmocka_unit_test(test_every_cut_is_an_error),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_inflating_is_bounded),
        cmocka_unit_test(test_other_files_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every allocation fails once, in reading, emitting, opening and writing: the answer is an error, nothing
 * crashes and nothing leaks. Under ASan, which has a malloc of its own, this is skipped. */
#include "format/container.h"
#include "format/pickle.h"
#include "format/pickle_emit.h"
#include "format/zip_write.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
static long countdown = -1, alive;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static int fails(void) {
    if (countdown < 0 || countdown-- > 0) return 0;
    countdown = -1;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) {
    void *p = fails() ? NULL : __libc_malloc(n);
    alive += p != NULL;
    return p;
}

void *calloc(size_t n, size_t size) {
    void *p = fails() ? NULL : __libc_calloc(n, size);
    alive += p != NULL;
    return p;
}

void *realloc(void *old, size_t n) {
    void *p = fails() ? NULL : __libc_realloc(old, n);
    alive += p != NULL && old == NULL;
    return p;
}

void free(void *p) {
    alive -= p != NULL;
    __libc_free(p);
}

static const qs_limits lim = QS_LIMITS_DEFAULT;
static int fd;
static char path[64];

static bool to_nowhere(void *ctx, const void *p, size_t n, qs_err *e) {
    (void)ctx, (void)p, (void)n, (void)e;
    return true;
}

static const char sample[] =
    "\x80\x04}(X\1\0\0\0a(K\1K\2K\3K\4tr\xff\xff\xff\xffX\1\0\0\0b](K\1L12345678901234567890123L\n"
    "Va\\u00e9\nS'\\x41'\neK\0\x8c\1m\x8c\3A.B\x93)}X\1\0\0\0kNs\x92}X\1\0\0\0sK\1sb"
    "K\1c_codecs\nencode\nX\2\0\0\0\xc3\xbfX\6\0\0\0latin1\x86RK\2c__builtin__\nset\n](K\1K\2e\x85R"
    "K\3ccollections\nOrderedDict\n](](K\1K\2ee\x85RK\4U\1xQu.";

static bool pickle_job(qs_err *e) {
    qs_graph *g = NULL;
    if (!qs_pickle_read(sample, sizeof sample - 1, "data.pkl", &lim, &g, e)) return false;
    qs_emit *m = qs_emit_new(to_nowhere, NULL);
    bool ok = m || qs_nomem(e);
    ok = ok && qs_emit_begin(m, e) && qs_emit_str(m, QS_STR("x"), e) &&
         qs_emit_node(m, g, qs_graph_root(g), &lim, e) && qs_emit_end(m, e);
    qs_emit_free(m);
    qs_graph_free(g);
    return ok;
}

static bool text(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)ctx + offset, n);
    return true;
}

static bool write_job(qs_err *e) {
    qs_zip_out *z = NULL;
    if (!qs_zip_out_open(fd, QS_STR("Net"), &z, e)) return false;
    if (qs_zip_out_add(z, QS_STR("version"), 2, text, (void *)(uintptr_t) "3\n", e) &&
        qs_zip_out_add(z, QS_STR("data.pkl"), 2, text, (void *)(uintptr_t) "N.", e) &&
        qs_zip_out_add(z, QS_STR("data/A"), 2, text, (void *)(uintptr_t) "N.", e))
        return qs_zip_out_close(z, NULL, e);
    qs_zip_out_abandon(z);
    return false;
}

static bool open_job(qs_err *e) {
    qs_file *f = NULL;
    qs_container *c = NULL;
    char *p = NULL;
    size_t n;
    if (!qs_file_open(path, &f, e)) return false;
    qs_sniff(f);
    if (!qs_container_open(f, &lim, &c, e)) return false;
    bool ok = qs_record_slurp(c, 0, &QS_LIMITS_MOST, QS_LIMIT_PICKLE_BYTES, &p, &n, e);
    free(p);
    qs_container_close(c);
    return ok;
}

static void every_allocation_fails(bool (*job)(qs_err *e)) {
    qs_err e = QS_ERR_INIT;
    if (!job(&e)) fail_msg("%s", e.msg); /* what libraries set up once is set up now */
    long nth = 0;
    for (;; nth++) {
        long before = alive;
        e = (qs_err)QS_ERR_INIT;
        countdown = nth;
        bool ok = job(&e), reached = countdown < 0;
        countdown = -1;
        if (alive != before) fail_msg("allocation %ld: %ld blocks leaked", nth, alive - before);
        if (!reached) break;
        /* A library may do without; we say so. */
        if (!ok && e.code == QS_OK) fail_msg("allocation %ld failed without an error", nth);
        if (nth > 5000) fail_msg("no end");
    }
    assert_true(nth > 3);
}

static void test_pickle(void **state) {
    (void)state;
    every_allocation_fails(pickle_job);
}

static void test_write(void **state) {
    (void)state;
    every_allocation_fails(write_job);
}

static void test_open(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    if (!write_job(&e)) fail_msg("%s", e.msg);
    every_allocation_fails(open_job);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pickle), cmocka_unit_test(test_write),
                                       cmocka_unit_test(test_open)};
    fd = memfd_create("oom", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
    puts("skipped: the sanitizer has a malloc of its own");
    return 0;
}
#endif

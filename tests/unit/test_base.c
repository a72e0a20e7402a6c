#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"
#include "base/path_names.h"
#include "base/reader.h"
#include "base/tempfile.h"
#include "base/vec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_printable_escapes_what_moves_the_cursor(void **state) {
    (void)state;
    char out[64];
    qs_str_printable(QS_STR("a\x1b[2Jb\n\x7f\xc2\x9b"), out, sizeof out);
    assert_string_equal(out, "a\\x1b[2Jb\\x0a\\x7f\\xc2\\x9b");
    qs_str_printable(QS_STR("caf\xc3\xa9 \xe2\x80\xae!"), out, sizeof out); /* U+202E reorders text */
    assert_string_equal(out, "caf\xc3\xa9 \\u202e!");
    qs_str_printable(QS_STR("\xff\xc0\x80"), out, sizeof out);
    assert_string_equal(out, "\\xff\\xc0\\x80");
    assert_int_equal(qs_str_printable(QS_STR("ab\xc3\xa9"), out, 4), 2); /* never half a character */
    assert_string_equal(out, "ab");
}

static void test_natural_order(void **state) {
    (void)state;
    assert_true(qs_str_cmp_natural(QS_STR("layer.2.w"), QS_STR("layer.10.w")) < 0);
    assert_true(qs_str_cmp_natural(QS_STR("layer.10"), QS_STR("layer.9")) > 0);
    assert_true(qs_str_cmp_natural(QS_STR("a"), QS_STR("a.b")) < 0);
    assert_int_equal(qs_str_cmp_natural(QS_STR("x12"), QS_STR("x12")), 0);
    assert_true(qs_str_cmp_natural(QS_STR("x01"), QS_STR("x1")) != 0);
}

static void test_map_keeps_every_key(void **state) {
    (void)state;
    qs_map m = {0};
    qs_arena a = {0};
    enum { N = 20000 };
    for (uint32_t i = 0; i < N; i++) {
        char key[32];
        snprintf(key, sizeof key, "key.%u", i);
        assert_true(qs_map_put(&m, qs_arena_str(&a, qs_str_of(key)), i));
    }
    assert_int_equal(m.keys.n, N);
    for (uint32_t i = 0; i < N; i++) {
        char key[32];
        snprintf(key, sizeof key, "key.%u", i);
        assert_int_equal(qs_map_get(&m, qs_str_of(key)), i);
    }
    assert_int_equal(qs_map_get(&m, QS_STR("key.-1")), QS_MAP_NONE);
    assert_int_equal(qs_map_add(&m, QS_STR("key.7"), 99), 7);
    qs_map_free(&m);
    qs_arena_free(&a);
}

/* Every second key is there already; both ways of adding must agree, and a copy with them. */
static void test_map_adds_what_is_expected(void **state) {
    (void)state;
    qs_map m = {0}, copy = {0};
    qs_arena a = {0};
    enum { N = 3000, AHEAD = 5 };
    uint32_t hash[AHEAD];
    qs_str key[N + AHEAD];
    for (uint32_t i = 0; i < N + AHEAD; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s.%u", i % 3 ? "layer" : "", i);
        key[i] = qs_arena_str(&a, qs_str_of(text));
    }
    for (uint32_t i = 0; i < N; i += 2) assert_int_equal(qs_map_add(&m, key[i], i), i);
    assert_true(qs_map_reserve(&m, N));
    for (uint32_t i = 0; i < AHEAD; i++) hash[i] = qs_map_expect(&m, key[i]);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t h = hash[i % AHEAD];
        hash[i % AHEAD] = qs_map_expect(&m, key[i + AHEAD]);
        assert_int_equal(qs_map_add_expected(&m, key[i], h, N + i), i % 2 ? N + i : i);
    }
    assert_int_equal(m.keys.n, N);
    assert_true(qs_map_copy(&copy, &m));
    assert_true(qs_map_put(&m, key[0], 77));
    for (uint32_t i = 0; i < N; i++) assert_int_equal(qs_map_get(&copy, key[i]), i % 2 ? N + i : i);
    assert_int_equal(qs_map_get(&m, key[0]), 77);
    assert_int_equal(qs_map_get(&copy, key[N]), QS_MAP_NONE);
    qs_map_free(&m);
    qs_map_free(&copy);
    qs_arena_free(&a);
}

static void test_first_error_wins(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_fail(&e, QS_E_INPUT, "first %d", 1);
    qs_fail(&e, QS_E_IO, "second");
    assert_int_equal(e.code, QS_E_INPUT);
    assert_string_equal(e.msg, "first 1");
    qs_err_prefix(&e, "file.pt");
    assert_string_equal(e.msg, "file.pt: first 1");
}

static void test_reader_is_sticky(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    const unsigned char bytes[] = {1, 2, 3, 4, 5};
    qs_reader r = {bytes, sizeof bytes, 0, "data.pkl", &e};
    assert_int_equal(qs_read_u32le(&r), 0x04030201);
    assert_int_equal(qs_read_u16le(&r), 0);
    assert_int_equal(e.offset, 4);
    assert_int_equal(qs_read_u8(&r), 0); /* one byte is left, but the error stays */
    assert_int_equal(e.code, QS_E_INPUT);
}

static void test_temp_publishes_or_leaves_nothing(void **state) {
    (void)state;
    char dir[] = "/tmp/qs-test-XXXXXX", target[64], backup[80];
    assert_non_null(mkdtemp(dir));
    snprintf(target, sizeof target, "%s/out.pt", dir);
    snprintf(backup, sizeof backup, "%s.bak", target);
    qs_err e = QS_ERR_INIT;
    qs_temp *t = NULL;
    assert_true(qs_temp_create(target, &t, &e));
    assert_int_equal(write(qs_temp_fd(t), "one", 3), 3);
    qs_temp_discard(t);
    assert_int_not_equal(access(target, F_OK), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(qs_temp_create(target, &t, &e));
        assert_int_equal(write(qs_temp_fd(t), i ? "new" : "old", 3), 3);
        assert_true(qs_temp_publish(t, i ? backup : NULL, &e));
    }
    char *got;
    size_t n;
    assert_true(qs_file_slurp(target, 100, &got, &n, &e));
    assert_string_equal(got, "new");
    free(got);
    assert_true(qs_file_slurp(backup, 100, &got, &n, &e));
    assert_string_equal(got, "old");
    free(got);
    unlink(target);
    unlink(backup);
    assert_int_equal(rmdir(dir), 0); /* fails if anything was left behind */
}

static void test_json_string(void **state) {
    (void)state;
    qs_buf b = {0};
    qs_buf_add_json(&b, QS_STR("a\"\\\n\xff\xc3\xa9"));
    assert_string_equal(b.p, "\"a\\\"\\\\\\u000a\\ufffd\xc3\xa9\"");
    qs_buf_free(&b);
}

static void touch(const char *dir, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static void expect_names(const char *dir, const char *begun, const char *const *want) {
    char start[128];
    qs_arena arena = {0};
    qs_names names = {0};
    snprintf(start, sizeof start, "%s/%s", dir, begun);
    assert_true(qs_path_names(qs_str_of(start), &arena, &names));
    size_t n = 0;
    for (; want[n]; n++) {
        assert_true(n < names.n);
        qs_str rest = qs_str_sub(names.v[n], strlen(dir) + 1, names.v[n].n);
        assert_true(qs_str_is(rest, want[n]));
    }
    assert_int_equal(names.n, n);
    qs_vec_free(&names);
    qs_arena_free(&arena);
}

static void test_path_names(void **state) {
    (void)state;
    char dir[] = "/tmp/qs-names-XXXXXX", sub[64], command[96], out[64];
    assert_non_null(mkdtemp(dir));
    snprintf(sub, sizeof sub, "%s/a folder", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    touch(dir, "a10.pt"), touch(dir, "a9.pt"), touch(dir, "b"), touch(dir, ".hidden");
    expect_names(dir, "", (const char *const[]){"a folder/", "a9.pt", "a10.pt", "b", NULL});
    expect_names(dir, "a", (const char *const[]){"a folder/", "a9.pt", "a10.pt", NULL});
    expect_names(dir, ".", (const char *const[]){".hidden", NULL});
    expect_names(dir, "c", (const char *const[]){NULL});
    expect_names(dir, "none/", (const char *const[]){NULL});
    setenv("HOME", "/home/x", 1);
    qs_path_expand(QS_STR("~/m.pt"), out, sizeof out);
    assert_string_equal(out, "/home/x/m.pt");
    qs_path_expand(QS_STR("m~/"), out, sizeof out);
    assert_string_equal(out, "m~/");
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printable_escapes_what_moves_the_cursor),
        cmocka_unit_test(test_natural_order),
        cmocka_unit_test(test_map_keeps_every_key),
        cmocka_unit_test(test_map_adds_what_is_expected),
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_reader_is_sticky),
        cmocka_unit_test(test_temp_publishes_or_leaves_nothing),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_path_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

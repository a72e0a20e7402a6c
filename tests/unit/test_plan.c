#include "repair/pattern.h"
#include "repair/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* ---- patterns ---- */

static char *replaced(qs_pattern_kind kind, const char *pattern, const char *to, const char *key) {
    static char out[600];
    qs_pattern *p = NULL;
    qs_err e = QS_ERR_INIT;
    qs_buf b = {0};
    bool matched = false;
    if (!qs_pattern_compile(kind, qs_str_of(pattern), qs_str_of(to), &p, &e)) {
        snprintf(out, sizeof out, "error: %s", e.msg);
        return out;
    }
    assert_true(qs_pattern_replace(p, qs_str_of(key), &b, &matched, &e));
    snprintf(out, sizeof out, "%s", matched ? (b.p ? b.p : "") : "no match");
    qs_buf_free(&b);
    qs_pattern_free(p);
    return out;
}

static void test_prefix(void **state) {
    (void)state;
    assert_string_equal(replaced(QS_PATTERN_PREFIX, "module.", "", "module.a.module.w"), "a.module.w");
    assert_string_equal(replaced(QS_PATTERN_PREFIX, "", "model.", "a.w"), "model.a.w");
    assert_string_equal(replaced(QS_PATTERN_PREFIX, "module.", "", "a.module.w"), "no match");
    assert_string_equal(replaced(QS_PATTERN_PREFIX, "a.", "$1.", "a.w"), "$1.w"); /* taken as it stands */
}

static void test_glob(void **state) {
    (void)state;
    assert_string_equal(replaced(QS_PATTERN_GLOB, "model.*.bn.*", "model.$1.conv.bn.$2", "model.0.bn.weight"),
                        "model.0.conv.bn.weight");
    assert_string_equal(replaced(QS_PATTERN_GLOB, "*.weight", "$1.w", "a.b.weight"),
                        "no match"); /* one component */
    assert_string_equal(replaced(QS_PATTERN_GLOB, "**.weight", "$1.w", "a.b.weight"), "a.b.w");
    assert_string_equal(replaced(QS_PATTERN_GLOB, "a[0]|x.?", "b.$1", "a[0]|x.7"),
                        "b.7"); /* brackets are literal */
    assert_string_equal(replaced(QS_PATTERN_GLOB, "a.b", "x", "aXb"), "no match");
}

static void test_regex(void **state) {
    (void)state;
    assert_string_equal(
        replaced(QS_PATTERN_REGEX, "(.*)\\.conv\\.weight", "$1.conv.module.weight", "m.0.conv.weight"),
        "m.0.conv.module.weight");
    assert_string_equal(replaced(QS_PATTERN_REGEX, "(?<head>.*)\\.(\\w+)", "${head}_${2}$$", "a.b.c"),
                        "a.b_c$");
    assert_string_equal(replaced(QS_PATTERN_REGEX, "conv", "x", "a.conv.b"),
                        "no match"); /* the whole key or nothing */
    assert_string_equal(replaced(QS_PATTERN_REGEX, "(a)|b", "<$1>", "b"),
                        "<>"); /* an unset capture is empty */
    assert_string_equal(replaced(QS_PATTERN_REGEX, ".*", "all $0", "a\nb"), "all a\nb");
}

static void test_mistakes_are_named(void **state) {
    (void)state;
    assert_non_null(strstr(replaced(QS_PATTERN_REGEX, "a(b", "", "x"), "character"));
    assert_non_null(strstr(replaced(QS_PATTERN_REGEX, "(a)", "$2", "x"), "$2"));
    assert_non_null(strstr(replaced(QS_PATTERN_REGEX, "(a)", "${name}", "x"), "name"));
    assert_non_null(strstr(replaced(QS_PATTERN_REGEX, "(a)", "${1", "x"), "without }"));
    assert_non_null(strstr(replaced(QS_PATTERN_REGEX, "(a)", "cost $", "x"), "$$"));
}

static void test_hostile_regex_ends(void **state) {
    (void)state;
    qs_pattern *p = NULL;
    qs_err e = QS_ERR_INIT;
    char key[4001];
    memset(key, 'a', 4000);
    key[4000] = 0;
    assert_true(qs_pattern_compile(QS_PATTERN_REGEX, QS_STR("(a|aa)*(a|aa)*(b|c)"), QS_STR(""), &p, &e));
    clock_t start = clock();
    bool matched;
    assert_false(qs_pattern_match(p, qs_str_of(key), &matched, &e));
    assert_int_equal(e.code, QS_E_LIMIT);
    assert_true(clock() - start < CLOCKS_PER_SEC);
    qs_pattern_free(p);
}

/* ---- plans ---- */

static const qs_rename_pair some_pairs[] = {{{"a.w", 3}, {"b.w", 3}}, {{"a.b", 3}, {"b.b", 3}}};

static qs_action rule(const char *pattern, const char *to) {
    return (qs_action){.kind = QS_ACT_RULE,
                       .pattern_kind = QS_PATTERN_PREFIX,
                       .pattern = qs_str_of(pattern),
                       .replacement = qs_str_of(to),
                       .bn_eps = NAN};
}

static const char *pattern_at(const qs_plan *p, size_t i) {
    return qs_plan_action(p, i)->pattern.p;
}

static void test_undo_redo(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_plan *p = qs_plan_new();
    char text[8] = "one.";
    qs_action a = rule(text, "");
    assert_false(qs_plan_undo(p));
    assert_true(qs_plan_push(p, &a, &e));
    memcpy(text, "xxxx", 4); /* the plan holds a copy */
    assert_string_equal(pattern_at(p, 0), "one.");
    qs_action more[] = {rule("two.", ""), rule("three.", "")};
    assert_true(qs_plan_push_all(p, more, 2, &e));
    assert_int_equal(qs_plan_count(p), 3);
    assert_true(qs_plan_undo(p)); /* both at once */
    assert_int_equal(qs_plan_count(p), 1);
    assert_true(qs_plan_redo(p));
    assert_int_equal(qs_plan_count(p), 3);
    assert_true(qs_plan_move(p, 2, 0, &e));
    assert_string_equal(pattern_at(p, 0), "three.");
    assert_true(qs_plan_remove(p, 1, &e));
    assert_string_equal(pattern_at(p, 1), "two.");
    assert_true(qs_plan_undo(p));
    assert_string_equal(pattern_at(p, 1), "one.");
    assert_true(qs_plan_undo(p));
    assert_string_equal(pattern_at(p, 2), "three.");
    assert_true(qs_plan_can_redo(p));
    assert_true(qs_plan_push(p, &more[0], &e)); /* forgets the redo */
    assert_false(qs_plan_can_redo(p));
    assert_false(qs_plan_remove(p, 9, &e));
    assert_int_equal(e.code, QS_E_USAGE);
    qs_plan_free(p);
}

static void test_modified(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_plan *p = qs_plan_new();
    qs_action a = rule("a", "b"), b = rule("c", "d");
    assert_false(qs_plan_modified(p));
    qs_plan_push(p, &a, &e);
    assert_true(qs_plan_modified(p));
    qs_plan_mark_saved(p);
    assert_false(qs_plan_modified(p));
    qs_plan_undo(p);
    assert_true(qs_plan_modified(p));
    qs_plan_redo(p);
    assert_false(qs_plan_modified(p));
    qs_plan_undo(p);
    qs_plan_push(p, &b, &e); /* as long as the saved one, but another */
    assert_true(qs_plan_modified(p));
    qs_plan_retract(p);
    assert_false(qs_plan_can_redo(p));
    qs_plan_free(p);
}

/* ---- random plans ---- */

static uint64_t rng;
static uint32_t rnd(uint32_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 33) % n;
}

static qs_str random_text(qs_arena *arena) {
    static const char *const odd[] = {"\"", "\\",   "\n",  "\xc3\xa9",     "\xff",
                                      "$1", "\x7f", "é.ü", "\xed\xa0\x80", "🙂"};
    qs_buf b = {0};
    for (uint32_t n = rnd(6); n > 0; n--) {
        if (rnd(4) == 0)
            qs_buf_addz(&b, odd[rnd(10)]);
        else if (rnd(40) == 0)
            qs_buf_addc(&b, 0);
        else
            qs_buf_addf(&b, "layer%u.", rnd(100));
    }
    qs_str s = qs_arena_str(arena, qs_buf_str(&b));
    qs_buf_free(&b);
    return s;
}

static const qs_rename_pair *random_pairs(qs_arena *arena, size_t n, bool with_to) {
    qs_rename_pair *p = QS_ARENA_ARRAY(arena, n, qs_rename_pair);
    for (size_t i = 0; i < n; i++) {
        p[i].from = random_text(arena);
        p[i].to = with_to ? random_text(arena) : (qs_str){"", 0};
    }
    return p;
}

static qs_shape random_shape(void) {
    static const int64_t dims[] = {16, 3, 0, 9007199254740992};
    uint32_t ndim = (uint32_t)rnd(5);
    return (qs_shape){ndim, ndim ? dims : NULL};
}

static const qs_precondition *random_expects(qs_arena *arena, size_t n) {
    qs_precondition *x = qs_arena_array(arena, n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = (qs_precondition){.key = random_text(arena), .has_shape = rnd(2), .has_crc32 = rnd(2)};
        if (x[i].has_shape) x[i].shape = random_shape();
        x[i].dtype = (qs_dtype)rnd(QS_DTYPE_COUNT);
        if (x[i].has_crc32) x[i].crc32 = (uint32_t)(rng >> 16);
    }
    return x;
}

static qs_action random_action(qs_arena *arena) {
    static const double eps[] = {NAN, 1e-5, 1e-3, 0.1, 1.0 / 3, 5e-324, 1.7e308};
    qs_action a = {.kind = (qs_action_kind)rnd(8), .bn_eps = NAN};
    if (a.kind == QS_ACT_RENAME) {
        a.pair_count = rnd(4);
        a.pairs = random_pairs(arena, a.pair_count, true);
    } else if (a.kind == QS_ACT_RULE) {
        static const char *const regexes[] = {"(.*)\\.bn\\.(.*)", "a|b", ""}, *const tos[] = {"$0", "x$$",
                                                                                              ""};
        a.pattern_kind = (qs_pattern_kind)rnd(3);
        a.pattern = a.pattern_kind == QS_PATTERN_REGEX ? qs_str_of(regexes[rnd(3)]) : QS_STR("a.*");
        if (a.pattern_kind == QS_PATTERN_PREFIX) a.pattern = random_text(arena);
        a.replacement = qs_str_of(tos[rnd(3)]);
    } else {
        a.scope_kind = (qs_scope_kind)rnd(5);
        if (a.scope_kind == QS_SCOPE_KEYS) {
            a.pair_count = rnd(4);
            a.pairs = random_pairs(arena, a.pair_count, false);
        } else {
            a.scope = random_text(arena);
        }
        if (a.kind == QS_ACT_INIT) {
            a.source = (qs_init_source)rnd(4);
            a.bn_eps = eps[rnd(7)];
        }
        a.replace =
            (a.kind == QS_ACT_INIT || a.kind == QS_ACT_COPY || a.kind == QS_ACT_METADATA) && rnd(2);
        if (a.kind == QS_ACT_CAST) a.dtype = (qs_dtype)rnd(QS_DTYPE_COUNT);
        a.has_shape = a.kind == QS_ACT_RESHAPE && rnd(2);
        if (a.has_shape) a.shape = random_shape();
    }
    a.off = rnd(4) == 0;
    if (rnd(3) == 0) a.comment = random_text(arena);
    a.expect_count = rnd(3) ? 0 : 1 + rnd(3);
    if (a.expect_count) a.expects = random_expects(arena, a.expect_count);
    return a;
}

static void assert_plans_eq(const qs_plan *a, const qs_plan *b) {
    assert_int_equal(qs_plan_count(a), qs_plan_count(b));
    assert_true(qs_str_eq(qs_plan_comment(a), qs_plan_comment(b)));
    for (size_t i = 0; i < qs_plan_count(a); i++)
        assert_true(qs_action_eq(qs_plan_action(a, i), qs_plan_action(b, i)));
}

static void one_line_gives_it_again(const qs_action *a) {
    qs_buf line = {0}, json = {0};
    qs_plan *p = NULL;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_action_print(a, &line));
    assert_null(memchr(line.p, '\n', line.n));
    qs_buf_addf(&json, "{\"format\": \"qatscope-plan\", \"version\": 1, \"actions\": [%.*s]}",
                QS_FMT(qs_buf_str(&line)));
    if (!qs_plan_parse(json.p, json.n, "plan", NULL, &p, &e)) fail_msg("%s\n%s", e.msg, json.p);
    assert_true(qs_action_eq(qs_plan_action(p, 0), a));
    qs_plan_free(p);
    qs_buf_free(&line);
    qs_buf_free(&json);
}

static void test_parse_of_print_is_the_plan(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        rng = seed * 0x9e3779b97f4a7c15u;
        qs_arena arena = {0};
        qs_err e = QS_ERR_INIT;
        qs_plan *p = qs_plan_new(), *q = NULL;
        for (uint32_t n = rnd(8); n > 0; n--) {
            qs_action a = random_action(&arena);
            assert_true(qs_plan_push(p, &a, &e));
        }
        if (rnd(2)) assert_true(qs_plan_set_comment(p, random_text(&arena), &e));
        qs_buf once = {0}, twice = {0};
        assert_true(qs_plan_print(p, &once));
        if (!qs_plan_parse(once.p, once.n, "plan", NULL, &q, &e))
            fail_msg("seed %llu: %s\n%s", (unsigned long long)seed, e.msg, once.p);
        assert_plans_eq(p, q);
        assert_false(qs_plan_modified(q));
        assert_true(qs_plan_print(q, &twice));
        assert_string_equal(once.p, twice.p);
        for (size_t i = 0; i < qs_plan_count(p); i++) { /* any action can be shown */
            char line[120];
            assert_true(qs_action_describe(qs_plan_action(p, i), line, sizeof line) < sizeof line);
            one_line_gives_it_again(qs_plan_action(p, i));
        }
        qs_buf_free(&once);
        qs_buf_free(&twice);
        qs_plan_free(p);
        qs_plan_free(q);
        qs_arena_free(&arena);
    }
}

static char *snapshot(const qs_plan *p) {
    qs_buf b = {0};
    assert_true(qs_plan_print(p, &b));
    return b.p;
}

/* After any edits, undoing them all gives each earlier plan again, and redoing gives them back. */
static void test_undo_restores_every_step(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        rng = seed * 0x2545f4914f6cdd1du;
        enum { STEPS = 30 };
        char *before[STEPS + 1];
        qs_arena arena = {0};
        qs_err e = QS_ERR_INIT;
        qs_plan *p = qs_plan_new();
        size_t steps = 0;
        before[0] = snapshot(p);
        for (int i = 0; i < STEPS; i++) {
            size_t n = qs_plan_count(p);
            qs_action a[3] = {random_action(&arena), random_action(&arena), random_action(&arena)};
            uint32_t what = rnd(5), from = n ? rnd((uint32_t)n) : 0, to = n ? rnd((uint32_t)n) : 0;
            if (what == 1 && n)
                assert_true(qs_plan_remove(p, from, &e));
            else if (what == 2 && n > 1 && from != to)
                assert_true(qs_plan_move(p, from, to, &e));
            else if (what == 3 && n) {
                assert_true(qs_plan_replace(p, from, &a[0], &e));
                assert_true(qs_action_eq(qs_plan_action(p, from), &a[0]));
                assert_int_equal(qs_plan_count(p), n);
            } else
                assert_true(qs_plan_push_all(p, a, 1 + rnd(3), &e));
            before[++steps] = snapshot(p);
        }
        for (int round = 0; round < 2; round++) {
            for (size_t i = steps; i > 0; i--) {
                assert_true(qs_plan_undo(p));
                char *now = snapshot(p);
                assert_string_equal(now, before[i - 1]);
                free(now);
            }
            assert_false(qs_plan_can_undo(p));
            for (size_t i = 1; i <= steps; i++) {
                assert_true(qs_plan_redo(p));
                char *now = snapshot(p);
                assert_string_equal(now, before[i]);
                free(now);
            }
        }
        for (size_t i = 0; i <= steps; i++) free(before[i]);
        qs_plan_free(p);
        qs_arena_free(&arena);
    }
}

/* ---- wrong JSON ---- */

static void assert_error(const char *json, const char *part) {
    qs_plan *p = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_plan_parse(json, strlen(json), "plan.json", NULL, &p, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    if (!strstr(e.msg, part)) fail_msg("\"%s\" does not say \"%s\"", e.msg, part);
}

#define HEAD "{\"format\": \"qatscope-plan\", \"version\": 1, \"actions\": ["

static void test_wrong_json_says_where(void **state) {
    (void)state;
    assert_error("", "line 1, column 1");
    assert_error("{\"format\": \"qatscope-plan\",\n \"version\" 1}", "line 2, column 12");
    assert_error("{}", "no plan");
    assert_error("{\"format\": \"qatscope-plan\", \"version\": 2, \"actions\": []}", "version");
    assert_error(HEAD "]} x", "column 58");
    assert_error(HEAD "{\"op\": \"rnd\"}]}", "actions[0].op");
    assert_error(HEAD "{\"op\": \"rename\"}]}", "actions[0].pairs: is missing");
    assert_error(HEAD "{\"op\": \"rename\", \"pairs\": [[\"a\", \"b\"], [\"a\"]]}]}", "actions[0].pairs[1]");
    assert_error(
        HEAD
        "{\"op\": \"drop\", \"scope\": {\"key\": \"a\"}}, {\"op\": \"drop\", \"scope\": {\"kye\": \"a\"}}]}",
        "actions[1].scope");
    assert_error(HEAD "{\"op\": \"copy\", \"scope\": {\"key\": \"a\"}, \"replce\": true}]}", "replce");
    assert_error(HEAD "{\"op\": \"copy\", \"scope\": {\"key\": \"a\"}, \"scope\": {\"key\": \"b\"}}]}",
                 "twice");
    assert_error(HEAD "{\"op\": \"init\", \"scope\": {\"key\": \"a\"}, \"source\": \"frsh\"}]}", "source");
    assert_error(HEAD
                 "{\"op\": \"init\", \"scope\": {\"key\": \"a\"}, \"source\": \"fresh\", \"bn_eps\": 0}]}",
                 "bn_eps");
    assert_error("{\"format\": \"qatscope-plan\", \"version\": 1, \"actions\": [], \"author\": \"x\"}",
                 "\"author\"");
    assert_error("{\"format\": \"qatscope-plan\", \"version\": 1, \"actions\": [], \"comment\": 3}",
                 "comment");
#define EXPECT(x) HEAD "{\"op\": \"drop\", \"scope\": {\"key\": \"a\"}, \"expect\": " x "}]}"
    assert_error(EXPECT("{}"), "actions[0].expect");
    assert_error(EXPECT("[{}]"), "actions[0].expect[0].key: is missing");
    assert_error(EXPECT("[{\"key\": \"a\"}, {\"key\": \"a\", \"shape\": [1, -1]}]"),
                 "actions[0].expect[1].shape");
    assert_error(EXPECT("[{\"key\": \"a\", \"shape\": [1.5]}]"), "whole numbers");
    assert_error(EXPECT("[{\"key\": \"a\", \"dtype\": \"float31\"}]"), "expect[0].dtype");
    assert_error(EXPECT("[{\"key\": \"a\", \"crc32\": \"12345\"}]"), "eight hexadecimal digits");
    assert_error(EXPECT("[{\"key\": \"a\", \"crc32\": \"123456789\"}]"), "eight hexadecimal digits");
    assert_error(EXPECT("[{\"key\": \"a\", \"hash\": \"12345678\"}]"), "expect[0].hash");
    assert_error(HEAD "{\"op\": \"rule\", \"kind\": \"regex\", \"pattern\": \"a(\", \"replacement\": \"\"}]}",
                 "pattern");
    assert_error(HEAD "{\"op\": \"drop\", \"scope\": {\"key\": {\"hex\": \"6g\"}}}]}", "hex");
}

static void test_describe(void **state) {
    (void)state;
    char line[200];
    qs_action a = {.kind = QS_ACT_RENAME, .pairs = some_pairs, .pair_count = 2, .bn_eps = NAN};
    qs_action_describe(&a, line, sizeof line);
    assert_string_equal(line, "rename a.w -> b.w  and 1 more");
    a = (qs_action){
        .kind = QS_ACT_INIT, .scope_kind = QS_SCOPE_SUBTREE, .source = QS_INIT_OBSERVED, .bn_eps = NAN};
    qs_action_describe(&a, line, sizeof line);
    assert_string_equal(line, "init   everything · observed");
    a = (qs_action){.kind = QS_ACT_DROP, .scope = QS_STR("a\x1b[2J")};
    qs_action_describe(&a, line, sizeof line);
    assert_string_equal(line, "drop   a\\x1b[2J");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_hostile_regex_ends),
        cmocka_unit_test(test_undo_redo),
        cmocka_unit_test(test_modified),
        cmocka_unit_test(test_parse_of_print_is_the_plan),
        cmocka_unit_test(test_undo_restores_every_step),
        cmocka_unit_test(test_wrong_json_says_where),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

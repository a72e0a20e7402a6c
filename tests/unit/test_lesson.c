/* Lessons: the format, the expressions, and every built-in lesson on the built-in demo. */
#include "base/map.h"
#include "demo.h"
#include "session.h"
#include "teach/lesson.h"
#include "teach/lesson_impl.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static qs_demo_paths demo;
static qs_session *session;

static qs_lesson_subject subject_of(const qs_session *s) {
    return (qs_lesson_subject){qs_session_compare(s), qs_session_resolution(s), qs_session_verdict(s)};
}

static qs_session *open_session(const char *a, const char *b, const char *m) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    if (!s || !qs_session_open_a(s, a, &e) || (b && !qs_session_open_b(s, b, &e)) ||
        (m && !qs_session_open_manifest(s, m, &e)) || !qs_session_refresh(s, &e))
        fail_msg("%s", e.msg);
    return s;
}

static int set_up(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    snprintf(dir, sizeof dir, "/tmp/qatscope-lesson-XXXXXX");
    if (!mkdtemp(dir) || !qs_demo_write(dir, &demo, &e)) return -1;
    session = open_session(demo.a, demo.b, demo.manifest);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    qs_session_free(session);
    unlink(demo.a);
    unlink(demo.b);
    unlink(demo.manifest);
    return rmdir(dir);
}

/* ---- the format ---- */

static void refuse(const char *text, const char *message) {
    qs_lesson *l = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_lesson_parse(text, strlen(text), "x", &l, &e));
    if (!strstr(e.msg, message)) fail_msg("'%s' is refused with '%s'", text, e.msg);
    assert_int_equal(e.code, QS_E_INPUT);
    assert_null(l);
}

static void errors_name_the_line(void **state) {
    (void)state;
    refuse("", "no @lesson");
    refuse("@lesson a\n", "no @page");
    refuse("@lesson a\n@lesson b\n", "line 2: a second @lesson");
    refuse("@lesson a\ntext\n", "line 2: this must stand below a @page");
    refuse("@lesson a\n@page p\n", "line 2: the page is empty");
    refuse("@lesson a\n@page p\nx\n@ask q\n", "line 2: @ask and @answer");
    refuse("@lesson a\n@page p\nx\n@hint q\n", "line 2: a @hint without");
    refuse("@lesson a\n@page p\nx\n@ask q\n@ask r\n", "line 5: the page has a second @ask");
    refuse("@lesson a\n@page p\nx {{count:\n", "line 3: {{ without }}");
    refuse("@lesson a\n@page p\nx }}\n", "line 3: }} without {{");
    refuse("@lesson a\n@nonsense p\n", "line 2: there is no @nonsense");
    refuse("@lesson a\n@let A 1\n", "line 2: @let wants");
    refuse("@lesson a\n@page p\na\tb\n", "line 3: a control character");
    refuse("@lesson a\n@page p\na\033[2Jb\n", "line 3: a control character");
}

static qs_lesson *parse(const char *text) {
    qs_lesson *l = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_lesson_parse(text, strlen(text), "x", &l, &e)) fail_msg("%s", e.msg);
    return l;
}

static void a_page_has_its_parts(void **state) {
    (void)state;
    qs_lesson *l = parse(
        "@lesson A title\r\n@about One line\n@# a comment\n@page First\nSome\ntext.\n\n  as it is\n"
        "@press next-problem go on\n@press undo\n@ask Q?\n@answer yes | 3 | 0.5\n@hint H\n@page Second\nx");
    assert_string_equal(qs_lesson_title(l), "A title");
    assert_string_equal(qs_lesson_about(l), "One line");
    assert_int_equal(qs_lesson_pages(l), 2);
    qs_lesson_page p;
    assert_true(qs_lesson_page_at(l, 0, &p));
    assert_string_equal(p.title, "First");
    assert_true(p.asks && p.hints && p.press_count == 2);
    assert_true(qs_str_is(p.press[0].command, "next-problem") && qs_str_is(p.press[0].why, "go on"));
    assert_false(qs_lesson_page_at(l, 2, &p));
    qs_lesson_subject s = subject_of(session);
    qs_buf out = {0};
    qs_err e = QS_ERR_INIT;
    assert_true(qs_lesson_text(l, 0, QS_LESSON_BODY, &s, 40, &out, &e));
    assert_string_equal(out.p, "Some text.\n\n  as it is\n");
    out.n = 0;
    assert_true(qs_lesson_answer(l, 0, &s, &out, &e));
    assert_string_equal(out.p, "yes");
    static const struct {
        const char *typed;
        bool right;
    } answers[] = {{"YES", true},   {" 3 ", true}, {"3.0", true}, {"3.01", false}, {"0.504", true},
                   {"0.52", false}, {"", false},   {"no", false}, {"nan", false}};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        bool right;
        assert_true(qs_lesson_check(l, 0, &s, qs_str_of(answers[i].typed), &right, &e));
        if (right != answers[i].right) fail_msg("'%s'", answers[i].typed);
    }
    assert_false(qs_lesson_text(l, 2, QS_LESSON_BODY, &s, 40, &out, &e));
    qs_buf_free(&out);
    qs_lesson_free(l);
}

/* ---- expressions ---- */

static void expect(const char *expr, const char *want) {
    char text[300];
    snprintf(text, sizeof text, "@lesson a\n@let q 7\n@page p\n{{%s}}\n", expr);
    qs_lesson *l = parse(text);
    qs_lesson_subject s = subject_of(session);
    qs_buf out = {0};
    qs_err e = QS_ERR_INIT;
    bool ok = qs_lesson_text(l, 0, QS_LESSON_BODY, &s, 80, &out, &e);
    const char *got = ok ? out.p : e.msg;
    if (ok) out.p[out.n - 1] = 0;
    if (ok ? strcmp(got, want) != 0 : !strstr(got, want)) fail_msg("{{%s}} is '%s'", expr, got);
    qs_buf_free(&out);
    qs_lesson_free(l);
}

static void arithmetic(void **state) {
    (void)state;
    expect("1 + 2 * 3", "7");
    expect("(1 + 2) * 3", "9");
    expect("10 - 4 - 3", "3");
    expect("12 / 4 / 3", "1");
    expect("${q} + $q", "14");
    expect("-2 * -3", "6");
    expect("2 * (3 + max(1 , 5) ) - min(4 , 2)", "14");
    expect("round(2.5) + round(3.5)", "6");
    expect("sqrt(2) ~ 4", "1.414");
    expect("1 / 3", "0.333333");
    expect("clamp(300 , 0 , 255)", "255");
    expect("abs(0 - 4) + floor(1.9)", "5");
    expect("1 / 0", "inf");
    expect("finite(1 / 0)", "not finite");
    expect("1 +", "operand is missing");
    expect("+ 1", "nothing a lesson can ask");
    expect("(1", "bracket");
    expect("1)", "bracket");
    expect("1 2", "no operator");
    expect("", "operand is missing");
    expect("- ", "operand is missing");
    expect("torch + 1", "a text where a number");
    expect("$nope", "no @let makes $nope");
    expect("nonsense:x", "nothing a lesson can ask");
    expect("count:status=fine", "there is no status");
    expect("count:colour=red", "there is no condition");
    expect("count:status", "is no condition");
    expect("value:model.0", "no open file has the key");
    char deep[260];
    memset(deep, '(', 200);
    deep[200] = 0;
    expect(deep, "nested too deeply");
}

/* Checked against the session itself, not against constants. */
static void questions_to_the_files(void **state) {
    (void)state;
    char want[64];
    const qs_compare *c = qs_session_compare(session);
    uint32_t missing = qs_compare_node(c, 0)->count_status[QS_STATUS_MISSING];
    snprintf(want, sizeof want, "%u", missing);
    expect("count:status=missing", want);
    expect("findings:missing", want);
    snprintf(want, sizeof want, "%u", qs_compare_rows(c));
    expect("count:", want);
    snprintf(want, sizeof want, "%u", qs_checkpoint_count(qs_session_a(session)));
    expect("count:in=a", want);
    snprintf(want, sizeof want, "%u", qs_manifest_count(qs_session_target(session)));
    expect("count:in=model", want);
    uint32_t problems = 0;
    for (int i = 0; i < QS_STATUS_COUNT; i++)
        if (qs_status_get((qs_status)i)->problem) problems += qs_compare_node(c, 0)->count_status[i];
    snprintf(want, sizeof want, "%u", problems);
    expect("count:problem=yes", want);
    expect("loads", "NO");
    expect("shape:model.0.conv.weight", "16x3x3x3");
    expect("dtype:model.0.conv.weight", "float32");
    expect("numel:model.0.conv.weight", "432");
    expect("status:model.0.conv.weight", "unexpected");
    expect("shape:model.0.conv.module.weight", "16x3x3x3");
    expect("class:model.0.conv", "QuantWrapper");
    expect("version:model.0.bn", "2");
    expect("b.version:model.0.conv.module.weight_fake_quant.activation_post_process", "3");
    expect("version:no.such.module", "None");
    expect("repeats:model.0.conv.module.weight_fake_quant.scale", "2");
    expect("parent:a.b.c", "a.b");
    expect("leaf:a.b.c", "c");
    expect("value:model.0.bn.num_batches_tracked[0] - value:model.0.bn.num_batches_tracked", "0");
    expect("value:model.0.bn.num_batches_tracked[1]", "no element 1");
    expect("max(max:model.0.conv.weight , 0 - min:model.0.conv.weight) - absmax:model.0.conv.weight", "0");
    expect("b.value:model.0.bn.weight", "no open file holds a value");
}

/* ---- the built-in lessons ---- */

static void render(const qs_lesson *l, const qs_lesson_subject *s, unsigned width) {
    for (size_t i = 0; i < qs_lesson_pages(l); i++) {
        qs_buf out = {0};
        qs_err e = QS_ERR_INIT;
        bool ok = qs_lesson_text(l, i, QS_LESSON_BODY, s, width, &out, &e) &&
                  qs_lesson_text(l, i, QS_LESSON_QUESTION, s, width, &out, &e) &&
                  qs_lesson_text(l, i, QS_LESSON_HINT, s, width, &out, &e);
        if (!ok) fail_msg("%s", e.msg);
        size_t col = 0, lines = 0;
        for (size_t k = 0; k < out.n; k++) {
            col = out.p[k] == '\n' ? 0 : col + 1;
            lines += out.p[k] == '\n';
            assert_true(out.p[k] == '\n' || (out.p[k] >= ' ' && out.p[k] <= '~'));
            if (col > width) fail_msg("%s page %zu: a line of %zu columns", qs_lesson_name(l), i + 1, col);
        }
        if (width >= 78 && lines > 20) fail_msg("%s page %zu has %zu lines", qs_lesson_name(l), i + 1, lines);
        assert_null(out.p ? strstr(out.p, "{{") : NULL);
        qs_buf_free(&out);
    }
}

static void questions_have_answers(const qs_lesson *l, const qs_lesson_subject *s) {
    for (size_t i = 0; i < qs_lesson_pages(l); i++) {
        qs_lesson_page p;
        qs_lesson_page_at(l, i, &p);
        if (!p.asks) continue;
        qs_buf answer = {0};
        qs_err e = QS_ERR_INIT;
        bool right = false;
        if (!qs_lesson_answer(l, i, s, &answer, &e) ||
            !qs_lesson_check(l, i, s, qs_buf_str(&answer), &right, &e))
            fail_msg("%s", e.msg);
        assert_true(right && answer.n);
        assert_true(qs_lesson_check(l, i, s, QS_STR("surely wrong"), &right, &e));
        assert_false(right);
        qs_buf_free(&answer);
    }
}

/* Rows a page points at exist on the demo. */
static void highlights_exist(const qs_lesson *l, const qs_lesson_subject *s) {
    qs_arena arena = {0};
    for (size_t i = 0; i < qs_lesson_pages(l); i++) {
        qs_str *globs;
        size_t n;
        qs_err e = QS_ERR_INIT;
        if (!qs_lesson_shows(l, i, s, &arena, &globs, &n, &e)) fail_msg("%s", e.msg);
        for (size_t g = 0; g < n; g++) {
            bool found = false;
            for (uint32_t r = 0; r < qs_compare_rows(s->compare) && !found; r++)
                found = qs_lesson_is_shown(&globs[g], 1, qs_compare_row(s->compare, r)->key);
            if (!found)
                fail_msg("%s page %zu: nothing is called %.*s", qs_lesson_name(l), i + 1, QS_FMT(globs[g]));
        }
    }
    qs_arena_free(&arena);
}

static qs_lessons *all_lessons(void) {
    qs_lessons *ls = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_lessons_open(NULL, &ls, &e)) fail_msg("%s", e.msg);
    assert_true(qs_lessons_count(ls) >= 8);
    return ls;
}

static void all_lessons_work_on_the_demo(void **state) {
    (void)state;
    qs_lessons *ls = all_lessons();
    qs_lesson_subject s = subject_of(session);
    for (size_t i = 0; i < qs_lessons_count(ls); i++) {
        const qs_lesson *l = qs_lessons_at(ls, i);
        qs_err e = QS_ERR_INIT;
        if (!qs_lesson_applies(l, &s, &e)) fail_msg("%s: %s", qs_lesson_name(l), e.msg);
        render(l, &s, 78);
        render(l, &s, 56);
        questions_have_answers(l, &s);
        highlights_exist(l, &s);
    }
    qs_lessons_free(ls);
}

/* While a person works the lesson goes on: every figure computes after the repair, and without B or model. */
static void lessons_follow_the_repair(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_session *s = open_session(demo.a, demo.b, demo.manifest);
    const qs_diagnosis *d = qs_session_diagnosis(s);
    if (!qs_session_do_all(s, d->actions, d->action_count, &e)) fail_msg("%s", e.msg);
    qs_lessons *ls = all_lessons();
    qs_lesson_subject sub = subject_of(s);
    for (size_t i = 0; i < qs_lessons_count(ls); i++) {
        assert_true(qs_lesson_applies(qs_lessons_at(ls, i), &sub, &e));
        render(qs_lessons_at(ls, i), &sub, 78);
        questions_have_answers(qs_lessons_at(ls, i), &sub);
    }
    qs_lessons_free(ls);
    qs_session_free(s);
}

static void lessons_say_what_they_need(void **state) {
    (void)state;
    qs_session *alone[2] = {open_session(demo.a, NULL, NULL), open_session(demo.b, NULL, NULL)};
    qs_lessons *ls = all_lessons();
    for (int k = 0; k < 2; k++) {
        qs_lesson_subject s = subject_of(alone[k]);
        size_t can = 0;
        for (size_t i = 0; i < qs_lessons_count(ls); i++) {
            qs_err why = QS_ERR_INIT;
            bool applies = qs_lesson_applies(qs_lessons_at(ls, i), &s, &why);
            can += applies;
            if (applies)
                render(qs_lessons_at(ls, i), &s, 78);
            else
                assert_true(why.code == QS_E_INPUT && strstr(why.msg, "this lesson needs "));
        }
        assert_true(can >= (k ? 8 : 5) && can < qs_lessons_count(ls));
        qs_session_free(alone[k]);
    }
    qs_lessons_free(ls);
}

/* A slip of the teacher's is not mistaken for a file that lacks something, and `||` does not hide it. */
static void slips_are_told(void **state) {
    (void)state;
    static const struct {
        const char *let, *message;
        qs_code code;
    } cases[] = {
        {"key:leaf=weight,stat=x || key:leaf=weight", "line 2, {{key:leaf=weight,stat=x || ", QS_E_USAGE},
        {"cuont:", "'cuont' is nothing a lesson can ask", QS_E_USAGE},
        {"equal(1 , 2", "a bracket is missing", QS_E_USAGE},
        {"equal(count: , 2)", "this lesson needs luck", QS_E_INPUT},
        {"key:leaf=nowhere", "this lesson needs luck", QS_E_INPUT},
        {"equal(2 , 2) + dim:model.0.conv.weight[0] + count:in=both,role=quantizer", NULL, QS_OK},
        {"dim:model.0.conv.weight[4]", "this lesson needs luck", QS_E_INPUT},
    };
    qs_lesson_subject s = subject_of(session);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        qs_err e = QS_ERR_INIT;
        snprintf(text, sizeof text, "@lesson a\n@let q %s\n@needs luck\n@page p\nx\n", cases[i].let);
        qs_lesson *l = parse(text);
        assert_int_equal(qs_lesson_applies(l, &s, &e), cases[i].code == QS_OK);
        assert_int_equal(e.code, cases[i].code);
        if (cases[i].message && !strstr(e.msg, cases[i].message)) fail_msg("%s: %s", cases[i].let, e.msg);
        qs_lesson_free(l);
    }
}

/* lessons.def lists what the folder has; @press names real commands; text is ASCII. */
static void the_folder_is_in_order(void **state) {
    (void)state;
    const char *tests = getenv("QATSCOPE_TESTS");
    if (!tests) skip();
    char path[600], *commands = NULL;
    size_t n;
    qs_err e = QS_ERR_INIT;
    snprintf(path, sizeof path, "%s/../src/teach/lessons", tests);
    DIR *d = opendir(path);
    assert_non_null(d);
    size_t files = 0;
    for (struct dirent *f; (f = readdir(d));) files += f->d_name[0] >= '0' && f->d_name[0] <= '9';
    closedir(d);
    qs_lessons *ls = all_lessons(), *again = NULL;
    assert_int_equal(qs_lessons_count(ls), files);
    assert_true(
        qs_lessons_open(path, &again, &e)); /* the same names: they replace, nothing is listed twice */
    assert_int_equal(qs_lessons_count(again), files);
    qs_lessons_free(again);
    snprintf(path, sizeof path, "%s/../ui/commands.def", tests);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    commands = calloc(1, 1 << 16);
    n = fread(commands, 1, (1 << 16) - 1, in);
    fclose(in);
    assert_true(n > 100);
    for (size_t i = 0; i < qs_lessons_count(ls); i++)
        for (size_t k = 0; k < qs_lesson_pages(qs_lessons_at(ls, i)); k++) {
            qs_lesson_page p;
            qs_lesson_page_at(qs_lessons_at(ls, i), k, &p);
            for (size_t j = 0; j < p.press_count; j++) {
                char quoted[80];
                snprintf(quoted, sizeof quoted, ", \"%.*s\", ", QS_FMT(p.press[j].command));
                if (!strstr(commands, quoted))
                    fail_msg("%s: no command %s", qs_lesson_name(qs_lessons_at(ls, i)), quoted);
            }
        }
    free(commands);
    qs_lessons_free(ls);
}

static void a_bad_folder_is_an_error(void **state) {
    (void)state;
    qs_lessons *ls = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_lessons_open("/no/such/folder", &ls, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    char path[128];
    snprintf(path, sizeof path, "%s/99-bad.txt", dir);
    FILE *f = fopen(path, "w");
    fputs("@lesson a\n@wrong\n", f);
    fclose(f);
    qs_err e2 = QS_ERR_INIT;
    assert_false(qs_lessons_open(dir, &ls, &e2));
    assert_non_null(strstr(e2.msg, "lesson 99-bad, line 2"));
    unlink(path);
}

/* ---- random texts never crash, and fail with a line ---- */

static void random_lessons(void **state) {
    (void)state;
    const char *seed_text = getenv("SEED");
    unsigned seed = seed_text ? (unsigned)atoi(seed_text) : 20261123;
    print_message("seed %u\n", seed);
    srand(seed);
    static const char *const bits[] = {"@lesson x\n", "@page y\n",
                                       "text ",       "{{",
                                       "}}",          "count:",
                                       "\n",          " ",
                                       "(",           ")",
                                       "1",           "+",
                                       "@ask q\n",    "@let a ",
                                       "$a",          "||",
                                       "~ 3",         "@answer b\n",
                                       "value:",      "model.0.conv.weight",
                                       "[0]",         "max(",
                                       " , ",         "@show *\n",
                                       "b.",          "-"};
    qs_lesson_subject s = subject_of(session);
    size_t parsed = 0;
    for (int i = 0; i < 20000; i++) {
        char text[600] = "@lesson x\n@page y\n";
        if (rand() % 4 == 0) text[0] = 0;
        for (int k = rand() % 14; k > 0; k--)
            strcat(text, bits[(size_t)rand() % (sizeof bits / sizeof *bits)]);
        qs_lesson *l = NULL;
        qs_err e = QS_ERR_INIT;
        if (!qs_lesson_parse(text, strlen(text), "x", &l, &e)) {
            assert_int_equal(e.code, QS_E_INPUT);
            continue;
        }
        parsed++;
        qs_buf out = {0};
        if (i % 16 == 0) qs_lesson_text(l, 0, QS_LESSON_BODY, &s, 60, &out, &e);
        qs_buf_free(&out);
        qs_lesson_free(l);
    }
    assert_true(parsed > 1000);
}

/* ---- progress ---- */

static void progress_is_kept(void **state) {
    (void)state;
    char root[100], path[200];
    qs_err e = QS_ERR_INIT;
    snprintf(root, sizeof root, "%s/state", dir);
    setenv("XDG_STATE_HOME", root, 1);
    assert_true(qs_lesson_log_path(path, sizeof path));
    assert_false(qs_lesson_log_path(path, 10));
    assert_true(qs_lesson_log_path(path, sizeof path));
    qs_lesson_log *log = NULL;
    assert_true(qs_lesson_log_open(path, &log, &e));
    assert_int_equal(qs_lesson_log_page(log, "01-tree"), 0);
    assert_true(qs_lesson_log_set(log, "01-tree", 1, true, &e));
    assert_true(qs_lesson_log_set(log, "02-parameters", 1, false, &e));
    assert_true(qs_lesson_log_set(log, "01-tree", 0, false, &e));
    if (!qs_lesson_log_save(log, path, &e)) fail_msg("%s", e.msg);
    assert_true(qs_lesson_log_save(log, path, &e));
    qs_lesson_log_free(log);
    FILE *f = fopen(path, "a");
    fputs("nonsense\nx 1\n03-seven-keys 2 open\n", f);
    fclose(f);
    assert_true(qs_lesson_log_open(path, &log, &e));
    assert_true(qs_lesson_log_done(log, "01-tree"));
    assert_int_equal(qs_lesson_log_page(log, "01-tree"), 0);
    assert_int_equal(qs_lesson_log_page(log, "02-parameters"), 1);
    assert_false(qs_lesson_log_done(log, "02-parameters"));
    assert_int_equal(qs_lesson_log_page(log, "03-seven-keys"), 2);
    qs_lesson_log_free(log);
    unlink(path);
    snprintf(path, sizeof path, "%s/qatscope", root);
    rmdir(path);
    assert_int_equal(rmdir(root), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(a_page_has_its_parts),
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(questions_to_the_files),
        cmocka_unit_test(all_lessons_work_on_the_demo),
        cmocka_unit_test(lessons_follow_the_repair),
        cmocka_unit_test(lessons_say_what_they_need),
        cmocka_unit_test(slips_are_told),
        cmocka_unit_test(the_folder_is_in_order),
        cmocka_unit_test(a_bad_folder_is_an_error),
        cmocka_unit_test(random_lessons),
        cmocka_unit_test(progress_is_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Every lesson walked from its first page to its last with keys alone, as a person would: on the demo and on
 * the real files (QATSCOPE_REAL), at 80x24 and smaller, with and without characters beyond ASCII; every
 * question answered, wrong first; everything pressed that a page says to press. A lesson that does not apply
 * to the open files says so. */
#include "demo.h"
#include "teach/lesson.h"
#include "ui/app.h"
#include "ui/commands.h"
#include "ui/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static qs_demo_paths demo;
static qs_session *session;

static qs_session *open_files(const char *a, const char *b, const char *manifest) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    if (!s || !qs_session_open_a(s, a, &e) || (b && !qs_session_open_b(s, b, &e)) ||
        (manifest && !qs_session_open_manifest(s, manifest, &e)) || !qs_session_refresh(s, &e))
        fail_msg("%s: %s", a, e.msg);
    return s;
}

static int set_up(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    snprintf(dir, sizeof dir, "/tmp/qatscope-walk-XXXXXX");
    if (!mkdtemp(dir) || !qs_demo_write(dir, &demo, &e)) return -1;
    session = open_files(demo.a, demo.b, demo.manifest);
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

static void press(qs_app *app, const char *keys) {
    qs_script script = qs_script_of(qs_str_of(keys));
    qs_err e = QS_ERR_INIT;
    qs_event ev;
    for (;;) {
        assert_true(qs_script_next(&script, &ev, &e));
        if (ev.kind == QS_EVENT_NONE) return;
        assert_false(qs_app_update(app, &ev) & QS_APP_QUIT);
    }
}

/* The screen as text; free it. */
static char *screen(const qs_app *app, int w, int h, bool ascii) {
    qs_grid g = {.ascii = ascii};
    qs_buf out = {0};
    assert_true(qs_grid_resize(&g, w, h));
    qs_app_render(app, &g);
    qs_grid_dump(&g, false, &out);
    qs_grid_free(&g);
    assert_non_null(out.p);
    for (size_t i = 0; ascii && i < out.n; i++)
        assert_true(out.p[i] == '\n' || (out.p[i] >= ' ' && out.p[i] <= '~'));
    return out.p;
}

static void expect(const qs_app *app, int w, int h, bool ascii, const char *text, const char *where) {
    char *s = screen(app, w, h, ascii);
    if (!strstr(s, text)) fail_msg("%s: no '%s' on the screen:\n%s", where, text, s);
    free(s);
}

typedef struct walker {
    qs_app *app;
    const qs_session *s;
    int w, h;
    bool ascii;
} walker;

static qs_lesson_subject subject(const walker *k) {
    return (qs_lesson_subject){qs_session_compare(k->s), qs_session_resolution(k->s),
                               qs_session_verdict(k->s)};
}

static void see(const walker *k, const char *text, const qs_lesson *l) {
    expect(k->app, k->w, k->h, k->ascii, text, qs_lesson_name(l));
}

/* Wrong three times, which gives the answer away, then right. */
static void answer(const walker *k, const qs_lesson *l, size_t page) {
    qs_lesson_subject s = subject(k);
    qs_buf keys = {0};
    qs_err e = QS_ERR_INIT;
    for (int i = 0; i < 3; i++) {
        press(k->app, "a \"surely wrong\" Enter");
        see(k, "not quite", l);
    }
    press(k->app, "Home");
    see(k, "the answer: ", l);
    qs_buf_addz(&keys, "a \"");
    if (!qs_lesson_answer(l, page, &s, &keys, &e)) fail_msg("%s", e.msg);
    qs_buf_addz(&keys, "\" Enter");
    press(k->app, keys.p);
    see(k, " right ", l);
    qs_buf_free(&keys);
}

/* The key does what it is for, and one or two more lead back to the page. */
static void press_all(const walker *k, const qs_lesson_page *p, const qs_lesson *l, const char *where) {
    qs_keymap map;
    qs_keymap_init(&map);
    for (size_t i = 0; i < p->press_count; i++) {
        char key[24];
        qs_command c = qs_command_find(p->press[i].command, QS_CTX_TREE);
        qs_keymap_key(&map, c, key, sizeof key);
        press(k->app, key);
        char *s = screen(k->app, k->w, k->h, k->ascii);
        bool left = !strstr(s, where);
        if (strstr(s, "does nothing here")) fail_msg("%s: %s does nothing", qs_lesson_name(l), key);
        if (!left && !strstr(s, "choose a weight"))
            fail_msg("%s: %s opens nothing:\n%s", qs_lesson_name(l), key, s);
        free(s);
        bool page = c == QS_CMD_EXPLAIN || c == QS_CMD_TRACE || c == QS_CMD_SEE || c == QS_CMD_VERDICT;
        if (left) press(k->app, page ? "q" : "Esc L");
        see(k, where, l);
    }
}

static void walk_one(const walker *k, const qs_lesson *l) {
    for (size_t page = 0; page < qs_lesson_pages(l); page++) {
        char where[32];
        qs_lesson_page p;
        assert_true(qs_lesson_page_at(l, page, &p));
        snprintf(where, sizeof where, "page %zu of %zu", page + 1, qs_lesson_pages(l));
        see(k, where, l);
        press_all(k, &p, l, where);
        if (p.asks) answer(k, l, page);
        press(k->app, "n");
    }
    see(k, "lesson done", l); /* the cursor is on the next one now */
}

/* Returns how many lessons apply. */
static size_t walk(const qs_session *on, int w, int h, bool ascii) {
    qs_app_options opt = {.ascii = ascii};
    qs_lessons *all = NULL;
    qs_err e = QS_ERR_INIT;
    walker k = {qs_app_new((qs_session *)on, &opt), on, w, h, ascii};
    char size[40];
    size_t applied = 0;
    assert_non_null(k.app);
    assert_true(qs_lessons_open(NULL, &all, &e));
    snprintf(size, sizeof size, "resize:%dx%d L", w, h);
    press(k.app, size);
    for (size_t i = 0; i < qs_lessons_count(all); i++) {
        const qs_lesson *l = qs_lessons_at(all, i);
        qs_lesson_subject s = subject(&k);
        qs_err why = QS_ERR_INIT;
        press(k.app, "Enter");
        if (qs_lesson_applies(l, &s, &why)) {
            walk_one(&k, l);
            applied++;
        } else {
            assert_int_equal(why.code, QS_E_INPUT);
            see(&k, "this lesson needs", l);
            press(k.app, "j");
        }
    }
    press(k.app, "q");
    qs_app_free(k.app);
    qs_lessons_free(all);
    return applied;
}

static void every_lesson_can_be_walked(void **state) {
    (void)state;
    static const struct {
        int w, h;
        bool ascii;
    } screens[] = {{80, 24, false}, {80, 24, true}, {120, 40, false}, {60, 16, true}};
    for (size_t i = 0; i < sizeof screens / sizeof *screens; i++)
        assert_int_equal(walk(session, screens[i].w, screens[i].h, screens[i].ascii), 12);
}

static void a_file_that_lacks_something(void **state) {
    (void)state;
    qs_session *alone = open_files(demo.a, NULL, NULL);
    assert_in_range(walk(alone, 80, 24, false), 5, 9);
    qs_session_free(alone);
}

static void real_files(void **state) {
    (void)state;
    const char *real = getenv("QATSCOPE_REAL");
    if (!real) skip();
    char a[600], b[600], c[600];
    snprintf(a, sizeof a, "%s/yolov8n-sparseml-float.pt", real);
    snprintf(b, sizeof b, "%s/yolov8n-sparseml-qat.pt", real);
    snprintf(c, sizeof c, "%s/yolov8n-ultralytics-module-fp16.pt", real);
    qs_session *s[] = {open_files(a, b, NULL), open_files(b, NULL, NULL), open_files(c, NULL, NULL)};
    static const size_t least[] = {12, 9, 5};
    for (int i = 0; i < 3; i++) {
        size_t n = walk(s[i], 80, 24, i == 1);
        print_message("real files, %d: %zu lessons\n", i, n);
        assert_true(n >= least[i]);
        qs_session_free(s[i]);
    }
}

/* From a page to its row in the tree, and back to the same page. */
static void rows_lead_to_the_tree(void **state) {
    (void)state;
    qs_app_options opt = {.ascii = true};
    qs_app *app = qs_app_new(session, &opt);
    press(app, "resize:80x24 L j j Enter n");
    expect(app, 80, 24, true, "page 2 of 3", "lesson");
    press(app, "j Enter");
    expect(app, 80, 24, true, "would load:", "tree");
    expect(app, 80, 24, true, "observer_enabled", "tree");
    press(app, "L");
    expect(app, 80, 24, true, "page 2 of 3", "lesson");
    press(app, "q q x");
    expect(app, 80, 24, true, "Switch: go on measuring the range", "explanation");
    press(app, "q T");
    expect(app, 80, 24, true, "enter the model", "trace");
    press(app, "q");
    expect(app, 80, 24, true, "would load:", "tree");
    qs_app_free(app);
}

/* Forwards, backwards, to complaints, over modules, to the ends, at sizes that are too small, too; the tree
 * follows. */
static void the_load_is_played(void **state) {
    (void)state;
    qs_app_options opt = {.ascii = true};
    qs_app *app = qs_app_new(session, &opt);
    press(app, "resize:80x24 T");
    expect(app, 80, 24, true, "step 1 of 3478", "trace");
    press(app, "j j j j");
    expect(app, 80, 24, true, "step 5 of", "trace");
    expect(app, 80, 24, true, "has no place for", "trace");
    expect(app, 80, 24, true, "so far  4 enter  1 unexpected", "trace");
    press(app, "k Space ]");
    expect(app, 80, 24, true, "step 8 of", "trace");
    press(app, "[");
    expect(app, 80, 24, true, "step 5 of", "trace");
    press(app, "PgDn");
    expect(app, 80, 24, true, "torch goes into the module", "trace");
    press(app, "PgUp PgUp [");
    expect(app, 80, 24, true, "nothing before this", "trace");
    press(app, "G ]");
    expect(app, 80, 24, true, "step 3478 of 3478", "trace");
    press(app, "j ] ^U resize:40x10 k k resize:200x60 ^D resize:30x5 j resize:80x24 g k");
    expect(app, 80, 24, true, "step 1 of 3478", "trace");
    press(app, "] ] q");
    expect(app, 80, 24, true, "would load:", "tree");
    expect(app, 80, 24, true, "model.0.conv.quant.activation_post_process.fake_quant_enabled", "tree");
    qs_app_free(app);
}

/* Every slider to both of its ends, at sizes that are too small too. */
static void sliders_answer(void **state) {
    (void)state;
    qs_app_options opt = {.ascii = true};
    qs_app *app = qs_app_new(session, &opt);
    press(app, "resize:80x24 / \"model.0.conv.module.weight_fake_quant.scale\" Enter W");
    expect(app, 80, 24, true, "8: 255 steps, -128 .. 127", "rounding");
    expect(app, 80, 24, true, "sees it times BatchNorm", "rounding");
    press(app, "h h h h");
    expect(app, 80, 24, true, "4: 15 steps, -8 .. 7", "rounding");
    press(app, "h h h h h j l");
    expect(app, 80, 24, true, "affine: from min to max", "rounding");
    expect(app, 80, 24, true, "2: 3 steps", "rounding");
    press(app, "j l j h h");
    expect(app, 80, 24, true, "90 % of what", "rounding");
    expect(app, 80, 24, true, "16, one for each channel", "rounding");
    press(app, "resize:44x12 h h h resize:200x60 l wheel:up click:5,8 resize:80x24");
    expect(app, 80, 24, true, "signal to noise", "rounding");
    press(app, "q W q Home W");
    expect(app, 80, 24, true, "choose a weight", "tree");
    qs_app_free(app);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_lesson_can_be_walked),
        cmocka_unit_test(a_file_that_lacks_something),
        cmocka_unit_test(real_files),
        cmocka_unit_test(rows_lead_to_the_tree),
        cmocka_unit_test(the_load_is_played),
        cmocka_unit_test(sliders_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Every lesson walked from its first page to its last with keys alone, as a person would: on the demo, at
 * 80x24 and smaller, with and without characters beyond ASCII; every question answered, wrong first. */
#include "demo.h"
#include "teach/lesson.h"
#include "ui/app.h"
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

static int set_up(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    snprintf(dir, sizeof dir, "/tmp/qatscope-walk-XXXXXX");
    if (!mkdtemp(dir) || !qs_demo_write(dir, &demo, &e)) return -1;
    session = qs_session_new(NULL);
    bool ok = session && qs_session_open_a(session, demo.a, &e) && qs_session_open_b(session, demo.b, &e) &&
              qs_session_open_manifest(session, demo.manifest, &e) && qs_session_refresh(session, &e);
    return ok ? 0 : -1;
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

static void answer(qs_app *app, const qs_lesson *l, size_t page, int w, int h, bool ascii) {
    qs_lesson_subject s = {qs_session_compare(session), qs_session_resolution(session),
                           qs_session_verdict(session)};
    qs_buf keys = {0};
    qs_err e = QS_ERR_INIT;
    press(app, "a \"surely wrong\" Enter");
    expect(app, w, h, ascii, "not quite", qs_lesson_name(l));
    qs_buf_addz(&keys, "a \"");
    if (!qs_lesson_answer(l, page, &s, &keys, &e)) fail_msg("%s", e.msg);
    qs_buf_addz(&keys, "\" Enter");
    press(app, keys.p);
    expect(app, w, h, ascii, " right ", qs_lesson_name(l));
    qs_buf_free(&keys);
}

static void walk(const qs_lessons *all, int w, int h, bool ascii) {
    qs_app_options opt = {.ascii = ascii};
    qs_app *app = qs_app_new(session, &opt);
    assert_non_null(app);
    char size[40];
    snprintf(size, sizeof size, "resize:%dx%d L", w, h);
    press(app, size);
    for (size_t i = 0; i < qs_lessons_count(all); i++) {
        const qs_lesson *l = qs_lessons_at(all, i);
        press(app, "Enter");
        for (size_t page = 0; page < qs_lesson_pages(l); page++) {
            char where[32];
            qs_lesson_page p;
            assert_true(qs_lesson_page_at(l, page, &p));
            snprintf(where, sizeof where, "page %zu of %zu", page + 1, qs_lesson_pages(l));
            expect(app, w, h, ascii, where, qs_lesson_name(l));
            if (p.asks) answer(app, l, page, w, h, ascii);
            press(app, "n");
        }
        expect(app, w, h, ascii, "lesson done", qs_lesson_name(l)); /* the cursor is on the next one now */
    }
    press(app, "q");
    qs_app_free(app);
}

static void every_lesson_can_be_walked(void **state) {
    (void)state;
    static const struct {
        int w, h;
        bool ascii;
    } screens[] = {{80, 24, false}, {80, 24, true}, {120, 40, false}, {60, 16, true}};
    qs_lessons *all = NULL;
    qs_err e = QS_ERR_INIT;
    assert_true(qs_lessons_open(NULL, &all, &e));
    for (size_t i = 0; i < sizeof screens / sizeof *screens; i++)
        walk(all, screens[i].w, screens[i].h, screens[i].ascii);
    qs_lessons_free(all);
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

/* Every slider to both of its ends, at sizes that are too small too. */
static void sliders_answer(void **state) {
    (void)state;
    qs_app_options opt = {.ascii = true};
    qs_app *app = qs_app_new(session, &opt);
    press(app, "resize:80x24 / \"model.0.conv.module.weight_fake_quant.scale\" Enter W");
    expect(app, 80, 24, true, "8: 255 steps, -128 .. 127", "rounding");
    expect(app, 80, 24, true, "a ConvBn sees it scaled", "rounding");
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
        cmocka_unit_test(rows_lead_to_the_tree),
        cmocka_unit_test(sliders_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

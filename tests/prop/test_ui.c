/* Properties of the explorer that must hold whatever a person does, at any size of the window. */
#include "ui/app_impl.h"
#include "ui/tree_impl.h"
#include "ui_fixture.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <wchar.h>

#include <cmocka.h>

static uint64_t seed, state;

static uint32_t rnd(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (uint32_t)(state >> 33) % n : 0;
}

static qs_session *open_pair(const char *a, const char *b, const char *m) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = ui_session(a, b, m, &e);
    if (!s) fail_msg("%s", e.msg);
    return s;
}

static qs_session *any_session(void) {
    switch (rnd(4)) {
    case 0: return open_pair("float.pt", "qat.pt", "model.json");
    case 1: return open_pair("odd_a.pt", "odd_b.pt", NULL);
    case 2: return open_pair("float.pt", NULL, "model.json");
    default: return open_pair("qat.pt", NULL, NULL);
    }
}

/* ---- nothing is drawn outside the grid, and nothing that a terminal must not see ---- */

enum { GUARD = 4096 };

static void check_cell(const qs_grid *g, int x, int y) {
    const qs_cell *c = qs_grid_at(g, x, y);
    if (c->cp == 0) {
        assert_true(x > 0);
        assert_int_equal(wcwidth((wchar_t)qs_grid_at(g, x - 1, y)->cp), 2);
        return;
    }
    bool control = c->cp < 0x20 || (c->cp >= 0x7f && c->cp < 0xa0) || (c->cp >= 0x202a && c->cp <= 0x202e) ||
                   (c->cp >= 0x2066 && c->cp <= 0x2069) || c->cp == 0x200e || c->cp == 0x200f;
    assert_false(control);
    if (g->ascii) assert_true(c->cp < 0x80 && !c->mark[0]);
    bool wide = wcwidth((wchar_t)c->cp) == 2;
    if (wide) assert_true(x + 1 < g->w && qs_grid_at(g, x + 1, y)->cp == 0);
    assert_true(qs_pen_paint(c->pen) < QS_PAINT_COUNT);
}

static void draw_guarded(const qs_app *app, int w, int h, bool ascii) {
    size_t n = (size_t)w * (size_t)h;
    qs_cell *room = malloc((n + 2 * GUARD) * sizeof *room);
    assert_non_null(room);
    memset(room, 0xa5, (n + 2 * GUARD) * sizeof *room);
    qs_grid g = {.cell = room + GUARD, .w = w, .h = h, .ascii = ascii};
    assert_true(qs_grid_resize(&g, w, h)); /* the same size: only blanked */
    assert_ptr_equal(g.cell, room + GUARD);
    qs_app_render(app, &g);
    for (size_t i = 0; i < GUARD * sizeof *room; i++) {
        assert_int_equal(((unsigned char *)room)[i], 0xa5);
        assert_int_equal(((unsigned char *)(room + GUARD + n))[i], 0xa5);
    }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) check_cell(&g, x, y);
    assert_true(g.cursor_x < w && g.cursor_y < h);
    free(room);
}

static uint32_t any_key(void) {
    static const char common[] = "jjjjkkllhh  ]][[nN/fmMicduuRpvF?wsqtoEC+-=a:OKJeyDDbbQrVx23J";
    switch (rnd(8)) {
    case 0: return QS_KEY_FIRST_NAMED_ + 1 + rnd(QS_KEY_END_ - QS_KEY_FIRST_NAMED_ - 1);
    case 1: return QS_KEY_ENTER;
    case 2: return QS_KEY_ESC;
    case 3: return 1 + rnd(0x2ff);
    case 4: return rnd(2) ? QS_KEY_TAB : QS_KEY_DOWN;
    default: return (unsigned char)common[rnd(sizeof common - 1)];
    }
}

static qs_event any_event(int w, int h) {
    static const char *const pastes[] = {"model.0", "\x1b[2J\xff", "a\nb", "(.*)", "$1.conv", "\xe6\xa8\xa1"};
    switch (rnd(20)) {
    case 0: return (qs_event){.kind = QS_EVENT_RESIZE, .x = 1 + (int)rnd(300), .y = 1 + (int)rnd(100)};
    case 1:
        return (qs_event){.kind = QS_EVENT_MOUSE,
                          .mouse = (qs_mouse)rnd(4),
                          .x = (int)rnd((uint32_t)w + 2),
                          .y = (int)rnd((uint32_t)h + 2)};
    case 2: return (qs_event){.kind = QS_EVENT_PASTE, .text = qs_str_of(pastes[rnd(6)])};
    case 3: return (qs_event){.kind = QS_EVENT_IDLE};
    default: return (qs_event){.kind = QS_EVENT_KEY, .key = any_key(), .hasty = rnd(2)};
    }
}

/* A module says that it holds marked keys where it does, and nowhere else. */
static void check_marks(const qs_tree *t) {
    for (uint32_t n = 0; n < t->nodes; n++) {
        if (!qs_tree_is_module(t, n)) continue;
        bool any = false;
        for (uint32_t row = QS_NO_INDEX; !any && qs_tree_next_below(t, n, &row);)
            any = qs_tree_row_has(t, row, QS_KEY_MARKED);
        assert_int_equal(any, t->marked_in[n] > 0);
    }
}

static void check_tree(qs_app *app) {
    qs_tree *t = &app->tree;
    check_marks(t);
    assert_true(t->list.cursor < t->line.n || (t->line.n == 0 && t->list.cursor == 0));
    assert_int_equal(t->list.count, t->line.n);
    size_t n = t->line.n;
    qs_tree_line *was = malloc((n + 1) * sizeof *was);
    assert_non_null(was);
    if (n) memcpy(was, t->line.v, n * sizeof *was);
    qs_list list = t->list;
    /* Lines spliced in and out are what listing them anew gives. */
    if (t->c) assert_true(qs_tree_relist(t));
    assert_int_equal(t->line.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t->line.v[i].node, was[i].node);
        assert_int_equal(t->line.v[i].depth, was[i].depth);
    }
    t->list = list;
    free(was);
}

static void test_anything_at_any_size(void **unused) {
    (void)unused;
    for (int round = 0; round < 60; round++) {
        bool ascii = rnd(2);
        qs_session *s = any_session();
        qs_app *app = ui_app(s, ascii);
        assert_non_null(app);
        ui_resize(app, 1 + (int)rnd(300), 1 + (int)rnd(100));
        for (int i = 0; i < 250; i++) {
            qs_event ev = any_event(app->w, app->h);
            qs_app_update(app, &ev);
            check_tree(app);
            if (rnd(4) == 0) draw_guarded(app, app->w, app->h, ascii);
        }
        qs_app_free(app);
        qs_session_free(s);
    }
}

/* Whatever a command opens takes any keys, pastes, clicks and sizes while it is open. */
static void test_anything_in_every_view(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        bool ascii = rnd(2);
        if (!(qs_command_get(c)->where & QS_CTX_TREE)) continue;
        qs_app *app = ui_app(s, ascii);
        assert_non_null(app);
        ui_resize(app, 40 + (int)rnd(120), 10 + (int)rnd(50));
        for (uint32_t n = rnd(12); n; n--) ui_key(app, ']');
        qs_app_command(app, c);
        for (int i = 0; i < 16; i++) {
            qs_event ev =
                rnd(5) ? any_event(app->w, app->h)
                       : (qs_event){.kind = QS_EVENT_RESIZE, .x = 1 + (int)rnd(300), .y = 1 + (int)rnd(100)};
            qs_app_update(app, &ev);
            draw_guarded(app, app->w, app->h, ascii);
        }
        check_tree(app);
        qs_app_free(app);
    }
    qs_session_free(s);
}

/* ---- the mouse ---- */

/* Click on the last place where the text is drawn; false if it is not. */
static bool click_on(qs_app *app, const char *text) {
    qs_grid g = {.ascii = true};
    qs_buf dump = {0};
    assert_true(qs_grid_resize(&g, app->w, app->h));
    qs_app_render(app, &g);
    g.cursor_x = -1;
    qs_grid_dump(&g, false, &dump);
    const char *at = NULL;
    for (const char *p = dump.p; (p = strstr(p, text)); p++) at = p;
    size_t offset = at ? (size_t)(at - dump.p) : 0, row = (size_t)app->w + 2;
    qs_buf_free(&dump);
    qs_grid_free(&g);
    if (!at) return false;
    qs_event ev = {.kind = QS_EVENT_MOUSE, .x = (int)(offset % row), .y = (int)(offset / row)};
    qs_app_update(app, &ev);
    return true;
}

/* Text of a row of the screen from x on. */
static void text_at(const qs_grid *g, int x, int y, int w, char *out) {
    int n = 0;
    for (int i = 0; i < w && n < 199; i++) {
        uint32_t cp = qs_grid_at(g, x + i, y)->cp;
        if (cp) out[n++] = cp < 0x80 ? (char)cp : '?';
    }
    out[n] = 0;
}

static bool selected(const qs_grid *g, const qs_spot *spot) {
    return (qs_grid_at(g, spot->x, spot->y)->pen & QS_PEN_SELECTED) ||
           (g->cursor_x >= 0 && g->cursor_y == spot->y);
}

/* A box changes, a circle is chosen, anything else gets the bar or the cursor. */
static void check_picked(const qs_grid *before, const qs_grid *after, int i) {
    const qs_spot *spot = &before->spot[i];
    char was[200], is[200];
    text_at(before, spot->x, spot->y, spot->w, was);
    text_at(after, spot->x, spot->y, spot->w, is);
    if (was[0] == '[' && !strstr(was, "one family")) /* that one goes through the families that are there */
        assert_int_equal(was[1] == 'x', is[1] != 'x');
    else if (was[0] == '(')
        assert_int_not_equal(is[1], ' ');
    else
        assert_true(selected(after, spot));
}

static void click_every_spot(qs_app *app) {
    const qs_view *v = qs_app_top(app);
    for (int i = 0;; i++) {
        qs_grid before = {.ascii = true}, after = {.ascii = true};
        assert_true(qs_grid_resize(&before, app->w, app->h) && qs_grid_resize(&after, app->w, app->h));
        qs_app_render(app, &before);
        assert_true(before.spots > 1 && before.spots <= QS_SPOTS_MAX);
        bool more = i < before.spots;
        if (more) {
            const qs_spot *spot = &before.spot[i];
            qs_event ev = {.kind = QS_EVENT_MOUSE, .x = spot->x + (int)rnd((uint32_t)spot->w), .y = spot->y};
            assert_true(spot->what >= 0 && spot->x >= 0 && spot->x + spot->w <= app->w && spot->y < app->h);
            qs_app_update(app, &ev);
            assert_ptr_equal(qs_app_top(app), v);
            qs_app_render(app, &after);
            check_picked(&before, &after, i);
        }
        qs_grid_free(&before);
        qs_grid_free(&after);
        if (!more) return;
    }
}

/* In every dialog, at any size: rows, boxes and circles are what a click makes of them. */
static void test_clicks_choose(void **unused) {
    (void)unused;
    static const struct {
        const char *keys;
        const qs_view *view;
    } dialogs[] = {{"]m", &qs_view_map}, {"M", &qs_view_rule},   {"]]i", &qs_view_init}, {"F", &qs_view_fix},
                   {"w", &qs_view_save}, {"f", &qs_view_filter}, {"r", &qs_view_roots}};
    static const int size[][2] = {{80, 24}, {120, 40}, {60, 16}, {44, 12}};
    for (size_t i = 0; i < sizeof dialogs / sizeof *dialogs; i++) {
        for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
            bool roots = dialogs[i].view == &qs_view_roots;
            qs_session *s =
                roots ? open_pair("train.pt", NULL, NULL) : open_pair("float.pt", "qat.pt", "model.json");
            qs_app_options opt = {.ascii = true};
            qs_app *app = qs_app_new(s, &opt);
            qs_event idle = {.kind = QS_EVENT_IDLE};
            assert_non_null(app);
            ui_resize(app, size[k][0], size[k][1]);
            qs_app_update(app, &idle);
            for (const char *key = dialogs[i].keys; *key; key++) ui_key(app, (unsigned char)*key);
            assert_ptr_equal(qs_app_top(app), dialogs[i].view);
            click_every_spot(app);
            qs_app_free(app);
            qs_session_free(s);
        }
    }
}

static void test_clicks_press_keys(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    qs_app *app = ui_app(s, true);
    qs_event idle = {.kind = QS_EVENT_IDLE};
    ui_resize(app, 110, 30);
    qs_app_update(app, &idle);
    assert_true(click_on(app, "plan  ")); /* what a key does is as good as the key */
    assert_ptr_equal(qs_app_top(app), &qs_view_plan);
    assert_true(click_on(app, "q "));
    assert_int_equal(app->depth, 1);
    assert_true(click_on(app, "? help"));
    assert_string_equal(qs_app_top(app)->name, "help");
    ui_key(app, 'q');
    for (int i = 0; i < 4 && !app->detail_hint.n; i++) ui_key(app, ']');
    assert_true(click_on(app, "[F] fix"));
    assert_ptr_equal(qs_app_top(app), &qs_view_fix);
    assert_true(click_on(app, "Esc"));
    assert_int_equal(app->depth, 1);
    ui_key(app, 'i');
    assert_ptr_equal(qs_app_top(app), &qs_view_init);
    qs_event wheel = {.kind = QS_EVENT_MOUSE, .mouse = QS_MOUSE_WHEEL_DOWN, .x = 5, .y = 5};
    qs_app_update(app, &wheel);
    assert_true(click_on(app, "Esc"));
    assert_int_equal(app->depth, 1);
    qs_event blank = {.kind = QS_EVENT_MOUSE, .x = app->w - 1, .y = app->h - 1};
    size_t cursor = app->tree.list.cursor;
    qs_app_update(app, &blank); /* beside the hints */
    assert_int_equal(app->depth, 1);
    assert_int_equal(app->tree.list.cursor, cursor);
    qs_app_free(app);
    qs_session_free(s);
}

/* A paste is text where text is asked for, and nothing elsewhere: it never is a command. */
static void test_pastes_are_no_keys(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    for (qs_command c = QS_CMD_NONE; c < QS_CMD_COUNT; c++) {
        if (c && !(qs_command_get(c)->where & QS_CTX_TREE)) continue;
        qs_app *app = ui_app(s, false);
        ui_resize(app, 100, 30);
        qs_app_command(app, c);
        size_t depth = app->depth, actions = qs_plan_count(qs_session_plan(s));
        const qs_view *top = qs_app_top(app);
        qs_event ev = {.kind = QS_EVENT_PASTE, .text = QS_STR("\rF\rdciu\x1bq\x03\x1a\r\n:quit\r")};
        unsigned reaction = qs_app_update(app, &ev);
        assert_int_equal(reaction & (QS_APP_QUIT | QS_APP_SUSPEND), 0);
        assert_int_equal(app->depth, depth);
        assert_ptr_equal(qs_app_top(app), top);
        assert_int_equal(qs_plan_count(qs_session_plan(s)), actions);
        qs_app_free(app);
    }
    qs_session_free(s);
}

static void test_every_small_size(void **unused) {
    (void)unused;
    static const char *const views[] = {"",  "m", "M", "i", "F", "p", "v", "?", "f", "w",
                                        "q", "/", ":", "D", "e", "b", "Q", "r", "A"};
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    qs_app *app = ui_app(s, false);
    for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
        ui_resize(app, 80, 24);
        for (int i = 0; i < 4; i++) ui_key(app, QS_KEY_ESC);
        if (views[v][0]) ui_key(app, (unsigned char)views[v][0]);
        for (int h = 1; h <= 26; h++) {
            for (int w = 1; w <= 110; w += w < 50 ? 1 : 7) {
                ui_resize(app, w, h);
                draw_guarded(app, w, h, false);
            }
        }
    }
    qs_app_free(app);
    qs_session_free(s);
}

/* ---- what is undone is as if it had not been done ---- */

static void count_all(const qs_app *app, uint32_t out[QS_STATUS_COUNT]) {
    memcpy(out, qs_compare_node(app->tree.c, 0)->count_status, QS_STATUS_COUNT * sizeof *out);
}

static void test_undo_restores(void **unused) {
    (void)unused;
    for (int round = 0; round < 25; round++) {
        static const char keys[] = "micdFFccdd]]]]jjkk E";
        qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
        qs_app *app = ui_app(s, false);
        uint32_t before[QS_STATUS_COUNT], after[QS_STATUS_COUNT];
        ui_resize(app, 100, 30);
        count_all(app, before);
        for (int i = 0; i < 60; i++)
            ui_key(app, rnd(3) ? (unsigned char)keys[rnd(sizeof keys - 1)] : QS_KEY_ENTER);
        for (int i = 0; i < 6; i++) ui_key(app, QS_KEY_ESC);
        for (int i = 0; i < 80; i++) ui_key(app, 'u');
        assert_int_equal(qs_plan_count(qs_session_plan(s)), 0);
        count_all(app, after);
        assert_memory_equal(before, after, sizeof before);
        qs_app_free(app);
        qs_session_free(s);
    }
}

static void details_text(const qs_app *app, qs_buf *out) {
    out->n = 0;
    for (size_t i = 0; i < qs_rich_lines(&app->details); i++) qs_rich_text(&app->details, i, out);
    qs_buf_addc(out, 0);
}

/* A held key leaves the details behind; the pause after it brings those of where it came to, and the first
 * key after a pause is not hasty. What the plan changes is told at once. */
static void test_held_keys(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    qs_app *app = ui_app(s, false);
    qs_event down = {.kind = QS_EVENT_KEY, .key = 'j', .hasty = true}, idle = {.kind = QS_EVENT_IDLE};
    qs_event drop = {.kind = QS_EVENT_KEY, .key = 'd', .hasty = true};
    qs_buf before = {0}, after = {0}, slow = {0};
    ui_resize(app, 120, 40);
    qs_app_update(app, &idle);
    ui_key(app, 'E');
    details_text(app, &before);
    for (int i = 0; i < 3; i++) {
        unsigned reaction = qs_app_update(app, &down);
        assert_true((reaction & QS_APP_IDLE) && (reaction & QS_APP_PAUSE));
    }
    details_text(app, &after);
    assert_string_equal(after.p, before.p);
    assert_false(qs_app_update(app, &idle) & QS_APP_PAUSE);
    details_text(app, &after);
    for (int i = 0; i < 3; i++) ui_key(app, 'k');
    details_text(app, &slow);
    assert_string_equal(slow.p, before.p);
    for (int i = 0; i < 3; i++) ui_key(app, 'j');
    qs_app_update(app, &idle);
    details_text(app, &slow);
    assert_string_equal(slow.p, after.p);
    assert_string_not_equal(after.p, before.p);
    qs_app_update(app, &drop);
    details_text(app, &slow);
    assert_string_not_equal(slow.p, after.p);
    qs_buf_free(&before);
    qs_buf_free(&after);
    qs_buf_free(&slow);
    qs_app_free(app);
    qs_session_free(s);
}

static void test_counts_add_up(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    qs_app *app = ui_app(s, false);
    const qs_tree *t = &app->tree;
    for (uint32_t n = 0; n < t->nodes; n++) {
        uint32_t counts[QS_STATUS_COUNT] = {0};
        for (uint32_t row = QS_NO_INDEX; qs_tree_next_below(t, n, &row);)
            counts[qs_compare_row(t->c, row)->status]++;
        assert_memory_equal(counts, qs_compare_node(t->c, n)->count_status, sizeof counts);
    }
    qs_app_free(app);
    qs_session_free(s);
}

/* ---- marks stay on their names ---- */

static uint64_t marked_names(const qs_tree *t, uint32_t *n) {
    uint64_t sum = 0;
    *n = 0;
    for (uint32_t row = 0; row < qs_compare_rows(t->c); row++) {
        if (!qs_tree_row_has(t, row, QS_KEY_MARKED)) continue;
        qs_str key = qs_compare_row(t->c, row)->key;
        sum += qs_hash(key.p, key.n, 1);
        ++*n;
    }
    assert_int_equal(*n, t->marked);
    return sum;
}

static void test_marks_outlive_comparisons(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    for (int round = 0; round < 20; round++) {
        qs_app *app = ui_app(s, false);
        ui_resize(app, 100, 30);
        ui_key(app, 'E');
        for (int i = 0; i < 40; i++) ui_key(app, rnd(3) ? 'j' : ' ');
        uint32_t n, m;
        uint64_t names = marked_names(&app->tree, &n);
        /* The row of what is renamed goes, with its mark or without, and comes back. */
        const qs_compare *c = app->tree.c;
        uint32_t row = rnd(qs_compare_rows(c));
        while (qs_compare_row(c, row)->r == QS_NO_INDEX) row = (row + 1) % qs_compare_rows(c);
        char key[256];
        snprintf(key, sizeof key, "%.*s", QS_FMT(qs_compare_row(c, row)->key));
        bool was = qs_tree_row_has(&app->tree, row, QS_KEY_MARKED);
        qs_rename_pair pair = {qs_str_of(key), QS_STR("nobody.knows")};
        qs_action rename = {
            .kind = QS_ACT_RENAME, .pairs = &pair, .pair_count = 1, .bn_eps = __builtin_nan("")};
        assert_true(qs_app_do(app, &rename, "renamed"));
        marked_names(&app->tree, &m);
        bool wanted = qs_compare_find(app->tree.c, pair.from) != QS_NO_INDEX; /* the model has it */
        assert_int_equal(m, n - (was && !wanted));
        ui_key(app, 'u');
        assert_true(marked_names(&app->tree, &m) == names);
        ui_key(app, 'o'); /* another order of the same */
        assert_true(marked_names(&app->tree, &m) == names);
        qs_app_free(app);
    }
    qs_session_free(s);
}

/* ---- tables ---- */

static void test_every_command_is_reachable(void **unused) {
    (void)unused;
    qs_keymap map;
    qs_keymap_init(&map);
    assert_true(map.n < QS_BINDINGS_MAX);
    bool bound[QS_CMD_COUNT] = {false};
    for (size_t i = 0; i < map.n; i++) {
        assert_int_not_equal(map.v[i].key, 0);
        for (unsigned ctx = 1; ctx <= QS_CTX_LAST_; ctx <<= 1)
            if (map.v[i].where & ctx)
                assert_int_equal(qs_keymap_find(&map, (qs_context)ctx, map.v[i].key), map.v[i].command);
        bound[map.v[i].command] = true;
    }
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        const qs_command_info *info = qs_command_get(c);
        assert_true(bound[c] || (info->where & QS_CTX_TREE)); /* without a key it has its name */
        assert_true(info->help[0] && info->name[0] && info->group[0] && info->where);
        for (qs_command d = c + 1; d < QS_CMD_COUNT; d++)
            assert_string_not_equal(info->name, qs_command_get(d)->name);
        if (info->where & QS_CTX_TREE)
            assert_int_equal(qs_command_find(qs_str_of(info->name), QS_CTX_TREE), c);
    }
}

/* Every command does something where it is said to: a handler knows it. */
static void test_every_command_is_handled(void **unused) {
    (void)unused;
    qs_session *s = open_pair("float.pt", "qat.pt", "model.json");
    qs_app *app = ui_app(s, false);
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        static const qs_command common[] = {QS_CMD_REDRAW, QS_CMD_SUSPEND, QS_CMD_HELP, QS_CMD_UNDO,
                                            QS_CMD_REDO,   QS_CMD_WRITE,   QS_CMD_BACK};
        bool shared = false;
        for (size_t i = 0; i < sizeof common / sizeof *common; i++) shared = shared || common[i] == c;
        if (!(qs_command_get(c)->where & QS_CTX_TREE) || shared) continue;
        while (app->depth > 1) qs_app_close(app);
        assert_true(qs_view_tree.command(app, c));
    }
    qs_app_free(app);
    qs_session_free(s);
}

static void unlike(const char *a, const char *b) {
    if (strcmp(a, " ") != 0) assert_string_not_equal(a, b);
}

static void test_signs_are_unique(void **unused) {
    (void)unused;
    for (int i = 0; i < QS_STATUS_COUNT; i++) {
        const qs_status_info *x = qs_status_get((qs_status)i);
        assert_true(x->name[0] && x->glyph[0] && x->ascii[0] && x->help[0]);
        assert_int_equal(strlen(x->ascii), 1);
        for (int j = i + 1; j < QS_STATUS_COUNT; j++) {
            unlike(x->glyph, qs_status_get((qs_status)j)->glyph);
            unlike(x->ascii, qs_status_get((qs_status)j)->ascii);
        }
    }
    for (int i = 0; i < QS_MARK_COUNT; i++) {
        for (int j = i + 1; j < QS_MARK_COUNT; j++) {
            unlike(qs_mark_get((qs_mark)i)->glyph, qs_mark_get((qs_mark)j)->glyph);
            unlike(qs_mark_get((qs_mark)i)->ascii, qs_mark_get((qs_mark)j)->ascii);
        }
    }
}

/* What is drawn for a status in ASCII is what status.def says. */
static void test_ascii_stand_ins(void **unused) {
    (void)unused;
    qs_grid g = {.ascii = true};
    assert_true(qs_grid_resize(&g, 4, 1));
    for (int i = 0; i < QS_STATUS_COUNT; i++) {
        qs_drawz(qs_pane_of(&g), 0, 0, 0, qs_status_get((qs_status)i)->glyph);
        assert_int_equal(qs_grid_at(&g, 0, 0)->cp, (unsigned char)qs_status_get((qs_status)i)->ascii[0]);
    }
    for (int i = 0; i < QS_MARK_COUNT; i++) {
        qs_drawz(qs_pane_of(&g), 0, 0, 0, qs_mark_get((qs_mark)i)->glyph);
        assert_int_equal(qs_grid_at(&g, 0, 0)->cp, (unsigned char)qs_mark_get((qs_mark)i)->ascii[0]);
    }
    qs_grid_free(&g);
}

int main(void) {
    const char *given = getenv("QATSCOPE_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    state = seed;
    printf("seed %llu (QATSCOPE_SEED repeats it)\n", (unsigned long long)seed);
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    setenv("XDG_STATE_HOME", "/nonexistent", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anything_at_any_size),
        cmocka_unit_test(test_anything_in_every_view),
        cmocka_unit_test(test_clicks_press_keys),
        cmocka_unit_test(test_clicks_choose),
        cmocka_unit_test(test_pastes_are_no_keys),
        cmocka_unit_test(test_every_small_size),
        cmocka_unit_test(test_undo_restores),
        cmocka_unit_test(test_held_keys),
        cmocka_unit_test(test_counts_add_up),
        cmocka_unit_test(test_marks_outlive_comparisons),
        cmocka_unit_test(test_every_command_is_reachable),
        cmocka_unit_test(test_every_command_is_handled),
        cmocka_unit_test(test_signs_are_unique),
        cmocka_unit_test(test_ascii_stand_ins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The terminal layer against real ncurses: keys come from a file, the screen is read back cell by cell. */
#include "ui/term.h"

#include <curses.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static qs_term *open_term(const char *keys, size_t n, const char *type, qs_color_mode color, FILE **in,
                          FILE **out) {
    qs_err e = QS_ERR_INIT;
    qs_term *t = NULL;
    *in = tmpfile();
    *out = tmpfile();
    assert_non_null(*in);
    assert_non_null(*out);
    fwrite(keys, 1, n, *in);
    rewind(*in);
    qs_term_options opt = {.color = color, .mouse = true, .term = type, .in = *in, .out = *out};
    if (!qs_term_open(&opt, &t, &e)) fail_msg("%s", e.msg);
    return t;
}

static void close_term(qs_term *t, FILE *in, FILE *out) {
    qs_term_close(t);
    fclose(in);
    fclose(out);
}

static qs_event next(qs_term *t) {
    qs_event ev;
    qs_term_wait(t, 1000, &ev);
    return ev;
}

static void expect_key(qs_term *t, uint32_t key) {
    qs_event ev = next(t);
    assert_int_equal(ev.kind, QS_EVENT_KEY);
    assert_int_equal(ev.key, key);
}

#define OPEN(keys, type, color) open_term(keys, sizeof(keys) - 1, type, color, &in, &out)

static void test_keys(void **state) {
    (void)state;
    FILE *in, *out;
    qs_term *t = OPEN("j\xc3\xa9\r\t\x7f\x12\x1a\x1bOA\x1bOB\x1b[5~\x1b[6~\x1b[Z\x1bOP\x1b[3~",
                      "xterm-256color", QS_COLOR_AUTO);
    static const uint32_t want[] = {
        'j',          0xe9,         QS_KEY_ENTER, QS_KEY_TAB,     QS_KEY_BACKSPACE, QS_CTRL('R'),
        QS_CTRL('Z'), QS_KEY_UP,    QS_KEY_DOWN,  QS_KEY_PAGE_UP, QS_KEY_PAGE_DOWN, QS_KEY_BACKTAB,
        QS_KEY_F1,    QS_KEY_DELETE};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) expect_key(t, want[i]);
    assert_int_equal(next(t).kind, QS_EVENT_HANGUP); /* the end of the file is the end of the terminal */
    close_term(t, in, out);
}

static void test_escape_alone(void **state) {
    (void)state;
    FILE *in, *out;
    qs_term *t = OPEN("\x1b", "xterm-256color", QS_COLOR_AUTO);
    expect_key(t, QS_KEY_ESC);
    close_term(t, in, out);
}

/* What no description of the terminal names is read whole: its characters are no commands. */
static void test_sequences(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t key[3];
    } cases[] = {{"\x1b[B", {QS_KEY_DOWN}},
                 {"\x1bOA", {QS_KEY_UP}},
                 {"\x1b[H\x1b[F", {QS_KEY_HOME, QS_KEY_END}},
                 {"\x1b[1~\x1b[4~\x1b[15~", {QS_KEY_HOME, QS_KEY_END, QS_KEY_F1 + 4}},
                 {"\x1b[Zj", {QS_KEY_BACKTAB, 'j'}},
                 {"\x1b[1;5Cj", {'j'}},
                 {"\x1b[3;5~\x1b[27;2;13~j", {'j'}},
                 {"\x1b[I\x1b[Oj", {'j'}}, /* focus in and out */
                 {"\x1b[99999999999999999999999999999999", {QS_KEY_ESC, '[', '9'}},
                 {"\x1b[", {QS_KEY_ESC, '['}},
                 {"\x1bO", {QS_KEY_ESC, 'O'}},
                 {"\x1b[1\xc3\xa9", {QS_KEY_ESC, '[', '1'}},
                 {"\x1bj", {QS_KEY_ESC, 'j'}},
                 {"\x1b\x1b", {QS_KEY_ESC, QS_KEY_ESC}}};
    static const char *const types[] = {"xterm-256color", "vt100", "linux", "screen"};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            FILE *in, *out;
            qs_term *t = open_term(cases[i].text, strlen(cases[i].text), types[k], QS_COLOR_AUTO, &in, &out);
            for (int j = 0; j < 3 && cases[i].key[j]; j++) expect_key(t, cases[i].key[j]);
            close_term(t, in, out);
        }
}

/* Long work asks for Esc: what else was typed comes after it, in order; before an Esc it was for the work. */
static void test_keys_wait_for_long_work(void **state) {
    (void)state;
    FILE *in, *out;
    qs_term *t = OPEN("jk\x1b[200~one\x1b[201~\x1b[200~two\x1b[201~x", "xterm-256color", QS_COLOR_AUTO);
    assert_false(qs_term_cancelled(t));
    assert_false(qs_term_cancelled(t));
    assert_true(qs_term_pending(t));
    expect_key(t, 'j');
    expect_key(t, 'k');
    for (int i = 0; i < 2; i++) {
        qs_event ev = next(t);
        assert_int_equal(ev.kind, QS_EVENT_PASTE);
        assert_int_equal(ev.text.n, 3);
        assert_memory_equal(ev.text.p, i ? "two" : "one", 3);
    }
    expect_key(t, 'x');
    close_term(t, in, out);
    t = OPEN("jk\x03x", "xterm-256color", QS_COLOR_AUTO);
    assert_true(qs_term_cancelled(t));
    expect_key(t, 'x');
    close_term(t, in, out);
}

static void test_paste_is_one_event(void **state) {
    (void)state;
    FILE *in, *out;
    qs_term *t = OPEN("\x1b[200~model.0\rq\x1b[201~x", "xterm-256color", QS_COLOR_AUTO);
    qs_event ev = next(t);
    assert_int_equal(ev.kind, QS_EVENT_PASTE);
    assert_int_equal(ev.text.n, 9); /* the q in it is text, no command */
    assert_memory_equal(ev.text.p, "model.0\rq", 9);
    expect_key(t, 'x');
    close_term(t, in, out);
}

static void test_mouse(void **state) {
    (void)state;
    FILE *in, *out;
    /* A key after each: ncurses takes a burst of mouse reports for one. */
    qs_term *t = OPEN("\x1b[<0;11;6M.\x1b[<0;11;6m\x1b[<0;11;6M.\x1b[<0;11;6m\x1b[<64;3;3M.\x1b[<65;3;3M.",
                      "xterm-256color", QS_COLOR_AUTO);
    static const qs_mouse want[] = {QS_MOUSE_CLICK, QS_MOUSE_DOUBLE, QS_MOUSE_WHEEL_UP, QS_MOUSE_WHEEL_DOWN};
    for (size_t i = 0; i < 4; i++) {
        qs_event ev = next(t);
        assert_int_equal(ev.kind, QS_EVENT_MOUSE);
        assert_int_equal(ev.mouse, want[i]);
        if (i == 0) assert_true(ev.x == 10 && ev.y == 5);
        expect_key(t, '.');
    }
    close_term(t, in, out);
}

static wchar_t char_at(int y, int x, attr_t *attrs, short *pair) {
    cchar_t cell[2]; /* and one that ends them */
    wchar_t text[CCHARW_MAX + 1];
    assert_int_not_equal(mvin_wchnstr(y, x, cell, 1), ERR);
    assert_int_equal(getcchar(cell, text, attrs, pair, NULL), OK);
    return text[0];
}

static void draw_sample(qs_grid *g, int w, int h) {
    assert_true(qs_grid_resize(g, w, h));
    qs_pane p = qs_pane_of(g);
    qs_drawz(p, 0, 0, QS_PEN(MISSING), "✗ a");
    qs_drawz(p, 0, 1, QS_PEN(NORMAL) | QS_PEN_SELECTED, "量化e\xcc\x81");
    qs_drawz(p, w - 1, h - 1, QS_PEN(NORMAL), "Z");
}

static void test_cells_reach_the_screen(void **state) {
    (void)state;
    FILE *in, *out;
    qs_term *t = OPEN("", "xterm-256color", QS_COLOR_AUTO);
    qs_grid g = {0};
    int w, h;
    attr_t attrs;
    short pair, fg, bg;
    qs_term_size(t, &w, &h);
    assert_int_equal(qs_term_palette(t), QS_PALETTE_256);
    draw_sample(&g, w, h);
    qs_term_show(t, &g);
    assert_int_equal(char_at(0, 0, &attrs, &pair), 0x2717);
    pair_content(pair, &fg, &bg);
    qs_theme theme;
    qs_theme_init(&theme, QS_THEME_DEFAULT);
    assert_int_equal(!!(attrs & A_BOLD),
                     theme.style[QS_PALETTE_256][QS_PAINT_MISSING][0].attrs & QS_ATTR_BOLD);
    assert_int_equal(fg, theme.style[QS_PALETTE_256][QS_PAINT_MISSING][0].fg);
    assert_int_equal(bg, -1);
    assert_int_equal(char_at(1, 0, &attrs, &pair), 0x91cf);
    pair_content(pair, &fg, &bg);
    assert_int_equal(bg, theme.style[QS_PALETTE_256][QS_PAINT_NORMAL][1].bg);
    assert_int_equal(char_at(1, 4, &attrs, &pair), 'e');
    assert_int_equal(char_at(h - 1, w - 1, &attrs, &pair), 'Z');
    qs_grid_free(&g);
    close_term(t, in, out);
}

static long wire(FILE *out) {
    fflush(out);
    return lseek(fileno(out), 0, SEEK_END);
}

static void test_only_changes_are_sent(void **state) {
    (void)state;
    FILE *in, *out;
    qs_term *t = OPEN("", "xterm-256color", QS_COLOR_AUTO);
    qs_grid g = {0};
    int w, h;
    qs_term_size(t, &w, &h);
    draw_sample(&g, w, h);
    qs_term_show(t, &g);
    long first = wire(out);
    draw_sample(&g, w, h);
    qs_term_show(t, &g);
    assert_int_equal(wire(out), first); /* the same frame again costs nothing */
    qs_drawz(qs_pane_of(&g), 10, 5, QS_PEN(NORMAL), "x");
    qs_term_show(t, &g);
    assert_in_range(wire(out) - first, 1, 60);
    qs_grid_free(&g);
    close_term(t, in, out);
}

/* Every role of every theme comes out as the theme says, before and after another theme is chosen. */
static void draw_roles(qs_grid *g, qs_term *t) {
    int w, h;
    qs_term_size(t, &w, &h);
    assert_true(qs_grid_resize(g, w, h));
    for (int i = 0; i < QS_PAINT_COUNT * 2; i++)
        qs_drawz(qs_pane_of(g), i % 40, i / 40, (qs_pen)(i / 2) | (i % 2 ? QS_PEN_SELECTED : 0), "x");
    qs_term_show(t, g);
}

static void expect_roles(qs_palette p, const qs_theme *theme) {
    for (int i = 0; i < QS_PAINT_COUNT * 2; i++) {
        qs_style want = theme->style[p][i / 2][i % 2];
        attr_t attrs;
        short pair, fg = -1, bg = -1;
        assert_int_equal(char_at(i / 40, i % 40, &attrs, &pair), 'x');
        if (p != QS_PALETTE_MONO) pair_content(pair, &fg, &bg);
        assert_int_equal(fg, want.fg);
        assert_int_equal(bg, want.bg);
        assert_int_equal(!!(attrs & A_BOLD), !!(want.attrs & QS_ATTR_BOLD));
        assert_int_equal(!!(attrs & A_UNDERLINE), !!(want.attrs & QS_ATTR_UNDERLINE));
        assert_int_equal(!!(attrs & A_REVERSE), !!(want.attrs & QS_ATTR_REVERSE));
    }
}

/* Not every terminfo has every terminal. */
static bool known(const char *type) {
    qs_err e = QS_ERR_INIT;
    qs_term *t = NULL;
    FILE *in = tmpfile(), *out = tmpfile();
    qs_term_options opt = {.term = type, .in = in, .out = out};
    bool ok = qs_term_open(&opt, &t, &e);
    close_term(t, in, out);
    return ok;
}

static void test_every_role_of_every_theme(void **state) {
    (void)state;
    static const struct {
        const char *type;
        qs_palette palette;
    } terms[] = {{"xterm-256color", QS_PALETTE_256},
                 {"xterm-16color", QS_PALETTE_16},
                 {"xterm", QS_PALETTE_8},
                 {"linux", QS_PALETTE_8},
                 {"vt100", QS_PALETTE_MONO},
                 {"xterm-mono", QS_PALETTE_MONO}};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        FILE *in, *out;
        if (!known(terms[i].type)) continue;
        qs_term *t = OPEN("", terms[i].type, QS_COLOR_AUTO);
        qs_grid g = {0};
        assert_int_equal(qs_term_palette(t), terms[i].palette);
        for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++) {
            qs_theme theme;
            qs_theme_init(&theme, id);
            qs_term_theme(t, &theme);
            draw_roles(&g, t);
            expect_roles(terms[i].palette, &theme);
        }
        qs_grid_free(&g);
        close_term(t, in, out);
    }
}

static void check_palette(const char *type, qs_color_mode mode, qs_palette want) {
    FILE *in, *out;
    qs_term *t = OPEN("", type, mode);
    qs_grid g = {0};
    int w, h;
    assert_int_equal(qs_term_palette(t), want);
    qs_term_size(t, &w, &h);
    draw_sample(&g, w, h);
    qs_term_show(t, &g);
    qs_grid_free(&g);
    close_term(t, in, out);
}

static void test_palettes(void **state) {
    (void)state;
    check_palette("xterm-256color", QS_COLOR_AUTO, QS_PALETTE_256);
    check_palette("xterm-256color", QS_COLOR_NEVER, QS_PALETTE_MONO);
    check_palette("xterm", QS_COLOR_AUTO, QS_PALETTE_8);
    check_palette("linux", QS_COLOR_AUTO, QS_PALETTE_8);
    check_palette("vt100", QS_COLOR_AUTO, QS_PALETTE_MONO);
    setenv("NO_COLOR", "1", 1);
    check_palette("xterm-256color", QS_COLOR_AUTO, QS_PALETTE_MONO);
    check_palette("xterm-256color", QS_COLOR_ALWAYS, QS_PALETTE_256);
    setenv("NO_COLOR", "", 1); /* no-color.org: an empty value does not count */
    check_palette("xterm-256color", QS_COLOR_AUTO, QS_PALETTE_256);
    unsetenv("NO_COLOR");
}

static void test_unknown_terminal(void **state) {
    (void)state;
    qs_err e = QS_ERR_INIT;
    qs_term *t;
    qs_term_options opt = {.term = "no-such-terminal"};
    assert_false(qs_term_open(&opt, &t, &e));
    assert_int_equal(e.code, QS_E_USAGE);
    assert_non_null(strstr(e.msg, "no-such-terminal"));
}

int main(void) {
    setlocale(LC_ALL, "C.UTF-8");
    unsetenv("NO_COLOR");
    setenv("LINES", "24", 1);
    setenv("COLUMNS", "80", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_escape_alone),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_keys_wait_for_long_work),
        cmocka_unit_test(test_paste_is_one_event),
        cmocka_unit_test(test_mouse),
        cmocka_unit_test(test_cells_reach_the_screen),
        cmocka_unit_test(test_only_changes_are_sent),
        cmocka_unit_test(test_palettes),
        cmocka_unit_test(test_every_role_of_every_theme),
        cmocka_unit_test(test_unknown_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Settings: what is printed is read back to the same, whatever was set; mistakes are told with their line and
 * harm nothing; and the themes can be read and told apart, also by those who confuse colours. */
#include "ui/app_impl.h"
#include "ui_fixture.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static uint64_t seed, state;

static uint32_t rnd(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (uint32_t)(state >> 33) % n : 0;
}

/* ---- printing and reading ---- */

static void same_keys(const qs_keymap *a, const qs_keymap *b) {
    for (unsigned ctx = 1; ctx <= QS_CTX_LAST_; ctx <<= 1)
        for (uint32_t key = 1; key < QS_KEY_END_; key = key == 0x400 ? QS_KEY_FIRST_NAMED_ + 1 : key + 1)
            assert_int_equal(qs_keymap_find(a, (qs_context)ctx, key),
                             qs_keymap_find(b, (qs_context)ctx, key));
}

static void same_styles(const qs_theme *a, const qs_theme *b) {
    for (int p = 0; p < QS_PALETTE_COUNT; p++)
        for (int i = 0; i < QS_PAINT_COUNT * 2; i++) {
            qs_style x = a->style[p][i / 2][i % 2], y = b->style[p][i / 2][i % 2];
            assert_true(x.fg == y.fg && x.bg == y.bg && x.attrs == y.attrs);
        }
}

static void expect_round_trip(const qs_config *c) {
    qs_config again;
    qs_buf text = {0};
    qs_config_init(&again);
    qs_config_print_keymap(c, &text);
    qs_config_print_theme(c, &text);
    assert_false(text.failed);
    qs_config_parse(&again, "both", qs_buf_str(&text));
    if (again.complaint_count) fail_msg("%s", again.complaints.p);
    same_keys(&c->keymap, &again.keymap);
    assert_int_equal(c->start, again.start);
    same_styles(&c->theme[c->start], &again.theme[c->start]);
    for (qs_command k = 1; k < QS_CMD_COUNT; k++) { /* hints and help say the same keys in the same order */
        char x[64], y[64];
        qs_keymap_keys(&c->keymap, k, x, sizeof x);
        qs_keymap_keys(&again.keymap, k, y, sizeof y);
        if (c->keymap.n == again.keymap.n) assert_string_equal(x, y);
    }
    qs_buf_free(&text);
    qs_config_free(&again);
}

static void test_built_in_round_trips(void **unused) {
    (void)unused;
    qs_config c;
    qs_config_init(&c);
    for (c.start = 0; c.start < QS_THEME_COUNT; c.start++) expect_round_trip(&c);
}

static void any_setting(qs_config *c) {
    uint32_t key = rnd(3) ? 33 + rnd(90) : rnd(2) ? QS_KEY_FIRST_NAMED_ + 1 + rnd(20) : 128 + rnd(0x300);
    qs_command k = rnd(4) ? 1 + rnd(QS_CMD_COUNT - 1) : QS_CMD_NONE;
    unsigned where = rnd(2) ? 1u << rnd(QS_CTX_COUNT) : rnd(1u << QS_CTX_COUNT);
    if (k) where &= qs_command_get(k)->where;
    assert_true(qs_keymap_bind(&c->keymap, where, key, k));
    int p = (int)rnd(QS_PALETTE_COUNT), n = qs_palette_colors((qs_palette)p);
    c->theme[c->start].style[p][rnd(QS_PAINT_COUNT)][rnd(2)] = (qs_style){
        (int16_t)((int)rnd((uint32_t)n + 1) - 1), (int16_t)((int)rnd((uint32_t)n + 1) - 1), (uint8_t)rnd(16)};
}

static void test_any_settings_round_trip(void **unused) {
    (void)unused;
    for (int round = 0; round < 60; round++) {
        qs_config c;
        qs_config_init(&c);
        c.start = rnd(QS_THEME_COUNT);
        for (uint32_t n = rnd(40); n; n--) any_setting(&c);
        expect_round_trip(&c);
    }
}

static void test_mistakes_are_told(void **unused) {
    (void)unused;
    static const struct {
        const char *line, *complaint;
    } cases[] = {
        {"bind tree Foo down", "no key is called \"Foo\""},
        {"bind forest j down", "no context is called \"forest\""},
        {"bind tree j dwon", "no command is called \"dwon\""},
        {"bind plan j search", "search means nothing in context plan"},
        {"bind tree j", "it is: bind CONTEXT KEY COMMAND"},
        {"unbind tree j down", "it is: unbind CONTEXT KEY"},
        {"blind tree j down", "no setting is called \"blind\""},
        {"theme gruvbox", "no theme is called \"gruvbox\""},
        {"role 256 foo 1 2", "no role is called \"foo\""},
        {"role 12 missing 1 2", "no set of colours (256, 16, 8, mono) is called \"12\""},
        {"role 8 missing 9 2", "there is no colour 9 among 8"},
        {"role mono missing red default", "there is no colour red among 0"},
        {"role 256 missing 256 default", "there is no colour 256 among 256"},
        {"role 256 missing 99999999999 default", "there is no colour 99999999999 among 256"},
        {"role 256 missing -1 default", "no colour is called \"-1\""},
        {"role 256 missing mauve default", "no colour is called \"mauve\""},
        {"role 256 missing 1 2 blink", "no attribute is called \"blink\""},
        {"bind tree \x1b[2J down", "no key is called \"\\x1b[2J\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_config c, built_in;
        char text[200], want[200];
        qs_config_init(&c);
        qs_config_init(&built_in);
        snprintf(text, sizeof text, "# a comment\n\nbind tree j up\n%s\nbind tree k down", cases[i].line);
        snprintf(want, sizeof want, "settings:4: %s\n", cases[i].complaint);
        qs_config_parse(&c, "settings", qs_str_of(text));
        assert_int_equal(c.complaint_count, 1);
        assert_string_equal(c.complaints.p, want);
        /* the lines around it hold, and the colours are as they were */
        assert_int_equal(qs_keymap_find(&c.keymap, QS_CTX_TREE, 'j'), QS_CMD_UP);
        assert_int_equal(qs_keymap_find(&c.keymap, QS_CTX_TREE, 'k'), QS_CMD_DOWN);
        assert_int_equal(qs_keymap_find(&c.keymap, QS_CTX_PLAN, 'j'), QS_CMD_DOWN);
        same_styles(&c.theme[QS_THEME_DEFAULT], &built_in.theme[QS_THEME_DEFAULT]);
        qs_config_free(&c);
    }
}

/* ---- settings at work ---- */

static char *screen_of(const qs_app *app, int w, int h) {
    qs_grid g = {0};
    qs_buf text = {0};
    assert_true(qs_grid_resize(&g, w, h));
    qs_app_render(app, &g);
    qs_grid_dump(&g, false, &text);
    qs_grid_free(&g);
    return text.p;
}

static void test_settings_work(void **unused) {
    (void)unused;
    qs_err e = QS_ERR_INIT;
    qs_session *s = ui_session("float.pt", "qat.pt", "model.json", &e);
    qs_config c;
    if (!s) fail_msg("%s", e.msg);
    qs_config_init(&c);
    qs_config_parse(&c, "keymap",
                    QS_STR("bind all ^E down\nbind tree z initialise\nunbind tree i\nno\ntheme light\n"));
    qs_app_options opt = {.read_only = true, .config = &c};
    qs_app *app = qs_app_new(s, &opt);
    assert_non_null(app);
    ui_resize(app, 100, 30);
    char *text = screen_of(app, 100, 30);
    assert_non_null(strstr(text, "settings: keymap:4: no setting is called \"no\""));
    free(text);
    assert_int_equal(app->tree.list.cursor, 0);
    ui_key(app, QS_CTRL('E'));
    assert_int_equal(app->tree.list.cursor, 1);
    ui_key(app, 'i');
    assert_int_equal(app->depth, 1);
    text = screen_of(app, 100, 30);
    assert_non_null(strstr(text, "i does nothing here"));
    free(text);
    ui_key(app, 'j');
    text = screen_of(app, 100, 30);
    assert_non_null(strstr(text, " z init")); /* hints tell the keys that are bound */
    free(text);
    ui_key(app, 'z');
    assert_int_equal(app->depth, 2);
    qs_theme light;
    qs_theme_init(&light, QS_THEME_LIGHT);
    same_styles(qs_app_theme(app), &light);
    qs_app_free(app);
    qs_session_free(s);
    qs_config_free(&c);
}

/* ---- themes ---- */

typedef struct rgb {
    double c[3];
} rgb;

static rgb color_of(int i) {
    static const unsigned char base[16][3] = {{0, 0, 0},       {205, 0, 0},   {0, 205, 0},   {205, 205, 0},
                                              {0, 0, 238},     {205, 0, 205}, {0, 205, 205}, {229, 229, 229},
                                              {127, 127, 127}, {255, 0, 0},   {0, 255, 0},   {255, 255, 0},
                                              {92, 92, 255},   {255, 0, 255}, {0, 255, 255}, {255, 255, 255}};
    static const unsigned char step[6] = {0, 95, 135, 175, 215, 255};
    if (i < 16) return (rgb){{base[i][0], base[i][1], base[i][2]}};
    if (i >= 232) return (rgb){{8 + 10 * (i - 232), 8 + 10 * (i - 232), 8 + 10 * (i - 232)}};
    return (rgb){{step[(i - 16) / 36], step[(i - 16) / 6 % 6], step[(i - 16) % 6]}};
}

static rgb linear(rgb x) {
    for (int i = 0; i < 3; i++) {
        double v = x.c[i] / 255;
        x.c[i] = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
    }
    return x;
}

/* WCAG 2: relative luminance and contrast. */
static double luminance(rgb x) {
    x = linear(x);
    return 0.2126 * x.c[0] + 0.7152 * x.c[1] + 0.0722 * x.c[2];
}

static double contrast(rgb a, rgb b) {
    double x = luminance(a) + 0.05, y = luminance(b) + 0.05;
    return x > y ? x / y : y / x;
}

static const rgb black = {{0, 0, 0}}, white = {{255, 255, 255}};

static double worst_contrast(qs_style s, bool on_black, bool on_white) {
    double worst = 100;
    for (int w = 0; w < 2; w++) {
        if (!(w ? on_white : on_black)) continue;
        rgb fg = s.fg < 0 ? (w ? black : white) : color_of(s.fg),
            bg = s.bg < 0 ? (w ? white : black) : color_of(s.bg);
        double c = contrast(fg, bg);
        if (c < worst) worst = c;
    }
    return worst;
}

/* Lines and what is dim may be fainter than what must be read. */
static bool faint(qs_paint p) {
    return p == QS_PAINT_LINE || p == QS_PAINT_DROPPED;
}

static void test_themes_can_be_read(void **unused) {
    (void)unused;
    static const struct {
        bool on_black, on_white;
        double least;
    } on[QS_THEME_COUNT] = {[QS_THEME_DEFAULT] = {true, true, 3},   [QS_THEME_DARK] = {true, false, 4.5},
                            [QS_THEME_LIGHT] = {false, true, 4.5},  [QS_THEME_COLOUR_BLIND] = {true, true, 3},
                            [QS_THEME_CONTRAST] = {true, true, 12}, [QS_THEME_NONE] = {true, true, 20}};
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++) {
        qs_theme t;
        qs_theme_init(&t, id);
        for (qs_paint p = 0; p < QS_PAINT_COUNT; p++) {
            if (faint(p) && id != QS_THEME_CONTRAST) continue;
            double got = worst_contrast(t.style[QS_PALETTE_256][p][0], on[id].on_black, on[id].on_white);
            if (got < on[id].least)
                fail_msg("%s of %s: contrast %.2f", qs_paint_name(p), qs_theme_name(id), got);
            got = worst_contrast(t.style[QS_PALETTE_256][p][1], on[id].on_black, on[id].on_white);
            if (got < 3) fail_msg("%s+ of %s: contrast %.2f", qs_paint_name(p), qs_theme_name(id), got);
        }
    }
}

/* Colours as seen without one kind of cone: Viénot, Brettel and Mollon 1999 (red, green). */
static rgb without(int kind, rgb x) {
    static const double m[3][9] = {{1, 0, 0, 0, 1, 0, 0, 0, 1},
                                   {0.11238, 0.88762, 0, 0.11238, 0.88762, 0, 0.00401, -0.00401, 1},
                                   {0.29275, 0.70725, 0, 0.29275, 0.70725, 0, -0.02234, 0.02234, 1}};
    rgb l = linear(x), out;
    for (int i = 0; i < 3; i++)
        out.c[i] = m[kind][i * 3] * l.c[0] + m[kind][i * 3 + 1] * l.c[1] + m[kind][i * 3 + 2] * l.c[2];
    return out;
}

static double apart(int kind, int a, int b) {
    rgb x = without(kind, color_of(a)), y = without(kind, color_of(b));
    double d = 0;
    for (int i = 0; i < 3; i++)
        d +=
            (cbrt(fmax(x.c[i], 0)) - cbrt(fmax(y.c[i], 0))) * (cbrt(fmax(x.c[i], 0)) - cbrt(fmax(y.c[i], 0)));
    return sqrt(d);
}

/* Problems differ by more than red against green; with attributes and chips counted, in every palette. */
static void test_problems_are_told_apart(void **unused) {
    (void)unused;
    static const qs_paint told[] = {QS_PAINT_MISSING, QS_PAINT_UNEXPECTED, QS_PAINT_SHAPE, QS_PAINT_FATAL,
                                    QS_PAINT_OK};
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++) {
        qs_theme t;
        qs_theme_init(&t, id);
        for (int p = 0; p < QS_PALETTE_COUNT; p++)
            for (size_t i = 0; i < 5; i++)
                for (size_t j = i + 1; j < 5; j++) {
                    qs_style a = t.style[p][told[i]][0], b = t.style[p][told[j]][0];
                    bool structure = a.attrs != b.attrs || (a.bg < 0) != (b.bg < 0);
                    assert_true(structure || a.fg != b.fg || a.bg != b.bg);
                    if (structure || p != QS_PALETTE_256) continue;
                    for (int kind = 0; kind < 3; kind++) {
                        double d = fmax(a.fg >= 0 && b.fg >= 0 ? apart(kind, a.fg, b.fg) : 0,
                                        a.bg >= 0 && b.bg >= 0 ? apart(kind, a.bg, b.bg) : 0);
                        if (d < 0.2)
                            fail_msg("%s, %s and %s, sight %d: %.3f apart", qs_theme_name(id),
                                     qs_paint_name(told[i]), qs_paint_name(told[j]), kind, d);
                    }
                }
        for (int i = 0; i < QS_PAINT_COUNT; i++) {
            qs_style few = t.style[QS_PALETTE_16][i][0], mono = t.style[QS_PALETTE_MONO][i][0];
            assert_true(few.fg != 2 && few.fg != 10); /* no plain green anywhere */
            assert_true(mono.fg == -1 && mono.bg == -1);
        }
    }
}

/* The row of the cursor is seen whatever it holds. */
static void test_selection_is_seen(void **unused) {
    (void)unused;
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++) {
        qs_theme t;
        qs_theme_init(&t, id);
        for (int p = 0; p < QS_PALETTE_COUNT; p++) {
            qs_style a = t.style[p][QS_PAINT_NORMAL][0], b = t.style[p][QS_PAINT_NORMAL][1];
            assert_true(a.bg != b.bg || ((a.attrs ^ b.attrs) & QS_ATTR_REVERSE));
        }
    }
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
        cmocka_unit_test(test_built_in_round_trips), cmocka_unit_test(test_any_settings_round_trip),
        cmocka_unit_test(test_mistakes_are_told),    cmocka_unit_test(test_settings_work),
        cmocka_unit_test(test_themes_can_be_read),   cmocka_unit_test(test_problems_are_told_apart),
        cmocka_unit_test(test_selection_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

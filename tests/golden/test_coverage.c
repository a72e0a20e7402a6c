/* Every view of ui/ is on some golden screen at 80x24 and 120x40, in UTF-8 and in ASCII: what is on the
 * screen at the end of each case of golden/screens is counted, and the views are those the sources of ui/
 * define. */
#include "base/file.h"
#include "ui/app_impl.h"
#include "ui/script.h"
#include "ui_fixture.h"

#include <dirent.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum { VIEWS_MAX = 100, FILES_MAX = 1 << 20 };

static char views[VIEWS_MAX][64];
static bool covered[VIEWS_MAX];
static size_t view_count;

static char *slurp(const char *dir, const char *name) {
    char path[1024], *text = NULL;
    size_t n;
    qs_err e = QS_ERR_INIT;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!qs_file_slurp(path, FILES_MAX, &text, &n, &e)) fail_msg("%s", e.msg);
    return text;
}

static bool ends(const char *name, const char *tail) {
    return qs_str_ends(qs_str_of(name), qs_str_of(tail));
}

/* "const qs_view qs_view_x = {" and the first .name after it. */
static void find_views(const char *source) {
    for (const char *p = source; (p = strstr(p, "\nconst qs_view qs_view_"));) {
        p = strstr(p, ".name = \"");
        assert_non_null(p);
        assert_true(view_count < VIEWS_MAX);
        assert_int_equal(sscanf(p, ".name = \"%63[^\"]", views[view_count++]), 1);
    }
}

/* The word of a "#! word value" line; "" if there is none. */
static void directive(const char *keys, const char *word, char *out, size_t cap) {
    char start[32];
    snprintf(start, sizeof start, "#! %s ", word);
    const char *p = strstr(keys, start);
    *out = 0;
    if (p) snprintf(out, cap, "%.*s", (int)strcspn(p + strlen(start), "\n"), p + strlen(start));
}

static qs_session *session_of(const char *keys) {
    char a[64], b[64], m[64];
    qs_err e = QS_ERR_INIT;
    directive(keys, "a", a, sizeof a);
    directive(keys, "b", b, sizeof b);
    directive(keys, "m", m, sizeof m);
    qs_session *s = ui_session(a, *b ? b : NULL, *m ? m : NULL, &e);
    if (!s) fail_msg("%s", e.msg);
    return s;
}

static void cover(const qs_app *app) {
    for (size_t i = 0; i < app->depth; i++)
        for (size_t v = 0; v < view_count; v++)
            if (strcmp(views[v], app->stack[i]->name) == 0) covered[v] = true;
}

/* Cases of several runs show messages more than views; one after the other in one session they would be other
 * keys. */
static void run_case(const char *keys) {
    if (strstr(keys, "\n#! run\n")) return;
    qs_session *s = session_of(keys);
    qs_app_options opt = {0};
    qs_app *app = qs_app_new(s, &opt);
    qs_script script = qs_script_of(qs_str_of(keys));
    qs_event ev, idle = {.kind = QS_EVENT_IDLE};
    qs_err e = QS_ERR_INIT;
    assert_non_null(app);
    ui_resize(app, 80, 24);
    qs_app_update(app, &idle);
    while (qs_script_next(&script, &ev, &e) && ev.kind != QS_EVENT_NONE)
        if (qs_app_update(app, &ev) & QS_APP_IDLE) qs_app_update(app, &idle);
    cover(app);
    qs_app_free(app);
    qs_session_free(s);
}

static void each(const char *dir, const char *tail, void (*run)(const char *text)) {
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        char only[64];
        if (!ends(f->d_name, tail)) continue;
        char *text = slurp(dir, f->d_name);
        directive(text, "size", only, sizeof only);
        bool whole = !*only || (strstr(only, "80x24") && strstr(only, "120x40"));
        directive(text, "charset", only, sizeof only);
        if (whole && (!*only || (strstr(only, "utf8") && strstr(only, "ascii")))) run(text);
        free(text);
    }
    closedir(d);
}

static void test_every_view_has_a_golden_screen(void **state) {
    (void)state;
    each("../ui", ".c", find_views);
    assert_true(view_count > 10);
    each("golden/screens", ".keys", run_case);
    size_t missing = 0;
    for (size_t v = 0; v < view_count; v++) {
        if (covered[v]) continue;
        print_message("no golden screen shows \"%s\" in both sizes and character sets\n", views[v]);
        missing++;
    }
    print_message("%zu views\n", view_count);
    assert_int_equal(missing, 0);
}

int main(void) {
    const char *root = getenv("QATSCOPE_TESTS");
    if (root && chdir(root) != 0) return 1;
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    setenv("XDG_STATE_HOME", "/nonexistent", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_view_has_a_golden_screen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

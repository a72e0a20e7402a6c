/* Golden screens. A case is tests/golden/screens/NAME.keys: its first lines say on what, the rest are keys
 * (ui/script.h). What the screen shows then, with the meaning of every cell, must be NAME.SIZE.CHARSET.txt.
 * With UPDATE_GOLDEN=1 in the environment the files are written instead: look at the diff.
 *   #! a FILE, #! b FILE, #! m FILE   in tests/fixtures/ui
 *   #! size 80x24 120x40              default: both
 *   #! charset utf8 ascii             default: both
 *   #! run                            the keys after it begin anew: one screen after the other in the same
 * file
 *   #! tail 3                         only these last lines of each screen: where messages are */
#include "base/file.h"
#include "ui/ui.h"

#include <dirent.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { CASES_MAX = 400 };

static char *names[CASES_MAX];
static size_t name_count;
static bool updating;

typedef struct screen_case {
    char a[64], b[64], m[64];
    char sizes[64], charsets[64], tail[64];
} screen_case;

static void directive(screen_case *c, const char *line) {
    char word[64] = "";
    int used = 0;
    if (sscanf(line, "#! %63s %n", word, &used) != 1) return;
    const char *rest = line + used;
    size_t n = strcspn(rest, "\n");
    char *to = strcmp(word, "a") == 0         ? c->a
               : strcmp(word, "b") == 0       ? c->b
               : strcmp(word, "m") == 0       ? c->m
               : strcmp(word, "size") == 0    ? c->sizes
               : strcmp(word, "charset") == 0 ? c->charsets
               : strcmp(word, "tail") == 0    ? c->tail
                                              : NULL;
    if (strcmp(word, "run") == 0) return;
    assert_non_null(to);
    snprintf(to, 64, "%.*s", (int)n, rest);
}

static screen_case read_case(const char *keys) {
    screen_case c = {.sizes = "80x24 120x40", .charsets = "utf8 ascii"};
    for (const char *line = keys; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        directive(&c, line);
    return c;
}

static const char *fixture(const char *name, char *path, size_t cap) {
    snprintf(path, cap, "fixtures/ui/%s", name);
    return path;
}

static qs_session *open_session(const screen_case *c) {
    char path[128];
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_session_new(NULL);
    assert_non_null(s);
    bool ok = qs_session_open_a(s, fixture(c->a, path, sizeof path), &e);
    if (ok && c->b[0]) ok = qs_session_open_b(s, fixture(c->b, path, sizeof path), &e);
    if (ok && c->m[0]) ok = qs_session_open_manifest(s, fixture(c->m, path, sizeof path), &e);
    ok = ok && qs_session_refresh(s, &e);
    if (!ok) fail_msg("%s", e.msg);
    return s;
}

static char *run_keys(const screen_case *c, const char *keys, int w, int h, bool ascii) {
    char *out = NULL;
    size_t n = 0;
    qs_err e = QS_ERR_INIT;
    qs_ui_options opt = QS_UI_OPTIONS_DEFAULT;
    opt.ascii = ascii;
    opt.keys = keys;
    opt.width = w;
    opt.height = h;
    opt.paints = true;
    opt.dump = open_memstream(&out, &n);
    assert_non_null(opt.dump);
    qs_session *s = open_session(c);
    bool ok = qs_ui_run(s, &opt, &e);
    fclose(opt.dump);
    qs_session_free(s);
    if (!ok) fail_msg("%s: %s", keys, e.msg);
    return out;
}

/* The last `lines` lines of a screen of h; a line about the cursor may come after them. */
static const char *tail_of(const char *screen, int h, int lines) {
    for (int y = 0; y < h - lines; y++) screen = strchr(screen, '\n') + 1;
    return screen;
}

/* What stands before the first "#! run" is for all runs. */
static char *run_case(const screen_case *c, char *keys, int w, int h, bool ascii) {
    static const char mark[] = "#! run\n";
    char *next = strstr(keys, mark), *out = NULL;
    size_t n = 0;
    if (!next) return run_keys(c, keys, w, h, ascii);
    FILE *all = open_memstream(&out, &n);
    assert_non_null(all);
    while (next) {
        char *from = next + strlen(mark);
        next = strstr(from, mark);
        if (next) *next = 0;
        char *screen = run_keys(c, from, w, h, ascii);
        fprintf(all, "== %s%s", from, c->tail[0] ? tail_of(screen, h, atoi(c->tail)) : screen);
        free(screen);
        if (next) *next = *mark;
    }
    fclose(all);
    return out;
}

static void compare(const char *path, const char *got) {
    char *want = NULL;
    size_t n;
    qs_err e = QS_ERR_INIT;
    if (updating) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(got, f);
        fclose(f);
        return;
    }
    if (!qs_file_slurp(path, 1 << 20, &want, &n, &e)) fail_msg("%s; UPDATE_GOLDEN=1 writes it", e.msg);
    if (strcmp(want, got) != 0) {
        print_message("%s differs. The screen is now:\n%s\nUPDATE_GOLDEN=1 takes it over.\n", path, got);
        fail();
    }
    free(want);
}

static void test_case(void **state) {
    const char *name = *state;
    char path[512];
    char *keys = NULL;
    size_t n;
    qs_err e = QS_ERR_INIT;
    snprintf(path, sizeof path, "golden/screens/%s.keys", name);
    if (!qs_file_slurp(path, 1 << 20, &keys, &n, &e)) fail_msg("%s", e.msg);
    screen_case c = read_case(keys);
    for (const char *size = c.sizes; *size; size += strcspn(size, " "), size += *size == ' ') {
        int w, h;
        assert_int_equal(sscanf(size, "%dx%d", &w, &h), 2);
        for (int ascii = 0; ascii < 2; ascii++) {
            const char *charset = ascii ? "ascii" : "utf8";
            if (!strstr(c.charsets, charset)) continue;
            char *got = run_case(&c, keys, w, h, ascii);
            snprintf(path, sizeof path, "golden/screens/%s.%dx%d.%s.txt", name, w, h, charset);
            compare(path, got);
            free(got);
        }
    }
    free(keys);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_cases(void) {
    DIR *d = opendir("golden/screens");
    for (struct dirent *f; d && (f = readdir(d));) {
        size_t n = strlen(f->d_name);
        if (n < 6 || strcmp(f->d_name + n - 5, ".keys") != 0 || name_count == CASES_MAX) continue;
        names[name_count++] = strndup(f->d_name, n - 5);
    }
    if (d) closedir(d);
    qsort(names, name_count, sizeof *names, by_name);
}

int main(void) {
    struct CMUnitTest tests[CASES_MAX];
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    setenv("XDG_STATE_HOME", "/nonexistent", 1); /* no plan of a lost session may change a screen */
    const char *update = getenv("UPDATE_GOLDEN"), *root = getenv("QATSCOPE_TESTS");
    updating = update && *update;
    if (root && chdir(root) != 0) return 1;
    find_cases();
    for (size_t i = 0; i < name_count; i++)
        tests[i] = (struct CMUnitTest){.name = names[i], .test_func = test_case, .initial_state = names[i]};
    if (name_count == 0) return 1;
    int failed = _cmocka_run_group_tests("screens", tests, name_count, NULL, NULL);
    for (size_t i = 0; i < name_count; i++) free(names[i]);
    return failed;
}

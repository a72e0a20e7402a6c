/* What a key costs in the explorer: CPU time of an update and a frame, without a terminal. By hand:
 *     tests/bench/ui_files.py DIR; build/.../bench_ui DIR/a.pt DIR/b.pt
 * Budgets on a million entries: a key 4 ms, a search 100 ms, opening all of a closed tree 50 ms. */
#include "base/memory.h"
#include "ui/app.h"
#include "ui/script.h"

#include <locale.h>
#include <stdlib.h>
#include <time.h>

enum { W = 120, H = 40, TIMES_MAX = 100000 };

typedef struct bench {
    qs_app *app;
    qs_grid grid;
    double ms[TIMES_MAX];
    size_t n;
} bench;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static unsigned step(bench *b, const qs_event *ev) {
    double t = now_ms();
    unsigned reaction = qs_app_update(b->app, ev);
    qs_grid_resize(&b->grid, W, H);
    qs_app_render(b->app, &b->grid);
    if (b->n < TIMES_MAX) b->ms[b->n++] = now_ms() - t;
    return reaction;
}

static void report(bench *b, const char *what, double budget) {
    qsort(b->ms, b->n, sizeof *b->ms, by_value);
    if (b->n == 0) return;
    double max = b->ms[b->n - 1];
    printf("%-34s %6zu events  p50 %8.3f ms  p99 %8.3f ms  max %8.3f ms  budget %5.0f ms%s\n", what, b->n,
           b->ms[b->n / 2], b->ms[b->n * 99 / 100], max, budget, max > budget ? "  OVER" : "");
    fflush(stdout);
}

/* The keys, `times` over; idle work is done after them and not counted. */
static void run(bench *b, const char *what, const char *keys, int times, double budget) {
    b->n = 0;
    unsigned reaction = 0;
    for (int i = 0; i < times; i++) {
        qs_script s = qs_script_of(qs_str_of(keys));
        qs_event ev;
        qs_err e = QS_ERR_INIT;
        while (qs_script_next(&s, &ev, &e) && ev.kind != QS_EVENT_NONE) reaction = step(b, &ev);
    }
    report(b, what, budget);
    if (!(reaction & QS_APP_IDLE)) return;
    qs_event idle = {.kind = QS_EVENT_IDLE};
    double t = now_ms();
    qs_app_update(b->app, &idle);
    if (now_ms() - t > 50) printf("    idle work after it: %.0f ms\n", now_ms() - t);
}

static void all(bench *b) {
    run(b, "first idle work", "Up", 1, 4);
    run(b, "down, closed tree", "j", 500, 4);
    run(b, "open one level", "g Enter", 1, 50);
    run(b, "open all", "E", 1, 50);
    run(b, "down, all open", "j", 2000, 4);
    run(b, "page down, all open", "PgDn", 500, 4);
    run(b, "last, first", "G g", 50, 4);
    run(b, "fold and unfold one", "j j h l", 100, 4);
    run(b, "next problem", "]", 300, 4);
    run(b, "search (each key)", "/ \"block.7.conv\" Enter", 5, 100);
    run(b, "search for nothing", "/ \"xyzzy\" Enter", 5, 100);
    run(b, "next match", "n", 300, 4);
    run(b, "close all", "Esc C", 1, 50);
    run(b, "hide equal, show", "= =", 2, 100);
    run(b, "flat list, tree", "t t", 2, 100);
    run(b, "by name, by size, of the model", "o o o", 1, 1000);
    run(b, "mark, unmark a subtree", "g j Space Space", 5, 50);
    run(b, "drop one subtree", "d", 1, 1000);
    run(b, "undo", "u", 1, 1000);
    run(b, "redo", "R", 1, 1000);
}

int main(int argc, char **argv) {
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    qs_memory_keep();
    qs_err e = QS_ERR_INIT;
    bench *b = calloc(1, sizeof *b);
    qs_session *s = qs_session_new(NULL);
    if (argc < 2 || !b || !s) return 2;
    double t = now_ms();
    bool ok = qs_session_open_a(s, argv[1], &e) && (argc < 3 || qs_session_open_b(s, argv[2], &e)) &&
              qs_session_refresh(s, &e);
    if (!ok) return fprintf(stderr, "%s\n", e.msg), 3;
    printf("open and compare                   %8.0f ms\n", now_ms() - t);
    t = now_ms();
    qs_app_options opt = {.read_only = true};
    b->app = qs_app_new(s, &opt);
    if (!b->app) return 4;
    qs_event size = {.kind = QS_EVENT_RESIZE, .x = W, .y = H};
    step(b, &size);
    printf("first frame                        %8.1f ms\n", now_ms() - t);
    all(b);
    qs_app_free(b->app);
    qs_session_free(s);
    qs_grid_free(&b->grid);
    free(b);
    return 0;
}

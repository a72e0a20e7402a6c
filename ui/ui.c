#include "ui/ui.h"

#include "ui/app.h"
#include "ui/script.h"

#include <langinfo.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A pause of the keyboard this long is time for what is nice to have; and this long when keys come this fast.
 */
enum { IDLE_MS = 30, PAUSE_MS = 120, HASTY_MS = 120, SKIP_MAX = 8 };

/* Over a line that may be slow, a held key draws a frame no more often than this. */
enum { FRAME_MS = 80 };

typedef struct loop {
    qs_app *app;
    qs_grid grid;
    qs_term *term; /* NULL: the screen is only printed at the end */
    qs_script script;
    int w, h;
    bool remote;              /* the terminal is at the other end of a network */
    int64_t key_ms, drawn_ms; /* when the last key was pressed, and a frame drawn */
} loop;

static int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Whether the key, or the turn of the wheel, came hard on the heels of another. */
static bool is_hasty(loop *l, const qs_event *ev) {
    bool wheel =
        ev->kind == QS_EVENT_MOUSE && (ev->mouse == QS_MOUSE_WHEEL_UP || ev->mouse == QS_MOUSE_WHEEL_DOWN);
    if (ev->kind != QS_EVENT_KEY && !wheel) return false;
    int64_t was = l->key_ms;
    l->key_ms = now_ms();
    return l->key_ms - was < HASTY_MS;
}

static bool is_remote(void) {
    const char *tty = getenv("SSH_TTY"), *connection = getenv("SSH_CONNECTION");
    return (tty && *tty) || (connection && *connection);
}

/* Until the next frame is due. */
static int frame_ms(const loop *l, bool hasty) {
    int64_t left = l->remote && hasty ? l->drawn_ms + FRAME_MS - now_ms() : 0;
    return left > 0 ? (int)left : 0;
}

static int idle_ms(unsigned reaction) {
    if (!(reaction & QS_APP_IDLE)) return -1;
    return reaction & QS_APP_PAUSE ? PAUSE_MS : IDLE_MS;
}

static bool draw(loop *l, qs_err *e) {
    if (!qs_grid_resize(&l->grid, l->w, l->h)) return qs_nomem(e);
    qs_app_render(l->app, &l->grid);
    if (l->term) qs_term_show(l->term, &l->grid);
    l->drawn_ms = now_ms();
    return true;
}

static bool on_progress(void *ctx, const qs_app *app, bool quiet) {
    loop *l = ctx;
    (void)app;
    qs_err e = QS_ERR_INIT;
    if (!l->term) return true;
    if (quiet) return !qs_term_pending(l->term);
    return draw(l, &e) && !qs_term_cancelled(l->term);
}

/* What the terminal is asked to do between two events. */
static void react(loop *l, unsigned reaction) {
    if (!l->term) return;
    if (reaction & QS_APP_SUSPEND) qs_term_suspend(l->term);
    if (reaction & QS_APP_THEME) qs_term_theme(l->term, qs_app_theme(l->app));
    if (reaction & QS_APP_REDRAW) qs_term_redraw(l->term);
}

static bool update(loop *l, const qs_event *ev, unsigned *reaction) {
    if (ev->kind == QS_EVENT_RESIZE) {
        l->w = ev->x;
        l->h = ev->y;
    }
    *reaction = qs_app_update(l->app, ev);
    return !(*reaction & QS_APP_QUIT);
}

/* Scripted keys wait for idle work, so that what they show does not depend on the machine. *left: they quit.
 */
static bool run_script(loop *l, bool *left, qs_err *e) {
    qs_event ev, idle = {.kind = QS_EVENT_IDLE};
    unsigned reaction;
    *left = false;
    for (;;) {
        if (!qs_script_next(&l->script, &ev, e)) return false;
        if (ev.kind == QS_EVENT_NONE) return true;
        if (!update(l, &ev, &reaction)) return *left = true;
        if ((reaction & QS_APP_IDLE) && !update(l, &idle, &reaction)) return *left = true;
    }
}

/* Keys typed ahead are taken together: over a slow line a frame nobody can see yet only delays the last one.
 * A key that is held down still moves something now and then. */
static bool run_keyboard(loop *l, qs_err *e) {
    qs_event ev = {.kind = QS_EVENT_NONE};
    unsigned reaction = QS_APP_IDLE;
    for (int skipped = 0;;) {
        int early = frame_ms(l, ev.hasty);
        bool skip = skipped < SKIP_MAX && (early > 0 || qs_term_pending(l->term));
        skipped = skip ? skipped + 1 : 0;
        if (!skip && !draw(l, e)) return false;
        qs_term_wait(l->term, skip ? early : idle_ms(reaction), &ev);
        if (skip && ev.kind == QS_EVENT_IDLE) { /* the frame is due, or what waited was no key */
            skipped = SKIP_MAX;
            continue;
        }
        ev.hasty = is_hasty(l, &ev);
        if (!update(l, &ev, &reaction)) return true;
        react(l, reaction);
    }
}

static void print_screen(const loop *l, const qs_ui_options *opt) {
    qs_buf text = {0};
    qs_grid_dump(&l->grid, opt->paints, &text);
    fwrite(text.p, 1, text.n, opt->dump);
    qs_buf_free(&text);
}

static bool run(loop *l, const qs_ui_options *opt, qs_err *e) {
    bool left = false;
    unsigned reaction;
    qs_event size = {.kind = QS_EVENT_RESIZE, .x = l->w, .y = l->h}, idle = {.kind = QS_EVENT_IDLE};
    update(l, &size, &reaction);
    if (!l->term && (reaction & QS_APP_IDLE)) update(l, &idle, &reaction);
    if (l->term && !draw(l, e)) return false; /* what the keys act on is seen first */
    if (opt->keys) {
        l->script = qs_script_of(qs_str_of(opt->keys));
        if (!run_script(l, &left, e)) return false;
    }
    if (!opt->dump) return left || run_keyboard(l, e);
    if (!draw(l, e)) return false;
    print_screen(l, opt);
    return true;
}

bool qs_ui_run(qs_session *s, const qs_ui_options *opt, qs_err *e) {
    loop l = {.w = opt->width, .h = opt->height, .remote = is_remote()};
    bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0, ok = false;
    qs_app_options app = {.config = opt->config,
                          .ascii = opt->ascii || !utf8,
                          .read_only = opt->read_only,
                          .offer_lost = !opt->keys && !opt->dump && !opt->read_only,
                          .out_path = opt->out_path,
                          .lessons = opt->lessons,
                          .keep_progress = !opt->dump && !opt->read_only,
                          .progress = on_progress,
                          .progress_ctx = &l};
    qs_term_options term = {.color = opt->color, .mouse = opt->mouse};
    if (!opt->dump && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
        return qs_fail(e, QS_E_USAGE,
                       "the explorer needs a terminal; `qatscope check` and `qatscope fix` do not");
    l.grid.ascii = app.ascii;
    l.app = qs_app_new(s, &app);
    if (!l.app) {
        qs_nomem(e);
        goto done;
    }
    term.theme = qs_app_theme(l.app);
    if (!opt->dump) {
        if (!qs_term_open(&term, &l.term, e)) goto done;
        qs_term_size(l.term, &l.w, &l.h);
    }
    ok = run(&l, opt, e);
done:
    qs_term_close(l.term);
    qs_app_free(l.app);
    qs_grid_free(&l.grid);
    return ok;
}

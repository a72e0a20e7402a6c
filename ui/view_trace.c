#include "ui/app_impl.h"

#include "teach/trace.h"

#include <stdlib.h>

/* A strict load played step by step over the tree: the tree's cursor goes where torch is, a panel below it
 * says what torch does there. */

enum { PANEL_MIN = 5, PANEL_MAX = 16, TREE_MIN = 2 };

struct qs_trace_state {
    qs_trace *trace;
    size_t at;  /* the step torch is at */
    int height; /* of the panel */
    int torch;  /* 113 */
};

static qs_pen step_pen(const qs_step *s) {
    if (s->kind == QS_STEP_ENTER) return QS_PEN(STRONG);
    if (s->kind == QS_STEP_UNEXPECTED) return QS_PEN(UNEXPECTED);
    if (qs_step_get(s->kind)->error) return QS_PEN(MISSING);
    return s->kind == QS_STEP_TAKE ? QS_PEN(OK) : QS_PEN(TOLERATED);
}

/* The key's line, or that of the deepest module above it which the tree has: one without keys is not in it.
 */
static uint32_t node_of(const qs_app *a, const qs_step *s) {
    uint32_t row = s->kind == QS_STEP_ENTER ? QS_NO_INDEX : qs_compare_find(a->tree.c, s->key);
    if (row != QS_NO_INDEX) return qs_compare_row(a->tree.c, row)->tree;
    for (qs_str path = s->key; path.n; path = qs_str_parent(path)) {
        uint32_t n = qs_compare_find_module(a->tree.c, path);
        if (n != QS_NO_INDEX) return n;
    }
    return QS_NO_INDEX;
}

static void go(qs_app *a, size_t at) {
    struct qs_trace_state *v = a->trace;
    v->at = at;
    uint32_t node = node_of(a, qs_trace_step(v->trace, at));
    if (node != QS_NO_INDEX && !qs_tree_reveal(&a->tree, node)) qs_app_complain(a, "out of memory");
}

static void trace_layout(qs_app *a) {
    struct qs_trace_state *v = a->trace;
    qs_layout *l = &a->layout;
    int foot = l->h - l->tree_y - l->tree_h, room = l->h - l->tree_y - TREE_MIN;
    v->height = l->h * 3 / 8 > PANEL_MAX ? PANEL_MAX : l->h * 3 / 8;
    if (v->height < foot) v->height = foot; /* what it covers is covered whole */
    if (v->height > room) v->height = room;
    if (v->height < PANEL_MIN) v->height = PANEL_MIN;
    l->tree_h = l->h - l->tree_y - v->height;
    if (l->tree_h < 0) l->tree_h = 0;
    qs_list_resize(&a->tree.list, a->tree.line.n, (size_t)l->tree_h);
    go(a, v->at);
}

static void trace_close(qs_app *a) {
    if (!a->trace) return;
    qs_trace_free(a->trace->trace);
    free(a->trace);
    a->trace = NULL;
    qs_tree_layout(a);
}

void qs_trace_open(qs_app *a) {
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_err e = QS_ERR_INIT;
    if (!v)
        return qs_app_say(
            a,
            "nothing says what the model expects; B opens a checkpoint that loads, :open-model a manifest");
    if (!(a->trace = calloc(1, sizeof *a->trace))) return qs_app_complain(a, "out of memory");
    if (!qs_trace_make(qs_session_resolution(a->s), v, &a->trace->trace, &e)) {
        trace_close(a);
        return qs_app_fail(a, &e);
    }
    a->trace->torch = qs_verdict_torch(v);
    qs_app_open(a, &qs_view_trace);
}

/* ---- drawing ---- */

/* The steps around the present one, which is in the middle where that can be. */
static void draw_steps(const struct qs_trace_state *v, qs_pane p) {
    size_t n = qs_trace_count(v->trace), rows = p.h > 0 ? (size_t)p.h : 0,
           top = v->at > rows / 2 ? v->at - rows / 2 : 0;
    if (top + rows > n) top = n > rows ? n - rows : 0;
    uint32_t base = qs_trace_step(v->trace, v->at)->depth;
    qs_buf line = {0};
    for (size_t y = 0; y < rows && top + y < n; y++) {
        const qs_step *s = qs_trace_step(v->trace, top + y);
        /* shallow trees as they are, deep ones around where torch is */
        int shift = base > 6 ? (int)base - 6 : 0,
            x = ((int)s->depth - shift + (s->kind != QS_STEP_ENTER)) * 2;
        line.n = 0;
        qs_trace_text(v->trace, top + y, true, &line);
        qs_draw_fit(p, x < 0 ? 0 : x, (int)y, p.w - (x < 0 ? 0 : x), step_pen(s), qs_buf_str(&line), false);
        if (top + y == v->at) qs_pane_select(p, (int)y);
    }
    qs_buf_free(&line);
}

/* "so far: 12 missing  1 inject" */
static void draw_tally(const struct qs_trace_state *v, qs_pane p, int y) {
    size_t tally[QS_STEP_COUNT];
    int x = qs_drawz(p, 0, y, QS_PEN(DIM), "so far") + 2;
    qs_trace_tally(v->trace, v->at, tally);
    for (int k = 0; k < QS_STEP_COUNT; k++) {
        const qs_step like = {.kind = (qs_step_kind)k};
        if (tally[k])
            x = qs_drawf(p, x, y, step_pen(&like), "%zu %s", tally[k], qs_step_get((qs_step_kind)k)->name) +
                2;
    }
}

/* What is done here, in full. */
static void draw_words(const struct qs_trace_state *v, qs_pane p, int y) {
    const qs_step *s = qs_trace_step(v->trace, v->at);
    int x = qs_drawf(p, 0, y, step_pen(s), "torch %s", qs_step_get(s->kind)->help) + 2;
    if (s->key.n) qs_draw_fit(p, x, y, p.w - x, QS_PEN(STRONG), s->key, true);
}

static void trace_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"j k", "step", "] [", "next complaint", "PgDn PgUp", "next module",
                                        "g G", "ends", "q",   "back",           NULL};
    const struct qs_trace_state *v = a->trace;
    qs_tree_draw(a, g); /* whatever this was opened from */
    qs_pane all = qs_pane_of(g), p = qs_pane_sub(all, 0, g->h - v->height, g->w, v->height);
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    char text[64];
    snprintf(text, sizeof text, "step %zu of %zu", v->at + 1, qs_trace_count(v->trace));
    int end = qs_draw_right(p, p.w - 1, 0, QS_PEN(HEAD), qs_str_of(text));
    snprintf(text, sizeof text, "the load by torch %d.%d, step by step", v->torch / 100, v->torch % 100);
    qs_draw_fit(p, 1, 0, end - 2, QS_PEN(TITLE), qs_str_of(text), false);
    qs_pane in = qs_pane_sub(p, 1, 1, p.w - 2, p.h - 2);
    int below = in.h >= 5 ? 2 : in.h >= 4;
    draw_steps(v, qs_pane_sub(in, 0, 0, in.w, in.h - below));
    if (below) draw_words(v, in, in.h - below);
    if (below == 2) draw_tally(v, in, in.h - 1);
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
}

/* ---- events ---- */

static void to_module(qs_app *a, int dir) {
    const struct qs_trace_state *v = a->trace;
    size_t n = qs_trace_count(v->trace);
    for (size_t i = v->at + (size_t)dir; i < n; i += (size_t)dir) /* below 0 wraps around and ends it */
        if (qs_trace_step(v->trace, i)->kind == QS_STEP_ENTER) return go(a, i);
    qs_app_say(a, dir > 0 ? "no other module is entered" : "this is where the load begins");
}

static void to_error(qs_app *a, int dir) {
    const struct qs_trace_state *v = a->trace;
    size_t i = v->at + (size_t)dir;
    if (i < qs_trace_count(v->trace)) i = qs_trace_next_error(v->trace, i, dir < 0);
    if (i < qs_trace_count(v->trace)) return go(a, i);
    qs_app_say(a, dir > 0 ? "torch complains about nothing after this"
                          : "torch complains about nothing before this");
}

static bool trace_command(qs_app *a, qs_command c) {
    const struct qs_trace_state *v = a->trace;
    size_t last = qs_trace_count(v->trace) - 1;
    switch (c) {
    case QS_CMD_DOWN: go(a, v->at < last ? v->at + 1 : last); return true;
    case QS_CMD_UP: go(a, v->at ? v->at - 1 : 0); return true;
    case QS_CMD_PAGE_DOWN: to_module(a, 1); return true;
    case QS_CMD_PAGE_UP: to_module(a, -1); return true;
    case QS_CMD_HALF_DOWN: go(a, v->at + 10 < last ? v->at + 10 : last); return true;
    case QS_CMD_HALF_UP: go(a, v->at > 10 ? v->at - 10 : 0); return true;
    case QS_CMD_FIRST: go(a, 0); return true;
    case QS_CMD_LAST: go(a, last); return true;
    case QS_CMD_NEXT_PROBLEM: to_error(a, 1); return true;
    case QS_CMD_PREV_PROBLEM: to_error(a, -1); return true;
    default: return false;
    }
}

static bool trace_event(qs_app *a, const qs_event *ev) {
    if (ev->kind == QS_EVENT_KEY && ev->key == ' ') return trace_command(a, QS_CMD_DOWN);
    if (ev->kind != QS_EVENT_MOUSE) return false;
    if (ev->mouse == QS_MOUSE_WHEEL_UP) trace_command(a, QS_CMD_UP);
    if (ev->mouse == QS_MOUSE_WHEEL_DOWN) trace_command(a, QS_CMD_DOWN);
    return true;
}

const qs_view qs_view_trace = {
    .name = "trace",
    .context = QS_CTX_TRACE,
    .draw = trace_draw,
    .layout = trace_layout,
    .event = trace_event,
    .command = trace_command,
    .close = trace_close,
};

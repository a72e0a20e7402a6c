#include "ui/app_impl.h"

#include "session_errors.h"

#include <math.h>
#include <stdlib.h>

/* The weights by what rounding costs them, worst first. */

struct qs_errors_state {
    qs_arena arena;
    qs_weight_error *error;
    size_t n;
    bool own;        /* by the model's own quantizers */
    bool by_largest; /* order: the largest single error first */
    qs_list list;
};

static void errors_close(qs_app *a) {
    qs_arena_free(&a->errors->arena);
    free(a->errors);
    a->errors = NULL;
}

void qs_errors_open(qs_app *a) {
    struct qs_errors_state *v = a->errors = calloc(1, sizeof *v);
    qs_err e = QS_ERR_INIT;
    if (!v) return qs_app_complain(a, "out of memory");
    qs_progress p = qs_app_busy(a, "rounding every weight");
    if (!qs_session_weight_errors(a->s, &v->arena, &v->error, &v->n, &v->own, &p, &e)) {
        errors_close(a);
        return qs_app_fail(a, &e);
    }
    if (v->n == 0) {
        errors_close(a);
        return qs_app_say(a, "there is no weight in floats that could be rounded");
    }
    qs_app_open(a, &qs_view_errors);
}

static void errors_layout(qs_app *a) {
    qs_list_resize(&a->errors->list, a->errors->n, a->h > 6 ? (size_t)a->h - 5 : 1);
}

static void draw_error(const qs_app *a, qs_pane p, int y, size_t i) {
    const struct qs_errors_state *v = a->errors;
    const qs_weight_error *x = &v->error[i];
    const qs_row *row = qs_compare_row(a->tree.c, x->row);
    char cell[120], number[32];
    int x0 = 0;
    snprintf(number, sizeof number, isfinite(x->quality.sqnr_db) ? "%.1f dB" : "exact", x->quality.sqnr_db);
    qs_draw_right(p, x0 + 8, y, v->by_largest ? QS_PEN(NORMAL) : QS_PEN(STRONG), qs_str_of(number));
    snprintf(number, sizeof number, "%.3g", x->quality.max_abs_error);
    qs_draw_right(p, x0 + 19, y, v->by_largest ? QS_PEN(STRONG) : QS_PEN(NORMAL), qs_str_of(number));
    snprintf(number, sizeof number, "%.2f %%", 100 * x->quality.clipped);
    qs_draw_right(p, x0 + 29, y, x->quality.clipped > 0.001 ? QS_PEN(SHAPE) : QS_PEN(DIM), qs_str_of(number));
    bool gain = x->per_channel_db > x->quality.sqnr_db + 0.05;
    snprintf(number, sizeof number, "%.1f dB", x->per_channel_db);
    qs_draw_right(p, x0 + 39, y, QS_PEN(DIM), gain ? qs_str_of(number) : QS_STR("-"));
    qs_key_cell(a, row, row->r != QS_NO_INDEX ? QS_COLUMN_A : QS_COLUMN_B, cell, sizeof cell);
    bool shape = p.w >= 96;
    int w = p.w - 42 - (shape ? 18 : 0);
    qs_draw_fit(p, 42, y, w, QS_PEN(NORMAL), row->key, true);
    if (shape) qs_draw_fit(p, 42 + w + 1, y, 17, QS_PEN(DIM), qs_str_of(cell), false);
    if (i != v->list.cursor) return;
    qs_pane_select(p, y);
    p.g->cursor_y = p.y + y;
}

static void errors_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter", "to the weight", "o", "order", "W", "try other bits",
                                        "e",     "its values",    "q", "back",  NULL};
    const struct qs_errors_state *v = a->errors;
    qs_pane p = qs_pane_of(g);
    size_t i;
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    int x = qs_drawf(p, 1, 0, QS_PEN(TITLE), "what rounding costs  ");
    char what[96];
    snprintf(what, sizeof what, "%zu %s %s, worst first", v->n, qs_plural(v->n, "weight", "weights"),
             v->own ? "by their own quantizers" : "as int8 with one scale each");
    qs_draw_clip(p, x, 0, QS_PEN(HEAD), what);
    qs_draw_fill(p, 0, 2, p.w, 1, QS_PEN(HEAD));
    qs_drawz(p, 5, 2, QS_PEN(HEAD), "SQNR");
    qs_drawz(p, 13, 2, QS_PEN(HEAD), "largest");
    qs_drawz(p, 23, 2, QS_PEN(HEAD), "clipped");
    qs_drawz(p, 32, 2, QS_PEN(HEAD), "/channel");
    qs_drawz(p, 43, 2, QS_PEN(HEAD), "weight");
    qs_pane lines = qs_pane_sub(p, 1, 3, p.w - 2, p.h - 5);
    for (int y = 0; y < lines.h && qs_list_at(&v->list, y, &i); y++) draw_error(a, lines, y, i);
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
}

static int by_sqnr(const void *a, const void *b) {
    const qs_weight_error *x = a, *y = b;
    double dx = x->quality.sqnr_db, dy = y->quality.sqnr_db;
    return dx < dy ? -1 : dx > dy ? 1 : x->row < y->row ? -1 : x->row > y->row;
}

static int by_largest(const void *a, const void *b) {
    const qs_weight_error *x = a, *y = b;
    float ex = x->quality.max_abs_error, ey = y->quality.max_abs_error;
    return ex > ey ? -1 : ex < ey ? 1 : x->row < y->row ? -1 : x->row > y->row;
}

static void reorder(qs_app *a) {
    struct qs_errors_state *v = a->errors;
    v->by_largest = !v->by_largest;
    qsort(v->error, v->n, sizeof *v->error, v->by_largest ? by_largest : by_sqnr);
    qs_list_goto(&v->list, 0);
    qs_app_say(a, "order: %s",
               v->by_largest ? "the largest error of a single value" : "SQNR, the lowest first");
}

/* The row in the tree, on which `then` is done. */
static void go(qs_app *a, void (*then)(qs_app *)) {
    const struct qs_errors_state *v = a->errors;
    uint32_t node = qs_compare_row(a->tree.c, v->error[v->list.cursor].row)->tree;
    if (!qs_tree_reveal(&a->tree, node)) return qs_app_complain(a, "out of memory");
    if (qs_tree_selected(&a->tree) != node)
        return qs_app_say(a, "the filter of the tree hides it; Esc there forgets it");
    if (!then) qs_app_close(a);
    if (then) then(a);
}

static bool errors_command(qs_app *a, qs_command c) {
    if (qs_list_command(&a->errors->list, c)) return true;
    switch (c) {
    case QS_CMD_TAKE: return go(a, NULL), true;
    case QS_CMD_VALUES: return go(a, qs_values_open_row), true;
    case QS_CMD_SEE: return go(a, qs_see_view_open), true;
    case QS_CMD_SORT: return reorder(a), true;
    default: return false;
    }
}

static bool errors_event(qs_app *a, const qs_event *ev) {
    qs_list *l = &a->errors->list;
    size_t i;
    if (ev->kind != QS_EVENT_MOUSE) return false;
    if (ev->mouse == QS_MOUSE_WHEEL_UP || ev->mouse == QS_MOUSE_WHEEL_DOWN) {
        qs_list_scroll(l, ev->mouse == QS_MOUSE_WHEEL_UP ? -3 : 3);
    } else if (qs_list_at(l, ev->y - 3, &i)) {
        qs_list_goto(l, i);
        if (ev->mouse == QS_MOUSE_DOUBLE) go(a, NULL);
    }
    return true;
}

const qs_view qs_view_errors = {
    .name = "errors",
    .context = QS_CTX_ERRORS,
    .draw = errors_draw,
    .layout = errors_layout,
    .event = errors_event,
    .command = errors_command,
    .close = errors_close,
};

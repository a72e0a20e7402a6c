#include "ui/app_impl.h"

#include <stdlib.h>

/* Two panes of names: at the left what A has and the model has not, at the right what the model lacks, the
 * best candidates for the left one first. Enter gives the left value the right name. */

typedef struct bind_side {
    uint32_t *row; /* of the comparison */
    size_t n;
    qs_list list;
} bind_side;

struct qs_bind_state {
    bind_side side[2];
    int focus;
    uint64_t revision;
    uint32_t wanted; /* row the candidates are for */
    qs_suggestion candidate[QS_CANDIDATES_MAX];
    size_t candidates;
};

static bool is_left(const qs_row *r) {
    return r->r != QS_NO_INDEX && r->mark != QS_MARK_DROPPED && r->m == QS_NO_INDEX;
}
static bool is_right(const qs_row *r) {
    return r->r == QS_NO_INDEX && r->m != QS_NO_INDEX;
}

static bool collect(const qs_compare *c, bind_side *s, bool (*wanted)(const qs_row *)) {
    uint32_t n = qs_compare_rows(c);
    free(s->row);
    s->row = malloc(((size_t)n + 1) * sizeof *s->row);
    s->n = 0;
    for (uint32_t i = 0; s->row && i < n; i++)
        if (wanted(qs_compare_row(c, i))) s->row[s->n++] = i;
    return s->row != NULL;
}

static uint32_t left_row(const struct qs_bind_state *v) {
    const bind_side *l = &v->side[0];
    return l->list.cursor < l->n ? l->row[l->list.cursor] : QS_NO_INDEX;
}

/* The candidates, then all the model lacks. */
static uint32_t right_at(const struct qs_bind_state *v, size_t i) {
    if (i < v->candidates) return v->candidate[i].to;
    i -= v->candidates;
    return i < v->side[1].n ? v->side[1].row[i] : QS_NO_INDEX;
}

/* The assignment over all keys knows more than this key alone: its choice comes first. */
static void find_candidates(qs_app *a) {
    struct qs_bind_state *v = a->bind;
    uint32_t row = left_row(v);
    v->wanted = row;
    v->candidates = 0;
    if (row != QS_NO_INDEX) {
        uint32_t best = a->matches ? qs_matches_of_row(a->matches, row) : QS_NO_INDEX;
        if (best != QS_NO_INDEX) v->candidate[v->candidates++] = *qs_matches_get(a->matches, best);
        qs_suggestion found[QS_CANDIDATES_MAX];
        size_t n = qs_match_candidates(a->tree.c, row, found, QS_CANDIDATES_MAX);
        for (size_t i = 0; i < n && v->candidates < QS_CANDIDATES_MAX; i++)
            if (best == QS_NO_INDEX || found[i].to != v->candidate[0].to)
                v->candidate[v->candidates++] = found[i];
    }
    v->side[1].list.cursor = v->side[1].list.top = 0;
    qs_list_resize(&v->side[1].list, v->candidates + v->side[1].n, v->side[1].list.height);
}

static bool rebuild(qs_app *a) {
    struct qs_bind_state *v = a->bind;
    qs_app_diagnose(a);
    v->revision = qs_session_revision(a->s);
    if (!collect(a->tree.c, &v->side[0], is_left) || !collect(a->tree.c, &v->side[1], is_right)) return false;
    qs_list_resize(&v->side[0].list, v->side[0].n, v->side[0].list.height);
    find_candidates(a);
    return true;
}

static void bind_layout(qs_app *a) {
    struct qs_bind_state *v = a->bind;
    size_t rows = a->h > 9 ? (size_t)a->h - 8 : 1;
    if (v->revision != qs_session_revision(a->s) && !rebuild(a)) qs_app_complain(a, "out of memory");
    qs_list_resize(&v->side[0].list, v->side[0].n, rows);
    qs_list_resize(&v->side[1].list, v->candidates + v->side[1].n, rows);
}

static void bind_close(qs_app *a) {
    free(a->bind->side[0].row);
    free(a->bind->side[1].row);
    free(a->bind);
    a->bind = NULL;
}

/* The left cursor goes to the row the tree is on, or to the first after it. */
static void start_at(qs_app *a) {
    struct qs_bind_state *v = a->bind;
    uint32_t node = qs_tree_selected(&a->tree), row = qs_tree_selected_row(&a->tree);
    if (row == QS_NO_INDEX && node != QS_NO_INDEX) qs_tree_next_below(&a->tree, node, &row);
    for (size_t i = 0; i < v->side[0].n && row != QS_NO_INDEX; i++)
        if (v->side[0].row[i] >= row) return qs_list_goto(&v->side[0].list, i), find_candidates(a);
}

void qs_bind_open(qs_app *a) {
    if (!a->tree.c || !qs_session_target(a->s))
        return qs_app_say(a, "there is no model whose names could be bound to");
    a->bind = calloc(1, sizeof *a->bind);
    if (!a->bind || !rebuild(a)) {
        if (a->bind) bind_close(a);
        return qs_app_complain(a, "out of memory");
    }
    if (a->bind->side[0].n == 0 || a->bind->side[1].n == 0) {
        const char *why =
            a->bind->side[0].n ? "the model lacks nothing" : "every key of A is one of the model's";
        bind_close(a);
        return qs_app_say(a, "%s: there is nothing to bind", why);
    }
    start_at(a);
    qs_app_open(a, &qs_view_bind);
}

/* ---- drawing ---- */

static void draw_name(const qs_app *a, qs_pane p, int y, int x, uint32_t row, int column, qs_pen pen) {
    const qs_row *r = qs_compare_row(a->tree.c, row);
    char shape[120];
    qs_key_cell(a, r, column, shape, sizeof shape);
    int end = p.w >= 44 ? qs_draw_right(p, p.w - 1, y, QS_PEN(DIM), qs_str_of(shape)) : p.w;
    qs_draw_fit(p, x, y, end - 1 - x, pen, r->key, true);
}

static void draw_left(const qs_app *a, qs_pane p) {
    const struct qs_bind_state *v = a->bind;
    size_t i;
    for (int y = 0; y < p.h && qs_list_at(&v->side[0].list, y, &i); y++) {
        draw_name(a, p, y, 1, v->side[0].row[i], QS_COLUMN_A, QS_PEN(UNEXPECTED));
        if (i != v->side[0].list.cursor) continue;
        qs_pane_select(p, y);
        if (v->focus == 0) p.g->cursor_y = p.y + y;
    }
    if (v->side[0].n == 0) qs_drawz(p, 1, 0, QS_PEN(DIM), "every key of A has its place");
}

static void draw_right_side(const qs_app *a, qs_pane p) {
    const struct qs_bind_state *v = a->bind;
    size_t i;
    for (int y = 0; y < p.h && qs_list_at(&v->side[1].list, y, &i); y++) {
        bool good = i < v->candidates;
        if (good) qs_drawf(p, 1, y, QS_PEN(RENAMED), "%3.0f %%", v->candidate[i].confidence * 100);
        draw_name(a, p, y, 7, right_at(v, i), QS_COLUMN_M, good ? QS_PEN(STRONG) : QS_PEN(MISSING));
        if (i != v->side[1].list.cursor) continue;
        qs_pane_select(p, y);
        if (v->focus == 1) p.g->cursor_y = p.y + y;
    }
    if (v->side[1].n == 0) qs_drawz(p, 1, 0, QS_PEN(DIM), "the model lacks nothing");
}

static void draw_pair(const qs_app *a, qs_pane p) {
    const struct qs_bind_state *v = a->bind;
    uint32_t from = left_row(v), to = right_at(v, v->side[1].list.cursor);
    if (from == QS_NO_INDEX || to == QS_NO_INDEX) return;
    const qs_row *l = qs_compare_row(a->tree.c, from), *r = qs_compare_row(a->tree.c, to);
    char ls[120], rs[120];
    qs_key_cell(a, l, QS_COLUMN_A, ls, sizeof ls);
    qs_key_cell(a, r, QS_COLUMN_M, rs, sizeof rs);
    qs_draw_fit(p, 0, 0, p.w, QS_PEN(STRONG), l->key, true);
    int x = qs_drawz(p, 0, 1, QS_PEN(RENAMED), "→ ");
    qs_draw_fit(p, x, 1, p.w - x, QS_PEN(STRONG), r->key, true);
    size_t i = v->side[1].list.cursor;
    bool good = i < v->candidates;
    qs_drawf(p, 0, 2, good ? QS_PEN(NORMAL) : QS_PEN(DIM), "%s, %s   %s", ls, rs,
             good ? v->candidate[i].reason : "no candidate: the shape or the place speaks against it");
}

static void bind_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter", "bind", "Tab", "other pane", "m", "map, and all like it",
                                        "d",     "drop", "u",   "undo",       "q", "back",
                                        NULL};
    const struct qs_bind_state *v = a->bind;
    qs_pane p = qs_pane_of(g);
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    qs_drawz(p, 1, 0, QS_PEN(TITLE), "bind names");
    qs_draw_verdict(a, p);
    int half = p.w / 2, rows = p.h > 9 ? p.h - 8 : 1;
    qs_draw_fill(p, 0, 1, p.w, 1, QS_PEN(HEAD));
    qs_drawf(qs_pane_sub(p, 0, 0, half - 1, 2), 1, 1, v->focus == 0 ? QS_PEN(KEY) : QS_PEN(HEAD),
             "%zu of A without a place", v->side[0].n);
    qs_drawf(p, half + 1, 1, v->focus == 1 ? QS_PEN(KEY) : QS_PEN(HEAD), "%zu the model lacks", v->side[1].n);
    draw_left(a, qs_pane_sub(p, 0, 2, half - 1, rows));
    draw_right_side(a, qs_pane_sub(p, half, 2, p.w - half, rows));
    for (int y = 0; y < rows; y++) qs_drawz(p, half - 1, 2 + y, QS_PEN(LINE), "│");
    if (p.h > 9) qs_draw_hline(p, p.h - 6, QS_PEN(LINE));
    if (p.h > 9) draw_pair(a, qs_pane_sub(p, 1, p.h - 5, p.w - 2, 3));
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
}

/* ---- keys ---- */

static void bind(qs_app *a) {
    const struct qs_bind_state *v = a->bind;
    uint32_t from = left_row(v), to = right_at(v, v->side[1].list.cursor);
    if (from == QS_NO_INDEX || to == QS_NO_INDEX) return qs_app_say(a, "there is nothing left to bind");
    qs_rename_pair pair = {qs_compare_row(a->tree.c, from)->key, qs_compare_row(a->tree.c, to)->key};
    qs_action act = {.kind = QS_ACT_RENAME, .pairs = &pair, .pair_count = 1, .bn_eps = __builtin_nan("")};
    qs_app_do(a, &act, "renamed");
}

static void drop(qs_app *a) {
    uint32_t row = left_row(a->bind);
    if (row == QS_NO_INDEX) return;
    qs_action act = {.kind = QS_ACT_DROP,
                     .scope_kind = QS_SCOPE_KEY,
                     .scope = qs_compare_row(a->tree.c, row)->key,
                     .bn_eps = __builtin_nan("")};
    qs_app_do(a, &act, "dropped");
}

static void map_pair(qs_app *a) {
    const struct qs_bind_state *v = a->bind;
    uint32_t from = left_row(v), to = right_at(v, v->side[1].list.cursor);
    if (from != QS_NO_INDEX && to != QS_NO_INDEX) qs_map_open_pair(a, from, to);
}

static bool bind_command(qs_app *a, qs_command c) {
    struct qs_bind_state *v = a->bind;
    if (qs_list_command(&v->side[v->focus].list, c)) {
        if (left_row(v) != v->wanted) find_candidates(a);
        return true;
    }
    switch (c) {
    case QS_CMD_OTHER_SIDE: v->focus = !v->focus; return true;
    case QS_CMD_BIND_NOW: return bind(a), true;
    case QS_CMD_MAP: return map_pair(a), true;
    case QS_CMD_DROP: return drop(a), true;
    default: return false;
    }
}

static bool bind_event(qs_app *a, const qs_event *ev) {
    struct qs_bind_state *v = a->bind;
    size_t i;
    if (ev->kind != QS_EVENT_MOUSE) return false;
    int side = ev->x >= a->w / 2;
    if (ev->mouse == QS_MOUSE_WHEEL_UP || ev->mouse == QS_MOUSE_WHEEL_DOWN) {
        qs_list_scroll(&v->side[side].list, ev->mouse == QS_MOUSE_WHEEL_UP ? -3 : 3);
    } else if (qs_list_at(&v->side[side].list, ev->y - 2, &i)) {
        v->focus = side;
        qs_list_goto(&v->side[side].list, i);
        if (ev->mouse == QS_MOUSE_DOUBLE && side == 1) bind(a);
    }
    if (left_row(v) != v->wanted) find_candidates(a);
    return true;
}

const qs_view qs_view_bind = {
    .name = "bind",
    .context = QS_CTX_BIND,
    .draw = bind_draw,
    .layout = bind_layout,
    .event = bind_event,
    .command = bind_command,
    .close = bind_close,
};

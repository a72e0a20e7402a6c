#include "ui/app_impl.h"

/* Rows of the menu: every status, every role, the family, "changed by the plan", "marked", and the text. */
enum {
    STATUSES = QS_STATUS_COUNT,
    ROLES = QS_ROLE_COUNT,
    FAMILY = STATUSES + ROLES,
    CHANGED,
    MARKED,
    TEXT,
    ROWS,
    LINES = 15 /* with the heads */
};

/* Where a row of the menu stands among its lines. */
static int line_of(int row) {
    return row == TEXT ? 0 : row < STATUSES ? 3 + row : row < FAMILY ? 3 + row - STATUSES : 12 + row - FAMILY;
}

/* Rows for the menu in a box of this height: the hints, and where there is room a blank line, are below. */
static int menu_height(int inside) {
    return inside - 1 - (inside > LINES + 1);
}

/* The line of the cursor is on the screen, and nothing moves that need not. */
static void reveal(qs_app *a) {
    qs_filter_state *f = &a->filter;
    int box = a->h - 1 < LINES + 4 ? a->h - 1 : LINES + 4, h = menu_height(box - 2), line = line_of(f->row);
    if (line < f->top) f->top = line;
    if (line >= f->top + h) f->top = line - h + 1;
    if (f->top < 0 || h >= LINES) f->top = 0;
}

void qs_filter_open(qs_app *a) {
    qs_filter_state *f = &a->filter;
    f->row = TEXT;
    f->top = 0;
    f->was = a->tree.filter;
    f->text.history = NULL; /* Up and Down walk through the menu */
    snprintf(f->text_was, sizeof f->text_was, "%.*s",
             QS_FMT(a->tree.filter_text ? qs_search_text(a->tree.filter_text) : QS_STR("")));
    qs_line_set(&f->text, a->tree.filter_text ? qs_search_text(a->tree.filter_text) : QS_STR(""));
    qs_app_open(a, &qs_view_filter);
}

static bool row_on(const qs_app *a, int row) {
    const qs_tree_filter *f = &a->tree.filter;
    if (row < STATUSES) return f->statuses >> row & 1;
    if (row < FAMILY) return f->roles >> (row - STATUSES) & 1;
    if (row == FAMILY) return f->family != QS_FAMILY_NONE;
    return row == CHANGED ? f->changed_only : f->marked_only;
}

/* The next family that has a key here; after the last, none. */
static int next_family(const qs_app *a, int family) {
    bool there[QS_FAMILY_COUNT] = {false};
    for (uint32_t i = 0; a->tree.c && i < qs_compare_rows(a->tree.c); i++)
        there[qs_compare_row(a->tree.c, i)->family] = true;
    for (family++; family < QS_FAMILY_COUNT; family++)
        if (there[family]) return family;
    return QS_FAMILY_NONE;
}

static void toggle(qs_app *a, int row) {
    qs_tree_filter *f = &a->tree.filter;
    if (row < STATUSES)
        f->statuses ^= 1u << row;
    else if (row < FAMILY)
        f->roles ^= 1u << (row - STATUSES);
    else if (row == FAMILY)
        f->family = next_family(a, f->family);
    else if (row == CHANGED)
        f->changed_only = !f->changed_only;
    else if (row == MARKED)
        f->marked_only = !f->marked_only;
    /* "Everything" has one spelling, so that an untouched filter is seen to be none. */
    if ((f->statuses & ((1u << STATUSES) - 1)) == (1u << STATUSES) - 1) f->statuses = UINT32_MAX;
    if ((f->roles & ((1u << ROLES) - 1)) == (1u << ROLES) - 1) f->roles = UINT32_MAX;
    if (!qs_tree_refilter(&a->tree)) qs_app_complain(a, "out of memory");
}

/* Only this one of its kind; again: all. */
static void only(qs_app *a, int row) {
    qs_tree_filter *f = &a->tree.filter;
    uint32_t *set = row < STATUSES ? &f->statuses : &f->roles;
    uint32_t bit = 1u << (row < STATUSES ? row : row - STATUSES);
    if (row >= FAMILY) return toggle(a, row);
    *set = *set == bit ? UINT32_MAX : bit;
    if (!qs_tree_refilter(&a->tree)) qs_app_complain(a, "out of memory");
}

static void draw_row(const qs_app *a, qs_pane p, int x, int y, int row) {
    int from = x;
    x = qs_drawz(p, x, y, QS_PEN(KEY), row_on(a, row) ? "[x] " : "[ ] ");
    if (row < STATUSES) {
        const qs_status_info *s = qs_status_get((qs_status)row);
        x = qs_drawz(p, x, y, qs_status_pen((qs_status)row), s->glyph);
        x = qs_drawf(p, x, y, QS_PEN(NORMAL), " %s %u", s->name,
                     a->tree.c ? qs_compare_node(a->tree.c, 0)->count_status[row] : 0);
    } else if (row == FAMILY) {
        int family = a->tree.filter.family;
        x = qs_drawz(p, x, y, QS_PEN(NORMAL), "only ");
        x = qs_drawz(p, x, y, QS_PEN(NORMAL),
                     family ? qs_family_name((qs_family)family) : "one family of quantizers");
    } else if (row < FAMILY) {
        qs_role r = (qs_role)(row - STATUSES);
        x = qs_drawf(p, x, y, QS_PEN(LETTER), "%c ", r == QS_ROLE_NONE ? '-' : qs_role_letter(r));
        x = qs_drawz(p, x, y, QS_PEN(NORMAL), r == QS_ROLE_NONE ? "no part of it" : qs_role_name(r));
    } else {
        x = qs_drawz(p, x, y, QS_PEN(NORMAL),
                     row == CHANGED ? "only what the plan changed" : "only what is marked");
    }
    qs_pane_spot(p, from, y, x - from, row);
    if (a->filter.row == row) qs_pane_select(qs_pane_sub(p, from, y, x - from, 1), 0);
}

/* Heads and rows, from line `top` on: a low window shows those around the cursor. */
static void draw_menu(const qs_app *a, qs_pane p, int top) {
    for (int i = 0; i < ROWS; i++)
        if (i != TEXT) draw_row(a, p, i >= STATUSES && i < FAMILY ? 30 : 0, line_of(i) - top, i);
    if (top > 0) return;
    qs_drawz(p, 0, 0, QS_PEN(KEY), "keys with ");
    qs_line_draw(&a->filter.text, p, 10, 0, p.w - 10, a->filter.row == TEXT);
    qs_pane_spot(p, 0, 0, p.w, TEXT);
    qs_drawz(p, 0, 2, QS_PEN(HEAD), "status");
    qs_drawz(p, 30, 2, QS_PEN(HEAD), "quantization");
}

static void filter_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Space", "on or off", "o",   "only this", "a", "all",
                                        "Enter", "done",      "Esc", "as before", NULL};
    char note[64];
    snprintf(note, sizeof note, "%u shown", a->tree.shown_leaves);
    qs_pane p = qs_dialog_box(a, g, 74, LINES + 4, "show only", note);
    draw_menu(a, qs_pane_sub(p, 0, 0, p.w, menu_height(p.h)), a->filter.top);
    qs_dialog_hints(p, p.h - 1, hints);
}

static void apply_text(qs_app *a) {
    if (!qs_tree_filter_by(&a->tree, qs_line_text(&a->filter.text))) qs_app_complain(a, "out of memory");
}

static void move(qs_app *a, int step) {
    a->filter.row = (a->filter.row + ROWS + step) % ROWS;
    reveal(a);
}

static void sideways(qs_app *a) {
    int row = a->filter.row;
    if (row < STATUSES)
        a->filter.row = STATUSES + (row < ROLES ? row : ROLES - 1);
    else if (row < CHANGED)
        a->filter.row = row - STATUSES < STATUSES ? row - STATUSES : STATUSES - 1;
    reveal(a);
}

static bool filter_event(qs_app *a, const qs_event *ev) {
    qs_filter_state *f = &a->filter;
    bool changed;
    if (f->row == TEXT && qs_line_edit(&f->text, ev, &changed)) {
        if (changed) apply_text(a);
        return true;
    }
    if (ev->kind != QS_EVENT_KEY || f->row == TEXT) return false;
    switch (ev->key) {
    case ' ': return toggle(a, f->row), true;
    case 'o': return only(a, f->row), true;
    case QS_KEY_LEFT:
    case QS_KEY_RIGHT:
    case 'h':
    case 'l': return sideways(a), true;
    case 'j': return move(a, 1), true;
    case 'k': return move(a, -1), true;
    case 'a':
        a->tree.filter = QS_TREE_FILTER_ALL;
        qs_line_set(&f->text, QS_STR(""));
        return apply_text(a), true;
    default: return false;
    }
}

static bool filter_command(qs_app *a, qs_command c) {
    switch (c) {
    case QS_CMD_DIALOG_UP:
    case QS_CMD_DIALOG_PREV: return move(a, -1), true;
    case QS_CMD_DIALOG_DOWN:
    case QS_CMD_DIALOG_NEXT: return move(a, 1), true;
    case QS_CMD_DIALOG_OK:
        qs_history_add(&a->searches, qs_line_text(&a->filter.text));
        return qs_app_close(a), true;
    case QS_CMD_DIALOG_CANCEL:
        a->tree.filter = a->filter.was;
        qs_line_set(&a->filter.text, qs_str_of(a->filter.text_was));
        apply_text(a);
        return qs_app_close(a), true;
    default: return false;
    }
}

static void filter_pick(qs_app *a, int what, bool twice) {
    (void)twice;
    a->filter.row = what;
    if (what != TEXT) toggle(a, what);
}

const qs_view qs_view_filter = {
    .name = "filter",
    .context = QS_CTX_DIALOG,
    .draw = filter_draw,
    .layout = reveal,
    .event = filter_event,
    .command = filter_command,
    .pick = filter_pick,
};

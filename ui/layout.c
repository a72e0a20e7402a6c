#include "ui/app_impl.h"

enum { HEADER = 3, MIN_W = 40, MIN_H = 10 };

static int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static void layout_rows(qs_layout *l) {
    int h = l->h, details = h >= 50 ? 8 : h >= 38 ? 6 : h >= 28 ? 4 : h >= 20 ? 2 : h >= 14 ? 1 : 0;
    int rules = details >= 2 ? 2 : details;
    l->hint_y = h - 1;
    l->diagnosis_y = h - 2;
    l->rule_y[1] = rules == 2 ? h - 3 : -1;
    l->details_h = details;
    l->details_y = h - 2 - (rules == 2) - details;
    l->rule_y[0] = rules ? l->details_y - 1 : -1;
    l->tree_y = HEADER;
    l->tree_h = (rules ? l->rule_y[0] : l->diagnosis_y) - HEADER;
}

static void layout_columns(const qs_app *a, qs_layout *l) {
    /* A target made from B is column B. */
    bool is_b = qs_session_target_is_b(a->s);
    bool b = qs_session_b(a->s) && (l->w >= 100 || is_b), m = qs_session_target(a->s) && !is_b;
    if (l->w < 60) b = m = false;
    l->columns = 0;
    if (l->w >= 48) l->column[l->columns++] = QS_COLUMN_A;
    if (b) l->column[l->columns++] = QS_COLUMN_B;
    if (m) l->column[l->columns++] = QS_COLUMN_M;
    l->column_w = clamp(l->w / 7, 13, 24);
    l->name_w = l->w - l->columns * (l->column_w + 2);
    for (int i = 0; i < l->columns; i++) l->column_x[i] = l->name_w + i * (l->column_w + 2);
}

void qs_tree_layout(qs_app *a) {
    qs_layout *l = &a->layout;
    *l = (qs_layout){.w = a->w, .h = a->h, .tiny = a->w < MIN_W || a->h < MIN_H, .rule_y = {-1, -1}};
    if (l->tiny) return;
    layout_rows(l);
    layout_columns(a, l);
    qs_list_resize(&a->tree.list, a->tree.line.n, (size_t)l->tree_h);
}

int qs_tree_indent(const qs_app *a, const qs_tree_line *line) {
    int most = a->layout.name_w / 2, indent = (int)(line->depth > 1000 ? 1000 : line->depth) * 2;
    return QS_GUTTER + (indent < most ? indent : most);
}

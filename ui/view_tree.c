#include "ui/app_impl.h"

enum { SIZE_W = 11 }; /* "1023.9 bytes" is written as "1.0 KB" */

/* ---- header ---- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void document_name(const char *letter, const qs_checkpoint *c, bool brief, char *out, size_t cap) {
    qs_str root = qs_checkpoint_chosen_root(c) ? qs_checkpoint_chosen_root(c)->path : QS_STR("");
    if (root.n && !brief)
        snprintf(out, cap, "%s %s[%.*s]", letter, base_name(qs_checkpoint_path(c)), QS_FMT(root));
    else
        snprintf(out, cap, "%s %s", letter, base_name(qs_checkpoint_path(c)));
}

/* Returns where the verdict begins. */
int qs_draw_verdict(const qs_app *a, qs_pane p) {
    const qs_verdict *v = qs_session_verdict(a->s);
    if (!v) return qs_draw_right(p, p.w - 1, 0, QS_PEN(DIM), QS_STR("no model to compare with"));
    bool loads = qs_verdict_loads(v);
    bool fails = loads && a->forward; /* a YES that must not be believed */
    qs_str word = fails ? QS_STR(" YES, but forward fails ") : loads ? QS_STR(" YES ") : QS_STR(" NO ");
    int x = qs_draw_right(p, p.w - 1, 0, loads && !fails ? QS_PEN(YES) : QS_PEN(NO), word);
    char label[48] = "would load:";
    int torch = qs_verdict_torch(v);
    if (a->versions_differ) /* others say something else */
        snprintf(label, sizeof label, "torch %d.%d would load:", torch / 100, torch % 100);
    return qs_draw_right(p, x - 1, 0, a->versions_differ ? QS_PEN(LETTER) : QS_PEN(NORMAL), qs_str_of(label));
}

/* The widest that names may be so that together they fit: short ones leave their room to the long ones. */
static int fair_width(const int *want, int n, int room) {
    int widest = room;
    for (int sum = room + 1; sum > room && widest > 0; widest--) {
        sum = 0;
        for (int i = 0; i < n; i++) sum += want[i] < widest ? want[i] : widest;
        if (sum <= room) break;
    }
    return widest;
}

enum { NAMES = 3 };

/* What is open, and how wide each name is; brief ones are without the state dict in the file. */
static int name_documents(const qs_app *a, qs_pane p, bool brief, char name[NAMES][300], int *want) {
    int n = 0;
    document_name("A", qs_session_a(a->s), brief, name[n++], sizeof *name);
    if (qs_session_b(a->s) && (p.w >= 100 || qs_session_target_is_b(a->s)))
        document_name("B", qs_session_b(a->s), brief, name[n++], sizeof *name);
    const qs_manifest *m = qs_session_target(a->s);
    if (m && !qs_session_target_is_b(a->s))
        snprintf(name[n++], sizeof *name, "M %s", base_name(qs_manifest_name(m)));
    for (int i = 0; i < n; i++) want[i] = qs_text_width(p.g, qs_str_of(name[i]));
    return n;
}

static void draw_title(const qs_app *a, qs_pane p) {
    char name[NAMES][300];
    int want[NAMES], sum = 0;
    int end = qs_draw_verdict(a, p), x = qs_drawz(p, 1, 0, QS_PEN(TITLE), "qatscope") + 2;
    int n = name_documents(a, p, false, name, want), room = end - 2 - x - 3 * (n - 1);
    for (int i = 0; i < n; i++) sum += want[i];
    if (sum > room) name_documents(a, p, true, name, want);
    int widest = fair_width(want, n, room);
    for (int i = 0; i < n && widest > 4; i++) {
        /* Names that go together differ at their ends. */
        int w = want[i] < widest ? want[i] : widest;
        qs_drawf(p, x, 0, QS_PEN(KEY), "%c", name[i][0]);
        qs_draw_fit(p, x + 2, 0, w - 2, QS_PEN(NORMAL), qs_str_of(name[i] + 2), true);
        x += w + 3;
    }
}

/* Without its name, or not at all, where there is no room for it. */
static int draw_count(qs_pane p, int x, int y, qs_status s, uint32_t n) {
    char text[32];
    snprintf(text, sizeof text, "%s %u", qs_status_get(s)->glyph, n);
    int number = qs_text_width(p.g, qs_str_of(text)), name = (int)strlen(qs_status_get(s)->name) + 1;
    if (x + number > p.w) return x;
    x = qs_drawz(p, x, y, qs_status_pen(s), text);
    if (x + name > p.w) return x + 2;
    return qs_drawf(p, x, y, QS_PEN(NORMAL), " %s", qs_status_get(s)->name) + 2;
}

/* The statuses a person must always see, then those that occur. */
static int draw_counts(const qs_app *a, qs_pane p, int x) {
    static const qs_status order[] = {QS_STATUS_MISSING,  QS_STATUS_UNEXPECTED, QS_STATUS_SHAPE,
                                      QS_STATUS_FATAL,    QS_STATUS_OK,         QS_STATUS_DTYPE,
                                      QS_STATUS_TOLERATED};
    const qs_tree_node *root = qs_compare_node(a->tree.c, 0);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        uint32_t n = root->count_status[order[i]];
        bool always =
            order[i] == QS_STATUS_MISSING || order[i] == QS_STATUS_UNEXPECTED || order[i] == QS_STATUS_OK;
        if (n || always) x = draw_count(p, x, 1, order[i], n);
    }
    return x;
}

static void draw_summary(const qs_app *a, qs_pane p) {
    const qs_compare *c = a->tree.c;
    char plan[64];
    size_t actions = qs_plan_count(qs_session_plan(a->s));
    snprintf(plan, sizeof plan, "plan: %zu %s%s", actions, qs_plural(actions, "action", "actions"),
             qs_app_unsaved(a) ? " *" : "");
    int end = p.w - 1 - (int)strlen(plan), x = 1;
    qs_pane left = qs_pane_sub(p, 0, 0, end - 1, 2);
    if (c) {
        const qs_tree_node *root = qs_compare_node(c, 0);
        bool roomy = p.w >= 100;
        if (roomy) x = qs_drawf(left, x, 1, QS_PEN(NORMAL), "%u in A", root->count_a);
        if (roomy && qs_session_target(a->s))
            x = qs_drawf(left, x, 1, QS_PEN(NORMAL), " · %u expected", root->count_m);
        if (qs_session_target(a->s))
            draw_counts(a, left, roomy ? x + 4 : x);
        else if (!roomy)
            qs_drawf(left, x, 1, QS_PEN(NORMAL), "%u in A", root->count_a);
    }
    qs_drawz(p, end, 1, actions ? QS_PEN(STRONG) : QS_PEN(NORMAL), plan);
}

static void draw_column_heads(const qs_app *a, qs_pane p) {
    static const char *const names[] = {"A", "B", "Model"};
    const qs_layout *l = &a->layout;
    const qs_tree *t = &a->tree;
    qs_draw_fill(p, 0, 2, p.w, 1, QS_PEN(HEAD));
    int x = qs_drawz(p, 1, 2, QS_PEN(HEAD), "Module / key");
    qs_pane left = qs_pane_sub(p, 0, 2, l->name_w - 1, 1);
    if (t->flat || t->sort != QS_SORT_MODEL)
        x = qs_drawf(left, x + 2, 0, QS_PEN(LETTER), "%s, order %s", t->flat ? "flat" : "tree",
                     qs_sort_name(t->sort));
    if (qs_tree_filtered(t))
        x = qs_drawf(left, x + 2, 0, QS_PEN(LETTER), "filter: %u shown", t->shown_leaves);
    if (t->marked) x = qs_drawf(left, x + 2, 0, QS_PEN(MARKED), "%u marked", t->marked);
    if (t->ranging) x = qs_drawf(left, x + 2, 0, QS_PEN(MARKED), "range");
    if (t->search) {
        x = qs_drawf(left, x + 2, 0, QS_PEN(LETTER), "%u %s  /", t->hits,
                     qs_plural(t->hits, "match", "matches"));
        int width = qs_text_width(p.g, qs_search_text(t->search)), room = left.w - x;
        qs_draw_fit(left, x, 0, width < room ? width : room, QS_PEN(LETTER), qs_search_text(t->search),
                    false);
    }
    for (int i = 0; i < l->columns; i++) {
        qs_drawz(p, l->column_x[i], 2, QS_PEN(LINE), "│");
        qs_drawz(p, l->column_x[i] + 2, 2, QS_PEN(HEAD), names[l->column[i]]);
    }
}

/* ---- rows ---- */

static void draw_cells(const qs_app *a, qs_pane p, int y, const qs_tree_node *n) {
    const qs_layout *l = &a->layout;
    for (int i = 0; i < l->columns; i++) {
        char text[160];
        int column = l->column[i];
        uint32_t count = column == QS_COLUMN_A ? n->count_a : column == QS_COLUMN_B ? n->count_b : n->count_m;
        if (n->row != QS_NO_INDEX)
            qs_key_cell(a, qs_compare_row(a->tree.c, n->row), column, text, sizeof text);
        else
            snprintf(text, sizeof text, count ? "%u" : "·", count);
        bool gap = qs_str_is(qs_str_of(text), "·");
        qs_drawz(p, l->column_x[i], y, QS_PEN(LINE), "│");
        int w = i + 1 < l->columns ? l->column_w - 1 : p.w - l->column_x[i] - 2;
        qs_draw_fit(p, l->column_x[i] + 2, y, w, gap || n->row == QS_NO_INDEX ? QS_PEN(DIM) : QS_PEN(NORMAL),
                    qs_str_of(text), false);
    }
}

/* In the order by size each line says its own; returns where it begins. */
static int draw_size(const qs_app *a, qs_pane p, int end, int y, uint32_t node) {
    char text[32];
    if (!a->tree.bytes) return end;
    qs_draw_right(p, end, y, QS_PEN(LETTER),
                  qs_str_of(qs_bytes_text(a->tree.bytes[node], text, sizeof text)));
    return end - SIZE_W;
}

/* Counts of what is wrong below a module, at the right end of its name; returns where they begin. */
static int draw_rollup(qs_pane p, int end, int y, const qs_tree_node *n, uint32_t later) {
    int x = end;
    bool any = false;
    if (later) {
        char text[32];
        snprintf(text, sizeof text, "↯%u", later);
        x = qs_draw_right(p, x, y, QS_PEN(FATAL), qs_str_of(text));
        any = true;
    }
    for (int s = QS_STATUS_COUNT - 1; s >= 0; s--) {
        if (!n->count_status[s] || !qs_status_get((qs_status)s)->problem) continue;
        char text[32];
        snprintf(text, sizeof text, "%s%u", qs_status_get((qs_status)s)->glyph, n->count_status[s]);
        x = qs_draw_right(p, any ? x - 1 : x, y, qs_status_pen((qs_status)s), qs_str_of(text));
        any = true;
    }
    if (!any && n->count_status[QS_STATUS_DTYPE]) {
        char text[32];
        snprintf(text, sizeof text, "%s%u", qs_status_get(QS_STATUS_DTYPE)->glyph,
                 n->count_status[QS_STATUS_DTYPE]);
        x = qs_draw_right(p, x, y, QS_PEN(DTYPE), qs_str_of(text)) - 1;
    }
    if (!any && n->count_status[QS_STATUS_OK])
        x = qs_draw_right(p, x, y, QS_PEN(OK), qs_str_of(qs_status_get(QS_STATUS_OK)->glyph));
    return x;
}

static bool has_problem(const qs_tree_node *n) {
    for (int s = 0; s < QS_STATUS_COUNT; s++)
        if (n->count_status[s] && qs_status_get((qs_status)s)->problem) return true;
    return false;
}

static qs_str class_of(const qs_app *a, const qs_tree_node *n) {
    const qs_manifest *m = qs_session_target(a->s);
    if (!m || n->module == QS_NO_INDEX) return QS_STR("");
    return qs_str_leaf(qs_manifest_module(m, n->module)->class_name);
}

/* The part of the label that the search found. */
static void draw_match(const qs_app *a, qs_pane p, int x, int y, const qs_tree_node *n, qs_str label) {
    size_t from, to, skip = n->path.n - label.n;
    if (!a->tree.search || n->row == QS_NO_INDEX) return;
    if (!qs_search_match(a->tree.search, n->path, &from, &to) || to <= skip) return;
    from = from > skip ? from - skip : 0;
    qs_str before = qs_str_sub(label, 0, from), found = qs_str_sub(label, from, to - skip);
    qs_draw(p, x + qs_text_width(p.g, before), y, QS_PEN(MATCH), found);
}

static void draw_gutter(const qs_app *a, qs_pane p, int y, const qs_row *row, uint32_t i) {
    const qs_status_info *st = qs_status_get(row->status);
    const qs_mark_info *mk = qs_mark_get(row->mark);
    char letter[2] = {qs_role_letter(row->role), 0};
    if (qs_tree_row_has(&a->tree, i, QS_KEY_MARKED)) qs_drawz(p, 0, y, QS_PEN(MARKED), "●");
    if (qs_tree_row_has(&a->tree, i, QS_KEY_LATER) && !st->problem)
        qs_drawz(p, 1, y, QS_PEN(FATAL), "↯"); /* it loads, and forward fails */
    else if (row->status != QS_STATUS_NONE)
        qs_drawz(p, 1, y, qs_status_pen(row->status), st->glyph);
    if (row->mark != QS_MARK_NONE) qs_drawz(p, 2, y, qs_mark_pen(row->mark), mk->glyph);
    if (row->role != QS_ROLE_NONE) qs_drawz(p, 3, y, QS_PEN(LETTER), letter);
}

/* On the selected row the sign before the name says it. */
static qs_pen key_pen(const qs_row *row, bool selected) {
    if (selected) return QS_PEN(NORMAL);
    if (qs_status_get(row->status)->problem) return qs_status_pen(row->status);
    return row->mark != QS_MARK_NONE ? qs_mark_pen(row->mark) : QS_PEN(NORMAL);
}

static void draw_key_name(const qs_app *a, qs_pane p, int x, int y, const qs_tree_node *n, qs_str label,
                          uint32_t node) {
    const qs_row *row = qs_compare_row(a->tree.c, n->row);
    qs_pen pen = key_pen(row, node == qs_tree_selected(&a->tree));
    draw_gutter(a, qs_pane_sub(p, 0, 0, QS_GUTTER, p.h), y, row, n->row);
    x = qs_drawz(p, x, y, pen, "· ");
    if (label.n == 0) return (void)qs_drawz(p, x, y, pen, "\"\" (no name)");
    int room = draw_size(a, p, p.w - 1, y, node) - x, width = qs_text_width(p.g, label);
    bool cut = width > room;
    qs_draw_fit(p, x, y, cut ? room : width, pen, label, a->tree.flat);
    if (!cut) draw_match(a, p, x, y, n, label);
}

static void draw_module_name(const qs_app *a, qs_pane p, int x, int y, const qs_tree_node *n, qs_str label,
                             uint32_t node) {
    bool open = a->tree.open[node];
    int end = draw_rollup(p, draw_size(a, p, p.w - 1, y, node), y, n, a->tree.later[node]);
    qs_pane left = qs_pane_sub(p, 0, 0, end - 1, p.h);
    x = qs_drawz(left, x, y, QS_PEN(DIM), open ? "▾ " : "▸ ");
    int room = left.w - x, width = qs_text_width(p.g, label);
    qs_draw_fit(left, x, y, width < room ? width : room, has_problem(n) ? QS_PEN(STRONG) : QS_PEN(NORMAL),
                label, false);
    x += width + 2;
    qs_str class_name = class_of(a, n);
    if (class_name.n && x + 4 < left.w) qs_draw_fit(left, x, y, left.w - x, QS_PEN(CLASS), class_name, false);
}

static void draw_row(const qs_app *a, qs_pane p, int y, size_t i) {
    const qs_tree *t = &a->tree;
    const qs_tree_line *line = &t->line.v[i];
    const qs_tree_node *n = qs_compare_node(t->c, line->node);
    qs_str label = qs_tree_label(t, line);
    qs_pane name = qs_pane_sub(p, 0, 0, a->layout.name_w, p.h);
    int x = qs_tree_indent(a, line);
    if (n->row != QS_NO_INDEX)
        draw_key_name(a, name, x, y, n, label, line->node);
    else
        draw_module_name(a, name, x, y, n, label, line->node);
    draw_cells(a, p, y, n);
    bool closed = n->row == QS_NO_INDEX && !t->open[line->node];
    if (closed && t->marked_in[line->node]) qs_drawz(p, 0, y, QS_PEN(MARKED), "●");
    if (qs_tree_in_range(t, i)) qs_drawz(p, 0, y, QS_PEN(MARKED), "●");
    if (i != t->list.cursor) return;
    qs_pane_select(p, y);
    p.g->cursor_y = p.y + y;
}

static void draw_tree(const qs_app *a, qs_grid *g) {
    const qs_layout *l = &a->layout;
    const qs_tree *t = &a->tree;
    qs_pane p = qs_pane_sub(qs_pane_of(g), 0, l->tree_y, l->w, l->tree_h);
    size_t i;
    for (int y = 0; y < p.h && qs_list_at(&t->list, y, &i); y++) draw_row(a, p, y, i);
    if (t->line.n == 0)
        qs_drawz(p, 2, 0, QS_PEN(DIM),
                 qs_tree_filtered(t) ? "nothing passes the filter: f changes it, Esc forgets it"
                                     : "there is no entry in this state dict");
}

/* ---- foot ---- */

static void draw_details(const qs_app *a, qs_grid *g) {
    const qs_layout *l = &a->layout;
    qs_pane all = qs_pane_of(g);
    for (int i = 0; i < 2; i++)
        if (l->rule_y[i] >= 0) qs_draw_hline(all, l->rule_y[i], QS_PEN(LINE));
    qs_pane p = qs_pane_sub(all, 1, l->details_y, l->w - 2, l->details_h);
    for (int y = 0; y < p.h; y++) {
        qs_rich_draw(&a->details, (size_t)y, p, 0, y);
        if (qs_rich_width(&a->details, g, (size_t)y) > p.w) qs_drawz(p, p.w - 1, y, QS_PEN(DIM), "…");
    }
    if (!a->detail_hint.n || (int)a->detail_line >= p.h) return;
    int x = p.w - qs_text_width(g, a->detail_hint);
    bool over = qs_rich_width(&a->details, g, a->detail_line) > x - 1;
    qs_drawz(p, x - 2, (int)a->detail_line, QS_PEN(DIM), over ? "… " : "  ");
    qs_draw(p, x, (int)a->detail_line, QS_PEN(KEY), a->detail_hint);
}

static void draw_diagnosis(const qs_app *a, qs_grid *g) {
    const qs_diagnosis *d = a->diagnosis;
    qs_pane p = qs_pane_sub(qs_pane_of(g), 0, a->layout.diagnosis_y, a->layout.w, 1);
    int end = p.w - 1, x = 1;
    if (!d)
        return (void)qs_drawz(p, x, 0, QS_PEN(DIM), a->undiagnosed ? "the diagnosis comes in a moment" : "");
    if (d->action_count) {
        end =
            qs_draw_right(p, end, 0, QS_PEN(NORMAL), d->remaining ? QS_STR(" fix most") : QS_STR(" fix all"));
        end = qs_draw_right(p, end, 0, QS_PEN(KEY), QS_STR("[F]")) - 1;
    }
    if (!qs_session_target(a->s)) {
        end = qs_draw_right(p, end, 0, QS_PEN(NORMAL), QS_STR(" open B"));
        end = qs_draw_right(p, end, 0, QS_PEN(KEY), QS_STR("[B]")) - 1;
    }
    const qs_verdict *v = qs_session_verdict(a->s);
    char sentence[300];
    snprintf(sentence, sizeof sentence, "%s", d->sentence);
    if (v && qs_verdict_loads(v) && a->forward)
        snprintf(sentence, sizeof sentence, "PyTorch loads it, and forward then fails in %u %s: v tells why",
                 a->forward, qs_plural(a->forward, "quantizer", "quantizers"));
    int width = qs_text_width(g, qs_str_of(sentence));
    if (width + 13 < end) x = qs_drawz(p, x, 0, QS_PEN(HEAD), "Diagnosis") + 2;
    int room = end - x;
    qs_draw_fit(p, x, 0, width < room ? width : room, QS_PEN(STRONG), qs_str_of(sentence), false);
}

static void draw_hints(const qs_app *a, qs_grid *g) {
    static const struct {
        qs_command command;
        const char *text;
    } hints[] = {{QS_CMD_HELP, "help"}, {QS_CMD_SEARCH, "search"}, {QS_CMD_FILTER, "filter"},
                 {QS_CMD_MARK, "mark"}, {QS_CMD_MAP, "map"},       {QS_CMD_INIT, "init"},
                 {QS_CMD_COPY, "copy"}, {QS_CMD_DROP, "drop"},     {QS_CMD_UNDO, "undo"},
                 {QS_CMD_PLAN, "plan"}, {QS_CMD_LESSONS, "learn"}, {QS_CMD_WRITE, "save"},
                 {QS_CMD_QUIT, "quit"}};
    /* On a narrow screen those a person finds without being told go first. */
    static const uint16_t narrow =
        1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 8 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12;
    static const uint16_t slim = 1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
    static const uint16_t least = 1u << 0 | 1u << 1 | 1u << 4 | 1u << 11 | 1u << 12;
    qs_pane p = qs_pane_sub(qs_pane_of(g), 0, a->layout.hint_y, a->layout.w, 1);
    int x = 1;
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        char key[16];
        uint16_t shown = p.w < 58 ? least : p.w < 74 ? slim : p.w < 100 ? narrow : UINT16_MAX;
        if (!(shown >> i & 1)) continue;
        if (p.w < 110 && hints[i].command == QS_CMD_MARK) continue;
        if (hints[i].command == QS_CMD_COPY && !qs_session_b(a->s)) continue;
        qs_keymap_key(&a->config.keymap, hints[i].command, key, sizeof key);
        if (!*key) continue;
        if (x + (int)strlen(key) + 1 + qs_text_width(g, qs_str_of(hints[i].text)) >= p.w) break;
        x = qs_drawz(p, x, 0, QS_PEN(KEY), key);
        x = qs_drawz(p, x + 1, 0, QS_PEN(NORMAL), hints[i].text) + 2;
    }
}

void qs_tree_draw(const qs_app *a, qs_grid *g) {
    qs_pane all = qs_pane_of(g);
    draw_title(a, all);
    draw_summary(a, all);
    draw_column_heads(a, all);
    if (a->tree.c) draw_tree(a, g);
    draw_details(a, g);
    draw_diagnosis(a, g);
    draw_hints(a, g);
}

#include "ui/app_impl.h"

#include "model/outline.h"

#include <stdlib.h>

/* The whole of a file, not only its state dict: epoch, optimizer, arguments, lists, None; as a tree that
 * unfolds. */

enum { OPEN_AT_ONCE = 50000, PAGE_LINES = 20000, MEASURED_MAX = 50000000 };

typedef struct contents_line {
    qs_node node, parent; /* the part, and what it is part of */
    uint32_t index;       /* which part of it */
    uint64_t bytes;       /* of the top level: of the tensors in it */
    uint32_t depth;
    bool open;
} contents_line;

struct qs_contents_state {
    const qs_checkpoint *c;
    bool of_b;
    uint64_t documents; /* of the app, when the lines were made */
    QS_VEC(contents_line) line;
    qs_list list;
};

static const qs_checkpoint *document(const qs_app *a) {
    return a->contents->of_b ? qs_session_b(a->s) : qs_session_a(a->s);
}

/* Puts the parts of a node at a place of the list; false when memory is out. */
static bool insert_parts(struct qs_contents_state *v, qs_node n, size_t at, uint32_t depth) {
    size_t count = qs_outline_count(v->c, n);
    char label[8];
    if (count > UINT32_MAX || !qs_reserve(&v->line, v->line.n + count)) return false;
    if (v->line.n > at) memmove(v->line.v + at + count, v->line.v + at, (v->line.n - at) * sizeof *v->line.v);
    for (size_t i = 0; i < count; i++)
        v->line.v[at + i] = (contents_line){.node = qs_outline_part(v->c, n, i, label, sizeof label),
                                            .parent = n,
                                            .index = (uint32_t)i,
                                            .depth = depth};
    v->line.n += count;
    return true;
}

static void begin(qs_app *a) {
    struct qs_contents_state *v = a->contents;
    v->c = document(a);
    v->documents = a->documents;
    v->line.n = 0;
    v->list = (qs_list){0};
    qs_err e = QS_ERR_INIT;
    bool ok = insert_parts(v, qs_graph_root(qs_checkpoint_graph(v->c)), 0, 0) || qs_nomem(&e);
    bool few = (uint64_t)v->line.n * qs_graph_count(qs_checkpoint_graph(v->c)) <= MEASURED_MAX;
    for (size_t i = 0; ok && few && i < v->line.n; i++)
        ok = qs_outline_bytes(v->c, v->line.v[i].node, &v->line.v[i].bytes, &e);
    if (!ok) qs_app_fail(a, &e);
}

static void contents_layout(qs_app *a) {
    struct qs_contents_state *v = a->contents;
    if (v->of_b && !qs_session_b(a->s)) v->of_b = false;
    if (v->documents != a->documents || v->c != document(a)) begin(a);
    qs_list_resize(&v->list, v->line.n, a->h > 5 ? (size_t)a->h - 4 : 1);
}

void qs_contents_open(qs_app *a) {
    a->contents = calloc(1, sizeof *a->contents);
    if (!a->contents) return qs_app_complain(a, "out of memory");
    begin(a);
    qs_app_open(a, &qs_view_contents);
}

static void contents_close(qs_app *a) {
    qs_vec_free(&a->contents->line);
    free(a->contents);
    a->contents = NULL;
}

static contents_line *selected(const qs_app *a) {
    struct qs_contents_state *v = a->contents;
    return v->list.cursor < v->line.n ? &v->line.v[v->list.cursor] : NULL;
}

/* ---- drawing ---- */

static bool is_dropped(const qs_app *a, const contents_line *l) {
    const struct qs_contents_state *v = a->contents;
    const qs_graph *g = qs_checkpoint_graph(v->c);
    if (v->of_b || l->depth > 0) return false;
    qs_node key = qs_node_key(g, l->parent, l->index);
    return qs_node_kind_of(g, key) == QS_NODE_STR &&
           qs_resolution_top_dropped(qs_session_resolution(a->s), qs_node_str(g, key));
}

static void draw_line(const qs_app *a, qs_pane p, int y, size_t i) {
    const struct qs_contents_state *v = a->contents;
    const contents_line *l = &v->line.v[i];
    char label[300], value[600];
    qs_outline_part(v->c, l->parent, l->index, label, sizeof label);
    qs_outline_value(v->c, l->node, value, sizeof value);
    bool folds = qs_outline_count(v->c, l->node) > 0, dropped = is_dropped(a, l);
    int indent = (int)(l->depth > 1000 ? 1000 : l->depth) * 2, most = p.w / 2;
    if (dropped) qs_drawz(p, 0, y, QS_PEN(DROPPED), qs_mark_get(QS_MARK_DROPPED)->glyph);
    int x = qs_drawz(p, 2 + (indent < most ? indent : most), y, QS_PEN(DIM),
                     !folds    ? "  "
                     : l->open ? "▾ "
                               : "▸ ");
    int width = qs_text_width(p.g, qs_str_of(label)), room = p.w - x - 12;
    if (width > room) width = room;
    qs_draw_fit(p, x, y, width, dropped ? QS_PEN(DROPPED) : QS_PEN(KEY), qs_str_of(label), false);
    x += (width > 0 ? width : 0) + 2;
    if (x < 24) x = 24;
    if (l->node == qs_checkpoint_chosen_root(v->c)->node)
        x = qs_drawz(p, x, y, QS_PEN(STRONG), "the state dict of the tree  ");
    int end = p.w;
    if (l->depth == 0 && l->bytes) {
        char size[40];
        qs_bytes_text(l->bytes, size, sizeof size);
        end = qs_draw_right(p, p.w, y, dropped ? QS_PEN(DROPPED) : QS_PEN(NORMAL), qs_str_of(size)) - 1;
    }
    qs_draw_fit(p, x, y, end - x,
                dropped ? QS_PEN(DROPPED)
                : folds ? QS_PEN(DIM)
                        : QS_PEN(NORMAL),
                qs_str_of(value), false);
    if (i != v->list.cursor) return;
    qs_pane_select(p, y);
    p.g->cursor_y = p.y + y;
}

static void contents_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter", "open or show", "]",   "next large one", "d", "drop",
                                        "u",     "undo",         "Tab", "A or B",         "w", "save",
                                        "q",     "back",         NULL};
    const struct qs_contents_state *v = a->contents;
    qs_pane p = qs_pane_of(g);
    size_t i;
    char top[200];
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    int x = qs_drawf(p, 1, 0, QS_PEN(TITLE), "all of %s", v->of_b ? "B" : "A");
    qs_outline_value(v->c, qs_graph_root(qs_checkpoint_graph(v->c)), top, sizeof top);
    char name[600];
    snprintf(name, sizeof name, "%s   %s", qs_checkpoint_path(v->c), top);
    qs_draw_fit(p, x + 2, 0, p.w - x - 3, QS_PEN(HEAD), qs_str_of(name), true);
    qs_pane lines = qs_pane_sub(p, 0, 2, p.w - 1, p.h - 4);
    for (int y = 0; y < lines.h && qs_list_at(&v->list, y, &i); y++) draw_line(a, lines, y, i);
    if (v->line.n == 0) qs_drawz(lines, 2, 0, QS_PEN(DIM), "there is nothing to unfold in this file");
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
}

/* ---- folding ---- */

static void fold(struct qs_contents_state *v, size_t at) {
    size_t end = at + 1;
    while (end < v->line.n && v->line.v[end].depth > v->line.v[at].depth) end++;
    if (v->line.n > end) memmove(v->line.v + at + 1, v->line.v + end, (v->line.n - end) * sizeof *v->line.v);
    v->line.n -= end - at - 1;
    v->line.v[at].open = false;
}

static bool unfold(struct qs_contents_state *v, size_t at) {
    qs_node node = v->line.v[at].node;
    if (v->line.v[at].open || qs_outline_count(v->c, node) == 0) return true;
    v->line.v[at].open = true;
    return insert_parts(v, node, at + 1, v->line.v[at].depth + 1);
}

/* All below, as far as OPEN_AT_ONCE lines: the graph may be cyclic. */
static bool unfold_below(struct qs_contents_state *v, size_t at) {
    size_t before = v->line.n;
    uint32_t depth = v->line.v[at].depth;
    for (size_t i = at; i == at || (i < v->line.n && v->line.v[i].depth > depth); i++) {
        if (v->line.n - before > OPEN_AT_ONCE) return true;
        if (!unfold(v, i)) return false;
    }
    return true;
}

static bool to_parent(struct qs_contents_state *v) {
    size_t i = v->list.cursor;
    if (i >= v->line.n) return false;
    uint32_t depth = v->line.v[i].depth;
    while (i > 0 && v->line.v[i].depth >= depth) i--;
    if (v->line.v[i].depth >= depth) return false;
    qs_list_goto(&v->list, i);
    return true;
}

static void show_in_full(qs_app *a, const contents_line *l) {
    struct qs_contents_state *v = a->contents;
    const qs_tensor *t = qs_checkpoint_tensor_of_node(v->c, l->node);
    char label[128];
    qs_buf text = {0};
    qs_outline_part(v->c, l->parent, l->index, label, sizeof label);
    if (t) return qs_values_open(a, label, v->of_b ? NULL : t, v->of_b ? t : NULL);
    if (!qs_outline_text(v->c, l->node, PAGE_LINES, &text)) {
        qs_app_complain(a, "out of memory");
    } else {
        qs_rich_clear(&a->text.text);
        qs_rich_add_lines(&a->text.text, QS_PEN(NORMAL), qs_buf_str(&text));
        qs_text_open(a, label, 2);
    }
    qs_buf_free(&text);
}

static void enter(qs_app *a) {
    struct qs_contents_state *v = a->contents;
    contents_line *l = selected(a);
    if (!l) return;
    if (qs_outline_count(v->c, l->node) == 0) return show_in_full(a, l);
    if (l->open)
        fold(v, v->list.cursor);
    else if (!unfold(v, v->list.cursor))
        qs_app_complain(a, "out of memory");
}

/* ---- dropping ---- */

static void drop(qs_app *a) {
    const struct qs_contents_state *v = a->contents;
    const qs_graph *g = qs_checkpoint_graph(v->c);
    const contents_line *l = selected(a);
    if (!l) return;
    if (v->of_b) return qs_app_say(a, "B is only looked at; Tab shows A");
    bool key = l->parent == qs_checkpoint_chosen_root(v->c)->node;
    if (l->depth > 0 && !key) return qs_app_say(a, "only what the top level holds can be dropped, whole");
    qs_node name = qs_node_key(g, l->parent, l->index);
    if (qs_node_kind_of(g, name) != QS_NODE_STR) return qs_app_say(a, "this has no name to drop it by");
    qs_action act = {.kind = QS_ACT_DROP,
                     .scope_kind = key ? QS_SCOPE_KEY : QS_SCOPE_TOP,
                     .scope = qs_node_str(g, name),
                     .bn_eps = __builtin_nan("")};
    if (qs_app_do(a, &act, "dropped")) qs_list_move(&a->contents->list, 1);
}

/* What makes the file large beside the state dict: where there is something to drop. */
static void next_heavy(qs_app *a, int dir) {
    struct qs_contents_state *v = a->contents;
    size_t n = v->line.n;
    qs_node root = qs_checkpoint_chosen_root(v->c)->node;
    for (size_t k = 1; k <= n; k++) {
        size_t i = (v->list.cursor + (dir > 0 ? k : n - k)) % n;
        if (v->line.v[i].depth == 0 && v->line.v[i].bytes && v->line.v[i].node != root)
            return qs_list_reveal(&v->list, i);
    }
    qs_app_say(a, "there are no tensors beside the state dict");
}

static void other_side(qs_app *a) {
    if (!qs_session_b(a->s)) return qs_app_say(a, "there is no B; :open-b opens one");
    a->contents->of_b = !a->contents->of_b;
    contents_layout(a);
}

static bool contents_command(qs_app *a, qs_command c) {
    struct qs_contents_state *v = a->contents;
    contents_line *l = selected(a);
    bool ok = true;
    if (qs_list_command(&v->list, c)) return true;
    switch (c) {
    case QS_CMD_TOGGLE: enter(a); break;
    case QS_CMD_OPEN_FOLD:
        if (l && l->open)
            qs_list_move(&v->list, 1);
        else if (l)
            ok = unfold(v, v->list.cursor);
        break;
    case QS_CMD_CLOSE_FOLD:
        if (l && l->open)
            fold(v, v->list.cursor);
        else
            to_parent(v);
        break;
    case QS_CMD_OPEN_BELOW:
        if (l) ok = unfold_below(v, v->list.cursor);
        break;
    case QS_CMD_CLOSE_BELOW:
        if (l) fold(v, v->list.cursor);
        break;
    case QS_CMD_PARENT: to_parent(v); break;
    case QS_CMD_SHOW:
        if (l) show_in_full(a, l);
        break;
    case QS_CMD_DROP: drop(a); break;
    case QS_CMD_NEXT_PROBLEM: next_heavy(a, 1); break;
    case QS_CMD_PREV_PROBLEM: next_heavy(a, -1); break;
    case QS_CMD_ROOTS: qs_roots_open(a); break;
    case QS_CMD_OTHER_SIDE: other_side(a); break;
    default: return false;
    }
    if (!ok) qs_app_complain(a, "out of memory");
    qs_list_resize(&v->list, v->line.n, v->list.height);
    return true;
}

static bool contents_event(qs_app *a, const qs_event *ev) {
    qs_list *l = &a->contents->list;
    size_t i;
    if (ev->kind != QS_EVENT_MOUSE) return false;
    if (ev->mouse == QS_MOUSE_WHEEL_UP || ev->mouse == QS_MOUSE_WHEEL_DOWN) {
        qs_list_scroll(l, ev->mouse == QS_MOUSE_WHEEL_UP ? -3 : 3);
    } else if (qs_list_at(l, ev->y - 2, &i)) {
        bool again = i == l->cursor || ev->mouse == QS_MOUSE_DOUBLE;
        qs_list_goto(l, i);
        if (again) contents_command(a, QS_CMD_TOGGLE);
    }
    return true;
}

const qs_view qs_view_contents = {
    .name = "contents",
    .context = QS_CTX_CONTENTS,
    .draw = contents_draw,
    .layout = contents_layout,
    .event = contents_event,
    .command = contents_command,
    .close = contents_close,
};

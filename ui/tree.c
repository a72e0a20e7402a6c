#include "ui/tree_impl.h"

#include <stdlib.h>

enum { FEW_SHOWN = 300 }; /* a filter that leaves so few keys shows them all */
enum { SMALL_TREE = 60 }; /* a tree of so few keys starts with everything open */

void qs_tree_init(qs_tree *t, const qs_session *s) {
    *t = (qs_tree){.s = s, .filter = QS_TREE_FILTER_ALL, .open_depth = 1};
}

static void forget_nodes(qs_tree *t) {
    free(t->first);
    free(t->next);
    free(t->parent);
    free(t->shown);
    free(t->later);
    free(t->open);
    free(t->leaf);
    free(t->position);
    free(t->flag);
    free(t->bytes);
    free(t->marked_in);
    t->bytes = NULL;
    t->marked_in = NULL;
    t->first = t->next = t->parent = t->shown = t->later = t->leaf = t->position = NULL;
    t->open = t->flag = NULL;
    t->nodes = t->leaves = 0;
    t->line.n = 0;
    t->c = NULL;
    qs_list_resize(&t->list, 0, t->list.height);
}

void qs_tree_free(qs_tree *t) {
    forget_nodes(t);
    qs_vec_free(&t->line);
    qs_vec_free(&t->folds);
    qs_vec_free(&t->marks);
    qs_map_free(&t->fold_of);
    qs_map_free(&t->mark_of);
    qs_arena_free(&t->fold_arena);
    qs_arena_free(&t->mark_arena);
    qs_search_free(t->search);
    qs_search_free(t->filter_text);
    qs_buf_free(&t->selected);
}

static bool alloc_nodes(qs_tree *t) {
    size_t n = qs_compare_nodes(t->c), rows = qs_compare_rows(t->c);
    t->first = calloc(n + 1, sizeof *t->first);
    t->next = calloc(n + 1, sizeof *t->next);
    t->parent = calloc(n + 1, sizeof *t->parent);
    t->shown = calloc(n + 1, sizeof *t->shown);
    t->later = calloc(n + 1, sizeof *t->later);
    t->marked_in = calloc(n + 1, sizeof *t->marked_in);
    t->open = calloc(n + 1, sizeof *t->open);
    t->leaf = calloc(rows + 1, sizeof *t->leaf);
    t->position = calloc(rows + 1, sizeof *t->position);
    t->flag = calloc(rows + 1, sizeof *t->flag);
    t->nodes = (uint32_t)n;
    t->leaves = (uint32_t)rows;
    return t->first && t->next && t->parent && t->shown && t->later && t->marked_in && t->open && t->leaf &&
           t->position && t->flag;
}

static void restore_folds(qs_tree *t) {
    for (uint32_t i = 0; i < t->nodes; i++) t->open[i] = qs_compare_node(t->c, i)->depth <= t->open_depth;
    for (size_t i = 0; i < t->folds.n; i++) {
        uint32_t node = qs_compare_find_module(t->c, t->folds.v[i].path);
        if (node != QS_NO_INDEX) t->open[node] = t->folds.v[i].open;
    }
}

/* The first look: everything if it is little, else the first problem laid open. */
static void first_look(qs_tree *t) {
    if (t->leaves <= SMALL_TREE) t->open_depth = UINT32_MAX;
    restore_folds(t);
    for (uint32_t i = 0; i < t->leaves; i++) {
        const qs_row *row = qs_compare_row(t->c, t->leaf[i]);
        if (!qs_status_get(row->status)->problem) continue;
        for (uint32_t n = t->parent[row->tree]; n != QS_NO_INDEX; n = t->parent[n])
            qs_tree_note_fold(t, n, true);
        return;
    }
}

bool qs_tree_sync(qs_tree *t) {
    const qs_compare *c = qs_session_compare(t->s);
    uint64_t revision = qs_session_revision(t->s);
    if (c == t->c && c && revision == t->revision) return true;
    bool fresh = t->revision == 0;
    size_t cursor = t->list.cursor, top = t->list.top;
    forget_nodes(t);
    if (!c) return true;
    t->c = c;
    t->revision = revision;
    if (!alloc_nodes(t) || !qs_tree_arrange(t)) return forget_nodes(t), false;
    if (fresh) first_look(t);
    qs_tree_reflag(t);
    qs_tree_lay_open(t);
    t->list.cursor = cursor;
    t->list.top = top;
    return qs_tree_relist(t);
}

uint32_t qs_tree_selected(const qs_tree *t) {
    return t->list.cursor < t->line.n ? t->line.v[t->list.cursor].node : QS_NO_INDEX;
}

uint32_t qs_tree_selected_row(const qs_tree *t) {
    uint32_t node = qs_tree_selected(t);
    return node == QS_NO_INDEX ? QS_NO_INDEX : qs_compare_node(t->c, node)->row;
}

void qs_tree_note_selection(qs_tree *t) {
    uint32_t node = qs_tree_selected(t);
    t->selected.n = 0;
    t->selected_leaf = false;
    if (node == QS_NO_INDEX) return;
    qs_buf_add(&t->selected, qs_compare_node(t->c, node)->path);
    t->selected_leaf = !qs_tree_is_module(t, node);
}

void qs_tree_remember(qs_tree *t) {
    qs_tree_note_selection(t);
    (void)qs_tree_keep_marks(
        t); /* with no memory left they go with the comparison; nothing else depends on them */
}

qs_str qs_tree_label(const qs_tree *t, const qs_tree_line *line) {
    const qs_tree_node *n = qs_compare_node(t->c, line->node), *top = qs_compare_node(t->c, line->top);
    if (t->flat) return n->path;
    if (line->node == line->top || top->path.n < top->name.n) return n->name;
    return qs_str_sub(n->path, top->path.n - top->name.n, n->path.n);
}

/* A module that holds one module and nothing else shares that one's line. */
static bool is_link(const qs_tree *t, uint32_t node) {
    uint32_t child = t->first[node];
    return node != 0 && child != QS_NO_INDEX && t->next[child] == QS_NO_INDEX && qs_tree_is_module(t, node) &&
           qs_tree_is_module(t, child);
}

static uint32_t chain_end(const qs_tree *t, uint32_t node) {
    while (is_link(t, node)) node = t->first[node];
    return node;
}

static bool visible(const qs_tree *t, uint32_t node) {
    return t->shown[node] > 0;
}

uint32_t qs_tree_after(const qs_tree *t, uint32_t n, uint32_t root) {
    if (t->first[n] != QS_NO_INDEX) return t->first[n];
    while (n != root && t->next[n] == QS_NO_INDEX) n = t->parent[n];
    return n == root ? QS_NO_INDEX : t->next[n];
}

typedef QS_VEC(qs_tree_line) line_vec;

/* The lines below an open module. */
static bool collect(const qs_tree *t, uint32_t root, uint32_t depth, line_vec *out) {
    for (uint32_t n = t->first[root]; n != QS_NO_INDEX;) {
        if (visible(t, n)) {
            uint32_t node = chain_end(t, n);
            if (!qs_push(out, (qs_tree_line){node, n, depth})) return false;
            if (t->open[node] && t->first[node] != QS_NO_INDEX) {
                n = t->first[node];
                depth++;
                continue;
            }
        }
        while (t->next[n] == QS_NO_INDEX) {
            n = t->parent[n];
            if (n == root || n == QS_NO_INDEX) return true;
            if (!is_link(t, n)) depth--;
        }
        n = t->next[n];
    }
    return true;
}

static bool collect_flat(const qs_tree *t, line_vec *out) {
    for (uint32_t i = 0; i < t->leaves; i++) {
        uint32_t node = qs_compare_row(t->c, t->leaf[i])->tree;
        if ((t->flag[i] & QS_KEY_SHOWN) && !qs_push(out, (qs_tree_line){node, node, 0})) return false;
    }
    return true;
}

/* The line of the node, or of its nearest module that has one; SIZE_MAX if none has. */
static size_t line_near(const qs_tree *t, uint32_t node) {
    for (; node != QS_NO_INDEX && node != 0; node = t->parent[node])
        for (size_t i = 0; i < t->line.n; i++)
            if (t->line.v[i].node == node) return i;
    return SIZE_MAX;
}

static uint32_t remembered(const qs_tree *t) {
    qs_str path = qs_buf_str(&t->selected);
    if (path.n == 0) return QS_NO_INDEX;
    if (!t->selected_leaf) return qs_compare_find_module(t->c, path);
    uint32_t row = qs_compare_find(t->c, path);
    return row == QS_NO_INDEX ? QS_NO_INDEX : qs_compare_row(t->c, row)->tree;
}

void qs_tree_lay_open(qs_tree *t) {
    restore_folds(t);
    if (!qs_tree_filtered(t) || t->shown_leaves > FEW_SHOWN) return;
    for (uint32_t i = 0; i < t->nodes; i++) t->open[i] |= t->shown[i] > 0;
}

bool qs_tree_relist(qs_tree *t) {
    line_vec lines = {t->line.v, 0, t->line.cap};
    bool ok = t->flat ? collect_flat(t, &lines) : t->nodes == 0 || collect(t, 0, 0, &lines);
    t->line.v = lines.v;
    t->line.cap = lines.cap;
    t->line.n = ok ? lines.n : 0;
    t->ranging = false;
    size_t cursor = t->list.cursor;
    uint32_t node = ok ? remembered(t) : QS_NO_INDEX;
    size_t at = node == QS_NO_INDEX ? SIZE_MAX : line_near(t, node);
    qs_list_resize(&t->list, t->line.n, t->list.height);
    if (at != SIZE_MAX)
        qs_list_reveal(&t->list, at);
    else
        qs_list_goto(&t->list, cursor);
    return ok;
}

bool qs_tree_note_fold(qs_tree *t, uint32_t node, bool open) {
    t->open[node] = open;
    qs_str path = qs_compare_node(t->c, node)->path;
    uint32_t i = qs_map_get(&t->fold_of, path);
    if (i != QS_MAP_NONE) return t->folds.v[i].open = open, true;
    qs_str copy = qs_arena_str(&t->fold_arena, path);
    if (!copy.p || !qs_push(&t->folds, (qs_tree_fold){copy, open})) return false;
    return qs_map_put(&t->fold_of, copy, (uint32_t)t->folds.n - 1);
}

static void close_line(qs_tree *t, size_t i) {
    size_t end = i + 1;
    while (end < t->line.n && t->line.v[end].depth > t->line.v[i].depth) end++;
    memmove(t->line.v + i + 1, t->line.v + end, (t->line.n - end) * sizeof *t->line.v);
    t->ranging = false;
    t->line.n -= end - i - 1;
    if (t->list.cursor > i) t->list.cursor = t->list.cursor < end ? i : t->list.cursor - (end - i - 1);
}

static bool open_line(qs_tree *t, size_t i) {
    line_vec below = {0};
    t->ranging = false;
    bool ok = collect(t, t->line.v[i].node, t->line.v[i].depth + 1, &below) &&
              qs_reserve(&t->line, t->line.n + below.n);
    if (ok && below.n) {
        memmove(t->line.v + i + 1 + below.n, t->line.v + i + 1, (t->line.n - i - 1) * sizeof *t->line.v);
        memcpy(t->line.v + i + 1, below.v, below.n * sizeof *below.v);
        t->line.n += below.n;
        if (t->list.cursor > i) t->list.cursor += below.n;
    }
    qs_vec_free(&below);
    return ok;
}

bool qs_tree_set_open(qs_tree *t, size_t line, bool open) {
    if (t->flat || line >= t->line.n) return true;
    uint32_t node = t->line.v[line].node;
    if (!qs_tree_is_module(t, node) || (bool)t->open[node] == open) return true;
    if (!qs_tree_note_fold(t, node, open)) return false;
    bool ok = true;
    if (open)
        ok = open_line(t, line);
    else
        close_line(t, line);
    qs_list_resize(&t->list, t->line.n, t->list.height);
    return ok;
}

bool qs_tree_set_open_below(qs_tree *t, bool open) {
    size_t at = t->list.cursor;
    uint32_t root = qs_tree_selected(t);
    if (t->flat || root == QS_NO_INDEX || !qs_tree_is_module(t, root)) return true;
    if (t->open[root]) close_line(t, at);
    bool ok = true;
    for (uint32_t n = root; n != QS_NO_INDEX && ok; n = qs_tree_after(t, n, root))
        if (qs_tree_is_module(t, n)) ok = qs_tree_note_fold(t, n, open);
    if (open && ok) ok = open_line(t, at);
    qs_list_resize(&t->list, t->line.n, t->list.height);
    return ok;
}

bool qs_tree_set_open_all(qs_tree *t, bool open) {
    if (!t->c) return true;
    qs_tree_note_selection(t);
    t->open_depth = open ? UINT32_MAX : 0;
    t->folds.n = 0;
    qs_map_free(&t->fold_of);
    qs_arena_free(&t->fold_arena);
    restore_folds(t);
    return qs_tree_relist(t);
}

/* By lines, not by dots: a chain of modules on one line is one level. */
static bool open_to(qs_tree *t, uint32_t levels) {
    uint32_t *level = calloc((size_t)t->nodes + 1, sizeof *level);
    if (!level) return false;
    for (uint32_t n = qs_tree_after(t, 0, 0); n != QS_NO_INDEX; n = qs_tree_after(t, n, 0)) {
        uint32_t up = t->parent[n];
        level[n] = up == QS_NO_INDEX || up == 0 ? 1 : level[up] + !is_link(t, up);
        if (qs_tree_is_module(t, n) && !qs_tree_note_fold(t, n, level[n] < levels)) break;
    }
    free(level);
    return true;
}

bool qs_tree_set_depth(qs_tree *t, uint32_t levels) {
    if (!t->c || !t->nodes) return true;
    qs_tree_note_selection(t);
    return open_to(t, levels) && qs_tree_relist(t);
}

static size_t line_of(const qs_tree *t, uint32_t node) {
    for (size_t i = 0; i < t->line.n; i++)
        if (t->line.v[i].node == node) return i;
    return SIZE_MAX;
}

bool qs_tree_reveal(qs_tree *t, uint32_t node) {
    uint32_t closed = QS_NO_INDEX; /* the outermost */
    for (uint32_t n = t->parent[node]; n != QS_NO_INDEX && !t->flat; n = t->parent[n]) {
        if (t->open[n] || n == 0) continue;
        if (!qs_tree_note_fold(t, n, true)) return false;
        if (!is_link(t, n)) closed = n;
    }
    size_t at = closed == QS_NO_INDEX ? SIZE_MAX : line_of(t, closed);
    if (at != SIZE_MAX && !open_line(t, at)) return false;
    qs_list_resize(&t->list, t->line.n, t->list.height);
    at = line_of(t, chain_end(t, node));
    if (at != SIZE_MAX) qs_list_reveal(&t->list, at);
    return true;
}

bool qs_tree_to_parent(qs_tree *t) {
    if (t->line.n == 0 || t->flat) return false;
    size_t i = t->list.cursor;
    uint32_t depth = t->line.v[i].depth;
    while (i > 0 && t->line.v[i].depth >= depth) i--;
    if (t->line.v[i].depth >= depth) return false;
    qs_list_goto(&t->list, i);
    return true;
}

bool qs_tree_to_sibling(qs_tree *t, int dir) {
    size_t n = t->line.n, i = t->list.cursor;
    if (n == 0) return false;
    uint32_t depth = t->line.v[i].depth;
    while (dir > 0 ? i + 1 < n : i > 0) {
        i = dir > 0 ? i + 1 : i - 1;
        if (t->line.v[i].depth < depth) return false;
        if (t->line.v[i].depth == depth) return qs_list_goto(&t->list, i), true;
    }
    return false;
}

bool qs_tree_next_below(const qs_tree *t, uint32_t node, uint32_t *row) {
    uint32_t n = node;
    if (*row == QS_NO_INDEX) {
        *row = qs_compare_node(t->c, node)->row;
        if (*row != QS_NO_INDEX) return true;
    } else {
        n = qs_compare_row(t->c, *row)->tree;
        if (n == node) return false;
    }
    while ((n = qs_tree_after(t, n, node)) != QS_NO_INDEX) {
        *row = qs_compare_node(t->c, n)->row;
        if (*row != QS_NO_INDEX) return true;
    }
    return false;
}

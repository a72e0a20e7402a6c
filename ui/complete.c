#include "ui/complete.h"

#include "ui/app_impl.h"

#include <stdlib.h>

enum { NAMES_MAX = 1000, ROWS_MAX = 8 };

void qs_completion_clear(qs_completion *c) {
    qs_arena_free(&c->arena);
    qs_vec_free(&c->names);
    c->shown = false;
    c->at = SIZE_MAX;
}

static bool add(qs_completion *c, qs_str name) {
    if (c->names.n == NAMES_MAX) return true;
    qs_str copy = qs_arena_str(&c->arena, name);
    return copy.p && qs_push(&c->names, copy);
}

static bool add_commands(qs_completion *c, qs_str start) {
    qs_command x = QS_CMD_NONE;
    while ((x = qs_command_next(x, start, QS_CTX_TREE)) != QS_CMD_NONE)
        if (!add(c, qs_str_of(qs_command_get(x)->name))) return false;
    return true;
}

static bool add_orders(qs_completion *c, qs_str start) {
    for (qs_sort s = 0; s < QS_SORT_COUNT; s++)
        if (qs_str_starts(qs_str_of(qs_sort_word(s)), start) && !add(c, qs_str_of(qs_sort_word(s))))
            return false;
    return true;
}

static bool add_themes(qs_completion *c, qs_str start) {
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++)
        if (qs_str_starts(qs_str_of(qs_theme_name(id)), start) && !add(c, qs_str_of(qs_theme_name(id))))
            return false;
    return true;
}

static bool add_roots(const qs_app *a, qs_completion *c, qs_str start) {
    const qs_checkpoint *x = qs_session_a(a->s);
    for (uint32_t i = 0; i < qs_checkpoint_root_count(x); i++) {
        qs_str path = qs_checkpoint_root(x, i)->path;
        if (qs_str_starts(path, start) && !add(c, path)) return false;
    }
    return true;
}

/* One component further: what is below the module that is spelled out. */
static bool add_keys(const qs_app *a, qs_completion *c, qs_str start) {
    const qs_compare *tree = a->tree.c;
    uint32_t module = tree ? qs_compare_find_module(tree, qs_str_parent(start)) : QS_NO_INDEX;
    if (module == QS_NO_INDEX) return true;
    uint32_t n = qs_compare_node(tree, module)->first_child;
    for (; n != QS_NO_INDEX; n = qs_compare_node(tree, n)->next_sibling) {
        const qs_tree_node *x = qs_compare_node(tree, n);
        if (!qs_str_starts(x->path, start)) continue;
        qs_buf b = {0};
        qs_buf_add(&b, x->path);
        if (x->row == QS_NO_INDEX) qs_buf_addc(&b, '.');
        bool ok = !b.failed && add(c, qs_buf_str(&b));
        qs_buf_free(&b);
        if (!ok) return false;
    }
    return true;
}

static bool gather(const qs_app *a, qs_completion *c, qs_str text) {
    qs_argument what = c->what;
    c->from = 0;
    if (c->command) {
        size_t blank = qs_str_find(text, QS_STR(" "));
        if (blank == SIZE_MAX) return add_commands(c, text);
        qs_str name = qs_str_sub(text, 0, blank);
        what = qs_command_argument(qs_command_find(name, QS_CTX_TREE), NULL);
        c->from = blank + 1;
    }
    qs_str start = qs_str_sub(text, c->from, text.n);
    switch (what) {
    case QS_ARG_PATH: return qs_path_names(start, &c->arena, &c->names);
    case QS_ARG_KEY: return add_keys(a, c, start);
    case QS_ARG_ORDER: return add_orders(c, start);
    case QS_ARG_THEME: return add_themes(c, start);
    case QS_ARG_ROOT: return add_roots(a, c, start);
    case QS_ARG_TEXT:
    case QS_ARG_NONE: break;
    }
    return true;
}

static qs_str shared(const qs_completion *c) {
    qs_str common = c->names.v[0];
    for (size_t i = 1; i < c->names.n; i++) {
        qs_str name = c->names.v[i];
        size_t same = 0;
        while (same < common.n && same < name.n && common.p[same] == name.p[same]) same++;
        common.n = same;
    }
    return common;
}

static void put(const qs_completion *c, qs_line *l, qs_str name) {
    char text[QS_LINE_MAX];
    qs_history *history = l->history;
    snprintf(text, sizeof text, "%.*s%.*s", (int)c->from, l->text, QS_FMT(name));
    qs_line_set(l, qs_str_of(text));
    l->history = history;
}

/* A command that takes an argument goes on with it. */
static bool wants_more(const qs_completion *c, qs_str name) {
    return c->command && c->from == 0 &&
           qs_command_argument(qs_command_find(name, QS_CTX_TREE), NULL) != QS_ARG_NONE;
}

void qs_complete(const qs_app *a, qs_completion *c, qs_line *l, int dir) {
    if (c->shown && c->names.n > 1) {
        size_t n = c->names.n;
        c->at = c->at == SIZE_MAX ? (dir > 0 ? 0 : n - 1) : dir > 0 ? (c->at + 1) % n : (c->at + n - 1) % n;
        return put(c, l, c->names.v[c->at]);
    }
    qs_completion_clear(c);
    if (!gather(a, c, qs_line_text(l)) || c->names.n == 0) return;
    qs_str common = shared(c);
    bool only = c->names.n == 1;
    put(c, l, common);
    c->shown = !only;
    if (only && wants_more(c, common)) {
        qs_event blank = {.kind = QS_EVENT_KEY, .key = ' '};
        bool changed;
        qs_line_edit(l, &blank, &changed);
    }
}

/* ---- drawing ---- */

/* Paths and keys go by their last component. */
static qs_str brief(const qs_completion *c, qs_str name) {
    size_t cut = 0;
    if (c->command && c->from == 0) return name;
    for (size_t i = 0; i + 1 < name.n; i++)
        if (name.p[i] == '/') cut = i + 1;
    return qs_str_sub(name, cut, name.n);
}

void qs_completion_draw(const qs_completion *c, qs_pane p) {
    if (!c->shown || c->names.n < 2) return;
    bool commands = c->command && c->from == 0;
    int rows = p.h < ROWS_MAX ? p.h : ROWS_MAX;
    if ((size_t)rows > c->names.n) rows = (int)c->names.n;
    qs_list l = {.cursor = c->at == SIZE_MAX ? 0 : c->at};
    qs_list_resize(&l, c->names.n, (size_t)rows);
    for (int y = 0; y < rows; y++) {
        size_t i;
        if (!qs_list_at(&l, y, &i)) break;
        int at = p.h - rows + y;
        qs_draw_fill(p, 0, at, p.w, 1, QS_PEN(NORMAL));
        qs_drawz(p, 0, at, QS_PEN(LINE), "│ ");
        int x = qs_draw(p, 2, at, QS_PEN(KEY), brief(c, c->names.v[i]));
        if (commands) {
            const qs_command_info *info = qs_command_get(qs_command_find(c->names.v[i], QS_CTX_TREE));
            qs_drawz(p, x < 22 ? 22 : x + 2, at, QS_PEN(NORMAL), info->help);
        }
        if (y == 0 && (size_t)rows < c->names.n) {
            char more[40];
            snprintf(more, sizeof more, "%zu in all", c->names.n);
            qs_draw_right(p, p.w - 1, at, QS_PEN(DIM), qs_str_of(more));
        }
        if (i == c->at) qs_pane_select(p, at);
    }
}

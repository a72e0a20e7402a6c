#include "ui/app_impl.h"

/* What views that are a page of text share: scrolling and searching, as in every pager. */

void qs_page_layout(const qs_app *a, qs_text_state *t) {
    int w = a->w - 2, h = a->h - 2;
    if (t->wrapped_w != w) {
        qs_rich_wrap(&t->text, &a->measure, w, t->hang, &t->wrapped);
        t->wrapped_w = w;
    }
    size_t lines = qs_rich_lines(&t->wrapped), rows = h > 0 ? (size_t)h : 0;
    qs_list_resize(&t->list, lines > rows ? lines - rows + 1 : 1, 1); /* the cursor is the first line shown */
}

void qs_page_open(qs_app *a, qs_text_state *t, const qs_view *v, const char *title, int hang) {
    snprintf(t->title, sizeof t->title, "%s", title);
    t->hang = hang;
    t->wrapped_w = 0;
    t->list = (qs_list){0};
    t->found = 0;
    t->of_row = false;
    qs_search_free(t->search);
    t->search = NULL;
    qs_app_open(a, v);
}

/* What the search found in a line, wherever. */
static void draw_matches(const qs_text_state *t, qs_pane p, int y, size_t line) {
    qs_buf text = {0};
    qs_rich_text(&t->wrapped, line, &text);
    size_t at = 0, from, to;
    qs_str all = qs_buf_str(&text);
    while (!text.failed && at < all.n && qs_search_match(t->search, qs_str_sub(all, at, all.n), &from, &to) &&
           to > from) {
        int x = qs_text_width(p.g, qs_str_sub(all, 0, at + from));
        qs_draw(p, x, y, QS_PEN(MATCH), qs_str_sub(all, at + from, at + to));
        at += to;
    }
    qs_buf_free(&text);
}

void qs_page_draw(const qs_text_state *t, qs_grid *g) {
    static const char *const plain[] = {"j k PgDn PgUp", "scroll", "/", "search", "q", "back", NULL};
    static const char *const of_row[] = {"j k PgDn PgUp", "scroll", "/",    "search", "e", "values", "W",
                                         "rounding",      "q",      "back", NULL};
    const char *const *hints = t->of_row ? of_row : plain;
    qs_pane p = qs_pane_of(g);
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    qs_drawz(p, 1, 0, QS_PEN(TITLE), t->title);
    size_t top = t->list.cursor, lines = qs_rich_lines(&t->wrapped), rows = p.h > 2 ? (size_t)p.h - 2 : 0;
    qs_pane body = qs_pane_sub(p, 1, 1, p.w - 2, p.h - 2);
    for (size_t y = 0; y < rows && top + y < lines; y++) {
        qs_rich_draw(&t->wrapped, top + y, body, 0, (int)y);
        if (t->search) draw_matches(t, body, (int)y, top + y);
    }
    size_t last = top + rows < lines ? top + rows : lines;
    char where[64];
    snprintf(where, sizeof where, "%zu-%zu of %zu", lines ? top + 1 : 0, last, lines);
    qs_draw_right(p, p.w - 1, 0, QS_PEN(HEAD), qs_str_of(where));
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
}

/* The next line (dir 1) or the one before (-1) that the search finds, from `found` on; SIZE_MAX if there is
 * none. */
static size_t find_line(const qs_text_state *t, int dir, size_t from) {
    size_t n = qs_rich_lines(&t->wrapped), found = SIZE_MAX;
    qs_buf text = {0};
    for (size_t i = 0; i < n && found == SIZE_MAX; i++) {
        size_t line = dir > 0 ? (from + i) % n : (from + n - i) % n;
        text.n = 0;
        qs_rich_text(&t->wrapped, line, &text);
        if (!text.failed && qs_search_match(t->search, qs_buf_str(&text), NULL, NULL)) found = line;
    }
    qs_buf_free(&text);
    return found;
}

static void seek(qs_app *a, qs_text_state *t, int dir, size_t from) {
    size_t was = t->found, line = find_line(t, dir, from);
    if (line == SIZE_MAX)
        return qs_app_complain(a, "no line has \"%.*s\"", QS_FMT(qs_search_text(t->search)));
    t->found = line;
    qs_list_goto(&t->list, line);
    if (from != was && (dir > 0 ? line <= was : line >= was))
        qs_app_say(a, dir > 0 ? "passed the end, on from the top" : "passed the top, on from the end");
    else
        qs_app_say(a, "line %zu; n and N go on", line + 1);
}

static void on_search(qs_app *a, qs_str pattern) {
    qs_text_state *t = qs_app_top(a) == &qs_view_help ? &a->help : &a->text;
    qs_search_free(t->search);
    t->search = NULL;
    if (pattern.n == 0) return;
    t->search = qs_search_new(pattern);
    if (!t->search) return qs_app_complain(a, "out of memory");
    t->found = t->list.cursor;
    seek(a, t, 1, t->found);
}

static void seek_again(qs_app *a, qs_text_state *t, int dir) {
    size_t n = qs_rich_lines(&t->wrapped);
    if (!t->search) return qs_app_say(a, "nothing was searched for; / searches");
    seek(a, t, dir, n ? (t->found + (dir > 0 ? 1 : n - 1)) % n : 0);
}

bool qs_page_command(qs_app *a, qs_text_state *t, qs_command c) {
    qs_list *l = &t->list;
    long page = a->h > 4 ? a->h - 3 : 1;
    switch (c) {
    case QS_CMD_PAGE_UP: qs_list_move(l, -page); return true;
    case QS_CMD_PAGE_DOWN: qs_list_move(l, page); return true;
    case QS_CMD_HALF_UP: qs_list_move(l, -(page / 2)); return true;
    case QS_CMD_HALF_DOWN: qs_list_move(l, page / 2); return true;
    case QS_CMD_SEARCH: qs_prompt_open(a, "/", QS_STR(""), &a->searches, on_search); return true;
    case QS_CMD_NEXT: seek_again(a, t, 1); return true;
    case QS_CMD_PREV: seek_again(a, t, -1); return true;
    default: return qs_list_command(l, c);
    }
}

bool qs_page_event(qs_app *a, qs_text_state *t, const qs_event *ev) {
    if (ev->kind == QS_EVENT_MOUSE && ev->mouse == QS_MOUSE_WHEEL_UP) return qs_list_move(&t->list, -3), true;
    if (ev->kind == QS_EVENT_MOUSE && ev->mouse == QS_MOUSE_WHEEL_DOWN)
        return qs_list_move(&t->list, 3), true;
    if (ev->kind != QS_EVENT_KEY || ev->key != ' ') return false;
    return qs_page_command(a, t, QS_CMD_PAGE_DOWN); /* as in every pager */
}

#include "ui/app_impl.h"

#include "teach/lesson.h"

#include <stdlib.h>

/* Lessons: the list of them, and pages with the rows of the open file they speak of. The pages are made by
 * teach/lesson; what a person has done is kept in a log beside the other state. */

enum { ROWS_MAX = 200, ROWS_MIN = 4, TRIES = 3 };

struct qs_lesson_state {
    qs_lessons *all;
    qs_lesson_log *log;
    char log_path[4096];
    bool log_changed;
    bool paging;         /* a page is shown, not the list */
    size_t lesson, page; /* of the page */
    qs_list list;        /* of lessons */
    qs_rich text, wrapped;
    qs_list scroll; /* of the page's text */
    uint32_t row[ROWS_MAX];
    qs_list rows;
    int text_h;
    bool right; /* the question has been answered */
    int wrong;  /* answers so far; the first shows the hint, the third the answer */
};

static qs_lesson_subject subject(const qs_app *a) {
    return (qs_lesson_subject){qs_session_compare(a->s), qs_session_resolution(a->s),
                               qs_session_verdict(a->s)};
}

static const qs_lesson *current(const struct qs_lesson_state *l) {
    return qs_lessons_at(l->all, l->lesson);
}

/* ---- a page as text ---- */

static void add_part(qs_app *a, qs_lesson_part part, qs_pen pen, int width) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_subject s = subject(a);
    qs_buf text = {0};
    qs_err e = QS_ERR_INIT;
    if (!qs_lesson_text(current(l), l->page, part, &s, (unsigned)width, &text, &e)) qs_app_fail(a, &e);
    for (qs_str rest = qs_buf_str(&text); rest.n;) {
        size_t end = qs_str_find(rest, QS_STR("\n"));
        qs_str line = qs_str_sub(rest, 0, end);
        qs_rich_line(&l->text);
        qs_rich_add(&l->text, line.n && line.p[0] == ' ' ? QS_PEN(STRONG) : pen, line);
        rest = end == SIZE_MAX ? (qs_str){0} : qs_str_sub(rest, end + 1, rest.n);
    }
    qs_buf_free(&text);
}

static void add_presses(const qs_app *a, const qs_lesson_page *p) {
    struct qs_lesson_state *l = a->lesson;
    if (p->press_count) qs_rich_line(&l->text);
    for (size_t i = 0; i < p->press_count; i++) {
        char key[24] = "";
        qs_keymap_key(&a->config.keymap, qs_command_find(p->press[i].command, QS_CTX_TREE), key, sizeof key);
        qs_rich_line(&l->text);
        qs_rich_addf(&l->text, QS_PEN(DIM), i ? "       " : "press  ");
        qs_rich_addf(&l->text, QS_PEN(KEY), "%s", key);
        qs_rich_addf(&l->text, QS_PEN(NORMAL), "  %.*s", QS_FMT(p->press[i].why));
    }
}

static void add_answer(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_subject s = subject(a);
    qs_buf text = {0};
    qs_err e = QS_ERR_INIT;
    if (!qs_lesson_answer(current(l), l->page, &s, &text, &e)) qs_app_fail(a, &e);
    qs_rich_line(&l->text);
    qs_rich_addf(&l->text, QS_PEN(STRONG), "the answer: %.*s", QS_FMT(qs_buf_str(&text)));
    qs_buf_free(&text);
}

static void build_page(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_page p;
    int width = a->w > 44 ? a->w - 2 : 42;
    qs_rich_clear(&l->text);
    if (!qs_lesson_page_at(current(l), l->page, &p)) return;
    add_part(a, QS_LESSON_BODY, QS_PEN(NORMAL), width);
    add_presses(a, &p);
    if (!p.asks) return;
    qs_rich_line(&l->text);
    add_part(a, QS_LESSON_QUESTION, QS_PEN(TITLE), width);
    if (l->right) {
        qs_rich_line(&l->text);
        qs_rich_addf(&l->text, QS_PEN(YES), " right ");
    } else if (l->wrong) {
        add_part(a, QS_LESSON_HINT, QS_PEN(TOLERATED), width);
        if (l->wrong >= TRIES) add_answer(a);
    }
}

/* In the order in which the page names them, each once. */
static size_t list_rows(const qs_compare *c, const qs_str *globs, size_t n, uint32_t *out) {
    size_t count = 0;
    for (size_t g = 0; g < n; g++)
        for (uint32_t i = 0; i < qs_compare_rows(c) && count < ROWS_MAX; i++) {
            qs_str key = qs_compare_row(c, i)->key;
            if (qs_lesson_is_shown(&globs[g], 1, key) && !qs_lesson_is_shown(globs, g, key)) out[count++] = i;
        }
    return count;
}

static void find_rows(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_subject s = subject(a);
    qs_arena arena = {0};
    qs_str *globs;
    size_t n, count = 0;
    qs_err e = QS_ERR_INIT;
    if (qs_lesson_shows(current(l), l->page, &s, &arena, &globs, &n, &e))
        count = list_rows(s.compare, globs, n, l->row);
    qs_arena_free(&arena);
    qs_list_resize(&l->rows, count, l->rows.height);
}

/* The text takes what it needs, the rows what is left, but at least a few lines. */
static void lesson_layout(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    int h = a->h - 2;
    if (!l->paging) {
        /* a blank line above, and the line that says what the chosen one is about below */
        qs_list_resize(&l->list, qs_lessons_count(l->all), h > 3 ? (size_t)h - 3 : 1);
        return;
    }
    build_page(a);
    find_rows(a);
    qs_rich_wrap(&l->text, &a->measure, a->w > 4 ? a->w - 2 : 2, 2, &l->wrapped);
    int lines = (int)qs_rich_lines(&l->wrapped), rows = (int)l->rows.count;
    int least = rows == 0 ? 0 : rows < ROWS_MIN ? rows + 1 : ROWS_MIN + 1; /* with the line above them */
    l->text_h = lines < h - least ? lines : h - least;
    if (l->text_h < 1) l->text_h = 1;
    int left = h - l->text_h - 1;
    qs_list_resize(&l->rows, l->rows.count, left > 0 ? (size_t)left : 0);
    qs_list_resize(&l->scroll, lines > l->text_h ? (size_t)(lines - l->text_h) + 1 : 1, 1);
}

static void rebuild(qs_app *a, bool anew) {
    struct qs_lesson_state *l = a->lesson;
    if (anew) {
        l->rows = l->scroll = (qs_list){0};
        l->right = false;
        l->wrong = 0;
    }
    lesson_layout(a);
}

/* ---- what is kept ---- */

static void note(qs_app *a, bool done) {
    struct qs_lesson_state *l = a->lesson;
    qs_err e = QS_ERR_INIT;
    if (!qs_lesson_log_set(l->log, qs_lesson_name(current(l)), l->page, done, &e)) return qs_app_fail(a, &e);
    l->log_changed = true;
}

static void lesson_close(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    qs_err e = QS_ERR_INIT;
    if (!l->log_changed || !l->log_path[0]) return;
    l->log_changed = false;
    if (!qs_lesson_log_save(l->log, l->log_path, &e)) qs_app_fail(a, &e);
}

/* A teacher's slip is told at once. */
static bool check_presses(const qs_lessons *all, qs_err *e) {
    qs_lesson_page p;
    for (size_t i = 0; i < qs_lessons_count(all); i++)
        for (size_t k = 0; qs_lesson_page_at(qs_lessons_at(all, i), k, &p); k++)
            for (size_t j = 0; j < p.press_count; j++)
                if (qs_command_find(p.press[j].command, QS_CTX_TREE) == QS_CMD_NONE)
                    return qs_fail(
                        e, QS_E_INPUT, "lesson %s, line %u: there is no command '%.*s' in the tree",
                        qs_lesson_name(qs_lessons_at(all, i)), p.press[j].line, QS_FMT(p.press[j].command));
    return true;
}

static bool make_state(qs_app *a, qs_err *e) {
    struct qs_lesson_state *l = calloc(1, sizeof *l);
    if (!l) return qs_nomem(e);
    a->lesson = l;
    if (!a->opt.keep_progress || !qs_lesson_log_path(l->log_path, sizeof l->log_path)) l->log_path[0] = 0;
    return qs_lessons_open(a->opt.lessons, &l->all, e) && check_presses(l->all, e) &&
           qs_lesson_log_open(l->log_path, &l->log, e);
}

void qs_lesson_state_free(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    if (!l) return;
    qs_lessons_free(l->all);
    qs_lesson_log_free(l->log);
    qs_rich_free(&l->text);
    qs_rich_free(&l->wrapped);
    free(l);
    a->lesson = NULL;
}

void qs_lessons_view_open(qs_app *a) {
    qs_err e = QS_ERR_INIT;
    if (!a->lesson && !make_state(a, &e)) {
        qs_lesson_state_free(a);
        return qs_app_fail(a, &e);
    }
    qs_app_open(a, &qs_view_lesson);
}

/* ---- drawing ---- */

/* At the right end of a line; where it begins. */
static int draw_page_number(qs_pane p, int y, qs_pen pen, size_t page, size_t pages) {
    char text[64];
    snprintf(text, sizeof text, " page %zu of %zu", page + 1, pages);
    return qs_draw_right(p, p.w, y, pen, qs_str_of(text));
}

static void draw_list(const qs_app *a, qs_pane p) {
    const struct qs_lesson_state *l = a->lesson;
    qs_lesson_subject s = subject(a);
    size_t i;
    for (int y = 0; y < p.h && qs_list_at(&l->list, y, &i); y++) {
        const qs_lesson *x = qs_lessons_at(l->all, i);
        qs_err why = QS_ERR_INIT;
        bool can = qs_lesson_applies(x, &s, &why), done = qs_lesson_log_done(l->log, qs_lesson_name(x));
        size_t at = qs_lesson_log_page(l->log, qs_lesson_name(x));
        qs_drawz(p, 0, y, QS_PEN(OK), done ? "✓" : " ");
        qs_drawz(p, 2, y, can ? QS_PEN(STRONG) : QS_PEN(DIM), qs_lesson_title(x));
        if (at && !done) draw_page_number(p, y, QS_PEN(DIM), at, qs_lesson_pages(x));
        if (i != l->list.cursor) continue;
        qs_pane_select(p, y);
        qs_drawz(p, 2, p.h - 1, QS_PEN(DIM), can ? qs_lesson_about(x) : why.msg);
    }
}

static void draw_row(const qs_app *a, qs_pane p, int y, const qs_row *row) {
    const qs_status_info *st = qs_status_get(row->status);
    char cell[96], letter[2] = {qs_role_letter(row->role), 0};
    static const int columns[] = {QS_COLUMN_M, QS_COLUMN_B, QS_COLUMN_A};
    qs_drawz(p, 0, y, qs_status_pen(row->status), st->glyph);
    qs_drawz(p, 2, y, QS_PEN(LETTER), letter);
    int end = p.w, wide = p.w > 100 ? 16 : 13;
    for (int c = 0; c < 3; c++) {
        if ((columns[c] == QS_COLUMN_M && !qs_session_target(a->s)) ||
            (columns[c] == QS_COLUMN_B && !qs_session_b(a->s)))
            continue;
        qs_key_cell(a, row, columns[c], cell, sizeof cell);
        end -= wide;
        qs_draw_fit(p, end, y, wide - 1, QS_PEN(NORMAL), qs_str_of(cell), false);
    }
    qs_draw_fit(p, 4, y, end - 5, QS_PEN(NORMAL), row->key, true);
}

static void draw_page(const qs_app *a, qs_pane p) {
    const struct qs_lesson_state *l = a->lesson;
    size_t top = l->scroll.cursor, lines = qs_rich_lines(&l->wrapped), i;
    for (int y = 0; y < l->text_h && top + (size_t)y < lines; y++)
        qs_rich_draw(&l->wrapped, top + (size_t)y, p, 0, y);
    if (l->rows.count == 0) return;
    qs_draw_hline(p, l->text_h, QS_PEN(LINE));
    qs_pane rows = qs_pane_sub(p, 0, l->text_h + 1, p.w, p.h - l->text_h - 1);
    for (int y = 0; y < rows.h && qs_list_at(&l->rows, y, &i); y++) {
        draw_row(a, rows, y, qs_compare_row(qs_session_compare(a->s), l->row[i]));
        if (i == l->rows.cursor) qs_pane_select(rows, y);
    }
}

static void draw_hints(const qs_app *a, qs_pane p) {
    static const char *const of_list[] = {"j k", "choose", "Enter", "begin", "q", "back to the tree", NULL};
    static const char *const of_page[] = {"n", "next page", "p",     "previous",
                                          "a", "answer",    "Enter", "to this row in the tree",
                                          "q", "list",      NULL};
    qs_dialog_hints(p, p.h - 1, a->lesson->paging ? of_page : of_list);
}

static void lesson_draw(const qs_app *a, qs_grid *g) {
    const struct qs_lesson_state *l = a->lesson;
    qs_pane p = qs_pane_of(g);
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    qs_pane inside = qs_pane_sub(p, 1, 1, p.w - 2, p.h - 2);
    qs_lesson_page page;
    if (l->paging && qs_lesson_page_at(current(l), l->page, &page)) {
        qs_pane head = qs_pane_sub(p, 1, 0, p.w - 2, 1);
        int end = draw_page_number(head, 0, QS_PEN(HEAD), l->page, qs_lesson_pages(current(l)));
        int x = qs_drawz(qs_pane_sub(head, 0, 0, end, 1), 0, 0, QS_PEN(TITLE), qs_lesson_title(current(l)));
        int room = end - x - 2;
        if (room > 8) qs_draw_fit(head, x + 2, 0, room, QS_PEN(HEAD), qs_str_of(page.title), false);
        draw_page(a, inside);
    } else {
        qs_drawz(p, 1, 0, QS_PEN(TITLE), "lessons on the open file");
        draw_list(a, qs_pane_sub(inside, 0, 1, inside.w, inside.h - 1));
    }
    draw_hints(a, qs_pane_sub(p, 1, 0, p.w - 2, p.h));
}

/* ---- events ---- */

static void begin(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_subject s = subject(a);
    const qs_lesson *x = qs_lessons_at(l->all, l->list.cursor);
    qs_err e = QS_ERR_INIT;
    if (!x) return;
    if (!qs_lesson_applies(x, &s, &e)) return qs_app_fail(a, &e);
    l->lesson = l->list.cursor;
    l->page = qs_lesson_log_page(l->log, qs_lesson_name(x));
    if (l->page >= qs_lesson_pages(x) || qs_lesson_log_done(l->log, qs_lesson_name(x))) l->page = 0;
    l->paging = true;
    rebuild(a, true);
}

/* The tree's cursor on the chosen row, if the page shows any. */
static bool choose_row(qs_app *a) {
    const struct qs_lesson_state *l = a->lesson;
    if (l->rows.count == 0) return true;
    const qs_row *row = qs_compare_row(qs_session_compare(a->s), l->row[l->rows.cursor]);
    if (qs_tree_reveal(&a->tree, row->tree)) return true;
    qs_app_complain(a, "out of memory");
    return false;
}

static void go_to_row(qs_app *a) {
    if (a->lesson->rows.count == 0) return qs_app_say(a, "this page shows no rows: n is the next page");
    qs_app_close(a);
    if (choose_row(a)) qs_app_say(a, "L goes back to the lesson");
}

/* Those open a page of their own, and q leads back to the lesson; the others work in the tree. */
static bool is_page(qs_command c) {
    return c == QS_CMD_EXPLAIN || c == QS_CMD_TRACE || c == QS_CMD_SEE || c == QS_CMD_VERDICT;
}

/* What the page says to press works from the page. */
static bool press(qs_app *a, uint32_t key) {
    struct qs_lesson_state *l = a->lesson;
    qs_command c = qs_keymap_find(&a->config.keymap, QS_CTX_TREE, key);
    qs_lesson_page p;
    bool told = false;
    if (!l->paging || c == QS_CMD_NONE || !qs_lesson_page_at(current(l), l->page, &p)) return false;
    if (qs_keymap_find(&a->config.keymap, QS_CTX_LESSON, key) != QS_CMD_NONE) return false;
    for (size_t i = 0; i < p.press_count; i++)
        told = told || qs_command_find(p.press[i].command, QS_CTX_TREE) == c;
    if (!told || !choose_row(a)) return told;
    if (is_page(c)) return qs_view_tree.command(a, c);
    qs_app_close(a);
    qs_app_command(a, c);
    if (!a->message.text[0] && qs_app_top(a) == &qs_view_tree) qs_app_say(a, "L goes back to the lesson");
    return true;
}

static void turn(qs_app *a, int by) {
    struct qs_lesson_state *l = a->lesson;
    size_t pages = qs_lesson_pages(current(l));
    if (by < 0 && l->page == 0) return qs_app_say(a, "this is the first page; q shows all lessons");
    if (by > 0 && l->page + 1 == pages) {
        note(a, true);
        l->paging = false;
        if (l->list.cursor + 1 < qs_lessons_count(l->all)) qs_list_move(&l->list, 1);
        qs_app_say(a, "that was the last page: lesson done");
        return rebuild(a, true);
    }
    l->page = by > 0 ? l->page + 1 : l->page - 1;
    note(a, false);
    rebuild(a, true);
}

static void on_answer(qs_app *a, qs_str typed) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_subject s = subject(a);
    qs_err e = QS_ERR_INIT;
    bool right = false;
    if (!typed.n) return;
    if (!qs_lesson_check(current(l), l->page, &s, typed, &right, &e)) return qs_app_fail(a, &e);
    l->right = right;
    l->wrong += !right;
    if (!right) qs_app_say(a, "not quite: a answers again");
    rebuild(a, false);
    qs_list_goto(&l->scroll, l->scroll.count - 1); /* to where the reply stands */
}

static void answer(qs_app *a) {
    struct qs_lesson_state *l = a->lesson;
    qs_lesson_page p;
    if (!qs_lesson_page_at(current(l), l->page, &p) || !p.asks)
        return qs_app_say(a, "this page asks nothing: n is the next page");
    qs_prompt_open(a, "your answer: ", QS_STR(""), NULL, on_answer);
}

static bool page_command(qs_app *a, qs_command c) {
    struct qs_lesson_state *l = a->lesson;
    switch (c) {
    case QS_CMD_LESSON_NEXT: turn(a, 1); return true;
    case QS_CMD_LESSON_PREV: turn(a, -1); return true;
    case QS_CMD_LESSON_ANSWER: answer(a); return true;
    case QS_CMD_LESSON_GO: go_to_row(a); return true;
    case QS_CMD_PAGE_DOWN: qs_list_move(&l->scroll, l->text_h > 2 ? l->text_h - 1 : 1); return true;
    case QS_CMD_PAGE_UP: qs_list_move(&l->scroll, l->text_h > 2 ? 1 - l->text_h : -1); return true;
    case QS_CMD_HALF_DOWN: qs_list_move(&l->scroll, 1); return true;
    case QS_CMD_HALF_UP: qs_list_move(&l->scroll, -1); return true;
    case QS_CMD_BACK:
        l->paging = false;
        rebuild(a, true);
        return true;
    default: return qs_list_command(&l->rows, c);
    }
}

static bool lesson_command(qs_app *a, qs_command c) {
    if (a->lesson->paging) return page_command(a, c);
    if (c == QS_CMD_LESSON_GO || c == QS_CMD_LESSON_NEXT) return begin(a), true;
    return qs_list_command(&a->lesson->list, c);
}

static bool lesson_event(qs_app *a, const qs_event *ev) {
    struct qs_lesson_state *l = a->lesson;
    if (ev->kind == QS_EVENT_KEY) return press(a, ev->key);
    if (ev->kind != QS_EVENT_MOUSE) return false;
    qs_list *list = l->paging ? &l->rows : &l->list;
    int top = l->paging ? l->text_h + 2 : 2;
    size_t i;
    if (ev->mouse == QS_MOUSE_WHEEL_UP)
        qs_list_scroll(list, -3);
    else if (ev->mouse == QS_MOUSE_WHEEL_DOWN)
        qs_list_scroll(list, 3);
    else if (qs_list_at(list, ev->y - top, &i))
        qs_list_goto(list, i);
    if (ev->mouse == QS_MOUSE_DOUBLE && ev->y >= top) lesson_command(a, QS_CMD_LESSON_GO);
    return true;
}

const qs_view qs_view_lesson = {
    .name = "lesson",
    .context = QS_CTX_LESSON,
    .draw = lesson_draw,
    .layout = lesson_layout,
    .event = lesson_event,
    .command = lesson_command,
    .close = lesson_close,
};

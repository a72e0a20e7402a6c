#include "ui/app_impl.h"

/* A page of text that scrolls: torch's message, Python, all details of a key. */

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
    qs_app_open(a, v);
}

void qs_page_draw(const qs_text_state *t, qs_grid *g) {
    qs_pane p = qs_pane_of(g);
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    qs_drawz(p, 1, 0, QS_PEN(TITLE), t->title);
    size_t top = t->list.cursor, lines = qs_rich_lines(&t->wrapped), rows = p.h > 2 ? (size_t)p.h - 2 : 0;
    for (size_t y = 0; y < rows && top + y < lines; y++)
        qs_rich_draw(&t->wrapped, top + y, qs_pane_sub(p, 1, 1, p.w - 2, p.h - 2), 0, (int)y);
    size_t last = top + rows < lines ? top + rows : lines;
    char where[64];
    snprintf(where, sizeof where, "%zu-%zu of %zu", lines ? top + 1 : 0, last, lines);
    qs_draw_right(p, p.w - 1, 0, QS_PEN(HEAD), qs_str_of(where));
    qs_drawz(p, 1, p.h - 1, QS_PEN(KEY), "j k PgDn PgUp");
    qs_drawz(p, 15, p.h - 1, QS_PEN(NORMAL), "scroll");
    qs_drawz(p, 24, p.h - 1, QS_PEN(KEY), "q");
    qs_drawz(p, 26, p.h - 1, QS_PEN(NORMAL), "back");
}

bool qs_page_command(const qs_app *a, qs_text_state *t, qs_command c) {
    qs_list *l = &t->list;
    long page = a->h > 4 ? a->h - 3 : 1;
    switch (c) {
    case QS_CMD_PAGE_UP: qs_list_move(l, -page); return true;
    case QS_CMD_PAGE_DOWN: qs_list_move(l, page); return true;
    case QS_CMD_HALF_UP: qs_list_move(l, -(page / 2)); return true;
    case QS_CMD_HALF_DOWN: qs_list_move(l, page / 2); return true;
    default: return qs_list_command(l, c);
    }
}

bool qs_page_event(const qs_app *a, qs_text_state *t, const qs_event *ev) {
    if (ev->kind == QS_EVENT_MOUSE && ev->mouse == QS_MOUSE_WHEEL_UP) return qs_list_move(&t->list, -3), true;
    if (ev->kind == QS_EVENT_MOUSE && ev->mouse == QS_MOUSE_WHEEL_DOWN)
        return qs_list_move(&t->list, 3), true;
    if (ev->kind != QS_EVENT_KEY || ev->key != ' ') return false;
    return qs_page_command(a, t, QS_CMD_PAGE_DOWN); /* as in every pager */
}

void qs_text_open(qs_app *a, const char *title, int hang) {
    qs_page_open(a, &a->text, &qs_view_text, title, hang);
}

static void text_draw(const qs_app *a, qs_grid *g) {
    qs_page_draw(&a->text, g);
}
static void text_layout(qs_app *a) {
    qs_page_layout(a, &a->text);
}
static bool text_event(qs_app *a, const qs_event *ev) {
    return qs_page_event(a, &a->text, ev);
}
static bool text_command(qs_app *a, qs_command c) {
    return qs_page_command(a, &a->text, c);
}

const qs_view qs_view_text = {
    .name = "text",
    .context = QS_CTX_TEXT,
    .draw = text_draw,
    .layout = text_layout,
    .event = text_event,
    .command = text_command,
};

/* ---- torch's message ---- */

enum { FORWARD_SHOWN = 100 };

static void add_forward(qs_rich *r, const qs_app *a, const qs_verdict *v) {
    if (a->forward == 0) return;
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(NO),
                 qs_verdict_loads(v) ? " It loads, and fails later, in forward: "
                                     : " Were it loaded, forward would fail: ");
    uint32_t shown = 0;
    for (size_t i = 0; i < qs_verdict_count(v) && shown < FORWARD_SHOWN; i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        if (f->kind != QS_FIND_FORWARD) continue;
        shown++;
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "  ");
        qs_rich_add(r, QS_PEN(STRONG), f->key);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "    %s", f->note);
    }
    if (shown < a->forward) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(DIM), "  and %u more", a->forward - shown);
    }
}

void qs_message_open(qs_app *a) {
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_rich *r = &a->text.text;
    qs_buf message = {0};
    if (!v)
        return qs_app_say(a, "there is no model to compare with: qatscope A -m MANIFEST, or qatscope A B");
    if (!qs_verdict_message(v, &message) || message.failed) {
        qs_buf_free(&message);
        return qs_app_complain(a, "out of memory");
    }
    int torch = qs_verdict_torch(v);
    qs_rich_clear(r);
    qs_rich_addf(r, QS_PEN(DIM),
                 "What load_state_dict(strict=True) of torch %d.%d says to A with the plan:", torch / 100,
                 torch % 100);
    qs_rich_line(r);
    if (message.n == 0) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(YES), " <All keys matched successfully> ");
    } else {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NO), " RuntimeError: ");
        qs_rich_add_lines(r, QS_PEN(NORMAL), qs_buf_str(&message));
    }
    if (a->versions[0]) {
        qs_rich_line(r);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(LETTER), "torch versions differ: ");
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", a->versions);
    }
    add_forward(r, a, v);
    if (a->diagnosis && a->diagnosis->evidence[0]) {
        qs_rich_line(r);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(STRONG), "%s", a->diagnosis->sentence);
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", a->diagnosis->evidence);
    }
    qs_buf_free(&message);
    qs_text_open(a, qs_verdict_loads(v) ? "would load: YES" : "would load: NO", 2);
}

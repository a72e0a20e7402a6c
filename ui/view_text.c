#include "ui/app_impl.h"

/* A page of text that scrolls: help, torch's message, Python, all details of a key. */

static void text_layout(qs_app *a) {
    qs_text_state *t = &a->text;
    int w = a->w - 2, h = a->h - 2;
    if (t->wrapped_w != w) {
        qs_rich_wrap(&t->text, &a->measure, w, t->hang, &t->wrapped);
        t->wrapped_w = w;
    }
    size_t lines = qs_rich_lines(&t->wrapped), rows = h > 0 ? (size_t)h : 0;
    qs_list_resize(&t->list, lines > rows ? lines - rows + 1 : 1, 1); /* the cursor is the first line shown */
}

void qs_text_open(qs_app *a, const char *title, int hang) {
    qs_text_state *t = &a->text;
    snprintf(t->title, sizeof t->title, "%s", title);
    t->hang = hang;
    t->wrapped_w = 0;
    t->list = (qs_list){0};
    qs_app_open(a, &qs_view_text);
}

static void text_draw(const qs_app *a, qs_grid *g) {
    const qs_text_state *t = &a->text;
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

static bool text_command(qs_app *a, qs_command c) {
    qs_list *l = &a->text.list;
    long page = a->h > 4 ? a->h - 3 : 1;
    switch (c) {
    case QS_CMD_PAGE_UP: qs_list_move(l, -page); return true;
    case QS_CMD_PAGE_DOWN: qs_list_move(l, page); return true;
    case QS_CMD_HALF_UP: qs_list_move(l, -(page / 2)); return true;
    case QS_CMD_HALF_DOWN: qs_list_move(l, page / 2); return true;
    default: return qs_list_command(l, c);
    }
}

static bool text_event(qs_app *a, const qs_event *ev) {
    if (ev->kind == QS_EVENT_MOUSE && ev->mouse == QS_MOUSE_WHEEL_UP)
        return qs_list_move(&a->text.list, -3), true;
    if (ev->kind == QS_EVENT_MOUSE && ev->mouse == QS_MOUSE_WHEEL_DOWN)
        return qs_list_move(&a->text.list, 3), true;
    if (ev->kind != QS_EVENT_KEY || ev->key != ' ') return false;
    return text_command(a, QS_CMD_PAGE_DOWN); /* as in every pager */
}

const qs_view qs_view_text = {
    .name = "text",
    .context = QS_CTX_TEXT,
    .draw = text_draw,
    .layout = text_layout,
    .event = text_event,
    .command = text_command,
};

/* ---- help ---- */

static void help_statuses(qs_rich *r) {
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "What the signs before a key mean");
    for (int s = 0; s < QS_STATUS_COUNT; s++) {
        const qs_status_info *i = qs_status_get((qs_status)s);
        qs_rich_line(r);
        qs_rich_addf(r, qs_status_pen((qs_status)s), "  %s %-12s", i->glyph, i->name);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", i->help);
    }
    for (int m = 1; m < QS_MARK_COUNT; m++) {
        const qs_mark_info *i = qs_mark_get((qs_mark)m);
        qs_rich_line(r);
        qs_rich_addf(r, qs_mark_pen((qs_mark)m), "  %s %-12s", i->glyph, i->name);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", i->help);
    }
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "What a key is to quantization");
    for (int q = 1; q < QS_ROLE_COUNT; q++) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(LETTER), "  %c ", qs_role_letter((qs_role)q));
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", qs_role_name((qs_role)q));
    }
}

void qs_help_open(qs_app *a) {
    qs_rich *r = &a->text.text;
    const char *group = "";
    qs_rich_clear(r);
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        const qs_command_info *i = qs_command_get(c);
        if (strcmp(group, i->group) != 0) {
            if (*group) qs_rich_line(r);
            qs_rich_line(r);
            qs_rich_addf(r, QS_PEN(TITLE), "%s", group = i->group);
        }
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(KEY), "  %-12s", i->keys);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", i->help);
        qs_rich_addf(r, QS_PEN(DIM), "  :%s", i->name);
    }
    help_statuses(r);
    qs_text_open(a, "qatscope: keys and signs", 12);
}

/* ---- torch's message ---- */

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

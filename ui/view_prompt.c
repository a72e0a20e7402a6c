#include "ui/app_impl.h"

void qs_prompt_open(qs_app *a, const char *label, qs_str text, qs_history *history,
                    void (*accept)(qs_app *a, qs_str text)) {
    a->prompt = (qs_prompt_state){.label = label, .accept = accept};
    a->prompt.line.history = history;
    qs_line_set(&a->prompt.line, text);
    qs_app_open(a, &qs_view_prompt);
}

static void prompt_draw(const qs_app *a, qs_grid *g) {
    qs_pane p = qs_pane_sub(qs_pane_of(g), 0, g->h - 1, g->w, 1);
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(NORMAL));
    int x = qs_drawz(p, 0, 0, QS_PEN(KEY), a->prompt.label);
    qs_line_draw(&a->prompt.line, p, x, 0, p.w - x, true);
}

static void complete(qs_app *a) {
    char to[64];
    qs_line *l = &a->prompt.line;
    size_t n = qs_command_complete(qs_line_text(l), QS_CTX_TREE, to, sizeof to);
    if (n) qs_line_set(l, qs_str_of(to));
    if (n > 1) qs_app_say(a, "%zu commands begin so", n);
}

static bool prompt_event(qs_app *a, const qs_event *ev) {
    bool changed;
    qs_line *l = &a->prompt.line;
    if (ev->kind == QS_EVENT_KEY && ev->key == QS_KEY_BACKSPACE && l->n == 0) return qs_app_close(a), true;
    if (a->prompt.command && ev->kind == QS_EVENT_KEY && ev->key == QS_KEY_TAB) return complete(a), true;
    return qs_line_edit(l, ev, &changed);
}

static bool prompt_command(qs_app *a, qs_command c) {
    if (c != QS_CMD_DIALOG_OK) return false;
    qs_line answer = a->prompt.line; /* accept may open another prompt */
    void (*accept)(qs_app *, qs_str) = a->prompt.accept;
    if (answer.history) qs_history_add(answer.history, qs_line_text(&answer));
    qs_app_close(a);
    accept(a, qs_line_text(&answer));
    return true;
}

const qs_view qs_view_prompt = {
    .name = "prompt",
    .context = QS_CTX_DIALOG,
    .draw = prompt_draw,
    .event = prompt_event,
    .command = prompt_command,
};

#include "ui/app_impl.h"

void qs_prompt_open(qs_app *a, const char *label, qs_str text, qs_history *history,
                    void (*accept)(qs_app *a, qs_str text)) {
    qs_completion_clear(&a->prompt.completion);
    a->prompt = (qs_prompt_state){.label = label, .accept = accept};
    a->prompt.line.history = history;
    qs_line_set(&a->prompt.line, text);
    qs_app_open(a, &qs_view_prompt);
}

static void on_command_line(qs_app *a, qs_str text) {
    while (text.n && text.p[text.n - 1] == ' ') text.n--;
    size_t blank = qs_str_find(text, QS_STR(" "));
    qs_str name = qs_str_sub(text, 0, blank), rest = qs_str_sub(text, blank, text.n);
    while (rest.n && rest.p[0] == ' ') rest = qs_str_sub(rest, 1, rest.n);
    qs_command c = qs_command_find(name, QS_CTX_TREE);
    if (c != QS_CMD_NONE)
        qs_app_command_with(a, c, rest);
    else if (name.n)
        qs_app_complain(a, "there is no command \"%.*s\"; ? lists them", QS_FMT(name));
}

void qs_command_line_open(qs_app *a) {
    qs_prompt_open(a, ":", QS_STR(""), &a->names, on_command_line);
    a->prompt.completion.command = true;
}

static void prompt_draw(const qs_app *a, qs_grid *g) {
    qs_pane all = qs_pane_of(g), p = qs_pane_sub(all, 0, g->h - 1, g->w, 1);
    qs_completion_draw(&a->prompt.completion, qs_pane_sub(all, 0, 0, g->w, g->h - 1));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(NORMAL));
    int x = qs_drawz(p, 0, 0, QS_PEN(KEY), a->prompt.label);
    qs_line_draw(&a->prompt.line, p, x, 0, p.w - x, true);
}

static bool prompt_event(qs_app *a, const qs_event *ev) {
    bool changed = false;
    qs_line *l = &a->prompt.line;
    qs_completion *c = &a->prompt.completion;
    if (ev->kind == QS_EVENT_KEY && ev->key == QS_KEY_BACKSPACE && l->n == 0) return qs_app_close(a), true;
    if (ev->kind == QS_EVENT_KEY && (ev->key == QS_KEY_TAB || ev->key == QS_KEY_BACKTAB)) {
        qs_complete(a, c, l, ev->key == QS_KEY_TAB ? 1 : -1);
        return true;
    }
    bool used = qs_line_edit(l, ev, &changed);
    if (changed) c->shown = false;
    return used;
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

static void prompt_close(qs_app *a) {
    qs_completion_clear(&a->prompt.completion);
}

const qs_view qs_view_prompt = {
    .name = "prompt",
    .context = QS_CTX_DIALOG,
    .draw = prompt_draw,
    .event = prompt_event,
    .command = prompt_command,
    .close = prompt_close,
};

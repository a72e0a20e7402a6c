#include "ui/app_impl.h"

/* A.pt -> A-fixed.pt, beside it. */
static void propose(const qs_app *a, char *out, size_t cap) {
    const char *path = qs_checkpoint_path(qs_session_a(a->s));
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem = dot && (!slash || dot > slash + 1) ? (size_t)(dot - path) : strlen(path);
    snprintf(out, cap, "%.*s-fixed%s", (int)stem, path, path + stem);
}

void qs_save_open(qs_app *a) {
    char path[QS_LINE_MAX];
    if (a->opt.out_path)
        snprintf(path, sizeof path, "%s", a->opt.out_path);
    else
        propose(a, path, sizeof path);
    qs_save_open_as(a, qs_str_of(path));
}

void qs_save_open_as(qs_app *a, qs_str path) {
    qs_save_state *s = &a->save;
    if (a->opt.read_only) return qs_app_say(a, "read-only: nothing is written");
    s->field = 0;
    s->overwrite = s->in_place = false;
    s->problem[0] = 0;
    s->path.history = &a->paths;
    qs_line_set(&s->path, path);
    qs_app_open(a, &qs_view_save);
}

static void draw_check(qs_pane p, int y, bool on, bool focused, const char *text) {
    int x = qs_drawz(p, 6, y, QS_PEN(KEY), on ? "[x] " : "[ ] ");
    x = qs_drawz(p, x, y, QS_PEN(NORMAL), text);
    if (focused) qs_pane_select(qs_pane_sub(p, 6, y, x - 6, 1), 0);
}

static void save_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter",  "save", "Tab",   "next field", "Space",
                                        "change", "Esc",  "leave", NULL};
    const qs_save_state *s = &a->save;
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_pane p = qs_dialog_box(a, g, 90, 11, "save the result", "");
    qs_drawz(p, 0, 0, QS_PEN(KEY), "as");
    qs_line_draw(&s->path, p, 6, 0, p.w - 6, s->field == 0);
    draw_check(p, 2, s->overwrite, s->field == 1, "replace the file if it exists");
    draw_check(p, 3, s->in_place, s->field == 2, "it may be A itself (the old one is kept as NAME.bak)");
    uint32_t n = qs_resolution_live(qs_session_resolution(a->s));
    int x = qs_drawf(p, 0, 5, QS_PEN(NORMAL), "%u entries; ", n);
    if (v)
        qs_drawz(p, x, 5, qs_verdict_loads(v) ? QS_PEN(YES) : QS_PEN(NO),
                 qs_verdict_loads(v) ? " would load: YES " : " would load: NO ");
    const char *note = qs_write_note(qs_session_resolution(a->s), s->path.text);
    if (s->problem[0] || note) {
        qs_rich text = {0}, lines = {0};
        qs_rich_addf(&text, s->problem[0] ? QS_PEN(ERROR) : QS_PEN(NORMAL), "%s",
                     s->problem[0] ? s->problem : note);
        qs_rich_wrap(&text, g, p.w, 0, &lines);
        for (size_t i = 0; i < 2; i++) qs_rich_draw(&lines, i, p, 0, 6 + (int)i);
        qs_rich_free(&text);
        qs_rich_free(&lines);
    }
    qs_dialog_hints(p, p.h - 1, hints);
}

static bool save_event(qs_app *a, const qs_event *ev) {
    qs_save_state *s = &a->save;
    bool changed;
    if (s->field == 0) {
        if (!qs_line_edit(&s->path, ev, &changed)) return false;
        s->problem[0] = 0;
        return true;
    }
    if (ev->kind != QS_EVENT_KEY || ev->key != ' ') return false;
    bool *box = s->field == 1 ? &s->overwrite : &s->in_place;
    *box = !*box;
    s->problem[0] = 0;
    return true;
}

static void accept(qs_app *a) {
    qs_save_state *s = &a->save;
    qs_err e = QS_ERR_INIT;
    if (s->path.n == 0) {
        snprintf(s->problem, sizeof s->problem, "give the file a name");
        return;
    }
    qs_progress p = qs_app_busy(a, "saving");
    qs_write_options opt = {
        .in_place = s->in_place, .overwrite = s->overwrite || s->in_place, .progress = &p};
    qs_history_add(&a->paths, qs_line_text(&s->path));
    if (!qs_session_save(a->s, s->path.text, &opt, &e)) {
        if (e.code == QS_E_CANCELLED)
            snprintf(s->problem, sizeof s->problem, "cancelled; nothing was written");
        else
            snprintf(s->problem, sizeof s->problem, "%s", e.msg);
        return;
    }
    a->saved_revision = qs_session_revision(a->s);
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_app_say(a, "saved %s, read back and verified%s", s->path.text,
               v && qs_verdict_loads(v) ? "; PyTorch would load it" : "");
    qs_app_close(a);
}

static bool save_command(qs_app *a, qs_command c) {
    qs_save_state *s = &a->save;
    switch (c) {
    case QS_CMD_DIALOG_DOWN:
    case QS_CMD_DIALOG_NEXT: return s->field = (s->field + 1) % 3, true;
    case QS_CMD_DIALOG_UP:
    case QS_CMD_DIALOG_PREV: return s->field = (s->field + 2) % 3, true;
    case QS_CMD_DIALOG_OK: return accept(a), true;
    default: return false;
    }
}

const qs_view qs_view_save = {
    .name = "save",
    .context = QS_CTX_DIALOG,
    .draw = save_draw,
    .event = save_event,
    .command = save_command,
};

#include "ui/app_impl.h"

#include "session_rescue.h"

static void confirm_draw(const qs_app *a, qs_grid *g) {
    const qs_confirm_state *c = &a->confirm;
    qs_rich text = {0}, lines = {0};
    qs_rich_addf(&text, QS_PEN(NORMAL), "%s", c->text);
    qs_rich_wrap(&text, g, g->w < 68 ? g->w - 8 : 60, 0, &lines);
    int n = (int)qs_rich_lines(&lines);
    qs_pane p = qs_dialog_box(a, g, 66, n + c->choices + 4, c->title, "");
    for (int i = 0; i < n; i++) qs_rich_draw(&lines, (size_t)i, p, 0, i);
    for (int i = 0; i < c->choices; i++) {
        char key[16];
        qs_key_print(c->choice[i].key, key, sizeof key);
        int x = qs_drawz(p, 2, n + 1 + i, QS_PEN(KEY), key);
        qs_drawz(p, x < 8 ? 8 : x + 1, n + 1 + i, QS_PEN(NORMAL), c->choice[i].label);
    }
    qs_rich_free(&text);
    qs_rich_free(&lines);
}

static bool confirm_event(qs_app *a, const qs_event *ev) {
    if (ev->kind != QS_EVENT_KEY) return true;
    for (int i = 0; i < a->confirm.choices; i++) {
        if (a->confirm.choice[i].key != ev->key) continue;
        void (*run)(qs_app *) = a->confirm.choice[i].run;
        qs_app_close(a);
        if (run) run(a);
        return true;
    }
    return false;
}

static bool confirm_command(qs_app *a, qs_command c) {
    (void)a;
    return c == QS_CMD_DIALOG_OK; /* Enter agrees to nothing */
}

const qs_view qs_view_confirm = {
    .name = "confirm",
    .context = QS_CTX_DIALOG,
    .draw = confirm_draw,
    .event = confirm_event,
    .command = confirm_command,
};

static void leave(qs_app *a) {
    a->reaction |= QS_APP_QUIT;
}

void qs_quit(qs_app *a) {
    if (!qs_app_unsaved(a) || a->opt.read_only) return leave(a);
    size_t n = qs_plan_count(qs_session_plan(a->s));
    qs_confirm_state *c = &a->confirm;
    *c = (qs_confirm_state){.choices = 4};
    snprintf(c->title, sizeof c->title, "leave");
    snprintf(c->text, sizeof c->text,
             "The plan has %zu %s that %s not saved, neither as a checkpoint nor as JSON.", n,
             qs_plural(n, "action", "actions"), n == 1 ? "is" : "are");
    c->choice[0].key = 'w', c->choice[0].label = "save the result as a checkpoint",
    c->choice[0].run = qs_save_open;
    c->choice[1].key = 's', c->choice[1].label = "save the plan as JSON",
    c->choice[1].run = qs_save_plan_open;
    c->choice[2].key = 'q', c->choice[2].label = "leave without saving", c->choice[2].run = leave;
    c->choice[3].key = QS_KEY_ESC, c->choice[3].label = "stay";
    qs_app_open(a, &qs_view_confirm);
}

static void load_lost(qs_app *a) {
    char path[QS_RESCUE_PATH_MAX];
    qs_err e = QS_ERR_INIT;
    if (!qs_session_rescued(a->s, path)) return;
    qs_tree_remember(&a->tree);
    if (!qs_session_load_plan(a->s, path, &e)) return qs_app_fail(a, &e);
    qs_session_rescue_forget(a->s);
    a->lost_loaded = true;
    qs_app_refresh(a);
    qs_app_say(a, "the plan of the lost session is in force again: %zu actions",
               qs_plan_count(qs_session_plan(a->s)));
}

static void forget_lost(qs_app *a) {
    qs_session_rescue_forget(a->s);
}

void qs_offer_lost_plan(qs_app *a) {
    char path[QS_RESCUE_PATH_MAX];
    if (!a->opt.offer_lost || !qs_session_rescued(a->s, path)) return;
    qs_confirm_state *c = &a->confirm;
    *c = (qs_confirm_state){.choices = 3};
    snprintf(c->title, sizeof c->title, "a lost session");
    snprintf(c->text, sizeof c->text,
             "The last session on this file ended with its terminal. Its plan is kept in %.200s", path);
    c->choice[0].key = 'l', c->choice[0].label = "load it", c->choice[0].run = load_lost;
    c->choice[1].key = 'x', c->choice[1].label = "throw it away", c->choice[1].run = forget_lost;
    c->choice[2].key = QS_KEY_ESC, c->choice[2].label = "not now: it stays there";
    qs_app_open(a, &qs_view_confirm);
}

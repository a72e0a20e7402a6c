#include "ui/app_impl.h"

static void plan_layout(qs_app *a) {
    qs_list_resize(&a->plan_list, qs_plan_count(qs_session_plan(a->s)), a->h > 4 ? (size_t)a->h - 4 : 1);
}

void qs_plan_open(qs_app *a) {
    size_t n = qs_plan_count(qs_session_plan(a->s));
    a->plan_list = (qs_list){0};
    qs_app_open(a, &qs_view_plan);
    if (n) qs_list_goto(&a->plan_list, n - 1);
}

static void draw_action(const qs_app *a, qs_pane p, int y, size_t i) {
    const qs_resolution *r = qs_session_resolution(a->s);
    char what[600], keys[40];
    uint32_t n = qs_resolution_touched(r, i);
    const qs_action *action = qs_plan_action(qs_session_plan(a->s), i);
    qs_action_describe(action, what, sizeof what);
    snprintf(keys, sizeof keys, "%u %s", n, qs_action_unit(action, n));
    if (action->off) snprintf(keys, sizeof keys, "off");
    qs_pen pen = action->off ? QS_PEN(DIM) : QS_PEN(NORMAL);
    int end = qs_draw_right(p, p.w - 1, y, n || action->off ? pen : QS_PEN(MISSING), qs_str_of(keys));
    int x = qs_drawf(p, 0, y, QS_PEN(DIM), "%3zu  ", i + 1);
    qs_draw_fit(p, x, y, end - 2 - x, pen, qs_str_of(what), false);
    if (i == a->plan_list.cursor) qs_pane_select(p, y);
}

static uint64_t keys_in_all(const qs_app *a) {
    uint64_t sum = 0;
    for (size_t i = 0; i < qs_plan_count(qs_session_plan(a->s)); i++)
        if (qs_plan_action(qs_session_plan(a->s), i)->kind != QS_ACT_METADATA)
            sum += qs_resolution_touched(qs_session_resolution(a->s), i);
    return sum;
}

static void plan_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Space", "off",          "d", "remove", "K J", "move", "e", "edit",
                                        "s",     "save as JSON", "y", "Python", "u",   "undo", "w", "save",
                                        "q",     "back",         NULL};
    size_t n = qs_plan_count(qs_session_plan(a->s)), i;
    uint64_t keys = keys_in_all(a);
    qs_pane p = qs_pane_of(g);
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    int x = qs_drawz(p, 1, 0, QS_PEN(TITLE), "plan");
    qs_drawf(p, x + 2, 0, QS_PEN(HEAD), "%zu %s, %llu %s", n, qs_plural(n, "action", "actions"),
             (unsigned long long)keys, qs_plural(keys, "key", "keys"));
    qs_draw_verdict(a, p);
    qs_pane lines = qs_pane_sub(p, 1, 2, p.w - 2, p.h - 4);
    for (int y = 0; y < lines.h && qs_list_at(&a->plan_list, y, &i); y++) draw_action(a, lines, y, i);
    if (n == 0)
        qs_drawz(lines, 0, 0, QS_PEN(DIM), "the plan is empty: m i c d F in the tree add to it, O loads one");
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
}

static void after_edit(qs_app *a, bool ok, const qs_err *e, const char *done) {
    if (!ok) return qs_app_fail(a, e);
    qs_app_refresh(a);
    qs_app_say(a, "%s; u undoes", done);
}

static void remove_action(qs_app *a) {
    qs_err e = QS_ERR_INIT;
    qs_tree_remember(&a->tree);
    after_edit(a, qs_session_plan_remove(a->s, a->plan_list.cursor, &e), &e, "the action is out");
}

static void move_action(qs_app *a, int by) {
    qs_err e = QS_ERR_INIT;
    size_t from = a->plan_list.cursor, n = a->plan_list.count;
    if (by < 0 ? from == 0 : from + 1 >= n) return;
    size_t to = by < 0 ? from - 1 : from + 1;
    qs_tree_remember(&a->tree);
    bool ok = qs_session_plan_move(a->s, from, to, &e);
    after_edit(a, ok, &e, "moved");
    if (ok) qs_list_goto(&a->plan_list, to);
}

static void on_json(qs_app *a, qs_str json) {
    qs_err e = QS_ERR_INIT;
    qs_tree_remember(&a->tree);
    bool ok = qs_session_plan_edit(a->s, a->plan_list.cursor, json, &e);
    after_edit(a, ok, &e, "the action is replaced");
}

/* Off and on again is the same action in the same place. */
static void toggle_action(qs_app *a) {
    qs_err e = QS_ERR_INIT;
    qs_action copy = *qs_plan_action(qs_session_plan(a->s), a->plan_list.cursor);
    copy.off = !copy.off;
    qs_tree_remember(&a->tree);
    bool ok = qs_session_plan_replace(a->s, a->plan_list.cursor, &copy, &e);
    after_edit(a, ok, &e, copy.off ? "the action is off" : "the action is on again");
}

static void make_from(qs_app *a, qs_init_source source) {
    qs_err e = QS_ERR_INIT;
    qs_action copy = *qs_plan_action(qs_session_plan(a->s), a->plan_list.cursor);
    copy.source = source;
    qs_tree_remember(&a->tree);
    bool ok = qs_session_plan_replace(a->s, a->plan_list.cursor, &copy, &e);
    after_edit(a, ok, &e, "the values are made otherwise");
}

static void make_fresh(qs_app *a) {
    make_from(a, QS_INIT_FRESH);
}
static void make_observed(qs_app *a) {
    make_from(a, QS_INIT_OBSERVED);
}
static void make_datafree(qs_app *a) {
    make_from(a, QS_INIT_DATAFREE);
}

/* As the line of JSON it is in a plan file. */
static void edit_json(qs_app *a) {
    const qs_action *x = qs_plan_action(qs_session_plan(a->s), a->plan_list.cursor);
    qs_buf json = {0};
    if (!qs_action_print(x, &json))
        qs_app_complain(a, "out of memory");
    else if (json.n >= QS_LINE_MAX)
        qs_app_say(a, "it is too long for a line: save the plan with s, edit the file, load it with O");
    else
        qs_prompt_open(a, "action: ", qs_buf_str(&json), NULL, on_json);
    qs_buf_free(&json);
}

static void ask_for_source(qs_app *a, const qs_action *x) {
    qs_confirm_state *c = &a->confirm;
    *c = (qs_confirm_state){.title = "how the values are made",
                            .choices = QS_CONFIRM_MAX,
                            .choice = {{'f', "fresh: what torch itself holds in a new module", make_fresh},
                                       {'o', "observed: weights as their observer finds them", make_observed},
                                       {'d', "data-free: and activations from the BatchNorms", make_datafree},
                                       {'e', "edit the action as JSON", edit_json},
                                       {QS_KEY_ESC, "leave it as it is", NULL}}};
    qs_action_describe(x, c->text, sizeof c->text);
    qs_app_open(a, &qs_view_confirm);
}

/* A rule in its dialog, with its preview. */
static void edit_action(qs_app *a) {
    const qs_action *x = qs_plan_action(qs_session_plan(a->s), a->plan_list.cursor);
    if (x->kind == QS_ACT_RULE)
        qs_rule_edit(a, a->plan_list.cursor);
    else if (x->kind == QS_ACT_INIT)
        ask_for_source(a, x);
    else
        edit_json(a);
}

static bool plan_command(qs_app *a, qs_command c) {
    if (qs_list_command(&a->plan_list, c)) return true;
    bool any = a->plan_list.count > 0;
    switch (c) {
    case QS_CMD_PLAN_REMOVE:
        if (any) remove_action(a);
        return true;
    case QS_CMD_PLAN_TOGGLE:
        if (any) toggle_action(a);
        return true;
    case QS_CMD_PLAN_UP: return move_action(a, -1), true;
    case QS_CMD_PLAN_DOWN: return move_action(a, 1), true;
    case QS_CMD_PLAN_EDIT:
        if (any) edit_action(a);
        return true;
    case QS_CMD_PLAN_PYTHON: return qs_python_open(a), true;
    case QS_CMD_SAVE_PLAN: return qs_save_plan_open(a), true;
    case QS_CMD_LOAD_PLAN: return qs_load_plan_open(a), true;
    default: return false;
    }
}

static bool plan_event(qs_app *a, const qs_event *ev) {
    size_t i;
    if (ev->kind != QS_EVENT_MOUSE) return false;
    if (ev->mouse == QS_MOUSE_WHEEL_UP)
        qs_list_scroll(&a->plan_list, -3);
    else if (ev->mouse == QS_MOUSE_WHEEL_DOWN)
        qs_list_scroll(&a->plan_list, 3);
    else if (qs_list_at(&a->plan_list, ev->y - 2, &i))
        qs_list_goto(&a->plan_list, i);
    return true;
}

const qs_view qs_view_plan = {
    .name = "plan",
    .context = QS_CTX_PLAN,
    .draw = plan_draw,
    .layout = plan_layout,
    .event = plan_event,
    .command = plan_command,
};

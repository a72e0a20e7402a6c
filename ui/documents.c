#include "ui/app_impl.h"

#include <inttypes.h>

/* Another A, B, manifest or log in place of the one that is open; the plan stays if it applies. */

static const char *letter_of(qs_document what) {
    return what == QS_DOCUMENT_A ? "A" : what == QS_DOCUMENT_B ? "B" : "the model";
}

static void tell_checkpoint(qs_app *a, qs_document what) {
    const qs_checkpoint *c = what == QS_DOCUMENT_A ? qs_session_a(a->s) : qs_session_b(a->s);
    size_t actions = qs_plan_count(qs_session_plan(a->s));
    char plan[64] = "";
    qs_str root = qs_checkpoint_chosen_root(c)->path;
    if (actions)
        snprintf(plan, sizeof plan, "; the plan of %zu %s applies", actions,
                 qs_plural(actions, "action", "actions"));
    qs_app_say(a, "%s is %s: %u entries%s%.*s%s", letter_of(what), qs_checkpoint_path(c),
               qs_checkpoint_count(c), root.n ? " in " : "", QS_FMT(root), plan);
}

static void tell_log(qs_app *a, const qs_log_summary *l) {
    uint32_t contradicting = l->missing_but_there + l->unexpected_not_there + l->other_shape;
    if (contradicting)
        return qs_app_complain(
            a, "the log contradicts A in %u keys, %s among them: an older log, or another file?",
            contradicting, l->example);
    qs_app_say(a, "line %" PRIu64 " of the log: %s%s%u missing, %u unexpected, %u of another shape%s",
               l->line, l->model, l->model[0] ? ": " : "", l->missing, l->unexpected, l->mismatched,
               l->truncated ? "; the list is cut off" : "");
}

static void tell(qs_app *a, const qs_exchange *x, const qs_log_summary *log) {
    if (!x->path)
        qs_app_say(a, "%s is closed", letter_of(x->what));
    else if (x->what == QS_DOCUMENT_LOG)
        tell_log(a, log);
    else if (x->what == QS_DOCUMENT_MANIFEST)
        qs_app_say(a, "the model is %s: %u keys", x->path,
                   qs_compare_node(qs_session_compare(a->s), 0)->count_m);
    else
        tell_checkpoint(a, x->what);
}

static void exchange(qs_app *a, bool forget_plan);

static void without_plan(qs_app *a) {
    exchange(a, true);
}

static void ask_about_plan(qs_app *a, const qs_err *why) {
    size_t n = qs_plan_count(qs_session_plan(a->s));
    qs_confirm_state *c = &a->confirm;
    *c = (qs_confirm_state){.choices = 3};
    snprintf(c->title, sizeof c->title, "the plan does not apply");
    snprintf(c->text, sizeof c->text, "The plan has %zu %s. %.220s", n, qs_plural(n, "action", "actions"),
             why->msg);
    c->choice[0].key = 'e', c->choice[0].label = "open it with an empty plan",
    c->choice[0].run = without_plan;
    c->choice[1].key = 's', c->choice[1].label = "save the plan as JSON; nothing is opened",
    c->choice[1].run = qs_save_plan_open;
    c->choice[2].key = QS_KEY_ESC, c->choice[2].label = "leave all as it is";
    qs_app_open(a, &qs_view_confirm);
}

/* Nothing that was learned of the old document may be shown of the new one. */
static void forget_values(qs_app *a) {
    a->documents++;
    a->stats_n = a->stats_at = 0;
    a->made.row = NULL;
    a->numbers.n = a->numbers.at = 0;
    a->cost.row = NULL;
}

static void exchange(qs_app *a, bool forget_plan) {
    const qs_opening *o = &a->opening;
    qs_log_summary log = {0};
    qs_err e = QS_ERR_INIT;
    bool plan_fails;
    qs_progress p = qs_app_busy(a, "opening");
    qs_exchange x = {.what = o->what,
                     .path = o->path[0] ? o->path : NULL,
                     .root = o->has_root ? o->root : NULL,
                     .forget_plan = forget_plan,
                     .progress = &p};
    qs_tree_remember(&a->tree);
    if (!qs_session_exchange(a->s, &x, &log, &plan_fails, &e)) {
        if (plan_fails)
            ask_about_plan(a, &e);
        else
            qs_app_fail(a, &e);
        return;
    }
    forget_values(a);
    qs_app_refresh(a);
    tell(a, &x, &log);
}

/* What there is to take away. */
static bool is_open(const qs_app *a, qs_document what) {
    return what == QS_DOCUMENT_B ? qs_session_b(a->s) != NULL
                                 : qs_session_target(a->s) && !qs_session_target_is_b(a->s);
}

void qs_open_document(qs_app *a, qs_document what, qs_str path) {
    qs_opening *o = &a->opening;
    if (path.n == 0 && !is_open(a, what))
        return qs_app_say(a, "there is no %s to close", what == QS_DOCUMENT_B ? "B" : "manifest");
    *o = (qs_opening){.what = what};
    qs_path_expand(path, o->path, sizeof o->path);
    exchange(a, false);
}

void qs_open_root(qs_app *a, qs_document what, qs_str root) {
    const qs_checkpoint *c = what == QS_DOCUMENT_A ? qs_session_a(a->s) : qs_session_b(a->s);
    qs_opening *o = &a->opening;
    *o = (qs_opening){.what = what, .has_root = true};
    if (root.n >= sizeof o->root) return qs_app_complain(a, "the name of that state dict is too long");
    snprintf(o->path, sizeof o->path, "%s", qs_checkpoint_path(c));
    memcpy(o->root, root.p ? root.p : "", root.n);
    exchange(a, false);
}

static void on_path(qs_app *a, qs_str path) {
    if (path.n) qs_open_document(a, a->opening.what, path);
}

void qs_open_document_ask(qs_app *a, qs_document what) {
    static const char *const labels[] = {
        "open as A: ", "open as B: ", "open as the model: ", "training log: "};
    const char *path = qs_checkpoint_path(qs_session_a(a->s)), *slash = strrchr(path, '/');
    qs_str folder = {path, slash ? (size_t)(slash - path) + 1 : 0};
    a->opening.what = what;
    qs_prompt_open(a, labels[what], folder, &a->paths, on_path);
    a->prompt.completion.what = QS_ARG_PATH;
}

/* ---- the state dicts of A and B ---- */

static uint32_t roots_of(const qs_checkpoint *c) {
    return c ? qs_checkpoint_root_count(c) : 0;
}

/* The checkpoint and root a line stands for. */
static const qs_root *root_at(const qs_app *a, size_t i, qs_document *what) {
    uint32_t of_a = roots_of(qs_session_a(a->s));
    *what = i < of_a ? QS_DOCUMENT_A : QS_DOCUMENT_B;
    const qs_checkpoint *c = *what == QS_DOCUMENT_A ? qs_session_a(a->s) : qs_session_b(a->s);
    return qs_checkpoint_root(c, (uint32_t)i - (*what == QS_DOCUMENT_A ? 0 : of_a));
}

static void roots_layout(qs_app *a) {
    size_t n = roots_of(qs_session_a(a->s)) + roots_of(qs_session_b(a->s));
    int rows = a->h - 8;
    qs_list_resize(&a->roots.list, n, rows < 1 ? 1 : rows > 14 ? 14 : (size_t)rows);
}

void qs_roots_open(qs_app *a) {
    const qs_checkpoint *c = qs_session_a(a->s);
    a->roots.list = (qs_list){0};
    qs_app_open(a, &qs_view_roots);
    for (uint32_t i = 0; i < roots_of(c); i++)
        if (qs_checkpoint_root(c, i) == qs_checkpoint_chosen_root(c)) qs_list_goto(&a->roots.list, i);
}

static void draw_root(const qs_app *a, qs_pane p, int y, size_t i) {
    qs_document what;
    const qs_root *root = root_at(a, i, &what);
    const qs_checkpoint *c = what == QS_DOCUMENT_A ? qs_session_a(a->s) : qs_session_b(a->s);
    bool chosen = root == qs_checkpoint_chosen_root(c);
    char kind[160], tensors[40];
    if (root->kind == QS_ROOT_MODULE)
        snprintf(kind, sizeof kind, "module %.*s", QS_FMT(qs_str_leaf(root->class_name)));
    else
        snprintf(kind, sizeof kind, "%s", qs_root_kind_name(root->kind));
    snprintf(tensors, sizeof tensors, "%u %s", root->entries, qs_plural(root->entries, "tensor", "tensors"));
    int end = qs_draw_right(p, p.w - 1, y, QS_PEN(NORMAL), qs_str_of(tensors));
    qs_drawf(p, 0, y, QS_PEN(KEY), "%s  %s", letter_of(what), chosen ? "(•)" : "( )");
    qs_draw_fit(p, 8, y, p.w / 2 - 8, chosen ? QS_PEN(STRONG) : QS_PEN(NORMAL),
                root->path.n ? root->path : QS_STR("(the top level)"), true);
    qs_draw_fit(p, p.w / 2 + 1, y, end - p.w / 2 - 3, QS_PEN(CLASS), qs_str_of(kind), false);
    if (i == a->roots.list.cursor) qs_pane_select(p, y);
    qs_pane_spot(p, 0, y, p.w, (int)i);
}

static void roots_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter", "take it", "Esc", "leave", NULL};
    int rows = (int)(a->roots.list.count < a->roots.list.height ? a->roots.list.count : a->roots.list.height);
    qs_pane p = qs_dialog_box(a, g, 90, rows + 4, "which state dict", "");
    size_t i;
    for (int y = 0; y < rows && qs_list_at(&a->roots.list, y, &i); y++) draw_root(a, p, y, i);
    qs_dialog_hints(p, p.h - 1, hints);
}

static bool roots_event(qs_app *a, const qs_event *ev) {
    if (ev->kind != QS_EVENT_KEY || (ev->key != 'j' && ev->key != 'k')) return false;
    qs_list_move(&a->roots.list, ev->key == 'j' ? 1 : -1);
    return true;
}

static bool roots_command(qs_app *a, qs_command c) {
    qs_document what;
    switch (c) {
    case QS_CMD_DIALOG_UP:
    case QS_CMD_DIALOG_PREV: return qs_list_move(&a->roots.list, -1), true;
    case QS_CMD_DIALOG_DOWN:
    case QS_CMD_DIALOG_NEXT: return qs_list_move(&a->roots.list, 1), true;
    case QS_CMD_DIALOG_OK: {
        const qs_root *root = root_at(a, a->roots.list.cursor, &what);
        qs_app_close(a);
        return qs_open_root(a, what, root->path), true;
    }
    default: return false;
    }
}

static void roots_pick(qs_app *a, int what, bool twice) {
    qs_list_goto(&a->roots.list, (size_t)what);
    if (twice) roots_command(a, QS_CMD_DIALOG_OK);
}

const qs_view qs_view_roots = {
    .name = "roots",
    .context = QS_CTX_DIALOG,
    .draw = roots_draw,
    .layout = roots_layout,
    .event = roots_event,
    .command = roots_command,
    .pick = roots_pick,
};

#include "ui/app_impl.h"

static const char *const kind_names[] = {"prefix", "glob", "regex"};
static const char *const kind_help[] = {"the text a key begins with is replaced",
                                        "* within a component, ** across; captures are $1 $2 in order",
                                        "matches the whole key; $1 or ${name} in the replacement"};

enum { SPOT_PATTERN = 3 }; /* and the replacement; below: kinds */

static qs_action rule_of(const qs_rule_state *r) {
    return (qs_action){.kind = QS_ACT_RULE,
                       .pattern_kind = r->kind,
                       .pattern = qs_line_text(&r->pattern),
                       .replacement = qs_line_text(&r->replacement),
                       .bn_eps = __builtin_nan("")};
}

/* While a rule of the plan is edited its own renames are in force: what is previewed would be what is left.
 */
static bool previews(const qs_rule_state *r) {
    return r->replaces == SIZE_MAX && r->pattern.n > 0;
}

static void preview(qs_app *a) {
    qs_rule_state *r = &a->rule;
    qs_err e = QS_ERR_INIT;
    qs_arena_free(&r->arena);
    r->shown = r->total = r->collisions = 0;
    r->problem[0] = 0;
    if (!previews(r)) return;
    qs_action rule = rule_of(r);
    if (!qs_session_preview_rule(a->s, &rule, &r->arena, r->pair, r->collides, QS_CANDIDATES_MAX, &r->total,
                                 &r->collisions, &e)) {
        snprintf(r->problem, sizeof r->problem, "%.190s", e.msg);
        r->total = 0;
    }
    r->shown = r->total < QS_CANDIDATES_MAX ? r->total : QS_CANDIDATES_MAX;
}

static void open_rule(qs_app *a, qs_pattern_kind kind, qs_str pattern, qs_str replacement, size_t replaces) {
    qs_rule_state *r = &a->rule;
    r->kind = kind;
    r->field = 1;
    r->completion = (qs_completion){.what = QS_ARG_KEY};
    r->replaces = replaces;
    r->pattern.history = r->replacement.history = &a->rules;
    qs_line_set(&r->pattern, pattern);
    qs_line_set(&r->replacement, replacement);
    preview(a);
    qs_app_open(a, &qs_view_rule);
}

/* A rule of the repair the diagnosis proposes: better than a line of which A holds nothing. */
static const qs_action *advised_rule(const qs_app *a) {
    const qs_diagnosis *d = a->diagnosis;
    for (size_t i = 0; d && i < d->action_count; i++)
        if (d->actions[i].kind == QS_ACT_RULE) return &d->actions[i];
    return NULL;
}

void qs_rule_open(qs_app *a) {
    char prefix[QS_LINE_MAX] = "";
    uint32_t node = qs_tree_selected(&a->tree);
    if (node == QS_NO_INDEX) return;
    const qs_tree_node *n = qs_compare_node(a->tree.c, node);
    const qs_action *advised = n->count_a ? NULL : advised_rule(a);
    if (advised) return open_rule(a, advised->pattern_kind, advised->pattern, advised->replacement, SIZE_MAX);
    qs_str path = n->row == QS_NO_INDEX ? n->path : qs_str_parent(n->path);
    if (path.n && path.n + 2 < sizeof prefix) snprintf(prefix, sizeof prefix, "%.*s.", QS_FMT(path));
    open_rule(a, QS_PATTERN_PREFIX, qs_str_of(prefix), qs_str_of(prefix), SIZE_MAX);
}

void qs_rule_edit(qs_app *a, size_t action) {
    const qs_action *x = qs_plan_action(qs_session_plan(a->s), action);
    open_rule(a, x->pattern_kind, x->pattern, x->replacement, action);
}

/* ---- drawing ---- */

static void draw_pair(const qs_rule_state *r, qs_pane p, int y, size_t i) {
    int half = (p.w - 6) / 2;
    qs_pen pen = r->collides[i] ? QS_PEN(ERROR) : QS_PEN(NORMAL);
    qs_drawz(p, 0, y, r->collides[i] ? QS_PEN(FATAL) : QS_PEN(DIM), r->collides[i] ? "‼" : " ");
    qs_draw_fit(p, 2, y, half, pen, r->pair[i].from, true);
    qs_drawz(p, half + 3, y, QS_PEN(RENAMED), "→");
    qs_draw_fit(p, half + 5, y, p.w - half - 5, pen, r->pair[i].to, true);
}

static void draw_summary(const qs_rule_state *r, qs_pane p, int y) {
    if (r->problem[0]) {
        qs_draw_fit(p, 0, y, p.w, QS_PEN(ERROR), qs_str_of(r->problem), false);
    } else if (r->replaces != SIZE_MAX) {
        qs_drawf(p, 0, y, QS_PEN(DIM), "takes the place of action %zu", r->replaces + 1);
    } else if (r->collisions) {
        qs_drawf(p, 0, y, QS_PEN(ERROR), " %zu renames, %zu collide: two keys would have one name ", r->total,
                 r->collisions);
    } else {
        int x =
            qs_drawf(p, 0, y, QS_PEN(STRONG), "%zu %s", r->total, qs_plural(r->total, "rename", "renames"));
        qs_drawz(p, x, y, QS_PEN(NORMAL), ", 0 collisions");
    }
}

static void rule_draw(const qs_app *a, qs_grid *g) {
    const qs_rule_state *r = &a->rule;
    const char *sideways = r->field ? "→" : "←→", *what = r->field ? "at the end completes" : "kind";
    const char *hints[] = {"Enter", "apply", "Tab", "next field", sideways, what, "Esc", "leave", NULL};
    int list = g->h - 14 < 3 ? 3 : g->h - 14 > 16 ? 16 : g->h - 14;
    qs_pane p =
        qs_dialog_box(a, g, 110, list + 9, r->replaces == SIZE_MAX ? "rename by rule" : "edit the rule", "");
    qs_drawz(p, 0, 0, QS_PEN(KEY), "kind");
    qs_choice kinds[3];
    for (int k = 0; k < 3; k++) kinds[k] = (qs_choice){kind_names[k], k, (int)r->kind == k};
    qs_dialog_choices(p, 12, 0, kinds, 3, r->field == 0);
    qs_draw_clip(p, 12, 1, QS_PEN(DIM), kind_help[r->kind]);
    qs_drawz(p, 0, 2, QS_PEN(KEY), "pattern");
    qs_line_draw(&r->pattern, p, 12, 2, p.w - 12, r->field == 1);
    qs_drawz(p, 0, 3, QS_PEN(KEY), "becomes");
    qs_line_draw(&r->replacement, p, 12, 3, p.w - 12, r->field == 2);
    qs_pane_spot(p, 0, 2, p.w, SPOT_PATTERN);
    qs_pane_spot(p, 0, 3, p.w, SPOT_PATTERN + 1);
    draw_summary(r, p, 5);
    qs_pane lines = qs_pane_sub(p, 0, 6, p.w, p.h - 7);
    for (size_t i = 0; i < r->shown && (int)i < lines.h; i++) draw_pair(r, lines, (int)i, i);
    qs_completion_draw(&r->completion, lines);
    qs_dialog_hints(p, p.h - 1, hints);
}

/* ---- keys ---- */

/* Right at the end of the line: names of the tree, the text they share first, then one after the other. */
static bool complete(qs_app *a, qs_line *l, const qs_event *ev) {
    qs_completion *c = &a->rule.completion;
    if (ev->kind != QS_EVENT_KEY || ev->key != QS_KEY_RIGHT || l->cursor != l->n) {
        qs_completion_clear(c);
        return false;
    }
    qs_complete(a, c, l, 1);
    return true;
}

static bool rule_event(qs_app *a, const qs_event *ev) {
    qs_rule_state *r = &a->rule;
    bool changed = false, used = false;
    qs_line *line = r->field == 1 ? &r->pattern : &r->replacement;
    if (r->field == 0 && ev->kind == QS_EVENT_KEY) {
        int step = ev->key == QS_KEY_RIGHT || ev->key == ' ' ? 1 : ev->key == QS_KEY_LEFT ? 2 : 0;
        if (step) r->kind = (qs_pattern_kind)(((int)r->kind + step) % 3);
        changed = used = step != 0;
    } else if (r->field) {
        used = changed = complete(a, line, ev);
        if (!used) used = qs_line_edit(line, ev, &changed);
    }
    if (changed) preview(a);
    return used;
}

static bool replace_action(qs_app *a, const qs_action *rule) {
    qs_err e = QS_ERR_INIT;
    qs_tree_remember(&a->tree);
    if (!qs_session_plan_replace(a->s, a->rule.replaces, rule, &e)) return qs_app_fail(a, &e), false;
    qs_app_refresh(a);
    qs_app_say(a, "the rule is replaced; u undoes");
    return true;
}

static void accept(qs_app *a) {
    qs_rule_state *r = &a->rule;
    qs_action rule = rule_of(r);
    if (r->problem[0]) return;
    if (r->pattern.n == 0) {
        snprintf(r->problem, sizeof r->problem, "give a pattern");
        return;
    }
    if (previews(r) && r->total == 0) {
        snprintf(r->problem, sizeof r->problem, "no key of A changes its name by this");
        return;
    }
    qs_history_add(&a->rules, rule.pattern);
    qs_history_add(&a->rules, rule.replacement);
    if (r->replaces == SIZE_MAX ? qs_app_do(a, &rule, "renamed") : replace_action(a, &rule)) {
        qs_app_close(a);
        return;
    }
    snprintf(r->problem, sizeof r->problem, "%.190s", a->message.text);
    a->message.text[0] = 0;
}

static void go_to_field(qs_rule_state *r, int field) {
    r->field = field % 3;
    qs_completion_clear(&r->completion);
}

static bool rule_command(qs_app *a, qs_command c) {
    qs_rule_state *r = &a->rule;
    switch (c) {
    case QS_CMD_DIALOG_NEXT: return go_to_field(r, r->field + 1), true;
    case QS_CMD_DIALOG_PREV: return go_to_field(r, r->field + 2), true;
    case QS_CMD_DIALOG_OK: return accept(a), true;
    default: return false;
    }
}

static void rule_pick(qs_app *a, int what, bool twice) {
    (void)twice;
    go_to_field(&a->rule, what < SPOT_PATTERN ? 0 : what - SPOT_PATTERN + 1);
    if (what >= SPOT_PATTERN) return;
    a->rule.kind = (qs_pattern_kind)what;
    preview(a);
}

static void rule_close(qs_app *a) {
    qs_completion_clear(&a->rule.completion);
    qs_arena_free(&a->rule.arena);
}

static void rule_layout(qs_app *a) {
    if (a->rule.pattern.n && a->rule.shown) preview(a); /* the pairs borrow names from the session */
}

const qs_view qs_view_rule = {
    .name = "rule",
    .context = QS_CTX_DIALOG,
    .draw = rule_draw,
    .layout = rule_layout,
    .event = rule_event,
    .command = rule_command,
    .pick = rule_pick,
    .close = rule_close,
};

#include "ui/app_impl.h"

bool qs_list_command(qs_list *l, qs_command c) {
    switch (c) {
    case QS_CMD_UP: qs_list_move(l, -1); return true;
    case QS_CMD_DOWN: qs_list_move(l, 1); return true;
    case QS_CMD_PAGE_UP: qs_list_page(l, -2); return true;
    case QS_CMD_PAGE_DOWN: qs_list_page(l, 2); return true;
    case QS_CMD_HALF_UP: qs_list_page(l, -1); return true;
    case QS_CMD_HALF_DOWN: qs_list_page(l, 1); return true;
    case QS_CMD_FIRST: qs_list_goto(l, 0); return true;
    case QS_CMD_LAST: qs_list_goto(l, l->count ? l->count - 1 : 0); return true;
    default: return false;
    }
}

static void seek(qs_app *a, uint8_t flag, int dir, const char *none) {
    bool wrapped;
    if (!qs_tree_seek(&a->tree, flag, dir, &wrapped))
        qs_app_say(a, "%s", none);
    else if (wrapped)
        qs_app_say(a, dir > 0 ? "passed the end, on from the top" : "passed the top, on from the end");
}

/* Where nothing keeps A from loading, what makes it fail in forward is the problem to go to. */
static bool seek_forward(qs_app *a, int dir) {
    const qs_verdict *v = qs_session_verdict(a->s);
    const qs_compare *c = a->tree.c;
    uint32_t at = qs_tree_selected_row(&a->tree);
    const qs_finding *best = NULL, *first = NULL;
    for (size_t i = 0; v && c && i < qs_verdict_count(v); i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        if (f->kind != QS_FIND_FORWARD || qs_compare_find(c, f->key) == QS_NO_INDEX) continue;
        uint32_t row = qs_compare_find(c, f->key);
        if (!first || dir < 0) first = f; /* where to begin anew */
        bool past = at != QS_NO_INDEX && (dir > 0 ? row > at : row < at);
        if (past && (!best || dir < 0)) best = f;
    }
    const qs_finding *f = best ? best : first;
    if (!f || !qs_tree_reveal(&a->tree, qs_compare_row(c, qs_compare_find(c, f->key))->tree)) return false;
    qs_app_say(a, "%s", f->note);
    return true;
}

static void seek_problem(qs_app *a, int dir) {
    const qs_verdict *v = qs_session_verdict(a->s);
    if (!v || !qs_verdict_loads(v) || !seek_forward(a, dir))
        seek(a, QS_KEY_PROBLEM, dir, "there is no problem");
}

void qs_search_for(qs_app *a, qs_str text) {
    bool wrapped;
    if (!qs_tree_search(&a->tree, text)) return qs_app_complain(a, "out of memory");
    if (text.n == 0) return;
    const char *plain =
        qs_search_is_plain(a->tree.search) ? " (as plain text: it is no regular expression)" : "";
    if (a->tree.hits == 0)
        return qs_app_complain(a, "no key matches \"%.*s\"%s%s", QS_FMT(text),
                               qs_tree_filtered(&a->tree) ? " among those the filter shows" : "", plain);
    uint32_t row = qs_tree_selected_row(&a->tree);
    if (row == QS_NO_INDEX || !qs_tree_row_has(&a->tree, row, QS_KEY_HIT))
        qs_tree_seek(&a->tree, QS_KEY_HIT, 1, &wrapped);
    qs_app_say(a, "%u %s; n and N go on%s", a->tree.hits, qs_plural(a->tree.hits, "key", "keys"), plain);
}

void qs_save_plan_as(qs_app *a, qs_str typed) {
    char path[QS_LINE_MAX];
    qs_err e = QS_ERR_INIT;
    if (a->opt.read_only) return qs_app_say(a, "read-only: nothing is written");
    if (typed.n == 0) return;
    qs_path_expand(typed, path, sizeof path);
    if (qs_session_save_plan(a->s, path, &e))
        qs_app_say(a, "the plan is saved as %s", path);
    else
        qs_app_fail(a, &e);
}

void qs_load_plan_from(qs_app *a, qs_str typed) {
    char path[QS_LINE_MAX];
    qs_err e = QS_ERR_INIT;
    if (typed.n == 0) return;
    qs_path_expand(typed, path, sizeof path);
    qs_tree_remember(&a->tree);
    if (!qs_session_load_plan(a->s, path, &e)) return qs_app_fail(a, &e);
    qs_app_refresh(a);
    qs_app_say(a, "the plan now has %zu actions; u undoes", qs_plan_count(qs_session_plan(a->s)));
}

static void reset(qs_app *a) {
    qs_tree *t = &a->tree;
    bool ok = true;
    if (t->ranging) {
        t->ranging = false;
    } else if (t->search) {
        ok = qs_tree_search(t, QS_STR(""));
    } else if (t->marked) {
        ok = qs_tree_unmark_all(t);
    } else if (qs_tree_filtered(t)) {
        t->filter = QS_TREE_FILTER_ALL;
        ok = qs_tree_filter_by(t, QS_STR(""));
    } else {
        qs_app_say(a, "q quits");
    }
    if (!ok) qs_app_complain(a, "out of memory");
}

static bool toggle_hidden(qs_app *a) {
    uint32_t fine = 0;
    for (int s = 0; s < QS_STATUS_COUNT; s++)
        if (!qs_status_get((qs_status)s)->problem) fine |= 1u << s;
    qs_tree_filter *f = &a->tree.filter;
    f->statuses = f->statuses & fine ? f->statuses & ~fine : UINT32_MAX;
    bool ok = qs_tree_refilter(&a->tree);
    qs_app_say(a, f->statuses & fine ? "all keys are shown" : "keys that are fine are hidden; = shows them");
    return ok;
}

static void enter(qs_app *a) {
    uint32_t node = qs_tree_selected(&a->tree);
    if (node == QS_NO_INDEX) return;
    if (qs_tree_is_module(&a->tree, node))
        qs_tree_set_open(&a->tree, a->tree.list.cursor, !a->tree.open[node]);
    else
        qs_details_full(a);
}

static void close_or_parent(qs_app *a) {
    uint32_t node = qs_tree_selected(&a->tree);
    if (node == QS_NO_INDEX) return;
    if (qs_tree_is_module(&a->tree, node) && a->tree.open[node] && !a->tree.flat)
        qs_tree_set_open(&a->tree, a->tree.list.cursor, false);
    else
        qs_tree_to_parent(&a->tree);
}

static void open_or_enter(qs_app *a) {
    uint32_t node = qs_tree_selected(&a->tree);
    if (node == QS_NO_INDEX || !qs_tree_is_module(&a->tree, node)) return;
    if (a->tree.open[node])
        qs_list_move(&a->tree.list, 1);
    else
        qs_tree_set_open(&a->tree, a->tree.list.cursor, true);
}

static void tell_marks(qs_app *a) {
    if (a->tree.marked) qs_app_say(a, "%u marked: m i c d act on them; Esc unmarks", a->tree.marked);
}

/* What acts on marks acts on the range that is being drawn; true if there was one. */
static bool take_range(qs_app *a) {
    if (!a->tree.ranging) return false;
    if (!qs_tree_mark_range(&a->tree)) qs_app_complain(a, "out of memory");
    tell_marks(a);
    return true;
}

static void range(qs_app *a) {
    if (take_range(a)) return;
    qs_tree_begin_range(&a->tree);
    qs_app_say(a, "a range begins: move, then m i c d act on it; Space marks it, Esc forgets it");
}

static void depth(qs_app *a) {
    uint32_t levels = a->key >= '1' && a->key <= '9' ? a->key - '0' : 2;
    if (!qs_tree_set_depth(&a->tree, levels)) qs_app_complain(a, "out of memory");
}

static void to_sibling(qs_app *a, int dir) {
    if (!qs_tree_to_sibling(&a->tree, dir))
        qs_app_say(a, dir > 0 ? "this is the last one here" : "this is the first one here");
}

static void mark(qs_app *a, bool all) {
    uint32_t node = all ? 0 : qs_tree_selected(&a->tree);
    if (node == QS_NO_INDEX || !a->tree.c) return;
    if (!qs_tree_toggle_mark(&a->tree, node)) return qs_app_complain(a, "out of memory");
    if (!all) qs_list_move(&a->tree.list, 1);
    tell_marks(a);
}

/* Folding, order and filter; false if c is none of them. */
static bool shape_command(qs_app *a, qs_command c) {
    qs_tree *t = &a->tree;
    bool ok = true;
    switch (c) {
    case QS_CMD_TOGGLE: enter(a); break;
    case QS_CMD_CLOSE_FOLD: close_or_parent(a); break;
    case QS_CMD_OPEN_FOLD: open_or_enter(a); break;
    case QS_CMD_OPEN_BELOW: ok = qs_tree_set_open_below(t, true); break;
    case QS_CMD_CLOSE_BELOW: ok = qs_tree_set_open_below(t, false); break;
    case QS_CMD_OPEN_ALL: ok = qs_tree_set_open_all(t, true); break;
    case QS_CMD_CLOSE_ALL: ok = qs_tree_set_open_all(t, false); break;
    case QS_CMD_HIDE_EQUAL: ok = toggle_hidden(a); break;
    case QS_CMD_FLAT: ok = qs_tree_set_order(t, !t->flat, t->sort); break;
    case QS_CMD_SORT:
        ok = qs_tree_set_order(t, t->flat, (t->sort + 1) % QS_SORT_COUNT);
        qs_app_say(a, "order: %s", qs_sort_name(t->sort));
        break;
    case QS_CMD_FILTER: qs_filter_open(a); break;
    case QS_CMD_RESET: reset(a); break;
    case QS_CMD_MARK:
        if (!take_range(a)) mark(a, false);
        break;
    case QS_CMD_RANGE: range(a); break;
    case QS_CMD_DEPTH: depth(a); break;
    case QS_CMD_NEXT_SIBLING: to_sibling(a, 1); break;
    case QS_CMD_PREV_SIBLING: to_sibling(a, -1); break;
    case QS_CMD_MARK_ALL: mark(a, true); break;
    default: return false;
    }
    if (!ok) qs_app_complain(a, "out of memory");
    return true;
}

void qs_save_plan_open(qs_app *a) {
    if (a->opt.read_only) return qs_app_say(a, "read-only: nothing is written");
    if (qs_plan_count(qs_session_plan(a->s)) == 0) return qs_app_say(a, "the plan is empty");
    qs_prompt_open(a, "save the plan as: ", QS_STR("plan.json"), &a->paths, qs_save_plan_as);
    a->prompt.completion.what = QS_ARG_PATH;
}

void qs_load_plan_open(qs_app *a) {
    qs_prompt_open(a, "add the plan in: ", QS_STR(""), &a->paths, qs_load_plan_from);
    a->prompt.completion.what = QS_ARG_PATH;
}

static bool tree_command(qs_app *a, qs_command c) {
    if (qs_list_command(&a->tree.list, c) || shape_command(a, c)) return true;
    if (c == QS_CMD_MAP || c == QS_CMD_INIT || c == QS_CMD_COPY || c == QS_CMD_DROP || c == QS_CMD_CAST ||
        c == QS_CMD_RESHAPE)
        take_range(a);
    switch (c) {
    case QS_CMD_PARENT: qs_tree_to_parent(&a->tree); break;
    case QS_CMD_NEXT_PROBLEM: seek_problem(a, 1); break;
    case QS_CMD_PREV_PROBLEM: seek_problem(a, -1); break;
    case QS_CMD_SEARCH: qs_prompt_open(a, "/", QS_STR(""), &a->searches, qs_search_for); break;
    case QS_CMD_NEXT: seek(a, QS_KEY_HIT, 1, "nothing was searched for, or found; / searches"); break;
    case QS_CMD_PREV: seek(a, QS_KEY_HIT, -1, "nothing was searched for, or found; / searches"); break;
    case QS_CMD_COMMAND: qs_command_line_open(a); break;
    case QS_CMD_GO: qs_go_to_ask(a); break;
    case QS_CMD_FIX: qs_fix_open(a); break;
    case QS_CMD_MAP: qs_map_open(a); break;
    case QS_CMD_BIND: qs_bind_open(a); break;
    case QS_CMD_RULE: qs_rule_open(a); break;
    case QS_CMD_INIT: qs_init_open(a); break;
    case QS_CMD_COPY: qs_app_copy(a); break;
    case QS_CMD_DROP: qs_app_drop(a); break;
    case QS_CMD_PLAN: qs_plan_open(a); break;
    case QS_CMD_VERDICT: qs_message_open(a); break;
    case QS_CMD_WHY: qs_why_open(a); break;
    case QS_CMD_CAST: qs_app_convert(a, QS_ACT_CAST, QS_STR("")); break;
    case QS_CMD_RESHAPE: qs_app_convert(a, QS_ACT_RESHAPE, QS_STR("")); break;
    case QS_CMD_VERSIONS: qs_app_versions(a); break;
    case QS_CMD_VALUES: qs_values_open_row(a); break;
    case QS_CMD_ABOUT: qs_about_open(a); break;
    case QS_CMD_CONTENTS: qs_contents_open(a); break;
    case QS_CMD_ERRORS: qs_errors_open(a); break;
    case QS_CMD_EXPLAIN: qs_explain_open(a); break;
    case QS_CMD_TRACE: qs_trace_open(a); break;
    case QS_CMD_SEE: qs_see_view_open(a); break;
    case QS_CMD_LESSONS: qs_lessons_view_open(a); break;
    case QS_CMD_SAVE_PLAN: qs_save_plan_open(a); break;
    case QS_CMD_LOAD_PLAN: qs_load_plan_open(a); break;
    case QS_CMD_THEME: qs_set_theme(a, QS_STR("")); break;
    case QS_CMD_ROOTS: qs_roots_open(a); break;
    case QS_CMD_OPEN_A: qs_open_document_ask(a, QS_DOCUMENT_A); break;
    case QS_CMD_OPEN_B: qs_open_document_ask(a, QS_DOCUMENT_B); break;
    case QS_CMD_OPEN_MODEL: qs_open_document_ask(a, QS_DOCUMENT_MANIFEST); break;
    case QS_CMD_LOG: qs_open_document_ask(a, QS_DOCUMENT_LOG); break;
    case QS_CMD_CLOSE_B: qs_open_document(a, QS_DOCUMENT_B, QS_STR("")); break;
    case QS_CMD_CLOSE_MODEL: qs_open_document(a, QS_DOCUMENT_MANIFEST, QS_STR("")); break;
    case QS_CMD_QUIT: qs_quit(a); break;
    default: return false;
    }
    return true;
}

static void click_row(qs_app *a, const qs_event *ev) {
    size_t i;
    if (!qs_list_at(&a->tree.list, ev->y - a->layout.tree_y, &i)) return;
    const qs_tree_line *line = &a->tree.line.v[i];
    int fold = qs_tree_indent(a, line);
    qs_list_goto(&a->tree.list, i);
    bool on_fold = ev->x >= fold && ev->x < fold + 2 && qs_tree_is_module(&a->tree, line->node);
    if (on_fold || ev->mouse == QS_MOUSE_DOUBLE) enter(a);
}

static bool tree_event(qs_app *a, const qs_event *ev) {
    if (a->layout.tiny && ev->kind != QS_EVENT_KEY) return true;
    if (ev->kind != QS_EVENT_MOUSE) return false;
    if (ev->mouse == QS_MOUSE_WHEEL_UP)
        qs_list_scroll(&a->tree.list, -3);
    else if (ev->mouse == QS_MOUSE_WHEEL_DOWN)
        qs_list_scroll(&a->tree.list, 3);
    else if (ev->y == 0)
        qs_message_open(a);
    else if (ev->y == 1 && ev->x > a->w - 20)
        qs_plan_open(a);
    else if (ev->y == a->layout.diagnosis_y)
        qs_fix_open(a);
    else
        click_row(a, ev);
    return true;
}

const qs_view qs_view_tree = {
    .name = "tree",
    .context = QS_CTX_TREE,
    .draw = qs_tree_draw,
    .layout = qs_tree_layout,
    .event = tree_event,
    .command = tree_command,
};

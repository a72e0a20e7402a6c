#include "ui/app_impl.h"

/* What a command does with the text after its name. */

static void go_to(qs_app *a, qs_str name) {
    const qs_compare *c = a->tree.c;
    if (!c) return;
    if (name.n && name.p[name.n - 1] == '.') name.n--; /* as Tab completes a module */
    uint32_t row = qs_compare_find(c, name), node = qs_compare_find_module(c, name);
    if (row != QS_NO_INDEX) node = qs_compare_row(c, row)->tree;
    if (node == QS_NO_INDEX || node == 0)
        return qs_app_complain(a, "there is no key or module \"%.*s\"", QS_FMT(name));
    if (!qs_tree_reveal(&a->tree, node)) return qs_app_complain(a, "out of memory");
    if (qs_tree_selected(&a->tree) != node)
        qs_app_say(a, "the filter hides \"%.*s\"; Esc forgets it", QS_FMT(name));
}

void qs_go_to_ask(qs_app *a) {
    qs_prompt_open(a, "go to: ", QS_STR(""), &a->searches, go_to);
    a->prompt.completion.what = QS_ARG_KEY;
}

static void sort_by(qs_app *a, qs_str word) {
    for (qs_sort s = 0; s < QS_SORT_COUNT; s++)
        if (qs_str_is(word, qs_sort_word(s))) {
            if (!qs_tree_set_order(&a->tree, a->tree.flat, s)) return qs_app_complain(a, "out of memory");
            return qs_app_say(a, "order: %s", qs_sort_name(s));
        }
    qs_app_complain(a, "there is no order \"%.*s\"; Tab lists them", QS_FMT(word));
}

static void open_depth(qs_app *a, qs_str levels) {
    if (levels.n != 1 || levels.p[0] < '1' || levels.p[0] > '9')
        return qs_app_complain(a, "give a number of levels, 1 to 9");
    if (!qs_tree_set_depth(&a->tree, (uint32_t)(levels.p[0] - '0'))) qs_app_complain(a, "out of memory");
}

static void filter_by(qs_app *a, qs_str pattern) {
    if (!qs_tree_filter_by(&a->tree, pattern)) return qs_app_complain(a, "out of memory");
    qs_app_say(a, "%u shown; Esc shows all", a->tree.shown_leaves);
}

void qs_app_command_with(qs_app *a, qs_command c, qs_str argument) {
    if (argument.n == 0) return qs_app_command(a, c);
    switch (c) {
    case QS_CMD_GO: return go_to(a, argument);
    case QS_CMD_SEARCH: return qs_search_for(a, argument);
    case QS_CMD_FILTER: return filter_by(a, argument);
    case QS_CMD_DEPTH: return open_depth(a, argument);
    case QS_CMD_SORT: return sort_by(a, argument);
    case QS_CMD_CAST: return qs_app_convert(a, QS_ACT_CAST, argument);
    case QS_CMD_RESHAPE: return qs_app_convert(a, QS_ACT_RESHAPE, argument);
    case QS_CMD_THEME: return qs_set_theme(a, argument);
    case QS_CMD_ROOTS: return qs_open_root(a, QS_DOCUMENT_A, argument);
    case QS_CMD_OPEN_A: return qs_open_document(a, QS_DOCUMENT_A, argument);
    case QS_CMD_OPEN_B: return qs_open_document(a, QS_DOCUMENT_B, argument);
    case QS_CMD_OPEN_MODEL: return qs_open_document(a, QS_DOCUMENT_MANIFEST, argument);
    case QS_CMD_LOG: return qs_open_document(a, QS_DOCUMENT_LOG, argument);
    case QS_CMD_WRITE: return qs_save_open_as(a, argument);
    case QS_CMD_SAVE_PLAN: return qs_save_plan_as(a, argument);
    case QS_CMD_LOAD_PLAN: return qs_load_plan_from(a, argument);
    default: qs_app_complain(a, ":%s takes nothing after its name", qs_command_get(c)->name);
    }
}

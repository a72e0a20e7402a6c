#include "ui/app_impl.h"

#include "session_preview.h"

#include <stdlib.h>

enum { BLOCKS_MAX = 4096, KINDS_MAX = 16 };

static const struct {
    qs_init_source source;
    const char *name, *help;
} sources[] = {{QS_INIT_FRESH, "fresh", "what torch itself holds in a new module"},
               {QS_INIT_OBSERVED, "observed", "weights: as their observer finds them; activations: fresh"},
               {QS_INIT_DATAFREE, "data-free", "as observed, and activations from the BatchNorms"},
               {QS_INIT_COPY, "copy from B", "the values B holds under the same names"}};
enum { SOURCES = sizeof sources / sizeof *sources };

/* ---- scopes ---- */

/* What INIT would fill: the model expects it, the result lacks it. Keys torch would tolerate to be without
 * are among them; the count of problems is smaller. */
static bool lacks(const qs_row *row) {
    return row->m != QS_NO_INDEX && row->r == QS_NO_INDEX;
}

/* It is lacking only because A has it under another name: made anew, its trained values would be lost. */
static bool has_twin(const qs_app *a, uint32_t row) {
    uint32_t i = a->matches ? qs_matches_of_row(a->matches, row) : QS_NO_INDEX;
    return i != QS_NO_INDEX && qs_matches_get(a->matches, i)->confidence >= 0.5;
}

typedef struct tally {
    uint32_t all, twins, quantizers;
} tally;

static void count(const qs_app *a, uint32_t i, tally *t) {
    const qs_row *row = qs_compare_row(a->tree.c, i);
    if (!lacks(row)) return;
    t->all++;
    t->twins += has_twin(a, i);
    t->quantizers += row->block_len > 0;
}

static tally tally_below(const qs_app *a, uint32_t node) {
    tally t = {0};
    for (uint32_t i = QS_NO_INDEX; qs_tree_next_below(&a->tree, node, &i);) count(a, i, &t);
    return t;
}

/* Where some keys have twins, the scope is the quantizers: they are new in the model for certain. */
static bool add_scope(qs_app *a, const char *label, qs_str path, tally t) {
    qs_init_state *s = &a->init;
    for (int i = 0; i < s->scopes; i++)
        if (!s->scope[i].key && qs_str_eq(s->scope[i].path, path)) return true;
    uint32_t n = t.twins ? t.quantizers : t.all;
    if (s->scopes && !s->scope[s->scopes - 1].key && s->scope[s->scopes - 1].missing == n) return true;
    s->twins = t.twins > s->twins ? t.twins : s->twins;
    if (s->scopes == QS_SCOPES_MAX || n == 0) return true;
    qs_str copy = qs_arena_str(&s->arena, path);
    if (!copy.p) return false;
    int i = s->scopes++;
    s->scope[i].path = copy;
    s->scope[i].key = s->scope[i].marks = false;
    s->scope[i].quantizers = t.twins > 0;
    s->scope[i].missing = n;
    const char *what = t.twins ? (path.n ? "the quantizers of " : "every quantizer") : label;
    snprintf(s->scope[i].label, sizeof s->scope[i].label, "%s%.*s: %u", what, QS_FMT(path), n);
    return true;
}

static bool module_scope(qs_app *a, const char *label, qs_str path) {
    uint32_t node = path.n ? qs_compare_find_module(a->tree.c, path) : 0;
    return node == QS_NO_INDEX || add_scope(a, label, path, tally_below(a, node));
}

/* One key, which a person may fill even where it has a twin. */
static bool key_scope(qs_app *a, const qs_row *row) {
    tally t = {.all = 1};
    if (!add_scope(a, "", row->key, t)) return false;
    if (a->init.scopes == 0) return true;
    a->init.scope[0].key = true;
    snprintf(a->init.scope[0].label, sizeof a->init.scope[0].label, "this key");
    return true;
}

static bool marked_scope(qs_app *a) {
    tally t = {0};
    for (uint32_t i = QS_NO_INDEX; qs_app_next_target(a, &i);) count(a, i, &t);
    a->init.twins = t.twins;
    t.twins = 0; /* they were marked one by one */
    if (!add_scope(a, "marked keys", QS_STR(""), t)) return false;
    if (a->init.scopes) a->init.scope[0].marks = true;
    return true;
}

/* The innermost module around `path` that lacks more than `path` does itself. */
static bool outer_scope(qs_app *a, qs_str path) {
    uint32_t node = qs_compare_find_module(a->tree.c, path);
    uint32_t n = node == QS_NO_INDEX ? 0 : tally_below(a, node).all;
    while (path.n) {
        path = qs_str_parent(path);
        node = path.n ? qs_compare_find_module(a->tree.c, path) : QS_NO_INDEX;
        if (node != QS_NO_INDEX && tally_below(a, node).all > n) return module_scope(a, "the module ", path);
    }
    return true;
}

static bool key_scopes(qs_app *a, const qs_row *row) {
    qs_str block = qs_str_sub(row->key, 0, row->block_len);
    if (block.n) return module_scope(a, "the block ", block) && outer_scope(a, block);
    if (lacks(row) && !key_scope(a, row)) return false;
    return module_scope(a, "the module ", qs_str_parent(row->key));
}

static bool find_scopes(qs_app *a, uint32_t node) {
    const qs_tree_node *n = qs_compare_node(a->tree.c, node);
    if (a->tree.marked) return marked_scope(a);
    bool ok = n->row != QS_NO_INDEX ? key_scopes(a, qs_compare_row(a->tree.c, n->row))
                                    : module_scope(a, "the module ", n->path) && outer_scope(a, n->path);
    return ok && module_scope(a, "everything", QS_STR(""));
}

static bool in_scope(const qs_app *a, const qs_row *row, uint32_t i) {
    int c = a->init.chosen;
    qs_str path = a->init.scope[c].path;
    if (a->init.scope[c].marks) return qs_tree_row_has(&a->tree, i, QS_KEY_MARKED);
    if (a->init.scope[c].key) return qs_str_eq(row->key, path);
    return path.n == 0 || (qs_str_starts(row->key, path) && row->key.n > path.n && row->key.p[path.n] == '.');
}

/* Quantizers in the scope, those of weights first: they are the ones whose values are worth a look. */
static bool find_blocks(qs_app *a) {
    qs_init_state *s = &a->init;
    s->block.n = s->shown = 0;
    for (int weights = 1; weights >= 0; weights--) {
        qs_str last = {0};
        for (uint32_t i = 0; i < qs_compare_rows(a->tree.c) && s->block.n < BLOCKS_MAX; i++) {
            const qs_row *row = qs_compare_row(a->tree.c, i);
            qs_str block = qs_str_sub(row->key, 0, row->block_len);
            if (!block.n || !lacks(row) || row->role_is_weight != weights) continue;
            if (!in_scope(a, row, i) || qs_str_eq(block, last)) continue;
            last = block;
            qs_str copy = qs_arena_str(&s->arena, block);
            if (!copy.p || !qs_push(&s->block, copy)) return false;
        }
    }
    return true;
}

/* ---- preview ---- */

static void preview_key(qs_app *a) {
    qs_init_state *s = &a->init;
    qs_rich *r = &s->preview;
    qs_preview_value v;
    qs_err e = QS_ERR_INIT;
    qs_str key = s->scope[s->chosen].path;
    uint32_t row = qs_compare_find(a->tree.c, key);
    qs_rich_add(r, QS_PEN(STRONG), key);
    qs_rich_line(r);
    if (s->source == QS_INIT_COPY)
        qs_rich_addf(r, QS_PEN(NORMAL), "the value B holds");
    else if (!qs_session_preview_key(a->s, key, s->source, &s->preview_arena, &v, &e))
        qs_rich_addf(r, QS_PEN(ERROR), "%s", e.msg);
    else
        qs_value_text(r, &v);
    if (row == QS_NO_INDEX || !has_twin(a, row)) return;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(MISSING), "A has it under another name: ");
    uint32_t from = qs_matches_get(a->matches, qs_matches_of_row(a->matches, row))->from;
    qs_rich_add(r, QS_PEN(STRONG), qs_compare_row(a->tree.c, from)->key);
    qs_rich_addf(r, QS_PEN(NORMAL), "   (Esc, then m renames it)");
}

static void preview(qs_app *a) {
    qs_init_state *s = &a->init;
    qs_init_preview v;
    qs_err e = QS_ERR_INIT;
    qs_rich_clear(&s->preview);
    qs_arena_free(&s->preview_arena);
    if (s->scope[s->chosen].key) return preview_key(a);
    if (s->block.n == 0) return qs_rich_addf(&s->preview, QS_PEN(DIM), "no quantizer is missing here");
    qs_str block = s->block.v[s->shown];
    qs_rich_addf(&s->preview, QS_PEN(NORMAL), "%zu of %zu  ", s->shown + 1, s->block.n);
    qs_rich_add(&s->preview, QS_PEN(STRONG), block);
    if (s->source == QS_INIT_COPY) {
        qs_rich_line(&s->preview);
        qs_rich_addf(&s->preview, QS_PEN(NORMAL), "the values B holds under the same names");
        return;
    }
    if (!qs_session_preview_init(a->s, block, s->source, &s->preview_arena, &v, &e)) {
        qs_rich_line(&s->preview);
        qs_rich_addf(&s->preview, QS_PEN(ERROR), "%s", e.msg);
        return;
    }
    qs_quantizer_lines(&s->preview, &v);
}

static void say_nothing(qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    const qs_row *row = i == QS_NO_INDEX ? NULL : qs_compare_row(a->tree.c, i);
    bool made = row && (row->mark == QS_MARK_INIT || row->mark == QS_MARK_COPIED);
    if (a->tree.marked)
        qs_app_say(a, "nothing is missing among the marked keys");
    else
        qs_app_say(a,
                   made ? "the plan made this value: p, then e, makes it otherwise" : "nothing is missing");
}

void qs_init_open(qs_app *a) {
    qs_init_state *s = &a->init;
    uint32_t node = qs_tree_selected(&a->tree);
    if (!qs_session_target(a->s)) return qs_app_say(a, "there is no model that says what is missing");
    if (node == QS_NO_INDEX) return;
    qs_arena_free(&s->arena);
    s->block.n = 0;
    s->scopes = s->chosen = s->field = 0;
    s->twins = 0;
    s->problem[0] = 0;
    s->can_copy = qs_session_b(a->s) != NULL;
    s->source = QS_INIT_OBSERVED;
    if (!find_scopes(a, node)) return qs_app_complain(a, "out of memory");
    if (s->scopes == 0 && s->twins)
        return qs_app_say(a, "what is missing here is in A under other names: rename it (m, M, F)");
    if (s->scopes == 0) return say_nothing(a);
    if (!find_blocks(a)) return qs_app_complain(a, "out of memory");
    preview(a);
    qs_app_open(a, &qs_view_init);
}

/* ---- drawing ---- */

static const char *source_help(qs_init_source source) {
    for (int i = 0; i < SOURCES; i++)
        if (sources[i].source == source) return sources[i].help;
    return "";
}

static void init_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter", "apply",          "←→",  "choose", "Tab", "next field",
                                        "↑↓",    "next quantizer", "Esc", "leave",  NULL};
    const qs_init_state *s = &a->init;
    int lines = g->h > 28 ? 10 : 13; /* narrow ones wrap more */
    char title[300];
    snprintf(title, sizeof title, "%u %s", s->scope[s->chosen].missing,
             qs_plural(s->scope[s->chosen].missing, "key", "keys"));
    qs_pane p = qs_dialog_box(a, g, 100, lines + s->scopes + 9, "initialise", title);
    qs_drawz(p, 0, 0, QS_PEN(KEY), "source");
    qs_choice of[SOURCES];
    for (int i = 0; i < SOURCES; i++) of[i] = (qs_choice){sources[i].name, i, s->source == sources[i].source};
    qs_dialog_choices(p, 9, 0, of, s->can_copy ? SOURCES : SOURCES - 1, s->field == 0);
    qs_drawz(p, 0, 1, QS_PEN(KEY), "apply to");
    for (int i = 0; i < s->scopes; i++)
        qs_dialog_choice(p, 9, 1 + i, s->chosen == i, s->field == 1, s->scope[i].label, SOURCES + i);
    int y0 = 1 + s->scopes;
    qs_draw_clip(p, 9, y0++, QS_PEN(DIM), source_help(s->source));
    if (s->twins) {
        snprintf(title, sizeof title, "%u %s in A under other names: rename those first", s->twins,
                 qs_plural(s->twins, "more is", "more are"));
        qs_draw_clip(p, 9, y0++, QS_PEN(MISSING), title);
    }
    qs_pane view = qs_pane_sub(p, 0, y0 + 1, p.w, p.h - y0 - 3);
    qs_rich fitted = {0};
    qs_rich_wrap(&s->preview, g, view.w, 2, &fitted);
    for (int y = 0; y < view.h && (size_t)y < qs_rich_lines(&fitted); y++)
        qs_rich_draw(&fitted, (size_t)y, view, 0, y);
    qs_rich_free(&fitted);
    if (s->problem[0]) qs_draw_fit(p, 0, p.h - 2, p.w, QS_PEN(ERROR), qs_str_of(s->problem), false);
    qs_dialog_hints(p, p.h - 1, hints);
}

/* ---- keys ---- */

typedef QS_VEC(qs_rename_pair) pair_vec;

static bool marked_keys(const qs_app *a, pair_vec *out) {
    for (uint32_t i = QS_NO_INDEX; qs_app_next_target(a, &i);) {
        const qs_row *row = qs_compare_row(a->tree.c, i);
        if (lacks(row) && !qs_push(out, (qs_rename_pair){.from = row->key})) return false;
    }
    return true;
}

/* "(model\.0\.)(.*\.)?(weight_fake_quant|activation_post_process)\..*": every quantizer below the path. */
static bool quantizer_regex(const qs_init_state *s, qs_str path, qs_buf *out) {
    qs_str kind[KINDS_MAX];
    size_t kinds = 0;
    for (size_t i = 0; i < s->block.n; i++) {
        qs_str leaf = qs_str_leaf(s->block.v[i]);
        size_t k = 0;
        while (k < kinds && !qs_str_eq(kind[k], leaf)) k++;
        if (k == KINDS_MAX) return false;
        if (k == kinds) kind[kinds++] = leaf;
    }
    qs_buf_add_quoted(out, path);
    qs_buf_addz(out, path.n ? "\\.(.*\\.)?(" : "(.*\\.)?(");
    for (size_t k = 0; k < kinds; k++) {
        if (k) qs_buf_addc(out, '|');
        qs_buf_add_quoted(out, kind[k]);
    }
    qs_buf_addz(out, ")\\..*");
    return kinds > 0 && !out->failed;
}

static bool scope_of(const qs_app *a, qs_action *act, pair_vec *keys, qs_buf *regex) {
    const qs_init_state *s = &a->init;
    int c = s->chosen;
    act->scope = s->scope[c].path;
    act->scope_kind = s->scope[c].key ? QS_SCOPE_KEY : QS_SCOPE_SUBTREE;
    if (s->scope[c].marks) {
        if (!marked_keys(a, keys)) return false;
        act->scope_kind = QS_SCOPE_KEYS;
        act->pairs = keys->v;
        act->pair_count = keys->n;
    } else if (s->scope[c].quantizers) {
        if (!quantizer_regex(s, act->scope, regex)) return false;
        act->scope_kind = QS_SCOPE_REGEX;
        act->scope = qs_buf_str(regex);
    }
    return true;
}

static void accept(qs_app *a) {
    qs_init_state *s = &a->init;
    pair_vec keys = {0};
    qs_buf regex = {0};
    qs_action act = {.kind = s->source == QS_INIT_COPY ? QS_ACT_COPY : QS_ACT_INIT,
                     .source = s->source,
                     .bn_eps = __builtin_nan("")};
    bool ok = scope_of(a, &act, &keys, &regex);
    if (!ok) qs_app_complain(a, "out of memory");
    ok = ok && qs_app_do(a, &act, s->source == QS_INIT_COPY ? "copied from B" : "initialised");
    qs_vec_free(&keys);
    qs_buf_free(&regex);
    if (ok) {
        if (s->scope[s->chosen].marks) qs_tree_unmark_all(&a->tree);
        qs_app_close(a);
    } else {
        snprintf(s->problem, sizeof s->problem, "%.290s", a->message.text);
        a->message.text[0] = 0;
    }
}

/* A spot: a source, or a scope after them. */
static void init_pick(qs_app *a, int what, bool twice) {
    (void)twice;
    qs_init_state *s = &a->init;
    s->problem[0] = 0;
    s->field = what >= SOURCES;
    if (s->field == 0) {
        s->source = sources[what].source;
    } else {
        s->chosen = what - SOURCES;
        if (!find_blocks(a)) qs_app_complain(a, "out of memory");
    }
    preview(a);
}

static void choose(qs_app *a, int step) {
    qs_init_state *s = &a->init;
    int i = 0, n = s->can_copy ? SOURCES : SOURCES - 1;
    if (s->field) return init_pick(a, SOURCES + (s->chosen + s->scopes + step) % s->scopes, false);
    while (sources[i].source != s->source) i++;
    init_pick(a, (i + n + step) % n, false);
}

static void show_block(qs_app *a, int step) {
    qs_init_state *s = &a->init;
    if (s->block.n == 0) return;
    s->shown = (s->shown + s->block.n + (size_t)(step + (int)s->block.n)) % s->block.n;
    preview(a);
}

static bool init_event(qs_app *a, const qs_event *ev) {
    if (ev->kind != QS_EVENT_KEY) return false;
    a->init.problem[0] = 0;
    switch (ev->key) {
    case QS_KEY_LEFT: return choose(a, -1), true;
    case ' ':
    case QS_KEY_RIGHT: return choose(a, 1), true;
    default: return false;
    }
}

static bool init_command(qs_app *a, qs_command c) {
    switch (c) {
    case QS_CMD_DIALOG_NEXT:
    case QS_CMD_DIALOG_PREV: return a->init.field = !a->init.field, true;
    case QS_CMD_DIALOG_UP: return show_block(a, -1), true;
    case QS_CMD_DIALOG_DOWN: return show_block(a, 1), true;
    case QS_CMD_DIALOG_OK: return accept(a), true;
    default: return false;
    }
}

const qs_view qs_view_init = {
    .name = "init",
    .context = QS_CTX_DIALOG,
    .draw = init_draw,
    .event = init_event,
    .command = init_command,
    .pick = init_pick,
};

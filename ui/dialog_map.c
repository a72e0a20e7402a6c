#include "ui/app_impl.h"

#include "session_preview.h"

/* "The same for all like it" is recomputed with every key pressed up to this many entries. */
enum { LIVE_RULE_MAX = 50000 };

/* ---- the rule that a rename is an example of ---- */

static size_t common_prefix(qs_str a, qs_str b) {
    size_t i = 0, dot = 0;
    while (i < a.n && i < b.n && a.p[i] == b.p[i])
        if (a.p[i++] == '.') dot = i;
    return dot;
}

static void add_literal(qs_buf *out, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '$') qs_buf_addc(out, '$');
        qs_buf_addc(out, s.p[i]);
    }
}

/* How far a rule goes beyond its example; each goes further than the one before. */
typedef enum reach {
    REACH_PLACE, /* a.b.conv.weight -> a.b.conv.module.weight: below any *.conv */
    REACH_PATH,  /* a.0.bn.weight -> a.0.conv.bn.weight: below any path */
    REACH_LEAF,  /* and for any last component */
    REACHES
} reach;

static bool generalise(qs_str from, qs_str to, reach far, qs_buf *pattern, qs_buf *replacement) {
    size_t pre = common_prefix(from, to);
    pattern->n = replacement->n = 0;
    if (pre == 0 || qs_str_eq(from, to)) return false;
    qs_str shared = qs_str_sub(from, 0, pre - 1);
    size_t dot = qs_str_rfind_char(shared, '.'), any = far == REACH_PLACE ? dot : shared.n;
    if (any == SIZE_MAX) return false;
    qs_str leaf = qs_str_leaf(from);
    bool open_leaf = far == REACH_LEAF && qs_str_eq(leaf, qs_str_leaf(to)) && leaf.n < from.n - any;
    if (far == REACH_LEAF && !open_leaf) return false;
    size_t cut = open_leaf ? leaf.n : 0;
    qs_buf_addz(pattern, "(.*)");
    qs_buf_addz(replacement, "$1");
    qs_buf_add_quoted(pattern, qs_str_sub(from, any, from.n - cut));
    add_literal(replacement, qs_str_sub(to, any, to.n - cut));
    if (open_leaf) {
        qs_buf_addz(pattern, "([^.]*)");
        qs_buf_addz(replacement, "$2");
    }
    return !pattern->failed && !replacement->failed;
}

static qs_action rule_of(const qs_map_state *m) {
    return (qs_action){.kind = QS_ACT_RULE,
                       .pattern_kind = QS_PATTERN_REGEX,
                       .pattern = qs_str_of(m->pattern),
                       .replacement = qs_str_of(m->replacement),
                       .bn_eps = __builtin_nan("")};
}

/* Takes the rule over if it does more than the one that is there. */
static void try_rule(qs_app *a, reach far) {
    qs_map_state *m = &a->map;
    qs_buf pattern = {0}, replacement = {0};
    if (generalise(qs_str_of(m->key), qs_line_text(&m->to), far, &pattern, &replacement) &&
        pattern.n < sizeof m->pattern && replacement.n < sizeof m->replacement) {
        qs_arena arena = {0};
        qs_rename_pair *pairs;
        qs_err e = QS_ERR_INIT;
        size_t good, total, collisions;
        qs_action rule = {.kind = QS_ACT_RULE,
                          .pattern_kind = QS_PATTERN_REGEX,
                          .pattern = qs_buf_str(&pattern),
                          .replacement = qs_buf_str(&replacement),
                          .bn_eps = __builtin_nan("")};
        if (qs_session_rule_pairs(a->s, &rule, &arena, &pairs, &good, &total, &collisions, &e) &&
            good > m->rule_good) {
            m->rule_good = good;
            memcpy(m->pattern, pattern.p, pattern.n + 1);
            memcpy(m->replacement, replacement.p, replacement.n + 1);
        }
        qs_arena_free(&arena);
    }
    qs_buf_free(&pattern);
    qs_buf_free(&replacement);
}

static void preview_rule(qs_app *a, bool anyhow) {
    qs_map_state *m = &a->map;
    m->rule_good = 0;
    m->pattern[0] = m->replacement[0] = 0;
    if (anyhow || qs_compare_rows(a->tree.c) <= LIVE_RULE_MAX)
        for (reach far = REACH_PLACE; far < REACHES; far++) try_rule(a, far);
    if (m->rule_good < 2) m->all = false;
}

/* ---- opening ---- */

static void add_candidate(qs_app *a, uint32_t row, double confidence, const char *reason) {
    qs_map_state *m = &a->map;
    qs_str key = qs_compare_row(a->tree.c, row)->key;
    if (m->candidates == QS_CANDIDATES_MAX || key.n >= sizeof m->candidate->key) return;
    qs_candidate *c = &m->candidate[m->candidates++];
    snprintf(c->key, sizeof c->key, "%.*s", QS_FMT(key));
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    c->confidence = confidence;
    c->row = row;
}

static void find_candidates(qs_app *a, uint32_t row) {
    qs_suggestion found[QS_CANDIDATES_MAX];
    size_t n = qs_match_candidates(a->tree.c, row, found, QS_CANDIDATES_MAX);
    uint32_t best = a->matches ? qs_matches_of_row(a->matches, row) : QS_NO_INDEX;
    const qs_suggestion *s = best == QS_NO_INDEX ? NULL : qs_matches_get(a->matches, best);
    a->map.candidates = 0;
    /* The assignment over all keys knows more than this key alone. */
    if (s) add_candidate(a, s->to, s->confidence, s->reason);
    for (size_t i = 0; i < n; i++)
        if (!s || found[i].to != s->to) add_candidate(a, found[i].to, found[i].confidence, found[i].reason);
    a->map.list = (qs_list){0};
}

static void open_for(qs_app *a, uint32_t row, qs_str to) {
    qs_map_state *m = &a->map;
    qs_str key = qs_compare_row(a->tree.c, row)->key;
    if (key.n >= sizeof m->key)
        return qs_app_complain(a, "the name is too long to edit here; use a rule (M)");
    snprintf(m->key, sizeof m->key, "%.*s", QS_FMT(key));
    m->problem[0] = 0;
    m->all = false;
    m->to.history = NULL;
    find_candidates(a, row);
    if (to.n)
        qs_line_set(&m->to, to);
    else
        qs_line_set(&m->to, m->candidates ? qs_str_of(m->candidate[0].key) : key);
    preview_rule(a, false);
    qs_app_open(a, &qs_view_map);
}

/* Two marked rows, one that A has and one that it lacks, are bound to each other. */
static bool marked_pair(const qs_app *a, uint32_t *from, uint32_t *to) {
    *from = *to = QS_NO_INDEX;
    if (a->tree.marked != 2) return false;
    for (uint32_t i = QS_NO_INDEX; qs_app_next_target(a, &i);) {
        const qs_row *row = qs_compare_row(a->tree.c, i);
        if (row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED)
            *from = i;
        else if (row->m != QS_NO_INDEX)
            *to = i;
    }
    return *from != QS_NO_INDEX && *to != QS_NO_INDEX;
}

void qs_map_open_pair(qs_app *a, uint32_t from, uint32_t to) {
    qs_app_diagnose(a);
    open_for(a, from, qs_compare_row(a->tree.c, to)->key);
}

void qs_map_open(qs_app *a) {
    qs_app_diagnose(a);
    uint32_t from, to, node = qs_tree_selected(&a->tree);
    if (!qs_session_target(a->s)) return qs_app_say(a, "there is no model to map to; M renames by a rule");
    if (marked_pair(a, &from, &to)) return open_for(a, from, qs_compare_row(a->tree.c, to)->key);
    if (a->tree.marked > 1)
        return qs_app_say(a, "mark one key of A and one the model lacks, or none; M renames many");
    uint32_t row = qs_tree_selected_row(&a->tree);
    if (node != QS_NO_INDEX && row == QS_NO_INDEX) return qs_rule_open(a);
    if (row == QS_NO_INDEX) return;
    const qs_row *x = qs_compare_row(a->tree.c, row);
    if (x->r != QS_NO_INDEX && x->mark != QS_MARK_DROPPED) return open_for(a, row, QS_STR(""));
    uint32_t best = a->matches ? qs_matches_of_row(a->matches, row) : QS_NO_INDEX;
    if (best == QS_NO_INDEX)
        return qs_app_say(a, "A has no key that fits here; i makes a value%s",
                          qs_session_b(a->s) ? ", c takes the one of B" : "");
    open_for(a, qs_matches_get(a->matches, best)->from, x->key);
}

/* ---- drawing ---- */

enum { PERCENT_W = 8, SHAPE_W = 15 };
enum { SPOT_THIS = QS_CANDIDATES_MAX, SPOT_ALL }; /* below: candidates */

static void map_layout(qs_app *a) {
    int rows = a->h - 12;
    qs_list_resize(&a->map.list, a->map.candidates, rows < 1 ? 1 : rows > 10 ? 10 : (size_t)rows);
}

/* Key, shape, reason, in columns as wide as what they hold: the reason gives way first. */
static void draw_candidate(const qs_app *a, qs_pane p, int y, size_t i, int key_w) {
    const qs_candidate *c = &a->map.candidate[i];
    const qs_row *row = qs_compare_row(a->tree.c, c->row);
    char shape[100] = "";
    qs_key_cell(a, row, QS_COLUMN_M, shape, sizeof shape);
    int x = qs_drawf(p, 0, y, QS_PEN(STRONG), "%s%3.0f %%  ", i == a->map.list.cursor ? "▸" : " ",
                     c->confidence * 100);
    int reason_w = p.w - x - key_w - SHAPE_W - 2;
    qs_draw_fit(p, x, y, key_w, QS_PEN(NORMAL), qs_str_of(c->key), true);
    qs_draw_fit(p, x + key_w + 1, y, SHAPE_W, QS_PEN(DIM), qs_str_of(shape), false);
    if (reason_w >= 14)
        qs_draw_fit(p, x + key_w + SHAPE_W + 2, y, reason_w, QS_PEN(DIM), qs_str_of(c->reason), false);
    if (i == a->map.list.cursor) qs_pane_select(p, y);
    qs_pane_spot(p, 0, y, p.w, (int)i);
}

static void draw_candidates(const qs_app *a, qs_pane p) {
    int key_w = 20, most = p.w - PERCENT_W - SHAPE_W - 1;
    size_t i;
    for (int y = 0; y < p.h && qs_list_at(&a->map.list, y, &i); y++) {
        int w = qs_text_width(p.g, qs_str_of(a->map.candidate[i].key));
        if (w > key_w) key_w = w;
    }
    for (int y = 0; y < p.h && qs_list_at(&a->map.list, y, &i); y++)
        draw_candidate(a, p, y, i, key_w < most ? key_w : most);
}

static void draw_rule(const qs_app *a, qs_pane p, int y) {
    const qs_map_state *m = &a->map;
    int x = qs_drawz(p, 0, y, QS_PEN(NORMAL), "rename ");
    x = qs_dialog_choice(p, x, y, !m->all, true, "this key", SPOT_THIS);
    if (m->rule_good < 2) {
        if (qs_compare_rows(a->tree.c) > LIVE_RULE_MAX)
            qs_drawz(p, x, y, QS_PEN(DIM), "Tab looks for others like it");
        return;
    }
    char text[64];
    snprintf(text, sizeof text, "all %zu like it", m->rule_good);
    x = qs_dialog_choice(p, x, y, m->all, true, text, SPOT_ALL);
    char rule[2 * QS_LINE_MAX + 8];
    snprintf(rule, sizeof rule, "%s → %s", m->pattern, m->replacement);
    qs_draw_fit(p, 2, y + 1, p.w - 2, m->all ? QS_PEN(NORMAL) : QS_PEN(DIM), qs_str_of(rule), false);
}

static void map_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter",       "rename", "↑↓",    "candidates", "Tab",
                                        "this or all", "Esc",    "leave", NULL};
    const qs_map_state *m = &a->map;
    int list = (int)(m->list.height < m->candidates ? m->list.height : m->candidates);
    int rows = list ? list : 1;
    qs_pane p = qs_dialog_box(a, g, 96, rows + 9, "map", m->key);
    int x = qs_drawz(p, 0, 0, QS_PEN(KEY), "to: ");
    qs_line_draw(&m->to, p, x, 0, p.w - x, true);
    qs_pane lines = qs_pane_sub(p, 0, 2, p.w, rows);
    draw_candidates(a, lines);
    if (m->candidates == 0) qs_drawz(lines, 0, 0, QS_PEN(DIM), "no missing key of the model has this shape");
    draw_rule(a, p, rows + 3);
    if (m->problem[0]) qs_draw_fit(p, 0, p.h - 2, p.w, QS_PEN(ERROR), qs_str_of(m->problem), false);
    qs_dialog_hints(p, p.h - 1, hints);
}

/* ---- keys ---- */

static void take_candidate(qs_app *a) {
    if (a->map.list.cursor < a->map.candidates)
        qs_line_set(&a->map.to, qs_str_of(a->map.candidate[a->map.list.cursor].key));
    preview_rule(a, false);
}

static bool map_event(qs_app *a, const qs_event *ev) {
    bool changed;
    if (!qs_line_edit(&a->map.to, ev, &changed)) return false;
    a->map.problem[0] = 0;
    if (changed) preview_rule(a, false);
    return true;
}

static bool do_one(qs_app *a) {
    qs_rename_pair pair = {qs_str_of(a->map.key), qs_line_text(&a->map.to)};
    qs_action act = {.kind = QS_ACT_RENAME, .pairs = &pair, .pair_count = 1, .bn_eps = __builtin_nan("")};
    return qs_app_do(a, &act, "renamed");
}

/* The rule itself where all it matches fits; else exactly those pairs that fit. */
static bool do_all(qs_app *a) {
    qs_map_state *m = &a->map;
    qs_arena arena = {0};
    qs_rename_pair *pairs;
    size_t n, total, collisions;
    qs_err e = QS_ERR_INIT;
    qs_action act = rule_of(m);
    bool ok = qs_session_rule_pairs(a->s, &act, &arena, &pairs, &n, &total, &collisions, &e);
    char comment[2 * QS_LINE_MAX + 8];
    if (ok && (n != total || collisions)) {
        snprintf(comment, sizeof comment, "%s -> %s", m->pattern, m->replacement);
        act.kind = QS_ACT_RENAME;
        act.pairs = pairs;
        act.pair_count = n;
        act.comment = qs_str_of(comment);
    }
    if (!ok) qs_app_fail(a, &e);
    ok = ok && qs_app_do(a, &act, "renamed");
    qs_arena_free(&arena);
    return ok;
}

static void accept(qs_app *a) {
    qs_map_state *m = &a->map;
    if (m->to.n == 0 || qs_str_eq(qs_str_of(m->key), qs_line_text(&m->to))) {
        snprintf(m->problem, sizeof m->problem, "%s",
                 m->to.n ? "that is its name already" : "give it a name");
        return;
    }
    if (!(m->all ? do_all(a) : do_one(a))) {
        snprintf(m->problem, sizeof m->problem, "%.190s", a->message.text); /* stay: nothing typed is lost */
        a->message.text[0] = 0;
        return;
    }
    if (!qs_tree_unmark_all(&a->tree)) qs_app_complain(a, "out of memory");
    qs_app_close(a);
}

static bool map_command(qs_app *a, qs_command c) {
    qs_map_state *m = &a->map;
    switch (c) {
    case QS_CMD_DIALOG_UP:
    case QS_CMD_DIALOG_DOWN:
        qs_list_move(&m->list, c == QS_CMD_DIALOG_UP ? -1 : 1);
        return take_candidate(a), true;
    case QS_CMD_DIALOG_NEXT:
    case QS_CMD_DIALOG_PREV:
        if (m->rule_good == 0) preview_rule(a, true);
        m->all = !m->all && m->rule_good >= 2;
        return true;
    case QS_CMD_DIALOG_OK: return accept(a), true;
    default: return false;
    }
}

static void map_pick(qs_app *a, int what, bool twice) {
    if (what >= SPOT_THIS) {
        a->map.all = what == SPOT_ALL;
        return;
    }
    qs_list_goto(&a->map.list, (size_t)what);
    take_candidate(a);
    if (twice) accept(a);
}

const qs_view qs_view_map = {
    .name = "map",
    .context = QS_CTX_DIALOG,
    .draw = map_draw,
    .layout = map_layout,
    .event = map_event,
    .command = map_command,
    .pick = map_pick,
};

#include "ui/app_impl.h"

#include <stdarg.h>
#include <stdlib.h>

/* With more keys the diagnosis waits until no key does. */
enum { DIAGNOSE_AT_ONCE = 20000 };

/* Between the choices on a line, and for the sign that there are more. */
enum { CHOICE_GAP = 3, MORE_W = 2 };

static void take_over(qs_app *a);
static void layout_all(qs_app *a);

qs_app *qs_app_new(qs_session *s, const qs_app_options *opt) {
    qs_app *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    a->s = s;
    a->opt = *opt;
    a->w = 80;
    a->h = 24;
    a->saved_revision = qs_session_revision(s);
    qs_app_take_settings(a);
    qs_tree_init(&a->tree, s);
    a->stack[a->depth++] = &qs_view_tree;
    a->map.candidate = calloc(QS_CANDIDATES_MAX, sizeof *a->map.candidate);
    if (!a->map.candidate || !qs_grid_resize(&a->measure, 1, 1)) return qs_app_free(a), NULL;
    a->measure.ascii = opt->ascii;
    take_over(a); /* the first frame comes before the diagnosis */
    layout_all(a);
    qs_offer_lost_plan(a);
    return a;
}

void qs_app_free(qs_app *a) {
    if (!a) return;
    while (a->depth > 1) qs_app_close(a);
    qs_tree_free(&a->tree);
    qs_rich_free(&a->details);
    qs_rich_free(&a->text.text);
    qs_rich_free(&a->text.wrapped);
    qs_rich_free(&a->help.text);
    qs_rich_free(&a->help.wrapped);
    qs_search_free(a->text.search);
    qs_search_free(a->help.search);
    qs_rich_free(&a->init.preview);
    qs_arena_free(&a->rule.arena);
    qs_arena_free(&a->init.arena);
    qs_arena_free(&a->init.preview_arena);
    qs_arena_free(&a->cost.arena);
    qs_vec_free(&a->init.block);
    qs_completion_clear(&a->prompt.completion);
    qs_history_free(&a->searches);
    qs_history_free(&a->rules);
    qs_history_free(&a->paths);
    qs_history_free(&a->names);
    qs_grid_free(&a->measure);
    qs_lesson_state_free(a);
    free(a->map.candidate);
    free(a);
}

const qs_view *qs_app_top(const qs_app *a) {
    return a->stack[a->depth - 1];
}

void qs_app_open(qs_app *a, const qs_view *v) {
    if (a->depth == QS_VIEWS_MAX) return;
    a->stack[a->depth++] = v;
    if (v->layout) v->layout(a);
}

void qs_app_close(qs_app *a) {
    if (a->depth <= 1) return;
    const qs_view *v = a->stack[--a->depth];
    if (v->close) v->close(a);
}

void qs_buf_add_quoted(qs_buf *out, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (strchr("\\^$.|+*?()[]{}", s.p[i])) qs_buf_addc(out, '\\');
        qs_buf_addc(out, s.p[i]);
    }
}

static void set_message(qs_app *a, qs_pen pen, const char *fmt, va_list ap) {
    vsnprintf(a->message.text, sizeof a->message.text, fmt, ap);
    a->message.pen = pen;
}

void qs_app_say(qs_app *a, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    set_message(a, QS_PEN(NORMAL), fmt, ap);
    va_end(ap);
}

void qs_app_complain(qs_app *a, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    set_message(a, QS_PEN(ERROR), fmt, ap);
    va_end(ap);
}

void qs_app_fail(qs_app *a, const qs_err *e) {
    if (e->code == QS_E_CANCELLED)
        qs_app_say(a, "cancelled; nothing was changed");
    else
        qs_app_complain(a, "%s", e->msg);
}

const char *qs_plural(uint64_t n, const char *one, const char *many) {
    return n == 1 ? one : many;
}

bool qs_app_unsaved(const qs_app *a) {
    const qs_plan *p = qs_session_plan(a->s);
    bool changed = qs_plan_modified(p) || (a->lost_loaded && qs_plan_count(p));
    return changed && qs_session_revision(a->s) != a->saved_revision;
}

static void layout_all(qs_app *a) {
    for (size_t i = 0; i < a->depth; i++)
        if (a->stack[i]->layout) a->stack[i]->layout(a);
}

static uint32_t count_forward(const qs_verdict *v) {
    uint32_t n = 0;
    for (size_t i = 0; v && i < qs_verdict_count(v); i++)
        n += qs_verdict_finding(v, i)->kind == QS_FIND_FORWARD;
    return n;
}

static void take_over(qs_app *a) {
    a->forward = count_forward(qs_session_verdict(a->s));
    if (!qs_tree_sync(&a->tree)) qs_app_complain(a, "out of memory: the tree cannot be shown");
    a->matches = NULL;
    a->diagnosis = NULL;
    a->undiagnosed = true;
    a->versions[0] = 0;
    a->versions_differ = false;
}

void qs_app_refresh(qs_app *a) {
    take_over(a);
    if (a->tree.leaves <= DIAGNOSE_AT_ONCE) qs_app_diagnose(a);
    layout_all(a);
}

/* What a cancelled progress leaves out is asked for another time. */
typedef struct patience {
    qs_progress inner;
    bool lost;
} patience;

static bool ask(void *ctx, uint64_t done, uint64_t total) {
    patience *p = ctx;
    p->lost = p->lost || !p->inner.fn(p->inner.ctx, done, total);
    return !p->lost;
}

static bool diagnose(qs_app *a, qs_progress inner) {
    if (!a->undiagnosed) return true;
    patience p = {.inner = inner};
    const qs_progress progress = {ask, &p};
    qs_session_watch(a->s, inner.fn ? &progress : NULL);
    a->matches = qs_session_matches(a->s);
    a->diagnosis = p.lost ? NULL : qs_session_diagnosis(a->s);
    const qs_strict_version *v = p.lost ? NULL : qs_session_versions(a->s);
    qs_session_watch(a->s, NULL);
    a->undiagnosed = p.lost;
    qs_buf text = {0};
    a->versions[0] = 0;
    a->versions_differ = false;
    for (int i = 1; v && i < QS_STRICT_VERSIONS; i++)
        a->versions_differ = a->versions_differ || v[i].loads != v[0].loads;
    if (v && qs_strict_versions_text(v, &text) && text.n)
        snprintf(a->versions, sizeof a->versions, "%.*s", QS_FMT(qs_buf_str(&text)));
    qs_buf_free(&text);
    return !p.lost;
}

void qs_app_diagnose(qs_app *a) {
    (void)diagnose(a, (qs_progress){0});
}

bool qs_app_diagnose_while(qs_app *a, const char *what) {
    return diagnose(a, qs_app_busy(a, what));
}

/* Commands that mean the same in every view. */
static bool common_command(qs_app *a, qs_command c) {
    switch (c) {
    case QS_CMD_REDRAW: a->reaction |= QS_APP_REDRAW; return true;
    case QS_CMD_SUSPEND: a->reaction |= QS_APP_SUSPEND; return true;
    case QS_CMD_HELP: qs_help_open(a); return true;
    case QS_CMD_UNDO: qs_app_undo(a); return true;
    case QS_CMD_REDO: qs_app_redo(a); return true;
    case QS_CMD_WRITE: qs_save_open(a); return true;
    case QS_CMD_BACK:
    case QS_CMD_DIALOG_CANCEL: qs_app_close(a); return true;
    default: return false;
    }
}

void qs_app_command(qs_app *a, qs_command c) {
    if (c == QS_CMD_NONE) return;
    if (!qs_app_top(a)->command(a, c)) common_command(a, c);
}

static void unknown_key(qs_app *a, uint32_t key) {
    char name[16];
    qs_key_print(key, name, sizeof name);
    qs_app_say(a, "%s does nothing here; ? is the help", name);
}

static void on_key(qs_app *a, const qs_event *ev) {
    const qs_view *v = qs_app_top(a);
    if (v->event && v->event(a, ev)) return;
    qs_command c = qs_keymap_find(&a->config.keymap, v->context, ev->key);
    if (c != QS_CMD_NONE)
        qs_app_command(a, c);
    else if (v->context != QS_CTX_DIALOG)
        unknown_key(a, ev->key);
}

/* The wheel moves in the lists of dialogs; a click where a message hides the keys only takes the message
 * away. */
static void on_mouse(qs_app *a, const qs_event *ev) {
    const qs_view *v = qs_app_top(a);
    bool told = a->message.text[0], click = ev->mouse == QS_MOUSE_CLICK || ev->mouse == QS_MOUSE_DOUBLE;
    qs_target on = {.what = QS_SPOT_NONE};
    a->message.text[0] = 0;
    if (click && !told) on = qs_app_target(a, ev->x, ev->y);
    if (on.what != QS_SPOT_NONE && v->pick) {
        v->pick(a, on.what, ev->mouse == QS_MOUSE_DOUBLE);
    } else if (on.key) {
        const qs_event press = {.kind = QS_EVENT_KEY, .key = on.key};
        a->key = press.key;
        on_key(a, &press);
    } else if (!(v->event && v->event(a, ev)) && !click && v->context == QS_CTX_DIALOG) {
        qs_app_command(a, ev->mouse == QS_MOUSE_WHEEL_UP ? QS_CMD_DIALOG_UP : QS_CMD_DIALOG_DOWN);
    }
}

static void on_resize(qs_app *a, int w, int h) {
    a->w = w < 1 ? 1 : w > QS_GRID_MAX ? QS_GRID_MAX : w;
    a->h = h < 1 ? 1 : h > QS_GRID_MAX ? QS_GRID_MAX : h;
    layout_all(a);
}

/* Those of each row a held key passes over nobody can read: they wait for the pause after it. */
static void detail(qs_app *a, const qs_event *ev) {
    uint64_t revision = qs_session_revision(a->s);
    bool same = a->detailed.revision == revision && a->detailed.w == a->w && a->detailed.h == a->h;
    a->detailed.stale = ev->hasty && same;
    if (a->detailed.stale) return;
    a->detailed.revision = revision;
    a->detailed.w = a->w;
    a->detailed.h = a->h;
    qs_details_build(a);
}

unsigned qs_app_update(qs_app *a, const qs_event *ev) {
    a->reaction = 0;
    a->idle_wanted = false;
    const qs_view *v = qs_app_top(a);
    switch (ev->kind) {
    case QS_EVENT_NONE: break;
    case QS_EVENT_RESIZE: on_resize(a, ev->x, ev->y); break;
    case QS_EVENT_HANGUP: qs_app_hangup(a); return QS_APP_QUIT;
    case QS_EVENT_IDLE: qs_app_idle(a); break;
    case QS_EVENT_KEY:
        a->message.text[0] = 0;
        a->key = ev->key;
        on_key(a, ev);
        break;
    case QS_EVENT_MOUSE: on_mouse(a, ev); break;
    case QS_EVENT_PASTE:
        a->message.text[0] = 0;
        if (!(v->event && v->event(a, ev)) && v->context != QS_CTX_DIALOG)
            qs_app_say(a, "what was pasted does nothing here; / and : take text");
        break;
    }
    qs_tree_note_selection(&a->tree);
    detail(a, ev);
    bool idle = a->idle_wanted || a->undiagnosed || a->detailed.stale || qs_made_wanted(a);
    return a->reaction | (idle ? QS_APP_IDLE : 0u) | (a->detailed.stale ? QS_APP_PAUSE : 0u);
}

/* A message that needs more than its line takes those above, as many as it must. */
static void draw_message(const qs_app *a, qs_grid *g) {
    if (!a->message.text[0]) return;
    qs_rich text = {0}, lines = {0};
    qs_rich_line(&text);
    qs_rich_addf(&text, a->message.pen, " %s ", a->message.text);
    qs_rich_wrap(&text, g, g->w, 0, &lines);
    int n = (int)qs_rich_lines(&lines);
    if (n > g->h) n = g->h;
    qs_pane p = qs_pane_sub(qs_pane_of(g), 0, g->h - n, g->w, n);
    qs_draw_fill(p, 0, 0, p.w, p.h, n > 1 ? a->message.pen : QS_PEN(NORMAL));
    for (int y = 0; y < n; y++) qs_rich_draw(&lines, (size_t)y, p, 0, y);
    qs_rich_free(&text);
    qs_rich_free(&lines);
}

static void draw_busy(const qs_app *a, qs_grid *g) {
    if (!a->busy.what) return;
    qs_pane p = qs_dialog_box(a, g, 56, 4, a->busy.what, "");
    double share = a->busy.total ? (double)a->busy.done / (double)a->busy.total : 0;
    if (share > 1) share = 1;
    int bar = (int)(share * p.w);
    for (int x = 0; x < p.w; x++)
        qs_drawz(p, x, 0, x < bar ? QS_PEN(HIST) : QS_PEN(DIM), x < bar ? "█" : "·");
    double rate = a->busy.seconds > 0 ? (double)a->busy.done / a->busy.seconds : 0;
    double left = rate > 0 ? (double)(a->busy.total - a->busy.done) / rate : 0;
    int x = a->busy.total ? qs_drawf(p, 0, 1, QS_PEN(NORMAL), "%.0f %%", share * 100)
                          : qs_drawf(p, 0, 1, QS_PEN(NORMAL), "%.0f s", a->busy.seconds);
    bool steps = a->busy.total < 1000; /* a few large ones, or unknown: no rate */
    bool bytes = strcmp(a->busy.what, "saving") == 0;
    if (!steps) x = qs_drawf(p, x + 3, 1, QS_PEN(NORMAL), bytes ? "%.0f MB/s" : "%.1f M/s", rate / 1e6);
    if (!steps) qs_drawf(p, x + 3, 1, QS_PEN(NORMAL), "%.0f s left", left);
    qs_draw_right(p, p.w, 1, QS_PEN(KEY), QS_STR("Esc cancels"));
}

void qs_app_render(const qs_app *a, qs_grid *g) {
    if (a->layout.tiny) {
        qs_pane p = qs_pane_of(g);
        qs_drawz(p, 0, 0, QS_PEN(NORMAL), "qatscope needs 40 columns");
        qs_drawz(p, 0, 1, QS_PEN(NORMAL), "and 10 lines. q quits.");
        return;
    }
    for (size_t i = 0; i < a->depth; i++) a->stack[i]->draw(a, g);
    draw_message(a, g);
    draw_busy(a, g);
}

int qs_dialog_width(int window, int w) {
    enum { BESIDE = 8 }; /* fewer columns of what lies below would only be noise */
    return w > window - BESIDE ? window : w;
}

qs_pane qs_dialog_box(const qs_app *a, qs_grid *g, int w, int h, const char *title, const char *note) {
    (void)a;
    w = qs_dialog_width(g->w, w);
    if (h > g->h - 1) h = g->h - 1;
    int x = (g->w - w) / 2, y = (g->h - h) / 3;
    qs_pane all = qs_pane_sub(qs_pane_of(g), x, y, w, h);
    g->cursor_x = g->cursor_y = -1;
    g->spots = 0; /* what lies below is out of reach */
    return qs_draw_box(all, qs_str_of(title), qs_str_of(note));
}

static int hint_width(qs_pane p, const char *const *pair) {
    return qs_text_width(p.g, qs_str_of(pair[0])) + 1 + qs_text_width(p.g, qs_str_of(pair[1]));
}

static bool is_way_out(const char *key) {
    return strcmp(key, "Esc") == 0 || strcmp(key, "q") == 0;
}

void qs_dialog_hints(qs_pane p, int y, const char *const *pairs) {
    enum { GAP = 3 };
    int x = 0, kept = 0;
    bool full = false;
    for (const char *const *pair = pairs; pair[0]; pair += 2)
        if (is_way_out(pair[0])) kept = hint_width(p, pair) + GAP;
    for (; pairs[0]; pairs += 2) {
        bool out = is_way_out(pairs[0]);
        full = full || x + hint_width(p, pairs) + (out ? 0 : kept) > p.w;
        if (full && !out) continue;
        if (out) kept = 0;
        x = qs_drawz(p, x, y, QS_PEN(KEY), pairs[0]);
        x = qs_drawz(p, x + 1, y, QS_PEN(NORMAL), pairs[1]) + GAP;
    }
}

int qs_dialog_choice(qs_pane p, int x, int y, bool on, bool focused, const char *name, int what) {
    int from = x;
    x = qs_drawz(p, x, y, QS_PEN(KEY), on ? "(•) " : "( ) ");
    x = qs_draw_clip(p, x, y, on ? QS_PEN(STRONG) : QS_PEN(NORMAL), name);
    if (focused && on) qs_pane_select(qs_pane_sub(p, from, y, x - from, 1), 0);
    qs_pane_spot(p, from, y, x - from, what);
    return x + CHOICE_GAP;
}

static int choice_width(qs_pane p, const qs_choice *c) {
    return 4 + qs_text_width(p.g, qs_str_of(c->name));
}

void qs_dialog_choices(qs_pane p, int x, int y, const qs_choice *c, size_t n, bool focused) {
    size_t on = 0, first = 0;
    while (on + 1 < n && !c[on].on) on++;
    int need = x + choice_width(p, &c[on]);
    for (size_t i = 0; i < on; i++) need += choice_width(p, &c[i]) + CHOICE_GAP;
    for (; first < on && need + MORE_W > p.w; first++) need -= choice_width(p, &c[first]) + CHOICE_GAP;
    if (first) x = qs_drawz(p, x, y, QS_PEN(DIM), "… ");
    for (size_t i = first; i < n; i++) {
        int more = i + 1 < n ? MORE_W : 0;
        if (i > on && x + choice_width(p, &c[i]) + more > p.w)
            return (void)qs_drawz(p, x - 2, y, QS_PEN(DIM), "…");
        x = qs_dialog_choice(p, x, y, c[i].on, focused, c[i].name, c[i].what);
    }
}

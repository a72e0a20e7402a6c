#include "ui/app_impl.h"

#include <stdlib.h>

enum { BOX_W = 104, FRAME = 6 }; /* FRAME: lines of the box that are neither head, values nor actions */

static int value_lines(const qs_app *a) {
    return a->diagnosis && a->diagnosis->inits ? 1 : 0;
}

/* The sentence whole; of the evidence what a low window has room for. */
static void fix_layout(qs_app *a) {
    qs_fix_state *f = &a->fix;
    const qs_diagnosis *d = a->diagnosis;
    qs_rich text = {0};
    size_t n = d ? d->action_count : 0;
    int w = qs_dialog_width(a->w, BOX_W), most = a->h - 1 - FRAME - value_lines(a) - (n ? 1 : 0);
    qs_rich_clear(&f->head);
    if (d) {
        qs_rich_line(&text);
        qs_rich_addf(&text, QS_PEN(STRONG), "%s", d->sentence);
        qs_rich_line(&text);
        qs_rich_addf(&text, QS_PEN(DIM), "%s", d->evidence);
        qs_rich_wrap(&text, &a->measure, w - 4, 0, &f->head);
    }
    qs_rich_free(&text);
    f->head_h = (int)qs_rich_lines(&f->head);
    if (f->head_h > most) f->head_h = most > 1 ? most : 1;
    int rows = a->h - 1 - FRAME - value_lines(a) - f->head_h;
    if (rows < 1) rows = 1;
    qs_list_resize(&f->list, n, (size_t)rows < n ? (size_t)rows : n);
}

void qs_fix_open(qs_app *a) {
    if (!qs_app_diagnose_while(a, "finding the cause")) return qs_app_say(a, "cancelled");
    const qs_diagnosis *d = a->diagnosis;
    if (!d) return qs_app_complain(a, "out of memory: there is no diagnosis");
    if (d->action_count == 0) return qs_why_open(a);
    qs_rich_free(&a->fix.head);
    a->fix = (qs_fix_state){.source = QS_INIT_OBSERVED};
    for (size_t i = 0; i < d->action_count; i++)
        if (d->actions[i].kind == QS_ACT_INIT) a->fix.source = (int)d->actions[i].source;
    qs_app_open(a, &qs_view_fix);
}

static void draw_count(qs_pane p, int *x, int y, uint32_t n, const char *what) {
    if (n == 0) return;
    *x = qs_drawf(p, *x, y, QS_PEN(STRONG), "%u ", n);
    *x = qs_drawz(p, *x, y, QS_PEN(NORMAL), what) + 3;
}

/* The source is asked for only where something is made. */
static const char *source_hint(const qs_app *a) {
    return a->diagnosis->inits ? "Tab" : NULL;
}

static void fix_draw(const qs_app *a, qs_grid *g) {
    const char *hints[] = {"Enter", "apply", "Esc", "leave", source_hint(a), "how values are made", NULL};
    const qs_diagnosis *d = a->diagnosis;
    const qs_fix_state *f = &a->fix;
    if (!d) return;
    qs_pane p = qs_dialog_box(a, g, BOX_W, FRAME + f->head_h + value_lines(a) + (int)f->list.height,
                              "the repair", "");
    int x = 0, y = f->head_h;
    for (int i = 0; i < f->head_h; i++) qs_rich_draw(&f->head, (size_t)i, p, 0, i);
    draw_count(p, &x, y, d->renames, "renamed");
    draw_count(p, &x, y, d->inits, "made");
    draw_count(p, &x, y, d->drops, "dropped");
    draw_count(p, &x, y, d->converts, "converted");
    if (d->remaining)
        qs_drawf(p, x, y++, QS_PEN(MISSING), "%u %s", d->remaining,
                 qs_plural(d->remaining, "problem remains", "problems remain"));
    else
        qs_drawz(p, x, y++, QS_PEN(YES), " then it loads ");
    if (d->inits) {
        const qs_choice sources[] = {
            {"fresh", QS_INIT_FRESH, f->source == QS_INIT_FRESH},
            {p.w < 70 ? "observed" : "observed from the weights", QS_INIT_OBSERVED,
             f->source == QS_INIT_OBSERVED},
            {p.w < 70 ? "data-free" : "and data-free", QS_INIT_DATAFREE, f->source == QS_INIT_DATAFREE}};
        qs_drawz(p, 0, y, QS_PEN(KEY), "values");
        qs_dialog_choices(p, 8, y++, sources, 3, true);
    }
    qs_pane list = qs_pane_sub(p, 0, y + 1, p.w, (int)f->list.height);
    size_t i;
    for (y = 0; y < list.h && qs_list_at(&f->list, y, &i); y++) {
        char what[600];
        qs_action_describe(&d->actions[i], what, sizeof what);
        x = qs_drawf(list, 0, y, QS_PEN(DIM), "%2zu  ", i + 1);
        qs_draw_clip(list, x, y, QS_PEN(NORMAL), what);
        if (i == f->list.cursor && f->list.count > f->list.height) qs_pane_select(list, y);
    }
    qs_dialog_hints(p, p.h - 1, hints);
}

static bool apply(qs_app *a) {
    const qs_diagnosis *d = a->diagnosis;
    QS_VEC(qs_action) acts = {0};
    bool ok = qs_reserve(&acts, d->action_count);
    if (!ok) return qs_app_complain(a, "out of memory"), false;
    for (size_t i = 0; i < d->action_count; i++) {
        acts.v[acts.n] = d->actions[i];
        if (acts.v[acts.n].kind == QS_ACT_INIT) acts.v[acts.n].source = (qs_init_source)a->fix.source;
        acts.n++;
    }
    ok = qs_app_do_all(a, acts.v, acts.n, "repaired");
    qs_vec_free(&acts);
    return ok;
}

static void next_source(qs_app *a) {
    static const int next[] = {[QS_INIT_FRESH] = QS_INIT_OBSERVED,
                               [QS_INIT_OBSERVED] = QS_INIT_DATAFREE,
                               [QS_INIT_DATAFREE] = QS_INIT_FRESH,
                               [QS_INIT_COPY] = QS_INIT_FRESH};
    a->fix.source = next[a->fix.source];
}

static bool fix_event(qs_app *a, const qs_event *ev) {
    bool toggles =
        ev->kind == QS_EVENT_KEY && (ev->key == QS_KEY_LEFT || ev->key == QS_KEY_RIGHT || ev->key == ' ');
    if (toggles) next_source(a);
    return toggles;
}

static void fix_close(qs_app *a) {
    qs_rich_free(&a->fix.head);
}

static void fix_pick(qs_app *a, int what, bool twice) {
    (void)twice;
    a->fix.source = what;
}

static bool fix_command(qs_app *a, qs_command c) {
    switch (c) {
    case QS_CMD_DIALOG_UP: return qs_list_move(&a->fix.list, -1), true;
    case QS_CMD_DIALOG_DOWN: return qs_list_move(&a->fix.list, 1), true;
    case QS_CMD_DIALOG_NEXT:
    case QS_CMD_DIALOG_PREV: next_source(a); return true;
    case QS_CMD_DIALOG_OK:
        if (a->diagnosis && apply(a)) qs_app_close(a);
        return true;
    default: return false;
    }
}

const qs_view qs_view_fix = {
    .name = "fix",
    .context = QS_CTX_DIALOG,
    .draw = fix_draw,
    .layout = fix_layout,
    .event = fix_event,
    .command = fix_command,
    .pick = fix_pick,
    .close = fix_close,
};

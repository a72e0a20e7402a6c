#include "ui/app_impl.h"

#include <stdlib.h>

static void fix_layout(qs_app *a) {
    size_t n = a->diagnosis ? a->diagnosis->action_count : 0;
    size_t rows = a->h > 15 ? (size_t)a->h - 14 : 1;
    qs_list_resize(&a->fix.list, n, rows < n ? rows : n);
}

void qs_fix_open(qs_app *a) {
    if (!qs_app_diagnose_while(a, "finding the cause")) return qs_app_say(a, "cancelled");
    const qs_diagnosis *d = a->diagnosis;
    if (!d) return qs_app_complain(a, "out of memory: there is no diagnosis");
    if (d->action_count == 0) return qs_why_open(a);
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
    qs_pane p = qs_dialog_box(a, g, 104, (int)f->list.height + 9, "the repair", "");
    qs_draw_fit(p, 0, 0, p.w, QS_PEN(STRONG), qs_str_of(d->sentence), false);
    qs_draw_fit(p, 0, 1, p.w, QS_PEN(DIM), qs_str_of(d->evidence), false);
    int x = 0;
    draw_count(p, &x, 2, d->renames, "renamed");
    draw_count(p, &x, 2, d->inits, "made");
    draw_count(p, &x, 2, d->drops, "dropped");
    draw_count(p, &x, 2, d->converts, "converted");
    if (d->remaining)
        qs_drawf(p, x, 2, QS_PEN(MISSING), "%u problems remain", d->remaining);
    else
        qs_drawz(p, x, 2, QS_PEN(YES), " then it loads ");
    if (d->inits) {
        x = qs_drawz(p, 0, 3, QS_PEN(KEY), "values ") + 1;
        x = qs_dialog_choice(p, x, 3, f->source == QS_INIT_FRESH, true, "fresh", QS_INIT_FRESH);
        x = qs_dialog_choice(p, x, 3, f->source == QS_INIT_OBSERVED, true, "observed from the weights",
                             QS_INIT_OBSERVED);
        qs_dialog_choice(p, x, 3, f->source == QS_INIT_DATAFREE, true, "and data-free", QS_INIT_DATAFREE);
    }
    size_t i;
    for (int y = 0; y < (int)f->list.height && qs_list_at(&f->list, y, &i); y++) {
        char what[600];
        qs_action_describe(&d->actions[i], what, sizeof what);
        x = qs_drawf(p, 0, 5 + y, QS_PEN(DIM), "%2zu  ", i + 1);
        qs_draw_fit(p, x, 5 + y, p.w - x, QS_PEN(NORMAL), qs_str_of(what), false);
        if (i == f->list.cursor && f->list.count > f->list.height) qs_pane_select(p, 5 + y);
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
};

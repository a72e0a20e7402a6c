#include "ui/app_impl.h"

/* A.pt -> A-fixed.pt, beside it. */
static void propose(const qs_app *a, char *out, size_t cap) {
    const char *path = qs_checkpoint_path(qs_session_a(a->s));
    size_t stem = qs_write_stem(path);
    snprintf(out, cap, "%.*s-fixed%s", (int)stem, path, path + stem);
}

void qs_save_open(qs_app *a) {
    char path[QS_LINE_MAX];
    if (a->opt.out_path)
        snprintf(path, sizeof path, "%s", a->opt.out_path);
    else
        propose(a, path, sizeof path);
    qs_save_open_as(a, qs_str_of(path));
}

static void find_device(const qs_checkpoint *c, qs_save_summary *s) {
    for (uint32_t i = 0; c && !s->elsewhere[0] && i < qs_checkpoint_storage_count(c); i++) {
        qs_str where = qs_storage_location(c, qs_checkpoint_storage(c, i));
        if (where.n && !qs_str_is(where, "cpu")) qs_str_printable(where, s->elsewhere, sizeof s->elsewhere);
    }
}

static void sum_up(const qs_app *a, qs_save_summary *s) {
    const qs_resolution *r = qs_session_resolution(a->s);
    *s = (qs_save_summary){.live = qs_resolution_live(r)};
    find_device(qs_session_a(a->s), s);
    find_device(qs_session_b(a->s), s);
    for (uint32_t i = 0; i < qs_resolution_count(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        s->mark[x->mark]++;
        if (i >= s->live) continue;
        if (x->shape_known) s->bytes += qs_shape_numel(x->shape) * qs_dtype_get(x->dtype)->size;
        const char *why = qs_safetensors_misfit(r, i);
        if (why && s->misfits++ == 0) snprintf(s->misfit, sizeof s->misfit, "%.*s (%s)", QS_FMT(x->key), why);
    }
}

void qs_save_open_as(qs_app *a, qs_str path) {
    qs_save_state *s = &a->save;
    if (a->opt.read_only) return qs_app_say(a, "read-only: nothing is written");
    s->field = 0;
    s->overwrite = s->in_place = s->cpu = s->bare = false;
    s->problem[0] = 0;
    s->path.history = &a->paths;
    qs_line_set(&s->path, path);
    sum_up(a, &s->sum);
    qs_app_open(a, &qs_view_save);
}

/* ---- drawing ---- */

enum { LABEL_W = 8, FIELDS = 6, SPOT_FORMAT = FIELDS }; /* spots: fields, then formats */

static void draw_check(qs_pane p, int y, bool on, bool focused, const char *text, int field) {
    int x = qs_drawz(p, LABEL_W, y, QS_PEN(KEY), on ? "[x] " : "[ ] ");
    x = qs_draw_clip(p, x, y, QS_PEN(NORMAL), text);
    if (focused) qs_pane_select(qs_pane_sub(p, LABEL_W, y, x - LABEL_W, 1), 0);
    qs_pane_spot(p, LABEL_W, y, x - LABEL_W, field);
}

static void add_count(qs_rich *r, qs_mark m, uint32_t n) {
    if (n == 0) return;
    qs_rich_addf(r, QS_PEN(NORMAL), "  ");
    qs_rich_addf(r, qs_mark_pen(m), "%s %u %s", qs_mark_get(m)->glyph, n, qs_mark_get(m)->name);
}

/* What the file will hold of the state dict, and what of the rest. */
static void describe(const qs_app *a, qs_rich *r) {
    const qs_save_state *s = &a->save;
    const qs_save_summary *m = &s->sum;
    const qs_resolution *res = qs_session_resolution(a->s);
    const qs_graph *g = qs_checkpoint_graph(qs_session_a(a->s));
    bool safe = qs_is_safetensors_name(s->path.text);
    qs_rich_line(r);
    char bytes[32];
    qs_rich_addf(r, QS_PEN(STRONG), "%u entries, %s", m->live, qs_bytes_text(m->bytes, bytes, sizeof bytes));
    for (int k = QS_MARK_NONE + 1; k < QS_MARK_COUNT; k++) add_count(r, (qs_mark)k, m->mark[k]);
    if (m->mark[QS_MARK_NONE]) qs_rich_addf(r, QS_PEN(NORMAL), "  %u as they were", m->mark[QS_MARK_NONE]);
    size_t top = qs_graph_root(g) == qs_checkpoint_chosen_root(qs_session_a(a->s))->node
                     ? 0
                     : qs_node_pairs(g, qs_graph_root(g));
    size_t dropped = qs_resolution_tops_dropped(res);
    if (top > 1 && !safe) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "beside it %zu %s %s", top - 1 - dropped,
                     qs_plural(top - 1 - dropped, "entry is", "entries are"), s->bare ? "left out" : "kept");
        if (dropped) qs_rich_addf(r, QS_PEN(DROPPED), ", %zu dropped", dropped);
    }
    if (safe && m->misfits) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(MISSING), "%u cannot be in safetensors, as %s: drop %s, or save as .pt",
                     m->misfits, m->misfit, qs_plural(m->misfits, "it", "them"));
    }
    const char *note = qs_write_note(res, s->path.text);
    if (note && !s->problem[0]) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", note);
    }
    if (!s->problem[0]) return;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(ERROR), "%s", s->problem);
}

static void draw_description(const qs_app *a, qs_grid *g, qs_pane p) {
    qs_rich text = {0}, lines = {0};
    describe(a, &text);
    qs_rich_wrap(&text, g, p.w, 0, &lines);
    for (size_t i = 0; (int)i < p.h && i < qs_rich_lines(&lines); i++) qs_rich_draw(&lines, i, p, 0, (int)i);
    qs_rich_free(&text);
    qs_rich_free(&lines);
}

static void save_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"Enter",  "save", "Tab",   "next field", "Space",
                                        "change", "Esc",  "leave", NULL};
    const qs_save_state *s = &a->save;
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_write_format format = qs_write_format_of(s->path.text);
    qs_pane p = qs_dialog_box(a, g, 90, 17, "save the result", "");
    qs_drawz(p, 0, 0, QS_PEN(KEY), "as");
    qs_line_draw(&s->path, p, LABEL_W, 0, p.w - LABEL_W, s->field == 0);
    qs_pane_spot(p, 0, 0, p.w, 0);
    qs_drawz(p, 0, 1, QS_PEN(KEY), "format");
    const qs_choice formats[] = {
        {"torch (.pt)", SPOT_FORMAT + QS_WRITE_TORCH, format == QS_WRITE_TORCH},
        {"safetensors", SPOT_FORMAT + QS_WRITE_SAFETENSORS, format == QS_WRITE_SAFETENSORS},
        {"in files of 5 GB", SPOT_FORMAT + QS_WRITE_SHARDS, format == QS_WRITE_SHARDS}};
    qs_dialog_choices(p, LABEL_W, 1, formats, 3, s->field == 1);
    draw_check(p, 2, s->overwrite, s->field == 2, "replace the file if it exists", 2);
    draw_check(p, 3, s->in_place, s->field == 3, "it may be A itself (the old one is kept as NAME.bak)", 3);
    char device[128] = "every tensor on the CPU (all are already)";
    if (s->sum.elsewhere[0])
        snprintf(device, sizeof device, "every tensor on the CPU (some say %s: no load without one)",
                 s->sum.elsewhere);
    draw_check(p, 4, s->cpu, s->field == 4, device, 4);
    draw_check(p, 5, s->bare, s->field == 5, "the state dict alone, without what is beside or around it", 5);
    draw_description(a, g, qs_pane_sub(p, 0, 7, p.w, p.h - 9));
    if (v)
        qs_drawz(p, 0, p.h - 2, qs_verdict_loads(v) ? QS_PEN(YES) : QS_PEN(NO),
                 qs_verdict_loads(v) ? " would load: YES " : " would load: NO ");
    qs_dialog_hints(p, p.h - 1, hints);
}

/* ---- keys ---- */

/* The name's end is the format: model.pt, model.safetensors, model.safetensors.index.json. */
static void set_format(qs_app *a, size_t format) {
    static const char *const ends[] = {".pt", ".safetensors", ".safetensors.index.json"};
    qs_save_state *s = &a->save;
    char name[QS_LINE_MAX];
    snprintf(name, sizeof name, "%.*s%s", (int)qs_write_stem(s->path.text), s->path.text, ends[format]);
    qs_line_set(&s->path, qs_str_of(name));
}

static bool change_field(qs_app *a, bool back) {
    qs_save_state *s = &a->save;
    if (s->field == 1)
        set_format(a, ((size_t)qs_write_format_of(s->path.text) + (back ? 2 : 1)) % 3);
    else if (s->field == 2)
        s->overwrite = !s->overwrite;
    else if (s->field == 3)
        s->in_place = !s->in_place;
    else if (s->field == 4)
        s->cpu = !s->cpu;
    else
        s->bare = !s->bare;
    s->problem[0] = 0;
    return true;
}

static bool save_event(qs_app *a, const qs_event *ev) {
    qs_save_state *s = &a->save;
    bool changed;
    if (s->field == 0) {
        if (!qs_line_edit(&s->path, ev, &changed)) return false;
        s->problem[0] = 0;
        return true;
    }
    if (ev->kind != QS_EVENT_KEY) return false;
    bool sideways = s->field == 1 && (ev->key == QS_KEY_LEFT || ev->key == QS_KEY_RIGHT);
    return (ev->key == ' ' || sideways) && change_field(a, ev->key == QS_KEY_LEFT);
}

static void accept(qs_app *a) {
    qs_save_state *s = &a->save;
    qs_err e = QS_ERR_INIT;
    if (s->path.n == 0) {
        snprintf(s->problem, sizeof s->problem, "give the file a name");
        return;
    }
    qs_progress p = qs_app_busy(a, "saving");
    qs_write_options opt = {.in_place = s->in_place,
                            .overwrite = s->overwrite || s->in_place,
                            .cpu = s->cpu,
                            .bare = s->bare,
                            .progress = &p};
    qs_history_add(&a->paths, qs_line_text(&s->path));
    char path[QS_LINE_MAX];
    qs_path_expand(qs_line_text(&s->path), path, sizeof path);
    if (!qs_session_save(a->s, path, &opt, &e)) {
        if (e.code == QS_E_CANCELLED)
            snprintf(s->problem, sizeof s->problem, "cancelled; nothing was written");
        else
            snprintf(s->problem, sizeof s->problem, "%s", e.msg);
        if (e.code == QS_E_REFUSED && strstr(e.msg, "exists")) s->field = 2; /* Space and Enter replace it */
        return;
    }
    a->saved_revision = qs_session_revision(a->s);
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_app_say(a, "saved %s, read back and verified%s", path,
               v && qs_verdict_loads(v) ? "; PyTorch would load it" : "");
    qs_app_close(a);
}

static bool save_command(qs_app *a, qs_command c) {
    qs_save_state *s = &a->save;
    switch (c) {
    case QS_CMD_DIALOG_DOWN:
    case QS_CMD_DIALOG_NEXT: return s->field = (s->field + 1) % FIELDS, true;
    case QS_CMD_DIALOG_UP:
    case QS_CMD_DIALOG_PREV: return s->field = (s->field + FIELDS - 1) % FIELDS, true;
    case QS_CMD_DIALOG_OK: return accept(a), true;
    default: return false;
    }
}

static void save_pick(qs_app *a, int what, bool twice) {
    (void)twice;
    qs_save_state *s = &a->save;
    s->field = what < SPOT_FORMAT ? what : 1;
    if (what > 1 && what < SPOT_FORMAT) change_field(a, false);
    if (what < SPOT_FORMAT || what == SPOT_FORMAT + (int)qs_write_format_of(s->path.text)) return;
    set_format(a, (size_t)(what - SPOT_FORMAT));
    s->problem[0] = 0;
}

const qs_view qs_view_save = {
    .name = "save",
    .context = QS_CTX_DIALOG,
    .draw = save_draw,
    .event = save_event,
    .command = save_command,
    .pick = save_pick,
};

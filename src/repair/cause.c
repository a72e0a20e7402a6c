#include "repair/cause_impl.h"

#include <stdarg.h>
#include <stdlib.h>

_Static_assert(QS_CAUSE_COUNT <= 64, "a set of causes is a uint64_t");

const qs_cause_info *qs_cause_get(qs_cause_id id) {
    static const qs_cause_info infos[QS_CAUSE_COUNT] = {
#define QS_CAUSE(ID, id, what, advice) [QS_CAUSE_##ID] = {id, what, advice},
#include "repair/cause.def"
#undef QS_CAUSE
    };
    return &infos[id];
}

/* ---- counting ---- */

static void keep_evidence(qs_cause *c, const char *fmt, va_list ap) {
    char raw[sizeof c->evidence];
    vsnprintf(raw, sizeof raw, fmt, ap);
    qs_str_printable(qs_str_of(raw), c->evidence, sizeof c->evidence);
}

void qs_cause_add(qs_cause_tally *t, qs_cause_id id, bool left, const char *fmt, ...) {
    qs_cause *c = &t->v[id];
    c->left += left;
    t->found[id] = true;
    if (c->keys++ || c->evidence[0]) return;
    va_list ap;
    va_start(ap, fmt);
    keep_evidence(c, fmt, ap);
    va_end(ap);
}

void qs_cause_say(qs_cause_tally *t, qs_cause_id id, const char *fmt, ...) {
    va_list ap;
    t->found[id] = true;
    va_start(ap, fmt);
    keep_evidence(&t->v[id], fmt, ap);
    va_end(ap);
}

/* ---- the file as a whole ---- */

static bool is_ema_root(qs_str path) {
    qs_str leaf = qs_str_leaf(path);
    return qs_str_is(leaf, "ema") || qs_str_starts(leaf, QS_STR("ema_")) || qs_str_ends(leaf, QS_STR("_ema"));
}

static void find_root(qs_cause_tally *t) {
    const qs_checkpoint *a = qs_resolution_input(qs_compare_resolution(t->in->before))->a;
    const qs_root *root = qs_checkpoint_chosen_root(a);
    if (!root) return;
    if (root->kind == QS_ROOT_MODULE)
        qs_cause_say(t, QS_CAUSE_MODULE, "a %.*s%s%.*s", QS_FMT(root->class_name),
                     root->path.n ? " under " : "", QS_FMT(root->path));
    else if (root->path.n)
        qs_cause_say(t, QS_CAUSE_NESTED, "the state dict is \"%.*s\"", QS_FMT(root->path));
    if (is_ema_root(root->path)) qs_cause_say(t, QS_CAUSE_EMA_ROOT, "\"%.*s\"", QS_FMT(root->path));
}

/* "conv.scale" for "conv.weight": beside a converted weight is the scale of what its module puts out. */
static qs_str output_scale(qs_str key, char *out, size_t cap) {
    if (!qs_str_is(qs_str_leaf(key), "weight")) return (qs_str){0};
    int n = snprintf(out, cap, "%.*s.scale", QS_FMT(qs_str_parent(key)));
    return n > 0 && (size_t)n < cap ? (qs_str){out, (size_t)n} : (qs_str){0};
}

static bool is_packed(qs_str key) {
    return qs_str_is(qs_str_leaf(key), "_packed_params");
}

static bool model_has_converted(const qs_manifest *m, const qs_expected *x) {
    char name[1024];
    if (is_packed(x->key)) return true;
    if (x->dtype == QS_DTYPE_UNKNOWN || qs_dtype_get(x->dtype)->kind != 'Q') return false;
    qs_str scale = output_scale(x->key, name, sizeof name);
    return scale.n && qs_manifest_find(m, scale) != UINT32_MAX;
}

static bool file_has_converted(const qs_resolution *r, const qs_resolved *x) {
    char name[1024];
    if (is_packed(x->key)) return true;
    const qs_tensor *t = qs_resolved_tensor(r, x, NULL);
    if (!t || t->kind != QS_TENSOR_QUANTIZED) return false;
    qs_str scale = output_scale(x->key, name, sizeof name);
    return scale.n && qs_resolution_find(r, scale) != QS_NO_INDEX;
}

qs_converted qs_cause_converted(const qs_resolution *r) {
    qs_converted c = {0};
    const qs_manifest *m = qs_resolution_input(r)->target;
    for (uint32_t i = 0; m && !c.model && i < qs_manifest_count(m); i++)
        c.model = model_has_converted(m, qs_manifest_entry(m, i));
    for (uint32_t i = 0; !c.file && i < qs_resolution_live(r); i++)
        c.file = file_has_converted(r, qs_resolution_entry(r, i));
    return c;
}

static bool has_problems(const qs_compare *c) {
    for (uint32_t i = 0; i < qs_compare_rows(c); i++)
        if (qs_status_get(qs_compare_row(c, i)->status)->problem) return true;
    return false;
}

/* Only where the repair found no way: quantized weights alone can be dequantized. */
static void find_converted(qs_cause_tally *t) {
    if (!has_problems(t->in->after)) return;
    qs_converted c = qs_cause_converted(qs_compare_resolution(t->in->after));
    if (c.model && !c.file)
        qs_cause_say(t, QS_CAUSE_INTO_CONVERTED, "nothing in the file is quantized");
    else if (c.file && !c.model && qs_resolution_input(qs_compare_resolution(t->in->after))->target)
        qs_cause_say(t, QS_CAUSE_FROM_CONVERTED, "nothing in the model is quantized");
}

/* An action says so, or renames had to bring versions along that the file has none of. */
static void find_versions(qs_cause_tally *t) {
    const qs_resolution *after = qs_compare_resolution(t->in->after);
    const qs_resolve_input *in = qs_resolution_input(after);
    if (!qs_checkpoint_has_metadata(in->a) && qs_resolution_has_metadata(after))
        qs_cause_say(t, QS_CAUSE_NO_METADATA, "the file has none; %u modules get the model's",
                     qs_resolution_metadata_count(after));
    for (size_t i = t->in->actions_before; in->plan && i < qs_plan_count(in->plan); i++)
        if (qs_plan_action(in->plan, i)->kind == QS_ACT_METADATA)
            qs_cause_say(t, QS_CAUSE_NO_METADATA, "%s; %u modules get the model's",
                         qs_checkpoint_has_metadata(in->a) ? "not of all modules" : "the file has none",
                         qs_resolution_touched(after, i));
}

/* ---- renames ---- */

/* By entry of A: its name before the repair. */
static qs_str *names_before(const qs_compare *before, uint32_t entries) {
    const qs_resolution *r = qs_compare_resolution(before);
    qs_str *names = calloc((size_t)entries + 1, sizeof *names);
    for (uint32_t i = 0; names && i < qs_resolution_live(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        if (x->a != QS_NO_INDEX) names[x->a] = x->key;
    }
    return names;
}

static void add_names(qs_cause_tally *t, qs_str from, qs_str to) {
    uint64_t set = qs_cause_of_names(from, to);
    for (unsigned id = 0; id < QS_CAUSE_COUNT; id++)
        if (set & QS_CAUSE_BIT(id))
            qs_cause_add(t, (qs_cause_id)id, false, "%.*s -> %.*s", QS_FMT(from), QS_FMT(to));
}

static bool find_names(qs_cause_tally *t, qs_err *e) {
    const qs_resolution *r = qs_compare_resolution(t->in->after);
    if (t->in->before == t->in->after) return true;
    qs_str *names = names_before(t->in->before, qs_checkpoint_count(qs_resolution_input(r)->a));
    if (!names) return qs_nomem(e);
    for (uint32_t i = 0; i < qs_resolution_live(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        if (x->a != QS_NO_INDEX && names[x->a].n && !qs_str_eq(names[x->a], x->key))
            add_names(t, names[x->a], x->key);
    }
    free(names);
    return true;
}

/* ---- all of it ---- */

/* Those that spoil everything, those that keys speak for, those that stand in nobody's way here. */
static int rank_of(qs_cause_id id) {
    return id <= QS_CAUSE_NO_METADATA ? 0 : id < QS_CAUSE_MODULE ? 1 : 2;
}

static int weightiest_first(const void *p, const void *q) {
    const qs_cause *a = p, *b = q;
    int rank_a = rank_of(a->id), rank_b = rank_of(b->id);
    if (rank_a != rank_b) return rank_a - rank_b;
    if (rank_a == 1 && a->keys != b->keys) return a->keys > b->keys ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

bool qs_causes_find(const qs_cause_input *in, qs_cause out[QS_CAUSE_COUNT], size_t *n, qs_err *e) {
    qs_cause_tally *t = calloc(1, sizeof *t);
    if (!t) return qs_nomem(e);
    t->in = in;
    if (in->copies[0].n)
        qs_cause_say(t, QS_CAUSE_COPIES, "under \"%.*s\" and under \"%.*s\"", QS_FMT(in->copies[0]),
                     QS_FMT(in->copies[1]));
    find_converted(t);
    find_root(t);
    find_versions(t);
    bool ok = find_names(t, e);
    if (ok) qs_cause_find_rows(t);
    *n = 0;
    for (unsigned id = 0; id < QS_CAUSE_COUNT; id++) {
        t->v[id].id = (qs_cause_id)id;
        if (t->found[id]) out[(*n)++] = t->v[id];
    }
    qsort(out, *n, sizeof *out, weightiest_first);
    free(t);
    return ok;
}

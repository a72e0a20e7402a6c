#include "repair/resolve.h"

#include "repair/resolve_impl.h"

#include <math.h>
#include <stdlib.h>

uint32_t qs_work_find(const qs_resolution *r, qs_str key) {
    uint32_t i = qs_map_get(&r->moved, key);
    if (i == QS_MAP_NONE) i = qs_checkpoint_find(r->in.a, key);
    if (i == UINT32_MAX) return QS_NO_INDEX;
    /* The entry once found under this key may have moved on; then nobody has the key, for whoever took it
     * would have been entered in `moved`. */
    const qs_work *w = &r->work.v[i];
    return w->state == QS_WORK_LIVE && qs_str_eq(w->x.key, key) ? i : QS_NO_INDEX;
}

/* ---- where BatchNorm's eps is known from ---- */

static bool yolo_class(qs_str name) {
    return qs_str_starts(name, QS_STR("ultralytics.")) || qs_str_find(name, QS_STR("yolov5")) != SIZE_MAX ||
           qs_str_find(name, QS_STR("yolov8")) != SIZE_MAX;
}

static const char *yolo_in_manifest(const qs_manifest *m) {
    if (yolo_class(qs_manifest_model(m))) return "the model's class is of the YOLO family";
    for (uint32_t i = 0; i < qs_manifest_module_count(m); i++)
        if (yolo_class(qs_manifest_module(m, i)->class_name))
            return "the model's classes are of the YOLO family";
    return NULL;
}

/* Of the top level, which can be the state dict itself, and as large: then it is looked up. */
static qs_node beside(const qs_checkpoint *c, qs_node top, const char *key) {
    const qs_root *root = qs_checkpoint_chosen_root(c);
    if (!root || root->kind != QS_ROOT_STATE_DICT || root->path.n)
        return qs_node_get(qs_checkpoint_graph(c), top, key);
    uint32_t i = qs_checkpoint_find(c, qs_str_of(key));
    return i == UINT32_MAX ? QS_NODE_NONE : qs_checkpoint_entry(c, i)->node;
}

static const char *yolo_in_checkpoint(const qs_checkpoint *c) {
    const qs_root *root = qs_checkpoint_chosen_root(c);
    if (root && yolo_class(root->class_name)) return "the checkpoint holds a model of the YOLO family";
    for (uint32_t i = 0; i < qs_checkpoint_module_count(c); i++)
        if (yolo_class(qs_checkpoint_module_class(c, i)))
            return "the checkpoint holds modules of the YOLO family";
    const qs_graph *g = qs_checkpoint_graph(c);
    qs_node top = g ? qs_graph_root(g) : QS_NODE_NONE;
    if (!g || !qs_node_is_dict_like(g, top)) return NULL;
    qs_str yaml = qs_node_str(g, beside(c, top, "model_yaml"));
    if (qs_str_find(yaml, QS_STR("yolo")) != SIZE_MAX) return "the checkpoint's model_yaml names a YOLO";
    if (beside(c, top, "train_args") && beside(c, top, "recipe"))
        return "the checkpoint's train_args and recipe are those of SparseML with Ultralytics";
    return NULL;
}

/* Ultralytics sets eps = 1e-3 on every BatchNorm (torch_utils.initialize_weights); a checkpoint does not say
 * so. */
static void find_bn_eps(qs_resolution *r) {
    const char *from = r->in.target ? yolo_in_manifest(r->in.target) : NULL;
    if (!from) from = yolo_in_checkpoint(r->in.a);
    if (!from && r->in.b) from = yolo_in_checkpoint(r->in.b);
    r->bn_eps = from ? 1e-3 : NAN;
    r->bn_eps_from = from;
}

double qs_resolution_bn_eps(const qs_resolution *r, const char **from) {
    *from = r->bn_eps_from;
    return r->bn_eps;
}

/* ---- the init context ---- */

static const qs_tensor *resolved_tensor(const void *ctx, qs_str key, const qs_checkpoint **from) {
    const qs_resolution *r = ctx;
    uint32_t i = qs_work_find(r, key);
    return i == QS_NO_INDEX ? NULL : qs_resolved_source(r, &r->work.v[i].x, from);
}

qs_init_context qs_resolve_context(const qs_resolution *r, double bn_eps) {
    bool given = bn_eps > 0; /* false for NaN */
    return (qs_init_context){.target = r->in.target,
                             .sibling = r->in.b,
                             .resolved = resolved_tensor,
                             .ctx = r,
                             .bn_eps = given ? bn_eps : r->bn_eps,
                             .bn_eps_from = given ? "given by hand" : r->bn_eps_from};
}

void qs_resolution_init_context(const qs_resolution *r, double bn_eps, qs_init_context *out) {
    *out = qs_resolve_context(r, bn_eps);
}

/* ---- building ---- */

void qs_resolved_set_shape(qs_resolved *x, const qs_tensor *t) {
    if (!t) return;
    x->shape = t->shape;
    x->dtype = t->dtype;
    x->shape_known = t->kind != QS_TENSOR_OPAQUE || t->dtype != QS_DTYPE_UNKNOWN;
}

static bool take_entries_of_a(qs_resolution *r, qs_err *e) {
    const qs_checkpoint *a = r->in.a;
    uint32_t n = qs_checkpoint_count(a);
    if (!qs_reserve(&r->work, n)) return qs_nomem(e);
    for (uint32_t i = 0; i < n; i++) {
        const qs_entry *en = qs_checkpoint_entry(a, i);
        qs_work w = {.x = {.key = en->key,
                           .a = i,
                           .b = QS_NO_INDEX,
                           .expected = QS_NO_INDEX,
                           .action = QS_NO_INDEX,
                           .bn_eps = NAN},
                     .origin = i};
        qs_resolved_set_shape(&w.x, qs_entry_tensor(a, en));
        r->work.v[r->work.n++] = w;
    }
    return true;
}

static bool explicit_scope(const qs_action *a) {
    return a->scope_kind == QS_SCOPE_KEY || a->scope_kind == QS_SCOPE_KEYS;
}

/* Shape of a value the plan makes. One that cannot be worked out takes the entry back, if its action spoke of
 * many. */
static bool shape_init(qs_resolution *r, qs_work *w, qs_err *e) {
    const qs_action *a = qs_plan_action(r->in.plan, w->x.action);
    qs_init_context x = qs_resolve_context(r, w->x.bn_eps);
    const qs_expected *key = qs_manifest_entry(r->in.target, w->x.expected);
    qs_err why = QS_ERR_INIT;
    if (qs_init_shape(&x, key, w->x.source, &r->arena, &w->x.shape, &w->x.dtype, &why)) {
        w->x.shape_known = true;
        return true;
    }
    if (why.code == QS_E_NOMEM) return qs_nomem(e);
    bool named = !a || a->kind != QS_ACT_INIT || explicit_scope(a);
    if (named && !r->in.lenient)
        return qs_fail(e, QS_E_REFUSED, "action %u: %.*s: %s", w->x.action + 1, QS_FMT(w->x.key), why.msg);
    if (r->in.lenient && !qs_resolve_note(r, w->x.action, w->x.key, why.msg, !named, e)) return false;
    qs_action_count *count = &r->counts[w->x.action];
    w->state = QS_WORK_GONE;
    count->touched--;
    if (!named && count->skipped++ == 0) count->why = qs_arena_str(&r->arena, qs_str_of(why.msg)).p;
    return true;
}

static bool shape_all(qs_resolution *r, qs_err *e) {
    for (size_t i = 0; i < r->work.n; i++) {
        qs_work *w = &r->work.v[i];
        if (w->state != QS_WORK_LIVE) continue;
        if (w->x.mark == QS_MARK_INIT && !shape_init(r, w, e)) return false;
    }
    return true;
}

static void place(qs_resolution *r, uint32_t work) {
    if (r->rank[work] != QS_NO_INDEX) return;
    r->rank[work] = r->count;
    r->order[r->count++] = work;
}

/* qs_work_find for keys that come in much the order of A's entries, or of those the plan made: next[0] is
 * behind the one of A's found last, next[1] behind the one made. */
static uint32_t find_next(const qs_resolution *r, qs_str key, uint32_t next[2]) {
    uint32_t at = QS_NO_INDEX;
    for (int i = 0; i < 2 && at == QS_NO_INDEX; i++) {
        const qs_work *w = next[i] < r->work.n ? &r->work.v[next[i]] : NULL;
        if (w && w->state == QS_WORK_LIVE && qs_str_eq(w->x.key, key)) at = next[i];
    }
    if (at == QS_NO_INDEX) at = qs_work_find(r, key);
    if (at != QS_NO_INDEX) next[at >= qs_checkpoint_count(r->in.a)] = at + 1;
    return at;
}

/* The target's order for the keys it knows, then the rest as they stand, then what was dropped. */
static bool order_result(qs_resolution *r, qs_err *e) {
    size_t n = r->work.n;
    r->order = QS_ARENA_ARRAY(&r->arena, n, uint32_t);
    r->rank = QS_ARENA_ARRAY(&r->arena, n, uint32_t);
    if (!r->order || !r->rank) return qs_nomem(e);
    memset(r->rank, 0xff, n * sizeof *r->rank);
    uint32_t next[2] = {0, 0};
    for (uint32_t i = 0; r->in.target && i < qs_manifest_count(r->in.target); i++) {
        uint32_t at = find_next(r, qs_manifest_entry(r->in.target, i)->key, next);
        if (at != QS_NO_INDEX) place(r, at);
    }
    for (uint32_t i = 0; i < n; i++)
        if (r->work.v[i].state == QS_WORK_LIVE) place(r, i);
    r->live = r->count;
    for (uint32_t i = 0; i < n; i++)
        if (r->work.v[i].state == QS_WORK_DROPPED) place(r, i);
    return true;
}

static bool apply_plan(qs_resolution *r, qs_err *e) {
    size_t actions = r->in.plan ? qs_plan_count(r->in.plan) : 0;
    if (actions == 0) {
        r->count = r->live = (uint32_t)r->work.n;
        return qs_resolve_metadata(r, e);
    }
    r->counts = qs_arena_array(&r->arena, actions, sizeof *r->counts);
    if (!r->counts) return qs_nomem(e);
    memset(r->counts, 0, actions * sizeof *r->counts);
    r->actions = actions;
    for (size_t i = 0; i < actions; i++)
        if (!qs_resolve_action(r, i, e)) return false;
    return shape_all(r, e) && order_result(r, e) && qs_resolve_metadata(r, e);
}

bool qs_resolve(const qs_resolve_input *in, qs_resolution **out, qs_err *e) {
    qs_resolution *r = calloc(1, sizeof *r);
    if (!r) return qs_nomem(e);
    r->in = *in;
    find_bn_eps(r);
    if (take_entries_of_a(r, e) && apply_plan(r, e)) {
        *out = r;
        return true;
    }
    qs_resolution_free(r);
    return false;
}

void qs_resolution_free(qs_resolution *r) {
    if (!r) return;
    qs_vec_free(&r->work);
    qs_vec_free(&r->meta);
    qs_vec_free(&r->dropped_top);
    qs_vec_free(&r->unapplied);
    qs_vec_free(&r->steps);
    qs_map_free(&r->moved);
    qs_map_free(&r->meta_map);
    qs_arena_free(&r->arena);
    free(r);
}

/* ---- reading ---- */

const qs_resolve_input *qs_resolution_input(const qs_resolution *r) {
    return &r->in;
}
uint32_t qs_resolution_count(const qs_resolution *r) {
    return r->count;
}
uint32_t qs_resolution_live(const qs_resolution *r) {
    return r->live;
}

const qs_resolved *qs_resolution_entry(const qs_resolution *r, uint32_t i) {
    return &r->work.v[r->order ? r->order[i] : i].x;
}

uint32_t qs_resolution_find(const qs_resolution *r, qs_str key) {
    uint32_t i = qs_work_find(r, key);
    return i == QS_NO_INDEX || !r->rank ? i : r->rank[i];
}

static const qs_action_count *count_of(const qs_resolution *r, size_t action) {
    static const qs_action_count none = {0};
    return r->counts && action < r->actions ? &r->counts[action] : &none;
}

uint32_t qs_resolution_touched(const qs_resolution *r, size_t action) {
    return count_of(r, action)->touched;
}

uint32_t qs_resolution_skipped(const qs_resolution *r, size_t action, const char **why) {
    const qs_action_count *c = count_of(r, action);
    if (why) *why = c->why;
    return c->skipped;
}

const qs_tensor *qs_resolved_tensor(const qs_resolution *r, const qs_resolved *x,
                                    const qs_checkpoint **from) {
    return x->mark == QS_MARK_CONVERTED ? NULL : qs_resolved_source(r, x, from);
}

bool qs_resolved_is_renamed(const qs_resolution *r, const qs_resolved *x) {
    if (x->mark != QS_MARK_CONVERTED || x->a == QS_NO_INDEX) return x->mark == QS_MARK_RENAMED;
    return !qs_str_eq(x->key, qs_checkpoint_entry(r->in.a, x->a)->key);
}

const qs_tensor *qs_resolved_source(const qs_resolution *r, const qs_resolved *x,
                                    const qs_checkpoint **from) {
    const qs_checkpoint *c = x->b != QS_NO_INDEX ? r->in.b : x->a != QS_NO_INDEX ? r->in.a : NULL;
    if (!c) return NULL;
    if (from) *from = c;
    return qs_entry_tensor(c, qs_checkpoint_entry(c, x->b != QS_NO_INDEX ? x->b : x->a));
}

static bool fill_converted(const qs_resolution *r, const qs_resolved *x, qs_arena *arena, qs_fill *out,
                           qs_err *e) {
    const qs_tensor *t = qs_resolved_source(r, x, NULL);
    uint64_t n = qs_shape_numel(x->shape);
    size_t size = qs_dtype_get(x->dtype)->size;
    char was[128], text[200];
    qs_shape_text(t->shape, "x", was, sizeof was);
    snprintf(text, sizeof text, "from %s %s", was, qs_dtype_get(t->dtype)->name);
    void *data = n > SIZE_MAX / 16 ? NULL : qs_arena_array(arena, (size_t)n, size);
    *out = (qs_fill){x->dtype, x->shape, data, (size_t)n * size, qs_arena_str(arena, qs_str_of(text)).p};
    if (!data || !out->origin) return qs_nomem(e);
    return qs_resolved_read(r, x, 0, (size_t)n, data, e);
}

bool qs_resolved_fill(const qs_resolution *r, const qs_resolved *x, qs_init_cache *cache, qs_arena *arena,
                      qs_fill *out, qs_err *e) {
    if (x->mark == QS_MARK_CONVERTED) return fill_converted(r, x, arena, out, e);
    if (x->mark != QS_MARK_INIT)
        return qs_fail(e, QS_E_USAGE, "%.*s: is not made by the plan", QS_FMT(x->key));
    qs_init_context ctx = qs_resolve_context(r, x->bn_eps);
    return qs_init_value(&ctx, qs_manifest_entry(r->in.target, x->expected), x->source, cache, arena, out, e);
}

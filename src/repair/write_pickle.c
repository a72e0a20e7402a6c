/* data.pkl of the new file: A's object graph re-emitted, with the chosen state dict and its `_metadata`
 * replaced by what the resolution says, and storages of B under keys of their own. */
#include "format/pickle_emit.h"
#include "repair/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>

enum { BATCH = 1000 };

typedef struct job {
    qs_writer *w;
    bool measuring; /* the first of two passes: w->ranges are found out */
    qs_emit *m;
    const qs_graph *a;
    qs_node root, metadata; /* of A */
    qs_limits limits;
    qs_err *e;
} job;

static bool to_buf(void *ctx, const void *p, size_t n, qs_err *e) {
    qs_buf_add(ctx, (qs_str){p, n});
    return !((qs_buf *)ctx)->failed || qs_nomem(e);
}

static bool op(job *j, qs_emit_op code) {
    return qs_emit_code(j->m, code, j->e);
}
static bool str(job *j, qs_str s) {
    return qs_emit_str(j->m, s, j->e);
}
static bool global(job *j, const char *module, const char *name) {
    return qs_emit_global(j->m, qs_str_of(module), qs_str_of(name), j->e);
}
static bool node(job *j, const qs_graph *g, qs_node n) {
    return qs_emit_node(j->m, g, n, &j->limits, j->e);
}
static bool empty_ordered_dict(job *j) {
    return global(j, "collections", "OrderedDict") && op(j, QS_OP_EMPTY_TUPLE) && op(j, QS_OP_REDUCE);
}

/* ---- storages ---- */

/* A key no storage of A has. */
static bool new_key(job *j, qs_str *out) {
    char text[24];
    do snprintf(text, sizeof text, "%" PRIu64, j->w->next_key++);
    while (qs_map_get(&j->w->a.by_key, qs_str_of(text)) != QS_MAP_NONE);
    *out = qs_arena_str(&j->w->arena, qs_str_of(text));
    return out->p || qs_nomem(j->e);
}

static bool check_record(const qs_checkpoint *c, const qs_storage *s, qs_err *e) {
    const qs_record *rec = qs_container_record(qs_checkpoint_container(c), s->record);
    if (rec && rec->size == s->bytes) return true;
    return qs_fail(e, QS_E_REFUSED,
                   "%s: storage %.*s should have %" PRIu64 " bytes and its record has %" PRIu64
                   "; drop the entries that use it, then save",
                   qs_checkpoint_path(c), QS_FMT(qs_storage_key(c, s)), s->bytes, rec ? rec->size : 0);
}

/* Storage i of a document is referred to. */
static bool use_storage(job *j, qs_out_source *src, uint32_t i) {
    if (src->out[i]) return true;
    const qs_storage *s = qs_checkpoint_storage(src->c, i);
    qs_out_storage o = {.key = qs_storage_key(src->c, s), .bytes = s->bytes, .from = src->c, .storage = i};
    if (!check_record(src->c, s, j->e)) return false;
    if (src == &j->w->b && !new_key(j, &o.key)) return false;
    if (!qs_push(&j->w->storages, o)) return qs_nomem(j->e);
    src->out[i] = (uint32_t)j->w->storages.n;
    return true;
}

/* A persistent id under another key or location, of `numel` elements. */
static bool emit_moved(job *j, const qs_graph *g, qs_node id, qs_str key, int64_t numel) {
    return op(j, QS_OP_MARK) && str(j, QS_STR("storage")) && node(j, g, qs_node_item(g, id, 1)) &&
           str(j, key) && (j->w->cpu ? str(j, QS_STR("cpu")) : node(j, g, qs_node_item(g, id, 3))) &&
           qs_emit_int(j->m, numel, j->e) && op(j, QS_OP_TUPLE) && op(j, QS_OP_BINPERSID);
}

/* False: re-emit as it is. */
static bool hook_persid(job *j, const qs_graph *g, qs_node n, bool *failed) {
    qs_out_source *src = g == j->a ? &j->w->a : &j->w->b;
    qs_node id = qs_node_persid(g, n);
    if (!qs_str_is(qs_node_str(g, qs_node_item(g, id, 0)), "storage")) return false;
    uint32_t i = qs_map_get(&src->by_key, qs_node_str(g, qs_node_item(g, id, 2)));
    if (i == QS_MAP_NONE) return false;
    if (j->measuring && src == &j->w->a) j->w->ranges[i].pinned = true;
    *failed = !use_storage(j, src, i);
    /* What counts is how many elements the first id of a storage told, and that one may be in no object. */
    const qs_storage *s = qs_checkpoint_storage(src->c, i);
    int64_t numel = (int64_t)(s->bytes / (s->dtype ? qs_dtype_get(s->dtype)->size : 1));
    bool same = qs_node_int(g, qs_node_item(g, id, 4)) == numel;
    if (*failed || (src == &j->w->a && !j->w->cpu && same)) return false;
    *failed = !emit_moved(j, g, id, j->w->storages.v[src->out[i] - 1].key, numel);
    return true;
}

/* ---- storages that lost a user ---- */

/* A call of torch._utils._rebuild_tensor_v2 on a storage that a dropped entry shared. */
typedef struct view {
    qs_call call;
    qs_node id; /* of the storage */
    uint32_t storage;
    uint64_t size, offset; /* of an element in bytes; in elements */
} view;

static bool is_view(const job *j, qs_node n, view *v) {
    const qs_graph *g = j->a;
    if (!j->w->ranges || !qs_node_call(g, n, &v->call) || v->call.kwargs || v->call.builds) return false;
    if (!qs_node_is_global(g, v->call.callable, "torch._utils", "_rebuild_tensor_v2")) return false;
    v->id = qs_node_persid(g, qs_node_item(g, v->call.args, 0));
    v->storage = qs_map_get(&j->w->a.by_key, qs_node_str(g, qs_node_item(g, v->id, 2)));
    if (v->storage == QS_MAP_NONE || !j->w->ranges[v->storage].lost) return false;
    v->size = qs_dtype_get(qs_checkpoint_storage(j->w->a.c, v->storage)->dtype)->size;
    v->offset = (uint64_t)qs_node_int(g, qs_node_item(g, v->call.args, 1));
    return v->size != 0;
}

/* One past the last element a view reaches; false if that makes no sense. */
static bool reach(const job *j, const view *v, uint64_t *end) {
    qs_node shape = qs_node_item(j->a, v->call.args, 2), stride = qs_node_item(j->a, v->call.args, 3);
    uint64_t last = v->offset;
    bool empty = false;
    if (qs_node_len(j->a, shape) != qs_node_len(j->a, stride)) return false;
    for (size_t i = 0; i < qs_node_len(j->a, shape); i++) {
        int64_t n = qs_node_int(j->a, qs_node_item(j->a, shape, i)), step, far;
        step = qs_node_int(j->a, qs_node_item(j->a, stride, i));
        if (n < 0 || step < 0) return false;
        if (n == 0) {
            empty = true;
        } else if (__builtin_mul_overflow(n - 1, step, &far) ||
                   __builtin_add_overflow(last, (uint64_t)far, &last)) {
            return false;
        }
    }
    *end = empty ? v->offset : last + 1;
    return *end <= qs_checkpoint_storage(j->w->a.c, v->storage)->bytes / v->size;
}

static void widen(const job *j, const view *v) {
    qs_out_range *r = &j->w->ranges[v->storage];
    uint64_t end;
    if (!reach(j, v, &end)) {
        r->pinned = true;
        return;
    }
    if (v->offset * v->size < r->begin) r->begin = v->offset * v->size;
    if (end * v->size > r->end) r->end = end * v->size;
}

static bool is_smaller(const qs_writer *w, uint32_t i) {
    const qs_out_range *r = &w->ranges[i];
    return r->lost && !r->pinned && r->begin <= r->end &&
           r->end - r->begin < qs_checkpoint_storage(w->a.c, i)->bytes;
}

/* The same call over what is left of the storage. */
static bool emit_view(job *j, const view *v) {
    const qs_graph *g = j->a;
    const qs_out_range *r = &j->w->ranges[v->storage];
    bool cut = !j->measuring && is_smaller(j->w, v->storage);
    if (!use_storage(j, &j->w->a, v->storage)) return false;
    qs_out_storage *o = &j->w->storages.v[j->w->a.out[v->storage] - 1];
    if (cut) {
        o->skip = r->begin;
        o->bytes = r->end - r->begin;
    }
    bool ok = node(j, g, v->call.callable) && op(j, QS_OP_MARK) &&
              emit_moved(j, g, v->id, o->key, (int64_t)(o->bytes / v->size)) &&
              qs_emit_int(j->m, (int64_t)(v->offset - o->skip / v->size), j->e);
    for (size_t i = 2; ok && i < qs_node_len(g, v->call.args); i++)
        ok = node(j, g, qs_node_item(g, v->call.args, i));
    return ok && op(j, QS_OP_TUPLE) && op(j, QS_OP_REDUCE);
}

/* Marks the storages of A that entries used which are dropped or written converted. */
static bool find_lost(qs_writer *w, qs_err *e) {
    const qs_resolution *r = w->r;
    uint32_t n = qs_checkpoint_storage_count(w->a.c);
    for (uint32_t i = 0; i < qs_resolution_count(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        if (x->mark != QS_MARK_DROPPED && x->mark != QS_MARK_CONVERTED) continue;
        const qs_tensor *t =
            x->a == QS_NO_INDEX ? NULL : qs_entry_tensor(w->a.c, qs_checkpoint_entry(w->a.c, x->a));
        if (!t || t->storage == UINT32_MAX) continue;
        if (!w->ranges && !(w->ranges = calloc(n, sizeof *w->ranges))) return qs_nomem(e);
        w->ranges[t->storage].lost = true;
    }
    for (uint32_t i = 0; w->ranges && i < n; i++) w->ranges[i].begin = UINT64_MAX;
    return true;
}

/* ---- values ---- */

static bool emit_ints(job *j, const int64_t *v, uint32_t n) {
    bool ok = op(j, QS_OP_MARK);
    for (uint32_t i = 0; ok && i < n; i++) ok = qs_emit_int(j->m, v[i], j->e);
    return ok && op(j, QS_OP_TUPLE);
}

static bool emit_shape_and_strides(job *j, qs_shape s) {
    int64_t stride[64], step = 1;
    if (s.ndim > 64)
        return qs_fail(j->e, QS_E_REFUSED, "a value with more than 64 dimensions cannot be written");
    for (uint32_t i = s.ndim; i > 0; i--) {
        stride[i - 1] = step;
        step *= s.dim[i - 1] ? s.dim[i - 1] : 1;
    }
    return emit_ints(j, s.dim, s.ndim) && emit_ints(j, stride, s.ndim);
}

/* torch._utils._rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()), or _v3 with the dtype as
 * its last argument over bytes, for dtypes that have no storage class. */
static bool emit_fill(job *j, const qs_fill *f, qs_str key) {
    const qs_dtype_info *d = qs_dtype_get(f->dtype);
    bool typed = d->storage[0] != 0;
    uint64_t numel = typed ? f->bytes / d->size : f->bytes;
    return global(j, "torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3") &&
           op(j, QS_OP_MARK) && op(j, QS_OP_MARK) && str(j, QS_STR("storage")) &&
           (typed ? global(j, "torch", d->storage) : global(j, "torch.storage", "UntypedStorage")) &&
           str(j, key) && str(j, QS_STR("cpu")) && qs_emit_int(j->m, (int64_t)numel, j->e) &&
           op(j, QS_OP_TUPLE) && op(j, QS_OP_BINPERSID) && qs_emit_int(j->m, 0, j->e) &&
           emit_shape_and_strides(j, f->shape) && qs_emit_bool(j->m, false, j->e) && empty_ordered_dict(j) &&
           (typed || global(j, "torch", d->name)) && op(j, QS_OP_TUPLE) && op(j, QS_OP_REDUCE);
}

static bool emit_made(job *j, const qs_resolved *x, uint32_t i) {
    qs_fill f = {.dtype = x->dtype, .shape = x->shape};
    qs_out_storage o = {0};
    if (x->mark == QS_MARK_CONVERTED) {
        f.bytes = qs_shape_numel(x->shape) * qs_dtype_get(x->dtype)->size;
        o.r = j->w->r;
        o.converted = x;
    } else if (!qs_resolved_fill(j->w->r, x, j->w->cache, &j->w->arena, &f, j->e)) {
        return false;
    }
    if (f.dtype == QS_DTYPE_UNKNOWN || f.bytes != qs_shape_numel(f.shape) * qs_dtype_get(f.dtype)->size)
        return qs_fail(j->e, QS_E_REFUSED, "%.*s: the value made for it has no element type torch knows",
                       QS_FMT(x->key));
    if (!new_key(j, &o.key)) return false;
    o.bytes = f.bytes;
    o.data = f.data;
    if (!qs_push(&j->w->storages, o)) return qs_nomem(j->e);
    j->w->fills[i] = (uint32_t)j->w->storages.n;
    return emit_fill(j, &f, o.key);
}

/* What state_dict() gives for a module's parameter: the tensor inside it. What is no tensor to us, of a class
 * that we do not know, stays in its parameter: that is one. */
static qs_node plain_tensor(const qs_checkpoint *c, const qs_entry *en) {
    const qs_graph *g = qs_checkpoint_graph(c);
    qs_node n = en->node;
    qs_call call;
    if (qs_checkpoint_chosen_root(c)->kind != QS_ROOT_MODULE) return n;
    for (int i = 0; i < 64 && qs_node_call(g, n, &call); i++) {
        if (!qs_str_is(qs_node_module(g, call.callable), "torch._utils") ||
            !qs_str_starts(qs_node_name(g, call.callable), QS_STR("_rebuild_parameter")))
            break;
        qs_node inside = qs_node_item(g, call.args, 0);
        if (!qs_checkpoint_tensor_of_node(c, inside)) break;
        n = inside;
    }
    return n;
}

static bool emit_value(job *j, uint32_t i) {
    const qs_resolved *x = qs_resolution_entry(j->w->r, i);
    if (qs_resolved_is_made(x)) return emit_made(j, x, i);
    const qs_checkpoint *c = x->b != QS_NO_INDEX ? j->w->b.c : j->w->a.c;
    const qs_entry *en = qs_checkpoint_entry(c, x->b != QS_NO_INDEX ? x->b : x->a);
    return node(j, qs_checkpoint_graph(c), plain_tensor(c, en));
}

/* ---- dicts ---- */

/* An empty dict of the kind node n is. */
static bool emit_shell(job *j, qs_node n) {
    qs_call c;
    if (!qs_node_call(j->a, n, &c)) return op(j, QS_OP_EMPTY_DICT);
    if (c.kwargs)
        return qs_fail(j->e, QS_E_UNSUPPORTED, "the state dict is of a class that cannot be written");
    bool newobj = qs_node_kind_of(j->a, n) == QS_NODE_NEWOBJ;
    return node(j, j->a, c.callable) && node(j, j->a, c.args) && op(j, newobj ? QS_OP_NEWOBJ : QS_OP_REDUCE);
}

static bool emit_version_dict(job *j, qs_node was, int64_t version) {
    bool ok = op(j, QS_OP_EMPTY_DICT);
    for (size_t i = 0; ok && i < qs_node_pairs(j->a, was); i++) {
        qs_node key = qs_node_key(j->a, was, i);
        if (qs_str_is(qs_node_str(j->a, key), "version")) continue;
        ok = node(j, j->a, key) && node(j, j->a, qs_node_value(j->a, was, i)) && op(j, QS_OP_SETITEM);
    }
    if (ok && version >= 0)
        ok = str(j, QS_STR("version")) && qs_emit_int(j->m, version, j->e) && op(j, QS_OP_SETITEM);
    return ok;
}

static bool emit_metadata_items(job *j) {
    const qs_resolution *r = j->w->r;
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_resolution_metadata_count(r); i++) {
        int64_t version = qs_resolution_metadata_version(r, i);
        qs_node was = qs_resolution_metadata_node(r, i);
        ok = str(j, qs_resolution_metadata_prefix(r, i)) &&
             (was && version == INT64_MIN ? node(j, j->a, was) : emit_version_dict(j, was, version)) &&
             op(j, QS_OP_SETITEM);
    }
    return ok;
}

static bool emit_metadata_build(job *j) {
    return op(j, QS_OP_EMPTY_DICT) && str(j, QS_STR("_metadata")) && empty_ordered_dict(j) &&
           emit_metadata_items(j) && op(j, QS_OP_SETITEM) && op(j, QS_OP_BUILD);
}

static bool emit_items(job *j) {
    uint32_t n = qs_resolution_live(j->w->r);
    bool ok = true;
    for (uint32_t i = 0; ok && i < n; i++) {
        if (i % BATCH == 0) ok = op(j, QS_OP_MARK);
        ok = ok && str(j, qs_resolution_entry(j->w->r, i)->key) && emit_value(j, i);
        if (ok && (i + 1 == n || (i + 1) % BATCH == 0)) ok = op(j, QS_OP_SETITEMS);
    }
    return ok;
}

/* The state dict itself. */
static bool emit_root(job *j) {
    bool dict = qs_checkpoint_chosen_root(j->w->a.c)->kind == QS_ROOT_STATE_DICT;
    bool call = qs_node_kind_of(j->a, j->root) != QS_NODE_DICT;
    bool add = qs_resolution_has_metadata(j->w->r) && j->metadata == QS_NODE_NONE;
    bool keep = dict && (call || !add); /* a plain dict has no attributes */
    bool ok = (keep ? emit_shell(j, j->root) : empty_ordered_dict(j)) &&
              qs_emit_put_node(j->m, j->a, j->root, j->e) && emit_items(j);
    qs_call c;
    if (dict && qs_node_call(j->a, j->root, &c))
        for (uint32_t i = 0; ok && i < c.builds; i++)
            ok = node(j, j->a, qs_node_build(j->a, j->root, i)) && op(j, QS_OP_BUILD);
    return ok && (!add || emit_metadata_build(j));
}

/* The file's top level without what the plan drops of it. */
static bool emit_top(job *j, qs_node top) {
    bool ok = emit_shell(j, top) && qs_emit_put_node(j->m, j->a, top, j->e);
    for (size_t i = 0; ok && i < qs_node_pairs(j->a, top); i++) {
        qs_node key = qs_node_key(j->a, top, i);
        bool text = qs_node_kind_of(j->a, key) == QS_NODE_STR;
        if (text && qs_resolution_top_dropped(j->w->r, qs_node_str(j->a, key))) continue;
        ok = node(j, j->a, key) && node(j, j->a, qs_node_value(j->a, top, i)) && op(j, QS_OP_SETITEM);
    }
    qs_call c;
    if (qs_node_call(j->a, top, &c))
        for (uint32_t i = 0; ok && i < c.builds; i++)
            ok = node(j, j->a, qs_node_build(j->a, top, i)) && op(j, QS_OP_BUILD);
    return ok;
}

static bool hook(void *ctx, qs_emit *m, const qs_graph *g, qs_node n, bool *failed, qs_err *e) {
    job *j = ctx;
    (void)m, (void)e;
    if (qs_node_kind_of(g, n) == QS_NODE_PERSID) return hook_persid(j, g, n, failed);
    if (g != j->a || !j->w->edited) return false;
    view v;
    if (is_view(j, n, &v)) {
        if (j->measuring) widen(j, &v);
        *failed = !emit_view(j, &v);
        return true;
    }
    if (n == j->root) {
        *failed = !emit_root(j);
        return true;
    }
    if (n == qs_graph_root(g) && qs_resolution_tops_dropped(j->w->r)) {
        *failed = !emit_top(j, n);
        return true;
    }
    if (n != j->metadata || n == QS_NODE_NONE) return false;
    *failed = !(emit_shell(j, n) && qs_emit_put_node(m, g, n, e) && emit_metadata_items(j));
    return true;
}

static bool emit_all(qs_writer *w, bool measuring, qs_err *e) {
    const qs_checkpoint *a = w->a.c;
    job j = {.w = w,
             .measuring = measuring,
             .a = qs_checkpoint_graph(a),
             .root = qs_checkpoint_chosen_root(a)->node,
             .metadata = qs_checkpoint_metadata_node(a),
             .limits = *qs_checkpoint_limits(a),
             .e = e};
    j.m = qs_emit_new(to_buf, &w->pickle);
    if (!j.m) return qs_nomem(e);
    qs_emit_set_hook(j.m, hook, &j);
    bool ok =
        qs_emit_begin(j.m, e) && node(&j, j.a, w->bare ? j.root : qs_graph_root(j.a)) && qs_emit_end(j.m, e);
    qs_emit_free(j.m);
    return ok;
}

/* What the first pass found out lets some storages be smaller: once more, from the beginning. */
static void start_again(qs_writer *w) {
    w->pickle.n = w->storages.n = 0;
    w->next_key = 0;
    memset(w->a.out, 0, qs_checkpoint_storage_count(w->a.c) * sizeof *w->a.out);
    if (w->b.c) memset(w->b.out, 0, qs_checkpoint_storage_count(w->b.c) * sizeof *w->b.out);
}

bool qs_write_pickle(qs_writer *w, qs_err *e) {
    bool smaller = false;
    if (w->edited && !find_lost(w, e)) return false;
    if (!emit_all(w, w->ranges != NULL, e)) return false;
    for (uint32_t i = 0; w->ranges && !smaller && i < qs_checkpoint_storage_count(w->a.c); i++)
        smaller = is_smaller(w, i);
    if (!smaller) return true;
    start_again(w);
    return emit_all(w, false, e);
}

/* From rebuild calls to tensors: torch/_utils.py, torch/_tensor.py (torch-files.md, section 2). The graph is
 * scanned, not walked: whatever is a tensor anywhere in the file is found in one pass without recursion. */
#include "model/checkpoint_internal.h"

#include <stdarg.h>
#include <stdlib.h>

enum { MAX_WRAPPERS = 64 }; /* parameter of a tensor subclass of a tensor ... */

/* One tensor being decoded. */
typedef struct decoder {
    qs_checkpoint *c;
    const qs_graph *g;
    qs_tensor *t;
    qs_node args;
    bool nomem;
} decoder;

static void bad(decoder *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void bad(decoder *d, const char *fmt, ...) {
    if (d->t->bad) return;
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->t->bad = qs_arena_str(&d->c->arena, qs_str_of(text)).p;
    if (!d->t->bad) d->nomem = true;
}

static qs_node arg(const decoder *d, size_t i) {
    return qs_node_item(d->g, d->args, i);
}

/* ---- storages ---- */

typedef struct scan {
    qs_checkpoint *c;
    uint32_t *by_record; /* [records] storage + 1 of a record, 0: none yet */
    qs_err *e;
} scan;

static uint32_t find_record(const scan *s, qs_str key) {
    char name[512] = "data/";
    if (key.n > sizeof name - 5) return QS_NONE;
    if (key.n) memcpy(name + 5, key.p, key.n);
    return qs_container_find(s->c->container, (qs_str){name, key.n + 5});
}

/* Index of the storage; for a new one the next free. A storage that has a record is known by that. */
static bool storage_index(scan *s, const qs_storage *found, uint32_t *out) {
    uint32_t fresh = (uint32_t)s->c->storages.n;
    if (found->record != QS_NONE) {
        uint32_t *at = &s->by_record[found->record];
        if (*at == 0) *at = fresh + 1;
        *out = *at - 1;
        return true;
    }
    *out = qs_map_add(&s->c->storage_by_key, found->key, fresh);
    return *out != QS_MAP_NONE || qs_nomem(s->e);
}

static bool storage_of_persid(const scan *s, qs_node persid, qs_storage *out) {
    const qs_graph *g = s->c->graph;
    qs_node id = qs_node_persid(g, persid), cls = qs_node_item(g, id, 1), numel = qs_node_item(g, id, 4);
    if (!qs_str_is(qs_node_str(g, qs_node_item(g, id, 0)), "storage")) return false;
    if (qs_node_kind_of(g, numel) != QS_NODE_INT || qs_node_int(g, numel) < 0) return false;
    *out = (qs_storage){.key = qs_node_str(g, qs_node_item(g, id, 2)),
                        .location = qs_node_str(g, qs_node_item(g, id, 3)),
                        .dtype = qs_dtype_of_storage(qs_node_name(g, cls)),
                        .node = persid};
    uint64_t size = out->dtype ? qs_dtype_get(out->dtype)->size : 1;
    if (__builtin_mul_overflow((uint64_t)qs_node_int(g, numel), size, &out->bytes)) out->bytes = UINT64_MAX;
    out->record = find_record(s, out->key);
    return true;
}

static bool fail_two_types(const qs_checkpoint *c, const qs_storage *a, const qs_storage *b, qs_err *e) {
    char key[64];
    qs_str_printable(a->key, key, sizeof key);
    return qs_fail_at(e, QS_E_INPUT, "data.pkl", qs_node_offset(c->graph, b->node),
                      "storage %s is declared as %s and as %s: torch would silently read one as the other",
                      key, qs_dtype_get(a->dtype)->name, qs_dtype_get(b->dtype)->name);
}

static bool add_storage(scan *s, qs_node persid) {
    qs_checkpoint *c = s->c;
    qs_storage found;
    uint32_t at;
    if (!storage_of_persid(s, persid, &found)) return true;
    if (c->storages.n >= QS_NONE) return qs_fail(s->e, QS_E_LIMIT, "too many storages");
    if (!storage_index(s, &found, &at)) return false;
    c->index[persid] = at;
    if (at < c->storages.n) { /* torch keeps the first declaration, so do we */
        const qs_storage *first = &c->storages.v[at];
        return first->dtype == found.dtype || fail_two_types(c, first, &found, s->e);
    }
    return qs_push(&c->storages, found) || qs_nomem(s->e);
}

/* ---- shapes ---- */

/* A tuple, list or torch.Size of ints >= 0, copied to the arena. */
static bool read_ints(decoder *d, qs_node n, const char *what, const int64_t **out, uint32_t *count) {
    qs_call call;
    if (qs_node_call(d->g, n, &call) && qs_node_is_global(d->g, call.callable, "torch", "Size"))
        n = qs_node_item(d->g, call.args, 0);
    qs_node_kind kind = qs_node_kind_of(d->g, n);
    if (kind != QS_NODE_TUPLE && kind != QS_NODE_LIST) return bad(d, "its %s is no tuple", what), false;
    size_t len = qs_node_len(d->g, n);
    if (len > d->c->limits.ndim)
        return bad(d, "it has %zu dimensions, more than --limit dimensions=%llu", len,
                   (unsigned long long)d->c->limits.ndim),
               false;
    int64_t *v = len ? QS_ARENA_ARRAY(&d->c->arena, len, int64_t) : NULL;
    if (len && !v) return d->nomem = true, false;
    for (size_t i = 0; i < len; i++) {
        qs_node item = qs_node_item(d->g, n, i);
        v[i] = qs_node_int(d->g, item);
        if (qs_node_kind_of(d->g, item) != QS_NODE_INT || v[i] < 0)
            return bad(d, "its %s has an element that is no size", what), false;
    }
    *out = v;
    *count = (uint32_t)len;
    return true;
}

static bool contiguous_strides(decoder *d) {
    uint32_t n = d->t->shape.ndim;
    int64_t *v = n ? QS_ARENA_ARRAY(&d->c->arena, n, int64_t) : NULL;
    if (n && !v) return d->nomem = true, false;
    int64_t step = 1;
    for (uint32_t i = n; i-- > 0;) {
        v[i] = step;
        int64_t dim = d->t->shape.dim[i] ? d->t->shape.dim[i] : 1;
        if (__builtin_mul_overflow(step, dim, &step)) step = INT64_MAX;
    }
    d->t->stride = v;
    return true;
}

/* Shape, and strides unless `stride` is QS_NODE_NONE (then as if contiguous). On failure the tensor is a bad
 * scalar. */
static bool read_layout(decoder *d, qs_node size, qs_node stride) {
    qs_tensor *t = d->t;
    uint32_t n = 0;
    const int64_t *dim = NULL;
    if (!read_ints(d, size, "size", &dim, &n)) return false;
    t->shape = (qs_shape){n, dim};
    if (qs_shape_numel(t->shape) == UINT64_MAX) bad(d, "its size overflows");
    if (stride == QS_NODE_NONE) return contiguous_strides(d);
    uint32_t strides = 0;
    if (read_ints(d, stride, "stride", &t->stride, &strides)) {
        if (strides == n) return true;
        bad(d, "it has %u sizes and %u strides", n, strides);
    }
    return d->nomem ? false : contiguous_strides(d);
}

/* Bytes of storage a tensor reaches into, UINT64_MAX on overflow. */
static uint64_t bytes_needed(const qs_tensor *t) {
    if (qs_shape_numel(t->shape) == 0) return 0;
    uint64_t last = t->offset, span;
    for (uint32_t i = 0; i < t->shape.ndim; i++) {
        if (__builtin_mul_overflow((uint64_t)(t->shape.dim[i] - 1), (uint64_t)t->stride[i], &span) ||
            __builtin_add_overflow(last, span, &last))
            return UINT64_MAX;
    }
    if (last == UINT64_MAX) return UINT64_MAX;
    uint64_t elements = last + 1, bytes;
    if (t->dtype == QS_QUINT4X2) elements = (elements + 1) / 2;
    if (t->dtype == QS_QUINT2X4) elements = (elements + 3) / 4;
    return __builtin_mul_overflow(elements, (uint64_t)qs_dtype_get(t->dtype)->size, &bytes) ? UINT64_MAX
                                                                                            : bytes;
}

typedef unsigned long long ull;

static const char *printable(qs_str s, char out[64]) {
    qs_str_printable(s, out, 64);
    return out;
}

/* Strides of 0 make 2^40 elements of one; whatever reads them all would not end. torch's expand() may repeat
 * a storage, but nobody saves gigabytes that way. */
static bool is_blown_up(const qs_tensor *t, uint64_t storage_bytes) {
    enum { REPEATS = 64 };
    const uint64_t usual = 1ull << 32; /* elements that may repeat as they like */
    uint64_t n = qs_shape_numel(t->shape);
    return n > usual && n / REPEATS > storage_bytes;
}

static void check_bounds(decoder *d) {
    const qs_tensor *t = d->t;
    const qs_storage *s = &d->c->storages.v[t->storage];
    uint64_t need = bytes_needed(t);
    char key[64];
    if (t->dtype == QS_DTYPE_UNKNOWN) return bad(d, "its element type is not known");
    if (need > s->bytes)
        return bad(d, "needs %llu bytes, storage %s has %llu", (ull)need, printable(s->key, key),
                   (ull)s->bytes);
    if (s->record == QS_NONE) return bad(d, "the file has no record data/%s", printable(s->key, key));
    uint64_t have = qs_container_record(d->c->container, s->record)->size;
    if (have < s->bytes)
        return bad(d, "needs %llu bytes, record data/%s has %llu", (ull)s->bytes, printable(s->key, key),
                   (ull)have);
    if (have > s->bytes)
        return bad(d, "record data/%s has %llu bytes, %llu were declared", printable(s->key, key), (ull)have,
                   (ull)s->bytes);
    if (is_blown_up(t, s->bytes))
        return bad(d, "its strides make %llu elements of %llu bytes", (ull)qs_shape_numel(t->shape),
                   (ull)s->bytes);
    if (d->c->big_endian && t->dtype != s->dtype && qs_dtype_get(t->dtype)->size > 1)
        bad(d, "its bytes are big-endian in a storage without a type, which torch does not swap");
}

/* ---- the rebuild functions ---- */

static void read_storage(decoder *d, size_t i) {
    qs_node n = arg(d, i);
    uint32_t at = qs_node_kind_of(d->g, n) == QS_NODE_PERSID ? d->c->index[n] : QS_NONE;
    d->t->storage = at;
    if (at == QS_NONE) return bad(d, "its storage is not one of the file's");
    d->t->dtype = d->c->storages.v[at].dtype;
}

static void read_bool(decoder *d, qs_node n, uint32_t flag) {
    if (qs_node_int(d->g, n)) d->t->flags |= flag;
}

static qs_dtype read_dtype(const decoder *d, qs_node n) {
    if (!qs_str_is(qs_node_module(d->g, n), "torch")) return QS_DTYPE_UNKNOWN;
    return qs_dtype_parse(qs_node_name(d->g, n));
}

/* (storage, offset, size, stride, ...) */
static void dense_head(decoder *d) {
    read_storage(d, 0);
    int64_t offset = qs_node_int(d->g, arg(d, 1));
    if (qs_node_kind_of(d->g, arg(d, 1)) != QS_NODE_INT || offset < 0)
        bad(d, "its offset is no position");
    else
        d->t->offset = (uint64_t)offset;
    qs_node stride = arg(d, 3);
    if (stride == QS_NODE_NONE) bad(d, "it has no strides");
    read_layout(d, arg(d, 2), stride);
}

static void decode_v1(decoder *d) {
    dense_head(d);
}

static void decode_bits(decoder *d, qs_node metadata) {
    read_bool(d, qs_node_get(d->g, metadata, "conj"), QS_TENSOR_CONJ);
    read_bool(d, qs_node_get(d->g, metadata, "neg"), QS_TENSOR_NEG);
}

static void decode_v2(decoder *d) {
    dense_head(d);
    read_bool(d, arg(d, 4), QS_TENSOR_REQUIRES_GRAD);
    decode_bits(d, arg(d, 6));
}

static void decode_v3(decoder *d) {
    dense_head(d);
    read_bool(d, arg(d, 4), QS_TENSOR_REQUIRES_GRAD);
    d->t->dtype = read_dtype(d, arg(d, 6));
    decode_bits(d, arg(d, 7));
}

static double read_number(const decoder *d, qs_node n) {
    return qs_node_kind_of(d->g, n) == QS_NODE_FLOAT ? qs_node_float(d->g, n) : (double)qs_node_int(d->g, n);
}

/* (storage, offset, size, stride, (scheme, ...), requires_grad, hooks) */
static void decode_quantized(decoder *d) {
    qs_tensor *t = d->t;
    t->kind = QS_TENSOR_QUANTIZED;
    dense_head(d);
    qs_node params = arg(d, 4);
    t->per_channel = qs_str_starts(qs_node_name(d->g, qs_node_item(d->g, params, 0)), QS_STR("per_channel"));
    if (!t->per_channel) {
        t->q_scale = read_number(d, qs_node_item(d->g, params, 1));
        t->q_zero_point = qs_node_int(d->g, qs_node_item(d->g, params, 2));
    } else {
        t->q_scales = qs_node_item(d->g, params, 1);
        t->q_zero_points = qs_node_item(d->g, params, 2);
        t->q_axis = qs_node_int(d->g, qs_node_item(d->g, params, 3));
        if (t->q_axis < 0 || t->q_axis >= t->shape.ndim) bad(d, "its channel axis is not one of its axes");
    }
    read_bool(d, arg(d, 5), QS_TENSOR_REQUIRES_GRAD);
}

static qs_dtype dtype_of_tensor_node(const decoder *d, qs_node n) {
    qs_call call;
    if (!qs_node_call(d->g, n, &call)) return QS_DTYPE_UNKNOWN;
    qs_node first = qs_node_item(d->g, call.args, 0);
    uint32_t at = qs_node_kind_of(d->g, first) == QS_NODE_PERSID ? d->c->index[first] : QS_NONE;
    return at == QS_NONE ? QS_DTYPE_UNKNOWN : d->c->storages.v[at].dtype;
}

static bool is_size(const decoder *d, qs_node n) {
    qs_call call;
    if (qs_node_kind_of(d->g, n) == QS_NODE_TUPLE) return true;
    return qs_node_call(d->g, n, &call) && qs_node_is_global(d->g, call.callable, "torch", "Size");
}

/* (layout, (indices ..., values, size[, coalesced])) for COO and the compressed layouts alike */
static void decode_sparse(decoder *d) {
    d->t->kind = QS_TENSOR_SPARSE;
    qs_node data = arg(d, 1), size = QS_NODE_NONE, values = QS_NODE_NONE;
    for (size_t i = 0; i < qs_node_len(d->g, data) && i < 5 && size == QS_NODE_NONE; i++) {
        qs_node item = qs_node_item(d->g, data, i);
        if (is_size(d, item))
            size = item;
        else
            values = item;
    }
    d->t->dtype = dtype_of_tensor_node(d, values);
    read_layout(d, size, QS_NODE_NONE);
}

/* (dtype, size, stride, requires_grad) */
static void decode_meta(decoder *d) {
    d->t->kind = QS_TENSOR_META;
    d->t->dtype = read_dtype(d, arg(d, 0));
    read_layout(d, arg(d, 1), arg(d, 2));
    read_bool(d, arg(d, 3), QS_TENSOR_REQUIRES_GRAD);
}

/* (cls, dtype, size, stride, offset, layout, device, requires_grad) */
static void decode_wrapper_subclass(decoder *d) {
    d->t->kind = QS_TENSOR_OPAQUE;
    d->t->dtype = read_dtype(d, arg(d, 1));
    read_layout(d, arg(d, 2), arg(d, 3));
    read_bool(d, arg(d, 7), QS_TENSOR_REQUIRES_GRAD);
}

/* (array, dtype, device, requires_grad); the array's BUILD state is (version, shape, dtype, order, bytes) */
static void decode_from_numpy(decoder *d) {
    d->t->kind = QS_TENSOR_OPAQUE;
    d->t->dtype = read_dtype(d, arg(d, 1));
    qs_node state = qs_node_build(d->g, arg(d, 0), 0);
    read_layout(d, qs_node_item(d->g, state, 1), QS_NODE_NONE);
    read_bool(d, arg(d, 3), QS_TENSOR_REQUIRES_GRAD);
}

static const struct {
    const char *name;
    void (*decode)(decoder *d);
} rebuilds[] = {
    {"_rebuild_tensor_v2", decode_v2},
    {"_rebuild_tensor", decode_v1},
    {"_rebuild_tensor_v3", decode_v3},
    {"_rebuild_qtensor", decode_quantized},
    {"_rebuild_sparse_tensor", decode_sparse},
    {"_rebuild_sparse_csr_tensor", decode_sparse},
    {"_rebuild_meta_tensor_no_storage", decode_meta},
    {"_rebuild_wrapper_subclass", decode_wrapper_subclass},
    {"_rebuild_device_tensor_from_numpy", decode_from_numpy},
};

/* The function and arguments behind a node that rebuilds a tensor. */
static bool rebuild_call(const qs_graph *g, qs_node n, qs_str *name, qs_node *args) {
    qs_call call;
    if (qs_node_kind_of(g, n) != QS_NODE_REDUCE || !qs_node_call(g, n, &call)) return false;
    qs_str module = qs_node_module(g, call.callable);
    *name = qs_node_name(g, call.callable);
    *args = call.args;
    if (name->n && memchr(name->p, '.', name->n))
        return false; /* an attribute of something, saved as getattr */
    if (qs_str_is(module, "torch._utils") || qs_str_is(module, "torch._tensor"))
        return qs_str_starts(*name, QS_STR("_rebuild_"));
    return qs_str_is(module, "torch.nn.parameter") && qs_str_starts(*name, QS_STR("Uninitialized"));
}

/* Peel parameters and subclasses off until the call that holds the storage. False if it is too deep. */
static bool unwrap(decoder *d, qs_str *name, qs_node *args) {
    const qs_graph *g = d->g;
    for (int i = 0; i < MAX_WRAPPERS; i++) {
        if (qs_str_starts(*name, QS_STR("_rebuild_parameter"))) {
            d->t->flags |= QS_TENSOR_IS_PARAMETER;
            if (qs_node_int(g, qs_node_item(g, *args, 1))) d->t->flags |= QS_TENSOR_REQUIRES_GRAD;
            if (!rebuild_call(g, qs_node_item(g, *args, 0), name, args)) return false;
        } else if (qs_str_is(*name, "_rebuild_device_tensor_from_cpu_tensor")) {
            if (!rebuild_call(g, qs_node_item(g, *args, 0), name, args)) return false;
        } else if (qs_str_starts(*name, QS_STR("_rebuild_from_type"))) { /* (func, type, args, state) */
            if (qs_node_is_global(g, qs_node_item(g, *args, 1), "torch.nn.parameter", "Parameter"))
                d->t->flags |= QS_TENSOR_IS_PARAMETER;
            *name = qs_node_name(g, qs_node_item(g, *args, 0));
            *args = qs_node_item(g, *args, 2);
        } else {
            return true;
        }
    }
    return false;
}

/* A parameter says itself whether it wants gradients; the tensor inside always says no. */
static void decode(decoder *d, qs_str name) {
    for (size_t i = 0; i < sizeof rebuilds / sizeof *rebuilds; i++) {
        if (!qs_str_is(name, rebuilds[i].name)) continue;
        rebuilds[i].decode(d);
        if (d->t->storage != QS_NONE) check_bounds(d);
        return;
    }
    d->t->kind = QS_TENSOR_OPAQUE;
}

static bool add_tensor(qs_checkpoint *c, qs_node n, qs_err *e) {
    qs_str name;
    qs_tensor t = {.kind = QS_TENSOR_OPAQUE, .storage = QS_NONE, .node = n};
    decoder d = {.c = c, .g = c->graph, .t = &t};
    if (!rebuild_call(c->graph, n, &name, &d.args)) return true;
    if (c->tensors.n >= QS_NONE) return qs_fail(e, QS_E_LIMIT, "too many tensors");
    if (unwrap(&d, &name, &d.args)) {
        t.kind = QS_TENSOR_DENSE;
        decode(&d, name);
    }
    if (d.nomem) return qs_nomem(e);
    c->index[n] = (uint32_t)c->tensors.n;
    return qs_push(&c->tensors, t) || qs_nomem(e);
}

enum { NODES_A_STEP = 1 << 16 }; /* between two looks at whether anybody still waits */

/* A node is made after what it is made of, so one pass meets every storage before the tensors in it. */
static bool scan_nodes(scan *s) {
    const qs_graph *g = s->c->graph;
    uint32_t count = qs_graph_count(g);
    for (qs_node n = 1; n <= count && n != 0; n++) {
        qs_node_kind kind = qs_node_kind_of(g, n);
        if (kind == QS_NODE_PERSID && !add_storage(s, n)) return false;
        if (kind == QS_NODE_REDUCE && !add_tensor(s->c, n, s->e)) return false;
        if (n % NODES_A_STEP == 0 && !qs_progress_step(s->c->limits.progress, n, count, s->e)) return false;
    }
    return true;
}

bool qs_ckpt_scan_tensors(qs_checkpoint *c, qs_err *e) {
    scan s = {.c = c, .e = e};
    size_t nodes = (size_t)qs_graph_count(c->graph) + 1;
    c->index = QS_ARENA_ARRAY(&c->arena, nodes, uint32_t);
    if (!c->index) return qs_nomem(e);
    memset(c->index, 0xff, nodes * sizeof *c->index);
    uint32_t records = qs_container_count(c->container);
    s.by_record = calloc((size_t)records + 1, sizeof *s.by_record);
    /* A storage has a record: as many as there are is room enough for honest files. */
    bool ok = s.by_record && qs_reserve(&c->storages, records) && qs_reserve(&c->tensors, records);
    ok = (ok || qs_nomem(e)) && scan_nodes(&s);
    free(s.by_record);
    return ok;
}

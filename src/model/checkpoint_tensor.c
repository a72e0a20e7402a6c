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

/* Index of the storage; for a new one the next free. A storage that has a record is known by that. */
static bool storage_index(scan *s, const qs_storage *found, qs_str key, uint32_t *out) {
    uint32_t fresh = (uint32_t)s->c->storages.n;
    if (found->record != QS_NONE) {
        uint32_t *at = &s->by_record[found->record];
        if (*at == 0) *at = fresh + 1;
        *out = *at - 1;
        return true;
    }
    *out = qs_map_add(&s->c->storage_by_key, key, fresh);
    return *out != QS_MAP_NONE || qs_nomem(s->e);
}

static bool storage_of_persid(const scan *s, qs_node persid, qs_storage *out, qs_str *key) {
    const qs_graph *g = s->c->graph;
    qs_node id = qs_node_persid(g, persid), cls = qs_node_item(g, id, 1), numel = qs_node_item(g, id, 4);
    if (!qs_str_is(qs_node_str(g, qs_node_item(g, id, 0)), "storage")) return false;
    if (qs_node_kind_of(g, numel) != QS_NODE_INT || qs_node_int(g, numel) < 0) return false;
    *key = qs_node_str(g, qs_node_item(g, id, 2));
    *out = (qs_storage){.dtype = qs_dtype_of_storage(qs_node_name(g, cls)),
                        .record = qs_container_find_data(s->c->container, *key),
                        .node = persid,
                        .location = qs_node_item(g, id, 3)};
    uint64_t size = out->dtype ? qs_dtype_get(out->dtype)->size : 1;
    if (__builtin_mul_overflow((uint64_t)qs_node_int(g, numel), size, &out->bytes)) out->bytes = UINT64_MAX;
    return true;
}

static bool fail_two_types(const qs_checkpoint *c, const qs_storage *a, const qs_storage *b, qs_err *e) {
    char key[64];
    qs_str_printable(qs_storage_key(c, a), key, sizeof key);
    return qs_fail_at(e, QS_E_INPUT, "data.pkl", qs_node_offset(c->graph, b->node),
                      "storage %s is declared as %s and as %s: torch would silently read one as the other",
                      key, qs_dtype_get(a->dtype)->name, qs_dtype_get(b->dtype)->name);
}

static bool add_storage(scan *s, qs_node persid) {
    qs_checkpoint *c = s->c;
    qs_storage found;
    qs_str key;
    uint32_t at;
    if (!storage_of_persid(s, persid, &found, &key)) return true;
    if (c->storages.n >= QS_NONE) return qs_fail(s->e, QS_E_LIMIT, "too many storages");
    if (!storage_index(s, &found, key, &at)) return false;
    qs_node_set_note(c->graph, persid, at + 1);
    if (at < c->storages.n) { /* torch keeps the first declaration, so do we */
        const qs_storage *first = &c->storages.v[at];
        return first->dtype == found.dtype || fail_two_types(c, first, &found, s->e);
    }
    return qs_push(&c->storages, found) || qs_nomem(s->e);
}

/* ---- shapes ---- */

/* The items of a tuple, list or torch.Size, at most as many as dimensions may be. */
static bool find_ints(decoder *d, qs_node *n, const char *what, size_t *len) {
    qs_call call;
    if (qs_node_call(d->g, *n, &call) && qs_node_is_global(d->g, call.callable, "torch", "Size"))
        *n = qs_node_item(d->g, call.args, 0);
    qs_node_kind kind = qs_node_kind_of(d->g, *n);
    if (kind != QS_NODE_TUPLE && kind != QS_NODE_LIST) return bad(d, "its %s is no tuple", what), false;
    *len = qs_node_len(d->g, *n);
    if (*len <= d->c->limits.ndim) return true;
    return bad(d, "it has %zu dimensions, more than --limit dimensions=%llu", *len,
               (unsigned long long)d->c->limits.ndim),
           false;
}

/* Ints >= 0. */
static bool read_ints(decoder *d, qs_node n, const char *what, int64_t *out, size_t len) {
    for (size_t i = 0; i < len; i++) {
        qs_node item = qs_node_item(d->g, n, i);
        out[i] = qs_node_int(d->g, item);
        if (qs_node_kind_of(d->g, item) != QS_NODE_INT || out[i] < 0)
            return bad(d, "its %s has an element that is no size", what), false;
    }
    return true;
}

static bool read_strides(decoder *d, qs_node n, int64_t *out) {
    size_t len, want = d->t->shape.ndim;
    if (!find_ints(d, &n, "stride", &len)) return false;
    if (len != want) return bad(d, "it has %zu sizes and %zu strides", want, len), false;
    return read_ints(d, n, "stride", out, len);
}

static void contiguous_strides(const decoder *d, int64_t *out) {
    int64_t step = 1;
    for (uint32_t i = d->t->shape.ndim; i-- > 0;) {
        out[i] = step;
        int64_t dim = d->t->shape.dim[i] ? d->t->shape.dim[i] : 1;
        if (__builtin_mul_overflow(step, dim, &step)) step = INT64_MAX;
    }
}

/* Shape, and strides unless `stride` is QS_NODE_NONE (then as if contiguous). On failure the tensor is a bad
 * scalar. */
static void read_layout(decoder *d, qs_node size, qs_node stride) {
    qs_tensor *t = d->t;
    size_t n;
    if (!find_ints(d, &size, "size", &n)) return;
    /* One piece for both: most have one dimension, and the arena rounds up. */
    int64_t *dim = n ? QS_ARENA_ARRAY(&d->c->arena, 2 * n, int64_t) : NULL;
    if (n && !dim) {
        d->nomem = true;
        return;
    }
    if (!read_ints(d, size, "size", dim, n)) return;
    t->shape = (qs_shape){(uint32_t)n, dim};
    int64_t *step = n ? dim + n : NULL;
    t->stride = step;
    if (qs_shape_numel(t->shape) == UINT64_MAX) bad(d, "its size overflows");
    if (stride == QS_NODE_NONE || !read_strides(d, stride, step)) contiguous_strides(d, step);
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

static const char *printable_key(const decoder *d, const qs_storage *s, char out[64]) {
    qs_str_printable(qs_storage_key(d->c, s), out, 64);
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
        return bad(d, "needs %llu bytes, storage %s has %llu", (ull)need, printable_key(d, s, key),
                   (ull)s->bytes);
    if (s->record == QS_NONE) return bad(d, "the file has no record data/%s", printable_key(d, s, key));
    uint64_t have = qs_container_record(d->c->container, s->record)->size;
    if (have < s->bytes)
        return bad(d, "needs %llu bytes, record data/%s has %llu", (ull)s->bytes, printable_key(d, s, key),
                   (ull)have);
    if (have > s->bytes)
        return bad(d, "record data/%s has %llu bytes, %llu were declared", printable_key(d, s, key),
                   (ull)have, (ull)s->bytes);
    if (is_blown_up(t, s->bytes))
        return bad(d, "its strides make %llu elements of %llu bytes", (ull)qs_shape_numel(t->shape),
                   (ull)s->bytes);
    if (d->c->big_endian && t->dtype != s->dtype && qs_dtype_get(t->dtype)->size > 1)
        bad(d, "its bytes are big-endian in a storage without a type, which torch does not swap");
}

/* ---- the rebuild functions ---- */

static uint32_t storage_of(const decoder *d, qs_node n) {
    uint32_t note = qs_node_kind_of(d->g, n) == QS_NODE_PERSID ? qs_node_note(d->g, n) : 0;
    return note ? note - 1 : QS_NONE;
}

static void read_storage(decoder *d, size_t i) {
    qs_node n = arg(d, i);
    uint32_t at = storage_of(d, n);
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
    qs_quantized *q = QS_ARENA_NEW(&d->c->arena, qs_quantized);
    if (!q) {
        d->nomem = true;
        return;
    }
    d->t->kind = QS_TENSOR_QUANTIZED;
    d->t->q = q;
    dense_head(d);
    qs_node params = arg(d, 4);
    q->per_channel = qs_str_starts(qs_node_name(d->g, qs_node_item(d->g, params, 0)), QS_STR("per_channel"));
    if (!q->per_channel) {
        q->scale = read_number(d, qs_node_item(d->g, params, 1));
        q->zero_point = qs_node_int(d->g, qs_node_item(d->g, params, 2));
    } else {
        q->scales = qs_node_item(d->g, params, 1);
        q->zero_points = qs_node_item(d->g, params, 2);
        q->axis = qs_node_int(d->g, qs_node_item(d->g, params, 3));
        if (q->axis < 0 || q->axis >= d->t->shape.ndim) bad(d, "its channel axis is not one of its axes");
    }
    read_bool(d, arg(d, 5), QS_TENSOR_REQUIRES_GRAD);
}

static qs_dtype dtype_of_tensor_node(const decoder *d, qs_node n) {
    qs_call call;
    if (!qs_node_call(d->g, n, &call)) return QS_DTYPE_UNKNOWN;
    qs_node first = qs_node_item(d->g, call.args, 0);
    uint32_t at = storage_of(d, first);
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

static bool rebuilds_tensors(const qs_graph *g, qs_node function) {
    qs_str module = qs_node_module(g, function), name = qs_node_name(g, function);
    if (name.n && memchr(name.p, '.', name.n)) return false; /* an attribute of something, saved as getattr */
    if (qs_str_is(module, "torch._utils") || qs_str_is(module, "torch._tensor"))
        return qs_str_starts(name, QS_STR("_rebuild_"));
    return qs_str_is(module, "torch.nn.parameter") && qs_str_starts(name, QS_STR("Uninitialized"));
}

/* The function and arguments behind a node that rebuilds a tensor. The few functions of a file are called
 * for each of its tensors, so what they are is noted. */
static bool rebuild_call(qs_graph *g, qs_node n, qs_str *name, qs_node *args) {
    enum { REBUILDS = 1, OTHER };
    qs_call call;
    if (qs_node_kind_of(g, n) != QS_NODE_REDUCE || !qs_node_call(g, n, &call)) return false;
    uint32_t note =
        qs_node_kind_of(g, call.callable) == QS_NODE_GLOBAL ? qs_node_note(g, call.callable) : OTHER;
    if (note == 0) {
        note = rebuilds_tensors(g, call.callable) ? REBUILDS : OTHER;
        qs_node_set_note(g, call.callable, note);
    }
    *name = qs_node_name(g, call.callable);
    *args = call.args;
    return note == REBUILDS;
}

/* Peel parameters and subclasses off until the call that holds the storage. False if it is too deep. */
static bool unwrap(decoder *d, qs_str *name, qs_node *args) {
    qs_graph *g = d->c->graph;
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
    qs_node args;
    if (!rebuild_call(c->graph, n, &name, &args)) return true;
    if (c->tensors.n >= QS_NONE) return qs_fail(e, QS_E_LIMIT, "too many tensors");
    if (!qs_reserve(&c->tensors, c->tensors.n + 1)) return qs_nomem(e);
    qs_tensor *t = &c->tensors.v[c->tensors.n];
    *t = (qs_tensor){.kind = QS_TENSOR_OPAQUE, .storage = QS_NONE, .node = n};
    decoder d = {.c = c, .g = c->graph, .t = t, .args = args};
    if (unwrap(&d, &name, &d.args)) {
        t->kind = QS_TENSOR_DENSE;
        decode(&d, name);
    }
    if (d.nomem) return qs_nomem(e);
    c->tensors.n++;
    qs_node_set_note(c->graph, n, (uint32_t)c->tensors.n);
    return true;
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
    uint32_t records = qs_container_count(c->container);
    s.by_record = calloc((size_t)records + 1, sizeof *s.by_record);
    /* A storage has a record: as many as there are is room enough for honest files. */
    bool ok = s.by_record && qs_reserve(&c->storages, records) && qs_reserve(&c->tensors, records);
    ok = (ok || qs_nomem(e)) && scan_nodes(&s);
    free(s.by_record);
    return ok;
}

#include "repair/strict.h"

/* type(value) as Python prints it. */
static const char *python_type(const qs_graph *g, qs_node n) {
    switch (qs_node_kind_of(g, n)) {
    case QS_NODE_NIL: return "NoneType";
    case QS_NODE_BOOL: return "bool";
    case QS_NODE_INT:
    case QS_NODE_LONG: return "int";
    case QS_NODE_FLOAT: return "float";
    case QS_NODE_STR: return "str";
    case QS_NODE_BYTES: return qs_node_is_str8(g, n) ? "str" : "bytes";
    case QS_NODE_BYTEARRAY: return "bytearray";
    case QS_NODE_TUPLE: return "tuple";
    case QS_NODE_LIST: return "list";
    case QS_NODE_SET: return "set";
    case QS_NODE_FROZENSET: return "frozenset";
    case QS_NODE_DICT: return "dict";
    case QS_NODE_GLOBAL: return qs_str_is(qs_node_module(g, n), "torch") ? "torch.dtype" : "type";
    case QS_NODE_REDUCE:
    case QS_NODE_NEWOBJ:
    case QS_NODE_PERSID: break;
    }
    qs_call call;
    if (qs_node_call(g, n, &call) && qs_node_is_global(g, call.callable, "collections", "OrderedDict"))
        return "collections.OrderedDict";
    return "object";
}

/* A tensor of a lazy module that was never run: a class called with nothing but requires_grad. */
static const char *lazy_type(const qs_graph *g, qs_node n) {
    static const char *const types[] = {"UninitializedParameter", "UninitializedBuffer"};
    qs_call call;
    for (int i = 0; i < 2 && qs_node_call(g, n, &call); i++)
        if (qs_node_is_global(g, call.callable, "torch.nn.parameter", types[i])) return types[i];
    return NULL;
}

static void describe(const qs_checkpoint *c, const qs_entry *en, qs_shape *shape, qs_dtype *dtype,
                     const char **type) {
    const qs_tensor *t = qs_entry_tensor(c, en);
    *shape = t ? t->shape : (qs_shape){0};
    *dtype = t ? t->dtype : QS_DTYPE_UNKNOWN;
    const qs_graph *g = qs_checkpoint_graph(c);
    *type = !t ? python_type(g, en->node) : t->kind == QS_TENSOR_OPAQUE ? lazy_type(g, en->node) : NULL;
}

static void checkpoint_entry(const void *ctx, uint32_t i, qs_str *key, qs_shape *shape, qs_dtype *dtype,
                             const char **type) {
    const qs_entry *en = qs_checkpoint_entry(ctx, i);
    *key = en->key;
    describe(ctx, en, shape, dtype, type);
}

static uint32_t checkpoint_find(const void *ctx, qs_str key) {
    return qs_checkpoint_find(ctx, key);
}
/* info["spectral_norm"]["weight.version"] */
static int64_t hook_version(const qs_graph *g, qs_node info, qs_str name) {
    char leaf[256];
    snprintf(leaf, sizeof leaf, "%.*s.version", (int)(name.n < 200 ? name.n : 200), name.p ? name.p : "");
    qs_node hooks = qs_node_get(g, info, "spectral_norm");
    qs_node version = qs_node_is_dict_like(g, hooks) ? qs_node_get(g, hooks, leaf) : QS_NODE_NONE;
    return qs_node_kind_of(g, version) == QS_NODE_INT ? qs_node_int(g, version) : -1;
}

static int64_t checkpoint_spectral_norm(const void *ctx, qs_str prefix, qs_str name) {
    const qs_graph *g = qs_checkpoint_graph(ctx);
    qs_node all = qs_checkpoint_metadata_node(ctx);
    if (all == QS_NODE_NONE)
        return qs_checkpoint_has_metadata(ctx) ? 1 : -1; /* a whole module writes the newest */
    for (size_t i = 0; i < qs_node_pairs(g, all); i++)
        if (qs_str_eq(qs_node_str(g, qs_node_key(g, all, i)), prefix))
            return hook_version(g, qs_node_value(g, all, i), name);
    return -1;
}

static int64_t checkpoint_version(const void *ctx, qs_str prefix) {
    return qs_checkpoint_version(ctx, prefix);
}

static bool read_values(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, float *out) {
    qs_err e = QS_ERR_INIT; /* a damaged record is another command's finding */
    return t && t->kind == QS_TENSOR_DENSE && qs_tensor_read_floats(c, t, first, n, out, &e);
}

static bool checkpoint_values(const void *ctx, uint32_t i, uint64_t first, size_t n, float *out) {
    return read_values(ctx, qs_entry_tensor(ctx, qs_checkpoint_entry(ctx, i)), first, n, out);
}

qs_strict_source qs_strict_source_of_checkpoint(const qs_checkpoint *c) {
    return (qs_strict_source){
        qs_checkpoint_count(c), checkpoint_entry,        checkpoint_find, checkpoint_version, c,
        checkpoint_values,      checkpoint_spectral_norm};
}

static void resolution_entry(const void *ctx, uint32_t i, qs_str *key, qs_shape *shape, qs_dtype *dtype,
                             const char **type) {
    const qs_resolution *r = ctx;
    const qs_resolved *x = qs_resolution_entry(r, i);
    const qs_resolve_input *in = qs_resolution_input(r);
    *key = x->key;
    *shape = x->shape;
    *dtype = x->dtype;
    *type = NULL;
    if (x->shape_known) return;
    /* Not a tensor, or one that could not be rebuilt: the document says which. */
    if (x->a != QS_NO_INDEX)
        describe(in->a, qs_checkpoint_entry(in->a, x->a), shape, dtype, type);
    else if (x->b != QS_NO_INDEX)
        describe(in->b, qs_checkpoint_entry(in->b, x->b), shape, dtype, type);
}

static uint32_t resolution_find(const void *ctx, qs_str key) {
    return qs_resolution_find(ctx, key);
}
static int64_t resolution_version(const void *ctx, qs_str prefix) {
    return qs_resolution_version(ctx, prefix);
}

/* Values the plan makes; those observed from a weight mean reading all of it, and are sound anyway. */
static bool made_values(const qs_resolution *r, const qs_resolved *x, uint64_t first, size_t n, float *out) {
    if (x->mark == QS_MARK_INIT && x->source != QS_INIT_FRESH &&
        qs_str_find(x->key, QS_STR("weight_fake_quant.")) != SIZE_MAX)
        return false;
    qs_arena arena = {0};
    qs_fill fill;
    qs_err e = QS_ERR_INIT;
    bool ok = qs_resolved_fill(r, x, NULL, &arena, &fill, &e) && first <= qs_shape_numel(fill.shape) &&
              n <= qs_shape_numel(fill.shape) - first;
    if (ok)
        qs_to_floats(fill.dtype, (const char *)fill.data + first * qs_dtype_get(fill.dtype)->size, n, out);
    qs_arena_free(&arena);
    return ok;
}

static bool resolution_values(const void *ctx, uint32_t i, uint64_t first, size_t n, float *out) {
    const qs_resolved *x = qs_resolution_entry(ctx, i);
    if (qs_resolved_is_made(x)) return made_values(ctx, x, first, n, out);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = qs_resolved_tensor(ctx, x, &from);
    return t && read_values(from, t, first, n, out);
}

static int64_t resolution_spectral_norm(const void *ctx, qs_str prefix, qs_str name) {
    const qs_checkpoint *a = qs_resolution_input(ctx)->a;
    if (qs_checkpoint_metadata_node(a) == QS_NODE_NONE) return checkpoint_spectral_norm(a, prefix, name);
    for (uint32_t i = 0; i < qs_resolution_metadata_count(ctx); i++) {
        qs_node info = qs_resolution_metadata_node(ctx, i);
        if (qs_str_eq(qs_resolution_metadata_prefix(ctx, i), prefix))
            return info == QS_NODE_NONE ? -1 : hook_version(qs_checkpoint_graph(a), info, name);
    }
    return -1;
}

qs_strict_source qs_strict_source_of_resolution(const qs_resolution *r) {
    return (qs_strict_source){
        qs_resolution_live(r), resolution_entry,        resolution_find, resolution_version, r,
        resolution_values,     resolution_spectral_norm};
}

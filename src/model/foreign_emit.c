#include "model/foreign_emit.h"

void qs_contiguous_strides(uint32_t ndim, const int64_t *dim, int64_t *stride) {
    int64_t step = 1;
    for (uint32_t i = ndim; i-- > 0;) {
        stride[i] = step;
        int64_t factor = dim[i] ? dim[i] : 1;
        if (__builtin_mul_overflow(step, factor, &step)) step = INT64_MAX; /* only beside a size of 0 */
    }
}

bool qs_emit_ints(qs_emit *m, const int64_t *v, uint32_t n, qs_err *e) {
    if (n == 0) return qs_emit_code(m, QS_OP_EMPTY_TUPLE, e);
    if (!qs_emit_code(m, QS_OP_MARK, e)) return false;
    for (uint32_t i = 0; i < n; i++)
        if (!qs_emit_int(m, v[i], e)) return false;
    return qs_emit_code(m, QS_OP_TUPLE, e);
}

bool qs_emit_empty_ordered_dict(qs_emit *m, qs_err *e) {
    return qs_emit_global(m, QS_STR("collections"), QS_STR("OrderedDict"), e) &&
           qs_emit_code(m, QS_OP_EMPTY_TUPLE, e) && qs_emit_code(m, QS_OP_REDUCE, e);
}

static bool is_typed(const qs_plain_tensor *t) {
    return t->dtype && qs_dtype_get(t->dtype)->storage[0];
}

static bool emit_storage(qs_emit *m, const qs_plain_tensor *t, qs_err *e) {
    const qs_dtype_info *info = qs_dtype_get(t->dtype);
    bool typed = is_typed(t);
    return qs_emit_code(m, QS_OP_MARK, e) && qs_emit_str(m, QS_STR("storage"), e) &&
           qs_emit_global(m, typed ? QS_STR("torch") : QS_STR("torch.storage"),
                          typed ? qs_str_of(info->storage) : QS_STR("UntypedStorage"), e) &&
           qs_emit_str(m, qs_str_of(t->key), e) && qs_emit_str(m, QS_STR("cpu"), e) &&
           qs_emit_int(m, (int64_t)(typed ? t->storage_bytes / info->size : t->storage_bytes), e) &&
           qs_emit_code(m, QS_OP_TUPLE, e) && qs_emit_code(m, QS_OP_BINPERSID, e);
}

bool qs_emit_plain_tensor(qs_emit *m, const qs_plain_tensor *t, qs_err *e) {
    bool typed = is_typed(t);
    qs_str name = t->dtype ? qs_str_of(qs_dtype_get(t->dtype)->name) : t->dtype_name;
    return qs_emit_global(m, QS_STR("torch._utils"),
                          typed ? QS_STR("_rebuild_tensor_v2") : QS_STR("_rebuild_tensor_v3"), e) &&
           qs_emit_code(m, QS_OP_MARK, e) && emit_storage(m, t, e) && qs_emit_int(m, (int64_t)t->offset, e) &&
           qs_emit_ints(m, t->dim, t->ndim, e) && qs_emit_ints(m, t->stride, t->ndim, e) &&
           qs_emit_bool(m, false, e) && qs_emit_empty_ordered_dict(m, e) &&
           (typed || qs_emit_global(m, QS_STR("torch"), name, e)) && qs_emit_code(m, QS_OP_TUPLE, e) &&
           qs_emit_code(m, QS_OP_REDUCE, e);
}

/* A storage's persistent id, with the key its record has now. */
static bool emit_numbered(const qs_storage_number *at, qs_emit *m, const qs_graph *g, qs_node id, qs_err *e) {
    qs_buf key = {0};
    qs_buf_addf(&key, "%u_", at->number);
    qs_buf_add(&key, qs_node_str(g, qs_node_item(g, id, 2)));
    bool ok = qs_emit_code(m, QS_OP_MARK, e);
    for (size_t i = 0; ok && i < 5; i++)
        ok = i == 2 ? !key.failed && qs_emit_str(m, qs_buf_str(&key), e)
                    : qs_emit_node(m, g, qs_node_item(g, id, i), at->limits, e);
    if (key.failed) qs_nomem(e);
    qs_buf_free(&key);
    return ok && qs_emit_code(m, QS_OP_TUPLE, e) && qs_emit_code(m, QS_OP_BINPERSID, e);
}

bool qs_emit_numbered_storages(void *at, qs_emit *m, const qs_graph *g, qs_node n, bool *failed, qs_err *e) {
    qs_node id = qs_node_persid(g, n);
    if (qs_node_kind_of(g, n) != QS_NODE_PERSID || qs_node_len(g, id) < 5) return false;
    if (!qs_str_is(qs_node_str(g, qs_node_item(g, id, 0)), "storage")) return false;
    *failed = !emit_numbered(at, m, g, id, e);
    return true;
}

bool qs_parts_add_numbered(qs_parts *p, qs_container *box, uint32_t number, qs_err *e) {
    for (uint32_t i = 0; i < qs_container_count(box); i++) {
        qs_str name = qs_container_record(box, i)->name;
        char renamed[600];
        if (!qs_str_starts(name, QS_STR("data/")) || name.n > sizeof renamed - 20) continue;
        qs_str key = qs_str_sub(name, 5, name.n);
        snprintf(renamed, sizeof renamed, "data/%u_%.*s", number, QS_FMT(key));
        if (!qs_parts_add_record(p, qs_str_of(renamed), box, i, e)) return false;
    }
    return true;
}

#include "model/dcp_chunk.h"

#include <stdlib.h>

void qs_dcp_chunk_close(qs_dcp_opened *o) {
    qs_graph_free(o->g);
    free(o->pickle);
    qs_container_close(o->box);
    *o = (qs_dcp_opened){0};
}

bool qs_dcp_chunk_open(const qs_dcp_file *files, const qs_dcp_place *p, const qs_limits *limits,
                       qs_dcp_opened *o, qs_err *why) {
    qs_file *window = NULL;
    size_t n;
    *o = (qs_dcp_opened){0};
    if (p->file == UINT32_MAX) return qs_fail(why, QS_E_INPUT, "the metadata does not say where it is");
    o->start = p->at;
    o->file = files[p->file].f;
    if (!o->file) return qs_fail(why, QS_E_INPUT, "%s", files[p->file].why);
    if (p->transformed) return qs_fail(why, QS_E_UNSUPPORTED, "it is compressed or otherwise transformed");
    bool ok = qs_file_window(o->file, p->at, p->length, &window, why) &&
              qs_container_open(window, limits, &o->box, why);
    if (ok) {
        uint32_t r = qs_container_find(o->box, QS_STR("data.pkl"));
        ok = qs_record_slurp(o->box, r, limits, QS_LIMIT_PICKLE_BYTES, &o->pickle, &n, why) &&
             qs_pickle_read(o->pickle, n, "data.pkl", limits, &o->g, why);
    }
    if (ok && qs_container_big_endian(o->box))
        ok = qs_fail(why, QS_E_UNSUPPORTED, "its bytes are big-endian");
    if (!ok) qs_dcp_chunk_close(o);
    return ok;
}

static bool read_strides(qs_arena *arena, const qs_graph *g, qs_node n, uint32_t ndim, qs_dcp_plain *p) {
    p->stride = QS_ARENA_ARRAY(arena, (size_t)ndim + 1, int64_t);
    if (!p->stride || qs_node_len(g, n) != ndim) return false;
    for (uint32_t i = 0; i < ndim; i++) {
        p->stride[i] = qs_node_int(g, qs_node_item(g, n, i));
        if (p->stride[i] < 0) return false;
    }
    return true;
}

static bool same_size(const qs_graph *g, qs_node n, uint32_t ndim, const int64_t *size) {
    if (qs_node_len(g, n) != ndim) return false;
    for (uint32_t i = 0; i < ndim; i++)
        if (qs_node_int(g, qs_node_item(g, n, i)) != size[i]) return false;
    return true;
}

/* Does every element lie in the storage? */
static bool in_bounds(const qs_dcp_plain *p, uint32_t ndim, const int64_t *size) {
    uint64_t last = p->offset, span, end;
    for (uint32_t i = 0; i < ndim; i++) {
        if (size[i] == 0) return true;
        if (__builtin_mul_overflow((uint64_t)size[i] - 1, (uint64_t)p->stride[i], &span) ||
            __builtin_add_overflow(last, span, &last))
            return false;
    }
    return !__builtin_add_overflow(last, 1, &end) && end <= p->bytes / qs_dtype_get(p->dtype)->size;
}

static bool find_storage(const qs_dcp_opened *o, qs_node id, qs_dcp_plain *p) {
    char name[300];
    qs_err ignored = QS_ERR_INIT;
    qs_str key = qs_node_str(o->g, qs_node_item(o->g, id, 2));
    if (key.n > sizeof name - 6) return false;
    snprintf(name, sizeof name, "data/%.*s", QS_FMT(key));
    uint32_t r = qs_container_find(o->box, qs_str_of(name));
    if (r == UINT32_MAX || qs_container_record(o->box, r)->deflated ||
        !qs_record_offset(o->box, r, &p->at, &ignored))
        return false;
    p->at += o->start;
    p->bytes = qs_container_record(o->box, r)->size;
    p->dtype = qs_dtype_of_storage(qs_node_name(o->g, qs_node_item(o->g, id, 1)));
    int64_t numel = qs_node_int(o->g, qs_node_item(o->g, id, 4));
    uint64_t size = p->dtype ? qs_dtype_get(p->dtype)->size : 1;
    return numel >= 0 && p->bytes % size == 0 && p->bytes / size == (uint64_t)numel;
}

bool qs_dcp_chunk_plain(const qs_dcp_opened *o, qs_arena *arena, uint32_t ndim, const int64_t *size,
                        qs_dcp_plain *p) {
    qs_call call;
    const qs_graph *g = o->g;
    if (!qs_node_call(g, qs_graph_root(g), &call) || call.builds) return false;
    bool v3 = qs_node_is_global(g, call.callable, "torch._utils", "_rebuild_tensor_v3");
    if (!v3 && !qs_node_is_global(g, call.callable, "torch._utils", "_rebuild_tensor_v2")) return false;
    qs_node storage = qs_node_item(g, call.args, 0), id = qs_node_persid(g, storage);
    int64_t offset = qs_node_int(g, qs_node_item(g, call.args, 1));
    if (qs_node_kind_of(g, storage) != QS_NODE_PERSID || offset < 0) return false;
    if (qs_node_pairs(g, qs_node_item(g, call.args, v3 ? 7 : 6))) return false; /* conjugated or negated */
    p->offset = (uint64_t)offset;
    if (!find_storage(o, id, p)) return false;
    if (v3) p->dtype = qs_dtype_parse(qs_node_name(g, qs_node_item(g, call.args, 6)));
    return p->dtype && same_size(g, qs_node_item(g, call.args, 2), ndim, size) &&
           read_strides(arena, g, qs_node_item(g, call.args, 3), ndim, p) && in_bounds(p, ndim, size);
}

/* torch/serialization.py, _legacy_save and _legacy_load. */
#include "format/legacy.h"

#include "base/map.h"
#include "base/vec.h"
#include "format/parts.h"
#include "format/pickle_at.h"
#include "format/pickle_emit.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PROTOCOL = 1001, HEADER_PICKLES = 3, LENGTH = 8 };

typedef struct storage {
    qs_str key;
    uint64_t numel, itemsize;
} storage;

typedef struct reader {
    const qs_file *f;
    const qs_limits *limits;
    qs_itemsize_fn itemsize;
    uint64_t at; /* byte of the file */
    char *bytes, *key_bytes;
    qs_graph *g, *keys; /* the object, and the list of storage keys */
    QS_VEC(storage) storages;
    qs_map by_key;
    qs_parts *parts;
    qs_buf pickle;
    qs_err *err;
} reader;

/* ---- the pickles ---- */

static bool read_one(reader *r, const char *name, char **bytes, qs_graph **g) {
    size_t n;
    uint64_t start = r->at;
    qs_err own = QS_ERR_INIT;
    if (qs_pickle_read_at(r->f, start, name, r->limits, bytes, &n, g, &own)) {
        r->at += qs_graph_end(*g);
        return true;
    }
    if (own.offset != QS_ERR_NO_OFFSET) own.offset += start;
    if (r->err->code == QS_OK) *r->err = own;
    return false;
}

/* Magic number, protocol version, system info. */
static bool read_header(reader *r) {
    static const char *const names[HEADER_PICKLES] = {"magic number", "protocol version", "system info"};
    for (int i = 0; i < HEADER_PICKLES; i++) {
        char *bytes = NULL;
        qs_graph *g = NULL;
        bool ok = read_one(r, names[i], &bytes, &g);
        if (ok && i == 1 && qs_node_int(g, qs_graph_root(g)) != PROTOCOL)
            ok = qs_fail(r->err, QS_E_UNSUPPORTED,
                         "this legacy torch file is of protocol %lld; torch has written %d only",
                         (long long)qs_node_int(g, qs_graph_root(g)), PROTOCOL);
        qs_graph_free(g);
        free(bytes);
        if (!ok) return false;
    }
    return true;
}

/* ---- storages ---- */

static bool is_storage_id(const qs_graph *g, qs_node persid) {
    qs_node id = qs_node_persid(g, persid);
    return qs_node_kind_of(g, persid) == QS_NODE_PERSID && qs_node_len(g, id) >= 5 &&
           qs_str_is(qs_node_str(g, qs_node_item(g, id, 0)), "storage");
}

static bool bad_storage(const reader *r, qs_node persid, const char *what) {
    return qs_fail_at(r->err, QS_E_INPUT, "object", qs_node_offset(r->g, persid), "a storage %s", what);
}

/* ('storage', class, key, location, numel[, view]) */
static bool add_storage(reader *r, qs_node persid) {
    qs_node id = qs_node_persid(r->g, persid), numel = qs_node_item(r->g, id, 4);
    storage s = {.key = qs_node_str(r->g, qs_node_item(r->g, id, 2)),
                 .itemsize = r->itemsize(qs_node_name(r->g, qs_node_item(r->g, id, 1)))};
    if (qs_node_kind_of(r->g, numel) != QS_NODE_INT || qs_node_int(r->g, numel) < 0 || !s.key.n)
        return bad_storage(r, persid, "has no key or no size");
    if (!s.itemsize) return bad_storage(r, persid, "is of a class that torch has not");
    s.numel = (uint64_t)qs_node_int(r->g, numel);
    uint32_t at = qs_map_add(&r->by_key, s.key, (uint32_t)r->storages.n);
    if (at == QS_MAP_NONE) return qs_nomem(r->err);
    if (at < r->storages.n) { /* a second class is for qs_checkpoint to complain of */
        return r->storages.v[at].itemsize == s.itemsize ||
               bad_storage(r, persid, "is declared with two types");
    }
    return qs_push(&r->storages, s) || qs_nomem(r->err);
}

static bool find_storages(reader *r) {
    for (qs_node n = 1; n <= qs_graph_count(r->g); n++)
        if (is_storage_id(r->g, n) && !add_storage(r, n)) return false;
    return true;
}

static bool read_length(reader *r, uint64_t *out) {
    unsigned char raw[LENGTH];
    uint64_t v = 0;
    if (!qs_file_read(r->f, r->at, raw, LENGTH, r->err)) return false;
    for (int i = LENGTH; i-- > 0;) v = v << 8 | raw[i];
    *out = v;
    r->at += LENGTH;
    return true;
}

/* The next storage's bytes. Where the file ends early the record is as long as what is there. */
static bool add_record(reader *r, qs_str key) {
    uint64_t size = qs_file_size(r->f), left = r->at < size ? size - r->at : 0, numel, bytes;
    char name[600], shown[80];
    uint32_t i = qs_map_get(&r->by_key, key);
    qs_str_printable(key, shown, sizeof shown);
    if (i == QS_MAP_NONE || key.n > sizeof name - 8)
        return qs_fail(r->err, QS_E_INPUT,
                       "storage %s is in the list of storages, but nothing in the file uses it", shown);
    if (left < LENGTH) return true; /* the tensors say that their record is missing */
    snprintf(name, sizeof name, "data/%.*s", QS_FMT(key));
    if (!read_length(r, &numel)) return false;
    left -= LENGTH;
    if (numel != r->storages.v[i].numel)
        return qs_fail_at(r->err, QS_E_INPUT, "", r->at - LENGTH,
                          "storage %s is declared with %" PRIu64 " elements, its data with %" PRIu64
                          "; torch refuses that too",
                          shown, r->storages.v[i].numel, numel);
    if (__builtin_mul_overflow(numel, r->storages.v[i].itemsize, &bytes) || bytes > left) bytes = left;
    bool ok = qs_parts_add_range(r->parts, qs_str_of(name), r->at, bytes, r->err);
    r->at += bytes;
    return ok;
}

static bool add_records(reader *r) {
    qs_node list = qs_graph_root(r->keys);
    if (qs_node_kind_of(r->keys, list) != QS_NODE_LIST)
        return qs_fail(r->err, QS_E_INPUT, "the list of storages of this legacy torch file is no list");
    for (size_t i = 0; i < qs_node_len(r->keys, list); i++)
        if (!add_record(r, qs_node_str(r->keys, qs_node_item(r->keys, list, i)))) return false;
    return true;
}

/* ---- today's pickle ---- */

static bool sink(void *ctx, const void *data, size_t n, qs_err *e) {
    qs_buf *b = ctx;
    qs_buf_add(b, (qs_str){data, n});
    return !b->failed || qs_nomem(e);
}

/* (view key, offset, size) of a storage id, if it is a view of another. */
static qs_node view_of(const qs_graph *g, qs_node persid) {
    qs_node view = qs_node_item(g, qs_node_persid(g, persid), 5);
    return is_storage_id(g, persid) && qs_node_len(g, view) == 3 ? view : QS_NODE_NONE;
}

static bool emit_storage(const reader *r, qs_emit *m, qs_node persid, qs_err *e) {
    qs_node id = qs_node_persid(r->g, persid);
    if (!qs_emit_code(m, QS_OP_MARK, e)) return false;
    for (size_t i = 0; i < 5; i++)
        if (!qs_emit_node(m, r->g, qs_node_item(r->g, id, i), r->limits, e)) return false;
    return qs_emit_code(m, QS_OP_TUPLE, e) && qs_emit_code(m, QS_OP_BINPERSID, e);
}

/* The arguments of a rebuild call whose storage is a view: the tensor lies that much further in the whole
 * one. */
static bool emit_shifted(const reader *r, qs_emit *m, qs_node tuple, qs_err *e) {
    qs_node persid = qs_node_item(r->g, tuple, 0), offset = qs_node_item(r->g, tuple, 1);
    int64_t sum;
    if (__builtin_add_overflow(qs_node_int(r->g, offset),
                               qs_node_int(r->g, qs_node_item(r->g, view_of(r->g, persid), 1)), &sum))
        return bad_storage(r, persid, "is a view that begins beyond it");
    if (!qs_emit_code(m, QS_OP_MARK, e) || !emit_storage(r, m, persid, e) || !qs_emit_int(m, sum, e))
        return false;
    for (size_t i = 2; i < qs_node_len(r->g, tuple); i++)
        if (!qs_emit_node(m, r->g, qs_node_item(r->g, tuple, i), r->limits, e)) return false;
    return qs_emit_code(m, QS_OP_TUPLE, e);
}

static bool modernise(void *ctx, qs_emit *m, const qs_graph *g, qs_node n, bool *failed, qs_err *e) {
    const reader *r = ctx;
    qs_node_kind kind = qs_node_kind_of(g, n);
    if (kind == QS_NODE_TUPLE && qs_node_len(g, n) >= 4 &&
        view_of(g, qs_node_item(g, n, 0)) != QS_NODE_NONE) {
        *failed = !emit_shifted(r, m, n, e);
        return true;
    }
    if (kind != QS_NODE_PERSID) return false;
    qs_node id = qs_node_persid(g, n);
    if (is_storage_id(g, n)) {
        *failed = view_of(g, n) != QS_NODE_NONE
                      ? !qs_fail_at(e, QS_E_UNSUPPORTED, "object", qs_node_offset(g, n),
                                    "a view of a storage is kept by itself, outside of a tensor")
                      : !emit_storage(r, m, n, e);
        return true;
    }
    if (!qs_str_is(qs_node_str(g, qs_node_item(g, id, 0)), "module") || qs_node_len(g, id) < 2) return false;
    *failed = !qs_emit_node(m, g, qs_node_item(g, id, 1), r->limits, e);
    return true;
}

static bool make_pickle(reader *r) {
    qs_emit *m = qs_emit_new(sink, &r->pickle);
    if (!m) return qs_nomem(r->err);
    qs_emit_set_hook(m, modernise, r);
    bool ok = qs_emit_begin(m, r->err) && qs_emit_node(m, r->g, qs_graph_root(r->g), r->limits, r->err) &&
              qs_emit_end(m, r->err) &&
              qs_parts_add_bytes(r->parts, QS_STR("data.pkl"), qs_buf_str(&r->pickle), r->err);
    qs_emit_free(m);
    return ok;
}

static bool read_all(reader *r) {
    r->parts = qs_parts_new();
    return (r->parts || qs_nomem(r->err)) && read_header(r) && read_one(r, "object", &r->bytes, &r->g) &&
           read_one(r, "storage keys", &r->key_bytes, &r->keys) && find_storages(r) && make_pickle(r) &&
           add_records(r);
}

bool qs_legacy_open(qs_file *f, const qs_limits *limits, qs_itemsize_fn itemsize, qs_container **out,
                    qs_err *e) {
    reader r = {.f = f, .limits = limits, .itemsize = itemsize, .err = e};
    bool ok = read_all(&r);
    qs_graph_free(r.g);
    qs_graph_free(r.keys);
    free(r.bytes);
    free(r.key_bytes);
    qs_vec_free(&r.storages);
    qs_map_free(&r.by_key);
    qs_buf_free(&r.pickle);
    if (ok) return qs_container_of_parts(f, QS_FILE_LEGACY, r.parts, out, e);
    qs_parts_free(r.parts);
    qs_file_close(f);
    return false;
}

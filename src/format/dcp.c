#include "format/dcp.h"

#include "base/map.h"

#include <stdlib.h>

enum { MAX_FILES = 100000, MAX_FIELDS = 64 };

typedef struct reader {
    qs_dcp *d;
    const qs_graph *g;
    const qs_limits *limits;
    qs_map place_of; /* "key\0offset,offset" -> chunk */
    qs_map file_of;
    uint64_t work, max_work; /* what is listed once may be referred to from everywhere */
    qs_err *err;
} reader;

static bool fail(const reader *r, qs_str key, const char *what) {
    char shown[120];
    qs_str_printable(key, shown, sizeof shown);
    return qs_fail(r->err, QS_E_INPUT, "the metadata of this distributed checkpoint is broken: %s %s", shown,
                   what);
}

/* An attribute of a dataclass. */
static qs_node attribute(const reader *r, qs_node object, const char *name) {
    qs_node fields = qs_node_build(r->g, object, 0);
    return qs_node_pairs(r->g, fields) <= MAX_FIELDS ? qs_node_get(r->g, fields, name) : QS_NODE_NONE;
}

/* The tuple in a torch.Size, which is a call of it, or is a tuple itself. */
static qs_node size_tuple(const qs_graph *g, qs_node n) {
    qs_call call;
    if (qs_node_call(g, n, &call) && qs_node_is_global(g, call.callable, "torch", "Size"))
        n = qs_node_item(g, call.args, 0);
    return qs_node_kind_of(g, n) == QS_NODE_TUPLE ? n : QS_NODE_NONE;
}

static bool read_sizes(reader *r, qs_str key, qs_node n, uint32_t *ndim, const int64_t **out) {
    qs_node tuple = size_tuple(r->g, n);
    size_t count = qs_node_len(r->g, tuple);
    if (tuple == QS_NODE_NONE) return fail(r, key, "has a size that is none");
    if (count > r->limits->ndim) return fail(r, key, "has more dimensions than --limit dimensions");
    r->work += 1 + count;
    if (r->work > r->max_work) return fail(r, key, "repeats what others have too often");
    int64_t *v = QS_ARENA_ARRAY(&r->d->arena, count + 1, int64_t);
    if (!v) return qs_nomem(r->err);
    for (size_t i = 0; i < count; i++) {
        qs_node item = qs_node_item(r->g, tuple, i);
        v[i] = qs_node_int(r->g, item);
        if (qs_node_kind_of(r->g, item) != QS_NODE_INT || v[i] < 0)
            return fail(r, key, "has an impossible size");
    }
    *ndim = (uint32_t)count;
    *out = v;
    return true;
}

/* ---- state_dict_metadata: what there is ---- */

/* "key\0" and the offsets: what a chunk is found by. Of an object, the key alone. */
static bool add_index(reader *r, const qs_dcp_item *item, const int64_t *offset, uint32_t chunk) {
    qs_buf b = {0};
    qs_buf_add(&b, item->key);
    if (offset) qs_buf_addc(&b, '\0');
    for (uint32_t i = 0; offset && i < item->ndim; i++) qs_buf_addf(&b, "%lld,", (long long)offset[i]);
    qs_str copy = b.failed ? (qs_str){0} : qs_arena_str(&r->d->arena, qs_buf_str(&b));
    qs_buf_free(&b);
    if (!copy.p) return qs_nomem(r->err);
    uint32_t at = qs_map_add(&r->place_of, copy, chunk);
    if (at == QS_MAP_NONE) return qs_nomem(r->err);
    return at == chunk || fail(r, item->key, "is listed twice");
}

static bool inside(const qs_dcp_item *item, const qs_dcp_chunk *c) {
    for (uint32_t i = 0; i < item->ndim; i++)
        if (c->offset[i] > item->dim[i] || c->size[i] > item->dim[i] - c->offset[i]) return false;
    return true;
}

static bool add_chunk(reader *r, qs_dcp_item *item, qs_node n) {
    qs_dcp_chunk c = {.place.file = UINT32_MAX};
    uint32_t a, b;
    if (!read_sizes(r, item->key, attribute(r, n, "offsets"), &a, &c.offset) ||
        !read_sizes(r, item->key, attribute(r, n, "sizes"), &b, &c.size))
        return false;
    if (a != item->ndim || b != item->ndim || !inside(item, &c))
        return fail(r, item->key, "has a chunk that is no part of it");
    item->chunks++;
    return add_index(r, item, c.offset, (uint32_t)r->d->chunks.n) &&
           (qs_push(&r->d->chunks, c) || qs_nomem(r->err));
}

static qs_str dtype_of(const reader *r, qs_node properties) {
    qs_node state = qs_node_build(r->g, properties, 0);
    qs_node n = qs_node_kind_of(r->g, state) == QS_NODE_TUPLE ? qs_node_item(r->g, state, 0)
                                                              : qs_node_get(r->g, state, "dtype");
    return qs_str_is(qs_node_module(r->g, n), "torch") ? qs_node_name(r->g, n) : (qs_str){"", 0};
}

static bool add_tensor(reader *r, qs_dcp_item *item, qs_node n) {
    qs_node list = attribute(r, n, "chunks");
    item->is_tensor = true;
    item->dtype = dtype_of(r, attribute(r, n, "properties"));
    if (!read_sizes(r, item->key, attribute(r, n, "size"), &item->ndim, &item->dim)) return false;
    for (size_t i = 0; i < qs_node_len(r->g, list); i++)
        if (!add_chunk(r, item, qs_node_item(r->g, list, i))) return false;
    return true;
}

static bool add_object(reader *r, qs_dcp_item *item) {
    item->chunks = 1;
    return add_index(r, item, NULL, (uint32_t)r->d->chunks.n) &&
           (qs_push(&r->d->chunks, (qs_dcp_chunk){.place.file = UINT32_MAX}) || qs_nomem(r->err));
}

static bool add_item(reader *r, qs_node key, qs_node value) {
    qs_call call;
    qs_dcp_item item = {.key = qs_node_str(r->g, key), .first = (uint32_t)r->d->chunks.n};
    if (qs_node_kind_of(r->g, key) != QS_NODE_STR || !qs_node_call(r->g, value, &call))
        return fail(r, item.key, "is no entry");
    qs_str class = qs_node_name(r->g, call.callable);
    if (memchr(item.key.p ? item.key.p : "", 0, item.key.n))
        return fail(r, item.key, "has a NUL in its name");
    if (r->d->chunks.n >= UINT32_MAX - 1) return fail(r, item.key, "is one of too many");
    bool ok = false;
    if (qs_str_is(class, "TensorStorageMetadata"))
        ok = add_tensor(r, &item, value);
    else if (qs_str_is(class, "BytesStorageMetadata"))
        ok = add_object(r, &item);
    else
        fail(r, item.key, "is neither a tensor nor an object");
    return ok && (qs_push(&r->d->items, item) || qs_nomem(r->err));
}

/* ---- storage_data: where it is ---- */

static bool file_index(reader *r, qs_str name, uint32_t *out) {
    qs_dcp *d = r->d;
    if (memchr(name.p ? name.p : "", 0, name.n)) return fail(r, name, "is no name of a file");
    qs_str copy = qs_arena_str(&d->arena, name);
    if (!copy.p) return qs_nomem(r->err);
    if (!qs_is_plain_name(copy.p)) return fail(r, name, "is no name of a file beside it");
    *out = qs_map_add(&r->file_of, copy, (uint32_t)d->files.n);
    if (*out == QS_MAP_NONE) return qs_nomem(r->err);
    if (*out < d->files.n) return true;
    if (d->files.n >= MAX_FILES) return fail(r, name, "is one file too many");
    return qs_push(&d->files, copy) || qs_nomem(r->err);
}

/* The chunk an index (fqn, offset) speaks of, or QS_MAP_NONE. */
static uint32_t chunk_of(const reader *r, qs_node index) {
    qs_buf b = {0};
    qs_node offset = size_tuple(r->g, attribute(r, index, "offset"));
    qs_buf_add(&b, qs_node_str(r->g, attribute(r, index, "fqn")));
    if (offset != QS_NODE_NONE) qs_buf_addc(&b, '\0');
    for (size_t i = 0; i < qs_node_len(r->g, offset) && i <= r->limits->ndim; i++)
        qs_buf_addf(&b, "%lld,", (long long)qs_node_int(r->g, qs_node_item(r->g, offset, i)));
    uint32_t at = b.failed ? QS_MAP_NONE : qs_map_get(&r->place_of, qs_buf_str(&b));
    qs_buf_free(&b);
    return at;
}

static bool add_place(reader *r, qs_node index, qs_node info) {
    uint32_t chunk = chunk_of(r, index);
    qs_str path = qs_node_str(r->g, attribute(r, info, "relative_path"));
    int64_t at = qs_node_int(r->g, attribute(r, info, "offset"));
    int64_t length = qs_node_int(r->g, attribute(r, info, "length"));
    if (chunk == QS_MAP_NONE) return true; /* nobody asks for it */
    if (at < 0 || length <= 0) return fail(r, path, "is said to hold bytes it cannot");
    qs_dcp_place *p = &r->d->chunks.v[chunk].place;
    qs_node transforms = attribute(r, info, "transform_descriptors");
    p->transformed = qs_node_len(r->g, transforms) > 0;
    p->at = (uint64_t)at;
    p->length = (uint64_t)length;
    return file_index(r, path, &p->file);
}

/* planner_data: the path that was made flat, if every entry has one. */
static void add_paths(reader *r, qs_node planner) {
    size_t n = r->d->items.n;
    if (!qs_node_is_dict_like(r->g, planner) || qs_node_pairs(r->g, planner) != n) return;
    for (size_t i = 0; i < n; i++) /* torch writes both in one order */
        if (!qs_str_eq(qs_node_str(r->g, qs_node_key(r->g, planner, i)), r->d->items.v[i].key)) return;
    for (size_t i = 0; i < n; i++) r->d->items.v[i].path = qs_node_value(r->g, planner, i);
}

static bool read_all(reader *r) {
    qs_node root = qs_graph_root(r->g), what = attribute(r, root, "state_dict_metadata");
    qs_node where = attribute(r, root, "storage_data");
    if (!qs_node_is_dict_like(r->g, what) || !qs_node_is_dict_like(r->g, where))
        return qs_fail(
            r->err, QS_E_INPUT,
            "this pickle is no metadata of a distributed checkpoint: it has no state_dict_metadata or no "
            "storage_data");
    for (size_t i = 0; i < qs_node_pairs(r->g, what); i++)
        if (!add_item(r, qs_node_key(r->g, what, i), qs_node_value(r->g, what, i))) return false;
    for (size_t i = 0; i < qs_node_pairs(r->g, where); i++)
        if (!add_place(r, qs_node_key(r->g, where, i), qs_node_value(r->g, where, i))) return false;
    add_paths(r, attribute(r, root, "planner_data"));
    return true;
}

void qs_dcp_free(qs_dcp *d) {
    if (!d) return;
    qs_vec_free(&d->items);
    qs_vec_free(&d->chunks);
    qs_vec_free(&d->files);
    qs_graph_free(d->graph);
    free(d->bytes);
    qs_arena_free(&d->arena);
    free(d);
}

bool qs_dcp_read(const qs_file *f, const qs_limits *limits, qs_dcp **out, qs_err *e) {
    uint64_t n = qs_file_size(f);
    qs_dcp *d = calloc(1, sizeof *d);
    reader r = {.d = d, .limits = limits, .err = e};
    if (!d) return qs_nomem(e);
    bool ok =
        n <= limits->pickle_bytes || qs_over_limit(e, limits, QS_LIMIT_PICKLE_BYTES, qs_file_path(f), n);
    if (ok) {
        d->bytes = malloc((size_t)n + 1);
        ok = d->bytes ? qs_file_read(f, 0, d->bytes, (size_t)n, e) : qs_nomem(e);
    }
    ok = ok && qs_pickle_read(d->bytes, (size_t)n, ".metadata", limits, &d->graph, e);
    r.g = d->graph;
    r.max_work = 8ull * (ok ? qs_graph_count(d->graph) : 0) + 4096;
    ok = ok && read_all(&r);
    qs_map_free(&r.place_of);
    qs_map_free(&r.file_of);
    if (ok)
        *out = d;
    else
        qs_dcp_free(d);
    return ok;
}

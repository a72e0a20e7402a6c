/* A checkpoint of torch.distributed: `.metadata` and the files it names, each a row of what torch.save wrote
 * for one chunk of a tensor or one object. A tensor in one chunk is a range of its file; one in several is
 * put together when it is read. */
#include "format/dcp.h"
#include "format/parts.h"
#include "model/dcp_chunk.h"
#include "model/dcp_tree.h"
#include "model/foreign.h"
#include "model/foreign_emit.h"

#include <stdlib.h>

/* What an object was read from: kept until the emitter is gone, which remembers it by its address. */
typedef struct kept {
    char *pickle;
    qs_graph *g;
} kept;

typedef struct builder {
    const qs_file *metadata;
    const qs_limits *limits;
    qs_dcp *d;
    qs_dcp_file *files; /* [d->files.n] */
    qs_parts *parts;
    qs_emit *emit;
    qs_buf pickle;
    QS_VEC(kept) kept;
    QS_VEC(qs_tile) tiles;     /* of the tensor at hand */
    qs_storage_number current; /* item being emitted */
    qs_err *err;
} builder;

/* ---- the files ---- */

static bool open_files(builder *b) {
    size_t n = b->d->files.n;
    b->files = calloc(n + 1, sizeof *b->files);
    if (!b->files) return qs_nomem(b->err);
    for (size_t i = 0; i < n; i++) {
        qs_err why = QS_ERR_INIT;
        qs_file *f = NULL;
        if (i >= b->limits->files)
            qs_over_limit(&why, b->limits, QS_LIMIT_FILES, qs_file_path(b->metadata), n);
        else if (qs_file_open_beside(b->metadata, b->d->files.v[i].p, &f, &why) &&
                 !qs_parts_own_file(b->parts, f, b->err))
            return false;
        b->files[i].f = f;
        if (why.code == QS_E_NOMEM) return qs_nomem(b->err);
        snprintf(b->files[i].why, sizeof b->files[i].why, "%.290s", why.msg);
    }
    return true;
}

static int by_place(const void *a, const void *b) {
    const qs_dcp_place *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Bytes that are two things make much out of a small file. */
static bool check_disjoint(const builder *b) {
    size_t n = b->d->chunks.n;
    bool ok = true;
    qs_dcp_place *v = malloc((n + 1) * sizeof *v);
    if (!v) return qs_nomem(b->err);
    for (size_t i = 0; i < n; i++) v[i] = b->d->chunks.v[i].place;
    qsort(v, n, sizeof *v, by_place);
    for (size_t i = 1; ok && i < n; i++)
        if (v[i].file != UINT32_MAX && v[i].file == v[i - 1].file && v[i].at - v[i - 1].at < v[i - 1].length)
            ok = qs_fail(
                b->err, QS_E_INPUT,
                "the metadata of this distributed checkpoint is broken or forged: two of its entries lie "
                "in the same bytes of %s, at %llu",
                b->d->files.v[v[i].file].p, (unsigned long long)v[i].at);
    free(v);
    return ok;
}

/* ---- objects, and tensors that are more than a box of numbers: as they were written ---- */

/* Takes over what *o holds. */
static bool emit_as_written(builder *b, qs_dcp_opened *o) {
    if (!qs_push(&b->kept, (kept){o->pickle, o->g})) return qs_nomem(b->err);
    const qs_graph *g = o->g;
    qs_container *box = o->box;
    *o = (qs_dcp_opened){0};
    return qs_parts_own(b->parts, box, b->err) &&
           qs_parts_add_numbered(b->parts, box, b->current.number, b->err) &&
           qs_emit_node(b->emit, g, qs_graph_root(g), b->limits, b->err);
}

static bool emit_object(builder *b, const qs_dcp_item *item) {
    qs_dcp_opened o;
    qs_err why = QS_ERR_INIT;
    if (qs_dcp_chunk_open(b->files, &b->d->chunks.v[item->first].place, b->limits, &o, &why)) {
        bool ok = emit_as_written(b, &o);
        qs_dcp_chunk_close(&o);
        return ok;
    }
    char text[600];
    if (why.code == QS_E_NOMEM) return qs_nomem(b->err);
    snprintf(text, sizeof text, "not read: %.500s", why.msg);
    return qs_emit_str(b->emit, qs_str_of(text), b->err);
}

/* ---- tensors ---- */

static uint64_t volume(uint32_t ndim, const int64_t *size) {
    uint64_t v = 1;
    for (uint32_t i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(v, (uint64_t)size[i], &v)) return UINT64_MAX;
    return v;
}

/* Contiguous, with all its bytes in the record data/KEY. */
static bool emit_whole(const builder *b, const qs_dcp_item *item, qs_dtype dtype, const char *key) {
    int64_t stride[QS_MOSAIC_NDIM];
    uint64_t size = dtype ? qs_dtype_get(dtype)->size : 1, bytes = volume(item->ndim, item->dim);
    if (__builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX)
        return qs_fail(b->err, QS_E_INPUT, "a tensor of this distributed checkpoint has an impossible size");
    qs_contiguous_strides(item->ndim, item->dim, stride);
    qs_plain_tensor t = {.dtype = dtype,
                         .dtype_name = item->dtype,
                         .ndim = item->ndim,
                         .dim = item->dim,
                         .stride = stride,
                         .storage_bytes = bytes,
                         .key = key};
    return qs_emit_plain_tensor(b->emit, &t, b->err);
}

/* The shape is known even so; the name of the record that is not there says why. */
static bool emit_unread(const builder *b, const qs_dcp_item *item, const qs_err *why) {
    char key[200];
    if (why->code == QS_E_NOMEM) return qs_nomem(b->err);
    snprintf(key, sizeof key, "%u: %.180s", b->current.number, why->msg);
    return emit_whole(b, item, qs_dtype_parse(item->dtype), key);
}

static bool emit_single(builder *b, const qs_dcp_item *item, const qs_dcp_chunk *c) {
    qs_dcp_opened o;
    qs_dcp_plain p;
    qs_err why = QS_ERR_INIT;
    char record[40];
    if (!qs_dcp_chunk_open(b->files, &c->place, b->limits, &o, &why)) return emit_unread(b, item, &why);
    bool ok;
    if (!qs_dcp_chunk_plain(&o, &b->d->arena, item->ndim, item->dim, &p)) {
        ok = emit_as_written(b, &o);
    } else {
        snprintf(record, sizeof record, "data/%u", b->current.number);
        qs_plain_tensor t = {.dtype = p.dtype,
                             .ndim = item->ndim,
                             .dim = item->dim,
                             .stride = p.stride,
                             .offset = p.offset,
                             .storage_bytes = p.bytes,
                             .key = record + strlen("data/")};
        ok = qs_parts_add_range_of(b->parts, qs_str_of(record), o.file, p.at, p.bytes, b->err) &&
             qs_emit_plain_tensor(b->emit, &t, b->err);
    }
    qs_dcp_chunk_close(&o);
    return ok;
}

static bool add_tile(builder *b, const qs_dcp_item *item, const qs_dcp_chunk *c, qs_dtype *dtype,
                     qs_err *why) {
    qs_dcp_opened o;
    qs_dcp_plain p;
    if (!qs_dcp_chunk_open(b->files, &c->place, b->limits, &o, why)) return false;
    bool ok = qs_dcp_chunk_plain(&o, &b->d->arena, item->ndim, c->size, &p) && (!*dtype || *dtype == p.dtype);
    const qs_file *f = o.file;
    qs_dcp_chunk_close(&o);
    if (!ok) return qs_fail(why, QS_E_INPUT, "one of its chunks is no tensor of the right shape and type");
    *dtype = p.dtype;
    qs_tile t = {c->offset, c->size, p.stride, f, p.at + p.offset * qs_dtype_get(p.dtype)->size};
    return qs_push(&b->tiles, t) || qs_nomem(why);
}

static bool emit_pieces(builder *b, const qs_dcp_item *item) {
    qs_err why = QS_ERR_INIT;
    qs_dtype dtype = QS_DTYPE_UNKNOWN;
    char record[40];
    b->tiles.n = 0;
    for (uint32_t i = 0; i < item->chunks; i++) {
        const qs_dcp_chunk *c = &b->d->chunks.v[item->first + i];
        if (volume(item->ndim, c->size) && !add_tile(b, item, c, &dtype, &why))
            return emit_unread(b, item, &why);
    }
    qs_mosaic m = {item->ndim, item->dim, qs_dtype_get(dtype)->size, b->tiles.v, b->tiles.n};
    if (!dtype || !qs_mosaic_is_whole(&m)) {
        qs_fail(&why, QS_E_INPUT, "its chunks do not make up the whole of it");
        return emit_unread(b, item, &why);
    }
    snprintf(record, sizeof record, "data/%u", b->current.number);
    return qs_parts_add_mosaic(b->parts, qs_str_of(record), &m, b->err) &&
           emit_whole(b, item, dtype, record + strlen("data/"));
}

static bool emit_empty(const builder *b, const qs_dcp_item *item) {
    char record[40];
    snprintf(record, sizeof record, "data/%u", b->current.number);
    return qs_parts_add_bytes(b->parts, qs_str_of(record), QS_STR(""), b->err) &&
           emit_whole(b, item, qs_dtype_parse(item->dtype), record + strlen("data/"));
}

static bool emit_item(void *ctx, uint32_t i, qs_err *e) {
    builder *b = ctx;
    const qs_dcp_item *item = &b->d->items.v[i];
    (void)e; /* the builder's own */
    b->current.number = i;
    if (!item->is_tensor) return emit_object(b, item);
    /* of an entry without chunks there may be no list at all */
    const qs_dcp_chunk *only = item->chunks == 1 ? &b->d->chunks.v[item->first] : NULL;
    if (only && (!item->ndim || memcmp(only->size, item->dim, item->ndim * sizeof *only->size) == 0))
        return emit_single(b, item, only);
    return volume(item->ndim, item->dim) ? emit_pieces(b, item) : emit_empty(b, item);
}

/* ---- where each entry is, as an attribute of the top ---- */

static bool emit_place(const builder *b, const qs_dcp_item *item, const qs_dcp_chunk *c) {
    qs_emit *m = b->emit;
    qs_err *e = b->err;
    qs_str file = c->place.file == UINT32_MAX ? QS_STR("") : b->d->files.v[c->place.file];
    uint32_t ndim = c->offset ? item->ndim : 0;
    return qs_emit_code(m, QS_OP_MARK, e) && qs_emit_str(m, file, e) &&
           qs_emit_int(m, (int64_t)c->place.at, e) && qs_emit_int(m, (int64_t)c->place.length, e) &&
           qs_emit_ints(m, c->offset, ndim, e) && qs_emit_ints(m, c->size, ndim, e) &&
           qs_emit_code(m, QS_OP_TUPLE, e);
}

static bool emit_places(const builder *b) {
    qs_emit *m = b->emit;
    qs_err *e = b->err;
    if (!qs_emit_code(m, QS_OP_EMPTY_DICT, e) || !qs_emit_str(m, QS_STR(QS_DCP_PLACES), e) ||
        !qs_emit_code(m, QS_OP_EMPTY_DICT, e))
        return false;
    for (size_t i = 0; i < b->d->items.n; i++) {
        const qs_dcp_item *item = &b->d->items.v[i];
        if (!qs_emit_str(m, item->key, e) || !qs_emit_code(m, QS_OP_MARK, e)) return false;
        for (uint32_t k = 0; k < item->chunks; k++)
            if (!emit_place(b, item, &b->d->chunks.v[item->first + k])) return false;
        if (!qs_emit_code(m, QS_OP_TUPLE, e) || !qs_emit_code(m, QS_OP_SETITEM, e)) return false;
    }
    return qs_emit_code(m, QS_OP_SETITEM, e) && qs_emit_code(m, QS_OP_BUILD, e);
}

static bool build(builder *b) {
    qs_err *e = b->err;
    qs_dcp_tree tree = {0};
    b->emit = qs_emit_new(qs_emit_to_buf, &b->pickle);
    b->parts = qs_parts_new();
    if (!b->emit || !b->parts) return qs_nomem(e);
    qs_emit_set_hook(b->emit, qs_emit_numbered_storages, &b->current);
    bool ok = check_disjoint(b) && open_files(b) && qs_dcp_tree_build(b->d, &tree, e) &&
              qs_emit_begin(b->emit, e) && qs_emit_empty_ordered_dict(b->emit, e) &&
              qs_dcp_tree_emit(&tree, b->emit, emit_item, b, e) && emit_places(b) &&
              qs_emit_end(b->emit, e) &&
              qs_parts_add_bytes(b->parts, QS_STR("data.pkl"), qs_buf_str(&b->pickle), e);
    qs_dcp_tree_free(&tree);
    return ok;
}

static void release(builder *b) {
    qs_emit_free(b->emit);
    for (size_t i = 0; i < b->kept.n; i++) {
        qs_graph_free(b->kept.v[i].g);
        free(b->kept.v[i].pickle);
    }
    qs_vec_free(&b->kept);
    qs_vec_free(&b->tiles);
    free(b->files);
    qs_buf_free(&b->pickle);
    qs_dcp_free(b->d);
}

bool qs_dcp_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e) {
    builder b = {.metadata = f, .limits = limits, .current.limits = limits, .err = e};
    bool ok = qs_dcp_read(f, limits, &b.d, e) && build(&b);
    release(&b);
    if (ok) return qs_container_of_parts(f, QS_FILE_DCP, b.parts, out, e);
    qs_parts_free(b.parts);
    qs_file_close(f);
    return false;
}

/* Saves the state dict of a resolution as safetensors: https://github.com/huggingface/safetensors, "Format".
 * Every tensor is written whole and contiguous; what the format cannot say is refused by name before anything
 * is written. */
#include "repair/write_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEP = 1 << 20, MOST_HEADER = 32 << 20, /* what readers take by default */ LISTED = 5 };

typedef qs_st_item item;
typedef qs_st_job job;

#define FILE_END  ".safetensors"
#define INDEX_END ".safetensors.index.json"

qs_write_format qs_write_format_of(const char *path) {
    if (qs_str_ends(qs_str_of(path), QS_STR(INDEX_END))) return QS_WRITE_SHARDS;
    return qs_str_ends(qs_str_of(path), QS_STR(FILE_END)) ? QS_WRITE_SAFETENSORS : QS_WRITE_TORCH;
}

size_t qs_write_stem(const char *path) {
    size_t n = strlen(path);
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    switch (qs_write_format_of(path)) {
    case QS_WRITE_SHARDS: return n - strlen(INDEX_END);
    case QS_WRITE_SAFETENSORS: return n - strlen(FILE_END);
    default: return dot && dot > (slash ? slash + 1 : path) ? (size_t)(dot - path) : n;
    }
}

bool qs_is_safetensors_name(const char *path) {
    return qs_write_format_of(path) != QS_WRITE_TORCH;
}

/* ---- what is written ---- */

static bool is_utf8(qs_str s) {
    uint32_t cp;
    for (size_t n; s.n; s = qs_str_sub(s, n, s.n)) {
        n = (unsigned char)s.p[0] < 0x80 ? 1 : qs_utf8_decode(s, &cp);
        if (n == 0) return false;
    }
    return true;
}

const char *qs_safetensors_misfit(const qs_resolution *r, uint32_t i) {
    const qs_resolved *x = qs_resolution_entry(r, i);
    const qs_tensor *t = qs_resolved_tensor(r, x, NULL);
    if (qs_str_is(x->key, "__metadata__") || !is_utf8(x->key)) return "its name is not allowed there";
    if (!qs_resolved_is_made(x)) {
        if (!t) return "no tensor";
        if (t->bad) return "broken";
        if (t->kind == QS_TENSOR_QUANTIZED) return "quantized";
        if (t->kind != QS_TENSOR_DENSE) return "not a dense tensor";
    }
    qs_dtype dtype = t ? t->dtype : x->dtype;
    return qs_dtype_get(dtype)->safetensors[0] ? NULL : "of a type the format has not";
}

static bool refuse_misfits(const job *j) {
    const qs_resolution *r = j->w->r;
    qs_buf list = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < qs_resolution_live(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        const char *why = qs_safetensors_misfit(r, i);
        char name[80];
        if (!why || ++count > LISTED) continue;
        qs_str_printable(x->key, name, sizeof name);
        qs_buf_addf(&list, "%s%s (%s)", count > 1 ? ", " : "", name, why);
    }
    bool ok = count == 0 || qs_fail(j->e, QS_E_REFUSED,
                                    "safetensors cannot hold %u of the entries: %s%s; drop them "
                                    "first, or save as .pt",
                                    count, list.p ? list.p : "", count > LISTED ? ", ..." : "");
    qs_buf_free(&list);
    return ok;
}

static bool add_item(job *j, uint32_t i) {
    const qs_resolution *r = j->w->r;
    item it = {.x = qs_resolution_entry(r, i)};
    it.t = qs_resolved_tensor(r, it.x, &it.from);
    if (!it.t) {
        it.from = NULL;
        it.fill = (qs_fill){.dtype = it.x->dtype, .shape = it.x->shape};
        if (it.x->mark == QS_MARK_INIT &&
            !qs_resolved_fill(r, it.x, j->w->cache, &j->w->arena, &it.fill, j->e))
            return false;
    }
    it.dtype = it.t ? it.t->dtype : it.fill.dtype;
    it.shape = it.t ? it.t->shape : it.fill.shape;
    if (__builtin_mul_overflow(qs_shape_numel(it.shape), (uint64_t)qs_dtype_get(it.dtype)->size, &it.bytes) ||
        __builtin_add_overflow(j->total, it.bytes, &j->total))
        return qs_fail(j->e, QS_E_REFUSED, "%.*s: expanded to its full size it is too large to write",
                       QS_FMT(it.x->key));
    if (it.fill.data && it.bytes != it.fill.bytes)
        return qs_fail(j->e, QS_E_REFUSED, "%.*s: the value made for it does not fit its type",
                       QS_FMT(it.x->key));
    return qs_push(&j->items, it) || qs_nomem(j->e);
}

/* Wide types first, so that each tensor is aligned to its own type; then by name. */
static int by_size_and_name(const void *p, const void *q) {
    const item *a = p, *b = q;
    uint8_t sa = qs_dtype_get(a->dtype)->size, sb = qs_dtype_get(b->dtype)->size;
    if (sa != sb) return sa > sb ? -1 : 1;
    return qs_str_cmp(a->x->key, b->x->key);
}

bool qs_st_collect(job *j, qs_writer *w, const qs_progress *progress, qs_err *e) {
    *j = (job){.w = w, .progress = progress, .e = e, .block = malloc(2 * STEP)};
    if (!j->block) return qs_nomem(e);
    if (!refuse_misfits(j)) return false;
    for (uint32_t i = 0; i < qs_resolution_live(w->r); i++)
        if (!add_item(j, i)) return false;
    return true;
}

void qs_st_free(job *j) {
    qs_vec_free(&j->items);
    free(j->block);
}

static void place(item *items, size_t n) {
    uint64_t at = 0;
    if (n) qsort(items, n, sizeof *items, by_size_and_name);
    for (size_t i = 0; i < n; i++) {
        items[i].begin = at;
        at += items[i].bytes;
    }
}

/* ---- the header ---- */

/* A's own __metadata__ if it was a safetensors file, else what safetensors.torch writes. */
static void add_metadata(const job *j, qs_buf *b) {
    const qs_checkpoint *a = j->w->a.c;
    const qs_graph *g = qs_checkpoint_graph(a);
    qs_node state = qs_node_build(g, qs_checkpoint_chosen_root(a)->node, 0);
    qs_node kept = qs_node_get(g, state, "__metadata__");
    bool any = false;
    qs_buf_addz(b, "{\"__metadata__\":{");
    for (size_t i = 0; i < qs_node_pairs(g, kept); i++) {
        qs_node key = qs_node_key(g, kept, i), value = qs_node_value(g, kept, i);
        if (qs_node_kind_of(g, key) != QS_NODE_STR || qs_node_kind_of(g, value) != QS_NODE_STR) continue;
        if (any) qs_buf_addc(b, ',');
        qs_buf_add_json(b, qs_node_str(g, key));
        qs_buf_addc(b, ':');
        qs_buf_add_json(b, qs_node_str(g, value));
        any = true;
    }
    qs_buf_addz(b, any ? "}" : "\"format\":\"pt\"}");
}

static void add_entry(const item *it, qs_buf *b) {
    qs_buf_addc(b, ',');
    qs_buf_add_json(b, it->x->key);
    qs_buf_addf(b, ":{\"dtype\":\"%s\",\"shape\":[", qs_dtype_get(it->dtype)->safetensors);
    for (uint32_t d = 0; d < it->shape.ndim; d++) {
        /* torch counts pairs of 4-bit elements, the format single ones. */
        bool packed = it->dtype == QS_FLOAT4_E2M1FN_X2 && d + 1 == it->shape.ndim;
        qs_buf_addf(b, "%s%" PRId64, d ? "," : "", it->shape.dim[d] * (packed ? 2 : 1));
    }
    qs_buf_addf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", it->begin, it->begin + it->bytes);
}

static bool make_header(const job *j, const item *items, size_t n, qs_buf *b) {
    qs_buf_add(b, (qs_str){"\0\0\0\0\0\0\0\0", 8});
    add_metadata(j, b);
    for (size_t i = 0; i < n; i++) add_entry(&items[i], b);
    qs_buf_addc(b, '}');
    while (b->n % 8 && !b->failed) qs_buf_addc(b, ' ');
    if (b->failed) return qs_nomem(j->e);
    if (b->n - 8 > MOST_HEADER)
        return qs_fail(j->e, QS_E_REFUSED, "the names need a header of %zu bytes; at most %d are read",
                       b->n - 8, MOST_HEADER);
    for (size_t i = 0, size = b->n - 8; i < 8; i++, size >>= 8) b->p[i] = (char)(size & 0xff);
    return true;
}

/* ---- writing and reading back ---- */

bool qs_st_put(const job *j, int fd, const char *p, size_t n) {
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return qs_fail_errno(j->e, QS_E_IO, errno, "cannot write the new file");
        p += put;
        n -= (size_t)put;
    }
    return true;
}

/* n bytes from `at` of what an item shall hold; both count whole elements. */
static bool read_item(const job *j, const item *it, uint64_t at, char *out, size_t n) {
    size_t size = qs_dtype_get(it->dtype)->size;
    if (it->from) return qs_tensor_read(it->from, it->t, at / size, n / size, out, j->e);
    if (it->x->mark == QS_MARK_CONVERTED)
        return qs_resolved_read(j->w->r, it->x, at / size, n / size, out, j->e);
    memcpy(out, (const char *)it->fill.data + at, n);
    return true;
}

static bool write_items(job *j, const item *items, size_t count, int fd) {
    for (size_t i = 0; i < count; i++) {
        const item *it = &items[i];
        for (uint64_t at = 0; at < it->bytes;) {
            size_t n = it->bytes - at < STEP ? (size_t)(it->bytes - at) : STEP;
            if (!read_item(j, it, at, j->block, n) || !qs_st_put(j, fd, j->block, n)) return false;
            at += n;
            j->done += n;
            if (!qs_progress_step(j->progress, j->done, 2 * j->total, j->e)) return false;
        }
    }
    return true;
}

bool qs_st_write(job *j, size_t first, size_t n, int fd) {
    item *items = j->items.v + first;
    qs_buf header = {0};
    place(items, n);
    bool ok = make_header(j, items, n, &header) && qs_st_put(j, fd, header.p, header.n) &&
              write_items(j, items, n, fd);
    qs_buf_free(&header);
    return ok;
}

static bool wrong(const job *j, const item *it, const char *how) {
    return qs_fail(j->e, QS_E_IO,
                   "the file that was written is not what it should be: %.*s %s; nothing was saved",
                   QS_FMT(it->x->key), how);
}

static bool compare_item(job *j, const qs_checkpoint *c, const item *it) {
    uint32_t k = qs_checkpoint_find(c, it->x->key);
    const qs_tensor *got = k == UINT32_MAX ? NULL : qs_entry_tensor(c, qs_checkpoint_entry(c, k));
    size_t size = qs_dtype_get(it->dtype)->size;
    if (!got || got->bad || got->dtype != it->dtype || !qs_shape_eq(got->shape, it->shape))
        return wrong(j, it, "is not there as it was");
    for (uint64_t at = 0; at < it->bytes;) {
        size_t n = it->bytes - at < STEP ? (size_t)(it->bytes - at) : STEP;
        if (!read_item(j, it, at, j->block, n) ||
            !qs_tensor_read(c, got, at / size, n / size, j->block + STEP, j->e))
            return false;
        if (memcmp(j->block, j->block + STEP, n) != 0) return wrong(j, it, "has other bytes");
        at += n;
        j->done += n;
        if (!qs_progress_step(j->progress, j->done, 2 * j->total, j->e)) return false;
    }
    return true;
}

bool qs_st_compare(job *j, const char *path) {
    qs_checkpoint *c = NULL;
    if (j->items.n == 0) return true;
    if (!qs_checkpoint_open(path, NULL, &c, j->e)) return false;
    bool ok =
        qs_checkpoint_count(c) == j->items.n || wrong(j, &j->items.v[0], "is not alone with the others");
    for (size_t i = 0; ok && i < j->items.n; i++) ok = compare_item(j, c, &j->items.v[i]);
    qs_checkpoint_close(c);
    return ok;
}

bool qs_write_safetensors(qs_writer *w, int fd, const char *path, const qs_progress *progress, qs_err *e) {
    job j;
    bool ok =
        qs_st_collect(&j, w, progress, e) && qs_st_write(&j, 0, j.items.n, fd) && qs_st_compare(&j, path);
    qs_st_free(&j);
    return ok;
}

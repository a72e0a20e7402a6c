/* A second look at the file before it takes its name: opened like any other, compared with what it should be.
 */
#include "repair/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STEP = 128 << 10, ENDS = 4 << 10 };

typedef struct check {
    const qs_writer *w;
    qs_checkpoint *c;
    const qs_progress *progress;
    uint64_t done, total;
    qs_err *e;
} check;

static bool wrong(const check *k, qs_str what, const char *how) {
    return qs_fail(k->e, QS_E_IO,
                   "the file that was written is not what it should be: %.*s %s; nothing was saved",
                   QS_FMT(what), how);
}

static bool same_ints(const int64_t *a, const int64_t *b, uint32_t n) {
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

static bool same_quantized(const qs_quantized *a, const qs_quantized *b) {
    if (!a || !b) return a == b;
    return a->per_channel == b->per_channel && memcmp(&a->scale, &b->scale, sizeof a->scale) == 0 &&
           a->zero_point == b->zero_point && a->axis == b->axis;
}

static bool check_tensor(const check *k, const qs_resolved *x, const qs_tensor *want, const qs_tensor *got,
                         uint64_t skip) {
    if (got->bad) return wrong(k, x->key, "cannot be read");
    if (got->kind != want->kind || got->dtype != want->dtype) return wrong(k, x->key, "has another type");
    if (!qs_shape_eq(got->shape, want->shape)) return wrong(k, x->key, "has another shape");
    if (got->offset * qs_dtype_get(got->dtype)->size + skip !=
            want->offset * qs_dtype_get(want->dtype)->size ||
        !same_ints(got->stride, want->stride, want->shape.ndim))
        return wrong(k, x->key, "has another layout");
    if (!same_quantized(got->q, want->q)) return wrong(k, x->key, "has other quantization parameters");
    return true;
}

static bool check_storage_key(const check *k, const qs_resolved *x, const qs_tensor *got, uint32_t out) {
    if (got->storage == UINT32_MAX || out == 0) return wrong(k, x->key, "has no storage");
    const qs_storage *s = qs_checkpoint_storage(k->c, got->storage);
    const qs_out_storage *o = &k->w->storages.v[out - 1];
    return (qs_str_eq(qs_storage_key(k->c, s), o->key) && s->bytes == o->bytes) ||
           wrong(k, x->key, "has another storage");
}

static bool check_fill(const check *k, const qs_resolved *x, const qs_tensor *got, uint32_t i) {
    if (got->bad) return wrong(k, x->key, "cannot be read");
    if (got->dtype != x->dtype || !qs_shape_eq(got->shape, x->shape))
        return wrong(k, x->key, "has another shape or type");
    if (got->offset || !qs_tensor_is_contiguous(got)) return wrong(k, x->key, "has another layout");
    return check_storage_key(k, x, got, k->w->fills[i]);
}

static bool check_entry(const check *k, uint32_t i) {
    const qs_resolved *x = qs_resolution_entry(k->w->r, i);
    const qs_entry *en = qs_checkpoint_entry(k->c, i);
    if (!qs_str_eq(en->key, x->key)) return wrong(k, x->key, "is not in its place");
    const qs_tensor *got = qs_entry_tensor(k->c, en);
    if (qs_resolved_is_made(x)) return got ? check_fill(k, x, got, i) : wrong(k, x->key, "is no tensor");
    const qs_checkpoint *from = NULL;
    const qs_tensor *want = qs_resolved_tensor(k->w->r, x, &from);
    if (!want != !got) return wrong(k, x->key, "is of another kind");
    if (!want) return true;
    const qs_out_source *src = from == k->w->a.c ? &k->w->a : &k->w->b;
    uint32_t out = want->storage == UINT32_MAX ? 0 : src->out[want->storage];
    if (!check_tensor(k, x, want, got, out ? k->w->storages.v[out - 1].skip : 0)) return false;
    return want->storage == UINT32_MAX || check_storage_key(k, x, got, out);
}

static bool check_versions(const check *k) {
    const qs_resolution *r = k->w->r;
    for (uint32_t i = 0; i < qs_resolution_metadata_count(r); i++) {
        qs_str prefix = qs_resolution_metadata_prefix(r, i);
        if (qs_checkpoint_version(k->c, prefix) != qs_resolution_version(r, prefix))
            return wrong(k, prefix, "has another version");
    }
    return true;
}

/* What the kernel copied from file to file, its checksum with it, can only have been taken from a wrong place
 * or put into one, which its ends tell; reading all of it again would take as long as copying it. */
static bool compare_bytes(check *k, const qs_out_storage *s, uint32_t record, char *buf) {
    const qs_container *file = qs_checkpoint_container(k->c);
    bool ends = s->copied && s->bytes > 2 * ENDS;
    for (uint64_t at = 0; at < s->bytes;) {
        if (ends && at == ENDS) {
            at = s->bytes - ENDS;
            k->done += s->bytes - 2 * ENDS;
        }
        size_t most = ends ? ENDS : STEP, n = s->bytes - at < most ? (size_t)(s->bytes - at) : most;
        if (!qs_out_storage_read(s, at, buf, n, k->e) ||
            !qs_record_read(file, record, at, buf + STEP, n, k->e))
            return false;
        if (memcmp(buf, buf + STEP, n) != 0) return wrong(k, s->key, "(a storage) has other bytes");
        at += n;
        k->done += n;
        if (!qs_progress_step(k->progress, k->done, k->total, k->e)) return false;
    }
    return true;
}

static bool check_locations(const check *k) {
    for (uint32_t i = 0; k->w->cpu && i < qs_checkpoint_storage_count(k->c); i++) {
        const qs_storage *s = qs_checkpoint_storage(k->c, i);
        if (!qs_str_is(qs_storage_location(k->c, s), "cpu"))
            return wrong(k, qs_storage_key(k->c, s), "(a storage) is not of the CPU");
    }
    return true;
}

static bool check_storages(check *k) {
    const qs_container *file = qs_checkpoint_container(k->c);
    char *buf = malloc(2 * STEP);
    bool ok = buf || qs_nomem(k->e);
    for (size_t i = 0; ok && i < k->w->storages.n; i++) {
        const qs_out_storage *s = &k->w->storages.v[i];
        qs_buf name = {0};
        qs_buf_addz(&name, "data/");
        qs_buf_add(&name, s->key);
        ok = !name.failed || qs_nomem(k->e);
        uint32_t record = ok ? qs_container_find(file, qs_buf_str(&name)) : UINT32_MAX;
        if (ok && (record == UINT32_MAX || qs_container_record(file, record)->size != s->bytes))
            ok = wrong(k, s->key, "(a storage) is not there");
        ok = ok && compare_bytes(k, s, record, buf);
        qs_buf_free(&name);
    }
    free(buf);
    return ok;
}

bool qs_write_verify(const qs_writer *w, const char *path, const qs_progress *progress, qs_err *e) {
    check k = {.w = w, .progress = progress, .e = e};
    const qs_root *chosen = qs_checkpoint_chosen_root(w->a.c);
    qs_str where = w->bare ? QS_STR("") : chosen->path;
    char *root = strndup(where.p, where.n);
    if (!root) return qs_nomem(e);
    /* Our own output is not hostile: what was read with raised limits must be written too. */
    qs_open_options opt = {.root = root, .limits = QS_LIMITS_MOST, .loose = chosen->kind == QS_ROOT_LOOSE};
    for (size_t i = 0; i < w->storages.n; i++) k.total += w->storages.v[i].bytes;
    bool ok = qs_checkpoint_open(path, &opt, &k.c, e);
    uint32_t n = qs_resolution_live(w->r);
    if (ok && qs_checkpoint_count(k.c) != n)
        ok = wrong(&k, QS_STR("the state dict"), "has another number of entries");
    for (uint32_t i = 0; ok && i < n; i++) ok = check_entry(&k, i);
    ok = ok && check_versions(&k) && check_locations(&k) && check_storages(&k);
    qs_checkpoint_close(k.c);
    free(root);
    return ok;
}

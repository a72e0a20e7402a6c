/* Which parts of a file are pickles. */
#include "format/audit.h"

#include "format/dcp.h"
#include "format/pickle_at.h"
#include "format/tar.h"

#include <stdlib.h>

enum { MAX_PICKLES = 64 };

qs_audit_class qs_audit_worst(const qs_audit *a) {
    qs_audit_class worst = QS_AUDIT_TORCH;
    for (size_t i = 0; i < a->items.n; i++)
        if (a->items.v[i].cls > worst) worst = a->items.v[i].cls;
    return worst;
}

void qs_audit_close(qs_audit *a) {
    if (!a) return;
    qs_vec_free(&a->pickles);
    qs_vec_free(&a->items);
    qs_arena_free(&a->arena);
    free(a);
}

static bool add_record(qs_audit *a, qs_container *c, uint32_t i, const qs_limits *limits, qs_err *e) {
    char *data;
    size_t n;
    qs_str name = qs_arena_str(&a->arena, qs_container_record(c, i)->name);
    if (!name.p) return qs_nomem(e);
    if (!qs_record_slurp(c, i, limits, QS_LIMIT_PICKLE_BYTES, &data, &n, e)) return false;
    bool ok = qs_audit_add(a, data, n, name.p, 0, limits, e);
    free(data);
    return ok;
}

/* torch.load reads data.pkl, torch.jit.load constants.pkl too, wherever they stand; other pickles are for
 * whoever opens them. */
static bool is_loaded(qs_str name) {
    return qs_str_is(name, "data.pkl") || qs_str_is(name, "constants.pkl");
}

static bool audit_zip(qs_audit *a, qs_file *f, const qs_limits *limits, qs_err *e) {
    qs_container *c;
    if (!qs_container_open(f, limits, &c, e)) return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_container_count(c); i++) {
        qs_str name = qs_container_record(c, i)->name;
        if (!qs_str_ends(name, QS_STR(".pkl"))) continue;
        if (is_loaded(name) || a->pickles.n < MAX_PICKLES)
            ok = add_record(a, c, i, limits, e);
        else
            a->more = true;
    }
    qs_container_close(c);
    return ok;
}

/* Pickles in a row. After the five of a legacy file come raw bytes; a bare file may hold any number. */
static bool audit_row(qs_audit *a, const qs_file *f, const qs_limits *limits, qs_err *e) {
    static const char *const names[] = {"magic number", "protocol version", "system info", "object",
                                        "storage keys"};
    uint64_t at = 0;
    size_t most = a->kind == QS_FILE_LEGACY ? 5 : MAX_PICKLES;
    for (size_t i = 0; i < most && at < qs_file_size(f); i++) {
        const char *name = a->kind == QS_FILE_LEGACY ? names[i] : "pickle";
        qs_graph *g = NULL;
        qs_err why = QS_ERR_INIT;
        char *data = NULL;
        size_t n = 0;
        bool ok = qs_pickle_follow_at(f, at, name, limits, &data, &n, &g, &why, e) &&
                  qs_audit_add_graph(a, g, &why, name, at, e);
        if (ok) at += qs_graph_end(g);
        qs_graph_free(g);
        free(data);
        if (!ok) return false;
        if (why.code != QS_OK) return true;
    }
    a->more = a->kind != QS_FILE_LEGACY && at < qs_file_size(f);
    return true;
}

static bool audit_member(qs_audit *a, const qs_file *f, uint64_t at, const qs_tar_header *h,
                         const qs_limits *limits, qs_err *e) {
    qs_file *window = NULL;
    size_t first = a->pickles.n;
    qs_str name = qs_arena_str(&a->arena, h->name);
    if (!name.p) return qs_nomem(e);
    qs_err ignored = QS_ERR_INIT; /* cut short: tarfile would not get at it either */
    if (!qs_file_window(f, at, h->size, &window, &ignored)) return true;
    bool ok = audit_row(a, window, limits, e);
    qs_file_close(window);
    for (size_t i = first; i < a->pickles.n; i++) a->pickles.v[i].record = name;
    return ok;
}

/* Of torch 0.1.1: the members `storages`, `tensors` and `pickle` are pickles, with raw numbers between some
 * of them, which are not followed. Others are looked at as well, because a header can give another name. */
static bool audit_tar(qs_audit *a, const qs_file *f, const qs_limits *limits, qs_err *e) {
    char block[QS_TAR_BLOCK];
    qs_tar_header h;
    for (uint64_t at = 0; at + sizeof block <= qs_file_size(f) && a->pickles.n < MAX_PICKLES;) {
        if (!qs_file_read(f, at, block, sizeof block, e)) return false;
        if (!qs_tar_read_header(block, &h)) {
            if (at == 0) return qs_sniff_refuse(f, QS_FILE_TAR, e); /* damaged: tarfile does not open it */
            break;
        }
        at += sizeof block;
        if (h.size && h.has_content && !audit_member(a, f, at, &h, limits, e)) return false;
        if (h.size > qs_file_size(f) - at) break;
        at += (h.size + sizeof block - 1) / sizeof block * sizeof block;
    }
    a->more = true;
    return true;
}

/* A chunk of a distributed checkpoint. torch.distributed.checkpoint.load unpickles objects without
 * weights_only, and before torch 2.4 tensors too. */
static bool audit_chunk(qs_audit *a, const qs_file *metadata, const qs_dcp *d, qs_str key,
                        const qs_dcp_place *p, const qs_limits *limits, qs_err *e) {
    qs_file *f = NULL, *window = NULL;
    qs_container *c = NULL;
    qs_err ignored = QS_ERR_INIT;
    if (p->file == UINT32_MAX) return true;
    bool ok = qs_file_open_beside(metadata, d->files.v[p->file].p, &f, &ignored) &&
              qs_file_window(f, p->at, p->length, &window, &ignored) &&
              qs_container_open(window, limits, &c, &ignored);
    uint32_t r = ok ? qs_container_find(c, QS_STR("data.pkl")) : UINT32_MAX;
    char *data = NULL;
    size_t n;
    qs_str name = qs_arena_str(&a->arena, key);
    ok = name.p || qs_nomem(e);
    if (ok && r != UINT32_MAX && qs_record_slurp(c, r, limits, QS_LIMIT_PICKLE_BYTES, &data, &n, &ignored))
        ok = qs_audit_add(a, data, n, name.p, 0, limits, e);
    free(data);
    qs_container_close(c);
    qs_file_close(f);
    return ok;
}

/* The metadata itself, and every chunk it leads to. What cannot be read cannot run, and is for `verify` to
 * tell. */
static bool audit_dcp(qs_audit *a, const qs_file *f, const qs_limits *limits, qs_err *e) {
    qs_dcp *d = NULL;
    if (!audit_row(a, f, limits, e)) return false;
    qs_err ignored = QS_ERR_INIT;
    if (!qs_dcp_read(f, limits, &d, &ignored)) return true;
    bool ok = true;
    for (size_t i = 0; i < d->items.n; i++) {
        const qs_dcp_item *item = &d->items.v[i];
        for (uint32_t k = 0; ok && k < item->chunks; k++)
            ok = audit_chunk(a, f, d, item->key, &d->chunks.v[item->first + k].place, limits, e);
    }
    qs_dcp_free(d);
    return ok;
}

/* torch.load unpickles whatever is no zip and no tar archive, and a pickle of protocol 0 or 1 begins like any
 * text: the magic of another format may be the beginning of one. It is taken for one if it reads as one, or
 * would run code before it breaks off. */
static bool audit_guess(qs_audit *a, const qs_file *f, const qs_limits *limits, qs_err *e) {
    qs_err ignored = QS_ERR_INIT;
    bool ok = audit_row(a, f, limits, &ignored);
    if (ok && a->pickles.n && (!a->pickles.v[0].broken || qs_audit_worst(a) == QS_AUDIT_CODE)) return true;
    a->pickles.n = a->items.n = 0;
    a->more = false;
    return a->kind == QS_FILE_SAFETENSORS || qs_sniff_refuse(f, a->kind, e); /* no pickle in it */
}

static int by_class(const void *x, const void *y) {
    const qs_audit_item *a = x, *b = y;
    if (a->cls != b->cls) return a->cls > b->cls ? -1 : 1;
    if (a->pickle != b->pickle) return a->pickle < b->pickle ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static bool audit_file(qs_audit *a, qs_file *f, const qs_limits *limits, qs_err *e) {
    a->kind = qs_sniff(f);
    if (a->kind == QS_FILE_TORCH_ZIP || a->kind == QS_FILE_TORCHSCRIPT) return audit_zip(a, f, limits, e);
    bool ok;
    switch (a->kind) {
    case QS_FILE_LEGACY:
    case QS_FILE_PICKLE: ok = audit_row(a, f, limits, e); break;
    case QS_FILE_TAR: ok = audit_tar(a, f, limits, e); break;
    case QS_FILE_DCP: ok = audit_dcp(a, f, limits, e); break;
    default: ok = audit_guess(a, f, limits, e);
    }
    qs_file_close(f);
    return ok;
}

bool qs_audit_open(const char *path, const qs_limits *limits, qs_audit **out, qs_err *e) {
    qs_file *f;
    qs_limits defaults = QS_LIMITS_DEFAULT;
    if (!qs_file_open(path, &f, e)) return false;
    qs_audit *a = calloc(1, sizeof *a);
    if (!a) {
        qs_file_close(f);
        return qs_nomem(e);
    }
    if (!audit_file(a, f, limits ? limits : &defaults, e)) {
        qs_audit_close(a);
        return false;
    }
    if (a->items.n) qsort(a->items.v, a->items.n, sizeof *a->items.v, by_class);
    *out = a;
    return true;
}

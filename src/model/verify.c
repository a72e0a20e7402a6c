#include "model/verify.h"

#include "base/map.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>

enum { BLOCK = 1 << 20, ALIGNMENT = 64 };

typedef struct verifier {
    qs_verify *v;
    qs_checkpoint *c;
    const qs_container *box;
    qs_container *own; /* where no checkpoint holds it */
    char *block;
    uint64_t done, total;
    const qs_progress *progress;
    qs_err *err;
} verifier;

static bool add_line(qs_verify *v, bool problem, qs_str where, qs_err *e, const char *fmt, va_list ap) {
    char text[600];
    vsnprintf(text, sizeof text, fmt, ap);
    qs_verify_line line = {qs_arena_str(&v->arena, where), qs_arena_str(&v->arena, qs_str_of(text))};
    if (!line.where.p || !line.what.p) return qs_nomem(e);
    return (problem ? qs_push(&v->problems, line) : qs_push(&v->notes, line)) || qs_nomem(e);
}

static bool problem(verifier *x, qs_str where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool problem(verifier *x, qs_str where, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    bool ok = add_line(x->v, true, where, x->err, fmt, ap);
    va_end(ap);
    return ok;
}

static bool note(verifier *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool note(verifier *x, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    bool ok = add_line(x->v, false, (qs_str){"", 0}, x->err, fmt, ap);
    va_end(ap);
    return ok;
}

/* ---- records ---- */

/* Reads a record to its end. *readable is false, and a problem noted, when that is not possible. */
static bool checksum(verifier *x, uint32_t i, uint32_t *crc, bool *readable) {
    const qs_record *r = qs_container_record(x->box, i);
    qs_err own = QS_ERR_INIT;
    *crc = (uint32_t)crc32(0, NULL, 0);
    *readable = true;
    for (uint64_t at = 0; at < r->size;) {
        size_t n = r->size - at < BLOCK ? (size_t)(r->size - at) : BLOCK;
        if (!qs_record_read(x->box, i, at, x->block, n, &own)) {
            *readable = false;
            if (own.code == QS_E_NOMEM) return qs_nomem(x->err);
            return problem(x, r->name, "cannot be read: %s", own.msg);
        }
        *crc = (uint32_t)crc32(*crc, (const unsigned char *)x->block, (uInt)n);
        at += n;
        x->done += n;
        if (!qs_progress_step(x->progress, x->done, x->total, x->err)) return false;
    }
    return true;
}

static bool check_record(verifier *x, uint32_t i) {
    const qs_record *r = qs_container_record(x->box, i);
    uint32_t crc;
    bool readable;
    if (!checksum(x, i, &crc, &readable)) return false;
    if (!readable || !x->v->has_crc) return true;
    if (crc == r->crc) {
        x->v->crc_right++;
        return true;
    }
    if (r->crc == 0) {
        x->v->crc_off++;
        return true;
    }
    x->v->crc_wrong++;
    return problem(x, r->name, "its CRC is %08x, the archive says %08x: the content was damaged or changed",
                   crc, r->crc);
}

static bool check_place(verifier *x, uint32_t i) {
    const qs_record *r = qs_container_record(x->box, i);
    uint64_t offset;
    qs_err own = QS_ERR_INIT;
    if (!qs_str_starts(r->name, QS_STR("data/")) || r->size == 0) return true;
    if (r->deflated) x->v->deflated++;
    if (r->deflated || !qs_record_offset(x->box, i, &offset, &own)) return true; /* said when it was read */
    if (offset != QS_ERR_NO_OFFSET && offset % ALIGNMENT) x->v->unaligned++;
    return true;
}

static bool check_records(verifier *x) {
    uint32_t n = qs_container_count(x->box);
    x->v->records = n;
    for (uint32_t i = 0; i < n; i++) x->total += qs_container_record(x->box, i)->size;
    x->v->bytes = x->total;
    for (uint32_t i = 0; i < n; i++)
        if (!check_record(x, i) || !check_place(x, i)) return false;
    return true;
}

/* ---- storages and tensors ---- */

static bool check_storages(verifier *x) {
    uint32_t n = qs_checkpoint_storage_count(x->c), claimed = 0;
    x->v->storages = n;
    for (uint32_t i = 0; i < n; i++) {
        const qs_storage *s = qs_checkpoint_storage(x->c, i);
        if (s->record == UINT32_MAX) {
            if (!problem(x, qs_storage_key(x->c, s), "this storage has no record data/KEY in the file"))
                return false;
            continue;
        }
        claimed++;
        uint64_t have = qs_container_record(qs_checkpoint_container(x->c), s->record)->size;
        if (s->dtype && have != s->bytes &&
            !problem(x, qs_storage_key(x->c, s),
                     "this storage declares %" PRIu64 " bytes, its record has %" PRIu64, s->bytes, have))
            return false;
    }
    uint32_t records = 0;
    for (uint32_t i = 0; i < qs_container_count(x->box); i++)
        records += qs_str_starts(qs_container_record(x->box, i)->name, QS_STR("data/"));
    return records <= claimed || note(x, "%u records under data/ belong to no tensor", records - claimed);
}

/* A parameter is a call around the tensor it holds: one of the two counts. */
static bool wraps_tensor(const verifier *x, qs_node n) {
    qs_call call;
    const qs_graph *g = qs_checkpoint_graph(x->c);
    return qs_node_call(g, n, &call) &&
           qs_checkpoint_tensor_of_node(x->c, qs_node_item(g, call.args, 0)) != NULL;
}

/* Keys of the chosen state dict, so that a broken tensor is called by its name. */
static qs_str name_of(const verifier *x, const qs_tensor *t) {
    for (uint32_t i = 0; i < qs_checkpoint_count(x->c); i++) {
        const qs_entry *en = qs_checkpoint_entry(x->c, i);
        if (qs_entry_tensor(x->c, en) == t) return en->key;
    }
    return QS_STR("(a tensor outside of the state dict)");
}

static bool check_tensors(verifier *x) {
    enum { NAMED = 100 }; /* looking a name up is linear */
    const qs_graph *g = qs_checkpoint_graph(x->c);
    uint32_t bad = 0;
    for (qs_node n = 1; n <= qs_graph_count(g); n++) {
        const qs_tensor *t = qs_checkpoint_tensor_of_node(x->c, n);
        if (!t) continue;
        x->v->tensors += !wraps_tensor(x, n);
        if (!t->bad || ++bad > NAMED) continue;
        if (!problem(x, name_of(x, t), "%s", t->bad)) return false;
    }
    return bad <= NAMED || problem(x, QS_STR(""), "%u more tensors are broken", bad - NAMED);
}

static bool check_layout(verifier *x) {
    const qs_verify *v = x->v;
    uint64_t trailing = qs_container_trailing(x->box);
    if (trailing &&
        !note(x, "%" PRIu64 " bytes behind the archive belong to nothing; torch passes over them", trailing))
        return false;
    if (v->crc_off && !note(x, "%u records have no CRC: torch wrote them with it switched off", v->crc_off))
        return false;
    if (v->deflated &&
        !note(x, "%u storages are compressed: torch.load(mmap=True) would silently read garbage",
              v->deflated))
        return false;
    return !v->unaligned || v->kind != QS_FILE_TORCH_ZIP ||
           note(x, "%u storages do not begin on a multiple of %d bytes: mmap works, but not at full speed",
                v->unaligned, ALIGNMENT);
}

/* The archive itself, where the checkpoint shows something made from it. */
static bool open_archive(verifier *x, const char *path, const qs_limits *limits, qs_err *e) {
    qs_file *f;
    if (!qs_file_open(path, &f, e) || !qs_container_open(f, limits, &x->own, e)) return false;
    x->box = x->own;
    return true;
}

/* The records of a file whose pickle makes no checkpoint are checked all the same. */
static bool open_records_only(verifier *x, const char *path, const qs_limits *limits, const qs_err *cause) {
    qs_file *f;
    qs_err own = QS_ERR_INIT;
    if (!qs_file_open(path, &f, &own)) return false;
    qs_file_kind kind = qs_sniff(f);
    qs_file_close(f);
    return (kind == QS_FILE_TORCH_ZIP || kind == QS_FILE_TORCHSCRIPT) &&
           open_archive(x, path, limits, &own) && problem(x, (qs_str){"", 0}, "%s", cause->msg);
}

static bool run(verifier *x, const char *path, const qs_limits *limits) {
    qs_open_options opt = {.limits = *limits, .loose = true};
    qs_err cause = QS_ERR_INIT;
    if (qs_checkpoint_open(path, &opt, &x->c, &cause)) {
        x->box = qs_checkpoint_container(x->c);
        if (qs_container_kind(x->box) == QS_FILE_TORCHSCRIPT && !open_archive(x, path, limits, x->err))
            return false;
    } else if (!open_records_only(x, path, limits, &cause)) {
        if (x->err->code == QS_OK) *x->err = cause;
        return false;
    }
    x->v->kind = qs_container_kind(x->box);
    x->v->has_crc = x->v->kind == QS_FILE_TORCH_ZIP || x->v->kind == QS_FILE_TORCHSCRIPT;
    x->block = malloc(BLOCK);
    if (!x->block) return qs_nomem(x->err);
    return check_records(x) && (!x->c || (check_storages(x) && check_tensors(x))) && check_layout(x);
}

bool qs_verify_file(const char *path, const qs_limits *limits, const qs_progress *progress, qs_verify **out,
                    qs_err *e) {
    qs_limits defaults = QS_LIMITS_DEFAULT;
    verifier x = {.v = calloc(1, sizeof *x.v), .progress = progress, .err = e};
    bool ok = x.v ? run(&x, path, limits ? limits : &defaults) : qs_nomem(e);
    free(x.block);
    qs_checkpoint_close(x.c);
    qs_container_close(x.own);
    if (ok)
        *out = x.v;
    else
        qs_verify_free(x.v);
    return ok;
}

void qs_verify_free(qs_verify *v) {
    if (!v) return;
    qs_vec_free(&v->problems);
    qs_vec_free(&v->notes);
    qs_arena_free(&v->arena);
    free(v);
}

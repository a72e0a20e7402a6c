#include "repair/write.h"

#include "base/tempfile.h"
#include "format/zip_write.h"
#include "repair/write_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

bool qs_out_storage_read(const qs_out_storage *s, uint64_t offset, void *buf, size_t n, qs_err *e) {
    if (s->from) return qs_storage_read(s->from, s->storage, s->skip + offset, buf, n, e);
    if (s->converted) {
        size_t size = qs_dtype_get(s->converted->dtype)->size;
        return qs_resolved_read(s->r, s->converted, offset / size, n / size, buf, e);
    }
    if (n) memcpy(buf, (const char *)s->data + offset, n);
    return true;
}

/* ---- progress of two passes ---- */

typedef struct two_passes {
    const qs_progress *outer;
    bool second;
} two_passes;

static bool report(void *ctx, uint64_t done, uint64_t total) {
    const two_passes *p = ctx;
    qs_err ignored = QS_ERR_INIT;
    return qs_progress_step(p->outer, p->second ? total + done : done, 2 * total, &ignored);
}

/* ---- the writer ---- */

static bool init_source(qs_out_source *s, const qs_checkpoint *c, qs_err *e) {
    s->c = c;
    if (!c) return true;
    uint32_t n = qs_checkpoint_storage_count(c);
    s->out = calloc((size_t)n + 1, sizeof *s->out);
    if (!s->out || !qs_map_reserve(&s->by_key, n)) return qs_nomem(e);
    for (uint32_t i = 0; i < n; i++)
        if (!qs_map_put(&s->by_key, qs_storage_key(c, qs_checkpoint_storage(c, i)), i)) return qs_nomem(e);
    return true;
}

static bool is_edited(const qs_resolve_input *in, const qs_write_options *opt) {
    const qs_root *root = qs_checkpoint_chosen_root(in->a);
    return (in->plan && qs_plan_count(in->plan) > 0) ||
           (opt->bare && (root->path.n || root->kind != QS_ROOT_STATE_DICT));
}

static bool init_writer(qs_writer *w, const qs_resolution *r, const qs_write_options *opt, qs_err *e) {
    const qs_resolve_input *in = qs_resolution_input(r);
    w->r = r;
    w->cpu = opt->cpu;
    w->bare = opt->bare;
    w->edited = is_edited(in, opt);
    w->fills = calloc((size_t)qs_resolution_live(r) + 1, sizeof *w->fills);
    w->cache = qs_init_cache_new();
    if (!w->fills || !w->cache) return qs_nomem(e);
    return init_source(&w->a, in->a, e) && init_source(&w->b, in->b, e);
}

static void free_writer(qs_writer *w) {
    qs_map_free(&w->a.by_key);
    qs_map_free(&w->b.by_key);
    free(w->a.out);
    free(w->b.out);
    free(w->fills);
    free(w->ranges);
    qs_vec_free(&w->storages);
    qs_init_cache_free(w->cache);
    qs_buf_free(&w->pickle);
    qs_arena_free(&w->arena);
}

/* ---- may it be written there ---- */

static bool check_content(const qs_resolution *r, qs_err *e) {
    const qs_checkpoint *a = qs_resolution_input(r)->a;
    uint32_t tensors = 0;
    if (qs_container_kind(qs_checkpoint_container(a)) == QS_FILE_TORCHSCRIPT)
        return qs_fail(e, QS_E_UNSUPPORTED,
                       "%s: is a TorchScript archive, which can be looked at but not written",
                       qs_checkpoint_path(a));
    qs_str root = qs_checkpoint_chosen_root(a)->path;
    if (root.n && memchr(root.p, 0, root.n))
        return qs_fail(e, QS_E_REFUSED,
                       "%s: the name of its state dict has a NUL, so what is saved could not be checked",
                       qs_checkpoint_path(a));
    for (uint32_t i = 0; i < qs_resolution_live(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        const qs_tensor *t = qs_resolved_tensor(r, x, NULL);
        tensors += t || qs_resolved_is_made(x);
        if (t && t->bad)
            return qs_fail(e, QS_E_REFUSED, "%.*s cannot be saved: %s; drop it, or take it from elsewhere",
                           QS_FMT(x->key), t->bad);
    }
    return tensors || qs_fail(e, QS_E_REFUSED, "no tensor is left to save");
}

static bool is_file_of(const qs_checkpoint *c, const char *path) {
    return c && qs_container_uses(qs_checkpoint_container(c), path);
}

/* Over A itself: only where the file stays what its name says. */
static bool check_in_place(const qs_checkpoint *a, const char *path, const qs_write_options *opt, qs_err *e) {
    qs_file_kind kind = qs_container_kind(qs_checkpoint_container(a));
    if (!opt->in_place)
        return qs_fail(
            e, QS_E_REFUSED,
            "%s: is the file that was opened; choose another name, or save in place (the old file is kept "
            "as .bak)",
            path);
    if (qs_write_format_of(path) == QS_WRITE_SHARDS)
        return qs_fail(e, QS_E_REFUSED, "%s: a set of files is not saved in place; choose another name",
                       path);
    bool pt = kind == QS_FILE_TORCH_ZIP || kind == QS_FILE_LEGACY;
    return (qs_is_safetensors_name(path) ? kind == QS_FILE_SAFETENSORS : pt) ||
           qs_fail(e, QS_E_REFUSED, "%s: would no longer be the kind of file its name says; save as NAME.pt",
                   path);
}

static bool check_target(const qs_resolution *r, const char *path, const qs_write_options *opt, qs_err *e) {
    const qs_resolve_input *in = qs_resolution_input(r);
    struct stat st;
    if (is_file_of(in->a, path)) return check_in_place(in->a, path, opt, e);
    if (is_file_of(in->b, path))
        return qs_fail(e, QS_E_REFUSED, "%s: is checkpoint B; choose another name", path);
    if (qs_write_format_of(path) == QS_WRITE_TORCH && qs_str_ends(qs_str_of(path), QS_STR(".json")))
        return qs_fail(
            e, QS_E_UNSUPPORTED,
            "%s: save as NAME.pt, NAME.safetensors or, in several files, NAME.safetensors.index.json", path);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && !opt->overwrite)
        return qs_fail(e, QS_E_REFUSED, "%s: exists already; choose another name or allow to overwrite it",
                       path);
    return true;
}

/* ---- the archive ---- */

/* The file's base name without its last extension, as torch names the folder inside. */
static qs_str prefix_of(const char *path) {
    const char *slash = strrchr(path, '/');
    qs_str name = qs_str_of(slash ? slash + 1 : path);
    size_t dot = qs_str_rfind_char(name, '.');
    if (dot != SIZE_MAX) name.n = dot;
    return name.n ? name : QS_STR("archive");
}

/* The folder inside: torch takes any. A's, for the headers that have its name to be copied with what follows
 * them; the output's name where A has none, or one that not every reader might take. */
static qs_str folder_of(const qs_writer *w, const char *path) {
    const qs_container *c = qs_checkpoint_container(w->a.c);
    qs_str name = qs_container_prefix(c);
    bool plain = name.n > 0 && qs_container_kind(c) == QS_FILE_TORCH_ZIP;
    for (size_t i = 0; plain && i < name.n; i++) plain = name.p[i] >= ' ' && name.p[i] <= '~';
    return plain ? name : prefix_of(path);
}

static bool from_memory(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)ctx + offset, n);
    return true;
}

static bool from_storage(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    return qs_out_storage_read(ctx, offset, buf, n, e);
}

/* The record announced last is one of c: let the kernel copy it. Not where there is no checksum to take
 * along, or the bytes may be swapped. */
static bool copy_from(qs_zip_out *z, const qs_container *c, uint32_t record, uint64_t bytes, bool *copied,
                      qs_err *e) {
    const qs_record *rec = qs_container_record(c, record);
    qs_zip_origin o = {.file = qs_container_file(c), .header = qs_record_header(c, record), .copied = copied};
    if (qs_container_kind(c) != QS_FILE_TORCH_ZIP || qs_container_big_endian(c) || !rec || rec->deflated ||
        rec->size != bytes || (rec->crc == 0 && bytes))
        return true;
    o.crc = rec->crc;
    if (!qs_record_offset(c, record, &o.at, e)) return false;
    if (o.at != QS_ERR_NO_OFFSET) qs_zip_out_origin(z, &o);
    return true;
}

static bool add_text(qs_zip_out *z, const char *name, qs_str s, qs_err *e) {
    return qs_zip_out_add(z, qs_str_of(name), s.n, from_memory, (void *)(uintptr_t)s.p, e);
}

/* A record of A that is none of torch's own. */
typedef struct extra {
    const qs_container *c;
    uint32_t record;
} extra;

static bool from_record(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    const extra *x = ctx;
    return qs_record_read(x->c, x->record, offset, buf, n, e);
}

/* What torch writes itself is written anew or, where it describes torch's own layout, left out. */
static bool is_torchs_own(qs_str name) {
    return name.n == 0 || name.p[name.n - 1] == '/' || name.p[0] == '.' || qs_str_is(name, "data.pkl") ||
           qs_str_is(name, "version") || qs_str_is(name, "byteorder") || qs_str_starts(name, QS_STR("data/"));
}

static bool add_extras(qs_writer *w, qs_zip_out *z, qs_err *e) {
    const qs_container *c = qs_checkpoint_container(w->a.c);
    for (uint32_t i = 0; i < qs_container_count(c); i++) {
        const qs_record *rec = qs_container_record(c, i);
        if (is_torchs_own(rec->name)) continue;
        extra *x = QS_ARENA_NEW(&w->arena, extra);
        if (!x) return qs_nomem(e);
        *x = (extra){c, i};
        if (!qs_zip_out_add(z, rec->name, rec->size, from_record, x, e) ||
            !copy_from(z, c, i, rec->size, NULL, e))
            return false;
    }
    return true;
}

static bool add_storage(qs_zip_out *z, qs_out_storage *s, qs_err *e) {
    qs_buf name = {0};
    qs_buf_addz(&name, "data/");
    qs_buf_add(&name, s->key);
    bool ok = name.failed ? qs_nomem(e) : qs_zip_out_add(z, qs_buf_str(&name), s->bytes, from_storage, s, e);
    qs_buf_free(&name);
    if (!ok || !s->from) return ok;
    return copy_from(z, qs_checkpoint_container(s->from), qs_checkpoint_storage(s->from, s->storage)->record,
                     s->bytes, &s->copied, e);
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* In A's order of records, which is torch's of their names, not that of the tensors; what is not A's follows.
 */
static bool add_storages(qs_writer *w, qs_zip_out *z, qs_err *e) {
    size_t n = w->storages.n;
    uint64_t *order = malloc((n + 1) * sizeof *order);
    bool ok = order || qs_nomem(e);
    for (size_t i = 0; ok && i < n; i++) {
        const qs_out_storage *s = &w->storages.v[i];
        bool of_a = s->from && s->from == w->a.c;
        order[i] =
            (uint64_t)(of_a ? qs_checkpoint_storage(s->from, s->storage)->record : UINT32_MAX) << 32 | i;
    }
    if (ok) qsort(order, n, sizeof *order, by_number);
    for (size_t i = 0; ok && i < n; i++) ok = add_storage(z, &w->storages.v[(uint32_t)order[i]], e);
    free(order);
    return ok;
}

/* data.pkl last: a later rename then rewrites only the end of the file. */
static bool announce(qs_writer *w, qs_zip_out *z, qs_err *e) {
    return add_text(z, "version", QS_STR("3\n"), e) && add_text(z, "byteorder", QS_STR("little"), e) &&
           add_storages(w, z, e) && add_extras(w, z, e) && add_text(z, "data.pkl", qs_buf_str(&w->pickle), e);
}

static bool write_archive(qs_writer *w, const char *path, qs_temp *t, const qs_progress *progress,
                          qs_err *e) {
    qs_zip_out *z = NULL;
    if (!qs_zip_out_open(qs_temp_fd(t), folder_of(w, path), &z, e)) return false;
    if (qs_temp_spare_sync(t)) qs_zip_out_will_sync(z);
    if (!announce(w, z, e)) {
        qs_zip_out_abandon(z);
        return false;
    }
    return qs_zip_out_close(z, progress, e);
}

/* NAME.bak beside the file itself, also when path is a symlink to it. */
static bool backup_name(const char *path, char out[PATH_MAX + 8], qs_err *e) {
    char real[PATH_MAX];
    if (!realpath(path, real)) return qs_fail_errno(e, QS_E_IO, errno, "%s", path);
    snprintf(out, PATH_MAX + 8, "%s.bak", real);
    return true;
}

static bool publish(qs_temp *t, const qs_resolution *r, const char *path, qs_err *e) {
    char backup[PATH_MAX + 8];
    if (!is_file_of(qs_resolution_input(r)->a, path)) return qs_temp_publish(t, NULL, e);
    if (backup_name(path, backup, e)) return qs_temp_publish(t, backup, e);
    qs_temp_discard(t);
    return false;
}

static bool write_to(qs_writer *w, const char *path, const qs_write_options *opt, qs_err *e) {
    qs_temp *t = NULL;
    if (qs_write_format_of(path) == QS_WRITE_SHARDS) return qs_write_shards(w, path, opt, e);
    two_passes passes = {.outer = opt->progress};
    qs_progress progress = {report, &passes};
    if (!qs_temp_create(path, &t, e)) return false;
    bool ok;
    if (qs_is_safetensors_name(path)) {
        qs_temp_spare_sync(t);
        ok = qs_write_safetensors(w, qs_temp_fd(t), qs_temp_path(t), opt->progress, e);
    } else {
        ok = write_archive(w, path, t, &progress, e);
        passes.second = true;
        ok = ok && qs_write_verify(w, qs_temp_path(t), &progress, e);
    }
    if (ok) return publish(t, w->r, path, e);
    qs_temp_discard(t);
    return false;
}

/* Names are paths into an object that is no state dict: nothing there can take others. */
static bool check_loose(const qs_resolution *r, const char *path, const qs_write_options *opt, qs_err *e) {
    const qs_resolve_input *in = qs_resolution_input(r);
    if (qs_checkpoint_chosen_root(in->a)->kind != QS_ROOT_LOOSE ||
        qs_write_format_of(path) != QS_WRITE_TORCH || !is_edited(in, opt))
        return true;
    return qs_fail(
        e, QS_E_UNSUPPORTED,
        "%s: holds no state dict, only tensors in other objects, which stay as they are; with another "
        "content it can be saved as NAME.safetensors",
        qs_checkpoint_path(in->a));
}

bool qs_write_pt(const qs_resolution *r, const char *path, const qs_write_options *opt, qs_err *e) {
    static const qs_write_options none = {0};
    qs_writer w = {0};
    if (!opt) opt = &none;
    if (!check_target(r, path, opt, e) || !check_content(r, e)) return false;
    if (!check_loose(r, path, opt, e)) return false;
    bool ok = init_writer(&w, r, opt, e) && (qs_is_safetensors_name(path) || qs_write_pickle(&w, e)) &&
              write_to(&w, path, opt, e);
    free_writer(&w);
    if (!ok && e->code == QS_E_IO && !strstr(e->msg, path)) qs_err_prefix(e, path);
    return ok;
}

const char *qs_write_note(const qs_resolution *r, const char *path) {
    const qs_resolve_input *in = qs_resolution_input(r);
    qs_file_kind kind = qs_container_kind(qs_checkpoint_container(in->a));
    bool from_safetensors = kind == QS_FILE_SAFETENSORS || kind == QS_FILE_JSON;
    if (qs_is_safetensors_name(path))
        return from_safetensors
                   ? NULL
                   : "safetensors holds the state dict alone: _metadata and the file's other entries "
                     "(epoch, optimizer, ...) are left out";
    if (!in->plan || qs_plan_count(in->plan) == 0 || qs_checkpoint_chosen_root(in->a)->kind != QS_ROOT_MODULE)
        return NULL;
    return "the pickled module becomes its state dict: build the model in Python and load_state_dict() it";
}

/* A state dict as several safetensors files and the index that says which key is in which, as transformers'
 * save_pretrained writes and from_pretrained reads them: filled in the order of the entries,
 * NAME-00001-of-00003. */
#include "base/tempfile.h"
#include "repair/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MOST_SHARDS = 1000 /* what we open as one */ };

typedef struct shard {
    size_t first, n; /* items */
} shard;

typedef struct set {
    qs_st_job j;
    QS_VEC(shard) shards;
    char *dir;    /* "" or with a slash at its end */
    char **names; /* [shards + 1], the index last */
    qs_temp_set *temp;
    qs_buf index;
    qs_err *e;
} set;

static bool split(set *s, uint64_t most) {
    uint64_t filled = 0;
    for (size_t i = 0; i < s->j.items.n; i++) {
        uint64_t bytes = s->j.items.v[i].bytes;
        bool fits = s->shards.n && bytes <= most && filled <= most - bytes;
        if (!fits && !qs_push(&s->shards, (shard){.first = i})) return qs_nomem(s->e);
        filled = fits ? filled + bytes : bytes;
        s->shards.v[s->shards.n - 1].n++;
    }
    return s->shards.n <= MOST_SHARDS ||
           qs_fail(s->e, QS_E_REFUSED, "it would be %zu files; at most %d: let each be larger", s->shards.n,
                   MOST_SHARDS);
}

/* NAME.safetensors.index.json -> NAME-00001-of-00003.safetensors and so on. */
static bool make_names(set *s, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = s->shards.n, stem = qs_write_stem(path) - (size_t)(name - path);
    s->dir = strndup(path, (size_t)(name - path));
    s->names = calloc(n + 1, sizeof *s->names);
    if (!s->dir || !s->names) return qs_nomem(s->e);
    for (size_t i = 0; i <= n; i++) {
        qs_buf b = {0};
        if (i < n)
            qs_buf_addf(&b, "%.*s-%05zu-of-%05zu.safetensors", (int)stem, name, i + 1, n);
        else
            qs_buf_addz(&b, name);
        if (b.failed) return qs_buf_free(&b), qs_nomem(s->e);
        s->names[i] = b.p;
    }
    return true;
}

static bool check_file(const set *s, const char *path, bool overwrite) {
    const qs_resolve_input *in = qs_resolution_input(s->j.w->r);
    struct stat st;
    if (lstat(path, &st) != 0) return true;
    if (!S_ISREG(st.st_mode))
        return qs_fail(s->e, QS_E_REFUSED, "%s: is not a regular file; choose another name", path);
    if (qs_container_uses(qs_checkpoint_container(in->a), path) ||
        (in->b && qs_container_uses(qs_checkpoint_container(in->b), path)))
        return qs_fail(
            s->e, QS_E_REFUSED,
            "%s: is a file that was opened; a set of files is not saved in place, choose another name", path);
    return overwrite || qs_fail(s->e, QS_E_REFUSED,
                                "%s: exists already; choose another name or allow to overwrite it", path);
}

static bool check_files(const set *s, bool overwrite) {
    bool ok = true;
    for (size_t i = 0; ok && i <= s->shards.n; i++) {
        qs_buf b = {0};
        qs_buf_addz(&b, s->dir);
        qs_buf_addz(&b, s->names[i]);
        ok = b.failed ? qs_nomem(s->e) : check_file(s, b.p, overwrite);
        qs_buf_free(&b);
    }
    return ok;
}

/* Readers of JSON end a name at a NUL. */
static bool check_keys(const set *s) {
    char name[80];
    for (size_t i = 0; i < s->j.items.n; i++) {
        qs_str key = s->j.items.v[i].x->key;
        if (!key.n || !memchr(key.p, 0, key.n)) continue;
        qs_str_printable(key, name, sizeof name);
        return qs_fail(s->e, QS_E_REFUSED,
                       "the index of a set of files cannot hold the name %s; rename it first, or save as .pt",
                       name);
    }
    return true;
}

/* Before the items are put into the order of their data: the state dict's own order is the index's. */
static bool make_index(set *s) {
    qs_buf *b = &s->index;
    qs_buf_addf(b, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {",
                s->j.total);
    for (size_t k = 0, i = 0; k < s->shards.n; k++) {
        for (size_t end = i + s->shards.v[k].n; i < end; i++) {
            qs_buf_addz(b, i ? ",\n    " : "\n    ");
            qs_buf_add_json(b, s->j.items.v[i].x->key);
            qs_buf_addz(b, ": ");
            qs_buf_add_json(b, qs_str_of(s->names[k]));
        }
    }
    qs_buf_addz(b, "\n  }\n}\n");
    return !b->failed || qs_nomem(s->e);
}

static bool write_file(set *s, size_t i) {
    int fd = -1;
    if (!qs_temp_set_open(s->temp, i, &fd, s->e)) return false;
    bool ok = i < s->shards.n ? qs_st_write(&s->j, s->shards.v[i].first, s->shards.v[i].n, fd)
                              : qs_st_put(&s->j, fd, s->index.p, s->index.n);
    qs_err late = QS_ERR_INIT;
    return qs_temp_set_close(s->temp, i, fd, ok ? s->e : &late) && ok;
}

static bool write_files(set *s) {
    if (!qs_temp_set_create(s->dir, (const char *const *)s->names, s->shards.n + 1, &s->temp, s->e))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i <= s->shards.n; i++) ok = write_file(s, i);
    ok = ok && qs_st_compare(&s->j, qs_temp_set_path(s->temp, s->shards.n));
    if (ok) return qs_temp_set_publish(s->temp, s->e);
    qs_temp_set_discard(s->temp);
    return false;
}

static void free_set(set *s) {
    for (size_t i = 0; s->names && i <= s->shards.n; i++) free(s->names[i]);
    free(s->names);
    free(s->dir);
    qs_buf_free(&s->index);
    qs_vec_free(&s->shards);
    qs_st_free(&s->j);
}

bool qs_write_shards(qs_writer *w, const char *path, const qs_write_options *opt, qs_err *e) {
    set s = {.e = e};
    bool ok = qs_st_collect(&s.j, w, opt->progress, e) &&
              split(&s, opt->shard_bytes ? opt->shard_bytes : QS_SHARD_BYTES) && make_names(&s, path) &&
              check_files(&s, opt->overwrite) && check_keys(&s) && make_index(&s) && write_files(&s);
    free_set(&s);
    return ok;
}

#include "format/parts.h"

#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"

#include <stdlib.h>

typedef struct part {
    qs_record record;
    const char *bytes;   /* in the arena, or NULL */
    qs_container *from;  /* or NULL: a range of the container's own file */
    const qs_file *file; /* of the range, if it is another's */
    const qs_mosaic *mosaic;
    uint64_t at; /* offset in the file, or index of the record in `from` */
} part;

struct qs_parts {
    qs_arena arena;
    QS_VEC(part) parts;
    QS_VEC(qs_container *) owned;
    QS_VEC(qs_file *) files;
    qs_map names;
};

qs_parts *qs_parts_new(void) {
    return calloc(1, sizeof(qs_parts));
}

void qs_parts_free(qs_parts *p) {
    if (!p) return;
    for (size_t i = 0; i < p->owned.n; i++) qs_container_close(p->owned.v[i]);
    for (size_t i = 0; i < p->files.n; i++) qs_file_close(p->files.v[i]);
    qs_vec_free(&p->owned);
    qs_vec_free(&p->files);
    qs_vec_free(&p->parts);
    qs_map_free(&p->names);
    qs_arena_free(&p->arena);
    free(p);
}

static bool add(qs_parts *p, qs_str name, part made, qs_err *e) {
    char shown[80];
    if (p->parts.n >= UINT32_MAX - 1) return qs_fail(e, QS_E_LIMIT, "too many records");
    made.record.name = qs_arena_str(&p->arena, name);
    made.record.stored_size = made.record.size;
    if (!made.record.name.p) return qs_nomem(e);
    uint32_t at = qs_map_add(&p->names, made.record.name, (uint32_t)p->parts.n);
    if (at == QS_MAP_NONE) return qs_nomem(e);
    qs_str_printable(name, shown, sizeof shown);
    if (at < p->parts.n) return qs_fail(e, QS_E_INPUT, "two records are named %s", shown);
    return qs_push(&p->parts, made) || qs_nomem(e);
}

bool qs_parts_add_bytes(qs_parts *p, qs_str name, qs_str content, qs_err *e) {
    qs_str copy = qs_arena_str(&p->arena, content);
    if (!copy.p) return qs_nomem(e);
    return add(p, name, (part){.record.size = content.n, .bytes = copy.p}, e);
}

bool qs_parts_add_range(qs_parts *p, qs_str name, uint64_t offset, uint64_t size, qs_err *e) {
    return add(p, name, (part){.record.size = size, .at = offset}, e);
}

bool qs_parts_add_record(qs_parts *p, qs_str name, qs_container *from, uint32_t record, qs_err *e) {
    return add(p, name,
               (part){.record.size = qs_container_record(from, record)->size, .from = from, .at = record}, e);
}

bool qs_parts_add_range_of(qs_parts *p, qs_str name, const qs_file *f, uint64_t offset, uint64_t size,
                           qs_err *e) {
    return add(p, name, (part){.record.size = size, .file = f, .at = offset}, e);
}

static void *copy_of(qs_parts *p, const void *from, size_t n) {
    void *to = qs_arena_alloc(&p->arena, n);
    if (to && n) memcpy(to, from, n);
    return to;
}

bool qs_parts_add_mosaic(qs_parts *p, qs_str name, const qs_mosaic *m, qs_err *e) {
    size_t row = m->ndim * sizeof *m->dim;
    uint64_t bytes = m->itemsize;
    qs_mosaic *own = copy_of(p, m, sizeof *m);
    qs_tile *tiles = copy_of(p, m->tiles, m->n * sizeof *tiles);
    if (!own || !tiles) return qs_nomem(e);
    own->tiles = tiles;
    own->dim = copy_of(p, m->dim, row);
    bool ok = own->dim != NULL;
    for (size_t i = 0; ok && i < m->n; i++) {
        tiles[i].offset = copy_of(p, m->tiles[i].offset, row);
        tiles[i].size = copy_of(p, m->tiles[i].size, row);
        tiles[i].stride = copy_of(p, m->tiles[i].stride, row);
        ok = tiles[i].offset && tiles[i].size && tiles[i].stride;
    }
    if (!ok) return qs_nomem(e);
    for (uint32_t i = 0; i < m->ndim; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)m->dim[i], &bytes))
            return qs_fail(e, QS_E_INPUT, "a tensor in pieces has an impossible size");
    return add(p, name, (part){.record.size = bytes, .mosaic = own}, e);
}

bool qs_parts_own_file(qs_parts *p, qs_file *f, qs_err *e) {
    if (qs_push(&p->files, f)) return true;
    qs_file_close(f);
    return qs_nomem(e);
}

bool qs_parts_own(qs_parts *p, qs_container *c, qs_err *e) {
    if (qs_push(&p->owned, c)) return true;
    qs_container_close(c);
    return qs_nomem(e);
}

uint32_t qs_parts_count(const qs_parts *p) {
    return (uint32_t)p->parts.n;
}

const qs_record *qs_parts_record(const qs_parts *p, uint32_t i) {
    return &p->parts.v[i].record;
}

bool qs_parts_read(const qs_parts *p, const qs_file *f, uint32_t i, uint64_t offset, void *buf, size_t n,
                   qs_err *e) {
    const part *x = &p->parts.v[i];
    if (x->from) return qs_record_read(x->from, (uint32_t)x->at, offset, buf, n, e);
    if (x->mosaic) return qs_mosaic_read(x->mosaic, offset, buf, n, e);
    if (!x->bytes) return qs_file_read(x->file ? x->file : f, x->at + offset, buf, n, e);
    if (n) memcpy(buf, x->bytes + offset, n);
    return true;
}

bool qs_parts_offset(const qs_parts *p, uint32_t i, uint64_t *out) {
    const part *x = &p->parts.v[i];
    if (x->from || x->bytes || x->mosaic || x->file) return false;
    *out = x->at;
    return true;
}

bool qs_parts_uses(const qs_parts *p, const char *path) {
    for (size_t i = 0; i < p->owned.n; i++)
        if (qs_file_same(qs_container_file(p->owned.v[i]), path)) return true;
    for (size_t i = 0; i < p->files.n; i++)
        if (qs_file_same(p->files.v[i], path)) return true;
    return false;
}

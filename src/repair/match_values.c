/* Equal values in B: what no name tells, the numbers do. Two files of the same weights under other names are
 * told apart this way alone, and a tie of the other rules is decided. Only values that stand once on each
 * side speak, and a constant says nothing. */
#include "model/checkpoint.h"
#include "repair/match_impl.h"

#include <stdlib.h>
#include <zlib.h>

enum { EACH_END = 1024, LEAST = 4, STRIDE = 256 }; /* elements looked at, from either end */

/* What stands for the values of one row: their beginning and end, shape and dtype. */
typedef struct print {
    uint64_t hash;
    uint32_t row, from; /* from: index into froms, QS_NO_INDEX for a gap */
} print;

typedef struct prints {
    QS_VEC(print) v;
    char *buf;
} prints;

static bool is_constant(const char *p, size_t n, size_t size) {
    return memcmp(p, p + size, (n - 1) * size) == 0;
}

/* False where the values say nothing, or cannot be read. */
static bool take_print(const qs_checkpoint *c, const qs_tensor *t, char *buf, uint64_t *hash) {
    qs_err ignored = QS_ERR_INIT;
    if (!t || t->bad || t->kind != QS_TENSOR_DENSE || qs_dtype_get(t->dtype)->size == 0) return false;
    uint64_t numel = qs_shape_numel(t->shape);
    size_t size = qs_dtype_get(t->dtype)->size, n = numel < EACH_END ? (size_t)numel : EACH_END;
    if (numel < LEAST || !qs_tensor_read(c, t, 0, n, buf, &ignored) ||
        !qs_tensor_read(c, t, numel - n, n, buf + n * size, &ignored) || is_constant(buf, 2 * n, size))
        return false;
    uLong low = crc32(0, (const Bytef *)buf, (uInt)(2 * n * size)),
          high = adler32(1, (const Bytef *)buf, (uInt)(2 * n * size));
    for (uint32_t d = 0; d < t->shape.ndim; d++)
        high = crc32(high, (const Bytef *)&t->shape.dim[d], sizeof t->shape.dim[d]);
    *hash = ((uint64_t)high << 32 | low) ^ (uint64_t)t->dtype << 56;
    return true;
}

static bool add(prints *p, const qs_checkpoint *c, const qs_tensor *t, uint32_t row, uint32_t from,
                qs_err *e) {
    print x = {.row = row, .from = from};
    return !take_print(c, t, p->buf, &x.hash) || qs_push(&p->v, x) || qs_nomem(e);
}

static bool take_all(qs_matcher *m, const char *taken, prints *p, qs_err *e) {
    const qs_resolution *r = qs_compare_resolution(m->c);
    const qs_checkpoint *b = qs_resolution_input(r)->b, *from = NULL;
    for (uint32_t i = 0; i < m->froms.n; i++) {
        uint32_t row = m->froms.v[i].row;
        if (i % STRIDE == 0 && !qs_progress_step(m->progress, 0, 0, e)) return false;
        if (taken[row]) continue;
        const qs_tensor *t =
            qs_resolved_tensor(r, qs_resolution_entry(r, qs_compare_row(m->c, row)->r), &from);
        if (!add(p, from, t, row, i, e)) return false;
    }
    for (size_t i = 0; p->v.n && i < m->tos.n; i++) {
        uint32_t row = m->tos.v[i], at = qs_compare_row(m->c, row)->b;
        if (i % STRIDE == 0 && !qs_progress_step(m->progress, 0, 0, e)) return false;
        if (taken[row] || at == QS_NO_INDEX) continue;
        if (!add(p, b, qs_entry_tensor(b, qs_checkpoint_entry(b, at)), row, QS_NO_INDEX, e)) return false;
    }
    return true;
}

static int by_hash(const void *p, const void *q) {
    const print *a = p, *b = q;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->from != b->from) return a->from < b->from ? -1 : 1; /* gaps come last */
    return a->row < b->row ? -1 : a->row > b->row;
}

/* One of A and one of B, and no third. */
static bool pair_up(qs_matcher *m, const prints *p, qs_err *e) {
    for (size_t i = 0, end; i < p->v.n; i = end) {
        const print *x = &p->v.v[i];
        for (end = i + 1; end < p->v.n && p->v.v[end].hash == x->hash;) end++;
        if (end != i + 2 || x->from == QS_NO_INDEX || x[1].from != QS_NO_INDEX) continue;
        if (qs_match_fit(m->c, x->row, x[1].row) < QS_FIT_UNKNOWN) continue;
        if (!qs_match_add(m, x->from, x[1].row, 0.99, "the same values as in B", true, e)) return false;
    }
    return true;
}

bool qs_match_collect_values(qs_matcher *m, const char *taken, qs_err *e) {
    prints p = {0};
    if (!qs_resolution_input(qs_compare_resolution(m->c))->b) return true;
    p.buf = malloc(2 * EACH_END * 16);
    bool ok = p.buf != NULL || qs_nomem(e);
    ok = ok && take_all(m, taken, &p, e);
    if (ok && p.v.n) qsort(p.v.v, p.v.n, sizeof *p.v.v, by_hash);
    ok = ok && pair_up(m, &p, e);
    qs_vec_free(&p.v);
    free(p.buf);
    return ok;
}

/* ---- what lies beside ---- */

/* Module -> where its tensors went, as row + 1 of one of them; 0 if they went to several. */
static bool note_module(qs_matcher *m, qs_map *went, const qs_suggestion *s, qs_err *e) {
    qs_str from = qs_str_parent(qs_compare_row(m->c, s->from)->key);
    uint32_t known = qs_map_add(went, from, s->to + 1);
    if (known == QS_MAP_NONE) return qs_nomem(e);
    if (known == 0 || known == s->to + 1) return true;
    qs_str a = qs_str_parent(qs_compare_row(m->c, known - 1)->key),
           b = qs_str_parent(qs_compare_row(m->c, s->to)->key);
    return qs_str_eq(a, b) || qs_map_put(went, from, 0) || qs_nomem(e);
}

static bool follow(qs_matcher *m, const qs_map *went, uint32_t from, const char *taken, qs_buf *name,
                   qs_err *e) {
    qs_str key = qs_compare_row(m->c, m->froms.v[from].row)->key;
    uint32_t to = qs_map_get(went, qs_str_parent(key));
    if (to == QS_MAP_NONE || to == 0) return true;
    qs_str module = qs_str_parent(qs_compare_row(m->c, to - 1)->key);
    name->n = 0;
    qs_buf_addf(name, "%.*s%s%.*s", QS_FMT(module), module.n ? "." : "", QS_FMT(qs_str_leaf(key)));
    if (name->failed) return qs_nomem(e);
    uint32_t row = qs_compare_find(m->c, qs_buf_str(name));
    if (row == QS_NO_INDEX || taken[row] || !qs_match_is_gap(qs_compare_row(m->c, row))) return true;
    if (qs_match_fit(m->c, m->froms.v[from].row, row) < QS_FIT_UNKNOWN) return true;
    return qs_match_add(m, from, row, 0.98, "beside tensors that have the same values as in B", true, e);
}

bool qs_match_collect_beside(qs_matcher *m, const qs_suggestion *decided, size_t n, const char *taken,
                             qs_err *e) {
    qs_map went = {0};
    qs_buf name = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) ok = note_module(m, &went, &decided[i], e);
    for (uint32_t i = 0; ok && n && i < m->froms.n; i++)
        if (!taken[m->froms.v[i].row]) ok = follow(m, &went, i, taken, &name, e);
    qs_map_free(&went);
    qs_buf_free(&name);
    return ok;
}

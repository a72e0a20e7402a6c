#include "format/mosaic.h"

enum { PAIRWISE = 1024 };

static uint64_t volume(uint32_t ndim, const int64_t *size) {
    uint64_t v = 1;
    for (uint32_t i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(v, (uint64_t)size[i], &v)) return UINT64_MAX;
    return v;
}

static bool overlap(const qs_mosaic *m, const qs_tile *a, const qs_tile *b) {
    for (uint32_t i = 0; i < m->ndim; i++)
        if (a->offset[i] + a->size[i] <= b->offset[i] || b->offset[i] + b->size[i] <= a->offset[i])
            return false;
    return true;
}

bool qs_mosaic_is_whole(const qs_mosaic *m) {
    uint64_t whole = volume(m->ndim, m->dim), sum = 0;
    for (size_t i = 0; i < m->n; i++)
        if (__builtin_add_overflow(sum, volume(m->ndim, m->tiles[i].size), &sum)) return false;
    if (sum != whole) return false;
    for (size_t i = 0; i < m->n && m->n <= PAIRWISE; i++)
        for (size_t k = 0; k < i; k++)
            if (volume(m->ndim, m->tiles[i].size) && overlap(m, &m->tiles[i], &m->tiles[k])) return false;
    return true;
}

static bool holds(const qs_mosaic *m, const qs_tile *t, const int64_t at[]) {
    for (uint32_t i = 0; i < m->ndim; i++)
        if (at[i] < t->offset[i] || at[i] - t->offset[i] >= t->size[i]) return false;
    return true;
}

/* The tile that holds an element, looked for around where the one before was. */
static const qs_tile *tile_at(const qs_mosaic *m, const int64_t at[], size_t *hint) {
    for (size_t i = 0; i < m->n; i++) {
        size_t after = *hint + i, before = *hint - i;
        bool ahead = after < m->n && holds(m, &m->tiles[after], at);
        if (!ahead && !(i <= *hint && holds(m, &m->tiles[before], at))) continue;
        *hint = ahead ? after : before;
        return &m->tiles[*hint];
    }
    return NULL;
}

/* Elements from `at` on that follow each other both in the tensor and in the file. */
static uint64_t run_length(const qs_mosaic *m, const qs_tile *t, const int64_t at[]) {
    uint32_t d = m->ndim - 1;
    uint64_t run = 1, inner = 1;
    for (;; d--) {
        if (t->size[d] != 1 && (uint64_t)t->stride[d] != inner) return run;
        run += (uint64_t)(t->size[d] - 1 - (at[d] - t->offset[d])) * inner;
        if (d == 0 || t->size[d] != m->dim[d]) return run;
        inner *= (uint64_t)t->size[d];
    }
}

static bool read_run(const qs_mosaic *m, uint64_t element, uint32_t skip, void *buf, size_t *n, size_t *hint,
                     qs_err *e) {
    int64_t at[QS_MOSAIC_NDIM];
    uint64_t rest = element, from = 0;
    for (uint32_t i = m->ndim; i-- > 0;) {
        at[i] = (int64_t)(rest % (uint64_t)m->dim[i]);
        rest /= (uint64_t)m->dim[i];
    }
    const qs_tile *t = tile_at(m, at, hint);
    if (!t)
        return qs_fail(e, QS_E_INPUT, "no chunk holds element %llu of this tensor",
                       (unsigned long long)element);
    for (uint32_t i = 0; i < m->ndim; i++) from += (uint64_t)(at[i] - t->offset[i]) * (uint64_t)t->stride[i];
    uint64_t bytes = run_length(m, t, at) * m->itemsize - skip;
    if (bytes < *n) *n = (size_t)bytes;
    return qs_file_read(t->file, t->at + from * m->itemsize + skip, buf, *n, e);
}

bool qs_mosaic_read(const qs_mosaic *m, uint64_t offset, void *buf, size_t n, qs_err *e) {
    size_t hint = 0;
    for (size_t done = 0; done < n;) {
        uint64_t byte = offset + done;
        size_t k = n - done;
        if (!read_run(m, byte / m->itemsize, (uint32_t)(byte % m->itemsize), (char *)buf + done, &k, &hint,
                      e))
            return false;
        done += k;
    }
    return true;
}

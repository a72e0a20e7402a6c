#include "format/pickle_memo.h"

#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

static size_t slot_of(const qs_memo *m, uint32_t index) {
    size_t i = (size_t)qs_hash(&index, sizeof index, m->seed) & (m->sparse_cap - 1);
    while (m->sparse[i].node != QS_NODE_NONE && m->sparse[i].index != index)
        i = (i + 1) & (m->sparse_cap - 1);
    return i;
}

qs_node qs_memo_get(const qs_memo *m, uint32_t index) {
    if (index < m->dense.n && m->dense.v[index] != QS_NODE_NONE) return m->dense.v[index];
    return m->sparse_cap ? m->sparse[slot_of(m, index)].node : QS_NODE_NONE;
}

static bool grow_sparse(qs_memo *m) {
    qs_memo old = *m;
    m->sparse_cap = old.sparse_cap ? old.sparse_cap * 2 : 64;
    m->sparse = calloc(m->sparse_cap, sizeof *m->sparse);
    if (!m->sparse) {
        m->sparse = old.sparse;
        m->sparse_cap = old.sparse_cap;
        return false;
    }
    for (size_t i = 0; i < old.sparse_cap; i++)
        if (old.sparse[i].node != QS_NODE_NONE) m->sparse[slot_of(m, old.sparse[i].index)] = old.sparse[i];
    free(old.sparse);
    return true;
}

static bool put_sparse(qs_memo *m, uint32_t index, qs_node node) {
    if (!m->seed && getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) < 0) m->seed = 1;
    if (2 * (m->sparse_n + 1) > m->sparse_cap && !grow_sparse(m)) return false;
    qs_memo_slot *s = &m->sparse[slot_of(m, index)];
    if (s->node == QS_NODE_NONE) m->sparse_n++;
    *s = (qs_memo_slot){index, node};
    return true;
}

bool qs_memo_reserve(qs_memo *m, size_t n) {
    return qs_reserve(&m->dense, n);
}

bool qs_memo_put(qs_memo *m, uint32_t index, qs_node node) {
    if (index == m->dense.n && !m->sparse_n) { /* how real files count */
        m->count++;
        return qs_push(&m->dense, node);
    }
    bool fresh = qs_memo_get(m, index) == QS_NODE_NONE;
    /* Dense as long as at most half of the array would stay empty. */
    if (index < 64 || index / 2 <= m->count) {
        if (!qs_reserve(&m->dense, (size_t)index + 1)) return false;
        while (m->dense.n <= index) m->dense.v[m->dense.n++] = QS_NODE_NONE;
        m->dense.v[index] = node;
    } else if (index < m->dense.n) {
        m->dense.v[index] = node;
    } else if (!put_sparse(m, index, node)) {
        return false;
    }
    m->count += fresh;
    return true;
}

void qs_memo_free(qs_memo *m) {
    free(m->dense.v);
    free(m->sparse);
}

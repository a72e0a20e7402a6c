/* The blocks of a list are numbered, and names that differ by a wrapper only pair them by number. That is no
 * evidence where the numbers themselves are in doubt: where the file has a block more at one place of the
 * list, of which the model knows nothing, and the model one at another, all of them may have moved by one. */
#include "repair/match_impl.h"

#include <stdlib.h>

enum { DEPTH_MAX = 16 };

/* What is below a node, quantizers left out: they come and go with whole blocks. */
typedef struct below {
    uint32_t here, placed;   /* entries of the result; those that are in place or may find one */
    uint32_t wanted, filled; /* of the target; those that are there or may come */
} below;

typedef struct lists {
    const qs_matcher *m;
    below *of; /* by node */
    /* By node: the numbers of a list's blocks that go nowhere, and that nothing comes to, hashed and summed.
     */
    uint64_t *left, *lacks;
} lists;

static void count_rows(const lists *x, const char *proposed) {
    for (uint32_t i = 0; i < qs_compare_rows(x->m->c); i++) {
        const qs_row *row = qs_compare_row(x->m->c, i);
        below *b = &x->of[row->tree];
        if (qs_match_is_quant(row)) continue;
        bool here = row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
        b->here += here;
        b->placed += here && (row->m != QS_NO_INDEX || proposed[i]);
        b->wanted += row->m != QS_NO_INDEX;
        b->filled += row->m != QS_NO_INDEX && (here || proposed[i]);
    }
}

/* Nodes come after their parents, so one pass from the end adds everything up. */
static void find_doubtful(const lists *x) {
    for (uint32_t i = qs_compare_nodes(x->m->c); i-- > 1;) {
        const qs_tree_node *n = qs_compare_node(x->m->c, i);
        below *b = &x->of[i], *up = &x->of[n->parent];
        uint32_t number;
        up->here += b->here;
        up->placed += b->placed;
        up->wanted += b->wanted;
        up->filled += b->filled;
        if (n->row != QS_NO_INDEX || !qs_name_number(n->name, &number)) continue;
        uint64_t h = qs_hash(&number, sizeof number, 1);
        if (b->here && !b->placed) x->left[n->parent] += h;
        if (b->wanted && !b->filled) x->lacks[n->parent] += h;
    }
}

/* The blocks of lists a row is in, as nodes, the innermost first. */
static size_t blocks_of(const qs_matcher *m, uint32_t row, uint32_t out[DEPTH_MAX]) {
    size_t n = 0;
    uint32_t number;
    for (uint32_t i = qs_compare_row(m->c, row)->tree; i && n < DEPTH_MAX;
         i = qs_compare_node(m->c, i)->parent)
        if (qs_name_number(qs_compare_node(m->c, i)->name, &number)) out[n++] = i;
    return n;
}

static bool same_number(const qs_matcher *m, uint32_t a, uint32_t b) {
    uint32_t x, y;
    return qs_name_number(qs_compare_node(m->c, a)->name, &x) &&
           qs_name_number(qs_compare_node(m->c, b)->name, &y) && x == y;
}

/* Does the candidate take a block for another number's? Whoever says so has looked at the whole list. */
static bool moves_block(const qs_matcher *m, const qs_candidate *c) {
    uint32_t from[DEPTH_MAX], to[DEPTH_MAX];
    size_t a = blocks_of(m, m->froms.v[c->from].row, from), b = blocks_of(m, c->to, to);
    for (size_t i = 0; i < a && i < b; i++)
        if (!same_number(m, from[i], to[i])) return true;
    return false;
}

static bool is_doubtful(const lists *x, const qs_candidate *c) {
    uint32_t from[DEPTH_MAX], to[DEPTH_MAX];
    size_t a = blocks_of(x->m, x->m->froms.v[c->from].row, from), b = blocks_of(x->m, c->to, to);
    for (size_t i = 0; i < a && i < b; i++) {
        uint64_t left = x->left[qs_compare_node(x->m->c, from[i])->parent];
        uint64_t lacks = x->lacks[qs_compare_node(x->m->c, to[i])->parent];
        if (left && lacks && left != lacks) return true;
    }
    return false;
}

/* `taken` has a byte a row: those found before are no longer in doubt, and count as placed. */
bool qs_match_doubt_numbers(qs_matcher *m, const char *taken, qs_err *e) {
    size_t nodes = qs_compare_nodes(m->c) + 1u, rows = qs_compare_rows(m->c);
    char *proposed = malloc(rows + 1);
    lists x = {m, calloc(nodes, sizeof *x.of), calloc(nodes, sizeof *x.left), calloc(nodes, sizeof *x.lacks)};
    bool ok = (proposed && x.of && x.left && x.lacks) || qs_nomem(e);
    if (ok) memcpy(proposed, taken, rows);
    for (size_t i = 0; ok && i < m->found.n; i++) {
        const qs_candidate *c = &m->found.v[i];
        if (!moves_block(m, c)) proposed[m->froms.v[c->from].row] = proposed[c->to] = 1;
    }
    if (ok) {
        count_rows(&x, proposed);
        find_doubtful(&x);
    }
    for (size_t i = 0; ok && i < m->found.n; i++) {
        qs_candidate *c = &m->found.v[i];
        if (!c->structural || moves_block(m, c) || !is_doubtful(&x, c)) continue;
        c->structural = false;
        c->confidence /= 2;
    }
    free(proposed);
    free(x.of);
    free(x.left);
    free(x.lacks);
    return ok;
}

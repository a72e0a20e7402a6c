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
    below *of;          /* by node */
    bool *left, *lacks; /* by node: a list with a block that goes nowhere, that nothing comes to */
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
        x->left[n->parent] |= b->here && !b->placed;
        x->lacks[n->parent] |= b->wanted && !b->filled;
    }
}

/* The lists a row is in, the innermost first. */
static size_t lists_of(const qs_matcher *m, uint32_t row, uint32_t out[DEPTH_MAX]) {
    size_t n = 0;
    uint32_t number;
    for (uint32_t i = qs_compare_row(m->c, row)->tree; i && n < DEPTH_MAX;
         i = qs_compare_node(m->c, i)->parent)
        if (qs_name_number(qs_compare_node(m->c, i)->name, &number))
            out[n++] = qs_compare_node(m->c, i)->parent;
    return n;
}

static bool is_doubtful(const lists *x, const qs_candidate *c) {
    uint32_t from[DEPTH_MAX], to[DEPTH_MAX];
    size_t a = lists_of(x->m, x->m->froms.v[c->from].row, from), b = lists_of(x->m, c->to, to);
    for (size_t i = 0; i < a && i < b; i++)
        if (x->left[from[i]] && x->lacks[to[i]]) return true;
    return false;
}

/* `taken` has a byte a row: those found before are no longer in doubt, and count as placed. */
bool qs_match_doubt_numbers(qs_matcher *m, const char *taken, qs_err *e) {
    size_t nodes = qs_compare_nodes(m->c) + 1u, rows = qs_compare_rows(m->c);
    char *proposed = malloc(rows + 1);
    lists x = {m, calloc(nodes, sizeof *x.of), calloc(nodes, sizeof *x.left), calloc(nodes, sizeof *x.lacks)};
    bool ok = (proposed && x.of && x.left && x.lacks) || qs_nomem(e);
    if (ok) {
        memcpy(proposed, taken, rows);
        for (size_t i = 0; i < m->found.n; i++)
            proposed[m->froms.v[m->found.v[i].from].row] = proposed[m->found.v[i].to] = 1;
        count_rows(&x, proposed);
        find_doubtful(&x);
    }
    for (size_t i = 0; ok && i < m->found.n; i++) {
        qs_candidate *c = &m->found.v[i];
        if (!c->structural || !is_doubtful(&x, c)) continue;
        c->structural = false;
        c->confidence /= 2;
    }
    free(proposed);
    free(x.of);
    free(x.left);
    free(x.lacks);
    return ok;
}

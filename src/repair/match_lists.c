/* The blocks of a list are numbered, and names that differ by a wrapper only pair them by number. That is no
 * evidence where the numbers themselves are in doubt: where the file has a block more at one place of the
 * list, of which the model knows nothing, and the model one at another, all of them may have moved by one. */
#include "repair/match_impl.h"

#include <stdlib.h>

enum { DEPTH_MAX = 16 };

/* By node: weights below it (quantizers come and go with whole blocks). Of a block also whether one of them
 * is in its place, or may find one in a block of the same number. */
typedef struct block {
    uint32_t here, wanted; /* in the result, in the target */
    bool placed, filled;
} block;

typedef struct lists {
    const qs_matcher *m;
    block *of; /* by node */
    /* By node: the numbers of a list's blocks that go nowhere, and that nothing comes to, hashed and summed.
     */
    uint64_t *left, *lacks;
    bool any_left; /* a weight of the result has no place at all */
} lists;

static uint32_t number_of(const qs_matcher *m, uint32_t node) {
    uint32_t number = 0;
    (void)qs_name_number(qs_compare_node(m->c, node)->name, &number);
    return number;
}

/* The blocks a row is in, as nodes, the innermost first. */
static size_t blocks_of(const qs_matcher *m, uint32_t row, uint32_t out[DEPTH_MAX]) {
    size_t n = 0;
    uint32_t number;
    for (uint32_t i = qs_compare_row(m->c, row)->tree; i && n < DEPTH_MAX;
         i = qs_compare_node(m->c, i)->parent)
        if (qs_name_number(qs_compare_node(m->c, i)->name, &number)) out[n++] = i;
    return n;
}

static void count_row(const lists *x, uint32_t i, bool taken) {
    const qs_row *row = qs_compare_row(x->m->c, i);
    uint32_t in[DEPTH_MAX];
    if (qs_match_is_quant(row)) return;
    bool here = row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED, wanted = row->m != QS_NO_INDEX;
    x->of[row->tree].here += here;
    x->of[row->tree].wanted += wanted;
    if (!taken && !(here && wanted)) return;
    size_t n = blocks_of(x->m, i, in);
    for (size_t k = 0; k < n; k++) {
        x->of[in[k]].placed |= here;
        x->of[in[k]].filled |= wanted;
    }
}

static void count_candidate(const lists *x, const qs_candidate *c) {
    uint32_t from[DEPTH_MAX], to[DEPTH_MAX], row = x->m->froms.v[c->from].row;
    if (qs_match_is_quant(qs_compare_row(x->m->c, row))) return;
    size_t a = blocks_of(x->m, row, from), b = blocks_of(x->m, c->to, to);
    for (size_t i = 0; i < b; i++) {
        if (i < a && number_of(x->m, from[i]) != number_of(x->m, to[i])) continue;
        x->of[to[i]].filled = true;
        if (i < a) x->of[from[i]].placed = true;
    }
}

/* Nodes come after their parents, so one pass from the end adds everything up. */
static void find_doubtful(const lists *x) {
    for (uint32_t i = qs_compare_nodes(x->m->c); i-- > 1;) {
        const qs_tree_node *n = qs_compare_node(x->m->c, i);
        const block *b = &x->of[i];
        uint32_t number;
        x->of[n->parent].here += b->here;
        x->of[n->parent].wanted += b->wanted;
        if (n->row != QS_NO_INDEX || !qs_name_number(n->name, &number)) continue;
        uint64_t h = qs_hash(&number, sizeof number, 1);
        if (b->here && !b->placed) x->left[n->parent] += h;
        if (b->wanted && !b->filled) x->lacks[n->parent] += h;
    }
}

/* A name whose own numbers are not seen (f_3_weight) may belong to any block that nothing comes to. Where the
 * candidate takes a block for one of another number, whoever says so has looked at the whole list. */
static bool is_doubtful(const lists *x, const qs_candidate *c) {
    uint32_t from[DEPTH_MAX], to[DEPTH_MAX];
    size_t a = blocks_of(x->m, x->m->froms.v[c->from].row, from), b = blocks_of(x->m, c->to, to);
    for (size_t i = 0; i < b; i++) {
        uint64_t lacks = x->lacks[qs_compare_node(x->m->c, to[i])->parent];
        if (i >= a) {
            if (lacks && x->any_left) return true;
            continue;
        }
        uint64_t left = x->left[qs_compare_node(x->m->c, from[i])->parent];
        if (number_of(x->m, from[i]) != number_of(x->m, to[i])) continue;
        if (left && lacks && left != lacks) return true;
    }
    return false;
}

static void look(lists *x, const char *taken, char *proposed) {
    memset(proposed, 0, qs_compare_rows(x->m->c));
    for (size_t i = 0; i < x->m->found.n; i++) {
        count_candidate(x, &x->m->found.v[i]);
        proposed[x->m->froms.v[x->m->found.v[i].from].row] = 1;
    }
    for (uint32_t i = 0; i < qs_compare_rows(x->m->c); i++) {
        const qs_row *row = qs_compare_row(x->m->c, i);
        count_row(x, i, taken && taken[i]);
        x->any_left |=
            qs_match_is_spare(row) && !qs_match_is_quant(row) && !(taken && taken[i]) && !proposed[i];
    }
    find_doubtful(x);
}

static bool lists_of(lists *x, const qs_matcher *m, const char *taken, qs_err *e) {
    size_t nodes = qs_compare_nodes(m->c) + 1u;
    char *proposed = malloc(qs_compare_rows(m->c) + 1u);
    *x = (lists){.m = m,
                 .of = calloc(nodes, sizeof *x->of),
                 .left = calloc(nodes, sizeof *x->left),
                 .lacks = calloc(nodes, sizeof *x->lacks)};
    bool ok = (proposed && x->of && x->left && x->lacks) || qs_nomem(e);
    if (ok) look(x, taken, proposed);
    free(proposed);
    return ok;
}

static void lists_free(lists *x) {
    free(x->of);
    free(x->left);
    free(x->lacks);
}

bool qs_match_doubt_numbers(qs_matcher *m, const char *taken, qs_err *e) {
    lists x;
    bool ok = lists_of(&x, m, taken, e);
    for (size_t i = 0; ok && i < m->found.n; i++) {
        qs_candidate *c = &m->found.v[i];
        if (!c->structural || !is_doubtful(&x, c)) continue;
        c->structural = false;
        c->confidence /= 2;
    }
    lists_free(&x);
    return ok;
}

bool qs_match_numbers_in_doubt(const qs_compare *c, bool *doubt, qs_err *e) {
    lists x;
    qs_matcher none = {.c = c};
    bool ok = lists_of(&x, &none, NULL, e);
    *doubt = false;
    for (uint32_t i = 1; ok && i < qs_compare_nodes(c) && !*doubt; i++) {
        uint32_t list = qs_compare_node(c, i)->parent;
        *doubt = x.of[i].placed && x.left[list] && x.lacks[list] && x.left[list] != x.lacks[list];
    }
    lists_free(&x);
    return ok;
}

/* Blocks of a Sequential or ModuleList that are numbered otherwise in the model: 0, 2, 4 for 0, 1, 2. Names
 * that both sides have are no evidence then (2 is the model's 1), so all blocks of one parent are paired by
 * order, and only if there are as many, each with the same contents as its partner: quantizers' tensors
 * included, if that fits; without them, if not. */
#include "repair/match_impl.h"

#include <stdlib.h>

/* What is below a node on one side: last parts and shapes of all tensors but BatchNorm's counters, which come
 * and go, and what has a last part the target does not know; added up, so that wrapping and folding change
 * nothing. */
typedef struct contents {
    uint64_t sum;
    uint32_t count;
} contents;

typedef struct block {
    uint32_t number;
    uint32_t node;
} block;

typedef struct renumber {
    const qs_compare *c;
    qs_arena *arena;
    qs_err *e;
    /* Of the result, of the target; by node: with quantizers, and without. */
    contents *side[2][2];
    int kind;            /* which of them is looked at */
    bool shapes;         /* known of every entry of the target */
    qs_map quant_leaves; /* last parts of quantizers' tensors: a name with something in it hides what it is */
    qs_map leaves;       /* last parts in the target */
    bool *done;          /* by node: below a block that was paired already */
    QS_VEC(block) blocks[2];
    QS_VEC(qs_rename_pair) pairs;
    qs_buf name;
} renumber;

static bool find_leaves(renumber *x) {
    for (uint32_t i = 0; i < qs_compare_rows(x->c); i++) {
        const qs_row *row = qs_compare_row(x->c, i);
        qs_str leaf = qs_str_leaf(row->key);
        if (qs_match_is_quant(row) && !qs_map_put(&x->quant_leaves, leaf, i)) return qs_nomem(x->e);
        if (row->m != QS_NO_INDEX && !qs_map_put(&x->leaves, leaf, i)) return qs_nomem(x->e);
    }
    return true;
}

static contents contents_of(const renumber *x, qs_str key, qs_shape shape) {
    qs_str leaf = qs_str_leaf(key);
    uint64_t h = qs_hash(leaf.p, leaf.n, 1);
    if (x->shapes) h = qs_hash(shape.dim, shape.ndim * sizeof *shape.dim, h);
    return (contents){h, 1};
}

static void add(contents *to, contents what) {
    to->sum += what.sum;
    to->count += what.count;
}

static void count_entry(renumber *x, int side, const qs_row *row, contents what) {
    bool quant = qs_map_get(&x->quant_leaves, qs_str_leaf(row->key)) != QS_MAP_NONE;
    for (int kind = 0; kind < (quant ? 1 : 2); kind++) add(&x->side[kind][side][row->tree], what);
}

static void count_row(renumber *x, const qs_row *row) {
    qs_shape want = {0};
    qs_str leaf = qs_str_leaf(row->key);
    if (qs_str_is(leaf, "num_batches_tracked") || qs_map_get(&x->leaves, leaf) == QS_MAP_NONE) return;
    if (row->m != QS_NO_INDEX) {
        qs_match_wanted(x->c, (uint32_t)(row - qs_compare_row(x->c, 0)), &want);
        count_entry(x, 1, row, contents_of(x, row->key, want));
    }
    if (row->r == QS_NO_INDEX || row->mark == QS_MARK_DROPPED) return;
    const qs_resolved *r = qs_resolution_entry(qs_compare_resolution(x->c), row->r);
    count_entry(x, 0, row, contents_of(x, row->key, r->shape));
}

/* Nodes come after their parents, so one pass from the end adds everything up. */
static void count_all(renumber *x) {
    qs_shape unused;
    x->shapes = true;
    for (uint32_t i = 0; i < qs_compare_rows(x->c) && x->shapes; i++)
        if (qs_compare_row(x->c, i)->m != QS_NO_INDEX) x->shapes = qs_match_wanted(x->c, i, &unused);
    for (uint32_t i = 0; i < qs_compare_rows(x->c); i++) count_row(x, qs_compare_row(x->c, i));
    for (uint32_t i = qs_compare_nodes(x->c); i-- > 1;)
        for (int k = 0; k < 4; k++) {
            contents *v = x->side[k / 2][k % 2];
            add(&v[qs_compare_node(x->c, i)->parent], v[i]);
        }
}

/* ---- the blocks of one parent ---- */

static int by_number(const void *a, const void *b) {
    uint32_t x = ((const block *)a)->number, y = ((const block *)b)->number;
    return x < y ? -1 : x > y;
}

static bool find_blocks(renumber *x, uint32_t parent) {
    x->blocks[0].n = x->blocks[1].n = 0;
    for (uint32_t i = qs_compare_node(x->c, parent)->first_child; i != QS_NO_INDEX;
         i = qs_compare_node(x->c, i)->next_sibling) {
        block b = {.node = i};
        if (!qs_name_number(qs_compare_node(x->c, i)->name, &b.number)) continue;
        for (int s = 0; s < 2; s++)
            if (x->side[x->kind][s][i].count && !qs_push(&x->blocks[s], b)) return qs_nomem(x->e);
    }
    for (int s = 0; s < 2; s++)
        if (x->blocks[s].n) qsort(x->blocks[s].v, x->blocks[s].n, sizeof *x->blocks[s].v, by_number);
    return true;
}

/* Other numbers, as many blocks, and each with its partner's contents? */
static bool is_renumbered(const renumber *x) {
    bool other = false;
    if (x->blocks[0].n != x->blocks[1].n) return false;
    for (size_t i = 0; i < x->blocks[0].n; i++) {
        const block *a = &x->blocks[0].v[i], *b = &x->blocks[1].v[i];
        contents p = x->side[x->kind][0][a->node], q = x->side[x->kind][1][b->node];
        other |= a->node != b->node;
        if (p.count != q.count || p.sum != q.sum) return false;
    }
    return other;
}

static bool add_pair(renumber *x, qs_str key, qs_str was, qs_str now) {
    x->name.n = 0;
    qs_buf_add(&x->name, now);
    qs_buf_add(&x->name, qs_str_sub(key, was.n, key.n));
    qs_rename_pair p = {qs_arena_str(x->arena, key), {NULL, 0}};
    if (!x->name.failed) p.to = qs_arena_str(x->arena, qs_buf_str(&x->name));
    return (p.from.p && p.to.p && qs_push(&x->pairs, p)) || qs_nomem(x->e);
}

/* All entries of the result below `node`, which is the block `top` or in it, get the name of the block `to`.
 */
static bool pair_below(renumber *x, uint32_t top, uint32_t to) {
    qs_str was = qs_compare_node(x->c, top)->path, now = qs_compare_node(x->c, to)->path;
    uint32_t i = top;
    for (;;) {
        const qs_tree_node *n = qs_compare_node(x->c, i);
        const qs_row *row = n->row == QS_NO_INDEX ? NULL : qs_compare_row(x->c, n->row);
        x->done[i] = true;
        if (row && row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED && !add_pair(x, row->key, was, now))
            return false;
        if (n->first_child != QS_NO_INDEX) {
            i = n->first_child;
            continue;
        }
        while (i != top && qs_compare_node(x->c, i)->next_sibling == QS_NO_INDEX)
            i = qs_compare_node(x->c, i)->parent;
        if (i == top) return true;
        i = qs_compare_node(x->c, i)->next_sibling;
    }
}

static bool pair_blocks(renumber *x) {
    for (size_t i = 0; i < x->blocks[0].n; i++) {
        uint32_t from = x->blocks[0].v[i].node, to = x->blocks[1].v[i].node;
        x->done[to] = true;
        if (from != to && !pair_below(x, from, to)) return false;
    }
    return true;
}

static bool search_list(renumber *x, uint32_t parent) {
    for (x->kind = 0; x->kind < 2; x->kind++) {
        if (!find_blocks(x, parent)) return false;
        if (is_renumbered(x)) return pair_blocks(x);
    }
    return true;
}

static bool search(renumber *x) {
    for (uint32_t i = 0; i < qs_compare_nodes(x->c); i++) {
        const qs_tree_node *n = qs_compare_node(x->c, i);
        if (i && x->done[n->parent]) x->done[i] = true;
        if (x->done[i] || n->row != QS_NO_INDEX) continue;
        if (!search_list(x, i)) return false;
    }
    return true;
}

bool qs_match_renumber(const qs_compare *c, qs_arena *arena, qs_rename_pair **out, size_t *n, qs_err *e) {
    size_t nodes = qs_compare_nodes(c);
    renumber x = {.c = c, .arena = arena, .e = e};
    x.done = calloc(nodes + 1, sizeof *x.done);
    *n = 0;
    bool ok = x.done || qs_nomem(e);
    for (int k = 0; ok && k < 4; k++) {
        x.side[k / 2][k % 2] = calloc(nodes + 1, sizeof *x.side[0][0]);
        ok = x.side[k / 2][k % 2] || qs_nomem(e);
    }
    ok = ok && find_leaves(&x);
    if (ok) count_all(&x);
    ok = ok && search(&x);
    if (ok && x.pairs.n) {
        *out = QS_ARENA_ARRAY(arena, x.pairs.n, qs_rename_pair);
        ok = *out || qs_nomem(e);
        if (ok) memcpy(*out, x.pairs.v, x.pairs.n * sizeof **out);
        *n = x.pairs.n;
    }
    for (int k = 0; k < 4; k++) free(x.side[k / 2][k % 2]);
    free(x.done);
    qs_map_free(&x.quant_leaves);
    qs_map_free(&x.leaves);
    for (int s = 0; s < 2; s++) qs_vec_free(&x.blocks[s]);
    qs_vec_free(&x.pairs);
    qs_buf_free(&x.name);
    return ok;
}

/* Where all children of a module but one have their place, the one that is left and the one that is lacking
 * may be the same under two names, or with something around it. */
#include "repair/match_impl.h"

#include <stdlib.h>

enum { SEVERAL = UINT32_MAX - 1 };

/* Below a node, quantizers left out: a weight with no place, one that nothing comes to, one that is settled.
 */
typedef struct weights {
    bool spare, gap, settled;
} weights;

/* The children of one module that have weights with no place, and that lack them; nodes, QS_NO_INDEX for
 * none. */
typedef struct alone {
    uint32_t spare, gap;
} alone;

static void note_weights(const qs_matcher *m, const char *taken, weights *of) {
    for (uint32_t i = 0; i < qs_compare_rows(m->c); i++) {
        const qs_row *row = qs_compare_row(m->c, i);
        weights *w = &of[row->tree];
        if (qs_match_is_quant(row)) continue;
        bool spare = qs_match_is_spare(row), gap = qs_match_is_gap(row);
        w->spare |= spare && !taken[i];
        w->gap |= gap && !taken[i];
        w->settled |= (!spare && !gap && row->m != QS_NO_INDEX) || (taken[i] && (spare || gap));
    }
    for (uint32_t i = qs_compare_nodes(m->c); i-- > 1;) {
        weights *up = &of[qs_compare_node(m->c, i)->parent];
        up->spare |= of[i].spare;
        up->gap |= of[i].gap;
        up->settled |= of[i].settled;
    }
}

static alone children_alone(const qs_compare *c, const weights *of, uint32_t parent) {
    alone a = {QS_NO_INDEX, QS_NO_INDEX};
    for (uint32_t i = qs_compare_node(c, parent)->first_child; i != QS_NO_INDEX;
         i = qs_compare_node(c, i)->next_sibling) {
        if (qs_compare_node(c, i)->row != QS_NO_INDEX || of[i].settled || of[i].spare == of[i].gap) continue;
        uint32_t *which = of[i].spare ? &a.spare : &a.gap;
        *which = *which == QS_NO_INDEX ? i : SEVERAL;
    }
    return a;
}

/* Child for child; or, where there is none on the other side, the module itself. */
static bool pair_of(const qs_compare *c, const weights *of, uint32_t module, uint32_t *from, uint32_t *to) {
    if (!of[module].spare || !of[module].gap) return false;
    alone a = children_alone(c, of, module);
    *from = a.spare == QS_NO_INDEX && module ? module : a.spare;
    *to = a.gap == QS_NO_INDEX && module ? module : a.gap;
    return *from < SEVERAL && *to < SEVERAL && *from != *to;
}

bool qs_match_find_alone(const qs_matcher *m, const char *taken,
                         bool (*found)(void *ctx, qs_str from, qs_str to), void *ctx, qs_err *e) {
    uint32_t nodes = qs_compare_nodes(m->c), from, to;
    weights *of = calloc(nodes + 1u, sizeof *of);
    bool ok = of != NULL;
    if (ok) note_weights(m, taken, of);
    for (uint32_t i = 0; ok && i < nodes; i++)
        if (pair_of(m->c, of, i, &from, &to))
            ok = found(ctx, qs_compare_node(m->c, from)->path, qs_compare_node(m->c, to)->path);
    free(of);
    return ok || qs_nomem(e);
}

#include "repair/match.h"

#include "repair/match_impl.h"

#include <stdlib.h>

struct qs_matches {
    QS_VEC(qs_suggestion) v; /* by from row */
    uint32_t *of_row;        /* suggestion of a row, QS_NO_INDEX */
    uint32_t rows;
    qs_prefix_change prefix; /* empty unless sure */
    qs_str copies[2];        /* empty unless there are several */
};

/* Two candidates closer than this are a tie. */
static const double tie = 0.05;

bool qs_match_is_gap(const qs_row *row) {
    return row->m != QS_NO_INDEX && (row->r == QS_NO_INDEX || row->mark == QS_MARK_DROPPED);
}

bool qs_match_is_spare(const qs_row *row) {
    return row->m == QS_NO_INDEX && row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
}

bool qs_match_wanted(const qs_compare *c, uint32_t row, qs_shape *shape) {
    const qs_resolve_input *in = qs_resolution_input(qs_compare_resolution(c));
    const qs_expected *x = qs_manifest_entry(in->target, qs_compare_row(c, row)->m);
    *shape = x->shape;
    return x->shape_known;
}

/* The last parts agree; where underscores stand for dots, one ends in the other. */
static bool same_leaf(qs_str from, qs_str to) {
    qs_str a = qs_str_leaf(from), b = qs_str_leaf(to);
    if (qs_str_eq(a, b)) return true;
    return a.n > b.n && a.p[a.n - b.n - 1] == '_' && qs_str_ends(a, b);
}

/* Torch's quantizers take the state of as many channels as come; a fresh one has room for none, or one. */
static bool is_elastic(const qs_row *row, qs_shape want, qs_shape have) {
    bool torch = row->family == QS_FAMILY_TORCH || row->family == QS_FAMILY_SPARSEML;
    if (!torch || want.ndim != 1 || have.ndim != 1) return false;
    return want.dim[0] == 0 ||
           (want.dim[0] == 1 && row->role != QS_ROLE_OBSERVER && row->role != QS_ROLE_FLAG);
}

qs_fit qs_match_fit(const qs_compare *c, uint32_t from, uint32_t to) {
    const qs_row *f = qs_compare_row(c, from), *t = qs_compare_row(c, to);
    if (qs_match_is_quant(f) && qs_match_is_quant(t) && f->role != t->role && f->family == t->family)
        return QS_FIT_NO;
    if (qs_match_is_quant(f) != qs_match_is_quant(t) && !same_leaf(f->key, t->key)) return QS_FIT_NO;
    const qs_resolved *x = qs_resolution_entry(qs_compare_resolution(c), f->r);
    qs_shape want;
    if (!qs_match_wanted(c, to, &want) || !x->shape_known) return QS_FIT_UNKNOWN;
    if (qs_shape_eq(want, x->shape) || is_elastic(t, want, x->shape)) return QS_FIT_YES;
    /* [] in one version, [1] in another: a repair makes one the other */
    bool one = qs_match_is_quant(t) && qs_shape_numel(want) == 1 && qs_shape_numel(x->shape) == 1;
    return one ? QS_FIT_YES : QS_FIT_SHAPE;
}

/* ---- assignment ---- */

static int by_confidence(const void *a, const void *b) {
    const qs_candidate *x = a, *y = b;
    if (x->confidence != y->confidence) return x->confidence > y->confidence ? -1 : 1;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* The best two claims on a row, for ties. */
typedef struct claim {
    uint32_t best, second; /* candidates */
} claim;

static void add_claim(claim *c, uint32_t i, bool same_other_side) {
    if (c->best == QS_NO_INDEX)
        c->best = i;
    else if (c->second == QS_NO_INDEX && !same_other_side)
        c->second = i;
}

/* Candidates are sorted, so the first claims on a row are its best. */
static claim *claims_by_row(const qs_matcher *m, qs_err *e) {
    size_t n = qs_compare_rows(m->c);
    claim *c = malloc((n + 1) * sizeof *c);
    if (!c) {
        qs_nomem(e);
        return NULL;
    }
    memset(c, 0xff, n * sizeof *c);
    for (uint32_t i = 0; i < m->found.n; i++) {
        const qs_candidate *x = &m->found.v[i];
        claim *f = &c[m->froms.v[x->from].row], *t = &c[x->to];
        add_claim(f, i, f->best != QS_NO_INDEX && m->found.v[f->best].to == x->to);
        add_claim(t, i, t->best != QS_NO_INDEX && m->found.v[t->best].from == x->from);
    }
    return c;
}

static bool is_tie(const qs_matcher *m, const qs_candidate *x, const claim *c) {
    return c->second != QS_NO_INDEX && m->found.v[c->second].confidence > x->confidence - tie;
}

static qs_suggestion suggest(const qs_matcher *m, const qs_candidate *x, const claim *claims) {
    uint32_t row = m->froms.v[x->from].row;
    const claim *f = &claims[row], *t = &claims[x->to];
    qs_suggestion s = {
        .from = row, .to = x->to, .confidence = x->confidence, .reason = x->reason, .runner_up = QS_NO_INDEX};
    const qs_candidate *best = &m->found.v[f->best];
    const qs_candidate *other = best->to != x->to          ? best
                                : f->second != QS_NO_INDEX ? &m->found.v[f->second]
                                                           : NULL;
    if (other) {
        s.runner_up = other->to;
        s.runner_up_confidence = other->confidence;
    }
    bool first = best->to == x->to && m->found.v[t->best].from == x->from;
    s.safe = x->structural && first && !is_tie(m, x, f) && !is_tie(m, x, t);
    return s;
}

static int by_from(const void *a, const void *b) {
    const qs_suggestion *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* The best first; only what may be applied without asking, if `safe`. */
static bool assign(const qs_matcher *m, bool safe, char *taken, qs_matches *out, qs_err *e) {
    if (m->found.n) qsort(m->found.v, m->found.n, sizeof *m->found.v, by_confidence);
    claim *claims = claims_by_row(m, e);
    if (!claims) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < m->found.n; i++) {
        const qs_candidate *x = &m->found.v[i];
        uint32_t row = m->froms.v[x->from].row;
        if (taken[row] || taken[x->to]) continue;
        qs_suggestion s = suggest(m, x, claims);
        if (safe && !s.safe) continue;
        taken[row] = taken[x->to] = 1;
        ok = qs_push(&out->v, s) || qs_nomem(e);
    }
    free(claims);
    return ok;
}

static bool index_rows(qs_matches *m, qs_err *e) {
    m->of_row = malloc((m->rows + 1u) * sizeof *m->of_row);
    if (!m->of_row) return qs_nomem(e);
    memset(m->of_row, 0xff, m->rows * sizeof *m->of_row);
    if (m->v.n) qsort(m->v.v, m->v.n, sizeof *m->v.v, by_from);
    for (uint32_t i = 0; i < m->v.n; i++) m->of_row[m->v.v[i].from] = m->of_row[m->v.v[i].to] = i;
    return true;
}

static bool take_sides(qs_matcher *m, qs_err *e) {
    for (uint32_t i = 0; i < qs_compare_rows(m->c); i++) {
        const qs_row *row = qs_compare_row(m->c, i);
        bool ok = true;
        m->anchored |= row->m != QS_NO_INDEX && !qs_match_is_gap(row);
        if (qs_match_is_gap(row))
            ok = qs_push(&m->tos, i);
        else if (qs_match_is_spare(row))
            ok = qs_push(&m->froms, (qs_match_from){i, row->key});
        if (!ok) return qs_nomem(e);
    }
    return true;
}

/* What the rules leave open, B's values decide: the rules' own candidates wait. */
static bool decide_by_values(qs_matcher *m, char *taken, qs_matches *out, qs_err *e) {
    qs_matcher by_value = *m;
    memset(&by_value.found, 0, sizeof by_value.found);
    size_t before = out->v.n;
    bool ok = qs_match_collect_values(&by_value, taken, e) && assign(&by_value, true, taken, out, e);
    by_value.found.n = 0;
    ok = ok &&
         qs_match_collect_beside(&by_value, before ? out->v.v + before : out->v.v, out->v.n - before, taken,
                                 e) &&
         assign(&by_value, true, taken, out, e);
    qs_vec_free(&by_value.found);
    return ok;
}

static bool run(qs_matcher *m, qs_matches *out, qs_err *e) {
    if (!take_sides(m, e)) return false;
    if (m->froms.n == 0 || m->tos.n == 0) return true;
    if (!qs_match_find_prefix(m, e)) return false;
    char *taken = calloc(out->rows + 1u, 1);
    if (!taken) return qs_nomem(e);
    if (m->prefix_sure) out->prefix = m->prefix;
    for (int i = 0; i < 2; i++) out->copies[i] = m->copies[i].strip;
    if (out->copies[0].n) {
        bool told = decide_by_values(m, taken, out, e);
        free(taken);
        return told;
    }
    bool ok = qs_match_collect(m, e) && qs_match_doubt_numbers(m, taken, e) &&
              assign(m, true, taken, out, e) && decide_by_values(m, taken, out, e);
    /* What is doubtful by the rules may be clear by the modules, or by words. */
    ok = ok && qs_progress_step(m->progress, 0, 0, e) && qs_match_collect_modules(m, taken, e) &&
         qs_match_collect_foreign(m, taken, e) && qs_match_doubt_numbers(m, taken, e) &&
         assign(m, false, taken, out, e);
    m->found.n = 0;
    ok = ok && qs_progress_step(m->progress, 0, 0, e) && qs_match_collect_weak(m, taken, e) &&
         assign(m, false, taken, out, e);
    free(taken);
    return ok;
}

bool qs_match_all(const qs_compare *c, qs_matches **out, qs_err *e) {
    return qs_match_all_while(c, NULL, out, e);
}

bool qs_match_all_while(const qs_compare *c, const qs_progress *progress, qs_matches **out, qs_err *e) {
    qs_matches *found = calloc(1, sizeof *found);
    qs_matcher m = {.c = c, .progress = progress};
    if (!found) return qs_nomem(e);
    found->rows = qs_compare_rows(c);
    bool target = qs_resolution_input(qs_compare_resolution(c))->target != NULL;
    bool ok = (!target || run(&m, found, e)) && index_rows(found, e);
    qs_vec_free(&m.froms);
    qs_vec_free(&m.tos);
    qs_vec_free(&m.found);
    qs_arena_free(&m.arena);
    if (ok)
        *out = found;
    else
        qs_matches_free(found);
    return ok;
}

void qs_matches_free(qs_matches *m) {
    if (!m) return;
    qs_vec_free(&m->v);
    free(m->of_row);
    free(m);
}

size_t qs_matches_count(const qs_matches *m) {
    return m->v.n;
}
const qs_suggestion *qs_matches_get(const qs_matches *m, size_t i) {
    return i < m->v.n ? &m->v.v[i] : NULL;
}
uint32_t qs_matches_of_row(const qs_matches *m, uint32_t row) {
    return row < m->rows ? m->of_row[row] : QS_NO_INDEX;
}

bool qs_matches_prefix(const qs_matches *m, qs_str *strip, qs_str *add) {
    *strip = m->prefix.strip;
    *add = m->prefix.add;
    return strip->n || add->n;
}

bool qs_matches_copies(const qs_matches *m, qs_str *one, qs_str *other) {
    *one = m->copies[0];
    *other = m->copies[1];
    return one->n > 0;
}

/* ---- candidates of one row ---- */

/* Insert into out[n], best first, at most max. */
static size_t insert(qs_suggestion *out, size_t n, size_t max, qs_suggestion s) {
    size_t at = n;
    while (at > 0 && out[at - 1].confidence < s.confidence) at--;
    if (at == max) return n;
    if (n == max) n--;
    memmove(out + at + 1, out + at, (n - at) * sizeof *out);
    out[at] = s;
    return n + 1;
}

size_t qs_match_candidates(const qs_compare *c, uint32_t row, qs_suggestion *out, size_t max) {
    const qs_row *from = qs_compare_row(c, row);
    size_t n = 0;
    if (max == 0 || from->r == QS_NO_INDEX) return 0;
    for (uint32_t i = 0; i < qs_compare_rows(c); i++) {
        const qs_row *to = qs_compare_row(c, i);
        if (!qs_match_is_gap(to)) continue;
        qs_fit fit = qs_match_fit(c, row, i);
        if (fit == QS_FIT_NO) continue;
        qs_relation rel = qs_name_relate(from->key, to->key);
        if (fit == QS_FIT_SHAPE && rel.confidence < 0.3) continue;
        static const double weight[] = {[QS_FIT_SHAPE] = 0.15, [QS_FIT_UNKNOWN] = 0.8, [QS_FIT_YES] = 1};
        n = insert(out, n, max,
                   (qs_suggestion){.from = row,
                                   .to = i,
                                   .confidence = rel.confidence * weight[fit],
                                   .reason = fit == QS_FIT_SHAPE ? "shape differs" : rel.reason,
                                   .runner_up = QS_NO_INDEX,
                                   .safe = rel.structural && fit == QS_FIT_YES});
    }
    for (size_t i = 0; i < n; i++) {
        bool next = i + 1 < n;
        if (i > 0 || (next && out[1].confidence > out[0].confidence - tie)) out[i].safe = false;
        if (i > 0 || !next) continue;
        out[0].runner_up = out[1].to;
        out[0].runner_up_confidence = out[1].confidence;
    }
    return n;
}

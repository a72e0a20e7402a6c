/* The parts of a repair, each tried on the scratch plan before it is kept. */
#include "repair/cause_impl.h"
#include "repair/diagnose_impl.h"
#include "repair/diagnose_rule.h"
#include "repair/match_impl.h"

#include <stdlib.h>
#include <string.h>

/* Has a module around the key a version in the model that tells formats apart, and none in the file? */
static bool lost_version(const qs_resolution *r, qs_str key) {
    const qs_manifest *target = qs_resolution_input(r)->target;
    for (qs_str name = key; name.n;) {
        name = qs_str_parent(name);
        uint32_t at = qs_manifest_find_module(target, name);
        if (at == QS_MODULE_NONE) continue;
        const qs_module *m = qs_manifest_module(target, at);
        if (m->version >= 2 && qs_resolution_version(r, m->name) < 0) return true;
    }
    return false;
}

/* Versions that are lost make torch look for the names and shapes of older formats: what it then reports is a
 * key that is there and wrong for it, or a name neither the model nor the file has. */
static bool looks_older(const qs_compare *c, const qs_row *row) {
    if (!qs_status_get(row->status)->problem) return false;
    bool wanted = row->m != QS_NO_INDEX, here = qs_diag_in_result(row);
    return wanted == here && lost_version(qs_compare_resolution(c), row->key);
}

static bool repair_versions(qs_doctor *x, bool match, bool *done) {
    bool lost = false;
    *done = false;
    for (uint32_t i = 0; !lost && i < qs_compare_rows(x->t.c); i++)
        lost = looks_older(x->t.c, qs_compare_row(x->t.c, i));
    qs_action a = {.kind = QS_ACT_METADATA,
                   .scope_kind = QS_SCOPE_SUBTREE,
                   .scope = {"", 0},
                   .bn_eps = __builtin_nan("")};
    return !lost || qs_diag_attempt(x, &a, 1, match, qs_diag_is_better, NULL, done);
}

bool qs_diag_repair_rows(qs_doctor *x, qs_action a, qs_diag_row_test test, bool match, bool *done) {
    QS_VEC(qs_rename_pair) keys = {0};
    bool ok = true;
    *done = false;
    for (uint32_t i = 0; ok && i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (!test(x, row)) continue;
        qs_rename_pair p = {qs_arena_str(&x->d->arena, row->key), {"", 0}};
        ok = (p.from.p && qs_push(&keys, p)) || qs_nomem(x->e);
    }
    qs_rename_pair *kept = ok && keys.n ? QS_ARENA_ARRAY(&x->d->arena, keys.n, qs_rename_pair) : NULL;
    if (kept) {
        memcpy(kept, keys.v, keys.n * sizeof *kept);
        a.scope_kind = QS_SCOPE_KEYS;
        a.pairs = kept;
        a.pair_count = keys.n;
        a.bn_eps = __builtin_nan("");
        ok = qs_diag_attempt(x, &a, 1, match, qs_diag_is_better, NULL, done);
    } else if (ok && keys.n) {
        ok = qs_nomem(x->e);
    }
    qs_vec_free(&keys);
    return ok;
}

/* The tensor of A or B in a row that has a problem, and what the model wants of it. */
static const qs_tensor *misfit(const qs_doctor *x, const qs_row *row, const qs_expected **want) {
    const qs_resolution *r = qs_compare_resolution(x->t.c);
    if (!qs_diag_in_result(row) || row->m == QS_NO_INDEX || !qs_status_get(row->status)->problem) return NULL;
    *want = qs_manifest_entry(qs_resolution_input(r)->target, row->m);
    return qs_resolved_tensor(r, qs_resolution_entry(r, row->r), NULL);
}

static bool is_reshapable(const qs_doctor *x, const qs_row *row) {
    const qs_expected *want;
    const qs_tensor *t = misfit(x, row, &want);
    if (!t || t->bad || t->kind != QS_TENSOR_DENSE || row->status != QS_STATUS_SHAPE || !want->shape_known)
        return false;
    return qs_shape_same_without_ones(t->shape, want->shape) ||
           (qs_match_is_quant(row) && qs_shape_numel(t->shape) == 1);
}

static bool is_dequantizable(const qs_doctor *x, const qs_row *row) {
    const qs_expected *want;
    const qs_tensor *t = misfit(x, row, &want);
    return t && !t->bad && t->kind == QS_TENSOR_QUANTIZED && qs_dtype_is_float(want->dtype) &&
           qs_shape_eq(t->shape, want->shape);
}

static bool repair_values(qs_doctor *x) {
    bool done;
    return qs_diag_repair_rows(x, (qs_action){.kind = QS_ACT_RESHAPE}, is_reshapable, false, &done) &&
           qs_diag_repair_rows(x, (qs_action){.kind = QS_ACT_CAST}, is_dequantizable, false, &done);
}

static bool is_profilers(const qs_doctor *x, const qs_row *row) {
    (void)x;
    return qs_match_is_spare(row) && qs_cause_of_key(row->key, true) == QS_CAUSE_PROFILER;
}

/* Before names: a profiler run on several models around each other leaves keys that get into one another's
 * way. */
static bool repair_profiled(qs_doctor *x) {
    bool done;
    return qs_diag_repair_rows(x, (qs_action){.kind = QS_ACT_DROP}, is_profilers, true, &done);
}

/* The prefix of every key, as one rule, if it touches no key that is where it should be. */
static bool repair_prefix(qs_doctor *x, bool *done) {
    qs_str strip, add;
    *done = false;
    if (x->by_names || !qs_matches_prefix(x->t.m, &strip, &add)) return true;
    for (uint32_t i = 0; i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (qs_diag_in_result(row) && row->m != QS_NO_INDEX && qs_str_starts(row->key, strip)) return true;
    }
    qs_action a = {.kind = QS_ACT_RULE,
                   .pattern_kind = QS_PATTERN_PREFIX,
                   .pattern = qs_arena_str(&x->d->arena, strip),
                   .replacement = qs_arena_str(&x->d->arena, add),
                   .bn_eps = __builtin_nan("")};
    if (!a.pattern.p || !a.replacement.p) return qs_nomem(x->e);
    return qs_diag_attempt(x, &a, 1, true, NULL, NULL, done);
}

static bool pairs_of(qs_doctor *x, bool safe, qs_rename_pair **out, size_t *n) {
    size_t count = qs_matches_count(x->t.m);
    *n = 0;
    *out = QS_ARENA_ARRAY(&x->d->arena, count, qs_rename_pair);
    if (!*out) return qs_nomem(x->e);
    for (size_t i = 0; i < count; i++) {
        const qs_suggestion *s = qs_matches_get(x->t.m, i);
        if (s->safe != safe) continue;
        /* Keys of a trial's own resolution do not outlive it. */
        qs_rename_pair p = {qs_arena_str(&x->d->arena, qs_compare_row(x->t.c, s->from)->key),
                            qs_arena_str(&x->d->arena, qs_compare_row(x->t.c, s->to)->key)};
        if (!p.from.p || !p.to.p) return qs_nomem(x->e);
        (*out)[(*n)++] = p;
    }
    return true;
}

/* Where each pair's entry is among A's. */
static uint32_t *origins_of(qs_doctor *x, const qs_rename_pair *pairs, size_t n) {
    const qs_resolution *r = qs_compare_resolution(x->t.c);
    uint32_t *at = QS_ARENA_ARRAY(&x->d->arena, n, uint32_t);
    for (size_t i = 0; at && i < n; i++) {
        uint32_t k = qs_resolution_find(r, pairs[i].from);
        at[i] = k == QS_NO_INDEX ? k : qs_resolution_entry(r, k)->a;
    }
    return at;
}

typedef struct family_want {
    const qs_rename_pair *pairs;
    size_t n;
    const uint32_t *origins;
    size_t actions;
} family_want;

/* Rules one after the other: did they come to what the pairs say, and to no more? */
static bool came_to_pairs(const qs_doctor *x, const qs_diag_trial *n, const void *ctx) {
    const family_want *w = ctx;
    size_t last = qs_plan_count(n->plan), touched = 0;
    (void)x;
    for (size_t i = last - w->actions; i < last; i++) touched += qs_resolution_touched(n->r, i);
    for (size_t i = 0; i < w->n && touched == w->n; i++) {
        uint32_t k = qs_resolution_find(n->r, w->pairs[i].to);
        if (k == QS_NO_INDEX || qs_resolution_entry(n->r, k)->a != w->origins[i]) return false;
    }
    return touched == w->n;
}

static bool rename_by_family(qs_doctor *x, const qs_rename_pair *pairs, size_t n, bool *done) {
    qs_action *list = NULL;
    size_t count;
    *done = false;
    if (!qs_rules_for_families(qs_compare_resolution(x->t.c), pairs, n, &x->d->arena, &list, &count, x->e))
        return false;
    if (count == 0) return true;
    family_want want = {pairs, n, origins_of(x, pairs, n), count};
    if (!want.origins) return qs_nomem(x->e);
    return qs_diag_attempt(x, list, count, true, came_to_pairs, &want, done);
}

/* As one rule, if one says the same, or a rule a family; else as they are. */
static bool rename_pairs(qs_doctor *x, const qs_rename_pair *pairs, size_t n, bool *done) {
    qs_action a;
    bool found = false;
    if (!qs_rule_for_pairs(qs_compare_resolution(x->t.c), pairs, n, &x->d->arena, &a, &found, x->e))
        return false;
    if (found) return qs_diag_attempt(x, &a, 1, true, NULL, NULL, done);
    if (!rename_by_family(x, pairs, n, done)) return false;
    if (*done) return true;
    a = (qs_action){.kind = QS_ACT_RENAME, .pairs = pairs, .pair_count = n, .bn_eps = __builtin_nan("")};
    return qs_diag_attempt(x, &a, 1, true, NULL, NULL, done);
}

/* Before names: a block that is numbered otherwise may have the name of another one. */
static bool repair_numbers(qs_doctor *x, bool *done) {
    qs_rename_pair *pairs = NULL;
    size_t n = 0;
    *done = false;
    if (!qs_match_renumber(x->t.c, &x->d->arena, &pairs, &n, x->e)) return false;
    return n == 0 || rename_pairs(x, pairs, n, done);
}

static bool repair_names(qs_doctor *x, bool *done) {
    qs_rename_pair *pairs;
    size_t n;
    *done = false;
    if (!pairs_of(x, true, &pairs, &n)) return false;
    return n == 0 || rename_pairs(x, pairs, n, done);
}

/* What is likely, once nothing is sure any more: only if a person said so. */
static bool repair_guesses(qs_doctor *x) {
    qs_rename_pair *pairs;
    size_t n;
    bool done = false;
    if (!pairs_of(x, false, &pairs, &n)) return false;
    if (n && x->opt->guess && !rename_pairs(x, pairs, n, &done)) return false;
    *(done ? &x->d->pub.guesses : &x->d->pub.likely) = (uint32_t)n;
    return true;
}

enum { ROUNDS = 10 };

/* A repair can bring the next one to light (a prefix hides float -> QAT), so renames are looked for in
 * rounds. */
bool qs_diag_treat(qs_doctor *x, const qs_diag_facts *f) {
    bool done, versions;
    if (!repair_versions(x, true, &versions) || !repair_profiled(x) || !repair_prefix(x, &done)) return false;
    done = true;
    for (int round = 0; round < ROUNDS && done; round++) {
        if (!repair_numbers(x, &done)) return false;
        if (done) continue; /* lists in these lists may be numbered otherwise, too */
        if (!repair_names(x, &done)) return false;
    }
    qs_str one, other;
    if (qs_matches_copies(x->t.m, &one, &other)) return true; /* half of either copy is none */
    if (!repair_guesses(x)) return false;
    if (!versions && !repair_versions(x, false, &versions)) return false;
    if (!repair_values(x)) return false;
    x->to_float = f->quant_here > 0 && f->quant_wanted == 0;
    return qs_diag_repair_drop(x) && qs_diag_repair_init(x) && qs_diag_repair_left_over(x);
}

/* The parts of a repair, each tried on the scratch plan before it is kept. */
#include "base/map.h"
#include "repair/cause_impl.h"
#include "repair/diagnose_impl.h"
#include "repair/diagnose_rule.h"
#include "repair/match_impl.h"

#include <stdio.h>
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

typedef bool (*row_test)(const qs_doctor *x, const qs_row *row);

/* The action on all rows that pass the test, if there are any and it helps. */
static bool repair_rows(qs_doctor *x, qs_action a, row_test test, bool match, bool *done) {
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
    return repair_rows(x, (qs_action){.kind = QS_ACT_RESHAPE}, is_reshapable, false, &done) &&
           repair_rows(x, (qs_action){.kind = QS_ACT_CAST}, is_dequantizable, false, &done);
}

static bool is_profilers(const qs_doctor *x, const qs_row *row) {
    (void)x;
    return qs_match_is_spare(row) && qs_cause_of_key(row->key, true) == QS_CAUSE_PROFILER;
}

/* Before names: a profiler run on several models around each other leaves keys that get into one another's
 * way. */
static bool repair_profiled(qs_doctor *x) {
    bool done;
    return repair_rows(x, (qs_action){.kind = QS_ACT_DROP}, is_profilers, true, &done);
}

/* The prefix of every key, as one rule, if it touches no key that is where it should be. */
static bool repair_prefix(qs_doctor *x, bool *done) {
    qs_str strip, add;
    *done = false;
    if (!qs_matches_prefix(x->t.m, &strip, &add)) return true;
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

/* The row of a BatchNorm's running_mean, for its counter's key; NULL for other keys. */
static const qs_row *mean_of_counter(const qs_compare *c, qs_str key) {
    char name[1024];
    if (!qs_str_is(qs_str_leaf(key), "num_batches_tracked")) return NULL;
    int n = snprintf(name, sizeof name, "%.*s.running_mean", QS_FMT(qs_str_parent(key)));
    if (n < 0 || (size_t)n >= sizeof name) return NULL;
    uint32_t row = qs_compare_find(c, (qs_str){name, (size_t)n});
    return row == QS_NO_INDEX ? NULL : qs_compare_row(c, row);
}

/* A counter whose BatchNorm has found no place may find one with it. */
static bool is_needless_counter(const qs_doctor *x, qs_str key) {
    const qs_row *mean = mean_of_counter(x->t.c, key);
    return !mean || !qs_match_is_spare(mean);
}

/* What is no part of the model whatever the model is, by its name. */
static bool is_baggage(const qs_doctor *x, qs_str key) {
    switch (qs_cause_of_key(key, true)) {
    case QS_CAUSE_LOSS:
    case QS_CAUSE_EXTRA_STATE:
    case QS_CAUSE_FX_CONSTANT: return true;
    case QS_CAUSE_BN_COUNTER: return is_needless_counter(x, key);
    default: return false;
    }
}

/* Copies of what is there already, or quantizers nobody asks for, by their names. */
static bool is_surplus(qs_str key) {
    qs_cause_id id = qs_cause_of_key(key, true);
    return id == QS_CAUSE_EMA_PREFIX || id == QS_CAUSE_UNDERSCORES || id == QS_CAUSE_CUSTOM_QUANT;
}

static qs_diag_gaps find_gaps(const qs_compare *c) {
    qs_diag_gaps g = {0};
    for (uint32_t i = 0; i < qs_compare_rows(c); i++) {
        const qs_row *row = qs_compare_row(c, i);
        g.wanted += row->m != QS_NO_INDEX;
        if (!qs_match_is_gap(row)) continue;
        g.quant |= qs_match_is_quant(row);
        g.missing++;
    }
    return g;
}

/* A key that may yet belong somewhere stays: where the model lacks something, names alone decide. */
static bool is_droppable(const qs_doctor *x, const qs_row *row) {
    const qs_diag_gaps *g = &x->gaps;
    if (!qs_match_is_spare(row)) return false;
    if (is_baggage(x, row->key) || (!g->missing && is_surplus(row->key))) return true;
    /* A packed payload is the weight itself. */
    return (x->to_float || !g->quant) && qs_match_is_quant(row) && row->role != QS_ROLE_PACKED;
}

static bool repair_drop(qs_doctor *x) {
    bool done;
    x->gaps = find_gaps(x->t.c);
    if (x->gaps.missing == x->gaps.wanted) return true; /* another model: dropping helps nobody */
    return repair_rows(x, (qs_action){.kind = QS_ACT_DROP}, is_droppable, false, &done);
}

static qs_str first_part(qs_str key) {
    size_t n = 0;
    while (n < key.n && key.p[n] != '.') n++;
    return qs_str_sub(key, 0, n);
}

/* The prefixes under which the file has the whole model once more, as far as "name" is one of its keys. */
static bool find_copies(qs_doctor *x) {
    qs_map hits = {0};
    bool ok = true;
    for (uint32_t i = 0; ok && i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (!qs_match_is_spare(row)) continue;
        for (size_t at = 1; ok && at < row->key.n; at++) {
            if (row->key.p[at - 1] != '.') continue;
            uint32_t twin = qs_compare_find(x->t.c, qs_str_sub(row->key, at, row->key.n));
            if (twin == QS_NO_INDEX || qs_compare_row(x->t.c, twin)->m == QS_NO_INDEX) continue;
            qs_str prefix = qs_str_sub(row->key, 0, at);
            uint32_t n = qs_map_get(&hits, prefix);
            n = n == QS_MAP_NONE ? 1 : n + 1;
            ok = qs_map_put(&hits, prefix, n);
            if (ok && n * 10 >= x->gaps.wanted * 9) ok = qs_map_put(&x->copied, prefix, n);
        }
    }
    qs_map_free(&hits);
    return ok || qs_nomem(x->e);
}

static bool is_of_copy(const qs_doctor *x, qs_str key) {
    for (size_t at = 1; at < key.n; at++)
        if (key.p[at - 1] == '.' && qs_map_get(&x->copied, qs_str_sub(key, 0, at)) != QS_MAP_NONE)
            return true;
    return false;
}

/* The model has all it wants, and nothing by the name of the outermost module: a second network, a metric, an
 * auxiliary head. Below a module the model has, a key that is left says that the model is another one. */
static bool is_left_over(const qs_doctor *x, const qs_row *row) {
    if (!qs_match_is_spare(row)) return false;
    return is_droppable(x, row) || is_of_copy(x, row->key) ||
           qs_map_get(&x->tops, first_part(row->key)) == QS_MAP_NONE;
}

static bool repair_left_over(qs_doctor *x) {
    bool done, ok = true;
    x->gaps = find_gaps(x->t.c);
    if (x->gaps.missing) return true;
    for (uint32_t i = 0; ok && i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        ok = row->m == QS_NO_INDEX || qs_map_put(&x->tops, first_part(row->key), i) || qs_nomem(x->e);
    }
    ok = ok && find_copies(x) && repair_rows(x, (qs_action){.kind = QS_ACT_DROP}, is_left_over, false, &done);
    qs_map_free(&x->tops);
    qs_map_free(&x->copied);
    return ok;
}

/* What may be made without asking: quantizer state, which the first batches find anew, and the counter of a
 * BatchNorm that is there. An identity BatchNorm in the place of a trained one would load, and be wrong. */
static bool may_init(const qs_compare *c, const qs_row *row) {
    if (qs_match_is_quant(row)) return true;
    const qs_row *mean = mean_of_counter(c, row->key);
    return mean && !qs_match_is_gap(mean);
}

/* Families that name a quantizer's tensors alike count as one. */
static uint64_t family_bit(const qs_row *row) {
    qs_family f = row->family == QS_FAMILY_SPARSEML ? QS_FAMILY_TORCH : row->family;
    return qs_match_is_quant(row) ? UINT64_C(1) << f : 0;
}

/* The module whose tensor a quantizer is for, as far as the key tells: wrappers around it left out. */
static qs_str owner_of(const qs_row *row) {
    qs_str owner = qs_str_parent(qs_str_sub(row->key, 0, row->block_len));
    while (qs_str_is(qs_str_leaf(owner), "module") || qs_str_is(qs_str_leaf(owner), "quant"))
        owner = qs_str_parent(owner);
    return owner;
}

static bool is_in_model(const qs_compare *c, qs_str module) {
    uint32_t node = qs_compare_find_module(c, module);
    return node != QS_NO_INDEX && qs_compare_node(c, node)->count_m > 0;
}

/* Of a model traced by FX, quantizers of activations are numbered, at the top: activation_post_process_3. */
static bool is_traced(const qs_row *row) {
    qs_str block = qs_str_leaf(qs_str_sub(row->key, 0, row->block_len));
    size_t n = block.n;
    while (n > 0 && block.p[n - 1] >= '0' && block.p[n - 1] <= '9') n--;
    return n < block.n && qs_str_ends(qs_str_sub(block, 0, n), QS_STR("activation_post_process_"));
}

/* Values that are in the file under names nobody could place, by the ends of their names: "min_val", and
 * "val" of it, for names with "_" for dots. */
typedef struct leftovers {
    qs_map ends;
    /* Of quantizers: what they are for goes before it. Names by FX and others never correspond, nor those of
     * weights and of activations. */
    qs_map of_quant;
    bool by_owner; /* weights are all in place, so owners that the model has tell whose the quantizers are */
    qs_buf name;
    qs_arena arena;
} leftovers;

static qs_str quant_name(leftovers *l, const qs_row *row, bool owner) {
    l->name.n = 0;
    qs_buf_addc(&l->name, is_traced(row) ? 't' : row->role_is_weight ? 'w' : 'a');
    if (owner) qs_buf_add(&l->name, owner_of(row));
    qs_buf_addc(&l->name, owner ? '\n' : '\t');
    qs_buf_add(&l->name, qs_str_leaf(row->key));
    return l->name.failed ? (qs_str){NULL, 0} : qs_buf_str(&l->name);
}

static bool add_leftover(leftovers *l, const qs_compare *c, const qs_row *row) {
    qs_str leaf = qs_str_leaf(row->key);
    if (qs_match_is_quant(row) && row->block_len) {
        bool owner = l->by_owner && !is_traced(row) && is_in_model(c, owner_of(row));
        qs_str name = quant_name(l, row, owner), kept = name.p ? qs_arena_str(&l->arena, name) : name;
        return kept.p && qs_map_put(&l->of_quant, kept, 0);
    }
    for (size_t at = 0; at < leaf.n; at++)
        if ((at == 0 || leaf.p[at - 1] == '_') && !qs_map_put(&l->ends, qs_str_sub(leaf, at, leaf.n), 0))
            return false;
    return true;
}

/* What another family left is none of the model's quantizers. */
static bool find_leftovers(leftovers *l, const qs_compare *c) {
    uint64_t wanted = 0;
    l->by_owner = true;
    for (uint32_t i = 0; i < qs_compare_rows(c); i++) {
        const qs_row *row = qs_compare_row(c, i);
        if (row->m != QS_NO_INDEX) wanted |= family_bit(row);
        l->by_owner &=
            !qs_match_is_gap(row) || qs_match_is_quant(row) || !qs_status_get(row->status)->problem;
    }
    for (uint32_t i = 0; i < qs_compare_rows(c); i++) {
        const qs_row *row = qs_compare_row(c, i);
        if (!qs_match_is_spare(row) || (qs_match_is_quant(row) && !(family_bit(row) & wanted))) continue;
        if (!add_leftover(l, c, row)) return false;
    }
    return true;
}

/* May a value that nobody could place be the one that is missing here? */
static bool is_elsewhere(leftovers *l, const qs_row *row) {
    if (qs_map_get(&l->ends, qs_str_leaf(row->key)) != QS_MAP_NONE) return true;
    if (!row->block_len) return false;
    for (int owner = 0; owner < 2; owner++) {
        qs_str name = quant_name(l, row, owner == 1);
        if (!name.p || qs_map_get(&l->of_quant, name) != QS_MAP_NONE) return true;
    }
    return false;
}

static void leftovers_free(leftovers *l) {
    qs_map_free(&l->ends);
    qs_map_free(&l->of_quant);
    qs_buf_free(&l->name);
    qs_arena_free(&l->arena);
}

typedef struct init_need {
    leftovers left;
    QS_VEC(qs_rename_pair) keys; /* that may be made, and can */
    bool missing;                /* one of them stops a strict load */
    bool others;                 /* "everything" would make more than these */
} init_need;

static bool find_needs(qs_doctor *x, init_need *need) {
    const qs_resolution *r = qs_compare_resolution(x->t.c);
    qs_init_context ctx;
    qs_resolution_init_context(r, x->opt->bn_eps, &ctx);
    if (!find_leftovers(&need->left, x->t.c)) return qs_nomem(x->e);
    for (uint32_t i = 0; i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (!qs_match_is_gap(row)) continue;
        const qs_expected *want = qs_manifest_entry(ctx.target, row->m);
        if (!qs_init_possible(&ctx, want, NULL)) continue;
        if (is_elsewhere(&need->left, row) || !may_init(x->t.c, row)) {
            need->others = true;
            continue;
        }
        need->missing |= row->status == QS_STATUS_MISSING;
        if (!qs_push(&need->keys, (qs_rename_pair){want->key, {"", 0}})) return qs_nomem(x->e);
    }
    return true;
}

static bool repair_init(qs_doctor *x, bool *done) {
    init_need need = {0};
    bool ok = find_needs(x, &need);
    *done = false;
    qs_action a = {.kind = QS_ACT_INIT,
                   .scope_kind = QS_SCOPE_SUBTREE,
                   .scope = {"", 0},
                   .source = x->opt->source,
                   .bn_eps = x->opt->bn_eps};
    if (ok && need.missing && need.others) {
        qs_rename_pair *kept = QS_ARENA_ARRAY(&x->d->arena, need.keys.n, qs_rename_pair);
        ok = kept || qs_nomem(x->e);
        if (ok) memcpy(kept, need.keys.v, need.keys.n * sizeof *kept);
        a.scope_kind = QS_SCOPE_KEYS;
        a.pairs = kept;
        a.pair_count = need.keys.n;
    }
    if (ok && need.missing) ok = qs_diag_attempt(x, &a, 1, false, NULL, NULL, done);
    qs_vec_free(&need.keys);
    leftovers_free(&need.left);
    return ok;
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
    return repair_drop(x) && repair_init(x, &done) && repair_left_over(x);
}

/* What a repair makes: the state of quantizers that the file has under no name. */
#include "repair/diagnose_impl.h"
#include "repair/match_impl.h"

#include <stdlib.h>
#include <string.h>

/* What may be made without asking: quantizer state, which the first batches find anew, and the counter of a
 * BatchNorm that is there. An identity BatchNorm in the place of a trained one would load, and be wrong. */
static bool may_init(const qs_compare *c, const qs_row *row) {
    if (qs_match_is_quant(row)) return true;
    const qs_row *mean = qs_diag_mean_of_counter(c, row->key);
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

bool qs_diag_repair_init(qs_doctor *x) {
    init_need need = {0};
    bool ok = find_needs(x, &need);
    bool done;
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
    if (ok && need.missing) ok = qs_diag_attempt(x, &a, 1, false, NULL, NULL, &done);
    qs_vec_free(&need.keys);
    leftovers_free(&need.left);
    return ok;
}

/* Candidates by what frameworks do to names. The target decides: a rule gives a name, and only if the target
 * lacks exactly that name, with that shape, is it a candidate. */
#include "repair/match_impl.h"

#include <stdlib.h>

bool qs_match_add(qs_matcher *m, uint32_t from, uint32_t to, double confidence, const char *reason,
                  bool structural, qs_err *e) {
    return qs_push(&m->found, (qs_candidate){from, to, confidence, reason, structural}) || qs_nomem(e);
}

/* ---- a BatchNorm and its conv ---- */

/* A module of the model that holds its BatchNorm (CONV.bn.*), or a BatchNorm beside its conv, under the
 * module that has both. */
typedef struct norm_place {
    qs_str norm;   /* path of the BatchNorm in the target */
    qs_str base;   /* folded: path of the conv without ".module"; plain: as norm */
    uint32_t to;   /* a gap in it */
    uint32_t next; /* of the same parent, QS_NO_INDEX at the end */
    bool folded;
} norm_place;

/* A BatchNorm of the result that needs a place. */
typedef struct norm_from {
    qs_str norm;   /* path, prefix changed */
    qs_str base;   /* as above */
    qs_str before; /* path, without ".module", of the module before it in A; "" if unknown */
    qs_str parent;
    bool folded;
} norm_from;

/* The rows of the target and of the result with one name but for wrappers: AMBIGUOUS if there are several. */
typedef struct core_rows {
    uint32_t to, own;
} core_rows;

typedef struct finder {
    qs_matcher *m;
    qs_err *e;
    QS_VEC(norm_place) places;
    qs_map by_parent; /* parent of base -> first place */
    QS_VEC(norm_from) norms;
    qs_map norm_of; /* path -> norms */
    /* By parent: how many of its BatchNorms find their conv by position. Only if all do is position trusted.
     */
    qs_map parent_ids;
    QS_VEC(uint32_t) parent_norms;
    QS_VEC(uint32_t) parent_placed;
    qs_str *key_now; /* by entry of A: its name now, prefix changed; n == 0 if dropped */
    /* Names without wrappers, found for the first key that no other rule explains. */
    qs_map core_of; /* name -> cores */
    QS_VEC(core_rows) cores;
    /* Names without dots and underscores, likewise. */
    qs_map flat_of; /* name -> flats */
    QS_VEC(core_rows) flats;
    qs_buf name;
} finder;

/* A module with more BatchNorms than BESIDE is no case for pairing each with each. */
enum { AMBIGUOUS = UINT32_MAX - 1, KEY_MAX = 1024, BESIDE = 400, STRIDE = 1 << 14 };

static qs_str strip_module(qs_str path) {
    return qs_str_is(qs_str_leaf(path), "module") ? qs_str_parent(path) : path;
}

/* CONV.bn or CONV.module.bn -> CONV. */
static bool folded_base(qs_str norm, qs_str *base) {
    if (!qs_str_is(qs_str_leaf(norm), "bn")) return false;
    *base = strip_module(qs_str_parent(norm));
    return base->n > 0;
}

/* Does the module that holds `norm` have a weight of its own? Then it is a conv, and the BatchNorm is folded.
 */
static bool target_folds(const finder *f, qs_str norm) {
    char name[KEY_MAX];
    int n = snprintf(name, sizeof name, "%.*s.weight", QS_FMT(qs_str_parent(norm)));
    if (n < 0 || (size_t)n >= sizeof name) return false;
    uint32_t row = qs_compare_find(f->m->c, (qs_str){name, (size_t)n});
    return row != QS_NO_INDEX && qs_compare_row(f->m->c, row)->m != QS_NO_INDEX;
}

static bool result_has(const finder *f, qs_str module) {
    char name[KEY_MAX];
    int n = snprintf(name, sizeof name, "%.*s.weight", QS_FMT(module));
    if (n < 0 || (size_t)n >= sizeof name) return false;
    return qs_resolution_find(qs_compare_resolution(f->m->c), (qs_str){name, (size_t)n}) != QS_NO_INDEX;
}

static bool add_place(finder *f, uint32_t row) {
    norm_place p = {.norm = qs_str_parent(qs_compare_row(f->m->c, row)->key), .to = row, .next = QS_NO_INDEX};
    p.base = p.norm;
    p.folded = folded_base(p.norm, &p.base) && target_folds(f, p.norm);
    if (!p.folded) p.base = p.norm;
    uint32_t at = (uint32_t)f->places.n, first = qs_map_add(&f->by_parent, qs_str_parent(p.base), at);
    if (first == QS_MAP_NONE || !qs_push(&f->places, p)) return qs_nomem(f->e);
    if (first == at) return true;
    f->places.v[at].next = f->places.v[first].next;
    f->places.v[first].next = at;
    return true;
}

static bool find_places(finder *f) {
    for (size_t i = 0; i < f->m->tos.n; i++) {
        uint32_t row = f->m->tos.v[i];
        if (!qs_str_is(qs_str_leaf(qs_compare_row(f->m->c, row)->key), "running_mean")) continue;
        if (!add_place(f, row)) return false;
    }
    return true;
}

static bool change_prefix(finder *f, qs_str key, qs_str *out) {
    const qs_prefix_change *x = &f->m->prefix;
    *out = key;
    if ((!x->strip.n && !x->add.n) || !qs_str_starts(key, x->strip)) return true;
    f->name.n = 0;
    qs_buf_add(&f->name, x->add);
    qs_buf_add(&f->name, qs_str_sub(key, x->strip.n, key.n));
    *out = f->name.failed ? (qs_str){NULL, 0} : qs_arena_str(&f->m->arena, qs_buf_str(&f->name));
    return out->p || qs_nomem(f->e);
}

static bool change_prefixes(finder *f) {
    for (size_t i = 0; i < f->m->froms.n; i++) {
        qs_match_from *x = &f->m->froms.v[i];
        if (!change_prefix(f, qs_compare_row(f->m->c, x->row)->key, &x->key)) return false;
    }
    return true;
}

/* Names now of A's entries, to see which module stands before a BatchNorm in A's own order; quantizers that
 * stand between them have none. */
static bool names_now(finder *f) {
    const qs_resolution *r = qs_compare_resolution(f->m->c);
    size_t n = qs_checkpoint_count(qs_resolution_input(r)->a);
    f->key_now = qs_arena_array(&f->m->arena, n, sizeof *f->key_now);
    if (!f->key_now) return qs_nomem(f->e);
    memset(f->key_now, 0, n * sizeof *f->key_now);
    for (uint32_t i = 0; i < qs_compare_rows(f->m->c); i++) {
        const qs_row *row = qs_compare_row(f->m->c, i);
        if (row->r == QS_NO_INDEX || row->mark == QS_MARK_DROPPED || qs_match_is_quant(row)) continue;
        const qs_resolved *x = qs_resolution_entry(r, row->r);
        if (x->a != QS_NO_INDEX) f->key_now[x->a] = x->key;
    }
    return true;
}

static bool module_before(finder *f, uint32_t entry, qs_str *out) {
    qs_str own = qs_str_parent(f->key_now[entry]);
    *out = (qs_str){"", 0};
    uint32_t i = entry;
    while (i > 0 && (!f->key_now[i].n || qs_str_eq(qs_str_parent(f->key_now[i]), own))) i--;
    qs_str before = qs_str_parent(f->key_now[i]);
    if (before.n == 0 || qs_str_eq(before, own)) return true;
    qs_str key;
    if (!change_prefix(f, f->key_now[i], &key)) return false;
    *out = strip_module(qs_str_parent(key));
    return true;
}

static uint32_t parent_id(finder *f, qs_str parent) {
    uint32_t at = (uint32_t)f->parent_norms.n, id = qs_map_add(&f->parent_ids, parent, at);
    if (id == at && (!qs_push(&f->parent_norms, 0) || !qs_push(&f->parent_placed, 0))) return QS_MAP_NONE;
    return id;
}

static bool is_quant_name(const finder *f, qs_str key) {
    uint32_t row = qs_compare_find(f->m->c, key);
    return row != QS_NO_INDEX && qs_match_is_quant(qs_compare_row(f->m->c, row));
}

/* Is the module the place's BatchNorm belongs to the one `x` belongs to, by position? */
static bool placed_before(const finder *f, const norm_from *x, const norm_place *p) {
    if (x->folded) { /* the conv is x's; is the place right behind it in the target? */
        const qs_row *row = qs_compare_row(f->m->c, p->to);
        const qs_resolve_input *in = qs_resolution_input(qs_compare_resolution(f->m->c));
        uint32_t i = row->m;
        while (i > 0 && (qs_str_eq(qs_str_parent(qs_manifest_entry(in->target, i)->key), p->norm) ||
                         is_quant_name(f, qs_manifest_entry(in->target, i)->key)))
            i--;
        return qs_str_eq(strip_module(qs_str_parent(qs_manifest_entry(in->target, i)->key)), x->base);
    }
    return x->before.n && qs_str_eq(x->before, p->base);
}

/* 2 by name, 1 by position, 0 only beside it. */
static int evidence(const finder *f, const norm_from *x, const norm_place *p) {
    qs_str conv = x->folded ? x->base : p->base, norm = x->folded ? p->base : x->base;
    if (qs_name_norm_of(qs_str_leaf(conv), qs_str_leaf(norm)) == 2) return 2;
    return placed_before(f, x, p) ? 1 : 0;
}

/* The places beside x, at most BESIDE of them. */
typedef struct beside {
    const finder *f;
    const norm_from *x;
    uint32_t next, left;
} beside;

static beside places_of(const finder *f, const norm_from *x) {
    return (beside){f, x, qs_map_get(&f->by_parent, x->parent), BESIDE};
}

static const norm_place *next_place(beside *b) {
    while (b->next != QS_NO_INDEX && b->left > 0) {
        const norm_place *p = &b->f->places.v[b->next];
        b->next = p->next;
        b->left--;
        if (p->folded != b->x->folded) return p;
    }
    return NULL;
}

static bool count_norm(finder *f, const norm_from *x) {
    bool placed = false, any = false;
    beside b = places_of(f, x);
    for (const norm_place *p; (p = next_place(&b)); any = true) placed |= evidence(f, x, p) > 0;
    if (!any) return true;
    uint32_t id = parent_id(f, x->parent);
    if (id == QS_MAP_NONE) return qs_nomem(f->e);
    f->parent_norms.v[id]++;
    f->parent_placed.v[id] += placed;
    return true;
}

static bool add_norm(finder *f, const qs_match_from *from) {
    const qs_resolved *r =
        qs_resolution_entry(qs_compare_resolution(f->m->c), qs_compare_row(f->m->c, from->row)->r);
    norm_from x = {.norm = qs_str_parent(from->key), .before = {"", 0}};
    qs_str was = qs_str_parent(qs_compare_row(f->m->c, from->row)->key), holder;
    x.folded = folded_base(was, &holder) && (result_has(f, qs_str_parent(was)) || result_has(f, holder)) &&
               folded_base(x.norm, &x.base);
    if (!x.folded) x.base = x.norm;
    x.parent = qs_str_parent(x.base);
    if (r->a != QS_NO_INDEX && !module_before(f, r->a, &x.before)) return false;
    if (!qs_map_put(&f->norm_of, x.norm, (uint32_t)f->norms.n) || !qs_push(&f->norms, x))
        return qs_nomem(f->e);
    return count_norm(f, &x);
}

static bool find_norms(finder *f) {
    for (size_t i = 0; i < f->m->froms.n; i++) {
        const qs_match_from *x = &f->m->froms.v[i];
        if (qs_str_is(qs_str_leaf(x->key), "running_mean") && !add_norm(f, x)) return false;
    }
    return true;
}

/* ---- rules ---- */

/* A candidate if the target lacks `name` and the shapes agree. */
static bool try_name(finder *f, uint32_t from, qs_str name, double confidence, const char *reason,
                     bool structural) {
    uint32_t row = f->m->froms.v[from].row, to = qs_compare_find(f->m->c, name);
    if (to == QS_NO_INDEX || !qs_match_is_gap(qs_compare_row(f->m->c, to))) return true;
    qs_fit fit = qs_match_fit(f->m->c, row, to);
    if (fit < QS_FIT_UNKNOWN) return true;
    if (fit == QS_FIT_UNKNOWN) confidence *= 0.8;
    return qs_match_add(f->m, from, to, confidence, reason, structural, f->e);
}

static bool try_joined(finder *f, uint32_t from, qs_str head, const char *middle, qs_str tail,
                       double confidence, const char *reason) {
    f->name.n = 0;
    qs_buf_add(&f->name, head);
    if (head.n && *middle) qs_buf_addc(&f->name, '.');
    qs_buf_addz(&f->name, middle);
    if (f->name.n && tail.n) qs_buf_addc(&f->name, '.');
    qs_buf_add(&f->name, tail);
    if (f->name.failed) return qs_nomem(f->e);
    return try_name(f, from, qs_buf_str(&f->name), confidence, reason, true);
}

static bool rule_prefix(finder *f, uint32_t from) {
    qs_str key = f->m->froms.v[from].key;
    if (qs_str_eq(key, qs_compare_row(f->m->c, f->m->froms.v[from].row)->key)) return true;
    return try_name(f, from, key, f->m->prefix_sure ? 0.99 : 0.8, "same name but for a prefix on every key",
                    f->m->prefix_sure);
}

static bool rule_wrap(finder *f, uint32_t from) {
    qs_str key = f->m->froms.v[from].key, parent = qs_str_parent(key), leaf = qs_str_leaf(key);
    if (!try_joined(f, from, parent, "module", leaf, 0.97, "same place, the model wraps this layer"))
        return false;
    if (!qs_str_is(qs_str_leaf(parent), "module")) return true;
    return try_joined(f, from, qs_str_parent(parent), "", leaf, 0.97, "same place, without the wrapper");
}

static bool rule_tail(finder *f, uint32_t from) {
    qs_str key = f->m->froms.v[from].key, head;
    for (size_t i = 0; i < qs_tail_rename_count; i++) {
        const qs_tail_rename *t = &qs_tail_renames[i];
        if (!qs_name_has_tail(key, t->from, &head)) continue;
        if (!try_joined(f, from, head, "", qs_str_of(t->to), 0.96,
                        "the same tensor, renamed between versions"))
            return false;
    }
    return true;
}

static bool rule_norm(finder *f, uint32_t from) {
    qs_str key = f->m->froms.v[from].key, leaf = qs_str_leaf(key);
    if (!qs_name_is_norm_field(leaf)) return true;
    uint32_t at = qs_map_get(&f->norm_of, qs_str_parent(key));
    if (at == QS_MAP_NONE) return true;
    const norm_from *x = &f->norms.v[at];
    uint32_t id = qs_map_get(&f->parent_ids, x->parent);
    bool all_placed = id != QS_MAP_NONE && f->parent_norms.v[id] == f->parent_placed.v[id];
    bool by_name = false;
    beside b = places_of(f, x);
    for (const norm_place *p; (p = next_place(&b));) by_name |= evidence(f, x, p) == 2;
    b = places_of(f, x);
    const char *reason =
        x->folded ? "BatchNorm beside its conv in the model" : "BatchNorm held by its conv in the model";
    for (const norm_place *p; (p = next_place(&b));) {
        int ev = evidence(f, x, p);
        double confidence = ev == 2 ? 0.96 : ev == 1 && !by_name && all_placed ? 0.93 : ev == 1 ? 0.75 : 0.6;
        f->name.n = 0;
        qs_buf_addf(&f->name, "%.*s.%.*s", QS_FMT(p->norm), QS_FMT(leaf));
        if (f->name.failed) return qs_nomem(f->e);
        if (!try_name(f, from, qs_buf_str(&f->name), confidence, reason, confidence > 0.9)) return false;
    }
    return true;
}

/* The key's name without wrappers into f->name, and what is known of it, QS_MAP_NONE if nothing. */
static uint32_t core_of(finder *f, qs_str key) {
    f->name.n = 0;
    qs_name_core(key, &f->name);
    return f->name.failed ? QS_MAP_NONE : qs_map_get(&f->core_of, qs_buf_str(&f->name));
}

static bool enter_core(finder *f, qs_str key) {
    if (core_of(f, key) != QS_MAP_NONE) return true;
    qs_str core = f->name.failed ? (qs_str){NULL, 0} : qs_arena_str(&f->m->arena, qs_buf_str(&f->name));
    bool ok = core.p && qs_map_put(&f->core_of, core, (uint32_t)f->cores.n) &&
              qs_push(&f->cores, (core_rows){QS_NO_INDEX, QS_NO_INDEX});
    return ok || qs_nomem(f->e);
}

static void note_row(uint32_t *known, uint32_t row) {
    *known = *known == QS_NO_INDEX ? row : AMBIGUOUS;
}

/* Only names some key of the result could have are kept: most rows have none of them. */
static bool find_cores(finder *f) {
    if (f->cores.n) return true;
    for (size_t i = 0; i < f->m->froms.n; i++)
        if (!enter_core(f, qs_compare_row(f->m->c, f->m->froms.v[i].row)->key)) return false;
    for (uint32_t i = 0; i < qs_compare_rows(f->m->c); i++) {
        const qs_row *row = qs_compare_row(f->m->c, i);
        if (i % STRIDE == 0 && !qs_progress_step(f->m->progress, 0, 0, f->e)) return false;
        uint32_t at = core_of(f, row->key);
        if (at == QS_MAP_NONE) continue;
        if (row->m != QS_NO_INDEX) note_row(&f->cores.v[at].to, i);
        if (row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED) note_row(&f->cores.v[at].own, i);
    }
    return !f->name.failed || qs_nomem(f->e);
}

static bool rule_core(finder *f, uint32_t from) {
    uint32_t row = f->m->froms.v[from].row;
    if (!find_cores(f)) return false;
    uint32_t at = core_of(f, qs_compare_row(f->m->c, row)->key);
    if (at == QS_MAP_NONE) return qs_nomem(f->e);
    uint32_t to = f->cores.v[at].to;
    if (to == QS_NO_INDEX || to == AMBIGUOUS || f->cores.v[at].own != row) return true;
    return try_name(f, from, qs_compare_row(f->m->c, to)->key, 0.95, "same name but for wrappers", true);
}

/* ---- dots and underscores ---- */

/* The key without dots and underscores into f->name, and what is known of it. */
static uint32_t flat_of(finder *f, qs_str key) {
    f->name.n = 0;
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] != '.' && key.p[i] != '_') qs_buf_addc(&f->name, key.p[i]);
    return f->name.failed ? QS_MAP_NONE : qs_map_get(&f->flat_of, qs_buf_str(&f->name));
}

static bool enter_flat(finder *f, uint32_t from) {
    uint32_t at = flat_of(f, f->m->froms.v[from].key);
    if (at != QS_MAP_NONE) return note_row(&f->flats.v[at].own, from), true;
    qs_str flat = f->name.failed ? (qs_str){NULL, 0} : qs_arena_str(&f->m->arena, qs_buf_str(&f->name));
    bool ok = flat.p && qs_map_put(&f->flat_of, flat, (uint32_t)f->flats.n) &&
              qs_push(&f->flats, (core_rows){QS_NO_INDEX, from});
    return ok || qs_nomem(f->e);
}

static bool find_flats(finder *f) {
    if (f->flats.n) return true;
    for (uint32_t i = 0; i < f->m->froms.n; i++)
        if (!enter_flat(f, i)) return false;
    for (size_t i = 0; i < f->m->tos.n; i++) {
        uint32_t at = flat_of(f, qs_compare_row(f->m->c, f->m->tos.v[i])->key);
        if (at != QS_MAP_NONE) note_row(&f->flats.v[at].to, f->m->tos.v[i]);
    }
    return !f->name.failed || qs_nomem(f->e);
}

static bool rule_flat(finder *f, uint32_t from) {
    if (!find_flats(f)) return false;
    uint32_t at = flat_of(f, f->m->froms.v[from].key);
    if (at == QS_MAP_NONE) return qs_nomem(f->e);
    uint32_t to = f->flats.v[at].to;
    if (to == QS_NO_INDEX || to == AMBIGUOUS || f->flats.v[at].own != from) return true;
    return try_name(f, from, qs_compare_row(f->m->c, to)->key, 0.93, "same name but for dots and underscores",
                    true);
}

static bool apply_rules(finder *f) {
    for (uint32_t i = 0; i < f->m->froms.n; i++) {
        size_t before = f->m->found.n;
        if (i % STRIDE == 0 && !qs_progress_step(f->m->progress, 0, 0, f->e)) return false;
        if (!rule_prefix(f, i) || !rule_wrap(f, i) || !rule_norm(f, i) || !rule_tail(f, i)) return false;
        /* A name found already needs no second reason. */
        if (f->m->found.n == before && !rule_core(f, i)) return false;
        if (f->m->found.n == before && !rule_flat(f, i)) return false;
    }
    return true;
}

bool qs_match_collect(qs_matcher *m, qs_err *e) {
    finder f = {.m = m, .e = e};
    bool ok = change_prefixes(&f) && names_now(&f) && find_places(&f) && find_norms(&f) && apply_rules(&f);
    qs_vec_free(&f.places);
    qs_map_free(&f.by_parent);
    qs_vec_free(&f.norms);
    qs_map_free(&f.norm_of);
    qs_map_free(&f.parent_ids);
    qs_vec_free(&f.parent_norms);
    qs_vec_free(&f.parent_placed);
    qs_map_free(&f.core_of);
    qs_vec_free(&f.cores);
    qs_map_free(&f.flat_of);
    qs_vec_free(&f.flats);
    qs_buf_free(&f.name);
    return ok;
}

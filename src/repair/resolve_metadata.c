/* `_metadata` follows the keys. Where a module prefix P goes is told by the entries under it:
 * - entries directly in P decide, if they agree: model.0.bn -> model.0.conv.module.bn;
 * - else all entries below P, if they moved rigidly (P.x -> Q.x for each): a wrapper's prefix, a renamed
 * subtree;
 * - a module with no entries below it goes with the nearest module above that has some, if that moved
 * rigidly;
 * - otherwise it stays.
 * Where a prefix left and the target still has a module of that name (a wrapper around what moved), that
 * module gets the target's version. */
#include "repair/names.h"
#include "repair/pattern.h"
#include "repair/resolve_impl.h"

#include <stdlib.h>

typedef enum vote_state { VOTE_NONE, VOTE_ONE, VOTE_SPLIT } vote_state;

typedef struct vote {
    qs_str direct, tree;
    uint8_t direct_state, tree_state;
} vote;

typedef struct voting {
    QS_VEC(vote) votes;
    qs_map map; /* prefix -> vote */
} voting;

static vote *vote_of(voting *v, qs_str prefix) {
    uint32_t i = qs_map_add(&v->map, prefix, (uint32_t)v->votes.n);
    if (i == QS_MAP_NONE) return NULL;
    if (i == v->votes.n && !qs_push(&v->votes, (vote){0})) return NULL;
    return &v->votes.v[i];
}

static void cast(qs_str *choice, uint8_t *state, qs_str to) {
    if (*state == VOTE_NONE) {
        *choice = to;
        *state = VOTE_ONE;
    } else if (*state == VOTE_ONE && !qs_str_eq(*choice, to)) {
        *state = VOTE_SPLIT;
    }
}

/* P and everything above it did not move as one. Stops where that is known already. */
static bool split_upwards(voting *v, qs_str p) {
    for (;;) {
        vote *x = vote_of(v, p);
        if (!x) return false;
        if (x->tree_state == VOTE_SPLIT) return true;
        x->tree_state = VOTE_SPLIT;
        if (p.n == 0) return true;
        p = qs_str_parent(p);
    }
}

/* An entry directly in p went to q. An equal vote that is there already has been carried upwards before. */
static bool cast_entry(voting *v, qs_str p, qs_str q) {
    vote *x = vote_of(v, p);
    if (!x) return false;
    cast(&x->direct, &x->direct_state, q);
    for (;;) {
        if (x->tree_state == VOTE_ONE && qs_str_eq(x->tree, q)) return true;
        if (x->tree_state != VOTE_NONE) return split_upwards(v, p);
        cast(&x->tree, &x->tree_state, q);
        if (p.n == 0) return true;
        bool rigid = q.n > 0 && qs_str_eq(qs_str_leaf(p), qs_str_leaf(q));
        p = qs_str_parent(p);
        if (!rigid) return split_upwards(v, p);
        q = qs_str_parent(q);
        if (!(x = vote_of(v, p))) return false;
    }
}

static bool collect_votes(const qs_resolution *r, voting *v) {
    for (size_t i = 0; i < r->work.n; i++) {
        const qs_work *w = &r->work.v[i];
        if (w->state != QS_WORK_LIVE || w->x.a == QS_NO_INDEX) continue;
        qs_str was = qs_checkpoint_entry(r->in.a, w->x.a)->key;
        if (!cast_entry(v, qs_str_parent(was), qs_str_parent(w->x.key))) return false;
    }
    return true;
}

static const vote *known_vote(const voting *v, qs_str p) {
    uint32_t i = qs_map_get(&v->map, p);
    return i == QS_MAP_NONE ? NULL : &v->votes.v[i];
}

static bool join(qs_arena *arena, qs_str head, qs_str tail, qs_str *out) {
    if (head.n && tail.n) {
        char *p = qs_arena_alloc(arena, head.n + tail.n + 1);
        if (!p) return false;
        memcpy(p, head.p, head.n);
        p[head.n] = '.';
        memcpy(p + head.n + 1, tail.p, tail.n);
        *out = (qs_str){p, head.n + 1 + tail.n};
    } else {
        *out = head.n ? head : tail;
    }
    return true;
}

/* Where a module with no entries below it goes: with the nearest one above that has some. */
static bool follow_parent(const voting *v, qs_str p, qs_arena *arena, qs_str *to) {
    *to = p;
    for (qs_str up = p; up.n > 0;) {
        up = qs_str_parent(up);
        const vote *x = known_vote(v, up);
        if (!x) continue;
        if (x->tree_state != VOTE_ONE) return true;
        return join(arena, x->tree, qs_str_sub(p, up.n ? up.n + 1 : 0, p.n), to);
    }
    return true;
}

static bool decide(const voting *v, qs_str p, qs_arena *arena, qs_str *to, uint8_t *strength) {
    const vote *x = known_vote(v, p);
    *to = p;
    *strength = 0;
    if (!x) {
        if (!follow_parent(v, p, arena, to)) return false;
    } else if (x->direct_state == VOTE_ONE) {
        *to = x->direct;
        *strength = 2;
        return true;
    } else if (x->direct_state == VOTE_NONE && x->tree_state == VOTE_ONE) {
        *to = x->tree;
    }
    if (!qs_str_eq(*to, p)) *strength = 1;
    return true;
}

static bool add_item(qs_resolution *r, qs_meta_item item) {
    uint32_t i = qs_map_add(&r->meta_map, item.prefix, (uint32_t)r->meta.n);
    if (i == QS_MAP_NONE) return false;
    if (i == r->meta.n) return qs_push(&r->meta, item);
    if (item.strength > r->meta.v[i].strength) {
        item.prefix = r->meta.v[i].prefix;
        r->meta.v[i] = item;
    }
    return true;
}

/* A's dicts by prefix: index of the pair in the metadata node. */
static bool map_nodes(const qs_checkpoint *a, qs_map *nodes) {
    const qs_graph *g = qs_checkpoint_graph(a);
    qs_node dict = qs_checkpoint_metadata_node(a);
    size_t n = dict ? qs_node_pairs(g, dict) : 0;
    for (size_t i = 0; i < n && i < UINT32_MAX; i++) {
        qs_node key = qs_node_key(g, dict, i);
        bool text = qs_node_kind_of(g, key) == QS_NODE_STR || qs_node_is_str8(g, key);
        if (text && !qs_map_put(nodes, qs_node_str(g, key), (uint32_t)i)) return false;
    }
    return true;
}

static bool move_items(qs_resolution *r, const voting *v, const qs_map *nodes) {
    const qs_checkpoint *a = r->in.a;
    const qs_graph *g = qs_checkpoint_graph(a);
    uint32_t n = qs_checkpoint_metadata_count(a);
    for (uint32_t i = 0; i < n; i++) {
        qs_str p = qs_checkpoint_metadata_prefix(a, i);
        uint32_t pair = qs_map_get(nodes, p);
        qs_meta_item item = {.prefix = p, .version = qs_checkpoint_version(a, p)};
        if (pair != QS_MAP_NONE) item.node = qs_node_value(g, qs_checkpoint_metadata_node(a), pair);
        if (!decide(v, p, &r->arena, &item.prefix, &item.strength) || !add_item(r, item)) return false;
    }
    return true;
}

/* The version the result's module `prefix` shall have. */
static bool set_version(qs_resolution *r, qs_str prefix, int64_t version) {
    uint32_t i = qs_map_get(&r->meta_map, prefix);
    if (i == QS_MAP_NONE)
        return add_item(r, (qs_meta_item){.prefix = prefix, .version = version, .changed = true});
    qs_meta_item *item = &r->meta.v[i];
    item->changed |= item->version != version;
    item->version = version;
    return true;
}

/* The target's module of a prefix that moved away: what is there now is the target's. */
static bool refill_left(qs_resolution *r) {
    const qs_manifest *target = r->in.target;
    if (!target) return true;
    for (uint32_t i = 0; i < qs_checkpoint_metadata_count(r->in.a); i++) {
        qs_str p = qs_checkpoint_metadata_prefix(r->in.a, i);
        if (qs_map_get(&r->meta_map, p) != QS_MAP_NONE) continue;
        uint32_t m = qs_manifest_find_module(target, p);
        int64_t version = m == QS_MODULE_NONE ? -1 : qs_manifest_module(target, m)->version;
        if (version >= 0 && !set_version(r, p, version)) return false;
    }
    return true;
}

/* The version of the module a made or renamed entry is in, -1 if nobody knows. Entries copied from B have B's
 * format. */
static int64_t version_for(const qs_resolution *r, const qs_resolved *x, qs_str *prefix) {
    *prefix = qs_str_parent(x->key);
    if (x->mark == QS_MARK_COPIED) {
        int64_t version = qs_checkpoint_version(r->in.b, *prefix);
        if (version >= 0) return version;
    }
    uint32_t i = r->in.target ? qs_manifest_find(r->in.target, x->key) : UINT32_MAX;
    if (i == UINT32_MAX) return -1;
    const qs_module *m = qs_manifest_module(r->in.target, qs_manifest_entry(r->in.target, i)->module);
    if (!m) return -1;
    *prefix = m->name;
    return m->version;
}

static bool touched(const qs_work *w) {
    return w->state == QS_WORK_LIVE && w->x.mark != QS_MARK_NONE && w->x.mark != QS_MARK_DROPPED;
}

/* With no metadata at all the versions of the touched modules are worth writing if one is not the first. */
static bool versions_matter(const qs_resolution *r) {
    qs_str prefix;
    for (size_t i = 0; i < r->work.n; i++)
        if (touched(&r->work.v[i]) && version_for(r, &r->work.v[i].x, &prefix) >= 2) return true;
    return false;
}

static bool version_touched(qs_resolution *r) {
    for (size_t i = 0; i < r->work.n; i++) {
        qs_str prefix;
        if (!touched(&r->work.v[i])) continue;
        int64_t version = version_for(r, &r->work.v[i].x, &prefix);
        if (version >= 0 && !set_version(r, prefix, version)) return false;
    }
    return true;
}

/* Modules with an entry of their own that the target does not know: still in an older format. */
static bool find_old(const qs_resolution *r, qs_map *old) {
    uint32_t next = 0;
    for (size_t i = 0; i < r->work.n; i++) {
        const qs_work *w = &r->work.v[i];
        if (w->state != QS_WORK_LIVE || qs_manifest_find_next(r->in.target, w->x.key, &next) != UINT32_MAX)
            continue;
        if (!qs_map_put(old, qs_str_parent(w->x.key), 0)) return false;
    }
    return true;
}

/* A class's version speaks of its children too: a ConvBn* of version 2 has a bn where version 1 had gamma and
 * beta of its own. So the module that holds a touched one gets the target's version, unless entries of the
 * old format are still there. */
static bool version_holders(qs_resolution *r) {
    qs_map old = {0};
    const qs_module *last = NULL;
    uint32_t next = 0;
    bool ok = !r->in.target || find_old(r, &old);
    for (size_t i = 0; ok && r->in.target && i < r->work.n; i++) {
        const qs_work *w = &r->work.v[i];
        uint32_t at = touched(w) ? qs_manifest_find_next(r->in.target, w->x.key, &next) : UINT32_MAX;
        if (at == UINT32_MAX) continue;
        const qs_module *m = qs_manifest_module(r->in.target, qs_manifest_entry(r->in.target, at)->module);
        if (m == last || m->parent == QS_MODULE_NONE) continue;
        last = m;
        const qs_module *holder = qs_manifest_module(r->in.target, m->parent);
        if (holder->version < 2 || holder->version <= qs_resolution_version(r, holder->name)) continue;
        if (qs_map_get(&old, holder->name) == QS_MAP_NONE) ok = set_version(r, holder->name, holder->version);
    }
    qs_map_free(&old);
    return ok;
}

static bool move_all(qs_resolution *r) {
    voting v = {0};
    qs_map nodes = {0};
    bool moves = r->moved.keys.n > 0; /* else nothing was renamed, and everything stays */
    bool ok = (!moves || collect_votes(r, &v)) && map_nodes(r->in.a, &nodes) && move_items(r, &v, &nodes) &&
              (!moves || refill_left(r));
    qs_vec_free(&v.votes);
    qs_map_free(&v.map);
    qs_map_free(&nodes);
    return ok;
}

/* ---- METADATA actions ---- */

typedef struct set_scope {
    const qs_action *a;
    qs_pattern *regex;
} set_scope;

static bool module_in_scope(const set_scope *s, qs_str name, bool *in, qs_err *e) {
    const qs_action *a = s->a;
    *in = false;
    if (s->regex) return qs_pattern_match(s->regex, name, in, e);
    if (a->scope_kind == QS_SCOPE_SUBTREE) *in = qs_name_below(name, a->scope) || qs_str_eq(name, a->scope);
    if (a->scope_kind == QS_SCOPE_KEY) *in = qs_str_eq(name, a->scope);
    for (size_t i = 0; a->scope_kind == QS_SCOPE_KEYS && i < a->pair_count && !*in; i++)
        *in = qs_str_eq(name, a->pairs[i].from);
    return true;
}

/* *found: the target gives a version of a module in scope. */
static bool set_versions_in(qs_resolution *r, const set_scope *s, uint32_t *touched, bool *found, qs_err *e) {
    for (uint32_t i = 0; i < qs_manifest_module_count(r->in.target); i++) {
        const qs_module *m = qs_manifest_module(r->in.target, i);
        bool in;
        if (m->version < 0) continue;
        if (!module_in_scope(s, m->name, &in, e)) return false;
        if (!in) continue;
        *found = true;
        int64_t have = qs_resolution_version(r, m->name);
        if (have == m->version || (have >= 0 && !s->a->replace)) continue;
        if (!set_version(r, m->name, m->version)) return qs_nomem(e);
        ++*touched;
    }
    return true;
}

static bool set_versions(qs_resolution *r, uint32_t action, qs_err *e) {
    set_scope s = {.a = qs_plan_action(r->in.plan, action)};
    uint32_t *touched = &r->counts[action].touched;
    bool found = false;
    if (s.a->kind != QS_ACT_METADATA || r->counts[action].off || !r->in.target) return true;
    if (s.a->scope_kind == QS_SCOPE_REGEX &&
        !qs_pattern_compile(QS_PATTERN_REGEX, s.a->scope, QS_STR(""), &s.regex, e))
        return false;
    bool ok = set_versions_in(r, &s, touched, &found, e);
    qs_pattern_free(s.regex);
    if (*touched) r->has_metadata = true;
    if (ok && r->in.lenient && !found)
        ok = qs_resolve_note(r, action, QS_STR(""), "the model gives no version of a module in its scope",
                             false, e);
    return ok;
}

static bool follow_keys(qs_resolution *r) {
    bool own = qs_checkpoint_has_metadata(r->in.a);
    r->has_metadata = own || versions_matter(r);
    if (!r->has_metadata) return true;
    return (!own || move_all(r)) && version_touched(r) && version_holders(r);
}

bool qs_resolve_metadata(qs_resolution *r, qs_err *e) {
    if (!follow_keys(r)) return qs_nomem(e);
    for (uint32_t i = 0; i < r->actions; i++)
        if (!set_versions(r, i, e)) return false;
    return true;
}

bool qs_resolution_has_metadata(const qs_resolution *r) {
    return r->has_metadata;
}
uint32_t qs_resolution_metadata_count(const qs_resolution *r) {
    return (uint32_t)r->meta.n;
}
qs_str qs_resolution_metadata_prefix(const qs_resolution *r, uint32_t i) {
    return r->meta.v[i].prefix;
}
qs_node qs_resolution_metadata_node(const qs_resolution *r, uint32_t i) {
    return r->meta.v[i].node;
}

int64_t qs_resolution_metadata_version(const qs_resolution *r, uint32_t i) {
    const qs_meta_item *item = &r->meta.v[i];
    return item->node && !item->changed ? INT64_MIN : item->version;
}

int64_t qs_resolution_version(const qs_resolution *r, qs_str prefix) {
    uint32_t i = qs_map_get(&r->meta_map, prefix);
    return i == QS_MAP_NONE ? -1 : r->meta.v[i].version;
}

#include "repair/pattern.h"
#include "repair/resolve_impl.h"

#include <stdlib.h>

/* One action being applied. */
typedef struct apply {
    qs_resolution *r;
    const qs_action *a;
    uint32_t index;
    qs_action_count *count;
    qs_err *e;
    qs_pattern *regex; /* of a REGEX scope */
    bool named;        /* the scope names its keys: what cannot be done is refused, not skipped */
} apply;

/* ---- RENAME and RULE ---- */

typedef struct move {
    uint32_t work;
    qs_str from, to;
} move;
typedef QS_VEC(move) moves;

static bool refuse(const apply *x, qs_str key, const char *why) {
    return qs_fail(x->e, QS_E_REFUSED, "action %u: %.*s: %s", x->index + 1, QS_FMT(key), why);
}

static bool add_move(const apply *x, moves *m, uint32_t work, qs_str to) {
    qs_work *w = &x->r->work.v[work];
    if (qs_str_eq(w->x.key, to)) return true;
    if (to.n == 0) return refuse(x, w->x.key, "cannot be renamed to an empty name");
    if (w->moving) return refuse(x, w->x.key, "is renamed twice in one action");
    w->moving = 1;
    return qs_push(m, (move){work, w->x.key, to}) || qs_nomem(x->e);
}

static bool collect_pairs(const apply *x, moves *m) {
    for (size_t i = 0; i < x->a->pair_count; i++) {
        const qs_rename_pair *p = &x->a->pairs[i];
        uint32_t work = qs_work_find(x->r, p->from);
        if (work == QS_NO_INDEX) return refuse(x, p->from, "cannot be renamed: there is no such key");
        qs_str to = qs_arena_str(&x->r->arena, p->to);
        if (!to.p) return qs_nomem(x->e);
        if (!add_move(x, m, work, to)) return false;
    }
    return true;
}

static bool collect_rule(const apply *x, moves *m) {
    qs_pattern *p = NULL;
    if (!qs_pattern_compile(x->a->pattern_kind, x->a->pattern, x->a->replacement, &p, x->e)) return false;
    qs_buf name = {0};
    bool ok = true;
    for (uint32_t i = 0; ok && i < x->r->work.n; i++) {
        const qs_work *w = &x->r->work.v[i];
        bool matched = false;
        if (w->state != QS_WORK_LIVE) continue;
        name.n = 0;
        ok = qs_pattern_replace(p, w->x.key, &name, &matched, x->e);
        if (!ok || !matched || qs_str_eq(w->x.key, qs_buf_str(&name))) continue;
        qs_str to = qs_arena_str(&x->r->arena, qs_buf_str(&name));
        ok = to.p ? add_move(x, m, i, to) : qs_nomem(x->e);
    }
    qs_buf_free(&name);
    qs_pattern_free(p);
    return ok;
}

static bool collision(const apply *x, const moves *m, const move *mine, uint32_t other) {
    qs_str from = x->r->work.v[other].x.key;
    for (size_t i = 0; i < m->n && x->r->work.v[other].moving; i++)
        if (m->v[i].work == other) from = m->v[i].from;
    bool moved = x->r->work.v[other].moving != 0;
    return qs_fail(x->e, QS_E_REFUSED, "action %u: %.*s -> %.*s collides with %s%.*s%s", x->index + 1,
                   QS_FMT(mine->from), QS_FMT(mine->to), moved ? "" : "the key ", QS_FMT(from),
                   moved ? ", which gets the same name" : ", which is there already");
}

static bool do_move(const apply *x, const moves *m, const move *mine) {
    qs_resolution *r = x->r;
    uint32_t other = qs_work_find(r, mine->to);
    if (other != QS_NO_INDEX && r->work.v[other].moving != 1) return collision(x, m, mine, other);
    qs_work *w = &r->work.v[mine->work];
    w->x.key = mine->to;
    w->moving = 2;
    w->x.action = x->index;
    if (w->x.mark == QS_MARK_NONE || w->x.mark == QS_MARK_RENAMED) {
        bool back = qs_str_eq(mine->to, qs_checkpoint_entry(r->in.a, w->origin)->key);
        w->x.mark = back ? QS_MARK_NONE : QS_MARK_RENAMED;
    }
    x->count->touched++;
    return qs_map_put(&r->moved, mine->to, mine->work) || qs_nomem(x->e);
}

/* Two keys may change places: an entry that is still to move does not stand in the way. But then the place
 * must be looked up under the name it will have left, so all names change before any is entered twice. */
static bool apply_renames(const apply *x) {
    moves m = {0};
    bool ok = x->a->kind == QS_ACT_RENAME ? collect_pairs(x, &m) : collect_rule(x, &m);
    for (size_t i = 0; ok && i < m.n; i++) ok = do_move(x, &m, &m.v[i]);
    for (size_t i = 0; i < m.n; i++) x->r->work.v[m.v[i].work].moving = 0;
    qs_vec_free(&m);
    return ok;
}

/* ---- INIT and COPY ---- */

/* An entry for key, in the place of one that is there or behind all others. */
static qs_work *put_entry(const apply *x, qs_str key, uint32_t existing) {
    qs_resolution *r = x->r;
    if (existing != QS_NO_INDEX) return &r->work.v[existing];
    if (r->work.n >= QS_NO_INDEX - 1 || !qs_map_put(&r->moved, key, (uint32_t)r->work.n)) return NULL;
    if (!qs_push(&r->work, (qs_work){.origin = QS_NO_INDEX})) return NULL;
    return &r->work.v[r->work.n - 1];
}

static bool put_value(const apply *x, qs_str key, uint32_t existing, qs_mark mark, uint32_t b,
                      uint32_t expected) {
    qs_work *w = put_entry(x, key, existing);
    if (!w) return qs_nomem(x->e);
    w->x = (qs_resolved){.key = key,
                         .mark = mark,
                         .a = QS_NO_INDEX,
                         .b = b,
                         .expected = expected,
                         .action = x->index,
                         .source = x->a->source,
                         .bn_eps = x->a->bn_eps};
    x->count->touched++;
    return true;
}

/* False and an error for a named key, else one more skipped. */
static bool skip(const apply *x, qs_str key, const char *why) {
    if (x->named) return refuse(x, key, why);
    if (x->count->skipped++ > 0) return true;
    qs_buf b = {0};
    qs_buf_addf(&b, "%.*s: %s", QS_FMT(key), why);
    qs_str text = b.failed ? (qs_str){NULL, 0} : qs_arena_str(&x->r->arena, qs_buf_str(&b));
    qs_buf_free(&b);
    x->count->why = text.p;
    return text.p || qs_nomem(x->e);
}

static bool copy_key(const apply *x, qs_str key, uint32_t existing, uint32_t expected) {
    uint32_t b = qs_checkpoint_find(x->r->in.b, key);
    if (b == UINT32_MAX) return skip(x, key, "B has no such key");
    return put_value(x, qs_checkpoint_entry(x->r->in.b, b)->key, existing, QS_MARK_COPIED, b, expected);
}

static bool init_key(const apply *x, qs_str key, uint32_t existing, uint32_t expected) {
    if (x->a->source == QS_INIT_COPY) return copy_key(x, key, existing, expected);
    if (expected == QS_NO_INDEX) return skip(x, key, "the model has no such key");
    const char *why = "cannot be made from nothing";
    qs_init_context ctx = qs_resolve_context(x->r, x->a->bn_eps);
    const qs_expected *want = qs_manifest_entry(x->r->in.target, expected);
    if (!qs_init_possible(&ctx, want, &why)) return skip(x, key, why);
    return put_value(x, want->key, existing, QS_MARK_INIT, QS_NO_INDEX, expected);
}

static bool make_key(const apply *x, qs_str key, uint32_t expected) {
    uint32_t existing = qs_work_find(x->r, key);
    if (existing != QS_NO_INDEX && !x->a->replace)
        return !x->named || refuse(x, key, "is there already (\"replace\" would overwrite it)");
    return x->a->kind == QS_ACT_INIT ? init_key(x, key, existing, expected)
                                     : copy_key(x, key, existing, expected);
}

static uint32_t expected_of(const apply *x, qs_str key) {
    return x->r->in.target ? qs_manifest_find(x->r->in.target, key) : QS_NO_INDEX;
}

static bool in_scope(const apply *x, qs_str key, bool *in) {
    if (x->regex) return qs_pattern_match(x->regex, key, in, x->e);
    *in = qs_key_below(key, x->a->scope);
    return true;
}

static bool make_in_target(const apply *x) {
    for (uint32_t i = 0; i < qs_manifest_count(x->r->in.target); i++) {
        qs_str key = qs_manifest_entry(x->r->in.target, i)->key;
        bool in;
        if (!in_scope(x, key, &in) || (in && !make_key(x, key, i))) return false;
    }
    return true;
}

static bool make_in_b(const apply *x) {
    for (uint32_t i = 0; i < qs_checkpoint_count(x->r->in.b); i++) {
        qs_str key = qs_checkpoint_entry(x->r->in.b, i)->key;
        bool in;
        if (!in_scope(x, key, &in) || (in && !make_key(x, key, QS_NO_INDEX))) return false;
    }
    return true;
}

static bool apply_make(const apply *x) {
    bool from_b = x->a->kind == QS_ACT_COPY || x->a->source == QS_INIT_COPY;
    const char *no = from_b && !x->r->in.b         ? "there is no B to copy from"
                     : !from_b && !x->r->in.target ? "initialising wants a model (a manifest or B)"
                                                   : NULL;
    if (x->a->scope_kind == QS_SCOPE_TOP) no = "only a drop is about what is beside the state dict";
    if (no) return qs_fail(x->e, QS_E_REFUSED, "action %u: %s", x->index + 1, no);
    if (x->a->scope_kind == QS_SCOPE_KEY) return make_key(x, x->a->scope, expected_of(x, x->a->scope));
    if (x->a->scope_kind == QS_SCOPE_KEYS) {
        for (size_t i = 0; i < x->a->pair_count; i++)
            if (!make_key(x, x->a->pairs[i].from, expected_of(x, x->a->pairs[i].from))) return false;
        return true;
    }
    return x->r->in.target ? make_in_target(x) : make_in_b(x);
}

/* ---- DROP ---- */

static void drop_work(const apply *x, qs_work *w) {
    w->state = w->origin == QS_NO_INDEX ? QS_WORK_GONE : QS_WORK_DROPPED;
    if (w->origin != QS_NO_INDEX) {
        const qs_entry *en = qs_checkpoint_entry(x->r->in.a, w->origin);
        w->x = (qs_resolved){.key = en->key,
                             .mark = QS_MARK_DROPPED,
                             .a = w->origin,
                             .b = QS_NO_INDEX,
                             .expected = QS_NO_INDEX,
                             .action = x->index,
                             .bn_eps = __builtin_nan("")};
        qs_resolved_set_shape(&w->x, qs_entry_tensor(x->r->in.a, en));
    }
    x->count->touched++;
}

static bool drop_key(const apply *x, qs_str key) {
    uint32_t i = qs_work_find(x->r, key);
    if (i == QS_NO_INDEX) return refuse(x, key, "cannot be dropped: there is no such key");
    drop_work(x, &x->r->work.v[i]);
    return true;
}

static bool apply_drop(const apply *x) {
    if (x->a->scope_kind == QS_SCOPE_TOP) return qs_resolve_drop_top(x->r, x->index, x->a->scope, x->e);
    if (x->a->scope_kind == QS_SCOPE_KEY) return drop_key(x, x->a->scope);
    if (x->a->scope_kind == QS_SCOPE_KEYS) {
        for (size_t i = 0; i < x->a->pair_count; i++)
            if (!drop_key(x, x->a->pairs[i].from)) return false;
        return true;
    }
    for (size_t i = 0; i < x->r->work.n; i++) {
        qs_work *w = &x->r->work.v[i];
        bool in;
        if (w->state != QS_WORK_LIVE) continue;
        if (!in_scope(x, w->x.key, &in)) return false;
        if (in) drop_work(x, w);
    }
    return true;
}

static bool apply_one(const apply *x) {
    switch (x->a->kind) {
    case QS_ACT_RENAME:
    case QS_ACT_RULE: return apply_renames(x);
    case QS_ACT_INIT:
    case QS_ACT_COPY: return apply_make(x);
    case QS_ACT_DROP: return apply_drop(x);
    }
    return qs_fail(x->e, QS_E_USAGE, "action %u is of an unknown kind", x->index + 1);
}

static bool scoped_by_regex(const qs_action *a) {
    return a->scope_kind == QS_SCOPE_REGEX && a->kind != QS_ACT_RENAME && a->kind != QS_ACT_RULE;
}

bool qs_resolve_action(qs_resolution *r, size_t i, qs_err *e) {
    const qs_action *a = qs_plan_action(r->in.plan, i);
    apply x = {.r = r,
               .a = a,
               .index = (uint32_t)i,
               .count = &r->counts[i],
               .e = e,
               .named = a->scope_kind == QS_SCOPE_KEY || a->scope_kind == QS_SCOPE_KEYS};
    if (scoped_by_regex(a) && !qs_pattern_compile(QS_PATTERN_REGEX, a->scope, QS_STR(""), &x.regex, e))
        return false;
    bool ok = apply_one(&x);
    qs_pattern_free(x.regex);
    return ok;
}

#include "repair/names.h"
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

/* key.n == 0: it is about all of the action. */
static bool refuse(const apply *x, qs_str key, const char *why) {
    if (x->r->in.lenient) return qs_resolve_note(x->r, x->index, key, why, false, x->e);
    return qs_fail(x->e, QS_E_REFUSED, "action %u: %.*s%s%s", x->index + 1, QS_FMT(key), key.n ? ": " : "",
                   why);
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
        if (work == QS_NO_INDEX) {
            if (!refuse(x, p->from, "cannot be renamed: there is no such key")) return false;
            continue;
        }
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
    if (!qs_resolve_trace(r, x->index, mine->work, mine->from, mine->to, false, x->e)) return false;
    return qs_map_put(&r->moved, mine->to, mine->work) || qs_nomem(x->e);
}

/* ---- what cannot move, where that is no error ---- */

typedef struct standoff {
    const apply *x;
    moves *m;
    qs_map to; /* new name -> move */
} standoff;

/* Whoever wants the name of an entry that stays where it is must stay too, and so on. */
static bool stay(standoff *s, uint32_t i, const char *why) {
    while (i != QS_MAP_NONE && s->m->v[i].work != QS_NO_INDEX) {
        move *mine = &s->m->v[i];
        char text[700], to[300];
        qs_str_printable(mine->to, to, sizeof to);
        snprintf(text, sizeof text, "cannot be renamed to %s: %s", to, why);
        if (!qs_resolve_note(s->x->r, s->x->index, mine->from, text, false, s->x->e)) return false;
        s->x->r->work.v[mine->work].moving = 0;
        mine->work = QS_NO_INDEX;
        why = "the key that has the name now cannot be renamed";
        i = qs_map_get(&s->to, mine->from);
    }
    return true;
}

static bool settle_moves(standoff *s) {
    for (uint32_t i = 0; i < s->m->n; i++) {
        uint32_t first = qs_map_add(&s->to, s->m->v[i].to, i);
        if (first == QS_MAP_NONE) return qs_nomem(s->x->e);
        if (first == i) continue;
        char why[300], other[240];
        qs_str_printable(s->m->v[first].from, other, sizeof other);
        snprintf(why, sizeof why, "collides with %s, which gets the same name", other);
        if (!stay(s, i, why)) return false;
    }
    for (uint32_t i = 0; i < s->m->n; i++) {
        if (s->m->v[i].work == QS_NO_INDEX) continue;
        uint32_t other = qs_work_find(s->x->r, s->m->v[i].to);
        bool taken = other != QS_NO_INDEX && !s->x->r->work.v[other].moving;
        if (taken && !stay(s, i, "collides with the key that is there already")) return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < s->m->n; i++)
        if (s->m->v[i].work != QS_NO_INDEX) s->m->v[n++] = s->m->v[i];
    s->m->n = n;
    return true;
}

static bool settle(const apply *x, moves *m) {
    standoff s = {.x = x, .m = m};
    bool ok = settle_moves(&s);
    qs_map_free(&s.to);
    return ok;
}

/* Two keys may change places: an entry that is still to move does not stand in the way. But then the place
 * must be looked up under the name it will have left, so all names change before any is entered twice. */
static bool apply_renames(const apply *x) {
    moves m = {0};
    bool ok = x->a->kind == QS_ACT_RENAME ? collect_pairs(x, &m) : collect_rule(x, &m);
    if (ok && x->r->in.lenient) ok = settle(x, &m);
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
    if (mark == QS_MARK_COPIED)
        qs_resolved_set_shape(&w->x, qs_entry_tensor(x->r->in.b, qs_checkpoint_entry(x->r->in.b, b)));
    x->count->touched++;
    qs_str before = existing == QS_NO_INDEX ? QS_STR("") : key;
    return qs_resolve_trace(x->r, x->index, (uint32_t)(w - x->r->work.v), before, key, true, x->e);
}

/* False and an error for a named key, else one more skipped. */
static bool skip(const apply *x, qs_str key, const char *why) {
    if (x->named) return refuse(x, key, why);
    if (x->r->in.lenient && !qs_resolve_note(x->r, x->index, key, why, true, x->e)) return false;
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
    *in = qs_name_below(key, x->a->scope);
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
    if (no) return refuse(x, QS_STR(""), no);
    if (x->a->scope_kind == QS_SCOPE_KEY) return make_key(x, x->a->scope, expected_of(x, x->a->scope));
    if (x->a->scope_kind == QS_SCOPE_KEYS) {
        for (size_t i = 0; i < x->a->pair_count; i++)
            if (!make_key(x, x->a->pairs[i].from, expected_of(x, x->a->pairs[i].from))) return false;
        return true;
    }
    return x->r->in.target ? make_in_target(x) : make_in_b(x);
}

/* ---- DROP ---- */

static bool drop_work(const apply *x, uint32_t work) {
    qs_work *w = &x->r->work.v[work];
    if (!qs_resolve_trace(x->r, x->index, work, w->x.key, QS_STR(""), false, x->e)) return false;
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
    return true;
}

static bool drop_key(const apply *x, qs_str key) {
    uint32_t i = qs_work_find(x->r, key);
    if (i == QS_NO_INDEX) return refuse(x, key, "cannot be dropped: there is no such key");
    return drop_work(x, i);
}

static bool drop_top(const apply *x) {
    const char *no = x->r->in.lenient ? qs_top_refusal(x->r->in.a, x->a->scope) : NULL;
    if (x->r->in.lenient && qs_resolution_top_dropped(x->r, x->a->scope)) no = "it is dropped already";
    return no ? refuse(x, x->a->scope, no) : qs_resolve_drop_top(x->r, x->index, x->a->scope, x->e);
}

/* ---- CAST and RESHAPE ---- */

static bool convert_work(const apply *x, uint32_t i) {
    qs_work *w = &x->r->work.v[i];
    const char *why;
    bool same;
    uint32_t at = expected_of(x, w->x.key);
    const qs_expected *want = at == QS_NO_INDEX ? NULL : qs_manifest_entry(x->r->in.target, at);
    qs_resolve_convert(x->r, x->a, w, want, &why, &same);
    if (why) return skip(x, w->x.key, why);
    if (same) return true;
    w->x.action = x->index;
    x->count->touched++;
    return qs_resolve_trace(x->r, x->index, i, w->x.key, w->x.key, true, x->e);
}

static bool convert_key(const apply *x, qs_str key) {
    uint32_t i = qs_work_find(x->r, key);
    return i == QS_NO_INDEX ? refuse(x, key, "there is no such key") : convert_work(x, i);
}

/* ---- scopes of what is there ---- */

/* Do it to every entry of the result in scope; `named` for those the scope names one by one. */
static bool each_in_scope(const apply *x, bool (*named)(const apply *, qs_str),
                          bool (*found)(const apply *, uint32_t)) {
    if (x->a->scope_kind == QS_SCOPE_KEY) return named(x, x->a->scope);
    if (x->a->scope_kind == QS_SCOPE_KEYS) {
        for (size_t i = 0; i < x->a->pair_count; i++)
            if (!named(x, x->a->pairs[i].from)) return false;
        return true;
    }
    for (uint32_t i = 0; i < x->r->work.n; i++) {
        const qs_work *w = &x->r->work.v[i];
        bool in;
        if (w->state != QS_WORK_LIVE) continue;
        if (!in_scope(x, w->x.key, &in)) return false;
        if (in && !found(x, i)) return false;
    }
    return true;
}

static bool apply_drop(const apply *x) {
    if (x->a->scope_kind == QS_SCOPE_TOP) return drop_top(x);
    return each_in_scope(x, drop_key, drop_work);
}

static bool apply_convert(const apply *x) {
    if (x->a->scope_kind == QS_SCOPE_TOP)
        return refuse(x, QS_STR(""), "only a drop is about what is beside the state dict");
    return each_in_scope(x, convert_key, convert_work);
}

static bool apply_metadata(const apply *x) {
    const char *no = x->a->scope_kind == QS_SCOPE_TOP ? "only a drop is about what is beside the state dict"
                     : !x->r->in.target               ? "versions are taken from a model (a manifest or B)"
                                                      : NULL;
    return no ? refuse(x, QS_STR(""), no) : true; /* the rest is done when all names are known */
}

static bool apply_one(const apply *x) {
    switch (x->a->kind) {
    case QS_ACT_RENAME:
    case QS_ACT_RULE: return apply_renames(x);
    case QS_ACT_INIT:
    case QS_ACT_COPY: return apply_make(x);
    case QS_ACT_DROP: return apply_drop(x);
    case QS_ACT_CAST:
    case QS_ACT_RESHAPE: return apply_convert(x);
    case QS_ACT_METADATA: return apply_metadata(x);
    }
    return qs_fail(x->e, QS_E_USAGE, "action %u is of an unknown kind", x->index + 1);
}

static bool scoped_by_regex(const qs_action *a) {
    return a->scope_kind == QS_SCOPE_REGEX && a->kind != QS_ACT_RENAME && a->kind != QS_ACT_RULE;
}

/* An action over whatever it finds that found nothing did not apply. */
static bool note_idle(const apply *x, size_t noted_before) {
    static const char *const why[] = {[QS_ACT_RENAME] = "",
                                      [QS_ACT_RULE] = "no key matches",
                                      [QS_ACT_INIT] = "nothing in its scope is missing",
                                      [QS_ACT_COPY] = "nothing in its scope is left to be copied",
                                      [QS_ACT_DROP] = "there is nothing in its scope",
                                      [QS_ACT_CAST] = "nothing in its scope is of another dtype",
                                      [QS_ACT_RESHAPE] = "nothing in its scope is of another shape",
                                      [QS_ACT_METADATA] = ""};
    bool one_by_one = x->a->kind == QS_ACT_RENAME || x->a->kind == QS_ACT_METADATA ||
                      (x->a->kind != QS_ACT_RULE && x->a->scope_kind != QS_SCOPE_SUBTREE &&
                       x->a->scope_kind != QS_SCOPE_REGEX);
    if (one_by_one || x->count->touched || x->r->unapplied.n > noted_before) return true;
    return qs_resolve_note(x->r, x->index, QS_STR(""), why[x->a->kind], false, x->e);
}

bool qs_resolve_action(qs_resolution *r, size_t i, qs_err *e) {
    const qs_action *a = qs_plan_action(r->in.plan, i);
    bool holds;
    if (a->off) return r->counts[i].off = true;
    if (!qs_resolve_expect(r, (uint32_t)i, &holds, e)) return false;
    r->counts[i].off = !holds;
    if (!holds) return true;
    size_t noted = r->unapplied.n;
    apply x = {.r = r,
               .a = a,
               .index = (uint32_t)i,
               .count = &r->counts[i],
               .e = e,
               .named = a->scope_kind == QS_SCOPE_KEY || a->scope_kind == QS_SCOPE_KEYS};
    if (scoped_by_regex(a) && !qs_pattern_compile(QS_PATTERN_REGEX, a->scope, QS_STR(""), &x.regex, e))
        return false;
    bool ok = apply_one(&x) && (!r->in.lenient || note_idle(&x, noted));
    qs_pattern_free(x.regex);
    return ok;
}

#include "repair/diagnose_rule.h"

#include "base/map.h"
#include "base/vec.h"
#include "repair/names.h"
#include "repair/pattern.h"

#include <stdlib.h>

/* How a pair differs: HEAD + was + TAIL -> HEAD + now + TAIL, cut at dots; head and tail as long as can be.
 */
typedef struct difference {
    qs_str head, was, now, tail; /* without the dots between them */
} difference;

static qs_str join_end(qs_str whole, qs_str tail) {
    return qs_str_sub(whole, whole.n - tail.n, whole.n);
}

static difference differ(qs_str from, qs_str to) {
    difference d = {0};
    qs_str a = from, b = to, x, y;
    size_t tail = 0;
    while (qs_name_pop(&a, &x) && qs_name_pop(&b, &y) && qs_str_eq(x, y)) tail += x.n + (tail > 0);
    d.tail = join_end(from, (qs_str){NULL, tail});
    size_t left_from = from.n - tail, left_to = to.n - tail;
    if (tail) { /* the dot before the tail */
        left_from -= left_from > 0;
        left_to -= left_to > 0;
    }
    qs_str f = qs_str_sub(from, 0, left_from), t = qs_str_sub(to, 0, left_to);
    size_t same = 0, head = 0;
    while (same < f.n && same < t.n && f.p[same] == t.p[same]) same++;
    for (size_t i = 0; i <= same; i++)
        if ((i == f.n || f.p[i] == '.') && (i == t.n || t.p[i] == '.')) head = i;
    d.head = qs_str_sub(f, 0, head);
    d.was = qs_str_sub(f, head + (head > 0 && head < f.n), f.n);
    d.now = qs_str_sub(t, head + (head > 0 && head < t.n), t.n);
    return d;
}

static void add_literal(qs_buf *b, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] && strchr("\\^$.|?*+()[]{}#", s.p[i])) qs_buf_addc(b, '\\');
        qs_buf_addc(b, s.p[i]);
    }
}

static void add_replacement(qs_buf *b, qs_str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '$') qs_buf_addc(b, '$');
        qs_buf_addc(b, s.p[i]);
    }
}

/* (.*\.)?was\.(.*) -> $1now.$2; where nothing was replaced, what follows the insertion is the anchor. `after`
 * must stand before it, if it has a text. */
static void make_regex(const difference *d, qs_str after, qs_buf *pattern, qs_buf *replacement) {
    qs_str anchor = d->was, rest = d->tail;
    if (anchor.n == 0) {
        size_t dot = 0;
        while (dot < rest.n && rest.p[dot] != '.') dot++;
        anchor = qs_str_sub(rest, 0, dot);
        rest = qs_str_sub(rest, dot + 1, rest.n);
    }
    qs_buf_addz(pattern, "(.*\\.)?");
    if (after.n) {
        add_literal(pattern, after);
        qs_buf_addz(pattern, "\\.");
    }
    add_literal(pattern, anchor);
    if (rest.n) qs_buf_addz(pattern, "\\.(.*)");
    qs_buf_addz(replacement, "$1");
    add_replacement(replacement, after);
    if (after.n) qs_buf_addc(replacement, '.');
    add_replacement(replacement, d->now);
    if (d->was.n == 0) {
        if (d->now.n) qs_buf_addc(replacement, '.');
        add_replacement(replacement, anchor);
    }
    if (!rest.n) return;
    if (d->now.n || d->was.n == 0) qs_buf_addc(replacement, '.');
    qs_buf_addz(replacement, "$2");
}

static bool make_prefix(const difference *d, qs_buf *pattern, qs_buf *replacement) {
    if (d->head.n || !d->tail.n) return false;
    qs_buf_add(pattern, d->was);
    if (d->was.n) qs_buf_addc(pattern, '.');
    qs_buf_add(replacement, d->now);
    if (d->now.n) qs_buf_addc(replacement, '.');
    return true;
}

/* Does the rule do to every key of the result exactly what the pairs do? */
static bool same_effect(const qs_resolution *r, const qs_action *rule, const qs_rename_pair *pairs, size_t n,
                        const qs_map *index, bool *same, qs_err *e) {
    qs_pattern *p = NULL;
    qs_err why = QS_ERR_INIT;
    qs_buf name = {0};
    size_t moved = 0;
    *same = false;
    if (!qs_pattern_compile(rule->pattern_kind, rule->pattern, rule->replacement, &p, &why)) return true;
    bool ok = true, fits = true;
    for (uint32_t i = 0; ok && fits && i < qs_resolution_live(r); i++) {
        qs_str key = qs_resolution_entry(r, i)->key;
        bool matched = false;
        name.n = 0;
        ok = qs_pattern_replace(p, key, &name, &matched, &why);
        if (!ok || !matched || qs_str_eq(key, qs_buf_str(&name))) continue;
        uint32_t at = qs_map_get(index, key);
        fits = at != QS_MAP_NONE && qs_str_eq(pairs[at].to, qs_buf_str(&name));
        moved++;
    }
    *same = ok && fits && moved == n;
    qs_buf_free(&name);
    qs_pattern_free(p);
    return why.code != QS_E_NOMEM || qs_nomem(e);
}

static bool keep(qs_arena *arena, const qs_buf *pattern, const qs_buf *replacement, qs_action *out) {
    if (pattern->failed || replacement->failed) return false;
    out->pattern = qs_arena_str(arena, qs_buf_str(pattern));
    out->replacement = qs_arena_str(arena, qs_buf_str(replacement));
    return out->pattern.p && out->replacement.p;
}

/* Ways to say a difference as a rule, the shortest first. */
typedef enum rule_form {
    FORM_PREFIX, /* what is before all of it */
    FORM_WITHIN, /* what something put in stands behind: conv.* -> conv.module.* */
    FORM_HERE,   /* what is replaced, or what something is put before */
    FORM_BESIDE, /* that, and the part before it */
    FORMS
} rule_form;

/* False where the difference has no such form. */
static bool make_form(rule_form form, difference d, qs_buf *pattern, qs_buf *replacement) {
    qs_buf now = {0};
    bool made = true;
    switch (form) {
    case FORM_PREFIX: return make_prefix(&d, pattern, replacement);
    case FORM_WITHIN:
        if (d.was.n || d.head.n == 0 || d.tail.n == 0) return false;
        d.was = qs_str_leaf(d.head);
        qs_buf_addf(&now, "%.*s.%.*s", QS_FMT(d.was), QS_FMT(d.now));
        d.now = qs_buf_str(&now);
        made = !now.failed;
        if (made) make_regex(&d, QS_STR(""), pattern, replacement);
        break;
    case FORM_HERE: make_regex(&d, QS_STR(""), pattern, replacement); break;
    default: made = d.head.n > 0; make_regex(&d, qs_str_leaf(d.head), pattern, replacement);
    }
    qs_buf_free(&now);
    return made;
}

static bool try_form(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, const qs_map *index,
                     rule_form form, qs_arena *arena, qs_action *out, bool *found, qs_err *e) {
    qs_buf pattern = {0}, replacement = {0};
    bool ok = true;
    if (make_form(form, differ(pairs[0].from, pairs[0].to), &pattern, &replacement)) {
        qs_pattern_kind kind = form == FORM_PREFIX ? QS_PATTERN_PREFIX : QS_PATTERN_REGEX;
        *out = (qs_action){.kind = QS_ACT_RULE, .pattern_kind = kind, .bn_eps = __builtin_nan("")};
        ok = keep(arena, &pattern, &replacement, out) || qs_nomem(e);
        ok = ok && same_effect(r, out, pairs, n, index, found, e);
    }
    qs_buf_free(&pattern);
    qs_buf_free(&replacement);
    return ok;
}

/* The shortest form of rule that does it. */
static bool one_rule(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, qs_arena *arena,
                     qs_action *out, bool *found, qs_err *e) {
    qs_map index = {0};
    bool ok = true;
    *found = false;
    for (size_t i = 0; ok && i < n; i++) ok = qs_map_put(&index, pairs[i].from, (uint32_t)i) || qs_nomem(e);
    for (rule_form form = 0; ok && !*found && form < FORMS; form++)
        ok = try_form(r, pairs, n, &index, form, arena, out, found, e);
    qs_map_free(&index);
    return ok;
}

bool qs_rule_for_pairs(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, qs_arena *arena,
                       qs_action *out, bool *found, qs_err *e) {
    *found = false;
    return n < 2 || n >= UINT32_MAX || one_rule(r, pairs, n, arena, out, found, e);
}

/* ---- families ---- */

enum {
    FAMILIES = 8,
    LEAST = 3,
    KEYS_MAX = 50000
}; /* rules tried; pairs worth a rule; keys worth looking at */

/* Pairs that differ alike, in more than one place of the model. */
typedef struct family {
    qs_str first; /* place of the first */
    uint32_t size;
    bool spread, tried;
} family;

typedef struct families {
    const qs_rename_pair *pairs;
    size_t n;
    bool *ruled;  /* [n] a rule says it */
    uint32_t *of; /* [n] family, or QS_NO_INDEX */
    QS_VEC(family) v;
} families;

/* What a family has in common, and where in the model a pair of it is. By what stands behind, or, where
 * something was put in, by what stands before it: bn.* -> conv.bn.*, conv.* -> conv.module.*. */
static bool class_of(const qs_rename_pair *p, bool before, qs_buf *key, qs_str *place) {
    difference d = differ(p->from, p->to);
    qs_str beside = d.was.n ? QS_STR("") : qs_str_sub(d.tail, 0, qs_str_find(d.tail, QS_STR(".")));
    *place = d.head;
    key->n = 0;
    if (before) {
        if (d.was.n || d.head.n == 0) return false;
        beside = qs_str_leaf(d.head);
        *place = qs_str_parent(d.head);
    }
    qs_buf_addf(key, "%.*s\n%.*s\n%.*s", QS_FMT(d.was), QS_FMT(d.now), QS_FMT(beside));
    return true;
}

static bool find_families(families *f, bool before, qs_arena *arena) {
    qs_buf key = {0};
    qs_map index = {0};
    bool ok = true;
    f->v.n = 0;
    for (size_t i = 0; ok && i < f->n; i++) {
        qs_str place;
        f->of[i] = QS_NO_INDEX;
        if (f->ruled[i] || !class_of(&f->pairs[i], before, &key, &place)) continue;
        qs_str stored = key.failed ? (qs_str){NULL, 0} : qs_arena_str(arena, qs_buf_str(&key));
        f->of[i] = stored.p ? qs_map_add(&index, stored, (uint32_t)f->v.n) : QS_MAP_NONE;
        ok = f->of[i] != QS_MAP_NONE && (f->of[i] < f->v.n || qs_push(&f->v, (family){.first = place}));
        if (!ok) break;
        family *x = &f->v.v[f->of[i]];
        x->size++;
        x->spread |= !qs_str_eq(x->first, place);
    }
    qs_buf_free(&key);
    qs_map_free(&index);
    return ok;
}

static uint32_t largest(const families *f) {
    uint32_t best = QS_NO_INDEX;
    for (uint32_t i = 0; i < f->v.n; i++) {
        const family *x = &f->v.v[i];
        if (x->tried || !x->spread || x->size < LEAST) continue;
        if (best == QS_NO_INDEX || x->size > f->v.v[best].size) best = i;
    }
    return best;
}

static bool rule_families(families *f, const qs_resolution *r, qs_arena *arena, qs_action *list,
                          size_t *count, qs_err *e) {
    qs_rename_pair *some = QS_ARENA_ARRAY(arena, f->n, qs_rename_pair);
    if (!some) return qs_nomem(e);
    while (*count < FAMILIES) {
        uint32_t at = largest(f);
        size_t k = 0;
        bool found;
        if (at == QS_NO_INDEX) break;
        f->v.v[at].tried = true;
        for (size_t i = 0; i < f->n; i++)
            if (f->of[i] == at) some[k++] = f->pairs[i];
        if (!one_rule(r, some, k, arena, &list[*count], &found, e)) return false;
        if (!found) continue;
        ++*count;
        for (size_t i = 0; i < f->n; i++) f->ruled[i] |= f->of[i] == at;
    }
    return true;
}

/* A few rules beside a long list are no shorter to read. */
static bool is_worth_it(const families *f) {
    size_t ruled = 0;
    for (size_t i = 0; i < f->n; i++) ruled += f->ruled[i];
    return ruled * 2 > f->n;
}

static bool add_rest(const families *f, qs_arena *arena, qs_action *list, size_t *count) {
    qs_rename_pair *rest = QS_ARENA_ARRAY(arena, f->n, qs_rename_pair);
    size_t k = 0;
    if (!rest) return false;
    for (size_t i = 0; i < f->n; i++)
        if (!f->ruled[i]) rest[k++] = f->pairs[i];
    if (k)
        list[(*count)++] =
            (qs_action){.kind = QS_ACT_RENAME, .pairs = rest, .pair_count = k, .bn_eps = __builtin_nan("")};
    return true;
}

bool qs_rules_for_families(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, qs_arena *arena,
                           qs_action **out, size_t *count, qs_err *e) {
    families f = {.pairs = pairs, .n = n};
    *count = 0;
    if (n < LEAST || qs_resolution_live(r) > KEYS_MAX) return true;
    *out = QS_ARENA_ARRAY(arena, FAMILIES + 1, qs_action);
    f.of = QS_ARENA_ARRAY(arena, n, uint32_t);
    f.ruled = QS_ARENA_ARRAY(arena, n, bool);
    bool ok = (*out && f.of && f.ruled) || qs_nomem(e);
    if (ok) memset(f.ruled, 0, n * sizeof *f.ruled);
    for (int before = 0; ok && before < 2; before++)
        ok = (find_families(&f, before, arena) || qs_nomem(e)) && rule_families(&f, r, arena, *out, count, e);
    if (ok && !is_worth_it(&f)) *count = 0;
    if (ok && *count && !add_rest(&f, arena, *out, count)) ok = qs_nomem(e);
    qs_vec_free(&f.v);
    return ok;
}

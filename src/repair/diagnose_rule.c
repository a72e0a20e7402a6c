#include "repair/diagnose_rule.h"

#include "base/map.h"
#include "repair/names.h"
#include "repair/pattern.h"

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

/* (.*\.)?was\.(.*) -> $1now.$2; where nothing was replaced, what follows the insertion is the anchor. */
static void make_regex(const difference *d, qs_buf *pattern, qs_buf *replacement) {
    qs_str anchor = d->was, rest = d->tail;
    if (anchor.n == 0) {
        size_t dot = 0;
        while (dot < rest.n && rest.p[dot] != '.') dot++;
        anchor = qs_str_sub(rest, 0, dot);
        rest = qs_str_sub(rest, dot + 1, rest.n);
    }
    qs_buf_addz(pattern, "(.*\\.)?");
    add_literal(pattern, anchor);
    if (rest.n) qs_buf_addz(pattern, "\\.(.*)");
    qs_buf_addz(replacement, "$1");
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

static bool try_kind(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, const qs_map *index,
                     qs_pattern_kind kind, qs_arena *arena, qs_action *out, bool *found, qs_err *e) {
    difference d = differ(pairs[0].from, pairs[0].to);
    qs_buf pattern = {0}, replacement = {0};
    bool ok = true, made = true;
    if (kind == QS_PATTERN_PREFIX)
        made = make_prefix(&d, &pattern, &replacement);
    else
        make_regex(&d, &pattern, &replacement);
    if (made) {
        *out = (qs_action){.kind = QS_ACT_RULE, .pattern_kind = kind, .bn_eps = __builtin_nan("")};
        ok = keep(arena, &pattern, &replacement, out) || qs_nomem(e);
        ok = ok && same_effect(r, out, pairs, n, index, found, e);
    }
    qs_buf_free(&pattern);
    qs_buf_free(&replacement);
    return ok;
}

bool qs_rule_for_pairs(const qs_resolution *r, const qs_rename_pair *pairs, size_t n, qs_arena *arena,
                       qs_action *out, bool *found, qs_err *e) {
    qs_map index = {0};
    bool ok = true;
    *found = false;
    if (n < 2 || n >= UINT32_MAX) return true;
    for (size_t i = 0; ok && i < n; i++) ok = qs_map_put(&index, pairs[i].from, (uint32_t)i) || qs_nomem(e);
    ok = ok && try_kind(r, pairs, n, &index, QS_PATTERN_PREFIX, arena, out, found, e);
    if (ok && !*found) ok = try_kind(r, pairs, n, &index, QS_PATTERN_REGEX, arena, out, found, e);
    qs_map_free(&index);
    return ok;
}

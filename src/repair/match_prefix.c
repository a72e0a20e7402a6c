/* One prefix on every key is the most frequent failure of all (DataParallel, torch.compile, Lightning, EMA).
 * It is found by trying: candidates come from what keys of both sides have in common, and the one under which
 * most keys of a sample meet a gap of their shape wins. */
#include "repair/match_impl.h"

#include <stdlib.h>

enum { SAMPLE = 2000, PROBES = 16, CANDIDATES = 48, LEVELS = 3, KEY_MAX = 1024 };

static bool same_change(qs_prefix_change a, qs_prefix_change b) {
    return qs_str_eq(a.strip, b.strip) && qs_str_eq(a.add, b.add);
}

static void add_candidate(qs_prefix_change *list, size_t *n, qs_prefix_change x) {
    if (qs_str_eq(x.strip, x.add)) return;
    for (size_t i = 0; i < *n; i++)
        if (same_change(list[i], x)) return;
    if (*n < CANDIDATES) list[(*n)++] = x;
}

/* "a.b." of keys that all start so; the last component never counts. */
static qs_str narrow(qs_str common, qs_str key) {
    size_t n = 0, dot = 0;
    while (n < common.n && n < key.n && common.p[n] == key.p[n]) n++;
    for (size_t i = 0; i < n; i++)
        if (common.p[i] == '.') dot = i + 1;
    return qs_str_sub(common, 0, dot);
}

static qs_str common_of_froms(const qs_matcher *m) {
    qs_str common = qs_compare_row(m->c, m->froms.v[0].row)->key;
    for (size_t i = 0; i < m->froms.n; i++)
        common = narrow(common, qs_compare_row(m->c, m->froms.v[i].row)->key);
    return common;
}

static qs_str common_of_tos(const qs_matcher *m) {
    qs_str common = qs_compare_row(m->c, m->tos.v[0])->key;
    for (size_t i = 0; i < m->tos.n; i++) common = narrow(common, qs_compare_row(m->c, m->tos.v[i])->key);
    return common;
}

/* The first `level` components of a prefix, dot included. */
static qs_str cut(qs_str prefix, int level) {
    size_t i = 0;
    for (; i < prefix.n && level > 0; i++) level -= prefix.p[i] == '.';
    return qs_str_sub(prefix, 0, i);
}

static void candidates_by_common(const qs_matcher *m, qs_prefix_change *list, size_t *n) {
    qs_str from = common_of_froms(m), to = common_of_tos(m);
    for (int i = 0; i <= LEVELS; i++)
        for (int j = 0; j <= LEVELS; j++)
            add_candidate(list, n, (qs_prefix_change){cut(from, i), cut(to, j)});
}

/* A few keys of A against every gap: where one name is the end of the other, the rest is a candidate. */
static void candidates_by_probe(const qs_matcher *m, qs_prefix_change *list, size_t *n) {
    size_t step = m->froms.n / PROBES + 1;
    for (size_t i = 0; i < m->froms.n; i += step) {
        uint32_t row = m->froms.v[i].row;
        qs_str from = qs_compare_row(m->c, row)->key;
        for (size_t k = 0; k < m->tos.n; k++) {
            qs_str to = qs_compare_row(m->c, m->tos.v[k])->key;
            bool strip = from.n > to.n && from.p[from.n - to.n - 1] == '.' && qs_str_ends(from, to);
            bool add = to.n > from.n && to.p[to.n - from.n - 1] == '.' && qs_str_ends(to, from);
            if ((!strip && !add) || qs_match_fit(m->c, row, m->tos.v[k]) < QS_FIT_UNKNOWN) continue;
            qs_str none = {"", 0};
            add_candidate(list, n,
                          strip ? (qs_prefix_change){qs_str_sub(from, 0, from.n - to.n), none}
                                : (qs_prefix_change){none, qs_str_sub(to, 0, to.n - from.n)});
        }
    }
}

static bool meets(const qs_matcher *m, uint32_t row, qs_str name) {
    uint32_t to = qs_compare_find(m->c, name);
    return to != QS_NO_INDEX && qs_match_is_gap(qs_compare_row(m->c, to)) &&
           qs_match_fit(m->c, row, to) >= QS_FIT_UNKNOWN;
}

/* The key with the prefix changed, into name[KEY_MAX + 16]; n == 0 if it has no such prefix. */
static qs_str changed(qs_str key, qs_prefix_change x, char *name) {
    if (!qs_str_starts(key, x.strip) || key.n - x.strip.n + x.add.n > KEY_MAX) return (qs_str){NULL, 0};
    if (x.add.n) memcpy(name, x.add.p, x.add.n);
    memcpy(name + x.add.n, key.p + x.strip.n, key.n - x.strip.n);
    return (qs_str){name, key.n - x.strip.n + x.add.n};
}

/* Does the key, changed so, name a gap: itself, wrapped or unwrapped? */
static bool hits(const qs_matcher *m, uint32_t row, qs_prefix_change x) {
    qs_str key = qs_compare_row(m->c, row)->key, leaf = qs_str_leaf(key);
    char name[KEY_MAX + 16];
    qs_str now = changed(key, x, name);
    if (!now.n) return false;
    if (meets(m, row, now)) return true;
    qs_str inner = qs_str_parent(now);
    char twin[KEY_MAX + 16];
    size_t head = inner.n;
    if (qs_str_is(qs_str_leaf(inner), "module")) head = qs_str_parent(inner).n;
    int len = head < inner.n ? snprintf(twin, sizeof twin, "%.*s.%.*s", (int)head, name, QS_FMT(leaf))
                             : snprintf(twin, sizeof twin, "%.*s.module.%.*s", (int)head, name, QS_FMT(leaf));
    return len > 0 && (size_t)len < sizeof twin && meets(m, row, (qs_str){twin, (size_t)len});
}

/* The froms that a prefix must explain: not BatchNorms, which a QAT model folds into their convs besides. */
typedef struct witnesses {
    const qs_matcher *m;
    QS_VEC(uint32_t) rows;
} witnesses;

static bool in_batch_norm(const qs_matcher *m, qs_str key) {
    char name[KEY_MAX];
    if (!qs_name_is_norm_field(qs_str_leaf(key))) return false;
    int n = snprintf(name, sizeof name, "%.*s.running_mean", QS_FMT(qs_str_parent(key)));
    if (n < 0 || (size_t)n >= sizeof name) return false;
    uint32_t row = qs_compare_find(m->c, (qs_str){name, (size_t)n});
    return row != QS_NO_INDEX && qs_match_is_spare(qs_compare_row(m->c, row));
}

static bool call_witnesses(witnesses *w, bool norms, qs_err *e) {
    for (size_t i = 0; i < w->m->froms.n; i++) {
        uint32_t row = w->m->froms.v[i].row;
        if (!norms && in_batch_norm(w->m, qs_compare_row(w->m->c, row)->key)) continue;
        if (!qs_push(&w->rows, row)) return qs_nomem(e);
    }
    return true;
}

/* Hits among at most `most` witnesses, and how many were asked. */
static size_t score(const witnesses *w, qs_prefix_change x, size_t most, size_t *asked) {
    size_t step = w->rows.n / most + 1, n = 0;
    *asked = 0;
    for (size_t i = 0; i < w->rows.n; i += step, (*asked)++) n += hits(w->m, w->rows.v[i], x);
    return n;
}

static bool by_wrapper(qs_prefix_change x) {
    qs_str strip = qs_str_sub(x.strip, 0, x.strip.n ? x.strip.n - 1 : 0);
    qs_str add = qs_str_sub(x.add, 0, x.add.n ? x.add.n - 1 : 0);
    return qs_name_all_wrappers(strip) && qs_name_all_wrappers(add);
}

static bool better(qs_prefix_change a, size_t sa, qs_prefix_change b, size_t sb) {
    if (sa != sb) return sa > sb;
    if (by_wrapper(a) != by_wrapper(b)) return by_wrapper(a);
    return a.strip.n + a.add.n < b.strip.n + b.add.n;
}

static bool ends_in_number(qs_str prefix) {
    uint32_t number;
    return qs_name_number(qs_str_leaf(qs_str_sub(prefix, 0, prefix.n ? prefix.n - 1 : 0)), &number);
}

/* Made of wrappers' words, or nearly every key meets its gap; a few more must where one name stands for
 * another. */
static bool sure(const witnesses *w, qs_prefix_change x) {
    size_t asked;
    if (by_wrapper(x)) return true;
    /* which block of a list is which is decided by all of them: qs_match_renumber */
    if (ends_in_number(x.strip) && ends_in_number(x.add)) return false;
    size_t met = score(w, x, SIZE_MAX, &asked), least = x.strip.n && x.add.n ? 8 : 4;
    return met >= least && met * 10 >= asked * 9;
}

/* A handful of lucky names is no prefix; of a wrapper's words fewer are enough. */
static bool plausible(qs_prefix_change x, size_t met, size_t asked) {
    return met > 0 && met * (by_wrapper(x) ? 20 : 5) >= asked;
}

/* Another prefix under which (nearly) as many keys meet the same gaps: a copy of the model. */
static bool is_copy(qs_prefix_change a, size_t met_a, qs_prefix_change b, size_t met_b) {
    if (!a.strip.n || !b.strip.n || !qs_str_eq(a.add, b.add) || met_a * 10 < met_b * 9) return false;
    return !qs_str_starts(a.strip, b.strip) && !qs_str_starts(b.strip, a.strip);
}

/* Only of what is much of the model and of the file: a few names are met under many a prefix. */
static bool find_copy(qs_matcher *m, const witnesses *w, const qs_prefix_change *list, size_t n,
                      qs_prefix_change best, size_t most) {
    size_t asked;
    for (size_t i = 0; i < n; i++) {
        if (!is_copy(list[i], score(w, list[i], SAMPLE, &asked), best, most)) continue;
        size_t met = score(w, best, SIZE_MAX, &asked);
        if (met * 8 < m->tos.n || met * 4 < asked) return false; /* of the gaps most may be BatchNorms' */
        m->copies[0] = list[i];
        m->copies[1] = best;
        return true;
    }
    return false;
}

static void search(qs_matcher *m, const witnesses *w) {
    qs_prefix_change list[CANDIDATES], best = {{"", 0}, {"", 0}};
    size_t n = 0, asked;
    candidates_by_common(m, list, &n);
    candidates_by_probe(m, list, &n);
    size_t most = score(w, best, SAMPLE, &asked);
    for (size_t i = 0; i < n; i++) {
        size_t met = score(w, list[i], SAMPLE, &asked);
        if (!plausible(list[i], met, asked) || !better(list[i], met, best, most)) continue;
        best = list[i];
        most = met;
    }
    if (find_copy(m, w, list, n, best, most)) return;
    m->prefix = best;
    m->prefix_sure = (best.strip.n || best.add.n) && sure(w, best);
}

bool qs_match_find_prefix(qs_matcher *m, qs_err *e) {
    witnesses w = {.m = m};
    if (m->froms.n == 0 || m->tos.n == 0) return true;
    bool ok = call_witnesses(&w, false, e) && (w.rows.n || call_witnesses(&w, true, e));
    if (ok) search(m, &w);
    qs_vec_free(&w.rows);
    return ok;
}

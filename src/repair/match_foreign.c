/* Something put into many names, in the middle too (layers.N.inner.X for layers.N.X), or one word for
 * another: a component that only one of the two sides knows cannot tell its keys apart. Names are compared
 * without such components, and a way to differ is believed when several keys agree on it. */
#include "repair/match_impl.h"

#include <stdlib.h>

/* Of another model altogether a few more names must agree. */
enum { MANY = UINT32_MAX - 1, AGREE = 4, AGREE_ALONE = 8, SIDE_MAX = 200000 };

/* A key without what is foreign in it, and what that was. */
typedef struct stripped {
    qs_str core, foreign;
    uint32_t at; /* index into m->froms; a row */
} stripped;

typedef struct foreign {
    qs_matcher *m;
    qs_err *e;
    qs_map words[2]; /* components of the result's keys, of the target's */
    QS_VEC(stripped) from, to;
    qs_map core_from, core_to; /* core -> index, or MANY */
    qs_map ways;               /* what was foreign on both sides -> index into agreed */
    qs_map asked;              /* what was foreign in a key of the result -> index into asking */
    QS_VEC(uint32_t) agreed, asking;
    qs_buf core, out;
} foreign;

static qs_str next_part(qs_str key, size_t at) {
    size_t end = at;
    while (end < key.n && key.p[end] != '.') end++;
    return qs_str_sub(key, at, end);
}

static bool add_words(foreign *x, qs_map *words, qs_str key) {
    for (size_t at = 0; at < key.n;) {
        qs_str part = next_part(key, at);
        if (!qs_map_put(words, part, 1)) return qs_nomem(x->e);
        at += part.n + 1;
    }
    return true;
}

static bool find_words(foreign *x) {
    for (uint32_t i = 0; i < qs_compare_rows(x->m->c); i++) {
        const qs_row *row = qs_compare_row(x->m->c, i);
        bool here = row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
        if (here && !add_words(x, &x->words[0], row->key)) return false;
        if (row->m != QS_NO_INDEX && !add_words(x, &x->words[1], row->key)) return false;
    }
    return true;
}

/* The last component says what a tensor is, and a number which of several: both stay. */
static bool strip(foreign *x, bool from, qs_str key, stripped *out) {
    x->core.n = x->out.n = 0;
    for (size_t at = 0; at < key.n;) {
        qs_str part = next_part(key, at);
        bool last = at + part.n == key.n;
        uint32_t number;
        bool skip =
            !last && !qs_name_number(part, &number) && qs_map_get(&x->words[from], part) == QS_MAP_NONE;
        qs_buf *to = skip ? &x->out : &x->core;
        qs_buf_addc(to, '.');
        qs_buf_add(to, part);
        at += part.n + 1;
    }
    if (x->core.failed || x->out.failed) return qs_nomem(x->e);
    out->core = qs_arena_str(&x->m->arena, qs_buf_str(&x->core));
    out->foreign = qs_arena_str(&x->m->arena, qs_buf_str(&x->out));
    return (out->core.p && out->foreign.p) || qs_nomem(x->e);
}

static bool enter(foreign *x, qs_map *map, qs_str core, uint32_t i) {
    uint32_t stored = qs_map_add(map, core, i);
    if (stored == QS_MAP_NONE) return qs_nomem(x->e);
    return stored == i || qs_map_put(map, core, MANY) || qs_nomem(x->e);
}

static bool strip_all(foreign *x, const char *taken) {
    for (uint32_t i = 0; i < x->m->froms.n; i++) {
        uint32_t row = x->m->froms.v[i].row;
        stripped s = {.at = i};
        if (taken[row]) continue;
        if (!strip(x, true, qs_compare_row(x->m->c, row)->key, &s)) return false;
        if (!qs_push(&x->from, s)) return qs_nomem(x->e);
        if (!enter(x, &x->core_from, s.core, (uint32_t)x->from.n - 1)) return false;
    }
    for (size_t i = 0; i < x->m->tos.n; i++) {
        stripped s = {.at = x->m->tos.v[i]};
        if (taken[s.at]) continue;
        if (!strip(x, false, qs_compare_row(x->m->c, s.at)->key, &s)) return false;
        if (!qs_push(&x->to, s)) return qs_nomem(x->e);
        if (!enter(x, &x->core_to, s.core, (uint32_t)x->to.n - 1)) return false;
    }
    return true;
}

/* The gap that has the same core, if no other has it, and no other key of the result; else NULL. */
static const stripped *partner(const foreign *x, uint32_t i) {
    const stripped *f = &x->from.v[i];
    uint32_t own = qs_map_get(&x->core_from, f->core), at = qs_map_get(&x->core_to, f->core);
    if (own != i || at == QS_MAP_NONE || at == MANY) return NULL;
    const stripped *t = &x->to.v[at];
    if (!f->foreign.n && !t->foreign.n) return NULL;
    return qs_match_fit(x->m->c, x->m->froms.v[f->at].row, t->at) >= QS_FIT_UNKNOWN ? t : NULL;
}

static uint32_t way_of(foreign *x, const stripped *f, const stripped *t) {
    x->out.n = 0;
    qs_buf_add(&x->out, f->foreign);
    qs_buf_addc(&x->out, '\n');
    qs_buf_add(&x->out, t->foreign);
    uint32_t id = x->out.failed ? QS_MAP_NONE : qs_map_get(&x->ways, qs_buf_str(&x->out));
    if (id != QS_MAP_NONE || x->out.failed) return id;
    qs_str name = qs_arena_str(&x->m->arena, qs_buf_str(&x->out));
    id = (uint32_t)x->agreed.n;
    return name.p && qs_push(&x->agreed, 0) && qs_map_put(&x->ways, name, id) ? id : QS_MAP_NONE;
}

static uint32_t *asking_of(foreign *x, const stripped *f) {
    uint32_t n = (uint32_t)x->asking.n, id = qs_map_add(&x->asked, f->foreign, n);
    if (id == QS_MAP_NONE || (id == n && !qs_push(&x->asking, 0))) return NULL;
    return &x->asking.v[id];
}

/* Several keys, and nearly all that have these words: where some do not meet, numbers may differ as well. */
static bool agree(foreign *x, uint32_t way, const stripped *f) {
    uint32_t least = x->m->anchored ? AGREE : AGREE_ALONE;
    return x->agreed.v[way] >= least && x->agreed.v[way] * 10 >= *asking_of(x, f) * 9;
}

static bool propose(foreign *x) {
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < x->from.n; i++) {
            const stripped *f = &x->from.v[i], *t = partner(x, i);
            uint32_t way = t ? way_of(x, f, t) : 0, *asking = asking_of(x, f);
            if (!asking) return qs_nomem(x->e);
            *asking += pass == 0;
            if (!t) continue;
            if (way == QS_MAP_NONE) return qs_nomem(x->e);
            if (pass == 0)
                x->agreed.v[way]++;
            else if (agree(x, way, f) &&
                     !qs_match_add(x->m, f->at, t->at, 0.92, "same name but for words one side does not know",
                                   true, x->e))
                return false;
        }
    return true;
}

bool qs_match_collect_foreign(qs_matcher *m, const char *taken, qs_err *e) {
    foreign x = {.m = m, .e = e};
    bool ok = true;
    if (m->froms.n <= SIDE_MAX && m->tos.n <= SIDE_MAX)
        ok = find_words(&x) && strip_all(&x, taken) && propose(&x);
    qs_map_free(&x.words[0]);
    qs_map_free(&x.words[1]);
    qs_vec_free(&x.from);
    qs_vec_free(&x.to);
    qs_map_free(&x.core_from);
    qs_map_free(&x.core_to);
    qs_map_free(&x.ways);
    qs_map_free(&x.asked);
    qs_vec_free(&x.agreed);
    qs_vec_free(&x.asking);
    qs_buf_free(&x.core);
    qs_buf_free(&x.out);
    return ok;
}

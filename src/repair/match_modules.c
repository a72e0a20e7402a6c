/* Modules that have another name in the model, or that something was put around: trunk.* for model.*,
 * X.inner.* for X.*. Found by voting: a key votes for the change of name that leaves the longest ending it
 * shares with just one gap of its shape; a change is believed when most keys below it meet gaps. Names whose
 * dots became underscores (mmcv's EMA) are cut at those. */
#include "repair/match_impl.h"

#include <stdlib.h>

/* Endings cost memory for every component of every name. */
enum { SIDE_MAX = 60000, MANY = UINT32_MAX - 1, KEY_MAX = 1024 };

/* A name as it is compared, and whose it is. */
typedef struct view {
    qs_str key;
    uint32_t at; /* index into m->froms; a row */
} view;

typedef struct change {
    qs_str from, to;   /* heads, without the separator behind them; "" for none */
    uint32_t votes[2]; /* of froms, of gaps */
    uint32_t hits;
    bool ranked; /* the blocks below have other numbers, and correspond by order */
} change;

/* A first component below a head that is a number. */
typedef struct block {
    uint32_t number;
    qs_str part;
} block;

typedef struct side {
    QS_VEC(view) v;       /* by key */
    qs_map endings;       /* "shape ending" -> index into v, or MANY */
    QS_VEC(block) blocks; /* below the change that is looked at, by number */
} side;

typedef struct modules {
    qs_matcher *m;
    qs_err *e;
    const char *taken;
    char sep;
    bool shapes; /* known of every gap */
    side from, to;
    qs_map gap_of;  /* name of a gap -> index into to.v, or MANY */
    qs_map leaves;  /* last parts of gaps */
    qs_map modules; /* names of the model's modules, where dots became underscores */
    QS_VEC(change) changes;
    qs_map change_ids;
    uint32_t *strength;   /* of the change that claims a from, by index into from.v */
    QS_VEC(qs_str) apart; /* below the change that is looked at: lists numbered otherwise than the model's */
    qs_buf name;
} modules;

static int by_key(const void *a, const void *b) {
    return qs_str_cmp(((const view *)a)->key, ((const view *)b)->key);
}

/* ---- names as they are compared ---- */

static qs_str shown(modules *x, qs_str key) {
    if (x->sep == '.' || !memchr(key.p, '.', key.n)) return key;
    x->name.n = 0;
    for (size_t i = 0; i < key.n; i++) qs_buf_addc(&x->name, key.p[i] == '.' ? '_' : key.p[i]);
    return x->name.failed ? (qs_str){NULL, 0} : qs_arena_str(&x->m->arena, qs_buf_str(&x->name));
}

static bool add_view(modules *x, side *s, qs_str key, uint32_t at) {
    qs_str name = shown(x, key);
    return (name.p && qs_push(&s->v, (view){name, at})) || qs_nomem(x->e);
}

static bool find_modules(modules *x) {
    for (uint32_t i = 0; i < qs_compare_nodes(x->m->c); i++) {
        const qs_tree_node *n = qs_compare_node(x->m->c, i);
        if (n->row != QS_NO_INDEX || !n->count_m) continue;
        qs_str name = shown(x, n->path);
        if (!name.p || !qs_map_put(&x->modules, name, i)) return qs_nomem(x->e);
    }
    return true;
}

/* The node of the model's module of this name, or QS_NO_INDEX. */
static uint32_t module_of(const modules *x, qs_str name) {
    uint32_t node = x->sep == '.' ? qs_compare_find_module(x->m->c, name) : qs_map_get(&x->modules, name);
    bool known = node != QS_NO_INDEX && node != QS_MAP_NONE && qs_compare_node(x->m->c, node)->count_m > 0;
    return known ? node : QS_NO_INDEX;
}

static bool is_module(const modules *x, qs_str name) {
    return module_of(x, name) != QS_NO_INDEX;
}

/* "gamma" is compared as "weight", if the model lacks a weight somewhere and knows no gamma. */
static qs_str modern(modules *x, qs_str key) {
    qs_str head, leaf = qs_str_leaf(key);
    if (qs_map_get(&x->leaves, leaf) != QS_MAP_NONE) return key;
    for (size_t i = 0; i < qs_tail_rename_count; i++) {
        const qs_tail_rename *t = &qs_tail_renames[i];
        if (strchr(t->from, '.') || strchr(t->to, '.') || !qs_name_has_tail(key, t->from, &head)) continue;
        if (!head.n || qs_map_get(&x->leaves, qs_str_of(t->to)) == QS_MAP_NONE) continue;
        x->name.n = 0;
        qs_buf_addf(&x->name, "%.*s.%s", QS_FMT(head), t->to);
        return x->name.failed ? (qs_str){NULL, 0} : qs_arena_str(&x->m->arena, qs_buf_str(&x->name));
    }
    return key;
}

static bool take_gaps(modules *x) {
    qs_shape shape;
    x->shapes = true;
    for (size_t i = 0; i < x->m->tos.n; i++) {
        uint32_t row = x->m->tos.v[i];
        qs_str key = qs_compare_row(x->m->c, row)->key;
        if (x->taken[row]) continue;
        x->shapes &= qs_match_wanted(x->m->c, row, &shape);
        if (!add_view(x, &x->to, key, row)) return false;
        if (!qs_map_put(&x->leaves, qs_str_leaf(key), row)) return qs_nomem(x->e);
    }
    return true;
}

static bool take_sides(modules *x) {
    if (!take_gaps(x)) return false;
    for (uint32_t i = 0; i < x->m->froms.n; i++) {
        const qs_match_from *f = &x->m->froms.v[i];
        /* a change of prefix that may be chance would hide the true one */
        qs_str key = x->m->prefix_sure ? f->key : qs_compare_row(x->m->c, f->row)->key;
        if (x->taken[f->row]) continue;
        key = modern(x, key);
        if (!key.p) return qs_nomem(x->e);
        if (!add_view(x, &x->from, key, i)) return false;
    }
    if (x->from.v.n) qsort(x->from.v.v, x->from.v.n, sizeof *x->from.v.v, by_key);
    if (x->to.v.n) qsort(x->to.v.v, x->to.v.n, sizeof *x->to.v.v, by_key);
    for (uint32_t i = 0; i < x->to.v.n; i++) {
        uint32_t stored = qs_map_add(&x->gap_of, x->to.v.v[i].key, i);
        bool ok = stored != QS_MAP_NONE && (stored == i || qs_map_put(&x->gap_of, x->to.v.v[i].key, MANY));
        if (!ok) return qs_nomem(x->e);
    }
    return x->sep == '.' || find_modules(x);
}

/* ---- endings ---- */

static bool shape_of(const modules *x, bool from, uint32_t at, qs_shape *shape) {
    if (!from) return qs_match_wanted(x->m->c, at, shape);
    const qs_row *row = qs_compare_row(x->m->c, x->m->froms.v[at].row);
    const qs_resolved *r = qs_resolution_entry(qs_compare_resolution(x->m->c), row->r);
    *shape = r->shape;
    return r->shape_known;
}

/* "16x3 ": what goes before an ending, so that only equal shapes meet. */
static void shape_text(const modules *x, bool from, uint32_t at, char *out, size_t cap) {
    qs_shape shape;
    *out = 0;
    if (!x->shapes || !shape_of(x, from, at, &shape)) return;
    size_t n = qs_shape_text(shape, "x", out, cap - 1);
    if (n + 1 < cap) memcpy(out + n, " ", 2);
}

static size_t next_ending(const modules *x, qs_str key, size_t at) {
    while (at < key.n && key.p[at] != x->sep) at++;
    return at < key.n ? at + 1 : key.n;
}

static qs_str ending(modules *x, const char *shape, qs_str key, size_t at) {
    x->name.n = 0;
    qs_buf_addz(&x->name, shape);
    qs_buf_add(&x->name, qs_str_sub(key, at, key.n));
    return x->name.failed ? (qs_str){NULL, 0} : qs_buf_str(&x->name);
}

static bool enter_endings(modules *x, side *s, bool from) {
    for (uint32_t i = 0; i < s->v.n; i++) {
        char shape[256];
        qs_str key = s->v.v[i].key;
        shape_text(x, from, s->v.v[i].at, shape, sizeof shape);
        for (size_t at = 0; at < key.n; at = next_ending(x, key, at)) {
            qs_str end = ending(x, shape, key, at);
            if (!end.p) return qs_nomem(x->e);
            uint32_t stored = qs_map_get(&s->endings, end);
            if (stored == MANY) continue;
            qs_str kept = stored == QS_MAP_NONE ? qs_arena_str(&x->m->arena, end) : end;
            if (!kept.p || !qs_map_put(&s->endings, kept, stored == QS_MAP_NONE ? i : MANY))
                return qs_nomem(x->e);
        }
    }
    return true;
}

/* ---- votes ---- */

static uint32_t change_id(modules *x, qs_str from, qs_str to) {
    x->name.n = 0;
    qs_buf_add(&x->name, from);
    qs_buf_addc(&x->name, '\n');
    qs_buf_add(&x->name, to);
    if (x->name.failed) return QS_MAP_NONE;
    uint32_t id = qs_map_get(&x->change_ids, qs_buf_str(&x->name));
    if (id != QS_MAP_NONE) return id;
    qs_str name = qs_arena_str(&x->m->arena, qs_buf_str(&x->name));
    id = (uint32_t)x->changes.n;
    bool ok = name.p && qs_push(&x->changes, (change){.from = from, .to = to}) &&
              qs_map_put(&x->change_ids, name, id);
    return ok ? id : QS_MAP_NONE;
}

static qs_str head_of(qs_str key, size_t ending_bytes) {
    size_t n = key.n - ending_bytes;
    return qs_str_sub(key, 0, n ? n - 1 : 0);
}

static qs_fit fit_of(const modules *x, const view *f, const view *t) {
    return qs_match_fit(x->m->c, x->m->froms.v[f->at].row, t->at);
}

/* One key's vote; `back` when it is a gap's. */
static bool vote(modules *x, const side *mine, const side *other, uint32_t i, bool back) {
    char shape[256];
    const view *own = &mine->v.v[i];
    shape_text(x, !back, own->at, shape, sizeof shape);
    for (size_t at = 0; at < own->key.n; at = next_ending(x, own->key, at)) {
        qs_str end = ending(x, shape, own->key, at);
        if (!end.p) return qs_nomem(x->e);
        uint32_t hit = qs_map_get(&other->endings, end);
        if (hit == QS_MAP_NONE) continue;
        if (hit == MANY) return true;
        const view *met = &other->v.v[hit];
        if (fit_of(x, back ? met : own, back ? own : met) < QS_FIT_UNKNOWN) return true;
        qs_str head = head_of(own->key, own->key.n - at), theirs = head_of(met->key, own->key.n - at);
        uint32_t id = back ? change_id(x, theirs, head) : change_id(x, head, theirs);
        if (id == QS_MAP_NONE) return qs_nomem(x->e);
        x->changes.v[id].votes[back]++;
        return true;
    }
    return true;
}

static bool all_vote(modules *x) {
    for (uint32_t i = 0; i < x->from.v.n; i++)
        if (!vote(x, &x->from, &x->to, i, false)) return false;
    for (uint32_t i = 0; i < x->to.v.n; i++)
        if (!vote(x, &x->to, &x->from, i, true)) return false;
    return true;
}

static bool propose(void *ctx, qs_str from, qs_str to) {
    return change_id(ctx, from, to) != QS_MAP_NONE;
}

/* ---- judging a change ---- */

/* [first, end) of the names below a head, which are adjacent. */
typedef struct range {
    size_t first, end;
} range;

static bool is_below(const modules *x, qs_str key, qs_str head) {
    return !head.n || (key.n > head.n && key.p[head.n] == x->sep && qs_str_starts(key, head));
}

static range below(const modules *x, const side *s, qs_str head) {
    size_t lo = 0, hi = s->v.n;
    char first[KEY_MAX + 2];
    if (!head.n) return (range){0, s->v.n};
    if (head.n > KEY_MAX) return (range){0, 0};
    memcpy(first, head.p, head.n);
    first[head.n] = x->sep;
    qs_str start = {first, head.n + 1};
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (qs_str_cmp(s->v.v[mid].key, start) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (hi = lo; hi < s->v.n && is_below(x, s->v.v[hi].key, head);) hi++;
    return (range){lo, hi};
}

static qs_str rest_of(qs_str key, qs_str head) {
    return qs_str_sub(key, head.n ? head.n + 1 : 0, key.n);
}

static qs_str first_part(const modules *x, qs_str rest) {
    size_t n = 0;
    while (n < rest.n && rest.p[n] != x->sep) n++;
    return qs_str_sub(rest, 0, n);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = ((const block *)a)->number, y = ((const block *)b)->number;
    return x < y ? -1 : x > y;
}

/* The blocks below a head; *numbers says whether there is nothing else. */
static bool find_blocks(modules *x, side *s, qs_str head, bool *numbers) {
    range r = below(x, s, head);
    *numbers = r.end > r.first;
    s->blocks.n = 0;
    for (size_t i = r.first; i < r.end && *numbers; i++) {
        block b = {.part = first_part(x, rest_of(s->v.v[i].key, head))};
        if (s->blocks.n && qs_str_eq(s->blocks.v[s->blocks.n - 1].part, b.part)) continue;
        *numbers = qs_name_number(b.part, &b.number);
        if (*numbers && !qs_push(&s->blocks, b)) return qs_nomem(x->e);
    }
    if (*numbers) qsort(s->blocks.v, s->blocks.n, sizeof *s->blocks.v, by_number);
    return true;
}

/* Is some of the model's list in its place already? Then what is left of it has an order of its own. */
static bool is_begun(const modules *x, qs_str list) {
    uint32_t node = module_of(x, list);
    range r = below(x, &x->to, list);
    return node != QS_NO_INDEX && qs_compare_node(x->m->c, node)->count_m > r.end - r.first;
}

/* Blocks that are numbered otherwise must not be paired by number: by order if there are as many, else not at
 * all. */
static bool find_numbering(modules *x, change *c, bool *good) {
    bool a, b;
    c->ranked = false;
    if (!find_blocks(x, &x->from, c->from, &a) || !find_blocks(x, &x->to, c->to, &b)) return false;
    *good = !a || !b || x->from.blocks.n == x->to.blocks.n;
    for (size_t i = 0; a && b && *good && i < x->from.blocks.n; i++)
        c->ranked |= x->from.blocks.v[i].number != x->to.blocks.v[i].number;
    if (c->ranked && is_begun(x, c->to)) *good = false;
    return true;
}

/* The number of the block in the model, once find_numbering has looked. */
static qs_str ranked_part(const modules *x, qs_str part) {
    block key;
    if (!qs_name_number(part, &key.number)) return part;
    const block *at = bsearch(&key, x->from.blocks.v, x->from.blocks.n, sizeof key, by_number);
    return at ? x->to.blocks.v[at - x->from.blocks.v].part : part;
}

/* The view of the gap that `key` would fill, or MANY. */
static uint32_t target_of(modules *x, const change *c, qs_str key) {
    qs_str rest = rest_of(key, c->from), part = first_part(x, rest);
    x->name.n = 0;
    qs_buf_add(&x->name, c->to);
    if (c->to.n) qs_buf_addc(&x->name, x->sep);
    qs_buf_add(&x->name, c->ranked ? ranked_part(x, part) : part);
    qs_buf_add(&x->name, qs_str_sub(rest, part.n, rest.n));
    uint32_t at = x->name.failed ? QS_MAP_NONE : qs_map_get(&x->gap_of, qs_buf_str(&x->name));
    return at == QS_MAP_NONE ? MANY : at;
}

/* Where a name that meets no gap leaves the model at a number (layers.5 of a model with layers.0 to 4), the
 * list it is in is numbered otherwise, and no number in it means anything until all are known. Returns how
 * many bytes of `key` name the list, 0 if there is none; x->name begins with the list's name in the model
 * then, *now bytes. */
static size_t list_apart(modules *x, const change *c, qs_str key, size_t *now) {
    qs_str rest = rest_of(key, c->from);
    size_t head = key.n - rest.n, at = 0;
    uint32_t unused;
    x->name.n = 0;
    qs_buf_add(&x->name, c->to);
    while (at < rest.n && !x->name.failed) {
        qs_str part = first_part(x, qs_str_sub(rest, at, rest.n)), list = qs_buf_str(&x->name);
        bool known = at && is_module(x, list);
        if (at && !known && x->sep == '.') return 0;
        *now = list.n;
        if (x->name.n) qs_buf_addc(&x->name, x->sep);
        qs_buf_add(&x->name, part);
        if (known && qs_name_number(part, &unused) && !is_module(x, qs_buf_str(&x->name)))
            return head + at - 1;
        at += part.n + 1;
    }
    return 0;
}

/* The lists themselves are changes to be judged, too: their blocks may correspond by order. */
static bool find_apart(modules *x, const change *c) {
    range r = below(x, &x->from, c->from);
    x->apart.n = 0;
    for (size_t i = r.first; i < r.end && !c->ranked; i++) {
        qs_str key = x->from.v.v[i].key;
        if (x->apart.n && is_below(x, key, x->apart.v[x->apart.n - 1])) continue;
        size_t now, n = list_apart(x, c, key, &now);
        if (!n) continue;
        qs_str to = qs_arena_str(&x->m->arena, qs_str_sub(qs_buf_str(&x->name), 0, now));
        if (!to.p || !qs_push(&x->apart, qs_str_sub(key, 0, n))) return qs_nomem(x->e);
        if (change_id(x, qs_str_sub(key, 0, n), to) == QS_MAP_NONE) return qs_nomem(x->e);
    }
    return true;
}

static bool is_apart(const modules *x, qs_str key) {
    for (size_t i = 0; i < x->apart.n; i++)
        if (is_below(x, key, x->apart.v[i])) return true;
    return false;
}

static qs_str parent_of(const modules *x, qs_str name) {
    size_t n = name.n;
    while (n > 0 && name.p[n - 1] != x->sep) n--;
    return qs_str_sub(name, 0, n ? n - 1 : 0);
}

/* block.3 for block.1: which of the blocks is meant is decided by all of them together. */
static bool is_renumbering(const modules *x, const change *c) {
    qs_str a = parent_of(x, c->from), b = parent_of(x, c->to);
    uint32_t was, now;
    return qs_name_number(rest_of(c->from, a), &was) && qs_name_number(rest_of(c->to, b), &now) && was != now;
}

/* p.cv2 for q.cv3, where the model has a q.cv2 as well: the module has a namesake, and would not be called
 * otherwise. */
static bool has_namesake(modules *x, const change *c) {
    qs_str a = c->from, b = c->to, was = {"", 0}, now = {"", 0};
    while (a.n && b.n && qs_str_eq(was, now)) {
        qs_str up_a = parent_of(x, a), up_b = parent_of(x, b);
        was = rest_of(a, up_a);
        now = rest_of(b, up_b);
        a = up_a;
        b = up_b;
    }
    if (!was.n || qs_str_eq(was, now)) return false;
    x->name.n = 0;
    qs_buf_add(&x->name, b);
    if (b.n) qs_buf_addc(&x->name, x->sep);
    qs_buf_add(&x->name, was);
    return !x->name.failed && is_module(x, qs_buf_str(&x->name));
}

/* X for X.inner, or X.inner for X: a wrapper nobody told us of. */
static bool is_infix(const modules *x, const change *c) {
    return (c->from.n > c->to.n && is_below(x, c->from, c->to)) ||
           (c->to.n > c->from.n && is_below(x, c->to, c->from));
}

typedef struct tally {
    uint32_t asked, hits,
        weights;   /* keys below; those that meet a gap; those of them that are no quantizer's */
    uint32_t gaps; /* below the other name, quantizers' left out */
    bool large;    /* one that meets is a matrix: not alike by chance */
} tally;

/* A quantizer's tensor of a kind the model lacks nowhere: of another framework. It meets no gap anywhere. */
static bool is_of_others(const modules *x, const view *f) {
    const qs_row *row = qs_compare_row(x->m->c, x->m->froms.v[f->at].row);
    return qs_match_is_quant(row) && qs_map_get(&x->leaves, qs_str_leaf(row->key)) == QS_MAP_NONE;
}

static tally count_hits(modules *x, const change *c) {
    tally t = {0};
    range r = below(x, &x->from, c->from), g = below(x, &x->to, c->to);
    for (size_t i = r.first; i < r.end; i++) {
        const view *f = &x->from.v.v[i];
        uint32_t at = target_of(x, c, f->key);
        qs_shape shape;
        if (is_apart(x, f->key) || is_of_others(x, f)) continue;
        t.asked++;
        if (at == MANY || fit_of(x, f, &x->to.v.v[at]) < QS_FIT_UNKNOWN) continue;
        t.hits++;
        t.weights += !qs_match_is_quant(qs_compare_row(x->m->c, x->to.v.v[at].at));
        t.large |= shape_of(x, true, f->at, &shape) && shape.ndim >= 2 && qs_shape_numel(shape) >= 16;
    }
    for (size_t i = g.first; i < g.end; i++)
        t.gaps += !qs_match_is_quant(qs_compare_row(x->m->c, x->to.v.v[i].at));
    return t;
}

/* Most keys below meet a gap (all, where blocks move: half a block moved is two spoilt), and they are most of
 * what the module lacks. One key alone must be a matrix that both sides voted for; without shapes a few names
 * more are asked for, and more still where nothing else is in its place. */
static bool believable(const modules *x, const change *c, const tally *t) {
    if (!t->hits || t->hits * (c->ranked ? 1 : 2) < t->asked) return false;
    if (is_infix(x, c)) return t->hits >= 2 || t->large;
    if (!t->weights || t->weights * 2 < t->gaps) return false;
    if (!c->from.n && !c->to.n) return true; /* the same name but for dots */
    if (!x->m->anchored) return t->hits >= 8;
    if (!x->shapes) return t->hits >= 4;
    return t->hits >= 2 || (t->large && c->votes[0] && c->votes[1]);
}

static int by_hits(const void *a, const void *b) {
    const change *x = a, *y = b;
    if (x->hits != y->hits) return x->hits > y->hits ? -1 : 1;
    int order = qs_str_cmp(x->from, y->from);
    return order ? order : qs_str_cmp(x->to, y->to);
}

static bool keep_believable(modules *x) {
    size_t kept = 0;
    for (size_t i = 0; i < x->changes.n; i++) { /* which may grow on the way */
        change c = x->changes.v[i];
        bool good;
        /* blocks that have kept their place tell about the others: qs_match_renumber sees all of them, unless
         * there is a prefix */
        if (x->sep == '.' && !x->m->prefix_sure && qs_str_eq(c.from, c.to)) continue;
        if (is_renumbering(x, &c)) {
            if (change_id(x, parent_of(x, c.from), parent_of(x, c.to)) == QS_MAP_NONE) return qs_nomem(x->e);
            continue;
        }
        if (has_namesake(x, &c)) continue;
        if (!find_numbering(x, &c, &good)) return false;
        if (!good) continue;
        if (!find_apart(x, &c)) return false;
        tally t = count_hits(x, &c);
        c.hits = t.hits;
        if (believable(x, &c, &t)) x->changes.v[kept++] = c;
    }
    x->changes.n = kept;
    if (kept) qsort(x->changes.v, kept, sizeof *x->changes.v, by_hits);
    return true;
}

/* Candidates for the keys below. A claim by a change that a far larger one contradicts is chance. */
static bool claim(modules *x, change c) {
    range r = below(x, &x->from, c.from);
    bool infix = is_infix(x, &c), good;
    if (!find_numbering(x, &c, &good) || !find_apart(x, &c)) return false;
    const char *reason = infix                  ? "same name but for what was put around a module"
                         : !c.from.n && !c.to.n ? "same name with . for _"
                         : c.ranked             ? "blocks with the same contents, in the same order"
                                    : "the module has another name in the model, and the same contents";
    double confidence = infix ? 0.94 : c.hits > 1 ? 0.9 : 0.85;
    for (size_t i = r.first; i < r.end; i++) {
        const view *f = &x->from.v.v[i];
        uint32_t at = target_of(x, &c, f->key);
        if (at == MANY || is_apart(x, f->key) || x->strength[i] / 4 >= c.hits) continue;
        if (fit_of(x, f, &x->to.v.v[at]) < QS_FIT_UNKNOWN) continue;
        if (!x->strength[i]) x->strength[i] = c.hits;
        if (!qs_match_add(x->m, f->at, x->to.v.v[at].at, confidence, reason, true, x->e)) return false;
    }
    return true;
}

static bool claim_all(modules *x) {
    x->strength = calloc(x->from.v.n + 1, sizeof *x->strength);
    if (!x->strength) return qs_nomem(x->e);
    size_t n = x->changes.n; /* looking at them again adds no new ones */
    for (size_t i = 0; i < n; i++)
        if (!claim(x, x->changes.v[i])) return false;
    return true;
}

static void modules_free(modules *x) {
    qs_vec_free(&x->from.v);
    qs_vec_free(&x->to.v);
    qs_map_free(&x->from.endings);
    qs_map_free(&x->to.endings);
    qs_vec_free(&x->from.blocks);
    qs_vec_free(&x->to.blocks);
    qs_map_free(&x->gap_of);
    qs_map_free(&x->leaves);
    qs_map_free(&x->modules);
    qs_vec_free(&x->changes);
    qs_map_free(&x->change_ids);
    free(x->strength);
    qs_vec_free(&x->apart);
    qs_buf_free(&x->name);
}

static bool run(qs_matcher *m, const char *taken, char sep, qs_err *e) {
    modules x = {.m = m, .e = e, .taken = taken, .sep = sep};
    bool ok = take_sides(&x);
    if (ok && x.from.v.n && x.to.v.n && x.from.v.n <= SIDE_MAX && x.to.v.n <= SIDE_MAX)
        ok = enter_endings(&x, &x.from, true) && enter_endings(&x, &x.to, false) && all_vote(&x) &&
             (sep != '.' || qs_match_find_alone(m, taken, propose, &x, e)) && keep_believable(&x) &&
             claim_all(&x);
    modules_free(&x);
    return ok;
}

static size_t dots(qs_str key) {
    size_t n = 0;
    for (size_t i = 0; i < key.n; i++) n += key.p[i] == '.';
    return n;
}

/* Have the names of the result no more dots, so that underscores may stand for some? */
static bool may_be_flat(const qs_matcher *m) {
    size_t from = 0, to = 0;
    for (size_t i = 0; i < m->froms.n; i++) from += dots(qs_compare_row(m->c, m->froms.v[i].row)->key);
    for (size_t i = 0; i < m->tos.n; i++) to += dots(qs_compare_row(m->c, m->tos.v[i])->key);
    return m->froms.n && m->tos.n && from * m->tos.n <= to * m->froms.n;
}

bool qs_match_collect_modules(qs_matcher *m, const char *taken, qs_err *e) {
    size_t before = m->found.n;
    if (!run(m, taken, '.', e)) return false;
    return m->found.n > before || !may_be_flat(m) || run(m, taken, '_', e);
}

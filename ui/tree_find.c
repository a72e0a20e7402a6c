#include "ui/tree_impl.h"

#include <stdlib.h>

const char *qs_sort_name(qs_sort s) {
    static const char *const names[QS_SORT_COUNT] = {"the model's", "by name", "by size",
                                                     "as in the file of A"};
    return names[s < QS_SORT_COUNT ? s : QS_SORT_MODEL];
}

const char *qs_sort_word(qs_sort s) {
    static const char *const words[QS_SORT_COUNT] = {"model", "name", "size", "file"};
    return words[s < QS_SORT_COUNT ? s : QS_SORT_MODEL];
}

/* Bytes of the key's value, from whichever side has it. */
static uint64_t row_bytes(const qs_tree *t, uint32_t i) {
    const qs_row *row = qs_compare_row(t->c, i);
    const qs_resolution *r = qs_session_resolution(t->s);
    qs_shape shape = {0};
    qs_dtype dtype = QS_DTYPE_UNKNOWN;
    if (r && row->r != QS_NO_INDEX) {
        shape = qs_resolution_entry(r, row->r)->shape;
        dtype = qs_resolution_entry(r, row->r)->dtype;
    } else if (row->m != QS_NO_INDEX) {
        shape = qs_manifest_entry(qs_session_target(t->s), row->m)->shape;
        dtype = qs_manifest_entry(qs_session_target(t->s), row->m)->dtype;
    }
    uint64_t n = qs_shape_numel(shape), size = qs_dtype_get(dtype)->size;
    return size && n > UINT64_MAX / size ? UINT64_MAX : n * size;
}

typedef struct order {
    const qs_tree *t;
    const uint64_t *weight; /* by node: what has most comes first; NULL: by name */
} order;

static int compare_nodes(const void *a, const void *b, void *ctx) {
    const order *o = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    bool mx = qs_tree_is_module(o->t, x), my = qs_tree_is_module(o->t, y);
    if (mx != my) return mx ? 1 : -1; /* keys before modules */
    if (o->weight && o->weight[x] != o->weight[y]) return o->weight[x] > o->weight[y] ? -1 : 1;
    int c = qs_str_cmp_natural(qs_compare_node(o->t->c, x)->path, qs_compare_node(o->t->c, y)->path);
    return c ? c : x < y ? -1 : x > y;
}

static void sort_nodes(const order *o, uint32_t *v, size_t n) {
    qsort_r(v, n, sizeof *v, compare_nodes, (void *)o);
}

static uint64_t *sum_bytes(const qs_tree *t) {
    uint64_t *bytes = calloc((size_t)t->nodes + 1, sizeof *bytes);
    for (uint32_t i = 0; bytes && i < t->leaves; i++) {
        uint64_t size = row_bytes(t, i);
        for (uint32_t n = qs_compare_row(t->c, i)->tree; n != QS_NO_INDEX; n = t->parent[n])
            bytes[n] = bytes[n] > UINT64_MAX - size ? UINT64_MAX : bytes[n] + size;
    }
    return bytes;
}

/* The earlier in A's file, the more; a module goes by the first of its keys, what A has not comes last. */
static uint64_t *places_in_a(const qs_tree *t) {
    uint64_t *place = calloc((size_t)t->nodes + 1, sizeof *place);
    const qs_resolution *r = qs_session_resolution(t->s);
    for (uint32_t i = 0; place && r && i < t->leaves; i++) {
        const qs_row *row = qs_compare_row(t->c, i);
        uint32_t entry = row->r == QS_NO_INDEX ? QS_NO_INDEX : qs_resolution_entry(r, row->r)->a;
        if (entry == QS_NO_INDEX) continue;
        for (uint32_t n = row->tree; n != QS_NO_INDEX; n = t->parent[n])
            if (place[n] < UINT64_MAX - entry) place[n] = UINT64_MAX - entry;
    }
    return place;
}

/* Links the children of one module in order; `room` holds as many ids as there are nodes. */
static void sort_children(qs_tree *t, const order *o, uint32_t module, uint32_t *room) {
    size_t n = 0;
    for (uint32_t child = t->first[module]; child != QS_NO_INDEX; child = t->next[child]) room[n++] = child;
    if (n < 2) return;
    sort_nodes(o, room, n);
    t->first[module] = room[0];
    for (size_t i = 0; i < n; i++) t->next[room[i]] = i + 1 < n ? room[i + 1] : QS_NO_INDEX;
}

static void list_leaves(qs_tree *t) {
    uint32_t at = 0;
    for (uint32_t n = t->nodes ? 0 : QS_NO_INDEX; n != QS_NO_INDEX; n = qs_tree_after(t, n, 0)) {
        uint32_t row = qs_compare_node(t->c, n)->row;
        if (row != QS_NO_INDEX && at < t->leaves) t->leaf[at++] = row;
    }
}

static bool list_flat(qs_tree *t, const order *o) {
    for (uint32_t i = 0; i < t->leaves; i++) t->leaf[i] = i;
    if (t->sort == QS_SORT_MODEL) return true;
    uint32_t *nodes = malloc(((size_t)t->leaves + 1) * sizeof *nodes);
    if (!nodes) return false;
    for (uint32_t i = 0; i < t->leaves; i++) nodes[i] = qs_compare_row(t->c, i)->tree;
    sort_nodes(o, nodes, t->leaves);
    for (uint32_t i = 0; i < t->leaves; i++) t->leaf[i] = qs_compare_node(t->c, nodes[i])->row;
    free(nodes);
    return true;
}

static void link_as_compared(qs_tree *t) {
    for (uint32_t i = 0; i < t->nodes; i++) {
        const qs_tree_node *n = qs_compare_node(t->c, i);
        t->first[i] = n->first_child;
        t->next[i] = n->next_sibling;
        t->parent[i] = n->parent;
    }
}

bool qs_tree_arrange(qs_tree *t) {
    link_as_compared(t);
    uint32_t *room = NULL;
    uint64_t *place = NULL;
    bool ok = true;
    free(t->bytes);
    t->bytes = NULL;
    if (t->sort == QS_SORT_SIZE) ok = (t->bytes = sum_bytes(t)) != NULL;
    if (t->sort == QS_SORT_FILE) ok = (place = places_in_a(t)) != NULL;
    order o = {t, t->bytes ? t->bytes : place};
    if (ok && t->sort != QS_SORT_MODEL && !t->flat) {
        room = malloc(((size_t)t->nodes + 1) * sizeof *room);
        ok = room != NULL;
        for (uint32_t i = 0; ok && i < t->nodes; i++) sort_children(t, &o, i, room);
    }
    if (ok && t->flat)
        ok = list_flat(t, &o);
    else if (ok)
        list_leaves(t);
    for (uint32_t i = 0; i < t->leaves; i++) t->position[t->leaf[i]] = i;
    free(room);
    free(place);
    return ok;
}

/* Goes up only as far as a module gets its first mark, or loses its last. */
static void count_mark(qs_tree *t, uint32_t row, bool on) {
    for (uint32_t n = t->parent[qs_compare_row(t->c, row)->tree]; n != QS_NO_INDEX; n = t->parent[n])
        if (on ? t->marked_in[n]++ > 0 : --t->marked_in[n] > 0) return;
}

static bool passes(const qs_tree *t, const qs_row *row, uint8_t flag) {
    const qs_tree_filter *f = &t->filter;
    if (!(f->statuses & 1u << row->status) || !(f->roles & 1u << row->role)) return false;
    if (f->family != QS_FAMILY_NONE && (int)row->family != f->family) return false;
    if (f->changed_only && row->mark == QS_MARK_NONE) return false;
    if (f->marked_only && !(flag & QS_KEY_MARKED)) return false;
    return !t->filter_text || qs_search_match(t->filter_text, row->key, NULL, NULL);
}

bool qs_tree_filtered(const qs_tree *t) {
    return t->filter_text || t->filter.changed_only || t->filter.marked_only ||
           t->filter.statuses != UINT32_MAX || t->filter.roles != UINT32_MAX ||
           t->filter.family != QS_FAMILY_NONE;
}

static bool is_marked(const qs_tree *t, qs_str key) {
    uint32_t i = t->marks.n ? qs_map_get(&t->mark_of, key) : QS_MAP_NONE;
    return i != QS_MAP_NONE && t->marks.v[i].on;
}

/* What loads and then fails in forward has no status of its own: the verdict knows it. */
static void flag_later(qs_tree *t) {
    const qs_verdict *v = qs_session_verdict(t->s);
    memset(t->later, 0, t->nodes * sizeof *t->later);
    for (size_t i = 0; v && i < qs_verdict_count(v); i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        uint32_t row = f->kind == QS_FIND_FORWARD ? qs_compare_find(t->c, f->key) : QS_NO_INDEX;
        if (row == QS_NO_INDEX || (t->flag[t->position[row]] & QS_KEY_LATER)) continue;
        t->flag[t->position[row]] |= QS_KEY_LATER;
        for (uint32_t n = qs_compare_row(t->c, row)->tree; n != QS_NO_INDEX && n != 0; n = t->parent[n])
            t->later[n]++;
    }
}

void qs_tree_reflag(qs_tree *t) {
    memset(t->shown, 0, t->nodes * sizeof *t->shown);
    memset(t->marked_in, 0, t->nodes * sizeof *t->marked_in);
    t->hits = t->shown_leaves = t->marked = 0;
    for (uint32_t i = 0; i < t->leaves; i++) {
        const qs_row *row = qs_compare_row(t->c, t->leaf[i]);
        uint8_t flag = qs_status_get(row->status)->problem ? QS_KEY_PROBLEM : 0;
        if (is_marked(t, row->key)) flag |= QS_KEY_MARKED;
        if (t->search && qs_search_match(t->search, row->key, NULL, NULL)) flag |= QS_KEY_HIT;
        if (passes(t, row, flag)) flag |= QS_KEY_SHOWN;
        t->flag[i] = flag;
        t->hits += (flag & QS_KEY_HIT) && (flag & QS_KEY_SHOWN);
        t->marked += (flag & QS_KEY_MARKED) != 0;
        if (flag & QS_KEY_MARKED) count_mark(t, t->leaf[i], true);
        if (!(flag & QS_KEY_SHOWN)) continue;
        t->shown_leaves++;
        for (uint32_t n = row->tree; n != QS_NO_INDEX && n != 0; n = t->parent[n]) t->shown[n]++;
    }
    flag_later(t);
}

bool qs_tree_row_has(const qs_tree *t, uint32_t row, uint8_t flag) {
    return t->flag[t->position[row]] & flag;
}

/* Display position the cursor stands before: of its key, or of the first key of its module. */
static uint32_t cursor_position(const qs_tree *t, bool *on_key) {
    uint32_t node = qs_tree_selected(t);
    *on_key = node != QS_NO_INDEX && !qs_tree_is_module(t, node);
    uint32_t row = QS_NO_INDEX;
    if (node == QS_NO_INDEX || !qs_tree_next_below(t, node, &row)) return 0;
    return t->position[row];
}

bool qs_tree_seek(qs_tree *t, uint8_t flag, int dir, bool *wrapped) {
    *wrapped = false;
    if (t->leaves == 0) return false;
    bool on_key;
    uint32_t from = cursor_position(t, &on_key), n = t->leaves;
    uint8_t want = flag | QS_KEY_SHOWN;
    for (uint32_t k = on_key || dir < 0 ? 1 : 0; k <= n; k++) {
        uint32_t i = dir > 0 ? (from + k) % n : (from + n - k % n) % n;
        if ((t->flag[i] & want) != want) continue;
        *wrapped = dir > 0 ? i < from || k == n : i > from || k == n;
        return qs_tree_reveal(t, qs_compare_row(t->c, t->leaf[i])->tree);
    }
    return false;
}

bool qs_tree_search(qs_tree *t, qs_str pattern) {
    qs_search *s = pattern.n ? qs_search_new(pattern) : NULL;
    if (pattern.n && !s) return false;
    qs_search_free(t->search);
    t->search = s;
    t->hits = 0;
    for (uint32_t i = 0; i < t->leaves; i++) {
        t->flag[i] &= (uint8_t)~QS_KEY_HIT;
        if (!s || !qs_search_match(s, qs_compare_row(t->c, t->leaf[i])->key, NULL, NULL)) continue;
        t->flag[i] |= QS_KEY_HIT;
        t->hits += (t->flag[i] & QS_KEY_SHOWN) != 0;
    }
    return true;
}

bool qs_tree_refilter(qs_tree *t) {
    if (!t->c) return true;
    qs_tree_remember(t);
    qs_tree_reflag(t);
    qs_tree_lay_open(t);
    return qs_tree_relist(t);
}

bool qs_tree_filter_by(qs_tree *t, qs_str pattern) {
    qs_search *s = pattern.n ? qs_search_new(pattern) : NULL;
    if (pattern.n && !s) return false;
    qs_search_free(t->filter_text);
    t->filter_text = s;
    return qs_tree_refilter(t);
}

bool qs_tree_set_order(qs_tree *t, bool flat, qs_sort sort) {
    t->flat = flat;
    t->sort = sort;
    if (!t->c) return true;
    qs_tree_remember(t);
    if (!qs_tree_arrange(t)) return false;
    qs_tree_reflag(t);
    return qs_tree_relist(t);
}

static void mark_row(qs_tree *t, uint32_t row, bool on) {
    uint8_t *flag = &t->flag[t->position[row]];
    bool was = (*flag & QS_KEY_MARKED) != 0;
    if (on != was) count_mark(t, row, on);
    t->marked += on - was;
    *flag = (uint8_t)(on ? *flag | QS_KEY_MARKED : *flag & ~QS_KEY_MARKED);
    t->marks_moved = true;
}

static void mark_below(qs_tree *t, uint32_t node, bool on) {
    for (uint32_t row = QS_NO_INDEX; qs_tree_next_below(t, node, &row);)
        if (qs_tree_row_has(t, row, QS_KEY_SHOWN)) mark_row(t, row, on);
}

static bool keep_mark(qs_tree *t, qs_str key) {
    uint32_t i = qs_map_get(&t->mark_of, key);
    if (i != QS_MAP_NONE) return t->marks.v[i].on = true;
    qs_str copy = qs_arena_str(&t->mark_arena, key);
    if (!copy.p || !qs_push(&t->marks, (qs_tree_mark){copy, true})) return false;
    return qs_map_put(&t->mark_of, copy, (uint32_t)t->marks.n - 1);
}

/* Flags are quick to set and die with the comparison; names outlive it. A mark on a key that is in no row now
 * waits for its return. */
bool qs_tree_keep_marks(qs_tree *t) {
    if (!t->c || !t->marks_moved) return true;
    for (size_t i = 0; i < t->marks.n; i++)
        if (qs_compare_find(t->c, t->marks.v[i].key) != QS_NO_INDEX) t->marks.v[i].on = false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < t->leaves; i++)
        if (t->flag[i] & QS_KEY_MARKED) ok = keep_mark(t, qs_compare_row(t->c, t->leaf[i])->key);
    t->marks_moved = !ok;
    return ok;
}

bool qs_tree_toggle_mark(qs_tree *t, uint32_t node) {
    bool all = true;
    for (uint32_t row = QS_NO_INDEX; qs_tree_next_below(t, node, &row);)
        if (qs_tree_row_has(t, row, QS_KEY_SHOWN)) all = all && qs_tree_row_has(t, row, QS_KEY_MARKED);
    mark_below(t, node, !all);
    return !t->filter.marked_only || qs_tree_refilter(t);
}

bool qs_tree_unmark_all(qs_tree *t) {
    for (uint32_t i = 0; i < t->leaves; i++) t->flag[i] &= (uint8_t)~QS_KEY_MARKED;
    if (t->c) memset(t->marked_in, 0, t->nodes * sizeof *t->marked_in);
    t->marked = 0;
    t->marks.n = 0;
    t->marks_moved = false;
    qs_map_free(&t->mark_of);
    qs_arena_free(&t->mark_arena);
    return !t->filter.marked_only || qs_tree_refilter(t);
}

/* ---- ranges ---- */

void qs_tree_begin_range(qs_tree *t) {
    t->ranging = t->line.n > 0;
    t->range_from = t->list.cursor;
}

bool qs_tree_in_range(const qs_tree *t, size_t line) {
    size_t from = t->range_from, to = t->list.cursor;
    return t->ranging && (from < to ? line >= from && line <= to : line >= to && line <= from);
}

bool qs_tree_mark_range(qs_tree *t) {
    for (size_t i = 0; i < t->line.n; i++) {
        if (!qs_tree_in_range(t, i)) continue;
        uint32_t node = t->line.v[i].node;
        bool open = qs_tree_is_module(t, node) && t->open[node];
        if (!open) mark_below(t, node, true);
    }
    t->ranging = false;
    return !t->filter.marked_only || qs_tree_refilter(t);
}

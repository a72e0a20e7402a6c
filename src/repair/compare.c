#include "repair/compare.h"

#include "base/map.h"
#include "base/vec.h"
#include "repair/module_tree.h"

#include <stdlib.h>

static const qs_status_info statuses[] = {
#define QS_STATUS(NAME, TEXT, GLYPH, ASCII, THEME, PROBLEM, HELP) {TEXT, GLYPH, ASCII, HELP, PROBLEM},
#include "repair/status.def"
#undef QS_STATUS
};
static const qs_mark_info marks[] = {
#define QS_MARK(NAME, TEXT, GLYPH, ASCII, THEME, HELP) {TEXT, GLYPH, ASCII, HELP},
#include "repair/mark.def"
#undef QS_MARK
};

const qs_status_info *qs_status_get(qs_status s) {
    return &statuses[(unsigned)s < QS_STATUS_COUNT ? s : QS_STATUS_NONE];
}
const qs_mark_info *qs_mark_get(qs_mark m) {
    return &marks[(unsigned)m < QS_MARK_COUNT ? m : QS_MARK_NONE];
}

struct qs_compare {
    const qs_resolution *r;
    const qs_checkpoint *a, *b;
    const qs_manifest *target;
    uint32_t expected; /* rows [0, expected) are the target's entries */
    QS_VEC(qs_row) rows;
    uint32_t *row_of_b, *row_of_r; /* by entry of B / of the resolution */
    qs_map by_key;                 /* key -> row, of the rows behind those of the target, which has its own */
    qs_module_tree tree;
    qs_arena arena;
};

uint32_t qs_compare_rows(const qs_compare *c) {
    return (uint32_t)c->rows.n;
}
const qs_row *qs_compare_row(const qs_compare *c, uint32_t i) {
    return &c->rows.v[i];
}
uint32_t qs_compare_nodes(const qs_compare *c) {
    return (uint32_t)c->tree.nodes.n;
}
const qs_tree_node *qs_compare_node(const qs_compare *c, uint32_t i) {
    return &c->tree.nodes.v[i];
}
uint32_t qs_compare_find_module(const qs_compare *c, qs_str path) {
    return qs_module_tree_find(&c->tree, path);
}
const qs_resolution *qs_compare_resolution(const qs_compare *c) {
    return c->r;
}

uint32_t qs_compare_find(const qs_compare *c, qs_str key) {
    uint32_t i = c->target ? qs_manifest_find(c->target, key) : UINT32_MAX;
    if (i == UINT32_MAX) i = qs_map_get(&c->by_key, key);
    return i == QS_MAP_NONE ? QS_NO_INDEX : i;
}

void qs_compare_free(qs_compare *c) {
    if (!c) return;
    qs_vec_free(&c->rows);
    qs_map_free(&c->by_key);
    qs_module_tree_free(&c->tree);
    qs_arena_free(&c->arena);
    free(c);
}

/* ---- rows ---- */

static uint32_t push_row(qs_compare *c, qs_str key, uint32_t r, uint32_t b, uint32_t m, qs_err *e) {
    qs_row row = {.key = key, .r = r, .b = b, .m = m, .tree = QS_NO_INDEX, .status = QS_STATUS_NONE};
    if (r != QS_NO_INDEX) row.mark = qs_resolution_entry(c->r, r)->mark;
    uint32_t at = (uint32_t)c->rows.n;
    bool known = m != QS_NO_INDEX; /* qs_manifest_find finds it */
    if (at == QS_NO_INDEX || !(known || qs_map_put(&c->by_key, key, at)) || !qs_push(&c->rows, row)) {
        qs_nomem(e);
        return QS_NO_INDEX;
    }
    return at;
}

/* The documents mostly agree on the order, so the entry behind the last one found is looked at first: a
 * comparison of two strings in place of a walk through a hash table. */
static uint32_t find_in_result(const qs_compare *c, qs_str key, uint32_t *hint) {
    if (*hint < qs_resolution_live(c->r) && qs_str_eq(qs_resolution_entry(c->r, *hint)->key, key))
        return (*hint)++;
    uint32_t i = qs_resolution_find(c->r, key);
    if (i != QS_NO_INDEX) *hint = i + 1;
    return i;
}

static uint32_t find_in_b(const qs_compare *c, qs_str key, uint32_t *hint) {
    if (!c->b) return QS_NO_INDEX;
    if (*hint < qs_checkpoint_count(c->b) && qs_str_eq(qs_checkpoint_entry(c->b, *hint)->key, key))
        return (*hint)++;
    uint32_t i = qs_checkpoint_find(c->b, key);
    if (i != UINT32_MAX) *hint = i + 1;
    return i;
}

static bool rows_of_target(qs_compare *c, qs_err *e) {
    uint32_t next_r = 0, next_b = 0;
    for (uint32_t i = 0; i < c->expected; i++) {
        qs_str key = qs_manifest_entry(c->target, i)->key;
        uint32_t r = find_in_result(c, key, &next_r), b = find_in_b(c, key, &next_b);
        if (push_row(c, key, r, b, i, e) == QS_NO_INDEX) return false;
        if (r != QS_NO_INDEX) c->row_of_r[r] = i;
        if (b != QS_NO_INDEX) c->row_of_b[b] = i;
    }
    return true;
}

static bool rows_of_b(qs_compare *c, qs_err *e) {
    uint32_t next = 0;
    for (uint32_t i = 0; c->b && i < qs_checkpoint_count(c->b); i++) {
        if (c->row_of_b[i] != QS_NO_INDEX) continue;
        qs_str key = qs_checkpoint_entry(c->b, i)->key;
        uint32_t r = find_in_result(c, key, &next);
        uint32_t row = push_row(c, key, r, i, QS_NO_INDEX, e);
        if (row == QS_NO_INDEX) return false;
        c->row_of_b[i] = row;
        if (r != QS_NO_INDEX) c->row_of_r[r] = row;
    }
    return true;
}

/* A dropped entry shows on the row of its old name, if nothing of the result is there. */
static bool row_of_dropped(qs_compare *c, uint32_t i, qs_err *e) {
    qs_str key = qs_resolution_entry(c->r, i)->key;
    uint32_t row = qs_compare_find(c, key);
    if (row == QS_NO_INDEX) {
        return push_row(c, key, i, QS_NO_INDEX, QS_NO_INDEX, e) != QS_NO_INDEX;
    }
    if (c->rows.v[row].r == QS_NO_INDEX) {
        c->rows.v[row].r = i;
        c->rows.v[row].mark = QS_MARK_DROPPED;
    }
    return true;
}

static bool rows_of_result(qs_compare *c, qs_err *e) {
    uint32_t live = qs_resolution_live(c->r), n = qs_resolution_count(c->r);
    for (uint32_t i = 0; i < live; i++) {
        if (c->row_of_r[i] != QS_NO_INDEX) continue;
        uint32_t row = push_row(c, qs_resolution_entry(c->r, i)->key, i, QS_NO_INDEX, QS_NO_INDEX, e);
        if (row == QS_NO_INDEX) return false;
        c->row_of_r[i] = row;
    }
    for (uint32_t i = live; i < n; i++)
        if (!row_of_dropped(c, i, e)) return false;
    return true;
}

static bool in_result(const qs_row *row) {
    return row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
}

/* ---- status ---- */

static qs_status worse(qs_status a, qs_status b) {
    static const uint8_t rank[QS_STATUS_COUNT] = {
        [QS_STATUS_NONE] = 0,    [QS_STATUS_OK] = 1,         [QS_STATUS_DTYPE] = 2, [QS_STATUS_TOLERATED] = 3,
        [QS_STATUS_MISSING] = 4, [QS_STATUS_UNEXPECTED] = 4, [QS_STATUS_SHAPE] = 5, [QS_STATUS_FATAL] = 6};
    return rank[b] > rank[a] ? b : a;
}

static qs_status status_of_finding(qs_finding_kind k) {
    switch (k) {
    case QS_FIND_MISSING: return QS_STATUS_MISSING;
    case QS_FIND_UNEXPECTED: return QS_STATUS_UNEXPECTED;
    case QS_FIND_SIZE:
    case QS_FIND_RAISES: return QS_STATUS_SHAPE;
    case QS_FIND_COPY: return QS_STATUS_FATAL;
    case QS_FIND_RESIZED:
    case QS_FIND_INJECTED:
    case QS_FIND_TRUNCATED:
    case QS_FIND_FORWARD: return QS_STATUS_TOLERATED;
    case QS_FIND_CAST: return QS_STATUS_DTYPE;
    case QS_FIND_OWN_CODE: break; /* of a module, not of a key */
    }
    return QS_STATUS_OK;
}

/* What the documents alone say; `judged` when the simulator's findings follow, which know what torch
 * forgives. */
static qs_status plain_status(const qs_compare *c, const qs_row *row, bool judged) {
    bool here = in_result(row);
    if (!c->target) return QS_STATUS_NONE;
    if (row->m == QS_NO_INDEX)
        return !here ? QS_STATUS_NONE : judged ? QS_STATUS_TOLERATED : QS_STATUS_UNEXPECTED;
    if (!here) return judged ? QS_STATUS_TOLERATED : QS_STATUS_MISSING;
    const qs_expected *want = qs_manifest_entry(c->target, row->m);
    const qs_resolved *have = qs_resolution_entry(c->r, row->r);
    if (!judged && want->shape_known && have->shape_known && !qs_shape_eq(want->shape, have->shape))
        return QS_STATUS_SHAPE;
    bool differ = want->dtype && have->dtype && want->dtype != have->dtype;
    return differ ? QS_STATUS_DTYPE : QS_STATUS_OK;
}

/* A tensor whose bytes are not there cannot be saved. */
static bool is_bad(const qs_compare *c, const qs_row *row) {
    if (!in_result(row)) return false;
    const qs_tensor *t = qs_resolved_tensor(c->r, qs_resolution_entry(c->r, row->r), NULL);
    return t && t->bad;
}

/* Torch may ask for a name that is in no document (min_vals of an observer without a version): a row of its
 * own, or the verdict would be NO with nothing to see. */
static bool apply_finding(qs_compare *c, const qs_finding *f, uint32_t *hint, qs_err *e) {
    bool next = *hint < c->rows.n && qs_str_eq(c->rows.v[*hint].key, f->key);
    uint32_t row = next ? *hint : qs_compare_find(c, f->key);
    qs_status status = status_of_finding(f->kind);
    if (row == QS_NO_INDEX) {
        if (!qs_status_get(status)->problem) return true;
        qs_str key = qs_arena_str(&c->arena, f->key);
        if (!key.p) return qs_nomem(e);
        row = push_row(c, key, QS_NO_INDEX, QS_NO_INDEX, QS_NO_INDEX, e);
        if (row == QS_NO_INDEX) return false;
    }
    qs_row *x = &c->rows.v[row];
    x->status = worse(x->status, status);
    *hint = row + 1; /* findings come in the model's order, as rows do */
    return true;
}

static bool set_statuses(qs_compare *c, const qs_verdict *v, qs_err *e) {
    for (size_t i = 0; i < c->rows.n; i++) c->rows.v[i].status = plain_status(c, &c->rows.v[i], v != NULL);
    uint32_t hint = 0;
    for (size_t i = 0; v && i < qs_verdict_count(v); i++)
        if (!apply_finding(c, qs_verdict_finding(v, i), &hint, e)) return false;
    for (size_t i = 0; i < c->rows.n; i++)
        if (is_bad(c, &c->rows.v[i])) c->rows.v[i].status = QS_STATUS_FATAL;
    return true;
}

/* ---- quantization roles ---- */

/* The row being classified. */
typedef struct vantage {
    const qs_compare *c;
    size_t row;
} vantage;

/* What a key's neighbour is asked for is mostly the key itself, or a neighbour of it. */
static uint32_t find_near(const vantage *v, qs_str key) {
    size_t first = v->row > 0 ? v->row - 1 : 0;
    for (size_t i = first; i < first + 3 && i < v->c->rows.n; i++)
        if (qs_str_eq(v->c->rows.v[i].key, key)) return (uint32_t)i;
    return qs_compare_find(v->c, key);
}

static qs_key_info info_of(const qs_compare *c, const qs_row *row) {
    qs_key_info info = {0};
    if (row->m != QS_NO_INDEX) {
        const qs_expected *x = qs_manifest_entry(c->target, row->m);
        info = (qs_key_info){x->shape_known, x->shape, x->dtype};
    }
    if (!info.shape_known && row->r != QS_NO_INDEX) {
        const qs_resolved *x = qs_resolution_entry(c->r, row->r);
        info = (qs_key_info){x->shape_known, x->shape, x->dtype};
    }
    if (!info.shape_known && row->b != QS_NO_INDEX) {
        const qs_tensor *t = qs_entry_tensor(c->b, qs_checkpoint_entry(c->b, row->b));
        if (t) info = (qs_key_info){true, t->shape, t->dtype};
    }
    return info;
}

static bool find_info(const void *ctx, qs_str key, qs_key_info *info) {
    const vantage *v = ctx;
    uint32_t i = find_near(v, key);
    if (i == QS_NO_INDEX) return false;
    *info = info_of(v->c, &v->c->rows.v[i]);
    return true;
}

/* The weights, or all others; returns the families found. */
static uint32_t classify_some(qs_compare *c, bool weights, uint32_t families) {
    vantage v = {.c = c};
    qs_key_set set = {find_info, &v};
    uint32_t found = 0;
    for (; v.row < c->rows.n; v.row++) {
        qs_row *row = &c->rows.v[v.row];
        qs_quant_key q;
        if (qs_quant_is_weight_name(row->key) != weights) continue;
        if (!qs_quant_classify_among(row->key, &set, families, &q)) continue;
        found |= QS_FAMILY_BIT(q.family);
        row->family = q.family;
        row->role = q.role;
        row->role_is_weight = q.is_weight;
        row->block_len = q.block.n <= UINT16_MAX ? (uint16_t)q.block.n : 0;
    }
    return found;
}

static void classify(qs_compare *c) {
    classify_some(c, true, classify_some(c, false, 0));
}

/* ---- the tree ---- */

/* The target's entry knows its module, which saves looking for it by name. */
static void note_module(qs_compare *c, uint32_t node, uint32_t module) {
    qs_tree_node *n = &c->tree.nodes.v[node];
    if (n->module == QS_MODULE_NONE && qs_str_eq(qs_manifest_module(c->target, module)->name, n->path))
        n->module = module;
}

static void count_leaves(qs_compare *c) {
    for (size_t i = 0; i < c->rows.n; i++) {
        const qs_row *row = &c->rows.v[i];
        qs_tree_node *leaf = &c->tree.nodes.v[row->tree];
        leaf->count_a = row->r != QS_NO_INDEX;
        leaf->count_b = row->b != QS_NO_INDEX;
        leaf->count_m = row->m != QS_NO_INDEX;
        leaf->count_status[row->status] = 1;
    }
    qs_module_tree_count(&c->tree);
}

static bool build_tree(qs_compare *c, qs_err *e) {
    if (!qs_module_tree_begin(&c->tree, c->rows.n, e)) return false;
    for (uint32_t i = 0; i < c->rows.n; i++) {
        qs_row *row = &c->rows.v[i];
        row->tree = qs_module_tree_add(&c->tree, row->key, i, e);
        if (row->tree == QS_NO_INDEX) return false;
        uint32_t parent = c->tree.nodes.v[row->tree].parent;
        if (row->m != QS_NO_INDEX) note_module(c, parent, qs_manifest_entry(c->target, row->m)->module);
    }
    for (size_t i = 0; c->target && i < c->tree.nodes.n; i++) {
        qs_tree_node *node = &c->tree.nodes.v[i];
        if (node->row == QS_NO_INDEX && node->module == QS_MODULE_NONE)
            node->module = qs_manifest_find_module(c->target, node->path);
    }
    qs_module_tree_finish(&c->tree);
    return true;
}

static bool allocate(qs_compare *c, qs_err *e) {
    size_t b = c->b ? qs_checkpoint_count(c->b) : 0, r = qs_resolution_count(c->r);
    c->row_of_b = QS_ARENA_ARRAY(&c->arena, b, uint32_t);
    c->row_of_r = QS_ARENA_ARRAY(&c->arena, r, uint32_t);
    if (!c->row_of_b || !c->row_of_r || !qs_reserve(&c->rows, c->expected + r)) return qs_nomem(e);
    memset(c->row_of_b, 0xff, b * sizeof *c->row_of_b);
    memset(c->row_of_r, 0xff, r * sizeof *c->row_of_r);
    return true;
}

/* ---- from an earlier comparison ---- */

static bool same_info(const qs_compare *c, const qs_row *row, const qs_compare *before, const qs_row *was) {
    if (row->m != QS_NO_INDEX && qs_manifest_entry(c->target, row->m)->shape_known) return true;
    qs_key_info x = info_of(c, row), y = info_of(before, was);
    return x.shape_known == y.shape_known && x.dtype == y.dtype && qs_shape_eq(x.shape, y.shape);
}

/* The same keys in the same place, of the same documents: views of equal bytes elsewhere would not do, for
 * the tree borrows them. Keys made by one of the two plans are never the same. */
static bool same_keys(const qs_compare *c, const qs_compare *before) {
    if (before->target != c->target || before->b != c->b || before->rows.n != c->rows.n) return false;
    for (size_t i = 0; i < c->rows.n; i++) {
        const qs_row *row = &c->rows.v[i], *was = &before->rows.v[i];
        if (row->key.p != was->key.p || row->key.n != was->key.n || row->m != was->m) return false;
        if (!same_info(c, row, before, was)) return false;
    }
    return true;
}

static bool take_roles_and_tree(qs_compare *c, const qs_compare *before, qs_err *e) {
    for (size_t i = 0; i < c->rows.n; i++) {
        qs_row *row = &c->rows.v[i];
        const qs_row *was = &before->rows.v[i];
        row->tree = was->tree;
        row->family = was->family;
        row->role = was->role;
        row->role_is_weight = was->role_is_weight;
        row->block_len = was->block_len;
    }
    return qs_module_tree_copy(&c->tree, &before->tree, e);
}

static bool find_roles_and_tree(qs_compare *c, qs_err *e) {
    classify(c);
    return build_tree(c, e);
}

bool qs_compare_make(const qs_resolution *r, const qs_verdict *verdict, qs_compare **out, qs_err *e) {
    return qs_compare_again(NULL, r, verdict, out, e);
}

bool qs_compare_again(const qs_compare *before, const qs_resolution *r, const qs_verdict *verdict,
                      qs_compare **out, qs_err *e) {
    qs_compare *c = calloc(1, sizeof *c);
    if (!c) return qs_nomem(e);
    const qs_resolve_input *in = qs_resolution_input(r);
    c->r = r;
    c->a = in->a;
    c->b = in->b;
    c->target = in->target;
    c->expected = in->target ? qs_manifest_count(in->target) : 0;
    if (allocate(c, e) && rows_of_target(c, e) && rows_of_b(c, e) && rows_of_result(c, e) &&
        set_statuses(c, verdict, e)) {
        bool same = before && same_keys(c, before);
        if (same ? take_roles_and_tree(c, before, e) : find_roles_and_tree(c, e)) {
            count_leaves(c);
            *out = c;
            return true;
        }
    }
    qs_compare_free(c);
    return false;
}

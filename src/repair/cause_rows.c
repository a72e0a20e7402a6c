/* Causes that single keys show: by their names, by what the model has of quantizers, by their shapes. */
#include "repair/cause_impl.h"
#include "repair/match_impl.h"
#include "repair/names.h"

/* ---- names ---- */

typedef enum key_how { LEAF, LEAF_STARTS, PART, OWNER, FIRST } key_how;
typedef enum key_where { EITHER, SPARE } key_where;

static bool has_part(qs_str key, qs_str part) {
    qs_str rest = key, last;
    while (qs_name_pop(&rest, &last))
        if (qs_str_eq(last, part)) return true;
    return false;
}

/* Length of the last two components. */
static size_t two_parts(qs_str key) {
    qs_str owner = qs_str_leaf(qs_str_parent(key));
    return owner.n ? owner.n + 1 + qs_str_leaf(key).n : key.n;
}

static bool fits(qs_str key, key_how how, qs_str text) {
    qs_str leaf = qs_str_leaf(key);
    switch (how) {
    case LEAF: return qs_str_eq(leaf, text);
    case LEAF_STARTS: return qs_str_starts(leaf, text);
    case PART: return has_part(key, text);
    case OWNER: return qs_str_starts(qs_str_sub(key, key.n - two_parts(key), key.n), text);
    case FIRST: return key.n > text.n && key.p[text.n] == '.' && qs_str_starts(key, text);
    }
    return false;
}

qs_cause_id qs_cause_of_key(qs_str key, bool spare) {
    static const struct {
        qs_cause_id id;
        key_where where;
        key_how how;
        const char *text;
    } rows[] = {
#define QS_CAUSE_KEY(ID, WHERE, HOW, text) {QS_CAUSE_##ID, WHERE, HOW, text},
#include "repair/cause_key.def"
#undef QS_CAUSE_KEY
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((spare || rows[i].where == EITHER) && fits(key, rows[i].how, qs_str_of(rows[i].text)))
            return rows[i].id;
    return QS_CAUSE_COUNT;
}

/* ---- the rows ---- */

typedef struct finder {
    qs_cause_tally *t;
    const qs_compare *c; /* after the repair */
    const qs_resolution *r;
    const qs_manifest *target;
    uint32_t quant_here, quant_wanted;
    uint32_t missing_norms; /* statistics of BatchNorms that are nowhere */
    qs_str first_norm;
    uint32_t folded_bias; /* a bias of a layer that is there, which the model has without */
    uint32_t spare_norms; /* statistics of BatchNorms with no place */
    uint32_t missing_bias;
    qs_str first_bias;
    /* shapes */
    uint32_t sizes, first_dim, wanted;
    qs_str common; /* the module all of them lie in */
} finder;

static const qs_resolved *resolved(const finder *f, const qs_row *row) {
    return row->r == QS_NO_INDEX ? NULL : qs_resolution_entry(f->r, row->r);
}

/* Did the repair do this, not an action that was there before? */
static bool by_repair(const finder *f, const qs_row *row, qs_mark mark) {
    const qs_resolved *x = resolved(f, row);
    return x && x->mark == mark && x->action != QS_NO_INDEX && x->action >= f->t->in->actions_before;
}

static bool in_result(const qs_row *row) {
    return row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
}

/* Frameworks whose keys say nothing of float against QAT: the weights themselves are packed. */
static bool has_direction(qs_cause_id id) {
    return id == QS_CAUSE_COUNT || id == QS_CAUSE_COMPRESSED || id == QS_CAUSE_NVIDIA ||
           id == QS_CAUSE_MODELOPT;
}

static void add_key(finder *f, qs_cause_id id, const qs_row *row, bool left) {
    qs_cause_add(f->t, id, left, "%.*s", QS_FMT(row->key));
}

static void missing_key(finder *f, const qs_row *row, bool left) {
    qs_cause_id id = qs_cause_of_key(row->key, false);
    bool quant = qs_match_is_quant(row);
    if (row->family == QS_FAMILY_BREVITAS && quant) add_key(f, QS_CAUSE_LEARNED_SCALES, row, left);
    if (id != QS_CAUSE_COUNT) add_key(f, id, row, left);
    if (quant && has_direction(id) && row->role != QS_ROLE_PACKED)
        add_key(f, f->quant_here ? QS_CAUSE_QUANT_MISSING : QS_CAUSE_FLOAT_INTO_QAT, row, left);
    if (quant || id != QS_CAUSE_COUNT) return;
    if (qs_str_is(qs_str_leaf(row->key), "running_mean") && f->missing_norms++ == 0) f->first_norm = row->key;
    if (left && qs_str_is(qs_str_leaf(row->key), "bias") && f->missing_bias++ == 0) f->first_bias = row->key;
    add_key(f, QS_CAUSE_OTHER_MISSING, row, left);
}

/* "x.bias" whose "x.weight" is where the model has it, without a bias. */
static bool is_folded_bias(const finder *f, const qs_row *row) {
    char name[1024];
    if (!qs_str_is(qs_str_leaf(row->key), "bias")) return false;
    int n = snprintf(name, sizeof name, "%.*s.weight", QS_FMT(qs_str_parent(row->key)));
    uint32_t i =
        n > 0 && (size_t)n < sizeof name ? qs_compare_find(f->c, (qs_str){name, (size_t)n}) : QS_NO_INDEX;
    if (i == QS_NO_INDEX) return false;
    const qs_row *weight = qs_compare_row(f->c, i);
    return weight->m != QS_NO_INDEX && in_result(weight);
}

static void spare_key(finder *f, const qs_row *row, bool left) {
    qs_cause_id id = qs_cause_of_key(row->key, true);
    bool quant = qs_match_is_quant(row);
    if (id != QS_CAUSE_COUNT) add_key(f, id, row, left);
    if (quant && has_direction(id) && row->role != QS_ROLE_PACKED)
        add_key(f, f->quant_wanted ? QS_CAUSE_QUANT_SPARE : QS_CAUSE_QAT_INTO_FLOAT, row, left);
    if (quant || id != QS_CAUSE_COUNT) return;
    if (is_folded_bias(f, row)) f->folded_bias++;
    f->spare_norms += left && qs_str_is(qs_str_leaf(row->key), "running_mean");
    add_key(f, QS_CAUSE_OTHER_SPARE, row, left);
}

/* Torch does not complain of "weight.absmax" where there is a "weight". */
static void overlooked_key(finder *f, const qs_row *row) {
    qs_cause_id id = qs_cause_of_key(row->key, true);
    if (id != QS_CAUSE_COUNT) add_key(f, id, row, false);
}

/* ---- shapes ---- */

static bool only_first_differs(qs_shape a, qs_shape b) {
    if (a.ndim != b.ndim || a.ndim == 0) return false;
    for (uint32_t i = 1; i < a.ndim; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

static qs_cause_id shape_cause(const qs_row *row, const qs_tensor *t, const qs_expected *want) {
    uint64_t have = qs_shape_numel(t->shape), wanted = qs_shape_numel(want->shape);
    char kind = qs_dtype_get(t->dtype)->kind;
    if (have == 1 && wanted == 1) return QS_CAUSE_SCALAR_VECTOR;
    if (qs_shape_same_without_ones(t->shape, want->shape)) return QS_CAUSE_AXIS;
    if (qs_match_is_quant(row) && (have == 1 || wanted == 1)) return QS_CAUSE_GRANULARITY;
    if ((kind == 'I' || kind == 'U') &&
        (qs_dtype_is_float(want->dtype) || row->role == QS_ROLE_PACKED || have < wanted))
        return QS_CAUSE_PACKED_WEIGHT;
    return QS_CAUSE_OTHER_SIZE;
}

static void narrow_common(finder *f, qs_str key) {
    qs_str parent = qs_str_parent(key);
    if (f->sizes == 1) f->common = parent;
    while (f->common.n && !qs_str_eq(f->common, parent) && !qs_name_below(parent, f->common))
        f->common = qs_str_parent(f->common);
}

static void other_shape(finder *f, const qs_row *row, const qs_tensor *t, bool left) {
    const qs_expected *want = qs_manifest_entry(f->target, row->m);
    char have[96], wanted[96];
    if (!want->shape_known || qs_shape_eq(t->shape, want->shape)) return;
    qs_shape_text(t->shape, "x", have, sizeof have);
    qs_shape_text(want->shape, "x", wanted, sizeof wanted);
    qs_cause_id id = shape_cause(row, t, want);
    qs_cause_add(f->t, id, left, "%.*s: %s, the model %s", QS_FMT(row->key), have, wanted);
    if (id != QS_CAUSE_OTHER_SIZE) return;
    f->sizes++;
    f->first_dim += only_first_differs(t->shape, want->shape);
    narrow_common(f, row->key);
}

static void other_value(finder *f, const qs_row *row, bool left) {
    const qs_resolved *x = resolved(f, row);
    const qs_tensor *t = x ? qs_resolved_source(f->r, x, NULL) : NULL;
    if (!t || row->m == QS_NO_INDEX) return;
    const qs_expected *want = qs_manifest_entry(f->target, row->m);
    if (t->kind == QS_TENSOR_QUANTIZED && qs_dtype_is_float(want->dtype))
        add_key(f, QS_CAUSE_QUANTIZED_TENSOR, row, left);
    else if (row->role == QS_ROLE_ZERO_POINT && t->dtype == QS_INT64 && want->dtype == QS_INT32)
        add_key(f, QS_CAUSE_ZERO_POINT_DTYPE, row, false);
    else if (left || x->mark == QS_MARK_CONVERTED)
        other_shape(f, row, t, left);
}

/* ---- together ---- */

/* A head of another size, and only the head: it is the number of classes. */
static void decide_sizes(finder *f) {
    qs_cause *sizes = &f->t->v[QS_CAUSE_OTHER_SIZE];
    bool in_one_part = f->common.n > 0 && f->first_dim > 0 && f->sizes * 2 < f->wanted;
    if (f->sizes == 0 || !(f->first_dim == f->sizes || in_one_part)) return;
    f->t->v[QS_CAUSE_CLASS_COUNT] = *sizes;
    f->t->found[QS_CAUSE_CLASS_COUNT] = true;
    f->t->found[QS_CAUSE_OTHER_SIZE] = false;
}

static void decide_folded(finder *f) {
    if (f->missing_norms == 0 || f->folded_bias == 0) return;
    qs_cause *c = &f->t->v[QS_CAUSE_BN_FOLDED];
    qs_cause_add(f->t, QS_CAUSE_BN_FOLDED, true, "%.*s is nowhere, and %u layers have a bias instead",
                 QS_FMT(f->first_norm), f->folded_bias);
    c->keys = c->left = f->missing_norms * 5 + f->folded_bias;
    f->t->found[QS_CAUSE_OTHER_MISSING] = f->t->v[QS_CAUSE_OTHER_MISSING].keys > f->missing_norms * 4;
    f->t->found[QS_CAUSE_OTHER_SPARE] = f->t->v[QS_CAUSE_OTHER_SPARE].keys > f->folded_bias;
}

/* The other way round: as many layers lack a bias as BatchNorms are left over, or nearly. */
static void decide_apart(finder *f) {
    if (f->missing_bias == 0 || f->missing_norms || f->spare_norms * 2 < f->missing_bias) return;
    qs_cause_add(f->t, QS_CAUSE_BN_APART, true, "%.*s is nowhere, and %u BatchNorms have no place",
                 QS_FMT(f->first_bias), f->spare_norms);
    qs_cause *c = &f->t->v[QS_CAUSE_BN_APART];
    c->keys = c->left = f->spare_norms * 4 + f->missing_bias;
}

static void count_quantizers(finder *f) {
    const qs_compare *before = f->t->in->before;
    for (uint32_t i = 0; i < qs_compare_rows(before); i++) {
        const qs_row *row = qs_compare_row(before, i);
        if (!qs_match_is_quant(row)) continue;
        f->quant_here += in_result(row);
        f->quant_wanted += row->m != QS_NO_INDEX;
    }
}

static void look_at(finder *f, const qs_row *row) {
    bool problem = qs_status_get(row->status)->problem;
    f->wanted += row->m != QS_NO_INDEX;
    if (by_repair(f, row, QS_MARK_INIT) || by_repair(f, row, QS_MARK_COPIED))
        missing_key(f, row, problem);
    else if (by_repair(f, row, QS_MARK_DROPPED))
        spare_key(f, row, false);
    else if (row->status == QS_STATUS_MISSING)
        missing_key(f, row, true);
    else if (row->status == QS_STATUS_UNEXPECTED)
        spare_key(f, row, true);
    else if (in_result(row) && row->m == QS_NO_INDEX)
        overlooked_key(f, row);
    else if (in_result(row))
        other_value(f, row, problem);
}

void qs_cause_find_rows(qs_cause_tally *t) {
    finder f = {.t = t, .c = t->in->after, .r = qs_compare_resolution(t->in->after)};
    f.target = qs_resolution_input(f.r)->target;
    if (!f.target) return;
    count_quantizers(&f);
    for (uint32_t i = 0; i < qs_compare_rows(f.c); i++) look_at(&f, qs_compare_row(f.c, i));
    decide_sizes(&f);
    decide_folded(&f);
    decide_apart(&f);
}

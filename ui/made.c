#include "ui/app_impl.h"

/* Values that follow from a whole weight are computed for weights up to this many elements. */
enum { MEASURED = 1 << 23 };

/* The weight a quantizer of weights sees is small enough to be read in a pause, or there is none to be read.
 */
static bool is_quick(const qs_app *a, const qs_row *row) {
    char room[QS_LINE_MAX];
    if (row->role != QS_ROLE_WEIGHT && !row->role_is_weight) return true;
    qs_str block = qs_quantizer_of(row, room);
    qs_str weight = qs_str_sub(block, 0, qs_str_find(block, QS_STR("_fake_quant")));
    uint32_t i = qs_compare_find(a->tree.c, weight);
    const qs_row *of = i == QS_NO_INDEX ? NULL : qs_compare_row(a->tree.c, i);
    if (!of || of->r == QS_NO_INDEX) return true;
    const qs_resolved *x = qs_resolution_entry(qs_session_resolution(a->s), of->r);
    return !x->shape_known || qs_shape_numel(x->shape) <= MEASURED;
}

/* "value 0.0015, observed from ..." of an entry the plan makes. */
static void describe_made(qs_app *a, const qs_row *row, const qs_resolved *x) {
    qs_arena arena = {0};
    qs_err e = QS_ERR_INIT;
    qs_fill f;
    double v = 0;
    a->made.row = row;
    a->made.revision = qs_session_revision(a->s);
    if (!qs_resolved_fill(qs_session_resolution(a->s), x, NULL, &arena, &f, &e)) {
        snprintf(a->made.text, sizeof a->made.text, "%.290s", e.msg);
    } else {
        size_t n = qs_dtype_get(f.dtype)->size ? f.bytes / qs_dtype_get(f.dtype)->size : 0;
        if (n) qs_to_doubles(f.dtype, f.data, 1, &v);
        const char *origin = f.origin ? f.origin : "made";
        if (n)
            snprintf(a->made.text, sizeof a->made.text, "%s %.9g, %.200s", n > 1 ? "first value" : "value", v,
                     origin);
        else
            snprintf(a->made.text, sizeof a->made.text, "empty, %.200s", origin);
    }
    qs_arena_free(&arena);
}

/* What rounding costs the weight of the row's quantizer; of a very large one the page of all details tells.
 */
static void measure_cost(qs_app *a, const qs_row *row) {
    char room[QS_LINE_MAX];
    qs_err e = QS_ERR_INIT;
    qs_str block = qs_quantizer_of(row, room);
    bool of_weight = row->role == QS_ROLE_WEIGHT || row->role_is_weight;
    if (a->layout.details_h < 6 || !of_weight || block.n == 0 || !qs_session_target(a->s)) return;
    if (a->cost.row == row && a->cost.revision == qs_session_revision(a->s)) return;
    qs_arena_free(&a->cost.arena);
    a->cost.row = row;
    a->cost.revision = qs_session_revision(a->s);
    a->cost.known = is_quick(a, row) &&
                    qs_session_preview_init(a->s, block, QS_INIT_OBSERVED, &a->cost.arena, &a->cost.of, &e) &&
                    a->cost.of.weight.n;
}

/* ---- numbers in the column of A ---- */

static size_t find_number(const qs_app *a, const qs_row *row) {
    if (a->numbers.revision != qs_session_revision(a->s)) return QS_MADE_MAX;
    for (size_t i = 0; i < a->numbers.n; i++)
        if (a->numbers.cell[i].row == row) return i;
    return QS_MADE_MAX;
}

bool qs_made_number(const qs_app *a, const qs_row *row, double *value) {
    size_t i = find_number(a, row);
    if (i == QS_MADE_MAX || !a->numbers.cell[i].known) return false;
    *value = a->numbers.cell[i].value;
    return true;
}

static void remember(qs_app *a, const qs_row *row, bool known, double value) {
    if (a->numbers.revision != qs_session_revision(a->s)) a->numbers.n = a->numbers.at = 0;
    a->numbers.revision = qs_session_revision(a->s);
    a->numbers.cell[a->numbers.at].row = row;
    a->numbers.cell[a->numbers.at].known = known;
    a->numbers.cell[a->numbers.at].value = value;
    if (a->numbers.n <= a->numbers.at) a->numbers.n = a->numbers.at + 1;
    a->numbers.at = (a->numbers.at + 1) % QS_MADE_MAX;
}

/* Of as many lines as are remembered, the first from `y` on whose number the plan makes and nobody has
 * computed; NULL if there is none. */
static const qs_row *next_wanted(const qs_app *a, int *y, const qs_resolved **x) {
    const qs_tree *t = &a->tree;
    size_t i;
    for (; t->c && *y < a->layout.tree_h && *y < QS_MADE_MAX && qs_list_at(&t->list, *y, &i); ++*y) {
        uint32_t at = qs_compare_node(t->c, t->line.v[i].node)->row;
        const qs_row *row = at == QS_NO_INDEX ? NULL : qs_compare_row(t->c, at);
        if (!row || row->r == QS_NO_INDEX) continue;
        *x = qs_resolution_entry(qs_session_resolution(a->s), row->r);
        bool one = qs_resolved_is_made(*x) && (*x)->shape_known && qs_shape_numel((*x)->shape) == 1;
        if (one && find_number(a, row) == QS_MADE_MAX) return row;
    }
    return NULL;
}

bool qs_made_wanted(const qs_app *a) {
    const qs_resolved *x;
    int y = 0;
    return qs_app_top(a) == &qs_view_tree && next_wanted(a, &y, &x);
}

static void compute_numbers(qs_app *a) {
    qs_progress p = qs_app_busy(a, NULL);
    qs_init_cache *cache = qs_init_cache_new();
    const qs_resolved *x;
    const qs_row *row;
    int y = 0;
    while ((row = next_wanted(a, &y, &x)) && p.fn(p.ctx, 0, 0)) {
        qs_arena arena = {0};
        qs_err e = QS_ERR_INIT;
        qs_fill f;
        double v = 0;
        bool known = is_quick(a, row) &&
                     qs_resolved_fill(qs_session_resolution(a->s), x, cache, &arena, &f, &e) &&
                     f.bytes == qs_dtype_get(f.dtype)->size;
        if (known) qs_to_doubles(f.dtype, f.data, 1, &v);
        remember(a, row, known, v);
        qs_arena_free(&arena);
    }
    qs_init_cache_free(cache);
}

void qs_made_idle(qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    const qs_row *row = i == QS_NO_INDEX ? NULL : qs_compare_row(a->tree.c, i);
    const qs_resolved *x =
        row && row->r != QS_NO_INDEX ? qs_resolution_entry(qs_session_resolution(a->s), row->r) : NULL;
    if (x && qs_resolved_is_made(x)) describe_made(a, row, x);
    if (row) measure_cost(a, row);
    if (qs_app_top(a) == &qs_view_tree) compute_numbers(a);
}

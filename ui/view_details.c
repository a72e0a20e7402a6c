#include "ui/app_impl.h"

#include "model/element.h"
#include "teach/explain.h"

#include <inttypes.h>
#include <math.h>

enum { NOTES_SEARCHED = 65536, HIST_COLUMNS = 24, SHARING_SHOWN = 6 };

const char *qs_bar_glyph(double share) {
    static const char *const level[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    return share > 0 ? level[(int)((share < 1 ? share : 1) * 7.99)] : " ";
}

void qs_histogram_text(const uint64_t *bins, size_t n, size_t width, qs_buf *out) {
    uint64_t sum[256] = {0}, most = 0;
    if (width > 256) width = 256;
    for (size_t i = 0; i < n; i++) {
        size_t at = i * width / n;
        sum[at] += bins[i];
        if (sum[at] > most) most = sum[at];
    }
    for (size_t i = 0; i < width; i++) {
        qs_buf_addz(out, qs_bar_glyph(most ? (double)sum[i] / (double)most : 0));
    }
}

static void add_shape(qs_rich *r, qs_shape shape, bool known, qs_dtype dtype) {
    char text[200];
    if (known)
        qs_shape_text(shape, "×", text, sizeof text);
    else
        snprintf(text, sizeof text, "unknown shape");
    qs_rich_addf(r, QS_PEN(NORMAL), "%s%s%s", text, dtype == QS_DTYPE_UNKNOWN ? "" : " ",
                 dtype == QS_DTYPE_UNKNOWN ? "" : qs_dtype_get(dtype)->name);
}

static void add_stats(qs_rich *r, const qs_stats *st) {
    if (st->finite == 0) {
        qs_rich_addf(r, QS_PEN(NORMAL), st->n == 0 ? ", no values" : ", no finite values");
    } else if (st->n == 1) {
        qs_rich_addf(r, QS_PEN(NORMAL), ", value %.9g", st->min);
    } else {
        qs_rich_addf(r, QS_PEN(NORMAL), ", min %.4g max %.4g", st->min, st->max);
    }
    if (st->nan) qs_rich_addf(r, QS_PEN(FATAL), "  %" PRIu64 " NaN", st->nan);
    if (st->inf && st->n > 1) qs_rich_addf(r, QS_PEN(SHAPE), ", %" PRIu64 " infinite", st->inf);
    if (st->n < 16 || st->finite == 0 || st->min == st->max) return;
    qs_buf bars = {0};
    qs_histogram_text(st->hist, QS_HIST_BINS, HIST_COLUMNS, &bars);
    qs_rich_addf(r, QS_PEN(NORMAL), "   ");
    qs_rich_add(r, QS_PEN(HIST), qs_buf_str(&bars));
    qs_buf_free(&bars);
}

static void add_tensor(qs_app *a, const char *side, const qs_checkpoint *from, const qs_tensor *t) {
    qs_rich *r = &a->details;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "%s ", side);
    if (!t) return qs_rich_addf(r, QS_PEN(NORMAL), "not a tensor; kept as it is");
    add_shape(r, t->shape, t->kind != QS_TENSOR_OPAQUE, t->dtype);
    uint64_t n = qs_shape_numel(t->shape), size = qs_dtype_get(t->dtype)->size;
    char bytes[32];
    if (size && n < UINT64_MAX / size)
        qs_rich_addf(r, QS_PEN(NORMAL), ", %s", qs_bytes_text(n * size, bytes, sizeof bytes));
    if (t->bad) return qs_rich_addf(r, QS_PEN(FATAL), " %s ", t->bad);
    if (t->kind == QS_TENSOR_SPARSE) return qs_rich_addf(r, QS_PEN(DIM), ", sparse: values are not read");
    qs_app_want_stats(a, from, t, false);
    const qs_stats_entry *st = qs_app_stats(a, t);
    if (st && st->failed)
        qs_rich_addf(r, QS_PEN(FATAL), " its bytes cannot be read ");
    else if (st)
        add_stats(r, &st->stats);
    else if (qs_shape_numel(t->shape) > 1)
        qs_rich_addf(r, QS_PEN(DIM), ", Enter reads the values");
}

/* ---- the parts of a key's details; each adds one line ---- */

static void key_title(qs_app *a, const qs_row *row, bool brief) {
    qs_rich *r = &a->details;
    const qs_manifest *m = qs_session_target(a->s);
    qs_pen pen = qs_status_pen(row->status);
    qs_rich_line(r);
    qs_rich_add(r, QS_PEN(STRONG), row->key.n ? row->key : QS_STR("\"\" (no name)"));
    qs_rich_addf(r, QS_PEN(NORMAL), "  ");
    qs_rich_addf(r, pen, "%s", qs_status_get(row->status)->name);
    if (row->role != QS_ROLE_NONE) qs_rich_addf(r, QS_PEN(LETTER), " · %s", qs_role_name(row->role));
    if (row->family != QS_FAMILY_NONE && !brief)
        qs_rich_addf(r, QS_PEN(DIM), " · %s", qs_family_name(row->family));
    if (!m || row->m == QS_NO_INDEX) return;
    uint32_t module = qs_manifest_entry(m, row->m)->module;
    qs_str class_name = module == QS_MODULE_NONE ? QS_STR("") : qs_manifest_module(m, module)->class_name;
    if (class_name.n && !brief) qs_rich_addf(r, QS_PEN(DIM), " · of a %.*s", QS_FMT(qs_str_leaf(class_name)));
}

static void result_line(qs_app *a, const qs_row *row) {
    const qs_resolution *res = qs_session_resolution(a->s);
    if (row->r == QS_NO_INDEX) return;
    const qs_resolved *x = qs_resolution_entry(res, row->r);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = qs_resolved_tensor(res, x, &from);
    if (qs_resolved_is_made(x)) {
        qs_rich_line(&a->details);
        qs_rich_addf(&a->details, QS_PEN(KEY), "A ");
        add_shape(&a->details, x->shape, x->shape_known, x->dtype);
        if (a->made.row == row && a->made.revision == qs_session_revision(a->s)) {
            qs_rich_addf(&a->details, QS_PEN(NORMAL), ", %s", a->made.text);
        } else {
            qs_rich_addf(&a->details, QS_PEN(INIT), ", made: %s",
                         x->mark == QS_MARK_INIT ? qs_init_source_name(x->source)
                                                 : qs_mark_get(x->mark)->name);
            a->idle_wanted = true; /* the value may follow from a large weight */
        }
        return;
    }
    add_tensor(a, "A", from, t);
}

static void b_line(qs_app *a, const qs_row *row) {
    const qs_checkpoint *b = qs_session_b(a->s);
    if (row->b != QS_NO_INDEX) add_tensor(a, "B", b, qs_entry_tensor(b, qs_checkpoint_entry(b, row->b)));
}

static void model_line(qs_app *a, const qs_row *row) {
    if (row->m == QS_NO_INDEX || qs_session_target_is_b(a->s)) return;
    const qs_expected *x = qs_manifest_entry(qs_session_target(a->s), row->m);
    static const char *const kinds[] = {"", ", parameter", ", buffer", ", extra state"};
    qs_rich_line(&a->details);
    qs_rich_addf(&a->details, QS_PEN(KEY), "M ");
    add_shape(&a->details, x->shape, x->shape_known, x->dtype);
    qs_rich_addf(&a->details, QS_PEN(NORMAL), "%s", kinds[x->kind]);
}

static void plan_line(qs_app *a, const qs_row *row) {
    if (row->mark == QS_MARK_NONE || row->r == QS_NO_INDEX) return;
    const qs_resolved *x = qs_resolution_entry(qs_session_resolution(a->s), row->r);
    qs_rich *r = &a->details;
    qs_rich_line(r);
    qs_rich_addf(r, qs_mark_pen(row->mark), "%s %s", qs_mark_get(row->mark)->glyph,
                 qs_mark_get(row->mark)->name);
    if (row->mark == QS_MARK_RENAMED && x->a != QS_NO_INDEX) {
        qs_rich_addf(r, QS_PEN(NORMAL), " from ");
        qs_rich_add(r, QS_PEN(STRONG), qs_checkpoint_entry(qs_session_a(a->s), x->a)->key);
    }
    if (x->action == QS_NO_INDEX) return;
    char what[300];
    qs_action_describe(qs_plan_action(qs_session_plan(a->s), x->action), what, sizeof what);
    qs_rich_addf(r, QS_PEN(DIM), "   by action %u: %s", x->action + 1, what);
}

static const qs_explanation *explanation_of(const qs_row *row) {
    qs_str block = qs_str_sub(row->key, 0, row->block_len);
    qs_quant_key k = {.family = row->family,
                      .role = row->role,
                      .block = block,
                      .leaf = qs_str_sub(row->key, block.n ? block.n + 1 : 0, row->key.n),
                      .owner = qs_str_parent(block),
                      .is_weight = row->role_is_weight};
    return qs_explain(row->family == QS_FAMILY_NONE ? NULL : &k, row->key);
}

/* What torch's simulator noted about the key. */
static void note_of(const qs_app *a, qs_str key, char *out, size_t cap) {
    const qs_verdict *v = qs_session_verdict(a->s);
    out[0] = 0;
    for (size_t i = 0; v && i < qs_verdict_count(v) && i < NOTES_SEARCHED; i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        if (f->note[0] && qs_str_eq(f->key, key)) {
            snprintf(out, cap, "%s", f->note);
            return;
        }
    }
}

static bool add_suggestion(qs_app *a, const qs_row *row) {
    uint32_t i = qs_compare_find(a->tree.c, row->key);
    uint32_t found = a->matches && i != QS_NO_INDEX ? qs_matches_of_row(a->matches, i) : QS_NO_INDEX;
    if (found == QS_NO_INDEX) return false;
    const qs_suggestion *s = qs_matches_get(a->matches, found);
    bool out = s->from == i;
    qs_rich *r = &a->details;
    qs_rich_addf(r, QS_PEN(RENAMED), "%s ", out ? "→" : "from");
    qs_rich_add(r, QS_PEN(STRONG), qs_compare_row(a->tree.c, out ? s->to : s->from)->key);
    qs_rich_addf(r, QS_PEN(NORMAL), ", %.0f %%: %s", s->confidence * 100, s->reason);
    if (s->runner_up != QS_NO_INDEX)
        qs_rich_addf(r, QS_PEN(DIM), "; next %.*s %.0f %%",
                     QS_FMT(qs_compare_row(a->tree.c, s->runner_up)->key), s->runner_up_confidence * 100);
    a->detail_hint = QS_STR("[m] map");
    return true;
}

static void advice_line(qs_app *a, const qs_row *row) {
    qs_rich *r = &a->details;
    char note[160];
    qs_rich_line(r);
    a->detail_line = qs_rich_lines(r) - 1;
    if (add_suggestion(a, row)) return;
    note_of(a, row->key, note, sizeof note);
    if (row->status == QS_STATUS_MISSING && row->block_len) {
        const char *missing = explanation_of(row)->missing;
        qs_rich_addf(r, QS_PEN(NORMAL), "%s",
                     missing[0] ? missing : "the model expects it, A never had it; it can be made");
        a->detail_hint = QS_STR("[i] initialise");
    } else if (row->status == QS_STATUS_UNEXPECTED && row->mark != QS_MARK_DROPPED) {
        qs_rich_addf(r, QS_PEN(NORMAL), "no key of the model fits it: map it by hand, or drop it");
        a->detail_hint = QS_STR("[d] drop");
    } else {
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", note[0] ? note : qs_status_get(row->status)->help);
        if (row->status == QS_STATUS_SHAPE && row->b != QS_NO_INDEX)
            a->detail_hint = QS_STR("[c] copy from B");
    }
}

static void brief_key(qs_app *a, const qs_row *row, int lines) {
    key_title(a, row, true);
    const qs_resolution *res = qs_session_resolution(a->s);
    if (row->r != QS_NO_INDEX) {
        const qs_resolved *x = qs_resolution_entry(res, row->r);
        qs_rich_addf(&a->details, QS_PEN(NORMAL), "  ");
        if (x->shape_known) add_shape(&a->details, x->shape, true, x->dtype);
    } else if (row->m != QS_NO_INDEX) {
        const qs_expected *x = qs_manifest_entry(qs_session_target(a->s), row->m);
        qs_rich_addf(&a->details, QS_PEN(NORMAL), "  ");
        add_shape(&a->details, x->shape, x->shape_known, x->dtype);
    }
    if (lines < 2) return;
    if (row->mark != QS_MARK_NONE)
        plan_line(a, row);
    else if (row->status == QS_STATUS_NONE)
        result_line(a, row); /* nothing to advise: its numbers */
    else
        advice_line(a, row);
}

/* What its quantizer costs the weight, once that is known. */
static const qs_init_preview *cost_of(qs_app *a, const qs_row *row) {
    char room[QS_LINE_MAX];
    bool of_weight = row->role == QS_ROLE_WEIGHT || row->role_is_weight;
    if (!of_weight || row->status != QS_STATUS_OK) return NULL;
    if (qs_quantizer_of(row, room).n == 0) return NULL;
    if (a->cost.row == row && a->cost.revision == qs_session_revision(a->s))
        return a->cost.known ? &a->cost.of : NULL;
    a->idle_wanted = true; /* it follows from the whole weight */
    return NULL;
}

static void key_details(qs_app *a, const qs_row *row, int lines) {
    if (lines < 4) return brief_key(a, row, lines);
    const qs_rich *r = &a->details;
    const qs_init_preview *cost = lines < 6 ? NULL : cost_of(a, row);
    int kept = (cost ? QS_COST_LINES : 0) + (row->mark != QS_MARK_NONE), room = lines - kept;
    key_title(a, row, false);
    result_line(a, row);
    if ((lines > 4 && !(cost && room < 4)) || row->r == QS_NO_INDEX || row->status == QS_STATUS_SHAPE ||
        row->status == QS_STATUS_DTYPE)
        model_line(a, row);
    if ((lines > 4 && (!cost || (int)qs_rich_lines(r) < room)) || row->r == QS_NO_INDEX) b_line(a, row);
    if ((int)qs_rich_lines(r) < lines) plan_line(a, row);
    if (cost) qs_quantizer_cost_lines(&a->details, cost);
    if ((int)qs_rich_lines(r) < lines && !cost) advice_line(a, row);
    if ((int)qs_rich_lines(r) >= lines || explanation_of(row)->what[0] == 0) return;
    qs_rich_line(&a->details);
    qs_rich_addf(&a->details, QS_PEN(DIM), "%s", explanation_of(row)->what);
}

/* ---- modules ---- */

static void module_counts(qs_app *a, const qs_tree_node *n) {
    qs_rich *r = &a->details;
    qs_rich_line(r);
    for (int s = 0; s < QS_STATUS_COUNT; s++) {
        if (!n->count_status[s] || s == QS_STATUS_NONE) continue;
        qs_rich_addf(r, qs_status_pen((qs_status)s), "%s %u", qs_status_get((qs_status)s)->glyph,
                     n->count_status[s]);
        qs_rich_addf(r, QS_PEN(NORMAL), " %s  ", qs_status_get((qs_status)s)->name);
    }
    if (qs_session_target(a->s)) qs_rich_addf(r, QS_PEN(NORMAL), "  ");
    qs_rich_addf(r, QS_PEN(DIM), "%u in A", n->count_a);
    if (qs_session_b(a->s)) qs_rich_addf(r, QS_PEN(DIM), " · %u in B", n->count_b);
    if (qs_session_target(a->s)) qs_rich_addf(r, QS_PEN(DIM), " · %u expected", n->count_m);
}

static void quantizer_line(qs_app *a, const qs_tree_node *n) {
    const qs_manifest *m = qs_session_target(a->s);
    if (!m || n->module == QS_NO_INDEX) return;
    const qs_module_attrs *x = &qs_manifest_module(m, n->module)->attrs;
    if (x->dtype.n == 0 && x->observer.n == 0) return;
    qs_rich *r = &a->details;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "quantizer");
    const char *before = " ";
    const qs_str words[] = {x->dtype, x->qscheme};
    for (int i = 0; i < 2; i++) {
        if (words[i].n) qs_rich_addf(r, QS_PEN(NORMAL), " %.*s", QS_FMT(words[i]));
        if (words[i].n) before = ", ";
    }
    if (x->quant_min != QS_ATTR_ABSENT && x->quant_max != QS_ATTR_ABSENT) {
        qs_rich_addf(r, QS_PEN(NORMAL), "%s%" PRId64 "..%" PRId64, before, x->quant_min, x->quant_max);
        before = ", ";
    }
    if (x->observer.n) qs_rich_addf(r, QS_PEN(NORMAL), "%s%.*s", before, QS_FMT(x->observer));
}

static void module_advice(qs_app *a, const qs_tree_node *n) {
    qs_rich *r = &a->details;
    uint32_t missing = n->count_status[QS_STATUS_MISSING], unexpected = n->count_status[QS_STATUS_UNEXPECTED];
    qs_rich_line(r);
    if (missing == 0 && unexpected == 0) return qs_rich_addf(r, QS_PEN(NORMAL), "nothing is missing here");
    const char *copy = qs_session_b(a->s) ? " or copy from B (c)" : "";
    if (unexpected)
        qs_rich_addf(r, QS_PEN(NORMAL), "%u to rename (m, many: M) or drop (d)%s", unexpected,
                     missing ? "; then " : "");
    if (missing) qs_rich_addf(r, QS_PEN(NORMAL), "what is missing: initialise (i)%s", copy);
}

static void module_details(qs_app *a, const qs_tree_node *n, int lines) {
    qs_rich *r = &a->details;
    const qs_manifest *m = qs_session_target(a->s);
    qs_rich_line(r);
    qs_rich_add(r, QS_PEN(STRONG), n->path);
    if (m && n->module != QS_NO_INDEX) {
        const qs_module *mod = qs_manifest_module(m, n->module);
        if (mod->class_name.n) qs_rich_addf(r, QS_PEN(CLASS), "  %.*s", QS_FMT(mod->class_name));
        if (mod->version >= 0 && lines > 2) qs_rich_addf(r, QS_PEN(DIM), "  version %" PRId64, mod->version);
        if (mod->inferred && lines > 2) qs_rich_addf(r, QS_PEN(DIM), "  (guessed from the keys)");
    }
    if (lines >= 2) module_counts(a, n);
    if (lines >= 3) quantizer_line(a, n);
    if (lines >= 3 && m) module_advice(a, n);
}

/* Lines too long for the screen go on in the next where there is room for all of them. */
static void spread(qs_app *a, int lines) {
    qs_rich wide = {0}, before = a->details;
    size_t n = qs_rich_lines(&a->details);
    bool hint = a->detail_hint.n && a->detail_line < n;
    int width = a->layout.w - 2, beside = width - qs_text_width(&a->measure, a->detail_hint) - 3;
    if ((int)n >= lines) return;
    if (hint && qs_rich_width(&a->details, &a->measure, a->detail_line) > beside) width = beside;
    qs_rich_wrap(&a->details, &a->measure, width, 2, &wide);
    bool fits = !wide.failed && qs_rich_lines(&wide) > n && (int)qs_rich_lines(&wide) <= lines;
    if (fits) {
        a->details = wide;
        wide = before;
    }
    if (fits && hint) { /* the hint stays at the line it is about */
        qs_rich head = {0};
        before.span.n = before.line.v[a->detail_line];
        before.line.n = a->detail_line;
        qs_rich_wrap(&before, &a->measure, width, 2, &head);
        a->detail_line = qs_rich_lines(&head);
        qs_rich_free(&head);
    }
    qs_rich_free(&wide);
}

void qs_details_build(qs_app *a) {
    qs_rich_clear(&a->details);
    a->detail_hint = QS_STR("");
    uint32_t node = a->tree.c ? qs_tree_selected(&a->tree) : QS_NO_INDEX;
    if (node == QS_NO_INDEX || a->layout.details_h == 0) return;
    const qs_tree_node *n = qs_compare_node(a->tree.c, node);
    if (n->row == QS_NO_INDEX)
        module_details(a, n, a->layout.details_h);
    else
        key_details(a, qs_compare_row(a->tree.c, n->row), a->layout.details_h);
    spread(a, a->layout.details_h);
}

/* ---- the page of all details ---- */

static void page_values(qs_app *a, const char *side, const qs_checkpoint *from, const qs_tensor *t) {
    double v[16];
    qs_err e = QS_ERR_INIT;
    if (!t || t->bad || t->kind != QS_TENSOR_DENSE) return;
    uint64_t all = qs_shape_numel(t->shape);
    if (all < 2) return; /* the line above has it */
    size_t n = all < 16 ? (size_t)all : 16;
    qs_rich *r = &a->details;
    qs_rich_line(r);
    if (!qs_tensor_read_doubles(from, t, 0, n, v, &e)) return qs_rich_addf(r, QS_PEN(FATAL), "%s", e.msg);
    qs_rich_addf(r, QS_PEN(DIM), "%s values", side);
    for (size_t i = 0; i < n; i++) qs_rich_addf(r, QS_PEN(NORMAL), "  %.9g", v[i]);
    if (all > n) qs_rich_addf(r, QS_PEN(DIM), "  … %" PRIu64 " in all: e shows them", all);
}

static void page_stats(qs_app *a, const qs_tensor *t) {
    const qs_stats_entry *st = qs_app_stats(a, t);
    if (!st || st->failed || st->stats.n < 2) return;
    qs_rich_line(&a->details);
    qs_rich_addf(&a->details, QS_PEN(DIM),
                 "  mean %.6g  std %.6g  zeros %" PRIu64 "  NaN %" PRIu64 "  infinite %" PRIu64,
                 st->stats.mean, st->stats.std, st->stats.zero, st->stats.nan, st->stats.inf);
}

/* Other keys that are this memory: changing one would change them all. */
static void page_sharing(qs_app *a, const qs_checkpoint *from, const qs_tensor *t, uint32_t entry) {
    uint32_t other[SHARING_SHOWN];
    size_t n = qs_checkpoint_sharing(from, t, entry, other, SHARING_SHOWN);
    if (n == 0) return;
    qs_rich *r = &a->details;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(LETTER), "  shares its storage with ");
    for (size_t i = 0; i < n && i < SHARING_SHOWN; i++) {
        if (i) qs_rich_addf(r, QS_PEN(NORMAL), ", ");
        qs_rich_add(r, QS_PEN(STRONG), qs_checkpoint_entry(from, other[i])->key);
    }
    if (n > SHARING_SHOWN) qs_rich_addf(r, QS_PEN(DIM), " and %zu more", n - SHARING_SHOWN);
}

static void page_side(qs_app *a, const char *side, const qs_checkpoint *from, const qs_tensor *t,
                      uint32_t entry) {
    if (!t) return;
    if (qs_app_need_stats(a, from, t)) {
        page_values(a, side, from, t);
        page_stats(a, t);
    }
    page_sharing(a, from, t, entry);
}

/* The quantizer the key belongs to, or the one that quantizes this weight. */
static void page_quantizer(qs_app *a, const qs_row *row) {
    qs_arena arena = {0};
    qs_err e = QS_ERR_INIT;
    qs_init_preview v;
    char room[QS_LINE_MAX];
    if (!qs_session_target(a->s)) return;
    qs_str block = qs_quantizer_of(row, room);
    if (block.n && qs_session_preview_init(a->s, block, QS_INIT_OBSERVED, &arena, &v, &e) && v.values) {
        qs_rich_line(&a->details);
        qs_rich_line(&a->details);
        qs_rich_addf(&a->details, QS_PEN(TITLE), "%.*s", QS_FMT(block));
        if (v.missing) qs_rich_addf(&a->details, QS_PEN(DIM), "   as it would be made");
        qs_quantizer_lines(&a->details, &v);
    }
    qs_arena_free(&arena);
}

static void page_explanation(qs_app *a, const qs_row *row) {
    const qs_explanation *x = explanation_of(row);
    const struct {
        const char *head, *text;
    } parts[] = {{"what it is", x->what},          {"who writes it", x->who},    {"typical", x->typical},
                 {"if it is missing", x->missing}, {"if it is wrong", x->wrong}, {"goes with", x->coupled}};
    qs_rich_line(&a->details);
    qs_rich_line(&a->details);
    qs_rich_addf(&a->details, QS_PEN(TITLE), "%s", x->title);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i].text[0]) continue;
        qs_rich_line(&a->details);
        qs_rich_addf(&a->details, QS_PEN(KEY), "%s  ", parts[i].head);
        qs_rich_addf(&a->details, QS_PEN(NORMAL), "%s", parts[i].text);
    }
}

/* The entry of A (or, where the plan copied it, of B) that the result's value is. */
static uint32_t source_entry(const qs_app *a, const qs_row *row) {
    const qs_resolved *x = qs_resolution_entry(qs_session_resolution(a->s), row->r);
    return x->b != QS_NO_INDEX ? x->b : x->a;
}

void qs_details_full(qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    if (i == QS_NO_INDEX) return;
    const qs_row *row = qs_compare_row(a->tree.c, i);
    const qs_resolution *res = qs_session_resolution(a->s);
    const qs_checkpoint *from = NULL, *b = qs_session_b(a->s);
    const qs_tensor *t =
        row->r == QS_NO_INDEX ? NULL : qs_resolved_tensor(res, qs_resolution_entry(res, row->r), &from);
    const qs_tensor *tb = row->b == QS_NO_INDEX ? NULL : qs_entry_tensor(b, qs_checkpoint_entry(b, row->b));
    if (t) qs_app_need_stats(a, from, t);
    if (tb) qs_app_need_stats(a, b, tb);
    qs_rich_clear(&a->details);
    key_title(a, row, false);
    qs_rich_line(&a->details);
    result_line(a, row);
    page_side(a, "A", from, t, t ? source_entry(a, row) : QS_NO_INDEX);
    model_line(a, row);
    b_line(a, row);
    page_side(a, "B", b, tb, row->b);
    page_quantizer(a, row);
    qs_rich_line(&a->details);
    plan_line(a, row);
    if (row->status != QS_STATUS_OK && row->status != QS_STATUS_NONE) advice_line(a, row);
    qs_rich_line(&a->details);
    qs_rich_addf(&a->details, qs_status_pen(row->status), "%s", qs_status_get(row->status)->name);
    qs_rich_addf(&a->details, QS_PEN(NORMAL), ": %s", qs_status_get(row->status)->help);
    page_explanation(a, row);
    qs_rich swap = a->text.text;
    a->text.text = a->details;
    a->details = swap;
    qs_text_open(a, "details", 2);
    a->text.of_row = true;
}

#include "ui/app_impl.h"

#include "teach/see.h"

#include <math.h>
#include <stdlib.h>

/* What rounding does to one weight: sliders for bits, scheme, scales and clipping, everything recomputed at
 * once. */

enum { SLIDERS = 4, KEEP_STEP = 5, SLIDERS_Y = 4, LABEL = 11, BINS_MAX = 240, LINES = 22, HIGHEST = 8 };

struct qs_see_state {
    qs_see *see;
    char key[QS_LINE_MAX];
    qs_see_settings set;
    qs_see_result one[2]; /* with one scale, and with one for each channel */
    bool failed;
    bool below_bn;    /* a ConvBn: its quantizer sees the weight scaled */
    int slider, keep; /* keep: percent */
    uint64_t before[BINS_MAX], after[BINS_MAX];
    uint64_t error[2][BINS_MAX]; /* by channel, as one */
    size_t bins, error_bins;
    qs_quality *channel; /* [channels] scratch */
};

/* How large the error of each channel is beside the channel itself; where they are more than columns, the
 * worst of those that share one. Both rows of bars have the same unit. */
static void by_channel(struct qs_see_state *v, int which) {
    uint32_t n = qs_see_channels(v->see);
    v->error_bins = n < v->bins ? n : v->bins;
    memset(v->error[which], 0, sizeof v->error[which]);
    for (uint32_t c = 0; c < n; c++) {
        uint64_t *bar = &v->error[which][(uint64_t)c * v->error_bins / n];
        double db = v->channel[c].sqnr_db, share = isfinite(db) ? pow(10, -db / 20) : 0;
        uint64_t height = (uint64_t)(1e6 * (share < 1 ? share : 1));
        if (height > *bar) *bar = height;
    }
}

static void recompute(qs_app *a) {
    struct qs_see_state *v = a->see;
    qs_err e = QS_ERR_INIT;
    float lo, hi;
    v->set.keep = v->keep / 100.0;
    v->bins = a->w > LABEL + 12 ? (size_t)(a->w - LABEL - 3) : 8;
    if (v->bins > BINS_MAX) v->bins = BINS_MAX;
    qs_see_range(v->see, &lo, &hi);
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) {
        qs_see_settings set = v->set;
        set.per_channel = i == 1;
        ok = qs_see_compute(v->see, &set, &v->one[i], v->channel, &e);
        if (ok) by_channel(v, i);
    }
    ok = ok && qs_see_histogram(v->see, NULL, lo, hi, v->before, v->bins, &e) &&
         qs_see_histogram(v->see, &v->set, lo, hi, v->after, v->bins, &e);
    v->failed = !ok;
    if (!ok) qs_app_fail(a, &e);
}

/* The weight that the selected row is, or that its quantizer quantizes. */
static const qs_row *weight_row(const qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    if (i == QS_NO_INDEX) return NULL;
    const qs_row *row = qs_compare_row(a->tree.c, i);
    if (!row->role_is_weight || !row->block_len) return row;
    char key[QS_LINE_MAX];
    qs_str owner = qs_str_parent(qs_str_sub(row->key, 0, row->block_len));
    int n = snprintf(key, sizeof key, "%.*s%sweight", QS_FMT(owner), owner.n ? "." : "");
    i = n > 0 && (size_t)n < sizeof key ? qs_compare_find(a->tree.c, (qs_str){key, (size_t)n}) : QS_NO_INDEX;
    return i == QS_NO_INDEX ? row : qs_compare_row(a->tree.c, i);
}

static const qs_tensor *value_of(const qs_app *a, const qs_row *row, const qs_checkpoint **from) {
    const qs_resolution *r = qs_session_resolution(a->s);
    const qs_tensor *t = NULL;
    if (row->r != QS_NO_INDEX) t = qs_resolved_tensor(r, qs_resolution_entry(r, row->r), from);
    if (t || row->b == QS_NO_INDEX) return t;
    *from = qs_session_b(a->s);
    return qs_entry_tensor(*from, qs_checkpoint_entry(*from, row->b));
}

static void see_close(qs_app *a) {
    if (!a->see) return;
    qs_see_free(a->see->see);
    free(a->see->channel);
    free(a->see);
    a->see = NULL;
}

void qs_see_view_open(qs_app *a) {
    const qs_row *row = weight_row(a);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = row ? value_of(a, row, &from) : NULL;
    qs_err e = QS_ERR_INIT;
    if (!t) return qs_app_say(a, "choose a weight that a file has: this shows what rounding does to it");
    if (!(a->see = calloc(1, sizeof *a->see))) return qs_app_complain(a, "out of memory");
    qs_progress p = qs_app_busy(a, "reading the weight");
    bool ok = qs_see_open(from, t, &p, &a->see->see, &e);
    if (ok) a->see->channel = malloc(qs_see_channels(a->see->see) * sizeof *a->see->channel);
    if (!ok || !(a->see->channel || qs_nomem(&e))) {
        see_close(a);
        return qs_app_fail(a, &e);
    }
    a->see->set = QS_SEE_DEFAULT;
    a->see->keep = 100;
    snprintf(a->see->key, sizeof a->see->key, "%.*s", QS_FMT(row->key));
    char var[QS_LINE_MAX];
    int n = snprintf(var, sizeof var, "%.*s.bn.running_var", QS_FMT(qs_str_parent(row->key)));
    a->see->below_bn = n > 0 && (size_t)n < sizeof var &&
                       qs_compare_find(a->tree.c, (qs_str){var, (size_t)n}) != QS_NO_INDEX;
    qs_app_open(a, &qs_view_see);
}

/* ---- drawing ---- */

/* Bars of `rows` lines, the lowest of them at y + rows - 1. */
static void draw_bars(qs_pane p, int y, int rows, const char *label, const uint64_t *bins, size_t n) {
    uint64_t most = 1;
    for (size_t i = 0; i < n; i++)
        if (bins[i] > most) most = bins[i];
    qs_drawz(p, 0, y + rows - 1, QS_PEN(DIM), label);
    for (size_t i = 0; i < n; i++) {
        double height = (double)bins[i] / (double)most * rows;
        for (int row = 0; row < rows && (height > row || (row == 0 && height > 0)); row++)
            qs_drawz(p, LABEL + (int)i, y + rows - 1 - row, QS_PEN(HIST), qs_bar_glyph(height - row));
    }
}

/* A mark in every column a grid point falls into; where all of them are marked the grid is finer than the
 * screen. */
static void draw_grid_points(const struct qs_see_state *v, qs_pane p, int y) {
    const qs_see_result *r = &v->one[0];
    float lo, hi;
    qs_see_range(v->see, &lo, &hi);
    double width = (double)hi - lo;
    qs_drawz(p, 0, y, QS_PEN(DIM), "grid");
    for (int64_t q = r->quant_min; q <= r->quant_max && width > 0; q++) {
        double x = (double)(q - r->zero_point) * r->scale;
        if (x < lo || x > hi) continue;
        int at = (int)((x - lo) / width * (double)v->bins);
        if (at >= (int)v->bins) at = (int)v->bins - 1;
        qs_drawz(p, LABEL + at, y, QS_PEN(LINE), "│");
    }
}

static void draw_sliders(const struct qs_see_state *v, qs_pane p, int y) {
    const char *label[SLIDERS] = {"bits", "grid", "scales", "range"};
    char text[SLIDERS][96];
    int steps = (1 << v->set.bits) - 1;
    snprintf(text[0], 96, "%d: %d steps, %lld .. %lld", v->set.bits, steps, (long long)v->one[0].quant_min,
             (long long)v->one[0].quant_max);
    snprintf(text[1], 96, "%s", v->set.affine ? "affine: from min to max" : "symmetric: as far down as up");
    snprintf(text[2], 96,
             v->set.per_channel ? "%u, one for each channel" : "one for the whole weight (%u channels)",
             qs_see_channels(v->see));
    snprintf(text[3], 96, "%d %% of what was observed; beyond it values are clipped", v->keep);
    for (int i = 0; i < SLIDERS; i++) {
        qs_drawz(p, 0, y + i, QS_PEN(KEY), label[i]);
        qs_drawz(p, LABEL, y + i, QS_PEN(NORMAL), text[i]);
        if (i == v->slider) qs_pane_select(p, y + i);
    }
}

/* torch's formulas with the numbers of the present settings put in. */
static void draw_formula(const struct qs_see_state *v, qs_pane p, int y) {
    const qs_see_result *r = &v->one[v->set.per_channel];
    int steps = (1 << v->set.bits) - 1;
    const char *of = v->set.per_channel ? "largest " : "";
    qs_pen pen = QS_PEN(NORMAL);
    if (v->set.affine) {
        float lo = r->min < 0 ? r->min : 0, hi = r->max > 0 ? r->max : 0;
        if (v->set.per_channel)
            qs_drawf(p, 0, y, pen, "scale = (max - min) / %d of each channel; the largest %.6g", steps,
                     r->scale);
        else
            qs_drawf(p, 0, y, pen, "scale = (max - min) / %d = (%.5g - %.5g) / %d = %.6g", steps, hi, lo,
                     steps, r->scale);
        qs_drawf(p, 0, y + 1, pen, "zero_point = %lld - round(min / %sscale) = %d", (long long)r->quant_min,
                 of, r->zero_point);
    } else {
        if (v->set.per_channel)
            qs_drawf(p, 0, y, pen, "scale = max(-min, max) / %g of each channel; the largest %.6g",
                     steps / 2.0, r->scale);
        else
            qs_drawf(p, 0, y, pen, "scale = max(-min, max) / %g = max(%.5g, %.5g) / %g = %.6g", steps / 2.0,
                     -r->min, r->max, steps / 2.0, r->scale);
        qs_drawf(p, 0, y + 1, pen, "zero_point = 0, as the grid reaches as far down as up");
    }
    qs_drawf(p, 0, y + 2, pen, "first w = %.5g: q = clamp(round(w / %.5g) + %d, %lld, %lld) = %lld", r->first,
             r->first_scale, r->first_zero_point, (long long)r->quant_min, (long long)r->quant_max,
             (long long)r->first_integer);
    qs_drawf(p, 0, y + 3, pen, "  and w becomes (q - %d) * %.5g = %.5g", r->first_zero_point, r->first_scale,
             r->first_rounded);
}

static void decibels(double db, char *out, size_t cap) {
    snprintf(out, cap, isinf(db) ? "exact" : "%.1f dB", db);
}

static void draw_table(const struct qs_see_state *v, qs_pane p, int y) {
    static const char *const row[] = {"", "signal to noise", "largest error", "clipped", "scale"};
    for (int i = 0; i < 5; i++) qs_drawz(p, 0, y + i, QS_PEN(DIM), row[i]);
    for (int c = 0; c < 2; c++) {
        const qs_see_result *r = &v->one[c];
        int x = 18 + 26 * c;
        char db[24];
        qs_pen pen = v->set.per_channel == (c == 1) ? QS_PEN(STRONG) : QS_PEN(NORMAL);
        qs_drawz(p, x, y, pen, c ? "per channel" : "per tensor");
        decibels(r->quality.sqnr_db, db, sizeof db);
        qs_drawz(p, x, y + 1, pen, db);
        qs_drawf(p, x, y + 2, pen, "%.3g", (double)r->quality.max_abs_error);
        qs_drawf(p, x, y + 3, pen, "%.2f %%", r->quality.clipped * 100);
        if (c)
            qs_drawf(p, x, y + 4, pen, "%.3g .. %.3g", (double)r->scale_least, (double)r->scale);
        else
            qs_drawf(p, x, y + 4, pen, "%.6g", (double)r->scale);
    }
}

/* The error of each channel as bars, with one scale and with one for each: the same height is the same error.
 */
static void draw_channels(const struct qs_see_state *v, qs_pane p, int y) {
    static const char *const label[] = {"error: one", "error: own"};
    size_t n = v->error_bins, wide = n && v->bins / n < 4 ? v->bins / n : 4;
    uint64_t most = 1;
    for (size_t i = 0; i < 2 * n; i++)
        if (v->error[i / n][i % n] > most) most = v->error[i / n][i % n];
    for (int c = 0; c < 2; c++) {
        char db[24];
        const qs_see_result *r = &v->one[c];
        qs_drawz(p, 0, y + c, QS_PEN(DIM), label[c]);
        for (size_t i = 0; i < n * wide; i++)
            qs_drawz(p, LABEL + (int)i, y + c, QS_PEN(HIST),
                     qs_bar_glyph((double)v->error[c][i / wide] / (double)most));
        char text[64];
        decibels(r->worst_db, db, sizeof db);
        snprintf(text, sizeof text, " worst %u: %s", qs_see_channel(v->see, r->worst), db);
        if (LABEL + (int)(n * wide) + (int)strlen(text) <= p.w)
            qs_drawz(p, LABEL + (int)(n * wide), y + c, QS_PEN(DIM), text);
    }
}

/* Lines of each of the two histograms: what is left of `h` lines is theirs. */
static int bar_rows(int h) {
    int spare = (h - LINES) / 2;
    return spare < 1 ? 1 : spare < HIGHEST ? 1 + spare : HIGHEST;
}

static void see_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {"j k", "choose", "h l", "change", "q", "back", NULL};
    const struct qs_see_state *v = a->see;
    qs_pane p = qs_pane_of(g), in = qs_pane_sub(p, 1, 1, p.w - 2, p.h - 2);
    char text[120];
    float lo, hi;
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    if (qs_see_count(v->see) < qs_see_total(v->see))
        snprintf(text, sizeof text, "  ranges of all, errors of %zu of %llu values", qs_see_count(v->see),
                 (unsigned long long)qs_see_total(v->see));
    else
        snprintf(text, sizeof text, "  %zu values", qs_see_count(v->see));
    int end = qs_draw_right(p, p.w - 1, 0, QS_PEN(HEAD), qs_str_of(text));
    qs_draw_fit(p, 1, 0, end - 1, QS_PEN(TITLE), qs_str_of(v->key), true);
    qs_dialog_hints(qs_pane_sub(p, 1, 0, p.w - 2, p.h), p.h - 1, hints);
    if (v->failed) return;
    int rows = bar_rows(in.h);
    draw_bars(in, 0, rows, "weight", v->before, v->bins);
    draw_grid_points(v, in, rows);
    draw_bars(in, rows + 1, rows, "rounded", v->after, v->bins);
    in = qs_pane_sub(in, 0, 2 * (rows - 1), in.w, in.h); /* the rest is further down */
    qs_see_range(v->see, &lo, &hi);
    qs_drawf(in, LABEL, 3, QS_PEN(DIM), "%.4g", (double)lo);
    snprintf(text, sizeof text, "%.4g", (double)hi);
    qs_draw_right(in, LABEL + (int)v->bins, 3, QS_PEN(DIM), qs_str_of(text));
    draw_sliders(v, in, SLIDERS_Y);
    draw_formula(v, in, 9);
    draw_table(v, in, 14);
    draw_channels(v, in, 19);
    if (v->below_bn)
        qs_drawz(in, 0, 21, QS_PEN(DIM),
                 "the weight as stored: the quantizer of a ConvBn sees it times BatchNorm");
}

/* ---- events ---- */

static void change(qs_app *a, int by) {
    struct qs_see_state *v = a->see;
    switch (v->slider) {
    case 0:
        if (v->set.bits + by >= QS_SEE_BITS_MIN && v->set.bits + by <= QS_SEE_BITS_MAX) v->set.bits += by;
        break;
    case 1: v->set.affine = !v->set.affine; break;
    case 2: v->set.per_channel = !v->set.per_channel; break;
    default:
        v->keep += by * KEEP_STEP;
        v->keep = v->keep < KEEP_STEP ? KEEP_STEP : v->keep > 100 ? 100 : v->keep;
    }
    recompute(a);
}

static bool see_command(qs_app *a, qs_command c) {
    struct qs_see_state *v = a->see;
    switch (c) {
    case QS_CMD_UP: v->slider = (v->slider + SLIDERS - 1) % SLIDERS; return true;
    case QS_CMD_DOWN: v->slider = (v->slider + 1) % SLIDERS; return true;
    case QS_CMD_LESS: change(a, -1); return true;
    case QS_CMD_MORE: change(a, 1); return true;
    default: return false;
    }
}

static bool see_event(qs_app *a, const qs_event *ev) {
    int first = 1 + SLIDERS_Y + 2 * (bar_rows(a->h - 2) - 1);
    if (ev->kind != QS_EVENT_MOUSE) return false;
    if (ev->mouse == QS_MOUSE_WHEEL_UP || ev->mouse == QS_MOUSE_WHEEL_DOWN)
        change(a, ev->mouse == QS_MOUSE_WHEEL_UP ? 1 : -1);
    else if (ev->y >= first && ev->y < first + SLIDERS)
        a->see->slider = ev->y - first;
    return true;
}

const qs_view qs_view_see = {
    .name = "see",
    .context = QS_CTX_SEE,
    .draw = see_draw,
    .layout = recompute,
    .event = see_event,
    .command = see_command,
    .close = see_close,
};

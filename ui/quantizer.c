#include "ui/app_impl.h"

#include <inttypes.h>
#include <math.h>

enum { AXIS = 40 };

static void config_line(qs_rich *r, const qs_init_preview *v) {
    const qs_qconfig *c = &v->config.cfg;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "config   ");
    if (!v->has_config) return qs_rich_addf(r, QS_PEN(DIM), "unknown");
    qs_rich_addf(r, QS_PEN(NORMAL), "%s %s, %" PRId64 "..%" PRId64 ", %s", qs_dtype_get(c->dtype)->name,
                 qs_qscheme_name(c->scheme), c->quant_min, c->quant_max,
                 c->fused ? "fused" : "plain FakeQuantize");
    qs_rich_addf(r, QS_PEN(DIM), "   from %s", v->config.from ? v->config.from : "the keys");
    if (!v->config.ambiguous) return;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(MISSING), "%s", v->config.question);
}

void qs_value_text(qs_rich *r, const qs_preview_value *v) {
    qs_pen pen = v->there ? QS_PEN(NORMAL) : QS_PEN(STRONG);
    qs_rich_addf(r, QS_PEN(KEY), "%.*s ", QS_FMT(qs_str_leaf(v->leaf)));
    if (v->n == 0)
        qs_rich_addf(r, pen, v->there ? "is there" : "empty");
    else if (v->n == 1)
        qs_rich_addf(r, pen, "%.9g", v->first[0]);
    else
        qs_rich_addf(r, pen, "%.6g … %.6g (%" PRIu64 ")", v->min, v->max, v->n);
    qs_rich_addf(r, QS_PEN(NORMAL), "   ");
}

static void values_lines(qs_rich *r, const qs_init_preview *v) {
    for (size_t i = 0; i < v->values; i++) {
        if (i % 3 == 0) {
            qs_rich_line(r);
            qs_rich_addf(r, QS_PEN(NORMAL), "  ");
        }
        qs_value_text(r, &v->value[i]);
    }
    for (size_t i = 0; i < v->values; i++) {
        if (v->value[i].there || !v->value[i].origin || !qs_str_is(v->value[i].leaf, "scale")) continue;
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(DIM), "  the scale is %s", v->value[i].origin);
    }
}

/* Column of x on an axis from lo to hi. */
static int column(double x, double lo, double hi) {
    int c = hi > lo ? (int)((x - lo) / (hi - lo) * AXIS) : 0;
    return c < 0 ? 0 : c >= AXIS ? AXIS - 1 : c;
}

/* The weight's histogram over the grid it is rounded to, on one axis: what sticks out is clipped. */
static void axis_lines(qs_rich *r, const qs_init_preview *v) {
    bool grid = isfinite(v->grid_lo) && isfinite(v->grid_hi);
    double lo = grid ? fmin(v->lo, v->grid_lo) : v->lo, hi = grid ? fmax(v->hi, v->grid_hi) : v->hi;
    uint64_t bars[AXIS] = {0};
    for (int i = 0; i < QS_HIST_BINS; i++) {
        double middle = v->lo + (v->hi - v->lo) * (i + 0.5) / QS_HIST_BINS;
        bars[column(middle, lo, hi)] += v->hist[i];
    }
    qs_buf text = {0};
    qs_histogram_text(bars, AXIS, AXIS, &text);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(NORMAL), "  ");
    qs_rich_add(r, QS_PEN(HIST), qs_buf_str(&text));
    qs_rich_addf(r, QS_PEN(NORMAL), "  weight %.4g … %.4g", v->lo, v->hi);
    if (grid) {
        int from = column(v->grid_lo, lo, hi), to = column(v->grid_hi, lo, hi);
        text.n = 0;
        for (int x = 0; x < AXIS; x++)
            qs_buf_addz(&text, x < from || x > to ? " " : x == from ? "├" : x == to ? "┤" : "─");
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "  ");
        qs_rich_add(r, QS_PEN(LETTER), qs_buf_str(&text));
        qs_rich_addf(r, QS_PEN(NORMAL), "  grid   %.4g … %.4g", v->grid_lo, v->grid_hi);
    }
    qs_buf_free(&text);
}

void qs_quantizer_cost_lines(qs_rich *r, const qs_init_preview *v) {
    if (v->weight.n == 0) return;
    axis_lines(r, v);
    if (!v->has_quality) return;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(NORMAL), "  SQNR ");
    qs_rich_addf(r, QS_PEN(STRONG), "%.1f dB", v->quality.sqnr_db);
    qs_rich_addf(r, QS_PEN(NORMAL), "   clipped %.2f %%", v->quality.clipped * 100);
    if (!isnan(v->per_channel_db))
        qs_rich_addf(r, QS_PEN(DIM), "   (per channel would give %.1f dB)", v->per_channel_db);
}

static void weight_lines(qs_rich *r, const qs_init_preview *v) {
    if (v->weight.n == 0) return;
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "weight   ");
    qs_rich_addf(r, QS_PEN(NORMAL), "%.*s%s", QS_FMT(v->weight),
                 v->batchnorm ? " × BatchNorm γ/√(σ²+eps)" : "");
    qs_quantizer_cost_lines(r, v);
}

void qs_quantizer_lines(qs_rich *r, const qs_init_preview *v) {
    config_line(r, v);
    values_lines(r, v);
    weight_lines(r, v);
}

qs_str qs_quantizer_of(const qs_row *row, char room[QS_LINE_MAX]) {
    if (row->block_len) return qs_str_sub(row->key, 0, row->block_len);
    if (row->role != QS_ROLE_WEIGHT || row->key.n + 16 >= QS_LINE_MAX) return QS_STR("");
    snprintf(room, QS_LINE_MAX, "%.*s_fake_quant", QS_FMT(row->key));
    return qs_str_of(room);
}

#include "ui/app_impl.h"

#include "model/element.h"
#include "model/outline.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Every number of a tensor, page by page: A beside B with the differences marked, the raw bytes, or the range
 * of each channel as bars. */

enum {
    WINDOW = 16384,
    ITEM_MAX = 16,
    SEARCH_BLOCK = 8192,
    CHANNELS_MAX = 1 << 20,
    INDEX_W = 24,
    HEX_ROW = 16
};

typedef enum values_mode { MODE_NUMBERS, MODE_CHANNELS, MODE_HEX } values_mode;

/* One side: a tensor of a file, or what the plan makes. */
typedef struct values_side {
    const qs_checkpoint *c;
    const qs_tensor *t;
    qs_fill made; /* if t is NULL */
    qs_shape shape;
    qs_dtype dtype;
    uint64_t n;
    bool there;
    char problem[200];
    unsigned char raw[WINDOW]; /* of the rows on the screen */
    double real[WINDOW];       /* what quantized integers stand for */
    uint64_t loaded;           /* how many elements those are */
    double *min, *max;         /* by channel */
    uint64_t channels;
} values_side;

struct qs_values_state {
    char title[QS_LINE_MAX];
    values_side side[2];
    values_mode mode;
    int shown;    /* 0: A, 1: B, 2: both */
    qs_list list; /* rows; the cursor is the first one shown, as in a text */
    uint64_t per; /* elements a row */
    qs_arena arena;
};

static size_t item_size(const values_side *s) {
    size_t size = qs_dtype_get(s->dtype)->size;
    return size && size <= ITEM_MAX ? size : 0;
}

static bool quantized(const values_side *s) {
    return s->t && s->t->kind == QS_TENSOR_QUANTIZED;
}

static bool read_raw(const values_side *s, uint64_t first, size_t n, void *out, qs_err *e) {
    if (s->t) return qs_tensor_read(s->c, s->t, first, n, out, e);
    size_t size = item_size(s);
    memcpy(out, (const char *)s->made.data + first * size, n * size);
    return true;
}

/* ---- opening ---- */

static void set_tensor(values_side *s, const qs_checkpoint *c, const qs_tensor *t) {
    s->there = true;
    s->c = c;
    s->t = t;
    s->shape = t->shape;
    s->dtype = t->dtype;
    s->n = qs_shape_numel(t->shape);
    if (t->bad)
        snprintf(s->problem, sizeof s->problem, "%.190s", t->bad);
    else if (t->kind != QS_TENSOR_DENSE && t->kind != QS_TENSOR_QUANTIZED)
        snprintf(s->problem, sizeof s->problem, "its values are not read: it is no dense tensor");
    else if (!item_size(s))
        snprintf(s->problem, sizeof s->problem, "its values are of a type that is not known");
    if (s->problem[0]) s->n = 0;
}

static void set_made(qs_app *a, values_side *s, const qs_resolved *x) {
    qs_err e = QS_ERR_INIT;
    s->there = true;
    s->shape = x->shape;
    s->dtype = x->dtype;
    if (!qs_resolved_fill(qs_session_resolution(a->s), x, NULL, &a->values->arena, &s->made, &e)) {
        snprintf(s->problem, sizeof s->problem, "%.190s", e.msg);
        return;
    }
    s->shape = s->made.shape;
    s->dtype = s->made.dtype;
    s->n = item_size(s) ? s->made.bytes / item_size(s) : 0;
}

static struct qs_values_state *new_state(qs_app *a, const char *title) {
    struct qs_values_state *v = a->values = calloc(1, sizeof *v);
    if (!v) return qs_app_complain(a, "out of memory"), NULL;
    snprintf(v->title, sizeof v->title, "%s", title);
    return v;
}

static void show(qs_app *a) {
    struct qs_values_state *v = a->values;
    v->shown = v->side[0].there && v->side[1].there && v->side[0].n == v->side[1].n ? 2
               : v->side[0].there                                                   ? 0
                                                                                    : 1;
    qs_app_open(a, &qs_view_values);
}

void qs_values_open(qs_app *a, const char *title, const qs_tensor *t, const qs_tensor *b) {
    if ((!t && !b) || a->values || !new_state(a, title)) return;
    if (t) set_tensor(&a->values->side[0], qs_session_a(a->s), t);
    if (b) set_tensor(&a->values->side[1], qs_session_b(a->s), b);
    show(a);
}

void qs_values_open_row(qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    if (i == QS_NO_INDEX) return qs_app_say(a, "the cursor is on a module: go to a key to see its values");
    const qs_row *row = qs_compare_row(a->tree.c, i);
    const qs_resolution *r = qs_session_resolution(a->s);
    const qs_resolved *x = row->r == QS_NO_INDEX ? NULL : qs_resolution_entry(r, row->r);
    const qs_checkpoint *from = NULL, *b = qs_session_b(a->s);
    const qs_tensor *t = x ? qs_resolved_tensor(r, x, &from) : NULL;
    const qs_tensor *tb = row->b == QS_NO_INDEX ? NULL : qs_entry_tensor(b, qs_checkpoint_entry(b, row->b));
    bool made = x && qs_resolved_is_made(x);
    if (!t && !tb && !made)
        return qs_app_say(a, x ? "this is no tensor; D shows it" : "neither A nor B has values here");
    char title[QS_LINE_MAX];
    snprintf(title, sizeof title, "%.*s", QS_FMT(row->key));
    if (!new_state(a, title)) return;
    if (t) set_tensor(&a->values->side[0], from, t);
    if (made) set_made(a, &a->values->side[0], x);
    if (tb) set_tensor(&a->values->side[1], b, tb);
    show(a);
}

static void values_close(qs_app *a) {
    struct qs_values_state *v = a->values;
    for (int i = 0; i < 2; i++) {
        free(v->side[i].min);
        free(v->side[i].max);
    }
    qs_arena_free(&v->arena);
    free(v);
    a->values = NULL;
}

/* ---- what is on the screen ---- */

/* The side whose shape counts the rows. */
static values_side *lead(struct qs_values_state *v) {
    return &v->side[v->shown == 1 ? 1 : 0];
}

static int cell_width(const struct qs_values_state *v) {
    int w = 8;
    for (int i = 0; i < 2; i++) {
        const values_side *s = &v->side[i];
        if (!s->there || (v->shown != 2 && v->shown != i)) continue;
        char kind = qs_dtype_get(s->dtype)->kind;
        /* One more than the longest: a number that loses its end loses its exponent. */
        int need = quantized(s)       ? (item_size(s) > 1 ? 26 : 19)
                   : kind == 'C'      ? 28
                   : kind == 'F'      ? (item_size(s) > 4    ? 20
                                         : item_size(s) == 4 ? 16
                                                             : 12)
                   : item_size(s) > 4 ? 21
                   : item_size(s) > 2 ? 12
                                      : 7;
        if (need > w) w = need;
    }
    return w;
}

static uint64_t elements_a_row(const qs_app *a) {
    const struct qs_values_state *v = a->values;
    if (v->mode == MODE_HEX) return HEX_ROW;
    if (v->mode == MODE_CHANNELS) return 1;
    int room = (a->w - 2 - INDEX_W) / (v->shown == 2 ? 2 : 1), cell = cell_width(v);
    uint64_t per = 1;
    while ((int)per * 2 * cell <= room && per < 32) per *= 2; /* a power of two: indices are easy to read */
    return per;
}

static uint64_t units(struct qs_values_state *v) {
    values_side *s = lead(v);
    return v->mode == MODE_HEX ? s->n * item_size(s) : v->mode == MODE_CHANNELS ? s->channels : s->n;
}

static int rows_on_screen(const qs_app *a) {
    return a->h > 6 ? a->h - 5 : 1;
}

static void load_side(const qs_app *a, values_side *s) {
    const struct qs_values_state *v = a->values;
    size_t size = item_size(s);
    uint64_t first = (uint64_t)v->list.top * v->per, n = v->per * (uint64_t)rows_on_screen(a);
    qs_err e = QS_ERR_INIT;
    s->loaded = 0;
    if (!s->there || s->problem[0] || !size) return;
    if (v->mode == MODE_HEX) { /* whole elements around the bytes */
        first = first / size;
        n = n / size + 2;
    }
    if (first >= s->n) return;
    if (n > s->n - first) n = s->n - first;
    if (n > WINDOW / size) n = WINDOW / size;
    if (!read_raw(s, first, (size_t)n, s->raw, &e) ||
        (quantized(s) && !qs_tensor_read_doubles(s->c, s->t, first, (size_t)n, s->real, &e)))
        snprintf(s->problem, sizeof s->problem, "%.190s", e.msg);
    else
        s->loaded = n;
}

/* Statistics of what is shown: at once if they are small, else once no key waits. */
void qs_values_stats(qs_app *a, bool idle) {
    for (int i = 0; i < 2; i++)
        if (a->values->side[i].t && !a->values->side[i].problem[0])
            qs_app_want_stats(a, a->values->side[i].c, a->values->side[i].t, idle);
}

static void load(qs_app *a) {
    struct qs_values_state *v = a->values;
    qs_values_stats(a, false);
    if (v->mode == MODE_CHANNELS) return;
    load_side(a, &v->side[0]);
    load_side(a, &v->side[1]);
}

static void values_layout(qs_app *a) {
    struct qs_values_state *v = a->values;
    uint64_t at = (uint64_t)v->list.top * v->per;
    v->per = elements_a_row(a);
    uint64_t rows = (units(v) + v->per - 1) / v->per, screen = (uint64_t)rows_on_screen(a);
    qs_list_resize(&v->list, rows > screen ? (size_t)(rows - screen + 1) : 1, 1);
    qs_list_goto(&v->list, (size_t)(at / v->per));
    load(a);
}

/* ---- drawing ---- */

static void draw_value(qs_pane p, int x, int y, int w, const values_side *s, uint64_t i, qs_pen pen) {
    char text[QS_ELEMENT_MAX], both[2 * QS_ELEMENT_MAX];
    qs_element_text(s->dtype, s->raw + i * item_size(s), text);
    if (quantized(s))
        snprintf(both, sizeof both, "%s → %.5g", text, s->real[i]);
    else
        snprintf(both, sizeof both, "%s", text);
    qs_pane cell = qs_pane_sub(p, x, y, w - 1, 1);
    int width = qs_text_width(p.g, qs_str_of(both));
    qs_draw_fit(cell, width < cell.w ? cell.w - width : 0, 0, width < cell.w ? width : cell.w, pen,
                qs_str_of(both), false);
}

static qs_pen value_pen(const struct qs_values_state *v, uint64_t i, const values_side *s) {
    const values_side *x = &v->side[0], *y = &v->side[1];
    if (v->shown == 2 && x->dtype == y->dtype && i < x->loaded && i < y->loaded) {
        size_t size = item_size(x);
        if (!qs_element_eq(x->dtype, x->raw + i * size, y->raw + i * size)) return QS_PEN(SHAPE);
        return QS_PEN(NORMAL);
    }
    if (!qs_dtype_is_float(s->dtype)) return QS_PEN(NORMAL);
    double d;
    qs_to_doubles(s->dtype, s->raw + i * item_size(s), 1, &d);
    return isfinite(d) ? QS_PEN(NORMAL) : QS_PEN(FATAL);
}

static void draw_numbers(const qs_app *a, qs_pane p) {
    struct qs_values_state *v = a->values;
    const values_side *first = lead(v);
    int cell = cell_width(v), half = (p.w - INDEX_W) / 2;
    for (int y = 0; y < p.h; y++) {
        uint64_t at = (uint64_t)y * v->per, flat = (uint64_t)v->list.top * v->per + at;
        char where[96], index[48];
        if (flat >= first->n) break;
        qs_element_index(first->shape, flat, index, sizeof index);
        snprintf(where, sizeof where, "%" PRIu64 " %s", flat, index);
        qs_draw_fit(p, 0, y, INDEX_W - 1, QS_PEN(DIM), qs_str_of(where), false);
        for (int side = 0; side < 2; side++) {
            const values_side *s = &v->side[side];
            if (v->shown != 2 && v->shown != side) continue;
            int x = INDEX_W + (v->shown == 2 && side ? half : 0);
            if (v->shown == 2 && side) qs_drawz(p, x - 2, y, QS_PEN(LINE), "│");
            for (uint64_t i = 0; i < v->per && at + i < s->loaded; i++)
                draw_value(p, x + (int)i * cell, y, cell, s, at + i, value_pen(v, at + i, s));
        }
    }
}

static void draw_hex(const qs_app *a, qs_pane p) {
    struct qs_values_state *v = a->values;
    const values_side *s = lead(v);
    uint64_t byte = (uint64_t)v->list.top * HEX_ROW, size = item_size(s);
    uint64_t skip = size ? byte % size : 0, have = s->loaded * size;
    for (int y = 0; y < p.h; y++) {
        uint64_t at = skip + (uint64_t)y * HEX_ROW;
        if (at >= have) break;
        qs_buf line = {0};
        qs_hex_dump(s->raw + at, have - at < HEX_ROW ? (size_t)(have - at) : HEX_ROW,
                    byte + (uint64_t)y * HEX_ROW, &line);
        if (line.n) line.n--; /* its line break */
        qs_draw(p, 0, y, QS_PEN(NORMAL), qs_buf_str(&line));
        qs_buf_free(&line);
    }
}

/* One channel's range as a bar within the range of all. */
static void draw_bar(qs_pane p, int y, double lo, double hi, double min, double max) {
    if (p.w < 4 || !(hi > lo)) return;
    if (!(min <= max)) return (void)qs_drawz(p, 0, y, QS_PEN(FATAL), "no finite value");
    int from = (int)((min - lo) / (hi - lo) * (p.w - 1)), to = (int)((max - lo) / (hi - lo) * (p.w - 1));
    int zero = lo <= 0 && hi >= 0 ? (int)(-lo / (hi - lo) * (p.w - 1)) : -1;
    for (int x = from; x <= to; x++) qs_drawz(p, x, y, QS_PEN(HIST), "█");
    if (zero >= 0 && (zero < from || zero > to)) qs_drawz(p, zero, y, QS_PEN(DIM), "│");
}

static void draw_channels(const qs_app *a, qs_pane p) {
    struct qs_values_state *v = a->values;
    const values_side *s = lead(v);
    double lo = 0, hi = 0;
    for (uint64_t i = 0; i < s->channels; i++) {
        if (s->min[i] < lo) lo = s->min[i];
        if (s->max[i] > hi) hi = s->max[i];
    }
    qs_pane bars = qs_pane_sub(p, 43, 0, p.w - 44, p.h);
    for (int y = 0; y < p.h; y++) {
        uint64_t i = v->list.top + (uint64_t)y;
        if (i >= s->channels) break;
        qs_drawf(p, 0, y, QS_PEN(DIM), "channel %" PRIu64, i);
        qs_drawf(p, 15, y, QS_PEN(NORMAL), "%12.5g ..%12.5g", s->min[i], s->max[i]);
        draw_bar(bars, y, lo, hi, s->min[i], s->max[i]);
    }
}

static void draw_side_line(const qs_app *a, qs_pane p, int y, int side) {
    struct qs_values_state *v = a->values;
    const values_side *s = &v->side[side];
    char shape[128];
    if (!s->there) return (void)qs_drawf(p, 0, y, QS_PEN(DIM), "%c  -", "AB"[side]);
    qs_shape_text(s->shape, "×", shape, sizeof shape);
    bool on = v->shown == 2 || v->shown == side;
    int x = qs_drawf(p, 0, y, on ? QS_PEN(KEY) : QS_PEN(DIM), "%c  ", "AB"[side]);
    x = qs_drawf(p, x, y, QS_PEN(NORMAL), "%s %s", shape, qs_dtype_get(s->dtype)->name);
    if (s->problem[0]) return (void)qs_drawf(p, x + 2, y, QS_PEN(ERROR), " %s ", s->problem);
    if (!s->t) return (void)qs_drawf(p, x + 2, y, QS_PEN(INIT), "made by the plan");
    if (quantized(s) && s->t->q->per_channel)
        x = qs_drawf(p, x, y, QS_PEN(LETTER), ", a scale for each channel of axis %" PRId64, s->t->q->axis);
    else if (quantized(s))
        x = qs_drawf(p, x, y, QS_PEN(LETTER), ", scale %.6g zero point %" PRId64, s->t->q->scale,
                     s->t->q->zero_point);
    const qs_stats_entry *st = qs_app_stats(a, s->t);
    if (!st || st->failed || st->stats.n < 2) return; /* one number says all there is */
    /* What is wrong first: the end may not be seen. */
    char text[300];
    const qs_stats *m = &st->stats;
    int n = 0;
    if (m->nan || m->inf)
        n = snprintf(text, sizeof text, "NaN %" PRIu64 " inf %" PRIu64 "  ", m->nan, m->inf);
    snprintf(text + n, sizeof text - (size_t)n, "min %.5g max %.5g mean %.4g std %.4g  zeros %" PRIu64,
             m->min, m->max, m->mean, m->std, m->zero);
    qs_draw_fit(p, x + 2, y, p.w - x - 2, n ? QS_PEN(STRONG) : QS_PEN(DIM), qs_str_of(text), false);
}

static void values_draw(const qs_app *a, qs_grid *g) {
    static const char *const hints[] = {
        "Tab", "A, B, both", "n", "next difference, NaN", "b", "channels", "x", "bytes", "q", "back", NULL};
    struct qs_values_state *v = a->values;
    qs_pane p = qs_pane_of(g);
    g->cursor_x = g->cursor_y = -1;
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_fill(p, 0, 0, p.w, 1, QS_PEN(HEAD));
    char where[96];
    uint64_t all = units(v), from = (uint64_t)v->list.top * v->per,
             to = from + v->per * (uint64_t)rows_on_screen(a);
    snprintf(where, sizeof where, "%" PRIu64 "-%" PRIu64 " of %" PRIu64 "%s", from,
             (to < all ? to : all) - (all > 0), all,
             v->mode == MODE_HEX        ? " bytes"
             : v->mode == MODE_CHANNELS ? " channels"
                                        : "");
    if (all == 1 && v->mode == MODE_NUMBERS) snprintf(where, sizeof where, "1 value");
    int end = qs_draw_right(p, p.w - 1, 0, QS_PEN(HEAD), qs_str_of(all ? where : "no values"));
    qs_draw_fit(p, 1, 0, end - 3, QS_PEN(TITLE), qs_str_of(v->title), true);
    qs_pane in = qs_pane_sub(p, 1, 0, p.w - 2, p.h);
    draw_side_line(a, in, 1, 0);
    draw_side_line(a, in, 2, 1);
    qs_draw_hline(p, 3, QS_PEN(LINE));
    qs_pane body = qs_pane_sub(p, 1, 4, p.w - 2, rows_on_screen(a));
    if (v->mode == MODE_HEX)
        draw_hex(a, body);
    else if (v->mode == MODE_CHANNELS)
        draw_channels(a, body);
    else
        draw_numbers(a, body);
    qs_dialog_hints(in, p.h - 1, hints);
}

/* ---- keys ---- */

/* First element from `at` on that differs between the sides or, on one side, is not finite; n when there is
 * none. */
static bool search_block(const struct qs_values_state *v, unsigned char *x, unsigned char *y, size_t k,
                         size_t *hit) {
    const values_side *s = &v->side[v->shown == 1 ? 1 : 0];
    size_t size = item_size(s);
    for (size_t i = 0; i < k; i++) {
        double d = 0;
        if (v->shown == 2) {
            if (qs_element_eq(s->dtype, x + i * size, y + i * size)) continue;
        } else {
            qs_to_doubles(s->dtype, x + i * size, 1, &d);
            if (isfinite(d)) continue;
        }
        return *hit = i, true;
    }
    return false;
}

static bool search_from(qs_app *a, uint64_t at, uint64_t *found, qs_err *e) {
    struct qs_values_state *v = a->values;
    values_side *s = lead(v), *o = &v->side[1];
    qs_progress p = qs_app_busy(a, "searching");
    unsigned char *x = malloc((size_t)SEARCH_BLOCK * ITEM_MAX), *y = malloc((size_t)SEARCH_BLOCK * ITEM_MAX);
    bool ok = (x && y) || qs_nomem(e);
    *found = UINT64_MAX;
    while (ok && *found == UINT64_MAX && at < s->n) {
        size_t k = s->n - at < SEARCH_BLOCK ? (size_t)(s->n - at) : SEARCH_BLOCK, hit;
        ok = read_raw(s, at, k, x, e) && (v->shown != 2 || read_raw(o, at, k, y, e));
        if (ok && search_block(v, x, y, k, &hit)) *found = at + hit;
        at += k;
        ok = ok && qs_progress_step(&p, at, s->n, e);
    }
    free(x);
    free(y);
    return ok;
}

static void next_notable(qs_app *a) {
    struct qs_values_state *v = a->values;
    qs_err e = QS_ERR_INIT;
    uint64_t found, row = v->list.top;
    const char *what = v->shown == 2 ? "difference" : "NaN or infinity";
    if (v->mode != MODE_NUMBERS || lead(v)->problem[0] || lead(v)->n == 0) return;
    if (v->shown == 2 && v->side[0].dtype != v->side[1].dtype)
        return qs_app_say(a, "they are of different types");
    if (!search_from(a, (row + 1) * v->per, &found, &e)) return qs_app_fail(a, &e);
    if (found == UINT64_MAX && !search_from(a, 0, &found, &e)) return qs_app_fail(a, &e);
    if (found == UINT64_MAX) return qs_app_say(a, "there is no %s", what);
    char index[64];
    qs_element_index(lead(v)->shape, found, index, sizeof index);
    qs_list_goto(&v->list, (size_t)(found / v->per));
    qs_app_say(a, "%s at %" PRIu64 " %s", what, found, index);
}

static bool find_channels(qs_app *a, values_side *s) {
    qs_err e = QS_ERR_INIT;
    if (s->min) return true;
    if (!s->t || s->problem[0] || s->shape.ndim == 0 || s->n == 0)
        return qs_app_say(a, "a channel is a slice along an axis: this has none"), false;
    uint32_t axis = quantized(s) && s->t->q->per_channel ? (uint32_t)s->t->q->axis : 0;
    uint64_t n = (uint64_t)s->shape.dim[axis];
    if (n > CHANNELS_MAX) return qs_app_say(a, "too many channels to draw"), false;
    s->min = calloc(n, sizeof *s->min);
    s->max = calloc(n, sizeof *s->max);
    qs_progress p = qs_app_busy(a, "reading the values");
    bool ok = (s->min && s->max) || qs_nomem(&e);
    if (ok && qs_stats_channels(s->c, s->t, axis, s->min, s->max, &p, &e)) return s->channels = n, true;
    free(s->min);
    free(s->max);
    s->min = s->max = NULL;
    qs_app_fail(a, &e);
    return false;
}

static void set_mode(qs_app *a, values_mode mode) {
    struct qs_values_state *v = a->values;
    if (mode == MODE_CHANNELS && !find_channels(a, lead(v))) return;
    v->mode = mode;
    if (mode != MODE_NUMBERS && v->shown == 2) v->shown = 0;
    qs_list_goto(&v->list, 0);
}

static void next_side(qs_app *a) {
    struct qs_values_state *v = a->values;
    bool a_there = v->side[0].there, b_there = v->side[1].there;
    if (!a_there || !b_there) return qs_app_say(a, "only %s has values here", a_there ? "A" : "B");
    v->shown = (v->shown + 1) % 3;
    if (v->shown == 2 && (v->mode != MODE_NUMBERS || v->side[0].n != v->side[1].n)) v->shown = 0;
    if (v->mode == MODE_CHANNELS && !find_channels(a, lead(v))) v->mode = MODE_NUMBERS;
}

static bool values_command(qs_app *a, qs_command c) {
    struct qs_values_state *v = a->values;
    long page = rows_on_screen(a);
    switch (c) {
    case QS_CMD_PAGE_UP: qs_list_move(&v->list, -page); break;
    case QS_CMD_PAGE_DOWN: qs_list_move(&v->list, page); break;
    case QS_CMD_HALF_UP: qs_list_move(&v->list, -(page / 2)); break;
    case QS_CMD_HALF_DOWN: qs_list_move(&v->list, page / 2); break;
    case QS_CMD_OTHER_SIDE: next_side(a); break;
    case QS_CMD_NEXT: next_notable(a); break;
    case QS_CMD_CHANNELS: set_mode(a, v->mode == MODE_CHANNELS ? MODE_NUMBERS : MODE_CHANNELS); break;
    case QS_CMD_BYTES: set_mode(a, v->mode == MODE_HEX ? MODE_NUMBERS : MODE_HEX); break;
    default:
        if (!qs_list_command(&v->list, c)) return false;
    }
    values_layout(a);
    return true;
}

static bool values_event(qs_app *a, const qs_event *ev) {
    if (ev->kind == QS_EVENT_MOUSE && (ev->mouse == QS_MOUSE_WHEEL_UP || ev->mouse == QS_MOUSE_WHEEL_DOWN)) {
        qs_list_move(&a->values->list, ev->mouse == QS_MOUSE_WHEEL_UP ? -3 : 3);
        values_layout(a);
        return true;
    }
    return ev->kind == QS_EVENT_KEY && ev->key == ' ' && values_command(a, QS_CMD_PAGE_DOWN);
}

const qs_view qs_view_values = {
    .name = "values",
    .context = QS_CTX_VALUES,
    .draw = values_draw,
    .layout = values_layout,
    .event = values_event,
    .command = values_command,
    .close = values_close,
};

#include "ui/grid.h"

#include <stdarg.h>
#include <stdlib.h>
#include <wchar.h>

static const struct {
    const char *glyph;
    char ascii;
} stand_ins[] = {
#define QS_GLYPH(utf8, ascii) {utf8, ascii},
#include "ui/glyph.def"
#undef QS_GLYPH
#define QS_STATUS(NAME, name, glyph, ascii, ...) {glyph, ascii[0]},
#include "repair/status.def"
#undef QS_STATUS
#define QS_MARK(NAME, name, glyph, ascii, ...) {glyph, ascii[0]},
#include "repair/mark.def"
#undef QS_MARK
};

static int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

bool qs_grid_resize(qs_grid *g, int w, int h) {
    w = clamp(w, 1, QS_GRID_MAX);
    h = clamp(h, 1, QS_GRID_MAX);
    if (!g->cell || w != g->w || h != g->h) {
        qs_cell *cell = malloc((size_t)w * (size_t)h * sizeof *cell);
        if (!cell) return false;
        free(g->cell);
        g->cell = cell;
        g->w = w;
        g->h = h;
    }
    for (size_t i = 0; i < (size_t)w * (size_t)h; i++) g->cell[i] = (qs_cell){.cp = ' '};
    g->cursor_x = g->cursor_y = -1;
    g->spots = 0;
    return true;
}

void qs_grid_free(qs_grid *g) {
    free(g->cell);
    *g = (qs_grid){0};
}

const qs_cell *qs_grid_at(const qs_grid *g, int x, int y) {
    if (x < 0 || y < 0 || x >= g->w || y >= g->h) return NULL;
    return &g->cell[(size_t)y * (size_t)g->w + (size_t)x];
}

static qs_cell *at(qs_pane p, int x, int y) {
    if (x < 0 || y < 0 || x >= p.w || y >= p.h) return NULL;
    return (qs_cell *)qs_grid_at(p.g, p.x + x, p.y + y);
}

qs_pane qs_pane_of(qs_grid *g) {
    return (qs_pane){g, 0, 0, g->w, g->h};
}

qs_pane qs_pane_sub(qs_pane p, int x, int y, int w, int h) {
    int x0 = clamp(x, 0, p.w), y0 = clamp(y, 0, p.h);
    int x1 = clamp(x + w, x0, p.w), y1 = clamp(y + h, y0, p.h);
    return (qs_pane){p.g, p.x + x0, p.y + y0, x1 - x0, y1 - y0};
}

/* A character on its way to cells. */
typedef struct glyph {
    uint32_t cp;
    int width; /* 0 for a combining mark */
} glyph;

static uint32_t stand_in(qs_str utf8) {
    for (size_t i = 0; i < sizeof stand_ins / sizeof *stand_ins; i++)
        if (qs_str_is(utf8, stand_ins[i].glyph)) return (unsigned char)stand_ins[i].ascii;
    return 0;
}

/* Next printable piece of text at s: a character, or an escape for what cannot be shown. */
typedef struct text_iter {
    qs_str rest;
    bool ascii;
    char escape[16];
    size_t escape_n, escape_i;
} text_iter;

static void start_escape(text_iter *it, uint32_t cp) {
    int n = snprintf(it->escape, sizeof it->escape, cp > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)cp);
    it->escape_n = n > 0 ? (size_t)n : 0;
    it->escape_i = 0;
}

/* Characters qs_str_printable would escape: let it do so, one at a time. */
static bool printable_here(text_iter *it, size_t len) {
    char safe[16];
    size_t n = qs_str_printable(qs_str_sub(it->rest, 0, len), safe, sizeof safe);
    if (n == len && memcmp(safe, it->rest.p, n) == 0) return true;
    memcpy(it->escape, safe, n);
    it->escape_n = n;
    it->escape_i = 0;
    return false;
}

static bool text_next(text_iter *it, glyph *out) {
    while (it->escape_i >= it->escape_n) {
        if (it->rest.n == 0) return false;
        uint32_t cp = 0;
        size_t len = qs_utf8_decode(it->rest, &cp);
        qs_str here = qs_str_sub(it->rest, 0, len ? len : 1);
        bool fine = printable_here(it, here.n);
        it->rest = qs_str_sub(it->rest, here.n, it->rest.n);
        if (!fine) continue;
        if (cp < 0x80) return *out = (glyph){cp, 1}, true;
        if (it->ascii) {
            uint32_t c = stand_in(here);
            if (c) return *out = (glyph){c, 1}, true;
        }
        int w = it->ascii ? -1 : wcwidth((wchar_t)cp);
        if (w >= 0) return *out = (glyph){cp, w}, true;
        start_escape(it, cp);
    }
    *out = (glyph){(unsigned char)it->escape[it->escape_i++], 1};
    return true;
}

/* No row shows this much; a name made of a million combining marks must not cost a million steps a frame. */
enum { TEXT_MAX = 32768 };

static text_iter text_begin(const qs_grid *g, qs_str text) {
    return (text_iter){.rest = qs_str_sub(text, 0, TEXT_MAX), .ascii = g->ascii};
}

int qs_text_width(const qs_grid *g, qs_str text) {
    text_iter it = text_begin(g, text);
    glyph c;
    int w = 0;
    while (w < QS_GRID_MAX * 2 && text_next(&it, &c)) w += c.width;
    return w;
}

/* Writing over half of a wide character blanks its other half. */
static void mend_wide(qs_pane p, int x, int y) {
    qs_grid *g = p.g;
    int gx = p.x + x, gy = p.y + y;
    qs_cell *here = (qs_cell *)qs_grid_at(g, gx, gy), *left = (qs_cell *)qs_grid_at(g, gx - 1, gy),
            *right = (qs_cell *)qs_grid_at(g, gx + 1, gy);
    if (here && here->cp == 0 && left) *left = (qs_cell){.cp = ' ', .pen = left->pen};
    if (right && right->cp == 0) *right = (qs_cell){.cp = ' ', .pen = right->pen};
}

static void put(qs_pane p, int x, int y, qs_pen pen, glyph c) {
    qs_cell *cell = at(p, x, y);
    if (!cell) return;
    mend_wide(p, x, y);
    if (c.width < 2) {
        *cell = (qs_cell){.cp = c.cp, .pen = pen};
        return;
    }
    qs_cell *right = at(p, x + 1, y);
    if (right) mend_wide(p, x + 1, y);
    *cell = (qs_cell){.cp = right ? c.cp : ' ', .pen = pen}; /* half a character is a blank */
    if (right) *right = (qs_cell){.cp = 0, .pen = pen};
}

static void put_mark(qs_pane p, int x, int y, uint32_t cp) {
    qs_cell *cell = at(p, x, y);
    if (cell && cell->cp == 0) cell = at(p, x - 1, y);
    for (int i = 0; cell && i < QS_CELL_MARKS; i++) {
        if (cell->mark[i]) continue;
        cell->mark[i] = cp;
        return;
    }
}

int qs_draw(qs_pane p, int x, int y, qs_pen pen, qs_str text) {
    text_iter it = text_begin(p.g, text);
    glyph c;
    int first = x;
    while (text_next(&it, &c)) {
        if (c.width > 0 && x >= p.w) break; /* marks of the last character still belong to it */
        if (c.width == 0) {
            if (x > first) put_mark(p, x - 1, y, c.cp);
            continue;
        }
        put(p, x, y, pen, c);
        x += c.width;
    }
    return x;
}

int qs_drawz(qs_pane p, int x, int y, qs_pen pen, const char *text) {
    return qs_draw(p, x, y, pen, qs_str_of(text));
}

int qs_drawf(qs_pane p, int x, int y, qs_pen pen, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return qs_drawz(p, x, y, pen, text);
}

/* Bytes of the longest tail of text that is at most `width` columns. */
static size_t tail_start(const qs_grid *g, qs_str text, int width) {
    size_t start = text.n;
    while (start > 0) {
        size_t prev = start - 1;
        while (prev > 0 && ((unsigned char)text.p[prev] & 0xc0) == 0x80 && start - prev < 4) prev--;
        if (qs_text_width(g, qs_str_sub(text, prev, text.n)) > width) break;
        start = prev;
    }
    return start;
}

void qs_draw_fit(qs_pane p, int x, int y, int width, qs_pen pen, qs_str text, bool cut_left) {
    qs_pane field = qs_pane_sub(p, x, y, width, 1);
    qs_draw_fill(field, 0, 0, width, 1, pen);
    if (x < 0 || field.w <= 0) return;
    if (qs_text_width(p.g, text) <= field.w) {
        qs_draw(field, 0, 0, pen, text);
    } else if (cut_left) {
        size_t from = tail_start(p.g, text, field.w - 1);
        qs_draw(field, qs_drawz(field, 0, 0, pen, "…"), 0, pen, qs_str_sub(text, from, text.n));
    } else {
        qs_draw(field, 0, 0, pen, text);
        qs_drawz(field, field.w - 1, 0, pen, "…");
    }
}

int qs_draw_clip(qs_pane p, int x, int y, qs_pen pen, const char *text) {
    int width = qs_text_width(p.g, qs_str_of(text)), room = p.w - x;
    if (width > room) width = room > 0 ? room : 0;
    qs_draw_fit(p, x, y, width, pen, qs_str_of(text), false);
    return x + width;
}

int qs_draw_right(qs_pane p, int end, int y, qs_pen pen, qs_str text) {
    int x = end - qs_text_width(p.g, text);
    qs_draw(p, x, y, pen, text);
    return x;
}

void qs_draw_fill(qs_pane p, int x, int y, int w, int h, qs_pen pen) {
    qs_pane area = qs_pane_sub(p, x, y, w, h);
    for (int j = 0; j < area.h; j++)
        for (int i = 0; i < area.w; i++) put(area, i, j, pen, (glyph){' ', 1});
}

void qs_draw_hline(qs_pane p, int y, qs_pen pen) {
    for (int x = 0; x < p.w; x++) qs_drawz(p, x, y, pen, "─");
}

void qs_pane_select(qs_pane p, int y) {
    for (int x = 0; x < p.w; x++) {
        qs_cell *c = at(p, x, y);
        if (c) c->pen |= QS_PEN_SELECTED;
    }
    if (p.g->cursor_x < 0)
        p.g->cursor_y = p.y + y; /* where no text is typed, a screen reader reads this line */
}

qs_pane qs_draw_box(qs_pane p, qs_str title, qs_str note) {
    qs_pen pen = QS_PEN(BOX);
    qs_draw_fill(p, 0, 0, p.w, p.h, QS_PEN(NORMAL));
    qs_draw_hline(qs_pane_sub(p, 0, 0, p.w, 1), 0, pen);
    qs_draw_hline(qs_pane_sub(p, 0, p.h - 1, p.w, 1), 0, pen);
    for (int y = 0; y < p.h; y++) {
        bool top = y == 0, bottom = y == p.h - 1;
        qs_drawz(p, 0, y, pen, top ? "┌" : bottom ? "└" : "│");
        qs_drawz(p, p.w - 1, y, pen, top ? "┐" : bottom ? "┘" : "│");
    }
    qs_pane edge = qs_pane_sub(p, 1, 0, p.w - 2, 1);
    int x = qs_drawz(edge, 0, 0, pen, " ");
    x = qs_draw(edge, x, 0, QS_PEN(TITLE), title);
    x = qs_drawz(edge, x, 0, pen, " ");
    if (note.n) {
        x = qs_draw(edge, x, 0, QS_PEN(NORMAL), note);
        qs_drawz(edge, x, 0, pen, " ");
    }
    return qs_pane_sub(p, 2, 1, p.w - 4, p.h - 2);
}

void qs_pane_spot(qs_pane p, int x, int y, int w, int what) {
    qs_pane on = qs_pane_sub(p, x, y, w, 1);
    if (y < 0 || on.w == 0 || on.h == 0 || p.g->spots == QS_SPOTS_MAX) return;
    p.g->spot[p.g->spots++] = (qs_spot){on.x, on.y, on.w, what};
}

int qs_grid_spot(const qs_grid *g, int x, int y) {
    for (int i = g->spots; i-- > 0;) {
        const qs_spot *s = &g->spot[i];
        if (y == s->y && x >= s->x && x < s->x + s->w) return s->what;
    }
    return QS_SPOT_NONE;
}

void qs_pane_cursor(qs_pane p, int x, int y) {
    if (!at(p, x, y)) return;
    p.g->cursor_x = p.x + x;
    p.g->cursor_y = p.y + y;
}

static void dump_cp(qs_buf *out, uint32_t cp) {
    char u[4];
    size_t n = 0;
    if (cp < 0x80)
        u[n++] = (char)cp;
    else if (cp < 0x800)
        u[n++] = (char)(0xc0 | cp >> 6);
    else if (cp < 0x10000)
        u[n++] = (char)(0xe0 | cp >> 12);
    else
        u[n++] = (char)(0xf0 | cp >> 18);
    if (cp >= 0x10000) u[n++] = (char)(0x80 | (cp >> 12 & 0x3f));
    if (cp >= 0x800) u[n++] = (char)(0x80 | (cp >> 6 & 0x3f));
    if (cp >= 0x80) u[n++] = (char)(0x80 | (cp & 0x3f));
    qs_buf_add(out, (qs_str){u, n});
}

static void dump_cell(const qs_cell *c, bool paints, qs_buf *out) {
    if (c->cp == 0) return;
    if (paints && (c->cp == '{' || c->cp == '}')) dump_cp(out, c->cp);
    dump_cp(out, c->cp);
    for (int i = 0; i < QS_CELL_MARKS && c->mark[i]; i++) dump_cp(out, c->mark[i]);
}

void qs_grid_dump(const qs_grid *g, bool paints, qs_buf *out) {
    for (int y = 0; y < g->h; y++) {
        qs_pen pen = 0;
        for (int x = 0; x < g->w; x++) {
            const qs_cell *c = qs_grid_at(g, x, y);
            if (paints && c->pen != pen) {
                if (pen) qs_buf_addc(out, '}');
                pen = c->pen;
                if (pen)
                    qs_buf_addf(out, "{%s%s:", qs_paint_name(qs_pen_paint(pen)),
                                pen & QS_PEN_SELECTED ? "+" : "");
            }
            dump_cell(c, paints, out);
        }
        qs_buf_addz(out, pen ? "}|\n" : "|\n");
    }
    if (g->cursor_x >= 0) qs_buf_addf(out, "cursor %d,%d\n", g->cursor_x, g->cursor_y);
}

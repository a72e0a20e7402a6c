#include "ui/theme.h"

enum { SELECTED_BG = 24 };

static const struct paint_row {
    const char *name;
    int16_t fg256, bg256, selected256, fg16, bg16, fg8, bg8;
    uint8_t attrs, mono;
} rows[QS_PAINT_COUNT] = {
#define QS_PAINT(NAME, name, fg256, bg256, selected256, fg16, bg16, fg8, bg8, attrs, mono)                   \
    {name, fg256, bg256, selected256, fg16, bg16, fg8, bg8, attrs, mono},
#include "ui/theme.def"
#undef QS_PAINT
};

qs_palette qs_palette_for(int colors) {
    if (colors >= 256) return QS_PALETTE_256;
    if (colors >= 16) return QS_PALETTE_16;
    return colors >= 8 ? QS_PALETTE_8 : QS_PALETTE_MONO;
}

const char *qs_paint_name(qs_paint paint) {
    return rows[paint].name;
}

/* Bold black is grey on terminals that brighten what is bold. */
static qs_style chip(int16_t fg, int16_t bg, uint8_t attrs) {
    return (qs_style){fg, bg, (uint8_t)(fg == 0 ? attrs & ~QS_ATTR_BOLD : attrs)};
}

static qs_style plain(qs_palette palette, const struct paint_row *r) {
    switch (palette) {
    case QS_PALETTE_256: return (qs_style){r->fg256, r->bg256, r->attrs};
    case QS_PALETTE_16: return chip(r->fg16, r->bg16, r->attrs);
    case QS_PALETTE_8: return chip(r->fg8, r->bg8, r->attrs);
    case QS_PALETTE_MONO:
    case QS_PALETTE_COUNT: break;
    }
    return (qs_style){-1, -1, r->mono};
}

qs_style qs_theme_style(qs_palette palette, qs_paint paint, bool selected) {
    const struct paint_row *r = &rows[paint];
    qs_style s = plain(palette, r);
    if (!selected) return s;
    /* Few colours: a reversed bar of one colour reads better than a patchwork of reversed ones. */
    if (palette != QS_PALETTE_256)
        return (qs_style){-1, -1, (uint8_t)(QS_ATTR_REVERSE | (s.attrs & QS_ATTR_BOLD))};
    if (s.bg >= 0) return s;
    return (qs_style){r->selected256, SELECTED_BG, s.attrs};
}

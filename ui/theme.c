#include "ui/theme.h"

/* How a paint looks in one theme; `set` tells a look from one that theme.def does not have. */
typedef struct look {
    bool set;
    int16_t fg256, bg256, selected256, fg16, bg16, fg8, bg8;
    uint8_t attrs;
} look;

static const look looks[QS_THEME_COUNT][QS_PAINT_COUNT] = {
#define QS_LOOK(THEME, PAINT, ...) [QS_THEME_##THEME][QS_PAINT_##PAINT] = {true, __VA_ARGS__},
#include "ui/theme.def"
};

static const struct paint_row {
    const char *name;
    uint8_t mono;
} paints[QS_PAINT_COUNT] = {
#define QS_PAINT(NAME, name, mono) {name, mono},
#include "ui/theme.def"
};

static const struct theme_row {
    const char *name;
    int16_t selected_bg;
    const char *help;
} themes[QS_THEME_COUNT] = {
#define QS_THEME(NAME, name, bg, help) {name, bg, help},
#include "ui/theme.def"
};

qs_palette qs_palette_for(int colors) {
    if (colors >= 256) return QS_PALETTE_256;
    if (colors >= 16) return QS_PALETTE_16;
    return colors >= 8 ? QS_PALETTE_8 : QS_PALETTE_MONO;
}

int qs_palette_colors(qs_palette palette) {
    static const int colors[QS_PALETTE_COUNT] = {0, 8, 16, 256};
    return colors[palette];
}

const char *qs_paint_name(qs_paint paint) {
    return paints[paint].name;
}

const char *qs_theme_name(qs_theme_id id) {
    return themes[id].name;
}

const char *qs_theme_help(qs_theme_id id) {
    return themes[id].help;
}

qs_theme_id qs_theme_find(qs_str name) {
    qs_theme_id id = 0;
    while (id < QS_THEME_COUNT && !qs_str_is(name, themes[id].name)) id++;
    return id;
}

/* Bold black is grey on terminals that brighten what is bold. */
static qs_style chip(int16_t fg, int16_t bg, uint8_t attrs) {
    return (qs_style){fg, bg, (uint8_t)(fg == 0 ? attrs & ~QS_ATTR_BOLD : attrs)};
}

static const look *look_of(qs_theme_id id, qs_paint paint) {
    const look *l = &looks[id][paint];
    return l->set ? l : &looks[QS_THEME_DEFAULT][paint];
}

static qs_style plain(qs_theme_id id, qs_palette palette, qs_paint paint) {
    const look *l = look_of(id, paint);
    if (id == QS_THEME_NONE) palette = QS_PALETTE_MONO;
    switch (palette) {
    case QS_PALETTE_256: return (qs_style){l->fg256, l->bg256, l->attrs};
    case QS_PALETTE_16: return chip(l->fg16, l->bg16, l->attrs);
    case QS_PALETTE_8: return chip(l->fg8, l->bg8, l->attrs);
    case QS_PALETTE_MONO:
    case QS_PALETTE_COUNT: break;
    }
    return (qs_style){-1, -1, paints[paint].mono};
}

static qs_style selected(qs_theme_id id, qs_palette palette, qs_paint paint) {
    qs_style s = plain(id, palette, paint), normal = plain(id, palette, QS_PAINT_NORMAL);
    /* Few colours: a reversed bar of one colour reads better than a patchwork of reversed ones. */
    if (palette != QS_PALETTE_256 || id == QS_THEME_NONE)
        return (qs_style){normal.fg, normal.bg, (uint8_t)(QS_ATTR_REVERSE | (s.attrs & QS_ATTR_BOLD))};
    if (s.bg != normal.bg) return s;
    return (qs_style){look_of(id, paint)->selected256, themes[id].selected_bg,
                      (uint8_t)(s.attrs & ~QS_ATTR_BOLD)};
}

void qs_theme_init(qs_theme *t, qs_theme_id id) {
    for (qs_palette palette = 0; palette < QS_PALETTE_COUNT; palette++)
        for (qs_paint paint = 0; paint < QS_PAINT_COUNT; paint++) {
            t->style[palette][paint][0] = plain(id, palette, paint);
            t->style[palette][paint][1] = selected(id, palette, paint);
        }
}

/* What cells mean (theme.def) and how four palettes show it. */
#ifndef QS_UI_THEME_H
#define QS_UI_THEME_H

#include <stdbool.h>
#include <stdint.h>

typedef enum qs_attr {
    QS_ATTR_BOLD = 1,
    QS_ATTR_DIM = 2,
    QS_ATTR_UNDERLINE = 4,
    QS_ATTR_REVERSE = 8,
} qs_attr;

typedef enum qs_paint {
#define QS_PAINT(NAME, ...) QS_PAINT_##NAME,
#include "ui/theme.def"
#undef QS_PAINT
    QS_PAINT_COUNT
} qs_paint;

typedef enum qs_palette {
    QS_PALETTE_MONO,
    QS_PALETTE_8,
    QS_PALETTE_16,
    QS_PALETTE_256,
    QS_PALETTE_COUNT
} qs_palette;

typedef struct qs_style {
    int16_t fg, bg; /* -1: the terminal's default */
    uint8_t attrs;  /* QS_ATTR_* */
} qs_style;

/* The palette for a terminal with this many colours (0: none). */
qs_palette qs_palette_for(int colors);
qs_style qs_theme_style(qs_palette palette, qs_paint paint, bool selected);
const char *qs_paint_name(qs_paint paint); /* as in dumps of screens; "" for NORMAL */

#endif

/* What cells mean, and how each theme shows it with 256, 16, 8 and no colours; the table is theme.def. */
#ifndef QS_UI_THEME_H
#define QS_UI_THEME_H

#include "base/str.h"

typedef enum qs_attr {
    QS_ATTR_BOLD = 1,
    QS_ATTR_DIM = 2,
    QS_ATTR_UNDERLINE = 4,
    QS_ATTR_REVERSE = 8,
} qs_attr;

typedef enum qs_paint {
#define QS_PAINT(NAME, ...) QS_PAINT_##NAME,
#include "ui/theme.def"
    QS_PAINT_COUNT
} qs_paint;

typedef enum qs_theme_id {
#define QS_THEME(NAME, ...) QS_THEME_##NAME,
#include "ui/theme.def"
    QS_THEME_COUNT
} qs_theme_id;

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

/* Every style of a theme; [1]: on the selected row. */
typedef struct qs_theme {
    qs_style style[QS_PALETTE_COUNT][QS_PAINT_COUNT][2];
} qs_theme;

/* The styles of theme.def. */
void qs_theme_init(qs_theme *t, qs_theme_id id);
const char *qs_theme_name(qs_theme_id id);
const char *qs_theme_help(qs_theme_id id);
qs_theme_id qs_theme_find(qs_str name); /* QS_THEME_COUNT: none is called so */

/* The palette for a terminal with this many colours (0: none). */
qs_palette qs_palette_for(int colors);
int qs_palette_colors(qs_palette palette); /* 0, 8, 16, 256 */
const char *qs_paint_name(qs_paint paint); /* as in dumps of screens; "" for NORMAL */

#endif

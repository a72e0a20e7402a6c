/* The screen as cells: views draw into a grid, terminals and tests read it. Nothing here knows a terminal.
 * Every drawing function clips, and makes text printable, so that no byte of a file can reach a terminal raw.
 */
#ifndef QS_UI_GRID_H
#define QS_UI_GRID_H

#include "base/str.h"
#include "ui/theme.h"

/* A pen is a paint, with or without the selection bar under it. */
typedef uint32_t qs_pen;
#define QS_PEN_SELECTED   0x100u
#define QS_PEN(NAME)      ((qs_pen)QS_PAINT_##NAME)
#define qs_pen_paint(pen) ((qs_paint)((pen)&0xffu))

enum { QS_CELL_MARKS = 2, QS_GRID_MAX = 2000 }; /* combining marks kept per cell; widest and tallest grid */
enum { QS_SPOTS_MAX = 64, QS_SPOT_NONE = -1 };

typedef struct qs_cell {
    uint32_t cp;                  /* 0: the right half of the wide character before it */
    uint32_t mark[QS_CELL_MARKS]; /* combining marks, 0 = none */
    qs_pen pen;
} qs_cell;

/* Cells of one row that a click means something on; `what` is a number of the view that drew them. */
typedef struct qs_spot {
    int x, y, w, what;
} qs_spot;

typedef struct qs_grid {
    qs_cell *cell; /* [h][w] */
    int w, h;
    bool ascii;             /* only ASCII may be shown: glyphs are replaced, other characters escaped */
    int cursor_x, cursor_y; /* text cursor; x < 0 hides it, but screen readers follow its line */
    qs_spot spot[QS_SPOTS_MAX];
    int spots; /* of the view on top; those beyond the array are no targets */
} qs_grid;     /* zero-initialise */

/* Blank grid of this size (clamped to 1..QS_GRID_MAX each way); false when memory is out. */
bool qs_grid_resize(qs_grid *g, int w, int h);
void qs_grid_free(qs_grid *g);
const qs_cell *qs_grid_at(const qs_grid *g, int x, int y); /* NULL outside */

/* A rectangle of a grid; coordinates of the drawing functions are relative to it. */
typedef struct qs_pane {
    qs_grid *g;
    int x, y, w, h;
} qs_pane;
qs_pane qs_pane_of(qs_grid *g);
qs_pane qs_pane_sub(qs_pane p, int x, int y, int w, int h); /* clipped to p */

/* Columns the text takes when drawn. */
int qs_text_width(const qs_grid *g, qs_str text);
/* Draw; returns the column after it. Line breaks are not interpreted (they show as \x0a). */
int qs_draw(qs_pane p, int x, int y, qs_pen pen, qs_str text);
int qs_drawz(qs_pane p, int x, int y, qs_pen pen, const char *text);
int qs_drawf(qs_pane p, int x, int y, qs_pen pen, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Draw in exactly `width` columns, padded with blanks. Text that is too long loses its end (or, with
 * cut_left, its beginning) to an ellipsis. */
void qs_draw_fit(qs_pane p, int x, int y, int width, qs_pen pen, qs_str text, bool cut_left);
/* To the end of the pane, and an ellipsis there where it is longer; returns the column after it. */
int qs_draw_clip(qs_pane p, int x, int y, qs_pen pen, const char *text);
/* Draw so that the text ends before column `end`; returns the column it starts at. */
int qs_draw_right(qs_pane p, int end, int y, qs_pen pen, qs_str text);
void qs_draw_fill(qs_pane p, int x, int y, int w, int h, qs_pen pen);
void qs_draw_hline(qs_pane p, int y, qs_pen pen);
/* Put the selection bar under existing cells; screen readers are told that this is the line. */
void qs_pane_select(qs_pane p, int y);
/* A frame around the whole pane with a title in its upper edge; the inside is blanked. Returns the inside. */
qs_pane qs_draw_box(qs_pane p, qs_str title, qs_str note);
void qs_pane_cursor(qs_pane p, int x, int y);
/* A click on these cells means `what` (>= 0) to the view that draws; clipped as drawing is. */
void qs_pane_spot(qs_pane p, int x, int y, int w, int what);
/* What a click there means, QS_SPOT_NONE if nothing. */
int qs_grid_spot(const qs_grid *g, int x, int y);

/* The screen as text, one line a row ending in '|'. With paints, runs that are not NORMAL are {name:text}, on
 * the selection bar {name+:text}; braces of the text itself are doubled. The cursor is a last line "cursor
 * X,Y". */
void qs_grid_dump(const qs_grid *g, bool paints, qs_buf *out);

#endif

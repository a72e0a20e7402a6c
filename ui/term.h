/* A terminal: shows a grid, gives events. term_curses.c is the only file that knows how. */
#ifndef QS_UI_TERM_H
#define QS_UI_TERM_H

#include "base/err.h"
#include "ui/event.h"
#include "ui/grid.h"

typedef enum qs_color_mode { QS_COLOR_AUTO, QS_COLOR_ALWAYS, QS_COLOR_NEVER } qs_color_mode;

typedef struct qs_term qs_term;
typedef struct qs_term_options {
    const qs_theme *theme; /* copied; NULL: the default theme */
    qs_color_mode color;   /* AUTO: as the terminal can, unless NO_COLOR is set */
    bool mouse;
    const char *term; /* terminal type; NULL: $TERM */
    FILE *in, *out;   /* NULL: stdin, stdout. A test gives files */
} qs_term_options;

/* Takes the screen over. QS_E_USAGE if the terminal type is unknown or cannot move its cursor. */
bool qs_term_open(const qs_term_options *opt, qs_term **out, qs_err *e);
/* Gives the screen back as it was; NULL is fine. */
void qs_term_close(qs_term *t);
void qs_term_size(const qs_term *t, int *w, int *h);
/* Draw with this theme from the next frame on; copied. */
void qs_term_theme(qs_term *t, const qs_theme *theme);
qs_palette qs_term_palette(const qs_term *t);
/* Only cells that changed reach the wire. */
void qs_term_show(qs_term *t, const qs_grid *g);
/* The next event, waiting at most `ms` (negative: for ever; IDLE when the time is up). */
void qs_term_wait(qs_term *t, int ms, qs_event *ev);
/* Whether a key waits to be read. */
bool qs_term_pending(const qs_term *t);
/* Whether Esc or ^C was pressed, without waiting: what was typed before it is then forgotten. Other keys are
 * kept for qs_term_wait, and so is a new size. For long work. */
bool qs_term_cancelled(qs_term *t);
/* Stop this process as ^Z does and come back when it continues. */
void qs_term_suspend(qs_term *t);
/* Send everything again: another program wrote on the screen. */
void qs_term_redraw(qs_term *t);

#endif

/* A line of text being edited, with history: the fields of dialogs and the prompts at the foot of the screen.
 */
#ifndef QS_UI_PROMPT_H
#define QS_UI_PROMPT_H

#include "ui/event.h"
#include "ui/grid.h"

enum { QS_LINE_MAX = 1024, QS_HISTORY_MAX = 50 };

/* What was entered before, newest last; owned strings. */
typedef struct qs_history {
    char *text[QS_HISTORY_MAX];
    size_t n;
} qs_history;
void qs_history_add(qs_history *h,
                    qs_str text); /* a repeat moves to the end; forgets quietly without memory */
void qs_history_free(qs_history *h);

typedef struct qs_line {
    char text[QS_LINE_MAX]; /* UTF-8, NUL terminated */
    size_t n, cursor;       /* bytes; the cursor is on a character boundary */
    qs_history *history;    /* borrowed, may be NULL */
    size_t history_at;      /* history->n: the new line */
} qs_line;

void qs_line_set(qs_line *l, qs_str text); /* cut at QS_LINE_MAX; the cursor goes to the end */
static inline qs_str qs_line_text(const qs_line *l) {
    return (qs_str){l->text, l->n};
}
/* Keys and pastes that edit; false if the event is none of them. *changed is set when the text is another. */
bool qs_line_edit(qs_line *l, const qs_event *ev, bool *changed);
/* Draws in `width` columns, scrolled so that the cursor shows, and puts the text cursor there if focused. */
void qs_line_draw(const qs_line *l, qs_pane p, int x, int y, int width, bool focused);

#endif

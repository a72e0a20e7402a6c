/* What the text of a prompt could go on to. */
#ifndef QS_UI_COMPLETE_H
#define QS_UI_COMPLETE_H

#include "base/path_names.h"
#include "ui/commands.h"
#include "ui/grid.h"
#include "ui/prompt.h"

struct qs_app;

typedef struct qs_completion {
    qs_argument what; /* of the whole line, unless `command` */
    bool command;     /* the line is a command and its argument */
    bool shown;       /* the names below are of the present line */
    size_t from;      /* where in the line they begin */
    size_t at;        /* the name that was taken; SIZE_MAX: what they share */
    qs_arena arena;
    qs_names names;
} qs_completion; /* zero-initialise */

void qs_completion_clear(qs_completion *c);
/* Tab (dir 1) and BackTab (-1): first the text all names share, then one name after the other. */
void qs_complete(const struct qs_app *a, qs_completion *c, qs_line *l, int dir);
/* The names, in the last lines of the pane. */
void qs_completion_draw(const qs_completion *c, qs_pane p);

#endif

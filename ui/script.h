/* Keys from a text instead of a keyboard: for tests, golden screens and screenshots.
 *   j j Enter ^R PgDn Space     keys by name, between blanks
 *   "model.0.conv"              typed character by character; \" and \\ inside
 *   resize:80x24 click:10,5 double:10,5 wheel:down paste:"text" idle hangup
 * A '#' at the start of a line makes it a comment. */
#ifndef QS_UI_SCRIPT_H
#define QS_UI_SCRIPT_H

#include "base/err.h"
#include "ui/event.h"

typedef struct qs_script {
    qs_str text; /* borrowed */
    size_t pos;
    qs_str typing; /* rest of a quoted text */
    size_t line;
    char paste[1024];
} qs_script;

qs_script qs_script_of(qs_str text);
/* The next event; NONE at the end. False with QS_E_USAGE naming line and word if a word is no event. */
bool qs_script_next(qs_script *s, qs_event *out, qs_err *e);

#endif

/* The explorer: everything a person does with a session on a terminal. */
#ifndef QS_UI_UI_H
#define QS_UI_UI_H

#include "session.h"
#include "ui/config.h"
#include "ui/term.h"

typedef struct qs_ui_options {
    const qs_config *config; /* keys and themes; borrowed; NULL: those built in */
    bool ascii;              /* no characters beyond ASCII; implied by a locale that is not UTF-8 */
    qs_color_mode color;     /* AUTO respects NO_COLOR */
    bool mouse;
    bool read_only;       /* look and try, but write nothing */
    const char *lessons;  /* a folder with more lessons; NULL: the built-in ones alone */
    const char *out_path; /* proposed by the save dialog; NULL: made from A's name */
    /* Keys to run before the keyboard is asked (ui/script.h); NULL: none. */
    const char *keys;
    /* With a stream here no terminal is used: the keys are run on a screen of this size, which is then
     * printed, with the names of the paints if `paints`. For tests and for looking at a screen in a bug
     * report. */
    FILE *dump;
    int width, height;
    bool paints;
} qs_ui_options;
#define QS_UI_OPTIONS_DEFAULT                                                                                \
    ((qs_ui_options){.color = QS_COLOR_AUTO, .mouse = true, .width = 80, .height = 24})

/* Runs until the person leaves. The session stays the caller's. False with QS_E_USAGE where there is no
 * usable terminal, or for a key script that cannot be read. */
bool qs_ui_run(qs_session *s, const qs_ui_options *opt, qs_err *e);

#endif

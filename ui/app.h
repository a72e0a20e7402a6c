/* The explorer without a terminal: events go in, and a grid can be drawn at any time. */
#ifndef QS_UI_APP_H
#define QS_UI_APP_H

#include "session.h"
#include "ui/config.h"
#include "ui/event.h"
#include "ui/grid.h"

typedef struct qs_app qs_app;

/* Asked during long work, about ten times a second; false cancels. `quiet`: nothing is to be shown, and the
 * answer is whether no key waits. Else the application is to be drawn, and the answer is whether nobody
 * pressed Esc. */
typedef bool (*qs_app_progress)(void *ctx, const qs_app *app, bool quiet);

typedef struct qs_app_options {
    const qs_config *config; /* keys and themes; borrowed; NULL: those built in */
    bool ascii;
    bool read_only;  /* nothing is written: neither a checkpoint nor a plan */
    bool offer_lost; /* ask about the plan of a lost session, if there is one */
    const char *out_path;
    bool keep_progress;       /* of lessons: read and written */
    const char *lessons;      /* a folder with lessons besides the built-in ones, or NULL */
    qs_app_progress progress; /* NULL: long work cannot be watched or cancelled */
    void *progress_ctx;
} qs_app_options;

/* What the caller must do after an update; a set. */
enum {
    QS_APP_QUIT = 1,
    QS_APP_SUSPEND = 2,
    QS_APP_REDRAW = 4,
    QS_APP_THEME = 16, /* qs_app_theme is another one now */
    QS_APP_IDLE = 8,   /* send an IDLE event when no key waits: something is left to be computed */
    QS_APP_PAUSE = 32, /* ... but only when no more hasty ones come */
};

/* The session is borrowed, and must be refreshed. NULL when memory is out. */
qs_app *qs_app_new(qs_session *s, const qs_app_options *opt);
void qs_app_free(qs_app *a);
/* Takes an event; never draws. */
unsigned qs_app_update(qs_app *a, const qs_event *ev);
/* The theme to draw with; borrowed, of the application. */
const qs_theme *qs_app_theme(const qs_app *a);
/* Draws; never changes state. The grid must have the size of the last RESIZE event. */
void qs_app_render(const qs_app *a, qs_grid *g);

#endif

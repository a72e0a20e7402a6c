/* Sessions and an explorer for tests that need no terminal. */
#ifndef QS_TESTS_UI_FIXTURE_H
#define QS_TESTS_UI_FIXTURE_H

#include "ui/app.h"

#include <stdlib.h>

/* A session on files of tests/fixtures/ui (b and m may be NULL), or NULL with *e set. */
static inline qs_session *ui_session(const char *a, const char *b, const char *m, qs_err *e) {
    const char *root = getenv("QATSCOPE_TESTS"), *names[] = {a, b, m};
    char path[3][1024];
    qs_session *s = qs_session_new(NULL);
    for (int i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "%s/fixtures/ui/%s", root ? root : "tests",
                 names[i] ? names[i] : "");
    if (s && qs_session_open_a(s, path[0], e) && (!b || qs_session_open_b(s, path[1], e)) &&
        (!m || qs_session_open_manifest(s, path[2], e)) && qs_session_refresh(s, e))
        return s;
    qs_session_free(s);
    return NULL;
}

static inline qs_app *ui_app(qs_session *s, bool ascii) {
    qs_app_options opt = {.ascii = ascii, .read_only = true};
    return qs_app_new(s, &opt);
}

static inline unsigned ui_key(qs_app *app, uint32_t key) {
    qs_event ev = {.kind = QS_EVENT_KEY, .key = key};
    return qs_app_update(app, &ev);
}

static inline unsigned ui_resize(qs_app *app, int w, int h) {
    qs_event ev = {.kind = QS_EVENT_RESIZE, .x = w, .y = h};
    return qs_app_update(app, &ev);
}

#endif

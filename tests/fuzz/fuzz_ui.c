/* Bytes as what a person does: the first picks the files and the character set, the others are keys, with
 * escapes to the mouse, pastes and other sizes. Nothing may crash, hang or leak. */
#include "ui_fixture.h"

#include <locale.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *p;
    size_t n;
} input;

static int next(input *in) {
    return in->n ? in->n--, *in->p++ : 0;
}

static qs_event next_event(input *in) {
    int c = next(in);
    if (c == 0xf0) {
        int w = next(in), h = next(in);
        return (qs_event){.kind = QS_EVENT_RESIZE, .x = w + 1, .y = h + 1};
    }
    if (c == 0xf1) {
        int what = next(in), x = next(in), y = next(in);
        return (qs_event){.kind = QS_EVENT_MOUSE, .mouse = (qs_mouse)(what % 4), .x = x, .y = y};
    }
    if (c == 0xf2) {
        size_t n = (size_t)next(in);
        n = n < in->n ? n : in->n;
        qs_str text = {(const char *)in->p, n};
        in->p += n;
        in->n -= n;
        return (qs_event){.kind = QS_EVENT_PASTE, .text = text};
    }
    if (c == 0xf3) return (qs_event){.kind = QS_EVENT_IDLE};
    if (c >= 0x80 && c < 0xf0)
        return (qs_event){.kind = QS_EVENT_KEY, .key = (uint32_t)(QS_KEY_FIRST_NAMED_ + c - 0x80)};
    if (c == '\r' || c == '\n') return (qs_event){.kind = QS_EVENT_KEY, .key = QS_KEY_ENTER};
    return (qs_event){.kind = QS_EVENT_KEY, .key = c == 27 ? QS_KEY_ESC : (uint32_t)c};
}

/* Opening files is most of the work: a session whose plan was never touched is as good as new. */
static qs_session *kept[4];

static qs_session *session_of(int i) {
    static const char *const files[][3] = {{"float.pt", "qat.pt", "model.json"},
                                           {"odd_a.pt", "odd_b.pt", NULL},
                                           {"float.pt", NULL, "model.json"},
                                           {"qat.pt", NULL, NULL}};
    qs_err e = QS_ERR_INIT;
    if (!kept[i]) kept[i] = ui_session(files[i][0], files[i][1], files[i][2], &e);
    if (!kept[i]) abort();
    return kept[i];
}

static void drop_if_touched(int i) {
    const qs_plan *p = qs_session_plan(kept[i]);
    if (!qs_plan_can_undo(p) && !qs_plan_can_redo(p)) return;
    qs_session_free(kept[i]);
    kept[i] = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size < 600 ? size : 600};
    int first = next(&in), w = 80, h = 24;
    setlocale(LC_ALL, "C.UTF-8");
    setlocale(LC_NUMERIC, "C");
    qs_app *app = ui_app(session_of(first % 4), first & 4);
    qs_grid g = {.ascii = first & 4};
    if (app) ui_resize(app, w, h);
    for (unsigned reaction = 0; app && in.n && !(reaction & QS_APP_QUIT);) {
        qs_event ev = next_event(&in);
        if (ev.kind == QS_EVENT_RESIZE) w = ev.x, h = ev.y;
        reaction = qs_app_update(app, &ev);
        if (qs_grid_resize(&g, w, h)) qs_app_render(app, &g);
    }
    qs_grid_free(&g);
    qs_app_free(app);
    drop_if_touched(first % 4);
    return 0;
}

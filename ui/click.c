#include "ui/app_impl.h"

/* A click on a spot of a dialog chooses it, one on a key that is drawn - in the line of hints, in a dialog,
 * "[F]" - presses it. What is drawn is asked, so that no view keeps a second list of where its hints are. */

enum { WORD_MAX = 24 };

static bool is_key(const qs_grid *g, int x, int y) {
    const qs_cell *c = qs_grid_at(g, x, y);
    return c && qs_pen_paint(c->pen) == QS_PAINT_KEY && c->cp < 0x80;
}

static bool is_blank(const qs_grid *g, int x, int y) {
    const qs_cell *c = qs_grid_at(g, x, y);
    return !c || c->cp == ' ';
}

/* From a place on what a key does to the key before it: hints are two blanks apart. -1: there is none. */
static int key_before(const qs_grid *g, int x, int y) {
    for (; x >= 0 && !is_key(g, x, y); x--)
        if (is_blank(g, x, y) && is_blank(g, x - 1, y)) return -1;
    return x;
}

/* The word of key cells around x, without brackets. */
static qs_str word_at(const qs_grid *g, int x, int y, char *out) {
    size_t n = 0;
    while (x > 0 && is_key(g, x - 1, y) && !is_blank(g, x - 1, y)) x--;
    for (; n < WORD_MAX && is_key(g, x, y) && !is_blank(g, x, y); x++)
        out[n++] = (char)qs_grid_at(g, x, y)->cp;
    qs_str word = {out, n};
    bool bracketed = n > 2 && out[0] == '[' && out[n - 1] == ']';
    return bracketed ? qs_str_sub(word, 1, n - 1) : word;
}

/* "[m] map": the words after a bracket are of that key. */
static uint32_t key_of(const qs_grid *g, int x, int y, bool *bracketed) {
    char text[WORD_MAX];
    uint32_t key = 0;
    for (; x >= 0 && is_key(g, x, y); x--) {
        qs_str word = word_at(g, x, y, text);
        *bracketed = word.n && word.p != text;
        if (word.n && (key = qs_key_parse(word))) break;
    }
    return key;
}

qs_target qs_app_target(const qs_app *a, int x, int y) {
    qs_grid g = {.ascii = a->opt.ascii};
    qs_target t = {.what = QS_SPOT_NONE};
    bool bracketed = false;
    if (a->layout.tiny || qs_app_top(a) == &qs_view_prompt || !qs_grid_resize(&g, a->w, a->h)) return t;
    qs_app_render(a, &g);
    t.what = qs_grid_spot(&g, x, y);
    int at = key_before(&g, x, y);
    t.key = at < 0 ? 0 : key_of(&g, at, y, &bracketed);
    qs_grid_free(&g);
    if (!bracketed && y != a->h - 1 && qs_app_top(a)->context != QS_CTX_DIALOG) t.key = 0;
    return t;
}

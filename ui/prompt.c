#include "ui/prompt.h"

#include <stdlib.h>

void qs_history_add(qs_history *h, qs_str text) {
    if (text.n == 0) return;
    char *copy = malloc(text.n + 1);
    if (!copy) return;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    size_t keep = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->text[i], copy) == 0)
            free(h->text[i]);
        else
            h->text[keep++] = h->text[i];
    }
    h->n = keep;
    if (h->n == QS_HISTORY_MAX) {
        free(h->text[0]);
        memmove(h->text, h->text + 1, (QS_HISTORY_MAX - 1) * sizeof *h->text);
        h->n--;
    }
    h->text[h->n++] = copy;
}

void qs_history_free(qs_history *h) {
    for (size_t i = 0; i < h->n; i++) free(h->text[i]);
    h->n = 0;
}

static size_t prev_char(const qs_line *l, size_t i) {
    if (i > 0) i--;
    while (i > 0 && ((unsigned char)l->text[i] & 0xc0) == 0x80) i--;
    return i;
}

static size_t next_char(const qs_line *l, size_t i) {
    if (i < l->n) i++;
    while (i < l->n && ((unsigned char)l->text[i] & 0xc0) == 0x80) i++;
    return i;
}

static bool remove_range(qs_line *l, size_t from, size_t to) {
    if (from >= to) return false;
    memmove(l->text + from, l->text + to, l->n - to + 1);
    l->n -= to - from;
    l->cursor = from;
    return true;
}

/* Valid UTF-8 only, without control characters: a paste ends at its first line break. */
static bool insert(qs_line *l, qs_str s) {
    bool any = false;
    while (s.n) {
        uint32_t cp = 0;
        size_t n = qs_utf8_decode(s, &cp);
        if (cp == '\n' || cp == '\r') break;
        bool fine = n && cp >= ' ' && (cp < 0x7f || cp >= 0xa0);
        if (fine) {
            if (l->n + n >= sizeof l->text) break;
            memmove(l->text + l->cursor + n, l->text + l->cursor, l->n - l->cursor + 1);
            memcpy(l->text + l->cursor, s.p, n);
            l->cursor += n;
            l->n += n;
            any = true;
        }
        s = qs_str_sub(s, n ? n : 1, s.n);
    }
    return any;
}

static bool insert_key(qs_line *l, uint32_t cp) {
    char u[4];
    size_t n = 0;
    if (cp < 0x80)
        u[n++] = (char)cp;
    else if (cp < 0x800)
        u[n++] = (char)(0xc0 | cp >> 6);
    else if (cp < 0x10000)
        u[n++] = (char)(0xe0 | cp >> 12);
    else
        u[n++] = (char)(0xf0 | cp >> 18);
    if (cp >= 0x10000) u[n++] = (char)(0x80 | (cp >> 12 & 0x3f));
    if (cp >= 0x800) u[n++] = (char)(0x80 | (cp >> 6 & 0x3f));
    if (cp >= 0x80) u[n++] = (char)(0x80 | (cp & 0x3f));
    return insert(l, (qs_str){u, n});
}

void qs_line_set(qs_line *l, qs_str text) {
    l->n = l->cursor = 0;
    l->text[0] = 0;
    insert(l, text);
    l->history_at = l->history ? l->history->n : 0;
}

/* Start of the word before the cursor; a dotted component is a word. */
static size_t word_start(const qs_line *l) {
    size_t i = l->cursor;
    while (i > 0 && (l->text[i - 1] == ' ' || l->text[i - 1] == '.' || l->text[i - 1] == '/')) i--;
    while (i > 0 && l->text[i - 1] != ' ' && l->text[i - 1] != '.' && l->text[i - 1] != '/') i--;
    return i;
}

static bool recall(qs_line *l, bool older) {
    if (!l->history) return false;
    size_t at = l->history_at;
    if (older ? at == 0 : at >= l->history->n) return false;
    at = older ? at - 1 : at + 1;
    qs_line_set(l, at < l->history->n ? qs_str_of(l->history->text[at]) : QS_STR(""));
    l->history_at = at;
    return true;
}

static bool edit_key(qs_line *l, uint32_t key, bool *changed) {
    switch (key) {
    case QS_KEY_LEFT:
    case QS_CTRL('B'): l->cursor = prev_char(l, l->cursor); return true;
    case QS_KEY_RIGHT:
    case QS_CTRL('F'): l->cursor = next_char(l, l->cursor); return true;
    case QS_KEY_HOME:
    case QS_CTRL('A'): l->cursor = 0; return true;
    case QS_KEY_END:
    case QS_CTRL('E'): l->cursor = l->n; return true;
    case QS_KEY_BACKSPACE: *changed = remove_range(l, prev_char(l, l->cursor), l->cursor); return true;
    case QS_KEY_DELETE:
    case QS_CTRL('D'): *changed = remove_range(l, l->cursor, next_char(l, l->cursor)); return true;
    case QS_CTRL('U'): *changed = remove_range(l, 0, l->cursor); return true;
    case QS_CTRL('K'): *changed = remove_range(l, l->cursor, l->n); return true;
    case QS_CTRL('W'): *changed = remove_range(l, word_start(l), l->cursor); return true;
    case QS_KEY_UP: return l->history && ((*changed = recall(l, true)), true);
    case QS_KEY_DOWN: return l->history && ((*changed = recall(l, false)), true);
    default: break;
    }
    if (key < ' ' || key >= 0x110000) return false;
    *changed = insert_key(l, key);
    return true;
}

bool qs_line_edit(qs_line *l, const qs_event *ev, bool *changed) {
    *changed = false;
    if (ev->kind == QS_EVENT_PASTE) return *changed = insert(l, ev->text), true;
    return ev->kind == QS_EVENT_KEY && edit_key(l, ev->key, changed);
}

void qs_line_draw(const qs_line *l, qs_pane p, int x, int y, int width, bool focused) {
    qs_pane field = qs_pane_sub(p, x, y, width, 1);
    qs_draw_fill(field, 0, 0, field.w, 1, QS_PEN(FIELD));
    size_t from = 0;
    while (from < l->cursor && qs_text_width(p.g, qs_str_sub(qs_line_text(l), from, l->cursor)) >= field.w)
        from = next_char(l, from);
    qs_draw(field, 0, 0, QS_PEN(FIELD), qs_str_sub(qs_line_text(l), from, l->n));
    if (focused) qs_pane_cursor(field, qs_text_width(p.g, qs_str_sub(qs_line_text(l), from, l->cursor)), 0);
}

#include "ui/script.h"

#include <stdlib.h>

qs_script qs_script_of(qs_str text) {
    return (qs_script){.text = text, .line = 1};
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(qs_script *s) {
    bool fresh = s->pos == 0;
    for (; s->pos < s->text.n; s->pos++) {
        char c = s->text.p[s->pos];
        if (c == '\n') {
            s->line++;
            fresh = true;
        } else if (c == '#' && fresh) {
            while (s->pos + 1 < s->text.n && s->text.p[s->pos + 1] != '\n') s->pos++;
        } else if (!is_blank(c)) {
            return;
        }
    }
}

/* Offset after the quote that closes the text beginning at `from`, or SIZE_MAX. */
static size_t quoted_end(qs_str t, size_t from) {
    for (size_t i = from; i < t.n; i++) {
        if (t.p[i] == '\\')
            i++;
        else if (t.p[i] == '"')
            return i + 1;
    }
    return SIZE_MAX;
}

static qs_str next_word(qs_script *s) {
    size_t from = s->pos, i = from;
    while (i < s->text.n && !is_blank(s->text.p[i])) {
        if (s->text.p[i] == '"' && (i == from || s->text.p[i - 1] == ':') && i + 1 < s->text.n) {
            size_t end = quoted_end(s->text, i + 1);
            if (end != SIZE_MAX) i = end - 1;
        }
        i++;
    }
    s->pos = i;
    return qs_str_sub(s->text, from, i);
}

static bool next_typed(qs_script *s, qs_event *out) {
    if (s->typing.n && s->typing.p[0] == '\\') s->typing = qs_str_sub(s->typing, 1, s->typing.n);
    uint32_t cp;
    size_t n = qs_utf8_decode(s->typing, &cp);
    if (!n) {
        s->typing = (qs_str){NULL, 0};
        return false;
    }
    s->typing = qs_str_sub(s->typing, n, s->typing.n);
    *out = (qs_event){.kind = QS_EVENT_KEY, .key = cp};
    return true;
}

static bool two_numbers(qs_str s, char between, int *a, int *b) {
    char text[32];
    if (s.n == 0 || s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    char *end;
    long x = strtol(text, &end, 10);
    if (end == text || *end != between) return false;
    char *second = end + 1;
    long y = strtol(second, &end, 10);
    if (end == second || *end || x < 0 || y < 0 || x > 9999 || y > 9999) return false;
    *a = (int)x;
    *b = (int)y;
    return true;
}

static bool mouse_event(qs_str at, qs_mouse what, qs_event *out) {
    *out = (qs_event){.kind = QS_EVENT_MOUSE, .mouse = what};
    return two_numbers(at, ',', &out->x, &out->y);
}

/* "name:rest" words. */
static bool directive(qs_script *s, qs_str w, qs_event *out) {
    size_t colon = qs_str_find(w, QS_STR(":"));
    if (colon == SIZE_MAX) return false;
    qs_str name = qs_str_sub(w, 0, colon), rest = qs_str_sub(w, colon + 1, w.n);
    if (qs_str_is(name, "click")) return mouse_event(rest, QS_MOUSE_CLICK, out);
    if (qs_str_is(name, "double")) return mouse_event(rest, QS_MOUSE_DOUBLE, out);
    if (qs_str_is(name, "resize")) {
        *out = (qs_event){.kind = QS_EVENT_RESIZE};
        return two_numbers(rest, 'x', &out->x, &out->y);
    }
    if (qs_str_is(name, "wheel")) {
        *out = (qs_event){.kind = QS_EVENT_MOUSE,
                          .mouse = qs_str_is(rest, "up") ? QS_MOUSE_WHEEL_UP : QS_MOUSE_WHEEL_DOWN,
                          .x = 1,
                          .y = 5};
        return qs_str_is(rest, "up") || qs_str_is(rest, "down");
    }
    if (!qs_str_is(name, "paste") || rest.n < 2 || rest.p[0] != '"' || rest.p[rest.n - 1] != '"')
        return false;
    rest = qs_str_sub(rest, 1, rest.n - 1);
    size_t n = rest.n < sizeof s->paste ? rest.n : sizeof s->paste;
    memcpy(s->paste, rest.p, n);
    *out = (qs_event){.kind = QS_EVENT_PASTE, .text = {s->paste, n}};
    return true;
}

bool qs_script_next(qs_script *s, qs_event *out, qs_err *e) {
    for (;;) {
        if (s->typing.n && next_typed(s, out)) return true;
        *out = (qs_event){.kind = QS_EVENT_NONE};
        skip_blanks(s);
        if (s->pos >= s->text.n) return true;
        qs_str w = next_word(s);
        if (w.n >= 2 && w.p[0] == '"' && w.p[w.n - 1] == '"') {
            s->typing = qs_str_sub(w, 1, w.n - 1);
            continue;
        }
        out->key = qs_key_parse(w);
        if (out->key) return out->kind = QS_EVENT_KEY, true;
        if (qs_str_is(w, "idle")) return out->kind = QS_EVENT_IDLE, true;
        if (qs_str_is(w, "hangup")) return out->kind = QS_EVENT_HANGUP, true;
        if (directive(s, w, out)) return true;
        return qs_fail(e, QS_E_USAGE, "key script, line %zu: \"%.*s\" is no key", s->line, QS_FMT(w));
    }
}

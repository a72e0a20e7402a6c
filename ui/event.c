#include "ui/event.h"

#include <ctype.h>

static const char *const names[] = {
#define QS_KEY(NAME, name) name,
#include "ui/key.def"
#undef QS_KEY
};

/* Control characters that are keys of their own. */
static uint32_t of_control(uint32_t c) {
    switch (c) {
    case '\r':
    case '\n': return QS_KEY_ENTER;
    case '\t': return QS_KEY_TAB;
    case 27: return QS_KEY_ESC;
    case 8: return QS_KEY_BACKSPACE;
    default: return c;
    }
}

/* "U+00E9", as keys beyond ASCII are printed. */
static uint32_t of_number(qs_str name) {
    uint32_t cp = 0;
    if (name.n < 6 || name.n > 8 || !qs_str_starts(name, QS_STR("U+"))) return 0;
    for (size_t i = 2; i < name.n; i++) {
        if (!isxdigit((unsigned char)name.p[i])) return 0;
        cp = cp * 16 +
             (uint32_t)(isdigit((unsigned char)name.p[i]) ? name.p[i] - '0' : (name.p[i] | 32) - 'a' + 10);
    }
    return cp > 127 && cp < QS_KEY_FIRST_NAMED_ ? cp : 0;
}

uint32_t qs_key_parse(qs_str name) {
    if (qs_str_is(name, "Space")) return ' ';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (qs_str_is(name, names[i])) return QS_KEY_FIRST_NAMED_ + 1 + (uint32_t)i;
    if (name.n == 2 && name.p[0] == '^' && name.p[1] >= '@' && name.p[1] <= '_')
        return of_control((uint32_t)name.p[1] & 0x1fu);
    uint32_t cp = of_number(name);
    if (cp) return cp;
    size_t n = qs_utf8_decode(name, &cp);
    return n && n == name.n && cp > ' ' && cp != 127 ? cp : 0;
}

size_t qs_key_print(uint32_t key, char *out, size_t cap) {
    int n;
    if (key > QS_KEY_FIRST_NAMED_ && key < QS_KEY_END_)
        n = snprintf(out, cap, "%s", names[key - QS_KEY_FIRST_NAMED_ - 1]);
    else if (key == ' ')
        n = snprintf(out, cap, "Space");
    else if (key < ' ')
        n = snprintf(out, cap, "^%c", (char)(key + '@'));
    else if (key < 0x7f)
        n = snprintf(out, cap, "%c", (char)key);
    else
        n = snprintf(out, cap, "U+%04X", (unsigned)key);
    return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap ? cap - 1 : 0;
}

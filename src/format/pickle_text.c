#include "format/pickle_text.h"

#include <locale.h>
#include <stdlib.h>

static qs_str strip(qs_str s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r')) s = qs_str_sub(s, 1, s.n);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

qs_str qs_le_trim(qs_str le) {
    while (le.n > 1) {
        unsigned char top = (unsigned char)le.p[le.n - 1], next = (unsigned char)le.p[le.n - 2];
        if (!(top == 0 && next < 0x80) && !(top == 0xff && next >= 0x80)) break;
        le.n--;
    }
    return le;
}

/* magnitude = magnitude * mul + add over little-endian limbs; grows by one limb at most. */
static size_t limbs_muladd(uint64_t *limb, size_t n, uint64_t mul, uint64_t add) {
    unsigned __int128 carry = add;
    for (size_t i = 0; i < n; i++) {
        carry += (unsigned __int128)limb[i] * mul;
        limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
    if (carry) limb[n++] = (uint64_t)carry;
    return n;
}

static size_t limbs_of_digits(qs_str digits, uint64_t *limb) {
    size_t n = 0;
    for (size_t i = 0; i < digits.n;) {
        uint64_t chunk = 0, mul = 1;
        for (int k = 0; k < 18 && i < digits.n; k++, i++) {
            chunk = chunk * 10 + (uint64_t)(digits.p[i] - '0');
            mul *= 10;
        }
        n = limbs_muladd(limb, n, mul, chunk);
    }
    return n;
}

/* Digits that begin with a zero: int() takes no other but zeros then, C's strtol reads the rest as octal. */
static bool after_zero(qs_str digits, bool octal, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] != '0' && (!octal || digits.p[i] > '7')) return false;
        if (*out >> 60) return false;
        *out = *out << 3 | (uint64_t)(digits.p[i] - '0');
    }
    return true;
}

bool qs_text_int(qs_arena *a, qs_str s, bool strtol_reads, qs_str *le, bool *nomem) {
    qs_str line = s;
    s = strip(s);
    bool negative = s.n && s.p[0] == '-';
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) s = qs_str_sub(s, 1, s.n);
    if (s.n == 0 || s.n > QS_INT_DIGITS_MAX) return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    uint64_t limb[QS_INT_DIGITS_MAX / 18 + 2] = {0}; /* 18 digits are less than 64 bits */
    size_t n = 1;
    if (s.n > 1 && s.p[0] == '0') {
        bool to_the_end = s.p + s.n == line.p + line.n; /* else strtol leaves it to int() */
        if (!after_zero(s, strtol_reads && to_the_end, limb)) return false;
    } else {
        n = limbs_of_digits(s, limb);
    }
    size_t bytes = n * 8 + 1;
    unsigned char *p = qs_arena_alloc(a, bytes);
    if (!p) {
        *nomem = true;
        return false;
    }
    unsigned carry = 1;
    for (size_t i = 0; i < bytes; i++) {
        unsigned v = i / 8 < n ? (unsigned)(limb[i / 8] >> (i % 8 * 8)) & 0xff : 0;
        if (negative) {
            v = (~v & 0xff) + carry;
            carry = v >> 8;
        }
        p[i] = (unsigned char)v;
    }
    *le = qs_le_trim((qs_str){(char *)p, bytes});
    return true;
}

static bool float_word(qs_str s) {
    static const char *const words[] = {"inf",  "-inf", "+inf",     "nan",
                                        "-nan", "+nan", "infinity", "-infinity"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (qs_str_is(s, words[i])) return true;
    return false;
}

bool qs_text_float(qs_str s, double *out) {
    s = strip(s);
    char buf[400];
    if (s.n == 0 || s.n >= sizeof buf) return false;
    if (!float_word(s))
        for (size_t i = 0; i < s.n; i++)
            if (!memchr("0123456789+-.eE", s.p[i], 15)) return false;
    memcpy(buf, s.p, s.n);
    buf[s.n] = 0;
    /* The screen sets the user's locale, whose decimal point may be a comma. glibc makes this one without
     * allocating. */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return false;
    char *end;
    *out = strtod_l(buf, &end, c);
    freelocale(c);
    return *end == 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* n hex digits at s.p[at]; false if there are fewer. */
static bool hex_at(qs_str s, size_t at, size_t n, uint32_t *out) {
    uint32_t v = 0;
    if (at > s.n || s.n - at < n) return false;
    for (size_t i = 0; i < n; i++) {
        int d = hex_digit(s.p[at + i]);
        if (d < 0) return false;
        v = v << 4 | (uint32_t)d;
    }
    *out = v;
    return true;
}

/* One escape after a backslash at s.p[*i]; advances *i past it and gives the byte, or -1 for "nothing"
 * (a backslash before a newline), -2 for an error, -3 for "keep the backslash". */
static int byte_escape(qs_str s, size_t *i) {
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = s.p[*i];
    const char *known = memchr(from, c, sizeof from - 1);
    if (known) return ++*i, (unsigned char)to[known - from];
    if (c == '\n') return ++*i, -1;
    if (c == 'x') {
        uint32_t v;
        if (!hex_at(s, *i + 1, 2, &v)) return -2;
        *i += 3;
        return (int)v;
    }
    if (c < '0' || c > '7') return -3;
    unsigned v = 0;
    for (int k = 0; k < 3 && *i < s.n && s.p[*i] >= '0' && s.p[*i] <= '7'; k++, ++*i)
        v = v * 8 + (unsigned)(s.p[*i] - '0');
    return (int)(v & 0xff);
}

bool qs_text_quoted(qs_arena *a, qs_str s, qs_str *out, bool *nomem) {
    s = strip(s);
    if (s.n < 2 || s.p[0] != s.p[s.n - 1] || (s.p[0] != '"' && s.p[0] != '\'')) return false;
    s = qs_str_sub(s, 1, s.n - 1);
    *out = s;
    if (s.n == 0 || !memchr(s.p, '\\', s.n)) return true;
    char *p = qs_arena_alloc(a, s.n);
    if (!p) {
        *nomem = true;
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        if (s.p[i] != '\\') {
            p[n++] = s.p[i++];
            continue;
        }
        if (++i == s.n) return false;
        int v = byte_escape(s, &i);
        if (v == -2) return false;
        if (v == -3) p[n++] = '\\';
        if (v >= 0) p[n++] = (char)v;
    }
    *out = (qs_str){p, n};
    return true;
}

static size_t put_utf8(char *p, uint32_t c) {
    if (c < 0x80) return p[0] = (char)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) p[i] = (char)(0x80 | (c & 0x3f));
    p[0] = (char)(lead[n] | c);
    return n;
}

bool qs_text_unicode(qs_arena *a, qs_str s, qs_str *out, bool *nomem) {
    bool plain = true;
    for (size_t i = 0; i < s.n && plain; i++) plain = s.p[i] != '\\' && (unsigned char)s.p[i] < 0x80;
    *out = s;
    if (plain) return true;
    char *p =
        qs_arena_alloc(a, 2 * s.n); /* Latin-1 doubles at most; an escape of 6 bytes gives 3, of 10 gives 4 */
    if (!p) {
        *nomem = true;
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t c = (unsigned char)s.p[i++];
        char kind = c == '\\' && i < s.n ? s.p[i] : 0;
        if (kind == 'u' || kind == 'U') {
            size_t digits = kind == 'u' ? 4 : 8;
            if (!hex_at(s, i + 1, digits, &c) || c > 0x10ffff) return false;
            i += 1 + digits;
        } else if (kind) { /* a backslash takes the next character with it, whatever it is */
            p[n++] = '\\';
            c = (unsigned char)s.p[i++];
        }
        n += put_utf8(p + n, c);
    }
    *out = (qs_str){p, n};
    return true;
}

bool qs_text_index(qs_str s, uint32_t *out) {
    s = strip(s);
    uint64_t v = 0;
    bool digit = false; /* was the last one */
    if (s.n && s.p[0] == '+') s = qs_str_sub(s, 1, s.n);
    for (size_t i = 0; i < s.n; i++) {
        bool now = s.p[i] >= '0' && s.p[i] <= '9';
        if (!now && !(s.p[i] == '_' && digit)) return false;
        if (now) v = v * 10 + (uint64_t)(s.p[i] - '0');
        if (v > UINT32_MAX) return false;
        digit = now;
    }
    *out = (uint32_t)v;
    return digit;
}

/* An encoded surrogate (ED A0..BF xx), which strict UTF-8 forbids and Python's surrogatepass lets through. */
static bool surrogate_at(qs_str s) {
    return s.n >= 3 && (unsigned char)s.p[0] == 0xed && ((unsigned char)s.p[1] & 0xe0) == 0xa0 &&
           ((unsigned char)s.p[2] & 0xc0) == 0x80;
}

bool qs_utf8_ok(qs_str s) {
    for (size_t i = 0; i < s.n;) {
        if ((unsigned char)s.p[i] < 0x80) {
            i++;
            continue;
        }
        qs_str rest = {s.p + i, s.n - i};
        uint32_t cp;
        size_t n = surrogate_at(rest) ? 3 : qs_utf8_decode(rest, &cp);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

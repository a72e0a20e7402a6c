#include "base/str.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

bool qs_str_starts(qs_str s, qs_str prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool qs_str_ends(qs_str s, qs_str suffix) {
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

void qs_str_lower(char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z') p[i] = (char)(p[i] + 'a' - 'A');
}

int qs_str_cmp(qs_str a, qs_str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c) return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Length of the digit run at s.p[i], with leading zeros skipped in *start. */
static size_t digit_run(qs_str s, size_t i, size_t *start) {
    size_t end = i;
    while (end < s.n && is_digit(s.p[end])) end++;
    while (i + 1 < end && s.p[i] == '0') i++;
    *start = i;
    return end;
}

int qs_str_cmp_natural(qs_str a, qs_str b) {
    size_t i = 0, j = 0;
    while (i < a.n && j < b.n) {
        if (is_digit(a.p[i]) && is_digit(b.p[j])) {
            size_t si, sj, ei = digit_run(a, i, &si), ej = digit_run(b, j, &sj);
            if (ei - si != ej - sj) return ei - si < ej - sj ? -1 : 1;
            int c = memcmp(a.p + si, b.p + sj, ei - si);
            if (c) return c;
            i = ei;
            j = ej;
        } else {
            unsigned char x = (unsigned char)a.p[i++], y = (unsigned char)b.p[j++];
            if (x != y) return x < y ? -1 : 1;
        }
    }
    if (i < a.n || j < b.n) return i < a.n ? 1 : -1;
    return qs_str_cmp(a, b); /* "01" and "1": equal as numbers, told apart as text */
}

size_t qs_str_find(qs_str s, qs_str needle) {
    if (needle.n == 0) return 0;
    if (s.n < needle.n) return SIZE_MAX;
    const char *hit = memmem(s.p, s.n, needle.p, needle.n);
    return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

size_t qs_str_rfind_char(qs_str s, char c) {
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == c) return i - 1;
    return SIZE_MAX;
}

qs_str qs_str_sub(qs_str s, size_t from, size_t to) {
    if (to > s.n) to = s.n;
    if (from > to) from = to;
    return (qs_str){s.p ? s.p + from : NULL, to - from};
}

qs_str qs_str_parent(qs_str dotted) {
    size_t dot = qs_str_rfind_char(dotted, '.');
    return dot == SIZE_MAX ? (qs_str){dotted.p, 0} : qs_str_sub(dotted, 0, dot);
}

qs_str qs_str_leaf(qs_str dotted) {
    size_t dot = qs_str_rfind_char(dotted, '.');
    return dot == SIZE_MAX ? dotted : qs_str_sub(dotted, dot + 1, dotted.n);
}

size_t qs_utf8_decode(qs_str s, uint32_t *cp) {
    if (s.n == 0) return 0;
    const unsigned char *p = (const unsigned char *)s.p;
    if (p[0] < 0x80) return *cp = p[0], 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < len) return 0;
    uint32_t c = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    *cp = c;
    return len;
}

/* Characters that move the cursor, reorder text or are invisible: bidi controls can make a key read as
 * another. */
static bool is_unsafe(uint32_t cp) {
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029 || cp == 0x200e ||
           cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff;
}

/* The printable form of the character at s.p[0] in out[16]; returns the bytes of input it covers. */
static size_t printable_step(qs_str s, char out[16], size_t *out_n) {
    uint32_t cp;
    size_t len = qs_utf8_decode(s, &cp);
    if (len && !is_unsafe(cp)) {
        memcpy(out, s.p, len);
        *out_n = len;
        return len;
    }
    if (len > 1 && cp >= 0x2000) {
        *out_n = (size_t)snprintf(out, 16, "\\u%04x", (unsigned)cp);
        return len;
    }
    *out_n = (size_t)snprintf(out, 16, "\\x%02x", (unsigned char)s.p[0]);
    return 1;
}

/* How much at its beginning is plain ASCII, and stays as it is. */
static size_t plain_run(qs_str s) {
    size_t n = 0;
    while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7f) n++;
    return n;
}

bool qs_str_is_plain(qs_str s) {
    return plain_run(s) == s.n;
}

size_t qs_str_printable(qs_str s, char *out, size_t cap) {
    if (cap == 0) return 0;
    size_t w = plain_run(s);
    if (w >= cap) w = cap - 1;
    if (w) memcpy(out, s.p, w);
    for (size_t i = w; i < s.n;) {
        char step[16];
        size_t n, used = printable_step(qs_str_sub(s, i, s.n), step, &n);
        if (w + n >= cap) break;
        memcpy(out + w, step, n);
        w += n;
        i += used;
    }
    out[w] = 0;
    return w;
}

void qs_str_fput_printable(qs_str s, FILE *f) {
    for (size_t i = 0; i < s.n;) {
        char step[16];
        size_t n, used = printable_step(qs_str_sub(s, i, s.n), step, &n);
        fwrite(step, 1, n, f);
        i += used;
    }
}

static bool buf_room(qs_buf *b, size_t more) {
    if (b->failed) return false;
    if (more < b->cap - b->n && b->p) return true;
    if (more > SIZE_MAX / 2 - b->n - 64) return b->failed = true, false;
    size_t cap = b->cap ? b->cap * 2 : 64;
    while (cap <= b->n + more) cap *= 2;
    char *p = realloc(b->p, cap);
    if (!p) return b->failed = true, false;
    b->p = p;
    b->cap = cap;
    return true;
}

void qs_buf_add(qs_buf *b, qs_str s) {
    if (!buf_room(b, s.n)) return;
    if (s.n) memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    b->p[b->n] = 0;
}

void qs_buf_addz(qs_buf *b, const char *z) {
    qs_buf_add(b, qs_str_of(z));
}
void qs_buf_addc(qs_buf *b, char c) {
    qs_buf_add(b, (qs_str){&c, 1});
}

void qs_buf_addf(qs_buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && buf_room(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
    va_end(ap);
}

void qs_buf_free(qs_buf *b) {
    free(b->p);
    *b = (qs_buf){0};
}

void qs_buf_add_json(qs_buf *b, qs_str s) {
    qs_buf_addc(b, '"');
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        qs_str rest = qs_str_sub(s, i, s.n);
        size_t len = qs_utf8_decode(rest, &cp);
        if (!len) {
            qs_buf_addz(b, "\\ufffd");
            i++;
            continue;
        }
        if (cp == '"' || cp == '\\')
            qs_buf_addf(b, "\\%c", (char)cp);
        else if (is_unsafe(cp))
            qs_buf_addf(b, "\\u%04x", (unsigned)cp);
        else
            qs_buf_add(b, qs_str_sub(rest, 0, len));
        i += len;
    }
    qs_buf_addc(b, '"');
}

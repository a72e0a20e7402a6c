#include "teach/text.h"

static void add_line(qs_buf *out, const char *indent, qs_str line) {
    qs_buf_addz(out, indent);
    qs_buf_add(out, line);
    while (out->n && out->p[out->n - 1] == ' ') out->p[--out->n] = 0;
    qs_buf_addc(out, '\n');
}

/* Columns of UTF-8 text whose characters are one wide each, as ours are. */
static size_t columns(qs_str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

void qs_wrap(qs_str text, const char *first, const char *rest, unsigned width, qs_buf *out) {
    const char *indent = first;
    size_t from = 0;
    do {
        size_t room = width > columns(qs_str_of(indent)) + 1 ? width - columns(qs_str_of(indent)) : 1;
        size_t end = from, last = SIZE_MAX, used = 0;
        while (end < text.n && text.p[end] != '\n') {
            if (text.p[end] == ' ') last = end;
            if (((unsigned char)text.p[end] & 0xC0) != 0x80 && ++used > room) break;
            end++;
        }
        bool whole = end >= text.n || text.p[end] == '\n';
        size_t cut = whole || last == SIZE_MAX || last <= from ? end : last;
        add_line(out, indent, qs_str_sub(text, from, cut));
        from = cut;
        if (from < text.n && (text.p[from] == '\n' || text.p[from] == ' ')) from++;
        indent = rest;
    } while (from < text.n);
}

/* Only the last star is tried again, so there is no exponential case. */
bool qs_glob(qs_str pattern, qs_str s) {
    size_t p = 0, i = 0, star = SIZE_MAX, from = 0;
    while (i < s.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = i;
        } else if (p < pattern.n && pattern.p[p] == s.p[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*') p++;
    return p == pattern.n;
}

qs_str qs_next_word(const char **list) {
    const char *p = *list + strspn(*list, " ");
    size_t n = strcspn(p, " ");
    *list = p + n;
    return (qs_str){p, n};
}

qs_str qs_trim(qs_str s) {
    while (s.n && strchr(" \t\r", s.p[0])) s = qs_str_sub(s, 1, s.n);
    while (s.n && strchr(" \t\r", s.p[s.n - 1])) s.n--;
    return s;
}

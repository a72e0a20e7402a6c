/* String views: a pointer and a length, never NUL terminated by promise, never owning. */
#ifndef QS_BASE_STR_H
#define QS_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct qs_str {
    const char *p; /* may be NULL when n is 0 */
    size_t n;      /* bytes */
} qs_str;

#define QS_STR(lit) ((qs_str){(lit), sizeof(lit) - 1})
/* For printf: "%.*s", QS_FMT(s) */
#define QS_FMT(s) (int)(s).n, ((s).p ? (s).p : "")

static inline qs_str qs_str_of(const char *z) {
    return (qs_str){z, z ? strlen(z) : 0};
}
static inline bool qs_str_eq(qs_str a, qs_str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool qs_str_is(qs_str a, const char *z) {
    if (a.n && z && *z != *a.p) return false; /* most of a table is told by its first letters */
    return qs_str_eq(a, qs_str_of(z));
}
/* Lowers the capitals of ASCII. */
void qs_str_lower(char *p, size_t n);
bool qs_str_starts(qs_str s, qs_str prefix);
bool qs_str_ends(qs_str s, qs_str suffix);
/* Byte order; a prefix sorts first. */
int qs_str_cmp(qs_str a, qs_str b);
/* Order in which runs of digits compare as numbers: layer.2 before layer.10. */
int qs_str_cmp_natural(qs_str a, qs_str b);
/* Offset of the first / last occurrence, or SIZE_MAX. */
size_t qs_str_find(qs_str s, qs_str needle);
size_t qs_str_rfind_char(qs_str s, char c);
qs_str qs_str_sub(qs_str s, size_t from, size_t to); /* [from, to), clamped */
/* "a.b.c" -> parent "a.b", leaf "c"; "a" -> parent "", leaf "a". */
qs_str qs_str_parent(qs_str dotted);
qs_str qs_str_leaf(qs_str dotted);

/* Write `s` into out[cap] NUL terminated with control bytes, DEL, C1 controls and invalid UTF-8 shown as
 * \xNN, cut on a character boundary if it does not fit. Returns the bytes written without the NUL. Nothing
 * that comes from a file may reach a terminal by any other way. */
size_t qs_str_printable(qs_str s, char *out, size_t cap);
/* Printable ASCII, which qs_str_printable leaves as it is. */
bool qs_str_is_plain(qs_str s);
/* The same to a stream, unbounded. */
void qs_str_fput_printable(qs_str s, FILE *f);

/* Decode one UTF-8 character at s.p[0]; returns its length 1-4 and the code point, or 0 if invalid there
 * (overlong, surrogate, out of range, cut short). */
size_t qs_utf8_decode(qs_str s, uint32_t *cp);

/* Growing byte string on the heap. Zero-initialise; after a failed append `failed` stays set and further
 * appends do nothing, so that a printer checks once, at its end. */
typedef struct qs_buf {
    char *p; /* NUL terminated once anything was appended */
    size_t n, cap;
    bool failed;
} qs_buf;
void qs_buf_add(qs_buf *b, qs_str s);
void qs_buf_addz(qs_buf *b, const char *z);
void qs_buf_addc(qs_buf *b, char c);
void qs_buf_addf(qs_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void qs_buf_free(qs_buf *b);
static inline qs_str qs_buf_str(const qs_buf *b) {
    return (qs_str){b->p, b->n};
}
/* JSON string literal, quotes included; invalid UTF-8 becomes U+FFFD, what qs_str_printable would not print
 * \uNNNN. */
void qs_buf_add_json(qs_buf *b, qs_str s);

#endif

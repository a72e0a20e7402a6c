/* Text of a log: for error_log*.c only. */
#ifndef QS_MODEL_ERROR_LOG_TEXT_H
#define QS_MODEL_ERROR_LOG_TEXT_H

#include "base/str.h"

typedef enum qs_log_phrase {
    QS_PHRASE_NONE,
#define QS_LOG_PHRASE(NAME, words, opens) QS_PHRASE_##NAME,
#include "model/error_log.def"
#undef QS_LOG_PHRASE
} qs_log_phrase;

static inline bool qs_log_is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
static inline bool qs_log_may_be_blank(char c) {
    return qs_log_is_blank(c) || c == '\\' || c == '\033';
}

/* The two letters that the phrases of error_log.def begin with, 0 for none: most of a log is passed over by
 * them. */
static inline char qs_log_second_letter(char first) {
    switch (first) {
    case 'E': return 'r';
    case 'F': return 'o';
    case 'L': return 'O';
    case 'S': return 'o';
    case 'M':
    case 'm':
    case 's': return 'i';
    case 'T':
    case 'W':
    case 't': return 'h';
    case 'U':
    case 'a':
    case 'u': return 'n';
    case 'b':
    case 'w': return 'e';
    case '_': return 'I';
    case '<': return 'A';
    default: return 0;
    }
}
static inline bool qs_log_is_second(char first, char c) {
    return c == qs_log_second_letter(first) || (c == 'k' && first == 'S');
}
static inline bool qs_log_may_begin(qs_str s, size_t at) {
    if (!qs_log_second_letter(s.p[at])) return false;
    return at + 1 >= s.n || qs_log_is_second(s.p[at], s.p[at + 1]) || qs_log_may_be_blank(s.p[at + 1]);
}

/* The phrase that starts exactly at s[at], its end in *end. *partial: the text ends in the middle of one. */
qs_log_phrase qs_log_phrase_at(qs_str s, size_t at, size_t *end, bool *partial);
int qs_log_phrase_opens(qs_log_phrase p);
static inline bool qs_log_is_library(qs_log_phrase p) {
    return p >= QS_PHRASE_KEYS_TABLE;
}
/* The words at s[at], white space in either ignored; the end of the match, or 0. */
size_t qs_log_words_at(qs_str s, size_t at, const char *words, bool *partial);

/* Length of an escape sequence "ESC [ ... letter" at s[at], 0 if there is none. */
size_t qs_log_escape_at(qs_str s, size_t at);

/* The text of a report without what a logger put around each of its lines: the prefix that `head` shows (the
 * line it begins in, up to there), whatever the numbers in it are; or the JSON objects, one a line, whose
 * member `head` breaks off in. False when memory is out. */
bool qs_log_unwrap_lines(qs_str head, qs_str raw, qs_buf *out);

/* UTF-16, as PowerShell writes what it redirects, becomes UTF-8; other bytes stay. Zero-initialise. */
typedef struct qs_log_decoder {
    enum { QS_LOG_UNKNOWN, QS_LOG_BYTES, QS_LOG_UTF16LE, QS_LOG_UTF16BE } kind;
    uint32_t high; /* first half of a pair */
    int odd;       /* byte + 1 that a piece ended in the middle of a unit with */
} qs_log_decoder;
/* The next piece of the log; what it decodes to is appended. */
void qs_log_decode(qs_log_decoder *d, const char *p, size_t n, qs_buf *out);

/* One kind of quote, no escapes of JSON or Python, no colours, no quoting prefixes, blanks only as ' ' and
 * '\n'. False when memory is out. */
bool qs_log_clean(qs_str raw, qs_buf *out);

#endif

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

/* The phrase that starts exactly at s[at], its end in *end. *partial: the text ends in the middle of one. */
qs_log_phrase qs_log_phrase_at(qs_str s, size_t at, size_t *end, bool *partial);
int qs_log_phrase_opens(qs_log_phrase p);
/* The words at s[at], white space in either ignored; the end of the match, or 0. */
size_t qs_log_words_at(qs_str s, size_t at, const char *words, bool *partial);

/* One kind of quote, no escapes of JSON or Python, no colours, no quoting prefixes, blanks only as ' ' and
 * '\n'. False when memory is out. */
bool qs_log_clean(qs_str raw, qs_buf *out);

static inline bool qs_log_is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

#endif

/* What the files of the error log share; nobody else includes this. */
#ifndef QS_MODEL_ERROR_LOG_INTERNAL_H
#define QS_MODEL_ERROR_LOG_INTERNAL_H

#include "base/map.h"
#include "model/error_log.h"
#include "model/error_log_text.h"

/* Reads the report that `raw` begins with; `head` is what stands before it in its line. What is cut off or
 * makes no sense is left out; fails only when memory is out. */
bool qs_log_read_report(qs_str head, qs_str raw, const qs_limits *limits, qs_error_log **out, size_t *rest,
                        qs_err *e);

/* A report being read: cleaned text in, lists out. */
typedef struct qs_log_parser {
    qs_error_log *log;
    qs_str s;
    size_t at;
    uint32_t ndim;                          /* limit */
    qs_map missing, unexpected, mismatched; /* names already listed */
    qs_buf word;
    uint64_t seen; /* phrases of a library's warnings, a bit each */
    qs_err *err;
} qs_log_parser;

void qs_log_skip_blanks(qs_log_parser *p);
void qs_log_start_word(qs_log_parser *p);
bool qs_log_keep_word(qs_log_parser *p, qs_str *out);
bool qs_log_is_name_char(char c);
/* The word is a name of that list. */
bool qs_log_add_name(qs_log_parser *p, bool missing);
/* Names in quotes or without, in brackets or up to the line's end. */
bool qs_log_read_list(qs_log_parser *p, bool missing);
/* A name up to the words that follow it in the sentence; blanks and quotes are dropped. */
bool qs_log_read_name_before(qs_log_parser *p, const char *words);
/* Sizes up to the closing bracket. */
bool qs_log_read_shape(qs_log_parser *p, char bracket, qs_shape *out);
/* The next torch.Size([...]) within the sentence. */
bool qs_log_find_shape(qs_log_parser *p, qs_shape *out);
bool qs_log_add_mismatch(qs_log_parser *p, qs_str key, bool known, qs_shape in_checkpoint, qs_shape in_model);

/* What libraries print that load with strict=False; `head` is what stands before the report in its line. */
bool qs_log_read_library(qs_log_parser *p, qs_log_phrase phrase, qs_str head);

uint64_t qs_log_count_lines(const char *p, size_t n);

/* The last of the failures of log_other.def in a stream of text. Zero-initialise; free `text`. */
enum { QS_LOG_OTHER_MAX = 128 }; /* longer than any phrase */
typedef struct qs_log_others {
    qs_buf text;    /* the end of what came so far */
    uint64_t lines; /* before it */
    uint64_t line;  /* of what was found, from 1 */
    int found;      /* row + 1 */
} qs_log_others;
bool qs_log_others_feed(qs_log_others *o, const char *p, size_t n); /* false: out of memory */
/* Fails with what was found; true if nothing was. */
bool qs_log_others_fail(const qs_log_others *o, qs_err *e);

#endif

/* What the files of the error log share; nobody else includes this. */
#ifndef QS_MODEL_ERROR_LOG_INTERNAL_H
#define QS_MODEL_ERROR_LOG_INTERNAL_H

#include "base/map.h"
#include "model/error_log.h"
#include "model/error_log_text.h"

/* Reads the report that `raw` begins with; `head` is what stands before it in its line. What is cut off or
 * makes no sense is left out; fails only when memory is out. */
bool qs_log_read_report(qs_str head, qs_str raw, const qs_limits *limits, qs_error_log **out, qs_err *e);

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

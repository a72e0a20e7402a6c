/* What the files of the error log share; nobody else includes this. */
#ifndef QS_MODEL_ERROR_LOG_INTERNAL_H
#define QS_MODEL_ERROR_LOG_INTERNAL_H

#include "base/map.h"
#include "model/error_log.h"
#include "model/error_log_text.h"

/* Reads the report that `raw` begins with. What is cut off or makes no sense is left out; fails only when
 * memory is out. */
bool qs_log_read_report(qs_str raw, const qs_limits *limits, qs_error_log **out, qs_err *e);

#endif

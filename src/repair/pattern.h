/* Patterns over keys: prefix, glob and regex, each against the whole key, with a replacement that may use
 * what was captured. */
#ifndef QS_REPAIR_PATTERN_H
#define QS_REPAIR_PATTERN_H

#include "base/err.h"
#include "repair/plan.h"

typedef struct qs_pattern qs_pattern;

/* Compiles pattern and replacement; a mistake in either is QS_E_USAGE with the position. `replacement` is
 * taken as it stands for prefixes; for globs and regexes $1 .. $99, ${1} and ${name} stand for captures, $0
 * for the key, $$ for a dollar. Matching is bounded: see qs_pattern_replace. Both strings are copied. */
bool qs_pattern_compile(qs_pattern_kind kind, qs_str pattern, qs_str replacement, qs_pattern **out,
                        qs_err *e);
void qs_pattern_free(qs_pattern *p);
/* Does the pattern match the whole key? A regex that needs more than a fixed number of steps on one key is an
 * error (QS_E_LIMIT naming the key), so that a hostile plan cannot hang the program. */
bool qs_pattern_match(qs_pattern *p, qs_str key, bool *matched, qs_err *e);
/* The same, and the new name appended to *out if it matched. */
bool qs_pattern_replace(qs_pattern *p, qs_str key, qs_buf *out, bool *matched, qs_err *e);

const char *qs_pattern_kind_name(qs_pattern_kind k); /* "prefix", "glob", "regex" */

#endif

/* A pickle somewhere in a file, of which only its beginning is known: legacy torch files, bare pickles. */
#ifndef QS_FORMAT_PICKLE_AT_H
#define QS_FORMAT_PICKLE_AT_H

#include "base/file.h"
#include "format/pickle.h"

/* Reads the pickle that starts at byte `at` of f. *bytes (owned by the caller, free; the graph borrows from
 * it) holds *n bytes from `at` on; both may be set on failure too. */
bool qs_pickle_read_at(const qs_file *f, uint64_t at, const char *record, const qs_limits *limits,
                       char **bytes, size_t *n, qs_graph **out, qs_err *e);

/* The same for qs_pickle_follow; false with *e set where the file cannot be read. */
bool qs_pickle_follow_at(const qs_file *f, uint64_t at, const char *record, const qs_limits *limits,
                         char **bytes, size_t *n, qs_graph **out, qs_err *why, qs_err *e);

#endif

/* What a path that is being typed could go on to. */
#ifndef QS_BASE_PATH_NAMES_H
#define QS_BASE_PATH_NAMES_H

#include "base/arena.h"
#include "base/vec.h"

enum { QS_PATH_NAMES_MAX = 1000 }; /* of one folder */

typedef QS_VEC(qs_str) qs_names;

/* Adds to *out every path that begins with `start`, in natural order: what was typed and the rest of one
 * name, with
 * '/' after a folder. Hidden names only after a dot. Strings are in the arena. A folder that cannot be read
 * has none; false only when memory is out. */
bool qs_path_names(qs_str start, qs_arena *arena, qs_names *out);

/* The path with a leading "~/" replaced by $HOME, into out[cap]; cut if it does not fit. */
void qs_path_expand(qs_str path, char *out, size_t cap);

#endif

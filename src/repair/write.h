/* Saves a resolution as a .pt file torch loads. */
#ifndef QS_REPAIR_WRITE_H
#define QS_REPAIR_WRITE_H

#include "repair/resolve.h"

typedef struct qs_write_options {
    bool in_place;  /* the output may be A itself; A is kept as NAME.bak */
    bool overwrite; /* an existing output may be replaced */
    const qs_progress *progress;
} qs_write_options;

/* Writes beside the target under a temporary name, re-opens and verifies (every entry's shape, dtype and bytes
 * against the resolution), fsync, rename, fsync the directory. Top-level entries and everything else the plan does
 * not touch come out equal, aliasing included. Refused (QS_E_REFUSED) while an entry of the result is bad or the
 * target path is the input. On failure nothing is left behind and the input is intact. */
bool qs_write_pt(const qs_resolution *r, const char *path, const qs_write_options *opt, qs_err *e);

#endif

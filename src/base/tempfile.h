/* Atomic publication of a file: written beside its target under a temporary name, then fsync, rename, fsync
 * of the directory. Until qs_temp_publish returns true the target is what it was; whatever happens, nothing
 * is left behind, on SIGINT, SIGTERM and SIGHUP too (see qs_temp_unlink_pending). */
#ifndef QS_BASE_TEMPFILE_H
#define QS_BASE_TEMPFILE_H

#include "base/err.h"

typedef struct qs_temp qs_temp;

/* Creates TARGET's sibling ".NAME.XXXXXX.qatscope" with the mode (and, where allowed, the owner) of an
 * existing target, else 0666 & ~umask. */
bool qs_temp_create(const char *target, qs_temp **out, qs_err *e);
int qs_temp_fd(const qs_temp *t);
const char *qs_temp_path(const qs_temp *t); /* borrowed */
/* fsync, rename onto the target, fsync the directory. If backup is not NULL the old target is first linked
 * under that name (an existing backup is replaced, but only once the target was). Frees t, whether it worked
 * or not. */
bool qs_temp_publish(qs_temp *t, const char *backup, qs_err *e);
/* Close and unlink; NULL is fine. */
void qs_temp_discard(qs_temp *t);
/* Unlink the temporary file being written, if any. Async-signal-safe: for signal handlers that end the
 * process. */
void qs_temp_unlink_pending(void);

#endif

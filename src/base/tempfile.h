/* Atomic publication of a file: written beside its target under a temporary name, then fsync, close, rename,
 * fsync of the directory. Until qs_temp_publish returns true the target is what it was; whatever happens,
 * nothing is left behind, on SIGINT, SIGTERM and SIGHUP too (see qs_temp_unlink_pending). */
#ifndef QS_BASE_TEMPFILE_H
#define QS_BASE_TEMPFILE_H

#include "base/err.h"

typedef struct qs_temp qs_temp;

/* Creates TARGET's sibling ".NAME.XXXXXX.qatscope" with the mode (and, where allowed, the owner) of an
 * existing target, else 0666 & ~umask. */
bool qs_temp_create(const char *target, qs_temp **out, qs_err *e);
int qs_temp_fd(const qs_temp *t);
const char *qs_temp_path(const qs_temp *t); /* borrowed */
/* What is written can be made again from files that stay. Where nothing has the target's name there is
 * nothing to lose then, and the file is published as cp leaves one: written and closed, in the kernel's
 * hands, neither it nor the directory synced. Over an existing file all is as ever. True if it will be
 * synced. */
bool qs_temp_spare_sync(qs_temp *t);
/* fsync, close, rename onto the target, fsync the directory. If backup is not NULL the old target is first
 * linked under that name (an existing backup is replaced, but only once the target was). Frees t, whether it
 * worked or not. */
bool qs_temp_publish(qs_temp *t, const char *backup, qs_err *e);
/* Close and unlink; NULL is fine. */
void qs_temp_discard(qs_temp *t);
/* Files that shall appear together, in one directory: written in a temporary directory there, under the names
 * they will have. */
typedef struct qs_temp_set qs_temp_set;
/* The files DIR/names[i] (no '/' in a name), `dir` "" for the current one. Names are copied. */
bool qs_temp_set_create(const char *dir, const char *const *names, size_t n, qs_temp_set **out, qs_err *e);
const char *qs_temp_set_path(const qs_temp_set *s, size_t i); /* while it is temporary; borrowed */
/* Creates file i for writing, with the mode of what it will replace. To be ended by qs_temp_set_close. */
bool qs_temp_set_open(const qs_temp_set *s, size_t i, int *fd, qs_err *e);
/* fsync, close. A set of which no file existed when it was begun is not synced, see qs_temp_spare_sync. */
bool qs_temp_set_close(const qs_temp_set *s, size_t i, int fd, qs_err *e);
/* Renames all into place, the last one last; the last one's old file is away while others are being replaced,
 * so that it never speaks of files that are not its own. If one fails all is put back. Frees s. Signals that
 * would end the process wait meanwhile. */
bool qs_temp_set_publish(qs_temp_set *s, qs_err *e);
void qs_temp_set_discard(qs_temp_set *s); /* NULL is fine */

/* Unlink the temporary file being written, if any. Async-signal-safe: for signal handlers that end the
 * process. */
void qs_temp_unlink_pending(void);

#endif

/* The files a person keeps settings in: $XDG_CONFIG_HOME/qatscope/NAME, or ~/.config/qatscope/NAME. */
#ifndef QS_CONFIG_FILE_H
#define QS_CONFIG_FILE_H

#include "base/err.h"

/* The text of the file NAME in `dir` (NULL: where the environment says), NUL terminated, owned by the caller
 * (free); *text is NULL where there is no such file or directory, which is fine. False: it cannot be read. */
bool qs_config_file_read(const char *dir, const char *name, char **text, size_t *n, qs_err *e);

#endif

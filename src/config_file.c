#include "config_file.h"

#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CONFIG_MAX = 1 << 20 };

static bool path_of(const char *dir, const char *name, char *out, size_t cap) {
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = -1;
    if (dir)
        n = snprintf(out, cap, "%s/%s", dir, name);
    else if (config && config[0] == '/')
        n = snprintf(out, cap, "%s/qatscope/%s", config, name);
    else if (home && home[0] == '/')
        n = snprintf(out, cap, "%s/.config/qatscope/%s", home, name);
    return n > 0 && (size_t)n < cap;
}

bool qs_config_file_read(const char *dir, const char *name, char **text, size_t *n, qs_err *e) {
    char path[PATH_MAX];
    *text = NULL;
    *n = 0;
    struct stat st;
    if (!path_of(dir, name, path, sizeof path) || stat(path, &st) != 0 || st.st_size == 0) return true;
    return qs_file_slurp(path, CONFIG_MAX, text, n, e);
}

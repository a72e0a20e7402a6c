#include "base/path_names.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

void qs_path_expand(qs_str path, char *out, size_t cap) {
    const char *home = getenv("HOME");
    if (home && qs_str_starts(path, QS_STR("~/")))
        snprintf(out, cap, "%s%.*s", home, (int)path.n - 1, path.p + 1);
    else
        snprintf(out, cap, "%.*s", QS_FMT(path));
}

static bool is_folder(const char *folder, const char *name) {
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* `typed` up to its last slash, the name, and a slash if that is a folder. */
static bool add(qs_str typed, const char *folder, const char *name, qs_arena *arena, qs_names *out) {
    qs_buf b = {0};
    qs_buf_add(&b, typed);
    qs_buf_addz(&b, name);
    if (is_folder(folder, name)) qs_buf_addc(&b, '/');
    qs_str copy = b.failed ? (qs_str){0} : qs_arena_str(arena, qs_buf_str(&b));
    qs_buf_free(&b);
    return copy.p && qs_push(out, copy);
}

static int by_name(const void *a, const void *b) {
    return qs_str_cmp_natural(*(const qs_str *)a, *(const qs_str *)b);
}

bool qs_path_names(qs_str start, qs_arena *arena, qs_names *out) {
    char folder[PATH_MAX];
    size_t slash = qs_str_rfind_char(start, '/'), cut = slash == SIZE_MAX ? 0 : slash + 1, first = out->n;
    qs_str typed = qs_str_sub(start, 0, cut), begun = qs_str_sub(start, cut, start.n);
    if (typed.n)
        qs_path_expand(typed, folder, sizeof folder);
    else
        snprintf(folder, sizeof folder, "./");
    DIR *d = opendir(folder);
    bool ok = true;
    for (struct dirent *f; ok && d && out->n - first < QS_PATH_NAMES_MAX && (f = readdir(d));) {
        qs_str name = qs_str_of(f->d_name);
        bool hidden = name.p[0] == '.' && (begun.n == 0 || name.n <= 2);
        if (!hidden && qs_str_starts(name, begun)) ok = add(typed, folder, f->d_name, arena, out);
    }
    if (d) closedir(d);
    if (out->n > first) qsort(out->v + first, out->n - first, sizeof *out->v, by_name);
    return ok;
}

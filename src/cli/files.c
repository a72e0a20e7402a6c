/* One command over many files. */
#include "cli/cli.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

/* A name as a pattern that matches just it; NULL when memory is out. */
static char *quoted(const char *name) {
    char *out = malloc(2 * strlen(name) + 1), *w = out;
    if (!out) return NULL;
    for (const char *p = name; *p; p++) {
        if (strchr("*?[\\", *p)) *w++ = '\\';
        *w++ = *p;
    }
    *w = 0;
    return out;
}

/* glob() takes a name with brackets in it for a pattern, but a file that is there is meant as it stands. */
static bool expand(const char *const *pos, glob_t *g, bool *many, qs_err *e) {
    for (size_t i = 0; i < QS_CLI_FILES && pos[i]; i++) {
        bool literal = access(pos[i], F_OK) == 0;
        char *name = literal ? quoted(pos[i]) : strdup(pos[i]);
        int flags = (i ? GLOB_APPEND : 0) | GLOB_NOCHECK | (literal ? 0 : GLOB_NOESCAPE);
        bool ok = name && glob(name, flags, NULL, g) == 0;
        free(name);
        if (!ok) return qs_nomem(e);
        *many |= i > 0 || (!literal && strpbrk(pos[i], "*?["));
    }
    return true;
}

static void print_failed(const char *file, const qs_err *e) {
    qs_buf b = {0};
    qs_buf_addz(&b, "{\"file\": ");
    qs_buf_add_json(&b, qs_str_of(file));
    qs_buf_addz(&b, ", \"error\": ");
    qs_buf_add_json(&b, qs_str_of(e->msg));
    qs_buf_addz(&b, "}\n");
    if (!b.failed) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

static int each(const glob_t *g, bool list, qs_cli_file_fn one, void *ctx) {
    int worst = 0;
    if (list) putchar('[');
    for (size_t i = 0; i < g->gl_pathc; i++) {
        qs_err e = QS_ERR_INIT;
        int status = 0;
        if (list && i) putchar(',');
        if (!one(ctx, g->gl_pathv[i], &status, &e)) {
            status = qs_cli_fail(&e);
            if (list) print_failed(g->gl_pathv[i], &e);
        }
        if (status > worst) worst = status;
    }
    if (list) fputs("]\n", stdout);
    return worst;
}

int qs_cli_over_files(const char *const *pos, bool json, bool *many, qs_cli_file_fn one, void *ctx) {
    glob_t g = {0};
    qs_err e = QS_ERR_INIT;
    *many = false;
    int status = expand(pos, &g, many, &e) ? each(&g, json && *many, one, ctx) : qs_cli_fail(&e);
    globfree(&g);
    return status;
}

/* How far a person has come: one line a lesson, "NAME PAGE done" or "NAME PAGE open". */
#include "teach/lesson_impl.h"

#include "base/file.h"
#include "base/tempfile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_BYTES = 1 << 16, NAME_BYTES = 128 };

typedef struct log_line {
    char name[NAME_BYTES];
    size_t page;
    bool done;
} log_line;

struct qs_lesson_log {
    QS_VEC(log_line) lines;
};

bool qs_lesson_log_path(char *out, size_t cap) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state && state[0] == '/')
        n = snprintf(out, cap, "%s/qatscope/lessons", state);
    else if (home && home[0] == '/')
        n = snprintf(out, cap, "%s/.local/state/qatscope/lessons", home);
    return n > 0 && (size_t)n < cap;
}

static log_line *find(const qs_lesson_log *log, const char *lesson) {
    for (size_t i = 0; i < log->lines.n; i++)
        if (strcmp(log->lines.v[i].name, lesson) == 0) return &log->lines.v[i];
    return NULL;
}

static bool read_lines(qs_lesson_log *log, char *text, qs_err *e) {
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[NAME_BYTES], state[8];
        unsigned page;
        if (sscanf(line, "%127s %u %7s", name, &page, state) != 3) continue;
        if (!qs_lesson_log_set(log, name, page, strcmp(state, "done") == 0, e)) return false;
    }
    return true;
}

bool qs_lesson_log_open(const char *path, qs_lesson_log **out, qs_err *e) {
    qs_lesson_log *log = calloc(1, sizeof *log);
    if (!log) return qs_nomem(e);
    struct stat st;
    char *text = NULL;
    size_t n;
    bool ok = true;
    if (stat(path, &st) == 0 && st.st_size > 0)
        ok = qs_file_slurp(path, LOG_BYTES, &text, &n, e) && read_lines(log, text, e);
    free(text);
    if (ok)
        *out = log;
    else
        qs_lesson_log_free(log);
    return ok;
}

void qs_lesson_log_free(qs_lesson_log *log) {
    if (!log) return;
    qs_vec_free(&log->lines);
    free(log);
}

size_t qs_lesson_log_page(const qs_lesson_log *log, const char *lesson) {
    const log_line *x = find(log, lesson);
    return x ? x->page : 0;
}

bool qs_lesson_log_done(const qs_lesson_log *log, const char *lesson) {
    const log_line *x = find(log, lesson);
    return x && x->done;
}

bool qs_lesson_log_set(qs_lesson_log *log, const char *lesson, size_t page, bool done, qs_err *e) {
    log_line *x = find(log, lesson);
    if (!x) {
        if (strlen(lesson) >= NAME_BYTES || strpbrk(lesson, " \t\n"))
            return true; /* cannot be written: forgotten */
        if (!qs_push(&log->lines, (log_line){0})) return qs_nomem(e);
        x = &log->lines.v[log->lines.n - 1];
        snprintf(x->name, sizeof x->name, "%s", lesson);
    }
    x->page = page;
    x->done |= done;
    return true;
}

/* mkdir -p of the folder a file is in. */
static bool make_folders(const char *path, qs_err *e) {
    char dir[4096];
    if (strlen(path) >= sizeof dir) return qs_fail(e, QS_E_IO, "the path '%.60s...' is too long", path);
    memcpy(dir, path, strlen(path) + 1);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(dir, 0777) != 0 && errno != EEXIST)
            return qs_fail_errno(e, QS_E_IO, errno, "cannot make the folder '%s'", dir);
        *slash = '/';
    }
    return true;
}

static bool write_all(int fd, const char *p, size_t n, const char *path, qs_err *e) {
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return qs_fail_errno(e, QS_E_IO, errno, "cannot write '%s'", path);
        p += w;
        n -= (size_t)w;
    }
    return true;
}

bool qs_lesson_log_save(const qs_lesson_log *log, const char *path, qs_err *e) {
    qs_buf b = {0};
    for (size_t i = 0; i < log->lines.n; i++)
        qs_buf_addf(&b, "%s %zu %s\n", log->lines.v[i].name, log->lines.v[i].page,
                    log->lines.v[i].done ? "done" : "open");
    qs_temp *t = NULL;
    bool ok = !b.failed || qs_nomem(e);
    ok = ok && make_folders(path, e) && qs_temp_create(path, &t, e);
    if (ok && !write_all(qs_temp_fd(t), b.p ? b.p : "", b.n, path, e)) {
        qs_temp_discard(t);
        ok = false;
    } else if (ok) {
        ok = qs_temp_publish(t, NULL, e);
    }
    qs_buf_free(&b);
    return ok;
}

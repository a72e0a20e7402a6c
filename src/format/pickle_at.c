#include "format/pickle_at.h"

#include <stdlib.h>

/* The end of a pickle is only known when it was read: a window that doubles costs at most twice the reading.
 */
enum { FIRST_WINDOW = 256 << 10 };

/* The first `window` bytes from `at` on, in *bytes. */
static bool read_window(const qs_file *f, uint64_t at, uint64_t window, char **bytes, size_t *n, qs_err *e) {
    free(*bytes);
    *n = 0;
    *bytes = malloc((size_t)window + 1);
    if (!*bytes) return qs_nomem(e);
    if (!qs_file_read(f, at, *bytes, (size_t)window, e)) return false;
    *n = (size_t)window;
    return true;
}

static uint64_t largest_window(const qs_file *f, uint64_t at, const qs_limits *limits) {
    uint64_t left = at < qs_file_size(f) ? qs_file_size(f) - at : 0;
    return left < limits->pickle_bytes ? left : limits->pickle_bytes;
}

bool qs_pickle_read_at(const qs_file *f, uint64_t at, const char *record, const qs_limits *limits,
                       char **bytes, size_t *n, qs_graph **out, qs_err *e) {
    uint64_t most = largest_window(f, at, limits);
    *bytes = NULL;
    *n = 0;
    for (uint64_t window = FIRST_WINDOW;; window *= 2) {
        qs_err own = QS_ERR_INIT;
        if (window > most) window = most;
        if (!read_window(f, at, window, bytes, n, e)) return false;
        if (qs_pickle_read(*bytes, *n, record, limits, out, &own)) return true;
        if (window < most && own.code != QS_E_NOMEM) continue;
        if (e->code == QS_OK) *e = own;
        return false;
    }
}

bool qs_pickle_follow_at(const qs_file *f, uint64_t at, const char *record, const qs_limits *limits,
                         char **bytes, size_t *n, qs_graph **out, qs_err *why, qs_err *e) {
    uint64_t most = largest_window(f, at, limits);
    *bytes = NULL;
    *n = 0;
    *out = NULL;
    for (uint64_t window = FIRST_WINDOW;; window *= 2) {
        if (window > most) window = most;
        qs_graph_free(*out);
        *out = NULL;
        if (!read_window(f, at, window, bytes, n, e)) return false;
        if (!qs_pickle_follow(*bytes, *n, record, limits, out, why)) return qs_nomem(e);
        if (!qs_graph_ran_out(*out)) return true;
        if (window == most) break;
    }
    if (most == limits->pickle_bytes) /* the file goes on */
        why->code = QS_E_LIMIT;
    return true;
}

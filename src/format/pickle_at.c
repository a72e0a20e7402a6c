#include "format/pickle_at.h"

#include <stdlib.h>

/* The end of a pickle is only known when it was read: a window that doubles costs at most twice the reading.
 */
enum { FIRST_WINDOW = 256 << 10 };

bool qs_pickle_read_at(const qs_file *f, uint64_t at, const char *record, const qs_limits *limits,
                       char **bytes, size_t *n, qs_graph **out, qs_err *e) {
    uint64_t left = at < qs_file_size(f) ? qs_file_size(f) - at : 0;
    uint64_t most = left < limits->pickle_bytes ? left : limits->pickle_bytes;
    *bytes = NULL;
    *n = 0;
    for (uint64_t window = FIRST_WINDOW;; window *= 2) {
        qs_err own = QS_ERR_INIT;
        if (window > most) window = most;
        free(*bytes);
        *n = 0;
        *bytes = malloc((size_t)window + 1);
        if (!*bytes) return qs_nomem(e);
        if (!qs_file_read(f, at, *bytes, (size_t)window, e)) return false;
        *n = (size_t)window;
        if (qs_pickle_read(*bytes, *n, record, limits, out, &own)) return true;
        if (window < most && own.code != QS_E_NOMEM) continue;
        if (e->code == QS_OK) *e = own;
        return false;
    }
}

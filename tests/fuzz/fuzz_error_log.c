/* Any bytes as a log. What comes out must hold together: names unique, nothing longer than the input's text. */
#include "model/error_log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_unique(const qs_str *v, size_t n) {
    if (n > 200) return;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (qs_str_eq(v[i], v[j]) || v[i].n == 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_limits limits = QS_LIMITS_DEFAULT;
    limits.json_bytes = 1 << 20;
    qs_error_log *log = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_error_log_parse((const char *)data, size, &limits, &log, &e)) {
        if (e.code == QS_OK || log) abort();
        return 0;
    }
    check_unique(log->missing.v, log->missing.n);
    check_unique(log->unexpected.v, log->unexpected.n);
    size_t text = size / 2 * 3 + 3; /* two bytes of UTF-16 are at most three of UTF-8 */
    if (log->missing_printed < log->missing.n || log->offset > text || log->excerpt.n > text) abort();
    qs_error_log_close(log);
    return 0;
}

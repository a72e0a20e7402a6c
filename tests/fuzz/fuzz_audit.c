/* Any bytes as a pickle to be audited, whole and broken off. */
#include "format/audit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_err e = QS_ERR_INIT;
    qs_audit *a = calloc(1, sizeof *a);
    if (!a) return 0;
    if (qs_audit_add(a, data, size, "data.pkl", 0, &limits, &e)) {
        if (a->pickles.n != 1 || a->pickles.v[0].bytes > size) abort();
        for (size_t i = 0; i < a->items.n; i++)
            if (a->items.v[i].offset > size) abort();
    }
    qs_audit_close(a);
    return 0;
}

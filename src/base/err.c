#include "base/err.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void qs_err_set(qs_err *e, qs_code code, int sys_errno, const char *record, uint64_t offset, const char *fmt,
                ...) {
    if (!e || e->code != QS_OK) return;
    e->code = code;
    e->sys_errno = sys_errno;
    e->offset = offset;
    snprintf(e->record, sizeof e->record, "%s", record ? record : "");
    char raw[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    /* A message may quote names from a hostile file: no control byte may reach a terminal. */
    qs_str_printable(qs_str_of(raw), e->msg, sizeof e->msg);
    if (sys_errno) {
        size_t n = strlen(e->msg);
        snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror(sys_errno));
    }
}

void qs_err_prefix(qs_err *e, const char *context) {
    if (!e || e->code == QS_OK) return;
    char safe[256], msg[sizeof e->msg];
    qs_str_printable(qs_str_of(context), safe, sizeof safe);
    memcpy(msg, e->msg, sizeof msg);
    int n = snprintf(e->msg, sizeof e->msg, "%s: ", safe);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof e->msg) snprintf(e->msg + used, sizeof e->msg - used, "%s", msg);
}

int qs_err_exit_code(const qs_err *e) {
    switch (e->code) {
    case QS_OK: return 0;
    case QS_E_USAGE: return 2;
    case QS_E_INPUT:
    case QS_E_LIMIT:
    case QS_E_UNSUPPORTED:
    case QS_E_REFUSED: return 3;
    case QS_E_IO:
    case QS_E_NOMEM:
    case QS_E_CANCELLED: return 4;
    }
    return 4;
}

bool qs_progress_step(const qs_progress *p, uint64_t done, uint64_t total, qs_err *e) {
    if (!p || !p->fn || p->fn(p->ctx, done, total)) return true;
    return qs_fail(e, QS_E_CANCELLED, "cancelled");
}

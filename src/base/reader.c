#include "base/reader.h"

#include <inttypes.h>

qs_str qs_read_bytes(qs_reader *r, uint64_t n) {
    if (!qs_reader_ok(r)) return (qs_str){NULL, 0};
    if (n > qs_reader_left(r)) {
        qs_fail_at(r->err, QS_E_INPUT, r->record, r->at,
                   "%s is cut short: %" PRIu64 " bytes wanted at byte %zu, %zu left", r->record, n, r->at,
                   qs_reader_left(r));
        return (qs_str){NULL, 0};
    }
    qs_str s = {(const char *)r->p + r->at, (size_t)n};
    r->at += (size_t)n;
    return s;
}

qs_str qs_read_line(qs_reader *r) {
    if (!qs_reader_ok(r)) return (qs_str){NULL, 0};
    const unsigned char *from = r->p + r->at;
    const unsigned char *nl = qs_reader_left(r) ? memchr(from, '\n', qs_reader_left(r)) : NULL;
    if (!nl) {
        qs_fail_at(r->err, QS_E_INPUT, r->record, r->at, "%s is cut short: a line at byte %zu has no end",
                   r->record, r->at);
        return (qs_str){NULL, 0};
    }
    qs_str s = {(const char *)from, (size_t)(nl - from)};
    r->at += s.n + 1;
    return s;
}

#include "base/reader.h"

#include <inttypes.h>

bool qs_reader_more(qs_reader *r) {
    if (r->at < r->n) return true;
    r->n += r->rest;
    r->rest = 0;
    return r->at < r->n;
}

static qs_str cut_short(qs_reader *r, uint64_t n) {
    r->crossed = r->rest > 0;
    r->ran_out = !r->crossed;
    if (r->crossed)
        qs_fail_at(
            r->err, QS_E_UNSUPPORTED, r->record, r->at,
            "%s: at byte %zu begins what does not end in its frame; Python drops the rest of such a frame",
            r->record, r->at);
    else if (n)
        qs_fail_at(r->err, QS_E_INPUT, r->record, r->at,
                   "%s is cut short: %" PRIu64 " bytes wanted at byte %zu, %zu left", r->record, n, r->at,
                   qs_reader_left(r));
    else
        qs_fail_at(r->err, QS_E_INPUT, r->record, r->at, "%s is cut short: a line at byte %zu has no end",
                   r->record, r->at);
    return (qs_str){NULL, 0};
}

qs_str qs_read_bytes(qs_reader *r, uint64_t n) {
    if (!qs_reader_ok(r)) return (qs_str){NULL, 0};
    if (n > qs_reader_left(r)) {
        qs_reader_more(r);
        if (n > qs_reader_left(r)) return cut_short(r, n);
    }
    qs_str s = {(const char *)r->p + r->at, (size_t)n};
    r->at += (size_t)n;
    return s;
}

qs_str qs_read_line(qs_reader *r) {
    if (!qs_reader_ok(r)) return (qs_str){NULL, 0};
    const unsigned char *from = r->p + r->at;
    const unsigned char *nl = qs_reader_more(r) ? memchr(from, '\n', qs_reader_left(r)) : NULL;
    if (!nl) return cut_short(r, 0);
    qs_str s = {(const char *)from, (size_t)(nl - from)};
    r->at += s.n + 1;
    return s;
}

/* A cursor over bytes in memory with a sticky error: after the first failed read every later one returns
 * zero, so call sites stay linear and check once. */
#ifndef QS_BASE_READER_H
#define QS_BASE_READER_H

#include "base/err.h"
#include "base/str.h"

#include <endian.h>
#include <string.h>

typedef struct qs_reader {
    const unsigned char *p;
    size_t n, at;
    const char *record; /* name for messages; borrowed */
    qs_err *err;
    size_t rest; /* bytes after the first n. What is read must end among those or begin after them: a frame */
    bool crossed; /* it did not: QS_E_UNSUPPORTED */
    bool ran_out; /* more was to be read than there is */
} qs_reader;

static inline bool qs_reader_ok(const qs_reader *r) {
    return r->err->code == QS_OK;
}
static inline size_t qs_reader_left(const qs_reader *r) {
    return r->n - r->at;
}
/* Is there anything to read? What follows a frame begins when the frame is used up. */
bool qs_reader_more(qs_reader *r);
/* n bytes as a view into the input (borrowed), or an empty view after an error. */
qs_str qs_read_bytes(qs_reader *r, uint64_t n);
/* The bytes up to the next '\n', which is consumed but not returned. */
qs_str qs_read_line(qs_reader *r);
/* Little-endian numbers. They are read one for each opcode of a pickle: what can go wrong is left to
 * qs_read_bytes. */
static inline bool qs_read_raw_(qs_reader *r, void *out, size_t n) {
    const unsigned char *p = r->p + r->at;
    if (qs_reader_left(r) < n || !qs_reader_ok(r)) {
        p = (const unsigned char *)qs_read_bytes(r, n).p;
        if (!p) return false;
    } else {
        r->at += n;
    }
    memcpy(out, p, n);
    return true;
}
static inline uint8_t qs_read_u8(qs_reader *r) {
    uint8_t v;
    return qs_read_raw_(r, &v, sizeof v) ? v : 0;
}
static inline uint16_t qs_read_u16le(qs_reader *r) {
    uint16_t v;
    return qs_read_raw_(r, &v, sizeof v) ? le16toh(v) : 0;
}
static inline uint32_t qs_read_u32le(qs_reader *r) {
    uint32_t v;
    return qs_read_raw_(r, &v, sizeof v) ? le32toh(v) : 0;
}
static inline uint64_t qs_read_u64le(qs_reader *r) {
    uint64_t v;
    return qs_read_raw_(r, &v, sizeof v) ? le64toh(v) : 0;
}
static inline uint64_t qs_read_u64be(qs_reader *r) {
    uint64_t v;
    return qs_read_raw_(r, &v, sizeof v) ? be64toh(v) : 0;
}

#endif

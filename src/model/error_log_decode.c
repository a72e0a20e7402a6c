/* The encoding of a log. */
#include "model/error_log_text.h"

/* A mark at the beginning, or the zeros of plain letters. */
static int kind_of(const unsigned char *p, size_t n) {
    if (n < 4) return QS_LOG_BYTES;
    if (p[0] == 0xff && p[1] == 0xfe) return QS_LOG_UTF16LE;
    if (p[0] == 0xfe && p[1] == 0xff) return QS_LOG_UTF16BE;
    if (p[0] && !p[1] && p[2] && !p[3]) return QS_LOG_UTF16LE;
    if (!p[0] && p[1] && !p[2] && p[3]) return QS_LOG_UTF16BE;
    return QS_LOG_BYTES;
}

static void add_character(uint32_t cp, qs_buf *out) {
    if (cp < 0x80)
        qs_buf_addc(out, (char)cp);
    else if (cp < 0x800)
        qs_buf_addf(out, "%c%c", (int)(0xc0 | cp >> 6), (int)(0x80 | (cp & 0x3f)));
    else if (cp < 0x10000)
        qs_buf_addf(out, "%c%c%c", (int)(0xe0 | cp >> 12), (int)(0x80 | (cp >> 6 & 0x3f)),
                    (int)(0x80 | (cp & 0x3f)));
    else
        qs_buf_addf(out, "%c%c%c%c", (int)(0xf0 | cp >> 18), (int)(0x80 | (cp >> 12 & 0x3f)),
                    (int)(0x80 | (cp >> 6 & 0x3f)), (int)(0x80 | (cp & 0x3f)));
}

static void add_unit(qs_log_decoder *d, uint32_t unit, qs_buf *out) {
    bool low = unit >= 0xdc00 && unit < 0xe000;
    if (d->high && low)
        add_character(0x10000 + ((d->high - 0xd800) << 10) + (unit - 0xdc00), out);
    else if (unit < 0xd800 || unit >= 0xe000)
        add_character(unit, out);
    d->high = unit >= 0xd800 && unit < 0xdc00 ? unit : 0;
}

void qs_log_decode(qs_log_decoder *d, const char *p, size_t n, qs_buf *out) {
    const unsigned char *b = (const unsigned char *)p;
    if (d->kind == QS_LOG_UNKNOWN) d->kind = kind_of(b, n);
    if (d->kind == QS_LOG_BYTES) {
        qs_buf_add(out, (qs_str){p, n});
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!d->odd) {
            d->odd = b[i] + 1;
            continue;
        }
        uint32_t first = (uint32_t)d->odd - 1;
        add_unit(d, d->kind == QS_LOG_UTF16LE ? first | (uint32_t)b[i] << 8 : first << 8 | b[i], out);
        d->odd = 0;
    }
}

#include "format/tar.h"

#include <string.h>

enum { NAME = 0, NAME_N = 100, SIZE = 124, SIZE_N = 12, CHECKSUM = 148, CHECKSUM_N = 8, TYPE = 156 };

/* Octal digits between blanks up to a NUL, nothing for 0; or binary, after a byte 0x80. */
static bool read_number(const char *p, size_t n, uint64_t *out) {
    *out = 0;
    if ((unsigned char)p[0] == 0x80) {
        for (size_t i = 1; i < n; i++) {
            if (*out >> 55) return false;
            *out = *out << 8 | (unsigned char)p[i];
        }
        return true;
    }
    const char *nul = memchr(p, 0, n);
    const char *end = nul ? nul : p + n;
    while (p < end && *p == ' ') p++;
    while (p < end && end[-1] == ' ') end--;
    for (; p < end; p++) {
        if (*p < '0' || *p > '7') return false;
        *out = *out << 3 | (uint64_t)(*p - '0');
    }
    return true;
}

/* The sum of all bytes, those of the checksum counted as blanks; some old tars took them as signed. */
static bool sum_is_right(const char *block) {
    int64_t plain = 0, with_sign = 0;
    uint64_t want;
    for (int i = 0; i < QS_TAR_BLOCK; i++) {
        char c = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_N ? ' ' : block[i];
        plain += (unsigned char)c;
        with_sign += (signed char)c;
    }
    if (!read_number(block + CHECKSUM, CHECKSUM_N, &want) || want > INT32_MAX) return false;
    return (int64_t)want == plain || (int64_t)want == with_sign;
}

bool qs_tar_read_header(const char block[QS_TAR_BLOCK], qs_tar_header *out) {
    *out = (qs_tar_header){.name = {block + NAME, strnlen(block + NAME, NAME_N)}};
    if (!sum_is_right(block) || !read_number(block + SIZE, SIZE_N, &out->size)) return false;
    out->has_content = block[TYPE] < '1' || block[TYPE] > '6';
    if (!out->has_content) out->size = 0;
    return true;
}

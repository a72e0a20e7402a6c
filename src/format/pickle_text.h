/* Decoders for the text arguments of protocol 0, for pickle.c only. Each returns false, *e untouched, if the
 * text is not what Python accepts there; memory trouble sets `*nomem`. */
#ifndef QS_FORMAT_PICKLE_TEXT_H
#define QS_FORMAT_PICKLE_TEXT_H

#include "base/arena.h"
#include "base/str.h"

/* Decimal digits Python itself converts at most (sys.int_info.default_max_str_digits). */
enum { QS_INT_DIGITS_MAX = 4300 };

/* "-123" (spaces around it are fine) into little-endian two's complement of minimal length, at least 1 byte.
 * The bytes are in the arena. After a zero come zeros only; or, where strtol reads it (INT), octal digits. */
bool qs_text_int(qs_arena *a, qs_str s, bool strtol_reads, qs_str *le, bool *nomem);
/* "1.5e3", "inf", "-nan". Independent of the locale. */
bool qs_text_float(qs_str s, double *out);
/* 'quoted' or "quoted" with Python's escapes, into bytes: a view of s where nothing is escaped. */
bool qs_text_quoted(qs_arena *a, qs_str s, qs_str *out, bool *nomem);
/* raw-unicode-escape, into UTF-8 (lone surrogates encoded as Python's surrogatepass). */
bool qs_text_unicode(qs_arena *a, qs_str s, qs_str *out, bool *nomem);
/* A decimal index of at most 32 bits (GET, PUT), as Python's int() reads it: +1, 0_1. */
bool qs_text_index(qs_str s, uint32_t *out);

/* Trim redundant sign bytes of a little-endian two's complement number. */
qs_str qs_le_trim(qs_str le);
/* UTF-8 as Python's "surrogatepass" decodes it. */
bool qs_utf8_ok(qs_str s);

#endif

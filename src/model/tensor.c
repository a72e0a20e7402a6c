#include "model/tensor.h"

bool qs_shape_same_without_ones(qs_shape a, qs_shape b) {
    for (uint32_t i = 0, j = 0;;) {
        while (i < a.ndim && a.dim[i] == 1) i++;
        while (j < b.ndim && b.dim[j] == 1) j++;
        if (i == a.ndim || j == b.ndim) return i == a.ndim && j == b.ndim;
        if (a.dim[i++] != b.dim[j++]) return false;
    }
}

bool qs_shape_eq(qs_shape a, qs_shape b) {
    return a.ndim == b.ndim && (a.ndim == 0 || memcmp(a.dim, b.dim, a.ndim * sizeof *a.dim) == 0);
}

uint64_t qs_shape_numel(qs_shape s) {
    uint64_t n = 1;
    bool overflow = false;
    for (uint32_t i = 0; i < s.ndim; i++) {
        if (s.dim[i] == 0) return 0;
        if (__builtin_mul_overflow(n, (uint64_t)s.dim[i], &n)) overflow = true;
    }
    return overflow ? UINT64_MAX : n;
}

/* v in decimal at the end of `out`: a listing prints 100,000 shapes, and formats would be a tenth of its
 * time. */
static qs_str decimal(int64_t v, char out[24]) {
    uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;
    char *p = out + 24;
    do *--p = (char)('0' + left % 10);
    while (left /= 10);
    if (v < 0) *--p = '-';
    return (qs_str){p, (size_t)(out + 24 - p)};
}

size_t qs_shape_text(qs_shape s, const char *times, char *out, size_t cap) {
    if (cap == 0) return 0;
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < s.ndim; i++) {
        char room[24];
        qs_str number = decimal(s.dim[i], room);
        size_t before = i ? strlen(times) : 0;
        if (before + number.n >= cap - n) return n; /* never half a number */
        memcpy(out + n, times, before);
        memcpy(out + n + before, number.p, number.n);
        n += before + number.n;
        out[n] = '\0';
    }
    if (s.ndim == 0) n = (size_t)snprintf(out, cap, "[]") < cap ? 2 : cap - 1;
    return n;
}

void qs_shape_torch(qs_shape s, qs_buf *out) {
    qs_buf_addz(out, "torch.Size([");
    for (uint32_t i = 0; i < s.ndim; i++) qs_buf_addf(out, "%s%lld", i ? ", " : "", (long long)s.dim[i]);
    qs_buf_addz(out, "])");
}

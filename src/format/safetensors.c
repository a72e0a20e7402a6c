/* A JSON reader for this one shape of document: sizes up to 2^64 and a hundred thousand tensors are too much
 * for a general one that makes a double of every number and a node of every bracket. */
#include "format/safetensors.h"

#include "base/map.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LENGTH = 8, MOST_HEADER = 100000000, MAX_DEPTH = 128 };

typedef struct parser {
    qs_safetensors *s;
    const char *p;
    size_t n, at;
    uint32_t ndim; /* limit */
    qs_map names, keys;
    qs_err *err;
} parser;

/* ---- JSON ---- */

static bool bad(parser *p, const char *expected) {
    return qs_fail_at(p->err, QS_E_INPUT, "header", LENGTH + p->at,
                      "the safetensors header is wrong at byte %zu: %s expected", LENGTH + p->at, expected);
}

static void skip_space(parser *p) {
    while (p->at < p->n && p->p[p->at] && strchr(" \t\r\n", p->p[p->at])) p->at++;
}

static bool take(parser *p, char c) {
    skip_space(p);
    if (p->at >= p->n || p->p[p->at] != c) return false;
    p->at++;
    return true;
}

static bool hex4(parser *p, uint32_t *out) {
    uint32_t v = 0;
    if (p->n - p->at < 4) return bad(p, "four hexadecimal digits");
    for (int i = 0; i < 4; i++) {
        char c = p->p[p->at];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return bad(p, "a hexadecimal digit");
        v = v << 4 | (uint32_t)digit;
        p->at++;
    }
    *out = v;
    return true;
}

static void add_utf8(qs_buf *b, uint32_t cp) {
    char c[4];
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; cp >>= 6) c[i] = (char)(0x80 | (cp & 0x3f));
    c[0] = (char)(n == 1 ? cp : (0xf00u >> n & 0xff) | cp);
    qs_buf_add(b, (qs_str){c, n});
}

/* After "\u": a code point, of which one beyond U+FFFF is written as two. */
static bool read_code_point(parser *p, qs_buf *b) {
    uint32_t hi, lo;
    if (!hex4(p, &hi)) return false;
    if (hi >= 0xdc00 && hi <= 0xdfff) return bad(p, "the first half of a surrogate pair");
    if (hi < 0xd800 || hi > 0xdbff) return add_utf8(b, hi), true;
    if (p->n - p->at < 2 || p->p[p->at] != '\\' || p->p[p->at + 1] != 'u')
        return bad(p, "the second half of a surrogate pair");
    p->at += 2;
    if (!hex4(p, &lo)) return false;
    if (lo < 0xdc00 || lo > 0xdfff) return bad(p, "the second half of a surrogate pair");
    add_utf8(b, 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00));
    return true;
}

static bool read_escape(parser *p, qs_buf *b) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = p->at < p->n ? p->p[p->at++] : '\0';
    if (c == 'u') return read_code_point(p, b);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found) return bad(p, "an escape sequence");
    qs_buf_addc(b, to[found - from]);
    return true;
}

/* The rest of a string, into the arena. */
static bool read_string(parser *p, qs_str *out) {
    qs_buf b = {0};
    bool ok = take(p, '"') || bad(p, "a string");
    while (ok) {
        if (p->at >= p->n) ok = bad(p, "the end of the string");
        if (!ok) break;
        unsigned char c = (unsigned char)p->p[p->at];
        uint32_t cp;
        size_t len = c < 0x80 ? 1 : qs_utf8_decode((qs_str){p->p + p->at, p->n - p->at}, &cp);
        if (c < 0x20) {
            ok = bad(p, "an escaped control character");
        } else if (len == 0) {
            ok = bad(p, "valid UTF-8");
        } else if (c == '\\') {
            p->at++;
            ok = read_escape(p, &b);
        } else {
            if (c != '"') qs_buf_add(&b, (qs_str){p->p + p->at, len});
            p->at += len;
            if (c == '"') break;
        }
    }
    if (ok) {
        *out = qs_arena_str(&p->s->arena, qs_buf_str(&b));
        ok = (!b.failed && out->p) || qs_nomem(p->err);
    }
    qs_buf_free(&b);
    return ok;
}

static bool read_uint(parser *p, uint64_t *out) {
    uint64_t v = 0;
    skip_space(p);
    size_t start = p->at;
    for (; p->at < p->n && p->p[p->at] >= '0' && p->p[p->at] <= '9'; p->at++)
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(p->p[p->at] - '0'), &v))
            return bad(p, "a smaller number");
    if (p->at == start || (p->at < p->n && p->p[p->at] && strchr(".eE", p->p[p->at])))
        return bad(p, "a whole number of 0 or more");
    *out = v;
    return true;
}

/* Past any value, of a field nobody knows. Only its brackets and strings are looked at. */
static bool skip_value(parser *p) {
    char open[MAX_DEPTH];
    size_t depth = 0;
    do {
        skip_space(p);
        if (p->at >= p->n) return bad(p, "a value");
        char c = p->p[p->at];
        qs_str ignored;
        if (c == '"') {
            if (!read_string(p, &ignored)) return false;
        } else if (c == '{' || c == '[') {
            if (depth == MAX_DEPTH) return bad(p, "less nesting");
            open[depth++] = c == '{' ? '}' : ']';
            p->at++;
        } else if (c == '}' || c == ']') {
            if (!depth || open[--depth] != c) return bad(p, "a value");
            p->at++;
        } else {
            if ((c == ',' || c == ':') && !depth) return bad(p, "a value");
            p->at++;
        }
    } while (depth || (p->at < p->n && !strchr(",}] \t\r\n", p->p[p->at])));
    return true;
}

/* Another member of an object or list? False at its end and on an error. */
static bool next_member(parser *p, bool first, char close) {
    if (take(p, close)) return false;
    if (first || take(p, ',')) return true;
    bad(p, close == '}' ? "a comma or the end of the object" : "a comma or the end of the list");
    return false;
}

/* ---- tensors ---- */

static bool fine(const parser *p) {
    return p->err->code == QS_OK;
}

static bool read_shape(parser *p, qs_st_tensor *t) {
    int64_t dim[256];
    uint32_t n = 0;
    if (!take(p, '[')) return bad(p, "a list of sizes");
    for (bool first = true; next_member(p, first, ']'); first = false) {
        uint64_t v;
        if (!read_uint(p, &v)) return false;
        if (v > INT64_MAX || n == p->ndim || n == 256) return bad(p, "a smaller or shorter shape");
        dim[n++] = (int64_t)v;
    }
    if (!fine(p)) return false;
    int64_t *copy = QS_ARENA_ARRAY(&p->s->arena, n ? n : 1, int64_t);
    if (!copy) return qs_nomem(p->err);
    if (n) memcpy(copy, dim, n * sizeof *dim);
    t->dim = copy;
    t->ndim = n;
    return true;
}

static bool read_offsets(parser *p, qs_st_tensor *t) {
    if (!take(p, '[')) return bad(p, "a list of two offsets");
    if (!read_uint(p, &t->begin)) return false;
    if (!take(p, ',')) return bad(p, "a comma");
    if (!read_uint(p, &t->end)) return false;
    if (!take(p, ']')) return bad(p, "the end of the list of two offsets");
    return t->begin <= t->end || bad(p, "a second offset that is not before the first");
}

static bool read_tensor(parser *p, qs_str name) {
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    qs_st_tensor t = {.name = name};
    unsigned seen = 0;
    if (!take(p, '{')) return bad(p, "an object that describes a tensor");
    for (bool first = true; next_member(p, first, '}'); first = false) {
        qs_str field;
        if (!read_string(p, &field)) return false;
        if (!take(p, ':')) return bad(p, "a colon");
        unsigned bit = qs_str_is(field, "dtype")          ? DTYPE
                       : qs_str_is(field, "shape")        ? SHAPE
                       : qs_str_is(field, "data_offsets") ? OFFSETS
                                                          : 0;
        if (seen & bit) return bad(p, "each field once");
        seen |= bit;
        bool ok = bit == DTYPE     ? read_string(p, &t.dtype)
                  : bit == SHAPE   ? read_shape(p, &t)
                  : bit == OFFSETS ? read_offsets(p, &t)
                                   : skip_value(p);
        if (!ok) return false;
    }
    if (!fine(p)) return false;
    if (seen != (DTYPE | SHAPE | OFFSETS)) return bad(p, "dtype, shape and data_offsets of the tensor");
    return qs_push(&p->s->tensors, t) || qs_nomem(p->err);
}

static bool read_metadata(parser *p) {
    if (!take(p, '{')) return bad(p, "an object of strings");
    for (bool first = true; next_member(p, first, '}'); first = false) {
        qs_st_pair x;
        if (!read_string(p, &x.key)) return false;
        if (!take(p, ':')) return bad(p, "a colon");
        if (!read_string(p, &x.value)) return false;
        if (qs_map_get(&p->keys, x.key) != QS_MAP_NONE) return bad(p, "each key of __metadata__ once");
        if (!qs_map_put(&p->keys, x.key, 0) || !qs_push(&p->s->metadata, x)) return qs_nomem(p->err);
    }
    return fine(p);
}

static bool read_header(parser *p) {
    if (p->n == 0 || p->p[0] != '{') return bad(p, "'{'");
    p->at = 1;
    for (bool first = true; next_member(p, first, '}'); first = false) {
        qs_str name;
        if (!read_string(p, &name)) return false;
        if (!take(p, ':')) return bad(p, "a colon");
        if (qs_map_get(&p->names, name) != QS_MAP_NONE)
            return bad(p, "each tensor name once (readers differ in which of two they take)");
        if (!qs_map_put(&p->names, name, 0)) return qs_nomem(p->err);
        if (!(qs_str_is(name, "__metadata__") ? read_metadata(p) : read_tensor(p, name))) return false;
    }
    skip_space(p);
    return fine(p) && (p->at == p->n || bad(p, "nothing more"));
}

/* ---- where the bytes are ---- */

static int by_begin(const void *x, const void *y) {
    const qs_st_tensor *a = *(qs_st_tensor *const *)x, *b = *(qs_st_tensor *const *)y;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static bool fail_tensor(const qs_st_tensor *t, qs_err *e, const char *what, uint64_t at) {
    char name[120];
    qs_str_printable(t->name, name, sizeof name);
    return qs_fail(e, QS_E_INPUT, "safetensors: the data of tensor %s %s %" PRIu64, name, what, at);
}

/* In the order of their offsets tensors follow each other without gap or overlap. */
static bool check_contiguous(const qs_safetensors *s, uint64_t data_size, qs_err *e) {
    size_t n = s->tensors.n;
    uint64_t at = 0;
    bool ok = true;
    qs_st_tensor **order = malloc((n ? n : 1) * sizeof *order);
    if (!order) return qs_nomem(e);
    for (size_t i = 0; i < n; i++) order[i] = &s->tensors.v[i];
    qsort(order, n, sizeof *order, by_begin);
    for (size_t i = 0; i < n && ok; i++) {
        if (order[i]->begin != at)
            ok = fail_tensor(order[i], e, "does not begin where the one before ends, at", at);
        else if (order[i]->end > data_size)
            ok = fail_tensor(order[i], e,
                             "goes beyond the end of the file; is it cut short? Bytes there:", data_size);
        at = order[i]->end;
    }
    free(order);
    if (ok && at != data_size)
        return qs_fail(e, QS_E_INPUT,
                       "safetensors: %" PRIu64 " bytes of data are described, the file has %" PRIu64, at,
                       data_size);
    return ok;
}

bool qs_safetensors_parse(const char *json, size_t n, uint64_t data_size, const qs_limits *limits,
                          qs_safetensors **out, qs_err *e) {
    qs_err own = QS_ERR_INIT;
    parser p = {.p = json, .n = n, .ndim = (uint32_t)limits->ndim, .err = &own};
    p.s = calloc(1, sizeof *p.s);
    bool ok = p.s ? read_header(&p) && check_contiguous(p.s, data_size, &own) : qs_nomem(&own);
    qs_map_free(&p.names);
    qs_map_free(&p.keys);
    if (ok) {
        p.s->data = LENGTH + n;
        *out = p.s;
        return true;
    }
    qs_safetensors_free(p.s);
    if (e->code == QS_OK) *e = own;
    return false;
}

bool qs_safetensors_read(const qs_file *f, const qs_limits *limits, qs_safetensors **out, qs_err *e) {
    unsigned char raw[LENGTH];
    uint64_t n = 0, size = qs_file_size(f);
    if (size < LENGTH) return qs_fail(e, QS_E_INPUT, "%s: too short for safetensors", qs_file_path(f));
    if (!qs_file_read(f, 0, raw, LENGTH, e)) return false;
    for (int i = LENGTH; i-- > 0;) n = n << 8 | raw[i];
    if (n > MOST_HEADER || n > size - LENGTH)
        return qs_fail(e, QS_E_INPUT,
                       "%s: a safetensors header of %" PRIu64 " bytes does not fit; is the file cut short?",
                       qs_file_path(f), n);
    if (n > limits->header_bytes) return qs_over_limit(e, limits, QS_LIMIT_HEADER_BYTES, qs_file_path(f), n);
    char *json = malloc((size_t)n + 1);
    if (!json) return qs_nomem(e);
    bool ok = qs_file_read(f, LENGTH, json, (size_t)n, e) &&
              qs_safetensors_parse(json, (size_t)n, size - LENGTH - n, limits, out, e);
    free(json);
    return ok;
}

void qs_safetensors_free(qs_safetensors *s) {
    if (!s) return;
    qs_vec_free(&s->tensors);
    qs_vec_free(&s->metadata);
    qs_arena_free(&s->arena);
    free(s);
}

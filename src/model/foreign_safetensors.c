/* A safetensors file as the state dict it was made from: an OrderedDict of tensors, each with a storage of
 * its own that is a range of the file. `__metadata__` becomes an attribute of the dict, as torch keeps
 * `_metadata`. */
#include "format/parts.h"
#include "format/pickle_emit.h"
#include "format/safetensors.h"
#include "model/dtype.h"
#include "model/foreign.h"
#include "model/foreign_emit.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct builder {
    const qs_safetensors *s;
    qs_parts *parts;
    qs_emit *emit;
    qs_buf pickle;
    qs_err *err;
} builder;

static qs_dtype dtype_of(qs_str name) {
    for (int t = QS_DTYPE_UNKNOWN + 1; t < QS_DTYPE_COUNT; t++) {
        const char *known = qs_dtype_get((qs_dtype)t)->safetensors;
        if (known[0] && qs_str_is(name, known)) return (qs_dtype)t;
    }
    return QS_DTYPE_UNKNOWN;
}

/* Bits of an element of the format's types that torch has not. */
static uint64_t foreign_bits(qs_str dtype) {
    if (qs_str_is(dtype, "F6_E2M3") || qs_str_is(dtype, "F6_E3M2")) return 6;
    return 0;
}

static bool fail(const builder *b, const qs_st_tensor *t, const char *what) {
    char name[120], dtype[40];
    qs_str_printable(t->name, name, sizeof name);
    qs_str_printable(t->dtype, dtype, sizeof dtype);
    return qs_fail(b->err, QS_E_INPUT, "safetensors: tensor %s of type %s %s", name, dtype, what);
}

/* Bytes must be elements times size; F4 packs two elements into what torch counts as one. */
static bool check_size(const builder *b, const qs_st_tensor *t, qs_dtype dtype) {
    uint64_t numel = 1, bits = foreign_bits(t->dtype);
    if (dtype) bits = dtype == QS_FLOAT4_E2M1FN_X2 ? 4 : 8 * (uint64_t)qs_dtype_get(dtype)->size;
    if (!bits) return fail(b, t, "is of a type nobody knows");
    if (dtype == QS_FLOAT4_E2M1FN_X2 && (t->ndim == 0 || t->dim[t->ndim - 1] % 2))
        return fail(b, t, "needs an even last dimension");
    for (uint32_t i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(numel, (uint64_t)t->dim[i], &numel))
            return fail(b, t, "has an impossible shape");
    if (__builtin_mul_overflow(numel, bits, &bits)) return fail(b, t, "has an impossible shape");
    if (bits % 8 == 0 && bits / 8 == t->end - t->begin) return true;
    return fail(b, t, "has a shape that does not fit the bytes it is given");
}

/* ---- the pickle ---- */

static bool emit_tensor(const builder *b, const qs_st_tensor *t, qs_dtype dtype, const char *key) {
    int64_t dim[256], stride[256];
    memcpy(dim, t->dim, t->ndim * sizeof *dim);
    if (dtype == QS_FLOAT4_E2M1FN_X2 && t->ndim) dim[t->ndim - 1] /= 2;
    qs_contiguous_strides(t->ndim, dim, stride);
    qs_plain_tensor plain = {.dtype = dtype,
                             .dtype_name = t->dtype,
                             .ndim = t->ndim,
                             .dim = dim,
                             .stride = stride,
                             .storage_bytes = t->end - t->begin,
                             .key = key};
    return qs_emit_plain_tensor(b->emit, &plain, b->err);
}

static bool add_tensor(const builder *b, size_t i) {
    const qs_st_tensor *t = &b->s->tensors.v[i];
    qs_dtype dtype = dtype_of(t->dtype);
    char name[40];
    snprintf(name, sizeof name, "data/%zu", i);
    return check_size(b, t, dtype) && qs_emit_str(b->emit, t->name, b->err) &&
           emit_tensor(b, t, dtype, name + strlen("data/")) && qs_emit_code(b->emit, QS_OP_SETITEM, b->err) &&
           qs_parts_add_range(b->parts, qs_str_of(name), b->s->data + t->begin, t->end - t->begin, b->err);
}

/* {"__metadata__": {...}} as the state of the dict */
static bool emit_metadata(const builder *b) {
    qs_emit *m = b->emit;
    qs_err *e = b->err;
    if (b->s->metadata.n == 0) return true;
    if (!qs_emit_code(m, QS_OP_EMPTY_DICT, e) || !qs_emit_str(m, QS_STR("__metadata__"), e) ||
        !qs_emit_code(m, QS_OP_EMPTY_DICT, e))
        return false;
    for (size_t i = 0; i < b->s->metadata.n; i++) {
        const qs_st_pair *x = &b->s->metadata.v[i];
        if (!qs_emit_str(m, x->key, e) || !qs_emit_str(m, x->value, e) || !qs_emit_code(m, QS_OP_SETITEM, e))
            return false;
    }
    return qs_emit_code(m, QS_OP_SETITEM, e) && qs_emit_code(m, QS_OP_BUILD, e);
}

static bool build(builder *b) {
    b->emit = qs_emit_new(qs_emit_to_buf, &b->pickle);
    b->parts = qs_parts_new();
    if (!b->emit || !b->parts) return qs_nomem(b->err);
    if (!qs_emit_begin(b->emit, b->err) || !qs_emit_empty_ordered_dict(b->emit, b->err)) return false;
    for (size_t i = 0; i < b->s->tensors.n; i++)
        if (!add_tensor(b, i)) return false;
    return emit_metadata(b) && qs_emit_end(b->emit, b->err) &&
           qs_parts_add_bytes(b->parts, QS_STR("data.pkl"), qs_buf_str(&b->pickle), b->err);
}

bool qs_safetensors_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e) {
    qs_safetensors *s = NULL;
    builder b = {.err = e};
    bool ok = qs_safetensors_read(f, limits, &s, e);
    b.s = s;
    ok = ok && build(&b);
    qs_emit_free(b.emit);
    qs_buf_free(&b.pickle);
    qs_safetensors_free(s);
    if (ok) return qs_container_of_parts(f, QS_FILE_SAFETENSORS, b.parts, out, e);
    qs_parts_free(b.parts);
    qs_file_close(f);
    return false;
}

/* Values of tensors. A contiguous tensor is one read; a strided one is gathered through a window over its
 * storage, so that neither many tiny reads nor a copy of the storage is needed. */
#include "model/checkpoint_internal.h"

#include <stdlib.h>

enum {
    WINDOW = 256 << 10, /* bytes of storage held at once */
    BATCH = 64 << 10,   /* elements gathered at once: bounds rows times windows */
    SEEK = 4 << 10,     /* what one more read costs, in bytes swept instead */
    CHUNK = 4096,       /* elements converted at once when they shrink */
    MAX_ITEM = 16       /* bytes of the widest element */
};

static void turn(char *p, size_t n, size_t unit) {
    for (; n >= unit; p += unit, n -= unit) {
        for (size_t i = 0; i < unit / 2; i++) {
            char was = p[i];
            p[i] = p[unit - 1 - i];
            p[unit - 1 - i] = was;
        }
    }
}

/* Numbers of `unit` bytes each, the last byte first; any part of one can be asked for. */
static bool read_turned(const qs_checkpoint *c, uint32_t record, size_t unit, uint64_t offset, char *out,
                        size_t n, qs_err *e) {
    while (n) {
        char one[MAX_ITEM];
        size_t skip = offset % unit, did = n - n % unit;
        if (skip == 0 && did) {
            if (!qs_record_read(c->container, record, offset, out, did, e)) return false;
            turn(out, did, unit);
        } else {
            did = unit - skip < n ? unit - skip : n;
            if (!qs_record_read(c->container, record, offset - skip, one, unit, e)) return false;
            turn(one, unit, unit);
            memcpy(out, one + skip, did);
        }
        offset += did;
        out += did;
        n -= did;
    }
    return true;
}

/* Bytes of a number in a storage that is to be turned, as torch does by the storage's type alone; else 1. */
static size_t turned_unit(const qs_checkpoint *c, const qs_storage *s) {
    const qs_dtype_info *d = qs_dtype_get(s->dtype);
    if (!c->big_endian || s->dtype == QS_DTYPE_UNKNOWN) return 1;
    return d->kind == 'C' ? d->size / 2 : d->size;
}

bool qs_storage_read(const qs_checkpoint *c, uint32_t storage, uint64_t offset, void *out, size_t n,
                     qs_err *e) {
    const qs_storage *s = &c->storages.v[storage];
    if (s->record == QS_NONE) {
        char key[64];
        qs_str_printable(qs_storage_key(c, s), key, sizeof key);
        return qs_fail(e, QS_E_INPUT, "the file has no record data/%s", key);
    }
    size_t unit = turned_unit(c, s);
    if (unit > 1) return read_turned(c, s->record, unit, offset, out, n, e);
    return qs_record_read(c->container, s->record, offset, out, n, e);
}

/* ---- strided layouts ---- */

/* The tensor's dimensions with those of size 1 left out and those that lie in one stride merged. */
typedef struct layout {
    uint32_t ndim;
    uint64_t dim[64], stride[64];
} layout;

static void normalise(const qs_tensor *t, layout *l) {
    l->ndim = 0;
    for (uint32_t i = 0; i < t->shape.ndim && i < 64; i++) {
        uint64_t dim = (uint64_t)t->shape.dim[i], stride = (uint64_t)t->stride[i], whole;
        if (dim == 1) continue;
        uint32_t k = l->ndim;
        if (k && !__builtin_mul_overflow(stride, dim, &whole) && l->stride[k - 1] == whole) {
            l->dim[k - 1] *= dim; /* numel fits, so this does */
            l->stride[k - 1] = stride;
            continue;
        }
        l->dim[k] = dim;
        l->stride[k] = stride;
        l->ndim++;
    }
    if (l->ndim == 0) *l = (layout){.ndim = 1, .dim = {1}, .stride = {1}};
}

/* A run of logical elements in one row: they start at element `at` of the storage, `stride` apart. */
typedef struct run {
    uint64_t at, stride, n;
} run;

/* The run that starts at logical element `index`, at most `most` elements. */
static run run_at(const layout *l, uint64_t offset, uint64_t index, uint64_t most) {
    uint32_t last = l->ndim - 1;
    uint64_t in_row = index % l->dim[last], left = l->dim[last] - in_row;
    run r = {offset + in_row * l->stride[last], l->stride[last], left < most ? left : most};
    index /= l->dim[last];
    for (uint32_t i = last; i-- > 0;) {
        r.at += index % l->dim[i] * l->stride[i];
        index /= l->dim[i];
    }
    return r;
}

typedef struct gather {
    const qs_checkpoint *c;
    const qs_tensor *t;
    layout l;
    size_t size; /* of an element */
    char *window;
    uint64_t from, to; /* elements of the storage in the window */
} gather;

static bool load_window(gather *g, uint64_t from, uint64_t last, qs_err *e) {
    uint64_t n = WINDOW / g->size;
    if (n > last - from + 1) n = last - from + 1;
    g->from = from;
    g->to = from + n;
    return qs_storage_read(g->c, g->t->storage, from * g->size, g->window, (size_t)n * g->size, e);
}

/* Copy those elements of the run that are in the window. */
static void copy_run(const gather *g, const run *r, char *out) {
    uint64_t i = 0, end = r->n;
    if (r->stride == 0) {
        if (r->at < g->from || r->at >= g->to) return;
    } else {
        if (r->at < g->from) i = (g->from - r->at + r->stride - 1) / r->stride;
        if (r->at >= g->to) return;
        uint64_t inside = (g->to - r->at + r->stride - 1) / r->stride;
        if (inside < end) end = inside;
    }
    if (i >= end) return;
    const char *p = g->window + (r->at + i * r->stride - g->from) * g->size;
    if (r->stride == 1) {
        memcpy(out + i * g->size, p, (size_t)(end - i) * g->size);
        return;
    }
    for (; i < end; i++, p += r->stride * g->size) memcpy(out + i * g->size, p, g->size);
}

static void copy_all_runs(const gather *g, uint64_t first, size_t n, char *out) {
    for (size_t done = 0; done < n;) {
        run r = run_at(&g->l, g->t->offset, first + done, n - done);
        copy_run(g, &r, out + done * g->size);
        done += (size_t)r.n;
    }
}

/* The part of the storage that the elements lie in, and how many runs they are. */
static uint64_t span(const gather *g, uint64_t first, size_t n, uint64_t *lo, uint64_t *hi) {
    uint64_t runs = 0;
    *lo = UINT64_MAX;
    *hi = 0;
    for (size_t done = 0; done < n; runs++) {
        run r = run_at(&g->l, g->t->offset, first + done, n - done);
        uint64_t last = r.at + (r.n - 1) * r.stride;
        if (r.at < *lo) *lo = r.at;
        if (last > *hi) *hi = last;
        if (r.stride > 1) runs += r.n; /* each element would be a read of its own */
        done += (size_t)r.n;
    }
    return runs;
}

static bool read_run(gather *g, const run *r, char *out, qs_err *e) {
    if (r->stride == 1)
        return qs_storage_read(g->c, g->t->storage, r->at * g->size, out, (size_t)r->n * g->size, e);
    for (uint64_t i = 0; i < r->n; i++) {
        char *to = out + i * g->size;
        if (i && r->stride == 0)
            memcpy(to, out, g->size);
        else if (!qs_storage_read(g->c, g->t->storage, (r->at + i * r->stride) * g->size, to, g->size, e))
            return false;
    }
    return true;
}

static bool read_runs(gather *g, uint64_t first, size_t n, char *out, qs_err *e) {
    for (size_t done = 0; done < n;) {
        run r = run_at(&g->l, g->t->offset, first + done, n - done);
        if (!read_run(g, &r, out + done * g->size, e)) return false;
        done += (size_t)r.n;
    }
    return true;
}

static bool gather_batch(gather *g, uint64_t first, size_t n, char *out, qs_err *e) {
    uint64_t lo, hi, runs = span(g, first, n, &lo, &hi);
    if (runs <= 1 || runs < (hi - lo) / SEEK * g->size) return read_runs(g, first, n, out, e);
    for (uint64_t from = lo; from <= hi; from = g->to) {
        if (!load_window(g, from, hi, e)) return false;
        copy_all_runs(g, first, n, out);
    }
    return true;
}

static bool read_strided(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, char *out,
                         qs_err *e) {
    gather g = {.c = c, .t = t, .size = qs_dtype_get(t->dtype)->size, .window = malloc(WINDOW)};
    if (!g.window) return qs_nomem(e);
    normalise(t, &g.l);
    bool ok = true;
    for (size_t done = 0; ok && done < n;) {
        size_t k = n - done < BATCH ? n - done : BATCH;
        ok = gather_batch(&g, first + done, k, out + done * g.size, e);
        done += k;
    }
    free(g.window);
    return ok;
}

/* ---- lazy conjugation and negation ---- */

/* Flip the sign bit of every `every`-th part of `width` bytes, from the first'th on. */
static void flip_signs(char *p, size_t parts, size_t width, size_t first, size_t every) {
    for (size_t i = first; i < parts; i += every) p[(i + 1) * width - 1] ^= (char)0x80;
}

static void apply_bits(const qs_tensor *t, size_t n, char *out) {
    const qs_dtype_info *d = qs_dtype_get(t->dtype);
    bool complex = d->kind == 'C';
    if (!complex && d->kind != 'F') return;
    size_t width = complex ? d->size / 2u : d->size, parts = complex ? 2 * n : n;
    if (t->flags & QS_TENSOR_NEG) flip_signs(out, parts, width, 0, 1);
    if (complex && (t->flags & QS_TENSOR_CONJ)) flip_signs(out, parts, width, 1, 2);
}

/* ---- reading ---- */

static bool readable(const qs_tensor *t, uint64_t first, size_t n, qs_err *e) {
    static const char *const no_values[] = {
        [QS_TENSOR_SPARSE] = "a sparse tensor's values are not read",
        [QS_TENSOR_META] = "a meta tensor has no values",
        [QS_TENSOR_OPAQUE] = "the values of a tensor subclass are not read",
    };
    if (t->bad) return qs_fail(e, QS_E_INPUT, "the tensor is broken: %s", t->bad);
    if (t->storage == QS_NONE) {
        const char *why = (size_t)t->kind < sizeof no_values / sizeof *no_values ? no_values[t->kind] : NULL;
        return qs_fail(e, QS_E_UNSUPPORTED, "%s", why ? why : "the tensor has no values in this file");
    }
    if (t->dtype == QS_QUINT4X2 || t->dtype == QS_QUINT2X4)
        return qs_fail(e, QS_E_UNSUPPORTED, "elements of %s are not read", qs_dtype_get(t->dtype)->name);
    uint64_t numel = qs_shape_numel(t->shape);
    if (first <= numel && n <= numel - first) return true;
    return qs_fail(e, QS_E_USAGE, "elements %llu to %llu of a tensor of %llu", (unsigned long long)first,
                   (unsigned long long)first + n, (unsigned long long)numel);
}

bool qs_tensor_read(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, void *out,
                    qs_err *e) {
    if (!readable(t, first, n, e)) return false;
    if (n == 0) return true;
    size_t size = qs_dtype_get(t->dtype)->size;
    bool ok = qs_tensor_is_contiguous(t)
                  ? qs_storage_read(c, t->storage, (t->offset + first) * size, out, n * size, e)
                  : read_strided(c, t, first, n, out, e);
    if (ok && (t->flags & (QS_TENSOR_CONJ | QS_TENSOR_NEG))) apply_bits(t, n, out);
    return ok;
}

/* ---- dequantization: aten/src/ATen/native/quantized/AffineQuantizerBase.cpp ----
 * q - zero_point in float32, times the scale: of a tensor rounded to float32 (since torch 1.8), of channels
 * in double. */

enum { CHANNELS = 256 }; /* scales read at once */

typedef struct channels {
    const qs_checkpoint *c;
    const qs_tensor *t, *scales, *zero_points;
    uint64_t inner; /* elements from one channel to the next */
    uint64_t first; /* channel of scale[0] */
    size_t n;       /* loaded */
    double scale[CHANNELS], zero[CHANNELS];
} channels;

static bool channels_open(channels *ch, const qs_checkpoint *c, const qs_tensor *t, qs_err *e) {
    *ch = (channels){.c = c, .t = t, .inner = 1};
    ch->scales = qs_checkpoint_tensor_of_node(c, t->q->scales);
    ch->zero_points = qs_checkpoint_tensor_of_node(c, t->q->zero_points);
    uint64_t dim = (uint64_t)t->shape.dim[t->q->axis];
    for (uint32_t i = (uint32_t)t->q->axis + 1; i < t->shape.ndim; i++)
        ch->inner *= (uint64_t)t->shape.dim[i];
    if (ch->scales && ch->zero_points && qs_shape_numel(ch->scales->shape) == dim &&
        qs_shape_numel(ch->zero_points->shape) == dim)
        return true;
    return qs_fail(e, QS_E_UNSUPPORTED, "the channel scales of this tensor are not tensors of %llu elements",
                   (unsigned long long)dim);
}

static bool channels_load(channels *ch, uint64_t channel, qs_err *e) {
    if (channel >= ch->first && channel < ch->first + ch->n) return true;
    uint64_t left = (uint64_t)ch->t->shape.dim[ch->t->q->axis] - channel;
    ch->first = channel;
    ch->n = left < CHANNELS ? (size_t)left : CHANNELS;
    return qs_tensor_read_doubles(ch->c, ch->scales, channel, ch->n, ch->scale, e) &&
           qs_tensor_read_doubles(ch->c, ch->zero_points, channel, ch->n, ch->zero, e);
}

static void dequantize(float *v, size_t n, double scale, double zero) {
    float z = (float)zero;
    for (size_t i = 0; i < n; i++) v[i] = (float)((v[i] - z) * scale);
}

/* Integers are exact as floats up to 2^24; qint32 beyond that loses what torch loses too. */
static bool dequantize_channels(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n,
                                float *v, qs_err *e) {
    channels ch;
    if (!channels_open(&ch, c, t, e)) return false;
    uint64_t dim = (uint64_t)t->shape.dim[t->q->axis];
    for (size_t done = 0; done < n;) {
        uint64_t at = first + done, channel = at / ch.inner % dim, left = ch.inner - at % ch.inner;
        size_t k = left < n - done ? (size_t)left : n - done;
        if (!channels_load(&ch, channel, e)) return false;
        dequantize(v + done, k, ch.scale[channel - ch.first], ch.zero[channel - ch.first]);
        done += k;
    }
    return true;
}

/* ---- as float32 and float64 ----
 * Where an element is no wider than the number it becomes, the raw bytes are read into the end of the output
 * and converted from front to back in place: the i-th number never reaches the (i+1)-th element. */

static bool read_wide_floats(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, float *out,
                             qs_err *e) {
    char raw[CHUNK * MAX_ITEM];
    for (size_t done = 0; done < n;) {
        size_t k = n - done < CHUNK ? n - done : CHUNK;
        if (!qs_tensor_read(c, t, first + done, k, raw, e)) return false;
        qs_to_floats(t->dtype, raw, k, out + done);
        done += k;
    }
    return true;
}

bool qs_tensor_read_floats(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, float *out,
                           qs_err *e) {
    if (t->dtype == QS_FLOAT32) return qs_tensor_read(c, t, first, n, out, e);
    if (!readable(t, first, n, e)) return false;
    if (n == 0) return true;
    size_t size = qs_dtype_get(t->dtype)->size;
    if (size > sizeof *out) return read_wide_floats(c, t, first, n, out, e);
    char *raw = (char *)(out + n) - n * size;
    if (!qs_tensor_read(c, t, first, n, raw, e)) return false;
    qs_to_floats(t->dtype, raw, n, out);
    if (t->kind != QS_TENSOR_QUANTIZED) return true;
    if (t->q->per_channel) return dequantize_channels(c, t, first, n, out, e);
    dequantize(out, n, (float)t->q->scale, (double)t->q->zero_point);
    return true;
}

static bool read_wide_doubles(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n,
                              double *out, qs_err *e) {
    char raw[CHUNK * MAX_ITEM];
    for (size_t done = 0; done < n;) {
        size_t k = n - done < CHUNK ? n - done : CHUNK;
        if (!qs_tensor_read(c, t, first + done, k, raw, e)) return false;
        qs_to_doubles(t->dtype, raw, k, out + done);
        done += k;
    }
    return true;
}

bool qs_tensor_read_doubles(const qs_checkpoint *c, const qs_tensor *t, uint64_t first, size_t n, double *out,
                            qs_err *e) {
    if (t->dtype == QS_FLOAT64) return qs_tensor_read(c, t, first, n, out, e);
    if (!readable(t, first, n, e)) return false;
    if (n == 0) return true;
    if (t->kind == QS_TENSOR_QUANTIZED) {
        float *v = (float *)(out + n) - n;
        if (!qs_tensor_read_floats(c, t, first, n, v, e)) return false;
        qs_to_doubles(QS_FLOAT32, v, n, out);
        return true;
    }
    size_t size = qs_dtype_get(t->dtype)->size;
    if (size > sizeof *out) return read_wide_doubles(c, t, first, n, out, e);
    char *raw = (char *)(out + n) - n * size;
    if (!qs_tensor_read(c, t, first, n, raw, e)) return false;
    qs_to_doubles(t->dtype, raw, n, out);
    return true;
}

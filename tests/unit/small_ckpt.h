/* Small checkpoints for tests, written with the project's own pickle and zip writers: a state dict "model"
 * with values from a counter, and `_metadata` where versions are given. */
#ifndef TESTS_SMALL_CKPT_H
#define TESTS_SMALL_CKPT_H

#include "format/pickle_emit.h"
#include "format/zip_write.h"
#include "model/checkpoint.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct small_entry {
    const char *key;
    qs_dtype dtype;
    uint32_t ndim;
    int64_t dim[4];
} small_entry;

#define F32(key, ...)                                                                                        \
    {                                                                                                        \
        key, QS_FLOAT32, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {                               \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }
#define SCALAR(key, dtype)                                                                                   \
    {                                                                                                        \
        key, QS_##dtype, 0, {                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }
/* The five tensors of BatchNorm `p` over c channels. */
#define BN(p, c)                                                                                             \
    F32(p ".weight", c), F32(p ".bias", c), F32(p ".running_mean", c), F32(p ".running_var", c),             \
        SCALAR(p ".num_batches_tracked", INT64)
/* The seven of a per-tensor FakeQuantize. */
#define FQ(p)                                                                                                \
    {p ".fake_quant_enabled", QS_UINT8, 1, {1}}, {p ".observer_enabled", QS_UINT8, 1, {1}},                  \
        {p ".scale", QS_FLOAT32, 1, {1}}, {p ".zero_point", QS_INT32, 1, {1}},                               \
        {p ".activation_post_process.eps", QS_FLOAT32, 1, {1}},                                              \
        SCALAR(p ".activation_post_process.min_val", FLOAT32),                                               \
        SCALAR(p ".activation_post_process.max_val", FLOAT32)

typedef struct small_version {
    const char *prefix;
    int version;
} small_version;

static inline uint64_t small_numel(const small_entry *x) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < x->ndim; i++) n *= (uint64_t)x->dim[i];
    return n;
}

/* Bytes of a storage: small positive floats, or small integers; a pure function of the key and the offset. */
static inline bool small_bytes(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    const small_entry *x = ctx;
    unsigned char *out = buf;
    size_t size = qs_dtype_get(x->dtype)->size;
    uint64_t seed = 0;
    for (const char *p = x->key; *p; p++) seed = seed * 131 + (unsigned char)*p;
    for (size_t i = 0; i < n; i++) {
        uint64_t element = (offset + i) / size;
        unsigned char cell[8] = {0};
        float f = (float)((seed + element * 7919) % 1000) / 500.0f + 0.01f;
        if (qs_dtype_is_float(x->dtype) && size == 4)
            memcpy(cell, &f, 4);
        else
            cell[0] = (unsigned char)((seed + element) % 50);
        out[i] = cell[(offset + i) % size];
    }
    return true;
}

static inline bool small_tuple(qs_emit *m, const int64_t *v, uint32_t n, qs_err *e) {
    bool ok = qs_emit_code(m, QS_OP_MARK, e);
    for (uint32_t i = 0; i < n; i++) ok = ok && qs_emit_int(m, v[i], e);
    return ok && qs_emit_code(m, QS_OP_TUPLE, e);
}

static inline bool small_ordered_dict(qs_emit *m, qs_err *e) {
    return qs_emit_global(m, QS_STR("collections"), QS_STR("OrderedDict"), e) &&
           qs_emit_code(m, QS_OP_EMPTY_TUPLE, e) && qs_emit_code(m, QS_OP_REDUCE, e);
}

static inline bool small_tensor(qs_emit *m, const small_entry *x, size_t index, qs_err *e) {
    char name[24];
    int64_t stride[4], step = 1;
    snprintf(name, sizeof name, "%zu", index);
    for (uint32_t i = x->ndim; i > 0; i--) {
        stride[i - 1] = step;
        step *= x->dim[i - 1];
    }
    return qs_emit_global(m, QS_STR("torch._utils"), QS_STR("_rebuild_tensor_v2"), e) &&
           qs_emit_code(m, QS_OP_MARK, e) && qs_emit_code(m, QS_OP_MARK, e) &&
           qs_emit_str(m, QS_STR("storage"), e) &&
           qs_emit_global(m, QS_STR("torch"), qs_str_of(qs_dtype_get(x->dtype)->storage), e) &&
           qs_emit_str(m, qs_str_of(name), e) && qs_emit_str(m, QS_STR("cpu"), e) &&
           qs_emit_int(m, (int64_t)small_numel(x), e) && qs_emit_code(m, QS_OP_TUPLE, e) &&
           qs_emit_code(m, QS_OP_BINPERSID, e) && qs_emit_int(m, 0, e) &&
           small_tuple(m, x->dim, x->ndim, e) && small_tuple(m, stride, x->ndim, e) &&
           qs_emit_bool(m, false, e) && small_ordered_dict(m, e) && qs_emit_code(m, QS_OP_TUPLE, e) &&
           qs_emit_code(m, QS_OP_REDUCE, e);
}

static inline bool small_metadata(qs_emit *m, const small_version *v, size_t n, qs_err *e) {
    bool ok = qs_emit_code(m, QS_OP_EMPTY_DICT, e) && qs_emit_str(m, QS_STR("_metadata"), e) &&
              small_ordered_dict(m, e) && qs_emit_code(m, QS_OP_MARK, e);
    for (size_t i = 0; ok && i < n; i++)
        ok = qs_emit_str(m, qs_str_of(v[i].prefix), e) && qs_emit_code(m, QS_OP_EMPTY_DICT, e) &&
             qs_emit_str(m, QS_STR("version"), e) && qs_emit_int(m, v[i].version, e) &&
             qs_emit_code(m, QS_OP_SETITEM, e);
    return ok && qs_emit_code(m, QS_OP_SETITEMS, e) && qs_emit_code(m, QS_OP_SETITEM, e) &&
           qs_emit_code(m, QS_OP_BUILD, e);
}

static inline bool small_sink(void *ctx, const void *data, size_t n, qs_err *e) {
    qs_buf_add(ctx, (qs_str){data, n});
    return !((qs_buf *)ctx)->failed || qs_nomem(e);
}

static inline bool small_pickle(qs_buf *out, const small_entry *x, size_t n, const small_version *v,
                                size_t versions, qs_err *e) {
    qs_emit *m = qs_emit_new(small_sink, out);
    bool ok = m && qs_emit_begin(m, e) && qs_emit_code(m, QS_OP_EMPTY_DICT, e) &&
              qs_emit_str(m, QS_STR("model"), e) && small_ordered_dict(m, e) &&
              qs_emit_code(m, QS_OP_MARK, e);
    for (size_t i = 0; ok && i < n; i++)
        ok = qs_emit_str(m, qs_str_of(x[i].key), e) && small_tensor(m, &x[i], i, e);
    ok = ok && qs_emit_code(m, QS_OP_SETITEMS, e);
    if (versions) ok = ok && small_metadata(m, v, versions, e);
    ok = ok && qs_emit_code(m, QS_OP_SETITEM, e) && qs_emit_end(m, e);
    qs_emit_free(m);
    return ok;
}

static inline bool small_memory(void *ctx, uint64_t offset, void *buf, size_t n, qs_err *e) {
    (void)e;
    memcpy(buf, (const char *)ctx + offset, n);
    return true;
}

/* Writes the checkpoint to path. */
static inline bool small_write(const char *path, const small_entry *x, size_t n, const small_version *v,
                               size_t versions, qs_err *e) {
    qs_buf pickle = {0};
    qs_zip_out *z = NULL;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    bool ok = fd >= 0 && small_pickle(&pickle, x, n, v, versions, e) &&
              qs_zip_out_open(fd, QS_STR("archive"), &z, e) &&
              qs_zip_out_add(z, QS_STR("data.pkl"), pickle.n, small_memory, pickle.p, e);
    for (size_t i = 0; ok && i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "data/%zu", i);
        uint64_t bytes = small_numel(&x[i]) * qs_dtype_get(x[i].dtype)->size;
        ok = qs_zip_out_add(z, qs_str_of(name), bytes, small_bytes, (void *)(uintptr_t)&x[i], e);
    }
    ok =
        ok && qs_zip_out_add(z, QS_STR("version"), 2, small_memory, (char[]){"3\n"}, e) && qs_zip_out_close(z, NULL, e);
    if (fd >= 0) close(fd);
    qs_buf_free(&pickle);
    return ok;
}

/* Written to a temporary file and opened; NULL (with the reason on stderr) if that fails. */
static inline qs_checkpoint *small_open(const small_entry *x, size_t n, const small_version *v,
                                        size_t versions) {
    char path[] = "/tmp/qs-small-XXXXXX";
    qs_err e = QS_ERR_INIT;
    qs_checkpoint *c = NULL;
    int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    if (!small_write(path, x, n, v, versions, &e) || !qs_checkpoint_open(path, NULL, &c, &e))
        fprintf(stderr, "small_open: %s\n", e.msg);
    unlink(path);
    return c;
}
#define SMALL_OPEN(entries) small_open((entries), sizeof(entries) / sizeof *(entries), NULL, 0)
#define SMALL_OPEN_VERSIONS(entries, vers)                                                                   \
    small_open((entries), sizeof(entries) / sizeof *(entries), (vers), sizeof(vers) / sizeof *(vers))

#endif

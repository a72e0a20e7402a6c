/* Manifests: parse, print, parse again: the two must print alike. What was read is also loaded into itself
 * and into a stranger by the simulator, which must take any tree and any keys. */
#include "repair/strict.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const qs_limits limits = {.json_bytes = 1 << 20, .ndim = 64, .depth = 100};

static qs_manifest *parse(const char *p, size_t n) {
    qs_manifest *m = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_manifest_parse(p, n, "fuzz", &limits, &m, &e) && (e.code == QS_OK || !e.msg[0])) abort();
    return m;
}

/* The manifest's own entries as a state dict, without the first `skip` bytes of each key. */
typedef struct view {
    const qs_manifest *m;
    size_t skip;
} view;

static void entry(const void *ctx, uint32_t i, qs_str *key, qs_shape *shape, qs_dtype *dtype,
                  const char **type) {
    const view *v = ctx;
    const qs_expected *x = qs_manifest_entry(v->m, i);
    *key = qs_str_sub(x->key, v->skip, x->key.n);
    *shape = x->shape;
    *dtype = x->dtype;
    *type = x->shape_known || v->skip ? NULL : "list";
}

static uint32_t find(const void *ctx, qs_str key) {
    const view *v = ctx;
    for (uint32_t i = 0; i < qs_manifest_count(v->m); i++) {
        qs_str own = qs_manifest_entry(v->m, i)->key;
        if (qs_str_eq(qs_str_sub(own, v->skip, own.n), key)) return i;
    }
    return UINT32_MAX;
}

static int64_t version(const void *ctx, qs_str prefix) {
    (void)ctx;
    return (int64_t)(prefix.n % 5) - 1;
}

static void load(const qs_manifest *m, size_t skip, int torch) {
    view v = {m, skip};
    qs_strict_source src = {qs_manifest_count(m), entry, find, version, &v};
    qs_strict_options opt = {.torch_minor = torch, .strict = true, .assign = skip == 2};
    qs_verdict *verdict = NULL;
    qs_err e = QS_ERR_INIT;
    qs_buf b = {0};
    if (!qs_strict_run(m, &src, &opt, &verdict, &e)) abort();
    if (!qs_verdict_message(verdict, &b) || !qs_verdict_result(verdict, &b) || b.n == 0) abort();
    qs_buf_free(&b);
    qs_verdict_free(verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    qs_buf first = {0}, second = {0};
    qs_manifest *m = parse((const char *)data, size);
    if (!m) return 0;
    if (!qs_manifest_print(m, &first)) abort();
    qs_manifest *again = parse(first.p, first.n);
    if (!again || !qs_manifest_print(again, &second)) abort();
    if (!qs_str_eq(qs_buf_str(&first), qs_buf_str(&second))) abort();
    if (qs_manifest_count(m) < 200)
        for (size_t i = 0; i < 4; i++) load(m, i, (int[]){0, 107, 113, 206}[i]);
    qs_manifest_close(m);
    qs_manifest_close(again);
    qs_buf_free(&first);
    qs_buf_free(&second);
    return 0;
}

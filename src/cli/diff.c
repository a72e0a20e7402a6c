/* qatscope diff: what two checkpoints differ in: keys, shapes, dtypes, and values on request. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>

/* Elements compared at a time, and doubles they may take: a complex128 is two. */
enum { BLOCK = 1 << 16, CELLS = 2 * BLOCK };

typedef struct diff_args {
    qs_cli_common common;
    const char *pos[2];
    bool values;
} diff_args;

typedef enum difference { SAME, ONLY_A, ONLY_B, SHAPE, DTYPE, KIND, VALUES } difference;
static const char *const names[] = {
    [SAME] = "same",   [ONLY_A] = "only_a", [ONLY_B] = "only_b", [SHAPE] = "shape",
    [DTYPE] = "dtype", [KIND] = "kind",     [VALUES] = "values",
};

typedef struct diff {
    const diff_args *args;
    const qs_checkpoint *a, *b;
    uint32_t count[VALUES + 1];
    qs_buf json;
    double *buf; /* 2 x CELLS */
    qs_err *e;
} diff;

static void describe(const qs_checkpoint *c, const qs_entry *en, char *out, size_t cap) {
    const qs_tensor *t = qs_entry_tensor(c, en);
    if (!t) {
        qs_node_describe(qs_checkpoint_graph(c), en->node, out, cap);
        return;
    }
    size_t n = qs_shape_text(t->shape, "x", out, cap);
    snprintf(out + n, cap - n, " %s", qs_dtype_get(t->dtype)->name);
}

static void json_side(qs_buf *out, const char *name, const char *text) {
    if (!text) return;
    qs_buf_addf(out, ", \"%s\": ", name);
    qs_buf_add_json(out, qs_str_of(text));
}

static void report(diff *d, difference kind, qs_str key, const char *a, const char *b, double delta) {
    d->count[kind]++;
    if (kind == SAME) return;
    if (d->args->common.json) {
        qs_buf_addf(&d->json, "%s\n  {\"kind\": \"%s\", \"key\": ", d->json.n ? "," : "", names[kind]);
        qs_buf_add_json(&d->json, key);
        json_side(&d->json, "a", a);
        json_side(&d->json, "b", b);
        if (kind == VALUES && isfinite(delta)) qs_buf_addf(&d->json, ", \"max_difference\": %.9g", delta);
        qs_buf_addc(&d->json, '}');
        return;
    }
    static const char sign[] = {' ', '-', '+', '#', '~', '!', '!'};
    printf("%c ", sign[kind]);
    qs_str_fput_printable(key, stdout);
    printf("  ");
    if (a) qs_str_fput_printable(qs_str_of(a), stdout);
    if (a && b) printf(" | ");
    if (b) qs_str_fput_printable(qs_str_of(b), stdout);
    if (kind == VALUES) printf("  values differ by up to %.9g", delta);
    printf("\n");
}

/* Largest |a - b|; NaN against NaN is equal, against a number infinitely far. */
static double largest(const double *a, const double *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double delta = isnan(a[i]) || isnan(b[i]) ? (isnan(a[i]) && isnan(b[i]) ? 0 : INFINITY)
                       : a[i] == b[i]             ? 0
                                                  : fabs(a[i] - b[i]);
        if (delta > most) most = delta;
    }
    return most;
}

/* Equal bytes are equal values. Other bytes can still be (0 and -0, two NaNs), but only of floats: a double
 * does not hold every int64. */
static bool block_differs(diff *d, const qs_tensor *a, const qs_tensor *b, uint64_t at, size_t n,
                          bool *differ, double *delta) {
    if (!qs_tensor_read(d->a, a, at, n, d->buf, d->e) ||
        !qs_tensor_read(d->b, b, at, n, d->buf + CELLS, d->e))
        return false;
    if (memcmp(d->buf, d->buf + CELLS, n * qs_dtype_get(a->dtype)->size) == 0) return true;
    if (!qs_tensor_read_doubles(d->a, a, at, n, d->buf, d->e)) return false;
    if (!qs_tensor_read_doubles(d->b, b, at, n, d->buf + CELLS, d->e)) return false;
    double here = largest(d->buf, d->buf + CELLS, n);
    *differ |= here > 0 || !qs_dtype_is_float(a->dtype);
    if (here > *delta) *delta = here;
    return true;
}

static bool values_differ(diff *d, const qs_tensor *a, const qs_tensor *b, bool *differ, double *delta) {
    uint64_t n = qs_shape_numel(a->shape);
    for (uint64_t at = 0; at < n; at += BLOCK)
        if (!block_differs(d, a, b, at, n - at < BLOCK ? (size_t)(n - at) : BLOCK, differ, delta))
            return false;
    return true;
}

static difference compare_tensors(const qs_tensor *a, const qs_tensor *b) {
    if (!a != !b) return KIND;
    if (!a) return SAME;
    if (!qs_shape_eq(a->shape, b->shape)) return SHAPE;
    return a->dtype == b->dtype ? SAME : DTYPE;
}

static bool readable(const qs_tensor *t) {
    return t && !t->bad && (t->kind == QS_TENSOR_DENSE || t->kind == QS_TENSOR_QUANTIZED);
}

static bool diff_both(diff *d, const qs_entry *a, const qs_entry *b) {
    char left[200], right[200];
    double delta = 0;
    const qs_tensor *ta = qs_entry_tensor(d->a, a), *tb = qs_entry_tensor(d->b, b);
    difference kind = compare_tensors(ta, tb);
    describe(d->a, a, left, sizeof left);
    describe(d->b, b, right, sizeof right);
    if (kind == SAME && !ta && strcmp(left, right) != 0) kind = KIND;
    if (kind == SAME && d->args->values && readable(ta) && readable(tb)) {
        bool differ = false;
        if (!values_differ(d, ta, tb, &differ, &delta)) return false;
        if (differ) kind = VALUES;
    }
    report(d, kind, a->key, left, kind == VALUES ? NULL : right, delta);
    return true;
}

static void diff_alone(diff *d, const qs_checkpoint *c, const qs_entry *en, difference kind) {
    char text[200];
    describe(c, en, text, sizeof text);
    report(d, kind, en->key, kind == ONLY_A ? text : NULL, kind == ONLY_B ? text : NULL, 0);
}

static bool walk(diff *d) {
    for (uint32_t i = 0; i < qs_checkpoint_count(d->a); i++) {
        const qs_entry *en = qs_checkpoint_entry(d->a, i);
        uint32_t other = qs_checkpoint_find(d->b, en->key);
        if (other == UINT32_MAX)
            diff_alone(d, d->a, en, ONLY_A);
        else if (!diff_both(d, en, qs_checkpoint_entry(d->b, other)))
            return false;
    }
    for (uint32_t i = 0; i < qs_checkpoint_count(d->b); i++) {
        const qs_entry *en = qs_checkpoint_entry(d->b, i);
        if (qs_checkpoint_find(d->a, en->key) == UINT32_MAX) diff_alone(d, d->b, en, ONLY_B);
    }
    return true;
}

static bool any_difference(const diff *d) {
    for (int k = ONLY_A; k <= VALUES; k++)
        if (d->count[k]) return true;
    return false;
}

static void print_end(const diff *d) {
    if (d->args->common.json) {
        printf("{\"same\": %s, \"counts\": {", any_difference(d) ? "false" : "true");
        for (int k = SAME; k <= VALUES; k++) printf("%s\"%s\": %u", k ? ", " : "", names[k], d->count[k]);
        printf("},\n \"entries\": [%s\n ]}\n", d->json.p ? d->json.p : "");
        return;
    }
    if (d->args->common.quiet) return;
    fprintf(
        stderr,
        "%u same, %u only in A, %u only in B, %u of another shape, %u of another dtype, %u of another kind",
        d->count[SAME], d->count[ONLY_A], d->count[ONLY_B], d->count[SHAPE], d->count[DTYPE], d->count[KIND]);
    if (d->args->values) fprintf(stderr, ", %u with other values", d->count[VALUES]);
    fprintf(stderr, "\n");
}

static int run(const diff_args *a) {
    qs_open_options open = {.root = a->common.root, .limits = QS_LIMITS_DEFAULT};
    qs_checkpoint *ca = NULL, *cb = NULL;
    qs_err e = QS_ERR_INIT;
    diff d = {.args = a, .e = &e};
    d.buf = malloc(2 * CELLS * sizeof *d.buf);
    bool ok =
        d.buf ? qs_checkpoint_open(a->pos[0], &open, &ca, &e) && qs_checkpoint_open(a->pos[1], &open, &cb, &e)
              : qs_nomem(&e);
    d.a = ca;
    d.b = cb;
    ok = ok && walk(&d) && (!d.json.failed || qs_nomem(&e));
    if (ok) print_end(&d);
    int status = ok ? any_difference(&d) : qs_cli_fail(&e);
    qs_buf_free(&d.json);
    free(d.buf);
    qs_checkpoint_close(ca);
    qs_checkpoint_close(cb);
    return status;
}

int qs_cmd_diff(int argc, char **argv) {
    diff_args a = {0};
    const qs_opt opts[] = {
        {"values", 0, QS_OPT_FLAG, &a.values, NULL, "compare the numbers too"},
        QS_CLI_OPT_ROOT(&a.common),
        QS_CLI_OPT_JSON(&a.common),
        QS_CLI_OPT_QUIET(&a.common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a.pos, 2, 2);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    return run(&a);
}

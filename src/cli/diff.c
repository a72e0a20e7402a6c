/* qatscope diff: what two checkpoints differ in: keys, shapes, dtypes, and values on request. */
#include "cli/cli.h"

#include "model/tensor_diff.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

typedef struct diff_args {
    qs_cli_common common;
    const char *pos[2];
    double epsilon; /* NaN if not given */
    bool values, all, ignore_dtype;
} diff_args;

typedef enum difference {
    SAME,
    ONLY_A,
    ONLY_B,
    SHAPE,
    DTYPE,
    KIND,
    VALUES,
    UNCOMPARED,
    DIFFERENCES
} difference;
static const struct {
    const char *name;
    char sign;
} kinds[] = {
    [SAME] = {"same", '='},     [ONLY_A] = {"only_a", '-'},         [ONLY_B] = {"only_b", '+'},
    [SHAPE] = {"shape", '#'},   [DTYPE] = {"dtype", '~'},           [KIND] = {"kind", '!'},
    [VALUES] = {"values", '!'}, [UNCOMPARED] = {"uncompared", '?'},
};

typedef struct diff {
    const diff_args *args;
    const qs_checkpoint *a, *b;
    uint32_t count[DIFFERENCES];
    qs_buf json;
    qs_err *e;
} diff;

/* What is said of one key. */
typedef struct finding {
    difference kind;
    qs_str key;
    const char *a, *b; /* what the sides have, NULL if nothing */
    qs_shape shape;
    bool measured;
    qs_tensor_diff values; /* if measured */
    const char *why;       /* UNCOMPARED */
} finding;

static void describe(const qs_checkpoint *c, const qs_entry *en, char *out, size_t cap) {
    const qs_tensor *t = qs_entry_tensor(c, en);
    if (!t) {
        qs_node_describe(qs_checkpoint_graph(c), en->node, out, cap);
        return;
    }
    size_t n = qs_shape_text(t->shape, "x", out, cap);
    snprintf(out + n, cap - n, " %s", qs_dtype_get(t->dtype)->name);
}

/* ---- words ---- */

/* "[3,0,1,2]": where the flat index `at` is. A complex element is two numbers: then one more index, 0 or 1.
 */
static void add_place(qs_buf *b, const finding *f) {
    uint64_t numel = qs_shape_numel(f->shape), parts = numel ? f->values.n / numel : 1;
    uint64_t at = f->values.max_at / parts, stride = numel;
    qs_buf_addc(b, '[');
    for (uint32_t i = 0; i < f->shape.ndim; i++) {
        stride /= (uint64_t)f->shape.dim[i];
        qs_buf_addf(b, "%s%" PRIu64, i ? "," : "", at / stride);
        at %= stride;
    }
    if (parts > 1) qs_buf_addf(b, "%s%" PRIu64, f->shape.ndim ? "," : "", f->values.max_at % parts);
    qs_buf_addc(b, ']');
}

static void print_values(const finding *f) {
    const qs_tensor_diff *v = &f->values;
    printf("  %" PRIu64 " of %" PRIu64 " differ", v->differ, v->n);
    if (v->max_abs > 0) {
        qs_buf place = {0};
        add_place(&place, f);
        printf(", max abs %.9g at %s, relative %.3g, cosine distance %.3g", v->max_abs,
               place.p ? place.p : "?", v->max_rel, v->cosine_distance);
        qs_buf_free(&place);
    }
    if (v->nan_a || v->nan_b) printf(", NaN %" PRIu64 " | %" PRIu64, v->nan_a, v->nan_b);
    if (v->nonfinite_differ) printf(", %" PRIu64 " by a NaN or an infinity", v->nonfinite_differ);
}

static void print_line(const finding *f) {
    printf("%c ", kinds[f->kind].sign);
    qs_str_fput_printable(f->key, stdout);
    printf("  ");
    if (f->a) qs_str_fput_printable(qs_str_of(f->a), stdout);
    if (f->b && !(f->a && strcmp(f->a, f->b) == 0)) {
        if (f->a) printf(" | ");
        qs_str_fput_printable(qs_str_of(f->b), stdout);
    }
    if (f->measured) print_values(f);
    if (f->why) printf("  not compared: %s", f->why);
    printf("\n");
}

/* ---- data ---- */

static void json_side(qs_buf *out, const char *name, const char *text) {
    if (!text) return;
    qs_buf_addf(out, ", \"%s\": ", name);
    qs_buf_add_json(out, qs_str_of(text));
}

static void json_number(qs_buf *out, const char *name, double v) {
    if (isfinite(v))
        qs_buf_addf(out, ", \"%s\": %.15g", name, v);
    else
        qs_buf_addf(out, ", \"%s\": null", name); /* beyond the largest double */
}

static void json_values(qs_buf *out, const finding *f) {
    const qs_tensor_diff *v = &f->values;
    qs_buf_addf(out, ", \"values\": {\"n\": %" PRIu64 ", \"differ\": %" PRIu64, v->n, v->differ);
    json_number(out, "max_abs", v->max_abs);
    qs_buf_addz(out, ", \"at\": ");
    if (v->max_abs > 0)
        add_place(out, f);
    else
        qs_buf_addz(out, "null");
    json_number(out, "max_rel", v->max_rel);
    json_number(out, "cosine_distance", v->cosine_distance);
    qs_buf_addf(out, ", \"nan_a\": %" PRIu64 ", \"nan_b\": %" PRIu64 ", \"nonfinite_differ\": %" PRIu64 "}",
                v->nan_a, v->nan_b, v->nonfinite_differ);
}

static void add_json(qs_buf *out, const finding *f) {
    qs_buf_addf(out, "%s\n  {\"kind\": \"%s\", \"key\": ", out->n ? "," : "", kinds[f->kind].name);
    qs_buf_add_json(out, f->key);
    json_side(out, "a", f->a);
    json_side(out, "b", f->b);
    json_side(out, "why", f->why);
    if (f->measured) json_values(out, f);
    qs_buf_addc(out, '}');
}

static void report(diff *d, const finding *f) {
    d->count[f->kind]++;
    if (f->kind == SAME && !d->args->all) return;
    if (d->args->common.json)
        add_json(&d->json, f);
    else
        print_line(f);
}

/* ---- comparing ---- */

static difference compare_tensors(const qs_tensor *a, const qs_tensor *b) {
    if (!a != !b) return KIND;
    if (!a) return SAME;
    if (!qs_shape_eq(a->shape, b->shape)) return SHAPE;
    return a->dtype == b->dtype ? SAME : DTYPE;
}

/* Measures two tensors of one shape. What cannot be compared is said, not passed over as equal. */
static bool measure(diff *d, const qs_tensor *a, const qs_tensor *b, finding *f, qs_err *why) {
    double epsilon = isnan(d->args->epsilon) ? 0 : d->args->epsilon;
    f->shape = a->shape;
    f->measured = qs_tensor_diff_compute(d->a, a, d->b, b, epsilon, NULL, &f->values, why);
    if (f->measured) {
        if (f->kind == DTYPE && d->args->ignore_dtype) f->kind = SAME;
        if (f->kind == SAME && f->values.differ) f->kind = VALUES;
        return true;
    }
    if (why->code != QS_E_UNSUPPORTED && why->code != QS_E_INPUT) {
        *d->e = *why;
        return false;
    }
    f->why = why->msg;
    if (f->kind == SAME) f->kind = UNCOMPARED;
    return true;
}

static bool diff_both(diff *d, const qs_entry *a, const qs_entry *b) {
    char left[200], right[200];
    qs_err why = QS_ERR_INIT;
    const qs_tensor *ta = qs_entry_tensor(d->a, a), *tb = qs_entry_tensor(d->b, b);
    finding f = {.kind = compare_tensors(ta, tb), .key = a->key, .a = left, .b = right};
    describe(d->a, a, left, sizeof left);
    describe(d->b, b, right, sizeof right);
    if (f.kind == SAME && !ta && strcmp(left, right) != 0) f.kind = KIND;
    bool wanted = d->args->values && ta && (f.kind == SAME || f.kind == DTYPE);
    if (wanted && !measure(d, ta, tb, &f, &why)) return false;
    report(d, &f);
    return true;
}

static void diff_alone(diff *d, const qs_checkpoint *c, const qs_entry *en, difference kind) {
    char text[200];
    describe(c, en, text, sizeof text);
    finding f = {.kind = kind, .key = en->key};
    if (kind == ONLY_A)
        f.a = text;
    else
        f.b = text;
    report(d, &f);
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
    for (int k = SAME + 1; k < DIFFERENCES; k++)
        if (d->count[k]) return true;
    return false;
}

static void print_end(const diff *d) {
    const uint32_t *n = d->count;
    if (d->args->common.json) {
        printf("{\"same\": %s, \"counts\": {", any_difference(d) ? "false" : "true");
        for (int k = SAME; k < DIFFERENCES; k++) printf("%s\"%s\": %u", k ? ", " : "", kinds[k].name, n[k]);
        printf("},\n \"entries\": [%s\n ]}\n", d->json.p ? d->json.p : "");
        return;
    }
    if (d->args->common.quiet) return;
    fprintf(
        stderr,
        "%u same, %u only in A, %u only in B, %u of another shape, %u of another dtype, %u of another kind",
        n[SAME], n[ONLY_A], n[ONLY_B], n[SHAPE], n[DTYPE], n[KIND]);
    if (d->args->values) fprintf(stderr, ", %u with other values", n[VALUES]);
    if (n[UNCOMPARED]) fprintf(stderr, ", %u whose values cannot be compared", n[UNCOMPARED]);
    fprintf(stderr, "\n");
}

static int run(const diff_args *a) {
    qs_open_options open = qs_cli_open_options(&a->common);
    open.loose = true;
    qs_checkpoint *ca = NULL, *cb = NULL;
    qs_err e = QS_ERR_INIT;
    diff d = {.args = a, .e = &e};
    bool ok = qs_checkpoint_open(a->pos[0], &open, &ca, &e) && qs_checkpoint_open(a->pos[1], &open, &cb, &e);
    d.a = ca;
    d.b = cb;
    ok = ok && walk(&d) && (!d.json.failed || qs_nomem(&e));
    if (ok) print_end(&d);
    int status = ok ? any_difference(&d) : qs_cli_fail(&e);
    qs_buf_free(&d.json);
    qs_checkpoint_close(ca);
    qs_checkpoint_close(cb);
    return status;
}

int qs_cmd_diff(int argc, char **argv) {
    diff_args a = {.epsilon = NAN};
    const qs_opt opts[] = {
        {"values", 0, QS_OPT_FLAG, &a.values, NULL,
         "compare the numbers too: largest, relative and cosine difference"},
        {"epsilon", 'e', QS_OPT_NUMBER, &a.epsilon, "E",
         "numbers up to E apart count as equal; implies --values"},
        {"ignore-dtype", 0, QS_OPT_FLAG, &a.ignore_dtype, NULL,
         "equal numbers in another dtype count as the same; implies --values"},
        {"all", 0, QS_OPT_FLAG, &a.all, NULL, "list the entries that are the same too"},
        QS_CLI_OPT_ROOT(&a.common),
        QS_CLI_OPT_LIMIT(&a.common),
        QS_CLI_OPT_JSON(&a.common),
        QS_CLI_OPT_QUIET(&a.common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a.pos, 2, 2);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    qs_err e = QS_ERR_INIT;
    if (!isnan(a.epsilon) && !(a.epsilon >= 0)) {
        qs_fail(&e, QS_E_USAGE, "--epsilon wants a number that is not negative");
        return qs_cli_fail(&e);
    }
    a.values = a.values || a.ignore_dtype || !isnan(a.epsilon);
    return run(&a);
}

/* What an expression of a lesson may ask of the open files. */
#include "model/stats.h"
#include "teach/lesson_impl.h"

#include <math.h>

/* ---- conditions on rows: "status=missing,role=S,key=*.scale" ---- */

typedef struct condition {
    int status, problem, weight; /* -1: any */
    qs_str role, family, key, in, leaf;
} condition;

static bool find_status(qs_str name, int *out) {
    for (int i = 0; i < QS_STATUS_COUNT; i++)
        if (qs_str_is(name, qs_status_get((qs_status)i)->name)) {
            *out = i;
            return true;
        }
    return false;
}

static bool set_condition(condition *c, qs_str name, qs_str value, qs_err *e) {
    if (qs_str_is(name, "status") && !find_status(value, &c->status))
        return qs_fail(e, QS_E_USAGE, "there is no status '%.*s'", QS_FMT(value));
    if (qs_str_is(name, "status")) return true;
    int yes = qs_str_is(value, "yes");
    if (qs_str_is(name, "problem"))
        c->problem = yes;
    else if (qs_str_is(name, "weight"))
        c->weight = yes;
    else if (qs_str_is(name, "role"))
        c->role = value;
    else if (qs_str_is(name, "family"))
        c->family = value;
    else if (qs_str_is(name, "key"))
        c->key = value;
    else if (qs_str_is(name, "leaf"))
        c->leaf = value;
    else if (qs_str_is(name, "in"))
        c->in = value;
    else
        return qs_fail(e, QS_E_USAGE,
                       "there is no condition '%.*s' (status, problem, weight, role, family, key, leaf, in)",
                       QS_FMT(name));
    return true;
}

static bool read_condition(qs_str text, condition *c, qs_err *e) {
    *c = (condition){.status = -1, .problem = -1, .weight = -1};
    for (size_t at = 0; at < text.n;) {
        qs_str rest = qs_str_sub(text, at, text.n);
        size_t comma = qs_str_find(rest, QS_STR(","));
        qs_str one = qs_str_sub(rest, 0, comma == SIZE_MAX ? rest.n : comma);
        size_t equals = qs_str_find(one, QS_STR("="));
        if (equals == SIZE_MAX)
            return qs_fail(e, QS_E_USAGE, "'%.*s' is no condition: NAME=VALUE", QS_FMT(one));
        if (!set_condition(c, qs_str_sub(one, 0, equals), qs_str_sub(one, equals + 1, one.n), e))
            return false;
        at += one.n + 1;
    }
    return true;
}

static bool in_column(const qs_row *row, qs_str in) {
    if (!in.n) return true;
    if (qs_str_is(in, "a")) return row->r != QS_NO_INDEX;
    if (qs_str_is(in, "b")) return row->b != QS_NO_INDEX;
    if (qs_str_is(in, "both")) return row->r != QS_NO_INDEX && row->m != QS_NO_INDEX;
    return qs_str_is(in, "model") && row->m != QS_NO_INDEX;
}

static bool has_role(const qs_row *row, qs_str role) {
    char letter = qs_role_letter(row->role);
    return !role.n || (role.n == 1 && role.p[0] == letter) || qs_str_is(role, qs_role_name(row->role)) ||
           (qs_str_is(role, "any") && row->role != QS_ROLE_NONE) ||
           (qs_str_is(role, "quantizer") && row->role != QS_ROLE_NONE && row->role != QS_ROLE_WEIGHT &&
            row->role != QS_ROLE_PACKED);
}

static bool holds(const condition *c, const qs_row *row) {
    if (c->status >= 0 && (int)row->status != c->status) return false;
    if (c->problem >= 0 && qs_status_get(row->status)->problem != (c->problem == 1)) return false;
    if (c->weight >= 0 && row->role_is_weight != (c->weight == 1)) return false;
    if (!in_column(row, c->in) || !has_role(row, c->role)) return false;
    if (c->family.n && !qs_str_is(c->family, qs_family_label(row->family))) return false;
    if (c->leaf.n && !qs_str_eq(qs_str_leaf(row->key), c->leaf)) return false;
    return !c->key.n || qs_glob(c->key, row->key);
}

/* ---- rows and the tensors behind them ---- */

static const qs_row *find_row(lesson_eval *ev, qs_str key, qs_err *e) {
    uint32_t i = qs_compare_find(ev->s->compare, key);
    if (i != QS_NO_INDEX) return qs_compare_row(ev->s->compare, i);
    char name[200];
    qs_str_printable(key, name, sizeof name);
    qs_fail(e, QS_E_INPUT, "no open file has the key '%s'", name);
    return NULL;
}

/* Where a value is looked for: in A as the plan makes it, else in B ("any"), or in B alone. */
static const qs_tensor *tensor_of(lesson_eval *ev, const qs_row *row, bool only_b,
                                  const qs_checkpoint **from) {
    const qs_resolution *r = ev->s->resolution;
    if (!only_b && row->r != QS_NO_INDEX) {
        const qs_tensor *t = qs_resolved_tensor(r, qs_resolution_entry(r, row->r), from);
        if (t) return t;
    }
    const qs_checkpoint *b = qs_resolution_input(r)->b;
    if (!b || row->b == QS_NO_INDEX) return NULL;
    *from = b;
    return qs_checkpoint_tensor(b, qs_checkpoint_entry(b, row->b)->tensor);
}

/* A value the plan makes has no tensor in a file. */
static bool fill_of(lesson_eval *ev, const qs_row *row, qs_fill *out, qs_err *e) {
    const qs_resolution *r = ev->s->resolution;
    if (row->r == QS_NO_INDEX || !qs_resolved_is_made(qs_resolution_entry(r, row->r))) return false;
    return qs_resolved_fill(r, qs_resolution_entry(r, row->r), NULL, ev->arena, out, e);
}

static bool no_value(const qs_row *row, qs_err *e) {
    char name[200];
    qs_str_printable(row->key, name, sizeof name);
    return qs_fail(e, QS_E_INPUT, "no open file holds a value for '%s'", name);
}

static bool element(lesson_eval *ev, const qs_row *row, bool only_b, uint64_t index, double *out, qs_err *e) {
    const qs_checkpoint *from = NULL;
    qs_fill fill;
    if (!only_b && fill_of(ev, row, &fill, e)) {
        if (index >= qs_shape_numel(fill.shape))
            return qs_fail(e, QS_E_INPUT, "there is no element %llu", (unsigned long long)index);
        size_t size = qs_dtype_get(fill.dtype)->size;
        qs_to_doubles(fill.dtype, (const char *)fill.data + index * size, 1, out);
        return true;
    }
    if (e->code) return false;
    const qs_tensor *t = tensor_of(ev, row, only_b, &from);
    if (!t) return no_value(row, e);
    if (index >= qs_shape_numel(t->shape))
        return qs_fail(e, QS_E_INPUT, "there is no element %llu", (unsigned long long)index);
    return qs_tensor_read_doubles(from, t, index, 1, out, e);
}

/* "KEY[3]": the key, and 3; 0 without brackets. */
static uint64_t take_index(qs_str *arg) {
    if (!arg->n || arg->p[arg->n - 1] != ']') return 0;
    size_t open = qs_str_rfind_char(*arg, '[');
    if (open == SIZE_MAX || open + 2 >= arg->n || arg->n - open > 12) return 0;
    uint64_t v = 0;
    for (size_t i = open + 1; i + 1 < arg->n; i++) {
        if (arg->p[i] < '0' || arg->p[i] > '9') return 0;
        v = v * 10 + (uint64_t)(arg->p[i] - '0');
    }
    *arg = qs_str_sub(*arg, 0, open);
    return v;
}

/* ---- answers ---- */

typedef struct question {
    lesson_eval *ev;
    qs_str arg;
    bool only_b;
    qs_err *e;
} question;

static bool say(question *q, lesson_value *out, const char *text) {
    qs_str s = qs_arena_str(q->ev->arena, qs_str_of(text));
    *out = (lesson_value){.is_text = true, .text = s};
    return s.p || qs_nomem(q->e);
}

static bool ask_count(question *q, lesson_value *out) {
    condition c;
    if (!read_condition(q->arg, &c, q->e)) return false;
    for (uint32_t i = 0; i < qs_compare_rows(q->ev->s->compare); i++)
        out->number += holds(&c, qs_compare_row(q->ev->s->compare, i));
    return true;
}

static const qs_row *first_row(question *q) {
    condition c;
    if (!read_condition(q->arg, &c, q->e)) return NULL;
    for (uint32_t i = 0; i < qs_compare_rows(q->ev->s->compare); i++) {
        const qs_row *row = qs_compare_row(q->ev->s->compare, i);
        if (holds(&c, row)) return row;
    }
    qs_fail(q->e, QS_E_INPUT, "no key has %.*s", QS_FMT(q->arg));
    return NULL;
}

static bool ask_key(question *q, lesson_value *out) {
    const qs_row *row = first_row(q);
    *out = (lesson_value){.is_text = true, .text = row ? row->key : (qs_str){0}};
    return row != NULL;
}

static bool ask_block(question *q, lesson_value *out) {
    const qs_row *row = first_row(q);
    if (!row) return false;
    *out = (lesson_value){.is_text = true, .text = qs_str_sub(row->key, 0, row->block_len)};
    return row->block_len ||
           qs_fail(q->e, QS_E_INPUT, "the first key with %.*s is in no block", QS_FMT(q->arg));
}

static bool ask_value(question *q, lesson_value *out) {
    uint64_t index = take_index(&q->arg);
    const qs_row *row = find_row(q->ev, q->arg, q->e);
    return row && element(q->ev, row, q->only_b, index, &out->number, q->e);
}

/* min, max, absmax, mean, std, zeros: over all elements. */
static bool ask_stat(question *q, qs_str what, lesson_value *out) {
    const qs_row *row = find_row(q->ev, q->arg, q->e);
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = row ? tensor_of(q->ev, row, q->only_b, &from) : NULL;
    if (!t) return row ? no_value(row, q->e) : false;
    qs_stats *s = QS_ARENA_NEW(q->ev->arena, qs_stats);
    if (!s) return qs_nomem(q->e);
    if (!qs_stats_compute(from, t, s, NULL, q->e)) return false;
    if (qs_str_is(what, "min")) out->number = s->min;
    if (qs_str_is(what, "max")) out->number = s->max;
    if (qs_str_is(what, "absmax")) out->number = fmax(fabs(s->min), fabs(s->max));
    if (qs_str_is(what, "mean")) out->number = s->mean;
    if (qs_str_is(what, "std")) out->number = s->std;
    return true;
}

static bool shape_of(question *q, qs_shape *shape, qs_dtype *dtype) {
    const qs_row *row = find_row(q->ev, q->arg, q->e);
    if (!row) return false;
    const qs_resolution *r = q->ev->s->resolution;
    const qs_checkpoint *from = NULL;
    const qs_tensor *t = tensor_of(q->ev, row, q->only_b, &from);
    if (!q->only_b && row->r != QS_NO_INDEX && qs_resolution_entry(r, row->r)->shape_known) {
        *shape = qs_resolution_entry(r, row->r)->shape;
        *dtype = qs_resolution_entry(r, row->r)->dtype;
    } else if (t) {
        *shape = t->shape;
        *dtype = t->dtype;
    } else if (row->m != QS_NO_INDEX) {
        const qs_expected *x = qs_manifest_entry(qs_resolution_input(r)->target, row->m);
        *shape = x->shape;
        *dtype = x->dtype;
    } else {
        return no_value(row, q->e);
    }
    return true;
}

static bool ask_shape(question *q, qs_str what, lesson_value *out) {
    qs_shape shape;
    qs_dtype dtype;
    char text[256];
    uint64_t axis = qs_str_is(what, "dim") ? take_index(&q->arg) : 0;
    if (!shape_of(q, &shape, &dtype)) return false;
    if (qs_str_is(what, "dim")) {
        if (axis >= shape.ndim)
            return qs_fail(q->e, QS_E_INPUT, "there is no axis %llu", (unsigned long long)axis);
        out->number = (double)shape.dim[axis];
        return true;
    }
    if (qs_str_is(what, "dtype")) return say(q, out, qs_dtype_get(dtype)->name);
    if (qs_str_is(what, "numel")) {
        out->number = (double)qs_shape_numel(shape);
        return true;
    }
    qs_shape_text(shape, "x", text, sizeof text);
    return say(q, out, text);
}

static bool ask_row(question *q, qs_str what, lesson_value *out) {
    const qs_row *row = find_row(q->ev, q->arg, q->e);
    if (!row) return false;
    if (qs_str_is(what, "status")) return say(q, out, qs_status_get(row->status)->name);
    if (qs_str_is(what, "role")) return say(q, out, qs_role_name(row->role));
    return say(q, out, qs_family_name(row->family));
}

/* ---- modules, versions, the verdict ---- */

static bool ask_class(question *q, lesson_value *out) {
    const qs_manifest *m = qs_resolution_input(q->ev->s->resolution)->target;
    uint32_t i = m ? qs_manifest_find_module(m, q->arg) : QS_MODULE_NONE;
    if (i == QS_MODULE_NONE || !qs_manifest_module(m, i)->class_name.n)
        return qs_fail(q->e, QS_E_INPUT, "the model's class of '%.*s' is not known", QS_FMT(q->arg));
    *out = (lesson_value){.is_text = true, .text = qs_str_leaf(qs_manifest_module(m, i)->class_name)};
    return true;
}

static bool ask_version(question *q, lesson_value *out) {
    const qs_resolve_input *in = qs_resolution_input(q->ev->s->resolution);
    const qs_checkpoint *c = q->only_b ? in->b : in->a;
    int64_t v = c ? qs_checkpoint_version(c, q->arg) : -1;
    out->number = (double)v;
    return v >= 0 || say(q, out, "None");
}

static bool ask_modules(question *q, lesson_value *out) {
    const qs_compare *c = q->ev->s->compare;
    for (uint32_t i = 1; i < qs_compare_nodes(c); i++) {
        const qs_tree_node *n = qs_compare_node(c, i);
        out->number += n->row == QS_NO_INDEX && in_column(&(qs_row){.r = n->count_a ? 0 : QS_NO_INDEX,
                                                                    .b = n->count_b ? 0 : QS_NO_INDEX,
                                                                    .m = n->count_m ? 0 : QS_NO_INDEX},
                                                          q->arg);
    }
    return true;
}

static bool need_verdict(question *q) {
    return q->ev->s->verdict ||
           qs_fail(q->e, QS_E_INPUT, "nothing says what the model expects: open a manifest or a second file");
}

static bool ask_findings(question *q, lesson_value *out) {
    static const char *const names[] = {"missing", "unexpected", "size", "copy",      "raises",
                                        "resized", "injected",   "cast", "truncated", "forward"};
    if (!need_verdict(q)) return false;
    int kind = -1;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (qs_str_is(q->arg, names[i])) kind = i;
    if (kind < 0) return qs_fail(q->e, QS_E_USAGE, "there is no kind of finding '%.*s'", QS_FMT(q->arg));
    for (size_t i = 0; i < qs_verdict_count(q->ev->s->verdict); i++)
        out->number += (int)qs_verdict_finding(q->ev->s->verdict, i)->kind == kind;
    return true;
}

/* How many times torch's message names the key. */
static bool ask_repeats(question *q, lesson_value *out) {
    if (!need_verdict(q)) return false;
    for (size_t i = 0; i < qs_verdict_count(q->ev->s->verdict); i++) {
        const qs_finding *f = qs_verdict_finding(q->ev->s->verdict, i);
        if (f->kind == QS_FIND_MISSING && qs_str_eq(f->key, q->arg)) out->number = f->repeats;
    }
    return true;
}

static bool ask_torch(question *q, lesson_value *out) {
    if (!need_verdict(q)) return false;
    char text[24];
    int v = qs_verdict_torch(q->ev->s->verdict);
    snprintf(text, sizeof text, "%d.%d", v / 100, v % 100);
    return say(q, out, text);
}

static bool one_of(qs_str s, const char *list) {
    for (qs_str w = qs_next_word(&list); w.n; w = qs_next_word(&list))
        if (qs_str_eq(w, s)) return true;
    return false;
}

bool qs_lesson_query(lesson_eval *ev, qs_str what, qs_str arg, lesson_value *out, qs_err *e) {
    question q = {.ev = ev, .arg = arg, .e = e};
    *out = (lesson_value){0};
    if (qs_str_starts(what, QS_STR("b."))) {
        q.only_b = true;
        what = qs_str_sub(what, 2, what.n);
    }
    if (qs_str_is(what, "count")) return ask_count(&q, out);
    if (qs_str_is(what, "key")) return ask_key(&q, out);
    if (qs_str_is(what, "block")) return ask_block(&q, out);
    if (qs_str_is(what, "value")) return ask_value(&q, out);
    if (one_of(what, "min max absmax mean std")) return ask_stat(&q, what, out);
    if (one_of(what, "shape dtype numel dim")) return ask_shape(&q, what, out);
    if (one_of(what, "status role family")) return ask_row(&q, what, out);
    if (qs_str_is(what, "class")) return ask_class(&q, out);
    if (qs_str_is(what, "version")) return ask_version(&q, out);
    if (qs_str_is(what, "modules")) return ask_modules(&q, out);
    if (qs_str_is(what, "findings")) return ask_findings(&q, out);
    if (qs_str_is(what, "repeats")) return ask_repeats(&q, out);
    if (qs_str_is(what, "torch")) return ask_torch(&q, out);
    if (qs_str_is(what, "loads"))
        return need_verdict(&q) && say(&q, out, qs_verdict_loads(ev->s->verdict) ? "YES" : "NO");
    if (qs_str_is(what, "parent") || qs_str_is(what, "leaf")) {
        *out = (lesson_value){.is_text = true,
                              .text = qs_str_is(what, "leaf") ? qs_str_leaf(arg) : qs_str_parent(arg)};
        return true;
    }
    return qs_fail(e, QS_E_USAGE, "'%.*s' is nothing a lesson can ask", QS_FMT(what));
}

/* Expressions of a lesson: numbers, + - * / ( ), a few functions, and questions to the open files such as
 * count:status=missing. Operators are put in order with a stack (Dijkstra's shunting yard), not by recursion.
 */
#include "teach/lesson_impl.h"

#include <math.h>

enum { STACK = 64 };

typedef struct machine {
    lesson_eval *ev;
    qs_err *e;
    lesson_value values[STACK];
    const char *ops[STACK]; /* "+", "(", "sqrt" ...; names of functions stand below their "(" */
    int value_count, op_count;
} machine;

static const struct func {
    const char *name;
    int args;
} funcs[] = {{"sqrt", 1}, {"abs", 1},   {"round", 1},  {"floor", 1}, {"max", 2},
             {"min", 2},  {"clamp", 3}, {"finite", 1}, {"equal", 2}};

static const struct func *find_func(const char *name) {
    for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++)
        if (strcmp(funcs[i].name, name) == 0) return &funcs[i];
    return NULL;
}

static int precedence(const char *op) {
    if (strchr("+-", *op)) return 1;
    if (strchr("*/", *op)) return 2;
    return 0; /* a bracket, or a function waiting below one */
}

static bool push_value(machine *m, lesson_value v) {
    if (m->value_count == STACK) return qs_fail(m->e, QS_E_USAGE, "the expression is too long");
    m->values[m->value_count++] = v;
    return true;
}

static bool push_op(machine *m, const char *op) {
    if (m->op_count == STACK) return qs_fail(m->e, QS_E_USAGE, "the expression is nested too deeply");
    m->ops[m->op_count++] = op;
    return true;
}

static bool pop_numbers(machine *m, int n, double *out) {
    if (m->value_count < n) return qs_fail(m->e, QS_E_USAGE, "an operand is missing");
    m->value_count -= n;
    for (int i = 0; i < n; i++) {
        if (m->values[m->value_count + i].is_text)
            return qs_fail(m->e, QS_E_INPUT, "a text where a number is wanted");
        out[i] = m->values[m->value_count + i].number;
    }
    return true;
}

static double apply(const char *op, const double *a) {
    switch (*op) {
    case '+': return a[0] + a[1];
    case '-': return a[0] - a[1];
    case '*': return a[0] * a[1];
    case '/': return a[0] / a[1];
    case 's': return sqrt(a[0]);
    case 'a': return fabs(a[0]);
    case 'r': return nearbyint(a[0]);                   /* half to even, as torch rounds */
    case 'f': return op[1] == 'l' ? floor(a[0]) : a[0]; /* floor, finite */
    case 'e': return a[0];                              /* equal */
    case 'c': return fmin(fmax(a[0], a[1]), a[2]);
    default: return op[1] == 'a' ? fmax(a[0], a[1]) : fmin(a[0], a[1]);
    }
}

static bool run_op(machine *m) {
    const char *op = m->ops[--m->op_count];
    const struct func *f = find_func(op);
    double a[3];
    if (!pop_numbers(m, f ? f->args : 2, a)) return false;
    if (strcmp(op, "finite") == 0 && !isfinite(a[0]))
        return qs_fail(m->e, QS_E_INPUT, "the value is not finite: nothing was observed");
    if (strcmp(op, "equal") == 0 && a[0] != a[1])
        return qs_fail(m->e, QS_E_INPUT, "%g is not %g", a[0], a[1]);
    return push_value(m, (lesson_value){.number = apply(op, a)});
}

/* Everything above the innermost bracket is carried out. */
static bool unwind(machine *m, bool close) {
    while (m->op_count && *m->ops[m->op_count - 1] != '(')
        if (!run_op(m)) return false;
    if (m->op_count == 0) return qs_fail(m->e, QS_E_USAGE, "a bracket is missing");
    if (!close) return true;
    m->op_count--;
    return m->op_count == 0 || !find_func(m->ops[m->op_count - 1]) || run_op(m);
}

static bool binary(machine *m, const char *op) {
    while (m->op_count && precedence(m->ops[m->op_count - 1]) >= precedence(op))
        if (!run_op(m)) return false;
    return push_op(m, op);
}

/* A question: "word" or "word:argument"; it ends at a blank or at a bracket it did not open. */
static size_t atom_length(qs_str s) {
    int depth = 0;
    size_t i = 0;
    for (; i < s.n && s.p[i] != ' '; i++) {
        if (s.p[i] == '(') depth++;
        if (s.p[i] == ')' && depth-- == 0) break;
    }
    return i;
}

static bool atom(machine *m, qs_str s) {
    size_t colon = qs_str_find(s, QS_STR(":"));
    qs_str what = colon == SIZE_MAX ? s : qs_str_sub(s, 0, colon);
    qs_str arg = colon == SIZE_MAX ? qs_str_sub(s, s.n, s.n) : qs_str_sub(s, colon + 1, s.n);
    lesson_value v = {0};
    return qs_lesson_query(m->ev, what, arg, &v, m->e) && push_value(m, v);
}

static bool number(machine *m, qs_str s, size_t *used) {
    char text[64], *end;
    snprintf(text, sizeof text, "%.*s", (int)(s.n < 63 ? s.n : 63), s.p);
    double v = strtod(text, &end);
    *used = (size_t)(end - text);
    if (*used == 0) return qs_fail(m->e, QS_E_USAGE, "an operand is missing");
    return push_value(m, (lesson_value){.number = v});
}

static const struct func *function_at(qs_str s) {
    for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++) {
        size_t n = strlen(funcs[i].name);
        if (s.n > n && memcmp(s.p, funcs[i].name, n) == 0 && s.p[n] == '(') return &funcs[i];
    }
    return NULL;
}

/* One operand, or an opening bracket with what stands before it; *after: an operator comes next. */
static bool operand(machine *m, qs_str s, size_t *used, bool *after) {
    const struct func *f = function_at(s);
    *after = true;
    if (f || s.p[0] == '(') {
        *after = false;
        *used = f ? strlen(f->name) + 1 : 1;
        return (!f || push_op(m, f->name)) && push_op(m, "(");
    }
    if ((s.p[0] >= '0' && s.p[0] <= '9') || s.p[0] == '-') return number(m, s, used);
    *used = atom_length(s);
    if (*used == 0) return qs_fail(m->e, QS_E_USAGE, "an operand is missing");
    return atom(m, qs_str_sub(s, 0, *used));
}

static bool operator_at(machine *m, qs_str s, bool *after) {
    static const char *const binaries[] = {"+", "-", "*", "/"};
    *after = s.p[0] == ')';
    if (s.p[0] == ')') return unwind(m, true);
    if (s.p[0] == ',') return unwind(m, false);
    for (int i = 0; i < 4; i++)
        if (s.p[0] == *binaries[i]) return binary(m, binaries[i]);
    return qs_fail(m->e, QS_E_USAGE, "'%c' is no operator", s.p[0]);
}

bool qs_lesson_evaluate(lesson_eval *ev, qs_str expr, lesson_value *out, qs_err *e) {
    machine m = {.ev = ev, .e = e};
    bool after = false; /* an operand has just been read */
    for (size_t at = 0; at < expr.n;) {
        qs_str rest = qs_str_sub(expr, at, expr.n);
        size_t used = 1;
        if (rest.p[0] == ' ') {
            at++;
            continue;
        }
        if (!(after ? operator_at(&m, rest, &after) : operand(&m, rest, &used, &after))) return false;
        at += used ? used : 1;
    }
    while (m.op_count) {
        if (*m.ops[m.op_count - 1] == '(') return qs_fail(e, QS_E_USAGE, "a bracket is missing");
        if (!run_op(&m)) return false;
    }
    if (m.value_count != 1) return qs_fail(e, QS_E_USAGE, "an operand is missing");
    *out = m.values[0];
    return true;
}

void qs_lesson_number(double v, int digits, char *out, size_t cap) {
    if (isnan(v))
        snprintf(out, cap, "NaN");
    else if (digits <= 0 && fabs(v) < 1e15 && v == floor(v))
        snprintf(out, cap, "%.0f", v);
    else
        snprintf(out, cap, "%.*g", digits > 0 && digits < 18 ? digits : 6, v);
}

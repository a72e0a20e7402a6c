/* A page of a lesson for the files that are open: variables, figures, wrapping, answers. */
#include "teach/lesson_impl.h"

#include <ctype.h>
#include <math.h>

/* Says in which lesson and line an error of the inner layers is. */
static bool locate(const lesson_eval *ev, uint32_t line, qs_str expr, qs_err *e) {
    char place[200];
    snprintf(place, sizeof place, "lesson %s, line %u, {{%.*s}}", ev->lesson->name, line,
             (int)(expr.n < 100 ? expr.n : 100), expr.p);
    qs_err_prefix(e, place);
    return false;
}

static const lesson_var *find_var(const lesson_eval *ev, qs_str name) {
    for (size_t i = 0; i < ev->vars.n; i++)
        if (qs_str_eq(ev->vars.v[i].name, name)) return &ev->vars.v[i];
    return NULL;
}

/* $name and ${name}; a dollar before anything else is itself. Unknown names are an error. */
static bool substitute(lesson_eval *ev, qs_str text, qs_buf *out, qs_err *e) {
    for (size_t i = 0; i < text.n;) {
        size_t from = i + 1;
        bool braced = from < text.n && text.p[from] == '{';
        size_t end = from += braced;
        while (end < text.n && ((text.p[end] >= 'a' && text.p[end] <= 'z') || text.p[end] == '_')) end++;
        if (text.p[i] != '$' || end == from || (braced && (end == text.n || text.p[end] != '}'))) {
            qs_buf_addc(out, text.p[i++]);
            continue;
        }
        qs_str name = qs_str_sub(text, from, end);
        const lesson_var *v = find_var(ev, name);
        if (!v) return qs_fail(e, QS_E_USAGE, "no @let makes $%.*s", QS_FMT(name));
        qs_buf_add(out, v->value);
        i = end + braced;
    }
    return !out->failed || qs_nomem(e);
}

/* "EXPR ~ 4": four significant digits. */
static int take_digits(qs_str *expr) {
    size_t tilde = qs_str_rfind_char(*expr, '~');
    if (tilde == SIZE_MAX || tilde + 1 >= expr->n) return 0;
    qs_str digits = qs_trim(qs_str_sub(*expr, tilde + 1, expr->n));
    if (digits.n != 1 || digits.p[0] < '1' || digits.p[0] > '9') return 0;
    *expr = qs_trim(qs_str_sub(*expr, 0, tilde));
    return digits.p[0] - '0';
}

static bool add_value(lesson_eval *ev, qs_str source, uint32_t line, qs_buf *out, qs_err *e) {
    qs_buf expr = {0};
    lesson_value v;
    bool ok = substitute(ev, source, &expr, e);
    qs_str rest = qs_trim(qs_buf_str(&expr));
    int digits = ok ? take_digits(&rest) : 0;
    ok = ok && qs_lesson_evaluate(ev, rest, &v, e);
    char text[512];
    if (ok && v.is_text) {
        qs_str_printable(v.text, text, sizeof text);
        qs_buf_addz(out, text);
    } else if (ok) {
        qs_lesson_number(v.number, digits, text, sizeof text);
        qs_buf_addz(out, text);
    }
    qs_buf_free(&expr);
    return ok || locate(ev, line, source, e);
}

static bool expand(lesson_eval *ev, lesson_line from, qs_buf *out, qs_err *e) {
    qs_str text = from.text;
    while (text.n) {
        size_t open = qs_str_find(text, QS_STR("{{"));
        if (!substitute(ev, qs_str_sub(text, 0, open), out, e)) return locate(ev, from.line, text, e);
        if (open == SIZE_MAX) break;
        text = qs_str_sub(text, open + 2, text.n);
        size_t close = qs_str_find(text, QS_STR("}}")); /* there: the parser checked */
        if (!add_value(ev, qs_str_sub(text, 0, close), from.line, out, e)) return false;
        text = qs_str_sub(text, close + 2, text.n);
    }
    return !out->failed || qs_nomem(e);
}

bool qs_lesson_expand(lesson_eval *ev, lesson_line from, qs_str *out, qs_err *e) {
    qs_buf b = {0};
    bool ok = expand(ev, from, &b, e);
    if (ok) {
        *out = qs_arena_str(ev->arena, qs_buf_str(&b));
        ok = out->p || qs_nomem(e);
    }
    qs_buf_free(&b);
    return ok;
}

/* "EXPR || EXPR": the first that can be computed. One that is written wrongly is not passed over. */
static bool evaluate_either(lesson_eval *ev, qs_str expr, lesson_value *out, qs_err *e) {
    for (;;) {
        size_t bars = qs_str_find(expr, QS_STR("||"));
        qs_err one = QS_ERR_INIT;
        if (qs_lesson_evaluate(ev, qs_trim(qs_str_sub(expr, 0, bars)), out, &one)) return true;
        if (bars == SIZE_MAX || one.code == QS_E_NOMEM || one.code == QS_E_USAGE) {
            if (!e->code) *e = one;
            return false;
        }
        expr = qs_str_sub(expr, bars + 2, expr.n);
    }
}

/* A variable keeps its full precision, and names of keys keep their bytes. */
static bool bind_one(lesson_eval *ev, const lesson_let *let, qs_err *e) {
    qs_buf expr = {0};
    lesson_value v = {0};
    bool ok = substitute(ev, let->expr.text, &expr, e) && evaluate_either(ev, qs_buf_str(&expr), &v, e);
    char number[40];
    snprintf(number, sizeof number, "%.17g", v.number);
    qs_str value = {0};
    if (ok) value = qs_arena_str(ev->arena, v.is_text ? v.text : qs_str_of(number));
    qs_buf_free(&expr);
    if (!ok) return locate(ev, let->expr.line, let->expr.text, e);
    return (value.p && qs_push(&ev->vars, (lesson_var){let->name, value})) || qs_nomem(e);
}

bool qs_lesson_bind(lesson_eval *ev, qs_err *e) {
    for (size_t i = 0; i < ev->lesson->lets.n; i++)
        if (!bind_one(ev, &ev->lesson->lets.v[i], e)) return false;
    return true;
}

bool qs_lesson_applies(const qs_lesson *l, const qs_lesson_subject *s, qs_err *e) {
    qs_arena arena = {0};
    lesson_eval ev = {.lesson = l, .s = s, .arena = &arena};
    qs_err why = QS_ERR_INIT;
    bool ok = qs_lesson_bind(&ev, &why);
    qs_vec_free(&ev.vars);
    qs_arena_free(&arena);
    if (ok) return true;
    if (why.code == QS_E_INPUT)
        return qs_fail(e, QS_E_INPUT, "this lesson needs %s",
                       l->needs ? l->needs : "keys that the open file does not have");
    if (!e->code) *e = why;
    return false;
}

/* ---- pages ---- */

static void add_paragraph(qs_buf *paragraph, unsigned width, qs_buf *out) {
    if (paragraph->n) qs_wrap(qs_buf_str(paragraph), "", "", width, out);
    paragraph->n = 0;
}

/* Lines that follow one another are one paragraph; a line that begins with a blank stands as it is. */
static bool add_body(lesson_eval *ev, const lesson_page *p, unsigned width, qs_buf *out, qs_err *e) {
    qs_buf paragraph = {0};
    bool ok = true;
    for (size_t i = 0; i < p->body.n && ok; i++) {
        qs_str line;
        if (!(ok = qs_lesson_expand(ev, p->body.v[i], &line, e))) break;
        bool as_is = line.n && line.p[0] == ' ';
        if (!line.n || as_is) add_paragraph(&paragraph, width, out);
        if (!line.n) qs_buf_addc(out, '\n');
        if (as_is) {
            qs_wrap(qs_trim(line), "  ", "      ", width, out);
        } else if (line.n) {
            if (paragraph.n) qs_buf_addc(&paragraph, ' ');
            qs_buf_add(&paragraph, line);
        }
    }
    add_paragraph(&paragraph, width, out);
    ok = ok && (!(paragraph.failed || out->failed) || qs_nomem(e));
    qs_buf_free(&paragraph);
    return ok;
}

static bool add_line(lesson_eval *ev, lesson_line from, const char *first, unsigned width, qs_buf *out,
                     qs_err *e) {
    qs_str text;
    if (!from.text.n) return true;
    if (!qs_lesson_expand(ev, from, &text, e)) return false;
    qs_wrap(text, first, "", width, out);
    return !out->failed || qs_nomem(e);
}

typedef bool work(lesson_eval *ev, const lesson_page *p, void *ctx, qs_err *e);

/* Binds the variables, does the work on a page, frees what it took. */
static bool on_page(const qs_lesson *l, size_t page, const qs_lesson_subject *s, work *f, void *ctx,
                    qs_err *e) {
    if (page >= l->pages.n) return qs_fail(e, QS_E_USAGE, "lesson %s has %zu pages", l->name, l->pages.n);
    qs_arena arena = {0};
    lesson_eval ev = {.lesson = l, .s = s, .arena = &arena};
    bool ok = qs_lesson_bind(&ev, e) && f(&ev, &l->pages.v[page], ctx, e);
    qs_vec_free(&ev.vars);
    qs_arena_free(&arena);
    return ok;
}

struct text_work {
    qs_lesson_part part;
    unsigned width;
    qs_buf *out;
};

static bool text_work(lesson_eval *ev, const lesson_page *p, void *ctx, qs_err *e) {
    struct text_work *w = ctx;
    switch (w->part) {
    case QS_LESSON_BODY: return add_body(ev, p, w->width, w->out, e);
    case QS_LESSON_QUESTION: return add_line(ev, p->ask, "", w->width, w->out, e);
    case QS_LESSON_HINT: return add_line(ev, p->hint, "", w->width, w->out, e);
    }
    return true;
}

bool qs_lesson_text(const qs_lesson *l, size_t page, qs_lesson_part part, const qs_lesson_subject *s,
                    unsigned width, qs_buf *out, qs_err *e) {
    struct text_work w = {part, width < 40 ? 40 : width, out};
    return on_page(l, page, s, text_work, &w, e);
}

struct shows_work {
    qs_arena *arena;
    qs_str *globs;
    size_t n;
};

static bool shows_work(lesson_eval *ev, const lesson_page *p, void *ctx, qs_err *e) {
    struct shows_work *w = ctx;
    w->globs = QS_ARENA_ARRAY(w->arena, p->show.n + 1, qs_str);
    if (!w->globs) return qs_nomem(e);
    for (size_t i = 0; i < p->show.n; i++) {
        qs_str glob;
        if (!qs_lesson_expand(ev, p->show.v[i], &glob, e)) return false;
        w->globs[i] = qs_arena_str(w->arena, glob);
        if (!w->globs[i].p) return qs_nomem(e);
    }
    w->n = p->show.n;
    return true;
}

bool qs_lesson_shows(const qs_lesson *l, size_t page, const qs_lesson_subject *s, qs_arena *arena,
                     qs_str **globs, size_t *n, qs_err *e) {
    struct shows_work w = {.arena = arena};
    if (!on_page(l, page, s, shows_work, &w, e)) return false;
    *globs = w.globs;
    *n = w.n;
    return true;
}

bool qs_lesson_is_shown(const qs_str *globs, size_t n, qs_str key) {
    for (size_t i = 0; i < n; i++)
        if (qs_glob(globs[i], key)) return true;
    return false;
}

/* ---- answers ---- */

static bool same_word(qs_str a, qs_str b) {
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (tolower((unsigned char)a.p[i]) != tolower((unsigned char)b.p[i])) return false;
    return true;
}

static bool as_number(qs_str s, double *out) {
    char text[64], *end;
    if (!s.n || s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *out = strtod(text, &end);
    return end != text && !*end;
}

static bool same_answer(qs_str want, qs_str typed) {
    double a, b;
    if (!as_number(want, &a) || !as_number(typed, &b)) return same_word(want, typed);
    if (a == floor(a)) return a == b;
    return fabs(a - b) <= 0.01 * fabs(a);
}

/* The next of the alternatives between bars. */
static qs_str next_answer(qs_str *list) {
    size_t bar = qs_str_find(*list, QS_STR("|"));
    qs_str one = qs_str_sub(*list, 0, bar);
    *list = bar == SIZE_MAX ? (qs_str){0} : qs_str_sub(*list, bar + 1, list->n);
    return qs_trim(one);
}

struct answer_work {
    qs_str typed;
    bool right;
    qs_buf *out; /* not NULL: the answer itself is wanted */
};

static bool answer_work(lesson_eval *ev, const lesson_page *p, void *ctx, qs_err *e) {
    struct answer_work *w = ctx;
    qs_str list;
    if (!p->answer.text.n) return qs_fail(e, QS_E_USAGE, "the page asks nothing");
    if (!qs_lesson_expand(ev, p->answer, &list, e)) return false;
    if (w->out) {
        qs_buf_add(w->out, next_answer(&list));
        return !w->out->failed || qs_nomem(e);
    }
    while (list.n && !w->right) w->right = same_answer(next_answer(&list), qs_trim(w->typed));
    return true;
}

bool qs_lesson_check(const qs_lesson *l, size_t page, const qs_lesson_subject *s, qs_str typed, bool *right,
                     qs_err *e) {
    struct answer_work w = {.typed = typed};
    if (!on_page(l, page, s, answer_work, &w, e)) return false;
    *right = w.right;
    return true;
}

bool qs_lesson_answer(const qs_lesson *l, size_t page, const qs_lesson_subject *s, qs_buf *out, qs_err *e) {
    struct answer_work w = {.out = out};
    return on_page(l, page, s, answer_work, &w, e);
}

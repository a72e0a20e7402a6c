/* What the files of the lesson engine share. */
#ifndef QS_TEACH_LESSON_IMPL_H
#define QS_TEACH_LESSON_IMPL_H

#include "base/arena.h"
#include "base/vec.h"
#include "teach/lesson.h"
#include "teach/text.h"

#include <stdlib.h>

/* A piece of source text and the line it stands on. */
typedef struct lesson_line {
    qs_str text;
    uint32_t line;
} lesson_line;

typedef struct lesson_let {
    qs_str name;
    lesson_line expr;
} lesson_let;

typedef struct lesson_page {
    const char *title;
    uint32_t line;
    QS_VEC(lesson_line) body; /* one a source line; empty text: a blank line */
    QS_VEC(lesson_line) show;
    QS_VEC(qs_lesson_press) press;
    lesson_line ask, answer, hint; /* text.n == 0: none */
} lesson_page;

struct qs_lesson {
    qs_arena arena;
    const char *name, *title, *about, *needs;
    QS_VEC(lesson_let) lets;
    QS_VEC(lesson_page) pages;
};

/* The value of an expression: a number or a text. */
typedef struct lesson_value {
    bool is_text;
    double number;
    qs_str text; /* in the arena of the evaluation, or borrowed from the documents */
} lesson_value;

typedef struct lesson_var {
    qs_str name, value;
} lesson_var;

/* One evaluation: the subject, the variables bound so far, memory for the results. */
typedef struct lesson_eval {
    const qs_lesson *lesson;
    const qs_lesson_subject *s;
    qs_arena *arena;
    QS_VEC(lesson_var) vars;
} lesson_eval;

/* Evaluates every @let in order. The caller frees ev->vars. */
bool qs_lesson_bind(lesson_eval *ev, qs_err *e);
/* $name and {{expression}} replaced; the text lives in the arena. */
bool qs_lesson_expand(lesson_eval *ev, lesson_line from, qs_str *out, qs_err *e);
/* One expression, $names replaced already. The error does not name the line. */
bool qs_lesson_evaluate(lesson_eval *ev, qs_str expr, lesson_value *out, qs_err *e);
/* "count:status=missing": what is asked, and of what. */
bool qs_lesson_query(lesson_eval *ev, qs_str what, qs_str arg, lesson_value *out, qs_err *e);
/* The number as a person reads it, with so many significant digits (0: 6). */
void qs_lesson_number(double v, int digits, char *out, size_t cap);

#endif

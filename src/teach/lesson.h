/* Lessons: short texts about the file that is open, with figures computed from it, rows to look at, things to
 * press and questions whose answers are checked. Written as plain text (lessons/README.txt says how), the
 * built-in ones compiled in, others read from a folder. */
#ifndef QS_TEACH_LESSON_H
#define QS_TEACH_LESSON_H

#include "repair/compare.h"

typedef struct qs_lesson qs_lesson;

/* What a lesson is about: the open files. All borrowed; a session has all three. */
typedef struct qs_lesson_subject {
    const qs_compare *compare;
    const qs_resolution *resolution; /* the one compare was made from */
    const qs_verdict *verdict;       /* NULL without a target */
} qs_lesson_subject;

/* One lesson from its text; `name` is its file's name without ".txt". Errors (QS_E_INPUT) name the line. */
bool qs_lesson_parse(const char *text, size_t n, const char *name, qs_lesson **out, qs_err *e);
void qs_lesson_free(qs_lesson *l);

const char *qs_lesson_name(const qs_lesson *l); /* "03-seven-keys" */
const char *qs_lesson_title(const qs_lesson *l);
const char *qs_lesson_about(const qs_lesson *l); /* one line for the list */
size_t qs_lesson_pages(const qs_lesson *l);

/* A command of ui/commands.def to press, by its name ("next-problem"), and what for. */
typedef struct qs_lesson_press {
    qs_str command, why;
    uint32_t line; /* of the lesson's text */
} qs_lesson_press;
typedef struct qs_lesson_page {
    const char *title;
    size_t press_count;
    const qs_lesson_press *press;
    bool asks; /* has a question */
    bool hints;
} qs_lesson_page;
bool qs_lesson_page_at(const qs_lesson *l, size_t page, qs_lesson_page *out); /* false beyond the end */

/* Does the open file have what the lesson speaks of? If not, QS_E_INPUT and in words what it needs; a lesson
 * that is written wrongly is QS_E_USAGE, and the message names the line. */
bool qs_lesson_applies(const qs_lesson *l, const qs_lesson_subject *s, qs_err *e);

typedef enum qs_lesson_part { QS_LESSON_BODY, QS_LESSON_QUESTION, QS_LESSON_HINT } qs_lesson_part;
/* A part of a page as lines of at most `width` columns (40 or more), figures put in; names from the file are
 * made printable. Nothing is appended where the page has no such part. Fails where a figure cannot be
 * computed: the message names the lesson, the line and the expression. */
bool qs_lesson_text(const qs_lesson *l, size_t page, qs_lesson_part part, const qs_lesson_subject *s,
                    unsigned width, qs_buf *out, qs_err *e);
/* Should this key's row be highlighted on the page? *globs come from qs_lesson_shows. */
bool qs_lesson_shows(const qs_lesson *l, size_t page, const qs_lesson_subject *s, qs_arena *arena,
                     qs_str **globs, size_t *n, qs_err *e);
bool qs_lesson_is_shown(const qs_str *globs, size_t n, qs_str key);
/* Is what a person typed the answer? Numbers: whole ones exactly, others within 1 %. Words: case does not
 * matter. */
bool qs_lesson_check(const qs_lesson *l, size_t page, const qs_lesson_subject *s, qs_str typed, bool *right,
                     qs_err *e);
/* The answer itself, the first of the alternatives. */
bool qs_lesson_answer(const qs_lesson *l, size_t page, const qs_lesson_subject *s, qs_buf *out, qs_err *e);

/* ---- all lessons ---- */

typedef struct qs_lessons qs_lessons;
/* The built-in lessons, and those of a folder (`--lessons DIR`; NULL: none): every *.txt, by name; one with
 * the name of a built-in lesson stands in its place. */
bool qs_lessons_open(const char *dir, qs_lessons **out, qs_err *e);
void qs_lessons_free(qs_lessons *ls);
size_t qs_lessons_count(const qs_lessons *ls);
const qs_lesson *qs_lessons_at(const qs_lessons *ls, size_t i);

/* ---- how far a person has come ---- */

typedef struct qs_lesson_log qs_lesson_log;
/* "$XDG_STATE_HOME/qatscope/lessons" (or below ~/.local/state); false if neither variable is set or it is too
 * long. */
bool qs_lesson_log_path(char *out, size_t cap);
/* A log that does not exist is empty; lines that make no sense are left out. */
bool qs_lesson_log_open(const char *path, qs_lesson_log **out, qs_err *e);
void qs_lesson_log_free(qs_lesson_log *log);
size_t qs_lesson_log_page(const qs_lesson_log *log, const char *lesson); /* the page reached, 0 at first */
bool qs_lesson_log_done(const qs_lesson_log *log, const char *lesson);
/* Remembered from now on; QS_E_NOMEM at most. Done stays done. */
bool qs_lesson_log_set(qs_lesson_log *log, const char *lesson, size_t page, bool done, qs_err *e);
/* Written in one step; folders on the way are made. */
bool qs_lesson_log_save(const qs_lesson_log *log, const char *path, qs_err *e);

#endif

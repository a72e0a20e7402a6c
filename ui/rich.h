/* Text in several paints, line by line: details, help, messages. Built when something changes, drawn often.
 */
#ifndef QS_UI_RICH_H
#define QS_UI_RICH_H

#include "base/vec.h"
#include "ui/grid.h"

typedef struct qs_span {
    qs_pen pen;
    size_t from, n; /* bytes of text */
} qs_span;

typedef struct qs_rich {
    qs_buf text;
    QS_VEC(qs_span) span;
    QS_VEC(size_t) line; /* first span of each line */
    bool failed;         /* memory ran out: what is there is true, but not all */
} qs_rich;               /* zero-initialise */

void qs_rich_free(qs_rich *r);
void qs_rich_clear(qs_rich *r); /* keeps the memory */
/* Start a line; text goes to the last one. */
void qs_rich_line(qs_rich *r);
void qs_rich_add(qs_rich *r, qs_pen pen, qs_str text);
void qs_rich_addf(qs_rich *r, qs_pen pen, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A text with line breaks, each line on one of its own; tabs at its beginning become blanks. */
void qs_rich_add_lines(qs_rich *r, qs_pen pen, qs_str text);
static inline size_t qs_rich_lines(const qs_rich *r) {
    return r->line.n;
}
/* Adds what a line says. */
void qs_rich_text(const qs_rich *r, size_t line, qs_buf *out);
/* Columns of a line. */
int qs_rich_width(const qs_rich *r, const qs_grid *g, size_t line);
/* Draws line i; returns the column after it. */
int qs_rich_draw(const qs_rich *r, size_t line, qs_pane p, int x, int y);
/* Copy with lines broken to fit `width` columns, after a blank or a comma where there is one; what follows is
 * indented by `hang` more than its line begins; where `hang` is negative, by that much in lines that begin
 * with a blank, and not at all in others. */
void qs_rich_wrap(const qs_rich *in, const qs_grid *g, int width, int hang, qs_rich *out);

#endif

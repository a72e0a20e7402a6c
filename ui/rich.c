#include "ui/rich.h"

#include <stdarg.h>
#include <stdlib.h>

void qs_rich_free(qs_rich *r) {
    qs_buf_free(&r->text);
    qs_vec_free(&r->span);
    qs_vec_free(&r->line);
    *r = (qs_rich){0};
}

void qs_rich_clear(qs_rich *r) {
    r->text.n = r->span.n = r->line.n = 0;
    r->failed = r->text.failed = false;
}

void qs_rich_line(qs_rich *r) {
    if (!qs_push(&r->line, r->span.n)) r->failed = true;
}

void qs_rich_add(qs_rich *r, qs_pen pen, qs_str text) {
    if (text.n == 0) return;
    if (r->line.n == 0) qs_rich_line(r);
    size_t from = r->text.n;
    qs_buf_add(&r->text, text);
    if (r->text.failed || !qs_push(&r->span, (qs_span){pen, from, text.n})) r->failed = true;
}

void qs_rich_addf(qs_rich *r, qs_pen pen, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    qs_rich_add(r, pen, qs_str_of(text));
}

static size_t spans_end(const qs_rich *r, size_t line) {
    return line + 1 < r->line.n ? r->line.v[line + 1] : r->span.n;
}

static qs_str span_text(const qs_rich *r, size_t i) {
    return qs_str_sub(qs_buf_str(&r->text), r->span.v[i].from, r->span.v[i].from + r->span.v[i].n);
}

void qs_rich_add_lines(qs_rich *r, qs_pen pen, qs_str text) {
    while (text.n) {
        size_t end = 0;
        while (end < text.n && text.p[end] != '\n') end++;
        qs_str line = qs_str_sub(text, 0, end);
        qs_rich_line(r);
        while (line.n && line.p[0] == '\t') {
            qs_rich_addf(r, pen, "    ");
            line = qs_str_sub(line, 1, line.n);
        }
        qs_rich_add(r, pen, line);
        text = qs_str_sub(text, end + 1, text.n);
    }
}

void qs_rich_text(const qs_rich *r, size_t line, qs_buf *out) {
    for (size_t i = line < r->line.n ? r->line.v[line] : 0; line < r->line.n && i < spans_end(r, line); i++)
        qs_buf_add(out, span_text(r, i));
}

int qs_rich_width(const qs_rich *r, const qs_grid *g, size_t line) {
    int w = 0;
    for (size_t i = line < r->line.n ? r->line.v[line] : 0; line < r->line.n && i < spans_end(r, line); i++)
        w += qs_text_width(g, span_text(r, i));
    return w;
}

int qs_rich_draw(const qs_rich *r, size_t line, qs_pane p, int x, int y) {
    if (line >= r->line.n) return x;
    for (size_t i = r->line.v[line]; i < spans_end(r, line); i++)
        x = qs_draw(p, x, y, r->span.v[i].pen, span_text(r, i));
    return x;
}

/* Where to break `text` that has `room` columns: bytes to keep on this line. At least one character if
 * `force`. */
static size_t break_at(const qs_grid *g, qs_str text, int room, bool force) {
    size_t fits = 0, good = 0;
    int w = 0;
    while (fits < text.n) {
        uint32_t cp;
        size_t n = qs_utf8_decode(qs_str_sub(text, fits, text.n), &cp);
        if (n == 0) n = 1;
        w += qs_text_width(g, qs_str_sub(text, fits, fits + n));
        if (w > room && text.p[fits] == ' ') return fits; /* the blank falls away at the break */
        if (w > room) break;
        fits += n;
        if (text.p[fits - 1] == ' ') good = fits;
    }
    if (fits == text.n) return fits;
    if (good > 0) return good;
    return fits > 0 || !force ? fits : 1;
}

static int leading_blanks(const qs_rich *r, size_t line) {
    size_t i = r->line.v[line];
    if (i >= spans_end(r, line)) return 0;
    qs_str t = span_text(r, i);
    size_t n = 0;
    while (n < t.n && t.p[n] == ' ') n++;
    return (int)n;
}

static void wrap_line(const qs_rich *in, const qs_grid *g, size_t line, int width, int hang, qs_rich *out) {
    int blanks = leading_blanks(in, line), x = 0;
    int indent = hang >= 0 ? blanks + hang : blanks ? blanks - hang : 0;
    if (indent > width / 2) indent = width / 2;
    qs_rich_line(out);
    for (size_t i = in->line.v[line]; i < spans_end(in, line); i++) {
        qs_str rest = span_text(in, i);
        while (rest.n) {
            size_t n = break_at(g, rest, width - x, x <= indent);
            qs_str now = qs_str_sub(rest, 0, n);
            qs_rich_add(out, in->span.v[i].pen, now);
            x += qs_text_width(g, now);
            rest = qs_str_sub(rest, n, rest.n);
            while (x > indent && rest.n && rest.p[0] == ' ') rest = qs_str_sub(rest, 1, rest.n);
            if (rest.n == 0) break;
            qs_rich_line(out);
            qs_rich_addf(out, QS_PEN(NORMAL), "%*s", indent, "");
            x = indent;
        }
    }
}

void qs_rich_wrap(const qs_rich *in, const qs_grid *g, int width, int hang, qs_rich *out) {
    qs_rich_clear(out);
    for (size_t i = 0; i < in->line.n && !out->failed; i++)
        wrap_line(in, g, i, width > 8 ? width : 8, hang, out);
    out->failed = out->failed || in->failed;
}

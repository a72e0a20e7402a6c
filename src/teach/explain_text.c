/* Explanations as text: plain, Markdown, JSON, and the cheat sheet. */
#include "teach/explain.h"
#include "teach/text.h"

#include <stdlib.h>

extern const char qs_teach_cheatsheet[]; /* cheatsheet.txt, embedded by CMake */

typedef struct field {
    const char *label, *name, *text;
} field;
enum { FIELDS = 6 };

static void fields_of(const qs_explanation *x, field f[FIELDS]) {
    f[0] = (field){"What", "what", x->what};
    f[1] = (field){"Written by", "who", x->who};
    f[2] = (field){"Typical", "typical", x->typical};
    f[3] = (field){"If missing", "missing", x->missing};
    f[4] = (field){"If wrong", "wrong", x->wrong};
    f[5] = (field){"Goes with", "coupled", x->coupled};
}

static void version_text(const qs_fact *f, char *out, size_t cap) {
    if (f->until)
        snprintf(out, cap, "torch %d.%d to %d.%d", f->since / 100, f->since % 100, f->until / 100,
                 f->until % 100);
    else
        snprintf(out, cap, "since torch %d.%d", f->since / 100, f->since % 100);
}

/* "fresh 1.1920928955078125e-07" is exact but hard to read; the text form keeps what a person compares. */
static const char *fresh_text(const qs_fact *f, char *out, size_t cap) {
    char *end;
    double v = strtod(f->fresh, &end);
    if (!*f->fresh || *end) return f->fresh;
    snprintf(out, cap, "%.8g", v);
    return out;
}

static void print_facts(const qs_explanation *x, bool markdown, unsigned width, qs_buf *out) {
    for (size_t i = 0; i < qs_explain_fact_count(); i++) {
        const qs_fact *f = qs_explain_fact(i);
        if (strcmp(f->id, x->id) != 0) continue;
        char line[256], when[48], fresh[32];
        version_text(f, when, sizeof when);
        const char *value = fresh_text(f, fresh, sizeof fresh);
        snprintf(line, sizeof line, "%s %s%s%s: %s (%s)", f->dtype, f->shape, *value ? ", fresh " : "", value,
                 f->in, when);
        if (markdown)
            qs_buf_addf(out, "- %s\n", line);
        else
            qs_wrap(qs_str_of(line), "  Holds       ", "              ", width, out);
    }
}

static void print_plain(const qs_explanation *x, unsigned width, qs_buf *out) {
    qs_wrap(qs_str_of(x->title), "", "", width, out);
    field f[FIELDS];
    fields_of(x, f);
    for (int i = 0; i < FIELDS; i++) {
        char indent[32];
        if (i == 2) print_facts(x, false, width, out);
        if (!*f[i].text) continue;
        snprintf(indent, sizeof indent, "  %-11s ", f[i].label);
        qs_wrap(qs_str_of(f[i].text), indent, "              ", width, out);
    }
}

static void print_markdown(const qs_explanation *x, qs_buf *out) {
    qs_buf_addf(out, "### %s\n\n", x->title);
    const char *list = x->keys;
    for (size_t n; list += strspn(list, " "), (n = strcspn(list, " ")) > 0; list += n)
        qs_buf_addf(out, "`%.*s` ", (int)n, list);
    qs_buf_addz(out, "\n\n");
    field f[FIELDS];
    fields_of(x, f);
    for (int i = 0; i < FIELDS; i++) {
        if (i == 2) {
            size_t before = out->n;
            print_facts(x, true, 0, out);
            if (out->n != before) qs_buf_addc(out, '\n');
        }
        if (*f[i].text) qs_buf_addf(out, "**%s.** %s\n\n", f[i].label, f[i].text);
    }
}

static void json_pair(qs_buf *out, const char *name, const char *text) {
    qs_buf_addf(out, ", \"%s\": ", name);
    qs_buf_add_json(out, qs_str_of(text));
}

static void print_json(const qs_explanation *x, qs_buf *out) {
    qs_buf_addz(out, "{\"id\": ");
    qs_buf_add_json(out, qs_str_of(x->id));
    json_pair(out, "families", x->families);
    json_pair(out, "keys", x->keys);
    json_pair(out, "title", x->title);
    field f[FIELDS];
    fields_of(x, f);
    for (int i = 0; i < FIELDS; i++) json_pair(out, f[i].name, f[i].text);
    qs_buf_addz(out, ", \"facts\": [");
    const char *comma = "";
    for (size_t i = 0; i < qs_explain_fact_count(); i++) {
        const qs_fact *a = qs_explain_fact(i);
        if (strcmp(a->id, x->id) != 0) continue;
        qs_buf_addf(out, "%s{\"since\": %d, \"until\": %d", comma, a->since, a->until);
        json_pair(out, "in", a->in);
        json_pair(out, "dtype", a->dtype);
        json_pair(out, "shape", a->shape);
        json_pair(out, "fresh", a->fresh);
        qs_buf_addc(out, '}');
        comma = ", ";
    }
    qs_buf_addz(out, "]}");
}

void qs_explain_print(const qs_explanation *x, qs_explain_form form, unsigned width, qs_buf *out) {
    switch (form) {
    case QS_EXPLAIN_PLAIN: print_plain(x, width, out); break;
    case QS_EXPLAIN_MARKDOWN: print_markdown(x, out); break;
    case QS_EXPLAIN_JSON: print_json(x, out); break;
    }
}

void qs_explain_print_all(qs_explain_form form, unsigned width, qs_buf *out) {
    if (form == QS_EXPLAIN_JSON) qs_buf_addz(out, "[\n");
    if (form == QS_EXPLAIN_MARKDOWN) qs_buf_addz(out, "# Keys of a state_dict\n\n");
    for (size_t i = 0; i < qs_explain_count(); i++) {
        const qs_explanation *x = qs_explain_at(i);
        const char *title = x->group;
        if (form == QS_EXPLAIN_JSON) {
            if (i) qs_buf_addz(out, ",\n");
        } else if (title && form == QS_EXPLAIN_MARKDOWN) {
            qs_buf_addf(out, "## %s\n\n", title);
        } else if (title) {
            qs_buf_addf(out, "%s%s\n", i ? "\n\n" : "", title);
            for (size_t k = strlen(title); k > 0; k--) qs_buf_addc(out, '=');
            qs_buf_addc(out, '\n');
        }
        if (form == QS_EXPLAIN_PLAIN) qs_buf_addc(out, '\n');
        qs_explain_print(x, form, width, out);
        if (form == QS_EXPLAIN_PLAIN)
            qs_wrap(qs_str_of(x->keys), "  Names       ", "              ", width, out);
    }
    if (form == QS_EXPLAIN_JSON) qs_buf_addz(out, "\n]\n");
}

void qs_explain_print_cheatsheet(bool markdown, qs_buf *out) {
    if (markdown) qs_buf_addz(out, "```\n");
    qs_buf_addz(out, qs_teach_cheatsheet);
    if (markdown) qs_buf_addz(out, "```\n");
}

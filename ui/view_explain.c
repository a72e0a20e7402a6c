#include "ui/app_impl.h"

#include "teach/explain.h"
#include "teach/trace.h"

/* What a key is, and a strict load step by step: both as pages of text. */

/* A block of plain text, its first line as a title; labels ("  Written by  ") stand out. */
static void add_text(qs_rich *r, qs_str text) {
    bool first = true;
    while (text.n) {
        size_t end = qs_str_find(text, QS_STR("\n"));
        qs_str line = qs_str_sub(text, 0, end);
        size_t label = !first && line.n > 14 && line.p[2] != ' ' ? 14 : 0;
        qs_rich_line(r);
        qs_rich_add(r, QS_PEN(KEY), qs_str_sub(line, 0, label));
        qs_rich_add(r, first ? QS_PEN(STRONG) : QS_PEN(NORMAL), qs_str_sub(line, label, line.n));
        text = end == SIZE_MAX ? (qs_str){0} : qs_str_sub(text, end + 1, text.n);
        first = false;
    }
}

void qs_explain_open(qs_app *a) {
    uint32_t i = qs_tree_selected_row(&a->tree);
    if (i == QS_NO_INDEX) return qs_app_say(a, "this is a module: keys have explanations");
    const qs_row *row = qs_compare_row(a->tree.c, i);
    qs_quant_key k = {.family = row->family, .role = row->role, .is_weight = row->role_is_weight};
    qs_buf text = {0};
    qs_rich *r = &a->text.text;
    qs_explain_print(qs_explain(k.family ? &k : NULL, row->key), QS_EXPLAIN_PLAIN,
                     a->w > 44 ? (unsigned)a->w - 4 : 40, &text);
    if (text.failed) {
        qs_buf_free(&text);
        return qs_app_complain(a, "out of memory");
    }
    qs_rich_clear(r);
    qs_rich_line(r);
    qs_rich_add(r, QS_PEN(TITLE), row->key);
    if (row->family) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(DIM), "%s, %s", qs_family_name(row->family), qs_role_name(row->role));
    }
    qs_rich_line(r);
    add_text(r, qs_buf_str(&text));
    qs_buf_free(&text);
    qs_text_open(a, "what this key is", 0);
}

static qs_pen step_pen(const qs_step *s) {
    if (s->kind == QS_STEP_ENTER) return QS_PEN(STRONG);
    if (s->kind == QS_STEP_UNEXPECTED) return QS_PEN(UNEXPECTED);
    if (qs_step_get(s->kind)->error) return QS_PEN(MISSING);
    return s->kind == QS_STEP_TAKE ? QS_PEN(OK) : QS_PEN(TOLERATED);
}

static bool add_steps(qs_rich *r, const qs_trace *t) {
    qs_buf line = {0};
    for (size_t i = 0; i < qs_trace_count(t); i++) {
        const qs_step *s = qs_trace_step(t, i);
        line.n = 0;
        for (uint32_t d = 0; d < s->depth && d < 12; d++) qs_buf_addz(&line, "  ");
        if (s->kind != QS_STEP_ENTER) qs_buf_addz(&line, "  ");
        qs_trace_text(t, i, true, &line);
        qs_rich_line(r);
        qs_rich_add(r, step_pen(s), qs_buf_str(&line));
    }
    bool ok = !line.failed;
    qs_buf_free(&line);
    return ok;
}

void qs_trace_open(qs_app *a) {
    const qs_verdict *v = qs_session_verdict(a->s);
    qs_trace *t = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_trace_make(qs_session_resolution(a->s), v, &t, &e)) return qs_app_fail(a, &e);
    qs_rich *r = &a->text.text;
    int torch = qs_verdict_torch(v);
    qs_rich_clear(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(DIM),
                 "How load_state_dict of torch %d.%d walks through the model, in its own order.", torch / 100,
                 torch % 100);
    qs_rich_line(r);
    if (!add_steps(r, t)) qs_app_complain(a, "out of memory");
    qs_trace_free(t);
    qs_text_open(a, "the load, step by step", 4);
}

#include "ui/app_impl.h"

#include "teach/explain.h"

/* What a key is, as a page of text. */

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

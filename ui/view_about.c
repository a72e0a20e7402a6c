#include "ui/app_impl.h"

#include "model/about.h"
#include "model/provenance.h"

/* What the open files are, on a page. */

static void add_fact(qs_rich *r, const char *label, const char *text) {
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "  %-12s", label);
    qs_rich_addf(r, QS_PEN(NORMAL), "%s", text);
}

/* Who wrote it, as far as the file tells. */
static void add_provenance(qs_rich *r, const qs_checkpoint *c) {
    qs_provenance *p;
    qs_err unused = QS_ERR_INIT;
    if (!qs_provenance_new(c, &p, &unused)) return;
    for (size_t i = 0; i < p->facts.n; i++)
        if (strcmp(p->facts.v[i].label, "container") != 0) /* the format, which is there already */
            add_fact(r, p->facts.v[i].label, p->facts.v[i].text);
    qs_provenance_free(p);
}

static void add_checkpoint(qs_rich *r, const char *name, const qs_checkpoint *c) {
    qs_fact fact[QS_FACTS_MAX];
    size_t n = qs_about_checkpoint(c, fact);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "%s", name);
    for (size_t i = 0; i < n; i++) add_fact(r, fact[i].label, fact[i].text);
    add_provenance(r, c);
    qs_rich_line(r);
}

static void add_model(qs_rich *r, const qs_manifest *m) {
    char name[300];
    qs_str_printable(qs_str_of(qs_manifest_name(m)), name, sizeof name);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "Model");
    add_fact(r, "file", name);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "  %-12s", "expects");
    qs_rich_addf(r, QS_PEN(NORMAL), "%u keys in %u modules", qs_manifest_count(m),
                 qs_manifest_module_count(m));
}

void qs_about_open(qs_app *a) {
    qs_rich *r = &a->text.text;
    qs_rich_clear(r);
    add_checkpoint(r, "A", qs_session_a(a->s));
    if (qs_session_b(a->s)) add_checkpoint(r, "B", qs_session_b(a->s));
    if (qs_session_target(a->s) && !qs_session_target_is_b(a->s)) add_model(r, qs_session_target(a->s));
    qs_text_open(a, "the open files", 12);
}

#include "ui/app_impl.h"

/* Why the file would not load: the diagnosis, its causes with what speaks for them and what to do, and what
 * strict=False would make of it. */

static void add_cause(qs_rich *r, size_t number, const qs_cause *c) {
    const qs_cause_info *info = qs_cause_get(c->id);
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "%2zu ", number);
    qs_rich_addf(r, QS_PEN(STRONG), "%s", info->what);
    if (c->keys) qs_rich_addf(r, QS_PEN(DIM), "  %u %s", c->keys, qs_plural(c->keys, "key", "keys"));
    if (c->left) qs_rich_addf(r, QS_PEN(MISSING), ", %u not repaired", c->left);
    if (c->evidence[0]) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(DIM), "   e.g. ");
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", c->evidence);
    }
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(LETTER), "   do: ");
    qs_rich_addf(r, QS_PEN(NORMAL), "%s", info->advice);
}

static void add_unstrict(qs_rich *r, const qs_diagnosis *d) {
    if (!d->unloaded && !d->ignored) return;
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(LETTER), "strict=False ");
    qs_rich_addf(r, QS_PEN(NORMAL),
                 "would leave %u of the model's keys as they are, and pass over %u of the file's; of "
                 "another shape it raises all the same.",
                 d->unloaded, d->ignored);
}

void qs_why_open(qs_app *a) {
    qs_rich *r = &a->text.text;
    qs_app_diagnose(a);
    const qs_diagnosis *d = a->diagnosis;
    if (!d) return qs_app_complain(a, "out of memory: there is no diagnosis");
    qs_rich_clear(r);
    qs_rich_addf(r, QS_PEN(STRONG), "%s", d->sentence);
    if (d->evidence[0]) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(DIM), "%s", d->evidence);
    }
    for (size_t i = 0; i < d->cause_count; i++) add_cause(r, i + 1, &d->causes[i]);
    add_unstrict(r, d);
    qs_text_open(a, d->kind == QS_DIAG_LOADS ? "what this file is" : "why, and what to do", -3);
}

/* The diagnosis in one sentence, and what it rests on. */
#include "repair/diagnose_impl.h"

#include <stdarg.h>
#include <stdio.h>

void qs_diag_say(qs_doctor *x, qs_diagnosis_kind kind, const char *fmt, ...) {
    va_list ap;
    char raw[256];
    x->d->pub.kind = kind;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    qs_str_printable(qs_str_of(raw), x->d->pub.sentence, sizeof x->d->pub.sentence);
}

static void add_words(char *text, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void add_words(char *text, size_t cap, const char *fmt, ...) {
    va_list ap;
    char raw[256];
    size_t n = strlen(text);
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    qs_str_printable(qs_str_of(raw), text + n, cap - n);
}

/* "348 renames + 1428 quantizer keys to initialise" */
static void work_text(const qs_doctor *x, bool quant_only, char *out, size_t cap) {
    const qs_diagnosis *d = &x->d->pub;
    out[0] = 0;
    if (d->renames) add_words(out, cap, "%u rename%s", d->renames, qs_diag_plural(d->renames));
    if (d->drops)
        add_words(out, cap, "%s%u key%s to drop", *out ? " + " : "", d->drops, qs_diag_plural(d->drops));
    if (d->converts)
        add_words(out, cap, "%s%u key%s to convert", *out ? " + " : "", d->converts,
                  qs_diag_plural(d->converts));
    if (d->inits)
        add_words(out, cap, "%s%u %skey%s to initialise", *out ? " + " : "", d->inits,
                  quant_only ? "quantizer " : "", qs_diag_plural(d->inits));
}

/* The prefix that most of the renames are about; NULL if there is none. */
static const qs_action *prefix_action(const qs_doctor *x) {
    for (size_t i = 0; i < x->actions.n; i++) {
        const qs_action *a = &x->actions.v[i];
        if (a->kind != QS_ACT_RULE || a->pattern_kind != QS_PATTERN_PREFIX) continue;
        if (qs_resolution_touched(x->t.r, x->before + i) * 2 >= x->d->pub.renames) return a;
    }
    return NULL;
}

static const char *prefix_maker(qs_str prefix) {
    if (qs_str_starts(prefix, QS_STR("module."))) return " (DataParallel or DDP)";
    if (qs_str_find(prefix, QS_STR("_orig_mod.")) != SIZE_MAX) return " (torch.compile)";
    if (qs_str_find(prefix, QS_STR("_fsdp_wrapped_module.")) != SIZE_MAX) return " (FSDP)";
    if (qs_str_find(prefix, QS_STR("ema")) != SIZE_MAX) return " (an EMA copy)";
    if (qs_str_is(prefix, "model.")) return " (a wrapper such as Lightning's)";
    return "";
}

/* " under the prefix "module."" between the subject and the rest of a sentence. */
static void prefix_text(const qs_action *p, char *out, size_t cap) {
    out[0] = 0;
    if (!p) return;
    if (p->pattern.n)
        snprintf(out, cap, ", under the prefix \"%.*s\",", QS_FMT(p->pattern));
    else
        snprintf(out, cap, ", without the prefix \"%.*s\",", QS_FMT(p->replacement));
}

static void say_prefix(qs_doctor *x, const qs_action *p, const char *work) {
    if (p->pattern.n && !p->replacement.n)
        qs_diag_say(x, QS_DIAG_PREFIX, "the checkpoint's keys have the prefix \"%.*s\"%s: %s",
                    QS_FMT(p->pattern), prefix_maker(p->pattern), work);
    else if (!p->pattern.n)
        qs_diag_say(x, QS_DIAG_PREFIX, "the checkpoint's keys lack the model's prefix \"%.*s\"%s: %s",
                    QS_FMT(p->replacement), prefix_maker(p->replacement), work);
    else
        qs_diag_say(x, QS_DIAG_PREFIX,
                    "the checkpoint's keys start \"%.*s\" where the model's start \"%.*s\": %s",
                    QS_FMT(p->pattern), QS_FMT(p->replacement), work);
}

static void say_shapes(qs_doctor *x, const qs_compare *c, const qs_diag_facts *f) {
    const qs_row *row = qs_compare_row(c, f->first_shape);
    const qs_resolve_input *in = qs_resolution_input(qs_compare_resolution(c));
    char have[64] = "?", want[64] = "?";
    if (qs_diag_in_result(row))
        qs_shape_text(qs_resolution_entry(qs_compare_resolution(c), row->r)->shape, "x", have, sizeof have);
    if (row->m != QS_NO_INDEX)
        qs_shape_text(qs_manifest_entry(in->target, row->m)->shape, "x", want, sizeof want);
    qs_diag_say(x, QS_DIAG_SHAPES,
                "%u key%s of another shape than the model's (%.*s: %s, model %s): names cannot repair that",
                f->shapes, qs_diag_plural(f->shapes), QS_FMT(row->key), have, want);
}

static void say_nothing_found(qs_doctor *x, const qs_compare *c, const qs_diag_facts *f) {
    if (x->copies[0].n) {
        qs_diag_say(
            x, QS_DIAG_COPIES,
            "the model is in the file more than once, under \"%.*s\" and under \"%.*s\": say which to "
            "take (a rule that strips its prefix, or fix --copy)",
            QS_FMT(x->copies[0]), QS_FMT(x->copies[1]));
        return;
    }
    if (x->converted.model && !x->converted.file) {
        /* A float file's weights count as quantizer keys here, one a module: the model's are quantized. */
        qs_diag_say(
            x, QS_DIAG_CONVERTED,
            "%s checkpoint for a model converted to int8: load it into the prepared model, then convert()",
            f->quant_here > f->blocks ? "a QAT" : "a float");
        return;
    }
    if (x->converted.file && !x->converted.model) {
        qs_diag_say(x, QS_DIAG_CONVERTED,
                    "an int8 checkpoint for a model that is not converted: prepare and convert() the model, "
                    "then load");
        return;
    }
    if (qs_manifest_cut_off(qs_resolution_input(qs_compare_resolution(c))->target))
        qs_diag_say(x, QS_DIAG_OTHER,
                    "the log is cut off: %u missing and %u unexpected keys are not all; the whole of it is "
                    "needed, or the model's manifest (-m)",
                    f->missing, f->unexpected);
    else if (f->shapes && !f->missing && !f->unexpected)
        say_shapes(x, c, f);
    else if (f->ok * 2 < f->wanted)
        qs_diag_say(x, QS_DIAG_OTHER, "another model: only %u of the %u keys it expects are here", f->ok,
                    f->wanted);
    else
        qs_diag_say(x, QS_DIAG_OTHER,
                    "%u missing, %u unexpected, %u of another shape: no repair is sure enough", f->missing,
                    f->unexpected, f->shapes);
}

static bool versions_set(const qs_doctor *x) {
    for (size_t i = 0; i < x->actions.n; i++)
        if (x->actions.v[i].kind == QS_ACT_METADATA) return true;
    return false;
}

void qs_diag_put_in_words(qs_doctor *x, const qs_compare *c, const qs_diag_facts *f) {
    qs_diagnosis *d = &x->d->pub;
    char work[160], prefix[96];
    const qs_action *p = prefix_action(x);
    bool quant_only = d->inits <= f->quant_gaps;
    work_text(x, quant_only, work, sizeof work);
    prefix_text(p, prefix, sizeof prefix);
    if (x->actions.n == 0) {
        say_nothing_found(x, c, f);
    } else if (f->quant_wanted && !f->quant_here) {
        qs_diag_say(x, QS_DIAG_FLOAT_INTO_QAT, "float checkpoint%s into a QAT model: %s", prefix, work);
    } else if (f->quant_here && !f->quant_wanted) {
        qs_diag_say(x, QS_DIAG_QAT_INTO_FLOAT, "QAT checkpoint%s into a float model: %s", prefix, work);
    } else if (p) {
        say_prefix(x, p, work);
    } else if (d->inits && quant_only && !f->weights_missing && !d->renames && !d->drops && !d->converts) {
        qs_diag_say(x, QS_DIAG_QUANT_MISSING, "only quantizer keys are missing: %s", work);
    } else {
        qs_diag_say(x, QS_DIAG_RENAMES, "the keys have other names in the model: %s", work);
        if (!d->renames && versions_set(x))
            qs_diag_say(x, QS_DIAG_OTHER, "the versions in `_metadata` are lost: the model's%s%s",
                        *work ? " + " : "", work);
        else if (!d->renames && d->converts)
            qs_diag_say(x, QS_DIAG_SHAPES, "some values are in another form than the model's: %s", work);
        else if (!d->renames)
            qs_diag_say(x, QS_DIAG_OTHER, "some keys are missing or too many: %s", work);
    }
    if (d->guesses) add_words(d->sentence, sizeof d->sentence, " (%u of them guesses)", d->guesses);
    if (d->likely * 4 > f->missing)
        add_words(d->sentence, sizeof d->sentence, "; %u likely rename%s, none sure", d->likely,
                  qs_diag_plural(d->likely));
    if (d->remaining && x->actions.n)
        add_words(d->sentence, sizeof d->sentence, "; %u problem%s left", d->remaining,
                  qs_diag_plural(d->remaining));
}

void qs_diag_give_evidence(qs_doctor *x, const qs_diag_facts *f) {
    char *out = x->d->pub.evidence;
    size_t cap = sizeof x->d->pub.evidence;
    add_words(out, cap, "%u of %u keys are where the model expects them", f->ok, f->wanted);
    if (f->missing || f->unexpected)
        add_words(out, cap, ", %u missing, %u unexpected", f->missing, f->unexpected);
    if (f->quant_wanted && f->blocks)
        add_words(out, cap, "; the model has %u quantizers (%s), the checkpoint %u quantizer keys", f->blocks,
                  qs_family_label(f->family), f->quant_here);
    else if (f->quant_here)
        add_words(out, cap, "; the model has no quantizers, the checkpoint %u quantizer keys", f->quant_here);
    if (f->fatal) add_words(out, cap, "; %u cannot be read or loaded", f->fatal);
}

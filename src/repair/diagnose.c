#include "repair/diagnose_impl.h"
#include "repair/match_impl.h"

#include <stdlib.h>

static void count_quant(qs_diag_facts *f, const qs_row *row, qs_str *block) {
    if (!qs_match_is_quant(row)) return;
    f->quant_here += qs_diag_in_result(row);
    if (row->m == QS_NO_INDEX) return;
    f->quant_wanted++;
    f->quant_gaps += qs_match_is_gap(row);
    f->family = row->family;
    qs_str mine = qs_str_sub(row->key, 0, row->block_len);
    if (mine.n && !qs_str_eq(mine, *block)) f->blocks++;
    *block = mine;
}

static qs_diag_facts count(const qs_compare *c) {
    qs_diag_facts f = {.rows = qs_compare_rows(c), .first_shape = QS_NO_INDEX};
    qs_str block = {"", 0};
    for (uint32_t i = 0; i < f.rows; i++) {
        const qs_row *row = qs_compare_row(c, i);
        f.problems += qs_status_get(row->status)->problem;
        f.missing += row->status == QS_STATUS_MISSING;
        f.weights_missing += row->status == QS_STATUS_MISSING && !qs_match_is_quant(row);
        f.unexpected += row->status == QS_STATUS_UNEXPECTED;
        f.shapes += row->status == QS_STATUS_SHAPE;
        f.fatal += row->status == QS_STATUS_FATAL;
        f.ok += row->m != QS_NO_INDEX && qs_diag_in_result(row) && !qs_status_get(row->status)->problem;
        f.here += qs_diag_in_result(row);
        f.wanted += row->m != QS_NO_INDEX;
        if (row->status == QS_STATUS_SHAPE && f.first_shape == QS_NO_INDEX) f.first_shape = i;
        count_quant(&f, row, &block);
    }
    return f;
}

/* ---- the trial ---- */

static void trial_clear(qs_diag_trial *t) {
    qs_matches_free(t->own_m);
    qs_compare_free(t->own_c);
    qs_verdict_free(t->v);
    qs_resolution_free(t->r);
    t->own_m = NULL;
    t->own_c = NULL;
    t->v = NULL;
    t->r = NULL;
}

/* Resolve, judge, compare and match with the plan as it is now. */
static bool trial_make(const qs_doctor *x, bool match, qs_diag_trial *n, qs_err *e) {
    qs_resolve_input in = *qs_resolution_input(qs_compare_resolution(x->t.c));
    *n = (qs_diag_trial){.plan = x->t.plan};
    in.plan = n->plan;
    bool ok = qs_resolve(&in, &n->r, e);
    if (ok) {
        qs_strict_source src = qs_strict_source_of_resolution(n->r);
        ok = qs_strict_run(in.target, &src, &x->opt->strict, &n->v, e) &&
             qs_compare_again(x->t.c, n->r, n->v, &n->own_c, e) &&
             qs_progress_step(x->opt->strict.progress, 0, 0, e) &&
             (!match || qs_match_all_while(n->own_c, x->opt->strict.progress, &n->own_m, e));
    }
    n->c = n->own_c;
    n->m = n->own_m;
    if (!ok) trial_clear(n);
    return ok;
}

static uint32_t problems_of(const qs_compare *c) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < qs_compare_rows(c); i++)
        n += qs_status_get(qs_compare_row(c, i)->status)->problem;
    return n;
}

bool qs_diag_is_better(const qs_doctor *x, const qs_diag_trial *n, const void *ctx) {
    (void)ctx;
    return problems_of(n->c) < problems_of(x->t.c);
}

bool qs_diag_attempt(qs_doctor *x, const qs_action *a, size_t count, bool match, qs_diag_worth worth,
                     const void *ctx, bool *done) {
    qs_err why = QS_ERR_INIT;
    qs_diag_trial n;
    *done = false;
    if (!qs_plan_push_all(x->t.plan, a, count, x->e)) return false;
    bool made = trial_make(x, match, &n, &why);
    *done = made && (!worth || worth(x, &n, ctx));
    if (*done) {
        trial_clear(&x->t);
        x->t = n;
        for (size_t i = 0; i < count; i++)
            if (!qs_push(&x->actions, a[i])) return qs_nomem(x->e);
        return true;
    }
    if (made) trial_clear(&n);
    qs_plan_retract(x->t.plan);
    if (why.code == QS_E_CANCELLED) return *x->e = why, false;
    return why.code != QS_E_NOMEM || qs_nomem(x->e);
}

/* ---- all of it ---- */

static bool copy_plan(qs_doctor *x, const qs_plan *from) {
    x->t.plan = qs_plan_new();
    if (!x->t.plan) return qs_nomem(x->e);
    for (size_t i = 0; from && i < qs_plan_count(from); i++)
        if (!qs_plan_push(x->t.plan, qs_plan_action(from, i), x->e)) return false;
    x->before = qs_plan_count(x->t.plan);
    return true;
}

static bool keep_actions(qs_doctor *x) {
    qs_diagnosis *d = &x->d->pub;
    qs_action *list = QS_ARENA_ARRAY(&x->d->arena, x->actions.n, qs_action);
    if (!list) return qs_nomem(x->e);
    for (size_t i = 0; i < x->actions.n; i++) {
        const qs_action *a = &x->actions.v[i];
        list[i] = *a;
        uint32_t touched = qs_resolution_touched(x->t.r, x->before + i);
        if (a->kind == QS_ACT_INIT)
            d->inits += touched;
        else if (a->kind == QS_ACT_DROP)
            d->drops += touched;
        else if (a->kind == QS_ACT_CAST || a->kind == QS_ACT_RESHAPE)
            d->converts += touched;
    }
    /* An entry renamed twice is one rename; what a prefix rule moved into place for the next one counts once.
     */
    for (uint32_t i = 0; x->t.r && i < qs_resolution_live(x->t.r); i++) {
        const qs_resolved *r = qs_resolution_entry(x->t.r, i);
        d->renames += qs_resolved_is_renamed(x->t.r, r) && r->action != QS_NO_INDEX && r->action >= x->before;
    }
    d->actions = list;
    d->action_count = x->actions.n;
    return true;
}

static bool name_causes(qs_doctor *x, const qs_compare *before) {
    qs_cause found[QS_CAUSE_COUNT];
    size_t n;
    qs_cause_input in = {before, x->t.c, x->before, {x->copies[0], x->copies[1]}};
    if (!qs_causes_find(&in, found, &n, x->e)) return false;
    qs_cause *kept = QS_ARENA_ARRAY(&x->d->arena, n + 1, qs_cause);
    if (!kept) return qs_nomem(x->e);
    memcpy(kept, found, n * sizeof *kept);
    x->d->pub.causes = kept;
    x->d->pub.cause_count = n;
    return true;
}

static bool start_over(qs_doctor *x, const qs_compare *c, const qs_matches *m, const qs_plan *plan) {
    x->actions.n = 0;
    x->d->pub.likely = x->d->pub.guesses = 0;
    trial_clear(&x->t);
    qs_plan_free(x->t.plan);
    x->t = (qs_diag_trial){.c = c, .m = m};
    return copy_plan(x, plan);
}

/* A prefix that was stripped from all keys may have put blocks of a list on the names of their neighbours. */
static bool stripped_in_doubt(qs_doctor *x, bool *doubt) {
    bool stripped = false;
    for (size_t i = 0; i < x->actions.n; i++)
        stripped |= x->actions.v[i].kind == QS_ACT_RULE && x->actions.v[i].pattern_kind == QS_PATTERN_PREFIX;
    *doubt = false;
    return !stripped || problems_of(x->t.c) == 0 || qs_match_numbers_in_doubt(x->t.c, doubt, x->e);
}

/* Between a converted model and one from before convert() half a repair is none: what it would rename and
 * drop stays. */
static bool treat(qs_doctor *x, const qs_compare *c, const qs_plan *plan, const qs_diag_facts *f) {
    bool several = qs_matches_copies(x->t.m, &x->copies[0], &x->copies[1]);
    if (x->converted.model && !x->converted.file) return true;
    const qs_matches *m = x->t.m;
    bool doubt;
    if (!qs_diag_treat(x, f) || !stripped_in_doubt(x, &doubt)) return false;
    if (doubt) {
        x->by_names = true;
        if (!start_over(x, c, m, plan) || !qs_diag_treat(x, f)) return false;
    }
    if (several && problems_of(x->t.c) == 0) x->copies[0] = x->copies[1] = (qs_str){"", 0}; /* values told */
    if (!x->converted.file || x->converted.model || problems_of(x->t.c) == 0) return true;
    return start_over(x, c, m, plan);
}

static bool examine(qs_doctor *x, const qs_compare *c) {
    const qs_resolve_input *in = qs_resolution_input(qs_compare_resolution(c));
    if (!in->target) {
        qs_diag_say(x, QS_DIAG_NO_TARGET, "nothing to compare with: open a manifest or a second checkpoint");
        return true;
    }
    qs_diag_facts f = count(c);
    qs_diag_give_evidence(x, &f);
    x->d->pub.unloaded = f.missing;
    x->d->pub.ignored = f.unexpected;
    if (f.problems == 0) {
        qs_diag_say(x, QS_DIAG_LOADS, "PyTorch loads it: %u of %u keys are in place%s", f.ok, f.wanted,
                    f.ok < f.wanted ? ", the rest it makes itself" : "");
        x->before = in->plan ? qs_plan_count(in->plan) : 0;
        return name_causes(x, c);
    }
    x->converted = qs_cause_converted(qs_compare_resolution(c));
    if (!copy_plan(x, in->plan) || !treat(x, c, in->plan, &f) || !keep_actions(x)) return false;
    x->d->pub.remaining = count(x->t.c).problems;
    qs_diag_put_in_words(x, c, &f);
    return name_causes(x, c);
}

bool qs_diagnose(const qs_compare *c, const qs_matches *m, const qs_diagnose_options *opt, qs_diagnosis **out,
                 qs_err *e) {
    qs_diag_owned *d = calloc(1, sizeof *d);
    if (!d) return qs_nomem(e);
    qs_doctor x = {.opt = opt, .d = d, .t = {.c = c, .m = m}, .e = e};
    bool ok = examine(&x, c);
    trial_clear(&x.t);
    qs_plan_free(x.t.plan);
    qs_vec_free(&x.actions);
    if (ok)
        *out = &d->pub;
    else
        qs_diagnosis_free(&d->pub);
    return ok;
}

void qs_diagnosis_free(qs_diagnosis *d) {
    if (!d) return;
    qs_diag_owned *o = (qs_diag_owned *)d;
    qs_arena_free(&o->arena);
    free(o);
}

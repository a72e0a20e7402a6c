#include "repair/diagnose.h"

#include "base/vec.h"
#include "repair/diagnose_rule.h"
#include "repair/match_impl.h"

#include <stdarg.h>
#include <stdlib.h>

/* The public part first, so that a pointer to it is a pointer to all. */
typedef struct owned {
    qs_diagnosis pub;
    qs_arena arena;
} owned;

/* What the rows say, counted once. */
typedef struct facts {
    uint32_t rows, problems, missing, unexpected, shapes, fatal, ok;
    uint32_t here;         /* entries of the result */
    uint32_t wanted;       /* entries of the target */
    uint32_t quant_here;   /* quantizer keys of the result */
    uint32_t quant_wanted; /* of the target */
    uint32_t quant_gaps;
    uint32_t blocks; /* quantizers of the target */
    qs_family family;
    uint32_t first_shape; /* row of the first shape problem */
} facts;

/* The repair as it grows: a plan of its own and what comes out of it. */
typedef struct trial {
    const qs_compare *c; /* of the plan so far; borrowed at first, then own_c */
    const qs_matches *m;
    qs_plan *plan;
    qs_resolution *r;
    qs_verdict *v;
    qs_compare *own_c;
    qs_matches *own_m;
} trial;

typedef struct doctor {
    const qs_diagnose_options *opt;
    owned *d;
    QS_VEC(qs_action) actions;
    trial t;
    size_t before; /* actions the plan had already */
    qs_err *e;
} doctor;

static bool in_result(const qs_row *row) {
    return row->r != QS_NO_INDEX && row->mark != QS_MARK_DROPPED;
}

static void count_quant(facts *f, const qs_row *row, qs_str *block) {
    if (!qs_match_is_quant(row)) return;
    f->quant_here += in_result(row);
    if (row->m == QS_NO_INDEX) return;
    f->quant_wanted++;
    f->quant_gaps += qs_match_is_gap(row);
    f->family = row->family;
    qs_str mine = qs_str_sub(row->key, 0, row->block_len);
    if (mine.n && !qs_str_eq(mine, *block)) f->blocks++;
    *block = mine;
}

static facts count(const qs_compare *c) {
    facts f = {.rows = qs_compare_rows(c), .first_shape = QS_NO_INDEX};
    qs_str block = {"", 0};
    for (uint32_t i = 0; i < f.rows; i++) {
        const qs_row *row = qs_compare_row(c, i);
        f.problems += qs_status_get(row->status)->problem;
        f.missing += row->status == QS_STATUS_MISSING;
        f.unexpected += row->status == QS_STATUS_UNEXPECTED;
        f.shapes += row->status == QS_STATUS_SHAPE;
        f.fatal += row->status == QS_STATUS_FATAL;
        f.ok += row->m != QS_NO_INDEX && in_result(row) && !qs_status_get(row->status)->problem;
        f.here += in_result(row);
        f.wanted += row->m != QS_NO_INDEX;
        if (row->status == QS_STATUS_SHAPE && f.first_shape == QS_NO_INDEX) f.first_shape = i;
        count_quant(&f, row, &block);
    }
    return f;
}

/* ---- the trial ---- */

static void trial_clear(trial *t) {
    qs_matches_free(t->own_m);
    qs_compare_free(t->own_c);
    qs_verdict_free(t->v);
    qs_resolution_free(t->r);
    t->own_m = NULL;
    t->own_c = NULL;
    t->v = NULL;
    t->r = NULL;
}

/* Resolve, judge, compare and match anew with the plan as it is; on failure the trial is as before. */
static bool trial_run(doctor *x, bool match, qs_err *e) {
    qs_resolve_input in = *qs_resolution_input(qs_compare_resolution(x->t.c));
    trial n = {.plan = x->t.plan};
    in.plan = n.plan;
    bool ok = qs_resolve(&in, &n.r, e);
    if (ok) {
        qs_strict_source src = qs_strict_source_of_resolution(n.r);
        ok = qs_strict_run(in.target, &src, &x->opt->strict, &n.v, e) &&
             qs_compare_make(n.r, n.v, &n.own_c, e) && (!match || qs_match_all(n.own_c, &n.own_m, e));
    }
    if (!ok) {
        trial_clear(&n);
        return false;
    }
    n.c = n.own_c;
    n.m = n.own_m;
    trial_clear(&x->t);
    x->t = n;
    return true;
}

/* Add the action if it can be done; *done says whether. False only when memory is out. */
static bool attempt(doctor *x, const qs_action *a, bool match, bool *done) {
    qs_err why = QS_ERR_INIT;
    *done = false;
    if (!qs_plan_push(x->t.plan, a, x->e)) return false;
    if (trial_run(x, match, &why)) {
        *done = true;
        return qs_push(&x->actions, *a) || qs_nomem(x->e);
    }
    qs_plan_retract(x->t.plan);
    return why.code != QS_E_NOMEM || qs_nomem(x->e);
}

/* ---- the parts of a repair ---- */

/* The prefix of every key, as one rule, if it touches no key that is where it should be. */
static bool repair_prefix(doctor *x, bool *done) {
    qs_str strip, add;
    *done = false;
    if (!qs_matches_prefix(x->t.m, &strip, &add)) return true;
    for (uint32_t i = 0; i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (in_result(row) && row->m != QS_NO_INDEX && qs_str_starts(row->key, strip)) return true;
    }
    qs_action a = {.kind = QS_ACT_RULE,
                   .pattern_kind = QS_PATTERN_PREFIX,
                   .pattern = qs_arena_str(&x->d->arena, strip),
                   .replacement = qs_arena_str(&x->d->arena, add),
                   .bn_eps = __builtin_nan("")};
    if (!a.pattern.p || !a.replacement.p) return qs_nomem(x->e);
    return attempt(x, &a, true, done);
}

static bool safe_pairs(doctor *x, qs_rename_pair **out, size_t *n) {
    size_t count = qs_matches_count(x->t.m);
    *n = 0;
    *out = QS_ARENA_ARRAY(&x->d->arena, count, qs_rename_pair);
    if (!*out) return qs_nomem(x->e);
    for (size_t i = 0; i < count; i++) {
        const qs_suggestion *s = qs_matches_get(x->t.m, i);
        if (!s->safe) continue;
        /* Keys of a trial's own resolution do not outlive it. */
        qs_rename_pair p = {qs_arena_str(&x->d->arena, qs_compare_row(x->t.c, s->from)->key),
                            qs_arena_str(&x->d->arena, qs_compare_row(x->t.c, s->to)->key)};
        if (!p.from.p || !p.to.p) return qs_nomem(x->e);
        (*out)[(*n)++] = p;
    }
    return true;
}

/* As one rule, if one says the same. */
static bool rename_pairs(doctor *x, const qs_rename_pair *pairs, size_t n, bool *done) {
    qs_action a;
    bool found = false;
    if (!qs_rule_for_pairs(qs_compare_resolution(x->t.c), pairs, n, &x->d->arena, &a, &found, x->e))
        return false;
    if (!found)
        a = (qs_action){.kind = QS_ACT_RENAME, .pairs = pairs, .pair_count = n, .bn_eps = __builtin_nan("")};
    return attempt(x, &a, true, done);
}

/* Before names: a block that is numbered otherwise may have the name of another one. */
static bool repair_numbers(doctor *x, bool *done) {
    qs_rename_pair *pairs = NULL;
    size_t n = 0;
    *done = false;
    if (!qs_match_renumber(x->t.c, &x->d->arena, &pairs, &n, x->e)) return false;
    return n == 0 || rename_pairs(x, pairs, n, done);
}

static bool repair_names(doctor *x, bool *done) {
    qs_rename_pair *pairs;
    size_t n;
    *done = false;
    if (!safe_pairs(x, &pairs, &n)) return false;
    return n == 0 || rename_pairs(x, pairs, n, done);
}

/* Buffers the thop profiler leaves in a saved model: numbers about the model, none of its parameters. */
static bool is_profiler_key(qs_str key) {
    qs_str leaf = qs_str_leaf(key);
    return qs_str_is(leaf, "total_ops") || qs_str_is(leaf, "total_params");
}

static bool droppable(const qs_row *row, bool quant_too) {
    if (!qs_match_is_spare(row)) return false;
    if (is_profiler_key(row->key)) return true;
    /* A packed payload is the weight itself. */
    return quant_too && qs_match_is_quant(row) && row->role != QS_ROLE_PACKED;
}

static bool repair_drop(doctor *x, bool quant_too, bool *done) {
    QS_VEC(qs_rename_pair) keys = {0};
    bool ok = true;
    *done = false;
    for (uint32_t i = 0; ok && i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (!droppable(row, quant_too)) continue;
        qs_rename_pair p = {qs_arena_str(&x->d->arena, row->key), {"", 0}};
        ok = (p.from.p && qs_push(&keys, p)) || qs_nomem(x->e);
    }
    qs_rename_pair *kept = ok && keys.n ? QS_ARENA_ARRAY(&x->d->arena, keys.n, qs_rename_pair) : NULL;
    if (kept) {
        memcpy(kept, keys.v, keys.n * sizeof *kept);
        qs_action a = {.kind = QS_ACT_DROP,
                       .scope_kind = QS_SCOPE_KEYS,
                       .pairs = kept,
                       .pair_count = keys.n,
                       .bn_eps = __builtin_nan("")};
        ok = attempt(x, &a, false, done);
    } else if (ok && keys.n) {
        ok = qs_nomem(x->e);
    }
    qs_vec_free(&keys);
    return ok;
}

/* The row of a BatchNorm's running_mean, for its counter's key; NULL for other keys. */
static const qs_row *mean_of_counter(const qs_compare *c, qs_str key) {
    char name[1024];
    if (!qs_str_is(qs_str_leaf(key), "num_batches_tracked")) return NULL;
    int n = snprintf(name, sizeof name, "%.*s.running_mean", QS_FMT(qs_str_parent(key)));
    if (n < 0 || (size_t)n >= sizeof name) return NULL;
    uint32_t row = qs_compare_find(c, (qs_str){name, (size_t)n});
    return row == QS_NO_INDEX ? NULL : qs_compare_row(c, row);
}

/* What may be made without asking: quantizer state, which the first batches find anew, and the counter of a
 * BatchNorm that is there. An identity BatchNorm in the place of a trained one would load, and be wrong. */
static bool may_init(const qs_compare *c, const qs_row *row) {
    if (qs_match_is_quant(row)) return true;
    const qs_row *mean = mean_of_counter(c, row->key);
    return mean && !qs_match_is_gap(mean);
}

typedef struct init_need {
    QS_VEC(qs_rename_pair) keys; /* that may be made, and can */
    bool missing;                /* one of them stops a strict load */
    bool others;                 /* "everything" would make more than these */
} init_need;

static bool find_needs(doctor *x, init_need *need) {
    const qs_resolution *r = qs_compare_resolution(x->t.c);
    qs_init_context ctx;
    qs_resolution_init_context(r, x->opt->bn_eps, &ctx);
    for (uint32_t i = 0; i < qs_compare_rows(x->t.c); i++) {
        const qs_row *row = qs_compare_row(x->t.c, i);
        if (!qs_match_is_gap(row)) continue;
        const qs_expected *want = qs_manifest_entry(ctx.target, row->m);
        if (!qs_init_possible(&ctx, want, NULL)) continue;
        if (!may_init(x->t.c, row)) {
            need->others = true;
            continue;
        }
        need->missing |= row->status == QS_STATUS_MISSING;
        if (!qs_push(&need->keys, (qs_rename_pair){want->key, {"", 0}})) return qs_nomem(x->e);
    }
    return true;
}

static bool repair_init(doctor *x, bool *done) {
    init_need need = {0};
    bool ok = find_needs(x, &need);
    *done = false;
    qs_action a = {.kind = QS_ACT_INIT,
                   .scope_kind = QS_SCOPE_SUBTREE,
                   .scope = {"", 0},
                   .source = x->opt->source,
                   .bn_eps = x->opt->bn_eps};
    if (ok && need.missing && need.others) {
        qs_rename_pair *kept = QS_ARENA_ARRAY(&x->d->arena, need.keys.n, qs_rename_pair);
        ok = kept || qs_nomem(x->e);
        if (ok) memcpy(kept, need.keys.v, need.keys.n * sizeof *kept);
        a.scope_kind = QS_SCOPE_KEYS;
        a.pairs = kept;
        a.pair_count = need.keys.n;
    }
    if (ok && need.missing) ok = attempt(x, &a, false, done);
    qs_vec_free(&need.keys);
    return ok;
}

enum { ROUNDS = 6 };

/* A repair can bring the next one to light (a prefix hides float -> QAT), so renames are looked for in
 * rounds. */
static bool treat(doctor *x, const facts *f) {
    bool done;
    if (!repair_prefix(x, &done)) return false;
    done = true;
    for (int round = 0; round < ROUNDS && done; round++) {
        bool numbers, names;
        if (!repair_numbers(x, &numbers) || !repair_names(x, &names)) return false;
        done = numbers || names;
    }
    bool to_float = f->quant_here > 0 && f->quant_wanted == 0;
    return repair_drop(x, to_float, &done) && repair_init(x, &done);
}

/* ---- words ---- */

static const char *plural(uint32_t n) {
    return n == 1 ? "" : "s";
}

static void say(doctor *x, qs_diagnosis_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(doctor *x, qs_diagnosis_kind kind, const char *fmt, ...) {
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
static void work_text(const doctor *x, bool quant_only, char *out, size_t cap) {
    const qs_diagnosis *d = &x->d->pub;
    out[0] = 0;
    if (d->renames) add_words(out, cap, "%u rename%s", d->renames, plural(d->renames));
    if (d->drops) add_words(out, cap, "%s%u key%s to drop", *out ? " + " : "", d->drops, plural(d->drops));
    if (d->inits)
        add_words(out, cap, "%s%u %skey%s to initialise", *out ? " + " : "", d->inits,
                  quant_only ? "quantizer " : "", plural(d->inits));
}

static const qs_action *prefix_action(const doctor *x) {
    for (size_t i = 0; i < x->actions.n; i++)
        if (x->actions.v[i].kind == QS_ACT_RULE && x->actions.v[i].pattern_kind == QS_PATTERN_PREFIX)
            return &x->actions.v[i];
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

static void say_prefix(doctor *x, const qs_action *p, const char *work) {
    if (p->pattern.n && !p->replacement.n)
        say(x, QS_DIAG_PREFIX, "the checkpoint's keys have the prefix \"%.*s\"%s: %s", QS_FMT(p->pattern),
            prefix_maker(p->pattern), work);
    else if (!p->pattern.n)
        say(x, QS_DIAG_PREFIX, "the checkpoint's keys lack the model's prefix \"%.*s\"%s: %s",
            QS_FMT(p->replacement), prefix_maker(p->replacement), work);
    else
        say(x, QS_DIAG_PREFIX, "the checkpoint's keys start \"%.*s\" where the model's start \"%.*s\": %s",
            QS_FMT(p->pattern), QS_FMT(p->replacement), work);
}

static void say_shapes(doctor *x, const qs_compare *c, const facts *f) {
    const qs_row *row = qs_compare_row(c, f->first_shape);
    const qs_resolve_input *in = qs_resolution_input(qs_compare_resolution(c));
    char have[64] = "?", want[64] = "?";
    if (in_result(row))
        qs_shape_text(qs_resolution_entry(qs_compare_resolution(c), row->r)->shape, "x", have, sizeof have);
    if (row->m != QS_NO_INDEX)
        qs_shape_text(qs_manifest_entry(in->target, row->m)->shape, "x", want, sizeof want);
    say(x, QS_DIAG_SHAPES,
        "%u key%s of another shape than the model's (%.*s: %s, model %s): names cannot repair that",
        f->shapes, plural(f->shapes), QS_FMT(row->key), have, want);
}

static void say_nothing_found(doctor *x, const qs_compare *c, const facts *f) {
    if (f->shapes && !f->missing && !f->unexpected)
        say_shapes(x, c, f);
    else if (f->ok * 2 < f->wanted)
        say(x, QS_DIAG_OTHER, "another model: only %u of the %u keys it expects are here", f->ok, f->wanted);
    else
        say(x, QS_DIAG_OTHER, "%u missing, %u unexpected, %u of another shape: no repair is sure enough",
            f->missing, f->unexpected, f->shapes);
}

static void put_in_words(doctor *x, const qs_compare *c, const facts *f) {
    qs_diagnosis *d = &x->d->pub;
    char work[160], prefix[96];
    const qs_action *p = prefix_action(x);
    bool quant_only = d->inits <= f->quant_gaps;
    work_text(x, quant_only, work, sizeof work);
    prefix_text(p, prefix, sizeof prefix);
    if (x->actions.n == 0) {
        say_nothing_found(x, c, f);
    } else if (f->quant_wanted && !f->quant_here) {
        say(x, QS_DIAG_FLOAT_INTO_QAT, "float checkpoint%s into a QAT model: %s", prefix, work);
    } else if (f->quant_here && !f->quant_wanted) {
        say(x, QS_DIAG_QAT_INTO_FLOAT, "QAT checkpoint%s into a float model: %s", prefix, work);
    } else if (p) {
        say_prefix(x, p, work);
    } else if (d->inits && quant_only && !d->renames && !d->drops) {
        say(x, QS_DIAG_QUANT_MISSING, "only quantizer keys are missing: %s", work);
    } else {
        say(x, QS_DIAG_RENAMES, "the keys have other names in the model: %s", work);
        if (!d->renames) say(x, QS_DIAG_OTHER, "some keys are missing or too many: %s", work);
    }
    if (d->remaining && x->actions.n)
        add_words(d->sentence, sizeof d->sentence, "; %u problem%s left", d->remaining, plural(d->remaining));
}

static void give_evidence(doctor *x, const facts *f) {
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

/* ---- all of it ---- */

static bool copy_plan(doctor *x, const qs_plan *from) {
    x->t.plan = qs_plan_new();
    if (!x->t.plan) return qs_nomem(x->e);
    for (size_t i = 0; from && i < qs_plan_count(from); i++)
        if (!qs_plan_push(x->t.plan, qs_plan_action(from, i), x->e)) return false;
    x->before = qs_plan_count(x->t.plan);
    return true;
}

static bool keep_actions(doctor *x) {
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
    }
    /* An entry renamed twice is one rename; what a prefix rule moved into place for the next one counts once.
     */
    for (uint32_t i = 0; x->t.r && i < qs_resolution_live(x->t.r); i++) {
        const qs_resolved *r = qs_resolution_entry(x->t.r, i);
        d->renames += r->mark == QS_MARK_RENAMED && r->action != QS_NO_INDEX && r->action >= x->before;
    }
    d->actions = list;
    d->action_count = x->actions.n;
    return true;
}

static bool examine(doctor *x, const qs_compare *c) {
    const qs_resolve_input *in = qs_resolution_input(qs_compare_resolution(c));
    if (!in->target) {
        say(x, QS_DIAG_NO_TARGET, "nothing to compare with: open a manifest or a second checkpoint");
        return true;
    }
    facts f = count(c);
    give_evidence(x, &f);
    if (f.problems == 0) {
        say(x, QS_DIAG_LOADS, "PyTorch loads it: %u of %u keys are in place%s", f.ok, f.wanted,
            f.ok < f.wanted ? ", the rest it makes itself" : "");
        return true;
    }
    if (!copy_plan(x, in->plan) || !treat(x, &f) || !keep_actions(x)) return false;
    x->d->pub.remaining = count(x->t.c).problems;
    put_in_words(x, c, &f);
    return true;
}

bool qs_diagnose(const qs_compare *c, const qs_matches *m, const qs_diagnose_options *opt, qs_diagnosis **out,
                 qs_err *e) {
    owned *d = calloc(1, sizeof *d);
    if (!d) return qs_nomem(e);
    doctor x = {.opt = opt, .d = d, .t = {.c = c, .m = m}, .e = e};
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
    owned *o = (owned *)d;
    qs_arena_free(&o->arena);
    free(o);
}

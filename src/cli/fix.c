/* qatscope fix: diagnose, repair and save without a screen. */
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { QUESTIONS = 8 };

typedef struct fix_args {
    qs_cli_common common;
    qs_cli_saving saving;
    const char *init, *plan_out, *torch, *copy, *pos[2];
    double bn_eps;
    bool dry_run, force, guess;
} fix_args;

/* Where the target stands before and after. */
typedef struct standing {
    bool loads;
    uint32_t entries, missing, unexpected, shapes, fatal;
} standing;

/* What was assumed without anybody having said so; each once, with how many quantizers it concerns. */
typedef struct assumptions {
    char text[QUESTIONS][160];
    uint32_t count[QUESTIONS];
    size_t n;
    char observed[200]; /* how the weight scales were made, from one of them */
} assumptions;

typedef struct fix_report {
    standing before, after;
    char sentence[256], evidence[256];
    qs_cause causes[QS_CAUSE_COUNT];
    size_t cause_count;
    uint32_t unloaded, ignored; /* with strict=False, before */
    uint32_t likely, guesses;   /* renames that are not sure: left alone, applied */
    uint32_t renames, inits, drops, copies, converts, versions;
    size_t actions; /* of the repair */
    assumptions assumed;
    char refused[512]; /* why the first quantizer key still missing was not made; "" if none is */
    bool saved;
    qs_log_summary log;
} fix_report;

static standing stand(const qs_session *s) {
    const qs_tree_node *root = qs_compare_node(qs_session_compare(s), 0);
    return (standing){.loads = qs_verdict_loads(qs_session_verdict(s)),
                      .entries = qs_resolution_live(qs_session_resolution(s)),
                      .missing = root->count_status[QS_STATUS_MISSING],
                      .unexpected = root->count_status[QS_STATUS_UNEXPECTED],
                      .shapes = root->count_status[QS_STATUS_SHAPE],
                      .fatal = root->count_status[QS_STATUS_FATAL]};
}

/* ---- what was done ---- */

static void count_marks(const qs_session *s, fix_report *r) {
    const qs_resolution *res = qs_session_resolution(s);
    for (uint32_t i = 0; i < qs_resolution_count(res); i++) {
        const qs_resolved *x = qs_resolution_entry(res, i);
        r->renames += qs_resolved_is_renamed(res, x);
        switch (x->mark) {
        case QS_MARK_INIT: r->inits++; break;
        case QS_MARK_COPIED: r->copies++; break;
        case QS_MARK_DROPPED: r->drops++; break;
        case QS_MARK_CONVERTED: r->converts++; break;
        default: break;
        }
    }
}

static void add_question(assumptions *a, const char *question) {
    size_t i = 0;
    while (i < a->n && strcmp(a->text[i], question) != 0) i++;
    if (i == QUESTIONS) return;
    if (i == a->n) snprintf(a->text[a->n++], sizeof a->text[0], "%s", question);
    a->count[i]++;
}

/* The origin of one observed scale tells what all of them were made from. */
static bool note_origin(const qs_resolution *r, const qs_resolved *x, assumptions *a, qs_err *e) {
    qs_arena arena = {0};
    qs_fill fill;
    bool ok = qs_resolved_fill(r, x, NULL, &arena, &fill, e);
    if (ok && strcmp(fill.origin, "fresh") != 0) snprintf(a->observed, sizeof a->observed, "%s", fill.origin);
    qs_arena_free(&arena);
    return ok;
}

/* Ask every quantizer the plan fills what it had to guess. */
static bool collect_assumptions(const qs_session *s, assumptions *a, qs_err *e) {
    const qs_resolution *r = qs_session_resolution(s);
    const qs_compare *c = qs_session_compare(s);
    qs_str last = {"", 0};
    for (uint32_t i = 0; i < qs_resolution_live(r); i++) {
        const qs_resolved *x = qs_resolution_entry(r, i);
        uint32_t row = x->mark == QS_MARK_INIT ? qs_compare_find(c, x->key) : QS_NO_INDEX;
        if (row == QS_NO_INDEX || x->source == QS_INIT_FRESH) continue;
        const qs_row *q = qs_compare_row(c, row);
        qs_str block = qs_str_sub(x->key, 0, q->block_len);
        if (q->role == QS_ROLE_WEIGHT_SCALE && !a->observed[0] && !note_origin(r, x, a, e)) return false;
        if (block.n == 0 || qs_str_eq(block, last) || !q->role_is_weight) continue;
        last = block;
        qs_init_context ctx;
        qs_block_config config;
        qs_resolution_init_context(r, x->bn_eps, &ctx);
        if (!qs_init_block_config(&ctx, block, &config, e)) return false;
        if (config.ambiguous) add_question(a, config.question);
    }
    return true;
}

/* The first quantizer key still missing that might have been made, and what is in the way. */
static void find_refusal(const qs_session *s, double bn_eps, qs_init_source source, char *out, size_t cap) {
    const qs_resolution *r = qs_session_resolution(s);
    const qs_manifest *target = qs_session_target(s);
    qs_init_context ctx;
    qs_arena arena = {0};
    qs_resolution_init_context(r, bn_eps, &ctx);
    for (uint32_t i = 0; i < qs_manifest_count(target) && !out[0]; i++) {
        const qs_expected *x = qs_manifest_entry(target, i);
        qs_shape shape;
        qs_dtype dtype;
        qs_err e = QS_ERR_INIT;
        const char *why = NULL;
        if (qs_resolution_find(r, x->key) != QS_NO_INDEX || !qs_init_possible(&ctx, x, &why)) continue;
        if (!qs_init_shape(&ctx, x, source, &arena, &shape, &dtype, &e)) snprintf(out, cap, "%s", e.msg);
    }
    qs_arena_free(&arena);
}

/* ---- words ---- */

static void print_standing(const char *when, const standing *s) {
    printf("%s: would load: %s", when, s->loads ? "YES" : "NO");
    printf("  (%u entries", s->entries);
    if (s->missing) printf(", %u missing", s->missing);
    if (s->unexpected) printf(", %u unexpected", s->unexpected);
    if (s->shapes) printf(", %u of another shape", s->shapes);
    if (s->fatal) printf(", %u that cannot be read or loaded", s->fatal);
    printf(")\n");
}

/* Numbered where there are several, the weightiest first. */
static void print_causes(const fix_report *r) {
    for (size_t i = 0; i < r->cause_count; i++) {
        const qs_cause *c = &r->causes[i];
        const qs_cause_info *info = qs_cause_get(c->id);
        printf("cause %zu: %s: %s", i + 1, info->id, info->what);
        if (c->keys) printf(" (%u key%s)", c->keys, c->keys == 1 ? "" : "s");
        printf("\n");
        if (c->evidence[0]) printf("  e.g. %s\n", c->evidence);
        printf("  do: %s\n", info->advice);
    }
}

static void print_words(const fix_args *a, const fix_report *r) {
    print_standing("before", &r->before);
    printf("diagnosis: %s\n", r->sentence);
    if (r->evidence[0]) printf("evidence: %s\n", r->evidence);
    print_causes(r);
    if (r->unloaded || r->ignored)
        printf(
            "strict=False: would leave %u of the model's keys as they are, and pass over %u of the file's\n",
            r->unloaded, r->ignored);
    if (r->actions == 0 && !a->copy) {
        printf("repair: nothing to do\n");
    } else {
        printf("repair: renames %u, initialises %u", r->renames, r->inits);
        if (r->copies) printf(", copies %u", r->copies);
        if (r->drops) printf(", drops %u", r->drops);
        if (r->converts) printf(", converts %u", r->converts);
        if (r->versions) printf(", versions of %u modules", r->versions);
        printf("\n");
    }
    if (r->guesses) printf("guessed: %u of the renames: by place and shape, so look at them\n", r->guesses);
    if (r->likely)
        printf("likely: %u more renames; see them in the explorer (b), or apply them with --guess\n",
               r->likely);
    if (r->assumed.observed[0]) printf("weight scales: e.g. %s\n", r->assumed.observed);
    for (size_t i = 0; i < r->assumed.n; i++)
        printf("assumed for %u quantizer%s: %s\n", r->assumed.count[i], r->assumed.count[i] == 1 ? "" : "s",
               r->assumed.text[i]);
    if (r->refused[0]) printf("not made: %s\n", r->refused);
    print_standing("after", &r->after);
    if (a->plan_out) printf("plan: %s\n", a->plan_out);
    if (r->saved)
        printf("saved: %s\n", a->saving.out);
    else if (a->dry_run)
        printf("saved: nothing (--dry-run)\n");
    else
        printf("saved: nothing (it would not load; --force saves all the same)\n");
}

static void json_standing(qs_buf *b, const char *name, const standing *s) {
    qs_buf_addf(
        b,
        " \"%s\": {\"loads\": %s, \"entries\": %u, \"missing\": %u, \"unexpected\": %u, \"shape\": %u, "
        "\"fatal\": %u},\n",
        name, s->loads ? "true" : "false", s->entries, s->missing, s->unexpected, s->shapes, s->fatal);
}

static void json_text(qs_buf *b, const char *name, const char *text) {
    qs_buf_addf(b, " \"%s\": ", name);
    if (text)
        qs_buf_add_json(b, qs_str_of(text));
    else
        qs_buf_addz(b, "null");
    qs_buf_addz(b, ",\n");
}

static void json_causes(qs_buf *b, const fix_report *r) {
    qs_buf_addz(b, " \"causes\": [");
    for (size_t i = 0; i < r->cause_count; i++) {
        const qs_cause *c = &r->causes[i];
        const qs_cause_info *info = qs_cause_get(c->id);
        qs_buf_addf(b, "%s\n  {\"id\": \"%s\", \"keys\": %u, \"left\": %u, \"what\": ", i ? "," : "",
                    info->id, c->keys, c->left);
        qs_buf_add_json(b, qs_str_of(info->what));
        qs_buf_addz(b, ", \"evidence\": ");
        qs_buf_add_json(b, qs_str_of(c->evidence));
        qs_buf_addz(b, ", \"advice\": ");
        qs_buf_add_json(b, qs_str_of(info->advice));
        qs_buf_addc(b, '}');
    }
    qs_buf_addz(b, "],\n");
}

/* What the log says, and how many keys of it the files contradict. */
static void json_log(qs_buf *b, const char *path, const qs_log_summary *l) {
    if (!path) {
        qs_buf_addz(b, " \"log\": null,\n");
        return;
    }
    qs_buf_addz(b, " \"log\": {\"model\": ");
    qs_buf_add_json(b, qs_str_of(l->model));
    qs_buf_addf(
        b,
        ", \"line\": %" PRIu64 ", \"missing\": %u, \"unexpected\": %u, \"shape\": %u, \"cut_off\": %s, "
        "\"fitted_later\": %s, \"against_file\": %u, \"against_model\": %u},\n",
        l->line, l->missing, l->unexpected, l->mismatched, l->truncated ? "true" : "false",
        l->matched_later ? "true" : "false", l->missing_but_there + l->unexpected_not_there + l->other_shape,
        l->not_expected + l->expected + l->other_model_shape);
}

static void print_json(const fix_args *a, const fix_report *r) {
    qs_buf b = {0};
    qs_buf_addz(&b, "{\n");
    json_text(&b, "input", a->pos[0]);
    json_log(&b, a->common.log, &r->log);
    json_standing(&b, "before", &r->before);
    json_text(&b, "diagnosis", r->sentence);
    json_text(&b, "evidence", r->evidence);
    json_causes(&b, r);
    qs_buf_addf(&b, " \"strict_false\": {\"unloaded\": %u, \"ignored\": %u},\n", r->unloaded, r->ignored);
    qs_buf_addf(&b,
                " \"renames\": %u, \"initialises\": %u, \"copies\": %u, \"drops\": %u, \"converts\": %u, "
                "\"versions\": %u,\n",
                r->renames, r->inits, r->copies, r->drops, r->converts, r->versions);
    qs_buf_addf(&b, " \"likely\": %u, \"guesses\": %u,\n", r->likely, r->guesses);
    json_text(&b, "weight_scales", r->assumed.observed[0] ? r->assumed.observed : NULL);
    qs_buf_addz(&b, " \"assumptions\": [");
    for (size_t i = 0; i < r->assumed.n; i++) {
        qs_buf_addz(&b, i ? ", {\"text\": " : "{\"text\": ");
        qs_buf_add_json(&b, qs_str_of(r->assumed.text[i]));
        qs_buf_addf(&b, ", \"quantizers\": %u}", r->assumed.count[i]);
    }
    qs_buf_addz(&b, "],\n");
    json_text(&b, "not_made", r->refused[0] ? r->refused : NULL);
    json_standing(&b, "after", &r->after);
    json_text(&b, "plan", a->plan_out);
    json_text(&b, "output", r->saved ? a->saving.out : NULL);
    qs_buf_addf(&b, " \"saved\": %s\n}\n", r->saved ? "true" : "false");
    if (!b.failed) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

/* ---- the work ---- */

/* The diagnosis is forgotten with the first change. */
static void keep_diagnosis(const qs_diagnosis *d, fix_report *r) {
    snprintf(r->sentence, sizeof r->sentence, "%s", d->sentence);
    snprintf(r->evidence, sizeof r->evidence, "%s", d->evidence);
    r->cause_count = d->cause_count;
    if (d->cause_count) memcpy(r->causes, d->causes, d->cause_count * sizeof *d->causes);
    r->unloaded = d->unloaded;
    r->ignored = d->ignored;
    r->likely = d->likely;
    r->guesses = d->guesses;
    r->actions = d->action_count;
}

static void count_versions(const qs_session *s, fix_report *r) {
    for (size_t i = 0; i < qs_plan_count(qs_session_plan(s)); i++)
        if (qs_plan_action(qs_session_plan(s), i)->kind == QS_ACT_METADATA)
            r->versions += qs_resolution_touched(qs_session_resolution(s), i);
}

static bool repair(qs_session *s, const qs_session_options *opt, fix_report *r, qs_err *e) {
    const qs_diagnosis *d = qs_session_diagnosis(s);
    if (!d) return qs_nomem(e);
    keep_diagnosis(d, r);
    if (d->action_count && !qs_session_do_all(s, d->actions, d->action_count, e)) return false;
    r->after = stand(s);
    count_versions(s, r);
    if (r->after.missing) find_refusal(s, opt->bn_eps, opt->init, r->refused, sizeof r->refused);
    count_marks(s, r);
    return collect_assumptions(s, &r->assumed, e);
}

/* How it stands as it is. Then the copy of the model that is meant, where the file has several: its prefix
 * goes before all else. */
static bool take_copy(qs_session *s, const char *prefix, fix_report *r, qs_err *e) {
    r->before = stand(s);
    if (!prefix) return true;
    qs_action a = {.kind = QS_ACT_RULE,
                   .pattern_kind = QS_PATTERN_PREFIX,
                   .pattern = qs_str_of(prefix),
                   .replacement = {"", 0},
                   .bn_eps = NAN};
    if (!qs_session_do_all(s, &a, 1, e)) return false;
    if (qs_resolution_touched(qs_session_resolution(s), qs_plan_count(qs_session_plan(s)) - 1)) return true;
    return qs_fail(e, QS_E_USAGE, "--copy %s: no key starts so; a prefix ends with a dot, as in --copy ema.",
                   prefix);
}

static bool save(qs_session *s, const fix_args *a, fix_report *r, qs_err *e) {
    if (a->plan_out && !qs_session_save_plan(s, a->plan_out, e)) return false;
    if (a->dry_run || !(r->after.loads || a->force)) return true;
    r->saved = qs_cli_save(s, &a->saving, a->common.quiet, e);
    return r->saved;
}

static int fix(const fix_args *a, const qs_session_options *opt) {
    fix_report r = {0};
    qs_err e = QS_ERR_INIT;
    qs_cli_common common = a->common;
    common.log_says = &r.log;
    qs_session *s = qs_cli_session(opt, a->pos[0], a->pos[1], &common, &e);
    bool ok = s && take_copy(s, a->copy, &r, &e) && repair(s, opt, &r, &e) && save(s, a, &r, &e);
    qs_session_free(s);
    if (!ok) return qs_cli_fail(&e);
    if (a->common.json)
        print_json(a, &r);
    else if (!a->common.quiet)
        print_words(a, &r);
    return r.after.loads ? 0 : 1;
}

static bool read_options(fix_args *a, qs_session_options *opt, qs_err *e) {
    *opt = QS_SESSION_OPTIONS_DEFAULT;
    opt->open = qs_cli_open_options(&a->common);
    opt->bn_eps = a->bn_eps;
    opt->guess = a->guess;
    if (!a->common.manifest && !a->common.log && !a->pos[1])
        return qs_fail(e, QS_E_USAGE, "nothing to fit it to: give -m MANIFEST, or a second checkpoint");
    if (a->init && !qs_init_source_parse(qs_str_of(a->init), &opt->init))
        return qs_fail(e, QS_E_USAGE, "--init wants fresh, observed, datafree or copy, not '%s'", a->init);
    if (opt->init == QS_INIT_COPY && !a->pos[1])
        return qs_fail(e, QS_E_USAGE, "--init copy wants a second checkpoint to copy from");
    if (!isnan(a->bn_eps) && !(a->bn_eps > 0 && isfinite(a->bn_eps)))
        return qs_fail(e, QS_E_USAGE, "--bn-eps wants a number above 0");
    if (a->torch && !(opt->strict.torch_minor = qs_cli_torch_version(a->torch)))
        return qs_fail(e, QS_E_USAGE, "--torch wants a version such as 1.13 or 2.6, not '%s'", a->torch);
    if (a->saving.in_place && !a->saving.out) a->saving.out = a->pos[0];
    if (!a->saving.out && !a->dry_run)
        return qs_fail(e, QS_E_USAGE, "where to? give -o OUT, --in-place (keeps A as NAME.bak) or --dry-run");
    if (a->plan_out && a->saving.out && strcmp(a->plan_out, a->saving.out) == 0)
        return qs_fail(e, QS_E_USAGE, "-o and --plan-out are one file: %s", a->plan_out);
    return true;
}

int qs_cmd_fix(int argc, char **argv) {
    fix_args a = {.bn_eps = NAN};
    const qs_opt opts[] = {
        QS_CLI_OPT_MANIFEST(&a.common),
        QS_CLI_OPT_LOG(&a.common),
        QS_CLI_OPT_OUTPUT(&a.saving, "the repaired checkpoint: NAME.pt or NAME.safetensors"),
        {"init", 0, QS_OPT_STRING, &a.init, "SOURCE",
         "missing quantizer keys: observed (default), fresh, datafree, or copy from B"},
        {"copy", 0, QS_OPT_STRING, &a.copy, "PREFIX",
         "which of several copies of the model to take: student., ema_model. ..."},
        {"guess", 0, QS_OPT_FLAG, &a.guess, NULL, "rename what is likely, too: by place and shape alone"},
        {"bn-eps", 0, QS_OPT_NUMBER, &a.bn_eps, "X", "eps of the BatchNorms, where no manifest tells"},
        {"dry-run", 'n', QS_OPT_FLAG, &a.dry_run, NULL, "say what would be done, save nothing"},
        {"plan-out", 0, QS_OPT_STRING, &a.plan_out, "PLAN", "write the plan, to be replayed with apply"},
        QS_CLI_OPT_IN_PLACE(&a.saving),
        QS_CLI_OPT_CPU(&a.saving),
        QS_CLI_OPT_BARE(&a.saving),
        QS_CLI_OPT_SHARD_SIZE(&a.saving),
        {"force", 0, QS_OPT_FLAG, &a.force, NULL, "save even if it would still not load"},
        {"torch", 0, QS_OPT_STRING, &a.torch, "VERSION",
         "whose strict load to satisfy: 1.7, 1.13, 2.6, 2.14"},
        QS_CLI_OPT_ROOT(&a.common),
        QS_CLI_OPT_LIMIT(&a.common),
        QS_CLI_OPT_JSON(&a.common),
        QS_CLI_OPT_QUIET(&a.common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a.pos, 1, 2);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    qs_session_options opt;
    qs_err e = QS_ERR_INIT;
    return read_options(&a, &opt, &e) ? fix(&a, &opt) : qs_cli_fail(&e);
}

/* qatscope apply: replay a plan on a checkpoint. */
#include "cli/cli.h"
#include "cli/plan_report.h"

#include <math.h>

typedef struct apply_args {
    qs_cli_common common;
    qs_cli_saving saving;
    const char *b, *torch, *pos[2]; /* PLAN, A */
    double bn_eps;
    bool dry_run, partial;
} apply_args;

typedef struct tally {
    uint32_t entries, marks[QS_MARK_COUNT];
    uint32_t skipped;
} tally;

static tally count(const qs_session *s) {
    const qs_resolution *r = qs_session_resolution(s);
    tally t = {.entries = qs_resolution_live(r)};
    for (uint32_t i = 0; i < qs_resolution_count(r); i++) t.marks[qs_resolution_entry(r, i)->mark]++;
    for (size_t i = 0; i < qs_plan_count(qs_session_plan(s)); i++)
        t.skipped += qs_resolution_skipped(r, i, NULL);
    return t;
}

static void print_words(const apply_args *a, const qs_session *s, bool saved) {
    qs_plan_report_print(s);
    const qs_verdict *v = qs_session_verdict(s);
    size_t failed = qs_plan_report_failed(s);
    if (v) printf("would load: %s\n", qs_verdict_loads(v) ? "YES" : "NO");
    if (saved)
        printf("saved: %s\n", a->saving.out);
    else if (failed && !a->partial)
        printf("saved: nothing (%zu thing%s did not apply; --partial saves the rest all the same)\n", failed,
               failed == 1 ? "" : "s");
    else
        printf("saved: nothing (--dry-run)\n");
}

static void print_json(const apply_args *a, const qs_session *s, bool saved) {
    tally t = count(s);
    const qs_verdict *v = qs_session_verdict(s);
    qs_buf b = {0};
    qs_buf_addz(&b, "{\"output\": ");
    if (saved)
        qs_buf_add_json(&b, qs_str_of(a->saving.out));
    else
        qs_buf_addz(&b, "null");
    qs_buf_addf(
        &b,
        ", \"actions\": %zu, \"entries\": %u, \"renames\": %u, \"initialises\": %u, \"copies\": %u, "
        "\"drops\": %u, \"converts\": %u, \"skipped\": %u, \"failed\": %zu, \"loads\": %s,\n \"plan\": ",
        qs_plan_count(qs_session_plan(s)), t.entries, t.marks[QS_MARK_RENAMED], t.marks[QS_MARK_INIT],
        t.marks[QS_MARK_COPIED], t.marks[QS_MARK_DROPPED], t.marks[QS_MARK_CONVERTED], t.skipped,
        qs_plan_report_failed(s),
        !v                    ? "null"
        : qs_verdict_loads(v) ? "true"
                              : "false");
    qs_plan_report_json(s, &b);
    qs_buf_addz(&b, "}\n");
    if (!b.failed) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

/* A plan that does not fit as it stands changes nothing. */
static int apply(const apply_args *a, const qs_session_options *opt) {
    qs_err e = QS_ERR_INIT;
    qs_session *s = qs_cli_session(opt, a->pos[1], a->b, &a->common, &e);
    int status = 0;
    if (s && qs_session_load_plan(s, a->pos[0], &e)) {
        bool fits = a->partial || qs_plan_report_failed(s) == 0;
        bool saved = fits && !a->dry_run && qs_cli_save(s, &a->saving, a->common.quiet, &e);
        const qs_verdict *v = qs_session_verdict(s);
        if (e.code == QS_OK && a->common.json)
            print_json(a, s, saved);
        else if (e.code == QS_OK && (!a->common.quiet || !fits))
            print_words(a, s, saved);
        status = !fits || (v && !qs_verdict_loads(v));
    }
    qs_session_free(s);
    return e.code == QS_OK ? status : qs_cli_fail(&e);
}

static bool read_options(apply_args *a, qs_session_options *opt, qs_err *e) {
    *opt = QS_SESSION_OPTIONS_DEFAULT;
    opt->open = qs_cli_open_options(&a->common);
    opt->bn_eps = a->bn_eps;
    opt->lenient = true; /* so that all of what does not apply can be told */
    if (!isnan(a->bn_eps) && !(a->bn_eps > 0 && isfinite(a->bn_eps)))
        return qs_fail(e, QS_E_USAGE, "--bn-eps wants a number above 0");
    if (a->torch && !(opt->strict.torch_minor = qs_cli_torch_version(a->torch)))
        return qs_fail(e, QS_E_USAGE, "--torch wants a version such as 1.13 or 2.6, not '%s'", a->torch);
    if (a->saving.in_place && !a->saving.out) a->saving.out = a->pos[1];
    return a->saving.out || a->dry_run ||
           qs_fail(e, QS_E_USAGE, "where to? give -o OUT, --in-place (keeps A as NAME.bak) or --dry-run");
}

int qs_cmd_apply(int argc, char **argv) {
    apply_args a = {.bn_eps = NAN};
    const qs_opt opts[] = {
        QS_CLI_OPT_OUTPUT(&a.saving, "the changed checkpoint: NAME.pt or NAME.safetensors"),
        QS_CLI_OPT_MANIFEST(&a.common),
        {"b", 'b', QS_OPT_STRING, &a.b, "B",
         "a second checkpoint: copied from, and the target without a manifest"},
        {"bn-eps", 0, QS_OPT_NUMBER, &a.bn_eps, "X",
         "eps of the BatchNorms, where neither plan nor manifest tells"},
        {"dry-run", 'n', QS_OPT_FLAG, &a.dry_run, NULL,
         "say what would be done and what would not, save nothing"},
        {"partial", 0, QS_OPT_FLAG, &a.partial, NULL, "leave out what does not apply, and save the rest"},
        QS_CLI_OPT_IN_PLACE(&a.saving),
        QS_CLI_OPT_CPU(&a.saving),
        QS_CLI_OPT_BARE(&a.saving),
        QS_CLI_OPT_SHARD_SIZE(&a.saving),
        {"torch", 0, QS_OPT_STRING, &a.torch, "VERSION",
         "whose strict load to simulate: 1.7, 1.13, 2.6, 2.14"},
        QS_CLI_OPT_ROOT(&a.common),
        QS_CLI_OPT_LIMIT(&a.common),
        QS_CLI_OPT_JSON(&a.common),
        QS_CLI_OPT_QUIET(&a.common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a.pos, 2, 2);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    qs_session_options opt;
    qs_err e = QS_ERR_INIT;
    return read_options(&a, &opt, &e) ? apply(&a, &opt) : qs_cli_fail(&e);
}

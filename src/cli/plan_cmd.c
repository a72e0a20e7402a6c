/* qatscope plan: what a plan does to a checkpoint, and what can be made of it. */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/plan_report.h"
#include "repair/plan_derive.h"
#include "session_preview.h"

typedef struct plan_args {
    qs_cli_common common;
    const char *out, *b, *expect, *pos[2]; /* PLAN, A */
    bool inverse, python;
} plan_args;

static bool print_derived(const qs_plan *p, qs_buf *out, qs_err *e) {
    return qs_plan_print(p, out) || qs_nomem(e);
}

static bool inverse(const plan_args *a, const qs_session *s, qs_buf *out, qs_err *e) {
    qs_plan *p = NULL;
    qs_inverse_gaps gaps;
    char comment[400];
    snprintf(comment, sizeof comment, "undoes what %s did to %s", a->pos[0], a->pos[1]);
    bool ok = qs_plan_inverse(qs_session_resolution(s), &p, &gaps, e) &&
              qs_plan_set_comment(p, qs_str_of(comment), e) && print_derived(p, out, e);
    qs_plan_free(p);
    if (!ok || a->common.quiet) return ok;
    if (gaps.copies)
        fprintf(
            stderr,
            "note: %zu entries were dropped or overwritten; their values come from the original: apply the "
            "inverse with -b %s\n",
            gaps.copies, a->pos[1]);
    if (gaps.tops)
        fprintf(stderr, "note: %zu entries beside the state dict were dropped; no plan brings them back\n",
                gaps.tops);
    return true;
}

static bool expecting(const plan_args *a, const qs_session *s, qs_buf *out, qs_err *e) {
    qs_plan *p = NULL;
    bool content = strcmp(a->expect, "content") == 0;
    bool ok = qs_plan_expecting(qs_resolution_input(qs_session_resolution(s)), content, &p, e) &&
              print_derived(p, out, e);
    qs_plan_free(p);
    return ok;
}

static int report(const plan_args *a, const qs_session *s, qs_err *e) {
    qs_buf b = {0};
    size_t failed = qs_plan_report_failed(s);
    if (a->common.json) {
        qs_buf_addf(&b, "{\"applies\": %s, \"failed\": %zu,\n \"plan\": ", failed ? "false" : "true", failed);
        qs_plan_report_json(s, &b);
        qs_buf_addz(&b, "}\n");
        if (b.failed)
            qs_nomem(e);
        else
            fwrite(b.p, 1, b.n, stdout);
        qs_buf_free(&b);
    } else {
        qs_plan_report_print(s);
        if (!a->common.quiet)
            fprintf(stderr, "%s\n", failed ? "the plan does not apply" : "the plan applies");
    }
    return failed ? 1 : 0;
}

static bool may_write(const plan_args *a, const qs_session *s, qs_err *e) {
    if (!a->out) return true;
    if (qs_file_same_path(a->out, a->pos[0]))
        return qs_fail(e, QS_E_REFUSED, "%s: is the plan that was read; choose another name", a->out);
    return qs_session_may_write(s, a->out, e);
}

static int run(const plan_args *a) {
    qs_session_options opt = QS_SESSION_OPTIONS_DEFAULT;
    bool derives = a->inverse || a->python || a->expect;
    qs_err e = QS_ERR_INIT;
    qs_buf text = {0};
    int status = 0;
    opt.open = qs_cli_open_options(&a->common);
    opt.lenient = !derives; /* nothing is derived from a plan that does not apply */
    qs_session *s = qs_cli_session(&opt, a->pos[1], a->b, &a->common, &e);
    bool ok = s && qs_session_load_plan(s, a->pos[0], &e);
    if (ok && !derives) {
        status = report(a, s, &e);
    } else if (ok) {
        ok = a->inverse  ? inverse(a, s, &text, &e)
             : a->expect ? expecting(a, s, &text, &e)
                         : qs_session_python(s, true, &text, &e);
        if (ok && may_write(a, s, &e)) qs_cli_deliver(qs_buf_str(&text), a->out, &e);
    }
    qs_buf_free(&text);
    qs_session_free(s);
    return e.code ? qs_cli_fail(&e) : status;
}

static bool check_options(const plan_args *a, qs_err *e) {
    if (a->inverse + a->python + (a->expect != NULL) > 1)
        return qs_fail(e, QS_E_USAGE, "give one of --inverse, --expect and --python");
    if (a->expect && strcmp(a->expect, "shape") != 0 && strcmp(a->expect, "content") != 0)
        return qs_fail(e, QS_E_USAGE, "--expect wants shape or content, not '%s'", a->expect);
    if (a->out && !(a->inverse || a->python || a->expect))
        return qs_fail(e, QS_E_USAGE,
                       "-o goes with --inverse, --expect or --python; `apply` saves the checkpoint");
    return true;
}

int qs_cmd_plan(int argc, char **argv) {
    plan_args a = {0};
    const qs_opt opts[] = {
        {"inverse", 0, QS_OPT_FLAG, &a.inverse, NULL, "print the plan that undoes it"},
        {"expect", 0, QS_OPT_STRING, &a.expect, "WHAT",
         "print it with preconditions on what it changes: shape, or content too"},
        {"python", 0, QS_OPT_FLAG, &a.python, NULL,
         "print a Python script that does the same with torch alone"},
        {"output", 'o', QS_OPT_STRING, &a.out, "FILE", "write that there, not to standard output"},
        QS_CLI_OPT_MANIFEST(&a.common),
        {"b", 'b', QS_OPT_STRING, &a.b, "B",
         "a second checkpoint: copied from, and the target without a manifest"},
        QS_CLI_OPT_ROOT(&a.common),
        QS_CLI_OPT_LIMIT(&a.common),
        QS_CLI_OPT_JSON(&a.common),
        QS_CLI_OPT_QUIET(&a.common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a.pos, 2, 2);
    if (p != QS_PARSE_OK) return p == QS_PARSE_DONE ? 0 : 2;
    qs_err e = QS_ERR_INIT;
    return check_options(&a, &e) ? run(&a) : qs_cli_fail(&e);
}

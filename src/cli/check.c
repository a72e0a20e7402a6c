/* qatscope check: would load_state_dict take it? The answer in torch's words on stdout, advice on stderr. */
#include "cli/cli.h"

#include <stdlib.h>

#include "teach/trace.h"

static const char *const kind_names[] = {
    [QS_FIND_MISSING] = "missing",     [QS_FIND_UNEXPECTED] = "unexpected",
    [QS_FIND_SIZE] = "size",           [QS_FIND_COPY] = "copy",
    [QS_FIND_RAISES] = "raises",       [QS_FIND_RESIZED] = "resized",
    [QS_FIND_INJECTED] = "injected",   [QS_FIND_CAST] = "cast",
    [QS_FIND_TRUNCATED] = "truncated", [QS_FIND_FORWARD] = "forward",
    [QS_FIND_OWN_CODE] = "own code",
};
enum { KINDS = sizeof kind_names / sizeof *kind_names, SHOWN = 10 };

static bool is_advice(qs_finding_kind kind) {
    return kind >= QS_FIND_RESIZED;
}

static void version_text(int minor, char out[16]) {
    snprintf(out, 16, "%d.%d", minor / 100, minor % 100);
}

/* Names come from files: control bytes are shown, but torch's newlines and tabs stay. */
static void print_message(const qs_buf *b) {
    qs_str rest = qs_buf_str(b);
    while (rest.n) {
        size_t n = qs_str_find(rest, QS_STR("\n\t"));
        qs_str line = qs_str_sub(rest, 0, n == SIZE_MAX ? rest.n : n);
        qs_str_fput_printable(line, stdout);
        rest = qs_str_sub(rest, line.n, rest.n);
        if (rest.n) fputs("\n\t", stdout);
        rest = qs_str_sub(rest, 2, rest.n);
    }
    putchar('\n');
}

static void print_advice(const qs_verdict *v) {
    static const char *const words[KINDS] = {
        [QS_FIND_RESIZED] = "resized to the checkpoint's shape",
        [QS_FIND_INJECTED] = "made by torch itself",
        [QS_FIND_CAST] = "of another dtype",
        [QS_FIND_TRUNCATED] = "CUT SHORT while loading",
        [QS_FIND_FORWARD] = "would load and FAIL LATER",
        [QS_FIND_OWN_CODE] = "of modules that load by code of their own",
    };
    size_t count[KINDS] = {0};
    for (size_t i = 0; i < qs_verdict_count(v); i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        if (!is_advice(f->kind) || ++count[f->kind] > SHOWN) continue;
        fprintf(stderr, "%s: ", kind_names[f->kind]);
        qs_str_fput_printable(f->key.n ? f->key : QS_STR("the model itself"), stderr);
        fprintf(stderr, ": %s\n", f->note);
    }
    for (int k = 0; k < KINDS; k++)
        if (words[k] && count[k] > SHOWN)
            fprintf(stderr, "%s: %zu keys %s, %d shown; --json lists all\n", kind_names[k], count[k],
                    words[k], SHOWN);
}

static void print_trace(const qs_trace *t) {
    qs_buf line = {0};
    for (size_t i = 0; i < qs_trace_count(t); i++) {
        const qs_step *s = qs_trace_step(t, i);
        line.n = 0;
        qs_trace_text(t, i, false, &line);
        printf("%*s%.*s\n", (int)((s->depth + (s->kind != QS_STEP_ENTER)) * 2), "",
               QS_FMT(qs_buf_str(&line)));
    }
    qs_buf_free(&line);
}

static void add_json_trace(const qs_trace *t, qs_buf *b) {
    qs_buf_addz(b, ",\n \"steps\": [");
    for (size_t i = 0; i < qs_trace_count(t); i++) {
        const qs_step *s = qs_trace_step(t, i);
        qs_buf_addf(b, "%s\n  {\"step\": \"%s\", \"depth\": %u, \"key\": ", i ? "," : "",
                    qs_step_get(s->kind)->name, s->depth);
        qs_buf_add_json(b, s->key);
        qs_buf_addf(b, ", \"repeats\": %u, \"note\": ", s->repeats);
        qs_buf_add_json(b, qs_str_of(s->note));
        qs_buf_addc(b, '}');
    }
    qs_buf_addz(b, "\n ]");
}

static void add_json_versions(const qs_strict_version *v, qs_buf *b) {
    qs_buf_addz(b, ",\n \"versions\": [");
    for (int i = 0; i < QS_STRICT_VERSIONS; i++)
        qs_buf_addf(b,
                    "%s\n  {\"torch\": \"%d.%d\", \"loads\": %s, \"same_words\": %s, \"refused\": %u, "
                    "\"fails_later\": %u}",
                    i ? "," : "", v[i].torch_minor / 100, v[i].torch_minor % 100,
                    v[i].loads ? "true" : "false", v[i].same_words ? "true" : "false", v[i].refused,
                    v[i].fails_later);
    qs_buf_addz(b, "\n ]");
}

/* Nobody asks strict=False, and it answers nobody: what it would leave out is said in any case. */
typedef struct unstrict {
    uint32_t unloaded, ignored; /* keys of the model, keys of the file */
    bool raises;                /* a shape, or worse */
} unstrict;

static unstrict count_unstrict(const qs_verdict *v) {
    unstrict u = {0};
    for (size_t i = 0; i < qs_verdict_count(v); i++) {
        qs_finding_kind kind = qs_verdict_finding(v, i)->kind;
        u.unloaded += kind == QS_FIND_MISSING;
        u.ignored += kind == QS_FIND_UNEXPECTED;
        u.raises |= kind == QS_FIND_SIZE || kind == QS_FIND_COPY || kind == QS_FIND_RAISES;
    }
    return u;
}

static void print_unstrict(const qs_verdict *v) {
    unstrict u = count_unstrict(v);
    if (u.unloaded || u.ignored)
        fprintf(stderr,
                "strict=False: %s %u of the model's keys as they are, and pass over %u of the file's\n",
                u.raises ? "would raise too, and leave" : "would leave", u.unloaded, u.ignored);
}

/* What there is to print: the verdict, how it came about if that was asked for, and the other versions'. */
typedef struct answer {
    qs_verdict *v;
    qs_trace *trace;
    qs_strict_version versions[QS_STRICT_VERSIONS];
} answer;

static void print_json(const char *file, const answer *x, const qs_buf *message, bool strict) {
    const qs_verdict *v = x->v;
    char torch[16];
    qs_buf b = {0};
    version_text(qs_verdict_torch(v), torch);
    qs_buf_addz(&b, "{\"file\": ");
    qs_buf_add_json(&b, qs_str_of(file));
    qs_buf_addf(&b, ", \"loads\": %s, \"torch\": \"%s\", \"strict\": %s,\n \"message\": ",
                qs_verdict_loads(v) ? "true" : "false", torch, strict ? "true" : "false");
    qs_buf_add_json(&b, qs_buf_str(message));
    qs_buf_addz(&b, ",\n \"findings\": [");
    for (size_t i = 0; i < qs_verdict_count(v); i++) {
        const qs_finding *f = qs_verdict_finding(v, i);
        qs_buf_addf(&b, "%s\n  {\"kind\": \"%s\", \"key\": ", i ? "," : "", kind_names[f->kind]);
        qs_buf_add_json(&b, f->key);
        qs_buf_addf(&b, ", \"repeats\": %u, \"note\": ", f->repeats);
        qs_buf_add_json(&b, qs_str_of(f->note));
        qs_buf_addc(&b, '}');
    }
    qs_buf_addz(&b, "\n ]");
    unstrict u = count_unstrict(v);
    qs_buf_addf(&b, ",\n \"strict_false\": {\"unloaded\": %u, \"ignored\": %u, \"raises\": %s}", u.unloaded,
                u.ignored, u.raises ? "true" : "false");
    add_json_versions(x->versions, &b);
    if (x->trace) add_json_trace(x->trace, &b);
    qs_buf_addz(&b, "}\n");
    if (!b.failed) fwrite(b.p, 1, b.n, stdout);
    qs_buf_free(&b);
}

typedef struct check_args {
    qs_cli_common common;
    const char *torch, *file, *pos[QS_CLI_FILES]; /* file: the one being checked */
    bool no_strict, assign, trace, many;
    qs_strict_options strict;
} check_args;

/* The log is evidence beside a manifest, and the target where there is none. */
static bool read_log(const check_args *a, const qs_checkpoint *c, const qs_open_options *open,
                     const qs_manifest *manifest, qs_manifest **out, qs_err *e) {
    qs_log_summary *log = calloc(1, sizeof *log);
    if (!log) return qs_nomem(e);
    bool ok = manifest ? qs_log_evidence(a->common.log, c, manifest, &open->limits, log, e)
                       : qs_log_manifest(a->common.log, c, &open->limits, out, log, e);
    if (ok && !a->common.quiet && !a->many) qs_cli_tell_log(a->common.log, log);
    free(log);
    return ok;
}

static bool open_target(const check_args *a, const qs_checkpoint *c, const qs_open_options *open,
                        qs_manifest **out, qs_err *e) {
    if (a->common.manifest)
        return qs_manifest_open(a->common.manifest, &open->limits, out, e) &&
               (!a->common.log || read_log(a, c, open, *out, NULL, e));
    if (a->common.log) return read_log(a, c, open, NULL, out, e);
    qs_checkpoint *b = NULL;
    if (!qs_checkpoint_open(a->pos[1], open, &b, e)) return false;
    bool ok = qs_manifest_from_checkpoint(b, out, e);
    qs_checkpoint_close(b);
    return ok;
}

static void print_versions(const qs_strict_version *versions) {
    qs_buf b = {0};
    if (qs_strict_versions_text(versions, &b) && b.n)
        fprintf(stderr, "versions: %.*s\n", QS_FMT(qs_buf_str(&b)));
    qs_buf_free(&b);
}

/* "FILE: loads", or how much of what stands against it. */
static void print_line(const char *file, const qs_verdict *v) {
    static const char *const words[KINDS] = {
        [QS_FIND_MISSING] = "missing",       [QS_FIND_UNEXPECTED] = "unexpected",
        [QS_FIND_SIZE] = "of another shape", [QS_FIND_COPY] = "that cannot be copied",
        [QS_FIND_RAISES] = "that raise",     [QS_FIND_FORWARD] = "that fail later",
        [QS_FIND_TRUNCATED] = "cut short",   [QS_FIND_OWN_CODE] = "that load by code of their own",
    };
    size_t count[KINDS] = {0};
    for (size_t i = 0; i < qs_verdict_count(v); i++) count[qs_verdict_finding(v, i)->kind]++;
    qs_str_fput_printable(qs_str_of(file), stdout);
    printf(": %s", qs_verdict_loads(v) ? "loads" : "would not load");
    const char *between = ": ";
    for (int k = 0; k < KINDS; k++) {
        if (!words[k] || !count[k]) continue;
        printf("%s%zu %s", between, count[k], words[k]);
        between = ", ";
    }
    printf("\n");
}

static bool print_answer(const check_args *a, const answer *x, qs_err *e) {
    qs_buf message = {0};
    if (a->many && !a->common.json) {
        print_line(a->file, x->v);
        return true;
    }
    bool ok = qs_verdict_message(x->v, &message) && qs_verdict_result(x->v, &message);
    if (ok && x->trace && !a->common.json) print_trace(x->trace);
    if (ok && a->common.json)
        print_json(a->file, x, &message, !a->no_strict);
    else if (ok)
        print_message(&message);
    if (ok && !a->common.json && !a->common.quiet) {
        print_advice(x->v);
        print_unstrict(x->v);
        print_versions(x->versions);
    }
    qs_buf_free(&message);
    return ok || qs_nomem(e);
}

static bool judge(const check_args *a, const qs_strict_options *strict, const qs_resolution *r, answer *x,
                  qs_err *e) {
    qs_strict_source src = qs_strict_source_of_resolution(r);
    const qs_manifest *target = qs_resolution_input(r)->target;
    bool all = a->common.json || (!a->common.quiet && !a->many);
    return qs_strict_run(target, &src, strict, &x->v, e) &&
           (!a->trace || qs_trace_make(r, x->v, &x->trace, e)) &&
           (!all || qs_strict_versions(target, &src, strict, x->versions, e)) && print_answer(a, x, e);
}

static bool check_one(void *ctx, const char *file, int *status, qs_err *e) {
    check_args *a = ctx;
    qs_open_options open = qs_cli_open_options(&a->common);
    qs_checkpoint *c = NULL;
    qs_manifest *target = NULL;
    qs_resolution *r = NULL;
    answer x = {0};
    qs_plan *plan = qs_plan_new();
    a->file = file;
    bool ok = (plan || qs_nomem(e)) && qs_checkpoint_open(file, &open, &c, e) &&
              open_target(a, c, &open, &target, e);
    qs_resolve_input in = {.a = c, .target = target, .plan = plan};
    ok = ok && qs_resolve(&in, &r, e) && judge(a, &a->strict, r, &x, e);
    if (ok) *status = !qs_verdict_loads(x.v);
    qs_trace_free(x.trace);
    qs_verdict_free(x.v);
    qs_resolution_free(r);
    qs_manifest_close(target);
    qs_checkpoint_close(c);
    qs_plan_free(plan);
    return ok;
}

/* Without a manifest or a log the second of two checkpoints is the target, and there is one to check. */
static int check(check_args *a) {
    const char *const first[QS_CLI_FILES] = {a->pos[0]};
    bool pair = !a->common.manifest && !a->common.log;
    return qs_cli_over_files(pair ? first : a->pos, a->common.json, &a->many, check_one, a);
}

static bool read_options(check_args *a, qs_err *e) {
    a->strict = (qs_strict_options){.strict = !a->no_strict, .assign = a->assign};
    if (a->torch) a->strict.torch_minor = qs_cli_torch_version(a->torch);
    if (a->torch && !a->strict.torch_minor)
        return qs_fail(e, QS_E_USAGE, "--torch %s: give a version like 1.13 or 2.6", a->torch);
    bool target = a->common.manifest || a->common.log;
    if (!target && !a->pos[1])
        return qs_fail(e, QS_E_USAGE,
                       "nothing to check against: give -m MANIFEST, --log FILE or a second checkpoint");
    if (!target && a->pos[2])
        return qs_fail(e, QS_E_USAGE, "checking more than one file wants -m MANIFEST or --log FILE");
    bool once = (a->common.log && strcmp(a->common.log, "-") == 0) ||
                (a->common.manifest && strcmp(a->common.manifest, "-") == 0);
    return !once || !a->pos[1] ||
           qs_fail(e, QS_E_USAGE,
                   "standard input can be read once: check one file, or name the manifest's or log's");
}

int qs_cmd_check(int argc, char **argv) {
    check_args *a = calloc(1, sizeof *a);
    if (!a) return 4;
    const qs_opt opts[] = {
        QS_CLI_OPT_MANIFEST(&a->common),
        QS_CLI_OPT_LOG(&a->common),
        QS_CLI_OPT_ROOT(&a->common),
        QS_CLI_OPT_LIMIT(&a->common),
        {"torch", 0, QS_OPT_STRING, &a->torch, "VERSION",
         "as PyTorch 1.7, 1.13, 2.6 or 2.14 would (default: the manifest's)"},
        {"no-strict", 0, QS_OPT_FLAG, &a->no_strict, NULL, "as load_state_dict(strict=False)"},
        {"trace", 0, QS_OPT_FLAG, &a->trace, NULL, "first the load step by step, in torch's order"},
        {"assign", 0, QS_OPT_FLAG, &a->assign, NULL, "as load_state_dict(assign=True), from 2.1 on"},
        QS_CLI_OPT_JSON(&a->common),
        QS_CLI_OPT_QUIET(&a->common),
    };
    qs_parse p = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, a->pos, 1, QS_CLI_FILES);
    qs_err e = QS_ERR_INIT;
    int status = p == QS_PARSE_DONE ? 0 : 2;
    if (p == QS_PARSE_OK) status = read_options(a, &e) ? check(a) : qs_cli_fail(&e);
    free(a);
    return status;
}

#include "cli/cli.h"

#include "base/tempfile.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct command_info {
    const char *name, *args, *help;
} command_info;

static const command_info commands[] = {
#define QS_COMMAND(name, args, help) {#name, args, help},
#include "cli/commands.def"
#undef QS_COMMAND
};

static const command_info *find_command(const char *name) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static void print_usage(FILE *f, const char *name) {
    const command_info *c = find_command(name);
    if (c)
        fprintf(f, "usage: qatscope %s %s\n", c->name, c->args);
    else
        fprintf(f, "usage: qatscope A [B] [-m MANIFEST] [--root NAME] [--plan PLAN]\n");
}

static void print_help(const char *name, const qs_opt *opts, size_t n) {
    print_usage(stdout, name);
    const command_info *c = find_command(name);
    if (c) printf("%s\n", c->help);
    printf("\noptions:\n");
    for (size_t i = 0; i < n; i++) {
        char left[48];
        char letter[5] = "    ";
        if (opts[i].letter) snprintf(letter, sizeof letter, "-%c, ", opts[i].letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, opts[i].name, opts[i].arg ? " " : "",
                 opts[i].arg ? opts[i].arg : "");
        printf("  %-26s %s\n", left, opts[i].help);
    }
    printf("      %-22s %s\n", "--help", "this text");
}

enum { MAX_OPTS = 40, OPT_HELP = 1000, OPT_FIRST = 1001 };

static bool store(const qs_opt *o, const char *arg) {
    char *end;
    switch (o->kind) {
    case QS_OPT_FLAG: *(bool *)o->to = true; return true;
    case QS_OPT_STRING: *(const char **)o->to = arg; return true;
    case QS_OPT_NUMBER:
        *(double *)o->to = strtod(arg, &end);
        if (*arg && !*end) return true;
        fprintf(stderr, "qatscope: --%s wants a number, not '%s'\n", o->name, arg);
        return false;
    }
    return false;
}

/* getopt's tables for ours; the value of option i is OPT_FIRST + i. */
static void make_tables(const qs_opt *opts, size_t n, struct option *longs, char *shorts) {
    size_t w = 0;
    for (size_t i = 0; i < n; i++) {
        int has_arg = opts[i].kind == QS_OPT_FLAG ? no_argument : required_argument;
        longs[i] = (struct option){opts[i].name, has_arg, NULL, OPT_FIRST + (int)i};
        if (!opts[i].letter) continue;
        shorts[w++] = opts[i].letter;
        if (has_arg) shorts[w++] = ':';
    }
    shorts[w] = 0;
    longs[n] = (struct option){"help", no_argument, NULL, OPT_HELP};
    longs[n + 1] = (struct option){0};
}

static const qs_opt *option_of(int code, const qs_opt *opts, size_t n) {
    if (code >= OPT_FIRST) return &opts[code - OPT_FIRST];
    for (size_t i = 0; i < n; i++)
        if (opts[i].letter == code) return &opts[i];
    return NULL;
}

qs_parse qs_cli_parse(int argc, char **argv, const qs_opt *opts, size_t n, const char **pos, size_t min,
                      size_t max) {
    struct option longs[MAX_OPTS + 2];
    char shorts[2 * MAX_OPTS + 1];
    if (n > MAX_OPTS) n = MAX_OPTS;
    make_tables(opts, n, longs, shorts);
    for (size_t i = 0; i < max; i++) pos[i] = NULL;
    char name[32];
    snprintf(name, sizeof name, "%s", argv[0]);
    optind = 0; /* GNU: start afresh */
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (code == OPT_HELP) {
            print_help(name, opts, n);
            return QS_PARSE_DONE;
        }
        const qs_opt *o = option_of(code, opts, n);
        if (!o || !store(o, optarg)) goto bad; /* getopt has said what is wrong */
    }
    size_t count = (size_t)(argc - optind);
    if (count < min || count > max) {
        fprintf(stderr, "qatscope %s: %s\n", find_command(name) ? name : "",
                count < min ? "an argument is missing" : "too many arguments");
        goto bad;
    }
    for (size_t i = 0; i < count; i++) pos[i] = argv[optind + (int)i];
    return QS_PARSE_OK;
bad:
    print_usage(stderr, name);
    return QS_PARSE_BAD;
}

int qs_cli_run(int (*command)(int, char **), int argc, const char *const *args) {
    char *argv[16] = {0};
    /* argv is never written to; its type is older than const */
    for (int i = 0; i < argc && i < 15; i++) argv[i] = (char *)(uintptr_t)args[i];
    return command(argc, argv);
}

int qs_cli_fail(const qs_err *e) {
    fprintf(stderr, "qatscope: %s", e->msg);
    if (e->offset != QS_ERR_NO_OFFSET)
        fprintf(stderr, " (%s%sbyte %" PRIu64 ")", e->record, e->record[0] ? ", " : "", e->offset);
    fprintf(stderr, "\n");
    return qs_err_exit_code(e);
}

static bool write_all(int fd, qs_str s, const char *path, qs_err *e) {
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return qs_fail_errno(e, QS_E_IO, errno, "%s: cannot write", path);
        s = qs_str_sub(s, (size_t)n, s.n);
    }
    return true;
}

bool qs_cli_deliver(qs_str text, const char *path, qs_err *e) {
    if (!path) {
        if (fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0) return true;
        return qs_fail_errno(e, QS_E_IO, errno, "standard output: cannot write");
    }
    qs_temp *t = NULL;
    if (!qs_temp_create(path, &t, e)) return false;
    if (write_all(qs_temp_fd(t), text, path, e)) return qs_temp_publish(t, NULL, e);
    qs_temp_discard(t);
    return false;
}

static void tell_log(const char *path, const qs_log_summary *l) {
    fprintf(stderr,
            "log: %s, line %" PRIu64 ": %s%s%" PRIu32 " missing, %" PRIu32 " unexpected, %" PRIu32
            " of another shape%s\n",
            path, l->line, l->model, l->model[0] ? ": " : "", l->missing, l->unexpected, l->mismatched,
            l->truncated ? " (the text is cut off: more is missing)" : "");
    uint32_t against = l->missing_but_there + l->unexpected_not_there + l->other_shape;
    if (against)
        fprintf(stderr,
                "log: %" PRIu32
                " keys contradict this checkpoint, %s among them: an older log, or another file?\n",
                against, l->example);
    if (l->matched_later) fprintf(stderr, "log: a later load in it succeeded\n");
}

static bool open_log(qs_session *s, const char *b, const qs_cli_common *common, qs_err *e) {
    qs_log_summary *summary = calloc(1, sizeof *summary);
    if (!summary) return qs_nomem(e);
    bool ok = qs_session_open_log(s, common->log, common->manifest || b, summary, e);
    if (ok && !common->quiet) tell_log(common->log, summary);
    free(summary);
    return ok;
}

qs_session *qs_cli_session(const qs_session_options *opt, const char *a, const char *b,
                           const qs_cli_common *common, qs_err *e) {
    qs_session *s = qs_session_new(opt);
    if (!s) {
        qs_nomem(e);
        return NULL;
    }
    if (qs_session_open_a(s, a, e) && (!b || qs_session_open_b(s, b, e)) &&
        (!common->manifest || qs_session_open_manifest(s, common->manifest, e)) &&
        (!common->log || open_log(s, b, common, e)) && qs_session_refresh(s, e))
        return s;
    qs_session_free(s);
    return NULL;
}

/* What the error sums up, in full. */
static void tell_misfits(const qs_session *s, const char *out) {
    const qs_resolution *r = qs_session_resolution(s);
    for (uint32_t i = 0; qs_is_safetensors_name(out) && i < qs_resolution_live(r); i++) {
        const char *why = qs_safetensors_misfit(r, i);
        if (!why) continue;
        fprintf(stderr, "does not fit: ");
        qs_str_fput_printable(qs_resolution_entry(r, i)->key, stderr);
        fprintf(stderr, " (%s)\n", why);
    }
}

bool qs_cli_save(qs_session *s, const qs_cli_saving *how, bool quiet, qs_err *e) {
    qs_write_options opt = {.in_place = how->in_place, .overwrite = true, .cpu = how->cpu};
    if (!quiet) tell_misfits(s, how->out);
    if (!qs_session_save(s, how->out, &opt, e)) return false;
    const char *note = qs_write_note(qs_session_resolution(s), how->out);
    if (note && !quiet) fprintf(stderr, "note: %s\n", note);
    return true;
}

bool qs_cli_color(const char *when, FILE *f) {
    if (when && strcmp(when, "always") == 0) return true;
    if (when && strcmp(when, "never") == 0) return false;
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if ((no && *no) || !term || strcmp(term, "dumb") == 0) return false;
    return isatty(fileno(f));
}

bool qs_cli_utf8(bool ascii) {
    return !ascii && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int qs_cli_torch_version(const char *text) {
    char *end;
    long major = strtol(text, &end, 10);
    if (end == text || *end != '.') return 0;
    const char *rest = end + 1;
    long minor = strtol(rest, &end, 10);
    if (end == rest || major < 0 || major > 9 || minor < 0 || minor > 99) return 0;
    return (int)(major * 100 + minor);
}

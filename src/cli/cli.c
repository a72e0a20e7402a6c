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

static const struct {
    const char *command, *line, *help;
} examples[] = {
#define QS_EXAMPLE(command, line, help) {#command, line, help},
#define QS_EXITS(command, zero, one)
#include "cli/examples.def"
#undef QS_EXAMPLE
#undef QS_EXITS
};

static const struct {
    const char *command, *zero, *one;
} exits[] = {
#define QS_EXAMPLE(command, line, help)
#define QS_EXITS(command, zero, one) {#command, zero, one},
#include "cli/examples.def"
#undef QS_EXAMPLE
#undef QS_EXITS
};

#define EXPLORER_ARGS "A [B] [-m MANIFEST] [--root NAME] [--plan PLAN]"

static void print_usage(FILE *f, const char *name) {
    const command_info *c = find_command(name);
    if (c)
        fprintf(f, "usage: qatscope %s %s\n", c->name, c->args);
    else
        fprintf(f, "usage: qatscope " EXPLORER_ARGS "\n");
}

/* The explorer has no name of its own in the tables. */
static const char *table_name(const char *name) {
    return find_command(name) ? name : "explore";
}

static void option_text(const qs_opt *o, char *out, size_t cap) {
    char letter[5] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, cap, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

static void print_exits(const char *name) {
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) {
        if (strcmp(exits[i].command, name) != 0) continue;
        printf("\nexit status: 0 %s, ", exits[i].zero);
        if (exits[i].one[0]) printf("1 %s, ", exits[i].one);
        printf("2 usage, 3 bad input, 4 I/O\n");
    }
}

static void print_help(const char *name, const qs_opt *opts, size_t n) {
    print_usage(stdout, name);
    const command_info *c = find_command(name);
    if (c) printf("%s\n", c->help);
    printf("\noptions:\n");
    for (size_t i = 0; i < n; i++) {
        char left[48];
        option_text(&opts[i], left, sizeof left);
        printf("  %-26s %s\n", left, opts[i].help);
    }
    printf("      %-22s %s\n", "--help",
           qs_cli_has_json(name) ? "this text; --help=json lists what --json prints" : "this text");
    printf("\nexamples:\n");
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        if (strcmp(examples[i].command, table_name(name)) == 0)
            printf("  %s\n      %s\n", examples[i].line, examples[i].help);
    print_exits(table_name(name));
}

/* ---- the same for man and for bash ---- */

static void put_roff(const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '-' || *text == '\\') putchar('\\');
        fputs(*text == '\\' ? "e" : (char[]){*text, 0}, stdout);
    }
}

static void roff_line(const char *macro, const char *text, const char *end) {
    fputs(macro, stdout);
    put_roff(text);
    fputs(end, stdout);
}

static void print_man(const char *name, const qs_opt *opts, size_t n) {
    const command_info *c = find_command(name);
    roff_line(".SS \"qatscope ", c ? c->name : "", " ");
    put_roff(c ? c->args : EXPLORER_ARGS);
    fputs("\"\n", stdout);
    roff_line("", c ? c->help : "the explorer", ".\n");
    for (size_t i = 0; i < n; i++) {
        char left[48];
        option_text(&opts[i], left, sizeof left);
        roff_line(".TP\n.B ", left + strspn(left, " "), "\n");
        roff_line("", opts[i].help, "\n");
    }
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        if (strcmp(examples[i].command, table_name(name)) != 0) continue;
        roff_line(".PP\n.nf\n.B ", examples[i].line, "\n.fi\n");
        roff_line("", examples[i].help, ".\n");
    }
}

static void print_words(const char *name, const qs_opt *opts, size_t n) {
    if (find_command(name))
        printf("    %s) words='", name);
    else
        printf("    *) words='");
    for (size_t i = 0; i < n; i++) printf("--%s ", opts[i].name);
    printf("--help' ;;\n");
}

/* `style` is what stands after --help=. */
static bool print_help_as(const char *style, const char *name, const qs_opt *opts, size_t n) {
    if (!style)
        print_help(name, opts, n);
    else if (strcmp(style, "man") == 0)
        print_man(name, opts, n);
    else if (strcmp(style, "words") == 0)
        print_words(name, opts, n);
    else if (strcmp(style, "json") == 0 && qs_cli_has_json(name))
        qs_cli_print_json_fields(name);
    else
        return fprintf(stderr, "qatscope: --help=%s: there is no such help\n", style), false;
    return true;
}

/* ---- what was meant ---- */

enum { WORD = 24 };

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Edits from a to b; two neighbours that changed places are one. Words longer than WORD are far from all. */
static size_t distance(const char *a, const char *b) {
    size_t d[WORD + 1][WORD + 1], n = strlen(a), m = strlen(b);
    if (n > WORD || m > WORD) return SIZE_MAX;
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            d[i][j] = i ? j ? d[i - 1][j - 1] + (a[i - 1] != b[j - 1]) : i : j;
            if (i && j) d[i][j] = smaller(d[i][j], smaller(d[i - 1][j], d[i][j - 1]) + 1);
            bool turned = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (turned) d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

static bool nearer(const char *typed, const char *word, size_t *best) {
    size_t d = distance(typed, word);
    bool near = d < *best && d <= 2 && d < strlen(word);
    if (near) *best = d;
    return near;
}

const char *qs_cli_near_command(const char *typed) {
    const char *found = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (nearer(typed, commands[i].name, &best)) found = commands[i].name;
    return found;
}

static const char *near_option(const char *typed, const qs_opt *opts, size_t n) {
    const char *found = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < n; i++)
        if (nearer(typed, opts[i].name, &best)) found = opts[i].name;
    return found;
}

/* ---- sizes and limits ---- */

/* "5GB" 5e9, "2GiB" and "2G" 2^31, "1000" 1000; false if it is no size. */
static bool parse_size(const char *text, uint64_t *out) {
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"", 1},          {"B", 1},        {"KB", 1000},    {"MB", 1000000},   {"GB", 1000000000},
                 {"K", 1u << 10},  {"M", 1u << 20}, {"G", 1u << 30}, {"KiB", 1u << 10}, {"MiB", 1u << 20},
                 {"GiB", 1u << 30}};
    char *end;
    double n = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        if (end == text || !(n * (double)units[i].bytes >= 1 && n * (double)units[i].bytes < 9e18))
            return false;
        *out = (uint64_t)(n * (double)units[i].bytes);
        return true;
    }
    return false;
}

/* 268435456 as "256M". */
static void print_size(uint64_t n) {
    static const char units[] = {' ', 'K', 'M', 'G', 'T'};
    size_t unit = 0;
    for (; n && n % 1024 == 0 && unit + 1 < sizeof units; unit++) n /= 1024;
    printf("%8" PRIu64 "%c", n, units[unit]);
}

void qs_cli_print_limits(void) {
    for (int i = 0; i < QS_LIMIT_COUNT; i++) {
        const qs_limit_info *x = qs_limit_get((qs_limit_id)i);
        printf("  %-16s", x->name);
        print_size(x->standard);
        printf("  %s\n", x->what);
    }
}

static const char *near_limit(const char *typed) {
    const char *found = NULL;
    size_t best = SIZE_MAX;
    for (int i = 0; i < QS_LIMIT_COUNT; i++)
        if (nearer(typed, qs_limit_get((qs_limit_id)i)->name, &best))
            found = qs_limit_get((qs_limit_id)i)->name;
    return found;
}

static bool no_such_limit(const char *arg) {
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(arg, "="), arg);
    const char *meant = near_limit(typed);
    fprintf(stderr, "qatscope: --limit: there is no limit '");
    qs_str_fput_printable(qs_str_of(typed), stderr);
    fprintf(stderr, meant ? "'; did you mean %s?\n" : "'; --limit help lists them\n", meant);
    return false;
}

/* NAME=N */
static bool store_limit(qs_limits *limits, const char *arg) {
    uint64_t n;
    size_t name = strcspn(arg, "=");
    qs_limit_id id = qs_limit_find(arg, name);
    if (id == QS_LIMIT_COUNT) return no_such_limit(arg);
    const qs_limit_info *x = qs_limit_get(id);
    if (arg[name] == '=' && parse_size(arg + name + 1, &n) && n <= x->most) {
        qs_limit_set(limits, id, n);
        return true;
    }
    fprintf(stderr, "qatscope: --limit %s wants a number from 1 to %" PRIu64 ", such as %s=%" PRIu64 "\n",
            x->name, x->most, x->name, x->standard);
    return false;
}

qs_open_options qs_cli_open_options(const qs_cli_common *c) {
    qs_open_options open = {.root = c->root, .limits = c->limits};
    for (int i = 0; i < QS_LIMIT_COUNT; i++)
        if (qs_limit_value(&open.limits, (qs_limit_id)i) == 0)
            qs_limit_set(&open.limits, (qs_limit_id)i, qs_limit_get((qs_limit_id)i)->standard);
    return open;
}

enum { MAX_OPTS = 40, OPT_HELP = 1000, OPT_FIRST = 1001 };

static bool store(const qs_opt *o, const char *arg) {
    char *end;
    switch (o->kind) {
    case QS_OPT_FLAG: *(bool *)o->to = true; return true;
    case QS_OPT_STRING: *(const char **)o->to = arg; return true;
    case QS_OPT_LIMIT: return store_limit(o->to, arg);
    case QS_OPT_NUMBER:
        *(double *)o->to = strtod(arg, &end);
        if (*arg && !*end) return true;
        fprintf(stderr, "qatscope: --%s wants a number, not '%s'\n", o->name, arg);
        return false;
    case QS_OPT_WHEN:
        *(const char **)o->to = arg;
        if (strcmp(arg, "auto") == 0 || strcmp(arg, "always") == 0 || strcmp(arg, "never") == 0) return true;
        fprintf(stderr, "qatscope: --%s wants auto, always or never, not '%s'\n", o->name, arg);
        return false;
    }
    return false;
}

/* getopt's tables for ours; the value of option i is OPT_FIRST + i. */
static void make_tables(const qs_opt *opts, size_t n, struct option *longs, char *shorts) {
    size_t w = 0;
    shorts[w++] = ':'; /* tells a missing argument from an unknown option */
    for (size_t i = 0; i < n; i++) {
        int has_arg = opts[i].kind == QS_OPT_FLAG ? no_argument : required_argument;
        longs[i] = (struct option){opts[i].name, has_arg, NULL, OPT_FIRST + (int)i};
        if (!opts[i].letter) continue;
        shorts[w++] = opts[i].letter;
        if (has_arg) shorts[w++] = ':';
    }
    shorts[w] = 0;
    longs[n] = (struct option){"help", optional_argument, NULL, OPT_HELP};
    longs[n + 1] = (struct option){0};
}

static const qs_opt *option_of(int code, const qs_opt *opts, size_t n) {
    if (code >= OPT_FIRST) return &opts[code - OPT_FIRST];
    for (size_t i = 0; i < n; i++)
        if (opts[i].letter == code) return &opts[i];
    return NULL;
}

static bool begins_some(const char *start, const qs_opt *opts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (*start && qs_str_starts(qs_str_of(opts[i].name), qs_str_of(start))) return true;
    return false;
}

/* getopt's complaint, in our words: ':' an argument is missing, '?' anything else. */
static void complain(int code, char **argv, const qs_opt *opts, size_t n) {
    const char *typed = argv[optind - 1], *command = find_command(argv[0]) ? argv[0] : "";
    fprintf(stderr, "qatscope%s%s: ", *command ? " " : "", command);
    if (strncmp(typed, "--", 2) != 0) {
        fprintf(stderr, code == ':' ? "-%c wants an argument\n" : "there is no option -%c\n", optopt);
        return;
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(typed + 2, "="), typed + 2);
    const char *meant = near_option(name, opts, n);
    if (code == ':')
        fprintf(stderr, "--%s wants an argument\n", name);
    else if (optopt >= OPT_FIRST)
        fprintf(stderr, "--%s takes no argument\n", name);
    else if (meant)
        fprintf(stderr, "there is no option --%s; did you mean --%s?\n", name, meant);
    else
        fprintf(stderr, "there is no option --%s%s\n", name,
                begins_some(name, opts, n) ? " alone: several begin so" : "");
}

qs_parse qs_cli_parse(int argc, char **argv, const qs_opt *opts, size_t n, const char **pos, size_t min,
                      size_t max) {
    struct option longs[MAX_OPTS + 2];
    char shorts[2 * MAX_OPTS + 2];
    if (n > MAX_OPTS) n = MAX_OPTS;
    make_tables(opts, n, longs, shorts);
    for (size_t i = 0; i < max; i++) pos[i] = NULL;
    char name[32];
    snprintf(name, sizeof name, "%s", argv[0]);
    optind = 0; /* GNU: start afresh */
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        bool short_help = code == '?' && optopt == 'h'; /* no command has an -h of its own */
        if (short_help || code == OPT_HELP)
            return print_help_as(optarg, name, opts, n) ? QS_PARSE_DONE : QS_PARSE_BAD;
        const qs_opt *o = code == '?' || code == ':' ? NULL : option_of(code, opts, n);
        if (!o) complain(code, argv, opts, n);
        if (o && o->kind == QS_OPT_LIMIT && strcmp(optarg, "help") == 0)
            return qs_cli_print_limits(), QS_PARSE_DONE;
        if (!o || !store(o, optarg)) goto bad;
    }
    size_t count = (size_t)(argc - optind);
    if (count < min || count > max) {
        fprintf(stderr, "qatscope%s%s: ", find_command(name) ? " " : "", find_command(name) ? name : "");
        if (count < min)
            fprintf(stderr, "an argument is missing\n");
        else
            fprintf(stderr, "one argument too many: '%s'\n", argv[optind + (int)max]);
        goto bad;
    }
    for (size_t i = 0; i < count; i++) pos[i] = argv[optind + (int)i];
    return QS_PARSE_OK;
bad:
    print_usage(stderr, name);
    if (find_command(name)) fprintf(stderr, "qatscope %s --help tells more\n", name);
    return QS_PARSE_BAD;
}

int qs_cli_run(int (*command)(int, char **), int argc, const char *const *args) {
    char *argv[QS_CLI_ARGS + 1] = {0};
    /* argv is never written to; its type is older than const */
    for (int i = 0; i < argc && i < QS_CLI_ARGS; i++) argv[i] = (char *)(uintptr_t)args[i];
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

void qs_cli_tell_log(const char *path, const qs_log_summary *l) {
    fprintf(stderr,
            "log: %s, line %" PRIu64 ": %s%s%" PRIu32 " missing, %" PRIu32 " unexpected, %" PRIu32
            " of another shape%s\n",
            strcmp(path, "-") == 0 ? "standard input" : path, l->line, l->model, l->model[0] ? ": " : "",
            l->missing, l->unexpected, l->mismatched,
            l->truncated ? " (the text is cut off: more is missing)" : "");
    uint32_t against = l->missing_but_there + l->unexpected_not_there + l->other_shape;
    if (against)
        fprintf(stderr,
                "log: %" PRIu32 " %s this checkpoint, %s among them: an older log, or another file?\n",
                against, against == 1 ? "key contradicts" : "keys contradict", l->example);
    uint32_t model = l->not_expected + l->expected + l->other_model_shape;
    if (model)
        fprintf(stderr, "log: %" PRIu32 " %s the model, %s among them: of another model, or an older one?\n",
                model, model == 1 ? "key contradicts" : "keys contradict", l->model_example);
    if (l->matched_later) fprintf(stderr, "log: a later load in it succeeded\n");
}

static bool open_log(qs_session *s, const char *b, const qs_cli_common *common, qs_err *e) {
    qs_log_summary *summary = calloc(1, sizeof *summary);
    if (!summary) return qs_nomem(e);
    bool ok = qs_session_open_log(s, common->log, common->manifest || b, summary, e);
    if (ok && !common->quiet) qs_cli_tell_log(common->log, summary);
    if (ok && common->log_says) *common->log_says = *summary;
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
    qs_write_options opt = {.in_place = how->in_place, .overwrite = true, .bare = how->bare, .cpu = how->cpu};
    if (how->shard_size && !parse_size(how->shard_size, &opt.shard_bytes))
        return qs_fail(e, QS_E_USAGE, "--shard-size wants a size such as 500MB or 2GiB, not '%s'",
                       how->shard_size);
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

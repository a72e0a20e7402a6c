#include "cli/cli.h"

#include "base/memory.h"
#include "base/tempfile.h"

#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct command {
    const char *name, *args, *help;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
#define QS_COMMAND(name, args, help) {#name, args, help, qs_cmd_##name},
#include "cli/commands.def"
#undef QS_COMMAND
};

static void print_help(void) {
    printf(
        "qatscope %s: explore, explain and repair PyTorch checkpoints; nothing in a file is ever executed\n\n"
        "usage: qatscope A [B] [-m MANIFEST] [--root NAME] [--plan PLAN]      the explorer\n"
        "       qatscope COMMAND ...\n\ncommands:\n",
        QATSCOPE_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", commands[i].name, commands[i].args);
        printf("  %-28s %s\n", left, commands[i].help);
    }
    printf("\n`qatscope --print-config keymap` and `theme` print settings for ~/.config/qatscope.\nA and B "
           "are checkpoints (.pt, .pth, .bin); M is a manifest: what the model expects. `qatscope "
           "COMMAND --help`"
           " tells more.\nexit status: 0 fine, 1 differs or would not load, 2 usage, 3 bad input, 4 I/O\n");
}

/* A half-written temporary file must not outlive us; the default action then ends the process as the sender
 * meant. */
static void on_fatal_signal(int sig) {
    qs_temp_unlink_pending();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void catch_signals(void) {
    static const int fatal[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        struct sigaction sa = {.sa_handler = on_fatal_signal}, old;
        if (sigaction(fatal[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(fatal[i], &sa, NULL);
    }
}

/* Printing to a closed pipe or a full disk must not look like success, nor like an answer. */
static int finish(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (status != 4) perror("qatscope: standard output"); /* else it is said */
    return status > 1 ? status : 4;
}

static void print_all(const char *style) {
    const char *args[] = {"qatscope", style};
    qs_cli_run(qs_cmd_explore, 2, args);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        args[0] = commands[i].name;
        qs_cli_run(commands[i].run, 2, args);
    }
}

/* The man page: cmake writes it, from the tables the help comes from. */
static void print_man(void) {
    printf(".TH QATSCOPE 1 \"\" \"qatscope %s\"\n.SH NAME\nqatscope \\- explore, explain and repair PyTorch "
           "checkpoints\n"
           ".SH DESCRIPTION\nOpens checkpoints and a manifest of what a model expects, says whether PyTorch "
           "would load "
           "the one into the other, and repairs what does not fit. Nothing in a file is ever executed.\n"
           ".SH COMMANDS\n",
           QATSCOPE_VERSION);
    print_all("--help=man");
    printf(".SH JSON\nWhat \\-\\-json prints: [] is any element of a list, * any name. Of many files it is a "
           "list of these.\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!qs_cli_has_json(commands[i].name)) continue;
        printf(".SS %s\n.nf\n", commands[i].name);
        qs_cli_print_json_fields(commands[i].name);
        printf(".fi\n");
    }
    printf(".SH LIMITS\nA file that asks for more than these is refused; \\-\\-limit NAME=N (K, M and G are "
           "2^10, 2^20 and "
           "2^30) changes one. The defaults:\n.PP\n.nf\n");
    qs_cli_print_limits();
    printf(".fi\n.SH SAVING\nA file is written beside its target under a temporary name, opened again and "
           "compared, and only then renamed; a save that fails, is cancelled or interrupted leaves nothing. "
           "What replaces a file is synced to the disk first; what is new is not, as after cp.\n"
           ".SH EXIT STATUS\n0 fine, 1 differs or would not load, 2 usage, 3 bad input, 4 I/O.\n"
           ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nno colours, where \\-\\-color does not say otherwise\n");
}

/* For ~/.bashrc: eval "$(qatscope --completion)". */
static void print_completion(void) {
    printf("_qatscope() {\n  local words cur=${COMP_WORDS[COMP_CWORD]}\n  case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *const args[] = {commands[i].name, "--help=words"};
        qs_cli_run(commands[i].run, 2, args);
    }
    const char *const args[] = {"qatscope", "--help=words"};
    qs_cli_run(qs_cmd_explore, 2, args);
    printf("  esac\n  case ${COMP_WORDS[COMP_CWORD-1]} in\n    --limit) words='help");
    for (int i = 0; i < QS_LIMIT_COUNT; i++) printf(" %s=", qs_limit_get((qs_limit_id)i)->name);
    printf("' ;;\n  esac\n  [ \"$COMP_CWORD\" = 1 ] && words=\"$words");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) printf(" %s", commands[i].name);
    printf("\"\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _qatscope "
           "qatscope\n");
}

/* Neither a command nor a file: then it may be a slip. */
static bool misspelt(const char *word) {
    if (*word == '-') return false;
    const char *meant = strchr(word, '/') || access(word, F_OK) == 0 ? NULL : qs_cli_near_command(word);
    if (meant)
        fprintf(stderr, "qatscope: there is no command and no file '%s'; did you mean %s?\n", word, meant);
    return meant != NULL;
}

int main(int argc, char **argv) {
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* JSON and torch's text use a point */
    /* libzip calls mktime for every entry, and glibc re-reads the zone file each time while TZ is unset. */
    setenv("TZ", "UTC0", 0);
    catch_signals();
    qs_memory_keep(); /* opening makes large structures; after each action of the explorer all is derived anew
                       */
    if (argc < 2) {
        print_help();
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("qatscope %s\n", QATSCOPE_VERSION);
        return finish(0);
    }
    if (strcmp(argv[1], "--man") == 0) return print_man(), finish(0);
    if (strcmp(argv[1], "--completion") == 0) return print_completion(), finish(0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return finish(commands[i].run(argc - 1, argv + 1));
    if (misspelt(argv[1])) return 2;
    return finish(qs_cmd_explore(argc, argv));
}

#include "cli/cli.h"

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

/* Printing to a closed pipe or a full disk must not look like success. */
static int finish(int status) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("qatscope: standard output");
        return status ? status : 4;
    }
    return status;
}

int main(int argc, char **argv) {
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* JSON and torch's text use a point */
    /* libzip calls mktime for every entry, and glibc re-reads the zone file each time while TZ is unset. */
    setenv("TZ", "UTC0", 0);
    catch_signals();
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
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return finish(commands[i].run(argc - 1, argv + 1));
    return finish(qs_cmd_explore(argc, argv));
}

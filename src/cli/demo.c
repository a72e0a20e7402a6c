/* qatscope demo: makes the demo's files and opens them; without a terminal it does the whole job in words:
 * the verdict, the repair, the new verdict. */
#include "demo.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <unistd.h>

enum { SHOWN = 200 }; /* bytes of a line: torch names every missing key in one, 140 kB of them */

static void print_cut(FILE *from) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    rewind(from);
    while ((n = getline(&line, &cap, from)) > 0) {
        if (n <= SHOWN)
            fputs(line, stdout);
        else
            printf("%.*s ... (%zd characters; the command prints them all)\n", SHOWN, line, n);
    }
    free(line);
}

/* The command's standard output goes to a file first and from there, long lines cut, to ours. */
static int run_cut(int (*command)(int, char **), int argc, const char *const *args) {
    FILE *f = tmpfile();
    int ours = f ? dup(STDOUT_FILENO) : -1;
    if (ours < 0 || dup2(fileno(f), STDOUT_FILENO) < 0) {
        if (f) fclose(f);
        if (ours >= 0) close(ours);
        return qs_cli_run(command, argc, args); /* uncut is better than not at all */
    }
    int status = qs_cli_run(command, argc, args);
    fflush(stdout);
    dup2(ours, STDOUT_FILENO);
    close(ours);
    print_cut(f);
    fclose(f);
    return status;
}

/* Runs a sub-command after saying which, as a person would type it. */
static int say_and_run(int (*command)(int, char **), int argc, const char *const *args) {
    fputs("\n$ qatscope", stdout);
    for (int i = 0; i < argc; i++) printf(" %s", args[i]);
    putchar('\n');
    fflush(stdout);
    int status = run_cut(command, argc, args);
    fflush(stdout);
    return status;
}

/* The demo's float net must not load, and must load once it is fixed: anything else is a failure. */
static int tell(const qs_demo_paths *p) {
    char fixed[sizeof p->a + 16];
    snprintf(fixed, sizeof fixed, "%.*sfixed.pt", (int)(strlen(p->a) - strlen("float.pt")), p->a);
    const char *const check[] = {"check", p->a, "-m", p->manifest, "--quiet"};
    const char *const fix[] = {"fix", p->a, "-m", p->manifest, "-o", fixed, "--force"};
    const char *const again[] = {"check", fixed, "-m", p->manifest};
    if (say_and_run(qs_cmd_check, 5, check) != 1) return 3;
    int status = say_and_run(qs_cmd_fix, 7, fix);
    return status ? status : say_and_run(qs_cmd_check, 4, again);
}

static int explore(const qs_demo_paths *p) {
    const char *const args[] = {"qatscope", p->a, p->b, "-m", p->manifest};
    return qs_cli_run(qs_cmd_explore, 5, args);
}

int qs_cmd_demo(int argc, char **argv) {
    const char *pos[1];
    bool only = false;
    qs_cli_common common = {0};
    const qs_opt opts[] = {
        {"write-only", 0, QS_OPT_FLAG, &only, NULL, "make the files and stop"},
        QS_CLI_OPT_QUIET(&common),
    };
    qs_parse parsed = qs_cli_parse(argc, argv, opts, sizeof opts / sizeof *opts, pos, 0, 1);
    if (parsed != QS_PARSE_OK) return parsed == QS_PARSE_DONE ? 0 : 2;
    qs_err e = QS_ERR_INIT;
    qs_demo_paths *p = malloc(sizeof *p);
    if (!p) {
        qs_nomem(&e);
        return qs_cli_fail(&e);
    }
    int status = 0;
    if (!qs_demo_write(pos[0] ? pos[0] : "qatscope-demo", p, &e))
        status = qs_cli_fail(&e);
    else {
        if (!common.quiet) fprintf(stderr, "wrote %s, %s and %s\n", p->a, p->b, p->manifest);
        if (!only) status = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? explore(p) : tell(p);
    }
    free(p);
    return status;
}

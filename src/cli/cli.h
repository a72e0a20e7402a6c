/* What the sub-commands share: the table of commands, option parsing, words on stderr. Data goes to stdout,
 * words to stderr; exit codes are 0 fine, 1 differs or would not load, 2 usage, 3 bad input, 4 I/O. */
#ifndef QS_CLI_CLI_H
#define QS_CLI_CLI_H

#include "base/err.h"
#include "session.h"

#include <stdio.h>

/* argv[0] is the sub-command's name. Returns the exit status. */
#define QS_COMMAND(name, ...) int qs_cmd_##name(int argc, char **argv);
#include "cli/commands.def"
#undef QS_COMMAND
/* `qatscope A [B]` without a sub-command; argv[0] is the program. */
int qs_cmd_explore(int argc, char **argv);

/* Runs a sub-command with these arguments (args[0] is its name, at most QS_CLI_ARGS). */
enum { QS_CLI_ARGS = 16 + 2 * QS_LIMIT_COUNT };
int qs_cli_run(int (*command)(int, char **), int argc, const char *const *args);

typedef enum qs_opt_kind {
    QS_OPT_FLAG,   /* bool *to */
    QS_OPT_STRING, /* const char **to */
    QS_OPT_NUMBER, /* double *to */
    QS_OPT_WHEN,   /* const char **to: auto, always or never */
    QS_OPT_LIMIT,  /* qs_limits *to: NAME=N sets one of them; may be repeated */
} qs_opt_kind;

typedef struct qs_opt {
    const char *name; /* long name without dashes */
    char letter;      /* short name, 0 if none */
    qs_opt_kind kind;
    void *to;
    const char *arg; /* name of the argument in the help, NULL for flags */
    const char *help;
} qs_opt;

typedef enum qs_parse {
    QS_PARSE_OK,
    QS_PARSE_DONE /* --help or --limit help was printed: exit 0 */,
    QS_PARSE_BAD /* exit 2 */
} qs_parse;

/* Options and positional arguments in any order, "--" ends the options. `--help` is added to every table;
 * with =man and =words it prints the same as a section of a man page and as a line of a bash completion.
 * Between min and max positional arguments go to pos (unused slots NULL). Complaints go to stderr, with the
 * usage line. */
qs_parse qs_cli_parse(int argc, char **argv, const qs_opt *opts, size_t n, const char **pos, size_t min,
                      size_t max);

/* A line for each limit of --limit: name, default, what it counts. */
void qs_cli_print_limits(void);
/* Does the command print JSON, and the fields of it, from json.def. */
bool qs_cli_has_json(const char *name);
void qs_cli_print_json_fields(const char *name);

/* The command somebody may have meant by `typed`, or NULL. */
const char *qs_cli_near_command(const char *typed);

enum { QS_CLI_FILES = 4096 }; /* positional arguments of a command that takes many */

/* Prints what a command has to say of one file (a line, or a JSON object) and sets *status; false with *e for
 * a file that cannot be opened. */
typedef bool (*qs_cli_file_fn)(void *ctx, const char *file, int *status, qs_err *e);
/* `one` over the files that pos (its unused slots NULL) names. Patterns ('runs/x*.pt', kept from the shell by
 * quotes) are expanded, unless there is a file of just that name; one that matches nothing stays, and will be
 * no such file. *many is set first: more than one file, or a pattern; then every answer must say which file
 * it is about, and JSON is a list. A failure is told and does not stop the rest. Returns the worst status. */
int qs_cli_over_files(const char *const *pos, bool json, bool *many, qs_cli_file_fn one, void *ctx);

/* "qatscope: MESSAGE" on stderr (with the byte offset, if any); returns qs_err_exit_code. */
int qs_cli_fail(const qs_err *e);

/* Options that most commands take; put QS_CLI_COMMON(&c) into the table. */
typedef struct qs_cli_common {
    const char *manifest, *log, *root, *color;
    qs_log_summary *log_says; /* qs_cli_session puts what the log says there, if not NULL */
    bool json, quiet, ascii;
    qs_limits limits; /* 0 where --limit does not say */
} qs_cli_common;
/* --root, and the limits: those given, the defaults for the others. */
qs_open_options qs_cli_open_options(const qs_cli_common *c);
#define QS_CLI_OPT_MANIFEST(c)                                                                               \
    { "manifest", 'm', QS_OPT_STRING, &(c)->manifest, "FILE", "what the model expects (JSON)" }
#define QS_CLI_OPT_LOG(c)                                                                                    \
    {                                                                                                        \
        "log", 0, QS_OPT_STRING, &(c)->log, "FILE",                                                          \
            "a training log (or -): its last load error tells what is expected; beside -m or B it is "       \
            "compared"                                                                                       \
    }
#define QS_CLI_OPT_ROOT(c)                                                                                   \
    { "root", 0, QS_OPT_STRING, &(c)->root, "NAME", "which state dict of the file: model, ema, a.b, ..." }
#define QS_CLI_OPT_LIMIT(c)                                                                                  \
    {                                                                                                        \
        "limit", 0, QS_OPT_LIMIT, &(c)->limits, "NAME=N",                                                    \
            "let a file you trust ask for more (or less); `--limit help` lists them"                         \
    }
#define QS_CLI_OPT_JSON(c)                                                                                   \
    { "json", 0, QS_OPT_FLAG, &(c)->json, NULL, "the same as data, for scripts" }
#define QS_CLI_OPT_QUIET(c)                                                                                  \
    { "quiet", 'q', QS_OPT_FLAG, &(c)->quiet, NULL, "no words on stderr but errors" }
#define QS_CLI_OPT_COLOR(c)                                                                                  \
    { "color", 0, QS_OPT_WHEN, &(c)->color, "WHEN", "auto, always or never (NO_COLOR is respected)" }
#define QS_CLI_OPT_ASCII(c)                                                                                  \
    { "ascii", 0, QS_OPT_FLAG, &(c)->ascii, NULL, "no characters beyond ASCII" }

/* A session with A, and B, the manifest and the log where given, refreshed. A log is the target when there is
 * neither manifest nor B, else evidence; what it tells and what the files contradict goes to stderr unless
 * common->quiet. NULL with *e set on failure. */
qs_session *qs_cli_session(const qs_session_options *opt, const char *a, const char *b,
                           const qs_cli_common *common, qs_err *e);

/* What a log says, and what of it the files contradict, to stderr. */
void qs_cli_tell_log(const char *path, const qs_log_summary *l);

/* A text to a file, atomically, or to standard output if path is NULL. */
bool qs_cli_deliver(qs_str text, const char *path, qs_err *e);

/* Where and how to save: what fix, apply and convert have in common. */
typedef struct qs_cli_saving {
    const char *out;
    const char *shard_size;
    bool in_place, cpu, bare;
} qs_cli_saving;
#define QS_CLI_OPT_OUTPUT(s, help)                                                                           \
    { "output", 'o', QS_OPT_STRING, &(s)->out, "OUT", help }
#define QS_CLI_OPT_IN_PLACE(s)                                                                               \
    { "in-place", 0, QS_OPT_FLAG, &(s)->in_place, NULL, "replace A, keep it as NAME.bak" }
#define QS_CLI_OPT_CPU(s)                                                                                    \
    { "cpu", 0, QS_OPT_FLAG, &(s)->cpu, NULL, "say of every tensor that it is on the CPU" }
#define QS_CLI_OPT_BARE(s)                                                                                   \
    {                                                                                                        \
        "bare", 0, QS_OPT_FLAG, &(s)->bare, NULL,                                                            \
            "save the state dict alone, without what is beside or around it"                                 \
    }
#define QS_CLI_OPT_SHARD_SIZE(s)                                                                             \
    {                                                                                                        \
        "shard-size", 0, QS_OPT_STRING, &(s)->shard_size, "SIZE",                                            \
            "most in one file of NAME.safetensors.index.json (5GB; 500MB, 2GiB ...)"                         \
    }

/* Saves what the session's plan makes of A. What the format of that name cannot hold goes to stderr, one a
 * line, before anything is written; what is worth knowing (qs_write_note) after, unless quiet. */
bool qs_cli_save(qs_session *s, const qs_cli_saving *how, bool quiet, qs_err *e);

/* Is colour wanted on this stream? `when` is the --color argument or NULL. */
bool qs_cli_color(const char *when, FILE *f);
/* May glyphs beyond ASCII be printed (locale is UTF-8 and --ascii was not given)? */
bool qs_cli_utf8(bool ascii);
/* "1.7" 107, "1.13" 113, "2.6" 206, "2.14" 214; 0 if it is no version. */
int qs_cli_torch_version(const char *text);

#endif

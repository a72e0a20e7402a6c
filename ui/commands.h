/* Commands and the keys bound to them; the table is commands.def. */
#ifndef QS_UI_COMMANDS_H
#define QS_UI_COMMANDS_H

#include "ui/event.h"

/* Where a key means something. */
typedef enum qs_context {
    QS_CTX_TREE = 1,
    QS_CTX_PLAN = 2,
    QS_CTX_TEXT = 4, /* help, messages */
    QS_CTX_DIALOG = 8,
    QS_CTX_LESSON = 16,
    QS_CTX_SEE = 32,
    QS_CTX_CONTENTS = 64, /* all of a file */
    QS_CTX_VALUES = 128,
    QS_CTX_ERRORS = 256, /* weights by what rounding costs */
    QS_CTX_TRACE = 512,  /* the strict load step by step */
    QS_CTX_BIND = 1024,  /* two panes of names */
    QS_CTX_LAST_ = QS_CTX_BIND,
} qs_context;

typedef enum qs_command {
    QS_CMD_NONE,
#define QS_COMMAND(NAME, ...) QS_CMD_##NAME,
#include "ui/commands.def"
#undef QS_COMMAND
    QS_CMD_COUNT
} qs_command;

typedef struct qs_command_info {
    const char *name, *keys;
    unsigned where; /* set of qs_context */
    const char *group, *help;
} qs_command_info;
const qs_command_info *qs_command_get(qs_command c);

/* What may follow a command's name on the ':' line. */
typedef enum qs_argument {
    QS_ARG_NONE,
    QS_ARG_TEXT,
    QS_ARG_PATH,
    QS_ARG_KEY,   /* a key or module of the tree */
    QS_ARG_ORDER, /* qs_sort_word */
    QS_ARG_ROOT,  /* a state dict of A */
} qs_argument;
qs_argument qs_command_argument(qs_command c,
                                const char **word); /* word: "FILE", for the help; may be NULL */

/* The command of this name, or the only one that begins so in that context; NONE if there is none or more. */
qs_command qs_command_find(qs_str name, qs_context where);
/* The commands that begin so in that context: the first from *c on, NONE at the end. Start with *c = NONE. */
qs_command qs_command_next(qs_command c, qs_str start, qs_context where);

enum { QS_BINDINGS_MAX = 256 };
typedef struct qs_keymap {
    struct qs_binding {
        uint32_t key;
        unsigned where;
        qs_command command;
    } v[QS_BINDINGS_MAX];
    size_t n;
} qs_keymap;

/* The bindings of commands.def. */
void qs_keymap_init(qs_keymap *m);
qs_command qs_keymap_find(const qs_keymap *m, qs_context where, uint32_t key);
/* First key of a command, for hints: "m", "^R". */
void qs_command_key(qs_command c, char *out, size_t cap);

#endif

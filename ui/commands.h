/* Commands and the keys bound to them; the table is commands.def. */
#ifndef QS_UI_COMMANDS_H
#define QS_UI_COMMANDS_H

#include "ui/event.h"

/* Where a key means something. */
enum {
#define QS_CONTEXT(NAME, ...) QS_CTX_##NAME##_INDEX_,
#include "ui/commands.def"
    QS_CTX_COUNT
};
typedef enum qs_context {
#define QS_CONTEXT(NAME, ...) QS_CTX_##NAME = 1 << QS_CTX_##NAME##_INDEX_,
#include "ui/commands.def"
    QS_CTX_LAST_ = 1 << (QS_CTX_COUNT - 1)
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
    QS_ARG_THEME,
} qs_argument;
qs_argument qs_command_argument(qs_command c,
                                const char **word); /* word: "FILE", for the help; may be NULL */

/* The command of this name, or the only one that begins so in that context; NONE if there is none or more. */
qs_command qs_command_find(qs_str name, qs_context where);
/* The commands that begin so in that context: the first from *c on, NONE at the end. Start with *c = NONE. */
qs_command qs_command_next(qs_command c, qs_str start, qs_context where);

enum { QS_BINDINGS_MAX = 512 };
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
/* From now on the key means this in these contexts (a set), and nothing else; NONE takes its meaning. False
 * when the table is full. */
bool qs_keymap_bind(qs_keymap *m, unsigned where, uint32_t key, qs_command c);
/* First key of a command, for hints: "m", "^R"; "" if it has none. */
void qs_keymap_key(const qs_keymap *m, qs_command c, char *out, size_t cap);
/* All of them, with blanks between. */
void qs_keymap_keys(const qs_keymap *m, qs_command c, char *out, size_t cap);

#endif

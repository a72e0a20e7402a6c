/* What a person sets: keys and colours. Two files, "keymap" and "theme", of lines:
 *   bind CONTEXT KEY COMMAND      CONTEXT of commands.def, or "all": wherever the command means something
 *   unbind CONTEXT KEY            KEY as the help names it
 *   theme NAME                    the theme to start with; the lines below change it
 *   role COLOURS ROLE FG BG [bold|dim|underline|reverse ...]
 * COLOURS is 256, 16, 8 or mono; ROLE a paint of theme.def, with a "+" behind it on the selected row; FG and
 * BG "default", a name or a number. A line that begins with # says nothing. What cannot be understood is a
 * complaint with its line, and the rest holds. */
#ifndef QS_UI_CONFIG_H
#define QS_UI_CONFIG_H

#include "ui/commands.h"
#include "ui/theme.h"

typedef struct qs_config {
    qs_keymap keymap;
    qs_theme theme[QS_THEME_COUNT];
    qs_theme_id start; /* the theme to start with */
    qs_buf complaints; /* a line each: "keymap:3: no key is called \"Foo\"" */
    size_t complaint_count;
} qs_config;

/* Keys and themes as they are built in. */
void qs_config_init(qs_config *c);
void qs_config_free(qs_config *c);
/* Takes over what the text of a file says; `file` is its name in complaints. */
void qs_config_parse(qs_config *c, const char *file, qs_str text);
/* Something about the file itself: that it cannot be read. */
void qs_config_complain(qs_config *c, const char *file, size_t line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The files that say this, to begin with: the whole keymap; the theme to start with and all of its roles. */
void qs_config_print_keymap(const qs_config *c, qs_buf *out);
void qs_config_print_theme(const qs_config *c, qs_buf *out);

#endif

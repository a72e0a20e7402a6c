/* What --json prints, from json.def. */
#include "cli/cli.h"

static const struct {
    const char *command, *path, *type, *help;
} fields[] = {
#define QS_JSON(command, path, type, help) {#command, path, type, help},
#include "cli/json.def"
#undef QS_JSON
};
enum { FIELDS = sizeof fields / sizeof *fields };

bool qs_cli_has_json(const char *name) {
    for (int i = 0; i < FIELDS; i++)
        if (strcmp(fields[i].command, name) == 0) return true;
    return false;
}

void qs_cli_print_json_fields(const char *name) {
    for (int i = 0; i < FIELDS; i++)
        if (strcmp(fields[i].command, name) == 0)
            printf("  %-36s %-15s %s\n", fields[i].path, fields[i].type, fields[i].help);
}

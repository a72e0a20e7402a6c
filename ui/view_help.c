#include "ui/app_impl.h"

/* The keys of where a person is, then those of everywhere else, then what the signs mean. */

enum { KEYS_W = 14 };

static const struct {
    const char *view, *keys, *what;
} entries[] = {
#define QS_VIEW_HELP(view, keys, what) {view, keys, what},
#include "ui/view_help.def"
#undef QS_VIEW_HELP
};

static void add_keys(qs_rich *r, const char *keys, const char *what, const char *name) {
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(KEY), "  %-*s", KEYS_W - 2, keys);
    qs_rich_addf(r, QS_PEN(NORMAL), "%s%s", strlen(keys) > KEYS_W - 3 ? " " : "", what);
    if (name) qs_rich_addf(r, QS_PEN(DIM), "  :%s", name);
}

static void add_view(qs_rich *r, const qs_view *v) {
    bool any = false;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        if (strcmp(entries[i].view, v->name) != 0 || entries[i].keys[0]) continue;
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", entries[i].what);
    }
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        if (strcmp(entries[i].view, v->name) != 0 || !entries[i].keys[0]) continue;
        if (!any) qs_rich_line(r);
        any = true;
        add_keys(r, entries[i].keys, entries[i].what, NULL);
    }
}

/* The commands of a place, or those of no use there. */
static void add_commands(const qs_app *a, qs_rich *r, qs_context where, bool here) {
    const char *group = "";
    for (qs_command c = QS_CMD_NONE + 1; c < QS_CMD_COUNT; c++) {
        const qs_command_info *i = qs_command_get(c);
        if (((i->where & (unsigned)where) != 0) != here) continue;
        if (strcmp(group, i->group) != 0) {
            qs_rich_line(r);
            qs_rich_line(r);
            qs_rich_addf(r, QS_PEN(TITLE), "%s", group = i->group);
        }
        char name[80], keys[64];
        const char *argument;
        qs_command_argument(c, &argument);
        snprintf(name, sizeof name, "%s%s%s", i->name, *argument ? " " : "", argument);
        qs_keymap_keys(&a->config.keymap, c, keys, sizeof keys);
        add_keys(r, keys, i->help, i->where & QS_CTX_TREE ? name : NULL);
    }
}

static void add_statuses(qs_rich *r) {
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "What the signs before a key mean");
    for (int s = 0; s < QS_STATUS_COUNT; s++) {
        const qs_status_info *i = qs_status_get((qs_status)s);
        qs_rich_line(r);
        qs_rich_addf(r, qs_status_pen((qs_status)s), "  %s %-12s", i->glyph, i->name);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", i->help);
    }
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(FATAL), "  ↯ %-12s", "later");
    qs_rich_addf(r, QS_PEN(NORMAL),
                 "PyTorch loads it, and fails with it in forward; before a module, how many below");
    for (int m = 1; m < QS_MARK_COUNT; m++) {
        const qs_mark_info *i = qs_mark_get((qs_mark)m);
        qs_rich_line(r);
        qs_rich_addf(r, qs_mark_pen((qs_mark)m), "  %s %-12s", i->glyph, i->name);
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", i->help);
    }
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "What a key is to quantization");
    for (int q = 1; q < QS_ROLE_COUNT; q++) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(LETTER), "  %c ", qs_role_letter((qs_role)q));
        qs_rich_addf(r, QS_PEN(NORMAL), "%s", qs_role_name((qs_role)q));
    }
}

static void add_settings(qs_rich *r) {
    static const char *const text[] = {
        "$XDG_CONFIG_HOME/qatscope/keymap and theme hold your keys and colours:",
        "qatscope --print-config keymap (or theme) prints a file to begin with.", "Themes:"};
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(TITLE), "Settings");
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        qs_rich_line(r);
        qs_rich_addf(r, QS_PEN(NORMAL), "  %s", text[i]);
    }
    for (qs_theme_id id = 0; id < QS_THEME_COUNT; id++)
        qs_rich_addf(r, QS_PEN(NORMAL), "%s %s", id ? "," : "", qs_theme_name(id));
}

void qs_help_open(qs_app *a) {
    const qs_view *v = qs_app_top(a);
    qs_rich *r = &a->help.text;
    char title[64];
    if (v == &qs_view_help) return qs_app_close(a);
    qs_rich_clear(r);
    add_view(r, v);
    add_commands(a, r, v->context, true);
    qs_rich_line(r);
    qs_rich_line(r);
    qs_rich_addf(r, QS_PEN(HEAD), " Elsewhere ");
    add_commands(a, r, v->context, false);
    add_statuses(r);
    add_settings(r);
    snprintf(title, sizeof title, "keys of: %s", v->name);
    qs_page_open(a, &a->help, &qs_view_help, title, 2 - KEYS_W); /* under the text, not the keys */
}

static void help_draw(const qs_app *a, qs_grid *g) {
    qs_page_draw(&a->help, g);
}
static void help_layout(qs_app *a) {
    qs_page_layout(a, &a->help);
}
static bool help_event(qs_app *a, const qs_event *ev) {
    return qs_page_event(a, &a->help, ev);
}
static bool help_command(qs_app *a, qs_command c) {
    return qs_page_command(a, &a->help, c);
}

const qs_view qs_view_help = {
    .name = "help",
    .context = QS_CTX_TEXT,
    .draw = help_draw,
    .layout = help_layout,
    .event = help_event,
    .command = help_command,
};
